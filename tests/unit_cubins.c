/* tests/unit_cubins.c: compiled kernels kept in files: found again, never believed when damaged,
 * foreign or of something else, and whole whenever a writer dies.
 *
 * A driver library that plays a GPU stands in for one; the implementation unit is this program's
 * own, so that the system's calls can fail and images need not be compiled.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/faults.h"

#undef FBQ_LINKED
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include "support/faults_off.h"
#include "support/command.h"
#include "support/records.h"
#include "support/refusal.h"

static char folder[64]; /* that holds nothing but the cubins' own */
static fbq__cubins cubins;

static void start(void)
{
    faults(FAULT_NONE, 0, 0);
    if (folder[0])
        folder_remove(folder);
    strcpy(folder, "/tmp/fbq-cubins-XXXXXX");
    assert_non_null(mkdtemp(folder));
    memset(&cubins, 0, sizeof cubins);
    snprintf(cubins.folder, sizeof cubins.folder, "%s/a/b", folder);
    cubins.devices = 12345;
    cubins.nvrtc = 13000;
}

/* ---- Files, with images that nobody compiled ---- */

enum { IMAGE_BYTES = 3000 };
static const char *const source = "extern \"C\" __global__ void k() {}";

static const char *image_of(int seed)
{
    static char image[IMAGE_BYTES];
    for (int i = 0; i < IMAGE_BYTES; i++)
        image[i] = (char)(i * 7 + seed);
    return image;
}

static const char *path_of(const fbq__cubin_head *key)
{
    static char path[FBQ__PATH_BYTES];
    assert_int_equal(fbq__cubin_path(&cubins, key, source, path, NULL), FBQ_OK);
    return path;
}

/* Keep an image; the warning, "" when all is well. */
static const char *keep(const fbq__cubin_head *key, int seed)
{
    static fbq__cubin_note note;
    memset(&note, 0, sizeof note);
    fbq__cubin_write(&cubins, path_of(key), key, source, image_of(seed), IMAGE_BYTES, &note);
    return note.warning;
}

/* 1: the image is there, and right; 0: there is none. Anything else is not let through. */
static int found(const fbq__cubin_head *key, const char *path, int seed)
{
    void *image = NULL;
    size_t bytes = 0;
    assert_int_equal(fbq__cubin_read(path, key, source, &image, &bytes, NULL), FBQ_OK);
    if (!image)
        return 0;
    assert_int_equal(bytes, IMAGE_BYTES);
    assert_memory_equal(image, image_of(seed), IMAGE_BYTES);
    fbq_free(image);
    return 1;
}

