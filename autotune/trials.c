/* trials.c: see trials.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "trials.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* A killed process that the driver still holds is waited for so long, then left behind. */
#define REAP_SECONDS 30

double trials_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int say(trials *t, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(t->text, sizeof t->text, format, values);
    va_end(values);
    return 0;
}

/* A pipe that a child does not inherit unless told to. */
static int pipe_open(int ends[2])
{
    if (pipe(ends) != 0)
        return 0;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 1;
}

static void pipe_close(int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

/* In a process group of its own, so that an interrupt at the keyboard reaches this process alone.
 */
static int spawn(trials *t, int in, int out)
{
    char *words[] = {(char *)t->program, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    int result = posix_spawn_file_actions_init(&files);
    if (result)
        return result;
    result = posix_spawnattr_init(&how);
    if (!result) {
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        result = posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
        if (!result)
            result = posix_spawnattr_setsigdefault(&how, &pipe);
        if (!result)
            result = posix_spawn_file_actions_adddup2(&files, in, 0);
        if (!result)
            result = posix_spawn_file_actions_adddup2(&files, out, 1);
        if (!result)
            result = posix_spawn(&t->child, t->program, &files, &how, words, environ);
        posix_spawnattr_destroy(&how);
    }
    posix_spawn_file_actions_destroy(&files);
    return result;
}

int trials_start(trials *t)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, result;
    if (t->child)
        return 1;
    if (!pipe_open(in) || !pipe_open(out)) {
        say(t, "a pipe to %s: %s", t->program, strerror(errno));
        pipe_close(in);
        pipe_close(out);
        return 0;
    }
    result = spawn(t, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    if (result) {
        t->child = 0;
        close(in[1]);
        close(out[0]);
        return say(t, "%s cannot be run: %s", t->program, strerror(result));
    }
    t->to = in[1];
    t->from = out[0];
    t->used = 0;
    fcntl(t->to, F_SETFL, O_NONBLOCK);
    return 1;
}

/* Its end, waited for; how it ended, where that is known. */
static void reap(trials *t, int *status)
{
    const double end = trials_now() + REAP_SECONDS;
    pid_t ended = 0;
    *status = 0;
    while ((ended = waitpid(t->child, status, WNOHANG)) == 0 && trials_now() < end)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    if (ended == 0)
        fprintf(stderr, "fbq-tune: process %ld was killed and does not end; it is left behind\n",
                (long)t->child);
    t->child = 0;
}

void trials_end(trials *t)
{
    int status;
    if (!t->child)
        return;
    kill(t->child, SIGKILL);
    close(t->to);
    close(t->from);
    reap(t, &status);
}

/* There is nothing more to come from the child: why. */
static answer died(trials *t, const char *what)
{
    int status;
    /* one that has closed its output may be about to end with a status that says why */
    const double end = trials_now() + 1;
    siginfo_t info;
    memset(&info, 0, sizeof info);
    while (waitid(P_PID, (id_t)t->child, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0 && trials_now() < end)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    kill(t->child, SIGKILL);
    close(t->to);
    close(t->from);
    reap(t, &status);
    if (what)
        say(t, "%s", what);
    else if (WIFSIGNALED(status))
        say(t, "it was ended by signal %d", WTERMSIG(status));
    else
        say(t, "it ended with status %d", WEXITSTATUS(status));
    return ANSWER_DIED;
}

static answer killed(trials *t, answer how, const char *why)
{
    trials_end(t);
    say(t, "%s", why);
    return how;
}

/* Wait for the child to read or to write. */
static answer wait_for(trials *t, int file, short events, double end)
{
    for (;;) {
        struct pollfd p = {file, events, 0};
        const double left = end - trials_now();
        if (*t->stop)
            return killed(t, ANSWER_STOPPED, "interrupted");
        if (left <= 0)
            return killed(t, ANSWER_HUNG, "it did not answer in time");
        /* a signal between the look at *stop and the wait is seen a tenth of a second later */
        const int ready = poll(&p, 1, left < 0.1 ? (int)(left * 1000) + 1 : 100);
        if (ready > 0)
            return ANSWER_OK;
        if (ready < 0 && errno != EINTR)
            return died(t, strerror(errno));
    }
}

static answer put(trials *t, const char *text, size_t length, double end)
{
    while (length > 0) {
        const ssize_t wrote = write(t->to, text, length);
        if (wrote >= 0) {
            text += wrote;
            length -= (size_t)wrote;
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return died(t, NULL);
        const answer a = wait_for(t, t->to, POLLOUT, end);
        if (a != ANSWER_OK)
            return a;
    }
    return ANSWER_OK;
}

/* The next line, without its newline. */
static answer get(trials *t, char *line, size_t bytes, double end)
{
    for (;;) {
        char *newline = memchr(t->got, '\n', t->used);
        if (newline) {
            const size_t length = (size_t)(newline - t->got);
            if (length >= bytes)
                return died(t, "its answer is too long");
            memcpy(line, t->got, length);
            line[length] = 0;
            t->used -= length + 1;
            memmove(t->got, newline + 1, t->used);
            return ANSWER_OK;
        }
        if (t->used == sizeof t->got)
            return died(t, "its answer is too long");
        const answer a = wait_for(t, t->from, POLLIN, end);
        if (a != ANSWER_OK)
            return a;
        const ssize_t count = read(t->from, t->got + t->used, sizeof t->got - t->used);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return died(t, NULL);
        t->used += (size_t)count;
    }
}

static int begins(const char *line, const char *word)
{
    const size_t length = strlen(word);
    return !strncmp(line, word, length) && (line[length] == ' ' || !line[length]);
}

answer trials_ask(trials *t, double seconds, void (*each)(void *user, const char *line), void *user,
                  const char *format, ...)
{
    const double end = trials_now() + seconds;
    char line[sizeof t->text];
    va_list values;
    answer a;
    va_start(values, format);
    const int length = vsnprintf(NULL, 0, format, values);
    va_end(values);
    char *text = malloc((size_t)length + 2);
    if (!text) {
        say(t, "no memory for a request");
        return ANSWER_NO;
    }
    va_start(values, format);
    vsnprintf(text, (size_t)length + 1, format, values);
    va_end(values);
    text[length] = '\n';
    a = t->child ? put(t, text, (size_t)length + 1, end) : ANSWER_DIED;
    free(text);
    while (a == ANSWER_OK) {
        a = get(t, line, sizeof line, end);
        if (a != ANSWER_OK)
            break;
        const answer said = begins(line, "ok")                              ? ANSWER_OK
                            : begins(line, "wrong")                         ? ANSWER_WRONG
                            : begins(line, "broken")                        ? ANSWER_DIED
                            : begins(line, "no") || begins(line, "spoiled") ? ANSWER_NO
                                                                            : ANSWER_STOPPED;
        if (said == ANSWER_STOPPED && !each)
            return died(t, "its answer makes no sense");
        if (said == ANSWER_STOPPED) {
            each(user, line);
            continue;
        }
        const char *const blank = strchr(line, ' ');
        if (said == ANSWER_DIED || line[0] == 's')
            died(t, blank ? blank + 1 : "");
        else
            say(t, "%s", blank ? blank + 1 : "");
        return said;
    }
    return a;
}
