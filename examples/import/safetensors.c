/* safetensors.c: see safetensors.h. Jansson reads the JSON; what it says is checked here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct safetensors_file {
    json_t *header; /* owns the names */
    json_t *metadata;
    safetensors_tensor *tensor;
    size_t count;
    void *map; /* or NULL */
    size_t map_bytes;
    safetensors_file **shard; /* that this one was joined from */
    size_t shards;
};

static const struct {
    const char *name;
    int bytes;
} types[] = {
    [SAFETENSORS_OTHER] = {"another type", 0},
    [SAFETENSORS_BOOL] = {"BOOL", 1},
    [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_I8] = {"I8", 1},
    [SAFETENSORS_U16] = {"U16", 2},
    [SAFETENSORS_I16] = {"I16", 2},
    [SAFETENSORS_F16] = {"F16", 2},
    [SAFETENSORS_BF16] = {"BF16", 2},
    [SAFETENSORS_U32] = {"U32", 4},
    [SAFETENSORS_I32] = {"I32", 4},
    [SAFETENSORS_F32] = {"F32", 4},
    [SAFETENSORS_U64] = {"U64", 8},
    [SAFETENSORS_I64] = {"I64", 8},
    [SAFETENSORS_F64] = {"F64", 8},
};

static safetensors_type known(safetensors_type type)
{
    return (size_t)type < sizeof types / sizeof *types ? type : SAFETENSORS_OTHER;
}

const char *safetensors_type_name(safetensors_type type)
{
    return types[known(type)].name;
}

int safetensors_type_bytes(safetensors_type type)
{
    return types[known(type)].bytes;
}

static safetensors_type type_of(const char *name)
{
    for (size_t i = SAFETENSORS_BOOL; i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i].name))
            return (safetensors_type)i;
    return SAFETENSORS_OTHER;
}

/* ---- The header ---- */

/* A JSON integer that is not negative. */
static int read_count(const json_t *value, uint64_t *count)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return 0;
    *count = (uint64_t)json_integer_value(value);
    return 1;
}

static import_status read_shape(safetensors_tensor *t, const json_t *shape, import_error *error)
{
    uint64_t elements = 1;
    const uint64_t size = (uint64_t)types[t->type].bytes;
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS)
        return import_fail(error, IMPORT_ERR_HEADER,
                           "\"shape\" of tensor \"%.64s\" is not an array of up to %d numbers",
                           t->name, SAFETENSORS_MAX_DIMS);
    t->dims = (int)json_array_size(shape);
    for (int i = 0; i < t->dims; i++) {
        if (!read_count(json_array_get(shape, (size_t)i), &t->dim[i]))
            return import_fail(error, IMPORT_ERR_HEADER,
                               "\"shape\" of tensor \"%.64s\" holds something other than counts",
                               t->name);
        if (t->dim[i] && elements > UINT64_MAX / t->dim[i])
            return import_fail(error, IMPORT_ERR_HEADER,
                               "tensor \"%.64s\" has more elements than 64 bits can count",
                               t->name);
        elements *= t->dim[i];
    }
    if (size && (elements > UINT64_MAX / size || elements * size != t->bytes))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "tensor \"%.64s\" has %" PRIu64 " bytes, but its %" PRIu64
                           " elements of %s take another number",
                           t->name, t->bytes, elements, types[t->type].name);
    return IMPORT_OK;
}

static import_status read_tensor(safetensors_tensor *t, const char *name, const json_t *value,
                                 const uint8_t *data, uint64_t bytes, import_error *error)
{
    const json_t *dtype = json_object_get(value, "dtype");
    const json_t *offsets = json_object_get(value, "data_offsets");
    uint64_t begin, end;
    t->name = name;
    if (!json_is_string(dtype))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "tensor \"%.64s\" has no \"dtype\" that is a text", name);
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !read_count(json_array_get(offsets, 0), &begin) ||
        !read_count(json_array_get(offsets, 1), &end))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "\"data_offsets\" of tensor \"%.64s\" are not two counts", name);
    if (begin > end || end > bytes)
        return import_fail(error, IMPORT_ERR_RANGE,
                           "tensor \"%.64s\" lies from byte %" PRIu64 " to %" PRIu64
                           ", but the file has %" PRIu64 " bytes of tensors: fetch it again",
                           name, begin, end, bytes);
    t->type = type_of(json_string_value(dtype));
    t->data = data + begin;
    t->bytes = end - begin;
    return read_shape(t, json_object_get(value, "shape"), error);
}

