/* wire.c: see wire.h. */
#include "process/wire.h"

#include <limits.h>

void wire_add(struct strbuf *b, str word)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < word.len; i++) {
        unsigned char c = (unsigned char)word.ptr[i];
        if (c == '%' || c == ' ' || c == '\r' || c == '\n' || c == '\0') {
            char esc[3] = { '%', hex[c >> 4], hex[c & 15] };
            strbuf_add(b, str_n(esc, sizeof esc));
        } else {
            strbuf_addc(b, (char)c);
        }
    }
}

bool wire_line(str all, str *ret_line, size_t *ret_used)
{
    ptrdiff_t at = str_chr(all, '\n');
    if (at < 0)
        return false;
    *ret_line = str_sub(all, 0, (size_t)at);
    *ret_used = (size_t)at + 1;
    return true;
}

bool wire_word(str *line, str *ret_word)
{
    if (!line->ptr)
        return false;
    str rest;
    str_cut(*line, ' ', ret_word, &rest);
    *line = rest;
    return true;
}

bool wire_text(struct strbuf *b, str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (c == '%') {
            if (i + 2 >= word.len)
                return false;
            int hi = chr_hex(word.ptr[i + 1]), lo = chr_hex(word.ptr[i + 2]);
            if (hi < 0 || lo < 0)
                return false;
            c = (char)(hi * 16 + lo);
            i += 2;
        }
        if (!strbuf_addc(b, c))
            return false;
    }
    return true;
}

bool wire_int(str word, int *ret)
{
    int64_t v;
    if (!str_to_i64(word, &v) || v < INT_MIN || v > INT_MAX)
        return false;
    *ret = (int)v;
    return true;
}
