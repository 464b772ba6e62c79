// tests/simt/simt_linear.cc: from a call to launches on the machine, by way of the same geometry
// that the GPU's launches use.
//
// SPDX-License-Identifier: Apache-2.0
#include "simt.h"

#include "kernels.h"
#include "machine.h"

#include <fbq/host/geometry.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace
{

fbq_status fail(fbq_error *error, fbq_status status, const char *text)
{
    if (error) {
        error->status = status;
        error->cuda = 0;
        std::snprintf(error->detail, sizeof error->detail, "%s", text);
        std::replace(error->detail, error->detail + std::strlen(error->detail), '\n', ' ');
    }
    return status;
}

template <int Bulk>
simt::fused_body find_fused(int group, const simt::variant &v)
{
    switch (group) {
#ifndef SIMT_ONE_GROUP
    case FBQ_GROUP_ROW:
        return simt::find_fused<0, Bulk>(v);
    case 32:
        return simt::find_fused<32, Bulk>(v);
    case 128:
        return simt::find_fused<128, Bulk>(v);
    case 256:
        return simt::find_fused<256, Bulk>(v);
#endif
    case 64:
        return simt::find_fused<64, Bulk>(v);
    }
    return nullptr;
}

simt::fused_body find_fused(const fbq__fixed &f, bool k_known)
{
    // As fbq_prepare does: a layer with ranks has the branch compiled in, used or not.
    const fbq_format &format = f.layout.format;
    const simt::variant v = {format.bits,
                             (int)format.zero,
                             (int)format.scale_type,
                             (int)format.factor_type,
                             (int)f.problem.x_type,
                             fbq__columns(f.problem.m_max),
                             fbq__branch(&f.layout, &f.fused),
                             k_known ? (int)f.layout.chunks : 0,
                             f.resident != 0,
                             f.fused.warps,
                             (int)fbq__part_units(&f.fused),
                             f.fused.stages,
                             f.fused.tiles,
                             fbq__splits(&f.fused),
                             fbq__segmented(&f.layout) != 0};
    if (f.gpu.capability >= 90) {
        return find_fused<1>(f.problem.format.group, v);
    }
#ifdef SIMT_DEFAULTS
    return nullptr;
#else
    return find_fused<0>(f.problem.format.group, v);
#endif
}

fbq_status pick_of(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                   const fbq_pick *given, fbq_pick *pick, fbq_error *error)
{
    if (!given) {
        const fbq_status status = fbq_pick_default(problem, gpu, kernel, pick, error);
#ifdef SIMT_DEFAULTS
        // Not every number of warps is compiled for the CPU, nor three stages; a warp more finds
        // less to do.
        if (status == FBQ_OK && kernel == FBQ_KERNEL_FUSED) {
            int warps = 1;
            while (warps < pick->warps) {
                warps *= 2;
            }
            pick->warps = warps;
            if (pick->stages == 3) {
                pick->stages = 2;
            }
        }
#endif
        return status;
    }
    *pick = *given;
    if (given->kernel != kernel) {
        return fail(error, FBQ_ERR_PICK, "a pick is given for the other kernel");
    }
    return fbq_pick_check(problem, gpu, given, error);
}

// For calls of m rows: as in fbq_prepare, each class of m has picks of its own.
fbq_status open(const fbq_problem *problem, const fbq_simt_options *options, int64_t m,
                fbq__fixed *f, fbq_error *error)
{
    static const fbq_simt_options defaults = {};
    if (!problem) {
        return fail(error, FBQ_ERR_NULL, "problem is NULL");
    }
    if (!options) {
        options = &defaults;
    }
    f->problem = *problem;
    f->problem.m_max = fbq__class_m(fbq__class_for(problem, m), problem->m_max);
    problem = &f->problem;
    f->gpu = options->gpu ? *options->gpu : *fbq_simt_gpu();
    fbq_status status = fbq_layout_of(&problem->format, &problem->shape, &f->layout, error);
    if (status == FBQ_OK) {
        status = pick_of(problem, &f->gpu, FBQ_KERNEL_DOWN, options->down, &f->down, error);
    }
    if (status == FBQ_OK) {
        status = pick_of(problem, &f->gpu, FBQ_KERNEL_FUSED, options->fused, &f->fused, error);
    }
    if (status == FBQ_OK) {
        fbq__fix(f);
    }
    return status;
}

// Bytes of one kind of memory that a call with m rows wants.
fbq_status bytes_of(std::size_t (*wanted)(const fbq__fixed *, int64_t), const fbq_problem *problem,
                    const fbq_simt_options *options, int64_t m, std::size_t *bytes,
                    fbq_error *error)
{
    fbq__fixed f = {};
    if (!bytes) {
        return fail(error, FBQ_ERR_NULL, "bytes is NULL");
    }
    fbq_status status = open(problem, options, m, &f, error);
    if (status == FBQ_OK) {
        *bytes = wanted(&f, m);
    }
    return status;
}

// A packed part must be what the problem says: a GPU could not tell, we can.
fbq_status part_check(const void *packed, fbq_part expected, const fbq_layout &l, fbq_error *error)
{
    fbq_part part;
    fbq_layout found;
    std::size_t bytes = expected == FBQ_PART_WEIGHTS ? l.weights_bytes
                        : expected == FBQ_PART_DOWN  ? l.down_bytes
                                                     : l.up_bytes;
    fbq_status status = fbq_layout_read(packed, bytes, &part, &found, error);
    if (status == FBQ_OK &&
        (part != expected || found.n != l.n || found.shape.k != l.shape.k ||
         found.rank_tiles != l.rank_tiles || found.record_bytes != l.record_bytes ||
         found.shape.segments != l.shape.segments)) {
        return fail(error, FBQ_ERR_PACKED,
                    "a packed part is another part, or of another shape, than the problem says");
    }
    return status;
}

// Rows of a strided matrix, each a buffer of its own, so that the gaps between are out of bounds.
void add_rows(simt::memory &m, const char *name, const void *base, int64_t rows, int64_t stride,
              int64_t columns, std::size_t size, unsigned permissions)
{
    for (int64_t i = 0; i < rows; i++) {
        char row[64];
        std::snprintf(row, sizeof row, "%s[%lld]", name, (long long)i);
        m.add(row, (const char *)base + (std::size_t)(i * stride) * size,
              (std::size_t)columns * size, permissions);
    }
}

void add_buffers(simt::memory &m, const fbq__fixed &f, const fbq_call &call)
{
    const fbq_layout &l = f.layout;
    std::size_t y_size = f.problem.y_type == FBQ_F32 ? 4 : 2;
    int64_t y_stride = call.y_stride ? call.y_stride : l.n;
    int64_t residual_stride = call.residual_stride ? call.residual_stride : l.n;
    // What may be read before the wait for the kernel before. Behind down of the same call, which
    // writes t alone, all that both read; in a chain all but x.
    const bool behind_down = fbq__branch(&l, &f.fused) == 1;
    const unsigned steady = simt::readable | simt::steady;
    bool in_place = call.residual == call.y && call.residual;
    m.add("weights", call.weights, l.weights_bytes, steady);
    add_rows(m, "x", call.x, call.m, call.x_stride ? call.x_stride : l.shape.k, l.shape.k, 2,
             behind_down ? steady : simt::readable);
    const bool splits = fbq__splits(&f.fused) > 1;
    const std::size_t state = fbq__state_bytes(&f, call.m),
                      scratch = fbq__scratch_bytes(&f, call.m);
    if (call.down) {
        m.add("down", call.down, l.down_bytes, steady);
        m.add("up", call.up, l.up_bytes, steady);
    }
    if (state && (call.down || splits)) {
        m.add("state", call.state, state, simt::readable | simt::writable);
    }
    if (scratch && (call.down || splits)) {
        m.add("scratch", call.scratch, scratch, simt::readable | simt::writable | simt::undefined);
    }
    if (call.bias) {
        m.add("bias", call.bias, (std::size_t)l.n * 2, simt::readable);
    }
    if (call.residual && !in_place) {
        add_rows(m, "residual", call.residual, call.m, residual_stride, l.n, y_size,
                 simt::readable);
    }
    add_rows(m, "y", call.y, call.m, y_stride, l.n, y_size,
             simt::writable | simt::output | (in_place ? simt::readable : 0u));
}

simt::launch_shape shape_of(const fbq__launch &launch, const fbq_simt_options &options)
{
    simt::launch_shape s;
    s.grid_x = (int)launch.grid_x;
    s.grid_y = (int)launch.grid_y;
    s.threads = (int)launch.threads;
    s.shared_bytes = launch.shared_bytes;
    s.resident = std::max(1, std::min(options.resident, s.grid_x * s.grid_y));
    s.seed = options.seed ? options.seed : 1;
    return s;
}

// Run down, and fused unless only_down.
fbq_status run(const fbq_problem *problem, const fbq_call *call, const fbq_simt_options *given,
               fbq_simt_report *report, bool only_down, fbq_error *error)
{
    fbq_simt_options options = {};
    if (given) {
        options = *given;
    }
    if (report) {
        report->findings = 0;
        report->text[0] = '\0';
    }
    fbq__fixed f = {};
    if (!call) {
        return fail(error, FBQ_ERR_NULL, "call is NULL");
    }
    fbq_status status = open(problem, &options, call->m, &f, error);
    if (status != FBQ_OK) {
        return status;
    }
    status = fbq__call_check(&f, call);
    if (status != FBQ_OK) {
        return fail(error, status, fbq_status_string(status));
    }
    status = part_check(call->weights, FBQ_PART_WEIGHTS, f.layout, error);
    if (status == FBQ_OK && call->down) {
        status = part_check(call->down, FBQ_PART_DOWN, f.layout, error);
    }
    if (status == FBQ_OK && call->up) {
        status = part_check(call->up, FBQ_PART_UP, f.layout, error);
    }
    if (status != FBQ_OK) {
        return status;
    }

    simt::fused_body fused_body = find_fused(f, options.k_known != 0);
    simt::down_body down_body =
        simt::find_down((int)f.problem.x_type, (int)f.layout.format.factor_type,
                        fbq__columns(fbq__rows(&f, call->m)), f.down.warps, f.down.chunks);
    const bool wants_down = call->down && fbq__branch(&f.layout, &f.fused) == 1;
    if ((!fused_body && !only_down) || (!down_body && wants_down)) {
        char text[384], pick[128];
        fbq_pick_print(fused_body || only_down ? &f.down : &f.fused, pick, sizeof pick);
        std::snprintf(
            text, sizeof text,
            "pick %s for %d bits, group %d, types %d %d %d, zero kind %d, capability %d, "
            "resident %d, %d segments is not compiled for the CPU: add it to tests/simt/kernels.cc",
            pick, problem->format.bits, problem->format.group, (int)problem->x_type,
            (int)problem->format.scale_type, (int)problem->format.factor_type,
            (int)problem->format.zero, f.gpu.capability, f.resident, problem->shape.segments);
        return fail(error, FBQ_ERR_UNSUPPORTED, text);
    }

    simt::memory m;
    simt::report r;
    add_buffers(m, f, *call);
    fbq__launch launch;
    bool whole = true;
    const bool behind_down = fbq__branch(&f.layout, &f.fused) == 1;
    m.let_steady(call->chained != 0);
    if (call->down && behind_down) {
        fbq_down_args args;
        fbq__down_launch(&f, call, &args, &launch);
        simt::launch_shape shape = shape_of(launch, options);
        // From sm_90 on each starts while the kernel before still runs. Before down that is a
        // kernel that may write anything.
        shape.overlaps = f.gpu.capability >= 90;
        m.let_steady(false);
        whole = simt::launch(shape, m, r, [&] { down_body(args); });
        m.let_steady(true);
    }
    if (whole && !only_down) {
        fbq_fused_args args;
        fbq__fused_launch(&f, call, &args, &launch);
        if (options.impatient) {
            args.patience = 0;
        }
        simt::launch_shape shape = shape_of(launch, options);
        shape.overlaps = fbq__overlaps(&f, call) && f.gpu.capability >= 90;
        whole = simt::launch(shape, m, r, [&] { fused_body(args); });
        if (whole) {
            m.check_outputs(r);
        }
    }
    if (r.clean() && whole) {
        return FBQ_OK;
    }
    if (report) {
        report->findings = r.total();
        std::snprintf(report->text, sizeof report->text, "%s", r.text().c_str());
    }
    return fail(error, FBQ_ERR_CUDA, r.text().c_str());
}

} // namespace

