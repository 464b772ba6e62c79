/* tests/simt/simt_segments.c: layers that share x in one call, on the CPU: against the reference in
 * double, and against the same layers one by one.
 *
 *     simt_segments [CAPABILITY]    90: with bulk copies; 80: without; both by default
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "layer_data.h"
#include "spread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int capability;

/* n and r of each segment, the last one before an n of 0. Blocks that would be enough for one
 * launch: as many as there are tiles of ranks, or 1 where t is none's. */
typedef struct shape {
    fbq_segment segment[FBQ_MAX_SEGMENTS];
    int rank_tiles;
} shape;

static const shape shapes[] = {
    {{{40, 20}, {23, 0}, {150, 100}}, 9},
    {{{33, 40}, {70, 16}}, 4},
    {{{5, 0}, {200, 33}, {16, 130}}, 12},
    {{{130, 64}, {7, 64}}, 8},
    {{{1, 1}, {17, 0}, {16, 16}, {15, 3}, {31, 0}, {32, 17}, {2, 0}, {40, 40}}, 8},
};

/* Of groups and types that spread.h has kernels for. */
static layer_case case_of(const shape *s, int64_t m)
{
    layer_case c = {.k = 300, .m = m, .group = 64, .sms = 2};
    while (c.segments < FBQ_MAX_SEGMENTS && s->segment[c.segments].n) {
        c.n += s->segment[c.segments].n;
        c.r += s->segment[c.segments].r;
        c.segment[c.segments] = s->segment[c.segments];
        c.segments++;
    }
    c.capability = capability;
    return c;
}

/* t made in the same launch, by enough blocks. */
static void make_one_launch(layer_case *c, const shape *s)
{
    c->one_launch = 1;
    c->sms = c->resident = s->rank_tiles;
    c->chained = (int)c->seed & 1;
}

static void check(const layer_case *c)
{
    assert_true(layer_right(c, NULL));
}

/* Bias, residual, types of y and strides in turn. */
static void vary(layer_case *c, int variant)
{
    c->bias = variant & 1;
    c->residual = (layer_residual)(variant % 3);
    c->y_type = variant % 5 == 4 ? FBQ_F32 : FBQ_F16;
    c->y_gap = variant % 4;
    c->sms = 1 + variant % 5;
    c->seed = c->data_seed = 1 + (uint64_t)variant;
}

/* Behind down, and in one launch where that serves so many rows. */
static void any_shape(void **state)
{
    static const int64_t rows[] = {1, 3, 8, 16};
    int variant = 0;
    (void)state;
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t i = 0; i < COUNT(rows); i++, variant++) {
            layer_case c = case_of(&shapes[s], rows[i]);
            vary(&c, variant);
            check(&c);
            if (rows[i] > 8)
                continue;
            make_one_launch(&c, &shapes[s]);
            check(&c);
        }
}

/* Tiles one by one, in rounds whose up-projections are handed over together; the sub-branch's warps
 * find rounds without a piece among them. */
static void any_round(void **state)
{
    static const shape long_ones[] = {{{{200, 0}, {150, 100}, {90, 0}}, 7},
                                      {{{300, 20}, {40, 0}, {100, 70}}, 7}};
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        const shape *s = &long_ones[variant % 2];
        layer_case c = case_of(s, variant % 3 == 2 ? 5 : 1);
        c.tiles = variant % 4 < 2 ? 1 : 2;
        c.bias = 1;
        c.sms = 1 + variant % 5;
        c.seed = c.data_seed = 20 + (uint64_t)variant;
        if (variant % 3 == 1)
            make_one_launch(&c, s);
        check(&c);
    }
}

/* Blocks that share a tile. Some segments have an odd number of tiles, and a warp may add up two
 * tiles of different ones. */
static void splits(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (int variant = 0; variant < 4; variant++) {
            layer_case c = case_of(&shapes[s], variant == 2 ? 6 : 1);
            vary(&c, variant);
            c.k = 1000;
            c.splits = 3;
            c.sms = c.resident = 9;
            for (int i = 0; variant == 2 && i < c.segments; i++)
                c.segment[i].r = 0; /* several rows without a sub-branch */
            if (variant == 2)
                c.r = 0;
            if (variant == 3) {
                make_one_launch(&c, &shapes[s]);
                c.sms = c.resident = 12;
            }
            check(&c);
        }
}

