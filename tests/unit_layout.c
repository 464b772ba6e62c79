/* tests/unit_layout.c: sizes, headers and the places of codes.
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

#include "support/refusal.h"

static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};

static fbq_format format_of(int bits, int group, fbq_zero zero)
{
    return (fbq_format){bits, group, zero, FBQ_F16, FBQ_F16};
}

static fbq_layout layout_of(fbq_format format, fbq_shape shape)
{
    fbq_layout l;
    fbq_error error;
    if (fbq_layout_of(&format, &shape, &l, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    return l;
}

/* q, k and v of a model with grouped-query attention, say: three segments, one without a branch. */
static fbq_shape three_segments(int64_t k)
{
    fbq_shape shape = fbq_shape_of(37, k, 17);
    shape.segments = 3;
    shape.segment[1] = (fbq_segment){16, 0};
    shape.segment[2] = (fbq_segment){5, 128};
    return shape;
}

/* ---- Sizes ---- */

/* Counted one code, one row and one group at a time, where layout.h has formulas. */
static void check_sizes(const fbq_layout *l)
{
    const int64_t k = l->shape.k;
    int64_t n = 0, tiles = 0, rank_tiles = 0, blocks = 0, padded_k = 0, stored = 0;
    int64_t record, size = l->format.group == FBQ_GROUP_ROW ? k : l->format.group;
    for (int s = 0; s < l->shape.segments; s++) {
        int64_t segment_tiles = 0, segment_ranks = 0;
        while (segment_tiles * 16 < l->shape.segment[s].n)
            segment_tiles++;
        while (segment_ranks * 16 < l->shape.segment[s].r)
            segment_ranks++;
        assert_int_equal(l->tile_first[s], tiles);
        assert_int_equal(l->rank_first[s], rank_tiles);
        assert_int_equal(l->up_first[s], blocks);
        n += l->shape.segment[s].n;
        tiles += segment_tiles;
        rank_tiles += segment_ranks;
        blocks += segment_tiles * segment_ranks;
    }
    while (padded_k < k)
        padded_k += 64;
    while (stored * size < (l->format.group == FBQ_GROUP_ROW ? k : padded_k))
        stored++;
    assert_int_equal(l->n, n);
    assert_int_equal(l->tiles, tiles);
    assert_int_equal(l->tile_first[l->shape.segments], tiles);
    assert_int_equal(l->rank_tiles, rank_tiles);
    assert_int_equal(l->rank_first[l->shape.segments], rank_tiles);
    assert_int_equal(l->up_first[l->shape.segments], blocks);
    assert_int_equal(l->chunks * 64, padded_k);
    assert_int_equal(l->group_size, size);
    assert_int_equal(l->groups, (k - 1) / size + 1);
    assert_int_equal(l->groups_padded, stored);
    assert_true(l->groups_padded >= l->groups);
    /* codes of 2 and 3 bits are stored in spans of two chunks */
    assert_int_equal(l->codes_bytes,
                     (l->format.bits == 4 ? padded_k : (padded_k + 64) / 128 * 128) * 16 / 8 *
                         l->format.bits);
    assert_int_equal(l->scales_bytes, stored * 16 * (l->format.zero == FBQ_ZERO_F16 ? 4 : 2));
    assert_int_equal(l->zeros_bytes, l->format.zero == FBQ_ZERO_CODE ? stored * 8 : 0);
    record = l->codes_bytes + l->scales_bytes + l->zeros_bytes;
    assert_true(l->record_bytes >= record && l->record_bytes < record + FBQ_ALIGN);
    assert_int_equal(l->record_bytes % FBQ_ALIGN, 0);
    /* scales begin where a lane's pair, or its pair with zero points, is aligned */
    assert_int_equal(l->codes_bytes % 16, 0);
    assert_int_equal(l->weights_bytes, FBQ_HEADER_BYTES + tiles * l->record_bytes);
    assert_int_equal(l->down_bytes, rank_tiles ? FBQ_HEADER_BYTES + rank_tiles * 32 * padded_k : 0);
    assert_int_equal(l->up_bytes, rank_tiles ? FBQ_HEADER_BYTES + blocks * 512 : 0);
}

