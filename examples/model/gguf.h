/* gguf.h: a minimal reader of GGUF model files (versions 2 and 3, little-endian).
 *
 * The file is untrusted: each count, offset and size is checked against overflow and against the
 * end of the file before it is used, and whatever is wrong has a status and a sentence of its own.
 * The format is documented in ggml's docs/gguf.md.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef GGUF_H
#define GGUF_H

#include <stddef.h>
#include <stdint.h>

typedef enum gguf_status {
    GGUF_OK = 0,
    GGUF_ERR_ARGUMENT,  /* a NULL or senseless argument */
    GGUF_ERR_OPEN,      /* the file cannot be opened, sized or mapped */
    GGUF_ERR_MEMORY,    /* malloc returned NULL */
    GGUF_ERR_MAGIC,     /* it does not start with "GGUF" */
    GGUF_ERR_VERSION,   /* a version, or a byte order, that this reader does not know */
    GGUF_ERR_TRUNCATED, /* it ends inside its header or before its tensors do */
    GGUF_ERR_COUNT,     /* a count of keys, tensors, elements or dimensions that cannot be */
    GGUF_ERR_TYPE,      /* a value or tensor type that does not exist or is not read here */
    GGUF_ERR_DUPLICATE, /* two keys or two tensors of one name */
    GGUF_ERR_ALIGNMENT, /* general.alignment, or a tensor's offset, is not aligned */
    GGUF_ERR_OVERLAP,   /* two tensors share bytes */
    GGUF_ERR_MISSING,   /* no such key or tensor */
    GGUF_ERR_VALUE      /* the key or tensor is there, but is not what was asked for */
} gguf_status;

/* Owned by the caller; filled by a call that fails, when it is not NULL. */
typedef struct gguf_error {
    gguf_status status;
    char detail[320];
} gguf_error;

/* Types of metadata values, numbered as in the file. */
typedef enum gguf_kind {
    GGUF_U8 = 0,
    GGUF_I8 = 1,
    GGUF_U16 = 2,
    GGUF_I16 = 3,
    GGUF_U32 = 4,
    GGUF_I32 = 5,
    GGUF_F32 = 6,
    GGUF_BOOL = 7,
    GGUF_STRING = 8,
    GGUF_ARRAY = 9,
    GGUF_U64 = 10,
    GGUF_I64 = 11,
    GGUF_F64 = 12
} gguf_kind;

/* Types of tensors that this reader converts to float, numbered as in the file. */
typedef enum gguf_type {
    GGUF_TYPE_F32 = 0,
    GGUF_TYPE_F16 = 1,
    GGUF_TYPE_Q4_1 = 3, /* blocks of 32: fp16 d, fp16 m, 16 bytes of codes; w = d * q + m */
    GGUF_TYPE_Q8_0 = 8  /* blocks of 32: fp16 d, 32 signed bytes; w = d * q */
} gguf_type;

/* Bytes inside the file, not terminated by NUL. */
typedef struct gguf_text {
    const char *bytes;
    uint64_t length;
} gguf_text;

#define GGUF_MAX_DIMS 4

typedef struct gguf_tensor {
    gguf_text name;
    gguf_type type;
    int dims;
    uint64_t dim[GGUF_MAX_DIMS]; /* dim[0] is contiguous: a linear layer is dim[1] rows of dim[0] */
    uint64_t elements;
    const uint8_t *data; /* inside the file */
    uint64_t bytes;
} gguf_tensor;

typedef struct gguf_file gguf_file;

/* Map a file and read its header. The file must not shrink while it is open. */
gguf_status gguf_open(const char *path, gguf_file **file, gguf_error *error);

/* The same over `bytes` bytes of memory, which the caller keeps until gguf_close. */
gguf_status gguf_parse(const void *memory, size_t bytes, gguf_file **file, gguf_error *error);

/* NULL is fine. Texts and tensors that came from the file are gone afterwards. */
void gguf_close(gguf_file *file);

/* How a message names a status, never NULL. */
const char *gguf_status_string(gguf_status status);

uint64_t gguf_tensor_count(const gguf_file *file);
/* Tensors in order of their names; index below gguf_tensor_count. */
const gguf_tensor *gguf_tensor_at(const gguf_file *file, uint64_t index);
gguf_status gguf_find_tensor(const gguf_file *file, const char *name, const gguf_tensor **tensor,
                             gguf_error *error);

/* Metadata. An integer of any width fits gguf_get_u64 unless it is negative. */
gguf_status gguf_get_u64(const gguf_file *file, const char *key, uint64_t *value,
                         gguf_error *error);
gguf_status gguf_get_f32(const gguf_file *file, const char *key, float *value, gguf_error *error);
gguf_status gguf_get_text(const gguf_file *file, const char *key, gguf_text *value,
                          gguf_error *error);

/* An array of strings: *texts has *count entries and is released with free. */
gguf_status gguf_get_texts(const gguf_file *file, const char *key, gguf_text **texts,
                           uint64_t *count, gguf_error *error);

/* The same for an array of 32-bit signed integers. */
gguf_status gguf_get_i32s(const gguf_file *file, const char *key, int32_t **values, uint64_t *count,
                          gguf_error *error);

/* Rows first .. first + rows - 1 as float, dim[0] numbers each. A tensor of one dimension has one
 * row; higher dimensions count as more rows. */
gguf_status gguf_dequantise(const gguf_tensor *tensor, uint64_t first, uint64_t rows, float *out,
                            gguf_error *error);

#endif /* GGUF_H */
