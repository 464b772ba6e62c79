/* tests/unit_reference.c: the reference against the definition, from the arrays before packing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>
#include <fbq/host/half.h>

#include "support/layer.h"
#include "support/plain.h"
#include "support/refusal.h"

#define MUST(call)                                   \
    do {                                             \
        fbq_error error;                             \
        if ((call) != FBQ_OK)                        \
            fail_msg("%s: %s", #call, error.detail); \
    } while (0)

/* All parts of a plain layer, packed. */
static fbq_parts pack(const plain *p)
{
    const fbq_layout *l = &p->layout;
    fbq_parts parts = {malloc(l->weights_bytes), l->weights_bytes, NULL, 0, NULL, 0};
    assert_non_null(parts.weights);
    MUST(fbq_pack_weights(l, p->codes, p->scales, p->zeros, (void *)(uintptr_t)parts.weights,
                          l->weights_bytes, &error));
    if (!p->ranks)
        return parts;
    parts.down = malloc(parts.down_bytes = l->down_bytes);
    parts.up = malloc(parts.up_bytes = l->up_bytes);
    assert_true(parts.down && parts.up);
    MUST(fbq_pack_down(l, p->a, (void *)(uintptr_t)parts.down, l->down_bytes, &error));
    MUST(fbq_pack_up(l, p->b, p->stride, (void *)(uintptr_t)parts.up, l->up_bytes, &error));
    return parts;
}

static void parts_free(fbq_parts *parts)
{
    free((void *)(uintptr_t)parts->weights);
    free((void *)(uintptr_t)parts->down);
    free((void *)(uintptr_t)parts->up);
}

/* W_F[n][k] as FBQuant eq. 11 says, and the sum of the magnitudes that went into it. */
static double weight(const plain *p, int64_t n, int64_t k, int with_branch, double *magnitude)
{
    const fbq_format *f = &p->layout.format;
    const fbq_shape *shape = &p->layout.shape;
    const int64_t g = n * p->layout.groups + k / p->layout.group_size;
    const double s = fbq_f32_of_word(f->scale_type, p->scales[g]);
    double z = f->bits == 4 ? 8 : f->bits == 3 ? 4 : 2, w;
    int64_t first_n = 0, first_rank = 0;
    int i = 0;
    if (f->zero == FBQ_ZERO_CODE)
        z = ((const uint8_t *)p->zeros)[g];
    else if (f->zero == FBQ_ZERO_F16)
        z = fbq_f32_of_f16(((const uint16_t *)p->zeros)[g]);
    w = s * (p->codes[n * shape->k + k] - z);
    *magnitude = fabs(w);
    while (n >= first_n + shape->segment[i].n) {
        first_rank += shape->segment[i].r;
        first_n += shape->segment[i++].n;
    }
    for (int64_t j = 0; with_branch && j < shape->segment[i].r; j++) {
        double term = (double)fbq_f32_of_word(f->factor_type, p->b[n * p->stride + j]) *
                      fbq_f32_of_word(f->factor_type, p->a[(first_rank + j) * shape->k + k]);
        w += term;
        *magnitude += fabs(term);
    }
    return w;
}

/* The order of a sum is not part of the claim; a double's rounding of each term is. */
static void assert_near(double got, double want, double magnitude, int64_t terms)
{
    if (!(fabs(got - want) <= (double)(terms + 2) * 0x1p-53 * magnitude))
        fail_msg("%.17g, expected %.17g (terms of %.3g)", got, want, magnitude);
}

