/* tests/simt/simt_bounds.c: the error bounds of docs/numerics.md, each driven towards its worst
 * case by numbers made for that: no error may exceed its bound, and one must come near it.
 *
 * Most cases build one large sum first and then add what is just too small to move it, so that
 * every addition loses nearly half a unit, or moves it by a whole unit for little more than half.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"

#include "spread.h"

#include <fbq/host/half.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define V 0x1p-24 /* half a unit in the last place of fp32, relative */

/* The largest number of fp16 below half a unit (2^-3) of 2^21, over the bias 64. */
#define SMALL (0x1p-9 - 0x1p-20)
/* The same of 2^14, whose half unit is 2^-10. */
#define LOST (0x1p-10 - 0x1p-21)

/* ---- Layers ---- */

static void *zeros(size_t bytes)
{
    return memset(layer_memory(bytes), 0, bytes);
}

/* A layer of zeros that the base pick runs, behind a launch of down. */
static void make(layer *l, int64_t n, int64_t k, int64_t r, int64_t m, int group, fbq_zero zero)
{
    fbq_error error;
    memset(l, 0, sizeof *l);
    l->problem.format.bits = 4;
    l->problem.format.group = group;
    l->problem.format.zero = zero;
    l->problem.format.scale_type = l->problem.format.factor_type = FBQ_F16;
    l->problem.shape = fbq_shape_of(n, k, r);
    l->problem.x_type = FBQ_F16;
    l->problem.y_type = FBQ_F32;
    l->problem.m_max = (int)m;
    l->problem.launches = 2; /* t by way of down */
    assert_int_equal(fbq_layout_of(&l->problem.format, &l->problem.shape, &l->layout, &error),
                     FBQ_OK);
    l->gpu = *fbq_simt_gpu();
    l->gpu.sms = 2;
    l->fused.kernel = FBQ_KERNEL_FUSED;
    l->fused.warps = SIMT_BASE_WARPS;
    l->fused.chunks = 2 * SIMT_BASE_UNITS;
    l->fused.stages = SIMT_BASE_STAGES;
    l->fused.tiles = SIMT_BASE_TILES;
    l->fused.blocks_per_sm = 1;
    l->down.kernel = FBQ_KERNEL_DOWN;
    l->down.warps = l->down.chunks = l->down.blocks_per_sm = l->down.slices = 1;
    l->options.gpu = &l->gpu;
    l->options.fused = &l->fused;
    l->options.down = &l->down;
    l->codes = zeros((size_t)(n * k));
    l->scales = zeros((size_t)(n * l->layout.groups) * 2);
    l->zeros8 = zeros((size_t)(n * l->layout.groups));
    l->a = zeros((size_t)(r * k) * 2);
    l->b = zeros((size_t)(n * r) * 2);
    l->x = l->x_block = zeros((size_t)(m * k) * 2);
    l->y = l->y_block = zeros((size_t)(m * n) * 4);
    l->weights = zeros(l->layout.weights_bytes);
    l->packed_a = zeros(l->layout.down_bytes);
    l->packed_b = zeros(l->layout.up_bytes);
}

/* The pick whose parts are two units, so that 256 numbers of x are neighbours; one warp. */
static void make_pairs(layer *l, int64_t n)
{
    make(l, n, 21 * 64, 0, 1, 128, FBQ_ZERO_NONE);
    l->fused.warps = 1;
    l->fused.chunks = 4;
    l->fused.stages = 4;
    l->fused.tiles = 1;
    l->options.k_known = 1;
}

static int64_t rows_of(const layer *l)
{
    return l->layout.n;
}
static int64_t k_of(const layer *l)
{
    return l->layout.shape.k;
}
static int64_t ranks_of(const layer *l)
{
    return l->layout.shape.segment[0].r;
}
static int64_t flush_of(const layer *l)
{
    return l->layout.group_size < 128 ? l->layout.group_size : 128;
}
static int64_t flushes_of_warp(const layer *l)
{
    const int64_t units = (k_of(l) + 127) / 128;
    return (units + l->fused.warps - 1) / l->fused.warps * (128 / flush_of(l));
}
static int64_t warps_of(const layer *l)
{
    const int64_t units = (k_of(l) + 127) / 128;
    return units < l->fused.warps ? units : l->fused.warps;
}
static double x_of(const layer *l, int64_t m, int64_t k)
{
    return k < k_of(l) ? fbq_f32_of_f16(l->x[m * k_of(l) + k]) : 0;
}
static double code_of(const layer *l, int64_t n, int64_t k)
{
    return l->codes[n * k_of(l) + k];
}
static double scale_of(const layer *l, int64_t n, int64_t k)
{
    return fbq_f32_of_f16(l->scales[n * l->layout.groups + k / l->layout.group_size]);
}
static double zero_of(const layer *l, int64_t n, int64_t k)
{
    if (l->problem.format.zero == FBQ_ZERO_NONE)
        return 8;
    return l->zeros8[n * l->layout.groups + k / l->layout.group_size];
}
static double weight_of(const layer *l, int64_t n, int64_t k)
{
    return scale_of(l, n, k) * (code_of(l, n, k) - zero_of(l, n, k));
}
static void set_scales(layer *l, double value)
{
    for (int64_t i = 0; i < rows_of(l) * l->layout.groups; i++)
        l->scales[i] = layer_half(value);
}

