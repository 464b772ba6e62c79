/* bench/variants.c: one layer in each variant, and choosing between ways to do it; see bench.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <stdio.h>
#include <string.h>

/* Replays that decide between candidates. */
#define CHOICE_REPLAYS 7

static const struct {
    const char *name;
    int branch, blas;
    truth what;
} table[VARIANTS] = {
    [VARIANT_READ] = {"read", 0, 0, TRUTH_BRANCH},
    [VARIANT_READ_PDL] = {"read_pdl", 0, 0, TRUTH_BRANCH},
    [VARIANT_FP16] = {"fp16", 0, 1, TRUTH_FP16},
    [VARIANT_INT4] = {"int4", 0, 0, TRUTH_INT4},
    [VARIANT_INT4_SUB] = {"int4_sub", 1, 1, TRUTH_BRANCH},
    [VARIANT_INT4_SUB_LT] = {"int4_sub_lt", 1, 1, TRUTH_BRANCH},
    [VARIANT_INT4_SUB_OWN] = {"int4_sub_own", 1, 0, TRUTH_BRANCH},
    [VARIANT_INT4_SUB4] = {"int4_sub4", 1, 1, TRUTH_BRANCH},
    [VARIANT_FBQ2] = {"fbq2", 1, 0, TRUTH_BRANCH},
    [VARIANT_FBQ1] = {"fbq1", 1, 0, TRUTH_BRANCH},
};

const char *variant_name(variant v)
{
    return table[v].name;
}

int variant_wants_branch(variant v)
{
    return table[v].branch;
}

int variant_wants_blas(variant v)
{
    return table[v].blas;
}

truth variant_truth(variant v)
{
    return table[v].what;
}

/* The conventional ways know fp16 alone, and the sub-branch of one layer; those of our own up to 8
 * rows, and that which dequantises 4 bits. */
int variant_possible(const bench *b, variant v, int m)
{
    const int own = v == VARIANT_INT4_SUB_OWN || v == VARIANT_INT4_SUB4;
    const int conventional =
        v == VARIANT_FP16 || v == VARIANT_INT4_SUB || v == VARIANT_INT4_SUB_LT || own;
    if (conventional && b->o.type != FBQ_F16)
        return 0;
    if (conventional && v != VARIANT_FP16 && b->o.segments > 1)
        return 0;
    if ((own && m > 8) || (v == VARIANT_INT4_SUB4 && b->o.bits != 4))
        return 0;
    if (v == VARIANT_INT4_SUB_LT)
        return b->has_blas && b->blas.handle_lt != NULL;
    return b->has_blas || !variant_wants_blas(v);
}

static int fbq_enqueue(bench *b, const fbq_plan *plan, int branch, int layer, cudaStream_t stream,
                       fail *f)
{
    fbq_call call = layers_call(&b->l, layer, b->o.m[b->m], branch);
    call.scratch = b->scratch;
    call.scratch_bytes = b->scratch_bytes;
    call.state = b->state;
    call.state_bytes = b->state_bytes;
    call.chained = !b->o.alone; /* nobody writes weights once the graph is recorded */
    fbq_status status = fbq_linear(plan, &call, stream);
    return status == FBQ_OK ? 0 : failf(f, "fbq_linear: %s", fbq_status_string(status));
}

int int4_enqueue(bench *b, int layer, cudaStream_t stream, fail *f)
{
    return fbq_enqueue(b, b->int4, 0, layer, stream, f);
}

int variant_enqueue(void *user, int layer, cudaStream_t stream, fail *f)
{
    prepared *p = user;
    layers *l = &p->b->l;
    switch (p->what) {
    case VARIANT_FP16:
        return gemm_run(&p->gemm_w, l->x, l->w + (size_t)layer * l->w_stride, l->y, stream, f);
    case VARIANT_INT4:
        return int4_enqueue(p->b, layer, stream, f);
    case VARIANT_FBQ2:
        return fbq_enqueue(p->b, p->b->fbq2, 1, layer, stream, f);
    case VARIANT_FBQ1:
        return fbq_enqueue(p->b, p->b->fbq1, 1, layer, stream, f);
    default:
        return conventional_enqueue(p, layer, stream, f);
    }
}

static int run_checked(prepared *p, fail *f)
{
    bench *b = p->b;
    TRY(layers_poison(&b->l, f));
    TRY(p->seq.enqueue(p->seq.user, 0, b->g.stream, f));
    return layers_check(&b->l, variant_truth(p->what), b->o.m[b->m],
                        b->o.type == FBQ_F16 ? MOST_ERROR : 8 * MOST_ERROR, &p->error, f);
}

