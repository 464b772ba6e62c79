/* bench/layers.c: see layers.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/host/half.h>

#include "floor.h"
#include "kernels.h"

/* Different scales and zero points in so many tiles; the GPU makes the rest of the records. */
#define TEMPLATED 8

/* Own numbers, so that every run sees the same data: xorshift64*. */
static uint64_t random_state;

static uint32_t random_word(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (uint32_t)((random_state * 0x2545f4914f6cdd1dull) >> 32);
}

/* Uniform in -1 .. 1. */
static float random_unit(void)
{
    return (float)(int32_t)random_word() * (1.0f / 2147483648.0f);
}

static int host_alloc(void *to, size_t count, size_t size, fail *f)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        return failf(f, "no host memory for %zu x %zu bytes", count, size);
    memcpy(to, &memory, sizeof memory);
    return 0;
}

static size_t aligned(size_t bytes)
{
    return (bytes + FBQ_ALIGN - 1) / FBQ_ALIGN * FBQ_ALIGN;
}

fbq_call layers_call(const layers *l, int layer, int m, int branch)
{
    const size_t i = (size_t)layer;
    fbq_call call;
    memset(&call, 0, sizeof call);
    call.m = m;
    call.x = l->x;
    call.y = l->y;
    call.weights = l->weights + i * l->weights_stride;
    if (branch) {
        call.down = l->down + i * l->down_stride;
        call.up = l->up + i * l->up_stride;
    }
    return call;
}

fbq_shape layers_shape(const layers *l, int64_t rank)
{
    fbq_shape shape = l->shape;
    for (int i = 0; i < shape.segments; i++)
        shape.segment[i].r = rank;
    return shape;
}

/* Segments that lie before a tile. */
static int segments_before(const layers *l, int64_t tile)
{
    int segment = 0;
    while (tile >= l->layout.tile_first[segment + 1])
        segment++;
    return segment;
}

size_t layers_bytes(const layers *l, truth what)
{
    size_t int4 = (size_t)(l->layout.tiles * l->layout.record_bytes);
    size_t r = (size_t)l->layout.shape.segment[0].r;
    if (what == TRUTH_FP16)
        return (size_t)l->n * (size_t)l->k * 2;
    /* the factors' logical bytes: padding is no work that a variant could claim */
    const size_t ranks = r * (size_t)l->shape.segments;
    const size_t numbers = r * (size_t)l->n + ranks * (size_t)l->k;
    if (what == TRUTH_INT4)
        return int4;
    return int4 +
           (l->format.factor_type == FBQ_I8 ? numbers + 4 * (ranks + (size_t)l->n) : 2 * numbers);
}

/* A packed part of `rows` rows with random scales (2^-7 .. 2^-6) and zero points, codes all 0. */
static int weights_template(const layers *l, int64_t rows, fbq_layout *layout, uint8_t **packed,
                            fail *f)
{
    fbq_shape shape = fbq_shape_of(rows, l->k, l->layout.shape.segment[0].r);
    FBQ(f, fbq_layout_of(&l->format, &shape, layout, &fbq_error_));
    size_t codes_count = (size_t)(rows * l->k), groups = (size_t)(rows * layout->groups);
    uint8_t *codes = NULL, *zero_codes = NULL;
    uint16_t *scales = NULL, *zero_halves = NULL;
    int failed = host_alloc(&codes, codes_count, 1, f) ||
                 host_alloc(&scales, groups, sizeof *scales, f) ||
                 host_alloc(&zero_codes, groups, 1, f) ||
                 host_alloc(&zero_halves, groups, sizeof *zero_halves, f) ||
                 host_alloc(packed, layout->weights_bytes, 1, f);
    if (!failed) {
        const int middle = 1 << (l->format.bits - 1);
        fbq_error error;
        memset(&error, 0, sizeof error);
        for (size_t i = 0; i < groups; i++) {
            scales[i] = fbq_word_of_f32(l->format.scale_type, (3 + random_unit()) / 256);
            zero_codes[i] = (uint8_t)(middle - 2 + (int)(random_word() % 4));
            zero_halves[i] = fbq_f16_of_f32((float)middle - 0.5f + random_unit());
        }
        if (fbq_pack_weights(layout, codes, scales,
                             l->format.zero == FBQ_ZERO_CODE  ? (const void *)zero_codes
                             : l->format.zero == FBQ_ZERO_F16 ? (const void *)zero_halves
                                                              : NULL,
                             *packed, layout->weights_bytes, &error) != FBQ_OK)
            failed = failf(f, "fbq_pack_weights: %s", error.detail);
    }
    free(codes);
    free(scales);
    free(zero_codes);
    free(zero_halves);
    return failed;
}

