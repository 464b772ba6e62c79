/* calibrate.c: what all methods share, and the simplest of them, round to nearest.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "calibrate.h"
#include "quantise.h"

#include <cblas.h>
#include <fbq/host/half.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

fbq_status calibrate_fail(fbq_error *error, fbq_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list list;
        error->status = status;
        error->cuda = 0;
        va_start(list, format);
        vsnprintf(error->detail, sizeof error->detail, format, list);
        va_end(list);
    }
    return status;
}

static fbq_status check(const calibrate_problem *p, int64_t rank, fbq_error *error)
{
    fbq_layout layout;
    const fbq_shape shape = fbq_shape_of(p->n, p->k, rank);
    if (p->w == NULL || p->h == NULL)
        return calibrate_fail(error, FBQ_ERR_NULL, "problem->%s is NULL", p->w ? "h" : "w");
    if (p->format.scale_type != FBQ_F16 || p->format.factor_type != FBQ_F16)
        return calibrate_fail(error, FBQ_ERR_FORMAT,
                              "scale_type %d and factor_type %d: the calibration makes fp16 (%d)",
                              (int)p->format.scale_type, (int)p->format.factor_type, FBQ_F16);
    if (rank > p->n || rank > p->k)
        return calibrate_fail(error, FBQ_ERR_RANK, "rank %lld is above min(n, k) of %lld x %lld",
                              (long long)rank, (long long)p->n, (long long)p->k);
    /* The layout knows the limits of everything else. */
    return fbq_layout_of(&p->format, &shape, &layout, error);
}

fbq_status calibrate_layer_new(const calibrate_problem *problem, int64_t rank,
                               calibrate_layer *layer, fbq_error *error)
{
    *layer = (calibrate_layer){.n = problem->n, .k = problem->k, .rank = rank};
    const fbq_status status = check(problem, rank, error);
    if (status != FBQ_OK)
        return status;
    layer->format = problem->format;
    layer->groups = quantise_groups(&problem->format, problem->k);
    const size_t n = (size_t)problem->n, k = (size_t)problem->k;
    const size_t zero_bytes = problem->format.zero == FBQ_ZERO_CODE ? 1 : 2;
    layer->codes = calloc(n * k, 1);
    layer->scales = calloc(n * (size_t)layer->groups, sizeof *layer->scales);
    int ok = layer->codes != NULL && layer->scales != NULL;
    if (problem->format.zero != FBQ_ZERO_NONE) {
        layer->zeros = calloc(n * (size_t)layer->groups, zero_bytes);
        ok = ok && layer->zeros != NULL;
    }
    if (rank > 0) {
        layer->a = calloc((size_t)rank * k, sizeof *layer->a);
        layer->b = calloc(n * (size_t)rank, sizeof *layer->b);
        ok = ok && layer->a != NULL && layer->b != NULL;
    }
    if (!ok) {
        calibrate_layer_free(layer);
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for a layer of %lld x %lld",
                              (long long)problem->n, (long long)problem->k);
    }
    return FBQ_OK;
}

void calibrate_layer_free(calibrate_layer *layer)
{
    free(layer->codes);
    free(layer->scales);
    free(layer->zeros);
    free(layer->a);
    free(layer->b);
    *layer = (calibrate_layer){0};
}

static double *widen(const uint16_t *words, int64_t count)
{
    double *values = malloc(sizeof *values * (size_t)count);
    for (int64_t i = 0; values != NULL && i < count; i++)
        values[i] = fbq_f32_of_f16(words[i]);
    return values;
}

fbq_status calibrate_codes(const calibrate_problem *problem, calibrate_layer *layer,
                           fbq_error *error)
{
    const int64_t n = layer->n, k = layer->k, rank = layer->rank;
    double *v = malloc(sizeof *v * (size_t)(n * k)), *a = NULL, *b = NULL;
    int ok = v != NULL;
    for (int64_t i = 0; ok && i < n * k; i++)
        v[i] = problem->w[i];
    if (rank > 0) {
        a = widen(layer->a, rank * k);
        b = widen(layer->b, n * rank);
        ok = ok && a != NULL && b != NULL;
    }
    if (ok && rank > 0)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)k, (int)rank, -1, b,
                    (int)rank, a, (int)k, 1, v, (int)k);
    const fbq_status status =
        ok ? quantise(&layer->format, n, k, v, layer->codes, layer->scales, layer->zeros, NULL,
                      error)
           : calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for W - B . A");
    free(v);
    free(a);
    free(b);
    return status;
}

fbq_status calibrate_rtn(const calibrate_problem *problem, calibrate_layer *layer, fbq_error *error)
{
    fbq_status status = calibrate_layer_new(problem, 0, layer, error);
    if (status == FBQ_OK)
        status = calibrate_codes(problem, layer, error);
    if (status != FBQ_OK)
        calibrate_layer_free(layer);
    return status;
}
