// fbq/device/unpack.cuh: packed codes into tensor-core operands with no dequantisation arithmetic.
//
// For x as fp16 or bf16 numbers a code is put under the exponent of such a number, into its
// mantissa, so that the number reads bias + q; the tensor core multiplies that, and the bias times
// the sum of x is taken out once a group. Codes at odd k are stored as their complement and get a
// negative sign, so that the biases of neighbouring k nearly cancel: the tensor core truncates its
// sums, and small sums lose less (docs/numerics.md). For x in integer limbs codes are bytes as they
// stand.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_UNPACK_CUH
#define FBQ_DEVICE_UNPACK_CUH

#include "numbers.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// ---- The codes of a step (docs/layout.md) ----

// A lane's words of a unit of two chunks are 2 * Bits; `step` is 0 .. 7. The word whose bytes hold
// the step's codes of four k, row g's in the lowest bits and row g + 8's above them, from bit
// step_shift on.
template <int Bits>
FBQ_DEVICE u32 step_word(const u32 (&words)[2 * Bits], int step)
{
    const int chunk = step / 4 * Bits, j = step % 4;
    if (Bits == 2)
        return words[chunk + j / 2];
    if (Bits == 4 || j < 3)
        return words[chunk + j];
    return (words[chunk] >> 6 & 0x03030303u) | (words[chunk + 1] >> 4 & 0x0c0c0c0cu) |
           (words[chunk + 2] >> 2 & 0x30303030u);
}

template <int Bits>
FBQ_DEVICE int step_shift(int step)
{
    return Bits == 2 ? 4 * (step & 1) : 0;
}

// ---- As bytes for the integer tensor core, all of four k ----

FBQ_DEVICE constexpr u32 every_byte(u32 byte)
{
    return byte * 0x01010101u;
}

// A step's word, its codes in the lowest bits.
template <int Bits>
FBQ_DEVICE u32 step_bytes(const u32 (&words)[2 * Bits], int step)
{
    return step_word<Bits>(words, step) >> step_shift<Bits>(step);
}

// Row g as q, row g + 8 as 2^Bits q. No bias; the complement is taken back.
template <int Bits>
FBQ_DEVICE u32 bytes_upper(u32 word)
{
    constexpr u32 mask = every_byte((1u << Bits) - 1);
    return and_xor<mask, (mask & 0xffff0000u)>(word);
}
template <int Bits>
FBQ_DEVICE u32 bytes_lower(u32 word)
{
    constexpr u32 mask = every_byte(((1u << Bits) - 1) << Bits);
    return and_xor<mask, (mask & 0xffff0000u)>(word);
}

// ---- Under an exponent ----

// Where in the mantissa of a number of type X codes are put, lowest bit first: high, for a small
// bias, but where one of four needs no shift. With fp16 the bias is 64 for 4 bits, 8 for 3, 4 for
// 2; with bf16 it is 128, 16 and 8. (fp16's 4 bits at 6 would have 16, for one shift more.)
template <int X, int Bits>
struct Biased {
    static constexpr int place = X == type_f16 ? (Bits == 4   ? 4
                                                  : Bits == 3 ? 7
                                                              : 8)
                                               : (Bits == 4   ? 0
                                                  : Bits == 3 ? 3
                                                              : 4);
    static constexpr u32 most = (1u << Bits) - 1;
    static constexpr u32 number = // the bias
        (u32)(Number<X>::exponent_bias + Number<X>::mantissa - place) << Number<X>::mantissa;
    static constexpr u32 mask = (most << place) * 0x10001u;
    static constexpr u32 even_odd = number | (number | 0x8000u) << 16;
};

// A field of the halves of a word, from bit `from` on, as numbers: bias + q at even k and
// -(bias + most - q) at odd k.
template <int X, int Bits>
FBQ_DEVICE u32 biased(u32 word, int from)
{
    typedef Biased<X, Bits> B;
    const u32 v = from < B::place ? word << (B::place - from) : word >> (from - B::place);
    return and_or<B::mask, B::even_odd>(v);
}

// A step's operand.
template <int X, int Bits>
FBQ_DEVICE u32x4 operand_of(const u32 (&words)[2 * Bits], int step)
{
    const u32 word = step_word<Bits>(words, step);
    const int from = step_shift<Bits>(step);
    return u32x4{biased<X, Bits>(word, from), biased<X, Bits>(word, from + Bits),
                 biased<X, Bits>(word, from + 8), biased<X, Bits>(word, from + 8 + Bits)};
}

// What operand_of adds to the codes, as an operand: minus the bias in rows 0-7 and minus one in
// rows 8-15, so that one step sums both corrections of a group of x: -sum(bias x) and -sum(x).
template <int X, int Bits>
FBQ_DEVICE u32x4 minus_bias()
{
    typedef Biased<X, Bits> B;
    constexpr u32 bias = (B::number | 0x8000u) | (B::number | B::most << B::place) << 16;
    constexpr u32 one = (Number<X>::one | 0x8000u) * 0x10001u;
    return u32x4{bias, one, bias, one};
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
