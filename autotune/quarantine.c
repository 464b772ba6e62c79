/* quarantine.c: see quarantine.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "quarantine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = FBQ_RECORD_BYTES + 640 }; /* of the file: a word, a record, a sentence */

/* The record's line with nothing in it that differs from run to run. */
static int key_of(const fbq_record *record, char *key)
{
    fbq_record r = *record;
    r.rigor = FBQ_RIGOR_MEASURE;
    r.median_ns = r.spread_ns = 0;
    r.nvrtc = r.driver = 0;
    strcpy(r.date, "1970-01-01T00:00:00Z");
    return fbq_record_print(&r, key, FBQ_RECORD_BYTES) < FBQ_RECORD_BYTES &&
           strcmp(key, "no record") != 0;
}

/* A key that stands at the begin of a text, up to the end of its checksum. */
static int key_in(const char *text, char *key)
{
    const char *sum = strstr(text, " sum=");
    const size_t length = sum ? (size_t)(sum - text) + 5 + 16 : 0;
    fbq_record record;
    if (!sum || length >= FBQ_RECORD_BYTES || strlen(text) < length)
        return 0;
    memcpy(key, text, length);
    key[length] = 0;
    return fbq_record_parse(key, &record, NULL) == FBQ_OK;
}

static int known(const quarantine *q, const char *key)
{
    for (int i = 0; i < q->count; i++)
        if (!strcmp(q->line[i], key))
            return 1;
    return 0;
}

static int remember(quarantine *q, const char *key)
{
    char *copy = strdup(key), **grown;
    if (!copy)
        return 0;
    grown = realloc(q->line, (size_t)(q->count + 1) * sizeof *grown);
    if (!grown) {
        free(copy);
        return 0;
    }
    q->line = grown;
    q->line[q->count++] = copy;
    return 1;
}

static int failed(char *why, size_t bytes, const char *what, const char *path)
{
    snprintf(why, bytes, "%s %.3000s: %s", what, path, strerror(errno));
    return 0;
}

/* One line behind the others, at once: several tunings may do so. */
static int append(const quarantine *q, const char *word, const char *key, const char *reason,
                  char *why, size_t bytes)
{
    char line[LINE], last = '\n';
    const int file = open(q->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file < 0)
        return failed(why, bytes, "cannot write", q->path);
    const off_t end = lseek(file, 0, SEEK_END);
    if (end > 0 && pread(file, &last, 1, end - 1) != 1)
        last = 0;
    /* behind a line that was cut begins another */
    int length = snprintf(line, sizeof line, "%s%s %s %.500s\n", last == '\n' ? "" : "\n", word,
                          key, reason);
    if (length >= (int)sizeof line)
        length = (int)sizeof line - 1;
    const int done = write(file, line, (size_t)length) == length && fdatasync(file) == 0;
    if (!done)
        failed(why, bytes, "cannot write", q->path);
    close(file);
    return done;
}

int quarantine_has(const quarantine *q, const fbq_record *record)
{
    char key[FBQ_RECORD_BYTES];
    return key_of(record, key) && known(q, key);
}

int quarantine_add(quarantine *q, const fbq_record *record, const char *word, const char *reason,
                   char *why, size_t bytes)
{
    char key[FBQ_RECORD_BYTES];
    if (!key_of(record, key) || known(q, key))
        return 1;
    errno = ENOMEM;
    const int kept = remember(q, key) || failed(why, bytes, "no memory for", q->path);
    return append(q, word, key, reason, why, bytes) && kept;
}

void quarantine_try(quarantine *q, const fbq_record *record)
{
    char key[FBQ_RECORD_BYTES] = "";
    if (q->file < 0 || (record && !key_of(record, key)))
        return;
    /* shorter first, so that no moment shows one pick's begin with another's end */
    if (ftruncate(q->file, 0) != 0 || pwrite(q->file, key, strlen(key), 0) < 0)
        return;
    fdatasync(q->file);
}

static int read_lines(quarantine *q, char *why, size_t bytes)
{
    char line[LINE], key[FBQ_RECORD_BYTES];
    FILE *file = fopen(q->path, "re");
    int fine = 1;
    if (!file)
        return errno == ENOENT || failed(why, bytes, "cannot read", q->path);
    /* a line that was cut, or is longer than any of ours, holds no key */
    while (fine && fgets(line, sizeof line, file)) {
        const char *record = strchr(line, ' ');
        if (record && key_in(record + 1, key) && !known(q, key))
            fine = remember(q, key);
    }
    fine = fine && !ferror(file);
    if (!fine)
        failed(why, bytes, "cannot read", q->path);
    fclose(file);
    return fine;
}

/* What an earlier tuning left in `trying`. */
static int blame(quarantine *q, void (*blamed)(const char *sentence), char *why, size_t bytes)
{
    char text[FBQ_RECORD_BYTES + 1], key[FBQ_RECORD_BYTES];
    const ssize_t length = pread(q->file, text, sizeof text - 1, 0);
    if (length < 0)
        return failed(why, bytes, "cannot read", q->trying);
    text[length] = 0;
    if (!key_in(text, key) || known(q, key))
        return 1;
    if (blamed)
        blamed("an earlier tuning ended while a pick was tried; that pick is not tried again");
    return remember(q, key) &&
           append(q, "died", key, "the tuning ended while it was tried", why, bytes);
}

int quarantine_open(quarantine *q, const char *wisdom, const char *gpu,
                    void (*blamed)(const char *sentence), char *why, size_t bytes)
{
    memset(q, 0, sizeof *q);
    snprintf(q->path, sizeof q->path, "%s.quarantine", wisdom);
    snprintf(q->trying, sizeof q->trying, "%s.trying-%s", wisdom, gpu);
    q->file = open(q->trying, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (q->file < 0)
        return failed(why, bytes, "cannot write", q->trying);
    q->is_open = read_lines(q, why, bytes) && blame(q, blamed, why, bytes);
    return q->is_open;
}

void quarantine_close(quarantine *q)
{
    for (int i = 0; i < q->count; i++)
        free(q->line[i]);
    free(q->line);
    if (q->file >= 0) {
        close(q->file);
        if (q->is_open)
            unlink(q->trying);
    }
    memset(q, 0, sizeof *q);
    q->file = -1;
}
