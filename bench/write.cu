// bench/write.cu: kernels that only write. Their time is the floor of reconstruct, whose output is
// most of what it moves.
//
// SPDX-License-Identifier: Apache-2.0
#include "kernels.h"

namespace
{

template <int Unroll>
__global__ void write_kernel(uint4 *to, size_t vectors, unsigned seed)
{
    const size_t threads = (size_t)gridDim.x * blockDim.x;
    const size_t first = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
    for (size_t i = first; i < vectors; i += Unroll * threads) {
#pragma unroll
        for (int u = 0; u < Unroll; u++) {
            // numbers that differ: writing one value only may draw less power
            const size_t at = i + u * threads;
            const unsigned v = (unsigned)at * 2654435761u ^ seed;
            if (at < vectors)
                to[at] = make_uint4(v, v * 3, v * 5, v * 7);
        }
    }
}

} // namespace

extern "C" cudaError_t write_launch(void *to, size_t vectors, unsigned seed, int unroll, int grid,
                                    int block, int pdl, cudaStream_t stream)
{
    cudaLaunchConfig_t config = {};
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = dim3((unsigned)grid);
    config.blockDim = dim3((unsigned)block);
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = pdl ? 1 : 0;
    switch (unroll) {
    case 1:
        return cudaLaunchKernelEx(&config, write_kernel<1>, (uint4 *)to, vectors, seed);
    case 4:
        return cudaLaunchKernelEx(&config, write_kernel<4>, (uint4 *)to, vectors, seed);
    }
    return cudaErrorInvalidValue;
}
