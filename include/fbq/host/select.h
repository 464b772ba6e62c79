/* fbq/host/select.h: which pick a problem gets, whether a pick is legal, and picks as text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_SELECT_H
#define FBQ_HOST_SELECT_H

#include "choose.h"
#include "error.h"
#include "layout.h"

static const char *const fbq__kernel_name[FBQ_KERNELS] = {"down", "fused"};

/* Most rows of x that the kernels of this version take. */
#define FBQ__MAX_M 16
#define FBQ__MAX_M_WHOLE 8 /* of a fused that makes t itself */
#define FBQ__MAX_SLICES 64
#define FBQ__MAX_SPLITS 8

/* Is the problem one that this version has kernels for? Fills its layout. */
static fbq_status fbq__problem_check(const fbq_problem *problem, fbq_layout *layout,
                                     fbq_error *error)
{
    FBQ__NOT_NULL(problem, error);
    FBQ__TRY(fbq_layout_of(&problem->format, &problem->shape, layout, error));
    if (problem->m_max < 1)
        return fbq__fail(error, FBQ_ERR_SIZE, 0, "problem.m_max is %d; expected at least 1",
                         problem->m_max);
    if (problem->m_max > FBQ__MAX_M)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "problem.m_max is %d; the kernels of this version take up to %d rows: "
                         "split x, or write the weights out (fbq_prepare_reconstruct) and multiply "
                         "with a BLAS",
                         problem->m_max, FBQ__MAX_M);
    if (problem->launches < 0 || problem->launches > 2)
        return fbq__fail(error, FBQ_ERR_SIZE, 0,
                         "problem.launches is %d; expected 1, 2, or 0 for the faster",
                         problem->launches);
    if (problem->x_type != FBQ_F16 && problem->x_type != FBQ_BF16)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "problem.x_type is %d; the kernels take FBQ_F16 or FBQ_BF16",
                         (int)problem->x_type);
    if (problem->y_type != FBQ_F16 && problem->y_type != FBQ_BF16 && problem->y_type != FBQ_F32)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "problem.y_type is %d; the kernels write FBQ_F16, FBQ_BF16 or FBQ_F32",
                         (int)problem->y_type);
    return FBQ_OK;
}

/* Registers that a thread of fused needs at most (measured from ptxas; nvrtc_picks holds every GPU
 * to that). Sums of a group's tiles cost some, and before sm_90, where all lanes copy, much more.
 * 20 warps of 96 fill a multiprocessor; there several segments of several rows in one launch want
 * a few more. */
static int fbq__fused_registers(const fbq_gpu *gpu, const fbq_pick *pick, int m_max, int segmented)
{
    if (segmented && gpu->capability < 90 && m_max > 1 && pick->slices > 0)
        return pick->tiles > 1 ? 160 : 128;
    const int tiles = gpu->capability < 90 ? 1 : m_max == 1 ? 8 : 6;
    return pick->tiles > tiles ? 160 : pick->warps > 8 ? 96 : 128;
}

static fbq_status fbq__pick_in_range(const char *field, int value, int low, int high,
                                     fbq_error *error)
{
    if (value < low || value > high)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "pick.%s is %d; expected %d .. %d", field, value,
                         low, high);
    return FBQ_OK;
}

/* The part of legality that needs no GPU: every field in its range. */
static fbq_status fbq__pick_fields_check(const fbq_pick *pick, fbq_error *error)
{
    if ((unsigned)pick->kernel >= FBQ_KERNELS)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "pick.kernel is %d; expected 0 .. %d",
                         (int)pick->kernel, FBQ_KERNELS - 1);
    FBQ__TRY(fbq__pick_in_range("warps", pick->warps, 1, 16, error));
    if (pick->kernel == FBQ_KERNEL_DOWN) {
        if (pick->chunks != 1 && pick->chunks != 2 && pick->chunks != 4)
            return fbq__fail(error, FBQ_ERR_PICK, 0, "pick.chunks is %d; expected 1, 2 or 4",
                             pick->chunks);
        return fbq__pick_in_range("slices", pick->slices, 1, FBQ__MAX_SLICES, error);
    }
    FBQ__TRY(fbq__pick_in_range("chunks", pick->chunks, 2, 64, error));
    if (pick->chunks % 2)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "pick.chunks is %d; expected an even number",
                         pick->chunks);
    FBQ__TRY(fbq__pick_in_range("stages", pick->stages, 2, 4, error));
    FBQ__TRY(fbq__pick_in_range("tiles", pick->tiles, 1, 8, error));
    FBQ__TRY(fbq__pick_in_range("slices", pick->slices, 0, FBQ__MAX_SLICES, error));
    FBQ__TRY(fbq__pick_in_range("splits", pick->splits, 0, FBQ__MAX_SPLITS, error));
    return fbq__pick_in_range("blocks_per_sm", pick->blocks_per_sm, 1, 16, error);
}

