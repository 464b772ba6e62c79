/* bound.c: the bound, weight by weight.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bound.h"
#include "quantise.h"

#include <fbq/host/half.h>
#include <math.h>
#include <stdlib.h>

static void compare(const fbq_layout *l, const float *w, const double *reconstructed,
                    const uint16_t *scales, const uint16_t *plain, bound_report *report)
{
    const int64_t k = l->shape.k;
    double inflation = 0;
    *report = (bound_report){.weights = l->n * k};
    for (int64_t row = 0; row < l->n; row++) {
        for (int64_t i = 0; i < k; i++) {
            const double s =
                fbq_f32_of_word(l->format.scale_type, scales[row * l->groups + i / l->group_size]);
            const double part = fabs(w[row * k + i] - reconstructed[row * k + i]) / (s / 2);
            if (!(part <= 1 + BOUND_TOLERANCE)) /* NaN is a violation */
                report->violations++;
            if (!(part <= report->worst))
                report->worst = part;
        }
        for (int64_t j = 0; j < l->groups; j++) {
            const double s = fbq_f32_of_word(l->format.scale_type, scales[row * l->groups + j]);
            const double part = s / fbq_f32_of_f16(plain[row * l->groups + j]);
            inflation += part;
            if (part > report->most_inflation)
                report->most_inflation = part;
        }
    }
    report->inflation = inflation / (double)(l->n * l->groups);
}

fbq_status bound_check(const fbq_parts *parts, const float *w, bound_report *report,
                       fbq_error *error)
{
    fbq_layout l;
    if (parts == NULL || w == NULL || report == NULL)
        return calibrate_fail(error, FBQ_ERR_NULL, "%s is NULL",
                              parts == NULL ? "parts"
                              : w == NULL   ? "w"
                                            : "report");
    fbq_status status = fbq_layout_read(parts->weights, parts->weights_bytes, NULL, &l, error);
    if (status != FBQ_OK)
        return status;
    const size_t count = (size_t)(l.n * l.shape.k), groups = (size_t)(l.n * l.groups);
    double *reconstructed = malloc(count * sizeof *reconstructed);
    double *original = malloc(count * sizeof *original);
    uint16_t *scales = malloc(groups * sizeof *scales), *plain = malloc(groups * sizeof *plain);
    if (reconstructed == NULL || original == NULL || scales == NULL || plain == NULL)
        status = calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the bound's check");
    if (status == FBQ_OK)
        status =
            fbq_unpack_weights(parts->weights, parts->weights_bytes, NULL, scales, NULL, error);
    if (status == FBQ_OK)
        status = fbq_reconstruct(parts, 0, l.n, reconstructed, error);
    if (status == FBQ_OK) {
        for (size_t i = 0; i < count; i++)
            original[i] = w[i];
        status = quantise(&l.format, l.n, l.shape.k, original, NULL, plain, NULL, NULL, error);
    }
    if (status == FBQ_OK)
        compare(&l, w, reconstructed, scales, plain, report);
    free(reconstructed);
    free(original);
    free(scales);
    free(plain);
    return status;
}
