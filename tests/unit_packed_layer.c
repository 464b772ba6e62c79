/* tests/unit_packed_layer.c: GPTQ layers with and without a sub-branch, packed, written and read,
 * are the same layers to the bit; what rounding A and B changes is said as it is.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fbq/host/half.h>
#include <math.h>
#include <packed_layer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/layer.h"

enum { MOST_N = 96, MOST_K = 512, MOST_R = 20, MOST_GROUPS = MOST_K / 32 };

static const char *const PATH = "unit_packed_layer.safetensors";
static uint64_t seed = 1;

static uint8_t codes[MOST_N * MOST_K], zeros[MOST_N * MOST_GROUPS];
static uint16_t scales[MOST_N * MOST_GROUPS], bias[MOST_N];
static float a[MOST_R * MOST_K], b[MOST_N * MOST_R];

static int below(int n)
{
    return (int)(random_bits(&seed) % (uint64_t)n);
}

static gptq_layer draw_layer(int n, int k, int bits, int group, int with_zeros, int with_bias)
{
    const int groups = group == FBQ_GROUP_ROW ? 1 : (k + group - 1) / group;
    for (int i = 0; i < n * k; i++)
        codes[i] = (uint8_t)below(1 << bits);
    for (int i = 0; i < n * groups; i++) {
        zeros[i] = (uint8_t)below(1 << bits);
        scales[i] = fbq_f16_of_f32((float)(1 + below(1000)) / 4096);
    }
    for (int i = 0; i < n; i++)
        bias[i] = fbq_f16_of_f32((float)random_normal(&seed));
    return (gptq_layer){
        .format = {bits, group, with_zeros ? FBQ_ZERO_CODE : FBQ_ZERO_NONE, FBQ_F16, FBQ_F16},
        .n = n,
        .k = k,
        .groups = groups,
        .version = 1,
        .codes = codes,
        .scales = scales,
        .zeros = with_zeros ? zeros : NULL,
        .bias = with_bias ? bias : NULL};
}

/* Numbers that `type` holds, or any when it is FBQ_F32. */
static peft_adapter draw_adapter(int n, int k, int r, fbq_type type)
{
    for (int i = 0; i < r * k + n * r; i++) {
        float *at = i < r * k ? &a[i] : &b[i - r * k];
        *at = (float)random_normal(&seed) / 8;
        if (type != FBQ_F32)
            *at = fbq_f32_of_word(type, fbq_word_of_f32(type, *at));
    }
    return (peft_adapter){n, k, r, 1, a, b};
}

