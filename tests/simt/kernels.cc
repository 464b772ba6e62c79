// tests/simt/kernels.cc: instantiates fused for SIMT_GROUP.
//
// Every pick times every format is more than a compiler wants to see twice with sanitizers, so
// there are two sets: SIMT_DEFAULTS has every pick that fbq_pick_default can give, for all formats;
// without it there is one pick for all formats, and for one zero kind a spread of others.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

#include <fbq/device/fused.cuh>

namespace simt
{

namespace
{

template <int Zero, int Warps, int Chunks>
fused_body of_pick(const variant &v)
{
    constexpr int group = SIMT_GROUP;
    if (v.columns == 1) {
        return v.branch ? fbq::fused<fbq::Fused<group, Zero, 1, true, Warps, Chunks>>
                        : fbq::fused<fbq::Fused<group, Zero, 1, false, Warps, Chunks>>;
    }
    return v.branch ? fbq::fused<fbq::Fused<group, Zero, 8, true, Warps, Chunks>>
                    : fbq::fused<fbq::Fused<group, Zero, 8, false, Warps, Chunks>>;
}

#define SIMT_PICK(w, c)                  \
    if (v.warps == w && v.chunks == c) { \
        return of_pick<Zero, w, c>(v);   \
    }

template <int Zero>
fused_body of_zero(const variant &v)
{
#ifdef SIMT_DEFAULTS
    constexpr int chunks = 4;
    SIMT_PICK(1, chunks)
    SIMT_PICK(2, chunks)
    SIMT_PICK(4, chunks)
    SIMT_PICK(8, chunks)
    SIMT_PICK(11, chunks)
    SIMT_PICK(16, chunks)
#else
    SIMT_PICK(4, 2)
#ifndef SIMT_ONE_PICK
    if constexpr (Zero == fbq::zero_code) {
        SIMT_PICK(1, 1)
        SIMT_PICK(2, 4)
        SIMT_PICK(3, 1)
        SIMT_PICK(16, 2)
    }
#endif
#endif
    return nullptr;
}

} // namespace

template <>
fused_body find_fused<SIMT_GROUP>(const variant &v)
{
    switch (v.zero) {
    case fbq::zero_none:
        return of_zero<fbq::zero_none>(v);
    case fbq::zero_code:
        return of_zero<fbq::zero_code>(v);
    case fbq::zero_f16:
        return of_zero<fbq::zero_f16>(v);
    }
    return nullptr;
}

} // namespace simt
