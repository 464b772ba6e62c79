/* green.c: see green.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "green.h"

#include <cuda.h>
#include <string.h>

#if CUDA_VERSION >= 12040
/* A function of the driver, into *to, a pointer to one. */
static int driver_function(const char *name, unsigned version, void *to, fail *f)
{
    enum cudaDriverEntryPointQueryResult status = cudaDriverEntryPointSymbolNotFound;
    void *found = NULL;
#if CUDART_VERSION >= 12050
    const cudaError_t result =
        cudaGetDriverEntryPointByVersion(name, &found, version, cudaEnableDefault, &status);
#else
    const cudaError_t result = cudaGetDriverEntryPoint(name, &found, cudaEnableDefault, &status);
#endif
    if (result != cudaSuccess || status != cudaDriverEntryPointSuccess || !found)
        return failf(f, "the driver has no %s: expected one for CUDA %u.%u or later", name,
                     version / 1000, version % 1000 / 10);
    memcpy(to, &found, sizeof found);
    return 0;
}

/* 0, or the reason why a call of the driver failed; its numbers are those of the runtime. */
static int failed(CUresult result, const char *what, fail *f)
{
    return result == CUDA_SUCCESS
               ? 0
               : failf(f, "%s: %s", what, cudaGetErrorString((cudaError_t)result));
}

/*    member    driver's name                 version   parameters */
#define FUNCTIONS(X)                                                                             \
    X(device, "cuDeviceGet", 2000, (CUdevice *, int))                                            \
    X(all, "cuDeviceGetDevResource", 12040, (CUdevice, CUdevResource *, CUdevResourceType))      \
    X(split, "cuDevSmResourceSplitByCount", 12040,                                               \
      (CUdevResource *, unsigned *, const CUdevResource *, CUdevResource *, unsigned, unsigned)) \
    X(describe, "cuDevResourceGenerateDesc", 12040,                                              \
      (CUdevResourceDesc *, CUdevResource *, unsigned))                                          \
    X(create, "cuGreenCtxCreate", 12040, (CUgreenCtx *, CUdevResourceDesc, CUdevice, unsigned))  \
    X(context, "cuCtxFromGreenCtx", 12040, (CUcontext *, CUgreenCtx))                            \
    X(enter, "cuCtxSetCurrent", 4000, (CUcontext))

typedef struct functions {
#define DECLARE(member, name, version, parameters) CUresult(CUDAAPI *member) parameters;
    FUNCTIONS(DECLARE)
#undef DECLARE
} functions;

static int functions_get(functions *d, fail *f)
{
#define GET(member, name, version, parameters) TRY(driver_function(name, version, &d->member, f));
    FUNCTIONS(GET)
#undef GET
    return 0;
}

/* So many of the multiprocessors of a device, or as few more as there can be. */
static int part_of(const functions *d, CUdevice device, int sms, CUdevResource *part, fail *f)
{
    CUdevResource all, rest;
    unsigned parts = 1;
    TRY(failed(d->all(device, &all, CU_DEV_RESOURCE_TYPE_SM), "cuDeviceGetDevResource", f));
    if ((unsigned)sms > all.sm.smCount)
        return failf(f, "--sms %d, but the GPU has %u multiprocessors", sms, all.sm.smCount);
    TRY(failed(d->split(part, &parts, &all, &rest, CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING,
                        (unsigned)sms),
               "cuDevSmResourceSplitByCount", f));
    return parts == 1 ? 0
                      : failf(f, "--sms %d: the driver cannot part them from the GPU's %u", sms,
                              all.sm.smCount);
}

int green_enter(gpu *g, int sms, fail *f)
{
    functions d;
    CUdevice device;
    CUdevResource part;
    CUdevResourceDesc description;
    CUgreenCtx green;
    CUcontext context;
    TRY(functions_get(&d, f));
    TRY(failed(d.device(&device, g->device), "cuDeviceGet", f));
    TRY(part_of(&d, device, sms, &part, f));
    TRY(failed(d.describe(&description, &part, 1), "cuDevResourceGenerateDesc", f));
    TRY(failed(d.create(&green, description, device, CU_GREEN_CTX_DEFAULT_STREAM),
               "cuGreenCtxCreate", f));
    TRY(failed(d.context(&context, green), "cuCtxFromGreenCtx", f));
    TRY(failed(d.enter(context), "cuCtxSetCurrent", f));
    g->sms = (int)part.sm.smCount;
    return 0;
}
#else
int green_enter(gpu *g, int sms, fail *f)
{
    (void)g;
    return failf(f, "--sms %d: this fbq-trial was built with the headers of a CUDA before 12.4",
                 sms);
}
#endif
