/* tests/unit_wisdom.c: records as text, which of two records stays, and the ladder by which a pick
 * is found. unit_wisdom_file.c has the file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fbq/fbq.h>

#include "support/layer.h"
#include "support/records.h"
#include "support/refusal.h"

static const fbq_gpu h200 = {"NVIDIA H200", 90, 132, 232448, 233472, 65536};

static fbq_record record_at(int64_t n, int64_t k, int64_t r, int m_max)
{
    const fbq_problem problem = record_problem(n, k, r, m_max);
    return record_of(&problem, &h200, FBQ_KERNEL_FUSED);
}

static fbq_wisdom *wisdom_of(const fbq_record *records, int count)
{
    fbq_wisdom *wisdom = NULL;
    assert_int_equal(fbq_wisdom_new(&wisdom, NULL), FBQ_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(fbq_wisdom_add(wisdom, &records[i], NULL), FBQ_OK);
    return wisdom;
}

/* ---- Text ---- */

static const char *const line_of_4096 =
    "fbq1 fused bits=4 group=128 zero=code scale=f16 factor=f16 x=f16 y=f16 n=4096 k=4096 r=128 "
    "m=1 launches=0 gpu=NVIDIA_H200 capability=90 sms=132 epoch=1 warps=8 chunks=4 "
    "blocks_per_sm=1 slices=8 stages=2 tiles=2 splits=0 rigor=measure median_ns=4770 spread_ns=30 "
    "nvrtc=13000 driver=13000 source=0123456789abcdef date=2026-11-23T13:05:00Z";

/* The line with the checksum that it would have. FNV-1a of 64 bits, here once more from its
 * definition. */