static import_status read_metadata(safetensors_file *f, json_t *metadata, import_error *error)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return import_fail(error, IMPORT_ERR_HEADER, "\"__metadata__\" is not an object");
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return import_fail(error, IMPORT_ERR_HEADER,
                               "\"__metadata__\" has \"%.64s\", which is not a text", key);
    }
    f->metadata = metadata;
    return IMPORT_OK;
}

static int compare_places(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    if (x->data != y->data)
        return x->data < y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes; /* empty ones first */
}

static int compare_names(const void *a, const void *b)
{
    const safetensors_tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* Do the tensors fill the data, each byte once? Leaves them in order of their names. */
static import_status check_places(safetensors_file *f, const uint8_t *data, uint64_t bytes,
                                  import_error *error)
{
    uint64_t filled = 0;
    qsort(f->tensor, f->count, sizeof *f->tensor, compare_places);
    for (size_t i = 0; i < f->count; i++) {
        const safetensors_tensor *t = &f->tensor[i];
        const uint64_t begin = (uint64_t)(t->data - data);
        if (begin != filled)
            return import_fail(error, IMPORT_ERR_RANGE,
                               "tensor \"%.64s\" begins at byte %" PRIu64 ", where %" PRIu64
                               " was expected: tensors %s",
                               t->name, begin, filled, begin < filled ? "overlap" : "leave a gap");
        filled += t->bytes;
    }
    if (filled != bytes)
        return import_fail(error, IMPORT_ERR_RANGE,
                           "the tensors end after %" PRIu64 " of %" PRIu64 " bytes", filled, bytes);
    qsort(f->tensor, f->count, sizeof *f->tensor, compare_names);
    return IMPORT_OK;
}

static import_status read_header(safetensors_file *f, const uint8_t *memory, uint64_t bytes,
                                 import_error *error)
{
    uint64_t length = 0;
    json_error_t where;
    const char *name;
    json_t *value;
    if (bytes < 8)
        return import_fail(error, IMPORT_ERR_TRUNCATED,
                           "a file of %" PRIu64 " bytes has no length of a header", bytes);
    for (int i = 8; i-- > 0;)
        length = length << 8 | memory[i];
    if (length > SAFETENSORS_MAX_HEADER)
        return import_fail(error, IMPORT_ERR_HEADER,
                           "a header of %" PRIu64 " bytes: up to %d were expected. Is it a "
                           "safetensors file?",
                           length, SAFETENSORS_MAX_HEADER);
    if (length > bytes - 8)
        return import_fail(error, IMPORT_ERR_TRUNCATED,
                           "the header has %" PRIu64 " bytes but the file ends after %" PRIu64
                           ": fetch it again",
                           length, bytes - 8);
    if (length == 0 || memory[8] != '{')
        return import_fail(error, IMPORT_ERR_HEADER, "the header does not begin with \"{\"");
    f->header =
        json_loadb((const char *)memory + 8, (size_t)length, JSON_REJECT_DUPLICATES, &where);
    if (!f->header)
        return import_fail(error, IMPORT_ERR_HEADER, "the header is no JSON (byte %d): %s",
                           where.position, where.text);
    f->tensor = calloc(json_object_size(f->header) + 1, sizeof *f->tensor);
    if (!f->tensor)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu tensors",
                           json_object_size(f->header));
    const uint8_t *data = memory + 8 + length;
    json_object_foreach(f->header, name, value)
    {
        const import_status status =
            !strcmp(name, "__metadata__")
                ? read_metadata(f, value, error)
                : read_tensor(&f->tensor[f->count++], name, value, data, bytes - 8 - length, error);
        if (status != IMPORT_OK)
            return status;
    }
    return check_places(f, data, bytes - 8 - length, error);
}

