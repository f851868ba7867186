/* base64.c: see base64.h. */
#include "codec/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_encode(struct strbuf *out, str s)
{
    if (s.len > SIZE_MAX / 2 || !strbuf_reserve(out, (s.len + 2) / 3 * 4))
        return false;
    char *to = out->ptr + out->len;
    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t v = 0;
        size_t n = s.len - i < 3 ? s.len - i : 3;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)s.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            to[k] = alphabet[v >> (18 - 6 * k) & 63];
        for (size_t k = n + 1; k < 4; k++)
            to[k] = '=';
        to += 4;
    }
    strbuf_took(out, (s.len + 2) / 3 * 4);
    return true;
}

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (chr_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters, the last `pad` of them '='. */
static bool decode_four(const char *p, size_t pad, char out[3])
{
    uint32_t v = 0;
    for (size_t k = 0; k < 4; k++) {
        int d = k < 4 - pad ? value_of(p[k]) : 0;
        if (d < 0)
            return false;
        v = v << 6 | (uint32_t)d;
    }
    if (v & ((1u << (8 * pad)) - 1))
        return false;
    for (size_t k = 0; k < 3; k++)
        out[k] = (char)(v >> (16 - 8 * k) & 255);
    return true;
}

bool base64_decode(struct strbuf *out, str s)
{
    if (s.len == 0)
        return true;
    if (s.len % 4 || !strbuf_reserve(out, s.len / 4 * 3))
        return false;
    size_t pad = 0;
    while (pad < 2 && pad < s.len && s.ptr[s.len - 1 - pad] == '=')
        pad++;
    char *to = out->ptr + out->len;
    for (size_t i = 0; i < s.len; i += 4) {
        char three[3];
        size_t p = i + 4 == s.len ? pad : 0;
        if (!decode_four(s.ptr + i, p, three)) {
            out->ptr[out->len] = '\0';
            return false;
        }
        memcpy(to, three, 3 - p);
        to += 3 - p;
    }
    strbuf_took(out, s.len / 4 * 3 - pad);
    return true;
}
