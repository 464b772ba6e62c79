/* problems.h: the layers of models, as problems to tune.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROBLEMS_H
#define PROBLEMS_H

#include "options.h"

/* The name of each model, NULL behind the last. */
const char *problems_preset(int index);

/* The problems that a command line asks for: the layers of --preset, or --shape, for each bucket of
 * rows in --m, none twice; the fastest to measure first. Released with free. NULL: no memory. */
fbq_problem *problems_of(const options *o, int *count);

#endif /* PROBLEMS_H */
