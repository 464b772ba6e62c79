#!/usr/bin/env bash
# Print a Python that has Matplotlib: python3 where it does, else one in build/plot, which is set up
# from PyPI (200 MB there) when it is missing. Nothing but the picture of make plot needs it.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."
folder=build/plot log=build/plot.log

die() {
    printf 'setup_plot: %s\n' "$*" >&2
    exit 1
}

for python in python3 "$folder/bin/python3"; do
    if "$python" -c 'import matplotlib' >/dev/null 2>&1; then
        printf '%s\n' "$python"
        exit
    fi
done
printf 'setup_plot: fetching Matplotlib from PyPI into %s\n' "$folder" >&2
mkdir -p build
python3 -m venv --clear "$folder" >"$log" 2>&1 || die "python3 -m venv failed; install python3-venv"
"$folder/bin/pip" install --quiet --disable-pip-version-check --no-input --no-cache-dir \
    --only-binary=:all: -r scripts/plot_packages.txt >"$log" 2>&1 </dev/null ||
    die "Matplotlib cannot be had from PyPI (see $log); install python3-matplotlib"
printf '%s\n' "$folder/bin/python3"
