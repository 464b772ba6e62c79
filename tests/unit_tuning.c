/* tests/unit_tuning.c: fbq-tune tune with a trial program that plays a GPU (fake_trial/): what is
 * fast is found and kept; a pick that dies, hangs or is wrong costs that pick and nothing else,
 * also when the tuner dies with it; what is interrupted goes on; tunings side by side lose nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fbq/fbq.h>

#include "support/command.h"
#include "support/records.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};
static char folder[64], wisdom[100], quarantine[120], logs[100];
static command_run run;

enum { MANY = 16 };

#define BASE FBQ_TUNE, "tune", "--trial", FBQ_FAKE_TRIAL, "--file", wisdom
#define LAYER "--shape", "4096x4096", "--m", "1"
#define TUNE(...) tune((const char *const[]){BASE, __VA_ARGS__, NULL})
static int tune(const char *const *words)
{
    unlink(logs);
    command_run_words(words, &run);
    return run.status;
}

static int says(const char *text)
{
    return strstr(run.out, text) || strstr(run.err, text);
}

static void plant(const char *text)
{
    setenv("FAKE_TRIAL_PLANT", text, 1);
}

static int fresh(void **state)
{
    (void)state;
    folder_fresh(folder);
    setenv("FAKE_TRIAL_LOG", logs, 1);
    unsetenv("FAKE_TRIAL_PLANT");
    unsetenv("FAKE_TRIAL_FASTEST");
    unsetenv("FAKE_TRIAL_GPU");
    unsetenv("FAKE_TRIAL_SLOWLY");
    return 0;
}

/* Lines of a file that hold two texts; 0 when there is no file. */
static int lines_with(const char *path, const char *text, const char *other)
{
    char line[4096];
    int count = 0;
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        count += strstr(line, text) != NULL && strstr(line, other) != NULL;
    if (f)
        fclose(f);
    return count;
}

/* The record of a layer; 0 when there is none. */
static int kept(int64_t n, int64_t k, int m, fbq_kernel kernel, fbq_record *record)
{
    const fbq_problem problem = record_problem(n, k, 128, m);
    fbq_wisdom *all;
    fbq_pick pick;
    fbq_found found;
    assert_int_equal(fbq_wisdom_new(&all, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_read(all, wisdom, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_damaged(all), 0);
    assert_int_equal(fbq_wisdom_find(all, &problem, &h200, kernel, &pick, &found, NULL), FBQ_OK);
    fbq_wisdom_free(all);
    *record = found.record;
    return found.rung == FBQ_RUNG_EXACT;
}

static fbq_pick default_of(int m)
{
    const fbq_problem problem = record_problem(4096, 4096, 128, m);
    fbq_pick pick;
    assert_int_equal(fbq_pick_default(&problem, &h200, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    return pick;
}

/* A pick near the default of one row. */
static const char *near_text(int stages)
{
    static char text[256];
    fbq_pick pick = default_of(1);
    pick.stages = stages;
    fbq_pick_print(&pick, text, sizeof text);
    return text;
}

static int is_process(long process)
{
    waitpid((pid_t)process, NULL, WNOHANG); /* orphans come to this process to be waited for */
    return kill((pid_t)process, 0) == 0 || errno != ESRCH;
}

/* No child of fbq-tune is left: it has waited for them, or they died with it. */
static void no_child_left(void)
{
    char line[4096];
    FILE *f = fopen(logs, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f))
        for (int i = 0; is_process(atol(line)); i++) {
            assert_true(i < 2000);
            usleep(1000);
        }
    fclose(f);
}

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
    assert_int_equal(lines_with(logs, " gpu 0", ""), 1); /* one child did it all */
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
    assert_int_equal(lines_with(logs, " gpu 0 /tmp/fbq-doctor-", ""), 2);
    plant("die start ");
    assert_int_equal(tune(words), 3);
    assert_true(says("start      BAD  it was ended by signal 6"));
}

/* ---- Picks that break the trial ---- */

/* A fault of a pick is blamed on it, and kept in mind. */
static void blamed(const char *how, const char *at, const char *word)
{
    char text[512];
    fbq_record r;
    const fbq_pick first = default_of(1);
    fresh(NULL);
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    snprintf(text, sizeof text, "%s %s %s", how, at, near_text(3));
    plant(text);
    assert_int_equal(TUNE(LAYER, "--patience", "3"), 0);
    assert_true(says("1 blamed"));
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_true(r.pick.stages != 3 || r.pick.warps != first.warps || r.pick.tiles != first.tiles);
    assert_int_equal(lines_with(quarantine, "", ""), 1);
    snprintf(text, sizeof text, "%s fbq1 fused ", word);
    assert_int_equal(lines_with(quarantine, text, "stages=3"), 1);
    no_child_left();
    plant("");
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_true(says("0 blamed, 1 passed over"));
    assert_int_equal(lines_with(logs, " gpu 0", ""), 1);
}

static void test_blamed(void **state)
{
    (void)state;
    blamed("die", "check", "died");
    blamed("hang", "check", "hung");
    blamed("wrong", "check", "wrong");
    blamed("broken", "check", "died");
    blamed("rubbish", "check", "died");
    blamed("much", "check", "died");
    blamed("die", "time", "died");
    blamed("hang", "time", "hung");
    blamed("die", "compile", "died");
}

/* What a compiler refuses is no fault, and a time that is none does not count. */
static void test_unfit(void **state)
{
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    plant("nan time stages=3;unfit compile stages=4");
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.pick.stages, 2);
    assert_int_equal(lines_with(quarantine, "", ""), 0);
    assert_false(says(", 0 not fit"));
}

/* What is no pick's fault puts none into quarantine. */
static void test_innocent(void **state)
{
    static const char *const plants[] = {"no time stages=3", "no check stages=3",
                                         "spoiled check stages=3", "spoiled time stages=3",
                                         "nan time stages=3"};
    fbq_record r;
    (void)state;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
        fresh(NULL);
        setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
        plant(plants[i]);
        assert_int_equal(TUNE(LAYER), 0);
        assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
        assert_int_equal(r.pick.stages, 2);
        assert_int_equal(lines_with(quarantine, "", ""), 0);
        plant("");
        assert_int_equal(TUNE(LAYER, "--again"), 0);
        assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
        assert_int_equal(r.pick.stages, 3);
    }
}

