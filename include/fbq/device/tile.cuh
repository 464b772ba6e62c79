// fbq/device/tile.cuh: what a fused kernel is compiled for, and how its warps share the work.
//
// K is cut into units of 128 codes. Every warp of the codes owns a fixed run of units, so it
// fetches its own codes and its own slice of x and meets the other warps at the end only. It takes
// its run in one or more parts; a part of one tile is a step, what one stage of its ring holds. A
// block takes a group of tiles at a time, part by part: a part of x serves all tiles of the group
// before the next part is needed. In groups of one tile x may also stay where it is.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_TILE_CUH
#define FBQ_DEVICE_TILE_CUH

#include "args.cuh"
#include "factor.cuh"
#include "unpack.cuh"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// Zero kinds as types.h numbers them.
constexpr int zero_none = 0;
constexpr int zero_code = 1;
constexpr int zero_f16 = 2;

constexpr int unit_codes = 128;
constexpr int block_bytes = tile_rows * 16 * 2; // of A or B in 16 bits, for reconstruct
constexpr int branch_warps = 4;                 // of a block; beside those of the pick

// Barriers at which some warps of a block meet: those of the codes, those of the sub-branch; and
// the latter wait for what the former make first.
constexpr int meet_codes = 1, meet_branch = 2, meet_begin = 3;

// The sub-branch of a fused kernel: there is none; t comes from down, launched before; the kernel
// makes t itself, its blocks a share each.
constexpr int branch_none = 0;
constexpr int branch_behind_down = 1;
constexpr int branch_whole = 2;

// Is K a number of whole parts, which warps can have whole without a longer run for any?
FBQ_DEVICE constexpr bool parts_are_whole(int chunks, int warps, int part_units)
{
    return chunks > 0 && chunks % (2 * part_units) == 0 &&
           ceil_div(chunks / (2 * part_units), warps) * part_units == ceil_div(chunks / 2, warps);
}

// How the weights and factors are stored.
//   Bits     2, 3 or 4                     Scale    type of the scales, as types.h numbers them
//   Group    group size, 0: whole row      Factor   of A and B, also type_i8
//   Zero     zero kind
template <int Bits, int Group, int Zero, int Scale, int Factor>
struct Format {
    static_assert(Bits >= 2 && Bits <= 4, "");
    static_assert(Group == 0 || Group == 32 || Group == 64 || Group == 128 || Group == 256, "");
    static_assert(Zero >= zero_none && Zero <= zero_f16, "");
    static_assert(Scale == type_f16 || Scale == type_bf16, "");
    static_assert(Factor == type_f16 || Factor == type_bf16 || Factor == type_i8, "");
    static constexpr int bits = Bits, group = Group, zero = Zero, scale = Scale, factor = Factor;
};

// What a fused kernel is compiled for.
//   Stored   a Format                      Columns  rows of x served: 1, or up to 8, or up to 16
//   X        type of x and the bias        Branch   the sub-branch, as above
//   Chunks   K in chunks of 64; 0: known at run time only, which costs arithmetic in every step
//   Resident all of x stays in shared memory; else its parts come and go
//   Warps, PartUnits, Stages, Tiles, Splits: the pick
//   Segmented several layers that share x, each a segment of the rows
template <class Stored, int X, int Columns, int Branch, int Chunks, bool Resident, int Warps,
          int PartUnits, int Stages, int Tiles, int Splits = 1, bool Segmented = false>
struct Fused {
    static_assert(X == type_f16 || X == type_bf16, "");
    static_assert(Columns == 1 || Columns == 8 || (Columns == 16 && Branch != branch_whole), "");
    static_assert(Branch >= branch_none && Branch <= branch_whole, "");
    static_assert(Warps >= 1 && Warps <= 16, "");
    static_assert(PartUnits >= 1 && PartUnits <= 32, "");
    static_assert(Stages >= 2 && Stages <= 4, "");
    static_assert(Tiles >= 1 && Tiles <= 8, "");
    static_assert(Splits >= 1 && Splits <= 8, "");

    static constexpr int bits = Stored::bits, group = Stored::group, zero = Stored::zero,
                         scale = Stored::scale, factor = Stored::factor, x = X;
    static constexpr int columns = Columns, chunks = Chunks, warps = Warps, part_units = PartUnits,
                         stages = Stages, tiles = Tiles, splits = Splits;
    // Products of eight columns that rows of x make.
    static constexpr int halves = Columns == 16 ? 2 : 1;
    static constexpr bool branch = Branch != branch_none, whole = Branch == branch_whole;
    static constexpr bool segmented = Segmented;

    // Units that a warp has at most, where K is known; else of a part. One row of x also stays
    // where it is one part.
    static constexpr int most_units = Chunks > 0 ? ceil_div((Chunks + 1) / 2, Warps *Splits)
                                                 : PartUnits;
    static constexpr bool resident =
        Resident || (Columns == 1 && Chunks > 0 && most_units <= PartUnits);

    // A round of tiles, whose up-projection is awaited together, is several groups of one tile.
    // Else it is a group.
    static constexpr bool rounds = branch && Tiles == 1;

