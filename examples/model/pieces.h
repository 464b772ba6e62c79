/* pieces.h: cutting text into the pieces inside which a tokeniser merges bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PIECES_H
#define PIECES_H

#include <stddef.h>

typedef struct pieces pieces;

/* The patterns of the pre-tokeniser "smollm", compiled. NULL when memory runs out or PCRE2 was
 * built without Unicode. Safe to share between threads. */
pieces *pieces_new(void);
void pieces_free(pieces *p);

/* Call add(user, piece, length) for each piece, in order; together they are the text. Bytes that
 * are not UTF-8 are pieces of one byte. Stops with 0 as soon as `add` returns 0 or memory runs out.
 */
int pieces_cut(const pieces *p, const char *text, size_t length,
               int (*add)(void *user, const char *piece, size_t length), void *user);

#endif /* PIECES_H */
