/* fbq/host/posix.h: POSIX beside C11, which strict C11 hides unless it is asked for before the
 * first header of the C library. Included before any such.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_POSIX_H
#define FBQ_HOST_POSIX_H

#if !defined(_GNU_SOURCE) && !defined(_DEFAULT_SOURCE) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif

#endif /* FBQ_HOST_POSIX_H */
