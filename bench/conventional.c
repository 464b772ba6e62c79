/* bench/conventional.c: the sub-branch as launches of its own: the variants int4_sub, int4_sub_lt,
 * int4_sub_own and int4_sub4.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "bench.h"

static int own_enqueue(prepared *p, int layer, cudaStream_t stream, fail *f)
{
    const layers *l = &p->b->l;
    own_down down = p->down;
    own_up up = p->up;
    down.down = l->down + (size_t)layer * l->down_stride;
    up.b = l->b + (size_t)layer * l->b_stride;
    CUDA(f, own_down_launch(&down, stream));
    CUDA(f, own_up_launch(&up, stream));
    return 0;
}

int conventional_enqueue(prepared *p, int layer, cudaStream_t stream, fail *f)
{
    bench *b = p->b;
    const layers *l = &b->l;
    if (p->what == VARIANT_INT4_SUB4) {
        dequantise deq = p->deq;
        deq.weights = l->weights + (size_t)layer * l->weights_stride;
        CUDA(f, dequantise_launch(&deq, stream));
        TRY(gemm_run(&p->gemm_w, l->x, b->deq, l->y, stream, f));
    } else {
        TRY(int4_enqueue(b, layer, stream, f));
    }
    if (p->what == VARIANT_INT4_SUB_OWN)
        return own_enqueue(p, layer, stream, f);
    TRY(gemm_run(&p->gemm_a, l->x, l->a + (size_t)layer * l->a_stride, b->t16, stream, f));
    return gemm_run(&p->gemm_b, b->t16, l->b + (size_t)layer * l->b_stride, l->y, stream, f);
}

/* The fastest down kernel for each number of slices under a default up kernel, then the fastest up
 * kernel under that. */
static int own_open(prepared *p, fail *f)
{
    static const int slices[] = {4, 8, 16, OWN_SLICES};
    static const int rows[] = {1, 2, 4}, blocks[] = {128, 256};
    bench *b = p->b;
    layers *l = &b->l;
    int m = b->o.m[b->m], ranks = (int)l->layout.rank_tiles * FBQ_TILE, best = -1;
    double least = 0;
    own_down best_down = {0};
    if (!b->t32)
        TRY(gpu_alloc(&b->g, &b->t32, (size_t)OWN_SLICES * (size_t)(l->m_max * ranks) * 4, "t", f));
    TRY(bench_need_int4(b, f));
    p->down = (own_down){l->x,
                         NULL,
                         b->t32,
                         m,
                         (int)l->k,
                         (int)l->layout.chunks,
                         (int)l->layout.rank_tiles,
                         own_down_choices[0].warps,
                         own_down_choices[0].chunks_in_flight,
                         slices[0]};
    p->up = (own_up){b->t32, NULL, l->y, m, (int)l->n, ranks, (int)l->b_row, slices[0], 1, 128};
    for (int pass = 0; pass < 2; pass++) {
        int count = pass == 0 ? own_down_choice_count * 4 : 6;
        best = -1;
        for (int i = 0; i < count; i++) {
            timing t;
            if (pass == 0) {
                p->down.warps = own_down_choices[i / 4].warps;
                p->down.chunks_in_flight = own_down_choices[i / 4].chunks_in_flight;
                p->down.slices = p->up.slices = slices[i % 4];
            } else {
                p->up.rows = rows[i % 3];
                p->up.block = blocks[i / 3];
            }
            if (prepared_time(p, &t, f)) {
                if (b->g.lost)
                    return 1;
                fprintf(stderr, "    candidate %d of %d passed over: %s\n", i + 1, count, f->text);
                continue;
            }
            if (best < 0 || t.median < least) {
                best = i;
                least = t.median;
                best_down = p->down;
            }
        }
        if (best < 0)
            return 1;
        p->down = best_down;
        p->up.slices = best_down.slices;
    }
    p->up.rows = rows[best % 3];
    p->up.block = blocks[best / 3];
    snprintf(p->label, sizeof p->label, "down warps=%d chunks=%d slices=%d; up rows=%d block=%d",
             p->down.warps, p->down.chunks_in_flight, p->down.slices, p->up.rows, p->up.block);
    return 0;
}

static int gemms_open(prepared *p, int use, fail *f)
{
    bench *b = p->b;
    layers *l = &b->l;
    int m = b->o.m[b->m], n = (int)l->n, k = (int)l->k, r = b->o.rank, t_row = (int)l->b_row;
    if (!b->t16)
        TRY(gpu_alloc(&b->g, &b->t16, (size_t)l->m_max * (size_t)l->b_row * 2, "t", f));
    TRY(gemm_open(&p->gemm_a, &b->blas, use, m, r, k, k, k, t_row, 0, f));
    TRY(gemm_open(&p->gemm_b, &b->blas, use, m, n, r, t_row, (int)l->b_row, n, 1, f));
    /* one after the other: the best A under some B, then the best B under that A; the last choice
     * goes over all candidates once more, so both are checked together */
    TRY(prepared_choose(p, &p->gemm_a.chosen, p->gemm_a.candidates, f));
    return prepared_choose(p, &p->gemm_b.chosen, p->gemm_b.candidates, f);
}

static int four_open(prepared *p, fail *f)
{
    bench *b = p->b;
    layers *l = &b->l;
    const fbq_layout *y = &l->layout;
    int n = (int)l->n, k = (int)l->k;
    if (!b->deq)
        TRY(gpu_alloc(&b->g, &b->deq, layers_bytes(l, TRUTH_FP16), "dequantised weights", f));
    p->deq = (dequantise){
        NULL, b->deq, y->record_bytes, FBQ_HEADER_BYTES, (int)y->codes_bytes, (int)y->scales_bytes,
        n,    k,      (int)y->tiles,   (int)y->chunks,   l->format.group,     (int)l->format.zero};
    TRY(gemm_open(&p->gemm_w, &b->blas, GEMM_USE_BLAS | GEMM_USE_LT, b->o.m[b->m], n, k, k, k, n, 0,
                  f));
    TRY(gemms_open(p, GEMM_USE_BLAS | GEMM_USE_LT, f));
    return prepared_choose(p, &p->gemm_w.chosen, p->gemm_w.candidates, f);
}

int conventional_open(prepared *p, fail *f)
{
    if (p->what == VARIANT_INT4_SUB_OWN)
        return own_open(p, f);
    if (p->what == VARIANT_INT4_SUB4) {
        TRY(four_open(p, f));
        snprintf(p->label, sizeof p->label, "w: %s; a: %s; b: %s", gemm_name(&p->gemm_w),
                 gemm_name(&p->gemm_a), gemm_name(&p->gemm_b));
        return 0;
    }
    TRY(bench_need_int4(p->b, f));
    TRY(gemms_open(p, p->what == VARIANT_INT4_SUB ? GEMM_USE_BLAS : GEMM_USE_LT, f));
    snprintf(p->label, sizeof p->label, "a: %s; b: %s", gemm_name(&p->gemm_a),
             gemm_name(&p->gemm_b));
    return 0;
}
