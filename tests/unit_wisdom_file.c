/* tests/unit_wisdom_file.c: the wisdom file under everything that can go wrong: damage, faults of
 * every call of the system, kill -9 at each of them and at random, many processes at once.
 *
 * The implementation unit is this program's own, with the system's calls replaced by some that
 * count, fail or kill when they are told to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* memmem; mkdtemp, usleep */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/time.h>

#include "support/faults.h"

#undef FBQ_LINKED
#define FBQ_LOCK_SECONDS 1
#define FBQ_IMPLEMENTATION
#include <fbq/fbq.h>

#include "support/faults_off.h"
#include "support/records.h"
#include "support/refusal.h"

/* ---- A folder of its own, and records that tell where they come from ---- */

static char folder[64], path[200];

static char *beside(const char *tail)
{
    static char name[220];
    snprintf(name, sizeof name, "%s%s", path, tail);
    return name;
}

static void start(void)
{
    char command[100];
    faults(FAULT_NONE, 0, 0);
    if (folder[0]) {
        snprintf(command, sizeof command, "rm -rf %s", folder);
        assert_int_equal(system(command), 0);
    }
    strcpy(folder, "/tmp/fbq-wisdom-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/wisdom", folder);
}

/* The record of a number: a layer of 16 * (number + 1) rows. */
static fbq_record numbered(int number)
{
    static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};
    const fbq_problem problem = record_problem(16 * (number + 1), 256, 0, 1);
    static fbq_record first;
    fbq_record r;
    if (!first.epoch)
        first = record_of(&problem, &h200, FBQ_KERNEL_FUSED);
    r = first;
    r.problem = problem;
    r.median_ns = number;
    return r;
}

static fbq_wisdom *wisdom_from(int first, int count)
{
    fbq_wisdom *w = NULL;
    assert_int_equal(fbq_wisdom_new(&w, NULL), FBQ_OK);
    for (int i = 0; i < count; i++) {
        const fbq_record r = numbered(first + i);
        assert_int_equal(fbq_wisdom_add(w, &r, NULL), FBQ_OK);
    }
    return w;
}

/* Write records first .. first + count - 1 into the file. */
static fbq_status write_some(int first, int count, fbq_error *error)
{
    fbq_wisdom *w = wisdom_from(first, count);
    const fbq_status status = fbq_wisdom_write(w, path, error);
    fbq_wisdom_free(w);
    return status;
}

static fbq_wisdom *read_back(void)
{
    fbq_wisdom *w = wisdom_from(0, 0);
    assert_int_equal(fbq_wisdom_read(w, path, NULL), FBQ_OK);
    return w;
}

/* How many of the records first .. first + count - 1 are in a wisdom. */
static int held(const fbq_wisdom *w, int first, int count)
{
    int found = 0;
    for (int i = first; i < first + count; i++) {
        const fbq_record r = numbered(i);
        for (size_t j = 0; j < fbq_wisdom_count(w); j++)
            found += fbq_wisdom_record(w, j)->problem.shape.segment[0].n ==
                         r.problem.shape.segment[0].n &&
                     fbq_wisdom_record(w, j)->median_ns == r.median_ns;
    }
    return found;
}

static char *bytes_of(const char *name, size_t *size)
{
    FILE *file = fopen(name, "rb");
    char *bytes = malloc(1 << 20);
    assert_non_null(file);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

static void put_bytes(const char *name, const char *bytes, size_t size)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* ---- Where it is ---- */

static void test_path(void **state)
{
    char text[64];
    (void)state;
    unsetenv("FBQ_CACHE_DIR");
    unsetenv("XDG_CACHE_HOME");
    setenv("HOME", "/home/anyone", 1);
    assert_int_equal(fbq_wisdom_path(text, sizeof text, NULL), FBQ_OK);
    assert_string_equal(text, "/home/anyone/.cache/fbq/wisdom");
    setenv("XDG_CACHE_HOME", "/cache", 1);
    assert_int_equal(fbq_wisdom_path(text, sizeof text, NULL), FBQ_OK);
    assert_string_equal(text, "/cache/fbq/wisdom");
    setenv("FBQ_CACHE_DIR", "/mine", 1);
    assert_int_equal(fbq_wisdom_path(text, sizeof text, NULL), FBQ_OK);
    assert_string_equal(text, "/mine/wisdom");
    assert_refused(FBQ_ERR_BUFFER, fbq_wisdom_path(text, 12, &error), "12 bytes", "13");
    setenv("FBQ_CACHE_DIR", "", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_path(text, sizeof text, &error), "HOME");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_path(NULL, 0, &error), "path");
}

