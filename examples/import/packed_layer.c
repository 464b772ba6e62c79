/* packed_layer.c: layers to packed parts and back; see packed_layer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "packed_layer.h"
#include "factors.h"

#include <fbq/host/half.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* fbq's word for why it did not work. */
static import_status fbq_failed(import_error *error, const fbq_error *why)
{
    const import_status status = why->status == FBQ_ERR_OUT_OF_HOST   ? IMPORT_ERR_MEMORY
                                 : why->status == FBQ_ERR_PACKED      ? IMPORT_ERR_VALUE
                                 : why->status == FBQ_ERR_UNSUPPORTED ? IMPORT_ERR_UNSUPPORTED
                                                                      : IMPORT_ERR_ARGUMENT;
    return import_fail(error, status, "%s", why->detail);
}

/* ---- Packing ---- */

static import_status check_adapter(const gptq_layer *layer, const peft_adapter *adapter,
                                   import_error *error)
{
    if (!adapter || (adapter->n == layer->n && adapter->k == layer->k))
        return IMPORT_OK;
    return import_fail(error, IMPORT_ERR_SHAPE,
                       "the adapter is for a layer of %" PRId64 " x %" PRId64
                       " weights; this one has %" PRId64 " x %" PRId64,
                       adapter->n, adapter->k, layer->n, layer->k);
}

static uint16_t *words_of(const float *numbers, int64_t count, fbq_type type)
{
    uint16_t *words = malloc((size_t)count * sizeof *words);
    for (int64_t i = 0; words && i < count; i++)
        words[i] = fbq_word_of_f32(type, numbers[i]);
    return words;
}

/* FBQ_ERR_OUT_OF_HOST has a text, too. */
static fbq_status pack_factors(const fbq_layout *l, const factors *f, uint8_t *down, uint8_t *up,
                               fbq_error *why)
{
    fbq_status status;
    if (l->format.factor_type == FBQ_I8) {
        status = fbq_pack_down_i8(l, f->a, down, l->down_bytes, NULL, why);
        return status == FBQ_OK ? fbq_pack_up_i8(l, f->b, f->r, up, l->up_bytes, NULL, why)
                                : status;
    }
    uint16_t *a = words_of(f->a, f->r * l->shape.k, l->format.factor_type);
    uint16_t *b = words_of(f->b, l->n * f->r, l->format.factor_type);
    if (a && b) {
        status = fbq_pack_down(l, a, down, l->down_bytes, why);
        if (status == FBQ_OK)
            status = fbq_pack_up(l, b, f->r, up, l->up_bytes, why);
    } else {
        status = why->status = FBQ_ERR_OUT_OF_HOST;
        snprintf(why->detail, sizeof why->detail, "no memory for the words of A and B");
    }
    free(a);
    free(b);
    return status;
}

/* The parts and the bias, in one piece of memory. */
static import_status pack_all(const gptq_layer *layer, const factors *f, packed_layer *p,
                              import_error *error)
{
    const fbq_layout *l = &p->layout;
    const size_t bias = layer->bias ? 2 * (size_t)layer->n : 0;
    const size_t bytes = l->weights_bytes + l->down_bytes + l->up_bytes + bias;
    fbq_error why;
    uint8_t *at = p->memory = malloc(bytes);
    if (!at)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu bytes", bytes);
    uint8_t *down = at + l->weights_bytes, *up = down + l->down_bytes, *words = up + l->up_bytes;
    p->parts = (fbq_parts){.weights = at, .weights_bytes = l->weights_bytes};
    fbq_status status =
        fbq_pack_weights(l, layer->codes, layer->scales, layer->zeros, at, l->weights_bytes, &why);
    if (status == FBQ_OK && f->r > 0) {
        p->parts.down = down;
        p->parts.down_bytes = l->down_bytes;
        p->parts.up = up;
        p->parts.up_bytes = l->up_bytes;
        status = pack_factors(l, f, down, up, &why);
    }
    for (size_t i = 0; i < bias; i++)
        words[i] = (uint8_t)(layer->bias[i / 2] >> 8 * (i % 2));
    p->bias = bias ? words : NULL;
    return status == FBQ_OK ? IMPORT_OK : fbq_failed(error, &why);
}

import_status packed_layer_make(const gptq_layer *layer, const peft_adapter *adapter,
                                fbq_type factor_type, packed_layer *packed, import_error *error)
{
    factors f = {0};
    fbq_error why;
    if (!layer || !packed ||
        (factor_type != FBQ_F16 && factor_type != FBQ_BF16 && factor_type != FBQ_I8))
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s",
                           !layer    ? "layer is NULL"
                           : !packed ? "packed is NULL"
                                     : "factor_type is none of FBQ_F16, FBQ_BF16, FBQ_I8");
    memset(packed, 0, sizeof *packed);
    import_status status = check_adapter(layer, adapter, error);
    if (status == IMPORT_OK && adapter)
        status = factors_round(adapter, factor_type, &f, error);
    if (status != IMPORT_OK)
        return status;
    fbq_format format = layer->format;
    const fbq_shape shape = fbq_shape_of(layer->n, layer->k, f.r);
    format.factor_type = factor_type;
    if (fbq_layout_of(&format, &shape, &packed->layout, &why) == FBQ_OK)
        status = pack_all(layer, &f, packed, error);
    else
        status = fbq_failed(error, &why);
    packed->factor_change = f.change;
    factors_free(&f);
    if (status != IMPORT_OK)
        packed_layer_free(packed);
    return status;
}

