/* tests/unit_calibrate.c: quantiser, Gram matrix, SVD, EoRA, FBQuant and the bound.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bound.h>
#include <calibrate.h>
#include <fbq/host/half.h>
#include <fbquant.h>
#include <gram.h>
#include <math.h>
#include <packed.h>
#include <quantise.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 1;

static double uniform(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(random_state >> 11) / 9007199254740992.0;
}

/* Near enough to normal, with tails. */
static double bell(void)
{
    const double sum = uniform() + uniform() + uniform() + uniform() - 2;
    return sum * (uniform() < 0.02 ? 6 : 1.7);
}

static fbq_format format_of(int bits, int group, fbq_zero zero)
{
    return (fbq_format){bits, group, zero, FBQ_F16, FBQ_F16};
}

/* ---- the quantiser ---- */

static void test_round_up(void **state)
{
    (void)state;
    assert_int_equal(quantise_round_up(0), 0);
    assert_int_equal(quantise_round_up(1e-30), 1);
    assert_int_equal(quantise_round_up(65504), 0x7bff);
    assert_int_equal(quantise_round_up(65504.0000001), 0x7c00);
    assert_int_equal(quantise_round_up(1e300), 0x7c00);
    for (uint16_t h = 1; h < 0x7bff; h++) {
        const double here = fbq_f32_of_f16(h), next = fbq_f32_of_f16((uint16_t)(h + 1));
        assert_int_equal(quantise_round_up(here), h);
        assert_int_equal(quantise_round_up(nextafter(here, 1e9)), h + 1); /* not even a float */
        assert_int_equal(quantise_round_up((here + next) / 2), h + 1);
        assert_int_equal(quantise_round_up(nextafter(next, 0)), h + 1);
    }
}

static void test_quantise_by_hand(void **state)
{
    (void)state;
    /* Range 0.75, 2 bits: s = 1/4. */
    const double v[4] = {-0.25, 0, 0.25, 0.5}, mixed[4] = {1, 1.5, 2.4, 4};
    uint8_t codes[4], zero_code;
    uint16_t scale, zero;
    double back[4];
    fbq_format f = format_of(2, 4, FBQ_ZERO_F16);
    assert_int_equal(quantise(&f, 1, 4, v, codes, &scale, &zero, back, NULL), FBQ_OK);
    assert_true(fbq_f32_of_f16(scale) == 0.25f && fbq_f32_of_f16(zero) == 1);
    for (int i = 0; i < 4; i++)
        assert_true(codes[i] == i && back[i] == v[i]);
    /* All positive: a free zero point takes range 3, an integer one must reach 0, range 4. */
    assert_int_equal(quantise(&f, 1, 4, mixed, codes, &scale, &zero, back, NULL), FBQ_OK);
    assert_true(fbq_f32_of_f16(scale) == 1 && fbq_f32_of_f16(zero) == -1);
    assert_true(codes[0] == 0 && codes[1] == 1 && codes[2] == 1 && codes[3] == 3);
    f.zero = FBQ_ZERO_CODE;
    assert_int_equal(quantise(&f, 1, 4, mixed, codes, &scale, &zero_code, NULL, NULL), FBQ_OK);
    assert_int_equal(zero_code, 0);
    /* 4/3 lies between 1365/1024 and 1366/1024: up. */
    assert_true(fbq_f32_of_f16(scale) == 1366.0f / 1024);
    assert_true(codes[0] == 1 && codes[1] == 1 && codes[2] == 2 && codes[3] == 3);
    /* Fixed zero point 2: four codes -2 -1 0 1 times s; 4 needs s = 4. */
    f.zero = FBQ_ZERO_NONE;
    assert_int_equal(quantise(&f, 1, 4, mixed, codes, &scale, NULL, NULL, NULL), FBQ_OK);
    assert_true(fbq_f32_of_f16(scale) == 4);
    assert_true(codes[0] == 2 && codes[1] == 2 && codes[2] == 3 && codes[3] == 3);
}

