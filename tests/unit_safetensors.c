/* tests/unit_safetensors.c: the safetensors reader on a file that the format's own writer wrote,
 * and on wrong and mutilated ones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <safetensors.h>
#include <stdlib.h>

#include "support/fence.h"
#include "support/layer.h"
#include "support/safetensors_bytes.h"

static safetensors_bytes file_bytes;

/* Parse; when that works, read every byte that was found. */
static import_status try_bytes(const uint8_t *bytes, size_t count, import_error *error)
{
    fenced f = fence(bytes, count);
    safetensors_file *file;
    const import_status status = safetensors_parse(f.bytes, count, &file, error);
    if (status == IMPORT_OK) {
        volatile unsigned sum = 0;
        for (size_t i = 0; i < safetensors_count(file); i++) {
            const safetensors_tensor *t = safetensors_at(file, i);
            assert_ptr_equal(safetensors_find(file, t->name), t);
            for (uint64_t b = 0; b < t->bytes; b++)
                sum += t->data[b];
        }
        safetensors_close(file);
    } else {
        assert_null(file);
    }
    unfence(&f);
    return status;
}

/* This header, and `data` bytes of zeros, must fail like this, with a text that holds `word`. */
static void must_fail(const char *header, size_t data, import_status expected, const char *word)
{
    import_error error = {0};
    memset(file_bytes.data, 0, data);
    file_bytes.data_count = data;
    safetensors_whole(&file_bytes, header);
    const import_status status = try_bytes(file_bytes.at, file_bytes.count, &error);
    if (status != expected || error.status != expected || !strstr(error.detail, word))
        fail_msg("%s: expected \"%s\" with \"%s\", got \"%s\": %s", header,
                 import_status_string(expected), word, import_status_string(status), error.detail);
}

static const safetensors_tensor *want(const safetensors_file *file, const char *name,
                                      safetensors_type type, int dims)
{
    const safetensors_tensor *t = safetensors_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->type, type);
    assert_int_equal(t->dims, dims);
    return t;
}

