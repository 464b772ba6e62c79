// fbq/device/words.cuh: several rows of x as the numbers they are.
//
// A slot holds the rows of x as they came. Made ready beside it for each flush and column:
// {-sum(bias x), -sum(x)}. Rows 8 to 15 are columns of a product of their own, a second half.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_WORDS_CUH
#define FBQ_DEVICE_WORDS_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Where a lane reads a part's x: its row (column of the product) and its quarter of every 32 k.
// Lanes of columns beyond m read the last row: their results are never looked at.
template <class C>
FBQ_DEVICE saddr words_lane(const fbq_fused_args &args, saddr slot, int half, int lane)
{
    return slot + row_of<C>(args, min_int(half * 8 + (lane >> 2), args.m - 1)) +
           (u32)((lane & 3) * 16);
}

// A part's corrections of each flush, for every column, as a product with an operand of their own.
template <class C>
FBQ_DEVICE void words_prepare(const fbq_fused_args &args, saddr slot, int count, int lane)
{
    const u32x4 bias = minus_bias<C::x, C::bits>();
    FBQ_UNROLL
    for (int half = 0; half < C::halves; half++) {
        saddr x = words_lane<C>(args, slot, half, lane);
        FBQ_NO_UNROLL
        for (int f = 0; f < count * C::flushes; f++) {
            float c[4] = {0, 0, 0, 0};
            FBQ_UNROLL
            for (int h = 0; h < C::flush / 32; h++, x += 64) {
                const u32x4 v = lds_u32x4(x);
                mma<C::x>(c, bias, v.x, v.y);
                mma<C::x>(c, bias, v.z, v.w);
            }
            // any four lanes hold all columns
            if (lane < 4)
                sts_f32x4(slot + (u32)((f * C::halves + half) * 64 + lane * 16),
                          f32x4{c[0], c[2], c[1], c[3]});
        }
    }
}

// Start a flush at minus everything that is not q: -sum(bias x) - z sum(x).
FBQ_DEVICE void words_start(float (&c)[4], saddr correction, float z_upper, float z_lower, int lane)
{
    const f32x4 v = lds_f32x4(correction + (u32)((lane & 3) * 16));
    c[0] = fma(z_upper, v.y, v.x);
    c[1] = fma(z_upper, v.w, v.z);
    c[2] = fma(z_lower, v.y, v.x);
    c[3] = fma(z_lower, v.w, v.z);
}

template <class C>
FBQ_DEVICE void words_flush(float (&y)[4], const float (&c)[4], u32 scale)
{
    float upper, lower;
    f32x2_of<C::scale>(scale, upper, lower);
    y[0] = fma(upper, c[0], y[0]);
    y[1] = fma(upper, c[1], y[1]);
    y[2] = fma(lower, c[2], y[2]);
    y[3] = fma(lower, c[3], y[3]);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
