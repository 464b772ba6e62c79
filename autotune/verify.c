/* verify.c: fbq-tune verify: do records still hold? Each pick is timed again beside the default,
 * and beside the picks of other files.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "records.h"
#include "session.h"

/* Is the record the one that its problem gets on this GPU, and a measured one? */
static int is_here(const fbq_wisdom *wisdom, const fbq_record *record, const fbq_gpu *gpu)
{
    fbq_pick pick;
    fbq_found found;
    return record->rigor >= FBQ_RIGOR_MEASURE &&
           fbq_wisdom_find(wisdom, &record->problem, gpu, record->pick.kernel, &pick, &found,
                           NULL) == FBQ_OK &&
           found.rung == FBQ_RUNG_EXACT && record->epoch == FBQ_KERNEL_EPOCH &&
           !strcmp(record->gpu.name, found.record.gpu.name) && record->gpu.sms == gpu->sms &&
           record->gpu.capability == gpu->capability;
}

/* Fused's pick beside a record of down; 0 when fused needs no down. */
static int with_of(const fbq_wisdom *wisdom, const fbq_record *record, const fbq_gpu *gpu,
                   fbq_pick *with)
{
    return fbq_wisdom_find(wisdom, &record->problem, gpu, FBQ_KERNEL_FUSED, with, NULL, NULL) ==
               FBQ_OK &&
           with->slices == 0;
}

/* ---- What is timed beside a record ---- */

typedef struct rival {
    const char *file; /* NULL: the default */
    int there;        /* there is a pick */
    fbq_pick pick;
    fbq_rung rung;
    double us; /* 0: not timed */
    search_interval ratio;
    char why[256]; /* it is not there, or cannot be run; "" else */
} rival;

/* The record in hand. */
typedef struct contest {
    const fbq_record *record;
    tuned t;
    rival rival[1 + MOST_BESIDE]; /* the default comes first */
    int rivals;
} contest;

/* The command. */
typedef struct verification {
    const options *o;
    tuner u;
    fbq_wisdom *wisdom, *beside[MOST_BESIDE];
    json_t *list; /* NULL without --json */
} verification;

static int same_pick(const fbq_pick *a, const fbq_pick *b)
{
    return !memcmp(a, b, sizeof *a);
}

static int is_of(const rival *r, const fbq_record *record)
{
    return r->there && same_pick(&r->pick, &record->pick);
}

static void take_time(void *user, const fbq_record *record, double us, search_interval ratio)
{
    contest *c = user;
    for (int i = 0; i < c->rivals; i++)
        if (is_of(&c->rival[i], record)) {
            c->rival[i].us = us;
            c->rival[i].ratio = ratio;
        }
}

static void take_refusal(void *user, const fbq_record *record, const char *why)
{
    contest *c = user;
    for (int i = 0; i < c->rivals; i++)
        if (is_of(&c->rival[i], record))
            snprintf(c->rival[i].why, sizeof c->rival[i].why, "%.255s", why);
}

static void take_default(rival *r, const fbq_record *record, const fbq_gpu *gpu)
{
    fbq_error error;
    r->there =
        fbq_pick_default(&record->problem, gpu, record->pick.kernel, &r->pick, &error) == FBQ_OK;
    if (!r->there)
        snprintf(r->why, sizeof r->why, "%.255s", error.detail);
}

/* What a file gives for a record's problem. Down is asked for only where its own fused would launch
 * it, though it is timed behind the record's. */
static void take_pick(rival *r, const fbq_wisdom *wisdom, const fbq_record *record,
                      const fbq_gpu *gpu)
{
    fbq_pick fused;
    fbq_found found;
    fbq_error error;
    if (record->pick.kernel == FBQ_KERNEL_DOWN && !with_of(wisdom, record, gpu, &fused)) {
        snprintf(r->why, sizeof r->why, "its fused launches no down");
        return;
    }
    r->there = fbq_wisdom_find(wisdom, &record->problem, gpu, record->pick.kernel, &r->pick, &found,
                               &error) == FBQ_OK;
    if (r->there)
        r->rung = found.rung;
    else
        snprintf(r->why, sizeof r->why, "%.255s", error.detail);
}

