/* fbquant.h: FBQuant's Algorithm 1 for one layer, through the Gram matrix.
 *
 *     minimise tr(D H D^T), D = W - Q(W - BA) - BA
 *
 * by descent on A and B, with the codes, scales and zero points made anew from W - BA at every step
 * and held constant in the derivative (eq. 18), so that with S = BA
 *
 *     dL/dS = -2 D H (eq. 19),  dL/dB = dL/dS . A^T,  dL/dA = B^T . dL/dS
 *
 * The product BA in every step is that of the factors rounded to fp16, the one that will really
 * run; the unrounded ones only collect the updates.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQUANT_H
#define FBQUANT_H

#include "calibrate.h"

typedef enum fbquant_start {
    FBQUANT_START_ZERO = 0, /* A ~ N(0, sigma^2), B = 0: the paper's */
    FBQUANT_START_LAYER = 1 /* the factors of another layer, such as EoRA's */
} fbquant_start;

typedef enum fbquant_update {
    FBQUANT_ADAM = 0,
    FBQUANT_DESCENT = 1 /* plain gradient descent at a constant rate, for worked examples */
} fbquant_update;

/* What happened in one step, before its update. */
typedef struct fbquant_state {
    int step; /* from 0 */
    double loss;
    int64_t rank, n, k;
    const float *a, *b;   /* the unrounded factors that this loss belongs to */
    const float *da, *db; /* the gradient */
} fbquant_state;

/* Zeros are a good choice of everything but steps and row_steps; equal numbers are good for those.
 */
typedef struct fbquant_options {
    int steps;     /* on A and B */
    int row_steps; /* then on B, from the best A and B */
    /* Adam's first rate in each phase, decayed to 0 along a cosine, for a layer scaled to rms(W) =
     * 1 (A and B are each scaled by 1 / sqrt(rms(W)) with it), so that it carries over between
     * layers; plain descent's rate as it is. 0: FBQUANT_RATE. */
    double rate;
    double sigma;  /* of A at the start, in the same scaled units. 0: FBQUANT_SIGMA */
    uint64_t seed; /* of A */
    fbquant_start start;
    const calibrate_layer *from; /* for FBQUANT_START_LAYER: same sizes and rank */
    fbquant_update update;
    /* Called in every step when not NULL. */
    void (*watch)(void *user, const fbquant_state *state);
    void *user;
} fbquant_options;

/* Chosen on a text of their own (docs/calibration.md). */
#define FBQUANT_RATE 0.01
#define FBQUANT_SIGMA 0.2

typedef struct fbquant_report {
    double first_loss, best_loss;
    int best_step; /* in 0 .. steps: whose A is kept, 0 is the start; and, but for row_steps, B */
} fbquant_report;

/* report may be NULL. Deterministic for a seed and a BLAS. FBQ_ERR_SIZE when the descent diverges
 * from the very start, FBQ_ERR_RANK when problem->rank is 0 or `from` does not fit. */
fbq_status calibrate_fbquant(const calibrate_problem *problem, const fbquant_options *options,
                             calibrate_layer *layer, fbquant_report *report, fbq_error *error);

/* ---- one step's arithmetic, for the loop and for checks of the gradient ---- */

typedef struct fbquant_work fbquant_work;

/* Memory for a problem and its H, scaled by `h_scale`, in float. NULL when memory runs out. */
fbquant_work *fbquant_work_new(const calibrate_problem *problem, double h_scale);
void fbquant_work_free(fbquant_work *work);

/* Loss and gradient at fp16 factors a [rank, k] and b [n, rank]. `frozen` keeps Q(W - BA) of the
 * call before, as the derivative does. */
fbq_status fbquant_gradient(fbquant_work *work, const uint16_t *a, const uint16_t *b, int frozen,
                            double *losses, float *da, float *db, fbq_error *error);

#endif /* FBQUANT_H */
