/* list.c: fbq-import list.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "command.h"
#include "report.h"
#include "shards.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static outcome print(const report *r, const options *o)
{
    if (report_print(r, o->json))
        return OUTCOME_DONE;
    fputs("fbq-import: list: no memory, or a name that is no UTF-8\n", stderr);
    return OUTCOME_FAILED;
}

/* ---- A checkpoint ---- */

/* A layer that cannot be read is a row, too: the reason is what one lists for. */
static void fill_row(const options *o, const command_input *in, const char *name, report_row *row)
{
    gptq_layer layer;
    peft_adapter adapter;
    import_error error;
    *row = (report_row){.name = name};
    if (command_read(o, in, name, &layer, &adapter, &error) != IMPORT_OK) {
        row->refused = 1;
        memcpy(row->why, error.detail, sizeof row->why);
        return;
    }
    row->format = layer.format;
    row->n = layer.n;
    row->k = layer.k;
    row->r = adapter.r;
    row->bias = layer.bias != NULL;
    row->version = layer.version;
    row->evidence = layer.evidence;
    gptq_free(&layer);
    peft_free(&adapter);
}

static outcome list_checkpoint(const options *o)
{
    command_input in;
    import_error error;
    const char **names = NULL;
    report r = {.input = o->input};
    if (command_open(o, &in, &error) != IMPORT_OK)
        return command_failed("list", &error);
    import_status status = command_choose(o, &in.checkpoint.layers, &names, &r.count, &error);
    if (status == IMPORT_OK) {
        r.row = calloc(r.count + 1, sizeof *r.row);
        if (!r.row)
            status = import_fail(&error, IMPORT_ERR_MEMORY, "no memory for %zu rows", r.count);
    }
    for (size_t i = 0; i < r.count && status == IMPORT_OK; i++) {
        command_progress(o, i, r.count, names[i]);
        fill_row(o, &in, names[i], &r.row[i]);
    }
    command_progress_end(o);
    const outcome end = status == IMPORT_OK ? print(&r, o) : command_failed("list", &error);
    free(r.row);
    free(names);
    command_close(&in);
    return end;
}

/* ---- A file of packed layers ---- */

static void fill_packed(const safetensors_file *file, const char *name, report_row *row)
{
    packed_layer p;
    import_error error;
    *row = (report_row){.name = name};
    if (packed_layer_find(file, name, &p, &error) != IMPORT_OK) {
        row->refused = 1;
        memcpy(row->why, error.detail, sizeof row->why);
        return;
    }
    row->format = p.layout.format;
    row->n = p.layout.n;
    row->k = p.layout.shape.k;
    for (int i = 0; i < p.layout.shape.segments; i++)
        row->r += p.layout.shape.segment[i].r;
    row->bias = p.bias != NULL;
    row->packed = 1;
    row->bytes = p.parts.weights_bytes + p.parts.down_bytes + p.parts.up_bytes;
}

static outcome list_packed(const options *o, const safetensors_file *file)
{
    static const char *const weights[] = {PACKED_WEIGHTS, NULL};
    const char *fbq = safetensors_metadata(file, PACKED_FBQ_VERSION);
    const char **names = NULL;
    import_error error;
    layer_names all;
    report r = {.input = o->input,
                .layout_version = safetensors_metadata(file, PACKED_LAYOUT_VERSION),
                .fbq_version = fbq ? fbq : "of an unknown version"};
    if (o->adapter || o->config || o->gptq_version || o->no_merged) {
        fprintf(stderr,
                "fbq-import: list: %s is a file of packed layers; --adapter, --config, "
                "--gptq-version and --no-merged are for checkpoints\n",
                o->input);
        return OUTCOME_USAGE;
    }
    import_status status = layer_names_of(file, "", weights, &all, &error);
    if (status != IMPORT_OK)
        return command_failed("list", &error);
    status = command_choose(o, &all, &names, &r.count, &error);
    if (status == IMPORT_OK) {
        r.row = calloc(r.count + 1, sizeof *r.row);
        if (!r.row)
            status = import_fail(&error, IMPORT_ERR_MEMORY, "no memory for %zu rows", r.count);
    }
    for (size_t i = 0; i < r.count && status == IMPORT_OK; i++)
        fill_packed(file, names[i], &r.row[i]);
    const outcome end = status == IMPORT_OK ? print(&r, o) : command_failed("list", &error);
    free(r.row);
    free(names);
    layer_names_free(&all);
    return end;
}

outcome command_list(const options *o)
{
    struct stat about;
    safetensors_file *file;
    import_error error;
    if (stat(o->input, &about) != 0 || !S_ISREG(about.st_mode))
        return list_checkpoint(o);
    if (safetensors_open_at(o->input, &file, &error) != IMPORT_OK)
        return command_failed("list", &error);
    const outcome end = packed_file_is(file) ? list_packed(o, file) : list_checkpoint(o);
    safetensors_close(file);
    return end;
}
