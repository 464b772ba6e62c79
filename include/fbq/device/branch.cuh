// fbq/device/branch.cuh: the up-projection t . B^T, by warps of its own.
//
// t is not there before the down-projection has ended, and codes need not wait for it: some warps
// of a block do nothing but the sub-branch. They have blocks of B on their way when t comes, and
// leave t . B^T of a round of tiles in shared memory, where whoever writes y finds it.
//
// t comes as fp32 partial sums, one a slice of K. It is added in slice order and taken apart into
// two fp16 numbers under a power of two, or three bf16 ones, as B's are, so that neither range nor
// precision is lost (docs/numerics.md). 16 ranks make one step.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_BRANCH_CUH
#define FBQ_DEVICE_BRANCH_CUH

#include "exchange.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Shared memory of one step (C::step_bytes): operands of t, for each part {b0, b1}, two parts in 16
// bytes a lane and a third in 8 bytes behind all of those. One row of x has 8 bytes a lane: the
// parts stand in columns, as two repeated or three and a zero. Then the power of two of each
// column.
FBQ_DEVICE float larger_magnitude(float a, float b)
{
    // as integers, so that NaN counts as the largest
    const u32 u = bits_of(a) & 0x7fffffffu, v = bits_of(b) & 0x7fffffffu;
    return float_of(u > v ? u : v);
}

// Steps of t that a warp has on their way at a time.
constexpr int t_batch = 2;

// Which of t's partial sums a lane takes: column g; or, with one column, the eight lanes that would
// hold it take turns at the slices.
template <class C>
struct Taken {
    static constexpr int stride = C::columns == 1 ? 8 : 1; // from a slice of this lane to its next
    int first, column, rank;
};

template <class C>
FBQ_DEVICE Taken<C> taken_by(int step, int half, int lane)
{
    const int g = lane >> 2;
    return Taken<C>{C::columns == 1 ? g : 0, C::columns == 1 ? 0 : half * 8 + g,
                    step * tile_rows + 4 * (lane & 3)};
}

FBQ_DEVICE void add_to(f32x4 &sum, const f32x4 &v)
{
    sum.x = add(sum.x, v.x);
    sum.y = add(sum.y, v.y);
    sum.z = add(sum.z, v.z);
    sum.w = add(sum.w, v.w);
}

// With one column, add up what its eight lanes took.
template <class C>
FBQ_DEVICE void add_lanes(f32x4 &sum)
{
    if (C::columns == 1) {
        FBQ_UNROLL
        for (int mask = 4; mask < 32; mask *= 2)
            add_to(sum, f32x4{shuffle_xor_f32(sum.x, mask), shuffle_xor_f32(sum.y, mask),
                              shuffle_xor_f32(sum.z, mask), shuffle_xor_f32(sum.w, mask)});
    }
}

// A lane's four ranks of its column, summed over the slices in a fixed order, of the steps `step`,
// step + branch_warps, ... before `end`: what down wrote.
template <class C>
FBQ_DEVICE void gather_t(f32x4 (&sum)[t_batch], const fbq_fused_args &args, int step, int end,
                         int half, int lane)
{
    const Taken<C> own = taken_by<C>(step, half, lane);
    const int ranks = args.rank_tiles * tile_rows;
    constexpr int batch = C::columns == 1 ? 1 : 4; // slices on their way at a time
    FBQ_NO_UNROLL
    for (int s = own.first; s < args.slices; s += own.stride * batch) {
        f32x4 v[batch][t_batch];
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++) {
                const int slice = s + i * own.stride,
                          rank = own.rank + j * branch_warps * tile_rows;
                v[i][j] = f32x4{0, 0, 0, 0};
                if (own.column < args.m && slice < args.slices && rank < end * tile_rows)
                    v[i][j] = ldg_f32x4(args.t + ((i64)slice * args.m + own.column) * ranks + rank);
            }
        }
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++)
                add_to(sum[j], v[i][j]);
        }
    }
}

