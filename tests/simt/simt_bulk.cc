// tests/simt/simt_bulk.cc: does the machine find what goes wrong with bulk copies? As in
// simt_machine.cc, each mistake has a mended twin that must be clean.
//
// SPDX-License-Identifier: Apache-2.0
#include "bulk.h"

namespace
{

// ---- What is right ----

// Two stages in turn; a barrier of the block makes room for the next copy.
void stages_with_block_barrier(void **)
{
    expect(clean, bulk_shape(), [] {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        for (int i = 0; i < rounds; i++) {
            if (thread_index() == 0 && i + 1 < rounds) {
                expect_and_copy((i + 1) % 2, i + 1, (i + 1) % 2);
            }
            barrier_wait(bar(i % 2), (u32)(i / 2 % 2));
            check_stage(i % 2, i);
            sync_block();
        }
    });
}

// Barriers in shared memory both ways: 0 and 1 say that a stage is full, 2 and 3 that it is free.
void stages_with_barriers(bool each_lane)
{
    int t = thread_index();
    if (t == 0) {
        for (int s = 0; s < 2; s++) {
            barrier_init(bar(s), 1);
            barrier_init(bar(2 + s), each_lane ? block_threads() : block_threads() / 32);
        }
        barriers_ready();
    }
    sync_block();
    for (int i = 0; i < rounds; i++) {
        int s = i % 2;
        u32 turn = (u32)(i / 2);
        if (t == 0) {
            barrier_wait(bar(2 + s), (turn & 1) ^ 1);
            expect_and_copy(s, i, s);
        }
        barrier_wait(bar(s), turn & 1);
        check_stage(s, i);
        if (!each_lane) {
            sync_warp();
        }
        if (each_lane || t % 32 == 0) {
            barrier_expect(bar(2 + s), 0);
        }
    }
}

void stages_both_ways(void **)
{
    for (bool each_lane : {false, true}) {
        expect(clean, bulk_shape(), [=] { stages_with_barriers(each_lane); });
    }
    // A lane whose reads nobody was told of: its own arrival is missing, or its warp's barrier.
    for (bool each_lane : {false, true}) {
        expect_either(kind::shared_race, kind::copy_pending, bulk_shape(), [=] {
            int t = thread_index();
            if (t == 0) {
                barrier_init(bar(0), 1);
                barrier_init(bar(1), each_lane ? block_threads() - 1 : block_threads() / 32);
                barrier_init(bar(2), 1);
                barriers_ready();
            }
            sync_block();
            if (t == 0) {
                expect_and_copy(0, 0, 0);
            }
            barrier_wait(bar(0), 0);
            lds_u32(stage(0));
            if (each_lane ? t != 37 : t % 32 == 0) {
                barrier_expect(bar(1), 0);
            }
            if (t == 0) {
                barrier_wait(bar(1), 0);
                expect_and_copy(0, 1, 2);
                barrier_wait(bar(2), 0);
            }
        });
    }
}

// What one thread has waited for, others know after a barrier with it.
void waiting_is_passed_on(void **)
{
    auto copied = [] {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        sync_block();
        if (thread_index() == 0) {
            barrier_wait(bar(0), 0);
        }
    };
    expect(clean, bulk_shape(), [=] {
        copied();
        sync_block();
        check_stage(0, 0);
        sync_block();
        check_stage(0, 0);
    });
    expect(clean, bulk_shape(32), [=] {
        copied();
        sync_warp();
        check_stage(0, 0);
    });
    // The other warp was not at that barrier.
    expect(kind::copy_pending, bulk_shape(), [=] {
        copied();
        sync_warp();
        if (thread_index() >= 32) {
            lds_u32(stage(0));
        }
    });
    // Through a second barrier in shared memory.
    expect(clean, bulk_shape(), [=] {
        copied();
        if (thread_index() == 0) {
            barrier_expect(bar(1), 0);
        } else {
            barrier_wait(bar(1), 0);
        }
        check_stage(0, 0);
    });
}

// A barrier in shared memory orders plain writes, too: those before the arrival.
void arrivals_bring_writes(void **)
{
    auto pass = [](bool late, bool wait) {
        make(1);
        int t = thread_index();
        if (t == 40) {
            sts_u32(word(0), 1);
            barrier_expect(bar(0), 0);
            if (late) {
                sts_u32(word(0), 2);
            }
        } else if (t < 32) {
            if (wait) {
                barrier_wait(bar(0), 0);
            }
            lds_u32(word(0));
        }
    };
    expect(clean, bulk_shape(), [=] { pass(false, true); });
    expect(kind::shared_race, bulk_shape(), [=] { pass(true, true); });
    expect_either(kind::shared_race, kind::shared_uninitialised, bulk_shape(),
                  [=] { pass(false, false); });
    // It also tells of the warp whose barrier the arriving thread has passed, and of no other.
    auto warp_writes = [](int writer) {
        make(1);
        int t = thread_index();
        if (t == writer) {
            sts_u32(word(0), 1);
        }
        sync_warp();
        if (t == 32) {
            barrier_expect(bar(0), 0);
        } else if (t == 0) {
            barrier_wait(bar(0), 0);
            lds_u32(word(0));
        }
    };
    expect(clean, bulk_shape(96), [=] { warp_writes(50); });
    expect_either(kind::shared_race, kind::shared_uninitialised, bulk_shape(96),
                  [=] { warp_writes(70); });
}

void several_copies_a_phase(void **)
{
    expect(clean, bulk_shape(), [] {
        make(1, 2);
        int t = thread_index();
        // Two threads, halves in two pieces, one copied before it is expected.
        if (t == 5 || t == 50) {
            u32 half = t == 5 ? 0 : stage_bytes / 2;
            copy_bulk(stage(0) + half, source + half / 4, 16, bar(0));
            barrier_expect(bar(0), stage_bytes / 2);
            copy_bulk(stage(0) + half + 16, source + half / 4 + 4, stage_bytes / 2 - 16, bar(0));
        }
        barrier_wait(bar(0), 0);
        check_stage(0, 0);
    });
}

// ---- Read or written at the wrong time ----

void read_too_early(void **)
{
    // By the thread that copies, by another that does not wait, by one whose wait is for the phase
    // before, which is a wait that does not wait.
    expect(kind::copy_pending, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
            lds_u32(stage(0));
            barrier_wait(bar(0), 0);
        }
    });
    expect(kind::copy_pending, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        sync_block();
        if (thread_index() == 0) {
            barrier_wait(bar(0), 0);
        } else {
            lds_u32(stage(0) + stage_bytes - 4);
        }
    });
    expect(kind::copy_pending, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        sync_block();
        barrier_wait(bar(0), 1);
        lds_u32(stage(0));
        sync_block();
        barrier_wait(bar(0), 0);
    });
    // A wait for another barrier's copy.
    expect(kind::copy_pending, bulk_shape(), [] {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
            expect_and_copy(1, 1, 1);
        }
        sync_block();
        barrier_wait(bar(1), 0);
        if (thread_index() != 0) {
            lds_u32(stage(0));
        }
        barrier_wait(bar(0), 0);
    });
}

