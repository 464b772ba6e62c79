/* tests/support/shard.h: a program that runs on a GPU, and its share of the work.
 *
 *     PROGRAM [--shard I/N] [--ptx CAPABILITY]
 *
 * Shards share the work between processes, most of whose time NVRTC takes. --ptx 80 runs the sm_80
 * code on a newer GPU.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_SHARD_H
#define FBQ_TESTS_SHARD_H

#include <fbq/fbq.h>

/* Read the arguments and open the first GPU. 0, or the status that main returns: 2 for other
 * arguments, SKIPPED where there is no GPU, 1 where it cannot be opened; stderr says why. */
int shard_open(int argc, char **argv);
void shard_close(void);

fbq_context *shard_context(void);

/* Whether the next piece of work is this process's. */
int shard_mine(void);

#endif
