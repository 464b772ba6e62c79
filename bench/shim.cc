// bench/shim.cc: registration, manual time and counters. All else is in C.
//
// SPDX-License-Identifier: Apache-2.0
#include "shim.h"

#include <benchmark/benchmark.h>

extern "C" int shim_start(int *argc, char **argv)
{
    benchmark::Initialize(argc, argv);
    return benchmark::ReportUnrecognizedArguments(*argc, argv);
}

extern "C" void shim_context(const char *key, const char *value)
{
    benchmark::AddCustomContext(key, value);
}

static void run(benchmark::State &state, int index, const shim_calls *calls)
{
    const char *why = calls->begin(calls->user, index);
    if (why) {
        state.SkipWithError(why);
        return;
    }
    for (auto _ : state) {
        (void)_;
        double seconds = 0;
        why = calls->replay(calls->user, &seconds);
        if (why) {
            state.SkipWithError(why);
            return;
        }
        state.SetIterationTime(seconds);
    }
    shim_report report = {};
    why = calls->end(calls->user, &report);
    if (why) {
        state.SkipWithError(why);
        return;
    }
    for (int i = 0; i < report.counters; i++)
        state.counters[report.counter[i].name] = report.counter[i].value;
    if (report.label)
        state.SetLabel(report.label);
}

extern "C" void shim_register(const char *name, int index, int iterations, const shim_calls *calls)
{
    benchmark::RegisterBenchmark(name, [=](benchmark::State &state) { run(state, index, calls); })
        ->Iterations(iterations)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
}

extern "C" size_t shim_run(void)
{
    return benchmark::RunSpecifiedBenchmarks();
}
