/* tests/unit_peft.c: LoRA adapters in each of the forms that are read give the same A and B, scaled
 * as PEFT scales them, and packed for fbq they are the same Sigma.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fbq/fbq.h>
#include <fbq/host/half.h>
#include <math.h>
#include <peft.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/layer.h"
#include "support/safetensors_bytes.h"

enum { N = 37, K = 72, R = 6 };

#define MODULE "model.layers.1.self_attn.q_proj"

static float a[R * K], b[N * R]; /* numbers that F16 and BF16 hold */
static safetensors_bytes file_bytes;
static uint64_t seed = 1;

static float draw(void)
{
    return (float)((int)(random_bits(&seed) % 255) - 127) / 64;
}

static size_t put_number(uint8_t *at, const char *type, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    if (!strcmp(type, "F16"))
        bits = fbq_f16_of_f32(v);
    else if (!strcmp(type, "BF16"))
        bits >>= 16;
    const size_t size = strcmp(type, "F32") ? 2 : 4;
    memcpy(at, &bits, size); /* little-endian as the file is */
    return size;
}

/* rows x columns numbers at `from`, or their transpose. */
static void put(const char *name, const char *type, const float *from, int rows, int columns,
                int transposed)
{
    static uint8_t data[4 * N * K];
    size_t bytes = 0;
    for (int i = 0; i < rows * columns; i++)
        bytes +=
            put_number(data + bytes, type, from[transposed ? i % rows * columns + i / rows : i]);
    safetensors_put(&file_bytes, name, type, 2, (uint64_t)(transposed ? columns : rows),
                    (uint64_t)(transposed ? rows : columns), data, bytes);
}

static void write_file(const char *before, const char *after, const char *type, int transposed)
{
    char name[128];
    safetensors_begin(&file_bytes);
    snprintf(name, sizeof name, "%s" MODULE ".lora_A%s", before, after);
    put(name, type, a, R, K, transposed);
    snprintf(name, sizeof name, "%s" MODULE ".lora_B%s", before, after);
    put(name, type, b, N, R, transposed);
    safetensors_end(&file_bytes);
}

static import_status read_file(const char *json, peft_adapter *adapter, import_error *error)
{
    safetensors_file *file;
    peft_config *config = NULL;
    import_status status = IMPORT_OK;
    if (json)
        status = peft_config_parse(json, strlen(json), &config, error);
    if (status == IMPORT_OK)
        status = safetensors_parse(file_bytes.at, file_bytes.count, &file, error);
    if (status != IMPORT_OK)
        fail_msg("%s", error->detail);
    status = peft_read(file, MODULE, config, adapter, error);
    safetensors_close(file);
    peft_config_free(config);
    return status;
}

/* A and scale * B as they were drawn, and so is what fbq makes of them. */
static void judge(const peft_adapter *x, double scale)
{
    static const uint8_t codes[N * K]; /* (0 - 8) * 1 */
    static uint16_t scales[N], words_a[R * K], words_b[N * R];
    const fbq_format format = {4, FBQ_GROUP_ROW, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16};
    const fbq_shape shape = fbq_shape_of(N, K, R);
    fbq_layout l;
    assert_true(x->n == N && x->k == K && x->r == R && x->scale == scale);
    for (int i = 0; i < R * K; i++) {
        assert_true(x->a[i] == a[i]);
        words_a[i] = fbq_f16_of_f32(x->a[i]);
    }
    for (int i = 0; i < N * R; i++) {
        assert_true(x->b[i] == (float)(scale * b[i]));
        words_b[i] = fbq_f16_of_f32(x->b[i]);
    }
    for (int i = 0; i < N; i++)
        scales[i] = 0x3c00;
    assert_int_equal(fbq_layout_of(&format, &shape, &l, NULL), FBQ_OK);
    void *w = malloc(l.weights_bytes), *down = malloc(l.down_bytes), *up = malloc(l.up_bytes);
    double *sum = malloc(sizeof *sum * N * K);
    assert_true(w && down && up && sum);
    assert_int_equal(fbq_pack_weights(&l, codes, scales, NULL, w, l.weights_bytes, NULL), FBQ_OK);
    assert_int_equal(fbq_pack_down(&l, words_a, down, l.down_bytes, NULL), FBQ_OK);
    assert_int_equal(fbq_pack_up(&l, words_b, R, up, l.up_bytes, NULL), FBQ_OK);
    const fbq_parts parts = {w, l.weights_bytes, down, l.down_bytes, up, l.up_bytes};
    assert_int_equal(fbq_reconstruct(&parts, 0, N, sum, NULL), FBQ_OK);
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            double sigma = 0;
            for (int r = 0; r < R; r++)
                sigma += scale * b[n * R + r] * a[r * K + k];
            assert_true(fabs(sum[n * K + k] + 8 - sigma) < 1e-2);
        }
    free(w);
    free(down);
    free(up);
    free(sum);
}

