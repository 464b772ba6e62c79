/* source.c: weights and activations of a real model.
 *
 * The text is cut in three by position: calibration takes tokens from its start, held-out tokens
 * are its last ones, and what lies between is left for choosing hyperparameters
 * (docs/calibration.md).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L /* access */
#include "source.h"

#include <model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tokeniser.h>
#include <unistd.h>

#define MOST_HELDOUT 16384

static char *read_text(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long end = -1;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        end = ftell(file);
    if (end >= 0 && fseek(file, 0, SEEK_SET) == 0)
        text = malloc((size_t)end + 1);
    *length = text != NULL ? fread(text, 1, (size_t)end, file) : 0;
    if (text != NULL && *length != (size_t)end) {
        free(text);
        text = NULL;
    }
    if (file != NULL)
        fclose(file);
    return text;
}

/* The part of tokens ids[0 .. count) that are not among seen[0 .. seen_count). */
static double unseen_part(const int32_t *seen, size_t seen_count, const int32_t *ids, size_t count,
                          int32_t vocabulary)
{
    unsigned char *known = calloc((size_t)vocabulary, 1);
    size_t unseen = 0;
    if (known == NULL)
        return -1;
    for (size_t i = 0; i < seen_count; i++)
        known[seen[i]] = 1;
    for (size_t i = 0; i < count; i++)
        unseen += !known[ids[i]];
    free(known);
    return (double)unseen / (double)count;
}

static gguf_status take_activations(const gguf_file *file, const int32_t *ids, size_t count,
                                    const arguments *a, source *s, gguf_error *error)
{
    const size_t last = count / 4 < MOST_HELDOUT ? count / 4 : MOST_HELDOUT;
    int64_t width;
    if (last < 16 || count - last < (size_t)a->tokens) {
        snprintf(error->detail, sizeof error->detail,
                 "the text has %zu tokens, %zu of them held out: too few for --tokens %d", count,
                 last, a->tokens);
        return error->status = GGUF_ERR_VALUE;
    }
    s->calibration_tokens = a->tokens;
    s->heldout_tokens = (int64_t)last;
    gguf_status status =
        model_first_input(file, ids, (size_t)a->tokens, &s->calibration, &width, error);
    if (status == GGUF_OK)
        status = model_first_input(file, ids + count - last, last, &s->heldout, &width, error);
    if (status == GGUF_OK && width != s->k) {
        snprintf(error->detail, sizeof error->detail,
                 "the layer takes %lld inputs, the embeddings have %lld", (long long)s->k,
                 (long long)width);
        status = error->status = GGUF_ERR_VALUE;
    }
    return status;
}

static gguf_status read_model(const char *model, const char *text, size_t length,
                              const arguments *a, source *s, gguf_error *error)
{
    gguf_file *file = NULL;
    tokeniser *t = NULL;
    int32_t *ids = NULL;
    size_t count = 0;
    char name[32];
    snprintf(name, sizeof name, "blk.0.attn_%s.weight", a->layer);
    gguf_status status = gguf_open(model, &file, error);
    if (status == GGUF_OK)
        status = model_matrix(file, name, &s->w, &s->n, &s->k, error);
    if (status == GGUF_OK)
        status = tokeniser_open(file, &t, error);
    if (status == GGUF_OK)
        status = tokeniser_encode(t, text, length, &ids, &count, NULL, error);
    if (status == GGUF_OK)
        status = take_activations(file, ids, count, a, s, error);
    if (status == GGUF_OK) {
        s->unseen = unseen_part(ids, (size_t)a->tokens, ids + count - s->heldout_tokens,
                                (size_t)s->heldout_tokens, tokeniser_vocabulary(t));
        snprintf(s->description, sizeof s->description,
                 "%s of %s (dequantised: its weights lie on a 4-bit grid of groups of 32); inputs "
                 "are RMSNorm of the token embeddings, as in the model itself",
                 name, strrchr(model, '/') != NULL ? strrchr(model, '/') + 1 : model);
    }
    free(ids);
    tokeniser_close(t);
    gguf_close(file);
    return status;
}

int source_open(const arguments *a, source *s)
{
    const char *model = a->model != NULL ? a->model : DEFAULT_MODEL;
    const char *path = a->text != NULL ? a->text : DEFAULT_TEXT;
    size_t length;
    gguf_error error = {0};
    *s = (source){0};
    if (a->model == NULL && a->text == NULL &&
        (access(model, R_OK) != 0 || access(path, R_OK) != 0)) {
        if (source_generate(a->tokens, s))
            return 1;
        fprintf(stderr, "fbq-demo: no memory for a generated layer\n");
        source_free(s);
        return 0;
    }
    char *text = read_text(path, &length);
    if (text == NULL) {
        fprintf(stderr, "fbq-demo: %s: cannot be read; scripts/fetch_model.sh fetches a text\n",
                path);
        return 0;
    }
    const gguf_status status = read_model(model, text, length, a, s, &error);
    free(text);
    if (status != GGUF_OK) {
        fprintf(stderr, "fbq-demo: %s: %s: %s\n", model, gguf_status_string(status), error.detail);
        source_free(s);
        return 0;
    }
    return 1;
}

void source_free(source *s)
{
    free(s->w);
    free(s->calibration);
    free(s->heldout);
    *s = (source){0};
}
