/* fbq/host/gpu.h: the CUDA driver, opened at run time, and the GPU of a context.
 *
 * Every function is asked for at a pinned version (cuGetProcAddress), so that a newer driver cannot
 * change what a call means. Code is loaded as CUlibrary and CUkernel, which know no CUcontext.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_GPU_H
#define FBQ_HOST_GPU_H

#include "posix.h"

#include <cuda.h>

#include "cubins.h"
#include "jit.h"
#include "shipped.h"
#include "wisdom_file.h"

#if CUDA_VERSION < 12000
#error "fbq needs the headers of CUDA 12 or later"
#endif

/*    member       driver's name           version   parameters */
#define FBQ__DRIVER_FUNCTIONS(X)                                                                 \
    X(init, "cuInit", 2000, (unsigned))                                                          \
    X(device_count, "cuDeviceGetCount", 2000, (int *))                                           \
    X(device_get, "cuDeviceGet", 2000, (CUdevice *, int))                                        \
    X(device_name, "cuDeviceGetName", 2000, (char *, int, CUdevice))                             \
    X(device_attribute, "cuDeviceGetAttribute", 2000, (int *, CUdevice_attribute, CUdevice))     \
    X(context_device, "cuCtxGetDevice", 2000, (CUdevice *))                                      \
    X(error_name, "cuGetErrorName", 6000, (CUresult, const char **))                             \
    X(error_string, "cuGetErrorString", 6000, (CUresult, const char **))                         \
    X(library_load, "cuLibraryLoadData", 12000,                                                  \
      (CUlibrary *, const void *, CUjit_option *, void **, unsigned, CUlibraryOption *, void **, \
       unsigned))                                                                                \
    X(library_unload, "cuLibraryUnload", 12000, (CUlibrary))                                     \
    X(library_kernel, "cuLibraryGetKernel", 12000, (CUkernel *, CUlibrary, const char *))        \
    X(kernel_function, "cuKernelGetFunction", 12000, (CUfunction *, CUkernel))                   \
    X(kernel_attribute, "cuKernelGetAttribute", 12000,                                           \
      (int *, CUfunction_attribute, CUkernel, CUdevice))                                         \
    X(kernel_set_attribute, "cuKernelSetAttribute", 12000,                                       \
      (CUfunction_attribute, int, CUkernel, CUdevice))                                           \
    X(launch, "cuLaunchKernelEx", 11060, (const CUlaunchConfig *, CUfunction, void **, void **))

/* What older drivers, or the headers of older CUDAs, lack: NULL then, or no member at all. */
#if CUDA_VERSION >= 12040
#define FBQ__DRIVER_EXTRAS(X)                                  \
    X(context_current, "cuCtxGetCurrent", 4000, (CUcontext *)) \
    X(context_resource, "cuCtxGetDevResource", 12040,          \
      (CUcontext, CUdevResource *, CUdevResourceType))
#else
#define FBQ__DRIVER_EXTRAS(X)
#endif

typedef struct fbq__driver {
    void *library;
#define FBQ__DECLARE(member, name, version, parameters) CUresult(CUDAAPI *member) parameters;
    FBQ__DRIVER_FUNCTIONS(FBQ__DECLARE)
    FBQ__DRIVER_EXTRAS(FBQ__DECLARE)
#undef FBQ__DECLARE
} fbq__driver;

struct fbq_context {
    fbq__driver driver;
    fbq__nvrtc nvrtc;
    fbq_gpu gpu;
    CUdevice device;
    int ptx; /* capability to compile PTX for, 0: a cubin for the GPU */
    fbq__cubins cubins;
    fbq_wisdom *wisdom, *shipped;
};

