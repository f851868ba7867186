/* mem.h: allocation that cannot fail, and the small macros everybody needs.
 *
 * Small allocations that fail abort with a message: no server survives that usefully. Whatever is sized
 * by a peer or by a config value goes through something with a maximum (strbuf, arena) and gets an error.
 */
#ifndef LUASWAP_BASE_MEM_H
#define LUASWAP_BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

#define MUSTCHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* The struct that `member` (at `ptr`) is embedded in. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Zeroed; never NULL. Free with free(). */
void *mem_zalloc(size_t size);
/* n objects of `size`, zeroed, overflow checked; never NULL. */
void *mem_calloc(size_t n, size_t size);
/* As realloc, never NULL for n * size > 0, overflow checked; new bytes are not zeroed. */
void *mem_resize(void *old, size_t n, size_t size);
char *mem_strdup(const char *z);
/* Wipes memory that held a secret; not removed by the optimiser. */
void mem_wipe(void *p, size_t n);

#endif
