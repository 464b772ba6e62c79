/* tests/gpu_segments.c: layers that share x in one call on a GPU, through the C API, against the
 * double reference, and against the same call replayed from a graph.
 *
 *     gpu_segments [--shard I/N] [--ptx CAPABILITY]
 *
 * As gpu_linear's: --ptx 80 runs the sm_80 code on a newer GPU, shards share the work between
 * processes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/host/half.h>

#include "support/device.h"
#include "support/layer.h"

#define MOST_ROWS 16

static int shard = 0, shards = 1, counter = 0;
static fbq_context *context;
static double worst_norm, worst_bound;

static int mine(void)
{
    return counter++ % shards == shard;
}

static void *memory(size_t bytes)
{
    void *m = malloc(bytes);
    assert_non_null(m);
    return m;
}

static fbq_plan *plan_of(const fbq_problem *problem, const fbq_pick *fused)
{
    fbq_plan *plan = NULL;
    fbq_error error;
    if (fbq_prepare(context, problem, NULL, fused, &plan, &error) != FBQ_OK)
        fail_msg("prepare: %s", error.detail);
    return plan;
}

/* ---- A call with everything that belongs to it ---- */

typedef struct job {
    const layer *l;
    int64_t m, y_stride;
    size_t y_bytes;
    uint16_t *x, *bias;
    void *y, *residual;
    device_buffer dx, dy, dbias, dresidual, scratch, state;
    fbq_call call;
} job;

static job job_make(const fbq_plan *plan, const layer *l, const device_layer *d, int64_t m,
                    int variant)
{
    const int64_t n = l->layout.n, k = l->layout.shape.k;
    const fbq_type x_type = l->problem.x_type, y_type = l->problem.y_type;
    const size_t size = y_type == FBQ_F32 ? 4 : 2;
    job j;
    memset(&j, 0, sizeof j);
    j.l = l;
    j.m = m;
    j.y_stride = n + variant % 3;
    j.y_bytes = (size_t)((m - 1) * j.y_stride + n) * size;
    j.x = memory((size_t)(m * k) * 2);
    j.y = memory(j.y_bytes);
    input_fill(x_type, j.x, m, k, k, variant % 2 ? INPUT_NORMAL : INPUT_MEAN,
               7 + (uint64_t)variant);
    j.dx = device_copy(j.x, (size_t)(m * k) * 2, 0);
    j.dy = device_make(j.y_bytes, 0);
    j.scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    j.state = device_make(fbq_plan_state_bytes(plan), 0);
    if (j.state.bytes)
        device_must(cudaMemset(j.state.data, 0, j.state.bytes), "zero the state");
    if (variant & 1) {
        j.bias = memory((size_t)n * 2);
        for (int64_t i = 0; i < n; i++)
            j.bias[i] = fbq_word_of_f32(x_type, (float)(i % 7) - 3);
        j.dbias = device_copy(j.bias, (size_t)n * 2, 0);
    }
    if (variant & 2) {
        j.residual = memory(j.y_bytes);
        for (int64_t i = 0; i < (int64_t)(j.y_bytes / size); i++)
            number_put(y_type, j.residual, i, (double)(i % 5) * 0.25);
        j.dresidual = device_copy(j.residual, j.y_bytes, 0);
    }
    j.call.m = m;
    j.call.x = j.dx.data;
    j.call.weights = d->weights.data;
    j.call.down = d->down.data;
    j.call.up = d->up.data;
    j.call.bias = j.bias ? j.dbias.data : NULL;
    j.call.residual = j.residual ? j.dresidual.data : NULL;
    j.call.residual_stride = j.call.y_stride = j.y_stride;
    j.call.y = j.dy.data;
    j.call.scratch = j.scratch.data;
    j.call.scratch_bytes = j.scratch.bytes;
    j.call.state = j.state.data;
    j.call.state_bytes = j.state.bytes;
    return j;
}

static void job_free(job *j)
{
    device_buffer *buffers[] = {&j->dx, &j->dy, &j->scratch, &j->state};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        device_free(buffers[i]);
    if (j->bias)
        device_free(&j->dbias);
    if (j->residual)
        device_free(&j->dresidual);
    free(j->x);
    free(j->y);
    free(j->bias);
    free(j->residual);
}

