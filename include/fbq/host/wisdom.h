/* fbq/host/wisdom.h: records in memory, and the ladder by which a pick is found among them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_WISDOM_H
#define FBQ_HOST_WISDOM_H

#include "files.h"
#include "wisdom_record.h"

struct fbq_wisdom {
    fbq__list records;
    uint32_t *slots;   /* a hash table of the records: each one's index + 1, 0 for none */
    size_t slot_count; /* a power of two, more than twice the records; 0 at first */
    fbq__list kept;   /* lines that this version has no use for, each with its newline: remarks, and
                       * whole records of other versions */
    fbq__list broken; /* lines that were damaged, likewise */
    size_t damaged;   /* how many */
    char warning[512];
};

fbq_status fbq_wisdom_new(fbq_wisdom **wisdom, fbq_error *error)
{
    fbq_wisdom *w;
    FBQ__NOT_NULL(wisdom, error);
    w = (fbq_wisdom *)FBQ_MALLOC(sizeof *w);
    if (!w)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", sizeof *w);
    memset(w, 0, sizeof *w);
    *wisdom = w;
    return FBQ_OK;
}

void fbq_wisdom_free(fbq_wisdom *wisdom)
{
    if (!wisdom)
        return;
    FBQ_FREE(wisdom->records.items);
    FBQ_FREE(wisdom->slots);
    FBQ_FREE(wisdom->kept.items);
    FBQ_FREE(wisdom->broken.items);
    FBQ_FREE(wisdom);
}

size_t fbq_wisdom_count(const fbq_wisdom *wisdom)
{
    return wisdom ? wisdom->records.count : 0;
}

static fbq_record *fbq__wisdom_at(const fbq_wisdom *wisdom, size_t index)
{
    return (fbq_record *)(void *)wisdom->records.items + index;
}

const fbq_record *fbq_wisdom_record(const fbq_wisdom *wisdom, size_t index)
{
    return index < fbq_wisdom_count(wisdom) ? fbq__wisdom_at(wisdom, index) : NULL;
}

size_t fbq_wisdom_damaged(const fbq_wisdom *wisdom)
{
    return wisdom ? wisdom->damaged : 0;
}

const char *fbq_wisdom_warning(const fbq_wisdom *wisdom)
{
    return wisdom ? wisdom->warning : "";
}

/* The slot of a record's key, or the empty one where it belongs. */
static uint32_t *fbq__wisdom_slot(const fbq_wisdom *wisdom, const fbq_record *record)
{
    size_t at = (size_t)fbq__key_hash(record);
    for (;; at++) {
        uint32_t *slot = &wisdom->slots[at & (wisdom->slot_count - 1)];
        if (!*slot || fbq__record_same_key(record, fbq__wisdom_at(wisdom, *slot - 1)))
            return slot;
    }
}

/* Slots for `count` records, made anew of those that are there. */
static fbq_status fbq__wisdom_index(fbq_wisdom *wisdom, size_t count, fbq_error *error)
{
    size_t slots = 64;
    uint32_t *made;
    while (slots < 4 * count)
        slots *= 2;
    made = (uint32_t *)FBQ_MALLOC(slots * sizeof *made);
    if (!made)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed",
                         slots * sizeof *made);
    memset(made, 0, slots * sizeof *made);
    FBQ_FREE(wisdom->slots);
    wisdom->slots = made;
    wisdom->slot_count = slots;
    for (size_t i = 0; i < wisdom->records.count; i++)
        *fbq__wisdom_slot(wisdom, fbq__wisdom_at(wisdom, i)) = (uint32_t)i + 1;
    return FBQ_OK;
}

/* A record that was checked. */
static fbq_status fbq__wisdom_take(fbq_wisdom *wisdom, const fbq_record *record, fbq_error *error)
{
    const size_t count = wisdom->records.count;
    uint32_t *slot;
    if (2 * (count + 1) > wisdom->slot_count)
        FBQ__TRY(fbq__wisdom_index(wisdom, count + 1, error));
    slot = fbq__wisdom_slot(wisdom, record);
    if (!*slot) {
        FBQ__TRY(fbq__list_append(&wisdom->records, record, 1, sizeof *record, error));
        *slot = (uint32_t)count + 1;
    } else if (fbq__record_better(record, fbq__wisdom_at(wisdom, *slot - 1)))
        *fbq__wisdom_at(wisdom, *slot - 1) = *record;
    return FBQ_OK;
}

fbq_status fbq_wisdom_add(fbq_wisdom *wisdom, const fbq_record *record, fbq_error *error)
{
    fbq_record r;
    FBQ__NOT_NULL(wisdom, error);
    FBQ__NOT_NULL(record, error);
    FBQ__TRY(fbq__record_check(record, &r, error));
    return fbq__wisdom_take(wisdom, &r, error);
}

/* ---- The ladder ---- */

/* The most that shape and multiprocessors together may differ by. */
#define FBQ__NEAR 2.0

