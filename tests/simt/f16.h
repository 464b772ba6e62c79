// tests/simt/f16.h: IEEE binary16 and bfloat16: to and from binary32, rounded to nearest even, and
// the larger of two.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_F16_H
#define FBQ_SIMT_F16_H

#include <cstdint>
#include <cstring>

namespace simt
{

inline float float_of_bits(std::uint32_t v)
{
    float f;
    std::memcpy(&f, &v, sizeof f);
    return f;
}

inline std::uint32_t bits_of_float(float f)
{
    std::uint32_t v;
    std::memcpy(&v, &f, sizeof v);
    return v;
}

inline float f32_of_f16(std::uint32_t h)
{
    std::uint32_t sign = (h & 0x8000u) << 16;
    std::uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) { // infinity or NaN
        return float_of_bits(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    }
    if (magnitude < 0x400u) { // zero or subnormal: a whole number of 2^-24
        return float_of_bits(sign | bits_of_float((float)magnitude * 0x1p-24f));
    }
    return float_of_bits(sign | ((magnitude << 13) + ((127u - 15u) << 23)));
}

inline std::uint32_t f16_of_f32(float f)
{
    std::uint32_t v = bits_of_float(f);
    std::uint32_t sign = v >> 16 & 0x8000u;
    std::uint32_t magnitude = v & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return 0x7fffu; // the GPU's one NaN
    }
    if (magnitude >= 0x477ff000u) { // at least 65520 rounds to infinity
        return sign | 0x7c00u;
    }
    if (magnitude < 0x38800000u) { // below the smallest normal, 2^-14
        // Adding 0.5 leaves the mantissa in units of 2^-24, rounded to nearest even by the FPU.
        std::uint32_t units = bits_of_float(float_of_bits(magnitude) + 0.5f) - bits_of_float(0.5f);
        return sign | units;
    }
    std::uint32_t odd = magnitude >> 13 & 1u;
    return sign | ((magnitude - ((127u - 15u) << 23) + 0xfffu + odd) >> 13);
}

inline float f32_of_bf16(std::uint32_t h)
{
    return float_of_bits(h << 16);
}

inline std::uint32_t bf16_of_f32(float f)
{
    const std::uint32_t v = bits_of_float(f);
    if ((v & 0x7fffffffu) > 0x7f800000u) {
        return 0x7fffu; // the GPU's one NaN
    }
    return (v + 0x7fffu + (v >> 16 & 1u)) >> 16;
}

// As PTX's max.NaN: a NaN on either side is the GPU's one NaN, and +0 is larger than -0. `infinity`
// says of which type the numbers are.
inline std::uint32_t larger(std::uint32_t a, std::uint32_t b, std::uint32_t infinity)
{
    if ((a & 0x7fffu) > infinity || (b & 0x7fffu) > infinity) {
        return 0x7fffu;
    }
    // Sign and magnitude, folded so that the order of the numbers is that of integers.
    auto rank = [](std::uint32_t h) {
        return h & 0x8000u ? 0x7fff - (int)(h & 0x7fffu) : (int)h + 0x8000;
    };
    return rank(a) > rank(b) ? a : b;
}

inline std::uint32_t larger_f16(std::uint32_t a, std::uint32_t b)
{
    return larger(a, b, 0x7c00u);
}

inline std::uint32_t larger_bf16(std::uint32_t a, std::uint32_t b)
{
    return larger(a, b, 0x7f80u);
}

} // namespace simt

#endif
