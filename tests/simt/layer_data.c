/* tests/simt/layer_data.c: random layers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* posix_memalign */

#include "layer_data.h"

#include "spread.h"

#include <fbq/host/geometry.h>
#include <fbq/host/half.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

uint16_t layer_half(double v)
{
    return fbq_f16_of_f32((float)v);
}

uint16_t layer_word(fbq_type type, double v)
{
    return fbq_word_of_f32(type, (float)v);
}

static double x_value(const layer_case *c, int64_t m, int64_t k, uint64_t *state)
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
    case LAYER_X_MASSIVE:
        return k == c->k / 3 ? 60000 : 0.01 * normal(state);
    case LAYER_X_INFINITE:
        return m == 0 && k == c->k / 3 ? (double)INFINITY : normal(state);
    case LAYER_X_NAN:
        return m == 0 && k == c->k / 3 ? (double)NAN : normal(state);
    default:
        return normal(state);
    }
}

/* ---- Making a layer ---- */

void *layer_memory(size_t bytes)
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
    uint16_t *memory = layer_memory(words * 2);
    for (size_t i = 0; i < words; i++)
        memory[i] = POISON;
    return memory;
}

static void put_number(uint16_t *at, fbq_type type, double value)
{
    float f = (float)value;
    if (type == FBQ_F32)
        memcpy(at, &f, sizeof f);
    else
        *at = fbq_word_of_f32(type, f);
}

static void make_weights(layer *l, const layer_case *c, uint64_t *state)
{
    const int most = (1 << l->layout.format.bits) - 1;
    const fbq_type type = l->layout.format.scale_type;
    int64_t n = c->n, groups = l->layout.groups;
    l->codes = layer_memory((size_t)(n * c->k));
    l->scales = layer_memory((size_t)(n * groups) * 2);
    for (int64_t i = 0; i < n * c->k; i++)
        l->codes[i] = (uint8_t)between(state, 0, most);
    for (int64_t i = 0; i < n * groups; i++)
        l->scales[i] = layer_word(type, c->exact ? ldexp(1, between(state, -2, 1))
                                                 : 0.01 * (1 + next(state) / 2147483648.0));
    if (c->zero == FBQ_ZERO_CODE) {
        l->zeros8 = layer_memory((size_t)(n * groups));
        for (int64_t i = 0; i < n * groups; i++)
            l->zeros8[i] = (uint8_t)between(state, 0, most);
    } else if (c->zero == FBQ_ZERO_F16) {
        l->zeros16 = layer_memory((size_t)(n * groups) * 2);
        for (int64_t i = 0; i < n * groups; i++)
            l->zeros16[i] = layer_half(c->exact ? between(state, -2, most + 3)
                                                : most * (0.5 + normal(state) / 4));
    }
    l->weights = layer_memory(l->layout.weights_bytes);
}

static void make_factors(layer *l, const layer_case *c, uint64_t *state)
{
    const fbq_type type = l->layout.format.factor_type;
    l->a = layer_memory((size_t)(c->r * c->k) * 2);
    l->b = layer_memory((size_t)(c->n * c->r) * 2);
    for (int64_t i = 0; i < c->r * c->k; i++)
        l->a[i] = layer_word(type, c->exact ? between(state, -1, 1) : 0.05 * normal(state));
    for (int64_t i = 0; i < c->n * c->r; i++)
        l->b[i] = layer_word(type, c->exact ? between(state, -1, 1) : 0.05 * normal(state));
    l->packed_a = layer_memory(l->layout.down_bytes);
    l->packed_b = layer_memory(l->layout.up_bytes);
}

