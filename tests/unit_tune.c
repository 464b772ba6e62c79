/* tests/unit_tune.c: fbq-tune as a user runs it: records shown, moved as lines and as JSON,
 * explained and forgotten; wrong command lines and damaged inputs refused, with nothing changed.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fbq/fbq.h>

#include "support/command.h"
#include "support/layer.h"
#include "support/records.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};
static const fbq_gpu rtx3090 = {"NVIDIA GeForce RTX 3090", 86, 82, 101376, 102400, 65536};
static char folder[64], wisdom[100], other[100], lines[100];
static command_run run;

/* Run fbq-tune; its exit status. */
#define TUNE(...) tune((const char *const[]){FBQ_TUNE, __VA_ARGS__, NULL})
static int tune(const char *const *words)
{
    command_run_words(words, &run);
    return run.status;
}

static int says(const char *text)
{
    return strstr(run.out, text) || strstr(run.err, text);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fbq-tune-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(wisdom, sizeof wisdom, "%s/wisdom", folder);
    snprintf(other, sizeof other, "%s/new/other", folder);
    snprintf(lines, sizeof lines, "%s/lines", folder);
    setenv("FBQ_CACHE_DIR", folder, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    snprintf(other, sizeof other, "%s.lock", folder); /* of a folder that was named as the file */
    unlink(other);
    return 0;
}

/* Four records of two GPUs in the default file; their lines in `text`. */
static void fill(char *text)
{
    fbq_problem q = record_problem(4096, 4096, 128, 1), k = record_problem(14336, 4096, 128, 8);
    fbq_wisdom *w = NULL;
    fbq_record records[4];
    k.format.bits = 3;
    q.shape.segments = 2;
    q.shape.segment[1].n = 1024;
    records[0] = record_of(&q, &h200, FBQ_KERNEL_FUSED);
    records[1] = record_of(&k, &h200, FBQ_KERNEL_FUSED);
    records[2] = record_of(&k, &h200, FBQ_KERNEL_DOWN);
    records[3] = record_of(&k, &rtx3090, FBQ_KERNEL_FUSED);
    records[3].rigor = FBQ_RIGOR_ESTIMATE;
    records[3].median_ns = 0;
    strcpy(records[2].gpu.name, "007"); /* no number, for all its digits */
    remove(wisdom);
    folder_remove(other);
    assert_int_equal(fbq_wisdom_new(&w, NULL), FBQ_OK);
    *text = 0;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(fbq_wisdom_add(w, &records[i], NULL), FBQ_OK);
        fbq_record_print(fbq_wisdom_record(w, (size_t)i), text + strlen(text), FBQ_RECORD_BYTES);
        strcat(text, "\n");
    }
    assert_int_equal(fbq_wisdom_write(w, wisdom, NULL), FBQ_OK);
    fbq_wisdom_free(w);
}

