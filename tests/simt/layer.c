/* tests/simt/layer.c: layers with known contents, and the comparison.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* posix_memalign */

#include "layer.h"

#include <fbq/host/half.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What surrounds every output: a NaN in fp16 and in fp32. */
#define POISON 0x7fc1u
#define GUARD_WORDS 64

/* Everything a run needs, filled by layer_make. 16-bit words where the type is fp16. */
typedef struct layer {
    fbq_problem problem;
    fbq_layout layout;
    fbq_gpu gpu;
    fbq_pick down, fused;
    fbq_simt_options options;
    uint8_t *codes;
    uint16_t *scales, *zeros16, *a, *b, *x_block, *x, *bias, *y_block, *y, *residual_block,
        *residual;
    uint8_t *zeros8;
    void *weights, *packed_a, *packed_b, *scratch;
    size_t scratch_bytes, y_words, residual_words;
    int64_t x_stride, y_stride, residual_stride;
    int y_width; /* 16-bit words of a number of y's type */
} layer;

/* ---- Random numbers ---- */

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int between(uint64_t *state, int low, int high)
{
    return low + (int)(next(state) % (uint32_t)(high - low + 1));
}

/* Sum of twelve uniform numbers: N(0, 1) for our purposes. */
static double normal(uint64_t *state)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += next(state) / 2147483648.0;
    return sum;
}

static uint16_t half(double v)
{
    return fbq_f16_of_f32((float)v);
}

static double x_value(const layer_case *c, int64_t k, uint64_t *state)
{
    if (c->exact)
        return between(state, -3, 3);
    switch (c->x) {
    case LAYER_X_MEAN:
        return 8 + normal(state);
    case LAYER_X_SMALL:
        return 1e-4 * normal(state);
    case LAYER_X_TINY:
        return 1e-5 * normal(state);
    case LAYER_X_OUTLIER:
        return k == c->k / 3 ? 1000 : 1;
    case LAYER_X_ALTERNATING:
        return k % 2 ? -1 : 1;
    case LAYER_X_CONSTANT:
        return 3;
    default:
        return normal(state);
    }
}

/* ---- Making a layer ---- */

/* Memory of exactly this size, so that AddressSanitizer sees an access behind it. Aligned for any
 * use here, a packed part's among them. */
static void *exactly(size_t bytes)
{
    void *memory = NULL;
    if (posix_memalign(&memory, FBQ_ALIGN, bytes ? bytes : 1)) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

static uint16_t *poisoned(size_t words)
{
    uint16_t *memory = exactly(words * 2);
    for (size_t i = 0; i < words; i++)
        memory[i] = POISON;
    return memory;
}

static void put_number(uint16_t *at, int width, double value)
{
    if (width == 1) {
        *at = half(value);
    } else {
        float f = (float)value;
        memcpy(at, &f, sizeof f);
    }
}

static double get_number(const uint16_t *at, int width)
{
    float f;
    if (width == 1)
        return fbq_f32_of_f16(*at);
    memcpy(&f, at, sizeof f);
    return f;
}

static void make_weights(layer *l, const layer_case *c, uint64_t *state)
{
    int64_t n = c->n, groups = l->layout.groups;
    l->codes = exactly((size_t)(n * c->k));
    l->scales = exactly((size_t)(n * groups) * 2);
    for (int64_t i = 0; i < n * c->k; i++)
        l->codes[i] = (uint8_t)between(state, 0, 15);
    for (int64_t i = 0; i < n * groups; i++)
        l->scales[i] = c->exact ? half(ldexp(1, between(state, -2, 1)))
                                : half(0.01 * (1 + next(state) / 2147483648.0));
    if (c->zero == FBQ_ZERO_CODE) {
        l->zeros8 = exactly((size_t)(n * groups));
        for (int64_t i = 0; i < n * groups; i++)
            l->zeros8[i] = (uint8_t)between(state, 0, 15);
    } else if (c->zero == FBQ_ZERO_F16) {
        l->zeros16 = exactly((size_t)(n * groups) * 2);
        for (int64_t i = 0; i < n * groups; i++)
            l->zeros16[i] = c->exact ? half(between(state, -2, 18)) : half(7.5 + 4 * normal(state));
    }
    l->weights = exactly(l->layout.weights_bytes);
}

static void make_factors(layer *l, const layer_case *c, uint64_t *state)
{
    l->a = exactly((size_t)(c->r * c->k) * 2);
    l->b = exactly((size_t)(c->n * c->r) * 2);
    for (int64_t i = 0; i < c->r * c->k; i++)
        l->a[i] = c->exact ? half(between(state, -1, 1)) : half(0.05 * normal(state));
    for (int64_t i = 0; i < c->n * c->r; i++)
        l->b[i] = c->exact ? half(between(state, -1, 1)) : half(0.05 * normal(state));
    l->packed_a = exactly(l->layout.down_bytes);
    l->packed_b = exactly(l->layout.up_bytes);
}

/* m rows of `columns` numbers with a gap after each but the last, poison between. */
static uint16_t *make_rows(const layer_case *c, int64_t stride, int64_t columns, int width,
                           uint64_t *state)
{
    uint16_t *rows = poisoned((size_t)((c->m - 1) * stride + columns) * (size_t)width);
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t i = 0; i < columns; i++)
            put_number(rows + (m * stride + i) * width, width,
                       c->exact ? between(state, -9, 9) : 4 * normal(state));
    return rows;
}

