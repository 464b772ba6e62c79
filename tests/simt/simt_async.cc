// tests/simt/simt_async.cc: does the machine find what goes wrong with asynchronous copies in
// groups? As in simt_machine.cc, each mistake has a mended twin that must be clean.
//
// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

namespace
{

// ---- Groups of copies ----

constexpr int stages = 3;
alignas(16) float source[stages * 64 * 4];

// A thread's 16 bytes of a stage.
saddr slot(int stage)
{
    return smem() + 16 * (saddr)(stage * 64 + thread_index());
}
const float *origin(int stage)
{
    return source + 4 * (stage * 64 + thread_index());
}
simt::launch_shape groups_shape()
{
    for (int i = 0; i < stages * 64 * 4; i++) {
        source[i] = (float)i;
    }
    return shape(1, 64, stages * 64 * 16);
}
void issue(int first, int last)
{
    for (int s = first; s < last; s++) {
        copy_async16(slot(s), origin(s));
        copy_async_commit();
    }
}

void groups_in_order(void **)
{
    // Each wait uncovers the oldest group that is left, for the thread itself without a barrier.
    expect(clean, groups_shape(), [] {
        issue(0, 3);
        copy_async_wait_left<2>();
        assert_true(lds_f32(slot(0)) == origin(0)[0]);
        copy_async_wait_left<1>();
        assert_true(lds_f32(slot(1) + 12) == origin(1)[3]);
        copy_async_wait_left<0>();
        assert_true(lds_f32(slot(2)) == origin(2)[0]);
    });
    // A group may be empty, and may hold several copies.
    expect(clean, groups_shape(), [] {
        copy_async_commit();
        copy_async16(slot(0), origin(0));
        copy_async16(slot(1), origin(1));
        copy_async16(slot(2), origin(2));
        copy_async_commit();
        copy_async_commit();
        copy_async_wait_left<1>();
        assert_true(lds_f32(slot(0)) == origin(0)[0]);
        assert_true(lds_f32(slot(1) + 4) == origin(1)[1]);
        assert_true(lds_f32(slot(2) + 8) == origin(2)[2]);
    });
    // Shared after a barrier; a later stage is in flight all the while.
    expect(clean, groups_shape(), [] {
        issue(0, 2);
        copy_async_wait_left<1>();
        sync_block();
        int other = 63 - thread_index();
        assert_true(lds_f32(word(4 * other)) == source[4 * other]);
        copy_async_wait_left<0>();
    });
}

void groups_left_too_many(void **)
{
    expect(kind::copy_pending, groups_shape(), [] {
        issue(0, 2);
        copy_async_wait_left<2>();
        lds_f32(slot(0));
        copy_async_wait();
    });
    expect(kind::copy_pending, groups_shape(), [] {
        issue(0, 3);
        copy_async_wait_left<1>();
        lds_f32(slot(2));
        copy_async_wait_left<0>();
    });
    expect(kind::copy_pending, groups_shape(), [] {
        issue(0, 2);
        copy_async_wait_left<1>();
        sts_u32(slot(1), 1);
        copy_async_wait();
    });
    // A copy that waits nowhere, although an earlier one does.
    expect(kind::copy_unwaited, groups_shape(), [] {
        issue(0, 2);
        copy_async_wait_left<1>();
    });
}

void groups_uncommitted(void **)
{
    expect(kind::copy_pending, groups_shape(), [] {
        issue(0, 1);
        copy_async16(slot(1), origin(1));
        copy_async_wait_left<0>();
        lds_f32(slot(1));
        copy_async_wait();
    });
    expect(kind::copy_unwaited, groups_shape(), [] {
        copy_async16(slot(0), origin(0));
        copy_async_wait_left<0>();
    });
    // The wait for everything wants no commit.
    expect(clean, groups_shape(), [] {
        issue(0, 1);
        copy_async16(slot(1), origin(1));
        copy_async_wait();
        assert_true(lds_f32(slot(1)) == origin(1)[0]);
    });
}

void groups_of_others(void **)
{
    auto other = [](int distance) { return word(4 * (thread_index() ^ distance)); };
    // No barrier after the wait: the other thread's wait may not even have come.
    expect_either(kind::shared_race, kind::copy_pending, groups_shape(), [=] {
        issue(0, 1);
        sync_block();
        copy_async_wait_left<0>();
        if (thread_index() % 2) {
            lds_f32(other(1));
        }
    });
    expect_either(kind::shared_race, kind::copy_pending, groups_shape(), [=] {
        issue(0, 1);
        sync_block();
        copy_async_wait_left<0>();
        sync_warp();
        if (thread_index() < 32) {
            sts_u32(other(32), 1);
        }
    });
    // The barrier of a warp will do within the warp. None helps before the wait.
    expect(clean, groups_shape(), [=] {
        issue(0, 1);
        copy_async_wait_left<0>();
        sync_warp();
        assert_true(lds_f32(other(1)) == source[4 * (thread_index() ^ 1)]);
    });
    expect(kind::copy_pending, groups_shape(), [=] {
        issue(0, 2);
        copy_async_wait_left<2>();
        sync_block();
        lds_f32(other(32));
        sync_block();
        copy_async_wait();
    });
}

void copies_of_16(void **)
{
    expect(kind::shared_alignment, groups_shape(), [] {
        copy_async16(slot(0) + 8, origin(0));
        copy_async_wait();
    });
    expect(kind::global_alignment, groups_shape(), [] {
        copy_async16(slot(0), origin(0) + 2);
        copy_async_wait();
    });
    // It ends where it should.
    expect(kind::shared_uninitialised, groups_shape(), [] {
        if (thread_index() == 63) {
            copy_async16(slot(0), origin(0));
            copy_async_wait();
            lds_u32(slot(0) + 16);
        }
    });
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(groups_in_order),    cmocka_unit_test(groups_left_too_many),
        cmocka_unit_test(groups_uncommitted), cmocka_unit_test(groups_of_others),
        cmocka_unit_test(copies_of_16),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
