/* tests/simt/layer_data.h: a layer with known contents, every buffer of exactly its size.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FBQ_SIMT_LAYER_DATA_H
#define FBQ_SIMT_LAYER_DATA_H

#include "layer.h"

/* What surrounds every output: a NaN in fp16 and in fp32. */
#define POISON 0x7fc1u
#define GUARD_WORDS 64

/* Everything a run needs, filled by layer_make. 16-bit words where the type is fp16. */
typedef struct layer {
    fbq_problem problem;
    fbq_layout layout;
    fbq_gpu gpu;
    fbq_pick down, fused;
    fbq_simt_options options;
    uint8_t *codes;
    uint16_t *scales, *zeros16, *a, *b, *x_block, *x, *bias, *y_block, *y, *residual_block,
        *residual;
    uint8_t *zeros8;
    void *weights, *packed_a, *packed_b, *scratch, *state;
    size_t scratch_bytes, state_bytes, y_words, residual_words;
    int64_t x_stride, y_stride, residual_stride;
    int y_width; /* 16-bit words of a number of y's type */
} layer;

/* Memory of exactly this size, so that AddressSanitizer sees an access behind it. Aligned for any
 * use here, a packed part's among them. Ends the program when there is none. */
void *layer_memory(size_t bytes);

/* The nearest fp16 word. */
uint16_t layer_half(double v);
uint16_t layer_word(fbq_type type, double v);

/* Random contents from c->data_seed, packed. Free it even when it fails. */
fbq_status layer_make(layer *l, const layer_case *c, fbq_error *error);
void layer_free(layer *l);

/* The call that the case describes. */
fbq_call layer_call(const layer *l, const layer_case *c);

#endif /* FBQ_SIMT_LAYER_DATA_H */