/* Run it and compare: no result further from the reference than its bound, the worst at least
 * `least` of it. Frees the layer. */
static void check(layer *l, const char *what, double least,
                  double (*bound)(const layer *l, int64_t m, int64_t n))
{
    const int64_t n_total = rows_of(l), k_total = k_of(l), m_total = l->problem.m_max;
    double *x = layer_memory((size_t)(m_total * k_total) * sizeof *x);
    double *ref = layer_memory((size_t)(m_total * n_total) * sizeof *ref), worst = 0;
    fbq_simt_report report;
    fbq_error error;
    fbq_call call;
    fbq_parts parts;
    assert_int_equal(fbq_pack_weights(&l->layout, l->codes, l->scales,
                                      l->problem.format.zero == FBQ_ZERO_NONE ? NULL : l->zeros8,
                                      l->weights, l->layout.weights_bytes, &error),
                     FBQ_OK);
    memset(&call, 0, sizeof call);
    memset(&parts, 0, sizeof parts);
    call.m = m_total;
    call.x = l->x;
    call.y = l->y;
    call.weights = parts.weights = l->weights;
    parts.weights_bytes = l->layout.weights_bytes;
    if (ranks_of(l)) {
        assert_int_equal(fbq_pack_down(&l->layout, l->a, l->packed_a, l->layout.down_bytes, &error),
                         FBQ_OK);
        assert_int_equal(
            fbq_pack_up(&l->layout, l->b, ranks_of(l), l->packed_b, l->layout.up_bytes, &error),
            FBQ_OK);
        assert_int_equal(
            fbq_simt_scratch_bytes(&l->problem, &l->options, m_total, &l->scratch_bytes, &error),
            FBQ_OK);
        l->scratch = layer_memory(l->scratch_bytes);
        call.scratch = l->scratch;
        call.scratch_bytes = l->scratch_bytes;
        call.down = parts.down = l->packed_a;
        call.up = parts.up = l->packed_b;
        parts.down_bytes = l->layout.down_bytes;
        parts.up_bytes = l->layout.up_bytes;
    }
    if (fbq_simt_linear_with(&l->problem, &call, &l->options, &report, &error) != FBQ_OK)
        fail_msg("%s: %s", what, error.detail);
    for (int64_t i = 0; i < m_total * k_total; i++)
        x[i] = fbq_f32_of_f16(l->x[i]);
    assert_int_equal(fbq_reference(&parts, 0, n_total, m_total, x, ref, NULL, &error), FBQ_OK);
    for (int64_t i = 0; i < m_total * n_total; i++) {
        /* terms of second order are left out of the formulas: a few hundred roundings of V */
        const double most = bound(l, i / n_total, i % n_total) * (1 + 0x1p-14);
        float y;
        memcpy(&y, l->y + 2 * i, sizeof y);
        if (!(fabs(y - ref[i]) <= most))
            fail_msg("%s: y[%d][%d] is %.17g, expected %.17g within %.3g", what, (int)(i / n_total),
                     (int)(i % n_total), y, ref[i], most);
        worst = fmax(worst, fabs(y - ref[i]) / most);
    }
    print_message("%-42s %.3f of the bound, at least %.3f wanted\n", what, worst, least);
    free(x);
    free(ref);
    layer_free(l);
    assert_true(worst >= least);
}

/* ---- The bounds, as docs/numerics.md has them ---- */

