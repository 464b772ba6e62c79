/* fbq/host/posix.h: POSIX beside C11, which -std=c11 hides unless it is asked for before the first
 * header of the C library. Included before any such.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_POSIX_H
#define FBQ_HOST_POSIX_H

/* Elsewhere it is there by default, and asking for it would hide what else is. */
#if defined(__STRICT_ANSI__) && !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE) && \
    !defined(_POSIX_C_SOURCE)
#define _DEFAULT_SOURCE
#endif

#endif /* FBQ_HOST_POSIX_H */
