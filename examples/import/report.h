/* report.h: layers as a table or as JSON on standard output.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef REPORT_H
#define REPORT_H

#include "packed_layer.h"

typedef struct report_row {
    const char *name;
    fbq_format format;
    int64_t n, k, r;
    int bias;
    int version;            /* of GPTQ's format; 0: not from a GPTQ checkpoint */
    gptq_evidence evidence; /* for the version */
    int packed;             /* the fields below count */
    size_t bytes;           /* of all parts */
    double factor_change;   /* as in packed_layer */
    int refused;            /* only the name and the reason count */
    char why[512];
} report_row;

typedef struct report {
    const char *input;
    const char *layout_version; /* what a file of packed layers says of itself, else NULL */
    const char *fbq_version;    /* likewise */
    int packing;                /* the table tells what packing changed */
    report_row *row;
    size_t count;
} report;

/* 0: no memory, or no UTF-8 (JSON only). */
int report_print(const report *r, int json);

#endif /* REPORT_H */
