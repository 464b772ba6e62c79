/* tokeniser.c: vocabulary, cutting text into pieces, encode and decode.
 *
 * In the file a token's text stands for bytes through GPT-2's alphabet: each byte is one printable
 * character, so a space is U+0120. Here tokens are turned back into bytes once, when the tokeniser
 * is opened, and everything after that is about bytes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "tokeniser.h"
#include "bpe.h"
#include "gguf_internal.h"
#include "pieces.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_NORMAL 1 /* tokenizer.ggml.token_type; the other types are literal text */

typedef struct token {
    const char *bytes; /* inside `pool` */
    size_t length;
    int32_t id;
    int normal;
} token;

struct tokeniser {
    char *pool;
    token *tokens; /* by id */
    token *sorted; /* normal tokens by bytes, then id */
    size_t sorted_count;
    int32_t count;
    int32_t unknown; /* id for bytes that have no token */
    int32_t byte_id[256];
    bpe_merge *merges;
    size_t merge_count;
    pieces *cutter;
};

/* ---- GPT-2's alphabet of bytes ---- */

/* The character of a byte: itself where it is printable in Latin-1, otherwise the next number from
 * 256 on. */
static void make_alphabet(int16_t byte_of[324])
{
    int next = 256;
    memset(byte_of, 0xff, 324 * sizeof *byte_of);
    for (int b = 0; b < 256; b++) {
        const int printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
        byte_of[printable ? b : next++] = (int16_t)b;
    }
}

/* Bytes of a text in that alphabet, at most text->length of them; SIZE_MAX for a character outside
 * it. The alphabet ends at U+0143, so characters have one or two UTF-8 bytes. */
static size_t from_alphabet(const int16_t byte_of[324], const char *text, size_t length, char *out)
{
    size_t made = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned c = (unsigned char)text[i];
        if (c >= 0x80) {
            if ((c & 0xe0) != 0xc0 || i + 1 == length ||
                ((unsigned char)text[i + 1] & 0xc0) != 0x80)
                return SIZE_MAX;
            c = (c & 0x1f) << 6 | ((unsigned char)text[++i] & 0x3f);
        }
        if (c >= 324 || byte_of[c] < 0)
            return SIZE_MAX;
        out[made++] = (char)byte_of[c];
    }
    return made;
}

/* ---- vocabulary and merges ---- */

