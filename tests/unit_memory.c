/* tests/unit_memory.c: the implementation with an allocator of the program's own. Every allocation
 * of every call fails in its turn: FBQ_ERR_OUT_OF_HOST, a text, and nothing left behind.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* as the implementation unit wants it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static int allocations, fail_at = -1, living;

static void *counted_malloc(size_t bytes)
{
    void *memory = allocations++ == fail_at ? NULL : malloc(bytes);
    living += memory != NULL;
    return memory;
}

static void counted_free(void *memory)
{
    living -= memory != NULL;
    free(memory);
}

/* This program has an implementation unit of its own, whatever its helpers link. */
#undef FBQ_LINKED
#define FBQ_MALLOC(bytes) counted_malloc(bytes)
#define FBQ_FREE(memory) counted_free(memory)
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include "support/command.h"
#include "support/records.h"
#include "support/refusal.h"

#define WISDOM "unit_memory.wisdom" /* in the folder that the test runs in */
#define CUBINS "unit_memory.cubins"
static const char *cubins = "";

static fbq_layout layout;
static uint8_t codes[20 * 70], weights[8192], down[8192], up[8192];
static uint16_t scales[20 * 3], a[5 * 70], b[20 * 5];
static const fbq_parts parts = {weights, sizeof weights, down, sizeof down, up, sizeof up};

static fbq_status pack(fbq_error *error)
{
    return fbq_pack_weights(&layout, codes, scales, NULL, weights, sizeof weights, error);
}

static fbq_status pack_bad_code(fbq_error *error)
{
    fbq_status status;
    codes[3] = 16;
    status = pack(error);
    codes[3] = 0;
    return status == FBQ_ERR_CODE ? FBQ_OK : status;
}

static fbq_status unpack(fbq_error *error)
{
    return fbq_unpack_weights(weights, sizeof weights, codes, scales, NULL, error);
}

static fbq_status reconstruct(fbq_error *error)
{
    static double w[20 * 70];
    return fbq_reconstruct(&parts, 0, 20, w, error);
}

static fbq_status reference(fbq_error *error)
{
    static double x[70], y[20], scale[20];
    return fbq_reference(&parts, 0, 20, 1, x, y, scale, error);
}

static const fbq_problem problem = {
    {4, 32, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16}, {70, 1, {{20, 5}}}, FBQ_F16, FBQ_F16, 2, 0, 0};

static fbq_status compile_for(int capability, fbq_error *error)
{
    const fbq_pick pick = {FBQ_KERNEL_DOWN, 1, 1, 1, 1, 1, 1, 0};
    const fbq_gpu gpu = {"a GPU", capability, 132, 232448, 233472, 65536};
    void *image;
    size_t bytes;
    fbq_status status = fbq_compile(&problem, &gpu, &pick, 0, NULL, &image, &bytes, error);
    if (status == FBQ_OK)
        fbq_free(image);
    return status;
}

static fbq_status compile(fbq_error *error)
{
    return compile_for(80, error);
}

static fbq_status open_and_prepare(fbq_error *error)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, WISDOM, cubins, 0};
    fbq_context *context;
    fbq_plan *plan;
    fbq_status status = fbq_open(&options, &context, error);
    if (status != FBQ_OK)
        return status;
    status = fbq_prepare(context, &problem, NULL, NULL, &plan, error);
    if (status == FBQ_OK)
        fbq_plan_free(plan);
    fbq_close(context);
    return status;
}

static fbq_status open_and_reconstruct(fbq_error *error)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, WISDOM, cubins, 0};
    const fbq_reconstruction what = {problem.format, problem.shape, FBQ_F16, 0};
    fbq_context *context;
    fbq_reconstruct_plan *plan;
    fbq_status status = fbq_open(&options, &context, error);
    if (status != FBQ_OK)
        return status;
    status = fbq_prepare_reconstruct(context, &what, &plan, error);
    if (status == FBQ_OK)
        fbq_reconstruct_plan_free(plan);
    fbq_close(context);
    return status;
}

