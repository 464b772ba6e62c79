/* tests/unit_pick.c: picks as text, the legality predicate at its limits, and the shipped defaults.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#include "support/gpus.h"
#include "support/layer.h"
#include "support/refusal.h"

static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};

static fbq_problem problem_of(int group, fbq_zero zero, int64_t n, int64_t k, int64_t r, int m_max)
{
    fbq_problem p = {
        {4, group, zero, FBQ_F16, FBQ_F16}, fbq_shape_of(n, k, r), FBQ_F16, FBQ_F16, m_max, 0, 0};
    return p;
}

static const fbq_gpu *gpu_named(const char *name)
{
    for (int i = 0; i < NOMINAL_GPUS; i++)
        if (!strcmp(nominal_gpus[i].name, name))
            return &nominal_gpus[i];
    fail_msg("no GPU %s", name);
    return NULL;
}

/* ---- Text ---- */

static int equal(const fbq_pick *a, const fbq_pick *b)
{
    int same = a->kernel == b->kernel;
#define COMPARE(field) same = same && a->field == b->field;
    FBQ_PICK_FIELDS(COMPARE)
#undef COMPARE
    return same;
}

static void test_round_trip(void **state)
{
    uint64_t random = 1;
    (void)state;
    for (int i = 0; i < 5000; i++) {
        fbq_pick pick, back;
        char text[256];
        pick.kernel = (fbq_kernel)(i % FBQ_KERNELS);
        /* all of int, small numbers as often as large ones */
#define DRAW(field) pick.field = (int)(uint32_t)random_bits(&random) >> random_bits(&random) % 32;
        FBQ_PICK_FIELDS(DRAW)
#undef DRAW
        int length = fbq_pick_print(&pick, text, sizeof text);
        assert_int_equal(length, strlen(text));
        memset(&back, 0x77, sizeof back);
        assert_int_equal(fbq_pick_parse(text, &back, NULL), FBQ_OK);
        assert_true(equal(&pick, &back));
    }
}

static void test_print(void **state)
{
    const fbq_pick fused = {FBQ_KERNEL_FUSED, 16, 4, 1, 0, 2, 3, 4};
    const fbq_pick down = {FBQ_KERNEL_DOWN, 8, 2, 1, 5, 0, 0, 0};
    const fbq_pick odd = {(fbq_kernel)9, 1, 1, 1, 1, 1, 1, 1};
    const char *whole =
        "fused warps=16 chunks=4 blocks_per_sm=1 slices=0 stages=2 tiles=3 splits=4";
    char text[100];
    (void)state;
    assert_int_equal(fbq_pick_print(&fused, text, sizeof text), strlen(whole));
    assert_int_equal(fbq_pick_print(NULL, NULL, 0), strlen("no pick"));
    assert_string_equal(text, whole);
    fbq_pick_print(&down, text, sizeof text);
    assert_string_equal(text,
                        "down warps=8 chunks=2 blocks_per_sm=1 slices=5 stages=0 tiles=0 splits=0");
    fbq_pick_print(&odd, text, sizeof text);
    assert_string_equal(text,
                        "? warps=1 chunks=1 blocks_per_sm=1 slices=1 stages=1 tiles=1 splits=1");
    /* too small a buffer: a NUL in its place, nothing behind it, the whole length */
    for (size_t bytes = 0; bytes <= strlen(whole) + 1; bytes++) {
        memset(text, '#', sizeof text);
        assert_int_equal(fbq_pick_print(&fused, text, bytes), strlen(whole));
        for (size_t i = bytes; i < sizeof text; i++)
            assert_int_equal(text[i], '#');
        if (bytes) {
            assert_int_equal(strlen(text), bytes - 1);
            assert_memory_equal(text, whole, bytes - 1);
        }
    }
    assert_int_equal(fbq_pick_print(&fused, NULL, 0), strlen(whole));
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        fbq_pick pick;
    } good[] = {{"down", {FBQ_KERNEL_DOWN, 0, 0, 0, 0, 0, 0, 0}},
                {"  fused   slices=3\twarps=2\n", {FBQ_KERNEL_FUSED, 2, 0, 0, 3, 0, 0, 0}},
                {"down slices=-1 warps=+7", {FBQ_KERNEL_DOWN, 7, 0, 0, -1, 0, 0, 0}},
                {"fused stages=3 warps=2147483647 chunks=-2147483648",
                 {FBQ_KERNEL_FUSED, INT32_MAX, INT32_MIN, 0, 0, 3, 0, 0}}};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        fbq_pick pick;
        assert_int_equal(fbq_pick_parse(good[i].text, &pick, NULL), FBQ_OK);
        assert_true(equal(&pick, &good[i].pick));
    }
}

