/* tests/unit_pack.c: pack and unpack are inverse, write what they own, and refuse the rest.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#include "support/plain.h"
#include "support/refusal.h"

static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};

#define MUST(call)                                   \
    do {                                             \
        fbq_error error;                             \
        if ((call) != FBQ_OK)                        \
            fail_msg("%s: %s", #call, error.detail); \
    } while (0)

/* Packed at an odd address between guard zones; twice, over other bytes: a part depends on nothing
 * but its arguments, its padding included. */
static void *pack(const plain *p, fbq_part part, size_t *bytes)
{
    const fbq_layout *l = &p->layout;
    void *packed, *again;
    *bytes = part == FBQ_PART_WEIGHTS ? l->weights_bytes
             : part == FBQ_PART_DOWN  ? l->down_bytes
                                      : l->up_bytes;
    packed = guarded_make(*bytes);
    again = guarded_make(*bytes);
    memset(again, 0, *bytes);
    for (int i = 0; i < 2; i++) {
        void *to = i ? again : packed;
        if (part == FBQ_PART_WEIGHTS)
            MUST(fbq_pack_weights(l, p->codes, p->scales, p->zeros, to, *bytes, &error));
        else if (part == FBQ_PART_DOWN)
            MUST(fbq_pack_down(l, p->a, to, *bytes, &error));
        else
            MUST(fbq_pack_up(l, p->b, p->stride, to, *bytes, &error));
        assert_true(guarded_whole(to));
    }
    assert_memory_equal(packed, again, *bytes);
    guarded_free(again);
    return packed;
}

static void check_weights(const plain *p)
{
    const fbq_layout *l = &p->layout;
    const size_t rows_groups = (size_t)(l->n * l->groups), count = (size_t)(l->n * l->shape.k);
    const size_t zero_size = l->format.zero == FBQ_ZERO_F16 ? 2 : 1;
    size_t bytes;
    void *packed = pack(p, FBQ_PART_WEIGHTS, &bytes);
    uint8_t *codes = guarded_make(count);
    uint16_t *scales = malloc(rows_groups * 2);
    uint8_t *zeros = guarded_make(rows_groups * zero_size);
    assert_non_null(scales);
    memset(scales, 0xa5, rows_groups * 2);
    MUST(fbq_unpack_weights(packed, bytes, codes, NULL, NULL, &error));
    MUST(fbq_unpack_weights(packed, bytes, NULL, scales, NULL, &error));
    MUST(fbq_unpack_weights(packed, bytes, NULL, NULL, NULL, &error));
    assert_memory_equal(codes, p->codes, count);
    assert_memory_equal(scales, p->scales, rows_groups * 2);
    assert_true(guarded_whole(codes) && guarded_whole(zeros));
    if (l->format.zero == FBQ_ZERO_F16) {
        uint16_t *words = malloc(rows_groups * 2); /* 16-bit words want their alignment */
        assert_non_null(words);
        MUST(fbq_unpack_weights(packed, bytes, NULL, NULL, words, &error));
        assert_memory_equal(words, p->zeros, rows_groups * 2);
        free(words);
    } else if (l->format.zero == FBQ_ZERO_CODE) {
        MUST(fbq_unpack_weights(packed, bytes, NULL, NULL, zeros, &error));
        assert_memory_equal(zeros, p->zeros, rows_groups);
    } else {
        MUST(fbq_unpack_weights(packed, bytes, NULL, NULL, zeros, &error)); /* nothing to write */
        for (size_t i = 0; i < rows_groups; i++)
            assert_int_equal(zeros[i], 0xa5);
    }
    assert_true(guarded_whole(codes) && guarded_whole(zeros));
    guarded_free(packed);
    guarded_free(codes);
    guarded_free(zeros);
    free(scales);
}

static void check_factors(const plain *p)
{
    const fbq_layout *l = &p->layout;
    const size_t a_bytes = (size_t)(p->ranks * l->shape.k) * 2;
    size_t bytes;
    void *packed = pack(p, FBQ_PART_DOWN, &bytes);
    uint16_t *a = malloc(a_bytes), *b = malloc((size_t)(l->n * p->stride) * 2);
    assert_true(a && b);
    MUST(fbq_unpack_down(packed, bytes, a, &error));
    assert_memory_equal(a, p->a, a_bytes);
    guarded_free(packed);
    packed = pack(p, FBQ_PART_UP, &bytes);
    for (int64_t i = 0; i < l->n * p->stride; i++)
        b[i] = 0x7fff; /* what plain_make has beyond a segment's rank: it must stay */
    MUST(fbq_unpack_up(packed, bytes, b, p->stride, &error));
    assert_memory_equal(b, p->b, (size_t)(l->n * p->stride) * 2);
    guarded_free(packed);
    free(a);
    free(b);
}

