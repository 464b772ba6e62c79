/* tests/played_gpu/kernels.c: bench/read.cu, bench/fill.cu and autotune/trial/plant.cu, as loops.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "../../autotune/trial/plant.h"
#include "../../bench/kernels.h"
#include "played.h"

typedef struct work {
    void *to;
    const void *from;
    size_t words;
    unsigned value;
} work;

cudaError_t read_has_dependency_wait(int *yes)
{
    *yes = 1;
    return cudaSuccess;
}

static void read_run(const void *arguments)
{
    (void)arguments;
    /* something else on the GPU, once picks run, for so many of these, in steps that a look at the
     * floor sees */
    static int disturbed = -1;
    if (disturbed < 0)
        disturbed = getenv("PLAYED_DISTURBED") ? atoi(getenv("PLAYED_DISTURBED")) : 0;
    played_pass(2 + (disturbed > 0 && played_launched() ? 0.5 * (disturbed-- / 192 % 5) : 0));
}

cudaError_t read_launch(const void *from, size_t vectors, unsigned *never, int unroll, int grid,
                        int block, int pdl, cudaStream_t stream)
{
    const work w = {never, from, vectors, (unsigned)(unroll + grid + block + pdl)};
    (void)stream;
    return played_launch(read_run, &w, sizeof w);
}

static void weights_run(const void *arguments)
{
    const fill_weights_args *a = arguments;
    unsigned state = 1;
    played_flush();
    for (int layer = 0; layer < a->layers; layer++)
        for (int tile = 0; tile < a->tiles; tile++) {
            uint8_t *to = a->to + layer * a->stride + a->header_bytes + tile * a->record_bytes;
            memcpy(to, a->templates + tile % a->templated * a->record_bytes,
                   (size_t)a->record_bytes);
            for (long long i = 0; i < a->codes_bytes; i++) {
                state = state * 1664525u + 1013904223u;
                to[i] ^= (uint8_t)(state >> 24);
            }
        }
}

cudaError_t fill_weights_launch(const fill_weights_args *args, cudaStream_t stream)
{
    (void)stream;
    return played_launch(weights_run, args, sizeof *args);
}

static void random_run(const void *arguments)
{
    const work *w = arguments;
    played_flush();
    memset(w->to, 7, w->words * 4);
}

cudaError_t fill_random_launch(void *to, size_t words, unsigned seed, cudaStream_t stream)
{
    const work w = {to, NULL, words, seed};
    (void)stream;
    return played_launch(random_run, &w, sizeof w);
}

cudaError_t fill_half_launch(void *to, size_t words, unsigned seed, cudaStream_t stream)
{
    return fill_random_launch(to, words, seed, stream);
}

static void checksum_run(const void *arguments)
{
    const work *w = arguments;
    unsigned sum, word;
    played_flush();
    memcpy(&sum, w->to, sizeof sum);
    for (size_t i = 0; i < w->words; i++) {
        memcpy(&word, (const char *)w->from + 4 * i, sizeof word);
        sum += (word ^ (unsigned)i * 0x9e3779b9u) * 0x85ebca6bu;
    }
    memcpy(w->to, &sum, sizeof sum);
}

cudaError_t fill_checksum_launch(const void *from, size_t words, unsigned *sum, cudaStream_t stream)
{
    const work w = {sum, from, words, 0};
    (void)stream;
    return played_launch(checksum_run, &w, sizeof w);
}

static void write_run(const void *arguments)
{
    const work *w = arguments;
    played_flush();
    if ((uintptr_t)w->to < 4096)
        played_fail(cudaErrorIllegalAddress);
    else
        for (size_t i = 0; i < w->words; i++)
            memcpy((char *)w->to + 4 * i, &w->value, 4);
}

cudaError_t plant_write(unsigned *to, int words, unsigned value, cudaStream_t stream)
{
    const work w = {to, NULL, (size_t)words, value};
    (void)stream;
    return played_launch(write_run, &w, sizeof w);
}

static void hang_run(const void *arguments)
{
    (void)arguments;
    played_hang();
}

cudaError_t plant_hang(const volatile unsigned *word, cudaStream_t stream)
{
    (void)word;
    (void)stream;
    return played_launch(hang_run, "", 1);
}