static int weights_fill(layers *l, fail *f)
{
    gpu *g = l->g;
    fbq_layout layout;
    uint8_t *packed = NULL, *on_gpu = NULL;
    int failed = weights_template(l, TEMPLATED * FBQ_TILE, &layout, &packed, f);
    if (!failed && layout.record_bytes != l->layout.record_bytes)
        failed = failf(f, "a tile's record depends on the number of tiles");
    if (!failed)
        failed = gpu_alloc(g, &on_gpu, layout.weights_bytes, "tile templates", f) ||
                 gpu_upload(g, on_gpu, packed, layout.weights_bytes, f);
    if (!failed) {
        fill_weights_args args = {l->weights,
                                  on_gpu + FBQ_HEADER_BYTES,
                                  (long long)l->weights_stride,
                                  l->layout.record_bytes,
                                  l->layout.codes_bytes,
                                  FBQ_HEADER_BYTES,
                                  l->count,
                                  (int)l->layout.tiles,
                                  TEMPLATED};
        cudaError_t result = fill_weights_launch(&args, g->stream);
        failed = result != cudaSuccess ? failf(f, "filling weights: %s", cudaGetErrorString(result))
                                       : gpu_wait(g, f);
    }
    free(packed);
    gpu_free(g, &on_gpu);
    return failed;
}

/* One host buffer into every layer's place. */
static int replicate(layers *l, uint8_t *to, size_t stride, const void *from, size_t bytes, fail *f)
{
    TRY(gpu_upload(l->g, to, from, bytes, f));
    for (int i = 1; i < l->count; i++)
        CUDA(f, cudaMemcpyAsync(to + (size_t)i * stride, to, bytes, cudaMemcpyDeviceToDevice,
                                l->g->stream));
    return gpu_wait(l->g, f);
}

static int floats_of(fbq_type type, const uint16_t *words, size_t count, float **to, fail *f)
{
    TRY(host_alloc(to, count, sizeof **to, f));
    for (size_t i = 0; i < count; i++)
        (*to)[i] = fbq_f32_of_word(type, words[i]);
    return 0;
}

/* Rows of A from `a` on and of B from `b` on, packed for a layer of that layout. */
static int factors_pack(const layers *l, const fbq_layout *p, const uint16_t *a, const uint16_t *b,
                        uint8_t *down, uint8_t *up, fail *f)
{
    const size_t a_count = (size_t)(p->shape.segments * p->shape.segment[0].r * p->shape.k);
    float *a_floats = NULL, *b_floats = NULL;
    fbq_error error;
    int failed = 0;
    memset(&error, 0, sizeof error);
    if (p->format.factor_type != FBQ_I8) {
        if (fbq_pack_down(p, a, down, p->down_bytes, &error) != FBQ_OK ||
            fbq_pack_up(p, b, l->b_row, up, p->up_bytes, &error) != FBQ_OK)
            return failf(f, "packing the factors: %s", error.detail);
        return 0;
    }
    failed = floats_of(l->type, a, a_count, &a_floats, f) ||
             floats_of(l->type, b, (size_t)(p->n * l->b_row), &b_floats, f);
    if (!failed && (fbq_pack_down_i8(p, a_floats, down, p->down_bytes, NULL, &error) != FBQ_OK ||
                    fbq_pack_up_i8(p, b_floats, l->b_row, up, p->up_bytes, NULL, &error) != FBQ_OK))
        failed = failf(f, "packing the factors: %s", error.detail);
    free(a_floats);
    free(b_floats);
    return failed;
}