/* Every result is written and right, and what lies between rows is left alone. */
static void job_judge(const job *j)
{
    const int64_t n = j->l->layout.n;
    const fbq_type type = j->l->problem.y_type;
    const size_t size = type == FBQ_F32 ? 4 : 2;
    for (int64_t i = 0; i + 1 < j->m; i++)
        for (size_t b = (size_t)(i * j->y_stride + n) * size;
             b < (size_t)((i + 1) * j->y_stride) * size; b++)
            assert_int_equal(((unsigned char *)j->y)[b], 0xff);
    for (int64_t i = 0; i < j->m * n; i++) {
        const double v = number_at(type, j->y, i / n * j->y_stride + i % n);
        assert_true(v == v);
    }
    /* long layers: rows around each border of segments, and at both ends */
    const fbq_shape *shape = &j->l->layout.shape;
    int64_t border = 0;
    for (int s = 0; s <= shape->segments; s++) {
        const int64_t first = border > 40 ? border - 40 : 0;
        const int64_t end = border + 40 < n ? border + 40 : n;
        const verdict v = layer_judge(j->l, first, end - first, j->m, j->x, shape->k, j->bias,
                                      j->residual, j->y_stride, j->y, j->y_stride);
        if (v.bad || v.bound > 4 || v.norm > (type == FBQ_BF16 ? 8e-3 : 1e-3))
            fail_msg("bits %d type %d y %d, %d segments, n %lld k %lld, %lld rows of x, border "
                     "%lld: norm %.2e bound %.2f, %d not finite",
                     j->l->problem.format.bits, (int)j->l->problem.x_type, (int)type,
                     shape->segments, (long long)n, (long long)shape->k, (long long)j->m,
                     (long long)border, v.norm, v.bound, v.bad);
        if (type != FBQ_BF16 && v.norm > worst_norm)
            worst_norm = v.norm;
        worst_bound = v.bound > worst_bound ? v.bound : worst_bound;
        border += s < shape->segments ? shape->segment[s].n : 0;
    }
}

/* Run, judge, and run again with everything that must not matter changed: the same bits. */
static void job_run(const fbq_plan *plan, job *j)
{
    void *again = memory(j->y_bytes);
    assert_int_equal(fbq_linear(plan, &j->call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "first launch");
    assert_true(device_fetch(&j->dy, j->y));
    job_judge(j);
    device_poison(&j->scratch);
    device_poison(&j->dy);
    device_must(cudaDeviceSynchronize(), "poison");
    j->call.chained = 1;
    assert_int_equal(fbq_linear(plan, &j->call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "second launch");
    assert_true(device_fetch(&j->dy, again));
    assert_memory_equal(j->y, again, j->y_bytes);
    free(again);
}

static void run_rows(const fbq_plan *plan, const layer *l, const device_layer *d, int64_t m,
                     int variant)
{
    job j = job_make(plan, l, d, m, variant);
    job_run(plan, &j);
    job_free(&j);
}

/* ---- Layers ---- */

/* 2 .. 8 segments of n and r; an r of 0 has no sub-branch. */
static const fbq_shape shapes[] = {
    {4096, 3, {{4096, 128}, {4096, 128}, {4096, 128}}}, /* q, k, v */
    {4096, 3, {{4096, 128}, {1024, 64}, {1024, 64}}},   /* the same with fewer heads of k and v */
    {4096, 2, {{14336, 128}, {14336, 128}}},            /* gate, up */
    {1000, 2, {{37, 40}, {70, 0}}},
    {1088, 3, {{5, 0}, {200, 33}, {16, 130}}},
    {300, 4, {{1, 1}, {17, 0}, {16, 16}, {100, 3}}},
    {2048, 5, {{200, 0}, {150, 0}, {33, 0}, {1, 0}, {64, 0}}},
    {3000, 6, {{64, 96}, {33, 0}, {2000, 16}, {7, 200}, {48, 0}, {90, 8}}},
    {576, 7, {{16, 16}, {16, 16}, {16, 0}, {16, 64}, {15, 16}, {1, 65}, {500, 16}}},
    {1024, 8, {{512, 32}, {512, 0}, {100, 32}, {9, 9}, {40, 0}, {40, 40}, {3, 3}, {256, 128}}},
};
#define SHAPES ((int)(sizeof shapes / sizeof shapes[0]))

static fbq_problem problem_of(int shape, int turn)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    const fbq_type type = turn % 2 ? FBQ_BF16 : FBQ_F16;
    const fbq_type factors[] = {type, (fbq_type)(3 - type), type, FBQ_I8};
    fbq_problem p = {{2 + (shape + turn) % 3, groups[(shape + turn) % 5], (fbq_zero)(turn % 3),
                      type, factors[(shape + turn) % 4]},
                     shapes[shape],
                     type,
                     (fbq_type)(1 + (shape + turn) % 3),
                     MOST_ROWS,
                     2,
                     0};
    return p;
}

/* All shapes, m = 1 .. 16, in two launches and, where that can be, in one. */
static void test_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * SHAPES; i++) {
        fbq_problem p = problem_of(i % SHAPES, i / SHAPES);
        fbq_gpu gpu;
        fbq_pick pick;
        if (!mine())
            continue;
        layer l = layer_make(&p, LAYER_RANDOM, 300 + (uint64_t)i);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL);
        for (int64_t m = 1; m <= MOST_ROWS; m += 1 + (m + i) % 4)
            run_rows(plan, &l, &d, m, (int)m + i);
        fbq_plan_free(plan);
        p.launches = 1;
        p.m_max = 8;
        assert_int_equal(fbq_context_gpu(context, &gpu), FBQ_OK);
        if (fbq_pick_default(&p, &gpu, FBQ_KERNEL_FUSED, &pick, NULL) == FBQ_OK) {
            plan = plan_of(&p, NULL);
            for (int64_t m = 1; m <= 8; m += 1 + (m + i) % 3)
                run_rows(plan, &l, &d, m, (int)m + i);
            fbq_plan_free(plan);
        }
        device_layer_free(&d);
        layer_free(&l);
    }
}

