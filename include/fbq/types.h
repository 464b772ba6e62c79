/* fbq/types.h: what a low-bit linear layer is, as plain data.
 *
 *     y[M,N] = x[M,K] . deq(Wq[N,K])^T + (x[M,K] . A[r,K]^T) . B[N,r]^T + bias[N]
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TYPES_H
#define FBQ_TYPES_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "version.h"

/* Element types. Not every type is legal everywhere; each field says which are. */
typedef enum fbq_type {
    FBQ_F16 = 1,  /* IEEE binary16 */
    FBQ_BF16 = 2, /* bfloat16 */
    FBQ_F32 = 3,  /* IEEE binary32 */
    FBQ_I8 = 4    /* integers -127 .. 127 with an fp32 scale a row: of A and B alone */
} fbq_type;

/* How a code q becomes a weight: w = s * (q - z). */
typedef enum fbq_zero {
    FBQ_ZERO_NONE = 0, /* z = 2^(bits-1), nothing stored (symmetric quantisation) */
    FBQ_ZERO_CODE = 1, /* z is an integer in 0 .. 2^bits - 1, stored in 4 bits */
    FBQ_ZERO_F16 = 2   /* z is any finite fp16 number (never the product s * z) */
} fbq_zero;

/* Group size that means "one group is a whole row". */
#define FBQ_GROUP_ROW 0

/* How numbers are stored. */
typedef struct fbq_format {
    int bits;             /* 2, 3 or 4 */
    int group;            /* codes along K that share s and z: 32, 64, 128, 256 or FBQ_GROUP_ROW */
    fbq_zero zero;        /* kind of zero point */
    fbq_type scale_type;  /* type of s: FBQ_F16 or FBQ_BF16 */
    fbq_type factor_type; /* of A and B: FBQ_F16, FBQ_BF16 or FBQ_I8; ignored if every rank is 0 */
} fbq_format;

/* Layers that share x (q/k/v, gate/up) may be packed as one: segments stack along N, each with its
 * own rank, so that the shared B is block-diagonal. */
#define FBQ_MAX_SEGMENTS 8

typedef struct fbq_segment {
    int64_t n; /* rows (outputs), at least 1 */
    int64_t r; /* rank of the segment's sub-branch, 0 for none */
} fbq_segment;

/* Logical sizes: what the model says, before any padding. */
typedef struct fbq_shape {
    int64_t k;    /* inputs, at least 1; the last group may be ragged */
    int segments; /* 1 .. FBQ_MAX_SEGMENTS */
    fbq_segment segment[FBQ_MAX_SEGMENTS];
} fbq_shape;

/* A shape of one segment: n x k with a sub-branch of rank r. */
static inline fbq_shape fbq_shape_of(int64_t n, int64_t k, int64_t r)
{
    fbq_shape shape;
    int i;
    shape.k = k;
    shape.segments = 1;
    for (i = 0; i < FBQ_MAX_SEGMENTS; i++) { /* "= {0}" is a warning in C++ */
        shape.segment[i].n = i == 0 ? n : 0;
        shape.segment[i].r = i == 0 ? r : 0;
    }
    return shape;
}

/* The detail of a failure. Owned by the caller, filled by slow calls, never by a launch. */
typedef struct fbq_error {
    fbq_status status; /* the same value that the call returned */
    int cuda;          /* CUresult or nvrtcResult behind it, 0 if none */
    char detail[512];  /* argument, its value, what was expected, what to do; English, no newline */
} fbq_error;

/* ---- The packed layout (docs/layout.md) ---- */

/* Rows of a tile: the 16 rows of one tensor-core operand. Weights, A and B are cut into such tiles.
 */
#define FBQ_TILE 16
/* Codes along K that one warp takes as a unit: four tensor-core steps of 16. */
#define FBQ_CHUNK 64
/* Every packed part starts with a header of this many bytes, and wants this alignment of its base:
 * records begin on it. */
#define FBQ_HEADER_BYTES 128
#define FBQ_ALIGN 128

/* Sizes of the three packed parts of a layer and the strides inside them, all in bytes unless said.
 * Padded sizes are what the kernels walk; logical sizes are what the caller sees. */
typedef struct fbq_layout {
    fbq_format format;
    fbq_shape shape;
    int64_t n;             /* logical rows, all segments */
    int64_t tiles;         /* 16-row tiles, all segments; no tile crosses a segment */
    int64_t chunks;        /* ceil(k / 64) */
    int64_t groups;        /* groups of a row */
    int64_t groups_padded; /* groups that have scales stored: also those of the padded chunks */
    int64_t group_size;    /* logical codes in a group; k for FBQ_GROUP_ROW */
    int64_t rank_tiles;    /* 16-row tiles of A, all segments, each segment padded to whole tiles */
    int64_t codes_bytes;   /* codes of one tile */
    int64_t scales_bytes;  /* scales of one tile, with fp16 zero points where there are any */
    int64_t zeros_bytes;   /* integer zero points of one tile */
    int64_t record_bytes;  /* stride from tile to tile: a multiple of FBQ_ALIGN */
    int64_t tile_first[FBQ_MAX_SEGMENTS + 1]; /* first tile of each segment */
    int64_t rank_first[FBQ_MAX_SEGMENTS + 1]; /* first 16-row tile of A of each segment */
    int64_t up_first[FBQ_MAX_SEGMENTS + 1];   /* first 16x16 block of B of each segment */
    size_t weights_bytes;                     /* whole part: header and tile records */
    size_t down_bytes;                        /* whole part A; 0 when every rank is 0 */
    size_t up_bytes;                          /* whole part B; 0 when every rank is 0 */
    size_t down_scales; /* where A's scales begin in its part, a float for each row of every tile;
                         * 0 unless factor_type is FBQ_I8 */
    size_t up_scales;   /* B's, likewise */
} fbq_layout;

#endif /* FBQ_TYPES_H */
