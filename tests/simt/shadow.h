// tests/simt/shadow.h: who touched a piece of memory last, and whether that is ordered with a new
// access.
//
// Two accesses by different threads are ordered only by a barrier between them: a block barrier for
// threads of one block, or a warp barrier for lanes of one warp. Shuffles and mma order nothing
// (the PTX memory model gives them no such meaning), and nothing orders two blocks of one launch.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_SHADOW_H
#define FBQ_SIMT_SHADOW_H

#include "report.h"

namespace simt
{

// When and by whom: the barriers that the thread's block and warp had passed.
struct access {
    int block = -1;
    int thread = -1;
    unsigned block_phase = 0;
    unsigned warp_phase = 0;
    bool waited = true; // for the kernel before
    site at;
};

inline bool same_thread(const access &a, const access &b)
{
    return a.block == b.block && a.thread == b.thread;
}

// Did `before` surely happen before `now`, which runs at this moment?
inline bool ordered(const access &before, const access &now)
{
    if (before.block != now.block) {
        return false;
    }
    if (before.thread == now.thread || before.block_phase < now.block_phase) {
        return true;
    }
    return before.thread / 32 == now.thread / 32 && before.warp_phase < now.warp_phase;
}

// The history of one granule of memory that later accesses can conflict with: its last write, and
// since then the latest read and the latest read by anyone else. With the two `many` marks this
// decides every conflict exactly, because barriers order all earlier reads of a warp or block
// alike.
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

    void note_write(const access &now)
    {
        writer = now;
        written = true;
        read = read2 = many_warps = many_blocks = false;
    }

    void note_read(const access &now)
    {
        bool stale = read && !many_blocks && reader.block == now.block &&
                     reader.block_phase < now.block_phase;
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