static fbq_status fbq__driver_open(const char *path, fbq__driver *d, fbq_error *error)
{
    static const char *const names[] = {"libcuda.so.1"};
    CUresult(CUDAAPI * get)(const char *, void **, int, cuuint64_t,
                            CUdriverProcAddressQueryResult *);
    memset(d, 0, sizeof *d);
    d->library = fbq__open_first(path, names, 1);
    if (!d->library)
        return fbq__fail(error, FBQ_ERR_NO_DRIVER, 0,
                         "cannot open %s: this machine has no NVIDIA driver, or its folder is not "
                         "on the loader's path",
                         path ? path : names[0]);
    const char *missing = "cuGetProcAddress_v2";
    if (fbq__symbol(d->library, missing, &get)) {
        missing = NULL;
#define FBQ__GET(member, name, version, parameters)                                          \
    if (!missing) {                                                                          \
        void *found = NULL;                                                                  \
        if (get(name, &found, version, CU_GET_PROC_ADDRESS_DEFAULT, NULL) != CUDA_SUCCESS || \
            !found)                                                                          \
            missing = name;                                                                  \
        memcpy(&d->member, &found, sizeof found);                                            \
    }
        FBQ__DRIVER_FUNCTIONS(FBQ__GET)
#undef FBQ__GET
#define FBQ__GET(member, name, version, parameters)                                        \
    {                                                                                      \
        void *found = NULL;                                                                \
        if (get(name, &found, version, CU_GET_PROC_ADDRESS_DEFAULT, NULL) == CUDA_SUCCESS) \
            memcpy(&d->member, &found, sizeof found);                                      \
    }
        FBQ__DRIVER_EXTRAS(FBQ__GET)
#undef FBQ__GET
    }
    if (missing) {
        dlclose(d->library);
        d->library = NULL;
        return fbq__fail(error, FBQ_ERR_OLD_DRIVER, 0,
                         "the driver has no %s: expected one for CUDA 12 or later", missing);
    }
    return FBQ_OK;
}

static fbq_status fbq__cuda_fail(const fbq__driver *d, CUresult result, const char *what,
                                 fbq_error *error)
{
    const char *name = NULL, *text = NULL;
    d->error_name(result, &name);
    d->error_string(result, &text);
    return fbq__fail(error, FBQ_ERR_CUDA, (int)result, "%s: %s: %s", what, name ? name : "?",
                     text ? text : "?");
}

#define FBQ__CUDA(driver, call, what, error)                         \
    do {                                                             \
        CUresult fbq__result = (driver)->call;                       \
        if (fbq__result != CUDA_SUCCESS)                             \
            return fbq__cuda_fail(driver, fbq__result, what, error); \
    } while (0)

static fbq_status fbq__gpu_read(const fbq__driver *d, int ordinal, CUdevice *device, fbq_gpu *gpu,
                                fbq_error *error)
{
    int count = 0, major = 0, minor = 0;
    CUresult result = d->init(0);
    if (result == CUDA_SUCCESS)
        result = d->device_count(&count);
    if (result != CUDA_SUCCESS && result != CUDA_ERROR_NO_DEVICE)
        return fbq__cuda_fail(d, result, "cuInit", error);
    if (ordinal < 0 || ordinal >= count)
        return fbq__fail(error, FBQ_ERR_NO_DEVICE, (int)result,
                         "options.device is %d; the driver sees %d GPUs", ordinal, count);
    memset(gpu, 0, sizeof *gpu);
    FBQ__CUDA(d, device_get(device, ordinal), "cuDeviceGet", error);
    FBQ__CUDA(d, device_name(gpu->name, (int)sizeof gpu->name, *device), "cuDeviceGetName", error);
    struct {
        CUdevice_attribute attribute;
        int *value;
    } wanted[] = {
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, &major},
        {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, &minor},
        {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, &gpu->sms},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, &gpu->shared_block},
        {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, &gpu->shared_sm},
        {CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, &gpu->registers_sm},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
        FBQ__CUDA(d, device_attribute(wanted[i].value, wanted[i].attribute, *device),
                  "cuDeviceGetAttribute", error);
    gpu->capability = major * 10 + minor;
    if (gpu->capability < 80)
        return fbq__fail(error, FBQ_ERR_CAPABILITY, 0,
                         "GPU %d (%s) has compute capability %d.%d; expected 8.0 or later", ordinal,
                         gpu->name, major, minor);
    return FBQ_OK;
}

/* A green context has part of its GPU's multiprocessors: those count where it is current. */
static void fbq__gpu_confine(const fbq__driver *d, CUdevice device, fbq_gpu *gpu)
{
#if CUDA_VERSION >= 12040
    CUdevResource part;
    CUcontext current = NULL;
    CUdevice its;
    memset(&part, 0, sizeof part);
    if (!d->context_current || !d->context_resource || d->context_device(&its) != CUDA_SUCCESS ||
        its != device || d->context_current(&current) != CUDA_SUCCESS || !current ||
        d->context_resource(current, &part, CU_DEV_RESOURCE_TYPE_SM) != CUDA_SUCCESS)
        return;
    if (part.sm.smCount >= 1 && part.sm.smCount < (unsigned)gpu->sms)
        gpu->sms = (int)part.sm.smCount;
#else
    (void)d, (void)device, (void)gpu;
#endif
}

