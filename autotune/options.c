/* options.c: getopt and the help text.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* getopt_long */
#include "options.h"
#include "problems.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "Usage: fbq-tune tune    [options]             measure picks, keep the fastest\n"
    "       fbq-tune verify  [options]             measure again: do this GPU's records hold?\n"
    "       fbq-tune show    [options]             the records of a wisdom file\n"
    "       fbq-tune explain --shape NxK [options] which pick a layer gets, and why\n"
    "       fbq-tune merge   FILE... [options]     take in records, as lines or as JSON\n"
    "       fbq-tune import  FILE... [options]     the same\n"
    "       fbq-tune export  [options]             write records out\n"
    "       fbq-tune forget  [options]             take records out of the file\n"
    "       fbq-tune doctor  [options]             what this machine has and lacks\n"
    "\n"
    "  --file FILE         the wisdom file (default: $FBQ_CACHE_DIR/wisdom,\n"
    "                      $XDG_CACHE_HOME/fbq/wisdom or ~/.cache/fbq/wisdom)\n"
    "  --json              JSON on standard output (tune, verify, show, explain,\n"
    "                      export, doctor)\n"
    "  -o, --output FILE   instead of standard output (export)\n"
    "  --no-default        without records whose picks are the default anyway (export)\n"
    "  --skip-damaged      leave out what cannot be taken, instead of taking nothing (merge)\n"
    "  --beside FILE       also time the picks that another wisdom file gives for the same layers\n"
    "                      here, in the same passes (verify; up to four times)\n"
    "\n"
    "Which records (verify, show, export, forget), or which layer (explain)\n"
    "  --gpu NAME          part of the GPU's name, or h200, a100, rtx3090 ...; explain, and tune\n"
    "                      --rigor estimate: such a short name (default: this machine's GPU)\n"
    "  --shape NxK         rows and inputs of the layer, rows of all its segments\n"
    "  --bits 2|3|4        of a code\n"
    "  --kernel down|fused (verify, show, export, forget)\n"
    "  --all               all records (forget)\n"
    "\n"
    "What is tuned, and how (tune; the last four also verify, the last also doctor)\n"
    "  --preset MODEL      all layers of llama-2-7b, llama-2-13b, llama-3-8b, llama-3-70b,\n"
    "                      mistral-7b, qwen2.5-7b or smollm2-135m; or --shape, one layer\n"
    "  --m M,M,...         rows of x, each for its bucket (1, 2-4, 5-8, 9-16; default all four)\n"
    "  --rigor RIGOR       measure or patient (default measure): how many picks are tried; or\n"
    "                      estimate: none, a model predicts them (for a GPU with --gpu, too)\n"
    "  --again             tune also what the file has such records of already\n"
    "  --log FILE          append every time that is measured, as a line of JSON\n"
    "  --survey N          no search and no records: time N picks drawn from all, for --log\n"
    "  --sms N             only so many multiprocessors, of a green context: for programs\n"
    "                      that run in one\n"
    "  --budget 90s        end after that time (s, m or h); the problem in hand waits for\n"
    "                      the next run\n"
    "  --patience SECONDS  that one run of a pick may take before it counts as hung (default 20)\n"
    "  --trial PROGRAM     what measures (default: fbq-trial beside fbq-tune)\n"
    "\n"
    "More of a layer (tune, explain)\n"
    "  --group G           32, 64, 128, 256 or row (default 128)\n"
    "  --zero KIND         none, code or f16 (default code)\n"
    "  --rank R            of its sub-branch (default 128; 0: none)\n"
    "  --type T            of x, y, scales and factors: f16 or bf16 (default f16)\n"
    "  --factor-type T     of the factors, f16, bf16 or i8, where it is another\n"
    "  --m M               rows of x, 1 to 16 (explain; default 1)\n"
    "  --launches L        1, 2, or 0 for the faster (default 0)\n"
    "  --device D          which GPU of this machine (tune, verify, explain, doctor; default 0)\n"
    "  --time              also time a program's first start on this GPU, and its second (doctor)\n"
    "\n"
    "  -h, --help          this text\n"
    "  --version           fbq's version\n"
    "\n"
    "Exit status: 0 success; 1 a file cannot be read or written, or holds what cannot be taken;\n"
    "2 the command line is wrong; 3 the machine lacks something (tune, verify, doctor; explain\n"
    "and estimates without --gpu); 4 not all that was asked for was tuned or holds (interrupted, "
    "out of time,\n"
    "not measurable).\n";

