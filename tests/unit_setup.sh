#!/usr/bin/env bash
# scripts/setup.sh and the judge of CUDA toolkits, against made-up machines.
#
#   unit_setup.sh SOURCE
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
source=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0 checks=0
unset CUDACXX CUDA_HOME CUDA_PATH
export FBQ_IGNORE_SYSTEM_CUDA=1

# expect WHAT STATUS TEXT COMMAND...: the exit status, and a text that the output holds
expect() {
    local what=$1 status=$2 text=$3 output result
    shift 3
    checks=$((checks + 1))
    output=$("$@" 2>&1 </dev/null)
    result=$?
    # The tools fold long lines.
    output=$(tr -s '\n ' ' ' <<<"$output")
    if [[ $result != "$status" || $output != *"$text"* ]]; then
        failures=$((failures + 1))
        printf 'FAILED: %s: exit %s, expected %s and "%s" in\n%s\n' "$what" "$result" "$status" \
            "$text" "$output"
    fi
}

program() { # program FILE BODY
    mkdir -p "$(dirname "$1")"
    printf '#!/bin/sh\n%s\n' "$2" >"$1"
    chmod +x "$1"
}

mkdir -p "$work/repo/build"
cp -r "$source/scripts" "$source/cmake" "$work/repo"
judge=(cmake -DROOT="$work/repo" -P "$work/repo/cmake/cuda_toolkit.cmake")
toolkit=$work/repo/build/cuda-toolkit

expect "no toolkit" 1 "no nvcc in $toolkit" "${judge[@]}"
program "$toolkit/bin/nvcc" 'echo "Cuda compilation tools, release 13.0, V13.0.88"'
expect "no headers" 1 "lacks cuda.h, cuda_runtime.h, nvrtc.h, cublas_v2.h, cudart" "${judge[@]}"
mkdir -p "$toolkit/include" "$toolkit/lib64"
touch "$toolkit"/include/{cuda,cuda_runtime,nvrtc,cublas_v2}.h
touch "$toolkit"/lib64/lib{cudart,cublas}.so
expect "no NVRTC" 1 "lacks nvrtc" "${judge[@]}"
touch "$toolkit/lib64/libnvrtc.so"
expect "a whole toolkit" 0 "$toolkit" "${judge[@]}"
program "$toolkit/bin/nvcc" 'echo "Cuda compilation tools, release 11.8, V11.8.89"'
expect "an old toolkit" 1 "is CUDA 11.8, 12.8 or newer is needed" "${judge[@]}"
program "$toolkit/bin/nvcc" 'exit 1'
expect "a broken toolkit" 1 "is CUDA 0, 12.8 or newer is needed" "${judge[@]}"

# A system toolkit that is too old is passed over for the fetched one.
program "$toolkit/bin/nvcc" 'echo "Cuda compilation tools, release 13.0, V13.0.88"'
cp -r "$toolkit" "$work/old"
program "$work/old/bin/nvcc" 'echo "Cuda compilation tools, release 11.8, V11.8.89"'
another() { ! env -u FBQ_IGNORE_SYSTEM_CUDA CUDA_HOME="$work/old" "${judge[@]}" | grep -F "$work/old"; }
expect "the system's is too old" 0 "" another

# setup.sh: nothing to do; a package that cannot be had; a package that can.
setup=(env PATH="$work/bin:$PATH" "$work/repo/scripts/setup.sh")
program "$work/bin/dpkg-query" 'echo "install ok installed"'
program "$work/bin/apt-get" 'echo "E: Unable to locate package"; exit 100'
# shellcheck disable=SC2016 # the made-up program expands these itself
program "$work/bin/sudo" '[ "$1" = -v ] || exec "$@"'
expect "all is there" 0 "" "${setup[@]}"
# shellcheck disable=SC2016
program "$work/bin/dpkg-query" 'case "$*" in *libcmocka-dev) exit 1;; esac; echo "install ok installed"'
expect "apt-get fails" 1 "apt-get could not install all of: libcmocka-dev" "${setup[@]}"
program "$work/bin/apt-get" "echo \"\$@\" >>$work/asked"
expect "apt-get works" 0 "installing libcmocka-dev" "${setup[@]}"
expect "what it was asked" 0 "install -y --no-install-recommends libcmocka-dev" cat "$work/asked"

# No toolkit, and PyPI out of reach.
rm -rf "$toolkit"
program "$work/bin/dpkg-query" 'echo "install ok installed"'
program "$work/bin/python3" "mkdir -p $work/repo/build/cuda-packages/venv/bin
cp $work/bin/no-pip $work/repo/build/cuda-packages/venv/bin/pip"
program "$work/bin/no-pip" 'echo "ERROR: no route to host" >&2; exit 1'
expect "no PyPI" 1 "install the CUDA toolkit, 12.8 or newer, and set CUDA_HOME" "${setup[@]}"

printf '%d checks, %d failed\n' "$checks" "$failures"
((failures == 0))
