// tests/simt/machine_barrier.cc: barriers in shared memory (PTX: mbarrier), and what threads learn
// of each other through them.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine_state.h"

#include <algorithm>

namespace simt
{

// ---- Knowledge ----

static void merge(std::vector<unsigned> &into, const std::vector<unsigned> &from)
{
    into.resize(std::max(into.size(), from.size()));
    for (std::size_t i = 0; i < from.size(); i++) {
        into[i] = std::max(into[i], from[i]);
    }
}

static void learn(std::vector<unsigned> &below, unsigned index, unsigned when)
{
    below.resize(std::max(below.size(), (std::size_t)index + 1));
    below[index] = std::max(below[index], when);
}

shared_knowledge machine::join(const shared_knowledge &a, const shared_knowledge &b)
{
    if (!a || !b || a == b) {
        return a ? a : b;
    }
    if (a != join_a || b != join_b) {
        auto both = std::make_shared<knowledge>(*a);
        merge(both->threads, b->threads);
        merge(both->warps, b->warps);
        merge(both->barriers, b->barriers);
        join_a = a;
        join_b = b;
        joined = both;
    }
    return joined;
}

// Threads have met at a warp or block barrier: what one knew, all know, and what one has waited
// for, all have.
void machine::meet(block &b, unsigned first, unsigned threads, bool whole_block)
{
    shared_knowledge all;
    bool waited = false;
    for (unsigned i = first; i < first + threads; i++) {
        all = join(all, b.threads[i].knows);
        waited = waited || b.threads[i].waited;
    }
    if (whole_block && all && !all->threads.empty()) {
        // The block's phase orders all that threads did; only copies are left to know of.
        auto copies = std::make_shared<knowledge>();
        copies->barriers = all->barriers;
        all = copies;
    }
    for (unsigned i = first; i < first + threads; i++) {
        b.threads[i].knows = all;
        b.threads[i].waited = waited;
    }
}

// A warp comes to a barrier of some warps; true for the last. Those who wait see what all did
// before they came, and learn what they knew.
bool machine::come(warps_barrier &s, unsigned w, int threads)
{
    block &b = *self->home;
    auto seen = std::make_shared<knowledge>();
    learn(seen->warps, w, ++b.warps[w].phase);
    s.brought = join(s.brought, seen);
    for (unsigned lane = 0; lane < 32; lane++) {
        const thread &t = b.threads[w * 32 + lane];
        s.brought = join(s.brought, t.knows);
        s.waited = s.waited || t.waited;
    }
    s.threads = threads;
    s.came += 32;
    progress();
    if (s.came < threads) {
        return false;
    }
    for (unsigned other : s.waiting) {
        for (unsigned lane = 0; lane < 32; lane++) {
            thread &t = b.threads[other * 32 + lane];
            t.knows = join(t.knows, s.brought);
            t.waited = t.waited || s.waited;
        }
    }
    return true;
}

// ---- Barriers ----

static std::string name_of(std::uint32_t address)
{
    return "barrier at byte " + std::to_string((std::int64_t)address - shared_start);
}

// The barrier at an address, or null (reported) when nobody made one there.
shared_barrier *machine::find_barrier(std::uint32_t address, const char *verb, site at)
{
    for (shared_barrier &s : self->home->barriers) {
        if (s.address == address) {
            if (!ordered(s.made, stamp(at))) {
                find(kind::shared_race, address, at,
                     std::string(verb) + " a " + name_of(address) + " that thread " +
                         std::to_string(s.made.thread) +
                         " initialised, with no barrier of the block between",
                     &s.made);
            }
            return &s;
        }
    }
    find(kind::barrier_misuse, address, at,
         std::string(verb) + " a " + name_of(address) + ", which nobody initialised");
    return nullptr;
}

// Does the current phase end? Called whenever an arrival, a copy's issue or a copy's end may decide
// it.
void machine::settle(block &b, shared_barrier &s, site at)
{
    if (s.to_come > 0) {
        return;
    }
    if (s.in_flight > s.expected) {
        find(kind::barrier_bytes, s.address, at,
             name_of(s.address) + ", phase " + std::to_string(s.phase) + ": " +
                 std::to_string(s.in_flight) + " bytes are being copied, " +
                 std::to_string(s.expected) + " are expected");
        s.expected = s.in_flight; // so that this is the only finding
    }
    if (s.expected > 0) {
        return;
    }
    s.phase++;
    s.to_come = s.arrivals;
    auto ended = std::make_shared<knowledge>();
    learn(ended->barriers, (unsigned)(&s - b.barriers.data()), s.phase);
    s.given = join(s.brought, ended);
    s.waited_given = s.waited_brought;
    for (thread *t : s.waiters) {
        wake(*t);
    }
    s.waiters.clear();
    idle = 0;
}

// For the report of a deadlock.
std::string machine::barriers_waited_for() const
{
    std::string all;
    for (const std::unique_ptr<block> &b : resident) {
        for (const shared_barrier &s : b->barriers) {
            if (!s.waiters.empty() && all.size() < 400) {
                all += "; block (" + std::to_string(b->x) + "," + std::to_string(b->y) + "), " +
                       name_of(s.address) + ": phase " + std::to_string(s.phase) + " waits for " +
                       std::to_string(s.to_come) + " arrivals and " + std::to_string(s.expected) +
                       " bytes, of which " + std::to_string(s.in_flight) +
                       " are being copied, and " + std::to_string(s.waiters.size()) +
                       " threads wait for it, the first at line " +
                       std::to_string(s.waiters[0]->at.line);
            }
        }
    }
    return all;
}

void barrier_init(std::uint32_t b, int arrivals, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    if (arrivals < 1 || arrivals > most_arrivals) {
        m.find(kind::barrier_misuse, b, at,
               name_of(b) + " for " + std::to_string(arrivals) + " arrivals: 1 to " +
                   std::to_string(most_arrivals) + " are possible");
        return;
    }
    cell *c = m.shared_cells(b, 8, 8, "barrier", at);
    if (!c) {
        return;
    }
    block &home = *m.self->home;
    for (const shared_barrier &s : home.barriers) {
        if (s.address == b) {
            m.find(kind::barrier_misuse, b, at,
                   name_of(b) + " is initialised again, while it is a barrier since thread " +
                       std::to_string(s.made.thread) + "'s init",
                   &s.made);
            return;
        }
    }
    shared_barrier s{};
    s.made = m.stamp(at);
    m.write_words(c, 8, b, "barrier's init", s.made, false);
    c[0].barrier = c[1].barrier = true;
    s.made.knows = nullptr;
    s.address = b;
    s.arrivals = s.to_come = arrivals;
    home.barriers.push_back(s);
}

void barriers_ready(site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    for (shared_barrier &s : m.self->home->barriers) {
        if (s.made.thread == m.self->index && !s.ready) {
            s.ready = true;
            s.readied = m.stamp(at);
            s.readied.knows = nullptr;
        }
    }
}

void barrier_arrive(std::uint32_t b, site at)
{
    barrier_expect(b, 0, at);
}

void barrier_expect(std::uint32_t b, std::uint32_t bytes, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    shared_barrier *s = m.find_barrier(b, "arrival at", at);
    if (!s) {
        return;
    }
    if (s->to_come == 0) {
        m.find(kind::barrier_misuse, b, at,
               "arrival at a " + name_of(b) + ", whose phase " + std::to_string(s->phase) +
                   " has had all its " + std::to_string(s->arrivals) + " and has not ended");
        return;
    }
    if ((long)bytes > most_bytes - s->expected) {
        m.find(kind::barrier_misuse, b, at,
               name_of(b) + " would expect " + std::to_string(s->expected + (long)bytes) +
                   " bytes: up to " + std::to_string(most_bytes) + " are possible");
        return;
    }
    thread &t = *m.self;
    block &home = *t.home;
    unsigned warp = (unsigned)t.index / 32;
    auto own = std::make_shared<knowledge>();
    learn(own->threads, (unsigned)t.index, ++t.epoch);
    learn(own->warps, warp, home.warps[warp].phase);
    s->brought = m.join(m.join(s->brought, t.knows), own);
    s->waited_brought = s->waited_brought || t.waited;
    s->expected += (long)bytes;
    s->to_come--;
    m.settle(home, *s, at);
}

void barrier_wait(std::uint32_t b, std::uint32_t parity, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    if (parity > 1) {
        m.find(kind::barrier_misuse, b, at, "parity " + std::to_string(parity) + " is not 0 or 1");
        return;
    }
    shared_barrier *s = m.find_barrier(b, "wait for", at);
    if (!s) {
        return;
    }
    // A phase that ends while this thread is not looking may be followed by the next, which has the
    // parity that the thread waits out.
    std::size_t index = (std::size_t)(s - m.self->home->barriers.data());
    while ((s->phase & 1) == parity) {
        s->waiters.push_back(m.self);
        m.wait_at(at);
        s = &m.self->home->barriers[index];
    }
    m.self->knows = m.join(m.self->knows, s->given);
    m.self->waited = m.self->waited || s->waited_given;
    m.self->apart = true;
}

// A look that nobody may rely on: the thread learns nothing.
void barrier_look(std::uint32_t b, site at)
{
    machine &m = *now_running;
    m.before_access(at);
    m.progress();
    m.find_barrier(b, "look at", at);
}

} // namespace simt