enum {
    FILE_ = 256,
    JSON,
    SKIP_DAMAGED,
    NO_DEFAULT,
    GPU,
    SHAPE,
    BITS,
    KERNEL,
    ALL,
    GROUP,
    ZERO,
    RANK,
    TYPE,
    FACTOR_TYPE,
    M,
    LAUNCHES,
    DEVICE,
    PRESET,
    RIGOR,
    SMS,
    BUDGET,
    AGAIN,
    SURVEY,
    LOG,
    TIME,
    PATIENCE,
    TRIAL,
    BESIDE,
    VERSION
};

/* Which subcommands an option belongs to. */
enum {
    SHOW = 1,
    EXPLAIN = 2,
    MERGE = 4,
    EXPORT = 8,
    FORGET = 16,
    DOCTOR = 32,
    TUNE = 64,
    VERIFY = 128,
    ANY = 255
};

static const struct {
    struct option option;
    int commands;
} TABLE[] = {
    {{"file", required_argument, NULL, FILE_}, ANY},
    {{"json", no_argument, NULL, JSON}, TUNE | VERIFY | SHOW | EXPLAIN | EXPORT | DOCTOR},
    {{"output", required_argument, NULL, 'o'}, EXPORT},
    {{"skip-damaged", no_argument, NULL, SKIP_DAMAGED}, MERGE},
    {{"no-default", no_argument, NULL, NO_DEFAULT}, EXPORT},
    {{"gpu", required_argument, NULL, GPU}, TUNE | SHOW | EXPLAIN | EXPORT | FORGET},
    {{"shape", required_argument, NULL, SHAPE}, TUNE | VERIFY | SHOW | EXPLAIN | EXPORT | FORGET},
    {{"bits", required_argument, NULL, BITS}, TUNE | VERIFY | SHOW | EXPLAIN | EXPORT | FORGET},
    {{"kernel", required_argument, NULL, KERNEL}, VERIFY | SHOW | EXPORT | FORGET},
    {{"all", no_argument, NULL, ALL}, FORGET},
    {{"group", required_argument, NULL, GROUP}, TUNE | EXPLAIN},
    {{"zero", required_argument, NULL, ZERO}, TUNE | EXPLAIN},
    {{"rank", required_argument, NULL, RANK}, TUNE | EXPLAIN},
    {{"type", required_argument, NULL, TYPE}, TUNE | EXPLAIN},
    {{"factor-type", required_argument, NULL, FACTOR_TYPE}, TUNE | EXPLAIN},
    {{"m", required_argument, NULL, M}, TUNE | EXPLAIN},
    {{"launches", required_argument, NULL, LAUNCHES}, TUNE | EXPLAIN},
    {{"device", required_argument, NULL, DEVICE}, TUNE | VERIFY | EXPLAIN | DOCTOR},
    {{"preset", required_argument, NULL, PRESET}, TUNE},
    {{"rigor", required_argument, NULL, RIGOR}, TUNE},
    {{"sms", required_argument, NULL, SMS}, TUNE | VERIFY},
    {{"budget", required_argument, NULL, BUDGET}, TUNE | VERIFY},
    {{"again", no_argument, NULL, AGAIN}, TUNE},
    {{"survey", required_argument, NULL, SURVEY}, TUNE},
    {{"log", required_argument, NULL, LOG}, TUNE},
    {{"time", no_argument, NULL, TIME}, DOCTOR},
    {{"patience", required_argument, NULL, PATIENCE}, TUNE | VERIFY},
    {{"trial", required_argument, NULL, TRIAL}, TUNE | VERIFY | DOCTOR},
    {{"beside", required_argument, NULL, BESIDE}, VERIFY},
    {{"help", no_argument, NULL, 'h'}, ANY},
    {{"version", no_argument, NULL, VERSION}, ANY},
};