/* What tests/fixtures/make_numpy.py wrote. */
static void test_written_elsewhere(void **state)
{
    (void)state;
    safetensors_file *file;
    import_error error = {0};
    if (safetensors_open(FBQ_FIXTURES "/numpy.safetensors", &file, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_int_equal(safetensors_count(file), 7);
    assert_string_equal(safetensors_metadata(file, "note"), "a \"quoted\" text");
    assert_null(safetensors_metadata(file, "other"));
    assert_null(safetensors_find(file, "other"));
    assert_null(safetensors_at(file, 7));
    for (size_t i = 1; i < 7; i++)
        assert_true(strcmp(safetensors_at(file, i - 1)->name, safetensors_at(file, i)->name) < 0);
    const safetensors_tensor *t = want(file, "layer.weight", SAFETENSORS_F32, 2);
    assert_true(t->dim[0] == 3 && t->dim[1] == 4);
    for (uint32_t i = 0; i < 12; i++) {
        const uint32_t bits = safetensors_u32(t, i);
        float v;
        memcpy(&v, &bits, 4);
        assert_true(v == (float)i / 2);
    }
    t = want(file, "layer.half", SAFETENSORS_F16, 1);
    assert_true(safetensors_u16(t, 0) == 0x3c00 && safetensors_u16(t, 1) == 0xc000 &&
                safetensors_u16(t, 2) == 0x7bff);
    t = want(file, "layer.words", SAFETENSORS_I32, 2);
    assert_true(safetensors_u32(t, 1) == 0xffffffff && safetensors_u32(t, 3) == 0x80000000);
    t = want(file, "bytes", SAFETENSORS_U8, 1);
    assert_true(t->data[0] == 0 && t->data[1] == 255);
    t = want(file, "nothing", SAFETENSORS_I64, 2);
    assert_true(t->bytes == 0 && t->dim[0] == 0 && t->dim[1] == 3);
    t = want(file, "one", SAFETENSORS_U16, 0);
    assert_int_equal(safetensors_u16(t, 0), 7);
    t = want(file, "Ünïcode", SAFETENSORS_BOOL, 1);
    assert_true(t->data[0] == 1 && t->data[1] == 0 && t->data[2] == 1);
    safetensors_close(file);
    safetensors_close(NULL);
}

static void test_right(void **state)
{
    (void)state;
    import_error error;
    file_bytes.data_count = 0;
    safetensors_whole(&file_bytes, "{}"); /* nothing in it, but nothing wrong */
    assert_int_equal(try_bytes(file_bytes.at, file_bytes.count, &error), IMPORT_OK);
    safetensors_whole(&file_bytes, "{}      "); /* writers pad the header */
    assert_int_equal(try_bytes(file_bytes.at, file_bytes.count, &error), IMPORT_OK);
    file_bytes.data_count = 3;
    safetensors_whole(&file_bytes, /* a type of tomorrow; tensors in any order */
                      "{\"b\":{\"dtype\":\"F4\",\"shape\":[4],\"data_offsets\":[1,3]},"
                      "\"a\":{\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}");
    assert_int_equal(try_bytes(file_bytes.at, file_bytes.count, &error), IMPORT_OK);
}

static void test_wrong_headers(void **state)
{
    (void)state;
    import_error error;
    safetensors_file *file;
    for (size_t count = 0; count < 8; count++)
        assert_int_equal(try_bytes((const uint8_t *)"\2\0\0\0\0\0\0", count, &error),
                         IMPORT_ERR_TRUNCATED);
    assert_int_equal(try_bytes((const uint8_t *)"\2\0\0\0\0\0\0\0{", 9, &error),
                     IMPORT_ERR_TRUNCATED);
    assert_int_equal(try_bytes((const uint8_t *)"\0\0\0\0\0\0\0\0", 8, &error), IMPORT_ERR_HEADER);
    assert_int_equal(try_bytes((const uint8_t *)"GGUF\3\0\0\0 and more", 16, &error),
                     IMPORT_ERR_HEADER);
    assert_non_null(strstr(error.detail, "safetensors"));
    must_fail(" {}", 0, IMPORT_ERR_HEADER, "begin");
    must_fail("[]", 0, IMPORT_ERR_HEADER, "begin");
    must_fail("{\"a\":", 0, IMPORT_ERR_HEADER, "JSON");
    must_fail("{} x", 0, IMPORT_ERR_HEADER, "JSON");
    must_fail("{\"a\":{},\"a\":{}}", 0, IMPORT_ERR_HEADER, "JSON");
    must_fail("{\"a\\u0000b\":{}}", 0, IMPORT_ERR_HEADER, "JSON");
    must_fail("{\"__metadata__\":[]}", 0, IMPORT_ERR_HEADER, "__metadata__");
    must_fail("{\"__metadata__\":{\"n\":1}}", 0, IMPORT_ERR_HEADER, "not a text");
    must_fail("{\"new\\nline\":3}", 0, IMPORT_ERR_HEADER, "new?line");
    assert_int_equal(safetensors_parse(NULL, 0, &file, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(safetensors_parse("", 0, NULL, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(safetensors_open(NULL, &file, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(safetensors_open("/nowhere/at/all", &file, &error), IMPORT_ERR_OPEN);
    assert_int_equal(safetensors_open("/", &file, &error), IMPORT_ERR_OPEN);
    assert_int_equal(safetensors_open("/dev/null", &file, NULL), IMPORT_ERR_OPEN);
}

#define ONE(type, shape, offsets) \
    "{\"a\":{\"dtype\":" type ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_wrong_tensors(void **state)
{
    (void)state;
    must_fail(ONE("4", "[1]", "[0,1]"), 1, IMPORT_ERR_HEADER, "dtype");
    must_fail(ONE("\"U8\"", "1", "[0,1]"), 1, IMPORT_ERR_HEADER, "shape");
    must_fail(ONE("\"U8\"", "[-1]", "[0,1]"), 1, IMPORT_ERR_HEADER, "shape");
    must_fail(ONE("\"U8\"", "[1.0]", "[0,1]"), 1, IMPORT_ERR_HEADER, "shape");
    must_fail(ONE("\"U8\"", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, IMPORT_ERR_HEADER, "shape");
    must_fail(ONE("\"U8\"", "[1]", "[0]"), 1, IMPORT_ERR_HEADER, "data_offsets");
    must_fail(ONE("\"U8\"", "[1]", "[0,\"1\"]"), 1, IMPORT_ERR_HEADER, "data_offsets");
    must_fail(ONE("\"U8\"", "[1]", "[-1,0]"), 1, IMPORT_ERR_HEADER, "data_offsets");
    must_fail(ONE("\"U8\"", "[1]", "[1,0]"), 1, IMPORT_ERR_RANGE, "from byte 1 to 0");
    must_fail(ONE("\"U8\"", "[2]", "[0,2]"), 1, IMPORT_ERR_RANGE, "1 bytes of tensors");
    must_fail(ONE("\"U8\"", "[1]", "[0,9223372036854775807]"), 1, IMPORT_ERR_RANGE, "lies");
    must_fail(ONE("\"U8\"", "[1]", "[0,9223372036854775808]"), 1, IMPORT_ERR_HEADER, "JSON");
    must_fail(ONE("\"U8\"", "[2]", "[0,1]"), 1, IMPORT_ERR_HEADER, "take another number");
    must_fail(ONE("\"F16\"", "[1]", "[0,1]"), 1, IMPORT_ERR_HEADER, "take another number");
    /* 2^64 elements; 2^62 of them that take 2^64 bytes, which is 0 in 64 bits */
    must_fail(ONE("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, IMPORT_ERR_HEADER, "64 bits");
    must_fail(ONE("\"F32\"", "[4611686018427387904]", "[0,0]"), 0, IMPORT_ERR_HEADER, "another");
    must_fail(ONE("\"U8\"", "[1]", "[1,2]"), 2, IMPORT_ERR_RANGE, "leave a gap");
    must_fail(ONE("\"U8\"", "[1]", "[0,1]"), 2, IMPORT_ERR_RANGE, "end after 1 of 2");
    must_fail("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
              "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
              3, IMPORT_ERR_RANGE, "overlap");
}

/* What is written is read again, aligned; what cannot be is refused and leaves no file. */
static void test_writing(void **state)
{
    (void)state;
    static const char *const path = "unit_safetensors.safetensors";
    static const char *const metadata[][2] = {{"format", "pt"}, {"quote", "a \"b\""}};
    static const uint8_t bytes[24] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    const safetensors_tensor tensors[] = {
        {"odd", SAFETENSORS_U8, 1, {3}, bytes, 3},
        {"Ünïcode", SAFETENSORS_F16, 2, {2, 1}, bytes + 1, 4},
        {"wide", SAFETENSORS_F64, 1, {2}, bytes, 16},
        {"one", SAFETENSORS_I32, 0, {0}, bytes, 4},
        {"none", SAFETENSORS_I64, 2, {0, 7}, NULL, 0},
    };
    safetensors_file *file;
    import_error error;
    if (safetensors_write(path, tensors, 5, metadata, 2, &error) != IMPORT_OK ||
        safetensors_open(path, &file, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_int_equal(safetensors_count(file), 5);
    assert_string_equal(safetensors_metadata(file, "quote"), "a \"b\"");
    for (int i = 0; i < 5; i++) {
        const safetensors_tensor *t = want(file, tensors[i].name, tensors[i].type, tensors[i].dims);
        assert_memory_equal(t->dim, tensors[i].dim, sizeof t->dim);
        assert_int_equal(t->bytes, tensors[i].bytes);
        if (t->bytes)
            assert_memory_equal(t->data, tensors[i].data, t->bytes);
        assert_int_equal((uintptr_t)t->data % (unsigned)safetensors_type_bytes(t->type), 0);
    }
    safetensors_close(file);
    remove(path);
    const safetensors_tensor wrong[][2] = {
        {tensors[0], tensors[0]},                                     /* one name twice */
        {tensors[0], {"x", SAFETENSORS_OTHER, 1, {1}, bytes, 1}},     /* of what type? */
        {tensors[0], {"x", SAFETENSORS_F16, 1, {3}, bytes, 3}},       /* half a number */
        {tensors[0], {NULL, SAFETENSORS_U8, 1, {1}, bytes, 1}},       /* no name */
        {tensors[0], {"x", SAFETENSORS_U8, 1, {1}, NULL, 1}},         /* no data */
        {tensors[0], {"x", SAFETENSORS_U8, 9, {1}, bytes, 1}},        /* nine dimensions */
        {tensors[0], {"\xff\xfe", SAFETENSORS_U8, 1, {1}, bytes, 1}}, /* no UTF-8 */
        {tensors[0], {"x", SAFETENSORS_F64, 2, {1u << 31, 1u << 31}, bytes, 0}}, /* 2^65 bytes */
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(safetensors_write(path, wrong[i], 2, NULL, 0, &error),
                         IMPORT_ERR_ARGUMENT);
        assert_int_equal(safetensors_open(path, &file, NULL), IMPORT_ERR_OPEN);
    }
    assert_int_equal(safetensors_write("nowhere/at/all", tensors, 5, NULL, 0, &error),
                     IMPORT_ERR_OPEN);
    assert_int_equal(safetensors_write(NULL, tensors, 5, NULL, 0, &error), IMPORT_ERR_ARGUMENT);
}

/* Whatever happens to a file: an error or tensors inside it, and never a byte beyond. */
static void test_mutilated(void **state)
{
    (void)state;
    static const char *const spare[] = {"0", "9", "-", "[", "]", "{", "}", "\"", ",", ":", "a"};
    uint64_t random = 1;
    static uint8_t original[sizeof file_bytes.at];
    safetensors_begin(&file_bytes);
    safetensors_put(&file_bytes, "a.weight", "F16", 2, 3, 5, original, 30);
    safetensors_put(&file_bytes, "b", "I32", 1, 7, 0, original, 28);
    safetensors_put(&file_bytes, "c", "U8", 1, 0, 0, original, 0);
    safetensors_end(&file_bytes);
    const size_t count = file_bytes.count;
    memcpy(original, file_bytes.at, count);
    assert_int_equal(try_bytes(original, count, NULL), IMPORT_OK);
    for (size_t cut = 0; cut < count; cut++)
        assert_int_not_equal(try_bytes(original, cut, NULL), IMPORT_OK);
    for (int i = 0; i < 20000; i++) {
        memcpy(file_bytes.at, original, count);
        for (uint64_t n = random_bits(&random) % 3 + 1; n > 0; n--) {
            const uint64_t word = random_bits(&random);
            file_bytes.at[word % (file_bytes.header_count + 8)] =
                word >> 32 & 1 ? (uint8_t)(word >> 40) : (uint8_t)*spare[(word >> 40) % 11];
        }
        try_bytes(file_bytes.at, count, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_elsewhere), cmocka_unit_test(test_right),
        cmocka_unit_test(test_wrong_headers),     cmocka_unit_test(test_wrong_tensors),
        cmocka_unit_test(test_writing),           cmocka_unit_test(test_mutilated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
