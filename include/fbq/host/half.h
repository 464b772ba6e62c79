/* fbq/host/half.h: 16-bit floating-point words to and from float, in portable C.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_HALF_H
#define FBQ_HOST_HALF_H

#include "posix.h"

#include <math.h>
#include <string.h>

#include "../types.h"

static inline uint32_t fbq_bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float fbq_f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* fp16 -> float, exact. */
static inline float fbq_f32_of_f16(uint16_t word)
{
    uint32_t sign = (uint32_t)(word & 0x8000u) << 16;
    uint32_t exponent = (word >> 10) & 0x1fu;
    uint32_t mantissa = word & 0x3ffu;
    if (exponent == 0x1f)
        return fbq_f32_of_bits(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        /* zero and subnormals: mantissa * 2^-24 */
        float value = (float)mantissa * 5.9604644775390625e-8f;
        return sign ? -value : value;
    }
    return fbq_f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* float -> fp16, to nearest, ties to even; overflow gives infinity, NaN stays NaN. */
static inline uint16_t fbq_f16_of_f32(float value)
{
    uint32_t bits = fbq_bits_of_f32(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* 65520 and above round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) {
        /* below 2^-14: a multiple of 2^-24; adding 0.5 aligns the float's last bit with it */
        float shifted = fbq_f32_of_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (fbq_bits_of_f32(shifted) - 0x3f000000u));
    }
    magnitude += 0xfffu + (magnitude >> 13 & 1u); /* round half to even */
    return (uint16_t)(sign | (magnitude - 0x38000000u) >> 13);
}

/* bf16 -> float, exact; float -> bf16, to nearest, ties to even. */
static inline float fbq_f32_of_bf16(uint16_t word)
{
    return fbq_f32_of_bits((uint32_t)word << 16);
}

static inline uint16_t fbq_bf16_of_f32(float value)
{
    uint32_t bits = fbq_bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* A 16-bit word of `type` (FBQ_F16 or FBQ_BF16) as a float, and the nearest word to a float. */
static inline float fbq_f32_of_word(fbq_type type, uint16_t word)
{
    return type == FBQ_BF16 ? fbq_f32_of_bf16(word) : fbq_f32_of_f16(word);
}

static inline uint16_t fbq_word_of_f32(fbq_type type, float value)
{
    return type == FBQ_BF16 ? fbq_bf16_of_f32(value) : fbq_f16_of_f32(value);
}

/* The smallest word not below a positive float: scales must be rounded up, or |w - w_F| <= s/2
 * fails by the rounding of s. */
static inline uint16_t fbq_word_up_of_f32(fbq_type type, float value)
{
    uint16_t word = fbq_word_of_f32(type, value);
    if (fbq_f32_of_word(type, word) < value)
        word++;
    return word;
}

#endif /* FBQ_HOST_HALF_H */
