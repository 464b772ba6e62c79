/* bench/table.c: fbq-bench-table: a result file as Markdown tables.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results.h"

static const char *const columns[] = {"read",     "read_pdl",    "fp16",         "int4",
                                      "int4_sub", "int4_sub_lt", "int4_sub_own", "int4_sub4",
                                      "fbq2",     "fbq1"};
#define COLUMNS ((int)(sizeof columns / sizeof columns[0]))

static int same_group(const entry *a, const entry *b)
{
    return a->m == b->m && !strcmp(a->format, b->format) && !strcmp(a->weights, b->weights);
}

typedef enum kind { MICROSECONDS, TIMES, PERCENT } kind;

static void cell(double value, kind what)
{
    if (isnan(value))
        printf(" – |");
    else if (what == MICROSECONDS)
        printf(" %.2f |", value);
    else if (what == TIMES)
        printf(" %.2f× |", value);
    else
        printf(" %.0f %% |", 100 * value);
}

static void row(const results *r, const entry *first)
{
    const entry *e[COLUMNS];
    for (int i = 0; i < COLUMNS; i++)
        e[i] = results_find(r, columns[i], first->problem);
    printf("| %s |", first->shape);
    for (int i = 0; i < COLUMNS; i++)
        cell(e[i] && !e[i]->failed ? e[i]->us : NAN, MICROSECONDS);
    const entry *int4 = e[3];
    cell(int4 && !int4->failed ? int4->xread_pdl : NAN, TIMES);
    for (int i = COLUMNS - 2; i < COLUMNS; i++) {
        const entry *fbq = e[i] && !e[i]->failed ? e[i] : NULL;
        if (i == COLUMNS - 2)
            cell(fbq ? fbq->conventional_us - (fbq->us - fbq->extra_us) : NAN, MICROSECONDS);
        cell(fbq ? fbq->xread_pdl : NAN, TIMES);
        cell(fbq ? fbq->extra_us : NAN, MICROSECONDS);
        cell(fbq ? fbq->removed : NAN, PERCENT);
    }
    putchar('\n');
}

/* One table: all shapes of a format, m and cold or hot. */
static void group(const results *r, size_t first)
{
    const entry *g = &r->entries[first];
    printf("\n### %s, M = %d, weights %s (µs a layer)\n\n| N × K |", g->format, g->m, g->weights);
    for (int i = 0; i < COLUMNS; i++)
        printf(" %s |", columns[i]);
    printf(" int4 / floor | extra, conventional | fbq2 / floor | extra | removed | fbq1 / floor | "
           "extra "
           "| removed |\n|---|");
    for (int i = 0; i < COLUMNS + 8; i++)
        printf("---|");
    putchar('\n');
    for (size_t i = first; i < r->count; i++) {
        int seen = !same_group(&r->entries[i], g);
        for (size_t j = first; j < i && !seen; j++)
            seen = !strcmp(r->entries[i].problem, r->entries[j].problem);
        if (!seen)
            row(r, &r->entries[i]);
    }
}

int main(int argc, char **argv)
{
    results r;
    if (argc != 2 || argv[1][0] == '-') {
        fprintf(argc == 2 ? stdout : stderr,
                "usage: fbq-bench-table RESULT.json\n"
                "Markdown on stdout. \"/ floor\" is the multiple of read_pdl for the same bytes;\n"
                "\"extra\" is the time over int4, and \"conventional\" the fastest of int4_sub,\n"
                "int4_sub_lt and int4_sub_own.\n");
        return argc == 2 && !strcmp(argv[1], "--help") ? 0 : 2;
    }
    if (results_read(argv[1], &r))
        return 1;
    printf("%s, driver %s, CUDA %s, %s; `%s`\n", r.gpu, r.driver, r.toolkit, r.date, r.command);
    for (size_t i = 0; i < r.count; i++) {
        int seen = 0;
        for (size_t j = 0; j < i && !seen; j++)
            seen = same_group(&r.entries[i], &r.entries[j]);
        if (!seen)
            group(&r, i);
    }
    size_t failures = 0;
    for (size_t i = 0; i < r.count; i++)
        failures += r.entries[i].failed != 0;
    if (failures)
        printf("\n%zu benchmarks failed and are shown as –.\n", failures);
    results_free(&r);
    return 0;
}
