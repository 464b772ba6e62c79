/* tune.c: fbq-tune tune: problem by problem, each result in the file before the next begins.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpus.h"
#include "problems.h"
#include "records.h"
#include "session.h"

/* A run of the command. */
typedef struct run {
    const options *o;
    tuner u;
    json_t *problems; /* of the report, NULL without --json */
    FILE *log;        /* NULL: none */
    double begin;
    int done, left, missed; /* problems: tuned now, still to be tuned, that could not be */
} run;

static int64_t ranks_of(const fbq_problem *problem)
{
    int64_t ranks = 0;
    for (int i = 0; i < problem->shape.segments; i++)
        ranks += problem->shape.segment[i].r;
    return ranks;
}

/* Does the file have a record of the kernel, of these device sources and no less rigor? */
static int has_record(const fbq_wisdom *wisdom, const fbq_problem *problem, const tuner *u,
                      fbq_kernel kernel, fbq_pick *pick)
{
    fbq_found found;
    return fbq_wisdom_find(wisdom, problem, &u->gpu, kernel, pick, &found, NULL) == FBQ_OK &&
           found.rung == FBQ_RUNG_EXACT && found.record.rigor >= u->rigor &&
           found.record.source == fbq_source_hash();
}

static int tuned_already(const fbq_wisdom *wisdom, const fbq_problem *problem, const tuner *u)
{
    fbq_pick fused, down;
    return has_record(wisdom, problem, u, FBQ_KERNEL_FUSED, &fused) &&
           (fused.slices > 0 || !ranks_of(problem) ||
            has_record(wisdom, problem, u, FBQ_KERNEL_DOWN, &down));
}

/* A line that two records share when one would take the other's place. */
static int key_of(const fbq_record *record, const fbq_record *found, char *line)
{
    fbq_record r = *found;
    r.problem = record->problem;
    r.gpu = record->gpu;
    r.epoch = record->epoch;
    return record->pick.kernel == found->pick.kernel &&
           fbq_record_print(&r, line, FBQ_RECORD_BYTES) < FBQ_RECORD_BYTES;
}

/* Is a record of more rigor in the way of what was found, though other device sources made it? */
static int outdated(const fbq_record *record, void *user)
{
    const fbq_record *found = user;
    char line[2][FBQ_RECORD_BYTES];
    return record->source != found->source && record->rigor > found->rigor &&
           key_of(record, found, line[0]) && key_of(found, found, line[1]) &&
           !strcmp(line[0], line[1]);
}

/* Into the file, at once. */
static outcome keep(const options *o, const tuned *t, int count)
{
    fbq_wisdom *wisdom = NULL;
    fbq_error error;
    fbq_status status = fbq_wisdom_new(&wisdom, &error);
    for (int i = 0; i < count && status == FBQ_OK; i++) {
        status = fbq_wisdom_add(wisdom, &t[i].record, &error);
        if (status == FBQ_OK && t[i].record.rigor < FBQ_RIGOR_PATIENT)
            status = fbq_wisdom_forget(o->file, outdated, (void *)&t[i].record, NULL, &error);
    }
    if (status == FBQ_OK)
        status = fbq_wisdom_write(wisdom, o->file, &error);
    fbq_wisdom_free(wisdom);
    return status == FBQ_OK ? OUTCOME_DONE : failed(o, OUTCOME_FAILED, "%s", error.detail);
}

/* ---- What is said of it ---- */

static const char *end_of(const tuned *t)
{
    static const char *const ends[] = {"done", "stopped", "disturbed", "nothing to measure",
                                       "no memory"};
    return t->why[0] ? "failed" : ends[t->result.end];
}

static void report(run *r, const tuned *t)
{
    char first[256];
    fbq_pick_print(&t->first, first, sizeof first);
    if (r->problems)
        json_array_append_new(
            r->problems,
            json_pack("{s:s, s:o?, s:s, s:f, s:f, s:i, s:i, s:i, s:i, s:i, s:s}", "end", end_of(t),
                      "record", t->first.warps ? record_to_json(&t->record) : NULL, "default",
                      first, "us", t->result.us, "default_us", t->result.default_us, "tried",
                      t->result.tried, "unfit", t->result.refused, "blamed", t->blamed,
                      "passed_over", t->passed_over, "repeated", t->result.repeated, "why",
                      t->why));
}

