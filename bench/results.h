/* bench/results.h: a result file of fbq-bench (Google Benchmark's JSON), read for the tools.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_RESULTS_H
#define FBQ_BENCH_RESULTS_H

#include <stddef.h>

/* One benchmark. Numbers that the file does not have are NaN. */
typedef struct entry {
    char variant[32];
    char problem[160]; /* "W4/g128/r128/4096x4096/M1/cold" */
    char format[48];   /* "W4/g128/r128" */
    char shape[32];    /* "4096x4096" */
    char weights[16];  /* "cold" or "hot" */
    int m;
    int failed;
    double us, spread, xread, xread_pdl, extra_us, conventional_us, removed;
} entry;

typedef struct results {
    entry *entries;
    size_t count;
    /* context, "unknown" where the file does not say */
    char gpu[256], driver[64], toolkit[32], date[64], weights[16], command[1024];
} results;

/* Read a file; complains on stderr. 0: read. Repetitions of a benchmark become one entry, their
 * median where Google Benchmark wrote it and else the last. */
int results_read(const char *path, results *r);
void results_free(results *r);

/* The entry of a variant and problem, or NULL. */
const entry *results_find(const results *r, const char *variant, const char *problem);

#endif /* FBQ_BENCH_RESULTS_H */