void write_too_early(void **)
{
    expect(kind::copy_pending, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
            sts_u32(stage(0), 1);
            barrier_wait(bar(0), 0);
        }
    });
    expect(kind::copy_pending, bulk_shape(), [] {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
            expect_and_copy(0, 1, 1);
            barrier_wait(bar(0), 0);
            barrier_wait(bar(1), 0);
        }
    });
    // Landed or not, who has not waited may not write.
    expect(kind::copy_pending, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        sync_block();
        if (thread_index() == 0) {
            barrier_wait(bar(0), 0);
        } else if (thread_index() == 40) {
            sts_u32(stage(0), 1);
        }
    });
}

// A copy over what others have read, or have written, with nothing between.
void copy_too_early(void **)
{
    auto reuse = [](void (*between)(), int reader) {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        barrier_wait(bar(0), 0);
        sync_block();
        if (thread_index() == reader) {
            lds_u32(stage(0) + 16);
            reads_before_copies();
        }
        between();
        if (thread_index() == 0) {
            expect_and_copy(0, 1, 1);
            barrier_wait(bar(1), 0);
        }
    };
    auto nothing = [] {};
    auto warp = [] { sync_warp(); };
    auto block = [] { sync_block(); };
    expect(clean, bulk_shape(), [=] { reuse(block, 33); });
    expect(clean, bulk_shape(), [=] { reuse(warp, 3); });
    expect(clean, bulk_shape(), [=] { reuse(nothing, 0); });
    // Where the read comes late, it meets the copy.
    for (int reader : {3, 33}) {
        expect_either(kind::shared_race, kind::copy_pending, bulk_shape(),
                      [=] { reuse(nothing, reader); });
    }
    expect_either(kind::shared_race, kind::copy_pending, bulk_shape(), [=] { reuse(warp, 33); });
    auto overwrite = [](bool barrier) {
        make(1);
        if (thread_index() == 33) {
            sts_u32(stage(0) + 16, 1);
            reads_before_copies();
        }
        if (barrier) {
            sync_block();
        }
        if (thread_index() == 0) {
            expect_and_copy(0, 1, 0);
            barrier_wait(bar(0), 0);
        }
    };
    expect(clean, bulk_shape(), [=] { overwrite(true); });
    expect_either(kind::shared_race, kind::copy_pending, bulk_shape(), [=] { overwrite(false); });
}

