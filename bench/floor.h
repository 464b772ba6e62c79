/* bench/floor.h: the time that reading so many bytes takes at least, measured in this very run.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_FLOOR_H
#define FBQ_BENCH_FLOOR_H

#include "gpu.h"

/* One way to run the read kernel over a buffer of `layers` regions. */
typedef struct read_shape {
    const unsigned char *buffer;
    size_t bytes; /* a multiple of 16 */
    unsigned *word;
    int unroll, grid, block, pdl;
} read_shape;

typedef struct floor_time {
    size_t bytes;
    int hot, layers;
    int has_pdl;         /* 0: this GPU has no programmatic dependent launch */
    timing time[2];      /* [pdl] of the best shape */
    read_shape shape[2]; /* [pdl]; the buffer is only valid inside floor.c */
} floor_time;

/* The floor for a byte count, from the cache or measured now: every shape a few times, the best few
 * once more with `replays`. `cold_bytes` is what a rotation must exceed. */
int floor_get(gpu *g, size_t bytes, int hot, size_t cold_bytes, int replays, const floor_time **out,
              fail *f);

/* The best shape as a sequence to measure; the buffer lives until floor_buffer_free or the next
 * floor_get of another size. */
int floor_sequence(gpu *g, const floor_time *floor, int pdl, size_t cold_bytes, read_shape *shape,
                   sequence *out, fail *f);

void floor_buffer_free(gpu *g);

/* Layers to rotate over: more than `cold_bytes` in all, and at least three. */
int rotation_layers(size_t bytes, size_t cold_bytes, int hot);

#endif /* FBQ_BENCH_FLOOR_H */
