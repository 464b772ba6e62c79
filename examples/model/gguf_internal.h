/* gguf_internal.h: what the reader's own files share.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GGUF_INTERNAL_H
#define GGUF_INTERNAL_H

#include "gguf.h"

typedef struct gguf_entry {
    gguf_text key;
    uint32_t kind;        /* gguf_kind */
    uint32_t item;        /* of an array */
    uint64_t count;       /* of an array, otherwise 1 */
    const uint8_t *value; /* first byte of the (first) value */
} gguf_entry;

struct gguf_file {
    const uint8_t *bytes;
    size_t size;
    void *map; /* what gguf_close unmaps, or NULL */
    gguf_entry *entries;
    uint64_t entry_count;
    gguf_tensor *tensors;
    uint64_t tensor_count;
};

/* Fill `error`, when there is one, and return `status`. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
gguf_status
gguf_fail(gguf_error *error, gguf_status status, const char *format, ...);

/* Elements and bytes of a tensor type's block; 0 when the type is not read here. */
int gguf_block(uint32_t type, uint64_t *elements, uint64_t *bytes);

/* A little-endian unsigned number of 1 to 8 bytes. */
uint64_t gguf_little(const uint8_t *p, int bytes);

/* Bytes of a value of fixed size, 0 for strings, arrays and kinds that do not exist. */
uint64_t gguf_kind_bytes(uint32_t kind);

/* Order of entries and of tensors by name, for qsort and bsearch. */
int gguf_by_key(const void *a, const void *b);
int gguf_by_name(const void *a, const void *b);

#endif /* GGUF_INTERNAL_H */
