/* tests/unit_tokeniser.c: byte-level BPE, on a vocabulary small enough to merge by hand, and on the
 * real model where scripts/fetch_model.sh has put it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpe.h>
#include <pieces.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tokeniser.h>

#include "support/gguf_bytes.h"

/* Ids are positions. U+0120 stands for a space, U+010A for a new line; U+00C3 and U+00A9 for the
 * bytes of e-acute. */
static const char *const TOKENS[] = {
    "<end>",        /*  0 control, and unknown */
    "\u0120",       /*  1 space */
    "a",            /*  2 */
    "b",            /*  3 */
    "c",            /*  4 */
    "0",            /*  5 */
    "1",            /*  6 */
    "'",            /*  7 */
    "s",            /*  8 */
    "\u010a",       /*  9 new line */
    "\u00c3",       /* 10 byte C3 */
    "\u00a9",       /* 11 byte A9 */
    "bc",           /* 12 */
    "ab",           /* 13 */
    "abc",          /* 14 */
    "\u0120a",      /* 15 */
    "\u0120abc",    /* 16 */
    "\u00c3\u00a9", /* 17 */
    "\u0120\u0120", /* 18 */
    "01",           /* 19: never made, digits are pieces of their own */
    "aa",           /* 20 */
};
static const char *const MERGES[] = {
    "b c", "a b", "a bc", "\u0120 a", "\u0120 abc", "\u00c3 \u00a9", "\u0120 \u0120", "0 1", "a a"};
#define TOKEN_COUNT (sizeof TOKENS / sizeof *TOKENS)
#define MERGE_COUNT (sizeof MERGES / sizeof *MERGES)

typedef struct changes {
    const char *pre, *token, *merge; /* instead of the right ones */
    int no_merges, few_types;
} changes;

static gguf_file *make_file(const changes *c)
{
    static gguf_bytes f;
    const char *tokens[TOKEN_COUNT], *merges[MERGE_COUNT];
    gguf_file *file;
    gguf_error error;
    memcpy(tokens, TOKENS, sizeof tokens);
    memcpy(merges, MERGES, sizeof merges);
    if (c->token != NULL)
        tokens[20] = c->token;
    if (c->merge != NULL)
        merges[8] = c->merge;
    put_head(&f, 3, 0, c->no_merges ? 5 : 6);
    put_key_text(&f, "tokenizer.ggml.model", "gpt2");
    put_key_text(&f, "tokenizer.ggml.pre", c->pre != NULL ? c->pre : "smollm");
    put_key_texts(&f, "tokenizer.ggml.tokens", tokens, TOKEN_COUNT);
    put_key(&f, "tokenizer.ggml.token_type", GGUF_ARRAY);
    put_u32(&f, GGUF_I32);
    put_u64(&f, c->few_types ? 2 : TOKEN_COUNT);
    for (size_t i = 0; i < (c->few_types ? 2 : TOKEN_COUNT); i++)
        put_u32(&f, i == 0 ? 3 : 1);
    if (!c->no_merges)
        put_key_texts(&f, "tokenizer.ggml.merges", merges, MERGE_COUNT);
    put_key(&f, "tokenizer.ggml.unknown_token_id", GGUF_U32);
    put_u32(&f, 0);
    if (gguf_parse(f.at, f.count, &file, &error) != GGUF_OK)
        fail_msg("%s", error.detail);
    return file;
}

static tokeniser *make_tokeniser(void)
{
    gguf_file *file = make_file(&(changes){0});
    tokeniser *t;
    gguf_error error;
    if (tokeniser_open(file, &t, &error) != GGUF_OK)
        fail_msg("%s", error.detail);
    gguf_close(file); /* the tokeniser must not need it */
    return t;
}

static void check(const tokeniser *t, const char *text, size_t length, size_t unknown,
                  size_t wanted_count, const int32_t *wanted)
{
    int32_t *ids;
    size_t count, found = 99;
    assert_int_equal(tokeniser_encode(t, text, length, &ids, &count, &found, NULL), GGUF_OK);
    if (count != wanted_count || (count > 0 && memcmp(ids, wanted, count * sizeof *ids) != 0)) {
        fprintf(stderr, "\"%s\" gave", text);
        for (size_t i = 0; i < count; i++)
            fprintf(stderr, " %d", (int)ids[i]);
        fprintf(stderr, "\n");
        fail();
    }
    assert_int_equal(found, unknown);
    if (unknown == 0) {
        char *back;
        size_t back_length;
        assert_int_equal(tokeniser_decode(t, ids, count, &back, &back_length, NULL), GGUF_OK);
        assert_int_equal(back_length, length);
        assert_memory_equal(back, text, length);
        free(back);
    }
    free(ids);
}

#define CHECK(text, unknown, ...)                                                  \
    check(t, text, sizeof text - 1, unknown, sizeof((int32_t[]){__VA_ARGS__}) / 4, \
          (int32_t[]){__VA_ARGS__})

