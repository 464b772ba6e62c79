/* tests/support/device.c: see device.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 256

int device_present(void)
{
    int count = 0;
    cudaError_t result = cudaGetDeviceCount(&count);
    if (result == cudaSuccess && count > 0)
        return 1;
    fprintf(stderr, "skipped: no GPU here (%s)\n", cudaGetErrorString(result));
    return 0;
}

void device_must(cudaError_t result, const char *what)
{
    if (result != cudaSuccess) {
        fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(result));
        exit(1);
    }
}

device_buffer device_make(size_t bytes, size_t shift)
{
    device_buffer b;
    b.bytes = bytes;
    b.shift = shift;
    device_must(cudaMalloc(&b.base, bytes + shift + 2 * GUARD), "cudaMalloc");
    b.data = (unsigned char *)b.base + GUARD + shift;
    device_poison(&b);
    return b;
}

device_buffer device_copy(const void *host, size_t bytes, size_t shift)
{
    device_buffer b = device_make(bytes, shift);
    device_must(cudaMemcpy(b.data, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    return b;
}

void device_free(device_buffer *b)
{
    device_must(cudaFree(b->base), "cudaFree");
    memset(b, 0, sizeof *b);
}

void device_poison(const device_buffer *b)
{
    device_must(cudaMemset(b->base, 0xff, b->bytes + b->shift + 2 * GUARD), "cudaMemset");
}

int device_fetch(const device_buffer *b, void *host)
{
    size_t before = GUARD + b->shift, all = before + b->bytes + GUARD;
    unsigned char *copy = (unsigned char *)malloc(all);
    int whole = copy != NULL;
    if (!copy)
        return 0;
    device_must(cudaMemcpy(copy, b->base, all, cudaMemcpyDeviceToHost), "cudaMemcpy");
    for (size_t i = 0; i < all; i++)
        if ((i < before || i >= before + b->bytes) && copy[i] != 0xff)
            whole = 0;
    memcpy(host, copy + before, b->bytes);
    free(copy);
    return whole;
}

device_layer device_layer_make(const layer *l)
{
    device_layer d;
    memset(&d, 0, sizeof d);
    d.weights = device_copy(l->parts.weights, l->parts.weights_bytes, 0);
    if (l->parts.down) {
        d.down = device_copy(l->parts.down, l->parts.down_bytes, 0);
        d.up = device_copy(l->parts.up, l->parts.up_bytes, 0);
    }
    return d;
}

void device_layer_free(device_layer *d)
{
    device_free(&d->weights);
    if (d->down.base) {
        device_free(&d->down);
        device_free(&d->up);
    }
}
