/* bench/gpu.c: see gpu.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "gpu.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels.h"

int failf(fail *f, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(f->text, sizeof f->text, format, list);
    va_end(list);
    return 1;
}

double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int gpu_choose(gpu *g, int device, fail *f)
{
    struct cudaDeviceProp prop;
    int count = 0;
    memset(g, 0, sizeof *g);
    cudaError_t result = cudaGetDeviceCount(&count);
    if (result != cudaSuccess)
        return failf(f, "no usable NVIDIA GPU: %s", cudaGetErrorString(result));
    if (device < 0 || device >= count)
        return failf(f, "--device=%d, but there are %d GPUs, counted from 0", device, count);
    CUDA(f, cudaSetDevice(device));
    CUDA(f, cudaGetDeviceProperties(&prop, device));
    g->device = device;
    g->sms = prop.multiProcessorCount;
    g->capability = prop.major * 10 + prop.minor;
    g->l2_bytes = (size_t)prop.l2CacheSize;
    snprintf(g->name, sizeof g->name, "%s", prop.name);
    if (g->capability < 80)
        return failf(f, "%s has compute capability %d.%d; fbq needs 8.0", g->name, prop.major,
                     prop.minor);
    return 0;
}

int gpu_begin(gpu *g, fail *f)
{
    int has_wait = 0;
    CUDA(f, cudaStreamCreateWithFlags(&g->stream, cudaStreamNonBlocking));
    CUDA(f, cudaEventCreate(&g->start));
    CUDA(f, cudaEventCreate(&g->stop));
    CUDA(f, cudaMalloc((void **)&g->word, 256));
    CUDA(f, read_has_dependency_wait(&has_wait));
    g->pdl = has_wait && g->capability >= 90;
    return 0;
}

int gpu_open(gpu *g, int device, fail *f)
{
    TRY(gpu_choose(g, device, f));
    return gpu_begin(g, f);
}

size_t gpu_cold_bytes(const gpu *g)
{
    const size_t least = 400000000u;
    return 2 * g->l2_bytes > least ? 2 * g->l2_bytes : least;
}

/* cudaEventSynchronize has no time limit, and a kernel that hangs would take the run with it. */
static int wait_event(gpu *g, cudaEvent_t event, fail *f)
{
    cudaError_t result;
    for (unsigned turn = 0; (result = cudaEventQuery(event)) == cudaErrorNotReady; turn++) {
        if (turn % 1024 == 1023) {
            if (g->deadline > 0 && now_seconds() > g->deadline) {
                g->lost = 1;
                return failf(f, "time limit (--timeout) passed while the GPU was at work");
            }
            sched_yield();
        }
    }
    if (result != cudaSuccess)
        g->lost = 1;
    CUDA(f, result);
    return 0;
}

int gpu_wait(gpu *g, fail *f)
{
    cudaError_t result = cudaEventRecord(g->stop, g->stream);
    if (result != cudaSuccess)
        g->lost = 1;
    CUDA(f, result);
    TRY(wait_event(g, g->stop, f));
    if (g->deadline > 0 && now_seconds() > g->deadline)
        return failf(f, "time limit (--timeout) passed");
    return 0;
}

/* What guards hold. */
#define GUARD 0xa5

void gpu_free(gpu *g, void *to)
{
    unsigned char *memory;
    memcpy(&memory, to, sizeof memory);
    for (int i = 0; memory && i < g->guardeds; i++)
        if (memory == g->guarded[i].base + g->guard) {
            memory = g->guarded[i].base;
            g->guarded[i] = g->guarded[--g->guardeds];
            break;
        }
    /* cudaFree waits for the GPU: for ever, where it hangs. */
    if (memory && !g->lost)
        cudaFree(memory);
    memory = NULL;
    memcpy(to, &memory, sizeof memory);
}

/* Bytes from the end of a buffer to the end of its allocation: the guard, and what rounds up. */
static size_t guard_behind(const gpu *g, size_t bytes)
{
    return g->guard + (256 - bytes % 256) % 256;
}

static int guard_set(gpu *g, unsigned char **memory, size_t bytes, fail *f)
{
    if (g->guardeds == MAX_GUARDED)
        return failf(f, "more than %d allocations with guards", MAX_GUARDED);
    g->guarded[g->guardeds].base = *memory;
    g->guarded[g->guardeds++].bytes = bytes;
    *memory += g->guard;
    CUDA(f, cudaMemsetAsync(*memory - g->guard, GUARD, g->guard, g->stream));
    CUDA(f, cudaMemsetAsync(*memory + bytes, GUARD, guard_behind(g, bytes), g->stream));
    return gpu_wait(g, f);
}

