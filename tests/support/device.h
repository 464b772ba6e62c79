/* tests/support/device.h: GPU buffers with guard zones, over the CUDA runtime.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_DEVICE_H
#define FBQ_TESTS_DEVICE_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "layer.h"

/* ctest's code for a test that could not run. */
#define SKIPPED 77

/* 1 when a GPU is there; otherwise says why on stderr and returns 0. */
int device_present(void);

/* Stop the program at a CUDA error: after one, nothing that follows means anything. */
void device_must(cudaError_t result, const char *what);

/* A device buffer of `bytes` that begins `shift` bytes behind a 256-byte boundary, with guard bytes
 * of 0xff (NaN in every type used here) around and inside. */
typedef struct device_buffer {
    void *base;
    unsigned char *data;
    size_t bytes, shift;
} device_buffer;

device_buffer device_make(size_t bytes, size_t shift);
device_buffer device_copy(const void *host, size_t bytes, size_t shift);
void device_free(device_buffer *b);
void device_poison(const device_buffer *b);
/* Fetch the contents; returns 0 when a guard byte was changed. */
int device_fetch(const device_buffer *b, void *host);

/* A packed layer on the GPU. */
typedef struct device_layer {
    device_buffer weights, down, up;
} device_layer;

device_layer device_layer_make(const layer *l);
void device_layer_free(device_layer *d);

#endif