// A barrier orders threads. The copy engine may overtake what a thread has begun to read or write.
void copy_overtakes(void **)
{
    enum what { reads, writes };
    auto reuse = [](what does, int user, bool before, bool after) {
        make(2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        barrier_wait(bar(0), 0);
        sync_block();
        if (thread_index() == user) {
            if (before) {
                reads_before_copies();
            }
            if (does == reads) {
                lds_u32(stage(0) + 16);
            } else {
                sts_u32(stage(0) + 16, 1);
            }
            if (after) {
                reads_before_copies();
            }
        }
        if (!after && thread_index() == 0 && user != 0) {
            reads_before_copies(); // another's word does not count
        }
        sync_block();
        if (thread_index() == 0) {
            expect_and_copy(0, 1, 1);
            barrier_wait(bar(1), 0);
        }
    };
    for (what does : {reads, writes}) {
        for (int user : {0, 3, 33}) {
            expect(clean, bulk_shape(), [=] { reuse(does, user, false, true); });
            expect(kind::copy_early, bulk_shape(), [=] { reuse(does, user, false, false); });
            expect(kind::copy_early, bulk_shape(), [=] { reuse(does, user, true, false); });
        }
    }
}

void source_changes(void **)
{
    alignas(16) static u32 changing[stage_words];
    auto registered = [](simt::memory &m) {
        m.add("s", changing, sizeof changing, simt::readable | simt::writable);
    };
    auto change = [](bool wait) {
        make(1);
        if (thread_index() == 0) {
            barrier_expect(bar(0), stage_bytes);
            copy_bulk(stage(0), changing, stage_bytes, bar(0));
        }
        sync_block();
        if (wait) {
            barrier_wait(bar(0), 0);
            sync_block();
        }
        if (thread_index() == 40) {
            stg_f32(changing + 100, 1);
        }
        sync_block();
        if (thread_index() == 0) {
            barrier_wait(bar(0), 0);
        }
    };
    simt::launch_shape one = bulk_shape();
    one.grid_x = one.resident = 1;
    expect(
        clean, one, [=] { change(true); }, registered);
    expect(
        kind::global_race, one, [=] { change(false); }, registered);
    expect(
        kind::global_bounds, one, [=] { change(true); },
        [](simt::memory &m) {
            m.add("s", changing, sizeof changing - 4, simt::readable | simt::writable);
        });
}

// As with other asynchronous copies, what the copying thread itself writes to the source in flight
// is sometimes seen and sometimes not.
void source_is_read_at_any_time(void **)
{
    alignas(16) static float changing[4];
    static u32 got;
    int late = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        simt::launch_shape s = shape(1, 32, shared_bytes);
        s.seed = seed;
        changing[0] = 1;
        simt::memory m;
        simt::report r;
        simt::launch(s, m, r, [] {
            make(1);
            if (thread_index() == 0) {
                barrier_expect(bar(0), 16);
                copy_bulk(stage(0), changing, 16, bar(0));
                stg_f32(changing, 2);
                barrier_wait(bar(0), 0);
                got = lds_u32(stage(0));
            }
        });
        assert_true(got == bits_of(1) || got == bits_of(2));
        late += got == bits_of(2);
    }
    assert_in_range(late, 1, 39);
}

