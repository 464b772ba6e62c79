// fbq/device/down.cuh: the down-projection t = x . A^T, as fp32 partial sums over slices of K.
//
// One block takes one 16-row tile of A and one slice of K; its warps share the slice's chunks.
// Every load of a warp is issued before the first is used: at batch one this kernel is all latency.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_DOWN_CUH
#define FBQ_DEVICE_DOWN_CUH

#include "reduce.cuh"
#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// What a down kernel is compiled for: the types of x and of A, rows of x served (1, or up to 8, or
// up to 16) and the pick.
template <int X, int Factor, int Columns, int Warps, int Chunks>
struct Down {
    static_assert(Columns == 1 || Columns == 8 || Columns == 16, "");
    static_assert(Chunks == 1 || Chunks == 2 || Chunks == 4, "");
    static constexpr int x = X, factor = Factor, columns = Columns, warps = Warps, chunks = Chunks;
    static constexpr int block_bytes = block_bytes_of(factor),
                         chunk_bytes = 4 * block_bytes;  // of A
    static constexpr int halves = Columns == 16 ? 2 : 1; // products of eight columns
};

// A lane's part of 64 k of x, for the column that is its own; zeros beyond K.
struct ChunkX {
    u32x4 x[2];
};

FBQ_DEVICE ChunkX chunk_x(const void *x, i64 row, int chunk, int k_total, int vectors, int lane)
{
    const int k = chunk * chunk_codes + (lane & 3) * 8;
    ChunkX v = {};
    if (vectors && (chunk + 1) * chunk_codes <= k_total) {
        v.x[0] = ldg_u32x4((const u16 *)x + row + k);
        v.x[1] = ldg_u32x4((const u16 *)x + row + k + 32);
        return v;
    }
    // in a loop: the code is long
    FBQ_NO_UNROLL
    for (int h = 0; h < 2; h++) {
        v.x[0] = v.x[1];
        v.x[1] = x_words(x, row, k + h * 32, k_total, vectors);
    }
    return v;
}

// c += a chunk of A, a lane's four vectors of it, times the same chunk of x.
template <class C>
FBQ_DEVICE void chunk_multiply(float (&c)[4], const typename BlockPart<C::factor>::vector (&a)[4],
                               const ChunkX &x)
{
    FBQ_UNROLL
    for (int h = 0; h < 2; h++) {
        mma_block<C::factor, C::x>(c, a[2 * h], x.x[h].x, x.x[h].y);
        mma_block<C::factor, C::x>(c, a[2 * h + 1], x.x[h].z, x.x[h].w);
    }
}

// A sum times the scale of A's row, where A has any.
template <class C>
FBQ_DEVICE float scaled(float sum, float scale)
{
    return C::factor == type_i8 ? mul(sum, scale) : sum;
}

// Shared memory: Warps * reduce_bytes(Columns).
template <class C>
FBQ_DEVICE void down(const fbq_down_args &args)
{
    const int thread = thread_index(), warp = thread / warp_lanes, lane = thread % warp_lanes;
    const int rank_tile = block_index_x(), slice = block_index_y();
    const int begin = slice * args.chunks_per_slice;
    const int end = min_int(begin + args.chunks_per_slice, args.chunks);
    i64 x_row[C::halves];
    FBQ_UNROLL
    for (int half = 0; half < C::halves; half++)
        x_row[half] =
            C::columns == 1 ? 0 : (i64)min_int(half * 8 + (lane >> 2), args.m - 1) * args.x_stride;
    const u8 *blocks = (const u8 *)args.blocks + (i64)rank_tile * args.chunks * C::chunk_bytes;

    // A and the weights that fused begins with come nearer while the kernel before this one ends. A
    // prefetch cannot read what is stale later, so nothing is asked of that kernel.
    for (int first = begin + warp * C::chunks; first < end; first += C::warps * C::chunks)
        prefetch_l2(blocks + (i64)first * C::chunk_bytes,
                    min_int(C::chunks, end - first) * C::chunk_bytes, lane);
    const float *scales = args.scales + rank_tile * tile_rows;
    if (C::factor == type_i8 && warp == 0)
        prefetch_l2(scales, tile_rows * 4, lane);
    if (args.ahead_bytes)
        prefetch_l2((const u8 *)args.records +
                        (i64)((slice * args.rank_tiles + rank_tile) * C::warps + warp) *
                            args.ahead_bytes,
                    args.ahead_bytes, lane);
    wait_for_producer();
    let_dependents_start();
    float scale = 1; // of the first result that the thread will write
    if (C::factor == type_i8 && thread < tile_rows * C::columns)
        scale = ldg_f32(scales + thread % tile_rows);
    float c[C::halves][4] = {};
    for (int first = begin + warp * C::chunks; first < end; first += C::warps * C::chunks) {
        typename BlockPart<C::factor>::vector a[C::chunks][4];
        ChunkX x[C::chunks][C::halves];
        FBQ_UNROLL
        for (int i = 0; i < C::chunks; i++) {
            const int chunk = first + i;
            FBQ_UNROLL
            for (int j = 0; j < 4; j++) {
                a[i][j] = {};
                if (chunk < end)
                    part_ldg(a[i][j], blocks + (i64)chunk * C::chunk_bytes + j * C::block_bytes,
                             lane);
            }
            FBQ_UNROLL
            for (int half = 0; half < C::halves; half++) {
                x[i][half] = ChunkX{};
                if (chunk < end)
                    x[i][half] = chunk_x(args.x, x_row[half], chunk, args.k, args.x_vectors, lane);
            }
        }
        FBQ_UNROLL
        for (int i = 0; i < C::chunks; i++) {
            FBQ_UNROLL
            for (int half = 0; half < C::halves; half++)
                chunk_multiply<C>(c[half], a[i], x[i][half]);
        }
    }

    const saddr area = smem();
    constexpr int stride = reduce_bytes(C::columns);
    FBQ_UNROLL
    for (int half = 0; half < C::halves; half++)
        reduce_put<C::columns>(area + (u32)(warp * stride), lane, c[half], half);
    sync_block();
    for (int i = thread; i < tile_rows * C::columns; i += block_threads()) {
        const int row = i % tile_rows, m = reduce_column<C::columns>(i);
        if (C::factor == type_i8 && i != thread)
            scale = ldg_f32(scales + row);
        if (m < args.m)
            stg_f32(args.t + ((i64)slice * args.m + m) * (args.rank_tiles * tile_rows) +
                        rank_tile * tile_rows + row,
                    scaled<C>(reduce_get<C::warps, C::columns>(area, stride, i), scale));
    }
}

#ifndef FBQ_SIMT
template <class C>
static __global__ void __launch_bounds__(C::warps * 32)
    down_kernel(const __grid_constant__ fbq_down_args args)
{
    down<C>(args);
}
#endif

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
