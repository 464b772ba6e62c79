/* gguf_find.c: looking up what a header that was read says, and the texts of failures.
 *
 * Nothing here checks bounds again: gguf_parse refused every file in which a value or a string does
 * not lie inside the file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gguf_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

gguf_status gguf_fail(gguf_error *error, gguf_status status, const char *format, ...)
{
    if (error != NULL) {
        va_list list;
        error->status = status;
        va_start(list, format);
        vsnprintf(error->detail, sizeof error->detail, format, list);
        va_end(list);
        /* Names come from the file: keep the message one printable line. */
        for (char *p = error->detail; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
    }
    return status;
}

const char *gguf_status_string(gguf_status status)
{
    switch (status) {
    case GGUF_OK:
        return "ok";
    case GGUF_ERR_ARGUMENT:
        return "wrong argument";
    case GGUF_ERR_OPEN:
        return "file cannot be read";
    case GGUF_ERR_MEMORY:
        return "out of memory";
    case GGUF_ERR_MAGIC:
        return "not a GGUF file";
    case GGUF_ERR_VERSION:
        return "unknown GGUF version";
    case GGUF_ERR_TRUNCATED:
        return "truncated file";
    case GGUF_ERR_COUNT:
        return "impossible count";
    case GGUF_ERR_TYPE:
        return "unknown type";
    case GGUF_ERR_DUPLICATE:
        return "duplicate name";
    case GGUF_ERR_ALIGNMENT:
        return "wrong alignment";
    case GGUF_ERR_OVERLAP:
        return "overlapping tensors";
    case GGUF_ERR_MISSING:
        return "missing";
    case GGUF_ERR_VALUE:
        return "unexpected value";
    }
    return "unknown status";
}

uint64_t gguf_little(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    for (int i = bytes; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

uint64_t gguf_kind_bytes(uint32_t kind)
{
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kind < sizeof bytes ? bytes[kind] : 0;
}

static int compare_text(const gguf_text *a, const char *bytes, uint64_t length)
{
    const uint64_t least = a->length < length ? a->length : length;
    const int order = least == 0 ? 0 : memcmp(a->bytes, bytes, (size_t)least);
    return order != 0 ? order : (a->length > length) - (a->length < length);
}

int gguf_by_key(const void *a, const void *b)
{
    const gguf_entry *right = b;
    return compare_text(&((const gguf_entry *)a)->key, right->key.bytes, right->key.length);
}

int gguf_by_name(const void *a, const void *b)
{
    const gguf_tensor *right = b;
    return compare_text(&((const gguf_tensor *)a)->name, right->name.bytes, right->name.length);
}

uint64_t gguf_tensor_count(const gguf_file *file)
{
    return file->tensor_count;
}

const gguf_tensor *gguf_tensor_at(const gguf_file *file, uint64_t index)
{
    return index < file->tensor_count ? &file->tensors[index] : NULL;
}

gguf_status gguf_find_tensor(const gguf_file *file, const char *name, const gguf_tensor **tensor,
                             gguf_error *error)
{
    gguf_tensor wanted = {.name = {name, strlen(name)}};
    *tensor =
        bsearch(&wanted, file->tensors, (size_t)file->tensor_count, sizeof wanted, gguf_by_name);
    if (*tensor == NULL)
        return gguf_fail(error, GGUF_ERR_MISSING, "the file has no tensor \"%s\"", name);
    return GGUF_OK;
}

static gguf_status find_entry(const gguf_file *file, const char *key, const gguf_entry **found,
                              gguf_error *error)
{
    gguf_entry wanted = {.key = {key, strlen(key)}};
    *found = bsearch(&wanted, file->entries, (size_t)file->entry_count, sizeof wanted, gguf_by_key);
    if (*found == NULL)
        return gguf_fail(error, GGUF_ERR_MISSING, "the file has no key \"%s\"", key);
    return GGUF_OK;
}

gguf_status gguf_get_u64(const gguf_file *file, const char *key, uint64_t *value, gguf_error *error)
{
    const gguf_entry *e;
    const gguf_status status = find_entry(file, key, &e, error);
    if (status != GGUF_OK)
        return status;
    const int bytes = (int)gguf_kind_bytes(e->kind);
    const int is_signed =
        e->kind == GGUF_I8 || e->kind == GGUF_I16 || e->kind == GGUF_I32 || e->kind == GGUF_I64;
    if (bytes == 0 || e->kind == GGUF_F32 || e->kind == GGUF_F64 || e->kind == GGUF_BOOL)
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is not an integer", key);
    if (is_signed && (e->value[bytes - 1] & 0x80))
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is negative", key);
    *value = gguf_little(e->value, bytes);
    return GGUF_OK;
}

gguf_status gguf_get_f32(const gguf_file *file, const char *key, float *value, gguf_error *error)
{
    const gguf_entry *e;
    const gguf_status status = find_entry(file, key, &e, error);
    if (status != GGUF_OK)
        return status;
    if (e->kind != GGUF_F32)
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is not a float", key);
    const uint32_t bits = (uint32_t)gguf_little(e->value, 4);
    memcpy(value, &bits, sizeof bits);
    return GGUF_OK;
}

gguf_status gguf_get_text(const gguf_file *file, const char *key, gguf_text *value,
                          gguf_error *error)
{
    const gguf_entry *e;
    const gguf_status status = find_entry(file, key, &e, error);
    if (status != GGUF_OK)
        return status;
    if (e->kind != GGUF_STRING)
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is not a string", key);
    value->length = gguf_little(e->value, 8);
    value->bytes = (const char *)e->value + 8;
    return GGUF_OK;
}

gguf_status gguf_get_texts(const gguf_file *file, const char *key, gguf_text **texts,
                           uint64_t *count, gguf_error *error)
{
    const gguf_entry *e;
    *texts = NULL;
    const gguf_status status = find_entry(file, key, &e, error);
    if (status != GGUF_OK)
        return status;
    if (e->kind != GGUF_ARRAY || e->item != GGUF_STRING)
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is not an array of strings", key);
    *texts = calloc((size_t)e->count + 1, sizeof **texts);
    if (*texts == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %" PRIu64 " strings", e->count);
    /* The walk needs no checks: it passed them all when the header was read. */
    const uint8_t *p = e->value;
    for (uint64_t i = 0; i < e->count; i++) {
        (*texts)[i].length = gguf_little(p, 8);
        (*texts)[i].bytes = (const char *)p + 8;
        p += 8 + (*texts)[i].length;
    }
    *count = e->count;
    return GGUF_OK;
}

gguf_status gguf_get_i32s(const gguf_file *file, const char *key, int32_t **values, uint64_t *count,
                          gguf_error *error)
{
    const gguf_entry *e;
    *values = NULL;
    const gguf_status status = find_entry(file, key, &e, error);
    if (status != GGUF_OK)
        return status;
    if (e->kind != GGUF_ARRAY || e->item != GGUF_I32)
        return gguf_fail(error, GGUF_ERR_VALUE, "key \"%s\" is not an array of int32", key);
    *values = calloc((size_t)e->count + 1, sizeof **values);
    if (*values == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %" PRIu64 " integers", e->count);
    for (uint64_t i = 0; i < e->count; i++) {
        const uint32_t bits = (uint32_t)gguf_little(e->value + 4 * i, 4);
        memcpy(*values + i, &bits, sizeof bits);
    }
    *count = e->count;
    return GGUF_OK;
}