// Four words, if all of them are there.
FBQ_DEVICE bool words_take(f32x4 &v, const u8 *from, u32 epoch)
{
    u64 w[4];
    ldg_relaxed_u64x2(from, w[0], w[1]);
    ldg_relaxed_u64x2(from + 16, w[2], w[3]);
    v = f32x4{float_of((u32)w[0]), float_of((u32)w[1]), float_of((u32)w[2]), float_of((u32)w[3])};
    return (u32)(w[0] >> 32) == epoch && (u32)(w[1] >> 32) == epoch && (u32)(w[2] >> 32) == epoch &&
           (u32)(w[3] >> 32) == epoch;
}

// The same of what the blocks of this launch publish.
template <class C>
FBQ_DEVICE void gather_words(f32x4 (&sum)[t_batch], const fbq_fused_args &args, int step, int end,
                             u64 head, int lane)
{
    const Taken<C> own = taken_by<C>(step, 0, lane);
    const int ranks = end * tile_rows;
    int polls = 0;
    FBQ_NO_UNROLL
    for (int first = 0; first < args.slices; first += own.stride) {
        const int slice = first + own.first;
        f32x4 v[t_batch];
        FBQ_NO_UNROLL
        for (;;) {
            bool there = true;
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++) {
                const int rank = own.rank + j * branch_warps * tile_rows;
                v[j] = f32x4{0, 0, 0, 0};
                if (own.column < args.m && slice < args.slices && rank < ranks &&
                    !words_take(v[j], word_of(args, slice, own.column, rank), epoch_of(head)))
                    there = false;
            }
            if (warp_all(there))
                break;
            if (polls++ < args.patience)
                continue;
            FBQ_NO_UNROLL
            for (int i = 0; i < own.stride * t_batch; i++) {
                const int other = first + i / t_batch, tile = step + i % t_batch * branch_warps;
                if (other < args.slices && tile < end)
                    help<C>(args, down_share_of(args, other * args.rank_tiles + tile), head, lane);
            }
        }
        FBQ_UNROLL
        for (int j = 0; j < t_batch; j++)
            add_to(sum[j], v[j]);
    }
    if (!head_is_good(head)) {
        FBQ_UNROLL
        for (int j = 0; j < t_batch; j++)
            sum[j].x = sum[j].y = sum[j].z = sum[j].w = float_of(0x7fc00000u);
    }
}

// One step of t to shared memory, of eight columns.
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
    u32 b[4][2] = {}; // of each part; one that there is not is zero
    float left[4] = {x, y, z, w};
    FBQ_UNROLL
    for (int part = 0; part < C::t_parts; part++) {
        b[part][0] = pair_off<C::t_type>(left[0], left[1]);
        b[part][1] = pair_off<C::t_type>(left[2], left[3]);
    }
    const int g = lane >> 2;
    if (C::columns == 1) {
        const int part = C::t_parts == 2 ? g & 1 : g & 3;
        const bool odd = part & 1, upper = part & 2;
        const u32 low0 = odd ? b[1][0] : b[0][0], low1 = odd ? b[1][1] : b[0][1];
        sts_u32x2(at + (u32)lane * 8, upper ? (odd ? 0 : b[2][0]) : low0,
                  upper ? (odd ? 0 : b[2][1]) : low1);
    } else {
        sts_u32x4(at + (u32)lane * 16, u32x4{b[0][0], b[0][1], b[1][0], b[1][1]});
        if (C::t_parts == 3)
            sts_u32x2(at + 512 + (u32)lane * 8, b[2][0], b[2][1]);
    }
    if ((lane & 3) == 0)
        sts_f32(at + C::half_numbers + (u32)g * 4, up);
}

