/* tests/gpu_tuning.c: fbq-tune tune with fbq-trial: a layer is tuned, a second time nothing is to
 * be done, and picks that fault, write where they must not, compute a NaN or hang, planted into
 * fbq-trial, are each blamed and cost one record. On a GPU, and skipped where there is none; with
 * FBQ_PLAYED_TRIAL it is unit_trial, in which that trial's GPU is played (played_gpu/).
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

#ifdef FBQ_PLAYED_TRIAL
#define TRIAL "--trial", FBQ_PLAYED_TRIAL,
#define BRANCH "128x256", "--rank", "20" /* a layer to tune, and one to break */
#define PLAIN "96x256", "--rank", "0"
#define PLAIN_N 96
static char lock[100];
#define PLAIN_K 256
#define SOME "--survey", "3", /* the reference takes its time */
#else
#define TRIAL
#define BRANCH "4096x4096"
#define PLAIN "2048x2048", "--rank", "0"
#define PLAIN_N 2048
#define PLAIN_K 2048
#define SOME "--survey", "8", /* layers so small are many in a graph, and take their time */
#endif

static char folder[64], wisdom[100], quarantine[120];
static const char *program = FBQ_TUNE;
static fbq_gpu gpu = {"played GPU", 90, 132, 232448, 233472, 65536};
static command_run run;

#define TUNE(...) \
    tune((const char *const[]){program, "tune", TRIAL "--file", wisdom, __VA_ARGS__, NULL})
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
    assert_int_equal(TUNE("--shape", BRANCH, "--m", "1,16"), 0);
    assert_true(says("0 of them tuned already"));
    assert_int_equal(TUNE("--shape", BRANCH, "--m", "1,16"), 0);
    assert_true(says("2 of them tuned already"));
    assert_int_equal(access(quarantine, F_OK), -1);
    assert_int_equal(tune((const char *const[]){program, "verify", TRIAL "--file", wisdom, NULL}),
                     0);
    tune((const char *const[]){program, "doctor", TRIAL "--time", "--file", wisdom, NULL});
    assert_non_null(strstr(run.out, "again      ok   fbq_open"));
}

/* In a green context: picks for so many multiprocessors, beside those for all. */
static void test_green(void **state)
{
    char *lines;
    size_t count;
    (void)state;
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--sms", "16"), 0);
    assert_true(says("16 SMs: 1 problems, 0 of them tuned already"));
    assert_false(says("blamed"));
    lines = file_read(wisdom, &count);
    assert_non_null(strstr(lines, " sms=16 "));
    free(lines);
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--sms", "16"), 0);
    assert_true(says("1 of them tuned already"));
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1"), 0);
    assert_true(says("0 of them tuned already"));
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--sms", "4096"), 3);
    assert_true(says("--sms 4096, but the GPU has "));
#ifdef FBQ_PLAYED_TRIAL
    setenv("PLAYED_LACKS", "cuGreenCtxCreate", 1);
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--sms", "16"), 3);
    assert_true(says("the driver has no cuGreenCtxCreate: expected one for CUDA 12.4 or later"));
    unsetenv("PLAYED_LACKS");
#endif
}

#ifdef FBQ_PLAYED_TRIAL
/* Something else on the GPU for a while, and all the time; and a GPU that is shared through MPS. */
static void test_others(void **state)
{
    (void)state;
    setenv("PLAYED_DISTURBED", "600", 1);
    assert_int_equal(TUNE("--shape", BRANCH, "--m", "1"), 0);
    assert_true(says("rounds repeated"));
    setenv("PLAYED_DISTURBED", "1000000000", 1);
    assert_int_equal(TUNE("--shape", BRANCH, "--m", "1", "--again"), 4);
    assert_true(says("something else uses the GPU"));
    unsetenv("PLAYED_DISTURBED");
    setenv("PLAYED_MPS", "1", 1);
    assert_int_equal(TUNE("--shape", BRANCH, "--m", "1", "--again"), 3);
    assert_true(says("MPS"));
    unsetenv("PLAYED_MPS");
}
#endif

/* Three bits, int8 factors, segments of several sizes; no sub-branch; odd sizes. */
static void test_formats(void **state)
{
    (void)state;
    assert_int_equal(TUNE("--preset", "smollm2-135m", SOME "--bits", "3", "--group", "64", "--rank",
                          "8", "--factor-type", "i8", "--type", "bf16", "--m", "4"),
                     0);
    assert_int_equal(TUNE("--shape", "1000x1100", SOME "--rank", "0", "--m", "1"), 0);
    assert_int_equal(TUNE("--shape", "33x77", "--rank", "3", "--m", "2"), 0);
}

static void blamed(const char *how, const char *word, const char *sentence)
{
    const fbq_problem problem = record_problem(PLAIN_N, PLAIN_K, 0, 1);
    char text[256], *lines;
    fbq_pick pick;
    size_t count;
    fresh(NULL);
    assert_int_equal(fbq_pick_default(&problem, &gpu, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    pick.stages = 3; /* one of the first that are tried */
    const int length = snprintf(text, sizeof text, "%s ", how);
    fbq_pick_print(&pick, text + length, sizeof text - (size_t)length);
    setenv("FBQ_TRIAL_PLANT", text, 1);
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--patience", "5"), 0);
    unsetenv("FBQ_TRIAL_PLANT");
    assert_true(says(sentence));
    lines = file_read(quarantine, &count);
    assert_memory_equal(lines, word, strlen(word));
    assert_non_null(strstr(lines, "stages=3"));
    assert_ptr_equal(strchr(lines, '\n'), lines + count - 1); /* one line */
    free(lines);
    assert_int_equal(TUNE("--shape", PLAIN, "--m", "1", "--again"), 0);
    assert_true(says("0 blamed, 1 passed over"));
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
#ifdef FBQ_PLAYED_TRIAL
    unlink(lock);
#endif
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_tunes, fresh),
        cmocka_unit_test_setup(test_formats, fresh),
        cmocka_unit_test_setup(test_green, fresh),
        cmocka_unit_test(test_fault),
        cmocka_unit_test(test_beyond),
        cmocka_unit_test(test_weights),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_hang),
#ifdef FBQ_PLAYED_TRIAL
        cmocka_unit_test_setup(test_others, fresh),
#endif
    };
#ifdef FBQ_PLAYED_TRIAL
    /* a GPU of this run's own, and so a lock */
    const int number = (int)getpid();
    const unsigned char *const byte = (const unsigned char *)&number;
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    setenv("PLAYED_UUID", text, 1);
    snprintf(lock, sizeof lock,
             P_tmpdir "/fbq-tune-GPU-%02x%02x%02x%02x-0000-0000-0000-000000000000.lock", byte[0],
             byte[1], byte[2], byte[3]);
    alarm(300);
#else
    fbq_options how;
    fbq_context *context;
    fbq_error error;
    if (!device_present())
        return SKIPPED;
    memset(&how, 0, sizeof how);
    how.wisdom_file = how.cubin_folder = "";
    if (fbq_open(&how, &context, &error) != FBQ_OK) {
        fprintf(stderr, "fbq_open: %s\n", error.detail);
        return 1;
    }
    fbq_context_gpu(context, &gpu);
    fbq_close(context);
#endif
    if (getenv("FBQ_TUNE")) /* where this was built elsewhere */
        program = getenv("FBQ_TUNE");
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
