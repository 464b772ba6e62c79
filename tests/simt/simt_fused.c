/* tests/simt/simt_fused.c: the unmodified kernels on the CPU, against the reference in double.
 *
 *     simt_fused [80|90]      as layer_main
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"
#include "spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static layer_case base = {.n = 40, .k = 200, .r = 0, .m = 1, .group = 64};
static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};

static void check(const layer_case *c)
{
    assert_true(layer_right(c, NULL));
}

static void any_k(void **state)
{
    static const int64_t sizes[] = {1, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 576, 1000};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t g = 0; g < COUNT(groups); g++) {
            layer_case c = base;
            c.n = 17;
            c.k = sizes[i];
            c.group = groups[g];
            c.zero = (fbq_zero)(i % 3);
            c.m = 1 + (int64_t)((i + g) % 3);
            c.r = g == 0 ? 16 : 0;
            c.seed = i * 10 + g + 1;
            c.data_seed = c.seed;
            check(&c);
        }
    }
}

static void any_n(void **state)
{
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 31, 33, 100};
    (void)state;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (int variant = 0; variant < 4; variant++) {
            layer_case c = base;
            c.n = sizes[i];
            c.k = 100;
            c.m = variant & 1 ? 8 : 1;
            c.r = variant & 2 ? 8 : 0;
            c.sms = 1 + (int)(i % 3);
            c.bias = 1;
            c.data_seed = i;
            check(&c);
        }
    }
}

static void any_rank(void **state)
{
    static const int64_t ranks[] = {1, 8, 15, 16, 17, 128, 130};
    (void)state;
    for (size_t i = 0; i < COUNT(ranks); i++) {
        for (int64_t m = 1; m <= 5; m += 4) {
            for (int slices = 1; slices <= 10; slices += 3) {
                layer_case c = base;
                c.r = ranks[i];
                c.m = m;
                c.slices = slices; /* one column gathers them eight at a time */
                c.seed = i + 1;
                check(&c);
            }
        }
    }
}

/* A layer with ranks may be called without its sub-branch. */
static void unused_branch(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 3; m += 2) {
        layer_case c = base;
        c.r = 16;
        c.unused_branch = 1;
        c.m = m;
        check(&c);
    }
}

static void any_rows(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 16; m++) {
        for (int64_t r = 0; r <= 16; r += 16) {
            layer_case c = base;
            c.m = m;
            c.r = r;
            c.zero = FBQ_ZERO_CODE;
            check(&c);
        }
    }
}

/* x that starts anywhere, rows of x and y with gaps. */
static void any_alignment(void **state)
{
    (void)state;
    for (int shift = 0; shift < 8; shift++) {
        for (int64_t gap = 0; gap <= 8; gap += shift == 0 ? 1 : 4) {
            layer_case c = base;
            c.n = 24;
            c.k = 197 + shift;
            c.m = gap == 0 && shift > 0 ? 1 : 2 + shift % 3;
            c.x_shift = shift;
            c.x_gap = gap;
            c.y_gap = (int64_t)shift * 3;
            c.y_type = shift % 2 ? FBQ_F32 : FBQ_F16;
            c.residual = gap % 2 ? LAYER_RESIDUAL : LAYER_NO_RESIDUAL;
            c.residual_gap = gap;
            check(&c);
        }
    }
}

static void every_epilogue(void **state)
{
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        for (int64_t m = 1; m <= 8; m += 7) {
            layer_case c = base;
            c.bias = variant & 1;
            c.y_type = variant & 2 ? FBQ_F32 : FBQ_F16;
            c.residual = (layer_residual)(variant / 4);
            c.m = m;
            c.r = 5;
            c.y_gap = variant % 3;
            check(&c);
        }
    }
}

/* Every pick of the spread: more than one part a tile, several groups of tiles a block, and the
 * last part of the last warp ragged where K is not compiled in. */