static void test_usage(void **state)
{
    static const struct {
        const char *words[6];
        const char *says;
    } cases[] = {
        {{"shw"}, "no subcommand shw"},
        {{"show", "--shap", "1x1", "--nonsense"}, "nonsense"},
        {{"show", "--rank", "8"}, "--rank is no option of show"},
        {{"show", "what"}, "what is what"},
        {{"show", "--shape", "4096"}, "NxK"},
        {{"show", "--shape", "0x4096"}, "NxK"},
        {{"show", "--shape", "4096x4096y"}, "NxK"},
        {{"show", "--bits", "5"}, "a number from 2 to 4"},
        {{"show", "--bits", "4b"}, "a number from 2 to 4"},
        {{"show", "--kernel", "up"}, "down or fused"},
        {{"show", "--file", ""}, "--file"},
        {{"explain"}, "--shape NxK"},
        {{"explain", "--shape", "64x64", "--gpu", "voodoo2"}, "rtx3090"},
        {{"explain", "--shape", "64x64", "--group", "100"}, "32, 64"},
        {{"explain", "--shape", "64x64", "--zero", "half"}, "none, code or f16"},
        {{"explain", "--shape", "64x64", "--type", "i8"}, "f16 or bf16"},
        {{"explain", "--shape", "64x64", "--factor-type", "f32"}, "f16, bf16 or i8"},
        {{"explain", "--shape", "64x64", "--m", "17"}, "1 to 16"},
        {{"explain", "--shape", "64x64", "--launches", "3"}, "0 to 2"},
        {{"merge"}, "which files"},
        {{"forget"}, "which records"},
        {{"forget", "--json"}, "no option of forget"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *words[8] = {FBQ_TUNE};
        for (int j = 0; j < 6 && cases[i].words[j]; j++)
            words[j + 1] = cases[i].words[j];
        if (tune(words) != 2 || !strstr(run.err, cases[i].says) || run.out[0])
            fail_msg("%s %s: exit status %d, \"%s\"; expected 2 and \"%s\"", words[1],
                     words[2] ? words[2] : "", run.status, run.err, cases[i].says);
    }
    const char *const alone[] = {FBQ_TUNE, NULL};
    assert_int_equal(tune(alone), 2);
    assert_int_equal(TUNE("--help"), 0);
    assert_non_null(strstr(run.out, "Exit status"));
    assert_int_equal(TUNE("show", "-h"), 0);
    assert_int_equal(TUNE("--version"), 0);
    assert_string_equal(run.out, "fbq-tune " FBQ_VERSION_STRING "\n");
}

static void test_show(void **state)
{
    char text[5 * FBQ_RECORD_BYTES];
    (void)state;
    fill(text);
    assert_int_equal(TUNE("show"), 0);
    assert_true(says("NVIDIA_H200, 132 SMs | 4 bits g128 zero code, f16 | 4096+1024x4096 r128+0"));
    assert_true(says("not run | estimate") && says("5.00 +- 0.02 us | measure"));
    assert_true(says("4 of 4 records"));
    assert_int_equal(TUNE("show", "--gpu", "rtx3090"), 0);
    assert_true(says("1 of 4 records") && says("82 SMs"));
    assert_int_equal(TUNE("show", "--gpu", "geforce rtx"), 0);
    assert_true(says("1 of 4 records"));
    assert_int_equal(TUNE("show", "--shape", "5120x4096"), 0);
    assert_true(says("1 of 4 records") && says("r128+0"));
    assert_int_equal(TUNE("show", "--bits", "3", "--kernel", "down", "--json"), 0);
    json_t *list = json_loads(run.out, 0, NULL);
    assert_int_equal(json_array_size(list), 1);
    const json_t *record = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(record, "kernel")), "down");
    assert_int_equal(json_integer_value(json_object_get(record, "m")), 8);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(record, "n"), 0)), 14336);
    assert_int_equal(json_integer_value(json_object_get(record, "median_ns")), 5000);
    assert_string_equal(json_string_value(json_object_get(record, "gpu")), "007");
    json_decref(list);
    /* no file is no records; a damaged one is told of */
    assert_int_equal(TUNE("show", "--file", other), 0);
    assert_true(says("0 of 0 records"));
    file_write(lines, "fbq1 fused nothing\n", 19);
    assert_int_equal(TUNE("show", "--file", lines), 0);
    assert_true(says("1 lines cannot be read") && says("checksum"));
    assert_int_equal(TUNE("show", "--file", folder), 1);
}

/* The lines of a file, sorted as they are written, are the same wherever they have been. */
static void check_lines(const char *file, const char *text)
{
    assert_int_equal(TUNE("export", "--file", file), 0);
    assert_string_equal(run.out, text);
}

