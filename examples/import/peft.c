/* peft.c: see peft.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "peft.h"

#include <fbq/host/half.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The config ---- */

struct peft_config {
    json_t *root;
    double r, alpha;
    int root_of_r; /* use_rslora */
};

static int is_count(const json_t *v)
{
    return json_is_integer(v) && json_integer_value(v) > 0;
}

/* PEFT takes the keys for regular expressions that match the end of a module's name; a name with
 * dots is one that matches itself. */
static import_status check_pattern(const json_t *root, const char *name, import_error *error)
{
    json_t *pattern = json_object_get(root, name), *value;
    const char *key;
    if (!pattern || json_is_null(pattern))
        return IMPORT_OK;
    if (!json_is_object(pattern))
        return import_fail(error, IMPORT_ERR_HEADER, "\"%s\" is not an object", name);
    json_object_foreach(pattern, key, value)
    {
        if (strpbrk(key, "\\^$*+?()[]{}|"))
            return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                               "\"%s\" has \"%.64s\", a regular expression; names of modules were "
                               "expected",
                               name, key);
        if (!json_is_number(value) || json_number_value(value) <= 0)
            return import_fail(error, IMPORT_ERR_HEADER, "\"%s\" gives \"%.64s\" no number above 0",
                               name, key);
    }
    return IMPORT_OK;
}

static import_status config_of(peft_config *c, import_error *error)
{
    const json_t *r = json_object_get(c->root, "r");
    const json_t *alpha = json_object_get(c->root, "lora_alpha");
    const char *type = json_string_value(json_object_get(c->root, "peft_type"));
    const char *key;
    json_t *value;
    if (!json_is_object(c->root))
        return import_fail(error, IMPORT_ERR_HEADER, "the config is not a JSON object");
    if (type && strcmp(type, "LORA") != 0)
        return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                           "\"peft_type\" is \"%.32s\"; \"LORA\" was expected", type);
    json_object_foreach(c->root, key, value)
    {
        /* use_dora, use_qalora and those to come */
        const int more = !strncmp(key, "use_", 4) && strcmp(key, "use_rslora") != 0;
        if (json_is_true(value) &&
            (more || !strcmp(key, "fan_in_fan_out") || !strcmp(key, "lora_bias")))
            return import_fail(error, IMPORT_ERR_UNSUPPORTED,
                               "\"%.64s\" is true, which is more than B . A", key);
    }
    if (!is_count(r) || !json_is_number(alpha))
        return import_fail(error, IMPORT_ERR_HEADER,
                           "the config has no \"r\" above 0 and \"lora_alpha\" that are numbers");
    c->r = json_number_value(r);
    c->alpha = json_number_value(alpha);
    c->root_of_r = json_is_true(json_object_get(c->root, "use_rslora"));
    const import_status status = check_pattern(c->root, "rank_pattern", error);
    return status == IMPORT_OK ? check_pattern(c->root, "alpha_pattern", error) : status;
}

import_status peft_config_parse(const void *json, size_t bytes, peft_config **config,
                                import_error *error)
{
    json_error_t where;
    if (config)
        *config = NULL;
    if (!json || !config)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL", json ? "config" : "json");
    peft_config *c = calloc(1, sizeof *c);
    if (!c)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for a config");
    c->root = json_loadb(json, bytes, JSON_REJECT_DUPLICATES, &where);
    const import_status status =
        c->root ? config_of(c, error)
                : import_fail(error, IMPORT_ERR_HEADER, "the config is no JSON (line %d): %s",
                              where.line, where.text);
    if (status == IMPORT_OK)
        *config = c;
    else
        peft_config_free(c);
    return status;
}

void peft_config_free(peft_config *config)
{
    if (!config)
        return;
    json_decref(config->root);
    free(config);
}

/* What a pattern says of a module, or `otherwise`: whole names, or ends of names at a dot. */
static double pattern_value(const peft_config *c, const char *name, const char *module,
                            double otherwise)
{
    json_t *value;
    const char *key;
    const size_t length = strlen(module);
    json_object_foreach(json_object_get(c->root, name), key, value)
    {
        const size_t end = strlen(key);
        if (end <= length && !strcmp(module + length - end, key) &&
            (end == length || module[length - end - 1] == '.'))
            return json_number_value(value);
    }
    return otherwise;
}

/* ---- A layer's tensors ---- */

typedef struct pair {
    const safetensors_tensor *a, *b;
    int transposed;
} pair;

static const safetensors_tensor *find(const safetensors_file *file, const char *before,
                                      const char *module, const char *after)
{
    char name[512];
    const int length = snprintf(name, sizeof name, "%s%s%s", before, module, after);
    return length >= 0 && (size_t)length < sizeof name ? safetensors_find(file, name) : NULL;
}

