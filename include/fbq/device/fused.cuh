// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks tiles of 16 rows; its warps split K, each with its own slice of x, and add their
// results once a tile. The next step's weights are always on their way while this step's are used.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FUSED_CUH
#define FBQ_DEVICE_FUSED_CUH

#include "branch.cuh"
#include "reduce.cuh"
#include "tile.cuh"

namespace fbq
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

// Shared memory, in order: two areas of partial results, t's steps, x (args has the offsets).
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int thread = thread_index(), warp = thread / warp_lanes, lane = thread % warp_lanes;
    const int grid = grid_blocks_x();
    constexpr int pass_chunks = C::warps * C::chunks;
    const int warp_first = warp * C::chunks;
    const saddr area = smem(), area_t = area + (u32)args.smem_t;
    const saddr slices = area + (u32)(args.smem_x + warp * args.slice_bytes);
    const u32 pass_bytes = (u32)(C::warps * args.slice_bytes);
    const int staged = args.resident ? args.passes : 0;

    // Weights first: they depend on nothing, so they travel while x and t are waited for.
    int tile = block_index_x();
    Held<C> held;
    FBQ_UNROLL
    for (int i = 0; i < C::chunks; i++)
        held.codes[i] = u32x4{0, 0, 0, 0};
    load_all(held, source_of<C>(args, tile, warp_first, lane));
    if (C::branch)
        fetch_up<C>(args, area_t, tile, warp, lane);
    wait_for_producer();
    FBQ_NO_UNROLL
    for (int pass = 0; pass < staged; pass++)
        fetch_x<C>(args, slices + (u32)pass * pass_bytes, pass * pass_chunks + warp_first, lane);
    if (C::branch)
        stage_t<C>(args, area_t, warp, lane);
    copy_async_wait();
    sync_warp();
    FBQ_NO_UNROLL
    for (int pass = 0; pass < staged; pass++)
        correct_x<C>(args, slices + (u32)pass * pass_bytes, lane);
    sync_warp();

    for (int turn = 0; tile < args.tiles; turn++) {
        const int next_tile = tile + grid;
        float y[4] = {0, 0, 0, 0};
        if (C::branch) {
            copy_async_wait();
            add_branch<C>(y, args, area_t, warp, lane);
            if (next_tile < args.tiles)
                fetch_up<C>(args, area_t, next_tile, warp, lane);
        }
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++) {
            const int first = pass * pass_chunks + warp_first;
            const bool last = pass + 1 == args.passes;
            const Source next = source_of<C>(args, last ? next_tile : tile,
                                             last ? warp_first : first + pass_chunks, lane);
            saddr slice = slices;
            if (args.resident) {
                slice += (u32)pass * pass_bytes;
            } else {
                sync_warp(); // the pass before has been read
                fetch_x<C>(args, slice, first, lane);
                copy_async_wait();
                sync_warp();
                correct_x<C>(args, slice, lane);
                sync_warp();
            }
            multiply(y, held, args, slice, next, lane);
        }
        // Two areas take turns, so that one barrier a tile is enough: whoever fills an area again
        // has passed the barrier after the one its readers had to reach. The warps take turns at
        // finishing, so that none is always the last at the barrier.
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
        tile = next_tile;
    }
}

#ifndef FBQ_SIMT
template <class C>
__global__ void __launch_bounds__(C::warps * 32, C::blocks)
    fused_kernel(const __grid_constant__ fbq_fused_args args)
{
    fused<C>(args);
}
#endif

} // namespace fbq

#endif
