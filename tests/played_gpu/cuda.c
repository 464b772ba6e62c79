/* tests/played_gpu/cuda.c: see played.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "played.h"

#include <cuda.h>
#include <stdlib.h>
#include <string.h>

typedef struct operation {
    void (*run)(const void *arguments);
    _Alignas(16) unsigned char arguments[256];
} operation;

/* A graph; executing one is the same. */
struct CUgraph_st {
    operation *list;
    int count, room;
};

struct CUevent_st {
    double at;
};

static struct CUgraph_st *captured; /* being captured; NULL: nothing is */
static double now;
static int hangs;
static cudaError_t broken;

void played_pass(double us)
{
    now += us;
}

void played_hang(void)
{
    hangs = 1;
}

void played_fail(cudaError_t error)
{
    broken = error;
}

cudaError_t played_launch(void (*run)(const void *arguments), const void *arguments, size_t bytes)
{
    operation o = {run, {0}};
    if (broken || bytes > sizeof o.arguments)
        return broken ? broken : cudaErrorInvalidValue;
    memcpy(o.arguments, arguments, bytes);
    if (!captured) {
        run(o.arguments);
        return broken;
    }
    if (captured->count == captured->room) {
        captured->room = captured->room ? 2 * captured->room : 64;
        captured->list = realloc(captured->list, (size_t)captured->room * sizeof o);
        if (!captured->list)
            abort();
    }
    captured->list[captured->count++] = o;
    return cudaSuccess;
}

/* ---- The driver: a primary context and a green one ---- */

enum { ALL = 132 };

static struct context {
    int sms;
} primary = {ALL}, green;
static _Thread_local CUcontext current;

const void *played_context(void)
{
    return current;
}

int played_sms(void)
{
    return ((const struct context *)played_context())->sms;
}

static CUresult CUDAAPI context_set(CUcontext context)
{
    current = context;
    return CUDA_SUCCESS;
}

static CUresult CUDAAPI device_get(CUdevice *device, int ordinal)
{
    *device = ordinal;
    return CUDA_SUCCESS;
}

static CUresult CUDAAPI device_resource(CUdevice device, CUdevResource *all, CUdevResourceType type)
{
    (void)device;
    all->type = type;
    all->sm.smCount = ALL;
    return CUDA_SUCCESS;
}

/* Even numbers of them. */
static CUresult CUDAAPI resource_split(CUdevResource *part, unsigned *parts,
                                       const CUdevResource *all, CUdevResource *rest,
                                       unsigned flags, unsigned least)
{
    (void)flags;
    *part = *rest = *all;
    part->sm.smCount = (least + 1) / 2 * 2;
    rest->sm.smCount -= part->sm.smCount;
    return *parts == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult CUDAAPI resource_describe(CUdevResourceDesc *description, CUdevResource *list,
                                          unsigned count)
{
    green.sms = (int)list->sm.smCount;
    *description = NULL;
    return count == 1 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult CUDAAPI green_create(CUgreenCtx *context, CUdevResourceDesc description,
                                     CUdevice device, unsigned flags)
{
    (void)description, (void)device;
    *context = (CUgreenCtx)(void *)&green;
    return flags == CU_GREEN_CTX_DEFAULT_STREAM ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static CUresult CUDAAPI green_context(CUcontext *context, CUgreenCtx of)
{
    *context = (CUcontext)(void *)of;
    return CUDA_SUCCESS;
}

typedef void (*any_function)(void);

cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **function, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *status)
{
    static const struct {
        const char *name;
        any_function function;
    } known[] = {{"cuCtxSetCurrent", (any_function)context_set},
                 {"cuDeviceGet", (any_function)device_get},
                 {"cuDeviceGetDevResource", (any_function)device_resource},
                 {"cuDevSmResourceSplitByCount", (any_function)resource_split},
                 {"cuDevResourceGenerateDesc", (any_function)resource_describe},
                 {"cuGreenCtxCreate", (any_function)green_create},
                 {"cuCtxFromGreenCtx", (any_function)green_context}};
    const char *const lacks = getenv("PLAYED_LACKS");
    (void)version, (void)flags;
    *status = cudaDriverEntryPointSymbolNotFound;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(name, known[i].name) && !(lacks && !strcmp(name, lacks))) {
            memcpy(function, &known[i].function, sizeof *function);
            *status = cudaDriverEntryPointSuccess;
        }
    return cudaSuccess;
}

/* ---- The device ---- */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    current = device ? current : (CUcontext)&primary;
    return device ? cudaErrorInvalidDevice : cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device)
{
    (void)device;
    memset(p, 0, sizeof *p);
    strcpy(p->name, "played GPU");
    p->major = 9;
    p->multiProcessorCount = ALL;
    p->l2CacheSize = 4096;
    const int uuid = getenv("PLAYED_UUID") ? atoi(getenv("PLAYED_UUID")) : 0;
    memcpy(p->uuid.bytes, &uuid, sizeof uuid);
    return broken;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device)
{
    (void)device;
    *value = attribute == cudaDevAttrMpsEnabled && getenv("PLAYED_MPS") != NULL;
    return broken;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaErrorPlayed";
}

const char *cudaGetErrorString(cudaError_t error)
{
    return error == cudaErrorIllegalAddress ? "an illegal memory access" : "some error";
}

cudaError_t cudaGetLastError(void)
{
    return broken;
}

/* ---- Memory ---- */

cudaError_t cudaMalloc(void **to, size_t bytes)
{
    *to = broken ? NULL : aligned_alloc(256, (bytes + 255) / 256 * 256);
    return broken ? broken : *to ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void *memory)
{
    played_flush();
    free(memory);
    return broken;
}

typedef struct copying {
    void *to;
    const void *from;
    size_t bytes;
    int value;
} copying;

static void copy(const void *arguments)
{
    const copying *c = arguments;
    played_flush();
    memcpy(c->to, c->from, c->bytes);
}

static void set(const void *arguments)
{
    const copying *c = arguments;
    played_flush();
    memset(c->to, c->value, c->bytes);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    const copying c = {to, from, bytes, 0};
    (void)kind;
    (void)stream;
    return played_launch(copy, &c, sizeof c);
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    const copying c = {to, NULL, bytes, value};
    (void)stream;
    return played_launch(set, &c, sizeof c);
}

/* ---- Streams, events, graphs ---- */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    (void)flags;
    *stream = NULL;
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = calloc(1, sizeof **event);
    return *event ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    event->at = now;
    return broken;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    (void)event;
    return broken ? broken : hangs ? cudaErrorNotReady : cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t stop)
{
    *ms = (float)((stop->at - start->at) * 1e-3);
    return broken;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    (void)stream;
    (void)mode;
    captured = calloc(1, sizeof *captured);
    return captured ? broken : cudaErrorMemoryAllocation;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    (void)stream;
    *graph = captured;
    captured = NULL;
    return broken;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    struct CUgraph_st *own = malloc(sizeof *own);
    (void)flags;
    if (!own)
        return cudaErrorMemoryAllocation;
    *own = *graph; /* the list goes along */
    graph->list = NULL;
    *exec = (cudaGraphExec_t)own;
    return broken;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    free(graph->list);
    free(graph);
    return broken;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return cudaGraphDestroy((cudaGraph_t)exec);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    const struct CUgraph_st *graph = (const struct CUgraph_st *)exec;
    (void)stream;
    for (int i = 0; i < graph->count && !broken; i++)
        graph->list[i].run(graph->list[i].arguments);
    return broken;
}