/* One row of x (section 1). */
static double bound_limbs(const layer *l, int64_t m, int64_t n)
{
    const int64_t block = l->fused.chunks > 2 ? 256 : 128;
    double rounding = 0, flushes = 0, lanes = 0, size = 0;
    for (int64_t first = 0; first < k_of(l); first += flush_of(l)) {
        const int64_t from = first / block * block;
        const double s = scale_of(l, n, first), z = zero_of(l, n, first);
        double most = 0, unit, s01 = 0, d01 = 0;
        for (int64_t k = from; k < from + block; k++)
            most = fmax(most, fabs(x_of(l, m, k)));
        unit = most < 0x1p-14 ? 0x1p-34 : ldexp(1, ilogb(most) - 20);
        for (int64_t k = first; k < first + flush_of(l) && k < k_of(l); k++) {
            const double q = code_of(l, n, k), w = fabs(weight_of(l, n, k));
            const double whole = nearbyint(x_of(l, m, k) / unit);
            const double top = floor((whole + 0x8080) / 65536), low = whole - 65536 * top;
            if (whole * unit != x_of(l, m, k))
                rounding += w * unit / 2;
            s01 += q * low;
            d01 += (q - z) * low;
            lanes += w * unit * (fabs(low) + 65536 * fabs(top));
            size += w * fabs(x_of(l, m, k));
        }
        flushes += s * unit * V * (fabs(s01) + fabs(d01));
    }
    return rounding + flushes +
           V * ((double)flushes_of_warp(l) * lanes + (double)warps_of(l) * size);
}

/* The k of a tensor-core step's i-th product, of every 32 k two steps (docs/layout.md). */
static int64_t k_of_product(int64_t i)
{
    return i / 32 * 32 + i % 8 / 2 * 8 + i % 32 / 16 * 4 + i % 16 / 8 * 2 + i % 2;
}

/* A running sum, the largest magnitude of its step, and tau times those of all steps. The machine's
 * tensor core adds product after product, each to nearest, and 0 without an error: its tau is the
 * number of products that are not 0. */
typedef struct running {
    double sum, most, error;
    int tau;
} running;

static void add_product(running *r, int64_t i, double product)
{
    if (i % 16 == 0) {
        r->most = fabs(r->sum);
        r->tau = 0;
    }
    r->sum += product;
    r->tau += product != 0;
    r->most = fmax(r->most, fmax(fabs(r->sum), fabs(product)));
    if (i % 16 == 15)
        r->error += r->tau * r->most;
}

/* Several rows of x (section 2). */
static double bound_words(const layer *l, int64_t m, int64_t n)
{
    double flushes = 0, size = 0;
    for (int64_t first = 0; first < k_of(l); first += flush_of(l)) {
        const double s = scale_of(l, n, first), z = zero_of(l, n, first);
        running bias = {0, 0, 0, 0}, ones = {0, 0, 0, 0}, codes = {0, 0, 0, 0};
        double start;
        for (int64_t i = 0; i < flush_of(l); i++) {
            const int64_t k = first + k_of_product(i);
            add_product(&bias, i, (k % 2 ? 79 : -64) * x_of(l, m, k));
            add_product(&ones, i, -x_of(l, m, k));
        }
        codes.sum = start = bias.sum + z * ones.sum;
        for (int64_t i = 0; i < flush_of(l); i++) {
            const int64_t k = first + k_of_product(i);
            const double q = k < k_of(l) ? code_of(l, n, k) : 0;
            add_product(&codes, i, ((k % 2 ? -79 : 64) + q) * x_of(l, m, k));
            size += s * fabs(q - z) * fabs(x_of(l, m, k));
        }
        flushes += s * (bias.error + z * ones.error + codes.error + fabs(start));
    }
    return V * (flushes + (double)(flushes_of_warp(l) + warps_of(l) - 1) * size);
}

/* t of one rank: the sum, and what making and adding the partial sums may cost. */
static double t_of(const layer *l, int64_t m, int64_t r, double *error)
{
    const int64_t slices = l->down.slices;
    const int64_t codes = (l->layout.chunks + slices - 1) / slices * FBQ_CHUNK;
    double sum = 0, size = 0, roundings = 0;
    for (int64_t s = 0; s < slices; s++) {
        running t = {0, 0, 0, 0};
        for (int64_t i = 0; i < codes; i++) {
            const int64_t k = s * codes + k_of_product(i);
            add_product(&t, i,
                        k < k_of(l) ? fbq_f32_of_f16(l->a[r * k_of(l) + k]) * x_of(l, m, k) : 0);
        }
        sum += t.sum;
        size += fabs(t.sum);
        *error += V * t.error;
    }
    if (l->problem.m_max == 1) {
        roundings = (double)((slices + 7) / 8 - 1);
        for (int64_t lanes = 1; lanes < slices && lanes < 8; lanes *= 2)
            roundings++;
    } else {
        roundings = (double)(slices - 1);
    }
    *error += V * roundings * size;
    return sum;
}

