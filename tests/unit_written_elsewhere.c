/* tests/unit_written_elsewhere.c: layers that GPTQModel packed, and an adapter that PEFT saved,
 * packed for fbq give what GPTQModel's and PEFT's own forward gave
 * (tests/fixtures/make_gptqmodel.py).
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
#include <math.h>
#include <peft.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/written_elsewhere.h"

enum { N = WRITTEN_N, K = WRITTEN_K, GROUP = WRITTEN_GROUP, ROWS = WRITTEN_ROWS };

static safetensors_file *file;

static void judge_layer(const char *prefix, const gptq_layer *l)
{
    static double x[ROWS * K], y[ROWS * N], size[ROWS * N], w[N * K];
    const fbq_shape shape = fbq_shape_of(N, K, 0);
    fbq_layout layout;
    assert_true(l->n == N && l->k == K && l->groups == K / GROUP && l->bias);
    assert_int_equal(fbq_layout_of(&l->format, &shape, &layout, NULL), FBQ_OK);
    void *packed = malloc(layout.weights_bytes);
    assert_non_null(packed);
    assert_int_equal(fbq_pack_weights(&layout, l->codes, l->scales, l->zeros, packed,
                                      layout.weights_bytes, NULL),
                     FBQ_OK);
    const fbq_parts parts = {packed, layout.weights_bytes, NULL, 0, NULL, 0};
    /* the very weights */
    const safetensors_tensor *weight =
        written_tensor(file, prefix, "weight", SAFETENSORS_F16, K, N);
    assert_int_equal(fbq_reconstruct(&parts, 0, N, w, NULL), FBQ_OK);
    for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) {
            const uint16_t got = fbq_f16_of_f32((float)w[n * K + k]);
            const uint16_t expected = safetensors_u16(weight, (uint64_t)(k * N + n));
            if (got != expected && ((got | expected) & 0x7fff)) /* 0 has two signs */
                fail_msg("%s: weight %d, %d is %04x, %04x was expected", prefix, n, k, got,
                         expected);
        }
    written_x(file, prefix, x);
    assert_int_equal(fbq_reference(&parts, 0, N, ROWS, x, y, size, NULL), FBQ_OK);
    for (int i = 0; i < ROWS * N; i++) {
        y[i] += fbq_f32_of_f16(l->bias[i % N]);
        size[i] += fabs(fbq_f32_of_f16(l->bias[i % N]));
    }
    written_judge_y(file, prefix, y, size, 10);
    free(packed);
}

/* Packed by us, a layer has the very bytes that GPTQModel packed, but for version 1's zero points.
 */
static void judge_packed(const char *prefix, const gptq_layer *l)
{
    gptq_tensors ours;
    import_error error;
    if (gptq_pack(l, prefix, &ours, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_int_equal(ours.count, GPTQ_TENSORS);
    for (size_t i = 0; i < ours.count; i++) {
        const safetensors_tensor *t = &ours.tensor[i], *theirs = safetensors_find(file, t->name);
        assert_non_null(theirs);
        assert_true(t->type == theirs->type && t->dims == theirs->dims);
        assert_memory_equal(t->dim, theirs->dim, (size_t)t->dims * sizeof *t->dim);
        if (l->version == 2 || !strstr(t->name, "qzeros"))
            assert_memory_equal(t->data, theirs->data, t->bytes);
    }
    gptq_tensors_free(&ours);
}

static void test_gptqmodel(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char prefix[32];
        gptq_layer layer;
        import_error error;
        const int version = 1 + i / 3 % 2, symmetric = i / 6;
        const gptq_config config = {2 + i % 3, GROUP, version};
        snprintf(prefix, sizeof prefix, "%d.%s.%s", config.bits, version == 1 ? "gptq" : "gptq_v2",
                 symmetric ? "sym" : "asym");
        if (gptq_read(file, prefix, &config, 0, &layer, &error) != IMPORT_OK)
            fail_msg("%s: %s", prefix, error.detail);
        assert_int_equal(layer.evidence, symmetric ? GPTQ_CONFIRMED : GPTQ_AS_SAID);
        assert_true(symmetric || layer.zeros[5 * (K / GROUP) + 1] == 0);
        judge_layer(prefix, &layer);
        judge_packed(prefix, &layer);
        gptq_free(&layer);
        /* a config that lies about symmetric codes */
        const gptq_config lie = {config.bits, GROUP, 3 - version};
        if (symmetric) {
            assert_int_equal(gptq_read(file, prefix, &lie, 0, &layer, &error), IMPORT_OK);
            assert_int_equal(layer.evidence, GPTQ_CONTRADICTED);
            judge_layer(prefix, &layer);
            gptq_free(&layer);
        }
    }
}

static void test_peft(void **state)
{
    (void)state;
    static char json[8192];
    static double x[ROWS * K], y[ROWS * N], size[ROWS * N];
    safetensors_file *adapters;
    peft_config *config;
    peft_adapter p;
    import_error error;
    FILE *f = fopen(FBQ_FIXTURES "/peft/adapter_config.json", "rb");
    assert_non_null(f);
    const size_t bytes = fread(json, 1, sizeof json, f);
    fclose(f);
    if (peft_config_parse(json, bytes, &config, &error) != IMPORT_OK ||
        safetensors_open(FBQ_FIXTURES "/peft/adapter_model.safetensors", &adapters, &error) !=
            IMPORT_OK ||
        peft_read(adapters, "attention.q_proj", config, &p, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_true(p.n == N && p.k == K && p.r == 4 && p.scale == 3);
    written_x(file, "peft", x);
    for (int m = 0; m < ROWS; m++) {
        double t[4] = {0};
        for (int r = 0; r < 4; r++)
            for (int k = 0; k < K; k++)
                t[r] += (double)p.a[r * K + k] * x[m * K + k];
        for (int n = 0; n < N; n++) {
            y[m * N + n] = size[m * N + n] = 0;
            for (int r = 0; r < 4; r++) {
                y[m * N + n] += p.b[n * 4 + r] * t[r];
                size[m * N + n] += fabs(p.b[n * 4 + r] * t[r]) + 1;
            }
        }
    }
    written_judge_y(file, "peft", y, size, 18); /* all of it in fp32 */
    peft_free(&p);
    peft_config_free(config);
    safetensors_close(adapters);
}

int main(void)
{
    import_error error;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptqmodel),
        cmocka_unit_test(test_peft),
    };
    if (safetensors_open(FBQ_FIXTURES "/gptqmodel.safetensors", &file, &error) != IMPORT_OK) {
        fprintf(stderr, "%s\n", error.detail);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(file);
    return failed;
}
