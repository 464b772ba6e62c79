// fbq/device/pieces.cuh: a sub-branch warp's ring in shared memory, through which blocks of A,
// where the kernel makes t itself, and then blocks of B travel, in the order in which the warp uses
// them.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_PIECES_CUH
#define FBQ_DEVICE_PIECES_CUH

#include "ring.cuh"
#include "segments.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// A piece: a chunk of A (16 ranks of 64 k), or as many bytes of B: up to four blocks of 16 rows of
// 16 ranks each, and behind them those rows' scales where B has any. Where the kernel does not make
// t, and x leaves little room, a piece is one block.
constexpr int piece_most = 4;

// A block's share of the down-projection: 16 ranks of one slice of K. The first rank_tiles x slices
// blocks have one, and each sub-branch warp every fourth chunk of it.
struct DownShare {
    int rank_tile, slice, begin, end; // chunks
};

FBQ_DEVICE int down_shares(const fbq_fused_args &args)
{
    return args.rank_tiles * args.slices;
}

FBQ_DEVICE DownShare down_share_of(const fbq_fused_args &args, int index)
{
    DownShare s;
    s.slice = index / args.rank_tiles;
    s.rank_tile = index - s.slice * args.rank_tiles;
    s.begin = s.slice * args.slice_chunks;
    s.end = min_int(s.begin + args.slice_chunks, args.chunks);
    return s;
}

// A warp's walk over blocks of B, round by round. A round has round_tiles x 2^up_shift items, a
// warp every fourth of them; an item has every 2^up_shift-th piece of its tile.
struct Up {
    int first; // tile of the round
    int item;  // of the round
    int step;  // of the tile: 16 ranks
};

template <class C>
FBQ_DEVICE int up_tile(const fbq_fused_args &args, const Up &u)
{
    return u.first + (u.item >> args.up_shift) * tile_stride<C>();
}

FBQ_DEVICE int up_first_step(const fbq_fused_args &args, int item)
{
    return (item & ((1 << args.up_shift) - 1)) << args.piece_shift;
}

// Items of a round.
FBQ_DEVICE int up_items(const fbq_fused_args &args)
{
    return args.round_tiles << args.up_shift;
}

template <class C>
FBQ_DEVICE void up_next(const fbq_fused_args &args, Up &u, int warp)
{
    u.item += branch_warps;
    if (u.item >= up_items(args)) {
        u.item = warp;
        u.first += args.round_tiles * tile_stride<C>();
    }
    u.step = up_first_step(args, u.item);
}

// Past items without a piece: a segment's tiles may have fewer than others', or none.
template <class C>
FBQ_DEVICE void up_skip(const fbq_fused_args &args, Up &u, int warp)
{
    FBQ_NO_UNROLL
    while (up_tile<C>(args, u) < end_tile<C>(args) &&
           u.step >= ranks_of<C>(args, up_tile<C>(args, u)).steps)
        up_next<C>(args, u, warp);
}

template <class C>
FBQ_DEVICE Up up_begin(const fbq_fused_args &args, int warp)
{
    Up u;
    u.first =
        split_index<C>() == 0 && warp < up_items(args) ? first_tile<C>(args) : end_tile<C>(args);
    u.item = warp;
    u.step = up_first_step(args, warp);
    if (C::segmented)
        up_skip<C>(args, u, warp);
    return u;
}

template <class C>
FBQ_DEVICE void up_advance(const fbq_fused_args &args, Up &u, int warp)
{
    u.step += 1 << args.piece_shift << args.up_shift;
    if (C::segmented) {
        up_skip<C>(args, u, warp);
        return;
    }
    if (u.step < args.rank_tiles)
        return;
    up_next<C>(args, u, warp);
}

// The piece that is to be fetched next.
struct PieceAhead {
    const u8 *a; // chunk of A,
    int a_left;  // of so many more
    Up up;       // of B
};

struct PieceRing {
    saddr stages, barriers;
    int stride; // from a stage to the next
};

// Where a piece of B has its scales.
template <class C>
FBQ_DEVICE u32 piece_scales_at(const fbq_fused_args &args)
{
    return (u32)(C::block_bytes << args.piece_shift);
}

