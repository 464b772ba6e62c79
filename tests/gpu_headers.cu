// tests/gpu_headers.cu: the launchers of fbq.cuh, compiled by nvcc, give the C API's bits.
//
// SPDX-License-Identifier: Apache-2.0
#include <fbq/fbq.cuh>

#include <cstdio>
#include <cstring>
#include <vector>

extern "C" {
#include "support/device.h"
}

// Split-K.
struct SplitPick : fbq::DefaultPick {
    static constexpr int splits = 2;
};

// One row of x in one launch.
struct WholePick : fbq::DefaultPick {
    static constexpr int slices = 8;
};

// A Pick as calls of m rows take it, and whether it serves them.
template <class Pick>
static bool picks_of(const fbq_problem &p, const fbq_gpu &gpu, fbq_pick *down, fbq_pick *fused)
{
    *down = {FBQ_KERNEL_DOWN, Pick::down_warps, Pick::down_chunks, 1, Pick::down_slices, 1, 1, 0};
    *fused = {FBQ_KERNEL_FUSED,
              Pick::warps,
              Pick::chunks,
              Pick::blocks_per_sm,
              p.m_max == 1 ? Pick::slices : 0,
              Pick::stages,
              Pick::tiles,
              Pick::splits};
    return fbq_pick_check(&p, &gpu, fused, nullptr) == FBQ_OK;
}

// What fbq::linear takes: smaller picks where its default does not fit, else no other.
template <class Pick>
static bool picks_taken(const fbq_problem &p, const fbq_gpu &gpu, fbq_pick *down, fbq_pick *fused)
{
    if (picks_of<Pick>(p, gpu, down, fused))
        return true;
    return std::is_same_v<Pick, fbq::DefaultPick> &&
           (picks_of<fbq::MiddlePick>(p, gpu, down, fused) ||
            picks_of<fbq::SmallPick>(p, gpu, down, fused));
}

