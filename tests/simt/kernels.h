// tests/simt/kernels.h: the kernels that were instantiated for the CPU. kernels.cc is compiled once
// for each group size.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_KERNELS_H
#define FBQ_SIMT_KERNELS_H

#include <fbq/device/args.cuh>

namespace simt
{

typedef void (*fused_body)(const fbq_fused_args &);
typedef void (*down_body)(const fbq_down_args &);

// What chooses an instantiation of fused, apart from the group.
struct variant {
    int zero, columns, branch, warps, chunks;
};

// Null where it was not instantiated. One function a group size; 0 is the whole row.
template <int Group>
fused_body find_fused(const variant &v);
template <>
fused_body find_fused<0>(const variant &v);
template <>
fused_body find_fused<32>(const variant &v);
template <>
fused_body find_fused<64>(const variant &v);
template <>
fused_body find_fused<128>(const variant &v);
template <>
fused_body find_fused<256>(const variant &v);

down_body find_down(int columns, int warps, int chunks);

} // namespace simt

#endif
