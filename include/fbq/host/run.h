/* fbq/host/run.h: plans, and the launch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_RUN_H
#define FBQ_HOST_RUN_H

#include "choose.h"
#include "gpu.h"

/* What serves a class of calls. */
typedef struct fbq__served {
    fbq__fixed fixed;
    CUkernel down, fused;
    fbq_found found[FBQ_KERNELS];
} fbq__served;

struct fbq_plan {
    const fbq_context *context;
    fbq_problem problem;
    int overlaps; /* compiled for sm_90 or later: down may start before the kernel before it ends */
    fbq__cubin_note note;
    CUlibrary library[FBQ__CLASSES];
    fbq__served served[FBQ__CLASSES];
};

/* Load a kernel now, since loading is lazy and a launch must not do it, and let it have all the
 * shared memory that its pick may ask for. */
static fbq_status fbq__kernel_load(fbq_plan *plan, fbq_kernel kernel, int index, CUkernel *out,
                                   fbq_error *error)
{
    const fbq__driver *d = &plan->context->driver;
    const fbq__fixed *f = &plan->served[index].fixed;
    CUdevice device = plan->context->device;
    CUfunction function;
    char name[32];
    int local = 0, threads = 0, wanted;
    fbq__entry_name(kernel, name, sizeof name);
    wanted =
        32 * (kernel == FBQ_KERNEL_FUSED ? fbq__fused_warps(&f->layout, &f->fused) : f->down.warps);
    FBQ__CUDA(d, library_kernel(out, plan->library[index], name), "cuLibraryGetKernel", error);
    FBQ__CUDA(d, kernel_function(&function, *out), "cuKernelGetFunction", error);
    FBQ__CUDA(d, kernel_attribute(&local, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, *out, device),
              "cuKernelGetAttribute", error);
    FBQ__CUDA(d, kernel_attribute(&threads, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, *out, device),
              "cuKernelGetAttribute", error);
    /* The predicate knows registers by estimate; what was compiled decides. */
    if (local > 0 || threads < wanted)
        return fbq__fail(error, FBQ_ERR_PICK, 0,
                         "%s as compiled spills %d bytes a thread and runs up to %d threads a "
                         "block; the pick wants %d and no spills: choose fewer warps",
                         name, local, threads, wanted);
    if (fbq__one_split(&plan->served[index].fixed))
        FBQ__CUDA(d,
                  kernel_set_attribute(CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
                                       CU_SHAREDMEM_CARVEOUT_MAX_SHARED, *out, device),
                  "cuKernelSetAttribute", error);
    if (kernel == FBQ_KERNEL_FUSED)
        FBQ__CUDA(d,
                  kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                       plan->context->gpu.shared_block, *out, device),
                  "cuKernelSetAttribute", error);
    return FBQ_OK;
}

/* *unfit: with FBQ_ERR_PICK, the kernel that was compiled to something unfit; -1: none was. */
static fbq_status fbq__served_build(fbq_plan *plan, int index, int *unfit, fbq_error *error)
{
    const fbq_context *c = plan->context;
    fbq__served *served = &plan->served[index];
    const fbq__fixed *f = &served->fixed;
    const int down = fbq__branch(&f->layout, &f->fused) == 1;
    const int capability = c->ptx ? c->ptx : c->gpu.capability;
    const fbq_kernel kernels[2] = {FBQ_KERNEL_FUSED, FBQ_KERNEL_DOWN};
    char source[FBQ__PROGRAM_BYTES];
    void *image;
    size_t bytes;
    CUresult result;
    fbq_status status;
    *unfit = -1;
    if (plan->library[index]) /* of a try that was compiled to something unfit */
        c->driver.library_unload(plan->library[index]);
    plan->library[index] = NULL;
    fbq__program_source(f, kernels, down ? 2 : 1, source, sizeof source);
    FBQ__TRY(fbq__cubin_get(&c->cubins, &c->nvrtc, source, capability, c->ptx != 0, &image, &bytes,
                            &plan->note, error));
    result = c->driver.library_load(&plan->library[index], image, NULL, NULL, 0, NULL, NULL, 0);
    FBQ_FREE(image);
    if (result != CUDA_SUCCESS)
        return fbq__cuda_fail(&c->driver, result, "cuLibraryLoadData", error);
    plan->overlaps = capability >= 90;
    status = FBQ_OK;
    if (down) {
        status = fbq__kernel_load(plan, FBQ_KERNEL_DOWN, index, &served->down, error);
        *unfit = status == FBQ_ERR_PICK ? FBQ_KERNEL_DOWN : -1;
    }
    if (status == FBQ_OK) {
        status = fbq__kernel_load(plan, FBQ_KERNEL_FUSED, index, &served->fused, error);
        *unfit = status == FBQ_ERR_PICK ? FBQ_KERNEL_FUSED : -1;
    }
    return status;
}

/* The caller's pick, or what the wisdom knows, or what comes with fbq; NULL for the context leaves
 * the default. */