int prepared_time(prepared *p, timing *t, fail *f)
{
    TRY(run_checked(p, f));
    return graph_time(&p->b->g, &p->seq, GRAPH_LAUNCHES, CHOICE_REPLAYS, t, f);
}

int prepared_choose(prepared *p, int *value, int count, fail *f)
{
    int best = -1;
    double least = 0;
    for (int i = 0; i < count; i++) {
        timing t;
        *value = i;
        if (prepared_time(p, &t, f)) {
            if (p->b->g.lost)
                return 1;
            fprintf(stderr, "    candidate %d of %d passed over: %s\n", i + 1, count, f->text);
            continue;
        }
        if (best < 0 || t.median < least) {
            best = i;
            least = t.median;
        }
    }
    if (best < 0) {
        fail last = *f;
        return failf(f, "no candidate of %d works; the last: %.700s", count, last.text);
    }
    *value = best;
    return 0;
}

static int fp16_open(prepared *p, fail *f)
{
    bench *b = p->b;
    layers *l = &b->l;
    TRY(layers_need_fp16(l, b->cold_bytes, b->o.hot, f));
    p->seq.layers = l->count_fp16;
    TRY(gemm_open(&p->gemm_w, &b->blas, GEMM_USE_BLAS | GEMM_USE_LT, b->o.m[b->m], (int)l->n,
                  (int)l->k, (int)l->k, (int)l->k, (int)l->n, 0, f));
    TRY(prepared_choose(p, &p->gemm_w.chosen, p->gemm_w.candidates, f));
    snprintf(p->label, sizeof p->label, "w: %s", gemm_name(&p->gemm_w));
    return 0;
}

static int read_open(prepared *p, fail *f)
{
    bench *b = p->b;
    const floor_time *floor;
    int pdl = p->what == VARIANT_READ_PDL;
    TRY(floor_get(&b->g, p->bytes, b->o.hot, b->cold_bytes, b->o.replays, &floor, f));
    TRY(floor_sequence(&b->g, floor, pdl, b->cold_bytes, &p->read, &p->seq, f));
    snprintf(p->label, sizeof p->label, "unroll %d, %d blocks of %d", p->read.unroll, p->read.grid,
             p->read.block);
    return 0;
}

static int int4_open(prepared *p, fail *f)
{
    fbq_pick pick;
    TRY(bench_need_int4(p->b, f));
    if (fbq_plan_pick(p->b->int4, FBQ_KERNEL_FUSED, p->b->o.m[p->b->m], &pick) == FBQ_OK)
        fbq_pick_print(&pick, p->label, sizeof p->label);
    return run_checked(p, f);
}

static int fbq2_open(prepared *p, fail *f)
{
    fbq_pick pick;
    int length = 0, m = p->b->o.m[p->b->m];
    TRY(bench_need_fbq2(p->b, f));
    if (fbq_plan_pick(p->b->fbq2, FBQ_KERNEL_FUSED, m, &pick) == FBQ_OK)
        length = fbq_pick_print(&pick, p->label, sizeof p->label - 2);
    if (length < (int)sizeof p->label / 2 &&
        fbq_plan_pick(p->b->fbq2, FBQ_KERNEL_DOWN, m, &pick) == FBQ_OK) {
        memcpy(p->label + length, "; ", 3);
        fbq_pick_print(&pick, p->label + length + 2, sizeof p->label - (size_t)length - 2);
    }
    return run_checked(p, f);
}

static int fbq1_open(prepared *p, fail *f)
{
    fbq_pick pick;
    TRY(bench_need_fbq1(p->b, f));
    if (fbq_plan_pick(p->b->fbq1, FBQ_KERNEL_FUSED, p->b->o.m[p->b->m], &pick) == FBQ_OK)
        fbq_pick_print(&pick, p->label, sizeof p->label);
    return run_checked(p, f);
}

int prepared_open(prepared *p, bench *b, variant v, fail *f)
{
    memset(p, 0, sizeof *p);
    p->b = b;
    p->what = v;
    p->seq.enqueue = variant_enqueue;
    p->seq.user = p;
    p->seq.layers = b->l.count;
    p->bytes = layers_bytes(&b->l, variant_truth(v));
    switch (v) {
    case VARIANT_READ:
    case VARIANT_READ_PDL:
        return read_open(p, f);
    case VARIANT_FP16:
        return fp16_open(p, f);
    case VARIANT_INT4:
        return int4_open(p, f);
    case VARIANT_FBQ2:
        return fbq2_open(p, f);
    case VARIANT_FBQ1:
        return fbq1_open(p, f);
    default:
        return conventional_open(p, f);
    }
}

void prepared_close(prepared *p)
{
    gemm_close(&p->gemm_w);
    gemm_close(&p->gemm_a);
    gemm_close(&p->gemm_b);
}
