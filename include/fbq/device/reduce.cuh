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

// Result `index` is that of row index % tile_rows and column index / tile_rows. Where it is in a
// warp's place: so that 32 neighbours lie in as many banks, and what a warp puts there at once,
// too.
template <int Columns>
FBQ_DEVICE u32 reduce_at(int index)
{
    return (u32)(Columns == 1 ? index : index ^ (index >> 3 & 8)) * 4;
}

// The column of a result; of one column, a zero that is known when the kernel is compiled.
template <int Columns>
FBQ_DEVICE int reduce_column(int index)
{
    return Columns == 1 ? 0 : index / tile_rows;
}

// A warp's accumulators (layout of mma_f16), of its columns 0 to 7 or 8 to 15, to its place in
// shared memory. With one column every lane of a row holds the same sum, and the first of them
// writes it.
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
        // of its two columns every other lane puts the second first
        const int odd = t & 1, column = half * 8 + 2 * t;
        const u32 first = reduce_at<Columns>((column + odd) * tile_rows + g),
                  second = reduce_at<Columns>((column + 1 - odd) * tile_rows + g);
        sts_f32(at + first, odd ? c[1] : c[0]);
        sts_f32(at + second, odd ? c[0] : c[1]);
        sts_f32(at + (first ^ 8 * 4), odd ? c[3] : c[2]);
        sts_f32(at + (second ^ 8 * 4), odd ? c[2] : c[3]);
    }
}

// Result `index` summed over the warps, first to last, whose places begin at `first` and lie
// `stride` bytes apart.
template <int Warps, int Columns>
FBQ_DEVICE float reduce_get(saddr first, int stride, int index)
{
    saddr at = first + reduce_at<Columns>(index);
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