static void judge(const packed_layer *p, const gptq_layer *l, const peft_adapter *x, fbq_type type)
{
    unpacked_layer u;
    import_error error;
    const size_t n = (size_t)l->n, k = (size_t)l->k, groups = (size_t)l->groups;
    if (packed_layer_unpack(p, &u, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    assert_true(u.layer.n == l->n && u.layer.k == l->k && u.layer.groups == l->groups);
    assert_true(u.layer.format.bits == l->format.bits && u.layer.format.group == l->format.group &&
                u.layer.format.zero == l->format.zero);
    assert_memory_equal(u.layer.codes, l->codes, n * k);
    assert_memory_equal(u.layer.scales, l->scales, 2 * n * groups);
    assert_true(!u.layer.zeros == !l->zeros && !u.layer.bias == !l->bias);
    if (l->zeros)
        assert_memory_equal(u.layer.zeros, l->zeros, n * groups);
    if (l->bias)
        assert_memory_equal(u.layer.bias, l->bias, 2 * n);
    assert_true(u.r == (x ? x->r : 0) && !u.a == !x && !u.b == !x);
    const uint16_t *a = u.a, *b = u.b;
    for (int64_t i = 0; x && i < x->r * x->k; i++)
        assert_int_equal(a[i], fbq_word_of_f32(type, x->a[i]));
    for (int64_t i = 0; x && i < x->n * x->r; i++)
        assert_int_equal(b[i], fbq_word_of_f32(type, x->b[i]));
    unpacked_layer_free(&u);
}

static void test_every_kind(void **state)
{
    (void)state;
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const char *const names[] = {"with.branch", "plain"};
    for (int i = 0; i < 120; i++) {
        const int n = 1 + below(MOST_N), k = 1 + below(MOST_K), r = 1 + below(MOST_R);
        const fbq_type type = i % 2 ? FBQ_BF16 : FBQ_F16;
        const gptq_layer layer =
            draw_layer(n, k, 2 + i % 3, groups[i / 3 % 5], i / 15 % 2, below(2));
        const peft_adapter adapter = draw_adapter(n, k, r, type);
        packed_layer made[2], found;
        safetensors_file *file;
        import_error error;
        if (packed_layer_make(&layer, &adapter, type, &made[0], &error) != IMPORT_OK ||
            packed_layer_make(&layer, NULL, type, &made[1], &error) != IMPORT_OK ||
            packed_file_write(PATH, names, made, 2, &error) != IMPORT_OK ||
            safetensors_open(PATH, &file, &error) != IMPORT_OK)
            fail_msg("case %d: %s", i, error.detail);
        assert_true(packed_file_is(file));
        for (int j = 0; j < 2; j++) {
            assert_true(made[j].factor_change == 0); /* nothing had to be rounded */
            judge(&made[j], &layer, j ? NULL : &adapter, type);
            if (packed_layer_find(file, names[j], &found, &error) != IMPORT_OK)
                fail_msg("case %d: %s", i, error.detail);
            judge(&found, &layer, j ? NULL : &adapter, type);
            packed_layer_free(&made[j]);
        }
        safetensors_close(file);
        remove(PATH);
    }
}

/* The change as it is defined, over the n x k matrices. */
static double change_of(const peft_adapter *x, fbq_type type)
{
    double changed = 0, whole = 0;
    for (int64_t n = 0; n < x->n; n++)
        for (int64_t k = 0; k < x->k; k++) {
            double before = 0, after = 0;
            for (int64_t r = 0; r < x->r; r++) {
                const float u = x->b[n * x->r + r], v = x->a[r * x->k + k];
                before += (double)u * v;
                after += (double)fbq_f32_of_word(type, fbq_word_of_f32(type, u)) *
                         fbq_f32_of_word(type, fbq_word_of_f32(type, v));
            }
            changed += (after - before) * (after - before);
            whole += before * before;
        }
    return sqrt(changed / whole);
}

static void test_rounding(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        const int n = 1 + below(MOST_N), k = 1 + below(200), r = 1 + below(MOST_R);
        const fbq_type type = i % 2 ? FBQ_BF16 : FBQ_F16;
        const gptq_layer layer = draw_layer(n, k, 4, 64, 0, 0);
        const peft_adapter adapter = draw_adapter(n, k, r, FBQ_F32);
        packed_layer p;
        import_error error;
        if (packed_layer_make(&layer, &adapter, type, &p, &error) != IMPORT_OK)
            fail_msg("%s", error.detail);
        const double expected = change_of(&adapter, type);
        assert_true(expected > 0 && expected < 0.01);
        if (!(fabs(p.factor_change - expected) <= 1e-6 * expected))
            fail_msg("case %d: a change of %g; %g was expected", i, p.factor_change, expected);
        packed_layer_free(&p);
    }
}

static void test_refused(void **state)
{
    (void)state;
    packed_layer p;
    import_error error;
    const gptq_layer layer = draw_layer(32, 64, 4, 32, 0, 0);
    peft_adapter adapter = draw_adapter(32, 64, 3, FBQ_F16);
    a[70] = 70000; /* beyond fp16, not beyond bf16 */
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_F16, &p, &error), IMPORT_ERR_VALUE);
    assert_non_null(strstr(error.detail, "lora_A times the adapter's scale is 70000"));
    assert_null(p.memory);
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_BF16, &p, &error), IMPORT_OK);
    packed_layer_free(&p);
    adapter.k = 63;
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_BF16, &p, &error), IMPORT_ERR_SHAPE);
    assert_non_null(strstr(error.detail, "32 x 63 weights; this one has 32 x 64"));
    assert_int_equal(packed_layer_make(&layer, NULL, FBQ_F32, &p, &error), IMPORT_ERR_ARGUMENT);
    assert_int_equal(packed_layer_make(NULL, NULL, FBQ_F16, &p, &error), IMPORT_ERR_ARGUMENT);
    codes[5] = 16;
    assert_int_equal(packed_layer_make(&layer, NULL, FBQ_F16, &p, &error), IMPORT_ERR_ARGUMENT);
    assert_non_null(strstr(error.detail, "codes[0][5] is 16"));
}

