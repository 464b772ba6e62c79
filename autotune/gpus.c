/* gpus.c: see gpus.h.
 *
 * Multiprocessors: NVIDIA's data sheets and architecture white papers of each. Shared memory and
 * registers: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; a block
 * may have 1 KB less than a multiprocessor has. Bandwidths and boost clocks: the data sheets of
 * A100 (2021), H100 (2023), H200 (2024) and B200, where they are rounded, and the white papers of
 * Ampere GA102, Ada and Blackwell for the others. The names are what drivers say.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gpus.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *short_name;
    fbq_gpu gpu;
    gpu_speed speed; /* GB/s, MHz */
} GPUS[] = {
    {"a100", {"NVIDIA A100-SXM4-40GB", 80, 108, 166912, 167936, 65536}, {1555, 1410}},
    {"a100-80gb", {"NVIDIA A100-SXM4-80GB", 80, 108, 166912, 167936, 65536}, {2039, 1410}},
    {"rtx3090", {"NVIDIA GeForce RTX 3090", 86, 82, 101376, 102400, 65536}, {936, 1695}},
    {"rtx4090", {"NVIDIA GeForce RTX 4090", 89, 128, 101376, 102400, 65536}, {1008, 2520}},
    {"h100", {"NVIDIA H100 80GB HBM3", 90, 132, 232448, 233472, 65536}, {3350, 1980}},
    {"h100-pcie", {"NVIDIA H100 PCIe", 90, 114, 232448, 233472, 65536}, {2000, 1755}},
    {"h200", {"NVIDIA H200", 90, 132, 232448, 233472, 65536}, {4800, 1980}},
    {"b200", {"NVIDIA B200", 100, 148, 232448, 233472, 65536}, {8000, 1965}},
    {"rtx5090", {"NVIDIA GeForce RTX 5090", 120, 170, 101376, 102400, 65536}, {1792, 2407}},
};

enum { COUNT = sizeof GPUS / sizeof GPUS[0] };

static int same(char a, char b)
{
    return (a == ' ' ? '_' : tolower((unsigned char)a)) ==
           (b == ' ' ? '_' : tolower((unsigned char)b));
}

int gpus_name_has(const char *name, const char *part)
{
    for (;; name++) {
        size_t i = 0;
        while (part[i] && name[i] && same(name[i], part[i]))
            i++;
        if (!part[i])
            return 1;
        if (!*name)
            return 0;
    }
}

const fbq_gpu *gpus_find(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(GPUS[i].short_name, name) ||
            (strlen(name) == strlen(GPUS[i].gpu.name) && gpus_name_has(GPUS[i].gpu.name, name)))
            return &GPUS[i].gpu;
    return NULL;
}

const fbq_gpu *gpus_named(const char *name)
{
    const fbq_gpu *const known = gpus_find(name);
    if (!known) {
        fprintf(stderr, "fbq-tune: --gpu %s is not known; expected", name);
        for (int i = 0; i < COUNT; i++)
            fprintf(stderr, "%s %s", i ? "," : "", GPUS[i].short_name);
        fputc('\n', stderr);
    }
    return known;
}

const gpu_speed *gpus_speed(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (strlen(name) == strlen(GPUS[i].gpu.name) && gpus_name_has(GPUS[i].gpu.name, name))
            return &GPUS[i].speed;
    return NULL;
}

const char *gpus_short_name(int index)
{
    return index < COUNT ? GPUS[index].short_name : NULL;
}
