/* tests/support/shard.c: see shard.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "shard.h"

#include <stdio.h>
#include <string.h>

#include "device.h"

static int shard = 0, shards = 1, counter = 0;
static fbq_context *context;

static int read_arguments(int argc, char **argv, fbq_options *options)
{
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (!strcmp(argv[i], "--shard") && sscanf(value, "%d/%d", &shard, &shards) == 2 &&
            shards > 0 && shard >= 0 && shard < shards)
            continue;
        if (!strcmp(argv[i], "--ptx") && sscanf(value, "%d", &options->ptx) == 1)
            continue;
        fprintf(stderr, "usage: %s [--shard I/N] [--ptx CAPABILITY]\n", argv[0]);
        return 0;
    }
    return 1;
}

int shard_open(int argc, char **argv)
{
    fbq_options options = {0, 0, NULL, NULL, "", "", 0};
    fbq_error error;
    if (!read_arguments(argc, argv, &options))
        return 2;
    if (!device_present())
        return SKIPPED;
    device_must(cudaSetDevice(0), "cudaSetDevice");
    device_must(cudaFree(NULL), "context");
    if (fbq_open(&options, &context, &error) != FBQ_OK) {
        fprintf(stderr, "fbq_open: %s\n", error.detail);
        return 1;
    }
    return 0;
}

void shard_close(void)
{
    fbq_close(context);
    context = NULL;
}

fbq_context *shard_context(void)
{
    return context;
}

int shard_mine(void)
{
    return counter++ % shards == shard;
}
