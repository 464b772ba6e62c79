/* tests/unit_import.c: fbq-import on files that GPTQModel and PEFT wrote. What it packs gives what
 * their own forward gave; exported and packed again it is the same file to the byte.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <checkpoint.h>
#include <fbq/host/half.h>
#include <jansson.h>
#include <packed_layer.h>
#include <peft_pack.h>
#include <stdlib.h>

#include "support/command.h"
#include "support/written_elsewhere.h"

#define WORK "unit_import.work"
#define PACKED WORK "/packed.safetensors"
#define AGAIN WORK "/again.safetensors"
#define EXPORTED WORK "/exported"
#define CHECKPOINT FBQ_FIXTURES "/checkpoint"
#define LAYERS FBQ_FIXTURES "/gptqmodel.safetensors"

enum { N = WRITTEN_N, K = WRITTEN_K, ROWS = WRITTEN_ROWS };

static safetensors_file *written;
static command_run run;

/* fbq-import with these words; it must succeed. */
#define IMPORT(...) import((const char *const[]){FBQ_IMPORT, __VA_ARGS__, NULL})

static void import(const char *const *words)
{
    command_run_words(words, &run);
    if (run.status != 0)
        fail_msg("fbq-import %s exits with %d: %s", words[1], run.status, run.err);
}

