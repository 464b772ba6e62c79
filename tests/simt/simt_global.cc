// tests/simt/simt_global.cc: does the machine find what goes wrong with global memory? As in
// simt_machine.cc, each mistake has a mended twin that must be clean.
//
// SPDX-License-Identifier: Apache-2.0
#include "expect.h"

namespace
{

void global_bounds(void **)
{
    alignas(16) static u32 buffer[64];
    auto half = [](simt::memory &m) { m.add("half", buffer, 128, simt::readable); };
    expect(
        clean, shape(1, 32, 0), [] { ldg_stream_u32x4(buffer + thread_index() % 8 * 4); }, half);
    expect(
        kind::global_bounds, shape(1, 32, 0), [] { ldg_f32(buffer + thread_index() + 1); }, half);
    expect(
        kind::global_bounds, shape(1, 32, 0), [] { ldg_u16(nullptr); }, half);
    expect(
        clean, shape(1, 32, 0), [] { ldg_u16_if(thread_index() < 32, buffer + 32 - 1); }, half);
    expect(clean, shape(1, 32, 0), [] { ldg_u16_if(false, nullptr); });
    expect(
        kind::global_bounds, shape(1, 32, 0), [] { ldg_u16_if(thread_index() < 1, buffer + 32); },
        half);
    expect(
        kind::global_permission, shape(1, 1 * 32, 0), [] { stg_f32(buffer + thread_index(), 1); },
        half);
    expect(
        kind::global_permission, shape(1, 32, 0), [] { ldg_f32(buffer + thread_index()); },
        [](simt::memory &m) { m.add("out", buffer, 128, simt::writable); });
}

void global_alignment(void **)
{
    alignas(16) static char buffer[64];
    expect(kind::global_alignment, shape(1, 32, 0), [] { ldg_u32x4(buffer + 8); });
    expect(kind::global_alignment, shape(1, 32, 0), [] { ldg_stream_u32x4(buffer + 4); });
    expect(kind::global_alignment, shape(1, 32, 0), [] { ldg_u16(buffer + 1); });
    expect(kind::global_alignment, shape(1, 32, 0), [] { stg_u16(buffer + 1, 0); });
}

void global_outputs(void **)
{
    static u16 y[70];
    auto output = [](simt::memory &m) { m.add("y", y, sizeof y, simt::writable | simt::output); };
    auto index = [] { return block_index_x() * block_threads() + thread_index(); };
    expect(
        clean, shape(3, 32, 0),
        [=] {
            if (index() < 70) {
                stg_u16(y + index(), 1);
            }
        },
        output);
    expect(
        kind::global_unwritten, shape(3, 32, 0),
        [=] {
            if (index() < 69) {
                stg_u16(y + index(), 1);
            }
        },
        output);
    // Twice by two threads of one block, by two blocks, by the same thread.
    expect(
        kind::global_twice, shape(3, 32, 0),
        [=] {
            if (index() < 70) {
                stg_u16(y + index(), 1);
                if (index() == 33) {
                    stg_u16(y, 1);
                }
            }
        },
        nullptr);
    expect(
        kind::global_twice, shape(3, 32, 0),
        [=] {
            if (index() < 70) {
                stg_u16(y + index(), 1);
                if (index() == 33) {
                    stg_u16(y + index(), 1);
                }
            }
        },
        output);
}

void global_race(void **)
{
    static float word_;
    float *const w = &word_;
    // A neighbour's word: clean behind a block barrier, a race without one, and a race between
    // blocks whatever barriers there are.
    expect(clean, shape(1, 64, 0), [=] {
        if (thread_index() == 0) {
            stg_f32(w, 1);
        }
        sync_block();
        ldg_f32(w);
    });
    auto registered = [=](simt::memory &m) { m.add("w", w, 4, simt::readable | simt::writable); };
    expect(
        kind::global_race, shape(1, 64, 0),
        [=] {
            if (thread_index() == 0) {
                stg_f32(w, 1);
            }
            sync_warp();
            ldg_f32(w);
        },
        registered);
    expect(
        kind::global_race, shape(2, 32, 0),
        [=] {
            if (block_index_x() == 0 && thread_index() == 0) {
                stg_f32(w, 1);
            }
            sync_block();
            ldg_f32(w);
        },
        registered);
}

void global_stale(void **)
{
    alignas(16) static u32 words[4];
    u32 *const w = words;
    expect(kind::global_stale, shape(1, 64, 0), [=] {
        if (thread_index() == 0) {
            stg_f32(w, 1);
        }
        sync_block();
        ldg_stream_u32x4(w);
    });
    // The read comes first, the write after a barrier: still not read-only for the launch.
    expect(
        kind::global_stale, shape(1, 64, 0),
        [=] {
            ldg_stream_u32x4(w);
            sync_block();
            if (thread_index() == 0) {
                stg_f32(w, 1);
            }
        },
        [=](simt::memory &m) { m.add("w", w, sizeof words, simt::readable | simt::writable); });
}

// Scratch keeps what an earlier launch wrote and knows what none did.
void global_uninitialised(void **)
{
    static float scratch[64];
    simt::memory m;
    m.add("scratch", scratch, sizeof scratch, simt::readable | simt::writable | simt::undefined);
    simt::report r;
    assert_true(simt::launch(shape(1, 32, 0), m, r, [] { stg_f32(scratch + thread_index(), 1); }));
    assert_true(simt::launch(shape(1, 32, 0), m, r, [] { ldg_f32(scratch + thread_index()); }));
    assert_true(r.clean());
    simt::launch(shape(1, 32, 0), m, r, [] { ldg_f32(scratch + thread_index() + 1); });
    assert_int_equal(r.count(kind::global_uninitialised), 1);
    assert_int_equal(r.total(), 1);
}

// A launch that overlaps the one before: only steady memory before the wait, and everybody waits.
void overlap(void **)
{
    alignas(16) static u32 weights[128];
    static u32 x[32], y[32];
    simt::launch_shape s = shape(2, 32, 0);
    s.grid_x = 1;
    s.overlaps = true;
    auto buffers = [](simt::memory &m) {
        m.add("weights", weights, sizeof weights, simt::readable | simt::steady);
        m.add("x", x, sizeof x, simt::readable);
        m.add("y", y, sizeof y, simt::writable);
    };
    expect(
        clean, s,
        [] {
            int t = thread_index();
            ldg_stream_u32x4(weights + 4 * t);
            wait_for_producer();
            ldg_f32(x + t);
            stg_f32(y + t, 1);
        },
        buffers);
    expect(
        kind::early, s,
        [] {
            ldg_f32(x + thread_index());
            wait_for_producer();
        },
        buffers);
    expect(
        kind::early, s,
        [] {
            ldg_stream_u32x4(weights + 4 * thread_index());
            wait_for_producer();
        },
        [&](simt::memory &m) {
            buffers(m);
            m.let_steady(false);
        });
    expect(
        kind::early, s,
        [] {
            stg_f32(y + thread_index(), 1);
            wait_for_producer();
        },
        buffers);
    expect(
        kind::producer_unwaited, s,
        [] {
            if (thread_index() != 9) {
                wait_for_producer();
            }
        },
        buffers);
}

// A prefetch may come before the wait for the kernel before, but not go astray.
void prefetch(void **)
{
    alignas(128) static u8 weights[1024];
    simt::launch_shape s = shape(2, 64, 0);
    s.overlaps = true;
    auto buffers = [](simt::memory &m) {
        m.add("weights", weights, 512, simt::readable);
        m.add("y", weights + 768, 256, simt::writable);
    };
    auto fetch = [](int from, int bytes) {
        return [=] {
            prefetch_l2(weights + from, bytes, thread_index() % 32);
            wait_for_producer();
        };
    };
    expect(clean, s, fetch(0, 512), buffers);
    expect(clean, s, fetch(384, 128), buffers);
    expect(clean, s, fetch(16, 48), buffers);
    expect(kind::global_bounds, s, fetch(384, 256), buffers);
    expect(kind::global_permission, s, fetch(768, 128), buffers);
    expect(kind::global_bounds, s, fetch(496, 32), buffers);
    expect(kind::global_alignment, s, fetch(8, 128), buffers);
    expect(kind::global_alignment, s, fetch(0, 24), buffers);
    expect(kind::global_alignment, s, fetch(0, 0), buffers);
}

} // namespace

int main()
{
    const CMUnitTest tests[] = {
        cmocka_unit_test(global_bounds),  cmocka_unit_test(global_alignment),
        cmocka_unit_test(global_outputs), cmocka_unit_test(global_race),
        cmocka_unit_test(global_stale),   cmocka_unit_test(global_uninitialised),
        cmocka_unit_test(overlap),        cmocka_unit_test(prefetch),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