void packed_layer_free(packed_layer *packed)
{
    free(packed->memory);
    memset(packed, 0, sizeof *packed);
}

/* ---- Unpacking ---- */

static import_status check_kind(const fbq_layout *l, import_error *error)
{
    if (l->shape.segments != 1)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "%d segments are packed as one layer; one was expected",
                           l->shape.segments);
    if (l->format.zero == FBQ_ZERO_F16)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "the zero points are fp16 numbers; GPTQ's format holds integers");
    if (l->format.scale_type != FBQ_F16)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "the scales are bf16; GPTQ's format holds fp16");
    return IMPORT_OK;
}

static int allocate(const packed_layer *p, unpacked_layer *u)
{
    const fbq_layout *l = &p->layout;
    const size_t n = (size_t)l->n, k = (size_t)l->shape.k, groups = (size_t)l->groups;
    const size_t r = (size_t)u->r;
    gptq_layer *g = &u->layer;
    g->codes = malloc(n * k);
    g->scales = malloc(n * groups * sizeof *g->scales);
    g->zeros = l->format.zero == FBQ_ZERO_CODE ? malloc(n * groups) : NULL;
    g->bias = p->bias ? malloc(n * sizeof *g->bias) : NULL;
    const size_t size = u->type == FBQ_F32 ? sizeof(float) : sizeof(uint16_t);
    u->a = r ? malloc(r * k * size) : NULL;
    u->b = r ? malloc(n * r * size) : NULL;
    return g->codes && g->scales && (g->zeros || l->format.zero != FBQ_ZERO_CODE) &&
           (g->bias || !p->bias) && (!r || (u->a && u->b));
}

static fbq_status unpack_all(const packed_layer *p, unpacked_layer *u, fbq_error *why)
{
    gptq_layer *g = &u->layer;
    const fbq_parts *s = &p->parts;
    fbq_status status =
        fbq_unpack_weights(s->weights, s->weights_bytes, g->codes, g->scales, g->zeros, why);
    if (status == FBQ_OK && u->r > 0)
        status = u->type == FBQ_F32 ? fbq_unpack_down_f32(s->down, s->down_bytes, u->a, why)
                                    : fbq_unpack_down(s->down, s->down_bytes, u->a, why);
    if (status == FBQ_OK && u->r > 0)
        status = u->type == FBQ_F32 ? fbq_unpack_up_f32(s->up, s->up_bytes, u->b, u->r, why)
                                    : fbq_unpack_up(s->up, s->up_bytes, u->b, u->r, why);
    for (int64_t i = 0; p->bias && i < g->n; i++)
        g->bias[i] = (uint16_t)(p->bias[2 * i] | p->bias[2 * i + 1] << 8);
    return status;
}

/* Packed bytes are untrusted, and 4 bits hold more than a zero point of 2 or 3. */
static import_status check_numbers(const unpacked_layer *u, import_error *error)
{
    const gptq_layer *g = &u->layer;
    for (int64_t i = 0; i < g->n * g->groups; i++) {
        if ((g->scales[i] & 0x7c00) == 0x7c00)
            return import_fail(error, IMPORT_ERR_VALUE,
                               "the scale of row %" PRId64 " in group %" PRId64 " is not finite",
                               i / g->groups, i % g->groups);
        if (g->zeros && g->zeros[i] >> g->format.bits)
            return import_fail(error, IMPORT_ERR_VALUE,
                               "the zero point of row %" PRId64 " in group %" PRId64
                               " is %d, which does not fit into %d bits",
                               i / g->groups, i % g->groups, g->zeros[i], g->format.bits);
    }
    return IMPORT_OK;
}

import_status packed_layer_unpack(const packed_layer *packed, unpacked_layer *unpacked,
                                  import_error *error)
{
    fbq_error why;
    if (!packed || !unpacked)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           packed ? "unpacked" : "packed");
    memset(unpacked, 0, sizeof *unpacked);
    const fbq_layout *l = &packed->layout;
    import_status status = check_kind(l, error);
    if (status != IMPORT_OK)
        return status;
    unpacked->layer = (gptq_layer){.format = l->format,
                                   .n = l->n,
                                   .k = l->shape.k,
                                   .groups = l->groups,
                                   .version = 2,
                                   .evidence = GPTQ_FORCED};
    unpacked->r = packed->parts.down ? l->shape.segment[0].r : 0;
    unpacked->type = l->format.factor_type == FBQ_I8 ? FBQ_F32 : l->format.factor_type;
    if (!allocate(packed, unpacked))
        status = import_fail(error, IMPORT_ERR_MEMORY, "no memory for %" PRId64 " x %" PRId64, l->n,
                             l->shape.k);
    else if (unpack_all(packed, unpacked, &why) != FBQ_OK)
        status = fbq_failed(error, &why);
    else
        status = check_numbers(unpacked, error);
    if (status != IMPORT_OK)
        unpacked_layer_free(unpacked);
    return status;
}

void unpacked_layer_free(unpacked_layer *unpacked)
{
    gptq_free(&unpacked->layer);
    free(unpacked->a);
    free(unpacked->b);
    memset(unpacked, 0, sizeof *unpacked);
}
