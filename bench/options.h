/* bench/options.h: the command line of fbq-bench.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_OPTIONS_H
#define FBQ_BENCH_OPTIONS_H

#include <fbq/fbq.h>

#include "fail.h"

#define MAX_SHAPES 64
#define MAX_M 16

typedef struct options {
    struct {
        int64_t n, k;
    } shape[MAX_SHAPES];
    int shapes;
    int m[MAX_M], ms;
    int bits, rank, group; /* group 0: whole row */
    int segments;          /* of equal n that share x, each of this rank; 1: one layer */
    fbq_zero zero;
    fbq_type type;   /* of x, y, scales and factors */
    fbq_type factor; /* of the factors: FBQ_I8, or 0 for `type` */
    int hot, alone, replays, device, ptx, require_gpu, help;
    double timeout;             /* seconds a benchmark */
    const char *wisdom;         /* file of tuning to take picks from; "": none */
    int has_pick[FBQ_KERNELS];  /* by --pick, in place of the default */
    fbq_pick pick[FBQ_KERNELS]; /* */
    int has_int4_pick;          /* by --pick-int4: fused of the rank-0 layer */
    fbq_pick int4_pick;         /* */
} options;

/* Take our own options out of argv; what is left is Google Benchmark's. */
int options_take(options *o, int *argc, char **argv, fail *f);

/* Help on stdout. */
void options_help(void);

/* "cold" or "hot". */
const char *options_temperature(const options *o);

/* "chained" or "alone": do fbq's launches promise that the one before writes no weights? */
const char *options_chain(const options *o);

/* "g128" or "grow", behind the format: "W4", or "W3-bf16", "W4-i8", "W4-zcode", "W4-znone" where
 * types are not fp16, factors are int8, or zero points are not fp16; "W4-s3" of three segments. */
void options_format_name(const options *o, char *text, size_t bytes);

#endif /* FBQ_BENCH_OPTIONS_H */
