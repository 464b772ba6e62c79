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

// Ask for x: one row comes into registers, the first blocks of what is made ready together; several
// come into the slots, here where they stay, else with the steps.
template <class C>
FBQ_DEVICE void ask_x(Row<C> &row, const fbq_fused_args &args, const Ring &ring, const Share &share,
                      int lane)
{
    if (C::columns == 1) {
        const Part p = part_of<C>(share, 0);
        row_ask<C>(row, args, share.first, C::resident ? share.end : p.first + p.count, lane);
    } else if (C::resident) {
        fetch_x<C>(args, ring, share, lane);
    }
}

// Where x stays: make it ready.
template <class C>
FBQ_DEVICE void prepare_x(Row<C> &row, const fbq_fused_args &args, const Ring &ring,
                          const Share &share, int lane)
{
    if (C::columns == 1) {
        row_prepare<C>(args, ring.x, row, share.first, share.end - share.first, lane);
        return;
    }
    wait_x<C>(ring);
    FBQ_NO_UNROLL
    for (int part = 0; part < parts_of_k<C>(args); part++)
        words_prepare<C>(args, ring.x + (u32)(part * slot_bytes<C>(args)),
                         part_of<C>(share, part).count, lane);
}

// Where it comes and goes: make a part ready. One row has one slot, and the part after is asked
// for.
template <class C>
FBQ_DEVICE void prepare_part(Row<C> &row, const fbq_fused_args &args, saddr slot,
                             const Share &share, int part, int lane)
{
    const Part p = part_of<C>(share, part);
    if (C::columns == 1) {
        const Part after = part_of<C>(share, next_of(parts_of_k<C>(args), part));
        sync_warp(); // all lanes have read the slot
        row_prepare<C>(args, slot, row, p.first, p.count, lane);
        row_ask<C>(row, args, after.first, after.first + after.count, lane);
    } else {
        words_prepare<C>(args, slot, p.count, lane);
    }
}

// Hold the first step in registers, and have the step ahead take its place.
template <class C>
FBQ_DEVICE void take_first(Held<C> &held, const fbq_fused_args &args, const Ring &ring,
                           Ahead &ahead, const Share &share, int lane)
{
    ring_wait<C>(ring, Cursor{0, 0});
    hold_step<C>(held, args, part_of<C>(share, 0), ring_stage<C>(ring, 0), lane);
    reads_before_copies();
    sync_warp(); // all lanes have read the stage
    fetch_step<C>(args, ring, 0, ahead, share, want_all, lane);
}

// Everything that the warps of the codes ask for before they have anything.
//
// Behind down they wait for nothing: down is of the same call, let this kernel start only after
// everything before it had ended, and writes neither x nor weights; y and sums are written after
// the warps of the sub-branch have waited, or these themselves (finish.cuh). Otherwise the kernel
// before may be anyone's, and x what it writes; its weights come as far as L2 while it ends, where
// they cannot go stale. x goes first, since it would wait behind the weights.
template <class C>
FBQ_DEVICE Ahead ask(Row<C> &row, Held<C> &held, const fbq_fused_args &args, const Ring &ring,
                     const Share &share, int lane)
{
    Ahead ahead = ahead_begin<C>(args);
    if (!C::branch || C::whole) {
        if (FBQ_BULK_COPIES) {
            FBQ_NO_UNROLL
            for (int s = 0; s < C::stages; s++)
                prefetch_step<C>(args, ahead, share, lane);
            ahead = ahead_begin<C>(args);
        }
        wait_for_producer();
        // Not before: a chained launch behind this one relies on all that this one waits for.
        let_dependents_start();
    }
    ask_x<C>(row, args, ring, share, lane);
    FBQ_NO_UNROLL
    for (int s = 0; s < C::stages; s++)
        fetch_step<C>(args, ring, s, ahead, share, want_all, lane);
    if (C::holds)
        take_first<C>(held, args, ring, ahead, share, lane);
    return ahead;
}

