/* fbq/pick.h: struct fbq_pick, every tunable of one kernel launch.
 *
 * FBQ_PICK_FIELDS is the one list of fields: printing and parsing walk it, and
 * a new field joins at its end. fbq_pick_check is the one legality predicate; an illegal pick is
 * never compiled or launched.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_PICK_H
#define FBQ_PICK_H

#include "types.h"

/* The kernels of the library. */
typedef enum fbq_kernel {
    FBQ_KERNEL_DOWN = 0, /* t = x . A^T, as partial sums over slices of K */
    FBQ_KERNEL_FUSED = 1 /* y = x . deq(Wq)^T + t . B^T (+ bias) (+ residual), y written once */
} fbq_kernel;

#define FBQ_KERNELS 2

/*      field          what it chooses */
#define FBQ_PICK_FIELDS(X)                                                                        \
    X(warps)         /* warps of a block, each with its own slice of K; fused adds 4 for ranks */ \
    X(chunks)        /* 64-code chunks that a warp takes in one step; fused: an even number */    \
    X(blocks_per_sm) /* fused: resident blocks a multiprocessor is asked to hold; grid = that */  \
    X(slices)        /* slices of K, each one partial sum of t; fused: 0 leaves t to down */      \
    X(stages)        /* fused: steps whose codes are on their way or in shared memory */          \
    X(tiles)         /* fused: tiles of 16 rows that a part of x serves before the next part */   \
    X(splits)        /* fused: split-K, blocks that share a tile, each its part of K; 0, 1: none */

typedef struct fbq_pick {
    fbq_kernel kernel;
#define FBQ_PICK_DECLARE(field) int field;
    FBQ_PICK_FIELDS(FBQ_PICK_DECLARE)
#undef FBQ_PICK_DECLARE
} fbq_pick;

#endif /* FBQ_PICK_H */
