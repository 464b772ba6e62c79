// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks tiles of 16 rows; its warps split K, each with its own slice of x and its own codes
// in registers, and add their results once a tile.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FUSED_CUH
#define FBQ_DEVICE_FUSED_CUH

#include "branch.cuh"
#include "reduce.cuh"
#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Bias, residual, rounding, store: result (n, m) of y.
FBQ_DEVICE void write_y(const fbq_fused_args &args, int n, int m, float v)
{
    const i64 at = (i64)m * args.y_stride + n;
    if (args.bias)
        v = add(v, f32_of_f16(ldg_u16((const u16 *)args.bias + n)));
    if (args.residual) {
        const i64 from = (i64)m * args.residual_stride + n;
        v = add(v, args.y_f32 ? ldg_f32((const float *)args.residual + from)
                              : f32_of_f16(ldg_u16((const u16 *)args.residual + from)));
    }
    if (args.y_f32)
        stg_f32((float *)args.y + at, v);
    else
        stg_u16((u16 *)args.y + at, f16_of_f32(v));
}

// Add up the warps' sums of a finished tile and write y.
template <class C>
FBQ_DEVICE void finish_tile(const fbq_fused_args &args, saddr area, const float (&y)[4], int tile,
                            int turn, int warp, int lane)
{
    // Two areas take turns, so that one barrier a tile is enough: whoever fills an area again has
    // passed the barrier after the one its readers had to reach. The warps take turns at finishing,
    // so that none is always the last at the barrier.
    const saddr part = area + (u32)((turn & 1) * reduce_bytes(C::warps, C::columns));
    reduce_put<C::columns>(part, warp, lane, y);
#if FBQ_PLANT != 2
    sync_block();
#endif
    const int place = (warp + turn) % C::warps * warp_lanes + lane;
    FBQ_NO_UNROLL
    for (int i = place; i < tile_rows * C::columns; i += C::warps * warp_lanes) {
        const int n = tile * tile_rows + i / C::columns, m = i % C::columns;
        if (n < args.n - (FBQ_PLANT == 3 ? 1 : 0) && m < args.m)
            write_y(args, n, m, reduce_get<C::warps, C::columns>(part, i));
    }
}

// Shared memory, in order: two areas of partial results, t's steps, x (args has the offsets).
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int thread = thread_index(), warp = thread / warp_lanes, lane = thread % warp_lanes;
    const int grid = grid_blocks_x();
    const saddr area = smem(), area_t = area + (u32)args.smem_t;
    const saddr slices = area + (u32)(args.smem_x + warp * args.slice_bytes);
    const u32 pass_bytes = (u32)(C::warps * args.slice_bytes);
    const int staged = args.resident ? args.passes : 0;
    int tile = block_index_x();

    // x first, since it would wait behind the weights; then weights, which travel while x is taken
    // in and t is waited for. Neither is written by the kernel before this one: that is down of the
    // same call, which started after everything before it had ended.
    FBQ_NO_UNROLL
    for (int pass = 0; pass < staged; pass++)
        fetch_x<C, true>(args, slices + (u32)pass * pass_bytes,
                         (pass * C::warps + warp) * C::chunks, lane);
    if (C::branch)
        fetch_up<C>(args, area_t, tile, warp, lane);
    Ahead ahead = ahead_begin<C>(args, warp);
    Held<C> held;
    load_all(held, source_of<C>(args, ahead, lane));
    ahead_advance<C>(ahead, args, warp);
    copy_async_wait();
    sync_warp();
    FBQ_NO_UNROLL
    for (int pass = 0; pass < staged; pass++)
        correct_x<C>(args, slices + (u32)pass * pass_bytes, lane);
    wait_for_producer();
    if (C::branch)
        stage_t<C>(args, area_t, warp, lane);
    sync_warp();

    for (int turn = 0; tile < args.tiles; tile += grid, turn++) {
        float y[4] = {0, 0, 0, 0};
        if (C::branch) {
            copy_async_wait();
            add_branch<C>(y, args, area_t, warp, lane);
            if (tile + grid < args.tiles)
                fetch_up<C>(args, area_t, tile + grid, warp, lane);
        }
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++) {
            saddr slice = slices;
            if (args.resident) {
                slice += (u32)pass * pass_bytes;
            } else {
                sync_warp(); // the pass before has been read
                fetch_x<C, false>(args, slice, (pass * C::warps + warp) * C::chunks, lane);
                sync_warp();
                correct_x<C>(args, slice, lane);
                sync_warp();
            }
            multiply(y, held, args, slice, source_of<C>(args, ahead, lane), lane);
            ahead_advance<C>(ahead, args, warp);
        }
        finish_tile<C>(args, area, y, tile, turn, warp, lane);
    }
}

#ifndef FBQ_SIMT
// No launch bounds: given any, ptxas aims at a number of registers and spills a few to hit it. Left
// alone it takes 60 to 110, which 16 warps fit into; fbq_prepare checks what was compiled.
template <class C>
static __global__ void fused_kernel(const __grid_constant__ fbq_fused_args args)
{
    fused<C>(args);
}
#endif

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
