/* Runs a fuzzer's entry over files, an input each, without a fuzzer: replay FILE ...
 *
 * Exit status: 0 all ran; 1 one cannot be read, or there are none. A fault ends the process.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST_BYTES (1 << 20)

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(MOST_BYTES);
    int whole = 0;
    if (file && data) {
        const size_t bytes = fread(data, 1, MOST_BYTES, file);
        whole = feof(file) && !ferror(file);
        if (whole)
            LLVMFuzzerTestOneInput(data, bytes);
    }
    if (!whole)
        fprintf(stderr, "%s cannot be read, or has more than %d bytes\n", path, MOST_BYTES);
    free(data);
    if (file)
        fclose(file);
    return whole;
}

int main(int count, char **paths)
{
    int ran = 0;
    for (int i = 1; i < count; i++)
        ran += replay(paths[i]);
    printf("%d of %d inputs ran\n", ran, count - 1);
    return ran == 0 || ran < count - 1;
}
