// Example 1: the headers in a .cu file compiled by nvcc.
//
// Packs one layer, y = x . deq(Wq)^T + (x . A^T) . B^T, launches its two kernels by the typed
// launcher, and compares every output with the reference in double. No NVRTC takes part.
//
// Exit status: 0 the outputs agree, 1 they do not or a call failed, 77 there is no GPU here.
//
// SPDX-License-Identifier: Apache-2.0
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.cuh>

#include <cuda_fp16.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

constexpr int group = 128;
constexpr fbq_zero zero = FBQ_ZERO_CODE;
typedef fbq::Layer<4, group, zero> layer;

static fbq_error error;

static void must(fbq_status status, const char *what)
{
    if (status != FBQ_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, fbq_status_string(status), error.detail);
        exit(1);
    }
}

static void must(cudaError_t status, const char *what)
{
    if (status != cudaSuccess) {
        fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
        exit(1);
    }
}

// fp16 words of numbers drawn evenly from -limit .. limit.
static std::vector<uint16_t> random_halves(size_t count, float limit, std::mt19937 &random)
{
    std::uniform_real_distribution<float> number(-limit, limit);
    std::vector<uint16_t> words(count);
    for (uint16_t &word : words)
        word = __half_as_ushort(__float2half(number(random)));
    return words;
}

static double value(uint16_t word)
{
    return __half2float(__ushort_as_half(word));
}

// A copy of host memory on the GPU; cudaMalloc aligns to 256 bytes, more than FBQ_ALIGN.
template <class T>
static T *to_gpu(const std::vector<T> &host)
{
    T *memory = nullptr;
    must(cudaMalloc(&memory, host.size() * sizeof(T)), "cudaMalloc");
    must(cudaMemcpy(memory, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice),
         "cudaMemcpy");
    return memory;
}

int main()
{
    constexpr int n = 1000, k = 1536, r = 24, m = 4, groups = k / group;
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        puts("skipped: this example runs a kernel, and there is no GPU here");
        return 77;
    }

    // A layer. Codes, scales and zero points are what a quantiser made; here they are made up.
    std::mt19937 random(1);
    std::vector<uint8_t> codes(n * k), zeros(n * groups);
    for (uint8_t &code : codes)
        code = random() % 16;
    for (uint8_t &z : zeros)
        z = 6 + random() % 5;
    std::vector<uint16_t> scales = random_halves(n * groups, 0.02f, random);
    for (uint16_t &scale : scales)
        scale &= 0x7fff; // positive
    const std::vector<uint16_t> a = random_halves(r * k, 0.03f, random);
    const std::vector<uint16_t> b = random_halves(n * r, 0.2f, random);
    const std::vector<uint16_t> x = random_halves(m * k, 2, random);

    // Pack it: once, for every GPU and every number of rows.
    const fbq_problem problem = {
        {4, group, zero, FBQ_F16, FBQ_F16}, fbq_shape_of(n, k, r), FBQ_F16, FBQ_F16, m, 0, 0};
    fbq_layout layout;
    must(fbq_layout_of(&problem.format, &problem.shape, &layout, &error), "fbq_layout_of");
    std::vector<uint8_t> weights(layout.weights_bytes), down(layout.down_bytes);
    std::vector<uint8_t> up(layout.up_bytes);
    must(fbq_pack_weights(&layout, codes.data(), scales.data(), zeros.data(), weights.data(),
                          weights.size(), &error),
         "fbq_pack_weights");
    must(fbq_pack_down(&layout, a.data(), down.data(), down.size(), &error), "fbq_pack_down");
    must(fbq_pack_up(&layout, b.data(), r, up.data(), up.size(), &error), "fbq_pack_up");

    // Run it.
    fbq_call call = {};
    call.m = m;
    call.x = to_gpu(x);
    call.weights = to_gpu(weights);
    call.down = to_gpu(down);
    call.up = to_gpu(up);
    must(cudaMalloc(&call.y, sizeof(uint16_t) * m * n), "cudaMalloc");
    call.scratch_bytes = fbq::scratch_bytes<layer>(problem);
    must(cudaMalloc(&call.scratch, call.scratch_bytes), "cudaMalloc");
    must(fbq::linear<layer>(problem, call, nullptr), "fbq::linear");
    std::vector<uint16_t> y(m * n);
    must(cudaMemcpy(y.data(), call.y, sizeof(uint16_t) * m * n, cudaMemcpyDeviceToHost),
         "cudaMemcpy");

    // Compare: 4 units of fp16's roundoff, times the sum of |w| |x| behind each output.
    const fbq_parts parts = {weights.data(), weights.size(), down.data(),
                             down.size(),    up.data(),      up.size()};
    std::vector<double> wide(m * k), reference(m * n), scale(m * n);
    for (int i = 0; i < m * k; i++)
        wide[i] = value(x[i]);
    must(fbq_reference(&parts, 0, n, m, wide.data(), reference.data(), scale.data(), &error),
         "fbq_reference");
    double worst = 0;
    int wrong = 0;
    for (int i = 0; i < m * n; i++) {
        const double ratio = std::fabs(value(y[i]) - reference[i]) / (scale[i] * 4 / 2048);
        if (!(ratio <= 1)) // so that NaN fails too
            wrong++;
        worst = std::fmax(worst, ratio);
    }
    printf("%d x %d, rank %d, %d rows: largest error %.3f of the bound, %d outputs beyond it\n", n,
           k, r, m, worst, wrong);
    must(cudaDeviceReset(), "cudaDeviceReset");
    return wrong ? 1 : 0;
}
