// tests/simt/memory.h: global memory as a launch may use it.
//
// A test registers every buffer that a kernel may touch; an access elsewhere, or of a kind that the
// buffer does not permit, is reported and not carried out. With nothing registered every address is
// taken to be fine, and only alignment and conflicts are checked.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_MEMORY_H
#define FBQ_SIMT_MEMORY_H

#include "report.h"
#include "shadow.h"

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

namespace simt
{

enum permission : unsigned {
    readable = 1,
    writable = 2,
    undefined = 4, // contents mean nothing until a launch writes them
    output = 8,    // every byte is to be written, and once a launch
    steady = 16    // no other kernel writes it: may be read before the wait for the kernel before
};

class memory
{
public:
    void add(const char *name, const void *base, std::size_t bytes, unsigned permissions);

    // Is `steady` memory steady in what follows? By default it is.
    void let_steady(bool on) { steady_ = on; }

    // Forget the accesses of the last launch; what was written stays written.
    void begin_launch();

    enum class how { plain, noncoherent, relaxed };
    // Check and note one access of `bytes` bytes, a power of two. True when it may be carried out.
    // `now.waited` tells whether the thread has waited for the kernel before.
    bool check_read(std::uintptr_t address, int bytes, how h, const access &now, int bx, int by,
                    report &r);
    bool check_write(std::uintptr_t address, int bytes, how h, const access &now, int bx, int by,
                     report &r);

    // The same for a hint, which reads nothing and may come at any time, but must not go astray.
    bool check_prefetch(std::uintptr_t address, int bytes, const access &now, int bx, int by,
                        report &r);

    // Report each output that is not fully written.
    void check_outputs(report &r) const;

private:
    struct buffer {
        std::string name;
        std::uintptr_t base;
        std::size_t bytes;
        unsigned permissions;
        std::vector<bool> defined; // one a granule, for `undefined` and `output`
    };
    // Outputs may be fp16, so conflicts are told apart by 2 bytes.
    static constexpr int granule = 2;

    bool allowed(std::uintptr_t address, int bytes, unsigned want, const access &now, int bx,
                 int by, report &r, buffer **found);

    std::vector<buffer> buffers_;
    bool steady_ = true;
    std::size_t last_ = 0; // the buffer of the last access, tried first
    std::unordered_map<std::uintptr_t, cell> cells_;
};

} // namespace simt

#endif
