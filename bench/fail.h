/* bench/fail.h: errors as text. Functions that can fail return 0, or 1 after filling a fail.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_BENCH_FAIL_H
#define FBQ_BENCH_FAIL_H

typedef struct fail {
    char text[1024];
} fail;

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
int failf(fail *f, const char *format, ...);

/* Leave the function with 1 where a step has failed. */
#define TRY(step)     \
    do {              \
        if (step)     \
            return 1; \
    } while (0)

#define CUDA(f, call)                                                               \
    do {                                                                            \
        cudaError_t cuda_result_ = (call);                                          \
        if (cuda_result_ != cudaSuccess)                                            \
            return failf((f), "%s: %s (%s)", #call, cudaGetErrorName(cuda_result_), \
                         cudaGetErrorString(cuda_result_));                         \
    } while (0)

/* A call of fbq whose error goes into fbq_error_. */
#define FBQ(f, call)                                                             \
    do {                                                                         \
        fbq_error fbq_error_;                                                    \
        memset(&fbq_error_, 0, sizeof fbq_error_);                               \
        fbq_status fbq_status_ = (call);                                         \
        if (fbq_status_ != FBQ_OK)                                               \
            return failf((f), "%.60s...: %s", #call,                             \
                         fbq_error_.detail[0] ? fbq_error_.detail                \
                                              : fbq_status_string(fbq_status_)); \
    } while (0)

#endif /* FBQ_BENCH_FAIL_H */
