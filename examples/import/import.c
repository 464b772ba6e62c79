/* import.c: see import.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "import.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *import_status_string(import_status status)
{
    switch (status) {
    case IMPORT_OK:
        return "ok";
    case IMPORT_ERR_ARGUMENT:
        return "wrong argument";
    case IMPORT_ERR_OPEN:
        return "file cannot be read";
    case IMPORT_ERR_MEMORY:
        return "out of memory";
    case IMPORT_ERR_TRUNCATED:
        return "truncated file";
    case IMPORT_ERR_HEADER:
        return "malformed header";
    case IMPORT_ERR_RANGE:
        return "impossible offsets";
    case IMPORT_ERR_MISSING:
        return "missing";
    case IMPORT_ERR_SHAPE:
        return "unexpected type or shape";
    case IMPORT_ERR_VALUE:
        return "impossible value";
    case IMPORT_ERR_UNSUPPORTED:
        return "not supported";
    }
    return "unknown status";
}

import_status import_fail(import_error *error, import_status status, const char *format, ...)
{
    if (error) {
        va_list list;
        error->status = status;
        va_start(list, format);
        vsnprintf(error->detail, sizeof error->detail, format, list);
        va_end(list);
        /* Names come from the file. */
        for (char *p = error->detail; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
    }
    return status;
}

import_status import_within(import_error *error, import_status status, const char *where)
{
    /* The end of a long path says more than its beginning. */
    const size_t length = strlen(where), most = 160;
    if (error) {
        const import_error inner = *error;
        import_fail(error, status, "%s%.160s: %.340s", length > most ? "..." : "",
                    length > most ? where + length - most : where, inner.detail);
    }
    return status;
}
