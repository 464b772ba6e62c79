/* tests/simt/simt.h: run a layer's kernels on the CPU, with every access checked.
 *
 * The unmodified device code of include/fbq/device runs thread by thread on the machine of
 * machine.h. All pointers of fbq_call are host pointers here. Parts, x, bias, residual, y and
 * scratch are registered with exactly the bytes that the call grants, so a read past a row of x or
 * a write between two rows of y is a finding, as are races, uninitialised reads and unwritten
 * outputs (report.h has the list).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_SIMT_H
#define FBQ_SIMT_H

#include <fbq/fbq.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How to run. Zero everywhere means the defaults. */
typedef struct fbq_simt_options {
    const fbq_gpu *gpu;    /* NULL: fbq_simt_gpu() */
    const fbq_pick *down;  /* NULL: the default pick for the GPU */
    const fbq_pick *fused; /* NULL: the default pick for the GPU */
    int impatient;         /* not 0: a block makes what it would wait for of others' partial sums at
                            * once */
    int k_known;           /* not 0: a fused kernel for this K alone; 0: K at run time */
    int resident;          /* blocks that live at once, 1 or more; 0: one. More than the grid has
                            * means the whole grid */
    uint64_t seed;         /* decides the order of threads and blocks */
} fbq_simt_options;

/* What the machine found. */
typedef struct fbq_simt_report {
    long findings;
    char text[6144]; /* a line for each place, the first line has count and seed */
} fbq_simt_report;

/* How many findings of a kind (a name of report.h) the report names, repeats included. */
long fbq_simt_found(const fbq_simt_report *report, const char *kind);

/* A GPU of few multiprocessors, so that blocks take several tiles each, and of more shared memory
 * than any real one, so that x of every K stays there and a few default picks do. Its capability is
 * one that has bulk copies; 80 in a copy of it takes the kernels that do without. */
const fbq_gpu *fbq_simt_gpu(void);

/* Bytes of scratch that a call with m rows wants under the given picks (options may be NULL). */
fbq_status fbq_simt_scratch_bytes(const fbq_problem *problem, const fbq_simt_options *options,
                                  int64_t m, size_t *bytes, fbq_error *error);

/* Bytes of state, likewise. */
fbq_status fbq_simt_state_bytes(const fbq_problem *problem, const fbq_simt_options *options,
                                int64_t m, size_t *bytes, fbq_error *error);

/* Both kernels, as fbq_linear launches them. A finding makes it FBQ_ERR_CUDA, as on a GPU that
 * trapped; FBQ_ERR_UNSUPPORTED means that the pick is not among those compiled for the CPU. options
 * and report may be NULL. */
fbq_status fbq_simt_linear_with(const fbq_problem *problem, const fbq_call *call,
                                const fbq_simt_options *options, fbq_simt_report *report,
                                fbq_error *error);

/* The down kernel alone: partial sums of t in call->scratch, slices x m x (rank rounded up to 16).
 */
fbq_status fbq_simt_down(const fbq_problem *problem, const fbq_call *call,
                         const fbq_simt_options *options, fbq_simt_report *report,
                         fbq_error *error);

/* Reconstruct, as fbq_reconstruct_gpu launches it; of options gpu, which must be given,
 * resident and seed count. Neither options nor report may be NULL. FBQ_ERR_UNSUPPORTED: see
 * spread_reconstruct.h. */
fbq_status fbq_simt_reconstruct_0(const fbq_reconstruction *what, const fbq_reconstruct_call *call,
                                  const fbq_simt_options *options, fbq_simt_report *report,
                                  fbq_error *error);
fbq_status fbq_simt_reconstruct_1(const fbq_reconstruction *what, const fbq_reconstruct_call *call,
                                  const fbq_simt_options *options, fbq_simt_report *report,
                                  fbq_error *error);

/* Both kernels with default options. */
int fbq_simt_linear(const fbq_problem *problem, const fbq_call *call, fbq_error *error);

#ifdef __cplusplus
}
#endif

#endif /* FBQ_SIMT_H */
