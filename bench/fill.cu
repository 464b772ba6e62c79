// bench/fill.cu: random contents for weights and buffers, made where they are needed.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

namespace
{

// A finaliser in the manner of MurmurHash3: every input bit reaches every output bit.
__device__ __forceinline__ unsigned hash(unsigned long long v, unsigned seed)
{
    unsigned h = (unsigned)v ^ (unsigned)(v >> 32) * 0x9e3779b9u ^ seed * 0x85ebca6bu;
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    h ^= h >> 16;
    return h;
}

__global__ void weights_kernel(const fill_weights_args args)
{
    const unsigned long long words = args.record_bytes / 4, per_layer = words * args.tiles,
                             all = per_layer * args.layers,
                             step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < all;
         i += step) {
        const unsigned long long layer = i / per_layer, in_layer = i % per_layer,
                                 tile = in_layer / words, word = in_layer % words;
        unsigned v =
            ((const unsigned *)(args.templates + tile % args.templated * args.record_bytes))[word];
        if (word < args.codes_bytes / 4)
            v ^= hash(i, 1);
        ((unsigned *)(args.to + layer * args.stride + args.header_bytes +
                      tile * args.record_bytes))[word] = v;
    }
}

template <bool Half>
__global__ void words_kernel(unsigned *to, size_t words, unsigned seed)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += step) {
        const unsigned v = hash(i, seed);
        to[i] = Half ? (v & 0x83ff83ffu) | 0x24002400u : v;
    }
}

/* Every word is hashed with its place, so that neither a change nor an exchange goes unseen. */
__global__ void checksum_kernel(const unsigned *from, size_t words, unsigned *sum)
{
    const size_t step = (size_t)gridDim.x * blockDim.x;
    unsigned mine = 0;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += step)
        mine += hash(i, from[i]);
    for (int lanes = 16; lanes > 0; lanes /= 2)
        mine += __shfl_down_sync(0xffffffffu, mine, lanes);
    if (threadIdx.x % 32 == 0)
        atomicAdd(sum, mine);
}

} // namespace

extern "C" cudaError_t fill_weights_launch(const fill_weights_args *args, cudaStream_t stream)
{
    weights_kernel<<<4096, 256, 0, stream>>>(*args);
    return cudaGetLastError();
}

extern "C" cudaError_t fill_random_launch(void *to, size_t words, unsigned seed,
                                          cudaStream_t stream)
{
    words_kernel<false><<<4096, 256, 0, stream>>>((unsigned *)to, words, seed);
    return cudaGetLastError();
}

extern "C" cudaError_t fill_half_launch(void *to, size_t words, unsigned seed, cudaStream_t stream)
{
    words_kernel<true><<<4096, 256, 0, stream>>>((unsigned *)to, words, seed);
    return cudaGetLastError();
}

extern "C" cudaError_t fill_checksum_launch(const void *from, size_t words, unsigned *sum,
                                            cudaStream_t stream)
{
    checksum_kernel<<<1024, 256, 0, stream>>>((const unsigned *)from, words, sum);
    return cudaGetLastError();
}