static void test_sizes(void **state)
{
    static const int64_t sizes[][3] = {{1, 1, 0},     {1, 1, 1},      {16, 64, 16},
                                       {17, 65, 15},  {37, 100, 17},  {15, 255, 128},
                                       {130, 257, 0}, {16, 4096, 96}, {100, 11008, 4096}};
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int g = 0; g < 5; g++)
            for (int zero = 0; zero < 3; zero++)
                for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                    fbq_format format = format_of(bits, groups[g], (fbq_zero)zero);
                    fbq_layout l =
                        layout_of(format, fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]));
                    check_sizes(&l);
                    l = layout_of(format, three_segments(sizes[i][1]));
                    check_sizes(&l);
                }
}

/* Numbers worked out by hand. */
static void test_known_sizes(void **state)
{
    fbq_layout l = layout_of(format_of(4, 128, FBQ_ZERO_F16), fbq_shape_of(4096, 4096, 128));
    (void)state;
    assert_int_equal(l.codes_bytes, 32768);
    assert_int_equal(l.scales_bytes, 2048);
    assert_int_equal(l.record_bytes, 34816);
    assert_int_equal(l.weights_bytes, 128 + 256 * 34816);
    assert_int_equal(l.down_bytes, 128 + 4096 * 128 * 2);
    assert_int_equal(l.up_bytes, 128 + 4096 * 128 * 2);
    /* the largest sizes that are served do not overflow */
    l = layout_of(format_of(4, 32, FBQ_ZERO_F16), fbq_shape_of(1 << 24, 1 << 20, 4096));
    check_sizes(&l);
    assert_true(l.weights_bytes > ((size_t)1 << 43));
    /* a layout does not depend on what lies behind the last segment */
    fbq_shape shape = fbq_shape_of(16, 64, 0);
    shape.segment[1].n = shape.segment[7].r = -5;
    l = layout_of(format_of(4, 32, FBQ_ZERO_NONE), shape);
    assert_int_equal(l.tiles, 1);
    assert_int_equal(l.shape.segment[7].r, 0);
}

static void test_refused_layouts(void **state)
{
    const fbq_format good = format_of(4, 128, FBQ_ZERO_F16);
    const fbq_shape shape = fbq_shape_of(16, 128, 8);
    fbq_format f;
    fbq_shape s;
    fbq_layout l, before;
    (void)state;
    memset(&l, 0x5a, sizeof l);
    before = l;
#define FORMAT(status, change, ...) \
    f = good;                       \
    change;                         \
    assert_refused(status, fbq_layout_of(&f, &shape, &l, &error), __VA_ARGS__)
#define SHAPE(status, change, ...) \
    s = shape;                     \
    change;                        \
    assert_refused(status, fbq_layout_of(&good, &s, &l, &error), __VA_ARGS__)
    FORMAT(FBQ_ERR_FORMAT, f.bits = 1, "format.bits", "1", "2, 3 or 4");
    FORMAT(FBQ_ERR_FORMAT, f.bits = 5, "format.bits", "5");
    FORMAT(FBQ_ERR_FORMAT, f.bits = -4, "format.bits", "-4");
    FORMAT(FBQ_ERR_FORMAT, f.zero = (fbq_zero)3, "format.zero", "3");
    FORMAT(FBQ_ERR_FORMAT, f.scale_type = FBQ_F32, "format.scale_type", "3", "FBQ_BF16");
    FORMAT(FBQ_ERR_FORMAT, f.factor_type = (fbq_type)0, "format.factor_type", "0");
    static const int wrong[] = {-32, 1, 16, 31, 33, 96, 512, 65536};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char number[16];
        snprintf(number, sizeof number, "%d", wrong[i]);
        FORMAT(FBQ_ERR_GROUP, f.group = wrong[i], "format.group", number, "FBQ_GROUP_ROW");
    }
    SHAPE(FBQ_ERR_SIZE, s.k = 0, "shape.k", "0");
    SHAPE(FBQ_ERR_SIZE, s.k = -7, "shape.k", "-7");
    SHAPE(FBQ_ERR_SIZE, s.k = INT64_MAX, "shape.k", "9223372036854775807");
    SHAPE(FBQ_ERR_SIZE, s.segments = 0, "shape.segments", "0");
    SHAPE(FBQ_ERR_SIZE, s.segments = 9, "shape.segments", "9", "8");
    SHAPE(FBQ_ERR_SIZE, s.segment[0].n = 0, "shape.segment[0].n", "0");
    SHAPE(FBQ_ERR_SIZE, s.segment[0].n = INT64_MAX, "shape.segment[0].n", "9223372036854775807");
    SHAPE(FBQ_ERR_SIZE, s.segments = 2, "shape.segment[1].n", "0");
    SHAPE(FBQ_ERR_SIZE, (s.segments = 2, s.segment[0].n = s.segment[1].n = 1 << 24), "sum",
          "33554432", "16777216");
    SHAPE(FBQ_ERR_RANK, s.segment[0].r = -1, "shape.segment[0].r", "-1");
    SHAPE(FBQ_ERR_RANK, s.segment[0].r = 4097, "shape.segment[0].r", "4097", "4096");
    assert_refused(FBQ_ERR_NULL, fbq_layout_of(NULL, &shape, &l, &error), "format");
    assert_refused(FBQ_ERR_NULL, fbq_layout_of(&good, NULL, &l, &error), "shape");
    assert_refused(FBQ_ERR_NULL, fbq_layout_of(&good, &shape, NULL, &error), "layout");
    assert_memory_equal(&l, &before, sizeof l); /* a failure leaves the result alone */
    /* without a branch nobody looks at the factors' type */
    f = good;
    f.factor_type = (fbq_type)77;
    s = fbq_shape_of(16, 128, 0);
    assert_int_equal(fbq_layout_of(&f, &s, &l, NULL), FBQ_OK);
    assert_int_equal(fbq_layout_of(&f, NULL, &l, NULL), FBQ_ERR_NULL); /* error may be NULL */
}

