/* tests/gpu_reconstruct.c: reconstruct on a GPU, through NVRTC, against fbq_reconstruct in double.
 *
 *     gpu_reconstruct [--shard I/N] [--ptx CAPABILITY]
 *
 * Outputs are poisoned and guarded; every number is held to the bound of docs/numerics.md.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/host/half.h>

#include "support/device.h"
#include "support/layer.h"
#include "support/shard.h"

static double worst;

/* A layer on the host and on the GPU, and its scales and factors as they were before packing. */
typedef struct subject {
    layer l;
    device_layer d;
    int64_t ranks, widest;
    uint16_t *scales, *a, *b;
} subject;

static void *take(int64_t count, size_t size)
{
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);
    assert_non_null(memory);
    return memory;
}

static subject subject_make(const fbq_format *format, const fbq_shape *shape, layer_kind kind)
{
    const fbq_problem p = {*format, *shape, FBQ_F16, FBQ_F16, 1, 0, 0};
    subject s;
    memset(&s, 0, sizeof s);
    s.l = layer_make(&p, kind, 17);
    s.d = device_layer_make(&s.l);
    for (int i = 0; i < shape->segments; i++) {
        s.ranks += shape->segment[i].r;
        s.widest = shape->segment[i].r > s.widest ? shape->segment[i].r : s.widest;
    }
    const fbq_parts *parts = &s.l.parts;
    s.scales = take(s.l.layout.n * s.l.layout.groups, 2);
    s.a = take(s.ranks * shape->k, 2);
    s.b = take(s.l.layout.n * s.widest, 2);
    assert_int_equal(
        fbq_unpack_weights(parts->weights, parts->weights_bytes, NULL, s.scales, NULL, NULL),
        FBQ_OK);
    if (s.ranks) {
        assert_int_equal(fbq_unpack_down(parts->down, parts->down_bytes, s.a, NULL), FBQ_OK);
        assert_int_equal(fbq_unpack_up(parts->up, parts->up_bytes, s.b, s.widest, NULL), FBQ_OK);
    }
    return s;
}

static void subject_free(subject *s)
{
    device_layer_free(&s->d);
    layer_free(&s->l);
    free(s->scales);
    free(s->a);
    free(s->b);
}

/* The segment of a row, and the first of its ranks. */
static int segment_of(const subject *s, int64_t row, int64_t *first_rank)
{
    const fbq_shape *shape = &s->l.layout.shape;
    int i = 0;
    *first_rank = 0;
    for (; row >= shape->segment[i].n; i++) {
        row -= shape->segment[i].n;
        *first_rank += shape->segment[i].r;
    }
    return i;
}

/* How to run. */
typedef struct run {
    int64_t gap; /* words between rows */
    size_t shift;
    int concatenate, no_branch, exact;
} run;

/* docs/numerics.md, section 7, with tau = 20 for the tensor core. `sums`: of |B| |A|; `products`:
 * of B . A. */
static void judge_row(const subject *s, const fbq_reconstruction *what, const run *r, int64_t row,
                      const double *want, const double *sums, const double *products,
                      const uint16_t *got)
{
    const fbq_layout *l = &s->l.layout;
    const double v = ldexp(1, -24), unit = ldexp(1, what->w_type == FBQ_BF16 ? -8 : -11);
    int64_t first;
    const int64_t steps = (l->shape.segment[segment_of(s, row, &first)].r + 15) / 16;
    for (int64_t k = 0; k < l->shape.k; k++) {
        const double value = fbq_f32_of_word(what->w_type, got[k]);
        const double scale =
            fbq_f32_of_word(l->format.scale_type, s->scales[row * l->groups + k / l->group_size]);
        const double before =
            scale * ldexp(1, -18) +
            v * (2 * fabs(want[k] - products[k]) + fabs(want[k]) + 20 * (double)steps * sums[k]);
        const double bound = before * 1.01 + unit * (fabs(want[k]) + before) + ldexp(1, -25);
        const double ratio = fabs(value - want[k]) / bound;
        worst = ratio > worst ? ratio : worst;
        if (r->exact ? got[k] != fbq_word_of_f32(what->w_type, (float)want[k]) : !(ratio <= 1))
            fail_msg("bits %d group %d zero %d types %d %d %d k %lld concatenate %d: w[%lld][%lld] "
                     "is %.9g, expected %.9g within %.3g",
                     l->format.bits, l->format.group, (int)l->format.zero,
                     (int)l->format.scale_type, (int)l->format.factor_type, (int)what->w_type,
                     (long long)l->shape.k, r->concatenate, (long long)row, (long long)k, value,
                     want[k], bound);
    }
}

static void judge_up(const subject *s, const fbq_reconstruction *what, int64_t row,
                     const uint16_t *got)
{
    int64_t first;
    const int i = segment_of(s, row, &first);
    for (int64_t j = 0; j < s->ranks; j++) {
        const int own = j >= first && j < first + s->l.layout.shape.segment[i].r;
        const uint16_t want =
            own ? fbq_word_of_f32(what->w_type, fbq_f32_of_word(s->l.layout.format.factor_type,
                                                                s->b[row * s->widest + j - first]))
                : 0;
        assert_int_equal(got[j], want);
    }
}

