/* tests/gpu_linear.c: the C API on a GPU, through NVRTC, against the double reference.
 *
 *     gpu_linear [--shard I/N] [--ptx CAPABILITY]
 *
 * Every claim of numerics.md is checked on every input kind; outputs are poisoned and guarded.
 * gpu_formats does so for other bits and types.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "support/launch.h"
#include "support/shard.h"

/* The numeric claims, on real sizes: every input kind, M = 1 .. 8. */
static void test_inputs(void **state)
{
    static const int64_t sizes[][3] = {
        {4096, 4096, 128}, {4096, 11008, 128}, {1000, 14336, 96}, {11008, 4096, 0}};
    static const int groups[] = {32, 128, FBQ_GROUP_ROW};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (size_t g = 0; g < 3; g++) {
            if (!shard_mine())
                continue;
            fbq_problem p = {{4, groups[g], (fbq_zero)(g % 3), FBQ_F16, FBQ_F16},
                             fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]),
                             FBQ_F16,
                             FBQ_F16,
                             8,
                             0,
                             0};
            layer l = layer_make(&p, LAYER_RANDOM, 11 + i);
            device_layer d = device_layer_make(&l);
            for (p.launches = sizes[i][2] ? 1 : 0; p.launches <= (sizes[i][2] ? 2 : 0);
                 p.launches++) {
                fbq_plan *plan = launch_plan(&p, NULL, NULL);
                for (int kind = 0; kind < INPUT_KINDS; kind++)
                    for (int64_t m = 1; m <= 8; m += m == 1 ? 2 : 5) {
                        launch how = {m, 0, 0, 0, 0, 0};
                        launch_check(plan, &l, &d, &how, (input_kind)kind, 100 + (uint64_t)m, 1);
                    }
                fbq_plan_free(plan);
            }
            device_layer_free(&d);
            layer_free(&l);
        }
}

/* Ragged sizes, all groups and zero kinds, odd ranks, strides, shifts, bias, residual, fp32 y. */
static void test_shapes(void **state)
{
    static const int groups[] = {32, 64, 128, 256, FBQ_GROUP_ROW};
    static const int64_t sizes[][3] = {
        {1, 1, 0},       {16, 64, 1},     {37, 65, 15},   {100, 100, 16}, {130, 576, 17},
        {48, 1000, 128}, {17, 4096, 130}, {5, 12345, 33}, {300, 2048, 0}, {64, 28672, 8}};
    (void)state;
    for (size_t g = 0; g < 5; g++)
        for (int zero = 0; zero < 3; zero++)
            for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                if (!shard_mine())
                    continue;
                fbq_problem p = {{4, groups[g], (fbq_zero)zero, FBQ_F16, FBQ_F16},
                                 fbq_shape_of(sizes[i][0], sizes[i][1], sizes[i][2]),
                                 FBQ_F16,
                                 i % 3 == 2 ? FBQ_F32 : FBQ_F16,
                                 8,
                                 0,
                                 0};
                layer l = layer_make(&p, LAYER_RANDOM, 1000 + i);
                device_layer d = device_layer_make(&l);
                fbq_plan *plan = launch_plan(&p, NULL, NULL);
                for (int64_t m = 1; m <= 8; m++) {
                    int v = (int)(m + (int64_t)i);
                    launch how = {m,
                                  v % 3 == 1 ? sizes[i][1] + 3 : 0,
                                  v % 3 == 2 ? sizes[i][0] + 5 : 0,
                                  (size_t)(v % 4 == 3 ? 2 : 0),
                                  v % 2,
                                  v % 5 == 0};
                    launch_check(plan, &l, &d, &how, v % 2 ? INPUT_NORMAL : INPUT_MEAN,
                                 7 + (uint64_t)v, sizes[i][1] > 64);
                }
                fbq_plan_free(plan);
                device_layer_free(&d);
                layer_free(&l);
            }
}