static void make_activations(layer *l, const layer_case *c, uint64_t *state)
{
    l->x_stride = c->k + c->x_gap;
    l->y_stride = c->n + c->y_gap;
    l->residual_stride = c->n + c->residual_gap;
    l->y_width = l->problem.y_type == FBQ_F32 ? 2 : 1;
    l->x_block = poisoned((size_t)((c->m - 1) * l->x_stride + c->k + c->x_shift));
    l->x = l->x_block + c->x_shift;
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t k = 0; k < c->k; k++)
            l->x[m * l->x_stride + k] = half(x_value(c, k, state));
    if (c->bias) {
        l->bias = exactly((size_t)c->n * 2);
        for (int64_t i = 0; i < c->n; i++)
            l->bias[i] = c->exact ? half(between(state, -9, 9)) : half(normal(state));
    }
    if (c->residual != LAYER_NO_RESIDUAL)
        l->residual = make_rows(c, l->residual_stride, c->n, l->y_width, state);
    l->y_words = (size_t)(((c->m - 1) * l->y_stride + c->n) * l->y_width) + 2 * GUARD_WORDS;
    l->y_block = poisoned(l->y_words);
    l->y = l->y_block + GUARD_WORDS;
    if (c->residual == LAYER_RESIDUAL_IN_PLACE)
        for (int64_t m = 0; m < c->m; m++)
            memcpy(l->y + m * l->y_stride * l->y_width,
                   l->residual + m * l->residual_stride * l->y_width,
                   (size_t)(c->n * l->y_width) * 2);
}

static void make_picks(layer *l, const layer_case *c)
{
    l->gpu = *fbq_simt_gpu();
    l->gpu.sms = c->sms ? c->sms : 2;
    if (c->shared)
        l->gpu.shared_sm = l->gpu.shared_block = c->shared;
    l->fused.kernel = FBQ_KERNEL_FUSED;
    l->fused.warps = c->warps ? c->warps : 4;
    l->fused.chunks = c->chunks ? c->chunks : 2;
    l->fused.blocks_per_sm = 1;
    l->fused.slices = 1;
    l->down.kernel = FBQ_KERNEL_DOWN;
    l->down.warps = c->down_warps ? c->down_warps : 2;
    l->down.chunks = c->down_chunks ? c->down_chunks : 1;
    l->down.blocks_per_sm = 1;
    l->down.slices = c->slices ? c->slices : 2;
    l->options.gpu = &l->gpu;
    if (!c->default_picks) {
        l->options.down = &l->down;
        l->options.fused = &l->fused;
    }
    l->options.resident = c->resident;
    l->options.seed = c->seed;
}

static fbq_status layer_make(layer *l, const layer_case *c, fbq_error *error)
{
    uint64_t state = c->data_seed + 77;
    fbq_status status;
    memset(l, 0, sizeof *l);
    l->problem.format.bits = 4;
    l->problem.format.group = c->group;
    l->problem.format.zero = c->zero;
    l->problem.format.scale_type = FBQ_F16;
    l->problem.format.factor_type = FBQ_F16;
    l->problem.shape = fbq_shape_of(c->n, c->k, c->r);
    l->problem.x_type = FBQ_F16;
    l->problem.y_type = c->y_type ? c->y_type : FBQ_F16;
    l->problem.m_max = (int)c->m;
    make_picks(l, c);
    status = fbq_layout_of(&l->problem.format, &l->problem.shape, &l->layout, error);
    if (status != FBQ_OK)
        return status;
    make_weights(l, c, &state);
    if (c->r > 0)
        make_factors(l, c, &state);
    make_activations(l, c, &state);
    status = fbq_pack_weights(&l->layout, l->codes, l->scales,
                              l->zeros8 ? (void *)l->zeros8 : (void *)l->zeros16, l->weights,
                              l->layout.weights_bytes, error);
    if (status == FBQ_OK && c->r > 0)
        status = fbq_pack_down(&l->layout, l->a, l->packed_a, l->layout.down_bytes, error);
    if (status == FBQ_OK && c->r > 0)
        status = fbq_pack_up(&l->layout, l->b, c->r, l->packed_b, l->layout.up_bytes, error);
    if (status == FBQ_OK)
        status = fbq_simt_scratch_bytes(&l->problem, &l->options, c->m, &l->scratch_bytes, error);
    if (status == FBQ_OK) {
        l->scratch = exactly(l->scratch_bytes);
        memset(l->scratch, 0xff, l->scratch_bytes); /* NaN, whoever reads it unwritten */
    }
    return status;
}

