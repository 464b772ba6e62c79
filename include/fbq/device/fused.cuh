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
    const u8 *records = (const u8 *)args.records;
    const saddr area = smem(), area_t = area + (u32)args.smem_t;
    const saddr slices = area + (u32)(args.smem_x + warp * args.slice_bytes);

    int tile = block_index_x();
    Held<C> held;
    FBQ_UNROLL
    for (int i = 0; i < C::chunks; i++)
        held.codes[i] = u32x4{0, 0, 0, 0};
    load_all(held, args, records + (i64)tile * args.record_bytes, warp * C::chunks, lane);
    if (C::branch)
        fetch_up<C>(args, area_t, tile, warp, lane);

    if (args.resident) {
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++)
            stage_x<C>(args, slices + (u32)(pass * C::warps * args.slice_bytes),
                       pass * pass_chunks + warp * C::chunks, lane);
    }
    if (C::branch)
        stage_t<C>(args, area_t, warp, lane);

    for (int turn = 0; tile < args.tiles; turn ^= 1) {
        const int next_tile = tile + grid;
        float y[4] = {0, 0, 0, 0};
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++) {
            const int first = pass * pass_chunks + warp * C::chunks;
            const bool last = pass + 1 == args.passes;
            const int to_tile = last ? next_tile : tile;
            const int to_first = last ? warp * C::chunks : first + pass_chunks;
            const u8 *next = to_tile < args.tiles ? records + (i64)to_tile * args.record_bytes : 0;
            saddr slice = slices;
            if (args.resident) {
                slice += (u32)(pass * C::warps * args.slice_bytes);
            } else {
                sync_warp(); // the pass before has been read
                stage_x<C>(args, slice, first, lane);
            }
            multiply(y, held, args, slice, next, to_first, lane);
        }
        if (C::branch) {
            add_branch<C>(y, args, area_t, warp, lane);
            if (next_tile < args.tiles)
                fetch_up<C>(args, area_t, next_tile, warp, lane);
        }
        // Two areas take turns, so that one barrier a tile is enough: whoever fills an area again
        // has passed the barrier after the one its readers had to reach.
        const saddr part = area + (u32)(turn * reduce_bytes(C::warps, C::columns));
        reduce_put<C::columns>(part, warp, lane, y);
#if FBQ_PLANT != 2
        sync_block();
#endif
        FBQ_NO_UNROLL
        for (int i = thread; i < tile_rows * C::columns; i += block_threads()) {
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
