/* safetensors_write.c: see safetensors.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "safetensors.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    const safetensors_tensor *const *x = a, *const *y = b;
    const int wider = safetensors_type_bytes((*y)->type) - safetensors_type_bytes((*x)->type);
    return wider ? wider : strcmp((*x)->name, (*y)->name);
}

static import_status check(const safetensors_tensor *t, import_error *error)
{
    uint64_t bytes = (uint64_t)safetensors_type_bytes(t->type);
    if (!t->name || !bytes || t->dims < 0 || t->dims > SAFETENSORS_MAX_DIMS ||
        (!t->data && t->bytes))
        return import_fail(error, IMPORT_ERR_ARGUMENT,
                           "tensor \"%.64s\" has no name, data or type, or %d dimensions",
                           t->name ? t->name : "", t->dims);
    for (int i = 0; i < t->dims; i++) {
        if (t->dim[i] > INT64_MAX || (t->dim[i] && bytes > INT64_MAX / t->dim[i]))
            return import_fail(error, IMPORT_ERR_ARGUMENT, "tensor \"%.64s\" is too large",
                               t->name);
        bytes *= t->dim[i];
    }
    if (bytes != t->bytes)
        return import_fail(error, IMPORT_ERR_ARGUMENT,
                           "tensor \"%.64s\" has %" PRIu64 " bytes; its shape takes %" PRIu64,
                           t->name, t->bytes, bytes);
    return IMPORT_OK;
}

/* One entry of the header; *end moves behind the tensor. */
static int add_tensor(json_t *header, const safetensors_tensor *t, uint64_t *end)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->dims; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)t->dim[i])) != 0) {
            json_decref(shape);
            return 0;
        }
    const json_int_t begin = (json_int_t)*end;
    *end += t->bytes;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", safetensors_type_name(t->type),
                              "shape", shape, "data_offsets", begin, (json_int_t)*end);
    return entry && json_object_set_new(header, t->name, entry) == 0;
}

/* The header as text, padded with blanks so that the tensors begin at a multiple of 8. */
static import_status print_header(const safetensors_tensor *const *sorted, size_t count,
                                  const char *const (*metadata)[2], size_t pairs, char **text,
                                  import_error *error)
{
    json_t *header = json_object();
    uint64_t end = 0;
    import_status status = IMPORT_OK;
    *text = NULL;
    if (pairs) {
        json_t *texts = json_object();
        for (size_t i = 0; i < pairs; i++)
            if (json_object_set_new(texts, metadata[i][0], json_string(metadata[i][1])) != 0)
                status = import_fail(error, IMPORT_ERR_ARGUMENT, "metadata %zu is no UTF-8", i);
        json_object_set_new(header, "__metadata__", texts);
    }
    for (size_t i = 0; i < count && status == IMPORT_OK; i++)
        if (json_object_get(header, sorted[i]->name))
            status = import_fail(error, IMPORT_ERR_ARGUMENT, "two tensors are named \"%.64s\"",
                                 sorted[i]->name);
        else if (!add_tensor(header, sorted[i], &end))
            status = import_fail(error, IMPORT_ERR_ARGUMENT, "the name \"%.64s\" is no UTF-8",
                                 sorted[i]->name);
    char *plain = status == IMPORT_OK ? json_dumps(header, JSON_COMPACT) : NULL;
    if (status == IMPORT_OK) {
        const size_t length = plain ? strlen(plain) : 0, padded = (length + 7) / 8 * 8;
        *text = plain ? malloc(padded + 1) : NULL;
        if (*text) {
            memcpy(*text, plain, length);
            memset(*text + length, ' ', padded - length);
            (*text)[padded] = 0;
        } else {
            status = import_fail(error, IMPORT_ERR_MEMORY, "no memory for a header");
        }
    }
    free(plain);
    json_decref(header);
    return status;
}

static int write_all(FILE *f, const char *header, const safetensors_tensor *const *sorted,
                     size_t count)
{
    const size_t length = strlen(header);
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)length >> 8 * i);
    int good = fwrite(bytes, 1, 8, f) == 8 && fwrite(header, 1, length, f) == length;
    for (size_t i = 0; i < count && good; i++)
        good = sorted[i]->bytes == 0 ||
               fwrite(sorted[i]->data, 1, (size_t)sorted[i]->bytes, f) == sorted[i]->bytes;
    return good && fflush(f) == 0 && fsync(fileno(f)) == 0;
}

static import_status write_file(const char *path, const char *header,
                                const safetensors_tensor *const *sorted, size_t count,
                                import_error *error)
{
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.%ld.part", path, (long)getpid()) >=
        sizeof beside)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "path has %zu characters, too many",
                           strlen(path));
    FILE *f = fopen(beside, "wb");
    if (!f)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", beside, strerror(errno));
    int why = write_all(f, header, sorted, count) ? 0 : errno;
    if (fclose(f) != 0 && !why)
        why = errno;
    if (!why && rename(beside, path) != 0)
        why = errno;
    if (!why)
        return IMPORT_OK;
    remove(beside);
    return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(why));
}

import_status safetensors_write(const char *path, const safetensors_tensor *tensors, size_t count,
                                const char *const (*metadata)[2], size_t pairs, import_error *error)
{
    if (!path || (!tensors && count) || (!metadata && pairs))
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !path      ? "path"
                           : !tensors ? "tensors"
                                      : "metadata");
    for (size_t i = 0; i < count; i++) {
        const import_status status = check(&tensors[i], error);
        if (status != IMPORT_OK)
            return status;
    }
    char *header = NULL;
    const safetensors_tensor **sorted = malloc((count + 1) * sizeof *sorted);
    if (!sorted)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu tensors", count);
    for (size_t i = 0; i < count; i++)
        sorted[i] = &tensors[i];
    qsort(sorted, count, sizeof *sorted, compare);
    import_status status = print_header(sorted, count, metadata, pairs, &header, error);
    if (status == IMPORT_OK)
        status = write_file(path, header, sorted, count, error);
    free(header);
    free(sorted);
    return status;
}