enum { OPTIONS = sizeof TABLE / sizeof TABLE[0] };

static const struct {
    const char *name;
    int bit;
    outcome (*command)(const options *o);
} COMMANDS[] = {{"tune", TUNE, command_tune},       {"verify", VERIFY, command_verify},
                {"show", SHOW, command_show},       {"explain", EXPLAIN, command_explain},
                {"merge", MERGE, command_merge},    {"import", MERGE, command_merge},
                {"export", EXPORT, command_export}, {"forget", FORGET, command_forget},
                {"doctor", DOCTOR, command_doctor}};

enum { COUNT = sizeof COMMANDS / sizeof COMMANDS[0] };

outcome failed(const options *o, outcome end, const char *format, ...)
{
    va_list values;
    fprintf(stderr, "fbq-tune: %s: ", o->command_name);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    return end;
}

static int wrong(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "fbq-tune: --%s %s: expected %s\n", option, value, expected);
    return 0;
}

static int number_read(const char *option, const char *value, long low, long high, long *number)
{
    char expected[64], *end;
    *number = strtol(value, &end, 10);
    snprintf(expected, sizeof expected, "a number from %ld to %ld", low, high);
    return (end != value && !*end && *number >= low && *number <= high) ||
           wrong(option, value, expected);
}

/* One of some words; the index of the word. */
static int word_read(const char *option, const char *value, const char *const *words,
                     const char *expected, long *index)
{
    for (*index = 0; words[*index]; ++*index)
        if (!strcmp(words[*index], value))
            return 1;
    return wrong(option, value, expected);
}

static int shape_read(const char *value, options *o)
{
    char *end;
    const long long n = strtoll(value, &end, 10), k = *end == 'x' ? strtoll(end + 1, &end, 10) : 0;
    if (n < 1 || k < 1 || *end || n > INT32_MAX || k > INT32_MAX)
        return wrong("shape", value, "NxK, such as 4096x11008");
    o->has_shape = 1;
    o->problem.shape.segment[0].n = n;
    o->problem.shape.k = k;
    return 1;
}

/* "1,4,16"; one number for those that want one. */
static int rows_read(const char *value, options *o)
{
    const char *const expected = "up to four numbers from 1 to 16, such as 1,4,16";
    char *end;
    o->ms = 0;
    do {
        const long m = strtol(value, &end, 10);
        if (end == value || m < 1 || m > 16 || o->ms == 4)
            return wrong("m", value, expected);
        o->m[o->ms++] = (int)m;
        value = end + 1;
    } while (*end == ',');
    o->problem.m_max = o->m[0];
    return !*end || wrong("m", value, expected);
}

static int preset_read(const char *value, options *o)
{
    for (o->preset = 0; problems_preset(o->preset); o->preset++)
        if (!strcmp(problems_preset(o->preset), value))
            return 1;
    return wrong("preset", value, "a model that --help lists");
}

/* "90s", "15m", "2h", or seconds. */
static int seconds_read(const char *option, const char *value, double *seconds)
{
    char *end;
    *seconds = strtod(value, &end);
    const double unit = *end == 'm' ? 60 : *end == 'h' ? 3600 : 1;
    const int has_unit = *end == 's' || *end == 'm' || *end == 'h';
    *seconds *= unit;
    return (end != value && !end[has_unit] && *seconds > 0 && *seconds < 1e7) ||
           wrong(option, value, "a time such as 90s, 15m or 2h");
}

