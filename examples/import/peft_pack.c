/* peft_pack.c: see peft_pack.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "peft_pack.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The tensors ---- */

static safetensors_type type_of(fbq_type type)
{
    switch (type) {
    case FBQ_F16:
        return SAFETENSORS_F16;
    case FBQ_BF16:
        return SAFETENSORS_BF16;
    case FBQ_F32:
        return SAFETENSORS_F32;
    case FBQ_I8:
        break;
    }
    return SAFETENSORS_OTHER;
}

/* Numbers of 2 or 4 bytes as a file has them, little-endian. */
static void put_numbers(uint8_t *to, const void *from, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t v;
        if (size == 4)
            memcpy(&v, (const uint8_t *)from + 4 * i, 4);
        else
            v = ((const uint16_t *)from)[i];
        for (size_t b = 0; b < size; b++)
            to[size * i + b] = (uint8_t)(v >> 8 * b);
    }
}

import_status peft_pack(const peft_factors *factors, peft_tensors *tensors, import_error *error)
{
    const peft_factors *f = factors;
    if (!f || !tensors || !f->module || !f->a || !f->b)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "%s is NULL",
                           !f           ? "factors"
                           : !tensors   ? "tensors"
                           : !f->module ? "module"
                                        : "a or b");
    memset(tensors, 0, sizeof *tensors);
    const safetensors_type type = type_of(f->type);
    const int64_t most = INT64_C(1) << 30;
    if (type == SAFETENSORS_OTHER || f->n < 1 || f->k < 1 || f->r < 1 || f->n > most ||
        f->k > most || f->r > most)
        return import_fail(error, IMPORT_ERR_ARGUMENT,
                           "\"%.160s\" has %" PRId64 " x %" PRId64 " weights, rank %" PRId64
                           " and factors of type %d",
                           f->module, f->n, f->k, f->r, (int)f->type);
    const size_t size = (size_t)safetensors_type_bytes(type);
    const size_t a = (size_t)(f->r * f->k), b = (size_t)(f->n * f->r);
    const size_t name = strlen(f->module) + sizeof "base_model.model..lora_A.weight";
    uint8_t *memory = malloc((a + b) * size + 2 * name);
    if (!memory)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for the factors of \"%.160s\"",
                           f->module);
    char *names = (char *)memory + (a + b) * size;
    snprintf(names, name, "base_model.model.%s.lora_A.weight", f->module);
    snprintf(names + name, name, "base_model.model.%s.lora_B.weight", f->module);
    put_numbers(memory, f->a, a, size);
    put_numbers(memory + a * size, f->b, b, size);
    tensors->memory = memory;
    tensors->tensor[0] = (safetensors_tensor){
        names, type, 2, {(uint64_t)f->r, (uint64_t)f->k}, memory, (uint64_t)(a * size)};
    tensors->tensor[1] = (safetensors_tensor){
        names + name, type, 2, {(uint64_t)f->n, (uint64_t)f->r}, memory + a * size, b * size};
    return IMPORT_OK;
}

void peft_tensors_free(peft_tensors *tensors)
{
    free(tensors->memory);
    memset(tensors, 0, sizeof *tensors);
}

/* ---- The config ---- */

static size_t dots(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += *text == '.';
    return count;
}

/* PEFT takes each key for a regular expression that may match the end of a module's name, and the
 * first that matches counts. Longer names come first, since they match no shorter one; of equally
 * long ones those with fewer dots, since a dot matches any character. */
static int compare(const void *a, const void *b)
{
    const peft_factors *const *x = a, *const *y = b;
    const size_t p = strlen((*x)->module), q = strlen((*y)->module);
    if (p != q)
        return p < q ? 1 : -1;
    const size_t s = dots((*x)->module), t = dots((*y)->module);
    return s != t ? (s < t ? -1 : 1) : strcmp((*x)->module, (*y)->module);
}

/* Everything but what differs from one module to the next. */
static json_t *plain_config(int64_t r, const char *base, const char *task)
{
    return json_pack("{s:s, s:s?, s:s?, s:s, s:I, s:I, s:f, s:b, s:b, s:b, s:b, s:b, s:b}",
                     "peft_type", "LORA", "task_type", task, "base_model_name_or_path", base,
                     "bias", "none", "r", (json_int_t)r, "lora_alpha", (json_int_t)r,
                     "lora_dropout", 0.0, "inference_mode", 1, "init_lora_weights", 1,
                     "fan_in_fan_out", 0, "lora_bias", 0, "use_rslora", 0, "use_dora", 0);
}

/* The whole config, or NULL: no memory, or a name that is no UTF-8. */
static json_t *config_of(const peft_factors *const *sorted, size_t count, const char *base,
                         const char *task)
{
    json_t *targets = json_array(), *ranks = json_object(), *alphas = json_object();
    json_t *root = plain_config(sorted[0]->r, base, task);
    int differ = 0, good = 1;
    for (size_t i = 1; i < count; i++)
        differ = differ || sorted[i]->r != sorted[0]->r;
    for (size_t i = 0; i < count && good; i++) {
        const peft_factors *f = sorted[i];
        good = json_array_append_new(targets, json_string(f->module)) == 0;
        if (good && differ)
            good = json_object_set_new(ranks, f->module, json_integer(f->r)) == 0 &&
                   json_object_set_new(alphas, f->module, json_integer(f->r)) == 0;
    }
    good = json_object_set_new(root, "target_modules", targets) == 0 && good;
    good = json_object_set_new(root, "rank_pattern", ranks) == 0 && good;
    good = json_object_set_new(root, "alpha_pattern", alphas) == 0 && good;
    if (good)
        return root;
    json_decref(root);
    return NULL;
}

import_status peft_config_print(const peft_factors *modules, size_t count, const char *base,
                                const char *task, char **text, import_error *error)
{
    if (text)
        *text = NULL;
    if (!modules || !count || !text)
        return import_fail(error, IMPORT_ERR_ARGUMENT, "there are no modules, or text is NULL");
    const peft_factors **sorted = malloc(count * sizeof *sorted);
    if (!sorted)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu modules", count);
    import_status status = IMPORT_OK;
    for (size_t i = 0; i < count; i++) {
        sorted[i] = &modules[i];
        if (!modules[i].module || modules[i].r < 1)
            status =
                import_fail(error, IMPORT_ERR_ARGUMENT, "module %zu has no name or no rank", i);
        else if (strpbrk(modules[i].module, "\\^$*+?()[]{}|"))
            status = import_fail(error, IMPORT_ERR_UNSUPPORTED,
                                 "\"%.160s\" has a character that PEFT would take for part of a "
                                 "regular expression",
                                 modules[i].module);
    }
    if (status == IMPORT_OK)
        qsort(sorted, count, sizeof *sorted, compare);
    for (size_t i = 1; i < count && status == IMPORT_OK; i++)
        if (!strcmp(sorted[i - 1]->module, sorted[i]->module))
            status = import_fail(error, IMPORT_ERR_ARGUMENT, "\"%.160s\" is there twice",
                                 sorted[i]->module);
    if (status == IMPORT_OK) {
        json_t *root = config_of(sorted, count, base, task);
        char *json = json_dumps(root, JSON_INDENT(2));
        json_decref(root);
        *text = json ? malloc(strlen(json) + 2) : NULL;
        if (*text)
            sprintf(*text, "%s\n", json);
        else
            status = import_fail(error, IMPORT_ERR_MEMORY,
                                 "no memory for a config, or a name in it is no UTF-8");
        free(json);
    }
    free(sorted);
    return status;
}
