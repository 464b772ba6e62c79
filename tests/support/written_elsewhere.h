/* tests/support/written_elsewhere.h: rows of x and y beside the layers that others wrote
 * (tests/fixtures/make_gptqmodel.py). Include after cmocka.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef WRITTEN_ELSEWHERE_H
#define WRITTEN_ELSEWHERE_H

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <safetensors.h>

enum { WRITTEN_N = 64, WRITTEN_K = 96, WRITTEN_GROUP = 32, WRITTEN_ROWS = 3 };

static inline const safetensors_tensor *written_tensor(const safetensors_file *file,
                                                       const char *prefix, const char *name,
                                                       safetensors_type type, uint64_t d0,
                                                       uint64_t d1)
{
    char whole[64];
    snprintf(whole, sizeof whole, "%s.%s", prefix, name);
    const safetensors_tensor *t = safetensors_find(file, whole);
    if (!t || t->type != type || t->dims != 2 || t->dim[0] != d0 || t->dim[1] != d1)
        fail_msg("the fixture has no %s as it should", whole);
    return t;
}

static inline float written_f32(const safetensors_tensor *t, uint64_t i)
{
    const uint32_t bits = safetensors_u32(t, i);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* WRITTEN_ROWS x WRITTEN_K numbers. */
static inline void written_x(const safetensors_file *file, const char *prefix, double *x)
{
    const safetensors_tensor *t =
        written_tensor(file, prefix, "x", SAFETENSORS_F32, WRITTEN_ROWS, WRITTEN_K);
    for (uint64_t i = 0; i < WRITTEN_ROWS * WRITTEN_K; i++)
        x[i] = written_f32(t, i);
}

/* y, WRITTEN_ROWS x WRITTEN_N, is that of the writer, who rounded more than once to numbers of
 * 2^-bits; `size` is what such roundings are relative to. */
static inline void written_judge_y(const safetensors_file *file, const char *prefix,
                                   const double *y, const double *size, int bits)
{
    const safetensors_tensor *t =
        written_tensor(file, prefix, "y", SAFETENSORS_F32, WRITTEN_ROWS, WRITTEN_N);
    for (uint64_t i = 0; i < WRITTEN_ROWS * WRITTEN_N; i++)
        if (!(fabs(y[i] - written_f32(t, i)) <= ldexp(size[i], -bits)))
            fail_msg("%s: y[%d] is %g, %g was expected", prefix, (int)i, y[i], written_f32(t, i));
}

#endif
