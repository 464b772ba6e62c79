#!/usr/bin/env bash
# Our files are formatted as .clang-format says. Only with the version that it was written for:
# others break lines elsewhere.
#
#   unit_format.sh SOURCE
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$1" || exit 1
for tool in clang-format-14 clang-format none; do
    "$tool" --version 2>/dev/null | grep -q 'version 14\.' && break
done
if [[ $tool == none ]] || ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    echo "skipped: needs clang-format 14 and a git checkout"
    exit 77
fi
mapfile -t files < <(git ls-files '*.c' '*.h' '*.cc' '*.cu' '*.cuh' |
    grep -v '^include/fbq/host/device_sources.h$')
"$tool" --dry-run -Werror "${files[@]}"
