/* tests/simt/simt_plant.c: are the checks any good? The kernels are compiled with FBQ_PLANT bugs,
 * and the same comparison that simt_fused makes must find each, as what it is. Without a bug the
 * same cases must be clean, or finding them proves nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"

#include <stdio.h>
#include <stdlib.h>

/* Did this run show the bug that was planted? */
static int shown(const layer_result *result)
{
    switch (FBQ_PLANT) {
    case 1: /* an index off by one: wrong numbers */
        return result->wrong > 0;
    case 2: /* a missing barrier: a race, whatever the numbers say */
        return fbq_simt_found(&result->report, "shared_race") > 0;
    case 3: /* an output that is not written */
        return fbq_simt_found(&result->report, "global_unwritten") > 0 && result->wrong > 0;
    default: /* nothing planted: nothing may be found */
        return result->status == FBQ_OK && result->report.findings == 0 && result->wrong == 0;
    }
}

int main(void)
{
    int missed = 0;
    for (int variant = 0; variant < 16; variant++) {
        layer_case c = {.n = 40, .k = 300, .group = 64};
        layer_result result;
        int right;
        if (variant & 4)
            c.k = 304; /* rows of x that can be aligned, so that the fast loads run, too */
        c.capability = variant & 8 ? 90 : 80; /* with bulk copies and without */
        c.m = variant & 1 ? 4 : 1;
        c.r = variant & 2 ? 16 : 0;
        c.y_type = variant & 4 ? FBQ_F32 : FBQ_F16;
        c.seed = (uint64_t)variant + 1;
        right = layer_run(&c, &result);
        if (!shown(&result) || right != (FBQ_PLANT == 0)) {
            fprintf(stderr, "plant %d is not seen for what it is:\n", FBQ_PLANT);
            layer_print(&result);
            missed++;
        }
        free(result.y);
    }
    printf("plant %d: %d of 16 cases missed\n", FBQ_PLANT, missed);
    return missed != 0;
}