/* Each in a block of its own size, so that a sanitizer sees a read behind the text. */
static void refused(const char *text, const char *says)
{
    const fbq_pick before = {FBQ_KERNEL_FUSED, 1, 2, 3, 4, 5, 6, 0};
    fbq_pick pick = before;
    char *copy = malloc(strlen(text) + 1);
    assert_non_null(copy);
    strcpy(copy, text);
    assert_refused(FBQ_ERR_PICK, fbq_pick_parse(copy, &pick, &error), says);
    assert_true(equal(&pick, &before));
    free(copy);
}

static void test_bad_texts(void **state)
{
    (void)state;
    refused("", "empty");
    refused(" \n\t ", "empty");
    refused("gemm warps=1", "\"gemm\"");
    refused("Fused warps=1", "\"Fused\"");
    refused("fusedwarps=1", "\"fusedwarps=1\"");
    refused("fusedfusedfusedfusedfusedfusedfusedfused", "expected down or fused");
    refused("fused warp=1", "\"warp\"");
    refused("fused warps", " warps");
    refused("fused warps=16 chunks", " chunks");
    refused("fused blocks_per_sm=16 chunks ", " chunks ");
    refused("fused warps=", "warps has no number");
    refused("fused warps=x", "warps has no number");
    refused("fused warps=99999999999", "warps has no number");
    refused("fused warps=2147483648", "warps has no number");
    refused("fused warps=-99999999999999999999999", "warps has no number");
    refused("fused warps=1.5", ".5");
    refused("fused warps=16chunks=4", "chunks=4");
    refused("fused warps=4 =3", "=3");
    refused("fused warps=4 5", "5");
    refused("fused warps=4, chunks=1", ",");
    refused("fused abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz=1", "abcdef");
    fbq_pick pick;
    assert_refused(FBQ_ERR_NULL, fbq_pick_parse(NULL, &pick, &error), "text");
    assert_refused(FBQ_ERR_NULL, fbq_pick_parse("fused", NULL, &error), "pick");
}

/* ---- Legality ---- */

