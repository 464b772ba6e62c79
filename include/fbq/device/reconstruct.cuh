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

#include "dequantise.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

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
// `at`: of the lane, as up_lane says.
FBQ_DEVICE u32x4 up_operand(const u8 *at)
{
    const u32x2 low = ldg_u32x2(at), high = ldg_u32x2(at + 32);
    return u32x4{low.x, low.y, high.x, high.y};
}
FBQ_DEVICE int up_lane(int lane)
{
    return (lane >> 2) * 64 + (lane & 3) * 8;
}

// Where a lane finds its part of the tiles' blocks of B: of the first tile, and how far on the
// others' are.
template <class C>
struct UpAt {
    const u8 *first;
    u32 apart[C::tiles];
};

template <class C>
FBQ_DEVICE void up_load(u32x4 (&b)[C::tiles], const UpAt<C> &up)
{
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        b[i] = up_operand(up.first + up.apart[i]);
}

// c += B . A of some steps of 16 ranks. `strip`: the lane's part of the warp's chunk.
template <class C>
FBQ_DEVICE void add_product(float (&c)[C::tiles][2][4][4], saddr strip, UpAt<C> up, int steps)
{
    u32x4 b[C::tiles], next[C::tiles];
    if (C::ahead)
        up_load(b, up);
    FBQ_NO_UNROLL
    while (steps-- > 0) {
        if (C::ahead) {
            up.first += steps > 0 ? block_bytes : 0; // the last one comes twice
            up_load(next, up);                       // on its way meanwhile
        } else {
            up_load(b, up);
            up.first += block_bytes;
        }
        FBQ_UNROLL
        for (int j = 0; j < 4; j++) {
            const u32x4 a = lds_u32x4(strip + (u32)(j * 512));
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++) {
                mma<C::factor>(c[i][j / 2][j % 2 * 2], b[i], a.x, a.y);
                mma<C::factor>(c[i][j / 2][j % 2 * 2 + 1], b[i], a.z, a.w);
            }
        }
        strip += 2048;
        FBQ_UNROLL
        for (int i = 0; C::ahead && i < C::tiles; i++)
            b[i] = next[i];
    }
}

// ---- B behind K ----

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

// What a warp has of a block's run: a chunk, and tiles of a segment from `tile` on, of which `last`
// is the last one.
struct Place {
    int segment, chunk, tile, last;
    bool mine; // there is that much
};

template <class C>
FBQ_DEVICE Place place_of(const fbq_reconstruct_args &args, int index, int warp)
{
    const int band = index % args.bands;
    Place p;
    p.segment = 0;
    while (p.segment + 1 < args.segments && band >= args.segment[p.segment + 1].first_band)
        p.segment++;
    const fbq_reconstruct_segment &segment = args.segment[p.segment];
    p.chunk = index / args.bands * C::chunks + warp % C::chunks;
    p.tile = (band - segment.first_band) * C::band_tiles + warp / C::chunks * C::tiles;
    p.last = (segment.end_row - segment.first_row - 1) / tile_rows;
    p.mine = p.chunk < args.chunks && p.tile <= p.last;
    return p;
}

template <class C>
FBQ_DEVICE void band_ahead(const fbq_reconstruct_args &args, int index, int warp, int lane)
{
    const Place p = place_of<C>(args, index, warp);
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        if (p.mine && p.tile + i <= p.last)
            chunk_ahead<C>(args, args.segment[p.segment].first_tile + p.tile + i, p.chunk, lane);
}

// c = B . A of a place. `fresh`: shared memory has not the strip's part of A yet.
template <class C>
FBQ_DEVICE void band_product(float (&c)[C::tiles][2][4][4], const fbq_reconstruct_args &args,
                             saddr area, const Place &p, bool fresh, int warp, int lane)
{
    const fbq_reconstruct_segment &segment = args.segment[p.segment];
    FBQ_NO_UNROLL
    for (int first = 0; first < segment.rank_tiles; first += args.piece_steps) {
        const int steps = min_int(segment.rank_tiles - first, args.piece_steps);
        if (fresh || steps < segment.rank_tiles) {
            sync_block(); // all have done with what is there
            strip_fill<C>(args, area, p.chunk - warp % C::chunks, segment.first_rank_tile + first,
                          steps, warp, lane);
            sync_block();
        }
        if (p.mine) {
            UpAt<C> up;
            up.first =
                (const u8 *)args.b_blocks +
                (segment.first_block + (i64)p.tile * segment.rank_tiles + first) * block_bytes +
                up_lane(lane);
            FBQ_UNROLL
            for (int i = 0; i < C::tiles; i++)
                up.apart[i] =
                    i ? (u32)(min_int(i, p.last - p.tile) * segment.rank_tiles * block_bytes) : 0;
            add_product<C>(c, area + (u32)(warp % C::chunks * args.piece_steps * 2048 + lane * 16),
                           up, steps);
        }
    }
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
    if (begin < end)
        band_ahead<C>(args, begin, warp, lane); // which cannot read what is stale later
    wait_for_producer();
    let_dependents_start();
    FBQ_NO_UNROLL
    for (int index = begin; index < end; index++) {
        const Place p = place_of<C>(args, index, warp);
        const fbq_reconstruct_segment &segment = args.segment[p.segment];
        float c[C::tiles][2][4][4] = {};
        if (index + 1 < end)
            band_ahead<C>(args, index + 1, warp, lane);
        if (C::adds)
            band_product<C>(c, args, area, p,
                            index == begin || index % args.bands == segment.first_band, warp, lane);
        StoredChunk<C> stored[C::tiles];
        FBQ_UNROLL
        for (int i = 0; i < C::tiles; i++)
            if (p.mine)
                stored[i] = chunk_load<C>(args, segment.first_tile + min_int(p.tile + i, p.last),
                                          p.chunk, lane);
        FBQ_UNROLL
        for (int i = 0; i < C::tiles; i++)
            if (p.mine)
                write_tile<C>(args, stored[i], c[i], segment.first_row + (p.tile + i) * tile_rows,
                              segment.end_row, p.chunk, lane);
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
