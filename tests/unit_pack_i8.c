/* tests/unit_pack_i8.c: factors of int8 numbers: what is packed is near what was given, what is
 * said to run is what runs, and bad input is refused with nothing written.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#include "support/plain.h"
#include "support/layer.h"
#include "support/refusal.h"

#define MUST(call)                                   \
    do {                                             \
        fbq_error error;                             \
        if ((call) != FBQ_OK)                        \
            fail_msg("%s: %s", #call, error.detail); \
    } while (0)

/* Factors of three segments, of unequal n and ranks, and what packing them gave. */
typedef struct subject {
    fbq_layout layout;
    int64_t ranks, stride;
    float *a, *b, *a_used, *b_used;
    uint8_t *down, *up;
} subject;

static float *floats(int64_t count)
{
    float *numbers = calloc((size_t)count, sizeof *numbers);
    assert_non_null(numbers);
    return numbers;
}

static subject subject_make(int64_t k, uint64_t seed)
{
    const fbq_format format = {4, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_I8};
    const fbq_shape shape = plain_shape(3, 37, k, 20);
    subject s;
    memset(&s, 0, sizeof s);
    MUST(fbq_layout_of(&format, &shape, &s.layout, &error));
    for (int i = 0; i < 3; i++) {
        s.ranks += shape.segment[i].r;
        s.stride = shape.segment[i].r > s.stride ? shape.segment[i].r : s.stride;
    }
    s.stride += 3;
    s.a = floats(s.ranks * k);
    s.a_used = floats(s.ranks * k);
    s.b = floats(s.layout.n * s.stride);
    s.b_used = floats(s.layout.n * s.stride);
    /* rows of very different sizes, one of zeros, one of the smallest numbers */
    for (int64_t i = 0; i < s.ranks * k; i++)
        s.a[i] = (float)ldexp(random_normal(&seed), (int)(i / k % 60) - 30);
    for (int64_t i = 0; i < k; i++) {
        s.a[2 * k + i] = 0;
        s.a[3 * k + i] = i % 3 ? 0 : 0x1p-149f;
    }
    for (int64_t i = 0; i < s.layout.n * s.stride; i++)
        s.b[i] = (float)random_normal(&seed);
    s.down = guarded_make(s.layout.down_bytes);
    s.up = guarded_make(s.layout.up_bytes);
    MUST(fbq_pack_down_i8(&s.layout, s.a, s.down, s.layout.down_bytes, s.a_used, &error));
    MUST(fbq_pack_up_i8(&s.layout, s.b, s.stride, s.up, s.layout.up_bytes, s.b_used, &error));
    assert_true(guarded_whole(s.down) && guarded_whole(s.up));
    return s;
}

static void subject_free(subject *s)
{
    float *all[] = {s->a, s->b, s->a_used, s->b_used};
    for (int i = 0; i < 4; i++)
        free(all[i]);
    guarded_free(s->down);
    guarded_free(s->up);
}

static void check_row(const float *given, const float *used, int64_t count)
{
    float most = 0;
    for (int64_t i = 0; i < count; i++)
        most = fabsf(given[i]) > most ? fabsf(given[i]) : most;
    /* half a step; the step is up to 2^-15 larger than the largest / 127, and never subnormal */
    const double step = fmax((double)most / 127 * (1 + 0x1p-15), 0x1p-126);
    for (int64_t i = 0; i < count; i++)
        assert_true(fabs((double)given[i] - used[i]) <= step / 2 * (1 + 1e-6));
}

static int64_t rank_of(const subject *s, int64_t n)
{
    int i = 0;
    while (n >= s->layout.shape.segment[i].n)
        n -= s->layout.shape.segment[i++].n;
    return s->layout.shape.segment[i].r;
}