static void every_pick(void **state)
{
    static const struct {
        int group, zero, warps, units, stages, tiles, chunks;
        bool resident, branch;
    } picks[] = {
#define ENTRY(...) {__VA_ARGS__},
        SIMT_SPREAD(ENTRY)
#undef ENTRY
    };
    (void)state;
    for (size_t p = 0; p < COUNT(picks); p++) {
        for (int64_t m = 1; m <= 7; m += 6) {
            const int64_t chunks = picks[p].chunks;
            layer_case c = base;
            c.n = 68; /* five tiles */
            c.sms = 1;
            c.k = (2 * picks[p].warps * picks[p].units + 3) * 64 + 17;
            if (picks[p].tiles == 1 && !picks[p].resident) /* more parts than slots */
                c.k += (int64_t)picks[p].warps * picks[p].units * picks[p].stages * 128;
            if (chunks)
                c.k = chunks * 64 - (chunks == 1 || chunks == 9 || chunks % 2 == 0 ? 0 : 20);
            c.k_known = chunks > 0;
            c.tight = !picks[p].resident && (picks[p].tiles == 1 || p % 2);
            c.group = picks[p].group;
            c.zero = (fbq_zero)picks[p].zero;
            c.warps = picks[p].warps;
            c.chunks = 2 * picks[p].units;
            c.stages = picks[p].stages;
            c.tiles = picks[p].tiles;
            c.m = m;
            c.r = picks[p].branch == (m == 1) ? 33 : 0;
            c.seed = p * 10 + (uint64_t)m;
            c.data_seed = p;
            check(&c);
            if (m == 1 && chunks) { /* blocks of x that do not come in words */
                c.x_shift = 1 + (int)p % 7;
                check(&c);
            }
        }
    }
}

/* Tiles one by one or together, with one area of partial results or two, x that stays and that does
 * not, K that ends anywhere. */
static void any_group(void **state)
{
    static const int64_t sizes[] = {512, 1023, 1536, 1983, 2000};
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            layer_case c = base;
            c.k = sizes[i];
            c.n = 50;
            c.m = variant & 1 ? 8 - (int64_t)i : 1;
            c.m_max = i % 2 ? 8 : 0; /* x is placed for more rows than there are */
            c.r = variant & 2 ? 16 : 0;
            c.tiles = variant & 4 ? 1 : 2;
            c.tight = (variant & 8) && (c.tiles > 1 || c.k > 1536);
            c.sms = 1 + (int)i % 2;
            c.seed = i * 16 + (uint64_t)variant;
            check(&c);
        }
    }
}

/* Several rounds of tiles whose up-projections are handed over, the last one shorter; and one round
 * with fewer tiles than the sub-branch has warps. */
static void any_round(void **state)
{
    static const int64_t ranks[] = {16, 130};
    (void)state;
    for (int variant = 0; variant < 8; variant++) {
        for (size_t r = 0; r < COUNT(ranks); r++) {
            layer_case c = base;
            c.n = variant & 4 ? 70 : 300; /* 19 tiles are rounds of 7, 7 and 5 */
            c.k = 520;
            c.r = ranks[r];
            c.m = variant & 1 ? 5 : 1;
            c.tiles = 1;
            c.sms = variant & 2 ? 2 : 1;
            c.bias = 1;
            c.seed = 40 + (uint64_t)variant;
            check(&c);
        }
    }
}

/* t made in the same launch: any rank, slices, rows and K; in a chain and not. */
static void one_launch(void **state)
{
    static const int64_t ranks[] = {1, 16, 40, 130};
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        for (size_t r = 0; r < COUNT(ranks); r++) {
            layer_case c = base;
            c.group = r % 2 ? 128 : 64; /* those of 128 hold their first step in registers */
            c.n = r % 2 ? 900 : 500;    /* 57 or 32 tiles */
            c.k = variant & 4 ? 1000 : 512;
            c.x_shift = variant == 7;
            c.r = ranks[r];
            c.m = variant & 1 ? 1 + (int64_t)r * 2 : 1;
            c.tiles = variant & 2 ? 1 : r % 2 ? 3 : 2;
            c.sms = 18; /* 16 or more blocks */
            c.resident = 18;
            c.one_launch = r < 2 ? 1 + 4 * (variant % 4) : 1 + (int)(r == 2) * (variant % 4);
            c.chained = variant & 8;
            c.bias = 1;
            c.seed = 60 + (uint64_t)variant;
            check(&c);
        }
    }
}

/* However few blocks live at once, and whoever makes a partial sum: the same bits. */
static void same_bits_with_help(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 4; m += 3) {
        layer_result first;
        layer_case c = base;
        c.n = 200;
        c.k = 900;
        c.m = m;
        c.y_type = FBQ_F32; /* fp16 would hide another order of sums */
        c.r = 40;
        c.sms = 13;
        c.resident = 13;
        c.one_launch = 2;
        assert_true(layer_run(&c, &first));
        for (uint64_t seed = 2; seed < 8; seed++) {
            c.seed = seed;
            c.resident = (int)seed % 3 + 1;
            c.impatient = seed % 2;
            c.chained = seed % 4 > 1;
            c.capability = seed > 4 ? 80 : 90;
            assert_true(layer_right(&c, &first));
        }
        free(first.y);
    }
}

