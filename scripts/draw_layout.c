/* Write docs/layout.md: the packed layout, drawn from what the library does.
 *
 *     draw_layout [--check] FILE
 *
 * Every number in the drawings comes from the public functions: positions of codes from
 * fbq_code_position, all others by packing words that say where they came from and looking where
 * they went. --check writes nothing and exits with 1 when FILE is not what would be written.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#define LANE 13 /* the lane that is drawn: g = 3, t = 1 */

static char page[1 << 16];
static size_t page_bytes;

static void say(const char *format, ...)
{
    va_list values;
    int length;
    va_start(values, format);
    length = vsnprintf(page + page_bytes, sizeof page - page_bytes, format, values);
    va_end(values);
    if (length < 0 || (page_bytes += (size_t)length) >= sizeof page) {
        fprintf(stderr, "draw_layout: the page is too long\n");
        exit(2);
    }
}

static void must(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "draw_layout: %s: the text of scripts/draw_layout.c is out of date\n",
                what);
        exit(2);
    }
}

static fbq_layout layout_of(int bits, int group, fbq_zero zero, fbq_shape shape)
{
    const fbq_format format = {bits, group, zero, FBQ_F16, FBQ_F16};
    fbq_layout l;
    fbq_error error;
    if (fbq_layout_of(&format, &shape, &l, &error) != FBQ_OK) {
        fprintf(stderr, "draw_layout: %s\n", error.detail);
        exit(2);
    }
    return l;
}

static void *take(size_t bytes)
{
    void *memory = calloc(bytes ? bytes : 1, 1);
    must(memory != NULL, "out of memory");
    return memory;
}

