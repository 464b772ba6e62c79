/* tests/unit_shipped.c: the records that come with fbq are whole, legal, say how they were found,
 * and are taken for what they were found for and nothing else, behind all wisdom and before the
 * rules. nvrtc_picks compiles them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include <fbq/host/shipped_records.h>

#include "../autotune/gpus.h"
#include "support/records.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};

static fbq_rung rung_of(const fbq_problem *problem, const fbq_gpu *gpu, const fbq_record *like)
{
    fbq_found found;
    fbq_pick pick, same;
    assert_int_equal(fbq_pick_shipped(problem, gpu, like->pick.kernel, &pick, &found, NULL),
                     FBQ_OK);
    if (found.rung == FBQ_RUNG_SHIPPED)
        assert_memory_equal(&pick, &found.record.pick, sizeof pick);
    else {
        assert_int_equal(fbq_pick_default(problem, gpu, like->pick.kernel, &same, NULL), FBQ_OK);
        assert_memory_equal(&pick, &same, sizeof pick);
    }
    return found.rung;
}

static void record_is_right(const fbq_record *r)
{
    const fbq_gpu *const known = gpus_find(r->gpu.name);
    fbq_problem other = r->problem;
    fbq_gpu gpu;
    fbq_pick pick;
    assert_non_null(known);
    gpu = *known;
    assert_int_equal(gpu.sms, r->gpu.sms);
    assert_int_equal(gpu.capability, r->gpu.capability);
    assert_int_equal(r->epoch, FBQ_KERNEL_EPOCH);
    assert_int_equal(fbq_pick_check(&r->problem, &gpu, &r->pick, NULL), FBQ_OK);
    assert_int_equal(fbq_pick_default(&r->problem, &gpu, r->pick.kernel, &pick, NULL), FBQ_OK);
    assert_memory_not_equal(&pick, &r->pick, sizeof pick);
    /* measured here, and elsewhere only predicted */
    assert_int_equal(r->rigor >= FBQ_RIGOR_MEASURE, !strcmp(known->name, h200.name));
    assert_true(r->median_ns > 0);
    assert_int_equal(rung_of(&r->problem, &gpu, r), FBQ_RUNG_SHIPPED);
    gpu.sms--;
    assert_int_equal(rung_of(&r->problem, &gpu, r), FBQ_RUNG_DEFAULT);
    gpu.sms++;
    for (int s = 0; s < other.shape.segments; s++)
        other.shape.segment[s].n += 16;
    assert_int_equal(rung_of(&other, &gpu, r), FBQ_RUNG_DEFAULT);
    other = r->problem;
    other.format.group = 64;
    assert_int_equal(rung_of(&other, &gpu, r), FBQ_RUNG_DEFAULT);
}

static void test_records(void **state)
{
    size_t lines = 0;
    fbq_wisdom *all = NULL;
    fbq_error error;
    (void)state;
    for (; fbq__shipped_records[lines]; lines++) {
        fbq_record record;
        if (fbq_record_parse(fbq__shipped_records[lines], &record, &error) != FBQ_OK)
            fail_msg("line %zu: %s", lines, error.detail);
        record_is_right(&record);
    }
    assert_true(lines >= 10);
    assert_int_equal(fbq_wisdom_shipped(&all, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_count(all), lines); /* none twice */
    fbq_wisdom_free(all);
}

static void test_null(void **state)
{
    const fbq_problem problem = record_problem(4096, 4096, 128, 1);
    fbq_pick pick;
    (void)state;
    assert_int_equal(fbq_wisdom_shipped(NULL, NULL), FBQ_ERR_NULL);
    assert_int_equal(fbq_pick_shipped(&problem, NULL, FBQ_KERNEL_FUSED, &pick, NULL, NULL),
                     FBQ_ERR_NULL);
    assert_int_equal(fbq_pick_shipped(&problem, &h200, FBQ_KERNEL_FUSED, NULL, NULL, NULL),
                     FBQ_ERR_NULL);
    assert_int_equal(fbq_pick_shipped(NULL, &h200, FBQ_KERNEL_FUSED, &pick, NULL, NULL),
                     FBQ_ERR_NULL);
    assert_int_equal(fbq_pick_shipped(&problem, &h200, FBQ_KERNEL_FUSED, &pick, NULL, NULL),
                     FBQ_OK);
}

/* A plan takes one where its wisdom knows nothing, and the rules where that one does not fit into
 * what this machine's compiler makes of it. */
static void test_plan(void **state)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, "", "", 0};
    const fbq_problem problem = record_problem(4096, 4096, 128, 1);
    fbq_context *context = NULL;
    fbq_plan *plan = NULL;
    fbq_found found;
    fbq_pick pick, shipped;
    (void)state;
    assert_int_equal(fbq_pick_shipped(&problem, &h200, FBQ_KERNEL_FUSED, &shipped, &found, NULL),
                     FBQ_OK);
    assert_int_equal(found.rung, FBQ_RUNG_SHIPPED);
    if (fbq_open(&options, &context, NULL) == FBQ_ERR_NO_NVRTC)
        skip();
    assert_non_null(context);
    assert_int_equal(fbq_prepare(context, &problem, NULL, NULL, &plan, NULL), FBQ_OK);
    assert_int_equal(fbq_plan_found(plan, FBQ_KERNEL_FUSED, 1, &found), FBQ_OK);
    assert_int_equal(found.rung, FBQ_RUNG_SHIPPED);
    assert_int_equal(fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 1, &pick), FBQ_OK);
    assert_memory_equal(&pick, &shipped, sizeof pick);
    fbq_plan_free(plan);
    setenv("FBQ_FAKE_THREADS", "400", 1); /* 12 warps and the sub-branch's have 512 */
    assert_int_equal(fbq_prepare(context, &problem, NULL, NULL, &plan, NULL), FBQ_OK);
    unsetenv("FBQ_FAKE_THREADS");
    assert_int_equal(fbq_plan_found(plan, FBQ_KERNEL_FUSED, 1, &found), FBQ_OK);
    assert_int_equal(found.rung, FBQ_RUNG_DEFAULT);
    fbq_plan_free(plan);
    fbq_close(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_records),
        cmocka_unit_test(test_null),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