/* ---- Ordinary use ---- */

static void test_write_and_read(void **state)
{
    fbq_wisdom *w;
    struct stat status;
    (void)state;
    start();
    umask(027);
    w = read_back(); /* no file is no records */
    assert_int_equal(fbq_wisdom_count(w), 0);
    assert_int_equal(fbq_wisdom_damaged(w), 0);
    fbq_wisdom_free(w);
    snprintf(path, sizeof path, "%s/new/folders/wisdom", folder);
    assert_int_equal(write_some(0, 5, NULL), FBQ_OK);
    assert_int_equal(write_some(3, 5, NULL), FBQ_OK);
    w = read_back();
    assert_int_equal(fbq_wisdom_count(w), 8);
    assert_int_equal(held(w, 0, 8), 8);
    assert_string_equal(fbq_wisdom_warning(w), "");
    fbq_wisdom_free(w);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640); /* as the umask leaves it */
    assert_int_equal(chmod(path, 0604), 0);        /* and as it is from then on */
    assert_int_equal(write_some(8, 1, NULL), FBQ_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0604);
    *strrchr(path, '/') = 0;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    path[strlen(path)] = '/';
    assert_int_equal(access(beside(".tmp"), F_OK), -1);
    assert_int_equal(access(beside(".bad"), F_OK), -1);
    /* a path without a folder */
    assert_int_equal(chdir(folder), 0);
    strcpy(path, "here");
    assert_int_equal(write_some(0, 2, NULL), FBQ_OK);
    assert_int_equal(chdir("/"), 0);
    snprintf(path, sizeof path, "%s/here", folder);
    w = read_back();
    assert_int_equal(held(w, 0, 2), 2);
    fbq_wisdom_free(w);
}

/* A model's records: 7 layers, 4 buckets, 2 kernels, and as many again of another GPU. */
static void test_load_time(void **state)
{
    enum { RECORDS = 112, TRIES = 20 };
    double least = 1;
    (void)state;
    start();
    assert_int_equal(write_some(0, RECORDS, NULL), FBQ_OK);
    for (int i = 0; i < TRIES; i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        fbq_wisdom *w = read_back();
        clock_gettime(CLOCK_MONOTONIC, &after);
        assert_int_equal(fbq_wisdom_count(w), RECORDS);
        fbq_wisdom_free(w);
        const double seconds = (double)(after.tv_sec - before.tv_sec) +
                               1e-9 * (double)(after.tv_nsec - before.tv_nsec);
        least = seconds < least ? seconds : least;
    }
    print_message("%d records are read in %.3f ms\n", RECORDS, 1e3 * least);
    assert_true(least < 0.01); /* 1 ms is wanted; sanitizers and shared cores take their part */
}

/* ---- Damage ---- */

/* Cut anywhere: the lines before the cut are there, and the file can be written again. */
static void test_truncated(void **state)
{
    size_t size, heading, kept;
    char *bytes;
    (void)state;
    start();
    assert_int_equal(write_some(0, 4, NULL), FBQ_OK);
    bytes = bytes_of(path, &size);
    heading = (size_t)(strchr(bytes, '\n') + 1 - bytes);
    for (size_t cut = 0; cut < size; cut++) {
        fbq_wisdom *w;
        size_t lines = 0, rest;
        put_bytes(path, bytes, cut);
        w = read_back();
        for (size_t i = heading; i < cut; i++)
            lines += bytes[i] == '\n';
        rest = cut > heading && bytes[cut - 1] != '\n' && bytes[cut] != '\n';
        lines += cut > heading && bytes[cut] == '\n'; /* a last line needs no newline */
        assert_int_equal(fbq_wisdom_count(w), lines);
        assert_int_equal(fbq_wisdom_damaged(w), rest);
        assert_int_equal(!fbq_wisdom_warning(w)[0], !rest);
        fbq_wisdom_free(w);
        if (cut % 97)
            continue;
        assert_int_equal(write_some(10, 1, NULL), FBQ_OK);
        w = read_back();
        assert_int_equal(fbq_wisdom_count(w), lines + 1);
        assert_int_equal(fbq_wisdom_damaged(w), 0);
        fbq_wisdom_free(w);
        /* nothing is lost: what could not be read is kept aside, behind what was before */
        if (rest) {
            char *aside = bytes_of(beside(".bad"), &kept);
            size_t begin = cut;
            while (bytes[begin - 1] != '\n')
                begin--;
            assert_true(kept > cut - begin && aside[kept - 1] == '\n');
            assert_memory_equal(aside + kept - 1 - (cut - begin), bytes + begin, cut - begin);
            free(aside);
        }
    }
    free(bytes);
}

