/* peft.h: LoRA adapters (PEFT's files, EoRA's, and GPTQModel's merged ones) as A and B.
 *
 * A layer `module` of N x K weights has, in adapter_model.safetensors,
 *
 *     base_model.model.<module>.lora_A.weight   [r, K]   the down-projection
 *     base_model.model.<module>.lora_B.weight   [N, r]   the up-projection
 *
 * in F16, BF16 or F32, and adds scale . B A to W: alpha / r, or with use_rslora alpha / sqrt(r).
 * EoRA writes alpha = r. The prefix may be absent. GPTQModel's merged checkpoints hold the same as
 * buffers <module>.lora_A [K, r] and .lora_B [r, N], transposed, with nothing left to scale.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PEFT_H
#define PEFT_H

#include "safetensors.h"

typedef struct peft_config peft_config;

/* Read `bytes` bytes of adapter_config.json. IMPORT_ERR_HEADER, or IMPORT_ERR_UNSUPPORTED for what
 * is no plain LoRA: another peft_type, DoRA and its like, lora_bias, fan_in_fan_out, and names in
 * alpha_pattern or rank_pattern that are regular expressions. */
import_status peft_config_parse(const void *json, size_t bytes, peft_config **config,
                                import_error *error);
/* NULL is fine. */
void peft_config_free(peft_config *config);

typedef struct peft_adapter {
    int64_t n, k, r;
    double scale; /* is in b already */
    float *a;     /* r x k */
    float *b;     /* n x r */
} peft_adapter;

/* Read the adapter of a module such as "model.layers.0.self_attn.q_proj".
 *   config  may be NULL for merged buffers, which need none
 * Fails with IMPORT_ERR_ARGUMENT, _MEMORY, _MISSING, _SHAPE; _VALUE for numbers that are not finite
 * and for a rank that the config contradicts. */
import_status peft_read(const safetensors_file *file, const char *module, const peft_config *config,
                        peft_adapter *adapter, import_error *error);

/* Free what peft_read made; a zeroed adapter is fine. */
void peft_free(peft_adapter *adapter);

#endif /* PEFT_H */