static void test_limits(void **state)
{
    const fbq_problem p = problem_of(128, FBQ_ZERO_F16, 4096, 4096, 128, 8);
    const fbq_gpu *gpu = gpu_named("H100");
    const fbq_pick fused = {FBQ_KERNEL_FUSED, 8, 2, 1, 0, 2, 1, 0};
    const fbq_pick down = {FBQ_KERNEL_DOWN, 8, 2, 1, 8, 1, 1, 0};
    fbq_pick pick;
    (void)state;
#define CHECK(base, change, ...) \
    pick = base;                 \
    change;                      \
    assert_refused(FBQ_ERR_PICK, fbq_pick_check(&p, gpu, &pick, &error), __VA_ARGS__)
#define LEGAL(base, change) \
    pick = base;            \
    change;                 \
    assert_int_equal(fbq_pick_check(&p, gpu, &pick, NULL), FBQ_OK)
    LEGAL(fused, (void)0);
    LEGAL(down, (void)0);
    CHECK(fused, pick.warps = 0, "pick.warps is 0", "1 .. 16");
    CHECK(fused, pick.warps = 17, "pick.warps is 17", "1 .. 16");
    LEGAL(fused, pick.warps = 16);
    LEGAL(fused, pick.warps = 1);
    CHECK(down, pick.warps = 17, "pick.warps is 17");
    CHECK(down, pick.warps = -1, "pick.warps is -1");
    CHECK(fused, pick.chunks = 3, "pick.chunks is 3", "an even number");
    CHECK(fused, pick.chunks = 0, "pick.chunks is 0", "2 .. 64");
    CHECK(fused, pick.chunks = 1, "pick.chunks is 1", "2 .. 64");
    CHECK(fused, pick.chunks = 66, "pick.chunks is 66", "2 .. 64");
    LEGAL(fused, pick.chunks = 4);
    LEGAL(fused, (pick.chunks = 64, pick.warps = 1));
    CHECK(fused, pick.stages = 1, "pick.stages is 1", "2 .. 4");
    CHECK(fused, pick.stages = 5, "pick.stages is 5", "2 .. 4");
    LEGAL(fused, pick.stages = 3);
    LEGAL(fused, pick.stages = 4);
    CHECK(fused, pick.tiles = 0, "pick.tiles is 0", "1 .. 8");
    CHECK(fused, pick.tiles = 9, "pick.tiles is 9", "1 .. 8");
    LEGAL(fused, pick.tiles = 2);
    CHECK(down, pick.chunks = 0, "pick.chunks is 0", "1, 2 or 4");
    CHECK(down, pick.chunks = 3, "pick.chunks is 3", "1, 2 or 4");
    CHECK(down, pick.chunks = 8, "pick.chunks is 8");
    LEGAL(down, pick.chunks = 1);
    LEGAL(down, pick.chunks = 4);
    LEGAL(down, (pick.blocks_per_sm = 0, pick.stages = 0, pick.tiles = 0)); /* fused's alone */
    CHECK(fused, pick.blocks_per_sm = 0, "pick.blocks_per_sm is 0", "1 .. 16");
    CHECK(fused, pick.blocks_per_sm = 17, "pick.blocks_per_sm is 17");
    CHECK(fused, pick.blocks_per_sm = INT32_MIN, "pick.blocks_per_sm");
    CHECK(down, pick.slices = 0, "pick.slices is 0", "1 .. 64");
    CHECK(down, pick.slices = 65, "pick.slices is 65");
    LEGAL(down, pick.slices = 64);
    LEGAL(fused, pick.slices = 1);
    LEGAL(fused, pick.slices = 16);
    CHECK(fused, pick.slices = -1, "pick.slices is -1", "0 .. 64");
    CHECK(fused, pick.slices = 65, "pick.slices is 65", "0 .. 64");
    /* eight rank tiles and 132 blocks */
    CHECK(fused, pick.slices = 17, "pick.slices is 17", "136 shares", "132 blocks");
    LEGAL(fused, pick.splits = 1);
    LEGAL(fused, pick.splits = 8);
    CHECK(fused, pick.splits = -1, "pick.splits is -1", "0 .. 8");
    CHECK(fused, pick.splits = 9, "pick.splits is 9", "0 .. 8");
    /* eight rows want four counters a tile, of 2,048 */
    fbq_problem wide = p;
    wide.shape.segment[0].n = 8192;
    pick = fused;
    pick.splits = 2;
    assert_int_equal(fbq_pick_check(&wide, gpu, &pick, NULL), FBQ_OK);
    wide.shape.segment[0].n = 8193;
    assert_refused(FBQ_ERR_PICK, fbq_pick_check(&wide, gpu, &pick, &error), "pick.splits is 2",
                   "N is 8193", "at most 8192");
    CHECK(fused, pick.kernel = (fbq_kernel)2, "pick.kernel is 2", "0 .. 1");
    CHECK(fused, pick.kernel = (fbq_kernel)-1, "pick.kernel is -1");
    /* too many threads for the registers */
    CHECK(fused, (pick.warps = 16, pick.chunks = 4, pick.blocks_per_sm = 2), "1280 threads",
          "lower blocks_per_sm");
    CHECK(fused, (pick.warps = 16, pick.blocks_per_sm = 16), "10240 threads");
    /* more shared memory than there is: one block's share shrinks with their number */
    CHECK(fused, (pick.warps = 2, pick.chunks = 64, pick.blocks_per_sm = 2), "shared memory",
          "2 blocks", "m = 8");
}

static int64_t whole_lines(int64_t bytes)
{
    return (bytes + 127) / 128 * 128;
}

/* What the kernel's own list of its shared memory comes to, for 4 warps, one unit a step and two
 * stages, groups of 128 with fp16 zero points, 8 rows, and no more tiles than blocks: partial
 * results take the place of the rings then. */