/* Rows first .. first + rows - 1 of w. */
static void judge(const subject *s, const fbq_reconstruction *what, const run *r, int64_t first,
                  int64_t rows, const uint16_t *w, int64_t stride)
{
    const int64_t k_total = s->l.layout.shape.k;
    const int branch = s->ranks && !r->no_branch && !r->concatenate;
    double *want = take(rows * k_total, sizeof *want), *sums = take(k_total, sizeof *sums),
           *products = take(k_total, sizeof *products);
    fbq_parts parts = s->l.parts;
    if (!branch)
        parts.down = parts.up = NULL;
    assert_int_equal(fbq_reconstruct(&parts, first, rows, want, NULL), FBQ_OK);
    for (int64_t n = first; n < first + rows; n++) {
        int64_t rank;
        const int i = segment_of(s, n, &rank);
        memset(sums, 0, (size_t)k_total * sizeof *sums);
        memset(products, 0, (size_t)k_total * sizeof *products);
        for (int64_t j = 0; branch && j < s->l.layout.shape.segment[i].r; j++) {
            const fbq_type type = s->l.layout.format.factor_type;
            const double b = fbq_f32_of_word(type, s->b[n * s->widest + j]);
            for (int64_t k = 0; k < k_total; k++) {
                const double term = b * fbq_f32_of_word(type, s->a[(rank + j) * k_total + k]);
                sums[k] += fabs(term);
                products[k] += term;
            }
        }
        judge_row(s, what, r, n, want + (n - first) * k_total, sums, products, w + n * stride);
        if (r->concatenate)
            judge_up(s, what, n, w + n * stride + k_total);
    }
    free(want);
    free(sums);
    free(products);
}

static void run_once(const subject *s, fbq_type w_type, const run *r)
{
    const fbq_layout *l = &s->l.layout;
    fbq_reconstruction what = {l->format, l->shape, w_type, r->concatenate};
    const int64_t columns = l->shape.k + (r->concatenate ? s->ranks : 0), stride = columns + r->gap,
                  words = (l->n - 1) * stride + columns;
    uint16_t *w = take(words, 2), *again = take(words, 2);
    device_buffer dw = device_make((size_t)words * 2, r->shift);
    fbq_reconstruct_plan *plan = NULL;
    fbq_error error;
    if (fbq_prepare_reconstruct(shard_context(), &what, &plan, &error) != FBQ_OK)
        fail_msg("prepare: %s", error.detail);
    fbq_reconstruct_call call = {s->d.weights.data, s->d.down.data, s->d.up.data, dw.data,
                                 r->gap ? stride : 0};
    if (!s->ranks || r->no_branch)
        call.down = call.up = NULL;
    assert_int_equal(fbq_reconstruct_gpu(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "first launch");
    assert_true(device_fetch(&dw, w));
    /* two launches of which the second may start early: same bits */
    device_poison(&dw);
    if (r->concatenate)
        call.down = NULL;
    assert_int_equal(fbq_reconstruct_gpu(plan, &call, NULL), FBQ_OK);
    assert_int_equal(fbq_reconstruct_gpu(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "more launches");
    assert_true(device_fetch(&dw, again));
    assert_memory_equal(w, again, (size_t)words * 2);
    /* between rows nothing is touched */
    for (int64_t n = 0; n + 1 < l->n; n++)
        for (int64_t i = columns; i < stride; i++)
            assert_int_equal(w[n * stride + i], 0xffff);
    /* large layers: the first rows, some in the middle, the last */
    const int64_t rows = l->n * l->shape.k > 2000000 ? 32 : l->n;
    for (int64_t part = 0; part < (rows < l->n ? 3 : 1); part++)
        judge(s, &what, r, part * (l->n - rows) / 2, rows, w, stride);
    fbq_reconstruct_plan_free(plan);
    device_free(&dw);
    free(w);
    free(again);
}

/* Every format and type, without ranks, summed and concatenated; exact bits in every second. */
static void test_formats(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    (void)state;
    for (int i = 0; i < 3 * 5 * 3 * 2 * 2 * 3; i++) {
        const int factor = i / 180; /* 0: no sub-branch */
        if (!shard_mine())
            continue;
        const fbq_format format = {2 + i % 3, groups[i / 3 % 5], (fbq_zero)(i / 15 % 3),
                                   (fbq_type)(1 + i / 90 % 2), factor ? (fbq_type)factor : FBQ_F16};
        const fbq_shape shape = fbq_shape_of(150, i % 4 ? 320 : 301, factor ? 40 : 0);
        const layer_kind kind = i % 2 ? LAYER_EXACT : LAYER_RANDOM;
        subject s = subject_make(&format, &shape, kind);
        for (int concatenate = 0; concatenate <= (factor > 0); concatenate++) {
            const run r = {0, 0, concatenate, 0, kind == LAYER_EXACT};
            run_once(&s, (fbq_type)(1 + i / 45 % 2), &r);
        }
        subject_free(&s);
    }
}

/* Any size, rank, stride and alignment. */
static void test_shapes(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 0},        {16, 64, 1},     {37, 65, 15},
                                       {100, 100, 16},   {130, 576, 17},  {48, 1000, 128},
                                       {17, 4096, 130},  {5, 12345, 33},  {300, 2048, 256},
                                       {200, 600, 1000}, {70, 512, 2500}, {64, 28672, 8}};
    (void)state;
    for (int i = 0; i < (int)(sizeof sizes / sizeof sizes[0]); i++) {
        if (!shard_mine())
            continue;
        const fbq_format format = {2 + i % 3, i % 2 ? 128 : 32, (fbq_zero)(i % 3), FBQ_F16,
                                   (fbq_type)(1 + i % 2)};
        const fbq_shape shape = fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]);
        subject s = subject_make(&format, &shape, LAYER_RANDOM);
        for (int j = 0; j < 6; j++) {
            const run r = {j % 3 == 2 ? 8 : j % 3,
                           (size_t)(j == 4   ? 2
                                    : j == 5 ? 16
                                             : 0),
                           j % 2, j == 2, 0};
            run_once(&s, (fbq_type)(1 + j / 2 % 2), &r);
        }
        subject_free(&s);
    }
}

