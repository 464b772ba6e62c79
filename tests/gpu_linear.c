/* tests/gpu_linear.c: the C API on a GPU, through NVRTC, against the double reference.
 *
 *     gpu_linear [--shard I/N] [--ptx CAPABILITY]
 *
 * Every claim of numerics.md is checked on every input kind; outputs are poisoned and guarded.
 * --ptx 80 runs the sm_80 code on a newer GPU. Shards share the work between processes, most of
 * whose time NVRTC takes.
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

#define MOST_ROWS 16

static int shard = 0, shards = 1, counter = 0;
static fbq_context *context;
static double worst_norm, worst_bound;

static int mine(void)
{
    return counter++ % shards == shard;
}

/* Run a call once and fetch y (m x stride words of the output type). */
typedef struct run {
    int64_t m, x_stride, y_stride;
    size_t x_shift;
    int with_bias, with_residual;
} run;

/* A plan's state, zeroed. */
static device_buffer state_make(const fbq_plan *plan)
{
    device_buffer state = device_make(fbq_plan_state_bytes(plan), 0);
    if (state.bytes)
        device_must(cudaMemset(state.data, 0, state.bytes), "zero the state");
    return state;
}

static void run_once(const fbq_plan *plan, const layer *l, const device_layer *d, const run *r,
                     input_kind kind, uint64_t seed, int judge_norm)
{
    int64_t n = l->layout.n, k = l->layout.shape.k, x_stride = r->x_stride ? r->x_stride : k,
            y_stride = r->y_stride ? r->y_stride : n;
    const fbq_type x_type = l->problem.x_type, y_type = l->problem.y_type;
    size_t size = y_type == FBQ_F32 ? 4 : 2;
    size_t x_bytes = (size_t)((r->m - 1) * x_stride + k) * 2;
    size_t y_bytes = (size_t)((r->m - 1) * y_stride + n) * size;
    uint16_t *x = malloc(x_bytes), *bias = malloc((size_t)n * 2);
    void *y = malloc(y_bytes), *again = malloc(y_bytes), *residual = calloc(1, y_bytes);
    assert_true(x && bias && y && again && residual);
    input_fill(l->problem.x_type, x, r->m, k, x_stride, kind, seed);
    for (int64_t i = 0; i < n; i++)
        bias[i] = fbq_word_of_f32(x_type, (float)(i % 7) - 3);
    for (int64_t i = 0; i < (int64_t)(y_bytes / size); i++)
        number_put(y_type, residual, i, (double)(i % 5) * 0.25);
    device_buffer dx = device_copy(x, x_bytes, r->x_shift), dy = device_make(y_bytes, 0);
    device_buffer dbias = device_copy(bias, (size_t)n * 2, 0);
    device_buffer dres = device_copy(residual, y_bytes, 0);
    size_t scratch_bytes = fbq_plan_scratch_bytes(plan);
    device_buffer scratch = device_make(scratch_bytes, 0), state = state_make(plan);
    fbq_call call;
    memset(&call, 0, sizeof call);
    call.m = r->m;
    call.x = dx.data;
    call.x_stride = r->x_stride;
    call.weights = d->weights.data;
    call.down = d->down.data;
    call.up = d->up.data;
    call.bias = r->with_bias ? dbias.data : NULL;
    call.residual = r->with_residual ? dres.data : NULL;
    call.residual_stride = r->y_stride;
    call.y = dy.data;
    call.y_stride = r->y_stride;
    call.scratch = scratch.data;
    call.scratch_bytes = scratch_bytes;
    call.state = state.data;
    call.state_bytes = state.bytes;
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "first launch");
    assert_true(device_fetch(&dy, y));
    /* again, with everything that must not matter changed: same bits */
    device_poison(&scratch);
    device_poison(&dy);
    device_must(cudaDeviceSynchronize(), "poison");
    call.chained = 1;
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "second launch");
    assert_true(device_fetch(&dy, again));
    assert_memory_equal(y, again, y_bytes);
    /* a row's padding must stay untouched */
    for (int64_t i = 0; i + 1 < r->m; i++)
        for (size_t b = (size_t)(i * y_stride + n) * size; b < (size_t)((i + 1) * y_stride) * size;
             b++)
            assert_int_equal(((unsigned char *)y)[b], 0xff);

    /* every result was written: what was not is still NaN */
    for (int64_t i = 0; i < r->m; i++)
        for (int64_t j = 0; j < n; j++) {
            int64_t at = i * y_stride + j;
            double v = number_at(y_type, y, at);
            assert_true(v == v);
        }

    /* long layers: the first rows, the middle ones and the last */
    int64_t most = k > 2000 ? 96 : n, rows = n < most ? n : most;
    for (int64_t part = 0; part < (rows < n ? 3 : 1); part++) {
        int64_t first = part * (n - rows) / 2;
        verdict v = layer_judge(l, first, rows, r->m, x, x_stride, r->with_bias ? bias : NULL,
                                r->with_residual ? residual : NULL, y_stride, y, y_stride);
        const double most = y_type == FBQ_BF16 ? 8e-3 : 1e-3;
        if (v.bad || v.bound > 4 || (judge_norm && v.norm > most))
            fail_msg(
                "bits %d types x %d y %d scale %d factor %d n %lld k %lld r %lld m %lld group %d "
                "zero %d %s: norm %.2e bound %.2f, %d not finite",
                l->problem.format.bits, (int)x_type, (int)y_type, (int)l->problem.format.scale_type,
                (int)l->problem.format.factor_type, (long long)n, (long long)k,
                (long long)l->layout.shape.segment[0].r, (long long)r->m, l->problem.format.group,
                (int)l->problem.format.zero, input_name(kind), v.norm, v.bound, v.bad);
        if (judge_norm && y_type != FBQ_BF16 && v.norm > worst_norm)
            worst_norm = v.norm;
        if (v.bound > worst_bound)
            worst_bound = v.bound;
    }
    device_free(&dx);
    device_free(&dy);
    device_free(&dbias);
    device_free(&dres);
    device_free(&scratch);
    device_free(&state);
    free(x);
    free(bias);
    free(y);
    free(again);
    free(residual);
}

