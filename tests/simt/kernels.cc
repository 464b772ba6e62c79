// tests/simt/kernels.cc: instantiates fused for SIMT_GROUP and FBQ_BULK_COPIES.
//
// Every pick times every format is more than a compiler wants to see, so there are two sets:
// SIMT_DEFAULTS has what serves every pick that fbq_pick_default can give on fbq_simt_gpu(), for
// all formats (simt_linear.cc's pick_of); without it there is one pick for all formats, and the
// spread of others that spread.h lists. Kernels for several segments are a set of their own,
// SIMT_SEGMENTS.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

#include "spread.h"

#include <fbq/device/fused.cuh>

#include <vector>

namespace simt
{

namespace
{

struct entry {
    variant v;
    fused_body body;
};
typedef std::vector<entry> table;

template <class Stored, int X, int Columns, int Branch, int Chunks, bool Resident, int Warps,
          int Units, int Stages, int Tiles, int Splits = 1, bool Segmented = false>
void add_stored(table &t)
{
    t.push_back({{Stored::bits, Stored::zero, Stored::scale, Stored::factor, X, Columns, Branch,
                  Chunks, Resident, Warps, Units, Stages, Tiles, Splits, Segmented},
                 fbq::fused<fbq::Fused<Stored, X, Columns, Branch, Chunks, Resident, Warps, Units,
                                       Stages, Tiles, Splits, Segmented>>});
}

// 4 bits, fp16 all over.
template <int Group, int Zero, int Columns, int Branch, int Chunks, bool Resident, int Warps,
          int Units, int Stages, int Tiles, int Splits = 1>
void add(table &t)
{
    add_stored<fbq::Format<4, Group, Zero, fbq::type_f16, fbq::type_f16>, fbq::type_f16, Columns,
               Branch, Chunks, Resident, Warps, Units, Stages, Tiles, Splits>(t);
}

template <int Zero, bool Resident, int Warps, int Units, int Stages, int Tiles>
void add_zero(table &t)
{
    add<SIMT_GROUP, Zero, 1, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, Zero, 1, 1, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, Zero, 8, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, Zero, 8, 1, 0, Resident, Warps, Units, Stages, Tiles>(t);
}

template <bool Resident, int Warps, int Units, int Stages, int Tiles>
void add_format(table &t)
{
    add_zero<fbq::zero_none, Resident, Warps, Units, Stages, Tiles>(t);
    add_zero<fbq::zero_code, Resident, Warps, Units, Stages, Tiles>(t);
    add_zero<fbq::zero_f16, Resident, Warps, Units, Stages, Tiles>(t);
}

#if defined SIMT_DEFAULTS

// One row without a sub-branch.
template <bool Resident, int Warps, int Units, int Stages, int Tiles>
void add_row(table &t)
{
    add<SIMT_GROUP, fbq::zero_none, 1, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, fbq::zero_code, 1, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, fbq::zero_f16, 1, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
}

// Several rows without one.
template <bool Resident, int Warps, int Units, int Stages, int Tiles>
void add_rows(table &t)
{
    add<SIMT_GROUP, fbq::zero_none, 8, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, fbq::zero_code, 8, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
    add<SIMT_GROUP, fbq::zero_f16, 8, 0, 0, Resident, Warps, Units, Stages, Tiles>(t);
}

table make()
{
    table t;
    add_rows<true, 16, 1, 2, 1>(t);
    add_format<true, 1, 1, 4, 1>(t);
    add_row<true, 1, 2, 2, 1>(t);
    add_row<true, 2, 2, 2, 1>(t);
    add_row<true, 4, 2, 2, 1>(t);
    add_row<true, 8, 2, 2, 1>(t);
    add_format<true, 2, 1, 4, 1>(t);
    add_format<true, 4, 1, 4, 1>(t);
    add_format<true, 8, 1, 4, 1>(t);
    add_format<true, 16, 1, 4, 1>(t);
    add_format<true, 16, 2, 2, 1>(t);
    add_format<true, 16, 3, 2, 1>(t);
    return t;
}

#else

// The pick that all formats have.
template <int Zero, bool Resident, int Tiles>
void add_base(table &t)
{
    add_zero<Zero, Resident, SIMT_BASE_WARPS, SIMT_BASE_UNITS, SIMT_BASE_STAGES, Tiles>(t);
}

template <bool Resident, int Tiles>
void add_whole(table &t)
{
    add<SIMT_GROUP, fbq::zero_none, 1, fbq::branch_whole, 0, Resident, SIMT_BASE_WARPS,
        SIMT_BASE_UNITS, SIMT_BASE_STAGES, Tiles>(t);
    add<SIMT_GROUP, fbq::zero_none, 8, fbq::branch_whole, 0, Resident, SIMT_BASE_WARPS,
        SIMT_BASE_UNITS, SIMT_BASE_STAGES, Tiles>(t);
}

// Split-K, with every kind of sub-branch.
template <bool Resident, int Tiles, int Splits, int Columns, int Branch>
void add_split(table &t)
{
    add<SIMT_GROUP, fbq::zero_none, Columns, Branch, 0, Resident, SIMT_BASE_WARPS, SIMT_BASE_UNITS,
        SIMT_BASE_STAGES, Tiles, Splits>(t);
}

template <bool Resident, int Tiles, int Splits>
void add_splits(table &t)
{
    add_split<Resident, Tiles, Splits, 1, fbq::branch_none>(t);
    add_split<Resident, Tiles, Splits, 8, fbq::branch_none>(t);
    add_split<Resident, Tiles, Splits, 1, fbq::branch_behind_down>(t);
    add_split<Resident, Tiles, Splits, 8, fbq::branch_behind_down>(t);
    add_split<Resident, Tiles, Splits, 1, fbq::branch_whole>(t);
    add_split<Resident, Tiles, Splits, 8, fbq::branch_whole>(t);
}

// Several segments.
template <int Bits, int Type, int Columns, int Branch, bool Resident, int Tiles, int Splits>
void add_segmented(table &t)
{
    add_stored<fbq::Format<Bits, SIMT_GROUP, fbq::zero_none, Type, Type>, Type, Columns, Branch, 0,
               Resident, SIMT_BASE_WARPS, SIMT_BASE_UNITS, SIMT_BASE_STAGES, Tiles, Splits, true>(
        t);
}

#ifdef SIMT_ONE_PICK

table make()
{
    table t;
    add_base<fbq::zero_none, false, SIMT_BASE_TILES>(t);
    return t;
}

#elif defined SIMT_SEGMENTS

table make()
{
    table t;
    add_base<fbq::zero_none, false, SIMT_BASE_TILES>(t);
    add_whole<false, SIMT_BASE_TILES>(t);
#define ADD(bits, type, columns, branch, resident, tiles, splits) \
    add_segmented<bits, type, columns, branch, resident, tiles, splits>(t);
    SIMT_SEGMENTED(ADD)
#undef ADD
    // more pieces of a share on their way; factors of other types than x
    typedef fbq::Format<4, SIMT_GROUP, fbq::zero_none, fbq::type_f16, fbq::type_f16> stored;
    typedef fbq::Format<4, SIMT_GROUP, fbq::zero_none, fbq::type_f16, fbq::type_i8> stored_i8;
    add_stored<stored, fbq::type_f16, 1, fbq::branch_whole, SIMT_SEGMENT_CHUNKS, false,
               SIMT_BASE_WARPS, SIMT_BASE_UNITS, SIMT_BASE_STAGES, 3, 1, true>(t);
    add_stored<stored_i8, fbq::type_f16, 1, fbq::branch_whole, 0, false, SIMT_BASE_WARPS,
               SIMT_BASE_UNITS, SIMT_BASE_STAGES, SIMT_BASE_TILES, 1, true>(t);
    add_stored<stored, fbq::type_bf16, 1, fbq::branch_whole, 0, false, SIMT_BASE_WARPS,
               SIMT_BASE_UNITS, SIMT_BASE_STAGES, SIMT_BASE_TILES, 1, true>(t);
    return t;
}

#else

template <int Group>
void add_spread(table &t)
{
#define ADD(group, zero, warps, units, stages, tiles, chunks, resident, branch)         \
    if constexpr (Group == group) {                                                     \
        add<Group, zero, 1, branch, chunks, resident, warps, units, stages, tiles>(t);  \
        add<Group, zero, 8, !branch, chunks, resident, warps, units, stages, tiles>(t); \
    }
    SIMT_SPREAD(ADD)
#undef ADD
#define ADD(group, zero, bits, x, scale, factor, columns, branch)                               \
    if constexpr (Group == group)                                                               \
        add_stored<fbq::Format<bits, Group, zero, scale, factor>, x, columns, branch, 0, false, \
                   SIMT_BASE_WARPS, SIMT_BASE_UNITS, SIMT_BASE_STAGES, SIMT_BASE_TILES>(t);
    SIMT_FORMATS(ADD)
#undef ADD
    if constexpr (Group == 64) {
        // for tests of tiles one by one, with x that stays and that does not
        add_base<fbq::zero_none, true, 1>(t);
        add_base<fbq::zero_none, false, 1>(t);
        // t made in the same launch, which formats have no part in
        add_whole<false, SIMT_BASE_TILES>(t);
        add_whole<true, 1>(t);
        add_splits<false, SIMT_BASE_TILES, 3>(t);
        // more than two pieces of a share on their way
        add<Group, fbq::zero_none, 1, fbq::branch_whole, SIMT_LONG_CHUNKS, false, SIMT_BASE_WARPS,
            SIMT_BASE_UNITS, SIMT_BASE_STAGES, SIMT_BASE_TILES>(t);
        add_stored<fbq::Format<4, Group, fbq::zero_none, fbq::type_f16, fbq::type_i8>,
                   fbq::type_f16, 1, fbq::branch_whole, SIMT_LONG_BYTES, false, SIMT_BASE_WARPS,
                   SIMT_BASE_UNITS, SIMT_BASE_STAGES, SIMT_BASE_TILES>(t);
        add_splits<true, 1, 2>(t);
    }
    if constexpr (Group == 128) {
        // the first step held in registers
        add_whole<false, 3>(t);
        add_whole<true, 1>(t);
        add_splits<false, 3, 2>(t);
    }
}

table make()
{
    table t;
    add_base<fbq::zero_none, false, SIMT_BASE_TILES>(t);
    add_base<fbq::zero_code, false, SIMT_BASE_TILES>(t);
    add_base<fbq::zero_f16, false, SIMT_BASE_TILES>(t);
    add_spread<SIMT_GROUP>(t);
    return t;
}

#endif
#endif

bool equal(const variant &a, const variant &b)
{
    return a.bits == b.bits && a.zero == b.zero && a.scale == b.scale && a.factor == b.factor &&
           a.x == b.x && a.columns == b.columns && a.branch == b.branch && a.chunks == b.chunks &&
           a.resident == b.resident && a.warps == b.warps && a.part_units == b.part_units &&
           a.stages == b.stages && a.tiles == b.tiles && a.splits == b.splits &&
           a.segmented == b.segmented;
}

} // namespace

template <>
fused_body find_fused<SIMT_GROUP, FBQ_BULK_COPIES>(const variant &v)
{
    static const table compiled = make();
    for (const entry &e : compiled) {
        if (equal(e.v, v)) {
            return e.body;
        }
    }
    return nullptr;
}

} // namespace simt