// Stage this warp's steps of t, of those that the block's tiles want: the first and the warp's, the
// next being branch_warps further.
template <class C>
FBQ_DEVICE void stage_t(const fbq_fused_args &args, saddr area, u64 head, int warp, int lane)
{
    const StepsOfBlock own = steps_of_block<C>(args);
    FBQ_NO_UNROLL
    for (int first = own.first + warp; first < own.end; first += t_batch * branch_warps) {
        FBQ_NO_UNROLL
        for (int half = 0; half < C::halves; half++) {
            f32x4 v[t_batch] = {};
            if (C::whole)
                gather_words<C>(v, args, first, own.end, head, lane);
            else
                gather_t<C>(v, args, first, own.end, half, lane);
            FBQ_UNROLL
            for (int j = 0; j < t_batch; j++) {
                const int step = first + j * branch_warps;
                add_lanes<C>(v[j]);
                if (step < own.end)
                    put_t<C>(area + (u32)(step * C::step_bytes + half * C::half_bytes), v[j], lane);
            }
        }
    }
}

// y += t . B^T for a piece of B at b, of so many blocks, and eight columns; t's steps begin at t.
// All loads of a few steps come before the first is used.
template <class C>
FBQ_DEVICE void add_piece(float (&y)[4], saddr t, saddr b, int steps, int lane)
{
    constexpr int batch = C::columns == 1 ? piece_most : piece_most / 2;
    FBQ_UNROLL
    for (int first = 0; first < piece_most; first += batch) {
        typename BlockPart<C::factor>::vector w[batch];
        u32x4 v[batch];
        u32x2 third[batch];
        float even[batch], odd[batch];
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            const saddr at = t + (u32)((first + i) * C::step_bytes);
            v[i] = u32x4{0, 0, 0, 0};
            w[i] = {};
            third[i] = u32x2{0, 0};
            even[i] = odd[i] = 0;
            if (first + i >= steps)
                continue;
            part_lds(w[i], b + (u32)((first + i) * C::block_bytes), lane);
            if (C::columns == 1) {
                const u32x2 pair = lds_u32x2(at + (u32)lane * 8);
                v[i].x = pair.x;
                v[i].y = pair.y;
                even[i] = lds_f32(at + C::half_numbers);
            } else {
                v[i] = lds_u32x4(at + (u32)lane * 16);
                if (C::t_parts == 3)
                    third[i] = lds_u32x2(at + 512 + (u32)lane * 8);
                lds_f32x2(at + C::half_numbers + (u32)(lane & 3) * 8, even[i], odd[i]);
            }
        }
        FBQ_UNROLL
        for (int i = 0; i < batch; i++) {
            float c[4] = {0, 0, 0, 0};
            mma_block<C::factor, C::t_type>(c, w[i], v[i].x, v[i].y);
            if (C::columns == 1) {
                y[0] = fma(even[i], add(c[0], c[1]), y[0]);
                y[2] = fma(even[i], add(c[2], c[3]), y[2]);
            } else {
                mma_block<C::factor, C::t_type>(c, w[i], v[i].z, v[i].w);
                if (C::t_parts == 3)
                    mma_block<C::factor, C::t_type>(c, w[i], third[i].x, third[i].y);
                y[0] = fma(even[i], c[0], y[0]);
                y[2] = fma(even[i], c[2], y[2]);
                y[1] = fma(odd[i], c[1], y[1]);
                y[3] = fma(odd[i], c[3], y[3]);
            }
        }
    }
}

// Times the scales of B's rows.
FBQ_DEVICE void scale_rows(float (&y)[4], saddr scales, int lane)
{
    const float upper = lds_f32(scales + (u32)(lane >> 2) * 4),
                lower = lds_f32(scales + (u32)((lane >> 2) + 8) * 4);
    y[0] = mul(y[0], upper);
    y[1] = mul(y[1], upper);
    y[2] = mul(y[2], lower);
    y[3] = mul(y[3], lower);
}

