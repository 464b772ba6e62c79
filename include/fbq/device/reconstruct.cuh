// fbq/device/reconstruct.cuh: the weights themselves, W = deq(Wq) + B . A, for calls of more rows
// than the other kernels serve. (Without B . A: expand.cuh.)
//
// K is cut into strips of a few chunks, the rows into bands of a few tiles. A block stays on a
// strip and takes every so many-th band; blocks beside each other have neighbouring strips of the
// same band, so that together they write whole rows. A block has the strip's part of A in shared
// memory for as long as it stays; B's blocks of a band come through two stages there, one in use
// while the other is filled. Its warps share a band: each has one chunk of the strip and some tiles
// of 16 rows, and fetches their codes while it multiplies.
//
// The product has rows of B as its rows and k as its columns. Column c of the product p of a half
// chunk is
//
//     k = 32 h + 8 (c / 2) + 2 p + c % 2
//
// so that lane 4 g + t ends up with rows g and g + 8 of eight consecutive k from 32 h + 8 t on:
// those whose codes it has, and one vector of 16 bytes a row. A as it is packed is the transpose of
// that operand, register by register; its ranks are put in the order that B's have.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_RECONSTRUCT_CUH
#define FBQ_DEVICE_RECONSTRUCT_CUH

#include "expand.cuh"
#include "ring.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// ---- A ----

// A chunk's part of A for a step of 16 ranks: [block of 16 k][lane], of a lane the registers b0 and
// b1 of two products. b0 has ranks 4 t and 4 t + 1, b1 the two behind, as B has them, where a
// transposed register has 2 t and 2 t + 1 of eight ranks.
FBQ_DEVICE void chunk_fill(saddr to, const u8 *from, int lane)
{
    u32x4 v[4];
    FBQ_UNROLL
    for (int j = 0; j < 4; j++)
        v[j] = ldg_u32x4(from + (j * 512 + lane * 16));
    to += (u32)((lane >> 2) * 64 + (lane >> 1 & 1) * 16 + (lane & 1) * 4);
    FBQ_UNROLL
    for (int j = 0; j < 4; j++) {
        sts_u32(to + (u32)(j * 512), transpose_u16(v[j].x));
        sts_u32(to + (u32)(j * 512 + 8), transpose_u16(v[j].z));
        sts_u32(to + (u32)(j * 512 + 32), transpose_u16(v[j].y));
        sts_u32(to + (u32)(j * 512 + 40), transpose_u16(v[j].w));
    }
}

// A strip's part of A for some steps, [chunk][step], when all have done with what is there.
template <class C>
FBQ_DEVICE void strip_fill(const fbq_reconstruct_args &args, saddr strip, int first_chunk,
                           int first_rank_tile, int steps, int warp, int lane)
{
    sync_block();
    FBQ_NO_UNROLL
    for (int i = warp; i < C::chunks * steps; i += C::warps) {
        const int chunk = i % C::chunks, step = i / C::chunks;
        if (first_chunk + chunk < args.chunks)
            chunk_fill(strip + (u32)((chunk * args.strip_steps + step) * 2048),
                       (const u8 *)args.a_blocks +
                           ((i64)(first_rank_tile + step) * args.chunks + first_chunk + chunk) *
                               2048,
                       lane);
    }
    sync_block();
}

// ---- Where a block is ----

FBQ_DEVICE int segment_of(const fbq_reconstruct_args &args, int band)
{
    int s = 0;
    while (s + 1 < args.segments && band >= args.segment[s + 1].first_band)
        s++;
    return s;
}

// A band: its segment, and its tiles of that.
struct Band {
    int segment, tile, tiles;
};

template <class C>
FBQ_DEVICE Band band_at(const fbq_reconstruct_args &args, int index)
{
    Band b;
    b.segment = segment_of(args, index);
    const fbq_reconstruct_segment &segment = args.segment[b.segment];
    b.tile = (index - segment.first_band) * C::band_tiles;
    b.tiles =
        min_int(C::band_tiles, ceil_div(segment.end_row - segment.first_row, tile_rows) - b.tile);
    return b;
}

// ---- B, through two stages ----

constexpr int up_stages = 2;

// A piece of a band's blocks of B: [tile][step].
struct Piece {
    int strip, band, first;
};

struct UpRing {
    saddr stages, full, empty; // barriers of 8 bytes a stage
};

template <class C>
FBQ_DEVICE saddr up_stage(const fbq_reconstruct_args &args, const UpRing &ring, int count)
{
    return ring.stages + (u32)(count % up_stages * C::band_tiles * args.piece_steps * block_bytes);
}

