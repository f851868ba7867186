/* str.h: borrowed byte slices and the small parsing helpers that go with them.
 *
 * What: `str` is a pointer and a length, passed by value; it may hold NULs and is never assumed to end
 *       in one. Nothing here allocates.
 * Not:  owned or growing text (see strbuf.h), text that must outlive its source (see arena.h).
 */
#ifndef LUASWAP_BASE_STR_H
#define LUASWAP_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct str {
    const char *ptr;
    size_t len;
} str;

/* A literal as a slice: S("model"). */
#define S(lit) ((str){ "" lit, sizeof(lit) - 1 })
#define STR_NONE ((str){ NULL, 0 })
/* printf("%.*s", STR_ARG(s)) */
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)((s).len), (s).ptr ? (s).ptr : ""

static inline str str_n(const char *ptr, size_t len)
{
    return (str){ ptr, len };
}
static inline str str_c(const char *z)
{
    return z ? (str){ z, strlen(z) } : STR_NONE;
}
static inline bool str_eq(str a, str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* ASCII case-insensitive equality (header names, tokens). */
bool str_ieq(str a, str b);
bool str_starts(str s, str prefix);
bool str_ends(str s, str suffix);
/* Position of `needle`, or -1. */
ptrdiff_t str_find(str s, str needle);
ptrdiff_t str_ifind(str s, str needle);
ptrdiff_t str_chr(str s, char c);
/* Byte order, shorter first on a tie: the order of strcmp for text without NULs. */
int str_cmp(str a, str b);
/* Without leading and trailing space, tab, CR, LF, VT, FF. */
str str_trim(str s);
/* Bytes [from, from+len), clamped to s. */
str str_sub(str s, size_t from, size_t len);
/* Cuts at the first `c`: *head gets what is before, *tail what is after. False (and head = s, tail
 * empty) when there is no `c`. */
bool str_cut(str s, char c, str *head, str *tail);
/* Next item of a list separated by `sep`, trimmed; false at the end. Empty items are returned. */
bool str_item(str *rest, char sep, str *item);
/* Decimal digits only, no sign, no blank, no overflow: true and *ret_v, or false. */
bool str_to_u64(str s, uint64_t *ret_v);
/* Optional '-', then as str_to_u64. */
bool str_to_i64(str s, int64_t *ret_v);
/* FNV-1a with a seed; for tables that a peer cannot choose the keys of, or with a random seed. */
uint64_t str_hash(str s, uint64_t seed);

static inline char chr_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline bool chr_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static inline bool chr_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline int chr_hex(char c)
{
    return chr_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#endif
