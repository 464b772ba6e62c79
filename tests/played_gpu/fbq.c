/* tests/played_gpu/fbq.c: plans and launches of fbq, in place of the library's by the linker
 * (--wrap): the pick is checked and decides the time, the reference computes y.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>
#include <fbq/host/half.h>

#include "../../bench/gpu.h"
#include "played.h"

#define PASTE2(a, b) a##b
#define PASTE(a, b) PASTE2(a, b)
#define WRAPPED(name) PASTE(__wrap_, name)

static fbq_gpu gpu_played = {"played GPU", 90, 0, 232448, 233472, 65536};
static const void *opened; /* the context in which fbq was */

typedef struct plan {
    fbq_problem problem;
    fbq_layout layout;
    fbq_pick pick[FBQ_KERNELS];
} plan;

/* So few that a rotation stays small. */
size_t __wrap_gpu_cold_bytes(const gpu *g);
size_t __wrap_gpu_cold_bytes(const gpu *g)
{
    (void)g;
    return 50000;
}

fbq_status WRAPPED(fbq_open)(const fbq_options *options, fbq_context **context, fbq_error *error);
fbq_status WRAPPED(fbq_open)(const fbq_options *options, fbq_context **context, fbq_error *error)
{
    (void)options;
    (void)error;
    opened = played_context();
    gpu_played.sms = played_sms();
    *context = malloc(1);
    return *context ? FBQ_OK : FBQ_ERR_OUT_OF_HOST;
}

void WRAPPED(fbq_close)(fbq_context *context);
void WRAPPED(fbq_close)(fbq_context *context)
{
    free(context);
}

fbq_status WRAPPED(fbq_context_gpu)(const fbq_context *context, fbq_gpu *gpu);
fbq_status WRAPPED(fbq_context_gpu)(const fbq_context *context, fbq_gpu *gpu)
{
    (void)context;
    *gpu = gpu_played;
    return FBQ_OK;
}

int WRAPPED(fbq_context_nvrtc)(const fbq_context *context);
int WRAPPED(fbq_context_nvrtc)(const fbq_context *context)
{
    (void)context;
    return 13000;
}

static fbq_status pick_take(const fbq_problem *problem, fbq_kernel kernel, const fbq_pick *given,
                            fbq_pick *pick, fbq_error *error)
{
    if (!given)
        return fbq_pick_default(problem, &gpu_played, kernel, pick, error);
    *pick = *given;
    return fbq_pick_check(problem, &gpu_played, pick, error);
}

fbq_status WRAPPED(fbq_prepare)(fbq_context *context, const fbq_problem *problem,
                                const fbq_pick *down, const fbq_pick *fused, fbq_plan **to,
                                fbq_error *error);
fbq_status WRAPPED(fbq_prepare)(fbq_context *context, const fbq_problem *problem,
                                const fbq_pick *down, const fbq_pick *fused, fbq_plan **to,
                                fbq_error *error)
{
    plan *p = calloc(1, sizeof *p);
    (void)context;
    if (!p)
        return FBQ_ERR_OUT_OF_HOST;
    if (!played_context())
        abort();
    p->problem = *problem;
    fbq_status status = fbq_layout_of(&problem->format, &problem->shape, &p->layout, error);
    if (status == FBQ_OK)
        status = pick_take(problem, FBQ_KERNEL_FUSED, fused, &p->pick[FBQ_KERNEL_FUSED], error);
    if (status == FBQ_OK)
        status = pick_take(problem, FBQ_KERNEL_DOWN, down, &p->pick[FBQ_KERNEL_DOWN], error);
    if (status == FBQ_OK && p->pick[FBQ_KERNEL_FUSED].chunks == 6) { /* some pick has to */
        snprintf(error->detail, sizeof error->detail, "it does not compile:\nno 6 today\nok?");
        status = FBQ_ERR_COMPILE;
    }
    if (status != FBQ_OK) {
        free(p);
        return status;
    }
    *to = (fbq_plan *)p;
    return FBQ_OK;
}

void WRAPPED(fbq_plan_free)(fbq_plan *p);
void WRAPPED(fbq_plan_free)(fbq_plan *p)
{
    played_flush();
    free(p);
}

int WRAPPED(fbq_plan_compiled)(const fbq_plan *p);
int WRAPPED(fbq_plan_compiled)(const fbq_plan *p)
{
    return p != NULL;
}

size_t WRAPPED(fbq_plan_scratch_bytes)(const fbq_plan *p);
size_t WRAPPED(fbq_plan_scratch_bytes)(const fbq_plan *p)
{
    return 16 *
           (size_t)((const plan *)p)->pick[FBQ_KERNEL_DOWN].slices; /* more than before, at times */
}

