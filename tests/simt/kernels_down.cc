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

template <int X>
static down_body of_factor(int factor, int columns, int warps, int chunks)
{
    switch (factor) {
    case fbq::type_f16:
        return of_warps<X, fbq::type_f16>(columns, warps, chunks);
    case fbq::type_bf16:
        return of_warps<X, fbq::type_bf16>(columns, warps, chunks);
    case fbq::type_i8:
        return of_warps<X, fbq::type_i8>(columns, warps, chunks);
    }
    return nullptr;
}

down_body find_down(int x, int factor, int columns, int warps, int chunks)
{
    return x == fbq::type_f16 ? of_factor<fbq::type_f16>(factor, columns, warps, chunks)
                              : of_factor<fbq::type_bf16>(factor, columns, warps, chunks);
}

} // namespace simt