static void test_by_hand(void **state)
{
    (void)state;
    tokeniser *t = make_tokeniser();
    assert_int_equal(tokeniser_vocabulary(t), TOKEN_COUNT);
    check(t, "", 0, 0, 0, NULL);
    CHECK("ab", 0, 13);
    CHECK("abc", 0, 14);    /* b c first: a bc, then abc; not ab c */
    CHECK("aab", 0, 2, 13); /* a b (rank 1) before a a (rank 8) */
    CHECK("aaa", 0, 20, 2); /* of equal ranks the leftmost */
    CHECK("aaaa", 0, 20, 20);
    CHECK(" abc", 0, 16);   /* abc (rank 2) before space a (rank 3), then both */
    CHECK(" ab", 0, 1, 13); /* a b first, and space ab is no merge */
    CHECK(" a", 0, 15);
    CHECK("01", 0, 5, 6);     /* digits stay apart */
    CHECK("a 0", 0, 2, 1, 5); /* a space before a digit is its own piece */
    CHECK("  a", 0, 1, 15);   /* the last of several spaces goes with the word */
    CHECK("a  ", 0, 2, 18);
    CHECK("a  0", 0, 2, 18, 5);
    CHECK("a\nb", 0, 2, 9, 3);
    CHECK("a'sb", 0, 2, 7, 8, 3);
    CHECK("\xc3\xa9", 0, 17);
    CHECK("\xc3", 0, 10); /* not UTF-8: bytes, each a piece */
    CHECK("\xa9\xc3", 0, 11, 10);
    CHECK("\xc3\xc3\xa9", 0, 10, 17);
    CHECK("x", 1, 0);
    CHECK("axb", 1, 2, 0, 3);
    CHECK("<end>", 5, 0, 0, 0, 0, 0); /* a control token's name is text */
    tokeniser_close(t);
    tokeniser_close(NULL);
}

static void test_decode(void **state)
{
    (void)state;
    tokeniser *t = make_tokeniser();
    const int32_t ids[] = {0, 16, 9, 17}, low[] = {1, -1}, high[] = {TOKEN_COUNT};
    char *text;
    size_t length;
    gguf_error error;
    assert_int_equal(tokeniser_decode(t, ids, 4, &text, &length, NULL), GGUF_OK);
    assert_string_equal(text, "<end> abc\n\xc3\xa9");
    free(text);
    assert_int_equal(tokeniser_decode(t, low, 2, &text, &length, &error), GGUF_ERR_ARGUMENT);
    assert_non_null(strstr(error.detail, "token 1 is -1"));
    assert_int_equal(tokeniser_decode(t, high, 1, &text, &length, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(tokeniser_find(t, " abc", 4), 16);
    assert_int_equal(tokeniser_find(t, "<end>", 5), -1); /* control tokens are not found by text */
    assert_int_equal(tokeniser_find(t, "", 0), -1);
    tokeniser_close(t);
}

static void must_fail(const changes *c, gguf_status expected, const char *word)
{
    gguf_file *file = make_file(c);
    tokeniser *t;
    gguf_error error = {0};
    assert_int_equal(tokeniser_open(file, &t, &error), expected);
    assert_null(t);
    assert_non_null(strstr(error.detail, word));
    gguf_close(file);
}

static void test_wrong_files(void **state)
{
    (void)state;
    must_fail(&(changes){.pre = "llama-bpe"}, GGUF_ERR_VALUE, "llama-bpe");
    must_fail(&(changes){.no_merges = 1}, GGUF_ERR_MISSING, "tokenizer.ggml.merges");
    must_fail(&(changes){.merge = "a c"}, GGUF_ERR_VALUE, "merge 8"); /* there is no token ac */
    must_fail(&(changes){.merge = "aa"}, GGUF_ERR_VALUE, "merge 8");
    must_fail(&(changes){.merge = " aa"}, GGUF_ERR_VALUE, "merge 8");
    must_fail(&(changes){.token = "\u0401", .merge = "a b"}, GGUF_ERR_VALUE, "token 20");
    must_fail(&(changes){.token = "\xc3", .merge = "a b"}, GGUF_ERR_VALUE, "token 20");
    must_fail(&(changes){.few_types = 1}, GGUF_ERR_VALUE, "do not go together");
    assert_int_equal(tokeniser_open(NULL, &(tokeniser *){0}, NULL), GGUF_ERR_ARGUMENT);
}

static int count_piece(void *user, const char *piece, size_t length)
{
    (void)piece;
    assert_true(length > 0);
    ++*(int *)user;
    return 1;
}

static int refuse_piece(void *user, const char *piece, size_t length)
{
    (void)piece;
    (void)length;
    return ++*(int *)user < 2;
}

/* Letters are one piece; bytes that Unicode's table 3-7 does not allow are a piece each. */
static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int pieces;
    } cases[] = {{"\xed\x9f\xbf", 1},     /* the last before the surrogates */
                 {"\xf4\x8f\xbf\xbf", 1}, /* U+10FFFF */
                 {"\xf0\x90\x80\x80", 1}, /* U+10000 */
                 {"\xe0\xa0\x80", 1},     /* U+0800 */
                 {"\xed\xa0\x80", 3},     /* a surrogate */
                 {"\xf4\x90\x80\x80", 4}, /* above U+10FFFF */
                 {"\xf0\x8f\xbf\xbf", 4}, /* overlong */
                 {"\xe0\x9f\xbf", 3},     /* overlong */
                 {"\xc1\xbf", 2},         /* overlong */
                 {"\xe2\x82", 2},         /* cut off */
                 {"\xe2\x82"
                  "a",
                  3},
                 {"\x80", 1}};
    pieces *p = pieces_new();
    assert_non_null(p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int count = 0;
        assert_int_equal(pieces_cut(p, cases[i].text, strlen(cases[i].text), count_piece, &count),
                         1);
        if (count != cases[i].pieces)
            fail_msg("case %zu: %d pieces, expected %d", i, count, cases[i].pieces);
    }
    int count = 0;
    assert_int_equal(pieces_cut(p, "a b c", 5, refuse_piece, &count), 0);
    assert_int_equal(count, 2);
    pieces_free(p);
    pieces_free(NULL);
}