fbq_status fbq_pick_check(const fbq_problem *problem, const fbq_gpu *gpu, const fbq_pick *pick,
                          fbq_error *error)
{
    fbq_layout l;
    FBQ__NOT_NULL(gpu, error);
    FBQ__NOT_NULL(pick, error);
    FBQ__TRY(fbq__problem_check(problem, &l, error));
    FBQ__TRY(fbq__pick_fields_check(pick, error));
    if (pick->kernel == FBQ_KERNEL_DOWN)
        return FBQ_OK;
    if (fbq__whole(&l, pick) && problem->m_max > FBQ__MAX_M_WHOLE)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "pick.slices is %d: a fused that makes t itself serves up to %d rows, and "
                         "problem.m_max is %d; take 0, for a launch of down",
                         pick->slices, FBQ__MAX_M_WHOLE, problem->m_max);
    int threads = fbq__fused_warps(&l, pick) * 32 * pick->blocks_per_sm;
    int registers = fbq__fused_registers(gpu, pick, problem->m_max, fbq__segmented(&l));
    int most_threads = gpu->registers_sm / registers;
    if (fbq__whole(&l, pick) && l.rank_tiles * pick->slices > fbq__blocks(&l, gpu, pick))
        return fbq__fail(
            error, FBQ_ERR_PICK, 0,
            "pick.slices is %d: with %lld tiles of 16 ranks that makes %lld shares of "
            "the down-projection, for %lld blocks; lower it, or 0 for a launch of down",
            pick->slices, (long long)l.rank_tiles, (long long)(l.rank_tiles * pick->slices),
            (long long)fbq__blocks(&l, gpu, pick));
    if (fbq__splits(pick) > 1 && fbq__counters(&l, problem->m_max) > FBQ__STATE_COUNTERS)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "pick.splits is %d, but split-K is for layers of few rows: N is %lld, "
                         "expected at most %lld with up to %d rows of x; take 0",
                         pick->splits, (long long)l.n,
                         (long long)(FBQ__STATE_COUNTERS * l.tiles /
                                     fbq__counters(&l, problem->m_max) * FBQ_TILE),
                         problem->m_max);
    if (threads > most_threads)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "pick.warps x blocks_per_sm makes %d threads of about %d registers; a "
                         "multiprocessor holds %d such: lower blocks_per_sm or warps",
                         threads, registers, most_threads);
    int64_t m = problem->m_max, wanted = fbq__fused_least_bytes(&l, gpu, pick, m);
    if (wanted > fbq__fused_most_bytes(gpu, pick))
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "the pick wants %lld bytes of shared memory a block at m = %lld; %lld are "
                         "to be had with %d blocks a multiprocessor",
                         (long long)wanted, (long long)m,
                         (long long)fbq__fused_most_bytes(gpu, pick), pick->blocks_per_sm);
    return FBQ_OK;
}

static int fbq__power_of_two_from(int64_t least, int most)
{
    int p = 1;
    while (p < least && p < most)
        p *= 2;
    return p;
}

/* Enough slices that t is there soon, few enough that gathering it stays cheap (every row of x
 * gathers its own, so more rows want fewer); then as much of a slice at once as may be. Where fused
 * has many tiles a block, t has time: half the blocks, so that fewer of them are in its way. Where
 * A is of another type than x, making it one takes registers, and so do more than eight rows. */
static void fbq__down_default(const fbq_problem *problem, const fbq_layout *l, const fbq_gpu *gpu,
                              fbq_pick *p)
{
    const int at_once = l->format.factor_type == problem->x_type && problem->m_max <= 8 ? 4 : 2;
    const int long_way = l->tiles >= (int64_t)8 * gpu->sms;
    int64_t slices = fbq__ceil(l->chunks, problem->m_max == 1 ? 8 : 16), chunks;
    const int most = long_way ? 4 : 8;
    p->slices = (int)(slices < most ? slices : most);
    chunks = fbq__ceil(l->chunks, p->slices);
    p->warps = fbq__power_of_two_from(chunks, long_way ? 16 : 8);
    p->chunks = fbq__power_of_two_from(fbq__ceil(chunks, p->warps), long_way ? 1 : at_once);
    p->blocks_per_sm = 1;
}

