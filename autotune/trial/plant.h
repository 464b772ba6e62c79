/* plant.h: faults on purpose, to see that the tuner blames the right pick for each.
 *
 * FBQ_TRIAL_PLANT is "HOW PICK": behind a pick whose text holds PICK runs a kernel that writes
 * where no memory is (fault), just behind y (beyond), over weights (weights), a NaN into y (nan),
 * or that does not end (hang).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PLANT_H
#define PLANT_H

#include "../../bench/layers.h"

int plant(gpu *g, layers *l, const fbq_pick *pick, fail *f);

/* plant.cu: write `value` to so many words; run until *word is not 0. */
#ifdef __cplusplus
extern "C" {
#endif
cudaError_t plant_write(unsigned *to, int words, unsigned value, cudaStream_t stream);
cudaError_t plant_hang(const volatile unsigned *word, cudaStream_t stream);
#ifdef __cplusplus
}
#endif

#endif /* PLANT_H */
