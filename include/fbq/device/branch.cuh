// fbq/device/branch.cuh: the up-projection t . B^T as extra steps into the tile's accumulators.
//
// t comes as fp32 partial sums, one a slice of K. It is added in slice order and split into two
// fp16 numbers under a power of two, high + low, so that neither range nor precision is lost
// (docs/numerics.md). 16 ranks make one step; warp w takes the steps w, w + Warps, ...
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_BRANCH_CUH
#define FBQ_DEVICE_BRANCH_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Shared memory of one step: t, 16 bytes a lane {b0 high, b1 high, b0 low, b1 low}, or for one row
// of x 8 bytes a lane, high in even columns and low in odd ones; the power of two of each column.
constexpr int branch_step_bytes = 512 + 8 * 4;

FBQ_DEVICE float larger_magnitude(float a, float b)
{
    // as integers, so that NaN counts as the largest
    const u32 u = bits_of(a) & 0x7fffffffu, v = bits_of(b) & 0x7fffffffu;
    return float_of(u > v ? u : v);
}

// A lane's four ranks of its column, summed over the slices in a fixed order.
template <class C>
FBQ_DEVICE f32x4 gather_t(const fbq_fused_args &args, int step, int lane)
{
    const int g = lane >> 2, t = lane & 3, ranks = args.rank_tiles * tile_rows;
    const float *from = args.t + step * tile_rows + 4 * t;
    f32x4 sum = {0, 0, 0, 0};
    // With one column the eight lanes that would hold it take turns at the slices.
    const int first = C::columns == 1 ? g : 0, stride = C::columns == 1 ? 8 : 1;
    const int column = C::columns == 1 ? 0 : g;
    // eight slices on their way at a time
    constexpr int batch = C::columns == 1 ? 1 : 8;
    FBQ_NO_UNROLL
    for (int s = first; s < args.slices; s += stride * batch) {
        f32x4 v[batch];
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            v[i] = f32x4{0, 0, 0, 0};
            if (column < args.m && s + i * stride < args.slices)
                v[i] = ldg_f32x4(from + ((i64)(s + i * stride) * args.m + column) * ranks);
        }
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            sum.x = add(sum.x, v[i].x);
            sum.y = add(sum.y, v[i].y);
            sum.z = add(sum.z, v[i].z);
            sum.w = add(sum.w, v[i].w);
        }
    }
    if (C::columns == 1) {
        FBQ_UNROLL
        for (int mask = 4; mask < 32; mask *= 2) {
            sum.x = add(sum.x, shuffle_xor_f32(sum.x, mask));
            sum.y = add(sum.y, shuffle_xor_f32(sum.y, mask));
            sum.z = add(sum.z, shuffle_xor_f32(sum.z, mask));
            sum.w = add(sum.w, shuffle_xor_f32(sum.w, mask));
        }
    }
    return sum;
}

// Stage the steps of this warp. Only this warp reads them, after a barrier of its own.
template <class C>
FBQ_DEVICE void stage_t(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    const int g = lane >> 2, t = lane & 3;
    FBQ_NO_UNROLL
    for (int step = warp; step < args.rank_tiles; step += C::warps) {
        const f32x4 v = gather_t<C>(args, step, lane);
        float most = larger_magnitude(larger_magnitude(v.x, v.y), larger_magnitude(v.z, v.w));
        most = larger_magnitude(most, shuffle_xor_f32(most, 1));
        most = larger_magnitude(most, shuffle_xor_f32(most, 2));
        // bring the largest of 16 ranks to 2^14 .. 2^15; both powers stay normal numbers
        u32 exponent = bits_of(most) >> 23;
        exponent = exponent < 15 ? 15 : exponent > 254 ? 254 : exponent;
        const float down = float_of((268 - exponent) << 23), up = float_of((exponent - 14) << 23);
        const float x = mul(v.x, down), y = mul(v.y, down), z = mul(v.z, down), w = mul(v.w, down);
        u32x4 b;
        float low, high;
        b.x = f16x2_of_f32(x, y);
        b.y = f16x2_of_f32(z, w);
        f32x2_of_f16x2(b.x, low, high);
        b.z = f16x2_of_f32(sub(x, low), sub(y, high));
        f32x2_of_f16x2(b.y, low, high);
        b.w = f16x2_of_f32(sub(z, low), sub(w, high));
        const saddr at = area + (u32)(step * branch_step_bytes);
        if (C::columns == 1)
            sts_u32x2(at + (u32)lane * 8, g & 1 ? b.z : b.x, g & 1 ? b.w : b.y);
        else
            sts_u32x4(at + (u32)lane * 16, b);
        if (t == 0)
            sts_f32(at + 512 + (u32)g * 4, up);
    }
}

// y += t . B^T for this warp's steps of a tile, whose blocks of B begin at `up`.
template <class C>
FBQ_DEVICE void add_branch(float (&y)[4], const fbq_fused_args &args, saddr area, saddr up,
                           int warp, int lane)
{
    const int t = lane & 3;
    FBQ_NO_UNROLL
    for (int step = warp; step < args.rank_tiles; step += C::warps) {
        const saddr at = area + (u32)(step * branch_step_bytes);
        const u32x4 b = lds_u32x4(up + (u32)(step * 512 + lane * 16));
        float c[4] = {0, 0, 0, 0}, even, odd;
        if (C::columns == 1) {
            const u32x2 v = lds_u32x2(at + (u32)lane * 8);
            mma_f16(c, b.x, b.y, b.z, b.w, v.x, v.y);
            even = lds_f32(at + 512);
            y[0] = fma(even, add(c[0], c[1]), y[0]);
            y[2] = fma(even, add(c[2], c[3]), y[2]);
            continue;
        }
        const u32x4 v = lds_u32x4(at + (u32)lane * 16);
        mma_f16(c, b.x, b.y, b.z, b.w, v.x, v.y);
        mma_f16(c, b.x, b.y, b.z, b.w, v.z, v.w);
        lds_f32x2(at + 512 + (u32)t * 8, even, odd);
        y[0] = fma(even, c[0], y[0]);
        y[2] = fma(even, c[2], y[2]);
        y[1] = fma(odd, c[1], y[1]);
        y[3] = fma(odd, c[3], y[3]);
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
