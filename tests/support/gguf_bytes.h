/* tests/support/gguf_bytes.h: writing small GGUF files into memory, right ones and wrong ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_GGUF_BYTES_H
#define FBQ_TESTS_GGUF_BYTES_H

#include <stdint.h>
#include <string.h>

typedef struct gguf_bytes {
    size_t count;
    uint8_t at[1 << 16];
} gguf_bytes;

static inline void put(gguf_bytes *f, const void *bytes, size_t count)
{
    memcpy(f->at + f->count, bytes, count);
    f->count += count;
}

static inline void put_number(gguf_bytes *f, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        f->at[f->count++] = (uint8_t)(value >> 8 * i);
}

static inline void put_u32(gguf_bytes *f, uint32_t value)
{
    put_number(f, value, 4);
}

static inline void put_u64(gguf_bytes *f, uint64_t value)
{
    put_number(f, value, 8);
}

static inline void put_f32(gguf_bytes *f, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(f, bits);
}

static inline void put_text(gguf_bytes *f, const char *text)
{
    put_u64(f, strlen(text));
    put(f, text, strlen(text));
}

/* Magic, version and counts. */
static inline void put_head(gguf_bytes *f, uint32_t version, uint64_t tensors, uint64_t keys)
{
    f->count = 0;
    put(f, "GGUF", 4);
    put_u32(f, version);
    put_u64(f, tensors);
    put_u64(f, keys);
}

static inline void put_key(gguf_bytes *f, const char *key, uint32_t type)
{
    put_text(f, key);
    put_u32(f, type);
}

static inline void put_key_text(gguf_bytes *f, const char *key, const char *value)
{
    put_key(f, key, 8);
    put_text(f, value);
}

static inline void put_key_texts(gguf_bytes *f, const char *key, const char *const *values,
                                 size_t count)
{
    put_key(f, key, 9);
    put_u32(f, 8);
    put_u64(f, count);
    for (size_t i = 0; i < count; i++)
        put_text(f, values[i]);
}

static inline void put_tensor(gguf_bytes *f, const char *name, int dims, uint64_t d0, uint64_t d1,
                              uint32_t type, uint64_t offset)
{
    put_text(f, name);
    put_u32(f, (uint32_t)dims);
    for (int i = 0; i < dims; i++)
        put_u64(f, i == 0 ? d0 : d1);
    put_u32(f, type);
    put_u64(f, offset);
}

static inline void put_padding(gguf_bytes *f, size_t alignment)
{
    while (f->count % alignment != 0)
        f->at[f->count++] = 0;
}

#endif
