/* lowrank.c: a sub-branch for the residual W - Q(W), in closed form: plain SVD and EoRA.
 *
 * Both keep the codes of Q(W), so the result can be any distance from W: the bound of half a step
 * does not hold for it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "calibrate.h"
#include "quantise.h"

#include <cblas.h>
#include <fbq/host/half.h>
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Eigenvalues of H below this part of the largest are taken for 0: inputs never go that way. */
#define SMALLEST_EIGENVALUE 1e-12

static double *doubles(int64_t count)
{
    return malloc(sizeof(double) * (size_t)count);
}

/* W - Q(W) for the codes of the layer, which are made here. */
static fbq_status residual(const calibrate_problem *p, calibrate_layer *layer, double *r,
                           fbq_error *error)
{
    const int64_t count = p->n * p->k;
    double *values = doubles(count);
    if (values == NULL)
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the residual");
    for (int64_t i = 0; i < count; i++)
        r[i] = p->w[i];
    const fbq_status status = quantise(&p->format, p->n, p->k, r, layer->codes, layer->scales,
                                       layer->zeros, values, error);
    for (int64_t i = 0; status == FBQ_OK && i < count; i++)
        r[i] -= values[i];
    free(values);
    return status;
}

/* The best rank-`rank` B [n, rank] . A [rank, k] for r [n, k], which is destroyed. */
static fbq_status truncate(double *r, int64_t n, int64_t k, int64_t rank, double *a, double *b,
                           fbq_error *error)
{
    const int64_t least = n < k ? n : k;
    double *u = doubles(n * least), *s = doubles(least), *vt = doubles(least * k);
    fbq_status status = FBQ_OK;
    if (u == NULL || s == NULL || vt == NULL) {
        status = calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for an SVD");
    } else {
        const int info =
            (int)LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', (lapack_int)n, (lapack_int)k, r,
                                (lapack_int)k, s, u, (lapack_int)least, vt, (lapack_int)k);
        if (info != 0)
            status = calibrate_fail(error, FBQ_ERR_SIZE,
                                    "the SVD of the residual failed with LAPACK's %d", info);
    }
    for (int64_t j = 0; status == FBQ_OK && j < rank; j++) {
        for (int64_t i = 0; i < n; i++)
            b[i * rank + j] = u[i * least + j] * s[j];
        memcpy(a + j * k, vt + j * k, sizeof(double) * (size_t)k);
    }
    free(u);
    free(s);
    free(vt);
    return status;
}

static double largest(const double *v, int64_t count, int64_t stride)
{
    double most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fmax(most, fabs(v[i * stride]));
    return most;
}

/* Factors to fp16, after giving each row of A and its column of B the same largest element, which
 * keeps both as far from fp16's ends as can be. */
static void store(const calibrate_problem *p, const double *a, const double *b,
                  calibrate_layer *layer)
{
    const int64_t n = p->n, k = p->k, rank = p->rank;
    for (int64_t j = 0; j < rank; j++) {
        const double most_a = largest(a + j * k, k, 1), most_b = largest(b + j, n, rank);
        /* A component of nothing stays nothing. */
        const double to_a = most_a > 0 && most_b > 0 ? sqrt(most_b / most_a) : 0;
        const double to_b = to_a > 0 ? 1 / to_a : 0;
        for (int64_t i = 0; i < k; i++)
            layer->a[j * k + i] = fbq_f16_of_f32((float)(a[j * k + i] * to_a));
        for (int64_t i = 0; i < n; i++)
            layer->b[i * rank + j] = fbq_f16_of_f32((float)(b[i * rank + j] * to_b));
    }
}

/* Eigenvectors of H in columns and square roots of its eigenvalues, 0 for those that count as 0. */
static fbq_status eigenspace(const calibrate_problem *p, double *vectors, double *roots,
                             fbq_error *error)
{
    const int64_t k = p->k;
    memcpy(vectors, p->h, sizeof(double) * (size_t)(k * k));
    const int info = (int)LAPACKE_dsyevd(LAPACK_ROW_MAJOR, 'V', 'U', (lapack_int)k, vectors,
                                         (lapack_int)k, roots);
    if (info != 0)
        return calibrate_fail(
            error, FBQ_ERR_SIZE,
            "the eigenvalues of problem->h failed with LAPACK's %d: is it finite?", info);
    const double most = fmax(roots[k - 1], 0);
    for (int64_t i = 0; i < k; i++)
        roots[i] = roots[i] > most * SMALLEST_EIGENVALUE ? sqrt(roots[i]) : 0;
    return FBQ_OK;
}

/* EoRA: |(R - BA) X^T|^2 = |(R - BA) U L^1/2|^2, so truncate R U L^1/2 and take A back. */
static fbq_status truncate_weighted(const calibrate_problem *p, double *r, double *a, double *b,
                                    fbq_error *error)
{
    const int n = (int)p->n, k = (int)p->k, rank = (int)p->rank;
    double *u = doubles(p->k * p->k), *root = doubles(p->k), *turned = doubles(p->n * p->k);
    double *part = doubles(p->rank * p->k);
    fbq_status status = FBQ_OK;
    if (u == NULL || root == NULL || turned == NULL || part == NULL)
        status = calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for H's eigenspace");
    if (status == FBQ_OK)
        status = eigenspace(p, u, root, error);
    if (status == FBQ_OK) {
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, k, k, 1, r, k, u, k, 0, turned,
                    k);
        for (int64_t i = 0; i < p->n * p->k; i++)
            turned[i] *= root[i % p->k];
        status = truncate(turned, p->n, p->k, p->rank, part, b, error);
    }
    if (status == FBQ_OK) {
        for (int64_t i = 0; i < p->rank * p->k; i++)
            part[i] = root[i % p->k] > 0 ? part[i] / root[i % p->k] : 0;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rank, k, k, 1, part, k, u, k, 0, a, k);
    }
    free(u);
    free(root);
    free(turned);
    free(part);
    return status;
}

static fbq_status closed_form(const calibrate_problem *p, int weighted, calibrate_layer *layer,
                              fbq_error *error)
{
    fbq_status status = calibrate_layer_new(p, p->rank, layer, error);
    if (status != FBQ_OK)
        return status;
    if (p->rank == 0)
        return calibrate_codes(p, layer, error);
    double *r = doubles(p->n * p->k), *a = doubles(p->rank * p->k), *b = doubles(p->n * p->rank);
    if (r == NULL || a == NULL || b == NULL)
        status = calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the residual");
    if (status == FBQ_OK)
        status = residual(p, layer, r, error);
    if (status == FBQ_OK)
        status = weighted ? truncate_weighted(p, r, a, b, error)
                          : truncate(r, p->n, p->k, p->rank, a, b, error);
    if (status == FBQ_OK)
        store(p, a, b, layer);
    else
        calibrate_layer_free(layer);
    free(r);
    free(a);
    free(b);
    return status;
}

fbq_status calibrate_svd(const calibrate_problem *problem, calibrate_layer *layer, fbq_error *error)
{
    return closed_form(problem, 0, layer, error);
}

fbq_status calibrate_eora(const calibrate_problem *problem, calibrate_layer *layer,
                          fbq_error *error)
{
    return closed_form(problem, 1, layer, error);
}
