// tests/simt/simt_ptx.h: the second body of ptx.cuh. The same functions with the same meaning, on
// the machine of machine.h; each takes its caller's line along as a last, defaulted argument.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_PTX_H
#define FBQ_SIMT_PTX_H

#include "f16.h"
#include "machine.h"

#include <cmath>

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// ---- Where am I ----

FBQ_DEVICE int thread_index()
{
    return simt::thread_index();
}
FBQ_DEVICE int warp_index()
{
    return simt::thread_index() / 32;
}
// Another lane each time, and all must come, on any GPU: kernels may rely on no more.
FBQ_DEVICE bool one_lane(int, simt::site at = SIMT_HERE)
{
    return simt::one_lane(at);
}
FBQ_DEVICE int block_threads()
{
    return simt::block_threads();
}
FBQ_DEVICE int block_index_x()
{
    return simt::block_index_x();
}
FBQ_DEVICE int block_index_y()
{
    return simt::block_index_y();
}
FBQ_DEVICE int grid_blocks_x()
{
    return simt::grid_blocks_x();
}

// ---- Barriers ----

FBQ_DEVICE void sync_block(simt::site at = SIMT_HERE)
{
    simt::sync_block(at);
}
template <int Id, int Threads>
FBQ_DEVICE void sync_warps(simt::site at = SIMT_HERE)
{
    simt::sync_warps(Id, Threads, at);
}
template <int Id, int Threads>
FBQ_DEVICE void arrive_warps(simt::site at = SIMT_HERE)
{
    simt::arrive_warps(Id, Threads, at);
}
FBQ_DEVICE void sync_warp(simt::site at = SIMT_HERE)
{
    simt::sync_warp(at);
}

// ---- Overlap with the kernel before ----

// Nothing to do: the machine checks, in the kernel that starts early, what it touches before its
// wait.
FBQ_DEVICE void let_dependents_start() {}
FBQ_DEVICE void wait_for_producer()
{
    simt::wait_for_producer();
}

// ---- Shared memory ----

typedef u32 saddr;

FBQ_DEVICE saddr smem()
{
    return simt::shared_base();
}
FBQ_DEVICE void sts_f32(saddr a, float v, simt::site at = SIMT_HERE)
{
    simt::shared_store(a, &v, 4, at);
}
FBQ_DEVICE void sts_f32x2(saddr a, float x, float y, simt::site at = SIMT_HERE)
{
    float v[2] = {x, y};
    simt::shared_store(a, v, 8, at);
}
FBQ_DEVICE void sts_u32x4(saddr a, u32x4 v, simt::site at = SIMT_HERE)
{
    simt::shared_store(a, &v, 16, at);
}
FBQ_DEVICE void sts_f32x4(saddr a, f32x4 v, simt::site at = SIMT_HERE)
{
    simt::shared_store(a, &v, 16, at);
}
FBQ_DEVICE void sts_u32(saddr a, u32 v, simt::site at = SIMT_HERE)
{
    simt::shared_store(a, &v, 4, at);
}
FBQ_DEVICE void sts_u32x2(saddr a, u32 x, u32 y, simt::site at = SIMT_HERE)
{
    u32 v[2] = {x, y};
    simt::shared_store(a, v, 8, at);
}
FBQ_DEVICE float lds_f32(saddr a, simt::site at = SIMT_HERE)
{
    float v;
    simt::shared_load(a, &v, 4, at);
    return v;
}
FBQ_DEVICE void lds_f32x2(saddr a, float &x, float &y, simt::site at = SIMT_HERE)
{
    float v[2];
    simt::shared_load(a, v, 8, at);
    x = v[0];
    y = v[1];
}
FBQ_DEVICE u32 lds_u8(saddr a, simt::site at = SIMT_HERE)
{
    u8 v;
    simt::shared_load(a, &v, 1, at);
    return v;
}
FBQ_DEVICE u32 lds_u32(saddr a, simt::site at = SIMT_HERE)
{
    u32 v;
    simt::shared_load(a, &v, 4, at);
    return v;
}
FBQ_DEVICE u32x2 lds_u32x2(saddr a, simt::site at = SIMT_HERE)
{
    u32x2 v;
    simt::shared_load(a, &v, 8, at);
    return v;
}
FBQ_DEVICE u32x4 lds_u32x4(saddr a, simt::site at = SIMT_HERE)
{
    u32x4 v;
    simt::shared_load(a, &v, 16, at);
    return v;
}
FBQ_DEVICE f32x4 lds_f32x4(saddr a, simt::site at = SIMT_HERE)
{
    f32x4 v;
    simt::shared_load(a, &v, 16, at);
    return v;
}

