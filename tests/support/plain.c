/* tests/support/plain.c: see plain.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "layer.h"

#define GUARD 65 /* odd */
#define GUARD_BYTE 0xc3
#define FRESH_BYTE 0xa5

static void *take(int64_t count, size_t size)
{
    void *memory = calloc(count > 0 ? (size_t)count : 1, size);
    if (!memory) {
        fprintf(stderr, "tests: no memory for %lld x %zu bytes\n", (long long)count, size);
        abort();
    }
    return memory;
}

static uint16_t finite_word(fbq_type type, uint64_t *state)
{
    const uint16_t exponent = type == FBQ_F16 ? 0x7c00 : 0x7f80;
    uint16_t word;
    do
        word = (uint16_t)random_bits(state);
    while ((word & exponent) == exponent);
    return word;
}

plain plain_make(const fbq_format *format, const fbq_shape *shape, uint64_t seed)
{
    plain p;
    fbq_error error;
    uint64_t state = seed;
    memset(&p, 0, sizeof p);
    if (fbq_layout_of(format, shape, &p.layout, &error) != FBQ_OK) {
        fprintf(stderr, "tests: %s\n", error.detail);
        abort();
    }
    const int64_t n = p.layout.n, k = shape->k, groups = n * p.layout.groups;
    const unsigned levels = 1u << format->bits;
    p.codes = take(n * k, 1);
    for (int64_t i = 0; i < n * k; i++)
        p.codes[i] = (uint8_t)(random_bits(&state) % levels);
    p.scales = take(groups, 2);
    for (int64_t i = 0; i < groups; i++)
        p.scales[i] = finite_word(format->scale_type, &state);
    if (format->zero != FBQ_ZERO_NONE)
        p.zeros = take(groups, 2);
    for (int64_t i = 0; p.zeros && i < groups; i++)
        if (format->zero == FBQ_ZERO_CODE)
            ((uint8_t *)p.zeros)[i] = (uint8_t)(random_bits(&state) % levels);
        else
            ((uint16_t *)p.zeros)[i] = finite_word(FBQ_F16, &state);
    for (int s = 0; s < shape->segments; s++) {
        const int64_t r = shape->segment[s].r;
        p.ranks += r;
        p.stride = r > p.stride ? r : p.stride;
    }
    p.stride += 3;
    p.a = take(p.ranks * k, 2);
    for (int64_t i = 0; i < p.ranks * k; i++)
        p.a[i] = finite_word(format->factor_type, &state);
    p.b = take(n * p.stride, 2);
    for (int64_t row = 0, s = 0, first = 0; row < n; row++) {
        while (row >= first + shape->segment[s].n)
            first += shape->segment[s++].n;
        for (int64_t j = 0; j < p.stride; j++)
            p.b[row * p.stride + j] =
                j < shape->segment[s].r ? finite_word(format->factor_type, &state) : 0x7fff;
    }
    return p;
}

void plain_free(plain *p)
{
    free(p->codes);
    free(p->scales);
    free(p->zeros);
    free(p->a);
    free(p->b);
    memset(p, 0, sizeof *p);
}

fbq_shape plain_shape(int segments, int64_t n, int64_t k, int64_t r)
{
    fbq_shape shape = fbq_shape_of(n, k, r);
    shape.segments = segments;
    if (segments > 1)
        shape.segment[1] = (fbq_segment){n / 2 + 1, r ? 0 : 5};
    if (segments > 2)
        shape.segment[2] = (fbq_segment){18, 2 * r + 1};
    return shape;
}

/* The size stands before the first zone. */
void *guarded_make(size_t bytes)
{
    uint8_t *base = take((int64_t)(sizeof bytes + bytes + 2 * GUARD), 1);
    memcpy(base, &bytes, sizeof bytes);
    memset(base + sizeof bytes, GUARD_BYTE, bytes + 2 * GUARD);
    memset(base + sizeof bytes + GUARD, FRESH_BYTE, bytes);
    return base + sizeof bytes + GUARD;
}

int guarded_whole(const void *memory)
{
    const uint8_t *at = memory;
    size_t bytes;
    memcpy(&bytes, at - GUARD - sizeof bytes, sizeof bytes);
    for (size_t i = 0; i < GUARD; i++)
        if (at[-1 - (ptrdiff_t)i] != GUARD_BYTE || at[bytes + i] != GUARD_BYTE)
            return 0;
    return 1;
}

void guarded_free(void *memory)
{
    if (memory)
        free((uint8_t *)memory - GUARD - sizeof(size_t));
}