/* Groups that are easy to get wrong. */
static double hard_value(int kind, int64_t i)
{
    switch (kind) {
    case 0:
        return bell();
    case 1:
        return 3 + 0.01 * uniform(); /* far from 0: one-sided */
    case 2:
        return -7 - uniform();
    case 3:
        return 0.3; /* constant */
    case 4:
        return 0;
    case 5:
        return 1e-6 * bell(); /* scales in fp16's subnormals */
    case 6:
        return i == 0 ? 1000 : 1e-3 * bell();
    case 7:
        return 500 + 1e-4 * uniform(); /* z would be beyond what fp16 can tell apart */
    default:
        return i % 2 ? 1e4 : -1e4;
    }
}

static void test_quantise_property(void **state)
{
    (void)state;
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    enum { N = 3, K = 300 };
    static double v[N * K], back[N * K];
    static uint8_t codes[N * K], zeros8[N * 10];
    static uint16_t scales[N * 10], zeros16[N * 10];
    for (int kind = 0; kind < 9; kind++)
        for (int bits = 2; bits <= 4; bits++)
            for (int zero = 0; zero < 3; zero++)
                for (int g = 0; g < 5; g++) {
                    const fbq_format f = format_of(bits, groups[g], (fbq_zero)zero);
                    const int64_t size = quantise_group_size(&f, K), count = quantise_groups(&f, K);
                    for (int64_t i = 0; i < N * K; i++)
                        v[i] = hard_value(kind, i % size);
                    assert_int_equal(quantise(&f, N, K, v, codes, scales,
                                              zero == FBQ_ZERO_CODE ? (void *)zeros8 : zeros16,
                                              back, NULL),
                                     FBQ_OK);
                    for (int64_t i = 0; i < N * K; i++) {
                        const int64_t at = i / K * count + i % K / size;
                        const double s = fbq_f32_of_f16(scales[at]);
                        const double z = zero == FBQ_ZERO_CODE  ? zeros8[at]
                                         : zero == FBQ_ZERO_F16 ? fbq_f32_of_f16(zeros16[at])
                                                                : 1 << (bits - 1);
                        assert_true(codes[i] < 1 << bits && s > 0 && isfinite(z));
                        assert_true(zero != FBQ_ZERO_CODE || z < 1 << bits);
                        assert_true(back[i] == s * (codes[i] - z));
                        if (!(fabs(v[i] - back[i]) <= s / 2 * (1 + BOUND_TOLERANCE)))
                            fail_msg("kind %d, %d bits, zero %d, group %d: %g became %g, s = %g",
                                     kind, bits, zero, groups[g], v[i], back[i], s);
                    }
                }
}

static void test_quantise_wrong(void **state)
{
    (void)state;
    double v[4] = {0, 1, NAN, 2};
    uint8_t codes[4];
    fbq_error error;
    const fbq_format f = format_of(4, FBQ_GROUP_ROW, FBQ_ZERO_F16);
    assert_int_equal(quantise(&f, 1, 4, v, codes, NULL, NULL, NULL, &error), FBQ_ERR_CODE);
    assert_int_equal(error.status, FBQ_ERR_CODE);
    assert_non_null(strstr(error.detail, "row 0, group 0"));
    v[2] = INFINITY;
    assert_int_equal(quantise(&f, 1, 4, v, codes, NULL, NULL, NULL, NULL), FBQ_ERR_CODE);
    v[2] = 1e6; /* s = 66667 */
    assert_int_equal(quantise(&f, 1, 4, v, codes, NULL, NULL, NULL, NULL), FBQ_ERR_CODE);
    v[2] = 9e5;
    assert_int_equal(quantise(&f, 1, 4, v, codes, NULL, NULL, NULL, NULL), FBQ_OK);
}

/* ---- a random layer ---- */

typedef struct fixture {
    calibrate_problem problem;
    int64_t tokens;
    float *w, *x;
    double *h, *distance;
} fixture;

/* Inputs live mostly in a few directions, with outlier channels; `tokens` below k leaves H
 * singular. */
