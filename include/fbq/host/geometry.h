/* fbq/host/geometry.h: from a call and its picks to grids, shared memory and kernel arguments. Pure
 * arithmetic, shared by the C API and by the launchers of fbq.cuh.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_GEOMETRY_H
#define FBQ_HOST_GEOMETRY_H

#include <string.h>

#include "../device/args.cuh"
#include "../fbq.h"

/* The part of a layer and its picks that does not change from call to call. problem.m_max is 1 for
 * calls of one row of x, and the most rows otherwise. */
typedef struct fbq__fixed {
    fbq_layout layout;
    fbq_problem problem;
    fbq_gpu gpu;
    fbq_pick down, fused;
} fbq__fixed;

/* One kernel launch, without its function. */
typedef struct fbq__launch {
    unsigned grid_x, grid_y, threads, shared_bytes;
} fbq__launch;

/* Columns a kernel for m rows of x is compiled for. */
static inline int fbq__columns(int64_t m)
{
    return m == 1 ? 1 : 8;
}

/* Bytes of t's partial sums. */
static inline size_t fbq__scratch_bytes(const fbq__fixed *f, int64_t m)
{
    return (size_t)(f->layout.rank_tiles * FBQ_TILE * m * f->down.slices) * sizeof(float);
}

/* ---- Shared memory of fused: repeats the constants of device/tile.cuh and device/branch.cuh ----
 */

static inline int64_t fbq__fused_flush(int group, int chunks)
{
    int64_t held = chunks * FBQ_CHUNK,
            codes = group == FBQ_GROUP_ROW || group > held ? held : group;
    return codes > 128 ? 128 : codes;
}

/* x of one warp and pass: the corrections of each flush, then rows. */
static inline int64_t fbq__fused_slice_bytes(int group, const fbq_pick *pick, int64_t m)
{
    int64_t held = pick->chunks * FBQ_CHUNK, columns = fbq__columns(m);
    int64_t row = held * 2 + (columns > 1 ? 64 : 0);
    int64_t corrections = held / fbq__fused_flush(group, pick->chunks) * columns * 8;
    return m * row + (corrections + 15) / 16 * 16;
}

/* Two areas of partial results. */
static inline int64_t fbq__fused_results_bytes(const fbq_pick *pick, int64_t m)
{
    return 2 * pick->warps * FBQ_TILE * fbq__columns(m) * 4;
}

/* All but x: partial results, then B's block and t of each 16 ranks. */
static inline int64_t fbq__fused_fixed_bytes(const fbq_layout *l, const fbq_pick *pick, int64_t m)
{
    return fbq__fused_results_bytes(pick, m) + l->rank_tiles * (512 + 512 + 32);
}

/* Fewest bytes a block gets by with: x of one pass at a time. */
static inline int64_t fbq__fused_least_bytes(const fbq_layout *l, const fbq_pick *pick, int64_t m)
{
    return fbq__fused_fixed_bytes(l, pick, m) +
           pick->warps * fbq__fused_slice_bytes(l->format.group, pick, m);
}

/* What a block may take so that pick->blocks_per_sm of them fit; the driver keeps 1 KB a block. */
static inline int64_t fbq__fused_most_bytes(const fbq_gpu *gpu, const fbq_pick *pick)
{
    int64_t share = gpu->shared_sm / pick->blocks_per_sm - 1024;
    return share < gpu->shared_block ? share : gpu->shared_block;
}

/* Steps of a block along K. */
static inline int64_t fbq__fused_passes(const fbq_layout *l, const fbq_pick *pick)
{
    int64_t chunks = (int64_t)pick->warps * pick->chunks;
    return (l->chunks + chunks - 1) / chunks;
}

/* Does x of all passes fit, so that a block fetches it once? */
static inline int fbq__fused_resident(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                      int64_t m)
{
    return fbq__fused_fixed_bytes(l, pick, m) +
               fbq__fused_passes(l, pick) * pick->warps *
                   fbq__fused_slice_bytes(l->format.group, pick, m) <=
           fbq__fused_most_bytes(gpu, pick);
}

/* ---- Arguments ---- */

static inline int fbq__vectors(const void *x, int64_t m, int64_t stride)
{
    return ((uintptr_t)x & 15) == 0 && (m == 1 || (stride & 7) == 0);
}