/* Other bits and types, one block of B at a time (much x), none of the factors used, no ranks. */
static void others(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(shapes); s++) {
        layer_case c = case_of(&shapes[s], 1);
        c.bits = 3;
        make_one_launch(&c, &shapes[s]);
        check(&c);
        c = case_of(&shapes[s], 4);
        c.bits = 2;
        c.x_type = c.scale_type = c.factor_type = FBQ_BF16;
        check(&c);
        c = case_of(&shapes[s], 3);
        c.unused_branch = 1;
        check(&c);
        c = case_of(&shapes[s], 1);
        c.r = 0;
        for (int i = 0; i < c.segments; i++)
            c.segment[i].r = 0;
        check(&c);
    }
    layer_case c = case_of(&shapes[0], 16);
    c.k = 3200;
    check(&c);
}

/* In one launch: a K for which the sub-branch's warps have more on their way, int8 factors, and
 * such of another type than x. */
static void one_launch(void **state)
{
    (void)state;
    for (int variant = 0; variant < 12; variant++) {
        const shape *s = &shapes[variant / 3];
        layer_case c = case_of(s, 1);
        vary(&c, variant);
        if (variant % 3 == 0) {
            c.k = SIMT_SEGMENT_CHUNKS * 64 - 40;
            c.k_known = 1;
            c.tiles = 3;
        } else if (variant % 3 == 1) {
            c.factor_type = FBQ_I8;
        } else {
            c.x_type = FBQ_BF16;
        }
        make_one_launch(&c, s);
        c.impatient = variant >= 6;
        check(&c);
    }
}

/* Small integers: the reference's bits, however the sums are split. */
static void exact_bits(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (int variant = 0; variant < 4; variant++) {
            layer_case c = case_of(&shapes[s], variant & 1 ? 7 : 1);
            c.exact = 1;
            c.data_seed = 50 + s;
            if (variant & 2)
                make_one_launch(&c, &shapes[s]);
            check(&c);
        }
}

/* Whoever comes first, and however few blocks live at once: the same bits. */
static void same_bits_in_any_order(void **state)
{
    (void)state;
    for (int one_launch = 0; one_launch < 2; one_launch++) {
        layer_result first;
        layer_case c = case_of(&shapes[0], 1);
        if (one_launch)
            make_one_launch(&c, &shapes[0]);
        assert_true(layer_run(&c, &first));
        for (uint64_t seed = 2; seed < 6; seed++) {
            c.seed = seed;
            c.resident = (int)seed % 4 + 1;
            c.impatient = 1;
            assert_true(layer_right(&c, &first));
        }
        free(first.y);
    }
}

/* ---- One by one ---- */

