/* fbq/fbq.h: the fastest low-bit linear layer with a low-rank sub-branch that anyone can include.
 *
 *     y[M,N] = x[M,K] . deq(Wq[N,K])^T + (x[M,K] . A[r,K]^T) . B[N,r]^T (+ bias[N]) (+ residual)
 *
 * This header is the whole C API: C11, also valid C++17. It needs no CUDA header. In exactly one
 * translation unit of a program write
 *
 *     #define FBQ_IMPLEMENTATION
 *     #include <fbq/fbq.h>
 *
 * before any other include; that unit needs <cuda.h> on its include path and libdl where the C
 * library keeps it apart; nothing else. Or link the optional library fbq::impl instead.
 *
 * CUDA C++ projects that compile with nvcc may include <fbq/fbq.cuh> and call the typed launchers
 * there; both ways run the same device code and give the same bits (it names one exception).
 *
 * Conventions of every call below
 *   - It returns a status; FBQ_OK is 0. Nothing aborts, prints or falls back in silence.
 *   - `error` may be NULL. When it is not, a failing call fills it: which argument, its value, what
 *     was expected, what to do. A call that succeeds leaves it alone.
 *   - Matrices are row-major. Sizes and strides count elements, `bytes` counts bytes.
 *   - "Host" pointers are ordinary memory; "device" pointers are CUdeviceptr values.
 *   - Calls without a context are pure functions of their arguments and safe from any thread.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_H
#define FBQ_H

#ifdef FBQ_IMPLEMENTATION
#include "host/posix.h"
#endif

#include "version.h"
#include "status.h"
#include "types.h"
#include "pick.h"
#include "problem.h"
#include "wisdom.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A CUDA stream, declared as the driver declares it, so that CUstream and cudaStream_t both fit. */
struct CUstream_st;

#define fbq_version FBQ_SYMBOL(fbq_version)
#define fbq_status_string FBQ_SYMBOL(fbq_status_string)
#define fbq_layout_of FBQ_SYMBOL(fbq_layout_of)
#define fbq_layout_read FBQ_SYMBOL(fbq_layout_read)
#define fbq_code_position FBQ_SYMBOL(fbq_code_position)
#define fbq_pack_weights FBQ_SYMBOL(fbq_pack_weights)
#define fbq_unpack_weights FBQ_SYMBOL(fbq_unpack_weights)
#define fbq_pack_down FBQ_SYMBOL(fbq_pack_down)
#define fbq_pack_down_i8 FBQ_SYMBOL(fbq_pack_down_i8)
#define fbq_unpack_down_f32 FBQ_SYMBOL(fbq_unpack_down_f32)
#define fbq_unpack_down FBQ_SYMBOL(fbq_unpack_down)
#define fbq_pack_up FBQ_SYMBOL(fbq_pack_up)
#define fbq_pack_up_i8 FBQ_SYMBOL(fbq_pack_up_i8)
#define fbq_unpack_up_f32 FBQ_SYMBOL(fbq_unpack_up_f32)
#define fbq_unpack_up FBQ_SYMBOL(fbq_unpack_up)
#define fbq_reconstruct FBQ_SYMBOL(fbq_reconstruct)
#define fbq_reference FBQ_SYMBOL(fbq_reference)
#define fbq_pick_check FBQ_SYMBOL(fbq_pick_check)
#define fbq_pick_default FBQ_SYMBOL(fbq_pick_default)
#define fbq_pick_print FBQ_SYMBOL(fbq_pick_print)
#define fbq_pick_parse FBQ_SYMBOL(fbq_pick_parse)
#define fbq_compile FBQ_SYMBOL(fbq_compile)
#define fbq_source_hash FBQ_SYMBOL(fbq_source_hash)
#define fbq_free FBQ_SYMBOL(fbq_free)
#define fbq_open FBQ_SYMBOL(fbq_open)
#define fbq_close FBQ_SYMBOL(fbq_close)
#define fbq_context_gpu FBQ_SYMBOL(fbq_context_gpu)
#define fbq_context_nvrtc FBQ_SYMBOL(fbq_context_nvrtc)
#define fbq_context_wisdom FBQ_SYMBOL(fbq_context_wisdom)
#define fbq_prepare FBQ_SYMBOL(fbq_prepare)
#define fbq_plan_free FBQ_SYMBOL(fbq_plan_free)
#define fbq_plan_compiled FBQ_SYMBOL(fbq_plan_compiled)
#define fbq_plan_warning FBQ_SYMBOL(fbq_plan_warning)
#define fbq_plan_scratch_bytes FBQ_SYMBOL(fbq_plan_scratch_bytes)
#define fbq_plan_state_bytes FBQ_SYMBOL(fbq_plan_state_bytes)
#define fbq_plan_pick FBQ_SYMBOL(fbq_plan_pick)
#define fbq_plan_found FBQ_SYMBOL(fbq_plan_found)
#define fbq_linear FBQ_SYMBOL(fbq_linear)
#define fbq_prepare_reconstruct FBQ_SYMBOL(fbq_prepare_reconstruct)
#define fbq_reconstruct_plan_free FBQ_SYMBOL(fbq_reconstruct_plan_free)
#define fbq_reconstruct_gpu FBQ_SYMBOL(fbq_reconstruct_gpu)

