/* options.h: the command line of fbq-import.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <fbq/types.h>

/* How fbq-import ends. */
typedef enum outcome {
    OUTCOME_DONE = 0,
    OUTCOME_FAILED = 1, /* a file is missing, damaged or cannot be written, or contradicts itself */
    OUTCOME_USAGE = 2,  /* the command line is wrong */
    OUTCOME_REFUSED = 3 /* the checkpoint is sound, but of a kind that is not taken */
} outcome;

typedef struct options {
    const char *input;      /* checkpoint, or file of packed layers */
    const char *output;     /* NULL: not given */
    const char *config;     /* NULL: beside the checkpoint */
    const char *adapter;    /* folder, or NULL */
    const char *base_model; /* for the adapter's config, or NULL */
    const char *task;       /* likewise */
    const char **layer;     /* prefixes; all layers when there are none */
    int layers;             /* how many */
    int gptq_version;       /* 0: not given */
    fbq_type factor_type;   /* of A and B */
    int no_merged, partial; /* flags */
    int json, quiet;
    outcome (*command)(const struct options *options);
} options;

/* Read the command line. 0: done already (help, version); *end says how. o->layer is released with
 * free. */
int options_read(int count, char **words, options *o, outcome *end);

#endif /* OPTIONS_H */
