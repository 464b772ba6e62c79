// fbq/fbq.cuh: the layer for projects that compile with nvcc: typed launchers over the same device
// code and the same arithmetic of sizes as the C API, and so the same bits for the same picks. (One
// exception: a Pick with slices, one row of x, K beyond 4032, sm_90 or later. The C API's kernels,
// which are compiled for one K, may then add t up in another order.)
//
//     #define FBQ_IMPLEMENTATION     // in one translation unit
//     #include <fbq/fbq.cuh>
//     ...
//     fbq_status s = fbq::linear<fbq::Layer<4, 128, FBQ_ZERO_F16>>(problem, call, stream);
//
// No NVRTC and no dlopen takes part; the kernels are instantiated by your nvcc for your -arch.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_CUH
#define FBQ_CUH

#include <cuda_runtime.h>

#include <type_traits>

#include "device/down.cuh"
#include "device/fused.cuh"
#include "device/reconstruct.cuh"
#include "fbq.h"
#include "host/geometry.h"
#include "host/reconstruct.h"

namespace fbq
{
inline namespace FBQ_NAMESPACE
{

// A layer's format and types, which the problem has as values.
//   Bits     2, 3 or 4               X       type of x: FBQ_F16 or FBQ_BF16
//   Group    or FBQ_GROUP_ROW        Scale   of the scales
//   Zero     zero kind               Factor  of A and B
template <int Bits, int Group, fbq_zero Zero, fbq_type X = FBQ_F16, fbq_type Scale = X,
          fbq_type Factor = X>
struct Layer {
    typedef Format<Bits, Group, (int)Zero, (int)Scale, (int)Factor> Stored;
    static constexpr fbq_type x = X;
    static constexpr bool segmented = false;

    static bool is(const fbq_problem &p, const fbq_layout &l)
    {
        return p.format.bits == Bits && p.format.group == Group && p.format.zero == Zero &&
               p.format.scale_type == Scale && p.x_type == X &&
               (l.rank_tiles == 0 || p.format.factor_type == Factor);
    }
};

// Layers of one format that share x, each a segment of problem.shape: Stacked<Layer<...>>. One
// segment is served as well, with the same bits as by Layer alone, whose kernels know nothing of
// segments.
template <class L>
struct Stacked : L {
    static constexpr bool segmented = true;
};

// A pick as a type, since nvcc compiles it in; pick.h says what each field chooses.
struct DefaultPick {
    static constexpr int warps = 16;
    static constexpr int chunks = 4;
    static constexpr int stages = 2;
    static constexpr int tiles = 1;
    static constexpr int blocks_per_sm = 1;
    static constexpr int slices = 0; // not 0: one row of x is served in one launch
    static constexpr int splits = 0; // split-K: so many blocks share a tile
    static constexpr int down_warps = 8;
    static constexpr int down_chunks = 2;
    static constexpr int down_slices = 8;
};

// What DefaultPick stands for where a GPU has too little shared memory for it.
struct MiddlePick : DefaultPick {
    static constexpr int chunks = 2;
};
struct SmallPick : MiddlePick {
    static constexpr int warps = 8;
};

namespace detail
{

static_assert(branch_warps == FBQ__BRANCH_WARPS && state_head_bytes == FBQ__STATE_HEAD &&
                  state_counters == FBQ__STATE_COUNTERS,
              "device and host must agree");

inline fbq_status of_cuda(cudaError_t result)
{
    return result == cudaSuccess ? FBQ_OK : FBQ_ERR_CUDA;
}

inline fbq_status read_gpu(fbq_gpu *gpu)
{
    int device = 0, major = 0, minor = 0;
    const struct {
        cudaDeviceAttr attribute;
        int *value;
    } wanted[] = {
        {cudaDevAttrComputeCapabilityMajor, &major},
        {cudaDevAttrComputeCapabilityMinor, &minor},
        {cudaDevAttrMultiProcessorCount, &gpu->sms},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, &gpu->shared_block},
        {cudaDevAttrMaxSharedMemoryPerMultiprocessor, &gpu->shared_sm},
        {cudaDevAttrMaxRegistersPerMultiprocessor, &gpu->registers_sm},
    };
    if (cudaGetDevice(&device) != cudaSuccess)
        return FBQ_ERR_NO_DEVICE;
    for (const auto &w : wanted)
        if (cudaDeviceGetAttribute(w.value, w.attribute, device) != cudaSuccess)
            return FBQ_ERR_CUDA;
    gpu->name[0] = 0;
    gpu->capability = major * 10 + minor;
    return gpu->capability < 80 ? FBQ_ERR_CAPABILITY : FBQ_OK;
}

// Was this kernel compiled for sm_90 or later, so that its code can wait for the kernel before it?
// The device says nothing about that: it also runs code of older targets, which cannot.
// FBQ_ERR_PICK where its registers do not let it run `threads` threads a block: fbq_pick_check
// knows those by estimate only.
template <class Args>
fbq_status compiled_for(void (*kernel)(const Args), int threads, bool *overlaps)
{
    cudaFuncAttributes attributes;
    const cudaError_t result = cudaFuncGetAttributes(&attributes, (const void *)kernel);
    if (result != cudaSuccess)
        return of_cuda(result);
    *overlaps = attributes.ptxVersion >= 90;
    return attributes.maxThreadsPerBlock < threads ? FBQ_ERR_PICK : FBQ_OK;
}

// `overlaps`: the kernel may start while the one before it runs (host/run.h says when that is
// safe).
template <class Args>
fbq_status launch(const fbq__fixed &f, void (*kernel)(const Args), const Args &args,
                  const fbq__launch &l, bool overlaps, cudaStream_t stream)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    cudaError_t result = cudaFuncSetAttribute(
        (const void *)kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
        fbq__one_split(&f) ? cudaSharedmemCarveoutMaxShared : cudaSharedmemCarveoutDefault);
    if (result == cudaSuccess && l.shared_bytes > 48 * 1024)
        result = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, f.gpu.shared_block);
    if (result != cudaSuccess)
        return of_cuda(result);
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = dim3(l.grid_x, l.grid_y);
    config.blockDim = dim3(l.threads);
    config.dynamicSmemBytes = l.shared_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlaps ? 1 : 0;
    return of_cuda(cudaLaunchKernelEx(&config, kernel, args));
}

