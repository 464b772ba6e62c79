/* options.c: getopt and the help text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* getopt_long */
#include "command.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Usage: fbq-import list   CHECKPOINT|FILE [options]\n"
    "       fbq-import pack   CHECKPOINT --output FILE [options]\n"
    "       fbq-import export FILE --output FOLDER [options]\n"
    "\n"
    "  list      say which quantised layers there are, and how each is stored\n"
    "  pack      pack layers, with their low-rank sub-branch, as fbq's kernels take them\n"
    "  export    the way back: a GPTQ checkpoint and a PEFT adapter\n"
    "\n"
    "CHECKPOINT is a folder with quantize_config.json or config.json and safetensors files, or "
    "one\n"
    "safetensors file with such a config beside it. FILE is what pack writes.\n"
    "\n"
    "Which layers\n"
    "  --layer NAME          this layer, or those below this name; may be given again (default: "
    "all)\n"
    "\n"
    "list and pack\n"
    "  --config FILE         the checkpoint's config, where it is elsewhere\n"
    "  --gptq-version 1|2    how zero points are stored, whatever the config says\n"
    "  --adapter FOLDER      A and B: adapter_config.json and adapter_model.safetensors, from PEFT "
    "or EoRA\n"
    "  --partial             the adapter may lack some layers and have others too\n"
    "  --no-merged           leave out A and B that the checkpoint itself holds\n"
    "\n"
    "  --json                the table as JSON on standard output\n"
    "\n"
    "pack\n"
    "  --factor-type f16|bf16|i8\n"
    "                        what A and B are rounded to (default f16); the table says what that\n"
    "                        changes\n"
    "\n"
    "export\n"
    "  --base-model NAME     the adapter's base_model_name_or_path\n"
    "  --task-type TYPE      the adapter's task_type, such as CAUSAL_LM\n"
    "\n"
    "  -o, --output PATH     the file or folder to write; it appears whole or not at all\n"
    "  -q, --quiet           no progress on standard error\n"
    "  -h, --help            this text\n"
    "  --version             fbq's version\n"
    "\n"
    "Exit status: 0 success; 1 a file is missing, damaged or cannot be written, or files "
    "contradict\n"
    "each other; 2 the command line is wrong; 3 a layer is of a kind that fbq does not take.\n";

enum {
    LAYER = 256,
    CONFIG,
    GPTQ_VERSION,
    ADAPTER,
    PARTIAL,
    NO_MERGED,
    FACTOR_TYPE,
    BASE_MODEL,
    TASK_TYPE,
    JSON,
    VERSION
};

static const struct option OPTIONS[] = {{"layer", required_argument, NULL, LAYER},
                                        {"config", required_argument, NULL, CONFIG},
                                        {"gptq-version", required_argument, NULL, GPTQ_VERSION},
                                        {"adapter", required_argument, NULL, ADAPTER},
                                        {"partial", no_argument, NULL, PARTIAL},
                                        {"no-merged", no_argument, NULL, NO_MERGED},
                                        {"factor-type", required_argument, NULL, FACTOR_TYPE},
                                        {"base-model", required_argument, NULL, BASE_MODEL},
                                        {"task-type", required_argument, NULL, TASK_TYPE},
                                        {"output", required_argument, NULL, 'o'},
                                        {"json", no_argument, NULL, JSON},
                                        {"quiet", no_argument, NULL, 'q'},
                                        {"help", no_argument, NULL, 'h'},
                                        {"version", no_argument, NULL, VERSION},
                                        {NULL, 0, NULL, 0}};

/* Which subcommands an option belongs to. */
enum { LISTS = 1, PACKS = 2, EXPORTS = 4, ALL = 7 };

static const struct {
    const char *name;
    int bit;
    outcome (*command)(const options *o);
} COMMANDS[] = {{"list", LISTS, command_list},
                {"pack", PACKS, command_pack},
                {"export", EXPORTS, command_export}};

static int commands_of(int option)
{
    switch (option) {
    case CONFIG:
    case GPTQ_VERSION:
    case ADAPTER:
    case PARTIAL:
    case NO_MERGED:
        return LISTS | PACKS;
    case FACTOR_TYPE:
        return PACKS;
    case BASE_MODEL:
    case TASK_TYPE:
        return EXPORTS;
    case 'o':
        return PACKS | EXPORTS;
    case JSON:
        return LISTS | PACKS;
    default:
        return ALL;
    }
}

