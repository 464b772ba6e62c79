/* main.c: fbq-tune, what tuning found: look at it, move it, forget it.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>

int main(int count, char **words)
{
    options o;
    outcome end;
    if (options_read(count, words, &o, &end))
        end = o.command(&o);
    /* a full disk or a closed pipe shows only here */
    if (fflush(stdout) != 0 && end == OUTCOME_DONE) {
        perror("fbq-tune: standard output");
        end = OUTCOME_FAILED;
    }
    return (int)end;
}
