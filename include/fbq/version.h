/* fbq/version.h: the library's version, as numbers, as text and in the name of every symbol.
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

/* Of the kernels, as far as tuning goes: bumped by hand with a change after which the times of old
 * picks say nothing. A record of another epoch is kept, but not used (docs/tuning.md). */
#define FBQ_KERNEL_EPOCH 1

/* Symbols carry the version, so that two libraries with different fbq inside share a process. */
#define FBQ_SYMBOL_OF(name, major, minor) name##_v##major##_##minor
#define FBQ_SYMBOL_IN(name, major, minor) FBQ_SYMBOL_OF(name, major, minor)
#define FBQ_SYMBOL(name) FBQ_SYMBOL_IN(name, FBQ_VERSION_MAJOR, FBQ_VERSION_MINOR)

#endif /* FBQ_VERSION_H */
