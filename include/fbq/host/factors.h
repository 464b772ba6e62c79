/* fbq/host/factors.h: A and B into their packed parts, and back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_FACTORS_H
#define FBQ_HOST_FACTORS_H

#include "posix.h"

#include <math.h>

#include "pack.h"

static fbq_status fbq__branch_check(const fbq_layout *layout, fbq_error *error)
{
    FBQ__TRY(fbq__layout_check(layout, error));
    if (layout->rank_tiles == 0)
        return fbq__fail(error, FBQ_ERR_RANK, 0,
                         "every segment's r is 0; expected a rank above 0: a layer without a "
                         "sub-branch has no factors to pack");
    return FBQ_OK;
}

/* A logical row of A, of all segments stacked, or of B. */
typedef struct fbq__factor_row {
    const fbq_layout *layout;
    fbq_part part;
    int64_t count; /* numbers in it */
    int64_t first; /* A: its tile; B: the first block of its tile */
    int64_t scale; /* its place among the part's scales */
    int row;       /* in the tile */
} fbq__factor_row;

static int64_t fbq__factor_rows(const fbq_layout *l, fbq_part part)
{
    int64_t rows = 0;
    for (int s = 0; s < l->shape.segments; s++)
        rows += part == FBQ_PART_DOWN ? l->shape.segment[s].r : l->shape.segment[s].n;
    return rows;
}

static fbq__factor_row fbq__factor_row_of(const fbq_layout *l, fbq_part part, int64_t at)
{
    const int down = part == FBQ_PART_DOWN;
    fbq__factor_row r;
    int64_t tile;
    int s = 0;
    for (;; s++) {
        const int64_t rows = down ? l->shape.segment[s].r : l->shape.segment[s].n;
        if (at < rows)
            break;
        at -= rows;
    }
    tile = (down ? l->rank_first[s] : l->tile_first[s]) + at / FBQ_TILE;
    r.layout = l;
    r.part = part;
    r.count = down ? l->shape.k : l->shape.segment[s].r;
    r.first =
        down ? tile : l->up_first[s] + at / FBQ_TILE * (l->rank_first[s + 1] - l->rank_first[s]);
    r.row = (int)(at % FBQ_TILE);
    r.scale = tile * FBQ_TILE + r.row;
    return r;
}

/* Where number i of a row stands among the part's numbers. */
static int64_t fbq__factor_index(const fbq__factor_row *r, int64_t i)
{
    return r->part == FBQ_PART_DOWN
               ? fbq__down_index(r->layout, r->first, r->row, i)
               : fbq__up_index(r->first + i / FBQ_TILE, r->row, (int)(i % FBQ_TILE));
}

/* int8 numbers are stored as q + 128; where there is none, 128. */
static float fbq__i8_scale(const fbq__factor_row *r, const uint8_t *packed)
{
    const fbq_layout *l = r->layout;
    const size_t scales = r->part == FBQ_PART_DOWN ? l->down_scales : l->up_scales;
    const uint32_t word = fbq__word_load(packed + scales + (size_t)r->scale * 4);
    float scale;
    memcpy(&scale, &word, sizeof scale);
    return scale;
}

/* A row of a packed part as floats: exactly the numbers that run. */
static void fbq__factor_floats(const fbq__factor_row *r, const uint8_t *packed, float *to)
{
    const fbq_type type = r->layout->format.factor_type;
    const uint8_t *blocks = packed + FBQ_HEADER_BYTES;
    const float scale = type == FBQ_I8 ? fbq__i8_scale(r, packed) : 1;
    for (int64_t i = 0; i < r->count; i++) {
        const int64_t at = fbq__factor_index(r, i);
        to[i] = type == FBQ_I8 ? scale * (float)(blocks[at] - 128)
                               : fbq_f32_of_word(type, fbq__half_load(blocks + 2 * at));
    }
}

static fbq_status fbq__factor_stride_check(const fbq_layout *l, fbq_part part, int64_t stride,
                                           fbq_error *error)
{
    for (int s = 0; part == FBQ_PART_UP && s < l->shape.segments; s++)
        if (stride < l->shape.segment[s].r)
            return fbq__fail(error, FBQ_ERR_RANK, 0,
                             "stride is %lld; segment %d has rank %lld: expected at least that",
                             (long long)stride, s, (long long)l->shape.segment[s].r);
    return FBQ_OK;
}

