/* gptq.c: see gptq.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "gptq.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The config ---- */

static int is_group(json_int_t group)
{
    return group == 32 || group == 64 || group == 128 || group == 256;
}

/* A text by its name, or by the name that older writers gave it. */
static const char *either(const json_t *q, const char *name, const char *older)
{
    const json_t *v = json_object_get(q, name);
    v = v ? v : json_object_get(q, older);
    return !v || json_is_null(v) || json_is_string(v) ? json_string_value(v) : "(not a text)";
}

static import_status config_of(const json_t *root, gptq_config *config, import_error *error)
{
    const json_t *nested = json_object_get(root, "quantization_config");
    const json_t *q = nested ? nested : root;
    const json_t *bits = json_object_get(q, "bits"), *group = json_object_get(q, "group_size");
    const char *method = either(q, "method", "quant_method");
    const char *format = either(q, "format", "checkpoint_format");
    if (!json_is_object(q))
        return import_fail(error, IMPORT_ERR_HEADER, "the config is not a JSON object");
    if (!json_is_integer(bits) || !json_is_integer(group))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "the config has no \"bits\" and \"group_size\" that are integers");
    if (method && strcmp(method, "gptq") != 0)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "the method is \"%.32s\"; \"gptq\" was expected", method);
    if (format && strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "the format is \"%.32s\"; \"gptq\" or \"gptq_v2\" was expected", format);
    const json_int_t b = json_integer_value(bits), g = json_integer_value(group);
    if (b < 2 || b > 4)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "%" JSON_INTEGER_FORMAT " bits; 2, 3 or 4 were expected", b);
    if (g != -1 && !is_group(g))
        return import_fail(
            error, IMPORT_ERR_UNSUPPORTED,
            "groups of %" JSON_INTEGER_FORMAT "; 32, 64, 128, 256 or -1 (a row) were expected", g);
    config->bits = (int)b;
    config->group = g == -1 ? FBQ_GROUP_ROW : (int)g;
    config->version = format && !strcmp(format, "gptq_v2") ? 2 : 1;
    return IMPORT_OK;
}

import_status gptq_config_parse(const void *json, size_t bytes, gptq_config *config,
                                import_error *error)
{
    json_error_t where;
    if (!json || !config)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL", json ? "config" : "json");
    json_t *root = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return import_fail(error, IMPORT_ERR_HEADER, "the config is no JSON (line %d): %s",
                           where.line, where.text);
    const import_status status = config_of(root, config, error);
    json_decref(root);
    return status;
}

/* ---- A layer's tensors ---- */

typedef struct source {
    const safetensors_file *file;
    const char *prefix;
    import_error *error;
    const safetensors_tensor *qweight, *qzeros, *scales, *g_idx, *bias;
} source;

/* `prefix`.`name`, of a type; or NULL, and IMPORT_OK, where an optional one is not there. */
static import_status find(source *s, const char *name, safetensors_type type, int dims,
                          int optional, const safetensors_tensor **tensor)
{
    char whole[512];
    if ((size_t)snprintf(whole, sizeof whole, "%s.%s", s->prefix, name) >= sizeof whole)
        return import_fail(s->error, IMPORT_ERR_ARGUMENT, "prefix has %zu characters, too many",
                           strlen(s->prefix));
    const safetensors_tensor *t = *tensor = safetensors_find(s->file, whole);
    if (!t)
        return optional ? IMPORT_OK
                        : import_fail(s->error, IMPORT_ERR_MISSING, "there is no tensor \"%.200s\"",
                                      whole);
    if (t->type != type || t->dims != dims)
        return import_fail(
            s->error, IMPORT_ERR_SHAPE, "\"%.200s\" is %s of %d dimensions; %s of %d were expected",
            whole, safetensors_type_name(t->type), t->dims, safetensors_type_name(type), dims);
    return IMPORT_OK;
}

static import_status want_dim(const source *s, const char *name, const safetensors_tensor *t,
                              int dim, uint64_t expected)
{
    if (!t || t->dim[dim] == expected)
        return IMPORT_OK;
    return import_fail(s->error, IMPORT_ERR_SHAPE,
                       "dimension %d of \"%.200s.%s\" is %" PRIu64 "; %" PRIu64 " was expected",
                       dim, s->prefix, name, t->dim[dim], expected);
}