/* Other picks than the default, each of which splits the sums differently. */
static void test_picks(void **state)
{
    static const char *const fused[] = {"fused warps=1 chunks=2 blocks_per_sm=3 stages=2 tiles=1",
                                        "fused warps=2 chunks=4 blocks_per_sm=2 stages=3 tiles=2",
                                        "fused warps=3 chunks=4 blocks_per_sm=2 stages=4 tiles=1",
                                        "fused warps=4 chunks=2 blocks_per_sm=1 stages=2 tiles=3",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=3 tiles=2",
                                        "fused warps=16 chunks=2 blocks_per_sm=1 stages=2 tiles=1",
                                        "fused warps=4 chunks=4 blocks_per_sm=2 stages=2 tiles=1 "
                                        "slices=33",
                                        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=3 "
                                        "slices=1",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=3 tiles=2 "
                                        "slices=9",
                                        "fused warps=8 chunks=4 blocks_per_sm=1 stages=2 tiles=3 "
                                        "splits=2",
                                        "fused warps=4 chunks=2 blocks_per_sm=2 stages=3 tiles=1 "
                                        "splits=5",
                                        "fused warps=8 chunks=2 blocks_per_sm=1 stages=2 tiles=4 "
                                        "splits=8 slices=4"};
    static const char *const down[] = {"down warps=1 chunks=1 slices=1",
                                       "down warps=3 chunks=2 slices=5",
                                       "down warps=16 chunks=4 slices=64"};
    (void)state;
    for (size_t i = 0; i < sizeof fused / sizeof fused[0]; i++) {
        if (!shard_mine())
            continue;
        fbq_problem p = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                         fbq_shape_of(5000, 2100, 40), /* several groups of tiles a block */
                         FBQ_F16,
                         FBQ_F16,
                         8,
                         0,
                         0};
        fbq_pick f, d;
        fbq_error error;
        assert_int_equal(fbq_pick_parse(fused[i], &f, &error), FBQ_OK);
        assert_int_equal(fbq_pick_parse(down[i % 3], &d, &error), FBQ_OK);
        layer l = layer_make(&p, LAYER_RANDOM, 77);
        device_layer dl = device_layer_make(&l);
        fbq_plan *plan = launch_plan(&p, &d, &f);
        for (int64_t m = 1; m <= 8; m += 7) {
            launch how = {m, 0, 0, 0, 1, 0};
            launch_check(plan, &l, &dl, &how, INPUT_NORMAL, 9, 1);
        }
        fbq_plan_free(plan);
        device_layer_free(&dl);
        layer_free(&l);
    }
}