/* What packing a factor begins with: checks, and a part that is empty but for its header. */
static fbq_status fbq__factor_check(const char *call, const fbq_layout *layout, fbq_part part,
                                    int64_t stride, int i8, const void *packed, size_t bytes,
                                    fbq_error *error)
{
    const int down = part == FBQ_PART_DOWN;
    FBQ__NOT_NULL(layout, error);
    FBQ__NOT_NULL(packed, error);
    FBQ__TRY(fbq__branch_check(layout, error));
    if ((layout->format.factor_type == FBQ_I8) != i8)
        return fbq__fail(
            error, FBQ_ERR_FORMAT, 0,
            "layout->format.factor_type is %d, for which %s is not: call fbq_pack_%s%s",
            (int)layout->format.factor_type, call, down ? "down" : "up", i8 ? "" : "_i8");
    FBQ__TRY(fbq__factor_stride_check(layout, part, stride, error));
    return fbq__bytes_check(call, bytes, down ? layout->down_bytes : layout->up_bytes, error);
}

static void fbq__factor_begin(const fbq_layout *layout, fbq_part part, uint8_t *packed)
{
    const int down = part == FBQ_PART_DOWN;
    const size_t scales = down ? layout->down_scales : layout->up_scales;
    memset(packed, 0, down ? layout->down_bytes : layout->up_bytes);
    if (scales)
        memset(packed + FBQ_HEADER_BYTES, 128, scales - FBQ_HEADER_BYTES);
    fbq__header_write(layout, part, packed);
}

/* ---- 16 bits ---- */

static void fbq__factor_pack(const fbq_layout *l, fbq_part part, const uint16_t *words,
                             int64_t stride, uint8_t *packed)
{
    fbq__factor_begin(l, part, packed);
    for (int64_t at = 0, rows = fbq__factor_rows(l, part); at < rows; at++) {
        const fbq__factor_row r = fbq__factor_row_of(l, part, at);
        for (int64_t i = 0; i < r.count; i++)
            fbq__half_store(packed + FBQ_HEADER_BYTES + 2 * fbq__factor_index(&r, i),
                            words[at * stride + i]);
    }
}

static fbq_status fbq__factor_unpack(const void *packed, size_t bytes, fbq_part part,
                                     uint16_t *words, int64_t stride, fbq_error *error)
{
    fbq_layout l;
    FBQ__TRY(fbq__part_open(packed, bytes, part, "packed", &l, error));
    if (l.format.factor_type == FBQ_I8)
        return fbq__fail(error, FBQ_ERR_FORMAT, 0,
                         "the packed factor is of type FBQ_I8, which has no 16-bit words: call "
                         "fbq_unpack_%s_f32",
                         part == FBQ_PART_DOWN ? "down" : "up");
    if (part == FBQ_PART_DOWN)
        stride = l.shape.k;
    FBQ__TRY(fbq__factor_stride_check(&l, part, stride, error));
    for (int64_t at = 0, rows = fbq__factor_rows(&l, part); at < rows; at++) {
        const fbq__factor_row r = fbq__factor_row_of(&l, part, at);
        for (int64_t i = 0; i < r.count; i++)
            words[at * stride + i] = fbq__half_load((const uint8_t *)packed + FBQ_HEADER_BYTES +
                                                    2 * fbq__factor_index(&r, i));
    }
    return FBQ_OK;
}

fbq_status fbq_pack_down(const fbq_layout *layout, const uint16_t *a, void *packed, size_t bytes,
                         fbq_error *error)
{
    FBQ__NOT_NULL(a, error);
    FBQ__TRY(fbq__factor_check("fbq_pack_down", layout, FBQ_PART_DOWN, 0, 0, packed, bytes, error));
    fbq__factor_pack(layout, FBQ_PART_DOWN, a, layout->shape.k, (uint8_t *)packed);
    return FBQ_OK;
}

fbq_status fbq_unpack_down(const void *packed, size_t bytes, uint16_t *a, fbq_error *error)
{
    FBQ__NOT_NULL(a, error);
    return fbq__factor_unpack(packed, bytes, FBQ_PART_DOWN, a, 0, error);
}

fbq_status fbq_pack_up(const fbq_layout *layout, const uint16_t *b, int64_t stride, void *packed,
                       size_t bytes, fbq_error *error)
{
    FBQ__NOT_NULL(b, error);
    FBQ__TRY(
        fbq__factor_check("fbq_pack_up", layout, FBQ_PART_UP, stride, 0, packed, bytes, error));
    fbq__factor_pack(layout, FBQ_PART_UP, b, stride, (uint8_t *)packed);
    return FBQ_OK;
}

fbq_status fbq_unpack_up(const void *packed, size_t bytes, uint16_t *b, int64_t stride,
                         fbq_error *error)
{
    FBQ__NOT_NULL(b, error);
    return fbq__factor_unpack(packed, bytes, FBQ_PART_UP, b, stride, error);
}

/* ---- int8 ---- */

/* The scale of a row: its largest magnitude is 127 of them, rounded up to 16 bits of mantissa, so
 * that a scale times a code has no more than fp32's 24; never a subnormal number. */
