/* bench/measure.c: see measure.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <stdio.h>
#include <string.h>

/* A time below this part of the floor cannot be: something was not run, or not cold. Out of L2 the
 * readers, which ask for a batch of loads when the last has come, are further from what can be. */
#define POSSIBLE 0.8
#define POSSIBLE_HOT 0.5

static void deadline_set(bench *b)
{
    b->g.deadline = b->o.timeout > 0 ? now_seconds() + b->o.timeout : 0;
}

/* The floor that a time of this variant is compared with. */
static int floor_of(bench *b, size_t bytes, const floor_time **floor, fail *f)
{
    return floor_get(&b->g, bytes, b->o.hot, b->cold_bytes, b->o.replays, floor, f);
}

static int refuse_impossible(const floor_time *floor, double us, fail *f)
{
    double least = floor->time[floor->has_pdl].median;
    if (!(us >= (floor->hot ? POSSIBLE_HOT : POSSIBLE) * least))
        return failf(f,
                     "impossible time refused: %.3f us for %.2f MB, which nothing reads in less "
                     "than %.3f us",
                     us, (double)floor->bytes / 1e6, least);
    return 0;
}

/* A variant that a ratio needs and that was not measured (a filter left it out, or it comes later):
 * measure it now, on the shape and m in hand. */
static int measured_or_now(bench *b, variant v, const timing **time, fail *f)
{
    result *r = &b->done[b->shape][b->m][v];
    if (!r->measured) {
        prepared p;
        const floor_time *floor;
        timing t = {0, 0};
        deadline_set(b);
        fprintf(stderr, "    also needed: %s\n", variant_name(v));
        int failed = prepared_open(&p, b, v, f) || floor_of(b, p.bytes, &floor, f) ||
                     graph_time(&b->g, &p.seq, GRAPH_LAUNCHES, b->o.replays, &t, f) ||
                     refuse_impossible(floor, t.median, f);
        prepared_close(&p);
        TRY(failed);
        r->time = t;
        r->measured = 1;
    }
    *time = &r->time;
    return 0;
}

static void count(shim_report *report, const char *name, double value)
{
    report->counter[report->counters].name = name;
    report->counter[report->counters++].value = value;
}

/* Extra time over int4, and how much of the fastest conventional branch's extra fbq2 or fbq1
 * removes. What cannot be measured is left out, and said on stderr. */
static void count_extra(measure *s, double us, shim_report *report)
{
    static const variant conventional[] = {VARIANT_INT4_SUB, VARIANT_INT4_SUB_LT,
                                           VARIANT_INT4_SUB_OWN};
    const timing *int4, *other;
    double least = 0;
    bench *b = s->b;
    fail f;
    if (measured_or_now(b, VARIANT_INT4, &int4, &f)) {
        fprintf(stderr, "    no extra_us, since int4 failed: %s\n", f.text);
        return;
    }
    count(report, "extra_us", us - int4->median);
    if (s->p.what != VARIANT_FBQ2 && s->p.what != VARIANT_FBQ1)
        return;
    for (int i = 0; i < 3 && !b->g.lost; i++) {
        variant v = conventional[i];
        if (!variant_possible(b, v, b->o.m[b->m]))
            continue;
        if (measured_or_now(b, v, &other, &f))
            fprintf(stderr, "    %s is left out of `removed`: %s\n", variant_name(v), f.text);
        else if (least == 0 || other->median < least)
            least = other->median;
    }
    if (least > int4->median) {
        count(report, "conventional_us", least);
        count(report, "removed", 1 - (us - int4->median) / (least - int4->median));
    }
}

void measure_close(measure *s)
{
    if (!s->b->g.lost)
        graph_free(&s->graph);
    s->graph.exec = NULL;
    prepared_close(&s->p);
}

static const char *failed(measure *s)
{
    fprintf(stderr, "    FAILED: %s\n", s->why.text);
    measure_close(s);
    s->failures++;
    return s->why.text;
}

static int begin(measure *s, fail *f)
{
    bench *b = s->b;
    const floor_time *floor;
    double us;
    variant v = s->list[s->index].what;
    if (*s->interrupted)
        return failf(f, "interrupted");
    if (b->g.lost)
        return failf(f, "not run: an earlier benchmark left the GPU unusable");
    deadline_set(b);
    TRY(bench_select(b, s->list[s->index].shape, s->list[s->index].m, f));
    TRY(prepared_open(&s->p, b, v, f));
    TRY(floor_of(b, s->p.bytes, &floor, f));
    TRY(graph_build(&b->g, &s->p.seq, GRAPH_LAUNCHES, &s->graph, f));
    for (int i = 0; i < WARM_UP_REPLAYS; i++)
        TRY(graph_replay(&b->g, &s->graph, &us, f));
    return 0;
}

static const char *call_begin(void *user, int index)
{
    measure *s = user;
    measure_close(s);
    memset(&s->p, 0, sizeof s->p);
    s->samples = 0;
    s->index = index;
    fprintf(stderr, "[%d/%d] %s\n", index + 1, s->count, s->list[index].name);
    return begin(s, &s->why) ? failed(s) : NULL;
}

static const char *call_replay(void *user, double *seconds)
{
    measure *s = user;
    double us;
    if (s->samples == MAX_REPLAYS)
        failf(&s->why, "more than %d replays", MAX_REPLAYS);
    else if (!graph_replay(&s->b->g, &s->graph, &us, &s->why)) {
        s->us[s->samples++] = us;
        *seconds = us * 1e-6;
        return NULL;
    }
    return failed(s);
}

static int end(measure *s, shim_report *report, fail *f)
{
    bench *b = s->b;
    const floor_time *floor;
    timing t = timing_of(s->us, s->samples);
    TRY(floor_of(b, s->p.bytes, &floor, f));
    TRY(refuse_impossible(floor, t.median, f));
    b->done[b->shape][b->m][s->p.what].time = t;
    b->done[b->shape][b->m][s->p.what].measured = 1;
    count(report, "us", t.median);
    count(report, "spread", t.spread);
    count(report, "bytes", (double)s->p.bytes);
    count(report, "read_us", floor->time[0].median);
    count(report, "xread", t.median / floor->time[0].median);
    if (floor->has_pdl) {
        count(report, "read_pdl_us", floor->time[1].median);
        count(report, "xread_pdl", t.median / floor->time[1].median);
    }
    if (s->p.what != VARIANT_READ && s->p.what != VARIANT_READ_PDL)
        count(report, "rel_error", s->p.error);
    if (variant_wants_branch(s->p.what))
        count_extra(s, t.median, report);
    report->label = s->p.label;
    fprintf(stderr, "    %.2f us, spread %.1f %%; %s\n", t.median, 100 * t.spread, s->p.label);
    return 0;
}

static const char *call_end(void *user, shim_report *report)
{
    measure *s = user;
    if (end(s, report, &s->why))
        return failed(s);
    if (!s->b->g.lost)
        graph_free(&s->graph);
    return NULL;
}

shim_calls measure_calls(measure *s)
{
    shim_calls calls = {call_begin, call_replay, call_end, s};
    return calls;
}
