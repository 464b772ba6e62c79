/* tests/simt/simt_defaults.c: the library that the demo links: every format under the picks that
 * fbq_pick_default gives for small and large K.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void every_default(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const int64_t sizes[] = {60, 150, 300, 500, 900, 1536, 4100};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            for (int variant = 0; variant < 4; variant++) {
                layer_case c = {.n = 40, .k = sizes[i], .default_picks = 1};
                layer_result result;
                c.group = groups[g];
                c.zero = (fbq_zero)((i + g + (size_t)variant) % 3);
                c.m = variant & 1 ? 8 : 1;
                c.r = variant & 2 ? 128 : 0;
                c.seed = i * 100 + g * 10 + (uint64_t)variant + 1;
                int right = layer_run(&c, &result);
                if (!right)
                    layer_print(&result);
                free(result.y);
                assert_true(right);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_default)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
