/* fbq/host/layout.h: the packed layout, as arithmetic (docs/layout.md draws it).
 *
 * A weight tile is 16 rows by all of K, in one record. Along K it is cut into chunks of 64 codes,
 * the unit of a warp: four tensor-core steps (j = 0 .. 3) of 16 rows x 16 codes. The lane that
 * holds a code, and the register of the step's A operand it ends up in, follow from row and k:
 *
 *     k in the chunk = 32 h + 8 t + 4 i + 2 high + odd      j = 2 h + i
 *     row            = 8 below + g                          lane = 4 g + t
 *     operand register = 2 high + below, half = odd
 *
 * so that lane t reads eight consecutive x for two steps, and a group of 32 is two whole steps.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_LAYOUT_H
#define FBQ_HOST_LAYOUT_H

#include "error.h"

/* Largest sizes served: every product of two padded sizes stays far inside int64_t, and every index
 * of a kernel inside int32_t. */
#define FBQ__MAX_N ((int64_t)1 << 24)
#define FBQ__MAX_K ((int64_t)1 << 20)
#define FBQ__MAX_RANK ((int64_t)1 << 12)

/* The packed header: little-endian words at the start of each part, the rest of FBQ_HEADER_BYTES 0.
 */
#define FBQ__MAGIC 0x51424631u /* "1FBQ" in memory */
enum fbq__header_word {
    FBQ__WORD_MAGIC,
    FBQ__WORD_VERSION,
    FBQ__WORD_PART,
    FBQ__WORD_CODE_KIND, /* 0: unsigned integers; room for e2m1 and its like */
    FBQ__WORD_BITS,
    FBQ__WORD_GROUP,
    FBQ__WORD_ZERO,
    FBQ__WORD_SCALE_TYPE,
    FBQ__WORD_FACTOR_TYPE,
    FBQ__WORD_K,
    FBQ__WORD_SEGMENTS,
    FBQ__WORD_SEGMENT, /* n and r of each segment */
    FBQ__WORD_PADDED_N = FBQ__WORD_SEGMENT + 2 * FBQ_MAX_SEGMENTS,
    FBQ__WORD_PADDED_K,
    FBQ__WORD_RECORD_BYTES,
    FBQ__WORDS
};

