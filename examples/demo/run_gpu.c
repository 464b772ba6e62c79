/* run_gpu.c: the C API on a GPU: open, prepare, copy, launch, compare nothing here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "run.h"
#include "cuda_driver.h"

#include <stdlib.h>

#define REPEATS 5 /* the median of them counts */
#define FEWEST_CALLS 500
#define MOST_COPIES 4096

struct run_gpu {
    cuda_driver driver;
    fbq_context *fbq;
    fbq_gpu info;
    CUdevice device;
    CUcontext context;
    CUstream stream;
    CUevent first, last;
    int l2_bytes;
};

#define CHECK(call)                                                                            \
    do {                                                                                       \
        const fbq_status check_ = cuda_driver_check(&g->driver, g->driver.call, #call, error); \
        if (check_ != FBQ_OK)                                                                  \
            return check_;                                                                     \
    } while (0)

static fbq_status begin(run_gpu *g, fbq_error *error)
{
    fbq_status status = cuda_driver_open(&g->driver, error);
    if (status == FBQ_OK)
        status = fbq_open(NULL, &g->fbq, error);
    if (status == FBQ_OK)
        status = fbq_context_gpu(g->fbq, &g->info);
    if (status != FBQ_OK)
        return status;
    CHECK(init(0));
    CHECK(device_get(&g->device, 0));
    CHECK(device_attribute(&g->l2_bytes, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, g->device));
    CHECK(retain(&g->context, g->device));
    CHECK(set_current(g->context));
    CHECK(stream_create(&g->stream, CU_STREAM_NON_BLOCKING));
    CHECK(event_create(&g->first, CU_EVENT_DEFAULT));
    CHECK(event_create(&g->last, CU_EVENT_DEFAULT));
    return FBQ_OK;
}

fbq_status run_gpu_open(run_gpu **gpu, fbq_error *error)
{
    *gpu = NULL;
    run_gpu *g = calloc(1, sizeof *g);
    if (g == NULL)
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the GPU's handle");
    const fbq_status status = begin(g, error);
    if (status == FBQ_OK)
        *gpu = g;
    else
        run_gpu_close(g);
    return status;
}

void run_gpu_close(run_gpu *g)
{
    if (g == NULL)
        return;
    fbq_close(g->fbq);
    if (g->last != NULL)
        g->driver.event_destroy(g->last);
    if (g->first != NULL)
        g->driver.event_destroy(g->first);
    if (g->stream != NULL)
        g->driver.stream_destroy(g->stream);
    if (g->context != NULL)
        g->driver.release(g->device);
    cuda_driver_close(&g->driver);
    free(g);
}

const char *run_gpu_name(const run_gpu *gpu)
{
    return gpu->info.name;
}

/* Everything a layer needs on the device, in one allocation: copies of the packed parts, then x, y,
 * scratch and state. */
typedef struct placed {
    CUdeviceptr base;
    size_t weights, down, up;    /* bytes, whole multiples of FBQ_ALIGN */
    size_t x, y, scratch, state; /* offsets behind the copies */
    size_t scratch_bytes, state_bytes;
    int copies;
    size_t bytes;
} placed;

static size_t whole(size_t bytes)
{
    return (bytes + FBQ_ALIGN - 1) / FBQ_ALIGN * FBQ_ALIGN;
}

static placed place(const packed *layer, int64_t m, const fbq_plan *plan, int l2_bytes)
{
    placed p = {.weights = whole(layer->parts.weights_bytes),
                .down = whole(layer->parts.down_bytes),
                .up = whole(layer->parts.up_bytes)};
    const size_t one = p.weights + p.down + p.up, wanted = 2 * (size_t)l2_bytes / one + 2;
    p.copies = wanted < MOST_COPIES ? (int)wanted : MOST_COPIES;
    p.x = one * (size_t)p.copies;
    p.y = p.x + whole((size_t)(m * layer->layout.shape.k) * 2);
    p.scratch = p.y + whole((size_t)(m * layer->layout.n) * 2);
    p.scratch_bytes = fbq_plan_scratch_bytes(plan);
    p.state_bytes = fbq_plan_state_bytes(plan);
    p.state = p.scratch + whole(p.scratch_bytes);
    p.bytes = p.state + whole(p.state_bytes) + FBQ_ALIGN;
    return p;
}

static const void *at(const placed *p, size_t offset)
{
    return (const void *)(uintptr_t)(p->base + offset);
}

static fbq_call make_call(const placed *p, const packed *layer, int64_t m, int copy)
{
    const size_t first = (p->weights + p->down + p->up) * (size_t)copy;
    fbq_call call = {0};
    call.m = m;
    call.x = at(p, p->x);
    call.weights = at(p, first);
    call.down = layer->parts.down != NULL ? at(p, first + p->weights) : NULL;
    call.up = layer->parts.up != NULL ? at(p, first + p->weights + p->down) : NULL;
    call.y = (void *)at(p, p->y);
    call.scratch = (void *)at(p, p->scratch);
    call.scratch_bytes = p->scratch_bytes;
    call.state = (void *)at(p, p->state);
    call.state_bytes = p->state_bytes;
    return call;
}

static fbq_status upload(run_gpu *g, const packed *layer, const placed *p, int64_t m,
                         const uint16_t *x, fbq_error *error)
{
    const fbq_parts *parts = &layer->parts;
    for (int i = 0; i < p->copies; i++) {
        const CUdeviceptr to = p->base + (p->weights + p->down + p->up) * (size_t)i;
        CHECK(to_device(to, parts->weights, parts->weights_bytes));
        if (parts->down != NULL) {
            CHECK(to_device(to + p->weights, parts->down, parts->down_bytes));
            CHECK(to_device(to + p->weights + p->down, parts->up, parts->up_bytes));
        }
    }
    CHECK(to_device(p->base + p->x, x, (size_t)(m * layer->layout.shape.k) * 2));
    if (p->state_bytes == 0)
        return FBQ_OK;
    void *zeros = calloc(1, p->state_bytes);
    if (zeros == NULL)
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for %zu bytes of state",
                              p->state_bytes);
    const fbq_status status = cuda_driver_check(
        &g->driver, g->driver.to_device(p->base + p->state, zeros, p->state_bytes),
        "cuMemcpyHtoD of the state", error);
    free(zeros);
    return status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* us a call for one row of x, over the first `copies` copies in turn. */
static fbq_status measure(run_gpu *g, const fbq_plan *plan, const packed *layer, const placed *p,
                          int copies, double *us, fbq_error *error)
{
    const int calls = copies > FEWEST_CALLS ? copies : FEWEST_CALLS;
    double times[REPEATS];
    for (int i = -1; i < REPEATS; i++) { /* the round before the first warms up */
        float ms = 0;
        CHECK(event_record(g->first, g->stream));
        for (int j = 0; j < calls; j++) {
            fbq_call call = make_call(p, layer, 1, j % copies);
            call.chained = 1; /* the weights were copied long ago */
            const fbq_status status = fbq_linear(plan, &call, g->stream);
            if (status != FBQ_OK)
                return calibrate_fail(error, status, "fbq_linear: %s", fbq_status_string(status));
        }
        CHECK(event_record(g->last, g->stream));
        CHECK(event_wait(g->last));
        CHECK(event_elapsed(&ms, g->first, g->last));
        if (i >= 0)
            times[i] = 1e3 * ms / calls;
    }
    qsort(times, REPEATS, sizeof *times, by_value);
    *us = times[REPEATS / 2];
    return FBQ_OK;
}

static fbq_status launch(run_gpu *g, const fbq_plan *plan, const packed *layer, placed *p,
                         int64_t m, const uint16_t *x, uint16_t *y, run_times *times,
                         fbq_error *error)
{
    fbq_status status = upload(g, layer, p, m, x, error);
    if (status != FBQ_OK)
        return status;
    const fbq_call call = make_call(p, layer, m, 0);
    status = fbq_linear(plan, &call, g->stream);
    if (status != FBQ_OK)
        return calibrate_fail(error, status, "fbq_linear: %s", fbq_status_string(status));
    CHECK(stream_wait(g->stream));
    CHECK(to_host(y, p->base + p->y, (size_t)(m * layer->layout.n) * 2));
    status = measure(g, plan, layer, p, 1, &times->hot, error);
    if (status == FBQ_OK)
        status = measure(g, plan, layer, p, p->copies, &times->cold, error);
    return status;
}

fbq_status run_gpu_layer(run_gpu *g, const fbq_problem *problem, const packed *layer, int64_t m,
                         const uint16_t *x, uint16_t *y, run_times *times, fbq_error *error)
{
    fbq_plan *plan = NULL;
    *times = (run_times){0};
    fbq_status status = fbq_prepare(g->fbq, problem, NULL, NULL, &plan, error);
    if (status != FBQ_OK)
        return status;
    placed p = place(layer, m, plan, g->l2_bytes);
    status = cuda_driver_check(&g->driver, g->driver.alloc(&p.base, p.bytes), "cuMemAlloc", error);
    if (status == FBQ_OK) {
        status = launch(g, plan, layer, &p, m, x, y, times, error);
        /* A failure may have left launches behind; nothing is freed under them. */
        g->driver.stream_wait(g->stream);
        g->driver.free(p.base);
    }
    fbq_plan_free(plan);
    return status;
}
