// tests/simt/simt_barriers.cc: does the machine find what goes wrong with barriers in shared
// memory, by themselves and under bulk copies?
//
// SPDX-License-Identifier: Apache-2.0
#include "bulk.h"

#include <cstring>

namespace
{

// ---- Misused barriers ----

void misused_barriers(void **)
{
    // Nobody made it.
    expect(kind::barrier_misuse, bulk_shape(), [] { barrier_wait(bar(0), 0); });
    expect(kind::barrier_misuse, bulk_shape(), [] { barrier_expect(bar(0), 16); });
    expect(kind::barrier_misuse, bulk_shape(), [] { hold(1, bar(0)); });
    expect(kind::barrier_misuse, bulk_shape(), [] { copy_bulk(stage(0), source, 16, bar(0)); });
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        barrier_wait(bar(1), 0);
    });
    // Made twice.
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            barrier_init(bar(0), 1);
        }
    });
    // Made wrongly.
    expect(kind::barrier_misuse, bulk_shape(), [] { barrier_init(bar(thread_index()), 0); });
    expect(kind::barrier_misuse, bulk_shape(), [] { barrier_init(bar(0), 1 << 20); });
    expect(kind::shared_alignment, bulk_shape(), [] { barrier_init(bar(0) + 4, 1); });
    expect(kind::shared_bounds, bulk_shape(), [] { barrier_init(smem() + shared_bytes, 1); });
    // Made where others have been, or used before others could know that it is there.
    expect(clean, bulk_shape(), [] {
        sts_u32(word(thread_index()), 1);
        sync_block();
        if (thread_index() == 0) {
            barrier_init(word(4), 1);
        }
    });
    expect_either(kind::shared_race, kind::barrier_misuse, bulk_shape(), [] {
        sts_u32(word(thread_index()), 1);
        sync_block();
        if (thread_index() == 0) {
            barrier_init(word(4), 1);
        } else if (thread_index() == 40) {
            lds_u32(word(4));
        }
    });
    expect_either(kind::shared_race, kind::barrier_misuse, bulk_shape(), [] {
        if (thread_index() == 0) {
            barrier_init(bar(0), 1);
        } else if (thread_index() == 40) {
            barrier_expect(bar(0), 0);
        }
    });
    // Used as memory.
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        lds_u32(bar(0) + 4);
    });
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        if (thread_index() == 3) {
            sts_u32(bar(0), 0);
        }
    });
    // Arrivals and bytes that it cannot count; a parity that is none.
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
            barrier_expect(bar(0), 0);
            barrier_wait(bar(0), 0);
        }
    });
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        barrier_expect(bar(0), 1 << 20);
    });
    expect(kind::barrier_misuse, bulk_shape(), [] {
        make(1);
        barrier_wait(bar(0), 2);
    });
}

// ---- Phases that do not end, or end too soon ----

void text_names_barrier(const kernel &k, const char *what)
{
    simt::memory m;
    simt::report r;
    assert_false(simt::launch(bulk_shape(), m, r, k));
    assert_non_null(std::strstr(r.text().c_str(), what));
}

void phases_without_end(void **)
{
    kernel too_few = [] {
        make(2);
        if (thread_index() == 0) {
            barrier_expect(bar(1), stage_bytes);
            copy_bulk(stage(0), source, stage_bytes - 64, bar(1));
        }
        barrier_wait(bar(1), 0);
    };
    expect(kind::deadlock, bulk_shape(), too_few);
    text_names_barrier(too_few, "barrier at byte 1032: phase 0 waits for 0 arrivals and 64 bytes");
    kernel nobody_arrives = [] {
        make(1, 2);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        barrier_wait(bar(0), 0);
    };
    expect(kind::deadlock, bulk_shape(), nobody_arrives);
    text_names_barrier(nobody_arrives,
                       "barrier at byte 1024: phase 0 waits for 1 arrivals and 512 bytes");
    // The parity of the next phase.
    expect(kind::deadlock, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
        barrier_wait(bar(0), 0);
        barrier_wait(bar(0), 1);
    });
}

void too_many_bytes(void **)
{
    expect(kind::barrier_bytes, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            copy_bulk(stage(0), source, stage_bytes, bar(0));
            barrier_expect(bar(0), stage_bytes - 16);
            barrier_wait(bar(0), 0);
        }
    });
    expect(kind::barrier_bytes, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            barrier_expect(bar(0), 16);
            copy_bulk(stage(0), source, stage_bytes, bar(0));
        }
        barrier_wait(bar(0), 0);
        check_stage(0, 0);
    });
    expect(kind::barrier_bytes, bulk_shape(), [] {
        make(1, 2);
        if (thread_index() == 0) {
            copy_bulk(stage(0), source, stage_bytes, bar(0));
        }
        sync_block();
        if (thread_index() == 7 || thread_index() == 40) {
            barrier_expect(bar(0), 0);
        }
        barrier_wait(bar(0), 0);
    });
}

void in_flight_at_the_end(void **)
{
    expect(kind::copy_unwaited, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        }
    });
    // The thread that copied may leave while others wait.
    expect(clean, bulk_shape(), [] {
        make(1);
        if (thread_index() == 0) {
            expect_and_copy(0, 0, 0);
        } else {
            barrier_wait(bar(0), 0);
            check_stage(0, 0);
        }
    });
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(misused_barriers),
        cmocka_unit_test(phases_without_end),
        cmocka_unit_test(too_many_bytes),
        cmocka_unit_test(in_flight_at_the_end),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