int gpu_alloc(gpu *g, void *to, size_t bytes, const char *what, fail *f)
{
    unsigned char *memory = NULL;
    gpu_free(g, to);
    cudaError_t result =
        cudaMalloc((void **)&memory, g->guard ? g->guard + bytes + guard_behind(g, bytes) : bytes);
    if (result != cudaSuccess) {
        cudaGetLastError();
        return failf(f, "%.1f MB of GPU memory for %s: %s", (double)bytes / 1e6, what,
                     cudaGetErrorString(result));
    }
    if (g->guard && guard_set(g, &memory, bytes, f)) {
        gpu_free(g, &memory);
        return 1;
    }
    memcpy(to, &memory, sizeof memory);
    return 0;
}

int gpu_guards_check(gpu *g, fail *f)
{
    unsigned char *const host = malloc(g->guard + 256);
    int failed = host ? 0 : failf(f, "no memory for %zu bytes", g->guard);
    for (int i = 0; i < 2 * g->guardeds && !failed; i++) {
        const unsigned char *const base = g->guarded[i / 2].base;
        const size_t bytes = g->guarded[i / 2].bytes,
                     length = i % 2 ? guard_behind(g, bytes) : g->guard;
        failed = gpu_download(g, host, i % 2 ? base + g->guard + bytes : base, length, f);
        for (size_t j = 0; j < length && !failed; j++)
            if (host[j] != GUARD)
                failed =
                    failf(f, "something was written %zu bytes %s a buffer of %zu bytes",
                          i % 2 ? j : length - j, i % 2 ? "behind the end of" : "before", bytes);
    }
    free(host);
    return failed;
}

int gpu_upload(gpu *g, void *to, const void *from, size_t bytes, fail *f)
{
    CUDA(f, cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, g->stream));
    return gpu_wait(g, f);
}

int gpu_download(gpu *g, void *to, const void *from, size_t bytes, fail *f)
{
    TRY(gpu_wait(g, f));
    CUDA(f, cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, g->stream));
    return gpu_wait(g, f);
}

int graph_build(gpu *g, const sequence *s, int least, graph *out, fail *f)
{
    cudaGraph_t captured = NULL;
    int launches = (least + s->layers - 1) / s->layers * s->layers, failed = 0;
    memset(out, 0, sizeof *out);
    /* Relaxed: libraries load their code when a kernel is first used. */
    CUDA(f, cudaStreamBeginCapture(g->stream, cudaStreamCaptureModeRelaxed));
    for (int i = 0; i < launches && !failed; i++)
        failed = s->enqueue(s->user, i % s->layers, g->stream, f);
    cudaError_t result = cudaStreamEndCapture(g->stream, &captured);
    if (failed) {
        if (captured)
            cudaGraphDestroy(captured);
        cudaGetLastError();
        return 1;
    }
    CUDA(f, result);
    result = cudaGraphInstantiate(&out->exec, captured, 0);
    cudaGraphDestroy(captured);
    CUDA(f, result);
    out->launches = launches;
    return 0;
}

void graph_free(graph *graph)
{
    if (graph->exec)
        cudaGraphExecDestroy(graph->exec);
    graph->exec = NULL;
}

int graph_replay(gpu *g, const graph *graph, double *us, fail *f)
{
    float ms = 0;
    CUDA(f, cudaEventRecord(g->start, g->stream));
    CUDA(f, cudaGraphLaunch(graph->exec, g->stream));
    TRY(gpu_wait(g, f));
    CUDA(f, cudaEventElapsedTime(&ms, g->start, g->stop));
    if (!(ms > 0))
        return failf(f, "impossible time refused: a replay of %d layers took %g ms",
                     graph->launches, (double)ms);
    *us = (double)ms * 1e3 / graph->launches;
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear interpolation between the sorted samples. */
static double quantile(const double *sorted, int count, double q)
{
    double at = q * (count - 1);
    int i = (int)at;
    return i + 1 < count ? sorted[i] + (at - i) * (sorted[i + 1] - sorted[i]) : sorted[count - 1];
}

timing timing_of(double *us, int count)
{
    timing t;
    qsort(us, (size_t)count, sizeof *us, compare_doubles);
    t.median = quantile(us, count, 0.5);
    t.spread = (quantile(us, count, 0.75) - quantile(us, count, 0.25)) / t.median;
    return t;
}

int graph_time(gpu *g, const sequence *s, int least, int replays, timing *out, fail *f)
{
    double us[MAX_REPLAYS], warm;
    graph graph;
    int failed;
    if (replays > MAX_REPLAYS)
        replays = MAX_REPLAYS;
    TRY(graph_build(g, s, least, &graph, f));
    failed = 0;
    for (int i = 0; i < WARM_UP_REPLAYS && !failed; i++)
        failed = graph_replay(g, &graph, &warm, f);
    for (int i = 0; i < replays && !failed; i++)
        failed = graph_replay(g, &graph, &us[i], f);
    if (!g->lost)
        graph_free(&graph);
    TRY(failed);
    *out = timing_of(us, replays);
    return 0;
}
