/* tests/simt/simt_formats.c: as simt_fused, for every format and type.
 *
 *     simt_formats [80|90]    as layer_main
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"
#include "spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static layer_case base = {.n = 40, .k = 200, .r = 0, .m = 1, .group = 64};
static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};

static void check(const layer_case *c)
{
    assert_true(layer_right(c, NULL));
}

/* Each format with and without its sub-branch, for one row and for several. */
static void every_format(void **state)
{
    (void)state;
    for (size_t g = 0; g < COUNT(groups); g++) {
        for (int zero = 0; zero <= 2; zero++) {
            for (int variant = 0; variant < 4; variant++) {
                layer_case c = base;
                c.k = 600; /* two steps of the pick, ragged, and several groups of 256 */
                c.group = groups[g];
                c.zero = (fbq_zero)zero;
                c.m = variant & 1 ? 6 : 1;
                c.r = variant & 2 ? 20 : 0;
                c.data_seed = g * 100 + (uint64_t)zero * 10 + (uint64_t)variant;
                c.seed = c.data_seed + 1;
                c.bias = variant == 1;
                check(&c);
            }
        }
    }
}

/* Bits and types, in every pair of them with everything else that a format says: one step ragged
 * and two, K that ends in the first chunk of a unit, sums that are exact and sums that are not. */
static void every_type(void **state)
{
    static const struct {
        int group, zero, bits, x, scale, factor, columns, branch;
    } formats[] = {
#define ENTRY(...) {__VA_ARGS__},
        SIMT_FORMATS(ENTRY)
#undef ENTRY
    };
    static const int64_t sizes[] = {600, 1024, 1300};
    (void)state;
    for (size_t f = 0; f < COUNT(formats); f++)
        for (int variant = 0; variant < 6; variant++) {
            layer_case c = base;
            c.k = sizes[variant % 3];
            c.n = 70;
            c.group = formats[f].group;
            c.zero = (fbq_zero)formats[f].zero;
            c.bits = formats[f].bits;
            c.x_type = (fbq_type)formats[f].x;
            c.scale_type = (fbq_type)formats[f].scale;
            c.factor_type = (fbq_type)formats[f].factor;
            c.y_type = (fbq_type)(1 + (f + (size_t)variant) % 3);
            c.m = formats[f].columns == 1   ? 1
                  : formats[f].columns == 8 ? 2 + (int64_t)(f + (size_t)variant) % 7
                                            : 9 + (int64_t)(f + (size_t)variant) % 8;
            c.r = formats[f].branch ? 21 : 0;
            c.sms = 5;
            c.resident = 5;
            c.one_launch = formats[f].branch == 2 ? 2 : 0;
            c.impatient = variant == 5;
            c.bias = variant % 2;
            c.residual = (layer_residual)(variant % 3);
            c.exact = variant >= 3;
            c.x = variant == 1 ? LAYER_X_MEAN : LAYER_X_NORMAL;
            c.x_shift = variant == 2;
            c.seed = c.data_seed = f * 6 + (uint64_t)variant + 1;
            check(&c);
        }
}

/* Numbers far beyond fp16's range, on both sides; infinity and NaN. */
static void any_bf16(void **state)
{
    static const struct {
        int bits, columns, branch;
    } formats[] = {{4, 1, 0}, {4, 8, 1}, {2, 8, 0}, {3, 1, 1}};
    (void)state;
    for (size_t f = 0; f < COUNT(formats); f++)
        for (int kind = 0; kind < 3 * LAYER_X_KINDS; kind++) {
            layer_case c = base;
            c.k = 1000;
            c.x_power = kind / LAYER_X_KINDS * 75 - 70;
            c.bits = formats[f].bits;
            c.x_type = c.scale_type = c.factor_type = FBQ_BF16;
            c.x = (layer_x)(kind % LAYER_X_KINDS);
            c.m = formats[f].columns == 1 ? 1 : 3;
            c.r = formats[f].branch ? 16 : 0;
            c.y_type = kind % 2 ? FBQ_F32 : FBQ_BF16;
            c.data_seed = c.seed = f + 1;
            check(&c);
        }
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format),
        cmocka_unit_test(every_type),
        cmocka_unit_test(any_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return layer_main(argc, argv, &base.capability, run);
}