static int beside_read(const char *value, options *o)
{
    if (o->besides == MOST_BESIDE || !*value)
        return wrong("beside", *value ? value : "\"\"", "a path, four times at most");
    o->beside[o->besides++] = value;
    return 1;
}

static int read_one(int option, const char *value, options *o)
{
    static const char *const kernels[] = {"down", "fused", NULL}, *const groups[] = {"row", "32",
                                                                                     "64",  "128",
                                                                                     "256", NULL},
                             *const zeros[] = {"none", "code", "f16", NULL},
                             *const types[] = {"f16", "bf16", "i8", NULL},
                             *const rigors[] = {"estimate", "measure", "patient", NULL};
    static const fbq_type type_of[] = {FBQ_F16, FBQ_BF16, FBQ_I8};
    long number = 0;
    switch (option) {
    case FILE_:
        return snprintf(o->file, sizeof o->file, "%s", value) < (int)sizeof o->file && *value
                   ? 1
                   : wrong("file", "...", "a path of 1 to 4095 bytes");
    case 'o':
        o->output = value;
        return *value || wrong("output", "\"\"", "a path");
    case JSON:
        return o->json = 1;
    case SKIP_DAMAGED:
        return o->skip_damaged = 1;
    case NO_DEFAULT:
        return o->no_default = 1;
    case ALL:
        return o->all = 1;
    case GPU:
        o->gpu = value;
        return *value || wrong("gpu", "\"\"", "a name");
    case SHAPE:
        return shape_read(value, o);
    case BITS:
        o->has_bits = number_read("bits", value, 2, 4, &number);
        o->problem.format.bits = (int)number;
        return o->has_bits;
    case KERNEL:
        o->has_kernel = word_read("kernel", value, kernels, "down or fused", &number);
        o->kernel = (fbq_kernel)number;
        return o->has_kernel;
    case GROUP:
        if (!word_read("group", value, groups, "32, 64, 128, 256 or row", &number))
            return 0;
        o->problem.format.group = number ? 16 << number : FBQ_GROUP_ROW;
        return 1;
    case ZERO:
        if (!word_read("zero", value, zeros, "none, code or f16", &number))
            return 0;
        o->problem.format.zero = (fbq_zero)number;
        return 1;
    case RANK:
        if (!number_read("rank", value, 0, 4096, &number))
            return 0;
        o->problem.shape.segment[0].r = number;
        return 1;
    case TYPE:
        if (!word_read("type", value, types, "f16 or bf16", &number) || number > 1)
            return number > 1 ? wrong("type", value, "f16 or bf16") : 0;
        o->problem.x_type = o->problem.y_type = o->problem.format.scale_type = type_of[number];
        return 1;
    case FACTOR_TYPE:
        if (!word_read("factor-type", value, types, "f16, bf16 or i8", &number))
            return 0;
        o->problem.format.factor_type = type_of[number];
        return 1;
    case M:
        return rows_read(value, o);
    case PRESET:
        return preset_read(value, o);
    case RIGOR:
        if (!word_read("rigor", value, rigors, "estimate, measure or patient", &number))
            return 0;
        o->rigor = (fbq_rigor)(FBQ_RIGOR_ESTIMATE + number);
        return 1;
    case SMS:
        if (!number_read("sms", value, 1, 4096, &number))
            return 0;
        o->sms = (int)number;
        return 1;
    case BUDGET:
        return seconds_read("budget", value, &o->budget);
    case AGAIN:
        return o->again = 1;
    case SURVEY:
        if (!number_read("survey", value, 1, 100000, &number))
            return 0;
        o->survey = (int)number;
        return 1;
    case LOG:
        o->log = value;
        return *value || wrong("log", "\"\"", "a path");
    case TIME:
        return o->time = 1;
    case PATIENCE:
        return seconds_read("patience", value, &o->patience);
    case TRIAL:
        o->trial = value;
        return *value || wrong("trial", "\"\"", "a path");
    case BESIDE:
        return beside_read(value, o);
    case LAUNCHES:
        if (!number_read("launches", value, 0, 2, &number))
            return 0;
        o->problem.launches = (int)number;
        return 1;
    default:
        if (!number_read("device", value, 0, 1023, &number))
            return 0;
        o->device = (int)number;
        return 1;
    }
}