static uint32_t word_at(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static unsigned half_at(const uint8_t *at)
{
    return (unsigned)(at[0] | at[1] << 8);
}

/* ---- Header ---- */

static void draw_header(void)
{
    fbq_shape shape = fbq_shape_of(40, 100, 20);
    shape.segments = 2;
    shape.segment[1].n = 16;
    const fbq_layout l = layout_of(4, 64, FBQ_ZERO_CODE, shape);
    const struct {
        const char *name, *holds;
        uint32_t value;
    } words[] = {{"magic", "the bytes `1FBQ`", 0x51424631},
                 {"version", "1", FBQ_LAYOUT_VERSION},
                 {"part", "1 weights, 2 down, 3 up", FBQ_PART_UP},
                 {"code kind", "0: unsigned integers; room for others", 0},
                 {"bits", "2, 3, 4", 4},
                 {"group", "32, 64, 128, 256; 0: whole row", 64},
                 {"zero", "0 none, 1 code, 2 fp16", FBQ_ZERO_CODE},
                 {"scale type", "1 fp16, 2 bf16", FBQ_F16},
                 {"factor type", "1 fp16, 2 bf16, 4 int8; 1 when every rank is 0", FBQ_F16},
                 {"k", "inputs", 100},
                 {"segments", "1 .. 8", 2},
                 {"n of segment 0", "outputs", 40},
                 {"r of segment 0", "rank", 20},
                 {"n of segment 1", "", 16},
                 {"r of segment 1", "", 0}};
    const int count = sizeof words / sizeof words[0];
    uint16_t *b = take((size_t)(l.n * 20) * 2);
    uint8_t *up = take(l.up_bytes);
    must(fbq_pack_up(&l, b, 20, up, l.up_bytes, NULL) == FBQ_OK, "pack");
    say("| word | holds | | in the example |\n|---:|---|---|---:|\n");
    for (int i = 0; i < count; i++) {
        must(word_at(up + 4 * i) == words[i].value, words[i].name);
        if (i == 0)
            say("| %d | %s | %s | 0x%08x |\n", i, words[i].name, words[i].holds, word_at(up));
        else
            say("| %d | %s | %s | %u |\n", i, words[i].name, words[i].holds, word_at(up + 4 * i));
    }
    for (int i = count; i < 27; i++)
        must(word_at(up + 4 * i) == 0, "unused segments");
    must(word_at(up + 108) == (uint32_t)(l.tiles * 16) &&
             word_at(up + 112) == (uint32_t)(l.chunks * 64) &&
             word_at(up + 116) == (uint32_t)l.record_bytes && !word_at(up + 120) &&
             !word_at(up + 124),
         "the header's last words");
    say("| %d .. 26 | n and r of the other segments | 0 where there are none | 0 |\n", count);
    say("| 27 | padded n | 16 times the tiles | %u |\n", word_at(up + 108));
    say("| 28 | padded k | 64 times the chunks | %u |\n", word_at(up + 112));
    say("| 29 | bytes of a record | | %u |\n", word_at(up + 116));
    say("| 30, 31 | nothing | 0 | 0 |\n");
    free(b);
    free(up);
}

/* ---- Records ---- */

static void draw_record(int bits, int group, fbq_zero zero, int64_t k)
{
    const fbq_layout l = layout_of(bits, group, zero, fbq_shape_of(16, k, 0));
    static const char *const names[] = {"none", "code", "fp16"};
    char size[16];
    snprintf(size, sizeof size, group ? "%d" : "row", group);
    say("%4d  %5s  %-4s  %5lld  %8d  %8lld  %8lld  %8lld\n", bits, size, names[zero], (long long)k,
        0, (long long)l.codes_bytes,
        (long long)(zero == FBQ_ZERO_CODE ? l.codes_bytes + l.scales_bytes : 0),
        (long long)l.record_bytes);
}

static void draw_records(void)
{
    say("```\n"
        "                          first byte in the record\n"
        "bits  group  zero      K     codes    scales     zeros       end\n");
    draw_record(4, 128, FBQ_ZERO_NONE, 4096);
    draw_record(4, 128, FBQ_ZERO_CODE, 4096);
    draw_record(4, 128, FBQ_ZERO_F16, 4096);
    draw_record(4, 32, FBQ_ZERO_F16, 4096);
    draw_record(4, FBQ_GROUP_ROW, FBQ_ZERO_F16, 4096);
    draw_record(3, 128, FBQ_ZERO_F16, 4096);
    draw_record(2, 64, FBQ_ZERO_CODE, 4096);
    draw_record(4, 64, FBQ_ZERO_F16, 100);
    say("```\n");
}

/* ---- Codes ---- */

/* Whose bit it is. */
typedef struct owner {
    int row, k, bit; /* row -1: nobody's */
} owner;

static owner *owners_of(const fbq_layout *l)
{
    owner *all = take((size_t)l->codes_bytes * 8 * sizeof *all);
    for (int64_t i = 0; i < l->codes_bytes * 8; i++)
        all[i].row = -1;
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < l->chunks * 64; k++) {
            int64_t bit[4];
            int complemented;
            fbq_code_position(l, row, k, bit, &complemented);
            must(complemented == (k & 1), "complement");
            for (int b = 0; b < l->format.bits; b++) {
                must(all[bit[b]].row < 0, "two codes in one place");
                all[bit[b]] = (owner){row, k, b};
            }
        }
    return all;
}

static int lane_of(owner o)
{
    return (o.row & 7) * 4 + (o.k >> 3 & 3);
}

/* The fields of a word, lowest first: a run of bits of one code, but for the two highest bits of a
 * byte with 3 bits a code, which go one by one. */
static int fields_of(int bits, const owner *word, int first[32], int length[32])
{
    int count = 0;
    for (int b = 0; b < 32; b++) {
        const int alone = bits == 3 && b % 8 >= 6;
        if (b > 0 && !alone && word[b - 1].row == word[b].row && word[b - 1].k == word[b].k) {
            must(word[b - 1].bit == word[b].bit - 1, "a code whose bits are not in order");
            length[count - 1]++;
            continue;
        }
        first[count] = b;
        length[count++] = 1;
    }
    return count;
}

