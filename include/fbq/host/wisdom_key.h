/* fbq/host/wisdom_key.h: what a record of tuning is for (its key), which of two of one key stays,
 * and what is legal in one.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_WISDOM_KEY_H
#define FBQ_HOST_WISDOM_KEY_H

#include "files.h"
#include "select.h"

/* ---- Keys ---- */

/* The GPU's name as one word. */
static void fbq__gpu_word(const char *name, char *word)
{
    size_t i = 0;
    for (; name[i] && i + 1 < sizeof((fbq_gpu *)0)->name; i++)
        word[i] = name[i] == ' ' ? '_' : name[i] > ' ' && name[i] < 127 ? name[i] : '?';
    word[i] = 0;
}

/* A problem as it stands in a key: what does not matter to a pick is always the same. */
static void fbq__problem_key(const fbq_problem *problem, fbq_problem *key)
{
    const int most = fbq__class_m(fbq__class_of(problem->m_max), FBQ__MAX_M);
    int64_t ranks = 0;
    memset(key, 0, sizeof *key);
    key->format = problem->format;
    key->shape.k = problem->shape.k;
    key->shape.segments = problem->shape.segments;
    for (int s = 0; s < problem->shape.segments; s++) {
        key->shape.segment[s] = problem->shape.segment[s];
        ranks += problem->shape.segment[s].r;
    }
    key->x_type = problem->x_type;
    key->y_type = problem->y_type;
    key->m_max = most;
    key->launches = ranks ? problem->launches : 0;
    if (!ranks)
        key->format.factor_type = FBQ_F16;
}

static int fbq__format_same(const fbq_format *a, const fbq_format *b)
{
    return a->bits == b->bits && a->group == b->group && a->zero == b->zero &&
           a->scale_type == b->scale_type && a->factor_type == b->factor_type;
}

static int fbq__shape_same(const fbq_shape *a, const fbq_shape *b)
{
    int same = a->k == b->k && a->segments == b->segments;
    for (int s = 0; same && s < a->segments; s++)
        same = a->segment[s].n == b->segment[s].n && a->segment[s].r == b->segment[s].r;
    return same;
}

/* Two keys that differ in shape alone, if at all. */
static int fbq__problem_alike(const fbq_problem *a, const fbq_problem *b)
{
    return fbq__format_same(&a->format, &b->format) && a->x_type == b->x_type &&
           a->y_type == b->y_type && a->m_max == b->m_max && a->launches == b->launches &&
           (a->shape.segments > 1) == (b->shape.segments > 1) &&
           !fbq__ranks(&a->shape) == !fbq__ranks(&b->shape);
}

static int fbq__gpu_same(const fbq_gpu *a, const fbq_gpu *b)
{
    return !strcmp(a->name, b->name) && a->capability == b->capability && a->sms == b->sms;
}

static int fbq__record_same_key(const fbq_record *a, const fbq_record *b)
{
    return a->pick.kernel == b->pick.kernel && a->epoch == b->epoch &&
           fbq__gpu_same(&a->gpu, &b->gpu) && fbq__problem_alike(&a->problem, &b->problem) &&
           fbq__shape_same(&a->problem.shape, &b->problem.shape);
}

static uint64_t fbq__hash_of(uint64_t hash, int64_t number)
{
    return fbq__hash(hash, &number, sizeof number);
}

/* Of a record's key: equal keys have equal ones. */
static uint64_t fbq__key_hash(const fbq_record *r)
{
    const fbq_problem *p = &r->problem;
    uint64_t hash = fbq__hash(FBQ__HASH_START, r->gpu.name, strlen(r->gpu.name));
    hash = fbq__hash_of(hash, (int64_t)r->pick.kernel * 1000 + r->gpu.capability);
    hash = fbq__hash_of(hash, (int64_t)r->epoch * 100000 + r->gpu.sms);
    hash = fbq__hash_of(hash, p->format.bits * 1000 + p->format.group);
    hash = fbq__hash_of(hash, p->m_max * 100 + p->launches * 10 + (int)p->x_type);
    hash = fbq__hash_of(hash, p->shape.k);
    for (int s = 0; s < p->shape.segments; s++)
        hash = fbq__hash_of(fbq__hash_of(hash, p->shape.segment[s].n), p->shape.segment[s].r);
    return hash;
}

/* Of two keys that stand as near to something, the first; any order will do that is one. */
static int fbq__key_first(const fbq_record *a, const fbq_record *b)
{
    const fbq_shape *x = &a->problem.shape, *y = &b->problem.shape;
    const int name = strcmp(a->gpu.name, b->gpu.name);
    if (x->k != y->k)
        return x->k < y->k;
    if (x->segments != y->segments)
        return x->segments < y->segments;
    for (int s = 0; s < x->segments; s++) {
        if (x->segment[s].n != y->segment[s].n)
            return x->segment[s].n < y->segment[s].n;
        if (x->segment[s].r != y->segment[s].r)
            return x->segment[s].r < y->segment[s].r;
    }
    return name ? name < 0 : a->gpu.sms < b->gpu.sms;
}

