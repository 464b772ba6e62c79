// fbq/device/ring.cuh: a warp's ring of stages in shared memory, through which its codes, scales
// and zero points travel, and beside which several rows of x do.
//
// Every warp fetches for itself alone, so no barrier of the block stands between memory and the
// tensor cores. A step is one part of one tile; the ring runs `Stages` steps ahead, and one more
// while the first is held in registers. One lane has whole runs of bytes copied where the target
// has bulk copies; else every lane copies 16 bytes at a time. A part of several rows of x comes
// with the first tile of the group.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_RING_CUH
#define FBQ_DEVICE_RING_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// The step that is to be fetched next: a walk over the tiles of a group for one part, then over the
// parts, then over the block's groups.
struct Ahead {
    const u8 *record; // of the tile
    int first;        // tile of the group
    int tile;         // of the group, 0 .. Tiles - 1
    int part;
    int slot; // for the part's x
};

template <class C>
FBQ_DEVICE Ahead ahead_begin(const fbq_fused_args &args)
{
    Ahead a;
    a.first = first_tile<C>(args);
    a.tile = a.part = a.slot = 0;
    a.record = (const u8 *)args.records + (i64)a.first * args.record_bytes;
    return a;
}

// Of `count` things used in turn, the one after i.
FBQ_DEVICE int next_of(int count, int i)
{
    return i + 1 == count ? 0 : i + 1;
}

template <class C>
FBQ_DEVICE void ahead_advance(Ahead &a, const fbq_fused_args &args)
{
    a.record += args.round_bytes;
    if (C::tiles > 1) {
        if (++a.tile < C::tiles)
            return;
        a.tile = 0;
    }
    if (C::columns > 1 && !C::resident)
        a.slot = next_of(args.x_slots, a.slot);
    if (++a.part < parts_of_k<C>(args)) {
        a.record -= C::tiles * args.round_bytes;
        return;
    }
    a.part = 0;
    a.first += C::tiles * tile_stride<C>();
}

// A warp's ring: its stages, the barriers of their copies (and one more: of x, where that stays and
// is copied, or of its turn, turn_of), its slots for x.
struct Ring {
    saddr stages, barriers, x;
};

// A warp makes the barriers of its copies.
template <int Count>
FBQ_DEVICE void barriers_begin(saddr barriers, int lane)
{
    if (FBQ_BULK_COPIES) {
        if (one_lane(lane)) {
            FBQ_UNROLL
            for (int s = 0; s < Count; s++)
                barrier_init(barriers + (u32)(s * 8), 1);
            barriers_ready();
        }
        sync_warp();
    }
}

template <class C>
FBQ_DEVICE saddr ring_barriers(const fbq_fused_args &args, saddr area, int warp)
{
    return area + (u32)(args.smem_barriers + warp * C::ring_barriers * 8);
}

template <class C>
FBQ_DEVICE Ring ring_begin(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    Ring r;
    r.stages = area + (u32)(args.smem_ring + warp * C::stages * C::stage_bytes);
    r.barriers = ring_barriers<C>(args, area, warp);
    r.x = area + (u32)(args.smem_x + warp * args.x_bytes);
    barriers_begin<C::ring_barriers>(r.barriers, lane);
    return r;
}

// Among a warp's barriers, that of its turn: its first phase ends when the kernel before has ended.
// Who waits for that is the sub-branch.
template <class C>
FBQ_DEVICE saddr turn_of(saddr barriers)
{
    return barriers + (u32)(C::stages * 8);
}

template <class C>
FBQ_DEVICE saddr ring_stage(const Ring &r, int s)
{
    return r.stages + (u32)(s * C::stage_bytes);
}

// ---- Several rows of x (one row: limbs.cuh) ----

// Does x come in whole runs of bytes? A warp whose run reaches beyond K has zeros to put there.
FBQ_DEVICE bool x_in_runs(const fbq_fused_args &args, const Share &share)
{
    return FBQ_BULK_COPIES && args.x_vectors && share.end * unit_codes <= args.k;
}