template <class L, class Pick, int Columns, int Branch>
fbq_status run(const fbq__fixed &f, const fbq_call &call, cudaStream_t stream)
{
    constexpr int splits = Pick::splits > 1 ? Pick::splits : 1;
    typedef typename L::Stored Stored;
    constexpr int x = (int)L::x;
    const auto down =
        down_kernel<Down<x, Stored::factor, Columns, Pick::down_warps, Pick::down_chunks>>;
    const auto fused =
        f.resident
            ? fused_kernel<Fused<Stored, x, Columns, Branch, 0, Pick::tiles == 1, Pick::warps,
                                 Pick::chunks / 2, Pick::stages, Pick::tiles, splits, L::segmented>>
            : fused_kernel<
                  Fused<Stored, x, Columns, Branch, 0, false, Pick::warps, Pick::chunks / 2,
                        Pick::stages, Pick::tiles, splits, L::segmented>>;
    bool overlaps = false;
    fbq__launch l;
    fbq_status s = compiled_for(fused, 32 * fbq__fused_warps(&f.layout, &f.fused), &overlaps);
    if (s == FBQ_OK && call.down && Branch == branch_behind_down) {
        fbq_down_args args;
        fbq__down_launch(&f, &call, &args, &l);
        s = launch(f, down, args, l, overlaps, stream);
    }
    if (s != FBQ_OK)
        return s;
    overlaps = overlaps && fbq__overlaps(&f, &call);
    fbq_fused_args args;
    fbq__fused_launch(&f, &call, &args, &l);
    return launch(f, fused, args, l, overlaps, stream);
}

