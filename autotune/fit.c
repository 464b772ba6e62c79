/* fit.c: fbq-fit: how well predict.h predicts times that were measured, and what fit.py fits it
 * with.
 *
 *   fbq-fit FILE...          a line for each problem of the files: how the pick that is predicted
 *                            to be the fastest, and the best of the eight that are, stand beside
 * the fastest; and Kendall's tau of the picks within twice of that fbq-fit --check FILE...  the
 * same; exit status 1 where they are worse than docs/tuning.md says fbq-fit --serve FILE...  the
 * number of times, them, and each's problem; then, for each line of model values on standard input,
 * a line of predictions
 *
 * A file is an object whose "problems" have the fields of a record (records.h) without its pick,
 * and under "times" arrays: warps, chunks, blocks_per_sm, slices, stages, tiles, splits, us.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpus.h"
#include "predict.h"
#include "records.h"

/* Picks within this of the fastest count for tau. */
#define NEAR 2.0
/* Problems of fewer such picks have no tau to speak of. */
enum { FEW = 8 };
/* What is promised. */
#define MOST_FIRST 1.15
#define MOST_EIGHT 1.05
#define LEAST_TAU 0.6

/* What records.c says when a file cannot be read. */
outcome failed(const options *o, outcome end, const char *format, ...)
{
    va_list values;
    (void)o;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    return end;
}

typedef struct timed {
    fbq_record record;
    int problem;
    double us;
} timed;

static struct {
    timed *list;
    int count, room, problems;
} all;

static int add(const timed *t)
{
    if (all.count == all.room) {
        timed *grown = realloc(all.list, (size_t)(all.room + 1024) * sizeof *grown);
        if (!grown)
            return 0;
        all.list = grown;
        all.room += 1024;
    }
    all.list[all.count++] = *t;
    return 1;
}

/* What a record needs beside its problem; `row` has the pick. */
static int record_of(const json_t *problem, const json_t *row, fbq_record *r, char *why,
                     size_t bytes)
{
    static const char *const fields[] = {"warps",  "chunks", "blocks_per_sm", "slices",
                                         "stages", "tiles",  "splits"};
    json_t *object = json_copy((json_t *)problem);
    json_object_del(object, "times");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        json_object_set(object, fields[i], json_array_get(row, i));
    const int fine = record_from_json(object, r, why, bytes);
    json_decref(object);
    return fine;
}

static int file_read(const char *path)
{
    json_error_t error;
    json_t *const root = json_load_file(path, 0, &error), *problem, *row;
    char why[512] = "no memory";
    size_t i, j;
    int fine = 1;
    if (!root) {
        fprintf(stderr, "fbq-fit: %s: line %d: %s\n", path, error.line, error.text);
        return 0;
    }
    json_array_foreach(json_object_get(root, "problems"), i, problem)
    {
        json_array_foreach(json_object_get(problem, "times"), j, row)
        {
            timed t;
            fine = fine && record_of(problem, row, &t.record, why, sizeof why);
            t.problem = all.problems;
            t.us = json_number_value(json_array_get(row, 7));
            fine = fine && t.us > 0 && add(&t);
        }
        all.problems++;
    }
    json_decref(root);
    if (!fine)
        fprintf(stderr, "fbq-fit: %s: problem %d: %s\n", path, all.problems, why);
    return fine;
}

/* A record's GPU with the facts that it does not keep; 0 when they are not known. */
static int gpu_of(const fbq_record *r, fbq_gpu *gpu, gpu_speed *speed)
{
    const fbq_gpu *const known = gpus_find(r->gpu.name);
    if (!known)
        return 0;
    *gpu = *known;
    gpu->sms = r->gpu.sms;
    *speed = *gpus_speed(known->name);
    return 1;
}

static double predicted(const model *c, const timed *t)
{
    fbq_gpu gpu;
    gpu_speed speed;
    return gpu_of(&t->record, &gpu, &speed)
               ? predict(c, &t->record.problem, &gpu, &speed, &t->record.pick)
               : 0;
}

/* ---- How well ---- */

typedef struct quality {
    int picks, near;
    double best, first, eight, tau;
} quality;

static int sign(double x)
{
    return (x > 0) - (x < 0);
}

/* Kendall's tau-b of so many pairs. */
static double tau_of(const double *x, const double *y, int count)
{
    double agree = 0, pairs_x = 0, pairs_y = 0;
    for (int i = 0; i < count; i++)
        for (int j = 0; j < i; j++) {
            const int a = sign(x[i] - x[j]), b = sign(y[i] - y[j]);
            agree += a * b;
            pairs_x += a != 0;
            pairs_y += b != 0;
        }
    return agree / sqrt(pairs_x * pairs_y);
}

