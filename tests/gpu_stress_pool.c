/* tests/gpu_stress_pool.c: see gpu_stress_pool.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gpu_stress_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/draw.h"

pool stress;

int below(int n)
{
    return draw_below(&stress.random, n);
}

void stop(void)
{
    printf("FAILED: --seed %llu\n", (unsigned long long)stress.seed);
    fflush(NULL);
    _Exit(1);
}

void *take(size_t bytes)
{
    void *memory = malloc(bytes);
    if (!memory) {
        printf("no memory for %zu bytes\n", bytes);
        stop();
    }
    return memory;
}

static void print_pick(const entry *e, fbq_kernel kernel, int64_t m)
{
    fbq_pick pick;
    char text[256] = "no pick";
    if (fbq_plan_pick(e->plan, kernel, m, &pick) == FBQ_OK)
        fbq_pick_print(&pick, text, sizeof text);
    printf("; %s", text);
}

void print_plan(const entry *e, int64_t m)
{
    const fbq_problem *p = &e->problem;
    printf("plan %d: n %lld k %lld r %lld bits %d group %d zero %d types x %d y %d scale %d factor "
           "%d m %lld/%d launches %d",
           (int)(e - stress.plan), (long long)p->shape.segment[0].n, (long long)p->shape.k,
           (long long)p->shape.segment[0].r, p->format.bits, p->format.group, (int)p->format.zero,
           (int)p->x_type, (int)p->y_type, (int)p->format.scale_type, (int)p->format.factor_type,
           (long long)m, p->m_max, p->launches);
    if (p->shape.segment[0].r)
        print_pick(e, FBQ_KERNEL_DOWN, m);
    print_pick(e, FBQ_KERNEL_FUSED, m);
    printf("\n");
}

/* A legal pick, or 0 when none was found. */
static int draw_pick(const fbq_problem *p, fbq_kernel kernel, fbq_pick *pick)
{
    for (int i = 0; i < 1000; i++) {
        memset(pick, 0, sizeof *pick);
        pick->kernel = kernel;
        pick->warps = 1 + below(16);
        pick->chunks = kernel == FBQ_KERNEL_DOWN ? 1 << below(3) : 2 * (1 + below(8));
        pick->blocks_per_sm = 1 + below(4);
        pick->slices = kernel == FBQ_KERNEL_DOWN ? 1 + below(64) : below(2) ? 1 + below(24) : 0;
        pick->stages = 2 + below(3);
        pick->tiles = 1 + below(8);
        pick->splits = kernel == FBQ_KERNEL_DOWN || below(3) ? 0 : below(9);
        if (fbq_pick_check(p, &stress.gpu, pick, NULL) == FBQ_OK)
            return 1;
    }
    return 0;
}

/* With drawn picks; NULL when a few were refused as compiled. */
static fbq_plan *prepare_drawn(fbq_context *context, const fbq_problem *p)
{
    for (int i = 0; i < 4; i++) {
        fbq_pick down, fused;
        fbq_plan *plan = NULL;
        fbq_error error;
        if (!draw_pick(p, FBQ_KERNEL_FUSED, &fused))
            return NULL;
        int both = below(2) && draw_pick(p, FBQ_KERNEL_DOWN, &down);
        fbq_status status = fbq_prepare(context, p, both ? &down : NULL, &fused, &plan, &error);
        if (status == FBQ_OK)
            return plan;
        if (status != FBQ_ERR_PICK && status != FBQ_ERR_UNSUPPORTED) {
            printf("prepare: %s\n", error.detail);
            stop();
        }
    }
    return NULL;
}

static fbq_plan *prepare_default(fbq_context *context, fbq_problem *p)
{
    fbq_plan *plan = NULL;
    fbq_error error;
    fbq_status status = fbq_prepare(context, p, NULL, NULL, &plan, &error);
    if (status == FBQ_ERR_UNSUPPORTED && p->launches) {
        p->launches = 0;
        status = fbq_prepare(context, p, NULL, NULL, &plan, &error);
    }
    if (status != FBQ_OK) {
        printf("prepare: %s\n", error.detail);
        stop();
    }
    return plan;
}