static void test_near(void **state)
{
    (void)state;
    for (int64_t k = 63; k <= 200; k += 137) {
        subject s = subject_make(k, (uint64_t)k);
        for (int64_t r = 0; r < s.ranks; r++)
            check_row(s.a + r * k, s.a_used + r * k, k);
        for (int64_t n = 0; n < s.layout.n; n++)
            check_row(s.b + n * s.stride, s.b_used + n * s.stride, rank_of(&s, n));
        subject_free(&s);
    }
}

/* What was said to run comes back, and packs to the same bytes, in place too. */
static void test_used(void **state)
{
    subject s = subject_make(200, 5);
    const fbq_layout *l = &s.layout;
    const size_t a_count = (size_t)(s.ranks * l->shape.k), b_count = (size_t)(l->n * s.stride);
    float *a = floats((int64_t)a_count), *b = floats((int64_t)b_count);
    uint8_t *down = guarded_make(l->down_bytes), *up = guarded_make(l->up_bytes);
    (void)state;
    MUST(fbq_unpack_down_f32(s.down, l->down_bytes, a, &error));
    MUST(fbq_unpack_up_f32(s.up, l->up_bytes, b, s.stride, &error));
    assert_memory_equal(a, s.a_used, a_count * sizeof *a);
    assert_memory_equal(b, s.b_used, b_count * sizeof *b); /* zeros beyond the ranks in both */
    MUST(fbq_pack_down_i8(l, a, down, l->down_bytes, a, &error));
    MUST(fbq_pack_up_i8(l, b, s.stride, up, l->up_bytes, b, &error));
    assert_memory_equal(down, s.down, l->down_bytes);
    assert_memory_equal(up, s.up, l->up_bytes);
    assert_memory_equal(a, s.a_used, a_count * sizeof *a);
    assert_true(guarded_whole(down) && guarded_whole(up));
    guarded_free(down);
    guarded_free(up);
    free(a);
    free(b);
    subject_free(&s);
}

/* The reference's Sigma is the product of what was said to run. */
static void test_sigma(void **state)
{
    subject s = subject_make(63, 7);
    const fbq_layout *l = &s.layout;
    const int64_t k = l->shape.k;
    uint8_t *codes = calloc((size_t)(l->n * k), 1), *weights = guarded_make(l->weights_bytes);
    uint8_t *zeros = calloc((size_t)(l->n * l->groups), 1);
    uint16_t *scales = calloc((size_t)(l->n * l->groups), 2);
    double *w = calloc((size_t)(l->n * k), sizeof *w);
    int64_t first = 0, row = 0;
    (void)state;
    MUST(fbq_pack_weights(l, codes, scales, zeros, weights, l->weights_bytes, &error));
    const fbq_parts parts = {weights, l->weights_bytes, s.down, l->down_bytes, s.up, l->up_bytes};
    MUST(fbq_reconstruct(&parts, 0, l->n, w, &error));
    for (int i = 0; i < 3; first += l->shape.segment[i++].r)
        for (int64_t n = 0; n < l->shape.segment[i].n; n++, row++)
            for (int64_t c = 0; c < k; c++) {
                double sum = 0;
                for (int64_t r = 0; r < l->shape.segment[i].r; r++)
                    sum += (double)s.b_used[row * s.stride + r] * s.a_used[(first + r) * k + c];
                assert_true(fabs(w[row * k + c] - sum) <= 1e-12 * fabs(sum));
            }
    free(codes);
    free(zeros);
    free(scales);
    free(w);
    guarded_free(weights);
    subject_free(&s);
}