static fixture make(int64_t n, int64_t k, int64_t rank, int64_t tokens, fbq_format format)
{
    fixture f = {.tokens = tokens};
    random_state = (uint64_t)(n * k + rank); /* a test does not depend on those before it */
    f.w = malloc(sizeof *f.w * (size_t)(n * k));
    f.x = calloc((size_t)(tokens * k), sizeof *f.x);
    f.h = calloc((size_t)(k * k), sizeof *f.h);
    f.distance = calloc((size_t)(n * k), sizeof *f.distance);
    float *directions = malloc(sizeof *directions * (size_t)(8 * k));
    assert_true(f.w && f.x && f.h && f.distance && directions);
    for (int64_t i = 0; i < n * k; i++)
        f.w[i] = (float)(0.05 * bell());
    for (int64_t i = 0; i < 8 * k; i++)
        directions[i] = (float)bell();
    for (int64_t t = 0; t < tokens; t++) {
        for (int j = 0; j < 8; j++) {
            const double c = bell() / (1 + j);
            for (int64_t i = 0; i < k; i++)
                f.x[t * k + i] += (float)(c * directions[j * k + i]);
        }
        for (int64_t i = 0; i < k; i++)
            f.x[t * k + i] = (f.x[t * k + i] + (float)(0.3 * bell())) * (i % 40 == 3 ? 6 : 1);
    }
    assert_true(gram_add(f.x, tokens, k, f.h));
    f.problem = (calibrate_problem){n, k, rank, f.w, f.h, format};
    free(directions);
    return f;
}

static void drop(fixture *f)
{
    free(f->w);
    free(f->x);
    free(f->h);
    free(f->distance);
}