/* Does a replace b, of the same key? A total order, so that the order of merging does not matter;
 * what comes behind the times decides nothing but that. */
static int fbq__record_better(const fbq_record *a, const fbq_record *b)
{
    const int later = strcmp(a->date, b->date);
    if (a->rigor != b->rigor)
        return a->rigor > b->rigor;
    if (later)
        return later > 0;
    if (!a->median_ns != !b->median_ns) /* 0: not run */
        return a->median_ns > 0;
#define FBQ__LESS(member)       \
    if (a->member != b->member) \
        return a->member < b->member;
    FBQ__LESS(median_ns)
    FBQ__LESS(spread_ns)
#define FBQ__PICK_LESS(field) FBQ__LESS(pick.field)
    FBQ_PICK_FIELDS(FBQ__PICK_LESS)
#undef FBQ__PICK_LESS
    FBQ__LESS(nvrtc)
    FBQ__LESS(driver)
    FBQ__LESS(source)
#undef FBQ__LESS
    return 0;
}

/* ---- Legality ---- */

static int fbq__two_digits(const char *text)
{
    return 10 * (text[0] - '0') + text[1] - '0';
}

static int fbq__date_legal(const char *date)
{
    static const char *const form = "0000-00-00T00:00:00Z";
    for (int i = 0; i < FBQ_DATE_BYTES; i++)
        if (form[i] == '0' ? date[i] < '0' || date[i] > '9' : date[i] != form[i])
            return 0;
    const int month = fbq__two_digits(date + 5), day = fbq__two_digits(date + 8);
    return month >= 1 && month <= 12 && day >= 1 && day <= 31 && fbq__two_digits(date + 11) < 24 &&
           fbq__two_digits(date + 14) < 60 && fbq__two_digits(date + 17) <= 60;
}

/* Does the pick make as many launches as the problem asks for? */
static int fbq__launches_suit(const fbq_problem *problem, const fbq_pick *pick)
{
    return pick->kernel != FBQ_KERNEL_FUSED || problem->launches == 0 ||
           !fbq__ranks(&problem->shape) || (problem->launches == 1) == (pick->slices > 0);
}

/* What can be said of a record without its GPU; makes a key of its problem. */
static fbq_status fbq__record_check(const fbq_record *given, fbq_record *record, fbq_error *error)
{
    fbq_layout layout;
    fbq_record r = *given;
    FBQ__TRY(fbq__problem_check(&given->problem, &layout, error));
    FBQ__TRY(fbq__pick_fields_check(&given->pick, error));
    fbq__problem_key(&given->problem, &r.problem);
    memset(&r.gpu, 0, sizeof r.gpu);
    r.gpu.capability = given->gpu.capability;
    r.gpu.sms = given->gpu.sms;
    fbq__gpu_word(given->gpu.name, r.gpu.name);
    if (!fbq__launches_suit(&r.problem, &r.pick))
        return fbq__fail(
            error, FBQ_ERR_PICK, 0,
            "record.pick.slices is %d, which makes %d launches; record.problem.launches "
            "is %d",
            r.pick.slices, r.pick.slices ? 1 : 2, r.problem.launches);
    if (!r.gpu.name[0] || r.gpu.capability < 80 || r.gpu.sms < 1)
        return fbq__fail(
            error, FBQ_ERR_WISDOM, 0,
            "record.gpu is \"%s\" of capability %d with %d multiprocessors; expected a "
            "name, 80 or more, and 1 or more",
            r.gpu.name, r.gpu.capability, r.gpu.sms);
    if ((int)r.rigor < FBQ_RIGOR_ESTIMATE || (int)r.rigor > FBQ_RIGOR_PATIENT)
        return fbq__fail(error, FBQ_ERR_WISDOM, 0, "record.rigor is %d; expected 1 .. 3",
                         (int)r.rigor);
    if (r.median_ns < 0 || r.spread_ns < 0)
        return fbq__fail(error, FBQ_ERR_WISDOM, 0,
                         "record.median_ns is %lld and spread_ns %lld; expected none below 0",
                         (long long)r.median_ns, (long long)r.spread_ns);
    if (!fbq__date_legal(r.date))
        return fbq__fail(error, FBQ_ERR_WISDOM, 0,
                         "record.date is \"%.20s\"; expected such as 2026-11-23T13:05:00Z", r.date);
    *record = r;
    return FBQ_OK;
}

#endif /* FBQ_HOST_WISDOM_KEY_H */
