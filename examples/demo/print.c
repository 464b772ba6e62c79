/* print.c: the findings as a table and as JSON.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "outcome.h"

#include <jansson.h>
#include <stdio.h>

int findings_good(const findings *f)
{
    int good = 1;
    for (int i = 0; i < f->count; i++) {
        const outcome *o = &f->list[i];
        if (o->promises_bound && o->bound.violations > 0)
            good = 0;
        /* Written so that NaN is not good. */
        if (o->ran && !(o->kernel_bound <= MOST_KERNEL_BOUND && o->kernel_norm <= MOST_KERNEL_NORM))
            good = 0;
    }
    return good;
}

static void print_head(const findings *f)
{
    const source *s = f->source;
    printf("Layer     %s\n", s->description);
    printf("          %lld outputs x %lld inputs; calibrated on %lld tokens, judged on %lld others",
           (long long)s->n, (long long)s->k, (long long)s->calibration_tokens,
           (long long)s->heldout_tokens);
    if (!s->generated)
        printf(
            "\n          (%.1f %% of which calibration never saw: this input depends on the token "
            "alone)",
            100 * s->unseen);
    printf("\nFormat    group %d%s, fp16 scales and zero points, rank %d, fp16 factors\n",
           f->arguments->group, f->arguments->group == 0 ? " (whole rows)" : "",
           f->arguments->rank);
    printf("Kernels   on %s%s%s\n\n", f->device, f->why_cpu[0] ? ", because " : "", f->why_cpu);
}

static void print_row(const findings *f, const outcome *o)
{
    printf("W%d  %-18s %6.2f  %9.2e %6.3f  %9.2e %6.3f  ", o->bits, o->method, o->bits_a_weight,
           o->calibration, o->over_rtn, o->heldout, o->heldout_over_rtn);
    if (o->bound.violations == 0)
        printf("%7s", "holds");
    else
        printf("%6.2f%%", 100.0 * (double)o->bound.violations / (double)o->bound.weights);
    printf(" %6.3f %6.3f  ", o->bound.worst, o->bound.inflation);
    if (!o->ran)
        printf("%5s %9s", "-", "-");
    else
        printf("%5.2f %9.1e", o->kernel_bound, o->kernel_norm);
    if (f->on_gpu && o->ran)
        printf("  %6.2f %6.2f", o->times.cold, o->times.hot);
    printf("\n");
}

void print_table(const findings *f)
{
    const char *why = NULL;
    int last = f->count > 0 ? f->list[0].bits : 0;
    print_head(f);
    printf("                        bits/   calibration loss    held-out loss     bound "
           "s/2   max    mean  kernel vs reference%s\n",
           f->on_gpu ? "    us at M = 1" : "");
    printf("    method             weight   relative  / RTN   relative  / RTN   broken   "
           "/(s/2) s/s0      c      norm%s\n",
           f->on_gpu ? "    cold    hot" : "");
    for (int i = 0; i < f->count; i++) {
        if (f->list[i].bits != last)
            printf("\n");
        last = f->list[i].bits;
        print_row(f, &f->list[i]);
        if (!f->list[i].ran)
            why = f->list[i].why_not;
    }
    printf(
        "\nloss    |X W^T - X W_F^T|^2 / |X W^T|^2, W_F from the packed bytes; / RTN: over "
        "rounding to nearest\n"
        "bound   |w - w_F| <= s/2 on every weight, in double from the packed bytes: how many "
        "break it, the\n"
        "        largest |w - w_F| over s/2, and the mean growth of the scales. RTN and FBQuant "
        "promise it\n"
        "kernel  c = max |y - ref| / (2^-11 sum |w_F||x|), at most %g; norm = |y - ref| / |ref|, "
        "at most %g\n",
        MOST_KERNEL_BOUND, MOST_KERNEL_NORM);
    if (f->on_gpu)
        printf("us      both kernels, launched back to back; cold: rotating over more than 2 x L2 "
               "of copies\n");
    if (why != NULL)
        printf("-       not run: %s\n", why);
    printf("\n%s\n", findings_good(f) ? "All promises kept."
                                      : "A PROMISE IS BROKEN: see the bound and kernel columns.");
}

static json_t *json_outcome(const findings *f, const outcome *o)
{
    json_t *row = json_pack(
        "{s:s, s:i, s:f, s:{s:f, s:f}, s:{s:f, s:f}, s:{s:b, s:I, s:I, s:f, s:f, s:f}, s:f}",
        "method", o->method, "bits", o->bits, "bits_per_weight", o->bits_a_weight, "calibration",
        "loss", o->calibration, "over_rtn", o->over_rtn, "heldout", "loss", o->heldout, "over_rtn",
        o->heldout_over_rtn, "bound", "promised", o->promises_bound, "weights",
        (json_int_t)o->bound.weights, "violations", (json_int_t)o->bound.violations, "worst",
        o->bound.worst, "mean_inflation", o->bound.inflation, "most_inflation",
        o->bound.most_inflation, "seconds", o->seconds);
    json_t *kernel = o->ran ? json_pack("{s:f, s:f}", "c", o->kernel_bound, "norm", o->kernel_norm)
                            : json_pack("{s:s}", "not_run", o->why_not);
    if (o->ran && f->on_gpu)
        json_object_set_new(kernel, "us_m1",
                            json_pack("{s:f, s:f}", "cold", o->times.cold, "hot", o->times.hot));
    if (row == NULL || json_object_set_new(row, "kernel", kernel) != 0) {
        json_decref(row);
        return NULL;
    }
    return row;
}

int print_json(const findings *f)
{
    const source *s = f->source;
    json_t *rows = json_array();
    for (int i = 0; i < f->count; i++)
        if (json_array_append_new(rows, json_outcome(f, &f->list[i])) != 0) {
            json_decref(rows);
            return 0;
        }
    json_t *root = json_pack(
        "{s:s, s:b, s:I, s:I, s:i, s:i, s:i, s:i, s:I, s:I, s:f, s:s, s:b, s:s, s:b, s:o}", "layer",
        s->description, "generated", s->generated, "outputs", (json_int_t)s->n, "inputs",
        (json_int_t)s->k, "group", f->arguments->group, "rank", f->arguments->rank, "steps",
        f->arguments->steps, "seed", f->arguments->seed, "calibration_tokens",
        (json_int_t)s->calibration_tokens, "heldout_tokens", (json_int_t)s->heldout_tokens,
        "heldout_unseen", s->unseen, "device", f->device, "gpu", f->on_gpu, "why_cpu", f->why_cpu,
        "good", findings_good(f), "results", rows);
    if (root == NULL)
        return 0;
    const int done = json_dumpf(root, stdout, JSON_INDENT(2)) == 0;
    printf("\n");
    json_decref(root);
    return done;
}
