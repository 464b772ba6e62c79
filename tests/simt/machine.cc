// tests/simt/machine.cc: the scheduler. Barriers and collectives are in machine_warp.cc, memory
// operations in machine_memory.cc, machine_copy.cc and machine_bulk.cc, barriers in shared memory
// in machine_barrier.cc.
//
// SPDX-License-Identifier: Apache-2.0
#include "machine_state.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>

namespace simt
{

machine *now_running = nullptr;

std::uint64_t machine::random()
{
    // splitmix64
    std::uint64_t z = (random_state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

access machine::stamp(site at) const
{
    const block &b = *self->home;
    access a;
    a.block = b.linear;
    a.thread = self->index;
    a.block_phase = b.phase;
    a.warp_phase = b.warps[(unsigned)self->index / 32].phase;
    a.epoch = self->epoch;
    a.fences = self->fences;
    a.knows = self->knows.get();
    a.waited = self->waited;
    a.at = at;
    return a;
}

void machine::find(kind k, std::uint64_t address, site at, std::string text, const access *other)
{
    finding f{};
    f.what = k;
    f.block_x = self ? self->home->x : -1;
    f.block_y = self ? self->home->y : -1;
    f.thread = self ? self->index : -1;
    f.address = address;
    f.at = at;
    f.text = std::move(text);
    if (other) {
        f.other = other->at;
    }
    r.add(std::move(f));
}

void machine::give_way()
{
    fibre_leave(self->f, false);
}

void machine::stop()
{
    stopped = true;
    give_way();
    __builtin_trap(); // a stopped launch enters nobody
}

void machine::wait_at(site at)
{
    self->where = thread::waiting;
    self->at = at;
    give_way();
}

void machine::wake(thread &t)
{
    t.where = thread::runnable;
    ready.push_back(&t);
}

// Nothing moves any more: name some of those that wait.
void machine::report_deadlock(site at)
{
    std::string who;
    for (const std::unique_ptr<block> &b : resident) {
        for (const thread &t : b->threads) {
            if (t.where != thread::ended && who.size() < 160) {
                who += " (" + std::to_string(b->x) + "," + std::to_string(b->y) + ")." +
                       std::to_string(t.index) + " line " + std::to_string(t.at.line) + ";";
            }
        }
    }
    find(kind::deadlock, 0, at,
         std::to_string(live) + " threads poll or wait and nobody stores; blocks not started: " +
             std::to_string(order.size() - started) + "; among them (block).thread:" + who +
             barriers_waited_for());
}

void machine::poll(site at)
{
    self->at = at;
    if (++idle > 1000 + 64 * live) {
        report_deadlock(at);
        stop(); // nothing that owns memory may live in this frame
    }
    ready.push_back(self);
    give_way();
}

// Called before each memory access: sometimes another thread goes first, and a thread that only
// ever loads is treated as one that polls.
void machine::before_access(site at)
{
    if (++self->quiet_accesses >= patience) {
        self->quiet_accesses = 0;
        poll(at);
    } else if (shape.preempt > 0 && random() % (unsigned)shape.preempt == 0) {
        self->at = at;
        ready.push_back(self);
        give_way();
    }
    advance_copies(*self);
}

void machine::progress()
{
    idle = 0;
    self->quiet_accesses = 0;
}

// A lane comes to a barrier or collective; true for the last of the warp.
bool machine::arrive(meeting what, site at)
{
    warp &w = self->home->warps[(unsigned)self->index / 32];
    if (w.ended > 0) {
        find(kind::exited, 0, at,
             std::string(meeting_name(what)) + ", but " + std::to_string(w.ended) +
                 " lanes of this warp have ended");
        stop();
    }
    if (w.arrived == 0) {
        w.what = what;
        w.at = at;
    } else if (w.what != what || w.at.line != at.line ||
               (w.at.file != at.file && std::strcmp(w.at.file, at.file) != 0)) {
        access first;
        first.at = w.at;
        find(kind::divergence, 0, at,
             std::string(meeting_name(what)) + ", while " + std::to_string(w.arrived) +
                 " lanes of the same warp wait at another place in a " + meeting_name(w.what),
             &first);
        stop();
    }
    // As far as the code says, lanes leave such a wait one by one, and the tensor core wants all.
    if (self->apart &&
        (what == meeting::mma || what == meeting::mma_bf16 || what == meeting::mma_s8)) {
        find(
            kind::divergence, 0, at,
            std::string(meeting_name(what)) +
                " by a lane that waited at a barrier in shared memory, with no warp barrier since");
    }
    w.arrived++;
    return w.arrived == 32;
}

// Let the lanes that wait at this warp's meeting go on; the caller goes on by itself.
void machine::release_warp(warp &w)
{
    w.arrived = 0;
    unsigned first = (unsigned)self->index / 32 * 32;
    for (unsigned lane = 0; lane < 32; lane++) {
        thread &t = self->home->threads[first + lane];
        if (&t != self) {
            wake(t);
        }
    }
}

void machine::end_thread()
{
    block &b = *self->home;
    warp &w = b.warps[(unsigned)self->index / 32];
    progress();
    if (!self->copies.empty()) {
        find(kind::copy_unwaited, 0, self->copies[0].issued.at,
             "thread ended with " + std::to_string(self->copies.size()) + " copies in flight");
    }
    if (!self->waited) {
        find(kind::producer_unwaited, 0, site(),
             "thread ended without the wait for the kernel before");
    }
    self->where = thread::ended;
    w.ended++;
    b.ended++;
    live--;
    if (w.arrived > 0) {
        find(kind::exited, 0, w.at,
             "thread ended while " + std::to_string(w.arrived) +
                 " lanes of its warp wait here in a " + meeting_name(w.what));
        stopped = true;
    } else if (b.ended == shape.threads && !b.bulks.empty()) {
        find(kind::copy_unwaited, 0, b.bulks[0].issued.at,
             "block ended with " + std::to_string(b.bulks.size()) + " bulk copies in flight");
    } else if (b.warps_at_barrier > 0) {
        find(kind::exited, 0, b.barrier_at,
             "thread ended while " + std::to_string(b.warps_at_barrier) +
                 " warps of its block wait here in a block barrier");
        stopped = true;
    }
}

static void thread_main(void *)
{
    (*now_running->kernel)();
    now_running->end_thread();
}

bool machine::start_block()
{
    int linear = order[started];
    std::unique_ptr<block> b(new block);
    b->linear = linear;
    b->x = linear % shape.grid_x;
    b->y = linear / shape.grid_x;
    b->shared.assign(shape.shared_bytes, 0xff);
    b->cells.assign((shape.shared_bytes + 3) / 4, cell());
    b->threads.resize((unsigned)shape.threads);
    b->warps.resize((unsigned)shape.threads / 32);
    for (int i = 0; i < shape.threads; i++) {
        thread &t = b->threads[(unsigned)i];
        t.home = b.get();
        t.index = i;
        t.waited = !shape.overlaps;
        if (!fibre_start(t.f, thread_main, nullptr)) {
            find(kind::bad_launch, 0, site(), "no memory for a thread's stack");
            return false;
        }
        ready.push_back(&t);
    }
    live += shape.threads;
    started++;
    idle = 0;
    resident.push_back(std::move(b));
    return true;
}

static void drop_block(block &b)
{
    for (thread &t : b.threads) {
        fibre_drop(t.f);
    }
}

bool machine::run()
{
    order.resize((unsigned)(shape.grid_x * shape.grid_y));
    std::iota(order.begin(), order.end(), 0);
    for (std::size_t i = order.size(); i > 1; i--) {
        std::swap(order[i - 1], order[random() % i]);
    }
    while (!stopped) {
        while (started < order.size() && (int)resident.size() < shape.resident) {
            if (!start_block()) {
                stopped = true;
                break;
            }
        }
        // A bulk copy that a thread waits for lands at any time, and at last when nothing else can
        // happen.
        if (bulks > 0 && random() % 8 == 0) {
            deliver();
        }
        while (ready.empty() && deliver()) {
        }
        if (ready.empty() || stopped) {
            break;
        }
        std::size_t i = random() % ready.size();
        self = ready[i];
        ready[i] = ready.back();
        ready.pop_back();
        fibre_enter(self->f);
        if (self->where == thread::ended && self->home->ended == shape.threads) {
            block *done = self->home;
            bulks -= (long)done->bulks.size();
            drop_block(*done);
            resident.erase(
                std::find_if(resident.begin(), resident.end(),
                             [=](const std::unique_ptr<block> &b) { return b.get() == done; }));
        }
        self = nullptr;
    }
    self = nullptr;
    if (!stopped && live > 0) {
        // Everyone waits and no arrival or exit complained: warps of a block stand at meetings that
        // can never be complete.
        report_deadlock(site());
        stopped = true;
    }
    for (const std::unique_ptr<block> &b : resident) {
        drop_block(*b);
    }
    resident.clear();
    return !stopped;
}

bool launch(const launch_shape &shape, memory &m, report &r, const std::function<void()> &kernel)
{
    static std::mutex one_at_a_time;
    std::lock_guard<std::mutex> lock(one_at_a_time);
    r.seed = shape.seed;
    machine here(shape, m, r, kernel);
    if (shape.grid_x < 1 || shape.grid_y < 1 || shape.threads < 32 || shape.threads > 1024 ||
        shape.threads % 32 != 0 || shape.resident < 1) {
        here.find(kind::bad_launch, 0, site(),
                  "grid " + std::to_string(shape.grid_x) + " x " + std::to_string(shape.grid_y) +
                      ", " + std::to_string(shape.threads) + " threads, " +
                      std::to_string(shape.resident) + " resident blocks");
        return false;
    }
    m.begin_launch();
    now_running = &here;
    bool whole = here.run();
    now_running = nullptr;
    return whole;
}

// ---- Where am I ----

int thread_index()
{
    return now_running->self->index;
}
int block_threads()
{
    return now_running->shape.threads;
}
int block_index_x()
{
    return now_running->self->home->x;
}
int block_index_y()
{
    return now_running->self->home->y;
}
int grid_blocks_x()
{
    return now_running->shape.grid_x;
}
int grid_blocks_y()
{
    return now_running->shape.grid_y;
}

} // namespace simt
