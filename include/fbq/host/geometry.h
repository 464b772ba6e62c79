/* fbq/host/geometry.h: from a call and its picks to grids, shared memory and kernel arguments. Pure
 * arithmetic, shared by the C API and by the launchers of fbq.cuh.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_GEOMETRY_H
#define FBQ_HOST_GEOMETRY_H

#include "posix.h"

#include <string.h>

#include "../device/args.cuh"
#include "../fbq.h"

/* Calls of 1, of 2 .. 4, of 5 .. 8 and of more rows of x are classes with picks of their own, since
 * more rows want more shared memory. */
#define FBQ__CLASSES 4

static inline int fbq__class_of(int64_t m)
{
    return m == 1 ? 0 : m <= 4 ? 1 : m <= 8 ? 2 : 3;
}

/* The most rows of a class, where calls have up to m_max. */
static inline int fbq__class_m(int index, int m_max)
{
    static const int most[FBQ__CLASSES - 1] = {1, 4, 8};
    return index < FBQ__CLASSES - 1 && most[index] < m_max ? most[index] : m_max;
}

/* The class that serves calls of m rows; with batch_invariant the largest serves all. */
static inline int fbq__class_for(const fbq_problem *problem, int64_t m)
{
    return fbq__class_of(problem->batch_invariant ? problem->m_max : m);
}

/* The part of a layer and its picks that does not change from call to call. problem.m_max is that
 * of the class. */
typedef struct fbq__fixed {
    fbq_layout layout;
    fbq_problem problem;
    fbq_gpu gpu;
    fbq_pick down, fused;
    int resident; /* fused was compiled to keep all of x in shared memory */
    int paired;   /* fused was compiled to so few registers that two launches fit side by side;
                   * never by nvcc */
} fbq__fixed;

/* The rows that decide what a call of m rows is given: those of its class's kernel where the order
 * of sums shall not depend on m, since m also decides how warps share the up-projection. */
static inline int64_t fbq__rows(const fbq__fixed *f, int64_t m)
{
    return f->problem.batch_invariant ? f->problem.m_max : m;
}

/* One kernel launch, without its function. */
typedef struct fbq__launch {
    unsigned grid_x, grid_y, threads, shared_bytes;
} fbq__launch;

/* Columns a kernel for m rows of x is compiled for. */
static inline int fbq__columns(int64_t m)
{
    return m == 1 ? 1 : m <= 8 ? 8 : 16;
}

/* Products of eight columns that rows of x make. */
static inline int fbq__halves(int64_t m)
{
    return m <= 8 ? 1 : 2;
}

/* Does fused make t itself, in the same launch? */
static inline int fbq__whole(const fbq_layout *l, const fbq_pick *fused)
{
    return l->rank_tiles > 0 && fused->slices > 0;
}

/* The sub-branch as device/tile.cuh numbers its kinds. */
static inline int fbq__branch(const fbq_layout *l, const fbq_pick *fused)
{
    return l->rank_tiles == 0 ? 0 : fbq__whole(l, fused) ? 2 : 1;
}

/* Are there several segments, of which fused then keeps count? */
static inline int fbq__segmented(const fbq_layout *l)
{
    return l->shape.segments > 1;
}

/* Tiles of 16 ranks of the segment that has most. */
static inline int64_t fbq__widest(const fbq_layout *l)
{
    int64_t most = 0;
    for (int s = 0; s < l->shape.segments; s++) {
        const int64_t tiles = l->rank_first[s + 1] - l->rank_first[s];
        most = tiles > most ? tiles : most;
    }
    return most;
}

/* Blocks that share a tile. */
static inline int fbq__splits(const fbq_pick *fused)
{
    return fused->splits > 1 ? fused->splits : 1;
}

/* A block of 16 x 16 numbers of A or B. */
static inline int64_t fbq__block_bytes(const fbq_layout *l)
{
    return FBQ_TILE * FBQ_TILE * (l->format.factor_type == FBQ_I8 ? 1 : 2);
}

/* Bytes of t's partial sums, where down makes them; in the scratch. */
static inline size_t fbq__t_bytes(const fbq__fixed *f, int64_t m)
{
    if (fbq__whole(&f->layout, &f->fused))
        return 0;
    return (size_t)(f->layout.rank_tiles * FBQ_TILE * m * f->down.slices) * sizeof(float);
}