/* ---- Headers ---- */

static uint8_t *packed_part(const fbq_layout *l, fbq_part part, size_t *bytes)
{
    void *zeros = calloc(1, (size_t)(l->n * l->shape.k) * 2 + (size_t)l->shape.k * 1024);
    uint8_t *packed;
    fbq_error error;
    fbq_status status;
    *bytes = part == FBQ_PART_WEIGHTS ? l->weights_bytes
             : part == FBQ_PART_DOWN  ? l->down_bytes
                                      : l->up_bytes;
    packed = malloc(*bytes);
    assert_true(zeros && packed);
    if (part == FBQ_PART_WEIGHTS)
        status = fbq_pack_weights(l, zeros, zeros, l->format.zero ? zeros : NULL, packed, *bytes,
                                  &error);
    else if (part == FBQ_PART_DOWN)
        status = fbq_pack_down(l, zeros, packed, *bytes, &error);
    else
        status = fbq_pack_up(l, zeros, 128, packed, *bytes, &error);
    if (status != FBQ_OK)
        fail_msg("%s", error.detail);
    free(zeros);
    return packed;
}

/* Field by field: structs may have padding. */
static int same(const fbq_layout *a, const fbq_layout *b)
{
    int equal = a->format.bits == b->format.bits && a->format.group == b->format.group &&
                a->format.zero == b->format.zero && a->format.scale_type == b->format.scale_type &&
                a->format.factor_type == b->format.factor_type && a->shape.k == b->shape.k &&
                a->shape.segments == b->shape.segments;
    for (int s = 0; s < FBQ_MAX_SEGMENTS; s++)
        equal = equal && a->shape.segment[s].n == b->shape.segment[s].n &&
                a->shape.segment[s].r == b->shape.segment[s].r;
    return equal && !memcmp(&a->n, &b->n, sizeof *a - offsetof(fbq_layout, n));
}

static void test_header_round_trip(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int g = 0; g < 5; g++)
            for (int zero = 0; zero < 3; zero++)
                for (int part = FBQ_PART_WEIGHTS; part <= FBQ_PART_UP; part++) {
                    fbq_format format = {bits, groups[g], (fbq_zero)zero,
                                         zero == 1 ? FBQ_BF16 : FBQ_F16,
                                         zero == 2 ? FBQ_BF16 : FBQ_F16};
                    fbq_layout l = layout_of(format, three_segments(150)), read;
                    size_t bytes;
                    uint8_t *packed = packed_part(&l, (fbq_part)part, &bytes);
                    fbq_part found = (fbq_part)0;
                    assert_int_equal(fbq_layout_read(packed, bytes, &found, &read, NULL), FBQ_OK);
                    assert_int_equal(found, part);
                    assert_true(same(&l, &read));
                    assert_int_equal(fbq_layout_read(packed, bytes + 999, NULL, &read, NULL),
                                     FBQ_OK);
                    free(packed);
                }
}

