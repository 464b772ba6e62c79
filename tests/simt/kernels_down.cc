// tests/simt/kernels_down.cc: instantiates down for every pick that fbq_pick_default can give, and
// for one with an odd number of warps.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

#include <fbq/device/down.cuh>

namespace simt
{

template <int X, int Factor, int Warps, int Chunks>
static down_body of_columns(int columns)
{
    return columns == 1   ? fbq::down<fbq::Down<X, Factor, 1, Warps, Chunks>>
           : columns == 8 ? fbq::down<fbq::Down<X, Factor, 8, Warps, Chunks>>
                          : fbq::down<fbq::Down<X, Factor, 16, Warps, Chunks>>;
}

template <int X, int Factor, int Warps>
static down_body of_chunks(int columns, int chunks)
{
    switch (chunks) {
    case 1:
        return of_columns<X, Factor, Warps, 1>(columns);
    case 2:
        return of_columns<X, Factor, Warps, 2>(columns);
    case 4:
        return of_columns<X, Factor, Warps, 4>(columns);
    }
    return nullptr;
}

template <int X, int Factor>
static down_body of_warps(int columns, int warps, int chunks)
{
    switch (warps) {
    case 1:
        return of_chunks<X, Factor, 1>(columns, chunks);
    case 2:
        return of_chunks<X, Factor, 2>(columns, chunks);
    case 3:
        return chunks == 2 ? of_columns<X, Factor, 3, 2>(columns) : nullptr;
    case 4:
        return of_chunks<X, Factor, 4>(columns, chunks);
    case 8:
        return of_chunks<X, Factor, 8>(columns, chunks);
    }
    return nullptr;
}

down_body find_down(int x, int factor, int columns, int warps, int chunks)
{
    using namespace fbq;
    if (x == type_f16)
        return factor == type_f16 ? of_warps<type_f16, type_f16>(columns, warps, chunks)
                                  : of_warps<type_f16, type_bf16>(columns, warps, chunks);
    return factor == type_f16 ? of_warps<type_bf16, type_f16>(columns, warps, chunks)
                              : of_warps<type_bf16, type_bf16>(columns, warps, chunks);
}

} // namespace simt