static int64_t fbq__ceil(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Chunks are stored in spans whose lanes read vectors of 8 or 16 bytes: 1 chunk of 4 bits, 2 of 2
 * or 3 bits. Rows end with a whole span. */
static int fbq__span_chunks(int bits)
{
    return bits == 4 ? 1 : 2;
}

/* Bytes of a number of A or B. */
static int64_t fbq__factor_bytes(fbq_type type)
{
    return type == FBQ_I8 ? 1 : 2;
}

static fbq_status fbq__format_check(const fbq_format *format, int has_branch, fbq_error *error)
{
    if (format->bits < 2 || format->bits > 4)
        return fbq__fail(error, FBQ_ERR_FORMAT, 0, "format.bits is %d; expected 2, 3 or 4",
                         format->bits);
    switch (format->group) {
    case 32:
    case 64:
    case 128:
    case 256:
    case FBQ_GROUP_ROW:
        break;
    default:
        return fbq__fail(error, FBQ_ERR_GROUP, 0,
                         "format.group is %d; expected 32, 64, 128, 256 or FBQ_GROUP_ROW",
                         format->group);
    }
    if ((int)format->zero < FBQ_ZERO_NONE || (int)format->zero > FBQ_ZERO_F16)
        return fbq__fail(error, FBQ_ERR_FORMAT, 0,
                         "format.zero is %d; expected FBQ_ZERO_NONE, _CODE or _F16",
                         (int)format->zero);
    if (format->scale_type != FBQ_F16 && format->scale_type != FBQ_BF16)
        return fbq__fail(error, FBQ_ERR_FORMAT, 0,
                         "format.scale_type is %d; expected FBQ_F16 or FBQ_BF16",
                         (int)format->scale_type);
    if (has_branch && format->factor_type != FBQ_F16 && format->factor_type != FBQ_BF16 &&
        format->factor_type != FBQ_I8)
        return fbq__fail(error, FBQ_ERR_FORMAT, 0,
                         "format.factor_type is %d; expected FBQ_F16, FBQ_BF16 or FBQ_I8",
                         (int)format->factor_type);
    return FBQ_OK;
}

fbq_status fbq_layout_of(const fbq_format *format, const fbq_shape *shape, fbq_layout *layout,
                         fbq_error *error)
{
    fbq_layout l;
    int64_t total_rank = 0, span;
    memset(&l, 0, sizeof l);
    FBQ__NOT_NULL(format, error);
    FBQ__NOT_NULL(shape, error);
    FBQ__NOT_NULL(layout, error);
    if (shape->k < 1 || shape->k > FBQ__MAX_K)
        return fbq__fail(error, FBQ_ERR_SIZE, 0, "shape.k is %lld; expected 1 .. %lld",
                         (long long)shape->k, (long long)FBQ__MAX_K);
    if (shape->segments < 1 || shape->segments > FBQ_MAX_SEGMENTS)
        return fbq__fail(error, FBQ_ERR_SIZE, 0, "shape.segments is %d; expected 1 .. %d",
                         shape->segments, FBQ_MAX_SEGMENTS);
    for (int i = 0; i < shape->segments; i++) {
        int64_t n = shape->segment[i].n, r = shape->segment[i].r;
        if (n < 1 || n > FBQ__MAX_N)
            return fbq__fail(error, FBQ_ERR_SIZE, 0,
                             "shape.segment[%d].n is %lld; expected 1 .. %lld", i, (long long)n,
                             (long long)FBQ__MAX_N);
        if (r < 0 || r > FBQ__MAX_RANK)
            return fbq__fail(error, FBQ_ERR_RANK, 0,
                             "shape.segment[%d].r is %lld; expected 0 .. %lld", i, (long long)r,
                             (long long)FBQ__MAX_RANK);
        l.shape.segment[i] = shape->segment[i];
        l.n += n;
        total_rank += r;
        l.tile_first[i + 1] = l.tile_first[i] + fbq__ceil(n, FBQ_TILE);
        l.rank_first[i + 1] = l.rank_first[i] + fbq__ceil(r, FBQ_TILE);
        l.up_first[i + 1] = l.up_first[i] + fbq__ceil(n, FBQ_TILE) * fbq__ceil(r, FBQ_TILE);
    }
    if (l.n > FBQ__MAX_N)
        return fbq__fail(error, FBQ_ERR_SIZE, 0,
                         "the segments' n sum to %lld; expected at most %lld", (long long)l.n,
                         (long long)FBQ__MAX_N);
    FBQ__TRY(fbq__format_check(format, total_rank > 0, error));

    l.format = *format;
    l.shape.k = shape->k;
    l.shape.segments = shape->segments;
    l.tiles = l.tile_first[shape->segments];
    l.rank_tiles = l.rank_first[shape->segments];
    l.chunks = fbq__ceil(shape->k, FBQ_CHUNK);
    l.group_size = format->group == FBQ_GROUP_ROW ? shape->k : format->group;
    l.groups = fbq__ceil(shape->k, l.group_size);
    /* A warp takes whole chunks, so scales exist for every group that a padded chunk touches. */
    l.groups_padded =
        format->group == FBQ_GROUP_ROW ? 1 : fbq__ceil(l.chunks * FBQ_CHUNK, l.group_size);
    span = fbq__span_chunks(format->bits);
    l.codes_bytes = fbq__ceil(l.chunks, span) * span * FBQ_CHUNK * FBQ_TILE * format->bits / 8;
    l.scales_bytes = l.groups_padded * FBQ_TILE * (format->zero == FBQ_ZERO_F16 ? 4 : 2);
    l.zeros_bytes = format->zero == FBQ_ZERO_CODE ? l.groups_padded * FBQ_TILE / 2 : 0;
    l.record_bytes =
        fbq__ceil(l.codes_bytes + l.scales_bytes + l.zeros_bytes, FBQ_ALIGN) * FBQ_ALIGN;
    l.weights_bytes = FBQ_HEADER_BYTES + (size_t)(l.tiles * l.record_bytes);
    if (l.rank_tiles > 0) {
        const int64_t bytes = fbq__factor_bytes(format->factor_type), row = FBQ_TILE * 4;
        l.down_bytes =
            FBQ_HEADER_BYTES + (size_t)(l.rank_tiles * l.chunks * FBQ_CHUNK * FBQ_TILE * bytes);
        l.up_bytes =
            FBQ_HEADER_BYTES + (size_t)(l.up_first[shape->segments] * FBQ_TILE * FBQ_TILE * bytes);
        if (format->factor_type == FBQ_I8) {
            l.down_scales = l.down_bytes;
            l.up_scales = l.up_bytes;
            l.down_bytes += (size_t)(l.rank_tiles * row);
            l.up_bytes += (size_t)(l.tiles * row);
        }
    } else {
        l.format.factor_type =
            FBQ_F16; /* not used; one value, so that equal layers compare equal */
    }
    *layout = l;
    return FBQ_OK;
}

/* ---- The header ---- */

static void fbq__header_write(const fbq_layout *l, fbq_part part, void *packed)
{
    uint32_t word[FBQ__WORDS] = {0};
    word[FBQ__WORD_MAGIC] = FBQ__MAGIC;
    word[FBQ__WORD_VERSION] = FBQ_LAYOUT_VERSION;
    word[FBQ__WORD_PART] = (uint32_t)part;
    word[FBQ__WORD_BITS] = (uint32_t)l->format.bits;
    word[FBQ__WORD_GROUP] = (uint32_t)l->format.group;
    word[FBQ__WORD_ZERO] = (uint32_t)l->format.zero;
    word[FBQ__WORD_SCALE_TYPE] = (uint32_t)l->format.scale_type;
    word[FBQ__WORD_FACTOR_TYPE] = (uint32_t)l->format.factor_type;
    word[FBQ__WORD_K] = (uint32_t)l->shape.k;
    word[FBQ__WORD_SEGMENTS] = (uint32_t)l->shape.segments;
    for (int i = 0; i < l->shape.segments; i++) {
        word[FBQ__WORD_SEGMENT + 2 * i] = (uint32_t)l->shape.segment[i].n;
        word[FBQ__WORD_SEGMENT + 2 * i + 1] = (uint32_t)l->shape.segment[i].r;
    }
    word[FBQ__WORD_PADDED_N] = (uint32_t)(l->tiles * FBQ_TILE);
    word[FBQ__WORD_PADDED_K] = (uint32_t)(l->chunks * FBQ_CHUNK);
    word[FBQ__WORD_RECORD_BYTES] = (uint32_t)l->record_bytes;
    memset(packed, 0, FBQ_HEADER_BYTES);
    for (int i = 0; i < FBQ__WORDS; i++) {
        uint8_t *bytes = (uint8_t *)packed + 4 * i;
        for (int b = 0; b < 4; b++)
            bytes[b] = (uint8_t)(word[i] >> 8 * b);
    }
}

fbq_status fbq_layout_read(const void *packed, size_t bytes, fbq_part *part, fbq_layout *layout,
                           fbq_error *error)
{
    uint32_t word[FBQ__WORDS];
    fbq_format format;
    fbq_shape shape;
    fbq_layout l;
    uint8_t again[FBQ_HEADER_BYTES];
    size_t need;
    FBQ__NOT_NULL(packed, error);
    FBQ__NOT_NULL(layout, error);
    if (bytes < FBQ_HEADER_BYTES)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed part has %zu bytes; its header alone has %d", bytes,
                         FBQ_HEADER_BYTES);
    for (int i = 0; i < FBQ__WORDS; i++) {
        const uint8_t *b = (const uint8_t *)packed + 4 * i;
        word[i] = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    }
    if (word[FBQ__WORD_MAGIC] != FBQ__MAGIC)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed part begins with 0x%08x; expected 0x%08x: not made by fbq_pack_*",
                         word[FBQ__WORD_MAGIC], FBQ__MAGIC);
    if (word[FBQ__WORD_VERSION] != FBQ_LAYOUT_VERSION)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed part has layout version %u; this library reads %d: pack it again",
                         word[FBQ__WORD_VERSION], FBQ_LAYOUT_VERSION);
    if (word[FBQ__WORD_PART] < FBQ_PART_WEIGHTS || word[FBQ__WORD_PART] > FBQ_PART_UP ||
        word[FBQ__WORD_CODE_KIND] != 0 || word[FBQ__WORD_SEGMENTS] > FBQ_MAX_SEGMENTS)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed header names part %u, code kind %u, %u segments: damaged",
                         word[FBQ__WORD_PART], word[FBQ__WORD_CODE_KIND], word[FBQ__WORD_SEGMENTS]);
    memset(&shape, 0, sizeof shape);
    format.bits = (int)word[FBQ__WORD_BITS];
    format.group = (int)word[FBQ__WORD_GROUP];
    format.zero = (fbq_zero)word[FBQ__WORD_ZERO];
    format.scale_type = (fbq_type)word[FBQ__WORD_SCALE_TYPE];
    format.factor_type = (fbq_type)word[FBQ__WORD_FACTOR_TYPE];
    shape.k = word[FBQ__WORD_K];
    shape.segments = (int)word[FBQ__WORD_SEGMENTS];
    for (int i = 0; i < shape.segments; i++) {
        shape.segment[i].n = word[FBQ__WORD_SEGMENT + 2 * i];
        shape.segment[i].r = word[FBQ__WORD_SEGMENT + 2 * i + 1];
    }
    if (fbq_layout_of(&format, &shape, &l, error) != FBQ_OK) {
        char why[256] = "";
        if (error)
            snprintf(why, sizeof why, "%.200s", error->detail);
        return fbq__fail(error, FBQ_ERR_PACKED, 0, "packed header is damaged: %s", why);
    }
    if (word[FBQ__WORD_PADDED_N] != (uint32_t)(l.tiles * FBQ_TILE) ||
        word[FBQ__WORD_PADDED_K] != (uint32_t)(l.chunks * FBQ_CHUNK) ||
        word[FBQ__WORD_RECORD_BYTES] != (uint32_t)l.record_bytes)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed header's padded sizes %u x %u disagree with its shape: damaged",
                         word[FBQ__WORD_PADDED_N], word[FBQ__WORD_PADDED_K]);
    fbq__header_write(&l, (fbq_part)word[FBQ__WORD_PART], again);
    if (memcmp(again, packed, sizeof again))
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed header has words set that its shape does not use; expected 0: "
                         "damaged, or from another library");
    need = word[FBQ__WORD_PART] == FBQ_PART_WEIGHTS ? l.weights_bytes
           : word[FBQ__WORD_PART] == FBQ_PART_DOWN  ? l.down_bytes
                                                    : l.up_bytes;
    if (need == 0 || bytes < need)
        return fbq__fail(error, FBQ_ERR_PACKED, 0,
                         "packed part %u wants %zu bytes, there are %zu: cut short",
                         word[FBQ__WORD_PART], need, bytes);
    if (part)
        *part = (fbq_part)word[FBQ__WORD_PART];
    *layout = l;
    return FBQ_OK;
}

