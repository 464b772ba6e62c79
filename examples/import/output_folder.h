/* output_folder.h: a folder that appears with all of its files or not at all.
 *
 * It is filled beside its place and renamed at the end.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OUTPUT_FOLDER_H
#define OUTPUT_FOLDER_H

#include "import.h"

#define OUTPUT_FOLDER_FILES 8

typedef struct output_folder {
    char *path, *beside;
    char *entry[OUTPUT_FOLDER_FILES]; /* paths in `beside`, in the order they were added */
    int is_folder[OUTPUT_FOLDER_FILES];
    int entries;
} output_folder;

/* `path` may be there when it is an empty folder. IMPORT_ERR_OPEN, _MEMORY. */
import_status output_folder_begin(const char *path, output_folder *f, import_error *error);

/* Where a file of this name is to be written; the folder keeps it. NULL: no memory. */
const char *output_folder_file(output_folder *f, const char *name);
/* Make a folder inside; its files are named "folder/file" afterwards. */
import_status output_folder_make(output_folder *f, const char *name, import_error *error);

/* Rename it into place. It is abandoned when that fails. */
import_status output_folder_commit(output_folder *f, import_error *error);
/* Remove what was written; a zeroed folder is fine. */
void output_folder_abandon(output_folder *f);

#endif /* OUTPUT_FOLDER_H */
