/* fbq/host/reference.h: the layer in double, straight from packed bytes. Slow and plain on purpose.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_REFERENCE_H
#define FBQ_HOST_REFERENCE_H

#include "pack.h"

/* A layer opened for the reference: the parts' layouts agree. */
typedef struct fbq__opened {
    fbq_layout layout;
    const uint8_t *weights, *down, *up; /* behind the headers; down and up NULL together */
} fbq__opened;

static int fbq__shapes_differ(const fbq_shape *a, const fbq_shape *b)
{
    int differ = a->k != b->k || a->segments != b->segments;
    for (int i = 0; !differ && i < a->segments; i++)
        differ = a->segment[i].n != b->segment[i].n || a->segment[i].r != b->segment[i].r;
    return differ;
}

static fbq_status fbq__open_parts(const fbq_parts *parts, fbq__opened *o, fbq_error *error)
{
    fbq_layout down, up;
    FBQ__NOT_NULL(parts, error);
    FBQ__NOT_NULL(parts->weights, error);
    if ((parts->down == NULL) != (parts->up == NULL))
        return fbq__fail(error, FBQ_ERR_NULL, 0,
                         "parts->%s is NULL but parts->%s is not: give both factors or neither",
                         parts->down ? "up" : "down", parts->down ? "down" : "up");
    FBQ__TRY(fbq__part_open(parts->weights, parts->weights_bytes, FBQ_PART_WEIGHTS,
                            "parts->weights", &o->layout, error));
    o->weights = (const uint8_t *)parts->weights + FBQ_HEADER_BYTES;
    o->down = o->up = NULL;
    if (!parts->down)
        return FBQ_OK;
    FBQ__TRY(
        fbq__part_open(parts->down, parts->down_bytes, FBQ_PART_DOWN, "parts->down", &down, error));
    FBQ__TRY(fbq__part_open(parts->up, parts->up_bytes, FBQ_PART_UP, "parts->up", &up, error));
    if (fbq__shapes_differ(&down.shape, &o->layout.shape) ||
        fbq__shapes_differ(&up.shape, &o->layout.shape) ||
        down.format.factor_type != up.format.factor_type)
        return fbq__fail(error, FBQ_ERR_RANK, 0,
                         "the packed factors have another shape or type than the weights: pack all "
                         "three parts with one layout");
    o->layout.format.factor_type = up.format.factor_type;
    o->down = (const uint8_t *)parts->down + FBQ_HEADER_BYTES;
    o->up = (const uint8_t *)parts->up + FBQ_HEADER_BYTES;
    return FBQ_OK;
}

/* s * (q - z) of one row in double; exact, since s, q and z are short. */
static void fbq__dequantise_row(const fbq__opened *o, int64_t tile, int row, double *w)
{
    const fbq_layout *l = &o->layout;
    const uint8_t *record = o->weights + tile * l->record_bytes;
    const int bits = l->format.bits;
    for (int64_t k = 0; k < l->shape.k; k++) {
        int64_t g = k / l->group_size, bit[4];
        uint32_t q = 0;
        int complemented;
        double s, z;
        fbq_code_position(l, row, k, bit, &complemented);
        for (int b = 0; b < bits; b++)
            q |= (uint32_t)(record[bit[b] >> 3] >> (bit[b] & 7) & 1) << b;
        if (complemented)
            q = (1u << bits) - 1 - q;
        s = fbq_f32_of_word(l->format.scale_type,
                            fbq__half_load(record + fbq__scale_offset(l, g, row)));
        z = (double)(1 << (bits - 1));
        if (l->format.zero == FBQ_ZERO_CODE)
            z = record[fbq__zero_code_offset(l, g, row)] >> (row >> 3) * 4 & 15;
        else if (l->format.zero == FBQ_ZERO_F16)
            z = fbq_f32_of_f16(fbq__half_load(record + fbq__zero_f16_offset(l, g, row)));
        w[k] = s * ((double)q - z);
    }
}

/* w += B[n,:] . A, one row. `a` holds A in double, rank_tiles * 16 rows. */
static void fbq__add_branch_row(const fbq__opened *o, int segment, int64_t tile, int row,
                                const double *a, double *w)
{
    const fbq_layout *l = &o->layout;
    int64_t r = l->shape.segment[segment].r, rank_blocks = fbq__ceil(r, FBQ_TILE);
    int64_t block = l->up_first[segment] + (tile - l->tile_first[segment]) * rank_blocks;
    const double *rows = a + l->rank_first[segment] * FBQ_TILE * l->shape.k;
    for (int64_t j = 0; j < r; j++) {
        int64_t at = 2 * fbq__up_word(block + j / FBQ_TILE, row, (int)(j % FBQ_TILE));
        double b = fbq_f32_of_word(l->format.factor_type, fbq__half_load(o->up + at));
        for (int64_t k = 0; b != 0 && k < l->shape.k; k++)
            w[k] += b * rows[j * l->shape.k + k];
    }
}