/* ---- Codes ---- */

/* Where a code lives in its span of chunks: the bit that each of its bits takes, lowest first. */
typedef struct fbq__place {
    uint16_t bit[4];
    uint8_t complemented; /* 2^bits - 1 - q is stored */
} fbq__place;

/* Word `index` of a lane in a span: vectors of as many words as divide the lane's share, one plane
 * of 32 lanes after another. */
static int fbq__span_word(int bits, int lane, int index)
{
    int words = fbq__span_chunks(bits) * bits;
    int width = words % 4 == 0 ? 4 : 2;
    return (index / width * 32 + lane) * width + index % width;
}

/* The four codes of a step, a lane and a row are the four bytes of a word, row g's in their lowest
 * bits and row g + 8's above them. */
static fbq__place fbq__place_of(int bits, int chunk, int row, int k)
{
    int h = k >> 5 & 1, t = k >> 3 & 3, i = k >> 2 & 1, high = k >> 1 & 1, odd = k & 1;
    int below = row >> 3, lane = (row & 7) * 4 + t, j = 2 * h + i, byte = 8 * (2 * odd + high);
    fbq__place p;
    memset(&p, 0, sizeof p);
    p.complemented = (uint8_t)odd;
    for (int b = 0; b < bits; b++) {
        int at = bits * below + b; /* of the step's bits in a byte */
        int word = j, shift = at;
        if (bits == 2) { /* two steps a word */
            word = j >> 1;
            shift = 4 * (j & 1) + at;
        } else if (bits == 3 && j == 3) { /* what the other three leave over: two bits a byte */
            word = at >> 1;
            shift = 6 + (at & 1);
        }
        p.bit[b] = (uint16_t)(32 * fbq__span_word(bits, lane, chunk * bits + word) + byte + shift);
    }
    return p;
}

