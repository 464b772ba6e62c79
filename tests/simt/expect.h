// tests/simt/expect.h: how the machine's own tests run a tiny kernel and say what must be found.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_SIMT_EXPECT_H
#define FBQ_SIMT_EXPECT_H

#include <fbq/device/ptx.cuh>

#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <csetjmp>
#include <functional>
extern "C" {
#include <cmocka.h>
}

using namespace fbq;
using simt::kind;

typedef std::function<void()> kernel;

constexpr int clean = -1;

// Run under many seeds. Every run must find `expected` or, where the order of threads decides which
// of two mistakes comes out, `other`, and nothing else; `clean` means that it finds nothing.
inline void expect(int expected, int other, const simt::launch_shape &shape, const kernel &k,
                   const std::function<void(simt::memory &)> &prepare)
{
    for (std::uint64_t seed = 1; seed <= 20; seed++) {
        simt::launch_shape s = shape;
        s.seed = seed;
        simt::memory m;
        if (prepare) {
            prepare(m);
        }
        simt::report r;
        bool whole = simt::launch(s, m, r, k);
        m.check_outputs(r);
        long found = expected < 0 ? 0 : r.count((kind)expected);
        if (other >= 0 && other != expected) {
            found += r.count((kind)other);
        }
        bool right = expected < 0 ? whole && r.clean() : r.total() > 0 && found == r.total();
        if (!right) {
            print_error("expected %s, got %s",
                        expected < 0 ? "a clean run" : simt::kind_name((kind)expected),
                        r.text().c_str());
        }
        assert_true(right);
    }
}
inline void expect(int expected, const simt::launch_shape &shape, const kernel &k,
                   const std::function<void(simt::memory &)> &prepare = nullptr)
{
    expect(expected, clean, shape, k, prepare);
}
inline void expect(kind expected, const simt::launch_shape &shape, const kernel &k,
                   const std::function<void(simt::memory &)> &prepare = nullptr)
{
    expect((int)expected, clean, shape, k, prepare);
}
inline void expect_either(kind one, kind other, const simt::launch_shape &shape, const kernel &k,
                          const std::function<void(simt::memory &)> &prepare = nullptr)
{
    expect((int)one, (int)other, shape, k, prepare);
}

inline simt::launch_shape shape(int blocks, int threads, u32 shared)
{
    simt::launch_shape s;
    s.grid_x = blocks;
    s.threads = threads;
    s.shared_bytes = shared;
    s.resident = blocks;
    return s;
}

inline saddr word(int i)
{
    return smem() + 4 * (saddr)i;
}

#endif
