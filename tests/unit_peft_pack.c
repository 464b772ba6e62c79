/* tests/unit_peft_pack.c: adapters that are written are read again as the same numbers, with a
 * scale of 1, however many modules and ranks there are.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fbq/host/half.h>
#include <jansson.h>
#include <peft.h>
#include <peft_pack.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/layer.h"

enum { N = 37, K = 72, MOST_R = 9, MODULES = 5 };

static const char *const PATH = "unit_peft_pack.safetensors";
static uint64_t seed = 1;

/* Numbers of a type, as peft_pack takes them and as floats. */
typedef struct drawn {
    fbq_type type;
    uint16_t words[N * MOST_R + MOST_R * K];
    float floats[N * MOST_R + MOST_R * K];
} drawn;

static void draw(drawn *d, fbq_type type)
{
    d->type = type;
    for (size_t i = 0; i < sizeof d->floats / sizeof *d->floats; i++) {
        d->floats[i] = (float)random_normal(&seed);
        if (type != FBQ_F32) {
            d->words[i] = fbq_word_of_f32(type, d->floats[i]);
            d->floats[i] = fbq_f32_of_word(type, d->words[i]);
        }
    }
}

static peft_factors factors_of(const drawn *d, const char *module, int64_t r)
{
    const int words = d->type != FBQ_F32;
    return (peft_factors){module,
                          N,
                          K,
                          r,
                          d->type,
                          words ? (const void *)d->words : d->floats,
                          words ? (const void *)(d->words + r * K) : d->floats + r * K};
}

static peft_config *parse(const char *text)
{
    peft_config *config;
    import_error error;
    if (peft_config_parse(text, strlen(text), &config, &error) != IMPORT_OK)
        fail_msg("%s: %s", text, error.detail);
    return config;
}

