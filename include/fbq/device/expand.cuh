// fbq/device/expand.cuh: the codes alone as weights in memory, and B behind them.
//
// A warp takes a span of two chunks of a tile at a time, and the warps of the grid take
// neighbouring spans, a tile after another: codes are read and rows are written in the order in
// which they lie in memory. Nothing is shared; the next span is on its way to the registers while
// one is written.
//
// A lane has 16 bytes of whole lines: eight lanes write 64 k of a row. So lane 4 g + t takes the
// k from 32 h + 8 t on, h = g % 2, of rows g - h, g - h + 1 and those 8 below: half of what the
// layout has for lanes 4 (g - h) + t and 4 (g - h + 1) + t.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_EXPAND_CUH
#define FBQ_DEVICE_EXPAND_CUH

#include "dequantise.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

constexpr int span_chunks = 2;
constexpr int up_columns = 32; // of B, that a warp takes at a time: all of its loads at once

// ---- Where a warp is ----

// Its part of a tile: a span, or behind those some columns of B.
struct PartAt {
    int tile, part, segment;
};

// The number of w's row that a tile begins with.
FBQ_DEVICE int first_row_of(const fbq_reconstruct_segment &segment, int tile)
{
    return segment.first_row + (tile - segment.first_tile) * tile_rows;
}

FBQ_DEVICE void segment_find(PartAt &at, const fbq_reconstruct_args &args)
{
    while (at.segment + 1 < args.segments && at.tile >= args.segment[at.segment + 1].first_tile)
        at.segment++;
}

// ---- A span ----

// A lane's part of it. The codes of a chunk: [of its two lanes][step of 16 k].
template <class C>
struct StoredSpan {
    static constexpr int groups = C::group == 0 || C::group >= 128 ? 1 : 2; // that a lane meets
    u32 codes[span_chunks][2][2];
    u32 scale[groups][2], zero[groups][2];
};

// Half a chunk's words of a lane of the layout, as those of the chunk's first half.
template <int Bits>
FBQ_DEVICE void half_words(u32 (&words)[2], const u8 *codes, int chunk, int half, int lane)
{
    if (Bits == 4) {
        const u32x2 v = ldg_u32x2(codes + chunk * 512 + lane * 16 + half * 8);
        words[0] = v.x;
        words[1] = v.y;
    } else if (Bits == 2) {
        words[0] = ldg_u32(codes + chunk / 2 * 512 + lane * 16 + chunk % 2 * 8 + half * 4);
        words[1] = 0;
    } else {
        u32 all[2 * Bits];
        chunk_words<Bits>(all, codes, chunk, lane);
        words[0] = half ? all[2 % (2 * Bits)] : all[0];
        words[1] = half ? step_word<Bits>(all, 3) : all[1];
    }
}

template <class C>
FBQ_DEVICE StoredSpan<C> span_load(const fbq_reconstruct_args &args, const PartAt &at, int lane)
{
    const u8 *record = record_of<C>(args, at.tile);
    const int half = lane >> 2 & 1, row = lane >> 2 & ~1, source = lane & ~4;
    const u8 *scales = record + args.codes_bytes + row * (C::group_bytes / 8);
    const u8 *zeros = record + args.codes_bytes + args.scales_bytes + row;
    StoredSpan<C> v;
    FBQ_UNROLL
    for (int c = 0; c < span_chunks; c++) {
        const int chunk = at.part * span_chunks + c;
        const bool there = chunk < args.chunks;
        if (there) {
            half_words<C::bits>(v.codes[c][0], record, chunk, half, source);
            half_words<C::bits>(v.codes[c][1], record, chunk, half, source + 4);
        }
        if (there && c < StoredSpan<C>::groups) {
            const int group = first_group<C>(chunk) + (C::group == 32 ? half : 0);
            v.zero[c][0] = v.zero[c][1] = 0;
            if (C::zero == zero_f16) {
                const u32x4 both = ldg_u32x4(scales + group * C::group_bytes);
                v.scale[c][0] = both.x;
                v.zero[c][0] = both.y;
                v.scale[c][1] = both.z;
                v.zero[c][1] = both.w;
            } else {
                const u32x2 both = ldg_u32x2(scales + group * C::group_bytes);
                v.scale[c][0] = both.x;
                v.scale[c][1] = both.y;
                if (C::zero == zero_code) {
                    const u32 bytes = ldg_u16(zeros + group * 8);
                    v.zero[c][0] = bytes & 0xffu;
                    v.zero[c][1] = bytes >> 8;
                }
            }
        }
    }
    return v;
}

