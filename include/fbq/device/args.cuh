// fbq/device/args.cuh: the kernels' arguments, plain C as well as CUDA, so that host and device
// read one declaration. Sizes are what host/run.h fills in; nothing here is checked again on the
// GPU.
//
// SPDX-License-Identifier: Apache-2.0
#ifndef FBQ_DEVICE_ARGS_CUH
#define FBQ_DEVICE_ARGS_CUH

// down: t[slice][row of x][rank] = sum over the slice's k of x . A^T. Grid: rank_tiles x slices.
typedef struct fbq_down_args {
    const void *x;       // m x k words
    const void *blocks;  // A behind its header
    const void *records; // weights behind their header
    const float *scales; // of A's rows, where A is int8
    float *t;            // slices x m x (rank_tiles * 16)
    long long x_stride;  // words
    int m;
    int k;
    int chunks;           // of 64 k
    int chunks_per_slice; // the last slice may have fewer
    int rank_tiles;
    int x_vectors;   // x rows begin on 16 bytes
    int ahead_bytes; // of the weights that each warp prefetches into L2
} fbq_down_args;

// A segment of the rows, for fused: one of the layers that share x.
typedef struct fbq_fused_segment {
    int first_tile;         // of weights
    int first_row, end_row; // of y
    int first_rank_tile;    // of A, and so the first step of t
    int rank_tiles;         // steps of 16 ranks; 0 where no sub-branch is added
    int first_block;        // of B
} fbq_fused_segment;

enum { fbq_most_segments = 8 };

// fused: y = x . deq(Wq)^T + t . B^T + bias + residual. Grid: any number up to tiles, times the
// blocks that share a tile.
typedef struct fbq_fused_args {
    const void *x;            // m x k words
    const void *records;      // weights behind their header
    const void *blocks;       // B behind its header
    const void *a_blocks;     // A behind its header, where fused makes t itself
    const float *down_scales; // of the rows of A
    const float *up_scales;   // and of B, where they are int8
    const float *t;           // what down wrote; or NULL
    void *state;              // where fused makes t itself, or blocks share a tile: its head, their
                              // counters, t's partial sums (exchange.cuh)
    float *sums;              // where blocks share a tile: their partial sums of y (splits.cuh)
    const void *bias;         // n words of x's type or NULL
    const void *residual;     // m x n numbers of y's type or NULL
    void *y;                  // m x n numbers
    long long x_stride;       // words
    long long y_stride;       // numbers
    long long residual_stride;
    long long record_bytes;
    long long round_bytes; // from a block's tile to its next
    int codes_bytes;       // scales begin here in a record
    int scales_bytes;      // integer zero points begin this much later
    int m;
    int n;
    int k;
    int tiles;
    int chunks;    // of 64 k
    int parts;     // steps of a tile
    int x_vectors; // x rows begin on 16 bytes
    int y_type;    // of y and residual, as types.h numbers it
    int rank_tiles;
    int slices;         // partial sums of t
    int slice_chunks;   // chunks of K in each; the last may have fewer. Where fused makes t itself
    int patience;       // polls before a block makes what it waits for itself
    int hold;           // cycles that a chained launch of few tiles lets the one before go first
    int hold_warp;      // and more cycles of that for each warp than for the one before it
    int chained;        // the kernel before writes no weights: ask for them before it ends
    int round_tiles;    // tiles of a block whose up-projection is awaited at a time
    int piece_shift;    // 2^piece_shift blocks of B travel at a time: 1, or 4 as one chunk of A
    int up_shift;       // 2^up_shift warps share the up-projection of a tile: 1, 2 or 4
    int x_bytes;        // a warp's x
    int x_slots;        // parts of x in it
    int results_stride; // bytes from one warp's partial results to the next's
    int results_turn;   // and from one area of them to the other; 0: there is one
    int smem_results;   // shared memory offsets in bytes: partial results,
    int smem_sums;      // the sums of a round's tiles,
    int smem_up;        // their up-projections,
    int smem_t;         // t's steps,
    int smem_pieces;    // the rings of the sub-branch's warps,
    int smem_x;         // x,
    int smem_barriers;  // barriers: the rings', the handover's, those of the sub-branch's rings,
    int smem_ring;      // the warps' rings
    int own_tiles, more_tiles; // of each block of several segments; blocks that have one more
    fbq_fused_segment segment[fbq_most_segments]; // read where there are several (segments.cuh)
} fbq_fused_args;

// A segment of the rows, for reconstruct.
typedef struct fbq_reconstruct_segment {
    int first_band;           // of rows, as the kernel cuts them
    int first_tile;           // of weights
    int first_row, end_row;   // of w
    int rank_tiles;           // steps of 16 ranks; 0 where no sub-branch is added
    int first_rank_tile;      // of A
    int first_block;          // of B
    int first_rank, end_rank; // columns of w behind K that are its own, where B is written there
} fbq_reconstruct_segment;

// reconstruct: w = deq(Wq) + B . A, or deq(Wq) with B's columns behind it. Grid: where B . A is
// added, strips_abreast x bands_abreast; else any number.
typedef struct fbq_reconstruct_args {
    const void *records;  // weights behind their header
    const void *a_blocks; // A behind its header
    const void *b_blocks; // B behind its header
    void *w;              // n rows of k + ranks words
    long long w_stride;   // words
    int record_bytes;
    int codes_bytes;  // scales begin here in a record
    int scales_bytes; // integer zero points begin this much later
    int k;
    int chunks;         // of 64 k
    int tiles;          // of 16 rows
    int ranks;          // columns behind K; 0: none
    int w_vectors;      // rows of w begin on 16 bytes
    int segments;       // that are used
    int strips;         // of K, as the kernel cuts it
    int bands;          // of rows, all segments
    int strips_abreast; // that blocks work on at a time,
    int bands_abreast;  // and how many blocks on each
    int strip_steps;    // of 16 ranks that shared memory holds of A,
    int piece_steps;    // and of B in each of its two stages
    int smem_up;        // shared memory offsets in bytes: the stages,
    int smem_barriers;  // the barriers
    fbq_reconstruct_segment segment[8];
} fbq_reconstruct_args;

#endif