/* Read the wisdom file, "" for none; whatever is wrong with it is a warning in the wisdom. */
static fbq_status fbq__context_wisdom_read(fbq_context *context, const char *file, fbq_error *error)
{
    char path[FBQ__PATH_BYTES];
    fbq_error why;
    fbq_status status = FBQ_OK;
    FBQ__TRY(fbq_wisdom_new(&context->wisdom, error));
    if (!file)
        status = fbq_wisdom_path(path, sizeof path, &why);
    if (status == FBQ_OK && (!file || file[0]))
        status = fbq_wisdom_read(context->wisdom, file ? file : path, &why);
    if (status == FBQ_ERR_OUT_OF_HOST)
        return fbq__fail(error, status, 0, "%s", why.detail);
    if (status != FBQ_OK)
        snprintf(context->wisdom->warning, sizeof context->wisdom->warning, "%.511s", why.detail);
    return FBQ_OK;
}

fbq_status fbq_open(const fbq_options *options, fbq_context **context, fbq_error *error)
{
    fbq_options defaults;
    fbq_context *c;
    fbq_status status;
    FBQ__NOT_NULL(context, error);
    memset(&defaults, 0, sizeof defaults);
    if (!options)
        options = &defaults;
    if (options->ptx && options->ptx < 80)
        return fbq__fail(error, FBQ_ERR_CAPABILITY, 0,
                         "options.ptx is %d; expected 0 or a capability from 80 on", options->ptx);
    c = (fbq_context *)FBQ_MALLOC(sizeof *c);
    if (!c)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", sizeof *c);
    memset(c, 0, sizeof *c);
    c->ptx = options->ptx;
    status = fbq__driver_open(options->cuda_library, &c->driver, error);
    if (status == FBQ_OK)
        status = fbq__gpu_read(&c->driver, options->device, &c->device, &c->gpu, error);
    if (status == FBQ_OK)
        fbq__gpu_confine(&c->driver, c->device, &c->gpu);
    if (status == FBQ_OK)
        status = fbq__nvrtc_open(options->nvrtc_library, &c->nvrtc, error);
    if (status == FBQ_OK)
        status = fbq__cubins_open(&c->cubins, options->cubin_folder, options->never_compile,
                                  &c->nvrtc, error);
    if (status == FBQ_OK)
        status = fbq__context_wisdom_read(c, options->wisdom_file, error);
    if (status == FBQ_OK)
        status = fbq__shipped_read(&c->shipped, error);
    if (status != FBQ_OK) {
        fbq_close(c);
        return status;
    }
    *context = c;
    return FBQ_OK;
}

void fbq_close(fbq_context *context)
{
    if (!context)
        return;
    fbq__nvrtc_close(&context->nvrtc);
    if (context->driver.library)
        dlclose(context->driver.library);
    fbq_wisdom_free(context->wisdom);
    fbq_wisdom_free(context->shipped);
    FBQ_FREE(context);
}

fbq_status fbq_context_gpu(const fbq_context *context, fbq_gpu *gpu)
{
    if (!context || !gpu)
        return FBQ_ERR_NULL;
    *gpu = context->gpu;
    return FBQ_OK;
}

int fbq_context_nvrtc(const fbq_context *context)
{
    int major = 0, minor = 0;
    return context && !context->nvrtc.version(&major, &minor) ? 1000 * major + 10 * minor : 0;
}

const fbq_wisdom *fbq_context_wisdom(const fbq_context *context)
{
    return context ? context->wisdom : NULL;
}

/* Is a CUcontext of this GPU current in this thread? */
static fbq_status fbq__current_check(const fbq_context *context, fbq_error *error)
{
    CUdevice current;
    const CUresult result = context->driver.context_device(&current);
    if (result != CUDA_SUCCESS)
        return fbq__fail(error, FBQ_ERR_WRONG_DEVICE, (int)result,
                         "no CUcontext is current in this thread: call cudaSetDevice, or "
                         "cuCtxSetCurrent, first");
    if (current != context->device)
        return fbq__fail(error, FBQ_ERR_WRONG_DEVICE, 0,
                         "the current CUcontext belongs to device %d, the fbq_context to device %d",
                         (int)current, (int)context->device);
    return FBQ_OK;
}

#endif /* FBQ_HOST_GPU_H */
