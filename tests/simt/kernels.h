// tests/simt/kernels.h: the kernels that were instantiated for the CPU. kernels.cc is compiled once
// for each group size and each way of copying.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_KERNELS_H
#define FBQ_SIMT_KERNELS_H

#include <fbq/device/args.cuh>

namespace simt
{

typedef void (*fused_body)(const fbq_fused_args &);
typedef void (*down_body)(const fbq_down_args &);

// What chooses an instantiation of fused, apart from the group and the way of copying.
struct variant {
    int bits, zero, scale, factor, x; // types as types.h numbers them
    int columns;
    int branch; // as device/tile.cuh numbers its kinds
    int chunks; // of K; 0: known at run time only
    bool resident;
    int warps, part_units, stages, tiles, splits;
    bool segmented;
};

// Null where it was not instantiated. One function a group size (0 is the whole row) and a value of
// FBQ_BULK_COPIES.
template <int Group, int Bulk>
fused_body find_fused(const variant &v);

#define SIMT_FIND_FUSED(group)                         \
    template <>                                        \
    fused_body find_fused<group, 0>(const variant &v); \
    template <>                                        \
    fused_body find_fused<group, 1>(const variant &v);
SIMT_FIND_FUSED(0)
SIMT_FIND_FUSED(32)
SIMT_FIND_FUSED(64)
SIMT_FIND_FUSED(128)
SIMT_FIND_FUSED(256)
#undef SIMT_FIND_FUSED

down_body find_down(int x, int factor, int columns, int warps, int chunks);

} // namespace simt

#endif