static void make_plans(fbq_context *context)
{
    for (int i = 0; i < PLANS; i++) {
        entry *e = &stress.plan[i];
        fbq_problem special = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                               fbq_shape_of(4096, 4096, 128),
                               FBQ_F16,
                               FBQ_F16,
                               1,
                               i + 1,
                               0};
        e->problem = i < 2 ? special : draw_problem(&stress.random);
        e->plan = i >= 2 && below(2) ? prepare_drawn(context, &e->problem) : NULL;
        if (!e->plan)
            e->plan = prepare_default(context, &e->problem);
        print_plan(e, e->problem.m_max);
        e->host = layer_make(&e->problem, LAYER_RANDOM, random_bits(&stress.random));
        e->device = device_layer_make(&e->host);
    }
}

room room_make(void)
{
    size_t scratch = 16, state = 16;
    room r;
    for (int i = 0; i < PLANS; i++) {
        size_t wants = fbq_plan_scratch_bytes(stress.plan[i].plan);
        size_t keeps = fbq_plan_state_bytes(stress.plan[i].plan);
        scratch = wants > scratch ? wants : scratch;
        state = keeps > state ? keeps : state;
    }
    device_must(cudaStreamCreateWithFlags(&r.stream, cudaStreamNonBlocking), "stream");
    r.scratch = device_make(scratch, 0);
    r.state = device_make(state, 0);
    device_must(cudaMemset(r.state.data, 0, state), "state");
    device_must(cudaDeviceSynchronize(), "state");
    return r;
}

void room_free(room *r)
{
    void *copy = take(r->state.bytes > r->scratch.bytes ? r->state.bytes : r->scratch.bytes);
    if (!device_fetch(&r->state, copy) || !device_fetch(&r->scratch, copy)) {
        printf("written beyond state or scratch\n");
        stop();
    }
    free(copy);
    device_free(&r->scratch);
    device_free(&r->state);
    device_must(cudaStreamDestroy(r->stream), "destroy");
}

void sample_launch(const sample *s, const room *r, const void *x, void *y, int chained)
{
    fbq_call call;
    fbq_status status;
    memset(&call, 0, sizeof call);
    call.m = s->m;
    call.x = x;
    call.x_stride = s->x_stride;
    call.weights = s->of->device.weights.data;
    call.down = s->of->device.down.data;
    call.up = s->of->device.up.data;
    call.y = y;
    call.scratch = r->scratch.data;
    call.scratch_bytes = r->scratch.bytes;
    call.state = r->state.data;
    call.state_bytes = r->state.bytes;
    call.chained = chained;
    status = fbq_linear(s->of->plan, &call, r->stream);
    if (status != FBQ_OK) {
        printf("fbq_linear: %s\n", fbq_status_string(status));
        print_plan(s->of, s->m);
        stop();
    }
}

/* A few rows at both ends and in the middle, since the reference takes its time. The norm means
 * something only where a sum that happens to cancel is one of many. */
static void judge(const sample *s, const uint16_t *x)
{
    int64_t n = s->of->host.layout.n, rows = n < 32 ? n : 32;
    int judge_norm = rows == 32 && s->of->problem.shape.k > 64;
    const double most_norm = s->of->problem.y_type == FBQ_BF16 ? 8e-3 : 1e-3;
    for (int64_t part = 0; part < (rows < n ? 3 : 1); part++) {
        verdict v = layer_judge(&s->of->host, part * (n - rows) / 2, rows, s->m, x, s->x_stride,
                                NULL, NULL, 0, s->y, n);
        if (v.bad || v.bound > 4 || (judge_norm && v.norm > most_norm)) {
            printf("x %s from %d part %d: norm %.2e bound %.2f, %d not finite\n",
                   input_name(s->kind), s->from, (int)part, v.norm, v.bound, v.bad);
            print_plan(s->of, s->m);
            stop();
        }
    }
}

