// tests/simt/kernels_down.cc: instantiates down for every pick that fbq_pick_default can give, and
// for one with an odd number of warps.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

#include <fbq/device/down.cuh>

namespace simt
{

template <int Warps, int Chunks>
static down_body of_columns(int columns)
{
    return columns == 1 ? fbq::down<fbq::Down<1, Warps, Chunks>>
                        : fbq::down<fbq::Down<8, Warps, Chunks>>;
}

template <int Warps>
static down_body of_chunks(int columns, int chunks)
{
    switch (chunks) {
    case 1:
        return of_columns<Warps, 1>(columns);
    case 2:
        return of_columns<Warps, 2>(columns);
    case 4:
        return of_columns<Warps, 4>(columns);
    }
    return nullptr;
}

down_body find_down(int columns, int warps, int chunks)
{
    switch (warps) {
    case 1:
        return of_chunks<1>(columns, chunks);
    case 2:
        return of_chunks<2>(columns, chunks);
    case 3:
        return chunks == 2 ? of_columns<3, 2>(columns) : nullptr;
    case 4:
        return of_chunks<4>(columns, chunks);
    case 8:
        return of_chunks<8>(columns, chunks);
    }
    return nullptr;
}

} // namespace simt
