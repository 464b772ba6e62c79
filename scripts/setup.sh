#!/usr/bin/env bash
# Install what fbq's build, tests and demo need, and nothing that is there already:
#   1. Debian or Ubuntu packages, with sudo when not root;
#   2. a CUDA toolkit in build/cuda-toolkit from pinned PyPI packages, where none is installed.
# Quiet when nothing is missing. What cannot be had is said in one line.
#
#   FBQ_IGNORE_SYSTEM_CUDA=1   act as if no CUDA toolkit were installed
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential cmake ninja-build pkg-config libcmocka-dev libbenchmark-dev
    libopenblas-dev liblapacke-dev libjansson-dev libxxhash-dev libpcre2-dev clang-format python3
    python3-venv python3-pip ca-certificates)

log=build/setup.log
mkdir -p build

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}
# quietly COMMAND...: into the log; its last lines are shown when it fails.
quietly() {
    "$@" </dev/null >>"$log" 2>&1 || {
        tail -n 5 "$log" >&2
        return 1
    }
}

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        # dpkg says "install ok installed"; a package that was removed still has a status.
        [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == *" installed" ]] ||
            printf '%s\n' "$package"
    done
}

# Without dpkg, look for the tools and libraries themselves.
missing_tools() {
    local tool library
    for tool in cc c++ make cmake ninja pkg-config python3; do
        command -v "$tool" >/dev/null || printf '%s\n' "$tool"
    done
    if command -v pkg-config >/dev/null; then
        for library in cmocka jansson libxxhash libpcre2-8 openblas; do
            pkg-config --exists "$library" || printf '%s\n' "$library"
        done
    fi
}

install_packages() {
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        mapfile -t missing < <(missing_tools)
        ((${#missing[@]} == 0)) ||
            die "this is not Debian or Ubuntu; please install: ${missing[*]}"
        return
    fi
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    local root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null ||
            die "no sudo here; as root run: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    say "installing ${missing[*]}"
    # sudo asks for its password here, before output goes to the log.
    ((EUID == 0)) || sudo -v
    quietly "${root[@]}" apt-get update ||
        say "apt-get update failed; trying with the old lists"
    quietly "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y \
        --no-install-recommends "${missing[@]}" ||
        die "apt-get could not install all of: ${missing[*]} (the whole story is in $log)"
}

find_cuda() { cmake -DROOT="$PWD" -P cmake/cuda_toolkit.cmake 2>/dev/null; }

# Lay the packages out as a toolkit: bin, include, lib, nvvm, with lib64 and the linker's names.
install_cuda() {
    local work=build/cuda-packages toolkit=build/cuda-toolkit library free
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1024) }')
    ((free > 4000)) || die "the CUDA toolkit needs 4 GB of disk for its setup, $free MB are free here"
    say "no usable CUDA toolkit here; fetching CUDA 13.0 from PyPI (600 MB) into $toolkit"
    rm -rf "$work" "$toolkit"
    quietly python3 -m venv "$work/venv" ||
        die "python3 -m venv failed; install python3-venv"
    quietly "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --no-cache-dir --no-compile --only-binary=:all: --target "$work/site" \
        -r scripts/cuda_packages.txt ||
        die "PyPI's CUDA packages cannot be had (see $log); install the CUDA toolkit, 12.8 or" \
            "newer, and set CUDA_HOME"
    local tree="$work/site/nvidia/cu13"
    [[ -x $tree/bin/nvcc ]] || die "the CUDA packages are laid out in a new way: no $tree/bin/nvcc"
    ln -s lib "$tree/lib64"
    for library in "$tree"/lib/*.so.*; do
        library=${library##*/}
        ln -sf "$library" "$tree/lib/${library%%.so.*}.so"
    done
    # Last, so that an interrupted setup is not taken for a finished one.
    mv "$tree" "$toolkit"
    rm -rf "$work"
    find_cuda >/dev/null ||
        die "$(cmake -DROOT="$PWD" -P cmake/cuda_toolkit.cmake 2>&1 | tr -s '\n ' ' ')"
}

install_packages
find_cuda >/dev/null || install_cuda
