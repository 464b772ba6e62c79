// fbq/device/branch.cuh: the up-projection t . B^T, by warps of its own.
//
// t is not there before the down-projection has ended, and codes need not wait for it: some warps
// of a block do nothing but the sub-branch. They have blocks of B on their way when t comes, and
// leave t . B^T of a round of tiles in shared memory, where whoever writes y finds it.
//
// t comes as fp32 partial sums, one a slice of K. It is added in slice order and split into two
// fp16 numbers under a power of two, high + low, so that neither range nor precision is lost
// (docs/numerics.md). 16 ranks make one step.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_BRANCH_CUH
#define FBQ_DEVICE_BRANCH_CUH

#include "reduce.cuh"
#include "tile.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Shared memory of one step: t, 16 bytes a lane {b0 high, b1 high, b0 low, b1 low}, or for one row
// of x 8 bytes a lane, high in even columns and low in odd ones; the power of two of each column.
constexpr int branch_step_bytes = 512 + 8 * 4;

FBQ_DEVICE float larger_magnitude(float a, float b)
{
    // as integers, so that NaN counts as the largest
    const u32 u = bits_of(a) & 0x7fffffffu, v = bits_of(b) & 0x7fffffffu;
    return float_of(u > v ? u : v);
}

// Steps of t that a warp has on their way at a time.
constexpr int t_batch = 2;

// A lane's four ranks of its column, summed over the slices in a fixed order; of the steps `step`,
// step + branch_warps, ...
template <class C>
FBQ_DEVICE void gather_t(f32x4 (&sum)[t_batch], const fbq_fused_args &args, int step, int lane)
{
    const int g = lane >> 2, t = lane & 3, ranks = args.rank_tiles * tile_rows;
    // With one column the eight lanes that would hold it take turns at the slices.
    const int first = C::columns == 1 ? g : 0, stride = C::columns == 1 ? 8 : 1;
    const int column = C::columns == 1 ? 0 : g;
    constexpr int batch = C::columns == 1 ? 1 : 4; // slices on their way at a time
    FBQ_UNROLL
    for (int j = 0; j < t_batch; j++)
        sum[j] = f32x4{0, 0, 0, 0};
    FBQ_NO_UNROLL
    for (int s = first; s < args.slices; s += stride * batch) {
        f32x4 v[batch][t_batch];
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++) {
                const int rank = (step + j * branch_warps) * tile_rows + 4 * t;
                v[i][j] = f32x4{0, 0, 0, 0};
                if (column < args.m && s + i * stride < args.slices && rank < ranks)
                    v[i][j] = ldg_f32x4(args.t + ((i64)(s + i * stride) * args.m + column) * ranks +
                                        rank);
            }
        }
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++) {
                sum[j].x = add(sum[j].x, v[i][j].x);
                sum[j].y = add(sum[j].y, v[i][j].y);
                sum[j].z = add(sum[j].z, v[i][j].z);
                sum[j].w = add(sum[j].w, v[i][j].w);
            }
        }
    }
    if (C::columns == 1) {
        FBQ_UNROLL
        for (int j = 0; j < t_batch; j++) {
            FBQ_UNROLL
            for (int mask = 4; mask < 32; mask *= 2) {
                sum[j].x = add(sum[j].x, shuffle_xor_f32(sum[j].x, mask));
                sum[j].y = add(sum[j].y, shuffle_xor_f32(sum[j].y, mask));
                sum[j].z = add(sum[j].z, shuffle_xor_f32(sum[j].z, mask));
                sum[j].w = add(sum[j].w, shuffle_xor_f32(sum[j].w, mask));
            }
        }
    }
}

// One step of t to shared memory.
template <class C>
FBQ_DEVICE void put_t(saddr at, const f32x4 &v, int lane)
{
    float most = larger_magnitude(larger_magnitude(v.x, v.y), larger_magnitude(v.z, v.w));
    most = larger_magnitude(most, shuffle_xor_f32(most, 1));
    most = larger_magnitude(most, shuffle_xor_f32(most, 2));
    // bring the largest of 16 ranks to 2^14 .. 2^15; both powers stay normal numbers
    u32 exponent = bits_of(most) >> 23;
    exponent = exponent < 15 ? 15 : exponent > 254 ? 254 : exponent;
    const float down = float_of((268 - exponent) << 23), up = float_of((exponent - 14) << 23);
    const float x = mul(v.x, down), y = mul(v.y, down), z = mul(v.z, down), w = mul(v.w, down);
    u32x4 b;
    float low, high;
    b.x = f16x2_of_f32(x, y);
    b.y = f16x2_of_f32(z, w);
    f32x2_of_f16x2(b.x, low, high);
    b.z = f16x2_of_f32(sub(x, low), sub(y, high));
    f32x2_of_f16x2(b.y, low, high);
    b.w = f16x2_of_f32(sub(z, low), sub(w, high));
    const int g = lane >> 2;
    if (C::columns == 1)
        sts_u32x2(at + (u32)lane * 8, g & 1 ? b.z : b.x, g & 1 ? b.w : b.y);
    else
        sts_u32x4(at + (u32)lane * 16, b);
    if ((lane & 3) == 0)
        sts_f32(at + 512 + (u32)g * 4, up);
}

// Stage this warp's steps of t: w, w + branch_warps, ...
template <class C>
FBQ_DEVICE void stage_t(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    FBQ_NO_UNROLL
    for (int first = warp; first < args.rank_tiles; first += t_batch * branch_warps) {
        f32x4 v[t_batch];
        gather_t<C>(v, args, first, lane);
        FBQ_UNROLL
        for (int j = 0; j < t_batch; j++) {
            const int step = first + j * branch_warps;
            if (step < args.rank_tiles)
                put_t<C>(area + (u32)(step * branch_step_bytes), v[j], lane);
        }
    }
}

