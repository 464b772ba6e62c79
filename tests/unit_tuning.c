/* tests/unit_tuning.c: fbq-tune tune, verify and doctor --time with a trial program that plays a
 * GPU: what is fast is found and kept, seen to hold, and told; what is not there or makes no sense
 * is said. unit_tuning_faults has what goes wrong while they run.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

#include "support/tuning.h"

/* ---- What is found ---- */

static void test_finds(void **state)
{
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.pick.stages, 3);
    assert_int_equal(r.rigor, FBQ_RIGOR_MEASURE);
    assert_in_range(r.median_ns, 3960, 4040);
    assert_int_equal(r.source, fbq_source_hash());
    assert_int_equal(r.nvrtc, 13000);
    assert_int_equal(r.driver, 13000);
    assert_int_equal(lines_with(logs, " gpu 0 0\n", ""), 1); /* one child did it all */
    no_child_left();
    assert_int_equal(folder_count(folder), 3); /* wisdom, its lock, the log */
    /* a second time there is nothing to do, unless asked for, or for more */
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(says("1 of them tuned already"));
    assert_int_equal(lines_with(logs, " problem ", ""), 0);
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_int_equal(lines_with(logs, " problem ", ""), 1);
    assert_int_equal(TUNE(LAYER, "--rigor", "patient"), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.rigor, FBQ_RIGOR_PATIENT);
    assert_int_equal(TUNE(LAYER), 0); /* more rigor than is asked for */
    assert_int_equal(lines_with(logs, " problem ", ""), 0);
}

/* What other device sources found is found anew. */
static void test_other_source(void **state)
{
    const fbq_problem problem = record_problem(4096, 4096, 128, 1);
    fbq_record r = record_of(&problem, &h200, FBQ_KERNEL_FUSED);
    fbq_wisdom *old;
    (void)state;
    r.rigor = FBQ_RIGOR_PATIENT; /* which would otherwise stay */
    r.source = fbq_source_hash() + 1;
    assert_int_equal(fbq_wisdom_new(&old, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_add(old, &r, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_write(old, wisdom, NULL), FBQ_OK);
    fbq_wisdom_free(old);
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(says("0 of them tuned already"));
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.source, fbq_source_hash());
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(says("1 of them tuned already"));
}

/* Two launches: down is tuned behind fused, with fused's pick. */
static void test_down(void **state)
{
    const fbq_pick first = default_of(8);
    fbq_record r;
    char text[256];
    (void)state;
    setenv("FAKE_TRIAL_FASTEST",
           "down warps=4 chunks=2 blocks_per_sm=1 slices=4 stages=0 tiles=0 "
           "splits=0",
           1);
    assert_int_equal(first.slices, 0);
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "7"), 0);
    assert_true(kept(4096, 4096, 8, FBQ_KERNEL_FUSED, &r));
    assert_memory_equal(&r.pick, &first, sizeof first);
    assert_true(kept(4096, 4096, 8, FBQ_KERNEL_DOWN, &r));
    assert_int_equal(r.pick.warps, 4);
    assert_int_equal(r.pick.chunks, 2);
    fbq_pick_print(&first, text, sizeof text);
    assert_int_equal(lines_with(logs, " with ", text), 1);
    const char *const words[] = {FBQ_TUNE, "forget", "--file", wisdom, "--kernel", "down", NULL};
    assert_int_equal(tune(words), 0);
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "8"), 0);
    assert_true(kept(4096, 4096, 8, FBQ_KERNEL_DOWN, &r));
}

static void test_preset(void **state)
{
    json_error_t error;
    json_t *report, *problem;
    size_t i;
    (void)state;
    assert_int_equal(TUNE("--preset", "llama-3-8b", "--m", "1,16", "--json"), 0);
    report = json_loads(run.out, 0, &error);
    assert_non_null(report);
    assert_string_equal(json_string_value(json_object_get(report, "gpu")), h200.name);
    int fused = 0;
    json_array_foreach(json_object_get(report, "problems"), i, problem)
    {
        assert_string_equal(json_string_value(json_object_get(problem, "end")), "done");
        fused += !strcmp(
            json_string_value(json_object_get(json_object_get(problem, "record"), "kernel")),
            "fused");
    }
    assert_int_equal(fused, 12); /* six layers, two buckets */
    assert_int_equal(lines_with(wisdom, "fbq1 fused", "n=4096,1024,1024 k=4096 r=128,128,128"), 2);
    assert_int_equal(lines_with(wisdom, "fbq1 fused", "n=4096 k=14336"), 2);
    json_decref(report);
}

/* ---- What is found, again ---- */

#define VERIFY(...)                                                                             \
    tune((const char *const[]){FBQ_TUNE, "verify", "--trial", FBQ_FAKE_TRIAL, "--file", wisdom, \
                               __VA_ARGS__, NULL})

