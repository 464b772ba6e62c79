/* Everything that reads wisdom, fed with any bytes: a record's line, a wisdom file, a list of
 * records as JSON. What is read must be written and read again as the same.
 *
 * libFuzzer's entry; replay.c runs it over the corpus (docs/tuning.md has the commands).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include <stdlib.h>
#include <string.h>

#include "../../autotune/records.h"
#include "fuzz.h"

#define LINE_BYTES 4096

/* A message of the command's (options.h), which nobody reads here. */
outcome failed(const options *o, outcome end, const char *format, ...)
{
    (void)o;
    (void)format;
    return end;
}

static void must(int truth)
{
    if (!truth)
        abort();
}

static void same_again(const fbq_record *record)
{
    char line[FBQ_RECORD_BYTES], why[600];
    fbq_record again;
    must(fbq_record_print(record, line, sizeof line) < (int)sizeof line);
    must(fbq_record_parse(line, &again, NULL) == FBQ_OK);
    must(memcmp(&again, record, sizeof again) == 0);
    json_t *json = record_to_json(record);
    must(json && record_from_json(json, &again, why, sizeof why));
    must(memcmp(&again, record, sizeof again) == 0);
    json_decref(json);
}

/* A pick is found on the record's own GPU, or there is none: no crash, whatever the record. */
static void looked_up(const fbq_record *record)
{
    fbq_wisdom *wisdom = NULL;
    fbq_found found;
    fbq_pick pick;
    must(fbq_wisdom_new(&wisdom, NULL) == FBQ_OK);
    must(fbq_wisdom_add(wisdom, record, NULL) == FBQ_OK);
    fbq_wisdom_find(wisdom, &record->problem, &record->gpu, record->pick.kernel, &pick, &found,
                    NULL);
    fbq_wisdom_free(wisdom);
}

/* As a line without its checksum, so that what is behind the checksum is reached. */
static void as_line(const char *text)
{
    char sealed[LINE_BYTES];
    fbq_record record;
    if (fbq_record_seal(text, sealed, sizeof sealed) >= (int)sizeof sealed ||
        fbq_record_parse(sealed, &record, NULL) != FBQ_OK)
        return;
    same_again(&record);
    looked_up(&record);
}

static void as_file(const char *text, size_t bytes)
{
    fbq_wisdom *wisdom = NULL;
    must(fbq_wisdom_new(&wisdom, NULL) == FBQ_OK);
    fbq__wisdom_take_text(wisdom, "a file", text, bytes, NULL);
    fbq_wisdom_free(wisdom);
}

static void as_json(const char *text, size_t bytes)
{
    json_t *json = json_loadb(text, bytes, 0, NULL);
    char why[600];
    fbq_record record;
    for (size_t i = 0; i < json_array_size(json); i++)
        if (record_from_json(json_array_get(json, i), &record, why, sizeof why))
            same_again(&record);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    char *text = malloc(bytes + 1);
    if (!text)
        return 0;
    memcpy(text, data, bytes);
    text[bytes] = 0;
    as_line(text);
    as_file(text, bytes);
    as_json(text, bytes);
    free(text);
    return 0;
}