// y += t . B^T for 16 ranks: t's step is at `at`, b is a lane's part of B's block.
template <class C>
FBQ_DEVICE void add_step(float (&y)[4], saddr at, const u32x4 &b, int lane)
{
    float c[4] = {0, 0, 0, 0}, even, odd;
    if (C::columns == 1) {
        const u32x2 v = lds_u32x2(at + (u32)lane * 8);
        mma_f16(c, b.x, b.y, b.z, b.w, v.x, v.y);
        even = lds_f32(at + 512);
        y[0] = fma(even, add(c[0], c[1]), y[0]);
        y[2] = fma(even, add(c[2], c[3]), y[2]);
    } else {
        const u32x4 v = lds_u32x4(at + (u32)lane * 16);
        mma_f16(c, b.x, b.y, b.z, b.w, v.x, v.y);
        mma_f16(c, b.x, b.y, b.z, b.w, v.z, v.w);
        lds_f32x2(at + 512 + (u32)(lane & 3) * 8, even, odd);
        y[0] = fma(even, c[0], y[0]);
        y[2] = fma(even, c[2], y[2]);
        y[1] = fma(odd, c[1], y[1]);
        y[3] = fma(odd, c[3], y[3]);
    }
}

// Blocks of B that a warp has on their way: up to eight of one tile.
constexpr int up_batch = 8;

// A warp's walk over them: the tiles of a round that are its own, round by round.
struct Up {
    int first; // tile of the round
    int tile;  // of the round
    int step;  // of the tile
};

FBQ_DEVICE void up_advance(const fbq_fused_args &args, Up &u, int warp)
{
    u.step += up_batch;
    if (u.step < args.rank_tiles)
        return;
    u.step = 0;
    u.tile += branch_warps;
    if (u.tile < args.round_tiles)
        return;
    u.tile = warp;
    u.first += args.round_tiles * grid_blocks_x();
}

// A lane's part of block i of a batch; zeros where there is none.
FBQ_DEVICE u32x4 up_load(const fbq_fused_args &args, const Up &u, int i, int lane)
{
    const i64 tile = u.first + u.tile * grid_blocks_x();
    if (u.tile >= args.round_tiles || tile >= args.tiles || u.step + i >= args.rank_tiles)
        return u32x4{0, 0, 0, 0};
    return ldg_stream_u32x4((const u8 *)args.blocks +
                            (tile * args.rank_tiles + u.step + i) * block_bytes + lane * 16);
}

// Barriers in shared memory, behind those of the rings: the up-projections of a round are there;
// they have been read.
struct Handover {
    saddr ready, read;
};

template <class C>
FBQ_DEVICE Handover handover_of(const fbq_fused_args &args, saddr area)
{
    const saddr at = area + (u32)(args.smem_barriers + C::warps * (C::stages + 1) * 8);
    return Handover{at, at + 8};
}

// The first warp of the codes makes them before it meets anyone; those of the sub-branch wait for
// that.
constexpr int meet_codes = 1, meet_branch = 2, meet_begin = 3;

template <class C>
FBQ_DEVICE void handover_begin(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    const Handover h = handover_of<C>(args, area);
    if (warp == 0 && one_lane(lane)) {
        barrier_init(h.ready, branch_warps * warp_lanes);
        barrier_init(h.read, C::warps * warp_lanes);
        barriers_ready();
    }
    sync_warp();
    arrive_warps<meet_begin, (C::warps + branch_warps) * warp_lanes>();
}

// What the warps of the sub-branch do.
template <class C>
FBQ_DEVICE void branch(const fbq_fused_args &args, saddr area, int warp, int lane)
{
    const saddr area_t = area + (u32)args.smem_t;
    const saddr up = area + (u32)args.smem_up; // [tile of the round][row][column]
    const Handover handover = handover_of<C>(args, area);
    Up ahead = {block_index_x(), warp, 0};
    u32x4 b[up_batch];
    FBQ_UNROLL
    for (int i = 0; i < up_batch; i++)
        b[i] = up_load(args, ahead, i, lane);
    sync_warps<meet_begin, (C::warps + branch_warps) * warp_lanes>();
    wait_for_producer();
    stage_t<C>(args, area_t, warp, lane);
    sync_warps<meet_branch, branch_warps * warp_lanes>();

    int round = 0;
    FBQ_NO_UNROLL
    for (int first = block_index_x(); first < args.tiles;
         first += args.round_tiles * grid_blocks_x(), round++) {
        if (round > 0)
            barrier_wait(handover.read, (u32)(round - 1) & 1u);
        FBQ_NO_UNROLL
        for (int tile = warp;
             tile < args.round_tiles && first + tile * grid_blocks_x() < args.tiles;
             tile += branch_warps) {
            float y[4] = {0, 0, 0, 0};
            FBQ_NO_UNROLL
            for (int step = 0; step < args.rank_tiles; step += up_batch) {
                const saddr at = area_t + (u32)(step * branch_step_bytes);
                up_advance(args, ahead, warp);
                FBQ_UNROLL
                for (int i = 0; i < up_batch; i++) {
                    if (step + i < args.rank_tiles)
                        add_step<C>(y, at + (u32)(i * branch_step_bytes), b[i], lane);
                    b[i] = up_load(args, ahead, i, lane);
                }
            }
            reduce_put<C::columns>(up + (u32)(tile * reduce_bytes(C::columns)), lane, y);
        }
        barrier_arrive(handover.ready);
    }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