static void test_identity(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 0},    {1, 1, 1},     {16, 64, 16}, {17, 65, 15},
                                       {3, 127, 33}, {33, 128, 17}, {5, 255, 1},  {16, 256, 0},
                                       {7, 300, 5},  {20, 577, 16}};
    int cases = 0;
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int g = 0; g < 5; g++)
            for (int zero = 0; zero < 3; zero++)
                for (int types = 0; types < 4; types++)
                    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
                        for (int segments = 1; segments <= 3; segments++) {
                            fbq_format format = {bits, groups[g], (fbq_zero)zero,
                                                 types & 1 ? FBQ_BF16 : FBQ_F16,
                                                 types & 2 ? FBQ_BF16 : FBQ_F16};
                            fbq_shape shape =
                                plain_shape(segments, sizes[i][0], sizes[i][1], sizes[i][2]);
                            plain p = plain_make(&format, &shape, (uint64_t)++cases);
                            check_weights(&p);
                            if (p.ranks)
                                check_factors(&p);
                            plain_free(&p);
                        }
    printf("%d layers packed and unpacked\n", cases);
    assert_int_equal(cases, 3 * 5 * 3 * 4 * 10 * 3);
}

/* Bits that hold no number of the layer are those of padded numbers equal to 0: the pack of the
 * layer padded by hand has the same records. */
static void test_padding_is_zero(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int zero = 0; zero < 3; zero++) {
            const int64_t n = 21, k = 150, padded_n = 32, padded_k = 192;
            fbq_format format = {bits, 32, (fbq_zero)zero, FBQ_F16, FBQ_F16};
            fbq_shape shape = fbq_shape_of(n, k, 5), whole = fbq_shape_of(padded_n, padded_k, 16);
            plain p = plain_make(&format, &shape, 3), q = plain_make(&format, &whole, 4);
            for (int part = FBQ_PART_WEIGHTS; part <= FBQ_PART_UP; part++) {
                size_t bytes, whole_bytes;
                for (int64_t row = 0; row < padded_n; row++) {
                    for (int64_t i = 0; i < padded_k; i++)
                        q.codes[row * padded_k + i] = row < n && i < k ? p.codes[row * k + i] : 0;
                    for (int64_t g = 0; g < 6; g++) {
                        int has = row < n && g < 5;
                        q.scales[row * 6 + g] = has ? p.scales[row * 5 + g] : 0;
                        if (zero == FBQ_ZERO_CODE)
                            ((uint8_t *)q.zeros)[row * 6 + g] =
                                has ? ((uint8_t *)p.zeros)[row * 5 + g] : 0;
                        if (zero == FBQ_ZERO_F16)
                            ((uint16_t *)q.zeros)[row * 6 + g] =
                                has ? ((uint16_t *)p.zeros)[row * 5 + g] : 0;
                    }
                    for (int64_t j = 0; j < 16; j++)
                        q.b[row * q.stride + j] = row < n && j < 5 ? p.b[row * p.stride + j] : 0;
                }
                for (int64_t j = 0; j < 16; j++)
                    for (int64_t i = 0; i < padded_k; i++)
                        q.a[j * padded_k + i] = j < 5 && i < k ? p.a[j * k + i] : 0;
                uint8_t *one = pack(&p, (fbq_part)part, &bytes);
                uint8_t *two = pack(&q, (fbq_part)part, &whole_bytes);
                assert_int_equal(bytes, whole_bytes);
                assert_memory_equal(one + FBQ_HEADER_BYTES, two + FBQ_HEADER_BYTES,
                                    bytes - FBQ_HEADER_BYTES);
                guarded_free(one);
                guarded_free(two);
            }
            plain_free(&p);
            plain_free(&q);
        }
}