    // Codes summed before the scale is applied.
    static constexpr int flush = group == 0 || group > unit_codes ? unit_codes : group;
    static constexpr int flushes = unit_codes / flush; // of a unit

    // The first step waits in registers for its x while one step more is on its way. Only where
    // there are more steps; and where registers suffice: beside the sub-branch's warps the sums of
    // many tiles leave too few, and so do two launches side by side (fbq__pairs).
    static constexpr bool holds =
        FBQ_BULK_COPIES && Branch != branch_behind_down && Columns == 1 && PartUnits <= 2 &&
        flushes == 1 && (Tiles == 1 || ceil_div(most_units, PartUnits) * Tiles > Stages) &&
        (!whole || (Tiles == 1 && Resident) || (Tiles > 2 && Tiles <= 6));

    // Chunks of its share of A that a sub-branch warp has x for at a time (exchange.cuh), as the
    // default slices leave it: where t is gathered longest, four. Two launches side by side have no
    // registers for that. host/geometry.h repeats the choice.
    static constexpr bool long_shares = Chunks > (Stored::factor == type_i8 ? 127 : 128) ||
                                        (Chunks >= 64 &&
                                         (Segmented ? Tiles > 2 || Resident
                                                    : Tiles > 2 && Stored::factor != type_i8));
    static constexpr int share_chunks =
        FBQ_LARGE_SHARED && whole && Columns == 1 && long_shares ? 4 : 2;

    // Pieces of A and B that it has on their way (pieces.cuh): as many, or four where they are half
    // as large. host/geometry.h repeats the sizes.
    static constexpr int piece_stages = factor == type_i8 ? 4 : share_chunks;
    static constexpr int block_bytes = block_bytes_of(factor), piece_bytes = 4 * block_bytes;
    static constexpr int piece_scales = factor == type_i8 ? tile_rows * 4 : 0; // behind B's blocks

    // A launch that makes t itself lets the one before go first, but no longer than that lasts. (To
    // make A's numbers x's takes the registers for that.)
    static constexpr bool mixed = Stored::factor != X && Stored::factor != type_i8;
    static constexpr bool turns = FBQ_BULK_COPIES && whole && Columns == 1 && !mixed;
    static constexpr int ring_barriers = Stages + (Columns > 1 ? Resident : turns);

    // Every unit has both its chunks, as far as that is known.
    static constexpr bool whole_units = Chunks > 0 && Chunks % 2 == 0;

    // Every part that a warp has is whole; every warp has all of its parts, and they are whole.
    static constexpr bool whole_parts = parts_are_whole(Chunks, Warps *Splits, PartUnits);
    static constexpr bool even = Chunks > 0 && Chunks % (2 * Warps * Splits * PartUnits) == 0;

    // A stage of the ring: codes, scales (with fp16 zero points), integer zero points; whole lines,
    // since bulk copies are fastest between those. host/geometry.h repeats these sizes.
    static constexpr int code_bytes = unit_codes * tile_rows * bits / 8; // of a unit
    static constexpr int group_bytes = zero == zero_f16 ? 64 : 32;
    static constexpr int groups = group == 0           ? 1
                                  : group > unit_codes ? PartUnits / 2 + 1
                                                       : PartUnits *unit_codes / group;
    static constexpr int stage_scales = PartUnits * code_bytes;
    static constexpr int stage_zeros = stage_scales + groups * group_bytes;
    static constexpr int stage_bytes =
        (stage_zeros + (zero == zero_code ? (groups + 2) / 2 * 16 : 0) + 127) / 128 * 128;

    // A slot for a part of x. One row: its units made ready (limbs.cuh). Several: what multiply
    // wants to know beside the numbers (words.cuh), then the rows of numbers (row_of).
    static constexpr int unit_bytes =
        Columns == 1 ? 3 * unit_codes + flushes * 16 : flushes * halves * 64;
    static constexpr int ready_bytes =
        Columns == 1 ? PartUnits * unit_bytes : (PartUnits * unit_bytes + 127) / 128 * 128;
    static constexpr int row_bytes = PartUnits * 2 * unit_codes;

    // Numbers that a number of t is taken apart into, and shared memory of a step of them, for each
    // eight columns: 16 bytes a lane of two parts, 24 of three, half of that with one row of x; the
    // power of two of each column (branch.cuh). host/geometry.h repeats the size.
    static constexpr int t_type = factor == type_bf16 ? type_bf16 : type_f16;
    static constexpr int t_parts = t_type == type_f16 ? 2 : 3;
    static constexpr int half_numbers = 256 * t_parts, half_bytes = half_numbers + 8 * 4;
    static constexpr int step_bytes = halves * half_bytes;

    // One row: blocks of two units that a warp asks for and makes ready together.
    static constexpr int row_units = resident ? most_units : PartUnits;
    static constexpr int row_blocks = row_units > 6 ? 4 : ceil_div(row_units, 2);
};

