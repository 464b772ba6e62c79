/* tests/simt/spread.h: picks that few formats are compiled for, beside the one pick (BASE_*) that
 * every format is: a spread over what a kernel is compiled for instead of the full product.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_SIMT_SPREAD_H
#define FBQ_SIMT_SPREAD_H

/* 64-code chunks are two to a unit. */
#define SIMT_BASE_WARPS 4
#define SIMT_BASE_UNITS 1
#define SIMT_BASE_STAGES 2
#define SIMT_BASE_TILES 2

/* A K for which the sub-branch's warps have more on their way, in chunks: of a layer alone, with
 * int8 factors, and of several segments. */
#define SIMT_LONG_CHUNKS 132
#define SIMT_LONG_BYTES 128
#define SIMT_SEGMENT_CHUNKS 64

/* group, zero kind; warps, units of a part, stages, tiles; K in chunks when it is compiled in, else
 * 0; does all of x stay in shared memory; has the kernel for one row of x the sub-branch (the
 * kernel for several rows is the other way round) */
#define SIMT_SPREAD(X)                                                    \
    X(0, 1, 1, 1, 2, 1, 0, true, false)                                   \
    X(0, 2, 3, 2, 3, 1, 0, false, true)                                   \
    X(0, 0, 16, 1, 2, 1, 33, true, true) /* a warp has one unit or two */ \
    X(0, 1, 8, 2, 4, 3, 0, false, false)                                  \
    X(32, 1, 2, 1, 2, 1, 5, true, true)                                   \
    X(32, 0, 1, 2, 2, 1, 40, true, false) /* a row of ten blocks */       \
    X(32, 2, 1, 3, 3, 2, 9, false, false)                                 \
    X(32, 0, 8, 1, 2, 1, 0, false, true)                                  \
    X(32, 1, 16, 2, 3, 5, 0, false, false) /* more than a block has */    \
    X(64, 0, 2, 2, 2, 1, 16, true, true)   /* every part is whole */      \
    X(64, 1, 3, 1, 3, 3, 0, false, true)                                  \
    X(64, 2, 2, 2, 2, 2, 7, false, true) /* x is one part: a row stays */ \
    X(64, 2, 1, 1, 2, 1, 1, true, true)                                   \
    X(64, 1, 16, 3, 2, 2, 0, false, false)                                \
    X(128, 2, 2, 1, 3, 1, 0, true, true)                                  \
    X(128, 1, 8, 2, 2, 4, 64, false, true) /* every part is whole */      \
    X(128, 0, 1, 2, 4, 1, 21, true, false)                                \
    X(128, 2, 4, 2, 2, 3, 0, false, false) /* holds its first step */     \
    X(128, 1, 3, 3, 4, 2, 21, false, false)                               \
    X(128, 2, 3, 2, 3, 2, 20, false, false) /* whole parts: 2, 2 and 1 */ \
    X(128, 0, 3, 2, 2, 1, 22, true, true)   /* as whole, but uneven */    \
    X(256, 1, 1, 2, 2, 1, 9, true, false)                                 \
    X(256, 2, 2, 3, 3, 2, 0, false, true)                                 \
    X(256, 0, 16, 1, 4, 1, 0, true, true)                                 \
    X(256, 1, 3, 1, 2, 1, 13, false, false)

/* group, zero kind, bits, types of x, scales and factors, columns, kind of sub-branch: every pair
 * of values that there may be, and every triple of bits, type of x and columns. With the pick that
 * all formats have. The last few are for tests of their own. */
#define SIMT_FORMATS(X)                            \
    X(0, 0, 4, 1, 2, 1, 1, 2)                      \
    X(0, 1, 2, 2, 1, 2, 8, 1)                      \
    X(0, 1, 4, 1, 1, 1, 16, 1)                     \
    X(0, 2, 3, 1, 2, 1, 8, 0)                      \
    X(32, 0, 2, 1, 2, 1, 8, 1)                     \
    X(32, 1, 4, 2, 2, 1, 1, 0)                     \
    X(32, 2, 3, 2, 1, 2, 1, 1)                     \
    X(32, 2, 4, 1, 1, 1, 1, 2)                     \
    X(32, 2, 4, 2, 1, 1, 16, 0)                    \
    X(64, 0, 3, 1, 1, 1, 1, 2)                     \
    X(64, 1, 3, 2, 2, 1, 16, 0)                    \
    X(64, 1, 4, 2, 1, 1, 8, 1)                     \
    X(64, 2, 2, 1, 2, 2, 16, 1)                    \
    X(128, 0, 2, 2, 1, 1, 16, 0)                   \
    X(128, 0, 3, 2, 2, 1, 8, 1)                    \
    X(128, 1, 4, 1, 1, 2, 8, 1)                    \
    X(128, 2, 2, 2, 2, 1, 1, 2)                    \
    X(256, 0, 3, 2, 1, 2, 8, 2)                    \
    X(256, 1, 2, 1, 1, 2, 1, 2)                    \
    X(256, 1, 3, 1, 2, 1, 16, 1)                   \
    X(256, 2, 4, 1, 1, 1, 16, 0)                   \
    X(64, 0, 4, 2, 2, 1, 1, 0) /* any_bf16 */      \
    X(64, 0, 4, 2, 2, 2, 8, 1)                     \
    X(64, 0, 2, 2, 2, 1, 8, 0)                     \
    X(64, 0, 3, 2, 2, 2, 1, 1)                     \
    X(128, 1, 4, 1, 1, 4, 1, 2) /* int8 factors */ \
    X(32, 0, 3, 2, 2, 4, 1, 1)                     \
    X(64, 2, 2, 1, 2, 4, 8, 1)                     \
    X(256, 0, 4, 2, 1, 4, 8, 2)                    \
    X(0, 1, 4, 1, 1, 4, 16, 1)                     \
    X(128, 2, 3, 2, 2, 4, 1, 2)                    \
    X(64, 1, 4, 1, 1, 1, 16, 0) /* any_rows */     \
    X(64, 1, 4, 1, 1, 1, 16, 1)

/* Kernels for several segments, of groups of 64 without zero points: bits, type of everything,
 * columns, kind of sub-branch, does x stay, tiles, splits. With the pick's other fields as all
 * formats have them. */
#define SIMT_SEGMENTED(X)       \
    X(4, 1, 1, 0, false, 2, 1)  \
    X(4, 1, 1, 1, false, 2, 1)  \
    X(4, 1, 1, 2, false, 2, 1)  \
    X(4, 1, 8, 1, false, 2, 1)  \
    X(4, 1, 8, 2, false, 2, 1)  \
    X(4, 1, 16, 1, false, 2, 1) \
    X(4, 1, 1, 1, true, 1, 1)   \
    X(4, 1, 1, 2, true, 1, 1)   \
    X(4, 1, 8, 1, true, 1, 1)   \
    X(4, 1, 1, 1, false, 2, 3)  \
    X(4, 1, 1, 2, false, 2, 3)  \
    X(4, 1, 8, 0, false, 2, 3)  \
    X(3, 1, 1, 2, false, 2, 1)  \
    X(2, 2, 8, 1, false, 2, 1)

#endif /* FBQ_SIMT_SPREAD_H */
