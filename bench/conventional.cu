// bench/conventional.cu: the kernels of a sub-branch that is not fused: down and up as launches of
// their own, and dequantisation into memory.
//
// SPDX-License-Identifier: Apache-2.0
#include <cuda_fp16.h>

#include <fbq/device/down.cuh>
#include <fbq/device/tile.cuh>

#include "kernels.h"

// ---- down: fbq's kernel, launched by itself ----

extern "C" const own_down_choice own_down_choices[] = {{4, 1}, {8, 1}, {4, 2},
                                                       {8, 2}, {4, 4}, {8, 4}};
extern "C" const int own_down_choice_count = 6;

namespace
{

typedef void (*DownKernel)(fbq_down_args);

template <int Columns>
DownKernel down_of(int warps, int chunks)
{
    switch (warps * 10 + chunks) {
    case 41:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 4, 1>>;
    case 81:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 8, 1>>;
    case 42:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 4, 2>>;
    case 82:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 8, 2>>;
    case 44:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 4, 4>>;
    case 84:
        return fbq::down_kernel<fbq::Down<fbq::type_f16, fbq::type_f16, Columns, 8, 4>>;
    }
    return nullptr;
}

} // namespace

extern "C" cudaError_t own_down_launch(const own_down *a, cudaStream_t stream)
{
    const int columns = a->m == 1 ? 1 : 8;
    DownKernel kernel = columns == 1 ? down_of<1>(a->warps, a->chunks_in_flight)
                                     : down_of<8>(a->warps, a->chunks_in_flight);
    if (!kernel || a->m < 1 || a->m > 8 || a->slices < 1)
        return cudaErrorInvalidValue;
    fbq_down_args args = {};
    args.x = a->x;
    args.blocks = (const char *)a->down + 128; // FBQ_HEADER_BYTES
    args.t = a->t;
    args.x_stride = a->k;
    args.m = a->m;
    args.k = a->k;
    args.chunks = a->chunks;
    args.chunks_per_slice = (a->chunks + a->slices - 1) / a->slices;
    args.rank_tiles = a->rank_tiles;
    args.x_vectors = a->k % 8 == 0;
    kernel<<<dim3((unsigned)a->rank_tiles, (unsigned)a->slices), (unsigned)a->warps * 32,
             (size_t)(a->warps * fbq::tile_rows * columns) * sizeof(float), stream>>>(args);
    return cudaGetLastError();
}

// ---- up: y += t . B^T ----

namespace
{

constexpr int row_lanes = 16; // lanes that share a row of B: 8 ranks each, 128 at once

// B's first vectors are on their way before t is gathered: this kernel is all latency.
template <int M, int Rows>
__global__ void up_kernel(const own_up a)
{
    extern __shared__ float t[]; // [m][ranks]
    const int lane = threadIdx.x % row_lanes;
    const int first = (int)((blockIdx.x * blockDim.x + threadIdx.x) / row_lanes) * Rows;
    const __half *b = (const __half *)a.b;
    __half *y = (__half *)a.y;
    constexpr int results = Rows * M, held = (results + row_lanes - 1) / row_lanes;

    uint4 v[Rows];
#pragma unroll
    for (int row = 0; row < Rows; row++) {
        v[row] = make_uint4(0, 0, 0, 0);
        if (first + row < a.n && lane * 8 < a.b_stride)
            v[row] = __ldg((const uint4 *)(b + (size_t)(first + row) * a.b_stride + lane * 8));
    }
    float old[held];
#pragma unroll
    for (int i = 0; i < results; i++)
        if (lane == i % row_lanes && first + i / M < a.n && i % M < a.m)
            old[i / row_lanes] = __half2float(y[(size_t)(i % M) * a.n + first + i / M]);

    const int count = a.m * a.ranks;
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        float sum = 0;
#pragma unroll 8
        for (int s = 0; s < a.slices; s++)
            sum += a.t[(size_t)s * count + i];
        t[i] = sum;
    }
    __syncthreads();

    float c[Rows][M] = {};
    for (int r = lane * 8; r < a.b_stride; r += row_lanes * 8) {
        if (r >= row_lanes * 8) {
#pragma unroll
            for (int row = 0; row < Rows; row++)
                if (first + row < a.n)
                    v[row] = __ldg((const uint4 *)(b + (size_t)(first + row) * a.b_stride + r));
        }
#pragma unroll
        for (int m = 0; m < M; m++) {
            if (m < a.m) {
                const float4 t0 = *(const float4 *)(t + m * a.ranks + r);
                const float4 t1 = *(const float4 *)(t + m * a.ranks + r + 4);
#pragma unroll
                for (int row = 0; row < Rows; row++) {
                    const float2 b0 = __half22float2(*(const __half2 *)&v[row].x);
                    const float2 b1 = __half22float2(*(const __half2 *)&v[row].y);
                    const float2 b2 = __half22float2(*(const __half2 *)&v[row].z);
                    const float2 b3 = __half22float2(*(const __half2 *)&v[row].w);
                    c[row][m] += b0.x * t0.x + b0.y * t0.y + b1.x * t0.z + b1.y * t0.w +
                                 b2.x * t1.x + b2.y * t1.y + b3.x * t1.z + b3.y * t1.w;
                }
            }
        }
    }
#pragma unroll
    for (int i = 0; i < results; i++) {
        float sum = c[i / M][i % M];
#pragma unroll
        for (int mask = row_lanes / 2; mask; mask /= 2)
            sum += __shfl_xor_sync(0xffffffffu, sum, mask);
        if (lane == i % row_lanes && first + i / M < a.n && i % M < a.m)
            y[(size_t)(i % M) * a.n + first + i / M] = __float2half_rn(old[i / row_lanes] + sum);
    }
}

