/* fbq/host/jit.h: the embedded device sources through NVRTC, which is opened at run time.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_JIT_H
#define FBQ_HOST_JIT_H

#include "posix.h"

#include <dlfcn.h>

#include "device_sources.h"
#include "select.h"

/* NVRTC's C interface, as far as it is used: result 0 is success, a program is an opaque pointer.
 */
typedef struct fbq__nvrtc {
    void *library;
    void *builtins; /* NULL where NVRTC is left to find them */
    int (*version)(int *, int *);
    const char *(*error_string)(int);
    int (*create)(void **, const char *, const char *, int, const char *const *,
                  const char *const *);
    int (*destroy)(void **);
    int (*compile)(void *, int, const char *const *);
    int (*log_size)(void *, size_t *);
    int (*log)(void *, char *);
    int (*cubin_size)(void *, size_t *);
    int (*cubin)(void *, char *);
    int (*ptx_size)(void *, size_t *);
    int (*ptx)(void *, char *);
} fbq__nvrtc;

/* dlsym gives a data pointer; POSIX promises that its bytes are the function's. */
static int fbq__symbol(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

/* NVRTC leaves memory behind when it is unloaded, so that opening and closing it in turns would
 * leak: once opened, a library stays until the process ends. */
#ifdef RTLD_NODELETE
#define FBQ__DLOPEN_FLAGS (RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)
#else
#define FBQ__DLOPEN_FLAGS (RTLD_NOW | RTLD_LOCAL)
#endif

static void *fbq__open_first(const char *only, const char *const *names, int count)
{
    void *library = NULL;
    if (only)
        return dlopen(only, FBQ__DLOPEN_FLAGS);
    for (int i = 0; i < count && !library; i++)
        library = dlopen(names[i], FBQ__DLOPEN_FLAGS);
    return library;
}

/* NVRTC opens a second library by its bare name, and the loader then looks neither beside NVRTC nor
 * along our run path. So it is opened here first, from where NVRTC itself was found; where that
 * fails NVRTC tries the system's folders. */
static void *fbq__builtins_open(const char *path, const fbq__nvrtc *n)
{
    char name[1024];
    const char *slash = path ? strrchr(path, '/') : NULL;
    int folder = slash ? (int)(slash - path) + 1 : 0, major = 0, minor = 0, length;
    if (n->version(&major, &minor))
        return NULL;
    length = snprintf(name, sizeof name, "%.*slibnvrtc-builtins.so.%d.%d", folder,
                      folder ? path : "", major, minor);
    return length < (int)sizeof name ? dlopen(name, FBQ__DLOPEN_FLAGS) : NULL;
}

static fbq_status fbq__nvrtc_open(const char *path, fbq__nvrtc *n, fbq_error *error)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    memset(n, 0, sizeof *n);
    n->library = fbq__open_first(path, names, 3);
    if (!n->library)
        return fbq__fail(error, FBQ_ERR_NO_NVRTC, 0,
                         "cannot open %s: install NVRTC (CUDA Toolkit 12 or later, or the "
                         "nvidia-cuda-nvrtc package) and put its folder on LD_LIBRARY_PATH",
                         path ? path : "libnvrtc.so.13, libnvrtc.so.12 or libnvrtc.so");
    if (!fbq__symbol(n->library, "nvrtcVersion", &n->version) ||
        !fbq__symbol(n->library, "nvrtcGetErrorString", &n->error_string) ||
        !fbq__symbol(n->library, "nvrtcCreateProgram", &n->create) ||
        !fbq__symbol(n->library, "nvrtcDestroyProgram", &n->destroy) ||
        !fbq__symbol(n->library, "nvrtcCompileProgram", &n->compile) ||
        !fbq__symbol(n->library, "nvrtcGetProgramLogSize", &n->log_size) ||
        !fbq__symbol(n->library, "nvrtcGetProgramLog", &n->log) ||
        !fbq__symbol(n->library, "nvrtcGetCUBINSize", &n->cubin_size) ||
        !fbq__symbol(n->library, "nvrtcGetCUBIN", &n->cubin) ||
        !fbq__symbol(n->library, "nvrtcGetPTXSize", &n->ptx_size) ||
        !fbq__symbol(n->library, "nvrtcGetPTX", &n->ptx)) {
        dlclose(n->library);
        n->library = NULL;
        return fbq__fail(error, FBQ_ERR_OLD_DRIVER, 0,
                         "%s lacks a function that is needed: expected NVRTC 12 or later",
                         path ? path : "libnvrtc");
    }
    n->builtins = fbq__builtins_open(path, n);
    return FBQ_OK;
}

static void fbq__nvrtc_close(fbq__nvrtc *n)
{
    if (n->library)
        dlclose(n->library);
    if (n->builtins)
        dlclose(n->builtins);
    n->library = n->builtins = NULL;
}

/* ---- The program text: an extern "C" entry for each kernel, so that names need no demangling ----
 */

static void fbq__entry_name(fbq_kernel kernel, char *name, size_t bytes)
{
    snprintf(name, bytes, "fbq_%s", fbq__kernel_name[kernel]);
}

