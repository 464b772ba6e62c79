/* predict.c: see predict.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "predict.h"

#include <math.h>
#include <string.h>

#include <fbq/host/choose.h>

/* Of a data sheet's bandwidth, what a kernel that only reads gets (4.3 of 4.8 TB/s, H200). */
#define REACHED 0.896
/* Exponent of the soft maximum of the codes and of t, which are made side by side. */
#define BESIDE 6

const model predict_model = {
#define MODEL_VALUE(field, value) value,
    MODEL_FIELDS(MODEL_VALUE)
#undef MODEL_VALUE
};

/* What the phases are reckoned from. */
typedef struct parts {
    const model *c;
    const fbq_pick *pick;
    fbq_layout l;
    double us_of_cycle, bytes_of_us; /* the latter of all memory */
    int m, resident, paired;
    double columns;                        /* in eights */
    double own, units, share, steps, busy; /* of a block: tiles; of a tile in it: units; of its
                                            * warp: units of a tile, steps in all; warps at work */
    double x_times;                        /* that x is made ready */
} parts;

static double share_of(double of, double among)
{
    return ceil(of / among);
}

static int parts_of(parts *p, const fbq_problem *problem, const fbq_gpu *gpu,
                    const gpu_speed *speed)
{
    fbq__fixed f;
    memset(&f, 0, sizeof f);
    if (fbq_layout_of(&problem->format, &problem->shape, &f.layout, NULL) != FBQ_OK)
        return 0;
    f.gpu = *gpu;
    f.problem = *problem;
    f.fused = *p->pick;
    fbq__fix(&f);
    p->l = f.layout;
    p->us_of_cycle = 1 / speed->clock;
    p->bytes_of_us = 1e3 * REACHED * speed->bandwidth;
    p->m = problem->m_max;
    p->columns = p->m > 8 ? 2 : 1;
    p->resident = f.resident;
    p->paired = f.paired;
    p->own = (double)fbq__own(&p->l, gpu, p->pick);
    p->units = (double)fbq__units(&p->l) / fbq__splits(p->pick);
    p->share = (double)fbq__share(&p->l, p->pick);
    p->steps = p->own * (double)fbq__parts(&p->l, p->pick);
    p->busy = share_of(p->units, p->share);
    p->x_times = p->resident ? 1 : (double)fbq__groups(&p->l, gpu, p->pick);
    return 1;
}

static double soft_max(const double *values, int count, double exponent)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += pow(fmax(values[i], 1e-6), exponent);
    return pow(sum, 1 / exponent);
}

/* Microseconds of the codes. */
static double codes_of(const parts *p)
{
    const model *c = p->c;
    const double odd = p->l.format.bits == 4 ? 0 : c->odd;
    const double x = p->x_times * (p->m == 1 ? c->x : c->x_rows * p->m);
    const double unit_issue = p->m == 1 ? odd : c->product_rows * p->columns;
    const double unit = p->m == 1 ? c->unit : c->unit_rows * p->columns;
    const double phase[] = {
        (double)(p->l.weights_bytes + p->l.down_bytes + p->l.up_bytes) / p->bytes_of_us,
        p->steps * c->wait / p->pick->stages,
        /* four schedulers, and not all of x's time is issue */
        p->us_of_cycle * p->pick->blocks_per_sm *
            (p->own * p->units * unit_issue + p->busy * p->steps * c->step_issue +
             p->units * x / 5),
        p->us_of_cycle * (p->own * p->share * unit + p->share * x + p->steps * c->step)};
    return soft_max(phase, sizeof phase / sizeof *phase, c->sharp);
}

/* Microseconds until the sub-branch is ready to be added. */
static double branch_of(const parts *p, const fbq_gpu *gpu)
{
    const model *c = p->c;
    const double slices = p->pick->slices, widest = (double)fbq__widest(&p->l);
    const double up = p->own * widest * c->up * p->columns;
    if (!p->l.rank_tiles)
        return 0;
    if (!p->pick->slices)
        return c->down +
               p->us_of_cycle * (c->down_k * (double)p->l.shape.k + c->down_rows * p->m + up);
    const double pieces = share_of(share_of((double)p->l.chunks, slices), FBQ__BRANCH_WARPS);
    const double at_once = fbq__share_chunks(&p->l, gpu, p->pick, p->m, p->resident);
    const double words = slices * widest * (p->m == 1 ? c->word : c->word_rows * p->m);
    return c->exchange + p->us_of_cycle * (c->share * share_of(pieces, at_once) + words + up);
}

/* Microseconds lost by what is on its way beyond what is good. */
static double crowd_of(const parts *p, const fbq_gpu *gpu)
{
    const double stages = fmin(p->pick->stages, p->steps);
    const double held =
        p->pick->blocks_per_sm * p->busy * stages * (double)fbq__stage_bytes(&p->l, p->pick);
    const double sms = fmin((double)fbq__blocks(&p->l, gpu, p->pick), gpu->sms);
    return p->c->crowd * fmax(held - 1e3 * p->c->flight, 0) * sms / p->bytes_of_us;
}

double predict(const model *c, const fbq_problem *problem, const fbq_gpu *gpu,
               const gpu_speed *speed, const fbq_pick *pick)
{
    parts p;
    memset(&p, 0, sizeof p);
    p.c = c;
    p.pick = pick;
    if (pick->kernel != FBQ_KERNEL_FUSED || fbq_pick_check(problem, gpu, pick, NULL) != FBQ_OK ||
        !parts_of(&p, problem, gpu, speed))
        return 0;
    const double beside[] = {codes_of(&p), branch_of(&p, gpu)};
    const double split = fbq__splits(pick) > 1 ? c->split + c->split_tile * p.own : 0;
    const double launch =
        p.m > 1 ? c->launch_rows : c->launch + (p.l.rank_tiles && !pick->slices ? c->second : 0);
    return launch + soft_max(beside, 2, BESIDE) + crowd_of(&p, gpu) + split -
           (p.paired ? c->pair : 0);
}
