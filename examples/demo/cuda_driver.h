/* cuda_driver.h: the few functions of the CUDA driver that the demo calls itself, opened at run
 * time, so that it starts on machines without CUDA. <cuda.h> gives the types alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include <cuda.h>
#include <fbq/types.h>

/*      member                  exported name                    arguments */
#define CUDA_DRIVER_FUNCTIONS(X)                                                              \
    X(init, "cuInit", (unsigned flags))                                                       \
    X(device_get, "cuDeviceGet", (CUdevice * device, int ordinal))                            \
    X(device_attribute, "cuDeviceGetAttribute", (int *value, int attribute, CUdevice device)) \
    X(retain, "cuDevicePrimaryCtxRetain", (CUcontext * context, CUdevice device))             \
    X(release, "cuDevicePrimaryCtxRelease_v2", (CUdevice device))                             \
    X(set_current, "cuCtxSetCurrent", (CUcontext context))                                    \
    X(alloc, "cuMemAlloc_v2", (CUdeviceptr * memory, size_t bytes))                           \
    X(free, "cuMemFree_v2", (CUdeviceptr memory))                                             \
    X(to_device, "cuMemcpyHtoD_v2", (CUdeviceptr to, const void *from, size_t bytes))         \
    X(to_host, "cuMemcpyDtoH_v2", (void *to, CUdeviceptr from, size_t bytes))                 \
    X(stream_create, "cuStreamCreate", (CUstream * stream, unsigned flags))                   \
    X(stream_wait, "cuStreamSynchronize", (CUstream stream))                                  \
    X(stream_destroy, "cuStreamDestroy_v2", (CUstream stream))                                \
    X(event_create, "cuEventCreate", (CUevent * event, unsigned flags))                       \
    X(event_record, "cuEventRecord", (CUevent event, CUstream stream))                        \
    X(event_wait, "cuEventSynchronize", (CUevent event))                                      \
    X(event_elapsed, "cuEventElapsedTime", (float *ms, CUevent first, CUevent last))          \
    X(event_destroy, "cuEventDestroy_v2", (CUevent event))

typedef struct cuda_driver {
    void *library;
#define CUDA_DRIVER_DECLARE(member, name, arguments) CUresult(*member) arguments;
    CUDA_DRIVER_FUNCTIONS(CUDA_DRIVER_DECLARE)
#undef CUDA_DRIVER_DECLARE
    CUresult (*error_name)(CUresult result, const char **name);
} cuda_driver;

/* FBQ_ERR_NO_DRIVER or FBQ_ERR_OLD_DRIVER. */
fbq_status cuda_driver_open(cuda_driver *driver, fbq_error *error);
void cuda_driver_close(cuda_driver *driver);

/* FBQ_OK, or FBQ_ERR_CUDA with `what` and the result's name. */
fbq_status cuda_driver_check(const cuda_driver *driver, CUresult result, const char *what,
                             fbq_error *error);

#endif /* CUDA_DRIVER_H */