/* m rows of `columns` numbers with a gap after each but the last, poison between. */
static uint16_t *make_rows(const layer_case *c, int64_t stride, int64_t columns, fbq_type type,
                           uint64_t *state)
{
    const int width = type == FBQ_F32 ? 2 : 1;
    uint16_t *rows = poisoned((size_t)((c->m - 1) * stride + columns) * (size_t)width);
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t i = 0; i < columns; i++)
            put_number(rows + (m * stride + i) * width, type,
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
            l->x[m * l->x_stride + k] =
                layer_word(l->problem.x_type, ldexp(x_value(c, m, k, state), c->x_power));
    if (c->bias) {
        l->bias = layer_memory((size_t)c->n * 2);
        for (int64_t i = 0; i < c->n; i++)
            l->bias[i] =
                layer_word(l->problem.x_type, c->exact ? between(state, -9, 9) : normal(state));
    }
    if (c->residual != LAYER_NO_RESIDUAL)
        l->residual = make_rows(c, l->residual_stride, c->n, l->problem.y_type, state);
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
    if (!c->default_picks)
        l->gpu.sms = c->sms ? c->sms : 2;
    if (c->capability)
        l->gpu.capability = c->capability;
    l->fused.kernel = FBQ_KERNEL_FUSED;
    l->fused.warps = c->warps ? c->warps : SIMT_BASE_WARPS;
    l->fused.chunks = c->chunks ? c->chunks : 2 * SIMT_BASE_UNITS;
    l->fused.stages = c->stages ? c->stages : SIMT_BASE_STAGES;
    l->fused.tiles = c->tiles ? c->tiles : SIMT_BASE_TILES;
    l->fused.blocks_per_sm = 1;
    l->fused.slices = c->one_launch;
    l->fused.splits = c->splits;
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
    l->options.k_known = c->k_known;
    l->options.impatient = c->impatient;
    l->options.resident = c->resident;
    l->options.seed = c->seed;
}

/* Shared memory as the case wants it. A case that cannot have what it asks for tests something
 * else: it is refused. */
static fbq_status make_shared_memory(layer *l, const layer_case *c, fbq_error *error)
{
    if (c->default_picks)
        return FBQ_OK;
    const int64_t most = fbq__class_m(fbq__class_for(&l->problem, c->m), l->problem.m_max);
    if (c->tight) {
        l->gpu.shared_block = (int)fbq__fused_least_bytes(&l->layout, &l->gpu, &l->fused, most);
        l->gpu.shared_sm = l->gpu.shared_block + 1024;
    }
    if (l->fused.tiles == 1 && fbq__resident(&l->layout, &l->gpu, &l->fused, most) != !c->tight) {
        error->status = FBQ_ERR_SIZE;
        snprintf(error->detail, sizeof error->detail, "k is %lld: x is no more than has room",
                 (long long)c->k);
        return FBQ_ERR_SIZE;
    }
    return FBQ_OK;
}

fbq_status layer_make(layer *l, const layer_case *c, fbq_error *error)
{
    uint64_t state = c->data_seed + 77;
    fbq_status status;
    memset(l, 0, sizeof *l);
    l->problem.format.bits = c->bits ? c->bits : 4;
    l->problem.format.group = c->group;
    l->problem.format.zero = c->zero;
    l->problem.format.scale_type = c->scale_type ? c->scale_type : FBQ_F16;
    l->problem.format.factor_type = c->factor_type ? c->factor_type : FBQ_F16;
    l->problem.shape = fbq_shape_of(c->n, c->k, c->r);
    if (c->segments) {
        l->problem.shape.segments = c->segments;
        memcpy(l->problem.shape.segment, c->segment, sizeof c->segment);
    }
    l->problem.x_type = c->x_type ? c->x_type : FBQ_F16;
    l->problem.y_type = c->y_type ? c->y_type : l->problem.x_type;
    l->problem.m_max = (int)(c->m_max ? c->m_max : c->m);
    l->problem.batch_invariant = c->batch_invariant;
    l->problem.launches = c->default_picks ? 2 : 0; /* those are compiled for the CPU */
    make_picks(l, c);
    status = fbq_layout_of(&l->problem.format, &l->problem.shape, &l->layout, error);
    if (status == FBQ_OK)
        status = make_shared_memory(l, c, error);
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
        l->scratch = layer_memory(l->scratch_bytes);
        memset(l->scratch, 0xff, l->scratch_bytes); /* NaN, whoever reads it unwritten */
        status = fbq_simt_state_bytes(&l->problem, &l->options, c->m, &l->state_bytes, error);
    }
    if (status == FBQ_OK) {
        l->state = layer_memory(l->state_bytes);
        memset(l->state, 0, l->state_bytes);
    }
    return status;
}

void layer_free(layer *l)
{
    void *all[] = {l->codes,   l->scales,   l->zeros8,   l->zeros16, l->a,
                   l->b,       l->x_block,  l->bias,     l->y_block, l->residual,
                   l->weights, l->packed_a, l->packed_b, l->scratch, l->state};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

fbq_call layer_call(const layer *l, const layer_case *c)
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
    }
    if (call.down || c->splits) {
        call.scratch = l->scratch;
        call.scratch_bytes = l->scratch_bytes;
        call.state = l->state;
        call.state_bytes = l->state_bytes;
    }
    call.chained = c->chained;
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
