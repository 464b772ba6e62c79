/* fence.c: see fence.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fence.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

fenced fence(const uint8_t *bytes, size_t count)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    fenced f = {.pages = (count + page - 1) / page * page + page};
    f.map = mmap(NULL, f.pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(f.map, MAP_FAILED);
    f.bytes = f.map + f.pages - page - count;
    if (count)
        memcpy(f.map + f.pages - page - count, bytes, count);
    assert_int_equal(mprotect(f.map + f.pages - page, page, PROT_NONE), 0);
    return f;
}

void unfence(fenced *f)
{
    munmap(f->map, f->pages);
}
