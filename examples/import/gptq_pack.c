/* gptq_pack.c: see gptq.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gptq.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tensors that are being added: their bytes and their names come from one piece of memory. Files
 * are little-endian whatever the machine is. */
typedef struct adder {
    gptq_tensors *to;
    const char *prefix;
    uint8_t *bytes;
    char *names;
} adder;

static void put_u16(uint8_t *at, unsigned v)
{
    at[0] = (uint8_t)v;
    at[1] = (uint8_t)(v >> 8);
}

static void or_u32(uint8_t *words, uint64_t word, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        words[4 * word + (unsigned)i] |= (uint8_t)(v >> 8 * i);
}

/* A value of `bits` bits at bit `at` of words that lie `stride` apart; they were 0. */
static void put_bits(uint8_t *words, uint64_t first, uint64_t stride, uint64_t at, int bits,
                     unsigned value)
{
    const uint64_t word = at / 32, shift = at % 32;
    const uint64_t v = (uint64_t)value << shift;
    or_u32(words, first + word * stride, (uint32_t)v);
    if (shift + (unsigned)bits > 32)
        or_u32(words, first + (word + 1) * stride, (uint32_t)(v >> 32));
}

/* The next tensor, of one dimension when d1 is 0: its bytes, which are 0. */
static uint8_t *add(adder *a, const char *part, safetensors_type type, int64_t d0, int64_t d1)
{
    safetensors_tensor *t = &a->to->tensor[a->to->count++];
    uint8_t *bytes = a->bytes;
    t->name = a->names;
    a->names += sprintf(a->names, "%s.%s", a->prefix, part) + 1;
    t->type = type;
    t->dims = d1 ? 2 : 1;
    t->dim[0] = (uint64_t)d0;
    t->dim[1] = (uint64_t)d1;
    t->bytes = (uint64_t)(d0 * (d1 ? d1 : 1)) * (uint64_t)safetensors_type_bytes(type);
    t->data = bytes;
    a->bytes += t->bytes;
    return bytes;
}

static void add_layer(adder *a, const gptq_layer *l)
{
    const int bits = l->format.bits;
    const int64_t n = l->n, k = l->k, words = n * bits / 32;
    const int64_t group = l->format.group == FBQ_GROUP_ROW ? k : l->format.group;
    uint8_t *qweight = add(a, "qweight", SAFETENSORS_I32, k * bits / 32, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < k; j++)
            put_bits(qweight, (uint64_t)i, (uint64_t)n, (uint64_t)(j * bits), bits,
                     l->codes[i * k + j]);
    uint8_t *qzeros = add(a, "qzeros", SAFETENSORS_I32, l->groups, words);
    uint8_t *g_idx = add(a, "g_idx", SAFETENSORS_I32, k, 0);
    uint8_t *scales = add(a, "scales", SAFETENSORS_F16, l->groups, n);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t i = 0; i < n; i++) {
            const unsigned z = l->zeros ? l->zeros[i * l->groups + g] : 1u << (bits - 1);
            put_bits(qzeros, (uint64_t)(g * words), 1, (uint64_t)(i * bits), bits, z);
            put_u16(scales + 2 * (g * n + i), l->scales[i * l->groups + g]);
        }
    for (int64_t j = 0; j < k; j++)
        or_u32(g_idx, (uint64_t)j, (uint32_t)(j / group));
    if (l->bias) {
        uint8_t *bias = add(a, "bias", SAFETENSORS_F16, n, 0);
        for (int64_t i = 0; i < n; i++)
            put_u16(bias + 2 * i, l->bias[i]);
    }
}

import_status gptq_pack(const gptq_layer *layer, const char *prefix, gptq_tensors *tensors,
                        import_error *error)
{
    if (!layer || !prefix || !tensors)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !layer    ? "layer"
                           : !prefix ? "prefix"
                                     : "tensors");
    memset(tensors, 0, sizeof *tensors);
    if (!layer->codes || !layer->scales || layer->format.zero == FBQ_ZERO_F16 ||
        (layer->format.zero == FBQ_ZERO_CODE) != !!layer->zeros)
        return import_fail(error, IMPORT_ERR_ARGUMENT,
                           "layer has no codes or scales, or zero points that are not integers");
    if (layer->n % 32 != 0 || layer->k % 32 != 0)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "a layer of %" PRId64 " x %" PRId64 "; multiples of 32 were expected",
                           layer->n, layer->k);
    const size_t n = (size_t)layer->n, k = (size_t)layer->k, groups = (size_t)layer->groups;
    const size_t bits = (size_t)layer->format.bits;
    const size_t bytes = n * k * bits / 8 + groups * n * bits / 8 + groups * n * 2 + k * 4 + n * 2;
    const size_t names = GPTQ_TENSORS * (strlen(prefix) + sizeof ".qweight");
    uint8_t *memory = calloc(1, bytes + names);
    if (!memory)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu bytes", bytes + names);
    tensors->memory = memory;
    adder a = {tensors, prefix, memory, (char *)memory + bytes};
    add_layer(&a, layer);
    return IMPORT_OK;
}

void gptq_tensors_free(gptq_tensors *tensors)
{
    free(tensors->memory);
    memset(tensors, 0, sizeof *tensors);
}
