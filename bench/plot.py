#!/usr/bin/env python3
"""Draw how near each variant comes to the floor: a result file of fbq-bench as an SVG.

    bench/plot.py [--m ROWS] [--format W4/g128/r128] RESULT.json... OUT.svg

Exit status: 0 drawn; 1 the input has nothing to draw, or Matplotlib is missing; 2 wrong usage.

x: megabytes that the variant must read; y: its time as a multiple of read_pdl for these bytes.
Of several files that measured the same benchmark, the last counts. The same input gives the same
bytes with the same Matplotlib.

SPDX-License-Identifier: Apache-2.0
"""
import argparse
import json
import math
import re
import sys

# The three ways to run the branch as kernels of its own; the fastest stands for all.
CONVENTIONAL = ("int4_sub", "int4_sub_lt", "int4_sub_own")

# variant: label, colour, marker. Order and colours stay when variants are missing, so that pictures
# can be compared; the colours are Okabe and Ito's, which the colour-blind can tell apart.
VARIANTS = {
    "read": ("read: the bytes alone", "#999999", "x"),
    "int4": ("int4: no branch", "#009e73", "s"),
    "int4_sub": ("int4_sub: conventional branch", "#e69f00", "^"),
    "int4_sub4": ("int4_sub4: four kernels", "#cc79a7", "D"),
    "fp16": ("fp16: cuBLAS", "#56b4e9", "v"),
    "fbq2": ("fbq2: down and fused", "#d55e00", "o"),
    "fbq1": ("fbq1: one launch", "#0072b2", "P"),
}

NAME = re.compile(r"(\w+)/([^/]+/[^/]+/[^/]+)/([^/]+)/M(\d+)/([^/]+)(?:/|$)")


class Unusable(Exception):
    """What is wrong with the input, in one line."""


def number(benchmark, counter):
    """A counter, or NaN."""
    value = benchmark.get(counter)
    return float(value) if isinstance(value, (int, float)) else math.nan


def read_file(path):
    """The context and the benchmarks of a file."""
    try:
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
        context, benchmarks = root["context"], root["benchmarks"]
        if not isinstance(context, dict) or not all(isinstance(b, dict) for b in benchmarks):
            raise TypeError
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Unusable(f"{path}: not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise Unusable(f"{path}: no results of fbq-bench: expected the file of --benchmark_out"
                       ) from error
    return context, benchmarks


def select(benchmarks, m, wanted):
    """{(variant, shape): (bytes, multiple, us)} of what was measured with m rows of x in the wanted
    format, the first where none is; and that format."""
    found = {}
    for b in benchmarks:
        name = NAME.match(str(b.get("name")))
        if (not name or int(name[4]) != m or b.get("error_occurred")
                or b.get("aggregate_name", "median") != "median"):
            continue
        wanted = wanted or name[2]
        point = number(b, "bytes"), number(b, "xread_pdl"), number(b, "us")
        if name[2] == wanted and all(math.isfinite(p) and p > 0 for p in point):
            found[name[1], name[3]] = point
    return found, wanted


def series(found):
    """The points of each variant, by megabytes."""
    lines = {}
    for variant in VARIANTS:
        members = CONVENTIONAL if variant == "int4_sub" else (variant,)
        shapes = {}
        for (name, shape), point in found.items():
            if name in members and (shape not in shapes or point[2] < shapes[shape][2]):
                shapes[shape] = point
        if shapes:
            lines[variant] = sorted((size / 1e6, multiple) for size, multiple, _ in shapes.values())
    return lines


def said(contexts, key):
    """What the files say of a thing; once where they agree."""
    return ", ".join(dict.fromkeys(str(c.get(key, "unknown")) for c in contexts))


def draw(lines, title, path):
    # Last, since it is slow: what is wrong with the input is said at once.
    try:
        import matplotlib
    except ImportError as error:
        raise Unusable("Matplotlib is missing; make plot installs it into build/plot"
                       ) from error
    matplotlib.use("svg")
    # Text stays text, and names inside the file come from the drawing rather than from chance.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "fbq", "font.size": 10})
    from matplotlib import pyplot, ticker

    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    for variant, points in lines.items():
        label, colour, marker = VARIANTS[variant]
        axes.plot(*zip(*points), label=label, color=colour, marker=marker, markersize=5,
                  linewidth=1.2)
    axes.axhline(1, color="black", linestyle="--", linewidth=1)
    axes.set(xscale="log", yscale="log", xlabel="megabytes to read for a layer",
             ylabel="multiple of read_pdl")
    # Both axes span a decade or two: plain numbers where a power of ten has 1, 2 and 5.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_title(title, fontsize=10)
    figure.legend(fontsize=9, loc="outside lower center", ncols=4, frameon=False)
    try:
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error


def plot(options):
    contexts, benchmarks = [], []
    for path in options.results:
        context, more = read_file(path)
        contexts.append(context)
        benchmarks += more
    for key in ("gpu", "weights"):
        if len({str(c.get(key)) for c in contexts}) > 1:
            raise Unusable(f"the files differ in {key}: {said(contexts, key)}")
    found, form = select(benchmarks, options.m, options.format)
    lines = series(found)
    if not lines:
        raise Unusable(f"{', '.join(options.results)}: nothing measured matches M = {options.m}"
                       + (f", {form}" if form else ""))
    dates = ", ".join(dict.fromkeys(str(c.get("date", "unknown"))[:10] for c in contexts))
    title = (f"{said(contexts, 'gpu')}, driver {said(contexts, 'driver')}, "
             f"CUDA {said(contexts, 'toolkit')}, {dates}\n"
             f"{form}, M = {options.m}, weights {said(contexts, 'weights')}")
    draw(lines, title, options.out)


def main():
    parser = argparse.ArgumentParser(
        description="A result file of fbq-bench as an SVG: multiple of the floor over megabytes.")
    parser.add_argument("--m", type=int, default=1, metavar="ROWS", help="rows of x (default 1)")
    parser.add_argument("--format", metavar="W4/g128/r128",
                        help="codes, group and rank as the names have them (default: the first)")
    parser.add_argument("results", nargs="+", metavar="RESULT.json")
    parser.add_argument("out", metavar="OUT.svg")
    options = parser.parse_args()
    if not options.out.endswith(".svg"):
        # A forgotten OUT.svg must not cost a result file.
        parser.exit(2, f"plot.py: {options.out}: the last argument is the picture, OUT.svg\n")
    try:
        plot(options)
    except Unusable as error:
        print(f"plot.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
