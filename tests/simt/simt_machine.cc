// tests/simt/simt_machine.cc: does the machine find what it should? Each check is provoked by a
// tiny wrong kernel and must be reported; its mended twin must be clean.
//
// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace
{

// ---- Shared memory ----

void shared_bounds(void **)
{
    expect(clean, shape(1, 32, 128), [] { sts_f32(word(thread_index()), 1); });
    expect(kind::shared_bounds, shape(1, 32, 127), [] { sts_f32(word(thread_index()), 1); });
    expect(kind::shared_bounds, shape(1, 32, 128), [] { sts_f32(word(thread_index() - 1), 1); });
    expect(kind::shared_bounds, shape(1, 32, 0), [] { lds_f32(smem()); });
    expect(kind::shared_bounds, shape(1, 32, 512), [] { lds_f32(0); });
    // A vector access that only starts inside.
    expect(kind::shared_bounds, shape(1, 32, 24), [] {
        if (thread_index() == 0) {
            sts_u32x4(smem() + 16, {});
        }
    });
}

void shared_alignment(void **)
{
    expect(kind::shared_alignment, shape(1, 32, 64), [] { sts_f32(smem() + 2, 1); });
    expect(kind::shared_alignment, shape(1, 32, 64), [] { sts_f32x2(smem() + 4, 1, 2); });
    expect(kind::shared_alignment, shape(1, 32, 64), [] { lds_u32x4(smem() + 8); });
    expect(kind::shared_alignment, shape(1, 32, 64), [] { lds_f32x4(smem() + 8); });
}

void shared_uninitialised(void **)
{
    expect(kind::shared_uninitialised, shape(1, 64, 256), [] {
        if (thread_index() != 40) {
            sts_f32(word(thread_index()), 1);
        }
        sync_block();
        lds_f32(word(thread_index()));
    });
    // Shared memory of an earlier block is not this block's.
    simt::launch_shape s = shape(2, 32, 128);
    s.resident = 1;
    expect(kind::shared_uninitialised, s, [] {
        if (block_index_x() == 0) {
            sts_f32(word(thread_index()), 1);
            lds_f32(word(thread_index()));
        } else {
            lds_f32(word(thread_index()));
        }
    });
}

// Pass a value to the neighbour, with the given barrier between write and read, and another
// between read and the next write.
void rotate(void (*first)(), void (*second)())
{
    int n = block_threads();
    for (int round = 0; round < 3; round++) {
        sts_f32(word(thread_index()), (float)round);
        first();
        lds_f32(word((thread_index() + 1) % n));
        second();
    }
}
void block_barrier()
{
    sync_block();
}
void warp_barrier()
{
    sync_warp();
}
void no_barrier() {}
void collective()
{
    shuffle_xor_f32(0, 1);
}

void shared_race(void **)
{
    expect(clean, shape(2, 128, 512), [] { rotate(block_barrier, block_barrier); });
    expect(clean, shape(2, 32, 128), [] { rotate(warp_barrier, warp_barrier); });
    // A barrier for lanes of one warp does not order two warps.
    expect(kind::shared_race, shape(1, 64, 256), [] {
        sts_f32(word(thread_index()), 1);
        sts_f32(word(thread_index() ^ 32), 1);
    });
    // Write after read, in a block and in a warp.
    expect(kind::shared_race, shape(1, 64, 256), [] { rotate(block_barrier, no_barrier); });
    expect(kind::shared_race, shape(1, 64, 256), [] { rotate(block_barrier, warp_barrier); });
    expect(kind::shared_race, shape(1, 32, 128), [] { rotate(warp_barrier, no_barrier); });
    // Write after write, even of the same value.
    expect(kind::shared_race, shape(1, 32, 4), [] { sts_f32(smem(), 1); });
    // A shuffle is no barrier.
    expect(kind::shared_race, shape(1, 32, 128), [] { rotate(warp_barrier, collective); });
}

// Every read is reported: as a race where the write came first, as uninitialised where not.
void shared_read_race(void **)
{
    simt::memory m;
    simt::report r;
    simt::launch(shape(1, 64, 256), m, r, [] {
        sts_f32(word(thread_index()), 1);
        lds_f32(word(thread_index() ^ 32));
    });
    assert_int_equal(r.count(kind::shared_race) + r.count(kind::shared_uninitialised), r.total());
    assert_true(r.count(kind::shared_race) >= 32); // each pair: a race on at least one side
    simt::report q;
    simt::launch(shape(1, 64, 256), m, q, [] {
        sts_f32(word(thread_index()), 1);
        sync_warp();
        lds_f32(word(thread_index() ^ 32));
    });
    assert_true(q.count(kind::shared_race) >= 32);
}

// A second reader hides neither the first nor itself.
void shared_many_readers(void **)
{
    for (int reader = 0; reader < 128; reader += 37) {
        expect(kind::shared_race, shape(1, 128, 4), [=] {
            if (thread_index() == 0) {
                sts_f32(smem(), 1);
            }
            sync_block();
            // Lanes of warp 0 and one thread elsewhere read; lane 5 of warp 1 overwrites.
            if (thread_index() < 32 || thread_index() == reader) {
                lds_f32(smem());
            }
            sync_warp();
            if (thread_index() == 37) {
                sts_f32(smem(), 2);
            }
        });
    }
}

// ---- Barriers and collectives ----

void divergence(void **)
{
    expect(kind::divergence, shape(1, 32, 0), [] {
        if (thread_index() < 16) {
            sync_warp();
        } else {
            sync_warp();
        }
    });
    expect(kind::divergence, shape(1, 64, 0), [] {
        if (thread_index() % 2) {
            sync_block();
        } else {
            shuffle_xor_f32(1, 1);
        }
    });
    expect(kind::divergence, shape(1, 64, 0), [] {
        float c[4] = {};
        if (thread_index() == 63) {
            sync_warp();
        }
        mma_f16(c, 0, 0, 0, 0, 0, 0);
        if (thread_index() != 63) {
            sync_warp();
        }
    });
    // Whole warps may stand at different barriers.
    expect(clean, shape(1, 64, 0), [] {
        if (thread_index() < 32) {
            sync_block();
        } else {
            sync_block();
        }
    });
}

void exited(void **)
{
    expect(kind::exited, shape(1, 64, 0), [] {
        if (thread_index() != 7) {
            sync_warp();
        }
    });
    expect(kind::exited, shape(1, 64, 0), [] {
        if (thread_index() < 32) {
            sync_block();
        }
    });
    expect(kind::exited, shape(1, 64, 0), [] {
        if (thread_index() != 0) {
            shuffle_xor_f32(1, 1);
        }
    });
}

void bad_lane(void **)
{
    expect(kind::bad_lane, shape(1, 32, 0), [] { shuffle_xor_f32(1, 32); });
    expect(kind::bad_lane, shape(1, 32, 0), [] { shuffle_xor_f32(1, -64); });
}

void shuffles(void **)
{
    std::vector<float> got(64);
    expect(clean, shape(1, 64, 0), [&] {
        int t = thread_index();
        float v = shuffle_xor_f32((float)t, 5);
        v = add(v, mul(100, shuffle_xor_f32((float)t, 24)));
        got[(unsigned)t] = v;
    });
    for (int t = 0; t < 64; t++) {
        assert_true(got[(unsigned)t] == (float)((t ^ 5) + 100 * (t ^ 24)));
    }
}

void election(void **)
{
    bool lanes[32] = {};
    expect(clean, shape(1, 96, 0), [&] {
        static int chosen[3];
        int t = thread_index();
        assert_int_equal(warp_index(), t / 32);
        chosen[t / 32] = 0;
        sync_block();
        bool me = one_lane(t % 32);
        if (me) {
            chosen[t / 32]++;
            lanes[t % 32] = true;
        }
        sync_block();
        assert_int_equal(chosen[t / 32], 1);
    });
    // Kernels must not rely on which it is.
    assert_true(std::count(lanes, lanes + 32, true) > 16);
    expect(kind::divergence, shape(1, 32, 0), [] {
        if (thread_index() < 16) {
            one_lane(thread_index());
        } else {
            sync_warp();
        }
    });
}

// The fragments' places, against a plain product of random small integers.
void mma(void **)
{
    int a[16][16], b[16][8];
    u32 state = 1;
    auto next = [&] { return (int)((state = state * 1664525u + 1013904223u) >> 28) - 8; };
    for (auto &row : a) {
        for (int &v : row) {
            v = next();
        }
    }
    for (auto &row : b) {
        for (int &v : row) {
            v = next();
        }
    }
    float got[16][8];
    auto pair = [](int low, int high) { return f16x2_of_f32((float)low, (float)high); };
    expect(clean, shape(1, 32, 0), [&] {
        int g = thread_index() / 4, t = thread_index() % 4;
        float c[4] = {1, 2, 3, 4};
        mma_f16(c, pair(a[g][2 * t], a[g][2 * t + 1]), pair(a[g + 8][2 * t], a[g + 8][2 * t + 1]),
                pair(a[g][2 * t + 8], a[g][2 * t + 9]),
                pair(a[g + 8][2 * t + 8], a[g + 8][2 * t + 9]), pair(b[2 * t][g], b[2 * t + 1][g]),
                pair(b[2 * t + 8][g], b[2 * t + 9][g]));
        for (int i = 0; i < 4; i++) {
            got[g + i / 2 * 8][2 * t + i % 2] = c[i] - (float)(i + 1);
        }
    });
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 8; j++) {
            int sum = 0;
            for (int k = 0; k < 16; k++) {
                sum += a[i][k] * b[k][j];
            }
            assert_true(got[i][j] == (float)sum);
        }
    }
}