template <class L, class Pick>
fbq_status run_several(const fbq__fixed &f, const fbq_call &call, cudaStream_t stream)
{
    if (f.problem.m_max > 8)
        return f.layout.rank_tiles ? run<L, Pick, 16, branch_behind_down>(f, call, stream)
                                   : run<L, Pick, 16, branch_none>(f, call, stream);
    return f.layout.rank_tiles ? run<L, Pick, 8, branch_behind_down>(f, call, stream)
                               : run<L, Pick, 8, branch_none>(f, call, stream);
}

// Several rows of x take two launches.
template <class Pick>
int slices_of(const fbq_problem &problem)
{
    return problem.m_max == 1 ? Pick::slices : 0;
}

template <class L, class Pick>
fbq_status fix(const fbq_problem &problem, fbq__fixed *f)
{
    fbq_status s = fbq_layout_of(&problem.format, &problem.shape, &f->layout, nullptr);
    if (s != FBQ_OK)
        return s;
    if (!L::is(problem, f->layout) || (fbq__segmented(&f->layout) && !L::segmented))
        return FBQ_ERR_FORMAT;
    f->problem = problem;
    f->down = {FBQ_KERNEL_DOWN, Pick::down_warps, Pick::down_chunks, 1, Pick::down_slices, 1, 1, 0};
    f->fused = {FBQ_KERNEL_FUSED,         Pick::warps,  Pick::chunks, Pick::blocks_per_sm,
                slices_of<Pick>(problem), Pick::stages, Pick::tiles,  Pick::splits};
    s = read_gpu(&f->gpu);
    if (s == FBQ_OK)
        s = fbq_pick_check(&problem, &f->gpu, &f->down, nullptr);
    if (s == FBQ_OK)
        s = fbq_pick_check(&problem, &f->gpu, &f->fused, nullptr);
    if (s == FBQ_OK)
        fbq__fix(f);
    f->paired = 0; // nobody told nvcc
    return s;
}

} // namespace detail

// Bytes of scratch that fbq::linear wants for calls of up to problem.m_max rows; 0 without a
// sub-branch but for a Pick with splits, and where problem's format or shape is not one that
// fbq_layout_of takes.
template <class L, class Pick = DefaultPick>
size_t scratch_bytes(const fbq_problem &problem)
{
    fbq__fixed f;
    if (fbq_layout_of(&problem.format, &problem.shape, &f.layout, nullptr) != FBQ_OK)
        return 0;
    f.problem = problem;
    f.down.slices = Pick::down_slices;
    f.fused.slices = 0; // where down is launched, and that is never less
    f.fused.splits = Pick::splits;
    return fbq__scratch_bytes(&f, problem.m_max);
}

// Bytes of state, likewise: 0 but for a Pick with slices or splits.
template <class L, class Pick = DefaultPick>
size_t state_bytes(const fbq_problem &problem)
{
    fbq__fixed f;
    if (fbq_layout_of(&problem.format, &problem.shape, &f.layout, nullptr) != FBQ_OK)
        return 0;
    f.problem = problem;
    f.fused.slices = Pick::slices;
    f.fused.splits = Pick::splits;
    return fbq__state_bytes(&f, 1);
}

// y = x . deq(Wq)^T + (x . A^T) . B^T + bias + residual on `stream`; fbq_call (fbq.h) says what
// each pointer is. L, a Layer, must say what the problem says, or FBQ_ERR_FORMAT comes back; for
// several segments it is a Stacked<Layer>.
// The current CUDA device runs it. Statuses are those of fbq_prepare and fbq_linear. Allocates and
// synchronises nothing; legal under stream capture once a first call has loaded the kernels.
template <class L, class Pick = DefaultPick>
fbq_status linear(const fbq_problem &problem, const fbq_call &call, cudaStream_t stream)
{
    fbq__fixed f;
    fbq_problem served = problem;
    if (call.m < 1 || call.m > problem.m_max)
        return FBQ_ERR_SIZE;
    served.m_max = fbq__class_m(fbq__class_for(&problem, call.m), problem.m_max);
    fbq_status s = detail::fix<L, Pick>(served, &f);
    if (s == FBQ_OK)
        s = fbq__call_check(&f, &call);
    if (s == FBQ_OK && served.m_max == 1) {
        constexpr int branch = Pick::slices > 0 ? branch_whole : branch_behind_down;
        s = f.layout.rank_tiles ? detail::run<L, Pick, 1, branch>(f, call, stream)
                                : detail::run<L, Pick, 1, branch_none>(f, call, stream);
    } else if (s == FBQ_OK) {
        s = detail::run_several<L, Pick>(f, call, stream);
    }
    // nothing was launched with a pick that does not fit
    if constexpr (std::is_same_v<Pick, DefaultPick>)
        if (s == FBQ_ERR_PICK)
            return linear<L, MiddlePick>(problem, call, stream);
    if constexpr (std::is_same_v<Pick, MiddlePick>)
        if (s == FBQ_ERR_PICK)
            return linear<L, SmallPick>(problem, call, stream);
    return s;
}

