/* tests/gpu_stress_load.h: work that takes multiprocessors away from the kernels under test, and a
 * look at their results that needs no host.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_GPU_STRESS_LOAD_H
#define FBQ_TESTS_GPU_STRESS_LOAD_H

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Load the kernels and let the first take up to `shared_most` bytes of shared memory a block. To be
 * called while nothing runs: loading waits for that, and would end what a test wants to overlap. */
cudaError_t load_prepare(int shared_most);

/* `blocks` blocks on `stream`, each of which holds `shared` bytes of shared memory and stays for
 * `microseconds` from its own start. */
cudaError_t load_launch(int blocks, int shared, int microseconds, cudaStream_t stream);

/* What comparisons have found: how many words differ, the mark of one that found some, and of that
 * one's words some: their places and both values. */
enum { DIFFERENCES = 16 };
typedef struct difference {
    unsigned count, mark, noted;
    struct {
        unsigned at, got, wanted;
    } word[DIFFERENCES];
} difference;

/* Compare `bytes`, an even number, and add to *found. `mark` is not 0. */
cudaError_t compare_launch(const void *got, const void *wanted, size_t bytes, unsigned mark,
                           difference *found, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
