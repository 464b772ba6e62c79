/* tuner.c: see tuner.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* flock, O_NOFOLLOW */
#include "tuner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gpus.h"

/* Seconds that opening a GPU, making a problem's layers, and compiling so many picks may take. A
 * kernel takes the compiler up to a few seconds. */
#define OPEN_SECONDS 60
#define PROBLEM_SECONDS 120
#define COMPILE_SECONDS(count) (60 + 5 * (count))
/* A pick that is predicted to take more of the default's time than this does not replace it:
 * predictions of picks that are alike are off by up to a tenth. */
#define ESTIMATE_MARGIN 0.9
/* Picks that are compiled before the time is looked at. */
#define AT_ONCE 64

/* Children that cannot be brought to work before the tuner gives up, and picks that break one, with
 * none between that does not. */
#define MOST_LOST 3
#define MOST_BLAMED 16

static int say(char *why, size_t bytes, const char *what, const char *text)
{
    snprintf(why, bytes, "%s%s", what, text);
    return 0;
}

/* ---- The GPU ---- */

/* What a child says of its GPU. */
typedef struct description {
    fbq_gpu gpu;
    int nvrtc, driver;
    char uuid[64];
} description;

static int gpu_parse(const char *text, description *d)
{
    fbq_gpu *g = &d->gpu;
    int at = 0;
    memset(d, 0, sizeof *d);
    if (sscanf(text,
               "capability=%d sms=%d shared_block=%d shared_sm=%d registers_sm=%d nvrtc=%d "
               "driver=%d uuid=%63s name=%n",
               &g->capability, &g->sms, &g->shared_block, &g->shared_sm, &g->registers_sm,
               &d->nvrtc, &d->driver, d->uuid, &at) != 8 ||
        !at || strlen(text + at) >= sizeof g->name || strchr(d->uuid, '/'))
        return 0;
    strcpy(g->name, text + at);
    return 1;
}

/* One tuning a GPU at a time, whoever's: two would measure each other. The lock ends with this
 * process. Another user's file can be locked, though not made. */
static int gpu_lock(tuner *u, char *why, size_t bytes)
{
    char path[128];
    snprintf(path, sizeof path, P_tmpdir "/fbq-tune-%s.lock", u->uuid);
    u->lock = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (u->lock >= 0)
        fchmod(u->lock, 0666); /* whatever the umask; fails for another user's, which is well */
    else
        u->lock = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (u->lock < 0 || flock(u->lock, LOCK_EX | LOCK_NB) != 0) {
        if (u->lock >= 0 && errno == EWOULDBLOCK)
            return say(why, bytes, "another fbq-tune is at work on this GPU: ", u->gpu.name);
        snprintf(why, bytes, "cannot lock %s: %s", path, strerror(errno));
        return 0;
    }
    return 1;
}

/* A child that has the GPU: the same one as the child before. */
static int child_start(tuner *u)
{
    description d;
    if (!trials_start(&u->t) ||
        trials_ask(&u->t, OPEN_SECONDS, NULL, NULL, "gpu %d %d", u->device, u->sms) != ANSWER_OK)
        return 0;
    if (gpu_parse(u->t.text, &d) &&
        (!u->open || (!strcmp(d.uuid, u->uuid) && !memcmp(&d.gpu, &u->gpu, sizeof d.gpu)))) {
        u->gpu = d.gpu;
        if (gpus_speed(d.gpu.name))
            u->speed = *gpus_speed(d.gpu.name);
        u->nvrtc = d.nvrtc;
        u->driver = d.driver;
        strcpy(u->uuid, d.uuid);
        return 1;
    }
    trials_end(&u->t);
    strcpy(u->t.text,
           u->open ? "another GPU is there now" : "the GPU's description makes no sense");
    return 0;
}

int tuner_open(tuner *u, const char *program, const volatile sig_atomic_t *stop, char *why,
               size_t bytes)
{
    memset(&u->t, 0, sizeof u->t);
    memset(&u->gpu, 0, sizeof u->gpu);
    u->t.program = program;
    u->t.stop = stop;
    u->lock = u->q.file = -1;
    u->open = 0;
    if (!child_start(u))
        say(why, bytes, "", u->t.text);
    else if (gpu_lock(u, why, bytes))
        u->open = quarantine_open(&u->q, u->wisdom, u->uuid, u->note, why, bytes);
    if (!u->open)
        tuner_close(u);
    return u->open;
}