/* One bit anywhere costs the line it is in; two, if it was the newline between them. */
static void test_flipped_bits(void **state)
{
    size_t size;
    char *bytes;
    (void)state;
    start();
    assert_int_equal(write_some(0, 3, NULL), FBQ_OK);
    bytes = bytes_of(path, &size);
    const size_t heading = (size_t)(strchr(bytes, '\n') + 1 - bytes);
    for (size_t at = 0; at < size; at++) {
        fbq_wisdom *w;
        const char was = bytes[at];
        const int bit = (int)(at * 5 % 8);
        bytes[at] = (char)(was ^ 1 << bit);
        put_bytes(path, bytes, size);
        bytes[at] = was;
        w = read_back();
        if (at < heading)
            assert_true(fbq_wisdom_count(w) >= 2);
        else
            assert_int_equal(fbq_wisdom_count(w), was != '\n' || at + 1 == size ? 2 : 1);
        assert_int_equal(held(w, 0, 3), fbq_wisdom_count(w));
        if (at >= heading) {
            assert_true(fbq_wisdom_damaged(w) >= 1);
            assert_non_null(strstr(fbq_wisdom_warning(w), path));
        }
        fbq_wisdom_free(w);
    }
    free(bytes);
}

/* Foreign files: not a crash, not a record, and none of it lost. */
static void test_foreign(void **state)
{
    static char noise[70000];
    fbq_wisdom *w;
    size_t size, lines = 0;
    uint32_t random = 1;
    char *aside;
    (void)state;
    start();
    for (size_t i = 0; i < sizeof noise; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (char)(random >> 24);
        lines += noise[i] == '\n';
    }
    put_bytes(path, noise, sizeof noise);
    w = read_back();
    assert_int_equal(fbq_wisdom_count(w), 0);
    assert_true(fbq_wisdom_damaged(w) > lines - 10);
    fbq_wisdom_free(w);
    assert_int_equal(write_some(0, 1, NULL), FBQ_OK);
    aside = bytes_of(beside(".bad"), &size);
    char *now = bytes_of(path, &lines);
    for (size_t at = 0; at < sizeof noise;) {
        const char *end = memchr(noise + at, '\n', sizeof noise - at);
        const size_t span = end ? (size_t)(end - noise) - at : sizeof noise - at;
        /* remarks stay in the file */
        assert_non_null(memmem(noise[at] == '#' ? now : aside, noise[at] == '#' ? lines : size,
                               noise + at, span));
        at += span + 1;
    }
    free(aside);
    free(now);
    /* a folder in its place */
    start();
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused(FBQ_ERR_FILE, write_some(0, 1, &error), path, "no regular file");
    w = wisdom_from(0, 0);
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_read(w, path, &error), path, "no regular file");
    fbq_wisdom_free(w);
    /* something that is waited for */
    start();
    assert_int_equal(mkfifo(path, 0600), 0);
    w = wisdom_from(0, 0);
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_read(w, path, &error), path, "no regular file");
    fbq_wisdom_free(w);
    /* a file where a folder is wanted, and a folder that cannot be made */
    start();
    put_bytes(path, noise, 10);
    strcat(path, "/wisdom");
    assert_refused(FBQ_ERR_FILE, write_some(0, 1, &error), path, "ot a directory");
    start();
    snprintf(path, sizeof path, "%s/new/wisdom", folder);
    system_calls.kind = FAULT_ERROR;
    system_calls.only = "mkdir";
    system_calls.error = EROFS;
    assert_refused(FBQ_ERR_FILE, write_some(0, 1, &error), "/new", strerror(EROFS));
    /* links: that of the file is followed and stays, those of its helpers are not */
    start();
    char target[100], link_to[100];
    snprintf(target, sizeof target, "%s/target", folder);
    put_bytes(target, "", 0);
    assert_int_equal(symlink("target", path), 0);
    assert_int_equal(write_some(0, 3, NULL), FBQ_OK);
    assert_int_equal(readlink(path, link_to, sizeof link_to), 6);
    w = read_back();
    assert_int_equal(held(w, 0, 3), 3);
    fbq_wisdom_free(w);
    start();
    assert_int_equal(symlink("wisdom", path), 0);
    assert_refused(FBQ_ERR_FILE, write_some(0, 1, &error), path, "itself");
    start();
    snprintf(target, sizeof target, "%s/target", folder);
    put_bytes(target, "mine", 4);
    assert_int_equal(symlink(target, beside(".tmp")), 0);
    assert_int_equal(write_some(0, 1, NULL), FBQ_OK);
    aside = bytes_of(target, &size);
    assert_int_equal(size, 4);
    free(aside);
    start();
    assert_int_equal(symlink("/tmp/somewhere-else", beside(".lock")), 0);
    assert_refused(FBQ_ERR_FILE, write_some(0, 1, &error), ".lock");
    /* longer than any wisdom */
    start();
    put_bytes(path, "\n", 1);
    assert_int_equal(truncate(path, (64 << 20) + 1), 0);
    w = wisdom_from(0, 0);
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_read(w, path, &error), "longer");
    fbq_wisdom_free(w);
    memset(noise, 'a', 5000);
    noise[5000] = 0;
    w = wisdom_from(0, 0);
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_write(w, noise, &error), "longer than 4095");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_write(NULL, path, &error), "wisdom");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_write(w, NULL, &error), "path");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_read(w, NULL, &error), "path");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_read(NULL, path, &error), "wisdom");
    fbq_wisdom_free(w);
}