/* Real layers, and three segments as q, k and v. */
static void test_layers(void **state)
{
    fbq_shape shapes[4] = {fbq_shape_of(4096, 4096, 128), fbq_shape_of(11008, 4096, 64),
                           fbq_shape_of(4096, 14336, 96), fbq_shape_of(4096, 4096, 128)};
    (void)state;
    shapes[3].segments = 3;
    shapes[3].segment[1] = (fbq_segment){1000, 0};
    shapes[3].segment[2] = (fbq_segment){1024, 40};
    for (int i = 0; i < 4 * 3; i++) {
        if (!shard_mine())
            continue;
        const fbq_format format = {4 - i / 4, 128, (fbq_zero)(i % 3), FBQ_F16, FBQ_F16};
        subject s = subject_make(&format, &shapes[i % 4], LAYER_RANDOM);
        for (int j = 0; j < 4; j++) {
            const run r = {0, 0, j == 2, j == 3, 0};
            run_once(&s, j == 1 ? FBQ_BF16 : FBQ_F16, &r);
        }
        subject_free(&s);
    }
}

/* Legal under capture, and replayed to the same bits. */
static void test_graph(void **state)
{
    const fbq_format format = {4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16};
    const fbq_shape shape = fbq_shape_of(512, 1024, 64);
    fbq_reconstruction what = {format, shape, FBQ_F16, 0};
    fbq_reconstruct_plan *plan = NULL;
    fbq_error error;
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    (void)state;
    if (!shard_mine())
        return;
    subject s = subject_make(&format, &shape, LAYER_RANDOM);
    if (fbq_prepare_reconstruct(shard_context(), &what, &plan, &error) != FBQ_OK)
        fail_msg("prepare: %s", error.detail);
    const size_t bytes = 512 * 1024 * 2;
    uint16_t *eager = take(512 * 1024, 2), *replayed = take(512 * 1024, 2);
    device_buffer dw = device_make(bytes, 0);
    const fbq_reconstruct_call call = {s.d.weights.data, s.d.down.data, s.d.up.data, dw.data, 0};
    assert_int_equal(fbq_reconstruct_gpu(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "eager");
    assert_true(device_fetch(&dw, eager));
    device_must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    device_must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    for (int i = 0; i < 3; i++)
        assert_int_equal(fbq_reconstruct_gpu(plan, &call, stream), FBQ_OK);
    device_must(cudaStreamEndCapture(stream, &graph), "end capture");
    device_must(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    for (int i = 0; i < 20; i++) {
        device_poison(&dw);
        device_must(cudaDeviceSynchronize(), "poison");
        device_must(cudaGraphLaunch(exec, stream), "replay");
        device_must(cudaStreamSynchronize(stream), "replay");
        assert_true(device_fetch(&dw, replayed));
        assert_memory_equal(eager, replayed, bytes);
    }
    device_must(cudaGraphExecDestroy(exec), "destroy");
    device_must(cudaGraphDestroy(graph), "destroy");
    device_must(cudaStreamDestroy(stream), "destroy");
    fbq_reconstruct_plan_free(plan);
    device_free(&dw);
    free(eager);
    free(replayed);
    subject_free(&s);
}

int main(int argc, char **argv)
{
    const int status = shard_open(argc, argv);
    if (status)
        return status;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formats),
                                       cmocka_unit_test(test_shapes), cmocka_unit_test(test_layers),
                                       cmocka_unit_test(test_graph)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("largest error: %.3f of the bound\n", worst);
    shard_close();
    return failed;
}
