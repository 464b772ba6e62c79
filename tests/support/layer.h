/* tests/support/layer.h: random layers and adversarial inputs for every test that runs a layer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_LAYER_H
#define FBQ_TESTS_LAYER_H

#include <fbq/fbq.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A packed layer in host memory. */
typedef struct layer {
    fbq_problem problem;
    fbq_layout layout;
    fbq_parts parts; /* down and up are NULL when the rank is 0 */
} layer;

/* How a layer's numbers are drawn. */
typedef enum layer_kind {
    LAYER_RANDOM, /* uniform codes, scales around 1/100, factors around 1/sqrt(k) and 1/10 */
    LAYER_EXACT   /* scales powers of two, integer zero points and factors: sums are exact */
} layer_kind;

/* Draw and pack. Aborts the program when the library refuses, since every test needs the layer. */
layer layer_make(const fbq_problem *problem, layer_kind kind, uint64_t seed);
void layer_free(layer *l);

/* The inputs that numeric claims are made for. */
typedef enum input_kind {
    INPUT_NORMAL,      /* N(0,1) */
    INPUT_MEAN,        /* 8 + N(0,1) */
    INPUT_SMALL,       /* N(0,1) * 1e-4 */
    INPUT_TINY,        /* N(0,1) * 1e-5: fp16 subnormals */
    INPUT_OUTLIER,     /* one 1000 among ones */
    INPUT_ALTERNATING, /* +1, -1, ... */
    INPUT_CONSTANT,    /* all 1 */
    INPUT_INTEGER,     /* small integers, for exact sums */
    INPUT_KINDS
} input_kind;

const char *input_name(input_kind kind);

/* A number of any type. */
double number_at(fbq_type type, const void *numbers, int64_t at);
void number_put(fbq_type type, void *numbers, int64_t at, double value);

/* m x k words of `type`, FBQ_F16 or FBQ_BF16, with the given row stride; words between rows become
 * NaN. */
void input_fill(fbq_type type, uint16_t *x, int64_t m, int64_t k, int64_t stride, input_kind kind,
                uint64_t seed);

/* What a result is worth against the reference. u is 2^-11 for fp16 results, 2^-8 for bf16 ones. */
typedef struct verdict {
    double norm;  /* ||y - ref|| / ||ref|| */
    double bound; /* largest |y - ref| / (u * sum |w_F| |x|): the c of |y - ref| <= c u sum */
    int bad;      /* results that are not finite */
} verdict;

/* Compare y (m x rows, row stride, numbers of the problem's y_type) with the layer's rows first ..
 * first + rows - 1. bias (words of x's type) and residual may be NULL. */
verdict layer_judge(const layer *l, int64_t first, int64_t rows, int64_t m, const uint16_t *x,
                    int64_t x_stride, const uint16_t *bias, const void *residual,
                    int64_t residual_stride, const void *y, int64_t y_stride);

/* A small generator with a fixed sequence on every platform: uniform bits, uniform [0, 1), N(0,1).
 */
uint64_t random_bits(uint64_t *state);
double random_uniform(uint64_t *state);
double random_normal(uint64_t *state);

#ifdef __cplusplus
}
#endif

#endif