// The same where the caller says that the kernel before writes no weights: they are on their way
// while it ends.
//
// What is asked for must not be in the way of what others wait for. This block came when one of two
// launches before had left, just when the launch before begins to read x: with few tiles a block,
// where that is most of a layer's time, it lets it go first (args.hold), unless that has ended
// already, as where it is no layer and lets nobody come before its end. The warps of the
// sub-branch want x at once when their turn has come, and soon others' partial sums: the first step
// is asked for when the second has come (the first's barrier may be one of x, too), and the next
// launch may come when this one's turn has.
template <class C>
FBQ_DEVICE Ahead ask_chained(Row<C> &row, Held<C> &held, const fbq_fused_args &args,
                             const Ring &ring, const Share &share, int warp, int lane)
{
    Ahead ahead = ahead_begin<C>(args);
    const int cycles = args.hold + warp * args.hold_warp;
    if (C::turns)
        hold(cycles, turn_of<C>(ring.barriers));
    else
        hold(cycles);
    if (C::whole) {
        Ahead first = ahead;
        ahead_advance<C>(ahead, args);
        const bool second = (C::tiles > 1 || C::resident) && ahead.first < end_tile<C>(args);
        FBQ_NO_UNROLL
        for (int s = 1; s < C::stages; s++)
            fetch_step<C>(args, ring, s, ahead, share, want_codes, lane);
        if (second)
            ring_wait<C>(ring, Cursor{1, 0});
        fetch_step<C>(args, ring, 0, first, share, want_codes, lane);
    } else {
        FBQ_NO_UNROLL
        for (int s = 0; s < C::stages; s++)
            fetch_step<C>(args, ring, s, ahead, share, want_codes, lane);
    }
    if (!C::whole)
        let_dependents_start();
    wait_for_producer();
    if (C::whole)
        let_dependents_start();
    ask_x<C>(row, args, ring, share, lane);
    if (C::columns > 1 && !C::resident) {
        // x of the steps that begin a part
        Ahead again = ahead_begin<C>(args);
        FBQ_UNROLL
        for (int s = 0; s < C::stages; s++)
            if (s % C::tiles == 0)
                fetch_step<C>(args, ring, s, again, share, want_x, lane);
            else
                ahead_advance<C>(again, args);
    }
    if (C::holds)
        take_first<C>(held, args, ring, ahead, share, lane);
    return ahead;
}

// What the warps of the codes do.
template <class C>
FBQ_DEVICE void codes(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    const Share share = share_of<C>(args, warp);
    const Ring ring = ring_begin<C>(args, area, warp, lane);
    if (C::branch)
        handover_begin<C>(args, area, warp, lane);
    const bool chained = FBQ_BULK_COPIES && (!C::branch || C::whole) && args.chained;
    Row<C> row;
    Held<C> held;
    Ahead ahead = chained ? ask_chained<C>(row, held, args, ring, share, warp, lane)
                          : ask<C>(row, held, args, ring, share, lane);
    if (C::resident)
        prepare_x<C>(row, args, ring, share, lane);
    sync_warp();

    int slot = 0;
    Cursor next = {C::holds, 0};
    Walk at = {first_tile<C>(args), 0, 0, 0, true, false};
    FBQ_NO_UNROLL
    for (; at.first < end_tile<C>(args); at.first += C::tiles * tile_stride<C>(), at.group++) {
        float y[C::tiles][C::halves][4] = {};
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++) {
            const Part p = part_of<C>(share, part);
            const saddr x = ring.x + (u32)((C::resident ? part : slot) * slot_bytes<C>(args));
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++) {
                const bool is_held = C::holds && i == 0 && part == 0 && at.group == 0;
                if (!is_held)
                    ring_wait<C>(ring, next);
                if (!C::resident && i == 0) {
                    prepare_part<C>(row, args, x, share, part, lane);
                    sync_warp();
                }
                if (is_held) {
                    multiply_held<C>(y[i], held, p, x, lane);
                    continue;
                }
                if (i == 0 || at.first + i * tile_stride<C>() < end_tile<C>(args))
                    multiply<C>(y[i], args, p, ring_stage<C>(ring, next.stage), x, lane);
                ring_next<C>(args, ring, next, ahead, share, lane);
            }
            if (C::columns > 1 && !C::resident)
                slot = next_of(args.x_slots, slot);
        }
        at.end = at.first + C::tiles * tile_stride<C>() >= end_tile<C>(args);
        // Behind down, the next layer's down may come and wait beside this. Earlier it would hold
        // up blocks of this kernel.
        if (C::branch && !C::whole && at.end)
            let_dependents_start();
        if (C::columns == 1) {
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                limbs_finish<C>(y[i][0]);
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
