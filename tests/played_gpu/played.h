/* tests/played_gpu/played.h: a GPU that is played on the CPU, for fbq-trial: as much of the CUDA
 * runtime as it uses (cuda.c), the benchmark's own kernels (kernels.c), and fbq's launches,
 * computed by fbq's reference (fbq.c). What is launched runs at once, or when its graph is
 * launched; time is a number that launches add to.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_TESTS_PLAYED_H
#define FBQ_TESTS_PLAYED_H

#include <cuda_runtime_api.h>
#include <stddef.h>

/* Run a function on these arguments, of up to 256 bytes, in the stream's order. */
cudaError_t played_launch(void (*run)(const void *arguments), const void *arguments, size_t bytes);

/* Add to the time. */
void played_pass(double us);

/* Was anything of fbq launched yet? */
int played_launched(void);

/* From now on nothing ends; from now on every call says this. */
void played_hang(void);
void played_fail(cudaError_t error);

/* The context that is current in this thread, NULL: none; its multiprocessors. */
const void *played_context(void);
int played_sms(void);

/* Called before anything but a launch of fbq looks at memory: y of the last one is made then. */
void played_flush(void);

#endif