/* A segment of `all` as a layer of its own: its result has the bits that its rows of y have. */
static void compare_apart(const layer *all, const layer_case *c, int s, int64_t row, int64_t rank)
{
    const int64_t n = c->segment[s].n, r = c->segment[s].r;
    fbq_problem problem = all->problem;
    fbq_call call = layer_call(all, c);
    fbq_layout l;
    fbq_error error;
    fbq_simt_report report;
    size_t scratch_bytes, state_bytes;
    problem.shape = fbq_shape_of(n, c->k, r);
    assert_int_equal(fbq_layout_of(&problem.format, &problem.shape, &l, &error), FBQ_OK);
    void *weights = layer_memory(l.weights_bytes), *a = layer_memory(l.down_bytes);
    void *b = layer_memory(l.up_bytes);
    assert_int_equal(fbq_pack_weights(&l, all->codes + row * c->k, all->scales + row * l.groups,
                                      NULL, weights, l.weights_bytes, &error),
                     FBQ_OK);
    if (r) {
        assert_int_equal(fbq_pack_down(&l, all->a + rank * c->k, a, l.down_bytes, &error), FBQ_OK);
        assert_int_equal(fbq_pack_up(&l, all->b + row * c->r, c->r, b, l.up_bytes, &error), FBQ_OK);
    }
    assert_int_equal(fbq_simt_scratch_bytes(&problem, &all->options, c->m, &scratch_bytes, &error),
                     FBQ_OK);
    assert_int_equal(fbq_simt_state_bytes(&problem, &all->options, c->m, &state_bytes, &error),
                     FBQ_OK);
    call.weights = weights;
    call.down = r ? a : NULL;
    call.up = r ? b : NULL;
    call.bias = all->bias ? all->bias + row : NULL;
    call.residual = all->residual ? all->residual + row : NULL;
    call.residual_stride = all->residual_stride;
    uint16_t *y = layer_memory((size_t)(c->m * n) * 2);
    call.y = y;
    call.y_stride = n;
    call.scratch = layer_memory(scratch_bytes);
    call.scratch_bytes = scratch_bytes;
    call.state = layer_memory(state_bytes);
    call.state_bytes = state_bytes;
    memset(call.state, 0, state_bytes);
    if (fbq_simt_linear_with(&problem, &call, &all->options, &report, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    for (int64_t m = 0; m < c->m; m++)
        assert_memory_equal(y + m * n, all->y + m * all->y_stride + row, (size_t)n * 2);
    free(weights);
    free(a);
    free(b);
    free(y);
    free(call.scratch);
    free(call.state);
}

static void check_apart(const layer_case *c)
{
    layer all;
    fbq_error error;
    fbq_simt_report report;
    int64_t row = 0, rank = 0;
    assert_int_equal(layer_make(&all, c, &error), FBQ_OK);
    const fbq_call call = layer_call(&all, c);
    if (fbq_simt_linear_with(&all.problem, &call, &all.options, &report, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    for (int s = 0; s < c->segments; s++) {
        compare_apart(&all, c, s, row, rank);
        row += c->segment[s].n;
        rank += c->segment[s].r;
    }
    layer_free(&all);
}

/* Under one pick the sums have one order, but for the up-projection's: as many warps share a
 * tile's as the segment of most ranks wants. Ranks of one kind, then, or few. */
static void same_bits_as_apart(void **state)
{
    static const shape alike[] = {{{{70, 100}, {150, 100}}, 14},
                                  {{{130, 20}, {70, 64}, {60, 7}}, 7},
                                  {{{90, 128}, {40, 0}, {160, 128}}, 16}};
    (void)state;
    for (size_t s = 0; s < COUNT(alike); s++)
        for (int variant = 0; variant < 2; variant++) {
            layer_case c = case_of(&alike[s], variant ? 3 : 1);
            c.bias = 1;
            c.residual = variant ? LAYER_RESIDUAL : LAYER_NO_RESIDUAL;
            c.data_seed = 30 + s;
            check_apart(&c);
        }
    /* one launch: each layer of its own needs as many blocks as it has tiles of ranks */
    for (int64_t m = 1; m <= 3; m += 2) {
        layer_case c = case_of(&alike[1], m);
        make_one_launch(&c, &alike[1]);
        check_apart(&c);
    }
}

/* Memory where it belongs, as one layer has it. */
static void refused(void **state)
{
    layer_case c = case_of(&shapes[0], 2);
    layer l;
    fbq_error error;
    (void)state;
    assert_int_equal(layer_make(&l, &c, &error), FBQ_OK);
    const fbq_call good = layer_call(&l, &c);
#define REFUSED(status, change)                                                             \
    do {                                                                                    \
        fbq_call call = good;                                                               \
        change;                                                                             \
        assert_int_equal(fbq_simt_linear_with(&l.problem, &call, &l.options, NULL, &error), \
                         status);                                                           \
    } while (0)
    REFUSED(FBQ_ERR_SIZE, call.y_stride = c.n - 1);
    REFUSED(FBQ_ERR_SIZE, call.residual_stride = c.segment[0].n);
    REFUSED(FBQ_ERR_BUFFER, call.scratch_bytes--);
    REFUSED(FBQ_OK, (void)0);
#undef REFUSED
    layer_free(&l);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_shape),
        cmocka_unit_test(any_round),
        cmocka_unit_test(splits),
        cmocka_unit_test(others),
        cmocka_unit_test(one_launch),
        cmocka_unit_test(exact_bits),
        cmocka_unit_test(same_bits_in_any_order),
        cmocka_unit_test(same_bits_as_apart),
        cmocka_unit_test(refused),
    };
    static const int capabilities[] = {80, 90};
    int failed = 0, run = 0;
    for (size_t i = 0; i < COUNT(capabilities); i++) {
        capability = capabilities[i];
        if (argc < 2 || atoi(argv[1]) == capability) {
            failed += cmocka_run_group_tests(tests, NULL, NULL);
            run++;
        }
    }
    if (!run)
        fprintf(stderr, "usage: simt_segments [80|90]\n");
    return failed || !run;
}
