/* run_cpu.c: the kernels on the CPU, through the machine of tests/simt.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <simt.h>
#include <stdlib.h>

fbq_status run_cpu_layer(const fbq_problem *problem, const packed *layer, int64_t m,
                         const uint16_t *x, uint16_t *y, fbq_error *error)
{
    size_t bytes = 0;
    fbq_problem two = *problem; /* the kernels of two launches are those compiled for the CPU */
    two.launches = 2;
    fbq_status status = fbq_simt_scratch_bytes(&two, NULL, m, &bytes, error);
    if (status != FBQ_OK)
        return status;
    const size_t whole = (bytes / FBQ_ALIGN + 1) * FBQ_ALIGN;
    void *scratch = aligned_alloc(FBQ_ALIGN, whole);
    if (scratch == NULL)
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for %zu bytes of scratch",
                              bytes);
    fbq_call call = {0};
    call.m = m;
    call.x = x;
    call.weights = layer->parts.weights;
    call.down = layer->parts.down;
    call.up = layer->parts.up;
    call.y = y;
    call.scratch = scratch;
    call.scratch_bytes = bytes;
    status = (fbq_status)fbq_simt_linear(&two, &call, error);
    free(scratch);
    return status;
}
