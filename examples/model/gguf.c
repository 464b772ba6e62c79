/* gguf.c: the header of a GGUF file, checked while it is read.
 *
 * One cursor walks the header. Every read goes through take(), which is the only place that
 * advances it, so nothing outside the file is ever touched; a count is compared with the bytes that
 * are left before anything is allocated for it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "gguf_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct cursor {
    const uint8_t *at, *end;
    gguf_error *error;
} cursor;

/* ---- reading ---- */

static uint64_t left(const cursor *c)
{
    return (uint64_t)(c->end - c->at);
}

static gguf_status take(cursor *c, uint64_t bytes, const char *what, const uint8_t **at)
{
    if (bytes > left(c))
        return gguf_fail(c->error, GGUF_ERR_TRUNCATED,
                         "%s needs %" PRIu64 " bytes but the file ends after %" PRIu64
                         ": fetch it again",
                         what, bytes, left(c));
    *at = c->at;
    c->at += bytes;
    return GGUF_OK;
}

static gguf_status take_u32(cursor *c, const char *what, uint32_t *value)
{
    const uint8_t *p = NULL;
    const gguf_status status = take(c, 4, what, &p);
    if (status == GGUF_OK)
        *value = (uint32_t)gguf_little(p, 4);
    return status;
}

static gguf_status take_u64(cursor *c, const char *what, uint64_t *value)
{
    const uint8_t *p = NULL;
    const gguf_status status = take(c, 8, what, &p);
    if (status == GGUF_OK)
        *value = gguf_little(p, 8);
    return status;
}

static gguf_status take_text(cursor *c, const char *what, gguf_text *text)
{
    uint64_t length = 0;
    const uint8_t *p = NULL;
    gguf_status status = take_u64(c, what, &length);
    if (status == GGUF_OK)
        status = take(c, length, what, &p);
    if (status == GGUF_OK) {
        text->bytes = (const char *)p;
        text->length = length;
    }
    return status;
}

static gguf_status check_count(const cursor *c, const char *what, uint64_t count, uint64_t least)
{
    if (count > left(c) / least)
        return gguf_fail(c->error, GGUF_ERR_COUNT,
                         "%" PRIu64 " %s cannot fit into the %" PRIu64 " bytes that are left",
                         count, what, left(c));
    return GGUF_OK;
}

#define NAME(text) (int)((text).length < 64 ? (text).length : 64), (text).bytes

static gguf_status take_values(cursor *c, gguf_entry *e)
{
    const uint32_t kind = e->kind == GGUF_ARRAY ? e->item : e->kind;
    gguf_status status;
    e->value = c->at;
    if (kind == GGUF_STRING) {
        status = check_count(c, "strings", e->count, 8);
        for (uint64_t i = 0; i < e->count && status == GGUF_OK; i++) {
            gguf_text text;
            status = take_text(c, "a string", &text);
        }
        return status;
    }
    const uint64_t bytes = gguf_kind_bytes(kind);
    if (bytes == 0)
        return gguf_fail(c->error, GGUF_ERR_TYPE, "key \"%.*s\" has values of type %" PRIu32 "%s",
                         NAME(e->key), kind,
                         kind == GGUF_ARRAY ? " (arrays of arrays are not read here)"
                                            : ", which does not exist");
    status = check_count(c, "array elements", e->count, bytes);
    if (status != GGUF_OK)
        return status;
    const uint8_t *p = NULL;
    status = take(c, e->count * bytes, "a value", &p);
    for (uint64_t i = 0; i < e->count && status == GGUF_OK && kind == GGUF_BOOL; i++)
        if (p[i] > 1)
            status = gguf_fail(c->error, GGUF_ERR_VALUE, "key \"%.*s\" is a bool of value %d",
                               NAME(e->key), p[i]);
    return status;
}

static gguf_status take_entry(cursor *c, gguf_entry *e)
{
    gguf_status status = take_text(c, "a key", &e->key);
    if (status == GGUF_OK)
        status = take_u32(c, "a value's type", &e->kind);
    e->count = 1;
    if (status == GGUF_OK && e->kind == GGUF_ARRAY) {
        status = take_u32(c, "an array's type", &e->item);
        if (status == GGUF_OK)
            status = take_u64(c, "an array's length", &e->count);
    }
    return status == GGUF_OK ? take_values(c, e) : status;
}

