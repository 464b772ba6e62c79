/* tests/fake_driver/fake_driver.c: a CUDA driver library without a GPU, for the ways in which a
 * real one can fail. What it plays is in the environment when the call is made:
 *
 *     FBQ_FAKE_GPUS=0        sees no GPU             FBQ_FAKE_CAPABILITY=75  an older one
 *     FBQ_FAKE_CURRENT=1     the context of GPU 1 is current; -1: none is
 *     FBQ_FAKE_SMS=48        which has that many of the GPU's 132 multiprocessors
 *     FBQ_FAKE_LACKS=NAME    does not know the function NAME
 *     FBQ_FAKE_FAILS=NAME    the function NAME returns CUDA_ERROR_UNKNOWN
 *     FBQ_FAKE_LOCAL=64      kernels spill that many bytes
 *     FBQ_FAKE_THREADS=128   kernels run no more threads a block
 *
 * A launch that succeeds does nothing: results are the business of the simt and gpu tests.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <cuda.h>
#include <stdlib.h>
#include <string.h>

static int number(const char *name, int otherwise)
{
    const char *text = getenv(name);
    return text ? atoi(text) : otherwise;
}

static CUresult outcome(const char *function)
{
    const char *text = getenv("FBQ_FAKE_FAILS");
    return text && !strcmp(text, function) ? CUDA_ERROR_UNKNOWN : CUDA_SUCCESS;
}

static CUresult CUDAAPI fake_init(unsigned flags)
{
    (void)flags;
    return number("FBQ_FAKE_GPUS", 2) ? outcome("cuInit") : CUDA_ERROR_NO_DEVICE;
}

static CUresult CUDAAPI fake_device_count(int *count)
{
    *count = number("FBQ_FAKE_GPUS", 2);
    return outcome("cuDeviceGetCount");
}

static CUresult CUDAAPI fake_device_get(CUdevice *device, int ordinal)
{
    *device = ordinal;
    return outcome("cuDeviceGet");
}

static CUresult CUDAAPI fake_device_name(char *name, int bytes, CUdevice device)
{
    (void)device;
    strncpy(name, "fake GPU", (size_t)bytes);
    return outcome("cuDeviceGetName");
}

static CUresult CUDAAPI fake_device_attribute(int *value, CUdevice_attribute attribute,
                                              CUdevice device)
{
    const int capability = number("FBQ_FAKE_CAPABILITY", 90);
    (void)device;
    switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
        *value = capability / 10;
        break;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
        *value = capability % 10;
        break;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
        *value = 132;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
        *value = 232448;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
        *value = 233472;
        break;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
        *value = 65536;
        break;
    default:
        return CUDA_ERROR_INVALID_VALUE;
    }
    return outcome("cuDeviceGetAttribute");
}

static CUresult CUDAAPI fake_context_device(CUdevice *device)
{
    *device = number("FBQ_FAKE_CURRENT", 0);
    return *device < 0 ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

static CUresult CUDAAPI fake_context_current(CUcontext *context)
{
    static int some; /* for its address */
    *context = number("FBQ_FAKE_CURRENT", 0) < 0 ? NULL : (CUcontext)(void *)&some;
    return outcome("cuCtxGetCurrent");
}

static CUresult CUDAAPI fake_context_resource(CUcontext context, CUdevResource *resource,
                                              CUdevResourceType type)
{
    if (!context || type != CU_DEV_RESOURCE_TYPE_SM)
        return CUDA_ERROR_INVALID_VALUE;
    resource->type = type;
    resource->sm.smCount = (unsigned)number("FBQ_FAKE_SMS", 132);
    return outcome("cuCtxGetDevResource");
}

static CUresult CUDAAPI fake_error_name(CUresult result, const char **text)
{
    *text = result == CUDA_ERROR_UNKNOWN ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR_OTHER";
    return CUDA_SUCCESS;
}

static CUresult CUDAAPI fake_error_string(CUresult result, const char **text)
{
    (void)result;
    *text = "as the test asked";
    return CUDA_SUCCESS;
}

static int loaded;

