/* quantise.h: the linear quantiser Q, min-max over groups, in the number types that are stored.
 *
 * A group's scale is (max - min) / (2^bits - 1), rounded UP to fp16, and its codes are then made
 * against the stored scale and zero point. So every weight is within half a stored step of its
 * quantised self, |v - s (q - z)| <= s / 2, and nothing is clipped: scales rounded to nearest break
 * that by up to 1.2 % at 4 bits. Per kind of zero point:
 *
 *   FBQ_ZERO_NONE   the scale is the smallest that reaches both ends from the fixed zero point
 *   FBQ_ZERO_CODE   the range is extended to hold 0, so that the integer z lies in 0 .. 2^bits - 1
 *   FBQ_ZERO_F16    z = -min / s in fp16; the scale is at least max|v| / 1024, so that z keeps
 * steps of at most a half and its rounding stays inside the bound
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef QUANTISE_H
#define QUANTISE_H

#include <fbq/types.h>

/* The smallest fp16 number that is not below `value`, for finite value >= 0; infinity (0x7c00)
 * above 65504. */
uint16_t quantise_round_up(double value);

/* Codes in a group, and groups of a row of k. */
int64_t quantise_group_size(const fbq_format *format, int64_t k);
int64_t quantise_groups(const fbq_format *format, int64_t k);

/* Quantise n rows of k numbers. Any of codes (n x k), scales and zeros (n x groups) and values (n x
 * k, s (q - z) in double) may be NULL. The group size may be any positive number here, or
 * FBQ_GROUP_ROW. FBQ_ERR_CODE when a number is not finite or a scale is beyond fp16. */
fbq_status quantise(const fbq_format *format, int64_t n, int64_t k, const double *v, uint8_t *codes,
                    uint16_t *scales, void *zeros, double *values, fbq_error *error);

#endif /* QUANTISE_H */
