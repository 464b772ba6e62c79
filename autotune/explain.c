/* explain.c: which pick a problem gets, from which rung of the ladder, and what stood behind it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "gpus.h"
#include "records.h"

enum { RUNNERS_UP = 3 };

/* The GPU that --gpu names, or this machine's. */
static outcome gpu_take(const options *o, fbq_gpu *gpu)
{
    const fbq_gpu *known = o->gpu ? gpus_named(o->gpu) : NULL;
    fbq_options how;
    fbq_context *context;
    fbq_error error;
    if (known) {
        *gpu = *known;
        return OUTCOME_DONE;
    }
    if (o->gpu)
        return OUTCOME_USAGE;
    memset(&how, 0, sizeof how);
    how.device = o->device;
    how.wisdom_file = how.cubin_folder = "";
    if (fbq_open(&how, &context, &error) != FBQ_OK)
        return failed(o, OUTCOME_LACKING, "%s; --gpu names one that is elsewhere", error.detail);
    fbq_context_gpu(context, gpu);
    fbq_close(context);
    return OUTCOME_DONE;
}

/* All but one. */
static fbq_wisdom *without(const fbq_wisdom *wisdom, const fbq_record *record)
{
    char line[FBQ_RECORD_BYTES], other[FBQ_RECORD_BYTES];
    fbq_wisdom *rest = NULL;
    if (fbq_wisdom_new(&rest, NULL) != FBQ_OK)
        return NULL;
    fbq_record_print(record, line, sizeof line);
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++) {
        fbq_record_print(fbq_wisdom_record(wisdom, i), other, sizeof other);
        if (strcmp(line, other) && fbq_wisdom_add(rest, fbq_wisdom_record(wisdom, i), NULL)) {
            fbq_wisdom_free(rest);
            return NULL;
        }
    }
    return rest;
}

static json_t *found_to_json(const fbq_pick *pick, const fbq_found *found)
{
    char text[256];
    fbq_pick_print(pick, text, sizeof text);
    return json_pack("{s:s, s:s, s:o}", "rung", rung_name(found->rung), "pick", text, "record",
                     found->record.epoch ? record_to_json(&found->record) : json_null());
}

static void found_print(const fbq_pick *pick, const fbq_found *found, int place)
{
    char text[256], shape[128];
    fbq_pick_print(pick, text, sizeof text);
    printf("%s%s (%s", place ? "  behind it: " : "", text, rung_name(found->rung));
    if (found->record.epoch) {
        record_shape(&found->record, shape, sizeof shape);
        printf(": %s on %s, %d SMs", shape, found->record.gpu.name, found->record.gpu.sms);
        if (found->record.median_ns)
            printf(", %.2f us", 1e-3 * (double)found->record.median_ns);
    }
    printf(")\n");
}

/* A kernel's pick and the next that would have been taken. Releases `wisdom`. */
static outcome explain_kernel(const options *o, fbq_wisdom *wisdom, const fbq_gpu *gpu,
                              fbq_kernel kernel, int *slices, json_t *out)
{
    outcome end = OUTCOME_DONE;
    int shipped = 0;
    for (int place = 0; place <= RUNNERS_UP && wisdom; place++) {
        fbq_pick pick;
        fbq_found found;
        fbq_error error;
        fbq_wisdom *rest;
        fbq_status status =
            fbq_wisdom_find(wisdom, &o->problem, gpu, kernel, &pick, &found, &error);
        if (status == FBQ_OK && found.rung == FBQ_RUNG_DEFAULT && !shipped)
            status = fbq_pick_shipped(&o->problem, gpu, kernel, &pick, &found, &error);
        if (status != FBQ_OK) {
            end = failed(o, OUTCOME_FAILED, "%s", error.detail);
            break;
        }
        if (place == 0)
            *slices = pick.slices;
        if (out)
            json_array_append_new(out, found_to_json(&pick, &found));
        else
            found_print(&pick, &found, place);
        if (found.rung == FBQ_RUNG_DEFAULT)
            break;
        shipped = found.rung == FBQ_RUNG_SHIPPED; /* behind that there are the rules alone */
        if (shipped)
            continue;
        rest = without(wisdom, &found.record);
        fbq_wisdom_free(wisdom);
        wisdom = rest;
    }
    fbq_wisdom_free(wisdom);
    return end;
}

outcome command_explain(const options *o)
{
    static const char *const names[] = {"down", "fused"};
    fbq_gpu gpu;
    json_t *all = NULL;
    outcome end;
    int slices = 0;
    if (!o->has_shape)
        return failed(o, OUTCOME_USAGE, "which layer? --shape NxK says so");
    end = gpu_take(o, &gpu);
    if (o->json && end == OUTCOME_DONE)
        all = json_object();
    for (int kernel = FBQ_KERNEL_FUSED; kernel >= 0 && end == OUTCOME_DONE; kernel--) {
        json_t *list = NULL;
        fbq_wisdom *wisdom;
        /* a sub-branch that fused makes itself, or none, needs no down */
        if (kernel == FBQ_KERNEL_DOWN && (slices > 0 || !o->problem.shape.segment[0].r))
            break;
        wisdom = records_read(o, o->file);
        if (!wisdom)
            end = OUTCOME_FAILED;
        if (wisdom && all)
            json_object_set_new(all, names[kernel], list = json_array());
        if (wisdom)
            end = explain_kernel(o, wisdom, &gpu, (fbq_kernel)kernel, &slices, list);
    }
    if (all && end != OUTCOME_DONE) {
        json_decref(all);
        all = NULL;
    }
    return all ? json_print(o, all) : end;
}
