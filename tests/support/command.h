/* tests/support/command.h: run a program as a user does, and files and folders to run it on.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_COMMAND_H
#define FBQ_TESTS_COMMAND_H

#include <stddef.h>

typedef struct command_run {
    int status; /* the exit status, or -1 when a signal ended it */
    char out[1 << 16], err[1 << 16];
} command_run;

/* Run words[0] with these words, NULL at their end. Aborts when it cannot be started, or says more
 * than there is room for. */
void command_run_words(const char *const *words, command_run *run);

/* An empty folder of this name, whatever was there; and no such folder. */
void folder_fresh(const char *path);
void folder_remove(const char *path);

/* Names in a folder; 0 when there is no such folder. */
int folder_count(const char *path);

/* Abort when it cannot be done. */
void file_write(const char *path, const void *bytes, size_t count);
/* The bytes, released with free, and a NUL behind them. */
char *file_read(const char *path, size_t *count);

#endif