/* Bytes of y's partial sums, where blocks share a tile; behind t's. */
static inline size_t fbq__sums_bytes(const fbq__fixed *f, int64_t m)
{
    if (fbq__splits(&f->fused) == 1)
        return 0;
    return (size_t)(f->fused.splits * f->layout.tiles * FBQ_TILE * fbq__columns(fbq__rows(f, m))) *
           sizeof(float);
}

static inline size_t fbq__scratch_bytes(const fbq__fixed *f, int64_t m)
{
    return fbq__t_bytes(f, m) + fbq__sums_bytes(f, m);
}

/* The state: repeats device/exchange.cuh and splits.cuh. */
#define FBQ__STATE_HEAD 128
#define FBQ__STATE_COUNTERS 2048

static inline int64_t fbq__counters(const fbq_layout *l, int64_t m)
{
    return l->tiles * (m == 1 ? 1 : FBQ_TILE * fbq__columns(m) / 32);
}

static inline size_t fbq__state_bytes(const fbq__fixed *f, int64_t m)
{
    const int whole = fbq__whole(&f->layout, &f->fused);
    if (!whole && fbq__splits(&f->fused) == 1)
        return 0;
    return FBQ__STATE_HEAD + FBQ__STATE_COUNTERS * 4 +
           (size_t)(whole ? f->layout.rank_tiles * FBQ_TILE * m * f->fused.slices : 0) * 8;
}

/* ---- Shared memory of fused: repeats the constants of device/tile.cuh and branch.cuh ---- */

/* A unit: 128 codes along K. */
static inline int64_t fbq__units(const fbq_layout *l)
{
    return (l->chunks + 1) / 2;
}

/* Units a warp takes in one step, and steps of a tile. */
static inline int64_t fbq__part_units(const fbq_pick *pick)
{
    return pick->chunks / 2;
}

/* The most units of a tile that a warp has. */
static inline int64_t fbq__share(const fbq_layout *l, const fbq_pick *pick)
{
    const int64_t warps = (int64_t)pick->warps * fbq__splits(pick);
    return (fbq__units(l) + warps - 1) / warps;
}

static inline int64_t fbq__parts(const fbq_layout *l, const fbq_pick *pick)
{
    const int64_t part = fbq__part_units(pick);
    return (fbq__share(l, pick) + part - 1) / part;
}

/* One stage of a warp's ring: codes, scales, integer zero points; whole lines. */
static inline int64_t fbq__stage_bytes(const fbq_layout *l, const fbq_pick *pick)
{
    int group = l->format.group;
    int64_t units = fbq__part_units(pick);
    int64_t groups = group == FBQ_GROUP_ROW ? 1 : group > 128 ? units / 2 + 1 : units * 128 / group;
    int64_t bytes = units * 256 * l->format.bits +
                    groups * (l->format.zero == FBQ_ZERO_F16 ? 64 : 32) +
                    (l->format.zero == FBQ_ZERO_CODE ? (groups + 2) / 2 * 16 : 0);
    return (bytes + 127) / 128 * 128;
}

/* One step of t, 16 ranks: its parts as fp16 or bf16 numbers, and powers of two. */
static inline int64_t fbq__step_bytes(const fbq_layout *l, int64_t m)
{
    return fbq__halves(m) * ((l->format.factor_type == FBQ_BF16 ? 3 : 2) * 256 + 32);
}

#define FBQ__BRANCH_WARPS 4

/* Chunks of its share of A that a warp of the sub-branch has x for at a time: device/tile.cuh, of a
 * kernel that knows K. */
static inline int fbq__share_chunks(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                    int64_t m, int resident)
{
    const int large = gpu->capability >= 90 && gpu->capability < 120;
    const int bytes = l->format.factor_type == FBQ_I8;
    const int long_shares = l->chunks > (bytes ? 127 : 128) ||
                            (l->chunks >= 64 && (fbq__segmented(l) ? pick->tiles > 2 || resident
                                                                   : pick->tiles > 2 && !bytes));
    return large && fbq__whole(l, pick) && m == 1 && long_shares ? 4 : 2;
}

/* Pieces of A and B that it has on their way; a kernel that does not know K may leave half of their
 * place unused. */
