/* export.c: fbq-import export.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "command.h"
#include "output_folder.h"
#include "peft_pack.h"
#include "shards.h"
#include "text_file.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is collected before anything is written. */
typedef struct exporting {
    const char **names;
    size_t count;
    gptq_tensors *gptq;
    unpacked_layer *unpacked; /* only its factors are kept */
    peft_tensors *peft;       /* of those that have a sub-branch */
    peft_factors *modules;    /* likewise */
    size_t branches;
    fbq_format format; /* of the first layer */
    int symmetric;
} exporting;

/* ---- Collecting ---- */

/* One config is for all layers. */
static import_status check_same(exporting *e, size_t i, const gptq_layer *layer,
                                import_error *error)
{
    if (i == 0) {
        e->format = layer->format;
        e->symmetric = 1;
    }
    e->symmetric = e->symmetric && layer->format.zero == FBQ_ZERO_NONE;
    if (layer->format.bits == e->format.bits && layer->format.group == e->format.group)
        return IMPORT_OK;
    return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                       "%d bits in groups of %d, but \"%.160s\" has %d bits in groups of %d (0: a "
                       "row); one quantize_config.json is for one kind: export each kind of its "
                       "own, by --layer",
                       layer->format.bits, layer->format.group, e->names[0], e->format.bits,
                       e->format.group);
}

static import_status take_branch(exporting *e, size_t i, import_error *error)
{
    const unpacked_layer *u = &e->unpacked[i];
    if (u->r == 0)
        return IMPORT_OK;
    peft_factors *m = &e->modules[e->branches];
    *m = (peft_factors){.module = e->names[i],
                        .n = u->layer.n,
                        .k = u->layer.k,
                        .r = u->r,
                        .type = u->type,
                        .a = u->a,
                        .b = u->b};
    return peft_pack(m, &e->peft[e->branches++], error);
}

static import_status take_layer(exporting *e, size_t i, const safetensors_file *file,
                                import_error *error)
{
    packed_layer packed;
    unpacked_layer *u = &e->unpacked[i];
    import_status status = packed_layer_find(file, e->names[i], &packed, error);
    if (status != IMPORT_OK)
        return status; /* it names the layer */
    status = packed_layer_unpack(&packed, u, error);
    if (status == IMPORT_OK)
        status = check_same(e, i, &u->layer, error);
    if (status == IMPORT_OK)
        status = gptq_pack(&u->layer, e->names[i], &e->gptq[i], error);
    if (status == IMPORT_OK)
        status = take_branch(e, i, error);
    gptq_free(&u->layer); /* a byte a code is too much to keep */
    return status == IMPORT_OK ? status : import_within(error, status, e->names[i]);
}

static import_status take_all(const options *o, const safetensors_file *file, exporting *e,
                              import_error *error)
{
    import_status status = IMPORT_OK;
    e->gptq = calloc(e->count + 1, sizeof *e->gptq);
    e->unpacked = calloc(e->count + 1, sizeof *e->unpacked);
    e->peft = calloc(e->count + 1, sizeof *e->peft);
    e->modules = calloc(e->count + 1, sizeof *e->modules);
    if (!e->gptq || !e->unpacked || !e->peft || !e->modules)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu layers", e->count);
    for (size_t i = 0; i < e->count && status == IMPORT_OK; i++) {
        command_progress(o, i, e->count, e->names[i]);
        status = take_layer(e, i, file, error);
    }
    command_progress_end(o);
    return status;
}

static void release(exporting *e)
{
    for (size_t i = 0; e->modules && i < e->count; i++) {
        gptq_tensors_free(&e->gptq[i]);
        unpacked_layer_free(&e->unpacked[i]);
        peft_tensors_free(&e->peft[i]);
    }
    free(e->gptq);
    free(e->unpacked);
    free(e->peft);
    free(e->modules);
    free(e->names);
}

/* ---- Writing ---- */

static const char *const METADATA[][2] = {{"format", "pt"}, {"fbq_version", FBQ_VERSION_STRING}};

static import_status write_tensors(const char *path, const safetensors_tensor *tensors,
                                   size_t count, import_error *error)
{
    if (!path)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    return safetensors_write(path, tensors, count, METADATA, 2, error);
}

static import_status write_text(const char *path, const char *text, import_error *error)
{
    if (!path || !text)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a config");
    return text_file_write(path, text, error);
}

