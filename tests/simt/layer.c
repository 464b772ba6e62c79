/* tests/simt/layer.c: run a layer and compare with the reference.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"

#include <fbq/host/half.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double get_number(const uint16_t *at, fbq_type type)
{
    float f;
    if (type != FBQ_F32)
        return fbq_f32_of_word(type, *at);
    memcpy(&f, at, sizeof f);
    return f;
}

static void describe(const layer_case *c, layer_result *result)
{
    snprintf(result->text, sizeof result->text,
             "%d segments n %lld k %lld r %lld m %lld of %lld bits %d group %d zero %d types x %d "
             "y %d scale %d "
             "factor %d x kind %d shift %d gaps "
             "%lld %lld "
             "bias %d residual %d exact %d, capability %d, fused %d x %d stages %d tiles %d "
             "k_known %d tight %d, one launch %d impatient %d chained %d, resident %d, seed %llu",
             c->segments ? c->segments : 1, (long long)c->n, (long long)c->k, (long long)c->r,
             (long long)c->m, (long long)(c->m_max ? c->m_max : c->m), c->bits ? c->bits : 4,
             c->group, (int)c->zero, (int)c->x_type, (int)c->y_type, (int)c->scale_type,
             (int)c->factor_type, (int)c->x, c->x_shift, (long long)c->x_gap, (long long)c->y_gap,
             c->bias, (int)c->residual, c->exact, c->capability, c->default_picks ? 0 : c->warps,
             c->default_picks ? 0 : c->chunks, c->default_picks ? 0 : c->stages,
             c->default_picks ? 0 : c->tiles, c->k_known, c->tight, c->one_launch, c->impatient,
             c->chained, c->resident, (unsigned long long)c->seed);
}

static void note_wrong(layer_result *result, const char *what, int64_t m, int64_t n, double got,
                       double expected, double bound)
{
    size_t used = strlen(result->text);
    if (result->wrong++ == 0)
        snprintf(result->text + used, sizeof result->text - used,
                 "; first wrong: %s[%lld][%lld] is %.9g, expected %.9g within %.3g", what,
                 (long long)m, (long long)n, got, expected, bound);
}

/* ---- Comparing ---- */

/* The error that is allowed. Rounding to y's type, plus what fp32 accumulation costs: the tensor
 * core sums codes under a bias of up to 79 (device/unpack.cuh), so that a sum's rounding errors
 * are relative to numbers some times larger than the result's own terms. */
static double bound_of(const layer *l, double ref, double scale)
{
    /* bf16's bias is up to 143 (4 bits) */
    double accumulation = scale * ldexp(1, l->problem.x_type == FBQ_BF16 ? -16 : -17);
    if (l->problem.y_type == FBQ_F32)
        return accumulation + ldexp(1, -100);
    if (l->problem.y_type == FBQ_BF16)
        return accumulation + fabs(ref) * ldexp(1, -8) * 1.001 + ldexp(1, -100);
    return accumulation + fabs(ref) * ldexp(1, -11) * 1.001 + ldexp(1, -25);
}

/* What a massive number in x costs beside it: the scale of the numbers in its neighbourhood is
 * set by it alone. For one row of x, every number of 256 neighbours is rounded to a multiple of
 * 2^-20 of the largest (device/limbs.cuh). For more rows, each of the fp32 sums of a flush may be
 * as large as twice the bias times the largest, and rounds that often. */
static double massive_bound(const layer *l, const layer_case *c, const double *w, const double *x,
                            int64_t n)
{
    double bound = 0, scale = 0;
    if (c->x != LAYER_X_MASSIVE && c->x != LAYER_X_OUTLIER)
        return 0;
    for (int64_t j = 0; j < l->layout.groups; j++)
        scale = fmax(scale, fbq_f32_of_word(l->layout.format.scale_type,
                                            l->scales[n * l->layout.groups + j]));
    for (int64_t first = 0; first < c->k; first += 256) {
        double most = 0, sum = 0;
        for (int64_t k = first; k < first + 256 && k < c->k; k++) {
            most = fmax(most, fabs(x[k]));
            sum += fabs(w[n * c->k + k]);
        }
        bound +=
            c->m == 1 ? most * sum * ldexp(1, -21) : most * scale * 2 * 143 * 128 * ldexp(1, -24);
    }
    return bound;
}