extern "C" {

const fbq_gpu *fbq_simt_gpu(void)
{
    static const fbq_gpu gpu = {"simulated", 90, 1 << 20, 16 << 20, 1 << 30, 1 << 20};
    return &gpu;
}

long fbq_simt_found(const fbq_simt_report *report, const char *kind)
{
    long found = 0;
    std::size_t length = std::strlen(kind);
    for (const char *line = std::strchr(report->text, '\n'); line; line = std::strchr(line, '\n')) {
        line++;
        if (std::strncmp(line, "  ", 2) == 0 && std::strncmp(line + 2, kind, length) == 0 &&
            (line[2 + length] == ' ' || line[2 + length] == ':' || line[2 + length] == ',')) {
            long repeats = 0;
            const char *end = std::strchr(line, '\n');
            const char *more = std::strstr(line, "(and ");
            if (more && (!end || more < end)) {
                std::sscanf(more, "(and %ld more", &repeats);
            }
            found += 1 + repeats;
        }
    }
    return found;
}

fbq_status fbq_simt_scratch_bytes(const fbq_problem *problem, const fbq_simt_options *options,
                                  int64_t m, size_t *bytes, fbq_error *error)
{
    return bytes_of(fbq__scratch_bytes, problem, options, m, bytes, error);
}

fbq_status fbq_simt_state_bytes(const fbq_problem *problem, const fbq_simt_options *options,
                                int64_t m, size_t *bytes, fbq_error *error)
{
    return bytes_of(fbq__state_bytes, problem, options, m, bytes, error);
}

fbq_status fbq_simt_linear_with(const fbq_problem *problem, const fbq_call *call,
                                const fbq_simt_options *options, fbq_simt_report *report,
                                fbq_error *error)
{
    return run(problem, call, options, report, false, error);
}

fbq_status fbq_simt_down(const fbq_problem *problem, const fbq_call *call,
                         const fbq_simt_options *options, fbq_simt_report *report, fbq_error *error)
{
    return run(problem, call, options, report, true, error);
}

int fbq_simt_linear(const fbq_problem *problem, const fbq_call *call, fbq_error *error)
{
    return run(problem, call, nullptr, nullptr, false, error);
}

} // extern "C"