/* Both names that readers know for method and format. */
static char *quantize_config(const exporting *e)
{
    json_t *root = json_pack("{s:i, s:i, s:b, s:b, s:b, s:s, s:s, s:s, s:s, s:s, s:{s:[s]}}",
                             "bits", e->format.bits, "group_size",
                             e->format.group == FBQ_GROUP_ROW ? -1 : e->format.group, "desc_act", 0,
                             "sym", e->symmetric, "lm_head", 0, "method", "gptq", "quant_method",
                             "gptq", "format", "gptq_v2", "checkpoint_format", "gptq_v2",
                             "pack_dtype", "int32", "meta", "quantizer", "fbq:" FBQ_VERSION_STRING);
    char *json = json_dumps(root, JSON_INDENT(2));
    char *text = json ? malloc(strlen(json) + 2) : NULL;
    if (text)
        sprintf(text, "%s\n", json);
    json_decref(root);
    free(json);
    return text;
}

static import_status write_checkpoint(const exporting *e, output_folder *f, import_error *error)
{
    size_t count = 0;
    safetensors_tensor *all = malloc(GPTQ_TENSORS * e->count * sizeof *all);
    if (!all)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu layers", e->count);
    for (size_t i = 0; i < e->count; i++)
        for (size_t j = 0; j < e->gptq[i].count; j++)
            all[count++] = e->gptq[i].tensor[j];
    import_status status =
        write_tensors(output_folder_file(f, "model.safetensors"), all, count, error);
    free(all);
    if (status != IMPORT_OK)
        return status;
    char *text = quantize_config(e);
    status = write_text(output_folder_file(f, "quantize_config.json"), text, error);
    free(text);
    return status;
}

static import_status write_adapter(const options *o, const exporting *e, output_folder *f,
                                   import_error *error)
{
    char *text = NULL;
    safetensors_tensor *all = malloc(PEFT_TENSORS * e->branches * sizeof *all);
    if (!all)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu modules", e->branches);
    for (size_t i = 0; i < e->branches; i++)
        for (int j = 0; j < PEFT_TENSORS; j++)
            all[PEFT_TENSORS * i + (size_t)j] = e->peft[i].tensor[j];
    import_status status = output_folder_make(f, "adapter", error);
    if (status == IMPORT_OK)
        status = write_tensors(output_folder_file(f, "adapter/adapter_model.safetensors"), all,
                               PEFT_TENSORS * e->branches, error);
    free(all);
    if (status == IMPORT_OK)
        status = peft_config_print(e->modules, e->branches, o->base_model, o->task, &text, error);
    if (status == IMPORT_OK)
        status = write_text(output_folder_file(f, "adapter/adapter_config.json"), text, error);
    free(text);
    return status;
}

static import_status write_all(const options *o, const exporting *e, output_folder *f,
                               import_error *error)
{
    import_status status = write_checkpoint(e, f, error);
    if (status == IMPORT_OK && e->branches)
        status = write_adapter(o, e, f, error);
    return status == IMPORT_OK ? output_folder_commit(f, error) : status;
}

/* ---- The command ---- */

static import_status open_packed(const options *o, safetensors_file **file, layer_names *all,
                                 import_error *error)
{
    static const char *const weights[] = {PACKED_WEIGHTS, NULL};
    import_status status = safetensors_open_at(o->input, file, error);
    if (status != IMPORT_OK)
        return status;
    if (!packed_file_is(*file))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "%.200s: is no file of packed layers (its metadata has no "
                           "\"" PACKED_LAYOUT_VERSION "\"); what fbq-import pack writes was "
                           "expected",
                           o->input);
    return layer_names_of(*file, "", weights, all, error);
}

outcome command_export(const options *o)
{
    exporting e = {0};
    safetensors_file *file = NULL;
    layer_names all = {0};
    output_folder folder = {0};
    import_error error;
    import_status status = open_packed(o, &file, &all, &error);
    if (status == IMPORT_OK)
        status = command_choose(o, &all, &e.names, &e.count, &error);
    if (status == IMPORT_OK && e.count == 0)
        status =
            import_fail(&error, IMPORT_ERR_MISSING, "%.200s: there is no layer in it", o->input);
    if (status == IMPORT_OK) /* before the work: the place may be taken */
        status = output_folder_begin(o->output, &folder, &error);
    if (status == IMPORT_OK)
        status = take_all(o, file, &e, &error);
    if (status == IMPORT_OK)
        status = write_all(o, &e, &folder, &error);
    if (status != IMPORT_OK)
        output_folder_abandon(&folder);
    const outcome end = status == IMPORT_OK ? OUTCOME_DONE : command_failed("export", &error);
    if (status == IMPORT_OK && !o->quiet)
        fprintf(stderr, "%s: %zu layers as GPTQ version 2%s\n", o->output, e.count,
                e.branches ? ", and adapter/ for PEFT" : "");
    release(&e);
    layer_names_free(&all);
    safetensors_close(file);
    return end;
}
