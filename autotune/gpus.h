/* gpus.h: the facts about GPUs that a choice of picks needs, for machines without them.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GPUS_H
#define GPUS_H

#include "predict.h"

/* The GPU of a short name, such as "rtx3090", or of its driver's name; NULL when it is not known.
 */
const fbq_gpu *gpus_find(const char *name);

/* The same for what a user wrote; NULL after a message that lists the short names. */
const fbq_gpu *gpus_named(const char *name);

/* How fast the GPU of a driver's name is; NULL when it is not known. */
const gpu_speed *gpus_speed(const char *name);

/* The short name of each, NULL behind the last. */
const char *gpus_short_name(int index);

/* Does a GPU's name hold `part`, whatever the case, blanks being underscores? */
int gpus_name_has(const char *name, const char *part);

#endif /* GPUS_H */