/* How many times as large the larger is. */
static double fbq__ratio(int64_t a, int64_t b)
{
    return a > b ? (double)a / (double)b : (double)b / (double)a;
}

static int64_t fbq__all_rows(const fbq_shape *shape)
{
    int64_t rows = 0;
    for (int s = 0; s < shape->segments; s++)
        rows += shape->segment[s].n;
    return rows;
}

/* 1: the same N, K and ranks in all; more: what they differ by, in each of them, multiplied. 100 x
 * 1 and 1 x 100 are far apart. */
static double fbq__shape_distance(const fbq_shape *a, const fbq_shape *b)
{
    const int64_t ra = fbq__ranks(a), rb = fbq__ranks(b);
    return fbq__ratio(fbq__all_rows(a), fbq__all_rows(b)) * fbq__ratio(a->k, b->k) *
           (ra == rb ? 1 : fbq__ratio(ra, rb));
}

/* A record's place on the ladder for a problem (a key) and a GPU (with its name as a word). */
typedef struct fbq__standing {
    fbq_rung rung;
    double distance;
} fbq__standing;

static fbq__standing fbq__record_standing(const fbq_record *record, fbq_kernel kernel,
                                          const fbq_problem *problem, const fbq_gpu *gpu)
{
    fbq__standing standing = {FBQ_RUNG_DEFAULT, 0};
    double shape, sms;
    if (record->pick.kernel != kernel || record->epoch != FBQ_KERNEL_EPOCH ||
        record->gpu.capability != gpu->capability || !fbq__problem_alike(&record->problem, problem))
        return standing;
    shape = fbq__shape_distance(&record->problem.shape, &problem->shape);
    sms = fbq__ratio(record->gpu.sms, gpu->sms);
    standing.distance = shape * sms;
    if (standing.distance > FBQ__NEAR)
        return standing;
    if (!fbq__gpu_same(&record->gpu, gpu))
        standing.rung = FBQ_RUNG_CAPABILITY;
    else if (!fbq__shape_same(&record->problem.shape, &problem->shape))
        standing.rung = FBQ_RUNG_SHAPE;
    else
        standing.rung = FBQ_RUNG_EXACT;
    return standing;
}

static int fbq__standing_better(const fbq__standing *a, const fbq_record *ra,
                                const fbq__standing *b, const fbq_record *rb)
{
    if (a->rung != b->rung)
        return a->rung < b->rung;
    if (a->distance != b->distance)
        return a->distance < b->distance;
    if (fbq__record_better(ra, rb) || fbq__record_better(rb, ra))
        return fbq__record_better(ra, rb);
    return fbq__key_first(ra, rb);
}

/* The best record whose pick is legal here, NULL if there is none. Legality comes before rank: an
 * illegal pick keeps no other from being found. */
static const fbq_record *fbq__wisdom_best(const fbq_wisdom *wisdom, const fbq_problem *problem,
                                          const fbq_gpu *gpu, fbq_kernel kernel, fbq_rung *rung)
{
    const fbq_record *best = NULL;
    fbq__standing best_standing = {FBQ_RUNG_DEFAULT, 0};
    fbq_problem key;
    fbq_gpu here = *gpu;
    fbq__problem_key(problem, &key);
    fbq__gpu_word(gpu->name, here.name);
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++) {
        const fbq_record *record = fbq__wisdom_at(wisdom, i);
        const fbq__standing standing = fbq__record_standing(record, kernel, &key, &here);
        if (standing.rung == FBQ_RUNG_DEFAULT ||
            (best && !fbq__standing_better(&standing, record, &best_standing, best)) ||
            fbq_pick_check(problem, gpu, &record->pick, NULL) != FBQ_OK)
            continue;
        best = record;
        best_standing = standing;
    }
    *rung = best_standing.rung;
    return best;
}

fbq_status fbq_wisdom_find(const fbq_wisdom *wisdom, const fbq_problem *problem, const fbq_gpu *gpu,
                           fbq_kernel kernel, fbq_pick *pick, fbq_found *found, fbq_error *error)
{
    fbq_layout layout;
    const fbq_record *best;
    fbq_found none;
    FBQ__NOT_NULL(gpu, error);
    FBQ__NOT_NULL(pick, error);
    FBQ__TRY(fbq__problem_check(problem, &layout, error));
    if ((unsigned)kernel >= FBQ_KERNELS)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "kernel is %d; expected 0 .. %d", (int)kernel,
                         FBQ_KERNELS - 1);
    if (!found)
        found = &none;
    memset(found, 0, sizeof *found);
    best = fbq__wisdom_best(wisdom, problem, gpu, kernel, &found->rung);
    if (!best)
        return fbq_pick_default(problem, gpu, kernel, pick, error);
    found->record = *best;
    *pick = best->pick;
    return FBQ_OK;
}

#endif /* FBQ_HOST_WISDOM_H */
