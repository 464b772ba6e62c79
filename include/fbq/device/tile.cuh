// fbq/device/tile.cuh: one warp's share of a weight tile, from its ring of stages in shared memory.
//
// A step of a block is one pass along K: warp w takes `Chunks` chunks of 64 codes. Their codes,
// scales and zero points make a stage. Each warp has a ring of `Stages` of them and fills it with
// asynchronous copies, always whole steps ahead and across tiles, so that memory never waits for
// arithmetic; no barrier of the block takes part, since a warp reads only what it fetched.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_TILE_CUH
#define FBQ_DEVICE_TILE_CUH

#include "args.cuh"
#include "unpack.cuh"

namespace fbq
{

// Zero kinds as types.h numbers them.
constexpr int zero_none = 0;
constexpr int zero_code = 1;
constexpr int zero_f16 = 2;

// What a fused kernel is compiled for.
//   Group    group size, 0: whole row      Columns  rows of x served: 1, or up to 8
//   Zero     zero kind                     Branch   with the sub-branch
//   Warps, Chunks, Blocks, Stages: the pick (warps, chunks, blocks_per_sm, stages)
// host/geometry.h repeats the shared-memory sizes.
template <int Group, int Zero, int Columns, bool Branch, int Warps, int Chunks, int Blocks,
          int Stages>
struct Fused {
    static_assert(Group == 0 || Group == 32 || Group == 64 || Group == 128 || Group == 256, "");
    static_assert(Columns == 1 || Columns == 8, "");
    static_assert(Chunks == 1 || Chunks == 2 || Chunks == 4, "");
    static_assert(Warps >= 1 && Warps <= 32 && Stages >= 2 && Stages <= 8, "");

    static constexpr int group = Group, zero = Zero, columns = Columns, warps = Warps,
                         chunks = Chunks, blocks = Blocks, stages = Stages;
    static constexpr bool branch = Branch;

    // Codes summed before the bias is taken out: a group, but at most 128, since the tensor core
    // truncates (docs/numerics.md), and at most what a warp holds.
    static constexpr int held = Chunks * chunk_codes;
    static constexpr int group_or_held = Group == 0 || Group > held ? held : Group;
    static constexpr int flush = group_or_held > 128 ? 128 : group_or_held;
    static constexpr int flushes = held / flush;
    // Groups a warp holds, and flushes that share one.
    static constexpr int slots = held / group_or_held;
    static constexpr int flushes_per_slot = flushes / slots;

    // A stage: codes, scales (with fp16 zero points), integer zero points, a block of B.
    static constexpr int group_bytes = Zero == zero_f16 ? 64 : 32;
    static constexpr int stage_scales = Chunks * 512;
    static constexpr int stage_zeros = stage_scales + slots * group_bytes;
    static constexpr int stage_up =
        stage_zeros + (Zero == zero_code ? (slots * 8 + 15) / 16 * 16 : 0);
    static constexpr int stage_bytes = stage_up + (Branch ? 512 : 0);

