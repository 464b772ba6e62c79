/* space.c: see space.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What is worth a try. K of a layer is shared out among the warps in units of two chunks, so that
 * numbers of warps which are no power of two pay where K is none. */
static const int WARPS[] = {1, 2, 3, 4, 6, 8, 12, 16}, CHUNKS[] = {2, 4, 6, 8, 12, 16, 32},
                 BLOCKS[] = {1, 2, 4, 8}, STAGES[] = {2, 3, 4}, TILES[] = {1, 2, 3, 4, 6, 8},
                 SLICES[] = {0, 1, 2, 4, 8, 16}, SPLITS[] = {0, 2, 4, 8};
static const int DOWN_WARPS[] = {1, 2, 4, 8, 16}, DOWN_CHUNKS[] = {1, 2, 4},
                 DOWN_SLICES[] = {1, 2, 4, 8, 16}, NONE[] = {0}, ONE[] = {1};

enum { FIELDS = 7 };

/* In the order warps, chunks, blocks_per_sm, slices, stages, tiles, splits. */
static const struct {
    const int *value;
    int count;
} GRID[FBQ_KERNELS][FIELDS] = {
#define VALUES(list)                       \
    {                                      \
        list, sizeof list / sizeof list[0] \
    }
    {VALUES(DOWN_WARPS), VALUES(DOWN_CHUNKS), VALUES(ONE), VALUES(DOWN_SLICES), VALUES(NONE),
     VALUES(NONE), VALUES(NONE)},
    {VALUES(WARPS), VALUES(CHUNKS), VALUES(BLOCKS), VALUES(SLICES), VALUES(STAGES), VALUES(TILES),
     VALUES(SPLITS)},
#undef VALUES
};

static double factor(int a, int b)
{
    return a && b ? fabs(log2((double)a) - log2((double)b)) : 0;
}

double space_distance(const fbq_pick *a, const fbq_pick *b)
{
    const double launches = !a->slices == !b->slices ? 0 : 2;
    return factor(a->warps, b->warps) + factor(a->chunks, b->chunks) +
           factor(a->blocks_per_sm, b->blocks_per_sm) + factor(a->stages, b->stages) +
           factor(a->tiles, b->tiles) + launches + factor(a->slices, b->slices) +
           factor(a->splits > 1 ? a->splits : 1, b->splits > 1 ? b->splits : 1);
}

/* What qsort compares: a pick, its distance, and where it was. */
typedef struct place {
    fbq_pick pick;
    double distance;
    int index;
} place;

static int place_compare(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->index - y->index;
}

/* Those behind the first, the nearest to it first. */
static int sort(space *s)
{
    place *places = malloc((size_t)s->count * sizeof *places);
    if (!places)
        return 0;
    for (int i = 0; i < s->count; i++)
        places[i] = (place){s->pick[i], space_distance(&s->pick[i], &s->pick[0]), i};
    qsort(places, (size_t)s->count, sizeof *places, place_compare);
    for (int i = 0; i < s->count; i++)
        s->pick[i] = places[i].pick;
    free(places);
    return 1;
}

static int pick_same(const fbq_pick *a, const fbq_pick *b)
{
    return !memcmp(a, b, sizeof *a);
}

/* What a problem makes of numbers in a pick. */
typedef struct limits {
    int whole, two;       /* may fused make t itself, may it leave that to down? */
    int64_t units, tiles; /* of two chunks, along K; of 16 rows */
    int sms;
} limits;

static limits limits_of(const fbq_problem *problem, const fbq_gpu *gpu)
{
    limits l = {0, 1, (problem->shape.k + 127) / 128, 0, gpu->sms};
    int64_t ranks = 0;
    for (int i = 0; i < problem->shape.segments; i++) {
        ranks += problem->shape.segment[i].r;
        l.tiles += (problem->shape.segment[i].n + FBQ_TILE - 1) / FBQ_TILE;
    }
    if (ranks) {
        l.whole = problem->launches != 2;
        l.two = problem->launches != 1;
    }
    return l;
}