static const char *with_sum(const char *line)
{
    static char text[3100];
    uint64_t hash = 14695981039346656037u;
    for (const char *c = line; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    snprintf(text, sizeof text, "%s sum=%016llx", line, (unsigned long long)hash);
    return text;
}

static void test_the_line(void **state)
{
    fbq_record record;
    char text[FBQ_RECORD_BYTES];
    (void)state;
    assert_int_equal(fbq_record_parse(with_sum(line_of_4096), &record, NULL), FBQ_OK);
    assert_int_equal(record.pick.kernel, FBQ_KERNEL_FUSED);
    assert_int_equal(record.problem.shape.segments, 1);
    assert_int_equal(record.problem.shape.segment[0].n, 4096);
    assert_int_equal(record.problem.shape.segment[0].r, 128);
    assert_int_equal(record.pick.slices, 8);
    assert_int_equal(record.median_ns, 4770);
    assert_int_equal(record.rigor, FBQ_RIGOR_MEASURE);
    assert_true(record.source == 0x0123456789abcdefu);
    assert_string_equal(record.gpu.name, "NVIDIA_H200");
    assert_string_equal(record.date, "2026-11-23T13:05:00Z");
    const int length = fbq_record_print(&record, text, sizeof text);
    assert_string_equal(text, with_sum(line_of_4096));
    assert_int_equal(length, strlen(text));
    char sealed[FBQ_RECORD_BYTES];
    assert_int_equal(fbq_record_seal(line_of_4096, sealed, sizeof sealed), length);
    assert_string_equal(sealed, text);
    strcpy(sealed, line_of_4096); /* in place */
    assert_int_equal(fbq_record_seal(sealed, sealed, sizeof sealed), length);
    assert_string_equal(sealed, text);
    assert_int_equal(fbq_record_seal(line_of_4096, sealed, 5), length);
    assert_string_equal(sealed, "fbq1");
    assert_int_equal(fbq_record_seal(NULL, NULL, 0), strlen(" sum=0123456789abcdef"));
    /* too little room: cut, and the length that was wanted */
    assert_int_equal(fbq_record_print(&record, text, 10), strlen(with_sum(line_of_4096)));
    assert_string_equal(text, "fbq1 fuse");
    assert_int_equal(fbq_record_print(NULL, NULL, 0), strlen("no record"));
}

/* Any record survives print and parse, whatever is in it. */
static void test_round_trip(void **state)
{
    static const fbq_type types[] = {FBQ_F16, FBQ_BF16, FBQ_F32, FBQ_I8};
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    uint64_t random = 7;
    (void)state;
#define DRAW(n) ((int)(random_bits(&random) % (uint64_t)(n)))
    for (int i = 0; i < 3000; i++) {
        fbq_record r, back, again;
        char text[FBQ_RECORD_BYTES], second[FBQ_RECORD_BYTES];
        memset(&r, 0, sizeof r);
        r.problem.format.bits = 2 + DRAW(3);
        r.problem.format.group = groups[DRAW(5)];
        r.problem.format.zero = (fbq_zero)DRAW(3);
        r.problem.format.scale_type = types[DRAW(2)];
        r.problem.format.factor_type = types[DRAW(3) == 2 ? 3 : DRAW(2)];
        r.problem.x_type = types[DRAW(2)];
        r.problem.y_type = types[DRAW(3)];
        r.problem.shape.k = 1 + DRAW(100000);
        r.problem.shape.segments = 1 + DRAW(FBQ_MAX_SEGMENTS);
        for (int s = 0; s < r.problem.shape.segments; s++) {
            r.problem.shape.segment[s].n = 1 + DRAW(1 << 20);
            r.problem.shape.segment[s].r = DRAW(2) ? DRAW(512) : 0;
        }
        r.problem.m_max = 1 + DRAW(16);
        r.pick.kernel = (fbq_kernel)DRAW(2);
        r.pick.warps = 1 + DRAW(16);
        r.pick.chunks = 1 << (r.pick.kernel == FBQ_KERNEL_FUSED) << DRAW(2);
        r.pick.blocks_per_sm = 1 + DRAW(16);
        r.pick.slices = r.pick.kernel == FBQ_KERNEL_FUSED ? DRAW(65) : 1 + DRAW(64);
        r.pick.stages = 2 + DRAW(3);
        r.pick.tiles = 1 + DRAW(8);
        r.pick.splits = DRAW(9);
        r.problem.launches = DRAW(2) ? 0 : r.pick.slices ? 1 : 2;
        memset(r.gpu.name, 33 + DRAW(94), (size_t)(1 + DRAW(63)));
        r.gpu.capability = 80 + DRAW(60);
        r.gpu.sms = 1 + DRAW(300);
        r.epoch = DRAW(100);
        r.rigor = (fbq_rigor)(1 + DRAW(3));
        r.median_ns = (int64_t)(random_bits(&random) >> (1 + DRAW(60)));
        r.spread_ns = (int64_t)(random_bits(&random) >> (1 + DRAW(60)));
        r.nvrtc = DRAW(20000);
        r.driver = DRAW(20000);
        r.source = random_bits(&random) >> DRAW(64);
        snprintf(r.date, sizeof r.date, "%04d-%02d-%02dT%02d:%02d:%02dZ", DRAW(9999), 1 + DRAW(12),
                 1 + DRAW(31), DRAW(24), DRAW(60), DRAW(60));
        assert_true(fbq_record_print(&r, text, sizeof text) < (int)sizeof text);
        memset(&back, 0x77, sizeof back);
        memset(&again, 0x11, sizeof again);
        if (fbq_record_parse(text, &back, NULL) != FBQ_OK)
            fail_msg("not read again: %s", text);
        assert_int_equal(fbq_record_parse(text, &again, NULL), FBQ_OK);
        fbq_record_print(&back, second, sizeof second);
        assert_string_equal(text, second);
        assert_memory_equal(&back.pick, &r.pick, sizeof r.pick);
        assert_true(back.median_ns == r.median_ns && back.source == r.source);
        assert_memory_equal(&back, &again, sizeof back); /* nothing in it is left to chance */
    }
#undef DRAW
}

/* Replace a piece of the good line, with a checksum that is right for the outcome. */
static const char *edited(const char *from, const char *to)
{
    static char line[2048];
    const char *at = strstr(line_of_4096, from);
    assert_non_null(at);
    snprintf(line, sizeof line, "%.*s%s%s", (int)(at - line_of_4096), line_of_4096, to,
             at + strlen(from));
    return with_sum(line);
}

static void test_refused_lines(void **state)
{
    static const struct {
        const char *from, *to;
        fbq_status status;
        const char *says;
    } cases[] = {
        {"fbq1", "fbq2", FBQ_ERR_UNSUPPORTED, "fbq2"},
        {"fused", "gemm", FBQ_ERR_UNSUPPORTED, "gemm"},
        {" date", " clusters=2 date", FBQ_ERR_UNSUPPORTED, "clusters"},
        {" k=4096", "", FBQ_ERR_WISDOM, "lacks the field \"k\""},
        {" k=4096", " k=4096 k=4096", FBQ_ERR_WISDOM, "twice"},
        {" k=4096", " k", FBQ_ERR_WISDOM, "without"},
        {" k=4096", " k=", FBQ_ERR_WISDOM, "\"k\""},
        {" k=4096", " k=4096x", FBQ_ERR_WISDOM, "\"k\""},
        {" k=4096", " k=+4096", FBQ_ERR_WISDOM, "\"k\""},
        {" k=4096", " k=99999999999999999999", FBQ_ERR_WISDOM, "\"k\""},
        {" k=4096", " k=0", FBQ_ERR_SIZE, "shape.k"},
        {" n=4096", " n=4096,4096", FBQ_ERR_WISDOM, "\"r\""},
        {" n=4096", " n=4096,", FBQ_ERR_WISDOM, "\"n\""},
        {" n=4096", " n=1,1,1,1,1,1,1,1,1", FBQ_ERR_WISDOM, "\"n\""},
        {" n=4096", " n=0", FBQ_ERR_SIZE, "segment[0].n"},
        {"r=128", "r=-1", FBQ_ERR_WISDOM, "\"r\""},
        {"bits=4", "bits=5", FBQ_ERR_FORMAT, "bits"},
        {"group=128", "group=100", FBQ_ERR_GROUP, "100"},
        {"zero=code", "zero=codes", FBQ_ERR_WISDOM, "\"zero\""},
        {"scale=f16", "scale=f64", FBQ_ERR_WISDOM, "\"scale\""},
        {"m=1", "m=17", FBQ_ERR_UNSUPPORTED, "17"},
        {"launches=0", "launches=2", FBQ_ERR_PICK, "slices is 8"},
        {"launches=0", "launches=3", FBQ_ERR_SIZE, "launches"},
        {"gpu=NVIDIA_H200", "gpu=", FBQ_ERR_WISDOM, "record.gpu"},
        {"gpu=NVIDIA_H200", "gpu=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
         FBQ_ERR_WISDOM, "\"gpu\""},
        {"capability=90", "capability=75", FBQ_ERR_WISDOM, "75"},
        {"sms=132", "sms=0", FBQ_ERR_WISDOM, "0 multiprocessors"},
        {"warps=8", "warps=17", FBQ_ERR_PICK, "17"},
        {"chunks=4", "chunks=3", FBQ_ERR_PICK, "3"},
        {"rigor=measure", "rigor=guess", FBQ_ERR_WISDOM, "\"rigor\""},
        {"median_ns=4770", "median_ns=nan", FBQ_ERR_WISDOM, "\"median_ns\""},
        {"median_ns=4770", "median_ns=-1", FBQ_ERR_WISDOM, "-1"},
        {"median_ns=4770", "median_ns=4.770", FBQ_ERR_WISDOM, "\"median_ns\""},
        {"source=0123456789abcdef", "source=123", FBQ_ERR_WISDOM, "\"source\""},
        {"source=0123456789abcdef", "source=-00000000000000f", FBQ_ERR_WISDOM, "\"source\""},
        {"source=0123456789abcdef", "source=0x00000000000abc", FBQ_ERR_WISDOM, "\"source\""},
        {"date=2026-11-23T13:05:00Z", "date=today", FBQ_ERR_WISDOM, "today"},
        {"date=2026-11-23T13:05:00Z", "date=2026-13-23T13:05:00Z", FBQ_ERR_WISDOM, "2026-13"},
        {"date=2026-11-23T13:05:00Z", "date=2026-11-00T13:05:00Z", FBQ_ERR_WISDOM, "11-00"},
        {"date=2026-11-23T13:05:00Z", "date=2026-11-23T24:05:00Z", FBQ_ERR_WISDOM, "24:05"},
        {"date=2026-11-23T13:05:00Z", "date=2026-11-23T13:60:00Z", FBQ_ERR_WISDOM, "13:60"},
    };
    fbq_record record, untouched;
    char long_line[3000];
    (void)state;
    memset(&record, 0x55, sizeof record);
    untouched = record;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_refused(cases[i].status,
                       fbq_record_parse(edited(cases[i].from, cases[i].to), &record, &error),
                       cases[i].says);
    assert_refused(FBQ_ERR_WISDOM, fbq_record_parse("", &record, &error), "checksum");
    assert_refused(FBQ_ERR_WISDOM, fbq_record_parse(line_of_4096, &record, &error), "checksum");
    memset(long_line, 'a', 1500);
    long_line[1500] = 0;
    assert_refused(FBQ_ERR_WISDOM, fbq_record_parse(with_sum(long_line), &record, &error), "1521");
    assert_refused(FBQ_ERR_NULL, fbq_record_parse(NULL, &record, &error), "text");
    assert_refused(FBQ_ERR_NULL, fbq_record_parse("", NULL, &error), "record");
    assert_memory_equal(&record, &untouched, sizeof record);
}

/* Every byte of a line changed in each bit, and the line cut at every place: refused. */
static void test_damaged_lines(void **state)
{
    const char *good = with_sum(line_of_4096);
    const size_t length = strlen(good);
    fbq_record record;
    char line[2048];
    (void)state;
    for (size_t at = 0; at < length; at++) {
        for (int bit = 0; bit < 8; bit++) {
            strcpy(line, good);
            line[at] = (char)(line[at] ^ 1 << bit);
            assert_int_not_equal(fbq_record_parse(line, &record, NULL), FBQ_OK);
        }
        strcpy(line, good);
        line[at] = 0;
        assert_int_not_equal(fbq_record_parse(line, &record, NULL), FBQ_OK);
    }
}

/* Lines with a right checksum and anything before it: no crash, and what is read can be printed. */
static void test_any_line(void **state)
{
    static const char *const pieces[] = {
        "bits=", "4",  " ",    "n=", ",",     "4096", "group=row", "-",   "fbq1",
        "r=0",   "k=", "gpu=", "=",  "fused", "\t",   "down",      "f16", "zero"};
    uint64_t random = 99;
    char line[1200], text[FBQ_RECORD_BYTES];
    fbq_record record;
    int taken = 0;
    (void)state;
    for (int i = 0; i < 100000; i++) {
        const size_t size = strlen(line_of_4096);
        strcpy(line, line_of_4096);
        for (int edits = 1 + (int)(random_bits(&random) % 4); edits; edits--) {
            const char *piece = pieces[random_bits(&random) % 18];
            const size_t at = random_bits(&random) % size, span = strlen(piece);
            if (at + span < size)
                memcpy(line + at, piece, span);
        }
        if (fbq_record_parse(with_sum(line), &record, NULL) == FBQ_OK) {
            taken++;
            assert_true(fbq_record_print(&record, text, sizeof text) > 100);
        }
    }
    assert_in_range(taken, 1000, 99000); /* both ways are tried */
}

/* ---- Which record stays ---- */

static void test_adding(void **state)
{
    fbq_record r = record_at(4096, 4096, 128, 1), other = r, slow = r;
    fbq_wisdom *wisdom = wisdom_of(&r, 1);
    (void)state;
    /* the same key: nothing that a key has not */
    other.problem.batch_invariant = 1;
    other.gpu.shared_sm = 1;
    other.median_ns = 4000;
    assert_int_equal(fbq_wisdom_add(wisdom, &other, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_count(wisdom), 1);
    assert_int_equal(fbq_wisdom_record(wisdom, 0)->median_ns, 4000); /* the faster */
    slow.median_ns = 9000;
    assert_int_equal(fbq_wisdom_add(wisdom, &slow, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_record(wisdom, 0)->median_ns, 4000);
    strcpy(slow.date, "2026-11-24T00:00:00Z"); /* the later */
    assert_int_equal(fbq_wisdom_add(wisdom, &slow, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_record(wisdom, 0)->median_ns, 9000);
    r.rigor = FBQ_RIGOR_PATIENT; /* of higher rigor */
    assert_int_equal(fbq_wisdom_add(wisdom, &r, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_record(wisdom, 0)->median_ns, 5000);
    assert_int_equal(fbq_wisdom_add(wisdom, &slow, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_record(wisdom, 0)->median_ns, 5000);
    /* a time of 0 is none */
    fbq_record unrun = r;
    unrun.median_ns = 0;
    const fbq_record with_unrun[] = {unrun, r};
    fbq_wisdom *times = wisdom_of(with_unrun, 2);
    assert_int_equal(fbq_wisdom_record(times, 0)->median_ns, 5000);
    assert_int_equal(fbq_wisdom_add(times, &unrun, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_record(times, 0)->median_ns, 5000);
    fbq_wisdom_free(times);
    /* records that nothing but the pick or its circumstances tell apart: whatever comes first */
    for (int field = 0; field < 4; field++) {
        fbq_record a = record_at(4096, 4096, 128, 1), b = a;
        b.spread_ns += field == 0;
        b.pick.stages += field == 1;
        b.nvrtc += field == 2;
        b.source += field == 3;
        const fbq_record one[] = {a, b}, two[] = {b, a};
        fbq_wisdom *first = wisdom_of(one, 2), *second = wisdom_of(two, 2);
        assert_int_equal(fbq_wisdom_count(first), 1);
        assert_memory_equal(fbq_wisdom_record(first, 0), fbq_wisdom_record(second, 0),
                            sizeof(fbq_record));
        fbq_wisdom_free(first);
        fbq_wisdom_free(second);
    }
    /* other keys */
#define ANOTHER(change)                                                 \
    do {                                                                \
        const size_t before = fbq_wisdom_count(wisdom);                 \
        other = r;                                                      \
        change;                                                         \
        assert_int_equal(fbq_wisdom_add(wisdom, &other, NULL), FBQ_OK); \
        assert_int_equal(fbq_wisdom_count(wisdom), before + 1);         \
    } while (0)
    ANOTHER(other.problem.m_max = 2);
    ANOTHER(other.problem.m_max = 5);
    ANOTHER(other.problem.format.bits = 3);
    ANOTHER(other.problem.format.group = FBQ_GROUP_ROW);
    ANOTHER(other.problem.format.zero = FBQ_ZERO_F16);
    ANOTHER(other.problem.format.scale_type = FBQ_BF16);
    ANOTHER(other.problem.format.factor_type = FBQ_I8);
    ANOTHER(other.problem.x_type = FBQ_BF16);
    ANOTHER(other.problem.y_type = FBQ_F32);
    ANOTHER(other.problem.launches = 1);
    ANOTHER(other.problem.shape.k = 4160);
    ANOTHER(other.problem.shape.segment[0].n = 4095);
    ANOTHER(other.problem.shape.segment[0].r = 127);
    ANOTHER((other.problem.shape.segments = 2, other.problem.shape.segment[1].n = 1));
    ANOTHER(other.gpu.sms = 114);
    ANOTHER(strcpy(other.gpu.name, "NVIDIA H100"));
    ANOTHER(other.gpu.capability = 100);
    ANOTHER(other.epoch++);
    /* 3 rows are of the bucket of 2; without a sub-branch its type and launches are all the same */
    other = r;
    other.problem.m_max = 3;
    ANOTHER((other.problem.shape.segment[0].r = 0, other.pick.slices = 0));
    other.problem.format.factor_type = FBQ_I8;
    other.problem.launches = 2;
    const size_t count = fbq_wisdom_count(wisdom);
    assert_int_equal(fbq_wisdom_add(wisdom, &other, NULL), FBQ_OK);
    assert_int_equal(fbq_wisdom_count(wisdom), count);
    /* refusals leave it as it is */
    other = r;
    other.rigor = (fbq_rigor)4;
    assert_refused(FBQ_ERR_WISDOM, fbq_wisdom_add(wisdom, &other, &error), "rigor is 4");
    other = r;
    other.median_ns = -1;
    assert_refused(FBQ_ERR_WISDOM, fbq_wisdom_add(wisdom, &other, &error), "median_ns is -1");
    other = r;
    other.date[4] = '/';
    assert_refused(FBQ_ERR_WISDOM, fbq_wisdom_add(wisdom, &other, &error), "2026/11");
    other = r;
    other.pick.stages = 9;
    assert_refused(FBQ_ERR_PICK, fbq_wisdom_add(wisdom, &other, &error), "stages is 9");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_add(NULL, &r, &error), "wisdom");
    assert_refused(FBQ_ERR_NULL, fbq_wisdom_add(wisdom, NULL, &error), "record");
    assert_int_equal(fbq_wisdom_count(wisdom), count);
    assert_null(fbq_wisdom_record(wisdom, count));
    assert_int_equal(fbq_wisdom_count(NULL), 0);
    assert_null(fbq_wisdom_record(NULL, 0));
    assert_string_equal(fbq_wisdom_warning(NULL), "");
    fbq_wisdom_free(NULL);
    fbq_wisdom_free(wisdom);
}

/* ---- The ladder ---- */

/* Records for one purpose are told apart by their times. */
static int64_t found_ns(const fbq_wisdom *wisdom, const fbq_problem *problem, const fbq_gpu *gpu,
                        fbq_rung rung)
{
    fbq_found found;
    fbq_pick pick, same;
    assert_int_equal(fbq_wisdom_find(wisdom, problem, gpu, FBQ_KERNEL_FUSED, &pick, &found, NULL),
                     FBQ_OK);
    assert_int_equal(found.rung, rung);
    assert_int_equal(fbq_pick_check(problem, gpu, &pick, NULL), FBQ_OK);
    if (rung == FBQ_RUNG_DEFAULT) {
        assert_int_equal(fbq_pick_default(problem, gpu, FBQ_KERNEL_FUSED, &same, NULL), FBQ_OK);
        assert_memory_equal(&pick, &same, sizeof pick);
    } else
        assert_memory_equal(&pick, &found.record.pick, sizeof pick);
    return found.record.median_ns;
}

static void test_rungs(void **state)
{
    const fbq_problem wanted = record_problem(4096, 4096, 128, 1);
    const fbq_gpu pcie = {"NVIDIA H100 PCIe", 90, 114, 232448, 233472, 65536};
    const fbq_gpu gh200 = {"NVIDIA GH200 480GB", 90, 132, 232448, 233472, 65536};
    const fbq_gpu a100 = nominal_gpus[0];
    fbq_record r = record_at(4096, 4096, 128, 1);
    fbq_wisdom *wisdom = NULL;
    fbq_pick pick;
    (void)state;
    assert_int_equal(found_ns(NULL, &wanted, &h200, FBQ_RUNG_DEFAULT), 0);
    assert_int_equal(fbq_wisdom_new(&wisdom, NULL), FBQ_OK);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_DEFAULT), 0);
#define ADD(change, ns)                                               \
    do {                                                              \
        fbq_record one = r;                                           \
        change;                                                       \
        one.median_ns = ns;                                           \
        assert_int_equal(fbq_wisdom_add(wisdom, &one, NULL), FBQ_OK); \
    } while (0)
    /* what never counts */
    ADD(one.epoch++, 1);
    ADD(one = record_at(4096, 4096, 128, 2), 2);
    ADD(one.problem.launches = 1, 3);
    ADD(one.problem.x_type = FBQ_BF16, 4);
    ADD(one.problem.shape.segment[0].r = 0; one.pick.slices = 0, 5);
    ADD(one.problem.shape.segment[0].n = 8193, 6);
    ADD(one.problem.shape.k = 2047, 7);
    ADD((one.problem.shape.segment[0].n = 4096 * 3 / 2, one.problem.shape.k = 4096 * 3 / 2), 8);
    ADD(one = record_of(&wanted, &a100, FBQ_KERNEL_FUSED), 9);
    ADD((one.problem.shape.segments = 2, one.problem.shape.segment[0].n = 2048,
         one.problem.shape.segment[0].r = 64,
         one.problem.shape.segment[1] = one.problem.shape.segment[0]),
        10);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_DEFAULT), 0);
    /* from the lowest rung up */
    ADD(one.gpu = pcie, 20);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_CAPABILITY), 20);
    ADD((one.gpu = gh200, one.problem.shape.segment[0].n = 4700), 21); /* 1.147 for 1.158 */
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_CAPABILITY), 21);
    ADD(one.gpu = gh200, 22);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_CAPABILITY), 22);
    ADD(one.problem.shape.segment[0].n = 8192, 30);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_SHAPE), 30);
    ADD(one.problem.shape.segment[0].n = 2800, 31);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_SHAPE), 31);
    ADD(one.problem.shape.segment[0].r = 112, 32);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_SHAPE), 32);
    ADD((void)one, 40);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_EXACT), 40);
    /* "H200" with a blank or an underscore is one name; the same chip cut in two is another GPU */
    fbq_gpu half = h200, underscore = h200;
    strcpy(underscore.name, "NVIDIA_H200");
    assert_int_equal(found_ns(wisdom, &wanted, &underscore, FBQ_RUNG_EXACT), 40);
    half.sms = 70;
    assert_int_equal(found_ns(wisdom, &wanted, &half, FBQ_RUNG_CAPABILITY), 20); /* 114 / 70 */
    half.sms = 60; /* fewer blocks than its pick has shares of the down-projection */
    assert_int_equal(found_ns(wisdom, &wanted, &half, FBQ_RUNG_DEFAULT), 0);
    half.sms = 56;
    assert_int_equal(found_ns(wisdom, &wanted, &half, FBQ_RUNG_DEFAULT), 0);
    assert_int_equal(found_ns(wisdom, &wanted, &a100, FBQ_RUNG_EXACT), 9);
    /* other rows of the bucket, and batch_invariant, are the same key */
    fbq_problem rows = wanted;
    rows.m_max = 4;
    rows.batch_invariant = 1;
    assert_int_equal(found_ns(wisdom, &rows, &h200, FBQ_RUNG_EXACT), 2);
    rows.m_max = 5;
    assert_int_equal(found_ns(wisdom, &rows, &h200, FBQ_RUNG_DEFAULT), 0);
    /* refusals */
    assert_refused(FBQ_ERR_NULL,
                   fbq_wisdom_find(wisdom, NULL, &h200, FBQ_KERNEL_FUSED, &pick, NULL, &error),
                   "problem");
    assert_refused(FBQ_ERR_NULL,
                   fbq_wisdom_find(wisdom, &wanted, NULL, FBQ_KERNEL_FUSED, &pick, NULL, &error),
                   "gpu");
    assert_refused(FBQ_ERR_NULL,
                   fbq_wisdom_find(wisdom, &wanted, &h200, FBQ_KERNEL_FUSED, NULL, NULL, &error),
                   "pick");
    assert_refused(FBQ_ERR_PICK,
                   fbq_wisdom_find(wisdom, &wanted, &h200, (fbq_kernel)2, &pick, NULL, &error),
                   "kernel is 2");
    rows.m_max = 17;
    assert_refused(FBQ_ERR_UNSUPPORTED,
                   fbq_wisdom_find(wisdom, &rows, &h200, FBQ_KERNEL_FUSED, &pick, NULL, &error),
                   "17");
    fbq_wisdom_free(wisdom);
}

