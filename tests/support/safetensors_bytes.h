/* safetensors_bytes.h: a safetensors file in memory, put together tensor by tensor.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SAFETENSORS_BYTES_H
#define SAFETENSORS_BYTES_H

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct safetensors_bytes {
    char header[8192];
    size_t header_count;
    uint8_t data[1 << 18];
    size_t data_count;
    uint8_t at[8 + 8192 + (1 << 18)]; /* the file, once it is ended */
    size_t count;
} safetensors_bytes;

/* The length of a header, the header and the data. */
static inline void safetensors_whole(safetensors_bytes *s, const char *header)
{
    const size_t length = strlen(header);
    assert(length <= sizeof s->header);
    for (int i = 0; i < 8; i++)
        s->at[i] = (uint8_t)(length >> 8 * i);
    memcpy(s->at + 8, header, length);
    memcpy(s->at + 8 + length, s->data, s->data_count);
    s->count = 8 + length + s->data_count;
}

static inline void safetensors_begin(safetensors_bytes *s)
{
    s->header_count = (size_t)sprintf(s->header, "{\"__metadata__\":{\"format\":\"test\"}");
    s->data_count = 0;
}

/* A tensor of up to two dimensions; d1 is not used when there is one. */
static inline void safetensors_put(safetensors_bytes *s, const char *name, const char *type,
                                   int dims, uint64_t d0, uint64_t d1, const void *data,
                                   size_t bytes)
{
    char shape[64];
    if (dims == 1)
        snprintf(shape, sizeof shape, "%llu", (unsigned long long)d0);
    else
        snprintf(shape, sizeof shape, "%llu,%llu", (unsigned long long)d0, (unsigned long long)d1);
    assert(s->data_count + bytes <= sizeof s->data);
    s->header_count +=
        (size_t)snprintf(s->header + s->header_count, sizeof s->header - s->header_count,
                         ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                         name, type, shape, s->data_count, s->data_count + bytes);
    memcpy(s->data + s->data_count, data, bytes);
    s->data_count += bytes;
}

static inline void safetensors_end(safetensors_bytes *s)
{
    assert(s->header_count + 2 < sizeof s->header);
    s->header[s->header_count++] = '}';
    s->header[s->header_count] = 0;
    safetensors_whole(s, s->header);
}

#endif