/* Words by number, as docs/layout.md lists them. */
enum {
    MAGIC,
    VERSION,
    PART,
    CODE_KIND,
    BITS,
    GROUP,
    ZERO,
    SCALE_TYPE,
    FACTOR_TYPE,
    K,
    SEGMENTS,
    SEGMENT,
    PADDED_N = SEGMENT + 16,
    PADDED_K,
    RECORD,
    RESERVED
};

static void put_word(uint8_t *packed, int word, uint32_t value)
{
    for (int b = 0; b < 4; b++)
        packed[4 * word + b] = (uint8_t)(value >> 8 * b);
}

/* Damage whose result is again the header of some layer no reader can tell: those words may stay
 * consistent. The layout or part that is read is then another one than before. */
static int may_stay_consistent(int word)
{
    return word == PART || word == GROUP || word == K || (word >= SEGMENT && word < SEGMENT + 6);
}

static void test_every_damaged_bit(void **state)
{
    int refused = 0, other = 0;
    (void)state;
    for (int part = FBQ_PART_WEIGHTS; part <= FBQ_PART_UP; part++) {
        fbq_layout l = layout_of(format_of(4, 64, FBQ_ZERO_F16), three_segments(150)), read;
        size_t bytes;
        uint8_t *packed = packed_part(&l, (fbq_part)part, &bytes);
        for (int bit = 0; bit < 8 * FBQ_HEADER_BYTES; bit++) {
            fbq_part found;
            fbq_error error;
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            if (fbq_layout_read(packed, bytes, &found, &read, &error) == FBQ_OK) {
                other++;
                if (!may_stay_consistent(bit / 32) || (same(&l, &read) && (int)found == part))
                    fail_msg("bit %d of header word %d may be flipped unseen", bit % 32, bit / 32);
            } else {
                refused++;
                assert_refused(FBQ_ERR_PACKED,
                               fbq_layout_read(packed, bytes, &found, &read, &error), "packed");
            }
            packed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(packed);
    }
    printf("flipped header bits: %d refused, %d give another layer's header\n", refused, other);
    assert_true(refused > 2800);
}

static void test_named_damage(void **state)
{
    fbq_layout l = layout_of(format_of(4, 64, FBQ_ZERO_F16), three_segments(150)), read;
    size_t bytes;
    uint8_t *packed = packed_part(&l, FBQ_PART_WEIGHTS, &bytes), good[FBQ_HEADER_BYTES];
    (void)state;
    memcpy(good, packed, sizeof good);
#define DAMAGE(word, value, ...)                                                        \
    put_word(packed, word, value);                                                      \
    assert_refused(FBQ_ERR_PACKED, fbq_layout_read(packed, bytes, NULL, &read, &error), \
                   __VA_ARGS__);                                                        \
    memcpy(packed, good, sizeof good)
    DAMAGE(MAGIC, 0, "0x00000000", "0x51424631");
    DAMAGE(VERSION, 0, "version 0", "reads 1", "again");
    DAMAGE(PART, 0, "part 0");
    DAMAGE(PART, 4, "part 4");
    DAMAGE(CODE_KIND, 1, "code kind 1");
    DAMAGE(SEGMENTS, 9, "9 segments");
    DAMAGE(SEGMENTS, 0, "shape.segments is 0");
    DAMAGE(SEGMENTS, 2, "damaged");
    DAMAGE(SEGMENTS, UINT32_MAX, "4294967295 segments");
    DAMAGE(BITS, 8, "format.bits is 8");
    DAMAGE(BITS, 2, "damaged");
    DAMAGE(BITS, UINT32_MAX, "format.bits");
    DAMAGE(GROUP, 48, "format.group is 48");
    DAMAGE(ZERO, 7, "format.zero is 7");
    DAMAGE(SCALE_TYPE, FBQ_F32, "format.scale_type is 3");
    DAMAGE(FACTOR_TYPE, 0, "format.factor_type is 0");
    DAMAGE(K, 0, "shape.k is 0");
    DAMAGE(K, UINT32_MAX, "shape.k is 4294967295");
    DAMAGE(K, 1500, "padded", "damaged");
    DAMAGE(SEGMENT, 0, "shape.segment[0].n is 0");
    DAMAGE(SEGMENT + 1, 5000, "shape.segment[0].r is 5000");
    DAMAGE(SEGMENT + 6, 1, "0");
    DAMAGE(PADDED_N, 0, "0 x 192");
    DAMAGE(PADDED_K, 64, "x 64");
    DAMAGE(RECORD, 128, "disagree");
    DAMAGE(RESERVED, 1, "expected 0");
    DAMAGE(RESERVED + 1, 1, "expected 0");
    for (size_t short_by = 1; short_by < bytes; short_by += short_by < 300 ? 1 : 97)
        assert_refused(FBQ_ERR_PACKED,
                       fbq_layout_read(packed, bytes - short_by, NULL, &read, &error), "bytes");
    assert_refused(FBQ_ERR_PACKED, fbq_layout_read(packed, 0, NULL, &read, &error), "0 bytes",
                   "128");
    assert_refused(FBQ_ERR_NULL, fbq_layout_read(NULL, bytes, NULL, &read, &error), "packed");
    assert_refused(FBQ_ERR_NULL, fbq_layout_read(packed, bytes, NULL, NULL, &error), "layout");
    /* a header of factors that the layer does not have */
    fbq_layout plain = layout_of(format_of(4, 64, FBQ_ZERO_F16), fbq_shape_of(16, 64, 0));
    free(packed);
    packed = packed_part(&plain, FBQ_PART_WEIGHTS, &bytes);
    memcpy(good, packed, sizeof good);
    DAMAGE(PART, FBQ_PART_DOWN, "part 2", "0 bytes");
    free(packed);
}

/* ---- Where a code lies ---- */

/* Every bit of the codes' bytes belongs to exactly one code; 1 in every place means that nothing is
 * wasted, since padded codes are counted as well. */
static void test_codes_fill_their_bytes(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++)
        for (int64_t chunks = 1; chunks <= 9; chunks++) {
            fbq_layout l = layout_of(format_of(bits, 32, FBQ_ZERO_CODE),
                                     fbq_shape_of(16, chunks * 64 - (chunks & 1), 0));
            const int64_t stored = (bits == 4 ? chunks : (chunks + 1) / 2 * 2) * 64;
            int64_t all = l.codes_bytes * 8, used = 0;
            uint8_t *taken = calloc((size_t)all, 1);
            assert_non_null(taken);
            for (int row = 0; row < 16; row++)
                for (int64_t k = 0; k < stored; k++) {
                    int64_t bit[4] = {-1, -1, -1, -1};
                    int complemented = -1;
                    fbq_code_position(&l, row, k, bit, &complemented);
                    assert_int_equal(complemented, k & 1);
                    for (int b = 0; b < 4; b++)
                        if (b >= bits) {
                            assert_int_equal(bit[b], -1); /* no more than `bits` are written */
                        } else {
                            assert_true(bit[b] >= 0 && bit[b] < all);
                            assert_int_equal(taken[bit[b]]++, 0);
                            used++;
                        }
                    fbq_code_position(&l, row, k, bit, NULL);
                }
            assert_int_equal(used, all);
            free(taken);
        }
}