/* Shape and multiprocessors together: at most a factor of two. A layer without a sub-branch, whose
 * pick is legal on any of these. */
static void test_near(void **state)
{
    static const struct {
        int64_t n, k;
        int sms;
        fbq_rung rung;
    } cases[] = {
        {8192, 4096, 132, FBQ_RUNG_SHAPE},      {8193, 4096, 132, FBQ_RUNG_DEFAULT},
        {2048, 4096, 132, FBQ_RUNG_SHAPE},      {2047, 4096, 132, FBQ_RUNG_DEFAULT},
        {4096, 8192, 132, FBQ_RUNG_SHAPE},      {4096, 2047, 132, FBQ_RUNG_DEFAULT},
        {5500, 5500, 132, FBQ_RUNG_SHAPE},      {6000, 6000, 132, FBQ_RUNG_DEFAULT},
        {4096, 4096, 66, FBQ_RUNG_CAPABILITY},  {4096, 4096, 65, FBQ_RUNG_DEFAULT},
        {4096, 4096, 264, FBQ_RUNG_CAPABILITY}, {4096, 4096, 265, FBQ_RUNG_DEFAULT},
        {5500, 4096, 99, FBQ_RUNG_CAPABILITY},  {8000, 4096, 68, FBQ_RUNG_DEFAULT},
    };
    const fbq_record record = record_at(4096, 4096, 0, 1);
    fbq_wisdom *wisdom = wisdom_of(&record, 1);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const fbq_problem problem = record_problem(cases[i].n, cases[i].k, 0, 1);
        fbq_gpu gpu = h200;
        fbq_pick pick;
        fbq_found found;
        gpu.sms = cases[i].sms;
        assert_int_equal(fbq_pick_check(&problem, &gpu, &record.pick, NULL), FBQ_OK);
        assert_int_equal(
            fbq_wisdom_find(wisdom, &problem, &gpu, FBQ_KERNEL_FUSED, &pick, &found, NULL), FBQ_OK);
        if (found.rung != cases[i].rung)
            fail_msg("%lld x %lld on %d: rung %d", (long long)cases[i].n, (long long)cases[i].k,
                     cases[i].sms, (int)found.rung);
    }
    fbq_wisdom_free(wisdom);
}

