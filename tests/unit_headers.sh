#!/usr/bin/env bash
# Each header compiled alone, and the implementation unit in every language it promises.
#
#   unit_headers.sh SOURCE WORK      with CC, CXX, NVCC and CUDA_INCLUDE in the environment
#
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
source=$1 work=$2
: "${CC:?}" "${CXX:?}" "${NVCC:?}" "${CUDA_INCLUDE:?}"
rm -rf "$work"
mkdir -p "$work"
failures=0 checks=0 extra=()

strict=(-Wall -Wextra -Wpedantic -Wshadow -Werror)
include=(-I "$source/include" -isystem "$CUDA_INCLUDE")

# check WHAT COMMAND...: run it, show its output only when it fails.
check() {
    local what=$1
    shift
    checks=$((checks + 1))
    if ! "$@" >"$work/log" 2>&1; then
        failures=$((failures + 1))
        printf 'FAILED: %s\n    %s\n' "$what" "$*"
        cat "$work/log"
    fi
}

# parse WHAT FILE COMPILER STANDARD LANGUAGE: as strict as the compiler can be
effort=(-fsyntax-only)
parse() {
    check "$1 as $4 ($3)" "$3" -std="$4" "${strict[@]}" ${extra[@]+"${extra[@]}"} "${include[@]}" \
        "${effort[@]}" -x "$5" "$2"
}
c11() { parse "$@" c11 c; }
cxx17() { parse "$@" c++17 c++; }
cuda() { # to PTX only: what is asked is whether it compiles, not how well
    check "$1 in a .cu" "$NVCC" -std=c++17 -arch=compute_80 -Werror all-warnings -Xcompiler -Wall \
        -ccbin "$CXX" "${include[@]}" "${@:3}" -o "$work/out" "$2"
}

compilers=("$CC $CXX")
if command -v clang >/dev/null && command -v clang++ >/dev/null && [[ $CC != *clang* ]]; then
    compilers+=("clang clang++")
fi

# Public headers: C, C++ and nvcc. Included twice, since include guards break in silence.
cd "$source/include" || exit 1
for header in fbq/*.h fbq/host/*.h; do
    unit=$work/$(tr / _ <<<"$header")
    printf '#include <%s>\n#include <%s>\nextern int fbq_unit_is_not_empty;\n' "$header" "$header" \
        >"$unit.c"
    cp "$unit.c" "$unit.cu"
    # Static functions that only another file uses are no fault of the one that is included.
    extra=()
    [[ $header == fbq/host/* ]] && extra=(-Wno-unused-function)
    for pair in "${compilers[@]}"; do
        read -r cc cxx <<<"$pair"
        c11 "$header" "$unit.c" "$cc"
        cxx17 "$header" "$unit.c" "$cxx"
    done
    [[ $header == fbq/host/* ]] || cuda "$header" "$unit.cu" -cuda
done
extra=()

# Device headers and the typed launchers: nvcc only.
for header in fbq/*.cuh fbq/device/*.cuh; do
    [[ -e $header ]] || continue
    unit=$work/$(tr / _ <<<"$header").cu
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$unit"
    cuda "$header" "$unit" -cuda
done

# Device code includes nothing but itself: NVRTC has no other header to offer. The second body for
# the CPU, behind FBQ_SIMT, is the one exception.
checks=$((checks + 1))
foreign=$(grep -Hn '^[ \t]*#[ \t]*include' fbq/device/*.cuh |
    grep -v -e '#include "simt_ptx.h"' -e '#include "[a-z0-9_]*\.cuh"')
if [[ -n $foreign ]]; then
    failures=$((failures + 1))
    printf 'FAILED: device code includes something foreign\n%s\n' "$foreign"
fi

# The implementation unit; it sets its own feature macros, so strict C11 must do. Some warnings
# come only with optimisation.
effort=(-O2 -c -o "$work/out")
printf '#define FBQ_IMPLEMENTATION\n#include <fbq/fbq.h>\n' >"$work/implementation.c"
cp "$work/implementation.c" "$work/implementation.cu"
for pair in "${compilers[@]}"; do
    read -r cc cxx <<<"$pair"
    c11 "the implementation" "$work/implementation.c" "$cc"
    cxx17 "the implementation" "$work/implementation.c" "$cxx"
done
cuda "the implementation" "$work/implementation.cu" -cuda
if [[ -e fbq/fbq.cuh ]]; then
    printf '#define FBQ_IMPLEMENTATION\n#include <fbq/fbq.cuh>\n' >"$work/both.cu"
    cuda "the implementation with the launchers" "$work/both.cu" -cuda
fi

# Every symbol carries the version, so that two versions share a process.
checks=$((checks + 1))
if "$CC" -std=c11 "${include[@]}" -c "$work/implementation.c" -o "$work/implementation.o"; then
    bare=$(nm -g --defined-only "$work/implementation.o" |
        awk '$3 !~ /_v[0-9]+_[0-9]+$/ { print $3 }')
    if [[ -n $bare ]]; then
        failures=$((failures + 1))
        printf 'FAILED: symbols without a version: %s\n' "$bare"
    fi
else
    failures=$((failures + 1))
fi

printf '%d checks, %d failed\n' "$checks" "$failures"
((failures == 0))
