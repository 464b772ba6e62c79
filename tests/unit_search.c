/* tests/unit_search.c: the tuner's space holds what is legal and nothing else, and its search finds
 * what is fast among noise, drift, outliers, others on the GPU and picks that fail.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../autotune/search.h"
#include "support/records.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};

/* ---- The space ---- */

static void space_is_right(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                           int least)
{
    space s;
    fbq_error error;
    fbq_pick first;
    assert_int_equal(fbq_pick_default(problem, gpu, kernel, &first, &error), FBQ_OK);
    assert_int_equal(space_of(problem, gpu, kernel, &s, &error), FBQ_OK);
    assert_true(s.count >= least);
    assert_memory_equal(&s.pick[0], &first, sizeof first);
    double *distance = calloc((size_t)s.count, sizeof *distance);
    for (int i = 0; i < s.count; i++) {
        assert_int_equal(fbq_pick_check(problem, gpu, &s.pick[i], NULL), FBQ_OK);
        distance[i] = space_distance(&s.pick[i], &first);
        assert_true(i == 0 || distance[i - 1] <= distance[i]);
        assert_int_equal(s.pick[i].kernel, kernel);
        if (kernel == FBQ_KERNEL_FUSED && problem->launches)
            assert_int_equal(s.pick[i].slices > 0, problem->launches == 1);
        if (kernel == FBQ_KERNEL_FUSED && problem->shape.segment[0].r == 0)
            assert_int_equal(s.pick[i].slices, 0);
        /* a pick that is there twice would be there at the same distance */
        for (int j = i - 1; j >= 0 && distance[j] == distance[i]; j--)
            assert_true(memcmp(&s.pick[i], &s.pick[j], sizeof first) != 0);
    }
    free(distance);
    space_free(&s);
}

static void test_space(void **state)
{
    static const int64_t shapes[][2] = {{4096, 4096}, {11008, 4096}, {4096, 11008}, {64, 300}};
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        for (int g = 0; g < NOMINAL_GPUS; g++)
            for (int m = 1; m <= 16; m *= 4)
                for (int rank = 0; rank <= 128; rank += 64) {
                    const fbq_problem p = record_problem(shapes[i][0], shapes[i][1], rank, m);
                    space_is_right(&p, &nominal_gpus[g], FBQ_KERNEL_FUSED, 50);
                    space_is_right(&p, &nominal_gpus[g], FBQ_KERNEL_DOWN, 20);
                }
    fbq_problem p = record_problem(4096, 4096, 128, 1);
    p.launches = 1;
    space_is_right(&p, &h200, FBQ_KERNEL_FUSED, 100);
    p.launches = 2;
    space_is_right(&p, &h200, FBQ_KERNEL_FUSED, 100);
}

static void test_space_of_nothing(void **state)
{
    fbq_problem p = record_problem(4096, 4096, 128, 17);
    fbq_error error;
    space s;
    (void)state;
    assert_int_equal(space_of(&p, &h200, FBQ_KERNEL_FUSED, &s, &error), FBQ_ERR_UNSUPPORTED);
    assert_null(s.pick);
    assert_int_equal(s.count, 0);
}

static void test_distance(void **state)
{
    const fbq_pick a = {FBQ_KERNEL_FUSED, 8, 4, 1, 0, 2, 1, 0};
    fbq_pick b = a;
    (void)state;
    assert_true(space_distance(&a, &b) == 0);
    b.splits = 1; /* is none as well */
    assert_true(space_distance(&a, &b) == 0);
    b.warps = 16;
    b.chunks = 2;
    assert_true(fabs(space_distance(&a, &b) - 2) < 1e-9);
    b.slices = 8;
    assert_true(fabs(space_distance(&a, &b) - 4) < 1e-9);
}

/* ---- Statistics ---- */

static void test_interval(void **state)
{
    double values[15];
    (void)state;
    for (int i = 0; i < 15; i++)
        values[i] = (i * 7) % 15; /* 0 .. 14, mixed */
    search_interval r = search_interval_of(values, 15);
    assert_true(r.low == 3 && r.median == 7 && r.high == 11); /* tables of the sign test */
    r = search_interval_of(values, 6);
    assert_true(r.low == 0 && r.median == 2.5 && r.high == 5);
    r = search_interval_of(values, 5);
    assert_true(isinf(r.low) && isinf(r.high) && r.median == 2);
    assert_true(search_quantile(values, 15, 0.25) == 3.5);
}

