/* fbq/host/reconstruct_run.h: reconstruct through NVRTC: plans, and the launch.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_RECONSTRUCT_RUN_H
#define FBQ_HOST_RECONSTRUCT_RUN_H

#include "reconstruct.h"
#include "run.h"

struct fbq_reconstruct_plan {
    const fbq_context *context;
    fbq__reconstruct_fixed fixed;
    int overlaps; /* compiled for sm_90 or later: it may start before the kernel before it ends */
    CUlibrary library;
    CUkernel kernel;
};

static fbq_status fbq__reconstruction_check(const fbq_reconstruction *what, fbq_layout *layout,
                                            fbq_error *error)
{
    FBQ__NOT_NULL(what, error);
    FBQ__TRY(fbq_layout_of(&what->format, &what->shape, layout, error));
    if (layout->rank_tiles && layout->format.factor_type == FBQ_I8)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "what.format.factor_type is FBQ_I8; the kernel of this version adds "
                         "FBQ_F16 or FBQ_BF16: unpack the factors to floats "
                         "(fbq_unpack_down_f32, fbq_unpack_up_f32) and pack those");
    if (what->w_type != FBQ_F16 && what->w_type != FBQ_BF16)
        return fbq__fail(error, FBQ_ERR_UNSUPPORTED, 0,
                         "what.w_type is %d; the kernel writes FBQ_F16 or FBQ_BF16",
                         (int)what->w_type);
    return FBQ_OK;
}

/* The program's text: one entry, fbq_reconstruct. */
static int fbq__reconstruct_source(const fbq__reconstruct_fixed *f, char *text, size_t bytes)
{
    const fbq_format *format = &f->layout.format;
    const int adds = fbq__reconstruct_adds(f);
    return snprintf(text, bytes,
                    "#include \"reconstruct.cuh\"\n"
                    "extern \"C\" __global__ void __launch_bounds__(%d, %d) fbq_reconstruct(const "
                    "__grid_constant__ fbq_reconstruct_args args)\n"
                    "{\n    fbq::reconstruct<fbq::Reconstruct<fbq::Format<%d, %d, %d, %d, %d>, %d, "
                    "%s, %d, %d, %d>>(args);\n}\n",
                    FBQ__RECONSTRUCT_WARPS(adds) * 32, FBQ__RECONSTRUCT_BLOCKS(adds), format->bits,
                    format->group, (int)format->zero, (int)format->scale_type,
                    (int)format->factor_type, (int)f->what.w_type, adds ? "true" : "false",
                    FBQ__RECONSTRUCT_WARPS(adds), FBQ__RECONSTRUCT_CHUNKS,
                    FBQ__RECONSTRUCT_TILES(adds));
}

static fbq_status fbq__reconstruct_build(fbq_reconstruct_plan *plan, fbq_error *error)
{
    const fbq_context *c = plan->context;
    const fbq__driver *d = &c->driver;
    const int capability = c->ptx ? c->ptx : c->gpu.capability;
    char source[FBQ__PROGRAM_BYTES];
    fbq__cubin_note note;
    CUfunction function;
    void *image;
    size_t bytes;
    CUresult result;
    memset(&note, 0, sizeof note);
    fbq__reconstruct_source(&plan->fixed, source, sizeof source);
    FBQ__TRY(fbq__cubin_get(&c->cubins, &c->nvrtc, source, capability, c->ptx != 0, &image, &bytes,
                            &note, error));
    result = d->library_load(&plan->library, image, NULL, NULL, 0, NULL, NULL, 0);
    FBQ_FREE(image);
    if (result != CUDA_SUCCESS)
        return fbq__cuda_fail(d, result, "cuLibraryLoadData", error);
    plan->overlaps = capability >= 90;
    FBQ__CUDA(d, library_kernel(&plan->kernel, plan->library, "fbq_reconstruct"),
              "cuLibraryGetKernel", error);
    /* loading is lazy, and a launch must not do it */
    FBQ__CUDA(d, kernel_function(&function, plan->kernel), "cuKernelGetFunction", error);
    if (fbq__reconstruct_adds(&plan->fixed))
        FBQ__CUDA(d,
                  kernel_set_attribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                       c->gpu.shared_block, plan->kernel, c->device),
                  "cuKernelSetAttribute", error);
    return FBQ_OK;
}

fbq_status fbq_prepare_reconstruct(fbq_context *context, const fbq_reconstruction *what,
                                   fbq_reconstruct_plan **plan, fbq_error *error)
{
    fbq_layout layout;
    fbq_reconstruct_plan *p;
    fbq_status status;
    FBQ__NOT_NULL(context, error);
    FBQ__NOT_NULL(plan, error);
    FBQ__TRY(fbq__reconstruction_check(what, &layout, error));
    FBQ__TRY(fbq__current_check(context, error));
    p = (fbq_reconstruct_plan *)FBQ_MALLOC(sizeof *p);
    if (!p)
        return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", sizeof *p);
    memset(p, 0, sizeof *p);
    p->context = context;
    p->fixed.what = *what;
    p->fixed.layout = layout;
    p->fixed.gpu = context->gpu;
    status = fbq__reconstruct_build(p, error);
    if (status != FBQ_OK) {
        fbq_reconstruct_plan_free(p);
        return status;
    }
    *plan = p;
    return FBQ_OK;
}

void fbq_reconstruct_plan_free(fbq_reconstruct_plan *plan)
{
    if (!plan)
        return;
    if (plan->library)
        plan->context->driver.library_unload(plan->library);
    FBQ_FREE(plan);
}

fbq_status fbq_reconstruct_gpu(const fbq_reconstruct_plan *plan, const fbq_reconstruct_call *call,
                               struct CUstream_st *stream)
{
    const fbq__driver *d;
    fbq_reconstruct_args args;
    fbq__launch launch;
    CUdevice current;
    if (!plan)
        return FBQ_ERR_NULL;
    FBQ__TRY(fbq__reconstruct_check(&plan->fixed, call));
    d = &plan->context->driver;
    if (d->context_device(&current) != CUDA_SUCCESS || current != plan->context->device)
        return FBQ_ERR_WRONG_DEVICE;
    fbq__reconstruct_launch(&plan->fixed, call, &args, &launch);
    return fbq__launch_kernel(d, plan->kernel, &launch, &args, plan->overlaps, stream);
}

#endif /* FBQ_HOST_RECONSTRUCT_RUN_H */
