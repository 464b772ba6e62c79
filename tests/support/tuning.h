/* tests/support/tuning.h: fbq-tune tune with a trial program that plays a GPU (fake_trial/), in a
 * folder of its own. For a test with FBQ_TUNE and FBQ_FAKE_TRIAL, the paths of both; it defines
 * _DEFAULT_SOURCE and includes cmocka.h before.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_TUNING_H
#define FBQ_TESTS_TUNING_H

#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fbq/fbq.h>

#include "command.h"
#include "records.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};
static char folder[64], wisdom[100], quarantine[120], logs[100], uuid[32];
static command_run run;

#define BASE FBQ_TUNE, "tune", "--trial", FBQ_FAKE_TRIAL, "--file", wisdom
#define LAYER "--shape", "4096x4096", "--m", "1"
#define TUNE(...) tune((const char *const[]){BASE, __VA_ARGS__, NULL})
static inline int tune(const char *const *words)
{
    unlink(logs);
    command_run_words(words, &run);
    return run.status;
}

static inline int says(const char *text)
{
    return strstr(run.out, text) || strstr(run.err, text);
}

static inline void plant(const char *text)
{
    setenv("FAKE_TRIAL_PLANT", text, 1);
}

static inline int fresh(void **state)
{
    (void)state;
    folder_fresh(folder);
    setenv("FAKE_TRIAL_LOG", logs, 1);
    unsetenv("FAKE_TRIAL_PLANT");
    unsetenv("FAKE_TRIAL_FASTEST");
    setenv("FAKE_TRIAL_GPU", uuid, 1);
    unsetenv("FAKE_TRIAL_SLOWLY");
    return 0;
}

/* Lines of a file that hold two texts; 0 when there is no file. */
static inline int lines_with(const char *path, const char *text, const char *other)
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
static inline int kept(int64_t n, int64_t k, int m, fbq_kernel kernel, fbq_record *record)
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

static inline fbq_pick default_of(int m)
{
    const fbq_problem problem = record_problem(4096, 4096, 128, m);
    fbq_pick pick;
    assert_int_equal(fbq_pick_default(&problem, &h200, FBQ_KERNEL_FUSED, &pick, NULL), FBQ_OK);
    return pick;
}

/* A pick near the default of one row. */
static inline const char *near_text(int stages)
{
    static char text[256];
    fbq_pick pick = default_of(1);
    pick.stages = stages;
    fbq_pick_print(&pick, text, sizeof text);
    return text;
}

static inline int is_process(long process)
{
    waitpid((pid_t)process, NULL, WNOHANG); /* orphans come to this process to be waited for */
    return kill((pid_t)process, 0) == 0 || errno != ESRCH;
}

/* No child of fbq-tune is left: it has waited for them, or they died with it. */
static inline void no_child_left(void)
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

/* A folder, and a GPU of this test's own: others may run it, too. */
static inline int set_up(void **state)
{
    (void)state;
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* for no_child_left */
    strcpy(folder, "/tmp/fbq-tuning-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(wisdom, sizeof wisdom, "%s/wisdom", folder);
    snprintf(quarantine, sizeof quarantine, "%s.quarantine", wisdom);
    snprintf(logs, sizeof logs, "%s/log", folder);
    snprintf(uuid, sizeof uuid, "GPU-%ld", (long)getpid());
    return 0;
}

/* Also the locks of its GPUs. */
static inline int tear_down(void **state)
{
    char pattern[100];
    glob_t locks;
    (void)state;
    folder_remove(folder);
    snprintf(pattern, sizeof pattern, P_tmpdir "/fbq-tune-%s*.lock", uuid);
    if (glob(pattern, 0, NULL, &locks) == 0)
        for (size_t i = 0; i < locks.gl_pathc; i++)
            unlink(locks.gl_pathv[i]);
    globfree(&locks);
    return 0;
}

#endif