/* ------------------------------------------------------------------------------------------------
 * Version and status
 * --------------------------------------------------------------------------------------------- */

/* FBQ_VERSION of the implementation that is linked; compare with the macro to find a mix-up. */
int fbq_version(void);

/* One English sentence for a status, never NULL; "unknown status" for a number that is none. */
const char *fbq_status_string(fbq_status status);

/* ------------------------------------------------------------------------------------------------
 * The packed layout: size query, pack, unpack (host memory only)
 *
 * A layer has three packed parts, so that a sub-branch can be swapped or dropped without touching
 * the codes: weights (codes, scales, zero points), down (A) and up (B). Each starts with a header
 * of FBQ_HEADER_BYTES that names the layout's version, the part, the format and the shape. Copy the
 * whole part to the GPU as it is, to an address aligned to FBQ_ALIGN.
 * --------------------------------------------------------------------------------------------- */

/* Sizes and strides of a layer. Fails with FBQ_ERR_NULL, _FORMAT, _GROUP, _SIZE or _RANK. */
fbq_status fbq_layout_of(const fbq_format *format, const fbq_shape *shape, fbq_layout *layout,
                         fbq_error *error);

typedef enum fbq_part { FBQ_PART_WEIGHTS = 1, FBQ_PART_DOWN = 2, FBQ_PART_UP = 3 } fbq_part;

/* Read the header of a packed part in host memory: which part it is (`part` may be NULL) and its
 * layout. `bytes` is how much memory there is; fails with FBQ_ERR_PACKED when the header does not
 * make sense or tells of more bytes than there are. */
fbq_status fbq_layout_read(const void *packed, size_t bytes, fbq_part *part, fbq_layout *layout,
                           fbq_error *error);

/* Where a code lives: bit offsets from the start of a tile's record, lowest bit of the code first.
 * row: 0 .. 15 in the tile; k: 0 .. chunks * 64 - 1. *complemented is 1 where the record stores
 * 2^bits - 1 - q instead of q (docs/numerics.md says why). `bit` has room for 4 numbers. */
void fbq_code_position(const fbq_layout *layout, int row, int64_t k, int64_t bit[4],
                       int *complemented);

/* Pack codes, scales and zero points.
 *   codes   N x K, one code a byte, each below 2^bits
 *   scales  N x groups, 16-bit words of format.scale_type
 *   zeros   N x groups: bytes for FBQ_ZERO_CODE, fp16 words for FBQ_ZERO_F16, NULL for none
 *   packed  layout->weights_bytes bytes; `bytes` says how many there are
 * Group j of a row covers codes j * group_size up to the next group or the row's end. */
