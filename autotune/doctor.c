/* doctor.c: what this machine has of what running wants, and what is cached.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* mkdtemp */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "gpus.h"
#include "records.h"
#include "session.h"

typedef struct report {
    json_t *json; /* NULL: lines */
    int lacking;
} report;

/* One finding; `bad` when running needs it and it is not there. */
static void say(report *r, const char *what, int bad, const char *finding)
{
    r->lacking |= bad;
    if (r->json)
        json_object_set_new(r->json, what, json_pack("{s:b, s:s}", "ok", !bad, "says", finding));
    else
        printf("%-10s %-4s %s\n", what, bad ? "BAD" : "ok", finding);
}

static void look_at_version(report *r)
{
    char text[200];
    snprintf(text, sizeof text,
             "%s, packed layout %d, epoch %d of the kernels, their source %016llx",
             FBQ_VERSION_STRING, FBQ_LAYOUT_VERSION, FBQ_KERNEL_EPOCH,
             (unsigned long long)fbq_source_hash());
    say(r, "fbq", fbq_version() != FBQ_VERSION, text);
}

static void look_at_gpu(report *r, const options *o)
{
    char text[700];
    fbq_options how;
    fbq_context *context = NULL;
    fbq_gpu gpu;
    fbq_error error;
    memset(&how, 0, sizeof how);
    how.device = o->device;
    how.wisdom_file = how.cubin_folder = "";
    if (fbq_open(&how, &context, &error) != FBQ_OK) {
        say(r, "GPU", 1, error.detail);
        return;
    }
    fbq_context_gpu(context, &gpu);
    snprintf(text, sizeof text, "device %d: %s, sm_%d, %d multiprocessors", o->device, gpu.name,
             gpu.capability, gpu.sms);
    say(r, "GPU", 0, text);
    fbq_close(context);
}

/* It compiles, or says why not: a small kernel. */
static void look_at_nvrtc(report *r)
{
    static const fbq_gpu gpu = {"any", 80, 108, 166912, 167936, 65536};
    const fbq_pick pick = {FBQ_KERNEL_DOWN, 8, 1, 1, 4, 0, 0, 0};
    struct timespec before, after;
    fbq_problem problem;
    fbq_error error;
    char text[100];
    void *image;
    size_t bytes;
    memset(&problem, 0, sizeof problem);
    problem.format.bits = 4;
    problem.format.group = 128;
    problem.format.zero = FBQ_ZERO_CODE;
    problem.format.scale_type = problem.format.factor_type = problem.x_type = problem.y_type =
        FBQ_F16;
    problem.shape = fbq_shape_of(4096, 4096, 128);
    problem.m_max = 1;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (fbq_compile(&problem, &gpu, &pick, 0, NULL, &image, &bytes, &error) != FBQ_OK) {
        say(r, "NVRTC", 1, error.detail);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    fbq_free(image);
    snprintf(text, sizeof text, "compiles a small kernel in %.2f s",
             (double)(after.tv_sec - before.tv_sec) +
                 1e-9 * (double)(after.tv_nsec - before.tv_nsec));
    say(r, "NVRTC", 0, text);
}

static void look_at_wisdom(report *r, const options *o)
{
    fbq_wisdom *wisdom = NULL;
    fbq_error error;
    char text[4700];
    size_t used = 0;
    if (fbq_wisdom_new(&wisdom, &error) != FBQ_OK ||
        fbq_wisdom_read(wisdom, o->file, &error) != FBQ_OK) {
        say(r, "wisdom", 1, error.detail);
        fbq_wisdom_free(wisdom);
        return;
    }
    for (size_t i = 0; i < fbq_wisdom_count(wisdom); i++)
        used += fbq_wisdom_record(wisdom, i)->epoch == FBQ_KERNEL_EPOCH;
    snprintf(text, sizeof text, "%s: %zu records, %zu of them of this epoch, %zu damaged lines%s%s",
             o->file, fbq_wisdom_count(wisdom), used, fbq_wisdom_damaged(wisdom),
             fbq_wisdom_damaged(wisdom) ? ": " : "", fbq_wisdom_warning(wisdom));
    say(r, "wisdom", fbq_wisdom_damaged(wisdom) > 0, text);
    fbq_wisdom_free(wisdom);
}

/* Files of the default folder of cubins, and whether it would be used. */
static void look_at_cubins(report *r)
{
    char folder[4096], text[4400], *slash;
    struct stat status;
    struct dirent *entry;
    size_t files = 0;
    int own;
    DIR *list;
    fbq_error error;
    if (fbq_wisdom_path(folder, sizeof folder - 1, &error) != FBQ_OK) {
        say(r, "cubins", 1, error.detail);
        return;
    }
    slash = strrchr(folder, '/'); /* "cubins" is as long as "wisdom" */
    memcpy(slash + 1, "cubins", 7);
    if (stat(folder, &status) != 0) {
        snprintf(text, sizeof text, "%s: not there yet", folder);
        say(r, "cubins", 0, text);
        return;
    }
    own = status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH));
    list = opendir(folder);
    while (list && (entry = readdir(list)))
        files += strstr(entry->d_name, ".cubin") != NULL;
    if (list)
        closedir(list);
    snprintf(text, sizeof text, "%s: %zu compiled kernels%s", folder, files,
             own ? "" : "; not used, since others may write there: chmod 700");
    say(r, "cubins", !own, text);
}