/* All words of one lane in a span of chunks. */
static void draw_span(int bits, int chunks)
{
    const fbq_layout l = layout_of(bits, 32, FBQ_ZERO_NONE, fbq_shape_of(16, 64 * chunks, 0));
    owner *all = owners_of(&l);
    int first[32], length[32], count = 0, drawn = 0;
    const int width = bits == 3 ? 8 : 6;
    say("```\nbits  ");
    for (int64_t w = 0; w < l.codes_bytes / 4; w++) {
        const owner *word = all + 32 * w;
        int here[32];
        for (int b = 0; b < 32; b++)
            must(lane_of(word[b]) == lane_of(word[0]), "a word of two lanes");
        if (lane_of(word[0]) != LANE)
            continue;
        if (!drawn++) {
            count = fields_of(bits, word, first, length);
            for (int f = 0; f < count; f++) {
                char range[16];
                if (length[f] == 1)
                    snprintf(range, sizeof range, "%d", first[f]);
                else
                    snprintf(range, sizeof range, "%d-%d", first[f], first[f] + length[f] - 1);
                say(" %*s", width, range);
            }
            say("\nbyte\n");
        }
        must(fields_of(bits, word, here, length) == count &&
                 !memcmp(here, first, sizeof *first * (size_t)count),
             "fields differ from word to word");
        say("%4lld  ", (long long)(4 * w));
        for (int f = 0; f < count; f++) {
            char place[32];
            const owner o = word[first[f]];
            snprintf(place, sizeof place, length[f] == 1 ? "%d,%d.%d" : "%d,%d", o.row, o.k, o.bit);
            say(" %*s", width, place);
        }
        say("\n");
    }
    say("```\n");
    free(all);
}

/* ---- Scales and zero points ---- */

static void draw_scales(fbq_zero zero)
{
    const fbq_layout l = layout_of(4, 64, zero, fbq_shape_of(16, 128, 0));
    uint8_t *codes = take(16 * 128), *zero_codes = take(64), *packed = take(l.weights_bytes);
    uint16_t scales[16][2], zeros[16][2];
    const void *given = zero == FBQ_ZERO_F16 ? (const void *)zeros : zero_codes;
    const uint8_t *at = packed + FBQ_HEADER_BYTES + l.codes_bytes;
    for (int row = 0; row < 16; row++)
        for (int g = 0; g < 2; g++) {
            scales[row][g] = (uint16_t)(0x1000 + 0x100 * g + row);
            zeros[row][g] = (uint16_t)(0x2000 + 0x100 * g + row);
            zero_codes[row * 2 + g] = (uint8_t)row;
        }
    must(fbq_pack_weights(&l, codes, &scales[0][0], zero ? given : NULL, packed, l.weights_bytes,
                          NULL) == FBQ_OK,
         "pack");
    say("```\n");
    for (int64_t i = 0; i < l.scales_bytes; i += 2) {
        const unsigned word = half_at(at + i);
        if (i % 32 == 0)
            say("%sscales + %3lld:", i ? "\n" : "", (long long)i);
        must(word >> 12 == 1 || word >> 12 == 2, "scales");
        say(" %s%u.%u", word >> 12 == 1 ? "s" : "z", word & 15, word >> 8 & 15);
    }
    for (int64_t i = 0; i < l.zeros_bytes; i++) {
        if (i % 8 == 0)
            say("\nzeros  + %3lld:", (long long)i);
        say(" z%u,%u", at[l.scales_bytes + i] & 15u, at[l.scales_bytes + i] >> 4);
    }
    say("\n```\n");
    free(codes);
    free(zero_codes);
    free(packed);
}

/* ---- Factors ---- */

static const int shown_lanes[] = {0, 1, 2, 3, 4, LANE, 31};

/* Words of the lanes of one block; each says its row (high byte) and column. */
static void draw_block(const uint8_t *block)
{
    for (size_t i = 0; i < sizeof shown_lanes / sizeof shown_lanes[0]; i++) {
        say("%4d  ", shown_lanes[i]);
        for (int w = 0; w < 8; w++) {
            const unsigned word = half_at(block + shown_lanes[i] * 16 + 2 * w);
            char place[16];
            snprintf(place, sizeof place, "%u,%u", word >> 8, word & 255);
            say(" %6s", place);
        }
        say("\n");
    }
}

