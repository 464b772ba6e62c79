/* tests/unit_tuning.c: fbq-tune tune, verify and doctor --time with a trial program that plays a
 * GPU: what is fast is found and kept, seen to hold, compared, and told; what is not there or makes
 * no sense is said. unit_tuning_faults has what goes wrong while they run.
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

/* ---- What other files give ---- */

/* A wisdom file of one record: the default's pick with other slices and stages. n = 0: of none. */
static const char *other(const char *name, const fbq_gpu *gpu, int64_t n, int m, int slices,
                         int stages)
{
    static char path[4][128];
    static int last;
    const fbq_problem problem = record_problem(n ? n : 4096, 4096, 128, m);
    fbq_record r = record_of(&problem, gpu, FBQ_KERNEL_FUSED);
    fbq_wisdom *all;
    last = (last + 1) % 4;
    snprintf(path[last], sizeof path[last], "%s/%s", folder, name);
    r.pick.slices = slices;
    r.pick.stages = stages;
    assert_int_equal(fbq_wisdom_new(&all, NULL), FBQ_OK);
    if (n)
        assert_int_equal(fbq_wisdom_add(all, &r, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_write(all, path[last], NULL), FBQ_OK);
    fbq_wisdom_free(all);
    return path[last];
}

/* A record of three stages, where the default has two. */
static void tune_one(void)
{
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    assert_int_equal(TUNE(LAYER), 0);
}

/* Another file's pick is timed in the same passes; that it is faster costs no record anything. */
static void test_beside(void **state)
{
    const char *path = other("other", &h200, 4096, 1, 8, 4);
    char line[512];
    (void)state;
    tune_one();
    setenv("FAKE_TRIAL_FASTEST", near_text(4), 1);
    assert_int_equal(VERIFY("--beside", path), 0);
    assert_true(says("1 of 1 records of this GPU hold"));
    assert_true(says("| holds: the default takes 4.2"));
    snprintf(line, sizeof line, "\n    beside %s: %s (exact) ", path, near_text(4));
    assert_true(says(line));
    assert_true(says(" us, 0.97") && says(" of the record's [0.9"));
    for (int i = 0; i < 3; i++) {
        snprintf(line, sizeof line, " time %d\n", i);
        assert_int_equal(lines_with(logs, line, ""), 25);
    }
    /* the same tuning */
    assert_int_equal(VERIFY("--beside", wisdom), 0);
    snprintf(line, sizeof line, "\n    beside %s: the same pick (exact)\n", wisdom);
    assert_true(says(line));
    assert_int_equal(lines_with(logs, " time 2\n", ""), 0);
    /* without it nothing is said of other files */
    assert_int_equal(VERIFY("--json"), 0);
    assert_false(says("beside"));
}

/* Whatever the rung; each pick has all passes, however many there are, and none is timed twice. */
static void test_beside_rungs(void **state)
{
    static const char *const rungs[] = {"exact", "shape", "capability", "default"};
    const fbq_gpu h100 = {"NVIDIA H100 PCIe", 90, 114, 232448, 233472, 65536};
    const char *exact = other("exact", &h200, 4096, 1, 8, 4),
               *shape = other("shape", &h200, 5120, 1, 4, 2),
               *capability = other("capability", &h100, 4096, 1, 16, 2),
               *none = other("none", &h200, 0, 1, 0, 0);
    const fbq_pick first = default_of(1);
    char text[256];
    (void)state;
    tune_one();
    assert_int_equal(VERIFY("--json", "--beside", exact, "--beside", shape, "--beside", capability,
                            "--beside", none),
                     0);
    json_t *list = json_loads(run.out, 0, NULL);
    const json_t *record = json_array_get(list, 0), *beside = json_object_get(record, "beside");
    assert_int_equal(json_array_size(beside), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *one = json_array_get(beside, i), *ratio = json_object_get(one, "ratio");
        assert_string_equal(json_string_value(json_object_get(one, "rung")), rungs[i]);
        assert_true(json_real_value(json_object_get(one, "us")) > 4.05);
        assert_int_equal(json_array_size(ratio), 3);
        assert_true(json_real_value(json_array_get(ratio, 0)) > 1);
        assert_true(json_real_value(json_array_get(ratio, 1)) > 1.01);
        assert_string_equal(json_string_value(json_object_get(one, "why")), "");
    }
    fbq_pick_print(&first, text, sizeof text);
    const json_t *last = json_array_get(beside, 3);
    assert_string_equal(json_string_value(json_object_get(last, "pick")), text);
    assert_string_equal(json_string_value(json_object_get(last, "file")), none);
    json_decref(list);
    for (int i = 0; i < 6; i++) {
        snprintf(text, sizeof text, " time %d\n", i);
        assert_int_equal(lines_with(logs, text, ""), i < 5 ? 25 : 0);
    }
}

/* A pick that breaks costs the record nothing; two files are told apart. */
static void test_beside_broken(void **state)
{
    static const char *const plants[][2] = {
        {"unfit compile stages=4", "cannot be run: it spills"},
        {"wrong check stages=4", "cannot be run: y is not what it should be"},
        {"late check stages=4", "cannot be run: by now"},
        {"nan time stages=4", "cannot be run: its time makes no sense"},
        {"die time stages=4", "cannot be run: it was ended by signal 6"},
        {"", "cannot be run: it is in quarantine"}};
    const char *path = other("other", &h200, 4096, 1, 8, 4),
               *good = other("good", &h200, 4096, 1, 4, 2);
    char line[512];
    (void)state;
    tune_one();
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
        if (*plants[i][0])
            unlink(quarantine);
        plant(plants[i][0]);
        assert_int_equal(VERIFY("--beside", path, "--beside", good), 0);
        assert_true(says("| holds: the default takes 4.1"));
        snprintf(line, sizeof line, "beside %s: %s (exact) %s\n", path, near_text(4), plants[i][1]);
        assert_true(says(line));
        snprintf(line, sizeof line, "beside %s: ", good);
        assert_non_null(strstr(strstr(run.out, line), " of the record's ["));
    }
    unlink(quarantine); /* nothing is told of others where the record itself cannot be measured */
    plant("wrong check stages=3");
    assert_int_equal(VERIFY("--beside", path), 4);
    assert_true(says("| cannot be measured\n") && says(" (exact) not timed\n"));
    unlink(quarantine);
    plant("wrong check stages=2"); /* the default */
    assert_int_equal(VERIFY("--shape", "4096x4096"), 0);
    assert_true(says("| holds: the default cannot be run: y is not what it should be"));
}