// Eight weights of a row and of the one 8 below it.
template <class C>
FBQ_DEVICE void rows_of(u32x4 &above, u32x4 &below, const u32 (&codes)[2], const RowScale &upper,
                        const RowScale &lower)
{
    u32 words[2 * C::bits];
    words[0] = codes[0];
    words[1] = codes[1];
    const u32x4 first = operand_of<type_f16, C::bits>(words, 0),
                second = operand_of<type_f16, C::bits>(words, 1);
    above = u32x4{weights_of<C>(first.x, upper, 0, 0), weights_of<C>(first.z, upper, 0, 0),
                  weights_of<C>(second.x, upper, 0, 0), weights_of<C>(second.z, upper, 0, 0)};
    below = u32x4{weights_of<C>(first.y, lower, 0, 0), weights_of<C>(first.w, lower, 0, 0),
                  weights_of<C>(second.y, lower, 0, 0), weights_of<C>(second.w, lower, 0, 0)};
}

// Where every number of a span lies in w, and w takes vectors. `to`: the lane's first number.
template <class C>
FBQ_DEVICE void span_write(const StoredSpan<C> &stored, u16 *to, i64 stride)
{
    FBQ_UNROLL
    for (int r = 0; r < 2; r++, to += stride) {
        RowScale upper, lower;
        FBQ_UNROLL
        for (int c = 0; c < span_chunks; c++) {
            u32x4 above, below;
            if (c < StoredSpan<C>::groups)
                row_scales<C>(stored.scale[c % StoredSpan<C>::groups][r],
                              stored.zero[c % StoredSpan<C>::groups][r], upper, lower);
            rows_of<C>(above, below, stored.codes[c][r], upper, lower);
            stg_u32x4(to + c * chunk_codes, above);
            stg_u32x4(to + 8 * stride + c * chunk_codes, below);
        }
    }
}

// A span of which any part lies in w, a piece at a time and read anew. `k`, `row`, `to`: the lane's
// first number.
template <class C>
FBQ_DEVICE void span_write_some(const fbq_reconstruct_args &args, const PartAt &at, int row, int k,
                                u16 *to, int lane)
{
    const u8 *record = record_of<C>(args, at.tile);
    const int half = lane >> 2 & 1;
    FBQ_NO_UNROLL
    for (int i = 0; i < 2 * span_chunks; i++) {
        const int r = i & 1, c = i >> 1, chunk = at.part * span_chunks + c;
        if (chunk >= args.chunks)
            break;
        u32 codes[2], scale, zero;
        u32x4 above, below;
        RowScale upper, lower;
        half_words<C::bits>(codes, record, chunk, half, (lane & ~4) + r * 4);
        scale_load<C>(args, record, first_group<C>(chunk) + (C::group == 32 ? half : 0),
                      (lane >> 2 & ~1) + r, scale, zero);
        row_scales<C>(scale, zero, upper, lower);
        rows_of<C>(above, below, codes, upper, lower);
        u16 *first = to + r * args.w_stride + c * chunk_codes;
        if (row + r < args.segment[at.segment].end_row)
            write_eight(args, first, k + c * chunk_codes, above);
        if (row + r + 8 < args.segment[at.segment].end_row)
            write_eight(args, first + 8 * args.w_stride, k + c * chunk_codes, below);
    }
}

// ---- B behind K ----

// Does B lie behind K in whole vectors of 8 ranks?
FBQ_DEVICE bool up_in_vectors(const fbq_reconstruct_args &args,
                              const fbq_reconstruct_segment &segment)
{
    return args.w_vectors &&
           ((args.k | args.ranks | segment.first_rank | segment.end_rank) & 7) == 0;
}

// Four ranks of rows g and g + 8, as w has them. `blocks`: the tile's.
template <class C>
FBQ_DEVICE u32x4 up_four(const u8 *blocks, int rank, int lane)
{
    u32x4 v = ldg_u32x4(blocks + rank / 16 * block_bytes + (lane >> 2) * 64 + rank % 16 * 4);
    if (C::factor != C::out) {
        u32 *const pair[4] = {&v.x, &v.y, &v.z, &v.w};
        FBQ_UNROLL
        for (int i = 0; i < 4; i++) {
            float low, high;
            f32x2_of<C::factor>(*pair[i], low, high);
            *pair[i] = pair_of_f32<C::out>(low, high);
        }
    }
    return v;
}