/* The tensor's data stays an offset until the header's end is known. */
static gguf_status take_tensor(cursor *c, gguf_tensor *t, uint64_t *offset)
{
    uint32_t dims = 0, type = 0;
    uint64_t block = 1, bytes = 0;
    gguf_status status = take_text(c, "a tensor's name", &t->name);
    if (status == GGUF_OK)
        status = take_u32(c, "a tensor's dimensions", &dims);
    if (status != GGUF_OK)
        return status;
    if (dims < 1 || dims > GGUF_MAX_DIMS)
        return gguf_fail(c->error, GGUF_ERR_COUNT,
                         "tensor \"%.*s\" has %" PRIu32 " dimensions, expected 1 to %d",
                         NAME(t->name), dims, GGUF_MAX_DIMS);
    t->dims = (int)dims;
    t->elements = 1;
    for (uint32_t i = 0; i < dims && status == GGUF_OK; i++) {
        status = take_u64(c, "a tensor's size", &t->dim[i]);
        if (status != GGUF_OK)
            break;
        /* 2^56 elements is beyond any file, and leaves room to multiply by a block's bytes. */
        if (t->dim[i] < 1 || t->dim[i] > (UINT64_C(1) << 56) / t->elements)
            return gguf_fail(c->error, GGUF_ERR_COUNT,
                             "tensor \"%.*s\" has size %" PRIu64 " in dimension %" PRIu32,
                             NAME(t->name), t->dim[i], i);
        t->elements *= t->dim[i];
    }
    if (status == GGUF_OK)
        status = take_u32(c, "a tensor's type", &type);
    if (status == GGUF_OK)
        status = take_u64(c, "a tensor's offset", offset);
    if (status != GGUF_OK)
        return status;
    if (!gguf_block(type, &block, &bytes))
        return gguf_fail(c->error, GGUF_ERR_TYPE,
                         "tensor \"%.*s\" has type %" PRIu32
                         ", this reader knows F32 (0), F16 (1), Q4_1 (3) and Q8_0 (8)",
                         NAME(t->name), type);
    if (t->dim[0] % block != 0)
        return gguf_fail(c->error, GGUF_ERR_COUNT,
                         "tensor \"%.*s\" has rows of %" PRIu64
                         " elements, not whole blocks of %" PRIu64,
                         NAME(t->name), t->dim[0], block);
    t->type = (gguf_type)type;
    t->bytes = t->elements / block * bytes;
    return GGUF_OK;
}

/* ---- checks of the whole ---- */

static int by_data(const void *a, const void *b)
{
    const gguf_tensor *x = a, *y = b;
    return (x->data > y->data) - (x->data < y->data);
}

