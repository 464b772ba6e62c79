/* tests/unit_wisdom_plan.c: a context reads its wisdom once, and plans take their picks from it and
 * say so. A driver library that plays a GPU stands in for one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* setenv, mkdtemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fbq/fbq.h>

#include "support/records.h"

static char folder[64], path[100];
static fbq_gpu gpu; /* that the driver plays */

/* NULL where there is no NVRTC. */
static fbq_context *open_with(const char *wisdom_file)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, wisdom_file, "", 0};
    fbq_context *context = NULL;
    const fbq_status status = fbq_open(&options, &context, NULL);
    assert_true(status == FBQ_OK || status == FBQ_ERR_NO_NVRTC);
    if (context)
        assert_int_equal(fbq_context_gpu(context, &gpu), FBQ_OK);
    return context;
}

static int set_up(void **state)
{
    fbq_context *context;
    (void)state;
    strcpy(folder, "/tmp/fbq-plan-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/wisdom", folder);
    setenv("FBQ_CACHE_DIR", folder, 1);
    context = open_with("");
    fbq_close(context);
    return 0;
}

static int tear_down(void **state)
{
    char name[120];
    (void)state;
    remove(path);
    snprintf(name, sizeof name, "%s.lock", path);
    remove(name);
    return rmdir(folder);
}

/* A layer of K = 1024, whose default has fewer warps than 16, with and without a sub-branch. */
static fbq_problem layer(int64_t r, int m_max)
{
    return record_problem(64, 1024, r, m_max);
}

/* What tuning could have found: legal, and not the default. */
static fbq_record tuned(fbq_kernel kernel, int64_t r, int m_max)
{
    const fbq_problem problem = layer(r, m_max);
    fbq_record record = record_of(&problem, &gpu, kernel);
    fbq_pick other = record.pick;
    if (kernel == FBQ_KERNEL_DOWN)
        other.slices = other.slices == 1 ? 2 : 1;
    else {
        other.warps = 16;
        other.chunks = 2;
        other.blocks_per_sm = 1;
        other.slices = 0;
        other.stages = 2;
        other.tiles = 1;
        other.splits = 0;
    }
    assert_memory_not_equal(&other, &record.pick, sizeof other);
    record.pick = other;
    return record;
}

