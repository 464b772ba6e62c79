// fbq/device/reduce.cuh: the warps of a block add their 16 x Columns results in a fixed order.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_REDUCE_CUH
#define FBQ_DEVICE_REDUCE_CUH

#include "ptx.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Bytes of one warp's results.
FBQ_DEVICE constexpr int reduce_bytes(int columns)
{
    return tile_rows * columns * 4;
}

// A warp's accumulators (layout of mma_f16), of its columns 0 to 7 or 8 to 15, to its place in
// shared memory, [row][column]. With one column every lane of a row holds the same sum, and the
// first of them writes it.
template <int Columns>
FBQ_DEVICE void reduce_put(saddr at, int lane, const float (&c)[4], int half = 0)
{
    const int g = lane >> 2, t = lane & 3;
    if (Columns == 1) {
        if (t == 0) {
            sts_f32(at + (u32)g * 4, c[0]);
            sts_f32(at + (u32)(g + 8) * 4, c[2]);
        }
    } else {
        sts_f32x2(at + (u32)(g * Columns + half * 8 + 2 * t) * 4, c[0], c[1]);
        sts_f32x2(at + (u32)((g + 8) * Columns + half * 8 + 2 * t) * 4, c[2], c[3]);
    }
}

// Result `index` (row * Columns + column) summed over the warps, first to last, whose places begin
// at `first` and lie `stride` bytes apart.
template <int Warps>
FBQ_DEVICE float reduce_get(saddr first, int stride, int index)
{
    saddr at = first + (u32)index * 4;
    float sum = lds_f32(at);
    FBQ_UNROLL
    for (int w = 1; w < Warps; w++) {
        at += (u32)stride;
        sum = add(sum, lds_f32(at));
    }
    return sum;
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
