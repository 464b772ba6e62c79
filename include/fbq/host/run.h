/* fbq/host/run.h: plans, and the launch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_RUN_H
#define FBQ_HOST_RUN_H

#include "geometry.h"
#include "gpu.h"

/* Kernels of a plan by columns: index 0 serves one row of x, index 1 up to eight. */
struct fbq_plan {
    const fbq_context *context;
    fbq__fixed fixed;
    CUlibrary library;
    CUkernel down[2], fused[2];
};

static int fbq__columns_index(int64_t m)
{
    return m == 1 ? 0 : 1;
}

/* Load a kernel now, since loading is lazy and a launch must not do it, and let it have all the
 * shared memory that its pick may ask for. */
static fbq_status fbq__kernel_load(fbq_plan *plan, fbq_kernel kernel, int columns, CUkernel *out,
                                   fbq_error *error)
{
    const fbq__driver *d = &plan->context->driver;
    CUdevice device = plan->context->device;
    CUfunction function;
    char name[32];
    int local = 0;
    fbq__entry_name(kernel, columns, name, sizeof name);
    FBQ__CUDA(d, library_kernel(out, plan->library, name), "cuLibraryGetKernel", error);
    FBQ__CUDA(d, kernel_function(&function, *out), "cuKernelGetFunction", error);
    FBQ__CUDA(d, kernel_attribute(&local, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, *out, device),
              "cuKernelGetAttribute", error);
    if (local > 0)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "%s spills %d bytes a thread with this pick and compiler: choose fewer "
                         "chunks or blocks_per_sm",
                         name, local);
    if (kernel == FBQ_KERNEL_FUSED)
        FBQ__CUDA(d,
                  kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                       plan->context->gpu.shared_block, *out, device),
                  "cuKernelSetAttribute", error);
    return FBQ_OK;
}

static fbq_status fbq__plan_build(fbq_plan *plan, fbq_error *error)
{
    const fbq_context *c = plan->context;
    const fbq__fixed *f = &plan->fixed;
    const int branch = f->layout.rank_tiles > 0;
    const fbq_pick *picks[2] = {&f->fused, &f->down};
    char source[FBQ__PROGRAM_BYTES];
    void *image;
    size_t bytes;
    CUresult result;
    fbq__program_source(&f->problem, branch, picks, branch ? 2 : 1, source, sizeof source);
    FBQ__TRY(fbq__nvrtc_build(&c->nvrtc, source, c->ptx ? c->ptx : c->gpu.capability, c->ptx != 0,
                              &image, &bytes, error));
    result = c->driver.library_load(&plan->library, image, NULL, NULL, 0, NULL, NULL, 0);
    FBQ_FREE(image);
    if (result != CUDA_SUCCESS)
        return fbq__cuda_fail(&c->driver, result, "cuLibraryLoadData", error);
    for (int columns = 1; columns <= (f->problem.m_max > 1 ? 8 : 1); columns += 7) {
        int i = fbq__columns_index(columns);
        FBQ__TRY(fbq__kernel_load(plan, FBQ_KERNEL_FUSED, columns, &plan->fused[i], error));
        if (branch)
            FBQ__TRY(fbq__kernel_load(plan, FBQ_KERNEL_DOWN, columns, &plan->down[i], error));
    }
    return FBQ_OK;
}

static fbq_status fbq__pick_take(const fbq_context *c, const fbq_problem *problem,
                                 fbq_kernel kernel, const fbq_pick *given, fbq_pick *pick,
                                 fbq_error *error)
{
    if (!given)
        return fbq_pick_default(problem, &c->gpu, kernel, pick, error);
    if (given->kernel != kernel)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "the pick given for %s is one for kernel %d",
                         fbq__kernel_name[kernel], (int)given->kernel);
    *pick = *given;
    return fbq_pick_check(problem, &c->gpu, given, error);
}

