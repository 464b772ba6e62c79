/* tests/support/plain.h: a layer as plain arrays, before it is packed, and host buffers with guard
 * zones.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_PLAIN_H
#define FBQ_TESTS_PLAIN_H

#include <fbq/fbq.h>

/* What fbq_pack_* take; stride and ranks as they count them. */
typedef struct plain {
    fbq_layout layout;
    uint8_t *codes;   /* n x k */
    uint16_t *scales; /* n x groups */
    void *zeros;      /* n x groups, NULL for FBQ_ZERO_NONE */
    uint16_t *a;      /* ranks x k */
    uint16_t *b;      /* n x stride; words beyond a segment's rank are NaN */
    int64_t ranks, stride;
} plain;

/* Any words that are finite: every bit pattern is worth packing. Aborts where there is no layout.
 */
plain plain_make(const fbq_format *format, const fbq_shape *shape, uint64_t seed);
void plain_free(plain *p);

/* Two segments or three with ranks of their own, for tests that want more than fbq_shape_of. */
fbq_shape plain_shape(int segments, int64_t n, int64_t k, int64_t r);

/* `bytes` of host memory inside guard zones, filled with 0xa5. Its first byte is at an odd address:
 * host calls promise to take any. */
void *guarded_make(size_t bytes);
/* 1 when the zones are untouched. */
int guarded_whole(const void *memory);
void guarded_free(void *memory);

#endif