static fbq_plan *plan_of(const fbq_problem *problem, const fbq_pick *down, const fbq_pick *fused)
{
    fbq_plan *plan = NULL;
    fbq_error error;
    if (fbq_prepare(context, problem, down, fused, &plan, &error) != FBQ_OK)
        fail_msg("prepare: %s", error.detail);
    return plan;
}

/* The numeric claims, on real sizes: every input kind, M = 1 .. 8. */
static void test_inputs(void **state)
{
    static const int64_t sizes[][3] = {
        {4096, 4096, 128}, {4096, 11008, 128}, {1000, 14336, 96}, {11008, 4096, 0}};
    static const int groups[] = {32, 128, FBQ_GROUP_ROW};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t g = 0; g < 3; g++) {
            if (!mine())
                continue;
            fbq_problem p = {{4, groups[g], (fbq_zero)(g % 3), FBQ_F16, FBQ_F16},
                             fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]),
                             FBQ_F16,
                             FBQ_F16,
                             8,
                             0,
                             0};
            layer l = layer_make(&p, LAYER_RANDOM, 11 + i);
            device_layer d = device_layer_make(&l);
            for (p.launches = sizes[i][2] ? 1 : 0; p.launches <= (sizes[i][2] ? 2 : 0);
                 p.launches++) {
                fbq_plan *plan = plan_of(&p, NULL, NULL);
                for (int kind = 0; kind < INPUT_KINDS; kind++)
                    for (int64_t m = 1; m <= 8; m += m == 1 ? 2 : 5) {
                        run r = {m, 0, 0, 0, 0, 0};
                        run_once(plan, &l, &d, &r, (input_kind)kind, 100 + (uint64_t)m, 1);
                    }
                fbq_plan_free(plan);
            }
            device_layer_free(&d);
            layer_free(&l);
        }
}