static void save(const fbq_record *records, int count)
{
    fbq_wisdom *wisdom = NULL;
    remove(path);
    assert_int_equal(fbq_wisdom_new(&wisdom, NULL), FBQ_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(fbq_wisdom_add(wisdom, &records[i], NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_write(wisdom, path, NULL), FBQ_OK);
    fbq_wisdom_free(wisdom);
}

static void check(const fbq_plan *plan, fbq_kernel kernel, int64_t m, fbq_rung rung,
                  const fbq_pick *want)
{
    fbq_found found;
    fbq_pick pick;
    assert_int_equal(fbq_plan_found(plan, kernel, m, &found), FBQ_OK);
    assert_int_equal(found.rung, rung);
    assert_int_equal(fbq_plan_pick(plan, kernel, m, &pick), FBQ_OK);
    if (want)
        assert_memory_equal(&pick, want, sizeof pick);
}

static fbq_plan *prepare(fbq_context *context, const fbq_problem *problem, const fbq_pick *down,
                         const fbq_pick *fused)
{
    fbq_plan *plan = NULL;
    fbq_error error;
    if (fbq_prepare(context, problem, down, fused, &plan, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    return plan;
}

static void test_plans(void **state)
{
    const fbq_record records[] = {tuned(FBQ_KERNEL_FUSED, 32, 4), tuned(FBQ_KERNEL_DOWN, 32, 4)};
    const fbq_problem problem = layer(32, 4);
    fbq_context *context;
    fbq_plan *plan;
    fbq_found found;
    (void)state;
    save(records, 2);
    context = open_with(path);
    if (!context)
        skip();
    assert_int_equal(fbq_wisdom_count(fbq_context_wisdom(context)), 2);
    assert_string_equal(fbq_wisdom_warning(fbq_context_wisdom(context)), "");
    /* changed since: not seen */
    remove(path);
    plan = prepare(context, &problem, NULL, NULL);
    check(plan, FBQ_KERNEL_FUSED, 1, FBQ_RUNG_DEFAULT, NULL);
    check(plan, FBQ_KERNEL_FUSED, 2, FBQ_RUNG_EXACT, &records[0].pick);
    check(plan, FBQ_KERNEL_FUSED, 4, FBQ_RUNG_EXACT, &records[0].pick);
    check(plan, FBQ_KERNEL_DOWN, 4, FBQ_RUNG_EXACT, &records[1].pick);
    assert_int_equal(fbq_plan_found(plan, FBQ_KERNEL_FUSED, 4, &found), FBQ_OK);
    assert_string_equal(found.record.gpu.name, "fake_GPU");
    assert_int_equal(found.record.median_ns, 5000);
    assert_int_equal(fbq_plan_found(plan, FBQ_KERNEL_FUSED, 5, &found), FBQ_ERR_SIZE);
    assert_int_equal(fbq_plan_found(plan, (fbq_kernel)2, 1, &found), FBQ_ERR_PICK);
    assert_int_equal(fbq_plan_found(plan, FBQ_KERNEL_DOWN, 1, NULL), FBQ_ERR_NULL);
    assert_int_equal(fbq_plan_found(NULL, FBQ_KERNEL_DOWN, 1, &found), FBQ_ERR_NULL);
    fbq_plan_free(plan);
    /* what the caller brings comes first */
    plan = prepare(context, &problem, NULL, &records[0].pick);
    check(plan, FBQ_KERNEL_FUSED, 1, FBQ_RUNG_GIVEN, &records[0].pick);
    check(plan, FBQ_KERNEL_DOWN, 4, FBQ_RUNG_EXACT, &records[1].pick);
    fbq_plan_free(plan);
    fbq_close(context);
    assert_null(fbq_context_wisdom(NULL));
}

/* A pick whose code does not fit into the registers of this machine's compiler: the default in its
 * place, and in its alone; but what the caller gave is refused. */
static void test_unfit(void **state)
{
    fbq_record records[] = {tuned(FBQ_KERNEL_FUSED, 0, 1), tuned(FBQ_KERNEL_DOWN, 32, 4),
                            tuned(FBQ_KERNEL_FUSED, 32, 4)};
    const fbq_problem alone = layer(0, 1), with = layer(32, 4);
    fbq_pick pick, wide = records[1].pick;
    fbq_context *context;
    fbq_plan *plan;
    (void)state;
    save(records, 3);
    context = open_with(NULL); /* FBQ_CACHE_DIR */
    if (!context)
        skip();
    plan = prepare(context, &alone, NULL, NULL);
    check(plan, FBQ_KERNEL_FUSED, 1, FBQ_RUNG_EXACT, &records[0].pick);
    fbq_plan_free(plan);
    setenv("FBQ_FAKE_THREADS", "500", 1); /* 16 warps have 512 */
    plan = prepare(context, &alone, NULL, NULL);
    check(plan, FBQ_KERNEL_FUSED, 1, FBQ_RUNG_DEFAULT, NULL);
    assert_int_equal(fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 1, &pick), FBQ_OK);
    assert_true(pick.warps < 16);
    fbq_plan_free(plan);
    plan = prepare(context, &with, NULL, NULL);
    check(plan, FBQ_KERNEL_FUSED, 4, FBQ_RUNG_DEFAULT, NULL);
    check(plan, FBQ_KERNEL_DOWN, 4, FBQ_RUNG_EXACT, &records[1].pick);
    fbq_plan_free(plan);
    plan = prepare(context, &with, &records[1].pick, NULL);
    check(plan, FBQ_KERNEL_DOWN, 4, FBQ_RUNG_GIVEN, &records[1].pick);
    check(plan, FBQ_KERNEL_FUSED, 4, FBQ_RUNG_DEFAULT, NULL);
    fbq_plan_free(plan);
    assert_int_equal(fbq_prepare(context, &alone, NULL, &records[0].pick, &plan, NULL),
                     FBQ_ERR_PICK);
    wide.warps = 16;
    assert_int_equal(fbq_prepare(context, &with, &wide, NULL, &plan, NULL), FBQ_ERR_PICK);
    fbq_close(context);
    /* a down of the wisdom that does not fit beside a fused that does */
    records[1].pick.warps = 16;
    records[2].pick.warps = 8;
    save(records, 3);
    context = open_with(NULL);
    plan = prepare(context, &with, NULL, NULL);
    check(plan, FBQ_KERNEL_DOWN, 4, FBQ_RUNG_DEFAULT, NULL);
    check(plan, FBQ_KERNEL_FUSED, 4, FBQ_RUNG_EXACT, &records[2].pick);
    fbq_plan_free(plan);
    assert_int_equal(fbq_prepare(context, &with, &wide, NULL, &plan, NULL), FBQ_ERR_PICK);
    unsetenv("FBQ_FAKE_THREADS");
    fbq_close(context);
}

/* Whatever is wrong with the file, the program runs, and can say what it is. */
static void test_files_that_do_not_help(void **state)
{
    const fbq_record record = tuned(FBQ_KERNEL_FUSED, 0, 1);
    const fbq_problem problem = layer(0, 1);
    const char *files[] = {"", "/nonexistent/folder/wisdom", "/", path};
    const char *says[] = {"", "", "no regular file", "wisdom:2: the record's checksum"};
    FILE *file;
    (void)state;
    save(&record, 1);
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 100, SEEK_SET), 0);
    fputc('!', file);
    fclose(file);
    for (int i = 0; i < 4; i++) {
        fbq_context *context = open_with(files[i]);
        fbq_plan *plan;
        if (!context)
            skip();
        const fbq_wisdom *wisdom = fbq_context_wisdom(context);
        assert_int_equal(fbq_wisdom_count(wisdom), 0);
        assert_non_null(strstr(fbq_wisdom_warning(wisdom), says[i]));
        assert_int_equal(!fbq_wisdom_warning(wisdom)[0], !says[i][0]);
        plan = prepare(context, &problem, NULL, NULL);
        check(plan, FBQ_KERNEL_FUSED, 1, FBQ_RUNG_DEFAULT, NULL);
        fbq_plan_free(plan);
        fbq_close(context);
    }
    /* no place is known: no wisdom, and that is said */
    static const char *const variables[] = {"FBQ_CACHE_DIR", "XDG_CACHE_HOME", "HOME"};
    for (int i = 0; i < 3; i++)
        unsetenv(variables[i]);
    fbq_context *context = open_with(NULL);
    assert_non_null(strstr(fbq_wisdom_warning(fbq_context_wisdom(context)), "FBQ_CACHE_DIR"));
    fbq_close(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plans), cmocka_unit_test(test_unfit),
                                       cmocka_unit_test(test_files_that_do_not_help)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