static void test_moving(void **state)
{
    char text[5 * FBQ_RECORD_BYTES], json[100];
    (void)state;
    fill(text);
    check_lines(wisdom, text);
    assert_int_equal(TUNE("export", "-o", lines), 0);
    assert_string_equal(run.out, "");
    assert_int_equal(TUNE("merge", lines, wisdom, "--file", other), 0);
    assert_true(says("4 records were merged"));
    check_lines(other, text);
    /* by JSON */
    folder_remove(other);
    *strrchr(other, '/') = 0;
    folder_remove(other);
    other[strlen(other)] = '/';
    snprintf(json, sizeof json, "%s/json", folder);
    assert_int_equal(TUNE("export", "--json", "--output", json), 0);
    assert_int_equal(TUNE("import", json, "--file", other), 0);
    check_lines(other, text);
    assert_int_equal(TUNE("export", "--gpu", "h200", "--kernel", "fused"), 0);
    assert_non_null(strstr(run.out, "sms=132"));
    assert_null(strstr(run.out, "sms=82"));
    assert_int_equal(TUNE("export", "-o", "/nonexistent/folder/file"), 1);
    assert_true(says("/nonexistent/folder/file"));
    assert_int_equal(TUNE("export", "--json", "-o", "/nonexistent/folder/file"), 1);
    assert_int_equal(TUNE("merge", "/nonexistent/file"), 1);
    assert_true(says("/nonexistent/file") && says("nothing was changed"));
}

/* One that cannot be taken: none is. */
static void test_transactions(void **state)
{
    char text[5 * FBQ_RECORD_BYTES], *changed;
    size_t size;
    (void)state;
    fill(text);
    file_write(lines, text, strlen(text));
    changed = file_read(lines, &size);
    *strstr(changed, "k=4096") = 'q'; /* of the first line */
    file_write(lines, changed, size);
    assert_int_equal(TUNE("merge", wisdom, lines, "--file", other), 1);
    assert_true(says("lines:1: ") && says("checksum") && says("nothing was changed"));
    assert_int_equal(access(other, F_OK), -1);
    assert_int_equal(TUNE("merge", lines, "--file", other, "--skip-damaged"), 0);
    assert_true(says("left out") && says("3 records were merged"));
    free(changed);
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"[", "1: "},
        {"[{}]", "\"format\" and \"kernel\""},
        {"[1]", "\"format\" and \"kernel\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\"}]", "lacks the field"},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"k\": 1, \"k\": 2}]", "duplicate"},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"k\": 1.5}]", "\"k\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"k\": {}}]", "\"k\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"n\": []}]", "\"n\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"n\": [\"1\"]}]", "\"n\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"gpu\": \"a b\"}]", "\"gpu\""},
        {"[{\"format\": \"fbq1\", \"kernel\": \"fused\", \"a b\": 1}]", "\"a b\""},
        {"[{\"format\": \"fbq1 k=1\", \"kernel\": \"fused\"}]", "unknown kernel"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        folder_fresh(other);
        folder_remove(other);
        file_write(lines, cases[i].json, strlen(cases[i].json));
        if (TUNE("import", lines, "--file", other) != 1 || !says(cases[i].says))
            fail_msg("%s: exit status %d, \"%s\"; expected 1 and \"%s\"", cases[i].json, run.status,
                     run.err, cases[i].says);
        assert_int_equal(access(other, F_OK), -1);
    }
}

/* Inputs with pieces changed, cut and doubled: taken or refused, but not a crash. */
static void test_any_input(void **state)
{
    char text[5 * FBQ_RECORD_BYTES], json[100], *good[2];
    uint64_t random = 3;
    size_t sizes[2];
    int ends[2] = {0, 0};
    (void)state;
    fill(text);
    snprintf(json, sizeof json, "%s/json", folder);
    assert_int_equal(TUNE("export", "--json", "-o", json), 0);
    good[0] = file_read(json, &sizes[0]);
    good[1] = file_read(wisdom, &sizes[1]);
    for (int i = 0; i < 400; i++) {
        const int kind = i % 2;
        char *bytes = malloc(2 * sizes[kind]);
        size_t size = sizes[kind];
        assert_non_null(bytes);
        memcpy(bytes, good[kind], size);
        for (int edits = (int)(random_bits(&random) % 3); edits; edits--) {
            const size_t at = random_bits(&random) % size, span = random_bits(&random) % 40;
            const size_t from = random_bits(&random) % size;
            if (at + span < size && from + span < size)
                memmove(bytes + at, bytes + from, span);
            bytes[at] = (char)(random_bits(&random) % 4 ? bytes[at] : (int)random_bits(&random));
        }
        if (random_bits(&random) % 8 == 0)
            size = random_bits(&random) % size;
        file_write(lines, bytes, size);
        free(bytes);
        remove(wisdom);
        TUNE("import", lines);
        if (run.status != 0 && run.status != 1)
            fail_msg("input %d ended the program with %d: %s", i, run.status, run.err);
        ends[run.status]++;
    }
    assert_true(ends[0] > 20 && ends[1] > 20);
    free(good[0]);
    free(good[1]);
}

