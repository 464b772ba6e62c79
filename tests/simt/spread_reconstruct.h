/* tests/simt/spread_reconstruct.h: the formats that reconstruct is compiled for on the CPU, each
 * with B . A and without.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_SIMT_SPREAD_RECONSTRUCT_H
#define FBQ_SIMT_SPREAD_RECONSTRUCT_H

/* bits, group, zero kind, types of scales, factors and w: every pair of values that there may be */
#define SIMT_RECONSTRUCT(X) \
    X(2, 0, 1, 2, 1, 2)     \
    X(3, 0, 0, 1, 1, 2)     \
    X(4, 0, 2, 1, 2, 1)     \
    X(2, 32, 0, 1, 1, 2)    \
    X(3, 32, 1, 2, 1, 2)    \
    X(3, 32, 2, 1, 1, 1)    \
    X(4, 32, 0, 2, 2, 1)    \
    X(2, 64, 0, 1, 1, 1)    \
    X(3, 64, 2, 1, 2, 2)    \
    X(4, 64, 1, 2, 1, 1)    \
    X(2, 128, 2, 1, 2, 2)   \
    X(3, 128, 0, 1, 1, 1)   \
    X(3, 128, 1, 2, 2, 2)   \
    X(4, 128, 1, 1, 2, 1)   \
    X(2, 256, 1, 1, 2, 1)   \
    X(3, 256, 0, 2, 1, 2)   \
    X(4, 256, 2, 2, 1, 2)

#endif /* FBQ_SIMT_SPREAD_RECONSTRUCT_H */
