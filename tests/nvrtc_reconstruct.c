/* tests/nvrtc_reconstruct.c: reconstruct compiles for every target, spills nothing, and leaves room
 * for as many blocks as are launched. The formats are those of the CPU's tests.
 *
 * Exits with 77 where there is no NVRTC.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* as the implementation unit wants it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

/* An implementation unit of its own, to compile what the library compiles inside. */
#undef FBQ_LINKED
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include "simt/spread_reconstruct.h"
#include "support/cubin.h"
#include "support/gpus.h"

#define SKIPPED 77

static fbq__nvrtc nvrtc;

static void take(const fbq_gpu *gpu, const fbq_reconstruction *what, cubin_resources *most)
{
    fbq__reconstruct_fixed f;
    char source[FBQ__PROGRAM_BYTES];
    cubin_resources r;
    fbq_error error;
    void *image;
    size_t bytes;
    memset(&f, 0, sizeof f);
    f.what = *what;
    f.gpu = *gpu;
    assert_int_equal(fbq__reconstruction_check(what, &f.layout, NULL), FBQ_OK);
    assert_true(fbq__reconstruct_source(&f, source, sizeof source) < FBQ__PROGRAM_BYTES);
    if (fbq__nvrtc_build(&nvrtc, source, gpu->capability, 0, &image, &bytes, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    assert_true(cubin_read(image, bytes, "fbq_reconstruct", &r));
    fbq_free(image);
    const int adds = fbq__reconstruct_adds(&f);
    const uint32_t room = (uint32_t)(gpu->registers_sm / (FBQ__RECONSTRUCT_WARPS(adds) * 32) /
                                     FBQ__RECONSTRUCT_BLOCKS(adds));
    if (r.stack || r.min_stack || r.local || r.registers > room)
        fail_msg("sm_%d bits %d group %d zero %d adds %d: %u registers, %u bytes of stack, %llu of "
                 "local memory",
                 gpu->capability, what->format.bits, what->format.group, (int)what->format.zero,
                 adds, r.registers, r.stack, (unsigned long long)r.local);
    if (r.registers > most->registers)
        *most = r;
}

static void test_targets(void **state)
{
    static const int formats[][6] = {
#define ROW(bits, group, zero, scale, factor, out) {bits, group, zero, scale, factor, out},
        SIMT_RECONSTRUCT(ROW)
#undef ROW
    };
    (void)state;
    for (int g = 0; g < NOMINAL_GPUS; g++) {
        cubin_resources most[2];
        memset(most, 0, sizeof most);
        for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++)
            for (int adds = 0; adds < 2; adds++) {
                const int *f = formats[i];
                const fbq_reconstruction what = {
                    {f[0], f[1], (fbq_zero)f[2], (fbq_type)f[3], (fbq_type)f[4]},
                    fbq_shape_of(4096, 4096, 128),
                    (fbq_type)f[5],
                    !adds};
                take(&nominal_gpus[g], &what, &most[adds]);
            }
        printf("sm_%d: up to %u registers a thread with B . A, %u without\n",
               nominal_gpus[g].capability, most[1].registers, most[0].registers);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets)};
    fbq_error error;
    if (fbq__nvrtc_open(NULL, &nvrtc, &error) != FBQ_OK) {
        fprintf(stderr, "skipped: %s\n", error.detail);
        return error.status == FBQ_ERR_NO_NVRTC ? SKIPPED : 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fbq__nvrtc_close(&nvrtc);
    return failed;
}
