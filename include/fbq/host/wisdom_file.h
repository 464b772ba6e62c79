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

/* What a file begins with. */
static const char fbq__heading[] = "# fbq's tuning: one record a line, each with its checksum";

static int fbq__is_heading(const char *line, size_t length)
{
    return length == sizeof fbq__heading - 1 && !memcmp(line, fbq__heading, length);
}

/* A line at the end of a list of lines, unless it is there. */
static fbq_status fbq__line_keep(fbq__list *lines, const char *line, size_t length,
                                 fbq_error *error)
{
    for (size_t at = 0; at < lines->count;) {
        const char *there = lines->items + at;
        const size_t span = (size_t)((const char *)memchr(there, '\n', lines->count - at) - there);
        if (span == length && !memcmp(there, line, length))
            return FBQ_OK;
        at += span + 1;
    }
    FBQ__TRY(fbq__list_append(lines, line, length, 1, error));
    return fbq__list_append(lines, "\n", 1, 1, error);
}

/* All the lines of one list at the end of another. */
static fbq_status fbq__lines_keep(fbq__list *lines, const fbq__list *more, fbq_error *error)
{
    for (size_t at = 0; at < more->count;) {
        const char *line = more->items + at;
        const size_t span = (size_t)((const char *)memchr(line, '\n', more->count - at) - line);
        FBQ__TRY(fbq__line_keep(lines, line, span, error));
        at += span + 1;
    }
    return FBQ_OK;
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
        int whole = 1;
        at += length + 1;
        if (length == 0 || fbq__is_heading(line, length))
            continue;
        if (line[0] != '#' && fbq__record_read(line, length, &whole, &record, &why) == FBQ_OK) {
            FBQ__TRY(fbq__wisdom_take(wisdom, &record, error));
            continue;
        }
        if (!whole)
            fbq__wisdom_warn(wisdom, path, number, why.detail);
        FBQ__TRY(fbq__line_keep(whole ? &wisdom->kept : &wisdom->broken, line, length, error));
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

/* Open PATH.lock, and make it and its folders where they are missing. */
static fbq_status fbq__lock_open(const char *name, const char *path, int *file, fbq_error *error)
{
    const int flags = O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    *file = open(name, flags, 0666);
    if (*file < 0 && errno == ENOENT) {
        FBQ__TRY(fbq__folders_make(path, error));
        *file = open(name, flags, 0666);
    }
    return *file < 0 ? fbq__file_fail(error, "open", name) : FBQ_OK;
}

/* Is the open file still the one of that name? Somebody may have removed it. */
static int fbq__still_named(int file, const char *name)
{
    struct stat open_one, named;
    return fstat(file, &open_one) == 0 && stat(name, &named) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

static double fbq__clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Open and lock PATH.lock; fbq__unlock ends it. It is never removed: who waits for it would then
 * hold another file than who comes later. */
static fbq_status fbq__lock(const char *path, int *out, fbq_error *error)
{
    const struct timespec pause = {0, 5000000};
    const double deadline = fbq__clock() + FBQ_LOCK_SECONDS;
    char name[FBQ__PATH_BYTES];
    int file;
    FBQ__TRY(fbq__path_join(name, path, ".lock", error));
    FBQ__TRY(fbq__lock_open(name, path, &file, error));
    for (;;) {
        if (flock(file, LOCK_EX | LOCK_NB) == 0) {
            if (fbq__still_named(file, name)) {
                *out = file;
                return FBQ_OK;
            }
            close(file);
            FBQ__TRY(fbq__lock_open(name, path, &file, error));
        } else if (errno != EWOULDBLOCK && errno != EINTR) {
            const fbq_status status = fbq__file_fail(error, "lock", name);
            close(file);
            return status;
        }
        if (fbq__clock() > deadline) {
            close(file);
            return fbq__fail(error, FBQ_ERR_LOCK, 0,
                             "another process has held %.300s for %d seconds: see which (fuser), "
                             "or try again",
                             name, FBQ_LOCK_SECONDS);
        }
        nanosleep(&pause, NULL);
    }
}

/* Closing alone would leave it to a child that was forked meanwhile. */
static void fbq__unlock(int file)
{
    flock(file, LOCK_UN);
    close(file);
}

/* A whole file at `path` that has reached the disk, with the mode and owner of `like` where there
 * is one and this may be done; in place of what a process that died may have left there. */
static fbq_status fbq__file_write(const char *path, const char *like, const fbq__list *text,
                                  fbq_error *error)
{
    fbq_status status = FBQ_OK;
    struct stat about;
    int file;
    if (unlink(path) != 0 && errno != ENOENT)
        return fbq__file_fail(error, "remove", path);
    file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (file < 0)
        return fbq__file_fail(error, "open", path);
    if (stat(like, &about) == 0 &&
        (fchown(file, about.st_uid, about.st_gid) == 0 || about.st_uid == geteuid()))
        (void)!fchmod(file, about.st_mode & 0777);
    if (!fbq__write_all(file, text->items, text->count))
        status = fbq__file_fail(error, "write", path);
    else if (fsync(file) != 0)
        status = fbq__file_fail(error, "fsync", path);
    if (close(file) != 0 && status == FBQ_OK)
        status = fbq__file_fail(error, "close", path);
    if (status != FBQ_OK)
        unlink(path); /* a full disk wants its place back */
    return status;
}

/* Damaged lines at the end of PATH.bad, so that nothing is lost. */
static fbq_status fbq__broken_write(const char *path, const fbq__list *lines, fbq_error *error)
{
    char name[FBQ__PATH_BYTES];
    fbq_status status = FBQ_OK;
    int file;
    FBQ__TRY(fbq__path_join(name, path, ".bad", error));
    file = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (file < 0)
        return fbq__file_fail(error, "open", name);
    if (!fbq__write_all(file, lines->items, lines->count))
        status = fbq__file_fail(error, "write", name);
    if (close(file) != 0 && status == FBQ_OK)
        status = fbq__file_fail(error, "close", name);
    return status;
}

/* Put PATH.tmp in place. */
static fbq_status fbq__file_replace(const char *path, const char *temporary, fbq_error *error)
{
    char name[FBQ__PATH_BYTES];
    int folder;
    if (rename(temporary, path) != 0)
        return fbq__file_fail(error, "put the new file in place of", path);
    fbq__folder_of(path, name);
    folder = open(name, O_RDONLY | O_CLOEXEC);
    if (folder < 0)
        return fbq__file_fail(error, "open the folder", name);
    /* some file systems have no fsync for folders */
    if (fsync(folder) != 0 && errno != EINVAL) {
        const fbq_status status = fbq__file_fail(error, "fsync the folder", name);
        close(folder);
        return status;
    }
    close(folder);
    return FBQ_OK;
}

static fbq_status fbq__wisdom_text(const fbq_wisdom *wisdom, fbq__list *text, fbq_error *error)
{
    char line[FBQ_RECORD_BYTES + 1];
    FBQ__TRY(fbq__list_append(text, fbq__heading, sizeof fbq__heading - 1, 1, error));
    FBQ__TRY(fbq__list_append(text, "\n", 1, 1, error));
    for (size_t i = 0; i < wisdom->records.count; i++) {
        const int length = fbq_record_print(fbq__wisdom_at(wisdom, i), line, FBQ_RECORD_BYTES);
        line[length] = '\n';
        FBQ__TRY(fbq__list_append(text, line, (size_t)length + 1, 1, error));
    }
    if (wisdom->kept.count == 0)
        return FBQ_OK;
    return fbq__list_append(text, wisdom->kept.items, wisdom->kept.count, 1, error);
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
    wisdom->slot_count = 0; /* its indices are no longer right */
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
    if (change->add)
        FBQ__TRY(fbq__lines_keep(&held->kept, &change->add->kept, error));
    if (change->drop)
        fbq__wisdom_drop(held, change);
    FBQ__TRY(fbq__wisdom_text(held, text, error));
    if (held->broken.count)
        FBQ__TRY(fbq__broken_write(path, &held->broken, error));
    FBQ__TRY(fbq__file_write(temporary, path, text, error));
    return fbq__file_replace(path, temporary, error);
}

/* What a path leads to when it names a link, or the last of several; else the path. */
static fbq_status fbq__links_follow(const char *path, char *real, fbq_error *error)
{
    char link[FBQ__PATH_BYTES], folder[FBQ__PATH_BYTES];
    FBQ__TRY(fbq__path_join(real, path, "", error));
    for (int most = 40; most; most--) {
        const ssize_t length = readlink(real, link, sizeof link - 1);
        if (length < 0) /* no link, or nothing there */
            return FBQ_OK;
        link[length] = 0;
        fbq__folder_of(real, folder);
        if (link[0] == '/')
            FBQ__TRY(fbq__path_join(real, link, "", error));
        else if (snprintf(real, FBQ__PATH_BYTES, "%s/%s", folder, link) >= FBQ__PATH_BYTES)
            return fbq__fail(error, FBQ_ERR_FILE, 0, "the link %.300s leads too far", path);
    }
    return fbq__fail(error, FBQ_ERR_FILE, 0, "the link %.300s leads back to itself", path);
}

static fbq_status fbq__wisdom_change_file(fbq__wisdom_change *change, const char *path,
                                          fbq_error *error)
{
    fbq__list text = {NULL, 0, 0};
    fbq_wisdom *held = NULL;
    fbq_status status;
    char real[FBQ__PATH_BYTES];
    int lock = -1;
    FBQ__TRY(fbq__links_follow(path, real, error));
    path = real;
    status = fbq_wisdom_new(&held, error);
    if (status == FBQ_OK)
        status = fbq__lock(path, &lock, error);
    if (status == FBQ_OK) {
        status = fbq__wisdom_apply(change, path, held, &text, error);
        fbq__unlock(lock);
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
