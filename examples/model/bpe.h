/* bpe.h: merging the bytes of one piece of text, the inner loop of the tokeniser.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef BPE_H
#define BPE_H

#include <stddef.h>
#include <stdint.h>

/* Tokens `left` and `right` side by side become `result`; lower ranks go first. */
typedef struct bpe_merge {
    int32_t left, right, result;
    uint32_t rank;
} bpe_merge;

/* Put merges into the order that bpe_apply searches. */
void bpe_sort(bpe_merge *merges, size_t count);

/* Merge ids[0 .. count) in place until no pair is left; writes the new count to *count. Takes time
 * n log n, so that a long run of letters is no trap. Returns 0 when memory runs out. */
int bpe_apply(const bpe_merge *merges, size_t merge_count, int32_t *ids, size_t *count);

#endif /* BPE_H */
