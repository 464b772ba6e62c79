// tests/simt/machine_state.h: the state of a running launch; private to machine*.cc.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_MACHINE_STATE_H
#define FBQ_SIMT_MACHINE_STATE_H

#include "fibre.h"
#include "machine.h"
#include "shadow.h"

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

namespace simt
{

// Where all lanes of a warp, or all threads of a block, must come together.
enum class meeting {
    warp_barrier,
    warps_barrier,
    block_barrier,
    shuffle,
    election,
    maximum,
    transpose,
    mma,
    mma_bf16,
    mma_s8
};

inline const char *meeting_name(meeting what)
{
    static const char *const names[] = {
        "warp barrier", "barrier of warps", "block barrier", "shuffle",     "election",
        "maximum",      "transpose",        "mma",           "mma of bf16", "mma of bytes"};
    return names[(int)what];
}

struct block;
struct thread;

typedef std::shared_ptr<const knowledge> shared_knowledge; // null: nothing

// An asynchronous copy between issue and wait.
constexpr long uncommitted = std::numeric_limits<long>::max();
struct copy {
    std::uint32_t to;
    const void *from;
    int bytes;
    unsigned char data[16];
    bool fetched; // has the source been read yet?
    bool landing; // is the destination legal?
    int delay;    // accesses of this thread until the source is read; the wait reads it anyway
    long group;   // the thread's count of committed groups that covers it, or `uncommitted`
    access issued;
};

// What a barrier in shared memory can count.
constexpr long most_arrivals = (1 << 20) - 1;
constexpr long most_bytes = (1 << 20) - 1;

// A barrier in shared memory.
struct shared_barrier {
    std::uint32_t address;
    int arrivals;   // of a phase
    int to_come;    // of the current phase
    long expected;  // bytes that the current phase still waits for
    long in_flight; // bytes of copies that will complete on it
    unsigned phase; // phases that have ended
    access made;    // by its init
    access readied; // by barriers_ready()
    bool ready;
    shared_knowledge brought; // by those who arrived
    shared_knowledge given;   // to those who wait
    // Has one of those who arrived, in any phase up to this one, waited for the kernel before? And
    // in any that has ended?
    bool waited_brought = false, waited_given = false;
    std::vector<thread *> waiters;
};

// A bulk copy between issue and completion.
struct bulk {
    std::uint32_t to;
    const void *from;
    int bytes;
    long counted;                    // bytes by the barrier's count
    int barrier;                     // its index in the block
    bool source_bad;                 // then it brings poison
    bool landing;                    // is the destination legal?
    std::vector<unsigned char> data; // empty until the source has been read
    access issued;
    shared_knowledge knew; // the thread, then
};

struct thread {
    fibre f;
    block *home = nullptr;
    int index = 0;
    enum { runnable, waiting, ended } where = runnable;
    site at;             // of the last wait, for the deadlock report
    unsigned epoch = 0;  // arrivals on barriers in shared memory
    unsigned fences = 0; // reads_before_copies()
    shared_knowledge knows;
    std::vector<copy> copies;
    long groups = 0;        // of copies that this thread has committed
    bool waited = false;    // for the kernel before, in a launch that overlaps it
    bool apart = false;     // waited at a barrier in shared memory, has not met its warp since
    int quiet_accesses = 0; // memory accesses since this thread last changed anything
    // What this lane brings to a collective and takes away.
    float offered = 0, received = 0;
    int wanted = 0;
    float c[4] = {};
    int sums[4] = {};
    bool elected = false;
    std::uint32_t largest = 0;
    std::uint32_t a[4] = {}, b[2] = {};
};

struct warp {
    unsigned phase = 0; // warp barriers passed
    int arrived = 0;    // lanes at the meeting below
    int ended = 0;
    meeting what = meeting::warp_barrier;
    site at;
};

// A barrier of some warps of a block (PTX: bar.sync with a number of threads).
struct warps_barrier {
    int threads = 0;               // that it waits for
    int came = 0;                  // of them
    std::vector<unsigned> waiting; // warps
    shared_knowledge brought;      // by those who came
    bool waited = false;           // one of them, for the kernel before
};

constexpr int warps_barriers = 16; // of a block

struct block {
    int linear = 0, x = 0, y = 0;
    unsigned phase = 0; // block barriers passed
    int warps_at_barrier = 0;
    int ended = 0;
    site barrier_at;
    std::vector<unsigned char> shared;
    std::vector<cell> cells; // one for each 4 bytes of shared
    std::vector<thread> threads;
    std::vector<warp> warps;
    warps_barrier some[warps_barriers];
    std::vector<shared_barrier> barriers;
    std::vector<bulk> bulks; // in flight
};

// Shared addresses start here, so that 0 and small numbers are wild. 128-byte aligned.
constexpr std::uint32_t shared_start = 0x1000;

// A thread that makes this many memory accesses and changes nothing is taken to poll.
constexpr int patience = 256;

struct machine {
    machine(const launch_shape &s, memory &mem, report &rep, const std::function<void()> &k)
        : shape(s), m(mem), r(rep), kernel(&k), random_state(s.seed)
    {
    }

    bool run();
    bool start_block();
    void end_thread();

    std::uint64_t random();
    access stamp(site at) const;
    void find(kind k, std::uint64_t address, site at, std::string text,
              const access *other = nullptr);

    void give_way();
    [[noreturn]] void stop(); // end the launch; the caller's frame is abandoned as it is
    void wait_at(site at);
    void wake(thread &t);
    void poll(site at);
    void report_deadlock(site at);
    void before_access(site at);
    void progress();
    bool arrive(meeting what, site at);
    void release_warp(warp &w);

    // machine_memory.cc
    cell *shared_cells(std::uint32_t address, int bytes, int alignment, const char *verb, site at);
    void write_words(cell *c, int bytes, std::uint32_t address, const char *verb, const access &now,
                     bool pending);

    // machine_copy.cc
    void fetch_copy(thread &t, copy &c);
    void advance_copies(thread &t);
    void land_copy(thread &t, copy &c, site at);
    void land_copies(long last_group, site at);

    // machine_barrier.cc
    shared_knowledge join(const shared_knowledge &a, const shared_knowledge &b);
    void meet(block &b, unsigned first, unsigned threads, bool whole_block);
    bool come(warps_barrier &s, unsigned w, int threads);
    shared_barrier *find_barrier(std::uint32_t address, const char *verb, site at);
    void settle(block &b, shared_barrier &s, site at);
    std::string barriers_waited_for() const;

    // machine_bulk.cc
    bool fetch_bulk(block &b, bulk &c);
    void check_users(const block &b, const cell *cells, const bulk &c, const access &copying);
    void land_bulk(block &b, std::size_t index);
    bool deliver();

    launch_shape shape;
    memory &m;
    report &r;
    const std::function<void()> *kernel;
    std::uint64_t random_state;

    thread *self = nullptr; // the running thread; null in the scheduler
    std::vector<thread *> ready;
    std::vector<std::unique_ptr<block>> resident;
    std::vector<int> order; // in which blocks start
    std::size_t started = 0;
    long live = 0;  // threads of started blocks that have not ended
    long idle = 0;  // polls since anything changed
    long bulks = 0; // bulk copies in flight
    // The last join, which the next thread most likely repeats.
    shared_knowledge join_a, join_b, joined;
    bool stopped = false;
};

extern machine *now_running;

} // namespace simt

#endif
