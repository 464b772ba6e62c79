/* command.c: see command.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

outcome command_failed(const char *what, const import_error *error)
{
    fprintf(stderr, "fbq-import: %s: %s\n", what, error->detail);
    return error->status == IMPORT_ERR_UNSUPPORTED ? OUTCOME_REFUSED : OUTCOME_FAILED;
}

/* ---- Progress ---- */

void command_progress(const options *o, size_t index, size_t count, const char *name)
{
    if (o->quiet)
        return;
    /* to the line's end, since the name before may have been longer */
    fprintf(stderr, isatty(STDERR_FILENO) ? "\r%zu/%zu %s\33[K" : "%zu/%zu %s\n", index + 1, count,
            name);
}

void command_progress_end(const options *o)
{
    if (!o->quiet && isatty(STDERR_FILENO))
        fputs("\r\33[K", stderr);
}

/* ---- Which layers ---- */

import_status command_choose(const options *o, const layer_names *all, const char ***chosen,
                             size_t *count, import_error *error)
{
    *count = 0;
    *chosen = malloc((all->count + 1) * sizeof **chosen);
    if (!*chosen)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu names", all->count);
    for (int i = 0; i < o->layers; i++) {
        size_t found = 0;
        for (size_t j = 0; j < all->count; j++)
            found += (size_t)layer_name_below(all->name[j], o->layer[i]);
        if (!found)
            return import_fail(error, IMPORT_ERR_MISSING,
                               "--layer %.160s: none of the %zu layers of %.160s has this name or "
                               "is below it; fbq-import list shows them",
                               o->layer[i], all->count, o->input);
    }
    for (size_t j = 0; j < all->count; j++) {
        int wanted = o->layers == 0;
        for (int i = 0; i < o->layers; i++)
            wanted = wanted || layer_name_below(all->name[j], o->layer[i]);
        if (wanted)
            (*chosen)[(*count)++] = all->name[j];
    }
    return IMPORT_OK;
}

/* ---- The input ---- */

/* A part of the adapter that would be dropped in silence: most often a name that differs. */
static import_status check_unused(const options *o, const command_input *in, import_error *error)
{
    const layer_names *modules = &in->adapter.modules;
    for (size_t i = 0; i < modules->count; i++)
        if (!layer_names_have(&in->checkpoint.layers, modules->name[i]))
            return import_fail(error, IMPORT_ERR_MISSING,
                               "--adapter %.120s: it has A and B of \"%.120s\", which is no "
                               "quantised layer of the checkpoint; --partial leaves such out",
                               o->adapter, modules->name[i]);
    return IMPORT_OK;
}

import_status command_open(const options *o, command_input *in, import_error *error)
{
    memset(in, 0, sizeof *in);
    import_status status = checkpoint_open(o->input, o->config, &in->checkpoint, error);
    if (status == IMPORT_OK && o->adapter) {
        status = adapter_folder_open(o->adapter, &in->adapter, error);
        if (status == IMPORT_OK && !o->partial)
            status = check_unused(o, in, error);
    }
    if (status != IMPORT_OK)
        command_close(in);
    return status;
}

void command_close(command_input *in)
{
    checkpoint_close(&in->checkpoint);
    adapter_folder_close(&in->adapter);
}

static import_status read_branch(const options *o, const command_input *in, const char *name,
                                 peft_adapter *adapter, import_error *error)
{
    const int merged = !o->no_merged && checkpoint_has_branch(&in->checkpoint, name);
    if (!o->adapter)
        return merged ? peft_read(in->checkpoint.file, name, NULL, adapter, error) : IMPORT_OK;
    const int there = layer_names_have(&in->adapter.modules, name);
    if (merged && there)
        return import_fail(error, IMPORT_ERR_VALUE,
                           "the checkpoint itself holds lora_A and lora_B of this layer, and so "
                           "does --adapter; --no-merged leaves the former out");
    if (merged)
        return peft_read(in->checkpoint.file, name, NULL, adapter, error);
    if (!there && o->partial)
        return IMPORT_OK;
    if (!there)
        return import_fail(error, IMPORT_ERR_MISSING,
                           "--adapter %.160s has no lora_A and no lora_B of this layer; --partial "
                           "packs such layers without",
                           o->adapter);
    return peft_read(in->adapter.file, name, in->adapter.config, adapter, error);
}

import_status command_read(const options *o, const command_input *in, const char *name,
                           gptq_layer *layer, peft_adapter *adapter, import_error *error)
{
    memset(adapter, 0, sizeof *adapter);
    import_status status =
        gptq_read(in->checkpoint.file, name, &in->checkpoint.config, o->gptq_version, layer, error);
    if (status != IMPORT_OK)
        return import_within(error, status, name);
    status = read_branch(o, in, name, adapter, error);
    if (status != IMPORT_OK) {
        gptq_free(layer);
        return import_within(error, status, name);
    }
    return status;
}