static void gather(const verification *v, const fbq_record *record, contest *c)
{
    memset(c, 0, sizeof *c);
    c->record = record;
    c->rivals = 1 + v->o->besides;
    take_default(&c->rival[0], record, &v->u.gpu);
    for (int i = 0; i < v->o->besides; i++) {
        c->rival[1 + i].file = v->o->beside[i];
        take_pick(&c->rival[1 + i], v->beside[i], record, &v->u.gpu);
    }
}

static void time_all(verification *v, contest *c, const fbq_pick *with)
{
    fbq_pick others[1 + MOST_BESIDE];
    int count = 0;
    for (int i = 0; i < c->rivals; i++)
        if (c->rival[i].there)
            others[count++] = c->rival[i].pick;
    v->u.timed = take_time;
    v->u.refused = take_refusal;
    v->u.user = c;
    tuner_verify(&v->u, c->record, with, others, count, &c->t);
}

/* ---- What is said of it ---- */

static int is_measured(const contest *c)
{
    return !c->t.why[0] && c->t.result.end == SEARCH_DONE;
}

static int is_timed(const contest *c, const rival *r)
{
    return is_measured(c) && r->there && !r->why[0] && r->us > 0;
}

/* A record holds unless the default is faster beyond doubt, as in a search. Picks of other files
 * have no say: that one of them is faster makes this one no worse than the default. */
static int holds(const contest *c)
{
    const rival *first = &c->rival[0];
    return is_measured(c) && !(is_timed(c, first) && first->ratio.high < 1 - SEARCH_MARGIN);
}

static void verdict_of(const contest *c, char *text, size_t bytes)
{
    const rival *first = &c->rival[0];
    if (c->t.why[0])
        snprintf(text, bytes, "%s", c->t.why);
    else if (c->t.result.end == SEARCH_DISTURBED)
        snprintf(text, bytes, "something else uses the GPU; no time means anything");
    else if (c->t.result.end != SEARCH_DONE)
        snprintf(text, bytes, "cannot be measured");
    else if (!holds(c))
        snprintf(text, bytes, "the default is faster: %.2f us", first->us);
    else if (is_of(first, c->record))
        snprintf(text, bytes, "holds: it is the default");
    else if (is_timed(c, first))
        snprintf(text, bytes, "holds: the default takes %.2f us", first->us);
    else
        snprintf(text, bytes, "holds: the default cannot be run: %s", first->why);
}

static json_t *rival_to_json(const contest *c, const rival *r)
{
    char pick[256];
    const int timed = is_timed(c, r);
    fbq_pick_print(&r->pick, pick, sizeof pick);
    return json_pack("{s:s, s:s?, s:s?, s:o, s:o, s:s}", "file", r->file, "rung",
                     r->there ? rung_name(r->rung) : NULL, "pick", r->there ? pick : NULL, "us",
                     timed ? json_real(r->us) : json_null(), "ratio",
                     timed ? interval_to_json(r->ratio) : json_null(), "why", r->why);
}

static void rival_print(const contest *c, const rival *r)
{
    char pick[256];
    printf("    beside %s: ", r->file);
    if (!r->there) {
        printf("no pick: %s\n", r->why);
        return;
    }
    fbq_pick_print(&r->pick, pick, sizeof pick);
    const int same = is_of(r, c->record);
    printf("%s (%s)", same ? "the same pick" : pick, rung_name(r->rung));
    if (r->why[0])
        printf(" cannot be run: %s", r->why);
    else if (!is_timed(c, r))
        printf(" not timed");
    else if (!same)
        printf(" %.2f us, %.3f of the record's", r->us, r->ratio.median);
    if (is_timed(c, r) && !same && isfinite(r->ratio.low))
        printf(" [%.3f .. %.3f]", r->ratio.low, r->ratio.high);
    printf("\n");
}