static double *x_double(const layer *l, const layer_case *c)
{
    double *x = layer_memory((size_t)(c->m * c->k) * sizeof *x);
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t k = 0; k < c->k; k++)
            x[m * c->k + k] = fbq_f32_of_word(l->problem.x_type, l->x[m * l->x_stride + k]);
    return x;
}

static void compare(const layer *l, const layer_case *c, layer_result *result)
{
    const fbq_type type = l->problem.y_type;
    size_t count = (size_t)(c->m * c->n);
    double *x = x_double(l, c);
    double *ref = layer_memory(count * sizeof *ref), *scale = layer_memory(count * sizeof *scale);
    double *w = layer_memory((size_t)(c->n * c->k) * sizeof *w);
    fbq_parts parts;
    memset(&parts, 0, sizeof parts);
    parts.weights = l->weights;
    parts.weights_bytes = l->layout.weights_bytes;
    result->status = fbq_reconstruct(&parts, 0, c->n, w, &result->error);
    if (c->r > 0 && !c->unused_branch) {
        parts.down = l->packed_a;
        parts.down_bytes = l->layout.down_bytes;
        parts.up = l->packed_b;
        parts.up_bytes = l->layout.up_bytes;
    }
    if (result->status == FBQ_OK)
        result->status = fbq_reference(&parts, 0, c->n, c->m, x, ref, scale, &result->error);
    for (int64_t m = 0; m < c->m && result->status == FBQ_OK; m++) {
        for (int64_t n = 0; n < c->n; n++) {
            double expected = ref[m * c->n + n], size = scale[m * c->n + n], bound, got;
            if (l->bias) {
                double v = fbq_f32_of_word(l->problem.x_type, l->bias[n]);
                expected += v;
                size += fabs(v);
            }
            if (l->residual) {
                double v =
                    get_number(l->residual + (m * l->residual_stride + n) * l->y_width, type);
                expected += v;
                size += fabs(v);
            }
            got = get_number(l->y + (m * l->y_stride + n) * l->y_width, type);
            if (c->exact) {
                if (type != FBQ_F32)
                    expected = fbq_f32_of_word(type, layer_word(type, expected));
                if (!(got == expected))
                    note_wrong(result, "y", m, n, got, expected, 0);
                continue;
            }
            if (!isfinite(expected)) {
                if (isfinite(got))
                    note_wrong(result, "y", m, n, got, expected, 0);
                continue;
            }
            bound = bound_of(l, expected, size) + massive_bound(l, c, w, x + m * c->k, n);
            if (!(fabs(got - expected) <= bound)) /* NaN is wrong, too */
                note_wrong(result, "y", m, n, got, expected, bound);
            else if (fabs(got - expected) / bound > result->worst)
                result->worst = fabs(got - expected) / bound;
        }
    }
    free(x);
    free(ref);
    free(scale);
    free(w);
}

/* Words of y's block that no row owns must still be poison. */
static int64_t count_touched(const layer *l, const layer_case *c)
{
    int64_t touched = 0, row = l->y_stride * l->y_width, width = c->n * l->y_width;
    for (int64_t i = 0; i < (int64_t)l->y_words; i++) {
        int64_t at = i - GUARD_WORDS;
        int owned = at >= 0 && at < (c->m - 1) * row + width && at % row < width;
        touched += !owned && l->y_block[i] != POISON;
    }
    return touched;
}

static int all_right(const layer_result *result)
{
    return result->status == FBQ_OK && result->report.findings == 0 && result->wrong == 0 &&
           result->touched == 0;
}

