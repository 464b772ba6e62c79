/* tests/gpu_tuning.c: fbq-tune tune on a GPU: a layer is tuned, a second time nothing is to be
 * done, and picks that fault, write where they must not, compute a NaN or hang, planted into
 * fbq-trial, are each blamed and cost one record. Skipped where there is no GPU.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <fbq/fbq.h>

#include "support/command.h"
#include "support/device.h"
#include "support/records.h"

static char folder[64], wisdom[100], quarantine[120];
static const char *program = FBQ_TUNE;
static command_run run;

#define TUNE(...) tune((const char *const[]){program, "tune", "--file", wisdom, __VA_ARGS__, NULL})
static int tune(const char *const *words)
{
    command_run_words(words, &run);
    fputs(run.err, stdout);
    return run.status;
}

static int says(const char *text)
{
    return strstr(run.err, text) != NULL;
}

static int fresh(void **state)
{
    (void)state;
    folder_fresh(folder);
    unsetenv("FBQ_TRIAL_PLANT");
    return 0;
}

static void test_tunes(void **state)
{
    (void)state;
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "1,16"), 0);
    assert_true(says("0 of them tuned already"));
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "1,16"), 0);
    assert_true(says("2 of them tuned already"));
    assert_int_equal(access(quarantine, F_OK), -1);
}

/* Three bits, int8 factors, segments; no sub-branch. */
static void test_formats(void **state)
{
    (void)state;
    assert_int_equal(TUNE("--preset", "smollm2-135m", "--bits", "3", "--group", "64",
                          "--factor-type", "i8", "--type", "bf16", "--m", "4"),
                     0);
    assert_int_equal(TUNE("--shape", "1000x1100", "--rank", "0", "--m", "1"), 0);
}

static void blamed(const char *how, const char *word, const char *sentence)
{
    char text[64], *lines;
    size_t count;
    fresh(NULL);
    snprintf(text, sizeof text, "%s stages=3", how);
    setenv("FBQ_TRIAL_PLANT", text, 1);
    assert_int_equal(TUNE("--shape", "2048x2048", "--rank", "0", "--m", "1", "--patience", "5"), 0);
    unsetenv("FBQ_TRIAL_PLANT");
    assert_true(says(sentence));
    lines = file_read(quarantine, &count);
    for (char *line = lines; *line; line = strchr(line, '\n') + 1) {
        char *const end = strchr(line, '\n');
        assert_non_null(end);
        *end = 0;
        assert_non_null(strstr(line, "stages=3"));
        assert_memory_equal(line, word, strlen(word));
        *end = '\n';
    }
    assert_true(count > 0);
    free(lines);
    assert_int_equal(TUNE("--shape", "2048x2048", "--rank", "0", "--m", "1", "--again"), 0);
    assert_true(says("0 blamed") && !says(" 0 passed over"));
}

static void test_fault(void **state)
{
    (void)state;
    blamed("fault", "died", "died: ");
}

static void test_beyond(void **state)
{
    (void)state;
    blamed("beyond", "died", "behind the end of a buffer");
}

static void test_weights(void **state)
{
    (void)state;
    blamed("weights", "died", "were overwritten");
}

static void test_nan(void **state)
{
    (void)state;
    blamed("nan", "wrong", "wrong result");
}

static void test_hang(void **state)
{
    (void)state;
    blamed("hang", "hung", "did not answer in time");
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fbq-gpu-tuning-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(wisdom, sizeof wisdom, "%s/wisdom", folder);
    snprintf(quarantine, sizeof quarantine, "%s.quarantine", wisdom);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_tunes, fresh),
        cmocka_unit_test_setup(test_formats, fresh),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_hang),
    };
    if (!device_present())
        return SKIPPED;
    if (getenv("FBQ_TUNE")) /* where this was built elsewhere */
        program = getenv("FBQ_TUNE");
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