/* Records hold while their picks are no slower than the default, and are right. */
static void test_verify(void **state)
{
    char text[256];
    const fbq_pick first = default_of(1);
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "1,16"), 0);
    assert_int_equal(VERIFY("--device", "0"), 0);
    assert_true(says("3 of 3 records of this GPU hold"));
    assert_true(says("| holds: the default takes 4.1") && says("| holds: it is the default"));
    fbq_pick_print(&first, text, sizeof text);
    setenv("FAKE_TRIAL_FASTEST", text, 1); /* as after other kernels or another driver */
    assert_int_equal(VERIFY("--kernel", "fused"), 4);
    assert_true(says("1 of 2 records of this GPU hold"));
    assert_true(says("| the default is faster"));
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    plant("wrong check slices=8 stages=3");
    assert_int_equal(VERIFY("--json", "--kernel", "fused"), 4);
    json_t *list = json_loads(run.out, 0, NULL);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    assert_true(says("\"cannot be measured\"") && says("\"holds: "));
    plant("");
    assert_int_equal(VERIFY("--shape", "64x64"), 0);
    assert_true(says("0 of 0 records"));
}

/* Part of the multiprocessors: its records are of so many, beside those of all. */
static void test_sms(void **state)
{
    (void)state;
    assert_int_equal(TUNE(LAYER), 0);
    assert_int_equal(TUNE(LAYER, "--sms", "47"), 0);
    assert_true(says("48 SMs: 1 problems, 0 of them tuned already"));
    assert_int_equal(lines_with(logs, " gpu 0 47\n", ""), 1);
    assert_int_equal(lines_with(wisdom, "fbq1 fused", " sms=48 "), 1);
    assert_int_equal(lines_with(wisdom, "fbq1 fused", " sms=132 "), 1);
    assert_int_equal(TUNE(LAYER, "--sms", "48"), 0);
    assert_true(says("1 of them tuned already"));
    assert_int_equal(VERIFY("--sms", "48"), 0);
    assert_int_equal(lines_with(logs, " gpu 0 48\n", ""), 1);
    assert_true(says("1 of 1 records of this GPU hold"));
}

