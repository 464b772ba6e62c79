/* quantise.c: one group at a time, in double.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "quantise.h"
#include "calibrate.h"

#include <fbq/host/half.h>
#include <math.h>

/* fp16 numbers below 1024 are at most a half apart, so rounding z moves a group's ends by at most a
 * quarter of a step, and half a step is what the end codes have to spare. */
#define LARGEST_ZERO 1024.0

uint16_t quantise_round_up(double value)
{
    uint16_t h = fbq_f16_of_f32((float)value);
    /* Non-negative fp16 numbers are ordered as their bits are. The conversion to float may have
     * rounded as well, either way; the comparisons are with the double. */
    if (h < 0x7c00 && (double)fbq_f32_of_f16(h) < value)
        h++;
    else if (h > 0 && h <= 0x7c00 && value <= (double)fbq_f32_of_f16((uint16_t)(h - 1)))
        h--;
    return h;
}

int64_t quantise_group_size(const fbq_format *format, int64_t k)
{
    return format->group == FBQ_GROUP_ROW ? k : format->group;
}

int64_t quantise_groups(const fbq_format *format, int64_t k)
{
    const int64_t size = quantise_group_size(format, k);
    return (k + size - 1) / size;
}

/* The scale and zero point that one group stores. */
typedef struct grid {
    uint16_t scale, zero; /* as stored; zero as fp16 or as an integer */
    double s, z;
} grid;

static grid choose(const fbq_format *format, double low, double high)
{
    const int top = (1 << format->bits) - 1, middle = 1 << (format->bits - 1);
    double s;
    grid g = {0};
    if (format->zero == FBQ_ZERO_NONE) {
        s = fmax(-low / middle, high / (top - middle));
    } else if (format->zero == FBQ_ZERO_CODE) {
        low = fmin(low, 0);
        high = fmax(high, 0);
        s = (high - low) / top;
    } else {
        s = fmax((high - low) / top, fmax(fabs(low), fabs(high)) / LARGEST_ZERO);
    }
    /* A group of zeros has no scale of its own: any will do, but 0 would divide by zero. */
    g.scale = s > 0 ? quantise_round_up(s) : fbq_f16_of_f32(1.0f);
    g.s = fbq_f32_of_f16(g.scale);
    if (format->zero == FBQ_ZERO_NONE) {
        g.z = middle;
    } else if (format->zero == FBQ_ZERO_CODE) {
        g.zero = (uint16_t)(-low / g.s + 0.5);
        g.z = g.zero;
    } else {
        g.zero = fbq_f16_of_f32((float)(-low / g.s));
        g.z = fbq_f32_of_f16(g.zero);
    }
    return g;
}

fbq_status quantise(const fbq_format *format, int64_t n, int64_t k, const double *v, uint8_t *codes,
                    uint16_t *scales, void *zeros, double *values, fbq_error *error)
{
    const int64_t size = quantise_group_size(format, k), groups = quantise_groups(format, k);
    const double top = (1 << format->bits) - 1;
    for (int64_t row = 0; row < n; row++) {
        for (int64_t j = 0; j < groups; j++) {
            const int64_t first = row * k + j * size;
            const int64_t last = row * k + (j == groups - 1 ? k : (j + 1) * size);
            double low = v[first], high = v[first], finite = 0;
            for (int64_t i = first; i < last; i++) {
                low = v[i] < low ? v[i] : low;
                high = v[i] > high ? v[i] : high;
                finite += v[i] - v[i]; /* infinity or NaN makes this NaN, and it stays */
            }
            const grid g = choose(format, low, high);
            if (finite != 0 || g.scale >= 0x7c00)
                return calibrate_fail(error, FBQ_ERR_CODE,
                                      "row %lld, group %lld ranges from %g to %g, which no fp16 "
                                      "scale can hold: check the weights",
                                      (long long)row, (long long)j, low, high);
            if (scales != NULL)
                scales[row * groups + j] = g.scale;
            if (zeros != NULL && format->zero == FBQ_ZERO_CODE)
                ((uint8_t *)zeros)[row * groups + j] = (uint8_t)g.zero;
            else if (zeros != NULL && format->zero == FBQ_ZERO_F16)
                ((uint16_t *)zeros)[row * groups + j] = g.zero;
            for (int64_t i = first; i < last; i++) {
                /* Adding a half and cutting off is rounding here, since nothing is below -1/2. */
                double q = (double)(int)(v[i] / g.s + g.z + 0.5);
                q = q > top ? top : q;
                if (codes != NULL)
                    codes[i] = (uint8_t)q;
                if (values != NULL)
                    values[i] = g.s * (q - g.z);
            }
        }
    }
    return FBQ_OK;
}