static void test_forms(void **state)
{
    (void)state;
    static const char *const types[] = {"F16", "BF16", "F32"},
                             *before[] = {"", "base_model.model."};
    for (int i = 0; i < 12; i++) {
        peft_adapter adapter;
        import_error error;
        const int merged = i / 6;
        write_file(before[i / 3 % 2], merged ? "" : ".weight", types[i % 3], merged);
        /* what is merged has been scaled */
        if (read_file(merged ? NULL : "{\"r\":6,\"lora_alpha\":12}", &adapter, &error) != IMPORT_OK)
            fail_msg("form %d: %s", i, error.detail);
        judge(&adapter, merged ? 1 : 2);
        peft_free(&adapter);
    }
}

static void test_scales(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        double scale;
    } cases[] = {
        {"{\"peft_type\":\"LORA\",\"r\":6,\"lora_alpha\":6}", 1}, /* as EoRA has it */
        {"{\"r\":6,\"lora_alpha\":3,\"use_rslora\":false,\"use_dora\":false}", 0.5},
        {"{\"r\":6,\"lora_alpha\":1.5}", 0.25},
        {"{\"r\":16,\"lora_alpha\":12,\"rank_pattern\":{\"q_proj\":6}}", 2},
        {"{\"r\":6,\"lora_alpha\":1,\"alpha_pattern\":{\"k_proj\":5,\"self_attn.q_proj\":24}}", 4},
        {"{\"r\":6,\"lora_alpha\":6,\"alpha_pattern\":{\"" MODULE "\":12}}", 2},
        /* not at a dot, so not this module */
        {"{\"r\":6,\"lora_alpha\":6,\"alpha_pattern\":{\"_proj\":12,\"oj\":12}}", 1},
        {"{\"r\":6,\"lora_alpha\":6,\"rank_pattern\":{},\"alpha_pattern\":null}", 1},
    };
    peft_adapter adapter;
    import_error error;
    write_file("base_model.model.", ".weight", "F32", 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (read_file(cases[i].json, &adapter, &error) != IMPORT_OK)
            fail_msg("%s: %s", cases[i].json, error.detail);
        judge(&adapter, cases[i].scale);
        peft_free(&adapter);
    }
    assert_int_equal(read_file("{\"r\":6,\"lora_alpha\":6,\"use_rslora\":true}", &adapter, &error),
                     IMPORT_OK);
    judge(&adapter, 6 / sqrt(6));
    peft_free(&adapter);
}

static void must_fail(const char *json, import_status expected, const char *word)
{
    peft_adapter adapter;
    import_error error = {0};
    const import_status status = read_file(json, &adapter, &error);
    if (status != expected || error.status != expected || !strstr(error.detail, word))
        fail_msg("expected \"%s\" with \"%s\", got \"%s\": %s", import_status_string(expected),
                 word, import_status_string(status), error.detail);
    assert_true(!adapter.a && !adapter.b); /* nothing is left behind */
}

