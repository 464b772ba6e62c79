/* tests/support/cubin.h: what a kernel takes of a multiprocessor, read from the cubin itself.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_CUBIN_H
#define FBQ_TESTS_CUBIN_H

#include <stddef.h>
#include <stdint.h>

typedef struct cubin_resources {
    uint32_t registers; /* of a thread */
    uint32_t stack;     /* bytes of a thread's frame: spills and arrays that are indexed */
    uint32_t min_stack; /* of it and all that it calls */
    uint64_t local;     /* bytes in .nv.local sections of the whole cubin */
} cubin_resources;

/* Find `kernel` in a cubin (ELF64, little-endian). 1 when it is there and every number was found;
 * 0 for anything else, bytes that are no cubin included. */
int cubin_read(const void *image, size_t bytes, const char *kernel, cubin_resources *out);

#endif