/* A captured graph replays to the same bits, and a launch takes the layer without its branch. */
static void test_graph(void **unused)
{
    (void)unused;
    if (!shard_mine())
        return;
    fbq_problem p = {{4, 128, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16},
                     fbq_shape_of(512, 1024, 64),
                     FBQ_F16,
                     FBQ_F16,
                     1,
                     0,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 21);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = launch_plan(&p, NULL, NULL);
    uint16_t x[1024], eager[512], replayed[512];
    input_fill(FBQ_F16, x, 1, 1024, 1024, INPUT_NORMAL, 4);
    device_buffer dx = device_copy(x, sizeof x, 0), dy = device_make(sizeof eager, 0);
    device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    device_buffer state = launch_state(plan);
    fbq_call call = {1, dx.data, 0, d.weights.data, d.down.data,   d.up.data,  NULL,        NULL,
                     0, dy.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "eager");
    assert_true(device_fetch(&dy, eager));
    device_must(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream");
    device_must(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    assert_int_equal(fbq_linear(plan, &call, stream), FBQ_OK);
    device_must(cudaStreamEndCapture(stream, &graph), "end capture");
    device_must(cudaGraphInstantiate(&exec, graph, 0), "instantiate");
    for (int i = 0; i < 50; i++) {
        device_poison(&dy);
        device_must(cudaDeviceSynchronize(), "poison");
        device_must(cudaGraphLaunch(exec, stream), "replay");
        device_must(cudaStreamSynchronize(stream), "replay");
        assert_true(device_fetch(&dy, replayed));
        assert_memory_equal(eager, replayed, sizeof eager);
    }
    call.down = call.up = NULL;
    assert_int_equal(fbq_linear(plan, &call, stream), FBQ_OK);
    device_must(cudaStreamSynchronize(stream), "without the branch");
    assert_true(device_fetch(&dy, replayed));
    layer bare = l;
    bare.parts.down = bare.parts.up = NULL;
    verdict v = layer_judge(&bare, 0, 512, 1, x, 1024, NULL, NULL, 0, replayed, 512);
    assert_true(v.bad == 0 && v.norm < 1e-3);
    device_must(cudaGraphExecDestroy(exec), "destroy");
    device_must(cudaGraphDestroy(graph), "destroy");
    device_must(cudaStreamDestroy(stream), "destroy");
    device_free(&dx);
    device_free(&dy);
    device_free(&scratch);
    device_free(&state);
    fbq_plan_free(plan);
    device_layer_free(&d);
    layer_free(&l);
}

/* A state that was never zeroed is seen: y is NaN. */
static void test_state(void **unused)
{
    (void)unused;
    if (!shard_mine())
        return;
    fbq_problem p = {{4, 64, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16},
                     fbq_shape_of(512, 1024, 16),
                     FBQ_F16,
                     FBQ_F16,
                     2,
                     1,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 21);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = launch_plan(&p, NULL, NULL);
    uint16_t x[1024], y[512];
    input_fill(FBQ_F16, x, 1, 1024, 1024, INPUT_NORMAL, 4);
    device_buffer dx = device_copy(x, sizeof x, 0), dy = device_make(sizeof y, 0);
    device_buffer state = device_make(fbq_plan_state_bytes(plan), 0);
    fbq_call call = {1, dx.data, 0, d.weights.data, d.down.data, d.up.data,  NULL,        NULL,
                     0, dy.data, 0, NULL,           0,           state.data, state.bytes, 0};
    for (int zeroed = 0; zeroed < 2; zeroed++) {
        if (zeroed)
            device_must(cudaMemset(state.data, 0, state.bytes), "zero the state");
        else
            device_must(cudaMemset(state.data, 0x5a, state.bytes), "spoil the state");
        assert_int_equal(fbq_linear(plan, &call, NULL), FBQ_OK);
        device_must(cudaDeviceSynchronize(), "launch");
        assert_true(device_fetch(&dy, y));
        for (int i = 0; i < 512; i++)
            assert_int_equal((y[i] & 0x7fff) > 0x7c00, !zeroed);
    }
    device_free(&dx);
    device_free(&dy);
    device_free(&state);
    fbq_plan_free(plan);
    device_layer_free(&d);
    layer_free(&l);
}

/* What a launch refuses. */
static void test_bad_calls(void **unused)
{
    (void)unused;
    if (!shard_mine())
        return;
    fbq_problem p = {{4, 128, FBQ_ZERO_F16, FBQ_F16, FBQ_F16},
                     fbq_shape_of(32, 128, 16),
                     FBQ_F16,
                     FBQ_F16,
                     2,
                     2,
                     0};
    layer l = layer_make(&p, LAYER_RANDOM, 1);
    device_layer d = device_layer_make(&l);
    fbq_plan *plan = launch_plan(&p, NULL, NULL);
    device_buffer x = device_make(1024, 0), y = device_make(1024, 0);
    device_buffer scratch = device_make(fbq_plan_scratch_bytes(plan), 0);
    device_buffer state = launch_state(plan);
    const fbq_call good = {
        1, x.data, 0, d.weights.data, d.down.data,   d.up.data,  NULL,        NULL,
        0, y.data, 0, scratch.data,   scratch.bytes, state.data, state.bytes, 0};
    fbq_call c;
#define REFUSED(status, change) \
    c = good;                   \
    change;                     \
    assert_int_equal(fbq_linear(plan, &c, NULL), status)
    assert_int_equal(fbq_linear(NULL, &good, NULL), FBQ_ERR_NULL);
    assert_int_equal(fbq_linear(plan, NULL, NULL), FBQ_ERR_NULL);
    REFUSED(FBQ_ERR_NULL, c.x = NULL);
    REFUSED(FBQ_ERR_NULL, c.y = NULL);
    REFUSED(FBQ_ERR_NULL, c.weights = NULL);
    REFUSED(FBQ_ERR_NULL, c.up = NULL);
    REFUSED(FBQ_ERR_NULL, c.scratch = NULL);
    REFUSED(FBQ_ERR_SIZE, c.m = 0);
    REFUSED(FBQ_ERR_SIZE, c.m = 3);
    REFUSED(FBQ_ERR_SIZE, c.x_stride = 127);
    REFUSED(FBQ_ERR_SIZE, c.y_stride = 31);
    REFUSED(FBQ_ERR_ALIGNMENT, c.weights = d.weights.data + 16);
    REFUSED(FBQ_ERR_ALIGNMENT, c.x = x.data + 1);
    REFUSED(FBQ_ERR_ALIGNMENT, c.y = y.data + 1);
    REFUSED(FBQ_ERR_ALIGNMENT, c.scratch = scratch.data + 8);
    REFUSED(FBQ_ERR_BUFFER, c.scratch_bytes = 16);
    assert_int_equal(fbq_linear(plan, &good, NULL), FBQ_OK);
    device_must(cudaDeviceSynchronize(), "good call");
    fbq_plan_free(plan);
    device_free(&x);
    device_free(&y);
    device_free(&scratch);
    device_free(&state);
    device_layer_free(&d);
    layer_free(&l);
}

int main(int argc, char **argv)
{
    const int status = shard_open(argc, argv);
    if (status)
        return status;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inputs), cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_picks),  cmocka_unit_test(test_graph),
        cmocka_unit_test(test_state),  cmocka_unit_test(test_bad_calls)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    launch_print_worst();
    shard_close();
    return failed;
}