/* Find the tensors, and see that their sizes agree with each other and with the config. */
static import_status find_all(source *s, gptq_layer *l)
{
    const uint64_t bits = (uint64_t)l->format.bits;
    import_status status = find(s, "qweight", SAFETENSORS_I32, 2, 0, &s->qweight);
    if (status == IMPORT_OK)
        status = find(s, "qzeros", SAFETENSORS_I32, 2, 0, &s->qzeros);
    if (status == IMPORT_OK)
        status = find(s, "scales", SAFETENSORS_F16, 2, 0, &s->scales);
    if (status == IMPORT_OK)
        status = find(s, "g_idx", SAFETENSORS_I32, 1, 1, &s->g_idx);
    if (status == IMPORT_OK)
        status = find(s, "bias", SAFETENSORS_F16, 1, 1, &s->bias);
    if (status != IMPORT_OK)
        return status;
    const uint64_t words = s->qweight->dim[0], n = s->qweight->dim[1];
    const uint64_t most = INT64_MAX / 32;
    if (n == 0 || words == 0 || n > most || words > most / n)
        return import_fail(s->error, IMPORT_ERR_SHAPE,
                           "\"%.200s.qweight\" is %" PRIu64 " x %" PRIu64
                           " words, which is no layer",
                           s->prefix, words, n);
    /* g_idx knows K where codes leave bits of the last word over */
    const uint64_t k = s->g_idx ? s->g_idx->dim[0] : words * 32 / bits;
    if (k == 0 || k > words * 32 / bits || (k * bits + 31) / 32 != words)
        return import_fail(s->error, IMPORT_ERR_SHAPE,
                           "\"%.200s.qweight\" has %" PRIu64
                           " words a column, which do not make %" PRIu64 " codes of %d bits",
                           s->prefix, words, k, l->format.bits);
    if (!s->g_idx && words * 32 % bits != 0)
        return import_fail(s->error, IMPORT_ERR_SHAPE,
                           "\"%.200s.qweight\" has %" PRIu64 " words a column, which are not whole "
                           "codes of %d bits, and there is no g_idx to tell K",
                           s->prefix, words, l->format.bits);
    const uint64_t group = l->format.group == FBQ_GROUP_ROW ? k : (uint64_t)l->format.group;
    const uint64_t groups = (k + group - 1) / group;
    l->n = (int64_t)n;
    l->k = (int64_t)k;
    l->groups = (int64_t)groups;
    status = want_dim(s, "qzeros", s->qzeros, 0, groups);
    if (status == IMPORT_OK)
        status = want_dim(s, "qzeros", s->qzeros, 1, (n * bits + 31) / 32);
    if (status == IMPORT_OK)
        status = want_dim(s, "scales", s->scales, 0, groups);
    if (status == IMPORT_OK)
        status = want_dim(s, "scales", s->scales, 1, n);
    if (status == IMPORT_OK)
        status = want_dim(s, "bias", s->bias, 0, n);
    for (uint64_t i = 0; s->g_idx && i < k && status == IMPORT_OK; i++)
        if (safetensors_u32(s->g_idx, i) != i / group)
            return import_fail(s->error, IMPORT_ERR_UNSUPPORTED,
                               "\"%.160s.g_idx\" puts k %" PRIu64 " into group %" PRIu32
                               ", not %" PRIu64 ": act-order (desc_act) is not read; quantise "
                               "without it",
                               s->prefix, i, safetensors_u32(s->g_idx, i), i / group);
    return status;
}

/* `bits` bits from bit `at` of a column of words; words lie `stride` apart. */
static unsigned take_bits(const safetensors_tensor *t, uint64_t first, uint64_t stride, uint64_t at,
                          int bits)
{
    const uint64_t word = at / 32, shift = at % 32;
    uint64_t v = safetensors_u32(t, first + word * stride);
    if (shift + (unsigned)bits > 32)
        v |= (uint64_t)safetensors_u32(t, first + (word + 1) * stride) << 32;
    return (unsigned)(v >> shift) & ((1u << bits) - 1);
}

static unsigned stored_zero(const source *s, const gptq_layer *l, int64_t group, int64_t n)
{
    const uint64_t words = s->qzeros->dim[1];
    return take_bits(s->qzeros, (uint64_t)group * words, 1, (uint64_t)(n * l->format.bits),
                     l->format.bits);
}

/* The version that stored zero points of symmetric codes prove, or 0. Few may be equal by chance.
 */
static int version_proved(const source *s, const gptq_layer *l)
{
    const unsigned first = stored_zero(s, l, 0, 0), middle = 1u << (l->format.bits - 1);
    if ((first != middle && first != middle - 1) || l->n * l->groups < GPTQ_FEWEST_ZEROS)
        return 0;
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            if (stored_zero(s, l, g, n) != first)
                return 0;
    return first == middle ? 2 : 1;
}

static void settle_version(const source *s, gptq_layer *l, int said, int forced)
{
    const int proved = version_proved(s, l);
    l->version = forced ? forced : proved ? proved : said;
    l->evidence = forced           ? GPTQ_FORCED
                  : !proved        ? GPTQ_AS_SAID
                  : proved == said ? GPTQ_CONFIRMED
                                   : GPTQ_CONTRADICTED;
}

