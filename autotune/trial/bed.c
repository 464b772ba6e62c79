/* bed.c: see bed.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* sysconf's _SC_NPROCESSORS_ONLN */
#include "bed.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fbq/host/half.h>

#include "../../bench/kernels.h"
#include "green.h"
#include "plant.h"

/* Launches of a graph, at least. */
#define LAUNCHES 64
/* Relative error above which a result is wrong; eight times that for bf16. */
#define MOST_ERROR 1e-3
/* Part of the read floor below which no time can be. */
#define POSSIBLE 0.8
/* Bytes before and behind every buffer that nobody may write. */
#define GUARD_BYTES 65536
#define MOST_THREADS 64
/* Bytes that layers take turns over, at least. */
#define LEAST_COLD 64000000u
/* And layers that take turns, at most: launches of a graph. */
#define MOST_LAYERS 4096
/* Microseconds of a replay beside which its first launch is nothing. */
#define LONG_REPLAY 2000

static truth truth_of(const bed *b)
{
    return b->l.layout.rank_tiles ? TRUTH_BRANCH : TRUTH_INT4;
}

/* ---- Opening ---- */

static int uuid_take(bed *b, fail *f)
{
    struct cudaDeviceProp prop;
    CUDA(f, cudaGetDeviceProperties(&prop, b->g.device));
    int at = snprintf(b->uuid, sizeof b->uuid, "GPU");
    for (int i = 0; i < 16; i++)
        at += snprintf(b->uuid + at, sizeof b->uuid - (size_t)at, "%s%02x",
                       i == 0 || i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
                       (unsigned char)prop.uuid.bytes[i]);
    return 0;
}

/* Layers take turns over 5/2 of the L2, more than twice what it holds, and so are cold. Over more,
 * as in the benchmark, small layers would be thousands in a graph, which takes long to build and to
 * replay, and there are many picks to do that for. */
static size_t cold_bytes(const gpu *g)
{
    const size_t most = gpu_cold_bytes(g), some = 5 * g->l2_bytes / 2,
                 wanted = some > LEAST_COLD ? some : LEAST_COLD;
    return wanted < most ? wanted : most;
}

/* Open the GPU, in a green context where `sms` is not 0. */
static int gpu_take(bed *b, int device, int sms, fail *f)
{
    TRY(gpu_choose(&b->g, device, f));
    if (sms)
        TRY(green_enter(&b->g, sms, f));
    b->g.guard = GUARD_BYTES;
    return gpu_begin(&b->g, f);
}

int bed_open(bed *b, int device, int sms, const char *cubins, fail *f)
{
    fbq_options how;
    int mps = 0;
    memset(b, 0, sizeof *b);
    memset(&how, 0, sizeof how);
    TRY(gpu_take(b, device, sms, f));
    CUDA(f, cudaDeviceGetAttribute(&mps, cudaDevAttrMpsEnabled, device));
    if (mps)
        return failf(f,
                     "%s is shared through MPS, where a pick that faults would take other "
                     "programs along: tune without it",
                     b->g.name);
    TRY(uuid_take(b, f));
    how.device = device;
    how.wisdom_file = "";
    how.cubin_folder = cubins;
    const double begin = now_seconds();
    FBQ(f, fbq_open(&how, &b->fbq, &fbq_error_));
    b->open_ms = 1e3 * (now_seconds() - begin);
    b->cold_bytes = cold_bytes(&b->g);
    return gpu_alloc(&b->g, &b->sum, sizeof *b->sum, "a checksum", f);
}

void bed_forget(bed *b, candidate *c)
{
    /* both wait for the GPU: for ever, where it hangs */
    if (!b->g.lost) {
        graph_free(&c->graph);
        fbq_plan_free(c->plan);
    }
    *c = b->list[--b->count];
}

static void problem_close(bed *b)
{
    while (b->count > 0)
        bed_forget(b, &b->list[0]);
    if (!b->g.lost)
        graph_free(&b->floor_graph);
    b->floor_graph.exec = NULL;
    layers_close(&b->l);
    free(b->right_y);
    b->right_y = NULL;
    gpu_free(&b->g, &b->scratch);
    gpu_free(&b->g, &b->state);
    b->scratch_bytes = b->state_bytes = 0;
    b->has_with = 0;
}

void bed_close(bed *b)
{
    problem_close(b);
    free(b->list);
    b->list = NULL;
    floor_buffer_free(&b->g);
    gpu_free(&b->g, &b->sum);
    if (!b->g.lost)
        fbq_close(b->fbq);
    b->fbq = NULL;
}

/* ---- The problem ---- */

