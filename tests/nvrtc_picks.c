/* tests/nvrtc_picks.c: every kernel that a default pick asks for compiles, and neither spills nor
 * uses local memory, as its cubin says; none takes the compiler too long.
 *
 *     nvrtc_picks               the reader of cubins itself; PTX; what a GPU is not needed for
 *     nvrtc_picks CAPABILITY    all default picks of that GPU; prints what they take
 *     nvrtc_picks --keep FOLDER [CAPABILITY]
 *                               tests nothing: writes the cubins that scripts/instructions counts
 *                               for docs/kernels.md, of that GPU or of all
 *
 * Exits with 77 where there is no NVRTC.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* An implementation unit of its own, to hold the register estimate of the predicate to the truth
 * and to compile what the library would not. */
#undef FBQ_LINKED
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include "support/cubin.h"
#include "support/gpus.h"

#define SKIPPED 77
#define MOST_ROWS 16

/* No kernel should take the compiler longer than 1.5 s. Held to twice that of the thread's own
 * processor time, in which NVRTC compiles, and the least of a few tries: the time that others take
 * from the thread does not count, but what shares its core makes the same work last up to twice as
 * long (docs/kernels.md has the times on a core of its own). */
#define MOST_SECONDS 3.0
#define TRIES 3

static const fbq_gpu *gpu;
static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
static const char *const zero_names[] = {"none", "code", "fp16"};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static fbq_problem problem_of(int group, fbq_zero zero, int64_t k, int64_t r, int m_max)
{
    fbq_problem p = {{4, group, zero, FBQ_F16, FBQ_F16},
                     fbq_shape_of(4096, k, r),
                     FBQ_F16,
                     FBQ_F16,
                     m_max,
                     0,
                     0};
    return p;
}

/* ---- All defaults of a GPU ---- */

/* What was compiled, so that a kernel is compiled once, however many problems ask for it. */
typedef struct compiled {
    int kernel, bits, group, zero, x, scale, factor, branch, columns;
    int warps, chunks, stages, tiles, paired;
    int splits, segmented;
    int k_chunks, resident; /* fused has K compiled in, and whether x stays in shared memory */
} compiled;

static struct {
    compiled what[512];
    cubin_resources resources[512];
    int count, failed, slow; /* slow: the number of the slowest */
    uint32_t most;
    size_t bytes, largest;
    double time, slowest;
} all;

static const char *wrong_with(const cubin_resources *r, const fbq_pick *pick, int branch, int m_max,
                              int segmented)
{
    /* a warp's registers are handed out in lots of 8 a thread */
    const int64_t warps = pick->warps + (pick->kernel == FBQ_KERNEL_FUSED && branch ? 4 : 0);
    const int64_t threads = warps * 32, registers = (r->registers + 7) / 8 * 8;
    const int64_t blocks = pick->kernel == FBQ_KERNEL_FUSED ? pick->blocks_per_sm : 1;
    if (r->stack || r->min_stack || r->local)
        return "uses local memory";
    if (threads * registers * blocks > gpu->registers_sm)
        return "wants more registers than a multiprocessor has";
    if (r->registers > 255 || r->registers < 16)
        return "has no believable number of registers";
    if (pick->kernel == FBQ_KERNEL_FUSED &&
        (int)r->registers > fbq__fused_registers(gpu, pick, m_max, segmented))
        return "has more registers than the predicate expects";
    return NULL;
}

/* What fbq_compile compiles in for a pick. */
static compiled compiled_of(const fbq_problem *p, const fbq_pick *pick)
{
    const int fused = pick->kernel == FBQ_KERNEL_FUSED;
    compiled what;
    fbq__fixed f;
    memset(&what, 0, sizeof what);
    memset(&f, 0, sizeof f);
    what.kernel = (int)pick->kernel;
    what.x = (int)p->x_type;
    what.factor = (int)p->format.factor_type;
    what.columns = fbq__columns(p->m_max);
    what.warps = pick->warps;
    what.chunks = pick->chunks;
    if (!fused)
        return what;
    what.bits = p->format.bits;
    what.scale = (int)p->format.scale_type;
    f.problem = *p;
    f.gpu = *gpu;
    f.fused = *pick;
    assert_int_equal(fbq_layout_of(&p->format, &p->shape, &f.layout, NULL), FBQ_OK);
    fbq__fix(&f);
    what.group = p->format.group;
    what.zero = (int)p->format.zero;
    what.branch = fbq__branch(&f.layout, pick);
    what.paired = f.paired;
    what.stages = pick->stages;
    what.tiles = pick->tiles;
    what.splits = pick->splits;
    what.segmented = fbq__segmented(&f.layout);
    what.k_chunks = (int)f.layout.chunks;
    what.resident = f.resident;
    return what;
}

