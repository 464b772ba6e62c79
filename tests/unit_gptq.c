/* tests/unit_gptq.c: GPTQ layers, packed here by their documented layout, are read as they were
 * drawn, in both versions of the format, and packed for fbq they are the same weights.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fbq/fbq.h>
#include <fbq/host/half.h>
#include <gptq.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/layer.h"
#include "support/safetensors_bytes.h"

enum { MOST_N = 96, MOST_K = 512, MOST_GROUPS = MOST_K / 32 };

/* A layer as it was drawn, and as its tensors hold it. */
typedef struct drawn {
    int bits, group, version, symmetric, with_g_idx, with_bias;
    int n, k, groups;
    uint8_t code[MOST_N][MOST_K], zero[MOST_N][MOST_GROUPS];
    uint16_t scale[MOST_N][MOST_GROUPS], bias[MOST_N];
    uint32_t qweight[MOST_K / 8 * MOST_N], qzeros[MOST_GROUPS * MOST_N], g_idx[MOST_K];
    uint16_t scales[MOST_GROUPS * MOST_N];
} drawn;

static drawn d;
static safetensors_bytes file_bytes;
static uint64_t seed = 1;

static int below(int n)
{
    return (int)(random_bits(&seed) % (uint64_t)n);
}

/* Bit by bit, so that nothing is shared with the reader: bit `at` of a run of words. */
static void put_bits(uint32_t *words, int stride, int at, int bits, unsigned value)
{
    for (int b = 0; b < bits; b++, at++)
        if (value >> b & 1)
            words[at / 32 * stride] |= (uint32_t)1 << at % 32;
}

/* Draw what the fields before `groups` ask for. */
static void draw(void)
{
    const int most = (1 << d.bits) - 1;
    const int group = d.group == FBQ_GROUP_ROW ? d.k : d.group;
    d.groups = (d.k + group - 1) / group;
    for (int n = 0; n < d.n; n++) {
        d.bias[n] = fbq_f16_of_f32((float)below(100) / 8);
        for (int k = 0; k < d.k; k++)
            d.code[n][k] = (uint8_t)below(most + 1);
        for (int g = 0; g < d.groups; g++) {
            d.zero[n][g] = (uint8_t)(d.symmetric ? most / 2 + 1 : below(most + 1));
            d.scale[n][g] = fbq_f16_of_f32((float)(1 + below(1000)) / 4096);
        }
    }
    for (int k = 0; k < d.k; k++)
        d.g_idx[k] = (uint32_t)(k / group);
}

static int weight_words(void)
{
    return (d.k * d.bits + 31) / 32;
}
static int zero_words(void)
{
    return (d.n * d.bits + 31) / 32;
}

/* The tensors' bytes; this machine is little-endian as the file is. */
static void write_tensors(void)
{
    memset(d.qweight, 0, sizeof d.qweight);
    memset(d.qzeros, 0, sizeof d.qzeros);
    for (int n = 0; n < d.n; n++) {
        for (int k = 0; k < d.k; k++)
            put_bits(d.qweight + n, d.n, k * d.bits, d.bits, d.code[n][k]);
        for (int g = 0; g < d.groups; g++) {
            const int spare = d.version == 1 && d.bits == 3 ? 7 : 0; /* -1, field by field */
            put_bits(d.qzeros + g * zero_words(), 1, n * d.bits, d.bits,
                     (unsigned)(d.zero[n][g] + spare) & 15u >> (4 - d.bits));
            d.scales[g * d.n + n] = d.scale[n][g];
        }
    }
    /* -1 in all fields of a word at once, which borrow from each other */
    if (d.version == 1 && d.bits != 3)
        for (int i = 0; i < d.groups * zero_words(); i++)
            d.qzeros[i] -= d.bits == 2 ? UINT32_C(0x55555555) : UINT32_C(0x11111111);
}

static const char *left_out = ""; /* a tensor that the file shall not have */

static void put(const char *name, const char *type, int dims, int d0, int d1, const void *from,
                size_t size)
{
    char whole[64];
    snprintf(whole, sizeof whole, "model.q_proj.%s", name);
    if (strcmp(left_out, name) != 0)
        safetensors_put(&file_bytes, whole, type, dims, (uint64_t)d0, (uint64_t)d1, from,
                        size * (size_t)d0 * (size_t)d1);
}

