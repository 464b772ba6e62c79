/* tuner.h: tune one problem: the search of search.h over trials in a child of trials.h, with what
 * breaks that child blamed, remembered and passed over.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef TUNER_H
#define TUNER_H

#include "quarantine.h"
#include "search.h"
#include "trials.h"

typedef struct tuner {
    /* set by the caller */
    const char *wisdom; /* the path, beside which the quarantine is */
    fbq_rigor rigor;
    int device;
    int sms;                            /* multiprocessors of a green context, 0: all of the GPU */
    double patience;                    /* seconds that a pick may take to be run once */
    double end;                         /* seconds of trials_now at which to end; 0: none */
    void (*note)(const char *sentence); /* what the user should hear of at once */
    /* every pick that was timed, in microseconds and beside the default; may be NULL */
    void (*timed)(void *user, const fbq_record *record, double us, search_interval ratio);
    /* every pick that cannot be timed, or was not right in the end, and why; may be NULL */
    void (*refused)(void *user, const fbq_record *record, const char *why);
    void *user;
    int survey; /* not 0: no search, but so many picks drawn from all, the same every time */
    /* what the child says, or with FBQ_RIGOR_ESTIMATE the caller, who then needs no child */
    fbq_gpu gpu;
    gpu_speed speed; /* bandwidth 0: not known */
    int nvrtc, driver;
    char uuid[64];
    /* */
    trials t;
    quarantine q;
    int lock; /* of the GPU */
    int open;
} tuner;

/* Start a child, ask for the GPU, lock it, read the quarantine. 0 with the reason in `why`. */
int tuner_open(tuner *u, const char *program, const volatile sig_atomic_t *stop, char *why,
               size_t bytes);
void tuner_close(tuner *u);

typedef struct tuned {
    search_result result;
    fbq_record record; /* of the best */
    fbq_pick first;    /* the default */
    int blamed;        /* picks that died, hung or were wrong in this tuning */
    int passed_over;   /* picks that were not tried, for they did so before */
    char why[1024];    /* where the child could not go on; "" else */
} tuned;

/* Tune a kernel for a problem; for down, `with` is fused's pick, else NULL. With FBQ_RIGOR_ESTIMATE
 * nothing is run: the pick is the one predicted to be the fastest, where that is by more than
 * predictions are off, else the default; its times are predictions. 0 with t->why when there is
 * nothing to search; 1: see t->result. */
int tuner_run(tuner *u, const fbq_problem *problem, fbq_kernel kernel, const fbq_pick *with,
              tuned *t);

/* Time a record's pick and so many others for its problem, all in the same passes: t->result.us is
 * the record's, and u->timed gets each with its ratio to the record's. One that is the same as one
 * before is timed once; one that breaks costs the others nothing, and goes to u->refused. */
int tuner_verify(tuner *u, const fbq_record *record, const fbq_pick *with, const fbq_pick *others,
                 int count, tuned *t);

#endif /* TUNER_H */
