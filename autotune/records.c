/* records.c: see records.h.
 *
 * The text of a record is the library's; JSON is made of its fields, and turned into them again, so
 * that one parser decides what a record is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpus.h"

/* ---- JSON ---- */

/* Words that are numbers to whoever reads the JSON. */
static json_t *number_or_text(const char *word)
{
    char *end;
    const long long number = strtoll(word, &end, 10);
    return *word && !*end ? json_integer(number) : json_string(word);
}

static json_t *list_of_numbers(char *words)
{
    json_t *list = json_array();
    for (char *word = strtok(words, ","); word; word = strtok(NULL, ","))
        json_array_append_new(list, number_or_text(word));
    return list;
}

json_t *record_to_json(const fbq_record *record)
{
    char line[FBQ_RECORD_BYTES], *word = line, *next;
    json_t *object = json_object();
    fbq_record_print(record, line, sizeof line);
    for (int at = 0; word; word = next, at++) {
        char *value = strchr(word, '=');
        next = strchr(word, ' ');
        if (next)
            *next++ = 0;
        if (at == 0)
            json_object_set_new(object, "format", json_string(word));
        else if (at == 1)
            json_object_set_new(object, "kernel", json_string(word));
        else if (value) {
            *value++ = 0;
            json_object_set_new(object, word,
                                !strcmp(word, "n") || !strcmp(word, "r") ? list_of_numbers(value)
                                : !strcmp(word, "source") || !strcmp(word, "sum") ||
                                        !strcmp(word, "gpu")
                                    ? json_string(value)
                                    : number_or_text(value));
        }
    }
    json_object_del(object, "sum"); /* of the line */
    return object;
}

/* A value as a word of a line; 0 when it is none, or does not fit. */
static int word_of(const json_t *value, char *word, size_t bytes)
{
    size_t at = 0;
    if (json_is_integer(value))
        return snprintf(word, bytes, "%" JSON_INTEGER_FORMAT, json_integer_value(value)) <
               (int)bytes;
    if (json_is_string(value)) {
        const char *text = json_string_value(value);
        return !strpbrk(text, " \t\r\n") && snprintf(word, bytes, "%s", text) < (int)bytes;
    }
    if (!json_is_array(value))
        return 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *item = json_array_get(value, i);
        if (!json_is_integer(item) || at + 24 > bytes)
            return 0;
        at += (size_t)snprintf(word + at, bytes - at, "%s%" JSON_INTEGER_FORMAT, i ? "," : "",
                               json_integer_value(item));
    }
    return at > 0;
}

int record_from_json(const json_t *object, fbq_record *record, char *why, size_t bytes)
{
    char line[FBQ_RECORD_BYTES], word[512];
    const json_t *format = json_object_get(object, "format"),
                 *kernel = json_object_get(object, "kernel");
    const char *name;
    json_t *value;
    fbq_error error;
    size_t at;
    if (!json_is_string(format) || !json_is_string(kernel)) {
        snprintf(why, bytes, "expected an object with \"format\" and \"kernel\"");
        return 0;
    }
    at = (size_t)snprintf(line, sizeof line, "%.20s %.20s", json_string_value(format),
                          json_string_value(kernel));
    json_object_foreach((json_t *)object, name, value)
    {
        if (value == format || value == kernel)
            continue;
        if (!word_of(value, word, sizeof word) || strpbrk(name, " =\t\r\n") ||
            at + strlen(name) + strlen(word) + 30 > sizeof line) {
            snprintf(why, bytes, "\"%.60s\" has a value that no record has", name);
            return 0;
        }
        at += (size_t)snprintf(line + at, sizeof line - at, " %s=%s", name, word);
    }
    fbq_record_seal(line, line, sizeof line);
    if (fbq_record_parse(line, record, &error) == FBQ_OK)
        return 1;
    snprintf(why, bytes, "%s", error.detail);
    return 0;
}

json_t *interval_to_json(search_interval interval)
{
    return isfinite(interval.low)
               ? json_pack("[f, f, f]", interval.low, interval.median, interval.high)
               : json_pack("[n, f, n]", interval.median);
}

outcome json_print(const options *o, json_t *json)
{
    const int bad = !json || (o->output ? json_dump_file(json, o->output, JSON_INDENT(1))
                                        : json_dumpf(json, stdout, JSON_INDENT(1)));
    json_decref(json);
    if (bad)
        return failed(o, OUTCOME_FAILED, "cannot write JSON to %s",
                      o->output ? o->output : "standard output");
    if (!o->output)
        putchar('\n');
    return OUTCOME_DONE;
}