/* ---- The file ---- */

import_status safetensors_parse(const void *memory, size_t bytes, safetensors_file **file,
                                import_error *error)
{
    if (file)
        *file = NULL;
    if (!file || !memory)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL", file ? "memory" : "file");
    safetensors_file *f = calloc(1, sizeof *f);
    if (!f)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a file");
    const import_status status = read_header(f, memory, bytes, error);
    if (status == IMPORT_OK)
        *file = f;
    else
        safetensors_close(f);
    return status;
}

import_status safetensors_open(const char *path, safetensors_file **file, import_error *error)
{
    if (file)
        *file = NULL;
    if (!file || !path)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL", file ? "path" : "file");
    struct stat about;
    const int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(errno));
    void *map = MAP_FAILED;
    const char *why = NULL;
    if (fstat(handle, &about) != 0)
        why = strerror(errno);
    else if (!S_ISREG(about.st_mode))
        why = "not a file";
    else if (about.st_size == 0)
        why = "empty";
    else if ((map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, handle, 0)) ==
             MAP_FAILED)
        why = strerror(errno);
    close(handle);
    if (why)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, why);
    const import_status status = safetensors_parse(map, (size_t)about.st_size, file, error);
    if (status != IMPORT_OK) {
        munmap(map, (size_t)about.st_size);
        return status;
    }
    (*file)->map = map;
    (*file)->map_bytes = (size_t)about.st_size;
    return IMPORT_OK;
}

import_status safetensors_join(safetensors_file *const *files, size_t count,
                               safetensors_file **joined, import_error *error)
{
    size_t tensors = 0;
    if (joined)
        *joined = NULL;
    if (!joined || !files)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL", joined ? "files" : "joined");
    for (size_t i = 0; i < count; i++)
        tensors += files[i]->count;
    safetensors_file *f = calloc(1, sizeof *f);
    if (f) {
        f->tensor = calloc(tensors + 1, sizeof *f->tensor);
        f->shard = calloc(count + 1, sizeof(safetensors_file *));
    }
    if (!f || !f->tensor || !f->shard) {
        safetensors_close(f);
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu tensors", tensors);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < files[i]->count; j++)
            f->tensor[f->count++] = files[i]->tensor[j];
    qsort(f->tensor, f->count, sizeof *f->tensor, compare_names);
    for (size_t i = 1; i < f->count; i++)
        if (!strcmp(f->tensor[i - 1].name, f->tensor[i].name)) {
            const import_status status = import_fail(
                error, IMPORT_ERR_HEADER, "two files have a tensor \"%.200s\"", f->tensor[i].name);
            safetensors_close(f);
            return status;
        }
    memcpy(f->shard, files, count * sizeof(safetensors_file *));
    f->shards = count;
    *joined = f;
    return IMPORT_OK;
}

void safetensors_close(safetensors_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < file->shards; i++)
        safetensors_close(file->shard[i]);
    free(file->shard);
    json_decref(file->header);
    free(file->tensor);
    if (file->map)
        munmap(file->map, file->map_bytes);
    free(file);
}

/* ---- What is in it ---- */

size_t safetensors_count(const safetensors_file *file)
{
    return file->count;
}

const safetensors_tensor *safetensors_at(const safetensors_file *file, size_t index)
{
    return index < file->count ? &file->tensor[index] : NULL;
}

const safetensors_tensor *safetensors_find(const safetensors_file *file, const char *name)
{
    const safetensors_tensor key = {.name = name};
    return bsearch(&key, file->tensor, file->count, sizeof key, compare_names);
}

const char *safetensors_metadata(const safetensors_file *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

uint16_t safetensors_u16(const safetensors_tensor *tensor, uint64_t index)
{
    const uint8_t *p = tensor->data + 2 * index;
    return (uint16_t)(p[0] | p[1] << 8);
}

uint32_t safetensors_u32(const safetensors_tensor *tensor, uint64_t index)
{
    const uint8_t *p = tensor->data + 4 * index;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