/* The sub-branch (section 3); the weights are 0. */
static double bound_branch(const layer *l, int64_t m, int64_t n)
{
    const int64_t steps = l->layout.rank_tiles;
    double bound = 0, size = 0;
    for (int64_t step = 0; step < steps; step++) {
        double t[16], most = 0, power;
        running high = {0, 0, 0, 0}, low = {0, 0, 0, 0};
        for (int64_t i = 0; i < 16; i++) {
            const int64_t r = step * 16 + i;
            double error = 0;
            t[i] = t_of(l, m, r, &error);
            bound += fabs(fbq_f32_of_f16(l->b[n * ranks_of(l) + r])) * error;
            most = fmax(most, fabs(t[i]));
        }
        power = ldexp(1, ilogb(most) - 14);
        for (int64_t i = 0; i < 16; i++) {
            const double b = fbq_f32_of_f16(l->b[n * ranks_of(l) + step * 16 + i]);
            bound += fabs(b) * fmax(0x1p-23 * fabs(t[i]), 0x1p-25 * power);
            add_product(&high, i, b * fbq_f32_of_f16(layer_half(t[i] / power)) * power);
            size += fabs(b * t[i]);
        }
        low.sum = l->problem.m_max == 1 ? 0 : high.sum;
        for (int64_t i = 0; i < 16; i++) {
            const double b = fbq_f32_of_f16(l->b[n * ranks_of(l) + step * 16 + i]);
            const double rest = t[i] / power - fbq_f32_of_f16(layer_half(t[i] / power));
            add_product(&low, i, b * fbq_f32_of_f16(layer_half(rest)) * power);
        }
        bound += V * (high.error + low.error);
        if (l->problem.m_max == 1)
            bound += V * fabs(high.sum + low.sum);
    }
    return bound + V * (double)(steps + 1) * size;
}

/* ---- Driving them ---- */

/* One large number a block, and all others half a unit of its grid off it, each to the side that
 * makes its weight's error positive. */
static void limbs_rounding(void **state)
{
    static const int groups[] = {0, 32, 64, 128, 256, FBQ_GROUP_ROW};
    (void)state;
    for (size_t g = 0; g < COUNT(groups); g++) {
        layer l;
        int64_t block = 128;
        if (g == 0) {
            make_pairs(&l, 20);
            block = 256;
        } else {
            make(&l, 20, 1100, 0, 1, groups[g], FBQ_ZERO_CODE);
            memset(l.zeros8, 8, (size_t)(rows_of(&l) * l.layout.groups));
        }
        set_scales(&l, 0.75);
        for (int64_t k = 0; k < k_of(&l); k++) {
            const double unit = ldexp(1, -5 - (int)(k / block) % 4);
            const double x = ((double)(k % 100) + 0.5) * (k % 3 ? unit : -unit);
            const int large = k % block == 37;
            l.x[k] = layer_half(large ? unit * 0x1p20 : x);
            for (int64_t n = 0; n < rows_of(&l); n++) {
                const int up = nearbyint(x / unit) * unit > x;
                /* the first row is the worst case; in others every n-th sign is against it */
                const int against = n > 0 && k % (n + 1) == 0;
                l.codes[n * k_of(&l) + k] = large ? 8 : up != against ? 15 : 0;
            }
        }
        check(&l, "limbs: x half a unit off its grid", 0.99, bound_limbs);
    }
}

/* All numbers on the grid, odd multiples of its unit: none may be rounded. */
static void limbs_exact(void **state)
{
    layer l;
    (void)state;
    make(&l, 20, 512, 0, 1, 64, FBQ_ZERO_CODE);
    set_scales(&l, 0.75);
    memset(l.codes, 15, (size_t)(rows_of(&l) * k_of(&l)));
    for (int64_t k = 0; k < k_of(&l); k++) {
        l.x[k] = layer_half(k % 128 ? (double)(4 * (k % 100) + 1) * 0x1p-10 : 1024);
        for (int64_t n = 0; k % 128 == 0 && n < rows_of(&l); n++)
            l.codes[n * k_of(&l) + k] = 0;
    }
    check(&l, "limbs: x on its grid", 0, bound_limbs);
}

