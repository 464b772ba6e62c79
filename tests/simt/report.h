// tests/simt/report.h: what the machine found wrong with a launch.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_REPORT_H
#define FBQ_SIMT_REPORT_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace simt
{

// A place in the kernel's source. As a default argument SIMT_HERE names the caller's line.
struct site {
    constexpr site() : file(nullptr), line(0) {}
    constexpr site(const char *f, int l) : file(f), line(l) {}
    const char *file;
    int line;
};
#define SIMT_HERE ::simt::site(__builtin_FILE(), __builtin_LINE())

// Each kind of mistake, with the name that reports and tests use.
#define SIMT_KINDS(X)                                                                             \
    X(shared_bounds)        /* outside the launch's dynamic shared memory */                      \
    X(shared_alignment)     /* not aligned to the access's own size */                            \
    X(shared_uninitialised) /* a read of shared memory that nobody wrote */                       \
    X(shared_race)          /* two threads, at least one writes, no barrier between */            \
    X(copy_pending)         /* the destination of a copy touched before its thread's wait */      \
    X(copy_unwaited)        /* a thread ended with copies in flight */                            \
    X(barrier_misuse)       /* a barrier in shared memory: not there, there twice, overwritten */ \
    X(barrier_unready)      /* a bulk copy on a barrier that the copy engine may not see yet */   \
    X(copy_early)           /* a bulk copy over what its user may still be reading */             \
    X(barrier_bytes)        /* more bytes copied than a phase expects */                          \
    X(bulk_size)            /* a bulk copy of a size that is not a multiple of 16 */              \
    X(divergence)           /* lanes of a warp at different collectives or barriers */            \
    X(exited)               /* a barrier or collective that an ended thread can never reach */    \
    X(deadlock)             /* nobody can make progress */                                        \
    X(bad_lane)             /* a shuffle from a lane that does not exist */                       \
    X(overflow)             /* an integer sum that does not fit its accumulator */                \
    X(global_bounds)        /* outside every registered buffer */                                 \
    X(global_permission)    /* a buffer that may not be read, or not be written */                \
    X(global_alignment)     /* not aligned to the access's own size */                            \
    X(global_uninitialised) /* a read of undefined contents that no launch wrote */               \
    X(global_race)          /* as shared_race, for global memory */                               \
    X(global_stale)         /* a non-coherent read of what the same launch writes */              \
    X(global_twice)         /* an output written twice in one launch */                           \
    X(global_unwritten)     /* an output that was left unwritten */                               \
    X(early)                /* touched before the wait for the kernel before */                   \
    X(producer_unwaited)    /* a thread ended without that wait */                                \
    X(bad_launch)           /* the launch itself is malformed */

enum class kind {
#define SIMT_KIND(name) name,
    SIMT_KINDS(SIMT_KIND)
#undef SIMT_KIND
};

#define SIMT_COUNT(name) +1
constexpr int kinds = 0 SIMT_KINDS(SIMT_COUNT);
#undef SIMT_COUNT

const char *kind_name(kind k);

// One mistake. Threads and blocks are -1 where they mean nothing.
struct finding {
    kind what;
    int block_x, block_y, thread;
    std::uint64_t address; // shared: the 32-bit address; global: the pointer
    site at;               // the offending access
    site other;            // the access it conflicts with, if any
    std::string text;
    long repeats; // how many more like it at the same place
};

// Findings of one or more launches. The same mistake at the same line counts once and repeats.
class report
{
public:
    void add(finding f);
    bool clean() const { return total_ == 0; }
    long total() const { return total_; }
    long count(kind k) const { return counts_[(int)k]; }
    const std::vector<finding> &findings() const { return findings_; }
    // Every finding a line, the seed first so that the run can be repeated.
    std::string text() const;
    std::uint64_t seed = 0;

private:
    std::vector<finding> findings_;
    long counts_[kinds] = {};
    long total_ = 0;
};

} // namespace simt

#endif