static int sum_take(bed *b, unsigned *sum, fail *f)
{
    layers *l = &b->l;
    const size_t count = (size_t)l->count;
    CUDA(f, cudaMemsetAsync(b->sum, 0, sizeof *b->sum, b->g.stream));
    CUDA(f, fill_checksum_launch(l->weights, count * l->weights_stride / 4, b->sum, b->g.stream));
    if (l->down) {
        CUDA(f, fill_checksum_launch(l->down, count * l->down_stride / 4, b->sum, b->g.stream));
        CUDA(f, fill_checksum_launch(l->up, count * l->up_stride / 4, b->sum, b->g.stream));
    }
    CUDA(f, fill_checksum_launch(l->x, ((size_t)l->m_max * (size_t)l->k + 1) / 2, b->sum,
                                 b->g.stream));
    return gpu_download(&b->g, sum, b->sum, sizeof *sum, f);
}

/* Bytes that a problem's layers take turns over: fewer where thousands of layers do not make that
 * many, whose time is launching whether they are cold or not. */
static size_t turns_of(const bed *b, const fbq_problem *problem)
{
    fbq_layout layout;
    if (fbq_layout_of(&problem->format, &problem->shape, &layout, NULL) != FBQ_OK)
        return b->cold_bytes;
    const size_t most = MOST_LAYERS * (layout.weights_bytes + layout.down_bytes + layout.up_bytes);
    return most < b->cold_bytes ? most : b->cold_bytes;
}

int bed_problem(bed *b, const fbq_problem *problem, fbq_kernel kernel, fail *f)
{
    const size_t cold = turns_of(b, problem);
    sequence floor;
    problem_close(b);
    b->problem = *problem;
    b->problem.batch_invariant = 1; /* one program: that for m_max rows */
    b->kernel = kernel;
    if (problem->y_type != problem->x_type)
        return failf(f, "y is of type %d and x of %d; expected the same", (int)problem->y_type,
                     (int)problem->x_type);
    TRY(layers_make(&b->l, &b->g, &problem->format, &problem->shape, problem->x_type,
                    problem->m_max, 0, cold, f));
    TRY(sum_take(b, &b->right_sum, f));
    TRY(floor_get(&b->g, layers_bytes(&b->l, truth_of(b)), 0, cold, 15, &b->floor, f));
    TRY(floor_sequence(&b->g, b->floor, b->floor->has_pdl, cold, &b->floor_shape, &floor, f));
    return graph_build(&b->g, &floor, LAUNCHES, &b->floor_graph, f);
}

void bed_with(bed *b, const fbq_pick *with)
{
    b->with = *with;
    b->has_with = 1;
}

/* ---- Compiling ---- */

candidate *bed_find(bed *b, int number)
{
    for (int i = 0; i < b->count; i++)
        if (b->list[i].number == number)
            return &b->list[i];
    return NULL;
}

/* What the threads share. */
typedef struct work {
    bed *b;
    candidate *list;
    int count, next;
    pthread_mutex_t lock;
} work;

static void compile_one(bed *b, candidate *c)
{
    const fbq_pick *pick[FBQ_KERNELS] = {NULL, NULL};
    fbq_error error;
    memset(&error, 0, sizeof error);
    pick[b->kernel] = &c->pick;
    if (b->has_with)
        pick[!b->kernel] = &b->with;
    if (fbq_prepare(b->fbq, &b->problem, pick[FBQ_KERNEL_DOWN], pick[FBQ_KERNEL_FUSED], &c->plan,
                    &error) != FBQ_OK) {
        c->plan = NULL;
        snprintf(c->why, sizeof c->why, "%s", error.detail);
        for (char *at = c->why; *at; at++) /* a compiler's log has lines */
            if (*at == '\n')
                *at = ' ';
    }
}

static void compile_some(work *w)
{
    for (;;) {
        pthread_mutex_lock(&w->lock);
        const int i = w->next++;
        pthread_mutex_unlock(&w->lock);
        if (i >= w->count)
            return;
        compile_one(w->b, &w->list[i]);
    }
}

/* Compiles in the primary context, for a green one may be current in one thread only; a plan runs
 * in both. Where that cannot be, the other threads do the work. */
static void *compile_beside(void *user)
{
    work *w = user;
    if (cudaSetDevice(w->b->g.device) == cudaSuccess)
        compile_some(w);
    return NULL;
}

static void compile_list(bed *b, candidate *list, int count)
{
    pthread_t thread[MOST_THREADS];
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    work w = {b, list, count, 0, PTHREAD_MUTEX_INITIALIZER};
    int threads = 0;
    while (threads < count - 1 && threads < cores - 1 && threads < MOST_THREADS &&
           pthread_create(&thread[threads], NULL, compile_beside, &w) == 0)
        threads++;
    compile_some(&w);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
}