/* A and B, plain on the host, packed and plain on the GPU. A . x and B . t come out near 1. */
static int factors_fill(layers *l, fail *f)
{
    const fbq_layout *p = &l->layout;
    size_t r = (size_t)p->shape.segment[0].r, k = (size_t)l->k, n = (size_t)l->n;
    size_t ranks = r * (size_t)l->shape.segments;
    uint8_t *down = NULL, *up = NULL;
    int failed;
    l->b_row = (int64_t)((r + 7) / 8 * 8);
    l->a_stride = aligned(ranks * k * 2);
    l->b_stride = aligned(n * (size_t)l->b_row * 2);
    l->down_stride = aligned(p->down_bytes);
    l->up_stride = aligned(p->up_bytes);
    size_t count = (size_t)l->count;
    TRY(host_alloc(&l->a_host, ranks * k, 2, f));
    TRY(host_alloc(&l->b_host, n * (size_t)l->b_row, 2, f));
    TRY(gpu_alloc(l->g, &l->a, count * l->a_stride, "A", f));
    TRY(gpu_alloc(l->g, &l->b, count * l->b_stride, "B", f));
    TRY(gpu_alloc(l->g, &l->down, count * l->down_stride, "packed A", f));
    TRY(gpu_alloc(l->g, &l->up, count * l->up_stride, "packed B", f));
    float a_scale = 1.7f / sqrtf((float)k), b_scale = 1.7f / sqrtf((float)r);
    for (size_t i = 0; i < ranks * k; i++)
        l->a_host[i] = fbq_word_of_f32(l->type, a_scale * random_unit());
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < r; j++)
            l->b_host[i * (size_t)l->b_row + j] = fbq_word_of_f32(l->type, b_scale * random_unit());
    TRY(replicate(l, l->a, l->a_stride, l->a_host, ranks * k * 2, f));
    TRY(replicate(l, l->b, l->b_stride, l->b_host, n * (size_t)l->b_row * 2, f));
    failed = host_alloc(&down, p->down_bytes, 1, f) || host_alloc(&up, p->up_bytes, 1, f);
    /* the other layers have -A, so that t of one of them in place of the first's is seen */
    for (int turn = 0; turn < 2 && !failed; turn++) {
        for (size_t i = 0; i < ranks * k; i++)
            l->a_host[i] ^= 0x8000;
        failed = factors_pack(l, p, l->a_host, l->b_host, down, up, f) ||
                 (turn ? gpu_upload(l->g, l->down, down, p->down_bytes, f)
                       : replicate(l, l->down, l->down_stride, down, p->down_bytes, f));
    }
    failed = failed || replicate(l, l->up, l->up_stride, up, p->up_bytes, f);
    free(down);
    free(up);
    return failed;
}

static int activations_fill(layers *l, fail *f)
{
    size_t count = (size_t)l->m_max * (size_t)l->k;
    uint16_t *x = NULL;
    TRY(gpu_alloc(l->g, &l->x, count * 2, "x", f));
    TRY(gpu_alloc(l->g, &l->y, (size_t)l->m_max * (size_t)l->n * 2, "y", f));
    TRY(host_alloc(&l->x_double, count, sizeof *l->x_double, f));
    TRY(host_alloc(&l->y_host, (size_t)l->m_max * (size_t)l->n, sizeof *l->y_host, f));
    TRY(host_alloc(&x, count, sizeof *x, f));
    for (size_t i = 0; i < count; i++) {
        /* a sum of three uniform numbers: close to N(0, 1) */
        x[i] = fbq_word_of_f32(l->type, random_unit() + random_unit() + random_unit());
        l->x_double[i] = (double)fbq_f32_of_word(l->type, x[i]);
    }
    int failed = gpu_upload(l->g, l->x, x, count * 2, f);
    free(x);
    return failed;
}

int layers_make(layers *l, gpu *g, const fbq_format *format, const fbq_shape *shape, fbq_type type,
                int m_max, int hot, size_t cold_bytes, fail *f)
{
    memset(l, 0, sizeof *l);
    l->g = g;
    l->k = shape->k;
    l->shape = *shape;
    for (int i = 0; i < shape->segments; i++) {
        l->n += shape->segment[i].n;
        if (shape->segments > 1 && shape->segment[i].n % FBQ_TILE) /* whole tiles are sampled */
            return failf(f, "segment %d has %lld rows; expected a multiple of %d", i,
                         (long long)shape->segment[i].n, FBQ_TILE);
        if (shape->segment[i].r != shape->segment[0].r)
            return failf(f, "segment %d has rank %lld, segment 0 %lld; expected the same", i,
                         (long long)shape->segment[i].r, (long long)shape->segment[0].r);
    }
    if (format->scale_type != type ||
        (format->factor_type != type && format->factor_type != FBQ_I8 && shape->segment[0].r))
        return failf(f,
                     "scales and factors are of types %d and %d, x is of %d; expected the same, "
                     "or int8 for factors",
                     (int)format->scale_type, (int)format->factor_type, (int)type);
    l->m_max = m_max;
    l->type = type;
    l->format = *format;
    FBQ(f, fbq_layout_of(&l->format, shape, &l->layout, &fbq_error_));
    random_state = 0x9e3779b97f4a7c15ull;
    l->count = rotation_layers(layers_bytes(l, TRUTH_INT4), cold_bytes, hot);
    l->weights_stride = aligned(l->layout.weights_bytes);
    TRY(gpu_alloc(g, &l->weights, (size_t)l->count * l->weights_stride, "packed weights", f));
    CUDA(f, cudaMemsetAsync(l->weights, 0, (size_t)l->count * l->weights_stride, g->stream));
    TRY(weights_fill(l, f));
    if (shape->segment[0].r > 0)
        TRY(factors_fill(l, f));
    TRY(activations_fill(l, f));
    for (int i = 0; i < SAMPLED_TILES; i++) {
        l->tile[i] = i * (l->layout.tiles - 1) / (SAMPLED_TILES - 1);
        int64_t rows = l->n - l->tile[i] * FBQ_TILE;
        l->rows[i] = (int)(rows < FBQ_TILE ? rows : FBQ_TILE);
    }
    return 0;
}

