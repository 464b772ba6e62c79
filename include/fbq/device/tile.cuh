// fbq/device/tile.cuh: one warp's share of a weight tile: x in shared memory, codes in registers.
//
// A step of a block is one pass along K: warp w takes `Chunks` chunks of 64 codes. It holds a
// step's codes, scales and zero points in registers and refills each register for the next step as
// soon as it has been used, so that memory works while the tensor cores do. Its slice of x is
// staged by that warp alone: no barrier of the block stands between x and the arithmetic.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_TILE_CUH
#define FBQ_DEVICE_TILE_CUH

#include "args.cuh"
#include "unpack.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Zero kinds as types.h numbers them.
constexpr int zero_none = 0;
constexpr int zero_code = 1;
constexpr int zero_f16 = 2;

// What a fused kernel is compiled for.
//   Group    group size, 0: whole row      Columns  rows of x served: 1, or up to 8
//   Zero     zero kind                     Branch   with the sub-branch
//   Warps, Chunks: the pick (blocks_per_sm only sets the grid)
// host/geometry.h repeats the shared-memory sizes.
template <int Group, int Zero, int Columns, bool Branch, int Warps, int Chunks>
struct Fused {
    static_assert(Group == 0 || Group == 32 || Group == 64 || Group == 128 || Group == 256, "");
    static_assert(Columns == 1 || Columns == 8, "");
    static_assert(Chunks == 1 || Chunks == 2 || Chunks == 4, "");
    static_assert(Warps >= 1 && Warps <= 32, "");

    static constexpr int group = Group, zero = Zero, columns = Columns, warps = Warps,
                         chunks = Chunks;
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

    static constexpr int group_bytes = Zero == zero_f16 ? 64 : 32; // scales, fp16 zero points

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

// Where a lane reads: its row of x (column of the product) and its quarter of each half-chunk.
// Lanes of columns beyond m read the last row: their results are never looked at.
template <class C>
FBQ_DEVICE saddr x_lane_address(saddr slice, int lane, int m)
{
    const int column = C::columns == 1 ? 0 : min_int(lane >> 2, m - 1);
    return slice + (u32)(C::correction_bytes + column * C::x_row_bytes + (lane & 3) * 16);
}

// The vector of x that a lane feeds into the two steps of a half-chunk (32 k).
FBQ_DEVICE u32x4 x_fragment(saddr x_lane, int half_chunk)
{
    return lds_u32x4(x_lane + (u32)half_chunk * 64);
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
            copy_async16(to, (const u16 *)args.x + offset + k);
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
        // any four lanes hold all columns: -sum(bias x) in c0 c1, -sum(x) in c2 c3
        if (C::columns == 1) {
            if (lane == 0)
                sts_f32x2(slice + (u32)f * 8, c[0], c[2]);
        } else if (lane < 4) {
            sts_f32x2(slice + (u32)(f * C::columns + 2 * t) * 8, c[0], c[2]);
            sts_f32x2(slice + (u32)(f * C::columns + 2 * t + 1) * 8, c[1], c[3]);
        }
    }
}

// ---- Codes in registers ----

// The codes, scales and zero points of a warp's step.
template <class C>
struct Held {
    u32x4 codes[C::chunks];
    u32 scale[C::slots]; // rows g and g + 8
    u32 zero[C::slots];  // fp16: the same rows; code: one byte
};

// Where a step's bytes are, for this lane. A load that has nothing to fetch (beyond K, or beyond
// the last tile) fetches again what is near, since a branch or a predicate costs more; it meets an
// x of zeros. Near is the same row's first group, so that not even a scale of infinity or NaN
// leaks.
struct Source {
    const u8 *codes;
    const u8 *scales;
    const u8 *zeros; // zero_code
    int count;       // chunks that exist, 0 or less for none
};

// The step that registers are to be filled with next: a walk over passes, then tiles.
struct Ahead {
    const u8 *record;
    int tile;
    int first; // first chunk of this warp
};

template <class C>
FBQ_DEVICE Ahead ahead_begin(const fbq_fused_args &args, int warp)
{
    Ahead a;
    a.tile = block_index_x();
    a.first = warp * C::chunks;
    a.record = (const u8 *)args.records + (i64)a.tile * args.record_bytes;
    return a;
}

template <class C>
FBQ_DEVICE void ahead_advance(Ahead &a, const fbq_fused_args &args, int warp)
{
    a.first += C::warps * C::chunks;
    if (a.first - warp * C::chunks >= args.chunks) {
        a.first = warp * C::chunks;
        a.tile += grid_blocks_x();
        a.record += args.round_bytes;
    }
}

template <class C>
FBQ_DEVICE Source source_of(const fbq_fused_args &args, const Ahead &a, int lane)
{
    Source s;
    s.count = a.tile < args.tiles ? args.chunks - a.first : 0;
    const u8 *record = a.tile < args.tiles ? a.record : (const u8 *)args.records;
    const int first = s.count > 0 ? a.first : 0, row = lane >> 2;
    const int group = (C::group == 0 ? 0 : first * chunk_codes / C::group) + (FBQ_PLANT == 1);
    s.codes = record + (s.count > 0 ? first * 512 + lane * 16 : 0);
    s.scales = record + (args.codes_bytes + group * C::group_bytes + row * (C::group_bytes / 8));
    s.zeros = record + (args.codes_bytes + args.scales_bytes + group * 8 + row);
    return s;
}