template <class L, class Pick>
static int compare(fbq_context *context, const fbq_shape &shape)
{
    const int64_t k = shape.k;
    typedef typename L::Stored Stored;
    const fbq_format format = {Stored::bits, Stored::group, (fbq_zero)Stored::zero,
                               (fbq_type)Stored::scale, (fbq_type)Stored::factor};
    const fbq_problem p = {format, shape, L::x, L::x, 16, 0, 0};
    fbq_pick down, fused;
    fbq_gpu gpu;
    fbq_error error;
    fbq_context_gpu(context, &gpu);
    layer l = layer_make(&p, LAYER_RANDOM, 3);
    device_layer d = device_layer_make(&l);
    const int64_t n = l.layout.n;
    int failed = 0;
    for (int64_t m = 1; m <= 16; m = m == 1 ? 8 : m + 8) {
        std::vector<uint16_t> x(m * k), y(m * n), z(m * n);
        input_fill(p.x_type, x.data(), m, k, k, INPUT_NORMAL, 5);
        device_buffer dx = device_copy(x.data(), x.size() * 2, 0),
                      dy = device_make(y.size() * 2, 0);
        device_buffer scratch = device_make(fbq::scratch_bytes<L, Pick>(p), 0);
        device_buffer state = device_make(fbq::state_bytes<L, Pick>(p), 0);
        if (state.bytes)
            device_must(cudaMemset(state.data, 0, state.bytes), "zero the state");
        fbq_call call = {m, dx.data, 0, d.weights.data, d.down.data,   d.up.data,  {},          {},
                         0, dy.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
        fbq_problem q = p;
        q.m_max = (int)m;
        fbq_plan *plan = nullptr;
        if (!picks_taken<Pick>(q, gpu, &down, &fused)) {
            const fbq_status refused = fbq::linear<L, Pick>(p, call, nullptr);
            printf("%lldx%lld m%lld: %s\n", (long long)n, (long long)k, (long long)m,
                   fbq_status_string(refused));
            failed += refused != FBQ_ERR_PICK;
            device_free(&dx);
            device_free(&dy);
            device_free(&scratch);
            device_free(&state);
            continue;
        }
        if (fbq_prepare(context, &q, &down, &fused, &plan, &error) != FBQ_OK) {
            printf("prepare: %s\n", error.detail);
            return 1;
        }
        fbq_status s = fbq_linear(plan, &call, nullptr);
        device_must(cudaDeviceSynchronize(), "C API");
        failed += s != FBQ_OK || !device_fetch(&dy, y.data());
        device_poison(&dy);
        device_must(cudaDeviceSynchronize(), "poison");
        call.chained = 1;
        s = fbq::linear<L, Pick>(p, call, nullptr);
        device_must(cudaDeviceSynchronize(), "launcher");
        failed += s != FBQ_OK || !device_fetch(&dy, z.data());
        const bool same = !memcmp(y.data(), z.data(), y.size() * 2);
        const verdict v =
            layer_judge(&l, 0, n < 128 ? n : 128, m, x.data(), k, nullptr, nullptr, 0, y.data(), n);
        printf("%d bits, x type %d, group %d zero %d %lldx%lld, %d segments, r%lld m%lld: %s bits, "
               "norm %.1e\n",
               Stored::bits, (int)L::x, Stored::group, Stored::zero, (long long)n, (long long)k,
               shape.segments, (long long)shape.segment[0].r, (long long)m, same ? "same" : "OTHER",
               v.norm);
        failed += !same || v.bad || v.norm > (L::x == FBQ_BF16 ? 8e-3 : 1e-3);
        fbq_plan_free(plan);
        device_free(&dx);
        device_free(&dy);
        device_free(&scratch);
        device_free(&state);
    }
    // a format that the instantiation is not for
    fbq_problem other = p;
    other.format.group = Stored::group == 32 ? 64 : 32;
    fbq_call none;
    memset(&none, 0, sizeof none);
    none.m = 1;
    failed += fbq::linear<L, Pick>(other, none, nullptr) != FBQ_ERR_FORMAT;
    failed += fbq::linear<L, Pick>(p, none, nullptr) != FBQ_ERR_NULL;
    none.m = 17;
    failed += fbq::linear<L, Pick>(p, none, nullptr) != FBQ_ERR_SIZE;
    device_layer_free(&d);
    layer_free(&l);
    return failed;
}

template <class L, class Pick>
static int compare(fbq_context *context, int64_t n, int64_t k, int64_t r)
{
    return compare<L, Pick>(context, fbq_shape_of(n, k, r));
}

// The weights written out, summed and concatenated.
template <class L, fbq_type W>
static int compare_weights(fbq_context *context, const fbq_shape &shape)
{
    typedef typename L::Stored Stored;
    const fbq_format format = {Stored::bits, Stored::group, (fbq_zero)Stored::zero,
                               (fbq_type)Stored::scale, (fbq_type)Stored::factor};
    const fbq_problem p = {format, shape, L::x, L::x, 1, 0};
    layer l = layer_make(&p, LAYER_RANDOM, 3);
    device_layer d = device_layer_make(&l);
    int failed = 0;
    for (int concatenate = 0; concatenate < 2; concatenate++) {
        const fbq_reconstruction what = {format, shape, W, concatenate};
        int64_t columns = shape.k;
        for (int i = 0; concatenate && i < shape.segments; i++)
            columns += shape.segment[i].r;
        std::vector<uint16_t> w(l.layout.n * columns), z(w.size());
        device_buffer dw = device_make(w.size() * 2, 0);
        const fbq_reconstruct_call call = {d.weights.data, d.down.data, d.up.data, dw.data, 0};
        fbq_reconstruct_plan *plan = nullptr;
        fbq_error error;
        if (fbq_prepare_reconstruct(context, &what, &plan, &error) != FBQ_OK) {
            printf("prepare: %s\n", error.detail);
            return 1;
        }
        failed += fbq_reconstruct_gpu(plan, &call, nullptr) != FBQ_OK;
        device_must(cudaDeviceSynchronize(), "C API");
        failed += !device_fetch(&dw, w.data());
        device_poison(&dw);
        device_must(cudaDeviceSynchronize(), "poison");
        failed += fbq::reconstruct<L, W>(what, call, nullptr) != FBQ_OK;
        device_must(cudaDeviceSynchronize(), "launcher");
        failed += !device_fetch(&dw, z.data());
        const bool same = w == z;
        printf("%d bits, w type %d, %lldx%lld concatenate %d: %s bits\n", Stored::bits, (int)W,
               (long long)l.layout.n, (long long)shape.k, concatenate, same ? "same" : "OTHER");
        failed += !same;
        fbq_reconstruction other = what;
        other.w_type = W == FBQ_F16 ? FBQ_BF16 : FBQ_F16;
        failed += fbq::reconstruct<L, W>(other, call, nullptr) != FBQ_ERR_FORMAT;
        fbq_reconstruct_call none = call;
        none.w = nullptr;
        failed += fbq::reconstruct<L, W>(what, none, nullptr) != FBQ_ERR_NULL;
        fbq_reconstruct_plan_free(plan);
        device_free(&dw);
    }
    device_layer_free(&d);
    layer_free(&l);
    return failed;
}

int main()
{
    if (!device_present())
        return SKIPPED;
    device_must(cudaSetDevice(0), "cudaSetDevice");
    device_must(cudaFree(nullptr), "context");
    fbq_context *context = nullptr;
    fbq_error error;
    if (fbq_open(nullptr, &context, &error) != FBQ_OK) {
        printf("fbq_open: %s\n", error.detail);
        return 1;
    }
    typedef fbq::Layer<4, 128, FBQ_ZERO_F16> w4;
    int failed = compare<w4, fbq::DefaultPick>(context, 4096, 4096, 128);
    failed += compare<w4, WholePick>(context, 4096, 4096, 128);
    failed += compare<w4, SplitPick>(context, 1000, 5000, 40);
    failed += compare<fbq::Layer<4, 128, FBQ_ZERO_NONE>, fbq::DefaultPick>(context, 1000, 11008, 0);
    failed += compare<fbq::Layer<4, 32, FBQ_ZERO_CODE>, fbq::DefaultPick>(context, 777, 1000, 20);
    failed += compare<fbq::Layer<3, 64, FBQ_ZERO_F16, FBQ_BF16>, fbq::DefaultPick>(context, 500,
                                                                                   3000, 20);
    failed += compare<fbq::Layer<2, 128, FBQ_ZERO_CODE, FBQ_BF16, FBQ_F16, FBQ_F16>, WholePick>(
        context, 2000, 2048, 33);
    fbq_shape qkv = fbq_shape_of(528, 1000, 40); // 40 tiles: blocks for all shares of t
    qkv.segments = 2;
    qkv.segment[1] = {100, 17};
    failed += compare<fbq::Stacked<w4>, fbq::DefaultPick>(context, qkv);
    failed += compare<fbq::Stacked<w4>, WholePick>(context, qkv);
    failed +=
        fbq::linear<w4>(
            fbq_problem{{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16}, qkv, FBQ_F16, FBQ_F16, 1, 0, 0},
            fbq_call{1}, nullptr) != FBQ_ERR_FORMAT;
    failed += compare_weights<w4, FBQ_F16>(context, fbq_shape_of(4096, 4096, 128));
    failed += compare_weights<fbq::Layer<3, 64, FBQ_ZERO_F16, FBQ_BF16>, FBQ_BF16>(context, qkv);
    fbq_close(context);
    printf("%d failed\n", failed);
    return failed != 0;
}
