/* pieces.c: the two patterns of the pre-tokeniser, applied by PCRE2.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pieces.h"

#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>

/* First each digit alone, then within what is left GPT-2's pieces. Both as published with the
 * model; they must be applied one after the other, since a space before a digit is a piece of its
 * own. */
static const char DIGITS[] = "\\p{N}|[^\\p{N}]+";
static const char WORDS[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct pieces {
    pcre2_code *digits, *words;
};

typedef struct cutting {
    const pieces *p;
    pcre2_match_data *digits, *words;
    int (*add)(void *user, const char *piece, size_t length);
    void *user;
} cutting;

static pcre2_code *compile(const char *pattern)
{
    int code;
    PCRE2_SIZE offset;
    return pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &code,
                         &offset, NULL);
}

pieces *pieces_new(void)
{
    pieces *p = malloc(sizeof *p);
    if (p == NULL)
        return NULL;
    p->digits = compile(DIGITS);
    p->words = compile(WORDS);
    if (p->digits == NULL || p->words == NULL) {
        pieces_free(p);
        return NULL;
    }
    return p;
}

void pieces_free(pieces *p)
{
    if (p == NULL)
        return;
    pcre2_code_free(p->digits);
    pcre2_code_free(p->words);
    free(p);
}

/* Bytes of the character at text[0], 0 when it is not well-formed UTF-8 (Unicode's table 3-7: no
 * overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t character(const unsigned char *text, size_t length)
{
    const unsigned char c = text[0];
    size_t bytes;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf) {
        bytes = 2;
    } else if (c >= 0xe0 && c <= 0xef) {
        bytes = 3;
        low = c == 0xe0 ? 0xa0 : low;
        high = c == 0xed ? 0x9f : high;
    } else if (c >= 0xf0 && c <= 0xf4) {
        bytes = 4;
        low = c == 0xf0 ? 0x90 : low;
        high = c == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (bytes > length || text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return bytes;
}

/* Call `add` for each match in valid UTF-8. The patterns leave nothing between two matches, but
 * should one ever do so, that text is a piece as well rather than lost. PCRE2's own check of the
 * subject is off: it would read all of the rest again for every match. */
static int cut(cutting *c, const pcre2_code *pattern, pcre2_match_data *match, const char *text,
               size_t length, int (*add)(cutting *, const char *, size_t))
{
    size_t at = 0;
    while (at < length) {
        const int found =
            pcre2_match(pattern, (PCRE2_SPTR)text, length, at, PCRE2_NO_UTF_CHECK, match, NULL);
        if (found < 0 && found != PCRE2_ERROR_NOMATCH)
            return 0;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(match);
        const size_t first = found < 0 ? length : span[0], last = found < 0 ? length : span[1];
        if (first > at && !c->add(c->user, text + at, first - at))
            return 0;
        if (last > first && !add(c, text + first, last - first))
            return 0;
        at = last;
    }
    return 1;
}

static int add_word(cutting *c, const char *text, size_t length)
{
    return c->add(c->user, text, length);
}

static int add_run(cutting *c, const char *text, size_t length)
{
    return cut(c, c->p->words, c->words, text, length, add_word);
}

int pieces_cut(const pieces *p, const char *text, size_t length,
               int (*add)(void *user, const char *piece, size_t length), void *user)
{
    cutting c = {p, NULL, NULL, add, user};
    c.digits = pcre2_match_data_create_from_pattern(p->digits, NULL);
    c.words = pcre2_match_data_create_from_pattern(p->words, NULL);
    int done = c.digits != NULL && c.words != NULL;
    size_t at = 0;
    while (done && at < length) {
        size_t end = at, bytes = 1;
        while (end < length && bytes != 0) {
            bytes = character((const unsigned char *)text + end, length - end);
            end += bytes;
        }
        if (end > at)
            done = cut(&c, p->digits, c.digits, text + at, end - at, add_run);
        if (done && bytes == 0)
            done = add(user, text + end++, 1);
        at = end;
    }
    pcre2_match_data_free(c.digits);
    pcre2_match_data_free(c.words);
    return done;
}
