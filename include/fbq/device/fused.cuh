// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks tiles of 16 rows; its warps split K, each with its own slice of x and its own ring
// of weights, and add their results once a tile.
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

// Fetch the whole stage of a step. A step is (tile, pass); B's block comes with a tile's first.
template <class C>
FBQ_DEVICE void fetch_stage(const fbq_fused_args &args, saddr stage, int tile, int pass, int warp,
                            int lane)
{
    const Source from = source_of<C>(args, tile, (pass * C::warps + warp) * C::chunks, lane);
    if (from.count > 0) {
        FBQ_UNROLL
        for (int i = 0; i < C::chunks; i++)
            fetch_codes(stage, i, from, lane);
        fetch_scales<C>(stage, from, lane);
    }
    if (C::branch && pass == 0)
        fetch_up<C>(args, stage, tile, warp, lane);
}

// Shared memory, in order: two areas of partial results, t's steps, rings, x (args has the
// offsets).
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int thread = thread_index(), warp = thread / warp_lanes, lane = thread % warp_lanes;
    const int grid = grid_blocks_x();
    const saddr area = smem(), area_t = area + (u32)args.smem_t;
    const saddr ring = area + (u32)(args.smem_ring + warp * C::stages * C::stage_bytes);
    const saddr slices = area + (u32)(args.smem_x + warp * args.slice_bytes);
    const u32 pass_bytes = (u32)(C::warps * args.slice_bytes);

    // x first, since it would wait behind the weights; then weights, which travel while x is taken
    // in and t is waited for. Neither is written by the kernel before this one: that is down, which
    // started after everything before it had ended.
    if (args.resident) {
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++)
            fetch_x<C, true>(args, slices + (u32)pass * pass_bytes,
                             (pass * C::warps + warp) * C::chunks, lane);
    }
    copy_async_commit();
    int ahead_tile = block_index_x(), ahead_pass = 0; // the step that the ring is filled with next
    FBQ_UNROLL
    for (int s = 0; s < C::stages; s++) {
        fetch_stage<C>(args, ring + (u32)(s * C::stage_bytes), ahead_tile, ahead_pass, warp, lane);
        copy_async_commit();
        if (++ahead_pass == args.passes) {
            ahead_pass = 0;
            ahead_tile += grid;
        }
    }
    copy_async_wait_but<C::stages>();
    sync_warp();
    if (args.resident) {
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++)
            correct_x<C>(args, slices + (u32)pass * pass_bytes, lane);
    }
    wait_for_producer();
    if (C::branch)
        stage_t<C>(args, area_t, warp, lane);
    sync_warp();

    saddr stage = ring;
    for (int tile = block_index_x(), turn = 0; tile < args.tiles; tile += grid, turn++) {
        float y[4] = {0, 0, 0, 0};
        FBQ_NO_UNROLL
        for (int pass = 0; pass < args.passes; pass++) {
            const int first = (pass * C::warps + warp) * C::chunks;
            saddr slice = slices + (u32)pass * pass_bytes;
            if (!args.resident) {
                slice = slices;
                sync_warp(); // the pass before has been read
                fetch_x<C, false>(args, slice, first, lane);
                sync_warp();
                correct_x<C>(args, slice, lane);
            }
            copy_async_wait_but<C::stages - 1>();
            sync_warp();
            if (C::branch && pass == 0)
                add_branch<C>(y, args, area_t, stage, tile, warp, lane);
            const Source next =
                source_of<C>(args, ahead_tile, (ahead_pass * C::warps + warp) * C::chunks, lane);
            if (first < args.chunks)
                multiply<C>(y, args, stage, slice, next, lane);
            else if (next.count > 0)
                for (int i = 0; i < C::chunks; i++)
                    fetch_codes(stage, i, next, lane);
            sync_warp(); // the stage's scales have been read by all lanes
            if (next.count > 0)
                fetch_scales<C>(stage, next, lane);
            if (C::branch && ahead_pass == 0)
                fetch_up<C>(args, stage, ahead_tile, warp, lane);
            copy_async_commit();
            if (++ahead_pass == args.passes) {
                ahead_pass = 0;
                ahead_tile += grid;
            }
            stage += C::stage_bytes;
            if (stage == ring + (u32)(C::stages * C::stage_bytes))
                stage = ring;
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
