/* fbq/host/error.h: statuses as sentences, and the detail text of a failure.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_ERROR_H
#define FBQ_HOST_ERROR_H

#include "posix.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../fbq.h"

/* A program may bring its own allocator; both or neither. */
#ifndef FBQ_MALLOC
#define FBQ_MALLOC(bytes) malloc(bytes)
#define FBQ_FREE(memory) free(memory)
#endif

int fbq_version(void)
{
    return FBQ_VERSION;
}

void fbq_free(void *memory)
{
    FBQ_FREE(memory);
}

const char *fbq_status_string(fbq_status status)
{
    switch (status) {
    case FBQ_OK:
        return "success";
    case FBQ_ERR_NULL:
        return "a pointer that must not be NULL is NULL";
    case FBQ_ERR_SIZE:
        return "a size, count or stride is out of range";
    case FBQ_ERR_GROUP:
        return "the group size is none of 32, 64, 128, 256 and whole row";
    case FBQ_ERR_RANK:
        return "a rank is out of range, or the factors disagree with the shape";
    case FBQ_ERR_FORMAT:
        return "the format is not one that exists";
    case FBQ_ERR_ALIGNMENT:
        return "a pointer or stride is not aligned as documented";
    case FBQ_ERR_BUFFER:
        return "a buffer is smaller than its size query says";
    case FBQ_ERR_CODE:
        return "a code or integer zero point does not fit into its bits";
    case FBQ_ERR_PACKED:
        return "packed bytes have a wrong magic, version, part or size";
    case FBQ_ERR_UNSUPPORTED:
        return "no kernel of this version serves this combination";
    case FBQ_ERR_PICK:
        return "the pick is not legal for this problem and GPU";
    case FBQ_ERR_WISDOM:
        return "a record of tuning is damaged or makes no sense";
    case FBQ_ERR_NO_DRIVER:
        return "the CUDA driver library cannot be opened";
    case FBQ_ERR_NO_NVRTC:
        return "the NVRTC library cannot be opened";
    case FBQ_ERR_NO_DEVICE:
        return "the GPU that was asked for is not there";
    case FBQ_ERR_WRONG_DEVICE:
        return "no CUDA context of this GPU is current";
    case FBQ_ERR_CAPABILITY:
        return "the GPU is older than compute capability 8.0";
    case FBQ_ERR_OLD_DRIVER:
        return "the driver or NVRTC is too old";
    case FBQ_ERR_CUDA:
        return "a CUDA driver call failed";
    case FBQ_ERR_COMPILE:
        return "NVRTC refused the kernel source";
    case FBQ_ERR_OUT_OF_HOST:
        return "out of host memory";
    case FBQ_ERR_FILE:
        return "a file or folder cannot be found, read or written";
    case FBQ_ERR_LOCK:
        return "other processes held a file's lock for too long";
    }
    return "unknown status";
}

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static fbq_status
fbq__fail(fbq_error *error, fbq_status status, int cuda, const char *format, ...)
{
    if (error) {
        va_list values;
        error->status = status;
        error->cuda = cuda;
        va_start(values, format);
        vsnprintf(error->detail, sizeof error->detail, format, values);
        va_end(values);
        /* one line, whatever a library's message held */
        for (char *c = error->detail; *c; c++)
            if (*c == '\n' || *c == '\r')
                *c = ' ';
    }
    return status;
}

/* Hand a failure on to the caller. */
#define FBQ__TRY(call)                   \
    do {                                 \
        fbq_status fbq__status = (call); \
        if (fbq__status != FBQ_OK)       \
            return fbq__status;          \
    } while (0)

#define FBQ__NOT_NULL(pointer, error)                                                       \
    do {                                                                                    \
        if (!(pointer))                                                                     \
            return fbq__fail(error, FBQ_ERR_NULL, 0, "%s: %s is NULL", __func__, #pointer); \
    } while (0)

#endif /* FBQ_HOST_ERROR_H */
