// fbq/device/ptx.cuh: every instruction the kernels use, one function each.
//
// Kernels touch the machine only through this file. All access to shared memory and to memory that
// other threads write goes through it, so that the second body (FBQ_SIMT, tests/simt/) can run the
// same kernels on a CPU and see races, missing waits and wild addresses.
//
// Floating-point arithmetic is spelled out with its rounding (.rn), so that no fast-math flag of a
// user's build changes a bit.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_PTX_CUH
#define FBQ_DEVICE_PTX_CUH

#include "port.cuh"

#ifdef FBQ_SIMT
#include "simt_ptx.h" // the same functions for the CPU, found on the test's include path
#else

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// ---- Where am I ----

// Once a kernel: the shuffles keep the compiler from reading a special register anew wherever the
// index is used, which takes some 50 cycles each time, and tell it that a warp's index is one
// number for all its lanes.
FBQ_DEVICE int thread_index()
{
    return __shfl_sync(0xffffffffu, (int)threadIdx.x, (int)threadIdx.x & 31);
}
FBQ_DEVICE int warp_index()
{
    return __shfl_sync(0xffffffffu, (int)threadIdx.x / 32, 0);
}
// True in one lane of the warp, whichever the hardware likes; `lane` is the caller's.
FBQ_DEVICE bool one_lane(int lane)
{
#if __CUDA_ARCH__ >= 900
    u32 chosen;
    (void)lane;
    asm volatile("{.reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p;}"
                 : "=r"(chosen));
    return chosen != 0;
#else
    return lane == 0;
#endif
}
FBQ_DEVICE int block_threads()
{
    return (int)blockDim.x;
}
FBQ_DEVICE int block_index_x()
{
    return (int)blockIdx.x;
}
FBQ_DEVICE int block_index_y()
{
    return (int)blockIdx.y;
}
FBQ_DEVICE int grid_blocks_x()
{
    return (int)gridDim.x;
}
// ---- Barriers ----

FBQ_DEVICE void sync_block()
{
    asm volatile("bar.sync 0;" ::: "memory");
}
// Some warps of the block meet, Threads threads in all; Id 1 .. 15 says which.
template <int Id, int Threads>
FBQ_DEVICE void sync_warps()
{
    asm volatile("bar.sync %0, %1;" ::"n"(Id), "n"(Threads) : "memory");
}
// The same without waiting: those who wait see what was done before.
template <int Id, int Threads>
FBQ_DEVICE void arrive_warps()
{
    asm volatile("bar.arrive %0, %1;" ::"n"(Id), "n"(Threads) : "memory");
}
FBQ_DEVICE void sync_warp()
{
    asm volatile("bar.warp.sync 0xffffffff;" ::: "memory");
}

// ---- Overlap with the kernel before (sm_90 and later; nothing on older GPUs) ----

// The next kernel of a programmatic launch may start now.
FBQ_DEVICE void let_dependents_start()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
// Wait until the kernel before has ended and its writes are seen.
FBQ_DEVICE void wait_for_producer()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// ---- Shared memory: a 32-bit address in the block's window ----

typedef u32 saddr;

// The block's dynamic shared memory, 128-byte aligned. Its size is a launch argument. Once a
// kernel, as above.
FBQ_DEVICE saddr smem()
{
    extern __shared__ __align__(128) unsigned char fbq_smem[];
    return __shfl_sync(0xffffffffu, (saddr)__cvta_generic_to_shared(fbq_smem), 0);
}
FBQ_DEVICE void sts_f32(saddr a, float v)
{
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(a), "f"(v) : "memory");
}
FBQ_DEVICE void sts_f32x2(saddr a, float x, float y)
{
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(a), "f"(x), "f"(y) : "memory");
}
FBQ_DEVICE void sts_u32x4(saddr a, u32x4 v)
{
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(a), "r"(v.x), "r"(v.y), "r"(v.z),
                 "r"(v.w)
                 : "memory");
}
FBQ_DEVICE void sts_f32x4(saddr a, f32x4 v)
{
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(a), "f"(v.x), "f"(v.y), "f"(v.z),
                 "f"(v.w)
                 : "memory");
}
FBQ_DEVICE void sts_u32(saddr a, u32 v)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(a), "r"(v) : "memory");
}
FBQ_DEVICE void sts_u32x2(saddr a, u32 x, u32 y)
{
    asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(a), "r"(x), "r"(y) : "memory");
}
FBQ_DEVICE float lds_f32(saddr a)
{
    float v;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(v) : "r"(a) : "memory");
    return v;
}
FBQ_DEVICE void lds_f32x2(saddr a, float &x, float &y)
{
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(x), "=f"(y) : "r"(a) : "memory");
}
FBQ_DEVICE u32 lds_u8(saddr a)
{
    u32 v;
    asm volatile("ld.shared.u8 %0, [%1];" : "=r"(v) : "r"(a) : "memory");
    return v;
}
FBQ_DEVICE u32 lds_u32(saddr a)
{
    u32 v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(a) : "memory");
    return v;
}
FBQ_DEVICE u32x2 lds_u32x2(saddr a)
{
    u32x2 v;
    asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(a) : "memory");
    return v;
}
FBQ_DEVICE u32x4 lds_u32x4(saddr a)
{
    u32x4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(a)
                 : "memory");
    return v;
}
FBQ_DEVICE f32x4 lds_f32x4(saddr a)
{
    f32x4 v;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(a)
                 : "memory");
    return v;
}

