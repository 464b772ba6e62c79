// fbq/device/fused.cuh: dequantisation, multiplication and up-projection in one kernel, y written
// once (FBQuant section 4.3).
//
// A block walks groups of 16-row tiles; its warps split K, each with its own slice of x and its own
// ring of codes, and add their results once a group.
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

// Add up the warps' sums of a finished group and write y. Every warp has a place for its results of
// all tiles; `turn`: groups before this one.
template <class C>
FBQ_DEVICE void finish_group(const fbq_fused_args &args, saddr area, const float (&y)[C::tiles][4],
                             int first, int turn, int warp, int lane)
{
    constexpr int outputs = tile_rows * C::columns, bytes = reduce_bytes(C::columns);
    const saddr results = area + (u32)(args.smem_results + (turn & 1) * args.results_turn);
    // Where two areas take turns, one barrier a group is enough: whoever fills an area again has
    // passed the barrier after the one its readers had to reach. Where there is room for one only,
    // its readers are waited for.
    if (turn > 0 && args.results_turn == 0)
        sync_block();
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        reduce_put<C::columns>(results + (u32)(warp * args.results_stride + i * bytes), lane, y[i]);
#if FBQ_PLANT != 2
    sync_block();
#endif
    // the warps take turns, so that none is always the last at the barrier
    const int place = (warp + turn) % C::warps * warp_lanes + lane;
    FBQ_NO_UNROLL
    for (int j = place; j < C::tiles * outputs; j += C::warps * warp_lanes) {
        const int i = j / outputs, m = j / tile_rows % C::columns, row = j % tile_rows;
        const int n = (first + i * grid_blocks_x()) * tile_rows + row;
        if (n < args.n - (FBQ_PLANT == 3 ? 1 : 0) && m < args.m)
            write_y(args, n, m,
                    reduce_get<C::warps>(results + (u32)(i * bytes), args.results_stride,
                                         row * C::columns + m));
    }
}

// Wait for down, and stage what it left of t.
template <class C>
FBQ_DEVICE void take_t(const fbq_fused_args &args, saddr area_t, int warp, int lane)
{
    wait_for_producer();
    stage_t<C>(args, area_t, warp, lane);
}

// Shared memory: partial results, t's steps, x, blocks of B, the rings' barriers, the rings (args
// has the offsets).
template <class C>
FBQ_DEVICE void fused(const fbq_fused_args &args)
{
    const int warp = warp_index(), lane = thread_index() % warp_lanes;
    const Share share = share_of<C>(args, warp);
    const saddr area = smem(), area_t = area + (u32)args.smem_t;

    // x and weights travel while t is waited for. Neither is written by the kernel before this one:
    // that is down of the same call, which let this one start only after everything before it had
    // ended. Where all of x stays, it goes first, since it would wait behind the weights.
    const Ring ring = ring_begin<C>(args, area, warp, lane);
    if (C::resident)
        fetch_x<C>(args, ring, share, lane);
    Ahead ahead = ahead_begin(args);
    FBQ_NO_UNROLL
    for (int s = 0; s < C::stages; s++)
        fetch_step<C>(args, ring, s, ahead, share, warp, lane);
    if (C::resident) {
        wait_x<C>(ring);
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++)
            prepare_x<C>(args, ring.x + (u32)(part * slot_bytes<C>(args)),
                         part_of<C>(share, part).count, lane);
    }
    if (C::branch && !args.t_late)
        take_t<C>(args, area_t, warp, lane);
    sync_warp();

    int turn = 0, s = 0, slot = 0, set = 0;
    u32 parity = 0;
    FBQ_NO_UNROLL
    for (int first = block_index_x(); first < args.tiles;
         first += C::tiles * grid_blocks_x(), turn++) {
        float y[C::tiles][4] = {};
        FBQ_NO_UNROLL
        for (int part = 0; part < parts_of_k<C>(args); part++) {
            const Part p = part_of<C>(share, part);
            const saddr x = ring.x + (u32)((C::resident ? part : slot) * slot_bytes<C>(args));
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++) {
                ring_wait<C>(ring, s, parity);
                if (!C::resident && i == 0) {
                    prepare_x<C>(args, x, p.count, lane);
                    sync_warp();
                }
                if (i == 0 || first + i * grid_blocks_x() < args.tiles)
                    multiply<C>(y[i], args, p, ring_stage<C>(ring, s), x, lane);
                sync_warp(); // all lanes have read the stage
                fetch_step<C>(args, ring, s, ahead, share, warp, lane);
                s = next_of(C::stages, s);
                if (s == 0)
                    parity ^= 1;
            }
            if (!C::resident)
                slot = next_of(slots_of<C>(args), slot);
        }
        // The next layer's down may come and wait beside this. Earlier it would hold up blocks of
        // this kernel.
        if (first + C::tiles * grid_blocks_x() >= args.tiles)
            let_dependents_start();
        if (C::columns == 1) {
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                limbs_finish(y[i]);
        }
        if (C::branch) {
            if (args.t_late && turn == 0) {
                take_t<C>(args, area_t, warp, lane);
                sync_warp();
            }
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                if (i == 0 || first + i * grid_blocks_x() < args.tiles)
                    add_branch<C>(y[i], args, area_t, up_blocks<C>(args, ring, set, i), warp, lane);
            sync_warp(); // all lanes have read the blocks of B
            set = next_of(args.up_sets, set);
        }
        finish_group<C>(args, area, y, first, turn, warp, lane);
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
