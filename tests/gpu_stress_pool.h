/* tests/gpu_stress_pool.h: plans and inputs drawn from one seed, and the bits that each gives when
 * it is launched alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_GPU_STRESS_POOL_H
#define FBQ_TESTS_GPU_STRESS_POOL_H

#include "support/device.h"

enum {
    PLANS = 14,      /* the first two are 4096 x 4096, rank 128, of one launch and of two */
    PLAN_SAMPLES = 6 /* at most */
};

typedef struct entry {
    fbq_problem problem;
    fbq_plan *plan;
    layer host;
    device_layer device;
} entry;

/* A plan with an x, and the bits that a quiet launch gives. */
typedef struct sample {
    const entry *of;
    int64_t m, x_stride;
    input_kind kind;
    int from; /* the sample whose y is x, or -1 */
    device_buffer x;
    unsigned char *y;
    device_buffer wanted; /* y, on the GPU */
    size_t y_bytes;
} sample;

/* A stream with what its launches need for themselves. The state is zeroed once and then belongs to
 * the library, whatever plans come. */
typedef struct room {
    cudaStream_t stream;
    device_buffer scratch, state;
} room;

typedef struct pool {
    uint64_t seed, random; /* as given; as it has come */
    fbq_gpu gpu;           /* as picks are made for it */
    entry plan[PLANS];
    sample sample[PLANS * PLAN_SAMPLES];
    int samples;
    size_t y_bytes; /* the most of any sample */
} pool;

/* The only one, since everything is drawn from its generator. */
extern pool stress;

/* 0 .. n - 1 */
int below(int n);
/* End the program as failed, at once: exit would wait for work in flight that may never end. */
void stop(void);
/* Memory, or the end. */
void *take(size_t bytes);

/* Draw the plans and their samples; every y is judged against the double reference. The samples of
 * a plan lie together; the first three of each of the first two plans make layers in a row. */
void pool_make(fbq_context *context);
void pool_free(void);
void print_plan(const entry *e, int64_t m);

/* Large enough for any plan. Nothing must be in flight. */
room room_make(void);
/* Also looks whether anything was written beyond scratch or state. */
void room_free(room *r);

/* One launch of a sample in a room. x: the sample's own, or a place with the y that it stands for.
 */
void sample_launch(const sample *s, const room *r, const void *x, void *y, int chained);

#endif
