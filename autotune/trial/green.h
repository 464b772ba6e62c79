/* green.h: a green context, which has part of a GPU's multiprocessors, to work in.
 *
 * The driver's functions come through the runtime's, so that fbq-trial starts, and says what is
 * missing, where there is no driver.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GREEN_H
#define GREEN_H

#include "../../bench/gpu.h"

/* Make a green context of so many multiprocessors of a GPU that was chosen, or as few more as there
 * can be, and make it current in this thread, the only one that may have it; g->sms is what it has.
 * It lasts as long as the process. */
int green_enter(gpu *g, int sms, fail *f);

#endif /* GREEN_H */
