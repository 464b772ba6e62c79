/* model.c: weights as float, RMSNorm, embeddings.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "model.h"
#include "gguf_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

void model_rmsnorm(const float *x, const float *weight, float epsilon, int64_t rows, int64_t width,
                   float *y)
{
    for (int64_t row = 0; row < rows; row++, x += width, y += width) {
        double sum = 0;
        for (int64_t i = 0; i < width; i++)
            sum += (double)x[i] * x[i];
        const double scale = 1 / sqrt(sum / (double)width + epsilon);
        for (int64_t i = 0; i < width; i++)
            y[i] = (float)(x[i] * scale * weight[i]);
    }
}

gguf_status model_matrix(const gguf_file *file, const char *name, float **values, int64_t *rows,
                         int64_t *width, gguf_error *error)
{
    const gguf_tensor *tensor;
    *values = NULL;
    gguf_status status = gguf_find_tensor(file, name, &tensor, error);
    if (status != GGUF_OK)
        return status;
    const uint64_t height = tensor->elements / tensor->dim[0];
    *values = malloc((size_t)tensor->elements * sizeof **values);
    if (*values == NULL)
        return gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %" PRIu64 " weights of %s",
                         tensor->elements, name);
    status = gguf_dequantise(tensor, 0, height, *values, error);
    *rows = (int64_t)height;
    *width = (int64_t)tensor->dim[0];
    return status;
}

gguf_status model_first_input(const gguf_file *file, const int32_t *ids, size_t count, float **x,
                              int64_t *width, gguf_error *error)
{
    const gguf_tensor *embedding;
    float *norm = NULL, epsilon;
    int64_t norm_rows, norm_width;
    *x = NULL;
    gguf_status status = gguf_find_tensor(file, "token_embd.weight", &embedding, error);
    if (status == GGUF_OK)
        status = gguf_get_f32(file, "llama.attention.layer_norm_rms_epsilon", &epsilon, error);
    if (status == GGUF_OK)
        status =
            model_matrix(file, "blk.0.attn_norm.weight", &norm, &norm_rows, &norm_width, error);
    if (status != GGUF_OK)
        return status;
    const uint64_t k = embedding->dim[0], vocabulary = embedding->elements / k;
    if (norm_rows != 1 || (uint64_t)norm_width != k || !(epsilon >= 0 && epsilon < 1))
        status =
            gguf_fail(error, GGUF_ERR_VALUE,
                      "RMSNorm of width %" PRId64 " and epsilon %g after embeddings of %" PRIu64,
                      norm_width, (double)epsilon, k);
    if (status == GGUF_OK) {
        *x = count < SIZE_MAX / sizeof **x / k ? malloc((count * k + 1) * sizeof **x) : NULL;
        if (*x == NULL)
            status = gguf_fail(error, GGUF_ERR_MEMORY, "no memory for %zu tokens", count);
    }
    for (size_t i = 0; i < count && status == GGUF_OK; i++) {
        if (ids[i] < 0 || (uint64_t)ids[i] >= vocabulary)
            status = gguf_fail(error, GGUF_ERR_ARGUMENT,
                               "token %zu is %" PRId32 ", expected 0 to %" PRIu64, i, ids[i],
                               vocabulary - 1);
        else
            status = gguf_dequantise(embedding, (uint64_t)ids[i], 1, *x + i * k, error);
    }
    if (status == GGUF_OK) {
        model_rmsnorm(*x, norm, epsilon, (int64_t)count, (int64_t)k, *x);
        *width = (int64_t)k;
    } else {
        free(*x);
        *x = NULL;
    }
    free(norm);
    return status;
}
