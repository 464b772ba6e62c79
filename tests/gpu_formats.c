/* tests/gpu_formats.c: as gpu_linear, for every format and type, up to 16 rows, and what numbers
 * must do in each: exact sums, infinities and NaN, bits that do not depend on the batch.
 *
 *     gpu_formats [--shard I/N] [--ptx CAPABILITY]
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/launch.h"
#include "support/shard.h"

#define MOST_ROWS 16

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
        fbq_plan *plan = launch_plan(&l.problem, NULL, NULL);
        for (int64_t m = 1; m <= l.problem.m_max; m += 1 + (index + m) % 4) {
            launch how = {m,
                          0,
                          0,
                          (size_t)(index % 5 == 4 ? 2 : 0),
                          (int)(m + index) % 2,
                          (int)(m + index) % 3 == 1};
            launch_check(plan, &l, &d, &how, m % 2 ? INPUT_NORMAL : INPUT_MEAN, 7 + (uint64_t)m, 1);
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
    static const fbq_type factors[] = {FBQ_F16, FBQ_F16, FBQ_BF16, FBQ_I8};
    (void)state;
    for (int i = 0; i < 3 * 5 * 3 * 2 * 2 * 4; i++) {
        const int bits = 2 + i % 3, group = groups[i / 3 % 5], zero = i / 15 % 3;
        const fbq_type x = (fbq_type)(1 + i / 45 % 2), scale = (fbq_type)(1 + i / 90 % 2);
        const int factor = i / 180; /* 0: no sub-branch */
        if (!shard_mine())
            continue;
        fbq_problem p = {{bits, group, (fbq_zero)zero, scale, factors[factor]},
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
    for (int i = 0; i < 18; i++) {
        if (!shard_mine())
            continue;
        const fbq_type type = i / 3 % 2 ? FBQ_BF16 : FBQ_F16, factor = i < 12 ? type : FBQ_I8;
        fbq_problem p = {{2 + i % 3, 128, (fbq_zero)(i % 3), type, factor},
                         i / 6 != 1 ? fbq_shape_of(4096, 4096, 128) : fbq_shape_of(1000, 11008, 64),
                         type,
                         type,
                         MOST_ROWS,
                         0,
                         0};
        layer l = layer_make(&p, LAYER_RANDOM, 900 + (uint64_t)i);
        device_layer d = device_layer_make(&l);
        fbq_plan *plan = launch_plan(&p, NULL, NULL);
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            for (int64_t m = 1; m <= MOST_ROWS; m += m == 1 ? 2 : 5) {
                launch how = {m, 0, 0, 0, 0, 0};
                /* 2 bits of tiny numbers make an fp16 y that is subnormal, and coarse */
                const int coarse = kind == INPUT_TINY && p.format.bits == 2 && type == FBQ_F16;
                launch_check(plan, &l, &d, &how, (input_kind)kind, 100 + (uint64_t)m, !coarse);
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
        if (!shard_mine())
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
        fbq_plan *plan = launch_plan(&p, NULL, NULL);
        uint16_t x[5 * 900];
        float y[2][5 * 100];
        device_buffer dy = device_make((size_t)(m * n) * 4, 0), state = launch_state(plan);
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

/* batch_invariant: the first rows of a call have the bits that calls of fewer rows give. */
static void test_batch_invariant(void **unused)
{
    (void)unused;
    for (int i = 0; i < 4; i++) {
        if (!shard_mine())
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
        fbq_plan *plan = launch_plan(&p, NULL, NULL);
        uint16_t *x = malloc((size_t)(most * k) * 2);
        float *all = malloc((size_t)(most * n) * 4), *some = malloc((size_t)(most * n) * 4);
        assert_true(x && all && some);
        input_fill(FBQ_F16, x, most, k, k, INPUT_MEAN, 5);
        device_buffer dx = device_copy(x, (size_t)(most * k) * 2, 0);
        device_buffer dy = device_make((size_t)(most * n) * 4, 0), state = launch_state(plan);
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
        if (!shard_mine())
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
        fbq_plan *plan = launch_plan(&p, NULL, NULL);
        for (int64_t m = 1; m <= MOST_ROWS; m++) {
            launch how = {m, 0, 0, 0, 0, 0};
            assert_true(launch_check(plan, &l, &d, &how, INPUT_INTEGER, 3, 1) == 0);
        }
        fbq_plan_free(plan);
        device_layer_free(&d);
        layer_free(&l);
    }
}

int main(int argc, char **argv)
{
    const int status = shard_open(argc, argv);
    if (status)
        return status;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_formats), cmocka_unit_test(test_types),
                                       cmocka_unit_test(test_not_finite),
                                       cmocka_unit_test(test_batch_invariant),
                                       cmocka_unit_test(test_exact)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    launch_print_worst();
    shard_close();
    return failed;
}
