/* fbq/host/wisdom_record.h: a record of tuning: what is legal in one, its key, and its line of
 * text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_HOST_WISDOM_RECORD_H
#define FBQ_HOST_WISDOM_RECORD_H

#include "files.h"
#include "wisdom_key.h"

/* First word of a line: what a later version cannot express in these fields gets another. */
#define FBQ__LINE_MARK "fbq1"

/* ---- Fields ---- */

/* Fields that are enums are read and written as int. */
typedef char fbq__enums_are_ints[sizeof(fbq_type) == sizeof(int) &&
                                         sizeof(fbq_zero) == sizeof(int) &&
                                         sizeof(fbq_rigor) == sizeof(int)
                                     ? 1
                                     : -1];

typedef enum fbq__field_kind {
    FBQ__FIELD_INT,
    FBQ__FIELD_LONG,
    FBQ__FIELD_HEX,
    FBQ__FIELD_TYPE,
    FBQ__FIELD_ZERO,
    FBQ__FIELD_GROUP,
    FBQ__FIELD_RIGOR,
    FBQ__FIELD_ROWS,  /* n of all segments, as 4096,1024,1024 */
    FBQ__FIELD_RANKS, /* r */
    FBQ__FIELD_GPU,
    FBQ__FIELD_DATE
} fbq__field_kind;

typedef struct fbq__field {
    const char *name;
    size_t at; /* where in fbq_record */
    fbq__field_kind kind;
    int optional; /* a line without it means 0: fields that were added after version 0.1 */
} fbq__field;

/* What a line holds behind its first two words, in the order in which it is written. */
static const fbq__field fbq__record_fields[] = {
    {"bits", offsetof(fbq_record, problem.format.bits), FBQ__FIELD_INT, 0},
    {"group", offsetof(fbq_record, problem.format.group), FBQ__FIELD_GROUP, 0},
    {"zero", offsetof(fbq_record, problem.format.zero), FBQ__FIELD_ZERO, 0},
    {"scale", offsetof(fbq_record, problem.format.scale_type), FBQ__FIELD_TYPE, 0},
    {"factor", offsetof(fbq_record, problem.format.factor_type), FBQ__FIELD_TYPE, 0},
    {"x", offsetof(fbq_record, problem.x_type), FBQ__FIELD_TYPE, 0},
    {"y", offsetof(fbq_record, problem.y_type), FBQ__FIELD_TYPE, 0},
    {"n", offsetof(fbq_record, problem.shape), FBQ__FIELD_ROWS, 0},
    {"k", offsetof(fbq_record, problem.shape.k), FBQ__FIELD_LONG, 0},
    {"r", offsetof(fbq_record, problem.shape), FBQ__FIELD_RANKS, 0},
    {"m", offsetof(fbq_record, problem.m_max), FBQ__FIELD_INT, 0},
    {"launches", offsetof(fbq_record, problem.launches), FBQ__FIELD_INT, 0},
    {"gpu", offsetof(fbq_record, gpu.name), FBQ__FIELD_GPU, 0},
    {"capability", offsetof(fbq_record, gpu.capability), FBQ__FIELD_INT, 0},
    {"sms", offsetof(fbq_record, gpu.sms), FBQ__FIELD_INT, 0},
    {"epoch", offsetof(fbq_record, epoch), FBQ__FIELD_INT, 0},
#define FBQ__PICK_FIELD(field) {#field, offsetof(fbq_record, pick.field), FBQ__FIELD_INT, 0},
    FBQ_PICK_FIELDS(FBQ__PICK_FIELD)
#undef FBQ__PICK_FIELD
        {"rigor", offsetof(fbq_record, rigor), FBQ__FIELD_RIGOR, 0},
    {"median_ns", offsetof(fbq_record, median_ns), FBQ__FIELD_LONG, 0},
    {"spread_ns", offsetof(fbq_record, spread_ns), FBQ__FIELD_LONG, 0},
    {"nvrtc", offsetof(fbq_record, nvrtc), FBQ__FIELD_INT, 0},
    {"driver", offsetof(fbq_record, driver), FBQ__FIELD_INT, 0},
    {"source", offsetof(fbq_record, source), FBQ__FIELD_HEX, 0},
    {"date", offsetof(fbq_record, date), FBQ__FIELD_DATE, 0},
};

