/* bench/floor.c: see floor.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "floor.h"

#include <stdio.h>
#include <string.h>

#include "kernels.h"

#define MAX_FLOORS 256
#define FINALISTS 4
#define COARSE_REPLAYS 5
#define LAUNCHES 64

static floor_time floors[MAX_FLOORS];
static int floor_count;

static unsigned char *buffer;
static size_t buffer_bytes;

int rotation_layers(size_t bytes, size_t cold_bytes, int hot)
{
    size_t layers = cold_bytes / bytes + 1;
    return hot ? 1 : layers < 3 ? 3 : (int)layers;
}

void floor_buffer_free(gpu *g)
{
    gpu_free(g, &buffer);
    buffer_bytes = 0;
}

/* Random contents: reading zeros draws less power, and the clocks would show it. */
static int buffer_need(gpu *g, size_t bytes, fail *f)
{
    if (bytes <= buffer_bytes)
        return 0;
    buffer_bytes = 0;
    TRY(gpu_alloc(g, &buffer, bytes, "the read floor", f));
    CUDA(f, fill_random_launch(buffer, bytes / 4, 7, g->stream));
    TRY(gpu_wait(g, f));
    buffer_bytes = bytes;
    return 0;
}

static int read_enqueue(void *user, int layer, cudaStream_t stream, fail *f)
{
    const read_shape *s = user;
    CUDA(f, read_launch(s->buffer + (size_t)layer * s->bytes, s->bytes / 16, s->word, s->unroll,
                        s->grid, s->block, s->pdl, stream));
    return 0;
}

typedef struct candidate {
    read_shape shape;
    double us;
} candidate;

/* Keep the best few of a kind. */
static void candidate_keep(candidate *best, int *count, const candidate *c)
{
    int at = *count < FINALISTS ? (*count)++ : FINALISTS - 1;
    if (at == FINALISTS - 1 && best[at].us > 0 && best[at].us <= c->us)
        return;
    for (; at > 0 && best[at - 1].us > c->us; at--)
        best[at] = best[at - 1];
    best[at] = *c;
}

static int floor_measure(gpu *g, floor_time *floor, int replays, fail *f)
{
    static const int unrolls[] = {4, 8, 12}, blocks[] = {128, 256, 512},
                     threads[] = {256, 512, 1024, 2048};
    candidate best[2][FINALISTS];
    int count[2] = {0, 0};
    memset(best, 0, sizeof best);
    for (int pdl = 0; pdl <= floor->has_pdl; pdl++) {
        for (int i = 0; i < 36; i++) {
            candidate c;
            timing t;
            c.shape.buffer = buffer;
            c.shape.bytes = floor->bytes;
            c.shape.word = g->word;
            c.shape.unroll = unrolls[i % 3];
            c.shape.block = blocks[i / 3 % 3];
            c.shape.grid = g->sms * threads[i / 9] / c.shape.block;
            c.shape.pdl = pdl;
            if (threads[i / 9] < c.shape.block)
                continue;
            sequence s = {read_enqueue, &c.shape, floor->layers};
            TRY(graph_time(g, &s, LAUNCHES, COARSE_REPLAYS, &t, f));
            c.us = t.median;
            candidate_keep(best[pdl], &count[pdl], &c);
        }
        floor->time[pdl].median = 0;
        for (int i = 0; i < count[pdl]; i++) {
            timing t;
            sequence s = {read_enqueue, &best[pdl][i].shape, floor->layers};
            TRY(graph_time(g, &s, LAUNCHES, replays, &t, f));
            if (i == 0 || t.median < floor->time[pdl].median) {
                floor->time[pdl] = t;
                floor->shape[pdl] = best[pdl][i].shape;
            }
        }
    }
    return 0;
}

int floor_get(gpu *g, size_t bytes, int hot, size_t cold_bytes, int replays, const floor_time **out,
              fail *f)
{
    floor_time *floor;
    bytes = (bytes + 15) / 16 * 16;
    for (int i = 0; i < floor_count; i++) {
        if (floors[i].bytes == bytes && floors[i].hot == hot) {
            *out = &floors[i];
            return 0;
        }
    }
    if (floor_count == MAX_FLOORS)
        return failf(f, "more than %d different byte counts in one run: measure fewer shapes",
                     MAX_FLOORS);
    floor = &floors[floor_count];
    memset(floor, 0, sizeof *floor);
    floor->bytes = bytes;
    floor->hot = hot;
    floor->has_pdl = g->pdl;
    floor->layers = rotation_layers(bytes, cold_bytes, hot);
    TRY(buffer_need(g, bytes * (size_t)floor->layers, f));
    TRY(floor_measure(g, floor, replays, f));
    fprintf(stderr, "    floor of %.2f MB %s: read %.2f us (unroll %d, %d x %d)",
            (double)bytes / 1e6, hot ? "hot" : "cold", floor->time[0].median,
            floor->shape[0].unroll, floor->shape[0].grid, floor->shape[0].block);
    if (floor->has_pdl)
        fprintf(stderr, ", read_pdl %.2f us (unroll %d, %d x %d)", floor->time[1].median,
                floor->shape[1].unroll, floor->shape[1].grid, floor->shape[1].block);
    fputc('\n', stderr);
    floor_count++;
    *out = floor;
    return 0;
}

int floor_sequence(gpu *g, const floor_time *floor, int pdl, size_t cold_bytes, read_shape *shape,
                   sequence *out, fail *f)
{
    int layers = rotation_layers(floor->bytes, cold_bytes, floor->hot);
    if (pdl && !floor->has_pdl)
        return failf(f, "this GPU has no programmatic dependent launch");
    TRY(buffer_need(g, floor->bytes * (size_t)layers, f));
    *shape = floor->shape[pdl];
    shape->buffer = buffer;
    out->enqueue = read_enqueue;
    out->user = shape;
    out->layers = layers;
    return 0;
}
