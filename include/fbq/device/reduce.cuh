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

// Bytes of one block's partial results, [warp][row][column].
FBQ_DEVICE constexpr int reduce_bytes(int warps, int columns)
{
    return warps * tile_rows * columns * 4;
}

// A warp's accumulators (layout of mma_f16) to shared memory. With one column every lane of a row
// holds the same sum, and the first of them writes it.
template <int Columns>
FBQ_DEVICE void reduce_put(saddr area, int warp, int lane, const float (&c)[4])
{
    const int g = lane >> 2, t = lane & 3;
    const saddr at = area + (u32)(warp * tile_rows * Columns * 4);
    if (Columns == 1) {
        if (t == 0) {
            sts_f32(at + (u32)g * 4, c[0]);
            sts_f32(at + (u32)(g + 8) * 4, c[2]);
        }
    } else {
        sts_f32x2(at + (u32)(g * Columns + 2 * t) * 4, c[0], c[1]);
        sts_f32x2(at + (u32)((g + 8) * Columns + 2 * t) * 4, c[2], c[3]);
    }
}

// Result `index` (row * Columns + column) summed over the warps, first to last.
template <int Warps, int Columns>
FBQ_DEVICE float reduce_get(saddr area, int index)
{
    float sum = lds_f32(area + (u32)index * 4);
    FBQ_UNROLL
    for (int w = 1; w < Warps; w++)
        sum = add(sum, lds_f32(area + (u32)((w * tile_rows * Columns + index) * 4)));
    return sum;
}

// With one column: row `lane` in the lanes 0-15, by a whole warp. Lanes 0-15 add the even warps,
// lanes 16-31 the odd ones.
template <int Warps>
FBQ_DEVICE float reduce_row(saddr area, int lane)
{
    const int half = lane / tile_rows;
    float sum = 0;
    FBQ_UNROLL
    for (int w = 0; w < Warps; w += 2)
        if (w + half < Warps)
            sum = add(sum, lds_f32(area + (u32)(((w + half) * tile_rows + lane % tile_rows) * 4)));
    return add(sum, shuffle_xor_f32(sum, tile_rows));
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