static inline void fbq__down_launch(const fbq__fixed *f, const fbq_call *call, fbq_down_args *args,
                                    fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    memset(args, 0, sizeof *args);
    args->x = call->x;
    args->blocks = (const char *)call->down + FBQ_HEADER_BYTES;
    args->t = (float *)call->scratch;
    args->x_stride = call->x_stride ? call->x_stride : l->shape.k;
    args->m = (int)call->m;
    args->k = (int)l->shape.k;
    args->chunks = (int)l->chunks;
    args->chunks_per_slice = (int)((l->chunks + f->down.slices - 1) / f->down.slices);
    args->rank_tiles = (int)l->rank_tiles;
    args->x_vectors = fbq__vectors(call->x, call->m, args->x_stride);
    launch->grid_x = (unsigned)l->rank_tiles;
    launch->grid_y = (unsigned)f->down.slices;
    launch->threads = (unsigned)f->down.warps * 32;
    launch->shared_bytes = (unsigned)(f->down.warps * FBQ_TILE * fbq__columns(call->m) * 4);
}

static inline void fbq__fused_launch(const fbq__fixed *f, const fbq_call *call,
                                     fbq_fused_args *args, fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    const fbq_pick *pick = &f->fused;
    int64_t fixed = fbq__fused_fixed_bytes(l, pick, call->m);
    int64_t grid = (int64_t)f->gpu.sms * pick->blocks_per_sm;
    memset(args, 0, sizeof *args);
    args->x = call->x;
    args->records = (const char *)call->weights + FBQ_HEADER_BYTES;
    /* never read without ranks, but a base that arithmetic may be done on */
    args->blocks = (const char *)(call->up ? call->up : call->weights) + FBQ_HEADER_BYTES;
    args->t = (const float *)call->scratch;
    args->bias = call->bias;
    args->residual = call->residual;
    args->y = call->y;
    args->x_stride = call->x_stride ? call->x_stride : l->shape.k;
    args->y_stride = call->y_stride ? call->y_stride : l->n;
    args->residual_stride = call->residual_stride ? call->residual_stride : l->n;
    args->record_bytes = l->record_bytes;
    args->round_bytes = l->record_bytes * (grid < l->tiles ? grid : l->tiles);
    args->codes_bytes = (int)l->codes_bytes;
    args->scales_bytes = (int)l->scales_bytes;
    args->m = (int)call->m;
    args->n = (int)l->n;
    args->k = (int)l->shape.k;
    args->tiles = (int)l->tiles;
    args->chunks = (int)l->chunks;
    args->passes = (int)fbq__fused_passes(l, pick);
    args->x_vectors = fbq__vectors(call->x, call->m, args->x_stride);
    args->y_f32 = f->problem.y_type == FBQ_F32;
    args->rank_tiles = call->down ? (int)l->rank_tiles : 0;
    args->slices = f->down.slices;
    args->smem_t = (int)fbq__fused_results_bytes(pick, call->m);
    args->smem_x = (int)fixed;
    args->slice_bytes = (int)fbq__fused_slice_bytes(l->format.group, pick, call->m);
    args->resident = fbq__fused_resident(l, &f->gpu, pick, call->m);
    launch->grid_x = (unsigned)(grid < l->tiles ? grid : l->tiles);
    launch->grid_y = 1;
    launch->threads = (unsigned)pick->warps * 32;
    launch->shared_bytes = (unsigned)(fixed + (int64_t)(args->resident ? args->passes : 1) *
                                                  pick->warps * args->slice_bytes);
}

/* ---- The call's own checks: a launch returns a status only ---- */

static inline fbq_status fbq__call_check(const fbq__fixed *f, const fbq_call *call)
{
    const fbq_layout *l = &f->layout;
    uintptr_t y_size = f->problem.y_type == FBQ_F32 ? 4 : 2;
    if (!call || !call->x || !call->y || !call->weights ||
        (call->down == NULL) != (call->up == NULL))
        return FBQ_ERR_NULL;
    if (call->m < 1 || call->m > f->problem.m_max ||
        (call->x_stride && call->x_stride < l->shape.k) ||
        (call->y_stride && call->y_stride < l->n) ||
        (call->residual_stride && call->residual_stride < l->n))
        return FBQ_ERR_SIZE;
    if (call->down && l->rank_tiles == 0)
        return FBQ_ERR_RANK;
    if (((uintptr_t)call->weights | (uintptr_t)call->down | (uintptr_t)call->up) &
            (FBQ_ALIGN - 1) ||
        ((uintptr_t)call->x | (uintptr_t)call->bias) & 1 ||
        ((uintptr_t)call->y | (uintptr_t)call->residual) & (y_size - 1))
        return FBQ_ERR_ALIGNMENT;
    if (call->down) {
        if (!call->scratch)
            return FBQ_ERR_NULL;
        if ((uintptr_t)call->scratch & 15)
            return FBQ_ERR_ALIGNMENT;
        if (call->scratch_bytes < fbq__scratch_bytes(f, call->m))
            return FBQ_ERR_BUFFER;
    }
    return FBQ_OK;
}

#endif /* FBQ_HOST_GEOMETRY_H */