// ---- Asynchronous copies ----

void copies(void **)
{
    alignas(16) static float source[256];
    for (int i = 0; i < 256; i++) {
        source[i] = (float)i;
    }
    auto mine = [] { return smem() + 16 * (saddr)thread_index(); };
    static float sum[64];
    expect(clean, shape(1, 64, 1024), [=] {
        copy_async16(mine(), source + 4 * thread_index());
        copy_async_wait();
        sync_block();
        sum[thread_index()] = lds_f32(word(255 - thread_index()));
    });
    for (int t = 0; t < 64; t++) {
        assert_true(sum[t] == (float)(255 - t));
    }
    // Read before the own wait, write before it, a barrier instead of a wait.
    expect(kind::copy_pending, shape(1, 64, 1024), [=] {
        copy_async16(mine(), source);
        lds_f32(mine());
        copy_async_wait();
    });
    expect(kind::copy_pending, shape(1, 64, 1024), [=] {
        copy_async16(mine(), source);
        sts_f32(mine(), 1);
        copy_async_wait();
    });
    expect(kind::copy_pending, shape(1, 64, 1024), [=] {
        copy_async16(mine(), source);
        sync_block();
        lds_f32(word(255 - thread_index()));
        sync_block();
        copy_async_wait();
    });
    // A barrier before the wait, none after it.
    expect(kind::shared_race, shape(1, 64, 1024), [=] {
        copy_async16(mine(), source);
        sync_block();
        copy_async_wait();
        sync_warp();
        if (thread_index() == 0) {
            sts_f32(word(255), 1);
        }
    });
    // The source is written while the copy is in flight.
    alignas(16) static float changing[4];
    expect(
        kind::global_race, shape(1, 32, 512),
        [=] {
            copy_async16(mine(), changing);
            if (thread_index() == 3) {
                stg_f32(changing + 1, 2);
            }
            copy_async_wait();
        },
        [](simt::memory &m) { m.add("s", changing, 16, simt::readable | simt::writable); });
}

