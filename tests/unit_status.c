/* tests/unit_status.c: every status of status.h, provoked through the public API, with a text that
 * names the argument and its value.
 *
 * A driver library that plays a GPU (fake_driver/) stands in for what needs one here; gpu_linear.c
 * provokes a launch's statuses again on a real GPU. FBQ_ERR_OUT_OF_HOST is unit_memory.c's, which
 * brings an allocator of its own, and FBQ_ERR_LOCK unit_wisdom_file.c's, which has less patience.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#include "support/refusal.h"

#define NOWHERE "/nonexistent/library.so"
#define OTHER "libm.so.6" /* a library, but neither a driver nor NVRTC */

static const struct {
    fbq_status status;
    const char *says;
} statuses[] = {{FBQ_OK, "success"},
                {FBQ_ERR_NULL, "NULL"},
                {FBQ_ERR_SIZE, "out of range"},
                {FBQ_ERR_GROUP, "group"},
                {FBQ_ERR_RANK, "rank"},
                {FBQ_ERR_FORMAT, "format"},
                {FBQ_ERR_ALIGNMENT, "aligned"},
                {FBQ_ERR_BUFFER, "buffer"},
                {FBQ_ERR_CODE, "code"},
                {FBQ_ERR_PACKED, "packed"},
                {FBQ_ERR_UNSUPPORTED, "no kernel"},
                {FBQ_ERR_PICK, "pick"},
                {FBQ_ERR_WISDOM, "record"},
                {FBQ_ERR_NO_DRIVER, "driver"},
                {FBQ_ERR_NO_NVRTC, "NVRTC"},
                {FBQ_ERR_NO_DEVICE, "GPU"},
                {FBQ_ERR_WRONG_DEVICE, "context"},
                {FBQ_ERR_CAPABILITY, "8.0"},
                {FBQ_ERR_OLD_DRIVER, "old"},
                {FBQ_ERR_CUDA, "CUDA"},
                {FBQ_ERR_COMPILE, "NVRTC"},
                {FBQ_ERR_OUT_OF_HOST, "memory"},
                {FBQ_ERR_FILE, "file or folder"},
                {FBQ_ERR_LOCK, "lock"}};
enum { STATUSES = sizeof statuses / sizeof statuses[0] };

static int provoked[1000];

/* A slow call: status and text. */
#define PROVOKE(status, call, ...)                 \
    do {                                           \
        assert_refused(status, call, __VA_ARGS__); \
        provoked[status] = 1;                      \
    } while (0)

/* A launch or a question: a status only. */
#define PROVOKE_BARE(status, call)      \
    do {                                \
        assert_int_equal(call, status); \
        provoked[status] = 1;           \
    } while (0)

static void fake(const char *name, const char *value)
{
    if (value)
        setenv(name, value, 1);
    else
        unsetenv(name);
}

static fbq_problem problem_of(int64_t n, int64_t k, int64_t r, int m_max)
{
    fbq_problem p = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                     fbq_shape_of(n, k, r),
                     FBQ_F16,
                     FBQ_F16,
                     m_max,
                     0,
                     0};
    return p;
}

static const fbq_gpu h200 = {"H200", 90, 132, 232448, 233472, 65536};

static void test_strings(void **state)
{
    (void)state;
    for (int i = 0; i < STATUSES; i++) {
        assert_non_null(strstr(fbq_status_string(statuses[i].status), statuses[i].says));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(fbq_status_string(statuses[i].status),
                                    fbq_status_string(statuses[j].status));
    }
    /* the table above is complete: no other number of the groups is a status */
    for (int number = -5; number < 1000; number++) {
        int known = 0;
        for (int i = 0; i < STATUSES; i++)
            known |= (int)statuses[i].status == number;
        assert_int_equal(!strcmp(fbq_status_string((fbq_status)number), "unknown status"), !known);
    }
    assert_int_equal(fbq_version(), FBQ_VERSION);
}

/* One of each that the packing calls return; unit_layout, unit_pack and unit_reference provoke them
 * in every way. */