namespace detail
{

template <class L, fbq_type W, bool Adds>
fbq_status run_reconstruct(const fbq__reconstruct_fixed &f, const fbq_reconstruct_call &call,
                           cudaStream_t stream)
{
    const auto kernel = reconstruct_kernel<
        Reconstruct<typename L::Stored, (int)W, Adds, FBQ__RECONSTRUCT_WARPS(Adds),
                    FBQ__RECONSTRUCT_CHUNKS, FBQ__RECONSTRUCT_TILES(Adds)>,
        FBQ__RECONSTRUCT_BLOCKS(Adds)>;
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    fbq_reconstruct_args args;
    fbq__launch l;
    bool overlaps = false;
    fbq__reconstruct_launch(&f, &call, &args, &l);
    const fbq_status s = compiled_for(kernel, (int)l.threads, &overlaps);
    if (s != FBQ_OK)
        return s;
    if (l.shared_bytes > 48 * 1024) {
        const cudaError_t result = cudaFuncSetAttribute(
            (const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, f.gpu.shared_block);
        if (result != cudaSuccess)
            return of_cuda(result);
    }
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = dim3(l.grid_x);
    config.blockDim = dim3(l.threads);
    config.dynamicSmemBytes = l.shared_bytes;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlaps ? 1 : 0;
    return of_cuda(cudaLaunchKernelEx(&config, kernel, args));
}

} // namespace detail

// W = deq(Wq) + B . A, or [deq(Wq) | B], on `stream`: fbq_reconstruct_gpu (fbq.h) without a plan.
// L, a Layer, must say what `what.format` says, and W what `what.w_type` does, or FBQ_ERR_FORMAT
// comes back; L's type of x does not count. The current CUDA device runs it. Statuses are those of
// fbq_prepare_reconstruct and fbq_reconstruct_gpu, and FBQ_ERR_NO_DEVICE and FBQ_ERR_CAPABILITY.
template <class L, fbq_type W = L::x>
fbq_status reconstruct(const fbq_reconstruction &what, const fbq_reconstruct_call &call,
                       cudaStream_t stream)
{
    typedef typename L::Stored Stored;
    fbq__reconstruct_fixed f;
    fbq_status s = fbq_layout_of(&what.format, &what.shape, &f.layout, nullptr);
    if (s != FBQ_OK)
        return s;
    const fbq_format &format = f.layout.format;
    if (what.w_type != W || format.bits != Stored::bits || format.group != Stored::group ||
        (int)format.zero != Stored::zero || (int)format.scale_type != Stored::scale ||
        (f.layout.rank_tiles && (int)format.factor_type != Stored::factor))
        return FBQ_ERR_FORMAT;
    f.what = what;
    s = fbq__reconstruct_check(&f, &call);
    if (s == FBQ_OK)
        s = detail::read_gpu(&f.gpu);
    if (s != FBQ_OK)
        return s;
    return fbq__reconstruct_adds(&f) ? detail::run_reconstruct<L, W, true>(f, call, stream)
                                     : detail::run_reconstruct<L, W, false>(f, call, stream);
}

} // namespace FBQ_NAMESPACE
} // namespace fbq

#endif