static safetensors_file *open_file(const char *path)
{
    safetensors_file *file;
    import_error error;
    if (safetensors_open(path, &file, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    return file;
}

static packed_layer find(const safetensors_file *file, const char *name)
{
    packed_layer p;
    import_error error;
    if (packed_layer_find(file, name, &p, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    return p;
}

static void must_be_same(const char *path, const char *other)
{
    size_t count, also;
    char *a = file_read(path, &count), *b = file_read(other, &also);
    assert_int_equal(count, also);
    assert_memory_equal(a, b, count);
    free(a);
    free(b);
}

static int fresh(void **state)
{
    (void)state;
    folder_fresh(WORK);
    return 0;
}

static int removed(void **state)
{
    (void)state;
    folder_remove(WORK);
    return 0;
}

/* The layer without its sub-branch gives the y that was written for `prefix`. */
static void judge_layer(const packed_layer *p, const char *prefix)
{
    double x[ROWS * K], y[ROWS * N], size[ROWS * N];
    const fbq_parts weights = {.weights = p->parts.weights,
                               .weights_bytes = p->parts.weights_bytes};
    assert_true(p->layout.n == N && p->layout.shape.k == K && p->bias);
    written_x(written, prefix, x);
    assert_int_equal(fbq_reference(&weights, 0, N, ROWS, x, y, size, NULL), FBQ_OK);
    for (int i = 0; i < ROWS * N; i++) {
        const uint8_t *word = p->bias + 2 * (i % N);
        const double bias = fbq_f32_of_f16((uint16_t)(word[0] | word[1] << 8));
        y[i] += bias;
        size[i] += fabs(bias);
    }
    written_judge_y(written, prefix, y, size, 10);
}

static double number_at(const unpacked_layer *u, const void *numbers, int64_t i)
{
    return u->type == FBQ_F32 ? ((const float *)numbers)[i]
                              : fbq_f32_of_word(u->type, ((const uint16_t *)numbers)[i]);
}

/* What the sub-branch adds is what PEFT's forward gave, but for factors of `bits` bits. */
static void judge_branch(const packed_layer *p, int bits)
{
    double x[ROWS * K], y[ROWS * N], without[ROWS * N], size[ROWS * N] = {0};
    const fbq_parts weights = {.weights = p->parts.weights,
                               .weights_bytes = p->parts.weights_bytes};
    unpacked_layer u;
    assert_int_equal(p->layout.shape.segment[0].r, 4);
    written_x(written, "peft", x);
    assert_int_equal(fbq_reference(&p->parts, 0, N, ROWS, x, y, NULL, NULL), FBQ_OK);
    assert_int_equal(fbq_reference(&weights, 0, N, ROWS, x, without, NULL, NULL), FBQ_OK);
    assert_int_equal(packed_layer_unpack(p, &u, NULL), IMPORT_OK);
    for (int i = 0; i < ROWS * N; i++) {
        y[i] -= without[i];
        for (int r = 0; r < 4; r++)
            for (int k = 0; k < K; k++)
                size[i] += fabs(number_at(&u, u.b, i % N * 4 + r) * number_at(&u, u.a, r * K + k) *
                                x[i / N * K + k]);
    }
    unpacked_layer_free(&u);
    written_judge_y(written, "peft", y, size, bits);
}

static void write_config(int bits, int version)
{
    char text[128];
    const int length = snprintf(text, sizeof text,
                                "{\"bits\":%d,\"group_size\":%d,\"checkpoint_format\":\"gptq%s\"}",
                                bits, WRITTEN_GROUP, version == 2 ? "_v2" : "");
    file_write(WORK "/config.json", text, (size_t)length);
}

/* As gptq_read reads it from the file that GPTQModel wrote, and from what was exported. */
static void judge_exported(const char *prefix, int version)
{
    gptq_layer original, again;
    checkpoint c;
    import_error error;
    const gptq_config config = {prefix[0] - '0', WRITTEN_GROUP, version};
    if (checkpoint_open(EXPORTED, NULL, &c, &error) != IMPORT_OK ||
        gptq_read(c.file, prefix, &c.config, 0, &again, &error) != IMPORT_OK ||
        gptq_read(written, prefix, &config, 0, &original, &error) != IMPORT_OK)
        fail_msg("%s: %s", prefix, error.detail);
    const size_t groups = (size_t)(original.n * original.groups);
    assert_true(c.config.version == 2 && again.version == 2 && c.layers.count == 1);
    assert_true(original.version == version && again.n == N && again.k == K);
    assert_int_equal(again.format.zero, original.format.zero);
    assert_memory_equal(again.codes, original.codes, N * K);
    assert_memory_equal(again.scales, original.scales, 2 * groups);
    assert_memory_equal(again.bias, original.bias, 2 * N);
    if (original.zeros)
        assert_memory_equal(again.zeros, original.zeros, groups);
    size_t bytes;
    char *text = file_read(EXPORTED "/quantize_config.json", &bytes);
    json_t *said = json_loadb(text, bytes, 0, NULL);
    assert_int_equal(json_is_true(json_object_get(said, "sym")), !original.zeros);
    assert_true(json_is_false(json_object_get(said, "desc_act")));
    json_decref(said);
    free(text);
    gptq_free(&original);
    gptq_free(&again);
    checkpoint_close(&c);
}

/* Each of GPTQModel's layers: its forward, and there and back. */
static void test_every_layer(void **state)
{
    (void)state;
    for (int i = 0; i < 12; i++) {
        char prefix[32];
        const int bits = 2 + i % 3, version = 1 + i / 3 % 2, symmetric = i / 6;
        snprintf(prefix, sizeof prefix, "%d.%s.%s", bits, version == 1 ? "gptq" : "gptq_v2",
                 symmetric ? "sym" : "asym");
        /* symmetric codes tell their version whatever the config says */
        write_config(bits, symmetric ? 3 - version : version);
        IMPORT("pack", LAYERS, "--config", WORK "/config.json", "--layer", prefix, "--output",
               PACKED);
        assert_non_null(strstr(run.out, symmetric ? "contradicted" : "(config)"));
        safetensors_file *file = open_file(PACKED);
        const packed_layer p = find(file, prefix);
        judge_layer(&p, prefix);
        assert_int_equal(safetensors_count(file), 2); /* the weights and the bias */
        safetensors_close(file);
        IMPORT("export", PACKED, "--output", EXPORTED);
        assert_int_equal(folder_count(EXPORTED), 2); /* and no adapter */
        judge_exported(prefix, version);
        IMPORT("pack", EXPORTED, "--output", AGAIN);
        must_be_same(PACKED, AGAIN);
        folder_remove(EXPORTED);
    }
}

/* Another version asked for is another layer: zero points are one off. */
static void test_forced_version(void **state)
{
    (void)state;
    double right[K], wrong[K];
    IMPORT("pack", CHECKPOINT, "-o", PACKED, "--layer", "attention.o_proj", "-q");
    IMPORT("pack", CHECKPOINT, "-o", AGAIN, "--layer", "attention.o_proj", "--gptq-version", "2");
    assert_non_null(strstr(run.out, "2 (forced)"));
    safetensors_file *file = open_file(PACKED), *other = open_file(AGAIN);
    const packed_layer p = find(file, "attention.o_proj"), q = find(other, "attention.o_proj");
    assert_int_equal(fbq_reconstruct(&p.parts, 0, 1, right, NULL), FBQ_OK);
    assert_int_equal(fbq_reconstruct(&q.parts, 0, 1, wrong, NULL), FBQ_OK);
    for (int k = 1; k < WRITTEN_GROUP; k++)
        assert_true(wrong[k] - right[k] == wrong[0] - right[0] && wrong[0] != right[0]);
    safetensors_close(file);
    safetensors_close(other);
}

static double number_of(const json_t *layer, const char *key)
{
    const json_t *value = json_object_get(layer, key);
    if (!json_is_number(value))
        fail_msg("the JSON has no number \"%s\": %s", key, run.out);
    return json_number_value(value);
}

/* Two shards, one layer in both of them, and an adapter for that layer. */
static void test_shards_and_adapter(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double least, most; /* of what rounding changes */
        int bits;
    } types[] = {{"f16", 1e-5, 5e-4, 9}, {"bf16", 1e-3, 4e-3, 6}, {"i8", 1e-3, 1e-2, 5}};
    for (int i = 0; i < 3; i++) {
        IMPORT("pack", CHECKPOINT, "--adapter", FBQ_FIXTURES "/peft", "--partial", "--output",
               PACKED, "--factor-type", types[i].name, "--json");
        json_t *root = json_loads(run.out, 0, NULL);
        const json_t *layers = json_object_get(root, "layers");
        assert_int_equal(json_array_size(layers), 2);
        assert_int_equal(number_of(json_array_get(layers, 0), "rank"), 0);
        assert_int_equal(number_of(json_array_get(layers, 1), "rank"), 4);
        const double change = number_of(json_array_get(layers, 1), "factor_change");
        assert_true(change > types[i].least && change < types[i].most);
        json_decref(root);
        safetensors_file *file = open_file(PACKED);
        assert_int_equal(safetensors_count(file), 6); /* 2 weights, 2 biases, A and B */
        const packed_layer q = find(file, "attention.q_proj"), o = find(file, "attention.o_proj");
        judge_layer(&q, "4.gptq.asym");
        judge_layer(&o, "4.gptq.sym");
        judge_branch(&q, types[i].bits);
        assert_true(!o.parts.down && !o.parts.up);
        safetensors_close(file);
        IMPORT("export", PACKED, "--output", EXPORTED, "--base-model", "some/model");
        IMPORT("pack", EXPORTED, "--adapter", EXPORTED "/adapter", "--partial", "--output", AGAIN,
               "--factor-type", types[i].name);
        assert_non_null(strstr(run.out, "changed none"));
        must_be_same(PACKED, AGAIN);
        folder_remove(EXPORTED);
    }
}

/* A and B of a layer in a packed file. */
static unpacked_layer unpack(const char *path, const char *name)
{
    unpacked_layer u;
    safetensors_file *file = open_file(path);
    const packed_layer p = find(file, name);
    assert_int_equal(packed_layer_unpack(&p, &u, NULL), IMPORT_OK);
    safetensors_close(file);
    return u;
}

/* A and B in the checkpoint itself, transposed, as GPTQModel's merged buffers lie. */
static void test_merged(void **state)
{
    (void)state;
    enum { R = 4 };
    static uint8_t a[2 * K * R], b[2 * R * N];
    safetensors_tensor all[8];
    size_t count = 0;
    import_error error;
    IMPORT("pack", CHECKPOINT, "--adapter", FBQ_FIXTURES "/peft", "--layer", "attention.q_proj",
           "-o", PACKED);
    unpacked_layer u = unpack(PACKED, "attention.q_proj");
    const uint16_t *words_a = u.a, *words_b = u.b;
    for (int r = 0; r < R; r++) {
        for (int i = 0; i < 2 * K; i++)
            a[(i / 2 * R + r) * 2 + i % 2] = (uint8_t)(words_a[r * K + i / 2] >> 8 * (i % 2));
        for (int i = 0; i < 2 * N; i++)
            b[(r * N + i / 2) * 2 + i % 2] = (uint8_t)(words_b[i / 2 * R + r] >> 8 * (i % 2));
    }
    unpacked_layer_free(&u);
    checkpoint c;
    assert_int_equal(checkpoint_open(CHECKPOINT, NULL, &c, &error), IMPORT_OK);
    for (size_t i = 0; i < safetensors_count(c.file); i++)
        if (strstr(safetensors_at(c.file, i)->name, "q_proj"))
            all[count++] = *safetensors_at(c.file, i);
    assert_int_equal(count, 5);
    all[count++] =
        (safetensors_tensor){"attention.q_proj.lora_A", SAFETENSORS_F16, 2, {K, R}, a, sizeof a};
    all[count++] =
        (safetensors_tensor){"attention.q_proj.lora_B", SAFETENSORS_F16, 2, {R, N}, b, sizeof b};
    if (safetensors_write(WORK "/merged.safetensors", all, count, NULL, 0, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    checkpoint_close(&c);
    write_config(4, 1); /* beside it */
    IMPORT("pack", WORK "/merged.safetensors", "-o", AGAIN);
    must_be_same(PACKED, AGAIN);
    /* left out, and the adapter in its place */
    IMPORT("pack", WORK "/merged.safetensors", "--no-merged", "-o", AGAIN);
    safetensors_file *file = open_file(AGAIN);
    assert_null(find(file, "attention.q_proj").parts.down);
    safetensors_close(file);
    IMPORT("pack", WORK "/merged.safetensors", "--no-merged", "--adapter", FBQ_FIXTURES "/peft",
           "-o", AGAIN);
    must_be_same(PACKED, AGAIN);
    /* both at once would be counted twice */
    command_run_words((const char *const[]){FBQ_IMPORT, "pack", WORK "/merged.safetensors",
                                            "--adapter", FBQ_FIXTURES "/peft", "-o", AGAIN, NULL},
                      &run);
    assert_int_equal(run.status, 1);
    assert_non_null(strstr(run.err, "--no-merged"));
}

/* Two layers of differing ranks through an adapter that we write, and back. */
static void test_differing_ranks(void **state)
{
    (void)state;
    static const char *const names[] = {"attention.o_proj", "attention.q_proj"};
    static float numbers[9 * (N + K)];
    peft_factors modules[2];
    peft_tensors tensors[2];
    safetensors_tensor all[4];
    import_error error;
    char *text;
    for (int i = 0; i < 9 * (N + K); i++)
        numbers[i] = (float)(i % 37 - 18) / 64;
    for (int i = 0; i < 2; i++) {
        const int r = i ? 9 : 2;
        modules[i] = (peft_factors){names[i], N, K, r, FBQ_F32, numbers, numbers + r * K};
        assert_int_equal(peft_pack(&modules[i], &tensors[i], &error), IMPORT_OK);
        memcpy(&all[2 * i], tensors[i].tensor, sizeof tensors[i].tensor);
    }
    assert_int_equal(peft_config_print(modules, 2, NULL, NULL, &text, &error), IMPORT_OK);
    folder_fresh(WORK "/adapter");
    file_write(WORK "/adapter/adapter_config.json", text, strlen(text));
    assert_int_equal(
        safetensors_write(WORK "/adapter/adapter_model.safetensors", all, 4, NULL, 0, &error),
        IMPORT_OK);
    free(text);
    /* "attention" is above both */
    IMPORT("pack", CHECKPOINT, "--adapter", WORK "/adapter", "--layer", "attention", "-o", PACKED);
    for (int i = 0; i < 2; i++) {
        unpacked_layer u = unpack(PACKED, names[i]);
        assert_int_equal(u.r, modules[i].r);
        for (int64_t j = 0; j < u.r * K; j++)
            assert_int_equal(((const uint16_t *)u.a)[j], fbq_f16_of_f32(numbers[j]));
        for (int64_t j = 0; j < N * u.r; j++)
            assert_int_equal(((const uint16_t *)u.b)[j], fbq_f16_of_f32(numbers[u.r * K + j]));
        unpacked_layer_free(&u);
        peft_tensors_free(&tensors[i]);
    }
    IMPORT("export", PACKED, "-o", EXPORTED);
    IMPORT("pack", EXPORTED, "--adapter", EXPORTED "/adapter", "-o", AGAIN);
    must_be_same(PACKED, AGAIN);
    /* one of them alone */
    folder_remove(EXPORTED);
    IMPORT("export", PACKED, "-o", EXPORTED, "--layer", names[1]);
    IMPORT("list", EXPORTED, "--adapter", EXPORTED "/adapter", "--json");
    json_t *root = json_loads(run.out, 0, NULL);
    const json_t *layers = json_object_get(root, "layers");
    assert_int_equal(json_array_size(layers), 1);
    assert_int_equal(number_of(json_array_get(layers, 0), "rank"), 9);
    json_decref(root);
}

/* Groups of a whole row, which the config calls -1; and layers in the order of their numbers. */
static void test_rows_and_order(void **state)
{
    (void)state;
    static const char *const names[] = {"layers.10.o", "layers.2.o"};
    static uint8_t codes[N * K];
    static uint16_t scales[N];
    packed_layer layers[2];
    import_error error;
    checkpoint c;
    for (int i = 0; i < N * K; i++)
        codes[i] = (uint8_t)(i % 7);
    for (int i = 0; i < 2; i++) {
        const gptq_layer l = {.format = {3, FBQ_GROUP_ROW, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16},
                              .n = N,
                              .k = K,
                              .groups = 1,
                              .codes = codes,
                              .scales = scales};
        assert_int_equal(packed_layer_make(&l, NULL, FBQ_F16, &layers[i], &error), IMPORT_OK);
    }
    assert_int_equal(packed_file_write(PACKED, names, layers, 2, &error), IMPORT_OK);
    packed_layer_free(&layers[0]);
    packed_layer_free(&layers[1]);
    IMPORT("export", PACKED, "-o", EXPORTED);
    assert_int_equal(checkpoint_open(EXPORTED, NULL, &c, &error), IMPORT_OK);
    assert_true(c.config.group == FBQ_GROUP_ROW && c.config.bits == 3);
    assert_int_equal(c.layers.count, 2);
    assert_string_equal(c.layers.name[0], "layers.2.o");
    checkpoint_close(&c);
    IMPORT("pack", EXPORTED, "-o", AGAIN);
    must_be_same(PACKED, AGAIN);
}

static const char *text_of(const json_t *layer, const char *key)
{
    const char *text = json_string_value(json_object_get(layer, key));
    return text ? text : "";
}

/* list, of a checkpoint and of what pack makes of it; one layer of it is refused. */
static void test_list(void **state)
{
    (void)state;
    char layout_version[16];
    write_config(4, 1);
    IMPORT("list", LAYERS, "--config", WORK "/config.json", "--json");
    json_t *root = json_loads(run.out, 0, NULL);
    json_t *layers = json_object_get(root, "layers"), *layer;
    size_t i, refused = 0, confirmed = 0, contradicted = 0;
    assert_int_equal(json_array_size(layers), 12);
    json_array_foreach(layers, i, layer)
    {
        const char *evidence = text_of(layer, "gptq_version_evidence");
        refused += *text_of(layer, "refused") != 0;
        confirmed += !strcmp(evidence, "confirmed");
        contradicted += !strcmp(evidence, "contradicted");
    }
    assert_int_equal(refused, 8); /* of 2 and 3 bits, which the config does not say */
    assert_true(confirmed == 1 && contradicted == 1);
    json_decref(root);
    IMPORT("list", LAYERS, "--config", WORK "/config.json");
    assert_non_null(strstr(run.out, "8 of 12 layers would not be packed"));
    assert_non_null(strstr(run.out, "wrong about the version of 1 layers"));
    assert_non_null(strstr(run.err, "12/12"));

    IMPORT("pack", CHECKPOINT, "--adapter", FBQ_FIXTURES "/peft", "--partial", "-o", PACKED);
    IMPORT("list", PACKED, "--json", "--quiet");
    assert_string_equal(run.err, "");
    root = json_loads(run.out, 0, NULL);
    snprintf(layout_version, sizeof layout_version, "%d", FBQ_LAYOUT_VERSION);
    assert_string_equal(text_of(root, "layout_version"), layout_version);
    assert_string_equal(text_of(root, "packed_by"), FBQ_VERSION_STRING);
    layer = json_array_get(json_object_get(root, "layers"), 1);
    assert_string_equal(text_of(layer, "name"), "attention.q_proj");
    assert_string_equal(text_of(layer, "zero"), "code");
    assert_string_equal(text_of(layer, "factor_type"), "f16");
    assert_true(json_is_true(json_object_get(layer, "bias")));
    assert_true(number_of(layer, "n") == N && number_of(layer, "k") == K &&
                number_of(layer, "bits") == 4 && number_of(layer, "group") == 32 &&
                number_of(layer, "rank") == 4);
    json_decref(root);
    IMPORT("list", PACKED);
    assert_non_null(strstr(run.out, "Packed by fbq " FBQ_VERSION_STRING " in layout version"));
}

static void test_texts(void **state)
{
    (void)state;
    IMPORT("--help");
    assert_non_null(strstr(run.out, "Exit status: 0 success"));
    IMPORT("pack", "-h");
    assert_non_null(strstr(run.out, "Usage: fbq-import"));
    IMPORT("--version");
    assert_string_equal(run.out, "fbq " FBQ_VERSION_STRING "\n");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, fresh, removed)
    const struct CMUnitTest tests[] = {
        TEST(test_every_layer), TEST(test_forced_version), TEST(test_shards_and_adapter),
        TEST(test_merged),      TEST(test_rows_and_order), TEST(test_differing_ranks),
        TEST(test_list),        TEST(test_texts),
    };
    import_error error;
    if (safetensors_open(LAYERS, &written, &error) != IMPORT_OK) {
        fprintf(stderr, "%s\n", error.detail);
        return 1;
    }
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    safetensors_close(written);
    return failed;
}
