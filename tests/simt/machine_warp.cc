// tests/simt/machine_warp.cc: what threads do together: barriers, shuffles, the tensor core.
//
// SPDX-License-Identifier: Apache-2.0
#include "f16.h"
#include "machine_state.h"

#include <algorithm>
#include <cstring>

namespace simt
{

// ---- Barriers ----

void sync_warp(site at)
{
    machine &m = *now_running;
    if (!m.arrive(meeting::warp_barrier, at)) {
        m.wait_at(at);
        return;
    }
    warp &w = m.self->home->warps[(unsigned)m.self->index / 32];
    w.phase++;
    m.progress();
    m.meet(*m.self->home, (unsigned)m.self->index / 32 * 32, 32, false);
    for (int lane = 0; lane < 32; lane++) {
        m.self->home->threads[(unsigned)(m.self->index / 32 * 32 + lane)].apart = false;
    }
    m.release_warp(w);
}

void sync_block(site at)
{
    machine &m = *now_running;
    block &b = *m.self->home;
    if (b.ended > 0) {
        m.find(kind::exited, 0, at,
               "block barrier, but " + std::to_string(b.ended) +
                   " threads of the block have ended");
        m.stop();
    }
    if (!m.arrive(meeting::block_barrier, at)) {
        m.wait_at(at);
        return;
    }
    b.barrier_at = at;
    b.warps_at_barrier++;
    if (b.warps_at_barrier < (int)b.warps.size()) {
        m.wait_at(at);
        return;
    }
    b.warps_at_barrier = 0;
    b.phase++;
    m.progress();
    m.meet(b, 0, (unsigned)b.threads.size(), true);
    for (warp &w : b.warps) {
        w.arrived = 0;
    }
    for (thread &t : b.threads) {
        if (&t != m.self) {
            m.wake(t);
        }
    }
}

// Wake a warp that waits at a meeting; true if it is the caller's.
static bool wake_warp(machine &m, block &b, unsigned w)
{
    bool own = false;
    b.warps[w].arrived = 0;
    for (unsigned lane = 0; lane < 32; lane++) {
        thread &t = b.threads[w * 32 + lane];
        if (&t == m.self) {
            own = true;
        } else {
            m.wake(t);
        }
    }
    return own;
}

// A warp comes to a barrier of some warps. Nothing that owns memory may live here while it waits.
static void come_to(int id, int threads, bool wait, site at)
{
    machine &m = *now_running;
    block &b = *m.self->home;
    if (id < 1 || id >= warps_barriers || threads < 32 || threads % 32 != 0) {
        m.find(kind::barrier_misuse, 0, at,
               "barrier " + std::to_string(id) + " of " + std::to_string(threads) + " threads");
        m.stop();
    }
    if (!m.arrive(meeting::warps_barrier, at)) {
        m.wait_at(at);
        return;
    }
    const unsigned mine = (unsigned)m.self->index / 32;
    warps_barrier &s = b.some[id];
    if (s.came > 0 && s.threads != threads) {
        m.find(kind::barrier_misuse, 0, at,
               "barrier " + std::to_string(id) + " of " + std::to_string(threads) +
                   " threads, but others came to it as one of " + std::to_string(s.threads));
        m.stop();
    }
    bool go = !wait;
    if (wait) {
        s.waiting.push_back(mine);
    } else {
        wake_warp(m, b, mine);
    }
    if (m.come(s, mine, threads)) {
        for (unsigned w : s.waiting) {
            go = wake_warp(m, b, w) || go;
        }
        s = warps_barrier();
    }
    if (!go) {
        m.wait_at(at);
    }
}

void sync_warps(int id, int threads, site at)
{
    come_to(id, threads, true, at);
}

void arrive_warps(int id, int threads, site at)
{
    come_to(id, threads, false, at);
}

void wait_for_producer()
{
    now_running->self->waited = true;
}

// ---- Collectives ----

float shuffle(float v, int lane, site at)
{
    machine &m = *now_running;
    if (lane < 0 || lane > 31) {
        m.find(kind::bad_lane, 0, at, "shuffle from lane " + std::to_string(lane));
        lane &= 31;
    }
    thread &me = *m.self;
    me.offered = v;
    me.wanted = lane;
    if (!m.arrive(meeting::shuffle, at)) {
        m.wait_at(at);
        return me.received;
    }
    block &b = *me.home;
    unsigned first = (unsigned)me.index / 32 * 32;
    for (unsigned l = 0; l < 32; l++) {
        thread &t = b.threads[first + l];
        t.received = b.threads[first + (unsigned)t.wanted].offered;
    }
    m.progress();
    m.release_warp(b.warps[first / 32]);
    return me.received;
}

bool one_lane(site at)
{
    machine &m = *now_running;
    thread &me = *m.self;
    if (!m.arrive(meeting::election, at)) {
        m.wait_at(at);
        return me.elected;
    }
    block &b = *me.home;
    unsigned first = (unsigned)me.index / 32 * 32, winner = (unsigned)(m.random() % 32);
    for (unsigned l = 0; l < 32; l++) {
        b.threads[first + l].elected = l == winner;
    }
    m.progress();
    m.release_warp(b.warps[first / 32]);
    return me.elected;
}

std::uint32_t warp_max(std::uint32_t v, site at)
{
    machine &m = *now_running;
    thread &me = *m.self;
    me.largest = v;
    if (!m.arrive(meeting::maximum, at)) {
        m.wait_at(at);
        return me.largest;
    }
    block &b = *me.home;
    unsigned first = (unsigned)me.index / 32 * 32;
    for (unsigned l = 0; l < 32; l++) {
        v = std::max(v, b.threads[first + l].largest);
    }
    for (unsigned l = 0; l < 32; l++) {
        b.threads[first + l].largest = v;
    }
    m.progress();
    m.release_warp(b.warps[first / 32]);
    return v;
}

std::uint32_t transpose_u16(std::uint32_t v, site at)
{
    machine &m = *now_running;
    thread &me = *m.self;
    me.a[0] = v;
    if (!m.arrive(meeting::transpose, at)) {
        m.wait_at(at);
        return me.a[0];
    }
    block &b = *me.home;
    unsigned first = (unsigned)me.index / 32 * 32;
    std::uint32_t from[8][8];
    for (unsigned l = 0; l < 32; l++) {
        from[l / 4][l % 4 * 2] = b.threads[first + l].a[0] & 0xffffu;
        from[l / 4][l % 4 * 2 + 1] = b.threads[first + l].a[0] >> 16;
    }
    for (unsigned l = 0; l < 32; l++) {
        b.threads[first + l].a[0] = from[l % 4 * 2][l / 4] | from[l % 4 * 2 + 1][l / 4] << 16;
    }
    m.progress();
    m.release_warp(b.warps[first / 32]);
    return me.a[0];
}

// Spread the lanes' fragments into matrices (ptx.cuh has the layout), multiply, hand the rows back.
// A product of two numbers of 16 bits is exact in fp32; sums round to nearest, in order of k.
static void multiply(thread *lanes, float (*number)(std::uint32_t))
{
    float a[16][16], b[16][8];
    auto two = [=](std::uint32_t v, float &low, float &high) {
        low = number(v & 0xffffu);
        high = number(v >> 16);
    };
    for (unsigned l = 0; l < 32; l++) {
        unsigned g = l / 4, k = l % 4 * 2;
        const thread &t = lanes[l];
        two(t.a[0], a[g][k], a[g][k + 1]);
        two(t.a[1], a[g + 8][k], a[g + 8][k + 1]);
        two(t.a[2], a[g][k + 8], a[g][k + 9]);
        two(t.a[3], a[g + 8][k + 8], a[g + 8][k + 9]);
        two(t.b[0], b[k][g], b[k + 1][g]);
        two(t.b[1], b[k + 8][g], b[k + 9][g]);
    }
    for (unsigned l = 0; l < 32; l++) {
        for (unsigned i = 0; i < 4; i++) {
            unsigned row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            float sum = lanes[l].c[i];
            for (unsigned k = 0; k < 16; k++) {
                sum += a[row][k] * b[k][column];
            }
            lanes[l].c[i] = sum;
        }
    }
}

static void mma(float *c, const std::uint32_t *a, const std::uint32_t *b, meeting kind,
                float (*number)(std::uint32_t), site at)
{
    machine &m = *now_running;
    thread &me = *m.self;
    std::memcpy(me.c, c, sizeof me.c);
    std::memcpy(me.a, a, sizeof me.a);
    std::memcpy(me.b, b, sizeof me.b);
    if (!m.arrive(kind, at)) {
        m.wait_at(at);
    } else {
        unsigned first = (unsigned)me.index / 32 * 32;
        multiply(&me.home->threads[first], number);
        m.progress();
        m.release_warp(me.home->warps[first / 32]);
    }
    std::memcpy(c, me.c, sizeof me.c);
}

void mma_f16(float *c, const std::uint32_t *a, const std::uint32_t *b, site at)
{
    mma(c, a, b, meeting::mma, f32_of_f16, at);
}

void mma_bf16(float *c, const std::uint32_t *a, const std::uint32_t *b, site at)
{
    mma(c, a, b, meeting::mma_bf16, f32_of_bf16, at);
}

// The same for bytes: four values of k to a register, exact sums.
static void multiply_bytes(machine &m, thread *lanes, site at)
{
    int a[16][32], b[32][8];
    for (unsigned l = 0; l < 32; l++) {
        unsigned g = l / 4, k = l % 4 * 4;
        const thread &t = lanes[l];
        for (unsigned i = 0; i < 4; i++) {
            auto byte = [=](std::uint32_t v) { return (int)(v >> (8 * i) & 0xffu); };
            a[g][k + i] = byte(t.a[0]);
            a[g + 8][k + i] = byte(t.a[1]);
            a[g][k + 16 + i] = byte(t.a[2]);
            a[g + 8][k + 16 + i] = byte(t.a[3]);
            b[k + i][g] = (std::int8_t)byte(t.b[0]);
            b[k + 16 + i][g] = (std::int8_t)byte(t.b[1]);
        }
    }
    for (unsigned l = 0; l < 32; l++) {
        for (unsigned i = 0; i < 4; i++) {
            unsigned row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
            std::int64_t sum = lanes[l].sums[i];
            for (unsigned k = 0; k < 32; k++) {
                sum += a[row][k] * b[k][column];
            }
            lanes[l].sums[i] = (int)(std::uint32_t)sum;
            if (sum != lanes[l].sums[i]) {
                m.find(kind::overflow, 0, at,
                       "row " + std::to_string(row) + ", column " + std::to_string(column) +
                           " of the product: " + std::to_string(sum) +
                           " does not fit a signed 32-bit sum");
            }
        }
    }
}

void mma_s8(int *c, const std::uint32_t *a, const std::uint32_t *b, site at)
{
    machine &m = *now_running;
    thread &me = *m.self;
    std::memcpy(me.sums, c, sizeof me.sums);
    std::memcpy(me.a, a, sizeof me.a);
    std::memcpy(me.b, b, sizeof me.b);
    if (!m.arrive(meeting::mma_s8, at)) {
        m.wait_at(at);
    } else {
        unsigned first = (unsigned)me.index / 32 * 32;
        multiply_bytes(m, &me.home->threads[first], at);
        m.progress();
        m.release_warp(me.home->warps[first / 32]);
    }
    std::memcpy(c, me.sums, sizeof me.sums);
}

} // namespace simt
