/* packed.c: pack, and look at what the packed bytes say.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "packed.h"

#include <stdlib.h>

/* Room for a part; 0 bytes for a part that is not there. */
static int allocate(packed *p, int part, size_t bytes)
{
    const size_t whole = (bytes + FBQ_ALIGN - 1) / FBQ_ALIGN * FBQ_ALIGN;
    p->memory[part] = whole > 0 ? aligned_alloc(FBQ_ALIGN, whole) : NULL;
    return whole == 0 || p->memory[part] != NULL;
}

fbq_status packed_of(const calibrate_layer *layer, packed *p, fbq_error *error)
{
    const fbq_shape shape = fbq_shape_of(layer->n, layer->k, layer->rank);
    *p = (packed){0};
    fbq_status status = fbq_layout_of(&layer->format, &shape, &p->layout, error);
    if (status != FBQ_OK)
        return status;
    const fbq_layout *l = &p->layout;
    if (!allocate(p, 0, l->weights_bytes) || !allocate(p, 1, l->down_bytes) ||
        !allocate(p, 2, l->up_bytes)) {
        packed_free(p);
        return calibrate_fail(error, FBQ_ERR_OUT_OF_HOST, "no memory for the packed layer");
    }
    p->parts = (fbq_parts){p->memory[0],  l->weights_bytes, p->memory[1],
                           l->down_bytes, p->memory[2],     l->up_bytes};
    status = fbq_pack_weights(l, layer->codes, layer->scales, layer->zeros, p->memory[0],
                              l->weights_bytes, error);
    if (status == FBQ_OK && layer->rank > 0)
        status = fbq_pack_down(l, layer->a, p->memory[1], l->down_bytes, error);
    if (status == FBQ_OK && layer->rank > 0)
        status = fbq_pack_up(l, layer->b, layer->rank, p->memory[2], l->up_bytes, error);
    if (status != FBQ_OK)
        packed_free(p);
    return status;
}

void packed_free(packed *p)
{
    for (int i = 0; i < 3; i++)
        free(p->memory[i]);
    *p = (packed){0};
}

fbq_status packed_distance(const packed *p, const float *w, double *distance, fbq_error *error)
{
    const fbq_status status = fbq_reconstruct(&p->parts, 0, p->layout.n, distance, error);
    for (int64_t i = 0; status == FBQ_OK && i < p->layout.n * p->layout.shape.k; i++)
        distance[i] = w[i] - distance[i];
    return status;
}
