/* tests/gpu_stress.c: chains of launches beside other work; every y has the bits of a quiet launch.
 *
 *     gpu_stress [--seconds N] [--seed S] [--ptx CAPABILITY]
 *
 * A pool of plans and inputs is drawn. Each is launched once alone and judged against the double
 * reference; those bits are what is expected from then on. Rounds of one to three streams follow,
 * for N seconds: chains of launches of any plans, eager or replayed from a graph, with memory
 * copies and sets in between and with blocks of a foreign kernel in the way. One seed decides all
 * of it, so a failure can be repeated; only how many rounds there are depends on the time, which
 * counts from when the pool is there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gpu_stress_load.h"
#include "gpu_stress_pool.h"

enum {
    TRACKS = 3,
    CHAIN = 40, /* launches of a chain, at most; each has a slot for its y */
    STEPS = 3 * CHAIN,
    LOADS = 8,    /* of a round, at most */
    GAP = 256,    /* bytes behind a slot's y that stay poisoned, at least */
    DEADLINE = 20 /* seconds */
};

typedef enum step_kind {
    STEP_LAUNCH,  /* `sample` writes slot `to`; slot `from` is its x, unless that is -1 */
    STEP_COPY,    /* slot `from` to slot `to` */
    STEP_POISON,  /* slot `to` */
    STEP_SCRATCH, /* other bytes to the scratch: `byte` */
    STEP_COMPARE  /* slot `to` with what `sample` gives */
} step_kind;

typedef struct step {
    step_kind kind;
    int sample, to, from, chained, byte;
} step;

/* A stream and its chain. */
typedef struct track {
    room own;
    device_buffer slots;
    unsigned char *expected, *got;
    difference *found; /* on the GPU; a mark is the number + 1 of a slot */
    step steps[STEPS];
    int count, used; /* steps and slots of the chain */
    int times;       /* that the chain runs */
    cudaGraph_t graph;
    cudaGraphExec_t exec; /* NULL: eager */
} track;

static track tracks[TRACKS];
static cudaStream_t load_stream;
static size_t slot_bytes;
static int tracks_used;
static long long rounds, launches, graphs;