static inline int fbq__piece_stages(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                    int64_t m, int resident)
{
    return l->format.factor_type == FBQ_I8 ? 4 : fbq__share_chunks(l, gpu, pick, m, resident);
}

/* Warps of a block of fused: those of the codes, and with a sub-branch those of device/branch.cuh.
 */
static inline int fbq__fused_warps(const fbq_layout *l, const fbq_pick *pick)
{
    return pick->warps + (l->rank_tiles ? FBQ__BRANCH_WARPS : 0);
}

/* How far it is from a block's tile to its next: the blocks of fused, those that share tiles
 * counted once. */
static inline int64_t fbq__tile_stride(const fbq_layout *l, const fbq_gpu *gpu,
                                       const fbq_pick *pick)
{
    int64_t most = (int64_t)gpu->sms * pick->blocks_per_sm / fbq__splits(pick);
    return most < 1 ? 1 : most < l->tiles ? most : l->tiles;
}

static inline int64_t fbq__blocks(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick)
{
    return fbq__tile_stride(l, gpu, pick) * fbq__splits(pick);
}

/* The groups of tiles that a block takes. */
static inline int64_t fbq__groups(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick)
{
    int64_t turn = fbq__tile_stride(l, gpu, pick) * pick->tiles;
    return (l->tiles + turn - 1) / turn;
}

/* Parts of several rows of x that a warp has room for: that in use, and those that the ring may
 * have asked for; or, where x stays, all. */
static inline int64_t fbq__x_slots(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                   int resident)
{
    int64_t slots = (pick->stages + pick->tiles - 2) / pick->tiles + 1;
    int64_t parts = fbq__parts(l, pick) * (resident ? 1 : fbq__groups(l, gpu, pick));
    return resident || slots > parts ? parts : slots;
}

/* Tiles of a block whose up-projection is awaited at a time: a group, or several groups of one
 * tile, as even as they come out. Few enough that their sums take little room. */
#define FBQ__ROUND_TILES 8

static inline int64_t fbq__round_tiles(const fbq_layout *l, const fbq_gpu *gpu,
                                       const fbq_pick *pick, int64_t m)
{
    const int64_t own = fbq__groups(l, gpu, pick), most = FBQ__ROUND_TILES / fbq__halves(m);
    const int64_t rounds = (own + most - 1) / most;
    return pick->tiles > 1 ? pick->tiles : (own + rounds - 1) / rounds;
}

/* 1 or 4 blocks of B, two to this power, travel at a time: one where larger pieces would leave x no
 * room to stay, or take it from the rings. Fewer warps have rings where rows are more than eight
 * (choose.h). */
static inline int fbq__piece_shift(const fbq_layout *l, const fbq_pick *pick, int64_t m)
{
    const int64_t most = (m > 8 ? 128 : 96) * 1024; /* bytes of x */
    return fbq__whole(l, pick) || m * l->shape.k * 2 <= most ? 2 : 0;
}

/* The room of a piece: blocks of B, and the scales of its rows where it has any. */
static inline int64_t fbq__piece_bytes(const fbq_layout *l, const fbq_pick *pick, int64_t m)
{
    return (fbq__block_bytes(l) << fbq__piece_shift(l, pick, m)) +
           (l->format.factor_type == FBQ_I8 ? FBQ_TILE * 4 : 0);
}

/* 1, 2 or 4 warps, two to this power, share the up-projection of a tile, so that none is idle where
 * a round has few; but no more than it has pieces. */
static inline int fbq__up_shift(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                int64_t m)
{
    const int64_t piece = 1 << fbq__piece_shift(l, pick, m);
    const int64_t pieces = (fbq__widest(l) + piece - 1) / piece;
    int shift = 0;
    while (shift < 2 && 2 << shift <= pieces &&
           fbq__round_tiles(l, gpu, pick, m) << shift < FBQ__BRANCH_WARPS)
        shift++;
    return shift;
}

/* A warp's x. One row: what is made ready of a part, or where x stays of all. Several: for each
 * slot what is made ready of a part, and its rows. */
static inline int64_t fbq__x_bytes(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                   int64_t m, int resident)
{
    int group = l->format.group;
    int64_t flushes = group == FBQ_GROUP_ROW || group > 128 ? 1 : 128 / group;
    int64_t units = fbq__part_units(pick);
    if (m == 1)
        return (resident ? fbq__share(l, pick) : units) * (3 * 128 + flushes * 16);
    return fbq__x_slots(l, gpu, pick, resident) *
           ((units * flushes * fbq__halves(m) * 64 + 127) / 128 * 128 + m * units * 256 + 64);
}

