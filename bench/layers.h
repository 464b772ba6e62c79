/* bench/layers.h: many layers of one shape on the GPU, each with its own weights, and what the
 * first of them must compute.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_LAYERS_H
#define FBQ_BENCH_LAYERS_H

#include "gpu.h"
#include "options.h"

/* Results are checked on so many whole tiles of 16 rows: the first, one in the middle, the last. */
#define SAMPLED_TILES 3

/* What a result is checked against. */
typedef enum truth {
    TRUTH_INT4,   /* the packed layer without its sub-branch */
    TRUTH_BRANCH, /* the packed layer with it */
    TRUTH_FP16,   /* the fp16 weights */
    TRUTHS
} truth;

typedef struct layers {
    gpu *g;
    int64_t n, k;    /* n of all segments */
    fbq_shape shape; /* every segment's rank the same */
    int m_max;
    fbq_type type; /* of x, y, scales and factors */
    fbq_format format;
    fbq_layout layout; /* with the rank asked for */
    int count;         /* layers of packed weights */
    int count_fp16;    /* layers of fp16 weights */
    /* on the GPU */
    size_t weights_stride, down_stride, up_stride; /* from layer to layer, bytes */
    size_t a_stride, b_stride, w_stride;           /* likewise */
    int64_t b_row;                                 /* row of plain B: the rank in whole vectors */
    uint8_t *weights, *down, *up;                  /* packed parts */
    uint8_t *a, *b; /* the same factors, plain row-major, of `type` */
    uint8_t *w;     /* fp16 weights; made by layers_need_fp16 */
    uint8_t *x, *y; /* m_max x k, m_max x n, of `type` */
    /* on the host */
    double *x_double;            /* m_max x k */
    uint16_t *a_host, *b_host;   /* plain factors */
    int64_t tile[SAMPLED_TILES]; /* which tiles are sampled */
    int rows[SAMPLED_TILES];     /* their rows, up to 16 */
    double *expected[TRUTHS];    /* [tile][m_max][16]; NULL until needed */
    uint16_t *y_host;            /* m_max x n */
} layers;

/* The shape with segments of that rank. */
fbq_shape layers_shape(const layers *l, int64_t rank);

/* Bytes of weights that one layer must read. */
size_t layers_bytes(const layers *l, truth what);

/* Make them. `cold_bytes`: a rotation must exceed so many, unless hot. Of several segments each
 * must be whole tiles; ranks must be the same in all, and the factors of `type` or int8. */
int layers_make(layers *l, gpu *g, const fbq_format *format, const fbq_shape *shape, fbq_type type,
                int m_max, int hot, size_t cold_bytes, fail *f);
/* The same for fbq-bench's options: segments as large as each other. */
int layers_open(layers *l, gpu *g, const options *o, int64_t n, int64_t k, size_t cold_bytes,
                fail *f);
int layers_need_fp16(layers *l, size_t cold_bytes, int hot, fail *f);
void layers_close(layers *l);

/* A call of one of them, with or without its sub-branch; scratch, state and chained are left. */
fbq_call layers_call(const layers *l, int layer, int m, int branch);

/* Before a run that is to be checked: every element of y becomes a NaN. */
int layers_poison(layers *l, fail *f);

/* After the run of layer 0: all of y must be finite, and ||y - ref|| / ||ref|| over the sampled
 * rows at most `most` for each row of x. */
int layers_check(layers *l, truth what, int m, double most, double *error, fail *f);

#endif /* FBQ_BENCH_LAYERS_H */
