/* packed_file.c: files of packed layers; see packed_layer.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "packed_layer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_OF(number) #number
#define TEXT_IN(number) TEXT_OF(number)

int packed_file_is(const safetensors_file *file)
{
    return safetensors_metadata(file, PACKED_LAYOUT_VERSION) != NULL;
}

/* ---- Reading ---- */

/* NULL and IMPORT_OK where there is none. */
static import_status find(const safetensors_file *file, const char *name, const char *part,
                          safetensors_type type, const safetensors_tensor **tensor,
                          import_error *error)
{
    char whole[512];
    *tensor = NULL;
    if ((size_t)snprintf(whole, sizeof whole, "%s%s", name, part) >= sizeof whole)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "name has %zu characters, too many",
                           strlen(name));
    const safetensors_tensor *t = safetensors_find(file, whole);
    if (t && (t->type != type || t->dims != 1))
        return import_fail(error, IMPORT_ERR_SHAPE,
                           "\"%.200s\" is %s of %d dimensions; %s of 1 was expected", whole,
                           safetensors_type_name(t->type), t->dims, safetensors_type_name(type));
    *tensor = t;
    return IMPORT_OK;
}

/* fbq_reconstruct looks at every header and at whether they fit each other. */
static import_status check_parts(const char *name, packed_layer *p, import_error *error)
{
    fbq_layout up;
    fbq_error why;
    if (fbq_layout_read(p->parts.weights, p->parts.weights_bytes, NULL, &p->layout, &why) !=
            FBQ_OK ||
        (p->parts.up &&
         fbq_layout_read(p->parts.up, p->parts.up_bytes, NULL, &up, &why) != FBQ_OK) ||
        fbq_reconstruct(&p->parts, 0, 0, (double[]){0}, &why) != FBQ_OK)
        return import_fail(error, IMPORT_ERR_VALUE, "\"%.160s\": %s", name, why.detail);
    if (p->parts.up) /* the factors' own word, since a branch may have been swapped */
        p->layout.format.factor_type = up.format.factor_type;
    if (!p->parts.down && p->layout.rank_tiles > 0)
        return import_fail(error, IMPORT_ERR_MISSING,
                           "\"%.160s\" has a sub-branch, but there is no " PACKED_DOWN
                           " and no " PACKED_UP " of it",
                           name);
    return IMPORT_OK;
}

import_status packed_layer_find(const safetensors_file *file, const char *name,
                                packed_layer *packed, import_error *error)
{
    const safetensors_tensor *weights, *down, *up, *bias;
    if (!file || !name || !packed)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !file   ? "file"
                           : !name ? "name"
                                   : "packed");
    memset(packed, 0, sizeof *packed);
    import_status status = find(file, name, PACKED_WEIGHTS, SAFETENSORS_U8, &weights, error);
    if (status == IMPORT_OK)
        status = find(file, name, PACKED_DOWN, SAFETENSORS_U8, &down, error);
    if (status == IMPORT_OK)
        status = find(file, name, PACKED_UP, SAFETENSORS_U8, &up, error);
    if (status == IMPORT_OK)
        status = find(file, name, PACKED_BIAS, SAFETENSORS_F16, &bias, error);
    if (status != IMPORT_OK)
        return status;
    if (!weights)
        return import_fail(error, IMPORT_ERR_MISSING,
                           "there is no tensor \"%.200s" PACKED_WEIGHTS "\"", name);
    packed->parts.weights = weights->data;
    packed->parts.weights_bytes = (size_t)weights->bytes;
    if (down) {
        packed->parts.down = down->data;
        packed->parts.down_bytes = (size_t)down->bytes;
    }
    if (up) {
        packed->parts.up = up->data;
        packed->parts.up_bytes = (size_t)up->bytes;
    }
    status = check_parts(name, packed, error);
    if (status == IMPORT_OK && bias && bias->dim[0] != (uint64_t)packed->layout.n)
        status = import_fail(error, IMPORT_ERR_SHAPE,
                             "\"%.200s" PACKED_BIAS "\" has %" PRIu64 " numbers; %" PRId64
                             " were expected",
                             name, bias->dim[0], packed->layout.n);
    packed->bias = bias ? bias->data : NULL;
    if (status != IMPORT_OK)
        memset(packed, 0, sizeof *packed);
    return status;
}

/* ---- Writing ---- */

/* Tensors that are being collected: their names lie one after another. */
typedef struct list {
    safetensors_tensor *tensor;
    size_t count;
    char *names;
} list;

static void add(list *l, const char *name, const char *part, safetensors_type type, uint64_t count,
                const void *data)
{
    if (!data)
        return;
    l->tensor[l->count++] = (safetensors_tensor){
        l->names, type, 1, {count}, data, count * (uint64_t)safetensors_type_bytes(type)};
    l->names += sprintf(l->names, "%s%s", name, part) + 1;
}

import_status packed_file_write(const char *path, const char *const *names,
                                const packed_layer *layers, size_t count, import_error *error)
{
    static const char *const metadata[][2] = {
        {"format", "fbq"},
        {PACKED_LAYOUT_VERSION, TEXT_IN(FBQ_LAYOUT_VERSION)},
        {PACKED_FBQ_VERSION, FBQ_VERSION_STRING},
    };
    size_t length = 0;
    if (!path || ((!names || !layers) && count))
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !path    ? "path"
                           : !names ? "names"
                                    : "layers");
    for (size_t i = 0; i < count; i++)
        length += 4 * (strlen(names[i]) + sizeof PACKED_WEIGHTS);
    safetensors_tensor *tensors = malloc((4 * count + 1) * sizeof *tensors);
    char *text = malloc(length + 1);
    import_status status;
    if (tensors && text) {
        list l = {tensors, 0, text};
        for (size_t i = 0; i < count; i++) {
            const packed_layer *p = &layers[i];
            add(&l, names[i], PACKED_WEIGHTS, SAFETENSORS_U8, p->parts.weights_bytes,
                p->parts.weights);
            add(&l, names[i], PACKED_DOWN, SAFETENSORS_U8, p->parts.down_bytes, p->parts.down);
            add(&l, names[i], PACKED_UP, SAFETENSORS_U8, p->parts.up_bytes, p->parts.up);
            add(&l, names[i], PACKED_BIAS, SAFETENSORS_F16, (uint64_t)p->layout.n, p->bias);
        }
        status = safetensors_write(path, tensors, l.count, metadata,
                                   sizeof metadata / sizeof *metadata, error);
    } else {
        status = import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu layers", count);
    }
    free(tensors);
    free(text);
    return status;
}