/* What a block of fused keeps in shared memory: where each thing begins, and the end. A warp's
 * partial results lie `stride` after those of the warp before. Where a block has one group only,
 * they take the place of the warp's ring; else they have one area of their own, or two that lie
 * `turn` apart. */
typedef struct fbq__shared {
    int64_t results, stride, turn, sums, up, t, x, pieces, barriers, rings, bytes;
} fbq__shared;

static inline fbq__shared fbq__shared_of(const fbq_layout *l, const fbq_gpu *gpu,
                                         const fbq_pick *pick, int64_t m, int resident, int areas)
{
    const int64_t ring = pick->stages * fbq__stage_bytes(l, pick);
    const int64_t tile = FBQ_TILE * fbq__columns(m) * 4, results = pick->tiles * tile;
    const int64_t branch = l->rank_tiles > 0, round = fbq__round_tiles(l, gpu, pick, m);
    /* the up-projections' place serves the down-projection's sums first */
    const int64_t items = round << fbq__up_shift(l, gpu, pick, m);
    const int64_t ups =
        fbq__whole(l, pick) && items < FBQ__BRANCH_WARPS ? FBQ__BRANCH_WARPS : items;
    const int inside = fbq__groups(l, gpu, pick) == 1 && results <= ring;
    const int64_t stages =
        branch * FBQ__BRANCH_WARPS * fbq__piece_stages(l, gpu, pick, m, resident);
    fbq__shared s;
    s.turn = areas > 1 && !inside ? pick->warps * results : 0;
    s.sums = inside ? 0 : areas * pick->warps * results;
    s.up = s.sums + (pick->tiles == 1 ? branch * (round - 1) * tile : 0);
    s.t = s.up + branch * ups * tile;
    s.x = (s.t + l->rank_tiles * fbq__step_bytes(l, m) + 127) / 128 * 128;
    s.pieces = (s.x + pick->warps * fbq__x_bytes(l, gpu, pick, m, resident) + 127) / 128 * 128;
    s.barriers = s.pieces + stages * fbq__piece_bytes(l, pick, m);
    s.rings = (s.barriers + (pick->stages + 1) * pick->warps * 8 + branch * 16 + stages * 8 + 127) /
              128 * 128;
    s.results = inside ? s.rings : 0;
    s.stride = inside ? ring : results;
    s.bytes = s.rings + pick->warps * ring;
    return s;
}

/* The fewest bytes a pick gets by with. */
static inline int64_t fbq__fused_least_bytes(const fbq_layout *l, const fbq_gpu *gpu,
                                             const fbq_pick *pick, int64_t m)
{
    const int64_t travels = fbq__shared_of(l, gpu, pick, m, 0, 1).bytes;
    const int64_t stays = fbq__shared_of(l, gpu, pick, m, 1, 1).bytes;
    return pick->tiles == 1 && stays < travels ? stays : travels;
}

/* What a block may take so that pick->blocks_per_sm of them fit; the driver keeps 1 KB a block. */
static inline int64_t fbq__fused_most_bytes(const fbq_gpu *gpu, const fbq_pick *pick)
{
    int64_t share = gpu->shared_sm / pick->blocks_per_sm - 1024;
    return share < gpu->shared_block ? share : gpu->shared_block;
}

static inline int fbq__fused_fits(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                  int64_t m)
{
    return fbq__fused_least_bytes(l, gpu, pick, m) <= fbq__fused_most_bytes(gpu, pick);
}

/* Does all of x stay in shared memory? Only groups of one tile would fetch it again and again. (One
 * row that is one part stays anyway, which takes no more room: device/tile.cuh.) */
static inline int fbq__resident(const fbq_layout *l, const fbq_gpu *gpu, const fbq_pick *pick,
                                int64_t m)
{
    return pick->tiles == 1 &&
           fbq__shared_of(l, gpu, pick, m, 1, 1).bytes <= fbq__fused_most_bytes(gpu, pick);
}