static void draw_factors(int up)
{
    const fbq_layout l = layout_of(4, 64, FBQ_ZERO_NONE, fbq_shape_of(16, 64, 16));
    const int columns = up ? 16 : 64;
    const size_t bytes = up ? l.up_bytes : l.down_bytes;
    uint16_t *words = take((size_t)(16 * columns) * 2);
    uint8_t *packed = take(bytes);
    for (int row = 0; row < 16; row++)
        for (int i = 0; i < columns; i++)
            words[row * columns + i] = (uint16_t)(row << 8 | i);
    must((up ? fbq_pack_up(&l, words, columns, packed, bytes, NULL)
             : fbq_pack_down(&l, words, packed, bytes, NULL)) == FBQ_OK,
         "pack");
    say("```\n");
    for (int block = 0; block < (up ? 1 : 4); block++) {
        if (up)
            say("lane  words: row of B, rank\n");
        else
            say("%sblock %d\nlane  words: rank (row of A), k\n", block ? "\n" : "", block);
        draw_block(packed + FBQ_HEADER_BYTES + 512 * block);
    }
    say("```\n");
    free(words);
    free(packed);
}

/* Block order, from a shape with several tiles, chunks and ranks. */
static void draw_block_order(void)
{
    fbq_shape shape = fbq_shape_of(20, 128, 20);
    shape.segments = 3;
    shape.segment[1].n = 16;
    shape.segment[2] = (fbq_segment){5, 7};
    const fbq_layout l = layout_of(4, 64, FBQ_ZERO_NONE, shape);
    say("| segment | n | r | tiles of weights | tiles of A | blocks of B |\n"
        "|---:|---:|---:|---|---|---|\n");
    for (int s = 0; s < 3; s++) {
        const int64_t *const firsts[] = {l.tile_first, l.rank_first, l.up_first};
        say("| %d | %lld | %lld |", s, (long long)shape.segment[s].n,
            (long long)shape.segment[s].r);
        for (int i = 0; i < 3; i++)
            if (firsts[i][s] == firsts[i][s + 1])
                say(" none |");
            else
                say(" %lld .. %lld |", (long long)firsts[i][s], (long long)firsts[i][s + 1] - 1);
        say("\n");
    }
}

/* ---- The page ---- */

