/* calibrate.h: quantising one linear layer, with or without a low-rank sub-branch.
 *
 * A layer has weights W [n, k] and sees inputs X [tokens, k]. Every method here returns codes,
 * scales and zero points of a main path and fp16 factors A [rank, k], B [n, rank] of a sub-branch,
 * ready for fbq_pack_*; W_F = deq(codes) + B . A. What they are judged by is
 *
 *     loss = tr(D H D^T), D = W - W_F, H = X^T X
 *
 * which is |X W^T - X W_F^T|^2 summed over tokens and outputs (FBQuant eq. 14, squared): H is all
 * that is needed of X, so the cost of a step does not depend on the number of tokens. X here comes
 * from the full-precision model; inputs from a quantised prefix would need the cross-Gram as well.
 *
 * Errors are fbq's: a call fills *error, when it is not NULL, and returns its status.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CALIBRATE_H
#define CALIBRATE_H

#include <fbq/fbq.h>

typedef struct calibrate_problem {
    int64_t n, k, rank;
    const float *w;    /* n x k, finite */
    const double *h;   /* k x k, symmetric, positive semidefinite */
    fbq_format format; /* fp16 scales and factors */
} calibrate_problem;

/* The result of a method. Release with calibrate_layer_free. */
typedef struct calibrate_layer {
    int64_t n, k, rank; /* rank 0: no sub-branch, a and b are NULL */
    fbq_format format;
    int64_t groups;   /* of a row */
    uint8_t *codes;   /* n x k */
    uint16_t *scales; /* n x groups, fp16 */
    void *zeros;      /* n x groups: bytes, fp16 words, or NULL, as format.zero says */
    uint16_t *a;      /* rank x k, fp16 */
    uint16_t *b;      /* n x rank, fp16 */
} calibrate_layer;

void calibrate_layer_free(calibrate_layer *layer);

/* Round to nearest: Q(W), no sub-branch. */
fbq_status calibrate_rtn(const calibrate_problem *problem, calibrate_layer *layer,
                         fbq_error *error);

/* The codes of Q(W), and the best sub-branch for W - Q(W) in the Frobenius norm: its SVD. */
fbq_status calibrate_svd(const calibrate_problem *problem, calibrate_layer *layer,
                         fbq_error *error);

/* The codes of Q(W), and the best sub-branch for W - Q(W) under the loss: the SVD in H's eigenspace
 * (EoRA). Directions in which H is 0 to working precision get nothing. */
fbq_status calibrate_eora(const calibrate_problem *problem, calibrate_layer *layer,
                          fbq_error *error);

/* ---- for the methods' own files ---- */

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
fbq_status
calibrate_fail(fbq_error *error, fbq_status status, const char *format, ...);

/* Check sizes and format, allocate a layer of this rank. */
fbq_status calibrate_layer_new(const calibrate_problem *problem, int64_t rank,
                               calibrate_layer *layer, fbq_error *error);

/* Codes, scales and zeros of Q(W - B . A) for the layer's own fp16 factors: the product is that of
 * the numbers that will really run, in double. */
fbq_status calibrate_codes(const calibrate_problem *problem, calibrate_layer *layer,
                           fbq_error *error);

#endif /* CALIBRATE_H */