void fbq_code_position(const fbq_layout *layout, int row, int64_t k, int64_t bit[4],
                       int *complemented)
{
    const int bits = layout->format.bits, span = fbq__span_chunks(bits);
    int64_t chunk = k / FBQ_CHUNK, base = chunk / span * span * FBQ_CHUNK * FBQ_TILE * bits;
    fbq__place p = fbq__place_of(bits, (int)(chunk % span), row, (int)(k % FBQ_CHUNK));
    for (int b = 0; b < bits; b++)
        bit[b] = base + p.bit[b];
    if (complemented)
        *complemented = p.complemented;
}

/* ---- Scales and zero points, from the start of a tile's record ---- */

/* A group's 16 scales stand in the order of the lanes that want them: row g beside row g + 8. With
 * fp16 zero points each such pair is followed by its pair of zero points. */
static int64_t fbq__scale_offset(const fbq_layout *l, int64_t group, int row)
{
    int pair = (row & 7) * (l->format.zero == FBQ_ZERO_F16 ? 8 : 4);
    int64_t group_bytes = FBQ_TILE * (l->format.zero == FBQ_ZERO_F16 ? 4 : 2);
    return l->codes_bytes + group * group_bytes + pair + (row >> 3) * 2;
}

static int64_t fbq__zero_f16_offset(const fbq_layout *l, int64_t group, int row)
{
    return fbq__scale_offset(l, group, row) + 4;
}