static void test_packing(void **state)
{
    fbq_problem p = problem_of(8, 128, 4, 1);
    fbq_layout l;
    uint8_t codes[8 * 128] = {0}, packed[8192];
    uint16_t scales[8] = {0}, zeros[8] = {0};
    (void)state;
    assert_int_equal(fbq_layout_of(&p.format, &p.shape, &l, NULL), FBQ_OK);
    PROVOKE(FBQ_ERR_NULL, fbq_layout_of(NULL, &p.shape, &l, &error), "format is NULL");
    p.shape.k = 0;
    PROVOKE(FBQ_ERR_SIZE, fbq_layout_of(&p.format, &p.shape, &l, &error), "shape.k", "0");
    p = problem_of(8, 128, 5000, 1);
    PROVOKE(FBQ_ERR_RANK, fbq_layout_of(&p.format, &p.shape, &l, &error), "segment[0].r", "5000");
    p = problem_of(8, 128, 4, 1);
    p.format.group = 100;
    PROVOKE(FBQ_ERR_GROUP, fbq_layout_of(&p.format, &p.shape, &l, &error), "group", "100");
    p.format.bits = 5;
    PROVOKE(FBQ_ERR_FORMAT, fbq_layout_of(&p.format, &p.shape, &l, &error), "bits", "5");
    codes[3 * 128 + 7] = 16;
    PROVOKE(FBQ_ERR_CODE, fbq_pack_weights(&l, codes, scales, zeros, packed, sizeof packed, &error),
            "codes[3][7]", "16");
    PROVOKE(FBQ_ERR_BUFFER, fbq_pack_weights(&l, codes, scales, zeros, packed, 5, &error),
            "5 bytes");
    memset(packed, 0, sizeof packed);
    PROVOKE(FBQ_ERR_PACKED, fbq_layout_read(packed, sizeof packed, NULL, &l, &error), "0x00000000");
}

static void test_picks(void **state)
{
    fbq_problem p;
    fbq_pick pick = {FBQ_KERNEL_FUSED, 17, 4, 1, 1, 2, 1, 0};
    (void)state;
#define UNSUPPORTED(change, ...)                                                               \
    p = problem_of(64, 128, 0, 8);                                                             \
    change;                                                                                    \
    PROVOKE(FBQ_ERR_UNSUPPORTED, fbq_pick_default(&p, &h200, FBQ_KERNEL_FUSED, &pick, &error), \
            __VA_ARGS__)
    UNSUPPORTED(p.m_max = 17, "m_max is 17", "16", "fbq_prepare_reconstruct");
    UNSUPPORTED(p.x_type = FBQ_F32, "x_type is 3", "FBQ_F16", "FBQ_BF16");
    UNSUPPORTED(p.y_type = (fbq_type)0, "y_type is 0", "FBQ_F32");
    UNSUPPORTED((p.shape.segments = 2, p.shape.segment[0].r = p.shape.segment[1].r = 4096,
                 p.shape.segment[1].n = 5),
                "ranks of 8192 in all", "fewer segments");
    p = problem_of(64, 128, 0, 0);
    PROVOKE(FBQ_ERR_SIZE, fbq_pick_default(&p, &h200, FBQ_KERNEL_FUSED, &pick, &error),
            "m_max is 0");
    p.m_max = 8;
    PROVOKE(FBQ_ERR_PICK, fbq_pick_check(&p, &h200, &pick, &error), "pick.warps is 17", "1 .. 16");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_check(NULL, &h200, &pick, &error), "problem");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_check(&p, NULL, &pick, &error), "gpu");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_check(&p, &h200, NULL, &error), "pick");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_default(NULL, &h200, FBQ_KERNEL_FUSED, &pick, &error),
            "problem");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_default(&p, NULL, FBQ_KERNEL_FUSED, &pick, &error), "gpu");
    PROVOKE(FBQ_ERR_NULL, fbq_pick_default(&p, &h200, FBQ_KERNEL_FUSED, NULL, &error), "pick");
    PROVOKE(FBQ_ERR_PICK, fbq_pick_default(&p, &h200, (fbq_kernel)7, &pick, &error), "kernel is 7");
}

static fbq_status compile(const fbq_problem *p, int capability, int ptx, const char *library,
                          fbq_error *error)
{
    fbq_pick pick = {FBQ_KERNEL_FUSED, 1, 2, 1, 1, 2, 1, 0};
    fbq_gpu gpu = h200;
    void *image = NULL;
    size_t bytes = 0;
    fbq_status status;
    gpu.capability = capability;
    status = fbq_compile(p, &gpu, &pick, ptx, library, &image, &bytes, error);
    assert_true(status == FBQ_OK || (image == NULL && bytes == 0));
    fbq_free(image);
    return status;
}

static int nvrtc_there(void)
{
    fbq_problem p = problem_of(16, 64, 0, 1);
    return compile(&p, 80, 1, NULL, NULL) != FBQ_ERR_NO_NVRTC;
}

