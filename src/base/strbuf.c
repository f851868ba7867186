/* strbuf.c: see strbuf.h. */
#include "base/strbuf.h"

#include "base/check.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>

void strbuf_init(struct strbuf *b, size_t max)
{
    *b = STRBUF(max);
}

void strbuf_fini(struct strbuf *b)
{
    if (!b)
        return;
    free(b->ptr);
    *b = STRBUF(b->max);
}

void strbuf_clear(struct strbuf *b)
{
    b->len = 0;
    b->full = false;
    if (b->ptr)
        b->ptr[0] = '\0';
}

bool strbuf_reserve(struct strbuf *b, size_t n)
{
    if (n > b->max - b->len || n >= SIZE_MAX - b->len) {
        b->full = true;
        return false;
    }
    if (b->cap > b->len + n)
        return true;
    size_t want = b->len + n + 1;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < want)
        cap += cap / 2;
    if (cap - 1 > b->max)
        cap = b->max + 1;
    b->ptr = mem_resize(b->ptr, cap, 1);
    b->cap = cap;
    b->ptr[b->len] = '\0';
    return true;
}

void strbuf_took(struct strbuf *b, size_t n)
{
    ASSERT(b->cap > b->len + n);
    b->len += n;
    b->ptr[b->len] = '\0';
}

bool strbuf_add(struct strbuf *b, str s)
{
    if (s.len == 0)
        return true;
    if (!strbuf_reserve(b, s.len))
        return false;
    memcpy(b->ptr + b->len, s.ptr, s.len);
    strbuf_took(b, s.len);
    return true;
}

bool strbuf_addc(struct strbuf *b, char c)
{
    return strbuf_add(b, str_n(&c, 1));
}

bool strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0 || !strbuf_reserve(b, (size_t)n))
        return false;
    va_start(ap, fmt);
    vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, ap);
    va_end(ap);
    strbuf_took(b, (size_t)n);
    return true;
}

bool strbuf_addu(struct strbuf *b, uint64_t v)
{
    char tmp[20];
    size_t i = sizeof tmp;
    do {
        tmp[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return strbuf_add(b, str_n(tmp + i, sizeof tmp - i));
}

bool strbuf_add_json(struct strbuf *b, str s)
{
    bool ok = true;
    size_t from = 0;
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = c < 0x80 ? 1 : utf8_next(str_sub(s, i, 4));
        if (n && c >= 0x20 && c != '"' && c != '\\') {
            i += n;
            continue;
        }
        ok &= strbuf_add(b, str_sub(s, from, i - from));
        if (n == 0)
            ok &= strbuf_add(b, S("\xEF\xBF\xBD"));
        else if (c == '"')
            ok &= strbuf_add(b, S("\\\""));
        else if (c == '\\')
            ok &= strbuf_add(b, S("\\\\"));
        else if (c == '\n')
            ok &= strbuf_add(b, S("\\n"));
        else if (c == '\r')
            ok &= strbuf_add(b, S("\\r"));
        else if (c == '\t')
            ok &= strbuf_add(b, S("\\t"));
        else
            ok &= strbuf_addf(b, "\\u%04x", c);
        i++;
        from = i;
    }
    return ok & strbuf_add(b, str_sub(s, from, s.len));
}

void strbuf_consume(struct strbuf *b, size_t n)
{
    ASSERT(n <= b->len);
    if (n == 0)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
    b->ptr[b->len] = '\0';
}