/* Byte of an integer zero point: row g in the low nibble, row g + 8 in the high one. */
static int64_t fbq__zero_code_offset(const fbq_layout *l, int64_t group, int row)
{
    return l->codes_bytes + l->scales_bytes + group * (FBQ_TILE / 2) + (row & 7);
}

/* ---- Factors: 16 x 16 blocks of numbers, one vector of eight a lane ---- */

/* A: 16-row tile, k -> number from the start of the part's blocks. The k of a lane are those of the
 * codes above, so that both kernels read x in the same order. */
static int64_t fbq__down_index(const fbq_layout *l, int64_t rank_tile, int row, int64_t k)
{
    int c = (int)(k % FBQ_CHUNK), t = c >> 3 & 3, j = 2 * (c >> 5) + (c >> 2 & 1);
    int reg = 2 * (c >> 1 & 1) + (row >> 3), lane = (row & 7) * 4 + t;
    int64_t block = (rank_tile * l->chunks + k / FBQ_CHUNK) * 4 + j;
    return (block * 32 + lane) * 8 + reg * 2 + (c & 1);
}

/* B: block index, row in the tile, rank in the block -> number from the start of the part's blocks.
 * Lane t holds four consecutive ranks. */
static int64_t fbq__up_index(int64_t block, int row, int rank)
{
    int reg = 2 * (rank >> 1 & 1) + (row >> 3), lane = (row & 7) * 4 + (rank >> 2);
    return (block * 32 + lane) * 8 + reg * 2 + (rank & 1);
}

#endif /* FBQ_HOST_LAYOUT_H */