static void test_compiling(void **state)
{
    fbq_problem p = problem_of(16, 64, 0, 1), many = problem_of(16, 64, 0, 17);
    fbq_pick pick = {FBQ_KERNEL_FUSED, 1, 2, 1, 1, 2, 1, 0},
             wrong = {(fbq_kernel)2, 1, 2, 1, 1, 2, 1, 0};
    void *image;
    size_t bytes;
    (void)state;
    PROVOKE(FBQ_ERR_NO_NVRTC, compile(&p, 80, 0, NOWHERE, &error), NOWHERE, "install NVRTC");
    PROVOKE(FBQ_ERR_OLD_DRIVER, compile(&p, 80, 0, OTHER, &error), OTHER, "12 or later");
    PROVOKE(FBQ_ERR_CAPABILITY, compile(&p, 75, 0, NULL, &error), "capability is 75", "80");
    PROVOKE(FBQ_ERR_CAPABILITY, compile(&p, -1, 1, NULL, &error), "capability is -1", "80");
    PROVOKE(FBQ_ERR_UNSUPPORTED, compile(&many, 80, 0, NULL, &error), "m_max is 17");
    PROVOKE(FBQ_ERR_NULL, compile(NULL, 80, 0, NULL, &error), "problem is NULL");
    PROVOKE(FBQ_ERR_NULL, fbq_compile(&p, &h200, NULL, 0, NULL, &image, &bytes, &error), "pick");
    PROVOKE(FBQ_ERR_NULL, fbq_compile(&p, NULL, &pick, 0, NULL, &image, &bytes, &error), "gpu");
    PROVOKE(FBQ_ERR_NULL, fbq_compile(&p, &h200, &pick, 0, NULL, NULL, &bytes, &error), "image");
    PROVOKE(FBQ_ERR_NULL, fbq_compile(&p, &h200, &pick, 0, NULL, &image, NULL, &error), "bytes");
    PROVOKE(FBQ_ERR_PICK, fbq_compile(&p, &h200, &wrong, 0, NULL, &image, &bytes, &error),
            "pick.kernel is 2");
    pick.chunks = 3;
    PROVOKE(FBQ_ERR_PICK, fbq_compile(&p, &h200, &pick, 0, NULL, &image, &bytes, &error),
            "pick.chunks is 3", "an even number");
    fbq_free(NULL);
    if (!nvrtc_there())
        skip();
    /* what a text leaves out of a pick for down is 0 */
    p = problem_of(16, 64, 16, 1);
    assert_int_equal(fbq_pick_parse("down warps=1 chunks=1 slices=1", &pick, NULL), FBQ_OK);
    assert_int_equal(fbq_compile(&p, &h200, &pick, 0, NULL, &image, &bytes, NULL), FBQ_OK);
    fbq_free(image);
    p = problem_of(16, 64, 0, 1);
    PROVOKE(FBQ_ERR_COMPILE, compile(&p, 999, 0, NULL, &error), "sm_999", "NVRTC");
    PROVOKE(FBQ_ERR_COMPILE, compile(&p, 999, 1, NULL, &error), "compute_999");
}

static fbq_status open_fake(int device, int ptx, const char *nvrtc, fbq_context **context,
                            fbq_error *error)
{
    const fbq_options options = {device, ptx, FBQ_FAKE_DRIVER, nvrtc, "", "", 0};
    return fbq_open(&options, context, error);
}

static void test_opening(void **state)
{
    const fbq_options nowhere = {0, 0, NOWHERE, NULL, "", "", 0},
                      other = {0, 0, OTHER, NULL, "", "", 0};
    fbq_context *c = NULL;
    (void)state;
    PROVOKE(FBQ_ERR_NULL, fbq_open(NULL, NULL, &error), "context is NULL");
    PROVOKE(FBQ_ERR_NO_DRIVER, fbq_open(&nowhere, &c, &error), NOWHERE, "driver");
    PROVOKE(FBQ_ERR_OLD_DRIVER, fbq_open(&other, &c, &error), "cuGetProcAddress_v2", "12 or later");
    PROVOKE(FBQ_ERR_CAPABILITY, open_fake(0, 75, NULL, &c, &error), "options.ptx is 75", "80");
    fake("FBQ_FAKE_GPUS", "0");
    PROVOKE(FBQ_ERR_NO_DEVICE, open_fake(0, 0, NULL, &c, &error), "options.device is 0", "0 GPUs");
    fake("FBQ_FAKE_GPUS", NULL);
    PROVOKE(FBQ_ERR_NO_DEVICE, open_fake(2, 0, NULL, &c, &error), "options.device is 2", "2 GPUs");
    PROVOKE(FBQ_ERR_NO_DEVICE, open_fake(-1, 0, NULL, &c, &error), "options.device is -1");
    fake("FBQ_FAKE_CAPABILITY", "75");
    PROVOKE(FBQ_ERR_CAPABILITY, open_fake(1, 0, NULL, &c, &error), "GPU 1", "fake GPU", "7.5",
            "8.0");
    fake("FBQ_FAKE_CAPABILITY", NULL);
    PROVOKE(FBQ_ERR_NO_NVRTC, open_fake(0, 0, NOWHERE, &c, &error), NOWHERE);
    PROVOKE(FBQ_ERR_OLD_DRIVER, open_fake(0, 0, OTHER, &c, &error), OTHER);
    /* a driver that lacks any of its functions, or whose functions fail */
    static const char *const functions[] = {"cuInit",
                                            "cuDeviceGetCount",
                                            "cuDeviceGet",
                                            "cuDeviceGetName",
                                            "cuDeviceGetAttribute",
                                            "cuCtxGetDevice",
                                            "cuGetErrorName",
                                            "cuGetErrorString",
                                            "cuLibraryLoadData",
                                            "cuLibraryUnload",
                                            "cuLibraryGetKernel",
                                            "cuKernelGetFunction",
                                            "cuKernelGetAttribute",
                                            "cuKernelSetAttribute",
                                            "cuLaunchKernelEx"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake("FBQ_FAKE_LACKS", functions[i]);
        PROVOKE(FBQ_ERR_OLD_DRIVER, open_fake(0, 0, NULL, &c, &error), functions[i], "12 or later");
    }
    fake("FBQ_FAKE_LACKS", NULL);
    for (size_t i = 0; i < 5; i++) {
        fake("FBQ_FAKE_FAILS", functions[i]);
        PROVOKE(FBQ_ERR_CUDA, open_fake(0, 0, NULL, &c, &error), "CUDA_ERROR_UNKNOWN",
                "as the test asked");
    }
    fake("FBQ_FAKE_FAILS", NULL);
    assert_null(c); /* failures leave the result alone */
    fbq_close(NULL);
    fbq_plan_free(NULL);
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_context_gpu(NULL, NULL));
}

