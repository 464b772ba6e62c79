/* bench/blas.c: see blas.h.
 *
 * A row-major w[n][k] is a column-major k x n matrix, so y^T = w . x^T in column-major terms is
 * op(w) = transposed, op(x) = plain.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "blas.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* What NVIDIA recommends for Hopper. */
#define WORKSPACE_BYTES ((size_t)32 << 20)

#define CUBLAS(f, b, call)                                                                         \
    do {                                                                                           \
        cublasStatus_t cublas_result_ = (call);                                                    \
        if (cublas_result_ != CUBLAS_STATUS_SUCCESS)                                               \
            return failf((f), "%.60s...: %s", #call,                                               \
                         (b)->cublasGetStatusString_ ? (b)->cublasGetStatusString_(cublas_result_) \
                                                     : "cuBLAS error");                            \
    } while (0)

static void *open_first(const char *const *names)
{
    void *library = NULL;
    for (int i = 0; names[i] && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

static int symbol(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

int blas_open(blas *b, gpu *g, fail *f)
{
    static const char *const names[] = {"libcublas.so.13", "libcublas.so.12", "libcublas.so", NULL};
    static const char *const names_lt[][2] = {{"libcublasLt.so.13", NULL},
                                              {"libcublasLt.so.12", NULL}};
    const char *missing = NULL;
    memset(b, 0, sizeof *b);
    b->library = open_first(names);
    if (!b->library)
        return failf(f,
                     "cannot open libcublas.so.13, .12 or plain (%s): put the folder of cuBLAS "
                     "on LD_LIBRARY_PATH",
                     dlerror());
#define GET(name)                                \
    if (!symbol(b->library, #name, &b->name##_)) \
        missing = missing ? missing : #name;
    BLAS_FUNCTIONS(GET)
#undef GET
    if (missing)
        return failf(f, "cuBLAS has no %s: expected version 12 or later", missing);
    symbol(b->library, "cublasHSHgemvStridedBatched", &b->gemv);
    CUBLAS(f, b, b->cublasCreate_v2_(&b->handle));
    CUBLAS(f, b, b->cublasGetVersion_v2_(b->handle, &b->version));
    CUBLAS(f, b, b->cublasSetStream_v2_(b->handle, g->stream));
    TRY(gpu_alloc(g, &b->workspace, WORKSPACE_BYTES, "cuBLAS", f));
    CUBLAS(f, b, b->cublasSetWorkspace_v2_(b->handle, b->workspace, WORKSPACE_BYTES));

    /* of the same major version as cuBLAS, which has loaded it already */
    b->library_lt = open_first(names_lt[b->version / 10000 >= 13 ? 0 : 1]);
    missing = b->library_lt ? NULL : "libcublasLt";
#define GET(name)                                                    \
    if (b->library_lt && !symbol(b->library_lt, #name, &b->name##_)) \
        missing = missing ? missing : #name;
    BLAS_LT_FUNCTIONS(GET)
#undef GET
    if (!missing && b->cublasLtCreate_(&b->handle_lt) != CUBLAS_STATUS_SUCCESS)
        b->handle_lt = NULL;
    if (!b->handle_lt)
        fprintf(stderr, "fbq-bench: cuBLASLt is not usable (%s): its variants are left out\n",
                missing ? missing : "cublasLtCreate failed");
    return 0;
}

void blas_close(blas *b, gpu *g)
{
    if (b->handle_lt)
        b->cublasLtDestroy_(b->handle_lt);
    if (b->handle)
        b->cublasDestroy_v2_(b->handle);
    gpu_free(g, &b->workspace);
    if (b->library_lt)
        dlclose(b->library_lt);
    if (b->library)
        dlclose(b->library);
    memset(b, 0, sizeof *b);
}

static void candidate_add(gemm *p, gemm_way way, const cublasLtMatmulAlgo_t *algorithm)
{
    if (p->candidates == MAX_CANDIDATES)
        return;
    gemm_candidate *c = &p->candidate[p->candidates++];
    memset(c, 0, sizeof *c);
    c->way = way;
    if (algorithm)
        c->algorithm = *algorithm;
}

static int lt_heuristic(gemm *p, cublasLtMatmulPreference_t preference, fail *f)
{
    blas *b = p->b;
    cublasLtMatmulHeuristicResult_t result[8];
    size_t bytes = WORKSPACE_BYTES;
    int found = 0;
    CUBLAS(f, b,
           b->cublasLtMatmulPreferenceSetAttribute_(
               preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof bytes));
    CUBLAS(f, b,
           b->cublasLtMatmulAlgoGetHeuristic_(b->handle_lt, p->desc, p->w_layout, p->x_layout,
                                              p->y_layout, p->y_layout, preference, 8, result,
                                              &found));
    for (int i = 0; i < found; i++)
        if (result[i].state == CUBLAS_STATUS_SUCCESS)
            candidate_add(p, GEMM_LT, &result[i].algo);
    return 0;
}

static int lt_open(gemm *p, fail *f)
{
    blas *b = p->b;
    cublasLtMatmulPreference_t preference;
    cublasOperation_t transposed = CUBLAS_OP_T, plain = CUBLAS_OP_N;
    uint64_t m = (uint64_t)p->m, n = (uint64_t)p->n, k = (uint64_t)p->k;
    CUBLAS(f, b, b->cublasLtMatmulDescCreate_(&p->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    CUBLAS(f, b,
           b->cublasLtMatmulDescSetAttribute_(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                              sizeof transposed));
    CUBLAS(f, b,
           b->cublasLtMatmulDescSetAttribute_(p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &plain,
                                              sizeof plain));
    CUBLAS(f, b, b->cublasLtMatrixLayoutCreate_(&p->w_layout, CUDA_R_16F, k, n, p->w_row));
    CUBLAS(f, b, b->cublasLtMatrixLayoutCreate_(&p->x_layout, CUDA_R_16F, k, m, p->x_row));
    CUBLAS(f, b, b->cublasLtMatrixLayoutCreate_(&p->y_layout, CUDA_R_16F, n, m, p->y_row));
    CUBLAS(f, b, b->cublasLtMatmulPreferenceCreate_(&preference));
    int failed = lt_heuristic(p, preference, f);
    b->cublasLtMatmulPreferenceDestroy_(preference);
    return failed;
}

int gemm_open(gemm *p, blas *b, int use, int m, int n, int k, int x_row, int w_row, int y_row,
              float beta, fail *f)
{
    memset(p, 0, sizeof *p);
    p->b = b;
    p->m = m;
    p->n = n;
    p->k = k;
    p->x_row = x_row;
    p->w_row = w_row;
    p->y_row = y_row;
    p->beta = beta;
    if (use & GEMM_USE_BLAS) {
        candidate_add(p, GEMM_EX, NULL);
        if (m == 1)
            candidate_add(p, GEMM_SWAPPED, NULL);
        if (m == 1 && b->gemv)
            candidate_add(p, GEMM_GEMV, NULL);
    }
    if (use & GEMM_USE_LT && b->handle_lt)
        TRY(lt_open(p, f));
    if (p->candidates == 0)
        return failf(f, "cuBLASLt has no algorithm for %d x %d x %d", m, n, k);
    return 0;
}

void gemm_close(gemm *p)
{
    if (p->w_layout)
        p->b->cublasLtMatrixLayoutDestroy_(p->w_layout);
    if (p->x_layout)
        p->b->cublasLtMatrixLayoutDestroy_(p->x_layout);
    if (p->y_layout)
        p->b->cublasLtMatrixLayoutDestroy_(p->y_layout);
    if (p->desc)
        p->b->cublasLtMatmulDescDestroy_(p->desc);
    memset(p, 0, sizeof *p);
}

const char *gemm_name(const gemm *p)
{
    static const char *const names[] = {"gemm_ex", "gemm_ex swapped", "gemv", "lt"};
    return names[p->candidate[p->chosen].way];
}

int gemm_run(const gemm *p, const void *x, const void *w, void *y, cudaStream_t stream, fail *f)
{
    const float alpha = 1;
    const blas *b = p->b;
    const gemm_candidate *c = &p->candidate[p->chosen];
    switch (c->way) {
    case GEMM_EX:
        CUBLAS(f, b,
               b->cublasGemmEx_(b->handle, CUBLAS_OP_T, CUBLAS_OP_N, p->n, p->m, p->k, &alpha, w,
                                CUDA_R_16F, p->w_row, x, CUDA_R_16F, p->x_row, &p->beta, y,
                                CUDA_R_16F, p->y_row, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
        return 0;
    case GEMM_SWAPPED: /* a column-major 1 x n row of y has the stride 1 */
        CUBLAS(f, b,
               b->cublasGemmEx_(b->handle, CUBLAS_OP_T, CUBLAS_OP_N, 1, p->n, p->k, &alpha, x,
                                CUDA_R_16F, p->x_row, w, CUDA_R_16F, p->w_row, &p->beta, y,
                                CUDA_R_16F, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
        return 0;
    case GEMM_GEMV:
        CUBLAS(f, b,
               b->gemv(b->handle, CUBLAS_OP_T, p->k, p->n, &alpha, w, p->w_row, 0, x, 1, 0,
                       &p->beta, y, 1, 0, 1));
        return 0;
    case GEMM_LT:
        CUBLAS(f, b,
               b->cublasLtMatmul_(b->handle_lt, p->desc, &alpha, w, p->w_layout, x, p->x_layout,
                                  &p->beta, y, p->y_layout, y, p->y_layout, &c->algorithm,
                                  b->workspace, WORKSPACE_BYTES, stream));
        return 0;
    }
    return failf(f, "unknown way %d to multiply", (int)c->way);
}
