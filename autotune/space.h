/* space.h: the picks that a search may look at.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SPACE_H
#define SPACE_H

#include "predict.h"

typedef struct space {
    fbq_pick *pick;
    double *us; /* predicted for each, in microseconds; NULL: for none */
    int count;
    int early; /* so many behind the default are to be looked at whatever else is */
} space;

/* All legal picks of a kernel for a problem on a GPU whose fields are among those worth a try, none
 * of them twice, and the default whatever its fields are: it comes first, the others in the order
 * of their distance from it. FBQ_ERR_OUT_OF_HOST, and what fbq_pick_default says. */
fbq_status space_of(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel, space *s,
                    fbq_error *error);

void space_free(space *s);

/* Look at a pick of the space early. */
void space_early(space *s, const fbq_pick *pick);

/* Predict every pick's time (predict.h); without memory for that nothing is predicted. */
void space_predict(space *s, const fbq_problem *problem, const fbq_gpu *gpu,
                   const gpu_speed *speed);

/* How far a pick is from another: the factors between their fields, as powers of two, added up.
 * Where one launches down and the other does not, that is as far as a factor of four. */
double space_distance(const fbq_pick *a, const fbq_pick *b);

#endif /* SPACE_H */