/* Layers that fbq holds and GPTQ's format does not. */
static void test_no_gptq(void **state)
{
    (void)state;
    static const struct {
        fbq_zero zero;
        fbq_type scale;
        int segments;
        const char *word;
    } cases[] = {{FBQ_ZERO_F16, FBQ_F16, 1, "fp16 numbers"},
                 {FBQ_ZERO_NONE, FBQ_BF16, 1, "bf16"},
                 {FBQ_ZERO_NONE, FBQ_F16, 2, "2 segments"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unpacked_layer u;
        import_error error;
        packed_layer p = {0};
        const fbq_format format = {4, 32, cases[i].zero, cases[i].scale, FBQ_F16};
        fbq_shape shape = fbq_shape_of(32, 64, 0);
        shape.segments = cases[i].segments;
        shape.segment[1].n = cases[i].segments == 2 ? 16 : 0;
        assert_int_equal(fbq_layout_of(&format, &shape, &p.layout, NULL), FBQ_OK);
        assert_int_equal(packed_layer_unpack(&p, &u, &error), IMPORT_ERR_UNSUPPORTED);
        assert_non_null(strstr(error.detail, cases[i].word));
        assert_null(u.layer.codes);
    }
}

/* A file whose tensors are those of `made`, but for what a case changes. */
enum { NO_WEIGHTS, NO_UP, NO_BRANCH, OTHER_UP, CUT, MAGIC, SWAPPED, TYPE, BIAS, CASES };

static void test_damaged(void **state)
{
    (void)state;
    static const import_status expected[CASES] = {
        [NO_WEIGHTS] = IMPORT_ERR_MISSING, [NO_UP] = IMPORT_ERR_VALUE,
        [NO_BRANCH] = IMPORT_ERR_MISSING,  [OTHER_UP] = IMPORT_ERR_VALUE,
        [CUT] = IMPORT_ERR_VALUE,          [MAGIC] = IMPORT_ERR_VALUE,
        [SWAPPED] = IMPORT_ERR_VALUE,      [TYPE] = IMPORT_ERR_SHAPE,
        [BIAS] = IMPORT_ERR_SHAPE,
    };
    packed_layer made, other;
    import_error error;
    const gptq_layer layer = draw_layer(32, 64, 4, 32, 1, 1);
    peft_adapter adapter = draw_adapter(32, 64, 3, FBQ_F16);
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_F16, &made, &error), IMPORT_OK);
    adapter.r = 2;
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_F16, &other, &error), IMPORT_OK);
    for (int i = -1; i < CASES; i++) {
        packed_layer wrong = made, found;
        safetensors_file *file;
        uint8_t *copy = malloc(made.parts.weights_bytes);
        assert_non_null(copy);
        memcpy(copy, made.parts.weights, made.parts.weights_bytes);
        wrong.parts.weights = i == NO_WEIGHTS ? NULL : copy;
        if (i == NO_UP || i == NO_BRANCH)
            wrong.parts.up = NULL;
        if (i == NO_BRANCH)
            wrong.parts.down = NULL;
        if (i == OTHER_UP) {
            wrong.parts.up = other.parts.up;
            wrong.parts.up_bytes = other.parts.up_bytes;
        }
        wrong.parts.weights_bytes -= i == CUT;
        copy[0] ^= i == MAGIC;
        if (i == SWAPPED) {
            wrong.parts.down = made.parts.up;
            wrong.parts.down_bytes = made.parts.up_bytes;
        }
        wrong.layout.n -= i == BIAS;
        assert_int_equal(packed_file_write(PATH, (const char *const[]){"m"}, &wrong, 1, &error),
                         IMPORT_OK);
        if (i == TYPE) { /* the same bytes, said to be signed */
            const safetensors_tensor t = {
                "m" PACKED_WEIGHTS,         SAFETENSORS_I8, 1,
                {made.parts.weights_bytes}, copy,           made.parts.weights_bytes};
            assert_int_equal(safetensors_write(PATH, &t, 1, NULL, 0, &error), IMPORT_OK);
        }
        assert_int_equal(safetensors_open(PATH, &file, &error), IMPORT_OK);
        const import_status status = packed_layer_find(file, "m", &found, &error);
        if (status != (i < 0 ? IMPORT_OK : expected[i]))
            fail_msg("case %d: \"%s\": %s", i, import_status_string(status), error.detail);
        assert_true(i < 0 || !found.parts.weights);
        safetensors_close(file);
        free(copy);
    }
    remove(PATH);
    packed_layer_free(&made);
    packed_layer_free(&other);
}