/* How often the interval of a median holds it: at least as often as is said. */
static void test_interval_holds(void **state)
{
    int held = 0;
    (void)state;
    srand(1);
    for (int i = 0; i < 2000; i++) {
        double values[15];
        for (int j = 0; j < 15; j++)
            values[j] = pow((double)rand() / RAND_MAX, 3); /* skewed; median 1/8 */
        const search_interval r = search_interval_of(values, 15);
        held += r.low <= 0.125 && 0.125 <= r.high;
    }
    assert_true(held >= 1900);
}

/* ---- A GPU that is played ---- */

typedef struct played {
    space s;
    int fastest;     /* the pick from whose distance the times grow; -1: all take as long */
    double slope;    /* by which part for each unit of distance */
    double noise;    /* largest part by which a time is off */
    double drift;    /* by which part times grow from the first measurement to the 1000th */
    double outliers; /* part of the times that are three times as long */
    int disturbed;   /* so many times asked for the floor something else is running */
    int unfit;       /* every so many-th pick is not fit, 0: none */
    int dies;        /* a pick that cannot be measured from the third time on, 0: none */
    int stop_at;     /* call after which the search is asked to end; 0: never */
    /* */
    int calls, measured, floors, died, told;
    char *prepared, *fit, *dropped;
} played;

static double chance(void)
{
    return (double)rand() / RAND_MAX;
}

static int is_unfit(const played *p, int which)
{
    return p->unfit && which % p->unfit == p->unfit - 1;
}

static void play_prepare(void *user, const int *which, int count, char *fit)
{
    played *p = user;
    p->calls++;
    for (int i = 0; i < count; i++) {
        assert_in_range(which[i], 0, p->s.count - 1);
        assert_false(p->prepared[which[i]]); /* none twice */
        p->prepared[which[i]] = 1;
        fit[i] = p->fit[which[i]] = (char)!is_unfit(p, which[i]);
    }
}

/* What a pick takes, without noise. */
static double truth(const played *p, int which)
{
    return p->fastest < 0
               ? 5
               : 5 * (1 + p->slope * space_distance(&p->s.pick[which], &p->s.pick[p->fastest]));
}

static double play_time(void *user, int which)
{
    played *p = user;
    p->calls++;
    assert_true(p->fit[which] && !p->dropped[which]);
    if (which == p->dies && which && ++p->died >= 3)
        return 0;
    const double us = truth(p, which) * (1 + p->noise * (2 * chance() - 1)) *
                      (1 + p->drift * p->measured++ / 1000);
    return chance() < p->outliers ? 3 * us : us;
}

static double play_floor(void *user)
{
    played *p = user;
    p->calls++;
    return p->floors++ < p->disturbed ? 1 + 0.1 * p->floors : 3;
}

static void play_drop(void *user, int which)
{
    played *p = user;
    assert_true(p->fit[which] && which != 0);
    p->dropped[which] = 1;
}

/* Everything that was measured comes out, near the truth. */
static void play_timed(void *user, int which, double us, search_interval ratio)
{
    played *p = user;
    p->told++;
    assert_true(p->fit[which]);
    if (!p->drift && !p->outliers) {
        assert_true(fabs(us / truth(p, which) - 1) <= p->noise);
        assert_true(fabs(ratio.median * truth(p, 0) / truth(p, which) - 1) <= 2.1 * p->noise);
    }
    assert_true(ratio.low <= ratio.median && ratio.median <= ratio.high);
}

static int play_stop(void *user)
{
    const played *p = user;
    return p->stop_at && p->calls >= p->stop_at;
}

static void play_effort(played *p, const search_effort *effort, unsigned seed,
                        search_result *result)
{
    const search_calls calls = {play_prepare, play_time,  play_floor, play_stop,
                                play_drop,    play_timed, p};
    p->calls = p->measured = p->floors = p->died = p->told = 0;
    p->prepared = calloc((size_t)p->s.count, 1);
    p->fit = calloc((size_t)p->s.count, 1);
    p->dropped = calloc((size_t)p->s.count, 1);
    srand(seed);
    search_run(&p->s, effort, &calls, result);
    assert_in_range(result->best, 0, p->s.count - 1);
    free(p->prepared);
    assert_false(p->dropped[result->best]);
    free(p->dropped);
    free(p->fit);
}

static void play(played *p, fbq_rigor rigor, unsigned seed, search_result *result)
{
    const search_effort effort = search_effort_of(rigor);
    play_effort(p, &effort, seed, result);
}

