/* tests/support/records.h: records of tuning to try wisdom with.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_RECORDS_H
#define FBQ_TESTS_RECORDS_H

#include <string.h>

#include <fbq/fbq.h>

#include "gpus.h"

/* A layer of 4 bits in groups of 128 with a sub-branch of rank r (0: without one). */
static inline fbq_problem record_problem(int64_t n, int64_t k, int64_t r, int m_max)
{
    fbq_problem p;
    memset(&p, 0, sizeof p);
    p.format.bits = 4;
    p.format.group = 128;
    p.format.zero = FBQ_ZERO_CODE;
    p.format.scale_type = p.format.factor_type = p.x_type = p.y_type = FBQ_F16;
    p.shape = fbq_shape_of(n, k, r);
    p.m_max = m_max;
    return p;
}

/* The GPU's default pick as if it had been measured: legal there. */
static inline fbq_record record_of(const fbq_problem *problem, const fbq_gpu *gpu,
                                   fbq_kernel kernel)
{
    fbq_record r;
    memset(&r, 0, sizeof r);
    r.problem = *problem;
    r.gpu = *gpu;
    r.epoch = FBQ_KERNEL_EPOCH;
    if (fbq_pick_default(problem, gpu, kernel, &r.pick, NULL) != FBQ_OK)
        r.pick.kernel = (fbq_kernel)-1; /* which no call takes */
    r.rigor = FBQ_RIGOR_MEASURE;
    r.median_ns = 5000;
    r.spread_ns = 40;
    r.nvrtc = r.driver = 13000;
    r.source = 0x0123456789abcdefu;
    strcpy(r.date, "2026-11-23T13:05:00Z");
    return r;
}

#endif
