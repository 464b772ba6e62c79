/* fbq/host/reconstruct.h: from a call of reconstruct to its grid, shared memory and arguments. Pure
 * arithmetic, shared by the C API and by the launcher of fbq.cuh.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_RECONSTRUCT_H
#define FBQ_HOST_RECONSTRUCT_H

#include "geometry.h"

/* What the kernel is compiled for (device/dequantise.cuh). With B . A a block of 16 warps fills the
 * registers of a multiprocessor; without it seven blocks of 4 warps do. */
#ifndef FBQ__RECONSTRUCT_ADD_WARPS
#define FBQ__RECONSTRUCT_ADD_WARPS 16
#endif
#ifndef FBQ__RECONSTRUCT_ADD_BLOCKS
#define FBQ__RECONSTRUCT_ADD_BLOCKS 1 /* of a multiprocessor */
#endif
#ifndef FBQ__RECONSTRUCT_ADD_TILES
#define FBQ__RECONSTRUCT_ADD_TILES 2 /* of 16 rows a warp */
#endif
#ifndef FBQ__RECONSTRUCT_CHUNKS
#define FBQ__RECONSTRUCT_CHUNKS 4 /* of 64 k: a strip */
#endif
#ifndef FBQ__RECONSTRUCT_EXPAND_WARPS
#define FBQ__RECONSTRUCT_EXPAND_WARPS 4
#endif
#ifndef FBQ__RECONSTRUCT_EXPAND_BLOCKS
#define FBQ__RECONSTRUCT_EXPAND_BLOCKS 7 /* of a multiprocessor */
#endif
#define FBQ__RECONSTRUCT_WARPS(adds) \
    ((adds) ? FBQ__RECONSTRUCT_ADD_WARPS : FBQ__RECONSTRUCT_EXPAND_WARPS)
#define FBQ__RECONSTRUCT_BLOCKS(adds) \
    ((adds) ? FBQ__RECONSTRUCT_ADD_BLOCKS : FBQ__RECONSTRUCT_EXPAND_BLOCKS)
#define FBQ__RECONSTRUCT_TILES(adds) ((adds) ? FBQ__RECONSTRUCT_ADD_TILES : 1)

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

/* Tiles of a band. */
static inline int64_t fbq__reconstruct_band(void)
{
    return FBQ__RECONSTRUCT_ADD_WARPS / FBQ__RECONSTRUCT_CHUNKS * FBQ__RECONSTRUCT_ADD_TILES;
}

/* Bytes for 16 ranks: a strip's part of A, and two stages of a band's part of B. */
#define FBQ__RECONSTRUCT_STRIP_STEP (FBQ__RECONSTRUCT_CHUNKS * FBQ_CHUNK * FBQ_TILE * 2)
#define FBQ__RECONSTRUCT_UP_STEP (2 * fbq__reconstruct_band() * FBQ_TILE * FBQ_TILE * 2)
#define FBQ__RECONSTRUCT_BARRIERS 32 /* bytes */

/* How shared memory is shared: A of all steps of 16 ranks of the largest segment, and of B as many
 * as fit beside it, in pieces of one size. Where there is no room for one, both come in pieces, A's
 * for every band anew. */
static inline void fbq__reconstruct_pieces(const fbq__reconstruct_fixed *f,
                                           fbq_reconstruct_args *args)
{
    /* the driver takes 1 KB of each block's */
    const int64_t share = f->gpu.shared_sm / FBQ__RECONSTRUCT_ADD_BLOCKS - 1024;
    const int64_t room =
        (share < f->gpu.shared_block ? share : f->gpu.shared_block) - FBQ__RECONSTRUCT_BARRIERS;
    int64_t most = 1, steps;
    for (int s = 0; s < f->layout.shape.segments; s++) {
        steps = f->layout.rank_first[s + 1] - f->layout.rank_first[s];
        most = steps > most ? steps : most;
    }
    steps = (room - most * FBQ__RECONSTRUCT_STRIP_STEP) / FBQ__RECONSTRUCT_UP_STEP;
    args->strip_steps = (int)most;
    if (steps < 1) {
        steps = room / (FBQ__RECONSTRUCT_STRIP_STEP + FBQ__RECONSTRUCT_UP_STEP);
        args->strip_steps = (int)steps;
    }
    if (steps < most)
        steps = (most + (most + steps - 1) / steps - 1) / ((most + steps - 1) / steps);
    else
        steps = most;
    args->piece_steps = (int)steps;
    args->strip_steps = args->strip_steps < most ? (int)steps : (int)most;
    args->smem_up = args->strip_steps * FBQ__RECONSTRUCT_STRIP_STEP;
    args->smem_barriers = args->smem_up + (int)(steps * FBQ__RECONSTRUCT_UP_STEP);
}

/* How many strips blocks work on at a time, and how many blocks on each: those that make the fewest
 * bands for a block, where a strip's part of A counts as one. */
