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
enum class meeting { warp_barrier, block_barrier, shuffle, maximum, mma, mma_s8 };

inline const char *meeting_name(meeting what)
{
    static const char *const names[] = {"warp barrier", "block barrier", "shuffle",
                                        "maximum",      "mma",           "mma of bytes"};
    return names[(int)what];
}

struct block;

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

struct thread {
    fibre f;
    block *home = nullptr;
    int index = 0;
    enum { runnable, waiting, ended } where = runnable;
    site at; // of the last wait, for the deadlock report
    std::vector<copy> copies;
    long groups = 0;        // of copies that this thread has committed
    bool waited = false;    // for the kernel before, in a launch that overlaps it
    int quiet_accesses = 0; // memory accesses since this thread last changed anything
    // What this lane brings to a collective and takes away.
    float offered = 0, received = 0;
    int wanted = 0;
    float c[4] = {};
    int sums[4] = {};
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
    cell *shared_cells(std::uint32_t address, int bytes, const char *verb, site at);
    void write_words(cell *c, int bytes, std::uint32_t address, const char *verb, site at,
                     bool pending);

    // machine_copy.cc
    void fetch_copy(thread &t, copy &c);
    void advance_copies(thread &t);
    void land_copy(thread &t, copy &c, site at);
    void land_copies(long last_group, site at);

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
    long live = 0; // threads of started blocks that have not ended
    long idle = 0; // polls since anything changed
    bool stopped = false;
};

extern machine *now_running;

} // namespace simt

#endif
