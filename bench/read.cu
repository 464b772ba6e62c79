// bench/read.cu: kernels that only read. Their time is the floor that every other time is quoted
// against.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

namespace
{

// The same load as the kernels use: kept out of L1, and L2 fetches whole DRAM bursts.
__device__ __forceinline__ uint4 load(const uint4 *p)
{
    uint4 v;
    asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(p));
    return v;
}

__device__ __forceinline__ unsigned mix(uint4 v)
{
    return v.x ^ v.y ^ v.z ^ v.w;
}

template <int Unroll, bool Pdl>
__global__ void read_kernel(const uint4 *from, size_t vectors, unsigned *never)
{
    const size_t threads = (size_t)gridDim.x * blockDim.x;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    unsigned sum = 0;
    uint4 v[Unroll];
    bool full = i + (Unroll - 1) * threads < vectors;
    if (full) {
#pragma unroll
        for (int u = 0; u < Unroll; u++)
            v[u] = load(from + i + u * threads);
    }
#if __CUDA_ARCH__ >= 900
    if (Pdl)
        asm volatile("griddepcontrol.launch_dependents;\n\tgriddepcontrol.wait;" ::: "memory");
#endif
    while (full) {
#pragma unroll
        for (int u = 0; u < Unroll; u++)
            sum ^= mix(v[u]);
        i += Unroll * threads;
        full = i + (Unroll - 1) * threads < vectors;
        if (full) {
#pragma unroll
            for (int u = 0; u < Unroll; u++)
                v[u] = load(from + i + u * threads);
        }
    }
    for (; i < vectors; i += threads)
        sum ^= mix(load(from + i));
    // A store that the compiler must keep. Where the sum does come out so, it is one harmless word.
    if (sum == 0x12345u)
        *never = sum;
}

typedef void (*Kernel)(const uint4 *, size_t, unsigned *);

Kernel kernel_of(int unroll, bool pdl)
{
    switch (unroll) {
    case 4:
        return pdl ? read_kernel<4, true> : read_kernel<4, false>;
    case 8:
        return pdl ? read_kernel<8, true> : read_kernel<8, false>;
    case 12:
        return pdl ? read_kernel<12, true> : read_kernel<12, false>;
    }
    return nullptr;
}

} // namespace

extern "C" cudaError_t read_has_dependency_wait(int *yes)
{
    cudaFuncAttributes attributes;
    cudaError_t result = cudaFuncGetAttributes(&attributes, read_kernel<8, true>);
    *yes = result == cudaSuccess && attributes.ptxVersion >= 90;
    return result;
}

extern "C" cudaError_t read_launch(const void *from, size_t vectors, unsigned *never, int unroll,
                                   int grid, int block, int pdl, cudaStream_t stream)
{
    Kernel kernel = kernel_of(unroll, pdl != 0);
    if (!kernel)
        return cudaErrorInvalidValue;
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute[1];
    config.gridDim = dim3((unsigned)grid);
    config.blockDim = dim3((unsigned)block);
    config.stream = stream;
    if (pdl) {
        attribute[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attribute[0].val.programmaticStreamSerializationAllowed = 1;
        config.attrs = attribute;
        config.numAttrs = 1;
    }
    return cudaLaunchKernelEx(&config, kernel, (const uint4 *)from, vectors, never);
}