/* Merging as it is defined: look at all pairs, take the lowest rank, the leftmost; again. */
static size_t merge_plainly(const bpe_merge *merges, size_t merge_count, int32_t *ids, size_t count)
{
    for (;;) {
        const bpe_merge *best = NULL;
        size_t at = 0;
        for (size_t i = 0; i + 1 < count; i++)
            for (size_t j = 0; j < merge_count; j++)
                if (merges[j].left == ids[i] && merges[j].right == ids[i + 1] &&
                    (best == NULL || merges[j].rank < best->rank)) {
                    best = &merges[j];
                    at = i;
                }
        if (best == NULL)
            return count;
        ids[at] = best->result;
        memmove(ids + at + 1, ids + at + 2, (count - at - 2) * sizeof *ids);
        count--;
    }
}

static void test_merging_property(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 3000; round++) {
        bpe_merge merges[24];
        int32_t fast[40], slow[40];
        size_t merge_count = 1 + (size_t)round % 24, count = (size_t)round % 40;
        for (size_t i = 0; i < merge_count; i++) {
            /* Any two earlier tokens make a new one; the first three are letters. */
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            const int32_t made = 3 + (int32_t)i;
            merges[i] = (bpe_merge){(int32_t)((random >> 33) % (uint64_t)made),
                                    (int32_t)((random >> 45) % (uint64_t)made), made,
                                    (uint32_t)((random >> 20) & 255) << 8 | (uint32_t)i};
        }
        for (size_t i = 0; i < count; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            fast[i] = slow[i] = (int32_t)((random >> 40) % 3);
        }
        const size_t wanted = merge_plainly(merges, merge_count, slow, count);
        bpe_sort(merges, merge_count);
        assert_int_equal(bpe_apply(merges, merge_count, fast, &count), 1);
        assert_int_equal(count, wanted);
        if (count > 0)
            assert_memory_equal(fast, slow, count * sizeof *fast);
    }
}

/* ---- the real model ---- */

static tokeniser *open_model(void)
{
    const char *folder = getenv("FBQ_MODEL_DIR");
    char path[1024];
    gguf_file *file;
    gguf_error error;
    tokeniser *t;
    snprintf(path, sizeof path, "%s/SmolLM2-135M-Instruct.Q4_1.gguf",
             folder != NULL ? folder : "../../model");
    if (gguf_open(path, &file, &error) != GGUF_OK) {
        print_message("skipped: %s\n", error.detail);
        skip();
    }
    if (tokeniser_open(file, &t, &error) != GGUF_OK)
        fail_msg("%s", error.detail);
    gguf_close(file);
    return t;
}

static void test_model(void **state)
{
    (void)state;
    tokeniser *t = open_model();
    assert_int_equal(tokeniser_vocabulary(t), 49152);
    /* Each of these is one token, so the merges must end there, whatever they are. */
    CHECK("Hello world", 0, 19556, 905);
    CHECK("the", 0, 1195);
    CHECK(" the", 0, 260);
    CHECK("2025", 0, 34, 32, 34, 37);
    static const char *const texts[] = {
        "It isn't  over;\n\n\tthe 3rd of 1,024 — naïve Ünïcode, 日本語, 🙂 and a tail of "
        "spaces "
        " "
        " ",
        "bytes that are not UTF-8: \xff\xfe \xc3 \xe2\x82 \xed\xa0\x80 end",
        "    indented\r\n\r\n'LL don't"};
    for (int i = 0; i < 3; i++) {
        int32_t *ids;
        size_t count, unknown, length;
        char *back;
        assert_int_equal(
            tokeniser_encode(t, texts[i], strlen(texts[i]), &ids, &count, &unknown, NULL), GGUF_OK);
        assert_int_equal(unknown, i == 1 ? 2 : 0); /* no token for FE and FF */
        if (unknown == 0) {
            assert_int_equal(tokeniser_decode(t, ids, count, &back, &length, NULL), GGUF_OK);
            assert_int_equal(length, strlen(texts[i]));
            assert_memory_equal(back, texts[i], length);
            free(back);
        }
        free(ids);
    }
    tokeniser_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),          cmocka_unit_test(test_decode),
        cmocka_unit_test(test_wrong_files),      cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_merging_property), cmocka_unit_test(test_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
