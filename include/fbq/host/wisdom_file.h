/* fbq/host/wisdom_file.h: wisdom in a file that many processes read and write, and that is whole
 * whenever one of them dies.
 *
 * Writing: lock PATH.lock, read PATH, merge, write PATH.tmp, fsync it, rename it to PATH, fsync the
 * folder. The lock belongs to the open file (flock), so that the kernel takes it back from a
 * process that dies, and threads exclude each other too; PATH.tmp can have one name, since only the
 * holder of the lock writes it. Readers need no lock: what PATH names is always a whole file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_WISDOM_FILE_H
#define FBQ_HOST_WISDOM_FILE_H

#include "posix.h"

#include <sys/file.h>
#include <time.h>

#include "files.h"
#include "wisdom.h"

#define FBQ__WISDOM_MOST_BYTES (64 << 20) /* a file that is longer is not wisdom */

/* How long a writer waits for others. */
#ifndef FBQ_LOCK_SECONDS
#define FBQ_LOCK_SECONDS 10
#endif

fbq_status fbq_wisdom_path(char *path, size_t bytes, fbq_error *error)
{
    return fbq__cache_path("wisdom", path, bytes, error);
}

/* ---- Reading ---- */

/* A damaged line: the first is told of. */
static void fbq__wisdom_warn(fbq_wisdom *wisdom, const char *path, size_t line, const char *why)
{
    if (wisdom->damaged++ == 0)
        snprintf(wisdom->warning, sizeof wisdom->warning, "%.200s:%zu: %.250s", path, line, why);
}

static fbq_status fbq__wisdom_take_text(fbq_wisdom *wisdom, const char *path, const char *text,
                                        size_t bytes, fbq_error *error)
{
    size_t number = 1;
    for (size_t at = 0; at < bytes; number++) {
        const char *line = text + at, *end = (const char *)memchr(line, '\n', bytes - at);
        const size_t length = end ? (size_t)(end - line) : bytes - at;
        fbq_record record;
        fbq_error why;
        fbq_status status;
        at += length + 1;
        if (length == 0 || line[0] == '#')
            continue;
        status = fbq__record_read(line, length, &record, &why);
        if (status == FBQ_OK)
            FBQ__TRY(fbq__wisdom_take(wisdom, &record, error));
        else if (status == FBQ_ERR_UNSUPPORTED) {
            FBQ__TRY(fbq__list_append(&wisdom->later, line, length, 1, error));
            FBQ__TRY(fbq__list_append(&wisdom->later, "\n", 1, 1, error));
        } else
            fbq__wisdom_warn(wisdom, path, number, why.detail);
    }
    return FBQ_OK;
}

fbq_status fbq_wisdom_read(fbq_wisdom *wisdom, const char *path, fbq_error *error)
{
    fbq__list text = {NULL, 0, 0};
    fbq_status status;
    FBQ__NOT_NULL(wisdom, error);
    FBQ__NOT_NULL(path, error);
    status = fbq__file_read(path, FBQ__WISDOM_MOST_BYTES, &text, error);
    if (status == FBQ_OK)
        status = fbq__wisdom_take_text(wisdom, path, text.items, text.count, error);
    FBQ_FREE(text.items);
    return status;
}

/* ---- Writing ---- */

/* Open and lock PATH.lock; the caller closes it. It is never removed: who waits for it would then
 * hold another file than who comes later. */
static fbq_status fbq__lock(const char *path, int *out, fbq_error *error)
{
    const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    const struct timespec pause = {0, 5000000};
    char name[FBQ__PATH_BYTES];
    int file, tries = FBQ_LOCK_SECONDS * 200;
    FBQ__TRY(fbq__path_join(name, path, ".lock", error));
    file = open(name, flags, 0600);
    if (file < 0 && errno == ENOENT) {
        FBQ__TRY(fbq__folders_make(path, error));
        file = open(name, flags, 0600);
    }
    if (file < 0)
        return fbq__file_fail(error, "open", name);
    while (flock(file, LOCK_EX | LOCK_NB) != 0) {
        fbq_status status = FBQ_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            status = fbq__file_fail(error, "lock", name);
        else if (tries-- == 0)
            status = fbq__fail(error, FBQ_ERR_LOCK, 0,
                               "another process has held %.300s for %d seconds: see which (fuser), "
                               "or try again",
                               name, FBQ_LOCK_SECONDS);
        if (status != FBQ_OK) {
            close(file);
            return status;
        }
        nanosleep(&pause, NULL);
    }
    *out = file;
    return FBQ_OK;
}

/* A whole file at `path` that has reached the disk. */
static fbq_status fbq__file_write(const char *path, const fbq__list *text, fbq_error *error)
{
    fbq_status status = FBQ_OK;
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0)
        return fbq__file_fail(error, "open", path);
    if (!fbq__write_all(file, text->items, text->count))
        status = fbq__file_fail(error, "write", path);
    else if (fsync(file) != 0)
        status = fbq__file_fail(error, "fsync", path);
    if (close(file) != 0 && status == FBQ_OK)
        status = fbq__file_fail(error, "close", path);
    return status;
}

