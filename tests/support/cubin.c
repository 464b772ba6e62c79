/* tests/support/cubin.c: see cubin.h.
 *
 * A cubin's section .nv.info is a list of attributes: a format byte, an attribute byte, then two
 * bytes of value (formats 1 to 3), or two bytes of length and as many bytes (format 4). Those of
 * interest hold a symbol's index and a number.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "cubin.h"

#include <elf.h>
#include <string.h>

enum {
    FORMAT_SIZED = 4,
    ATTRIBUTE_FRAME_SIZE = 0x11,
    ATTRIBUTE_MIN_STACK_SIZE = 0x12,
    ATTRIBUTE_REGCOUNT = 0x2f
};

typedef struct cubin {
    const uint8_t *at;
    size_t bytes;
    Elf64_Ehdr header;
} cubin;

static int inside(const cubin *c, uint64_t offset, uint64_t size)
{
    return offset <= c->bytes && size <= c->bytes - offset;
}

static int section(const cubin *c, unsigned index, Elf64_Shdr *out)
{
    const uint64_t offset = c->header.e_shoff + (uint64_t)index * sizeof *out;
    if (index >= c->header.e_shnum || c->header.e_shoff > c->bytes ||
        !inside(c, offset, sizeof *out))
        return 0;
    memcpy(out, c->at + offset, sizeof *out);
    return out->sh_type == SHT_NOBITS || inside(c, out->sh_offset, out->sh_size);
}

/* A name in a string table, NULL where it does not end inside. */
static const char *text(const cubin *c, unsigned table, uint64_t offset)
{
    Elf64_Shdr s;
    const char *found;
    if (!section(c, table, &s) || s.sh_type != SHT_STRTAB || offset >= s.sh_size)
        return NULL;
    found = (const char *)c->at + s.sh_offset + offset;
    return memchr(found, 0, (size_t)(s.sh_size - offset)) ? found : NULL;
}

static int64_t function_index(const cubin *c, const char *kernel)
{
    Elf64_Shdr s;
    for (unsigned i = 0; i < c->header.e_shnum; i++) {
        if (!section(c, i, &s) || s.sh_type != SHT_SYMTAB)
            continue;
        for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= s.sh_size; at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            const char *name;
            memcpy(&symbol, c->at + s.sh_offset + at, sizeof symbol);
            name = text(c, s.sh_link, symbol.st_name);
            if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && name && !strcmp(name, kernel))
                return (int64_t)(at / sizeof symbol);
        }
    }
    return -1;
}

/* Read .nv.info; returns which of the three numbers were found, as bits. */
static int attributes(const uint8_t *info, size_t bytes, uint32_t function, cubin_resources *out)
{
    int found = 0;
    for (size_t at = 0; at + 4 <= bytes;) {
        const uint8_t format = info[at], attribute = info[at + 1];
        const size_t size = format == FORMAT_SIZED ? (size_t)(info[at + 2] | info[at + 3] << 8) : 0;
        uint32_t pair[2];
        at += 4;
        if (size > bytes - at)
            return 0;
        if (format == FORMAT_SIZED && size == sizeof pair) {
            memcpy(pair, info + at, sizeof pair);
            if (pair[0] == function && attribute == ATTRIBUTE_REGCOUNT) {
                out->registers = pair[1];
                found |= 1;
            } else if (pair[0] == function && attribute == ATTRIBUTE_FRAME_SIZE) {
                out->stack = pair[1];
                found |= 2;
            } else if (pair[0] == function && attribute == ATTRIBUTE_MIN_STACK_SIZE) {
                out->min_stack = pair[1];
                found |= 4;
            }
        }
        at += size;
    }
    return found;
}

int cubin_read(const void *image, size_t bytes, const char *kernel, cubin_resources *out)
{
    cubin c = {image, bytes, {{0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
    int64_t function;
    int found = 0;
    memset(out, 0, sizeof *out);
    if (bytes < sizeof c.header || memcmp(image, ELFMAG, SELFMAG) != 0)
        return 0;
    memcpy(&c.header, image, sizeof c.header);
    if (c.header.e_ident[EI_CLASS] != ELFCLASS64 || c.header.e_ident[EI_DATA] != ELFDATA2LSB ||
        c.header.e_machine != EM_CUDA || c.header.e_shentsize != sizeof(Elf64_Shdr))
        return 0;
    function = function_index(&c, kernel);
    if (function < 0)
        return 0;
    for (unsigned i = 0; i < c.header.e_shnum; i++) {
        Elf64_Shdr s;
        const char *name;
        if (!section(&c, i, &s) || !(name = text(&c, c.header.e_shstrndx, s.sh_name)))
            return 0;
        if (!strcmp(name, ".nv.info"))
            found |= attributes(c.at + s.sh_offset, (size_t)s.sh_size, (uint32_t)function, out);
        else if (!strncmp(name, ".nv.local", 9))
            out->local += s.sh_size;
    }
    return found == 7;
}
