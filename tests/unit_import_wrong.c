/* tests/unit_import_wrong.c: what fbq-import refuses: the exit status, what the message says, and
 * that nothing is left behind.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <packed_layer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/command.h"

#define WORK "unit_import_wrong.work"
#define OUT WORK "/out"
#define MODEL WORK "/model"
#define ADAPTER WORK "/adapter"
#define CHECKPOINT FBQ_FIXTURES "/checkpoint"
#define LAYERS FBQ_FIXTURES "/gptqmodel.safetensors"
#define PEFT FBQ_FIXTURES "/peft"

static command_run run;

static int fresh(void **state)
{
    (void)state;
    folder_fresh(WORK);
    folder_fresh(MODEL);
    folder_fresh(ADAPTER);
    return 0;
}

static int removed(void **state)
{
    (void)state;
    folder_remove(WORK);
    return 0;
}

/* fbq-import with these words ends with this status and says this in one line. */
#define REFUSED(status, said, ...) \
    refused(status, said, (const char *const[]){FBQ_IMPORT, __VA_ARGS__, NULL})

/* The same where no file may be larger than 4 KiB, which is what a full disk does in mid-file. */
#define REFUSED_WHEN_FULL(status, said, ...)                                                   \
    refused(status, said,                                                                      \
            (const char *const[]){"/bin/sh", "-c",                                             \
                                  "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"", FBQ_IMPORT, \
                                  __VA_ARGS__, NULL})

static void refused(int status, const char *said, const char *const *words)
{
    const int before = folder_count(WORK);
    command_run_words(words, &run);
    if (run.status != status || !strstr(run.err, said))
        fail_msg("fbq-import %s %s: expected %d and \"%s\", got %d: %s", words[1] ? words[1] : "",
                 words[1] && words[2] ? words[2] : "", status, said, run.status, run.err);
    assert_string_equal(run.out, "");
    assert_int_equal(folder_count(WORK), before); /* no output and nothing half-written */
}

static void write_text(const char *path, const char *text)
{
    file_write(path, text, strlen(text));
}

static void copy(const char *from, const char *to)
{
    size_t count;
    char *bytes = file_read(from, &count);
    file_write(to, bytes, count);
    free(bytes);
}

static void write_tensors(const char *path, const safetensors_tensor *tensors, size_t count)
{
    import_error error;
    if (safetensors_write(path, tensors, count, NULL, 0, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
}

/* A copy of the checkpoint, to be spoilt. */
static void copy_checkpoint(void)
{
    static const char *const names[] = {"model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors",
                                        "model.safetensors.index.json", "quantize_config.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char from[512], to[512];
        snprintf(from, sizeof from, CHECKPOINT "/%s", names[i]);
        snprintf(to, sizeof to, MODEL "/%s", names[i]);
        copy(from, to);
    }
}

static void test_command_line(void **state)
{
    (void)state;
    REFUSED(2, "no command: expected list, pack or export", NULL);
    REFUSED(2, "unpack: expected list, pack or export", "unpack");
    REFUSED(2, "list: one path is missing", "list");
    REFUSED(2, "more than one path: \"b\"", "list", "a", "b");
    REFUSED(2, "--output is missing", "pack", CHECKPOINT);
    REFUSED(2, "--output is missing", "export", OUT);
    REFUSED(2, "--output \"\": expected a path", "pack", CHECKPOINT, "-o", "");
    REFUSED(2, "--layer \"\": expected a layer", "pack", CHECKPOINT, "-o", OUT, "--layer", "");
    REFUSED(2, "'--nothing'", "list", CHECKPOINT, "--nothing");
    REFUSED(2, "--base-model is no option of pack", "pack", CHECKPOINT, "-o", OUT, "--base-model",
            "a");
    REFUSED(2, "--adapter is no option of export", "export", OUT, "--adapter", PEFT);
    REFUSED(2, "--output is no option of list", "list", CHECKPOINT, "--output", OUT);
    REFUSED(2, "--gptq-version 3: expected 1 or 2", "list", CHECKPOINT, "--gptq-version", "3");
    REFUSED(2, "--factor-type f32: expected f16, bf16 or i8", "pack", CHECKPOINT, "-o", OUT,
            "--factor-type", "f32");
    REFUSED(2, "--partial is about --adapter", "list", CHECKPOINT, "--partial");
}

static void test_checkpoint(void **state)
{
    (void)state;
    REFUSED(1, "nowhere: there is no such file or folder", "list", "nowhere");
    REFUSED(1, "no quantize_config.json and no config.json", "pack", MODEL, "-o", OUT);
    REFUSED(1, "no quantize_config.json and no config.json", "pack", LAYERS, "-o", OUT);
    REFUSED(1, WORK "/none.json: No such file", "pack", LAYERS, "-o", OUT, "--config",
            WORK "/none.json");
    REFUSED(1, "not a file of at most", "pack", LAYERS, "-o", OUT, "--config", MODEL);
    write_text(MODEL "/config.json", "{\"bits\":4}");
    REFUSED(1, MODEL "/config.json: the config has no \"bits\" and \"group_size\"", "pack", MODEL,
            "-o", OUT);
    write_text(MODEL "/config.json", "{\"bits\":8,\"group_size\":32}");
    REFUSED(3, "8 bits; 2, 3 or 4 were expected", "pack", MODEL, "-o", OUT);
    write_text(MODEL "/config.json", "{\"bits\":4,\"group_size\":32}");
    REFUSED(1, "there is no *.safetensors in this folder", "pack", MODEL, "-o", OUT);
    write_text(MODEL "/model.safetensors", "GGUF but a wrong name");
    REFUSED(1, MODEL "/model.safetensors: ", "pack", MODEL, "-o", OUT);
    REFUSED(1, MODEL "/model.safetensors: ", "list", MODEL "/model.safetensors");
    const safetensors_tensor t = {"a.weight", SAFETENSORS_U8, 1, {1}, (const uint8_t *)"", 1};
    write_tensors(MODEL "/model.safetensors", &t, 1);
    REFUSED(1, "no tensor is named <layer>.qweight", "pack", MODEL, "-o", OUT);
    write_tensors(MODEL "/other.safetensors", &t, 1);
    REFUSED(1, "two files have a tensor \"a.weight\"", "pack", MODEL, "-o", OUT);
    REFUSED(1, "--layer attention.q: none of the 2 layers", "pack", CHECKPOINT, "-o", OUT,
            "--layer", "attention.o_proj", "--layer", "attention.q");
}

static void test_index(void **state)
{
    (void)state;
    static const struct {
        const char *index, *said;
    } cases[] = {
        {"{", "index.json: no JSON (line 1)"},
        {"{}", "no \"weight_map\""},
        {"{\"weight_map\":{}}", "no \"weight_map\""},
        {"{\"weight_map\":{\"a\":1}}", "tensor \"a\" is in \"(not a text)\""},
        {"{\"weight_map\":{\"a\":\"../model.safetensors\"}}", "the name of a file in this folder"},
        {"{\"weight_map\":{\"a\":\"gone.safetensors\"}}", "gone.safetensors: No such file"},
        {"{\"weight_map\":{\"a\":\"model-00001-of-00002.safetensors\"}}",
         "there is no tensor \"a\", which model.safetensors.index.json says is in it"},
        /* q_proj's other tensors are in the shard that this index leaves out */
        {"{\"weight_map\":{\"attention.q_proj.qweight\":\"model-00001-of-00002.safetensors\"}}",
         "there is no tensor \"attention.q_proj.qzeros\""},
    };
    copy_checkpoint();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(MODEL "/model.safetensors.index.json", cases[i].index);
        REFUSED(1, cases[i].said, "pack", MODEL, "-o", OUT);
    }
}

/* Sound layers that fbq does not take. */
static void test_kinds(void **state)
{
    (void)state;
    safetensors_file *file;
    safetensors_tensor all[5];
    size_t count = 0;
    uint8_t g_idx[4 * 96] = {0};
    import_error error;
    write_text(WORK "/config.json", "{\"bits\":4,\"group_size\":32}");
    assert_int_equal(safetensors_open(LAYERS, &file, &error), IMPORT_OK);
    for (size_t i = 0; i < safetensors_count(file); i++) {
        const safetensors_tensor *t = safetensors_at(file, i);
        const char *part = strrchr(t->name, '.') + 1;
        if (!strncmp(t->name, "4.gptq.sym", 10) && strlen(part) > 1 && strcmp(part, "weight")) {
            all[count] = *t;
            if (!strcmp(part, "g_idx")) /* act-order: inputs sorted by their weight */
                all[count].data = g_idx;
            count++;
        }
    }
    assert_int_equal(count, 5);
    for (int i = 0; i < 96; i++)
        g_idx[4 * i] = (uint8_t)(i % 3);
    write_tensors(WORK "/act_order.safetensors", all, count);
    safetensors_close(file);
    REFUSED(3, "4.gptq.sym: \"4.gptq.sym.g_idx\" puts k 1 into group 1, not 0: act-order", "pack",
            WORK "/act_order.safetensors", "-o", OUT);
    /* a config for other layers than these */
    write_text(WORK "/config.json", "{\"bits\":4,\"group_size\":64}");
    REFUSED(1, "dimension 0 of \"4.gptq.sym.qzeros\" is 3; 2 was expected", "pack", LAYERS,
            "--config", WORK "/config.json", "--layer", "4.gptq.sym", "-o", OUT);
}

static void test_adapter(void **state)
{
    (void)state;
    safetensors_file *file;
    import_error error;
    REFUSED(1, "nowhere/adapter_config.json: No such file", "pack", CHECKPOINT, "-o", OUT,
            "--adapter", "nowhere");
    copy(PEFT "/adapter_config.json", ADAPTER "/adapter_config.json");
    REFUSED(1, ADAPTER "/adapter_model.safetensors: No such file", "pack", CHECKPOINT, "-o", OUT,
            "--adapter", ADAPTER);
    REFUSED(1, "attention.o_proj: --adapter " PEFT " has no lora_A and no lora_B of this layer",
            "pack", CHECKPOINT, "-o", OUT, "--adapter", PEFT);
    copy(PEFT "/adapter_model.safetensors", ADAPTER "/adapter_model.safetensors");
    write_text(ADAPTER "/adapter_config.json", "{\"r\":8,\"lora_alpha\":8}");
    REFUSED(1, "attention.q_proj: \"attention.q_proj\" has rank 4, but the config says 8", "pack",
            CHECKPOINT, "-o", OUT, "--adapter", ADAPTER, "--partial");
    write_text(ADAPTER "/adapter_config.json", "{\"r\":4,\"lora_alpha\":8,\"use_dora\":true}");
    REFUSED(3, "\"use_dora\" is true", "pack", CHECKPOINT, "-o", OUT, "--adapter", ADAPTER);
    write_text(ADAPTER "/adapter_config.json", "{\"r\":4,\"lora_alpha\":8000000}");
    REFUSED(1, "beyond fp16; ask for bf16 factors", "pack", CHECKPOINT, "-o", OUT, "--adapter",
            ADAPTER, "--partial");
    /* modules that the checkpoint does not have, and one of another size */
    write_text(ADAPTER "/adapter_config.json", "{\"r\":4,\"lora_alpha\":4}");
    assert_int_equal(safetensors_open(PEFT "/adapter_model.safetensors", &file, &error), IMPORT_OK);
    safetensors_tensor pair[2] = {*safetensors_at(file, 0), *safetensors_at(file, 1)};
    pair[0].name = "base_model.model.model.q_proj.lora_A.weight";
    pair[1].name = "base_model.model.model.q_proj.lora_B.weight";
    write_tensors(ADAPTER "/adapter_model.safetensors", pair, 2);
    REFUSED(1, "A and B of \"model.q_proj\", which is no quantised layer", "pack", CHECKPOINT, "-o",
            OUT, "--adapter", ADAPTER);
    pair[0].name = "attention.q_proj.lora_A.weight";
    pair[0].dim[1] /= 2;
    pair[0].bytes /= 2;
    pair[1].name = "attention.q_proj.lora_B.weight";
    write_tensors(ADAPTER "/adapter_model.safetensors", pair, 2);
    REFUSED(1, "the adapter is for a layer of 64 x 48 weights; this one has 64 x 96", "pack",
            CHECKPOINT, "-o", OUT, "--adapter", ADAPTER, "--partial");
    /* half a pair is no layer without an adapter */
    write_tensors(ADAPTER "/adapter_model.safetensors", pair + 1, 1);
    REFUSED(1, "\"attention.q_proj\" has lora_B but no lora_A", "pack", CHECKPOINT, "-o", OUT,
            "--adapter", ADAPTER, "--partial");
    safetensors_close(file);
}

static void test_output(void **state)
{
    (void)state;
    size_t count;
    REFUSED(1, "No such file or directory", "pack", CHECKPOINT, "-o", WORK "/none/out");
    REFUSED_WHEN_FULL(1, OUT ": File too large", "pack", CHECKPOINT, "-o", OUT);
    REFUSED(1, "is there already and is no file of packed layers", "pack", CHECKPOINT, "-o", MODEL);
    write_text(OUT, "dear to somebody");
    REFUSED(1, "is there already and is no file of packed layers", "pack", CHECKPOINT, "-o", OUT);
    char *text = file_read(OUT, &count);
    assert_string_equal(text, "dear to somebody");
    free(text);
    copy_checkpoint(); /* into itself */
    REFUSED(1, "is there already", "pack", MODEL, "-o", MODEL "/model-00001-of-00002.safetensors");
}

/* A packed file with a layer of each of these: N, K, bits and rank. */
static void write_packed(const int shape[][4], int count)
{
    static const char *const names[] = {"a", "b"};
    static uint8_t codes[128 * 128];
    static uint16_t scales[128 * 4];
    static float factors[128 * 128];
    packed_layer layers[2] = {{.memory = NULL}};
    import_error error;
    for (int i = 0; i < count; i++) {
        const int n = shape[i][0], k = shape[i][1], r = shape[i][3];
        const gptq_layer l = {.format = {shape[i][2], 64, FBQ_ZERO_NONE, FBQ_F16, FBQ_F16},
                              .n = n,
                              .k = k,
                              .groups = (k + 63) / 64,
                              .codes = codes,
                              .scales = scales};
        const peft_adapter adapter = {n, k, r, 1, factors, factors};
        assert_int_equal(packed_layer_make(&l, r ? &adapter : NULL, FBQ_F16, &layers[i], &error),
                         IMPORT_OK);
    }
    assert_int_equal(packed_file_write(WORK "/packed", names, layers, (size_t)count, &error),
                     IMPORT_OK);
    for (int i = 0; i < count; i++)
        packed_layer_free(&layers[i]);
}

static void test_export(void **state)
{
    (void)state;
    static const int odd[][4] = {{37, 128, 4, 0}}, large[][4] = {{32, 64, 4, 128}};
    static const int differ[][4] = {{64, 128, 4, 0}, {64, 128, 3, 0}};
    REFUSED(1, "nowhere: No such file", "export", "nowhere", "-o", OUT);
    REFUSED(1, "is no file of packed layers", "export", LAYERS, "-o", OUT);
    write_packed(odd, 1);
    REFUSED(3, "a: a layer of 37 x 128; multiples of 32 were expected", "export", WORK "/packed",
            "-o", OUT);
    write_packed(differ, 2);
    REFUSED(3, "b: 3 bits in groups of 64, but \"a\" has 4 bits", "export", WORK "/packed", "-o",
            OUT);
    REFUSED(1, "--layer c: none of the 2 layers", "export", WORK "/packed", "-o", OUT, "--layer",
            "c");
    REFUSED(1, "No such file or directory", "export", WORK "/packed", "--layer", "a", "-o",
            WORK "/none/out");
    REFUSED_WHEN_FULL(1, "model.safetensors: File too large", "export", WORK "/packed", "--layer",
                      "a", "-o", OUT);
    /* the checkpoint fits, its adapter does not: neither may stay */
    write_packed(large, 1);
    REFUSED_WHEN_FULL(1, "adapter_model.safetensors: File too large", "export", WORK "/packed",
                      "-o", OUT);
    write_packed(differ, 2);
    write_text(MODEL "/dear", "to somebody");
    REFUSED(1, "a new or an empty folder was expected", "export", WORK "/packed", "--layer", "a",
            "-o", MODEL);
    assert_int_equal(folder_count(MODEL), 1);
    REFUSED(1, "a new or an empty folder was expected", "export", WORK "/packed", "--layer", "a",
            "-o", WORK "/packed");
    /* an empty one does, and a name that ends with a slash */
    command_run_words((const char *const[]){FBQ_IMPORT, "export", WORK "/packed", "--layer", "a",
                                            "-o", ADAPTER "/", NULL},
                      &run);
    assert_int_equal(run.status, 0);
    assert_int_equal(folder_count(ADAPTER), 2);
    REFUSED(2, "is a file of packed layers; --adapter", "list", WORK "/packed", "--adapter", PEFT);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, fresh, removed)
    const struct CMUnitTest tests[] = {
        TEST(test_command_line), TEST(test_checkpoint), TEST(test_index),  TEST(test_kinds),
        TEST(test_adapter),      TEST(test_output),     TEST(test_export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