// ---- Asynchronous copies ----

FBQ_DEVICE void copy_async16(saddr to, const void *from, simt::site at = SIMT_HERE)
{
    simt::copy_async(to, from, 16, at);
}
FBQ_DEVICE void copy_async_commit(simt::site at = SIMT_HERE)
{
    simt::copy_async_commit(at);
}
template <int LEFT>
FBQ_DEVICE void copy_async_wait_left(simt::site at = SIMT_HERE)
{
    static_assert(LEFT >= 0, "a count of groups");
    simt::copy_async_wait_left(LEFT, at);
}
FBQ_DEVICE void copy_async_wait(simt::site at = SIMT_HERE)
{
    simt::copy_async_wait(at);
}

// ---- Barriers in shared memory and bulk copies ----

FBQ_DEVICE void barrier_init(saddr b, int arrivals, simt::site at = SIMT_HERE)
{
    simt::barrier_init(b, arrivals, at);
}
FBQ_DEVICE void barriers_ready(simt::site at = SIMT_HERE)
{
    simt::barriers_ready(at);
}
FBQ_DEVICE void reads_before_copies()
{
    simt::reads_before_copies();
}
FBQ_DEVICE void barrier_arrive(saddr b, simt::site at = SIMT_HERE)
{
    simt::barrier_arrive(b, at);
}
FBQ_DEVICE void barrier_expect(saddr b, u32 bytes, simt::site at = SIMT_HERE)
{
    simt::barrier_expect(b, bytes, at);
}
FBQ_DEVICE void barrier_wait(saddr b, u32 parity, simt::site at = SIMT_HERE)
{
    simt::barrier_wait(b, parity, at);
}
FBQ_DEVICE void copy_bulk(saddr to, const void *from, u32 bytes, saddr b, simt::site at = SIMT_HERE)
{
    simt::copy_bulk(to, from, bytes, b, at);
}

// ---- Global memory ----

FBQ_DEVICE void prefetch_l2(const void *p, int bytes, int lane, simt::site at = SIMT_HERE)
{
    if (one_lane(lane, at)) {
        simt::prefetch_l2(p, bytes, at);
    }
}
FBQ_DEVICE u32x4 ldg_stream_u32x4(const void *p, simt::site at = SIMT_HERE)
{
    u32x4 v;
    simt::global_load(p, &v, 16, true, at);
    return v;
}
FBQ_DEVICE u32x4 ldg_u32x4(const void *p, simt::site at = SIMT_HERE)
{
    u32x4 v;
    simt::global_load(p, &v, 16, false, at);
    return v;
}
FBQ_DEVICE f32x4 ldg_f32x4(const void *p, simt::site at = SIMT_HERE)
{
    f32x4 v;
    simt::global_load(p, &v, 16, false, at);
    return v;
}
FBQ_DEVICE float ldg_f32(const void *p, simt::site at = SIMT_HERE)
{
    float v;
    simt::global_load(p, &v, 4, false, at);
    return v;
}
FBQ_DEVICE u32x2 ldg_u32x2(const void *p, simt::site at = SIMT_HERE)
{
    u32x2 v;
    simt::global_load(p, &v, 8, false, at);
    return v;
}
FBQ_DEVICE u32 ldg_u32(const void *p, simt::site at = SIMT_HERE)
{
    u32 v;
    simt::global_load(p, &v, 4, false, at);
    return v;
}
FBQ_DEVICE u32 ldg_u8(const void *p, simt::site at = SIMT_HERE)
{
    u8 v;
    simt::global_load(p, &v, 1, false, at);
    return v;
}
FBQ_DEVICE u32 ldg_u16(const void *p, simt::site at = SIMT_HERE)
{
    u16 v;
    simt::global_load(p, &v, 2, false, at);
    return v;
}
FBQ_DEVICE u32 ldg_u16_if(bool there, const void *p, simt::site at = SIMT_HERE)
{
    return there ? ldg_u16(p, at) : 0;
}
FBQ_DEVICE void stg_f32(void *p, float v, simt::site at = SIMT_HERE)
{
    simt::global_store(p, &v, 4, at);
}
FBQ_DEVICE void stg_u32x4(void *p, u32x4 v, simt::site at = SIMT_HERE)
{
    simt::global_store(p, &v, 16, at);
}
FBQ_DEVICE void stg_u16(void *p, u32 v, simt::site at = SIMT_HERE)
{
    u16 low = (u16)v;
    simt::global_store(p, &low, 2, at);
}