static fbq_status fbq__pick_take(const fbq_context *context, fbq__served *served, fbq_kernel kernel,
                                 const fbq_pick *given, fbq_error *error)
{
    fbq__fixed *f = &served->fixed;
    fbq_pick *pick = kernel == FBQ_KERNEL_DOWN ? &f->down : &f->fused;
    fbq_found *found = &served->found[kernel];
    if (!given) {
        FBQ__TRY(fbq_wisdom_find(context ? context->wisdom : NULL, &f->problem, &f->gpu, kernel,
                                 pick, found, error));
        return context && found->rung == FBQ_RUNG_DEFAULT
                   ? fbq__shipped_find(context->shipped, &f->problem, &f->gpu, kernel, pick, found,
                                       error)
                   : FBQ_OK;
    }
    if (given->kernel != kernel)
        return fbq__fail(error, FBQ_ERR_PICK, 0, "the pick given for %s is one for kernel %d",
                         fbq__kernel_name[kernel], (int)given->kernel);
    *pick = *given;
    found->rung = FBQ_RUNG_GIVEN;
    return fbq_pick_check(&f->problem, &f->gpu, given, error);
}

/* Does the pick come from a record? */
static int fbq__from_wisdom(const fbq_found *found)
{
    return found->rung > FBQ_RUNG_GIVEN && found->rung < FBQ_RUNG_DEFAULT;
}

/* Build what the picks that were taken ask for; again where fused spills with the few registers
 * that let two launches run side by side. */
static fbq_status fbq__served_fit(fbq_plan *plan, int index, int *unfit, fbq_error *error)
{
    fbq__fixed *f = &plan->served[index].fixed;
    fbq_status status;
    fbq__fix(f);
    status = fbq__served_build(plan, index, unfit, error);
    if (*unfit == FBQ_KERNEL_FUSED && f->paired) {
        f->paired = 0;
        status = fbq__served_build(plan, index, unfit, error);
    }
    return status;
}

/* Picks, kernels and sizes for a class. */
static fbq_status fbq__served_make(fbq_plan *plan, const fbq_problem *problem, int index,
                                   const fbq_pick *down, const fbq_pick *fused, fbq_error *error)
{
    fbq__served *served = &plan->served[index];
    fbq__fixed *f = &served->fixed;
    fbq_error why; /* a try that is followed by another leaves the caller's alone */
    fbq_status status;
    int unfit;
    memset(&why, 0, sizeof why);
    f->problem = *problem;
    f->problem.m_max = fbq__class_m(index, problem->m_max);
    f->gpu = plan->context->gpu;
    if (plan->context->ptx) /* what is compiled for decides, not what it runs on */
        f->gpu.capability = plan->context->ptx;
    FBQ__TRY(fbq__problem_check(&f->problem, &f->layout, error));
    FBQ__TRY(fbq__pick_take(plan->context, served, FBQ_KERNEL_DOWN, down, error));
    FBQ__TRY(fbq__pick_take(plan->context, served, FBQ_KERNEL_FUSED, fused, error));
    status = fbq__served_fit(plan, index, &unfit, &why);
    while (unfit >= 0 && fbq__from_wisdom(&served->found[unfit])) {
        FBQ__TRY(fbq__pick_take(NULL, served, (fbq_kernel)unfit, NULL, error));
        status = fbq__served_fit(plan, index, &unfit, &why);
    }
    /* A compiler that is not the one the defaults were chosen with may want more registers. */
    while (unfit == FBQ_KERNEL_FUSED && !fused && f->fused.warps > 1) {
        f->fused.warps /= 2;
        fbq__choose(&f->layout, &f->gpu, f->problem.m_max, &f->fused);
        FBQ__TRY(fbq_pick_check(&f->problem, &f->gpu, &f->fused, error));
        fbq__fix(f);
        f->paired = 0;
        status = fbq__served_build(plan, index, &unfit, &why);
    }
    if (status != FBQ_OK && error)
        *error = why;
    return status;
}

fbq_status fbq_prepare(fbq_context *context, const fbq_problem *problem, const fbq_pick *down,
                       const fbq_pick *fused, fbq_plan **plan, fbq_error *error)
{
    fbq_layout layout;
    fbq_plan *p;
    fbq_status status;
    FBQ__NOT_NULL(context, error);
    FBQ__NOT_NULL(plan, error);
    FBQ__TRY(fbq__problem_check(problem, &layout, error));
    FBQ__TRY(fbq__current_check(context, error));
    p = (fbq_plan *)FBQ_MALLOC(sizeof *p);
    if (!p)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", sizeof *p);
    memset(p, 0, sizeof *p);
    p->context = context;
    p->problem = *problem;
    status = FBQ_OK;
    for (int i = fbq__class_for(problem, 1); i <= fbq__class_of(problem->m_max) && status == FBQ_OK;
         i++)
        status = fbq__served_make(p, problem, i, down, fused, error);
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
    for (int i = 0; i < FBQ__CLASSES; i++)
        if (plan->library[i])
            plan->context->driver.library_unload(plan->library[i]);
    FBQ_FREE(plan);
}

