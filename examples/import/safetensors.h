/* safetensors.h: a reader and a writer of safetensors files.
 *
 * A file is the length of a header, the header (a JSON object that gives each tensor its type,
 * shape and place) and the tensors' bytes. It is untrusted: the header's length is capped, every
 * number is checked against overflow and against the end of the file, and the tensors must fill the
 * rest of the file without gap or overlap, as the format asks for (huggingface/safetensors).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SAFETENSORS_H
#define SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "import.h"

/* The longest header that is read, as in the reference implementation. */
#define SAFETENSORS_MAX_HEADER 100000000
#define SAFETENSORS_MAX_DIMS 8

typedef enum safetensors_type {
    SAFETENSORS_OTHER = 0, /* one that is not read here; its size is not checked */
    SAFETENSORS_BOOL,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_U16,
    SAFETENSORS_I16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_U32,
    SAFETENSORS_I32,
    SAFETENSORS_F32,
    SAFETENSORS_U64,
    SAFETENSORS_I64,
    SAFETENSORS_F64
} safetensors_type;

/* All of it belongs to the file. */
typedef struct safetensors_tensor {
    const char *name;
    safetensors_type type;
    int dims;
    uint64_t dim[SAFETENSORS_MAX_DIMS]; /* row-major: the last is contiguous */
    const uint8_t *data;                /* little-endian, aligned to nothing */
    uint64_t bytes;
} safetensors_tensor;

typedef struct safetensors_file safetensors_file;

/* Map a file and read its header. The file must not shrink while it is open. */
import_status safetensors_open(const char *path, safetensors_file **file, import_error *error);

/* The same over `bytes` bytes of memory, which the caller keeps until safetensors_close. */
import_status safetensors_parse(const void *memory, size_t bytes, safetensors_file **file,
                                import_error *error);

/* All tensors of `count` files as those of one file, without metadata: a checkpoint in several
 * shards. The files belong to it from then on and are closed with it; when the call fails, they
 * are the caller's still. IMPORT_ERR_HEADER for a tensor that two of them have. */
import_status safetensors_join(safetensors_file *const *files, size_t count,
                               safetensors_file **joined, import_error *error);

/* NULL is fine. What came from the file is gone afterwards. */
void safetensors_close(safetensors_file *file);

size_t safetensors_count(const safetensors_file *file);
/* Tensors in order of their names; index below safetensors_count. */
const safetensors_tensor *safetensors_at(const safetensors_file *file, size_t index);
/* NULL when there is none of that name. */
const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name);

/* An entry of the header's __metadata__, or NULL. */
const char *safetensors_metadata(const safetensors_file *file, const char *key);

/* Bytes of a number; 0 for SAFETENSORS_OTHER. */
int safetensors_type_bytes(safetensors_type type);

/* As the file writes it, such as "BF16"; "another type" for SAFETENSORS_OTHER. */
const char *safetensors_type_name(safetensors_type type);

/* Numbers of a tensor of 16 or 32 bits; index is not checked. */
uint16_t safetensors_u16(const safetensors_tensor *tensor, uint64_t index);
uint32_t safetensors_u32(const safetensors_tensor *tensor, uint64_t index);

/* Write a file of these tensors, whose data the caller has, little-endian. Tensors of wide numbers
 * come first, so that each is aligned to its type. The file appears whole or not at all: it is
 * written beside `path`, flushed to disk and renamed.
 *   metadata  pairs of texts, `pairs` of them; may be NULL when there are none
 * IMPORT_ERR_ARGUMENT for two tensors of one name, a type that is not read here, or bytes that are
 * not those of the shape; IMPORT_ERR_OPEN, _MEMORY. */
import_status safetensors_write(const char *path, const safetensors_tensor *tensors, size_t count,
                                const char *const (*metadata)[2], size_t pairs,
                                import_error *error);

#endif /* SAFETENSORS_H */
