/* gram.c: X^T X and traces, by BLAS.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gram.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>

#define SLICE 1024 /* tokens that are turned into double at a time */

int gram_add(const float *x, int64_t tokens, int64_t k, double *h)
{
    double *slice = malloc(sizeof *slice * (size_t)(SLICE * k));
    if (slice == NULL)
        return 0;
    for (int64_t first = 0; first < tokens; first += SLICE) {
        const int64_t rows = tokens - first < SLICE ? tokens - first : SLICE;
        for (int64_t i = 0; i < rows * k; i++)
            slice[i] = x[first * k + i];
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)k, (int)rows, 1, slice, (int)k, 1,
                    h, (int)k);
    }
    for (int64_t i = 0; i < k; i++)
        for (int64_t j = 0; j < i; j++)
            h[i * k + j] = h[j * k + i];
    free(slice);
    return 1;
}

double gram_loss(const double *h, int64_t n, int64_t k, const double *d)
{
    double *product = malloc(sizeof *product * (size_t)(n * k)), loss = 0;
    if (product == NULL)
        return NAN;
    cblas_dsymm(CblasRowMajor, CblasRight, CblasUpper, (int)n, (int)k, 1, h, (int)k, d, (int)k, 0,
                product, (int)k);
    for (int64_t i = 0; i < n * k; i++)
        loss += product[i] * d[i];
    free(product);
    return loss;
}
