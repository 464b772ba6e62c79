// fbq/device/splits.cuh: split-K. Blocks that share a tile each multiply their part of K; the last
// of them to come adds up all their sums, in the order of the parts, and writes y.
//
// Nobody waits for anybody, so it matters neither which of the blocks run at once nor in what order
// they come; and y's bits do not depend on who was last. Partial sums lie in the caller's scratch.
// Who is last is counted in the caller's state, where each counter is 0 between launches.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_SPLITS_CUH
#define FBQ_DEVICE_SPLITS_CUH

#include "exchange.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// The counter of 32 results that a warp adds up at a time, the first of them result `output` of
// `tile`: with one row of x these are two tiles, and the first's counter serves.
template <class C>
FBQ_DEVICE u32 *split_counter(const fbq_fused_args &args, int tile, int output)
{
    constexpr int each = ceil_div(tile_rows * C::columns, warp_lanes);
    return (u32 *)((u8 *)args.state + state_head_bytes) + tile * each + output / warp_lanes;
}

// A whole warp leaves its lanes' results of one part of K. Where the other parts have come before,
// v becomes the sum of all parts. Lanes that are not `mine` have no result. False: not the last.
template <class C>
FBQ_DEVICE bool split_add(float &v, const fbq_fused_args &args, u32 *counter, int tile, int output,
                          bool mine, int lane)
{
    constexpr int outputs = tile_rows * C::columns;
    float *at = args.sums + (i64)tile * outputs + output;
    const i64 part = (i64)args.tiles * outputs;
    u32 turn = 0;
    if (mine)
        stg_relaxed_u32(at + split_index<C>() * part, bits_of(v));
    sync_warp();
    if (lane == 0)
        turn = atomic_turn_ordered_u32(counter, C::splits - 1);
    if (warp_max_u32(turn) != C::splits - 1)
        return false;
    sync_warp(); // lane 0 has seen the others' sums; a vote orders nothing
    if (mine) {
        u32 sum[C::splits];
        FBQ_UNROLL
        for (int s = 0; s < C::splits; s++)
            sum[s] = ldg_relaxed_u32(at + s * part);
        v = float_of(sum[0]);
        FBQ_UNROLL
        for (int s = 1; s < C::splits; s++)
            v = add(v, float_of(sum[s]));
    }
    return true;
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
