/* text_file.h: small text files, such as configs, as a whole.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TEXT_FILE_H
#define TEXT_FILE_H

#include <stddef.h>

#include "import.h"

/* The largest that is read: far beyond any config, so that a wrong path costs no memory. */
#define TEXT_FILE_MOST (64 << 20)

/* `folder`/`name`, or `name` alone when folder is NULL, to be released with free; NULL when there
 * is no memory. */
char *text_path(const char *folder, const char *name);

/* Read a file; *text ends with a NUL that *bytes does not count and is released with free.
 * IMPORT_ERR_OPEN, _MEMORY; IMPORT_ERR_MISSING when there is no such file. */
import_status text_file_read(const char *path, char **text, size_t *bytes, import_error *error);

/* Write a new file and flush it to disk. What is half-written is removed. IMPORT_ERR_OPEN. */
import_status text_file_write(const char *path, const char *text, import_error *error);

#endif /* TEXT_FILE_H */