static void test_codes_that_do_not_fit(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++) {
        fbq_format format = {bits, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
        fbq_shape shape = plain_shape(2, 19, 200, 4);
        plain p = plain_make(&format, &shape, 9);
        const size_t bytes = p.layout.weights_bytes;
        void *packed = guarded_make(bytes);
        static const int64_t at[][2] = {{0, 0}, {18, 199}, {19, 1}, {28, 63}};
        for (size_t i = 0; i < 4; i++) {
            const int64_t row = at[i][0], k = at[i][1], g = k / 64;
            char place[48], value[16], below[16];
            uint8_t *code = &p.codes[row * 200 + k], *zero = &((uint8_t *)p.zeros)[row * 4 + g];
            const uint8_t good = *code, good_zero = *zero, bad = i & 1 ? 255 : (uint8_t)(1 << bits);
            snprintf(value, sizeof value, "is %d", bad);
            snprintf(below, sizeof below, "below %d", 1 << bits);
            snprintf(place, sizeof place, "codes[%lld][%lld]", (long long)row, (long long)k);
            *code = bad;
            assert_refused(
                FBQ_ERR_CODE,
                fbq_pack_weights(&p.layout, p.codes, p.scales, p.zeros, packed, bytes, &error),
                place, value, below);
            *code = good;
            snprintf(place, sizeof place, "zeros[%lld][%lld]", (long long)row, (long long)g);
            *zero = bad;
            assert_refused(
                FBQ_ERR_CODE,
                fbq_pack_weights(&p.layout, p.codes, p.scales, p.zeros, packed, bytes, &error),
                place, value, below);
            *zero = good_zero;
            assert_true(guarded_whole(packed));
        }
        MUST(fbq_pack_weights(&p.layout, p.codes, p.scales, p.zeros, packed, bytes, &error));
        guarded_free(packed);
        plain_free(&p);
    }
}

