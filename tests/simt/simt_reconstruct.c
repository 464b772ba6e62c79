/* tests/simt/simt_reconstruct.c: the unmodified reconstruct kernel on the CPU, against
 * fbq_reconstruct in double: the bound of docs/numerics.md, and exact bits where numbers allow it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* posix_memalign */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/host/half.h>

#include "simt.h"
#include "spread_reconstruct.h"

#define SEGMENTS 3
#define GUARD 64 /* words before and behind w */

/* One case. A format is a row of spread_reconstruct.h. */
typedef struct job {
    int format, segments;
    int64_t n[SEGMENTS], r[SEGMENTS], k;
    int concatenate, no_branch; /* the factors are left out of the call */
    int exact;                  /* small integers and powers of two */
    int huge;                   /* and scales so large that fp16 cannot hold every weight */
    int64_t gap;                /* words between rows of w */
    int shift;                  /* words by which w misses a 16-byte boundary */
    int sms, steps;             /* 0: 2, room for all steps of 16 ranks; else for fewer */
    int resident;
    uint64_t seed;
} job;

static const int formats[][6] = {
#define ROW(bits, group, zero, scale, factor, out) {bits, group, zero, scale, factor, out},
    SIMT_RECONSTRUCT(ROW)
#undef ROW
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

/* A layer in plain arrays and packed; every buffer has exactly its size. */
typedef struct layer {
    fbq_reconstruction what;
    fbq_layout layout;
    int64_t ranks, widest;
    uint8_t *codes;
    uint16_t *scales, *a, *b;
    void *zeros;
    fbq_parts parts;
    double *w; /* n x k, the reference */
} layer;

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static int between(uint64_t *state, int low, int high)
{
    return low + (int)(next(state) % (uint32_t)(high - low + 1));
}

/* -1 .. 1 */
static double uniform(uint64_t *state)
{
    return next(state) / 1073741824.0 - 1;
}

static void *memory(size_t bytes)
{
    void *at = NULL;
    assert_int_equal(posix_memalign(&at, FBQ_ALIGN, bytes ? bytes : 1), 0);
    return at;
}

static uint16_t *numbers(fbq_type type, int64_t count, int exact, double size, uint64_t *state)
{
    uint16_t *v = memory((size_t)count * 2);
    for (int64_t i = 0; i < count; i++)
        v[i] = fbq_word_of_f32(type, exact ? (float)between(state, -1, 1)
                                           : (float)(size * uniform(state)));
    return v;
}

static void make_weights(layer *l, const job *c, uint64_t *state)
{
    const fbq_layout *y = &l->layout;
    const int most = (1 << y->format.bits) - 1;
    const int64_t codes = y->n * y->shape.k, groups = y->n * y->groups;
    void *packed = memory(y->weights_bytes);
    l->codes = memory((size_t)codes);
    l->scales = memory((size_t)groups * 2);
    for (int64_t i = 0; i < codes; i++)
        l->codes[i] = (uint8_t)between(state, 0, most);
    for (int64_t i = 0; i < groups; i++)
        l->scales[i] = fbq_word_of_f32(y->format.scale_type,
                                       c->huge    ? ldexpf(1, between(state, 11, 15))
                                       : c->exact ? ldexpf(1, between(state, -2, 1))
                                                  : (float)(0.02 + 0.01 * uniform(state)));
    l->zeros = memory((size_t)groups * 2);
    for (int64_t i = 0; i < groups; i++)
        if (y->format.zero == FBQ_ZERO_CODE)
            ((uint8_t *)l->zeros)[i] = (uint8_t)between(state, 0, most);
        else /* tiny ones among them, whose bits are lost beside the codes' bias */
            ((uint16_t *)l->zeros)[i] =
                fbq_f16_of_f32(c->exact ? (float)between(state, -2, most + 3)
                                        : (float)ldexp(most * uniform(state), -(int)(i % 3) * 6));
    assert_int_equal(fbq_pack_weights(y, l->codes, l->scales,
                                      y->format.zero == FBQ_ZERO_NONE ? NULL : l->zeros, packed,
                                      y->weights_bytes, NULL),
                     FBQ_OK);
    l->parts.weights = packed;
    l->parts.weights_bytes = y->weights_bytes;
}

static void make_factors(layer *l, const job *c, uint64_t *state)
{
    const fbq_layout *y = &l->layout;
    void *down = memory(y->down_bytes), *up = memory(y->up_bytes);
    l->a = numbers(y->format.factor_type, l->ranks * y->shape.k, c->exact, 0.1, state);
    l->b = numbers(y->format.factor_type, y->n * l->widest, c->exact, 0.1, state);
    assert_int_equal(fbq_pack_down(y, l->a, down, y->down_bytes, NULL), FBQ_OK);
    assert_int_equal(fbq_pack_up(y, l->b, l->widest, up, y->up_bytes, NULL), FBQ_OK);
    l->parts.down = down;
    l->parts.down_bytes = y->down_bytes;
    l->parts.up = up;
    l->parts.up_bytes = y->up_bytes;
}

static layer layer_make(const job *c)
{
    const int *f = formats[c->format];
    uint64_t state = 5 + c->seed;
    layer l;
    memset(&l, 0, sizeof l);
    l.what.format.bits = f[0];
    l.what.format.group = f[1];
    l.what.format.zero = (fbq_zero)f[2];
    l.what.format.scale_type = (fbq_type)f[3];
    l.what.format.factor_type = (fbq_type)f[4];
    l.what.w_type = (fbq_type)f[5];
    l.what.concatenate = c->concatenate;
    l.what.shape = fbq_shape_of(c->n[0], c->k, c->r[0]);
    l.what.shape.segments = c->segments;
    for (int s = 0; s < c->segments; s++) {
        l.what.shape.segment[s].n = c->n[s];
        l.what.shape.segment[s].r = c->r[s];
        l.ranks += c->r[s];
        l.widest = c->r[s] > l.widest ? c->r[s] : l.widest;
    }
    assert_int_equal(fbq_layout_of(&l.what.format, &l.what.shape, &l.layout, NULL), FBQ_OK);
    make_weights(&l, c, &state);
    if (l.ranks)
        make_factors(&l, c, &state);
    fbq_parts parts = l.parts;
    if (c->no_branch || c->concatenate)
        parts.down = parts.up = NULL;
    l.w = memory((size_t)(l.layout.n * c->k) * sizeof *l.w);
    assert_int_equal(fbq_reconstruct(&parts, 0, l.layout.n, l.w, NULL), FBQ_OK);
    return l;
}

static void layer_free(layer *l)
{
    free(l->codes);
    free(l->scales);
    free(l->zeros);
    free(l->a);
    free(l->b);
    free((void *)(uintptr_t)l->parts.weights);
    free((void *)(uintptr_t)l->parts.down);
    free((void *)(uintptr_t)l->parts.up);
    free(l->w);
}

/* The segment of a row. */
static int segment_of(const job *c, int64_t row)
{
    int s = 0;
    while (row >= c->n[s])
        row -= c->n[s++];
    return s;
}

/* docs/numerics.md, section 7. The machine's tensor core rounds each of 16 sums to nearest. */
static double bound_of(const layer *l, const job *c, int64_t row, int64_t k)
{
    const fbq_layout *y = &l->layout;
    const int s = segment_of(c, row);
    const double v = ldexp(1, -24), w = fabs(l->w[row * c->k + k]);
    const double scale =
        fbq_f32_of_word(y->format.scale_type, l->scales[row * y->groups + k / y->group_size]);
    int64_t first = 0;
    double sum = 0, product = 0;
    for (int i = 0; i < s; i++)
        first += c->r[i];
    for (int64_t j = 0; !c->no_branch && !c->concatenate && j < c->r[s]; j++) {
        const double term = fbq_f32_of_word(y->format.factor_type, l->b[row * l->widest + j]) *
                            fbq_f32_of_word(y->format.factor_type, l->a[(first + j) * c->k + k]);
        product += term;
        sum += fabs(term);
    }
    const double before =
        scale * ldexp(1, -18) + v * (2 * fabs(l->w[row * c->k + k] - product) + w +
                                     16 * (double)((c->r[s] + 15) / 16) * sum);
    const double unit = ldexp(1, l->what.w_type == FBQ_BF16 ? -8 : -11);
    return before * 1.01 + unit * (w + before) + ldexp(1, -25);
}

static int right(const layer *l, const job *c, const uint16_t *w, int64_t stride, double *worst)
{
    for (int64_t n = 0; n < l->layout.n; n++)
        for (int64_t k = 0; k < c->k; k++) {
            const double want = l->w[n * c->k + k], bound = bound_of(l, c, n, k);
            const double got = fbq_f32_of_word(l->what.w_type, w[n * stride + k]);
            const double ratio = c->exact ? 0 : fabs(got - want) / bound;
            *worst = ratio > *worst ? ratio : *worst;
            if (c->exact ? w[n * stride + k] != fbq_word_of_f32(l->what.w_type, (float)want)
                         : !(ratio <= 1)) {
                print_error("w[%lld][%lld] is %.9g, expected %.9g within %.3g\n", (long long)n,
                            (long long)k, got, want, bound);
                return 0;
            }
        }
    return 1;
}

/* B behind K. */
static int up_right(const layer *l, const job *c, const uint16_t *w, int64_t stride)
{
    for (int64_t n = 0; n < l->layout.n; n++) {
        int64_t column = c->k;
        for (int s = 0; s < c->segments; s++)
            for (int64_t j = 0; j < c->r[s]; j++, column++) {
                const uint16_t want =
                    s != segment_of(c, n)
                        ? 0
                        : fbq_word_of_f32(l->what.w_type,
                                          fbq_f32_of_word(l->layout.format.factor_type,
                                                          l->b[n * l->widest + j]));
                if (w[n * stride + column] != want) {
                    print_error("w[%lld][%lld] is 0x%04x, expected 0x%04x\n", (long long)n,
                                (long long)column, w[n * stride + column], want);
                    return 0;
                }
            }
    }
    return 1;
}

static double worst_ratio;
static int capability; /* with bulk copies from 90 on */

static void check(const job *c)
{
    fbq_gpu gpu = {"simulated", capability, 2, 1 << 20, 1 << 30, 1 << 20};
    fbq_simt_options options;
    fbq_simt_report report;
    fbq_reconstruct_call call;
    fbq_error error;
    layer l = layer_make(c);
    const int64_t columns = c->k + (c->concatenate ? l.ranks : 0), stride = columns + c->gap;
    const size_t words = (size_t)((l.layout.n - 1) * stride + columns);
    uint16_t *block = memory((words + 2 * GUARD + (size_t)c->shift) * 2);
    uint16_t *w = block + GUARD + c->shift;
    memset(block, 0xff, (words + 2 * GUARD + (size_t)c->shift) * 2);
    memset(&options, 0, sizeof options);
    memset(&call, 0, sizeof call);
    if (c->sms)
        gpu.sms = c->sms;
    if (c->steps)
        gpu.shared_block = (c->steps + 1) * 8192 + 32; /* 8 KB a step of A, and of B */
    options.gpu = &gpu;
    options.resident = c->resident;
    options.seed = c->seed;
    call.weights = l.parts.weights;
    call.down = c->no_branch || c->concatenate ? NULL : l.parts.down;
    call.up = c->no_branch ? NULL : l.parts.up;
    call.w = w;
    call.w_stride = c->gap ? stride : 0;
    const fbq_status status = (capability >= 90 ? fbq_simt_reconstruct_1 : fbq_simt_reconstruct_0)(
        &l.what, &call, &options, &report, &error);
    if (status != FBQ_OK || !right(&l, c, w, stride, &worst_ratio) ||
        (c->concatenate && !up_right(&l, c, w, stride)))
        fail_msg("format %d n %lld k %lld r %lld of %d segments, concatenate %d, no branch %d, "
                 "exact %d gap %lld shift %d steps %d seed %llu: %s",
                 c->format, (long long)c->n[0], (long long)c->k, (long long)c->r[0], c->segments,
                 c->concatenate, c->no_branch, c->exact, (long long)c->gap, c->shift, c->steps,
                 (unsigned long long)c->seed, status == FBQ_OK ? "wrong" : error.detail);
    layer_free(&l);
    free(block);
}

static job base(int format)
{
    job c = {.format = format, .segments = 1, .n = {40}, .r = {20}, .k = 200, .seed = 1};
    c.seed += (uint64_t)format;
    return c;
}

/* Every format, the sum, the codes alone and B behind them; random numbers and exact ones. */
static void every_format(void **state)
{
    (void)state;
    for (int f = 0; f < FORMATS; f++)
        for (int i = 0; i < 6; i++) {
            job c = base(f);
            c.exact = i % 2;
            c.r[0] = i / 2 == 1 ? 0 : 20;
            c.concatenate = i / 2 == 2;
            c.k = i % 2 ? 192 : 201;
            check(&c);
        }
}

static void any_size(void **state)
{
    static const int64_t sizes[][2] = {{1, 1},    {16, 64},   {17, 63},  {15, 65},  {33, 8},
                                       {130, 72}, {128, 257}, {5, 1000}, {257, 128}};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        job c = base((int)(i * 5) % FORMATS);
        c.n[0] = sizes[i][0];
        c.k = sizes[i][1];
        c.sms = 1 + (int)i % 3;
        c.concatenate = i % 4 == 3;
        check(&c);
    }
}