/* The multiprocessors of device 0 as fbq_open finds them. */
static int sms_opened(void)
{
    fbq_context *c = NULL;
    fbq_gpu gpu;
    assert_int_equal(open_fake(0, 0, NULL, &c, NULL), FBQ_OK);
    assert_int_equal(fbq_context_gpu(c, &gpu), FBQ_OK);
    fbq_close(c);
    return gpu.sms;
}

/* A context with part of the GPU says how large that is, where the driver can tell. */
static void test_green_context(void **state)
{
    static const char *const functions[] = {"cuCtxGetCurrent", "cuCtxGetDevResource"};
    (void)state;
    if (!nvrtc_there())
        skip();
    assert_int_equal(sms_opened(), 132);
    fake("FBQ_FAKE_SMS", "48");
    assert_int_equal(sms_opened(), 48);
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake("FBQ_FAKE_LACKS", functions[i]);
        assert_int_equal(sms_opened(), 132);
        fake("FBQ_FAKE_LACKS", NULL);
        fake("FBQ_FAKE_FAILS", functions[i]);
        assert_int_equal(sms_opened(), 132);
        fake("FBQ_FAKE_FAILS", NULL);
    }
    fake("FBQ_FAKE_CURRENT", "1"); /* another GPU's */
    assert_int_equal(sms_opened(), 132);
    fake("FBQ_FAKE_CURRENT", "-1");
    assert_int_equal(sms_opened(), 132);
    fake("FBQ_FAKE_CURRENT", NULL);
    fake("FBQ_FAKE_SMS", "0"); /* what makes no sense */
    assert_int_equal(sms_opened(), 132);
    fake("FBQ_FAKE_SMS", "133");
    assert_int_equal(sms_opened(), 132);
    fake("FBQ_FAKE_SMS", NULL);
}

