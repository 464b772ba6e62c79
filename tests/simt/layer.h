/* tests/simt/layer.h: make a layer, run its kernels on the CPU, compare with the reference.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_SIMT_LAYER_H
#define FBQ_SIMT_LAYER_H

#include "simt.h"

typedef enum layer_x {
    LAYER_X_NORMAL = 0,  /* N(0, 1), nearly */
    LAYER_X_MEAN,        /* 8 + N(0, 1) */
    LAYER_X_SMALL,       /* about 1e-4 */
    LAYER_X_TINY,        /* about 1e-5: fp16 subnormals */
    LAYER_X_OUTLIER,     /* ones, and one 1000 */
    LAYER_X_ALTERNATING, /* 1, -1, 1, ... */
    LAYER_X_CONSTANT,    /* 3 */
    LAYER_X_MASSIVE,     /* about 0.01, and one 60000 */
    LAYER_X_INFINITE,    /* as the first, but one infinity in the first row */
    LAYER_X_NAN,         /* as the first, but one NaN in the first row */
    LAYER_X_KINDS
} layer_x;

typedef enum layer_residual {
    LAYER_NO_RESIDUAL = 0,
    LAYER_RESIDUAL,         /* a matrix of its own */
    LAYER_RESIDUAL_IN_PLACE /* y itself */
} layer_residual;

/* One case. Zeros are defaults where that makes sense; n, k and m must be given. */
typedef struct layer_case {
    int64_t n, k, r, m;
    int segments; /* 0: one, of n rows and rank r. Else those of `segment`, n and r their sums */
    fbq_segment segment[FBQ_MAX_SEGMENTS];
    int64_t m_max; /* that the layer is prepared for; 0: m */
    int group;
    fbq_zero zero;
    int bits;                                 /* 0: 4 */
    fbq_type x_type, scale_type, factor_type; /* 0: FBQ_F16 */
    fbq_type y_type;                          /* 0: that of x */
    int bias;
    layer_residual residual;
    int x_power; /* x is this power of two larger */
    layer_x x;
    int exact;         /* small integers and powers of two: the reference's bits are required */
    int unused_branch; /* the layer has ranks, the call leaves its sub-branch out */
    int64_t x_gap, y_gap, residual_gap;  /* words between rows */
    int x_shift;                         /* words by which x misses a 16-byte boundary */
    int warps, chunks, stages, tiles;    /* of fused; 0: those of spread.h that all formats have */
    int slices, down_warps, down_chunks; /* 0: 2, 2 and 1 */
    int splits;                          /* blocks that share a tile; 0: none do */
    int one_launch; /* slices of K, where fused makes t itself; 0: behind down */
    int impatient;  /* and a block makes what it would wait for at once */
    int chained;
    int batch_invariant;
    int default_picks; /* none of the seven above, but fbq_pick_default */
    int k_known;       /* a kernel for this K alone */
    int tight;      /* as little shared memory as will do: x cannot stay; 0: as much as is wanted */
    int sms;        /* 0: 2 */
    int capability; /* 0: that of fbq_simt_gpu(), with bulk copies */
    int resident;
    uint64_t seed; /* of the order; the data depend on data_seed alone */
    uint64_t data_seed;
} layer_case;

typedef struct layer_result {
    fbq_status status; /* of the run */
    fbq_error error;
    fbq_simt_report report;
    int64_t wrong;   /* results outside the bound; where the reference is not finite, finite ones */
    int64_t touched; /* words changed that belong to nobody */
    double worst;    /* largest |y - ref| as a multiple of the bound */
    char text[512];  /* the case, and the first wrong result */
    void *y;         /* m x n numbers of y's type, dense */
    size_t y_bytes;
} layer_result;

/* Run one case. Returns whether everything is right: no finding, nothing wrong, nothing touched.
 * The caller frees result->y. */
int layer_run(const layer_case *c, layer_result *result);

/* The same for the down kernel alone: each slice's partial sums against A and x in double, padded
 * ranks against 0. */
int layer_run_down(const layer_case *c, layer_result *result);

/* Print why a case failed. */
void layer_print(const layer_result *result);

/* Run one case, and print why when it fails. Returns whether everything is right, and with `like`,
 * whether it has that result's bits. */
int layer_right(const layer_case *c, const layer_result *like);

#endif /* FBQ_SIMT_LAYER_H */
