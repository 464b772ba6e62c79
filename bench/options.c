/* bench/options.c: see options.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu.h"

/* N x K of a model's linear layers: q or o, k or v, gate or up, down. */
typedef struct preset {
    const char *name;
    const char *shapes;
} preset;

static const preset presets[] = {
    {"table", "4096x4096,11008x4096,4096x11008,14336x4096,4096x14336,8192x8192,28672x8192"},
    {"llama-2-7b", "4096x4096,11008x4096,4096x11008"},
    {"llama-2-13b", "5120x5120,13824x5120,5120x13824"},
    {"llama-2-70b", "8192x8192,1024x8192,28672x8192,8192x28672"},
    {"llama-3-8b", "4096x4096,1024x4096,14336x4096,4096x14336"},
    {"llama-3-70b", "8192x8192,1024x8192,28672x8192,8192x28672"},
    {"qwen2.5-7b", "3584x3584,512x3584,18944x3584,3584x18944"},
};
#define PRESETS ((int)(sizeof presets / sizeof presets[0]))

void options_help(void)
{
    printf("fbq-bench: how fast fbq's kernels are, beside what they are measured against\n\n"
           "  --preset=NAME     shapes of a model; repeat for more (default: table)\n");
    for (int i = 0; i < PRESETS; i++)
        printf("                      %-12s %s\n", presets[i].name, presets[i].shapes);
    printf(
        "  --shape=NxK,...   shapes of your own; repeat for more\n"
        "  --m=1,4,8         rows of x (1 .. 16; default 1)\n"
        "  --bits=4          of a code: 2, 3 or 4\n"
        "  --rank=128        rank of the sub-branch (0: none)\n"
        "  --segments=1      N is so many layers that share x (3: q, k, v), each of that rank, in\n"
        "                    one call (fbq's own kernels only)\n"
        "  --group=128       codes that share a scale: 32, 64, 128, 256 or row\n"
        "  --zero=f16        zero points: f16, code or none\n"
        "  --type=f16        of x, y, scales and factors: f16, or bf16 (fbq's kernels only)\n"
        "  --factor=type     of the factors: type, the same; or i8\n"
        "  --hot             weights stay in the L2 cache (default: cold, by rotation)\n"
        "  --alone           fbq's launches make no promise about the kernel before "
        "(fbq_call.chained\n"
        "                    is 0; default: they are chained, as the layers of a model are)\n"
        "  --ptx=80          compile fbq's kernels for this virtual architecture, 80 .. the GPU's\n"
        "  --wisdom=FILE     take picks from this file of tuning (default: the shipped picks)\n"
        "  --pick=TEXT       \"fused warps=16 ...\" or \"down warps=8 ...\" in place of the\n"
        "                    default picks; once for each kernel (fused with slices: fbq1's)\n"
        "  --pick-int4=TEXT  \"fused ...\" for the layer without its sub-branch alone\n"
        "  --replays=25      graph replays a figure is the median of (3 .. %d)\n"
        "  --timeout=60      seconds a benchmark may take; 0: no limit\n"
        "  --device=0        which GPU\n"
        "  --require-gpu     fail where there is no GPU, instead of listing\n\n"
        "Google Benchmark's own options work as ever, among them\n"
        "  --benchmark_filter=REGEX  --benchmark_list_tests=true\n"
        "  --benchmark_out=FILE      (JSON)   --benchmark_repetitions=N\n\n"
        "Exit status: 0 all was measured, or listed; 1 a benchmark failed; 2 wrong usage.\n",
        MAX_REPLAYS);
}

const char *options_temperature(const options *o)
{
    return o->hot ? "hot" : "cold";
}

const char *options_chain(const options *o)
{
    return o->alone ? "alone" : "chained";
}