fbq_status fbq_pack_weights(const fbq_layout *layout, const uint8_t *codes, const uint16_t *scales,
                            const void *zeros, void *packed, size_t bytes, fbq_error *error);

/* The exact inverse. Each of codes, scales and zeros may be NULL to skip it. */
fbq_status fbq_unpack_weights(const void *packed, size_t bytes, uint8_t *codes, uint16_t *scales,
                              void *zeros, fbq_error *error);

/* Pack A, the down-projection: all segments stacked, sum(r) x K words of format.factor_type.
 * FBQ_ERR_RANK when every rank is 0; FBQ_ERR_FORMAT for FBQ_I8, also of those below. */
fbq_status fbq_pack_down(const fbq_layout *layout, const uint16_t *a, void *packed, size_t bytes,
                         fbq_error *error);
fbq_status fbq_unpack_down(const void *packed, size_t bytes, uint16_t *a, fbq_error *error);

/* Pack B, the up-projection: N rows of `stride` words of format.factor_type; a row of segment i
 * uses its first segment[i].r words. */
fbq_status fbq_pack_up(const fbq_layout *layout, const uint16_t *b, int64_t stride, void *packed,
                       size_t bytes, fbq_error *error);
fbq_status fbq_unpack_up(const void *packed, size_t bytes, uint16_t *b, int64_t stride,
                         fbq_error *error);

/* The same for factor_type FBQ_I8: half the bytes. A and B come as floats, rows and strides as
 * above; each row gets a scale, its largest magnitude / 127, and integers -127 .. 127 of it.
 *   used   NULL, or room for as many floats, which may be the factor's own: the factor that will
 *          run, exactly. The sub-branch's weights are then Sigma = used B . used A, and codes that
 *          are to keep FBQuant's bound are Q(W - Sigma) of this Sigma.
 * FBQ_ERR_CODE where a number is not finite. Packing `used` again gives the same bytes. */
fbq_status fbq_pack_down_i8(const fbq_layout *layout, const float *a, void *packed, size_t bytes,
                            float *used, fbq_error *error);
fbq_status fbq_pack_up_i8(const fbq_layout *layout, const float *b, int64_t stride, void *packed,
                          size_t bytes, float *used, fbq_error *error);

/* Packed factors of any type as floats, exactly. */
fbq_status fbq_unpack_down_f32(const void *packed, size_t bytes, float *a, fbq_error *error);
fbq_status fbq_unpack_up_f32(const void *packed, size_t bytes, float *b, int64_t stride,
                             fbq_error *error);

/* ------------------------------------------------------------------------------------------------
 * The scalar reference, in double, from packed bytes (host memory only)
 * --------------------------------------------------------------------------------------------- */

/* A layer's packed parts. down and up are both NULL for a layer without its sub-branch. The
 * reference trusts their headers only after checking them against each other. */
typedef struct fbq_parts {
    const void *weights;
    size_t weights_bytes;
    const void *down;
    size_t down_bytes;
    const void *up;
    size_t up_bytes;
} fbq_parts;

/* Rows first .. first + rows - 1 of W_F = deq(Wq) + B . A (FBQuant eq. 11), rows x K doubles. On a
 * GPU: fbq_reconstruct_gpu. */
fbq_status fbq_reconstruct(const fbq_parts *parts, int64_t first, int64_t rows, double *w,
                           fbq_error *error);

/* y = x . W_F^T for rows first .. first + rows - 1 of the weights.
 *   x      m x K doubles
 *   y      m x rows doubles
 *   scale  m x rows doubles or NULL: sum over k of |W_F[n,k]| |x[m,k]|, which error bounds use */
fbq_status fbq_reference(const fbq_parts *parts, int64_t first, int64_t rows, int64_t m,
                         const double *x, double *y, double *scale, fbq_error *error);

/* ------------------------------------------------------------------------------------------------
 * Picks
 * --------------------------------------------------------------------------------------------- */