enum { FBQ__RECORD_FIELDS = sizeof fbq__record_fields / sizeof fbq__record_fields[0] };

/* Words that stand for numbers; the index is the number, NULL is none. */
static const char *const fbq__type_words[] = {NULL, "f16", "bf16", "f32", "i8", NULL};
static const char *const fbq__zero_words[] = {"none", "code", "f16", NULL};
static const char *const fbq__rigor_words[] = {NULL, "estimate", "measure", "patient", NULL};
enum { FBQ__TYPE_WORDS = 5, FBQ__ZERO_WORDS = 3, FBQ__RIGOR_WORDS = 4 };

/* ---- Text ---- */

static int fbq__field_print(const fbq_record *record, const fbq__field *field, char *text,
                            size_t bytes)
{
    const char *at = (const char *)record + field->at;
    const fbq_shape *shape = &record->problem.shape;
    int number = 0, length = 0;
    int64_t wide;
    uint64_t bits;
    switch (field->kind) {
    case FBQ__FIELD_LONG:
        memcpy(&wide, at, sizeof wide);
        return snprintf(text, bytes, "%lld", (long long)wide);
    case FBQ__FIELD_HEX:
        memcpy(&bits, at, sizeof bits);
        return snprintf(text, bytes, "%016llx", (unsigned long long)bits);
    case FBQ__FIELD_ROWS:
    case FBQ__FIELD_RANKS:
        for (int s = 0; s < shape->segments && length < (int)bytes; s++)
            length += snprintf(text + length, bytes - (size_t)length, "%s%lld", s ? "," : "",
                               (long long)(field->kind == FBQ__FIELD_ROWS ? shape->segment[s].n
                                                                          : shape->segment[s].r));
        return length;
    case FBQ__FIELD_GPU:
    case FBQ__FIELD_DATE:
        return snprintf(text, bytes, "%s", at);
    default:
        break;
    }
    memcpy(&number, at, sizeof number); /* enums are as wide as int */
    switch (field->kind) {
    case FBQ__FIELD_TYPE:
        return snprintf(text, bytes, "%s", fbq__type_words[number]);
    case FBQ__FIELD_ZERO:
        return snprintf(text, bytes, "%s", fbq__zero_words[number]);
    case FBQ__FIELD_RIGOR:
        return snprintf(text, bytes, "%s", fbq__rigor_words[number]);
    case FBQ__FIELD_GROUP:
        if (number == FBQ_GROUP_ROW)
            return snprintf(text, bytes, "row");
        break;
    default:
        break;
    }
    return snprintf(text, bytes, "%d", number);
}

int fbq_record_seal(const char *line, char *text, size_t bytes)
{
    const size_t length = line ? strlen(line) : 0;
    char sum[32];
    snprintf(sum, sizeof sum, " sum=%016llx",
             (unsigned long long)fbq__hash(FBQ__HASH_START, line, length));
    if (bytes > 0) {
        const size_t kept = length < bytes ? length : bytes - 1;
        if (length)
            memmove(text, line, kept);
        snprintf(text + kept, bytes - kept, "%s", sum);
    }
    return (int)(length + strlen(sum));
}

int fbq_record_print(const fbq_record *record, char *text, size_t bytes)
{
    char line[FBQ_RECORD_BYTES];
    fbq_record r;
    int at;
    if (!record || fbq__record_check(record, &r, NULL) != FBQ_OK)
        return snprintf(text, bytes, "no record");
    at = snprintf(line, sizeof line, FBQ__LINE_MARK " %s", fbq__kernel_name[r.pick.kernel]);
    for (int i = 0; i < FBQ__RECORD_FIELDS; i++) {
        const fbq__field *field = &fbq__record_fields[i];
        at += snprintf(line + at, sizeof line - (size_t)at, " %s=", field->name);
        at += fbq__field_print(&r, field, line + at, sizeof line - (size_t)at);
    }
    return fbq_record_seal(line, text, bytes);
}

