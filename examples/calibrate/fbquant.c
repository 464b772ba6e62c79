/* fbquant.c: the descent, and which of its steps is kept.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fbquant.h"

#include <fbq/host/half.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PI 3.14159265358979323846 /* M_PI is not in ISO C */

/* Shorter memories than usual: the gradient's constant codes soon are not the real ones. */
#define ADAM_FIRST 0.5
#define ADAM_SECOND 0.99
/* Against 0 / 0 alone: where B starts at 0, the gradient of A is exactly 0. */
#define ADAM_EPSILON 1e-12

/* A and B in one array, A first, so that an update is one loop. */
typedef struct descent {
    int64_t in_a, count;
    float *values, *gradient, *mean, *square;
    uint16_t *rounded, *best;
    double *losses, *best_losses; /* of rows */
    int held;                     /* A is constant and rows are judged one by one */
} descent;

static void descent_free(descent *d)
{
    free(d->values);
    free(d->gradient);
    free(d->mean);
    free(d->square);
    free(d->rounded);
    free(d->best);
    free(d->losses);
    free(d->best_losses);
}

static int descent_new(const calibrate_problem *p, descent *d)
{
    *d = (descent){.in_a = p->rank * p->k, .count = p->rank * (p->k + p->n)};
    const size_t count = (size_t)d->count;
    d->values = calloc(count, sizeof *d->values);
    d->gradient = calloc(count, sizeof *d->gradient);
    d->mean = calloc(count, sizeof *d->mean);
    d->square = calloc(count, sizeof *d->square);
    d->rounded = calloc(count, sizeof *d->rounded);
    d->best = calloc(count, sizeof *d->best);
    d->losses = calloc((size_t)p->n, sizeof *d->losses);
    d->best_losses = calloc((size_t)p->n, sizeof *d->best_losses);
    return d->values != NULL && d->gradient != NULL && d->mean != NULL && d->square != NULL &&
           d->rounded != NULL && d->best != NULL && d->losses != NULL && d->best_losses != NULL;
}

/* SplitMix64: the same numbers everywhere, from any seed. */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Box and Muller's normal numbers; u is never 0. */
static double normal(uint64_t *state)
{
    const double u = (double)((next(state) >> 11) + 1) / 9007199254740992.0;
    const double v = (double)(next(state) >> 11) / 9007199254740992.0;
    return sqrt(-2 * log(u)) * cos(2 * PI * v);
}

static fbq_status begin(const calibrate_problem *p, const fbquant_options *o, double unit,
                        descent *d, fbq_error *error)
{
    if (o->start == FBQUANT_START_ZERO) {
        uint64_t state = o->seed;
        const double sigma = (o->sigma > 0 ? o->sigma : FBQUANT_SIGMA) * unit;
        for (int64_t i = 0; i < d->in_a; i++)
            d->values[i] = (float)(sigma * normal(&state));
        return FBQ_OK;
    }
    const calibrate_layer *from = o->from;
    if (from == NULL || from->n != p->n || from->k != p->k || from->rank != p->rank)
        return calibrate_fail(error, FBQ_ERR_RANK,
                              "options->from is %s: expected factors of rank %lld for %lld x %lld",
                              from ? "of another size" : "NULL", (long long)p->rank,
                              (long long)p->n, (long long)p->k);
    for (int64_t i = 0; i < d->count; i++)
        d->values[i] = fbq_f32_of_f16(i < d->in_a ? from->a[i] : from->b[i - d->in_a]);
    return FBQ_OK;
}

/* `unit` is the size of a factor's number in a layer scaled to rms(W) = 1, `scale` what makes the
 * gradient that of such a layer. */
static void adam(descent *d, int step, double rate, double unit, double scale)
{
    const double mend_first = 1 - pow(ADAM_FIRST, step + 1);
    const double mend_second = 1 - pow(ADAM_SECOND, step + 1);
    for (int64_t i = d->held ? d->in_a : 0; i < d->count; i++) {
        const double g = d->gradient[i] * scale;
        const double m = ADAM_FIRST * d->mean[i] + (1 - ADAM_FIRST) * g;
        const double v = ADAM_SECOND * d->square[i] + (1 - ADAM_SECOND) * g * g;
        d->mean[i] = (float)m;
        d->square[i] = (float)v;
        d->values[i] -=
            (float)(rate * unit * (m / mend_first) / (sqrt(v / mend_second) + ADAM_EPSILON));
    }
}

static void plain(descent *d, double rate)
{
    for (int64_t i = d->held ? d->in_a : 0; i < d->count; i++)
        d->values[i] -= (float)(rate * d->gradient[i]);
}

static double total(const double *losses, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += losses[i];
    return sum;
}

/* Keep what is better than the best so far: NaN never is. */
static void keep_all(const calibrate_problem *p, descent *d, int step, fbquant_report *report)
{
    const double loss = total(d->losses, p->n);
    if (step > 0 && !(loss < report->best_loss))
        return;
    report->best_loss = loss;
    report->best_step = step;
    memcpy(d->best, d->rounded, (size_t)d->count * sizeof *d->best);
    memcpy(d->best_losses, d->losses, (size_t)p->n * sizeof *d->losses);
}

static void keep_rows(const calibrate_problem *p, descent *d, fbquant_report *report)
{
    const uint16_t *from = d->rounded + d->in_a;
    for (int64_t row = 0; row < p->n; row++) {
        if (!(d->losses[row] < d->best_losses[row]))
            continue;
        d->best_losses[row] = d->losses[row];
        memcpy(d->best + d->in_a + row * p->rank, from + row * p->rank,
               (size_t)p->rank * sizeof *from);
    }
    report->best_loss = total(d->best_losses, p->n);
}

