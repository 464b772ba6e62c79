/* session.c: see session.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* sigaction, readlink */
#include "session.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

volatile sig_atomic_t session_interrupted;

static void interrupt(int signal)
{
    (void)signal;
    session_interrupted = 1;
}

static void note(const char *sentence)
{
    fprintf(stderr, "fbq-tune: %s\n", sentence);
}

/* The program that measures: as given, or beside this one. */
static int trial_path(const options *o, char *path, size_t bytes)
{
    char self[3800];
    if (o->trial)
        return snprintf(path, bytes, "%s", o->trial) < (int)bytes;
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return 0;
    self[length] = 0;
    char *const slash = strrchr(self, '/');
    if (!slash)
        return 0;
    *slash = 0;
    return snprintf(path, bytes, "%s/fbq-trial", self) < (int)bytes;
}

/* An interrupt ends the trial in hand, not this process: what it found is in the file. What was
 * ignored when this program was started (nohup) still is. */
static void catch_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = interrupt;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ends[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

const char *session_begin(const options *o)
{
    static char program[4096];
    catch_signals();
    if (trial_path(o, program, sizeof program))
        return program;
    failed(o, OUTCOME_LACKING, "where is fbq-trial? --trial PROGRAM says so");
    return NULL;
}

outcome session_open(const options *o, tuner *u)
{
    const char *const program = session_begin(o);
    char why[1024];
    memset(u, 0, sizeof *u);
    u->wisdom = o->file;
    u->rigor = o->rigor;
    u->device = o->device;
    u->sms = o->sms;
    u->patience = o->patience;
    u->end = o->budget > 0 ? trials_now() + o->budget : 0;
    u->note = note;
    if (!program)
        return OUTCOME_LACKING;
    if (!tuner_open(u, program, &session_interrupted, why, sizeof why))
        return failed(o, OUTCOME_LACKING, "%s", why);
    return OUTCOME_DONE;
}

int session_over(const tuner *u)
{
    return session_interrupted || (u->end > 0 && trials_now() >= u->end);
}
