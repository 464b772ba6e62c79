// tests/simt/bulk.h: what the tests of bulk copies and of their barriers work on.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_BULK_H
#define FBQ_SIMT_BULK_H

#include "expect.h"

namespace
{

// Shared memory: two stages of 512 bytes, then barriers.
constexpr u32 stage_bytes = 512, stage_words = stage_bytes / 4;
constexpr u32 shared_bytes = 2 * stage_bytes + 64;
constexpr int rounds = 6;
alignas(16) u32 source[rounds * stage_words];

saddr stage(int s)
{
    return smem() + (u32)s * stage_bytes;
}
saddr bar(int i)
{
    return smem() + 2 * stage_bytes + 8 * (u32)i;
}
simt::launch_shape bulk_shape(int threads = 64)
{
    for (u32 i = 0; i < rounds * stage_words; i++) {
        source[i] = 1000 + i;
    }
    return shape(2, threads, shared_bytes);
}

// Thread 0 makes barriers of the given arrivals; all may use them.
void make(int n, int arrivals = 1)
{
    if (thread_index() == 0) {
        for (int i = 0; i < n; i++) {
            barrier_init(bar(i), arrivals);
        }
        barriers_ready();
    }
    sync_block();
}
void expect_and_copy(int s, int round, int b)
{
    barrier_expect(bar(b), stage_bytes);
    copy_bulk(stage(s), source + (u32)round * stage_words, stage_bytes, bar(b));
}
// Words of a stage that this thread looks at: some that many threads read, some of its own.
void check_stage(int s, int round)
{
    int n = (int)stage_words;
    for (int i : {0, thread_index() % n, n - 1}) {
        assert_int_equal(lds_u32(stage(s) + 4 * (u32)i), source[round * n + i]);
    }
    reads_before_copies();
}

} // namespace

#endif // FBQ_SIMT_BULK_H
