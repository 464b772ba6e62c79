/* outcome.h: what the demo found out about one method at one bit width.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <bound.h>

#include "arguments.h"
#include "run.h"
#include "source.h"

typedef struct outcome {
    const char *method;
    int bits;
    double bits_a_weight;              /* of all packed parts, headers and padding included */
    double calibration, heldout;       /* tr(D H D^T) / tr(W H W^T) */
    double over_rtn, heldout_over_rtn; /* loss over RTN's at the same bits */
    int promises_bound;                /* the method keeps |w - w_F| <= s/2 by construction */
    bound_report bound;
    int ran; /* both kernels ran; otherwise `why_not` */
    char why_not[200];
    double kernel_bound; /* largest |y - ref| / (u sum |w_F||x|), u = 2^-11 */
    double kernel_norm;  /* |y - ref| / |ref| */
    run_times times;     /* GPU only */
    double seconds;      /* of calibration */
} outcome;

/* How far kernels may be from the reference (docs/numerics.md). */
#define MOST_KERNEL_BOUND 4.0
#define MOST_KERNEL_NORM 1e-3

typedef struct findings {
    const arguments *arguments;
    const source *source;
    const char *device; /* a GPU's name, or the CPU */
    char why_cpu[600];  /* why no GPU was used; empty with one */
    int on_gpu;
    outcome list[16];
    int count;
} findings;

/* 1 when nothing that was promised is broken. */
int findings_good(const findings *f);

/* The table, or JSON, on standard output. print_json returns 0 when memory runs out. */
void print_table(const findings *f);
int print_json(const findings *f);

#endif /* OUTCOME_H */