static int64_t share(int64_t of, int64_t among)
{
    return (of + among - 1) / among;
}

/* Is a pick one that the problem leaves open, and no other one in disguise: with longer steps than
 * a warp has units, with more tiles at a time than a block has, or with idle warps? */
static int pick_wanted(const limits *l, const fbq_pick *pick)
{
    const int splits = pick->splits > 1 ? pick->splits : 1;
    if (pick->kernel == FBQ_KERNEL_DOWN) /* chunks, as fused's units are two of them */
        return pick->slices <= 2 * l->units &&
               pick->warps * pick->chunks <= 2 * share(2 * l->units, pick->slices);
    const int64_t units = share(l->units, splits);
    return (pick->slices ? l->whole : l->two) && pick->warps <= units &&
           pick->chunks <= 2 * share(units, pick->warps) &&
           pick->warps * pick->blocks_per_sm <= 16 &&
           pick->tiles <= share(l->tiles * splits, (int64_t)l->sms * pick->blocks_per_sm);
}

static int add(space *s, const fbq_pick *pick, int *room)
{
    if (s->count == *room) {
        const int more = *room + 256;
        fbq_pick *grown = realloc(s->pick, (size_t)more * sizeof *grown);
        if (!grown)
            return 0;
        s->pick = grown;
        *room = more;
    }
    s->pick[s->count++] = *pick;
    return 1;
}

/* The next point of a grid; 0 behind the last. */
static int next(fbq_kernel kernel, int at[FIELDS])
{
    for (int i = FIELDS - 1; i >= 0; i--) {
        if (++at[i] < GRID[kernel][i].count)
            return 1;
        at[i] = 0;
    }
    return 0;
}

static int collect(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel, space *s)
{
    const fbq_pick first = s->pick[0];
    const limits l = limits_of(problem, gpu);
    int at[FIELDS] = {0}, room = 1;
    fbq_pick pick;
    memset(&pick, 0, sizeof pick);
    pick.kernel = kernel;
    do {
        int *const field[FIELDS] = {&pick.warps,  &pick.chunks, &pick.blocks_per_sm, &pick.slices,
                                    &pick.stages, &pick.tiles,  &pick.splits};
        for (int i = 0; i < FIELDS; i++)
            *field[i] = GRID[kernel][i].value[at[i]];
        if (pick_wanted(&l, &pick) && !pick_same(&pick, &first) &&
            fbq_pick_check(problem, gpu, &pick, NULL) == FBQ_OK && !add(s, &pick, &room))
            return 0;
    } while (next(kernel, at));
    return sort(s);
}

fbq_status space_of(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel, space *s,
                    fbq_error *error)
{
    fbq_pick first;
    memset(s, 0, sizeof *s);
    const fbq_status status = fbq_pick_default(problem, gpu, kernel, &first, error);
    if (status != FBQ_OK)
        return status;
    s->pick = malloc(sizeof first);
    if (s->pick) {
        s->pick[s->count++] = first;
        if (collect(problem, gpu, kernel, s))
            return FBQ_OK;
    }
    space_free(s);
    error->status = FBQ_ERR_OUT_OF_HOST;
    strcpy(error->detail, "no memory for the picks of a problem");
    return FBQ_ERR_OUT_OF_HOST;
}

void space_free(space *s)
{
    free(s->pick);
    free(s->us);
    memset(s, 0, sizeof *s);
}

void space_early(space *s, const fbq_pick *pick)
{
    for (int i = 1 + s->early; i < s->count; i++)
        if (pick_same(&s->pick[i], pick)) {
            memmove(s->pick + s->early + 2, s->pick + s->early + 1,
                    (size_t)(i - s->early - 1) * sizeof *s->pick);
            s->pick[++s->early] = *pick;
            return;
        }
}

void space_predict(space *s, const fbq_problem *problem, const fbq_gpu *gpu, const gpu_speed *speed)
{
    s->us = malloc((size_t)s->count * sizeof *s->us);
    for (int i = 0; i < s->count && s->us; i++)
        s->us[i] = predict(&predict_model, problem, gpu, speed, &s->pick[i]);
}
