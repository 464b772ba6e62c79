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
    upper = lower = (float)(1 << (C::bits - 1));
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

// A lane's part of a unit, as it stands in a stage.
template <class C>
struct Unit {
    u32 codes[2 * C::bits];
    u32 scale[C::flushes], zero[C::flushes];
};

// Where a lane finds its part of a step in a stage.
struct StepAt {
    saddr codes, scales, zeros;
    int group, chunks; // of the step: the first group, and the chunks there are
};

template <class C>
FBQ_DEVICE StepAt step_at(const fbq_fused_args &args, const Part &p, saddr stage, int lane)
{
    const int row = lane >> 2;
    StepAt at;
    at.group = group_of<C>(p.first);
    at.chunks = chunks_of<C>(args, p);
    at.codes = stage + (u32)(lane * (C::bits == 3 ? 8 : 16));
    at.scales = stage + (u32)(C::stage_scales + row * (C::group_bytes / 8));
    at.zeros = stage + (u32)(C::stage_zeros + (at.group & 1) * 8 + row);
    return at;
}

template <int Count>
FBQ_DEVICE void put_words(u32 (&words)[Count], int first, const u32x4 &v)
{
    words[first] = v.x;
    words[first + 1] = v.y;
    words[first + 2] = v.z;
    words[first + 3] = v.w;
}

// A lane's words of unit u, whose codes begin at `codes`. Where 4-bit codes end in the middle of
// the unit its second chunk is the first again: it meets an x of zeros.
template <class C>
FBQ_DEVICE void codes_load(u32 (&words)[2 * C::bits], saddr codes, bool whole)
{
    if (C::bits == 3) {
        FBQ_UNROLL
        for (int i = 0; i < C::bits; i++) {
            const u32x2 v = lds_u32x2(codes + (u32)(i * 256));
            words[2 * i] = v.x;
            words[2 * i + 1] = v.y;
        }
    } else {
        put_words(words, 0, lds_u32x4(codes));
        if (C::bits == 4)
            put_words(words, 4 % (2 * C::bits), lds_u32x4(codes + (whole ? 512u : 0u)));
    }
}

// Unit u of a step. Groups beyond K are the last there is: they meet an x of zeros, too.
template <class C>
FBQ_DEVICE Unit<C> unit_load(const StepAt &at, const Part &p, int u)
{
    const int slot = group_of<C>(p.first + u) - at.group;
    Unit<C> unit;
    codes_load<C>(unit.codes, at.codes + (u32)(u * C::code_bytes),
                  C::whole_units || 2 * u + 1 < at.chunks);
    FBQ_UNROLL
    for (int f = 0; f < C::flushes; f++)
        scale_of<C>(at.scales, at.zeros,
                    C::flushes > 1 && !C::whole_units
                        ? min_int(slot + f, at.chunks * chunk_codes / C::flush - 1)
                        : slot + f,
                    unit.scale[f], unit.zero[f]);
    return unit;
}

// One row of x: y += neighbouring units of codes times x, side by side, since each is a chain of
// steps that wait for each other. `ready`: what was made of the first unit's x.
template <class C, int Units>
FBQ_DEVICE void multiply_units(float (&y)[C::halves][4], const Unit<C> (&unit)[Units], saddr ready,
                               int lane)
{
    u32x4 limbs[Units][2];
    FBQ_UNROLL
    for (int u = 0; u < Units; u++)
        limbs_load<C>(limbs[u], ready + (u32)(u * C::unit_bytes), lane);
    if (Units > 1)
        sync_warp(); // else ptxas puts the loads of one unit behind the products of the other
    constexpr int steps = C::flush / 32;
    FBQ_UNROLL
    for (int f = 0; f < C::flushes; f++) {
        int c[Units][4] = {};
        FBQ_UNROLL
        for (int h = f * steps; h < (f + 1) * steps; h++) {
            FBQ_UNROLL
            for (int u = 0; u < Units; u++) {
                const u32x4 b = limbs[u][h / 2];
                const u32 first = step_bytes<C::bits>(unit[u].codes, 2 * h),
                          second = step_bytes<C::bits>(unit[u].codes, 2 * h + 1);
                mma_s8(c[u], bytes_upper<C::bits>(first), bytes_lower<C::bits>(first),
                       bytes_upper<C::bits>(second), bytes_lower<C::bits>(second),
                       h % 2 ? b.z : b.x, h % 2 ? b.w : b.y);
            }
        }
        FBQ_UNROLL
        for (int u = 0; u < Units; u++) {
            float upper, lower;
            zeros_of<C>(unit[u].zero[f], upper, lower);
            limbs_flush<C>(y[0], c[u], ready + (u32)(u * C::unit_bytes + f * 16 + (lane & 1) * 8),
                           unit[u].scale[f], upper, lower, limb_weight(lane));
        }
    }
}