/* Every time that is measured, in a file; drawn picks are the same every time, and keep nothing. */
static void test_log(void **state)
{
    char log[120], *first, *second;
    size_t count, again;
    fbq_record r;
    (void)state;
    snprintf(log, sizeof log, "%s/times", folder);
    assert_int_equal(TUNE(LAYER, "--log", log), 0);
    assert_int_equal(lines_with(log, "\"us\":", "\"ratio\":["), 24);
    unlink(log);
    unlink(wisdom);
    assert_int_equal(TUNE(LAYER, "--survey", "100", "--log", log), 0);
    assert_false(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(lines_with(log, "\"us\":", "\"kernel\":\"fused\""), 101);
    first = file_read(log, &count);
    unlink(log);
    assert_int_equal(TUNE(LAYER, "--survey", "100", "--log", log), 0);
    second = file_read(log, &again);
    for (int i = 0; i < 20; i++) { /* the picks; the dates differ */
        const char *a = first, *b = second;
        for (int line = 0; line < 5 * i; line++) {
            a = strchr(a, '\n') + 1;
            b = strchr(b, '\n') + 1;
        }
        a = strstr(a, "\"warps\"");
        b = strstr(b, "\"warps\"");
        assert_non_null(a);
        assert_memory_equal(a, b, (size_t)(strstr(a, "\"rigor\"") - a));
    }
    free(first);
    free(second);
    assert_int_equal(TUNE(LAYER, "--log", "/nonexistent/folder/log"), 1);
}

/* A program's first start, and its second; nothing is left behind. */
static void test_doctor_time(void **state)
{
    const char *const words[] = {FBQ_TUNE, "doctor", "--time", "--trial", FBQ_FAKE_TRIAL, NULL};
    (void)state;
    tune(words);
    assert_true(says("start      ok   fbq_open 8.1 ms, fbq_prepare 895.2 ms (1 kernels compiled), "
                     "first launch 0.03 ms"));
    assert_true(says("again      ok   fbq_open 8.1 ms, fbq_prepare 1.0 ms (0 kernels compiled), "));
    assert_int_equal(lines_with(logs, " gpu 0 0 " P_tmpdir "/fbq-doctor-", ""), 2);
    plant("die start ");
    assert_int_equal(tune(words), 3);
    assert_true(says("start      BAD  it was ended by signal 6"));
}

/* ---- What is not there ---- */

static void test_no_gpu(void **state)
{
    (void)state;
    plant("no gpu ");
    assert_int_equal(TUNE(LAYER), 3);
    assert_true(says("such luck"));
    plant("die gpu ");
    assert_int_equal(TUNE(LAYER), 3);
    assert_true(says("signal 6"));
    plant("rubbish gpu ");
    assert_int_equal(TUNE(LAYER), 3);
    plant("");
    const char *const words[] = {FBQ_TUNE, "tune", "--trial", "/nonexistent/fbq-trial",
                                 "--file", wisdom, LAYER,     NULL};
    assert_int_equal(tune(words), 3);
    assert_true(says("/nonexistent/fbq-trial"));
}

/* A file that cannot be written shows before anything is measured. */
static void test_no_file(void **state)
{
    const char *const words[] = {FBQ_TUNE,           "tune", "--trial", FBQ_FAKE_TRIAL, "--file",
                                 "/proc/fbq/wisdom", LAYER,  NULL};
    (void)state;
    assert_int_equal(tune(words), 1);
    assert_int_equal(lines_with(logs, "", ""), 0);
}

/* What no kernel serves is said so, as a problem that cannot be tuned. */
static void test_refused(void **state)
{
    json_t *report;
    (void)state;
    assert_int_equal(TUNE("--shape", "4096x2000000000", "--m", "1", "--json"), 4);
    report = json_loads(run.out, 0, NULL);
    assert_non_null(report);
    const json_t *problem = json_array_get(json_object_get(report, "problems"), 0);
    assert_true(json_is_null(json_object_get(problem, "record")));
    assert_string_equal(json_string_value(json_object_get(problem, "end")), "failed");
    json_decref(report);
}

/* For a GPU that is not here nothing is run, and what is kept says so. */
static void test_estimate(void **state)
{
    const fbq_problem problem = record_problem(4096, 4096, 128, 16);
    fbq_gpu gpu = {"NVIDIA GeForce RTX 3090", 86, 82, 101376, 102400, 65536};
    fbq_wisdom *all;
    fbq_found found;
    fbq_pick pick;
    (void)state;
    assert_int_equal(
        TUNE("--shape", "4096x4096", "--m", "1,16", "--rigor", "estimate", "--gpu", "rtx3090"), 0);
    assert_true(says("predicted"));
    assert_int_equal(lines_with(logs, "", ""), 0); /* no trial was begun */
    assert_int_equal(fbq_wisdom_new(&all, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_read(all, wisdom, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_count(all), 3); /* one launch, and fused and down */
    assert_int_equal(fbq_wisdom_find(all, &problem, &gpu, FBQ_KERNEL_FUSED, &pick, &found, NULL),
                     FBQ_OK);
    assert_int_equal(found.rung, FBQ_RUNG_EXACT);
    assert_int_equal(found.record.rigor, FBQ_RIGOR_ESTIMATE);
    assert_in_range(found.record.median_ns, 5000, 100000);
    assert_int_equal(found.record.nvrtc, 0);
    fbq_wisdom_free(all);
    assert_int_equal(
        TUNE("--shape", "4096x4096", "--m", "1,16", "--rigor", "estimate", "--gpu", "rtx3090"), 0);
    assert_true(says("2 of them tuned already"));
}

/* An estimate gives way to a measurement, and none to an estimate; for the GPU that is here its
 * facts are asked for. */
static void test_estimate_here(void **state)
{
    fbq_record r;
    (void)state;
    assert_int_equal(TUNE(LAYER, "--rigor", "estimate"), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.rigor, FBQ_RIGOR_ESTIMATE);
    assert_int_equal(lines_with(logs, " gpu 0", ""), 1);
    assert_int_equal(lines_with(logs, " problem ", ""), 0);
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.rigor, FBQ_RIGOR_MEASURE);
    assert_int_equal(TUNE(LAYER, "--rigor", "estimate", "--again"), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.rigor, FBQ_RIGOR_MEASURE);
}

static void test_usage(void **state)
{
    (void)state;
    assert_int_equal(TUNE("--m", "1"), 2);
    assert_int_equal(TUNE(LAYER, "--preset", "llama-2-7b"), 2);
    assert_int_equal(TUNE("--preset", "llama-9"), 2);
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "1,17"), 2);
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "1,2,3,4,5"), 2);
    assert_int_equal(TUNE(LAYER, "--budget", "soon"), 2);
    assert_int_equal(TUNE(LAYER, "--budget", "-1s"), 2);
    assert_int_equal(TUNE(LAYER, "--rigor", "guess"), 2);
    assert_int_equal(TUNE(LAYER, "--rigor", "estimate", "--gpu", "rtx9999"), 2);
    assert_true(says("rtx3090"));
    assert_int_equal(TUNE(LAYER, "--gpu", "rtx3090"), 2);
    assert_true(says("--rigor estimate predicts"));
    assert_int_equal(TUNE(LAYER, "--sms", "0"), 2);
    assert_int_equal(folder_count(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_finds, fresh),
        cmocka_unit_test_setup(test_other_source, fresh),
        cmocka_unit_test_setup(test_down, fresh),
        cmocka_unit_test_setup(test_preset, fresh),
        cmocka_unit_test_setup(test_verify, fresh),
        cmocka_unit_test_setup(test_sms, fresh),
        cmocka_unit_test_setup(test_log, fresh),
        cmocka_unit_test_setup(test_doctor_time, fresh),
        cmocka_unit_test_setup(test_no_gpu, fresh),
        cmocka_unit_test_setup(test_no_file, fresh),
        cmocka_unit_test_setup(test_refused, fresh),
        cmocka_unit_test_setup(test_estimate, fresh),
        cmocka_unit_test_setup(test_estimate_here, fresh),
        cmocka_unit_test_setup(test_usage, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
