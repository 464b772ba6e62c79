/* bench/shim.h: Google Benchmark as seen from C.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_SHIM_H
#define FBQ_BENCH_SHIM_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SHIM_MAX_COUNTERS 16

typedef struct shim_counter {
    const char *name;
    double value;
} shim_counter;

typedef struct shim_report {
    shim_counter counter[SHIM_MAX_COUNTERS];
    int counters;
    const char *label; /* or NULL; must live until the next begin */
} shim_report;

/* What a benchmark does. Each returns NULL, or why it failed; after a failure `end` is not called,
 * and `begin` must be ready for the next benchmark. */
typedef struct shim_calls {
    const char *(*begin)(void *user, int index);
    const char *(*replay)(void *user, double *seconds); /* one iteration; its manual time */
    const char *(*end)(void *user, shim_report *report);
    void *user;
} shim_calls;

/* Google Benchmark reads its options. 1: one of them is none. */
int shim_start(int *argc, char **argv);

/* A line of the context that heads the output. */
void shim_context(const char *key, const char *value);

/* A benchmark of so many iterations; `calls` must outlive the run. */
void shim_register(const char *name, int index, int iterations, const shim_calls *calls);

/* Run, or list, what the options say. */
size_t shim_run(void);

#ifdef __cplusplus
}
#endif

#endif /* FBQ_BENCH_SHIM_H */