static import_status find_pair(const safetensors_file *file, const char *module, pair *p,
                               import_error *error)
{
    static const char *const before[] = {"base_model.model.", ""};
    for (int i = 0; i < 2; i++) {
        p->transposed = 0;
        p->a = find(file, before[i], module, ".lora_A.weight");
        p->b = find(file, before[i], module, ".lora_B.weight");
        if (!p->a && !p->b) {
            p->transposed = 1;
            p->a = find(file, before[i], module, ".lora_A");
            p->b = find(file, before[i], module, ".lora_B");
        }
        if (p->a && p->b)
            return IMPORT_OK;
        if (p->a || p->b)
            return import_fail(error, IMPORT_ERR_MISSING, "\"%.200s\" has lora_%s but no lora_%s",
                               module, p->a ? "A" : "B", p->a ? "B" : "A");
    }
    return import_fail(error, IMPORT_ERR_MISSING,
                       "there is no lora_A and no lora_B of \"%.200s\", with or without .weight "
                       "and base_model.model.",
                       module);
}

static import_status check_tensor(const safetensors_tensor *t, import_error *error)
{
    if (t->dims != 2 ||
        (t->type != SAFETENSORS_F16 && t->type != SAFETENSORS_BF16 && t->type != SAFETENSORS_F32))
        return import_fail(error, IMPORT_ERR_SHAPE,
                           "\"%.200s\" is %s of %d dimensions; F16, BF16 or F32 of 2 were expected",
                           t->name, safetensors_type_name(t->type), t->dims);
    if (t->dim[0] == 0 || t->dim[1] == 0)
        return import_fail(error, IMPORT_ERR_SHAPE, "\"%.200s\" is %" PRIu64 " x %" PRIu64, t->name,
                           t->dim[0], t->dim[1]);
    return IMPORT_OK;
}

static float number_at(const safetensors_tensor *t, uint64_t i)
{
    float v;
    uint32_t bits;
    if (t->type == SAFETENSORS_F16)
        return fbq_f32_of_f16(safetensors_u16(t, i));
    bits =
        t->type == SAFETENSORS_F32 ? safetensors_u32(t, i) : (uint32_t)safetensors_u16(t, i) << 16;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* rows x columns numbers times a factor, of a tensor that may be the transpose. */
static import_status take(float **out, const safetensors_tensor *t, int transposed, double factor,
                          import_error *error)
{
    const uint64_t rows = t->dim[transposed], columns = t->dim[1 - transposed];
    *out = malloc((size_t)(rows * columns) * sizeof **out);
    if (!*out)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for \"%.200s\"", t->name);
    for (uint64_t i = 0; i < rows; i++)
        for (uint64_t j = 0; j < columns; j++) {
            const float v =
                (float)(factor * number_at(t, transposed ? j * rows + i : i * columns + j));
            if (!isfinite(v))
                return import_fail(error, IMPORT_ERR_VALUE,
                                   "\"%.200s\" is not finite at %" PRIu64 ", %" PRIu64, t->name,
                                   transposed ? j : i, transposed ? i : j);
            (*out)[i * columns + j] = v;
        }
    return IMPORT_OK;
}

import_status peft_read(const safetensors_file *file, const char *module, const peft_config *config,
                        peft_adapter *adapter, import_error *error)
{
    pair p;
    if (!file || !module || !adapter)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !file     ? "file"
                           : !module ? "module"
                                     : "adapter");
    memset(adapter, 0, sizeof *adapter);
    import_status status = find_pair(file, module, &p, error);
    if (status == IMPORT_OK)
        status = check_tensor(p.a, error);
    if (status == IMPORT_OK)
        status = check_tensor(p.b, error);
    if (status != IMPORT_OK)
        return status;
    const uint64_t r = p.a->dim[p.transposed], also_r = p.b->dim[1 - p.transposed];
    if (r != also_r)
        return import_fail(error, IMPORT_ERR_SHAPE,
                           "\"%.160s\" has a lora_A of rank %" PRIu64
                           " and a lora_B of rank %" PRIu64,
                           module, r, also_r);
    if (!p.transposed && !config)
        return import_fail(
            error, IMPORT_ERR_ARGUMENT,
            "config is NULL, but \"%.200s\" has lora_A.weight, whose scale stands in "
            "adapter_config.json",
            module);
    adapter->scale = 1;
    if (!p.transposed) {
        const double said = pattern_value(config, "rank_pattern", module, config->r);
        const double alpha = pattern_value(config, "alpha_pattern", module, config->alpha);
        if (said != (double)r)
            return import_fail(error, IMPORT_ERR_VALUE,
                               "\"%.200s\" has rank %" PRIu64 ", but the config says %g", module, r,
                               said);
        adapter->scale = alpha / (config->root_of_r ? sqrt(said) : said);
    }
    adapter->r = (int64_t)r;
    adapter->k = (int64_t)p.a->dim[1 - p.transposed];
    adapter->n = (int64_t)p.b->dim[p.transposed];
    status = take(&adapter->a, p.a, p.transposed, 1, error);
    if (status == IMPORT_OK)
        status = take(&adapter->b, p.b, p.transposed, adapter->scale, error);
    if (status != IMPORT_OK)
        peft_free(adapter);
    return status;
}

void peft_free(peft_adapter *adapter)
{
    free(adapter->a);
    free(adapter->b);
    memset(adapter, 0, sizeof *adapter);
}
