/* gptq.h: layers of GPTQ checkpoints (AutoGPTQ, GPTQModel) as codes, scales and zero points.
 *
 * A layer of N x K weights is, in groups of g along K,
 *
 *     qweight  I32 [K b / 32, N]           codes of b bits, packed along K, lowest bits first
 *     qzeros   I32 [ceil(K/g), N b / 32]   zero points, packed along N
 *     scales   F16 [ceil(K/g), N]
 *     g_idx    I32 [K]                     the group of each k; may be absent
 *     bias     F16 [N]                     may be absent
 *
 * and w = s (q - z). With 3 bits 32 codes take three words, and two of them straddle. Version 1 of
 * the format stores z - 1, version 2 stores z (GPTQModel's FORMAT.GPTQ and FORMAT.GPTQ_V2). A z of
 * 0 in version 1 is read as GPTQModel writes it; AutoGPTQ spoilt it and its neighbours, which
 * nothing in a file tells.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GPTQ_H
#define GPTQ_H

#include <fbq/types.h>

#include "safetensors.h"

/* What quantize_config.json says, or quantization_config in config.json. */
typedef struct gptq_config {
    int bits;    /* 2, 3 or 4 */
    int group;   /* 32, 64, 128, 256 or FBQ_GROUP_ROW */
    int version; /* of the format: 1 or 2 */
} gptq_config;

/* Read `bytes` bytes of such a file. Without "format" or "checkpoint_format" it is version 1.
 * IMPORT_ERR_HEADER, or IMPORT_ERR_UNSUPPORTED for other bits, groups and methods. */
import_status gptq_config_parse(const void *json, size_t bytes, gptq_config *config,
                                import_error *error);

#define GPTQ_FEWEST_ZEROS 64

/* How the version of a layer was settled. */
typedef enum gptq_evidence {
    GPTQ_AS_SAID,      /* nothing in the layer speaks for or against what the config says */
    GPTQ_CONFIRMED,    /* its zero points are those of symmetric codes in the version said */
    GPTQ_CONTRADICTED, /* they are those of symmetric codes in the other version, which was taken */
    GPTQ_FORCED        /* the caller said which */
} gptq_evidence;

typedef struct gptq_layer {
    fbq_format format; /* zero kind NONE where every z is 2^(bits-1), else CODE; factor type F16 */
    int64_t n, k, groups;
    int version;
    gptq_evidence evidence;
    uint8_t *codes;   /* n x k */
    uint16_t *scales; /* n x groups, fp16 */
    uint8_t *zeros;   /* n x groups, or NULL for zero kind NONE */
    uint16_t *bias;   /* n fp16 words, or NULL */
} gptq_layer;

/* Read the layer whose tensors are named `prefix`.qweight and so on.
 *   force_version  1 or 2: whatever the config and the zero points say; 0: see gptq_evidence. At
 *                  least GPTQ_FEWEST_ZEROS zero points that are all 2^(bits-1) - 1, or all
 *                  2^(bits-1), are taken for those of symmetric codes in version 1 or 2. Metadata
 *                  has been wrong about this.
 * Fails with IMPORT_ERR_ARGUMENT, _MEMORY, _MISSING, _SHAPE; _VALUE for scales that are not
 * finite; _UNSUPPORTED for g_idx that reorders (act-order, "desc_act"): groups would no longer be
 * neighbours along K. */
import_status gptq_read(const safetensors_file *file, const char *prefix, const gptq_config *config,
                        int force_version, gptq_layer *layer, import_error *error);

/* Free what gptq_read made; a zeroed layer is fine. */
void gptq_free(gptq_layer *layer);

#define GPTQ_TENSORS 5

/* A layer as the tensors of a version 2 file, ready for safetensors_write. */
typedef struct gptq_tensors {
    safetensors_tensor tensor[GPTQ_TENSORS]; /* qweight, qzeros, scales, g_idx and bias */
    size_t count;                            /* 4 without a bias */
    void *memory;                            /* that they lie in */
} gptq_tensors;

/* Pack a layer, its tensors named `prefix`.qweight and so on. The layer's version does not matter.
 * N and K must be multiples of 32, as readers of the format expect: else IMPORT_ERR_UNSUPPORTED.
 * Also IMPORT_ERR_ARGUMENT, _MEMORY. */
import_status gptq_pack(const gptq_layer *layer, const char *prefix, gptq_tensors *tensors,
                        import_error *error);

/* Free what gptq_pack made; zeroed tensors are fine. */
void gptq_tensors_free(gptq_tensors *tensors);

#endif /* GPTQ_H */