static void draw(void)
{
    say("# The packed layout, version %d\n\n"
        "<!-- Written by scripts/draw_layout.c from the library's own functions. Do not edit it: "
        "build the target \"layout\". -->\n\n"
        "A layer `y = x . deq(Wq)^T + (x . A^T) . B^T` is packed into three parts: **weights** "
        "(codes, scales, zero\npoints), **down** (A) and **up** (B). A part begins with a header "
        "of %d bytes; copy it to the GPU as it is, to\nan address that is a multiple of %d. "
        "Factors are parts of their own, so that a sub-branch can be swapped,\nconcatenated or "
        "dropped without touching the codes.\n\n"
        "Nothing in the layout depends on a tunable: no number of warps, of chunks in flight, of "
        "blocks or of slices,\nno M and no architecture. A layer packed once serves every pick "
        "that a tuner may find.\n\n"
        "A change of meaning is a new version, and a reader refuses a version that it does not "
        "know. What can be added\nwithout one: values of a word that had none, such as another "
        "factor type, which older readers refuse. The last\nsection says what version 1 "
        "changed.\n\n",
        FBQ_LAYOUT_VERSION, FBQ_HEADER_BYTES, FBQ_ALIGN);

    say("## Header\n\n"
        "%d little-endian words of 32 bits. All three parts carry the whole format and shape, so "
        "that parts of different\nlayers cannot be mixed up. The example is the up part of a layer "
        "with two segments. A reader computes the\nlayout from words 4 to 26 and refuses a header "
        "whose other words disagree with it.\n\n",
        FBQ_HEADER_BYTES / 4);
    draw_header();

    say("\n## Tiles and records\n\n"
        "The rows of weights are cut into tiles of %d, the rows of one tensor-core operand, and K "
        "into chunks of %d, the\nunit of a warp. A segment (q, k and v, say, which share x) is "
        "padded to whole tiles of its own: no tile holds\nrows of two segments. A tile is one "
        "record: its codes, its scales (with fp16 zero points), its integer zero\npoints, and "
        "padding to a multiple of %d bytes. A block of a kernel reads a record from its beginning "
        "to its end,\nso every stream of loads is contiguous, and one pointer a tile is "
        "enough.\n\n",
        FBQ_TILE, FBQ_CHUNK, FBQ_ALIGN);
    draw_records();
    say("\nPadding: rows beyond n and codes beyond K are packed as code 0, scales and zero points "
        "that no logical group has\nas 0, and the bytes behind the last field as 0. Padded k meet "
        "an x of 0; results of padded rows are dropped.\n\n");

    say("## Codes\n\n"
        "A chunk is four tensor-core steps (`mma.m16n8k16`) of 16 rows by 16 k. In the hardware's "
        "fragment order lane\n`4 g + t` of a warp holds rows `g` and `g + 8` and four columns of "
        "the operand. Which k stands in which column is\nours to choose, since a sum over k has no "
        "order, as long as x is fed in the same order:\n\n"
        "```\n"
        "k in the chunk = 32 h + 8 t + 4 i + 2 high + odd        step j = 2 h + i\n"
        "row            = 8 below + g                            lane   = 4 g + t\n"
        "operand register = 2 high + below, half of it = odd\n"
        "```\n\n"
        "- **Eight consecutive x for lane t**: steps 2 h and 2 h + 1 take from lane t the eight k "
        "from 32 h + 8 t on. One\n  16-byte load of x feeds two steps, with no shuffle.\n"
        "- **A group of 32 is two whole steps**: no operand mixes two groups, so a scale is "
        "applied "
        "to finished sums of a\n  group, never to single codes.\n"
        "- **A step's codes are bytes**: the four codes that a lane has of a row and a step are "
        "the four bytes of a word, k in the\n  order 0, 2, 1, 3, row g's in the lowest bits and "
        "row g + 8's above them. So a mask alone makes them an operand\n  of the integer tensor "
        "core (`mma.m16n8k32`, two steps at a time), which reads q for row g and 2^bits q for row "
        "g + 8.\n  With 4 bits that fills a word; with 2 bits two steps share one, and the second "
        "wants a shift by 4; with 3 bits\n  three steps take the lower six bits of every byte of "
        "three words, and the fourth is put together from the two\n  bits that each leaves over, "
        "three shifts for 8 codes.\n"
        "- **Under an exponent**: no code is converted where x is fp16 or bf16 numbers. Masked, "
        "shifted and put under the\n  exponent of such a number, into its mantissa, it reads as "
        "`bias + q`; what the bias contributes is the bias times\n  a sum of x, taken out once a "
        "group. With 4 bits and fp16 every field is brought to bits 4 to 7 of its half of a\n"
        "  word, by no shift, by 4 to the left, or by 4 or 8 to the right; under the exponent of "
        "0x5400 it reads 64 + q there,\n  complemented and negative q - 79.\n"
        "- **Vectors**: a span of chunks is stored so that a lane's words make whole vectors, and "
        "the 32 lanes of a warp\n  read contiguous bytes with one instruction: 16 bytes each of 1 "
        "chunk of 4-bit codes and 2 chunks of 2-bit codes,\n  three times 8 bytes of 2 chunks of "
        "3-bit codes. A row ends with a whole span.\n"
        "- **Odd k are complemented**: a record stores `2^bits - 1 - q` where k is odd, under a "
        "negative exponent. The biases\n  of neighbouring k then nearly cancel, and the tensor "
        "core, which truncates its sums, loses less.\n\n"
        "The drawings show the words of lane %d (g = %d, t = %d): for each field its bits, lowest "
        "first, and `row,k` of the\ncode in it. A code at odd k stands half a word above its "
        "neighbour at even k.\n\n",
        LANE, LANE / 4, LANE % 4);
    say("### 4 bits: a chunk\n\nByte `512 chunk + 16 lane + 4 j` of the record is the word of step "
        "j.\n\n");
    draw_span(4, 1);
    say("\n### 2 bits: a span of two chunks\n\nByte `512 span + 16 lane + 8 c + 4 (j / 2)` is the "
        "word of steps j and j + 1 of chunk c, whose k begin at 64 c.\n\n");
    draw_span(2, 2);
    say("\n### 3 bits: a span of two chunks\n\nWord w of a lane, 0 to 5, is at byte `768 span + "
        "256 "
        "(w / 2) + 8 lane + 4 (w % 2)`; a chunk has three of them. The\ncodes of its fourth step "
        "lie in the two highest bits of every byte: `row,k.b` is bit b of that code.\n\n");
    draw_span(3, 2);

    say("\n## Scales and zero points\n\n"
        "The 16 scales of a group stand in the order of the lanes that want them: row g beside row "
        "g + 8, so that a lane\nloads both with one instruction, and four lanes share a load. "
        "`s3.1` is the scale of row 3 in group 1, `z3.1` its\nzero point. Without zero points, or "
        "with integer ones, a group takes 32 bytes:\n\n");
    draw_scales(FBQ_ZERO_NONE);
    say("\nInteger zero points come behind all scales, 4 bits each whatever the codes have, row g "
        "in the low half of a byte\nand row g + 8 in the high one (`z0,8`), 8 bytes a group:\n\n");
    draw_scales(FBQ_ZERO_CODE);
    say("\nfp16 zero points stand beside the scales, 64 bytes a group, so that a lane fetches all "
        "four numbers at once. They\nare z itself, never the product s z, whose rounding would "
        "break the bound |w - w_F| <= s/2:\n\n");
    draw_scales(FBQ_ZERO_F16);

    say("\n## A and B\n\n"
        "Both factors are cut into blocks of 16 x 16 words of 16 bits, 512 bytes, in fragment "
        "order: "
        "16 bytes a lane, in\nwhich the four operand registers of a step lie one behind the other. "
        "No bit is rearranged, and the kernels load\nthem as they are.\n\n"
        "**A** (r x K), a tile of 16 ranks after another, each with all its chunks, four blocks a "
        "chunk. A lane's k are those\nof its codes above, so that both kernels read x in one "
        "order. "
        "The first chunk:\n\n");
    draw_factors(0);
    say("\n**B** (n x r), a tile of 16 rows after another, each with all its blocks of 16 ranks. "
        "Lane t holds four consecutive\nranks. A block:\n\n");
    draw_factors(1);
    say("\n**int8 factors** take the same places, a byte q + 128 for each word above: a block is "
        "256 "
        "bytes, 8 a lane, and padding is\n128. Behind a part's blocks stand the scales, one fp32 "
        "number for each row of every tile of A, or of every tile of 16\nrows of B (also of "
        "segments whose rank is 0), padding rows 0: from bytes `down_scales` and `up_scales` of "
        "`fbq_layout` on.\nA number of a factor is q times its row's scale, which has at most 16 "
        "bits of mantissa, so that the product is exact\nin fp32. (Added to version 1: readers "
        "without it refuse factor type 4.)\n");
    say("\nEach segment has tiles of A and blocks of B of its own, padded with zeros to whole "
        "blocks: B is block-diagonal, and\nits zero blocks are not stored. For three segments, K = "
        "128:\n\n");
    draw_block_order();
    say("\n## What version 1 changed\n\n"
        "Version 0 was provisional. It is confirmed for 4-bit codes, scales, zero points, A and B, "
        "of which no bit has moved,\nand was broken for 2 and 3 bits:\n\n"
        "- Their fields were placed for fp16 operands alone. One row of x is multiplied as "
        "integers, by the bytes of codes,\n  and from version 0's places a mask would not have "
        "made those: 32 instructions a chunk and lane with 3 bits, where\n  version 1 takes 14, "
        "and 10 with 2 bits (8 with 4).\n"
        "- A span of 3 bits was four chunks, and rows could end with spans of another form. Warps "
        "share K in runs of two\n  chunks, which now is a span of both, and there is no other "
        "form.\n\n"
        "Asked and answered by measurements: scales among the codes of a step, so that one copy "
        "fetches both, gain nothing\n(docs/kernels.md, try 91), so they stay apart.\n");
}

int main(int argc, char **argv)
{
    const int check = argc == 3 && !strcmp(argv[1], "--check");
    if (argc != 2 + check) {
        fprintf(stderr, "usage: draw_layout [--check] FILE\n");
        return 2;
    }
    const char *path = argv[1 + check];
    draw();
    if (check) {
        static char old[sizeof page];
        FILE *file = fopen(path, "rb");
        const size_t bytes = file ? fread(old, 1, sizeof old, file) : 0;
        if (file)
            fclose(file);
        if (bytes == page_bytes && !memcmp(old, page, bytes))
            return 0;
        fprintf(stderr,
                "draw_layout: %s is not what the library does; build the target \"layout\" and "
                "commit it\n",
                path);
        return 1;
    }
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(page, 1, page_bytes, file) != page_bytes || fclose(file)) {
        perror(path);
        return 2;
    }
    return 0;
}