/* A line of --log. */
static void log_time(void *user, const fbq_record *record, double us, search_interval ratio)
{
    const run *r = user;
    json_t *line = r->log ? record_to_json(record) : NULL;
    if (!line)
        return;
    json_object_set_new(line, "us", json_real(us));
    json_object_set_new(line, "ratio", interval_to_json(ratio));
    json_dumpf(line, r->log, JSON_COMPACT);
    fputc('\n', r->log);
    fflush(r->log);
    json_decref(line);
}

/* "1:05" */
static void duration(double seconds, char *text, size_t bytes)
{
    const int whole = (int)(seconds + 0.5);
    snprintf(text, bytes, "%d:%02d", whole / 60, whole % 60);
}

static void tell(const run *r, const tuned *t, int number, int count)
{
    char shape[128], format[128], pick[256], left[32];
    const search_result *s = &t->result;
    const double each = (trials_now() - r->begin) / (r->done + r->missed + 1);
    record_shape(&t->record, shape, sizeof shape);
    record_format(&t->record, format, sizeof format);
    fbq_pick_print(&t->record.pick, pick, sizeof pick);
    fprintf(stderr, "[%d/%d] %s, %s, m %d: ", number, count, shape, format,
            t->record.problem.m_max);
    if (t->why[0])
        fprintf(stderr, "%s", t->why);
    else if (s->end == SEARCH_DISTURBED)
        fprintf(stderr, "something else uses the GPU; no time means anything");
    else if (s->end != SEARCH_DONE)
        fprintf(stderr, "%s", end_of(t));
    else if (t->record.rigor == FBQ_RIGOR_ESTIMATE)
        fprintf(stderr, "%s", pick);
    else if (s->best)
        fprintf(stderr, "%.2f us by %s; the default takes %.2f", s->us, pick, s->default_us);
    else
        fprintf(stderr, "%.2f us by the default, %s", s->us, pick);
    if (t->record.rigor == FBQ_RIGOR_ESTIMATE) {
        if (s->us > 0)
            fprintf(stderr, "; predicted %.2f us, the default %.2f", s->us, s->default_us);
        fputc('\n', stderr);
        return;
    }
    fprintf(stderr, "; %d picks tried, %d not fit", s->tried, s->refused);
    if (t->blamed || t->passed_over)
        fprintf(stderr, ", %d blamed, %d passed over", t->blamed, t->passed_over);
    if (s->repeated)
        fprintf(stderr, ", %d rounds repeated", s->repeated);
    duration(each * (r->left - 1), left, sizeof left);
    fprintf(stderr, r->left > 1 ? "; about %s left\n" : "\n", left);
}

/* ---- The work ---- */

/* Fused; and where it leaves t to a launch of down, that too. */
static outcome tune_one(run *r, const fbq_problem *problem, int number, int count)
{
    tuned t[2];
    int records = 1, fine = tuner_run(&r->u, problem, FBQ_KERNEL_FUSED, NULL, &t[0]);
    fine = fine && t[0].result.end == SEARCH_DONE && !t[0].why[0];
    if (fine && ranks_of(problem) && t[0].record.pick.slices == 0) {
        fine = tuner_run(&r->u, problem, FBQ_KERNEL_DOWN, &t[0].record.pick, &t[1]);
        records = 2;
        fine = fine && t[1].result.end == SEARCH_DONE && !t[1].why[0];
    }
    for (int i = 0; i < records; i++) {
        tell(r, &t[i], number, count);
        report(r, &t[i]);
    }
    if (!fine) { /* what was stopped is still to be tuned */
        const int over = t[records - 1].result.end == SEARCH_STOPPED && !t[records - 1].why[0];
        r->missed += !over;
        r->left -= !over;
        return OUTCOME_PARTLY;
    }
    r->left--;
    r->done++;
    return r->o->survey ? OUTCOME_DONE : keep(r->o, t, records);
}