// A part's x, by one lane.
template <class C>
FBQ_DEVICE void fetch_x_runs(const fbq_fused_args &args, saddr slot, const Part &p, saddr barrier)
{
    const u16 *from = (const u16 *)args.x + p.first * unit_codes;
    FBQ_NO_UNROLL
    for (int row = 0; row < args.m; row++, from += args.x_stride)
        copy_bulk(slot + row_of<C>(args, row), from, (u32)(p.count * 2 * unit_codes), barrier);
}

// A part's x, 16 bytes a lane: asynchronously where x is aligned and there are no bulk copies, else
// at once.
template <class C>
FBQ_DEVICE void fetch_x_words(const fbq_fused_args &args, saddr slot, const Part &p, int lane)
{
    FBQ_NO_UNROLL
    for (int row = 0; row < args.m; row++) {
        const saddr to = slot + row_of<C>(args, row);
        const i64 offset = (i64)row * args.x_stride;
        FBQ_NO_UNROLL
        for (int i = lane; i < p.count * (unit_codes / 8); i += warp_lanes) {
            const int k = p.first * unit_codes + i * 8;
            if (!FBQ_BULK_COPIES && args.x_vectors && k + 8 <= args.k)
                copy_async16(to + (u32)(i * 16), (const u16 *)args.x + offset + k);
            else
                sts_u32x4(to + (u32)(i * 16), x_words(args.x, offset, k, args.k, args.x_vectors));
        }
    }
}

// All of x that is this warp's, where it stays.
template <class C>
FBQ_DEVICE void fetch_x(const fbq_fused_args &args, const Ring &ring, const Share &share, int lane)
{
    const saddr barrier = ring.barriers + (u32)(C::stages * 8);
    const bool runs = x_in_runs(args, share);
    const int units = share.end - share.first;
    if (FBQ_BULK_COPIES && one_lane(lane))
        barrier_expect(barrier, (u32)(runs ? args.m * units * 2 * unit_codes : 0));
    FBQ_NO_UNROLL
    for (int part = 0; part < parts_of_k<C>(args); part++) {
        const Part p = part_of<C>(share, part);
        const saddr slot = ring.x + (u32)(part * slot_bytes<C>(args));
        if (!runs)
            fetch_x_words<C>(args, slot, p, lane);
        else if (p.count > 0 && one_lane(lane))
            fetch_x_runs<C>(args, slot, p, barrier);
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
}

// Wait for it. The ring's first steps are on their way.
template <class C>
FBQ_DEVICE void wait_x(const Ring &ring)
{
    if (FBQ_BULK_COPIES)
        barrier_wait(ring.barriers + (u32)(C::stages * 8), 0);
    else
        copy_async_wait_left<C::stages>();
    sync_warp();
}

// ---- Codes ----

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
                      : C::whole_units        ? p.count * C::flushes
                                              : ceil_div(chunks * C::flushes, 2);
    Run r;
    r.codes = p.first * C::code_bytes;
    // a row of 4-bit codes may end in the middle of a unit
    r.codes_bytes = C::bits == 4 ? chunks * (C::code_bytes / 2) : p.count * C::code_bytes;
    r.scales = args.codes_bytes + (group + (FBQ_PLANT == 1)) * C::group_bytes;
    r.scales_bytes = count * C::group_bytes;
    r.zeros = r.zeros_bytes = 0;
    if (C::zero == zero_code) {
        r.zeros = args.codes_bytes + args.scales_bytes + group / 2 * 16;
        r.zeros_bytes = ((group + count + 1) / 2 - group / 2) * 16;
    }
    return r;
}

// What to fetch of a step: everything; or all but its x first, and its x later.
enum Want { want_all, want_codes, want_x };

