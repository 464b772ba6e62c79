// tests/simt/simt_arithmetic.cc: do the CPU bodies of integer, bit and fp16 instructions compute
// what the GPU's do? Against plain code, written from the instructions' descriptions.
//
// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include "f16.h"

#include <cmath>
#include <cstdint>
#include <vector>

namespace
{

u32 state = 1;
u32 next_u32()
{
    state = state * 1664525u + 1013904223u;
    u32 high = state >> 16;
    state = state * 1664525u + 1013904223u;
    return high << 16 | state >> 16;
}

// ---- The tensor core on bytes ----

u32 four(int b0, int b1, int b2, int b3)
{
    return (u32)(b0 & 255) | (u32)(b1 & 255) << 8 | (u32)(b2 & 255) << 16 | (u32)(b3 & 255) << 24;
}

struct bytes_product {
    int a[16][32], b[32][8]; // 0 .. 255 and -128 .. 127
    int c[16][8];
};

// One lane's part: the fragments are taken from, and put back to, `p`.
void lane_product(bytes_product &p)
{
    int g = thread_index() / 4, t = thread_index() % 4;
    auto row = [&](int r, int k) {
        return four(p.a[r][k], p.a[r][k + 1], p.a[r][k + 2], p.a[r][k + 3]);
    };
    auto column = [&](int k) {
        return four(p.b[k][g], p.b[k + 1][g], p.b[k + 2][g], p.b[k + 3][g]);
    };
    int c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = p.c[g + i / 2 * 8][2 * t + i % 2];
    }
    mma_s8(c, row(g, 4 * t), row(g + 8, 4 * t), row(g, 4 * t + 16), row(g + 8, 4 * t + 16),
           column(4 * t), column(4 * t + 16));
    for (int i = 0; i < 4; i++) {
        p.c[g + i / 2 * 8][2 * t + i % 2] = c[i];
    }
}

void mma_bytes(void **)
{
    for (int round = 0; round < 8; round++) {
        bytes_product start;
        for (auto &row : start.a) {
            for (int &v : row) {
                v = round ? (int)(next_u32() & 255) : 255;
            }
        }
        for (auto &row : start.b) {
            for (int &v : row) {
                v = round ? (int)(next_u32() & 255) - 128 : -128;
            }
        }
        for (auto &row : start.c) {
            for (int &v : row) {
                v = (int)(next_u32() >> 2) - (1 << 29);
            }
        }
        bytes_product got;
        expect(clean, shape(1, 32, 0), [&] {
            if (thread_index() == 0) {
                got = start;
            }
            sync_warp();
            lane_product(got);
        });
        for (int i = 0; i < 16; i++) {
            for (int j = 0; j < 8; j++) {
                int sum = start.c[i][j];
                for (int k = 0; k < 32; k++) {
                    sum += start.a[i][k] * start.b[k][j];
                }
                assert_int_equal(got.c[i][j], sum);
            }
        }
    }
}

void mma_bytes_overflow(void **)
{
    for (int sign = -1; sign <= 1; sign += 2) {
        // 32 products of 255 and 127 or -128, so that the last accumulator that fits is known.
        int factor = sign > 0 ? 127 : -128, sum = 32 * 255 * factor;
        int last = sign > 0 ? INT32_MAX - sum : INT32_MIN - sum;
        for (int past = 0; past < 2; past++) {
            int first = 0, wrapped = 0;
            expect(past ? (int)kind::overflow : clean, shape(1, 32, 0), [&] {
                int c[4] = {last + sign * past, 0, 0, 0};
                u32 b = four(factor, factor, factor, factor);
                mma_s8(c, ~0u, ~0u, ~0u, ~0u, b, b);
                first = c[0];
                wrapped = c[1];
            });
            assert_int_equal(wrapped, sum);
            int limit = sign > 0 ? INT32_MAX : INT32_MIN, other = sign > 0 ? INT32_MIN : INT32_MAX;
            assert_int_equal(first, past ? other : limit);
        }
    }
}