/* 100 x 1 and 1 x 100 have as many weights, and nothing else in common. */
static void test_far_shapes(void **state)
{
    const fbq_record tall = record_at(16384, 256, 128, 1);
    const fbq_problem wide = record_problem(256, 16384, 128, 1);
    fbq_wisdom *wisdom = wisdom_of(&tall, 1);
    (void)state;
    assert_int_equal(found_ns(wisdom, &wide, &h200, FBQ_RUNG_DEFAULT), 0);
    fbq_wisdom_free(wisdom);
}

/* A pick that is legal somewhere, but not for this layer on this GPU, and stands first in every
 * respect: the good record behind it is found. */
static void test_illegal_is_passed_over(void **state)
{
    const fbq_problem wanted = record_problem(4096, 4096, 128, 1);
    fbq_record records[2] = {record_at(4096, 4096, 128, 1), record_at(4096, 4160, 128, 1)};
    fbq_wisdom *wisdom;
    (void)state;
    records[0].median_ns = 1;
    records[0].pick.blocks_per_sm = 16; /* 16 x 12 warps */
    records[0].rigor = FBQ_RIGOR_PATIENT;
    assert_int_equal(fbq_pick_check(&wanted, &h200, &records[0].pick, NULL), FBQ_ERR_PICK);
    wisdom = wisdom_of(records, 2);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_SHAPE), 5000);
    fbq_wisdom_free(wisdom);
    wisdom = wisdom_of(records, 1);
    assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_DEFAULT), 0);
    fbq_wisdom_free(wisdom);
}