/* Ragged sizes, all groups and zero kinds, odd ranks, strides, shifts, bias, residual, fp32 y. */
static void test_shapes(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const int64_t sizes[][3] = {
        {1, 1, 0},       {16, 64, 1},     {37, 65, 15},   {100, 100, 16}, {130, 576, 17},
        {48, 1000, 128}, {17, 4096, 130}, {5, 12345, 33}, {300, 2048, 0}, {64, 28672, 8}};
    (void)state;
    for (size_t g = 0; g < 5; g++)
        for (int zero = 0; zero < 3; zero++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                if (!mine())
                    continue;
                fbq_problem p = {{4, groups[g], (fbq_zero)zero, FBQ_F16, FBQ_F16},
                                 fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]),
                                 FBQ_F16,
                                 i % 3 == 2 ? FBQ_F32 : FBQ_F16,
                                 8,
                                 0,
                                 0};
                layer l = layer_make(&p, LAYER_RANDOM, 1000 + i);
                device_layer d = device_layer_make(&l);
                fbq_plan *plan = plan_of(&p, NULL, NULL);
                for (int64_t m = 1; m <= 8; m++) {
                    int v = (int)(m + (int64_t)i);
                    run r = {m,
                             v % 3 == 1 ? sizes[i][1] + 3 : 0,
                             v % 3 == 2 ? sizes[i][0] + 5 : 0,
                             (size_t)(v % 4 == 3 ? 2 : 0),
                             v % 2,
                             v % 5 == 0};
                    run_once(plan, &l, &d, &r, v % 2 ? INPUT_NORMAL : INPUT_MEAN, 7 + (uint64_t)v,
                             sizes[i][1] > 64);
                }
                fbq_plan_free(plan);
                device_layer_free(&d);
                layer_free(&l);
            }
}

/* Every format and type: bits, groups, zero kinds, types of x, scales and factors, y's in turn; one
 * row in one launch and in two, and several; with its sub-branch and without. */
static void formats_run(const fbq_problem *p, int index)
{
    const int branch = p->shape.segment[0].r > 0;
    layer l = layer_make(p, LAYER_RANDOM, 500 + (uint64_t)index);
    device_layer d = device_layer_make(&l);
    for (int launches = branch ? 1 : 0; launches <= (branch ? 2 : 0); launches++) {
        l.problem.launches = launches;
        l.problem.m_max = launches == 1 ? 1 : MOST_ROWS;
        l.problem.y_type = (fbq_type)(1 + (index / 2 + launches) % 3);
        fbq_plan *plan = plan_of(&l.problem, NULL, NULL);
        for (int64_t m = 1; m <= l.problem.m_max; m += 1 + (index + m) % 4) {
            run r = {m,
                     0,
                     0,
                     (size_t)(index % 5 == 4 ? 2 : 0),
                     (int)(m + index) % 2,
                     (int)(m + index) % 3 == 1};
            run_once(plan, &l, &d, &r, m % 2 ? INPUT_NORMAL : INPUT_MEAN, 7 + (uint64_t)m, 1);
        }
        fbq_plan_free(plan);
    }
    device_layer_free(&d);
    layer_free(&l);
}

static void test_formats(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const int64_t ks[] = {1000, 1088, 1152, 2048};
    (void)state;
    for (int i = 0; i < 3 * 5 * 3 * 2 * 2 * 3; i++) {
        const int bits = 2 + i % 3, group = groups[i / 3 % 5], zero = i / 15 % 3;
        const fbq_type x = (fbq_type)(1 + i / 45 % 2), scale = (fbq_type)(1 + i / 90 % 2);
        const int factor = i / 180; /* 0: no sub-branch */
        if (!mine())
            continue;
        fbq_problem p = {{bits, group, (fbq_zero)zero, scale, factor ? (fbq_type)factor : FBQ_F16},
                         fbq_shape_of(200, ks[i % 4], factor ? 40 : 0),
                         x,
                         FBQ_F16,
                         1,
                         0,
                         0};
        formats_run(&p, i);
    }
}