/* The bits that count from then on: one launch alone, unchained, waited for. */
static void launch_quietly(sample *s, const room *r)
{
    device_buffer y = device_make(s->y_bytes, 0);
    s->y = (unsigned char *)take(s->y_bytes);
    device_must(cudaDeviceSynchronize(), "before a quiet launch");
    sample_launch(s, r, s->x.data, y.data, 0);
    device_must(cudaDeviceSynchronize(), "quiet launch");
    if (!device_fetch(&y, s->y)) {
        printf("written beyond y: ");
        print_plan(s->of, s->m);
        stop();
    }
    device_free(&y);
}

/* Draw x of a kind, or take the y of sample `from`. Returns the sample's number. */
static int make_sample(const room *r, const entry *e, int64_t m, input_kind kind, int from)
{
    sample *s = &stress.sample[stress.samples];
    int64_t k = e->problem.shape.k;
    int padding = below(2) ? below(9) : 0, shift = below(4) == 0 ? 2 : 0;
    s->of = e;
    s->m = m;
    s->kind = kind;
    s->from = from;
    s->x_stride = from < 0 ? k + padding : stress.sample[from].of->host.layout.n;
    size_t x_bytes =
        from < 0 ? (size_t)((m - 1) * s->x_stride + k) * 2 : stress.sample[from].y_bytes;
    uint16_t *x = (uint16_t *)take(x_bytes);
    if (from < 0)
        input_fill(e->problem.x_type, x, m, k, s->x_stride, kind, random_bits(&stress.random));
    else
        memcpy(x, stress.sample[from].y, x_bytes);
    s->x = device_copy(x, x_bytes, from < 0 ? (size_t)shift : 0);
    s->y_bytes = (size_t)(m * e->host.layout.n) * (e->problem.y_type == FBQ_F32 ? 4 : 2);
    stress.y_bytes = s->y_bytes > stress.y_bytes ? s->y_bytes : stress.y_bytes;
    launch_quietly(s, r);
    s->wanted = device_copy(s->y, s->y_bytes, 0);
    judge(s, x);
    free(x);
    return stress.samples++;
}

/* A sample whose y may be the x of this plan, as its type and size go, or -1. Only one that is
 * tame: of others the second layer's results leave fp16's range. */
static int find_feeder(const entry *e)
{
    for (int tries = 0; tries < 200; tries++) {
        int i = below(stress.samples);
        const sample *s = &stress.sample[i];
        if (s->from < 0 && s->kind == INPUT_NORMAL && s->of->problem.y_type == e->problem.x_type &&
            s->m <= e->problem.m_max && s->of->host.layout.n >= e->problem.shape.k)
            return i;
    }
    return -1;
}

static void make_samples(const room *r)
{
    static const input_kind kinds[] = {INPUT_NORMAL,      INPUT_NORMAL,  INPUT_MEAN,
                                       INPUT_ALTERNATING, INPUT_OUTLIER, INPUT_CONSTANT};
    for (entry *e = stress.plan; e < stress.plan + PLANS; e++) {
        int m_max = e->problem.m_max, first = make_sample(r, e, 1, INPUT_NORMAL, -1);
        if (e < stress.plan + 2) {
            int second = make_sample(r, e, 1, INPUT_NORMAL, first);
            make_sample(r, e, 1, INPUT_NORMAL, second);
        } else {
            int feeder = find_feeder(e);
            if (feeder >= 0)
                make_sample(r, e, stress.sample[feeder].m, INPUT_NORMAL, feeder);
        }
        make_sample(r, e, m_max, kinds[below(6)], -1);
        if (m_max > 1) {
            int m = 1 + below(m_max);
            make_sample(r, e, m, kinds[below(6)], -1);
        }
    }
}

void pool_make(fbq_context *context)
{
    make_plans(context);
    room quiet = room_make();
    make_samples(&quiet);
    room_free(&quiet);
    printf("%d samples judged\n", stress.samples);
}

void pool_free(void)
{
    for (int i = 0; i < stress.samples; i++) {
        device_free(&stress.sample[i].x);
        device_free(&stress.sample[i].wanted);
        free(stress.sample[i].y);
    }
    for (entry *e = stress.plan; e < stress.plan + PLANS; e++) {
        fbq_plan_free(e->plan);
        device_layer_free(&e->device);
        layer_free(&e->host);
    }
}
