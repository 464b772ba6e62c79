// tests/simt/machine_bulk.cc: copies of many bytes that complete on a barrier in shared memory.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine_state.h"

#include <cstring>

namespace simt
{

constexpr int unit = 16; // bytes; size and addresses are multiples of it

// The source must hold still from issue to completion: it is checked at both ends. False when it
// may not be read.
bool machine::fetch_bulk(block &b, bulk &c)
{
    access then = c.issued;
    then.knows = c.knew.get();
    for (int i = 0; i < c.bytes; i += unit) {
        if (!m.check_read((std::uintptr_t)c.from + (unsigned)i, unit, memory::how::plain, then, b.x,
                          b.y, r)) {
            return false;
        }
    }
    return true;
}

void reads_before_copies()
{
    now_running->self->fences++;
}

// Threads are ordered by barriers; the copy engine comes after what a thread has done only where
// the thread itself says so. (That it did so before the barrier, not after it, is not looked at.)
// Races and copies to barriers are found elsewhere.
void machine::check_users(const block &b, const cell *cells, const bulk &c, const access &copying)
{
    auto fenced = [&b](const access &a) { return a.fences < b.threads[(unsigned)a.thread].fences; };
    for (int i = 0; i < c.bytes / 4; i++) {
        if (cells[i].barrier || cells[i].pending || cells[i].write_conflict(copying, false)) {
            return;
        }
        if (const access *user = cells[i].user_unfenced(fenced)) {
            find(kind::copy_early, c.to + 4 * (unsigned)i, c.issued.at,
                 "bulk copy over what thread " + std::to_string(user->thread) +
                     " used, with no reads_before_copies() of that thread since",
                 user);
            return;
        }
    }
}

void copy_bulk(std::uint32_t to, const void *from, std::uint32_t bytes, std::uint32_t b, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    block &home = *m.self->home;
    shared_barrier *s = m.find_barrier(b, "bulk copy on", at);
    if (!s) {
        return;
    }
    if (!s->ready || !ordered(s->readied, m.stamp(at))) {
        m.find(kind::barrier_unready, b, at,
               "bulk copy on a barrier that was initialised without barriers_ready() since",
               &s->made);
    }
    bulk c;
    c.counted = (long)bytes; // of a malformed copy, too, so that nobody waits for it in vain
    if (bytes == 0 || bytes % unit != 0 || (long)bytes > most_bytes) {
        m.find(kind::bulk_size, to, at,
               "bulk copy of " + std::to_string(bytes) + " bytes: a multiple of 16 up to " +
                   std::to_string(most_bytes) + " is expected");
        if (bytes == 0) {
            return;
        }
        bytes = 0;
    }
    c.to = to;
    c.from = from;
    c.bytes = (int)bytes;
    c.barrier = (int)(s - home.barriers.data());
    c.issued = m.stamp(at);
    c.knew = m.self->knows;
    c.source_bad = !m.fetch_bulk(home, c);
    cell *cells = bytes ? m.shared_cells(to, c.bytes, unit, "bulk copy", at) : nullptr;
    c.landing = cells != nullptr;
    if (cells) {
        access copying = c.issued;
        copying.barrier = c.barrier;
        copying.epoch = s->phase;
        m.check_users(home, cells, c, copying);
        m.write_words(cells, c.bytes, to, "bulk copy", copying, true);
        std::memset(&home.shared[to - shared_start], 0xff, bytes);
    }
    c.issued.knows = nullptr;
    if (!c.source_bad && m.random() % 2 == 0) {
        c.data.assign((const unsigned char *)from, (const unsigned char *)from + bytes);
    }
    s->in_flight += c.counted;
    home.bulks.push_back(c);
    m.bulks++;
    m.settle(home, *s, at);
}

// Called by the scheduler, when some thread waits for it.
void machine::land_bulk(block &b, std::size_t index)
{
    bulk c = std::move(b.bulks[index]);
    b.bulks.erase(b.bulks.begin() + (long)index);
    bulks--;
    shared_barrier &s = b.barriers[(unsigned)c.barrier];
    self = &b.threads[(unsigned)c.issued.thread]; // whom findings name
    bool readable = !c.source_bad && fetch_bulk(b, c);
    if (readable && c.data.empty()) {
        c.data.assign((const unsigned char *)c.from, (const unsigned char *)c.from + c.bytes);
    }
    if (c.landing) {
        cell *cells = &b.cells[(c.to - shared_start) / 4];
        access copied = c.issued;
        copied.barrier = c.barrier;
        copied.epoch = s.phase;
        for (int i = 0; i < c.bytes / 4; i++) {
            cells[i].note_write(copied);
            cells[i].pending = false;
        }
        if (readable) {
            std::memcpy(&b.shared[c.to - shared_start], c.data.data(), (std::size_t)c.bytes);
        }
    }
    s.expected -= c.counted;
    s.in_flight -= c.counted;
    settle(b, s, c.issued.at);
    self = nullptr;
}

// Land one of the copies without which a thread that waits cannot go on. False if there is none.
bool machine::deliver()
{
    block *from = nullptr;
    std::size_t index = 0;
    unsigned candidates = 0;
    for (const std::unique_ptr<block> &b : resident) {
        for (std::size_t i = 0; i < b->bulks.size(); i++) {
            const shared_barrier &s = b->barriers[(unsigned)b->bulks[i].barrier];
            if (s.to_come == 0 && !s.waiters.empty() && random() % ++candidates == 0) {
                from = b.get();
                index = i;
            }
        }
    }
    if (from) {
        land_bulk(*from, index);
    }
    return from != nullptr;
}

} // namespace simt