// Several rows: y += a unit of codes times x. `ready`: its corrections; `x`: where this lane reads
// its words.
template <class C>
FBQ_DEVICE void multiply_unit(float (&y)[C::halves][4], const Unit<C> &unit, saddr ready,
                              const saddr (&x)[C::halves], int lane)
{
    constexpr int steps = C::flush / 32;
    FBQ_UNROLL
    for (int f = 0; f < C::flushes; f++) {
        float c[C::halves][4], upper, lower;
        zeros_of<C>(unit.zero[f], upper, lower);
        FBQ_UNROLL
        for (int half = 0; half < C::halves; half++)
            words_start(c[half], ready + (u32)((f * C::halves + half) * 64), upper, lower, lane);
        FBQ_UNROLL
        for (int h = f * steps; h < (f + 1) * steps; h++) {
            const u32x4 first = operand_of<C::x, C::bits>(unit.codes, 2 * h),
                        second = operand_of<C::x, C::bits>(unit.codes, 2 * h + 1);
            FBQ_UNROLL
            for (int half = 0; half < C::halves; half++) {
                const u32x4 b = lds_u32x4(x[half] + (u32)(h * 64));
                mma<C::x>(c[half], first, b.x, b.y);
                mma<C::x>(c[half], second, b.z, b.w);
            }
        }
        FBQ_UNROLL
        for (int half = 0; half < C::halves; half++)
            words_flush<C>(y[half], c[half], unit.scale[f]);
    }
}

// y += a step: the codes of a stage times the part of x in a slot.
template <class C>
FBQ_DEVICE void multiply(float (&y)[C::halves][4], const fbq_fused_args &args, const Part &p,
                         saddr stage, saddr slot_x, int lane)
{
    const StepAt at = step_at<C>(args, p, stage, lane);
    if (C::columns == 1) {
        // not in all steps beside a sub-branch in the same launch, which is slower with that
        constexpr int side = C::whole ? 1 : 2;
        FBQ_UNROLL_BY_2
        for (int u = 0; u < C::part_units; u += side) {
            const saddr ready = slot_x + (u32)(u * C::unit_bytes);
            if (side == 2 && u + 1 < C::part_units && (C::even || u + 1 < p.count)) {
                const Unit<C> two[2] = {unit_load<C>(at, p, u), unit_load<C>(at, p, u + 1)};
                multiply_units<C>(y, two, ready, lane);
            } else if (C::even || u < p.count) {
                const Unit<C> one[1] = {unit_load<C>(at, p, u)};
                multiply_units<C>(y, one, ready, lane);
            }
        }
    } else {
        saddr ready = slot_x, x[C::halves];
        FBQ_UNROLL
        for (int half = 0; half < C::halves; half++)
            x[half] = words_lane<C>(args, slot_x, half, lane);
        FBQ_UNROLL_BY_2
        for (int u = 0; u < p.count; u++) {
            multiply_unit<C>(y, unit_load<C>(at, p, u), ready, x, lane);
            ready += (u32)C::unit_bytes;
            FBQ_UNROLL
            for (int half = 0; half < C::halves; half++)
                x[half] += 2 * unit_codes;
        }
    }
}

// A step held in registers.
template <class C>
struct Held {
    Unit<C> unit[C::holds ? C::part_units : 1];
};

template <class C>
FBQ_DEVICE void hold_step(Held<C> &held, const fbq_fused_args &args, const Part &p, saddr stage,
                          int lane)
{
    const StepAt at = step_at<C>(args, p, stage, lane);
    FBQ_UNROLL
    for (int u = 0; u < C::part_units; u++)
        if (u < p.count)
            held.unit[u] = unit_load<C>(at, p, u);
}

template <class C>
FBQ_DEVICE void multiply_held(float (&y)[C::halves][4], const Held<C> &held, const Part &p,
                              saddr slot_x, int lane)
{
    if (C::holds && p.count == C::part_units) {
        multiply_units<C>(y, held.unit, slot_x, lane);
    } else if (C::holds && p.count > 0) {
        const Unit<C> one[1] = {held.unit[0]}; // of two
        multiply_units<C>(y, one, slot_x, lane);
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