static void test_keep_and_find(void **state)
{
    struct stat status;
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    assert_int_equal(found(&key, path_of(&key), 1), 0);
    assert_string_equal(keep(&key, 1), "");
    assert_int_equal(found(&key, path_of(&key), 1), 1);
    assert_string_equal(keep(&key, 2), ""); /* replaced */
    assert_int_equal(found(&key, path_of(&key), 2), 1);
    assert_int_equal(stat(path_of(&key), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(stat(cubins.folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(folder_count(cubins.folder), 1);
}

/* Whatever a file was compiled from decides: another has another name, and where a file stands
 * under a name that is not its own it is not taken. */
static void test_keys(void **state)
{
    fbq__cubins other;
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    assert_string_equal(keep(&key, 1), "");
    for (int i = 0; i < 5; i++) {
        fbq__cubin_head changed;
        char path[FBQ__PATH_BYTES];
        other = cubins;
        other.devices += i == 0; /* the device sources have changed since */
        other.nvrtc += 10 * (i == 1);
        changed = fbq__cubin_key(&other, i == 2 ? 89 : 90, i == 3);
        changed.version += i == 4;
        strcpy(path, path_of(&changed));
        assert_string_not_equal(path, path_of(&key));
        assert_int_equal(found(&changed, path, 1), 0);
        assert_int_equal(rename(path_of(&key), path), 0);
        assert_int_equal(found(&changed, path, 1), 0);
        assert_int_equal(found(&key, path, 1), 1);
        assert_int_equal(rename(path, path_of(&key)), 0);
    }
    void *image = NULL;
    size_t bytes;
    assert_int_equal(fbq__cubin_read(path_of(&key), &key, "extern \"C\" __global__ void j() {}",
                                     &image, &bytes, NULL),
                     FBQ_OK);
    assert_null(image);
    assert_true(fbq_source_hash() == fbq__devices_hash() && fbq_source_hash() != 0);
}

/* Every byte flipped, and cut at every place. */
static void test_damage(void **state)
{
    size_t size;
    char *bytes;
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    assert_string_equal(keep(&key, 1), "");
    bytes = file_read(path_of(&key), &size);
    for (size_t at = 0; at < size; at++) {
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
        file_write(path_of(&key), bytes, size);
        assert_int_equal(found(&key, path_of(&key), 1), 0);
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
        file_write(path_of(&key), bytes, at);
        assert_int_equal(found(&key, path_of(&key), 1), 0);
    }
    file_write(path_of(&key), bytes, size);
    assert_int_equal(found(&key, path_of(&key), 1), 1);
    free(bytes);
}

/* Code that somebody else could have put there. */
static void test_trust(void **state)
{
    char elsewhere[100];
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    assert_string_equal(keep(&key, 1), "");
    for (int bit = 0; bit < 2; bit++) {
        assert_int_equal(chmod(path_of(&key), bit ? 0620 : 0602), 0);
        assert_int_equal(found(&key, path_of(&key), 1), 0);
    }
    assert_int_equal(chmod(path_of(&key), 0600), 0);
    assert_int_equal(found(&key, path_of(&key), 1), 1);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", folder);
    assert_int_equal(rename(path_of(&key), elsewhere), 0);
    assert_int_equal(symlink(elsewhere, path_of(&key)), 0);
    assert_int_equal(found(&key, path_of(&key), 1), 0);
    assert_string_equal(keep(&key, 3), ""); /* the link is replaced, not followed */
    assert_int_equal(found(&key, path_of(&key), 3), 1);
    assert_int_equal(found(&key, elsewhere, 1), 1);
    assert_int_equal(chmod(cubins.folder, 0777), 0);
    assert_int_equal(fbq__cubin_folder_own(&cubins), 0);
    assert_non_null(strstr(keep(&key, 4), "chmod 700"));
    assert_int_equal(found(&key, path_of(&key), 3), 1);
}

/* Each call fails, or the process dies before or behind it: the old image or the new one is there,
 * or none, and nothing else; and one that failed leaves no file behind. */
static void test_faults(void **state)
{
    int calls, warned = 0;
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    assert_string_equal(keep(&key, 1), "");
    faults(FAULT_NONE, 0, 0);
    assert_string_equal(keep(&key, 1), "");
    calls = system_calls.calls;
    for (int at = 0; at < calls; at++) {
        faults(FAULT_ERROR, at, ENOSPC);
        const char *warning = keep(&key, 1);
        warned += warning[0] != 0;
        if (warning[0])
            assert_non_null(strstr(warning, strerror(ENOSPC)));
        faults(FAULT_NONE, 0, 0);
        assert_int_equal(found(&key, path_of(&key), 1), 1);
        assert_int_equal(folder_count(cubins.folder), 1);
    }
    print_message("%d calls, %d warnings\n", calls, warned);
    assert_true(warned >= calls - 4); /* folders that are there already need not be made */
    for (int at = 0; at < 2 * calls; at++) {
        int status;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            faults(at % 2 ? FAULT_KILL_AFTER : FAULT_KILL_BEFORE, at / 2, 0);
            keep(&key, 1);
            _exit(1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(found(&key, path_of(&key), 1), 1);
        assert_string_equal(keep(&key, 1), "");
    }
    /* the folder cannot be there */
    start();
    char blocked[100];
    snprintf(blocked, sizeof blocked, "%s/a", folder);
    file_write(blocked, "x", 1);
    assert_non_null(strstr(keep(&key, 1), "make the folder"));
    assert_int_equal(found(&key, path_of(&key), 1), 0);
}

/* 8 processes write and read one name at once: the image or none. */
static void test_many_processes(void **state)
{
    enum { PROCESSES = 8, ROUNDS = 200 };
    pid_t children[PROCESSES];
    (void)state;
    start();
    const fbq__cubin_head key = fbq__cubin_key(&cubins, 90, 0);
    for (int p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        assert_true(children[p] >= 0);
        if (children[p])
            continue;
        for (int i = 0; i < ROUNDS; i++) {
            void *image = NULL;
            size_t bytes;
            if (keep(&key, 1)[0])
                _exit(1);
            if (fbq__cubin_read(path_of(&key), &key, source, &image, &bytes, NULL) != FBQ_OK ||
                !image || memcmp(image, image_of(1), IMAGE_BYTES) != 0)
                _exit(2);
            fbq_free(image);
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        assert_int_equal(waitpid(children[p], &status, 0), children[p]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_int_equal(folder_count(cubins.folder), 1);
}

/* ---- Plans ---- */

/* Open and prepare; how many programs were compiled, or minus the status. */
static int prepare(const fbq_problem *problem, const char *where, int never_compile, char *warning,
                   fbq_error *error)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, "", where, never_compile};
    fbq_context *context = NULL;
    fbq_plan *plan = NULL;
    fbq_status status = fbq_open(&options, &context, error);
    if (status == FBQ_OK)
        status = fbq_prepare(context, problem, NULL, NULL, &plan, error);
    const int compiled = status == FBQ_OK ? fbq_plan_compiled(plan) : -(int)status;
    if (warning)
        strcpy(warning, fbq_plan_warning(plan));
    fbq_plan_free(plan);
    fbq_close(context);
    return compiled;
}

static void test_second_start(void **state)
{
    const fbq_problem one = record_problem(64, 256, 0, 1), more = record_problem(64, 256, 16, 3);
    struct timespec before, after;
    char warning[400];
    fbq_error error;
    (void)state;
    start();
    const int first = prepare(&one, cubins.folder, 0, warning, &error);
    if (first == -(int)FBQ_ERR_NO_NVRTC)
        skip();
    assert_int_equal(first, 1);
    assert_string_equal(warning, "");
    clock_gettime(CLOCK_MONOTONIC, &before);
    assert_int_equal(prepare(&one, cubins.folder, 0, warning, &error), 0);
    clock_gettime(CLOCK_MONOTONIC, &after);
    print_message("the second start took %.1f ms\n",
                  1e3 * (double)(after.tv_sec - before.tv_sec) +
                      1e-6 * (double)(after.tv_nsec - before.tv_nsec));
    assert_int_equal(prepare(&one, cubins.folder, 1, warning, &error), 0);
    assert_int_equal(folder_count(cubins.folder), 1);
    /* what is not there is not compiled where that is forbidden */
    assert_int_equal(prepare(&more, cubins.folder, 1, NULL, &error), -(int)FBQ_ERR_COMPILE);
    assert_non_null(strstr(error.detail, "never_compile"));
    assert_non_null(strstr(error.detail, cubins.folder));
    assert_int_equal(prepare(&one, "", 1, NULL, &error), -(int)FBQ_ERR_COMPILE);
    assert_int_equal(prepare(&more, cubins.folder, 0, warning, &error), 2);
    assert_int_equal(prepare(&more, cubins.folder, 1, warning, &error), 0);
    /* a folder that others may write: as if there were none, and a warning */
    assert_int_equal(chmod(cubins.folder, 0770), 0);
    assert_int_equal(prepare(&one, cubins.folder, 0, warning, &error), 1);
    assert_non_null(strstr(warning, "chmod 700"));
    assert_int_equal(prepare(&one, "", 0, warning, &error), 1);
    assert_string_equal(warning, "");
    assert_int_equal(fbq_plan_compiled(NULL), 0);
    assert_string_equal(fbq_plan_warning(NULL), "");
}

/* The default folder, and what writes weights out. */
static void test_default_folder(void **state)
{
    const fbq_options options = {0, 0, FBQ_FAKE_DRIVER, NULL, "", NULL, 0};
    const fbq_problem problem = record_problem(64, 256, 0, 1);
    const fbq_reconstruction what = {problem.format, problem.shape, FBQ_F16, 0};
    char path[100];
    (void)state;
    start();
    setenv("FBQ_CACHE_DIR", folder, 1);
    snprintf(path, sizeof path, "%s/cubins", folder);
    for (int again = 0; again < 2; again++) {
        fbq_options how = options;
        fbq_context *context = NULL;
        fbq_reconstruct_plan *plan = NULL;
        how.never_compile = again;
        if (fbq_open(&how, &context, NULL) == FBQ_ERR_NO_NVRTC)
            skip();
        assert_int_equal(fbq_prepare_reconstruct(context, &what, &plan, NULL), FBQ_OK);
        fbq_reconstruct_plan_free(plan);
        fbq_close(context);
        assert_int_equal(folder_count(path), 1);
    }
}

/* A name too long to put anything behind is refused, not cut; one that is not is taken. */
static void test_long_folder(void **state)
{
    const fbq_problem problem = record_problem(64, 256, 0, 1);
    char longest[FBQ__PATH_BYTES];
    fbq_error error;
    (void)state;
    memset(longest, 'x', sizeof longest);
    longest[0] = '/';
    longest[FBQ__CUBIN_FOLDER_BYTES + 1] = 0;
    int compiled = prepare(&problem, longest, 0, NULL, &error);
    if (compiled == -(int)FBQ_ERR_NO_NVRTC)
        skip();
    assert_int_equal(compiled, -(int)FBQ_ERR_FILE);
    assert_non_null(strstr(error.detail, "cubin_folder"));
    assert_non_null(strstr(error.detail, "3997 bytes"));
    longest[FBQ__CUBIN_FOLDER_BYTES] = 0;
    assert_int_equal(prepare(&problem, longest, 0, NULL, &error), 1); /* no such folder */
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
        cmocka_unit_test(test_keep_and_find), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_faults),        cmocka_unit_test(test_many_processes),
        cmocka_unit_test(test_second_start),  cmocka_unit_test(test_default_folder),
        cmocka_unit_test(test_long_folder),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
