/* fbq/status.h: every way a call can end.
 *
 * Numbers are stable and leave gaps, so that a new status joins its group without renumbering.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_STATUS_H
#define FBQ_STATUS_H

typedef enum fbq_status {
    FBQ_OK = 0,

    /* 1xx: an argument is wrong; the caller can mend it. */
    FBQ_ERR_NULL = 100,        /* a pointer that must not be NULL is NULL */
    FBQ_ERR_SIZE = 101,        /* n, k, m, a stride or a segment is out of range */
    FBQ_ERR_GROUP = 102,       /* group size is none of 32, 64, 128, 256, whole row */
    FBQ_ERR_RANK = 103,        /* rank out of range, or factors that disagree with the shape */
    FBQ_ERR_FORMAT = 104,      /* bits, zero kind or a type is not one that exists */
    FBQ_ERR_ALIGNMENT = 105,   /* a pointer or stride is not aligned as documented */
    FBQ_ERR_BUFFER = 106,      /* a buffer is smaller than the size query says */
    FBQ_ERR_CODE = 107,        /* a code, zero point or int8 factor does not fit into its bits */
    FBQ_ERR_PACKED = 108,      /* packed bytes: wrong magic, version, part or sizes */
    FBQ_ERR_UNSUPPORTED = 109, /* well formed, but no kernel serves it in this version */
    FBQ_ERR_PICK = 110,        /* a pick breaks the legality predicate */
    FBQ_ERR_WISDOM = 111,      /* a record of tuning is not one, or says what cannot be */

    /* 2xx: the machine lacks something. */
    FBQ_ERR_NO_DRIVER = 200,    /* the CUDA driver library cannot be opened */
    FBQ_ERR_NO_NVRTC = 201,     /* the NVRTC library cannot be opened */
    FBQ_ERR_NO_DEVICE = 202,    /* the driver sees no GPU, or not the one asked for */
    FBQ_ERR_WRONG_DEVICE = 203, /* the current CUcontext belongs to another GPU */
    FBQ_ERR_CAPABILITY = 204,   /* the GPU is older than compute capability 8.0 */
    FBQ_ERR_OLD_DRIVER = 205,   /* the driver or NVRTC lacks a function that is needed */

    /* 3xx: something that was asked for went wrong. */
    FBQ_ERR_CUDA = 300,        /* a driver call failed */
    FBQ_ERR_COMPILE = 301,     /* NVRTC refused the kernel source */
    FBQ_ERR_OUT_OF_HOST = 302, /* malloc returned NULL */
    FBQ_ERR_FILE = 303,        /* a file or folder cannot be found, read or written */
    FBQ_ERR_LOCK = 304         /* others held a file's lock for too long */
} fbq_status;

#endif /* FBQ_STATUS_H */
