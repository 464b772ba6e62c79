// fbq/device/words.cuh: up to eight rows of x as the fp16 numbers they are.
//
// Shared memory of a unit: for each flush and column {-sum(bias x) of rows 0-7, of rows 8-15,
// -sum(x), nothing}, then for each row of x 256 bytes. In odd rows the two halves of every 128
// bytes change places, so that neighbouring columns fall into different banks.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_WORDS_CUH
#define FBQ_DEVICE_WORDS_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

constexpr int word_row_bytes = 2 * unit_codes;

// Where a lane reads the two half-chunks of a chunk: its row of x (column of the product) and its
// quarter of 32 k. Lanes of columns beyond m read the last row: their results are never looked at.
struct WordLane {
    saddr half[2];
};

template <class C>
FBQ_DEVICE WordLane word_lane(saddr unit, int lane, int m)
{
    const int column = min_int(lane >> 2, m - 1);
    const saddr row = unit + (u32)(C::correction_bytes + column * word_row_bytes + (lane & 3) * 16);
    const u32 swap = (u32)(column & 1) * 64;
    return WordLane{{row + swap, row + (64 - swap)}};
}

// Fetch the units [0, count) of a slice.
template <class C>
FBQ_DEVICE void words_fetch(const fbq_fused_args &args, saddr slice, int first, int count, int lane)
{
    const int vector = lane & 15;
    FBQ_NO_UNROLL
    for (int u = 0; u < count; u++) {
        FBQ_NO_UNROLL
        for (int row = lane >> 4; row < args.m; row += 2)
            fetch_x_words(args,
                          slice + (u32)(u * args.unit_bytes + C::correction_bytes +
                                        row * word_row_bytes + ((vector * 16) ^ ((row & 1) * 64))),
                          row, (first + u) * unit_codes + vector * 8);
    }
}

// The corrections of each flush, for every column, as products with operands of their own.
template <class C>
FBQ_DEVICE void words_prepare(const fbq_fused_args &args, saddr slice, int count, int lane)
{
    const Operand4 bias = minus_bias4();
    FBQ_NO_UNROLL
    for (int u = 0; u < count; u++, slice += (u32)args.unit_bytes) {
        const WordLane x = word_lane<C>(slice, lane, args.m);
        FBQ_UNROLL
        for (int f = 0; f < C::flushes; f++) {
            float b[4] = {0, 0, 0, 0}, s[4] = {0, 0, 0, 0};
            FBQ_UNROLL
            for (int h = f * C::flush / 32; h < (f + 1) * C::flush / 32; h++) {
                const u32x4 v = lds_u32x4(x.half[h % 2] + (u32)(h / 2 * 128));
                mma_f16(b, bias.a0, bias.a1, bias.a2, bias.a3, v.x, v.y);
                mma_f16(b, bias.a0, bias.a1, bias.a2, bias.a3, v.z, v.w);
                mma_f16(s, 0xbc00bc00u, 0xbc00bc00u, 0xbc00bc00u, 0xbc00bc00u, v.x, v.y);
                mma_f16(s, 0xbc00bc00u, 0xbc00bc00u, 0xbc00bc00u, 0xbc00bc00u, v.z, v.w);
            }
            // any four lanes hold all columns
            const saddr to = slice + (u32)((f * C::columns + 2 * lane) * 16);
            if (lane < 4) {
                sts_f32x4(to, f32x4{b[0], b[2], s[0], 0});
                sts_f32x4(to + 16, f32x4{b[1], b[3], s[1], 0});
            }
        }
    }
}

// Start a flush at minus everything that is not q: -sum(bias x) - z sum(x).
template <class C>
FBQ_DEVICE void words_start(float (&c)[4], saddr unit, int f, float z_upper, float z_lower,
                            int lane)
{
    const saddr from = unit + (u32)((f * C::columns + 2 * (lane & 3)) * 16);
    const f32x4 even = lds_f32x4(from), odd = lds_f32x4(from + 16);
    c[0] = fma(z_upper, even.z, even.x);
    c[1] = fma(z_upper, odd.z, odd.x);
    c[2] = fma(z_lower, even.z, even.y);
    c[3] = fma(z_lower, odd.z, odd.y);
}

FBQ_DEVICE void words_flush(float (&y)[4], const float (&c)[4], u32 scale)
{
    float upper, lower;
    f32x2_of_f16x2(scale, upper, lower);
    y[0] = fma(upper, c[0], y[0]);
    y[1] = fma(upper, c[1], y[1]);
    y[2] = fma(lower, c[2], y[2]);
    y[3] = fma(lower, c[3], y[3]);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
