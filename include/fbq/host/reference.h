/* fbq/host/reference.h: the layer in double, straight from packed bytes. Slow and plain on purpose.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_REFERENCE_H
#define FBQ_HOST_REFERENCE_H

#include "factors.h"

/* A layer opened for the reference: the parts' layouts agree. */
typedef struct fbq__opened {
    fbq_layout layout;
    const uint8_t *weights;   /* behind the header */
    const uint8_t *down, *up; /* the parts; NULL together */
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
    o->layout.down_scales = down.down_scales;
    o->layout.up_scales = up.up_scales;
    o->down = (const uint8_t *)parts->down;
    o->up = (const uint8_t *)parts->up;
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

/* w += B[n,:] . A, one row. `a` holds A, all segments' rows stacked; b has room for a row of B. */
static void fbq__add_branch_row(const fbq__opened *o, int segment, int64_t n, const float *a,
                                float *b, double *w)
{
    const fbq_layout *l = &o->layout;
    const fbq__factor_row r = fbq__factor_row_of(l, FBQ_PART_UP, n);
    for (int s = 0; s < segment; s++)
        a += l->shape.segment[s].r * l->shape.k;
    fbq__factor_floats(&r, o->up, b);
    for (int64_t j = 0; j < r.count; j++)
        for (int64_t k = 0; b[j] != 0 && k < l->shape.k; k++)
            w[k] += (double)b[j] * a[j * l->shape.k + k];
}

/* A, all segments' rows stacked, and behind them room for a row of B. NULL when there is no branch
 * or no memory (*failed says). */
static float *fbq__down_floats(const fbq__opened *o, int *failed)
{
    const fbq_layout *l = &o->layout;
    const int64_t rows = fbq__factor_rows(l, FBQ_PART_DOWN);
    float *a;
    *failed = 0;
    if (!o->down)
        return NULL;
    a = (float *)FBQ_MALLOC(sizeof *a * (size_t)(rows * l->shape.k + FBQ__MAX_RANK));
    *failed = a == NULL;
    for (int64_t i = 0; a && i < rows; i++) {
        const fbq__factor_row r = fbq__factor_row_of(l, FBQ_PART_DOWN, i);
        fbq__factor_floats(&r, o->down, a + i * l->shape.k);
    }
    return a;
}

/* Call `use` with every wanted row of W_F. */
typedef void (*fbq__row_use)(void *user, int64_t index, const double *w);

static fbq_status fbq__each_row(const fbq_parts *parts, int64_t first, int64_t rows,
                                fbq__row_use use, void *user, fbq_layout *layout, fbq_error *error)
{
    fbq__opened o;
    double *w;
    float *a;
    int failed;
    FBQ__TRY(fbq__open_parts(parts, &o, error));
    *layout = o.layout;
    if (first < 0 || rows < 0 || first > o.layout.n - rows)
        return fbq__fail(error, FBQ_ERR_SIZE, 0,
                         "first is %lld and rows is %lld; the layer has rows 0 .. %lld",
                         (long long)first, (long long)rows, (long long)(o.layout.n - 1));
    a = fbq__down_floats(&o, &failed);
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
            fbq__add_branch_row(&o, s, first + i, a,
                                a + fbq__factor_rows(&o.layout, FBQ_PART_DOWN) * o.layout.shape.k,
                                w);
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
