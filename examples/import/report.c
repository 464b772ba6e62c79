/* report.c: see report.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *zero_name(fbq_zero zero)
{
    return zero == FBQ_ZERO_NONE ? "none" : zero == FBQ_ZERO_CODE ? "code" : "f16";
}

static const char *type_name(fbq_type type)
{
    return type == FBQ_I8 ? "i8" : type == FBQ_BF16 ? "bf16" : "f16";
}

static const char *evidence_name(gptq_evidence evidence)
{
    switch (evidence) {
    case GPTQ_AS_SAID:
        return "config";
    case GPTQ_CONFIRMED:
        return "confirmed";
    case GPTQ_CONTRADICTED:
        return "contradicted";
    case GPTQ_FORCED:
        return "forced";
    }
    return "";
}

/* ---- The table ---- */

static void print_row(const report *r, const report_row *row, int width)
{
    char group[16], version[32] = "-", rank[32] = "-";
    printf("%-*s  ", width, row->name);
    if (row->refused) {
        printf("refused: %s\n", row->why);
        return;
    }
    snprintf(group, sizeof group, row->format.group == FBQ_GROUP_ROW ? "row" : "%d",
             row->format.group);
    if (row->version)
        snprintf(version, sizeof version, "%d (%s)", row->version, evidence_name(row->evidence));
    if (row->r)
        snprintf(rank, sizeof rank, "%" PRId64 "%s%s", row->r, row->packed ? " " : "",
                 row->packed ? type_name(row->format.factor_type) : "");
    printf("%6" PRId64 " %6" PRId64 " %5d %6s %5s  %-16s %9s %5s", row->n, row->k, row->format.bits,
           group, zero_name(row->format.zero), version, rank, row->bias ? "yes" : "-");
    if (row->packed)
        printf(" %11zu", row->bytes);
    if (r->packing && row->r)
        printf("  %8.1e", row->factor_change);
    puts("");
}

static void print_table(const report *r)
{
    int width = 5, packed = 0, branches = 0, refused = 0, contradicted = 0, forced = 0,
        versions = 0;
    double most = 0;
    for (size_t i = 0; i < r->count; i++) {
        const report_row *row = &r->row[i];
        const int length = (int)strlen(row->name);
        width = length > width ? length : width;
        packed = packed || row->packed;
        branches += row->r > 0;
        refused += row->refused;
        versions += !row->refused && row->version;
        contradicted += row->version && row->evidence == GPTQ_CONTRADICTED;
        forced += row->version && row->evidence == GPTQ_FORCED;
        most = row->factor_change > most ? row->factor_change : most;
    }
    printf("%-*s  %6s %6s %5s %6s %5s  %-16s %9s %5s%s%s\n", width, "layer", "N", "K", "bits",
           "group", "zero", "GPTQ version", "rank", "bias", packed ? "       bytes" : "",
           r->packing ? "   rounded" : "");
    for (size_t i = 0; i < r->count; i++)
        print_row(r, &r->row[i], width);
    puts("");
    if (versions)
        puts("zero     none: every zero point is in the middle; code: integers; f16: numbers\n"
             "version  how zero points are stored: config says so; confirmed or contradicted by "
             "symmetric\n"
             "         zero points; forced by --gptq-version");
    if (contradicted)
        printf("The config is wrong about the version of %d layers; what their zero points prove "
               "is taken.\n",
               contradicted);
    if (refused)
        printf("%d of %zu layers would not be packed.\n", refused, r->count);
    if (r->packing && most > 0)
        printf("rounded  |B'A' - BA| / |BA|: A and B were rounded to 16 bits, which changes B . A "
               "by at most %.1e.\n",
               most);
    else if (r->packing && branches)
        puts(
            "rounded  A and B are the checkpoint's own numbers: rounding to 16 bits changed none.");
    if (r->layout_version)
        printf("Packed by fbq %s in layout version %s.\n", r->fbq_version, r->layout_version);
}

/* ---- JSON ---- */

static json_t *json_row(const report *r, const report_row *row)
{
    if (row->refused)
        return json_pack("{s:s, s:s}", "name", row->name, "refused", row->why);
    json_t *j = json_pack("{s:s, s:I, s:I, s:i, s:i, s:s, s:I, s:b}", "name", row->name, "n",
                          (json_int_t)row->n, "k", (json_int_t)row->k, "bits", row->format.bits,
                          "group", row->format.group, "zero", zero_name(row->format.zero), "rank",
                          (json_int_t)row->r, "bias", row->bias);
    if (row->version)
        json_object_update_new(j, json_pack("{s:i, s:s}", "gptq_version", row->version,
                                            "gptq_version_evidence", evidence_name(row->evidence)));
    if (row->packed)
        json_object_set_new(j, "bytes", json_integer((json_int_t)row->bytes));
    if (row->packed && row->r)
        json_object_set_new(j, "factor_type", json_string(type_name(row->format.factor_type)));
    if (r->packing)
        json_object_set_new(j, "factor_change", json_real(row->factor_change));
    return j;
}

static int print_json(const report *r)
{
    json_t *rows = json_array();
    int good = 1;
    for (size_t i = 0; i < r->count && good; i++)
        good = json_array_append_new(rows, json_row(r, &r->row[i])) == 0;
    json_t *root =
        json_pack("{s:s, s:s, s:s?, s:s?, s:o}", "version", FBQ_VERSION_STRING, "input", r->input,
                  "layout_version", r->layout_version, "packed_by", r->fbq_version, "layers", rows);
    char *text = good ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text)
        return 0;
    puts(text);
    free(text);
    return 1;
}

int report_print(const report *r, int json)
{
    if (json)
        return print_json(r);
    print_table(r);
    return 1;
}
