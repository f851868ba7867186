/* str.c: see str.h. */
#include "base/str.h"

bool str_ieq(str a, str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (chr_lower(a.ptr[i]) != chr_lower(b.ptr[i]))
            return false;
    return true;
}

bool str_starts(str s, str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool str_ends(str s, str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

ptrdiff_t str_find(str s, str needle)
{
    if (needle.len == 0)
        return 0;
    if (s.len < needle.len)
        return -1;
    const char *hit = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return hit ? hit - s.ptr : -1;
}

ptrdiff_t str_ifind(str s, str needle)
{
    for (size_t i = 0; i + needle.len <= s.len; i++)
        if (str_ieq(str_n(s.ptr + i, needle.len), needle))
            return (ptrdiff_t)i;
    return -1;
}

ptrdiff_t str_chr(str s, char c)
{
    const char *hit = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return hit ? hit - s.ptr : -1;
}

int str_cmp(str a, str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0)
        return c < 0 ? -1 : 1;
    return a.len < b.len ? -1 : a.len > b.len;
}

str str_trim(str s)
{
    while (s.len && chr_space(s.ptr[0]))
        s.ptr++, s.len--;
    while (s.len && chr_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

str str_sub(str s, size_t from, size_t len)
{
    if (from > s.len)
        from = s.len;
    if (len > s.len - from)
        len = s.len - from;
    return str_n(s.ptr ? s.ptr + from : NULL, len);
}

bool str_cut(str s, char c, str *head, str *tail)
{
    ptrdiff_t at = str_chr(s, c);
    if (at < 0) {
        *head = s;
        *tail = STR_NONE;
        return false;
    }
    *head = str_n(s.ptr, (size_t)at);
    *tail = str_n(s.ptr + at + 1, s.len - (size_t)at - 1);
    return true;
}

bool str_item(str *rest, char sep, str *item)
{
    if (!rest->ptr)
        return false;
    str head, tail;
    bool more = str_cut(*rest, sep, &head, &tail);
    *item = str_trim(head);
    *rest = more ? tail : STR_NONE;
    return true;
}

bool str_to_u64(str s, uint64_t *ret_v)
{
    uint64_t v = 0;
    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!chr_digit(s.ptr[i]))
            return false;
        uint64_t d = (uint64_t)(s.ptr[i] - '0');
        if (v > (UINT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    *ret_v = v;
    return true;
}

bool str_to_i64(str s, int64_t *ret_v)
{
    bool neg = s.len && s.ptr[0] == '-';
    uint64_t v;
    if (!str_to_u64(neg ? str_sub(s, 1, s.len) : s, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + (neg ? 1 : 0))
        return false;
    *ret_v = neg ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

uint64_t str_hash(str s, uint64_t seed)
{
    /* FNV-1a, 64 bit (Fowler, Noll, Vo), with a seed and a final mix so that low bits are usable. */
    uint64_t h = 14695981039346656037u ^ seed;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 1099511628211u;
    h ^= h >> 32;
    return h * 0x9E3779B97F4A7C15u;
}