/* Slices of K for a fused that makes t itself: so many that each warp of the sub-branch has x for
 * all its chunks at a time, where the blocks suffice for that and t's gathering stays cheap; 0
 * where they suffice for so few that down is faster, or with several rows of x, where it is
 * (measured; docs/kernels.md). */
static int fbq__fused_slices(const fbq_problem *problem, const fbq_layout *l, const fbq_gpu *gpu,
                             const fbq_pick *p)
{
    const int resident = fbq__resident(l, gpu, p, problem->m_max);
    const int share = FBQ__BRANCH_WARPS * fbq__share_chunks(l, gpu, p, problem->m_max, resident);
    const int64_t wanted = fbq__ceil(l->chunks, share), most = wanted < 16 ? wanted : 16;
    int64_t shares;
    if (l->rank_tiles == 0 || problem->launches == 2 || problem->m_max > FBQ__MAX_M_WHOLE ||
        (problem->launches == 0 && problem->m_max > 1))
        return 0;
    shares = fbq__blocks(l, gpu, p) / l->rank_tiles;
    if (problem->launches == 0 && 2 * shares < most)
        return 0;
    return (int)(shares < most ? shares : most);
}

/* Shall two blocks of 8 warps share a multiprocessor? Before sm_90, where no other launch is beside
 * this one, one multiplies while the other adds up; where x is short, since each has all of it, and
 * where multiprocessors are no longer busy than with one block's tiles. */
static int fbq__two_blocks(const fbq_problem *problem, const fbq_layout *l, const fbq_gpu *gpu)
{
    return problem->m_max == 1 && gpu->capability < 90 && l->rank_tiles == 0 &&
           fbq__units(l) > 16 && fbq__units(l) <= 32 &&
           2 * fbq__ceil(l->tiles, 2 * gpu->sms) == fbq__ceil(l->tiles, gpu->sms);
}

/* One block of up to 16 warps and a ring of two stages: on an H200 the best of those measured, or
 * within 3 % of it, at nearly every size with one row of x (docs/kernels.md). Narrow layers have
 * fewer warps a block, and more blocks; fewer warps also where shared memory does not suffice. */
static void fbq__fused_default(const fbq_problem *problem, const fbq_layout *l, const fbq_gpu *gpu,
                               fbq_pick *p)
{
    p->warps = fbq__power_of_two_from(fbq__units(l), 16);
    p->blocks_per_sm = 16 / p->warps;
    if (fbq__two_blocks(problem, l, gpu)) {
        p->warps = 8;
        p->blocks_per_sm = 2;
    }
    for (;;) {
        p->slices = fbq__fused_slices(problem, l, gpu, p);
        fbq__choose(l, gpu, problem->m_max, p);
        if (p->slices) /* again, since how many depends on what was chosen, but that not on it */
            p->slices = fbq__fused_slices(problem, l, gpu, p);
        if (fbq_pick_check(problem, gpu, p, NULL) == FBQ_OK)
            return;
        if (p->blocks_per_sm > 1)
            p->blocks_per_sm--;
        else if (p->warps > 1)
            p->warps /= 2;
        else
            return;
    }
}

/* All segments' ranks. */
static int64_t fbq__ranks(const fbq_shape *shape)
{
    int64_t ranks = 0;
    for (int s = 0; s < shape->segments; s++)
        ranks += shape->segment[s].r;
    return ranks;
}