int layer_run(const layer_case *c, layer_result *result)
{
    layer l;
    memset(result, 0, sizeof *result);
    describe(c, result);
    result->status = layer_make(&l, c, &result->error);
    if (result->status == FBQ_OK) {
        fbq_call call = layer_call(&l, c);
        fbq_status ran =
            fbq_simt_linear_with(&l.problem, &call, &l.options, &result->report, &result->error);
        /* Findings do not end the comparison: a planted bug may show in both. */
        if (ran == FBQ_OK || result->report.findings > 0)
            compare(&l, c, result);
        if (result->status == FBQ_OK)
            result->status = ran;
        result->touched = count_touched(&l, c);
        result->y_bytes = (size_t)(c->m * c->n * l.y_width) * 2;
        result->y = layer_memory(result->y_bytes);
        for (int64_t m = 0; m < c->m; m++)
            memcpy((char *)result->y + m * c->n * l.y_width * 2, l.y + m * l.y_stride * l.y_width,
                   (size_t)(c->n * l.y_width) * 2);
    }
    layer_free(&l);
    return all_right(result);
}

/* One slice's partial sums: t[m][rank] over k in [first, last). */
static void compare_slice(const layer *l, const layer_case *c, const float *t, int64_t first,
                          int64_t last, layer_result *result)
{
    int64_t ranks = l->layout.rank_tiles * FBQ_TILE;
    for (int64_t m = 0; m < c->m; m++) {
        for (int64_t r = 0; r < ranks; r++) {
            double sum = 0, size = 0, got = t[m * ranks + r], bound;
            for (int64_t k = first; k < last; k++) {
                double a = r < c->r
                               ? fbq_f32_of_word(l->layout.format.factor_type, l->a[r * c->k + k])
                               : 0; /* padding */
                double term = a * fbq_f32_of_word(l->problem.x_type, l->x[m * l->x_stride + k]);
                sum += term;
                size += fabs(term);
            }
            bound = c->exact ? 0 : (double)(last - first) * ldexp(1, -24) * size;
            if (isfinite(sum) ? !(fabs(got - sum) <= bound) : isfinite(got))
                note_wrong(result, "t", m, r, got, sum, bound);
        }
    }
}

int layer_run_down(const layer_case *c, layer_result *result)
{
    layer l;
    memset(result, 0, sizeof *result);
    describe(c, result);
    result->status = layer_make(&l, c, &result->error);
    if (result->status == FBQ_OK) {
        fbq_call call = layer_call(&l, c);
        result->status =
            fbq_simt_down(&l.problem, &call, &l.options, &result->report, &result->error);
        int64_t slices = l.down.slices;
        int64_t codes = (l.layout.chunks + slices - 1) / slices * FBQ_CHUNK;
        const float *t = l.scratch;
        for (int64_t s = 0; s < slices; s++) {
            int64_t first = s * codes < c->k ? s * codes : c->k;
            int64_t last = first + codes < c->k ? first + codes : c->k;
            compare_slice(&l, c, t + s * c->m * l.layout.rank_tiles * FBQ_TILE, first, last,
                          result);
        }
        result->touched = count_touched(&l, c);
    }
    layer_free(&l);
    return all_right(result);
}

int layer_right(const layer_case *c, const layer_result *like)
{
    layer_result result;
    int right = layer_run(c, &result);
    if (!right)
        layer_print(&result);
    if (right && like && memcmp(result.y, like->y, like->y_bytes)) {
        fprintf(stderr, "%s\n  other bits than before\n", result.text);
        right = 0;
    }
    free(result.y);
    return right;
}

void layer_print(const layer_result *result)
{
    fprintf(stderr, "%s\n", result->text);
    if (result->status != FBQ_OK)
        fprintf(stderr, "  status %d: %s\n", (int)result->status, result->error.detail);
    fprintf(stderr, "  wrong %lld, touched %lld, worst %.3g of the bound\n",
            (long long)result->wrong, (long long)result->touched, result->worst);
    if (result->report.findings)
        fprintf(stderr, "  %s", result->report.text);
}