int layers_open(layers *l, gpu *g, const options *o, int64_t n, int64_t k, size_t cold_bytes,
                fail *f)
{
    fbq_format format;
    fbq_shape shape = fbq_shape_of(n / o->segments, k, o->rank);
    int m_max = 0;
    memset(l, 0, sizeof *l);
    memset(&format, 0, sizeof format);
    if (o->segments > 1 && n % (FBQ_TILE * o->segments))
        return failf(f, "--segments=%d: N is %lld; expected a multiple of %d", o->segments,
                     (long long)n, FBQ_TILE * o->segments);
    shape.segments = o->segments;
    for (int i = 1; i < shape.segments; i++)
        shape.segment[i] = shape.segment[0];
    for (int i = 0; i < o->ms; i++)
        m_max = o->m[i] > m_max ? o->m[i] : m_max;
    format.bits = o->bits;
    format.group = o->group;
    format.zero = o->zero;
    format.scale_type = o->type;
    format.factor_type = o->factor ? o->factor : o->type;
    return layers_make(l, g, &format, &shape, o->type, m_max, o->hot, cold_bytes, f);
}

int layers_need_fp16(layers *l, size_t cold_bytes, int hot, fail *f)
{
    size_t bytes = layers_bytes(l, TRUTH_FP16);
    if (l->w)
        return 0;
    l->w_stride = aligned(bytes);
    l->count_fp16 = rotation_layers(bytes, cold_bytes, hot);
    TRY(gpu_alloc(l->g, &l->w, (size_t)l->count_fp16 * l->w_stride, "fp16 weights", f));
    CUDA(f, fill_half_launch(l->w, (size_t)l->count_fp16 * l->w_stride / 4, 3, l->g->stream));
    return gpu_wait(l->g, f);
}

void layers_close(layers *l)
{
    if (!l->g)
        return;
    uint8_t **on_gpu[] = {&l->weights, &l->down, &l->up, &l->a, &l->b, &l->w, &l->x, &l->y};
    for (size_t i = 0; i < sizeof on_gpu / sizeof on_gpu[0]; i++)
        gpu_free(l->g, on_gpu[i]);
    free(l->x_double);
    free(l->a_host);
    free(l->b_host);
    free(l->y_host);
    for (int i = 0; i < TRUTHS; i++)
        free(l->expected[i]);
    memset(l, 0, sizeof *l);
}

/* ---- What is right ---- */

static double *expected_at(const layers *l, truth what, int tile)
{
    return l->expected[what] + (size_t)tile * (size_t)l->m_max * FBQ_TILE;
}