/* Scratch and state for a plan, too: graphs that hold smaller ones are built anew. */
static int memory_for(bed *b, const fbq_plan *plan, fail *f)
{
    const size_t scratch = fbq_plan_scratch_bytes(plan), state = fbq_plan_state_bytes(plan);
    if (scratch <= b->scratch_bytes && state <= b->state_bytes)
        return 0;
    for (int i = 0; i < b->count; i++)
        graph_free(&b->list[i].graph);
    if (scratch > b->scratch_bytes) {
        b->scratch_bytes = 0;
        TRY(gpu_alloc(&b->g, &b->scratch, scratch, "scratch", f));
        b->scratch_bytes = scratch;
    }
    if (state > b->state_bytes) {
        b->state_bytes = 0;
        TRY(gpu_alloc(&b->g, &b->state, state, "state", f));
        CUDA(f, cudaMemsetAsync(b->state, 0, state, b->g.stream));
        b->state_bytes = state;
    }
    return gpu_wait(&b->g, f);
}

int bed_compile(bed *b, const int *number, const fbq_pick *pick, int count, fail *f)
{
    for (int i = 0; i < count; i++)
        if (bed_find(b, number[i]))
            bed_forget(b, bed_find(b, number[i]));
    candidate *grown = realloc(b->list, (size_t)(b->count + count) * sizeof *grown);
    if (!grown)
        return failf(f, "no memory for %d picks", count);
    b->list = grown;
    memset(b->list + b->count, 0, (size_t)count * sizeof *grown);
    for (int i = 0; i < count; i++) {
        b->list[b->count + i].number = number[i];
        b->list[b->count + i].pick = pick[i];
    }
    compile_list(b, b->list + b->count, count);
    b->count += count;
    for (int i = 0; i < b->count; i++)
        if (b->list[i].plan)
            TRY(memory_for(b, b->list[i].plan, f));
    return 0;
}

/* ---- Running ---- */

/* A plan on a stream, layer by layer. */
typedef struct running {
    const bed *b;
    const fbq_plan *plan;
} running;

static int enqueue(void *user, int layer, cudaStream_t stream, fail *f)
{
    const running *r = user;
    const bed *b = r->b;
    fbq_call call = layers_call(&b->l, layer, b->problem.m_max, b->l.down != NULL);
    call.scratch = b->scratch;
    call.scratch_bytes = b->scratch_bytes;
    call.state = b->state;
    call.state_bytes = b->state_bytes;
    call.chained = 1; /* nobody writes weights */
    const fbq_status status = fbq_linear(r->plan, &call, stream);
    return status == FBQ_OK ? 0 : failf(f, "fbq_linear: %s", fbq_status_string(status));
}

/* Layer 0 last, whose y is known. */
static int enqueue_chain(void *user, int layer, cudaStream_t stream, fail *f)
{
    const running *r = user;
    return enqueue(user, (layer + 1) % r->b->l.count, stream, f);
}

/* Is what no kernel may write as it was? */
static int untouched(bed *b, fail *f)
{
    unsigned sum;
    TRY(gpu_guards_check(&b->g, f));
    TRY(sum_take(b, &sum, f));
    return sum == b->right_sum ? 0 : failf(f, "weights, factors or x were overwritten");
}

/* All of y beside that of the first pick that was right, row by row. */
static int same_y(bed *b, double most, fail *f)
{
    const layers *l = &b->l;
    const size_t count = (size_t)l->m_max * (size_t)l->n;
    if (!b->right_y) {
        b->right_y = malloc(count * sizeof *b->right_y);
        if (!b->right_y)
            return failf(f, "no memory for y");
        memcpy(b->right_y, l->y_host, count * sizeof *b->right_y);
        return 0;
    }
    for (int row = 0; row < l->m_max; row++) {
        double difference = 0, norm = 0;
        for (int64_t i = row * l->n; i < (row + 1) * l->n; i++) {
            const double right = (double)fbq_f32_of_word(l->type, b->right_y[i]),
                         y = (double)fbq_f32_of_word(l->type, l->y_host[i]);
            difference += (y - right) * (y - right);
            norm += right * right;
        }
        if (!(sqrt(difference / norm) <= 2 * most)) /* NaN fails */
            return failf(f, "wrong result: row %d of y is off by %.2e beside another pick's", row,
                         sqrt(difference / norm));
    }
    return 0;
}

static int y_right(bed *b, double *error, fail *f)
{
    const double most = b->problem.x_type == FBQ_F16 ? MOST_ERROR : 8 * MOST_ERROR;
    TRY(layers_check(&b->l, truth_of(b), b->problem.m_max, most, error, f));
    return same_y(b, most, f);
}