/* A default that breaks the trial: the pick next to it is what others are compared with. */
static void test_default_breaks(void **state)
{
    char text[256];
    const fbq_pick first = default_of(1);
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    fbq_pick_print(&first, text + 10, sizeof text - 10);
    memcpy(text, "die check ", 10);
    plant(text);
    assert_int_equal(TUNE(LAYER), 4);
    assert_false(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(says("the default is in quarantine"));
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(r.pick.stages, 3);
}

/* Wrong only after it was timed: the winner is checked again. */
static void test_wrong_at_last(void **state)
{
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(3), 1);
    plant("late check stages=3");
    assert_int_equal(TUNE(LAYER), 4);
    assert_true(says("failed a second check: by now"));
    assert_false(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_int_equal(TUNE(LAYER), 0);
    assert_true(says(" 1 passed over"));
}

/* A child that has another GPU than the one before is no use. */
static void test_other_gpu(void **state)
{
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_GPU", "*", 1);
    plant("die check stages=3");
    assert_int_equal(TUNE(LAYER), 4);
    assert_true(says("another GPU is there now"));
    assert_false(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
}

/* Many picks die: all others are tried all the same. */
static void test_many_die(void **state)
{
    fbq_record r;
    (void)state;
    setenv("FAKE_TRIAL_FASTEST", near_text(2), 1);
    plant("die check warps=8;hang check warps=12;die time stages=3");
    assert_int_equal(TUNE(LAYER, "--patience", "2"), 0);
    assert_true(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
    assert_true(r.pick.warps != 8 && r.pick.warps != 12 && r.pick.stages != 3);
    assert_true(lines_with(quarantine, "died", "warps=8") >= 2);
}

/* Not even the default can be measured. */
static void test_nothing(void **state)
{
    static const char *const plants[] = {"die check fused", "no check fused", "wrong check fused",
                                         "nan time fused",  "die problem ",   "no problem ",
                                         "die floor ",      "nan floor "};
    fbq_record r;
    (void)state;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
        fresh(NULL);
        plant(plants[i]);
        assert_int_equal(TUNE(LAYER, "--patience", "5"), 4);
        assert_false(kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r));
        no_child_left();
    }
}

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
    assert_int_equal(TUNE(LAYER, "--rigor", "estimate"), 2);
    assert_int_equal(folder_count(folder), 0);
}

/* ---- Ends that nobody planned ---- */

static pid_t tune_start(const char *const *words)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        freopen("/dev/null", "w", stdout);
        freopen("/dev/null", "w", stderr);
        execv(words[0], (char *const *)words);
        _exit(127);
    }
    return child;
}

