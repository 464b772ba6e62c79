#!/usr/bin/env bash
# Build one numbered example as a reader would: a copy of its folder alone, against an installed fbq,
# once by find_package and once by pkg-config. Leaves the programs in WORK/cmake and WORK/make.
#
#   example.sh NAME SOURCE PREFIX WORK      with CC, CXX, NVCC, CUDA_HOME, CUDA_ARCHITECTURES
#
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
name=$1 source=$2 prefix=$3 work=$4
: "${CC:?}" "${CXX:?}" "${NVCC:?}" "${CUDA_HOME:?}" "${CUDA_ARCHITECTURES:?}"
rm -rf "$work"
mkdir -p "$work/make"
cp -r "$source/examples/$name" "$work/example"

cmake -S "$work/example" -B "$work/cmake" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CUDA_COMPILER="$NVCC" \
    -DCMAKE_CUDA_ARCHITECTURES="$CUDA_ARCHITECTURES" -DCUDAToolkit_ROOT="$CUDA_HOME" \
    --no-warn-unused-cli
cmake --build "$work/cmake"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name fbq.pc)")
export PKG_CONFIG_PATH
make -C "$work/example" OUT="$work/make" CC="$CC" CUDA_HOME="$CUDA_HOME" \
    ARCH="sm_${CUDA_ARCHITECTURES%%[;-]*}"

# Both start where there is no GPU, and say so.
for program in "$work/cmake/example" "$work/make/example"; do
    status=0
    "$program" || status=$?
    if ((status != 0 && status != 77)); then
        echo "$program exits with $status"
        exit 1
    fi
done
