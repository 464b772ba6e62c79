/* arguments.c: getopt and the help text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* getopt_long */
#include "arguments.h"

#include <errno.h>
#include <fbq/version.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Usage: fbq-demo [options]\n"
    "\n"
    "Quantises a layer of SmolLM2-135M in several ways, packs each result and runs it through "
    "fbq's\n"
    "two kernels: on the GPU where there is one, otherwise the same kernels on the CPU. Prints "
    "what\n"
    "each method loses on the text it was calibrated on and on text it has not seen, whether "
    "every\n"
    "weight is within half a step of its original, and how close the kernels come to a reference "
    "in\n"
    "double.\n"
    "\n"
    "Input\n"
    "  --model PATH    GGUF file (default " DEFAULT_MODEL ")\n"
    "  --text PATH     English text (default " DEFAULT_TEXT ")\n"
    "  --layer q|k|v   projection of the first block (default q)\n"
    "                  Both defaults come from scripts/fetch_model.sh. Where they are missing, a\n"
    "                  generated layer with outlier channels takes their place; the output says "
    "so.\n"
    "\n"
    "Calibration\n"
    "  --tokens N      tokens to calibrate on (default 8192)\n"
    "  --steps N       steps of FBQuant (default 500)\n"
    "  --seed N        of FBQuant's random start (default 2)\n"
    "  --rank N        rank of the sub-branch (default 16)\n"
    "  --group N       group size: 32, 64, 128, 256, or 0 for whole rows (default 64)\n"
    "\n"
    "Running\n"
    "  --cpu           run the kernels on the CPU even where there is a GPU\n"
    "  --json          results as JSON on standard output; progress stays on standard error\n"
    "  -h, --help      this text\n"
    "  --version       fbq's version\n"
    "\n"
    "Exit status: 0 success; 1 something failed, or a result is wrong: a broken bound where it "
    "must\n"
    "hold, or kernels too far from the reference; 2 the command line is wrong.\n";

enum { MODEL = 256, TEXT, LAYER, TOKENS, STEPS, SEED, RANK, GROUP, CPU, JSON, VERSION };

static const struct option OPTIONS[] = {{"model", required_argument, NULL, MODEL},
                                        {"text", required_argument, NULL, TEXT},
                                        {"layer", required_argument, NULL, LAYER},
                                        {"tokens", required_argument, NULL, TOKENS},
                                        {"steps", required_argument, NULL, STEPS},
                                        {"seed", required_argument, NULL, SEED},
                                        {"rank", required_argument, NULL, RANK},
                                        {"group", required_argument, NULL, GROUP},
                                        {"cpu", no_argument, NULL, CPU},
                                        {"json", no_argument, NULL, JSON},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, VERSION},
                                        {NULL, 0, NULL, 0}};

static int number(const char *name, const char *text, int least, int most, int *value)
{
    char *end;
    errno = 0;
    const long read = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != 0 || read < least || read > most) {
        fprintf(stderr, "fbq-demo: --%s %s: expected a whole number from %d to %d\n", name, text,
                least, most);
        return 0;
    }
    *value = (int)read;
    return 1;
}

static int read_one(int option, const char *value, arguments *a)
{
    switch (option) {
    case MODEL:
        a->model = value;
        return 1;
    case TEXT:
        a->text = value;
        return 1;
    case LAYER:
        a->layer = value;
        if (strlen(value) == 1 && strchr("qkv", value[0]) != NULL)
            return 1;
        fprintf(stderr, "fbq-demo: --layer %s: expected q, k or v\n", value);
        return 0;
    case TOKENS:
        return number("tokens", value, 16, 1 << 20, &a->tokens);
    case STEPS:
        return number("steps", value, 0, 1000000, &a->steps);
    case SEED:
        return number("seed", value, 0, 1 << 30, &a->seed);
    case RANK:
        return number("rank", value, 1, 128, &a->rank);
    case GROUP:
        if (!number("group", value, 0, 256, &a->group))
            return 0;
        if (a->group == 0 || a->group == 32 || a->group == 64 || a->group == 128 || a->group == 256)
            return 1;
        fprintf(stderr, "fbq-demo: --group %s: expected 32, 64, 128, 256, or 0 for whole rows\n",
                value);
        return 0;
    case CPU:
        a->cpu = 1;
        return 1;
    default:
        a->json = 1;
        return 1;
    }
}

arguments_end arguments_read(int count, char **words, arguments *a)
{
    *a =
        (arguments){.layer = "q", .tokens = 8192, .steps = 500, .seed = 2, .rank = 16, .group = 64};
    for (;;) {
        const int option = getopt_long(count, words, "h", OPTIONS, NULL);
        if (option == -1)
            break;
        if (option == 'h' || option == VERSION) {
            fputs(option == 'h' ? HELP : "fbq " FBQ_VERSION_STRING "\n", stdout);
            return ARGUMENTS_DONE;
        }
        if (option == '?' || !read_one(option, optarg, a)) {
            fputs("Try fbq-demo --help.\n", stderr);
            return ARGUMENTS_WRONG;
        }
    }
    if (optind < count) {
        fprintf(stderr, "fbq-demo: %s: no such argument\nTry fbq-demo --help.\n", words[optind]);
        return ARGUMENTS_WRONG;
    }
    return ARGUMENTS_RUN;
}