/* Of the times of a problem and their predictions, sorted by these. */
static quality quality_of(const double (*rows)[2], int count)
{
    quality q = {count, 0, INFINITY, 0, INFINITY, NAN};
    double *x = malloc(2 * (size_t)count * sizeof *x), *y = x + count;
    for (int i = 0; i < count; i++) {
        q.best = fmin(q.best, rows[i][1]);
        q.eight = i < 8 ? fmin(q.eight, rows[i][1]) : q.eight;
    }
    for (int i = 0; i < count && x; i++)
        if (rows[i][1] < NEAR * q.best) {
            x[q.near] = rows[i][0];
            y[q.near++] = rows[i][1];
        }
    q.first = rows[0][1] / q.best;
    q.eight /= q.best;
    if (x && q.near >= FEW)
        q.tau = tau_of(x, y, q.near);
    free(x);
    return q;
}

static int row_compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return sign(x[0] - y[0]);
}

/* 1: as well as promised. */
static int report(int problem)
{
    double(*rows)[2] = malloc((size_t)all.count * sizeof *rows);
    const fbq_record *r = NULL;
    char shape[128], format[128];
    int count = 0;
    for (int i = 0; i < all.count && rows; i++)
        if (all.list[i].problem == problem) {
            r = &all.list[i].record;
            rows[count][0] = predicted(&predict_model, &all.list[i]);
            rows[count][1] = all.list[i].us;
            count += rows[count][0] > 0;
        }
    if (!count) {
        printf("problem %d: no pick is legal\n", problem + 1);
        free(rows);
        return 0;
    }
    qsort(rows, (size_t)count, sizeof *rows, row_compare);
    const quality q = quality_of((const double(*)[2])rows, count);
    const int fine = q.first <= MOST_FIRST && q.eight <= MOST_EIGHT && !(q.tau < LEAST_TAU);
    record_shape(r, shape, sizeof shape);
    record_format(r, format, sizeof format);
    printf("%s, %s, m %d, %d SMs: %d picks, best %.2f us; first %.3f, of eight %.3f; tau %.2f of "
           "%d%s\n",
           shape, format, r->problem.m_max, r->gpu.sms, q.picks, q.best, q.first, q.eight, q.tau,
           q.near, fine ? "" : " *");
    free(rows);
    return fine;
}

/* ---- For fit.py ---- */

/* The values of a line; 0 at the end. */
static int model_read(model *c)
{
    int fine = 1;
#define MODEL_READ(field, value) fine = fine && scanf("%lf", &c->field) == 1;
    MODEL_FIELDS(MODEL_READ)
#undef MODEL_READ
    return fine;
}

static void serve(void)
{
    model c;
#define MODEL_NAME(field, value) printf("%s %.17g ", #field, (double)value);
    MODEL_FIELDS(MODEL_NAME)
#undef MODEL_NAME
    printf("\n%d\n", all.count);
    for (int i = 0; i < all.count; i++)
        printf("%.17g %d\n", all.list[i].us, all.list[i].problem);
    fflush(stdout);
    while (model_read(&c)) {
        for (int i = 0; i < all.count; i++)
            printf("%.9g ", predicted(&c, &all.list[i]));
        printf("\n");
        fflush(stdout);
    }
}

int main(int count, char **words)
{
    const char *const mode = count > 1 && words[1][0] == '-' ? words[1] : "";
    int missed = 0;
    if (count < (*mode ? 3 : 2) ||
        (*mode && strcmp(mode, "--check") != 0 && strcmp(mode, "--serve") != 0)) {
        fprintf(stderr, "usage: fbq-fit [--check | --serve] FILE...\n");
        return 2;
    }
    for (int i = *mode ? 2 : 1; i < count; i++)
        if (!file_read(words[i]))
            return 1;
    if (!strcmp(mode, "--serve"))
        serve();
    for (int i = 0; i < all.problems && strcmp(mode, "--serve") != 0; i++)
        missed += !report(i);
    if (missed)
        printf("* %d of %d problems: worse than first %.2f, of eight %.2f or tau %.2f\n", missed,
               all.problems, MOST_FIRST, MOST_EIGHT, LEAST_TAU);
    free(all.list);
    return missed && !strcmp(mode, "--check");
}
