/* options.h: the command line of fbq-tune.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <fbq/fbq.h>

/* Files that verify compares with at once. */
enum { MOST_BESIDE = 4 };

/* How fbq-tune ends. */
typedef enum outcome {
    OUTCOME_DONE = 0,
    OUTCOME_FAILED = 1,  /* a file cannot be read or written, or holds what cannot be taken */
    OUTCOME_USAGE = 2,   /* the command line is wrong */
    OUTCOME_LACKING = 3, /* the machine lacks something that running or tuning needs */
    OUTCOME_PARTLY = 4   /* tune: not all that was asked for was tuned */
} outcome;

typedef struct options {
    const char *command_name;
    char file[4096];    /* of wisdom */
    const char *output; /* NULL: standard output */
    const char **input; /* what stands behind the options */
    int inputs;
    /* Which records, or which problem. */
    const char *gpu; /* NULL: any, or the GPU of this machine */
    int device;
    int has_shape, has_bits, has_kernel;
    fbq_kernel kernel;
    fbq_problem problem;
    /* tune */
    int preset; /* of problems_preset, -1: none */
    int m[4], ms;
    fbq_rigor rigor;
    int sms;         /* multiprocessors to use, 0: all */
    double budget;   /* seconds, 0: none */
    double patience; /* seconds for one trial */
    const char *trial;
    int again;
    int survey;      /* picks drawn, 0: a search */
    const char *log; /* file that every time goes to, NULL: none */
    /* verify */
    const char *beside[MOST_BESIDE]; /* other wisdom files */
    int besides;
    /* */
    int json, all, skip_damaged, no_default, time;
    outcome (*command)(const struct options *options);
} options;

/* Read the command line. 0: done already (help, version); *end says how. o->input is part of
 * `words`. */
int options_read(int count, char **words, options *o, outcome *end);

/* "fbq-tune: show: ..." on standard error; the outcome is for the caller to return. */
outcome failed(const options *o, outcome end, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

outcome command_tune(const options *o);
outcome command_verify(const options *o);
outcome command_show(const options *o);
outcome command_explain(const options *o);
outcome command_merge(const options *o);
outcome command_export(const options *o);
outcome command_forget(const options *o);
outcome command_doctor(const options *o);

#endif /* OPTIONS_H */