/* Shall two launches of a fused that makes t itself run side by side? Not if shared memory forbids
 * it, nor if so few registers would not do (measured from ptxas): the sums of more tiles take more,
 * and so do split-K, a first step held in registers, as with more tiles or an x that stays, and
 * integer zero points or int8 factors with groups of 256, and from sm_100 on 2 bits with fp16 zero
 * points. More than 12 warps leave 56 registers, too few for two tiles beyond K = 8192.
 * Some kernels of an uneven K spill nevertheless: fbq_prepare compiles those again. */
static inline int fbq__pairs(const fbq__fixed *f)
{
    const fbq_pick *pick = &f->fused;
    const fbq_format *format = &f->layout.format;
    const int64_t half = f->gpu.shared_sm / (2 * pick->blocks_per_sm) - 1024;
    return fbq__whole(&f->layout, pick) && f->problem.m_max == 1 && f->gpu.capability >= 90 &&
           !(format->group == 256 &&
             (format->zero == FBQ_ZERO_CODE || format->factor_type == FBQ_I8)) &&
           !(f->gpu.capability >= 100 && format->bits == 2 && format->zero == FBQ_ZERO_F16) &&
           pick->tiles <= 2 && !(pick->tiles == 2 && pick->warps > 12 && f->layout.chunks > 128) &&
           !f->resident && fbq__splits(pick) == 1 &&
           fbq__shared_of(&f->layout, &f->gpu, pick, 1, f->resident, 1).bytes <= half;
}

/* What is fixed about a problem of which layout, gpu and picks are filled in. */
static inline void fbq__fix(fbq__fixed *f)
{
    f->resident = fbq__resident(&f->layout, &f->gpu, &f->fused, f->problem.m_max);
    f->paired = fbq__pairs(f);
}

/* Shall both kernels ask for one split between shared memory and L1? A multiprocessor has to run
 * empty to change it, so with one split the kernels overlap more. That pays for layers of up to two
 * tiles a block and costs others up to 10 % (measured; docs/kernels.md). */
static inline int fbq__one_split(const fbq__fixed *f)
{
    return f->layout.tiles * fbq__splits(&f->fused) <=
           (int64_t)2 * f->gpu.sms * f->fused.blocks_per_sm;
}

/* ---- Arguments ---- */

/* Polls before a block that waits for others' partial sums makes them itself. */
#ifndef FBQ__PATIENCE
#define FBQ__PATIENCE 256
#endif

/* Does fused make A's numbers x's? It then has no registers to see that its turn has come
 * (device/tile.cuh). */
static inline int fbq__mixed(const fbq__fixed *f)
{
    return f->layout.format.factor_type != f->problem.x_type &&
           f->layout.format.factor_type != FBQ_I8;
}

/* Cycles that a block of a chained launch lets pass before it asks for anything (device/fused.cuh):
 * none in one launch that finds no room before a block of the launch before has left, neither
 * beside it nor on a multiprocessor of its own. Measured on an H200 (docs/kernels.md, tries 65, 85
 * and 119), but for the 500, which launches of so few blocks have as all once had. */
static inline int fbq__hold(const fbq__fixed *f)
{
    if (!fbq__one_split(f))
        return 0;
    if (!fbq__whole(&f->layout, &f->fused))
        return 350;
    if (f->paired)
        return fbq__mixed(f) ? 1500 : 1000;
    return 2 * fbq__blocks(&f->layout, &f->gpu, &f->fused) <= f->gpu.sms ? 500 : 0;
}

/* And each warp more than the one before it: two launches side by side are in each other's way all
 * the time, so the weights of one shall come over all of the other's. Not where the last would hold
 * for thousands of cycles though its turn had come. */
static inline int fbq__hold_warp(const fbq__fixed *f)
{
    return fbq__one_split(f) && f->paired && !fbq__mixed(f) ? 200 : 0;
}

static inline int fbq__vectors(const void *x, int64_t m, int64_t stride)
{
    return ((uintptr_t)x & 15) == 0 && (m == 1 || (stride & 7) == 0);
}

/* Weights that each warp of down prefetches into L2: the first tiles of fused, about as much as
 * memory delivers until fused asks itself. Only where a tile is one step; else fused begins with
 * pieces of many tiles, and to name each takes longer than it saves. Whole lines. */