/* Loss and gradient where the descent stands; remembers the best place. */
static fbq_status look(fbquant_work *work, const calibrate_problem *p, const fbquant_options *o,
                       int step, descent *d, fbquant_report *report, fbq_error *error)
{
    for (int64_t i = 0; i < d->count; i++)
        d->rounded[i] = fbq_f16_of_f32(d->values[i]);
    const fbq_status status = fbquant_gradient(work, d->rounded, d->rounded + d->in_a, 0, d->losses,
                                               d->gradient, d->gradient + d->in_a, error);
    if (status != FBQ_OK)
        return status;
    if (d->held)
        keep_rows(p, d, report);
    else
        keep_all(p, d, step, report);
    const double loss = total(d->losses, p->n);
    if (step == 0)
        report->first_loss = loss;
    if (o->watch != NULL) {
        const fbquant_state state = {.step = step,
                                     .loss = loss,
                                     .rank = p->rank,
                                     .n = p->n,
                                     .k = p->k,
                                     .a = d->values,
                                     .b = d->values + d->in_a,
                                     .da = d->gradient,
                                     .db = d->gradient + d->in_a};
        o->watch(o->user, &state);
    }
    return FBQ_OK;
}

/* What turns gradients and rates into those of a layer with rms(W) = 1 and a mean diagonal of H of
 * 1, where rates carry over. Only they are scaled: the numbers themselves must keep their size,
 * since fp16 rounds them. With W = rms W', A = unit A', B = unit B': dL'/dA' = unit / rms^2 dL/dA.
 */
typedef struct scaling {
    double h, unit, gradient;
} scaling;

static fbq_status phase(fbquant_work *work, const calibrate_problem *p, const fbquant_options *o,
                        const scaling *scale, int first, int steps, descent *d,
                        fbquant_report *report, fbq_error *error)
{
    const double rate = o->rate > 0 ? o->rate : FBQUANT_RATE;
    fbq_status status = look(work, p, o, first, d, report, error);
    for (int step = 0; step < steps && status == FBQ_OK; step++) {
        if (o->update == FBQUANT_ADAM)
            adam(d, step, rate * 0.5 * (1 + cos(PI * step / steps)), scale->unit, scale->gradient);
        else
            plain(d, rate);
        status = look(work, p, o, first + step + 1, d, report, error);
        /* Factors that left fp16 end the phase, not the result: an earlier step is kept. */
        if (status == FBQ_ERR_CODE)
            return FBQ_OK;
    }
    return status;
}

static fbq_status choose_scaling(const calibrate_problem *p, fbquant_update update, scaling *scale,
                                 fbq_error *error)
{
    double squares = 0, trace = 0;
    for (int64_t i = 0; i < p->n * p->k; i++)
        squares += (double)p->w[i] * p->w[i];
    for (int64_t i = 0; i < p->k; i++)
        trace += p->h[i * p->k + i];
    if (!(squares > 0) || !(trace > 0))
        return calibrate_fail(error, FBQ_ERR_SIZE, "problem->%s is all zeros: nothing to learn",
                              squares > 0 ? "h" : "w");
    const double rms = sqrt(squares / (double)(p->n * p->k));
    scale->h = update == FBQUANT_ADAM ? (double)p->k / trace : 1;
    scale->unit = sqrt(rms);
    scale->gradient = scale->unit / (rms * rms);
    return FBQ_OK;
}

static fbq_status descend(const calibrate_problem *p, const fbquant_options *o, descent *d,
                          fbquant_report *report, fbq_error *error)
{
    scaling scale = {0};
    fbq_status status = choose_scaling(p, o->update, &scale, error);
    if (status == FBQ_OK)
        status = begin(p, o, scale.unit, d, error);
    if (status != FBQ_OK)
        return status;
    fbquant_work *work = fbquant_work_new(p, scale.h);
    if (work == NULL)
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the descent");
    status = phase(work, p, o, &scale, 0, o->steps, d, report, error);
    if (status == FBQ_OK && o->row_steps > 0) {
        for (int64_t i = 0; i < d->count; i++) {
            d->values[i] = fbq_f32_of_f16(d->best[i]);
            d->mean[i] = d->square[i] = 0;
        }
        d->held = 1;
        status = phase(work, p, o, &scale, o->steps + 1, o->row_steps, d, report, error);
    }
    report->first_loss /= scale.h;
    report->best_loss /= scale.h;
    fbquant_work_free(work);
    return status;
}

fbq_status calibrate_fbquant(const calibrate_problem *problem, const fbquant_options *options,
                             calibrate_layer *layer, fbquant_report *report, fbq_error *error)
{
    descent d = {0};
    fbquant_report own;
    fbq_status status = calibrate_layer_new(problem, problem->rank, layer, error);
    if (status != FBQ_OK)
        return status;
    report = report != NULL ? report : &own;
    *report = (fbquant_report){0};
    if (options->steps < 0 || options->row_steps < 0 || problem->rank < 1)
        status = calibrate_fail(error, problem->rank < 1 ? FBQ_ERR_RANK : FBQ_ERR_SIZE,
                                "%d and %d steps at rank %lld: expected 0 or more, and at least 1",
                                options->steps, options->row_steps, (long long)problem->rank);
    else if (!descent_new(problem, &d))
        status = calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the factors");
    if (status == FBQ_OK)
        status = descend(problem, options, &d, report, error);
    if (status == FBQ_OK) {
        memcpy(layer->a, d.best, (size_t)d.in_a * sizeof *layer->a);
        memcpy(layer->b, d.best + d.in_a, (size_t)(d.count - d.in_a) * sizeof *layer->b);
        status = calibrate_codes(problem, layer, error);
    }
    if (status != FBQ_OK)
        calibrate_layer_free(layer);
    descent_free(&d);
    return status;
}
