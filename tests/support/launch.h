/* tests/support/launch.h: launches of fbq_linear on a GPU, judged against the double reference.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_LAUNCH_H
#define FBQ_TESTS_LAUNCH_H

#include "device.h"
#include "layer.h"

/* A plan of the shard's context; the default picks for NULL. Fails the test when there is none. */
fbq_plan *launch_plan(const fbq_problem *problem, const fbq_pick *down, const fbq_pick *fused);

/* A plan's state, zeroed. */
device_buffer launch_state(const fbq_plan *plan);

/* How to call. Strides of 0: rows without gaps. */
typedef struct launch {
    int64_t m, x_stride, y_stride;
    size_t x_shift; /* bytes */
    int with_bias, with_residual;
} launch;

/* Launch twice, the second time chained and with everything changed that must not matter: the same
 * bits, no word written that is not y's, every claim of numerics.md; that of the norm where it is
 * to be judged, too. Fails the test otherwise. Returns the norm. */
double launch_check(const fbq_plan *plan, const layer *l, const device_layer *d, const launch *how,
                    input_kind kind, uint64_t seed, int judge_norm);

/* Print the worst that all of them gave. */
void launch_print_worst(void);

#endif