static gguf_status check_duplicates(const gguf_file *file, gguf_error *error)
{
    for (uint64_t i = 1; i < file->entry_count; i++)
        if (gguf_by_key(&file->entries[i - 1], &file->entries[i]) == 0)
            return gguf_fail(error, GGUF_ERR_DUPLICATE, "key \"%.*s\" is there twice",
                             NAME(file->entries[i].key));
    for (uint64_t i = 1; i < file->tensor_count; i++)
        if (gguf_by_name(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return gguf_fail(error, GGUF_ERR_DUPLICATE, "tensor \"%.*s\" is there twice",
                             NAME(file->tensors[i].name));
    return GGUF_OK;
}

/* ---- the whole header ---- */

static gguf_status read_alignment(const gguf_file *file, uint64_t *alignment, gguf_error *error)
{
    gguf_error ignored;
    *alignment = 32;
    const gguf_status status = gguf_get_u64(file, "general.alignment", alignment, &ignored);
    if (status == GGUF_ERR_MISSING)
        return GGUF_OK;
    if (status != GGUF_OK || *alignment == 0 || *alignment > (1u << 30) ||
        (*alignment & (*alignment - 1)) != 0)
        return gguf_fail(error, GGUF_ERR_ALIGNMENT,
                         "general.alignment is not a power of two up to 2^30");
    return GGUF_OK;
}

static gguf_status place_tensors(gguf_file *file, const uint64_t *offsets, uint64_t header,
                                 gguf_error *error)
{
    uint64_t alignment;
    const gguf_status status = read_alignment(file, &alignment, error);
    if (status != GGUF_OK)
        return status;
    const uint64_t base = (header + alignment - 1) & ~(alignment - 1);
    for (uint64_t i = 0; i < file->tensor_count; i++) {
        gguf_tensor *t = &file->tensors[i];
        if (offsets[i] % alignment != 0)
            return gguf_fail(error, GGUF_ERR_ALIGNMENT,
                             "tensor \"%.*s\" has offset %" PRIu64 ", not a multiple of %" PRIu64,
                             NAME(t->name), offsets[i], alignment);
        if (base > file->size || offsets[i] > file->size - base ||
            t->bytes > file->size - base - offsets[i])
            return gguf_fail(error, GGUF_ERR_TRUNCATED,
                             "tensor \"%.*s\" needs %" PRIu64 " bytes at offset %" PRIu64
                             " but the file has %zu: fetch it again",
                             NAME(t->name), t->bytes, offsets[i], file->size);
        t->data = file->bytes + base + offsets[i];
    }
    qsort(file->tensors, (size_t)file->tensor_count, sizeof *file->tensors, by_data);
    for (uint64_t i = 1; i < file->tensor_count; i++) {
        const gguf_tensor *a = &file->tensors[i - 1], *b = &file->tensors[i];
        if ((uint64_t)(b->data - a->data) < a->bytes)
            return gguf_fail(error, GGUF_ERR_OVERLAP, "tensors \"%.*s\" and \"%.*s\" share bytes",
                             NAME(a->name), NAME(b->name));
    }
    return GGUF_OK;
}

static gguf_status read_counts(cursor *c, uint64_t *tensors, uint64_t *entries)
{
    const uint8_t *magic = NULL;
    uint32_t version = 0;
    gguf_status status = take(c, 4, "the magic", &magic);
    if (status != GGUF_OK)
        return status;
    if (memcmp(magic, "GGUF", 4) != 0)
        return gguf_fail(c->error, GGUF_ERR_MAGIC,
                         "the file starts with %02x %02x %02x %02x, not with \"GGUF\"", magic[0],
                         magic[1], magic[2], magic[3]);
    status = take_u32(c, "the version", &version);
    if (status == GGUF_OK && version != 2 && version != 3)
        return gguf_fail(c->error, GGUF_ERR_VERSION, "GGUF version %" PRIu32 "%s, expected 2 or 3",
                         version, (version & 0xffff) == 0 ? " (a big-endian file?)" : "");
    if (status == GGUF_OK)
        status = take_u64(c, "the number of tensors", tensors);
    if (status == GGUF_OK)
        status = take_u64(c, "the number of keys", entries);
    /* The shortest key: empty name, type, one byte. The shortest tensor: empty name, one dimension.
     */
    if (status == GGUF_OK)
        status = check_count(c, "keys", *entries, 8 + 4 + 1);
    if (status == GGUF_OK)
        status = check_count(c, "tensors", *tensors, 8 + 4 + 8 + 4 + 8);
    return status;
}

static gguf_status read_header(gguf_file *file, gguf_error *error)
{
    cursor c = {file->bytes, file->bytes + file->size, error};
    uint64_t *offsets = NULL;
    gguf_status status = read_counts(&c, &file->tensor_count, &file->entry_count);
    if (status != GGUF_OK)
        return status;
    /* One more than needed: an empty list must not look like a failed calloc. */
    file->entries = calloc((size_t)file->entry_count + 1, sizeof *file->entries);
    file->tensors = calloc((size_t)file->tensor_count + 1, sizeof *file->tensors);
    offsets = calloc((size_t)file->tensor_count + 1, sizeof *offsets);
    if (file->entries == NULL || file->tensors == NULL || offsets == NULL)
        status = gguf_fail(error, GGUF_ERR_MEMORY, "no memory for the header");
    for (uint64_t i = 0; i < file->entry_count && status == GGUF_OK; i++)
        status = take_entry(&c, &file->entries[i]);
    for (uint64_t i = 0; i < file->tensor_count && status == GGUF_OK; i++)
        status = take_tensor(&c, &file->tensors[i], &offsets[i]);
    if (status == GGUF_OK) {
        qsort(file->entries, (size_t)file->entry_count, sizeof *file->entries, gguf_by_key);
        status = place_tensors(file, offsets, (uint64_t)(c.at - file->bytes), error);
    }
    if (status == GGUF_OK) {
        qsort(file->tensors, (size_t)file->tensor_count, sizeof *file->tensors, gguf_by_name);
        status = check_duplicates(file, error);
    }
    free(offsets);
    return status;
}

gguf_status gguf_parse(const void *memory, size_t bytes, gguf_file **file, gguf_error *error)
{
    if (file == NULL || memory == NULL)
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "%s is NULL", file ? "memory" : "file");
    *file = NULL;
    gguf_file *made = calloc(1, sizeof *made);
    if (made == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for the reader");
    made->bytes = memory;
    made->size = bytes;
    const gguf_status status = read_header(made, error);
    if (status == GGUF_OK)
        *file = made;
    else
        gguf_close(made);
    return status;
}

gguf_status gguf_open(const char *path, gguf_file **file, gguf_error *error)
{
    struct stat info;
    if (file == NULL || path == NULL)
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "%s is NULL", file ? "path" : "file");
    *file = NULL;
    const int fd = open(path, O_RDONLY);
    if (fd < 0)
        return gguf_fail(error, GGUF_ERR_OPEN, "%s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return gguf_fail(error, GGUF_ERR_OPEN, "%s: not a regular file", path);
    }
    if (info.st_size == 0) { /* mmap refuses it */
        close(fd);
        return gguf_fail(error, GGUF_ERR_TRUNCATED, "%s: the file is empty", path);
    }
    void *map = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    const int reason = errno;
    close(fd);
    if (map == MAP_FAILED)
        return gguf_fail(error, GGUF_ERR_OPEN, "%s: %s", path, strerror(reason));
    const gguf_status status = gguf_parse(map, (size_t)info.st_size, file, error);
    if (status == GGUF_OK)
        (*file)->map = map;
    else
        munmap(map, (size_t)info.st_size);
    return status;
}

void gguf_close(gguf_file *file)
{
    if (file == NULL)
        return;
    if (file->map != NULL)
        munmap(file->map, file->size);
    free(file->entries);
    free(file->tensors);
    free(file);
}
