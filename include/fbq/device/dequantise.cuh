// fbq/device/dequantise.cuh: chunks of stored numbers into weights in memory, for reconstruct.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_DEQUANTISE_CUH
#define FBQ_DEVICE_DEQUANTISE_CUH

#include "multiply.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// What a reconstruct kernel is compiled for.
//   Stored   a Format                Chunks   of a strip
//   Out      type of w               Tiles    of 16 rows that a warp takes at a time
//   Adds     B . A is added
template <class Stored, int Out, bool Adds, int Warps, int Chunks, int Tiles>
struct Reconstruct {
    static_assert(Out == type_f16 || Out == type_bf16, "");
    static_assert(Warps >= 1 && Warps <= 32 && Warps % Chunks == 0, "");
    static_assert(Tiles >= 1 && Tiles <= 4, "");
    static constexpr int bits = Stored::bits, group = Stored::group, zero = Stored::zero,
                         scale = Stored::scale, factor = Stored::factor, out = Out;
    static constexpr bool adds = Adds;
    static constexpr int warps = Warps, chunks = Chunks, tiles = Tiles;
    static constexpr int band_tiles = Warps / Chunks * Tiles;
    // Registers suffice to have the next blocks of B on their way: not those of 16 warps, which
    // have each other to hide the wait.
    static constexpr bool ahead = Warps < 16;
    static constexpr int groups = group == 32 ? 2 : 1; // that a chunk meets
    static constexpr int group_bytes = zero == zero_f16 ? 64 : 32;
};

// ---- Stored numbers ----

// A lane's part of a chunk of a tile.
template <class C>
struct StoredChunk {
    u32 codes[2 * C::bits]; // the first half; unpack.cuh counts in units of two chunks
    u32 scale[C::groups], zero[C::groups];
};

// A lane's words of a chunk's codes, out of the span of docs/layout.md that it lies in.
template <int Bits>
FBQ_DEVICE void chunk_words(u32 (&words)[2 * Bits], const u8 *codes, int chunk, int lane)
{
    if (Bits == 4) {
        put_words(words, 0, ldg_stream_u32x4(codes + (i64)chunk * 512 + lane * 16));
    } else if (Bits == 2) {
        const u32x2 v = ldg_u32x2(codes + (i64)(chunk / 2) * 512 + lane * 16 + chunk % 2 * 8);
        words[0] = v.x;
        words[1] = v.y;
    } else {
        const bool second = chunk % 2;
        const u8 *span = codes + (i64)(chunk / 2) * 768 + lane * 8;
        const u32x2 pair = ldg_u32x2(span + (second ? 512 : 0));
        const u32 single = ldg_u32(span + (second ? 260 : 256));
        words[0] = second ? single : pair.x;
        words[1] = second ? pair.x : pair.y;
        words[2] = second ? pair.y : single;
    }
}

// The group that a chunk begins in.
template <class C>
FBQ_DEVICE int first_group(int chunk)
{
    return C::group == 0 ? 0 : chunk * chunk_codes / (C::group ? C::group : 1);
}

// Have a chunk of a tile brought into L2.
template <class C>
FBQ_DEVICE void chunk_ahead(const fbq_reconstruct_args &args, int tile, int chunk, int lane)
{
    constexpr int chunks = C::bits == 4 ? 1 : 2, bytes = chunks * chunk_codes * 2 * C::bits;
    const u8 *record = (const u8 *)args.records + (i64)tile * args.record_bytes;
    const i64 group = first_group<C>(chunk);
    prefetch_l2(record + (i64)(chunk / chunks) * bytes, bytes, lane);
    prefetch_l2(record + args.codes_bytes + group * C::group_bytes, C::groups * C::group_bytes,
                lane);
    if (C::zero == zero_code) // which may begin between vectors
        prefetch_l2(record + args.codes_bytes + args.scales_bytes + group / 2 * 16, 16, lane);
}

