/* fbq/host/shipped.h: the records that come with fbq, the last rung before the rules.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_SHIPPED_H
#define FBQ_HOST_SHIPPED_H

#include "shipped_records.h"
#include "wisdom.h"

/* All of them. A line that cannot be read is one of another epoch's fields: it is left out. */
static fbq_status fbq__shipped_read(fbq_wisdom **wisdom, fbq_error *error)
{
    fbq_status status = FBQ_OK;
    FBQ__TRY(fbq_wisdom_new(wisdom, error));
    for (size_t i = 0; fbq__shipped_records[i] && status == FBQ_OK; i++) {
        fbq_record record;
        if (fbq_record_parse(fbq__shipped_records[i], &record, NULL) == FBQ_OK)
            status = fbq__wisdom_take(*wisdom, &record, error);
    }
    if (status != FBQ_OK) {
        fbq_wisdom_free(*wisdom);
        *wisdom = NULL;
    }
    return status;
}

/* Of such records those of this very shape, on a GPU of as many multiprocessors and the same
 * capability: what was found for others is trusted less than the rules. */
static fbq_status fbq__shipped_find(const fbq_wisdom *shipped, const fbq_problem *problem,
                                    const fbq_gpu *gpu, fbq_kernel kernel, fbq_pick *pick,
                                    fbq_found *found, fbq_error *error)
{
    FBQ__TRY(fbq_wisdom_find(shipped, problem, gpu, kernel, pick, found, error));
    if (found->rung == FBQ_RUNG_DEFAULT)
        return FBQ_OK;
    if (found->record.gpu.sms == gpu->sms &&
        fbq__shape_distance(&found->record.problem.shape, &problem->shape) == 1 &&
        fbq__shape_same(&found->record.problem.shape, &problem->shape)) {
        found->rung = FBQ_RUNG_SHIPPED;
        return FBQ_OK;
    }
    memset(found, 0, sizeof *found);
    found->rung = FBQ_RUNG_DEFAULT;
    return fbq_pick_default(problem, gpu, kernel, pick, error);
}

fbq_status fbq_pick_shipped(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                            fbq_pick *pick, fbq_found *found, fbq_error *error)
{
    fbq_wisdom *shipped = NULL;
    fbq_found none;
    fbq_status status;
    FBQ__NOT_NULL(gpu, error);
    FBQ__NOT_NULL(pick, error);
    FBQ__TRY(fbq__shipped_read(&shipped, error));
    status = fbq__shipped_find(shipped, problem, gpu, kernel, pick, found ? found : &none, error);
    fbq_wisdom_free(shipped);
    return status;
}

fbq_status fbq_wisdom_shipped(fbq_wisdom **wisdom, fbq_error *error)
{
    FBQ__NOT_NULL(wisdom, error);
    return fbq__shipped_read(wisdom, error);
}

#endif /* FBQ_HOST_SHIPPED_H */
