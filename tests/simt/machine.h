// tests/simt/machine.h: a small machine that runs CUDA kernels on a CPU to find their mistakes.
//
// Each CUDA thread is a fibre. Blocks of up to `resident` at a time live side by side; whenever a
// thread must wait, the machine goes on with a random one of those that can run. A launch reports
// what it found instead of stopping at the first mistake, except where it cannot go on (divergence,
// a barrier that an ended thread can never reach, deadlock).
//
// The functions below the launch are what simt_ptx.h maps instructions to; they are called by
// threads of the running launch only.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_MACHINE_H
#define FBQ_SIMT_MACHINE_H

#include "memory.h"
#include "report.h"

#include <cstdint>
#include <functional>

namespace simt
{

struct launch_shape {
    int grid_x = 1, grid_y = 1;
    int threads = 32; // of a block; whole warps
    std::uint32_t shared_bytes = 0;
    int resident = 1;       // blocks that live at once, 1 .. grid
    std::uint64_t seed = 1; // decides every order
    bool overlaps = false;  // starts while the kernel before still runs: see wait_for_producer
    int preempt = 64;       // a thread gives way before one memory access in this many; 0 never
};

// Run `kernel` once for every thread. Findings go to `r`. Returns whether the launch ran to its end
// (findings or not). One launch at a time: a second thread of the program waits.
bool launch(const launch_shape &shape, memory &m, report &r, const std::function<void()> &kernel);

// ---- Where am I ----
int thread_index();
int block_threads();
int block_index_x();
int block_index_y();
int grid_blocks_x();
int grid_blocks_y();

// ---- Barriers: every thread of the block or warp must come ----
void sync_block(site at);
void sync_warp(site at);
// Whole warps, `threads` threads in all, whichever come; id 1 .. 15.
void sync_warps(int id, int threads, site at);
void arrive_warps(int id, int threads, site at); // the same without waiting

// In a launch that overlaps, memory may be touched before this only where it is `steady`, and every
// thread must come here or meet one that did.
void wait_for_producer();

// ---- Shared memory ----
std::uint32_t shared_base();
void shared_store(std::uint32_t to, const void *from, int bytes, site at);
void shared_load(std::uint32_t from, void *to, int bytes, site at);
// The destination means nothing until the wait of this thread that covers the copy, and to other
// threads until a barrier after that. The source is read at some time in between.
void copy_async(std::uint32_t to, const void *from, int bytes, site at);
void copy_async_commit(site at);              // a group of this thread's copies since the last one
void copy_async_wait_left(int left, site at); // covers all groups but the last `left`
void copy_async_wait(site at);                // covers every copy, committed or not

// ---- Barriers in shared memory, and bulk copies that complete on them ----
void barrier_init(std::uint32_t b, int arrivals, site at);
void barriers_ready(site at);
void barrier_arrive(std::uint32_t b, site at);
void barrier_expect(std::uint32_t b, std::uint32_t bytes, site at);
void barrier_wait(std::uint32_t b, std::uint32_t parity, site at);
void barrier_look(std::uint32_t b, site at);
// The copy engine comes after all that this thread has done with shared memory so far. A barrier
// alone says so to threads only.
void reads_before_copies();
// The destination means nothing before the phase of `b` ends, and to a thread that has not waited
// for that nothing before a barrier with one that has. A copy lands when a thread waits that needs
// it, and no earlier.
void copy_bulk(std::uint32_t to, const void *from, std::uint32_t bytes, std::uint32_t b, site at);

// ---- Global memory ----
void global_load(const void *from, void *to, int bytes, bool noncoherent, site at);
void prefetch_l2(const void *from, int bytes, site at); // multiples of 16
void global_store(void *to, const void *from, int bytes, site at);
// Relaxed, at GPU scope; a load lets others run, so that polling makes progress.
std::uint32_t relaxed_load_u32(const void *from, site at);
void relaxed_store_u32(void *to, std::uint32_t v, site at);
std::uint64_t relaxed_load_u64(const void *from, site at);
void relaxed_store_u64(void *to, std::uint64_t v, site at);
// Both return the old value. The second counts up, from `last` and beyond to 0.
std::uint32_t atomic_add_u32(void *to, std::uint32_t v, site at);
std::uint32_t atomic_turn_u32(void *to, std::uint32_t last, site at);

// ---- Collectives: all 32 lanes, at the same place in the source ----
float shuffle(float v, int lane, site at);
bool one_lane(site at); // true in one of them, whichever
std::uint32_t warp_max(std::uint32_t v, site at);
std::uint32_t transpose_u16(std::uint32_t v, site at); // 8 x 8 words, row g in lanes 4 g to 4 g + 3
void mma_f16(float *c, const std::uint32_t *a, const std::uint32_t *b, site at);
void mma_bf16(float *c, const std::uint32_t *a, const std::uint32_t *b, site at);
// Unsigned bytes times signed ones. A sum that leaves 32 bits wraps and is reported.
void mma_s8(int *c, const std::uint32_t *a, const std::uint32_t *b, site at);

} // namespace simt

#endif
