/* bound.h: is every weight within half a stored step of its original? (FBQuant eq. 13)
 *
 * Everything is recomputed in double from the packed bytes: W_F by fbq_reconstruct, s by
 * fbq_unpack_weights. The bound is a property of min-max round to nearest with the codes made
 * against the factors that run; sub-branches fitted after the codes (SVD, EoRA) do not have it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BOUND_H
#define BOUND_H

#include "calibrate.h"

/* What double arithmetic may add: a bound that fails by less than this part of s / 2 holds. */
#define BOUND_TOLERANCE 1e-9

typedef struct bound_report {
    int64_t weights;    /* how many were looked at: all */
    int64_t violations; /* of |w - w_F| <= s / 2 */
    double worst;       /* the largest |w - w_F| / (s / 2) */
    double inflation;   /* mean of s / s0 over groups, s0 the scale of Q(W): Sigma widens groups */
    double most_inflation;
} bound_report;

/* w is n x k, as it was before quantising. */
fbq_status bound_check(const fbq_parts *parts, const float *w, bound_report *report,
                       fbq_error *error);

#endif /* BOUND_H */