static outcome tune_all(run *r, const fbq_problem *list, int count)
{
    outcome end = OUTCOME_DONE;
    fbq_wisdom *wisdom = records_read(r->o, r->o->file);
    char *skip = calloc((size_t)count, 1);
    if (!wisdom || !skip)
        end = OUTCOME_FAILED;
    r->left = count;
    for (int i = 0; i < count && end == OUTCOME_DONE; i++) {
        skip[i] = (char)(!r->o->again && !r->o->survey && tuned_already(wisdom, &list[i], &r->u));
        r->left -= skip[i];
    }
    fbq_wisdom_free(wisdom);
    if (end == OUTCOME_DONE)
        fprintf(stderr, "fbq-tune: tune: %s, %d SMs: %d problems, %d of them tuned already\n",
                r->u.gpu.name, r->u.gpu.sms, count, count - r->left);
    r->begin = trials_now();
    for (int i = 0; i < count && end != OUTCOME_FAILED && !session_over(&r->u); i++)
        if (!skip[i]) {
            const outcome one = tune_one(r, &list[i], i + 1, count);
            end = one == OUTCOME_DONE ? end : one;
        }
    free(skip);
    if (end == OUTCOME_FAILED)
        return end;
    if (r->left)
        fprintf(stderr, "fbq-tune: tune: %s; the same command goes on from here\n",
                session_interrupted ? "interrupted" : "out of time");
    return r->left || r->missed ? OUTCOME_PARTLY : OUTCOME_DONE;
}

/* A GPU that need not be there, for estimates. */
static void gpu_described(const options *o, tuner *u)
{
    u->rigor = o->rigor;
    u->gpu = *gpus_find(o->gpu);
    u->speed = *gpus_speed(u->gpu.name);
}

outcome command_tune(const options *given)
{
    options o = *given;
    run r;
    int count = 0;
    if (o.has_shape == (o.preset >= 0))
        return failed(&o, OUTCOME_USAGE,
                      "which layers? --preset MODEL or --shape NxK, one of them");
    if (o.gpu && o.rigor != FBQ_RIGOR_ESTIMATE)
        return failed(&o, OUTCOME_USAGE,
                      "--gpu %s: what is not here cannot be measured; --rigor estimate predicts",
                      o.gpu);
    if (!o.ms)
        for (int m = 16; m >= 1; m = m == 4 ? 1 : m / 2)
            o.m[o.ms++] = m;
    if (o.gpu && !gpus_named(o.gpu))
        return OUTCOME_USAGE;
    memset(&r, 0, sizeof r);
    r.o = &o;
    /* a file that cannot be written should not show after an hour of measuring */
    outcome end = keep(&o, NULL, 0);
    fbq_problem *const list = problems_of(&o, &count);
    if (end == OUTCOME_DONE && !list)
        end = failed(&o, OUTCOME_FAILED, "no memory");
    if (end == OUTCOME_DONE && o.log && !(r.log = fopen(o.log, "a")))
        end = failed(&o, OUTCOME_FAILED, "cannot write %s: %s", o.log, strerror(errno));
    if (end == OUTCOME_DONE && o.gpu)
        gpu_described(&o, &r.u);
    else if (end == OUTCOME_DONE)
        end = session_open(&o, &r.u);
    if (end == OUTCOME_DONE) {
        r.u.timed = log_time;
        r.u.user = &r;
        r.u.survey = o.survey;
        r.problems = o.json ? json_array() : NULL;
        end = tune_all(&r, list, count);
        if (r.u.open)
            tuner_close(&r.u);
    }
    free(list);
    if (r.log && fclose(r.log) != 0 && end == OUTCOME_DONE)
        end = failed(&o, OUTCOME_FAILED, "cannot write %s: %s", o.log, strerror(errno));
    if (r.problems) {
        const outcome printed = json_print(&o, json_pack("{s:s, s:i, s:o}", "gpu", r.u.gpu.name,
                                                         "left", r.left, "problems", r.problems));
        end = end == OUTCOME_DONE ? printed : end;
    }
    return end;
}
