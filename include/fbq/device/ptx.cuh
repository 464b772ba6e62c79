// fbq/device/ptx.cuh: every instruction the kernels use, one function each: here those that reach
// beyond a thread, in ptx_arithmetic.cuh the others.
//
// Kernels touch the machine only through these files. All access to shared memory and to memory
// that other threads write goes through them, so that the second body (FBQ_SIMT, tests/simt/) can
// run the same kernels on a CPU and see races, missing waits and wild addresses.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_PTX_CUH
#define FBQ_DEVICE_PTX_CUH

#include "port.cuh"

#ifdef FBQ_SIMT
#include "simt_ptx.h" // the same functions for the CPU, found on the test's include path
#else
#include "ptx_arithmetic.cuh"

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

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif // FBQ_SIMT
#endif