/* Ranks, and shared memory that holds few of them: the strip comes in pieces. */
static void any_rank(void **state)
{
    static const int64_t ranks[] = {1, 15, 16, 17, 48, 100};
    (void)state;
    for (size_t i = 0; i < sizeof ranks / sizeof ranks[0]; i++)
        for (int steps = 0; steps <= 2; steps++) {
            job c = base((int)(i * 7) % FORMATS);
            c.n[0] = 140;
            c.k = 140;
            c.r[0] = ranks[i];
            c.steps = steps;
            c.exact = steps == 1;
            c.sms = 1;
            check(&c);
        }
}

/* Segments with tiles and ranks of their own, none among them; a block's run meets several. */
static void segments(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        job c = base(i * 3 % FORMATS);
        c.segments = 2 + i % 2;
        c.n[0] = 20;
        c.n[1] = i % 4 == 1 ? 150 : 16;
        c.n[2] = 5;
        c.r[0] = i % 3 == 2 ? 0 : 20;
        c.r[1] = i % 3 == 0 ? 0 : 33;
        c.r[2] = 7;
        c.k = 70 + i * 30;
        c.concatenate = i % 2;
        c.steps = i % 4 == 2;
        c.sms = 1 + i % 2;
        c.resident = i;
        check(&c);
    }
}