/* ---- Reading ---- */

/* Version 1 with 2 or 4 bits has 1 taken off every field by one subtraction a word, so that a zero
 * point of 0 borrowed from its neighbour: the sum of whole words gives both back. With 3 bits,
 * where fields straddle words, each field counts for itself. */
static unsigned true_zero(const source *s, const gptq_layer *l, int64_t group, int64_t n)
{
    const int bits = l->format.bits;
    if (l->version == 2)
        return stored_zero(s, l, group, n);
    if (bits == 3)
        return (stored_zero(s, l, group, n) + 1) & 7;
    const uint64_t at = (uint64_t)(n * bits);
    const uint32_t word = safetensors_u32(s->qzeros, (uint64_t)group * s->qzeros->dim[1] + at / 32);
    const uint32_t ones = bits == 2 ? UINT32_C(0x55555555) : UINT32_C(0x11111111);
    return (word + ones) >> at % 32 & ((1u << bits) - 1);
}

static void read_zeros(const source *s, gptq_layer *l)
{
    const unsigned middle = 1u << (l->format.bits - 1);
    int symmetric = 1;
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t g = 0; g < l->groups; g++) {
            const unsigned z = true_zero(s, l, g, n);
            l->zeros[n * l->groups + g] = (uint8_t)z;
            symmetric = symmetric && z == middle;
        }
    l->format.zero = symmetric ? FBQ_ZERO_NONE : FBQ_ZERO_CODE;
    if (symmetric) {
        free(l->zeros);
        l->zeros = NULL;
    }
}

static import_status read_scales(const source *s, gptq_layer *l)
{
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t g = 0; g < l->groups; g++) {
            const uint16_t v = safetensors_u16(s->scales, (uint64_t)(g * l->n + n));
            if ((v & 0x7c00) == 0x7c00)
                return import_fail(s->error, IMPORT_ERR_VALUE,
                                   "\"%.200s.scales\" is not finite for row %" PRId64
                                   " in group %" PRId64,
                                   s->prefix, n, g);
            l->scales[n * l->groups + g] = v;
        }
    return IMPORT_OK;
}

static import_status read_all(const source *s, gptq_layer *l)
{
    const size_t n = (size_t)l->n, groups = (size_t)l->groups;
    l->codes = malloc(n * (size_t)l->k);
    l->scales = malloc(n * groups * sizeof *l->scales);
    l->zeros = malloc(n * groups);
    l->bias = s->bias ? malloc(n * sizeof *l->bias) : NULL;
    if (!l->codes || !l->scales || !l->zeros || (s->bias && !l->bias))
        return import_fail(s->error, IMPORT_ERR_MEMORY,
                           "no memory for a layer of %" PRId64 " x %" PRId64, l->n, l->k);
    for (int64_t i = 0; i < l->n; i++)
        for (int64_t k = 0; k < l->k; k++)
            l->codes[i * l->k + k] =
                (uint8_t)take_bits(s->qweight, (uint64_t)i, (uint64_t)l->n,
                                   (uint64_t)(k * l->format.bits), l->format.bits);
    for (size_t i = 0; s->bias && i < n; i++)
        l->bias[i] = safetensors_u16(s->bias, i);
    read_zeros(s, l);
    return read_scales(s, l);
}

import_status gptq_read(const safetensors_file *file, const char *prefix, const gptq_config *config,
                        int force_version, gptq_layer *layer, import_error *error)
{
    source s = {.file = file, .prefix = prefix, .error = error};
    if (!file || !prefix || !config || !layer)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !file     ? "file"
                           : !prefix ? "prefix"
                           : !config ? "config"
                                     : "layer");
    memset(layer, 0, sizeof *layer);
    if (config->bits < 2 || config->bits > 4 ||
        (config->group != FBQ_GROUP_ROW && !is_group(config->group)) || config->version < 1 ||
        config->version > 2 || force_version < 0 || force_version > 2)
        return import_fail(error, IMPORT_ERR_ARGUMENT,
                           "config has %d bits, groups of %d, version %d (forced: %d); see gptq.h",
                           config->bits, config->group, config->version, force_version);
    layer->format = (fbq_format){config->bits, config->group, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16};
    import_status status = find_all(&s, layer);
    if (status == IMPORT_OK) {
        settle_version(&s, layer, config->version, force_version);
        status = read_all(&s, layer);
    }
    if (status != IMPORT_OK)
        gptq_free(layer);
    return status;
}

void gptq_free(gptq_layer *layer)
{
    free(layer->codes);
    free(layer->scales);
    free(layer->zeros);
    free(layer->bias);
    memset(layer, 0, sizeof *layer);
}