static double seconds_now(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_step(const track *t, int at)
{
    const step *s = &t->steps[at];
    printf("round %lld stream %d step %d of %d (%s, %d times): kind %d to slot %d from %d", rounds,
           (int)(t - tracks), at, t->count, t->exec ? "graph" : "eager", t->times, (int)s->kind,
           s->to, s->from);
    if (s->kind == STEP_LAUNCH) {
        printf(" chained %d sample %d ", s->chained, s->sample);
        print_plan(stress.sample[s->sample].of, stress.sample[s->sample].m);
    } else {
        printf("\n");
    }
}

/* ---- Chains ---- */

static void add_step(track *t, step_kind kind, int number, int to, int from, int chained)
{
    step s = {kind, number, to, from, chained, below(256)};
    t->steps[t->count++] = s;
}

/* No kernel of the chain writes weights, so even its first launch may be chained. */
static int draw_chained(const track *t)
{
    return t->count == 0 ? below(2) : below(8) != 0;
}

/* A copy or a set before launch `at`. */
static void draw_between(track *t, int at)
{
    step_kind kind = (step_kind)(STEP_COPY + below(STEP_COMPARE - STEP_COPY));
    if (kind == STEP_COPY && at == 0)
        kind = STEP_POISON;
    add_step(t, kind, 0, at, kind == STEP_COPY ? below(at) : 0, 0);
}

static void draw_chain(track *t)
{
    int length = 1 + below(CHAIN), mixed = below(3) == 0;
    t->count = 0;
    t->used = length;
    for (int i = 0; i < length; i++) {
        if (mixed && below(4) == 0)
            draw_between(t, i);
        int drawn = below(stress.samples), from = stress.sample[drawn].from, feed = -1;
        if (from >= 0 && i + 1 < length) {
            add_step(t, STEP_LAUNCH, from, i, -1, draw_chained(t));
            feed = i++;
        }
        /* now and then over an earlier y */
        int shared = feed < 0 && i > 0 && below(8) == 0, to = shared ? below(i) : i;
        add_step(t, STEP_LAUNCH, drawn, to, feed, draw_chained(t));
    }
}

static void issue_step(const track *t, const step *s)
{
    unsigned char *to = t->slots.data + (size_t)s->to * slot_bytes;
    const unsigned char *from = s->from < 0 ? NULL : t->slots.data + (size_t)s->from * slot_bytes;
    const sample *of = &stress.sample[s->sample];
    if (s->kind == STEP_LAUNCH)
        sample_launch(of, &t->own, from ? from : of->x.data, to, s->chained);
    else if (s->kind == STEP_COPY)
        device_must(cudaMemcpyAsync(to, from, slot_bytes, cudaMemcpyDeviceToDevice, t->own.stream),
                    "copy in a chain");
    else if (s->kind == STEP_POISON)
        device_must(cudaMemsetAsync(to, 0xff, slot_bytes, t->own.stream), "poison in a chain");
    else if (s->kind == STEP_COMPARE)
        device_must(compare_launch(to, of->wanted.data, of->y_bytes, (unsigned)s->to + 1, t->found,
                                   t->own.stream),
                    "comparison");
    else
        device_must(
            cudaMemsetAsync(t->own.scratch.data, s->byte, t->own.scratch.bytes, t->own.stream),
            "scratch in a chain");
}

/* The next replay writes over what this one wrote: have the GPU look at each slot in time. */
static void compare_all(track *t)
{
    for (int slot = 0, end = t->count; slot < t->used; slot++) {
        const step *last = NULL;
        for (const step *s = t->steps; s < t->steps + end; s++)
            if (s->to == slot && s->kind != STEP_SCRATCH)
                last = s;
        if (last && last->kind == STEP_LAUNCH)
            add_step(t, STEP_COMPARE, last->sample, slot, -1, 0);
    }
}

static void capture(track *t)
{
    compare_all(t);
    device_must(cudaStreamBeginCapture(t->own.stream, cudaStreamCaptureModeGlobal), "capture");
    for (int i = 0; i < t->count; i++)
        issue_step(t, &t->steps[i]);
    device_must(cudaStreamEndCapture(t->own.stream, &t->graph), "end capture");
    device_must(cudaGraphInstantiate(&t->exec, t->graph, 0), "instantiate");
    graphs++;
}

static void forget_graph(track *t)
{
    if (!t->exec)
        return;
    device_must(cudaGraphExecDestroy(t->exec), "destroy");
    device_must(cudaGraphDestroy(t->graph), "destroy");
    t->exec = NULL;
}

/* Outside the streams, which are idle: a set on one would part its first launch from the last. */
static void poison_slots(const track *t)
{
    device_must(cudaMemset(t->slots.data, 0xff, (size_t)t->used * slot_bytes), "poison");
    device_must(cudaDeviceSynchronize(), "poison");
}

/* Says what the streams that are not done were given. */
static void give_up(const char *why)
{
    printf("%s\n", why);
    for (const track *t = tracks; t < tracks + tracks_used; t++)
        for (int i = 0; cudaStreamQuery(t->own.stream) != cudaSuccess && i < t->count; i++)
            print_step(t, i);
    stop();
}

static void wait_for(cudaStream_t stream, double since)
{
    for (;;) {
        cudaError_t result = cudaStreamQuery(stream);
        if (result == cudaSuccess)
            return;
        if (result != cudaErrorNotReady)
            give_up(cudaGetErrorString(result));
        if (seconds_now() - since > DEADLINE)
            give_up("still running after the deadline");
    }
}

static void wait_for_all(void)
{
    double since = seconds_now();
    for (track *t = tracks; t < tracks + tracks_used; t++)
        wait_for(t->own.stream, since);
    wait_for(load_stream, since);
}

/* What the slots hold after the chain: everything in its order, on the host. */
static void expect(track *t)
{
    memset(t->expected, 0xff, (size_t)t->used * slot_bytes);
    for (int n = 0; n < t->times; n++)
        for (const step *s = t->steps; s < t->steps + t->count; s++) {
            unsigned char *to = t->expected + (size_t)s->to * slot_bytes;
            if (s->kind == STEP_LAUNCH) {
                memcpy(to, stress.sample[s->sample].y, stress.sample[s->sample].y_bytes);
                launches++;
            } else if (s->kind == STEP_COPY) {
                memcpy(to, t->expected + (size_t)s->from * slot_bytes, slot_bytes);
            } else if (s->kind == STEP_POISON) {
                memset(to, 0xff, slot_bytes);
            }
        }
}

static void wrong_bits(const track *t, int slot)
{
    printf("wrong bits in slot %d, written by\n", slot);
    for (int i = 0; i < t->count; i++)
        if (t->steps[i].kind != STEP_SCRATCH && t->steps[i].to == slot)
            print_step(t, i);
    stop();
}

static void find_differences(difference *d, const unsigned char *got, const unsigned char *wanted)
{
    memset(d, 0, sizeof *d);
    for (unsigned i = 0; i < slot_bytes / 2; i++) {
        unsigned a = got[2 * i] | (unsigned)got[2 * i + 1] << 8;
        unsigned b = wanted[2 * i] | (unsigned)wanted[2 * i + 1] << 8;
        if (a == b)
            continue;
        d->count++;
        if (d->noted < DIFFERENCES) {
            d->word[d->noted].at = i;
            d->word[d->noted].got = a;
            d->word[d->noted++].wanted = b;
        }
    }
}

static void print_differences(const difference *d)
{
    printf("%u words are wrong:\n", d->count);
    for (unsigned i = 0; i < d->noted && i < DIFFERENCES; i++)
        printf("  word %u: %04x, expected %04x\n", d->word[i].at, d->word[i].got,
               d->word[i].wanted);
}

static void verify(track *t)
{
    size_t end = (size_t)t->used * slot_bytes;
    difference found;
    expect(t);
    device_must(cudaMemcpy(&found, t->found, sizeof found, cudaMemcpyDeviceToHost), "fetch");
    if (found.count) {
        printf("for a while: ");
        print_differences(&found);
        wrong_bits(t, (int)found.mark - 1);
    }
    device_must(cudaMemcpy(t->got, t->slots.data, end, cudaMemcpyDeviceToHost), "fetch");
    for (int slot = 0; slot < t->used && memcmp(t->got, t->expected, end); slot++) {
        find_differences(&found, t->got + (size_t)slot * slot_bytes,
                         t->expected + (size_t)slot * slot_bytes);
        if (found.count) {
            printf("after all: ");
            print_differences(&found);
            wrong_bits(t, slot);
        }
    }
}

/* ---- Rounds ---- */

static void load_some(void)
{
    int blocks[] = {1, stress.gpu.sms / 2 + 1, stress.gpu.sms, 4 * stress.gpu.sms};
    int shared[] = {0, 16384, stress.gpu.shared_block / 2, stress.gpu.shared_block - 1024};
    int some = blocks[below(4)], each = shared[below(4)];
    device_must(load_launch(some, each, 5 + below(496), load_stream), "load");
}

/* All chains side by side: the next step or replay of any stream that has one left. */
static void issue_round(void)
{
    int left[TRACKS], sum = 0, loads = 0;
    for (int i = 0; i < tracks_used; i++)
        sum += left[i] = tracks[i].exec ? tracks[i].times : tracks[i].count;
    for (int begin = 1; sum > 0; begin = 0) {
        if (loads < LOADS && below(begin ? 2 : 12) == 0) {
            load_some();
            loads++;
        }
        int i = below(tracks_used);
        if (!left[i])
            continue;
        if (tracks[i].exec)
            device_must(cudaGraphLaunch(tracks[i].exec, tracks[i].own.stream), "replay");
        else
            issue_step(&tracks[i], &tracks[i].steps[tracks[i].count - left[i]]);
        left[i]--;
        sum--;
    }
}

static void run_round(void)
{
    tracks_used = 1 + below(TRACKS);
    for (track *t = tracks; t < tracks + tracks_used; t++) {
        draw_chain(t);
        if (below(2))
            device_poison(&t->own.scratch);
        poison_slots(t);
        t->times = 1;
        if (below(2)) {
            t->times = 1 + below(20);
            capture(t);
        }
    }
    issue_round();
    wait_for_all();
    for (track *t = tracks; t < tracks + tracks_used; t++) {
        verify(t);
        forget_graph(t);
    }
    rounds++;
}

/* ---- The phases before the rounds ---- */

/* A chain of the first samples of a plan, each with the y of the one before as its x. */
static void make_layers(track *t, const entry *e, int layers)
{
    int first = 0;
    while (stress.sample[first].of != e)
        first++;
    t->count = 0;
    t->used = layers;
    for (int i = 0; i < layers; i++)
        add_step(t, STEP_LAUNCH, first + i, i, i - 1, draw_chained(t));
}

/* A graph of three layers, 1,000 times. */
static void phase_replays(const entry *e)
{
    track *t = &tracks[0];
    tracks_used = 1;
    make_layers(t, e, 3);
    t->times = 50;
    capture(t);
    for (int i = 0; i < 1000; i += t->times) {
        poison_slots(t);
        for (int j = 0; j < t->times; j++)
            device_must(cudaGraphLaunch(t->exec, t->own.stream), "replay");
        wait_for_all();
        verify(t);
    }
    forget_graph(t);
    printf("1000 replays of 3 layers of plan %d\n", (int)(e - stress.plan));
}

/* All multiprocessors but one are taken, so a launch whose blocks wait for each other ends only
 * because they need not: as a rule before the load does. Rather a note than a claim, since the
 * blocks of the load may be late. */
static void phase_residency(const entry *e, int times, int microseconds)
{
    track *t = &tracks[0];
    int before = 0;
    tracks_used = 1;
    t->times = 1;
    for (int i = 0; i < times; i++) {
        make_layers(t, e, 1);
        poison_slots(t);
        if (stress.gpu.sms > 1)
            device_must(
                load_launch(stress.gpu.sms - 1, stress.gpu.shared_block, microseconds, load_stream),
                "load");
        /* the load's blocks first */
        for (double since = seconds_now(); seconds_now() - since < 200e-6;)
            ;
        issue_step(t, &t->steps[0]);
        wait_for(t->own.stream, seconds_now());
        before += cudaStreamQuery(load_stream) == cudaErrorNotReady;
        wait_for_all();
        verify(t);
    }
    printf("all multiprocessors but one taken for %d us: %d of %d launches ended before that\n",
           microseconds, before, times);
}

static void make_tracks(void)
{
    slot_bytes = (stress.y_bytes + GAP + 255) / 256 * 256;
    for (track *t = tracks; t < tracks + TRACKS; t++) {
        t->own = room_make();
        t->slots = device_make(CHAIN * slot_bytes, 0);
        device_must(cudaMalloc((void **)&t->found, sizeof *t->found), "cudaMalloc");
        device_must(cudaMemset(t->found, 0, sizeof *t->found), "cudaMemset");
        t->expected = (unsigned char *)take(CHAIN * slot_bytes);
        t->got = (unsigned char *)take(CHAIN * slot_bytes);
    }
    device_must(cudaStreamCreateWithFlags(&load_stream, cudaStreamNonBlocking), "stream");
}

static void free_tracks(void)
{
    for (track *t = tracks; t < tracks + TRACKS; t++) {
        room_free(&t->own);
        device_free(&t->slots);
        device_must(cudaFree(t->found), "cudaFree");
        free(t->expected);
        free(t->got);
    }
    device_must(cudaStreamDestroy(load_stream), "destroy");
}

static int read_arguments(int argc, char **argv, double *seconds, fbq_options *options)
{
    unsigned long long given;
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--seconds") && sscanf(value, "%lf", seconds) == 1)
            continue;
        if (!strcmp(argv[i], "--ptx") && sscanf(value, "%d", &options->ptx) == 1)
            continue;
        if (!strcmp(argv[i], "--seed") && sscanf(value, "%llu", &given) == 1) {
            stress.seed = given;
            continue;
        }
        fprintf(stderr, "usage: gpu_stress [--seconds N] [--seed S] [--ptx CAPABILITY]\n");
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    fbq_options options = {0, 0, NULL, NULL, "", "", 0};
    fbq_context *context;
    double seconds = 20, begin;
    fbq_error error;
    stress.seed = (uint64_t)time(NULL);
    if (!read_arguments(argc, argv, &seconds, &options))
        return 2;
    if (!device_present())
        return SKIPPED;
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ); /* the seed is there whatever ends the program */
    printf("gpu_stress --seed %llu\n", (unsigned long long)stress.seed);
    stress.random = stress.seed;
    device_must(cudaSetDevice(0), "cudaSetDevice");
    device_must(cudaFree(NULL), "context");
    if (fbq_open(&options, &context, &error) != FBQ_OK) {
        fprintf(stderr, "fbq_open: %s\n", error.detail);
        return 1;
    }
    fbq_context_gpu(context, &stress.gpu);
    if (options.ptx) /* what is compiled for decides, not what it runs on */
        stress.gpu.capability = options.ptx;
    device_must(load_prepare(stress.gpu.shared_block), "load");
    pool_make(context);
    make_tracks();
    begin = seconds_now();
    phase_replays(&stress.plan[0]);
    phase_replays(&stress.plan[1]);
    phase_residency(&stress.plan[0], 20, 2000);
    phase_residency(&stress.plan[0], 3, 50000);
    while (seconds_now() - begin < seconds)
        run_round();
    printf("%lld launches, %lld rounds, %lld graphs, %.1f s: no wrong bit\n", launches, rounds,
           graphs, seconds_now() - begin);
    free_tracks();
    pool_free();
    fbq_close(context);
    return 0;
}