static void test_refused_buffers(void **state)
{
    fbq_format format = {4, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
    fbq_shape shape = plain_shape(3, 19, 200, 4);
    plain p = plain_make(&format, &shape, 1);
    const fbq_layout *l = &p.layout;
    const size_t w = l->weights_bytes, d = l->down_bytes, u = l->up_bytes;
    uint8_t *packed = guarded_make(w + d + u);
    char had[32], wants[32];
    (void)state;
    for (size_t less = 1; less <= w; less += w - 1) {
        snprintf(had, sizeof had, "%zu bytes", w - less);
        snprintf(wants, sizeof wants, "wants %zu", w);
        assert_refused(FBQ_ERR_BUFFER,
                       fbq_pack_weights(l, p.codes, p.scales, p.zeros, packed, w - less, &error),
                       "fbq_pack_weights", had, wants);
    }
    snprintf(wants, sizeof wants, "wants %zu", d);
    assert_refused(FBQ_ERR_BUFFER, fbq_pack_down(l, p.a, packed, d - 1, &error), "fbq_pack_down",
                   wants);
    snprintf(wants, sizeof wants, "wants %zu", u);
    assert_refused(FBQ_ERR_BUFFER, fbq_pack_up(l, p.b, p.stride, packed, u - 1, &error),
                   "fbq_pack_up", wants);
    for (size_t i = 0; i < w + d + u; i++)
        assert_int_equal(packed[i], 0xa5); /* a refused call has written nothing */
    assert_true(guarded_whole(packed));
    guarded_free(packed);
    plain_free(&p);
}

static void test_refused_arguments(void **state)
{
    fbq_format format = {4, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
    fbq_shape shape = plain_shape(3, 19, 200, 4);
    plain p = plain_make(&format, &shape, 1);
    const fbq_layout *l = &p.layout;
    size_t w, d, u;
    void *weights = pack(&p, FBQ_PART_WEIGHTS, &w), *down = pack(&p, FBQ_PART_DOWN, &d);
    void *up = pack(&p, FBQ_PART_UP, &u);
    uint16_t *b = malloc((size_t)(l->n * p.stride) * 2);
    fbq_layout wrong;
    (void)state;
    assert_non_null(b);
#define WEIGHTS(layout, codes, scales, zeros, to) \
    fbq_pack_weights(layout, codes, scales, zeros, to, w, &error)
    assert_refused(FBQ_ERR_NULL, WEIGHTS(NULL, p.codes, p.scales, p.zeros, weights), "layout");
    assert_refused(FBQ_ERR_NULL, WEIGHTS(l, NULL, p.scales, p.zeros, weights), "codes");
    assert_refused(FBQ_ERR_NULL, WEIGHTS(l, p.codes, NULL, p.zeros, weights), "scales");
    assert_refused(FBQ_ERR_NULL, WEIGHTS(l, p.codes, p.scales, NULL, weights), "zeros", "NULL",
                   "format.zero is 1");
    assert_refused(FBQ_ERR_NULL, WEIGHTS(l, p.codes, p.scales, p.zeros, NULL), "packed");
    assert_refused(FBQ_ERR_NULL, fbq_pack_down(NULL, p.a, down, d, &error), "layout");
    assert_refused(FBQ_ERR_NULL, fbq_pack_down(l, NULL, down, d, &error), "a is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_pack_down(l, p.a, NULL, d, &error), "packed");
    assert_refused(FBQ_ERR_NULL, fbq_pack_up(NULL, p.b, p.stride, up, u, &error), "layout");
    assert_refused(FBQ_ERR_NULL, fbq_pack_up(l, NULL, p.stride, up, u, &error), "b is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_pack_up(l, p.b, p.stride, NULL, u, &error), "packed");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_weights(NULL, w, p.codes, NULL, NULL, &error),
                   "packed");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_down(down, d, NULL, &error), "a is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_down(NULL, d, p.a, &error), "packed");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_up(up, u, NULL, p.stride, &error), "b is NULL");
    assert_refused(FBQ_ERR_NULL, fbq_unpack_up(NULL, u, b, p.stride, &error), "packed");
    /* the widest segment has rank 9 */
    static const int64_t strides[] = {8, 0, -9, INT64_MIN};
    for (size_t i = 0; i < 4; i++) {
        char number[40];
        snprintf(number, sizeof number, "stride is %lld", (long long)strides[i]);
        assert_refused(FBQ_ERR_RANK, fbq_pack_up(l, p.b, strides[i], up, u, &error), number,
                       "segment");
        assert_refused(FBQ_ERR_RANK, fbq_unpack_up(up, u, b, strides[i], &error), number,
                       "segment");
    }
    /* one part for another */
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_weights(down, d, NULL, NULL, NULL, &error), "part 2",
                   "expected part 1");
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_down(up, u, p.a, &error), "part 3",
                   "expected part 2");
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_up(weights, w, b, p.stride, &error), "part 1",
                   "expected part 3");
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_up(up, u - 1, b, p.stride, &error), "cut short");
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_down(down, d - 1, p.a, &error), "cut short");
    assert_refused(FBQ_ERR_PACKED, fbq_unpack_weights(weights, w - 1, NULL, NULL, NULL, &error),
                   "cut short");
    /* a layout that was not left as fbq_layout_of made it, in any number */
    int64_t *const numbers[] = {&wrong.n,
                                &wrong.tiles,
                                &wrong.chunks,
                                &wrong.groups,
                                &wrong.groups_padded,
                                &wrong.group_size,
                                &wrong.rank_tiles,
                                &wrong.codes_bytes,
                                &wrong.scales_bytes,
                                &wrong.zeros_bytes,
                                &wrong.record_bytes,
                                &wrong.tile_first[1],
                                &wrong.rank_first[1],
                                &wrong.up_first[3]};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        wrong = *l;
        *numbers[i] += 1;
        assert_refused(FBQ_ERR_SIZE, WEIGHTS(&wrong, p.codes, p.scales, p.zeros, weights),
                       "fbq_layout_of");
        assert_refused(FBQ_ERR_SIZE, fbq_pack_down(&wrong, p.a, down, d, &error), "fbq_layout_of");
        assert_refused(FBQ_ERR_SIZE, fbq_pack_up(&wrong, p.b, p.stride, up, u, &error),
                       "fbq_layout_of");
    }
    wrong = *l;
    wrong.format.group = 33;
    assert_refused(FBQ_ERR_GROUP, fbq_pack_down(&wrong, p.a, down, d, &error), "33");
    wrong = *l;
    wrong.shape.segment[0].r = 40;
    assert_refused(FBQ_ERR_SIZE, fbq_pack_up(&wrong, p.b, 99, up, u, &error), "fbq_layout_of");
    guarded_free(weights);
    guarded_free(down);
    guarded_free(up);
    free(b);
    plain_free(&p);
}

/* A layer without a branch has no factors, and zero points exactly where the format stores them. */
static void test_without_branch(void **state)
{
    fbq_format format = {3, 64, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16};
    fbq_shape shape = fbq_shape_of(8, 64, 0);
    plain p = plain_make(&format, &shape, 1);
    uint16_t word = 0;
    uint8_t packed[4096];
    (void)state;
    assert_refused(FBQ_ERR_RANK, fbq_pack_down(&p.layout, &word, packed, sizeof packed, &error),
                   "r is 0");
    assert_refused(FBQ_ERR_RANK, fbq_pack_up(&p.layout, &word, 1, packed, sizeof packed, &error),
                   "r is 0");
    assert_refused(
        FBQ_ERR_NULL,
        fbq_pack_weights(&p.layout, p.codes, p.scales, p.codes, packed, sizeof packed, &error),
        "zeros is given", "format.zero is 0");
    plain_free(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_identity),
                                       cmocka_unit_test(test_padding_is_zero),
                                       cmocka_unit_test(test_codes_that_do_not_fit),
                                       cmocka_unit_test(test_refused_buffers),
                                       cmocka_unit_test(test_refused_arguments),
                                       cmocka_unit_test(test_without_branch)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