static void check_layer(const plain *p, const fbq_parts *parts, int with_branch, uint64_t seed)
{
    const int64_t n_total = p->layout.n, k_total = p->layout.shape.k, m = 3;
    double *w = malloc((size_t)(n_total * k_total) * sizeof *w);
    double *sizes = malloc((size_t)(n_total * k_total) * sizeof *sizes);
    double *x = malloc((size_t)(m * k_total) * sizeof *x);
    /* whole layer, one row at each end, and a range across a segment's border */
    const int64_t ranges[][2] = {
        {0, n_total}, {0, 1}, {n_total - 1, 1}, {n_total / 2, n_total / 3}, {n_total, 0}};
    assert_true(w && sizes && x);
    for (int64_t i = 0; i < m * k_total; i++)
        x[i] = random_normal(&seed);
    for (int64_t n = 0; n < n_total; n++)
        for (int64_t k = 0; k < k_total; k++)
            w[n * k_total + k] = weight(p, n, k, with_branch, &sizes[n * k_total + k]);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        const int64_t first = ranges[i][0], rows = ranges[i][1];
        double *y = malloc((size_t)(m * rows + 1) * sizeof *y);
        double *scale = malloc((size_t)(m * rows + 1) * sizeof *scale);
        double *alone = malloc((size_t)(m * rows + 1) * sizeof *alone),
               *wanted = malloc((size_t)(rows * k_total + 1) * sizeof *wanted);
        assert_true(y && scale && alone && wanted);
        wanted[rows * k_total] = y[m * rows] = scale[m * rows] = -77;
        MUST(fbq_reconstruct(parts, first, rows, wanted, &error));
        assert_true(wanted[rows * k_total] == -77);
        for (int64_t n = 0; n < rows; n++)
            for (int64_t k = 0; k < k_total; k++)
                assert_near(wanted[n * k_total + k], w[(first + n) * k_total + k],
                            sizes[(first + n) * k_total + k], 4096);
        MUST(fbq_reference(parts, first, rows, m, x, y, scale, &error));
        MUST(fbq_reference(parts, first, rows, m, x, alone, NULL, &error));
        assert_memory_equal(y, alone, (size_t)(m * rows) * sizeof *y);
        assert_true(y[m * rows] == -77 && scale[m * rows] == -77);
        for (int64_t j = 0; j < m; j++)
            for (int64_t n = 0; n < rows; n++) {
                double sum = 0, magnitudes = 0, all = 0;
                for (int64_t k = 0; k < k_total; k++) {
                    sum += w[(first + n) * k_total + k] * x[j * k_total + k];
                    magnitudes += fabs(w[(first + n) * k_total + k] * x[j * k_total + k]);
                    all += sizes[(first + n) * k_total + k] * fabs(x[j * k_total + k]);
                }
                assert_near(y[j * rows + n], sum, all, 4096 + k_total);
                assert_near(scale[j * rows + n], magnitudes, all, 4096 + k_total);
                assert_true(scale[j * rows + n] >= fabs(y[j * rows + n]) * (1 - 1e-9));
            }
        free(y);
        free(scale);
        free(alone);
        free(wanted);
    }
    free(w);
    free(sizes);
    free(x);
}

static void test_against_definition(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const int64_t sizes[][3] = {{1, 1, 0}, {17, 65, 15}, {20, 300, 5}, {33, 130, 0}};
    uint64_t seed = 0;
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int g = 0; g < 5; g++)
            for (int zero = 0; zero < 3; zero++)
                for (size_t i = 0; i < 4; i++)
                    for (int segments = 1; segments <= 3; segments += 2) {
                        const int types = (int)(++seed % 4);
                        fbq_format format = {bits, groups[g], (fbq_zero)zero,
                                             types & 1 ? FBQ_BF16 : FBQ_F16,
                                             types & 2 ? FBQ_BF16 : FBQ_F16};
                        fbq_shape shape =
                            plain_shape(segments, sizes[i][0], sizes[i][1], sizes[i][2]);
                        plain p = plain_make(&format, &shape, seed);
                        fbq_parts parts = pack(&p), bare = parts;
                        check_layer(&p, &parts, 1, seed);
                        bare.down = bare.up = NULL; /* the same codes without their branch */
                        check_layer(&p, &bare, 0, seed);
                        parts_free(&parts);
                        plain_free(&p);
                    }
}