// Go on to the next piece that there is, if this is none: bands without ranks have none.
FBQ_DEVICE void piece_settle(Piece &p, const fbq_reconstruct_args &args)
{
    FBQ_NO_UNROLL
    while (p.strip < args.strips) {
        if (p.band >= args.bands) {
            p.band = block_index_x() / args.strips_abreast;
            p.strip += args.strips_abreast;
        } else if (p.first < args.segment[segment_of(args, p.band)].rank_tiles) {
            return;
        } else {
            p.band += args.bands_abreast;
            p.first = 0;
        }
    }
}

template <class C>
FBQ_DEVICE UpRing up_ring_begin(const fbq_reconstruct_args &args, saddr area)
{
    UpRing ring;
    ring.stages = area + (u32)args.smem_up;
    ring.full = area + (u32)args.smem_barriers;
    ring.empty = ring.full + 8 * up_stages;
    if (thread_index() == 0) {
        FBQ_UNROLL
        for (int i = 0; i < up_stages; i++) {
            barrier_init(ring.full + (u32)(i * 8), FBQ_BULK_COPIES ? 1 : C::warps);
            barrier_init(ring.empty + (u32)(i * 8), C::warps);
        }
        barriers_ready();
    }
    sync_block();
    return ring;
}

// Have a piece, or the next that there is, fetched as the `count`th of this block, by one warp
// where there are bulk copies, else by all.
template <class C>
FBQ_DEVICE void piece_fetch(const fbq_reconstruct_args &args, const UpRing &ring, Piece p,
                            int count, int warp, int lane)
{
    if (FBQ_BULK_COPIES && warp != 0)
        return;
    piece_settle(p, args);
    if (p.strip < args.strips) {
        const Band band = band_at<C>(args, p.band);
        const fbq_reconstruct_segment &segment = args.segment[band.segment];
        const int bytes = min_int(segment.rank_tiles - p.first, args.piece_steps) * block_bytes;
        const u32 stage = (u32)(count % up_stages), round = (u32)(count / up_stages);
        const saddr to = up_stage<C>(args, ring, count), full = ring.full + stage * 8;
        const u8 *from =
            (const u8 *)args.b_blocks +
            (segment.first_block + (i64)band.tile * segment.rank_tiles + p.first) * block_bytes;
        const int apart = args.piece_steps * block_bytes;
        if (round > 0) {
            barrier_wait(ring.empty + stage * 8, (round - 1) & 1);
            sync_warp();
        }
        if (FBQ_BULK_COPIES) {
            if (lane == 0)
                barrier_expect(full, (u32)(band.tiles * bytes));
            sync_warp();
            if (lane < band.tiles)
                copy_bulk(to + (u32)(lane * apart),
                          from + (i64)lane * segment.rank_tiles * block_bytes, (u32)bytes, full);
        } else {
            for (int i = warp; i < band.tiles; i += C::warps)
                fetch_bytes(to + (u32)(i * apart), from + (i64)i * segment.rank_tiles * block_bytes,
                            bytes, full, lane);
        }
    }
    if (!FBQ_BULK_COPIES)
        copy_async_commit();
}

// Wait for the bytes of a piece; the next one has been asked for.
FBQ_DEVICE void piece_wait(const UpRing &ring, int count, int lane)
{
    const u32 stage = (u32)(count % up_stages), round = (u32)(count / up_stages);
    if (!FBQ_BULK_COPIES) {
        copy_async_wait_left<up_stages - 1>();
        sync_warp();
        if (lane == 0)
            barrier_arrive(ring.full + stage * 8);
    }
    barrier_wait(ring.full + stage * 8, round & 1);
    sync_warp();
}

// Done with them.
FBQ_DEVICE void piece_release(const UpRing &ring, int count, int lane)
{
    reads_before_copies();
    sync_warp();
    if (lane == 0)
        barrier_arrive(ring.empty + (u32)(count % up_stages * 8));
}

// ---- B . A ----

// Two steps at a time, but for sm_120 and sm_121, where the compiler does not find the registers.
#if FBQ_BULK_COPIES && !FBQ_LARGE_SHARED
#define FBQ_UNROLL_STEPS FBQ_NO_UNROLL
#else
#define FBQ_UNROLL_STEPS FBQ_UNROLL_BY_2
#endif

// c += B . A of some steps of 16 ranks. `strip`: the lane's part of the warp's chunk; `up`: of the
// first of `tiles` tiles, the others `apart` behind each other. Tiles that are not there are the
// last one again.
template <class C>
FBQ_DEVICE void add_product(float (&c)[C::tiles][2][4][4], saddr strip, saddr up, u32 apart,
                            int tiles, int steps)
{
    u32 tile[C::tiles];
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        tile[i] = (u32)min_int(i, tiles - 1) * apart;
    FBQ_UNROLL_STEPS
    for (int step = 0; step < steps; step++) {
        u32x4 b[C::tiles];
        FBQ_UNROLL
        for (int i = 0; i < C::tiles; i++)
            b[i] = lds_u32x4(up + tile[i]);
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
        up += block_bytes;
    }
}