static played played_of(int64_t n, int64_t k, int m)
{
    const fbq_problem problem = record_problem(n, k, 128, m);
    played p;
    memset(&p, 0, sizeof p);
    p.slope = 0.05;
    p.noise = 0.02;
    assert_int_equal(space_of(&problem, &h200, FBQ_KERNEL_FUSED, &p.s, NULL), FBQ_OK);
    return p;
}

/* Searches for picks all over the space; how many ended with one that is slower by more than a
 * percent. The others may sit where every neighbour is slower. */
static int missed(played *p, int count)
{
    int missed = 0;
    for (unsigned seed = 1; seed <= (unsigned)count; seed++) {
        search_result r;
        p->fastest = (int)(seed * 7919u % (unsigned)p->s.count);
        play(p, FBQ_RIGOR_PATIENT, seed, &r);
        assert_int_equal(r.end, SEARCH_DONE);
        assert_true(truth(p, r.best) < truth(p, 0));
        missed += truth(p, r.best) > 1.01 * truth(p, p->fastest);
        /* of the same passes, so that drift is in both */
        assert_true(fabs(r.default_us / r.us * truth(p, r.best) / truth(p, 0) - 1) < 0.02);
        if (!p->drift)
            assert_true(fabs(r.us / truth(p, r.best) - 1) < 0.02);
    }
    return missed;
}

static void test_finds(void **state)
{
    (void)state;
    for (int m = 1; m <= 16; m *= 16) {
        played p = played_of(4096, 4096, m);
        assert_in_range(missed(&p, 20), 0, 1);
        space_free(&p.s);
    }
}

/* Less effort finds what is near, and nothing slower than the default. */
static void test_measure(void **state)
{
    played p = played_of(11008, 4096, 1);
    (void)state;
    for (unsigned seed = 1; seed <= 100; seed++) {
        search_result r;
        p.fastest = (int)(seed * 7919u % (unsigned)p.s.count);
        play(&p, FBQ_RIGOR_MEASURE, seed, &r);
        assert_int_equal(r.tried, p.told);
        assert_true(r.tried <= 48 && truth(&p, r.best) <= truth(&p, 0));
        p.fastest = (int)(seed % 24); /* of the first generation */
        play(&p, FBQ_RIGOR_MEASURE, seed, &r);
        assert_true(truth(&p, r.best) <= 1.01 * truth(&p, p.fastest));
    }
    space_free(&p.s);
}

/* What is far away is found at once where it is predicted, as well as picks of times that nobody
 * predicts; and what is predicted to be hopeless is not looked at. */
static void test_predicted(void **state)
{
    const gpu_speed speed = {4800, 1980};
    const fbq_problem problem = record_problem(4096, 4096, 128, 1);
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    space_predict(&p.s, &problem, &h200, &speed);
    assert_non_null(p.s.us);
    for (int i = 0; i < p.s.count; i++)
        assert_true(p.s.us[i] > 1 && p.s.us[i] < 1000);
    p.fastest = p.s.count - 1;
    p.s.us[p.fastest] = 1;
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.best, p.fastest);
    p.fastest = 3; /* near the default */
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.best, p.fastest);
    for (int i = 1; i < p.s.count; i++)
        p.s.us[i] = i % 10 == 5 ? p.s.us[0] : 2.01 * p.s.us[0];
    play(&p, FBQ_RIGOR_PATIENT, 1, &r);
    assert_true(r.best == 0 || r.best % 10 == 5);
    space_free(&p.s);
}

/* Where all are as fast, the default stays. */
static void test_ties(void **state)
{
    played p = played_of(4096, 4096, 1);
    int others = 0;
    (void)state;
    p.fastest = -1;
    for (unsigned seed = 1; seed <= 300; seed++) {
        search_result r;
        play(&p, FBQ_RIGOR_MEASURE, seed, &r);
        others += r.best != 0;
    }
    assert_true(others <= 15);
    space_free(&p.s);
}

/* Where two are faster than the default and as fast as each other, the nearer one to the default
 * is taken, nearly always. */
static void test_ties_are_simple(void **state)
{
    fbq_pick three[3];
    played p = played_of(4096, 4096, 1);
    int nearer = 0;
    (void)state;
    three[0] = p.s.pick[0];
    three[1] = three[0];
    three[2] = three[0];
    three[1].chunks *= 2;
    three[2].chunks *= 2;
    three[2].stages = 3; /* farther from the default, and from the fastest as far as that */
    space_free(&p.s);
    p.s.pick = three;
    p.s.count = 3;
    p.fastest = 1;
    p.slope = 0.002; /* lost in the noise between 1 and 2 */
    for (unsigned seed = 1; seed <= 100; seed++) {
        search_result r;
        play(&p, FBQ_RIGOR_MEASURE, seed, &r);
        nearer += r.best == 0; /* a gain below the margin is none */
    }
    assert_true(nearer >= 97);
    p.slope = 0.05;
    three[2] = three[1];
    three[2].slices = three[1].slices == 8 ? 9 : 8; /* 0.17 away: 0.8 % */
    nearer = 0;
    for (unsigned seed = 1; seed <= 100; seed++) {
        search_result r;
        play(&p, FBQ_RIGOR_MEASURE, seed, &r);
        assert_int_not_equal(r.best, 0);
        nearer += r.best == 1;
    }
    assert_true(nearer >= 90);
}

