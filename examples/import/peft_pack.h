/* peft_pack.h: A and B as an adapter that PEFT loads: its tensors and its adapter_config.json.
 *
 * B is written as it is and alpha is the rank, so that the scale is 1 and nothing is rounded.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PEFT_PACK_H
#define PEFT_PACK_H

#include <fbq/types.h>

#include "safetensors.h"

/* A module's sub-branch. */
typedef struct peft_factors {
    const char *module; /* such as "model.layers.0.self_attn.q_proj" */
    int64_t n, k, r;    /* each at least 1 */
    fbq_type type;      /* of the numbers: FBQ_F16 or FBQ_BF16 words, or FBQ_F32 floats */
    const void *a;      /* r x k */
    const void *b;      /* n x r */
} peft_factors;

#define PEFT_TENSORS 2

/* lora_A.weight and lora_B.weight of one module, ready for safetensors_write. */
typedef struct peft_tensors {
    safetensors_tensor tensor[PEFT_TENSORS];
    void *memory; /* that they lie in */
} peft_tensors;

/* IMPORT_ERR_ARGUMENT, _MEMORY. */
import_status peft_pack(const peft_factors *factors, peft_tensors *tensors, import_error *error);

/* Free what peft_pack made; zeroed tensors are fine. */
void peft_tensors_free(peft_tensors *tensors);

/* The text of adapter_config.json for these modules, to be released with free.
 *   base  what it names as the model that the adapter is for; may be NULL
 *   task  PEFT's task type, such as "CAUSAL_LM"; may be NULL, which fits any model
 * IMPORT_ERR_ARGUMENT when there is no module, or one twice; IMPORT_ERR_UNSUPPORTED for a name that
 * PEFT would read as a regular expression; IMPORT_ERR_MEMORY. */
import_status peft_config_print(const peft_factors *modules, size_t count, const char *base,
                                const char *task, char **text, import_error *error);

#endif /* PEFT_PACK_H */