// The lanes' sums of a tile -> rows g and g + 8. With one column a third part is in other lanes.
template <class C>
FBQ_DEVICE void up_finish(float (&y)[4])
{
    if (C::columns == 1 && C::t_parts == 3) {
        y[0] = add(y[0], shuffle_xor_f32(y[0], 1));
        y[2] = add(y[2], shuffle_xor_f32(y[2], 1));
    }
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
    const saddr up = area + (u32)args.smem_up; // [item of the round][row][column]
    const Handover handover = handover_of<C>(args, area);
    PieceAhead ahead;
    const PieceRing ring = pieces_begin<C>(args, area, ahead, warp, lane);
    Cursor next = {0, 0};
    DownShare share = {};
    const bool shares = C::whole && block_index_x() < down_shares(args);
    if (shares)
        share = down_share_of(args, block_index_x());
    // Whole, what it asks for may be what the kernel before writes, unless the caller says no.
    const bool early = !C::whole || args.chained;
    if (early)
        pieces_fetch<C>(args, ring, ahead, warp, lane);
    if (C::whole)
        prefetch_a<C>(ahead, lane);
    if (C::factor == type_i8 && shares && warp == 0)
        prefetch_l2(args.down_scales + share.rank_tile * tile_rows, tile_rows * 4, lane);
    sync_warps<meet_begin, (C::warps + branch_warps) * warp_lanes>();
    wait_for_producer();
    if (C::turns && warp == 0 && lane < C::warps)
        barrier_arrive(turn_of<C>(ring_barriers<C>(args, area, lane)));
    if (!early)
        pieces_fetch<C>(args, ring, ahead, warp, lane);
    u64 head = 0;
    u32 turn = 0xffffffffu;
    if (C::whole && args.rank_tiles > 0) {
        head = head_of(args, lane);
        if (shares)
            make_share<C>(args, up, ring, next, ahead, share, head, warp, lane);
    }
    const bool ups = split_index<C>() == 0; // of the blocks that share tiles, one
    if (ups)
        stage_t<C>(args, area_t, head, warp, lane);
    sync_warps<meet_branch, branch_warps * warp_lanes>();
    if (C::whole && args.rank_tiles > 0 && warp == 0 && lane == 0)
        turn = epoch_leave(args);

    int round = 0;
    bool used =
        false; // the piece at `next`: its place is filled again once nobody waits for this warp
    FBQ_NO_UNROLL
    for (int first = ups ? first_tile<C>(args) : end_tile<C>(args); first < end_tile<C>(args);
         first += args.round_tiles * tile_stride<C>(), round++) {
        if (round > 0)
            barrier_wait(handover.read, (u32)(round - 1) & 1u);
        FBQ_NO_UNROLL
        for (int item = warp; item < up_items(args); item += branch_warps) {
            const Up u = {first, item, 0};
            const int tile = up_tile<C>(args, u);
            if (tile >= end_tile<C>(args))
                break;
            const TileRanks ranks = ranks_of<C>(args, tile);
            float y[C::halves][4] = {};
            saddr last = 0; // the last piece
            FBQ_NO_UNROLL
            for (int step = up_first_step(args, item); step < steps_of<C>(args, ranks);
                 step += 1 << args.piece_shift << args.up_shift) {
                if (used)
                    piece_next<C>(args, ring, next, ahead, warp, lane);
                const saddr t = area_t + (u32)((ranks.first + step) * C::step_bytes);
                const saddr b = piece_wait<C>(ring, next);
                FBQ_UNROLL
                for (int half = 0; half < C::halves; half++)
                    add_piece<C>(y[half], t + (u32)(half * C::half_bytes), b,
                                 min_int(steps_of<C>(args, ranks) - step, 1 << args.piece_shift),
                                 lane);
                used = true;
                last = b;
            }
            if (C::piece_scales > 0 && last) {
                FBQ_UNROLL
                for (int half = 0; half < C::halves; half++)
                    scale_rows(y[half], last + piece_scales_at<C>(args), lane);
            }
            up_finish<C>(y[0]);
            FBQ_UNROLL
            for (int half = 0; half < C::halves; half++)
                reduce_put<C::columns>(up + (u32)(item * reduce_bytes(C::columns)), lane, y[half],
                                       half);
        }
        barrier_arrive(handover.ready);
        if (used)
            piece_next<C>(args, ring, next, ahead, warp, lane);
        used = false;
    }
    if (C::whole && turn == (u32)grid_blocks_x() - 1)
        epoch_end(args, head);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