/* A in double, padded rows included. NULL when there is no branch or no memory (*failed says). */
static double *fbq__down_double(const fbq__opened *o, int *failed)
{
    const fbq_layout *l = &o->layout;
    double *a;
    *failed = 0;
    if (!o->down)
        return NULL;
    a = (double *)FBQ_MALLOC(sizeof *a * (size_t)(l->rank_tiles * FBQ_TILE * l->shape.k));
    *failed = a == NULL;
    for (int64_t i = 0; a && i < l->rank_tiles * FBQ_TILE; i++)
        for (int64_t k = 0; k < l->shape.k; k++)
            a[i * l->shape.k + k] = fbq_f32_of_word(
                l->format.factor_type,
                fbq__half_load(o->down +
                               2 * fbq__down_word(l, i / FBQ_TILE, (int)(i % FBQ_TILE), k)));
    return a;
}

/* Call `use` with every wanted row of W_F. */
typedef void (*fbq__row_use)(void *user, int64_t index, const double *w);

static fbq_status fbq__each_row(const fbq_parts *parts, int64_t first, int64_t rows,
                                fbq__row_use use, void *user, fbq_layout *layout, fbq_error *error)
{
    fbq__opened o;
    double *w, *a;
    int failed;
    FBQ__TRY(fbq__open_parts(parts, &o, error));
    *layout = o.layout;
    if (first < 0 || rows < 0 || first > o.layout.n - rows)
        return fbq__fail(error, FBQ_ERR_SIZE, 0,
                         "first is %lld and rows is %lld; the layer has rows 0 .. %lld",
                         (long long)first, (long long)rows, (long long)(o.layout.n - 1));
    a = fbq__down_double(&o, &failed);
    w = (double *)FBQ_MALLOC(sizeof *w * (size_t)o.layout.shape.k);
    if (!w || failed) {
        FBQ_FREE(w);
        FBQ_FREE(a);
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "no host memory for A or a row of weights");
    }
    for (int64_t i = 0; i < rows; i++) {
        int64_t n = first + i, tile;
        int s = 0;
        while (n >= o.layout.shape.segment[s].n)
            n -= o.layout.shape.segment[s++].n;
        tile = o.layout.tile_first[s] + n / FBQ_TILE;
        fbq__dequantise_row(&o, tile, (int)(n % FBQ_TILE), w);
        if (a)
            fbq__add_branch_row(&o, s, tile, (int)(n % FBQ_TILE), a, w);
        use(user, i, w);
    }
    FBQ_FREE(w);
    FBQ_FREE(a);
    return FBQ_OK;
}

typedef struct fbq__reference_use {
    const fbq_layout *layout;
    int64_t rows, m;
    const double *x;
    double *y, *scale, *w;
} fbq__reference_use;

static void fbq__use_copy(void *user, int64_t index, const double *w)
{
    fbq__reference_use *u = (fbq__reference_use *)user;
    memcpy(u->w + index * u->layout->shape.k, w, sizeof *w * (size_t)u->layout->shape.k);
}

static void fbq__use_multiply(void *user, int64_t index, const double *w)
{
    fbq__reference_use *u = (fbq__reference_use *)user;
    int64_t k_total = u->layout->shape.k;
    for (int64_t m = 0; m < u->m; m++) {
        double sum = 0, scale = 0;
        for (int64_t k = 0; k < k_total; k++) {
            double term = w[k] * u->x[m * k_total + k];
            sum += term;
            scale += fabs(term);
        }
        u->y[m * u->rows + index] = sum;
        if (u->scale)
            u->scale[m * u->rows + index] = scale;
    }
}

fbq_status fbq_reconstruct(const fbq_parts *parts, int64_t first, int64_t rows, double *w,
                           fbq_error *error)
{
    fbq_layout layout;
    fbq__reference_use use = {&layout, rows, 0, NULL, NULL, NULL, w};
    FBQ__NOT_NULL(w, error);
    return fbq__each_row(parts, first, rows, fbq__use_copy, &use, &layout, error);
}

fbq_status fbq_reference(const fbq_parts *parts, int64_t first, int64_t rows, int64_t m,
                         const double *x, double *y, double *scale, fbq_error *error)
{
    fbq_layout layout;
    fbq__reference_use use = {&layout, rows, m, x, y, scale, NULL};
    FBQ__NOT_NULL(x, error);
    FBQ__NOT_NULL(y, error);
    if (m < 1)
        return fbq__fail(error, FBQ_ERR_SIZE, 0, "m is %lld; expected at least 1", (long long)m);
    return fbq__each_row(parts, first, rows, fbq__use_multiply, &use, &layout, error);
}

#endif /* FBQ_HOST_REFERENCE_H */