/* Numbers of 11 bits, of `sign`, that sum up to `sum`: where they end. */
static int64_t put_sum(layer *l, int64_t k, int64_t sum, double sign, uint8_t code)
{
    while (sum > 0) {
        int64_t part = sum < 32624 ? sum : 32624, step = 1;
        while (part / step >= 2048)
            step *= 2;
        part -= part % step;
        sum -= part;
        l->x[k] = layer_half(sign * (double)part * 0x1p-10);
        for (int64_t n = 0; n < rows_of(l); n++)
            l->codes[n * k_of(l) + k] = code;
        k++;
    }
    return k;
}

/* A flush whose integer sum, and the same with the zero point taken out, both lie half way between
 * two fp32 numbers. Rows try scales, of which one makes the product do nearly that, too. */
static void limbs_flush(void **state)
{
    int64_t k;
    layer l;
    (void)state;
    make(&l, 64, 128, 0, 1, 128, FBQ_ZERO_CODE);
    memset(l.zeros8, 7, (size_t)rows_of(&l));
    for (int64_t n = 0; n < rows_of(&l); n++) {
        l.scales[n] = layer_half(1 + (double)n / 1024);
        l.codes[n * k_of(&l)] = 7;
    }
    l.x[0] = layer_half(1024); /* makes the unit 2^-10, and has no low limbs */
    /* 15 * 1118483 = 2^24 + 29; with it 8 * 1118483 + 7 * 1118482 - 1 = 2^24 + 21 */
    k = put_sum(&l, 1, 1118483, 1, 15);
    k = put_sum(&l, k, 1118482, -1, 0);
    assert_true(k <= 128);
    check(&l, "limbs: a flush between fp32 numbers", 0.7, bound_limbs);
}

/* Flushes that are half a unit of the sum before them. */
static void limbs_sum(void **state)
{
    layer l;
    (void)state;
    make_pairs(&l, 20);
    memset(l.codes, 8, (size_t)(rows_of(&l) * k_of(&l)));
    for (int64_t k = 0; k < k_of(&l); k += 128) {
        l.x[k] = layer_half(1);
        for (int64_t n = 0; n < rows_of(&l); n++) {
            l.codes[n * k_of(&l) + k] = 12;
            l.scales[n * l.layout.groups + k / 128] = layer_half(k ? 0x1p-14 : 0x1p10);
        }
    }
    check(&l, "limbs: a sum too large for what follows", 0.8, bound_limbs);
}

/* The first number of a flush makes a large sum, which the last but one takes away. Between them
 * the biases lose what is just below half a unit at even k, and gain nearly as much at odd k; the
 * codes the other way round, so that both errors have one sign. */
static void words_flush(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    (void)state;
    for (size_t g = 0; g < COUNT(groups); g++) {
        for (int64_t m = 2; m <= 8; m += 3) {
            layer l;
            make(&l, 20, 1024, 0, m, groups[g], FBQ_ZERO_CODE);
            set_scales(&l, 0.75);
            for (int64_t k = 0; k < k_of(&l); k++) {
                const int64_t at = k % flush_of(&l);
                const int large = at == 0 || at == flush_of(&l) - 2;
                for (int64_t i = 0; i < m; i++)
                    l.x[i * k_of(&l) + k] =
                        layer_half(large ? (at ? -32 : 32) * (double)(1025 + i) : SMALL);
                for (int64_t n = 0; n < rows_of(&l); n++)
                    l.codes[n * k_of(&l) + k] = large || n == 7 ? 0 : (uint8_t)(15 - n % 7);
            }
            check(&l, "words: sums too large for what follows", 0.75, bound_words);
        }
    }
}

/* x with a mean, of many exponents, and codes that alternate between their extremes: no worst case,
 * a bad one. */
static void words_mean(void **state)
{
    layer l;
    (void)state;
    make(&l, 20, 1024, 0, 2, 128, FBQ_ZERO_CODE);
    set_scales(&l, 0.75);
    memset(l.zeros8, 8, (size_t)(rows_of(&l) * l.layout.groups));
    for (int64_t k = 0; k < k_of(&l); k++) {
        for (int64_t i = 0; i < 2; i++)
            l.x[i * k_of(&l) + k] =
                layer_half(ldexp(1024 + (double)(k * (37 + i) % 1024), (int)(k * 5 % 12) - 6));
        for (int64_t n = 0; n < rows_of(&l); n++)
            l.codes[n * k_of(&l) + k] = (k + n) % 2 ? 15 : 0;
    }
    check(&l, "words: x with a mean", 0.005, bound_words);
}

