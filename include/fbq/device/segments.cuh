// fbq/device/segments.cuh: layers that share x in one launch. Each is a segment of the rows, with
// ranks of its own; no tile crosses a segment. A kernel for one segment knows none of this.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_SEGMENTS_CUH
#define FBQ_DEVICE_SEGMENTS_CUH

#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// All comparisons at once: a loop would wait for one after the other. Segments that there are not
// begin beyond every tile.
FBQ_DEVICE const fbq_fused_segment &segment_of(const fbq_fused_args &args, int tile)
{
    int s = 0;
    FBQ_UNROLL
    for (int i = 1; i < fbq_most_segments; i++)
        s += tile >= args.segment[i].first_tile;
    return args.segment[s];
}

// A tile's share of the sub-branch: its steps of t, 16 ranks each, and its first block of B. Of one
// segment they follow from the arguments, which are then read where they are wanted: kept, they
// would take registers.
struct TileRanks {
    int first, steps;
    i64 block;
};

template <class C>
FBQ_DEVICE TileRanks ranks_of(const fbq_fused_args &args, int tile)
{
    if (!C::segmented)
        return TileRanks{0, 0, 0};
    const fbq_fused_segment &s = segment_of(args, tile);
    return TileRanks{s.first_rank_tile, s.rank_tiles,
                     s.first_block + (i64)(tile - s.first_tile) * s.rank_tiles};
}

// The steps of t that the block's tiles want: those of all segments that they are of.
struct StepsOfBlock {
    int first, end;
};

template <class C>
FBQ_DEVICE StepsOfBlock steps_of_block(const fbq_fused_args &args)
{
    if (!C::segmented)
        return StepsOfBlock{0, args.rank_tiles};
    const int first = first_tile<C>(args), end = end_tile<C>(args);
    if (first == end)
        return StepsOfBlock{0, 0};
    const TileRanks last = ranks_of<C>(args, end - 1);
    return StepsOfBlock{ranks_of<C>(args, first).first, last.first + last.steps};
}

template <class C>
FBQ_DEVICE int steps_of(const fbq_fused_args &args, const TileRanks &ranks)
{
    return C::segmented ? ranks.steps : args.rank_tiles;
}

template <class C>
FBQ_DEVICE i64 block_of(const fbq_fused_args &args, const TileRanks &ranks, int tile)
{
    return C::segmented ? ranks.block : (i64)tile * args.rank_tiles;
}

// A tile's first row of y, and the end of its segment's: the last tile may have padding behind it.
struct TileRows {
    int first, end;
};

template <class C>
FBQ_DEVICE TileRows rows_of(const fbq_fused_args &args, int tile)
{
    if (!C::segmented)
        return TileRows{tile * tile_rows, args.n};
    const fbq_fused_segment &s = segment_of(args, tile);
    return TileRows{s.first_row + (tile - s.first_tile) * tile_rows, s.end_row};
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
