/* fbq/host/cubins.h: what NVRTC compiled, kept in files, so that the second start of a program
 * compiles nothing.
 *
 * A file holds the whole of what it was compiled from, or its hash, and is believed only where that
 * is the same to the byte, its checksum is right, and nobody but this user could have written it:
 * it is code. Its name is a hash of what it was compiled from, so writers need no lock; they write
 * another file and rename it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_CUBINS_H
#define FBQ_HOST_CUBINS_H

#include "files.h"
#include "jit.h"

#define FBQ__CUBIN_MOST_BYTES (16 << 20)

/* What stands first in a file; the program's text and the image follow. */
typedef struct fbq__cubin_head {
    char magic[8];
    uint64_t devices; /* hash of the device sources */
    int32_t version, nvrtc, capability, ptx;
    uint64_t source_bytes, image_bytes;
    uint64_t sum; /* hash of all the file, this being 0 */
} fbq__cubin_head;

/* Where cubins are kept and what compiles them; the same for all of a context. */
typedef struct fbq__cubins {
    char folder[FBQ__PATH_BYTES]; /* "": none are kept */
    uint64_t devices;
    int nvrtc; /* 1000 * major + 10 * minor */
    int never_compile;
} fbq__cubins;

/* What became of a request. */
typedef struct fbq__cubin_note {
    int compiled;      /* programs that were not found */
    char warning[400]; /* why one was not kept */
} fbq__cubin_note;

static uint64_t fbq__devices_hash(void)
{
    uint64_t hash = FBQ__HASH_START;
    for (int i = 0; i < fbq_device_source_count; i++) {
        const char *name = fbq_device_sources[i].name, *text = fbq_device_sources[i].text;
        hash = fbq__hash(hash, name, strlen(name) + 1);
        hash = fbq__hash(hash, text, strlen(text) + 1);
    }
    return hash;
}

uint64_t fbq_source_hash(void)
{
    return fbq__devices_hash();
}

/* All that decides what is compiled; sizes and sum are 0. */
static fbq__cubin_head fbq__cubin_key(const fbq__cubins *cubins, int capability, int ptx)
{
    fbq__cubin_head head;
    memset(&head, 0, sizeof head);
    memcpy(head.magic, "fbqcubin", sizeof head.magic);
    head.devices = cubins->devices;
    head.version = FBQ_VERSION;
    head.nvrtc = cubins->nvrtc;
    head.capability = capability;
    head.ptx = ptx;
    return head;
}

static fbq_status fbq__cubin_path(const fbq__cubins *cubins, const fbq__cubin_head *key,
                                  const char *source, char *path, fbq_error *error)
{
    const uint64_t hash =
        fbq__hash(fbq__hash(FBQ__HASH_START, key, sizeof *key), source, strlen(source));
    char name[32];
    snprintf(name, sizeof name, "/%016llx.cubin", (unsigned long long)hash);
    return fbq__path_join(path, cubins->folder, name, error);
}

/* Is what stands at a path this user's own, and can nobody else write it? */
static int fbq__private(const struct stat *status)
{
    return status->st_uid == geteuid() && !(status->st_mode & (S_IWGRP | S_IWOTH));
}

/* The folder, so that nobody can put another file in a file's place. */
static int fbq__cubin_folder_own(const fbq__cubins *cubins)
{
    struct stat status;
    return stat(cubins->folder, &status) == 0 && fbq__private(&status);
}

static int fbq__cubin_own(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && fbq__private(&status);
}

/* The image in a file's bytes; NULL where it is not the one that is wanted. */
static const char *fbq__cubin_image(const fbq__list *file, const fbq__cubin_head *key,
                                    const char *source, size_t *bytes)
{
    const size_t source_bytes = strlen(source);
    fbq__cubin_head head, same;
    uint64_t sum;
    if (file->count < sizeof head + source_bytes)
        return NULL;
    memcpy(&head, file->items, sizeof head);
    same = *key;
    same.source_bytes = source_bytes;
    same.image_bytes = file->count - sizeof head - source_bytes;
    same.sum = 0;
    sum = fbq__hash(FBQ__HASH_START, &same, sizeof same);
    sum = fbq__hash(sum, file->items + sizeof head, file->count - sizeof head);
    same.sum = sum;
    if (memcmp(&head, &same, sizeof head) != 0 ||
        memcmp(file->items + sizeof head, source, source_bytes) != 0)
        return NULL;
    *bytes = (size_t)same.image_bytes;
    return file->items + sizeof head + source_bytes;
}

/* FBQ_OK with *image NULL where there is none that can be used. */
static fbq_status fbq__cubin_read(const char *path, const fbq__cubin_head *key, const char *source,
                                  void **image, size_t *bytes, fbq_error *error)
{
    fbq__list file = {NULL, 0, 0};
    const char *found = NULL;
    fbq_status status = FBQ_OK;
    *image = NULL;
    if (!fbq__cubin_own(path))
        return FBQ_OK;
    if (fbq__file_read(path, FBQ__CUBIN_MOST_BYTES, &file, error) == FBQ_ERR_OUT_OF_HOST)
        status = FBQ_ERR_OUT_OF_HOST;
    else
        found = fbq__cubin_image(&file, key, source, bytes);
    if (found) {
        *image = FBQ_MALLOC(*bytes);
        if (*image)
            memcpy(*image, found, *bytes);
        else
            status = fbq__fail(error, FBQ_ERR_OUT_OF_HOST, 0, "malloc of %zu bytes failed", *bytes);
    }
    FBQ_FREE(file.items);
    return status;
}

