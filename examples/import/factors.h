/* factors.h: A and B as the numbers that will run, and what that changes.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef FACTORS_H
#define FACTORS_H

#include <fbq/types.h>

#include "peft.h"

typedef struct factors {
    int64_t r;
    float *a;      /* r x k, numbers of the type that was asked for */
    float *b;      /* n x r */
    double change; /* |B'A' - BA| / |BA|, Frobenius norms; 0 when B . A is 0 */
} factors;

/* Round to nearest FBQ_F16 or FBQ_BF16, or to FBQ_I8 with a scale a row. IMPORT_ERR_VALUE for
 * numbers beyond that type's, _MEMORY. */
import_status factors_round(const peft_adapter *adapter, fbq_type type, factors *f,
                            import_error *error);
/* Zeroed factors are fine. */
void factors_free(factors *f);

#endif /* FACTORS_H */
