/* cuda_driver.c: dlopen and dlsym.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cuda_driver.h"

#include <calibrate.h>
#include <dlfcn.h>
#include <string.h>

/* A function's address through memory: ISO C has no cast from void * to a function pointer. */
static int find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

fbq_status cuda_driver_open(cuda_driver *driver, fbq_error *error)
{
    *driver = (cuda_driver){0};
    driver->library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver->library == NULL)
        return calibrate_fail(error, FBQ_ERR_NO_DRIVER, "the CUDA driver cannot be opened: %s",
                              dlerror());
    const char *missing = NULL;
#define CUDA_DRIVER_FIND(member, name, arguments)      \
    if (!find(driver->library, name, &driver->member)) \
        missing = name;
    CUDA_DRIVER_FUNCTIONS(CUDA_DRIVER_FIND)
#undef CUDA_DRIVER_FIND
    if (!find(driver->library, "cuGetErrorName", &driver->error_name))
        missing = "cuGetErrorName";
    if (missing == NULL)
        return FBQ_OK;
    cuda_driver_close(driver);
    return calibrate_fail(error, FBQ_ERR_OLD_DRIVER, "the CUDA driver has no %s", missing);
}

void cuda_driver_close(cuda_driver *driver)
{
    if (driver->library != NULL)
        dlclose(driver->library);
    *driver = (cuda_driver){0};
}

fbq_status cuda_driver_check(const cuda_driver *driver, CUresult result, const char *what,
                             fbq_error *error)
{
    const char *name = NULL;
    if (result == CUDA_SUCCESS)
        return FBQ_OK;
    driver->error_name(result, &name);
    calibrate_fail(error, FBQ_ERR_CUDA, "%s: the driver says %s", what,
                   name != NULL ? name : "an unknown error");
    if (error != NULL)
        error->cuda = (int)result;
    return FBQ_ERR_CUDA;
}
