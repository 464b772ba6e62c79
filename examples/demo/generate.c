/* generate.c: a layer for machines that cannot fetch the model.
 *
 * What makes real layers hard is imitated: weights with heavy tails, inputs that live mostly in a
 * few directions (a power law), and a few channels that are much louder than the rest.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "source.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SIZE 576
#define DIRECTIONS 192
#define HELDOUT 4096

static uint64_t bits(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double normal(uint64_t *state)
{
    const double u = (double)((bits(state) >> 11) + 1) / 9007199254740992.0;
    const double v = (double)(bits(state) >> 11) / 9007199254740992.0;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static void fill_inputs(uint64_t *state, const float *directions, int64_t tokens, float *x)
{
    for (int64_t t = 0; t < tokens; t++, x += SIZE) {
        for (int i = 0; i < SIZE; i++)
            x[i] = (float)normal(state);
        for (int j = 0; j < DIRECTIONS; j++) {
            const float c = (float)(2 * normal(state) / sqrt(1 + j)); /* variance falls as 1 / j */
            for (int i = 0; i < SIZE; i++)
                x[i] += c * directions[j * SIZE + i];
        }
        for (int i = 7; i < SIZE; i += 96)
            x[i] *= 8; /* outlier channels */
    }
}

int source_generate(int64_t tokens, source *s)
{
    uint64_t state = 1;
    float *directions = malloc(sizeof *directions * DIRECTIONS * SIZE);
    *s = (source){.n = SIZE,
                  .k = SIZE,
                  .calibration_tokens = tokens,
                  .heldout_tokens = HELDOUT,
                  .unseen = 1,
                  .generated = 1};
    s->w = malloc(sizeof *s->w * SIZE * SIZE);
    s->calibration = malloc(sizeof *s->w * (size_t)tokens * SIZE);
    s->heldout = malloc(sizeof *s->w * HELDOUT * SIZE);
    const int ok =
        directions != NULL && s->w != NULL && s->calibration != NULL && s->heldout != NULL;
    if (ok) {
        for (int i = 0; i < SIZE * SIZE; i++) {
            /* A normal number over the root of a chi-square with 5 degrees: Student's t. */
            double square = 0;
            const double top = normal(&state);
            for (int j = 0; j < 5; j++) {
                const double part = normal(&state);
                square += part * part;
            }
            s->w[i] = (float)(0.04 * top / sqrt(square / 5));
        }
        for (int i = 0; i < DIRECTIONS * SIZE; i++)
            directions[i] = (float)normal(&state);
        fill_inputs(&state, directions, tokens, s->calibration);
        fill_inputs(&state, directions, HELDOUT, s->heldout);
        snprintf(s->description, sizeof s->description,
                 "GENERATED, not a real model: %d x %d weights with heavy tails, inputs with a "
                 "power-law spectrum and outlier channels (scripts/fetch_model.sh fetches the real "
                 "one)",
                 SIZE, SIZE);
    }
    free(directions);
    return ok;
}
