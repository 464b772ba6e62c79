/* packed_layer.h: a layer of a checkpoint as fbq's packed parts, the file that holds such layers,
 * and the way back.
 *
 * A file of packed layers is a safetensors file with, for each layer,
 *
 *     <layer>.fbq_weights   U8 [bytes]   the three parts, header and all, as fbq_pack_* made them:
 *     <layer>.fbq_down      U8 [bytes]   copy them to the GPU as they are
 *     <layer>.fbq_up        U8 [bytes]   without a sub-branch there is no down and no up
 *     <layer>.bias          F16 [N]      where the layer has one
 *
 * and metadata that names the versions of the layout and of the library.
 *
 * These functions call fbq's, so the program brings fbq's implementation.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PACKED_LAYER_H
#define PACKED_LAYER_H

#include <fbq/fbq.h>

#include "gptq.h"
#include "peft.h"

#define PACKED_WEIGHTS ".fbq_weights"
#define PACKED_DOWN ".fbq_down"
#define PACKED_UP ".fbq_up"
#define PACKED_BIAS ".bias"
#define PACKED_LAYOUT_VERSION "fbq_layout_version"
#define PACKED_FBQ_VERSION "fbq_version"

typedef struct packed_layer {
    fbq_layout layout;
    fbq_parts parts;
    const uint8_t *bias; /* n fp16 words, little-endian; or NULL */
    double
        factor_change; /* of B . A when it was rounded to that type: |B'A' - BA| / |BA|, Frobenius
                        * norms; 0 where nothing was rounded or nothing is known of it */
    void *memory;      /* that all this lies in; NULL when it lies in a file */
} packed_layer;

/* Pack a layer and its sub-branch.
 *   adapter      may be NULL
 *   factor_type  FBQ_F16, FBQ_BF16 or FBQ_I8, to which A and B are rounded
 * IMPORT_ERR_ARGUMENT, _MEMORY; _SHAPE when the adapter is for a layer of another size; _VALUE when
 * a factor is beyond fp16; _UNSUPPORTED when fbq does not take the layer. */
import_status packed_layer_make(const gptq_layer *layer, const peft_adapter *adapter,
                                fbq_type factor_type, packed_layer *packed, import_error *error);

/* Find a layer in a file of packed layers; it lasts as long as the file. IMPORT_ERR_MISSING;
 * _VALUE for parts that another version of the layout made, that are damaged or that do not belong
 * together; _SHAPE for tensors of another type. */
import_status packed_layer_find(const safetensors_file *file, const char *name,
                                packed_layer *packed, import_error *error);

/* Free what packed_layer_make made; one that was found, or a zeroed one, is fine. */
void packed_layer_free(packed_layer *packed);

/* A packed layer as GPTQ's numbers, and its factors, exactly. */
typedef struct unpacked_layer {
    gptq_layer layer; /* version 2 */
    int64_t r;        /* 0: a and b are NULL */
    fbq_type type;    /* of a and b: that of the packed factors, or FBQ_F32 where those are int8 */
    void *a;          /* r x k */
    void *b;          /* n x r */
} unpacked_layer;

/* IMPORT_ERR_UNSUPPORTED for what GPTQ's format cannot hold: fp16 zero points, bf16 scales, several
 * segments; _VALUE for damaged parts; _MEMORY. */
import_status packed_layer_unpack(const packed_layer *packed, unpacked_layer *unpacked,
                                  import_error *error);
void unpacked_layer_free(unpacked_layer *unpacked);

/* Write a file of packed layers, as safetensors_write does. IMPORT_ERR_ARGUMENT, _OPEN, _MEMORY. */
import_status packed_file_write(const char *path, const char *const *names,
                                const packed_layer *layers, size_t count, import_error *error);

/* Is it a file of packed layers, whatever its version? */
int packed_file_is(const safetensors_file *file);

#endif /* PACKED_LAYER_H */
