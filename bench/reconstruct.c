/* bench/reconstruct.c: fbq-bench-reconstruct: writing the weights out, beside a kernel that only
 * writes as many bytes.
 *
 * Weights and outputs rotate over more than the L2 cache, or with --hot stay the same. A result is
 * right when all of w is finite, and the sampled rows times x are what the reference says.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/host/half.h>

#include "floor.h"
#include "kernels.h"
#include "layers.h"

#define LAUNCHES 64
#define COARSE_REPLAYS 5
#define MOST_ERROR 1e-3

typedef struct job {
    const options *o;
    gpu *g;
    layers *l;
    fbq_context *context;
    /* of the variant in hand */
    fbq_reconstruct_plan *plan;
    int64_t columns;
    int factors;    /* the call brings A and B */
    uint8_t *w;     /* `outputs` of them */
    size_t w_bytes; /* of one, whole vectors */
    int outputs;
    int unroll, grid, block, pdl; /* of the write kernel */
} job;

static int write_enqueue(void *user, int layer, cudaStream_t stream, fail *f)
{
    const job *j = user;
    CUDA(f, write_launch(j->w + (size_t)(layer % j->outputs) * j->w_bytes, j->w_bytes / 16,
                         (unsigned)layer, j->unroll, j->grid, j->block, j->pdl, stream));
    return 0;
}

static int reconstruct_enqueue(void *user, int layer, cudaStream_t stream, fail *f)
{
    const job *j = user;
    const layers *l = j->l;
    const size_t i = (size_t)(layer % l->count);
    fbq_reconstruct_call call;
    memset(&call, 0, sizeof call);
    call.weights = l->weights + i * l->weights_stride;
    if (j->factors) {
        call.down = l->down + i * l->down_stride;
        call.up = l->up + i * l->up_stride;
    }
    call.w = j->w + (size_t)(layer % j->outputs) * j->w_bytes;
    const fbq_status status = fbq_reconstruct_gpu(j->plan, &call, stream);
    return status == FBQ_OK ? 0 : failf(f, "fbq_reconstruct_gpu: %s", fbq_status_string(status));
}

/* The fastest of some shapes of the write kernel. */
static int write_floor(job *j, timing *best, fail *f)
{
    static const int unrolls[] = {1, 4}, blocks[] = {128, 256, 512, 1024},
                     waves[] = {1024, 2048, 4096, 16384};
    job least = *j;
    best->median = 0;
    for (int i = 0; i < 2 * 4 * 4 * 2; i++) {
        timing t;
        sequence s = {write_enqueue, j, j->outputs};
        j->unroll = unrolls[i % 2];
        j->block = blocks[i / 2 % 4];
        j->grid = j->g->sms * waves[i / 8 % 4] / j->block;
        j->pdl = i / 32;
        if (j->pdl && !j->g->pdl)
            break;
        TRY(graph_time(j->g, &s, LAUNCHES, COARSE_REPLAYS, &t, f));
        if (best->median == 0 || t.median < best->median) {
            *best = t;
            least = *j;
        }
    }
    *j = least;
    sequence s = {write_enqueue, j, j->outputs};
    return graph_time(j->g, &s, LAUNCHES, j->o->replays, best, f);
}

/* Sampled rows of w times x, put where layers_check looks for y. */
static int check(job *j, truth what, double *error, fail *f)
{
    layers *l = j->l;
    const size_t count = (size_t)(l->n * j->columns);
    uint16_t *w, *y;
    int failed = 0;
    CUDA(f, cudaMemsetAsync(j->w, 0xff, j->w_bytes, j->g->stream));
    TRY(reconstruct_enqueue(j, 0, j->g->stream, f));
    w = malloc(count * sizeof *w);
    y = calloc((size_t)l->n, sizeof *y);
    if (!w || !y)
        failed = failf(f, "no host memory for %zu numbers", count);
    if (!failed)
        failed = gpu_download(j->g, w, j->w, count * sizeof *w, f);
    for (size_t i = 0; !failed && i < count; i++)
        if (!isfinite(fbq_f32_of_word(l->type, w[i])))
            failed = failf(f, "wrong result: w[%zu][%zu] is not finite, or not written",
                           i / (size_t)j->columns, i % (size_t)j->columns);
    for (int i = 0; !failed && i < SAMPLED_TILES; i++)
        for (int row = 0; row < l->rows[i]; row++) {
            const int64_t n = l->tile[i] * FBQ_TILE + row;
            double sum = 0;
            for (int64_t k = 0; k < l->k; k++)
                sum += fbq_f32_of_word(l->type, w[n * j->columns + k]) * l->x_double[k];
            y[n] = fbq_word_of_f32(l->type, (float)sum);
        }
    if (!failed)
        failed = gpu_upload(j->g, l->y, y, (size_t)l->n * sizeof *y, f) ||
                 layers_check(l, what, 1, (l->type == FBQ_F16 ? 1 : 8) * MOST_ERROR, error, f);
    free(w);
    free(y);
    return failed;
}