static inline int64_t fbq__ahead_bytes(const fbq__fixed *f)
{
    int64_t warps = f->layout.rank_tiles * f->down.slices * f->down.warps;
    int64_t bytes = fbq__tile_stride(&f->layout, &f->gpu, &f->fused) * f->layout.record_bytes;
    if (fbq__parts(&f->layout, &f->fused) > 1 || fbq__segmented(&f->layout))
        return 0;
    return (bytes < 4 << 20 ? bytes : 4 << 20) / warps / 128 * 128;
}

static inline void fbq__down_launch(const fbq__fixed *f, const fbq_call *call, fbq_down_args *args,
                                    fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    memset(args, 0, sizeof *args);
    args->x = call->x;
    args->blocks = (const char *)call->down + FBQ_HEADER_BYTES;
    args->scales = (const float *)((const char *)call->down + l->down_scales);
    args->t = (float *)call->scratch;
    args->x_stride = call->x_stride ? call->x_stride : l->shape.k;
    args->m = (int)call->m;
    args->k = (int)l->shape.k;
    args->chunks = (int)l->chunks;
    args->chunks_per_slice = (int)((l->chunks + f->down.slices - 1) / f->down.slices);
    args->rank_tiles = (int)l->rank_tiles;
    args->x_vectors = fbq__vectors(call->x, call->m, args->x_stride);
    args->records = (const char *)call->weights + FBQ_HEADER_BYTES;
    args->ahead_bytes = (int)fbq__ahead_bytes(f);
    launch->grid_x = (unsigned)l->rank_tiles;
    launch->grid_y = (unsigned)f->down.slices;
    launch->threads = (unsigned)f->down.warps * 32;
    launch->shared_bytes =
        (unsigned)(f->down.warps * FBQ_TILE * fbq__columns(fbq__rows(f, call->m)) * 4);
}

/* May fused start while the kernel before it runs? One that is compiled to stand behind down does
 * not wait by itself, so only behind down. */
static inline int fbq__overlaps(const fbq__fixed *f, const fbq_call *call)
{
    return call->down != NULL || fbq__branch(&f->layout, &f->fused) != 1;
}

/* `factors`: they are given. Segments that there are not begin beyond every tile. */
static inline void fbq__fused_segments(const fbq_layout *l, int factors, fbq_fused_args *args)
{
    int64_t row = 0;
    for (int s = 0; s < FBQ_MAX_SEGMENTS; s++) {
        fbq_fused_segment *segment = &args->segment[s];
        segment->first_tile = s < l->shape.segments ? (int)l->tile_first[s] : INT32_MAX;
        if (s >= l->shape.segments)
            continue;
        segment->first_row = (int)row;
        row += l->shape.segment[s].n;
        segment->end_row = (int)row;
        segment->first_rank_tile = factors ? (int)l->rank_first[s] : 0;
        segment->rank_tiles = factors ? (int)(l->rank_first[s + 1] - l->rank_first[s]) : 0;
        segment->first_block = (int)l->up_first[s];
    }
}

