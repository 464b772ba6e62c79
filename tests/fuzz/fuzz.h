/* fuzz.h: what libFuzzer calls, and replay.c in its place.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* One input. Returns 0; a fault ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#endif /* FUZZ_H */
