/* tests/unit_predict.c: the model of a pick's time is a time for every pick that is legal, and
 * moves the way that clocks, bandwidths, bytes and rows move it; tests/CMakeLists.txt has fbq-fit
 * compare it with times that were measured.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "../autotune/gpus.h"
#include "support/records.h"

static double of_default(const fbq_problem *problem, const fbq_gpu *gpu, const gpu_speed *speed)
{
    fbq_pick pick;
    assert_int_equal(fbq_pick_default(problem, gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    return predict(&predict_model, problem, gpu, speed, &pick);
}

/* Every GPU, bits, rows and ranks: more than the bytes take by themselves, and not absurd. */
static void test_everywhere(void **state)
{
    (void)state;
    for (int g = 0; gpus_short_name(g); g++)
        for (int bits = 2; bits <= 4; bits++)
            for (int m = 1; m <= 16; m++)
                for (int rank = 0; rank <= 256; rank += 64) {
                    const fbq_gpu *const gpu = gpus_find(gpus_short_name(g));
                    const gpu_speed *const speed = gpus_speed(gpu->name);
                    fbq_problem p = record_problem(11008, 4096, rank, m);
                    fbq_layout layout;
                    p.format.bits = bits;
                    assert_int_equal(fbq_layout_of(&p.format, &p.shape, &layout, NULL), FBQ_OK);
                    const double floor =
                        (double)(layout.weights_bytes + layout.down_bytes + layout.up_bytes) /
                        speed->bandwidth * 1e-3;
                    const double us = of_default(&p, gpu, speed);
                    assert_true(us > floor && us < 20 * floor + 20);
                }
}

/* A GPU that is faster at something is not predicted to be slower. */
static void test_moves(void **state)
{
    const fbq_gpu *const gpu = gpus_find("h200");
    const gpu_speed *const speed = gpus_speed(gpu->name);
    const gpu_speed wide = {2 * speed->bandwidth, speed->clock};
    const gpu_speed fast = {speed->bandwidth, 2 * speed->clock};
    fbq_problem p = record_problem(11008, 4096, 128, 1);
    const double us = of_default(&p, gpu, speed);
    (void)state;
    assert_true(of_default(&p, gpu, &wide) < us && of_default(&p, gpu, &fast) < us);
    p.shape.segment[0].r = 0;
    assert_true(of_default(&p, gpu, speed) < us);
    p.shape.segment[0].r = 128;
    p.format.bits = 2;
    assert_true(of_default(&p, gpu, speed) < us);
    p.format.bits = 4;
    p.m_max = 16;
    assert_true(of_default(&p, gpu, speed) > us);
}

static void test_not_legal(void **state)
{
    const fbq_gpu *const gpu = gpus_find("rtx3090");
    const fbq_problem p = record_problem(4096, 4096, 128, 1);
    fbq_pick pick;
    (void)state;
    assert_int_equal(fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    assert_true(predict(&predict_model, &p, gpu, gpus_speed(gpu->name), &pick) > 0);
    pick.stages = 9;
    assert_true(predict(&predict_model, &p, gpu, gpus_speed(gpu->name), &pick) == 0);
    assert_int_equal(fbq_pick_default(&p, gpu, FBQ_KERNEL_DOWN, &pick, NULL), FBQ_OK);
    assert_true(predict(&predict_model, &p, gpu, gpus_speed(gpu->name), &pick) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everywhere),
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_not_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