static int64_t shared_bytes(int64_t rank_tiles)
{
    /* the up-projection of a tile, by up to four warps with four rank tiles or more each; of each
     * rank tile, t's fragments and the power of two of each column */
    const int64_t up_parts = rank_tiles > 12 ? 4 : rank_tiles > 4 ? 2 : 1;
    const int64_t up = 16 * 8 * 4, t = rank_tiles * (512 + 8 * 4);
    /* of each warp, 8 rows of 128 words, 64 bytes between the even and the odd ones, and a
     * correction of two numbers for each */
    const int64_t x = 4 * (8 * 128 * 2 + 64 + whole_lines(8 * 8));
    /* codes, scales with zero points; a barrier each, and one for x; two for the
     * up-projection, and for its four warps rings of two pieces */
    const int64_t ring = 4 * 2 * whole_lines(1024 + 64), pieces = 4 * 2 * 2048;
    const int64_t barriers = 4 * 3 * 8 + 2 * 8 + 4 * 2 * 8;
    return whole_lines(whole_lines(up_parts * up + t) + x + pieces + barriers) + ring;
}

/* Just at the limit of shared memory, and one rank tile beyond, on every GPU. */
static void test_shared_memory_limit(void **state)
{
    int limited = 0;
    (void)state;
    for (int i = 0; i < NOMINAL_GPUS; i++) {
        const fbq_gpu *gpu = &nominal_gpus[i];
        const fbq_pick pick = {FBQ_KERNEL_FUSED, 4, 2, 1, 0, 2, 1, 0};
        const int64_t room =
            gpu->shared_sm - 1024 < gpu->shared_block ? gpu->shared_sm - 1024 : gpu->shared_block;
        int64_t tiles = 0;
        while (shared_bytes(tiles + 1) <= room)
            tiles++;
        if (tiles * 16 >= 4096)
            continue; /* any rank that a layer may have */
        limited++;
        fbq_problem p = problem_of(128, FBQ_ZERO_F16, 64, 512, tiles * 16, 8);
        assert_int_equal(fbq_pick_check(&p, gpu, &pick, NULL), FBQ_OK);
        p.shape.segment[0].r++;
        assert_refused(FBQ_ERR_PICK, fbq_pick_check(&p, gpu, &pick, &error), "shared memory");
        printf("%s: rank up to %lld with 4 warps of 2 chunks at m = 8\n", gpu->name,
               (long long)tiles * 16);
    }
    assert_true(limited > 0);
}

/* ---- Defaults ---- */

static void test_defaults_are_legal(void **state)
{
    static const int64_t ks[] = {1,    31,   64,   65,    100,   255,   256,
                                 257,  576,  1000, 1024,  1536,  2048,  3584,
                                 4096, 5120, 8192, 11008, 14336, 18944, 28672};
    /* the last one, whose t takes 136 KB, is too much for GPUs with 99 KB of shared memory a block;
     * those with 227 KB have room for it */
    static const int64_t ranks[] = {0, 1, 16, 17, 64, 128, 130, 256, 512, 1400, 4096};
    int checked = 0;
    (void)state;
    for (int i = 0; i < NOMINAL_GPUS; i++)
        for (int g = 0; g < 5; g++)
            for (int zero = 0; zero < 3; zero++)
                for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++)
                    for (size_t r = 0; r < sizeof ranks / sizeof ranks[0]; r++)
                        for (int m = 1; m <= 8; m++)
                            for (int kernel = 0; kernel < FBQ_KERNELS; kernel++) {
                                fbq_problem p =
                                    problem_of(groups[g], (fbq_zero)zero, 4096, ks[k], ranks[r], m);
                                fbq_pick pick;
                                fbq_error error;
                                checked++;
                                if (ranks[r] == 4096 && kernel == FBQ_KERNEL_FUSED &&
                                    nominal_gpus[i].shared_block < 227 * 1024) {
                                    if (nominal_gpus[i].shared_block > 136 * 1024)
                                        continue;
                                    assert_int_equal(fbq_pick_default(&p, &nominal_gpus[i],
                                                                      FBQ_KERNEL_FUSED, &pick,
                                                                      NULL),
                                                     FBQ_ERR_UNSUPPORTED);
                                    continue;
                                }
                                if (fbq_pick_default(&p, &nominal_gpus[i], (fbq_kernel)kernel,
                                                     &pick, &error) != FBQ_OK ||
                                    fbq_pick_check(&p, &nominal_gpus[i], &pick, &error) != FBQ_OK)
                                    fail_msg("%s group %d zero %d k %lld r %lld m %d: %s",
                                             nominal_gpus[i].name, groups[g], zero,
                                             (long long)ks[k], (long long)ranks[r], m,
                                             error.detail);
                                assert_int_equal(pick.kernel, kernel);
                            }
    printf("%d defaults\n", checked);
    assert_int_equal(checked, NOMINAL_GPUS * 5 * 3 * 21 * 11 * 8 * 2);
}