static void judge(const safetensors_file *file, const peft_config *config, const peft_factors *m,
                  const drawn *d)
{
    peft_adapter p;
    import_error error;
    char name[128];
    snprintf(name, sizeof name, "base_model.model.%s.lora_A.weight", m->module);
    const safetensors_tensor *t = safetensors_find(file, name);
    assert_non_null(t);
    assert_int_equal(t->type, d->type == FBQ_F16    ? SAFETENSORS_F16
                              : d->type == FBQ_BF16 ? SAFETENSORS_BF16
                                                    : SAFETENSORS_F32);
    if (peft_read(file, m->module, config, &p, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_true(p.n == N && p.k == K && p.r == m->r && p.scale == 1);
    assert_memory_equal(p.a, d->floats, sizeof(float) * (size_t)(m->r * K));
    assert_memory_equal(p.b, d->floats + m->r * K, sizeof(float) * (size_t)(N * m->r));
    peft_free(&p);
}

/* Write these modules, read the file and the config, and compare. */
static void round_trip(const drawn *d, const char *const *names, const int64_t *ranks, int count)
{
    peft_factors modules[MODULES];
    peft_tensors packed[MODULES];
    safetensors_tensor all[PEFT_TENSORS * MODULES];
    safetensors_file *file;
    import_error error;
    char *text;
    for (int i = 0; i < count; i++) {
        modules[i] = factors_of(d, names[i], ranks[i]);
        if (peft_pack(&modules[i], &packed[i], &error) != IMPORT_OK)
            fail_msg("%s", error.detail);
        for (int j = 0; j < PEFT_TENSORS; j++)
            all[PEFT_TENSORS * i + j] = packed[i].tensor[j];
    }
    if (safetensors_write(PATH, all, (size_t)(PEFT_TENSORS * count), NULL, 0, &error) !=
            IMPORT_OK ||
        safetensors_open(PATH, &file, &error) != IMPORT_OK ||
        peft_config_print(modules, (size_t)count, "some/model", NULL, &text, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    peft_config *config = parse(text);
    for (int i = 0; i < count; i++) {
        judge(file, config, &modules[i], d);
        peft_tensors_free(&packed[i]);
    }
    peft_config_free(config);
    free(text);
    safetensors_close(file);
    remove(PATH);
}

static void test_round_trips(void **state)
{
    (void)state;
    static drawn d;
    static const fbq_type types[] = {FBQ_F16, FBQ_BF16, FBQ_F32};
    /* each name ends as another one does, so that a pattern for one may match the other */
    static const char *const names[MODULES] = {"q", "a.q", "a.a.q", "axa.q", "proj"};
    static const int64_t ranks[][MODULES] = {
        {4, 4, 4, 4, 4}, {1, 2, 3, 4, 5}, {9, 8, 7, 6, 5}, {4, 9, 4, 1, 4}};
    for (int i = 0; i < 12; i++) {
        draw(&d, types[i % 3]);
        round_trip(&d, names, ranks[i / 3], MODULES);
    }
    round_trip(&d, &names[4], ranks[2], 1);
}

/* What PEFT's own loader asks of a config; and its rule for patterns, the first key that matches a
 * module's end as a regular expression, gives each module its own rank. */
static void test_config(void **state)
{
    (void)state;
    static const char *const names[] = {"a.b", "x.a.b", "a_b", "c"};
    static const int64_t ranks[] = {3, 4, 5, 6};
    static drawn d;
    peft_factors modules[4];
    import_error error;
    char *text;
    draw(&d, FBQ_F16);
    for (int i = 0; i < 4; i++)
        modules[i] = factors_of(&d, names[i], ranks[i]);
    assert_int_equal(peft_config_print(modules, 4, NULL, "CAUSAL_LM", &text, &error), IMPORT_OK);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    const char *peft_type, *task, *bias;
    int r, alpha, fan, rslora, dora;
    json_t *base, *targets, *pattern, *alphas;
    assert_int_equal(
        json_unpack(root, "{s:s, s:s, s:s, s:i, s:i, s:b, s:b, s:b, s:o, s:o, s:o, s:o}",
                    "peft_type", &peft_type, "task_type", &task, "bias", &bias, "r", &r,
                    "lora_alpha", &alpha, "fan_in_fan_out", &fan, "use_rslora", &rslora, "use_dora",
                    &dora, "base_model_name_or_path", &base, "target_modules", &targets,
                    "rank_pattern", &pattern, "alpha_pattern", &alphas),
        0);
    assert_string_equal(peft_type, "LORA");
    assert_string_equal(task, "CAUSAL_LM");
    assert_string_equal(bias, "none");
    assert_true(r == alpha && !fan && !rslora && !dora && json_is_null(base));
    assert_int_equal(json_array_size(targets), 4);
    assert_true(json_equal(pattern, alphas));
    /* longer names first, then those with fewer dots: "a.b" as a regular expression matches "a_b"
     */
    const char *order[4] = {0}, *key;
    int count = 0;
    json_t *value;
    json_object_foreach(pattern, key, value) order[count++] = key;
    assert_int_equal(count, 4);
    assert_string_equal(order[0], "x.a.b");
    assert_string_equal(order[1], "a_b");
    assert_string_equal(order[2], "a.b");
    assert_string_equal(order[3], "c");
    json_decref(root);
    free(text);
}

static void test_wrong(void **state)
{
    (void)state;
    static drawn d;
    peft_tensors t;
    import_error error;
    char *text;
    draw(&d, FBQ_F16);
    const peft_factors right = factors_of(&d, "m", 4);
    peft_factors wrong[] = {right, right, right, right, right, right};
    wrong[0].r = 0;
    wrong[1].n = -1;
    wrong[2].k = INT64_MAX;
    wrong[3].type = (fbq_type)7;
    wrong[4].a = NULL;
    wrong[5].module = NULL;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(peft_pack(&wrong[i], &t, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(peft_pack(NULL, &t, NULL), IMPORT_ERR_ARGUMENT);
    assert_int_equal(peft_pack(&right, NULL, NULL), IMPORT_ERR_ARGUMENT);
    assert_int_equal(peft_config_print(&right, 0, NULL, NULL, &text, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(peft_config_print(wrong, 1, NULL, NULL, &text, &error), IMPORT_ERR_ARGUMENT);
    const peft_factors twice[] = {right, right};
    assert_int_equal(peft_config_print(twice, 2, NULL, NULL, &text, &error), IMPORT_ERR_ARGUMENT);
    assert_non_null(strstr(error.detail, "twice"));
    const peft_factors strange = factors_of(&d, "m[0]", 4);
    assert_int_equal(peft_config_print(&strange, 1, NULL, NULL, &text, &error),
                     IMPORT_ERR_UNSUPPORTED);
    assert_null(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
