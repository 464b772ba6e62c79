/* Example 2: the C API from plain C.
 *
 * Packs one layer, y = x . deq(Wq)^T + (x . A^T) . B^T, compiles its kernels with NVRTC for the GPU
 * at hand, runs it and compares every output with the reference in double. Only a C compiler is
 * needed to build this; NVRTC and the driver are opened while it runs.
 *
 * Exit status: 0 the outputs agree, 1 they do not or a call failed, 77 there is no GPU here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N = 1000, K = 1536, R = 24, GROUP = 128, GROUPS = K / GROUP, M = 4 };

/* Everything that can fail says why, in one line. */
#define TRY(call)                                                                                 \
    do {                                                                                          \
        fbq_status status_ = (call);                                                              \
        if (status_ != FBQ_OK) {                                                                  \
            fprintf(stderr, "%s\n    %s: %s\n", #call, fbq_status_string(status_), error.detail); \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#define TRY_CUDA(call)                                                          \
    do {                                                                        \
        cudaError_t error_ = (call);                                            \
        if (error_ != cudaSuccess) {                                            \
            fprintf(stderr, "%s\n    %s\n", #call, cudaGetErrorString(error_)); \
            exit(1);                                                            \
        }                                                                       \
    } while (0)

/* IEEE binary16 of a number that it can hold exactly: 0, or |v| in 2^-14 .. 65504, 11 bits. */
static uint16_t half_of(double v)
{
    int exponent, sign = v < 0;
    double fraction = frexp(fabs(v), &exponent); /* 0.5 <= fraction < 1 */
    if (v == 0)
        return 0;
    return (uint16_t)(sign << 15 | (exponent + 14) << 10 | ((int)(fraction * 2048) & 1023));
}

static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent == 31 ? (mantissa ? NAN : INFINITY)
               : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                              : ldexp(mantissa, -24);
    return h >> 15 ? -v : v;
}

/* Small numbers of either sign, the same in every run. */
static double next_number(uint32_t *state, double step)
{
    *state = *state * 1664525u + 1013904223u;
    return ((int)(*state >> 24) - 128) * step;
}

static void *host(size_t bytes)
{
    void *memory = malloc(bytes);
    if (!memory) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}

/* A copy of host bytes on the GPU; cudaMalloc aligns to 256 bytes, more than FBQ_ALIGN. */
static void *device_copy(const void *bytes, size_t size)
{
    void *memory;
    TRY_CUDA(cudaMalloc(&memory, size));
    TRY_CUDA(cudaMemcpy(memory, bytes, size, cudaMemcpyHostToDevice));
    return memory;
}

int main(void)
{
    fbq_error error = {FBQ_OK, 0, ""};
    fbq_format format = {4, GROUP, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
    fbq_problem problem = {format, fbq_shape_of(N, K, R), FBQ_F16, FBQ_F16, M, 0, 0};
    uint32_t seed = 1;
    int i, devices = 0, wrong = 0;

    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        puts("skipped: this example runs a kernel, and there is no GPU here");
        return 77;
    }

    /* A layer. Codes, scales and zero points are what a quantiser made; here they are made up. */
    uint8_t *codes = host(N * K), *zeros = host(N * GROUPS);
    uint16_t *scales = host(2 * N * GROUPS), *a = host(2 * R * K), *b = host(2 * N * R);
    for (i = 0; i < N * K; i++)
        codes[i] = (uint8_t)((int)next_number(&seed, 1) & 15);
    for (i = 0; i < N * GROUPS; i++) {
        zeros[i] = (uint8_t)(6 + i % 5);
        scales[i] = half_of(ldexp(32 + i % 32, -12));
    }
    for (i = 0; i < R * K; i++)
        a[i] = half_of(next_number(&seed, 1.0 / 4096));
    for (i = 0; i < N * R; i++)
        b[i] = half_of(next_number(&seed, 1.0 / 512));

    /* Pack it: once, for every GPU and every number of rows. */
    fbq_layout layout;
    TRY(fbq_layout_of(&format, &problem.shape, &layout, &error));
    void *weights = host(layout.weights_bytes), *down = host(layout.down_bytes);
    void *up = host(layout.up_bytes);
    TRY(fbq_pack_weights(&layout, codes, scales, zeros, weights, layout.weights_bytes, &error));
    TRY(fbq_pack_down(&layout, a, down, layout.down_bytes, &error));
    TRY(fbq_pack_up(&layout, b, R, up, layout.up_bytes, &error));

    /* Open the GPU and compile. cudaSetDevice makes its context current, as fbq_prepare asks. */
    fbq_context *context;
    fbq_plan *plan;
    TRY_CUDA(cudaSetDevice(0));
    TRY_CUDA(cudaFree(NULL));
    TRY(fbq_open(NULL, &context, &error));
    TRY(fbq_prepare(context, &problem, NULL, NULL, &plan, &error));

    /* Run it. */
    uint16_t *x = host(2 * M * K), *y = host(2 * M * N);
    for (i = 0; i < M * K; i++)
        x[i] = half_of(next_number(&seed, 1.0 / 64));
    fbq_call call = {0};
    call.m = M;
    call.x = device_copy(x, 2 * M * K);
    call.weights = device_copy(weights, layout.weights_bytes);
    call.down = device_copy(down, layout.down_bytes);
    call.up = device_copy(up, layout.up_bytes);
    TRY_CUDA(cudaMalloc(&call.y, 2 * M * N));
    call.scratch_bytes = fbq_plan_scratch_bytes(plan);
    if (call.scratch_bytes)
        TRY_CUDA(cudaMalloc(&call.scratch, call.scratch_bytes));
    call.state_bytes = fbq_plan_state_bytes(plan); /* zeroed once, then left to the launches */
    if (call.state_bytes) {
        TRY_CUDA(cudaMalloc(&call.state, call.state_bytes));
        TRY_CUDA(cudaMemset(call.state, 0, call.state_bytes));
    }
    TRY(fbq_linear(plan, &call, NULL));
    TRY_CUDA(cudaMemcpy(y, call.y, 2 * M * N, cudaMemcpyDeviceToHost));

    /* Compare: 4 units of fp16's roundoff, times the sum of |w| |x| behind each output. */
    double *wide = host(sizeof *wide * M * K), *reference = host(sizeof *reference * M * N);
    double *scale = host(sizeof *scale * M * N), worst = 0;
    fbq_parts parts = {weights, layout.weights_bytes, down, layout.down_bytes, up, layout.up_bytes};
    for (i = 0; i < M * K; i++)
        wide[i] = half_value(x[i]);
    TRY(fbq_reference(&parts, 0, N, M, wide, reference, scale, &error));
    for (i = 0; i < M * N; i++) {
        double ratio = fabs(half_value(y[i]) - reference[i]) / (scale[i] * ldexp(4, -11));
        if (!(ratio <= 1)) /* so that NaN fails too */
            wrong++;
        worst = fmax(worst, ratio);
    }
    printf("%d x %d, rank %d, %d rows: largest error %.3f of the bound, %d outputs beyond it\n", N,
           K, R, M, worst, wrong);

    fbq_plan_free(plan);
    fbq_close(context);
    cudaDeviceReset();
    return wrong ? 1 : 0;
}