// Have the piece ahead fetched into stage s. The warp has met since it last read the stage.
template <class C>
FBQ_DEVICE void fetch_piece(const fbq_fused_args &args, const PieceRing &ring, int s,
                            PieceAhead &ahead, int warp, int lane)
{
    const saddr to = ring.stages + (u32)(s * ring.stride), barrier = ring.barriers + (u32)(s * 8);
    const u8 *from = nullptr;
    int bytes = 0, scales_tile = -1;
    if (C::whole && ahead.a_left > 0) {
        from = ahead.a;
        bytes = C::piece_bytes;
        ahead.a += branch_warps * C::piece_bytes;
        ahead.a_left--;
    } else if (up_tile<C>(args, ahead.up) < end_tile<C>(args) && args.rank_tiles > 0) {
        const Up &u = ahead.up;
        const TileRanks ranks = ranks_of<C>(args, up_tile<C>(args, u));
        from = (const u8 *)args.blocks +
               (block_of<C>(args, ranks, up_tile<C>(args, u)) + u.step) * C::block_bytes;
        bytes = min_int(steps_of<C>(args, ranks) - u.step, 1 << args.piece_shift) * C::block_bytes;
        scales_tile = up_tile<C>(args, u);
        up_advance<C>(args, ahead.up, warp);
    }
    if (bytes > 0 && (!FBQ_BULK_COPIES || one_lane(lane))) {
        const bool scales = C::piece_scales > 0 && scales_tile >= 0;
        if (FBQ_BULK_COPIES)
            barrier_expect(barrier, (u32)(bytes + (scales ? C::piece_scales : 0)));
        fetch_bytes(to, from, bytes, barrier, lane);
        if (scales)
            fetch_bytes(to + piece_scales_at<C>(args),
                        (const u8 *)args.up_scales + (i64)scales_tile * C::piece_scales,
                        C::piece_scales, barrier, lane);
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
}

// The warp's ring.
template <class C>
FBQ_DEVICE PieceRing pieces_begin(const fbq_fused_args &args, saddr area, PieceAhead &ahead,
                                  int warp, int lane)
{
    PieceRing r;
    r.stride = (C::whole ? C::piece_bytes : C::block_bytes << args.piece_shift) + C::piece_scales;
    r.stages = area + (u32)(args.smem_pieces + warp * C::piece_stages * r.stride);
    r.barriers = area + (u32)(args.smem_barriers + C::warps * (C::stages + 1) * 8 + 16 +
                              warp * C::piece_stages * 8);
    barriers_begin<C::piece_stages>(r.barriers, lane);
    ahead.up = up_begin<C>(args, warp);
    ahead.a_left = 0;
    if (C::whole && block_index_x() < down_shares(args)) {
        const DownShare share = down_share_of(args, block_index_x());
        ahead.a = (const u8 *)args.a_blocks +
                  ((i64)share.rank_tile * args.chunks + share.begin + warp) * C::piece_bytes;
        ahead.a_left = ceil_div(share.end - share.begin - warp, branch_warps);
    }
    return r;
}

// Have the first pieces fetched.
template <class C>
FBQ_DEVICE void pieces_fetch(const fbq_fused_args &args, const PieceRing &ring, PieceAhead &ahead,
                             int warp, int lane)
{
    FBQ_NO_UNROLL
    for (int s = 0; s < C::piece_stages; s++)
        fetch_piece<C>(args, ring, s, ahead, warp, lane);
}

// Have the warp's chunks of A brought into L2.
template <class C>
FBQ_DEVICE void prefetch_a(const PieceAhead &ahead, int lane)
{
    FBQ_NO_UNROLL
    for (int i = 0; i < ahead.a_left; i++)
        prefetch_l2(ahead.a + i * branch_warps * C::piece_bytes, C::piece_bytes, lane);
}

// Wait for the piece that is next; where it is.
template <class C>
FBQ_DEVICE saddr piece_wait(const PieceRing &ring, const Cursor &at)
{
    if (FBQ_BULK_COPIES)
        barrier_wait(ring.barriers + (u32)(at.stage * 8), at.parity);
    else
        copy_async_wait_left<C::piece_stages - 1>();
    sync_warp(); // as in ring_wait
    return ring.stages + (u32)(at.stage * ring.stride);
}

template <class C>
FBQ_DEVICE void piece_advance(Cursor &at)
{
    at.stage = next_of(C::piece_stages, at.stage);
    if (at.stage == 0)
        at.parity ^= 1;
}

// Done with it: the piece ahead takes its place.
template <class C>
FBQ_DEVICE void piece_next(const fbq_fused_args &args, const PieceRing &ring, Cursor &at,
                           PieceAhead &ahead, int warp, int lane)
{
    reads_before_copies();
    sync_warp(); // all lanes have read the piece
    fetch_piece<C>(args, ring, at.stage, ahead, warp, lane);
    piece_advance<C>(at);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