static int fbq__entry_source(const fbq__fixed *f, fbq_kernel kernel, char *text, size_t bytes)
{
    char name[32], bounds[48];
    const fbq_pick *pick = kernel == FBQ_KERNEL_DOWN ? &f->down : &f->fused;
    const fbq_format *format = &f->layout.format;
    int columns = fbq__columns(f->problem.m_max);
    fbq__entry_name(kernel, name, sizeof name);
    if (kernel == FBQ_KERNEL_DOWN)
        return snprintf(text, bytes,
                        "extern \"C\" __global__ void __launch_bounds__(%d) %s(const "
                        "__grid_constant__ fbq_down_args args)\n"
                        "{\n    fbq::down<fbq::Down<%d, %d, %d, %d, %d>>(args);\n}\n",
                        pick->warps * 32, name, (int)f->problem.x_type, (int)format->factor_type,
                        columns, pick->warps, pick->chunks);
    bounds[0] = 0;
    if (f->paired)
        snprintf(bounds, sizeof bounds, "__launch_bounds__(%d, %d) ",
                 32 * fbq__fused_warps(&f->layout, pick), 2 * pick->blocks_per_sm);
    return snprintf(
        text, bytes,
        "extern \"C\" __global__ void %s%s(const "
        "__grid_constant__ fbq_fused_args args)\n"
        "{\n    fbq::fused<fbq::Fused<fbq::Format<%d, %d, %d, %d, %d>, %d, %d, %d, %d, %s, %d, %d, "
        "%d, %d, %d, %s>>(args);\n}\n",
        bounds, name, format->bits, format->group, (int)format->zero, (int)format->scale_type,
        (int)format->factor_type, (int)f->problem.x_type, columns,
        fbq__branch(&f->layout, &f->fused), (int)f->layout.chunks, f->resident ? "true" : "false",
        pick->warps, (int)fbq__part_units(pick), pick->stages, pick->tiles, fbq__splits(pick),
        fbq__segmented(&f->layout) ? "true" : "false");
}

/* A translation unit with some of the kernels, for one row of x when m_max is 1 and for two and
 * more otherwise. */
static void fbq__program_source(const fbq__fixed *f, const fbq_kernel *kernels, int count,
                                char *text, size_t bytes)
{
    int at = snprintf(text, bytes, "#include \"down.cuh\"\n#include \"fused.cuh\"\n");
    for (int i = 0; i < count; i++)
        at += fbq__entry_source(f, kernels[i], text + at, bytes - (size_t)at);
}

static fbq_status fbq__nvrtc_fail(const fbq__nvrtc *n, void *program, int result, const char *arch,
                                  fbq_error *error)
{
    size_t bytes = 0;
    char *log = NULL;
    fbq_status status;
    if (program && n->log_size(program, &bytes) == 0 && bytes > 1) {
        log = (char *)FBQ_MALLOC(bytes);
        if (log && n->log(program, log) != 0)
            log[0] = 0;
    }
    status = fbq__fail(error, FBQ_ERR_COMPILE, result, "NVRTC for %s: %s: %.380s", arch,
                       n->error_string(result), log ? log : "no log");
    FBQ_FREE(log);
    return status;
}

static fbq_status fbq__nvrtc_build(const fbq__nvrtc *n, const char *source, int capability, int ptx,
                                   void **image, size_t *bytes, fbq_error *error)
{
    const char *texts[fbq_device_source_count], *names[fbq_device_source_count];
    char arch[48];
    const char *options[] = {arch, "--std=c++17"};
    void *program = NULL, *memory = NULL;
    size_t size = 0;
    int result;
    fbq_status status;
    for (int i = 0; i < fbq_device_source_count; i++) {
        names[i] = fbq_device_sources[i].name;
        texts[i] = fbq_device_sources[i].text;
    }
    snprintf(arch, sizeof arch, "--gpu-architecture=%s_%d", ptx ? "compute" : "sm", capability);
    result = n->create(&program, source, "fbq.cu", fbq_device_source_count, texts, names);
    if (result == 0)
        result = n->compile(program, 2, options);
    if (result == 0)
        result = ptx ? n->ptx_size(program, &size) : n->cubin_size(program, &size);
    if (result != 0) {
        status = fbq__nvrtc_fail(n, program, result, arch + 19, error);
    } else if (!(memory = FBQ_MALLOC(size))) {
        status = fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", size);
    } else {
        result = ptx ? n->ptx(program, (char *)memory) : n->cubin(program, (char *)memory);
        status = result ? fbq__nvrtc_fail(n, program, result, arch + 19, error) : FBQ_OK;
    }
    if (program)
        n->destroy(&program);
    if (status != FBQ_OK) {
        FBQ_FREE(memory);
        return status;
    }
    *image = memory;
    *bytes = size;
    return FBQ_OK;
}

#define FBQ__PROGRAM_BYTES 4096

fbq_status fbq_compile(const fbq_problem *problem, const fbq_gpu *gpu, const fbq_pick *pick,
                       int ptx, const char *nvrtc_library, void **image, size_t *bytes,
                       fbq_error *error)
{
    char source[FBQ__PROGRAM_BYTES];
    fbq__fixed f;
    fbq__nvrtc n;
    fbq_status status;
    FBQ__NOT_NULL(image, error);
    FBQ__NOT_NULL(bytes, error);
    memset(&f, 0, sizeof f);
    FBQ__TRY(fbq_pick_check(problem, gpu, pick, error));
    if (gpu->capability < 80)
        return fbq__fail(error, FBQ_ERR_CAPABILITY, 0, "gpu.capability is %d; expected 80 or more",
                         gpu->capability);
    FBQ__TRY(fbq__problem_check(problem, &f.layout, error));
    f.problem = *problem;
    f.gpu = *gpu;
    f.down = f.fused = *pick;
    if (pick->kernel == FBQ_KERNEL_FUSED) /* a pick for down need not set all that fused has */
        fbq__fix(&f);
    FBQ__TRY(fbq__nvrtc_open(nvrtc_library, &n, error));
    fbq__program_source(&f, &pick->kernel, 1, source, sizeof source);
    status = fbq__nvrtc_build(&n, source, gpu->capability, ptx, image, bytes, error);
    fbq__nvrtc_close(&n);
    return status;
}

#endif /* FBQ_HOST_JIT_H */