static void check_calls(const fbq_plan *plan)
{
    /* addresses that are only looked at: the launch does nothing */
    char *const at = (char *)(uintptr_t)0x10000;
    const fbq_call good = {1, at, 0, at, at, at, at, at, 0, at, 0, at, 1 << 20, at, 1 << 20, 0};
    fbq_call c = good;
    fbq_pick pick;
#define CALL(status, change) \
    c = good;                \
    change;                  \
    PROVOKE_BARE(status, fbq_linear(plan, &c, NULL))
    CALL(FBQ_OK, (void)c);
    CALL(FBQ_OK, c.m = 2);
    CALL(FBQ_OK, (c.down = c.up = NULL, c.scratch = NULL, c.scratch_bytes = 0));
    CALL(FBQ_OK, (c.bias = NULL, c.residual = NULL));
    CALL(FBQ_OK, c.x = at + 2);
    CALL(FBQ_OK, c.chained = 1);
    CALL(FBQ_OK,
         (c.state = NULL, c.state_bytes = 0)); /* this plan makes t in a launch of its own */
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_linear(NULL, &good, NULL));
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_linear(plan, NULL, NULL));
    CALL(FBQ_ERR_NULL, c.x = NULL);
    CALL(FBQ_ERR_NULL, c.y = NULL);
    CALL(FBQ_ERR_NULL, c.weights = NULL);
    CALL(FBQ_ERR_NULL, c.down = NULL);
    CALL(FBQ_ERR_NULL, c.up = NULL);
    CALL(FBQ_ERR_NULL, c.scratch = NULL);
    CALL(FBQ_ERR_SIZE, c.m = 0);
    CALL(FBQ_ERR_SIZE, c.m = -1);
    CALL(FBQ_ERR_SIZE, c.m = 3);
    CALL(FBQ_ERR_SIZE, c.x_stride = 127);
    CALL(FBQ_ERR_SIZE, c.y_stride = 31);
    CALL(FBQ_ERR_SIZE, c.residual_stride = 31);
    CALL(FBQ_ERR_SIZE, c.y_stride = -32);
    CALL(FBQ_ERR_ALIGNMENT, c.weights = at + 64);
    CALL(FBQ_ERR_ALIGNMENT, c.down = at + 64);
    CALL(FBQ_ERR_ALIGNMENT, c.up = at + 1);
    CALL(FBQ_ERR_ALIGNMENT, c.x = at + 1);
    CALL(FBQ_ERR_ALIGNMENT, c.bias = at + 1);
    CALL(FBQ_ERR_ALIGNMENT, c.y = at + 1);
    CALL(FBQ_ERR_ALIGNMENT, c.residual = at + 1);
    CALL(FBQ_ERR_ALIGNMENT, c.scratch = at + 8);
    CALL(FBQ_ERR_BUFFER, c.scratch_bytes = 16 * 4 - 1);
    fake("FBQ_FAKE_CURRENT", "1");
    CALL(FBQ_ERR_WRONG_DEVICE, (void)c);
    fake("FBQ_FAKE_CURRENT", "-1");
    CALL(FBQ_ERR_WRONG_DEVICE, (void)c);
    fake("FBQ_FAKE_CURRENT", NULL);
    fake("FBQ_FAKE_FAILS", "cuLaunchKernelEx");
    CALL(FBQ_ERR_CUDA, (void)c);
    fake("FBQ_FAKE_FAILS", NULL);
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 1, NULL));
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_plan_pick(NULL, FBQ_KERNEL_FUSED, 1, &pick));
    PROVOKE_BARE(FBQ_ERR_SIZE, fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 0, &pick));
    PROVOKE_BARE(FBQ_ERR_SIZE, fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 3, &pick));
    PROVOKE_BARE(FBQ_ERR_PICK, fbq_plan_pick(plan, (fbq_kernel)2, 1, &pick));
    assert_int_equal(fbq_plan_pick(plan, FBQ_KERNEL_DOWN, 2, &pick), FBQ_OK);
    assert_int_equal(fbq_plan_scratch_bytes(plan), 2 * 16 * 4 * pick.slices);
    assert_int_equal(fbq_plan_scratch_bytes(NULL), 0);
    assert_int_equal(fbq_plan_state_bytes(plan), 0);
    assert_int_equal(fbq_plan_state_bytes(NULL), 0);
}

/* A plan that makes t in the same launch wants a state, and no scratch. */
static void check_one_launch(const fbq_plan *plan)
{
    char *const at = (char *)(uintptr_t)0x10000;
    const size_t bytes = fbq_plan_state_bytes(plan);
    const fbq_call good = {1, at, 0, at, at, at, NULL, NULL, 0, at, 0, NULL, 0, at, bytes, 1};
    fbq_call c;
    assert_int_equal(bytes, 128 + 2048 * 4 + 16 * 8);
    assert_int_equal(fbq_plan_scratch_bytes(plan), 0);
    CALL(FBQ_OK, (void)c);
    CALL(FBQ_OK, c.chained = 0);
    CALL(FBQ_OK, (c.down = c.up = NULL, c.state = NULL));
    CALL(FBQ_ERR_NULL, c.state = NULL);
    CALL(FBQ_ERR_ALIGNMENT, c.state = at + 8);
    CALL(FBQ_ERR_BUFFER, c.state_bytes = bytes - 1);
}

/* A plan without ranks whose blocks share tiles wants both. */
static void check_splits(const fbq_plan *plan)
{
    char *const at = (char *)(uintptr_t)0x10000;
    const size_t scratch = fbq_plan_scratch_bytes(plan), bytes = fbq_plan_state_bytes(plan);
    const fbq_call good = {1, at, 0, at, NULL,    NULL, NULL,  NULL,
                           0, at, 0, at, scratch, at,   bytes, 1};
    fbq_call c;
    assert_int_equal(scratch, 2 * 32 * 4);
    assert_int_equal(bytes, 128 + 2048 * 4);
    CALL(FBQ_OK, (void)c);
    CALL(FBQ_ERR_NULL, c.state = NULL);
    CALL(FBQ_ERR_BUFFER, c.state_bytes = bytes - 1);
    CALL(FBQ_ERR_NULL, c.scratch = NULL);
    CALL(FBQ_ERR_ALIGNMENT, c.scratch = at + 8);
    CALL(FBQ_ERR_BUFFER, c.scratch_bytes = scratch - 1);
}