/* Thousands of records: each is found, and none twice. */
static void test_many(void **state)
{
    enum { MANY = 5000 };
    fbq_record record = record_at(16, 4096, 0, 1);
    fbq_wisdom *wisdom = NULL;
    (void)state;
    assert_int_equal(fbq_wisdom_new(&wisdom, NULL), FBQ_OK);
    for (int twice = 0; twice < 2; twice++)
        for (int i = 0; i < MANY; i++) {
            record.problem.shape.segment[0].n = 16 + i;
            record.median_ns = 10000 + i - twice;
            assert_int_equal(fbq_wisdom_add(wisdom, &record, NULL), FBQ_OK);
        }
    assert_int_equal(fbq_wisdom_count(wisdom), MANY);
    for (int i = 0; i < MANY; i += 61) {
        const fbq_problem problem = record_problem(16 + i, 4096, 0, 1);
        assert_int_equal(found_ns(wisdom, &problem, &h200, FBQ_RUNG_EXACT), 9999 + i);
    }
    fbq_wisdom_free(wisdom);
}

/* As near, and alike in all but their shapes: the same one, however they were added. */
static void test_as_near(void **state)
{
    const fbq_problem wanted = record_problem(4096, 4096, 0, 1);
    fbq_record a = record_at(4096, 4096, 0, 1), b = a;
    a.problem.shape.segment[0].n = 2048;
    b.problem.shape.segment[0].n = 8192;
    const fbq_record one[] = {a, b}, two[] = {b, a};
    fbq_wisdom *first = wisdom_of(one, 2), *second = wisdom_of(two, 2);
    fbq_found from_first, from_second;
    fbq_pick pick;
    (void)state;
    assert_int_equal(
        fbq_wisdom_find(first, &wanted, &h200, FBQ_KERNEL_FUSED, &pick, &from_first, NULL), FBQ_OK);
    assert_int_equal(
        fbq_wisdom_find(second, &wanted, &h200, FBQ_KERNEL_FUSED, &pick, &from_second, NULL),
        FBQ_OK);
    assert_int_equal(from_first.rung, FBQ_RUNG_SHAPE);
    assert_int_equal(from_first.record.problem.shape.segment[0].n,
                     from_second.record.problem.shape.segment[0].n);
    fbq_wisdom_free(first);
    fbq_wisdom_free(second);
}

/* Among equals the order of adding does not matter. */
static void test_order(void **state)
{
    const fbq_problem wanted = record_problem(4096, 4096, 128, 1);
    fbq_record records[3] = {record_at(2048, 4096, 128, 1), record_at(8192, 4096, 128, 1),
                             record_at(4096, 8192, 128, 1)};
    (void)state;
    records[1].rigor = FBQ_RIGOR_PATIENT;
    for (int i = 0; i < 3; i++)
        records[i].median_ns = 100 + i;
    for (int first = 0; first < 3; first++)
        for (int step = 1; step < 3; step++) {
            fbq_record order[3];
            fbq_wisdom *wisdom;
            for (int i = 0; i < 3; i++)
                order[i] = records[(first + i * step) % 3];
            wisdom = wisdom_of(order, 3);
            assert_int_equal(found_ns(wisdom, &wanted, &h200, FBQ_RUNG_SHAPE), 101);
            fbq_wisdom_free(wisdom);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_line),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused_lines),
        cmocka_unit_test(test_damaged_lines),
        cmocka_unit_test(test_any_line),
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_rungs),
        cmocka_unit_test(test_far_shapes),
        cmocka_unit_test(test_illegal_is_passed_over),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_as_near),
        cmocka_unit_test(test_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