/* Remarks and whole lines that this version has no use for: they stay, once, whatever is written,
 * and go along when a file is merged into another. */
static void test_kept_lines(void **state)
{
    static char lines[4][FBQ_RECORD_BYTES + 200] = {
        "# a remark", "fbq7 fused anything=at,all",
        "fbq1 fused bits=8 group=128 zero=none scale=f16 factor=f16 x=f16 y=f16 n=16 k=64 r=0 m=1",
        "fbq7 "};
    fbq_wisdom *w;
    FILE *file;
    (void)state;
    start();
    memset(lines[3] + 5, 'x', FBQ_RECORD_BYTES);
    for (int i = 1; i < 4; i++)
        fbq_record_seal(lines[i], lines[i], sizeof lines[i]);
    assert_int_equal(write_some(0, 2, NULL), FBQ_OK);
    file = fopen(path, "a");
    assert_non_null(file);
    fprintf(file, "\n");
    for (int i = 0; i < 4; i++)
        fprintf(file, "%s\n", lines[i]);
    fclose(file);
    for (int round = 0; round < 4; round++) {
        if (round < 3)
            assert_int_equal(write_some(round, 2, NULL), FBQ_OK);
        else {
            w = read_back();
            snprintf(path, sizeof path, "%s/another", folder);
            assert_int_equal(fbq_wisdom_write(w, path, NULL), FBQ_OK);
            assert_int_equal(fbq_wisdom_write(w, path, NULL), FBQ_OK);
            fbq_wisdom_free(w);
        }
        w = read_back();
        assert_int_equal(fbq_wisdom_count(w), round < 1 ? 2 : round < 3 ? round + 2 : 4);
        assert_int_equal(fbq_wisdom_damaged(w), 0);
        fbq_wisdom_free(w);
        size_t size;
        char *bytes = bytes_of(path, &size);
        bytes[size] = 0;
        for (int i = 0; i < 4; i++) {
            assert_non_null(strstr(bytes, lines[i]));
            assert_null(strstr(strstr(bytes, lines[i]) + 1, lines[i])); /* once */
        }
        free(bytes);
    }
    assert_int_equal(access(beside(".bad"), F_OK), -1);
}

