#!/usr/bin/env bash
# bench/plot.py on the results that are in the repository, and on what is none.
#
#   unit_plot.sh SOURCE
#
# Exits with 77 where no Python has Matplotlib: nothing is fetched for a test.
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
source=$1
for python in python3 "$source/build/plot/bin/python3" none; do
    "$python" -c 'import matplotlib' >/dev/null 2>&1 && break
done
if [[ $python == none ]]; then
    echo "skipped: needs Matplotlib (python3-matplotlib, or make plot once)"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 checks=0
result=$(printf '%s\n' "$source"/bench/results/*.json | tail -n 1)
plot=("$python" "$source/bench/plot.py")

# check WHAT COMMAND...
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    "$@" || {
        failures=$((failures + 1))
        printf 'FAILED: %s\n' "$what"
    }
}

# refuses WHAT TEXT ARGUMENT...: exit status 1, one line that holds the text, no picture
refuses() {
    local what=$1 text=$2 output status
    shift 2
    checks=$((checks + 1))
    output=$("${plot[@]}" "$@" "$work/refused.svg" 2>&1)
    status=$?
    if [[ $status != 1 || $output != *"$text"* || $output == *$'\n'* || -e $work/refused.svg ]]; then
        failures=$((failures + 1))
        printf 'FAILED: %s: exit %s, expected 1 and one line with "%s" in\n%s\n' "$what" "$status" \
            "$text" "$output"
    fi
}

check "the results are drawn" "${plot[@]}" "$result" "$work/a.svg"
check "and with 8 rows" "${plot[@]}" --m 8 "$result" "$work/m8.svg"
check "it is XML" "$python" -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$work/a.svg"
check "below 60 KB" test "$(wc -c <"$work/a.svg")" -lt 60000
variants=0
for variant in read int4 int4_sub int4_sub4 fp16 fbq2 fbq1; do
    grep -q "\"name\": \"$variant/.*/M1/" "$result" || continue
    variants=$((variants + 1))
    check "$variant is in it" grep -q ">$variant: " "$work/a.svg"
done
check "there are variants" test "$variants" -ge 3
check "the GPU is in it" grep -q '>NVIDIA .* driver .* CUDA ' "$work/a.svg"
"${plot[@]}" "$result" "$work/b.svg"
check "the same input, the same bytes" cmp "$work/a.svg" "$work/b.svg"

# A variant that the file lacks is left out.
sed 's,"fbq2/,"unknown/,' "$result" >"$work/fewer.json"
check "fewer variants are drawn" "${plot[@]}" "$work/fewer.json" "$work/fewer.svg"
check "without the missing one" bash -c "! grep -q '>fbq2' '$work/fewer.svg'"

printf '{"context": {' >"$work/cut.json"
printf '{"context": {}, "benchmarks": 1}' >"$work/other.json"
refuses "no file" "No such file" "$work/none.json"
refuses "no JSON" "not JSON" "$work/cut.json"
refuses "other JSON" "no results of fbq-bench" "$work/other.json"
refuses "nothing measured so" "nothing measured matches M = 3" --m 3 "$result"
sed 's/"gpu": "/"gpu": "other /' "$result" >"$work/gpu.json"
refuses "two GPUs" "differ in gpu" "$result" "$work/gpu.json"
cp "$result" "$work/kept.json"
"${plot[@]}" "$work/kept.json" "$work/kept.json" 2>/dev/null
check "a result is not written over" cmp "$result" "$work/kept.json"

printf '%d checks, %d failed\n' "$checks" "$failures"
((failures == 0))