static void write_file(void)
{
    safetensors_begin(&file_bytes);
    put("qweight", "I32", 2, weight_words(), d.n, d.qweight, 4);
    put("qzeros", "I32", 2, d.groups, zero_words(), d.qzeros, 4);
    put("scales", "F16", 2, d.groups, d.n, d.scales, 2);
    if (d.with_g_idx)
        put("g_idx", "I32", 1, d.k, 1, d.g_idx, 4);
    if (d.with_bias)
        put("bias", "F16", 1, d.n, 1, d.bias, 2);
    safetensors_end(&file_bytes);
}

static import_status read_file(int version_said, int forced, gptq_layer *layer, import_error *error)
{
    const gptq_config config = {d.bits, d.group, version_said};
    safetensors_file *file;
    import_status status = safetensors_parse(file_bytes.at, file_bytes.count, &file, error);
    if (status != IMPORT_OK)
        fail_msg("%s", error->detail);
    status = gptq_read(file, "model.q_proj", &config, forced, layer, error);
    safetensors_close(file);
    return status;
}

/* The layer that was read is the one that was drawn; so is what fbq makes of it. */
static void judge(const gptq_layer *l)
{
    fbq_layout layout;
    fbq_error error;
    const fbq_shape shape = fbq_shape_of(l->n, l->k, 0);
    assert_true(l->n == d.n && l->k == d.k && l->groups == d.groups);
    assert_int_equal(l->version, d.version);
    assert_int_equal(l->format.zero, d.symmetric ? FBQ_ZERO_NONE : FBQ_ZERO_CODE);
    assert_true((l->zeros == NULL) == d.symmetric && (l->bias != NULL) == d.with_bias);
    for (int n = 0; n < d.n; n++) {
        assert_memory_equal(l->codes + n * d.k, d.code[n], (size_t)d.k);
        assert_memory_equal(l->scales + n * d.groups, d.scale[n], 2 * (size_t)d.groups);
        if (l->zeros)
            assert_memory_equal(l->zeros + n * d.groups, d.zero[n], (size_t)d.groups);
    }
    if (l->bias)
        assert_memory_equal(l->bias, d.bias, 2 * (size_t)d.n);
    if (fbq_layout_of(&l->format, &shape, &layout, &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    void *packed = malloc(layout.weights_bytes);
    double *w = malloc(sizeof *w * (size_t)(d.n * d.k));
    assert_true(packed && w);
    if (fbq_pack_weights(&layout, l->codes, l->scales, l->zeros, packed, layout.weights_bytes,
                         &error) != FBQ_OK)
        fail_msg("%s", error.detail);
    const fbq_parts parts = {packed, layout.weights_bytes, NULL, 0, NULL, 0};
    assert_int_equal(fbq_reconstruct(&parts, 0, d.n, w, &error), FBQ_OK);
    for (int n = 0; n < d.n; n++)
        for (int k = 0; k < d.k; k++) {
            const int g = (int)d.g_idx[k];
            const double s = fbq_f32_of_f16(d.scale[n][g]);
            assert_true(w[n * d.k + k] == s * ((int)d.code[n][k] - (int)d.zero[n][g]));
        }
    free(packed);
    free(w);
}

/* Packed and written, the layer is read again. */
static void judge_written(const gptq_layer *l)
{
    static const char *const path = "unit_gptq.safetensors";
    gptq_tensors tensors;
    gptq_layer again;
    safetensors_file *file;
    import_error error;
    const gptq_config config = {d.bits, d.group, 2};
    if (gptq_pack(l, "any.name", &tensors, &error) != IMPORT_OK ||
        safetensors_write(path, tensors.tensor, tensors.count, NULL, 0, &error) != IMPORT_OK ||
        safetensors_open(path, &file, &error) != IMPORT_OK ||
        gptq_read(file, "any.name", &config, 0, &again, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_int_equal(again.evidence, d.symmetric ? GPTQ_CONFIRMED : GPTQ_AS_SAID);
    again.version = d.version; /* of what it was read from at first */
    judge(&again);
    gptq_free(&again);
    gptq_tensors_free(&tensors);
    safetensors_close(file);
    remove(path);
}

static void test_every_kind(void **state)
{
    (void)state;
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    for (int i = 0; i < 240; i++) {
        gptq_layer layer;
        import_error error;
        d.bits = 2 + i % 3;
        d.group = groups[i / 3 % 5];
        d.version = 1 + i / 15 % 2;
        d.symmetric = i / 30 % 2;
        d.with_g_idx = below(2);
        d.with_bias = below(2);
        d.n = i % 4 == 0 ? 64 : 64 + below(33); /* enough zero points to tell the version by */
        d.k = 32 * (1 + below(16));
        draw();
        write_tensors();
        write_file();
        /* symmetric codes tell their version whatever the config says */
        const int said = d.symmetric ? 1 + below(2) : d.version;
        if (read_file(said, 0, &layer, &error) != IMPORT_OK)
            fail_msg("case %d: %s", i, error.detail);
        assert_int_equal(layer.evidence, !d.symmetric        ? GPTQ_AS_SAID
                                         : said == d.version ? GPTQ_CONFIRMED
                                                             : GPTQ_CONTRADICTED);
        judge(&layer);
        if (d.n % 32 == 0) {
            judge_written(&layer);
        } else {
            gptq_tensors tensors;
            assert_int_equal(gptq_pack(&layer, "a", &tensors, &error), IMPORT_ERR_UNSUPPORTED);
        }
        gptq_free(&layer);
    }
}

/* The fields of a plain layer. */
static void plain(void)
{
    d = (drawn){.bits = 4, .group = 64, .version = 2, .with_g_idx = 1, .n = 64, .k = 128};
    draw();
    write_tensors();
    write_file();
}

static void must_fail(import_status expected, const char *word)
{
    gptq_layer layer;
    import_error error = {0};
    const import_status status = read_file(d.version, 0, &layer, &error);
    if (status != expected || error.status != expected || !strstr(error.detail, word))
        fail_msg("expected \"%s\" with \"%s\", got \"%s\": %s", import_status_string(expected),
                 word, import_status_string(status), error.detail);
    assert_null(layer.codes); /* nothing is left behind */
}

static void test_versions(void **state)
{
    (void)state;
    gptq_layer layer;
    import_error error;
    /* the caller's word counts more than the config's and the zero points' */
    plain();
    d.symmetric = 1;
    draw();
    write_tensors();
    write_file();
    assert_int_equal(read_file(2, 1, &layer, &error), IMPORT_OK);
    assert_true(layer.evidence == GPTQ_FORCED && layer.version == 1);
    assert_true(layer.format.zero == FBQ_ZERO_CODE && layer.zeros[0] == 9);
    gptq_free(&layer);
    /* too few zero points to tell */
    d = (drawn){.bits = 4, .group = 64, .version = 2, .symmetric = 1, .n = 31, .k = 128};
    draw();
    write_tensors();
    write_file();
    assert_int_equal(read_file(2, 0, &layer, &error), IMPORT_OK);
    assert_int_equal(layer.evidence, GPTQ_AS_SAID);
    gptq_free(&layer);
}

static void test_wrong_layers(void **state)
{
    (void)state;
    gptq_layer layer;
    import_error error;
    static const char *const needed[] = {"qweight", "qzeros", "scales"};
    for (int i = 0; i < 3; i++) {
        plain();
        left_out = needed[i];
        write_file();
        left_out = "";
        must_fail(IMPORT_ERR_MISSING, needed[i]);
    }
    plain();
    d.group = 128; /* other groups than the tensors have */
    must_fail(IMPORT_ERR_SHAPE, "dimension 0 of \"model.q_proj.qzeros\" is 2; 1 was expected");
    plain();
    d.bits = 3;
    must_fail(IMPORT_ERR_SHAPE, "do not make");
    plain();
    d.with_g_idx = 0;
    write_file();
    d.bits = 3;
    must_fail(IMPORT_ERR_SHAPE, "not whole codes of 3 bits");
    plain();
    d.g_idx[70] = 0; /* act-order */
    write_file();
    must_fail(IMPORT_ERR_UNSUPPORTED, "act-order");
    plain();
    d.scales[5] = 0x7c00;
    write_file();
    must_fail(IMPORT_ERR_VALUE, "not finite for row 5 in group 0");
    plain();
    safetensors_begin(&file_bytes);
    safetensors_put(&file_bytes, "model.q_proj.qweight", "U8", 1, 4, 0, d.qweight, 4);
    safetensors_end(&file_bytes);
    must_fail(IMPORT_ERR_SHAPE, "U8 of 1 dimensions; I32 of 2");
    const gptq_config wrong[] = {{5, 64, 1}, {4, 48, 1}, {4, 64, 3}};
    safetensors_file *file;
    plain();
    assert_int_equal(safetensors_parse(file_bytes.at, file_bytes.count, &file, NULL), IMPORT_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(gptq_read(file, "model.q_proj", &wrong[i], 0, &layer, &error),
                         IMPORT_ERR_ARGUMENT);
    assert_int_equal(gptq_read(file, NULL, &wrong[0], 0, &layer, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(gptq_read(file, "other", &(gptq_config){4, 64, 1}, 0, &layer, NULL),
                     IMPORT_ERR_MISSING);
    safetensors_close(file);
    gptq_tensors tensors;
    assert_int_equal(gptq_pack(NULL, "a", &tensors, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(gptq_pack(&(gptq_layer){.n = 32, .k = 32}, "a", &tensors, &error),
                     IMPORT_ERR_ARGUMENT);
    assert_null(tensors.memory);
}

static void test_config(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        import_status status;
        gptq_config config;
    } cases[] = {
        {"{\"bits\":4,\"group_size\":128}", IMPORT_OK, {4, 128, 1}},
        {"{\"bits\":3,\"group_size\":-1,\"checkpoint_format\":\"gptq_v2\"}", IMPORT_OK, {3, 0, 2}},
        {"{\"hidden_size\":8,\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":2,"
         "\"group_size\":32,\"checkpoint_format\":\"gptq\"}}",
         IMPORT_OK,
         {2, 32, 1}},
        {"{\"bits\":8,\"group_size\":128}", IMPORT_ERR_UNSUPPORTED, {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":48}", IMPORT_ERR_UNSUPPORTED, {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":0}", IMPORT_ERR_UNSUPPORTED, {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":64,\"format\":\"gptq_v2\",\"method\":\"gptq\","
         "\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq_v2\"}",
         IMPORT_OK,
         {4, 64, 2}},
        {"{\"bits\":4,\"group_size\":64,\"format\":\"gptq_p\"}", IMPORT_ERR_UNSUPPORTED, {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":64,\"format\":2}", IMPORT_ERR_UNSUPPORTED, {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":64,\"format\":null}", IMPORT_OK, {4, 64, 1}},
        {"{\"bits\":4,\"group_size\":64,\"quant_method\":\"awq\"}",
         IMPORT_ERR_UNSUPPORTED,
         {0, 0, 0}},
        {"{\"bits\":4,\"group_size\":64,\"checkpoint_format\":\"marlin\"}",
         IMPORT_ERR_UNSUPPORTED,
         {0, 0, 0}},
        {"{\"bits\":\"4\",\"group_size\":64}", IMPORT_ERR_HEADER, {0, 0, 0}},
        {"{\"bits\":4}", IMPORT_ERR_HEADER, {0, 0, 0}},
        {"[]", IMPORT_ERR_HEADER, {0, 0, 0}},
        {"{", IMPORT_ERR_HEADER, {0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gptq_config c = {0, 0, 0};
        import_error error = {0};
        const import_status status =
            gptq_config_parse(cases[i].json, strlen(cases[i].json), &c, &error);
        if (status != cases[i].status)
            fail_msg("%s: %s", cases[i].json, error.detail);
        assert_true(c.bits == cases[i].config.bits && c.group == cases[i].config.group &&
                    c.version == cases[i].config.version);
    }
    assert_int_equal(gptq_config_parse(NULL, 0, &(gptq_config){0, 0, 0}, NULL),
                     IMPORT_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_wrong_layers),
        cmocka_unit_test(test_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
