/* import.h: what the readers of checkpoints say when something is wrong.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef IMPORT_H
#define IMPORT_H

typedef enum import_status {
    IMPORT_OK = 0,
    IMPORT_ERR_ARGUMENT,   /* a NULL or senseless argument */
    IMPORT_ERR_OPEN,       /* the file cannot be opened, sized or mapped */
    IMPORT_ERR_MEMORY,     /* malloc returned NULL */
    IMPORT_ERR_TRUNCATED,  /* it ends before its header or its tensors do */
    IMPORT_ERR_HEADER,     /* the header is not what the format asks for */
    IMPORT_ERR_RANGE,      /* a tensor's bytes overlap another's, leave gaps or the file */
    IMPORT_ERR_MISSING,    /* no such tensor */
    IMPORT_ERR_SHAPE,      /* a tensor of another type or size than was asked for */
    IMPORT_ERR_VALUE,      /* numbers that cannot be meant */
    IMPORT_ERR_UNSUPPORTED /* right, but not read here */
} import_status;

/* Owned by the caller; filled by a call that fails, when it is not NULL. */
typedef struct import_error {
    import_status status;
    char detail[512]; /* one printable line: what, its value, what was expected, what to do */
} import_error;

/* How a message names a status, never NULL. */
const char *import_status_string(import_status status);

/* Fill *error, unless it is NULL; the status. */
import_status import_fail(import_error *error, import_status status, const char *format, ...)
#ifdef __GNUC__
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* Put where it happened, such as a path, before the detail of a failure; the status. */
import_status import_within(import_error *error, import_status status, const char *where);

#endif /* IMPORT_H */
