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
// row g, high nibbles row g + 8; bytes 0 and 2 are one pair of k, bytes 1 and 3 the next. Every
// code goes to bits 4-7 of its half, which reads 64 + q at even k and -(64 + 15 - q) at odd k. Bits
// 6-9 would take one shift more, for a bias of 16; two shifts would do with a bias of 256 in half
// of the rows, but the bias costs accuracy (docs/numerics.md).
struct Operand4 {
    u32 a0, a1, a2, a3;
};

FBQ_DEVICE Operand4 unpack4(u32 word)
{
    Operand4 a;
    a.a0 = and_or<0x00f000f0u, 0xd4005400u>(word << 4);
    a.a1 = and_or<0x00f000f0u, 0xd4005400u>(word);
    a.a2 = and_or<0x00f000f0u, 0xd4005400u>(word >> 4);
    a.a3 = and_or<0x00f000f0u, 0xd4005400u>(word >> 8);
    return a;
}

// What unpack4 adds to the codes, as an operand: minus the bias in rows 0-7 and minus one in rows
// 8-15, so that one step sums both corrections of a group of x: -sum(bias x) and -sum(x).
//   bias at even k: 64; at odd k: -79
FBQ_DEVICE Operand4 minus_bias4()
{
    Operand4 a;
    a.a0 = a.a2 = 0x54f0d400u; // -64, 79
    a.a1 = a.a3 = 0xbc00bc00u; // -1, -1
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