/* By hand: 2 bits, two rows, one rank. */
static void test_by_hand(void **state)
{
    const uint8_t codes[] = {0, 1, 2, 3, 3, 2, 1, 0}, zeros[] = {1, 3};
    const uint16_t scales[] = {0x3800, 0x4000};                               /* 0.5, 2 */
    const uint16_t a[] = {0x3c00, 0x4000, 0xbc00, 0}, b[] = {0x4200, 0xc000}; /* 1 2 -1 0; 3 -2 */
    const double x[] = {1, 1, 1, 10}, want[] = {2.5, 6, -2.5, 1, -2, -6, -2, -6};
    fbq_format format = {2, FBQ_GROUP_ROW, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
    fbq_shape shape = fbq_shape_of(2, 4, 1);
    uint8_t weights[2048], down[4096], up[1024];
    fbq_layout l;
    fbq_parts parts = {weights, sizeof weights, down, sizeof down, up, sizeof up};
    double w[8], y[2], scale[2];
    (void)state;
    MUST(fbq_layout_of(&format, &shape, &l, &error));
    MUST(fbq_pack_weights(&l, codes, scales, zeros, weights, sizeof weights, &error));
    MUST(fbq_pack_down(&l, a, down, sizeof down, &error));
    MUST(fbq_pack_up(&l, b, 1, up, sizeof up, &error));
    MUST(fbq_reconstruct(&parts, 0, 2, w, &error));
    for (int i = 0; i < 8; i++)
        assert_true(w[i] == want[i]);
    MUST(fbq_reference(&parts, 0, 2, 1, x, y, scale, &error));
    assert_true(y[0] == 16 && y[1] == -70);
    assert_true(scale[0] == 21 && scale[1] == 70);
}

static void test_refused(void **state)
{
    fbq_format format = {4, 64, FBQ_ZERO_F16, FBQ_F16, FBQ_F16}, bf16 = format;
    fbq_shape shape = plain_shape(3, 19, 200, 4), ranks = shape, wider = shape, fewer = shape;
    double w[200], y[64];
    bf16.factor_type = FBQ_BF16;
    ranks.segment[1].r = 3;
    wider.k = 201;
    fewer.segments = 2;
    plain p = plain_make(&format, &shape, 1);
    const fbq_parts good = pack(&p);
    fbq_parts parts = good;
    (void)state;
#define REFUSED(status, change, ...)                                               \
    parts = good;                                                                  \
    change;                                                                        \
    assert_refused(status, fbq_reconstruct(&parts, 0, 1, w, &error), __VA_ARGS__); \
    assert_refused(status, fbq_reference(&parts, 0, 1, 1, w, y, NULL, &error), __VA_ARGS__)
    memset(w, 0, sizeof w);
    REFUSED(FBQ_ERR_NULL, parts.weights = NULL, "weights");
    REFUSED(FBQ_ERR_NULL, parts.down = NULL, "down is NULL", "up is not");
    REFUSED(FBQ_ERR_NULL, parts.up = NULL, "up is NULL", "down is not");
    REFUSED(FBQ_ERR_PACKED, (parts.weights = good.down, parts.weights_bytes = good.down_bytes),
            "parts->weights", "part 2", "expected part 1");
    REFUSED(FBQ_ERR_PACKED,
            (parts.down = good.up, parts.up = good.down, parts.down_bytes = good.up_bytes,
             parts.up_bytes = good.down_bytes),
            "parts->down", "part 3", "expected part 2");
    REFUSED(FBQ_ERR_PACKED, (parts.up = good.down, parts.up_bytes = good.down_bytes), "parts->up",
            "part 2", "expected part 3");
    REFUSED(FBQ_ERR_PACKED, parts.weights_bytes--, "cut short");
    REFUSED(FBQ_ERR_PACKED, parts.down_bytes--, "cut short");
    REFUSED(FBQ_ERR_PACKED, parts.up_bytes = 0, "0 bytes");
    /* factors of layers that differ in a rank, in K, in a segment, in a type */
    const fbq_shape *const others[] = {&ranks, &wider, &fewer, &shape};
    for (int i = 0; i < 4; i++) {
        plain q = plain_make(i == 3 ? &bf16 : &format, others[i], 2);
        fbq_parts other = pack(&q);
        REFUSED(FBQ_ERR_RANK, (parts.up = other.up, parts.up_bytes = other.up_bytes), "layout");
        REFUSED(FBQ_ERR_RANK, (parts.down = other.down, parts.down_bytes = other.down_bytes),
                "layout");
        parts_free(&other);
        plain_free(&q);
    }
    static const int64_t ranges[][2] = {
        {-1, 1},       {0, -1}, {0, 48}, {47, 1}, {48, 0}, {1, 47}, {INT64_MAX, INT64_MAX},
        {0, INT64_MIN}};
    assert_int_equal(p.layout.n, 47);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        char first[48], rows[48];
        snprintf(first, sizeof first, "first is %lld", (long long)ranges[i][0]);
        snprintf(rows, sizeof rows, "rows is %lld", (long long)ranges[i][1]);
        assert_refused(FBQ_ERR_SIZE, fbq_reconstruct(&good, ranges[i][0], ranges[i][1], w, &error),
                       first, rows, "0 .. 46");
    }
    assert_refused(FBQ_ERR_NULL, fbq_reconstruct(NULL, 0, 1, w, &error), "parts");
    assert_refused(FBQ_ERR_NULL, fbq_reconstruct(&good, 0, 1, NULL, &error), "w is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_reference(&good, 0, 1, 1, NULL, y, NULL, &error), "x is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_reference(&good, 0, 1, 1, w, NULL, NULL, &error), "y is NULL");
    assert_refused(FBQ_ERR_SIZE, fbq_reference(&good, 0, 1, 0, w, y, NULL, &error), "m is 0");
    assert_refused(FBQ_ERR_SIZE, fbq_reference(&good, 0, 1, -1, w, y, NULL, &error), "m is -1");
    parts = good;
    parts_free(&parts);
    plain_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_definition),
                                       cmocka_unit_test(test_by_hand),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