/* Compile a pick, again if that took too long; returns the seconds, the least of them. */
static double compile(const fbq_problem *p, const fbq_pick *pick, void **image, size_t *bytes)
{
    double least = 0;
    for (int i = 0; i < TRIES && (i == 0 || least > MOST_SECONDS); i++) {
        fbq_error error;
        if (i > 0)
            fbq_free(*image);
        const double before = seconds();
        if (fbq_compile(p, gpu, pick, 0, NULL, image, bytes, &error) != FBQ_OK)
            fail_msg("%s", error.detail);
        const double time = seconds() - before;
        least = i == 0 || time < least ? time : least;
    }
    return least;
}

/* Compile a pick, the default for NULL, unless that was done; returns its registers. */
static uint32_t take(const fbq_problem *p, fbq_kernel kernel, const fbq_pick *given)
{
    static const char *const names[] = {"fbq_down", "fbq_fused"};
    fbq_pick pick;
    fbq_error error;
    void *image;
    size_t bytes;
    char text[128];
    const char *wrong;
    if (given)
        pick = *given;
    else if (fbq_pick_default(p, gpu, kernel, &pick, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    const compiled what = compiled_of(p, &pick);
    for (int i = 0; i < all.count; i++)
        if (!memcmp(&all.what[i], &what, sizeof what))
            return all.resources[i].registers;
    assert_true(all.count < 512);
    cubin_resources *r = &all.resources[all.count];
    const double time = compile(p, &pick, &image, &bytes);
    all.time += time;
    if (time > all.slowest) {
        all.slowest = time;
        all.slow = all.count;
    }
    if (!cubin_read(image, bytes, names[kernel], r))
        fail_msg("cannot read the cubin of %zu bytes", bytes);
    fbq_free(image);
    all.what[all.count++] = what;
    all.bytes += bytes;
    all.largest = bytes > all.largest ? bytes : all.largest;
    all.most = r->registers > all.most ? r->registers : all.most;
    wrong = wrong_with(r, &pick, what.branch, p->m_max, what.segmented);
    if (!wrong && time > MOST_SECONDS)
        wrong = "takes the compiler too long";
    if (wrong) {
        fbq_pick_print(&pick, text, sizeof text);
        printf("sm_%d bits %d x type %d group %d zero %s branch %d of %d segments m %d k %lld %s: "
               "%u registers, %u bytes of stack, %llu of local memory, %.2f s: %s\n",
               gpu->capability, what.bits, what.x, what.group, zero_names[what.zero], what.branch,
               p->shape.segments, p->m_max, (long long)p->shape.k, text, r->registers, r->stack,
               (unsigned long long)r->local, time, wrong);
        all.failed++;
    }
    return r->registers;
}

/* Picks that are nobody's default: those that were found to want the most registers, and some with
 * all warps. Each where it is legal. */
static void take_others(void)
{
    static const struct {
        int m, group, zero, k, warps, chunks, stages, tiles;
    } others[] = {{1, FBQ_GROUP_ROW, 1, 4096, 3, 16, 2, 1},
                  {1, 256, 1, 64, 4, 6, 4, 2},
                  {1, 256, 0, 576, 3, 16, 3, 1},
                  {1, 256, 1, 300, 2, 8, 2, 1},
                  {1, 128, 2, 4096, 16, 2, 4, 4},
                  {1, 128, 1, 4096, 16, 6, 3, 1},
                  {8, 256, 1, 64, 8, 6, 3, 2},
                  {8, 256, 1, 576, 3, 6, 3, 1},
                  {8, FBQ_GROUP_ROW, 0, 576, 1, 32, 4, 1},
                  {8, 64, 1, 5120, 4, 4, 4, 3},
                  {8, 128, 1, 1984, 1, 8, 4, 1},
                  {8, 128, 2, 4096, 16, 2, 4, 1},
                  {8, 128, 1, 2048, 16, 4, 3, 2},
                  {8, 64, 2, 1024, 11, 2, 3, 1},
                  {8, 32, 2, 4032, 8, 2, 2, 8},
                  {1, 128, 1, 4096, 12, 4, 2, 8},
                  {1, 256, 1, 14336, 16, 6, 2, 1},
                  {8, 256, 1, 14336, 16, 6, 2, 1},
                  {8, 32, 2, 14336, 16, 6, 2, 1},
                  {8, FBQ_GROUP_ROW, 1, 4000, 16, 4, 2, 1},
                  {8, 64, 1, 28672, 16, 4, 2, 1}};
    int taken = 0;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const fbq_problem p =
            problem_of(others[i].group, (fbq_zero)others[i].zero, others[i].k, 128, others[i].m);
        /* every third makes t itself */
        const fbq_pick pick = {FBQ_KERNEL_FUSED, others[i].warps,  others[i].chunks, 1,
                               i % 3 == 0,       others[i].stages, others[i].tiles,  0};
        if (fbq_pick_check(&p, gpu, &pick, NULL) != FBQ_OK)
            continue;
        take(&p, FBQ_KERNEL_FUSED, &pick);
        taken++;
    }
    assert_true(taken >= 4);
}

/* Other bits and types: what they take follows from those and the rows alone, nearly. Factors of
 * x's type, of the other one, and of int8. */
static void take_formats(void)
{
    static const int64_t sizes[][2] = {{4096, 4096}, {14336, 4096}, {4096, 11008}};
    for (int bits = 2; bits <= 4; bits++)
        for (int type = 1; type <= 2; type++)
            for (int m = 1; m <= MOST_ROWS; m = m == 1 ? 8 : m + 8)
                for (int r = 0; r <= 128; r += 128)
                    for (int g = 1; g <= (r ? 3 : 2); g++) {
                        const int64_t *size = sizes[(bits + type + g) % 3];
                        fbq_problem p =
                            problem_of(groups[g], (fbq_zero)((bits + g) % 3), size[1], r, m);
                        p.shape = fbq_shape_of(size[0], size[1], r);
                        p.format.bits = bits;
                        p.x_type = p.y_type = p.format.scale_type = (fbq_type)type;
                        p.format.factor_type =
                            g == 3 ? FBQ_I8 : (fbq_type)(g == 1 ? type : 3 - type);
                        take(&p, FBQ_KERNEL_FUSED, NULL);
                        if (r)
                            take(&p, FBQ_KERNEL_DOWN, NULL);
                    }
}

/* Split-K, which no default has: the defaults otherwise, for every kind of sub-branch. */
static void take_splits(void)
{
    for (int m = 1; m <= 8; m += 7)
        for (int launches = 0; launches <= 2; launches++)
            for (int splits = 2; splits <= 8; splits += 6) {
                fbq_problem p = problem_of(128, FBQ_ZERO_F16, 14336, launches == 0 ? 0 : 128, m);
                fbq_pick pick;
                p.launches = launches;
                assert_int_equal(fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
                pick.splits = splits;
                pick.chunks = 2;
                pick.stages = 2;
                if (fbq_pick_check(&p, gpu, &pick, NULL) == FBQ_OK)
                    take(&p, FBQ_KERNEL_FUSED, &pick);
                else
                    assert_true(pick.slices > 0); /* fewer blocks may be too few for that */
            }
}

/* q, k and v, or gate and up: every kind of sub-branch, for 1, 8 and 16 rows. */
static void take_segments(void)
{
    static const fbq_shape shapes[] = {
        {4096, 3, {{4096, 128}, {4096, 128}, {4096, 128}}},
        {4096, 3, {{4096, 128}, {1024, 0}, {1000, 40}}},
        {4096, 2, {{14336, 128}, {14336, 128}}},
        {2048, 8, {{64, 16}, {64, 0}, {64, 1}, {64, 0}, {64, 0}, {64, 0}, {64, 0}, {64, 0}}},
        {4096, 3, {{2048, 128}, {1024, 64}, {1024, 64}}}, /* two launches side by side */
        {14336, 2, {{4096, 0}, {1024, 0}}}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++)
        for (int m = 1; m <= MOST_ROWS; m = m == 1 ? 8 : m + 8)
            for (int launches = 1; launches <= 2; launches++) {
                const fbq_type type = (fbq_type)(1 + (s + (size_t)m) % 2);
                fbq_problem p =
                    problem_of(groups[(s + (size_t)m) % 5], (fbq_zero)((s + 2) % 3), 64, 0, m);
                fbq_pick pick;
                p.shape = shapes[s];
                p.x_type = p.format.scale_type = p.format.factor_type = type;
                if (s == 1) /* factors of another type than x, and of int8 */
                    p.format.factor_type = launches == 1 ? (fbq_type)(3 - type) : FBQ_I8;
                else if (s == 2)
                    p.format.factor_type = launches == 1 ? FBQ_I8 : type;
                p.format.bits = 4 - (int)(s % 3);
                p.launches = launches;
                if (fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, NULL) != FBQ_OK)
                    assert_int_equal(launches, 1); /* too few blocks, or too many rows */
                else
                    take(&p, FBQ_KERNEL_FUSED, NULL);
            }
}

/* What comes with fbq for this GPU. */
static void take_shipped(void)
{
    fbq_wisdom *shipped = NULL;
    assert_int_equal(fbq_wisdom_shipped(&shipped, NULL), FBQ_OK);
    for (size_t i = 0; i < fbq_wisdom_count(shipped); i++) {
        const fbq_record *r = fbq_wisdom_record(shipped, i);
        if (r->gpu.capability == gpu->capability && r->gpu.sms == gpu->sms)
            take(&r->problem, r->pick.kernel, &r->pick);
    }
    fbq_wisdom_free(shipped);
}

static void test_defaults(void **state)
{
    static const int64_t ks[] = {64, 128, 300, 576, 1024, 2048, 4096, 8192, 14336, 28672};
    (void)state;
    printf("sm_%d, registers of a thread          m = 1         m <= 8\n", gpu->capability);
    printf("fused  group  zero points        r = 0  r > 0   r = 0  r > 0\n");
    for (int g = 0; g < 5; g++)
        for (int zero = 0; zero < 3; zero++) {
            uint32_t registers[4];
            for (int i = 0; i < 4; i++) {
                fbq_problem p =
                    problem_of(groups[g], (fbq_zero)zero, 4096, i & 1 ? 128 : 0, i & 2 ? 8 : 1);
                registers[i] = take(&p, FBQ_KERNEL_FUSED, NULL);
            }
            printf("       %5d  %-12s %11u %6u %7u %6u\n", groups[g], zero_names[zero],
                   registers[0], registers[1], registers[2], registers[3]);
        }
    /* other K have fewer warps in fused, other shares of K in down */
    for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++)
        for (int m = 1; m <= 8; m += 7) {
            fbq_problem p = problem_of(128, FBQ_ZERO_F16, ks[k], 128, m);
            take(&p, FBQ_KERNEL_FUSED, NULL);
            take(&p, FBQ_KERNEL_DOWN, NULL);
            p.launches = m == 1 ? 2 : 1; /* what is not the default */
            take(&p, FBQ_KERNEL_FUSED, NULL);
        }
    /* longer layers take more tiles at a time */
    for (int g = 0; g < 5; g++)
        for (int zero = 0; zero < 3; zero++)
            for (int m = 1; m <= 8; m += 7) {
                fbq_problem p = problem_of(groups[g], (fbq_zero)zero, 4096, 128, m);
                p.shape = fbq_shape_of(14336, 4096, 128);
                take(&p, FBQ_KERNEL_FUSED, NULL);
            }
    /* where x does not stay, many tiles at a time in one launch */
    for (int g = 2; g < 4; g++)
        for (int zero = 0; zero < 3; zero++) {
            fbq_problem p = problem_of(groups[g], (fbq_zero)zero, 4096, 128, 1);
            p.shape = fbq_shape_of(14336, 29568, 128);
            take(&p, FBQ_KERNEL_FUSED, NULL);
        }
    take_others();
    take_splits();
    take_segments();
    take_formats();
    take_shipped();
    for (int i = 0; i < all.count; i++)
        if (all.what[i].kernel == FBQ_KERNEL_DOWN)
            printf("down   warps %d, chunks %d, m %s: %u registers\n", all.what[i].warps,
                   all.what[i].chunks, all.what[i].columns == 1 ? "= 1" : "<= 8",
                   all.resources[i].registers);
    const compiled *slow = &all.what[all.slow];
    printf("sm_%d: %d kernels, up to %u registers, cubins of %zu bytes on average and %zu at most, "
           "%.2f s a kernel and %.2f at most (K of %d chunks, group %d, sub-branch %d, m %d)\n",
           gpu->capability, all.count, all.most, all.bytes / (size_t)all.count, all.largest,
           all.time / all.count, all.slowest, slow->k_chunks, slow->group, slow->branch,
           slow->columns);
    assert_true(all.count >= 200);
    assert_int_equal(all.failed, 0);
}

