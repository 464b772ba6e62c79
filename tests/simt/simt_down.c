/* tests/simt/simt_down.c: the unmodified down kernel on the CPU, against A and x in double.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static const layer_case base = {.n = 16, .k = 200, .r = 16, .m = 1, .group = 64};

static void check(const layer_case *c)
{
    layer_result result;
    int right = layer_run_down(c, &result);
    if (!right)
        layer_print(&result);
    free(result.y);
    assert_true(right);
}

static void any_k(void **state)
{
    static const int64_t sizes[] = {1, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 576, 1000};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (int64_t m = 1; m <= 8; m += 7) {
            layer_case c = base;
            c.k = sizes[i];
            c.m = m;
            c.slices = 1 + (int)(i % 5); /* more slices than chunks among them */
            c.seed = i + 1;
            check(&c);
        }
    }
}

static void any_rank(void **state)
{
    static const int64_t ranks[] = {1, 8, 15, 16, 17, 128, 130};
    (void)state;
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++) {
        for (int64_t m = 1; m <= 5; m += 4) {
            layer_case c = base;
            c.r = ranks[i];
            c.m = m;
            c.seed = i + 100;
            check(&c);
        }
    }
}

static void any_rows(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 8; m++) {
        layer_case c = base;
        c.m = m;
        c.resident = (int)m;
        check(&c);
    }
}

/* x that starts anywhere, with rows anywhere: the slow loads, and the fast ones where they fit. */
static void any_alignment(void **state)
{
    (void)state;
    for (int shift = 0; shift < 8; shift++) {
        for (int64_t gap = 0; gap <= 8; gap += shift == 0 ? 1 : 4) {
            layer_case c = base;
            c.k = 197 + shift; /* 200 among them: rows that can be aligned */
            c.m = 3;
            c.x_shift = shift;
            c.x_gap = gap;
            check(&c);
        }
    }
}

static void any_pick(void **state)
{
    static const int picks[][2] = {{1, 1}, {1, 4}, {2, 2}, {3, 2}, {4, 4}, {8, 1}, {8, 4}};
    (void)state;
    for (size_t i = 0; i < sizeof picks / sizeof picks[0]; i++) {
        for (int slices = 1; slices <= 64; slices *= 8) {
            layer_case c = base;
            c.k = 1000;
            c.m = 1 + (int64_t)(i % 2) * 4;
            c.down_warps = picks[i][0];
            c.down_chunks = picks[i][1];
            c.slices = slices;
            c.resident = slices;
            check(&c);
        }
    }
}

static void exact_bits(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 8; m += 7) {
        layer_case c = base;
        c.exact = 1;
        c.k = 1000;
        c.r = 40;
        c.m = m;
        c.slices = 3;
        check(&c);
    }
}

static void any_x(void **state)
{
    (void)state;
    for (int kind = 0; kind < LAYER_X_KINDS; kind++) {
        layer_case c = base;
        c.x = (layer_x)kind;
        c.m = 2;
        check(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_k),         cmocka_unit_test(any_rank), cmocka_unit_test(any_rows),
        cmocka_unit_test(any_alignment), cmocka_unit_test(any_pick), cmocka_unit_test(exact_bits),
        cmocka_unit_test(any_x),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
