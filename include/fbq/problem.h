/* fbq/problem.h: what is to be run, and on which GPU: all that a choice of kernels depends on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_PROBLEM_H
#define FBQ_PROBLEM_H

#include "types.h"

/* What is to be run, as far as it decides which kernels are built. */
typedef struct fbq_problem {
    fbq_format format;
    fbq_shape shape;
    fbq_type x_type; /* of x and the bias: FBQ_F16 or FBQ_BF16 */
    fbq_type y_type; /* of y and the residual: FBQ_F16, FBQ_BF16 or FBQ_F32 */
    int m_max;    /* most rows of x a call will bring, 1 .. 16; beyond: fbq_prepare_reconstruct */
    int launches; /* what the default picks make of a layer with a sub-branch: 2, down and fused;
                   * 1, a fused that makes t itself, for up to 8 rows; 0, the faster of both in
                   * a chain */
    int batch_invariant; /* not 0: a row of y has the same bits however many rows a call brings, 1
                          * .. m_max, and whatever the others are. All calls then take the kernel
                          * for m_max rows, which a single row pays for */
} fbq_problem;

/* What a pick depends on of a GPU. */
typedef struct fbq_gpu {
    char name[64];
    int capability;   /* major * 10 + minor: 80, 86, 89, 90, 100, 120 */
    int sms;          /* streaming multiprocessors */
    int shared_block; /* most shared memory a block may opt in to, bytes */
    int shared_sm;    /* shared memory of a multiprocessor, bytes */
    int registers_sm; /* 32-bit registers of a multiprocessor */
} fbq_gpu;

#endif /* FBQ_PROBLEM_H */