/* The most that calls of a plan want of one kind of memory. */
static size_t fbq__plan_most(const fbq_plan *plan, size_t (*wanted)(const fbq__fixed *, int64_t))
{
    size_t most = 0;
    if (!plan)
        return 0;
    for (int64_t m = 1; m <= plan->problem.m_max; m++) {
        size_t bytes = wanted(&plan->served[fbq__class_for(&plan->problem, m)].fixed, m);
        most = bytes > most ? bytes : most;
    }
    return most;
}

size_t fbq_plan_scratch_bytes(const fbq_plan *plan)
{
    return fbq__plan_most(plan, fbq__scratch_bytes);
}

size_t fbq_plan_state_bytes(const fbq_plan *plan)
{
    return fbq__plan_most(plan, fbq__state_bytes);
}

/* What serves calls of m rows. */
static fbq_status fbq__plan_served(const fbq_plan *plan, fbq_kernel kernel, int64_t m,
                                   const void *out, const fbq__served **served)
{
    if (!plan || !out)
        return FBQ_ERR_NULL;
    if (m < 1 || m > plan->problem.m_max)
        return FBQ_ERR_SIZE;
    if ((unsigned)kernel >= FBQ_KERNELS)
        return FBQ_ERR_PICK;
    *served = &plan->served[fbq__class_for(&plan->problem, m)];
    return FBQ_OK;
}

fbq_status fbq_plan_pick(const fbq_plan *plan, fbq_kernel kernel, int64_t m, fbq_pick *pick)
{
    const fbq__served *served;
    FBQ__TRY(fbq__plan_served(plan, kernel, m, pick, &served));
    *pick = kernel == FBQ_KERNEL_DOWN ? served->fixed.down : served->fixed.fused;
    return FBQ_OK;
}

fbq_status fbq_plan_found(const fbq_plan *plan, fbq_kernel kernel, int64_t m, fbq_found *found)
{
    const fbq__served *served;
    FBQ__TRY(fbq__plan_served(plan, kernel, m, found, &served));
    *found = served->found[kernel];
    return FBQ_OK;
}

int fbq_plan_compiled(const fbq_plan *plan)
{
    return plan ? plan->note.compiled : 0;
}

const char *fbq_plan_warning(const fbq_plan *plan)
{
    return plan ? plan->note.warning : "";
}

/* `overlaps`: the kernel may start while the one before it on the stream still runs; it waits for
 * that one's results itself. down reads nothing before it has waited (prefetches into L2 apart,
 * which cannot go stale), and only then lets fused start: so fused too finds everything before down
 * finished, and waits for t alone. A fused that is the call's only launch does as down does, or in
 * a chain reads weights and factors before it has waited. fbq_linear says what that asks of other
 * kernels. */
static fbq_status fbq__launch_kernel(const fbq__driver *d, CUkernel kernel,
                                     const fbq__launch *launch, void *args, int overlaps,
                                     CUstream stream)
{
    CUlaunchConfig config;
    CUlaunchAttribute attribute;
    void *parameters[1];
    parameters[0] = args;
    memset(&config, 0, sizeof config);
    memset(&attribute, 0, sizeof attribute);
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    config.gridDimX = launch->grid_x;
    config.gridDimY = launch->grid_y;
    config.gridDimZ = 1;
    config.blockDimX = launch->threads;
    config.blockDimY = config.blockDimZ = 1;
    config.sharedMemBytes = launch->shared_bytes;
    config.hStream = stream;
    config.attrs = &attribute;
    config.numAttrs = overlaps ? 1 : 0;
    return d->launch(&config, (CUfunction)kernel, parameters, NULL) == CUDA_SUCCESS ? FBQ_OK
                                                                                    : FBQ_ERR_CUDA;
}

fbq_status fbq_linear(const fbq_plan *plan, const fbq_call *call, struct CUstream_st *stream)
{
    const fbq__driver *d;
    const fbq__served *served;
    fbq__launch launch;
    fbq_fused_args fused;
    CUdevice current;
    if (!plan || !call)
        return FBQ_ERR_NULL;
    if (call->m < 1 || call->m > plan->problem.m_max)
        return FBQ_ERR_SIZE;
    served = &plan->served[fbq__class_for(&plan->problem, call->m)];
    FBQ__TRY(fbq__call_check(&served->fixed, call));
    d = &plan->context->driver;
    if (d->context_device(&current) != CUDA_SUCCESS || current != plan->context->device)
        return FBQ_ERR_WRONG_DEVICE;
    if (call->down && !fbq__whole(&served->fixed.layout, &served->fixed.fused)) {
        fbq_down_args down;
        fbq__down_launch(&served->fixed, call, &down, &launch);
        FBQ__TRY(fbq__launch_kernel(d, served->down, &launch, &down, plan->overlaps, stream));
    }
    fbq__fused_launch(&served->fixed, call, &fused, &launch);
    return fbq__launch_kernel(d, served->fused, &launch, &fused,
                              plan->overlaps && fbq__overlaps(&served->fixed, call), stream);
}

#endif /* FBQ_HOST_RUN_H */