static CUresult CUDAAPI fake_library_load(CUlibrary *library, const void *image,
                                          CUjit_option *options, void **values, unsigned count,
                                          CUlibraryOption *library_options, void **library_values,
                                          unsigned library_count)
{
    (void)image, (void)options, (void)values, (void)count;
    (void)library_options, (void)library_values, (void)library_count;
    if (outcome("cuLibraryLoadData") != CUDA_SUCCESS)
        return CUDA_ERROR_UNKNOWN;
    loaded++;
    *library = (CUlibrary)(void *)&loaded;
    return CUDA_SUCCESS;
}

static CUresult CUDAAPI fake_library_unload(CUlibrary library)
{
    (void)library;
    loaded--;
    return CUDA_SUCCESS;
}

static CUresult CUDAAPI fake_library_kernel(CUkernel *kernel, CUlibrary library, const char *name)
{
    (void)name;
    *kernel = (CUkernel)(void *)library;
    return outcome("cuLibraryGetKernel");
}

static CUresult CUDAAPI fake_kernel_function(CUfunction *function, CUkernel kernel)
{
    *function = (CUfunction)(void *)kernel;
    return outcome("cuKernelGetFunction");
}

static CUresult CUDAAPI fake_kernel_attribute(int *value, CUfunction_attribute attribute,
                                              CUkernel kernel, CUdevice device)
{
    (void)kernel, (void)device;
    *value = attribute == CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES ? number("FBQ_FAKE_LOCAL", 0)
                                                             : number("FBQ_FAKE_THREADS", 1024);
    return outcome("cuKernelGetAttribute");
}

static CUresult CUDAAPI fake_kernel_set_attribute(CUfunction_attribute attribute, int value,
                                                  CUkernel kernel, CUdevice device)
{
    (void)attribute, (void)value, (void)kernel, (void)device;
    return outcome("cuKernelSetAttribute");
}

static CUresult CUDAAPI fake_launch(const CUlaunchConfig *config, CUfunction function,
                                    void **parameters, void **extra)
{
    (void)config, (void)function, (void)parameters, (void)extra;
    return outcome("cuLaunchKernelEx");
}

/* Libraries loaded and not unloaded: the tests look for 0 in the end. */
int fbq_fake_loaded(void);
int fbq_fake_loaded(void)
{
    return loaded;
}

typedef void (*any_function)(void);

CUresult CUDAAPI cuGetProcAddress(const char *symbol, void **function, int version,
                                  cuuint64_t flags, CUdriverProcAddressQueryResult *status)
{
    static const struct {
        const char *name;
        any_function function;
    } known[] = {{"cuInit", (any_function)fake_init},
                 {"cuDeviceGetCount", (any_function)fake_device_count},
                 {"cuDeviceGet", (any_function)fake_device_get},
                 {"cuDeviceGetName", (any_function)fake_device_name},
                 {"cuDeviceGetAttribute", (any_function)fake_device_attribute},
                 {"cuCtxGetDevice", (any_function)fake_context_device},
                 {"cuCtxGetCurrent", (any_function)fake_context_current},
                 {"cuCtxGetDevResource", (any_function)fake_context_resource},
                 {"cuGetErrorName", (any_function)fake_error_name},
                 {"cuGetErrorString", (any_function)fake_error_string},
                 {"cuLibraryLoadData", (any_function)fake_library_load},
                 {"cuLibraryUnload", (any_function)fake_library_unload},
                 {"cuLibraryGetKernel", (any_function)fake_library_kernel},
                 {"cuKernelGetFunction", (any_function)fake_kernel_function},
                 {"cuKernelGetAttribute", (any_function)fake_kernel_attribute},
                 {"cuKernelSetAttribute", (any_function)fake_kernel_set_attribute},
                 {"cuLaunchKernelEx", (any_function)fake_launch}};
    const char *lacks = getenv("FBQ_FAKE_LACKS");
    (void)version, (void)flags, (void)status;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(symbol, known[i].name) && !(lacks && !strcmp(symbol, lacks))) {
            memcpy(function, &known[i].function, sizeof *function);
            return CUDA_SUCCESS;
        }
    *function = NULL;
    return CUDA_ERROR_NOT_FOUND;
}
