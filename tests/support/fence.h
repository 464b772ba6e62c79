/* fence.h: bytes right in front of a page that may not be touched, so that reading one byte too
 * many ends the test even without AddressSanitizer.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FENCE_H
#define FENCE_H

#include <stddef.h>
#include <stdint.h>

typedef struct fenced {
    uint8_t *map;
    size_t pages;
    const uint8_t *bytes; /* the copy */
} fenced;

fenced fence(const uint8_t *bytes, size_t count);
void unfence(fenced *f);

#endif
