// fbq/device/tile.cuh: one warp's share of a weight tile: x in shared memory, codes in registers.
//
// A pass is one step of a block along K: warp w takes `Chunks` chunks of 64 codes. Its slice of x
// is staged by that warp alone, so that no barrier of the block stands between x and the
// arithmetic.
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
//   Warps, Chunks, Blocks: the pick (warps, chunks, blocks_per_sm)
template <int Group, int Zero, int Columns, bool Branch, int Warps, int Chunks, int Blocks>
struct Fused {
    static_assert(Group == 0 || Group == 32 || Group == 64 || Group == 128 || Group == 256, "");
    static_assert(Columns == 1 || Columns == 8, "");
    static_assert(Chunks == 1 || Chunks == 2 || Chunks == 4, "");
    static_assert(Warps >= 1 && Warps <= 32, "");

    static constexpr int group = Group, zero = Zero, columns = Columns, warps = Warps,
                         chunks = Chunks, blocks = Blocks;
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

    // Shared memory of a warp's slice of x: rows of 64 * Chunks words, shifted against each other
    // by 64 bytes so that two rows' vectors fall into different banks; behind them the corrections.
    static constexpr int x_row_bytes = held * 2 + (Columns > 1 ? 64 : 0);
    static constexpr int correction_bytes = (flushes * Columns * 8 + 15) / 16 * 16;
};

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
template <class C>
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

// Start fetching x of this warp's chunks, `first` on.
template <class C>
FBQ_DEVICE void fetch_x(const fbq_fused_args &args, saddr slice, int first, int lane)
{
    constexpr int vectors_per_row = C::held / 8;
    FBQ_NO_UNROLL
    for (int i = lane; i < args.m * vectors_per_row; i += warp_lanes) {
        const int row = i / vectors_per_row, vector = i % vectors_per_row;
        const int k = first * chunk_codes + vector * 8;
        const saddr to = slice + (u32)(C::correction_bytes + row * C::x_row_bytes + vector * 16);
        const i64 offset = (i64)row * args.x_stride;
        if (args.x_vectors && k + 8 <= args.k)
            copy_async16(to, (const u16 *)args.x + offset + k);
        else
            sts_u32x4(to, x_words(args.x, offset, k, args.k, 0));
    }
}

// Sum the corrections of each flush, once this warp's fetches are waited for.
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
            const u32x4 b = x_fragment<C>(x, h);
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

// The codes, scales and zero points of a warp's chunks, in registers.
template <class C>
struct Held {
    u32x4 codes[C::chunks];
    u32 scale[C::slots]; // rows g and g + 8
    u32 zero[C::slots];  // fp16: the same rows; code: one byte
};

// Where a warp's next chunks are: this lane's codes and scales, and how many chunks there are of
// C::chunks; 0 is the end.
struct Source {
    const u8 *codes;
    const u8 *scales;
    const u8 *zeros; // of FBQ_ZERO_CODE
    int count;
};

template <class C>
FBQ_DEVICE Source source_of(const fbq_fused_args &args, int tile, int first, int lane)
{
    constexpr int group_bytes = C::zero == zero_f16 ? 64 : 32;
    const u8 *record = (const u8 *)args.records + (i64)tile * args.record_bytes;
    const int group = (C::group == 0 ? 0 : first * chunk_codes / C::group) + (FBQ_PLANT == 1);
    Source s;
    s.codes = record + first * 512 + lane * 16;
    s.scales = record + args.codes_bytes + group * group_bytes + (lane >> 2) * (group_bytes / 8);
    s.zeros = record + args.codes_bytes + args.scales_bytes + group * 8 + (lane >> 2);
    s.count = tile < args.tiles ? args.chunks - first : 0;
    return s;
}

template <class C>
FBQ_DEVICE void load_codes(Held<C> &held, int i, const Source &from)
{
    ldg_stream_u32x4_if(held.codes[i], from.codes + i * 512, i < from.count);
}

template <class C>
FBQ_DEVICE void load_scale(Held<C> &held, int slot, const Source &from)
{
    const bool on = slot * C::group_or_held < from.count * chunk_codes;
    if (C::zero == zero_f16) {
        const u32x2 v = ldg_stream_u32x2_or_zero(from.scales + slot * 64, on);
        held.scale[slot] = v.x;
        held.zero[slot] = v.y;
    } else {
        held.scale[slot] = ldg_stream_u32_or_zero(from.scales + slot * 32, on);
        if (C::zero == zero_code)
            held.zero[slot] = ldg_stream_u8_or_zero(from.zeros + slot * 8, on);
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

template <class C>
FBQ_DEVICE void zero_points(u32 zero, float &upper, float &lower)
{
    if (C::zero == zero_none) {
        upper = lower = 8.0f;
    } else if (C::zero == zero_code) {
        upper = f32_of_u32(zero & 15u);
        lower = f32_of_u32(zero >> 4);
    } else {
        f32x2_of_f16x2(zero, upper, lower);
    }
}

// Start a flush at minus everything that is not s * q: -sum(bias x) - z sum(x).
template <class C>
FBQ_DEVICE void start_flush(float (&c)[4], saddr corrections, int f, u32 zero, int lane)
{
    float upper, lower;
    zero_points<C>(zero, upper, lower);
    if (C::columns == 1) {
        float bias, sum;
        lds_f32x2(corrections + (u32)f * 8, bias, sum);
        c[0] = fma(upper, sum, bias);
        c[1] = 0;
        c[2] = fma(lower, sum, bias);
        c[3] = 0;
    } else {
        const f32x4 v = lds_f32x4(corrections + (u32)(f * C::columns + 2 * (lane & 3)) * 8);
        c[0] = fma(upper, v.y, v.x);
        c[1] = fma(upper, v.w, v.z);
        c[2] = fma(lower, v.y, v.x);
        c[3] = fma(lower, v.w, v.z);
    }
}

// y += the warp's chunks, and refill each register from `next` as soon as it is free.
template <class C>
FBQ_DEVICE void multiply(float (&y)[4], Held<C> &held, const fbq_fused_args &args, saddr slice,
                         const Source &next, int lane)
{
    const saddr x = x_lane_address<C>(slice, lane, args.m);
    float c[4];
    FBQ_UNROLL
    for (int h = 0; h < C::chunks * 2; h++) { // half-chunks of 32 codes
        const int i = h / 2, f = h * 32 / C::flush, slot = f / C::flushes_per_slot;
        if (h * 32 % C::flush == 0)
            start_flush<C>(c, slice, f, held.zero[slot], lane);
        const u32x4 b = x_fragment<C>(x, h);
        Operand4 a = unpack4(h % 2 ? held.codes[i].z : held.codes[i].x);
        mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.x, b.y);
        a = unpack4(h % 2 ? held.codes[i].w : held.codes[i].y);
        mma_f16(c, a.a0, a.a1, a.a2, a.a3, b.z, b.w);
        if (h % 2 == 1)
            load_codes(held, i, next);
        if ((h + 1) * 32 % C::flush == 0) {
            float upper, lower;
            f32x2_of_f16x2(held.scale[slot], upper, lower);
            y[0] = fma(upper, c[0], y[0]);
            y[2] = fma(lower, c[2], y[2]);
            if (C::columns > 1) {
                y[1] = fma(upper, c[1], y[1]);
                y[3] = fma(lower, c[3], y[3]);
            }
            if ((f + 1) % C::flushes_per_slot == 0)
                load_scale(held, slot, next);
        }
    }
}

} // namespace fbq

#endif