// The time at which a copy reads its source is not fixed: over the seeds, a write of the copying
// thread itself between issue and wait is sometimes seen and sometimes not.
void copies_read_late(void **)
{
    alignas(16) static float source[4];
    static float got;
    int late = 0;
    for (std::uint64_t seed = 1; seed <= 40; seed++) {
        source[0] = 1;
        simt::launch_shape s = shape(1, 32, 512);
        s.seed = seed;
        simt::memory m;
        simt::report r;
        simt::launch(s, m, r, [] {
            if (thread_index() == 0) {
                copy_async16(smem(), source);
                sts_f32(smem() + 16, 0);
                stg_f32(source, 2);
                copy_async_wait();
                got = lds_f32(smem());
            }
        });
        assert_true(got == 1 || got == 2);
        late += got == 2;
    }
    assert_in_range(late, 1, 39);
}

void copies_unwaited(void **)
{
    alignas(16) static float source[4];
    expect(kind::copy_unwaited, shape(1, 32, 512),
           [] { copy_async16(smem() + 16 * (saddr)thread_index(), source); });
}

// ---- Flags, progress ----

// Every block raises its flag and waits for all others'.
void all_wait_for_all(u64 *flags, u32 *counter)
{
    if (thread_index() == 0) {
        simt::relaxed_store_u64(flags + block_index_x(), 1, SIMT_HERE);
        for (int i = 0; i < grid_blocks_x(); i++) {
            while (simt::relaxed_load_u64(flags + i, SIMT_HERE) == 0) {
            }
        }
        simt::atomic_add_u32(counter, 1, SIMT_HERE);
    }
    sync_block();
}

