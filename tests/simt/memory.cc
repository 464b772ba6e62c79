// tests/simt/memory.cc: checks on global memory.
//
// SPDX-License-Identifier: Apache-2.0
#include "memory.h"

#include <cstdio>

namespace simt
{

void memory::add(const char *name, const void *base, std::size_t bytes, unsigned permissions)
{
    buffer b{name, (std::uintptr_t)base, bytes, permissions, {}};
    if (permissions & (undefined | output)) {
        b.defined.assign((bytes + granule - 1) / granule, false);
    }
    buffers_.push_back(std::move(b));
}

void memory::begin_launch()
{
    cells_.clear();
}

static finding global_finding(kind k, std::uintptr_t address, const access &now, int bx, int by,
                              std::string text)
{
    finding f{};
    f.what = k;
    f.block_x = bx;
    f.block_y = by;
    f.thread = now.thread;
    f.address = address;
    f.at = now.at;
    f.text = std::move(text);
    return f;
}

bool memory::allowed(std::uintptr_t address, int bytes, unsigned want, const access &now, int bx,
                     int by, report &r, buffer **found)
{
    *found = nullptr;
    // What may be touched before the wait for the kernel before.
    auto early = [&](const buffer &b) {
        return !now.waited && !(want == readable && steady_ && (b.permissions & steady));
    };
    const char *verb = want == readable ? "read" : "write";
    char text[256];
    if (address % (unsigned)bytes != 0) {
        std::snprintf(text, sizeof text, "%d-byte %s of 0x%llx is not aligned", bytes, verb,
                      (unsigned long long)address);
        r.add(global_finding(kind::global_alignment, address, now, bx, by, text));
        return false;
    }
    if (buffers_.empty()) {
        return true;
    }
    auto covers = [&](const buffer &b) {
        return address >= b.base && (std::uintptr_t)bytes <= b.bytes &&
               address - b.base <= b.bytes - (std::uintptr_t)bytes;
    };
    const buffer *forbidden = nullptr;
    const buffer *near = nullptr;
    for (std::size_t i = 0; i < buffers_.size(); i++) {
        buffer &b = buffers_[(last_ + i) % buffers_.size()];
        if (covers(b) && (b.permissions & want)) {
            last_ = (last_ + i) % buffers_.size();
            *found = &b;
            if (early(b)) {
                r.add(global_finding(kind::early, address, now, bx, by,
                                     std::string(verb) + " of buffer " + b.name +
                                         " before the wait for the kernel before"));
            }
            return true;
        }
        if (covers(b)) {
            forbidden = &b;
        }
        std::uintptr_t slack = 4096;
        if (address + slack >= b.base && address < b.base + b.bytes + slack && !near) {
            near = &b;
        }
    }
    if (forbidden) {
        std::snprintf(text, sizeof text, "%s of buffer %s, which does not permit it", verb,
                      forbidden->name.c_str());
        r.add(global_finding(kind::global_permission, address, now, bx, by, text));
        return false;
    }
    if (near) {
        std::snprintf(text, sizeof text, "%d-byte %s at byte %lld of buffer %s, which has %zu",
                      bytes, verb, (long long)(address - near->base), near->name.c_str(),
                      near->bytes);
    } else {
        std::snprintf(text, sizeof text, "%d-byte %s at 0x%llx, far from every buffer", bytes, verb,
                      (unsigned long long)address);
    }
    r.add(global_finding(kind::global_bounds, address, now, bx, by, text));
    return false;
}

bool memory::check_prefetch(std::uintptr_t address, int bytes, const access &now, int bx, int by,
                            report &r)
{
    access later = now;
    later.waited = true;
    for (int i = 0; i < bytes; i += 16) {
        buffer *b;
        if (!allowed(address + (unsigned)i, 16, readable, later, bx, by, r, &b)) {
            return false;
        }
    }
    return true;
}

bool memory::check_read(std::uintptr_t address, int bytes, how h, const access &now, int bx, int by,
                        report &r)
{
    buffer *b;
    if (!allowed(address, bytes, readable, now, bx, by, r, &b)) {
        return false;
    }
    if (b && (b->permissions & undefined)) {
        for (std::uintptr_t a = address; a < address + (unsigned)bytes; a += granule) {
            if (!b->defined[(a - b->base) / granule]) {
                r.add(global_finding(kind::global_uninitialised, address, now, bx, by,
                                     "byte " + std::to_string(a - b->base) + " of buffer " +
                                         b->name + " was never written"));
                break;
            }
        }
    }
    // Only memory that a launch may write can conflict. Of unregistered memory, only what was
    // written is remembered.
    if (b && !(b->permissions & writable)) {
        return true;
    }
    for (std::uintptr_t a = address & ~(std::uintptr_t)(granule - 1); a < address + (unsigned)bytes;
         a += granule) {
        cell *c;
        if (b) {
            c = &cells_[a];
        } else {
            auto it = cells_.find(a);
            if (it == cells_.end()) {
                continue;
            }
            c = &it->second;
        }
        const access *other = nullptr;
        if (h == how::noncoherent && c->written) {
            finding f = global_finding(kind::global_stale, address, now, bx, by,
                                       "non-coherent read of a word that this launch wrote");
            f.other = c->writer.at;
            r.add(std::move(f));
            break;
        }
        other = c->read_conflict(now, h == how::relaxed);
        if (other) {
            finding f = global_finding(
                kind::global_race, address, now, bx, by,
                "read of a word that thread " + std::to_string(other->thread) + " of block " +
                    std::to_string(other->block) + " wrote, with no barrier between");
            f.other = other->at;
            r.add(std::move(f));
            break;
        }
        c->read_nc = c->read_nc || h == how::noncoherent;
        if (h != how::relaxed) {
            c->note_read(now);
        }
    }
    return true;
}

bool memory::check_write(std::uintptr_t address, int bytes, how h, const access &now, int bx,
                         int by, report &r)
{
    buffer *b;
    if (!allowed(address, bytes, writable, now, bx, by, r, &b)) {
        return false;
    }
    bool reported = false;
    for (std::uintptr_t a = address & ~(std::uintptr_t)(granule - 1); a < address + (unsigned)bytes;
         a += granule) {
        if (b && !b->defined.empty()) {
            b->defined[(a - b->base) / granule] = true;
        }
        cell &c = cells_[a];
        kind k = kind::global_race;
        const access *other = nullptr;
        std::string text;
        if (c.written && h == how::plain && !c.atomic &&
            (!same_thread(c.writer, now) || (b && (b->permissions & output)))) {
            k = kind::global_twice;
            other = &c.writer;
            text = "second write to a word that thread " + std::to_string(c.writer.thread) +
                   " of block " + std::to_string(c.writer.block) + " wrote in the same launch";
        } else if (c.read_nc) {
            k = kind::global_stale;
            other = &c.reader;
            text = "write to a word that was read non-coherently in the same launch";
        } else if ((other = c.write_conflict(now, h == how::relaxed)) != nullptr) {
            text = "write to a word that thread " + std::to_string(other->thread) + " of block " +
                   std::to_string(other->block) + " used, with no barrier between";
        }
        if (other && !reported) {
            finding f = global_finding(k, address, now, bx, by, text);
            f.other = other->at;
            r.add(std::move(f));
            reported = true;
        }
        c.note_write(now);
        c.atomic = h == how::relaxed;
    }
    return true;
}

void memory::check_outputs(report &r) const
{
    for (const buffer &b : buffers_) {
        if (!(b.permissions & output)) {
            continue;
        }
        std::size_t missing = 0, first = 0;
        for (std::size_t i = 0; i < b.defined.size(); i++) {
            if (!b.defined[i] && missing++ == 0) {
                first = i;
            }
        }
        if (missing > 0) {
            finding f{};
            f.what = kind::global_unwritten;
            f.block_x = f.block_y = f.thread = -1;
            f.address = b.base + first * granule;
            f.text = "buffer " + b.name + " has " + std::to_string(missing * granule) +
                     " bytes unwritten, the first at byte " + std::to_string(first * granule);
            r.add(std::move(f));
        }
    }
}

} // namespace simt
