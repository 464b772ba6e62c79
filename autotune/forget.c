/* forget.c: records out of a file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "records.h"

static int unwanted(const fbq_record *record, void *user)
{
    return record_wanted(record, (const options *)user);
}

outcome command_forget(const options *o)
{
    size_t dropped;
    fbq_error error;
    if (!o->gpu && !o->has_shape && !o->has_bits && !o->has_kernel && !o->all)
        return failed(o, OUTCOME_USAGE,
                      "which records? --gpu, --shape, --bits or --kernel say so, or --all");
    if (fbq_wisdom_forget(o->file, unwanted, (void *)o, &dropped, &error) != FBQ_OK)
        return failed(o, OUTCOME_FAILED, "%s", error.detail);
    fprintf(stderr, "fbq-tune: %zu records were taken out of %s\n", dropped, o->file);
    return OUTCOME_DONE;
}