static void set_b(layer *l, int64_t rank, double value)
{
    for (int64_t n = 0; n < rows_of(l); n++)
        l->b[n * ranks_of(l) + rank] = layer_half(value);
}

/* A t in each row of x: a0 + a1 + a2, at k of their own. */
static void set_t(layer *l, int64_t rank, double a0, double a1, double a2)
{
    uint16_t *a = l->a + rank * k_of(l);
    a[0] = layer_half(a0);
    a[1] = layer_half(a1);
    a[2] = layer_half(a2 * 1024);
    for (int64_t m = 0; m < l->problem.m_max; m++) {
        uint16_t *x = l->x + m * k_of(l);
        x[0] = x[1] = layer_half(1);
        x[2] = layer_half(0x1p-10);
    }
}

/* Every rank has both parts exactly: a lost one is beyond the bound. */
static void branch_exact(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        layer l;
        make(&l, 20, 64, 48, m, 64, FBQ_ZERO_NONE);
        for (int64_t r = 0; r < 48; r++) {
            set_t(&l, r, (double)(1 + r % 3), (double)(8 + r % 7) * 0x1p-15, 0);
            set_b(&l, r, 1);
        }
        check(&l, "branch: t of both parts", 0, bound_branch);
    }
}

/* 15 ranks far smaller than one that B leaves out, each half way between two numbers that the low
 * part has. */
static void branch_parts(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        layer l;
        make(&l, 20, 64, 16, m, 64, FBQ_ZERO_NONE);
        set_t(&l, 5, 0x1p14, 0, 0);
        for (int64_t r = 0; r < 16; r++)
            if (r != 5) {
                set_t(&l, r, (double)(1 + r % 3) * 0x1p-12, 0, 0x1p-25);
                set_b(&l, r, 1);
            }
        check(&l, "branch: t between numbers of its low part", 0.95, bound_branch);
    }
}

/* One rank whose product is so large that, of all others', both parts' products lose nearly half a
 * unit of it; its own low part lies half way between two numbers. With one row of x the low parts
 * are summed apart, and lose nothing. */
static void branch_products(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        layer l;
        make(&l, 20, 64, 16, m, 64, FBQ_ZERO_NONE);
        set_t(&l, 0, 0x1p14, 4, 0x1p-9);
        set_b(&l, 0, 1);
        for (int64_t r = 1; r < 16; r++) {
            /* (2 + 7 * 2^-9) * (1 + 73 * 2^-10) is a multiple of 2^-9 and 511 * 2^-19 */
            set_t(&l, r, 2 + 7 * 0x1p-9, 119 * 0x1p-17, 0);
            set_b(&l, r, 1 + 73 * 0x1p-10);
        }
        check(&l, "branch: products too small for their sum", m == 1 ? 0.7 : 0.8, bound_branch);
    }
}

/* A sum over steps of 16 ranks that is too large for what follows. Two warps share the steps,
 * and the second loses nothing. */
static void branch_steps(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        layer l;
        make(&l, 20, 64, 1024, m, 64, FBQ_ZERO_NONE);
        for (int64_t r = 0; r < 1024; r += 16) {
            set_t(&l, r, r ? LOST : 0x1p14, 0, 0);
            set_b(&l, r, 1);
        }
        check(&l, "branch: steps too small for their sum", 0.4, bound_branch);
    }
}

/* The same within down, and from one slice of K to the next. */
static void branch_down(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        for (int slices = 1; slices <= 8; slices += 7) {
            layer l;
            make(&l, 20, 512, 16, m, 64, FBQ_ZERO_NONE);
            l.down.slices = slices;
            for (int64_t k = 0; k < k_of(&l); k++) {
                for (int64_t i = 0; i < m; i++)
                    l.x[i * k_of(&l) + k] = layer_half(1);
                if (k * slices < k_of(&l) || k % 64 == 0)
                    l.a[k] = layer_half(k ? LOST : 0x1p14);
            }
            set_b(&l, 0, 1);
            check(&l, slices == 1 ? "branch: t too large for what follows" : "the same with slices",
                  slices == 1 ? 0.95 : 0.85, bound_branch);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limbs_rounding),  cmocka_unit_test(limbs_exact),
        cmocka_unit_test(limbs_flush),     cmocka_unit_test(limbs_sum),
        cmocka_unit_test(words_flush),     cmocka_unit_test(words_mean),
        cmocka_unit_test(branch_exact),    cmocka_unit_test(branch_parts),
        cmocka_unit_test(branch_products), cmocka_unit_test(branch_steps),
        cmocka_unit_test(branch_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