void tuner_close(tuner *u)
{
    trials_end(&u->t);
    quarantine_close(&u->q);
    if (u->lock >= 0)
        close(u->lock);
    u->lock = -1;
    u->open = 0;
}

/* ---- One problem ---- */

typedef struct job {
    tuner *u;
    space s;
    tuned *out;
    const fbq_pick *with;
    char *fit;        /* of each pick: it is compiled and right, as far as it was tried */
    char *timed;      /* of each pick: it was timed once, and lived */
    int lost, blamed; /* since something last worked */
    int given_up;
} job;

static fbq_record record_of(const job *j, int which)
{
    fbq_record r = j->out->record;
    r.pick = j->s.pick[which];
    return r;
}

static int given_up(job *j, const char *what)
{
    j->given_up = 1;
    snprintf(j->out->why, sizeof j->out->why, "%.100s: %.900s", what, j->u->t.text);
    return 0;
}

static void refuse(const job *j, int which, const char *why)
{
    const fbq_record r = record_of(j, which);
    if (j->u->refused)
        j->u->refused(j->u->user, &r, why);
}

/* "fit 3", "unfit 4 pick.warps ...". */
static void take_fit(void *user, const char *line)
{
    job *j = user;
    int which, why = 0;
    if (sscanf(line, "fit %d", &which) == 1 && which >= 0 && which < j->s.count)
        j->fit[which] = 1;
    else if (sscanf(line, "unfit %d %n", &which, &why) == 1 && why && which >= 0 &&
             which < j->s.count)
        refuse(j, which, line + why);
}

static answer compile(job *j, const int *which, int count)
{
    char text[256];
    size_t used = 0, room = (size_t)count * (sizeof text + 16) + 1;
    char *list = malloc(room);
    answer a = ANSWER_NO;
    if (!list)
        return a;
    for (int i = 0; i < count; i++) {
        j->fit[which[i]] = 0;
        fbq_pick_print(&j->s.pick[which[i]], text, sizeof text);
        used += (size_t)snprintf(list + used, room - used, "\n%d %s", which[i], text);
    }
    a = trials_ask(&j->u->t, COMPILE_SECONDS(count), take_fit, j, "compile %d%s", count, list);
    free(list);
    return a;
}

/* Ask a child that has the GPU for the problem's layers. */
static answer begin(job *j)
{
    trials *t = &j->u->t;
    char line[FBQ_RECORD_BYTES];
    const fbq_record r = record_of(j, 0);
    fbq_record_print(&r, line, sizeof line);
    answer a = trials_ask(t, PROBLEM_SECONDS, NULL, NULL, "problem %s", line);
    if (a == ANSWER_OK && j->with) {
        fbq_pick_print(j->with, line, sizeof line);
        a = trials_ask(t, PROBLEM_SECONDS, NULL, NULL, "with %s", line);
    }
    return a;
}

static int job_stop(void *user)
{
    const job *j = user;
    return j->given_up || *j->u->t.stop || (j->u->end > 0 && trials_now() >= j->u->end);
}

/* A child that can be asked: after one was lost another, with all that it had but what was blamed.
 * 0: there is none, or no time for one. */
static int restore(job *j)
{
    if (job_stop(j) || j->u->t.child)
        return !job_stop(j);
    int *which = malloc((size_t)j->s.count * sizeof *which), count = 0;
    for (int i = 0; i < j->s.count && which; i++)
        if (j->fit[i])
            which[count++] = i;
    while (which && !j->u->t.child && !job_stop(j)) {
        if (child_start(j->u) && begin(j) == ANSWER_OK &&
            (!count || compile(j, which, count) == ANSWER_OK)) {
            j->lost = 0;
        } else {
            trials_end(&j->u->t);
            if (++j->lost >= MOST_LOST && !*j->u->t.stop)
                given_up(j, "trials end again and again");
        }
    }
    free(which);
    return j->u->t.child && !job_stop(j);
}

