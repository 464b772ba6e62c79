/* gpus.c: see gpus.h.
 *
 * Multiprocessors: NVIDIA's data sheets and architecture white papers of each. Shared memory and
 * registers: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability"; a block
 * may have 1 KB less than a multiprocessor has. The names are what drivers say.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gpus.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

static const struct {
    const char *short_name;
    fbq_gpu gpu;
} GPUS[] = {
    {"a100", {"NVIDIA A100-SXM4-40GB", 80, 108, 166912, 167936, 65536}},
    {"a100-80gb", {"NVIDIA A100-SXM4-80GB", 80, 108, 166912, 167936, 65536}},
    {"rtx3090", {"NVIDIA GeForce RTX 3090", 86, 82, 101376, 102400, 65536}},
    {"rtx4090", {"NVIDIA GeForce RTX 4090", 89, 128, 101376, 102400, 65536}},
    {"h100", {"NVIDIA H100 80GB HBM3", 90, 132, 232448, 233472, 65536}},
    {"h100-pcie", {"NVIDIA H100 PCIe", 90, 114, 232448, 233472, 65536}},
    {"h200", {"NVIDIA H200", 90, 132, 232448, 233472, 65536}},
    {"b200", {"NVIDIA B200", 100, 148, 232448, 233472, 65536}},
    {"rtx5090", {"NVIDIA GeForce RTX 5090", 120, 170, 101376, 102400, 65536}},
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

const char *gpus_short_name(int index)
{
    return index < COUNT ? GPUS[index].short_name : NULL;
}