static void test_preparing_and_launching(void **state)
{
    fbq_problem p = problem_of(32, 128, 16, 2), wide = problem_of(32, 128, 16, 2);
    fbq_pick fused = {FBQ_KERNEL_FUSED, 1, 2, 0, 0, 2, 1, 0},
             down = {FBQ_KERNEL_DOWN, 1, 1, 1, 1, 1, 1, 0};
    fbq_context *c = NULL;
    fbq_plan *plan = NULL;
    fbq_gpu gpu;
    (void)state;
    if (!nvrtc_there())
        skip();
    assert_int_equal(open_fake(0, 0, NULL, &c, NULL), FBQ_OK);
    assert_int_equal(fbq_context_gpu(c, &gpu), FBQ_OK);
    assert_string_equal(gpu.name, "fake GPU");
    assert_true(gpu.capability == 90 && gpu.sms == 132 && gpu.shared_block == 232448 &&
                gpu.shared_sm == 233472 && gpu.registers_sm == 65536);
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_context_gpu(c, NULL));
    assert_in_range(fbq_context_nvrtc(c), 11000, 99990);
    assert_int_equal(fbq_context_nvrtc(NULL), 0);
#define PREPARE(problem, down, fused) fbq_prepare(c, problem, down, fused, &plan, &error)
    PROVOKE(FBQ_ERR_NULL, fbq_prepare(NULL, &p, NULL, NULL, &plan, &error), "context is NULL");
    PROVOKE(FBQ_ERR_NULL, fbq_prepare(c, &p, NULL, NULL, NULL, &error), "plan is NULL");
    PROVOKE(FBQ_ERR_NULL, PREPARE(NULL, NULL, NULL), "problem is NULL");
    wide.x_type = FBQ_F32;
    PROVOKE(FBQ_ERR_UNSUPPORTED, PREPARE(&wide, NULL, NULL), "x_type is 3");
    PROVOKE(FBQ_ERR_PICK, PREPARE(&p, NULL, &down), "fused", "kernel 0");
    PROVOKE(FBQ_ERR_PICK, PREPARE(&p, &fused, NULL), "down", "kernel 1");
    PROVOKE(FBQ_ERR_PICK, PREPARE(&p, NULL, &fused), "blocks_per_sm is 0", "1 .. 16");
    fake("FBQ_FAKE_CURRENT", "1");
    PROVOKE(FBQ_ERR_WRONG_DEVICE, PREPARE(&p, NULL, NULL), "device 1", "device 0");
    fake("FBQ_FAKE_CURRENT", "-1");
    PROVOKE(FBQ_ERR_WRONG_DEVICE, PREPARE(&p, NULL, NULL), "no CUcontext is current");
    fake("FBQ_FAKE_CURRENT", NULL);
    static const char *const functions[] = {"cuLibraryLoadData", "cuLibraryGetKernel",
                                            "cuKernelGetFunction", "cuKernelGetAttribute",
                                            "cuKernelSetAttribute"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake("FBQ_FAKE_FAILS", functions[i]);
        PROVOKE(FBQ_ERR_CUDA, PREPARE(&p, NULL, NULL), functions[i], "CUDA_ERROR_UNKNOWN");
    }
    fake("FBQ_FAKE_FAILS", NULL);
    fake("FBQ_FAKE_LOCAL", "64");
    PROVOKE(FBQ_ERR_PICK, PREPARE(&p, NULL, NULL), "spills 64 bytes", "no spills");
    fake("FBQ_FAKE_LOCAL", NULL);
    p.launches = 2;
    fake("FBQ_FAKE_THREADS", "31");
    PROVOKE(FBQ_ERR_PICK, PREPARE(&p, NULL, NULL), "fbq_down", "31 threads");
    fbq_problem plain = problem_of(32, 4096, 0, 1);
    PROVOKE(FBQ_ERR_PICK, PREPARE(&plain, NULL, NULL), "fbq_fused", "31 threads", "wants 32");
    assert_null(plan);
    /* a default of 16 warps that turns out too many is built again with 8, and nothing is said */
    fake("FBQ_FAKE_THREADS", "256");
    fbq_error silent = {FBQ_OK, 0, "untouched"};
    fbq_pick taken;
    assert_int_equal(fbq_prepare(c, &plain, NULL, NULL, &plan, &silent), FBQ_OK);
    assert_string_equal(silent.detail, "untouched");
    assert_int_equal(fbq_plan_pick(plan, FBQ_KERNEL_FUSED, 1, &taken), FBQ_OK);
    assert_int_equal(taken.warps, 8);
    fbq_plan_free(plan);
    plan = NULL;
    fake("FBQ_FAKE_THREADS", NULL);
    assert_int_equal(fbq_prepare(c, &p, NULL, NULL, &plan, NULL), FBQ_OK);
    check_calls(plan);
    fbq_plan_free(plan);
    p.m_max = 1;
    p.launches = 1;
    assert_int_equal(fbq_prepare(c, &p, NULL, NULL, &plan, NULL), FBQ_OK);
    check_one_launch(plan);
    fbq_plan_free(plan);
    const fbq_pick split = {FBQ_KERNEL_FUSED, 1, 2, 1, 0, 2, 1, 2};
    assert_int_equal(fbq_prepare(c, &plain, NULL, &split, &plan, NULL), FBQ_OK);
    check_splits(plan);
    fbq_plan_free(plan);
    /* a layer without ranks takes no factors */
    p = problem_of(32, 128, 0, 1);
    assert_int_equal(fbq_prepare(c, &p, NULL, NULL, &plan, NULL), FBQ_OK);
    char *const at = (char *)(uintptr_t)0x10000;
    fbq_call call = {1, at, 0, at, at, at, NULL, NULL, 0, at, 0, at, 1 << 20, NULL, 0, 0};
    PROVOKE_BARE(FBQ_ERR_RANK, fbq_linear(plan, &call, NULL));
    fbq_plan_free(plan);
    fbq_close(c);
}

