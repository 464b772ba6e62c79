// fbq/device/unpack.cuh: packed codes into tensor-core operands with no dequantisation arithmetic.
//
// For fp16 x a code is put under the exponent of an fp16 number, high in the mantissa, so that the
// number reads bias + q; the tensor core multiplies that, and the bias times the sum of x is taken
// out once a group. Codes at odd k are stored as their complement and get a negative sign, so that
// the biases of neighbouring k nearly cancel: the tensor core truncates its sums, and small sums
// lose less (docs/numerics.md). For x in integer limbs a code is a byte as it stands.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_UNPACK_CUH
#define FBQ_DEVICE_UNPACK_CUH

#include "ptx.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// One tensor-core step of 4-bit codes: 16 rows x 16 k from one word of each lane. Low nibbles are
// row g, high nibbles row g + 8; bytes 0 and 2 are one pair of k, bytes 1 and 3 the next.
//   row g      256 + q (even k), -(256 + 15 - q) (odd k)
//   row g + 8   16 + q (even k),  -(16 + 15 - q) (odd k)
struct Operand4 {
    u32 a0, a1, a2, a3;
};

FBQ_DEVICE Operand4 unpack4(u32 word)
{
    const u32 first = word << 2, second = word >> 6;
    Operand4 a;
    a.a0 = and_or<0x003c003cu, 0xdc005c00u>(first);
    a.a1 = and_or<0x03c003c0u, 0xcc004c00u>(first);
    a.a2 = and_or<0x003c003cu, 0xdc005c00u>(second);
    a.a3 = and_or<0x03c003c0u, 0xcc004c00u>(second);
    return a;
}

// What unpack4 adds to the codes, as an operand, negated: rows 0-7 and 8-15 have biases of their
// own.
//   bias at even k: 256 or 16; at odd k: -271 or -31
FBQ_DEVICE Operand4 minus_bias4()
{
    Operand4 a;
    a.a0 = a.a2 = 0x5c3cdc00u; // -256, 271
    a.a1 = a.a3 = 0x4fc0cc00u; // -16, 31
    return a;
}

// The same word as bytes for the integer tensor core, all of four k: row g as q, row g + 8 as
// 16 q. No shift, no bias: one instruction for four codes.
FBQ_DEVICE u32 bytes4_upper(u32 word)
{
    return and_xor<0x0f0f0f0fu, 0x0f0f0000u>(word);
}
FBQ_DEVICE u32 bytes4_lower(u32 word)
{
    return and_xor<0xf0f0f0f0u, 0xf0f00000u>(word);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