/* A sampled tile of layer 0 as a layer of its own, through the library's reference. */
static int expect_packed(layers *l, truth what, int i, fail *f)
{
    fbq_layout layout;
    fbq_parts parts;
    fbq_error error;
    uint8_t *weights = NULL, *down = NULL, *up = NULL;
    double y[MAX_M * FBQ_TILE];
    /* of the segments before */
    const int64_t first_rank = segments_before(l, l->tile[i]) * l->layout.shape.segment[0].r;
    int failed = weights_template(l, l->rows[i], &layout, &weights, f), branch;
    branch = what == TRUTH_BRANCH;
    memset(&parts, 0, sizeof parts);
    memset(&error, 0, sizeof error);
    if (!failed)
        failed = gpu_download(l->g, weights + FBQ_HEADER_BYTES,
                              l->weights + FBQ_HEADER_BYTES + l->tile[i] * l->layout.record_bytes,
                              (size_t)layout.record_bytes, f);
    if (!failed && branch)
        failed = host_alloc(&down, layout.down_bytes, 1, f) ||
                 host_alloc(&up, layout.up_bytes, 1, f) ||
                 factors_pack(l, &layout, l->a_host + first_rank * l->k,
                              l->b_host + l->tile[i] * FBQ_TILE * l->b_row, down, up, f);
    if (!failed) {
        parts.weights = weights;
        parts.weights_bytes = layout.weights_bytes;
        parts.down = down;
        parts.down_bytes = branch ? layout.down_bytes : 0;
        parts.up = up;
        parts.up_bytes = branch ? layout.up_bytes : 0;
        if (fbq_reference(&parts, 0, l->rows[i], l->m_max, l->x_double, y, NULL, &error) != FBQ_OK)
            failed = failf(f, "fbq_reference: %s", error.detail);
    }
    for (int m = 0; !failed && m < l->m_max; m++)
        memcpy(expected_at(l, what, i) + m * FBQ_TILE, y + m * l->rows[i],
               (size_t)l->rows[i] * sizeof *y);
    free(weights);
    free(down);
    free(up);
    return failed;
}

static int expect_fp16(layers *l, int i, fail *f)
{
    uint16_t *w = NULL;
    size_t k = (size_t)l->k, rows = (size_t)l->rows[i];
    TRY(host_alloc(&w, rows * k, sizeof *w, f));
    int failed = gpu_download(l->g, w, l->w + (size_t)l->tile[i] * FBQ_TILE * k * 2,
                              rows * k * sizeof *w, f);
    for (size_t row = 0; !failed && row < rows; row++)
        for (int m = 0; m < l->m_max; m++) {
            double sum = 0;
            for (size_t j = 0; j < k; j++)
                sum += (double)fbq_f32_of_f16(w[row * k + j]) * l->x_double[(size_t)m * k + j];
            expected_at(l, TRUTH_FP16, i)[m * FBQ_TILE + (int)row] = sum;
        }
    free(w);
    return failed;
}

static int expect(layers *l, truth what, fail *f)
{
    int failed = 0;
    if (l->expected[what])
        return 0;
    TRY(host_alloc(&l->expected[what], (size_t)SAMPLED_TILES * (size_t)l->m_max * FBQ_TILE,
                   sizeof(double), f));
    for (int i = 0; i < SAMPLED_TILES && !failed; i++)
        failed = what == TRUTH_FP16 ? expect_fp16(l, i, f) : expect_packed(l, what, i, f);
    if (failed) {
        free(l->expected[what]);
        l->expected[what] = NULL;
    }
    return failed;
}

int layers_poison(layers *l, fail *f)
{
    CUDA(f, cudaMemsetAsync(l->y, 0xff, (size_t)l->m_max * (size_t)l->n * 2, l->g->stream));
    return 0;
}

int layers_check(layers *l, truth what, int m, double most, double *error, fail *f)
{
    size_t count = (size_t)m * (size_t)l->n;
    *error = 0;
    TRY(gpu_wait(l->g, f));
    TRY(expect(l, what, f));
    TRY(gpu_download(l->g, l->y_host, l->y, count * 2, f));
    for (size_t i = 0; i < count; i++)
        if (!isfinite(fbq_f32_of_word(l->type, l->y_host[i])))
            return failf(f, "wrong result: y[%zu][%zu] is %s", i / (size_t)l->n, i % (size_t)l->n,
                         l->y_host[i] == 0xffff ? "not written, or NaN" : "not finite");
    for (int row = 0; row < m; row++) {
        double difference = 0, norm = 0;
        for (int i = 0; i < SAMPLED_TILES; i++)
            for (int j = 0; j < l->rows[i]; j++) {
                double ref = expected_at(l, what, i)[row * FBQ_TILE + j];
                double y = (double)fbq_f32_of_word(
                    l->type, l->y_host[row * l->n + l->tile[i] * FBQ_TILE + j]);
                difference += (y - ref) * (y - ref);
                norm += ref * ref;
            }
        double relative = sqrt(difference / norm);
        if (!(relative <= most)) /* NaN fails */
            return failf(f,
                         "wrong result: ||y - ref|| / ||ref|| is %.2e for row %d of x over the "
                         "sampled rows; at most %.0e is right",
                         relative, row, most);
        *error = relative > *error ? relative : *error;
    }
    return 0;
}
