// tests/simt/kernels_reconstruct.cc: instantiates reconstruct, as it is shipped, for the formats of
// spread_reconstruct.h, and runs it.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine.h"
#include "simt.h"
#include "spread_reconstruct.h"

#include <fbq/device/reconstruct.cuh>
#include <fbq/host/reconstruct.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace
{

typedef void (*reconstruct_body)(const fbq_reconstruct_args &);

template <int Bits, int Group, int Zero, int Scale, int Factor, int Out>
reconstruct_body body_of(bool adds)
{
    typedef fbq::Format<Bits, Group, Zero, Scale, Factor> Stored;
    constexpr int chunks = FBQ__RECONSTRUCT_CHUNKS;
    return adds ? fbq::reconstruct<fbq::Reconstruct<Stored, Out, true, FBQ__RECONSTRUCT_WARPS(true),
                                                    chunks, FBQ__RECONSTRUCT_TILES(true)>>
                : fbq::reconstruct<
                      fbq::Reconstruct<Stored, Out, false, FBQ__RECONSTRUCT_WARPS(false), chunks,
                                       FBQ__RECONSTRUCT_TILES(false)>>;
}

// Null where it was not instantiated. Without ranks there is no type of factors to ask for.
reconstruct_body find_body(const fbq__reconstruct_fixed &f)
{
    const fbq_format &format = f.layout.format;
    const bool any_factor = f.layout.rank_tiles == 0;
#define SIMT_FIND(bits_, group_, zero_, scale_, factor_, out_)                                  \
    if (format.bits == bits_ && format.group == group_ && (int)format.zero == zero_ &&          \
        (int)format.scale_type == scale_ && (int)f.what.w_type == out_ &&                       \
        (any_factor || (int)format.factor_type == factor_)) {                                   \
        return body_of<bits_, group_, zero_, scale_, factor_, out_>(fbq__reconstruct_adds(&f)); \
    }
    SIMT_RECONSTRUCT(SIMT_FIND)
#undef SIMT_FIND
    return nullptr;
}

fbq_status fail(fbq_error *error, fbq_status status, const char *text)
{
    if (error) {
        error->status = status;
        error->cuda = 0;
        std::snprintf(error->detail, sizeof error->detail, "%.500s", text);
    }
    return status;
}

void add_buffers(simt::memory &m, const fbq__reconstruct_fixed &f, const fbq_reconstruct_call &call)
{
    const fbq_layout &l = f.layout;
    const int64_t columns = l.shape.k + fbq__reconstruct_ranks(&f),
                  stride = call.w_stride ? call.w_stride : columns;
    m.add("weights", call.weights, l.weights_bytes, simt::readable);
    if (call.down) {
        m.add("down", call.down, l.down_bytes, simt::readable);
    }
    if (call.up) {
        m.add("up", call.up, l.up_bytes, simt::readable);
    }
    // each row a buffer of its own, so that the gaps between are out of bounds
    for (int64_t i = 0; i < l.n; i++) {
        char row[64];
        std::snprintf(row, sizeof row, "w[%lld]", (long long)i);
        m.add(row, (const uint16_t *)call.w + i * stride, (std::size_t)columns * 2,
              simt::writable | simt::output);
    }
}

} // namespace

extern "C" fbq_status SIMT_RECONSTRUCT_NAME(const fbq_reconstruction *what,
                                            const fbq_reconstruct_call *call,
                                            const fbq_simt_options *options,
                                            fbq_simt_report *report, fbq_error *error)
{
    fbq__reconstruct_fixed f = {};
    fbq_reconstruct_args args;
    fbq__launch launch;
    f.what = *what;
    f.gpu = *options->gpu;
    report->findings = 0;
    report->text[0] = '\0';
    fbq_status status = fbq_layout_of(&what->format, &what->shape, &f.layout, error);
    if (status != FBQ_OK) {
        return status;
    }
    status = fbq__reconstruct_check(&f, call);
    if (status != FBQ_OK) {
        return fail(error, status, fbq_status_string(status));
    }
    const reconstruct_body body = find_body(f);
    if (!body) {
        return fail(error, FBQ_ERR_UNSUPPORTED,
                    "the format is not compiled for the CPU: add it to spread_reconstruct.h");
    }
    simt::memory m;
    simt::report r;
    simt::launch_shape shape;
    add_buffers(m, f, *call);
    fbq__reconstruct_launch(&f, call, &args, &launch);
    shape.grid_x = (int)launch.grid_x;
    shape.threads = (int)launch.threads;
    shape.shared_bytes = launch.shared_bytes;
    shape.resident = std::max(1, std::min(options->resident, shape.grid_x));
    shape.seed = options->seed ? options->seed : 1;
    shape.overlaps = f.gpu.capability >= 90;
    if (simt::launch(shape, m, r, [&] { body(args); })) {
        m.check_outputs(r);
    }
    if (r.clean()) {
        return FBQ_OK;
    }
    report->findings = r.total();
    std::snprintf(report->text, sizeof report->text, "%s", r.text().c_str());
    return fail(error, FBQ_ERR_CUDA, report->text);
}
