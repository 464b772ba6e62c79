// fbq/device/finish.cuh: from the warps' sums to y.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FINISH_CUH
#define FBQ_DEVICE_FINISH_CUH

#include "branch.cuh"
#include "splits.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// A number of y's type.
FBQ_DEVICE float number_at(const fbq_fused_args &args, const void *numbers, i64 at)
{
    if (args.y_type == type_f32)
        return ldg_f32((const float *)numbers + at);
    const u32 word = ldg_u16((const u16 *)numbers + at);
    return args.y_type == type_bf16 ? f32_of<type_bf16>(word) : f32_of<type_f16>(word);
}

// Bias, residual, rounding, store: result (n, m) of y.
template <class C>
FBQ_DEVICE void write_y(const fbq_fused_args &args, int n, int m, float v)
{
    const i64 at = (i64)m * args.y_stride + n;
    if (args.bias)
        v = add(v, f32_of<C::x>(ldg_u16((const u16 *)args.bias + n)));
    if (args.residual) {
        const i64 from = (i64)m * args.residual_stride + n;
        v = add(v, number_at(args, args.residual, from));
    }
    if (args.y_type == type_f32)
        stg_f32((float *)args.y + at, v);
    else
        stg_u16((u16 *)args.y + at, args.y_type == type_bf16 ? bf16_of_f32(v) : f16_of_f32(v));
}

// Where a block is in its walk over groups of tiles.
struct Walk {
    int first; // tile of the group
    int group; // groups before this one,
    int tile;  // of them in the same round,
    int round; // rounds before it
    bool last; // group of its round,
    bool end;  // and of the block
};

// The warps of the codes meet.
template <class C>
FBQ_DEVICE void sync_codes()
{
    if (C::branch)
        sync_warps<meet_codes, C::warps * warp_lanes>();
    else
        sync_block();
}

// A result of a tile's up-projection, added up over the warps that shared it.
template <class C>
FBQ_DEVICE float up_get(const fbq_fused_args &args, saddr up, int index)
{
    const saddr at = up + reduce_at<C::columns>(index);
    float v = lds_f32(at);
    FBQ_NO_UNROLL
    for (int part = 1; part < 1 << args.up_shift; part++)
        v = add(v, lds_f32(at + (u32)(part * reduce_bytes(C::columns))));
    return v;
}

// Add up the warps' sums of a finished group, and at the end of a round write y. Every warp has a
// place for its results of all tiles.
template <class C>
FBQ_DEVICE void finish_group(const fbq_fused_args &args, saddr area,
                             const float (&y)[C::tiles][C::halves][4], const Walk &at, int warp,
                             int lane)
{
    constexpr int outputs = tile_rows * C::columns, bytes = reduce_bytes(C::columns);
    const saddr results = area + (u32)(args.smem_results + (at.group & 1) * args.results_turn);
    const saddr sums = area + (u32)args.smem_sums, up = area + (u32)args.smem_up;
    // Where two areas take turns, one barrier a group is enough: whoever fills an area again has
    // passed the barrier after the one its readers had to reach. Where there is room for one only,
    // its readers are waited for.
    if (at.group > 0 && args.results_turn == 0)
        sync_codes<C>();
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++) {
        FBQ_UNROLL
        for (int half = 0; half < C::halves; half++)
            reduce_put<C::columns>(results + (u32)(warp * args.results_stride + i * bytes), lane,
                                   y[i][half], half);
    }
#if FBQ_PLANT != 2
    sync_codes<C>();
#endif
    // the warps take turns, so that none is always the last at the barrier
    const int place = (warp + at.group) % C::warps * warp_lanes + lane;
    if (C::rounds && !at.last) {
        FBQ_NO_UNROLL
        for (int j = place; j < outputs; j += C::warps * warp_lanes)
            sts_f32(sums + (u32)(at.tile * bytes + j * 4),
                    reduce_get<C::warps, C::columns>(results, args.results_stride, j));
        return;
    }
    const bool ups = C::branch && split_index<C>() == 0;
    if (ups)
        barrier_wait(handover_of<C>(args, area).ready, (u32)at.round & 1u);
    else if (C::branch && !C::whole)
        wait_for_producer(); // as the warps of the sub-branch have done elsewhere
    // the tiles of the round, the last of them not yet added up; or those of the group
    const int tiles = C::rounds ? at.tile + 1 : C::tiles;
    const int first = at.first - (C::rounds ? at.tile * tile_stride<C>() : 0);
    FBQ_NO_UNROLL
    for (int j = place; j - lane < tiles * outputs; j += C::warps * warp_lanes) {
        const int i = j / outputs, m = j / tile_rows % C::columns, row = j % tile_rows;
        const int tile = first + i * tile_stride<C>();
        const TileRows rows = rows_of<C>(args, tile);
        const int n = rows.first + row;
        const int index = j % outputs;
        const bool mine = j < tiles * outputs && (!C::segmented || tile < end_tile<C>(args)) &&
                          n < rows.end - (FBQ_PLANT == 3 ? 1 : 0) && m < args.m;
        float v = 0;
        if (mine) {
            if (C::rounds && i < at.tile)
                v = lds_f32(sums + (u32)(i * bytes + index * 4));
            else
                v = reduce_get<C::warps, C::columns>(results + (u32)(C::rounds ? 0 : i * bytes),
                                                     args.results_stride, index);
            if (ups)
                v = add(v, up_get<C>(args, up + (u32)((i << args.up_shift) * bytes), index));
        }
        if (C::splits > 1) {
            const int begin = j - lane, begin_tile = first + begin / outputs * tile_stride<C>();
            if (begin_tile >= end_tile<C>(args))
                break;
            u32 *counter = split_counter<C>(args, begin_tile, begin % outputs);
            if (!split_add<C>(v, args, counter, tile, j % outputs, mine, lane))
                continue;
        }
        if (mine)
            write_y<C>(args, n, m, v);
    }
    if (ups && !at.end)
        barrier_arrive(handover_of<C>(args, area).read);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
