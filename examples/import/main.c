/* main.c: fbq-import, from a checkpoint to packed layers and back.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words)
{
    options o;
    outcome end;
    if (options_read(count, words, &o, &end))
        end = o.command(&o);
    free(o.layer);
    /* a full disk or a closed pipe shows only here */
    if (fflush(stdout) != 0 && end == OUTCOME_DONE) {
        perror("fbq-import: standard output");
        end = OUTCOME_FAILED;
    }
    return (int)end;
}