// ---- Asynchronous copies global -> shared, by the thread that asks ----

FBQ_DEVICE void copy_async16(saddr to, const void *from)
{
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(from)
                 : "memory");
}
// This thread's copies since its last commit become a group.
FBQ_DEVICE void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
// Wait until at most LEFT of this thread's groups, the latest ones, are in flight. Copies without a
// commit are not waited for. Other threads see what was copied after a barrier.
template <int LEFT>
FBQ_DEVICE void copy_async_wait_left()
{
    static_assert(LEFT >= 0, "a count of groups");
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}
// Wait for all of this thread's copies. Other threads see them after a barrier.
FBQ_DEVICE void copy_async_wait()
{
    asm volatile("cp.async.wait_all;" ::: "memory");
}

// ---- Barriers in shared memory; bulk copies (sm_90 and later; nothing on older GPUs) ----

// A barrier takes 8 bytes of shared memory, 8-byte aligned, which hold nothing else from its init
// to the block's end. It runs through phases 0, 1, 2 ..: a phase ends when all its arrivals have
// come and all the bytes that they told it to expect have been copied.

// Once a barrier, by one thread. Others may use it after barriers_ready() and a barrier that both
// come to.
FBQ_DEVICE void barrier_init(saddr b, int arrivals)
{
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(b), "r"(arrivals) : "memory");
}
// The copy engine sees this thread's inits.
FBQ_DEVICE void barriers_ready()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
// What this lane has read of shared memory, or written, may be copied over once others know that it
// has come so far. A barrier without this is not enough: the compiler need not wait for a number
// that it does not use before the barrier, and the copy engine does not queue behind its load.
FBQ_DEVICE void reads_before_copies()
{
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}
// Arrive. What this thread wrote before is seen by those who wait.
FBQ_DEVICE void barrier_arrive(saddr b)
{
    asm volatile("{.reg .b64 state; mbarrier.arrive.shared.b64 state, [%0];}" ::"r"(b) : "memory");
}
// The same, and let the phase wait for `bytes` more.
FBQ_DEVICE void barrier_expect(saddr b, u32 bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(b), "r"(bytes)
                 : "memory");
#else
    (void)b, (void)bytes;
#endif
}
// Wait for the end of the current phase if it is even (parity 0) or odd (parity 1). If it is not,
// then the phase before has that parity and has ended.
FBQ_DEVICE void barrier_wait(saddr b, u32 parity)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}" ::"r"(b),
                 "r"(parity)
                 : "memory");
#else
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.test_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}" ::"r"(b),
                 "r"(parity)
                 : "memory");
#endif
}

// Has that phase ended?
FBQ_DEVICE bool barrier_passed(saddr b, u32 parity)
{
    u32 passed;
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "mbarrier.test_wait.parity.shared.b64 done, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, done;\n"
                 "}"
                 : "=r"(passed)
                 : "r"(b), "r"(parity)
                 : "memory");
    return passed != 0;
}

// Copy `bytes` global -> shared; size and both addresses are multiples of 16. What threads read
// there before must be ordered before this call, by reads_before_copies() and a barrier that both
// come to. Seen by those who wait for the phase of b.
FBQ_DEVICE void copy_bulk(saddr to, const void *from, u32 bytes, saddr b)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(b)
                 : "memory");
#else
    (void)to, (void)from, (void)bytes, (void)b;
#endif
}

// ---- Global memory ----

// Have bytes (size and address multiples of 16) brought into L2, by a whole warp.
FBQ_DEVICE void prefetch_l2(const void *p, int bytes, int lane)
{
#if __CUDA_ARCH__ >= 900
    if (one_lane(lane))
        asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(p), "r"(bytes));
#else
    (void)p, (void)bytes, (void)lane;