/* The same where K is so long that a warp has x for four chunks of its share at a time: shares of
 * less than that a warp, of exactly that, and of several times and a rest. */
static void long_shares(void **state)
{
    static const int slices[] = {3, 9, 11};
    (void)state;
    for (size_t i = 0; i < 2 * COUNT(slices); i++) {
        layer_result first;
        layer_case c = base;
        const int bytes = i >= COUNT(slices);
        c.n = 170;          /* 11 tiles, as many as shares */
        c.y_type = FBQ_F32; /* fp16 would hide another order of sums */
        c.k = (bytes ? SIMT_LONG_BYTES : SIMT_LONG_CHUNKS) * 64 - 48;
        c.factor_type = bytes ? FBQ_I8 : FBQ_F16;
        c.k_known = 1;
        c.r = 10;
        c.sms = 11;
        c.one_launch = slices[i % COUNT(slices)];
        c.resident = 3;
        c.chained = i % 2;
        c.x_shift = i == 1;
        c.seed = c.data_seed = 80 + i;
        const int right = layer_run(&c, &first);
        if (!right)
            layer_print(&first);
        assert_true(right);
        c.impatient = 1;
        c.resident = 1;
        c.seed++;
        assert_true(layer_right(&c, &first));
        free(first.y);
    }
}

/* One state serves launch after launch, of other sizes, too; one that was never zeroed is seen. */
static void state_goes_on(void **unused)
{
    static const int64_t ranks[] = {16, 40, 16};
    uint64_t shared[4096] = {0};
    (void)unused;
    for (int round = 0; round < 7; round++) {
        layer_case c = base;
        layer l;
        fbq_error error;
        fbq_simt_report report;
        c.n = 60 + 20 * (round % 2);
        c.r = ranks[round % 3];
        c.m = 1 + round % 2;
        c.sms = 4;
        c.resident = 4;
        c.one_launch = 1;
        c.exact = 1;
        c.seed = (uint64_t)round + 1;
        c.data_seed = c.seed;
        assert_int_equal(layer_make(&l, &c, &error), FBQ_OK);
        fbq_call call = layer_call(&l, &c);
        call.state = shared;
        call.state_bytes = sizeof shared;
        if (round == 6)
            shared[0] = shared[2] = 0x1234; /* an epoch that no launch left */
        assert_int_equal(fbq_simt_linear_with(&l.problem, &call, &l.options, &report, &error),
                         FBQ_OK);
        layer_result own;
        assert_true(layer_run(&c, &own)); /* with a state of its own */
        for (int64_t i = 0; i < c.m * c.n; i++) {
            const uint16_t y = l.y[i / c.n * l.y_stride + i % c.n];
            if (round == 6)
                assert_true((y & 0x7fff) > 0x7c00);
            else
                assert_int_equal(y, ((uint16_t *)own.y)[i]);
        }
        if (round < 6)
            assert_true(shared[0] == ((uint64_t) ~(uint32_t)(round + 1) << 32 | (round + 1)));
        free(own.y);
        layer_free(&l);
    }
}

/* The order of threads and blocks, and how many blocks live at once, change no bit. */
static void same_bits_in_any_order(void **state)
{
    (void)state;
    for (int64_t m = 1; m <= 4; m += 3) {
        layer_result first;
        layer_case c = base;
        c.n = 100;
        c.m = m;
        c.r = 17;
        c.sms = 4;
        c.zero = FBQ_ZERO_F16;
        assert_true(layer_run(&c, &first));
        for (uint64_t seed = 2; seed < 8; seed++) {
            c.seed = seed;
            c.resident = (int)seed - 1;
            c.capability = seed % 2 ? 80 : 90; /* nor does the way of copying */
            assert_true(layer_right(&c, &first));
        }
        free(first.y);
    }
}

