/* fbq/host/files.h: the cache folder, files in it, and lists and hashes of what they hold.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_FILES_H
#define FBQ_HOST_FILES_H

#include "posix.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__GLIBC__) && !defined(__USE_XOPEN2K8)
#error \
    "fbq needs POSIX: include fbq.h with FBQ_IMPLEMENTATION before any other header, or compile \
with -D_POSIX_C_SOURCE=200809L or -std=gnu11"
#endif

#include "error.h"

#define FBQ__PATH_BYTES 4096

/* ---- Lists and hashes ---- */

/* A list that grows: records, or bytes. */
typedef struct fbq__list {
    char *items;
    size_t count, room;
} fbq__list;

/* `count` items of `size` bytes at the end of a list. */
static fbq_status fbq__list_append(fbq__list *list, const void *items, size_t count, size_t size,
                                   fbq_error *error)
{
    if (list->count + count > list->room) {
        const size_t room = 2 * (list->count + count) + 16;
        char *grown = (char *)FBQ_MALLOC(room * size);
        if (!grown)
            return fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed",
                             room * size);
        if (list->count)
            memcpy(grown, list->items, list->count * size);
        FBQ_FREE(list->items);
        list->items = grown;
        list->room = room;
    }
    memcpy(list->items + list->count * size, items, count * size);
    list->count += count;
    return FBQ_OK;
}

/* FNV-1a: any change of a single byte changes it, since every step is one to one. */
static uint64_t fbq__hash(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    return hash;
}

#define FBQ__HASH_START 0xcbf29ce484222325u

/* ---- Paths ---- */

static fbq_status fbq__file_fail(fbq_error *error, const char *what, const char *path)
{
    return fbq__fail(error, FBQ_ERR_FILE, 0, "cannot %s %.300s: %s", what, path, strerror(errno));
}

/* `path` with something behind it, such as ".lock". */
static fbq_status fbq__path_join(char *out, const char *path, const char *tail, fbq_error *error)
{
    if (snprintf(out, FBQ__PATH_BYTES, "%s%s", path, tail) >= FBQ__PATH_BYTES)
        return fbq__fail(error, FBQ_ERR_FILE, 0, "the path %.60s... is longer than %d bytes", path,
                         FBQ__PATH_BYTES - 1);
    return FBQ_OK;
}

/* Where a file or folder of this name is kept: in $FBQ_CACHE_DIR, $XDG_CACHE_HOME/fbq or
 * $HOME/.cache/fbq, the first that is set. */
static fbq_status fbq__cache_path(const char *name, char *path, size_t bytes, fbq_error *error)
{
    static const struct {
        const char *variable, *tail;
    } places[] = {{"FBQ_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/fbq"}, {"HOME", "/.cache/fbq"}};
    FBQ__NOT_NULL(path, error);
    for (int i = 0; i < 3; i++) {
        const char *folder = getenv(places[i].variable);
        if (!folder || !folder[0])
            continue;
        if (snprintf(path, bytes, "%s%s/%s", folder, places[i].tail, name) < (int)bytes)
            return FBQ_OK;
        return fbq__fail(error, FBQ_ERR_BUFFER, 0, "path has %zu bytes; expected %zu", bytes,
                         strlen(folder) + strlen(places[i].tail) + strlen(name) + 2);
    }
    return fbq__fail(error, FBQ_ERR_FILE, 0,
                     "none of FBQ_CACHE_DIR, XDG_CACHE_HOME and HOME is set: no place for %s",
                     name);
}

/* The folder of a path, "." where it names none. */
static void fbq__folder_of(const char *path, char *folder)
{
    const char *slash = strrchr(path, '/');
    const int length = slash ? (int)(slash - path) : 0;
    snprintf(folder, FBQ__PATH_BYTES, "%.*s", length ? length : 1,
             length  ? path
             : slash ? "/"
                     : ".");
}

/* Make the folders that a path needs and that are missing, for this user alone. */
static fbq_status fbq__folders_make(const char *path, fbq_error *error)
{
    char folder[FBQ__PATH_BYTES];
    fbq__folder_of(path, folder);
    for (char *c = folder + 1;; c++) {
        const char was = *c;
        if (was != '/' && was != 0)
            continue;
        *c = 0;
        if (mkdir(folder, 0700) != 0) {
            const int why = errno;
            if (why != EEXIST && access(folder, F_OK) != 0) {
                errno = why;
                return fbq__file_fail(error, "make the folder", folder);
            }
        }
        if (!was)
            return FBQ_OK;
        *c = was;
    }
}

/* ---- Files ---- */

/* All of a file, of up to `most` bytes; nothing where there is none. What is no file is not waited
 * for. */
static fbq_status fbq__file_read(const char *path, size_t most, fbq__list *text, fbq_error *error)
{
    char piece[16384];
    struct stat about;
    ssize_t got;
    fbq_status status = FBQ_OK;
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0)
        return errno == ENOENT ? FBQ_OK : fbq__file_fail(error, "open", path);
    if (fstat(file, &about) != 0)
        status = fbq__file_fail(error, "look at", path);
    else if (!S_ISREG(about.st_mode))
        status =
            fbq__fail(error, FBQ_ERR_FILE, 0, "cannot read %.300s: it is no regular file", path);
    else
        do {
            got = read(file, piece, sizeof piece);
            if (got < 0 && errno != EINTR)
                status = fbq__file_fail(error, "read", path);
            else if (got > 0)
                status = fbq__list_append(text, piece, (size_t)got, 1, error);
            if (text->count > most)
                status = fbq__fail(error, FBQ_ERR_FILE, 0,
                                   "%.300s is longer than %zu bytes, so it is not ours: move it "
                                   "away",
                                   path, most);
        } while (status == FBQ_OK && got != 0);
    close(file);
    return status;
}

static int fbq__write_all(int file, const char *bytes, size_t count)
{
    while (count > 0) {
        const ssize_t done = write(file, bytes, count);
        if (done < 0 && errno != EINTR)
            return 0;
        if (done > 0) {
            bytes += done;
            count -= (size_t)done;
        }
    }
    return 1;
}

#endif /* FBQ_HOST_FILES_H */
