/* checkpoint.c: see checkpoint.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "checkpoint.h"
#include "shards.h"
#include "text_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- The config ---- */

static import_status read_config(const char *path, gptq_config *config, import_error *error)
{
    char *text;
    size_t bytes;
    import_status status = text_file_read(path, &text, &bytes, error);
    if (status != IMPORT_OK)
        return status;
    status = gptq_config_parse(text, bytes, config, error);
    free(text);
    return status == IMPORT_OK ? status : import_within(error, status, path);
}

/* Either of the two names in a folder. */
static import_status find_config(const char *folder, gptq_config *config, import_error *error)
{
    static const char *const name[] = {"quantize_config.json", "config.json"};
    import_status status = IMPORT_ERR_MISSING;
    for (int i = 0; i < 2 && status == IMPORT_ERR_MISSING; i++) {
        char *path = text_path(folder, name[i]);
        if (!path)
            return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
        status = read_config(path, config, error);
        free(path);
    }
    if (status == IMPORT_ERR_MISSING)
        return import_fail(error, status,
                           "%.200s: there is no quantize_config.json and no config.json, which "
                           "tell bits and group size; name such a file (--config)",
                           folder);
    return status;
}

/* The folder that a file lies in, to be released with free. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return text_path(NULL, ".");
    char *folder = text_path(NULL, path);
    if (folder)
        folder[slash == path ? 1 : slash - path] = 0;
    return folder;
}

/* ---- The checkpoint ---- */

static import_status open_all(const char *path, const char *config, checkpoint *c,
                              import_error *error)
{
    static const char *const qweight[] = {".qweight", NULL};
    struct stat about;
    if (stat(path, &about) != 0)
        return import_fail(error, IMPORT_ERR_MISSING,
                           "%.200s: there is no such file or folder; a checkpoint's folder or one "
                           "safetensors file was expected",
                           path);
    const int is_folder = S_ISDIR(about.st_mode);
    char *folder = is_folder ? text_path(NULL, path) : folder_of(path);
    if (!folder)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    import_status status =
        config ? read_config(config, &c->config, error) : find_config(folder, &c->config, error);
    free(folder);
    if (status == IMPORT_OK)
        status = is_folder ? shards_open(path, &c->file, error)
                           : safetensors_open_at(path, &c->file, error);
    if (status == IMPORT_OK)
        status = layer_names_of(c->file, "", qweight, &c->layers, error);
    if (status == IMPORT_OK && c->layers.count == 0)
        status = import_fail(error, IMPORT_ERR_MISSING,
                             "%.200s: no tensor is named <layer>.qweight, so no layer is "
                             "quantised as GPTQ",
                             path);
    return status;
}

import_status checkpoint_open(const char *path, const char *config, checkpoint *c,
                              import_error *error)
{
    memset(c, 0, sizeof *c);
    const import_status status = open_all(path, config, c, error);
    if (status != IMPORT_OK)
        checkpoint_close(c);
    return status;
}

void checkpoint_close(checkpoint *c)
{
    layer_names_free(&c->layers);
    safetensors_close(c->file);
    memset(c, 0, sizeof *c);
}

int checkpoint_has_branch(const checkpoint *c, const char *layer)
{
    static const char *const end[] = {".lora_A", ".lora_B"};
    char name[512];
    int found = 0;
    for (int i = 0; i < 2; i++)
        if ((size_t)snprintf(name, sizeof name, "%s%s", layer, end[i]) < sizeof name)
            found = found || safetensors_find(c->file, name);
    return found;
}

/* ---- The adapter ---- */

static import_status open_adapter(const char *config_path, const char *file_path, adapter_folder *a,
                                  import_error *error)
{
    /* half a pair is a module, too: reading it says what is missing */
    static const char *const halves[] = {".lora_A.weight", ".lora_B.weight", ".lora_A", ".lora_B",
                                         NULL};
    char *text;
    size_t bytes;
    import_status status = text_file_read(config_path, &text, &bytes, error);
    if (status != IMPORT_OK)
        return status;
    status = peft_config_parse(text, bytes, &a->config, error);
    free(text);
    if (status != IMPORT_OK)
        return import_within(error, status, config_path);
    status = safetensors_open_at(file_path, &a->file, error);
    if (status == IMPORT_OK)
        status = layer_names_of(a->file, "base_model.model.", halves, &a->modules, error);
    return status;
}

import_status adapter_folder_open(const char *path, adapter_folder *a, import_error *error)
{
    memset(a, 0, sizeof *a);
    char *config_path = text_path(path, "adapter_config.json");
    char *file_path = text_path(path, "adapter_model.safetensors");
    const import_status status =
        config_path && file_path ? open_adapter(config_path, file_path, a, error)
                                 : import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    free(config_path);
    free(file_path);
    if (status != IMPORT_OK)
        adapter_folder_close(a);
    return status;
}

void adapter_folder_close(adapter_folder *a)
{
    layer_names_free(&a->modules);
    peft_config_free(a->config);
    safetensors_close(a->file);
    memset(a, 0, sizeof *a);
}
