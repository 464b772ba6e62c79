/* search.h: which of many picks is the fastest, from times that are noisy and cost something. It
 * knows nothing of GPUs: what it is told comes from the calls it is given.
 *
 * Generations: the picks nearest to the default and those that are predicted to be the fastest,
 * then those nearest to what won and the next that are predicted, until it wins again. In each,
 * successive halving: rounds of passes over those still in, each pass timing every one of them and
 * the default once, so that what drifts drifts for all. What is compared is always the ratio of
 * times of one pass. A round beside which the floor moved does not count.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SEARCH_H
#define SEARCH_H

#include "space.h"

/* A median, and where it lies with a confidence of at least 95 %. */
typedef struct search_interval {
    double low, median, high;
} search_interval;

typedef struct search_calls {
    /* Make so many picks of the space ready, by their numbers: compiled, and found right. fit[i] is
     * set to whether which[i] is. */
    void (*prepare)(void *user, const int *which, int count, char *fit);
    /* Microseconds of a layer by this pick, measured once; 0: it can be measured no more. */
    double (*time)(void *user, int which);
    /* Microseconds of what always takes as long, unless something else uses the GPU; 0: cannot be
     * measured. */
    double (*floor)(void *user);
    /* Shall the search end as it stands? Asked often. */
    int (*stop)(void *user);
    /* A pick is asked for no more. May be NULL. */
    void (*drop)(void *user, int which);
    /* At the end, of each pick that was timed beside the default: the median of its times, in
     * microseconds, and of their ratio to the default's. May be NULL. */
    void (*timed)(void *user, int which, double us, search_interval ratio);
    void *user;
} search_calls;

/* How much is done. */
typedef struct search_effort {
    int first, more; /* picks of the first generation, and of each that follows */
    int generations; /* at most */
    int begin;       /* passes of the first round of a generation, in which all are */
    int passes;      /* of the last round */
    int compare;     /* no search: all of the one generation have those passes, and none wins */
} search_effort;

/* For FBQ_RIGOR_MEASURE and FBQ_RIGOR_PATIENT. */
search_effort search_effort_of(fbq_rigor rigor);

typedef enum search_end {
    SEARCH_DONE,
    SEARCH_STOPPED,   /* by `stop`; what stands is what was found so far */
    SEARCH_DISTURBED, /* something else used the GPU, again and again: no time means anything */
    SEARCH_NOTHING,   /* not even the default can be measured */
    SEARCH_NO_MEMORY
} search_end;

typedef struct search_result {
    search_end end;
    int best;           /* number of the pick; 0, the default, where none is clearly faster */
    double us, spread;  /* of the best: median and width of the middle half of its times */
    double default_us;  /* median of the default's times in the same passes */
    int tried, refused; /* picks that were timed; those that were not fit for it */
    int repeated;       /* rounds that were measured again */
} search_result;

/* A pick replaces the default when it is faster by more than this, with 95 % confidence. */
#define SEARCH_MARGIN 0.005
/* Parts by which the floor may move in a round. */
#define SEARCH_QUIET 0.03
/* A pick is not looked at where it is predicted to take so many times as long as the default. */
#define SEARCH_HOPELESS 2.0
/* So often a round is measured before the GPU counts as in use by others. */
#define SEARCH_TRIES 4

void search_run(const space *s, const search_effort *effort, const search_calls *calls,
                search_result *result);

/* ---- What it reckons with ---- */

/* Of numbers, which are sorted: the value below which a part of them lies, between neighbours on
 * the line through them. `count` at least 1. */
double search_quantile(double *values, int count, double part);

/* The interval of the median of numbers, which are sorted: by their order alone, whatever their
 * distribution (the binomial of the sign test); with fewer than six it is everything. */
search_interval search_interval_of(double *values, int count);

#endif /* SEARCH_H */