/* ---- Forgetting ---- */

static int is_odd(const fbq_record *record, void *calls)
{
    ++*(int *)calls;
    return record->median_ns % 2 == 1;
}

static void test_forget(void **state)
{
    int calls = 0;
    size_t dropped = 99;
    fbq_wisdom *w;
    (void)state;
    start();
    assert_int_equal(write_some(0, 7, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_forget(path, is_odd, &calls, &dropped, NULL), FBQ_OK);
    assert_int_equal(calls, 7);
    assert_int_equal(dropped, 3);
    w = read_back();
    assert_int_equal(fbq_wisdom_count(w), 4);
    assert_int_equal(held(w, 0, 7), 4);
    fbq_wisdom_free(w);
    assert_int_equal(fbq_wisdom_forget(path, is_odd, &calls, NULL, NULL), FBQ_OK);
    faults(FAULT_NONE, 0, 0);
    system_calls.kind = FAULT_ERROR;
    system_calls.only = "rename";
    system_calls.error = EIO;
    assert_refused(FBQ_ERR_FILE, fbq_wisdom_forget(path, is_odd, &calls, &dropped, &error), path);
    faults(FAULT_NONE, 0, 0);
    w = read_back();
    assert_int_equal(held(w, 0, 7), 4);
    fbq_wisdom_free(w);
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_forget(NULL, is_odd, NULL, NULL, &error), "path");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_forget(path, NULL, NULL, NULL, &error), "drop");
}

/* ---- Faults ---- */

/* The number of calls of the system that one write makes, of a file that needs every kind. */
static void prepare_file(void)
{
    size_t size;
    char *bytes;
    start();
    assert_int_equal(write_some(0, 6, NULL), FBQ_OK);
    bytes = bytes_of(path, &size);
    bytes[size - 5] ^= 1; /* the last record is damaged, so that the file is kept aside */
    put_bytes(path, bytes, size);
    put_bytes(beside(".bad"), "old", 3);
    free(bytes);
    faults(FAULT_NONE, 0, 0);
}

static int calls_of_a_write(void)
{
    prepare_file();
    assert_int_equal(write_some(6, 2, NULL), FBQ_OK);
    return system_calls.calls;
}

/* Whatever happened, all that was in the file before is there, and the file can be written. */
static void check_whole(const char *what)
{
    fbq_wisdom *w;
    faults(FAULT_NONE, 0, 0);
    w = read_back();
    if (held(w, 0, 5) != 5 || (held(w, 6, 2) != 0 && held(w, 6, 2) != 2))
        fail_msg("%s: %d old records and %d new ones; expected 5, and 0 or 2", what, held(w, 0, 5),
                 held(w, 6, 2));
    fbq_wisdom_free(w);
    assert_int_equal(write_some(20, 1, NULL), FBQ_OK);
    w = read_back();
    assert_int_equal(held(w, 0, 5) + held(w, 20, 1), 6);
    assert_int_equal(fbq_wisdom_damaged(w), 0);
    fbq_wisdom_free(w);
}

static void wait_for(pid_t child, int *status)
{
    while (waitpid(child, status, 0) < 0)
        assert_int_equal(errno, EINTR);
}

/* Every call fails in its turn, with what a disk, a full one and a read-only one say. */
static void test_every_call_fails(void **state)
{
    static const int errors[] = {EIO, ENOSPC, EROFS, EACCES};
    const int calls = calls_of_a_write();
    const int unlocking = calls - 2; /* and closing behind it */
    int refused = 0;
    (void)state;
    for (int at = 0; at < calls; at++)
        for (int e = 0; e < 4; e++) {
            fbq_error error;
            fbq_status status;
            memset(&error, 0, sizeof error);
            prepare_file();
            faults(FAULT_ERROR, at, errors[e]);
            status = write_some(6, 2, &error);
            const char *name = system_calls.name;
            assert_non_null(name);
            if (status != FBQ_OK) {
                refused++;
                assert_int_equal(status, FBQ_ERR_FILE);
                if (!strstr(error.detail, strerror(errors[e])) || !strstr(error.detail, folder))
                    fail_msg("%s fails: \"%s\" does not say why, or where", name, error.detail);
            } else if (strcmp(name, "close") && at != unlocking)
                fail_msg("%s failed (%s), and the write says FBQ_OK", name, strerror(errors[e]));
            check_whole(name);
        }
    print_message("%d calls, %d refusals\n", calls, refused);
    assert_true(refused > calls * 2);
}

