// tests/simt/machine_memory.cc: shared memory and global memory.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine_state.h"

#include <cstring>

namespace simt
{

std::uint32_t shared_base()
{
    return shared_start;
}

// The cells of an access, or null (reported) when it is not legal.
cell *machine::shared_cells(std::uint32_t address, int bytes, int alignment, const char *verb,
                            site at)
{
    std::uint32_t size = shape.shared_bytes;
    if (address < shared_start || address - shared_start > size ||
        size - (address - shared_start) < (std::uint32_t)bytes) {
        find(kind::shared_bounds, address, at,
             std::to_string(bytes) + "-byte " + verb + " at byte " +
                 std::to_string((std::int64_t)address - shared_start) + " of " +
                 std::to_string(size));
        return nullptr;
    }
    if (address % (unsigned)alignment != 0) {
        find(kind::shared_alignment, address, at,
             std::to_string(bytes) + "-byte " + verb + " at byte " +
                 std::to_string(address - shared_start));
        return nullptr;
    }
    return &self->home->cells[(address - shared_start) / 4];
}

static std::string who(const access &a)
{
    return "thread " + std::to_string(a.thread);
}

// The destination of a copy, asynchronous or bulk, that is in flight or not known to have ended.
static std::string whose_copy(const access &a)
{
    return a.barrier < 0 ? "the destination of a copy that " + who(a) + " has not waited for"
                         : "the destination of a bulk copy of " + who(a) +
                               ", with no wait on its barrier between";
}

// Note the write `now` to every word; reports the first conflict.
void machine::write_words(cell *c, int bytes, std::uint32_t address, const char *verb,
                          const access &now, bool pending)
{
    site at = now.at;
    bool reported = false;
    for (int i = 0; i < bytes / 4; i++) {
        const access *other = c[i].write_conflict(now, false);
        if (c[i].barrier && !reported) {
            find(kind::barrier_misuse, address, at,
                 std::string(verb) + " to a barrier in shared memory");
            reported = true;
        } else if ((c[i].pending || (other && other->barrier >= 0)) && !reported) {
            find(kind::copy_pending, address, at,
                 std::string(verb) + " to " + whose_copy(c[i].writer), &c[i].writer);
            reported = true;
        } else if (other && !reported) {
            find(kind::shared_race, address, at,
                 std::string(verb) + " of " + who(now) + " to a word that " + who(*other) +
                     " used, with no barrier between",
                 other);
            reported = true;
        }
        c[i].note_write(now);
        c[i].pending = pending;
    }
}

void shared_store(std::uint32_t to, const void *from, int bytes, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    cell *c = m.shared_cells(to, bytes, bytes, "write", at);
    if (!c) {
        return;
    }
    m.write_words(c, bytes, to, "write", m.stamp(at), false);
    std::memcpy(&m.self->home->shared[to - shared_start], from, (std::size_t)bytes);
}

void shared_load(std::uint32_t from, void *to, int bytes, site at)
{
    machine &m = *now_running;
    std::memset(to, 0xff, (std::size_t)bytes);
    m.before_access(at);
    cell *c = m.shared_cells(from, bytes, bytes, "read", at);
    if (!c) {
        return;
    }
    access now = m.stamp(at);
    int words = (bytes + 3) / 4; // a byte's word is the cell that it lies in
    for (int i = 0; i < words; i++) {
        const access *other = c[i].read_conflict(now, false);
        if (c[i].barrier) {
            m.find(kind::barrier_misuse, from, at, "read of a barrier in shared memory");
            break;
        }
        if (!c[i].written) {
            m.find(kind::shared_uninitialised, from, at,
                   "read of byte " + std::to_string(from - shared_start + 4 * (unsigned)i) +
                       ", which nobody wrote");
            break;
        }
        if (c[i].pending || (other && other->barrier >= 0)) {
            m.find(kind::copy_pending, from, at, "read of " + whose_copy(c[i].writer),
                   &c[i].writer);
            break;
        }
        if (other) {
            m.find(kind::shared_race, from, at,
                   "read of " + who(now) + " of a word that " + who(*other) +
                       " wrote, with no barrier between",
                   other);
            break;
        }
    }
    // knowledge of single threads or warps orders what the cell's few readers cannot
    bool keep = m.self->knows || !m.self->home->barriers.empty();
    for (int i = 0; i < words; i++) {
        c[i].note_read(now, keep);
    }
    std::memcpy(to, &m.self->home->shared[from - shared_start], (std::size_t)bytes);
}

// ---- Global memory ----

void global_load(const void *from, void *to, int bytes, bool noncoherent, site at)
{
    machine &m = *now_running;
    std::memset(to, 0xff, (std::size_t)bytes);
    m.before_access(at);
    const block &b = *m.self->home;
    if (m.m.check_read((std::uintptr_t)from, bytes,
                       noncoherent ? memory::how::noncoherent : memory::how::plain, m.stamp(at),
                       b.x, b.y, m.r)) {
        std::memcpy(to, from, (std::size_t)bytes);
    }
}

void prefetch_l2(const void *from, int bytes, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    const block &b = *m.self->home;
    std::uintptr_t address = (std::uintptr_t)from;
    if (bytes <= 0 || bytes % 16 != 0 || address % 16 != 0) {
        m.find(kind::global_alignment, address, at,
               "prefetch of " + std::to_string(bytes) +
                   " bytes: multiples of 16 are expected, in size and address");
        return;
    }
    m.m.check_prefetch(address, bytes, m.stamp(at), b.x, b.y, m.r);
}

void global_store(void *to, const void *from, int bytes, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    const block &b = *m.self->home;
    if (m.m.check_write((std::uintptr_t)to, bytes, memory::how::plain, m.stamp(at), b.x, b.y,
                        m.r)) {
        std::memcpy(to, from, (std::size_t)bytes);
    }
}

template <class Word>
static Word relaxed_load(const void *from, site at)
{
    machine &m = *now_running;
    m.poll(at);
    Word v = (Word) ~(Word)0;
    const block &b = *m.self->home;
    if (m.m.check_read((std::uintptr_t)from, sizeof v, memory::how::relaxed, m.stamp(at), b.x, b.y,
                       m.r)) {
        std::memcpy(&v, from, sizeof v);
    }
    return v;
}

template <class Word>
static void relaxed_store(void *to, Word v, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    const block &b = *m.self->home;
    if (m.m.check_write((std::uintptr_t)to, sizeof v, memory::how::relaxed, m.stamp(at), b.x, b.y,
                        m.r)) {
        std::memcpy(to, &v, sizeof v);
    }
}

std::uint32_t relaxed_load_u32(const void *from, site at)
{
    return relaxed_load<std::uint32_t>(from, at);
}
void relaxed_store_u32(void *to, std::uint32_t v, site at)
{
    relaxed_store(to, v, at);
}
std::uint64_t relaxed_load_u64(const void *from, site at)
{
    return relaxed_load<std::uint64_t>(from, at);
}
void relaxed_store_u64(void *to, std::uint64_t v, site at)
{
    relaxed_store(to, v, at);
}

// Read and write in one go; `next` is told the old value, which is returned.
static std::uint32_t atomic_u32(void *to, site at,
                                const std::function<std::uint32_t(std::uint32_t)> &next)
{
    machine &m = *now_running;
    m.poll(at);
    std::uint32_t old = ~0u;
    const block &b = *m.self->home;
    access now = m.stamp(at);
    if (m.m.check_read((std::uintptr_t)to, 4, memory::how::relaxed, now, b.x, b.y, m.r) &&
        m.m.check_write((std::uintptr_t)to, 4, memory::how::relaxed, now, b.x, b.y, m.r)) {
        std::memcpy(&old, to, sizeof old);
        std::uint32_t value = next(old);
        if (value != old) {
            m.progress();
        }
        std::memcpy(to, &value, sizeof value);
    }
    return old;
}

std::uint32_t atomic_add_u32(void *to, std::uint32_t v, site at)
{
    return atomic_u32(to, at, [v](std::uint32_t old) { return old + v; });
}

std::uint32_t atomic_turn_u32(void *to, std::uint32_t last, site at)
{
    return atomic_u32(to, at, [last](std::uint32_t old) { return old >= last ? 0 : old + 1; });
}

} // namespace simt