/* Other picks than the default, split-K among them. */
static void test_picks(void **state)
{
    static const char *const texts[] = {
        "fused warps=1 chunks=2 blocks_per_sm=3 stages=2 tiles=1",
        "fused warps=4 chunks=2 blocks_per_sm=1 stages=2 tiles=3",
        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=2 slices=1",
        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=1 slices=2",
        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=3 splits=2",
        "fused warps=4 chunks=2 blocks_per_sm=2 stages=3 tiles=1 splits=5"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!mine())
            continue;
        fbq_problem p = problem_of(7, 0);
        fbq_pick pick;
        fbq_error error;
        p.m_max = 8;
        assert_int_equal(fbq_pick_parse(texts[i], &pick, &error), FBQ_OK);
        layer l = layer_make(&p, LAYER_RANDOM, 77);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, &pick);
        for (int64_t m = 1; m <= 8; m += 7)
            run_rows(plan, &l, &d, m, 1);
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

/* batch_invariant: a row has the same bits however many there are. */
static void test_batch_invariant(void **state)
{
    (void)state;
    if (!mine())
        return;
    fbq_problem p = problem_of(7, 0);
    p.m_max = 6;
    p.batch_invariant = 1;
    layer l = layer_make(&p, LAYER_RANDOM, 61);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = plan_of(&p, NULL);
    job all = job_make(plan, &l, &d, 6, 1);
    void *some = memory(all.y_bytes);
    job_run(plan, &all);
    for (all.call.m = 1; all.call.m < 6; all.call.m++) {
        device_poison(&all.dy);
        device_must(cudaDeviceSynchronize(), "poison");
        assert_int_equal(fbq_linear(plan, &all.call, NULL), FBQ_OK);
        device_must(cudaDeviceSynchronize(), "launch");
        assert_true(device_fetch(&all.dy, some));
        const size_t size = p.y_type == FBQ_F32 ? 4 : 2;
        assert_memory_equal(some, all.y,
                            (size_t)((all.call.m - 1) * all.y_stride + l.layout.n) * size);
    }
    free(some);
    job_free(&all);
    fbq_plan_free(plan);
    device_layer_free(&d);
    layer_free(&l);
}

/* A captured graph replays to the same bits; and a launch takes the layers without their
 * sub-branches. */
static void test_graph(void **state)
{
    (void)state;
    for (int launches = 1; launches <= 2; launches++) {
        if (!mine())
            continue;
        fbq_problem p = problem_of(1, 0);
        cudaStream_t stream;
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        p.m_max = 1;
        p.launches = launches;
        layer l = layer_make(&p, LAYER_RANDOM, 21);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL);
        job j = job_make(plan, &l, &d, 1, 1);
        void *replayed = memory(j.y_bytes);
        job_run(plan, &j);
        device_must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
        device_must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
        for (int i = 0; i < 3; i++) /* a chain */
            assert_int_equal(fbq_linear(plan, &j.call, stream), FBQ_OK);
        device_must(cudaStreamEndCapture(stream, &graph), "end capture");
        device_must(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
        for (int i = 0; i < 50; i++) {
            device_poison(&j.dy);
            device_must(cudaDeviceSynchronize(), "poison");
            device_must(cudaGraphLaunch(exec, stream), "replay");
            device_must(cudaStreamSynchronize(stream), "replay");
            assert_true(device_fetch(&j.dy, replayed));
            assert_memory_equal(j.y, replayed, j.y_bytes);
        }
        layer bare = l;
        bare.parts.down = bare.parts.up = NULL;
        j.l = &bare;
        j.call.down = j.call.up = NULL;
        job_run(plan, &j);
        device_must(cudaGraphExecDestroy(exec), "destroy");
        device_must(cudaGraphDestroy(graph), "destroy");
        device_must(cudaStreamDestroy(stream), "destroy");
        free(replayed);
        job_free(&j);
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

int main(int argc, char **argv)
{
    fbq_options options = {0, 0, NULL, NULL, "", "", 0};
    fbq_error error;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--shard") && sscanf(argv[i + 1], "%d/%d", &shard, &shards) == 2)
            continue;
        if (!strcmp(argv[i], "--ptx") && sscanf(argv[i + 1], "%d", &options.ptx) == 1)
            continue;
        fprintf(stderr, "usage: gpu_segments [--shard I/N] [--ptx CAPABILITY]\n");
        return 2;
    }
    if (!device_present())
        return SKIPPED;
    device_must(cudaSetDevice(0), "cudaSetDevice");
    device_must(cudaFree(NULL), "context");
    if (fbq_open(&options, &context, &error) != FBQ_OK) {
        fprintf(stderr, "fbq_open: %s\n", error.detail);
        return 1;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_shapes), cmocka_unit_test(test_picks),
                                       cmocka_unit_test(test_batch_invariant),
                                       cmocka_unit_test(test_graph)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("worst norm %.2e, worst bound c = %.3f\n", worst_norm, worst_bound);
    fbq_close(context);
    return failed;
}
