/* bench/compare.c: fbq-bench-compare: is B faster than A, slower, or can nobody tell?
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "results.h"

/* Two runs on the same machine differ by so much however small the spread within each: clocks,
 * placement in memory. */
#define LEAST_MARGIN 0.02

static int usage(int help)
{
    fprintf(
        help ? stdout : stderr,
        "usage: fbq-bench-compare [--fail-on-slower] A.json B.json\n"
        "For each benchmark in both files: how much faster or slower B is than A. A difference\n"
        "within the larger spread of the two, or within %.0f %%, is called ambiguous.\n"
        "Exit status: 0, or 1 when a file cannot be read, or with --fail-on-slower when a\n"
        "benchmark is slower, fails or is missing in B; 2 wrong usage.\n",
        100 * LEAST_MARGIN);
    return help ? 0 : 2;
}

static void warn(const char *what, const char *a, const char *b)
{
    if (strcmp(a, b))
        fprintf(stderr, "warning: %s differs: \"%s\" and \"%s\"\n", what, a, b);
}

/* Print one line; 1 when B is worse for certain. */
static int compare(const entry *a, const entry *b, int count[3])
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", a->variant, a->problem);
    if (!b || a->failed || b->failed) {
        printf("%-52s %s\n", name, !b ? "missing in B" : a->failed ? "failed in A" : "FAILED in B");
        return !a->failed;
    }
    double margin = LEAST_MARGIN, change = b->us / a->us - 1;
    if (a->spread > margin)
        margin = a->spread;
    if (b->spread > margin)
        margin = b->spread;
    int verdict = change < -margin ? 0 : change > margin ? 1 : 2;
    count[verdict]++;
    printf("%-52s %9.2f %9.2f us %+7.1f %%  %s\n", name, a->us, b->us, 100 * change,
           verdict == 0   ? "faster"
           : verdict == 1 ? "SLOWER"
                          : "ambiguous");
    return verdict == 1;
}

int main(int argc, char **argv)
{
    results a, b;
    int strict = argc > 1 && !strcmp(argv[1], "--fail-on-slower"), count[3] = {0, 0, 0}, worse = 0;
    if (argc == 2 && !strcmp(argv[1], "--help"))
        return usage(1);
    if (argc != 3 + strict)
        return usage(0);
    if (results_read(argv[1 + strict], &a))
        return 1;
    if (results_read(argv[2 + strict], &b)) {
        results_free(&a);
        return 1;
    }
    warn("the GPU", a.gpu, b.gpu);
    warn("the driver", a.driver, b.driver);
    warn("the toolkit", a.toolkit, b.toolkit);
    warn("cold or hot", a.weights, b.weights);
    for (size_t i = 0; i < a.count; i++)
        worse += compare(&a.entries[i],
                         results_find(&b, a.entries[i].variant, a.entries[i].problem), count);
    for (size_t i = 0; i < b.count; i++)
        if (!results_find(&a, b.entries[i].variant, b.entries[i].problem))
            printf("%s/%s is new in B\n", b.entries[i].variant, b.entries[i].problem);
    printf("%d faster, %d slower, %d ambiguous\n", count[0], count[1], count[2]);
    results_free(&a);
    results_free(&b);
    return strict && worse;
}
