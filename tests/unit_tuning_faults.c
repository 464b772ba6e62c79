/* tests/unit_tuning_faults.c: fbq-tune tune with a trial program that plays a GPU and misbehaves: a
 * pick that dies, hangs or is wrong costs that pick and nothing else, also when the tuner dies with
 * it; what is interrupted goes on; tunings side by side lose nothing.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp, setenv */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "support/tuning.h"

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
        assert_int_not_equal(r.pick.stages, 3);
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
    char gpu[64];
    fbq_record r;
    (void)state;
    snprintf(gpu, sizeof gpu, "%s*", uuid);
    setenv("FAKE_TRIAL_GPU", gpu, 1);
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
    assert_true(lines_with(quarantine, "died", "warps=8") >= 1);
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
    enum { MANY = 16 };
    pid_t child[MANY];
    char shape[MANY][32], gpu[64];
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(shape[i], sizeof shape[i], "%dx1024", 512 + 64 * i);
        snprintf(gpu, sizeof gpu, "%s-%d", uuid, i);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_blamed, fresh),
        cmocka_unit_test_setup(test_unfit, fresh),
        cmocka_unit_test_setup(test_innocent, fresh),
        cmocka_unit_test_setup(test_default_breaks, fresh),
        cmocka_unit_test_setup(test_wrong_at_last, fresh),
        cmocka_unit_test_setup(test_other_gpu, fresh),
        cmocka_unit_test_setup(test_many_die, fresh),
        cmocka_unit_test_setup(test_nothing, fresh),
        cmocka_unit_test_setup(test_interrupted, fresh),
        cmocka_unit_test_setup(test_interrupted_hang, fresh),
        cmocka_unit_test_setup(test_budget, fresh),
        cmocka_unit_test_setup(test_killed, fresh),
        cmocka_unit_test_setup(test_killed_anywhere, fresh),
        cmocka_unit_test_setup(test_one_a_gpu, fresh),
        cmocka_unit_test_setup(test_many, fresh),
        cmocka_unit_test_setup(test_damaged_quarantine, fresh),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