/* Put PATH.tmp in place. A file with damaged lines stays beside it as PATH.bad. */
static fbq_status fbq__file_replace(const char *path, const char *temporary, int keep,
                                    fbq_error *error)
{
    char name[FBQ__PATH_BYTES];
    int folder;
    if (keep) {
        FBQ__TRY(fbq__path_join(name, path, ".bad", error));
        if ((unlink(name) != 0 && errno != ENOENT) || link(path, name) != 0)
            return fbq__file_fail(error, "keep damaged lines in", name);
    }
    if (rename(temporary, path) != 0)
        return fbq__file_fail(error, "put the new file in place of", path);
    fbq__folder_of(path, name);
    folder = open(name, O_RDONLY | O_CLOEXEC);
    if (folder < 0)
        return fbq__file_fail(error, "open the folder", name);
    /* some file systems have no fsync for folders */
    if (fsync(folder) != 0 && errno != EINVAL) {
        close(folder);
        return fbq__file_fail(error, "fsync the folder", name);
    }
    close(folder);
    return FBQ_OK;
}

static fbq_status fbq__wisdom_text(const fbq_wisdom *wisdom, fbq__list *text, fbq_error *error)
{
    static const char heading[] = "# fbq's tuning: one record a line, each with its checksum\n";
    char line[FBQ_RECORD_BYTES + 1];
    FBQ__TRY(fbq__list_append(text, heading, sizeof heading - 1, 1, error));
    for (size_t i = 0; i < wisdom->records.count; i++) {
        const int length = fbq_record_print(fbq__wisdom_at(wisdom, i), line, FBQ_RECORD_BYTES);
        line[length] = '\n';
        FBQ__TRY(fbq__list_append(text, line, (size_t)length + 1, 1, error));
    }
    if (wisdom->later.count == 0)
        return FBQ_OK;
    return fbq__list_append(text, wisdom->later.items, wisdom->later.count, 1, error);
}

/* A change to what a file holds. */
typedef struct fbq__wisdom_change {
    const fbq_wisdom *add;                             /* NULL: nothing */
    int (*drop)(const fbq_record *record, void *user); /* NULL: nothing */
    void *user;
    size_t dropped;
} fbq__wisdom_change;

static void fbq__wisdom_drop(fbq_wisdom *wisdom, fbq__wisdom_change *change)
{
    size_t kept = 0;
    for (size_t i = 0; i < wisdom->records.count; i++)
        if (!change->drop(fbq__wisdom_at(wisdom, i), change->user))
            *fbq__wisdom_at(wisdom, kept++) = *fbq__wisdom_at(wisdom, i);
    change->dropped = wisdom->records.count - kept;
    wisdom->records.count = kept;
}

/* With the lock held; `held` is empty. */
static fbq_status fbq__wisdom_apply(fbq__wisdom_change *change, const char *path, fbq_wisdom *held,
                                    fbq__list *text, fbq_error *error)
{
    char temporary[FBQ__PATH_BYTES];
    FBQ__TRY(fbq__path_join(temporary, path, ".tmp", error));
    FBQ__TRY(fbq_wisdom_read(held, path, error));
    for (size_t i = 0; change->add && i < change->add->records.count; i++)
        FBQ__TRY(fbq__wisdom_take(held, fbq__wisdom_at(change->add, i), error));
    if (change->drop)
        fbq__wisdom_drop(held, change);
    FBQ__TRY(fbq__wisdom_text(held, text, error));
    FBQ__TRY(fbq__file_write(temporary, text, error));
    return fbq__file_replace(path, temporary, held->damaged > 0, error);
}

static fbq_status fbq__wisdom_change_file(fbq__wisdom_change *change, const char *path,
                                          fbq_error *error)
{
    fbq__list text = {NULL, 0, 0};
    fbq_wisdom *held = NULL;
    fbq_status status;
    int lock;
    FBQ__TRY(fbq_wisdom_new(&held, error));
    status = fbq__lock(path, &lock, error);
    if (status == FBQ_OK) {
        status = fbq__wisdom_apply(change, path, held, &text, error);
        close(lock);
    }
    FBQ_FREE(text.items);
    fbq_wisdom_free(held);
    return status;
}

fbq_status fbq_wisdom_write(const fbq_wisdom *wisdom, const char *path, fbq_error *error)
{
    fbq__wisdom_change change = {wisdom, NULL, NULL, 0};
    FBQ__NOT_NULL(wisdom, error);
    FBQ__NOT_NULL(path, error);
    return fbq__wisdom_change_file(&change, path, error);
}

fbq_status fbq_wisdom_forget(const char *path, int (*drop)(const fbq_record *record, void *user),
                             void *user, size_t *dropped, fbq_error *error)
{
    fbq__wisdom_change change = {NULL, drop, user, 0};
    FBQ__NOT_NULL(path, error);
    FBQ__NOT_NULL(drop, error);
    FBQ__TRY(fbq__wisdom_change_file(&change, path, error));
    if (dropped)
        *dropped = change.dropped;
    return FBQ_OK;
}

#endif /* FBQ_HOST_WISDOM_FILE_H */