static void test_forget(void **state)
{
    char text[5 * FBQ_RECORD_BYTES];
    (void)state;
    fill(text);
    assert_int_equal(TUNE("forget", "--gpu", "007", "--kernel", "down"), 0);
    assert_true(says("1 records were taken out"));
    assert_int_equal(TUNE("show"), 0);
    assert_true(says("3 of 3 records"));
    assert_int_equal(TUNE("forget", "--bits", "2"), 0);
    assert_true(says("0 records were taken out"));
    assert_int_equal(TUNE("forget", "--all"), 0);
    assert_true(says("3 records were taken out"));
    assert_int_equal(TUNE("forget", "--all", "--file", folder), 1);
}

static void test_explain(void **state)
{
    char text[5 * FBQ_RECORD_BYTES];
    (void)state;
    fill(text);
    assert_int_equal(
        TUNE("explain", "--shape", "14336x4096", "--bits", "3", "--m", "6", "--gpu", "h200"), 0);
    assert_true(says("(exact: 14336x4096 r128 on NVIDIA_H200, 132 SMs, 5.00 us)"));
    assert_true(says("behind it: fused") && says("(default)") && says("down "));
    assert_int_equal(TUNE("explain", "--shape", "14336x4096", "--bits", "3", "--m", "6", "--gpu",
                          "h100-pcie", "--json"),
                     0);
    json_t *all = json_loads(run.out, 0, NULL);
    const json_t *fused = json_object_get(all, "fused"), *first = json_array_get(fused, 0);
    assert_int_equal(json_array_size(fused), 2);
    assert_string_equal(json_string_value(json_object_get(first, "rung")), "capability");
    assert_true(json_is_null(json_object_get(json_array_get(fused, 1), "record")));
    assert_int_equal(json_array_size(json_object_get(all, "down")), 2);
    json_decref(all);
    assert_int_equal(TUNE("explain", "--shape", "64x64", "--rank", "0", "--gpu", "a100"), 0);
    assert_false(says("down "));
    assert_int_equal(
        TUNE("explain", "--shape", "4096x4096", "--rank", "4096", "--m", "16", "--gpu", "a100"), 1);
    assert_true(says("shared memory"));
}

static void test_doctor(void **state)
{
    char text[5 * FBQ_RECORD_BYTES];
    (void)state;
    fill(text);
    assert_in_range(TUNE("doctor"), 0, 3);
    assert_int_not_equal(run.status, 1);
    assert_int_not_equal(run.status, 2);
    assert_true(says("4 records, 4 of them of this epoch, 0 damaged lines"));
    assert_true(says("not there yet") && says(FBQ_VERSION_STRING));
    assert_int_equal(strstr(run.out, "BAD") != NULL, run.status == 3);
    assert_int_equal(TUNE("doctor", "--json"), run.status);
    json_t *all = json_loads(run.out, 0, NULL);
    assert_true(json_is_true(json_object_get(json_object_get(all, "wisdom"), "ok")));
    json_decref(all);
    file_write(wisdom, "damage\n", 7);
    assert_int_equal(TUNE("doctor"), 3);
    assert_true(says("wisdom     BAD"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),     cmocka_unit_test(test_show),
        cmocka_unit_test(test_moving),    cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_any_input), cmocka_unit_test(test_forget),
        cmocka_unit_test(test_explain),   cmocka_unit_test(test_doctor),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
