/* checkpoint.h: a GPTQ checkpoint and an adapter as they lie on disk, in folders.
 *
 * A checkpoint is a folder with quantize_config.json, or config.json with "quantization_config" in
 * it, and with safetensors files: those that model.safetensors.index.json names, or, where there is
 * no index, every one but adapter_model.safetensors. It may also be one safetensors file with the
 * config beside it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CHECKPOINT_H
#define CHECKPOINT_H

#include "gptq.h"
#include "peft.h"

/* Names of layers: every <name> of which there is a <name>.qweight, say. */
typedef struct layer_names {
    char **name; /* sorted, numbers by their value: layers.2 before layers.10 */
    size_t count;
} layer_names;

typedef struct checkpoint {
    safetensors_file *file; /* all shards as one */
    gptq_config config;
    layer_names layers; /* that have a qweight */
} checkpoint;

/* Open a checkpoint.
 *   config  path of the config; NULL: as above
 * Fails with IMPORT_ERR_MISSING where something is not there, _HEADER for a senseless index, and
 * with what the readers of config and files say. */
import_status checkpoint_open(const char *path, const char *config, checkpoint *c,
                              import_error *error);
/* A zeroed checkpoint is fine. */
void checkpoint_close(checkpoint *c);

/* Does the checkpoint itself hold a sub-branch of this layer (GPTQModel's merged buffers)? */
int checkpoint_has_branch(const checkpoint *c, const char *layer);

/* A folder with adapter_config.json and adapter_model.safetensors. */
typedef struct adapter_folder {
    safetensors_file *file;
    peft_config *config;
    layer_names modules; /* that have a lora_A or lora_B, without "base_model.model." */
} adapter_folder;

import_status adapter_folder_open(const char *path, adapter_folder *a, import_error *error);
/* A zeroed one is fine. */
void adapter_folder_close(adapter_folder *a);

/* Is this one of the names? */
int layer_names_have(const layer_names *names, const char *name);

/* Is `name` the name `prefix`, or below it at a dot? */
int layer_name_below(const char *name, const char *prefix);

/* The names of tensors that end with one of `suffixes` (NULL ends them), without the suffix and,
 * where it is there, without `before`. Each once. IMPORT_ERR_MEMORY. */
import_status layer_names_of(const safetensors_file *file, const char *before,
                             const char *const *suffixes, layer_names *names, import_error *error);
void layer_names_free(layer_names *names);

#endif /* CHECKPOINT_H */
