// fbq/device/reconstruct.cuh: the weights themselves, W = deq(Wq) + B . A, for calls of more rows
// than the other kernels serve.
//
// K is cut into strips of a few chunks, the rows into bands of a few tiles, and a block takes a run
// of bands, strip after strip. Its warps share a band: each has one chunk of the strip and some
// tiles of 16 rows, which it fetches, multiplies and writes without meeting the others. What they
// share is the strip's part of A, in shared memory for as long as the run stays on that strip.
//
// The product has rows of B as its rows and k as its columns. Column c of the product p of a half
// chunk is
//
//     k = 32 h + 8 (c / 2) + 2 p + c % 2
//
// so that lane 4 g + t ends up with rows g and g + 8 of eight consecutive k from 32 h + 8 t on:
// those whose codes it has, and one vector of 16 bytes a row. A as it is packed is the transpose of
// that operand, register by register. B's ranks are taken in the order that this gives.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_RECONSTRUCT_CUH
#define FBQ_DEVICE_RECONSTRUCT_CUH

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

template <class C>
FBQ_DEVICE StoredChunk<C> chunk_load(const fbq_reconstruct_args &args, int tile, int chunk,
                                     int lane)
{
    const u8 *record = (const u8 *)args.records + (i64)tile * args.record_bytes;
    const u8 *scales = record + args.codes_bytes + (lane >> 2) * (C::group_bytes / 8);
    const u8 *zeros = record + args.codes_bytes + args.scales_bytes + (lane >> 2);
    const int first = C::group == 0 ? 0 : chunk * chunk_codes / (C::group ? C::group : 1);
    StoredChunk<C> v;
    chunk_words<C::bits>(v.codes, record, chunk, lane);
    FBQ_UNROLL
    for (int i = 0; i < C::groups; i++) {
        const i64 group = first + i;
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

// ---- B . A ----

// A strip's part of A for some steps of 16 ranks, each register transposed: [chunk][step][block].
template <class C>
FBQ_DEVICE void strip_fill(const fbq_reconstruct_args &args, saddr strip, int first_chunk,
                           int first_rank_tile, int steps, int warp, int lane)
{
    FBQ_NO_UNROLL
    for (int i = warp; i < C::chunks * steps; i += C::warps) {
        const int chunk = i % C::chunks, step = i / C::chunks;
        if (first_chunk + chunk >= args.chunks)
            continue;
        const u8 *from =
            (const u8 *)args.a_blocks +
            ((i64)(first_rank_tile + step) * args.chunks + first_chunk + chunk) * 2048 + lane * 16;
        const saddr to = strip + (u32)((chunk * args.piece_steps + step) * 2048 + lane * 16);
        u32x4 v[4];
        FBQ_UNROLL
        for (int j = 0; j < 4; j++)
            v[j] = ldg_u32x4(from + j * 512);
        FBQ_UNROLL
        for (int j = 0; j < 4; j++)
            sts_u32x4(to + (u32)(j * 512), u32x4{transpose_u16(v[j].x), transpose_u16(v[j].y),
                                                 transpose_u16(v[j].z), transpose_u16(v[j].w)});
    }
}

// A block of B as an operand whose ranks stand in their own order, as the transposed A has them.
FBQ_DEVICE u32x4 up_operand(const u8 *block, int lane)
{
    const u8 *at = block + (lane >> 2) * 64 + (lane & 3) * 8;
    const u32x2 low = ldg_u32x2(at), high = ldg_u32x2(at + 32);
    return u32x4{low.x, low.y, high.x, high.y};
}

// c += B . A of some steps of 16 ranks. `strip`: where the warp's chunk begins; `up`: the first
// block of each tile.
template <class C>
FBQ_DEVICE void add_product(float (&c)[C::tiles][2][4][4], saddr strip,
                            const u8 *const (&up)[C::tiles], int steps, int lane)
{
    u32x4 b[C::tiles];
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        b[i] = up_operand(up[i], lane);
    FBQ_NO_UNROLL
    for (int step = 0; step < steps; step++) {
        u32x4 next[C::tiles]; // on its way meanwhile; the last one comes twice
        FBQ_UNROLL
        for (int i = 0; i < C::tiles; i++)
            next[i] = up_operand(up[i] + min_int(step + 1, steps - 1) * block_bytes, lane);
        FBQ_UNROLL
        for (int j = 0; j < 4; j++) {
            const u32x4 a = lds_u32x4(strip + (u32)(step * 2048 + j * 512 + lane * 16));
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++) {
                mma<C::factor>(c[i][j / 2][j % 2 * 2], b[i], a.x, a.y);
                mma<C::factor>(c[i][j / 2][j % 2 * 2 + 1], b[i], a.z, a.w);
            }
        }
        FBQ_UNROLL
        for (int i = 0; i < C::tiles; i++)
            b[i] = next[i];
    }
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

// B behind K, a row a warp: a segment's ranks in columns of its own, zeros in the others'.
template <class C>
FBQ_DEVICE void write_up(const fbq_reconstruct_args &args, int warp, int lane)
{
    int s = 0;
    FBQ_NO_UNROLL
    for (int row = block_index_x() * C::warps + warp; row < args.n;
         row += grid_blocks_x() * C::warps) {
        while (row >= args.segment[s].end_row)
            s++;
        const fbq_reconstruct_segment &segment = args.segment[s];
        const int rank_tiles = (segment.end_rank - segment.first_rank + 15) / 16;
        const int within = row - segment.first_row, tile = within / tile_rows;
        const u8 *blocks = (const u8 *)args.b_blocks +
                           (i64)(segment.first_block + tile * rank_tiles) * block_bytes;
        u16 *to = (u16 *)args.w + (i64)row * args.w_stride + args.k;
        FBQ_NO_UNROLL
        for (int column = lane; column < args.ranks; column += warp_lanes) {
            u32 v = 0;
            if (column >= segment.first_rank && column < segment.end_rank) {
                // as fbq__up_word of host/layout.h counts
                const int rank = column - segment.first_rank;
                const int owner = within % 8 * 4 + rank % 16 / 4;
                const int word = rank % 4 / 2 * 4 + within % 16 / 8 * 2 + rank % 2;
                v = ldg_u16(blocks + rank / 16 * block_bytes + owner * 16 + word * 2);
                if (C::factor != C::out)
                    v = word_of_f32<C::out>(f32_of<C::factor>(v));
            }
            stg_u16(to + column, v);
        }
    }
}

// ---- The kernel ----

// Which part of A shared memory has.
struct HeldStrip {
    int strip, segment, first_step;
};

// One band of a strip.
template <class C>
FBQ_DEVICE void write_band(const fbq_reconstruct_args &args, saddr area, HeldStrip &held, int strip,
                           int band, int s, int warp, int lane)
{
    const fbq_reconstruct_segment &segment = args.segment[s];
    const int chunk = strip * C::chunks + warp % C::chunks;
    const int tile = (band - segment.first_band) * C::band_tiles + warp / C::chunks * C::tiles;
    const int row = segment.first_row + tile * tile_rows;
    const int last = (segment.end_row - segment.first_row - 1) / tile_rows;
    const bool mine = chunk < args.chunks && tile <= last;
    StoredChunk<C> stored[C::tiles];
    float c[C::tiles][2][4][4] = {};
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        if (mine)
            stored[i] =
                chunk_load<C>(args, segment.first_tile + min_int(tile + i, last), chunk, lane);
    FBQ_NO_UNROLL
    for (int first = 0; C::adds && first < segment.rank_tiles; first += args.piece_steps) {
        const int steps = min_int(segment.rank_tiles - first, args.piece_steps);
        if (held.strip != strip || held.segment != s || held.first_step != first) {
            sync_block(); // all have done with what is there
            strip_fill<C>(args, area, strip * C::chunks, segment.first_rank_tile + first, steps,
                          warp, lane);
            sync_block();
            held = HeldStrip{strip, s, first};
        }
        if (mine) {
            const u8 *up[C::tiles];
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                up[i] = (const u8 *)args.b_blocks +
                        (segment.first_block + (i64)min_int(tile + i, last) * segment.rank_tiles +
                         first) *
                            block_bytes;
            add_product<C>(c, area + (u32)(warp % C::chunks * args.piece_steps * 2048), up, steps,
                           lane);
        }
    }
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        if (mine)
            write_tile<C>(args, stored[i], c[i], row + i * tile_rows, segment.end_row, chunk, lane);
}

// Shared memory: C::chunks * args.piece_steps * 2048 bytes where B . A is added, else none.
template <class C>
FBQ_DEVICE void reconstruct(const fbq_reconstruct_args &args)
{
    const int warp = warp_index(), lane = thread_index() % warp_lanes;
    const saddr area = C::adds ? smem() : 0;
    const i64 all = (i64)args.strips * args.bands;
    const int begin = (int)(all * block_index_x() / grid_blocks_x());
    const int end = (int)(all * (block_index_x() + 1) / grid_blocks_x());
    HeldStrip held = {-1, 0, 0};
    wait_for_producer();
    let_dependents_start();
    FBQ_NO_UNROLL
    for (int i = begin; i < end; i++) {
        const int strip = i / args.bands, band = i % args.bands;
        int s = 0;
        while (s + 1 < args.segments && band >= args.segment[s + 1].first_band)
            s++;
        write_band<C>(args, area, held, strip, band, s, warp, lane);
    }
    if (!C::adds && args.ranks > 0)
        write_up<C>(args, warp, lane);
}

#ifndef FBQ_SIMT
template <class C, int BlocksPerSm>
static __global__ void __launch_bounds__(C::warps * 32, BlocksPerSm)
    reconstruct_kernel(const __grid_constant__ fbq_reconstruct_args args)
{
    reconstruct<C>(args);
}
#endif

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
