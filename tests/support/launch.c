/* tests/support/launch.c: see launch.h.
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

#include <fbq/host/half.h>

#include "launch.h"
#include "shard.h"

static double worst_norm, worst_bound;

fbq_plan *launch_plan(const fbq_problem *problem, const fbq_pick *down, const fbq_pick *fused)
{
    fbq_plan *plan = NULL;
    fbq_error error;
    if (fbq_prepare(shard_context(), problem, down, fused, &plan, &error) != FBQ_OK)
        fail_msg("prepare: %s", error.detail);
    return plan;
}

device_buffer launch_state(const fbq_plan *plan)
{
    device_buffer state = device_make(fbq_plan_state_bytes(plan), 0);
    if (state.bytes)
        device_must(cudaMemset(state.data, 0, state.bytes), "zero the state");
    return state;
}

/* What a launch reads and writes, on the host and on the GPU. */
typedef struct buffers {
    int64_t x_stride, y_stride;
    size_t y_bytes;
    uint16_t *x, *bias;
    void *y, *again, *residual;
    device_buffer dx, dy, dbias, dresidual, scratch, state;
} buffers;

static buffers buffers_make(const fbq_plan *plan, const layer *l, const launch *how,
                            input_kind kind, uint64_t seed)
{
    const int64_t n = l->layout.n, k = l->layout.shape.k;
    const fbq_type x_type = l->problem.x_type, y_type = l->problem.y_type;
    const size_t size = y_type == FBQ_F32 ? 4 : 2;
    buffers b;
    memset(&b, 0, sizeof b);
    b.x_stride = how->x_stride ? how->x_stride : k;
    b.y_stride = how->y_stride ? how->y_stride : n;
    const size_t x_bytes = (size_t)((how->m - 1) * b.x_stride + k) * 2;
    b.y_bytes = (size_t)((how->m - 1) * b.y_stride + n) * size;
    b.x = malloc(x_bytes);
    b.bias = malloc((size_t)n * 2);
    b.y = malloc(b.y_bytes);
    b.again = malloc(b.y_bytes);
    b.residual = calloc(1, b.y_bytes);
    assert_true(b.x && b.bias && b.y && b.again && b.residual);
    input_fill(x_type, b.x, how->m, k, b.x_stride, kind, seed);
    for (int64_t i = 0; i < n; i++)
        b.bias[i] = fbq_word_of_f32(x_type, (float)(i % 7) - 3);
    for (int64_t i = 0; i < (int64_t)(b.y_bytes / size); i++)
        number_put(y_type, b.residual, i, (double)(i % 5) * 0.25);
    b.dx = device_copy(b.x, x_bytes, how->x_shift);
    b.dy = device_make(b.y_bytes, 0);
    b.dbias = device_copy(b.bias, (size_t)n * 2, 0);
    b.dresidual = device_copy(b.residual, b.y_bytes, 0);
    b.scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    b.state = launch_state(plan);
    return b;
}

static void buffers_free(buffers *b)
{
    device_free(&b->dx);
    device_free(&b->dy);
    device_free(&b->dbias);
    device_free(&b->dresidual);
    device_free(&b->scratch);
    device_free(&b->state);
    free(b->x);
    free(b->bias);
    free(b->y);
    free(b->again);
    free(b->residual);
}

static fbq_call call_of(const buffers *b, const device_layer *d, const launch *how)
{
    fbq_call call;
    memset(&call, 0, sizeof call);
    call.m = how->m;
    call.x = b->dx.data;
    call.x_stride = how->x_stride;
    call.weights = d->weights.data;
    call.down = d->down.data;
    call.up = d->up.data;
    call.bias = how->with_bias ? b->dbias.data : NULL;
    call.residual = how->with_residual ? b->dresidual.data : NULL;
    call.residual_stride = how->y_stride;
    call.y = b->dy.data;
    call.y_stride = how->y_stride;
    call.scratch = b->scratch.data;
    call.scratch_bytes = b->scratch.bytes;
    call.state = b->state.data;
    call.state_bytes = b->state.bytes;
    return call;
}

/* Both launches, fetched. */
static void launch_twice(const fbq_plan *plan, buffers *b, fbq_call call)
{
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "first launch");
    assert_true(device_fetch(&b->dy, b->y));
    /* again, with everything that must not matter changed: same bits */
    device_poison(&b->scratch);
    device_poison(&b->dy);
    device_must(cudaDeviceSynchronize(), "poison");
    call.chained = 1;
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "second launch");
    assert_true(device_fetch(&b->dy, b->again));
    assert_memory_equal(b->y, b->again, b->y_bytes);
}

/* A row's padding stays untouched, and every result was written: what was not is still NaN. */
static void check_written(const layer *l, const buffers *b, int64_t m)
{
    const size_t size = l->problem.y_type == FBQ_F32 ? 4 : 2;
    const int64_t n = l->layout.n;
    for (int64_t i = 0; i + 1 < m; i++)
        for (size_t at = (size_t)(i * b->y_stride + n) * size;
             at < (size_t)((i + 1) * b->y_stride) * size; at++)
            assert_int_equal(((unsigned char *)b->y)[at], 0xff);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            const double v = number_at(l->problem.y_type, b->y, i * b->y_stride + j);
            assert_true(v == v);
        }
}

static void fail_at(const layer *l, int64_t m, input_kind kind, const verdict *v)
{
    const fbq_problem *p = &l->problem;
    fail_msg("bits %d types x %d y %d scale %d factor %d n %lld k %lld r %lld m %lld group %d "
             "zero %d %s: norm %.2e bound %.2f, %d not finite",
             p->format.bits, (int)p->x_type, (int)p->y_type, (int)p->format.scale_type,
             (int)p->format.factor_type, (long long)l->layout.n, (long long)l->layout.shape.k,
             (long long)l->layout.shape.segment[0].r, (long long)m, p->format.group,
             (int)p->format.zero, input_name(kind), v->norm, v->bound, v->bad);
}

double launch_check(const fbq_plan *plan, const layer *l, const device_layer *d, const launch *how,
                    input_kind kind, uint64_t seed, int judge_norm)
{
    const int64_t n = l->layout.n;
    const fbq_type y_type = l->problem.y_type;
    const double most_norm = y_type == FBQ_BF16 ? 8e-3 : 1e-3;
    double norm = 0;
    buffers b = buffers_make(plan, l, how, kind, seed);
    launch_twice(plan, &b, call_of(&b, d, how));
    check_written(l, &b, how->m);
    /* long layers: the first rows, the middle ones and the last */
    const int64_t most = l->layout.shape.k > 2000 ? 96 : n, rows = n < most ? n : most;
    for (int64_t part = 0; part < (rows < n ? 3 : 1); part++) {
        const verdict v = layer_judge(
            l, part * (n - rows) / 2, rows, how->m, b.x, b.x_stride, how->with_bias ? b.bias : NULL,
            how->with_residual ? b.residual : NULL, b.y_stride, b.y, b.y_stride);
        if (v.bad || v.bound > 4 || (judge_norm && v.norm > most_norm))
            fail_at(l, how->m, kind, &v);
        norm = v.norm > norm ? v.norm : norm;
        worst_bound = v.bound > worst_bound ? v.bound : worst_bound;
    }
    if (judge_norm && y_type != FBQ_BF16 && norm > worst_norm)
        worst_norm = norm;
    buffers_free(&b);
    return norm;
}

void launch_print_worst(void)
{
    printf("worst norm %.2e, worst bound c = %.3f\n", worst_norm, worst_bound);
}