/* Without its factors in the call a layer with ranks is the codes alone. */
static void left_out(void **state)
{
    (void)state;
    for (int f = 0; f < FORMATS; f += 4) {
        job c = base(f);
        c.no_branch = 1;
        check(&c);
    }
}

/* A weight beyond the range of w's type is an infinity. */
static void beyond_range(void **state)
{
    (void)state;
    for (int f = 0; f < FORMATS; f += 2) {
        job c = base(f);
        c.exact = c.huge = 1;
        check(&c);
    }
}

/* w anywhere, rows anywhere: vectors and single words. */
static void any_alignment(void **state)
{
    (void)state;
    for (int shift = 0; shift < 8; shift += 1 + shift / 2)
        for (int64_t gap = 0; gap <= 8; gap += gap < 2 ? 1 : 6) {
            job c = base((shift * 2 + (int)gap) % FORMATS);
            c.k = 200;
            c.r[0] = 16;
            c.shift = shift;
            c.gap = gap;
            c.concatenate = gap == 1;
            check(&c);
        }
}

/* Orders of threads and blocks. */
static void any_order(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        job c = base(4);
        c.n[0] = 300;
        c.k = 300;
        c.resident = 1 + i;
        c.sms = 1 + i;
        c.steps = i % 2;
        c.seed = 100 + (uint64_t)i;
        check(&c);
    }
    print_message("largest error: %.3f of the bound\n", worst_ratio);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format), cmocka_unit_test(any_size),
        cmocka_unit_test(any_rank),     cmocka_unit_test(segments),
        cmocka_unit_test(left_out),     cmocka_unit_test(any_alignment),
        cmocka_unit_test(beyond_range), cmocka_unit_test(any_order),
    };
    int failed = 0;
    for (capability = 80; capability <= 90; capability += 10)
        if (argc < 2 || atoi(argv[1]) == capability)
            failed += cmocka_run_group_tests(tests, NULL, NULL);
    return failed;
}
