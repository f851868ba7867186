/* http_line.c: see http_line.h. */
#include "codec/http_line.h"

#include "codec/http_head.h"

/* How many bytes of a method or target there are; what stands behind them ends it, or is wrong. */
static size_t part_length(bool method, const char *p, size_t n)
{
    size_t i = 0;
    if (method)
        for (; i < n && http_token_valid(str_n(p + i, 1)); i++)
            ;
    else
        for (; i < n && (unsigned char)p[i] > ' ' && p[i] != 0x7f; i++)
            ;
    return i;
}

static bool version_char(size_t at, char c)
{
    static const char begin[] = "HTTP/";
    return at < 5 ? c == begin[at] : at == 6 ? c == '.' : at < 8 && chr_digit(c);
}

static bool take_char(struct http_line *l, char c)
{
    if (l->at == HTTP_LINE_LF) {
        l->at = HTTP_LINE_DONE;
        return c == '\n';
    }
    if (c == '\r') {
        l->at = HTTP_LINE_LF;
        return l->part == sizeof "HTTP/1" - 1 || l->part == sizeof l->version;
    }
    if (!version_char(l->part, c))
        return false;
    l->version[l->part++] = c;
    return true;
}

bool http_line_take(struct http_line *l, str in, size_t *ret_used)
{
    size_t i = 0;
    bool fits = true;
    while (i < in.len && l->at <= HTTP_LINE_TARGET) {
        size_t n = part_length(l->at == HTTP_LINE_METHOD, in.ptr + i, in.len - i);
        l->part += n;
        i += n;
        if (i == in.len)
            break;
        if (l->part == 0 || in.ptr[i++] != ' ')
            return false;
        l->at++;
        l->part = 0;
    }
    for (; fits && i < in.len && l->at != HTTP_LINE_DONE; i++)
        fits = take_char(l, in.ptr[i]);
    *ret_used = i;
    return fits;
}

bool http_line_done(const struct http_line *l)
{
    return l->at == HTTP_LINE_DONE;
}

int http_line_minor(const struct http_line *l)
{
    str v = str_n(l->version, l->part);
    return str_eq(v, S("HTTP/1.1")) ? 1 : str_eq(v, S("HTTP/1.0")) ? 0 : -1;
}