// ---- The largest of a warp ----

void warp_maximum(void **)
{
    std::vector<u32> value(64), got(64);
    for (int where = 0; where < 64; where += 9) {
        for (u32 &v : value) {
            v = next_u32() >> 1;
        }
        value[(unsigned)where] = 0x80000000u + (u32)where; // unsigned, so larger than the others
        expect(clean, shape(1, 64, 0), [&] {
            unsigned t = (unsigned)thread_index();
            got[t] = warp_max_u32(value[t]);
        });
        for (unsigned t = 0; t < 64; t++) {
            u32 largest = 0;
            for (unsigned l = t / 32 * 32; l < t / 32 * 32 + 32; l++) {
                largest = value[l] > largest ? value[l] : largest;
            }
            assert_int_equal(got[t], largest);
        }
    }
}

// All lanes must come, and to the same instruction.
void collectives_checked(void **)
{
    int c[4] = {};
    expect(kind::divergence, shape(1, 32, 0), [=] {
        int mine[4] = {c[0], c[1], c[2], c[3]};
        if (thread_index() < 16) {
            mma_s8(mine, 0, 0, 0, 0, 0, 0);
        } else {
            mma_s8(mine, 0, 0, 0, 0, 0, 0);
        }
    });
    // On one line, so that only the instruction differs.
    // clang-format off
    expect(kind::divergence, shape(1, 32, 0), [] {
        float f[4] = {};
        int i[4] = {};
        if (thread_index() < 16) { mma_s8(i, 0, 0, 0, 0, 0, 0); } else { mma_f16(f, 0, 0, 0, 0, 0, 0); }
    });
    // clang-format on
    expect(kind::divergence, shape(1, 32, 0), [] {
        if (thread_index() < 16) {
            warp_max_u32(1);
        } else {
            warp_max_u32(1);
        }
    });
    expect(kind::exited, shape(1, 32, 0), [] {
        if (thread_index() != 3) {
            warp_max_u32(1);
        }
    });
    expect(kind::exited, shape(1, 32, 0), [] {
        int mine[4] = {};
        if (thread_index() != 3) {
            mma_s8(mine, 0, 0, 0, 0, 0, 0);
        }
    });
    // As shuffles, they order no memory.
    expect_either(kind::shared_race, kind::shared_uninitialised, shape(1, 32, 128), [] {
        sts_u32(word(thread_index()), 1);
        warp_max_u32(1);
        lds_u32(word(thread_index() ^ 1));
    });
}

// ---- Bits ----

void bits(void **)
{
    for (int i = 0; i < 1000; i++) {
        u32 a = next_u32(), b = next_u32();
        u32 masked = and_xor<0x00f0f00fu, 0x64006408u>(a);
        for (int bit = 0; bit < 32; bit++) {
            bool kept = (0x00f0f00fu >> bit & 1) && (a >> bit & 1);
            bool flipped = 0x64006408u >> bit & 1;
            assert_int_equal(masked >> bit & 1, kept != flipped);
        }
        u8 bytes[8];
        for (int k = 0; k < 4; k++) {
            bytes[k] = (u8)(a >> 8 * k);
            bytes[4 + k] = (u8)(b >> 8 * k);
        }
        assert_int_equal(permute_bytes<0x3210>(a, b), a);
        assert_int_equal(permute_bytes<0x7654>(a, b), b);
        assert_int_equal(permute_bytes<0x5140>(a, b), four(bytes[0], bytes[4], bytes[1], bytes[5]));
        assert_int_equal(permute_bytes<0x7362>(a, b), four(bytes[2], bytes[6], bytes[3], bytes[7]));
        assert_int_equal(permute_bytes<0x0321>(a, a), a >> 8 | a << 24);
        int sum = (int)(b >> 4);
        for (int k = 0; k < 4; k++) {
            sum += (signed char)bytes[k] * (signed char)bytes[4 + k];
        }
        assert_int_equal(dot4_s8(a, b, (int)(b >> 4)), sum);
    }
}