void options_format_name(const options *o, char *text, size_t bytes)
{
    const char *zero = o->zero == FBQ_ZERO_F16    ? ""
                       : o->zero == FBQ_ZERO_CODE ? "-zcode"
                                                  : "-znone";
    const char *type = o->type == FBQ_BF16 ? "-bf16" : "", *factor = o->factor ? "-i8" : "";
    char group[16] = "row", segments[16] = "";
    if (o->group != FBQ_GROUP_ROW)
        snprintf(group, sizeof group, "%d", o->group);
    if (o->segments > 1)
        snprintf(segments, sizeof segments, "-s%d", o->segments);
    snprintf(text, bytes, "W%d%s%s%s%s/g%s", o->bits, type, factor, zero, segments, group);
}

static int shapes_add(options *o, const char *text, const char *option, fail *f)
{
    while (*text) {
        char *end;
        long long n = strtoll(text, &end, 10), k = 0;
        if (end != text && *end == 'x') {
            text = end + 1;
            k = strtoll(text, &end, 10);
        }
        if (end == text || (*end && *end != ',') || n < 1 || k < 1 || n > 1 << 24 || k > 1 << 24)
            return failf(f, "%s: expected NxK, such as 4096x11008, separated by commas", option);
        int known = 0;
        for (int i = 0; i < o->shapes; i++)
            known |= o->shape[i].n == n && o->shape[i].k == k;
        if (!known) {
            if (o->shapes == MAX_SHAPES)
                return failf(f, "%s: more than %d shapes", option, MAX_SHAPES);
            o->shape[o->shapes].n = n;
            o->shape[o->shapes++].k = k;
        }
        text = *end ? end + 1 : end;
    }
    return 0;
}

static int preset_add(options *o, const char *name, const char *option, fail *f)
{
    for (int i = 0; i < PRESETS; i++)
        if (!strcmp(name, presets[i].name))
            return shapes_add(o, presets[i].shapes, option, f);
    int at = snprintf(f->text, sizeof f->text, "%s: no such preset; there are", option);
    for (int i = 0; i < PRESETS; i++)
        at += snprintf(f->text + at, sizeof f->text - (size_t)at, " %s", presets[i].name);
    return 1;
}

static int number_take(const char *text, const char *option, long low, long high, int *out, fail *f)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < low || value > high)
        return failf(f, "%s: expected a whole number from %ld to %ld", option, low, high);
    *out = (int)value;
    return 0;
}

static int ms_take(options *o, const char *text, const char *option, fail *f)
{
    o->ms = 0;
    do {
        char *end;
        long m = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || m < 1 || m > MAX_M || o->ms == MAX_M)
            return failf(f, "%s: expected rows of x from 1 to %d, separated by commas", option,
                         MAX_M);
        o->m[o->ms++] = (int)m;
        text = *end ? end + 1 : end;
    } while (*text);
    return 0;
}

static int pick_take(const char *text, const char *option, fbq_pick *pick, fail *f)
{
    fbq_error error;
    memset(&error, 0, sizeof error);
    if (fbq_pick_parse(text, pick, &error) != FBQ_OK)
        return failf(f, "%.80s: %s", option, error.detail);
    return 0;
}

/* The value behind `name` when the argument is --name=value; NULL otherwise. */
static const char *value_of(const char *argument, const char *name)
{
    size_t length = strlen(name);
    return !strncmp(argument, name, length) && argument[length] == '=' ? argument + length + 1
                                                                       : NULL;
}