/* A row's bits do not depend on how many rows a call brings, nor on the others. */
static void batch_invariant(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        layer_result all, some;
        layer_case c = base;
        c.n = 70;
        c.k = 900;
        c.r = variant & 1 ? 70 : 0; /* pieces that warps share */
        c.zero = FBQ_ZERO_CODE;
        c.y_type = FBQ_F32; /* fp16 would hide another order of sums */
        c.m_max = c.m = variant & 2 ? 16 : 8;
        c.batch_invariant = 1;
        c.sms = 5;
        assert_true(layer_run(&c, &all));
        for (c.m = 1; c.m < c.m_max; c.m += 1 + c.m / 3) {
            /* rows are drawn one after the other, so these are the first of those above */
            const int right = layer_run(&c, &some);
            if (!right)
                layer_print(&some);
            assert_true(right);
            assert_memory_equal(some.y, all.y, (size_t)(c.m * c.n) * 4);
            free(some.y);
        }
        free(all.y);
    }
}

/* With small integers and powers of two every sum is exact, whatever its order: the kernels must
 * give the reference's bits, here and on any GPU. */
static void exact_bits(void **state)
{
    (void)state;
    for (size_t g = 0; g < COUNT(groups); g++) {
        for (int zero = 0; zero <= 2; zero++) {
            for (int variant = 0; variant < 4; variant++) {
                layer_case c = base;
                c.exact = 1;
                c.k = 500;
                c.group = groups[g];
                c.zero = (fbq_zero)zero;
                c.m = variant & 1 ? 8 : 1;
                c.y_type = variant & 2 ? FBQ_F32 : FBQ_F16;
                c.r = 24;
                c.bias = 1;
                c.residual = variant == 2 ? LAYER_RESIDUAL : LAYER_NO_RESIDUAL;
                c.data_seed = g * 3 + (uint64_t)zero;
                check(&c);
            }
        }
    }
}

/* Activations that are hard on the bias form, the fp16 range or the sums. */
static void any_x(void **state)
{
    (void)state;
    for (int kind = 0; kind < LAYER_X_KINDS; kind++) {
        for (size_t g = 0; g < COUNT(groups); g += 2) {
            for (int variant = 0; variant < 4; variant++) {
                layer_case c = base;
                c.x = (layer_x)kind;
                c.k = 1000;
                c.group = groups[g];
                c.m = variant & 1 ? 3 : 1;
                c.r = variant & 2 ? 16 : 0;
                c.y_type = variant == 1 ? FBQ_F32 : FBQ_F16;
                check(&c);
            }
        }
    }
}

/* A number that is massive or none at all, in every part of K. */
static void any_place(void **state)
{
    static const int64_t sizes[] = {30, 64, 300, 576, 1500};
    (void)state;
    for (int kind = LAYER_X_MASSIVE; kind <= LAYER_X_NAN; kind++) {
        for (size_t i = 0; i < COUNT(sizes); i++) {
            for (int variant = 0; variant < 4; variant++) {
                layer_case c = base;
                c.x = (layer_x)kind;
                c.k = sizes[i];
                c.zero = (fbq_zero)(i % 3);
                c.m = variant & 1 ? 3 : 1;
                c.r = variant & 2 ? 20 : 0;
                c.y_type = FBQ_F32;
                c.data_seed = i;
                check(&c);
            }
        }
    }
}

/* Bad calls get their status and a detail, before any thread runs. */
static void refused(void **state)
{
    layer_case c = base;
    layer_result result;
    (void)state;
    c.warps = 5; /* legal, but not compiled for the CPU */
    assert_false(layer_run(&c, &result));
    assert_int_equal(result.status, FBQ_ERR_UNSUPPORTED);
    assert_non_null(strstr(result.error.detail, "warps=5"));
    free(result.y);
    c.warps = 17;
    assert_false(layer_run(&c, &result));
    assert_int_equal(result.status, FBQ_ERR_PICK);
    free(result.y);
    assert_int_equal(fbq_simt_linear(NULL, NULL, NULL), FBQ_ERR_NULL);
}

static int run(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_k),
        cmocka_unit_test(any_n),
        cmocka_unit_test(any_rank),
        cmocka_unit_test(unused_branch),
        cmocka_unit_test(any_rows),
        cmocka_unit_test(any_alignment),
        cmocka_unit_test(every_epilogue),
        cmocka_unit_test(every_pick),
        cmocka_unit_test(any_group),
        cmocka_unit_test(same_bits_in_any_order),
        cmocka_unit_test(batch_invariant),
        cmocka_unit_test(exact_bits),
        cmocka_unit_test(any_x),
        cmocka_unit_test(any_round),
        cmocka_unit_test(any_place),
        cmocka_unit_test(one_launch),
        cmocka_unit_test(same_bits_with_help),
        cmocka_unit_test(long_shares),
        cmocka_unit_test(state_goes_on),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
    return layer_main(argc, argv, &base.capability, run);
}