static const char *word_of(answer a)
{
    return a == ANSWER_HUNG ? "hung" : a == ANSWER_DIED ? "died" : "wrong";
}

/* A pick broke a trial. */
static void blame(job *j, int which, answer a)
{
    char pick[256], text[1400];
    const fbq_record r = record_of(j, which);
    j->fit[which] = 0;
    j->out->blamed++;
    refuse(j, which, j->u->t.text);
    fbq_pick_print(&r.pick, pick, sizeof pick);
    snprintf(text, sizeof text, "%s %s: %s", pick, word_of(a), j->u->t.text);
    j->u->note(text);
    if (!quarantine_add(&j->u->q, &r, word_of(a), j->u->t.text, text, sizeof text))
        j->u->note(text);
    if (++j->blamed == MOST_BLAMED)
        given_up(j, "pick after pick breaks");
}

/* Is the pick in hand to be blamed for an answer? */
static int is_fault(answer a)
{
    return a == ANSWER_DIED || a == ANSWER_HUNG || a == ANSWER_WRONG;
}

/* Compile so many: side by side, or, where that ends the child, one by one, so that the one that
 * does it is known. */
static void compile_some(job *j, const int *which, int count)
{
    if (!restore(j) || !is_fault(compile(j, which, count)))
        return;
    for (int i = 0; i < count; i++)
        j->fit[which[i]] = 0;
    for (int i = 0; i < count && restore(j); i++) {
        const fbq_record r = record_of(j, which[i]);
        if (which[i])
            quarantine_try(&j->u->q, &r);
        const answer a = compile(j, &which[i], 1);
        if (is_fault(a))
            blame(j, which[i], a);
        else if (a == ANSWER_OK)
            j->blamed = 0;
        quarantine_try(&j->u->q, NULL);
    }
}

/* Ask for something that runs a pick. Its name is on the disk before that where `first` says so,
 * but for the first of a space, the default: whoever kills this process while that runs must not
 * lose it, for nothing can be compared without it. */
static answer try(job *j, const char *request, int which, int first)
{
    const fbq_record r = record_of(j, which);
    if (which && first)
        quarantine_try(&j->u->q, &r);
    const answer a = trials_ask(&j->u->t, j->u->patience, NULL, NULL, "%s %d", request, which);
    if (a == ANSWER_OK)
        j->blamed = 0;
    else if (is_fault(a))
        blame(j, which, a);
    else {
        j->fit[which] = 0;
        if (a == ANSWER_NO)
            refuse(j, which, j->u->t.text);
    }
    if (which && first)
        quarantine_try(&j->u->q, NULL);
    return a;
}

static void job_prepare(void *user, const int *which, int count, char *fit)
{
    job *j = user;
    int *wanted = malloc((size_t)count * sizeof *wanted), wanteds = 0;
    for (int i = 0; i < count && wanted; i++) {
        const fbq_record r = record_of(j, which[i]);
        if (quarantine_has(&j->u->q, &r)) {
            j->out->passed_over++;
            refuse(j, which[i], "it is in quarantine");
        } else
            wanted[wanteds++] = which[i];
    }
    for (int i = 0; i < wanteds; i += AT_ONCE)
        compile_some(j, wanted + i, wanteds - i < AT_ONCE ? wanteds - i : AT_ONCE);
    for (int i = 0; i < wanteds; i++)
        if (j->fit[wanted[i]] && restore(j) && j->fit[wanted[i]])
            try(j, "check", wanted[i], 1);
    for (int i = 0; i < count; i++)
        fit[i] = j->fit[which[i]];
    free(wanted);
}

/* The number behind "ok"; 0 when that is none. */
static double number_of(const trials *t)
{
    char *end;
    const double value = strtod(t->text, &end);
    return end != t->text && value > 0 && value < 1e9 ? value : 0;
}

static double job_time(void *user, int which)
{
    job *j = user;
    if (!j->fit[which] || !restore(j) || !j->fit[which])
        return 0;
    const answer a = try(j, "time", which, !j->timed[which]);
    const double us = a == ANSWER_OK ? number_of(&j->u->t) : 0;
    j->timed[which] = 1;
    if (a == ANSWER_OK && !(us > 0))
        refuse(j, which, "its time makes no sense");
    return us;
}