/* Is the line one that was written like this, of this or a later version? *body: its length without
 * the checksum. */
static int fbq__line_whole(const char *line, size_t length, size_t *body)
{
    enum { TAIL = 5 + 16 }; /* " sum=" and the digits */
    char tail[TAIL + 1];
    if (length <= TAIL)
        return 0;
    snprintf(tail, sizeof tail, " sum=%016llx",
             (unsigned long long)fbq__hash(FBQ__HASH_START, line, length - TAIL));
    *body = length - TAIL;
    return !memcmp(line + length - TAIL, tail, TAIL);
}

/* A number from low to high that is all of a word. */
static int fbq__word_number(const char *word, int64_t low, int64_t high, int64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoll(word, &end, 10);
    return end != word && !*end && !errno && *number >= low && *number <= high &&
           (*word == '-' || (*word >= '0' && *word <= '9'));
}

static int fbq__word_among(const char *word, const char *const *words, int count, int *number)
{
    for (*number = 0; *number < count; ++*number)
        if (words[*number] && !strcmp(word, words[*number]))
            return 1;
    return 0;
}

/* "4096,1024" into n or r of the segments, as many as the record has or gets by it. */
static int fbq__word_segments(char *word, fbq_shape *shape, int ranks)
{
    int count = 0;
    for (char *next; word; word = next) {
        int64_t value;
        next = strchr(word, ',');
        if (next)
            *next++ = 0;
        if (count == FBQ_MAX_SEGMENTS || !fbq__word_number(word, 0, INT64_MAX, &value))
            return 0;
        if (ranks)
            shape->segment[count++].r = value;
        else
            shape->segment[count++].n = value;
    }
    if (shape->segments && shape->segments != count)
        return 0;
    shape->segments = count;
    return 1;
}

/* Put a field's word into the record; 0 when it does not fit. The word may be changed. */
static int fbq__field_parse(const fbq__field *field, char *word, fbq_record *record)
{
    char *at = (char *)record + field->at;
    int number = 0;
    int64_t wide = 0;
    uint64_t bits;
    switch (field->kind) {
    case FBQ__FIELD_ROWS:
    case FBQ__FIELD_RANKS:
        return fbq__word_segments(word, &record->problem.shape, field->kind == FBQ__FIELD_RANKS);
    case FBQ__FIELD_GPU:
        if (strlen(word) >= sizeof record->gpu.name)
            return 0;
        strcpy(at, word);
        return 1;
    case FBQ__FIELD_DATE:
        if (strlen(word) >= sizeof record->date)
            return 0;
        strcpy(at, word);
        return 1;
    case FBQ__FIELD_HEX:
        if (strlen(word) != 16 || strspn(word, "0123456789abcdef") != 16)
            return 0;
        bits = strtoull(word, NULL, 16);
        memcpy(at, &bits, sizeof bits);
        return 1;
    case FBQ__FIELD_LONG:
        if (!fbq__word_number(word, INT64_MIN, INT64_MAX, &wide))
            return 0;
        memcpy(at, &wide, sizeof wide);
        return 1;
    case FBQ__FIELD_TYPE:
        if (!fbq__word_among(word, fbq__type_words, FBQ__TYPE_WORDS, &number))
            return 0;
        break;
    case FBQ__FIELD_ZERO:
        if (!fbq__word_among(word, fbq__zero_words, FBQ__ZERO_WORDS, &number))
            return 0;
        break;
    case FBQ__FIELD_RIGOR:
        if (!fbq__word_among(word, fbq__rigor_words, FBQ__RIGOR_WORDS, &number))
            return 0;
        break;
    case FBQ__FIELD_GROUP:
        if (!strcmp(word, "row")) {
            number = FBQ_GROUP_ROW;
            break;
        }
        /* fall through */
    case FBQ__FIELD_INT:
        if (!fbq__word_number(word, INT32_MIN, INT32_MAX, &wide))
            return 0;
        number = (int)wide;
    }
    memcpy(at, &number, sizeof number);
    return 1;
}

