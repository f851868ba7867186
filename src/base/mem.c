/* mem.c: see mem.h. */
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

static void out_of_memory(size_t n)
{
    fprintf(stderr, "luaswap: out of memory (%zu bytes)\n", n);
    abort();
}

void *mem_zalloc(size_t size)
{
    return mem_calloc(1, size);
}

void *mem_calloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory(n * size);
    return p;
}

void *mem_resize(void *old, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory(n);
    void *p = realloc(old, total ? total : 1);
    if (!p)
        out_of_memory(total);
    return p;
}

char *mem_strdup(const char *z)
{
    size_t n = strlen(z) + 1;
    return memcpy(mem_resize(NULL, n, 1), z, n);
}

void mem_wipe(void *p, size_t n)
{
    explicit_bzero(p, n);
}
