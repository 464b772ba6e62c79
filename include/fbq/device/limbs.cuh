// fbq/device/limbs.cuh: one row of x as integers, multiplied exactly.
//
// A row of x uses one of the tensor core's eight columns. Here it uses three: 256 neighbouring
// numbers of x become integers of 22 bits under a common power of two, and each integer three
// signed bytes, its limbs; limb i stands in column i. Packed codes are unsigned bytes almost as
// they are, so a unit of 128 4-bit codes costs 16 instructions of unpacking, the sums are exact,
// and no bias needs to be taken out (docs/numerics.md).
//
// Shared memory of a unit made ready: for each flush {-sum x, power of two} as lanes t = 0 and t =
// 1 want them, then for each chunk three limbs of 64 bytes, four vectors of 16 each.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_LIMBS_CUH
#define FBQ_DEVICE_LIMBS_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

constexpr int limb_bytes = 64; // of a chunk
constexpr int limb_chunk_bytes = 3 * limb_bytes;

// Columns of the product, and what lane t (its columns are 2t and 2t + 1) makes of them: t even has
// limbs 0 and 1, t odd limb 2 and nothing; columns 4-7 repeat 0-3.
FBQ_DEVICE int limb_weight(int lane)
{
    return lane & 1 ? 0 : 256;
}

// A lane's operands of a unit: of each chunk one vector, {x y} for k 0-31 and {z w} for the rest.
template <class C>
FBQ_DEVICE void limbs_load(u32x4 (&b)[2], saddr unit, int lane)
{
    const int limb = min_int(lane >> 2 & 3, 2);
    const saddr at = unit + (u32)(C::flushes * 16 + limb * limb_bytes + (lane & 3) * 16);
    b[0] = lds_u32x4(at);
    b[1] = lds_u32x4(at + (u32)limb_chunk_bytes);
}

// Four numbers, as 1.5 * 2^23 + integer + 0x8080 in fp32, into the word of each limb. Bytes 0 and 1
// are limbs once 128 is taken off, byte 2 once 64 is.
FBQ_DEVICE void limbs_of(u32 k0, u32 k1, u32 k2, u32 k3, u32 (&limb)[3])
{
    const u32 even = permute_bytes<0x5140>(k0, k2), odd = permute_bytes<0x5140>(k1, k3);
    const u32 top =
        permute_bytes<0x5410>(permute_bytes<0x4062>(k0, k2), permute_bytes<0x4062>(k1, k3));
    limb[0] = permute_bytes<0x5410>(even, odd) ^ 0x80808080u;
    limb[1] = permute_bytes<0x7632>(even, odd) ^ 0x80808080u;
    // a byte of `top` is 32 .. 96, so no borrow leaves it
    limb[2] = ((top | 0x80808080u) - 0x40404040u) ^ 0x80808080u;
}

// A lane's eight numbers of a block, as integers below 2^21 times a power of two.
struct LimbBlock {
    u32 limb[2][3];
    float power;
};

template <int X>
FBQ_DEVICE LimbBlock limb_block_of(const u32x4 &v)
{
    constexpr int mantissa = Number<X>::mantissa, bias = Number<X>::exponent_bias;
    constexpr u32 least = X == type_f16 ? 1 : 40; // the smallest exponent field that is told apart

    constexpr float offset = 12582912.0f + 32896.0f; // 1.5 * 2^23 + 0x8080
    const u32 most2 = larger<X>(larger<X>(v.x & 0x7fff7fffu, v.y & 0x7fff7fffu),
                                larger<X>(v.z & 0x7fff7fffu, v.w & 0x7fff7fffu));
    const u32 low = most2 & 0xffffu, high = most2 >> 16;
    const u32 most = warp_max_u32(low > high ? low : high);
    // numbers below 2^(e - bias + 1) become integers below 2^21; an infinity or NaN makes all NaN
    const u32 exponent = most < least << mantissa ? least : most >> mantissa;
    const float up = float_of((147 + bias - exponent) << 23);
    const u32 word[4] = {v.x, v.y, v.z, v.w};
    LimbBlock block;
    block.power = float_of(exponent == 2 * bias + 1 ? 0x7fc00000u : (exponent + 107 - bias) << 23);
    FBQ_UNROLL
    for (int i = 0; i < 2; i++) {
        float x0, x1, x2, x3;
        f32x2_of<X>(word[2 * i], x0, x1);
        f32x2_of<X>(word[2 * i + 1], x2, x3);
        limbs_of(bits_of(fma(x0, up, offset)), bits_of(fma(x1, up, offset)),
                 bits_of(fma(x2, up, offset)), bits_of(fma(x3, up, offset)), block.limb[i]);
    }
    return block;
}