/* Bits and types on real sizes, on every input. */
static void test_types(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        if (!mine())
            continue;
        const fbq_type type = i / 3 % 2 ? FBQ_BF16 : FBQ_F16;
        fbq_problem p = {{2 + i % 3, 128, (fbq_zero)(i % 3), type, type},
                         i < 6 ? fbq_shape_of(4096, 4096, 128) : fbq_shape_of(1000, 11008, 64),
                         type,
                         type,
                         MOST_ROWS,
                         0,
                         0};
        layer l = layer_make(&p, LAYER_RANDOM, 900 + (uint64_t)i);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL, NULL);
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            for (int64_t m = 1; m <= MOST_ROWS; m += m == 1 ? 2 : 5) {
                run r = {m, 0, 0, 0, 0, 0};
                /* 2 bits of tiny numbers make an fp16 y that is subnormal, and coarse */
                const int coarse = kind == INPUT_TINY && p.format.bits == 2 && type == FBQ_F16;
                run_once(plan, &l, &d, &r, (input_kind)kind, 100 + (uint64_t)m, !coarse);
            }
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

/* batch_invariant: the first rows of a call have the bits that calls of fewer rows give. */
static void test_batch_invariant(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        if (!mine())
            continue;
        const int64_t n = 2000, k = 3000, most = i & 1 ? 16 : 6;
        fbq_problem p = {{4, 64, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                         fbq_shape_of(n, k, i & 2 ? 100 : 0),
                         FBQ_F16,
                         FBQ_F32,
                         (int)most,
                         0,
                         1};
        layer l = layer_make(&p, LAYER_RANDOM, 61);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL, NULL);
        uint16_t *x = malloc((size_t)(most * k) * 2);
        float *all = malloc((size_t)(most * n) * 4), *some = malloc((size_t)(most * n) * 4);
        assert_true(x && all && some);
        input_fill(FBQ_F16, x, most, k, k, INPUT_MEAN, 5);
        device_buffer dx = device_copy(x, (size_t)(most * k) * 2, 0);
        device_buffer dy = device_make((size_t)(most * n) * 4, 0), state = state_make(plan);
        device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
        fbq_call call;
        memset(&call, 0, sizeof call);
        call.x = dx.data;
        call.weights = d.weights.data;
        call.down = d.down.data;
        call.up = d.up.data;
        call.y = dy.data;
        call.scratch = scratch.data;
        call.scratch_bytes = scratch.bytes;
        call.state = state.data;
        call.state_bytes = state.bytes;
        for (call.m = most; call.m >= 1; call.m--) {
            device_poison(&dy);
            device_must(cudaDeviceSynchronize(), "poison");
            assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
            device_must(cudaDeviceSynchronize(), "launch");
            assert_true(device_fetch(&dy, call.m == most ? all : some));
            if (call.m < most)
                assert_memory_equal(some, all, (size_t)(call.m * n) * 4);
        }
        verdict v = layer_judge(&l, 0, 96, most, x, k, NULL, NULL, 0, all, n);
        assert_true(v.bad == 0 && v.bound <= 4 && v.norm < 1e-3);
        device_free(&dx);
        device_free(&dy);
        device_free(&scratch);
        device_free(&state);
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
        free(x);
        free(all);
        free(some);
    }
}

/* Integers and powers of two: the GPU's bits are the reference's. */
static void test_exact(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * 3 * 2; i++) {
        if (!mine())
            continue;
        const fbq_type type = i / 9 ? FBQ_BF16 : FBQ_F16;
        fbq_problem p = {{2 + i / 3 % 3, 64, (fbq_zero)(i % 3), type, type},
                         fbq_shape_of(70, 300, 20),
                         type,
                         FBQ_F32,
                         MOST_ROWS,
                         0,
                         0};
        layer l = layer_make(&p, LAYER_EXACT, 5);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL, NULL);
        for (int64_t m = 1; m <= MOST_ROWS; m++) {
            run r = {m, 0, 0, 0, 0, 0};
            double before = worst_norm;
            worst_norm = 0;
            run_once(plan, &l, &d, &r, INPUT_INTEGER, 3, 1);
            assert_true(worst_norm == 0);
            worst_norm = before;
        }
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