/* In this order, or what is renamed may be less than what the disk has. */
static void test_order_of_calls(void **state)
{
    static const char *const order[] = {"write", "fsync", "close", "rename", "open",
                                        "fsync", "close", "flock", "close"};
    const int calls = calls_of_a_write();
    (void)state;
    assert_in_range(calls, 9, 64);
    for (int i = 0; i < 9; i++)
        assert_string_equal(system_calls.made[calls - 9 + i], order[i]);
}

/* A child that is forked while the lock is held, and lives on, does not keep it. */
static void test_forked_meanwhile(void **state)
{
    const int calls = calls_of_a_write();
    (void)state;
    for (int at = 0; at < calls; at++) {
        prepare_file();
        faults(FAULT_FORK, at, 0);
        assert_int_equal(write_some(6, 2, NULL), FBQ_OK);
        const pid_t child = system_calls.child;
        check_whole("forked");
        kill(child, SIGKILL);
        wait_for(child, NULL);
    }
}

/* An interrupted call is made again. */
static void test_interrupted(void **state)
{
    const int calls = calls_of_a_write();
    (void)state;
    for (int at = 0; at < calls; at++) {
        prepare_file();
        faults(FAULT_ERROR, at, EINTR);
        const fbq_status status = write_some(6, 2, NULL);
        if (status != FBQ_OK &&
            (!strcmp(system_calls.name, "write") || !strcmp(system_calls.name, "read") ||
             !strcmp(system_calls.name, "flock")))
            fail_msg("%s was interrupted, and given up", system_calls.name);
        check_whole("EINTR");
    }
}

/* kill -9 before and behind every call. */
static void test_killed_at_every_call(void **state)
{
    const int calls = calls_of_a_write();
    (void)state;
    for (int at = 0; at < calls; at++)
        for (int behind = 0; behind < 2; behind++) {
            int status;
            prepare_file();
            const pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                faults(behind ? FAULT_KILL_AFTER : FAULT_KILL_BEFORE, at, 0);
                write_some(6, 2, NULL);
                _exit(1);
            }
            wait_for(child, &status);
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
            check_whole(behind ? "killed behind a call" : "killed before a call");
        }
}

/* 100 kills at random, of a process that does nothing but write, and has written at least once. */
static void test_killed_at_random(void **state)
{
    uint64_t random = 12345;
    int last = 0;
    (void)state;
    start();
    assert_int_equal(write_some(0, 5, NULL), FBQ_OK);
    for (int i = 0; i < 100; i++) {
        fbq_wisdom *w;
        int status, there, tell[2];
        char byte;
        assert_int_equal(pipe(tell), 0);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            for (int number = last;; number++)
                if (write_some(100 + number % 1000, 1, NULL) != FBQ_OK ||
                    write(tell[1], "x", 1) != 1)
                    _exit(1);
        close(tell[1]);
        assert_int_equal(read(tell[0], &byte, 1), 1);
        random = random * 6364136223846793005u + 1442695040888963407u;
        usleep((useconds_t)(random >> 33) % 10000);
        kill(child, SIGKILL);
        wait_for(child, &status);
        close(tell[0]);
        assert_true(WIFSIGNALED(status));
        w = read_back();
        assert_int_equal(held(w, 0, 5), 5);
        assert_int_equal(fbq_wisdom_damaged(w), 0);
        there = (int)fbq_wisdom_count(w) - 5;
        assert_true(there > last || there == 1000); /* none goes again */
        last = there;
        fbq_wisdom_free(w);
    }
    print_message("%d records were written between 100 kills\n", last);
    assert_true(last >= 100);
}

