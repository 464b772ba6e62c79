/* model.h: one linear layer of a Llama-architecture model, and the real input of its first block.
 *
 * The input of block 0's q, k and v projections is RMSNorm of the token embeddings: it needs no
 * attention, so it is exact with this little of the model. (gate and up of block 0 come after
 * attention, so they are not offered here.)
 *
 * In a GGUF file the rows of q and k are permuted within each head, for ggml's order of RoPE. For
 * one layer alone this is harmless: it permutes the outputs and nothing else.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef MODEL_H
#define MODEL_H

#include "gguf.h"

/* y[i] = x[i] / sqrt(mean(x^2) + epsilon) * weight[i] for each of `rows` rows of `width` numbers;
 * y may be x. The mean is taken in double. */
void model_rmsnorm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width,
                   float *y);

/* A whole matrix as float: *rows x *width, released with free. */
gguf_status model_matrix(const gguf_file *file, const char *name, float **values, int64_t *rows,
                         int64_t *width, gguf_error *error);

/* What block 0's q, k and v projections see for some tokens: count x *width floats, released with
 * free. GGUF_ERR_ARGUMENT when an id is outside the vocabulary. */
gguf_status model_first_input(const gguf_file *file, const int32_t *ids, size_t count, float **x,
                              int64_t *width, gguf_error *error);

#endif /* MODEL_H */