void flags(void **)
{
    static u64 flag[6];
    static u32 counter;
    for (int resident = 1; resident <= 6; resident++) {
        std::memset(flag, 0, sizeof flag);
        counter = 0;
        simt::launch_shape s = shape(6, 64, 0);
        s.resident = resident;
        simt::memory m;
        m.add("flags", flag, sizeof flag, simt::readable | simt::writable);
        m.add("counter", &counter, sizeof counter, simt::readable | simt::writable);
        simt::report r;
        bool whole = simt::launch(s, m, r, [] { all_wait_for_all(flag, &counter); });
        if (resident == 6) {
            assert_true(whole && r.clean());
            assert_int_equal(counter, 6);
        } else {
            assert_false(whole);
            assert_int_equal(r.count(kind::deadlock), 1);
            assert_int_equal(r.total(), 1);
        }
    }
}

// A flag does not order plain stores: data must travel in the word itself.
void flags_order_nothing(void **)
{
    static u64 flag;
    static float data;
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        flag = 0;
        simt::launch_shape s = shape(2, 32, 0);
        s.seed = seed;
        simt::memory m;
        simt::report r;
        simt::launch(s, m, r, [] {
            if (thread_index() != 0) {
                return;
            }
            if (block_index_x() == 0) {
                stg_f32(&data, 1);
                simt::relaxed_store_u64(&flag, 1, SIMT_HERE);
            } else {
                while (simt::relaxed_load_u64(&flag, SIMT_HERE) == 0) {
                }
                ldg_f32(&data);
            }
        });
        assert_int_equal(r.count(kind::global_race), 1);
        assert_int_equal(r.total(), 1);
    }
}

void deadlock(void **)
{
    static float never;
    // Polling through a plain load, too; a warp that polls while another waits at a barrier.
    expect(kind::deadlock, shape(1, 32, 0), [] {
        while (ldg_f32(&never) == 0) {
        }
    });
    static u64 flag;
    expect(kind::deadlock, shape(1, 64, 0), [] {
        if (thread_index() < 32) {
            while (simt::relaxed_load_u64(&flag, SIMT_HERE) == 0) {
            }
        }
        sync_block();
    });
}

void bad_launch(void **)
{
    expect(kind::bad_launch, shape(0, 32, 0), [] {});
    expect(kind::bad_launch, shape(1, 33, 0), [] {});
    expect(kind::bad_launch, shape(1, 2048, 0), [] {});
}

// ---- The launch itself ----