/* More records than the first piece of memory holds. */
static fbq_status read_and_write_wisdom(fbq_error *error)
{
    static const fbq_gpu h200 = {"H200", 90, 132, 232448, 233472, 65536};
    fbq_wisdom *wisdom = NULL;
    fbq_status status = fbq_wisdom_new(&wisdom, error);
    if (status != FBQ_OK)
        return status;
    for (int i = 0; i < 40 && status == FBQ_OK; i++) {
        const fbq_problem p = record_problem(16 + i, 128, 0, 1);
        const fbq_record r = record_of(&p, &h200, FBQ_KERNEL_FUSED);
        status = fbq_wisdom_add(wisdom, &r, error);
    }
    if (status == FBQ_OK)
        status = fbq_wisdom_write(wisdom, WISDOM, error);
    fbq_wisdom_free(wisdom);
    return status;
}

/* At least `least` allocations, each of which fails once. */
static void exhaust(fbq_status (*call)(fbq_error *), int least)
{
    fail_at = -1;
    allocations = 0;
    assert_int_equal(call(NULL), FBQ_OK);
    const int all = allocations;
    assert_int_equal(living, 0);
    assert_true(all >= least);
    for (int i = 0; i < all; i++) {
        fail_at = i;
        allocations = 0;
        assert_refused(FBQ_ERR_OUT_OF_HOST, call(&error), "m"); /* malloc, memory */
        assert_int_equal(living, 0);
        allocations = 0;
        assert_int_equal(call(NULL), FBQ_ERR_OUT_OF_HOST);
        assert_int_equal(living, 0);
    }
    fail_at = -1;
    assert_int_equal(call(NULL), FBQ_OK); /* and all is well again */
}

static void test_packing(void **state)
{
    (void)state;
    assert_int_equal(fbq_layout_of(&problem.format, &problem.shape, &layout, NULL), FBQ_OK);
    assert_int_equal(fbq_pack_down(&layout, a, down, sizeof down, NULL), FBQ_OK);
    assert_int_equal(fbq_pack_up(&layout, b, 5, up, sizeof up, NULL), FBQ_OK);
    exhaust(pack, 1);
    exhaust(pack_bad_code, 1);
    exhaust(unpack, 1);
    exhaust(reconstruct, 2);
    exhaust(reference, 2);
}

static void test_wisdom(void **state)
{
    (void)state;
    exhaust(read_and_write_wisdom, 8);
}

static void test_compiling(void **state)
{
    fbq_error error;
    (void)state;
    if (compile(NULL) == FBQ_ERR_NO_NVRTC)
        skip();
    exhaust(compile, 1);
    exhaust(open_and_prepare, 4);
    exhaust(open_and_reconstruct, 3);
    cubins = CUBINS; /* compiled and kept by the first call, taken from there by the others */
    assert_int_equal(open_and_prepare(NULL), FBQ_OK);
    exhaust(open_and_prepare, 6);
    assert_int_equal(open_and_reconstruct(NULL), FBQ_OK);
    exhaust(open_and_reconstruct, 4);
    assert_int_equal(folder_count(CUBINS), 3);
    /* no memory for the compiler's log: the refusal itself still comes through */
    fail_at = 0;
    allocations = 0;
    assert_int_equal(compile_for(999, &error), FBQ_ERR_COMPILE);
    assert_non_null(strstr(error.detail, "sm_999"));
    assert_int_equal(living, 0);
    fail_at = -1;
}

static int wisdom_remove(void **state)
{
    (void)state;
    remove(WISDOM);
    remove(WISDOM ".lock");
    folder_remove(CUBINS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_packing),
                                       cmocka_unit_test(test_wisdom),
                                       cmocka_unit_test(test_compiling)};
    return cmocka_run_group_tests(tests, wisdom_remove, wisdom_remove);
}
