/* tests/support/draw.h: problems at random, of every format and type.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_DRAW_H
#define FBQ_TESTS_DRAW_H

#include <fbq/fbq.h>

/* 0 .. n - 1, from the generator of layer.h. */
int draw_below(uint64_t *random, int n);

/* Up to 6,000 x 12,000, any rank up to 200 and up to 16 rows. `launches` may be one that the
 * library has no pick for. */
fbq_problem draw_problem(uint64_t *random);

#endif