/* The options after the subcommand, which is words[0] here. 0: it ends; *end says how. */
static int read_all(int count, char **words, int bit, options *o, outcome *end)
{
    struct option list[OPTIONS + 1];
    int option;
    for (int i = 0; i < OPTIONS; i++)
        list[i] = TABLE[i].option;
    memset(&list[OPTIONS], 0, sizeof list[OPTIONS]);
    *end = OUTCOME_USAGE;
    while ((option = getopt_long(count, words, "o:h", list, NULL)) != -1) {
        int i = 0;
        if (option == '?')
            return 0; /* getopt has said what is wrong */
        if (option == 'h' || option == VERSION) {
            fputs(option == 'h' ? HELP : "fbq-tune " FBQ_VERSION_STRING "\n", stdout);
            *end = OUTCOME_DONE;
            return 0;
        }
        while (TABLE[i].option.val != option)
            i++;
        if (!(TABLE[i].commands & bit)) {
            fprintf(stderr, "fbq-tune: --%s is no option of %s\n", TABLE[i].option.name, words[0]);
            return 0;
        }
        if (!read_one(option, optarg, o))
            return 0;
    }
    if (bit == EXPLAIN && o->ms > 1) {
        fprintf(stderr, "fbq-tune: explain: --m takes one number\n");
        return 0;
    }
    o->input = (const char **)(words + optind);
    o->inputs = count - optind;
    if (bit == MERGE ? o->inputs > 0 : o->inputs == 0)
        return 1;
    fprintf(stderr, bit == MERGE ? "fbq-tune: %s: which files?%s\n" : "fbq-tune: %s: what is %s?\n",
            words[0], bit == MERGE ? "" : o->input[0]);
    return 0;
}

int options_read(int count, char **words, options *o, outcome *end)
{
    const char *name = count > 1 ? words[1] : "";
    int i = 0;
    fbq_error error;
    memset(o, 0, sizeof *o);
    o->problem.format.bits = 4;
    o->problem.format.group = 128;
    o->problem.format.zero = FBQ_ZERO_CODE;
    o->problem.format.scale_type = o->problem.x_type = o->problem.y_type = FBQ_F16;
    o->problem.shape = fbq_shape_of(1, 1, 128);
    o->problem.m_max = 1;
    o->preset = -1;
    o->rigor = FBQ_RIGOR_MEASURE;
    o->patience = 20;
    *end = OUTCOME_USAGE;
    while (i < COUNT && strcmp(COMMANDS[i].name, name))
        i++;
    if (i == COUNT) {
        char *none[2];
        if (*name == '-' && count == 2) { /* --help and --version alone */
            none[0] = words[0];
            none[1] = words[1];
            return read_all(2, none, 0, o, end) && 0;
        }
        fprintf(stderr, "fbq-tune: %s%s; --help lists the subcommands\n",
                *name ? "there is no subcommand " : "a subcommand is missing", name);
        return 0;
    }
    o->command = COMMANDS[i].command;
    o->command_name = COMMANDS[i].name;
    if (!read_all(count - 1, words + 1, COMMANDS[i].bit, o, end))
        return 0;
    if (!o->problem.format.factor_type)
        o->problem.format.factor_type = o->problem.x_type;
    if (!o->file[0] && fbq_wisdom_path(o->file, sizeof o->file, &error) != FBQ_OK) {
        *end = failed(o, OUTCOME_FAILED, "%s; or --file names one", error.detail);
        return 0;
    }
    return 1;
}
