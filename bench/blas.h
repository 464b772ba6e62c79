/* bench/blas.h: cuBLAS and cuBLASLt, opened at run time, and every way they offer to do
 *     y[m][n] = x[m][k] . w[n][k]^T (+ y)      fp16 numbers, fp32 arithmetic, row-major
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_BLAS_H
#define FBQ_BENCH_BLAS_H

#include <cublasLt.h>
#include <cublas_v2.h>

#include "gpu.h"

/* A function of a library, typed as its header declares it. */
#define BLAS_FUNCTIONS(X)    \
    X(cublasCreate_v2)       \
    X(cublasDestroy_v2)      \
    X(cublasGetVersion_v2)   \
    X(cublasSetStream_v2)    \
    X(cublasSetWorkspace_v2) \
    X(cublasGemmEx)          \
    X(cublasGetStatusString)

#define BLAS_LT_FUNCTIONS(X)                \
    X(cublasLtCreate)                       \
    X(cublasLtDestroy)                      \
    X(cublasLtMatmulDescCreate)             \
    X(cublasLtMatmulDescDestroy)            \
    X(cublasLtMatmulDescSetAttribute)       \
    X(cublasLtMatrixLayoutCreate)           \
    X(cublasLtMatrixLayoutDestroy)          \
    X(cublasLtMatmulPreferenceCreate)       \
    X(cublasLtMatmulPreferenceDestroy)      \
    X(cublasLtMatmulPreferenceSetAttribute) \
    X(cublasLtMatmulAlgoGetHeuristic)       \
    X(cublasLtMatmul)

typedef struct blas {
#define BLAS_DECLARE(name) __typeof__(&name) name##_;
    BLAS_FUNCTIONS(BLAS_DECLARE)
    BLAS_LT_FUNCTIONS(BLAS_DECLARE)
#undef BLAS_DECLARE
    /* cublasHSHgemvStridedBatched, which the header declares for C++ only; NULL where it is not */
    cublasStatus_t (*gemv)(cublasHandle_t, cublasOperation_t, int rows, int columns,
                           const float *alpha, const void *a, int a_row, long long a_stride,
                           const void *x, int x_step, long long x_stride, const float *beta,
                           void *y, int y_step, long long y_stride, int batches);
    void *library, *library_lt;
    cublasHandle_t handle;
    cublasLtHandle_t handle_lt; /* NULL: no cuBLASLt */
    void *workspace;            /* one for both: they take turns on one stream */
    int version;
} blas;

/* 1 with the reason where cuBLAS cannot be had. cuBLASLt alone may be missing: handle_lt is NULL.
 */
int blas_open(blas *b, gpu *g, fail *f);
void blas_close(blas *b, gpu *g);

typedef enum gemm_way {
    GEMM_EX,      /* cublasGemmEx, w as the left operand */
    GEMM_SWAPPED, /* cublasGemmEx, x as the left operand; one row of x only */
    GEMM_GEMV,    /* cublasHSHgemvStridedBatched; one row of x only */
    GEMM_LT       /* cublasLtMatmul with one of the heuristic's algorithms */
} gemm_way;

typedef struct gemm_candidate {
    gemm_way way;
    cublasLtMatmulAlgo_t algorithm;
} gemm_candidate;

#define MAX_CANDIDATES 12

/* One product's shape, its descriptors and its candidates. */
typedef struct gemm {
    blas *b;
    int m, n, k;
    int x_row, w_row, y_row; /* row strides, elements */
    float beta;              /* 0, or 1 to add to y */
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t w_layout, x_layout, y_layout;
    gemm_candidate candidate[MAX_CANDIDATES];
    int candidates;
    int chosen; /* the candidate that gemm_run uses */
} gemm;

enum { GEMM_USE_BLAS = 1, GEMM_USE_LT = 2 };

/* List the candidates of the libraries in `use`. gemm_close also after a failure. */
int gemm_open(gemm *p, blas *b, int use, int m, int n, int k, int x_row, int w_row, int y_row,
              float beta, fail *f);
void gemm_close(gemm *p);

/* Name of the chosen candidate: "gemm_ex", "lt" ... */
const char *gemm_name(const gemm *p);

int gemm_run(const gemm *p, const void *x, const void *w, void *y, cudaStream_t stream, fail *f);

#endif /* FBQ_BENCH_BLAS_H */
