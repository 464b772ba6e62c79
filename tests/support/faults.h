/* tests/support/faults.h: the system's calls for files, replaced by some that count, fail or kill
 * when they are told to. For a test that is an implementation unit of its own: include this before
 * fbq.h, and faults_off.h behind it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_FAULTS_H
#define FBQ_TESTS_FAULTS_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef enum fault {
    FAULT_NONE,
    FAULT_ERROR,
    FAULT_KILL_BEFORE,
    FAULT_KILL_AFTER,
    FAULT_FORK /* a child that does nothing until it is killed, with all that is open */
} fault;

static struct {
    fault kind;
    int at, calls, error; /* which call fails, of how many so far, and errno */
    const char *name;     /* of the last that was due */
    const char *only;     /* faults for calls of this name alone, all of them */
    const char *made[64]; /* the first so many, by name */
    pid_t child;
} system_calls;

static int due(const char *name)
{
    const int now = system_calls.only ? !strcmp(name, system_calls.only)
                                      : system_calls.calls == system_calls.at;
    if (system_calls.calls < 64)
        system_calls.made[system_calls.calls] = name;
    system_calls.calls++;
    if (system_calls.kind == FAULT_NONE || !now)
        return 0;
    system_calls.name = name;
    if (system_calls.kind == FAULT_KILL_BEFORE)
        raise(SIGKILL);
    if (system_calls.kind == FAULT_FORK && (system_calls.child = fork()) == 0)
        for (;;)
            pause();
    errno = system_calls.error;
    return system_calls.kind == FAULT_ERROR;
}

/* A call that was due and went through: the process may die right behind it. */
static void done(int this_call)
{
    if (system_calls.kind == FAULT_KILL_AFTER && this_call == system_calls.at)
        raise(SIGKILL);
}

#define FAULTY(result_type, name, parameters, arguments) \
    static result_type faulty_##name parameters          \
    {                                                    \
        const int this_call = system_calls.calls;        \
        result_type result;                              \
        if (due(#name))                                  \
            return -1;                                   \
        result = name arguments;                         \
        done(this_call);                                 \
        return result;                                   \
    }

FAULTY(int, open, (const char *path, int flags, int mode), (path, flags, mode))
FAULTY(ssize_t, read, (int file, void *to, size_t bytes), (file, to, bytes))
FAULTY(int, fsync, (int file), (file))
FAULTY(int, flock, (int file, int how), (file, how))
FAULTY(int, mkdir, (const char *path, mode_t mode), (path, mode))
FAULTY(int, rename, (const char *from, const char *to), (from, to))
FAULTY(int, unlink, (const char *path), (path))

/* Writes in small pieces, as a system may: so that there are many to die between. */
static ssize_t faulty_write(int file, const void *bytes, size_t count)
{
    const int this_call = system_calls.calls;
    ssize_t result;
    if (due("write"))
        return -1;
    result = write(file, bytes, count < 700 ? count : 700);
    done(this_call);
    return result;
}

/* A file is closed, whatever the call says. */
static int faulty_close(int file)
{
    const int this_call = system_calls.calls, failed = due("close"), error = errno;
    const int result = close(file);
    done(this_call);
    errno = failed ? error : errno;
    return failed ? -1 : result;
}

static void faults(fault kind, int at, int error)
{
    memset(&system_calls, 0, sizeof system_calls);
    system_calls.kind = kind;
    system_calls.at = at;
    system_calls.error = error;
}

#define FIRST_TWO_OR_THREE(path, flags, mode, ...) faulty_open(path, flags, mode)
#define open(...) FIRST_TWO_OR_THREE(__VA_ARGS__, 0, 0)
#define read faulty_read
#define write faulty_write
#define fsync faulty_fsync
#define flock faulty_flock
#define mkdir faulty_mkdir
#define rename faulty_rename
#define unlink faulty_unlink
#define close faulty_close

#endif
