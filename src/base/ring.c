/* ring.c: see ring.h. */
#include "base/ring.h"

#include "base/mem.h"

void ring_init(struct ring *r, size_t size)
{
    *r = (struct ring){ .size = size ? size : 1 };
}

void ring_fini(struct ring *r)
{
    free(r->buf);
    ring_init(r, r->size);
}

void ring_clear(struct ring *r)
{
    r->at = r->len = 0;
}

void ring_write(struct ring *r, str s)
{
    if (s.len == 0)
        return;
    if (!r->buf)
        r->buf = mem_calloc(r->size, 1);
    if (s.len > r->size)
        s = str_sub(s, s.len - r->size, r->size);
    size_t first = r->size - r->at < s.len ? r->size - r->at : s.len;
    memcpy(r->buf + r->at, s.ptr, first);
    memcpy(r->buf, s.ptr + first, s.len - first);
    r->at = (r->at + s.len) % r->size;
    r->len = r->len + s.len < r->size ? r->len + s.len : r->size;
}

void ring_read(const struct ring *r, str *ret_old, str *ret_new)
{
    size_t start = (r->at + r->size - r->len) % r->size;
    size_t first = r->size - start < r->len ? r->size - start : r->len;
    *ret_old = r->len ? str_n(r->buf + start, first) : STR_NONE;
    *ret_new = r->len > first ? str_n(r->buf, r->len - first) : STR_NONE;
}
