/* run.h: a packed layer through both kernels, on the GPU or on the CPU.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_H
#define RUN_H

#include <packed.h>

/* What a GPU run measured for one row of x; 0: not measured. Launches go back to back on a stream,
 * so the times hold what the GPU does and what launching costs where that is longer. */
typedef struct run_times {
    double hot;  /* us a call, the same layer again and again: it stays in L2 */
    double cold; /* us a call, rotating over copies that together are more than twice L2 */
} run_times;

typedef struct run_gpu run_gpu;

/* Open the first GPU. Any status of the 2xx group means that there is none to be used, and why. */
fbq_status run_gpu_open(run_gpu **gpu, fbq_error *error);
void run_gpu_close(run_gpu *gpu);

/* The GPU's name, valid until it is closed. */
const char *run_gpu_name(const run_gpu *gpu);

/* y [m, n] = the layer at x [m, k], both fp16 in host memory. */
fbq_status run_gpu_layer(run_gpu *gpu, const fbq_problem *problem, const packed *layer, int64_t m,
                         const uint16_t *x, uint16_t *y, run_times *times, fbq_error *error);

/* The same kernels on the CPU, each thread of a block a fibre: slow, and checked at every access.
 */
fbq_status run_cpu_layer(const fbq_problem *problem, const packed *layer, int64_t m,
                         const uint16_t *x, uint16_t *y, fbq_error *error);

#endif /* RUN_H */