template <class C>
FBQ_DEVICE StoredChunk<C> chunk_load(const fbq_reconstruct_args &args, int tile, int chunk,
                                     int lane)
{
    const u8 *record = (const u8 *)args.records + (i64)tile * args.record_bytes;
    const u8 *scales = record + args.codes_bytes + (lane >> 2) * (C::group_bytes / 8);
    const u8 *zeros = record + args.codes_bytes + args.scales_bytes + (lane >> 2);
    StoredChunk<C> v;
    chunk_words<C::bits>(v.codes, record, chunk, lane);
    FBQ_UNROLL
    for (int i = 0; i < C::groups; i++) {
        const i64 group = first_group<C>(chunk) + i;
        v.zero[i] = 0;
        if (C::zero == zero_f16) {
            const u32x2 both = ldg_u32x2(scales + group * C::group_bytes);
            v.scale[i] = both.x;
            v.zero[i] = both.y;
        } else {
            v.scale[i] = ldg_u32(scales + group * C::group_bytes);
            if (C::zero == zero_code)
                v.zero[i] = ldg_u8(zeros + group * 8);
        }
    }
    return v;
}

// ---- Writing ----

// What turns bias + q and -(bias + most - q) (unpack.cuh) of a row into weights.
struct RowScale {
    float scale, even, odd;
};

template <class C>
FBQ_DEVICE RowScale row_scale(float scale, float zero)
{
    constexpr int bias = 1 << (Number<type_f16>::mantissa - Biased<type_f16, C::bits>::place);
    constexpr int most = (1 << C::bits) - 1;
    return RowScale{scale, add((float)bias, zero), sub((float)(bias + most), zero)};
}

// Two neighbouring weights: s (q - z) + c, with one rounding beside those of q - z and of w.
template <class C>
FBQ_DEVICE u32 weights_of(u32 biased, const RowScale &r, float c_even, float c_odd)
{
    float even, odd;
    f32x2_of_f16x2(biased, even, odd);
    even = sub(even, r.even);
    odd = add(odd, r.odd);
    return C::adds ? pair_of_f32<C::out>(fma(r.scale, even, c_even), fma(r.scale, odd, c_odd))
                   : pair_of_f32<C::out>(mul(r.scale, even), mul(r.scale, odd));
}

// Eight numbers of a row, those within K.
template <class C>
FBQ_DEVICE void write_eight(const fbq_reconstruct_args &args, int row, int k, const u32x4 &v)
{
    u16 *to = (u16 *)args.w + (i64)row * args.w_stride + k;
    if (args.w_vectors && k + 8 <= args.k) {
        stg_u32x4(to, v);
        return;
    }
    const u32 pair[4] = {v.x, v.y, v.z, v.w};
    FBQ_UNROLL
    for (int i = 0; i < 8; i++)
        if (k + i < args.k)
            stg_u16(to + i, pair[i / 2] >> i % 2 * 16);
}

// A tile of a chunk, from `row` on.
template <class C>
FBQ_DEVICE void write_tile(const fbq_reconstruct_args &args, const StoredChunk<C> &stored,
                           const float (&c)[2][4][4], int row, int end_row, int chunk, int lane)
{
    const int upper_row = row + (lane >> 2), lower_row = upper_row + 8;
    FBQ_UNROLL
    for (int h = 0; h < 2; h++) {
        const int group = C::groups == 2 ? h : 0, k = chunk * chunk_codes + h * 32 + (lane & 3) * 8;
        float upper_scale, lower_scale, upper_zero, lower_zero;
        f32x2_of<C::scale>(stored.scale[group], upper_scale, lower_scale);
        zeros_of<C>(stored.zero[group], upper_zero, lower_zero);
        const RowScale upper = row_scale<C>(upper_scale, upper_zero),
                       lower = row_scale<C>(lower_scale, lower_zero);
        u32 above[4], below[4];
        FBQ_UNROLL
        for (int i = 0; i < 2; i++) {
            const u32x4 v = operand_of<type_f16, C::bits>(stored.codes, 2 * h + i);
            const float(&first)[4] = c[h][2 * i], (&second)[4] = c[h][2 * i + 1];
            above[2 * i] = weights_of<C>(v.x, upper, first[0], first[1]);
            below[2 * i] = weights_of<C>(v.y, lower, first[2], first[3]);
            above[2 * i + 1] = weights_of<C>(v.z, upper, second[0], second[1]);
            below[2 * i + 1] = weights_of<C>(v.w, lower, second[2], second[3]);
        }
        if (upper_row < end_row)
            write_eight<C>(args, upper_row, k, u32x4{above[0], above[1], above[2], above[3]});
        if (lower_row < end_row)
            write_eight<C>(args, lower_row, k, u32x4{below[0], below[1], below[2], below[3]});
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
