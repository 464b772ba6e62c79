/* search.c: see search.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Passes of a search in all. */
enum { MOST_PASSES = 1024 };

/* Still in when the last round begins. */
enum { FINALISTS = 4 };

typedef struct search {
    const space *s;
    const search_calls *calls;
    search_result *result;
    char *known;  /* of each pick: it was prepared */
    double *rank; /* of each pick, by which some of them are chosen: the less the better */
    double *time; /* [pick number in `slot`][pass], 0: not measured */
    int *slot;    /* of each pick: its row in `time`, -1: none */
    int rows, rows_room;
    int passes; /* so far */
    int *in;    /* picks of the round in hand; the default is the first */
    int ins;
} search;

search_effort search_effort_of(fbq_rigor rigor)
{
    return rigor == FBQ_RIGOR_PATIENT ? (search_effort){192, 64, 8, 3, 25, 0}
                                      : (search_effort){24, 12, 3, 3, 15, 0};
}

/* ---- Statistics ---- */

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double search_quantile(double *values, int count, double part)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    const double at = part * (count - 1);
    const int i = (int)at;
    return i + 1 < count ? values[i] + (at - i) * (values[i + 1] - values[i]) : values[count - 1];
}

search_interval search_interval_of(double *values, int count)
{
    search_interval r = {-INFINITY, 0, INFINITY};
    double chance = pow(0.5, count), below = chance; /* of 0, and of up to i heads in `count` */
    int i = 0;
    r.median = search_quantile(values, count, 0.5);
    for (; below <= 0.025; i++) {
        r.low = values[i];
        r.high = values[count - 1 - i];
        chance *= (double)(count - i) / (i + 1);
        below += chance;
    }
    return r;
}

/* ---- Times ---- */

static double *times_of(const search *a, int pick)
{
    return a->time + (size_t)a->slot[pick] * MOST_PASSES;
}

/* The ratio of a pick's times to another's, over the passes that have both. count: of those. */
static search_interval ratio(const search *a, int pick, int other, int *count)
{
    const double *x = times_of(a, pick), *y = times_of(a, other);
    double values[MOST_PASSES];
    *count = 0;
    for (int i = 0; i < a->passes; i++)
        if (x[i] > 0 && y[i] > 0)
            values[(*count)++] = x[i] / y[i];
    if (*count == 0)
        return (search_interval){-INFINITY, INFINITY, INFINITY};
    return search_interval_of(values, *count);
}

static int stopped(search *a)
{
    if (a->result->end == SEARCH_DONE && a->calls->stop(a->calls->user))
        a->result->end = SEARCH_STOPPED;
    return a->result->end != SEARCH_DONE;
}

static void take_out(search *a, int place)
{
    a->ins--;
    memmove(a->in + place, a->in + place + 1, (size_t)(a->ins - place) * sizeof *a->in);
}

/* One pass over those still in, begun with another each time. A pick that can be measured no more
 * leaves, unless it is the default, without which the search ends. */
static void pass(search *a)
{
    for (int i = 0; i < a->ins && !stopped(a); i++) {
        const int pick = a->in[(i + a->passes) % a->ins];
        times_of(a, pick)[a->passes] = a->calls->time(a->calls->user, pick);
    }
    for (int i = a->ins - 1; i >= 0 && !stopped(a); i--)
        if (!(times_of(a, a->in[i])[a->passes] > 0)) {
            if (a->in[i] == 0)
                a->result->end = SEARCH_NOTHING;
            take_out(a, i);
        }
    a->passes++;
}

static int near(double a, double b)
{
    return a > 0 && b > 0 && fabs(a / b - 1) <= SEARCH_QUIET;
}

/* So many passes, again while the floor moves beside them. */
static void round_of(search *a, int passes)
{
    const int begin = a->passes;
    if (passes > MOST_PASSES - begin)
        passes = MOST_PASSES - begin;
    for (int i = 0; i < SEARCH_TRIES && !stopped(a); i++) {
        const double before = a->calls->floor(a->calls->user);
        for (int j = 0; j < passes && !stopped(a); j++)
            pass(a);
        if (stopped(a) || near(before, a->calls->floor(a->calls->user)))
            return;
        for (int row = 0; row < a->rows; row++)
            memset(a->time + (size_t)row * MOST_PASSES + begin, 0,
                   (size_t)(a->passes - begin) * sizeof *a->time);
        a->passes = begin;
        a->result->repeated++;
    }
    if (!stopped(a))
        a->result->end = SEARCH_DISTURBED;
}

