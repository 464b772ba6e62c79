// fbq/device/ptx_arithmetic.cuh: what a thread or a warp does with numbers; a part of ptx.cuh.
//
// Floating-point arithmetic is spelled out with its rounding (.rn), so that no fast-math flag of a
// user's build changes a bit.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_PTX_ARITHMETIC_CUH
#define FBQ_DEVICE_PTX_ARITHMETIC_CUH

#include "port.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// ---- Shuffles and reductions over a whole warp ----

// Does it hold in all lanes?
FBQ_DEVICE bool warp_all(bool v)
{
    return __all_sync(0xffffffffu, v) != 0;
}
FBQ_DEVICE float shuffle_xor_f32(float v, int mask)
{
    return __shfl_xor_sync(0xffffffffu, v, mask);
}
// A matrix of 8 x 8 words of 16 bits, a register of the warp: lane 4 g + t holds row g, columns 2 t
// and 2 t + 1. Its transpose.
FBQ_DEVICE u32 transpose_u16(u32 v)
{
    u32 transposed;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(transposed) : "r"(v));
    return transposed;
}
FBQ_DEVICE u32 warp_max_u32(u32 v)
{
    u32 largest;
    asm volatile("redux.sync.max.u32 %0, %1, 0xffffffff;" : "=r"(largest) : "r"(v));
    return largest;
}

// ---- Bits ----

// (w & MASK) | SET in one LOP3.
template <u32 MASK, u32 SET>
FBQ_DEVICE u32 and_or(u32 w)
{
    u32 v;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(v) : "r"(w), "n"(MASK), "n"(SET));
    return v;
}
// (w & MASK) ^ FLIP in one LOP3.
template <u32 MASK, u32 FLIP>
FBQ_DEVICE u32 and_xor(u32 w)
{
    u32 v;
    asm("lop3.b32 %0, %1, %2, %3, 0x6a;" : "=r"(v) : "r"(w), "n"(MASK), "n"(FLIP));
    return v;
}
// Four of the eight bytes of a (0 .. 3) and b (4 .. 7): each hexadecimal digit of SELECT names one,
// the last digit the lowest byte.
template <u32 SELECT>
FBQ_DEVICE u32 permute_bytes(u32 a, u32 b)
{
    static_assert((SELECT & ~0x7777u) == 0, "four digits of 0 to 7");
    u32 v;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "n"(SELECT));
    return v;
}
FBQ_DEVICE u32 bits_of(float v)
{
    return __float_as_uint(v);
}
FBQ_DEVICE float float_of(u32 v)
{
    return __uint_as_float(v);
}

// ---- fp32 arithmetic, rounded to nearest ----

FBQ_DEVICE float add(float a, float b)
{
    float v;
    asm("add.rn.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
    return v;
}
FBQ_DEVICE float sub(float a, float b)
{
    float v;
    asm("sub.rn.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
    return v;
}
FBQ_DEVICE float mul(float a, float b)
{
    float v;
    asm("mul.rn.f32 %0, %1, %2;" : "=f"(v) : "f"(a), "f"(b));
    return v;
}
FBQ_DEVICE float fma(float a, float b, float c)
{
    float v;
    asm("fma.rn.f32 %0, %1, %2, %3;" : "=f"(v) : "f"(a), "f"(b), "f"(c));
    return v;
}

// ---- fp16 <-> fp32 ----

FBQ_DEVICE float f32_of_f16(u32 low16)
{
    float v;
    asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"((u16)low16));
    return v;
}
// Both halves of a register.
FBQ_DEVICE void f32x2_of_f16x2(u32 v, float &low, float &high)
{
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
        : "=f"(low), "=f"(high)
        : "r"(v));
}
FBQ_DEVICE float f32_of_u32(u32 v)
{
    float f;
    asm("cvt.rn.f32.u32 %0, %1;" : "=f"(f) : "r"(v));
    return f;
}
FBQ_DEVICE float f32_of_s32(int v)
{
    float f;
    asm("cvt.rn.f32.s32 %0, %1;" : "=f"(f) : "r"(v));
    return f;
}
// c + the sum of four products of signed bytes.
FBQ_DEVICE int dot4_s8(u32 a, u32 b, int c)
{
    int v;
    asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(b), "r"(c));
    return v;
}
// The same for bf16.
FBQ_DEVICE u32 bf16_of_f32(float v)
{
    u16 h;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}
FBQ_DEVICE u32 bf16x2_of_f32(float low, float high)
{
    u32 v;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
    return v;
}
// The larger of each half. A NaN on either side gives NaN.
FBQ_DEVICE u32 larger_bf16x2(u32 a, u32 b)
{
    u32 v;
    asm("max.NaN.bf16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
FBQ_DEVICE u32 larger_f16x2(u32 a, u32 b)
{
    u32 v;
    asm("max.NaN.f16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
FBQ_DEVICE u32 f16_of_f32(float v)
{
    u16 h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
    return h;
}
// Two numbers in one register, `low` in the low half.
FBQ_DEVICE u32 f16x2_of_f32(float low, float high)
{
    u32 v;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
    return v;
}

// ---- fp16 and bf16 arithmetic, both halves, rounded to nearest ----

FBQ_DEVICE u32 add_f16x2(u32 a, u32 b)
{
    u32 v;
    asm("add.rn.f16x2 %0, %1, %2;" : "=r"(v) : "r"(a), "r"(b));
    return v;
}
FBQ_DEVICE u32 add_bf16x2(u32 a, u32 b)
{
    u32 v; // add.bf16x2 is for sm_90 and later
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(0x3f803f80u), "r"(b));
    return v;
}

// ---- The tensor core ----

// c[16x8] += a[16x16] . b[16x8], fp16 inputs, fp32 accumulators.
// Lane (g = lane / 4, t = lane % 4) holds
//   a0 (row g,   k 2t 2t+1)   a1 (row g+8, k 2t 2t+1)   a2 (row g, k 2t+8 2t+9)   a3 (row g+8,
//   same) b0 (k 2t 2t+1, column g)  b1 (k 2t+8 2t+9, column g) c0 c1 (row g, columns 2t 2t+1)   c2
//   c3 (row g+8, columns 2t 2t+1)
FBQ_DEVICE void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// The same with bf16 inputs.
FBQ_DEVICE void mma_bf16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

// c[16x8] += a[16x32] . b[32x8], unsigned bytes times signed bytes, 32-bit sums that wrap.
// Lane (g = lane / 4, t = lane % 4) holds four values of k to a register, the first in the lowest
// byte:
//   a0 (row g, k 4t ..)   a1 (row g+8, k 4t ..)   a2 (row g, k 4t+16 ..)   a3 (row g+8, k 4t+16 ..)
//   b0 (k 4t .., column g)   b1 (k 4t+16 .., column g)   c0 .. c3 as in mma_f16
FBQ_DEVICE void mma_s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