/* Replay up to so many times, of which the last counts: the first is behind a pause, or behind
 * another pick. Where a replay takes long enough for that not to be seen, once. */
static int replay(bed *b, const graph *graph, int most, double *us, fail *f)
{
    *us = 0;
    for (int i = 0; i < most && *us * graph->launches <= LONG_REPLAY; i++)
        TRY(graph_replay(&b->g, graph, us, f));
    return 0;
}

/* A graph of a candidate, warmed up. */
static int graph_need(bed *b, candidate *c, fail *f)
{
    running r = {b, c->plan};
    const sequence s = {enqueue_chain, &r, b->l.count};
    double us;
    if (c->graph.exec)
        return 0;
    TRY(graph_build(&b->g, &s, LAUNCHES, &c->graph, f));
    return replay(b, &c->graph, WARM_UP_REPLAYS, &us, f);
}

/* Nothing of the picks before: no t in scratch, no epoch in state, no y. */
static int clear(bed *b, fail *f)
{
    if (b->scratch)
        CUDA(f, cudaMemsetAsync(b->scratch, 0xff, b->scratch_bytes, b->g.stream));
    if (b->state)
        CUDA(f, cudaMemsetAsync(b->state, 0, b->state_bytes, b->g.stream));
    return layers_poison(&b->l, f);
}

/* The fault of what has just failed on the GPU: whichever call it was, an error that stays is the
 * pick's in hand. */
static int failed_with(bed *b, fault fault)
{
    const cudaError_t now = cudaEventQuery(b->g.stop);
    b->g.lost |= now != cudaSuccess && now != cudaErrorNotReady;
    b->fault = b->g.lost ? FAULT_BROKEN : fault;
    return 1;
}

int bed_check(bed *b, candidate *c, double *error, fail *f)
{
    running r = {b, c->plan};
    double chained = 0, us;
    fail other;
    b->fault = FAULT_NONE;
    if (untouched(b, f)) {
        b->fault = FAULT_SPOILED;
        return 1;
    }
    if (clear(b, f) || enqueue(&r, 0, b->g.stream, f) || plant(&b->g, &b->l, &c->pick, f) ||
        gpu_wait(&b->g, f))
        return failed_with(b, FAULT_NONE);
    int wrong = y_right(b, error, f);
    if (!wrong) {
        if (graph_need(b, c, f) || layers_poison(&b->l, f) ||
            graph_replay(&b->g, &c->graph, &us, f))
            return failed_with(b, FAULT_NONE);
        wrong = y_right(b, &chained, f);
    }
    if (wrong)
        failed_with(b, FAULT_WRONG);
    /* what it wrote elsewhere says more than what it wrote to y */
    if (!b->g.lost && untouched(b, &other)) {
        *f = other;
        b->fault = FAULT_BROKEN;
        return 1;
    }
    *error = chained > *error ? chained : *error;
    return wrong;
}

int bed_time(bed *b, candidate *c, double *us, fail *f)
{
    double floor;
    b->fault = FAULT_NONE;
    if (graph_need(b, c, f) || replay(b, &c->graph, 2, us, f))
        return failed_with(b, FAULT_NONE);
    /* the floor of when the problem began may have been measured beside something else */
    if (*us < POSSIBLE * b->floor->time[b->floor->has_pdl].median) {
        TRY(bed_floor(b, &floor, f));
        if (*us < POSSIBLE * floor)
            return failf(f, "impossible time refused: %.3f us for %.2f MB", *us,
                         (double)b->floor->bytes / 1e6);
    }
    return 0;
}

int bed_floor(bed *b, double *us, fail *f)
{
    b->fault = FAULT_NONE;
    return replay(b, &b->floor_graph, 3, us, f) ? failed_with(b, FAULT_NONE) : 0;
}

int bed_start(bed *b, double ms[3], int *compiled, fail *f)
{
    fbq_problem problem = b->problem;
    fbq_plan *plan = NULL;
    running r = {b, NULL};
    problem.batch_invariant = 0; /* as a program asks for it, all its kernels */
    const double begin = now_seconds();
    FBQ(f, fbq_prepare(b->fbq, &problem, NULL, NULL, &plan, &fbq_error_));
    const double prepared = now_seconds();
    *compiled = fbq_plan_compiled(plan);
    r.plan = plan;
    int failed = memory_for(b, plan, f);
    const double ready = now_seconds();
    failed = failed || enqueue(&r, 0, b->g.stream, f) || gpu_wait(&b->g, f);
    ms[0] = b->open_ms;
    ms[1] = 1e3 * (prepared - begin);
    ms[2] = 1e3 * (now_seconds() - ready);
    if (!b->g.lost)
        fbq_plan_free(plan);
    return failed;
}
