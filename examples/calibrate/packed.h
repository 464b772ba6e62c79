/* packed.h: a calibrated layer in fbq's packed layout.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PACKED_H
#define PACKED_H

#include "calibrate.h"

/* The parts point into memory aligned to FBQ_ALIGN. Release with packed_free. */
typedef struct packed {
    fbq_layout layout;
    fbq_parts parts;
    void *memory[3];
} packed;

fbq_status packed_of(const calibrate_layer *layer, packed *p, fbq_error *error);
void packed_free(packed *p);

/* W - W_F in double for W [n, k], with W_F from the packed bytes alone. */
fbq_status packed_distance(const packed *p, const float *w, double *distance, fbq_error *error);

#endif /* PACKED_H */