/* Down is timed beside another down, unless the other file's fused launches none. */
static void test_beside_down(void **state)
{
    const char *alone = other("alone", &h200, 4096, 8, 8, 2),
               *none = other("none", &h200, 0, 1, 0, 0);
    char line[256];
    (void)state;
    assert_int_equal(TUNE("--shape", "4096x4096", "--m", "8"), 0);
    assert_int_equal(VERIFY("--kernel", "down", "--beside", alone, "--beside", none), 0);
    snprintf(line, sizeof line, "beside %s: no pick: its fused launches no down\n", alone);
    assert_true(says(line));
    snprintf(line, sizeof line, "beside %s: the same pick (default)\n", none);
    assert_true(says(line));
    assert_int_equal(VERIFY("--json", "--kernel", "down", "--beside", alone), 0);
    assert_true(says("\"pick\": null") && says("\"why\": \"its fused launches no down\""));
}

static void test_beside_files(void **state)
{
    (void)state;
    tune_one();
    assert_int_equal(VERIFY("--beside", "/nonexistent/wisdom"), 1);
    assert_true(says("verify: cannot open /nonexistent/wisdom: No such file"));
    assert_int_equal(VERIFY("--beside", folder), 1);
    assert_int_equal(VERIFY("--beside", ""), 2);
    assert_int_equal(
        VERIFY("--beside", "1", "--beside", "2", "--beside", "3", "--beside", "4", "--beside", "5"),
        2);
    assert_true(says("--beside 5: expected a path, four times at most"));
    assert_int_equal(lines_with(logs, "", ""), 0); /* all before a child is started */
}

/* ---- What else is told ---- */

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
        cmocka_unit_test_setup(test_beside, fresh),
        cmocka_unit_test_setup(test_beside_rungs, fresh),
        cmocka_unit_test_setup(test_beside_broken, fresh),
        cmocka_unit_test_setup(test_beside_down, fresh),
        cmocka_unit_test_setup(test_beside_files, fresh),
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