static void layer_free(layer *l)
{
    void *all[] = {l->codes,   l->scales,   l->zeros8,   l->zeros16, l->a,
                   l->b,       l->x_block,  l->bias,     l->y_block, l->residual,
                   l->weights, l->packed_a, l->packed_b, l->scratch};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static fbq_call layer_call(const layer *l, const layer_case *c)
{
    fbq_call call;
    memset(&call, 0, sizeof call);
    call.m = c->m;
    call.x = l->x;
    call.x_stride = c->x_gap ? l->x_stride : 0;
    call.weights = l->weights;
    if (c->r > 0 && !c->unused_branch) {
        call.down = l->packed_a;
        call.up = l->packed_b;
        call.scratch = l->scratch;
        call.scratch_bytes = l->scratch_bytes;
    }
    call.bias = l->bias;
    if (c->residual == LAYER_RESIDUAL_IN_PLACE) {
        call.residual = l->y;
        call.residual_stride = l->y_stride;
    } else if (c->residual == LAYER_RESIDUAL) {
        call.residual = l->residual;
        call.residual_stride = c->residual_gap ? l->residual_stride : 0;
    }
    call.y = l->y;
    call.y_stride = c->y_gap ? l->y_stride : 0;
    return call;
}

static void describe(const layer_case *c, layer_result *result)
{
    snprintf(result->text, sizeof result->text,
             "n %lld k %lld r %lld m %lld group %d zero %d y %s x kind %d shift %d gaps %lld %lld "
             "bias %d residual %d exact %d, fused %d x %d, resident %d, seed %llu",
             (long long)c->n, (long long)c->k, (long long)c->r, (long long)c->m, c->group,
             (int)c->zero, c->y_type == FBQ_F32 ? "fp32" : "fp16", (int)c->x, c->x_shift,
             (long long)c->x_gap, (long long)c->y_gap, c->bias, (int)c->residual, c->exact,
             c->default_picks ? 0 : c->warps, c->default_picks ? 0 : c->chunks, c->resident,
             (unsigned long long)c->seed);
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
 * core sums codes under a bias of up to 271 (device/unpack.cuh), so that a sum's rounding errors
 * are relative to numbers some tens of times larger than the result's own terms. */
static double bound_of(const layer_case *c, double ref, double scale)
{
    double accumulation = scale * ldexp(1, -17);
    if (c->y_type == FBQ_F32)
        return accumulation + ldexp(1, -60);
    return accumulation + fabs(ref) * ldexp(1, -11) * 1.001 + ldexp(1, -25);
}

static double *x_double(const layer *l, const layer_case *c)
{
    double *x = exactly((size_t)(c->m * c->k) * sizeof *x);
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t k = 0; k < c->k; k++)
            x[m * c->k + k] = fbq_f32_of_f16(l->x[m * l->x_stride + k]);
    return x;
}

static void compare(const layer *l, const layer_case *c, layer_result *result)
{
    size_t count = (size_t)(c->m * c->n);
    double *x = x_double(l, c);
    double *ref = exactly(count * sizeof *ref), *scale = exactly(count * sizeof *scale);
    fbq_parts parts;
    memset(&parts, 0, sizeof parts);
    parts.weights = l->weights;
    parts.weights_bytes = l->layout.weights_bytes;
    if (c->r > 0 && !c->unused_branch) {
        parts.down = l->packed_a;
        parts.down_bytes = l->layout.down_bytes;
        parts.up = l->packed_b;
        parts.up_bytes = l->layout.up_bytes;
    }
    result->status = fbq_reference(&parts, 0, c->n, c->m, x, ref, scale, &result->error);
    for (int64_t m = 0; m < c->m && result->status == FBQ_OK; m++) {
        for (int64_t n = 0; n < c->n; n++) {
            double expected = ref[m * c->n + n], size = scale[m * c->n + n], bound, got;
            if (l->bias) {
                double v = fbq_f32_of_f16(l->bias[n]);
                expected += v;
                size += fabs(v);
            }
            if (l->residual) {
                double v =
                    get_number(l->residual + (m * l->residual_stride + n) * l->y_width, l->y_width);
                expected += v;
                size += fabs(v);
            }
            got = get_number(l->y + (m * l->y_stride + n) * l->y_width, l->y_width);
            if (c->exact) {
                if (l->y_width == 1)
                    expected = fbq_f32_of_f16(half(expected));
                if (!(got == expected))
                    note_wrong(result, "y", m, n, got, expected, 0);
                continue;
            }
            bound = bound_of(c, expected, size);
            if (!(fabs(got - expected) <= bound)) /* NaN is wrong, too */
                note_wrong(result, "y", m, n, got, expected, bound);
            else if (fabs(got - expected) / bound > result->worst)
                result->worst = fabs(got - expected) / bound;
        }
    }
    free(x);
    free(ref);
    free(scale);
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
        result->y = exactly(result->y_bytes);
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
            for (int64_t k = first; r < c->r && k < last; k++) {
                double term = (double)fbq_f32_of_f16(l->a[r * c->k + k]) *
                              fbq_f32_of_f16(l->x[m * l->x_stride + k]);
                sum += term;
                size += fabs(term);
            }
            bound = c->exact ? 0 : (double)(last - first) * ldexp(1, -24) * size;
            if (!(fabs(got - sum) <= bound))
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