static fbq_reconstruction reconstruction_of(int64_t r, int concatenate)
{
    fbq_reconstruction w = {
        {4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16}, fbq_shape_of(32, 128, r), FBQ_F16, concatenate};
    return w;
}

static void check_reconstruct_calls(const fbq_reconstruct_plan *plan, int concatenate)
{
    char *const at = (char *)(uintptr_t)0x10000;
    const fbq_reconstruct_call good = {at, at, at, at, 0};
    const int64_t columns = concatenate ? 144 : 128;
    fbq_reconstruct_call c;
#define RECONSTRUCT(status, change) \
    c = good;                       \
    change;                         \
    PROVOKE_BARE(status, fbq_reconstruct_gpu(plan, &c, NULL))
    RECONSTRUCT(FBQ_OK, (void)c);
    RECONSTRUCT(FBQ_OK, c.w_stride = columns);
    RECONSTRUCT(FBQ_OK, c.w = at + 2);
    RECONSTRUCT(concatenate ? FBQ_ERR_NULL : FBQ_OK, c.down = c.up = NULL);
    RECONSTRUCT(concatenate ? FBQ_OK : FBQ_ERR_NULL, c.down = NULL);
    RECONSTRUCT(FBQ_ERR_NULL, c.up = NULL);
    RECONSTRUCT(FBQ_ERR_NULL, c.weights = NULL);
    RECONSTRUCT(FBQ_ERR_NULL, c.w = NULL);
    RECONSTRUCT(FBQ_ERR_SIZE, c.w_stride = columns - 1);
    RECONSTRUCT(FBQ_ERR_SIZE, c.w_stride = -columns);
    RECONSTRUCT(FBQ_ERR_ALIGNMENT, c.w = at + 1);
    RECONSTRUCT(FBQ_ERR_ALIGNMENT, c.weights = at + 64);
    RECONSTRUCT(FBQ_ERR_ALIGNMENT, c.down = at + 64);
    RECONSTRUCT(FBQ_ERR_ALIGNMENT, c.up = at + 64);
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_reconstruct_gpu(plan, NULL, NULL));
    PROVOKE_BARE(FBQ_ERR_NULL, fbq_reconstruct_gpu(NULL, &good, NULL));
    fake("FBQ_FAKE_CURRENT", "1");
    RECONSTRUCT(FBQ_ERR_WRONG_DEVICE, (void)c);
    fake("FBQ_FAKE_CURRENT", NULL);
    fake("FBQ_FAKE_FAILS", "cuLaunchKernelEx");
    RECONSTRUCT(FBQ_ERR_CUDA, (void)c);
    fake("FBQ_FAKE_FAILS", NULL);
}

