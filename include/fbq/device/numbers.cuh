// fbq/device/numbers.cuh: numbers of 16 bits, fp16 or bf16, under one set of names.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_NUMBERS_CUH
#define FBQ_DEVICE_NUMBERS_CUH

#include "ptx.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Types as types.h numbers them.
constexpr int type_f16 = 1;
constexpr int type_bf16 = 2;
constexpr int type_f32 = 3;
constexpr int type_i8 = 4; // of factors alone (factor.cuh)

// Bits of the mantissa, and what the exponent's field is above the exponent.
template <int Type>
struct Number {
    static_assert(Type == type_f16 || Type == type_bf16, "");
    static constexpr int mantissa = Type == type_f16 ? 10 : 7;
    static constexpr int exponent_bias = Type == type_f16 ? 15 : 127;
    static constexpr u32 one = (u32)exponent_bias << mantissa;
};

template <int Type>
FBQ_DEVICE float f32_of(u32 low16)
{
    return Type == type_f16 ? f32_of_f16(low16) : float_of(low16 << 16);
}
// Both halves of a register.
template <int Type>
FBQ_DEVICE void f32x2_of(u32 v, float &low, float &high)
{
    if (Type == type_f16) {
        f32x2_of_f16x2(v, low, high);
    } else {
        low = float_of(v << 16);
        high = float_of(v & 0xffff0000u);
    }
}
template <int Type>
FBQ_DEVICE u32 word_of_f32(float v)
{
    return Type == type_f16 ? f16_of_f32(v) : bf16_of_f32(v);
}
template <int Type>
FBQ_DEVICE u32 pair_of_f32(float low, float high)
{
    return Type == type_f16 ? f16x2_of_f32(low, high) : bf16x2_of_f32(low, high);
}
// The larger of each half. A NaN on either side gives NaN.
template <int Type>
FBQ_DEVICE u32 larger(u32 a, u32 b)
{
    return Type == type_f16 ? larger_f16x2(a, b) : larger_bf16x2(a, b);
}

// v as a nearest pair of numbers and what is missing of it.
template <int Type>
FBQ_DEVICE u32 pair_off(float &low, float &high)
{
    float l, h;
    const u32 pair = pair_of_f32<Type>(low, high);
    f32x2_of<Type>(pair, l, h);
    low = sub(low, l);
    high = sub(high, h);
    return pair;
}

template <int Type>
FBQ_DEVICE void mma(float (&c)[4], const u32x4 &a, u32 b0, u32 b1)
{
    if (Type == type_f16)
        mma_f16(c, a.x, a.y, a.z, a.w, b0, b1);
    else
        mma_bf16(c, a.x, a.y, a.z, a.w, b0, b1);
}

// A pair of fp16 numbers as the sum of two pairs of bf16 ones, exactly: 11 bits are 8 and 3.
FBQ_DEVICE void bf16_parts(u32 f16x2, u32 &high, u32 &low)
{
    float x, y;
    f32x2_of_f16x2(f16x2, x, y);
    high = pair_off<type_bf16>(x, y);
    low = bf16x2_of_f32(x, y);
}

// c += a . b for operands of two types: the fp16 one becomes bf16 in two parts.
template <int A, int B>
FBQ_DEVICE void mma_mixed(float (&c)[4], const u32x4 &a, u32 b0, u32 b1)
{
    if (A == B) {
        mma<A>(c, a, b0, b1);
    } else if (A == type_f16) {
        u32x4 high, low;
        bf16_parts(a.x, high.x, low.x);
        bf16_parts(a.y, high.y, low.y);
        bf16_parts(a.z, high.z, low.z);
        bf16_parts(a.w, high.w, low.w);
        mma<type_bf16>(c, high, b0, b1);
        mma<type_bf16>(c, low, b0, b1);
    } else {
        u32 high0, low0, high1, low1;
        bf16_parts(b0, high0, low0);
        bf16_parts(b1, high1, low1);
        mma<type_bf16>(c, a, high0, high1);
        mma<type_bf16>(c, a, low0, low1);
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