/* ---- The reader itself ---- */

/* One kernel with an array that must be indexed in memory, one with more live numbers than
 * registers, one with neither. */
static const char *const kernels_source =
    "extern \"C\" __global__ void indexed(float *y, int i)\n"
    "{\n"
    "    float a[64];\n"
    "    for (int j = 0; j < 64; j++)\n"
    "        a[j] = y[j * 32];\n"
    "    for (int j = 0; j < 64; j++)\n"
    "        a[(i * j) & 63] += a[(i + j) & 63];\n"
    "    y[i] = a[i & 63];\n"
    "}\n"
    "extern \"C\" __global__ void __launch_bounds__(1024) spilling(float *y)\n"
    "{\n"
    "    float a[200];\n"
    "#pragma unroll\n"
    "    for (int j = 0; j < 200; j++)\n"
    "        a[j] = y[j * 32];\n"
    "    __syncthreads();\n"
    "#pragma unroll\n"
    "    for (int j = 0; j < 200; j++)\n"
    "        y[j * 32 + 7] = a[199 - j] * a[j];\n"
    "}\n"
    "extern \"C\" __global__ void clean(float *y)\n"
    "{\n"
    "    y[threadIdx.x] *= 2;\n"
    "}\n";

static void test_reader_sees_spills(void **state)
{
    fbq__nvrtc nvrtc;
    fbq_error error;
    const fbq_pick pick = {FBQ_KERNEL_FUSED, 4, 4, 1, 1, 2, 1, 0};
    (void)state;
    if (fbq__nvrtc_open(NULL, &nvrtc, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    for (int i = 0; i < NOMINAL_GPUS; i++) {
        void *image;
        size_t bytes;
        cubin_resources r;
        gpu = &nominal_gpus[i];
        if (fbq__nvrtc_build(&nvrtc, kernels_source, gpu->capability, 0, &image, &bytes, &error) !=
            FBQ_OK)
            fail_msg("%s", error.detail);
        assert_true(cubin_read(image, bytes, "indexed", &r));
        assert_true(r.stack >= 64 * sizeof(float));
        assert_non_null(wrong_with(&r, &pick, 0, 1, 0));
        assert_true(cubin_read(image, bytes, "spilling", &r));
        /* 1024 threads leave 64 registers for 200 numbers */
        assert_true(r.registers <= 64 && r.stack >= 32 * sizeof(float));
        assert_non_null(wrong_with(&r, &pick, 0, 1, 0));
        assert_true(cubin_read(image, bytes, "clean", &r));
        assert_true(r.registers > 0 && r.registers < 32);
        assert_true(r.stack == 0 && r.min_stack == 0 && r.local == 0);
        r.registers = 40;
        assert_null(wrong_with(&r, &pick, 0, 1, 0));
        r.registers = 250;
        assert_non_null(wrong_with(&r, &pick, 0, 1, 0));
        assert_false(cubin_read(image, bytes, "absent", &r));
        /* cut short anywhere: refused or read, never beyond the end */
        for (size_t size = 0; size < bytes; size += 61) {
            void *copy = malloc(size ? size : 1);
            assert_non_null(copy);
            memcpy(copy, image, size);
            cubin_read(copy, size, "clean", &r);
            free(copy);
        }
        assert_false(cubin_read(image, 63, "clean", &r));
        ((char *)image)[1] = 'x';
        assert_false(cubin_read(image, bytes, "clean", &r));
        fbq_free(image);
    }
    fbq__nvrtc_close(&nvrtc);
}

/* compute_80's PTX is what a GPU newer than NVRTC falls back to. */
static void test_ptx(void **state)
{
    (void)state;
    for (int m = 1; m <= 8; m += 7)
        for (int kernel = 0; kernel < FBQ_KERNELS; kernel++) {
            const fbq_problem p = problem_of(64, FBQ_ZERO_CODE, 4096, 128, m);
            fbq_pick pick;
            fbq_error error;
            void *image;
            size_t bytes;
            gpu = &nominal_gpus[0];
            assert_int_equal(fbq_pick_default(&p, gpu, (fbq_kernel)kernel, &pick, NULL), FBQ_OK);
            if (fbq_compile(&p, gpu, &pick, 1, NULL, &image, &bytes, &error) != FBQ_OK)
                fail_msg("%s", error.detail);
            const char *ptx = image;
            assert_int_equal(ptx[bytes - 1], 0);
            assert_int_equal(strlen(ptx), bytes - 1);
            assert_non_null(strstr(ptx, ".target sm_80"));
            assert_non_null(strstr(ptx, kernel == FBQ_KERNEL_DOWN ? ".visible .entry fbq_down"
                                                                  : ".visible .entry fbq_fused"));
            fbq_free(image);
        }
}

/* ---- Cubins to look at ---- */

/* Write the default fused kernels of a 4096 x 4096 layer: group 128, fp16 zero points, rank 128. */
static int keep(const char *folder)
{
    for (int m = 1; m <= 8; m += 7) {
        const fbq_problem p = problem_of(128, FBQ_ZERO_F16, 4096, 128, m);
        fbq_pick pick;
        fbq_error error;
        void *image;
        size_t bytes, written = 0;
        char path[4096], text[128];
        FILE *file;
        if (fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, &error) != FBQ_OK ||
            fbq_compile(&p, gpu, &pick, 0, NULL, &image, &bytes, &error) != FBQ_OK) {
            fprintf(stderr, "nvrtc_picks: %s\n", error.detail);
            return 1;
        }
        snprintf(path, sizeof path, "%s/sm_%d_m%d.cubin", folder, gpu->capability, m);
        file = fopen(path, "wb");
        if (file)
            written = fwrite(image, 1, bytes, file);
        fbq_free(image);
        /* a full disk shows only when the file is closed */
        if (!file || fclose(file) || written != bytes) {
            fprintf(stderr, "nvrtc_picks: %s cannot be written\n", path);
            return 1;
        }
        fbq_pick_print(&pick, text, sizeof text);
        printf("%s: %s\n", path, text);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest of_gpu[] = {cmocka_unit_test(test_defaults)};
    const struct CMUnitTest of_none[] = {cmocka_unit_test(test_reader_sees_spills),
                                         cmocka_unit_test(test_ptx)};
    fbq__nvrtc nvrtc;
    fbq_error error;
    const char *folder = NULL, *capability;
    if (argc > 2 && !strcmp(argv[1], "--keep")) {
        folder = argv[2];
        argc -= 2;
        argv += 2;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: nvrtc_picks [--keep FOLDER] [CAPABILITY]\n");
        return 2;
    }
    capability = argc == 2 ? argv[1] : NULL;
    if (fbq__nvrtc_open(NULL, &nvrtc, &error) != FBQ_OK) {
        fprintf(stderr, "skipped: %s\n", error.detail);
        return error.status == FBQ_ERR_NO_NVRTC ? SKIPPED : 1;
    }
    if (!capability && !folder) {
        int failed = cmocka_run_group_tests(of_none, NULL, NULL);
        fbq__nvrtc_close(&nvrtc);
        return failed;
    }
    /* the library is kept open meanwhile, so that each compilation need not load it again */
    int failed = 0;
    for (int i = 0; i < NOMINAL_GPUS && !failed; i++)
        if (!capability || nominal_gpus[i].capability == atoi(capability)) {
            gpu = &nominal_gpus[i];
            failed = folder ? keep(folder) : cmocka_run_group_tests(of_gpu, NULL, NULL);
        }
    if (!gpu) {
        fprintf(stderr, "nvrtc_picks: no GPU of capability %s is known\n", capability);
        failed = 2;
    }
    fbq__nvrtc_close(&nvrtc);
    return failed;
}