/* One program's start: a child that opens the GPU, then what it says of the rest. 0: it cannot be
 * had; text says why. */
static int start_once(trials *t, const options *o, const char *folder, char *text, size_t bytes)
{
    char line[FBQ_RECORD_BYTES];
    fbq_record record;
    double open_ms, prepare_ms, launch_ms;
    int compiled;
    memset(&record, 0, sizeof record);
    record.problem = o->problem;
    record.problem.shape = fbq_shape_of(4096, 4096, 128);
    record.gpu = *gpus_find("h200"); /* a record names one; the child looks at its own */
    record.epoch = FBQ_KERNEL_EPOCH;
    record.rigor = FBQ_RIGOR_ESTIMATE;
    strcpy(record.date, "1970-01-01T00:00:00Z");
    fbq_pick_default(&record.problem, &record.gpu, FBQ_KERNEL_FUSED, &record.pick, NULL);
    fbq_record_print(&record, line, sizeof line);
    const int fine =
        trials_start(t) &&
        trials_ask(t, 60, NULL, NULL, "gpu %d 0 %s", o->device, folder) == ANSWER_OK &&
        trials_ask(t, 60, NULL, NULL, "problem %s", line) == ANSWER_OK &&
        trials_ask(t, 60, NULL, NULL, "start") == ANSWER_OK &&
        sscanf(t->text, "%lf %lf %lf %d", &open_ms, &prepare_ms, &launch_ms, &compiled) == 4;
    if (fine)
        snprintf(text, bytes,
                 "fbq_open %.1f ms, fbq_prepare %.1f ms (%d kernels compiled), first launch %.2f "
                 "ms",
                 open_ms, prepare_ms, compiled, launch_ms);
    else
        snprintf(text, bytes, "%s", t->text);
    trials_end(t);
    return fine;
}

/* A program's first start and its second, with compiled kernels in a folder of their own. */
static void look_at_start(report *r, const options *o)
{
    char folder[] = P_tmpdir "/fbq-doctor-XXXXXX", path[400], text[1100];
    struct dirent *entry;
    DIR *list;
    trials t;
    memset(&t, 0, sizeof t);
    t.stop = &session_interrupted;
    t.program = session_begin(o);
    if (!t.program || !mkdtemp(folder)) {
        say(r, "start", 1, t.program ? "no folder can be made in " P_tmpdir : "no fbq-trial");
        return;
    }
    const int first = start_once(&t, o, folder, text, sizeof text);
    say(r, "start", !first, text);
    if (first) {
        const int second = start_once(&t, o, folder, text, sizeof text);
        say(r, "again", !second, text);
    }
    list = opendir(folder);
    while (list && (entry = readdir(list)))
        if (snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) < (int)sizeof path)
            unlink(path);
    if (list)
        closedir(list);
    rmdir(folder);
}

outcome command_doctor(const options *o)
{
    report r = {o->json ? json_object() : NULL, 0};
    look_at_version(&r);
    look_at_gpu(&r, o);
    look_at_nvrtc(&r);
    look_at_wisdom(&r, o);
    look_at_cubins(&r);
    if (o->time)
        look_at_start(&r, o);
    if (r.json && json_print(o, r.json) != OUTCOME_DONE)
        return OUTCOME_FAILED;
    return r.lacking ? OUTCOME_LACKING : OUTCOME_DONE;
}
