/* What every consumer project builds: pack a small layer, read the header back, and compare the
 * reference with the sum written out here. All numbers are small multiples of powers of two, so
 * that both are exact. Valid C11 and C++17.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <fbq/fbq.h>

#include <stdio.h>
#include <stdlib.h>

enum { N = 5, K = 70, R = 3, GROUP = 32, GROUPS = (K + GROUP - 1) / GROUP, M = 2 };

#define HALF_ONE 0x3C00
#define HALF_TWO 0x4000
#define HALF_HALF 0x3800

static int failed(const char *call, fbq_status status, const fbq_error *error)
{
    if (status == FBQ_OK)
        return 0;
    fprintf(stderr, "%s: %s: %s\n", call, fbq_status_string(status), error->detail);
    return 1;
}

static void *part_of(size_t bytes)
{
    void *memory = malloc(bytes);
    if (!memory)
        exit(2);
    return memory;
}

int main(void)
{
    static uint8_t codes[N * K], zeros[N * GROUPS];
    static uint16_t scales[N * GROUPS], a[R * K], b[N * R];
    static double x[M * K], y[M * N];
    fbq_format format = {4, GROUP, FBQ_ZERO_CODE, FBQ_F16, FBQ_F16};
    fbq_shape shape = fbq_shape_of(N, K, R);
    fbq_error error = {FBQ_OK, 0, ""};
    fbq_layout layout, read;
    fbq_part part;
    fbq_parts parts;
    void *weights, *down, *up;
    int i, j, k, m, n;

    if (fbq_version() != FBQ_VERSION) {
        fprintf(stderr, "header %d, implementation %d\n", FBQ_VERSION, fbq_version());
        return 1;
    }
    for (i = 0; i < N * K; i++)
        codes[i] = (uint8_t)(i * 7 % 16);
    for (i = 0; i < N * GROUPS; i++) {
        zeros[i] = (uint8_t)(i % 16);
        scales[i] = i % 2 ? HALF_HALF : HALF_TWO;
    }
    for (i = 0; i < R * K; i++)
        a[i] = i % 3 ? HALF_ONE : HALF_HALF;
    for (i = 0; i < N * R; i++)
        b[i] = i % 2 ? HALF_ONE : HALF_TWO;
    for (i = 0; i < M * K; i++)
        x[i] = i % 11 - 5;

    if (failed("fbq_layout_of", fbq_layout_of(&format, &shape, &layout, &error), &error))
        return 1;
    weights = part_of(layout.weights_bytes);
    down = part_of(layout.down_bytes);
    up = part_of(layout.up_bytes);
    if (failed(
            "fbq_pack_weights",
            fbq_pack_weights(&layout, codes, scales, zeros, weights, layout.weights_bytes, &error),
            &error) ||
        failed("fbq_pack_down", fbq_pack_down(&layout, a, down, layout.down_bytes, &error),
               &error) ||
        failed("fbq_pack_up", fbq_pack_up(&layout, b, R, up, layout.up_bytes, &error), &error) ||
        failed("fbq_layout_read",
               fbq_layout_read(weights, layout.weights_bytes, &part, &read, &error), &error))
        return 1;
    if (part != FBQ_PART_WEIGHTS || read.n != N || read.shape.k != K) {
        fprintf(stderr, "the header read back says part %d, %d x %d\n", (int)part, (int)read.n,
                (int)read.shape.k);
        return 1;
    }
    parts.weights = weights;
    parts.weights_bytes = layout.weights_bytes;
    parts.down = down;
    parts.down_bytes = layout.down_bytes;
    parts.up = up;
    parts.up_bytes = layout.up_bytes;
    if (failed("fbq_reference", fbq_reference(&parts, 0, N, M, x, y, NULL, &error), &error))
        return 1;

    for (m = 0; m < M; m++) {
        for (n = 0; n < N; n++) {
            double sum = 0;
            for (k = 0; k < K; k++) {
                int group = n * GROUPS + k / GROUP;
                double scale = scales[group] == HALF_HALF ? 0.5 : 2;
                sum += scale * (codes[n * K + k] - zeros[group]) * x[m * K + k];
            }
            for (j = 0; j < R; j++) {
                double t = 0;
                for (k = 0; k < K; k++)
                    t += (a[j * K + k] == HALF_ONE ? 1 : 0.5) * x[m * K + k];
                sum += t * (b[n * R + j] == HALF_ONE ? 1 : 2);
            }
            if (sum != y[m * N + n]) {
                fprintf(stderr, "y[%d][%d] is %g, expected %g\n", m, n, y[m * N + n], sum);
                return 1;
            }
        }
    }
    free(weights);
    free(down);
    free(up);
    printf("fbq %s: %d x %d, rank %d, %zu bytes: the reference agrees\n", FBQ_VERSION_STRING, N, K,
           R, layout.weights_bytes);
    return 0;
}
