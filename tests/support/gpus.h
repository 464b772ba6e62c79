/* tests/support/gpus.h: the GPUs that fbq is for, as their data sheets and drivers tell of them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_GPUS_H
#define FBQ_TESTS_GPUS_H

#include <fbq/fbq.h>

/*   name, capability, multiprocessors, shared memory of a block and of a multiprocessor, registers
 */
static const fbq_gpu nominal_gpus[] = {
    {"A100", 80, 108, 166912, 167936, 65536},     {"RTX 3090", 86, 82, 101376, 102400, 65536},
    {"RTX 4090", 89, 128, 101376, 102400, 65536}, {"H100", 90, 132, 232448, 233472, 65536},
    {"B200", 100, 148, 232448, 233472, 65536},    {"RTX 5090", 120, 170, 101376, 102400, 65536}};

enum { NOMINAL_GPUS = sizeof nominal_gpus / sizeof nominal_gpus[0] };

#endif
