/* records.h: records of tuning as JSON and in tables, and which of them a command is for.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef RECORDS_H
#define RECORDS_H

#include <jansson.h>

#include "options.h"
#include "search.h"

/* An object with the fields of the record's line under their names, and the kernel under "kernel":
 * numbers as numbers, n and r as arrays, everything else as strings. NULL: no memory. */
json_t *record_to_json(const fbq_record *record);

/* The way back. 0 and an English sentence in `why` when it is no record. */
int record_from_json(const json_t *object, fbq_record *record, char *why, size_t bytes);

/* Is the record among those that --gpu, --shape, --bits and --kernel name, and not left out by
 * --no-default? */
int record_wanted(const fbq_record *record, const options *o);

/* Is its pick the default of its problem and GPU? Not of one whose facts are not known (gpus.h). */
int record_is_default(const fbq_record *record);

/* "4096x4096 r128", segments as "4096+1024+1024x4096 r128+64+64". */
void record_shape(const fbq_record *record, char *text, size_t bytes);

/* "4 bits g128 code, f16": with the types of scales, factors, x and y where they differ. */
void record_format(const fbq_record *record, char *text, size_t bytes);

/* "exact", "shape", "capability", "default", "given". */
const char *rung_name(fbq_rung rung);

/* An array of low, median and high; null where nothing bounds it. */
json_t *interval_to_json(search_interval interval);

/* Read a wisdom file; NULL after a message. */
fbq_wisdom *records_read(const options *o, const char *path);

/* Print any JSON on standard output, or into o->output; releases it. */
outcome json_print(const options *o, json_t *json);

#endif /* RECORDS_H */
