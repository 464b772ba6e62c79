/* fbq/version.h: the library's version, as numbers and as text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_VERSION_H
#define FBQ_VERSION_H

#define FBQ_VERSION_MAJOR 0
#define FBQ_VERSION_MINOR 1
#define FBQ_VERSION_PATCH 0
#define FBQ_VERSION_STRING "0.1.0"

/* One comparable number: major * 10000 + minor * 100 + patch. */
#define FBQ_VERSION (FBQ_VERSION_MAJOR * 10000 + FBQ_VERSION_MINOR * 100 + FBQ_VERSION_PATCH)

/* Version of the packed layout (docs/layout.md). It changes only when packed bytes change meaning.
 */
#define FBQ_LAYOUT_VERSION 1

#endif /* FBQ_VERSION_H */