static int tune_wait(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* Until a file has so many such lines. */
static void wait_for(const char *path, const char *text, int count)
{
    for (int i = 0; lines_with(path, text, "") < count; i++) {
        assert_true(i < 2000);
        usleep(5000);
    }
}

/* Interrupted, it ends at once; what was done stays, and the same command does the rest. */
static void test_interrupted(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM};
    const char *const words[] = {BASE, "--preset", "llama-3-8b", "--m", "1", NULL};
    (void)state;
    for (int i = 0; i < 2; i++) {
        fresh(NULL);
        setenv("FAKE_TRIAL_SLOWLY", "20", 1);
        const pid_t child = tune_start(words);
        wait_for(wisdom, "fbq1 fused", 2);
        kill(child, signals[i]);
        assert_int_equal(tune_wait(child), 4);
        no_child_left();
        const int before = lines_with(wisdom, "fbq1 fused", "");
        assert_in_range(before, 2, 5);
        unsetenv("FAKE_TRIAL_SLOWLY");
        assert_int_equal(tune(words), 0);
        assert_int_equal(lines_with(wisdom, "fbq1 fused", ""), 6);
        assert_int_equal(lines_with(logs, " problem fbq1 fused", ""), 6 - before);
    }
}

/* Also while nothing answers; and what nohup said is heeded. */
static void test_interrupted_hang(void **state)
{
    const char *const words[] = {BASE, LAYER, NULL};
    (void)state;
    plant("hang floor ");
    pid_t child = tune_start(words);
    wait_for(logs, " floor", 1);
    kill(child, SIGINT);
    assert_int_equal(tune_wait(child), 4);
    no_child_left();
    fresh(NULL);
    setenv("FAKE_TRIAL_SLOWLY", "20", 1);
    signal(SIGHUP, SIG_IGN);
    child = tune_start(words);
    signal(SIGHUP, SIG_DFL);
    wait_for(logs, " check ", 1);
    kill(child, SIGHUP);
    assert_int_equal(tune_wait(child), 0);
}

static void test_budget(void **state)
{
    struct timespec begin, end;
    (void)state;
    setenv("FAKE_TRIAL_SLOWLY", "20", 1);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(TUNE("--preset", "llama-3-8b", "--budget", "3s"), 4);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_in_range(end.tv_sec - begin.tv_sec, 0, 9); /* all of it takes 12 */
    assert_true(says("out of time"));
    assert_true(lines_with(wisdom, "fbq1 fused", "") >= 1);
    setenv("FAKE_TRIAL_SLOWLY", "500", 1); /* not even one problem's checks */
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(TUNE(LAYER, "--again", "--budget", "2s"), 4);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_in_range(end.tv_sec - begin.tv_sec, 0, 9);
    assert_true(says("goes on from here"));
}

/* Killed while a pick is tried, as when that pick takes the machine along: it is not tried again.
 */
static void killed_in(const char *request)
{
    const char *const words[] = {BASE, LAYER, NULL};
    char text[64];
    fresh(NULL);
    snprintf(text, sizeof text, "hang %s stages=3", request);
    plant(text);
    const pid_t child = tune_start(words);
    wait_for(logs, " check ", 1);
    for (int i = 0, last = 0; i < 60; i++) { /* until it hangs */
        const int now = lines_with(logs, "", "");
        i = now == last ? i : 0;
        last = now;
        usleep(5000);
    }
    kill(child, SIGKILL);
    assert_int_equal(tune_wait(child), -SIGKILL);
    no_child_left(); /* it ends with its parent */
    plant("");
    assert_int_equal(tune(words), 0);
    assert_true(says("an earlier tuning ended while a pick was tried"));
    assert_true(says("0 blamed, 1 passed over"));
    assert_int_equal(lines_with(quarantine, "died fbq1 fused", "stages=3"), 1);
}

static void test_killed(void **state)
{
    (void)state;
    killed_in("check");
    killed_in("time");
}

/* Killed at whatever moment: the file is whole, nothing that was in it is lost, no child stays
 * behind, and in the end all is there. */
static void test_killed_anywhere(void **state)
{
    const char *const words[] = {BASE, "--preset", "llama-3-8b", "--m", "1,16", NULL};
    int before = 0;
    (void)state;
    srand(7);
    for (int i = 0; i < 40; i++) {
        fbq_record r;
        const pid_t child = tune_start(words);
        usleep((useconds_t)(rand() % 100000));
        kill(child, SIGKILL);
        tune_wait(child);
        const int now = lines_with(wisdom, "fbq1 ", "");
        assert_true(now >= before);
        before = now;
        kept(4096, 4096, 1, FBQ_KERNEL_FUSED, &r); /* asserts that nothing is damaged */
        if (lines_with(logs, "", ""))
            no_child_left();
        unlink(logs);
    }
    assert_int_equal(tune(words), 0);
    assert_int_equal(lines_with(wisdom, "fbq1 fused", ""), 12);
}

/* ---- Several at once ---- */

static void test_one_a_gpu(void **state)
{
    const char *const words[] = {BASE, LAYER, NULL};
    (void)state;
    setenv("FAKE_TRIAL_SLOWLY", "50", 1);
    const pid_t child = tune_start(words);
    wait_for(logs, " check ", 1);
    command_run_words(words, &run);
    assert_int_equal(run.status, 3);
    assert_true(says("another fbq-tune is at work on this GPU"));
    assert_int_equal(tune_wait(child), 0);
}