fbq_status fbq_pick_default(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                            fbq_pick *pick, fbq_error *error)
{
    fbq_layout l;
    fbq_pick p;
    FBQ__NOT_NULL(gpu, error);
    FBQ__NOT_NULL(pick, error);
    FBQ__TRY(fbq__problem_check(problem, &l, error));
    memset(&p, 0, sizeof p);
    p.kernel = kernel;
    if (kernel == FBQ_KERNEL_DOWN)
        fbq__down_default(problem, &l, gpu, &p);
    else
        fbq__fused_default(problem, &l, gpu, &p);
    if (kernel == FBQ_KERNEL_FUSED && problem->launches == 1 && l.rank_tiles &&
        problem->m_max > FBQ__MAX_M_WHOLE)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "problem.launches is 1, which serves up to %d rows, and problem.m_max is "
                         "%d: take 2 launches, or 0 for the faster of both",
                         FBQ__MAX_M_WHOLE, problem->m_max);
    if (kernel == FBQ_KERNEL_FUSED && problem->launches == 1 && l.rank_tiles && p.slices == 0)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "problem.launches is 1, but the layer has %lld tiles of 16 ranks and only "
                         "%lld blocks to share the down-projection: take 2 launches",
                         (long long)l.rank_tiles, (long long)fbq__blocks(&l, gpu, &p));
    if (kernel == FBQ_KERNEL_FUSED && fbq_pick_check(problem, gpu, &p, NULL) == FBQ_ERR_PICK)
        return fbq__fail(
            error, FBQ_ERR_UNSUPPORTED, 0,
            "problem.shape has ranks of %lld in all, and m_max is %d: t does not fit into the %d "
            "bytes of shared memory a block of this GPU may have; %s, or lower m_max",
            (long long)fbq__ranks(&problem->shape), problem->m_max, gpu->shared_block,
            fbq__segmented(&l) ? "launch fewer segments in one call" : "split the sub-branch");
    FBQ__TRY(fbq_pick_check(problem, gpu, &p, error));
    *pick = p;
    return FBQ_OK;
}

int fbq_pick_print(const fbq_pick *pick, char *text, size_t bytes)
{
    char line[256]; /* longer than every field's name and number together */
    size_t at = 0;
    if (!pick)
        return snprintf(text, bytes, "no pick");
    at += (size_t)snprintf(line, sizeof line, "%s",
                           (unsigned)pick->kernel < FBQ_KERNELS ? fbq__kernel_name[pick->kernel]
                                                                : "?");
#define FBQ__PRINT(field) \
    at += (size_t)snprintf(line + at, sizeof line - at, " %s=%d", #field, pick->field);
    FBQ_PICK_FIELDS(FBQ__PRINT)
#undef FBQ__PRINT
    return snprintf(text, bytes, "%s", line);
}

fbq_status fbq_pick_parse(const char *text, fbq_pick *pick, fbq_error *error)
{
    fbq_pick p;
    int found = 0, used = 0;
    char name[32], field[32];
    FBQ__NOT_NULL(text, error);
    FBQ__NOT_NULL(pick, error);
    memset(&p, 0, sizeof p);
    if (sscanf(text, "%31s%n", name, &used) != 1)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "the pick's text is empty");
    for (found = 0; found < FBQ_KERNELS && strcmp(name, fbq__kernel_name[found]); found++)
        ;
    if (found == FBQ_KERNELS)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "the pick is for kernel \"%s\"; expected down or "
                         "fused",
                         name);
    p.kernel = (fbq_kernel)found;
    /* used stays 0 where no "=" follows the name */
    for (text += used, used = 0; sscanf(text, " %31[a-z_]=%n", field, &used) == 1 && used;
         text += used, used = 0) {
        char *end;
        long value = strtol(text + used, &end, 10);
        int known = 0;
        if (end == text + used || value < INT32_MIN || value > INT32_MAX)
            return fbq__fail(error, FBQ_ERR_PICK, 0, "the pick's field %s has no number", field);
#define FBQ__PARSE(member)         \
    if (!strcmp(field, #member)) { \
        p.member = (int)value;     \
        known = 1;                 \
    }
        FBQ_PICK_FIELDS(FBQ__PARSE)
#undef FBQ__PARSE
        if (!known)
            return fbq__fail(error, FBQ_ERR_PICK, 0, "a pick has no field \"%s\"", field);
        if (*end && !strchr(" \t\n", *end))
            return fbq__fail(error, FBQ_ERR_PICK, 0,
                             "the pick's field %s is followed by \"%.20s\"; expected a blank",
                             field, end);
        used = (int)(end - text);
    }
    if (text[strspn(text, " \t\n")])
        return fbq__fail(error, FBQ_ERR_PICK, 0, "cannot read the pick from \"%.40s\" on", text);
    *pick = p;
    return FBQ_OK;
}

#endif /* FBQ_HOST_SELECT_H */
