/* bench/results.c: see results.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "results.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_get(const json_t *object, const char *key, char *to, size_t bytes)
{
    const char *text = json_string_value(json_object_get(object, key));
    snprintf(to, bytes, "%s", text ? text : "unknown");
}

static double number_get(const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);
    return json_is_number(number) ? json_number_value(number) : NAN;
}

/* "fbq2/W4/g128/r128/4096x4096/M1/cold/iterations:25/manual_time" into its parts; 1: another name.
 */
static int name_split(const char *name, entry *e)
{
    char bits[24], group[12], rank[12];
    if (sscanf(name, "%31[^/]/%23[^/]/%11[^/]/%11[^/]/%31[^/]/M%d/%15[^/]", e->variant, bits, group,
               rank, e->shape, &e->m, e->weights) != 7)
        return 1;
    snprintf(e->format, sizeof e->format, "%s/%s/%s", bits, group, rank);
    snprintf(e->problem, sizeof e->problem, "%s/%s/M%d/%s", e->format, e->shape, e->m, e->weights);
    return 0;
}

/* 1 where the benchmark is none of ours or an aggregate that is not the median. */
static int entry_read(const json_t *b, entry *e)
{
    const char *name = json_string_value(json_object_get(b, "name"));
    const char *aggregate = json_string_value(json_object_get(b, "aggregate_name"));
    memset(e, 0, sizeof *e);
    if (!name || (aggregate && strcmp(aggregate, "median")) || name_split(name, e))
        return 1;
    e->failed = json_is_true(json_object_get(b, "error_occurred"));
    e->us = number_get(b, "us");
    e->failed |= !(e->us > 0);
    e->spread = number_get(b, "spread");
    e->xread = number_get(b, "xread");
    e->xread_pdl = number_get(b, "xread_pdl");
    e->extra_us = number_get(b, "extra_us");
    e->conventional_us = number_get(b, "conventional_us");
    e->removed = number_get(b, "removed");
    return 0;
}

const entry *results_find(const results *r, const char *variant, const char *problem)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp(r->entries[i].variant, variant) && !strcmp(r->entries[i].problem, problem))
            return &r->entries[i];
    return NULL;
}

static int entries_read(const json_t *list, results *r)
{
    const json_t *b;
    size_t i;
    r->entries = calloc(json_array_size(list) + 1, sizeof *r->entries);
    if (!r->entries)
        return 1;
    json_array_foreach(list, i, b)
    {
        entry e;
        if (entry_read(b, &e))
            continue;
        entry *known = (entry *)results_find(r, e.variant, e.problem);
        *(known ? known : &r->entries[r->count++]) = e;
    }
    return 0;
}

int results_read(const char *path, results *r)
{
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    const json_t *context = json_object_get(root, "context");
    const json_t *list = json_object_get(root, "benchmarks");
    memset(r, 0, sizeof *r);
    if (!root) {
        fprintf(stderr, "%s: line %d: %s\n", path, error.line, error.text);
        return 1;
    }
    text_get(context, "gpu", r->gpu, sizeof r->gpu);
    text_get(context, "driver", r->driver, sizeof r->driver);
    text_get(context, "toolkit", r->toolkit, sizeof r->toolkit);
    text_get(context, "date", r->date, sizeof r->date);
    text_get(context, "weights", r->weights, sizeof r->weights);
    text_get(context, "command", r->command, sizeof r->command);
    int failed = !json_is_array(list) || entries_read(list, r);
    json_decref(root);
    if (failed || r->count == 0) {
        fprintf(stderr, "%s: no results of fbq-bench in it: expected the file of --benchmark_out\n",
                path);
        results_free(r);
        return 1;
    }
    return 0;
}

void results_free(results *r)
{
    free(r->entries);
    memset(r, 0, sizeof *r);
}
