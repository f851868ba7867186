/* ring.h: fixed ring of bytes that keeps the newest; the memory comes with the first write. */
#ifndef LUASWAP_BASE_RING_H
#define LUASWAP_BASE_RING_H

#include "base/str.h"

struct ring {
    char *buf;
    size_t size, at, len;
};

void ring_init(struct ring *r, size_t size); /* size >= 1 */
void ring_fini(struct ring *r);
void ring_clear(struct ring *r);
void ring_write(struct ring *r, str s);
/* The contents, oldest first, in up to two pieces. */
void ring_read(const struct ring *r, str *ret_old, str *ret_new);

#endif
