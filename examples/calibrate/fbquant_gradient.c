/* fbquant_gradient.c: loss and gradient of one step.
 *
 * W - BA and Q of it are in double, as they are when the final codes are made; the two products
 * with H and the factors, which take all the time, are in float: they steer the descent and decide
 * nothing that is stored.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fbquant.h"
#include "quantise.h"

#include <cblas.h>
#include <fbq/host/half.h>
#include <stdlib.h>

struct fbquant_work {
    const calibrate_problem *problem;
    float *h;      /* k x k */
    double *a, *b; /* the factors, widened */
    float *a32, *b32;
    double *v;         /* n x k: W - BA */
    double *quantised; /* n x k: Q(W - BA) */
    float *d, *dh;     /* n x k: W - BA - Q(W - BA), and that times H */
};

fbquant_work *fbquant_work_new(const calibrate_problem *problem, double h_scale)
{
    const size_t n = (size_t)problem->n, k = (size_t)problem->k, rank = (size_t)problem->rank;
    fbquant_work *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->problem = problem;
    w->h = malloc(k * k * sizeof *w->h);
    w->a = malloc(rank * k * sizeof *w->a);
    w->b = malloc(n * rank * sizeof *w->b);
    w->a32 = malloc(rank * k * sizeof *w->a32);
    w->b32 = malloc(n * rank * sizeof *w->b32);
    w->v = malloc(n * k * sizeof *w->v);
    w->quantised = calloc(n * k, sizeof *w->quantised);
    w->d = malloc(n * k * sizeof *w->d);
    w->dh = malloc(n * k * sizeof *w->dh);
    if (w->h == NULL || w->a == NULL || w->b == NULL || w->a32 == NULL || w->b32 == NULL ||
        w->v == NULL || w->quantised == NULL || w->d == NULL || w->dh == NULL) {
        fbquant_work_free(w);
        return NULL;
    }
    for (size_t i = 0; i < k * k; i++)
        w->h[i] = (float)(problem->h[i] * h_scale);
    return w;
}

void fbquant_work_free(fbquant_work *w)
{
    if (w == NULL)
        return;
    free(w->h);
    free(w->a);
    free(w->b);
    free(w->a32);
    free(w->b32);
    free(w->v);
    free(w->quantised);
    free(w->d);
    free(w->dh);
    free(w);
}

static void widen(const uint16_t *words, int64_t count, double *wide, float *single)
{
    for (int64_t i = 0; i < count; i++)
        wide[i] = single[i] = fbq_f32_of_f16(words[i]);
}

fbq_status fbquant_gradient(fbquant_work *w, const uint16_t *a, const uint16_t *b, int frozen,
                            double *losses, float *da, float *db, fbq_error *error)
{
    const calibrate_problem *p = w->problem;
    const int n = (int)p->n, k = (int)p->k, rank = (int)p->rank;
    const int64_t count = p->n * p->k;
    widen(a, p->rank * p->k, w->a, w->a32);
    widen(b, p->n * p->rank, w->b, w->b32);
    for (int64_t i = 0; i < count; i++)
        w->v[i] = p->w[i];
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, k, rank, -1, w->b, rank, w->a, k, 1,
                w->v, k);
    if (!frozen) {
        const fbq_status status =
            quantise(&p->format, p->n, p->k, w->v, NULL, NULL, NULL, w->quantised, error);
        if (status != FBQ_OK)
            return status;
    }
    for (int64_t i = 0; i < count; i++)
        w->d[i] = (float)(w->v[i] - w->quantised[i]);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, k, k, 1, w->d, k, w->h, k, 0, w->dh,
                k);
    for (int64_t row = 0; row < p->n; row++) {
        losses[row] = 0;
        for (int64_t i = row * p->k; i < (row + 1) * p->k; i++)
            losses[row] += (double)w->d[i] * w->dh[i];
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, rank, k, -2, w->dh, k, w->a32, k, 0, db,
                rank);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rank, k, n, -2, w->b32, rank, w->dh, k, 0,
                da, k);
    return FBQ_OK;
}
