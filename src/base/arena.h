/* arena.h: region allocator with a cleanup list; everything is freed at once.
 *
 * Owns: all memory it hands out. A pointer into an arena never outlives it; what must, is copied into
 *       the longer-lived one.
 * Limits: `max` bytes in all; above it arena_try returns NULL, arena_alloc aborts (use arena_try for
 *         sizes a peer chooses). Loop thread only.
 */
#ifndef LUASWAP_BASE_ARENA_H
#define LUASWAP_BASE_ARENA_H

#include "base/mem.h"
#include "base/str.h"

struct arena_chunk;
struct arena_cleanup;
struct arena {
    struct arena_chunk *chunks; /* newest first */
    struct arena_cleanup *cleanups;
    char *at, *end;
    size_t used, max;
};

void arena_init(struct arena *a, size_t max);
void arena_fini(struct arena *a); /* runs the cleanups, newest first; accepts a zeroed arena */
/* As fini + init, but keeps the first chunk: for objects that live many short lives. */
void arena_reset(struct arena *a);
/* Zeroed, aligned to 16; NULL when `max` would be passed. */
void *arena_try(struct arena *a, size_t size);
void *arena_alloc(struct arena *a, size_t size);
void *arena_calloc(struct arena *a, size_t n, size_t size);
#define ARENA_NEW(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define ARENA_NEWN(a, n, type) ((type *)arena_calloc((a), (n), sizeof(type)))
str arena_dup(struct arena *a, str s);     /* NUL-ended copy; the NUL is not counted */
str arena_try_dup(struct arena *a, str s); /* ptr NULL when the arena is full */
str arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* For C libraries: a NUL-ended copy, or NULL if s holds a NUL. */
const char *arena_cstr(struct arena *a, str s);
/* fn(ptr) runs when the arena ends; for trees of foreign libraries. */
void arena_on_end(struct arena *a, void (*fn)(void *), void *ptr);

#endif