/* A code's place depends on its chunk, never on where the row ends, once its span is whole. */
static void test_places_are_stable(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++) {
        const int64_t span = bits == 4 ? 1 : 2;
        fbq_layout some =
            layout_of(format_of(bits, 32, FBQ_ZERO_NONE), fbq_shape_of(16, 64 * span, 0));
        fbq_layout more = layout_of(format_of(bits, FBQ_GROUP_ROW, FBQ_ZERO_F16),
                                    fbq_shape_of(999, 64 * (span + 5), 128));
        for (int row = 0; row < 16; row++)
            for (int64_t k = 0; k < 64 * span; k++) {
                int64_t a[4], b[4];
                fbq_code_position(&some, row, k, a, NULL);
                fbq_code_position(&more, row, k, b, NULL);
                assert_memory_equal(a, b, sizeof a[0] * (size_t)bits);
            }
    }
}

/* 4 bits, as the kernels read them: lane 4 g + t of a warp loads the 16 bytes at chunk * 512 +
 * lane * 16, four words j = 0 .. 3. A word holds the codes of one tensor-core step: row g in the
 * low nibbles, row g + 8 in the high ones, four k each. */
static void test_documented_4_bits(void **state)
{
    static const int first_bit[2][2][2] = {/* [odd][high][below] */
                                           {{0, 4}, {8, 12}},
                                           {{16, 20}, {24, 28}}};
    fbq_layout l = layout_of(format_of(4, 128, FBQ_ZERO_F16), fbq_shape_of(16, 64 * 5, 0));
    (void)state;
    for (int chunk = 0; chunk < 5; chunk++)
        for (int lane = 0; lane < 32; lane++)
            for (int j = 0; j < 4; j++)
                for (int low = 0; low < 4; low++)
                    for (int below = 0; below < 2; below++) {
                        const int g = lane / 4, t = lane % 4;
                        const int row = g + 8 * below;
                        const int k = chunk * 64 + 32 * (j / 2) + 8 * t + 4 * (j % 2) + low;
                        const int word = (chunk * 512 + lane * 16 + j * 4) * 8;
                        const int from = first_bit[low & 1][low >> 1][below];
                        int64_t bit[4];
                        fbq_code_position(&l, row, k, bit, NULL);
                        for (int b = 0; b < 4; b++)
                            assert_int_equal(bit[b], word + from + b);
                    }
}

