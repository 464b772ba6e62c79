/* tests/support/draw.c: see draw.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw.h"

#include "layer.h"

int draw_below(uint64_t *random, int n)
{
    return (int)(random_bits(random) % (uint64_t)n);
}

static fbq_type draw_type(uint64_t *random)
{
    return draw_below(random, 2) ? FBQ_BF16 : FBQ_F16;
}

static fbq_format draw_format(uint64_t *random)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    fbq_format format;
    format.bits = 2 + draw_below(random, 3);
    format.group = groups[draw_below(random, 5)];
    format.zero = (fbq_zero)draw_below(random, 3);
    format.scale_type = draw_type(random);
    format.factor_type = draw_below(random, 3) ? draw_type(random) : FBQ_I8;
    return format;
}

/* Half of the sizes have no ragged end. */
static fbq_shape draw_shape(uint64_t *random)
{
    static const int64_t ranks[] = {0, 1, 16, 40, 128, 200};
    /* one by one: the order among arguments would be the compiler's */
    const int64_t n = 1 + draw_below(random, 6000);
    const int64_t k = 64 + draw_below(random, 12000 - 64 + 1);
    const int64_t r = ranks[draw_below(random, 6)];
    const int64_t unit = draw_below(random, 2) ? 1 : 64 << draw_below(random, 2);
    return fbq_shape_of(n, k < unit ? unit : k / unit * unit, r);
}

/* Most are of x's type, so that y may be the next layer's x. */
static fbq_type draw_y_type(uint64_t *random, fbq_type x_type)
{
    const int drawn = draw_below(random, 6);
    if (drawn == 0)
        return FBQ_F32;
    if (drawn == 1)
        return x_type == FBQ_F16 ? FBQ_BF16 : FBQ_F16;
    return x_type;
}

fbq_problem draw_problem(uint64_t *random)
{
    static const int rows[] = {1, 4, 8, 16};
    fbq_problem p;
    p.format = draw_format(random);
    p.shape = draw_shape(random);
    p.x_type = draw_type(random);
    p.y_type = draw_y_type(random, p.x_type);
    p.m_max = rows[draw_below(random, 4)];
    p.launches = draw_below(random, 3);
    p.batch_invariant = 0;
    return p;
}