size_t WRAPPED(fbq_plan_state_bytes)(const fbq_plan *p);
size_t WRAPPED(fbq_plan_state_bytes)(const fbq_plan *p)
{
    return ((const plan *)p)->pick[FBQ_KERNEL_FUSED].slices ? 4096 : 0;
}

/* ---- A launch ---- */

typedef struct linear {
    const plan *p;
    fbq_call call;
} linear;

static linear last; /* whose y is not made yet; p NULL: none */

static int launched;

int played_launched(void)
{
    return launched;
}

/* 4 us for the middle of things, some more away from it, a percent of noise. */
static void linear_run(const void *arguments)
{
    static unsigned noise;
    const fbq_pick *pick;
    launched = 1;
    memcpy(&last, arguments, sizeof last);
    pick = &last.p->pick[FBQ_KERNEL_FUSED];
    noise = noise * 1664525u + 1013904223u;
    played_pass((4 + 0.1 * fabs(log2(pick->warps / 4.0)) + 0.1 * abs(pick->stages - 3)) *
                (1 + 0.02 * ((noise >> 16) / 65536.0 - 0.5)));
}

/* The weights with the header that layers.c leaves out: the pack of as many zeros has it. */
static uint8_t *weights_copy(const plan *p, const void *weights)
{
    const fbq_layout *l = &p->layout;
    const size_t codes = (size_t)(l->n * l->shape.k), groups = (size_t)(l->n * l->groups);
    uint8_t *zeros = calloc(codes, 1), *packed = malloc(l->weights_bytes);
    uint16_t *halves = calloc(groups, sizeof *halves);
    fbq_error error;
    if (!zeros || !packed || !halves ||
        fbq_pack_weights(l, zeros, halves,
                         l->format.zero == FBQ_ZERO_CODE  ? (const void *)zeros
                         : l->format.zero == FBQ_ZERO_F16 ? (const void *)halves
                                                          : NULL,
                         packed, l->weights_bytes, &error) != FBQ_OK)
        abort();
    memcpy(packed + FBQ_HEADER_BYTES, (const uint8_t *)weights + FBQ_HEADER_BYTES,
           l->weights_bytes - FBQ_HEADER_BYTES);
    free(zeros);
    free(halves);
    return packed;
}

void played_flush(void)
{
    const linear now = last;
    const plan *p = now.p;
    fbq_parts parts;
    fbq_error error;
    last.p = NULL;
    if (!p)
        return;
    const int64_t n = p->layout.n, k = p->layout.shape.k, m = now.call.m;
    double *x = malloc((size_t)(m * k) * sizeof *x), *y = malloc((size_t)(m * n) * sizeof *y);
    memset(&parts, 0, sizeof parts);
    parts.weights = weights_copy(p, now.call.weights);
    parts.weights_bytes = p->layout.weights_bytes;
    parts.down = now.call.down;
    parts.down_bytes = now.call.down ? p->layout.down_bytes : 0;
    parts.up = now.call.up;
    parts.up_bytes = now.call.up ? p->layout.up_bytes : 0;
    if (!x || !y)
        abort();
    for (int64_t i = 0; i < m * k; i++)
        x[i] = (double)fbq_f32_of_word(p->problem.x_type, ((const uint16_t *)now.call.x)[i]);
    if (fbq_reference(&parts, 0, n, m, x, y, NULL, &error) != FBQ_OK) {
        fprintf(stderr, "fbq_reference: %s\n", error.detail);
        abort();
    }
    for (int64_t i = 0; i < m * n; i++)
        ((uint16_t *)now.call.y)[i] = fbq_word_of_f32(p->problem.y_type, (float)y[i]);
    free((void *)parts.weights);
    free(x);
    free(y);
}

fbq_status WRAPPED(fbq_linear)(const fbq_plan *p, const fbq_call *call, struct CUstream_st *stream);
fbq_status WRAPPED(fbq_linear)(const fbq_plan *p, const fbq_call *call, struct CUstream_st *stream)
{
    const linear l = {(const plan *)p, *call};
    (void)stream;
    if (played_context() != opened) /* it would run on another part of the GPU */
        abort();
    if (call->scratch_bytes < fbq_plan_scratch_bytes(p) ||
        call->state_bytes < fbq_plan_state_bytes(p))
        return FBQ_ERR_BUFFER;
    return played_launch(linear_run, &l, sizeof l) == cudaSuccess ? FBQ_OK : FBQ_ERR_CUDA;
}
