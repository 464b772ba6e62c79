// fbq/device/exchange.cuh: the down-projection inside fused. Every block makes a share of t's
// partial sums and takes the others' from memory, within one launch.
//
// A partial sum travels in one 64-bit word with the launch's epoch, so that a word says by itself
// whether it is there: no flag, no fence, nothing to clear. The caller's `state` holds the epoch
// and the words. It was zeroed once, and serves one launch after another; each launch that makes t
// counts the epoch up by one.
//
// Nobody relies on other blocks being there at all: a warp that has polled long enough makes the
// partial sums that it waits for itself, the same bits, and publishes them. So a launch ends
// however few of its blocks fit at once.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_EXCHANGE_CUH
#define FBQ_DEVICE_EXCHANGE_CUH

#include "down.cuh"
#include "pieces.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// The state: its head, that is {epoch of the last launch, its complement}, 0 at first; how many
// blocks have done with the words; the first again. Then split-K's counters (splits.cuh), then
// words [slice][row of x][rank]. Launches of any plan may follow each other on one state, so each
// kind of number has a place of its own. host/geometry.h repeats these sizes.
constexpr int state_head_bytes = 128;
constexpr int state_counters = 2048;
constexpr int state_words = state_head_bytes + state_counters * 4;

// The head as it was found, the launches before having ended. What follows from it is worked out
// where it is needed, since nothing should wait for this load that need not: hence two copies for
// even and odd lanes, or the compiler would wait at once to make it one number of the warp.
FBQ_DEVICE u64 head_of(const fbq_fused_args &args, int lane)
{
    return ldg_relaxed_u64((const u8 *)args.state + (lane & 1) * 16);
}

FBQ_DEVICE u32 epoch_of(u64 head)
{
    return (u32)head + 1;
}

// Was it zeroed, or left by a launch? If not, y becomes NaN.
FBQ_DEVICE bool head_is_good(u64 head)
{
    return head == 0 || (u32)(head >> 32) == ~(u32)head;
}

// This block has all that it wants of the words. Which block it was to say so; the last one counts
// the epoch up.
FBQ_DEVICE u32 epoch_leave(const fbq_fused_args &args)
{
    return atomic_turn_u32((u8 *)args.state + 8, (u32)grid_blocks_x() - 1);
}

FBQ_DEVICE void epoch_end(const fbq_fused_args &args, u64 head)
{
    const u64 next = (u64)~epoch_of(head) << 32 | epoch_of(head);
    stg_relaxed_u64(args.state, next);
    stg_relaxed_u64((u8 *)args.state + 16, next);
}

FBQ_DEVICE u8 *word_of(const fbq_fused_args &args, int slice, int m, int rank)
{
    return (u8 *)args.state + state_words +
           (((i64)slice * args.m + m) * (args.rank_tiles * tile_rows) + rank) * 8;
}

FBQ_DEVICE void publish(const fbq_fused_args &args, const DownShare &s, int m, int row, float v,
                        u64 head)
{
    stg_relaxed_u64(word_of(args, s.slice, m, s.rank_tile * tile_rows + row),
                    (u64)epoch_of(head) << 32 | bits_of(v));
}

// The row of x that a lane multiplies.
template <class C>
FBQ_DEVICE i64 down_row(const fbq_fused_args &args, int lane)
{
    return C::columns == 1 ? 0 : (i64)min_int(lane >> 2, args.m - 1) * args.x_stride;
}

// A warp adds up its chunks in turns, in so many chains; their sum. The chains opposite each other
// come first, so that it has the same bits whichever chain is called the first.
template <int Chains>
FBQ_DEVICE void add_chains(float (&c)[Chains][4])
{
    FBQ_UNROLL
    for (int i = 0; i < 4; i++) {
        if (Chains == 4)
            c[0][i] = add(add(c[0][i], c[2 % Chains][i]), add(c[1][i], c[3 % Chains][i]));
        else
            c[0][i] = add(c[0][i], c[1][i]);
    }
}