static inline void fbq__reconstruct_spread(const fbq__reconstruct_fixed *f,
                                           fbq_reconstruct_args *args)
{
    const int blocks = f->gpu.sms * FBQ__RECONSTRUCT_ADD_BLOCKS;
    int64_t least = INT64_MAX;
    for (int bands = 1; bands <= args->bands && bands <= blocks; bands++) {
        const int room = blocks / bands, strips = room < args->strips ? room : args->strips;
        const int64_t turns = (int64_t)((args->strips + strips - 1) / strips) *
                              ((args->bands + bands - 1) / bands + 1);
        if (turns < least) {
            least = turns;
            args->strips_abreast = strips;
            args->bands_abreast = bands;
        }
    }
}

/* `factors` are given, in a call of a kernel that adds them. */
static inline void fbq__reconstruct_segments(const fbq__reconstruct_fixed *f, int factors,
                                             fbq_reconstruct_args *args)
{
    const fbq_layout *l = &f->layout;
    const int64_t band = fbq__reconstruct_band();
    int64_t row = 0, rank = 0, bands = 0;
    for (int s = 0; s < l->shape.segments; s++) {
        fbq_reconstruct_segment *segment = &args->segment[s];
        const int64_t tiles = l->tile_first[s + 1] - l->tile_first[s];
        segment->first_band = (int)bands;
        segment->first_tile = (int)l->tile_first[s];
        segment->first_row = (int)row;
        segment->first_rank_tile = (int)l->rank_first[s];
        segment->rank_tiles = factors ? (int)(l->rank_first[s + 1] - l->rank_first[s]) : 0;
        segment->first_block = (int)l->up_first[s];
        segment->first_rank = (int)rank;
        row += l->shape.segment[s].n;
        rank += l->shape.segment[s].r;
        bands += (tiles + band - 1) / band;
        segment->end_row = (int)row;
        segment->end_rank = (int)rank;
    }
    args->segments = l->shape.segments;
    args->tiles = (int)l->tile_first[l->shape.segments];
    args->bands = (int)bands;
}

/* Blocks of the grid where nothing is added: a part of a tile a warp, or as many as there is room
 * for (device/expand.cuh). */
static inline unsigned fbq__reconstruct_grid(const fbq__reconstruct_fixed *f,
                                             const fbq_reconstruct_args *args)
{
    const int64_t parts =
        (int64_t)args->tiles * ((args->chunks + 1) / 2 + (args->ranks + 127) / 128);
    const int64_t blocks =
                      (parts + FBQ__RECONSTRUCT_EXPAND_WARPS - 1) / FBQ__RECONSTRUCT_EXPAND_WARPS,
                  most = (int64_t)f->gpu.sms * FBQ__RECONSTRUCT_BLOCKS(0);
    return (unsigned)(blocks < most ? blocks : most);
}

static inline void fbq__reconstruct_launch(const fbq__reconstruct_fixed *f,
                                           const fbq_reconstruct_call *call,
                                           fbq_reconstruct_args *args, fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    const int adds = fbq__reconstruct_adds(f);
    const int64_t ranks = fbq__reconstruct_ranks(f);
    memset(args, 0, sizeof *args);
    args->records = (const char *)call->weights + FBQ_HEADER_BYTES;
    /* never read without ranks, but a base that arithmetic may be done on */
    args->a_blocks = (const char *)(call->down ? call->down : call->weights) + FBQ_HEADER_BYTES;
    args->b_blocks = (const char *)(call->up ? call->up : call->weights) + FBQ_HEADER_BYTES;
    args->w = call->w;
    args->w_stride = call->w_stride ? call->w_stride : l->shape.k + ranks;
    args->record_bytes = (int)l->record_bytes;
    args->codes_bytes = (int)l->codes_bytes;
    args->scales_bytes = (int)l->scales_bytes;
    args->k = (int)l->shape.k;
    args->chunks = (int)l->chunks;
    args->strips = (int)((l->chunks + FBQ__RECONSTRUCT_CHUNKS - 1) / FBQ__RECONSTRUCT_CHUNKS);
    args->ranks = (int)ranks;
    args->w_vectors = fbq__vectors(call->w, l->n, args->w_stride);
    fbq__reconstruct_segments(f, adds && call->up != NULL, args);
    launch->grid_x = fbq__reconstruct_grid(f, args);
    launch->shared_bytes = 0;
    if (adds) {
        fbq__reconstruct_pieces(f, args);
        fbq__reconstruct_spread(f, args);
        launch->grid_x = (unsigned)(args->strips_abreast * args->bands_abreast);
        launch->shared_bytes = (unsigned)(args->smem_barriers + FBQ__RECONSTRUCT_BARRIERS);
    }
    launch->grid_y = 1;
    launch->threads = FBQ__RECONSTRUCT_WARPS(adds) * 32;
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