/* The one legality predicate: would this pick run this problem on this GPU? */
fbq_status fbq_pick_check(const fbq_problem *problem, const fbq_gpu *gpu, const fbq_pick *pick,
                          fbq_error *error);

/* The shipped default for a kernel. FBQ_ERR_UNSUPPORTED when the GPU's shared memory does not hold
 * t at all (ranks beyond 600 or more in all segments, by GPU, rows and type), or when
 * problem->launches is 1 and m_max is beyond 8, or fused has fewer blocks than the layer has tiles
 * of 16 ranks, too few to share the down-projection. */
fbq_status fbq_pick_default(const fbq_problem *problem, const fbq_gpu *gpu, fbq_kernel kernel,
                            fbq_pick *pick, fbq_error *error);

/* "fused warps=16 chunks=4 ..." and back. Printing writes at most `bytes` bytes, always ends with a
 * NUL and returns the length that the whole text has; a NULL pick prints "no pick". */
int fbq_pick_print(const fbq_pick *pick, char *text, size_t bytes);
fbq_status fbq_pick_parse(const char *text, fbq_pick *pick, fbq_error *error);

/* ------------------------------------------------------------------------------------------------
 * Compiling (NVRTC; needs no GPU)
 * --------------------------------------------------------------------------------------------- */

/* Compile one kernel for a pick: the one that serves a single row of x when problem->m_max is 1, 2
 * to 8 rows up to 8, and 9 to 16 beyond. The entry is named fbq_down or fbq_fused. The result is a
 * cubin for gpu->capability; with `ptx` not 0 it is PTX text of that virtual architecture instead.
 * The problem's k and what fits into the GPU's shared memory are compiled in. Where K is uneven and
 * two launches shall run side by side, so with few registers, the code may spill; fbq_prepare sees
 * that and compiles again with more, this call does not. *image is released with fbq_free.
 * nvrtc_library as in fbq_options. Fails with FBQ_ERR_NULL, what fbq_layout_of says of the problem,
 * _UNSUPPORTED, _PICK, _CAPABILITY, _NO_NVRTC, _OLD_DRIVER, _COMPILE or _OUT_OF_HOST. Thread-safe.
 */
fbq_status fbq_compile(const fbq_problem *problem, const fbq_gpu *gpu, const fbq_pick *pick,
                       int ptx, const char *nvrtc_library, void **image, size_t *bytes,
                       fbq_error *error);

/* A hash of the device sources inside this library: what was compiled from others has another. */
uint64_t fbq_source_hash(void);

/* Release what an fbq call allocated for the caller. NULL is fine. */
void fbq_free(void *memory);

/* ------------------------------------------------------------------------------------------------
 * Running: open a context, prepare a plan, launch it
 * --------------------------------------------------------------------------------------------- */

typedef struct fbq_context fbq_context; /* one GPU; NVRTC and the driver, opened */
typedef struct fbq_plan fbq_plan;       /* one problem, compiled and loaded */

typedef struct fbq_options {
    int device;                /* ordinal as the driver counts, default 0 */
    int ptx;                   /* not 0: compile PTX for this capability and let the driver
                                * assemble it (80 runs the sm_80 code on a newer GPU); 0: a cubin
                                * for the GPU at hand */
    const char *cuda_library;  /* NULL: libcuda.so.1 */
    const char *nvrtc_library; /* NULL: libnvrtc.so and its versioned names, newest first */
    const char *wisdom_file;   /* NULL: that of fbq_wisdom_path; "": none */
    const char *cubin_folder;  /* where compiled kernels are kept, for this user alone; NULL: the
                                * folder "cubins" beside the default wisdom file; "": nowhere. A
                                * name of more than 3996 bytes is FBQ_ERR_FILE */
    int never_compile;         /* not 0: a kernel that is not kept there is FBQ_ERR_COMPILE, where
                                * a second's compilation would be in the way */
} fbq_options;