static int option_take(options *o, const char *a, int *ours, fail *f)
{
    const char *v;
    fbq_pick pick;
    *ours = 1;
    if ((v = value_of(a, "--preset")))
        return preset_add(o, v, a, f);
    if ((v = value_of(a, "--shape")))
        return shapes_add(o, v, a, f);
    if ((v = value_of(a, "--m")))
        return ms_take(o, v, a, f);
    if ((v = value_of(a, "--bits")))
        return number_take(v, a, 2, 4, &o->bits, f);
    if ((v = value_of(a, "--factor"))) {
        o->factor = !strcmp(v, "i8") ? FBQ_I8 : (fbq_type)0;
        return !o->factor && strcmp(v, "type") ? failf(f, "%s: expected type or i8", a) : 0;
    }
    if ((v = value_of(a, "--type"))) {
        o->type = !strcmp(v, "bf16") ? FBQ_BF16 : FBQ_F16;
        return o->type == FBQ_F16 && strcmp(v, "f16") ? failf(f, "%s: expected f16 or bf16", a) : 0;
    }
    if ((v = value_of(a, "--rank")))
        return number_take(v, a, 0, 4096, &o->rank, f);
    if ((v = value_of(a, "--segments")))
        return number_take(v, a, 1, FBQ_MAX_SEGMENTS, &o->segments, f);
    if ((v = value_of(a, "--replays")))
        return number_take(v, a, 3, MAX_REPLAYS, &o->replays, f);
    if ((v = value_of(a, "--device")))
        return number_take(v, a, 0, 1024, &o->device, f);
    if ((v = value_of(a, "--ptx")))
        return number_take(v, a, 80, 999, &o->ptx, f);
    if ((v = value_of(a, "--timeout"))) {
        char *end;
        o->timeout = strtod(v, &end);
        return end == v || *end || !(o->timeout >= 0)
                   ? failf(f, "%s: expected seconds, 0 for no limit", a)
                   : 0;
    }
    if ((v = value_of(a, "--group"))) {
        if (!strcmp(v, "row")) {
            o->group = FBQ_GROUP_ROW;
            return 0;
        }
        TRY(number_take(v, a, 32, 256, &o->group, f));
        return o->group & (o->group - 1) ? failf(f, "%s: expected 32, 64, 128, 256 or row", a) : 0;
    }
    if ((v = value_of(a, "--zero"))) {
        o->zero = !strcmp(v, "f16")    ? FBQ_ZERO_F16
                  : !strcmp(v, "code") ? FBQ_ZERO_CODE
                                       : FBQ_ZERO_NONE;
        return o->zero == FBQ_ZERO_NONE && strcmp(v, "none")
                   ? failf(f, "%s: expected f16, code or none", a)
                   : 0;
    }
    if ((v = value_of(a, "--wisdom"))) {
        o->wisdom = v;
        return 0;
    }
    if ((v = value_of(a, "--pick"))) {
        TRY(pick_take(v, a, &pick, f));
        o->pick[pick.kernel] = pick;
        o->has_pick[pick.kernel] = 1;
        return 0;
    }
    if ((v = value_of(a, "--pick-int4"))) {
        TRY(pick_take(v, a, &o->int4_pick, f));
        o->has_int4_pick = 1;
        return o->int4_pick.kernel != FBQ_KERNEL_FUSED ? failf(f, "%s: expected \"fused ...\"", a)
                                                       : 0;
    }
    if (!strcmp(a, "--hot"))
        o->hot = 1;
    else if (!strcmp(a, "--alone"))
        o->alone = 1;
    else if (!strcmp(a, "--require-gpu"))
        o->require_gpu = 1;
    else if (!strcmp(a, "--help") || !strcmp(a, "-h"))
        o->help = 1;
    else
        *ours = 0;
    return 0;
}

int options_take(options *o, int *argc, char **argv, fail *f)
{
    int left = 1;
    memset(o, 0, sizeof *o);
    o->m[0] = 1;
    o->ms = 1;
    o->bits = 4;
    o->type = FBQ_F16;
    o->rank = 128;
    o->segments = 1;
    o->group = 128;
    o->zero = FBQ_ZERO_F16;
    o->replays = 25;
    o->timeout = 60;
    o->wisdom = "";
    for (int i = 1; i < *argc; i++) {
        int ours;
        TRY(option_take(o, argv[i], &ours, f));
        if (!ours && strncmp(argv[i], "--benchmark_", 12) && strncmp(argv[i], "--v=", 4))
            return failf(f, "%s: no such option; --help lists them", argv[i]);
        if (!ours)
            argv[left++] = argv[i];
    }
    argv[left] = NULL;
    *argc = left;
    return o->shapes ? 0 : preset_add(o, "table", "--preset", f);
}
