/* shards.c: see shards.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "shards.h"
#include "text_file.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define INDEX "model.safetensors.index.json"

import_status safetensors_open_at(const char *path, safetensors_file **file, import_error *error)
{
    const import_status status = safetensors_open(path, file, error);
    /* that one names the path itself */
    return status == IMPORT_OK || status == IMPORT_ERR_OPEN ? status
                                                            : import_within(error, status, path);
}

/* ---- Which files ---- */

/* `names` is an object whose keys are names of files, since each counts once. */
static import_status add_name(json_t *names, const char *name, import_error *error)
{
    if (json_object_set_new(names, name, json_null()) == 0)
        return IMPORT_OK;
    return import_fail(error, IMPORT_ERR_HEADER, "\"%.200s\": no UTF-8, or no memory", name);
}

static import_status names_of_index(const json_t *index, json_t *names, import_error *error)
{
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *tensor;
    import_status status = IMPORT_OK;
    if (!json_is_object(map) || json_object_size(map) == 0)
        return import_fail(error, IMPORT_ERR_HEADER,
                           INDEX ": no \"weight_map\" that is an object of tensors");
    json_object_foreach(map, tensor, value)
    {
        const char *name = json_string_value(value);
        /* the index is untrusted: it may not lead out of the folder */
        if (!name || !*name || strchr(name, '/'))
            return import_fail(error, IMPORT_ERR_HEADER,
                               INDEX ": tensor \"%.100s\" is in \"%.100s\"; the name of a file in "
                                     "this folder was expected",
                               tensor, name ? name : "(not a text)");
        if (status == IMPORT_OK)
            status = add_name(names, name, error);
    }
    return status;
}

static import_status names_in_folder(const char *folder, json_t *names, import_error *error)
{
    static const char end[] = ".safetensors";
    import_status status = IMPORT_OK;
    DIR *open = opendir(folder);
    if (!open)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", folder, strerror(errno));
    const struct dirent *entry;
    while (status == IMPORT_OK && (entry = readdir(open)) != NULL) {
        const size_t length = strlen(entry->d_name);
        if (entry->d_name[0] != '.' && length >= sizeof end &&
            !strcmp(entry->d_name + length - (sizeof end - 1), end) &&
            strcmp(entry->d_name, "adapter_model.safetensors") != 0)
            status = add_name(names, entry->d_name, error);
    }
    closedir(open);
    if (status == IMPORT_OK && json_object_size(names) == 0)
        return import_fail(error, IMPORT_ERR_MISSING,
                           "%.200s: there is no *.safetensors in this folder", folder);
    return status;
}

/* ---- Opening ---- */

/* What the index says of one file has to be in it. */
static import_status check_index(const json_t *index, const char *name,
                                 const safetensors_file *file, import_error *error)
{
    json_t *value;
    const char *tensor;
    json_object_foreach(json_object_get(index, "weight_map"), tensor, value)
    {
        if (!strcmp(json_string_value(value), name) && !safetensors_find(file, tensor))
            return import_fail(error, IMPORT_ERR_MISSING,
                               "%.160s: there is no tensor \"%.160s\", which " INDEX
                               " says is in it",
                               name, tensor);
    }
    return IMPORT_OK;
}

static import_status open_names(const char *folder, const json_t *index, json_t *names,
                                safetensors_file **file, import_error *error)
{
    import_status status = IMPORT_OK;
    size_t count = 0;
    json_t *value;
    const char *name;
    safetensors_file **open = calloc(json_object_size(names), sizeof *open);
    if (!open)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a list of files");
    json_object_foreach(names, name, value)
    {
        char *path = text_path(folder, name);
        status = path ? safetensors_open_at(path, &open[count], error)
                      : import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
        free(path);
        if (status != IMPORT_OK)
            break;
        status = check_index(index, name, open[count++], error);
        if (status != IMPORT_OK)
            break;
    }
    if (status == IMPORT_OK)
        status = safetensors_join(open, count, file, error);
    if (status != IMPORT_OK)
        for (size_t i = 0; i < count; i++)
            safetensors_close(open[i]);
    free(open);
    return status;
}

/* The index, or NULL and IMPORT_OK where there is none. */
static import_status read_index(const char *folder, json_t **index, import_error *error)
{
    char *text, *path = text_path(folder, INDEX);
    size_t bytes;
    json_error_t where;
    *index = NULL;
    if (!path)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    import_status status = text_file_read(path, &text, &bytes, error);
    if (status == IMPORT_OK) {
        *index = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
        free(text);
        if (!*index)
            status = import_fail(error, IMPORT_ERR_HEADER, "%.160s: no JSON (line %d): %s", path,
                                 where.line, where.text);
    }
    free(path);
    return status == IMPORT_ERR_MISSING ? IMPORT_OK : status;
}

import_status shards_open(const char *folder, safetensors_file **file, import_error *error)
{
    json_t *index, *names = json_object();
    *file = NULL;
    import_status status = read_index(folder, &index, error);
    if (status == IMPORT_OK)
        status =
            index ? names_of_index(index, names, error) : names_in_folder(folder, names, error);
    if (status == IMPORT_OK)
        status = open_names(folder, index, names, file, error);
    json_decref(index);
    json_decref(names);
    return status;
}
