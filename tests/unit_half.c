/* tests/unit_half.c: fp16 and bf16 words, against arithmetic in double.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fbq/host/half.h>

static const fbq_type types[] = {FBQ_F16, FBQ_BF16};

static int mantissa_bits(fbq_type type)
{
    return type == FBQ_F16 ? 10 : 7;
}

static uint16_t infinity_of(fbq_type type)
{
    return type == FBQ_F16 ? 0x7c00 : 0x7f80;
}

/* The value of a word from the definition of the format, not from half.h's bit tricks. */
static double value_of(fbq_type type, uint16_t word)
{
    const int bits = mantissa_bits(type), bias = type == FBQ_F16 ? 15 : 127;
    const int exponent = (word & 0x7fff) >> bits, mantissa = word & ((1 << bits) - 1);
    const double magnitude = exponent == 0 ? ldexp(mantissa, 1 - bias - bits)
                                           : ldexp(mantissa + (1 << bits), exponent - bias - bits);
    return word & 0x8000 ? -magnitude : magnitude;
}

static int is_nan(fbq_type type, uint16_t word)
{
    return (word & 0x7fff) > infinity_of(type);
}

static void test_every_word(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        for (uint32_t w = 0; w < 65536; w++) {
            const uint16_t word = (uint16_t)w, inf = infinity_of(types[i]);
            const float value = fbq_f32_of_word(types[i], word);
            if (is_nan(types[i], word)) {
                assert_true(isnan(value));
                assert_true(is_nan(types[i], fbq_word_of_f32(types[i], value)));
                assert_int_equal(fbq_word_of_f32(types[i], value) & 0x8000, word & 0x8000);
                continue;
            }
            if ((word & 0x7fff) == inf)
                assert_true(isinf(value) && (value < 0) == (word >> 15));
            else
                assert_true((double)value == value_of(types[i], word));
            assert_int_equal(!!signbit(value), word >> 15); /* -0, too */
            assert_int_equal(fbq_word_of_f32(types[i], value), word);
        }
}

static void check_rounding(fbq_type type, float value, uint16_t expected)
{
    assert_int_equal(fbq_word_of_f32(type, value), expected);
    assert_int_equal(fbq_word_of_f32(type, -value), expected | 0x8000);
}

/* Between every two neighbours: the middle goes to the even word, the floats next to it to the
 * nearer one. The last pair is the largest number and 2^16 or 2^128, from whose middle on the
 * result is infinity. */
static void test_ties(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        for (uint16_t low = 0; low < infinity_of(types[i]); low++) {
            const uint16_t high = (uint16_t)(low + 1);
            const float middle = (float)((value_of(types[i], low) + value_of(types[i], high)) / 2);
            check_rounding(types[i], middle, low & 1 ? high : low);
            check_rounding(types[i], nextafterf(middle, 0), low);
            check_rounding(types[i], nextafterf(middle, INFINITY), high);
        }
}

static void test_edges(void **state)
{
    (void)state;
    check_rounding(FBQ_F16, 65504.0f, 0x7bff);
    check_rounding(FBQ_F16, 65519.996f, 0x7bff);
    check_rounding(FBQ_F16, 65520.0f, 0x7c00);
    check_rounding(FBQ_F16, 3.4e38f, 0x7c00);
    check_rounding(FBQ_F16, INFINITY, 0x7c00);
    check_rounding(FBQ_F16, ldexpf(1, -24), 1);
    check_rounding(FBQ_F16, ldexpf(1, -25), 0); /* a tie with 0, which is even */
    check_rounding(FBQ_F16, ldexpf(1.0001f, -25), 1);
    check_rounding(FBQ_F16, ldexpf(3, -25), 2);
    check_rounding(FBQ_F16, ldexpf(1, -149), 0);
    check_rounding(FBQ_F16, ldexpf(1, -14), 0x400);
    check_rounding(FBQ_F16, nextafterf(ldexpf(1, -14), 0), 0x400);
    check_rounding(FBQ_BF16, INFINITY, 0x7f80);
    check_rounding(FBQ_BF16, 3.4028234e38f, 0x7f80); /* above bf16's largest by most of a step */
    check_rounding(FBQ_BF16, 3.3895314e38f, 0x7f7f);
    check_rounding(FBQ_BF16, ldexpf(1, -133), 1); /* bf16's smallest subnormal */
    check_rounding(FBQ_BF16, ldexpf(1, -149), 0);
    /* NaNs whose payload lies below the bits that are kept must not turn into infinity */
    assert_true(is_nan(FBQ_F16, fbq_f16_of_f32(fbq_f32_of_bits(0x7f800001u))));
    assert_true(is_nan(FBQ_BF16, fbq_bf16_of_f32(fbq_f32_of_bits(0x7f800001u))));
    assert_true(is_nan(FBQ_BF16, fbq_bf16_of_f32(fbq_f32_of_bits(0xffffffffu))));
}

/* The smallest word not below: checked just below, on and just above every word. */
static void check_up(fbq_type type, float value)
{
    const uint16_t word = fbq_word_up_of_f32(type, value);
    assert_true(fbq_f32_of_word(type, word) >= value);
    if (word > 0)
        assert_true(value_of(type, (uint16_t)(word - 1)) < (double)value);
}

static void test_up(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        for (uint16_t w = 1; w < infinity_of(types[i]); w++) {
            const float value = fbq_f32_of_word(types[i], w);
            assert_int_equal(fbq_word_up_of_f32(types[i], value), w);
            check_up(types[i], nextafterf(value, 0));
            check_up(types[i], nextafterf(value, INFINITY));
            check_up(types[i],
                     (float)((value_of(types[i], w) + value_of(types[i], (uint16_t)(w + 1))) / 2));
        }
        /* a walk over floats of all magnitudes */
        for (uint32_t bits = 1; bits < 0x7f800000u; bits += 9973)
            check_up(types[i], fbq_f32_of_bits(bits));
        assert_int_equal(fbq_word_up_of_f32(types[i], INFINITY), infinity_of(types[i]));
    }
    assert_int_equal(fbq_word_up_of_f32(FBQ_F16, 65505.0f), 0x7c00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_word),
                                       cmocka_unit_test(test_ties), cmocka_unit_test(test_edges),
                                       cmocka_unit_test(test_up)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
