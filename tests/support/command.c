/* tests/support/command.c: see command.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700 /* nftw */
#include "command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(int good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "tests: %s: %s\n", what, strerror(errno));
    abort();
}

/* Into a file, since two pipes would have to be read side by side. */
static void take_output(FILE *f, char *text, size_t most)
{
    rewind(f);
    const size_t count = fread(text, 1, most, f);
    must(count < most, "room for a command's output");
    text[count] = 0;
    fclose(f);
}

void command_run_words(const char *const *words, command_run *run)
{
    int status;
    FILE *out = tmpfile(), *err = tmpfile();
    must(out && err, "tmpfile");
    fflush(NULL);
    const pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) {
        const int nothing = open("/dev/null", O_RDONLY);
        dup2(nothing, 0);
        dup2(fileno(out), 1);
        dup2(fileno(err), 2);
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    must(waitpid(child, &status, 0) == child, "waitpid");
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    must(run->status != 127, words[0]);
    take_output(out, run->out, sizeof run->out);
    take_output(err, run->err, sizeof run->err);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void folder_fresh(const char *path)
{
    folder_remove(path);
    must(mkdir(path, 0777) == 0, path);
}

int folder_count(const char *path)
{
    int count = 0;
    DIR *folder = opendir(path);
    const struct dirent *entry;
    while (folder && (entry = readdir(folder)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (folder)
        closedir(folder);
    return count;
}

void file_write(const char *path, const void *bytes, size_t count)
{
    FILE *f = fopen(path, "wb");
    must(f && fwrite(bytes, 1, count, f) == count, path);
    must(fclose(f) == 0, path);
}

char *file_read(const char *path, size_t *count)
{
    struct stat about;
    must(stat(path, &about) == 0, path);
    char *bytes = malloc((size_t)about.st_size + 1);
    FILE *f = fopen(path, "rb");
    must(f && bytes, path);
    *count = fread(bytes, 1, (size_t)about.st_size, f);
    must(*count == (size_t)about.st_size, path);
    bytes[*count] = 0;
    fclose(f);
    return bytes;
}