// ---- Numbers ----

void larger_halves(void **)
{
    std::vector<u32> numbers = {0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00,
                                0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7c01, 0xfe00, 0x7fff};
    for (int i = 0; i < 200; i++) {
        numbers.push_back(next_u32() & 0xffffu);
    }
    for (u32 a : numbers) {
        for (u32 b : numbers) {
            float x = simt::f32_of_f16(a), y = simt::f32_of_f16(b);
            u32 larger = x > y || (x == y && !std::signbit(x)) ? a : b;
            if (std::isnan(x) || std::isnan(y)) {
                larger = 0x7fff;
            }
            // The other half must not matter, nor where the pair stands.
            assert_int_equal(larger_f16x2(a | 0x3c000000u, b | 0xbc000000u), larger | 0x3c000000u);
            assert_int_equal(larger_f16x2(a << 16 | 0x7c00u, b << 16), larger << 16 | 0x7c00u);
        }
    }
    assert_int_equal(larger_f16x2(0x80000000u, 0x00008000u), 0); // +0 is larger than -0
}

void integers_to_floats(void **)
{
    assert_true(f32_of_s32(0) == 0.0f);
    assert_true(f32_of_s32(-1) == -1.0f);
    assert_true(f32_of_s32(INT32_MIN) == -0x1p31f);
    // Halfway goes to the even one.
    assert_true(f32_of_s32((1 << 24) + 1) == 0x1p24f);
    assert_true(f32_of_s32((1 << 24) + 3) == 0x1p24f + 4);
    assert_true(f32_of_s32(-(1 << 24) - 3) == -0x1p24f - 4);
}

// ---- Shared memory of other widths ----

void shared_widths(void **)
{
    expect(clean, shape(1, 32, 256), [] {
        int t = thread_index();
        sts_u32x2(word(2 * t), 0x03020100u + 0x04040404u * (u32)t, ~(u32)t);
        sync_warp();
        int other = 31 - t;
        u32x2 v = lds_u32x2(word(2 * other));
        assert_int_equal(v.x, 0x03020100u + 0x04040404u * (u32)other);
        assert_int_equal(v.y, ~(u32)other);
        assert_int_equal(lds_u32(word(2 * other + 1)), v.y);
        for (u32 i = 0; i < 4; i++) {
            assert_int_equal(lds_u8(word(2 * other) + i), 4 * (u32)other + i);
        }
        sync_warp();
        sts_u32(word(t), 7u * (u32)t);
        sync_warp();
        assert_int_equal(lds_u32(word(other)), 7u * (u32)other);
    });
    expect(kind::shared_alignment, shape(1, 32, 512),
           [] { sts_u32x2(word(2 * thread_index() + 1), 0, 0); });
    expect(kind::shared_alignment, shape(1, 32, 256), [] { lds_u32x2(word(1)); });
    expect(kind::shared_alignment, shape(1, 32, 256), [] { lds_u32(smem() + 2); });
    expect(kind::shared_bounds, shape(1, 32, 7), [] { lds_u8(smem() + 7); });
    expect(kind::shared_uninitialised, shape(1, 32, 7), [] { lds_u8(smem() + 6); });
    // Reads of single bytes race with a write of their word, in either order.
    expect(kind::shared_race, shape(1, 64, 4), [] {
        if (thread_index() == 5) {
            sts_u32(smem(), 1);
        }
        sync_block();
        if (thread_index() < 4) {
            lds_u8(smem() + (u32)thread_index());
        } else if (thread_index() == 40) {
            sts_u32(smem(), 2);
        }
    });
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(mma_bytes),
        cmocka_unit_test(mma_bytes_overflow),
        cmocka_unit_test(warp_maximum),
        cmocka_unit_test(collectives_checked),
        cmocka_unit_test(bits),
        cmocka_unit_test(larger_halves),
        cmocka_unit_test(integers_to_floats),
        cmocka_unit_test(shared_widths),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
