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
//   Stored   a Format                Chunks   of a strip, where B . A is added
//   Out      type of w               Tiles    of 16 rows that a warp takes at a time there
//   Adds     B . A is added
template <class Stored, int Out, bool Adds, int Warps, int Chunks, int Tiles>
struct Reconstruct {
    static_assert(Out == type_f16 || Out == type_bf16, "");
    static_assert(Warps >= 1 && Warps <= 32 && Warps % Chunks == 0, "");
    static_assert(Tiles >= 1 && Tiles <= 4, "");
    static_assert(Stored::factor != type_i8, "int8 factors cannot be written out or added yet");
    static constexpr int bits = Stored::bits, group = Stored::group, zero = Stored::zero,
                         scale = Stored::scale, factor = Stored::factor, out = Out;
    static constexpr bool adds = Adds;
    static constexpr int warps = Warps, chunks = Chunks, tiles = Tiles;
    static constexpr int band_tiles = Warps / Chunks * Tiles;
    static constexpr int groups = group == 32 ? 2 : 1; // that a chunk meets
    static constexpr int group_bytes = zero == zero_f16 ? 64 : 32;
};

// ---- Stored numbers ----

// A lane's words of a chunk's codes, out of the span of docs/layout.md that it lies in.
template <int Bits>
FBQ_DEVICE void chunk_words(u32 (&words)[2 * Bits], const u8 *codes, int chunk, int lane)
{
    if (Bits == 4) {
        put_words(words, 0, ldg_stream_u32x4(codes + (chunk * 512 + lane * 16)));
    } else if (Bits == 2) {
        const u32x2 v = ldg_u32x2(codes + (chunk / 2 * 512 + lane * 16 + chunk % 2 * 8));
        words[0] = v.x;
        words[1] = v.y;
    } else {
        const bool second = chunk % 2;
        const u8 *span = codes + (chunk / 2 * 768 + lane * 8);
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

template <class C>
FBQ_DEVICE const u8 *record_of(const fbq_reconstruct_args &args, int tile)
{
    return (const u8 *)args.records + (i64)tile * args.record_bytes;
}

// The packed scales and zero points of rows g and g + 8 in a group.
template <class C>
FBQ_DEVICE void scale_load(const fbq_reconstruct_args &args, const u8 *record, int group, int g,
                           u32 &scale, u32 &zero)
{
    const u8 *at = record + (args.codes_bytes + group * C::group_bytes + g * (C::group_bytes / 8));
    zero = 0;
    if (C::zero == zero_f16) {
        const u32x2 both = ldg_u32x2(at);
        scale = both.x;
        zero = both.y;
    } else {
        scale = ldg_u32(at);
        if (C::zero == zero_code)
            zero = ldg_u8(record + (args.codes_bytes + args.scales_bytes + group * 8 + g));
    }
}

// Have some chunks' part of a tile's record brought into L2; they begin with a span.
template <class C, int Chunks>
FBQ_DEVICE void chunks_ahead(const fbq_reconstruct_args &args, const u8 *record, int chunk,
                             int lane)
{
    constexpr int bytes = chunk_codes * 2 * C::bits;
    constexpr int groups = C::group == 0 ? 1 : ceil_div(Chunks * chunk_codes, C::group + !C::group);
    const int group = first_group<C>(chunk);
    const int count = min_int(Chunks, (args.chunks - chunk + 1) / 2 * 2);
    prefetch_l2(record + chunk * bytes,
                (C::bits == 4 ? min_int(Chunks, args.chunks - chunk) : count) * bytes, lane);
    prefetch_l2(record + (args.codes_bytes + group * C::group_bytes),
                min_int(groups * C::group_bytes, args.scales_bytes - group * C::group_bytes), lane);
}

// ---- Weights ----

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

// Of rows g and g + 8, from packed numbers.
template <class C>
FBQ_DEVICE void row_scales(u32 scale, u32 zero, RowScale &upper, RowScale &lower)
{
    float upper_scale, lower_scale, upper_zero, lower_zero;
    f32x2_of<C::scale>(scale, upper_scale, lower_scale);
    zeros_of<C>(zero, upper_zero, lower_zero);
    upper = row_scale<C>(upper_scale, upper_zero);
    lower = row_scale<C>(lower_scale, lower_zero);
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

// ---- Writing ----

// Eight numbers of a row, those within K.
FBQ_DEVICE void write_eight(const fbq_reconstruct_args &args, u16 *to, int k, const u32x4 &v)
{
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

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