// ---- Malformed copies ----

void malformed_copies(void **)
{
    auto copy = [](u32 to, u32 from, u32 bytes) {
        return [=] {
            make(1);
            if (thread_index() == 0) {
                barrier_expect(bar(0), bytes);
                copy_bulk(smem() + to, (const char *)source + from, bytes, bar(0));
                barrier_wait(bar(0), 0);
            }
        };
    };
    expect(clean, bulk_shape(), copy(16, 32, 48));
    for (u32 off : {4u, 8u, 15u}) {
        expect(kind::shared_alignment, bulk_shape(), copy(16 + off, 32, 48));
        expect(kind::global_alignment, bulk_shape(), copy(16, 32 + off, 48));
        expect(kind::bulk_size, bulk_shape(), copy(16, 32, 48 + off));
    }
    expect(kind::bulk_size, bulk_shape(), copy(16, 32, 0));
    expect(kind::shared_bounds, bulk_shape(), copy(shared_bytes - 32, 0, 48));
    // A barrier lies there.
    expect(kind::barrier_misuse, bulk_shape(), copy(2 * stage_bytes - 16, 0, 32));
}

void unready(void **)
{
    auto copy = [](bool ready, int other) {
        if (thread_index() == 0) {
            barrier_init(bar(0), 1);
        }
        if (ready && thread_index() == other) {
            barriers_ready();
        }
        sync_block();
        if (thread_index() == 40) {
            expect_and_copy(0, 0, 0);
            barrier_wait(bar(0), 0);
        }
    };
    expect(clean, bulk_shape(), [=] { copy(true, 0); });
    expect(kind::barrier_unready, bulk_shape(), [=] { copy(false, 0); });
    // Not by the thread of the init; before the init.
    expect(kind::barrier_unready, bulk_shape(), [=] { copy(true, 40); });
    expect(kind::barrier_unready, bulk_shape(), [] {
        if (thread_index() == 0) {
            barriers_ready();
            barrier_init(bar(0), 1);
            expect_and_copy(0, 0, 0);
            barrier_wait(bar(0), 0);
        }
    });
    // In time, but nothing orders it with the copy.
    expect(kind::barrier_unready, bulk_shape(), [] {
        if (thread_index() == 0) {
            barrier_init(bar(0), 1);
            barrier_init(bar(1), 1);
        }
        sync_block();
        if (thread_index() == 0) {
            barriers_ready();
        } else if (thread_index() == 40) {
            expect_and_copy(0, 0, 0);
            barrier_wait(bar(0), 0);
        }
    });
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(stages_with_block_barrier),
        cmocka_unit_test(stages_both_ways),
        cmocka_unit_test(waiting_is_passed_on),
        cmocka_unit_test(arrivals_bring_writes),
        cmocka_unit_test(several_copies_a_phase),
        cmocka_unit_test(read_too_early),
        cmocka_unit_test(write_too_early),
        cmocka_unit_test(copy_too_early),
        cmocka_unit_test(copy_overtakes),
        cmocka_unit_test(source_changes),
        cmocka_unit_test(source_is_read_at_any_time),
        cmocka_unit_test(malformed_copies),
        cmocka_unit_test(unready),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