/* Numbers inside sound headers that GPTQ's format would not survive. */
static void test_damaged_numbers(void **state)
{
    (void)state;
    packed_layer p, other;
    unpacked_layer u;
    import_error error;
    const gptq_layer layer = draw_layer(16, 64, 2, FBQ_GROUP_ROW, 1, 0);
    zeros[0] = 0;
    assert_int_equal(packed_layer_make(&layer, NULL, FBQ_F16, &p, &error), IMPORT_OK);
    zeros[0] = 3;
    assert_int_equal(packed_layer_make(&layer, NULL, FBQ_F16, &other, &error), IMPORT_OK);
    /* the byte that differs has the zero point, and two bits above it that 2 bits leave 0 */
    size_t at = 0;
    uint8_t *bytes = p.memory, *others = other.memory;
    while (at < p.parts.weights_bytes && bytes[at] == others[at])
        at++;
    assert_true(at < p.parts.weights_bytes);
    assert_int_equal(packed_layer_unpack(&p, &u, &error), IMPORT_OK);
    unpacked_layer_free(&u);
    bytes[at] |= (uint8_t)((bytes[at] ^ others[at]) << 2);
    assert_int_equal(packed_layer_unpack(&p, &u, &error), IMPORT_ERR_VALUE);
    assert_non_null(strstr(error.detail, "zero point of row 0"));
    assert_null(u.layer.codes);
    packed_layer_free(&p);
    packed_layer_free(&other);
    scales[3] = 0x7c00;
    assert_int_equal(packed_layer_make(&layer, NULL, FBQ_F16, &p, &error), IMPORT_OK);
    assert_int_equal(packed_layer_unpack(&p, &u, &error), IMPORT_ERR_VALUE);
    assert_non_null(strstr(error.detail, "scale of row 3"));
    packed_layer_free(&p);
}

/* A and B may be exchanged for those of another type; the weights' header keeps the old one. */
static void test_exchanged_branch(void **state)
{
    (void)state;
    const char *name = "m";
    packed_layer made, other, found;
    safetensors_file *file;
    import_error error;
    const gptq_layer layer = draw_layer(32, 64, 4, 32, 0, 0);
    const peft_adapter adapter = draw_adapter(32, 64, 3, FBQ_BF16);
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_F16, &made, &error), IMPORT_OK);
    assert_int_equal(packed_layer_make(&layer, &adapter, FBQ_BF16, &other, &error), IMPORT_OK);
    packed_layer mixed = other;
    mixed.parts.weights = made.parts.weights;
    assert_int_equal(packed_file_write(PATH, &name, &mixed, 1, &error), IMPORT_OK);
    assert_int_equal(safetensors_open(PATH, &file, &error), IMPORT_OK);
    assert_int_equal(packed_layer_find(file, name, &found, &error), IMPORT_OK);
    assert_int_equal(found.layout.format.factor_type, FBQ_BF16);
    judge(&found, &layer, &adapter, FBQ_BF16);
    safetensors_close(file);
    remove(PATH);
    packed_layer_free(&made);
    packed_layer_free(&other);
}

/* From a file to what fbq_prepare takes: docs/import.md shows these lines. */
static void must_be_run(int bits, fbq_type type)
{
    static const fbq_gpu gpu = {"a GPU of sm_90", 90, 132, 232448, 233472, 65536};
    const char *name = "model.layers.0.self_attn.q_proj";
    packed_layer made;
    const gptq_layer drawn = draw_layer(96, 512, bits, 128, 1, 1);
    const peft_adapter adapter = draw_adapter(96, 512, 16, type);
    import_error error;
    assert_int_equal(packed_layer_make(&drawn, &adapter, type, &made, &error), IMPORT_OK);
    assert_int_equal(packed_file_write(PATH, &name, &made, 1, &error), IMPORT_OK);
    packed_layer_free(&made);

    safetensors_file *file;
    packed_layer layer;
    if (safetensors_open(PATH, &file, &error) != IMPORT_OK ||
        packed_layer_find(file, name, &layer, &error) != IMPORT_OK)
        fail_msg("%s", error.detail);
    const fbq_problem problem = {.format = layer.layout.format,
                                 .shape = layer.layout.shape,
                                 .x_type = FBQ_F16,
                                 .y_type = FBQ_F16,
                                 .m_max = 8};
    fbq_pick pick;
    fbq_error why;
    for (int kernel = 0; kernel < FBQ_KERNELS; kernel++)
        if (fbq_pick_default(&problem, &gpu, (fbq_kernel)kernel, &pick, &why) != FBQ_OK)
            fail_msg("%s", why.detail);
    assert_int_equal(layer.parts.weights_bytes, layer.layout.weights_bytes);
    assert_int_equal(layer.parts.down_bytes, layer.layout.down_bytes);
    assert_int_equal(layer.parts.up_bytes, layer.layout.up_bytes);
    safetensors_close(file);
    remove(PATH);
}

static void test_problem(void **state)
{
    (void)state;
    for (int bits = 2; bits <= 4; bits++) {
        must_be_run(bits, FBQ_F16);
        must_be_run(bits, FBQ_BF16);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind), cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_no_gptq),
        cmocka_unit_test(test_damaged),    cmocka_unit_test(test_damaged_numbers),
        cmocka_unit_test(test_problem),    cmocka_unit_test(test_exchanged_branch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