// This block's share, made and published. `area`: branch_warps * reduce_bytes(columns).
template <class C>
FBQ_DEVICE void make_share(const fbq_fused_args &args, saddr area, const PieceRing &ring,
                           Cursor &next, PieceAhead &ahead, const DownShare &s, u64 head, int warp,
                           int lane)
{
    constexpr int stride = reduce_bytes(C::columns);
    const int put = warp * warp_lanes + lane; // what the lane publishes
    const int m = reduce_column<C::columns>(put);
    const bool puts = put < tile_rows * C::columns && m < args.m;
    float scale = 1;
    if (C::factor == type_i8 && puts)
        scale = ldg_f32(args.down_scales + s.rank_tile * tile_rows + put % tile_rows);
    const i64 row = down_row<C>(args, lane);
    const bool vectors = args.x_vectors && s.end * chunk_codes <= args.k;
    constexpr int batch = C::share_chunks;
    float c[batch][4] = {};
    int held = 0;
    FBQ_NO_UNROLL
    for (int chunk = s.begin + warp; chunk < s.end; chunk += batch * branch_warps) {
        for (; held > 0; held--)
            piece_next<C>(args, ring, next, ahead, warp, lane);
        ChunkX x[batch] = {};
        if (vectors) {
            const u16 *from = (const u16 *)args.x + row + chunk * chunk_codes + (lane & 3) * 8;
            FBQ_UNROLL
            for (int i = 0; i < batch; i++) {
                // beyond the share the first chunk again, which is not used
                const int beyond = chunk + i * branch_warps < s.end ? i : 0;
                const u16 *p = from + beyond * branch_warps * chunk_codes;
                x[i].x[0] = ldg_u32x4(p);
                x[i].x[1] = ldg_u32x4(p + 32);
            }
        } else {
            // in a loop: the code is long, and would stand here for each chunk
            FBQ_NO_UNROLL
            for (int at = chunk; at < chunk + batch * branch_warps; at += branch_warps) {
                FBQ_UNROLL
                for (int i = 1; i < batch; i++)
                    x[i - 1] = x[i];
                if (at < s.end)
                    x[batch - 1] = chunk_x(args.x, row, at, args.k, 0, lane);
            }
        }
        if (!FBQ_BULK_COPIES) {
            copy_async_wait_left<0>();
            sync_warp();
        }
        Cursor at = next;
        FBQ_UNROLL
        for (int i = 0; i < batch; i++)
            if (chunk + i * branch_warps < s.end) {
                const saddr from = piece_wait<C>(ring, at);
                typename BlockPart<C::factor>::vector a[4];
                FBQ_UNROLL
                for (int j = 0; j < 4; j++)
                    part_lds(a[j], from + (u32)(j * C::block_bytes), lane);
                chunk_multiply<C>(c[i], a, x[i]);
                piece_advance<C>(at);
                held++;
            }
    }
    add_chains(c);
    reduce_put<C::columns>(area + (u32)(warp * stride), lane, c[0]);
    sync_warps<meet_branch, branch_warps * warp_lanes>();
    if (puts) {
        const float v = reduce_get<branch_warps, C::columns>(area, stride, put);
        publish(args, s, m, put % tile_rows, scaled<C>(v, scale), head);
    }
    for (; held > 0; held--)
        piece_next<C>(args, ring, next, ahead, warp, lane);
}

// One share by one warp: what its block would have made, added in the same order.
template <class C>
FBQ_DEVICE void help(const fbq_fused_args &args, const DownShare &s, u64 head, int lane)
{
    const i64 row = down_row<C>(args, lane);
    float sum[4] = {0, 0, 0, 0};
    FBQ_NO_UNROLL
    for (int warp = 0; warp < branch_warps; warp++) {
        float c[C::share_chunks][4] = {};
        for (int chunk = s.begin + warp; chunk < s.end; chunk += branch_warps) {
            FBQ_NO_UNROLL
            for (int i = 0; i < 4; i++) {
                typename BlockPart<C::factor>::vector a;
                part_ldg(a,
                         (const u8 *)args.a_blocks +
                             (((i64)s.rank_tile * args.chunks + chunk) * 4 + i) * C::block_bytes,
                         lane);
                const u32x4 x =
                    x_words(args.x, row, chunk * chunk_codes + i / 2 * 32 + (lane & 3) * 8, args.k,
                            args.x_vectors);
                mma_block<C::factor, C::x>(c[0], a, i % 2 ? x.z : x.x, i % 2 ? x.w : x.y);
            }
            // the next chain comes to the front
            FBQ_UNROLL
            for (int i = 0; i < 4; i++) {
                const float v = c[0][i];
                FBQ_UNROLL
                for (int j = 1; j < C::share_chunks; j++)
                    c[j - 1][i] = c[j][i];
                c[C::share_chunks - 1][i] = v;
            }
        }
        add_chains(c);
        FBQ_UNROLL
        for (int i = 0; i < 4; i++)
            sum[i] = warp == 0 ? c[0][i] : add(sum[i], c[0][i]);
    }
    const int g = lane >> 2, m = C::columns == 1 ? 0 : (lane & 3) * 2;
    FBQ_UNROLL
    for (int i = 0; i < 4; i++)
        if (C::columns == 1 ? (lane & 3) == 0 && i % 2 == 0 : m + i % 2 < args.m) {
            const int rank = g + i / 2 * 8;
            float scale = 1;
            if (C::factor == type_i8)
                scale = ldg_f32(args.down_scales + s.rank_tile * tile_rows + rank);
            publish(args, s, m + i % 2, rank, scaled<C>(sum[i], scale), head);
        }
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
