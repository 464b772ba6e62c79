/* gram.h: H = X^T X, and the loss through it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GRAM_H
#define GRAM_H

#include <stdint.h>

/* H [k, k] += X^T X for X [tokens, k], summed in double and kept whole (both triangles). H starts
 * as zeros. Returns 0 when memory runs out. */
int gram_add(const float *x, int64_t tokens, int64_t k, double *h);

/* tr(D H D^T) for D [n, k], in double; NaN when memory runs out. */
double gram_loss(const double *h, int64_t n, int64_t k, const double *d);

#endif /* GRAM_H */
