/* fbq/host/reconstruct.h: from a call of reconstruct to its grid, shared memory and arguments. Pure
 * arithmetic, shared by the C API and by the launcher of fbq.cuh.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_RECONSTRUCT_H
#define FBQ_HOST_RECONSTRUCT_H

#include "geometry.h"

/* What the kernel is compiled for (device/dequantise.cuh). With B . A a block of 16 warps fills the
 * registers of a multiprocessor; without it 32 warps do. */
#ifndef FBQ__RECONSTRUCT_WARPS
#define FBQ__RECONSTRUCT_WARPS 16
#endif
#ifndef FBQ__RECONSTRUCT_ADD_TILES
#define FBQ__RECONSTRUCT_ADD_TILES 2
#endif
#define FBQ__RECONSTRUCT_CHUNKS 4 /* of 64 k: a strip */
/* of 16 rows a warp; blocks of a multiprocessor */
#define FBQ__RECONSTRUCT_TILES(adds) ((adds) ? FBQ__RECONSTRUCT_ADD_TILES : 1)
#define FBQ__RECONSTRUCT_BLOCKS(adds) ((adds) ? 1 : 32 / FBQ__RECONSTRUCT_WARPS)

/* The part that does not change from call to call. */
typedef struct fbq__reconstruct_fixed {
    fbq_reconstruction what;
    fbq_layout layout;
    fbq_gpu gpu;
} fbq__reconstruct_fixed;

/* Does the kernel add B . A? */
static inline int fbq__reconstruct_adds(const fbq__reconstruct_fixed *f)
{
    return f->layout.rank_tiles > 0 && !f->what.concatenate;
}

/* Columns of w behind K. */
static inline int64_t fbq__reconstruct_ranks(const fbq__reconstruct_fixed *f)
{
    int64_t ranks = 0;
    for (int s = 0; f->what.concatenate && s < f->layout.shape.segments; s++)
        ranks += f->layout.shape.segment[s].r;
    return ranks;
}

/* Bytes of a strip's part of A for 16 ranks. */
#define FBQ__RECONSTRUCT_STEP (FBQ__RECONSTRUCT_CHUNKS * FBQ_CHUNK * FBQ_TILE * 2)

/* Steps of 16 ranks that shared memory holds: all of the largest segment's, or as many as fit; the
 * strip is then fetched in pieces, for every band anew. */
static inline int64_t fbq__reconstruct_piece(const fbq__reconstruct_fixed *f)
{
    const int64_t room = f->gpu.shared_block / FBQ__RECONSTRUCT_STEP;
    int64_t most = 0;
    for (int s = 0; s < f->layout.shape.segments; s++) {
        const int64_t steps = f->layout.rank_first[s + 1] - f->layout.rank_first[s];
        most = steps > most ? steps : most;
    }
    return !fbq__reconstruct_adds(f) ? 0 : most < room ? most : room;
}

/* `adds`: the kernel is one that adds; it adds where `factors` are given. */
static inline void fbq__reconstruct_segments(const fbq__reconstruct_fixed *f, int adds, int factors,
                                             fbq_reconstruct_args *args)
{
    const fbq_layout *l = &f->layout;
    const int64_t band =
        FBQ__RECONSTRUCT_WARPS / FBQ__RECONSTRUCT_CHUNKS * FBQ__RECONSTRUCT_TILES(adds);
    int64_t row = 0, rank = 0, bands = 0;
    for (int s = 0; s < l->shape.segments; s++) {
        fbq_reconstruct_segment *segment = &args->segment[s];
        const int64_t tiles = l->tile_first[s + 1] - l->tile_first[s];
        segment->first_band = (int)bands;
        segment->first_tile = (int)l->tile_first[s];
        segment->first_row = (int)row;
        segment->first_rank_tile = (int)l->rank_first[s];
        segment->rank_tiles = adds && factors ? (int)(l->rank_first[s + 1] - l->rank_first[s]) : 0;
        segment->first_block = (int)l->up_first[s];
        segment->first_rank = (int)rank;
        row += l->shape.segment[s].n;
        rank += l->shape.segment[s].r;
        bands += (tiles + band - 1) / band;
        segment->end_row = (int)row;
        segment->end_rank = (int)rank;
    }
    args->segments = l->shape.segments;
    args->bands = (int)bands;
}

static inline void fbq__reconstruct_launch(const fbq__reconstruct_fixed *f,
                                           const fbq_reconstruct_call *call,
                                           fbq_reconstruct_args *args, fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    const int adds = fbq__reconstruct_adds(f);
    const int64_t ranks = fbq__reconstruct_ranks(f), piece = fbq__reconstruct_piece(f);
    int64_t grid, most = (int64_t)f->gpu.sms * FBQ__RECONSTRUCT_BLOCKS(adds);
    memset(args, 0, sizeof *args);
    args->records = (const char *)call->weights + FBQ_HEADER_BYTES;
    /* never read without ranks, but a base that arithmetic may be done on */
    args->a_blocks = (const char *)(call->down ? call->down : call->weights) + FBQ_HEADER_BYTES;
    args->b_blocks = (const char *)(call->up ? call->up : call->weights) + FBQ_HEADER_BYTES;
    args->w = call->w;
    args->w_stride = call->w_stride ? call->w_stride : l->shape.k + ranks;
    args->record_bytes = l->record_bytes;
    args->codes_bytes = (int)l->codes_bytes;
    args->scales_bytes = (int)l->scales_bytes;
    args->n = (int)l->n;
    args->k = (int)l->shape.k;
    args->chunks = (int)l->chunks;
    args->strips = (int)((l->chunks + FBQ__RECONSTRUCT_CHUNKS - 1) / FBQ__RECONSTRUCT_CHUNKS);
    args->ranks = (int)ranks;
    args->piece_steps = (int)piece;
    args->w_vectors = fbq__vectors(call->w, l->n, args->w_stride);
    fbq__reconstruct_segments(f, adds, call->up != NULL, args);
    grid = (int64_t)args->strips * args->bands;
    launch->grid_x = (unsigned)(grid < most ? grid : most);
    launch->grid_y = 1;
    launch->threads = FBQ__RECONSTRUCT_WARPS * 32;
    launch->shared_bytes = (unsigned)(piece * FBQ__RECONSTRUCT_STEP);
}

/* A launch returns a status only. */
static inline fbq_status fbq__reconstruct_check(const fbq__reconstruct_fixed *f,
                                                const fbq_reconstruct_call *call)
{
    const int branch = f->layout.rank_tiles > 0;
    if (!call || !call->weights || !call->w)
        return FBQ_ERR_NULL;
    if (f->what.concatenate ? branch && !call->up : (call->down == NULL) != (call->up == NULL))
        return FBQ_ERR_NULL;
    if (call->w_stride && call->w_stride < f->layout.shape.k + fbq__reconstruct_ranks(f))
        return FBQ_ERR_SIZE;
    if (call->up && !branch)
        return FBQ_ERR_RANK;
    if (((uintptr_t)call->weights | (uintptr_t)call->down | (uintptr_t)call->up) &
            (FBQ_ALIGN - 1) ||
        (uintptr_t)call->w & 1)
        return FBQ_ERR_ALIGNMENT;
    return FBQ_OK;
}

#endif /* FBQ_HOST_RECONSTRUCT_H */
