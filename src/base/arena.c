/* arena.c: see arena.h. */
#include "base/arena.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

#define FIRST_CHUNK 2048
#define CHUNK_MAX (256u * 1024)
#define ALIGN 16u

struct arena_chunk {
    struct arena_chunk *older;
    size_t size;
    _Alignas(16) char data[];
};

struct arena_cleanup {
    struct arena_cleanup *older;
    void (*fn)(void *);
    void *ptr;
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){ .max = max };
}

static void run_cleanups(struct arena *a)
{
    while (a->cleanups) {
        struct arena_cleanup *c = a->cleanups;
        a->cleanups = c->older;
        c->fn(c->ptr);
        free(c);
    }
}

void arena_fini(struct arena *a)
{
    run_cleanups(a);
    while (a->chunks) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->older;
        UNPOISON(c->data, c->size);
        free(c);
    }
    arena_init(a, a->max);
}

void arena_reset(struct arena *a)
{
    run_cleanups(a);
    while (a->chunks && a->chunks->older) {
        struct arena_chunk *c = a->chunks;
        a->chunks = c->older;
        UNPOISON(c->data, c->size);
        free(c);
    }
    if (!a->chunks)
        return;
    a->at = a->chunks->data;
    a->end = a->at + a->chunks->size;
    a->used = a->chunks->size;
    POISON(a->at, a->chunks->size);
}

static bool grow(struct arena *a, size_t need)
{
    size_t size = a->chunks ? a->chunks->size * 2 : FIRST_CHUNK;
    if (size > CHUNK_MAX)
        size = CHUNK_MAX;
    if (size < need)
        size = need;
    if (size > a->max - a->used) {
        size = need;
        if (size > a->max - a->used)
            return false;
    }
    struct arena_chunk *c = mem_resize(NULL, sizeof *c + size, 1);
    c->older = a->chunks;
    c->size = size;
    POISON(c->data, size);
    a->chunks = c;
    a->at = c->data;
    a->end = c->data + size;
    a->used += size;
    return true;
}

void *arena_try(struct arena *a, size_t size)
{
    if (size > SIZE_MAX - ALIGN)
        return NULL;
    size_t n = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (n == 0)
        n = ALIGN;
    if ((size_t)(a->end - a->at) < n && !grow(a, n))
        return NULL;
    char *p = a->at;
    a->at += n;
    UNPOISON(p, size ? size : 1);
    memset(p, 0, size);
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    void *p = arena_try(a, size);
    ASSERT(p);
    return p;
}

void *arena_calloc(struct arena *a, size_t n, size_t size)
{
    size_t total;
    ASSERT(!__builtin_mul_overflow(n, size, &total));
    return arena_alloc(a, total);
}

str arena_try_dup(struct arena *a, str s)
{
    char *p = arena_try(a, s.len + 1);
    if (!p)
        return STR_NONE;
    if (s.len)
        memcpy(p, s.ptr, s.len);
    return str_n(p, s.len);
}

str arena_dup(struct arena *a, str s)
{
    str d = arena_try_dup(a, s);
    ASSERT(d.ptr);
    return d;
}

str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    ASSERT(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return str_n(p, (size_t)n);
}

const char *arena_cstr(struct arena *a, str s)
{
    if (str_chr(s, '\0') >= 0)
        return NULL;
    return arena_dup(a, s).ptr;
}

void arena_on_end(struct arena *a, void (*fn)(void *), void *ptr)
{
    /* not from the arena: a full one must still be able to end what it holds */
    struct arena_cleanup *c = mem_zalloc(sizeof *c);
    c->older = a->cleanups;
    c->fn = fn;
    c->ptr = ptr;
    a->cleanups = c;
}