/* One row of x: what was measured to be best; and without a sub-branch, where K is whole steps,
 * never a warp more than it takes to have no longer a run of them for any. */
static void test_warps(void **state)
{
    static const struct {
        int64_t n, k, r;
        int capability, warps, chunks, stages, tiles, blocks;
    } measured[] = {
        {4096, 4096, 0, 90, 16, 4, 2, 2, 1},    {4096, 14336, 0, 90, 14, 4, 2, 2, 1},
        {5120, 5120, 0, 90, 10, 4, 3, 3, 1},    {8192, 8192, 0, 90, 16, 4, 2, 1, 1},
        {2048, 2048, 0, 90, 8, 4, 2, 1, 1},     {4096, 14336, 128, 90, 14, 4, 2, 1, 1},
        {4096, 4096, 128, 90, 16, 4, 2, 2, 1},  {13824, 5120, 128, 90, 10, 8, 2, 1, 1},
        {4096, 4096, 0, 80, 8, 4, 2, 1, 2},     {14336, 4096, 0, 80, 16, 4, 2, 1, 1},
        {4096, 4096, 128, 80, 4, 8, 2, 1, 1},   {11008, 4096, 128, 80, 8, 4, 2, 1, 1},
        {4096, 11008, 128, 80, 15, 2, 3, 1, 1},
    };
    fbq_gpu gpu = {"", 90, 132, 232448, 233472, 65536}; /* an H200 */
    (void)state;
    for (size_t i = 0; i < sizeof measured / sizeof measured[0]; i++) {
        fbq_problem p =
            problem_of(128, FBQ_ZERO_F16, measured[i].n, measured[i].k, measured[i].r, 1);
        fbq_pick pick;
        gpu.capability = measured[i].capability;
        assert_int_equal(fbq_pick_default(&p, &gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
        assert_int_equal(pick.warps, measured[i].warps);
        assert_int_equal(pick.chunks, measured[i].chunks);
        assert_int_equal(pick.stages, measured[i].stages);
        assert_int_equal(pick.tiles, measured[i].tiles);
        assert_int_equal(pick.blocks_per_sm, measured[i].blocks);
    }
    gpu.capability = 90;
    for (int64_t k = 64; k <= 32768; k += 64) {
        fbq_problem p = problem_of(128, FBQ_ZERO_F16, 4096, k, 0, 1);
        const int64_t units = (k + 127) / 128;
        int64_t steps, run;
        fbq_pick pick;
        assert_int_equal(fbq_pick_default(&p, &gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
        steps = (units + pick.chunks / 2 - 1) / (pick.chunks / 2);
        run = (steps + pick.warps - 1) / pick.warps;
        assert_int_equal(run, (steps + 15) / 16);
        if (k % (64 * pick.chunks) == 0)
            assert_true(pick.warps == 1 || (pick.warps - 1) * run < steps);
    }
}

/* One launch for a single row of x, two for more and where there are few blocks; either for the
 * asking. */
static void test_launches(void **state)
{
    static const struct {
        const char *gpu;
        int64_t n, r;
        int m_max, launches, slices; /* -1: refused */
    } cases[] = {
        {"H100", 4096, 128, 1, 0, 8},    {"H100", 4096, 128, 1, 2, 0},
        {"H100", 4096, 0, 1, 1, 0},      {"H100", 4096, 128, 8, 0, 0},
        {"H100", 4096, 128, 8, 1, 8},    {"H100", 4096, 16, 1, 0, 8},
        {"H100", 256, 128, 1, 0, 0},     {"H100", 256, 128, 1, 1, 2},
        {"H100", 64, 128, 1, 1, -1},     {"RTX 3090", 4096, 128, 1, 0, 8},
        {"RTX 3090", 4096, 64, 1, 1, 8}, {"H100", 4096, 512, 1, 0, 4}, /* 132 blocks, 32 tiles */
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fbq_problem p = problem_of(128, FBQ_ZERO_F16, cases[i].n, 4096, cases[i].r, cases[i].m_max);
        fbq_pick pick;
        fbq_error error;
        p.launches = cases[i].launches;
        const fbq_status status =
            fbq_pick_default(&p, gpu_named(cases[i].gpu), FBQ_KERNEL_FUSED, &pick, &error);
        if (cases[i].slices < 0) {
            assert_int_equal(status, FBQ_ERR_UNSUPPORTED);
            assert_non_null(strstr(error.detail, "problem.launches is 1"));
        } else {
            assert_int_equal(status, FBQ_OK);
            assert_int_equal(pick.slices, cases[i].slices);
        }
    }
    fbq_problem p = problem_of(128, FBQ_ZERO_F16, 64, 64, 16, 1);
    fbq_pick pick;
    p.launches = 3;
    assert_refused(FBQ_ERR_SIZE,
                   fbq_pick_default(&p, gpu_named("H100"), FBQ_KERNEL_FUSED, &pick, &error),
                   "problem.launches is 3");
}

/* Layers that share x: t of all ranks is in shared memory, and a pick that is legal exists or it is
 * said why not. One segment's up-projection is shared by no more warps than it has pieces. */
static void test_segments(void **state)
{
    const fbq_gpu *gpu = gpu_named("H100");
    fbq_problem p = problem_of(128, FBQ_ZERO_F16, 4096, 4096, 128, 1);
    fbq_pick pick;
    (void)state;
    p.shape.segments = 3;
    p.shape.segment[1] = p.shape.segment[2] = p.shape.segment[0];
    assert_int_equal(fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    /* 64 chunks, four for each of four warps */
    assert_int_equal(pick.slices, 4);
    for (int segments = 1; segments <= FBQ_MAX_SEGMENTS; segments++)
        for (int64_t r = 0; r <= 1024; r += 32)
            for (p.m_max = 1; p.m_max <= 16; p.m_max *= 4) {
                fbq_error error;
                fbq_status status;
                p.shape.segments = segments;
                for (int s = 0; s < segments; s++)
                    p.shape.segment[s] = (fbq_segment){100 + 1000 * s, s % 3 == 1 ? 0 : r};
                status = fbq_pick_default(&p, gpu, FBQ_KERNEL_FUSED, &pick, &error);
                if (status == FBQ_OK)
                    assert_int_equal(fbq_pick_check(&p, gpu, &pick, NULL), FBQ_OK);
                else {
                    assert_int_equal(status, FBQ_ERR_UNSUPPORTED);
                    assert_non_null(strstr(error.detail, segments > 1 ? "fewer segments"
                                                                      : "split the sub-branch"));
                }
                assert_true(status == FBQ_OK || segments * r > 512);
            }
}

/* The default depends on nothing but what it is given, and says why where there is none. */
static void test_default_refusals(void **state)
{
    fbq_problem p = problem_of(128, FBQ_ZERO_F16, 64, 4096, 4096, 8);
    fbq_gpu tiny = *gpu_named("RTX 3090");
    fbq_pick pick = {FBQ_KERNEL_DOWN, 1, 2, 3, 4, 5, 6, 7};
    const fbq_pick before = pick;
    (void)state;
    assert_refused(FBQ_ERR_UNSUPPORTED,
                   fbq_pick_default(&p, &tiny, FBQ_KERNEL_FUSED, &pick, &error),
                   "ranks of 4096 in all", "m_max is 8", "101376 bytes of shared memory");
    assert_true(equal(&pick, &before));
    memset(&tiny, 0, sizeof tiny); /* a GPU that nobody filled in */
    p.shape.segment[0].r = 0;
    assert_refused(FBQ_ERR_UNSUPPORTED,
                   fbq_pick_default(&p, &tiny, FBQ_KERNEL_FUSED, &pick, &error), "0 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip),
                                       cmocka_unit_test(test_print),
                                       cmocka_unit_test(test_parse),
                                       cmocka_unit_test(test_bad_texts),
                                       cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_shared_memory_limit),
                                       cmocka_unit_test(test_defaults_are_legal),
                                       cmocka_unit_test(test_warps),
                                       cmocka_unit_test(test_launches),
                                       cmocka_unit_test(test_segments),
                                       cmocka_unit_test(test_default_refusals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