// Some columns of a tile's rows: a segment's ranks in columns of its own, zeros in the others'.
template <class C>
FBQ_DEVICE void write_up(const fbq_reconstruct_args &args, const PartAt &at, int first, int lane)
{
    const fbq_reconstruct_segment &segment = args.segment[at.segment];
    const int rank_tiles = (segment.end_rank - segment.first_rank + 15) / 16;
    const int row = first_row_of(segment, at.tile);
    const int end = min_int(first + up_columns, args.ranks);
    const u8 *blocks =
        (const u8 *)args.b_blocks +
        (segment.first_block + (i64)(at.tile - segment.first_tile) * rank_tiles) * block_bytes;
    u16 *to = (u16 *)args.w + (i64)row * args.w_stride + args.k;
    if (up_in_vectors(args, segment)) {
        const int upper = lane >> 2;
        FBQ_NO_UNROLL
        for (int column = first + (lane & 3) * 8; column < end; column += 32) {
            u32x4 low = {0, 0, 0, 0}, high = {0, 0, 0, 0};
            if (column >= segment.first_rank && column < segment.end_rank) {
                low = up_four<C>(blocks, column - segment.first_rank, lane);
                high = up_four<C>(blocks, column - segment.first_rank + 4, lane);
            }
            if (row + upper < segment.end_row)
                stg_u32x4(to + upper * args.w_stride + column, u32x4{low.x, low.z, high.x, high.z});
            if (row + upper + 8 < segment.end_row)
                stg_u32x4(to + (upper + 8) * args.w_stride + column,
                          u32x4{low.y, low.w, high.y, high.w});
        }
        return;
    }
    FBQ_NO_UNROLL
    for (int within = 0; within < tile_rows && row + within < segment.end_row; within++) {
        FBQ_NO_UNROLL
        for (int column = first + lane; column < end; column += warp_lanes) {
            u32 v = 0;
            if (column >= segment.first_rank && column < segment.end_rank) {
                // as fbq__up_word of host/layout.h counts
                const int rank = column - segment.first_rank;
                const int owner = within % 8 * 4 + rank % 16 / 4;
                const int word = rank % 4 / 2 * 4 + within / 8 * 2 + rank % 2;
                v = ldg_u16(blocks + rank / 16 * block_bytes + owner * 16 + word * 2);
                if (C::factor != C::out)
                    v = word_of_f32<C::out>(f32_of<C::factor>(v));
            }
            stg_u16(to + within * args.w_stride + column, v);
        }
    }
}

// ---- The kernel ----

template <class C>
FBQ_DEVICE void write_part(const fbq_reconstruct_args &args, const StoredSpan<C> &stored,
                           const PartAt &at, int spans, int lane)
{
    if (at.part >= spans) {
        write_up<C>(args, at, (at.part - spans) * up_columns, lane);
        return;
    }
    const fbq_reconstruct_segment &segment = args.segment[at.segment];
    const int first_row = first_row_of(segment, at.tile), row = first_row + (lane >> 2 & ~1);
    const int first_k = at.part * span_chunks * chunk_codes;
    const int k = first_k + (lane >> 2 & 1) * 32 + (lane & 3) * 8;
    u16 *to = (u16 *)args.w + (i64)row * args.w_stride + k;
    if (args.w_vectors && first_k + span_chunks * chunk_codes <= args.k &&
        first_row + tile_rows <= segment.end_row)
        span_write<C>(stored, to, args.w_stride);
    else
        span_write_some<C>(args, at, row, k, to, lane);
}

template <class C>
FBQ_DEVICE void expand(const fbq_reconstruct_args &args)
{
    const int lane = thread_index() % warp_lanes;
    const int warp = block_index_x() * C::warps + warp_index(), warps = grid_blocks_x() * C::warps;
    const int spans = ceil_div(args.chunks, span_chunks);
    const int parts = spans + ceil_div(args.ranks, up_columns);
    const int tiles_on = (int)((u32)warps / (u32)parts), parts_on = warps - tiles_on * parts;
    PartAt at = {(int)((u32)warp / (u32)parts), (int)((u32)warp % (u32)parts), 0};
    if (at.tile < args.tiles && at.part < spans) // which cannot read what is stale later
        chunks_ahead<C, span_chunks>(args, record_of<C>(args, at.tile), at.part * span_chunks,
                                     lane);
    wait_for_producer();
    let_dependents_start();
    StoredSpan<C> stored, next;
    if (at.tile < args.tiles && at.part < spans)
        next = span_load<C>(args, at, lane);
    FBQ_NO_UNROLL
    while (at.tile < args.tiles) {
        segment_find(at, args);
        const PartAt now = at;
        stored = next;
        at.tile += tiles_on;
        at.part += parts_on;
        if (at.part >= parts) {
            at.part -= parts;
            at.tile++;
        }
        if (at.tile < args.tiles && at.part < spans)
            next = span_load<C>(args, at, lane); // on its way meanwhile
        write_part<C>(args, stored, now, spans, lane);
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
