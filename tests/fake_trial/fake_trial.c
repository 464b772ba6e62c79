/* tests/fake_trial/fake_trial.c: plays fbq-trial, and a GPU with it: answers as autotune/trials.h
 * says, and misbehaves as the environment tells it to.
 *
 *     FAKE_TRIAL_FASTEST  the pick that takes 4 us; others take 5 % more for each unit of
 *                         distance (space_distance). Without: all take 4
 *     FAKE_TRIAL_PLANT    faults, each "HOW REQUEST PART", with semicolons between: asked about a
 *                         pick whose text holds PART (any, where it is empty) it will die, hang,
 *                         answer no, wrong, broken, spoiled, nan or rubbish, say too much, be
 *                         wrong behind the first times (late), or call it unfit (compile)
 *     FAKE_TRIAL_LOG      a file that gets a line for each request, with the process's number
 *     FAKE_TRIAL_GPU      the GPU's UUID; with "*" at its end one for each process
 *     FAKE_TRIAL_SLOWLY   milliseconds that a check lasts
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* prctl */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "../../autotune/space.h"

enum { PICKS = 1 << 16 };

static fbq_pick picks[PICKS];
static char known[PICKS];
static int measured;
static char cubins[256]; /* the folder */

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static void note(const char *line)
{
    FILE *log = *setting("FAKE_TRIAL_LOG") ? fopen(setting("FAKE_TRIAL_LOG"), "a") : NULL;
    if (!log)
        return;
    fprintf(log, "%ld %s", (long)getpid(), line);
    fclose(log);
}

static void wait_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* 1: the request was answered already, in a way that was planted; 2: a pick is not fit. */
static int misbehave(const char *request, const char *text)
{
    char plants[1024], how[16], at[16];
    snprintf(plants, sizeof plants, "%s", setting("FAKE_TRIAL_PLANT"));
    for (char *next, *plant = plants; plant && *plant; plant = next) {
        int used = 0;
        next = strchr(plant, ';');
        if (next)
            *next++ = 0;
        if (sscanf(plant, "%15s %15s %n", how, at, &used) < 2 || strcmp(at, request) ||
            !strstr(text, plant + used))
            continue;
        if (!strcmp(how, "die"))
            abort();
        for (; !strcmp(how, "hang"); wait_ms(1000))
            ;
        if (!strcmp(how, "unfit"))
            return 2;
        if (!strcmp(how, "late")) { /* wrong, but not the first time */
            if (measured == 0)
                return 0;
            printf("wrong by now\n");
            return 1;
        }
        printf(!strcmp(how, "no")        ? "no such luck\n"
               : !strcmp(how, "wrong")   ? "wrong y is not what it should be\n"
               : !strcmp(how, "broken")  ? "broken by this pick\n"
               : !strcmp(how, "spoiled") ? "spoiled by another pick\n"
               : !strcmp(how, "nan")     ? "ok nan\n"
               : !strcmp(how, "much")    ? "%01100d\n"
                                         : "rubbish%d\n",
               0);
        return 1;
    }
    return 0;
}

static double time_of(int which)
{
    fbq_pick fastest;
    double us = 4;
    if (fbq_pick_parse(setting("FAKE_TRIAL_FASTEST"), &fastest, NULL) == FBQ_OK &&
        fastest.kernel == picks[which].kernel)
        us *= 1 + 0.05 * space_distance(&fastest, &picks[which]);
    return us * (1 + 0.002 * (measured++ * 7 % 11 - 5)); /* one percent of noise */
}

static void compile(int count)
{
    static char line[512];
    int which[4096], used = 0;
    for (int i = 0; i < count && i < 4096 && fgets(line, sizeof line, stdin); i++) {
        which[i] = -1;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "%d %n", &which[i], &used) == 1 && which[i] >= 0 && which[i] < PICKS)
            known[which[i]] = fbq_pick_parse(line + used, &picks[which[i]], NULL) == FBQ_OK;
    }
    for (int i = 0; i < count; i++) {
        fbq_pick_print(&picks[which[i]], line, sizeof line);
        const int planted = misbehave("compile", line);
        if (planted == 1)
            return;
        printf(planted ? "unfit %d it spills\n" : "fit %d\n", which[i]);
    }
    printf("ok\n");
}

/* The second start finds what the first one left in its folder. */
static void start(void)
{
    char path[300];
    snprintf(path, sizeof path, "%s/kernel.cubin", cubins);
    const int compiled = access(path, F_OK) != 0;
    FILE *left = fopen(path, "w");
    if (left)
        fclose(left);
    printf("ok 8.125 %s 0.031 %d\n", compiled ? "895.21" : "1.04", compiled);
}

static void answer_one(char *line)
{
    char request[16], pick[256] = "";
    fbq_record record;
    int used = 0, which = -1, sms = 0;
    if (sscanf(line, "%15s %n", request, &used) != 1)
        return;
    const char *rest = line + used;
    if (!strcmp(request, "check") || !strcmp(request, "time")) {
        which = atoi(rest);
        if (which < 0 || which >= PICKS || !known[which]) {
            printf("no there is no pick %d\n", which);
            return;
        }
        fbq_pick_print(&picks[which], pick, sizeof pick);
    }
    if (strcmp(request, "compile") && misbehave(request, which < 0 ? rest : pick))
        return;
    if (!strcmp(request, "gpu")) {
        char uuid[64];
        snprintf(uuid, sizeof uuid, "%s", setting("FAKE_TRIAL_GPU"));
        if (uuid[strcspn(uuid, "*")])
            snprintf(uuid + strcspn(uuid, "*"), 24, "-%ld", (long)getpid());
        sscanf(rest, "%*d %d %255s", &sms, cubins);
        sms = sms ? (sms + 1) / 2 * 2 : 132; /* a green context has an even number */
        printf("ok capability=90 sms=%d shared_block=232448 shared_sm=233472 registers_sm=65536 "
               "nvrtc=13000 driver=13000 uuid=%s name=NVIDIA H200\n",
               sms, uuid);
    } else if (!strcmp(request, "problem")) {
        memset(known, 0, sizeof known);
        printf(fbq_record_parse(rest, &record, NULL) == FBQ_OK ? "ok\n" : "no such record\n");
    } else if (!strcmp(request, "compile"))
        compile(atoi(rest));
    else if (!strcmp(request, "check")) {
        wait_ms(atol(setting("FAKE_TRIAL_SLOWLY")));
        printf("ok 0.0002\n");
    } else if (!strcmp(request, "time"))
        printf("ok %.5f\n", time_of(which));
    else if (!strcmp(request, "start"))
        start();
    else if (!strcmp(request, "floor"))
        printf("ok 3.1\n");
    else
        printf("ok\n");
}

int main(void)
{
    static char line[2048];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (fgets(line, sizeof line, stdin)) {
        note(line);
        line[strcspn(line, "\n")] = 0;
        answer_one(line);
        fflush(stdout);
    }
    return 0;
}