// How far a block is.
struct Progress {
    int strip, index; // of the band
    int count;        // pieces used
};

// c = B . A of a warp's chunk and `tiles` tiles.
template <class C>
FBQ_DEVICE void band_product(float (&c)[C::tiles][2][4][4], const fbq_reconstruct_args &args,
                             saddr area, const UpRing &ring, Progress &at, const Band &band,
                             int tiles, int warp, int lane)
{
    const fbq_reconstruct_segment &segment = args.segment[band.segment];
    const bool stays = segment.rank_tiles <= args.strip_steps;
    const u32 apart = (u32)(args.piece_steps * block_bytes);
    FBQ_NO_UNROLL
    for (int first = 0; first < segment.rank_tiles; first += args.piece_steps) {
        const int steps = min_int(segment.rank_tiles - first, args.piece_steps);
        if (!stays)
            strip_fill<C>(args, area, at.strip * C::chunks, segment.first_rank_tile + first, steps,
                          warp, lane);
        piece_fetch<C>(args, ring, Piece{at.strip, at.index, first + args.piece_steps},
                       at.count + 1, warp, lane);
        piece_wait(ring, at.count, lane);
        if (tiles > 0)
            add_product<C>(
                c,
                area + (u32)((warp % C::chunks * args.strip_steps + (stays ? first : 0)) * 2048 +
                             lane * 16),
                up_stage<C>(args, ring, at.count) + (u32)(warp / C::chunks * C::tiles) * apart +
                    (u32)(lane * 16),
                apart, tiles, steps);
        piece_release(ring, at.count, lane);
        at.count++;
    }
}

// ---- Codes ----

// A lane's part of a chunk of a tile.
template <class C>
struct StoredChunk {
    u32 codes[2 * C::bits]; // the first half; unpack.cuh counts in units of two chunks
    u32 scale[C::groups], zero[C::groups];
};

// Are the scales of groups of 32 fetched behind the product, for want of registers?
template <class C>
constexpr bool late_scales = C::groups == 2 && !FBQ_BULK_COPIES;

template <class C>
FBQ_DEVICE void scales_load(StoredChunk<C> &v, const fbq_reconstruct_args &args, const u8 *record,
                            int chunk, int lane)
{
    FBQ_UNROLL
    for (int i = 0; i < C::groups; i++)
        scale_load<C>(args, record, first_group<C>(chunk) + i, lane >> 2, v.scale[i], v.zero[i]);
}

// Rows g and g + 8 of half a chunk, eight numbers of each.
template <class C>
FBQ_DEVICE void rows_of(u32x4 &above, u32x4 &below, const u32 (&codes)[2 * C::bits], int h,
                        const float (&c)[4][4], const RowScale &upper, const RowScale &lower)
{
    const u32x4 first = operand_of<type_f16, C::bits>(codes, 2 * h),
                second = operand_of<type_f16, C::bits>(codes, 2 * h + 1);
    above = u32x4{weights_of<C>(first.x, upper, c[0][0], c[0][1]),
                  weights_of<C>(first.z, upper, c[1][0], c[1][1]),
                  weights_of<C>(second.x, upper, c[2][0], c[2][1]),
                  weights_of<C>(second.z, upper, c[3][0], c[3][1])};
    below = u32x4{weights_of<C>(first.y, lower, c[0][2], c[0][3]),
                  weights_of<C>(first.w, lower, c[1][2], c[1][3]),
                  weights_of<C>(second.y, lower, c[2][2], c[2][3]),
                  weights_of<C>(second.w, lower, c[3][2], c[3][3])};
}

// A tile of a chunk. `to`: the lane's first number, k of `row`. Whole: every number lies in w, and
// w takes vectors.
template <class C>
FBQ_DEVICE void write_tile(const fbq_reconstruct_args &args, const StoredChunk<C> &stored,
                           const float (&c)[2][4][4], u16 *to, bool whole, int row, int end_row,
                           int k)
{
    RowScale upper, lower;
    u32x4 above[2], below[2];
    FBQ_UNROLL
    for (int h = 0; h < 2; h++) {
        if (h < C::groups)
            row_scales<C>(stored.scale[h % C::groups], stored.zero[h % C::groups], upper, lower);
        rows_of<C>(above[h], below[h], stored.codes, h, c[h], upper, lower);
    }
    u16 *lower_to = to + 8 * args.w_stride;
    FBQ_UNROLL
    for (int h = 0; h < 2; h++) {
        if (whole) {
            stg_u32x4(to + h * 32, above[h]);
            stg_u32x4(lower_to + h * 32, below[h]);
        } else {
            if (row < end_row)
                write_eight(args, to + h * 32, k + h * 32, above[h]);
            if (row + 8 < end_row)
                write_eight(args, lower_to + h * 32, k + h * 32, below[h]);
        }
    }
}

