// tests/simt/report.cc: collecting and printing findings.
//
// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <cstdio>
#include <utility>

namespace simt
{

const char *kind_name(kind k)
{
    static const char *const names[] = {
#define SIMT_NAME(name) #name,
        SIMT_KINDS(SIMT_NAME)
#undef SIMT_NAME
    };
    return names[(int)k];
}

void report::add(finding f)
{
    total_++;
    counts_[(int)f.what]++;
    for (finding &old : findings_) {
        if (old.what == f.what && old.at.line == f.at.line && old.at.file == f.at.file) {
            old.repeats++;
            return;
        }
    }
    f.repeats = 0;
    findings_.push_back(std::move(f));
}

static std::string place(site s)
{
    if (!s.file) {
        return "";
    }
    std::string file = s.file;
    std::size_t slash = file.rfind('/');
    return (slash == std::string::npos ? file : file.substr(slash + 1)) + ":" +
           std::to_string(s.line);
}

std::string report::text() const
{
    char line[512];
    std::snprintf(line, sizeof line, "%ld finding%s, seed %llu\n", total_, total_ == 1 ? "" : "s",
                  (unsigned long long)seed);
    std::string all = line;
    for (const finding &f : findings_) {
        all += std::string("  ") + kind_name(f.what);
        if (f.at.file) {
            all += " at " + place(f.at);
        }
        if (f.block_x >= 0) {
            std::snprintf(line, sizeof line, ", block (%d, %d)", f.block_x, f.block_y);
            all += line;
        }
        if (f.thread >= 0) {
            std::snprintf(line, sizeof line, " thread %d", f.thread);
            all += line;
        }
        all += ": " + f.text;
        if (f.other.file) {
            all += "; the other access is at " + place(f.other);
        }
        if (f.repeats > 0) {
            std::snprintf(line, sizeof line, " (and %ld more like it)", f.repeats);
            all += line;
        }
        all += "\n";
    }
    return all;
}

} // namespace simt
