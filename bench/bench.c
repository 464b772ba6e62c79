/* bench/bench.c: the shape in hand and its plans; see bench.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

static void plans_close(bench *b)
{
    /* unloading code waits for the GPU: for ever, where it hangs */
    if (!b->g.lost) {
        fbq_plan_free(b->int4);
        fbq_plan_free(b->fbq2);
        fbq_plan_free(b->fbq1);
    }
    b->int4 = b->fbq2 = b->fbq1 = NULL;
    gpu_free(&b->g, &b->scratch);
    gpu_free(&b->g, &b->state);
    b->scratch_bytes = b->state_bytes = 0;
}

static void shape_close(bench *b)
{
    plans_close(b);
    layers_close(&b->l);
    gpu_free(&b->g, &b->t32);
    gpu_free(&b->g, &b->t16);
    gpu_free(&b->g, &b->deq);
    b->shape = b->m = -1;
}

int bench_select(bench *b, int shape, int m, fail *f)
{
    if (b->shape != shape) {
        shape_close(b);
        if (layers_open(&b->l, &b->g, &b->o, b->o.shape[shape].n, b->o.shape[shape].k,
                        b->cold_bytes, f)) {
            shape_close(b);
            return 1;
        }
        b->shape = shape;
    }
    b->m = m;
    return 0;
}

void bench_close(bench *b)
{
    shape_close(b);
    floor_buffer_free(&b->g);
    if (!b->g.lost) {
        if (b->has_blas)
            blas_close(&b->blas, &b->g);
        fbq_close(b->fbq);
    }
}

static int plan_need(bench *b, int64_t rank, int launches, const fbq_pick *down,
                     const fbq_pick *fused, fbq_plan **plan, fail *f)
{
    fbq_problem problem;
    fbq_error error;
    double start = now_seconds();
    if (*plan)
        return 0;
    memset(&problem, 0, sizeof problem);
    memset(&error, 0, sizeof error);
    problem.format = b->l.format;
    problem.shape = layers_shape(&b->l, rank);
    problem.x_type = problem.y_type = b->o.type;
    problem.m_max = b->l.m_max;
    problem.launches = launches;
    if (fbq_prepare(b->fbq, &problem, down, fused, plan, &error) != FBQ_OK) {
        *plan = NULL;
        return failf(f, "fbq_prepare: %s", error.detail);
    }
    fprintf(stderr, "    fbq_prepare, rank %d: %.1f s\n", (int)rank, now_seconds() - start);
    return 0;
}

/* Scratch and state for a plan's launches: the largest that any plan wants. */
static int memory_need(bench *b, const fbq_plan *plan, fail *f)
{
    const size_t scratch = fbq_plan_scratch_bytes(plan), state = fbq_plan_state_bytes(plan);
    if (scratch > b->scratch_bytes) {
        TRY(gpu_alloc(&b->g, &b->scratch, scratch, "scratch", f));
        b->scratch_bytes = scratch;
    }
    if (state > b->state_bytes) {
        TRY(gpu_alloc(&b->g, &b->state, state, "state", f));
        b->state_bytes = state;
        CUDA(f, cudaMemsetAsync(b->state, 0, state, b->g.stream));
    }
    return 0;
}

int bench_need_int4(bench *b, fail *f)
{
    const options *o = &b->o;
    const fbq_pick *fused = o->has_int4_pick                ? &o->int4_pick
                            : o->has_pick[FBQ_KERNEL_FUSED] ? &o->pick[FBQ_KERNEL_FUSED]
                                                            : NULL;
    TRY(plan_need(b, 0, 0, NULL, fused, &b->int4, f));
    return memory_need(b, b->int4, f);
}

/* The fused pick that was given, if it is one for so many launches. */
static const fbq_pick *given_fused(const options *o, int launches)
{
    const fbq_pick *pick = &o->pick[FBQ_KERNEL_FUSED];
    return o->has_pick[FBQ_KERNEL_FUSED] && (pick->slices > 0) == (launches == 1) ? pick : NULL;
}

int bench_need_fbq2(bench *b, fail *f)
{
    const options *o = &b->o;
    TRY(plan_need(b, o->rank, 2, o->has_pick[FBQ_KERNEL_DOWN] ? &o->pick[FBQ_KERNEL_DOWN] : NULL,
                  given_fused(o, 2), &b->fbq2, f));
    return memory_need(b, b->fbq2, f);
}

int bench_need_fbq1(bench *b, fail *f)
{
    TRY(plan_need(b, b->o.rank, 1, NULL, given_fused(&b->o, 1), &b->fbq1, f));
    return memory_need(b, b->fbq1, f);
}
