/* shards.h: the safetensors files of a folder as one file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SHARDS_H
#define SHARDS_H

#include "safetensors.h"

/* Open those that model.safetensors.index.json names, after seeing that each has the tensors that
 * the index says; or, without an index, every *.safetensors but adapter_model.safetensors.
 * IMPORT_ERR_MISSING, _HEADER, _MEMORY, and what safetensors_open and safetensors_join say. */
import_status shards_open(const char *folder, safetensors_file **file, import_error *error);

/* safetensors_open; a failure's detail names the path. */
import_status safetensors_open_at(const char *path, safetensors_file **file, import_error *error);

#endif /* SHARDS_H */