/* Open the driver and NVRTC, and read the wisdom file, now and never again: a tuning elsewhere does
 * not change one's bits in mid-run. A file that is damaged or cannot be read makes nothing fail
 * (fbq_context_wisdom). options may be NULL for defaults. Thread-safe; needs no current CUcontext.
 * Where one of this GPU is current that has part of its multiprocessors (a green context), grids
 * are made for that part, and fbq_context_gpu and records say so: open in the green context in
 * which the plans will run, and prepare there too, lest the first launch load the kernels. In other
 * contexts of the GPU they compute the same, but not as fast.
 * FBQ_ERR_NO_DRIVER, _NO_NVRTC, _NO_DEVICE, _CAPABILITY, _OLD_DRIVER, _OUT_OF_HOST. */
fbq_status fbq_open(const fbq_options *options, fbq_context **context, fbq_error *error);

/* Close a context after its plans are freed. NULL is fine. */
void fbq_close(fbq_context *context);

/* The GPU of a context. FBQ_ERR_NULL when either pointer is NULL. Thread-safe. */
fbq_status fbq_context_gpu(const fbq_context *context, fbq_gpu *gpu);

/* The version of NVRTC that a context compiles with, as in fbq_record.nvrtc; 0 for a NULL context.
 * Thread-safe. */
int fbq_context_nvrtc(const fbq_context *context);

/* What a context read of the wisdom file, its own until it is closed; NULL for a NULL context.
 * fbq_wisdom_warning says what was wrong with the file, or why it could not be read. Thread-safe.
 */
const fbq_wisdom *fbq_context_wisdom(const fbq_context *context);

/* Compile, load and size everything for a problem. Slow (a second or so), unless the kernels are
 * kept from another time (fbq_options.cubin_folder). A CUcontext of the
 * context's GPU must be current in this thread, or the call says FBQ_ERR_WRONG_DEVICE. `down` and
 * `fused` may each be NULL for the picks that fbq_wisdom_find finds: one each for single rows of x,
 * for 2 to 4, for 5 to 8 and for more. Several threads may prepare on one context. Where a pick
 * from the wisdom spills with the NVRTC at hand, the defaults are taken; a default is built again
 * with fewer warps (fbq_plan_pick and fbq_plan_found tell); a given pick is refused with
 * FBQ_ERR_PICK. Fails with what fbq_compile says, FBQ_ERR_WRONG_DEVICE or FBQ_ERR_CUDA. */
fbq_status fbq_prepare(fbq_context *context, const fbq_problem *problem, const fbq_pick *down,
                       const fbq_pick *fused, fbq_plan **plan, fbq_error *error);

/* Free a plan when no launch of it is in flight. NULL is fine. */
void fbq_plan_free(fbq_plan *plan);

/* How many programs NVRTC compiled for a plan, 0 where all were kept from another time; and why one
 * could not be kept for the next, "" if none. 0 and "" for a NULL plan. */
int fbq_plan_compiled(const fbq_plan *plan);
const char *fbq_plan_warning(const fbq_plan *plan);

/* Bytes of `scratch` a launch of this plan wants, for any m up to m_max; 0 is possible, and what a
 * NULL plan gives. */
size_t fbq_plan_scratch_bytes(const fbq_plan *plan);

/* Bytes of `state`, likewise. */
size_t fbq_plan_state_bytes(const fbq_plan *plan);

/* The pick that a plan uses for a kernel in calls of m rows. FBQ_ERR_NULL, FBQ_ERR_SIZE when m is
 * not 1 .. m_max, FBQ_ERR_PICK when there is no such kernel. */
fbq_status fbq_plan_pick(const fbq_plan *plan, fbq_kernel kernel, int64_t m, fbq_pick *pick);

/* How that pick was found. Statuses likewise. */
fbq_status fbq_plan_found(const fbq_plan *plan, fbq_kernel kernel, int64_t m, fbq_found *found);

