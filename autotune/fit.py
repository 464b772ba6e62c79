#!/usr/bin/env python3
"""Fit the model of autotune/predict.h to times that `fbq-tune tune --log` wrote. Needs scipy.

    fit.py pack LOG... > FILE          the logs' times, in the form that fbq-fit reads
    fit.py fit FBQ-FIT FILE...   values for MODEL_FIELDS, fitted to the files' times

Fitted are the logarithms of times, in which a problem counts as much as any other and a pick near
the best more than one far from it; outliers count by their distance, not its square. What the times
say nothing about stays where it was.

SPDX-License-Identifier: Apache-2.0
"""
import json
import subprocess
import sys

PICK = ["warps", "chunks", "blocks_per_sm", "slices", "stages", "tiles", "splits"]
OF_A_TIME = PICK + ["us", "ratio", "median_ns", "spread_ns", "date", "rigor"]


def pack(logs):
    problems = {}
    for log in logs:
        with open(log) as lines:
            for line in map(json.loads, lines):
                if line["kernel"] != "fused":
                    continue
                key = {k: v for k, v in line.items() if k not in OF_A_TIME}
                key.update(median_ns=0, spread_ns=0, rigor="measure", date=line["date"][:10] + "T00:00:00Z")
                times = problems.setdefault(json.dumps(key), {})
                times.setdefault(tuple(line[field] for field in PICK), []).append(line["us"])
    print('{"command": "fbq-tune tune --log FILE, also with --survey; autotune/fit.py pack FILE",')
    print('"problems": [')
    for i, (key, times) in enumerate(problems.items()):
        print(key[:-1] + ', "times": [')
        rows = [[*pick, round(sorted(us)[len(us) // 2], 3)] for pick, us in times.items()]
        print(",\n".join(json.dumps(row, separators=(",", ":")) for row in rows))
        print("]}" + ("," if i + 1 < len(problems) else ""))
    print("]}")


def fit(program, files):
    import numpy as np
    from scipy.optimize import least_squares

    served = subprocess.Popen([program, "--serve", *files], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    words = served.stdout.readline().split()
    names, start = words[::2], np.log(np.array(words[1::2], float))
    count = int(served.stdout.readline())
    us, problem = np.array([served.stdout.readline().split() for _ in range(count)], float).T
    problem = problem.astype(int)

    def predicted(values):
        served.stdin.write(" ".join(f"{v:.17g}" for v in np.exp(values)) + "\n")
        served.stdin.flush()
        return np.array(served.stdout.readline().split(), float)

    legal = predicted(start) > 0
    best = np.full(problem.max() + 1, np.inf)
    np.minimum.at(best, problem[legal], us[legal])
    ratio = us / best[problem]
    weight = np.where(ratio < 1.15, 2, np.where(ratio < 2, 1, 0.3)) * legal
    weight = 10 * weight / np.sqrt(np.bincount(problem[legal], minlength=len(best)))[problem]

    def residuals(values):
        apart = weight * np.log(np.maximum(predicted(values), 0.05) / us)
        return np.concatenate([apart, 0.02 * (values - start)])

    found = None
    for seed in range(3):
        begin = start + (seed > 0) * 0.3 * np.random.RandomState(seed).randn(len(start))
        result = least_squares(residuals, begin, loss="soft_l1", f_scale=0.1, max_nfev=400)
        if found is None or result.cost < found.cost:
            found = result
    served.stdin.close()
    for name, value in zip(names, np.exp(found.x)):
        print(f"    X({name}, {value:.4g})")


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[1] == "pack":
        pack(sys.argv[2:])
    elif len(sys.argv) > 3 and sys.argv[1] == "fit":
        fit(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(__doc__)