static void print_row(const job *j, const char *name, const char *format, const timing *t,
                      const timing *floor, double error)
{
    const double bytes = (double)(j->l->n * j->columns * 2);
    printf("| %s | %s | %d | %lld x %lld | %.2f | %.1f %% | %.0f | %.2f | %.0f %% | %.1e |\n", name,
           format, j->o->rank, (long long)j->l->n, (long long)j->l->k, t->median, 100 * t->spread,
           bytes / t->median * 1e-3, floor->median, 100 * floor->median / t->median, error);
    fflush(stdout);
}

/* One variant of the layer in hand: rank 0 is the codes alone. */
static int measure(job *j, const char *name, int64_t rank, int concatenate, fail *f)
{
    layers *l = j->l;
    const fbq_reconstruction what = {l->format, fbq_shape_of(l->n, l->k, rank), l->type,
                                     concatenate};
    timing floor, t;
    char format[32];
    double error = 0;
    fbq_error why;
    memset(&why, 0, sizeof why);
    options_format_name(j->o, format, sizeof format);
    j->columns = l->k + (concatenate ? rank : 0);
    j->factors = rank > 0;
    j->w_bytes = ((size_t)(l->n * j->columns) * 2 + 255) / 256 * 256;
    j->outputs = rotation_layers(
        j->w_bytes, 2 * j->g->l2_bytes > 400000000u ? 2 * j->g->l2_bytes : 400000000u, j->o->hot);
    TRY(gpu_alloc(j->g, &j->w, (size_t)j->outputs * j->w_bytes, "w", f));
    TRY(write_floor(j, &floor, f));
    if (fbq_prepare_reconstruct(j->context, &what, &j->plan, &why) != FBQ_OK)
        return failf(f, "fbq_prepare_reconstruct: %s", why.detail);
    sequence s = {reconstruct_enqueue, j, l->count > j->outputs ? l->count : j->outputs};
    int failed = check(j, rank && !concatenate ? TRUTH_BRANCH : TRUTH_INT4, &error, f) ||
                 graph_time(j->g, &s, LAUNCHES, j->o->replays, &t, f);
    if (!failed)
        print_row(j, name, format, &t, &floor, error);
    if (!j->g->lost)
        fbq_reconstruct_plan_free(j->plan);
    j->plan = NULL;
    return failed;
}

static int measure_shape(job *j, int64_t n, int64_t k, fail *f)
{
    const size_t cold = 2 * j->g->l2_bytes > 400000000u ? 2 * j->g->l2_bytes : 400000000u;
    int failed = layers_open(j->l, j->g, j->o, n, k, cold, f) ||
                 (j->o->rank > 0 && (measure(j, "reconstruct", j->o->rank, 0, f) ||
                                     measure(j, "concatenate", j->o->rank, 1, f))) ||
                 measure(j, "codes alone", 0, 0, f);
    gpu_free(j->g, &j->w);
    layers_close(j->l);
    return failed;
}

int main(int argc, char **argv)
{
    static options o;
    static layers l;
    static gpu g;
    fbq_options how;
    fbq_error error;
    fail f;
    int failures = 0;
    memset(&how, 0, sizeof how);
    memset(&error, 0, sizeof error);
    if (options_take(&o, &argc, argv, &f)) {
        fprintf(stderr, "fbq-bench-reconstruct: %s\n", f.text);
        return 2;
    }
    if (o.help) {
        printf("fbq-bench-reconstruct: --preset, --shape, --bits, --rank, --group, --zero, --type, "
               "--hot,\n--ptx, --replays, --device and --require-gpu of\n\n");
        options_help();
        return 0;
    }
    if (o.segments > 1) {
        fprintf(stderr, "fbq-bench-reconstruct: --segments is fbq-bench's alone\n");
        return 2;
    }
    if (gpu_open(&g, o.device, &f)) {
        fprintf(stderr, "fbq-bench-reconstruct: %s. NOTHING WAS MEASURED\n", f.text);
        return o.require_gpu;
    }
    how.device = o.device;
    how.ptx = o.ptx;
    job j = {&o, &g, &l, NULL, NULL, 0, 0, NULL, 0, 0, 0, 0, 0, 0};
    if (fbq_open(&how, &j.context, &error) != FBQ_OK) {
        fprintf(stderr, "fbq-bench-reconstruct: %s\n", error.detail);
        return 1;
    }
    printf("%s, %s weights and outputs, median of %d replays\n\n", g.name, options_temperature(&o),
           o.replays);
    printf(
        "| variant | format | rank | N x K | us | spread | GB/s written | writing alone, us | of "
        "its rate | error |\n|---|---|---|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < o.shapes && !g.lost; i++)
        if (measure_shape(&j, o.shape[i].n, o.shape[i].k, &f)) {
            fprintf(stderr, "fbq-bench-reconstruct: %lld x %lld FAILED: %s\n",
                    (long long)o.shape[i].n, (long long)o.shape[i].k, f.text);
            failures++;
        }
    fflush(NULL);
    if (g.lost) /* a hanging GPU would hold up every clean end */
        _Exit(1);
    fbq_close(j.context);
    return failures > 0;
}