static float fbq__i8_scale_for(float most)
{
    const float wanted = most / 127, least = 0x1p-126f;
    uint32_t bits;
    float scale = wanted >= least ? wanted : most > least / 2 ? least : 0;
    memcpy(&bits, &scale, sizeof bits);
    bits = (bits + 0xff) & ~(uint32_t)0xff;
    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

static fbq_status fbq__i8_row_check(const fbq__factor_row *r, const float *from, int64_t at,
                                    fbq_error *error)
{
    for (int64_t i = 0; i < r->count; i++)
        if (!isfinite(from[i]))
            return fbq__fail(
                error, FBQ_ERR_CODE, 0, "%s[%lld][%lld] is %g; expected a finite number",
                r->part == FBQ_PART_DOWN ? "a" : "b", (long long)at, (long long)i, (double)from[i]);
    return FBQ_OK;
}

static void fbq__i8_row_pack(const fbq__factor_row *r, const float *from, uint8_t *packed)
{
    const fbq_layout *l = r->layout;
    const size_t scales = r->part == FBQ_PART_DOWN ? l->down_scales : l->up_scales;
    float most = 0, scale;
    uint32_t bits;
    for (int64_t i = 0; i < r->count; i++)
        most = fabsf(from[i]) > most ? fabsf(from[i]) : most;
    scale = fbq__i8_scale_for(most);
    memcpy(&bits, &scale, sizeof bits);
    fbq__word_store(packed + scales + (size_t)r->scale * 4, bits);
    for (int64_t i = 0; scale > 0 && i < r->count; i++) {
        const float q = from[i] / scale; /* rounded without libm */
        packed[FBQ_HEADER_BYTES + fbq__factor_index(r, i)] =
            (uint8_t)(128 + (int)(q < 0 ? q - 0.5f : q + 0.5f));
    }
}

static fbq_status fbq__i8_pack(const fbq_layout *l, fbq_part part, const float *from,
                               int64_t stride, uint8_t *packed, float *used, fbq_error *error)
{
    const int64_t rows = fbq__factor_rows(l, part);
    for (int64_t at = 0; at < rows; at++) {
        const fbq__factor_row r = fbq__factor_row_of(l, part, at);
        FBQ__TRY(fbq__i8_row_check(&r, from + at * stride, at, error));
    }
    fbq__factor_begin(l, part, packed);
    for (int64_t at = 0; at < rows; at++) {
        const fbq__factor_row r = fbq__factor_row_of(l, part, at);
        fbq__i8_row_pack(&r, from + at * stride, packed);
        if (used)
            fbq__factor_floats(&r, packed, used + at * stride);
    }
    return FBQ_OK;
}

static fbq_status fbq__factor_unpack_floats(const void *packed, size_t bytes, fbq_part part,
                                            float *to, int64_t stride, fbq_error *error)
{
    fbq_layout l;
    FBQ__TRY(fbq__part_open(packed, bytes, part, "packed", &l, error));
    if (part == FBQ_PART_DOWN)
        stride = l.shape.k;
    FBQ__TRY(fbq__factor_stride_check(&l, part, stride, error));
    for (int64_t at = 0, rows = fbq__factor_rows(&l, part); at < rows; at++) {
        const fbq__factor_row r = fbq__factor_row_of(&l, part, at);
        fbq__factor_floats(&r, (const uint8_t *)packed, to + at * stride);
    }
    return FBQ_OK;
}

fbq_status fbq_pack_down_i8(const fbq_layout *layout, const float *a, void *packed, size_t bytes,
                            float *used, fbq_error *error)
{
    FBQ__NOT_NULL(a, error);
    FBQ__TRY(
        fbq__factor_check("fbq_pack_down_i8", layout, FBQ_PART_DOWN, 0, 1, packed, bytes, error));
    return fbq__i8_pack(layout, FBQ_PART_DOWN, a, layout->shape.k, (uint8_t *)packed, used, error);
}

fbq_status fbq_pack_up_i8(const fbq_layout *layout, const float *b, int64_t stride, void *packed,
                          size_t bytes, float *used, fbq_error *error)
{
    FBQ__NOT_NULL(b, error);
    FBQ__TRY(
        fbq__factor_check("fbq_pack_up_i8", layout, FBQ_PART_UP, stride, 1, packed, bytes, error));
    return fbq__i8_pack(layout, FBQ_PART_UP, b, stride, (uint8_t *)packed, used, error);
}

fbq_status fbq_unpack_down_f32(const void *packed, size_t bytes, float *a, fbq_error *error)
{
    FBQ__NOT_NULL(a, error);
    return fbq__factor_unpack_floats(packed, bytes, FBQ_PART_DOWN, a, 0, error);
}

fbq_status fbq_unpack_up_f32(const void *packed, size_t bytes, float *b, int64_t stride,
                             fbq_error *error)
{
    FBQ__NOT_NULL(b, error);
    return fbq__factor_unpack_floats(packed, bytes, FBQ_PART_UP, b, stride, error);
}

#endif /* FBQ_HOST_FACTORS_H */
