/* fbq/host/pack.h: codes, scales and zero points into packed weights, and back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_PACK_H
#define FBQ_HOST_PACK_H

#include "error.h"
#include "half.h"
#include "layout.h"

/* All places of a span, so that the arithmetic of a place is not repeated for every code. */
typedef struct fbq__span_places {
    fbq__place at[FBQ_TILE][2 * FBQ_CHUNK];
} fbq__span_places;

static fbq_status fbq__places_make(int bits, fbq__span_places **out, fbq_error *error)
{
    fbq__span_places *places = (fbq__span_places *)FBQ_MALLOC(sizeof *places);
    if (!places)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed",
                         sizeof *places);
    for (int row = 0; row < FBQ_TILE; row++)
        for (int k = 0; k < fbq__span_chunks(bits) * FBQ_CHUNK; k++)
            places->at[row][k] = fbq__place_of(bits, k / FBQ_CHUNK, row, k % FBQ_CHUNK);
    *out = places;
    return FBQ_OK;
}

static void fbq__word_store(uint8_t *at, uint32_t word)
{
    for (int b = 0; b < 4; b++)
        at[b] = (uint8_t)(word >> 8 * b);
}

static uint32_t fbq__word_load(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static void fbq__code_put(uint32_t *span, fbq__place p, int bits, uint32_t q)
{
    if (p.complemented)
        q = (1u << bits) - 1 - q;
    for (int b = 0; b < bits; b++)
        span[p.bit[b] >> 5] |= (q >> b & 1u) << (p.bit[b] & 31);
}

static uint32_t fbq__code_get(const uint32_t *span, fbq__place p, int bits)
{
    uint32_t q = 0;
    for (int b = 0; b < bits; b++)
        q |= (span[p.bit[b] >> 5] >> (p.bit[b] & 31) & 1u) << b;
    return p.complemented ? (1u << bits) - 1 - q : q;
}

/* Words of the largest span: 3 bits, 2 chunks, 32 lanes. */
#define FBQ__SPAN_WORDS (2 * 3 * 32)

static void fbq__half_store(uint8_t *at, uint16_t word)
{
    at[0] = (uint8_t)word;
    at[1] = (uint8_t)(word >> 8);
}

static uint16_t fbq__half_load(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

/* Logical rows of a tile: the first one among all N, and how many there are. */
static int fbq__tile_rows(const fbq_layout *l, int64_t tile, int64_t *first_row)
{
    int64_t row = 0;
    int s = 0;
    while (tile >= l->tile_first[s + 1])
        row += l->shape.segment[s++].n;
    tile -= l->tile_first[s];
    *first_row = row + tile * FBQ_TILE;
    return (int)(l->shape.segment[s].n - tile * FBQ_TILE < FBQ_TILE
                     ? l->shape.segment[s].n - tile * FBQ_TILE
                     : FBQ_TILE);
}

static fbq_status fbq__layout_check(const fbq_layout *layout, fbq_error *error)
{
    fbq_layout again;
    FBQ__TRY(fbq_layout_of(&layout->format, &layout->shape, &again, error));
    /* from n on there are only 64-bit numbers, so no padding is compared */
    if (again.format.factor_type != layout->format.factor_type ||
        memcmp(&again.n, &layout->n, sizeof again - offsetof(fbq_layout, n)))
        return fbq__fail(error, FBQ_ERR_SIZE, 0,
                         "layout's sizes disagree with its format and shape: fill it by "
                         "fbq_layout_of and leave it as it is");
    return FBQ_OK;
}

static fbq_status fbq__bytes_check(const char *what, size_t bytes, size_t need, fbq_error *error)
{
    if (bytes < need)
        return fbq__fail(error, FBQ_ERR_BUFFER, 0,
                         "%s: `packed` has %zu bytes; the layout wants %zu", what, bytes, need);
    return FBQ_OK;
}

fbq_status fbq_pack_weights(const fbq_layout *layout, const uint8_t *codes, const uint16_t *scales,
                            const void *zeros, void *packed, size_t bytes, fbq_error *error)
{
    fbq__span_places *places;
    fbq_status status = FBQ_OK;
    FBQ__NOT_NULL(layout, error);
    FBQ__NOT_NULL(codes, error);
    FBQ__NOT_NULL(scales, error);
    FBQ__NOT_NULL(packed, error);
    FBQ__TRY(fbq__layout_check(layout, error));
    FBQ__TRY(fbq__bytes_check("fbq_pack_weights", bytes, layout->weights_bytes, error));
    if ((zeros == NULL) != (layout->format.zero == FBQ_ZERO_NONE))
        return fbq__fail(error, FBQ_ERR_NULL, 0,
                         "zeros is %s although format.zero is %d: give zero points exactly when "
                         "the format stores them",
                         zeros ? "given" : "NULL", (int)layout->format.zero);
    FBQ__TRY(fbq__places_make(layout->format.bits, &places, error));

    const int bits = layout->format.bits, chunks = fbq__span_chunks(bits);
    const int64_t k_total = layout->shape.k, groups = layout->groups;
    memset(packed, 0, layout->weights_bytes);
    fbq__header_write(layout, FBQ_PART_WEIGHTS, packed);
    for (int64_t tile = 0; tile < layout->tiles && status == FBQ_OK; tile++) {
        uint8_t *record = (uint8_t *)packed + FBQ_HEADER_BYTES + tile * layout->record_bytes;
        int64_t first_row;
        int rows = fbq__tile_rows(layout, tile, &first_row);
        for (int64_t chunk = 0; chunk < layout->chunks && status == FBQ_OK; chunk += chunks) {
            uint32_t span[FBQ__SPAN_WORDS] = {0};
            uint8_t *at = record + chunk * FBQ_CHUNK * FBQ_TILE * bits / 8;
            for (int row = 0; row < FBQ_TILE; row++)
                for (int i = 0; i < chunks * FBQ_CHUNK; i++) {
                    int64_t k = chunk * FBQ_CHUNK + i;
                    uint32_t q = 0;
                    if (row < rows && k < k_total)
                        q = codes[(first_row + row) * k_total + k];
                    if (q >> bits) {
                        status = fbq__fail(
                            error, FBQ_ERR_CODE, 0, "codes[%lld][%lld] is %u; expected below %u",
                            (long long)(first_row + row), (long long)k, q, 1u << bits);
                        q = 0;
                    }
                    fbq__code_put(span, places->at[row][i], bits, q);
                }
            for (int w = 0; w < chunks * bits * 32; w++)
                fbq__word_store(at + 4 * w, span[w]);
        }
        for (int row = 0; row < rows && status == FBQ_OK; row++)
            for (int64_t g = 0; g < groups; g++) {
                int64_t from = (first_row + row) * groups + g;
                fbq__half_store(record + fbq__scale_offset(layout, g, row), scales[from]);
                if (layout->format.zero == FBQ_ZERO_F16)
                    fbq__half_store(record + fbq__zero_f16_offset(layout, g, row),
                                    ((const uint16_t *)zeros)[from]);
                if (layout->format.zero == FBQ_ZERO_CODE) {
                    unsigned z = ((const uint8_t *)zeros)[from];
                    if (z >> bits)
                        status = fbq__fail(
                            error, FBQ_ERR_CODE, 0, "zeros[%lld][%lld] is %u; expected below %u",
                            (long long)(first_row + row), (long long)g, z, 1u << bits);
                    else
                        record[fbq__zero_code_offset(layout, g, row)] |=
                            (uint8_t)(z << (row >> 3) * 4);
                }
            }
    }
    FBQ_FREE(places);
    return status;
}

static fbq_status fbq__part_open(const void *packed, size_t bytes, fbq_part want, const char *name,
                                 fbq_layout *layout, fbq_error *error)
{
    fbq_part part;
    FBQ__TRY(fbq_layout_read(packed, bytes, &part, layout, error));
    if (part != want)
        return fbq__fail(error, FBQ_ERR_PACKED, 0, "%s is packed part %d; expected part %d", name,
                         (int)part, (int)want);
    return FBQ_OK;
}

fbq_status fbq_unpack_weights(const void *packed, size_t bytes, uint8_t *codes, uint16_t *scales,
                              void *zeros, fbq_error *error)
{
    fbq_layout l;
    fbq__span_places *places;
    FBQ__TRY(fbq__part_open(packed, bytes, FBQ_PART_WEIGHTS, "packed", &l, error));
    FBQ__TRY(fbq__places_make(l.format.bits, &places, error));
    const int bits = l.format.bits, chunks = fbq__span_chunks(bits);
    for (int64_t tile = 0; tile < l.tiles; tile++) {
        const uint8_t *record = (const uint8_t *)packed + FBQ_HEADER_BYTES + tile * l.record_bytes;
        int64_t first_row;
        int rows = fbq__tile_rows(&l, tile, &first_row);
        for (int64_t chunk = 0; codes && chunk < l.chunks; chunk += chunks) {
            uint32_t span[FBQ__SPAN_WORDS];
            const uint8_t *at = record + chunk * FBQ_CHUNK * FBQ_TILE * bits / 8;
            for (int w = 0; w < chunks * bits * 32; w++)
                span[w] = fbq__word_load(at + 4 * w);
            for (int row = 0; row < rows; row++)
                for (int i = 0; i < chunks * FBQ_CHUNK; i++) {
                    int64_t k = chunk * FBQ_CHUNK + i;
                    if (k < l.shape.k)
                        codes[(first_row + row) * l.shape.k + k] =
                            (uint8_t)fbq__code_get(span, places->at[row][i], bits);
                }
        }
        for (int row = 0; row < rows; row++)
            for (int64_t g = 0; g < l.groups; g++) {
                int64_t to = (first_row + row) * l.groups + g;
                if (scales)
                    scales[to] = fbq__half_load(record + fbq__scale_offset(&l, g, row));
                if (zeros && l.format.zero == FBQ_ZERO_F16)
                    ((uint16_t *)zeros)[to] =
                        fbq__half_load(record + fbq__zero_f16_offset(&l, g, row));
                if (zeros && l.format.zero == FBQ_ZERO_CODE)
                    ((uint8_t *)zeros)[to] =
                        record[fbq__zero_code_offset(&l, g, row)] >> (row >> 3) * 4 & 15;
            }
    }
    FBQ_FREE(places);
    return FBQ_OK;
}

#endif /* FBQ_HOST_PACK_H */
