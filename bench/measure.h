/* bench/measure.h: one benchmark from begin to end: set-up, replays, what is refused, ratios.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_MEASURE_H
#define FBQ_BENCH_MEASURE_H

#include <signal.h>

#include "bench.h"
#include "shim.h"

typedef struct measure {
    bench *b;
    /* the benchmarks by index */
    struct {
        int shape, m;
        variant what;
        char name[128];
    } * list;
    int count;
    /* the one in hand */
    int index;
    prepared p;
    graph graph;
    double us[MAX_REPLAYS];
    int samples;
    fail why;
    int failures; /* of the whole run */
    const volatile sig_atomic_t *interrupted;
} measure;

/* The calls of shim.h on a measure. */
shim_calls measure_calls(measure *s);

/* Release what is in hand. */
void measure_close(measure *s);

#endif /* FBQ_BENCH_MEASURE_H */
