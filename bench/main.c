/* bench/main.c: fbq-bench: options, what is to be measured, the context of the output.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

static volatile sig_atomic_t interrupted;

/* The benchmarks that follow fail at once, so that the output file is closed as it should be. */
static void on_interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* Can this variant be measured here? Without a GPU everything is listed. */
static int wanted(const bench *b, int has_gpu, variant v, int m)
{
    if (b->o.rank == 0 && variant_wants_branch(v))
        return 0;
    if (!has_gpu)
        return 1;
    if (v == VARIANT_READ_PDL)
        return b->g.pdl;
    return variant_possible(b, v, m);
}

static int list_make(measure *s, int has_gpu, fail *f)
{
    const options *o = &s->b->o;
    char format[32];
    s->list = calloc((size_t)(o->shapes * o->ms * VARIANTS), sizeof *s->list);
    if (!s->list)
        return failf(f, "no host memory");
    options_format_name(o, format, sizeof format);
    for (int shape = 0; shape < o->shapes; shape++)
        for (int m = 0; m < o->ms; m++)
            for (int v = 0; v < VARIANTS; v++) {
                if (!wanted(s->b, has_gpu, (variant)v, o->m[m]))
                    continue;
                s->list[s->count].shape = shape;
                s->list[s->count].m = m;
                s->list[s->count].what = (variant)v;
                snprintf(s->list[s->count].name, sizeof s->list[s->count].name,
                         "%s/%s/r%d/%lldx%lld/M%d/%s", variant_name((variant)v), format, o->rank,
                         (long long)o->shape[shape].n, (long long)o->shape[shape].k, o->m[m],
                         options_temperature(o));
                s->count++;
            }
    return 0;
}

static void context_version(const char *key, int version, int major_unit)
{
    char text[32];
    snprintf(text, sizeof text, "%d.%d", version / major_unit, version % major_unit / 10);
    shim_context(key, text);
}

/* The driver's own number, such as 580.65.06, where the kernel module tells it. */
static void context_driver(void)
{
    char line[256] = "", number[64] = "unknown";
    int cuda = 0;
    FILE *file = fopen("/proc/driver/nvidia/version", "r");
    if (file) {
        if (fgets(line, sizeof line, file)) {
            const char *at = strstr(line, "x86_64");
            at = at ? at + strcspn(at, " ") : strstr(line, "Module");
            if (at)
                sscanf(at, "%*[^0-9]%63[0-9.]", number);
        }
        fclose(file);
    }
    shim_context("driver", number);
    if (cudaDriverGetVersion(&cuda) == cudaSuccess)
        context_version("driver_cuda", cuda, 1000);
}

static void context_nvrtc(void)
{
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};
    int (*version)(int *, int *) = NULL;
    int major = 0, minor = 0;
    char text[32];
    void *library = NULL;
    for (int i = 0; i < 3 && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return;
    void *found = dlsym(library, "nvrtcVersion");
    memcpy(&version, &found, sizeof found);
    if (version && version(&major, &minor) == 0) {
        snprintf(text, sizeof text, "%d.%d", major, minor);
        shim_context("nvrtc", text);
    }
    dlclose(library);
}

static void context_fill(const bench *b)
{
    char text[64];
    shim_context("gpu", b->g.name);
    snprintf(text, sizeof text, "%d.%d", b->g.capability / 10, b->g.capability % 10);
    shim_context("capability", text);
    snprintf(text, sizeof text, "%d", b->g.sms);
    shim_context("sms", text);
    snprintf(text, sizeof text, "%zu", b->g.l2_bytes);
    shim_context("l2_bytes", text);
    context_driver();
    context_version("toolkit", CUDART_VERSION, 1000);
    context_nvrtc();
    if (b->has_blas) {
        snprintf(text, sizeof text, "%d.%d.%d", b->blas.version / 10000,
                 b->blas.version / 100 % 100, b->blas.version % 100);
        shim_context("cublas", text);
    } else {
        shim_context("cublas", "none");
    }
    snprintf(text, sizeof text, "%zu", b->cold_bytes);
    shim_context("rotation_bytes", text);
    snprintf(text, sizeof text, "%d", b->o.replays);
    shim_context("replays", text);
}

static char *joined(int argc, char **argv)
{
    size_t bytes = 1;
    for (int i = 0; i < argc; i++)
        bytes += strlen(argv[i]) + 3;
    char *text = calloc(bytes, 1);
    for (int i = 0; text && i < argc; i++) {
        const char *name = i == 0 && strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[i];
        const char *quote = strpbrk(name, " *?|()[]$;&<>\\") ? "'" : "";
        strcat(text, i ? " " : "");
        strcat(text, quote);
        strcat(text, name);
        strcat(text, quote);
    }
    return text;
}