void every_thread_runs_once(void **)
{
    for (int resident = 1; resident <= 6; resident++) {
        std::vector<int> ran(2 * 3 * 96, 0);
        simt::launch_shape s = shape(2, 96, 0);
        s.grid_y = 3;
        s.resident = resident;
        expect(clean, s, [&] {
            assert_int_equal(grid_blocks_x(), 2);
            int b = block_index_y() * 2 + block_index_x();
            ran[(unsigned)(b * block_threads() + thread_index())]++;
        });
        for (int n : ran) {
            assert_int_equal(n, 20); // once for each seed of expect()
        }
    }
}

// Same seed, same order; other seeds, other orders.
void order_follows_the_seed(void **)
{
    auto run = [](std::uint64_t seed) {
        std::vector<int> order;
        simt::launch_shape s = shape(3, 64, 0);
        s.seed = seed;
        simt::memory m;
        simt::report r;
        simt::launch(s, m, r, [&] { order.push_back(block_index_x() * 64 + thread_index()); });
        return order;
    };
    assert_true(run(7) == run(7));
    assert_true(run(7) != run(8));
}

void f16_round_trip(void **)
{
    for (u32 h = 0; h < 0x10000u; h++) {
        if ((h & 0x7fffu) > 0x7c00u) {
            assert_int_equal(f16_of_f32(f32_of_f16(h)) & 0x7c00u, 0x7c00u);
            continue;
        }
        assert_int_equal(f16_of_f32(f32_of_f16(h)), h);
        if ((h & 0x7fffu) < 0x7bffu) {
            // Halfway to the next number goes to the even one; a little more or less decides.
            float a = f32_of_f16(h), b = f32_of_f16(h + 1), middle = (a + b) / 2;
            assert_int_equal(f16_of_f32(middle), h % 2 ? h + 1 : h);
            assert_int_equal(f16_of_f32(std::nextafterf(middle, a)), h);
            assert_int_equal(f16_of_f32(std::nextafterf(middle, b)), h + 1);
        }
    }
    assert_int_equal(f16_of_f32(65519.99f), 0x7bff);
    assert_int_equal(f16_of_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_of_f32(-1e30f), 0xfc00);
}

void report_names_the_place(void **)
{
    simt::memory m;
    simt::report r;
    simt::launch_shape s = shape(1, 32, 4);
    s.seed = 99;
    int line = __LINE__ + 1;
    simt::launch(s, m, r, [] { sts_f32(word(thread_index()), 1); });
    assert_int_equal(r.total(), 31);
    assert_int_equal(r.findings().size(), 1);
    const simt::finding &f = r.findings()[0];
    assert_int_equal(f.at.line, line);
    assert_non_null(std::strstr(f.at.file, "simt_machine.cc"));
    assert_int_equal(f.repeats, 30);
    assert_int_equal(f.block_x, 0);
    assert_int_equal(f.address, smem() + 4 * (u32)f.thread);
    assert_non_null(std::strstr(r.text().c_str(), "seed 99"));
    assert_non_null(std::strstr(r.text().c_str(), "shared_bounds at simt_machine.cc:"));
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(shared_bounds),
        cmocka_unit_test(shared_alignment),
        cmocka_unit_test(shared_uninitialised),
        cmocka_unit_test(shared_race),
        cmocka_unit_test(shared_read_race),
        cmocka_unit_test(shared_many_readers),
        cmocka_unit_test(divergence),
        cmocka_unit_test(exited),
        cmocka_unit_test(bad_lane),
        cmocka_unit_test(shuffles),
        cmocka_unit_test(election),
        cmocka_unit_test(mma),
        cmocka_unit_test(copies),
        cmocka_unit_test(copies_read_late),
        cmocka_unit_test(copies_unwaited),
        cmocka_unit_test(flags),
        cmocka_unit_test(flags_order_nothing),
        cmocka_unit_test(deadlock),
        cmocka_unit_test(bad_launch),
        cmocka_unit_test(every_thread_runs_once),
        cmocka_unit_test(order_follows_the_seed),
        cmocka_unit_test(f16_round_trip),
        cmocka_unit_test(report_names_the_place),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
