/* strbuf.h: owned, growing text with a maximum.
 *
 * Invariants: ptr is NULL only while cap is 0; len <= max; ptr[len] is a NUL when ptr is not NULL.
 * Owns: its memory. strbuf_fini releases it and leaves a usable empty buffer.
 * Limits: `max` bytes, given at init. An append that would pass it appends nothing and sets `full`;
 *         appends may be chained and `full` looked at once at the end.
 */
#ifndef LUASWAP_BASE_STRBUF_H
#define LUASWAP_BASE_STRBUF_H

#include "base/mem.h"
#include "base/str.h"

struct strbuf {
    char *ptr;
    size_t len, cap, max;
    bool full;
};

#define STRBUF(max_bytes) ((struct strbuf){ NULL, 0, 0, (max_bytes), false })

void strbuf_init(struct strbuf *b, size_t max);
void strbuf_fini(struct strbuf *b);
void strbuf_clear(struct strbuf *b); /* keeps the memory */
bool strbuf_add(struct strbuf *b, str s);
bool strbuf_addc(struct strbuf *b, char c);
bool strbuf_addf(struct strbuf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool strbuf_addu(struct strbuf *b, uint64_t v); /* decimal; faster than addf */
/* s as the inside of a JSON string: escapes " \ and control characters; each byte that is not
 * well-formed UTF-8 becomes U+FFFD, so that the result is always valid JSON. */
bool strbuf_add_json(struct strbuf *b, str s);
/* Room for n more bytes at ptr + len; false if that passes max. Then write and strbuf_took(n'). */
bool strbuf_reserve(struct strbuf *b, size_t n);
void strbuf_took(struct strbuf *b, size_t n);
/* Drops the first n bytes. */
void strbuf_consume(struct strbuf *b, size_t n);

static inline str strbuf_str(const struct strbuf *b)
{
    return (str){ b->ptr, b->len };
}

#endif