// ---- The kernel ----

// Have a band's codes and scales brought into L2, a tile a warp.
template <class C>
FBQ_DEVICE void band_ahead(const fbq_reconstruct_args &args, int index, int strip, int warp,
                           int lane)
{
    if (warp < C::band_tiles && index < args.bands && strip < args.strips) {
        const Band band = band_at<C>(args, index);
        if (warp < band.tiles)
            chunks_ahead<C, C::chunks>(
                args, record_of<C>(args, args.segment[band.segment].first_tile + band.tile + warp),
                strip * C::chunks, lane);
    }
}

template <class C>
FBQ_DEVICE void band_write(const fbq_reconstruct_args &args, saddr area, const UpRing &ring,
                           Progress &at, const Band &band, int warp, int lane)
{
    const fbq_reconstruct_segment &segment = args.segment[band.segment];
    const int chunk = at.strip * C::chunks + warp % C::chunks;
    const int within = warp / C::chunks * C::tiles, tile = band.tile + within;
    const int tiles = chunk < args.chunks ? min_int(band.tiles - within, C::tiles) : 0;
    const u8 *record = record_of<C>(args, segment.first_tile + tile);
    StoredChunk<C> stored[C::tiles];
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++)
        if (i < tiles) {
            const u8 *from = record + (i64)i * args.record_bytes;
            chunk_words<C::bits>(stored[i].codes, from, chunk, lane);
            if (!late_scales<C>)
                scales_load<C>(stored[i], args, from, chunk, lane);
        }
    float c[C::tiles][2][4][4] = {};
    band_product<C>(c, args, area, ring, at, band, tiles, warp, lane);
    if (tiles <= 0)
        return;
    const int row = segment.first_row + tile * tile_rows + (lane >> 2);
    const int k = chunk * chunk_codes + (lane & 3) * 8;
    u16 *to = (u16 *)args.w + (i64)row * args.w_stride + k;
    const bool whole = args.w_vectors && (chunk + 1) * chunk_codes <= args.k &&
                       segment.first_row + (tile + C::tiles) * tile_rows <= segment.end_row;
    FBQ_UNROLL
    for (int i = 0; i < C::tiles; i++) {
        if (late_scales<C> && i < tiles)
            scales_load<C>(stored[i], args, record + (i64)i * args.record_bytes, chunk, lane);
        if (i < tiles)
            write_tile<C>(args, stored[i], c[i], to + (i64)(i * tile_rows) * args.w_stride, whole,
                          row + i * tile_rows, segment.end_row, k);
    }
}

// Blocks b, b + strips_abreast ..: strip b, its bands in turn.
template <class C>
FBQ_DEVICE void add_branch(const fbq_reconstruct_args &args)
{
    const int warp = warp_index(), lane = thread_index() % warp_lanes;
    const int begin = block_index_x() / args.strips_abreast;
    const saddr area = smem();
    Progress at = {block_index_x() % args.strips_abreast, begin, 0};
    band_ahead<C>(args, begin, at.strip, warp, lane); // which cannot read what is stale later
    const UpRing ring = up_ring_begin<C>(args, area);
    wait_for_producer();
    let_dependents_start();
    piece_fetch<C>(args, ring, Piece{at.strip, begin, 0}, 0, warp, lane);
    FBQ_NO_UNROLL
    for (; at.strip < args.strips; at.strip += args.strips_abreast) {
        int segment = -1; // whose A is in shared memory
        FBQ_NO_UNROLL
        for (at.index = begin; at.index < args.bands; at.index += args.bands_abreast) {
            const Band band = band_at<C>(args, at.index);
            const fbq_reconstruct_segment &now = args.segment[band.segment];
            if (band.segment != segment && now.rank_tiles <= args.strip_steps)
                strip_fill<C>(args, area, at.strip * C::chunks, now.first_rank_tile, now.rank_tiles,
                              warp, lane);
            segment = band.segment;
            band_write<C>(args, area, ring, at, band, warp, lane);
        }
    }
}

template <class C>
FBQ_DEVICE void reconstruct(const fbq_reconstruct_args &args)
{
    if constexpr (C::adds)
        add_branch<C>(args);
    else
        expand<C>(args);
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
