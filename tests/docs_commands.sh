#!/usr/bin/env bash
# The documents' own commands and code, kept true.
#
#   docs_commands.sh SOURCE       with CC, CUDA_HOME in the environment
#
# In README.md, docs/*.md, bench/*.md and examples/*/README.md
#   <!-- runnable -->             before a fenced sh block: the block is run, in the root of a fresh
#                                 copy; 77 as its exit status means that this machine cannot run it
#   <!-- from FILE -->            before a fenced block: its lines stand in FILE, in this order
#   make TARGET                   in any sh block: the Makefile has that target
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
failures=0 ran=0 quoted=0 targets=0 skipped=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/tree"
tar -C "$1" --exclude=./build --exclude=./.git -cf - . | tar -C "$work/tree" -xf - || exit 1
cd "$work/tree" || exit 1

fail() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$*"
}

# Each fenced block becomes a file WORK/N, with its language, place and mark in WORK/N.info.
split() {
    awk -v work="$work" -v file="$1" -v first="$2" '
        !inside && /^```/ {
            inside = 1; name = sprintf("%s/%03d", work, first + n++)
            printf "%s\n%s:%d\n%s\n", substr($0, 4), file, NR, mark > (name ".info")
            printf "" > name; close(name ".info"); next }
        inside && /^```/ { inside = 0; close(name); mark = ""; next }
        inside { print > name; next }
        /^<!-- / { mark = $0; next }
        NF { mark = "" }
        END { print n + 0 }' "$1"
}

total=0
for document in README.md docs/*.md bench/*.md examples/*/README.md; do
    [[ -e $document ]] || continue
    total=$((total + $(split "$document" "$total")))
done

for info in "$work"/*.info; do
    [[ -e $info ]] || continue
    block=${info%.info}
    { read -r language; read -r place; read -r mark; } <"$info"
    if [[ $mark == '<!-- from '* ]]; then
        file=${mark#<!-- from }
        file=${file% -->}
        quoted=$((quoted + 1))
        # Leading blanks may differ; a line "..." stands for any number of lines.
        awk 'function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }
             NR == FNR { if (trim($0) != "" && trim($0) != "...") want[++n] = trim($0); next }
             seen < n && trim($0) == want[seen + 1] { seen++ }
             END { if (seen < n) { print "no line: " want[seen + 1]; exit 1 } }' \
            "$block" "$file" || fail "$place: the block is not in $file"
    fi
    [[ $language == sh ]] || continue
    while read -r target; do
        targets=$((targets + 1))
        # -q asks whether it is up to date: 2 means that there is no such target.
        make -q "$target" >/dev/null 2>&1
        (($? < 2)) || fail "$place: the Makefile has no target $target"
    done < <(sed -n 's/^make \([a-z][a-z-]*\).*/\1/p' "$block")
    if [[ $mark == '<!-- runnable -->' ]]; then
        ran=$((ran + 1))
        bash -euo pipefail "$block" </dev/null >"$work/log" 2>&1
        status=$?
        if ((status == 77)); then
            skipped=$((skipped + 1))
        elif ((status)); then
            cat "$work/log"
            fail "$place: the block exits with $status"
        fi
    fi
done

printf '%d blocks: %d run (%d of them cannot run here), %d quotations, %d make targets, %d failed\n' \
    "$total" "$ran" "$skipped" "$quoted" "$targets" "$failures"
# A document that lost its marks would pass for ever.
((ran > 0 && targets > 0)) || fail "README.md has no runnable block or no make command left"
((failures == 0))
