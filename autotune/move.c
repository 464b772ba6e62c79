/* move.c: records into a file of wisdom and out of it, as lines or as JSON.
 *
 * What comes in comes whole or not at all: every input is read before the file is touched.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "records.h"

enum { MOST_BYTES = 64 << 20 }; /* of an input */

/* All of a file, "-" being standard input, with a NUL behind it; NULL after a message. */
static char *input_read(const options *o, const char *path, size_t *bytes)
{
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    char *text = NULL;
    size_t room = 0, got = 0;
    if (!file) {
        failed(o, OUTCOME_FAILED, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    *bytes = 0;
    do {
        if (*bytes + 65536 > room) {
            char *grown = realloc(text, room = 2 * room + 131072);
            if (!grown) {
                free(text);
                text = NULL;
                failed(o, OUTCOME_FAILED, "no memory for %s", path);
                break;
            }
            text = grown;
        }
        got = fread(text + *bytes, 1, 65535, file);
        *bytes += got;
    } while (got > 0 && *bytes <= MOST_BYTES);
    if (text && (ferror(file) || *bytes > MOST_BYTES)) {
        failed(o, OUTCOME_FAILED, "cannot read %s: %s", path,
               *bytes > MOST_BYTES ? "it is longer than 64 MB" : strerror(errno));
        free(text);
        text = NULL;
    }
    if (file != stdin)
        fclose(file);
    if (text)
        text[*bytes] = 0;
    return text;
}

/* What could not be taken: a message, and whether that is the end. */
static int damaged(const options *o, const char *path, size_t place, const char *why)
{
    fprintf(stderr, "fbq-tune: %s: %s:%zu: %s%s\n", o->command_name, path, place, why,
            o->skip_damaged ? " (left out)" : "");
    return o->skip_damaged;
}

static int take_lines(const options *o, const char *path, char *text, size_t bytes,
                      fbq_wisdom *wisdom)
{
    size_t number = 1;
    for (char *line = text; line < text + bytes; number++) {
        char *end = memchr(line, '\n', (size_t)(text + bytes - line));
        fbq_record record;
        fbq_error error;
        fbq_status status = FBQ_OK;
        if (!end)
            end = text + bytes;
        *end = 0;
        if (*line && *line != '#')
            status = fbq_record_parse(line, &record, &error);
        if (status == FBQ_OK && *line && *line != '#')
            status = fbq_wisdom_add(wisdom, &record, &error);
        if (status == FBQ_OK && strlen(line) != (size_t)(end - line))
            status = FBQ_ERR_WISDOM,
            snprintf(error.detail, sizeof error.detail, "the line has a NUL in it");
        if (status != FBQ_OK && !damaged(o, path, number, error.detail))
            return 0;
        line = end + 1;
    }
    return 1;
}

static int take_json(const options *o, const char *path, const char *text, size_t bytes,
                     fbq_wisdom *wisdom)
{
    json_error_t where;
    json_t *list = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    int good = 1;
    if (!json_is_array(list)) {
        failed(o, OUTCOME_FAILED, "%s:%d: %s", path, list ? 1 : where.line,
               list ? "expected an array of records" : where.text);
        json_decref(list);
        return 0;
    }
    for (size_t i = 0; good && i < json_array_size(list); i++) {
        fbq_record record;
        fbq_error error;
        char why[600];
        if (!record_from_json(json_array_get(list, i), &record, why, sizeof why))
            good = damaged(o, path, i + 1, why);
        else if (fbq_wisdom_add(wisdom, &record, &error) != FBQ_OK)
            good = damaged(o, path, i + 1, error.detail);
    }
    json_decref(list);
    return good;
}

static int take_input(const options *o, const char *path, fbq_wisdom *wisdom)
{
    size_t bytes, first;
    char *text = input_read(o, path, &bytes);
    int good;
    if (!text)
        return 0;
    first = strspn(text, " \t\r\n");
    good = text[first] == '[' ? take_json(o, path, text, bytes, wisdom)
                              : take_lines(o, path, text, bytes, wisdom);
    free(text);
    return good;
}

outcome command_merge(const options *o)
{
    fbq_wisdom *wisdom = NULL;
    fbq_error error;
    outcome end = OUTCOME_DONE;
    if (fbq_wisdom_new(&wisdom, &error) != FBQ_OK)
        return failed(o, OUTCOME_FAILED, "%s", error.detail);
    for (int i = 0; i < o->inputs && end == OUTCOME_DONE; i++)
        if (!take_input(o, o->input[i], wisdom))
            end = failed(o, OUTCOME_FAILED, "nothing was changed in %s", o->file);
    if (end == OUTCOME_DONE && fbq_wisdom_write(wisdom, o->file, &error) != FBQ_OK)
        end = failed(o, OUTCOME_FAILED, "%s", error.detail);
    if (end == OUTCOME_DONE)
        fprintf(stderr, "fbq-tune: %zu records were merged into %s\n", fbq_wisdom_count(wisdom),
                o->file);
    fbq_wisdom_free(wisdom);
    return end;
}

/* Lines, with what their file begins with. */
static outcome print_lines(const options *o, const fbq_wisdom *wisdom)
{
    FILE *file = o->output ? fopen(o->output, "wb") : stdout;
    char line[FBQ_RECORD_BYTES];
    int bad;
    if (!file)
        return failed(o, OUTCOME_FAILED, "cannot open %s: %s", o->output, strerror(errno));
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++)
        if (record_wanted(fbq_wisdom_record(wisdom, i), o)) {
            fbq_record_print(fbq_wisdom_record(wisdom, i), line, sizeof line);
            fprintf(file, "%s\n", line);
        }
    bad = ferror(file);
    if (file != stdout)
        bad |= fclose(file) != 0;
    return bad ? failed(o, OUTCOME_FAILED, "cannot write %s: %s",
                        o->output ? o->output : "standard output", strerror(errno))
               : OUTCOME_DONE;
}

outcome command_export(const options *o)
{
    fbq_wisdom *wisdom = records_read(o, o->file);
    json_t *list;
    outcome end;
    if (!wisdom)
        return OUTCOME_FAILED;
    if (o->json) {
        list = json_array();
        for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++)
            if (record_wanted(fbq_wisdom_record(wisdom, i), o))
                json_array_append_new(list, record_to_json(fbq_wisdom_record(wisdom, i)));
        end = json_print(o, list);
    } else
        end = print_lines(o, wisdom);
    if (fbq_wisdom_damaged(wisdom))
        fprintf(stderr, "fbq-tune: %zu lines cannot be read and were left out; the first: %s\n",
                fbq_wisdom_damaged(wisdom), fbq_wisdom_warning(wisdom));
    fbq_wisdom_free(wisdom);
    return end;
}