/* Loss of a layer, from its packed bytes. */
static double loss_of(fixture *f, const calibrate_layer *layer)
{
    packed p;
    fbq_error error;
    if (packed_of(layer, &p, &error) != FBQ_OK ||
        packed_distance(&p, f->w, f->distance, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    packed_free(&p);
    return gram_loss(f->h, layer->n, layer->k, f->distance);
}

static bound_report bound_of(const fixture *f, const calibrate_layer *layer)
{
    packed p;
    bound_report report;
    fbq_error error;
    if (packed_of(layer, &p, &error) != FBQ_OK ||
        bound_check(&p.parts, f->w, &report, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    packed_free(&p);
    assert_int_equal(report.weights, layer->n * layer->k);
    return report;
}

#define OK(call)                                   \
    do {                                           \
        fbq_error error_ = {0};                    \
        fbq_error *error = &error_;                \
        if ((call) != FBQ_OK)                      \
            fail_msg(#call ": %s", error_.detail); \
    } while (0)

static void test_gram(void **state)
{
    (void)state;
    /* More tokens than one slice of gram_add, in two calls. */
    fixture f = make(5, 33, 0, 1500, format_of(4, 32, FBQ_ZERO_F16));
    double *again = calloc(33 * 33, sizeof *again), direct = 0;
    assert_true(gram_add(f.x, 700, 33, again) && gram_add(f.x + 700 * 33, 800, 33, again));
    for (int i = 0; i < 33; i++)
        for (int j = 0; j < 33; j++) {
            double sum = 0;
            for (int64_t t = 0; t < f.tokens; t++)
                sum += (double)f.x[t * 33 + i] * f.x[t * 33 + j];
            const double most = 1e-12 * sqrt(f.h[i * 34] * f.h[j * 34]);
            assert_true(fabs(f.h[i * 33 + j] - sum) <= most);
            assert_true(fabs(again[i * 33 + j] - sum) <= most);
        }
    for (int i = 0; i < 5 * 33; i++)
        f.distance[i] = f.w[i];
    for (int64_t t = 0; t < f.tokens; t++)
        for (int i = 0; i < 5; i++) {
            double y = 0;
            for (int j = 0; j < 33; j++)
                y += (double)f.x[t * 33 + j] * f.w[i * 33 + j];
            direct += y * y;
        }
    assert_true(fabs(gram_loss(f.h, 5, 33, f.distance) / direct - 1) < 1e-10);
    free(again);
    drop(&f);
}

/* ---- closed forms ---- */

static double frobenius(const fixture *f)
{
    double sum = 0;
    for (int64_t i = 0; i < f->problem.n * f->problem.k; i++)
        sum += f->distance[i] * f->distance[i];
    return sum;
}

static void test_low_rank(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{40, 72}, {72, 40}};
    for (int i = 0; i < 2; i++) {
        fixture f = make(sizes[i][0], sizes[i][1], 6, 500, format_of(3, 32, FBQ_ZERO_F16));
        calibrate_layer rtn, svd, eora, full;
        OK(calibrate_rtn(&f.problem, &rtn, error));
        OK(calibrate_svd(&f.problem, &svd, error));
        OK(calibrate_eora(&f.problem, &eora, error));
        const double rtn_loss = loss_of(&f, &rtn), rtn_norm = frobenius(&f);
        const double svd_loss = loss_of(&f, &svd), svd_norm = frobenius(&f);
        const double eora_loss = loss_of(&f, &eora), eora_norm = frobenius(&f);
        /* Each is the best in its own measure. */
        assert_true(svd_norm < 0.95 * rtn_norm && svd_norm < eora_norm);
        assert_true(eora_loss < 0.5 * rtn_loss && eora_loss < svd_loss);
        /* The codes are RTN's. */
        assert_memory_equal(rtn.codes, svd.codes, (size_t)(rtn.n * rtn.k));
        assert_memory_equal(rtn.codes, eora.codes, (size_t)(rtn.n * rtn.k));
        calibrate_layer_free(&svd);
        calibrate_layer_free(&eora);
        /* At full rank only fp16's rounding is left. */
        f.problem.rank = 40;
        OK(calibrate_svd(&f.problem, &full, error));
        assert_true(loss_of(&f, &full) < 1e-4 * rtn_loss);
        calibrate_layer_free(&full);
        OK(calibrate_eora(&f.problem, &full, error));
        assert_true(loss_of(&f, &full) < 1e-4 * rtn_loss);
        calibrate_layer_free(&full);
        calibrate_layer_free(&rtn);
        drop(&f);
    }
}

/* With H = c I, EoRA is the SVD; with fewer tokens than channels H is singular and nothing breaks.
 */
static void test_eora_ends(void **state)
{
    (void)state;
    fixture f = make(48, 64, 5, 20, format_of(3, 64, FBQ_ZERO_F16));
    calibrate_layer layer, svd;
    OK(calibrate_rtn(&f.problem, &layer, error));
    const double rtn = loss_of(&f, &layer);
    calibrate_layer_free(&layer);
    OK(calibrate_eora(&f.problem, &layer, error));
    assert_true(loss_of(&f, &layer) < 0.5 * rtn);
    calibrate_layer_free(&layer);
    for (int i = 0; i < 64 * 64; i++)
        f.h[i] = i % 65 == 0 ? 3 : 0;
    OK(calibrate_eora(&f.problem, &layer, error));
    OK(calibrate_svd(&f.problem, &svd, error));
    assert_true(fabs(loss_of(&f, &layer) / loss_of(&f, &svd) - 1) < 1e-4);
    calibrate_layer_free(&layer);
    calibrate_layer_free(&svd);
    drop(&f);
}

/* ---- FBQuant ---- */

/* With Q(W - BA) held, the loss is a quadratic in each factor's number, so a central difference is
 * its exact derivative but for rounding. Factors are multiples of 1/256, so that a step of 1/8
 * either way is exact in fp16. */
static void test_gradient(void **state)
{
    (void)state;
    enum { N = 12, K = 40, R = 3 };
    fixture f = make(N, K, R, 300, format_of(3, 32, FBQ_ZERO_F16));
    uint16_t factors[R * (K + N)];
    float da[R * K], db[N * R], ignored_a[R * K], ignored_b[N * R];
    double losses[N];
    double most = 0, typical = 0;
    fbquant_work *work = fbquant_work_new(&f.problem, 1);
    assert_non_null(work);
    for (int i = 0; i < R * (K + N); i++)
        factors[i] = fbq_f16_of_f32((float)floor(256 * (0.2 * bell())) / 256);
    OK(fbquant_gradient(work, factors, factors + R * K, 0, losses, da, db, error));
    for (int i = 0; i < R * (K + N); i++)
        typical += pow(i < R * K ? da[i] : db[i - R * K], 2);
    typical = sqrt(typical / (R * (K + N)));
    for (int i = 0; i < R * (K + N); i++) {
        const uint16_t kept = factors[i];
        const float centre = fbq_f32_of_f16(kept);
        double ends[2];
        for (int side = 0; side < 2; side++) {
            factors[i] = fbq_f16_of_f32(centre + (side ? 0.125f : -0.125f));
            assert_true(fabsf(fbq_f32_of_f16(factors[i]) - centre) == 0.125f);
            OK(fbquant_gradient(work, factors, factors + R * K, 1, losses, ignored_a, ignored_b,
                                error));
            ends[side] = 0;
            for (int row = 0; row < N; row++)
                ends[side] += losses[row];
        }
        factors[i] = kept;
        const double slope = (ends[1] - ends[0]) / 0.25;
        const double gradient = i < R * K ? da[i] : db[i - R * K];
        most = fmax(most, fabs(slope - gradient) / typical);
    }
    if (most > 1e-4)
        fail_msg("a derivative is off by %g of a typical one", most);
    fbquant_work_free(work);
    drop(&f);
}

typedef struct seen {
    int count;
    double loss[8];
    float a[8][3], b[8], da[8][3], db[8];
} seen;

static void record(void *user, const fbquant_state *state)
{
    seen *s = user;
    const int i = state->step;
    assert_int_equal(i, s->count++);
    assert_true(state->rank == 1 && state->n == 1 && state->k == 3 && i < 8);
    s->loss[i] = state->loss;
    s->b[i] = state->b[0];
    s->db[i] = state->db[0];
    for (int j = 0; j < 3; j++) {
        s->a[i][j] = state->a[j];
        s->da[i][j] = state->da[j];
    }
}

/* Two steps of plain descent at rate 1/4, worked by hand, 2 bits, one group, fp16 zero point.
 *
 *   W = [0, 1.25, 3]     H = [4 1 0; 1 2 1; 0 1 4]     A = [2, 3, -4]     B = 0
 *
 * Step 0. W - BA = W. s = 3/3 = 1, z = 0, codes 0 1 3. D = [0, 0.25, 0], DH = [0.25, 0.5, 0.25],
 *   loss = 0.125. dL/dS = -2DH = [-0.5, -1, -0.5]. dB = dL/dS . A^T = -1 - 3 + 2 = -2, dA = 0.
 *   B becomes 0 + 2/4 = 0.5.
 * Step 1. BA = [1, 1.5, -2], W - BA = [-1, -0.25, 5]. s = 6/3 = 2, z = 1/2: the scale has changed.
 *   (v/s + z) = [0, 0.375, 3], codes 0 0 3: the middle code has changed. Q = [-1, -1, 5],
 *   D = [0, 0.75, 0], DH = [0.75, 1.5, 0.75], loss = 1.125. dL/dS = [-1.5, -3, -1.5],
 *   dB = -3 - 9 + 6 = -6, dA = B dL/dS = [-0.75, -1.5, -0.75].
 *   B becomes 0.5 + 6/4 = 2, A becomes [2.1875, 3.375, -3.8125].
 *
 * Were Q not detached, the gradient would be 0 and B would stay 0; were the codes kept from step 0,
 * D in step 1 would be [-1, -1.25, 2] and dB 84. */
static void test_two_steps_by_hand(void **state)
{
    (void)state;
    const float w[3] = {0, 1.25f, 3};
    const double h[9] = {4, 1, 0, 1, 2, 1, 0, 1, 4};
    const calibrate_problem problem = {1, 3, 1, w, h, format_of(2, FBQ_GROUP_ROW, FBQ_ZERO_F16)};
    uint16_t a[3] = {fbq_f16_of_f32(2), fbq_f16_of_f32(3), fbq_f16_of_f32(-4)}, b[1] = {0};
    const calibrate_layer from = {.n = 1, .k = 3, .rank = 1, .a = a, .b = b};
    seen s = {0};
    const fbquant_options options = {.steps = 2,
                                     .rate = 0.25,
                                     .update = FBQUANT_DESCENT,
                                     .start = FBQUANT_START_LAYER,
                                     .from = &from,
                                     .watch = record,
                                     .user = &s};
    calibrate_layer layer;
    fbquant_report report;
    OK(calibrate_fbquant(&problem, &options, &layer, &report, error));
    assert_int_equal(s.count, 3);
    assert_true(s.loss[0] == 0.125 && s.b[0] == 0 && s.db[0] == -2);
    assert_true(s.da[0][0] == 0 && s.da[0][1] == 0 && s.da[0][2] == 0);
    assert_true(s.loss[1] == 1.125 && s.b[1] == 0.5f && s.db[1] == -6);
    assert_true(s.a[1][0] == 2 && s.a[1][1] == 3 && s.a[1][2] == -4);
    assert_true(s.da[1][0] == -0.75f && s.da[1][1] == -1.5f && s.da[1][2] == -0.75f);
    assert_true(s.b[2] == 2 && s.a[2][0] == 2.1875f && s.a[2][1] == 3.375f &&
                s.a[2][2] == -3.8125f);
    /* The loss only grew, so the start is what is kept. */
    assert_int_equal(report.best_step, 0);
    assert_true(report.first_loss == 0.125 && report.best_loss == 0.125);
    assert_true(layer.b[0] == 0 && layer.codes[0] == 0 && layer.codes[1] == 1 &&
                layer.codes[2] == 3);
    calibrate_layer_free(&layer);
}

/* Every format: better than RTN, its bound holds in the packed bytes, and it tells its loss truly.
 */
static void test_fbquant(void **state)
{
    (void)state;
    static const int groups[] = {32, 64, FBQ_GROUP_ROW};
    for (int bits = 2; bits <= 4; bits++)
        for (int zero = 0; zero < 3; zero++)
            for (int g = 0; g < 3; g++) {
                fixture f = make(40, 104, 6, 600, format_of(bits, groups[g], (fbq_zero)zero));
                calibrate_layer rtn, eora, layer;
                fbquant_report report;
                fbquant_options options = {.steps = 60, .row_steps = 60, .seed = 3};
                OK(calibrate_rtn(&f.problem, &rtn, error));
                OK(calibrate_eora(&f.problem, &eora, error));
                const double rtn_loss = loss_of(&f, &rtn);
                const bound_report plain = bound_of(&f, &rtn);
                assert_int_equal(plain.violations, 0);
                assert_true(plain.inflation == 1 && plain.worst > 0.9);
                assert_true(bound_of(&f, &eora).violations > 0); /* the check can fail */
                for (int start = 0; start < 2; start++) {
                    options.start = (fbquant_start)start;
                    options.from = &eora;
                    OK(calibrate_fbquant(&f.problem, &options, &layer, &report, error));
                    const double loss = loss_of(&f, &layer);
                    const bound_report bound = bound_of(&f, &layer);
                    if (loss > 0.7 * rtn_loss || fabs(loss / report.best_loss - 1) > 1e-3 ||
                        bound.violations != 0)
                        fail_msg("%d bits, zero %d, group %d, start %d: loss %g of RTN's, %g of "
                                 "what it says; %lld violations, worst %.17g",
                                 bits, zero, groups[g], start, loss / rtn_loss,
                                 loss / report.best_loss, (long long)bound.violations, bound.worst);
                    assert_true(report.best_loss < report.first_loss);
                    calibrate_layer_free(&layer);
                }
                calibrate_layer_free(&rtn);
                calibrate_layer_free(&eora);
                drop(&f);
            }
}

static void test_repeats(void **state)
{
    (void)state;
    fixture f = make(24, 64, 4, 200, format_of(3, 32, FBQ_ZERO_CODE));
    calibrate_layer one, two, other;
    fbquant_options options = {.steps = 20, .row_steps = 20, .seed = 5};
    OK(calibrate_fbquant(&f.problem, &options, &one, NULL, error));
    OK(calibrate_fbquant(&f.problem, &options, &two, NULL, error));
    options.seed = 6;
    OK(calibrate_fbquant(&f.problem, &options, &other, NULL, error));
    assert_memory_equal(one.codes, two.codes, 24 * 64);
    assert_memory_equal(one.a, two.a, sizeof *one.a * 4 * 64);
    assert_memory_equal(one.b, two.b, sizeof *one.b * 4 * 24);
    assert_memory_not_equal(one.a, other.a, sizeof *one.a * 4 * 64);
    calibrate_layer_free(&one);
    calibrate_layer_free(&two);
    calibrate_layer_free(&other);
    drop(&f);
}

/* ---- the bound ---- */

/* One wrong code, one wrong factor, one scale rounded down: each is found. */
static void test_bound_finds(void **state)
{
    (void)state;
    fixture f = make(32, 64, 4, 300, format_of(4, 32, FBQ_ZERO_F16));
    calibrate_layer layer;
    fbquant_options options = {.steps = 30, .seed = 1};
    OK(calibrate_fbquant(&f.problem, &options, &layer, NULL, error));
    assert_int_equal(bound_of(&f, &layer).violations, 0);
    uint8_t *code = &layer.codes[5 * 64 + 17];
    *code = (uint8_t)(*code < 8 ? *code + 2 : *code - 2); /* at least 1.5 steps off */
    bound_report report = bound_of(&f, &layer);
    assert_int_equal(report.violations, 1);
    assert_true(report.worst >= 3 && report.worst <= 5);
    calibrate_layer_free(&layer);

    OK(calibrate_fbquant(&f.problem, &options, &layer, NULL, error));
    layer.a[10] = fbq_f16_of_f32(fbq_f32_of_f16(layer.a[10]) + 0.5f);
    assert_true(bound_of(&f, &layer).violations > 0);
    calibrate_layer_free(&layer);

    OK(calibrate_fbquant(&f.problem, &options, &layer, NULL, error));
    for (int i = 0; i < 32 * 2; i++)
        layer.scales[i] -= 8; /* up to 1.6 % too small */
    report = bound_of(&f, &layer);
    assert_true(report.violations > 0 && report.worst > 1.01);
    calibrate_layer_free(&layer);
    drop(&f);
}

static void test_wrong_problems(void **state)
{
    (void)state;
    fixture f = make(16, 32, 4, 50, format_of(4, 32, FBQ_ZERO_F16));
    calibrate_layer layer = {0};
    fbq_error error = {0};
    fbquant_options options = {.steps = 2};
    calibrate_problem p = f.problem;
    p.w = NULL;
    assert_int_equal(calibrate_rtn(&p, &layer, &error), FBQ_ERR_NULL);
    assert_non_null(strstr(error.detail, "problem->w"));
    p = f.problem;
    p.rank = 17;
    assert_int_equal(calibrate_eora(&p, &layer, &error), FBQ_ERR_RANK);
    assert_int_equal(calibrate_fbquant(&p, &options, &layer, NULL, &error), FBQ_ERR_RANK);
    p.rank = 0;
    assert_int_equal(calibrate_fbquant(&p, &options, &layer, NULL, &error), FBQ_ERR_RANK);
    p = f.problem;
    p.format.group = 48;
    assert_int_equal(calibrate_svd(&p, &layer, &error), FBQ_ERR_GROUP);
    p = f.problem;
    p.format.bits = 5;
    assert_int_equal(calibrate_rtn(&p, &layer, &error), FBQ_ERR_FORMAT);
    p = f.problem;
    p.format.scale_type = FBQ_BF16;
    assert_int_equal(calibrate_rtn(&p, &layer, &error), FBQ_ERR_FORMAT);
    options.start = FBQUANT_START_LAYER;
    assert_int_equal(calibrate_fbquant(&f.problem, &options, &layer, NULL, &error), FBQ_ERR_RANK);
    options = (fbquant_options){.steps = -1};
    assert_int_equal(calibrate_fbquant(&f.problem, &options, &layer, NULL, &error), FBQ_ERR_SIZE);
    options.steps = 2;
    memset(f.h, 0, sizeof *f.h * 32 * 32);
    assert_int_equal(calibrate_fbquant(&f.problem, &options, &layer, NULL, &error), FBQ_ERR_SIZE);
    assert_non_null(strstr(error.detail, "problem->h"));
    f.w[3] = NAN;
    assert_int_equal(calibrate_rtn(&f.problem, &layer, &error), FBQ_ERR_CODE);
    assert_null(layer.codes); /* nothing is left to free after a failure */
    assert_int_equal(bound_check(NULL, f.w, &(bound_report){0}, &error), FBQ_ERR_NULL);
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_up),
        cmocka_unit_test(test_quantise_by_hand),
        cmocka_unit_test(test_quantise_property),
        cmocka_unit_test(test_quantise_wrong),
        cmocka_unit_test(test_gram),
        cmocka_unit_test(test_low_rank),
        cmocka_unit_test(test_eora_ends),
        cmocka_unit_test(test_gradient),
        cmocka_unit_test(test_two_steps_by_hand),
        cmocka_unit_test(test_fbquant),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_bound_finds),
        cmocka_unit_test(test_wrong_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
