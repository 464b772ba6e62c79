/* text_file.c: see text_file.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L
#include "text_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *text_path(const char *folder, const char *name)
{
    const size_t bytes = (folder ? strlen(folder) + 1 : 0) + strlen(name) + 1;
    char *path = malloc(bytes);
    if (path)
        snprintf(path, bytes, "%s%s%s", folder ? folder : "", folder ? "/" : "", name);
    return path;
}

static import_status read_whole(FILE *f, const char *path, size_t size, char **text, size_t *bytes,
                                import_error *error)
{
    *text = malloc(size + 1);
    if (!*text)
        return import_fail(error, IMPORT_ERR_MEMORY, "%.200s: no memory for %zu bytes", path, size);
    *bytes = fread(*text, 1, size, f);
    (*text)[*bytes] = 0;
    if (*bytes == size)
        return IMPORT_OK;
    free(*text);
    *text = NULL;
    return import_fail(error, IMPORT_ERR_OPEN, "%.200s: only %zu of %zu bytes could be read", path,
                       *bytes, size);
}

import_status text_file_read(const char *path, char **text, size_t *bytes, import_error *error)
{
    struct stat about;
    import_status status;
    *text = NULL;
    *bytes = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return import_fail(error, errno == ENOENT ? IMPORT_ERR_MISSING : IMPORT_ERR_OPEN,
                           "%.200s: %s", path, strerror(errno));
    if (fstat(fileno(f), &about) != 0)
        status = import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(errno));
    else if (!S_ISREG(about.st_mode) || about.st_size > TEXT_FILE_MOST)
        status = import_fail(error, IMPORT_ERR_OPEN, "%.200s: not a file of at most %d bytes", path,
                             TEXT_FILE_MOST);
    else
        status = read_whole(f, path, (size_t)about.st_size, text, bytes, error);
    fclose(f);
    return status;
}

import_status text_file_write(const char *path, const char *text, import_error *error)
{
    const size_t length = strlen(text);
    FILE *f = fopen(path, "wbx");
    if (!f)
        return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(errno));
    int why = 0;
    if (fwrite(text, 1, length, f) != length || fflush(f) != 0 || fsync(fileno(f)) != 0)
        why = errno;
    if (fclose(f) != 0 && !why)
        why = errno;
    if (!why)
        return IMPORT_OK;
    remove(path);
    return import_fail(error, IMPORT_ERR_OPEN, "%.200s: %s", path, strerror(why));
}
