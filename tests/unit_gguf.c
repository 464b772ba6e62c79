/* tests/unit_gguf.c: the GGUF reader on right, wrong and mutilated files.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkstemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <gguf.h>
#include <model.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <tokeniser.h>
#include <unistd.h>

#include "support/fence.h"
#include "support/gguf_bytes.h"

static gguf_bytes file_bytes;

/* Parse file_bytes; when that works, use everything that was found. */
static gguf_status try_bytes(const uint8_t *bytes, size_t count, gguf_error *error)
{
    fenced f = fence(bytes, count);
    gguf_file *file;
    const gguf_status status = gguf_parse(f.bytes, count, &file, error);
    if (status == GGUF_OK) {
        float row[4096];
        tokeniser *t;
        for (uint64_t i = 0; i < gguf_tensor_count(file); i++) {
            const gguf_tensor *tensor = gguf_tensor_at(file, i);
            if (tensor->dim[0] <= 4096)
                for (uint64_t r = 0; r < tensor->elements / tensor->dim[0]; r++)
                    assert_int_equal(gguf_dequantise(tensor, r, 1, row, NULL), GGUF_OK);
        }
        if (tokeniser_open(file, &t, NULL) == GGUF_OK)
            tokeniser_close(t);
        gguf_close(file);
    } else {
        assert_null(file);
    }
    unfence(&f);
    return status;
}

static gguf_status try_file(gguf_error *error)
{
    return try_bytes(file_bytes.at, file_bytes.count, error);
}

/* Must fail like this, with a text that holds `word`. */
static void must_fail(gguf_status expected, const char *word)
{
    gguf_error error = {0};
    const gguf_status status = try_file(&error);
    if (status != expected || error.status != expected || strstr(error.detail, word) == NULL)
        fail_msg("expected \"%s\" with \"%s\", got \"%s\": %s", gguf_status_string(expected), word,
                 gguf_status_string(status), error.detail);
}

/* A right file: every value type that is read back, four tensors of the four types, a tokeniser. */
static size_t make_file(void)
{
    static const char *const tokens[] = {"<end>", "a", "b", "ab"};
    static const char *const merges[] = {"a b"};
    gguf_bytes *f = &file_bytes;
    put_head(f, 3, 4, 14);
    put_key(f, "general.alignment", GGUF_U32);
    put_u32(f, 64);
    put_key(f, "u8", GGUF_U8);
    put_number(f, 200, 1);
    put_key(f, "i16", GGUF_I16);
    put_number(f, (uint64_t)-2, 2);
    put_key(f, "u64", GGUF_U64);
    put_u64(f, UINT64_C(1) << 40);
    put_key(f, "f32", GGUF_F32);
    put_f32(f, 0.5f);
    put_key(f, "f64", GGUF_F64);
    put_u64(f, 0);
    put_key(f, "yes", GGUF_BOOL);
    put_number(f, 1, 1);
    put_key_text(f, "tokenizer.ggml.model", "gpt2");
    put_key_text(f, "tokenizer.ggml.pre", "smollm");
    put_key_texts(f, "tokenizer.ggml.tokens", tokens, 4);
    put_key(f, "tokenizer.ggml.token_type", GGUF_ARRAY);
    put_u32(f, GGUF_I32);
    put_u64(f, 4);
    put_u32(f, 3);
    put_u32(f, 1);
    put_u32(f, 1);
    put_u32(f, 1);
    put_key_texts(f, "tokenizer.ggml.merges", merges, 1);
    put_key(f, "tokenizer.ggml.unknown_token_id", GGUF_U32);
    put_u32(f, 0);
    put_key(f, "empty", GGUF_ARRAY);
    put_u32(f, GGUF_F32);
    put_u64(f, 0);
    put_tensor(f, "z.f32", 2, 3, 2, GGUF_TYPE_F32, 0);
    put_tensor(f, "f16", 1, 4, 0, GGUF_TYPE_F16, 64);
    put_tensor(f, "q4_1", 2, 32, 2, GGUF_TYPE_Q4_1, 128);
    put_tensor(f, "q8_0", 2, 64, 1, GGUF_TYPE_Q8_0, 192);
    put_padding(f, 64);
    const size_t header = f->count;
    for (int i = 0; i < 6; i++)
        put_f32(f, (float)i - 2.5f);
    put_padding(f, 64);
    put_number(f, 0x3c00, 2); /* 1 */
    put_number(f, 0xc000, 2); /* -2 */
    put_number(f, 0x0001, 2); /* 2^-24, the smallest subnormal */
    put_number(f, 0x7bff, 2); /* 65504 */
    put_padding(f, 64);
    for (int row = 0; row < 2; row++) {
        put_number(f, 0x3800, 2);                     /* d = 1/2 */
        put_number(f, row == 0 ? 0xbc00 : 0x4000, 2); /* m = -1, 2 */
        for (int j = 0; j < 16; j++)
            put_number(f, (uint64_t)(j | (15 - j) << 4), 1);
    }
    put_padding(f, 64);
    for (int block = 0; block < 2; block++) {
        put_number(f, block == 0 ? 0x3400 : 0x3c00, 2); /* d = 1/4, 1 */
        for (int j = 0; j < 32; j++)
            put_number(f, (uint64_t)(block == 0 ? j - 16 : j == 0 ? -128 : 127), 1);
    }
    return header;
}

