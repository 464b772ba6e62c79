/* bench/kernels.h: launchers of the benchmark's own kernels (read.cu, write.cu, fill.cu,
 * conventional.cu).
 * Each returns what the launch returned. Pointers are device pointers.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_KERNELS_H
#define FBQ_BENCH_KERNELS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- read.cu: the floor ---- */

/* Does the code that the driver chose for this GPU contain the dependency wait? A launch with the
 * attribute of programmatic dependent launch is a race where it does not. */
cudaError_t read_has_dependency_wait(int *yes);

/* Read `vectors` 16-byte vectors and do nothing with them. unroll: 4, 8 or 12 loads in flight a
 * thread. With `pdl` the first of them are issued before the dependency wait. */
cudaError_t read_launch(const void *from, size_t vectors, unsigned *never, int unroll, int grid,
                        int block, int pdl, cudaStream_t stream);

/* ---- write.cu: the floor of what is written ---- */

/* Write `vectors` 16-byte vectors. unroll: 1 or 4 a thread and turn. */
cudaError_t write_launch(void *to, size_t vectors, unsigned seed, int unroll, int grid, int block,
                         int pdl, cudaStream_t stream);

/* ---- fill.cu: random contents, made on the GPU ---- */

typedef struct fill_weights_args {
    uint8_t *to;              /* layers, `stride` bytes apart, each behind its header */
    const uint8_t *templates; /* packed tile records, one after another */
    long long stride;
    long long record_bytes;
    long long codes_bytes;
    int header_bytes;
    int layers;
    int tiles;     /* of a layer */
    int templated; /* number of templates; tile i starts as template i % templated */
} fill_weights_args;

/* Records of every layer: a template's scales and zero points, and codes that differ everywhere. */
cudaError_t fill_weights_launch(const fill_weights_args *args, cudaStream_t stream);

/* Random bytes; `words` 32-bit words. */
cudaError_t fill_random_launch(void *to, size_t words, unsigned seed, cudaStream_t stream);

/* Random fp16 numbers of both signs, magnitude 2^-6 .. 2^-5; `words` pairs of them. */
cudaError_t fill_half_launch(void *to, size_t words, unsigned seed, cudaStream_t stream);

/* Add to *sum, on the GPU, a number that changes when any of the words does. */
cudaError_t fill_checksum_launch(const void *from, size_t words, unsigned *sum,
                                 cudaStream_t stream);

/* ---- conventional.cu: what fbq2 is compared with ---- */

/* fbq's own down kernel by itself: t[slice][m][rank_tiles * 16] in fp32. */
typedef struct own_down {
    const void *x;    /* m x k fp16 */
    const void *down; /* packed part */
    float *t;
    int m, k, chunks, rank_tiles;
    int warps, chunks_in_flight, slices; /* a pick of down_choices */
} own_down;

typedef struct own_down_choice {
    int warps, chunks_in_flight;
} own_down_choice;
extern const own_down_choice own_down_choices[];
extern const int own_down_choice_count;

cudaError_t own_down_launch(const own_down *args, cudaStream_t stream);

/* y[m][n] += sum over ranks of t . B^T, t as own_down_launch wrote it. */
typedef struct own_up {
    const float *t;
    const void *b;                     /* n x b_stride fp16, zeros from the rank to b_stride */
    void *y;                           /* m x n fp16 */
    int m, n, ranks, b_stride, slices; /* ranks: padded to 16; b_stride: a multiple of 8 */
    int rows, block;                   /* rows a half-warp: 1, 2 or 4; threads a block */
} own_up;

cudaError_t own_up_launch(const own_up *args, cudaStream_t stream);

/* W[n][k] = s * (q - z) in fp16 from packed W4 records: the first of the paper's four kernels. */
typedef struct dequantise {
    const void *weights; /* packed part */
    void *w;             /* n x k fp16 */
    long long record_bytes;
    int header_bytes, codes_bytes, scales_bytes;
    int n, k, tiles, chunks;
    int group; /* codes, a multiple of 32; 0: whole row */
    int zero;  /* as fbq_zero */
} dequantise;

cudaError_t dequantise_launch(const dequantise *args, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif /* FBQ_BENCH_KERNELS_H */