/* Google Benchmark's options; a listing asks for the list and writes no file. */
static char **benchmark_arguments(int *argc, char **argv, int listing)
{
    static char name[] = "fbq-bench", list[] = "--benchmark_list_tests=true";
    char **out = calloc((size_t)*argc + 4, sizeof *out);
    int count = 0;
    if (!out)
        return NULL;
    out[count++] = name; /* not argv[0]: its folder is nobody's business */
    for (int i = 1; i < *argc; i++) {
        if (listing && !strncmp(argv[i], "--benchmark_out", 15)) {
            fprintf(stderr, "fbq-bench: %s is ignored: there is nothing to write\n", argv[i]);
            continue;
        }
        if (!listing || strncmp(argv[i], "--benchmark_list_tests", 22))
            out[count++] = argv[i];
    }
    if (listing)
        out[count++] = list;
    *argc = count;
    return out;
}

static int usage(const fail *f)
{
    fprintf(stderr, "fbq-bench: %s\n", f->text);
    return 2;
}

/* Open everything that measuring needs. */
static int machine_open(bench *b, fail *f)
{
    fbq_options options;
    fbq_error error;
    fail why;
    memset(&options, 0, sizeof options);
    memset(&error, 0, sizeof error);
    options.device = b->o.device;
    options.ptx = b->o.ptx;
    options.wisdom_file = b->o.wisdom;
    if (fbq_open(&options, &b->fbq, &error) != FBQ_OK)
        return failf(f, "%s", error.detail);
    if (fbq_wisdom_warning(fbq_context_wisdom(b->fbq))[0])
        fprintf(stderr, "fbq-bench: %s\n", fbq_wisdom_warning(fbq_context_wisdom(b->fbq)));
    b->has_blas = !blas_open(&b->blas, &b->g, &why);
    if (!b->has_blas)
        fprintf(stderr, "fbq-bench: the variants that need cuBLAS are left out: %s\n", why.text);
    b->cold_bytes = gpu_cold_bytes(&b->g);
    return 0;
}

int main(int argc, char **argv)
{
    static bench b;
    static measure s;
    fail f;
    char ptx[32], *command = joined(argc, argv);
    setvbuf(stderr, NULL, _IOLBF, 1024);
    if (options_take(&b.o, &argc, argv, &f))
        return usage(&f);
    if (b.o.help) {
        options_help();
        return 0;
    }
    b.shape = b.m = -1;
    int has_gpu = !gpu_open(&b.g, b.o.device, &f);
    if (!has_gpu) {
        fprintf(stderr, "fbq-bench: %s. NOTHING WAS MEASURED; these are the benchmarks:\n", f.text);
        if (b.o.require_gpu)
            return 1;
    } else if (machine_open(&b, &f)) {
        fprintf(stderr, "fbq-bench: %s\n", f.text);
        return 1;
    }
    char **arguments = benchmark_arguments(&argc, argv, !has_gpu);
    if (!arguments || !command || shim_start(&argc, arguments))
        return 2;
    shim_context("fbq", FBQ_VERSION_STRING);
    shim_context("command", command);
    shim_context("weights", options_temperature(&b.o));
    shim_context("launches", options_chain(&b.o));
    snprintf(ptx, sizeof ptx, b.o.ptx ? "compute_%d" : "the GPU's own", b.o.ptx);
    shim_context("compiled_for", ptx);
    if (has_gpu)
        context_fill(&b);
    s.b = &b;
    s.interrupted = &interrupted;
    if (list_make(&s, has_gpu, &f)) {
        fprintf(stderr, "fbq-bench: %s\n", f.text);
        return 1;
    }
    shim_calls calls = measure_calls(&s);
    for (int i = 0; i < s.count; i++)
        shim_register(s.list[i].name, i, b.o.replays, &calls);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    shim_run();
    if (s.failures)
        fprintf(stderr, "fbq-bench: %d benchmarks FAILED\n", s.failures);
    int status = interrupted ? 130 : s.failures ? 1 : 0;
    fflush(NULL);
    /* a hanging GPU would hold up every clean end */
    if (b.g.lost)
        _Exit(status);
    if (has_gpu) {
        measure_close(&s);
        bench_close(&b);
    }
    free(s.list);
    free(arguments);
    free(command);
    return status;
}
