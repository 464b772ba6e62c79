// tests/simt/shadow.h: who touched a piece of memory last, and whether that is ordered with a new
// access.
//
// Two accesses by different threads are ordered only by a barrier between them: a block barrier for
// threads of one block, a warp barrier for lanes of one warp, or a barrier of some warps or one in
// shared memory between those who arrived and those who waited. Shuffles and mma order nothing (the
// PTX memory model gives them no such meaning), and nothing orders two blocks of one launch.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_SHADOW_H
#define FBQ_SIMT_SHADOW_H

#include "report.h"

#include <functional>
#include <vector>

namespace simt
{

// What a thread has learnt by waiting on barriers in shared memory, and by block or warp barriers
// with threads that had waited. Entries that are not there are 0.
struct knowledge {
    std::vector<unsigned> threads;  // by thread: seen are its accesses of epochs below this
    std::vector<unsigned> warps;    // by warp: seen are its accesses of warp phases below this
    std::vector<unsigned> barriers; // by barrier: seen are bulk copies of its phases below this
};

inline bool known(const std::vector<unsigned> &below, int index, unsigned when)
{
    return (unsigned)index < below.size() && when < below[(unsigned)index];
}

// When and by whom: the barriers that the thread's block and warp had passed.
struct access {
    int block = -1;
    int thread = -1;
    unsigned block_phase = 0;
    unsigned warp_phase = 0;
    unsigned epoch = 0;               // arrivals of the thread on barriers in shared memory
    unsigned fences = 0;              // reads_before_copies() of the thread
    int barrier = -1;                 // of a bulk copy; then the epoch is the barrier's phase
    const knowledge *knows = nullptr; // of an access that is made now; not kept
    bool waited = true;               // for the kernel before
    site at;
};

inline bool same_thread(const access &a, const access &b)
{
    return a.block == b.block && a.thread == b.thread && a.barrier == b.barrier;
}

// Did `before` surely happen before `now`, which runs at this moment?
inline bool ordered(const access &before, const access &now)
{
    if (before.block != now.block) {
        return false;
    }
    if (before.barrier >= 0) { // the copy ran beside its thread: only the wait for its phase helps
        return now.knows && known(now.knows->barriers, before.barrier, before.epoch);
    }
    if (before.thread == now.thread || before.block_phase < now.block_phase) {
        return true;
    }
    if (before.thread / 32 == now.thread / 32 && before.warp_phase < now.warp_phase) {
        return true;
    }
    return now.knows && (known(now.knows->threads, before.thread, before.epoch) ||
                         known(now.knows->warps, before.thread / 32, before.warp_phase));
}

// The history of one granule of memory that later accesses can conflict with: its last write, and
// since then the latest read and the latest read by anyone else. With the two `many` marks this
// decides every conflict exactly, because barriers order all earlier reads of a warp or block
// alike. Barriers in shared memory do not: where a block has some, every reader is kept.
struct cell {
    access writer, reader, reader2;
    bool written = false;
    bool atomic = false; // the last write was a relaxed or atomic one
    bool read = false;
    bool read2 = false;
    bool many_warps = false;  // reads by several warps in the reader's block phase
    bool many_blocks = false; // reads by several blocks
    bool read_nc = false;     // read through the non-coherent path in this launch
    bool pending = false;     // destination of a copy that its thread has not waited for
    bool barrier = false;     // a part of a barrier
    bool all_readers = false; // `readers` has all reads since the last write and block barrier
    std::vector<access> readers;

    void note_write(const access &now)
    {
        writer = now;
        writer.knows = nullptr;
        written = true;
        read = read2 = many_warps = many_blocks = false;
        readers.clear();
        all_readers = true;
    }

    // `keep` adds to the readers.
    void note_read(access now, bool keep = false)
    {
        now.knows = nullptr;
        bool stale = read && !many_blocks && reader.block == now.block &&
                     reader.block_phase < now.block_phase;
        if (!read || stale) {
            readers.clear();
            all_readers = true;
        }
        all_readers = all_readers && keep;
        if (all_readers) {
            keep_reader(now);
        }
        if (!read || stale) {
            reader = now;
            read = true;
            read2 = many_warps = false;
            return;
        }
        if (same_thread(reader, now)) {
            reader = now;
            return;
        }
        many_blocks = many_blocks || reader.block != now.block;
        many_warps = many_warps || reader.thread / 32 != now.thread / 32;
        reader2 = reader;
        read2 = true;
        reader = now;
    }

    void keep_reader(const access &now)
    {
        for (access &r : readers) {
            if (same_thread(r, now)) {
                r = now;
                return;
            }
        }
        readers.push_back(now);
    }

    // A write that a read at `now` races with, or null. `relaxed` says that the read is a relaxed
    // one, which may meet a relaxed write at any time.
    const access *read_conflict(const access &now, bool relaxed) const
    {
        if (!written || (relaxed && atomic) || ordered(writer, now)) {
            return nullptr;
        }
        return &writer;
    }

    // An earlier access that a write at `now` races with, or null. Only plain reads are remembered.
    const access *write_conflict(const access &now, bool relaxed) const
    {
        if (written && !(relaxed && atomic) && !ordered(writer, now)) {
            return &writer;
        }
        if (!read) {
            return nullptr;
        }
        if (all_readers) {
            for (const access &r : readers) {
                if (!ordered(r, now)) {
                    return &r;
                }
            }
            return nullptr;
        }
        // Not all readers are at hand, so only what orders a whole warp or block may help.
        access plain = now;
        plain.knows = nullptr;
        return read_write_conflict(plain);
    }

    // One who has used this and, as far as the copy engine can know, still does. Readers that are
    // not kept are not found.
    const access *user_unfenced(const std::function<bool(const access &)> &fenced) const
    {
        if (written && writer.barrier < 0 && !fenced(writer)) {
            return &writer;
        }
        if (read && !fenced(reader)) {
            return &reader;
        }
        if (read2 && !fenced(reader2)) {
            return &reader2;
        }
        for (const access &r : readers) {
            if (!fenced(r)) {
                return &r;
            }
        }
        return nullptr;
    }

private:
    const access *read_write_conflict(const access &now) const
    {
        if (many_blocks) {
            return reader.block != now.block || !read2 ? &reader : &reader2;
        }
        if (!ordered(reader, now)) {
            return &reader;
        }
        if (many_warps && reader.block_phase == now.block_phase) {
            return reader.thread / 32 != now.thread / 32 || !read2 ? &reader : &reader2;
        }
        return read2 && !ordered(reader2, now) ? &reader2 : nullptr;
    }
};

} // namespace simt

#endif