// The corrections of the two units that a block is: of each flush minus the sum of x, limbs 0 and 1
// for lane t = 0 of limbs_flush and limb 2 for lane t = 1, with the power. All sums are integers
// that fp32 holds.
template <class C>
FBQ_DEVICE void limbs_correct(saddr unit, const LimbBlock &block, bool there, int lane)
{
    constexpr u32 ones = 0x01010101u;
    constexpr int lanes = C::flush / 8; // that hold a flush
    int sum[3];
    FBQ_UNROLL
    for (int l = 0; l < 3; l++)
        sum[l] = dot4_s8(block.limb[0][l], ones, dot4_s8(block.limb[1][l], ones, 0));
    const float low = f32_of_s32(sum[0] + 256 * sum[1]), high = f32_of_s32(sum[2]);
    // one lane of a pair goes on with one of them
    const bool odd = lane & 1;
    float mine = add(odd ? high : low, shuffle_xor_f32(odd ? low : high, 1));
    FBQ_UNROLL
    for (int mask = 2; mask < lanes; mask *= 2)
        mine = add(mine, shuffle_xor_f32(mine, mask));
    if (there && lane % lanes < 2)
        sts_f32x2(unit + (u32)(lane % 16 / lanes * 16 + lane % 2 * 8), -mine,
                  odd ? mul(block.power, 65536.0f) : block.power);
}

// A lane's eight numbers of each of several blocks, which are on their way from memory.
template <class C>
struct Row {
    u32x4 words[C::row_blocks];
};

// Ask for the blocks from a unit on, up to another. What cannot come in words is asked for in a
// loop: its code is long, and would stand here for each block.
template <class C>
FBQ_DEVICE void row_ask(Row<C> &row, const fbq_fused_args &args, int first, int end, int lane)
{
    const int begin = first * unit_codes + lane * 8, units = end - first - (lane >> 4);
    FBQ_UNROLL
    for (int i = 0; i < C::row_blocks; i++) {
        const int k = begin + 2 * i * unit_codes;
        row.words[i] = u32x4{0, 0, 0, 0};
        if (args.x_vectors && 2 * i < units && k + 8 <= args.k)
            row.words[i] = ldg_u32x4((const u16 *)args.x + k);
    }
    if (x_in_words(args.k, args.x_vectors))
        return;
    FBQ_NO_UNROLL
    for (int i = 0; i < C::row_blocks; i++) {
        const int k = begin + 2 * i * unit_codes;
        u32x4 words = row.words[0];
        if (2 * i < units && !(args.x_vectors && k + 8 <= args.k))
            words = x_numbers(args.x, 0, k, args.k);
        // the next block comes to the front
        FBQ_UNROLL
        for (int j = 1; j < C::row_blocks; j++)
            row.words[j - 1] = row.words[j];
        row.words[C::row_blocks - 1] = words;
    }
}

// Make `count` units of them ready. Several blocks side by side, since each is a long chain of
// short steps.
template <class C>
FBQ_DEVICE void limbs_prepare(saddr ready, const Row<C> &row, int count, int lane)
{
    // eight k of half-chunk h and lane t: half of t's vector
    const int unit = lane >> 4, chunk = lane >> 3 & 1, half = lane >> 2 & 1, t = lane & 3;
    const u32 to = (u32)(C::flushes * 16 + chunk * limb_chunk_bytes + t * 16 + half * 8);
    LimbBlock block[C::row_blocks];
    FBQ_UNROLL
    for (int i = 0; i < C::row_blocks; i++)
        block[i] = limb_block_of<C::x>(row.words[i]);
    FBQ_UNROLL
    for (int i = 0; i < C::row_blocks; i++) {
        const bool there = 2 * i + unit < count;
        const saddr at = ready + (u32)((2 * i + unit) * C::unit_bytes);
        FBQ_UNROLL
        for (int l = 0; l < 3; l++)
            if (there)
                sts_u32x2(at + (u32)(l * limb_bytes) + to, block[i].limb[0][l],
                          block[i].limb[1][l]);
        limbs_correct<C>(at, block[i], there, lane);
    }
}

// `count` units from `first` on, of which the first blocks have been asked for, made ready.
template <class C>
FBQ_DEVICE void row_prepare(const fbq_fused_args &args, saddr ready, Row<C> &row, int first,
                            int count, int lane)
{
    constexpr int step = 2 * C::row_blocks;
    constexpr bool once = C::resident && C::chunks > 0 && C::row_units <= step;
    FBQ_NO_UNROLL
    for (int u = 0;;) {
        limbs_prepare<C>(ready + (u32)(u * C::unit_bytes), row, count - u, lane);
        u += step;
        if (once || u >= count)
            return;
        row_ask<C>(row, args, first + u, first + count, lane);
    }
}

// y += a flush of codes: scale * power * (sum - z sum x), where row g + 8 counts 2^bits times.
template <class C>
FBQ_DEVICE void limbs_flush(float (&y)[4], const int (&c)[4], saddr correction, u32 scale,
                            float z_upper, float z_lower, int weight)
{
    float minus_sum, power, s_upper, s_lower;
    lds_f32x2(correction, minus_sum, power);
    f32x2_of<C::scale>(scale, s_upper, s_lower);
    const float upper = fma(z_upper, minus_sum, f32_of_s32(c[0] + c[1] * weight));
    const float lower =
        fma(z_lower, mul(minus_sum, (float)(1 << C::bits)), f32_of_s32(c[2] + c[3] * weight));
    y[0] = fma(mul(s_upper, power), upper, y[0]);
    y[2] = fma(mul(s_lower, power), lower, y[2]);
}

// The lanes' sums of a tile -> rows g and g + 8, in the lanes with t = 0.
template <class C>
FBQ_DEVICE void limbs_finish(float (&y)[4])
{
    y[0] = add(y[0], shuffle_xor_f32(y[0], 1));
    y[2] = mul(add(y[2], shuffle_xor_f32(y[2], 1)), 1.0f / (1 << C::bits));
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
