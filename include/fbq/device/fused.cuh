// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks groups of 16-row tiles. Its warps split K, each with its own slice of x and its own
// ring of codes, and add their results once a group; beside them a few warps do the up-projection
// (branch.cuh).
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FUSED_CUH
#define FBQ_DEVICE_FUSED_CUH

#include "finish.cuh"
#include "multiply.cuh"
#include "ring.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// What the warps of the codes do.
//
// They do not wait for the kernel before this one: that is down of the same call, which let this
// one start only after everything before it had ended, and writes neither x nor weights. y is
// written after the warps of the sub-branch have waited. Where all of x stays, it goes first, since
// it would wait behind the weights.
template <class C>
FBQ_DEVICE void codes(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    const Share share = share_of<C>(args, warp);
    const Ring ring = ring_begin<C>(args, area, warp, lane);
    if (C::resident)
        fetch_x<C>(args, ring, share, lane);
    Ahead ahead = ahead_begin(args);
    FBQ_NO_UNROLL
    for (int s = 0; s < C::stages; s++)
        fetch_step<C>(args, ring, s, ahead, share, lane);
    if (C::branch)
        handover_begin<C>(args, area, warp, lane);
    if (C::resident) {
        wait_x<C>(ring);
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++)
            prepare_x<C>(args, ring.x + (u32)(part * slot_bytes<C>(args)),
                         part_of<C>(share, part).count, lane);
    }
    sync_warp();

    int slot = 0;
    Cursor next = {0, 0};
    Walk at = {block_index_x(), 0, 0, 0, true, false};
    FBQ_NO_UNROLL
    for (; at.first < args.tiles; at.first += C::tiles * grid_blocks_x(), at.group++) {
        float y[C::tiles][4] = {};
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++) {
            const Part p = part_of<C>(share, part);
            const saddr x = ring.x + (u32)((C::resident ? part : slot) * slot_bytes<C>(args));
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++) {
                ring_wait<C>(ring, next);
                if (!C::resident && i == 0) {
                    prepare_x<C>(args, x, p.count, lane);
                    sync_warp();
                }
                if (i == 0 || at.first + i * grid_blocks_x() < args.tiles)
                    multiply<C>(y[i], args, p, ring_stage<C>(ring, next.stage), x, lane);
                ring_next<C>(args, ring, next, ahead, share, lane);
            }
            if (!C::resident)
                slot = next_of(slots_of<C>(args), slot);
        }
        at.end = at.first + C::tiles * grid_blocks_x() >= args.tiles;
        // The next layer's down may come and wait beside this. Earlier it would hold up blocks of
        // this kernel.
        if (at.end)
            let_dependents_start();
        if (C::columns == 1) {
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                limbs_finish(y[i]);
        }
        if (C::rounds)
            at.last = at.end || at.tile + 1 == args.round_tiles;
        finish_group<C>(args, area, y, at, warp, lane);
        at.tile = at.last ? 0 : at.tile + 1;
        at.round += at.last;
    }
}

// Shared memory: partial results, sums of a round, up-projections of a round, t's steps, x, the
// rings' barriers, the rings (args has the offsets). Threads: Warps, and with the sub-branch
// branch_warps more.
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int warp = warp_index(), lane = thread_index() % warp_lanes;
    if (C::branch && warp >= C::warps)
        branch<C>(args, smem(), warp - C::warps, lane);
    else
        codes<C>(args, smem(), warp, lane);
}

#ifndef FBQ_SIMT
// No launch bounds: given any, ptxas aims at a number of registers and spills a few to hit it. Left
// alone it takes few enough for 20 warps; fbq_prepare checks what was compiled.
template <class C>
static __global__ void fused_kernel(const __grid_constant__ fbq_fused_args args)
{
    fused<C>(args);
}
#endif

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