FBQ_DEVICE void hold(int) {}
FBQ_DEVICE void hold(int, saddr b, simt::site at = SIMT_HERE)
{
    simt::barrier_look(b, at);
}

// ---- Words that blocks of one launch exchange ----

FBQ_DEVICE u64 ldg_relaxed_u64(const void *p, simt::site at = SIMT_HERE)
{
    return simt::relaxed_load_u64(p, at);
}
FBQ_DEVICE void ldg_relaxed_u64x2(const void *p, u64 &x, u64 &y, simt::site at = SIMT_HERE)
{
    x = simt::relaxed_load_u64(p, at);
    y = simt::relaxed_load_u64((const u8 *)p + 8, at);
}
FBQ_DEVICE void stg_relaxed_u64(void *p, u64 v, simt::site at = SIMT_HERE)
{
    simt::relaxed_store_u64(p, v, at);
}
FBQ_DEVICE u32 ldg_relaxed_u32(const void *p, simt::site at = SIMT_HERE)
{
    return simt::relaxed_load_u32(p, at);
}
FBQ_DEVICE void stg_relaxed_u32(void *p, u32 v, simt::site at = SIMT_HERE)
{
    simt::relaxed_store_u32(p, v, at);
}
FBQ_DEVICE u32 atomic_turn_u32(void *p, u32 last, simt::site at = SIMT_HERE)
{
    return simt::atomic_turn_u32(p, last, at);
}
// The machine keeps the order of a program anyway.
FBQ_DEVICE u32 atomic_turn_ordered_u32(void *p, u32 last, simt::site at = SIMT_HERE)
{
    return simt::atomic_turn_u32(p, last, at);
}

// ---- Shuffles and reductions over a whole warp ----

FBQ_DEVICE float shuffle_xor_f32(float v, int mask, simt::site at = SIMT_HERE)
{
    return simt::shuffle(v, (simt::thread_index() & 31) ^ mask, at);
}
FBQ_DEVICE bool warp_all(bool v, simt::site at = SIMT_HERE)
{
    return simt::warp_max(!v, at) == 0;
}
FBQ_DEVICE u32 transpose_u16(u32 v, simt::site at = SIMT_HERE)
{
    return simt::transpose_u16(v, at);
}
FBQ_DEVICE u32 warp_max_u32(u32 v, simt::site at = SIMT_HERE)
{
    return simt::warp_max(v, at);
}

// ---- Bits ----

