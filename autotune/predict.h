/* predict.h: how long a layer takes by a pick on a GPU that need not be there: a model of the
 * kernel's phases, fitted to times of an H200 (autotune/fit.py; docs/tuning.md has how well).
 *
 * A layer in a chain of such, weights cold, takes
 *
 *     launch + max(codes, t) + crowd + split - pair
 *
 * where max is soft (a power mean), as phases hide each other only in part, and
 *
 *     codes = soft max of   bytes / bandwidth,
 *                           steps * wait / stages          (bytes on their way),
 *                           a multiprocessor's issue slots,
 *                           one warp's steps one after the other
 *     t     = x A^T by an exchange between blocks, or by a launch of down; then t B^T
 *     crowd = bytes on their way beyond what is good: they are in the way of x and t
 *
 * What depends on multiprocessors is counted in their cycles, what depends on memory in bytes or
 * microseconds, so that other clocks, bandwidths and numbers of multiprocessors can be put in. It
 * knows no other memory's latency and no other generation's tensor cores.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PREDICT_H
#define PREDICT_H

#include <fbq/fbq.h>

/* How fast a GPU is, as its data sheet has it. */
typedef struct gpu_speed {
    double bandwidth; /* of its memory, GB/s */
    double clock;     /* of its multiprocessors, MHz, boosted */
} gpu_speed;

/* X(field, fitted value): "rows" stands for several rows of x, without it there is one; units are
 * 128 codes of 16 rows of W. */
#define MODEL_FIELDS(X)                                                               \
    X(wait, 0.384)        /* us that a step's bytes are on their way */               \
    X(odd, 16)            /* cycles of issue to unpack a unit of 2 or 3 bits */       \
    X(product_rows, 31.5) /* cycles of issue of a unit, for eight columns */          \
    X(step_issue, 9.02)   /* cycles of issue of a warp's step */                      \
    X(unit, 158)          /* cycles a warp takes for a unit */                        \
    X(unit_rows, 224)     /* likewise, for eight columns */                           \
    X(x, 224)             /* cycles a warp takes to make x of a unit ready */         \
    X(x_rows, 52.3)       /* likewise, for each row */                                \
    X(step, 589)          /* cycles before a step's first unit */                     \
    X(launch, 0.923)      /* us of a launch that nothing hides */                     \
    X(launch_rows, 3.52)  /* likewise */                                              \
    X(exchange, 2.17)     /* us until t is there, in one launch */                    \
    X(share, 1920)        /* and cycles for each piece of A that a warp takes */      \
    X(word, 12.1)         /* and cycles for 16 ranks' sums of each slice of K */      \
    X(word_rows, 8.99)    /* likewise, for each row */                                \
    X(down, 0.214)        /* us until t is there, with a launch of down */            \
    X(second, 0.388)      /* us of that launch that nothing hides, for one row */     \
    X(down_k, 0.0202)     /* and cycles for each k */                                 \
    X(down_rows, 390)     /* and cycles for each row of x */                          \
    X(up, 64.4)           /* cycles of t B^T for a tile and 16 ranks */               \
    X(split, 1.3)         /* us to add up what blocks have of a tile */               \
    X(split_tile, 0.353)  /* and us for each tile of a block */                       \
    X(pair, 0.363)        /* us that are won where two launches run side by side */   \
    X(flight, 63.4)       /* KB on their way to a multiprocessor that are good */     \
    X(crowd, 0.451)       /* part of the time of what is beyond that which is lost */ \
    X(sharp, 1.81)        /* exponent of the soft maximum of the codes' phases */

typedef struct model {
#define MODEL_DECLARE(field, value) double field;
    MODEL_FIELDS(MODEL_DECLARE)
#undef MODEL_DECLARE
} model;

/* The fitted one. */
extern const model predict_model;

/* Microseconds of a layer; for a problem's default launches of down where the pick leaves t to
 * that. 0: the pick is not legal there, or none of fused. */
double predict(const model *c, const fbq_problem *problem, const fbq_gpu *gpu,
               const gpu_speed *speed, const fbq_pick *pick);

#endif /* PREDICT_H */
