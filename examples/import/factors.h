/* factors.h: A and B rounded to the 16-bit words that run, and what that changes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FACTORS_H
#define FACTORS_H

#include <fbq/types.h>

#include "peft.h"

typedef struct factors {
    int64_t r;
    uint16_t *a;   /* r x k */
    uint16_t *b;   /* n x r */
    double change; /* |B'A' - BA| / |BA|, Frobenius norms; 0 when B . A is 0 */
} factors;

/* Round to nearest FBQ_F16 or FBQ_BF16. IMPORT_ERR_VALUE for numbers beyond that type's, _MEMORY.
 */
import_status factors_round(const peft_adapter *adapter, fbq_type type, factors *f,
                            import_error *error);
/* Zeroed factors are fine. */
void factors_free(factors *f);

#endif /* FACTORS_H */
