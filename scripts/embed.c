/* Write the device code as byte arrays into a C header.
 *
 *     embed [--check] HEADER SOURCE...
 *
 * Byte arrays, because C11 promises string literals of no more than 4095 characters and has no raw
 * strings. A source line becomes a line of the header, so that a change stays small in a diff.
 * --check writes nothing and exits with 1 when HEADER is not what would be written. Paths in the
 * header are base names, as the device sources include each other.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows. */
typedef struct text {
    char *bytes;
    size_t size, room;
} text;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "embed: %s: %s%s%s\n", path, what, errno ? ": " : "",
            errno ? strerror(errno) : "");
    exit(2);
}

static void append(text *to, const char *bytes, size_t size)
{
    if (to->size + size + 1 > to->room) {
        to->room = (to->size + size + 1) * 2;
        to->bytes = realloc(to->bytes, to->room);
        if (!to->bytes)
            die("out of memory", "text");
    }
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
    to->bytes[to->size] = 0;
}

static void say(text *to, const char *line)
{
    append(to, line, strlen(line));
}

/* The whole of a file; an empty text where there is none and `optional` says that this is fine. */
static text read_file(const char *path, int optional)
{
    text result = {0};
    char piece[65536];
    size_t size;
    FILE *file = fopen(path, "rb");

    say(&result, "");
    if (!file) {
        if (optional && errno == ENOENT)
            return result;
        die("cannot be opened", path);
    }
    while ((size = fread(piece, 1, sizeof piece, file)) > 0)
        append(&result, piece, size);
    if (ferror(file))
        die("cannot be read", path);
    fclose(file);
    return result;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "fused.cuh" as an identifier: fbq_source_fused_cuh. */
static void say_identifier(text *to, const char *name)
{
    say(to, "fbq_source_");
    for (; *name; name++) {
        char c = isalnum((unsigned char)*name) ? *name : '_';
        append(to, &c, 1);
    }
}

/* One array. Only ASCII, so that a byte fits into a char of either sign. */
static void say_array(text *to, const char *path)
{
    text source = read_file(path, 0);
    size_t i;

    say(to, "static const char ");
    say_identifier(to, base_name(path));
    say(to, "[] = {\n");
    for (i = 0; i < source.size; i++) {
        unsigned char byte = (unsigned char)source.bytes[i];
        char number[8];
        errno = 0;
        if (byte == 0 || byte > 126)
            die("holds a byte that is not ASCII text; device code is ASCII", path);
        snprintf(number, sizeof number, "%d,%s", byte, byte == '\n' ? "\n" : "");
        say(to, number);
    }
    say(to, "0};\n\n");
    free(source.bytes);
}

static text header_of(int count, char **paths)
{
    text header = {0};
    char line[64];
    int i;

    say(&header,
        "/* fbq/host/device_sources.h: the files of fbq/device/, embedded for NVRTC.\n"
        " *\n"
        " * Written by scripts/embed.c from those files; do not edit it, build the target "
        "\"embed\".\n"
        " *\n"
        " * SPDX-License-Identifier: Apache-2.0 */\n"
        "/* clang-format off */\n"
        "#ifndef FBQ_HOST_DEVICE_SOURCES_H\n"
        "#define FBQ_HOST_DEVICE_SOURCES_H\n\n"
        "/* name is what the device sources say in #include \"...\"; text ends with a NUL. */\n"
        "struct fbq_device_source {\n"
        "    const char *name;\n"
        "    const char *text;\n"
        "};\n\n");
    for (i = 0; i < count; i++)
        say_array(&header, paths[i]);
    say(&header, "static const struct fbq_device_source fbq_device_sources[] = {\n");
    for (i = 0; i < count; i++) {
        say(&header, "    {\"");
        say(&header, base_name(paths[i]));
        say(&header, "\", ");
        say_identifier(&header, base_name(paths[i]));
        say(&header, "},\n");
    }
    say(&header, "};\n\n");
    snprintf(line, sizeof line, "enum { fbq_device_source_count = %d };\n\n", count);
    say(&header, line);
    say(&header, "#endif /* FBQ_HOST_DEVICE_SOURCES_H */\n");
    return header;
}

int main(int argc, char **argv)
{
    int check = argc > 1 && strcmp(argv[1], "--check") == 0;
    const char *path;
    text header, old;
    int fresh;

    argc -= 1 + check;
    argv += 1 + check;
    if (argc < 2) {
        fputs("usage: embed [--check] HEADER SOURCE...\n", stderr);
        return 2;
    }
    path = argv[0];
    header = header_of(argc - 1, argv + 1);
    old = read_file(path, 1);
    fresh = old.size == header.size && memcmp(old.bytes, header.bytes, old.size) == 0;
    free(old.bytes);
    if (!fresh && check)
        fprintf(stderr,
                "embed: %s is not what its sources say; build the target \"embed\" and commit it\n",
                path);
    if (!fresh && !check) {
        FILE *file = fopen(path, "wb");
        if (!file || fwrite(header.bytes, 1, header.size, file) != header.size || fclose(file))
            die("cannot be written", path);
        printf("embed: wrote %s (%d files)\n", path, argc - 1);
    }
    free(header.bytes);
    return fresh || !check ? 0 : 1;
}