// Sizes that a kernel may know when it is compiled.
template <class C>
FBQ_DEVICE int chunks_of_k(const fbq_fused_args &args)
{
    return C::chunks ? C::chunks : args.chunks;
}
template <class C>
FBQ_DEVICE int units_of_k(const fbq_fused_args &args)
{
    return (chunks_of_k<C>(args) + 1) / 2;
}
template <class C>
FBQ_DEVICE constexpr int parts_of_k()
{
    return ceil_div(ceil_div((C::chunks + 1) / 2, C::warps * C::splits), C::part_units);
}
template <class C>
FBQ_DEVICE int parts_of_k(const fbq_fused_args &args)
{
    return C::chunks ? parts_of_k<C>() : args.parts;
}

// Split-K: C::splits neighbouring blocks share their tiles, each with its part of K. Where a block
// begins its walk over the tiles, how far it is to the next, before which it ends, and which part
// of K is its. Of several segments a block takes neighbours, so that most blocks want the t of one
// segment alone.
FBQ_DEVICE int tile_of_block(const fbq_fused_args &args, int block)
{
    return block * args.own_tiles + min_int(block, args.more_tiles);
}
template <class C>
FBQ_DEVICE int first_tile(const fbq_fused_args &args)
{
    const int block = block_index_x() / C::splits;
    return C::segmented ? tile_of_block(args, block) : block;
}
template <class C>
FBQ_DEVICE int tile_stride()
{
    return C::segmented ? 1 : grid_blocks_x() / C::splits;
}
template <class C>
FBQ_DEVICE int end_tile(const fbq_fused_args &args)
{
    return C::segmented ? tile_of_block(args, block_index_x() / C::splits + 1) : args.tiles;
}
template <class C>
FBQ_DEVICE int split_index()
{
    return C::splits == 1 ? 0 : block_index_x() % C::splits;
}

// One warp's run of units: [first, end); whole parts where that makes no run longer.
struct Share {
    int first, end;
};

template <class C>
FBQ_DEVICE Share share_of(const fbq_fused_args &args, int warp)
{
    constexpr int warps = C::splits * C::warps; // that share a tile
    const int units = units_of_k<C>(args), index = split_index<C>() * C::warps + warp;
    if (C::chunks ? C::whole_parts : parts_are_whole(args.chunks, warps, C::part_units)) {
        const int parts = units / C::part_units;
        return Share{index * parts / warps * C::part_units,
                     (index + 1) * parts / warps * C::part_units};
    }
    return Share{index * units / warps, (index + 1) * units / warps};
}

// A part of a tile: `count` units from `first` on. A warp whose run is shorter than the others' may
// have none in its last part.
struct Part {
    int first, count;
};

template <class C>
FBQ_DEVICE Part part_of(const Share &share, int part)
{
    Part p;
    p.first = share.first + part * C::part_units;
    p.count = C::even          ? C::part_units
              : C::whole_parts ? (p.first < share.end ? C::part_units : 0)
                               : min_int(share.end - p.first, C::part_units);
    return p;
}

// Chunks of a part that exist: K may end in the middle of a unit.
template <class C>
FBQ_DEVICE int chunks_of(const fbq_fused_args &args, const Part &p)
{
    return C::whole_units ? 2 * p.count : min_int(2 * p.count, chunks_of_k<C>(args) - 2 * p.first);
}

// The group that a unit begins in.
template <class C>
FBQ_DEVICE int group_of(int unit)
{
    return C::group == 0           ? 0
           : C::group > unit_codes ? unit / (C::group / unit_codes)
                                   : unit * C::flushes;
}

// ---- x ----

// Where one of several rows begins in a slot: first the even rows, then 64 bytes on the odd ones,
// so that neighbours fall into different banks.
template <class C>
FBQ_DEVICE u32 row_of(const fbq_fused_args &args, int row)
{
    return (u32)(C::ready_bytes + (row >> 1) * C::row_bytes +
                 (row & 1) * ((args.m + 1) / 2 * C::row_bytes + 64));
}
template <class C>
FBQ_DEVICE int slot_bytes(const fbq_fused_args &args)
{
    return C::columns == 1 ? C::ready_bytes : C::ready_bytes + args.m * C::row_bytes + 64;
}

// Is x read in words of eight numbers throughout? Else some or all are read number by number.
FBQ_DEVICE bool x_in_words(int k_total, int vectors)
{
    return vectors && k_total % 8 == 0;
}

// Eight words of x from k on, number by number, zeros beyond K.
FBQ_DEVICE u32x4 x_numbers(const void *x, i64 row_offset, int k, int k_total)
{
    const u16 *p = (const u16 *)x + row_offset + k;
    u32 word[8];
    FBQ_UNROLL
    for (int i = 0; i < 8; i++)
        word[i] = ldg_u16_if(k + i < k_total, p + i);
    u32x4 v;
    v.x = word[0] | word[1] << 16;
    v.y = word[2] | word[3] << 16;
    v.z = word[4] | word[5] << 16;
    v.w = word[6] | word[7] << 16;
    return v;
}

// The same, in one load where that can be.
FBQ_DEVICE u32x4 x_words(const void *x, i64 row_offset, int k, int k_total, int vectors)
{
    if (vectors && k + 8 <= k_total)
        return ldg_u32x4((const u16 *)x + row_offset + k);
    return x_numbers(x, row_offset, k, k_total);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
