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
};

FBQ_DEVICE Ahead ahead_begin(const fbq_fused_args &args)
{
    Ahead a;
    a.tile = block_index_x();
    a.part = 0;
    a.record = (const u8 *)args.records + (i64)a.tile * args.record_bytes;
    return a;
}

template <class C>
FBQ_DEVICE void ahead_advance(Ahead &a, const fbq_fused_args &args)
{
    if (++a.part == parts_of_k<C>(args)) {
        a.part = 0;
        a.tile += grid_blocks_x();
        a.record += args.round_bytes;
    }
}

// One lane's or the whole warp's copy of `bytes` (a multiple of 16) to a stage.
template <class C>
FBQ_DEVICE void fetch_bytes(saddr stage, int at, const u8 *from, int bytes, int lane)
{
#if FBQ_BULK_COPIES
    (void)lane;
    copy_bulk(stage + (u32)at, from, (u32)bytes, stage + (u32)C::stage_barrier);
#else
    FBQ_UNROLL_BY_4
    for (int i = lane * 16; i < bytes; i += warp_lanes * 16)
        copy_async16(stage + (u32)(at + i), from + i);
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

// Have the step ahead fetched into a stage; B comes with a tile's last part. The warp has met since
// it last read the stage.
template <class C>
FBQ_DEVICE void fetch_step(const fbq_fused_args &args, saddr stage, Ahead &ahead,
                           const Share &share, int warp, int lane)
{
    if (ahead.tile < args.tiles && (!FBQ_BULK_COPIES || one_lane(lane))) {
        const Part p = part_of<C>(share, ahead.part);
        const bool some = C::even || p.count > 0;
        int ups = 0;
        Run r = {};
        if (some)
            r = run_of<C>(args, p);
        if (C::branch && ahead.part == parts_of_k<C>(args) - 1)
            ups = up_steps<C>(args, warp);
        if (FBQ_BULK_COPIES)
            barrier_expect(stage + (u32)C::stage_barrier,
                           (u32)(r.codes_bytes + r.scales_bytes + r.zeros_bytes + ups * 512));
        if (some) {
            fetch_bytes<C>(stage, 0, ahead.record + r.codes, r.codes_bytes, lane);
            fetch_bytes<C>(stage, C::stage_scales, ahead.record + r.scales, r.scales_bytes, lane);
            if (C::zero == zero_code)
                fetch_bytes<C>(stage, C::stage_zeros, ahead.record + r.zeros, r.zeros_bytes, lane);
        }
        if (C::branch) {
            const u8 *up = (const u8 *)args.blocks +
                           ((i64)ahead.tile * args.rank_tiles + warp) * 512;
            FBQ_NO_UNROLL
            for (int i = 0; i < ups; i++, up += C::warps * 512)
                fetch_bytes<C>(stage, C::stage_up + i * 512, up, 512, lane);
        }
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
    ahead_advance<C>(ahead, args);
}

// Where a warp stands in its ring.
struct Ring {
    saddr first, stage;
    u32 parity;
};

template <class C>
FBQ_DEVICE Ring ring_begin(const fbq_fused_args &args, saddr first, int lane)
{
    if (FBQ_BULK_COPIES) {
        if (one_lane(lane)) {
            FBQ_UNROLL
            for (int s = 0; s < C::stages; s++)
                barrier_init(first + (u32)(s * args.stage_bytes + C::stage_barrier), 1);
            barriers_ready();
        }
        sync_warp();
    }
    return Ring{first, first, 0};
}

// Wait for the stage that is next.
template <class C>
FBQ_DEVICE void ring_wait(const Ring &ring)
{
    if (FBQ_BULK_COPIES) {
        barrier_wait(ring.stage + (u32)C::stage_barrier, ring.parity);
    } else {
        copy_async_wait_left<C::stages - 1>();
        sync_warp();
    }
}

template <class C>
FBQ_DEVICE void ring_advance(const fbq_fused_args &args, Ring &ring)
{
    ring.stage += (u32)args.stage_bytes;
    if (ring.stage == ring.first + (u32)(C::stages * args.stage_bytes)) {
        ring.stage = ring.first;
        ring.parity ^= 1;
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
