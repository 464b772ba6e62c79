#!/usr/bin/env bash
# Build and run one kind of consumer project against an installed fbq (or the source tree).
#
#   run.sh KIND SOURCE PREFIX WORK
#
# KIND is a folder beside this script, or "plain" (-I include, nothing else). The environment names
# CC, CXX and CUDA_INCLUDE.
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
if [[ $1 == install ]]; then # run.sh install BUILD PREFIX, into an empty folder
    rm -rf "$3"
    exec cmake --install "$2" --prefix "$3" --component fbq
fi
kind=$1 source=$2 prefix=$3 work=$4
here=$source/tests/consumer
: "${CC:?}" "${CXX:?}" "${CUDA_INCLUDE:?}"
rm -rf "$work"
mkdir -p "$work"

configure() {
    cmake -S "$here/$kind" -B "$work" -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER="$CC" \
        -DCMAKE_PREFIX_PATH="$prefix" -DCUDA_INCLUDE="$CUDA_INCLUDE" "$@"
}

case $kind in
find_package)
    configure
    cmake --build "$work"
    "$work/consumer"
    # The next minor version may change the API, so it is not this one.
    sed 's/fbq 0.1/fbq 0.2/' "$here/$kind/CMakeLists.txt" >"$work/CMakeLists.txt"
    if cmake -S "$work" -B "$work/other" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" 2>&1; then
        echo "find_package(fbq 0.2) took version 0.1"
        exit 1
    fi
    grep -q 'not accepted' "$work/log" || {
        cat "$work/log"
        exit 1
    }
    ;;
add_subdirectory)
    configure -DFBQ_SOURCE="$source"
    cmake --build "$work"
    "$work/consumer"
    ;;
impl)
    configure
    cmake --build "$work"
    "$work/consumer"
    if cmake --build "$work" --target refused >"$work/log" 2>&1; then
        echo "FBQ_IMPLEMENTATION together with fbq::impl compiled"
        exit 1
    fi
    grep -q 'FBQ_IMPLEMENTATION must not be defined' "$work/log" || {
        cat "$work/log"
        exit 1
    }
    ;;
pkg_config)
    # A moved tree must work as well: paths in the .pc files are relative to themselves.
    cp -r "$prefix" "$work/moved"
    pc=$(find "$work/moved" -name fbq.pc)
    PKG_CONFIG_PATH=$(dirname "$pc")
    export PKG_CONFIG_PATH
    pkg-config --validate fbq
    [[ $(pkg-config --variable=includedir fbq) -ef $work/moved/include ]]
    make -C "$here/pkg_config" OUT="$work" CC="$CC" CUDA_INCLUDE="$CUDA_INCLUDE"
    "$work/headers"
    "$work/linked"
    ;;
plain)
    flags=(-Wall -Wextra -Wpedantic -Werror -I "$source/include" -isystem "$CUDA_INCLUDE")
    "$CC" -std=c11 "${flags[@]}" "$here/main.c" "$here/fbq.c" -ldl -o "$work/c"
    "$work/c"
    "$CXX" -std=c++17 "${flags[@]}" -x c++ "$here/main.c" "$here/fbq.c" -ldl -o "$work/cxx"
    "$work/cxx"
    # A C unit and a C++ unit of one program see the same symbols.
    "$CC" -std=c11 "${flags[@]}" -c "$here/fbq.c" -o "$work/fbq.o"
    "$CXX" -std=c++17 "${flags[@]}" -x c++ "$here/main.c" -x none "$work/fbq.o" -ldl -o "$work/mixed"
    "$work/mixed"
    ;;
*)
    echo "run.sh: no consumer called $kind" >&2
    exit 2
    ;;
esac
