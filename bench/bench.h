/* bench/bench.h: the state of a run: the GPU, the shape in hand, what has been measured.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_BENCH_H
#define FBQ_BENCH_BENCH_H

#include "blas.h"
#include "floor.h"
#include "kernels.h"
#include "layers.h"
#include "options.h"

/* In the order of measuring: what a later one is compared with comes first. */
typedef enum variant {
    VARIANT_READ,         /* a kernel that only reads the bytes of fbq2 */
    VARIANT_READ_PDL,     /* the same with programmatic dependent launch */
    VARIANT_FP16,         /* cuBLAS or cuBLASLt on fp16 weights */
    VARIANT_INT4,         /* fused, rank 0: the layer without its sub-branch */
    VARIANT_INT4_SUB,     /* int4, then A and B through cuBLAS */
    VARIANT_INT4_SUB_LT,  /* int4, then A and B through cuBLASLt */
    VARIANT_INT4_SUB_OWN, /* int4, then A and B through small kernels of our own */
    VARIANT_INT4_SUB4,    /* the paper's four kernels: dequantise, multiply, A, B */
    VARIANT_FBQ2,         /* fbq_linear in two launches: down, fused */
    VARIANT_FBQ1,         /* fbq_linear in one launch */
    VARIANTS
} variant;

const char *variant_name(variant v);
int variant_wants_branch(variant v);
int variant_wants_blas(variant v);
/* What its result is checked against, and whose bytes it must read. */
truth variant_truth(variant v);

struct bench;

/* A variant made ready for the shape and m in hand. */
typedef struct prepared {
    struct bench *b;
    variant what;
    sequence seq;
    size_t bytes;
    double error; /* of the check */
    gemm gemm_w, gemm_a, gemm_b;
    own_down down;
    own_up up;
    dequantise deq;
    read_shape read;
    char label[256]; /* what was chosen */
} prepared;

typedef struct result {
    int measured;
    timing time;
} result;

typedef struct bench {
    options o;
    gpu g;
    fbq_context *fbq;
    blas blas;
    int has_blas;
    size_t cold_bytes;
    /* what is in hand */
    int shape, m; /* indices, -1: none */
    layers l;
    fbq_plan *int4, *fbq2, *fbq1; /* for this shape and up to the most rows; NULL until needed */
    void *scratch, *state;
    size_t scratch_bytes, state_bytes;
    float *t32;   /* partial sums of t of the own down kernel */
    uint8_t *t16; /* t of the GEMMs */
    uint8_t *deq; /* dequantised weights */
    result done[MAX_SHAPES][MAX_M][VARIANTS];
} bench;

/* Most slices that int4_sub_own tries. */
#define OWN_SLICES 32
/* Relative error above which no time counts. */
#define MOST_ERROR 1e-3
/* Launches of a graph, at least. */
#define GRAPH_LAUNCHES 64

/* Make shape and m (indices) the ones in hand. */
int bench_select(bench *b, int shape, int m, fail *f);
void bench_close(bench *b);

/* Can a variant be run here, with m rows of x? */
int variant_possible(const bench *b, variant v, int m);

/* Plans of the shape in hand, made when first asked for. */
int bench_need_int4(bench *b, fail *f);
int bench_need_fbq2(bench *b, fail *f);
int bench_need_fbq1(bench *b, fail *f);

/* Choose, check and make ready. prepared_close also after a failure. */
int prepared_open(prepared *p, bench *b, variant v, fail *f);
void prepared_close(prepared *p);

/* Try values 0 .. count - 1 of *value: check each, time each, keep the fastest. A value that fails
 * is passed over; when all do, so does this. */
int prepared_choose(prepared *p, int *value, int count, fail *f);

/* Check what is set up, and time it for a choice. */
int prepared_time(prepared *p, timing *t, fail *f);

/* Enqueue functions (user: prepared) and set-up of the variants with several kernels. */
int variant_enqueue(void *user, int layer, cudaStream_t stream, fail *f);
int conventional_open(prepared *p, fail *f);
int conventional_enqueue(prepared *p, int layer, cudaStream_t stream, fail *f);
int int4_enqueue(bench *b, int layer, cudaStream_t stream, fail *f);

#endif /* FBQ_BENCH_BENCH_H */