#endif
}
// Packed weights: read once and by nobody else, so they stay out of L1; the 256-byte prefetch lets
// L2 fetch whole DRAM bursts. Not as read-only data (.nc): a kernel that overlaps the one before it
// may read what that one wrote.
FBQ_DEVICE u32x4 ldg_stream_u32x4(const void *p)
{
    u32x4 v;
    asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p)
                 : "memory");
    return v;
}
// Activations and partial sums: written by an earlier kernel, shared by many blocks.
FBQ_DEVICE u32x4 ldg_u32x4(const void *p)
{
    u32x4 v;
    asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p)
                 : "memory");
    return v;
}
FBQ_DEVICE f32x4 ldg_f32x4(const void *p)
{
    f32x4 v;
    asm volatile("ld.global.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "l"(p)
                 : "memory");
    return v;
}
FBQ_DEVICE float ldg_f32(const void *p)
{
    float v;
    asm volatile("ld.global.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
    return v;
}
FBQ_DEVICE u32x2 ldg_u32x2(const void *p)
{
    u32x2 v;
    asm volatile("ld.global.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "l"(p) : "memory");
    return v;
}
FBQ_DEVICE u32 ldg_u32(const void *p)
{
    u32 v;
    asm volatile("ld.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
FBQ_DEVICE u32 ldg_u8(const void *p)
{
    u32 v;
    asm volatile("ld.global.u8 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
FBQ_DEVICE u32 ldg_u16(const void *p)
{
    u16 v;
    asm volatile("ld.global.u16 %0, [%1];" : "=h"(v) : "l"(p) : "memory");
    return v;
}
// Zero where it is not there. A predicate and no branch, so that it costs the compiler little.
FBQ_DEVICE u32 ldg_u16_if(bool there, const void *p)
{
    u32 v;
    asm volatile("{.reg .pred p; setp.ne.s32 p, %2, 0; mov.u32 %0, 0; @p ld.global.u16 %0, [%1];}"
                 : "=r"(v)
                 : "l"(p), "r"((int)there)
                 : "memory");
    return v;
}
FBQ_DEVICE void stg_f32(void *p, float v)
{
    asm volatile("st.global.f32 [%0], %1;" ::"l"(p), "f"(v) : "memory");
}
FBQ_DEVICE void stg_u32x4(void *p, u32x4 v)
{
    asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z),
                 "r"(v.w)
                 : "memory");
}
FBQ_DEVICE void stg_u16(void *p, u32 v)
{
    asm volatile("st.global.u16 [%0], %1;" ::"l"(p), "h"((u16)v) : "memory");
}

// Let some cycles pass.
FBQ_DEVICE void hold(int cycles)
{
    const u32 start = (u32)clock();
    while ((u32)clock() - start < (u32)cycles)
        ;
}

// The same, unless a barrier's first phase ends before.
FBQ_DEVICE void hold(int cycles, saddr barrier)
{
    const u32 start = (u32)clock();
    while ((u32)clock() - start < (u32)cycles && !barrier_passed(barrier, 0))
        ;
}

// ---- Words that blocks of one launch exchange: each is whole by itself, in no order with others
// ----

FBQ_DEVICE u64 ldg_relaxed_u64(const void *p)
{
    u64 v;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(p) : "memory");
    return v;
}
// Two neighbours, 16-byte aligned; each is whole by itself.
FBQ_DEVICE void ldg_relaxed_u64x2(const void *p, u64 &x, u64 &y)
{
    asm volatile("ld.relaxed.gpu.global.v2.u64 {%0, %1}, [%2];"
                 : "=l"(x), "=l"(y)
                 : "l"(p)
                 : "memory");
}
FBQ_DEVICE void stg_relaxed_u64(void *p, u64 v)
{
    asm volatile("st.relaxed.gpu.global.u64 [%0], %1;" ::"l"(p), "l"(v) : "memory");
}
FBQ_DEVICE u32 ldg_relaxed_u32(const void *p)
{
    u32 v;
    asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(p) : "memory");
    return v;
}
FBQ_DEVICE void stg_relaxed_u32(void *p, u32 v)
{
    asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(p), "r"(v) : "memory");
}
// Count up, from `last` to 0; what it was before.
FBQ_DEVICE u32 atomic_turn_u32(void *p, u32 last)
{
    u32 v;
    asm volatile("atom.relaxed.gpu.global.inc.u32 %0, [%1], %2;"
                 : "=r"(v)
                 : "l"(p), "r"(last)
                 : "memory");
    return v;
}

// The same, after all that the warp had stored when it met, and before all that this lane and those
// that meet it later load.
FBQ_DEVICE u32 atomic_turn_ordered_u32(void *p, u32 last)
{
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    const u32 v = atomic_turn_u32(p, last);
    asm volatile("fence.acq_rel.gpu;" ::: "memory");
    return v;
}

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

#endif // FBQ_SIMT
#endif