static void test_reads(void **state)
{
    (void)state;
    gguf_file *file;
    gguf_error error;
    const gguf_tensor *t;
    uint64_t number = 0;
    float f = 0, out[64];
    gguf_text text;
    make_file();
    assert_int_equal(gguf_parse(file_bytes.at, file_bytes.count, &file, &error), GGUF_OK);
    assert_int_equal(gguf_get_u64(file, "u8", &number, &error), GGUF_OK);
    assert_int_equal(number, 200);
    assert_int_equal(gguf_get_u64(file, "u64", &number, &error), GGUF_OK);
    assert_true(number == UINT64_C(1) << 40);
    assert_int_equal(gguf_get_u64(file, "i16", &number, &error), GGUF_ERR_VALUE);
    assert_non_null(strstr(error.detail, "negative"));
    assert_int_equal(gguf_get_u64(file, "f32", &number, &error), GGUF_ERR_VALUE);
    assert_int_equal(gguf_get_u64(file, "yes", &number, &error), GGUF_ERR_VALUE);
    assert_int_equal(gguf_get_f32(file, "f32", &f, &error), GGUF_OK);
    assert_true(f == 0.5f);
    assert_int_equal(gguf_get_f32(file, "f64", &f, &error), GGUF_ERR_VALUE);
    assert_int_equal(gguf_get_text(file, "tokenizer.ggml.pre", &text, &error), GGUF_OK);
    assert_int_equal(text.length, 6);
    assert_memory_equal(text.bytes, "smollm", 6);
    assert_int_equal(gguf_get_text(file, "u8", &text, &error), GGUF_ERR_VALUE);
    assert_int_equal(gguf_get_text(file, "nothing", &text, &error), GGUF_ERR_MISSING);
    assert_non_null(strstr(error.detail, "nothing"));
    assert_int_equal(gguf_find_tensor(file, "nothing", &t, &error), GGUF_ERR_MISSING);

    assert_int_equal(gguf_tensor_count(file), 4);
    assert_null(gguf_tensor_at(file, 4));
    assert_int_equal(gguf_find_tensor(file, "z.f32", &t, &error), GGUF_OK);
    assert_int_equal(t->dims, 2);
    assert_int_equal(gguf_dequantise(t, 1, 1, out, &error), GGUF_OK);
    for (int i = 0; i < 3; i++)
        assert_true(out[i] == (float)i + 0.5f);
    assert_int_equal(gguf_dequantise(t, 1, 2, out, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(gguf_dequantise(t, UINT64_MAX, 2, out, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(gguf_dequantise(t, 0, 1, NULL, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(gguf_find_tensor(file, "f16", &t, &error), GGUF_OK);
    assert_int_equal(gguf_dequantise(t, 0, 1, out, &error), GGUF_OK);
    assert_true(out[0] == 1 && out[1] == -2 && out[2] == ldexpf(1, -24) && out[3] == 65504);
    assert_int_equal(gguf_find_tensor(file, "q4_1", &t, &error), GGUF_OK);
    assert_int_equal(gguf_dequantise(t, 0, 2, out, &error), GGUF_OK);
    for (int j = 0; j < 16; j++) {
        assert_true(out[j] == 0.5f * (float)j - 1);
        assert_true(out[j + 16] == 0.5f * (float)(15 - j) - 1);
        assert_true(out[j + 32] == 0.5f * (float)j + 2);
    }
    assert_int_equal(gguf_find_tensor(file, "q8_0", &t, &error), GGUF_OK);
    assert_int_equal(gguf_dequantise(t, 0, 1, out, &error), GGUF_OK);
    for (int j = 0; j < 32; j++)
        assert_true(out[j] == 0.25f * (float)(j - 16));
    assert_true(out[32] == -128 && out[33] == 127 && out[63] == 127);
    gguf_close(file);
    gguf_close(NULL);
}

/* A file of one key, whose value the caller appends. */
static gguf_bytes *one_key(const char *key, uint32_t type)
{
    put_head(&file_bytes, 3, 0, 1);
    put_key(&file_bytes, key, type);
    return &file_bytes;
}

static void test_wrong_heads(void **state)
{
    (void)state;
    gguf_bytes *f = &file_bytes;
    gguf_error error;
    make_file();
    f->at[0] = 'P';
    must_fail(GGUF_ERR_MAGIC, "GGUF");
    put_head(f, 1, 0, 0);
    must_fail(GGUF_ERR_VERSION, "version 1");
    put_head(f, 0x03000000, 0, 0);
    must_fail(GGUF_ERR_VERSION, "big-endian");
    put_head(f, 3, 0, 0);
    assert_int_equal(try_file(&error), GGUF_OK); /* nothing in it, but nothing wrong */
    put_head(f, 2, 0, 0);
    assert_int_equal(try_file(&error), GGUF_OK);
    f->count = 0;
    must_fail(GGUF_ERR_TRUNCATED, "magic");
    put_head(f, 3, 0, UINT64_MAX);
    must_fail(GGUF_ERR_COUNT, "keys");
    put_head(f, 3, UINT64_C(1) << 61, 0);
    must_fail(GGUF_ERR_COUNT, "tensors");
}

static void test_wrong_keys(void **state)
{
    (void)state;
    gguf_bytes *f;
    f = one_key("strange", 13);
    put_u64(f, 0);
    must_fail(GGUF_ERR_TYPE, "strange");
    f = one_key("nested", GGUF_ARRAY);
    put_u32(f, GGUF_ARRAY);
    put_u64(f, 0);
    must_fail(GGUF_ERR_TYPE, "arrays of arrays");
    f = one_key("list", GGUF_ARRAY);
    put_u32(f, GGUF_F64);
    put_u64(f, UINT64_C(1) << 61); /* times 8 is 0 in 64 bits */
    must_fail(GGUF_ERR_COUNT, "array elements");
    f = one_key("texts", GGUF_ARRAY);
    put_u32(f, GGUF_STRING);
    put_u64(f, 100);
    must_fail(GGUF_ERR_COUNT, "strings");
    f = one_key("text", GGUF_STRING);
    put_u64(f, UINT64_MAX);
    must_fail(GGUF_ERR_TRUNCATED, "the file ends");
    f = one_key("yes", GGUF_BOOL);
    put_number(f, 2, 1);
    must_fail(GGUF_ERR_VALUE, "bool");
    f = one_key("twice", GGUF_U8);
    put_number(f, 0, 1);
    put_key(f, "twice", GGUF_U8);
    put_number(f, 0, 1);
    f->at[16] = 2; /* the number of keys */
    must_fail(GGUF_ERR_DUPLICATE, "twice");
    static const uint32_t alignments[] = {0, 24, UINT32_C(1) << 31};
    for (int i = 0; i < 3; i++) {
        f = one_key("general.alignment", GGUF_U32);
        put_u32(f, alignments[i]);
        must_fail(GGUF_ERR_ALIGNMENT, "power of two");
    }
    f = one_key("new\nline", 13);
    put_u64(f, 0);
    must_fail(GGUF_ERR_TYPE, "new?line"); /* a message stays one line */
}

/* A file of one tensor and 64 bytes of data. */
static void one_tensor(int dims, uint64_t d0, uint64_t d1, uint32_t type, uint64_t offset)
{
    put_head(&file_bytes, 3, 1, 0);
    put_tensor(&file_bytes, "the.tensor", dims, d0, d1, type, offset);
    put_padding(&file_bytes, 32);
    for (int i = 0; i < 64; i++)
        put_number(&file_bytes, 0, 1);
}

static void test_wrong_tensors(void **state)
{
    (void)state;
    gguf_error error;
    gguf_bytes *f = &file_bytes;
    one_tensor(1, 16, 0, GGUF_TYPE_F32, 0);
    assert_int_equal(try_file(&error), GGUF_OK);
    one_tensor(1, 16, 0, 12, 0);
    must_fail(GGUF_ERR_TYPE, "type 12");
    one_tensor(0, 0, 0, GGUF_TYPE_F32, 0);
    must_fail(GGUF_ERR_COUNT, "dimensions");
    one_tensor(5, 1, 1, GGUF_TYPE_F32, 0);
    must_fail(GGUF_ERR_COUNT, "dimensions");
    one_tensor(2, 16, 0, GGUF_TYPE_F32, 0);
    must_fail(GGUF_ERR_COUNT, "size 0");
    one_tensor(2, UINT64_C(1) << 32, UINT64_C(1) << 32, GGUF_TYPE_F32, 0); /* 2^64 elements */
    must_fail(GGUF_ERR_COUNT, "size");
    one_tensor(1, 33, 0, GGUF_TYPE_Q4_1, 0);
    must_fail(GGUF_ERR_COUNT, "whole blocks of 32");
    one_tensor(1, 1, 0, GGUF_TYPE_F32, 4);
    must_fail(GGUF_ERR_ALIGNMENT, "offset 4");
    one_tensor(1, 17, 0, GGUF_TYPE_F32, 0);
    must_fail(GGUF_ERR_TRUNCATED, "the.tensor");
    one_tensor(1, 1, 0, GGUF_TYPE_F32, UINT64_MAX - 31);
    must_fail(GGUF_ERR_TRUNCATED, "the.tensor");
    for (int twin = 0; twin < 2; twin++) {
        put_head(f, 3, 2, 0);
        put_tensor(f, "one", 1, 8, 0, GGUF_TYPE_F32, 0);
        put_tensor(f, twin ? "one" : "two", 1, 8, 0, GGUF_TYPE_F32, twin ? 32 : 0);
        put_padding(f, 32);
        put(f, (const char[64]){0}, 64);
        if (twin)
            must_fail(GGUF_ERR_DUPLICATE, "one");
        else
            must_fail(GGUF_ERR_OVERLAP, "two");
    }
}

static void test_files(void **state)
{
    (void)state;
    gguf_file *file;
    gguf_error error;
    char path[] = "/tmp/unit_gguf.XXXXXX";
    assert_int_equal(gguf_open("/nowhere/at/all", &file, &error), GGUF_ERR_OPEN);
    assert_non_null(strstr(error.detail, "/nowhere/at/all"));
    assert_int_equal(gguf_open("/tmp", &file, &error), GGUF_ERR_OPEN);
    assert_int_equal(gguf_open(NULL, &file, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(gguf_open("/tmp", NULL, &error), GGUF_ERR_ARGUMENT);
    assert_int_equal(gguf_parse(NULL, 0, &file, NULL), GGUF_ERR_ARGUMENT);
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(gguf_open(path, &file, &error), GGUF_ERR_TRUNCATED);
    make_file();
    assert_int_equal(write(fd, file_bytes.at, file_bytes.count), file_bytes.count);
    close(fd);
    assert_int_equal(gguf_open(path, &file, &error), GGUF_OK);
    assert_int_equal(gguf_tensor_count(file), 4);
    gguf_close(file);
    unlink(path);
}

/* Every shorter file is refused. Short of the last tensor's end nothing may look right. */
static void test_truncated(void **state)
{
    (void)state;
    const size_t header = make_file();
    for (size_t count = 0; count < file_bytes.count; count++) {
        gguf_error error = {0};
        const gguf_status status = try_bytes(file_bytes.at, count, &error);
        if (status != GGUF_ERR_TRUNCATED && !(count < header && status == GGUF_ERR_COUNT))
            fail_msg("cut at %zu: %s: %s", count, gguf_status_string(status), error.detail);
    }
    assert_int_equal(try_file(NULL), GGUF_OK);
}

/* Every single bit flipped, then many changes at random: any answer will do, but no crash, and a
 * refusal says something. */
static void test_flipped(void **state)
{
    (void)state;
    uint64_t random = 1;
    int refused = 0;
    make_file();
    static gguf_bytes changed;
    for (size_t bit = 0; bit < 8 * file_bytes.count; bit++) {
        gguf_error error = {0};
        changed = file_bytes;
        changed.at[bit / 8] ^= (uint8_t)(1 << bit % 8);
        if (try_bytes(changed.at, changed.count, &error) != GGUF_OK) {
            assert_true(error.detail[0] != 0 && error.status != GGUF_OK);
            refused++;
        }
    }
    for (int round = 0; round < 5000; round++) {
        changed = file_bytes;
        for (int i = 0; i < 4; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            static const uint8_t favourites[] = {0, 1, 0x7f, 0x80, 0xff};
            const uint8_t byte = (uint8_t)(random >> 56);
            changed.at[(random >> 20) % changed.count] =
                i % 2 ? byte : favourites[byte % sizeof favourites];
        }
        try_bytes(changed.at, changed.count, NULL);
    }
    assert_true(refused > 1000); /* most of the header matters */
}

static void test_rmsnorm(void **state)
{
    (void)state;
    /* Mean squares 4 and 0: with epsilon 0 and 1 the roots are exact. */
    const float x[4] = {2, -2, 0, 0}, weight[2] = {1, 0.5f};
    float y[4];
    model_rmsnorm(x, weight, 0, 1, 2, y);
    assert_true(y[0] == 1 && y[1] == -0.5f);
    model_rmsnorm(x, weight, 1, 2, 2, y);
    assert_true(fabsf(y[0] - 2 / sqrtf(5)) < 1e-6f && fabsf(y[1] + 1 / sqrtf(5)) < 1e-6f);
    assert_true(y[2] == 0 && y[3] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads),      cmocka_unit_test(test_wrong_heads),
        cmocka_unit_test(test_wrong_keys), cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_files),      cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped),    cmocka_unit_test(test_rmsnorm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