/* ---- Who goes on ---- */

static void drop(const search *a, int pick)
{
    if (a->calls->drop)
        a->calls->drop(a->calls->user, pick);
}

/* Keep the better half of those in, the default and the best so far. */
static void halve(search *a)
{
    const int keep = a->ins / 2 > FINALISTS ? a->ins / 2 : FINALISTS;
    int count;
    for (int i = 0; i < a->ins; i++) /* by pick, since places move */
        a->rank[a->in[i]] = ratio(a, a->in[i], 0, &count).median;
    while (a->ins > keep) {
        int worst = -1;
        for (int i = 0; i < a->ins; i++)
            if (a->in[i] != 0 && a->in[i] != a->result->best &&
                (worst < 0 || a->rank[a->in[i]] > a->rank[a->in[worst]]))
                worst = i;
        drop(a, a->in[worst]);
        take_out(a, worst);
    }
}

/* Is a pick faster than the default beyond doubt? */
static int faster(const search *a, int pick, double *median)
{
    int count;
    const search_interval r = ratio(a, pick, 0, &count);
    *median = r.median;
    return pick != 0 && r.high < 1 - SEARCH_MARGIN;
}

/* The fastest of those in that are faster than the default beyond doubt, and of those that cannot
 * be told from it the one nearest to the default, which is the simplest; else the default. */
static int winner(const search *a)
{
    int fastest = 0, best, count;
    double median, least = INFINITY;
    for (int i = 0; i < a->ins; i++)
        if (faster(a, a->in[i], &median) && median < least) {
            least = median;
            fastest = a->in[i];
        }
    best = fastest;
    for (int i = 0; i < a->ins && fastest; i++)
        if (a->in[i] < best && faster(a, a->in[i], &median) &&
            ratio(a, a->in[i], fastest, &count).low <= 1)
            best = a->in[i];
    return best;
}

/* A row for the times of a pick. */
static int row_of(search *a, int pick)
{
    if (a->slot[pick] >= 0)
        return 1;
    if (a->rows == a->rows_room) {
        const int more = a->rows_room + 64;
        double *grown = realloc(a->time, (size_t)more * MOST_PASSES * sizeof *grown);
        if (!grown)
            return 0;
        a->time = grown;
        a->rows_room = more;
    }
    memset(a->time + (size_t)a->rows * MOST_PASSES, 0, MOST_PASSES * sizeof *a->time);
    a->slot[pick] = a->rows++;
    return 1;
}

/* The least in rank that was not looked at yet, and of such the nearest to the default; -1: there
 * is none. What is predicted to be slower than the default by far is left out. */
static int least(const search *a, const double *rank)
{
    const double *const us = a->s->us;
    int best = -1;
    for (int i = 0; i < a->s->count; i++)
        if (!a->known[i] && !(us && us[i] > SEARCH_HOPELESS * us[0]) &&
            (best < 0 || rank[i] < rank[best]))
            best = i;
    return best;
}

/* Up to `count` picks that were not looked at yet: those that are to be early, then by turns the
 * nearest to `centre`, and the fastest by what is predicted, if anything is. */
static int choose(search *a, int centre, int count, int *which)
{
    int found = 0;
    for (int i = 0; i < a->s->count; i++)
        a->rank[i] = space_distance(&a->s->pick[i], &a->s->pick[centre]);
    while (found < count) {
        const int early = found <= a->s->early && !a->known[found];
        const int next = early ? found : least(a, a->s->us && found % 2 ? a->s->us : a->rank);
        if (next < 0)
            break;
        a->known[next] = 1;
        which[found++] = next;
    }
    return found;
}

