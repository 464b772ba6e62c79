/* problems.c: see problems.h.
 *
 * Sizes: the models' own config.json (hidden_size, intermediate_size, and num_key_value_heads times
 * the size of a head).
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "problems.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int hidden, key_value, intermediate;
} MODELS[] = {
    {"llama-2-7b", 4096, 4096, 11008}, {"llama-2-13b", 5120, 5120, 13824},
    {"llama-3-8b", 4096, 1024, 14336}, {"llama-3-70b", 8192, 1024, 28672},
    {"qwen2.5-7b", 3584, 512, 18944},  {"mistral-7b", 4096, 1024, 14336},
    {"smollm2-135m", 576, 192, 1536},
};

enum { COUNT = sizeof MODELS / sizeof MODELS[0] };

/* q and o; k and v; q, k and v in one call; gate and up; both in one call; down. */
enum { LAYERS = 6 };

const char *problems_preset(int index)
{
    return index < COUNT ? MODELS[index].name : NULL;
}

static void segment(fbq_shape *shape, int64_t n, int64_t r)
{
    shape->segment[shape->segments].n = n;
    shape->segment[shape->segments++].r = r;
}

/* One of a model's layers. */
static fbq_shape layer_of(int model, int layer, int64_t r)
{
    const int hidden = MODELS[model].hidden, key_value = MODELS[model].key_value,
              intermediate = MODELS[model].intermediate;
    fbq_shape shape;
    memset(&shape, 0, sizeof shape);
    shape.k = layer == 5 ? intermediate : hidden;
    segment(&shape, layer == 1 ? key_value : layer == 3 || layer == 4 ? intermediate : hidden, r);
    if (layer == 2) {
        segment(&shape, key_value, r);
        segment(&shape, key_value, r);
    } else if (layer == 4) {
        segment(&shape, intermediate, r);
    }
    return shape;
}

static int shape_same(const fbq_shape *a, const fbq_shape *b)
{
    int same = a->k == b->k && a->segments == b->segments;
    for (int i = 0; i < a->segments && same; i++)
        same = a->segment[i].n == b->segment[i].n && a->segment[i].r == b->segment[i].r;
    return same;
}

/* The largest of the bucket that m is in. */
static int bucket(int m)
{
    return m == 1 ? 1 : m <= 4 ? 4 : m <= 8 ? 8 : 16;
}

static int known(const fbq_problem *list, int count, const fbq_problem *p)
{
    for (int i = 0; i < count; i++)
        if (list[i].m_max == p->m_max && shape_same(&list[i].shape, &p->shape))
            return 1;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const fbq_problem *x = a, *y = b;
    const fbq_shape *s[2] = {&x->shape, &y->shape};
    int64_t size[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < s[i]->segments; j++)
            size[i] += s[i]->segment[j].n * s[i]->k;
    if (size[0] != size[1])
        return size[0] < size[1] ? -1 : 1;
    if (s[0]->k != s[1]->k)
        return s[0]->k < s[1]->k ? -1 : 1;
    return x->m_max - y->m_max;
}

fbq_problem *problems_of(const options *o, int *count)
{
    const int layers = o->preset >= 0 ? LAYERS : 1;
    fbq_problem *list = calloc((size_t)(layers * o->ms), sizeof *list);
    *count = 0;
    for (int i = 0; i < layers && list; i++)
        for (int j = 0; j < o->ms; j++) {
            fbq_problem *p = &list[*count];
            *p = o->problem;
            p->m_max = bucket(o->m[j]);
            if (o->preset >= 0)
                p->shape = layer_of(o->preset, i, o->problem.shape.segment[0].r);
            *count += !known(list, *count, p);
        }
    if (list)
        qsort(list, (size_t)*count, sizeof *list, compare);
    return list;
}
