// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks tiles of 16 rows; its warps split K, each with its own slice of x and its own ring
// of codes, and add their results once a tile.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_FUSED_CUH
#define FBQ_DEVICE_FUSED_CUH

#include "branch.cuh"
#include "multiply.cuh"
#include "reduce.cuh"
#include "ring.cuh"

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
    // Where two areas take turns, one barrier a tile is enough: whoever fills an area again has
    // passed the barrier after the one its readers had to reach. Where x leaves room for one only,
    // its readers are waited for. The warps take turns at finishing, so that none is always the
    // last at the barrier.
    const saddr part = area + (u32)((turn & 1) * args.results_turn);
    if (C::columns > 1 && args.results_turn == 0)
        sync_block();
    reduce_put<C::columns>(part, warp, lane, y);
#if FBQ_PLANT != 2
    sync_block();
#endif
    if (C::columns == 1) {
        if (warp == turn % C::warps) {
            const float v = reduce_row<C::warps>(part, lane);
            const int n = tile * tile_rows + lane;
            if (lane < tile_rows && n < args.n - (FBQ_PLANT == 3 ? 1 : 0))
                write_y(args, n, 0, v);
        }
        return;
    }
    const int place = (warp + turn) % C::warps * warp_lanes + lane;
    FBQ_NO_UNROLL
    for (int i = place; i < tile_rows * C::columns; i += C::warps * warp_lanes) {
        const int n = tile * tile_rows + i / C::columns, m = i % C::columns;
        if (n < args.n - (FBQ_PLANT == 3 ? 1 : 0) && m < args.m)
            write_y(args, n, m, reduce_get<C::warps, C::columns>(part, i));
    }
}

// Shared memory, in order: partial results, t's steps, x, blocks of B, the rings' barriers, the
// rings (args has the offsets).
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int warp = warp_index(), lane = thread_index() % warp_lanes;
    const Share share = share_of<C>(args, warp);
    const saddr area = smem(), area_t = area + (u32)args.smem_t;
    const saddr slice =
        area +
        (u32)(args.smem_x + (C::resident ? share.first : warp * C::part_units) * args.unit_bytes);

    // x first, since it would wait behind the weights; then weights, which travel while x is taken
    // in and t is waited for. Neither is written by the kernel before this one: that is down of the
    // same call, which let this one start only after everything before it had ended.
    if (C::resident)
        fetch_x<C>(args, slice, share.first, share.end - share.first, lane);
    copy_async_commit();
    const Ring ring = ring_begin<C>(args, area, warp, lane);
    Ahead ahead = ahead_begin(args);
    FBQ_NO_UNROLL
    for (int s = 0; s < C::stages; s++)
        fetch_step<C>(args, ring, s, ahead, share, warp, lane);
    copy_async_wait_left<FBQ_BULK_COPIES ? 0 : C::stages>();
    sync_warp();
    if (C::resident)
        prepare_x<C>(args, slice, share.end - share.first, lane);
    sync_warp();

    int turn = 0, s = 0, slot = 0;
    u32 parity = 0;
    FBQ_NO_UNROLL
    for (int tile = block_index_x(); tile < args.tiles; tile += grid_blocks_x(), turn++) {
        const bool last = tile + grid_blocks_x() >= args.tiles;
        float y[4] = {0, 0, 0, 0};
        saddr x = slice;
        // The next layer's down may come and wait beside this. Earlier it would hold up blocks of
        // this kernel.
        if (C::columns > 1 && last)
            let_dependents_start();
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++) {
            const Part p = part_of<C>(share, part);
            if (!C::resident) {
                fetch_x<C>(args, slice, p.first, p.count, lane);
                copy_async_wait();
                sync_warp();
                prepare_x<C>(args, slice, p.count, lane);
                sync_warp();
            }
            ring_wait<C>(ring, s, parity);
            multiply<C>(y, args, p, ring_stage<C>(ring, s), x, lane);
            if (C::resident)
                x += (u32)(C::part_units * args.unit_bytes);
            if (C::branch && part == parts_of_k<C>(args) - 1) {
                if (turn == 0) {
                    wait_for_producer();
                    stage_t<C>(args, area_t, warp, lane);
                    sync_warp();
                }
                if (C::columns == 1)
                    limbs_finish(y);
                add_branch<C>(y, args, area_t, ring.up + (u32)(slot * args.rank_tiles * 512), warp,
                              lane);
                slot = next_stage<C>(slot);
            }
            sync_warp(); // all lanes have read the stage
            fetch_step<C>(args, ring, s, ahead, share, warp, lane);
            s = next_stage<C>(s);
            if (s == 0)
                parity ^= 1;
        }
        if (C::columns == 1 && !C::branch)
            limbs_finish(y);
        if (C::columns == 1 && last)
            let_dependents_start();
        finish_tile<C>(args, area, y, tile, turn, warp, lane);
    }
}

#ifndef FBQ_SIMT
// No launch bounds: given any, ptxas aims at a number of registers and spills a few to hit it. Left
// alone it takes few enough for 16 warps; fbq_prepare checks what was compiled.
template <class C>
static __global__ void fused_kernel(const __grid_constant__ fbq_fused_args args)
{
    fused<C>(args);
}
#endif

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