/* Who is in: the default, the best so far, and of the new ones those that are fit. */
static void gather(search *a, int centre, int count, int *which, char *fit)
{
    for (int i = 0; i < a->ins; i++)
        if (a->in[i] != 0 && a->in[i] != a->result->best)
            drop(a, a->in[i]);
    const int news = choose(a, centre, count, which);
    memset(fit, 0, (size_t)count);
    if (!stopped(a))
        a->calls->prepare(a->calls->user, which, news, fit);
    a->ins = 0;
    if (a->slot[0] >= 0)
        a->in[a->ins++] = 0;
    if (a->result->best)
        a->in[a->ins++] = a->result->best;
    for (int i = 0; i < news && !stopped(a); i++) {
        a->result->tried += fit[i] != 0;
        a->result->refused += fit[i] == 0;
        if (fit[i] && !row_of(a, which[i]))
            a->result->end = SEARCH_NO_MEMORY;
        else if (fit[i])
            a->in[a->ins++] = which[i];
        else if (which[i] == 0)
            a->result->end = SEARCH_NOTHING;
    }
}

/* One generation; the best may be another behind it. */
static void generation(search *a, const search_effort *effort)
{
    int some = effort->begin;
    while (!effort->compare && a->ins > FINALISTS && !stopped(a)) {
        round_of(a, some);
        halve(a);
        some = 2 * some < effort->passes ? 2 * some : effort->passes;
    }
    if (a->ins > 0 && !stopped(a))
        round_of(a, effort->passes);
    if (!effort->compare && (!stopped(a) || a->result->end == SEARCH_STOPPED))
        a->result->best = winner(a);
}

/* The median of a pick's times in the passes that another was in, too, and with `spread` the width
 * of their middle half; 0 without any. */
static double median_of(const search *a, int pick, int other, double *spread)
{
    double values[MOST_PASSES];
    int count = 0;
    for (int i = 0; a->slot[pick] >= 0 && a->slot[other] >= 0 && i < a->passes; i++)
        if (times_of(a, pick)[i] > 0 && times_of(a, other)[i] > 0)
            values[count++] = times_of(a, pick)[i];
    if (count == 0)
        return 0;
    if (spread)
        *spread = search_quantile(values, count, 0.75) - search_quantile(values, count, 0.25);
    return search_quantile(values, count, 0.5);
}

static void conclude(search *a)
{
    search_result *r = a->result;
    r->default_us = median_of(a, 0, r->best, NULL);
    r->us = median_of(a, r->best, 0, &r->spread);
    for (int i = 0; i < a->s->count && a->calls->timed; i++)
        if (a->slot[i] >= 0 && a->slot[0] >= 0) {
            int count;
            const search_interval beside = ratio(a, i, 0, &count);
            if (count > 0)
                a->calls->timed(a->calls->user, i, median_of(a, i, 0, NULL), beside);
        }
}

void search_run(const space *s, const search_effort *effort, const search_calls *calls,
                search_result *result)
{
    const int most = effort->first > effort->more ? effort->first : effort->more;
    search a;
    int *which = malloc((size_t)most * sizeof *which);
    char *fit = malloc((size_t)most);
    memset(&a, 0, sizeof a);
    memset(result, 0, sizeof *result);
    a.s = s;
    a.calls = calls;
    a.result = result;
    a.known = calloc((size_t)s->count, 1);
    a.rank = malloc((size_t)s->count * sizeof *a.rank);
    a.slot = malloc((size_t)s->count * sizeof *a.slot);
    a.in = malloc((size_t)(most + 2) * sizeof *a.in);
    if (!which || !fit || !a.known || !a.rank || !a.slot || !a.in)
        result->end = SEARCH_NO_MEMORY;
    for (int i = 0; i < s->count && a.slot; i++)
        a.slot[i] = -1;
    for (int g = 0; g < effort->generations && !stopped(&a); g++) {
        const int centre = result->best;
        gather(&a, centre, g ? effort->more : effort->first, which, fit);
        generation(&a, effort);
        if (result->best == centre)
            break;
    }
    if (a.slot && result->end != SEARCH_NO_MEMORY)
        conclude(&a);
    free(which);
    free(fit);
    free(a.known);
    free(a.rank);
    free(a.slot);
    free(a.in);
    free(a.time);
}