/* 16 processes write at once, each its own records one by one, and read in between. */
static void test_many_processes(void **state)
{
    enum { PROCESSES = 16, EACH = 12 };
    pid_t children[PROCESSES];
    fbq_wisdom *w;
    (void)state;
    start();
    for (int p = 0; p < PROCESSES; p++) {
        children[p] = fork();
        assert_true(children[p] >= 0);
        if (children[p])
            continue;
        for (int i = 0; i < EACH; i++) {
            fbq_status status;
            while ((status = write_some(p * EACH + i, 1, NULL)) == FBQ_ERR_LOCK)
                ; /* a slow disk and a second's patience */
            w = read_back();
            if (status != FBQ_OK || held(w, p * EACH, i + 1) != i + 1 || fbq_wisdom_damaged(w))
                _exit(1);
            fbq_wisdom_free(w);
        }
        _exit(0);
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;
        wait_for(children[p], &status);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    w = read_back();
    assert_int_equal(fbq_wisdom_count(w), PROCESSES * EACH);
    assert_int_equal(held(w, 0, PROCESSES * EACH), PROCESSES * EACH);
    fbq_wisdom_free(w);
}

static void ignore_it(int signal_number)
{
    (void)signal_number;
}

/* A lock that is held: FBQ_ERR_LOCK after a second. Its holder dies: the lock is free. */
static void test_lock(void **state)
{
    int tell[2], status;
    char byte;
    (void)state;
    start();
    assert_int_equal(pipe(tell), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        const int file = open(beside(".lock"), O_RDWR | O_CREAT, 0600);
        if (file < 0 || flock(file, LOCK_EX) != 0 || write(tell[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(tell[1]);
    assert_int_equal(read(tell[0], &byte, 1), 1);
    close(tell[0]);
    /* signals do not shorten the second */
    const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    struct timespec before, after;
    fbq_error error;
    memset(&error, 0, sizeof error);
    signal(SIGALRM, ignore_it);
    clock_gettime(CLOCK_MONOTONIC, &before);
    setitimer(ITIMER_REAL, &often, NULL);
    const fbq_status refused = write_some(0, 1, &error);
    setitimer(ITIMER_REAL, &never, NULL);
    clock_gettime(CLOCK_MONOTONIC, &after);
    kill(child, SIGKILL);
    wait_for(child, &status);
    assert_int_equal(refused, FBQ_ERR_LOCK);
    assert_non_null(strstr(error.detail, ".lock"));
    assert_non_null(strstr(error.detail, "1 seconds"));
    assert_true((double)(after.tv_sec - before.tv_sec) +
                    1e-9 * (double)(after.tv_nsec - before.tv_nsec) >
                0.9);
    assert_int_equal(write_some(0, 1, NULL), FBQ_OK);
    /* a file system without locks */
    system_calls.kind = FAULT_ERROR;
    system_calls.only = "flock";
    system_calls.error = ENOLCK;
    assert_refused(FBQ_ERR_FILE, write_some(1, 1, &error), "lock", path);
    faults(FAULT_NONE, 0, 0);
}

/* Folders that may not be written, for those whom permissions bind. */
static void test_read_only_folder(void **state)
{
    (void)state;
    start();
    assert_int_equal(write_some(0, 3, NULL), FBQ_OK);
    if (geteuid() == 0) {
        start();
        skip(); /* test_every_call_fails has EROFS and EACCES */
    }
    assert_int_equal(chmod(folder, 0500), 0);
    assert_refused(FBQ_ERR_FILE, write_some(3, 1, &error), folder);
    fbq_wisdom *w = read_back();
    assert_int_equal(held(w, 0, 3), 3);
    fbq_wisdom_free(w);
    assert_int_equal(chmod(folder, 0700), 0);
}

static int tear_down(void **state)
{
    (void)state;
    start();
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_load_time),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_kept_lines),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_every_call_fails),
        cmocka_unit_test(test_order_of_calls),
        cmocka_unit_test(test_forked_meanwhile),
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_killed_at_every_call),
        cmocka_unit_test(test_killed_at_random),
        cmocka_unit_test(test_many_processes),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_read_only_folder),
    };
    return cmocka_run_group_tests(tests, NULL, tear_down);
}
