/* tests/simt/simt_splits.c: split-K on the CPU, against the reference in double.
 *
 *     simt_splits [80|90]     as layer_main
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static layer_case base = {.n = 100, .k = 1000, .m = 1, .group = 64, .sms = 9, .resident = 9};

/* The picks that kernels.cc has for split-K. */
static const struct {
    int group, tiles, splits;
} picks[] = {{64, 2, 3}, {64, 1, 2}, {128, 3, 2}};

/* No sub-branch, t from down, t made in the same launch. */
enum { PLAIN, TWO_LAUNCHES, ONE_LAUNCH, BRANCHES };

static layer_case case_of(size_t pick, int branch, int64_t m)
{
    layer_case c = base;
    c.group = picks[pick].group;
    c.tiles = picks[pick].tiles;
    c.splits = picks[pick].splits;
    c.r = branch == PLAIN ? 0 : 40;
    c.one_launch = branch == ONE_LAUNCH ? 2 : 0;
    c.m = m;
    return c;
}

static void check(const layer_case *c)
{
    assert_true(layer_right(c, NULL));
}

/* Any N and K: parts of K without a unit, groups and rounds that are not full, one tile. */
static void any_shape(void **state)
{
    static const int64_t rows[] = {1, 16, 40, 500}, sizes[] = {64, 200, 1000, 1600};
    (void)state;
    for (size_t pick = 0; pick < COUNT(picks); pick++) {
        for (int branch = 0; branch < BRANCHES; branch++) {
            for (size_t i = 0; i < COUNT(rows) * COUNT(sizes); i++) {
                layer_case c = case_of(pick, branch, i % 3 == 1 ? 6 : 1);
                c.n = rows[i % COUNT(rows)];
                c.k = sizes[i / COUNT(rows)];
                c.one_launch = branch == ONE_LAUNCH ? 1 : 0;
                if (branch == ONE_LAUNCH && c.n < 40)
                    c.r = 5; /* one share for the one or two blocks that there are */
                c.chained = i & 1;
                c.bias = i & 2 ? 1 : 0;
                c.residual = i & 4 ? LAYER_RESIDUAL_IN_PLACE : LAYER_NO_RESIDUAL;
                c.y_type = i & 8 ? FBQ_F32 : FBQ_F16;
                c.seed = i + 1;
                c.data_seed = i;
                check(&c);
            }
        }
    }
}

/* Whoever comes last, and however few blocks live at once: the same bits. */
static void same_bits_in_any_order(void **state)
{
    (void)state;
    for (size_t pick = 0; pick < COUNT(picks); pick++) {
        for (int branch = 0; branch < BRANCHES; branch++) {
            layer_result first;
            layer_case c = case_of(pick, branch, 1 + 3 * (branch == PLAIN));
            assert_true(layer_run(&c, &first));
            for (uint64_t seed = 2; seed < 8; seed++) {
                c.seed = seed;
                c.resident = (int)seed % 4 + 1;
                c.impatient = 1;
                assert_true(layer_right(&c, &first));
            }
            free(first.y);
        }
    }
}

/* With small integers every sum is exact, however K is split: the reference's bits. */
static void exact_bits(void **state)
{
    (void)state;
    for (size_t pick = 0; pick < COUNT(picks); pick++) {
        for (int branch = 0; branch < BRANCHES; branch++) {
            layer_case c = case_of(pick, branch, 1 + 4 * (branch != PLAIN));
            c.exact = 1;
            c.k = 500;
            c.data_seed = pick;
            check(&c);
        }
    }
}

/* A layer may leave its sub-branch out, and the counters are needed nevertheless. */
static void unused_branch(void **state)
{
    (void)state;
    for (size_t pick = 0; pick < COUNT(picks); pick++) {
        for (int branch = TWO_LAUNCHES; branch < BRANCHES; branch++) {
            layer_case c = case_of(pick, branch, 1);
            c.unused_branch = 1;
            check(&c);
        }
    }
}

/* One state serves launches of any kind, one after the other, and its counters are 0 after each. */
static void state_goes_on(void **unused)
{
    uint64_t shared[4096] = {0};
    (void)unused;
    for (int round = 0; round < 12; round++) {
        layer_case c = case_of((size_t)round % COUNT(picks), round / 3 % BRANCHES, 1 + round % 4);
        layer l;
        fbq_error error;
        fbq_simt_report report;
        if (round % 4 == 3)
            c = (layer_case){.n = 200,
                             .k = 300,
                             .r = 24,
                             .m = 2,
                             .group = 64,
                             .sms = 9,
                             .resident = 9,
                             .one_launch = 1}; /* not split */
        c.capability = base.capability;
        c.exact = 1;
        c.data_seed = (uint64_t)round;
        assert_int_equal(layer_make(&l, &c, &error), FBQ_OK);
        fbq_call call = layer_call(&l, &c);
        call.state = shared;
        call.state_bytes = sizeof shared;
        assert_int_equal(fbq_simt_linear_with(&l.problem, &call, &l.options, &report, &error),
                         FBQ_OK);
        layer_result own;
        assert_true(layer_run(&c, &own));
        for (int64_t i = 0; i < c.m * c.n; i++)
            assert_int_equal(l.y[i / c.n * l.y_stride + i % c.n], ((uint16_t *)own.y)[i]);
        for (int i = 16; i < 16 + 1024; i++)
            assert_true(shared[i] == 0);
        free(own.y);
        layer_free(&l);
    }
}

/* What a launch would need and does not get. */
static void refused(void **state)
{
    (void)state;
    layer_case c = case_of(0, PLAIN, 1);
    layer l;
    fbq_error error;
    assert_int_equal(layer_make(&l, &c, &error), FBQ_OK);
    const fbq_call good = layer_call(&l, &c);
#define REFUSED(status, change)                                                             \
    do {                                                                                    \
        fbq_call call = good;                                                               \
        change;                                                                             \
        assert_int_equal(fbq_simt_linear_with(&l.problem, &call, &l.options, NULL, &error), \
                         status);                                                           \
    } while (0)
    REFUSED(FBQ_ERR_NULL, call.state = NULL);
    REFUSED(FBQ_ERR_NULL, call.scratch = NULL);
    REFUSED(FBQ_ERR_BUFFER, call.state_bytes--);
    REFUSED(FBQ_ERR_BUFFER, call.scratch_bytes--);
    REFUSED(FBQ_ERR_ALIGNMENT, call.state = (char *)call.state + 8);
    REFUSED(FBQ_OK, (void)0);
#undef REFUSED
    layer_free(&l);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_shape),     cmocka_unit_test(same_bits_in_any_order),
        cmocka_unit_test(exact_bits),    cmocka_unit_test(unused_branch),
        cmocka_unit_test(state_goes_on), cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return layer_main(argc, argv, &base.capability, run);
}
