/* layer_names.c: the names of layers in a file; see checkpoint.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* As strcmp, but runs of digits compare as numbers. */
static int compare(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            const size_t p = strspn(a, "0123456789"), q = strspn(b, "0123456789");
            const size_t least = p < q ? p : q;
            const int order = p != q ? (p < q ? -1 : 1) : strncmp(a, b, least);
            if (order)
                return order;
            a += p;
            b += q;
        } else if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        } else {
            a++;
            b++;
        }
    }
    return *a ? 1 : *b ? -1 : 0;
}

static int compare_pointers(const void *a, const void *b)
{
    return compare(*(char *const *)a, *(char *const *)b);
}

/* A copy of the tensor's name without `before` and a suffix; NULL when it has no such suffix or
 * there is no memory, which *failed says. */
static char *name_of(const char *tensor, const char *before, const char *const *suffixes,
                     int *failed)
{
    if (!strncmp(tensor, before, strlen(before)))
        tensor += strlen(before);
    const size_t length = strlen(tensor);
    for (; *suffixes; suffixes++) {
        const size_t end = strlen(*suffixes);
        if (length <= end || strcmp(tensor + length - end, *suffixes) != 0)
            continue;
        char *name = malloc(length - end + 1);
        *failed = !name;
        if (name) {
            memcpy(name, tensor, length - end);
            name[length - end] = 0;
        }
        return name;
    }
    return NULL;
}

import_status layer_names_of(const safetensors_file *file, const char *before,
                             const char *const *suffixes, layer_names *names, import_error *error)
{
    const size_t tensors = safetensors_count(file);
    int failed = 0;
    size_t kept = 0;
    names->count = 0;
    names->name = calloc(tensors + 1, sizeof(char *));
    if (!names->name)
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu names", tensors);
    for (size_t i = 0; i < tensors && !failed; i++) {
        char *name = name_of(safetensors_at(file, i)->name, before, suffixes, &failed);
        if (name)
            names->name[names->count++] = name;
    }
    if (failed) {
        layer_names_free(names);
        return import_fail(error, IMPORT_ERR_MEMORY, "no memory for %zu names", tensors);
    }
    qsort(names->name, names->count, sizeof(char *), compare_pointers);
    for (size_t i = 0; i < names->count; i++) {
        if (kept && !strcmp(names->name[kept - 1], names->name[i]))
            free(names->name[i]);
        else
            names->name[kept++] = names->name[i];
    }
    names->count = kept;
    return IMPORT_OK;
}

void layer_names_free(layer_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (layer_names){NULL, 0};
}

int layer_names_have(const layer_names *names, const char *name)
{
    return names->count &&
           bsearch(&name, names->name, names->count, sizeof(char *), compare_pointers) != NULL;
}

int layer_name_below(const char *name, const char *prefix)
{
    const size_t length = strlen(prefix);
    return !strncmp(name, prefix, length) && (name[length] == 0 || name[length] == '.');
}