static void test_drift(void **state)
{
    played p = played_of(4096, 11008, 8);
    (void)state;
    p.drift = 0.1; /* by the end of a search times have more than doubled */
    assert_in_range(missed(&p, 10), 0, 1);
    space_free(&p.s);
}

static void test_outliers(void **state)
{
    played p = played_of(4096, 11008, 8);
    (void)state;
    p.outliers = 0.1;
    assert_in_range(missed(&p, 10), 0, 1);
    space_free(&p.s);
}

static void test_disturbed(void **state)
{
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    p.fastest = 5;
    p.disturbed = 3; /* two rounds have another time in front of them or behind */
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_DONE);
    assert_int_equal(r.repeated, 2);
    assert_true(truth(&p, r.best) <= 1.01 * truth(&p, p.fastest));
    p.disturbed = 1 << 20;
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_DISTURBED);
    assert_int_equal(r.repeated, SEARCH_TRIES);
    space_free(&p.s);
}

static void test_unfit(void **state)
{
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    p.unfit = 3; /* play_time asserts that no such is timed */
    p.fastest = 6;
    p.dies = 4;
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_DONE);
    assert_true(r.refused > 0 && r.tried > 0 && p.died >= 3);
    assert_true(truth(&p, r.best) <= 1.01 * truth(&p, p.fastest));
    p.fastest = p.dies; /* the best of all, as long as it lives */
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_DONE);
    assert_int_not_equal(r.best, p.dies);
    p.unfit = 1; /* all, the default too */
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_NOTHING);
    space_free(&p.s);
}

/* Asked to end at whatever moment, it ends at once, and what it names was found faster. */
static void test_stop(void **state)
{
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    p.fastest = 5;
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    const int whole = p.calls;
    for (p.stop_at = 1; p.stop_at < whole; p.stop_at++) {
        play(&p, FBQ_RIGOR_MEASURE, 1, &r);
        assert_int_equal(r.end, SEARCH_STOPPED);
        assert_int_equal(p.calls, p.stop_at);
        assert_true(truth(&p, r.best) <= truth(&p, 0));
    }
    space_free(&p.s);
}

/* A layer that has one pick only is measured nonetheless. */
static void test_alone(void **state)
{
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    p.s.count = 1;
    play(&p, FBQ_RIGOR_MEASURE, 1, &r);
    assert_int_equal(r.end, SEARCH_DONE);
    assert_int_equal(r.best, 0);
    assert_true(fabs(r.us / truth(&p, 0) - 1) < p.noise && r.us == r.default_us);
    space_free(&p.s);
}

/* Where picks are only compared each is in every pass, and none wins. */
static void test_compare(void **state)
{
    const search_effort effort = {6, 0, 1, 25, 25, 1};
    played p = played_of(4096, 4096, 1);
    search_result r;
    (void)state;
    p.s.count = 6;
    p.fastest = 5;
    play_effort(&p, &effort, 1, &r);
    assert_int_equal(r.end, SEARCH_DONE);
    assert_int_equal(r.best, 0);
    assert_int_equal(p.told, 6);
    assert_int_equal(p.measured, 6 * 25);
    assert_true(fabs(r.us / truth(&p, 0) - 1) < p.noise);
    space_free(&p.s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_space),          cmocka_unit_test(test_space_of_nothing),
        cmocka_unit_test(test_distance),       cmocka_unit_test(test_interval),
        cmocka_unit_test(test_interval_holds), cmocka_unit_test(test_finds),
        cmocka_unit_test(test_measure),        cmocka_unit_test(test_predicted),
        cmocka_unit_test(test_ties),           cmocka_unit_test(test_ties_are_simple),
        cmocka_unit_test(test_drift),          cmocka_unit_test(test_outliers),
        cmocka_unit_test(test_disturbed),      cmocka_unit_test(test_unfit),
        cmocka_unit_test(test_stop),           cmocka_unit_test(test_alone),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
