/* output_folder.c: see output_folder.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "output_folder.h"
#include "text_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void release(output_folder *f)
{
    for (int i = 0; i < f->entries; i++)
        free(f->entry[i]);
    free(f->path);
    free(f->beside);
    memset(f, 0, sizeof *f);
}

/* A name in a folder lasts only once the folder is on disk, too. */
static void flush_folder(const char *path)
{
    const int handle = open(path, O_RDONLY | O_CLOEXEC);
    if (handle >= 0) {
        fsync(handle);
        close(handle);
    }
}

/* An empty folder may be replaced. rename() would say so, too, but only after all the work. */
static import_status check_place(const char *path, import_error *error)
{
    struct stat about;
    int entries = 0;
    if (lstat(path, &about) != 0)
        return IMPORT_OK;
    DIR *open = S_ISDIR(about.st_mode) ? opendir(path) : NULL;
    while (open && readdir(open))
        entries++;
    if (open)
        closedir(open);
    if (entries == 2) /* "." and ".." */
        return IMPORT_OK;
    return import_fail(error, IMPORT_ERR_OPEN,
                       "--output %.200s: is there already; a new or an empty folder was expected",
                       path);
}

import_status output_folder_begin(const char *path, output_folder *f, import_error *error)
{
    memset(f, 0, sizeof *f);
    const size_t bytes = strlen(path) + 32;
    f->path = text_path(NULL, path);
    f->beside = malloc(bytes);
    if (!f->path || !f->beside) {
        release(f);
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    }
    /* "folder/" is "folder" */
    for (size_t length = strlen(f->path); length > 1 && f->path[length - 1] == '/';)
        f->path[--length] = 0;
    snprintf(f->beside, bytes, "%s.%ld.part", f->path, (long)getpid());
    import_status status = check_place(f->path, error);
    if (status == IMPORT_OK && mkdir(f->beside, 0777) != 0)
        status = import_fail(error, IMPORT_ERR_OPEN, "--output %.200s: %s", path, strerror(errno));
    if (status != IMPORT_OK)
        release(f);
    return status;
}

const char *output_folder_file(output_folder *f, const char *name)
{
    if (f->entries == OUTPUT_FOLDER_FILES)
        return NULL;
    char *path = text_path(f->beside, name);
    if (path)
        f->entry[f->entries++] = path;
    return path;
}

import_status output_folder_make(output_folder *f, const char *name, import_error *error)
{
    const char *path = output_folder_file(f, name);
    if (!path)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a path");
    if (mkdir(path, 0777) != 0)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(errno));
    f->is_folder[f->entries - 1] = 1;
    return IMPORT_OK;
}

import_status output_folder_commit(output_folder *f, import_error *error)
{
    for (int i = 0; i < f->entries; i++)
        if (f->is_folder[i])
            flush_folder(f->entry[i]);
    flush_folder(f->beside);
    if (rename(f->beside, f->path) != 0) {
        const import_status status =
            import_fail(error, IMPORT_ERR_OPEN, "--output %.200s: %s", f->path, strerror(errno));
        output_folder_abandon(f);
        return status;
    }
    release(f);
    return IMPORT_OK;
}

void output_folder_abandon(output_folder *f)
{
    /* backwards, so that a folder is empty when its turn comes */
    for (int i = f->entries - 1; i >= 0; i--)
        remove(f->entry[i]);
    if (f->beside)
        rmdir(f->beside);
    release(f);
}