template <class C>
FBQ_DEVICE void load_codes(Held<C> &held, int i, const Source &from)
{
    held.codes[i] = ldg_stream_u32x4(from.codes + (i < from.count ? i * 512 : 0));
}

template <class C>
FBQ_DEVICE void load_scale(Held<C> &held, int slot, const Source &from)
{
    const int at = slot * C::group_or_held < from.count * chunk_codes ? slot : 0;
    held.zero[slot] = 0;
    if (C::zero == zero_f16) {
        const u32x2 v = ldg_stream_u32x2(from.scales + at * 64);
        held.scale[slot] = v.x;
        held.zero[slot] = v.y;
    } else {
        held.scale[slot] = ldg_stream_u32(from.scales + at * 32);
        if (C::zero == zero_code)
            held.zero[slot] = ldg_stream_u8(from.zeros + at * 8);
    }
}

template <class C>
FBQ_DEVICE void load_all(Held<C> &held, const Source &from)
{
    FBQ_UNROLL
    for (int i = 0; i < C::chunks; i++)
        load_codes(held, i, from);
    FBQ_UNROLL
    for (int s = 0; s < C::slots; s++)
        load_scale(held, s, from);
}

// ---- Arithmetic ----

// Start a flush at minus everything that is not q: -sum(bias x) - z sum(x).
template <class C>
FBQ_DEVICE void start_flush(float (&c)[4], saddr slice, int f, u32 zero, int lane)
{
    float upper = 8.0f, lower = 8.0f;
    if (C::zero == zero_code) {
        upper = f32_of_u32(zero & 15u);
        lower = f32_of_u32(zero >> 4);
    } else if (C::zero == zero_f16) {
        f32x2_of_f16x2(zero, upper, lower);
    }
    if (C::columns == 1) {
        float bias, sum;
        lds_f32x2(slice + (u32)f * 8, bias, sum);
        c[0] = fma(upper, sum, bias);
        c[1] = 0;
        c[2] = fma(lower, sum, bias);
        c[3] = 0;
    } else {
        const f32x4 v = lds_f32x4(slice + (u32)(f * C::columns + 2 * (lane & 3)) * 8);
        c[0] = fma(upper, v.y, v.x);
        c[1] = fma(upper, v.w, v.z);
        c[2] = fma(lower, v.y, v.x);
        c[3] = fma(lower, v.w, v.z);
    }
}

template <class C>
FBQ_DEVICE void end_flush(float (&y)[4], const float (&c)[4], u32 scale)
{
    float upper, lower;
    f32x2_of_f16x2(scale, upper, lower);
    y[0] = fma(upper, c[0], y[0]);
    y[2] = fma(lower, c[2], y[2]);
    if (C::columns > 1) {
        y[1] = fma(upper, c[1], y[1]);
        y[3] = fma(lower, c[3], y[3]);
    }
}

// y += the held codes times x, refilling each register from `next`. x is read one chunk ahead.
template <class C>
FBQ_DEVICE void multiply(float (&y)[4], Held<C> &held, const fbq_fused_args &args, saddr slice,
                         const Source &next, int lane)
{
    const saddr x = x_lane_address<C>(slice, lane, args.m);
    u32x4 b[2] = {x_fragment(x, 0), x_fragment(x, 1)};
    float c[4];
    FBQ_UNROLL
    for (int i = 0; i < C::chunks; i++) {
        u32x4 ahead[2] = {b[0], b[1]};
        if (i + 1 < C::chunks) {
            ahead[0] = x_fragment(x, 2 * i + 2);
            ahead[1] = x_fragment(x, 2 * i + 3);
        }
        FBQ_UNROLL
        for (int half = 0; half < 2; half++) { // 32 codes of each row, two tensor-core steps
            const int h = 2 * i + half, f = h * 32 / C::flush, slot = f / C::flushes_per_slot;
            if (h * 32 % C::flush == 0)
                start_flush<C>(c, slice, f, held.zero[slot], lane);
            Operand4 a = unpack4(half ? held.codes[i].z : held.codes[i].x);
            mma_f16(c, a.a0, a.a1, a.a2, a.a3, b[half].x, b[half].y);
            a = unpack4(half ? held.codes[i].w : held.codes[i].y);
            mma_f16(c, a.a0, a.a1, a.a2, a.a3, b[half].z, b[half].w);
            if ((h + 1) * 32 % C::flush == 0) {
                end_flush<C>(y, c, held.scale[slot]);
                if ((f + 1) % C::flushes_per_slot == 0)
                    load_scale(held, slot, next);
            }
        }
        load_codes(held, i, next);
        b[0] = ahead[0];
        b[1] = ahead[1];
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