static int wrong(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "fbq-import: --%s %s: %s\n", option, value, expected);
    return 0;
}

static int read_one(int option, const char *value, options *o)
{
    switch (option) {
    case LAYER:
        o->layer[o->layers++] = value;
        return *value || wrong("layer", "\"\"", "expected a layer's name");
    case CONFIG:
        o->config = value;
        return 1;
    case GPTQ_VERSION:
        o->gptq_version = !strcmp(value, "1") ? 1 : !strcmp(value, "2") ? 2 : 0;
        return o->gptq_version || wrong("gptq-version", value, "expected 1 or 2");
    case ADAPTER:
        o->adapter = value;
        return 1;
    case PARTIAL:
        o->partial = 1;
        return 1;
    case NO_MERGED:
        o->no_merged = 1;
        return 1;
    case FACTOR_TYPE:
        o->factor_type = !strcmp(value, "bf16") ? FBQ_BF16
                         : !strcmp(value, "i8") ? FBQ_I8
                                                : FBQ_F16;
        return !strcmp(value, "f16") || !strcmp(value, "bf16") || !strcmp(value, "i8") ||
               wrong("factor-type", value, "expected f16, bf16 or i8");
    case BASE_MODEL:
        o->base_model = value;
        return 1;
    case TASK_TYPE:
        o->task = value;
        return 1;
    case 'o':
        o->output = value;
        return *value || wrong("output", "\"\"", "expected a path");
    case 'q':
        o->quiet = 1;
        return 1;
    default:
        o->json = 1;
        return 1;
    }
}

static const char *name_of(int option)
{
    for (const struct option *p = OPTIONS; p->name; p++)
        if (p->val == option)
            return p->name;
    return "";
}

/* The options after the subcommand, which is words[0] here. */
static int read_all(int count, char **words, int bit, options *o)
{
    int option;
    while ((option = getopt_long(count, words, "o:q", OPTIONS, NULL)) != -1) {
        if (option == '?')
            return 0; /* getopt has said what is wrong */
        if (!(commands_of(option) & bit)) {
            fprintf(stderr, "fbq-import: --%s is no option of %s\n", name_of(option), words[0]);
            return 0;
        }
        if (!read_one(option, optarg, o))
            return 0;
    }
    if (count - optind != 1) {
        fprintf(stderr,
                count == optind ? "fbq-import: %s: one path is missing: what to read\n"
                                : "fbq-import: %s: more than one path: \"%s\"\n",
                words[0], count == optind ? "" : words[optind + 1]);
        return 0;
    }
    o->input = words[optind];
    if (!o->output && bit != LISTS) {
        fprintf(stderr, "fbq-import: %s: --output is missing\n", words[0]);
        return 0;
    }
    if (o->partial && !o->adapter) {
        fputs("fbq-import: --partial is about --adapter, which is missing\n", stderr);
        return 0;
    }
    return 1;
}

/* --help and --version count wherever they stand. */
static int only_text(int count, char **words)
{
    for (int i = 1; i < count; i++) {
        const int help = !strcmp(words[i], "--help") || !strcmp(words[i], "-h");
        if (help || !strcmp(words[i], "--version")) {
            fputs(help ? HELP : "fbq " FBQ_VERSION_STRING "\n", stdout);
            return 1;
        }
    }
    return 0;
}

int options_read(int count, char **words, options *o, outcome *end)
{
    *o = (options){.factor_type = FBQ_F16};
    *end = OUTCOME_DONE;
    if (only_text(count, words))
        return 0;
    *end = OUTCOME_USAGE;
    o->layer = malloc((size_t)(count + 1) * sizeof *o->layer);
    if (!o->layer) {
        fputs("fbq-import: no memory\n", stderr);
        *end = OUTCOME_FAILED;
        return 0;
    }
    for (size_t i = 0; count > 1 && i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        if (!strcmp(words[1], COMMANDS[i].name)) {
            o->command = COMMANDS[i].command;
            if (read_all(count - 1, words + 1, COMMANDS[i].bit, o))
                return 1;
            fputs("Try fbq-import --help.\n", stderr);
            return 0;
        }
    fprintf(stderr, "fbq-import: %s%s: expected list, pack or export\nTry fbq-import --help.\n",
            count > 1 ? words[1] : "no", count > 1 ? "" : " command");
    return 0;
}