static int by_bytes(const void *a, const void *b)
{
    const token *x = a, *y = b;
    const size_t least = x->length < y->length ? x->length : y->length;
    const int order = least == 0 ? 0 : memcmp(x->bytes, y->bytes, least);
    if (order != 0)
        return order;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

int32_t tokeniser_find(const tokeniser *t, const char *bytes, size_t length)
{
    /* Ids start at 0, so -1 sorts in front of every token with these bytes. */
    const token wanted = {bytes, length, -1, 1};
    size_t low = 0, high = t->sorted_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (by_bytes(&t->sorted[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const token *found = &t->sorted[low];
    const int same = low < t->sorted_count && found->length == length &&
                     (length == 0 || memcmp(found->bytes, bytes, length) == 0);
    return same ? found->id : -1;
}

static gguf_status read_vocabulary(tokeniser *t, const int16_t *byte_of, const gguf_text *texts,
                                   const int32_t *types, gguf_error *error)
{
    const size_t count = (uint32_t)t->count; /* positive: read_file saw to it */
    size_t total = 0;
    for (int32_t i = 0; i < t->count; i++)
        total += (size_t)texts[i].length;
    t->pool = malloc(total + 1);
    t->tokens = calloc(count, sizeof *t->tokens);
    t->sorted = calloc(count, sizeof *t->sorted);
    if (t->pool == NULL || t->tokens == NULL || t->sorted == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %" PRId32 " tokens", t->count);
    char *at = t->pool;
    for (int32_t i = 0; i < t->count; i++) {
        token *made = &t->tokens[i];
        *made = (token){at, (size_t)texts[i].length, i, types[i] == TOKEN_NORMAL};
        if (made->normal)
            made->length = from_alphabet(byte_of, texts[i].bytes, (size_t)texts[i].length, at);
        else if (made->length > 0)
            memcpy(at, texts[i].bytes, made->length);
        if (made->length == SIZE_MAX)
            return gguf_fail(error, GGUF_ERR_VALUE,
                             "token %" PRId32 " has a character that stands for no byte", i);
        at += made->length;
        if (made->normal)
            t->sorted[t->sorted_count++] = *made;
    }
    qsort(t->sorted, t->sorted_count, sizeof *t->sorted, by_bytes);
    for (int b = 0; b < 256; b++) {
        const char byte = (char)b;
        t->byte_id[b] = tokeniser_find(t, &byte, 1);
    }
    return GGUF_OK;
}

/* A merge is "left right"; the space is no letter of the alphabet, so it is the only one. */
static gguf_status read_merge(const tokeniser *t, const int16_t *byte_of, const gguf_text *text,
                              uint64_t rank, char *work, bpe_merge *merge, gguf_error *error)
{
    const char *space = memchr(text->bytes, ' ', (size_t)text->length);
    if (space != NULL) {
        const size_t before = (size_t)(space - text->bytes);
        const size_t left = from_alphabet(byte_of, text->bytes, before, work);
        const size_t right =
            left == SIZE_MAX
                ? SIZE_MAX
                : from_alphabet(byte_of, space + 1, (size_t)text->length - before - 1, work + left);
        if (right != SIZE_MAX) {
            *merge =
                (bpe_merge){tokeniser_find(t, work, left), tokeniser_find(t, work + left, right),
                            tokeniser_find(t, work, left + right), (uint32_t)rank};
            if (left > 0 && right > 0 && merge->left >= 0 && merge->right >= 0 &&
                merge->result >= 0)
                return GGUF_OK;
        }
    }
    return gguf_fail(error, GGUF_ERR_VALUE, "merge %" PRIu64 " does not join two tokens into one",
                     rank);
}

static gguf_status read_merges(tokeniser *t, const int16_t *byte_of, const gguf_text *texts,
                               uint64_t count, gguf_error *error)
{
    uint64_t longest = 0;
    gguf_status status = GGUF_OK;
    for (uint64_t i = 0; i < count; i++)
        longest = texts[i].length > longest ? texts[i].length : longest;
    char *work = malloc((size_t)longest + 1);
    t->merges = calloc((size_t)count + 1, sizeof *t->merges);
    if (work == NULL || t->merges == NULL)
        status = gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %" PRIu64 " merges", count);
    for (uint64_t i = 0; i < count && status == GGUF_OK; i++)
        status = read_merge(t, byte_of, &texts[i], i, work, &t->merges[i], error);
    free(work);
    if (status == GGUF_OK) {
        t->merge_count = (size_t)count;
        bpe_sort(t->merges, t->merge_count);
    }
    return status;
}

static gguf_status check_kind(const gguf_file *file, const char *key, const char *expected,
                              gguf_error *error)
{
    gguf_text text;
    const gguf_status status = gguf_get_text(file, key, &text, error);
    if (status != GGUF_OK)
        return status;
    if (text.length != strlen(expected) || memcmp(text.bytes, expected, strlen(expected)) != 0)
        return gguf_fail(error, GGUF_ERR_VALUE, "%s is \"%.*s\", expected \"%s\"", key,
                         (int)(text.length < 64 ? text.length : 64), text.bytes, expected);
    return GGUF_OK;
}

static gguf_status read_file(tokeniser *t, const gguf_file *file, gguf_error *error)
{
    int16_t byte_of[324];
    gguf_text *texts = NULL, *merges = NULL;
    int32_t *types = NULL;
    uint64_t count = 0, type_count = 0, merge_count = 0, unknown = 0;
    make_alphabet(byte_of);
    gguf_status status = check_kind(file, "tokenizer.ggml.model", "gpt2", error);
    if (status == GGUF_OK)
        status = check_kind(file, "tokenizer.ggml.pre", "smollm", error);
    if (status == GGUF_OK)
        status = gguf_get_texts(file, "tokenizer.ggml.tokens", &texts, &count, error);
    if (status == GGUF_OK)
        status = gguf_get_i32s(file, "tokenizer.ggml.token_type", &types, &type_count, error);
    if (status == GGUF_OK)
        status = gguf_get_texts(file, "tokenizer.ggml.merges", &merges, &merge_count, error);
    if (status == GGUF_OK)
        status = gguf_get_u64(file, "tokenizer.ggml.unknown_token_id", &unknown, error);
    if (status == GGUF_OK && (count < 1 || count > INT32_MAX || type_count != count ||
                              merge_count > UINT32_MAX || unknown >= count))
        status = gguf_fail(error, GGUF_ERR_VALUE,
                           "%" PRIu64 " tokens, %" PRIu64 " types, %" PRIu64
                           " merges and unknown token %" PRIu64 " do not go together",
                           count, type_count, merge_count, unknown);
    if (status == GGUF_OK) {
        t->count = (int32_t)count;
        t->unknown = (int32_t)unknown;
        status = read_vocabulary(t, byte_of, texts, types, error);
    }
    if (status == GGUF_OK)
        status = read_merges(t, byte_of, merges, merge_count, error);
    free(texts);
    free(types);
    free(merges);
    return status;
}

gguf_status tokeniser_open(const gguf_file *file, tokeniser **made, gguf_error *error)
{
    if (file == NULL || made == NULL)
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "%s is NULL", file ? "made" : "file");
    *made = NULL;
    tokeniser *t = calloc(1, sizeof *t);
    if (t == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for the tokeniser");
    gguf_status status = read_file(t, file, error);
    if (status == GGUF_OK) {
        t->cutter = pieces_new();
        if (t->cutter == NULL)
            status = gguf_fail(error, GGUF_ERR_MEMORY,
                               "PCRE2 cannot compile the pieces: was it built without Unicode?");
    }
    if (status == GGUF_OK)
        *made = t;
    else
        tokeniser_close(t);
    return status;
}

void tokeniser_close(tokeniser *t)
{
    if (t == NULL)
        return;
    pieces_free(t->cutter);
    free(t->pool);
    free(t->tokens);
    free(t->sorted);
    free(t->merges);
    free(t);
}

int32_t tokeniser_vocabulary(const tokeniser *t)
{
    return t->count;
}

/* ---- encode ---- */

typedef struct encoding {
    const tokeniser *t;
    int32_t *ids; /* room for one id a byte */
    size_t count, unknown;
} encoding;

static int add_piece(void *user, const char *text, size_t length)
{
    encoding *e = user;
    int32_t *ids = e->ids + e->count;
    for (size_t i = 0; i < length; i++) {
        ids[i] = e->t->byte_id[(unsigned char)text[i]];
        if (ids[i] < 0) {
            ids[i] = e->t->unknown; /* joins in no merge: it is not a normal token */
            e->unknown++;
        }
    }
    if (!bpe_apply(e->t->merges, e->t->merge_count, ids, &length))
        return 0;
    e->count += length;
    return 1;
}

gguf_status tokeniser_encode(const tokeniser *t, const char *text, size_t length, int32_t **ids,
                             size_t *count, size_t *unknown, gguf_error *error)
{
    if (t == NULL || ids == NULL || count == NULL || (text == NULL && length > 0))
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "an argument is NULL");
    *ids = NULL;
    *count = 0;
    encoding e = {.t = t};
    e.ids = length < SIZE_MAX / sizeof *e.ids ? malloc((length + 1) * sizeof *e.ids) : NULL;
    const int done = e.ids != NULL && pieces_cut(t->cutter, text, length, add_piece, &e);
    if (!done) {
        free(e.ids);
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory to encode %zu bytes", length);
    }
    *ids = e.ids;
    *count = e.count;
    if (unknown != NULL)
        *unknown = e.unknown;
    return GGUF_OK;
}

/* ---- decode ---- */

gguf_status tokeniser_decode(const tokeniser *t, const int32_t *ids, size_t count, char **text,
                             size_t *length, gguf_error *error)
{
    if (t == NULL || text == NULL || length == NULL || (ids == NULL && count > 0))
        return gguf_fail(error, GGUF_ERR_ARGUMENT, "an argument is NULL");
    *text = NULL;
    *length = 0;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || ids[i] >= t->count)
            return gguf_fail(error, GGUF_ERR_ARGUMENT,
                             "token %zu is %" PRId32 ", expected 0 to %" PRId32, i, ids[i],
                             t->count - 1);
        *length += t->tokens[ids[i]].length;
    }
    char *at = *text = malloc(*length + 1);
    if (at == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %zu bytes of text", *length);
    for (size_t i = 0; i < count; i++) {
        const token *one = &t->tokens[ids[i]];
        memcpy(at, one->bytes, one->length);
        at += one->length;
    }
    *at = 0;
    return GGUF_OK;
}