/* ---- Tables ---- */

const char *rung_name(fbq_rung rung)
{
    switch (rung) {
    case FBQ_RUNG_GIVEN:
        return "given";
    case FBQ_RUNG_EXACT:
        return "exact";
    case FBQ_RUNG_SHAPE:
        return "shape";
    case FBQ_RUNG_CAPABILITY:
        return "capability";
    case FBQ_RUNG_SHIPPED:
        return "shipped";
    case FBQ_RUNG_DEFAULT:
        return "default";
    }
    return "?";
}

static const char *type_name(fbq_type type)
{
    static const char *const names[] = {"?", "f16", "bf16", "f32", "i8"};
    return names[(unsigned)type < 5 ? type : 0];
}

void record_shape(const fbq_record *record, char *text, size_t bytes)
{
    const fbq_shape *shape = &record->problem.shape;
    int64_t ranks = 0;
    size_t at = 0;
    for (int s = 0; s < shape->segments && at < bytes; s++) {
        at += (size_t)snprintf(text + at, bytes - at, "%s%lld", s ? "+" : "",
                               (long long)shape->segment[s].n);
        ranks += shape->segment[s].r;
    }
    if (at < bytes)
        at += (size_t)snprintf(text + at, bytes - at, "x%lld", (long long)shape->k);
    for (int s = 0; ranks && s < shape->segments && at < bytes; s++)
        at += (size_t)snprintf(text + at, bytes - at, "%s%lld", s ? "+" : " r",
                               (long long)shape->segment[s].r);
}

void record_format(const fbq_record *record, char *text, size_t bytes)
{
    static const char *const zeros[] = {"none", "code", "f16"};
    const fbq_problem *p = &record->problem;
    const fbq_format *f = &p->format;
    char group[16];
    size_t at;
    if (f->group == FBQ_GROUP_ROW)
        strcpy(group, "row");
    else
        snprintf(group, sizeof group, "%d", f->group);
    at = (size_t)snprintf(text, bytes, "%d bits g%s zero %s, %s", f->bits, group, zeros[f->zero],
                          type_name(p->x_type));
    if (f->scale_type != p->x_type && at < bytes)
        at += (size_t)snprintf(text + at, bytes - at, " s %s", type_name(f->scale_type));
    if (f->factor_type != p->x_type && at < bytes)
        at += (size_t)snprintf(text + at, bytes - at, " A,B %s", type_name(f->factor_type));
    if (p->y_type != p->x_type && at < bytes)
        snprintf(text + at, bytes - at, " y %s", type_name(p->y_type));
}

int record_is_default(const fbq_record *record)
{
    const fbq_gpu *const known = gpus_find(record->gpu.name);
    fbq_gpu gpu;
    fbq_pick pick;
    if (!known)
        return 0;
    gpu = *known;
    gpu.sms = record->gpu.sms;
    return fbq_pick_default(&record->problem, &gpu, record->pick.kernel, &pick, NULL) == FBQ_OK &&
           !memcmp(&pick, &record->pick, sizeof pick);
}

int record_wanted(const fbq_record *record, const options *o)
{
    const fbq_shape *shape = &record->problem.shape;
    int64_t n = 0;
    for (int s = 0; s < shape->segments; s++)
        n += shape->segment[s].n;
    if (o->gpu && !gpus_name_has(record->gpu.name, o->gpu) &&
        !(gpus_find(o->gpu) && gpus_name_has(record->gpu.name, gpus_find(o->gpu)->name)))
        return 0;
    if (o->has_shape && (n != o->problem.shape.segment[0].n || shape->k != o->problem.shape.k))
        return 0;
    if (o->has_bits && record->problem.format.bits != o->problem.format.bits)
        return 0;
    if (o->no_default && record_is_default(record))
        return 0;
    return !o->has_kernel || record->pick.kernel == o->kernel;
}

fbq_wisdom *records_read(const options *o, const char *path)
{
    fbq_wisdom *wisdom = NULL;
    fbq_error error;
    fbq_status status = fbq_wisdom_new(&wisdom, &error);
    if (status == FBQ_OK)
        status = fbq_wisdom_read(wisdom, path, &error);
    if (status == FBQ_OK)
        return wisdom;
    failed(o, OUTCOME_FAILED, "%s", error.detail);
    fbq_wisdom_free(wisdom);
    return NULL;
}
