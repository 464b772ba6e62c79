/* dequantise.c: the blocks of ggml's tensor types, to float.
 *
 * Layouts as documented in ggml-common.h: little-endian, a row is whole blocks.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gguf_internal.h"
#include <fbq/host/half.h>

#include <inttypes.h>
#include <string.h>

int gguf_block(uint32_t type, uint64_t *elements, uint64_t *bytes)
{
    switch (type) {
    case GGUF_TYPE_F32:
        *elements = 1;
        *bytes = 4;
        return 1;
    case GGUF_TYPE_F16:
        *elements = 1;
        *bytes = 2;
        return 1;
    case GGUF_TYPE_Q4_1:
        *elements = 32;
        *bytes = 2 + 2 + 16;
        return 1;
    case GGUF_TYPE_Q8_0:
        *elements = 32;
        *bytes = 2 + 32;
        return 1;
    default:
        return 0;
    }
}

static uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static float load_f32(const uint8_t *p)
{
    const uint32_t bits =
        (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static void q4_1(const uint8_t *block, float *out)
{
    const float d = fbq_f32_of_f16(load_u16(block)), m = fbq_f32_of_f16(load_u16(block + 2));
    for (int j = 0; j < 16; j++) {
        /* Element j in the low nibble, j + 16 in the high one. */
        out[j] = d * (float)(block[4 + j] & 15) + m;
        out[j + 16] = d * (float)(block[4 + j] >> 4) + m;
    }
}

static void q8_0(const uint8_t *block, float *out)
{
    const float d = fbq_f32_of_f16(load_u16(block));
    for (int j = 0; j < 32; j++)
        out[j] = d * (float)(block[2 + j] < 128 ? block[2 + j] : block[2 + j] - 256);
}

gguf_status gguf_dequantise(const gguf_tensor *tensor, uint64_t first, uint64_t rows, float *out,
                            gguf_error *error)
{
    if (tensor == NULL || out == NULL)
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "%s is NULL", tensor ? "out" : "tensor");
    const uint64_t width = tensor->dim[0], height = tensor->elements / width;
    if (first > height || rows > height - first)
        return gguf_fail(error, GGUF_ERR_ARGUMENT,
                         "rows %" PRIu64 " to %" PRIu64 " of a tensor that has %" PRIu64 " rows",
                         first, first + rows, height);
    uint64_t elements, bytes;
    if (!gguf_block((uint32_t)tensor->type, &elements, &bytes))
        return gguf_fail(error, GGUF_ERR_TYPE, "tensor type %d is not read here",
                         (int)tensor->type);
    const uint8_t *in = tensor->data + first * (width / elements) * bytes;
    const uint64_t blocks = rows * (width / elements);
    for (uint64_t i = 0; i < blocks; i++, in += bytes, out += elements) {
        switch (tensor->type) {
        case GGUF_TYPE_F32:
            *out = load_f32(in);
            break;
        case GGUF_TYPE_F16:
            *out = fbq_f32_of_f16(load_u16(in));
            break;
        case GGUF_TYPE_Q4_1:
            q4_1(in, out);
            break;
        case GGUF_TYPE_Q8_0:
            q8_0(in, out);
            break;
        }
    }
    return GGUF_OK;
}