    // A warp's slice of x: the corrections, then rows of 64 * Chunks words, shifted against each
    // other by 64 bytes so that two rows' vectors fall into different banks.
    static constexpr int x_row_bytes = held * 2 + (Columns > 1 ? 64 : 0);
    static constexpr int correction_bytes = (flushes * Columns * 8 + 15) / 16 * 16;
};

// ---- x ----

// Eight words of x from k on, zeros beyond K.
FBQ_DEVICE u32x4 x_words(const void *x, i64 row_offset, int k, int k_total, int vectors)
{
    const u16 *p = (const u16 *)x + row_offset + k;
    u32x4 v = {0, 0, 0, 0};
    if (vectors && k + 8 <= k_total)
        return ldg_u32x4(p);
    u32 word[8];
    FBQ_UNROLL
    for (int i = 0; i < 8; i++)
        word[i] = k + i < k_total ? ldg_u16(p + i) : 0;
    v.x = word[0] | word[1] << 16;
    v.y = word[2] | word[3] << 16;
    v.z = word[4] | word[5] << 16;
    v.w = word[6] | word[7] << 16;
    return v;
}

// The vector of x that a lane feeds into the two steps of a half-chunk (32 k).
FBQ_DEVICE u32x4 x_fragment(saddr x_lane, int half_chunk)
{
    return lds_u32x4(x_lane + (u32)half_chunk * 64);
}

// Where a lane reads: its row of x (column of the product) and its quarter of each half-chunk.
// Lanes of columns beyond m read the last row: their results are never looked at.
template <class C>
FBQ_DEVICE saddr x_lane_address(saddr slice, int lane, int m)
{
    const int column = C::columns == 1 ? 0 : min_int(lane >> 2, m - 1);
    return slice + (u32)(C::correction_bytes + column * C::x_row_bytes + (lane & 3) * 16);
}

// Fetch x of this warp's chunks, `first` on: with asynchronous copies where Async and aligned, else
// at once. The warp waits for the copies, if any, and meets at a barrier before it reads them.
template <class C, bool Async>
FBQ_DEVICE void fetch_x(const fbq_fused_args &args, saddr slice, int first, int lane)
{
    constexpr int vectors_per_row = C::held / 8;
    FBQ_NO_UNROLL
    for (int i = lane; i < args.m * vectors_per_row; i += warp_lanes) {
        const int row = i / vectors_per_row, vector = i % vectors_per_row;
        const int k = first * chunk_codes + vector * 8;
        const saddr to = slice + (u32)(C::correction_bytes + row * C::x_row_bytes + vector * 16);
        const i64 offset = (i64)row * args.x_stride;
        if (Async && args.x_vectors && k + 8 <= args.k)
            copy_async16(to, (const u16 *)args.x + offset + k, true);
        else
            sts_u32x4(to, x_words(args.x, offset, k, args.k, args.x_vectors));
    }
}

// Sum the corrections of each flush: -sum(bias x) and -sum(x), for every column.
template <class C>
FBQ_DEVICE void correct_x(const fbq_fused_args &args, saddr slice, int lane)
{
    const saddr x = x_lane_address<C>(slice, lane, args.m);
    const Operand4 a = minus_bias4();
    const int t = lane & 3;
    FBQ_UNROLL
    for (int f = 0; f < C::flushes; f++) {
        float c[4] = {0, 0, 0, 0};
        FBQ_UNROLL
        for (int h = f * C::flush / 32; h < (f + 1) * C::flush / 32; h++) {
            const u32x4 b = x_fragment(x, h);
            mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.x, b.y);
            mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.z, b.w);
        }
        // every group of four lanes holds all columns: -sum(bias x) in c0 c1, -sum(x) in c2 c3
        if (C::columns == 1) {
            if (lane == 0)
                sts_f32x2(slice + (u32)f * 8, c[0], c[2]);
        } else if (lane < 4) {
            sts_f32x2(slice + (u32)(f * C::columns + 2 * t) * 8, c[0], c[2]);
            sts_f32x2(slice + (u32)(f * C::columns + 2 * t + 1) * 8, c[1], c[3]);
        }
    }
}

// ---- The ring ----

// What a step of this warp wants of memory. `count`: chunks that exist, 0 or less for none.
struct Source {
    const u8 *codes;  // this lane's first vector
    const u8 *scales; // of the step's first group
    const u8 *zeros;  // of the step's first group (zero_code)
    int count;
};

template <class C>
FBQ_DEVICE Source source_of(const fbq_fused_args &args, int tile, int first, int lane)
{
    const u8 *record = (const u8 *)args.records + (i64)tile * args.record_bytes;
    const int group = (C::group == 0 ? 0 : first * chunk_codes / C::group) + (FBQ_PLANT == 1);
    Source s;
    s.codes = record + first * 512 + lane * 16;
    s.scales = record + args.codes_bytes + group * C::group_bytes;
    s.zeros = record + args.codes_bytes + args.scales_bytes + group * 8;
    s.count = tile < args.tiles ? args.chunks - first : 0;
    return s;
}

// A lane fetches the vectors of codes that it alone will read.
FBQ_DEVICE void fetch_codes(saddr stage, int i, const Source &from, int lane)
{
    copy_async16(stage + (u32)(i * 512 + lane * 16), from.codes + i * 512, i < from.count);
}

// Scales and zero points are read by the whole warp. Groups beyond the row become 0.
template <class C>
FBQ_DEVICE void fetch_scales(saddr stage, const Source &from, int lane)
{
    constexpr int vectors = C::slots * C::group_bytes / 16, per_group = C::group_bytes / 16;
    const int left = from.count * chunk_codes;
    if (lane < vectors)
        copy_async16(stage + (u32)(C::stage_scales + lane * 16), from.scales + lane * 16,
                     lane / per_group * C::group_or_held < left);
    if (C::zero == zero_code && lane < C::slots)
        copy_async8(stage + (u32)(C::stage_zeros + lane * 8), from.zeros + lane * 8,
                    lane * C::group_or_held < left);
}

// ---- Arithmetic ----