/* The new file, in place once it is whole. A machine that dies may leave one that is not: its
 * checksum tells. Of several writers of one name each writes the same, and has a file of its own.
 */
static fbq_status fbq__cubin_put(const fbq__cubins *cubins, const char *path,
                                 const fbq__cubin_head *head, const char *source, const void *image,
                                 fbq_error *error)
{
    static const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
    char temporary[FBQ__PATH_BYTES], tail[48];
    fbq_status status = FBQ_OK;
    int file;
    FBQ__TRY(fbq__folders_make(path, error));
    if (!fbq__cubin_folder_own(cubins))
        return fbq__fail(
            error, FBQ_ERR_FILE, 0,
            "no kernels are kept in %.300s, since others may write there: make it this "
            "user's own (chmod 700), or name another folder",
            cubins->folder);
    snprintf(tail, sizeof tail, ".%ld.%p", (long)getpid(), (void *)&file); /* thread by thread */
    FBQ__TRY(fbq__path_join(temporary, path, tail, error));
    file = open(temporary, flags, 0600);
    if (file < 0)
        return fbq__file_fail(error, "open", temporary);
    if (!fbq__write_all(file, (const char *)head, sizeof *head) ||
        !fbq__write_all(file, source, (size_t)head->source_bytes) ||
        !fbq__write_all(file, (const char *)image, (size_t)head->image_bytes))
        status = fbq__file_fail(error, "write", temporary);
    if (close(file) != 0 && status == FBQ_OK)
        status = fbq__file_fail(error, "close", temporary);
    if (status == FBQ_OK && rename(temporary, path) != 0)
        status = fbq__file_fail(error, "put a cubin into", path);
    if (status != FBQ_OK)
        unlink(temporary);
    return status;
}

static void fbq__cubin_write(const fbq__cubins *cubins, const char *path,
                             const fbq__cubin_head *key, const char *source, const void *image,
                             size_t bytes, fbq__cubin_note *note)
{
    fbq__cubin_head head = *key;
    uint64_t sum;
    fbq_error why;
    head.source_bytes = strlen(source);
    head.image_bytes = bytes;
    sum = fbq__hash(FBQ__HASH_START, &head, sizeof head);
    sum = fbq__hash(sum, source, (size_t)head.source_bytes);
    head.sum = fbq__hash(sum, image, bytes);
    if (fbq__cubin_put(cubins, path, &head, source, image, &why) != FBQ_OK)
        snprintf(note->warning, sizeof note->warning, "%.399s", why.detail);
}

/* A program's image: from its file, or compiled, and then kept. Whatever is wrong with the folder
 * makes nothing fail. */
static fbq_status fbq__cubin_get(const fbq__cubins *cubins, const fbq__nvrtc *nvrtc,
                                 const char *source, int capability, int ptx, void **image,
                                 size_t *bytes, fbq__cubin_note *note, fbq_error *error)
{
    const fbq__cubin_head key = fbq__cubin_key(cubins, capability, ptx);
    char path[FBQ__PATH_BYTES];
    *image = NULL;
    if (cubins->folder[0]) {
        FBQ__TRY(fbq__cubin_path(cubins, &key, source, path, error));
        if (fbq__cubin_folder_own(cubins))
            FBQ__TRY(fbq__cubin_read(path, &key, source, image, bytes, error));
        if (*image)
            return FBQ_OK;
    }
    if (cubins->never_compile)
        return fbq__fail(
            error, FBQ_ERR_COMPILE, 0,
            "options.never_compile is set, and the kernel is not in %.300s: prepare it "
            "once without",
            cubins->folder[0] ? path : "any folder");
    note->compiled++;
    FBQ__TRY(fbq__nvrtc_build(nvrtc, source, capability, ptx, image, bytes, error));
    if (cubins->folder[0])
        fbq__cubin_write(cubins, path, &key, source, *image, *bytes, note);
    return FBQ_OK;
}

/* Most bytes of a folder's name: what is put into it has names of less than 100. */
#define FBQ__CUBIN_FOLDER_BYTES (FBQ__PATH_BYTES - 100)

/* `folder`: fbq_options.cubin_folder. Only one that the caller names is refused for its length. */
static fbq_status fbq__cubins_open(fbq__cubins *cubins, const char *folder, int never_compile,
                                   const fbq__nvrtc *nvrtc, fbq_error *error)
{
    int major = 0, minor = 0;
    if (folder && strlen(folder) > FBQ__CUBIN_FOLDER_BYTES)
        return fbq__fail(error, FBQ_ERR_FILE, 0,
                         "options.cubin_folder, %.60s..., has %zu bytes; expected at most %d",
                         folder, strlen(folder), FBQ__CUBIN_FOLDER_BYTES);
    nvrtc->version(&major, &minor);
    memset(cubins, 0, sizeof *cubins);
    cubins->devices = fbq__devices_hash();
    cubins->nvrtc = 1000 * major + 10 * minor;
    cubins->never_compile = never_compile;
    if (folder)
        snprintf(cubins->folder, sizeof cubins->folder, "%s", folder);
    else if (fbq__cache_path("cubins", cubins->folder, FBQ__CUBIN_FOLDER_BYTES, NULL) != FBQ_OK)
        cubins->folder[0] = 0;
    return FBQ_OK;
}

#endif /* FBQ_HOST_CUBINS_H */
