// fbq/device/unpack.cuh: packed codes into tensor-core operands with no dequantisation arithmetic.
//
// A code is put under the exponent of an fp16 number, high in the mantissa, so that the number
// reads bias + q; the tensor core multiplies that, and the bias times the sum of x is taken out
// once a group. Codes at odd k are stored as their complement and get a negative sign, so that the
// biases of neighbouring k nearly cancel: the tensor core truncates its sums, and small sums lose
// less (docs/numerics.md).
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_UNPACK_CUH
#define FBQ_DEVICE_UNPACK_CUH

#include "ptx.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// One tensor-core step of 4-bit codes: 16 rows x 16 k from one word of each lane.
//   bits 2-5   of a half: 256 + q (even k), -(256 + 15 - q) (odd k)
//   bits 6-9   of a half:  16 + q (even k),  -(16 + 15 - q) (odd k)
// and the same again after a rotation by a byte, which is rows 8-15.
struct Operand4 {
    u32 a0, a1, a2, a3;
};

FBQ_DEVICE Operand4 unpack4(u32 word)
{
    const u32 below = rotate_byte(word);
    Operand4 a;
    a.a0 = and_or<0x003c003cu, 0xdc005c00u>(word);
    a.a1 = and_or<0x003c003cu, 0xdc005c00u>(below);
    a.a2 = and_or<0x03c003c0u, 0xcc004c00u>(word);
    a.a3 = and_or<0x03c003c0u, 0xcc004c00u>(below);
    return a;
}

// What unpack4 adds to the codes, as an operand: minus the bias in rows 0-7 and minus one in rows
// 8-15, so that one step sums both corrections of a group of x: -sum(bias x) and -sum(x).
//   bias at even k: 256 or 16; at odd k: -271 or -31
FBQ_DEVICE Operand4 minus_bias4()
{
    Operand4 a;
    a.a0 = 0x5c3cdc00u; // -256,  271
    a.a1 = 0xbc00bc00u; // -1, -1
    a.a2 = 0x4fc0cc00u; // -16,  31
    a.a3 = 0xbc00bc00u;
    return a;
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
