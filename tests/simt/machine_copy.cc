// tests/simt/machine_copy.cc: asynchronous copies that the thread which asked for them waits for.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine_state.h"

#include <algorithm>
#include <cstring>

namespace simt
{

void copy_async(std::uint32_t to, const void *from, int bytes, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    copy c;
    c.to = to;
    c.from = from;
    c.bytes = bytes;
    // The source must hold still from now to the wait: it is checked at both ends.
    c.fetched = !m.m.check_read((std::uintptr_t)from, bytes, memory::how::plain, m.stamp(at),
                                m.self->home->x, m.self->home->y, m.r);
    std::memset(c.data, 0xff, sizeof c.data);
    c.delay = (int)(m.random() % 16);
    c.group = uncommitted;
    c.issued = m.stamp(at);
    cell *cells = m.shared_cells(to, bytes, bytes, "copy", at);
    c.landing = cells != nullptr;
    if (cells) {
        m.write_words(cells, bytes, to, "copy", m.stamp(at), true);
        std::memset(&m.self->home->shared[to - shared_start], 0xff, (std::size_t)bytes);
    }
    m.self->copies.push_back(c);
}

void machine::fetch_copy(thread &t, copy &c)
{
    c.fetched = true;
    access now = stamp(c.issued.at);
    if (m.check_read((std::uintptr_t)c.from, c.bytes, memory::how::plain, now, t.home->x, t.home->y,
                     r)) {
        std::memcpy(c.data, c.from, (std::size_t)c.bytes);
    }
}

void machine::advance_copies(thread &t)
{
    for (copy &c : t.copies) {
        if (!c.fetched && c.delay-- <= 0) {
            fetch_copy(t, c);
        }
    }
}

// Only a wait lands a copy, so that whoever reads early always reads poison.
void machine::land_copy(thread &t, copy &c, site at)
{
    if (!c.fetched) {
        fetch_copy(t, c);
    }
    if (!c.landing) {
        return;
    }
    cell *cells = &t.home->cells[(c.to - shared_start) / 4];
    access now = stamp(at);
    for (int i = 0; i < c.bytes / 4; i++) {
        cells[i].note_write(now);
        cells[i].pending = false;
    }
    std::memcpy(&t.home->shared[c.to - shared_start], c.data, (std::size_t)c.bytes);
}

// Land this thread's copies of the groups up to `last_group`.
void machine::land_copies(long last_group, site at)
{
    std::vector<copy> &copies = self->copies;
    for (copy &c : copies) {
        if (c.group <= last_group) {
            land_copy(*self, c, at);
        }
    }
    copies.erase(std::remove_if(copies.begin(), copies.end(),
                                [=](const copy &c) { return c.group <= last_group; }),
                 copies.end());
}

void copy_async_commit(site at)
{
    machine &m = *now_running;
    m.before_access(at);
    thread &t = *m.self;
    t.groups++;
    for (copy &c : t.copies) {
        if (c.group == uncommitted) {
            c.group = t.groups;
        }
    }
}

void copy_async_wait_left(int left, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.land_copies(m.self->groups - left, at);
}

void copy_async_wait(site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.land_copies(uncommitted, at);
}

} // namespace simt