static inline void fbq__fused_launch(const fbq__fixed *f, const fbq_call *call,
                                     fbq_fused_args *args, fbq__launch *launch)
{
    const fbq_layout *l = &f->layout;
    const fbq_pick *pick = &f->fused;
    const int64_t grid = fbq__blocks(l, &f->gpu, pick), stride = fbq__tile_stride(l, &f->gpu, pick);
    const int64_t rows = fbq__rows(f, call->m);
    int64_t most = fbq__fused_most_bytes(&f->gpu, pick), least;
    fbq__shared shared = fbq__shared_of(l, &f->gpu, pick, rows, f->resident, 2);
    if (shared.bytes > most)
        shared = fbq__shared_of(l, &f->gpu, pick, rows, f->resident, 1);
    memset(args, 0, sizeof *args);
    args->x = call->x;
    args->records = (const char *)call->weights + FBQ_HEADER_BYTES;
    /* never read without ranks, but a base that arithmetic may be done on */
    args->blocks = (const char *)(call->up ? call->up : call->weights) + FBQ_HEADER_BYTES;
    args->a_blocks = (const char *)(call->down ? call->down : call->weights) + FBQ_HEADER_BYTES;
    if (call->down) {
        args->down_scales = (const float *)((const char *)call->down + l->down_scales);
        args->up_scales = (const float *)((const char *)call->up + l->up_scales);
    }
    args->t = (const float *)call->scratch;
    args->state = call->state;
    if (fbq__splits(pick) > 1)
        args->sums = (float *)((char *)call->scratch + (call->down ? fbq__t_bytes(f, call->m) : 0));
    args->bias = call->bias;
    args->residual = call->residual;
    args->y = call->y;
    args->x_stride = call->x_stride ? call->x_stride : l->shape.k;
    args->y_stride = call->y_stride ? call->y_stride : l->n;
    args->residual_stride = call->residual_stride ? call->residual_stride : l->n;
    args->record_bytes = l->record_bytes;
    args->round_bytes = l->record_bytes * (fbq__segmented(l) ? 1 : stride);
    args->codes_bytes = (int)l->codes_bytes;
    args->scales_bytes = (int)l->scales_bytes;
    args->m = (int)call->m;
    args->n = (int)l->n;
    args->k = (int)l->shape.k;
    args->tiles = (int)l->tiles;
    args->own_tiles = (int)(l->tiles / stride);
    args->more_tiles = (int)(l->tiles % stride);
    args->chunks = (int)l->chunks;
    args->parts = (int)fbq__parts(l, pick);
    args->x_vectors = fbq__vectors(call->x, call->m, args->x_stride);
    args->y_type = (int)f->problem.y_type;
    args->rank_tiles = call->down ? (int)l->rank_tiles : 0;
    args->slices = fbq__whole(l, pick) ? pick->slices : f->down.slices;
    args->slice_chunks = (int)((l->chunks + args->slices - 1) / args->slices);
    args->patience = FBQ__PATIENCE;
    args->chained = call->chained != 0;
    args->hold = fbq__hold(f);
    args->hold_warp = fbq__hold_warp(f);
    args->x_bytes = (int)fbq__x_bytes(l, &f->gpu, pick, rows, f->resident);
    args->x_slots = (int)fbq__x_slots(l, &f->gpu, pick, f->resident);
    args->round_tiles = (int)fbq__round_tiles(l, &f->gpu, pick, rows);
    args->piece_shift = fbq__piece_shift(l, pick, rows);
    args->up_shift = fbq__up_shift(l, &f->gpu, pick, rows);
    args->results_stride = (int)shared.stride;
    args->results_turn = (int)shared.turn;
    args->smem_results = (int)shared.results;
    args->smem_sums = (int)shared.sums;
    args->smem_up = (int)shared.up;
    args->smem_t = (int)shared.t;
    args->smem_pieces = (int)shared.pieces;
    args->smem_x = (int)shared.x;
    args->smem_barriers = (int)shared.barriers;
    args->smem_ring = (int)shared.rings;
    fbq__fused_segments(l, call->down != NULL, args);
    launch->grid_x = (unsigned)grid;
    launch->grid_y = 1;
    launch->threads = (unsigned)fbq__fused_warps(l, pick) * 32;
    launch->shared_bytes = (unsigned)shared.bytes;
    /* So much that no more blocks fit than asked for: launched behind down, whose blocks hold some
     * multiprocessors longer than others, two would meet on one and leave another without. A fused
     * that is the only launch shall have the next one's blocks beside it. */
    least = f->gpu.shared_sm / ((fbq__branch(l, pick) != 1 && f->gpu.capability >= 90 ? 2 : 1) *
                                    pick->blocks_per_sm +
                                1) -
            1024 + 128;
    if (launch->shared_bytes < least && least <= most)
        launch->shared_bytes = (unsigned)least;
}

/* ---- The call's own checks: a launch returns a status only ---- */

static inline fbq_status fbq__buffer_check(const void *memory, size_t bytes, size_t wanted)
{
    if (wanted == 0)
        return FBQ_OK;
    if (!memory)
        return FBQ_ERR_NULL;
    if ((uintptr_t)memory & 15)
        return FBQ_ERR_ALIGNMENT;
    return bytes < wanted ? FBQ_ERR_BUFFER : FBQ_OK;
}

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
    if (call->down || fbq__splits(&f->fused) > 1) {
        const fbq_status state =
            fbq__buffer_check(call->state, call->state_bytes, fbq__state_bytes(f, call->m));
        if (state != FBQ_OK)
            return state;
        return fbq__buffer_check(call->scratch, call->scratch_bytes,
                                 fbq__scratch_bytes(f, call->m));
    }
    return FBQ_OK;
}

#endif /* FBQ_HOST_GEOMETRY_H */
