/* tokeniser.h: byte-level BPE from the vocabulary and merges that a GGUF file carries.
 *
 * Text is cut into pieces (each digit alone; then the pattern of GPT-2: contractions, words,
 * punctuation, each with at most one space before it, and runs of space), and each piece's bytes
 * are merged pair by pair in the order of the file's merges. This is the pre-tokeniser that the
 * file names "smollm"; another name is refused, since other cuts would give other tokens.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TOKENISER_H
#define TOKENISER_H

#include "gguf.h"

typedef struct tokeniser tokeniser;

/* The file may be closed afterwards. GGUF_ERR_MISSING or _VALUE when it has no such tokeniser. */
gguf_status tokeniser_open(const gguf_file *file, tokeniser **made, gguf_error *error);
void tokeniser_close(tokeniser *t);

/* Tokens of any bytes, valid UTF-8 or not. No token is added in front or behind, and the names of
 * control tokens in the text are plain text. *ids is released with free.
 *   unknown  how many bytes have no token (the model's vocabulary leaves out a few control and
 *            never-valid bytes); each became the model's unknown token. NULL: do not count. */
gguf_status tokeniser_encode(const tokeniser *t, const char *text, size_t length, int32_t **ids,
                             size_t *count, size_t *unknown, gguf_error *error);

/* The bytes of some tokens, ended by a NUL that *length does not count; released with free.
 * GGUF_ERR_ARGUMENT when an id is outside the vocabulary. */
gguf_status tokeniser_decode(const tokeniser *t, const int32_t *ids, size_t count, char **text,
                             size_t *length, gguf_error *error);

int32_t tokeniser_vocabulary(const tokeniser *t);

/* The id of the token with exactly these bytes, -1 when there is none. */
int32_t tokeniser_find(const tokeniser *t, const char *bytes, size_t length);

#endif /* TOKENISER_H */