static void test_bytes(void **state)
{
    subject s = subject_make(200, 9);
    fbq_format format = s.layout.format;
    fbq_layout half, read;
    fbq_part part;
    (void)state;
    format.factor_type = FBQ_F16;
    MUST(fbq_layout_of(&format, &s.layout.shape, &half, &error));
    assert_int_equal(half.down_scales, 0);
    assert_int_equal(half.up_scales, 0);
    assert_int_equal(s.layout.down_scales - FBQ_HEADER_BYTES,
                     (half.down_bytes - FBQ_HEADER_BYTES) / 2);
    assert_int_equal(s.layout.up_scales - FBQ_HEADER_BYTES, (half.up_bytes - FBQ_HEADER_BYTES) / 2);
    assert_int_equal(s.layout.down_bytes - s.layout.down_scales, 64 * s.layout.rank_tiles);
    assert_int_equal(s.layout.up_bytes - s.layout.up_scales, 64 * s.layout.tiles);
    MUST(fbq_layout_read(s.up, s.layout.up_bytes, &part, &read, &error));
    assert_int_equal(part, FBQ_PART_UP);
    assert_memory_equal(&read, &s.layout, sizeof read);
    subject_free(&s);
}

static void test_refused(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    static const char *const named[] = {"nan", "inf", "-inf"};
    subject s = subject_make(200, 3);
    const fbq_layout *l = &s.layout;
    uint16_t *words = calloc((size_t)(s.ranks * 200), 2);
    fbq_layout half;
    fbq_format format = l->format;
    (void)state;
    for (int i = 0; i < 3; i++) {
        const float a = s.a[s.ranks * 200 - 1], b = s.b[s.stride + 1];
        s.a[s.ranks * 200 - 1] = bad[i];
        s.b[s.stride + 1] = bad[i];
        memset(s.down, 0xa5, l->down_bytes);
        memset(s.up, 0xa5, l->up_bytes);
        assert_refused(FBQ_ERR_CODE,
                       fbq_pack_down_i8(l, s.a, s.down, l->down_bytes, s.a_used, &error), "a[",
                       "][199]", named[i], "finite");
        assert_refused(FBQ_ERR_CODE,
                       fbq_pack_up_i8(l, s.b, s.stride, s.up, l->up_bytes, s.b_used, &error),
                       "b[1][1]", named[i], "finite");
        for (size_t j = 0; j < l->down_bytes; j++)
            assert_int_equal(s.down[j], 0xa5);
        for (size_t j = 0; j < l->up_bytes; j++)
            assert_int_equal(s.up[j], 0xa5);
        s.a[s.ranks * 200 - 1] = a;
        s.b[s.stride + 1] = b;
    }
    format.factor_type = FBQ_BF16;
    MUST(fbq_layout_of(&format, &l->shape, &half, &error));
    assert_refused(FBQ_ERR_FORMAT,
                   fbq_pack_down_i8(&half, s.a, s.down, l->down_bytes, NULL, &error),
                   "factor_type is 2", "fbq_pack_down");
    assert_refused(FBQ_ERR_FORMAT, fbq_pack_down(l, words, s.down, l->down_bytes, &error),
                   "factor_type is 4", "fbq_pack_down_i8");
    assert_refused(FBQ_ERR_FORMAT, fbq_pack_up(l, words, s.stride, s.up, l->up_bytes, &error),
                   "factor_type is 4", "fbq_pack_up_i8");
    assert_refused(FBQ_ERR_BUFFER,
                   fbq_pack_up_i8(l, s.b, s.stride, s.up, l->up_bytes - 1, NULL, &error),
                   "fbq_pack_up_i8");
    assert_refused(FBQ_ERR_RANK, fbq_pack_up_i8(l, s.b, 4, s.up, l->up_bytes, NULL, &error),
                   "stride is 4");
    assert_refused(FBQ_ERR_NULL, fbq_pack_down_i8(l, NULL, s.down, l->down_bytes, NULL, &error),
                   "a is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_up_f32(s.up, l->up_bytes, NULL, 9, &error),
                   "b is NULL");
    MUST(fbq_pack_down_i8(l, s.a, s.down, l->down_bytes, NULL, &error));
    assert_refused(FBQ_ERR_FORMAT, fbq_unpack_down(s.down, l->down_bytes, words, &error), "FBQ_I8",
                   "fbq_unpack_down_f32");
    free(words);
    subject_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_near), cmocka_unit_test(test_used),
                                       cmocka_unit_test(test_sigma), cmocka_unit_test(test_bytes),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