/* A word of a lane's 2 * bits of a span of two chunks (4 bits: of two spans), where the kernels
 * load it. */
static uint32_t loaded(const uint8_t *span, int bits, int lane, int word)
{
    const int at = bits == 4   ? word / 4 * 512 + lane * 16 + word % 4 * 4
                   : bits == 3 ? word / 2 * 256 + lane * 8 + word % 2 * 4
                               : lane * 16 + word * 4;
    return span[at] | (uint32_t)span[at + 1] << 8 | (uint32_t)span[at + 2] << 16 |
           (uint32_t)span[at + 3] << 24;
}

/* The codes of step 0 .. 7 of two chunks, as unpack.cuh brings them together: four k are four
 * bytes, row g in the lowest bits and row g + 8 above them. */
static uint32_t step_of(const uint8_t *span, int bits, int lane, int step)
{
    uint32_t w[3];
    if (bits == 4)
        return loaded(span, 4, lane, step);
    if (bits == 2)
        return loaded(span, 2, lane, step / 2) >> step % 2 * 4 & 0x0f0f0f0f;
    for (int i = 0; i < 3; i++)
        w[i] = loaded(span, 3, lane, step / 4 * 3 + i);
    if (step % 4 < 3)
        return w[step % 4] & 0x3f3f3f3f;
    return (w[0] >> 6 & 0x03030303) | (w[1] >> 4 & 0x0c0c0c0c) | (w[2] >> 2 & 0x30303030);
}

/* Every code alone: it comes out in its byte of its step and lane, and nowhere else. */
static void test_unpacked_by_mask_and_shift(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++) {
        fbq_layout l = layout_of(format_of(bits, 128, FBQ_ZERO_F16), fbq_shape_of(16, 128, 0));
        for (int row = 0; row < 16; row++)
            for (int64_t k = 0; k < 128; k++) {
                const uint32_t q = (uint32_t)(row * 7 + k * 3) % ((1u << bits) - 1) + 1;
                const int c = (int)(k % 64), odd = c & 1, high = c >> 1 & 1;
                const int lane = (row & 7) * 4 + (c >> 3 & 3);
                const int step = (int)(k / 64) * 4 + 2 * (c >> 5) + (c >> 2 & 1);
                uint8_t span[1024] = {0};
                int64_t bit[4];
                fbq_code_position(&l, row, k, bit, NULL);
                for (int b = 0; b < bits; b++)
                    span[bit[b] / 8] |= (uint8_t)((q >> b & 1) << bit[b] % 8);
                for (int i = 0; i < 32; i++)
                    for (int j = 0; j < 8; j++)
                        assert_int_equal(step_of(span, bits, i, j),
                                         i == lane && j == step
                                             ? q << bits * (row >> 3) << 8 * (2 * odd + high)
                                             : 0);
            }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_known_sizes),
                                       cmocka_unit_test(test_refused_layouts),
                                       cmocka_unit_test(test_header_round_trip),
                                       cmocka_unit_test(test_every_damaged_bit),
                                       cmocka_unit_test(test_named_damage),
                                       cmocka_unit_test(test_codes_fill_their_bytes),
                                       cmocka_unit_test(test_places_are_stable),
                                       cmocka_unit_test(test_documented_4_bits),
                                       cmocka_unit_test(test_unpacked_by_mask_and_shift)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
