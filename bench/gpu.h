/* bench/gpu.h: one GPU: memory, waits with a deadline, CUDA graphs of many layers and their times.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_GPU_H
#define FBQ_BENCH_GPU_H

#include <cuda_runtime_api.h>
#include <stddef.h>

#include "fail.h"

/* Allocations that may be guarded at a time. */
#define MAX_GUARDED 32

typedef struct gpu {
    int device, sms, capability;
    int pdl; /* programmatic dependent launch: GPU and compiled code both have it */
    size_t l2_bytes;
    char name[256];
    cudaStream_t stream;
    cudaEvent_t start, stop;
    unsigned *word;  /* 4 bytes on the GPU that the read kernels may write */
    double deadline; /* of the benchmark at hand, seconds of now_seconds; 0: none */
    int lost;        /* the GPU hangs or its context is broken: nothing more can be run */
    /* Bytes before and behind what gpu_alloc gives, which nobody may write: 0, none, unless set
     * behind gpu_open; a multiple of 256. */
    size_t guard;
    struct {
        unsigned char *base;
        size_t bytes; /* between its guards */
    } guarded[MAX_GUARDED];
    int guardeds;
} gpu;

/* Open a GPU. Returns 1 with the reason where there is none. */
int gpu_open(gpu *g, int device, fail *f);

/* The same in two steps, for a program that works in another CUcontext than the primary one:
 * choose a GPU, which makes that one current, and make stream and events in what is current then.
 */
int gpu_choose(gpu *g, int device, fail *f);
int gpu_begin(gpu *g, fail *f);

/* Bytes that a rotation over layers must exceed for each to be cold: twice the L2, and 400 MB. */
size_t gpu_cold_bytes(const gpu *g);

double now_seconds(void);

/* Wait until the stream is idle, but no longer than to the deadline. */
int gpu_wait(gpu *g, fail *f);

/* Device memory. *to must be NULL or memory from here, which is released first. */
int gpu_alloc(gpu *g, void *to, size_t bytes, const char *what, fail *f);
void gpu_free(gpu *g, void *to);

/* Are the bytes around all memory as they were? */
int gpu_guards_check(gpu *g, fail *f);

int gpu_upload(gpu *g, void *to, const void *from, size_t bytes, fail *f);
int gpu_download(gpu *g, void *to, const void *from, size_t bytes, fail *f);

/* A variant as something that can be put on a stream, layer by layer. */
typedef struct sequence {
    int (*enqueue)(void *user, int layer, cudaStream_t stream, fail *f);
    void *user;
    int layers; /* launches rotate over so many layers' weights */
} sequence;

typedef struct graph {
    cudaGraphExec_t exec;
    int launches;
} graph;

/* Capture at least `least` launches, whole rotations, as one graph. */
int graph_build(gpu *g, const sequence *s, int least, graph *out, fail *f);
void graph_free(graph *graph);

/* Replay once: microseconds a layer. */
int graph_replay(gpu *g, const graph *graph, double *us, fail *f);

typedef struct timing {
    double median; /* microseconds a layer */
    double spread; /* (third quartile - first quartile) / median */
} timing;

/* Median and spread of samples, which are sorted in place. */
timing timing_of(double *us, int count);

#define MAX_REPLAYS 1000
#define WARM_UP_REPLAYS 3

/* Build, warm up, replay, free. */
int graph_time(gpu *g, const sequence *s, int least, int replays, timing *out, fail *f);

#endif /* FBQ_BENCH_GPU_H */