static fbq_status fbq__line_fail(fbq_error *error, fbq_status status, const char *what,
                                 const char *word)
{
    return fbq__fail(error, status, 0, "the record %s \"%.60s\"", what, word);
}

/* The words of a line whose checksum is right; the line is changed. */
static fbq_status fbq__line_parse(char *line, fbq_record *record, fbq_error *error)
{
    int seen[FBQ__RECORD_FIELDS] = {0}, kernel;
    char *word = line, *next, *value;
    fbq_record r;
    memset(&r, 0, sizeof r);
    for (int at = 0; word; word = next, at++) {
        int i = 0;
        next = strchr(word, ' ');
        if (next)
            *next++ = 0;
        if (at == 0) {
            if (strcmp(word, FBQ__LINE_MARK))
                return fbq__line_fail(error, FBQ_ERR_UNSUPPORTED,
                                      "is of a version that this one cannot read:", word);
            continue;
        }
        if (at == 1) {
            if (!fbq__word_among(word, fbq__kernel_name, FBQ_KERNELS, &kernel))
                return fbq__line_fail(error, FBQ_ERR_UNSUPPORTED,
                                      "is for an unknown kernel:", word);
            r.pick.kernel = (fbq_kernel)kernel;
            continue;
        }
        value = strchr(word, '=');
        if (!value)
            return fbq__line_fail(error, FBQ_ERR_WISDOM, "has a word without \"=\":", word);
        *value++ = 0;
        while (i < FBQ__RECORD_FIELDS && strcmp(word, fbq__record_fields[i].name))
            i++;
        if (i == FBQ__RECORD_FIELDS)
            return fbq__line_fail(error, FBQ_ERR_UNSUPPORTED, "has an unknown field:", word);
        if (seen[i]++)
            return fbq__line_fail(error, FBQ_ERR_WISDOM, "has a field twice:", word);
        if (!fbq__field_parse(&fbq__record_fields[i], value, &r))
            return fbq__line_fail(error, FBQ_ERR_WISDOM,
                                  "has a field whose value makes no sense:", word);
    }
    for (int i = 0; i < FBQ__RECORD_FIELDS; i++)
        if (!seen[i] && !fbq__record_fields[i].optional)
            return fbq__line_fail(error, FBQ_ERR_WISDOM, "lacks the field",
                                  fbq__record_fields[i].name);
    return fbq__record_check(&r, record, error);
}

/* A line of `length` bytes, without its newline. *whole: it is as it was written, by whatever
 * version, whether this one can use it or not. */
static fbq_status fbq__record_read(const char *line, size_t length, int *whole, fbq_record *record,
                                   fbq_error *error)
{
    char copy[FBQ_RECORD_BYTES];
    size_t body;
    *whole = fbq__line_whole(line, length, &body);
    if (!*whole)
        return fbq__fail(error, FBQ_ERR_WISDOM, 0,
                         "the record's checksum is missing or wrong: \"%.*s\"",
                         (int)(length < 60 ? length : 60), line);
    if (body >= sizeof copy)
        return fbq__fail(error, FBQ_ERR_WISDOM, 0, "the record has %zu bytes; expected up to %d",
                         length, FBQ_RECORD_BYTES - 1);
    memcpy(copy, line, body);
    copy[body] = 0;
    if (strlen(copy) != body)
        return fbq__fail(error, FBQ_ERR_WISDOM, 0, "the record has a NUL at byte %zu",
                         strlen(copy));
    return fbq__line_parse(copy, record, error);
}

fbq_status fbq_record_parse(const char *text, fbq_record *record, fbq_error *error)
{
    int whole;
    FBQ__NOT_NULL(text, error);
    FBQ__NOT_NULL(record, error);
    return fbq__record_read(text, strlen(text), &whole, record, error);
}

#endif /* FBQ_HOST_WISDOM_RECORD_H */
