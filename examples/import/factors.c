/* factors.c: see factors.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "factors.h"

#include <fbq/fbq.h>
#include <fbq/host/half.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- What rounding changes ---- */

/* A sum of products of columns of B and rows of A, whose norm is asked for without making the
 * n x k matrix: |B A|^2 = sum over i, j of (B^T B)_ij (A A^T)_ij. */
typedef struct product {
    int64_t n, k, r;
    double *a; /* r x k */
    double *b; /* r x n: columns of B one after another */
} product;

static double dot(const double *x, const double *y, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

static double squared_norm(const product *p)
{
    double sum = 0;
    for (int64_t i = 0; i < p->r; i++)
        for (int64_t j = 0; j <= i; j++)
            sum += (i == j ? 1 : 2) * dot(p->a + i * p->k, p->a + j * p->k, p->k) *
                   dot(p->b + i * p->n, p->b + j * p->n, p->n);
    return sum > 0 ? sum : 0;
}

/* B'A' - BA = (B' - B) A' + B (A' - A), a product of rank 2r. Its small terms are made before
 * anything is multiplied, so that they are not lost in a difference of large sums. */
static import_status measure(const peft_adapter *p, factors *f, import_error *error)
{
    const int64_t n = p->n, k = p->k, r = p->r;
    product d = {n, k, 2 * r, malloc(sizeof(double) * (size_t)(2 * r * k)),
                 malloc(sizeof(double) * (size_t)(2 * r * n))};
    product whole = {n, k, r, malloc(sizeof(double) * (size_t)(r * k)), NULL};
    if (!d.a || !d.b || !whole.a) {
        free(d.a);
        free(d.b);
        free(whole.a);
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for factors of rank %" PRId64, r);
    }
    for (int64_t i = 0; i < r * k; i++) {
        whole.a[i] = p->a[i];
        d.a[i] = f->a[i];
        d.a[r * k + i] = d.a[i] - p->a[i];
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < r; j++) {
            const double b = p->b[i * r + j];
            d.b[j * n + i] = f->b[i * r + j] - b;
            d.b[(r + j) * n + i] = b;
        }
    whole.b = d.b + r * n;
    const double before = squared_norm(&whole);
    f->change = before > 0 ? sqrt(squared_norm(&d) / before) : 0;
    free(d.a);
    free(d.b);
    free(whole.a);
    return IMPORT_OK;
}

/* ---- Rounding ---- */

static import_status round_all(const float *from, int64_t count, const char *name, fbq_type type,
                               float *to, int *changed, import_error *error)
{
    for (int64_t i = 0; i < count; i++) {
        to[i] = fbq_f32_of_word(type, fbq_word_of_f32(type, from[i]));
        if (!isfinite(to[i]))
            return import_fail(error, IMPORT_ERR_VALUE,
                               "a number of lora_%s times the adapter's scale is %g, beyond %s",
                               name, (double)from[i],
                               type == FBQ_F16 ? "fp16; ask for bf16 factors" : "bf16");
        *changed = *changed || to[i] != from[i];
    }
    return IMPORT_OK;
}

static import_status round_16(const peft_adapter *p, fbq_type type, factors *f, int *changed,
                              import_error *error)
{
    const import_status status = round_all(p->a, p->r * p->k, "A", type, f->a, changed, error);
    return status == IMPORT_OK ? round_all(p->b, p->n * p->r, "B", type, f->b, changed, error)
                               : status;
}

/* What packing says that will run. The packed bytes themselves are made again with the weights. */
static import_status round_i8(const peft_adapter *p, factors *f, int *changed, import_error *error)
{
    const fbq_format format = {4, FBQ_GROUP_ROW, FBQ_ZERO_NONE, FBQ_F16, FBQ_I8};
    const fbq_shape shape = fbq_shape_of(p->n, p->k, p->r);
    fbq_layout l;
    fbq_error why;
    fbq_status status = fbq_layout_of(&format, &shape, &l, &why);
    if (status != FBQ_OK)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s", why.detail);
    uint8_t *packed = malloc(l.down_bytes + l.up_bytes);
    if (!packed)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu bytes",
                           l.down_bytes + l.up_bytes);
    status = fbq_pack_down_i8(&l, p->a, packed, l.down_bytes, f->a, &why);
    if (status == FBQ_OK)
        status = fbq_pack_up_i8(&l, p->b, p->r, packed + l.down_bytes, l.up_bytes, f->b, &why);
    free(packed);
    *changed = 1;
    return status == FBQ_OK ? IMPORT_OK
                            : import_fail(error, IMPORT_ERR_VALUE,
                                          "the adapter's factors times its scale: %s", why.detail);
}

import_status factors_round(const peft_adapter *adapter, fbq_type type, factors *f,
                            import_error *error)
{
    const peft_adapter *p = adapter;
    const size_t a = (size_t)(p->r * p->k), b = (size_t)(p->n * p->r);
    int changed = 0;
    *f = (factors){p->r, malloc(a * sizeof *f->a), malloc(b * sizeof *f->b), 0};
    import_status status =
        f->a && f->b
            ? IMPORT_OK
            : import_fail(error, IMPORT_ERR_MEMORY, "no memory for factors of rank %" PRId64, p->r);
    if (status == IMPORT_OK && type == FBQ_I8)
        status = round_i8(p, f, &changed, error);
    else if (status == IMPORT_OK)
        status = round_16(p, type, f, &changed, error);
    if (status == IMPORT_OK && changed)
        status = measure(p, f, error);
    if (status != IMPORT_OK)
        factors_free(f);
    return status;
}

void factors_free(factors *f)
{
    free(f->a);
    free(f->b);
    memset(f, 0, sizeof *f);
}
