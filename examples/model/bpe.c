/* bpe.c: the pair with the lowest rank first, the leftmost of equals, from a binary heap.
 *
 * An entry of the heap is not removed when one of its symbols changes; it is recognised as stale
 * when it comes up, because a symbol that grew has another id.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bpe.h"

#include <stdlib.h>

#define NONE SIZE_MAX

typedef struct symbol {
    int32_t id; /* -1 when it went into its left neighbour */
    size_t previous, next;
} symbol;

typedef struct pair {
    const bpe_merge *merge;
    size_t at; /* the left symbol */
} pair;

typedef struct heap {
    pair *items;
    size_t count;
} heap;

static int by_pair(const void *a, const void *b)
{
    const bpe_merge *x = a, *y = b;
    if (x->left != y->left)
        return x->left < y->left ? -1 : 1;
    if (x->right != y->right)
        return x->right < y->right ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

void bpe_sort(bpe_merge *merges, size_t count)
{
    qsort(merges, count, sizeof *merges, by_pair);
}

/* The lowest-ranked merge of two ids, or NULL. */
static const bpe_merge *find(const bpe_merge *merges, size_t count, int32_t left, int32_t right)
{
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const bpe_merge *m = &merges[middle];
        if (m->left < left || (m->left == left && m->right < right))
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && merges[low].left == left && merges[low].right == right ? &merges[low]
                                                                                 : NULL;
}

static int before(const pair *a, const pair *b)
{
    return a->merge->rank != b->merge->rank ? a->merge->rank < b->merge->rank : a->at < b->at;
}

static void push(heap *h, pair item)
{
    size_t i = h->count++;
    while (i > 0 && before(&item, &h->items[(i - 1) / 2])) {
        h->items[i] = h->items[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    h->items[i] = item;
}

static pair pop(heap *h)
{
    const pair top = h->items[0], last = h->items[--h->count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->count)
            break;
        if (child + 1 < h->count && before(&h->items[child + 1], &h->items[child]))
            child++;
        if (!before(&h->items[child], &last))
            break;
        h->items[i] = h->items[child];
        i = child;
    }
    h->items[i] = last;
    return top;
}

static void offer(heap *h, const bpe_merge *merges, size_t merge_count, const symbol *symbols,
                  size_t at)
{
    if (at == NONE || symbols[at].next == NONE)
        return;
    const bpe_merge *m = find(merges, merge_count, symbols[at].id, symbols[symbols[at].next].id);
    if (m != NULL)
        push(h, (pair){m, at});
}

int bpe_apply(const bpe_merge *merges, size_t merge_count, int32_t *ids, size_t *count)
{
    const size_t n = *count;
    if (n < 2)
        return 1;
    symbol *symbols = malloc(n * sizeof *symbols);
    /* n - 1 first pairs, and at most two new ones for each of the n - 1 merges. */
    heap h = {malloc(3 * n * sizeof(pair)), 0};
    if (symbols == NULL || h.items == NULL) {
        free(symbols);
        free(h.items);
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        symbols[i] = (symbol){ids[i], i == 0 ? NONE : i - 1, i + 1 < n ? i + 1 : NONE};
    for (size_t i = 0; i < n; i++)
        offer(&h, merges, merge_count, symbols, i);
    while (h.count > 0) {
        const pair p = pop(&h);
        symbol *left = &symbols[p.at];
        if (left->id != p.merge->left || left->next == NONE ||
            symbols[left->next].id != p.merge->right)
            continue; /* stale */
        symbol *right = &symbols[left->next];
        left->id = p.merge->result;
        left->next = right->next;
        right->id = -1;
        if (left->next != NONE)
            symbols[left->next].previous = p.at;
        offer(&h, merges, merge_count, symbols, left->previous);
        offer(&h, merges, merge_count, symbols, p.at);
    }
    *count = 0;
    for (size_t i = 0; i != NONE; i = symbols[i].next)
        ids[(*count)++] = symbols[i].id;
    free(symbols);
    free(h.items);
    return 1;
}
