/* tests/support/layer.c: see layer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer.h"

#include <fbq/host/half.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t random_bits(uint64_t *state)
{
    /* a Weyl sequence through two multiply-xorshift rounds */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double random_uniform(uint64_t *state)
{
    return (double)(random_bits(state) >> 11) / 9007199254740992.0;
}

double random_normal(uint64_t *state)
{
    double u = 1.0 - random_uniform(state), v = random_uniform(state);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

static void *take(size_t bytes)
{
    void *memory = calloc(bytes ? bytes : 1, 1);
    if (!memory) {
        fprintf(stderr, "tests: no memory for %zu bytes\n", bytes);
        abort();
    }
    return memory;
}

static void must(fbq_status status, const fbq_error *error)
{
    if (status != FBQ_OK) {
        fprintf(stderr, "tests: %s: %s\n", fbq_status_string(status), error->detail);
        abort();
    }
}

static void *aligned(size_t bytes)
{
    void *memory = aligned_alloc(FBQ_ALIGN, (bytes + FBQ_ALIGN - 1) / FBQ_ALIGN * FBQ_ALIGN);
    if (!memory)
        abort();
    return memory;
}

static void make_weights(layer *l, layer_kind kind, uint64_t *state)
{
    const fbq_layout *y = &l->layout;
    int64_t codes_count = y->n * y->shape.k, groups_count = y->n * y->groups;
    int levels = 1 << y->format.bits;
    uint8_t *codes = (uint8_t *)take((size_t)codes_count), *zero_codes;
    uint16_t *scales = (uint16_t *)take((size_t)groups_count * 2), *zero_words;
    void *zeros = take((size_t)groups_count * 2), *packed = aligned(y->weights_bytes);
    fbq_error error;
    zero_codes = (uint8_t *)zeros;
    zero_words = (uint16_t *)zeros;
    for (int64_t i = 0; i < codes_count; i++)
        codes[i] = (uint8_t)(random_bits(state) % (uint64_t)levels);
    for (int64_t i = 0; i < groups_count; i++) {
        int exponent = (int)(random_bits(state) % 4);
        float s = kind == LAYER_EXACT ? 1.0f / (float)(1 << exponent)
                                      : (float)(0.01 * (0.5 + random_uniform(state)));
        scales[i] = fbq_word_of_f32(y->format.scale_type, s);
        if (y->format.zero == FBQ_ZERO_CODE)
            zero_codes[i] = (uint8_t)(random_bits(state) % (uint64_t)levels);
        else if (kind == LAYER_EXACT)
            zero_words[i] = fbq_f16_of_f32((float)(random_bits(state) % (uint64_t)levels));
        else
            zero_words[i] = fbq_f16_of_f32((float)(levels * (0.3 + 0.4 * random_uniform(state))));
    }
    must(fbq_pack_weights(y, codes, scales, y->format.zero == FBQ_ZERO_NONE ? NULL : zeros, packed,
                          y->weights_bytes, &error),
         &error);
    l->parts.weights = packed;
    l->parts.weights_bytes = y->weights_bytes;
    free(codes);
    free(scales);
    free(zeros);
}

static uint16_t *words_of(fbq_type type, const float *numbers, int64_t count)
{
    uint16_t *words = (uint16_t *)take((size_t)count * sizeof *words);
    for (int64_t i = 0; i < count; i++)
        words[i] = fbq_word_of_f32(type, numbers[i]);
    return words;
}

static void make_factors(layer *l, layer_kind kind, uint64_t *state)
{
    const fbq_layout *y = &l->layout;
    int64_t ranks = 0, widest = 0;
    for (int s = 0; s < y->shape.segments; s++) {
        int64_t r = y->shape.segment[s].r;
        ranks += r;
        widest = r > widest ? r : widest;
    }
    const int64_t a_count = ranks * y->shape.k, b_count = y->n * widest;
    const int i8 = y->format.factor_type == FBQ_I8, exact = kind == LAYER_EXACT;
    const double spread = 1.0 / sqrt((double)y->shape.k);
    float *a = (float *)take((size_t)a_count * sizeof *a);
    float *b = (float *)take((size_t)b_count * sizeof *b);
    void *down = aligned(y->down_bytes), *up = aligned(y->up_bytes);
    fbq_error error;
    for (int64_t i = 0; i < a_count; i++)
        a[i] = exact ? (float)(random_bits(state) % 3) - 1 : (float)(spread * random_normal(state));
    for (int64_t i = 0; i < b_count; i++)
        b[i] = exact ? (float)(random_bits(state) % 3) - 1 : (float)(0.1 * random_normal(state));
    if (i8) {
        /* a row whose largest number is 127 / 8 has a power of two as its scale */
        for (int64_t i = 0; exact && i < a_count; i += y->shape.k)
            a[i] = 127.0f / 8;
        for (int64_t i = 0; exact && i < b_count; i += widest)
            b[i] = 127.0f / 8;
        must(fbq_pack_down_i8(y, a, down, y->down_bytes, NULL, &error), &error);
        must(fbq_pack_up_i8(y, b, widest, up, y->up_bytes, NULL, &error), &error);
    } else {
        uint16_t *a16 = words_of(y->format.factor_type, a, a_count);
        uint16_t *b16 = words_of(y->format.factor_type, b, b_count);
        must(fbq_pack_down(y, a16, down, y->down_bytes, &error), &error);
        must(fbq_pack_up(y, b16, widest, up, y->up_bytes, &error), &error);
        free(a16);
        free(b16);
    }
    l->parts.down = down;
    l->parts.down_bytes = y->down_bytes;
    l->parts.up = up;
    l->parts.up_bytes = y->up_bytes;
    free(a);
    free(b);
}

layer layer_make(const fbq_problem *problem, layer_kind kind, uint64_t seed)
{
    layer l;
    fbq_error error;
    uint64_t state = seed;
    memset(&l, 0, sizeof l);
    l.problem = *problem;
    must(fbq_layout_of(&problem->format, &problem->shape, &l.layout, &error), &error);
    make_weights(&l, kind, &state);
    if (l.layout.rank_tiles)
        make_factors(&l, kind, &state);
    return l;
}

void layer_free(layer *l)
{
    free((void *)(uintptr_t)l->parts.weights);
    free((void *)(uintptr_t)l->parts.down);
    free((void *)(uintptr_t)l->parts.up);
    memset(l, 0, sizeof *l);
}

const char *input_name(input_kind kind)
{
    static const char *const names[INPUT_KINDS] = {"normal",  "8+normal",    "1e-4",     "1e-5",
                                                   "outlier", "alternating", "constant", "integer"};
    return (unsigned)kind < INPUT_KINDS ? names[kind] : "?";
}

void input_fill(fbq_type type, uint16_t *x, int64_t m, int64_t k, int64_t stride, input_kind kind,
                uint64_t seed)
{
    uint64_t state = seed;
    for (int64_t row = 0; row < m; row++) {
        int64_t outlier = (int64_t)(random_bits(&state) % (uint64_t)k);
        for (int64_t i = 0; i < k; i++) {
            double v = 1;
            switch (kind) {
            case INPUT_NORMAL:
                v = random_normal(&state);
                break;
            case INPUT_MEAN:
                v = 8 + random_normal(&state);
                break;
            case INPUT_SMALL:
                v = 1e-4 * random_normal(&state);
                break;
            case INPUT_TINY:
                v = 1e-5 * random_normal(&state);
                break;
            case INPUT_OUTLIER:
                v = i == outlier ? 1000 : 1;
                break;
            case INPUT_ALTERNATING:
                v = i % 2 ? -1 : 1;
                break;
            case INPUT_INTEGER:
                v = (double)(random_bits(&state) % 5) - 2;
                break;
            default:
                break;
            }
            x[row * stride + i] = fbq_word_of_f32(type, (float)v);
        }
        for (int64_t i = k; i < stride && row + 1 < m; i++)
            x[row * stride + i] = 0x7fff;
    }
}

double number_at(fbq_type type, const void *numbers, int64_t at)
{
    return type == FBQ_F32 ? (double)((const float *)numbers)[at]
                           : (double)fbq_f32_of_word(type, ((const uint16_t *)numbers)[at]);
}

void number_put(fbq_type type, void *numbers, int64_t at, double value)
{
    if (type == FBQ_F32)
        ((float *)numbers)[at] = (float)value;
    else
        ((uint16_t *)numbers)[at] = fbq_word_of_f32(type, (float)value);
}

verdict layer_judge(const layer *l, int64_t first, int64_t rows, int64_t m, const uint16_t *x,
                    int64_t x_stride, const uint16_t *bias, const void *residual,
                    int64_t residual_stride, const void *y, int64_t y_stride)
{
    int64_t k = l->layout.shape.k;
    fbq_type type = l->problem.y_type, x_type = l->problem.x_type;
    double *xd = (double *)take(sizeof *xd * (size_t)(m * k));
    double *ref = (double *)take(sizeof *ref * (size_t)(m * rows));
    double *sum = (double *)take(sizeof *sum * (size_t)(m * rows));
    /* fp32 results still carry the rounding of fp32 sums, of which 2^-20 is a generous unit */
    double unit = ldexp(1, type == FBQ_F32    ? -20
                           : type == FBQ_BF16 ? -8
                                              : -11),
           error2 = 0, norm2 = 0;
    fbq_error error;
    verdict v = {0, 0, 0};
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < k; j++)
            xd[i * k + j] = fbq_f32_of_word(x_type, x[i * x_stride + j]);
    must(fbq_reference(&l->parts, first, rows, m, xd, ref, sum, &error), &error);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < rows; j++) {
            double got = number_at(type, y, i * y_stride + first + j), want = ref[i * rows + j];
            /* the smallest step of the output type counts too: results may be subnormal */
            double scale = sum[i * rows + j] + (type == FBQ_F16 ? ldexp(1, -14) : 1e-30);
            if (bias)
                want += fbq_f32_of_word(x_type, bias[first + j]),
                    scale += fabs(fbq_f32_of_word(x_type, bias[first + j]));
            if (residual) {
                double add = number_at(type, residual, i * residual_stride + first + j);
                want += add, scale += fabs(add);
            }
            if (!isfinite(got)) {
                v.bad++;
                continue;
            }
            error2 += (got - want) * (got - want);
            norm2 += want * want;
            v.bound = fmax(v.bound, fabs(got - want) / (unit * scale));
        }
    v.norm = norm2 > 0 ? sqrt(error2 / norm2) : sqrt(error2);
    free(xd);
    free(ref);
    free(sum);
    return v;
}