/* One layer, one call. All pointers are device pointers.
 *
 * Layers that share x (q, k and v, or gate and up) are one layer of several segments
 * (fbq_shape.segment), and so one call: N is the sum of the segments' n, and the rows of each stand
 * behind those of the segments before it, without padding between, in y, bias and residual alike.
 * y_stride and residual_stride go from one row of x to the next; segment s begins at
 * y + (n of the segments before it). A segment's sub-branch adds to its own rows alone. */
typedef struct fbq_call {
    int64_t m;               /* rows of x, 1 .. m_max */
    const void *x;           /* m x K, x_type */
    int64_t x_stride;        /* elements from row to row, at least K; 0 means K */
    const void *weights;     /* packed part, aligned to FBQ_ALIGN */
    const void *down;        /* packed part; NULL runs the layer without its sub-branch */
    const void *up;          /* packed part; NULL exactly when down is NULL */
    const void *bias;        /* N words of x_type, or NULL */
    const void *residual;    /* m x N, y_type, added to y; may be y itself, with y's
                              * stride; or NULL */
    int64_t residual_stride; /* elements from row to row; 0 means N */
    void *y;                 /* m x N, y_type */
    int64_t y_stride;        /* elements from row to row, at least N; 0 means N */
    void *scratch;           /* fbq_plan_scratch_bytes, 16-byte aligned, any content; used until the
                              * launch is complete; NULL is fine when the size is 0 */
    size_t scratch_bytes;
    void *state; /* fbq_plan_state_bytes, 16-byte aligned; zeroed once, then left alone. One
                  * chain of launches at a time: those of one stream, or of several that wait
                  * for each other. Any plans may share it. NULL is fine when the size is 0 */
    size_t state_bytes;
    int chained; /* not 0: no kernel that may still run when this launch starts writes weights, down
                  * or up. See fbq_linear */
} fbq_call;

/* Launch on `stream` (CUstream or cudaStream_t; NULL is the legacy default stream). Allocates,
 * synchronises, compiles and prints nothing; legal under stream capture. The CUcontext that was
 * current at fbq_prepare must be current. Any number of threads may launch one plan at once, each
 * with its own y, scratch and state. x and y are read and written with their natural alignment;
 * 16-byte aligned x and x_stride are faster.
 *
 * Compiled for sm_90 or later the kernels are launched with programmatic stream serialization: they
 * start while the kernel before them ends, and wait by themselves before they read or write
 * anything it may write. Kernels around them that are launched without that attribute need do
 * nothing; one launched with it, before or behind, calls griddepcontrol.wait before it ends or
 * reads y, as the attribute asks of every kernel.
 *
 * The chain contract. call->chained lets a launch read weights, down and up before it waits, which
 * hides most of a layer's latency. It promises that the kernel just before on the stream writes
 * none of the three; and where that one lets its dependents start before it has waited itself, the
 * same of the kernel before it, and so on back to one that does not. (Of fbq's launches, the
 * chained ones do.) So it holds for all layers of a model and what runs between them, but not right
 * behind a copy of weights, a re-pack or a swap of the sub-branch: leave it 0 for that one launch,
 * the first of the chain. Memory copies and sets count as kernels. A chained launch that breaks the
 * contract may multiply old weights: nothing sees that.
 *
 * state. A launch of the plan that makes t itself publishes partial sums there under an epoch that
 * it counts up. A state that was never zeroed makes y NaN, unless chance made it look right; two
 * launches at once on one state give wrong numbers, but end. Where blocks share a tile (split-K, a
 * fused pick with splits) the state also counts who has come; there, neither a state that was never
 * zeroed nor two launches at once are seen: y is wrong, or not written.
 *
 * Returns a status only: FBQ_ERR_NULL, _SIZE, _RANK (factors for a layer of rank 0), _ALIGNMENT,
 * _BUFFER, _WRONG_DEVICE or _CUDA. The arithmetic is FBQuant's eq. 11 with section 4.3's two
 * kernels. */
