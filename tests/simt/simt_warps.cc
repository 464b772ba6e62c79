// tests/simt/simt_warps.cc: does the machine know what barriers of some warps order, and what they
// do not? As in simt_machine.cc, each mistake has a mended twin that must be clean.
//
// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

namespace
{

int warp()
{
    return thread_index() / 32;
}

// Warp 0 writes a word a lane, warp 1 reads them, with the given steps after and before.
void pass(void (*after)(), void (*before)())
{
    if (warp() == 0) {
        sts_f32(word(thread_index()), 1);
        after();
    } else if (warp() == 1) {
        before();
        lds_f32(word(thread_index() - 32));
    }
}

void sync_two()
{
    sync_warps<1, 64>();
}
void arrive_two()
{
    arrive_warps<1, 64>();
}
void nothing() {}

// Two of three warps meet, or one tells the other; the third goes its way.
void order(void **)
{
    expect(clean, shape(2, 96, 128), [] { pass(sync_two, sync_two); });
    expect(clean, shape(2, 96, 128), [] { pass(arrive_two, sync_two); });
    expect_either(kind::shared_race, kind::shared_uninitialised, shape(1, 96, 128),
                  [] { pass(nothing, nothing); });
    // The one who only arrives has not seen what the others did.
    expect_either(kind::shared_race, kind::shared_uninitialised, shape(1, 96, 128),
                  [] { pass(sync_two, arrive_two); });
}

// What is written after the arrival is not covered by it, nor what a third warp wrote.
void no_more_than_that(void **)
{
    expect(kind::shared_race, shape(1, 64, 256), [] {
        if (warp() == 0) {
            arrive_two();
            sts_f32(word(thread_index()), 1);
        } else {
            sync_two();
            sts_f32(word(thread_index() - 32), 2);
        }
    });
    expect(kind::shared_race, shape(1, 96, 128), [] {
        if (warp() < 2) {
            sync_two();
        }
        if (warp() > 0) {
            sts_f32(word(thread_index() % 32), 1);
        }
    });
}

// What one learnt from a third is passed on.
void passed_on(void **)
{
    expect(clean, shape(1, 96, 128), [] {
        if (warp() == 0) {
            sts_f32(word(thread_index()), 1);
            arrive_warps<2, 64>();
        } else if (warp() == 1) {
            sync_warps<2, 64>();
            arrive_warps<3, 64>();
        } else {
            sync_warps<3, 64>();
            lds_f32(word(thread_index() - 64));
        }
    });
}

// Used again and again, by readers before the next write as well.
void rounds(void **)
{
    expect(clean, shape(1, 64, 128), [] {
        for (int i = 0; i < 5; i++) {
            if (warp() == 0) {
                sts_f32(word(thread_index()), (float)i);
                sync_warps<1, 64>();
                sync_warps<2, 64>();
            } else {
                sync_warps<1, 64>();
                lds_f32(word(thread_index() - 32));
                sync_warps<2, 64>();
            }
        }
    });
    expect(kind::shared_race, shape(1, 64, 128), [] {
        for (int i = 0; i < 5; i++) {
            if (warp() == 0) {
                sts_f32(word(thread_index()), (float)i);
            }
            sync_warps<1, 64>();
            if (warp() == 1) {
                lds_f32(word(thread_index() - 32));
            }
        }
    });
}

// Arriving at a barrier in shared memory orders as much.
void arrivals(void **)
{
    auto begin = [] {
        if (thread_index() == 0) {
            barrier_init(word(64), 32);
            barriers_ready();
        }
        sync_block();
    };
    expect(clean, shape(1, 64, 512), [=] {
        begin();
        pass([] { barrier_arrive(word(64)); }, [] { barrier_wait(word(64), 0); });
    });
    expect(kind::deadlock, shape(1, 64, 512), [=] {
        begin();
        pass(nothing, [] { barrier_wait(word(64), 0); });
    });
}

// Lanes leave a wait at a barrier in shared memory one by one: they have to meet before the tensor
// core, and a barrier of the block is no such meeting.
void together(void **)
{
    auto wait = [] {
        if (thread_index() == 0) {
            barrier_init(word(0), 32);
            barriers_ready();
        }
        sync_warp();
        barrier_arrive(word(0));
        barrier_wait(word(0), 0);
    };
    auto multiply = [] {
        float c[4] = {};
        mma_f16(c, 0, 0, 0, 0, 0, 0);
    };
    auto multiply_bytes = [] {
        int c[4] = {};
        mma_s8(c, 0, 0, 0, 0, 0, 0);
    };
    expect(kind::divergence, shape(1, 32, 128), [=] { wait(), multiply(); });
    expect(clean, shape(1, 32, 128), [=] { wait(), sync_warp(), multiply(); });
    expect(kind::divergence, shape(1, 32, 128), [=] { wait(), multiply_bytes(); });
    expect(clean, shape(1, 32, 128), [=] { wait(), sync_warp(), multiply_bytes(); });
    expect(kind::divergence, shape(1, 32, 128), [=] { wait(), sync_block(), multiply(); });
}

// Row g of the matrix in lanes 4 g to 4 g + 3 becomes column g; all lanes must come.
void transposed(void **)
{
    expect(clean, shape(1, 64, 128), [] {
        const u32 lane = (u32)thread_index() % 32, row = lane / 4, column = lane % 4 * 2;
        auto number = [](u32 r, u32 c) { return r * 100 + c; };
        const u32 v = transpose_u16(number(row, column) | number(row, column + 1) << 16);
        assert_int_equal(v & 0xffffu, number(column, row));
        assert_int_equal(v >> 16, number(column + 1, row));
    });
    expect(kind::divergence, shape(1, 32, 128), [] {
        if (thread_index() < 16) {
            transpose_u16(0);
        } else {
            sync_warp();
        }
    });
}

// One who waited for the kernel before has done so for those he meets.
void producer(void **)
{
    static float y[64];
    auto buffers = [](simt::memory &m) { m.add("y", y, sizeof y, simt::writable); };
    simt::launch_shape s = shape(1, 64, 128);
    s.overlaps = true;
    expect(
        clean, s,
        [] {
            if (warp() == 0) {
                wait_for_producer();
                arrive_two();
            } else {
                sync_two();
            }
            stg_f32(y + thread_index(), 1);
        },
        buffers);
    expect_either(
        kind::early, kind::producer_unwaited, s,
        [] {
            if (warp() == 0) {
                wait_for_producer();
                sync_two();
            } else {
                arrive_two();
            }
            stg_f32(y + thread_index(), 1);
        },
        buffers);
}

void misuse(void **)
{
    expect(kind::barrier_misuse, shape(1, 96, 128), [] { sync_warps<16, 64>(); });
    expect(kind::barrier_misuse, shape(1, 96, 128), [] { sync_warps<1, 48>(); });
    expect(kind::barrier_misuse, shape(1, 96, 128), [] {
        if (warp() == 0) {
            sync_warps<1, 64>();
        } else if (warp() == 1) {
            sync_warps<1, 96>();
        }
    });
    expect(kind::deadlock, shape(1, 96, 128), [] {
        if (warp() == 0) {
            sync_warps<1, 64>();
        }
    });
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(order),      cmocka_unit_test(no_more_than_that),
        cmocka_unit_test(passed_on),  cmocka_unit_test(rounds),
        cmocka_unit_test(arrivals),   cmocka_unit_test(together),
        cmocka_unit_test(transposed), cmocka_unit_test(producer),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
