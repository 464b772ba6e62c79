/* source.h: the layer that the demo works on, and its inputs: of a real model, or generated.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdint.h>

#include "arguments.h"

typedef struct source {
    int64_t n, k;
    float *w;                     /* n x k */
    float *calibration, *heldout; /* tokens x k each */
    int64_t calibration_tokens, heldout_tokens;
    double unseen; /* part of the held-out tokens that calibration never saw; generated: 1 */
    int generated; /* no model: the layer is made up */
    char description[400]; /* one or two sentences */
} source;

/* Release with source_free. On failure says why on stderr and returns 0. A model or text that was
 * asked for by name must be there; only the default ones may be missing. */
int source_open(const arguments *a, source *s);
void source_free(source *s);

/* Fill *s with a made-up layer and `tokens` calibration tokens. 0 when memory runs out. */
int source_generate(int64_t tokens, source *s);

#endif /* SOURCE_H */
