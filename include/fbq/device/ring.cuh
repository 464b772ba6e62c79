// fbq/device/ring.cuh: a warp's ring of stages in shared memory, through which its codes, scales,
// zero points and blocks of B travel.
//
// Every warp fetches for itself alone, so no barrier of the block stands between memory and the
// tensor cores. A step is one part of one tile; the ring runs `Stages` steps ahead. One lane has
// whole runs of bytes copied where the target has bulk copies; else every lane copies 16 bytes at a
// time.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_RING_CUH
#define FBQ_DEVICE_RING_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// The step that is to be fetched next: a walk over a tile's parts, then over the block's tiles.
struct Ahead {
    const u8 *record;
    int tile;
    int part;
    int slot; // of the tile's blocks of B
};

FBQ_DEVICE Ahead ahead_begin(const fbq_fused_args &args)
{
    Ahead a;
    a.tile = block_index_x();
    a.part = a.slot = 0;
    a.record = (const u8 *)args.records + (i64)a.tile * args.record_bytes;
    return a;
}

// Stages, and the slots for B, are used in turn.
template <class C>
FBQ_DEVICE int next_stage(int s)
{
    return s + 1 == C::stages ? 0 : s + 1;
}

template <class C>
FBQ_DEVICE void ahead_advance(Ahead &a, const fbq_fused_args &args)
{
    if (++a.part == parts_of_k<C>(args)) {
        a.part = 0;
        a.tile += grid_blocks_x();
        a.record += args.round_bytes;
        a.slot = next_stage<C>(a.slot);
    }
}

// A warp's ring: stages, then next to each other for all warps the barriers of the stages' copies,
// and slots for the blocks of B, which come with a tile's last part.
struct Ring {
    saddr stages, barriers, up;
};

template <class C>
FBQ_DEVICE Ring ring_begin(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    Ring r;
    r.stages = area + (u32)(args.smem_ring + warp * C::stages * C::stage_bytes);
    r.barriers = area + (u32)(args.smem_barriers + warp * C::stages * 8);
    r.up = area + (u32)args.smem_up;
    if (FBQ_BULK_COPIES) {
        if (one_lane(lane)) {
            FBQ_UNROLL
            for (int s = 0; s < C::stages; s++)
                barrier_init(r.barriers + (u32)(s * 8), 1);
            barriers_ready();
        }
        sync_warp();
    }
    return r;
}

template <class C>
FBQ_DEVICE saddr ring_stage(const Ring &r, int s)
{
    return r.stages + (u32)(s * C::stage_bytes);
}

// One lane's or the whole warp's copy of `bytes` (a multiple of 16).
FBQ_DEVICE void fetch_bytes(saddr to, const u8 *from, int bytes, saddr barrier, int lane)
{
#if FBQ_BULK_COPIES
    (void)lane;
    copy_bulk(to, from, (u32)bytes, barrier);
#else
    (void)barrier;
    FBQ_UNROLL_BY_4
    for (int i = lane * 16; i < bytes; i += warp_lanes * 16)
        copy_async16(to + (u32)i, from + i);
#endif
}

// What a step fetches, in bytes from the start of the tile's record. The integer zero points of a
// group are 8 bytes: they are fetched from an even group on.
struct Run {
    int codes, codes_bytes, scales, scales_bytes, zeros, zeros_bytes;
};

template <class C>
FBQ_DEVICE Run run_of(const fbq_fused_args &args, const Part &p)
{
    const int chunks = chunks_of<C>(args, p), group = group_of<C>(p.first);
    // groups that begin or go on in the part
    const int count = C::group == 0           ? 1
                      : C::group > unit_codes ? group_of<C>(p.first + p.count - 1) + 1 - group
                                              : ceil_div(chunks * C::flushes, 2);
    Run r;
    r.codes = p.first * (2 * chunk_bytes);
    r.codes_bytes = chunks * chunk_bytes;
    r.scales = args.codes_bytes + (group + (FBQ_PLANT == 1)) * C::group_bytes;
    r.scales_bytes = count * C::group_bytes;
    r.zeros = r.zeros_bytes = 0;
    if (C::zero == zero_code) {
        r.zeros = args.codes_bytes + args.scales_bytes + group / 2 * 16;
        r.zeros_bytes = ((group + count + 1) / 2 - group / 2) * 16;
    }
    return r;
}

// This warp's blocks of B.
template <class C>
FBQ_DEVICE int up_steps(const fbq_fused_args &args, int warp)
{
    return C::branch && warp < args.rank_tiles ? (args.rank_tiles - warp - 1) / C::warps + 1 : 0;
}

// Have the step ahead fetched into stage s. The warp has met since it last read the stage.
template <class C>
FBQ_DEVICE void fetch_step(const fbq_fused_args &args, const Ring &ring, int s, Ahead &ahead,
                           const Share &share, int warp, int lane)
{
    if (ahead.tile < args.tiles && (!FBQ_BULK_COPIES || one_lane(lane))) {
        const saddr stage = ring_stage<C>(ring, s), barrier = ring.barriers + (u32)(s * 8);
        const Part p = part_of<C>(share, ahead.part);
        const bool some = C::even || p.count > 0;
        int ups = 0;
        Run r = {};
        if (some)
            r = run_of<C>(args, p);
        if (C::branch && ahead.part == parts_of_k<C>(args) - 1)
            ups = up_steps<C>(args, warp);
        if (FBQ_BULK_COPIES)
            barrier_expect(barrier,
                           (u32)(r.codes_bytes + r.scales_bytes + r.zeros_bytes + ups * 512));
        if (some) {
            fetch_bytes(stage, ahead.record + r.codes, r.codes_bytes, barrier, lane);
            fetch_bytes(stage + (u32)C::stage_scales, ahead.record + r.scales, r.scales_bytes,
                        barrier, lane);
            if (C::zero == zero_code)
                fetch_bytes(stage + (u32)C::stage_zeros, ahead.record + r.zeros, r.zeros_bytes,
                            barrier, lane);
        }
        if (C::branch) {
            const u8 *from =
                (const u8 *)args.blocks + ((i64)ahead.tile * args.rank_tiles + warp) * 512;
            saddr to = ring.up + (u32)((ahead.slot * args.rank_tiles + warp) * 512);
            FBQ_NO_UNROLL
            for (int i = 0; i < ups; i++, from += C::warps * 512, to += C::warps * 512)
                fetch_bytes(to, from, 512, barrier, lane);
        }
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
    ahead_advance<C>(ahead, args);
}

// Wait for stage s. `parity`: of the rounds through the ring so far.
template <class C>
FBQ_DEVICE void ring_wait(const Ring &ring, int s, u32 parity)
{
    if (FBQ_BULK_COPIES) {
        barrier_wait(ring.barriers + (u32)(s * 8), parity);
    } else {
        copy_async_wait_left<C::stages - 1>();
        sync_warp();
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
