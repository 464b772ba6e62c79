/* arguments.h: the demo's command line.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

typedef struct arguments {
    const char *model; /* path; NULL: not given */
    const char *text;  /* path; NULL: not given */
    const char *layer; /* "q", "k" or "v" */
    int tokens;        /* to calibrate on */
    int steps;         /* of FBQuant, both phases together */
    int rank;
    int seed; /* of FBQuant's start */
    int group;
    int json, cpu;
} arguments;

typedef enum arguments_end {
    ARGUMENTS_RUN,  /* go on */
    ARGUMENTS_DONE, /* --help or --version was answered: exit with 0 */
    ARGUMENTS_WRONG /* said so on stderr: exit with 2 */
} arguments_end;

arguments_end arguments_read(int count, char **words, arguments *a);

/* Where scripts/fetch_model.sh puts the model and the text, from the repository's root. */
#define DEFAULT_MODEL "build/model/SmolLM2-135M-Instruct.Q4_1.gguf"
#define DEFAULT_TEXT "build/model/lee_background.cor"

#endif /* ARGUMENTS_H */
