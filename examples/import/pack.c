/* pack.c: fbq-import pack.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "command.h"
#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct packing {
    const char **names;
    packed_layer *layers;
    report report; /* its rows; their count is that of names and layers, too */
} packing;

/* An output that is there already is replaced only when pack made it: a slip of the fingers shall
 * not cost a checkpoint. */
static import_status check_output(const char *path, import_error *error)
{
    struct stat about;
    safetensors_file *file;
    if (stat(path, &about) != 0)
        return IMPORT_OK;
    if (safetensors_open(path, &file, NULL) == IMPORT_OK) {
        const int ours = packed_file_is(file);
        safetensors_close(file);
        if (ours)
            return IMPORT_OK;
    }
    return import_fail(error, IMPORT_ERR_OPEN,
                       "--output %.200s: is there already and is no file of packed layers, so it "
                       "is not replaced; name another",
                       path);
}

static import_status pack_one(const options *o, const command_input *in, const char *name,
                              packed_layer *packed, report_row *row, import_error *error)
{
    gptq_layer layer;
    peft_adapter adapter;
    import_status status = command_read(o, in, name, &layer, &adapter, error);
    if (status != IMPORT_OK)
        return status;
    status = packed_layer_make(&layer, adapter.r ? &adapter : NULL, o->factor_type, packed, error);
    if (status == IMPORT_OK)
        *row = (report_row){
            .name = name,
            .format = packed->layout.format,
            .n = layer.n,
            .k = layer.k,
            .r = adapter.r,
            .bias = layer.bias != NULL,
            .version = layer.version,
            .evidence = layer.evidence,
            .packed = 1,
            .bytes =
                packed->parts.weights_bytes + packed->parts.down_bytes + packed->parts.up_bytes,
            .factor_change = packed->factor_change,
        };
    else
        import_within(error, status, name);
    gptq_free(&layer);
    peft_free(&adapter);
    return status;
}

static import_status pack_all(const options *o, const command_input *in, packing *p,
                              import_error *error)
{
    report *r = &p->report;
    import_status status = command_choose(o, &in->checkpoint.layers, &p->names, &r->count, error);
    if (status != IMPORT_OK)
        return status;
    p->layers = calloc(r->count + 1, sizeof *p->layers);
    r->row = calloc(r->count + 1, sizeof *r->row);
    if (!p->layers || !r->row)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu layers", r->count);
    for (size_t i = 0; i < r->count && status == IMPORT_OK; i++) {
        command_progress(o, i, r->count, p->names[i]);
        status = pack_one(o, in, p->names[i], &p->layers[i], &r->row[i], error);
    }
    command_progress_end(o);
    return status;
}

outcome command_pack(const options *o)
{
    packing p = {.report = {.input = o->input, .packing = 1}};
    command_input in = {0};
    import_error error;
    import_status status = check_output(o->output, &error);
    if (status == IMPORT_OK)
        status = command_open(o, &in, &error);
    if (status == IMPORT_OK)
        status = pack_all(o, &in, &p, &error);
    if (status == IMPORT_OK)
        status = packed_file_write(o->output, p.names, p.layers, p.report.count, &error);
    outcome end = status == IMPORT_OK ? OUTCOME_DONE : command_failed("pack", &error);
    if (status == IMPORT_OK && !report_print(&p.report, o->json)) {
        fputs("fbq-import: pack: no memory for the table; the file is written\n", stderr);
        end = OUTCOME_FAILED;
    }
    for (size_t i = 0; p.layers && i < p.report.count; i++)
        packed_layer_free(&p.layers[i]);
    free(p.layers);
    free(p.report.row);
    free(p.names);
    command_close(&in);
    return end;
}