static void test_wrong_files(void **state)
{
    (void)state;
    static const char *const right = "{\"r\":6,\"lora_alpha\":6}";
    peft_adapter adapter;
    write_file("", ".weight", "F16", 0);
    must_fail(NULL, IMPORT_ERR_ARGUMENT, "config is NULL");
    must_fail("{\"r\":8,\"lora_alpha\":6}", IMPORT_ERR_VALUE, "rank 6, but the config says 8");
    write_file("somewhere.", ".weight", "F16", 0);
    must_fail(right, IMPORT_ERR_MISSING, "no lora_A");
    safetensors_begin(&file_bytes);
    put(MODULE ".lora_A.weight", "F16", a, R, K, 0);
    safetensors_end(&file_bytes);
    must_fail(right, IMPORT_ERR_MISSING, "no lora_B");
    safetensors_begin(&file_bytes);
    put(MODULE ".lora_A.weight", "F16", a, R, K, 0);
    put(MODULE ".lora_B.weight", "F16", b, N, R - 1, 0);
    safetensors_end(&file_bytes);
    must_fail(right, IMPORT_ERR_SHAPE, "rank 6 and a lora_B of rank 5");
    safetensors_begin(&file_bytes);
    put(MODULE ".lora_A.weight", "F16", a, R, K, 0);
    safetensors_put(&file_bytes, MODULE ".lora_B.weight", "I8", 1, 2, 0, b, 2);
    safetensors_end(&file_bytes);
    must_fail(right, IMPORT_ERR_SHAPE, "I8 of 1 dimensions");
    b[3 * R + 2] = INFINITY;
    write_file("", ".weight", "BF16", 0);
    must_fail(right, IMPORT_ERR_VALUE, "lora_B.weight\" is not finite at 3, 2");
    b[3 * R + 2] = 0.5f;
    assert_int_equal(peft_read(NULL, MODULE, NULL, &adapter, NULL), IMPORT_ERR_ARGUMENT);
}

static void test_wrong_configs(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        import_status status;
    } cases[] = {
        {"{", IMPORT_ERR_HEADER},
        {"[]", IMPORT_ERR_HEADER},
        {"{\"r\":6}", IMPORT_ERR_HEADER},
        {"{\"r\":0,\"lora_alpha\":6}", IMPORT_ERR_HEADER},
        {"{\"r\":6,\"lora_alpha\":6,\"rank_pattern\":[]}", IMPORT_ERR_HEADER},
        {"{\"r\":6,\"lora_alpha\":6,\"rank_pattern\":{\"q_proj\":0}}", IMPORT_ERR_HEADER},
        {"{\"r\":6,\"lora_alpha\":6,\"alpha_pattern\":{\"[qk]_proj\":2}}", IMPORT_ERR_UNSUPPORTED},
        {"{\"peft_type\":\"IA3\",\"r\":6,\"lora_alpha\":6}", IMPORT_ERR_UNSUPPORTED},
        {"{\"r\":6,\"lora_alpha\":6,\"use_dora\":true}", IMPORT_ERR_UNSUPPORTED},
        {"{\"r\":6,\"lora_alpha\":6,\"use_tomorrow\":true}", IMPORT_ERR_UNSUPPORTED},
        {"{\"r\":6,\"lora_alpha\":6,\"lora_bias\":true}", IMPORT_ERR_UNSUPPORTED},
        {"{\"r\":6,\"lora_alpha\":6,\"fan_in_fan_out\":true}", IMPORT_ERR_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        peft_config *config;
        import_error error = {0};
        const import_status status =
            peft_config_parse(cases[i].json, strlen(cases[i].json), &config, &error);
        if (status != cases[i].status || config || !*error.detail)
            fail_msg("%s: %s", cases[i].json, error.detail);
    }
    assert_int_equal(peft_config_parse("{}", 2, NULL, NULL), IMPORT_ERR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_wrong_files),
        cmocka_unit_test(test_wrong_configs),
    };
    for (int i = 0; i < R * K; i++)
        a[i] = draw();
    for (int i = 0; i < N * R; i++)
        b[i] = draw();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