static double job_floor(void *user)
{
    job *j = user;
    for (int i = 0; i < 2 && restore(j); i++)
        if (trials_ask(&j->u->t, j->u->patience, NULL, NULL, "floor") == ANSWER_OK)
            return number_of(&j->u->t);
    return 0;
}

static void job_drop(void *user, int which)
{
    job *j = user;
    j->fit[which] = 0;
    if (j->u->t.child)
        trials_ask(&j->u->t, j->u->patience, NULL, NULL, "forget %d", which);
}

static void job_timed(void *user, int which, double us, search_interval ratio)
{
    const job *j = user;
    const fbq_record r = record_of(j, which);
    if (j->u->timed)
        j->u->timed(j->u->user, &r, us, ratio);
}

static void date_now(char date[FBQ_DATE_BYTES])
{
    const time_t t = time(NULL);
    struct tm utc;
    gmtime_r(&t, &utc);
    strftime(date, FBQ_DATE_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void describe(tuner *u, const fbq_problem *problem, fbq_kernel kernel, tuned *t)
{
    memset(t, 0, sizeof *t);
    t->record.problem = *problem;
    t->record.gpu = u->gpu;
    t->record.epoch = FBQ_KERNEL_EPOCH;
    t->record.rigor = u->rigor;
    t->record.nvrtc = u->nvrtc;
    t->record.driver = u->driver;
    t->record.source = fbq_source_hash();
    t->record.pick.kernel = t->first.kernel = kernel;
    date_now(t->record.date);
}

/* Is a pick right still, after all the runs in which it was timed? */
static answer check_again(job *j, int which)
{
    answer a = ANSWER_STOPPED;
    if (restore(j))
        a = j->fit[which] ? try(j, "check", which, 1) : ANSWER_NO;
    if (a == ANSWER_STOPPED && !j->given_up)
        j->out->result.end = SEARCH_STOPPED;
    return a;
}

/* Unless what won is seen to be right still, it did not win. */
static void check_best(job *j)
{
    const int best = j->out->result.best;
    answer a;
    if (best == 0 || j->out->result.end != SEARCH_DONE)
        return;
    a = check_again(j, best);
    if (a != ANSWER_STOPPED && a != ANSWER_OK && !j->given_up)
        snprintf(j->out->why, sizeof j->out->why, "the fastest pick failed a second check: %.900s",
                 j->u->t.text);
}

/* What was only compared: each that is wrong by now is refused after all. */
static void check_others(job *j)
{
    for (int i = 1; i < j->s.count && j->out->result.end == SEARCH_DONE && !j->given_up; i++)
        if (j->timed[i] && j->fit[i])
            check_again(j, i);
}

/* Search a space, which is released. */
static int run(tuner *u, const fbq_pick *with, const search_effort *effort, space *s, tuned *t)
{
    job j;
    memset(&j, 0, sizeof j);
    j.u = u;
    j.s = *s;
    j.out = t;
    j.with = with;
    j.fit = calloc((size_t)s->count, 1);
    j.timed = calloc((size_t)s->count, 1);
    t->record.pick = t->first = s->pick[0];
    const search_calls calls = {job_prepare, job_time,  job_floor, job_stop,
                                job_drop,    job_timed, &j};
    if (!j.fit || !j.timed)
        say(t->why, sizeof t->why, "", "no memory");
    else if (u->t.child && begin(&j) != ANSWER_OK && u->t.child)
        given_up(&j, "the layers cannot be made");
    if (t->why[0])
        t->result.end = SEARCH_NOTHING;
    else
        search_run(&j.s, effort, &calls, &t->result);
    if (effort->compare)
        check_others(&j);
    else
        check_best(&j);
    t->record.pick = s->pick[t->result.best];
    t->record.median_ns = (int64_t)(t->result.us * 1e3 + 0.5);
    t->record.spread_ns = (int64_t)(t->result.spread * 1e3 + 0.5);
    free(j.fit);
    free(j.timed);
    space_free(s);
    return !t->why[0];
}

/* The default, and so many of the others, drawn by xorshift64*. */
static void draw(space *s, int count)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (int i = 1; i < s->count && i <= count; i++) {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        const int other = i + (int)(state * 0x2545f4914f6cdd1du % (uint64_t)(s->count - i));
        const fbq_pick pick = s->pick[i];
        s->pick[i] = s->pick[other];
        s->pick[other] = pick;
    }
    s->count = s->count > count + 1 ? count + 1 : s->count;
}

/* A default that broke a trial before cannot be what others are compared with: the nearest to it
 * takes its place. Returns how many were taken out. */
static int without_default(tuner *u, const fbq_record *like, space *s)
{
    fbq_record r = *like;
    int out = 0;
    for (; s->count > 1; out++) {
        r.pick = s->pick[0];
        if (!quarantine_has(&u->q, &r))
            break;
        s->count--;
        memmove(s->pick, s->pick + 1, (size_t)s->count * sizeof *s->pick);
    }
    if (out)
        u->note("the default is in quarantine; another pick takes its place here, though programs "
                "without a record still use it");
    return out;
}

/* The fastest of a space, which is released, by prediction; of what is not predicted the default.
 */
static int estimate(space *s, tuned *t)
{
    int best = 0;
    for (int i = 1; i < s->count && s->us; i++)
        if (s->us[i] > 0 && s->us[i] < (best ? s->us[best] : ESTIMATE_MARGIN * s->us[0]))
            best = i;
    t->first = s->pick[0];
    t->record.pick = s->pick[best];
    t->result.best = best;
    t->result.us = s->us ? s->us[best] : 0;
    t->result.default_us = s->us ? s->us[0] : 0;
    t->record.median_ns = (int64_t)(t->result.us * 1e3 + 0.5);
    space_free(s);
    return 1;
}

int tuner_run(tuner *u, const fbq_problem *problem, fbq_kernel kernel, const fbq_pick *with,
              tuned *t)
{
    search_effort effort = search_effort_of(u->rigor);
    space s;
    fbq_pick shipped;
    fbq_found found;
    fbq_error error;
    describe(u, problem, kernel, t);
    if (space_of(problem, &u->gpu, kernel, &s, &error) != FBQ_OK)
        return say(t->why, sizeof t->why, "", error.detail);
    /* what programs use that know nothing of this tuning */
    if (fbq_pick_shipped(problem, &u->gpu, kernel, &shipped, &found, NULL) == FBQ_OK &&
        found.rung == FBQ_RUNG_SHIPPED)
        space_early(&s, &shipped);
    t->passed_over = without_default(u, &t->record, &s);
    if (u->survey) {
        draw(&s, u->survey);
        effort = (search_effort){s.count, 0, 1, 7, 7, 0};
    } else if (kernel == FBQ_KERNEL_FUSED && u->speed.bandwidth > 0)
        space_predict(&s, problem, &u->gpu, &u->speed);
    if (u->rigor == FBQ_RIGOR_ESTIMATE)
        return estimate(&s, t);
    return run(u, with, &effort, &s, t);
}

/* Behind those that are there, unless it is one of them. */
static void add_new(space *s, const fbq_pick *pick)
{
    for (int i = 0; i < s->count; i++)
        if (!memcmp(&s->pick[i], pick, sizeof *pick))
            return;
    s->pick[s->count++] = *pick;
}

int tuner_verify(tuner *u, const fbq_record *record, const fbq_pick *with, const fbq_pick *others,
                 int count, tuned *t)
{
    const int passes = search_effort_of(FBQ_RIGOR_PATIENT).passes;
    space s = {malloc((size_t)(count + 1) * sizeof *s.pick), NULL, 0, 0};
    fbq_error error;
    describe(u, &record->problem, record->pick.kernel, t);
    if (!s.pick)
        return say(t->why, sizeof t->why, "", "no memory");
    if (fbq_pick_check(&record->problem, &u->gpu, &record->pick, &error) != FBQ_OK) {
        space_free(&s);
        return say(t->why, sizeof t->why, "", error.detail);
    }
    add_new(&s, &record->pick);
    for (int i = 0; i < count; i++)
        add_new(&s, &others[i]);
    return run(u, with, &(search_effort){s.count, 0, 1, passes, passes, 1}, &s, t);
}