fbq_status fbq_prepare(fbq_context *context, const fbq_problem *problem, const fbq_pick *down,
                       const fbq_pick *fused, fbq_plan **plan, fbq_error *error)
{
    fbq_layout layout;
    fbq_pick picks[FBQ_KERNELS];
    CUdevice current;
    CUresult result;
    fbq_plan *p;
    fbq_status status;
    FBQ__NOT_NULL(context, error);
    FBQ__NOT_NULL(plan, error);
    FBQ__TRY(fbq__problem_check(problem, &layout, error));
    FBQ__TRY(fbq__pick_take(context, problem, FBQ_KERNEL_DOWN, down, &picks[0], error));
    FBQ__TRY(fbq__pick_take(context, problem, FBQ_KERNEL_FUSED, fused, &picks[1], error));
    result = context->driver.context_device(&current);
    if (result != CUDA_SUCCESS)
        return fbq__fail(error, FBQ_ERR_WRONG_DEVICE, (int)result,
                         "no CUcontext is current in this thread: call cudaSetDevice, or "
                         "cuCtxSetCurrent, first");
    if (current != context->device)
        return fbq__fail(error, FBQ_ERR_WRONG_DEVICE, 0,
                         "the current CUcontext belongs to device %d, the fbq_context to device %d",
                         (int)current, (int)context->device);
    p = (fbq_plan *)FBQ_MALLOC(sizeof *p);
    if (!p)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", sizeof *p);
    memset(p, 0, sizeof *p);
    p->context = context;
    p->fixed.layout = layout;
    p->fixed.problem = *problem;
    p->fixed.gpu = context->gpu;
    p->fixed.down = picks[0];
    p->fixed.fused = picks[1];
    status = fbq__plan_build(p, error);
    if (status != FBQ_OK) {
        fbq_plan_free(p);
        return status;
    }
    *plan = p;
    return FBQ_OK;
}

void fbq_plan_free(fbq_plan *plan)
{
    if (!plan)
        return;
    if (plan->library)
        plan->context->driver.library_unload(plan->library);
    FBQ_FREE(plan);
}

size_t fbq_plan_scratch_bytes(const fbq_plan *plan)
{
    return plan ? fbq__scratch_bytes(&plan->fixed, plan->fixed.problem.m_max) : 0;
}

fbq_status fbq_plan_pick(const fbq_plan *plan, fbq_kernel kernel, fbq_pick *pick)
{
    if (!plan || !pick)
        return FBQ_ERR_NULL;
    if ((unsigned)kernel >= FBQ_KERNELS)
        return FBQ_ERR_PICK;
    *pick = kernel == FBQ_KERNEL_DOWN ? plan->fixed.down : plan->fixed.fused;
    return FBQ_OK;
}

static fbq_status fbq__launch_kernel(const fbq__driver *d, CUkernel kernel,
                                     const fbq__launch *launch, void *args, CUstream stream)
{
    CUlaunchConfig config;
    void *parameters[1];
    parameters[0] = args;
    memset(&config, 0, sizeof config);
    config.gridDimX = launch->grid_x;
    config.gridDimY = launch->grid_y;
    config.gridDimZ = 1;
    config.blockDimX = launch->threads;
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = launch->shared_bytes;
    config.hStream = stream;
    return d->launch(&config, (CUfunction)kernel, parameters, NULL) == CUDA_SUCCESS ? FBQ_OK
                                                                                    : FBQ_ERR_CUDA;
}

fbq_status fbq_linear(const fbq_plan *plan, const fbq_call *call, struct CUstream_st *stream)
{
    const fbq__driver *d;
    fbq__launch launch;
    fbq_fused_args fused;
    CUdevice current;
    int i;
    if (!plan)
        return FBQ_ERR_NULL;
    FBQ__TRY(fbq__call_check(&plan->fixed, call));
    d = &plan->context->driver;
    if (d->context_device(&current) != CUDA_SUCCESS || current != plan->context->device)
        return FBQ_ERR_WRONG_DEVICE;
    i = fbq__columns_index(call->m);
    if (call->down) {
        fbq_down_args down;
        fbq__down_launch(&plan->fixed, call, &down, &launch);
        FBQ__TRY(fbq__launch_kernel(d, plan->down[i], &launch, &down, stream));
    }
    fbq__fused_launch(&plan->fixed, call, &fused, &launch);
    return fbq__launch_kernel(d, plan->fused[i], &launch, &fused, stream);
}

#endif /* FBQ_HOST_RUN_H */
