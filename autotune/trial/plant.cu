// plant.cu: see plant.h.
//
// SPDX-License-Identifier: Apache-2.0
#include "plant.h"

namespace
{

__global__ void write_kernel(unsigned *to, int words, unsigned value)
{
    for (int i = (int)threadIdx.x; i < words; i += (int)blockDim.x)
        to[i] = value;
}

__global__ void hang_kernel(const volatile unsigned *word)
{
    while (*word == 0)
        ;
}

} // namespace

extern "C" cudaError_t plant_write(unsigned *to, int words, unsigned value, cudaStream_t stream)
{
    write_kernel<<<1, 32, 0, stream>>>(to, words, value);
    return cudaGetLastError();
}

extern "C" cudaError_t plant_hang(const volatile unsigned *word, cudaStream_t stream)
{
    hang_kernel<<<1, 1, 0, stream>>>(word);
    return cudaGetLastError();
}