static void test_reconstructing(void **state)
{
    char *const at = (char *)(uintptr_t)0x10000;
    const fbq_reconstruct_call call = {at, NULL, at, at, 0};
    fbq_reconstruction w = reconstruction_of(16, 0);
    fbq_reconstruct_plan *plan = NULL;
    fbq_context *c = NULL;
    (void)state;
    fbq_reconstruct_plan_free(NULL);
    if (!nvrtc_there())
        skip();
    assert_int_equal(open_fake(0, 0, NULL, &c, NULL), FBQ_OK);
#define PREPARE_W(what) fbq_prepare_reconstruct(c, what, &plan, &error)
    PROVOKE(FBQ_ERR_NULL, fbq_prepare_reconstruct(NULL, &w, &plan, &error), "context is NULL");
    PROVOKE(FBQ_ERR_NULL, fbq_prepare_reconstruct(c, &w, NULL, &error), "plan is NULL");
    PROVOKE(FBQ_ERR_NULL, PREPARE_W(NULL), "what is NULL");
    w.w_type = FBQ_F32;
    PROVOKE(FBQ_ERR_UNSUPPORTED, PREPARE_W(&w), "w_type is 3", "FBQ_F16", "FBQ_BF16");
    w.format.group = 100;
    PROVOKE(FBQ_ERR_GROUP, PREPARE_W(&w), "100");
    w = reconstruction_of(16, 0);
    fake("FBQ_FAKE_CURRENT", "-1");
    PROVOKE(FBQ_ERR_WRONG_DEVICE, PREPARE_W(&w), "no CUcontext is current");
    fake("FBQ_FAKE_CURRENT", NULL);
    static const char *const functions[] = {"cuLibraryLoadData", "cuLibraryGetKernel",
                                            "cuKernelGetFunction", "cuKernelSetAttribute"};
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        fake("FBQ_FAKE_FAILS", functions[i]);
        PROVOKE(FBQ_ERR_CUDA, PREPARE_W(&w), functions[i], "CUDA_ERROR_UNKNOWN");
    }
    fake("FBQ_FAKE_FAILS", NULL);
    assert_null(plan);
    for (int concatenate = 0; concatenate < 2; concatenate++) {
        w = reconstruction_of(16, concatenate);
        assert_int_equal(fbq_prepare_reconstruct(c, &w, &plan, NULL), FBQ_OK);
        check_reconstruct_calls(plan, concatenate);
        fbq_reconstruct_plan_free(plan);
        /* a layer without ranks takes no factors */
        w = reconstruction_of(0, concatenate);
        assert_int_equal(fbq_prepare_reconstruct(c, &w, &plan, NULL), FBQ_OK);
        fbq_reconstruct_call none = call;
        PROVOKE_BARE(concatenate ? FBQ_ERR_RANK : FBQ_ERR_NULL,
                     fbq_reconstruct_gpu(plan, &none, NULL));
        none.down = at;
        PROVOKE_BARE(FBQ_ERR_RANK, fbq_reconstruct_gpu(plan, &none, NULL));
        none.down = none.up = NULL;
        assert_int_equal(fbq_reconstruct_gpu(plan, &none, NULL), FBQ_OK);
        fbq_reconstruct_plan_free(plan);
    }
    fbq_close(c);
}

/* unit_wisdom and unit_wisdom_file provoke these in every way. */
static void test_wisdom(void **state)
{
    fbq_wisdom *wisdom = NULL;
    fbq_record record;
    (void)state;
    assert_int_equal(fbq_wisdom_new(&wisdom, NULL), FBQ_OK);
    PROVOKE(FBQ_ERR_WISDOM, fbq_record_parse("fbq1 fused", &record, &error), "fbq1 fused");
    PROVOKE(FBQ_ERR_FILE, fbq_wisdom_read(wisdom, "/", &error), "/");
    PROVOKE(FBQ_ERR_NULL, fbq_wisdom_new(NULL, &error), "wisdom");
    fbq_wisdom_free(wisdom);
}

static void test_all_were_provoked(void **state)
{
    (void)state;
    for (int i = 1; i < STATUSES; i++) {
        const fbq_status status = statuses[i].status;
        if (status == FBQ_ERR_OUT_OF_HOST || status == FBQ_ERR_LOCK) /* another test's */
            continue;
        if ((status == FBQ_ERR_COMPILE || status == FBQ_ERR_WRONG_DEVICE ||
             status == FBQ_ERR_ALIGNMENT) &&
            !nvrtc_there())
            continue;
        if (!provoked[status])
            fail_msg("no test provoked status %d: %s", (int)status, fbq_status_string(status));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_strings),
                                       cmocka_unit_test(test_packing),
                                       cmocka_unit_test(test_picks),
                                       cmocka_unit_test(test_compiling),
                                       cmocka_unit_test(test_opening),
                                       cmocka_unit_test(test_green_context),
                                       cmocka_unit_test(test_preparing_and_launching),
                                       cmocka_unit_test(test_reconstructing),
                                       cmocka_unit_test(test_wisdom),
                                       cmocka_unit_test(test_all_were_provoked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