/* 16 tunings of 16 GPUs of one name, each of other layers, into one file. */
static void test_many(void **state)
{
    pid_t child[MANY];
    char shape[MANY][32], gpu[32];
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(shape[i], sizeof shape[i], "%dx1024", 512 + 64 * i);
        snprintf(gpu, sizeof gpu, "GPU-%d", i);
        setenv("FAKE_TRIAL_GPU", gpu, 1);
        child[i] =
            tune_start((const char *const[]){BASE, "--shape", shape[i], "--m", "1,16", NULL});
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(tune_wait(child[i]), 0);
    for (int i = 0; i < MANY; i++) {
        fbq_record r;
        assert_true(kept(512 + 64 * i, 1024, 1, FBQ_KERNEL_FUSED, &r));
        assert_true(kept(512 + 64 * i, 1024, 16, FBQ_KERNEL_FUSED, &r));
        assert_true(kept(512 + 64 * i, 1024, 16, FBQ_KERNEL_DOWN, &r));
    }
}

/* A quarantine that was cut, or filled with what is none, costs what it has lost. */
static void test_damaged_quarantine(void **state)
{
    char *bytes;
    size_t count;
    (void)state;
    plant("die check stages=3");
    assert_int_equal(TUNE(LAYER), 0);
    const int lines = lines_with(quarantine, "died", "stages=3");
    assert_true(lines >= 2);
    bytes = file_read(quarantine, &count);
    file_write(quarantine, bytes, count - 100);
    free(bytes);
    plant("");
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_int_equal(lines_with(logs, " gpu 0", ""), 1);
    plant("die check stages=3"); /* the one whose line was cut */
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_true(says("1 blamed"));
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_true(says("0 blamed"));
    plant("");
    file_write(quarantine, "\0\1\2died\n\ndied fbq1\ndied fbq1 sum=\n", 33);
    assert_int_equal(TUNE(LAYER, "--again"), 0);
    assert_false(says("passed over"));
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/fbq-tuning-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(wisdom, sizeof wisdom, "%s/wisdom", folder);
    snprintf(quarantine, sizeof quarantine, "%s.quarantine", wisdom);
    snprintf(logs, sizeof logs, "%s/log", folder);
    return 0;
}

static int tear_down(void **state)
{
    glob_t others;
    (void)state;
    folder_remove(folder);
    unlink(P_tmpdir "/fbq-tune-GPU-fake.lock");
    if (glob(P_tmpdir "/fbq-tune-GPU-other-*", 0, NULL, &others) == 0)
        for (size_t i = 0; i < others.gl_pathc; i++)
            unlink(others.gl_pathv[i]);
    globfree(&others);
    for (int i = 0; i < MANY; i++) {
        char path[64];
        snprintf(path, sizeof path, P_tmpdir "/fbq-tune-GPU-%d.lock", i);
        unlink(path);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_finds, fresh),
        cmocka_unit_test_setup(test_other_source, fresh),
        cmocka_unit_test_setup(test_down, fresh),
        cmocka_unit_test_setup(test_preset, fresh),
        cmocka_unit_test_setup(test_verify, fresh),
        cmocka_unit_test_setup(test_log, fresh),
        cmocka_unit_test_setup(test_doctor_time, fresh),
        cmocka_unit_test_setup(test_blamed, fresh),
        cmocka_unit_test_setup(test_unfit, fresh),
        cmocka_unit_test_setup(test_innocent, fresh),
        cmocka_unit_test_setup(test_default_breaks, fresh),
        cmocka_unit_test_setup(test_wrong_at_last, fresh),
        cmocka_unit_test_setup(test_other_gpu, fresh),
        cmocka_unit_test_setup(test_many_die, fresh),
        cmocka_unit_test_setup(test_nothing, fresh),
        cmocka_unit_test_setup(test_no_gpu, fresh),
        cmocka_unit_test_setup(test_no_file, fresh),
        cmocka_unit_test_setup(test_refused, fresh),
        cmocka_unit_test_setup(test_usage, fresh),
        cmocka_unit_test_setup(test_interrupted, fresh),
        cmocka_unit_test_setup(test_interrupted_hang, fresh),
        cmocka_unit_test_setup(test_budget, fresh),
        cmocka_unit_test_setup(test_killed, fresh),
        cmocka_unit_test_setup(test_killed_anywhere, fresh),
        cmocka_unit_test_setup(test_one_a_gpu, fresh),
        cmocka_unit_test_setup(test_many, fresh),
        cmocka_unit_test_setup(test_damaged_quarantine, fresh),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