// Scales and zero points of rows g and g + 8 (upper, lower half of the operand).
struct Affine {
    float upper_scale, lower_scale, upper_zero, lower_zero;
};

template <class C>
FBQ_DEVICE Affine read_affine(saddr stage, int slot, int lane)
{
    const u32 g = (u32)lane >> 2;
    const saddr at = stage + (u32)(C::stage_scales + slot * C::group_bytes);
    Affine v;
    if (C::zero == zero_f16) {
        const u32x2 words = lds_u32x2(at + g * 8);
        f32x2_of_f16x2(words.x, v.upper_scale, v.lower_scale);
        f32x2_of_f16x2(words.y, v.upper_zero, v.lower_zero);
    } else {
        f32x2_of_f16x2(lds_u32(at + g * 4), v.upper_scale, v.lower_scale);
        v.upper_zero = v.lower_zero = 8.0f;
        if (C::zero == zero_code) {
            const u32 codes = lds_u8(stage + (u32)(C::stage_zeros + slot * 8) + g);
            v.upper_zero = f32_of_u32(codes & 15u);
            v.lower_zero = f32_of_u32(codes >> 4);
        }
    }
    return v;
}

// Start a flush at minus everything that is not q: -sum(bias x) - z sum(x).
template <class C>
FBQ_DEVICE void start_flush(float (&c)[4], saddr slice, int f, const Affine &v, int lane)
{
    if (C::columns == 1) {
        float bias, sum;
        lds_f32x2(slice + (u32)f * 8, bias, sum);
        c[0] = fma(v.upper_zero, sum, bias);
        c[1] = 0;
        c[2] = fma(v.lower_zero, sum, bias);
        c[3] = 0;
    } else {
        const f32x4 w = lds_f32x4(slice + (u32)(f * C::columns + 2 * (lane & 3)) * 8);
        c[0] = fma(v.upper_zero, w.y, w.x);
        c[1] = fma(v.upper_zero, w.w, w.z);
        c[2] = fma(v.lower_zero, w.y, w.x);
        c[3] = fma(v.lower_zero, w.w, w.z);
    }
}

template <class C>
FBQ_DEVICE void end_flush(float (&y)[4], const float (&c)[4], const Affine &v)
{
    y[0] = fma(v.upper_scale, c[0], y[0]);
    y[2] = fma(v.lower_scale, c[2], y[2]);
    if (C::columns > 1) {
        y[1] = fma(v.upper_scale, c[1], y[1]);
        y[3] = fma(v.lower_scale, c[3], y[3]);
    }
}

// y += a stage's codes times x, and fetch each chunk of `next` into the place just read. Flushes go
// two at a time, so that one's tensor-core latency is the other's time.
template <class C>
FBQ_DEVICE void multiply(float (&y)[4], const fbq_fused_args &args, saddr stage, saddr slice,
                         const Source &next, int lane)
{
    constexpr int pairs = C::flushes > 1 ? 2 : 1, halves = C::flush / 32;
    constexpr int per_chain = C::flushes / pairs;
    const saddr x = x_lane_address<C>(slice, lane, args.m);
    FBQ_NO_UNROLL // small groups: unrolled rounds would all be loaded at once and spill
    for (int round = 0; round < per_chain; round++) {
        float c[pairs][4];
        Affine v[pairs];
        FBQ_UNROLL
        for (int p = 0; p < pairs; p++) {
            const int f = p * per_chain + round;
            v[p] = read_affine<C>(stage, f / C::flushes_per_slot, lane);
            start_flush<C>(c[p], slice, f, v[p], lane);
        }
        FBQ_UNROLL
        for (int j = 0; j < halves; j++) {
            FBQ_UNROLL
            for (int p = 0; p < pairs; p++) {
                // a half-chunk: 32 codes of each row, half of a lane's vector
                const int h = (p * per_chain + round) * halves + j, i = h / 2;
                const u32x2 w = lds_u32x2(stage + (u32)(i * 512 + lane * 16 + h % 2 * 8));
                const u32x4 b = x_fragment(x, h);
                Operand4 a = unpack4(w.x);
                mma_f16(c[p], a.a0, a.a1, a.a2, a.a3, b.x, b.y);
                a = unpack4(w.y);
                mma_f16(c[p], a.a0, a.a1, a.a2, a.a3, b.z, b.w);
                if (h % 2 == 1 && next.count > 0)
                    fetch_codes(stage, i, next, lane);
            }
        }
        FBQ_UNROLL
        for (int p = 0; p < pairs; p++)
            end_flush<C>(y, c[p], v[p]);
    }
}

} // namespace fbq

#endif