typedef void (*UpKernel)(own_up);

template <int M>
UpKernel up_of(int rows)
{
    return rows == 1 ? up_kernel<M, 1> : rows == 2 ? up_kernel<M, 2> : up_kernel<M, 4>;
}

} // namespace

extern "C" cudaError_t own_up_launch(const own_up *a, cudaStream_t stream)
{
    const size_t shared = (size_t)a->m * a->ranks * sizeof(float);
    const int per_block = a->block / row_lanes * a->rows;
    if (a->m < 1 || a->m > 8 || a->b_stride % 8 || a->ranks < a->b_stride || a->block % 32 ||
        (a->rows != 1 && a->rows != 2 && a->rows != 4) || shared > 48 * 1024)
        return cudaErrorInvalidValue;
    UpKernel kernel = a->m == 1 ? up_of<1>(a->rows) : up_of<8>(a->rows);
    kernel<<<(unsigned)((a->n + per_block - 1) / per_block), (unsigned)a->block, shared, stream>>>(
        *a);
    return cudaGetLastError();
}

// ---- dequantisation into memory ----

namespace
{

// What unpack4 adds to the codes of even and odd k: 64 + q and -(64 + 15 - q).
__device__ __forceinline__ unsigned weight_pair(unsigned word, float scale, float zero)
{
    const float2 v = __half22float2(*(const __half2 *)&word);
    const __half2 w = __floats2half2_rn(scale * (v.x - 64 - zero), scale * (v.y + 79 - zero));
    return *(const unsigned *)&w;
}

// A warp takes one 64-k chunk of one tile: lane (g, t) holds 8 k, from 8t and from 32 + 8t, of the
// rows g and g + 8.
template <int Zero>
__global__ void dequantise_kernel(const dequantise a)
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const long long unit = ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (unit >= (long long)a.tiles * a.chunks)
        return;
    const int tile = (int)(unit / a.chunks), chunk = (int)(unit % a.chunks);
    const unsigned char *record =
        (const unsigned char *)a.weights + a.header_bytes + tile * a.record_bytes;
    const unsigned char *scales = record + a.codes_bytes;
    const uint4 codes = __ldcs((const uint4 *)(record + chunk * 512 + lane * 16));
    __half *w = (__half *)a.w;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int k = chunk * 64 + h * 32 + t * 8, group = a.group ? (k - t * 8) / a.group : 0;
        if (k >= a.k)
            continue;
        float2 scale, zero = make_float2(8, 8);
        if (Zero == fbq::zero_f16) {
            const uint2 v = __ldg((const uint2 *)(scales + group * 64 + g * 8));
            scale = __half22float2(*(const __half2 *)&v.x);
            zero = __half22float2(*(const __half2 *)&v.y);
        } else {
            const unsigned v = __ldg((const unsigned *)(scales + group * 32 + g * 4));
            scale = __half22float2(*(const __half2 *)&v);
            if (Zero == fbq::zero_code) {
                const unsigned z = __ldg(scales + a.scales_bytes + group * 8 + g);
                zero = make_float2((float)(z & 15), (float)(z >> 4));
            }
        }
        // of a chunk, in place of a unit's two
        const unsigned words[8] = {codes.x, codes.y, codes.z, codes.w};
        const fbq::u32x4 low = fbq::operand_of<fbq::type_f16, 4>(words, 2 * h),
                         high = fbq::operand_of<fbq::type_f16, 4>(words, 2 * h + 1);
        uint4 upper, lower;
        upper.x = weight_pair(low.x, scale.x, zero.x);
        upper.y = weight_pair(low.z, scale.x, zero.x);
        upper.z = weight_pair(high.x, scale.x, zero.x);
        upper.w = weight_pair(high.z, scale.x, zero.x);
        lower.x = weight_pair(low.y, scale.y, zero.y);
        lower.y = weight_pair(low.w, scale.y, zero.y);
        lower.z = weight_pair(high.y, scale.y, zero.y);
        lower.w = weight_pair(high.w, scale.y, zero.y);
        for (int half = 0; half < 2; half++) {
            const int n = tile * 16 + g + half * 8;
            const uint4 v = half ? lower : upper;
            __half *to = w + (size_t)n * a.k + k;
            if (n >= a.n)
                continue;
            if (a.k % 8 == 0) {
                *(uint4 *)to = v;
            } else {
                const unsigned four[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
                for (int i = 0; i < 8; i++)
                    if (k + i < a.k)
                        to[i] = __ushort_as_half((unsigned short)(four[i / 2] >> (i % 2 * 16)));
            }
        }
    }
}

} // namespace

extern "C" cudaError_t dequantise_launch(const dequantise *a, cudaStream_t stream)
{
    const int block = 256;
    const long long threads = (long long)a->tiles * a->chunks * 32;
    const unsigned grid = (unsigned)((threads + block - 1) / block);
    switch (a->zero) {
    case fbq::zero_none:
        dequantise_kernel<fbq::zero_none><<<grid, block, 0, stream>>>(*a);
        break;
    case fbq::zero_code:
        dequantise_kernel<fbq::zero_code><<<grid, block, 0, stream>>>(*a);
        break;
    case fbq::zero_f16:
        dequantise_kernel<fbq::zero_f16><<<grid, block, 0, stream>>>(*a);
        break;
    default:
        return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}
