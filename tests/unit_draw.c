/* tests/unit_draw.c: what is drawn at random for gpu_stress has everything in it, and is legal.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include <fbq/fbq.h>

#include "support/draw.h"
#include "support/gpus.h"

#define DRAWS 4000

/* Has a library pick, in one launch where that was asked for and can be. */
static void check_legal(const fbq_problem *problem, const fbq_gpu *gpu)
{
    fbq_problem p = *problem;
    fbq_pick pick;
    fbq_error error;
    fbq_status status = fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, &error);
    if (status == FBQ_ERR_UNSUPPORTED && p.launches) {
        p.launches = 0;
        status = fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, &error);
    }
    if (status != FBQ_OK)
        fail_msg("n %lld k %lld: %s", (long long)p.shape.segment[0].n, (long long)p.shape.k,
                 error.detail);
    assert_int_equal(fbq_pick_check(&p, gpu, &pick, NULL), FBQ_OK);
}

static void test_legal(void **state)
{
    uint64_t random = 1;
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        const fbq_problem p = draw_problem(&random);
        check_legal(&p, &nominal_gpus[i % NOMINAL_GPUS]);
    }
}

/* How often each value of a field came; bounds are far from what any seed gives. */
static void test_everything(void **state)
{
    enum { BITS, GROUP, ZERO, X, SCALE, FACTOR, Y, ROWS, RANK, LAUNCHES, FIELDS };
    static const int values[FIELDS] = {3, 5, 3, 2, 2, 3, 3, 4, 2, 3};
    int seen[FIELDS][8] = {{0}};
    uint64_t random = 2;
    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        const fbq_problem p = draw_problem(&random);
        const int group = p.format.group == FBQ_GROUP_ROW ? 4
                          : p.format.group == 32          ? 0
                          : p.format.group == 64          ? 1
                          : p.format.group == 128         ? 2
                                                          : 3;
        const int field[FIELDS] = {p.format.bits - 2,
                                   group,
                                   (int)p.format.zero,
                                   p.x_type == FBQ_BF16,
                                   p.format.scale_type == FBQ_BF16,
                                   p.format.factor_type == FBQ_I8     ? 2
                                   : p.format.factor_type == FBQ_BF16 ? 1
                                                                      : 0,
                                   p.y_type == FBQ_F32    ? 2
                                   : p.y_type == FBQ_BF16 ? 1
                                                          : 0,
                                   p.m_max == 1   ? 0
                                   : p.m_max == 4 ? 1
                                   : p.m_max == 8 ? 2
                                                  : 3,
                                   p.shape.segment[0].r > 0,
                                   p.launches};
        for (int f = 0; f < FIELDS; f++) {
            assert_in_range(field[f], 0, values[f] - 1);
            seen[f][field[f]]++;
        }
    }
    for (int f = 0; f < FIELDS; f++)
        for (int v = 0; v < values[f]; v++)
            assert_true(seen[f][v] > DRAWS / 16);
}

static void test_same_seed(void **state)
{
    uint64_t first = 3, second = 3;
    (void)state;
    for (int i = 0; i < 100; i++) {
        const fbq_problem a = draw_problem(&first), b = draw_problem(&second);
        assert_memory_equal(&a.format, &b.format, sizeof a.format);
        assert_true(a.shape.k == b.shape.k && a.shape.segment[0].n == b.shape.segment[0].n &&
                    a.shape.segment[0].r == b.shape.segment[0].r);
        assert_true(a.x_type == b.x_type && a.y_type == b.y_type && a.m_max == b.m_max &&
                    a.launches == b.launches);
    }
    assert_true(first == second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_legal),
                                       cmocka_unit_test(test_everything),
                                       cmocka_unit_test(test_same_seed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