template <u32 MASK, u32 SET>
FBQ_DEVICE u32 and_or(u32 w)
{
    return (w & MASK) | SET;
}
template <u32 MASK, u32 FLIP>
FBQ_DEVICE u32 and_xor(u32 w)
{
    return (w & MASK) ^ FLIP;
}
template <u32 SELECT>
FBQ_DEVICE u32 permute_bytes(u32 a, u32 b)
{
    static_assert((SELECT & ~0x7777u) == 0, "four digits of 0 to 7");
    u64 bytes = (u64)b << 32 | a;
    u32 v = 0;
    for (u32 i = 0; i < 4; i++) {
        v |= (u32)(bytes >> (8 * (SELECT >> (4 * i) & 7u)) & 0xffu) << (8 * i);
    }
    return v;
}
FBQ_DEVICE int dot4_s8(u32 a, u32 b, int c)
{
    for (int i = 0; i < 32; i += 8) {
        c += (signed char)(a >> i) * (signed char)(b >> i);
    }
    return c;
}
FBQ_DEVICE u32 bits_of(float v)
{
    return simt::bits_of_float(v);
}
FBQ_DEVICE float float_of(u32 v)
{
    return simt::float_of_bits(v);
}

// ---- fp32 arithmetic: build with -ffp-contract=off, so that only fma() fuses ----

FBQ_DEVICE float add(float a, float b)
{
    return a + b;
}
FBQ_DEVICE float sub(float a, float b)
{
    return a - b;
}
FBQ_DEVICE float mul(float a, float b)
{
    return a * b;
}
FBQ_DEVICE float fma(float a, float b, float c)
{
    return std::fma(a, b, c);
}

// ---- fp16 and bf16 <-> fp32 ----

FBQ_DEVICE float f32_of_f16(u32 low16)
{
    return simt::f32_of_f16(low16 & 0xffffu);
}
FBQ_DEVICE void f32x2_of_f16x2(u32 v, float &low, float &high)
{
    low = simt::f32_of_f16(v & 0xffffu);
    high = simt::f32_of_f16(v >> 16);
}
FBQ_DEVICE float f32_of_u32(u32 v)
{
    return (float)v;
}
FBQ_DEVICE float f32_of_s32(int v)
{
    return (float)v;
}
FBQ_DEVICE u32 larger_f16x2(u32 a, u32 b)
{
    return simt::larger_f16(a & 0xffffu, b & 0xffffu) | simt::larger_f16(a >> 16, b >> 16) << 16;
}
FBQ_DEVICE u32 larger_bf16x2(u32 a, u32 b)
{
    return simt::larger_bf16(a & 0xffffu, b & 0xffffu) | simt::larger_bf16(a >> 16, b >> 16) << 16;
}
FBQ_DEVICE u32 bf16_of_f32(float v)
{
    return simt::bf16_of_f32(v);
}
FBQ_DEVICE u32 bf16x2_of_f32(float low, float high)
{
    return simt::bf16_of_f32(low) | simt::bf16_of_f32(high) << 16;
}
FBQ_DEVICE u32 f16_of_f32(float v)
{
    return simt::f16_of_f32(v);
}
FBQ_DEVICE u32 f16x2_of_f32(float low, float high)
{
    return simt::f16_of_f32(low) | simt::f16_of_f32(high) << 16;
}

// ---- fp16 and bf16 arithmetic ----

// The sums of bytes and constants that kernels make have an exact result in fp32.
FBQ_DEVICE u32 add_f16x2(u32 a, u32 b)
{
    return f16x2_of_f32(simt::f32_of_f16(a & 0xffffu) + simt::f32_of_f16(b & 0xffffu),
                        simt::f32_of_f16(a >> 16) + simt::f32_of_f16(b >> 16));
}
FBQ_DEVICE u32 add_bf16x2(u32 a, u32 b)
{
    return bf16x2_of_f32(float_of(a << 16) + float_of(b << 16),
                         float_of(a & 0xffff0000u) + float_of(b & 0xffff0000u));
}

// ---- The tensor core ----

FBQ_DEVICE void mma_f16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1,
                        simt::site at = SIMT_HERE)
{
    u32 a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
    simt::mma_f16(c, a, b, at);
}
FBQ_DEVICE void mma_bf16(float (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1,
                         simt::site at = SIMT_HERE)
{
    u32 a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
    simt::mma_bf16(c, a, b, at);
}
FBQ_DEVICE void mma_s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1,
                       simt::site at = SIMT_HERE)
{
    u32 a[4] = {a0, a1, a2, a3}, b[2] = {b0, b1};
    simt::mma_s8(c, a, b, at);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
