/* main.c: fbq-demo, from a layer's weights and inputs to a table.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* isatty */
#include "outcome.h"

#include <fbq/host/half.h>
#include <fbquant.h>
#include <gram.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROWS 8 /* of x in the kernel check: the most that a call takes */

typedef struct demo {
    arguments arguments;
    source source;
    findings findings;
    run_gpu *gpu;                  /* NULL: run on the CPU */
    double *h, *heldout;           /* Gram matrices of the two texts */
    double energy, heldout_energy; /* tr(W H W^T) */
    double *distance;              /* n x k */
    uint16_t x[ROWS * 16384];      /* held-out activations, fp16 */
    int live;                      /* standard error is a terminal: show steps as they go by */
    fbq_error error;
} demo;

static double seconds(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int fail(const demo *d, const char *what)
{
    fprintf(stderr, "fbq-demo: %s: %s\n", what, d->error.detail);
    return 0;
}

static int prepare_grams(demo *d)
{
    source *s = &d->source;
    const size_t square = (size_t)(s->k * s->k), count = (size_t)(s->n * s->k);
    d->h = calloc(square, sizeof *d->h);
    d->heldout = calloc(square, sizeof *d->heldout);
    d->distance = calloc(count, sizeof *d->distance);
    if (d->h == NULL || d->heldout == NULL || d->distance == NULL ||
        !gram_add(s->calibration, s->calibration_tokens, s->k, d->h) ||
        !gram_add(s->heldout, s->heldout_tokens, s->k, d->heldout)) {
        fprintf(stderr, "fbq-demo: no memory for the Gram matrices\n");
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        d->distance[i] = s->w[i];
    d->energy = gram_loss(d->h, s->n, s->k, d->distance);
    d->heldout_energy = gram_loss(d->heldout, s->n, s->k, d->distance);
    if (s->k > (int64_t)(sizeof d->x / sizeof *d->x / ROWS) || s->heldout_tokens < ROWS) {
        fprintf(stderr, "fbq-demo: a layer of %lld inputs is too wide for the demo\n",
                (long long)s->k);
        return 0;
    }
    /* Rows from all over the held-out text. */
    for (int64_t i = 0; i < ROWS; i++)
        for (int64_t j = 0; j < s->k; j++)
            d->x[i * s->k + j] =
                fbq_f16_of_f32(s->heldout[i * (s->heldout_tokens / ROWS) * s->k + j]);
    return 1;
}

static void choose_device(demo *d)
{
    findings *f = &d->findings;
    f->device = "the CPU (each GPU thread a fibre)";
    if (d->arguments.cpu) {
        snprintf(f->why_cpu, sizeof f->why_cpu, "--cpu asks for it");
        return;
    }
    if (run_gpu_open(&d->gpu, &d->error) != FBQ_OK) {
        snprintf(f->why_cpu, sizeof f->why_cpu, "%s", d->error.detail);
        return;
    }
    f->device = run_gpu_name(d->gpu);
    f->on_gpu = 1;
}

/* ---- one method ---- */

typedef enum method { RTN, SVD, EORA, FBQUANT, FBQUANT_FROM_EORA, METHODS } method;

static const char *const NAMES[METHODS] = {"RTN", "SVD of residual", "EoRA", "FBQuant",
                                           "FBQuant from EoRA"};

static void watch(void *user, const fbquant_state *state)
{
    const demo *d = user;
    if (d->live && state->step % 20 == 0)
        fprintf(stderr, "\r  step %d of %d ", state->step, d->arguments.steps);
}

static fbq_status calibrate(demo *d, const calibrate_problem *p, method which,
                            const calibrate_layer *eora, calibrate_layer *layer)
{
    fbquant_options options = {.steps = (d->arguments.steps + 1) / 2,
                               .row_steps = d->arguments.steps / 2,
                               .seed = (uint64_t)d->arguments.seed,
                               .watch = watch,
                               .user = d};
    switch (which) {
    case RTN:
        return calibrate_rtn(p, layer, &d->error);
    case SVD:
        return calibrate_svd(p, layer, &d->error);
    case EORA:
        return calibrate_eora(p, layer, &d->error);
    default:
        if (which == FBQUANT_FROM_EORA) {
            options.start = FBQUANT_START_LAYER;
            options.from = eora;
        }
        return calibrate_fbquant(p, &options, layer, NULL, &d->error);
    }
}

static int judge_losses(demo *d, const packed *layer, outcome *o)
{
    const source *s = &d->source;
    if (packed_distance(layer, s->w, d->distance, &d->error) != FBQ_OK ||
        bound_check(&layer->parts, s->w, &o->bound, &d->error) != FBQ_OK)
        return fail(d, o->method);
    const double bytes =
        (double)(layer->layout.weights_bytes + layer->layout.down_bytes + layer->layout.up_bytes);
    o->bits_a_weight = 8 * bytes / (double)(s->n * s->k);
    o->calibration = gram_loss(d->h, s->n, s->k, d->distance) / d->energy;
    o->heldout = gram_loss(d->heldout, s->n, s->k, d->distance) / d->heldout_energy;
    return 1;
}

/* y against the reference in double, at the same fp16 x. */
static int judge_kernels(demo *d, const packed *layer, const uint16_t *y, outcome *o)
{
    const int64_t n = layer->layout.n, k = layer->layout.shape.k;
    double *x = malloc(sizeof *x * (size_t)(ROWS * k));
    double *wanted = malloc(sizeof *wanted * (size_t)(ROWS * n));
    double *scale = malloc(sizeof *scale * (size_t)(ROWS * n));
    double error_squares = 0, squares = 0;
    int ok = x != NULL && wanted != NULL && scale != NULL;
    for (int64_t i = 0; ok && i < ROWS * k; i++)
        x[i] = fbq_f32_of_f16(d->x[i]);
    if (!ok)
        calibrate_fail(&d->error, FBQ_ERR_OUT_OF_HOST, "no memory for the reference");
    else
        ok = fbq_reference(&layer->parts, 0, n, ROWS, x, wanted, scale, &d->error) == FBQ_OK;
    for (int64_t i = 0; ok && i < ROWS * n; i++) {
        const double off = fbq_f32_of_f16(y[i]) - wanted[i];
        const double part = fabs(off) / (scale[i] * 0x1p-11);
        if (!(part <= o->kernel_bound)) /* NaN is kept, and is found later */
            o->kernel_bound = isnan(o->kernel_bound) ? o->kernel_bound : part;
        error_squares += off * off;
        squares += wanted[i] * wanted[i];
    }
    o->kernel_norm = sqrt(error_squares / squares);
    free(x);
    free(wanted);
    free(scale);
    return ok ? 1 : fail(d, "fbq_reference");
}

static int run_kernels(demo *d, const packed *layer, outcome *o)
{
    const fbq_problem problem = {.format = layer->layout.format,
                                 .shape = layer->layout.shape,
                                 .x_type = FBQ_F16,
                                 .y_type = FBQ_F16,
                                 .m_max = ROWS};
    const size_t count = (size_t)(ROWS * layer->layout.n);
    uint16_t *y = malloc(count * sizeof *y);
    if (y == NULL) {
        calibrate_fail(&d->error, FBQ_ERR_OUT_OF_HOST, "no memory for y");
        return fail(d, "kernels");
    }
    memset(y, 0xff, count * sizeof *y); /* NaN: an output that is not written is seen */
    const fbq_status status =
        d->gpu != NULL ? run_gpu_layer(d->gpu, &problem, layer, ROWS, d->x, y, &o->times, &d->error)
                       : run_cpu_layer(&problem, layer, ROWS, d->x, y, &d->error);
    int ok = 1;
    if (status == FBQ_OK) {
        o->ran = 1;
        ok = judge_kernels(d, layer, y, o);
    } else if (status == FBQ_ERR_UNSUPPORTED) {
        snprintf(o->why_not, sizeof o->why_not, "%.199s", d->error.detail);
    } else {
        ok = fail(d, "kernels");
    }
    free(y);
    return ok;
}

static int try_method(demo *d, const calibrate_problem *p, method which,
                      const calibrate_layer *eora, calibrate_layer *layer)
{
    outcome *o = &d->findings.list[d->findings.count++];
    packed bytes = {0};
    *o = (outcome){.method = NAMES[which], .bits = p->format.bits};
    o->promises_bound = which == RTN || which == FBQUANT || which == FBQUANT_FROM_EORA;
    fprintf(stderr, "W%d %s ...%s", o->bits, o->method, d->live ? "\n" : "");
    const double start = seconds();
    if (calibrate(d, p, which, eora, layer) != FBQ_OK)
        return fail(d, o->method);
    o->seconds = seconds() - start;
    fprintf(stderr, "%s calibrated in %.1f s\n", d->live ? "\r " : "", o->seconds);
    int ok = packed_of(layer, &bytes, &d->error) == FBQ_OK ? 1 : fail(d, "packing");
    ok = ok && judge_losses(d, &bytes, o) && run_kernels(d, &bytes, o);
    packed_free(&bytes);
    const outcome *rtn = o - which; /* methods come in order, RTN first */
    o->over_rtn = o->calibration / rtn->calibration;
    o->heldout_over_rtn = o->heldout / rtn->heldout;
    return ok;
}

static int try_bits(demo *d, int bits)
{
    const calibrate_problem problem = {.n = d->source.n,
                                       .k = d->source.k,
                                       .rank = d->arguments.rank,
                                       .w = d->source.w,
                                       .h = d->h,
                                       .format = {.bits = bits,
                                                  .group = d->arguments.group,
                                                  .zero = FBQ_ZERO_F16,
                                                  .scale_type = FBQ_F16,
                                                  .factor_type = FBQ_F16}};
    calibrate_layer layers[METHODS] = {{0}};
    int ok = 1;
    for (int i = 0; ok && i < METHODS; i++)
        ok = try_method(d, &problem, (method)i, &layers[EORA], &layers[i]);
    for (int i = 0; i < METHODS; i++)
        calibrate_layer_free(&layers[i]);
    return ok;
}

static int run(demo *d)
{
    if (!source_open(&d->arguments, &d->source) || !prepare_grams(d))
        return 0;
    d->findings.arguments = &d->arguments;
    d->findings.source = &d->source;
    choose_device(d);
    if (!try_bits(d, 4) || !try_bits(d, 3))
        return 0;
    if (!d->arguments.json)
        print_table(&d->findings);
    else if (!print_json(&d->findings)) {
        fprintf(stderr, "fbq-demo: no memory for the JSON\n");
        return 0;
    }
    return findings_good(&d->findings);
}

int main(int count, char **words)
{
    demo *d = calloc(1, sizeof *d);
    if (d == NULL) {
        fprintf(stderr, "fbq-demo: no memory\n");
        return 1;
    }
    d->live = isatty(STDERR_FILENO);
    const arguments_end end = arguments_read(count, words, &d->arguments);
    int status = end == ARGUMENTS_WRONG ? 2 : 0;
    if (end == ARGUMENTS_RUN)
        status = run(d) ? 0 : 1;
    run_gpu_close(d->gpu);
    source_free(&d->source);
    free(d->h);
    free(d->heldout);
    free(d->distance);
    free(d);
    return status;
}