static void tell_json(const verification *v, const contest *c, const char *verdict)
{
    json_t *object = json_pack("{s:o, s:s, s:f}", "record", record_to_json(c->record), "verdict",
                               verdict, "us", c->t.result.us);
    json_t *beside = v->o->besides ? json_array() : NULL;
    for (int i = 1; i < c->rivals; i++)
        json_array_append_new(beside, rival_to_json(c, &c->rival[i]));
    if (beside)
        json_object_set_new(object, "beside", beside);
    json_array_append_new(v->list, object);
}

static void tell(const verification *v, const contest *c)
{
    const fbq_record *record = c->record;
    char shape[128], format[128], pick[256], verdict[1024];
    verdict_of(c, verdict, sizeof verdict);
    if (v->list) {
        tell_json(v, c, verdict);
        return;
    }
    record_shape(record, shape, sizeof shape);
    record_format(record, format, sizeof format);
    fbq_pick_print(&record->pick, pick, sizeof pick);
    printf("%s | %s | m %d | %s | recorded %.2f us, now %.2f | %s\n", format, shape,
           record->problem.m_max, pick, 1e-3 * (double)record->median_ns, c->t.result.us, verdict);
    for (int i = 1; i < c->rivals; i++)
        rival_print(c, &c->rival[i]);
    fflush(stdout);
}

/* ---- The command ---- */

/* All records that are wanted and made here. */
static outcome verify_all(verification *v)
{
    outcome end = OUTCOME_DONE;
    int held = 0, count = 0;
    for (size_t i = 0; i < fbq_wisdom_count(v->wisdom); i++) {
        const fbq_record *record = fbq_wisdom_record(v->wisdom, i);
        const int down = record->pick.kernel == FBQ_KERNEL_DOWN;
        contest c;
        fbq_pick with;
        if (!record_wanted(record, v->o) || !is_here(v->wisdom, record, &v->u.gpu) ||
            (down && !with_of(v->wisdom, record, &v->u.gpu, &with)))
            continue;
        if (session_over(&v->u)) {
            end = OUTCOME_PARTLY;
            break;
        }
        gather(v, record, &c);
        time_all(v, &c, down ? &with : NULL);
        count++;
        held += holds(&c);
        tell(v, &c);
    }
    fprintf(stderr, "fbq-tune: verify: %d of %d records of this GPU hold%s\n", held, count,
            session_over(&v->u) ? "; stopped before the end" : "");
    return held < count ? OUTCOME_PARTLY : end;
}

/* All files. One of --beside that is not there is a mistake, where no wisdom is none yet. */
static outcome read_all(verification *v)
{
    v->wisdom = records_read(v->o, v->o->file);
    for (int i = 0; i < v->o->besides && v->wisdom; i++) {
        if (access(v->o->beside[i], F_OK) != 0)
            return failed(v->o, OUTCOME_FAILED, "cannot open %s: %s", v->o->beside[i],
                          strerror(errno));
        v->beside[i] = records_read(v->o, v->o->beside[i]);
        if (!v->beside[i])
            return OUTCOME_FAILED;
    }
    return v->wisdom ? OUTCOME_DONE : OUTCOME_FAILED;
}

outcome command_verify(const options *o)
{
    verification v;
    outcome end;
    memset(&v, 0, sizeof v);
    v.o = o;
    end = read_all(&v);
    if (end == OUTCOME_DONE)
        end = session_open(o, &v.u);
    if (end == OUTCOME_DONE) {
        v.list = o->json ? json_array() : NULL;
        end = verify_all(&v);
        tuner_close(&v.u);
    }
    fbq_wisdom_free(v.wisdom);
    for (int i = 0; i < o->besides; i++)
        fbq_wisdom_free(v.beside[i]);
    if (v.list) {
        const outcome printed = json_print(o, v.list);
        end = end == OUTCOME_DONE ? printed : end;
    }
    return end;
}