fbq_status fbq_linear(const fbq_plan *plan, const fbq_call *call, struct CUstream_st *stream);

/* ------------------------------------------------------------------------------------------------
 * The weights themselves on the GPU, for more rows of x than the kernels above serve: write them
 * out, then multiply with a BLAS. Measured on an H200 alone (docs/kernels.md); on another GPU run
 * tests/gpu_reconstruct before you rely on it
 * --------------------------------------------------------------------------------------------- */

/* What is to be written. */
typedef struct fbq_reconstruction {
    fbq_format format;
    fbq_shape shape; /* any number of segments; any ranks, all of them 0 among them */
    fbq_type w_type; /* FBQ_F16 or FBQ_BF16 */
    int concatenate; /* 0: W_F = deq(Wq) + B . A, N x K. Not 0: [deq(Wq) | B], N rows of K + r
                      * numbers, r the sum of the segments' ranks, to be multiplied with
                      * [x | x . A^T], A all segments' stacked. A row has its segment's ranks in
                      * columns of their own and 0 in other segments' */
} fbq_reconstruction;

typedef struct fbq_reconstruct_plan fbq_reconstruct_plan; /* compiled and loaded */

/* Compile and load. As fbq_prepare: slow, thread-safe, and a CUcontext of the context's GPU must be
 * current. Fails with what fbq_layout_of says, FBQ_ERR_NULL, _UNSUPPORTED (w_type, or
 * factors of FBQ_I8: unpack them to floats and pack those as fp16 or bf16), _WRONG_DEVICE,
 * _COMPILE, _CUDA or _OUT_OF_HOST. */
fbq_status fbq_prepare_reconstruct(fbq_context *context, const fbq_reconstruction *what,
                                   fbq_reconstruct_plan **plan, fbq_error *error);

/* Free a plan when no launch of it is in flight. NULL is fine. */
void fbq_reconstruct_plan_free(fbq_reconstruct_plan *plan);

/* One layer, one call. All pointers are device pointers. */
typedef struct fbq_reconstruct_call {
    const void *weights; /* packed part, aligned to FBQ_ALIGN */
    const void *down; /* packed part. NULL leaves the sub-branch out; with `concatenate` it is not
                       * read */
    const void *up;   /* packed part; NULL exactly when down is NULL, or, with `concatenate`, when
                       * every rank is 0 */
    void *w;          /* N rows of w_type, 2-byte aligned */
    int64_t w_stride; /* elements from row to row, at least the columns; 0 means the columns */
} fbq_reconstruct_call;

/* Write w on `stream`. Of streams, capture, CUcontext and threads all that fbq_linear says holds
 * here: nothing is allocated, compiled or waited for, and any number of threads may launch one plan
 * at once, each with a w of its own. Compiled for sm_90 or later, too, it is launched with
 * programmatic stream serialization; it waits for the kernel before it ends before it reads or
 * writes anything.
 *
 * Every number of w is the sum in fp32, rounded once (docs/numerics.md has the bound); what lies
 * between rows is left alone. A weight beyond the range of w_type becomes an infinity: with FBQ_F16
 * from 65520 on, with B's words of `concatenate` likewise. Fastest where w and w_stride are
 * multiples of 16 bytes (8 numbers); elsewhere several times slower.
 *
 * Returns a status only: FBQ_ERR_NULL, _SIZE (w_stride), _RANK (factors for a layer of rank 0),
 * _ALIGNMENT, _WRONG_DEVICE or _CUDA. */
fbq_status fbq_reconstruct_gpu(const fbq_reconstruct_plan *plan, const fbq_reconstruct_call *call,
                               struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif

#endif /* FBQ_H */

#ifdef FBQ_IMPLEMENTATION
#ifdef FBQ_LINKED
#error "fbq::impl is linked, so FBQ_IMPLEMENTATION must not be defined as well: drop one of the two"
#endif
#include "host/implementation.h"
#endif
