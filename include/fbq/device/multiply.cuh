// fbq/device/multiply.cuh: a stage's codes times a slice of x.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_MULTIPLY_CUH
#define FBQ_DEVICE_MULTIPLY_CUH

#include "limbs.cuh"
#include "words.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// A flush's zero points for rows g and g + 8.
template <class C>
FBQ_DEVICE void zeros_of(u32 packed, float &upper, float &lower)
{
    upper = lower = 8.0f;
    if (C::zero == zero_code) {
        upper = f32_of_u32(packed & 15u);
        lower = f32_of_u32(packed >> 4);
    } else if (C::zero == zero_f16) {
        f32x2_of_f16x2(packed, upper, lower);
    }
}

// A flush's scales (rows g and g + 8) and packed zero points.
template <class C>
FBQ_DEVICE void scale_of(saddr scales, saddr zeros, int slot, u32 &scale, u32 &zero)
{
    zero = 0;
    if (C::zero == zero_f16) {
        const u32x2 v = lds_u32x2(scales + (u32)(slot * 64));
        scale = v.x;
        zero = v.y;
    } else {
        scale = lds_u32(scales + (u32)(slot * 32));
        if (C::zero == zero_code)
            zero = lds_u8(zeros + (u32)(slot * 8));
    }
}

// One unit of codes. `slot`: its first group in the stage, `slots`: the groups there are; `second`:
// where its second chunk is. Where K ends in the middle of a unit that is the first chunk again,
// and its groups beyond K are the last there is: they meet an x of zeros. `ready`: what was made of
// the unit's x; `x`: where this lane reads its words (several rows).
template <class C>
FBQ_DEVICE void multiply_unit(float (&y)[4], saddr codes, saddr second, saddr scales, saddr zeros,
                              saddr ready, saddr x, int slot, int slots, int lane)
{
    const u32x4 w[2] = {lds_u32x4(codes), lds_u32x4(second)};
    u32x4 limbs[2];
    if (C::columns == 1)
        limbs_load<C>(limbs, ready, lane);
    FBQ_UNROLL
    for (int f = 0; f < C::flushes; f++) {
        u32 scale, zero;
        float upper, lower;
        scale_of<C>(scales, zeros, C::flushes > 1 ? min_int(slot + f, slots - 1) : slot, scale,
                    zero);
        zeros_of<C>(zero, upper, lower);
        constexpr int steps = C::flush / 32;
        if (C::columns == 1) {
            int c[4] = {0, 0, 0, 0};
            FBQ_UNROLL
            for (int h = f * steps; h < (f + 1) * steps; h++) {
                const u32x4 v = w[h / 2], b = limbs[h / 2];
                const u32 first = h % 2 ? v.z : v.x, second = h % 2 ? v.w : v.y;
                mma_s8(c, bytes4_upper(first), bytes4_lower(first), bytes4_upper(second),
                       bytes4_lower(second), h % 2 ? b.z : b.x, h % 2 ? b.w : b.y);
            }
            limbs_flush<C>(y, c, ready + (u32)(f * 16 + (lane & 1) * 8), scale, upper, lower,
                           limb_weight(lane));
        } else {
            float c[4];
            words_start(c, ready + (u32)(f * 64), upper, lower, lane);
            FBQ_UNROLL
            for (int h = f * steps; h < (f + 1) * steps; h++) {
                const u32x4 v = w[h / 2], b = lds_u32x4(x + (u32)(h * 64));
                Operand4 a = unpack4(h % 2 ? v.z : v.x);
                mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.x, b.y);
                a = unpack4(h % 2 ? v.w : v.y);
                mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.z, b.w);
            }
            words_flush(y, c, scale);
        }
    }
}

// y += a step: the codes of a stage times the part of x in a slot.
template <class C>
FBQ_DEVICE void multiply(float (&y)[4], const fbq_fused_args &args, const Part &p, saddr stage,
                         saddr slot_x, int lane)
{
    const int row = lane >> 2, group = group_of<C>(p.first);
    const int chunks = chunks_of<C>(args, p), slots = chunks * chunk_codes / C::flush;
    saddr codes = stage + (u32)lane * 16;
    saddr ready = slot_x, x = C::columns == 1 ? 0 : words_lane<C>(args, slot_x, lane);
    const saddr scales = stage + (u32)(C::stage_scales + row * (C::group_bytes / 8));
    const saddr zeros = stage + (u32)(C::stage_zeros + (group & 1) * 8 + row);
    FBQ_UNROLL_BY_2
    for (int u = 0; u < p.count; u++) {
        const int slot = group_of<C>(p.first + u) - group;
        multiply_unit<C>(y, codes, codes + (2 * u + 1 < chunks ? (u32)chunk_bytes : 0u), scales,
                         zeros, ready, x, slot, slots, lane);
        codes += 2 * chunk_bytes;
        ready += (u32)C::unit_bytes;
        x += 2 * unit_codes;
    }
}

// Make the part of x in a slot ready for multiply.
template <class C>
FBQ_DEVICE void prepare_x(const fbq_fused_args &args, saddr slot, int count, int lane)
{
    if (C::columns == 1)
        limbs_prepare<C>(slot, count, lane);
    else
        words_prepare<C>(args, slot, count, lane);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