/* A row of x with an infinity or a NaN gives a row of y without a finite number; other rows are as
 * they were. */
static void test_not_finite(void **unused)
{
    static const uint16_t words[2][2] = {{0x7c00, 0xfe01}, {0xff80, 0x7fc1}}; /* by type */
    (void)unused;
    for (int i = 0; i < 3 * 2 * 2 * 2; i++) {
        if (!mine())
            continue;
        const fbq_type type = (fbq_type)(1 + i / 3 % 2);
        const int64_t k = 900, n = 100, m = i / 12 ? 5 : 1, bad = m / 2;
        fbq_problem p = {{2 + i % 3, 128, FBQ_ZERO_F16, type, type},
                         fbq_shape_of(n, k, i / 6 % 2 ? 24 : 0),
                         type,
                         FBQ_F32,
                         (int)m,
                         0,
                         0};
        layer l = layer_make(&p, LAYER_RANDOM, 31);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, NULL, NULL);
        uint16_t x[5 * 900];
        float y[2][5 * 100];
        device_buffer dy = device_make((size_t)(m * n) * 4, 0), state = state_make(plan);
        device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
        input_fill(type, x, m, k, k, INPUT_NORMAL, 9);
        for (int turn = 0; turn < 3; turn++) {
            if (turn)
                x[bad * k + 555] = words[type - 1][turn - 1];
            device_buffer dx = device_copy(x, (size_t)(m * k) * 2, 0);
            fbq_call call = {
                m, dx.data, 0, d.weights.data, d.down.data,   d.up.data,  NULL,        NULL,
                0, dy.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
            assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
            device_must(cudaDeviceSynchronize(), "launch");
            assert_true(device_fetch(&dy, y[turn > 0]));
            for (int64_t j = 0; j < m * n; j++)
                if (turn && j / n == bad)
                    assert_false(isfinite(y[1][j]));
                else
                    assert_true(isfinite(y[0][j]) && y[turn > 0][j] == y[0][j]);
            device_free(&dx);
        }
        device_free(&dy);
        device_free(&scratch);
        device_free(&state);
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

/* Other picks than the default, each of which splits the sums differently. */
static void test_picks(void **state)
{
    static const char *const fused[] = {"fused warps=1 chunks=2 blocks_per_sm=3 stages=2 tiles=1",
                                        "fused warps=2 chunks=4 blocks_per_sm=2 stages=3 tiles=2",
                                        "fused warps=3 chunks=4 blocks_per_sm=2 stages=4 tiles=1",
                                        "fused warps=4 chunks=2 blocks_per_sm=1 stages=2 tiles=3",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=3 tiles=2",
                                        "fused warps=16 chunks=2 blocks_per_sm=1 stages=2 tiles=1",
                                        "fused warps=4 chunks=4 blocks_per_sm=2 stages=2 tiles=1 "
                                        "slices=33",
                                        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=3 "
                                        "slices=1",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=3 tiles=2 "
                                        "slices=9",
                                        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=3 "
                                        "splits=2",
                                        "fused warps=4 chunks=2 blocks_per_sm=2 stages=3 tiles=1 "
                                        "splits=5",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=2 tiles=4 "
                                        "splits=8 slices=4"};
    static const char *const down[] = {"down warps=1 chunks=1 slices=1",
                                       "down warps=3 chunks=2 slices=5",
                                       "down warps=16 chunks=4 slices=64"};
    (void)state;
    for (size_t i = 0; i < sizeof fused / sizeof fused[0]; i++) {
        if (!mine())
            continue;
        fbq_problem p = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                         fbq_shape_of(5000, 2100, 40), /* several groups of tiles a block */
                         FBQ_F16,
                         FBQ_F16,
                         8,
                         0,
                         0};
        fbq_pick f, d;
        fbq_error error;
        assert_int_equal(fbq_pick_parse(fused[i], &f, &error), FBQ_OK);
        assert_int_equal(fbq_pick_parse(down[i % 3], &d, &error), FBQ_OK);
        layer l = layer_make(&p, LAYER_RANDOM, 77);
        device_layer dl = device_layer_make(&l);
        fbq_plan *plan = plan_of(&p, &d, &f);
        for (int64_t m = 1; m <= 8; m += 7) {
            run r = {m, 0, 0, 0, 1, 0};
            run_once(plan, &l, &dl, &r, INPUT_NORMAL, 9, 1);
        }
        fbq_plan_free(plan);
        device_layer_free(&dl);
        layer_free(&l);
    }
}

/* A captured graph replays to the same bits, and a launch takes the layer without its branch. */
static void test_graph(void **unused)
{
    (void)unused;
    if (!mine())
        return;
    fbq_problem p = {{4, 128, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16},
                     fbq_shape_of(512, 1024, 64),
                     FBQ_F16,
                     FBQ_F16,
                     1,
                     0,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 21);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = plan_of(&p, NULL, NULL);
    uint16_t x[1024], eager[512], replayed[512];
    input_fill(FBQ_F16, x, 1, 1024, 1024, INPUT_NORMAL, 4);
    device_buffer dx = device_copy(x, sizeof x, 0), dy = device_make(sizeof eager, 0);
    device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    device_buffer state = state_make(plan);
    fbq_call call = {1, dx.data, 0, d.weights.data, d.down.data,   d.up.data,  NULL,        NULL,
                     0, dy.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "eager");
    assert_true(device_fetch(&dy, eager));
    device_must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    device_must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    assert_int_equal(fbq_linear(plan, &call, stream), FBQ_OK);
    device_must(cudaStreamEndCapture(stream, &graph), "end capture");
    device_must(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    for (int i = 0; i < 50; i++) {
        device_poison(&dy);
        device_must(cudaDeviceSynchronize(), "poison");
        device_must(cudaGraphLaunch(exec, stream), "replay");
        device_must(cudaStreamSynchronize(stream), "replay");
        assert_true(device_fetch(&dy, replayed));
        assert_memory_equal(eager, replayed, sizeof eager);
    }
    call.down = call.up = NULL;
    assert_int_equal(fbq_linear(plan, &call, stream), FBQ_OK);
    device_must(cudaStreamSynchronize(stream), "without the branch");
    assert_true(device_fetch(&dy, replayed));
    layer bare = l;
    bare.parts.down = bare.parts.up = NULL;
    verdict v = layer_judge(&bare, 0, 512, 1, x, 1024, NULL, NULL, 0, replayed, 512);
    assert_true(v.bad == 0 && v.norm < 1e-3);
    device_must(cudaGraphExecDestroy(exec), "destroy");
    device_must(cudaGraphDestroy(graph), "destroy");
    device_must(cudaStreamDestroy(stream), "destroy");
    device_free(&dx);
    device_free(&dy);
    device_free(&scratch);
    device_free(&state);
    fbq_plan_free(plan);
    device_layer_free(&d);
    layer_free(&l);
}

/* A state that was never zeroed is seen: y is NaN. */
static void test_state(void **unused)
{
    (void)unused;
    if (!mine())
        return;
    fbq_problem p = {{4, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16},
                     fbq_shape_of(512, 1024, 16),
                     FBQ_F16,
                     FBQ_F16,
                     2,
                     1,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 21);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = plan_of(&p, NULL, NULL);
    uint16_t x[1024], y[512];
    input_fill(FBQ_F16, x, 1, 1024, 1024, INPUT_NORMAL, 4);
    device_buffer dx = device_copy(x, sizeof x, 0), dy = device_make(sizeof y, 0);
    device_buffer state = device_make(fbq_plan_state_bytes(plan), 0);
    fbq_call call = {1, dx.data, 0, d.weights.data, d.down.data, d.up.data,  NULL,        NULL,
                     0, dy.data, 0, NULL,           0,           state.data, state.bytes, 0};
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        if (zeroed)
            device_must(cudaMemset(state.data, 0, state.bytes), "zero the state");
        else
            device_must(cudaMemset(state.data, 0x5a, state.bytes), "spoil the state");
        assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
        device_must(cudaDeviceSynchronize(), "launch");
        assert_true(device_fetch(&dy, y));
        for (int i = 0; i < 512; i++)
            assert_int_equal((y[i] & 0x7fff) > 0x7c00, !zeroed);
    }
    device_free(&dx);
    device_free(&dy);
    device_free(&state);
    fbq_plan_free(plan);
    device_layer_free(&d);
    layer_free(&l);
}

/* What a launch refuses. */
static void test_bad_calls(void **unused)
{
    (void)unused;
    if (!mine())
        return;
    fbq_problem p = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                     fbq_shape_of(32, 128, 16),
                     FBQ_F16,
                     FBQ_F16,
                     2,
                     2,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 1);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = plan_of(&p, NULL, NULL);
    device_buffer x = device_make(1024, 0), y = device_make(1024, 0);
    device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    device_buffer state = state_make(plan);
    const fbq_call good = {
        1, x.data, 0, d.weights.data, d.down.data,   d.up.data,  NULL,        NULL,
        0, y.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
    fbq_call c;
#define REFUSED(status, change) \
    c = good;                   \
    change;                     \
    assert_int_equal(fbq_linear(plan, &c, NULL), status)
    assert_int_equal(fbq_linear(NULL, &good, NULL), FBQ_ERR_NULL);
    assert_int_equal(fbq_linear(plan, NULL, NULL), FBQ_ERR_NULL);
    REFUSED(FBQ_ERR_NULL, c.x = NULL);
    REFUSED(FBQ_ERR_NULL, c.y = NULL);
    REFUSED(FBQ_ERR_NULL, c.weights = NULL);
    REFUSED(FBQ_ERR_NULL, c.up = NULL);
    REFUSED(FBQ_ERR_NULL, c.scratch = NULL);
    REFUSED(FBQ_ERR_SIZE, c.m = 0);
    REFUSED(FBQ_ERR_SIZE, c.m = 3);
    REFUSED(FBQ_ERR_SIZE, c.x_stride = 127);
    REFUSED(FBQ_ERR_SIZE, c.y_stride = 31);
    REFUSED(FBQ_ERR_ALIGNMENT, c.weights = d.weights.data + 16);
    REFUSED(FBQ_ERR_ALIGNMENT, c.x = x.data + 1);
    REFUSED(FBQ_ERR_ALIGNMENT, c.y = y.data + 1);
    REFUSED(FBQ_ERR_ALIGNMENT, c.scratch = scratch.data + 8);
    REFUSED(FBQ_ERR_BUFFER, c.scratch_bytes = 16);
    assert_int_equal(fbq_linear(plan, &good, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "good call");
    fbq_plan_free(plan);
    device_free(&x);
    device_free(&y);
    device_free(&scratch);
    device_free(&state);
    device_layer_free(&d);
    layer_free(&l);
}

int main(int argc, char **argv)
{
    fbq_options options = {0, 0, NULL, NULL};
    fbq_error error;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--shard") && sscanf(argv[i + 1], "%d/%d", &shard, &shards) == 2)
            continue;
        if (!strcmp(argv[i], "--ptx") && sscanf(argv[i + 1], "%d", &options.ptx) == 1)
            continue;
        fprintf(stderr, "usage: gpu_linear [--shard I/N] [--ptx CAPABILITY]\n");
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs),     cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_formats),    cmocka_unit_test(test_types),
        cmocka_unit_test(test_not_finite), cmocka_unit_test(test_batch_invariant),
        cmocka_unit_test(test_exact),      cmocka_unit_test(test_picks),
        cmocka_unit_test(test_graph),      cmocka_unit_test(test_state),
        cmocka_unit_test(test_bad_calls)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("worst norm %.2e, worst bound c = %.3f\n", worst_norm, worst_bound);
    fbq_close(context);
    return failed;
}