// Have the step ahead fetched into stage s. The warp has met since it last read the stage. A group
// may have fewer tiles than Tiles; then it has steps that fetch nothing.
template <class C>
FBQ_DEVICE void fetch_step(const fbq_fused_args &args, const Ring &ring, int s, Ahead &ahead,
                           const Share &share, Want want, int lane)
{
    if (ahead.first < end_tile<C>(args)) {
        const saddr stage = ring_stage<C>(ring, s), barrier = ring.barriers + (u32)(s * 8);
        const saddr slot = ring.x + (u32)(ahead.slot * slot_bytes<C>(args));
        const Part p = part_of<C>(share, ahead.part);
        const bool some = C::even || p.count > 0;
        const bool there =
            C::tiles == 1 || ahead.first + ahead.tile * tile_stride<C>() < end_tile<C>(args);
        const bool x_too = C::columns > 1 && !C::resident && some && ahead.tile == 0;
        const bool runs = x_too && x_in_runs(args, share);
        if (x_too && !runs && want != want_codes)
            fetch_x_words<C>(args, slot, p, lane);
        if (!FBQ_BULK_COPIES || one_lane(lane)) {
            Run r = {};
            if (some && there)
                r = run_of<C>(args, p);
            if (FBQ_BULK_COPIES && want != want_x)
                barrier_expect(barrier, (u32)(r.codes_bytes + r.scales_bytes + r.zeros_bytes +
                                              (runs ? args.m * p.count * 2 * unit_codes : 0)));
            if (runs && want != want_codes)
                fetch_x_runs<C>(args, slot, p, barrier);
            if (some && there && want != want_x) {
                fetch_bytes(stage, ahead.record + r.codes, r.codes_bytes, barrier, lane);
                fetch_bytes(stage + (u32)C::stage_scales, ahead.record + r.scales, r.scales_bytes,
                            barrier, lane);
                if (C::zero == zero_code)
                    fetch_bytes(stage + (u32)C::stage_zeros, ahead.record + r.zeros, r.zeros_bytes,
                                barrier, lane);
            }
        }
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
    ahead_advance<C>(ahead, args);
}

// Have the codes and scales of the step ahead brought into L2: all but what shares a line with a
// neighbour.
template <class C>
FBQ_DEVICE void prefetch_step(const fbq_fused_args &args, Ahead &ahead, const Share &share,
                              int lane)
{
    const Part p = part_of<C>(share, ahead.part);
    if ((C::even || p.count > 0) &&
        ahead.first + ahead.tile * tile_stride<C>() < end_tile<C>(args)) {
        const Run r = run_of<C>(args, p);
        prefetch_l2(ahead.record + r.codes, r.codes_bytes, lane);
        prefetch_l2(ahead.record + r.scales, r.scales_bytes, lane);
    }
    ahead_advance<C>(ahead, args);
}

// The stage that is read next, and the parity of the rounds through the ring so far.
struct Cursor {
    int stage;
    u32 parity;
};

// Wait for its bytes. Lanes may see the end of a phase one after the other, and nothing else would
// bring them together before the tensor core, which wants all of them.
template <class C>
FBQ_DEVICE void ring_wait(const Ring &ring, const Cursor &at)
{
    if (FBQ_BULK_COPIES)
        barrier_wait(ring.barriers + (u32)(at.stage * 8), at.parity);
    else
        copy_async_wait_left<C::stages - 1>();
    sync_warp();
}

// Done with them: the step ahead takes their place.
template <class C>
FBQ_DEVICE void ring_next(const fbq_fused_args &args, const Ring &ring, Cursor &at, Ahead &ahead,
                          const Share &share, int lane)
{
    reads_before_copies();
    sync_warp(); // all lanes have read the stage
    fetch_step<C>(args, ring, at.stage, ahead, share, want_all, lane);
    at.stage = next_of(C::stages, at.stage);
    if (at.stage == 0)
        at.parity ^= 1;
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
