/* verify.c: fbq-tune verify: do records still hold? Each pick is timed again beside the default.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* The record in hand, and what else was timed beside it: its default. */
typedef struct beside {
    const fbq_record *record;
    double us; /* 0: the record is the default */
} beside;

static void take_time(void *user, const fbq_record *record, double us, search_interval ratio)
{
    beside *b = user;
    (void)ratio;
    if (memcmp(&record->pick, &b->record->pick, sizeof record->pick) != 0)
        b->us = us;
}

static void verdict_of(const tuned *t, double default_us, char *text, size_t bytes)
{
    const search_result *r = &t->result;
    if (t->why[0])
        snprintf(text, bytes, "%s", t->why);
    else if (r->end == SEARCH_DISTURBED)
        snprintf(text, bytes, "something else uses the GPU; no time means anything");
    else if (r->end != SEARCH_DONE)
        snprintf(text, bytes, "cannot be measured");
    else if (r->best)
        snprintf(text, bytes, "the default is faster: %.2f us", r->us);
    else if (default_us > 0)
        snprintf(text, bytes, "holds: the default takes %.2f us", default_us);
    else
        snprintf(text, bytes, "holds: it is the default");
}

static void tell(const fbq_record *record, const tuned *t, double default_us, json_t *list)
{
    char shape[128], format[128], pick[256], verdict[1024];
    verdict_of(t, default_us, verdict, sizeof verdict);
    record_shape(record, shape, sizeof shape);
    record_format(record, format, sizeof format);
    fbq_pick_print(&record->pick, pick, sizeof pick);
    if (list)
        json_array_append_new(list, json_pack("{s:o, s:s, s:f}", "record", record_to_json(record),
                                              "verdict", verdict, "us", t->result.default_us));
    else
        printf("%s | %s | m %d | %s | recorded %.2f us, now %.2f | %s\n", format, shape,
               record->problem.m_max, pick, 1e-3 * (double)record->median_ns, t->result.default_us,
               verdict);
    fflush(stdout);
}

/* All records that are wanted and made here. */
static outcome verify_all(const options *o, tuner *u, const fbq_wisdom *wisdom, json_t *list)
{
    outcome end = OUTCOME_DONE;
    int held = 0, count = 0;
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++) {
        const fbq_record *record = fbq_wisdom_record(wisdom, i);
        const int down = record->pick.kernel == FBQ_KERNEL_DOWN;
        beside other = {record, 0};
        fbq_pick with;
        tuned t;
        if (!record_wanted(record, o) || !is_here(wisdom, record, &u->gpu) ||
            (down && !with_of(wisdom, record, &u->gpu, &with)))
            continue;
        if (session_over(u)) {
            end = OUTCOME_PARTLY;
            break;
        }
        count++;
        u->timed = take_time;
        u->user = &other;
        tuner_verify(u, record, down ? &with : NULL, &t);
        if (!t.why[0] && t.result.end == SEARCH_DONE && !t.result.best)
            held++;
        else
            end = OUTCOME_PARTLY;
        tell(record, &t, other.us, list);
    }
    fprintf(stderr, "fbq-tune: verify: %d of %d records of this GPU hold%s\n", held, count,
            session_over(u) ? "; stopped before the end" : "");
    return end;
}

outcome command_verify(const options *o)
{
    tuner u;
    fbq_wisdom *const wisdom = records_read(o, o->file);
    json_t *list = NULL;
    outcome end = wisdom ? session_open(o, &u) : OUTCOME_FAILED;
    if (end == OUTCOME_DONE) {
        list = o->json ? json_array() : NULL;
        end = verify_all(o, &u, wisdom, list);
        tuner_close(&u);
    }
    fbq_wisdom_free(wisdom);
    if (list) {
        const outcome printed = json_print(o, list);
        end = end == OUTCOME_DONE ? printed : end;
    }
    return end;
}
