/* trial.c: fbq-trial, which tries picks on a GPU for fbq-tune; autotune/trials.h has what the two
 * say to each other. It may die of a pick at any moment: what matters is said at once.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* prctl */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bed.h"

enum { LINE = 2048, MOST_PICKS = 4096 };

static bed b;
static int is_open, over; /* over: nothing more can be asked of this process */
static FILE *out; /* the answers; standard output itself is for whoever prints by accident */

static void say_no(const char *sentence)
{
    fprintf(out, "no %s\n", sentence);
}

/* A sentence is one line. */
static void failed(fail *f)
{
    static const char *const words[] = {"no", "wrong", "broken", "spoiled"};
    for (char *at = f->text; *at; at++)
        if (*at == '\n')
            *at = ' ';
    if (b.g.lost && b.fault != FAULT_SPOILED)
        b.fault = FAULT_BROKEN;
    over = b.fault >= FAULT_BROKEN;
    fprintf(out, "%s %s\n", words[b.fault], f->text);
}

/* "DEVICE SMS", or "DEVICE SMS FOLDER". */
static void open_gpu(const char *text)
{
    fbq_gpu gpu;
    fail f;
    int device, sms, used = 0, driver = 0;
    if (sscanf(text, "%d %d %n", &device, &sms, &used) != 2 || sms < 0) {
        say_no("which GPU?");
        return;
    }
    is_open = bed_open(&b, device, sms, text[used] ? text + used : NULL, &f) == 0;
    if (!is_open) {
        failed(&f);
        return;
    }
    fbq_context_gpu(b.fbq, &gpu);
    cudaDriverGetVersion(&driver);
    fprintf(out,
            "ok capability=%d sms=%d shared_block=%d shared_sm=%d registers_sm=%d nvrtc=%d "
            "driver=%d uuid=%s name=%s\n",
            gpu.capability, gpu.sms, gpu.shared_block, gpu.shared_sm, gpu.registers_sm,
            fbq_context_nvrtc(b.fbq), driver, b.uuid, gpu.name);
}

static void problem(const char *line)
{
    fbq_record record;
    fbq_error error;
    fail f;
    if (fbq_record_parse(line, &record, &error) != FBQ_OK)
        say_no(error.detail);
    else if (bed_problem(&b, &record.problem, record.pick.kernel, &f))
        failed(&f);
    else
        fprintf(out, "ok\n");
}

static void with(const char *text)
{
    fbq_pick pick;
    fbq_error error;
    if (fbq_pick_parse(text, &pick, &error) != FBQ_OK) {
        say_no(error.detail);
        return;
    }
    bed_with(&b, &pick);
    fprintf(out, "ok\n");
}

static void compile(int count)
{
    static int number[MOST_PICKS];
    static fbq_pick pick[MOST_PICKS];
    char line[LINE];
    fbq_error error;
    fail f;
    int read = 0, used, fine = count >= 1 && count <= MOST_PICKS;
    for (; read < count && fgets(line, sizeof line, stdin); read++) {
        line[strcspn(line, "\n")] = 0;
        used = 0;
        fine = fine && sscanf(line, "%d %n", &number[read], &used) == 1 && used &&
               fbq_pick_parse(line + used, &pick[read], &error) == FBQ_OK;
    }
    if (!fine || read != count) {
        say_no("these are no picks");
        return;
    }
    if (bed_compile(&b, number, pick, count, &f)) {
        failed(&f);
        return;
    }
    for (int i = 0; i < count; i++) {
        const candidate *c = bed_find(&b, number[i]);
        if (c->plan)
            fprintf(out, "fit %d\n", number[i]);
        else
            fprintf(out, "unfit %d %s\n", number[i], c->why);
    }
    fprintf(out, "ok\n");
}

/* "check" and "time" of a pick, and "forget". */
static void one(const char *request, const char *text)
{
    candidate *c = bed_find(&b, atoi(text));
    double value = 0;
    fail f;
    if (!c || !c->plan)
        say_no("there is no such pick");
    else if (!strcmp(request, "forget")) {
        bed_forget(&b, c);
        fprintf(out, "ok\n");
    } else if (strcmp(request, "check") ? bed_time(&b, c, &value, &f)
                                        : bed_check(&b, c, &value, &f))
        failed(&f);
    else
        fprintf(out, "ok %.6g\n", value);
}

static void floor_time_say(void)
{
    double us;
    fail f;
    if (bed_floor(&b, &us, &f))
        failed(&f);
    else
        fprintf(out, "ok %.6g\n", us);
}

static void start_say(void)
{
    double ms[3];
    int compiled;
    fail f;
    if (bed_start(&b, ms, &compiled, &f))
        failed(&f);
    else
        fprintf(out, "ok %.3f %.3f %.3f %d\n", ms[0], ms[1], ms[2], compiled);
}

static void answer(const char *line)
{
    char request[16] = "";
    int used = 0;
    b.fault = FAULT_NONE;
    sscanf(line, "%15s %n", request, &used);
    const char *rest = line + used;
    if (!strcmp(request, "gpu") && !is_open)
        open_gpu(rest);
    else if (!is_open)
        say_no("which GPU?");
    else if (!strcmp(request, "problem"))
        problem(rest);
    else if (!b.l.g)
        say_no("which problem?");
    else if (!strcmp(request, "with"))
        with(rest);
    else if (!strcmp(request, "compile"))
        compile(atoi(rest));
    else if (!strcmp(request, "check") || !strcmp(request, "time") || !strcmp(request, "forget"))
        one(request, rest);
    else if (!strcmp(request, "floor"))
        floor_time_say();
    else if (!strcmp(request, "start"))
        start_say();
    else
        say_no("what is that?");
}

int main(int count, char **words)
{
    char line[LINE];
    (void)words;
    if (count > 1) {
        fprintf(stderr, "fbq-trial is run by fbq-tune, which see\n");
        return 2;
    }
    /* a pick that hangs would keep this process, and the GPU, beyond its parent's end */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    out = fdopen(dup(STDOUT_FILENO), "w");
    if (!out || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        return 1;
    if (!getenv("FBQ_TRIAL_VERBOSE") && !freopen("/dev/null", "w", stderr))
        return 1;
    while (!over && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        answer(line);
        fflush(out);
    }
    if (is_open && !over)
        bed_close(&b);
    return 0;
}
