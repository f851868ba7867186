/* json_scan.h: where the top-level members of a JSON object are, without building a tree.
 *
 * What: one pass over the bytes; strings and nested values are skipped 64 bytes at a time (SSE2 where
 *       the compiler has it, else plain C with the same result).
 * Not:  a validator: what is inside nested values is only matched for quotes and brackets.
 * Lenient as http.md 2.1 wants: a text that breaks yields the members in front of the break; a byte
 *       order mark and blanks may stand before the object; what follows it is not looked at. Anything
 *       that is not an object has no members. Bare words (NaN) count as values.
 * Owns: nothing; offsets are into the text given. Never allocates, no limit on depth.
 * Errors: ERR_DUPLICATE (JSON parsers disagree on which of two equal members counts); ERR_LIMIT for
 *       more than JSON_TOP_MAX top-level members.
 */
#ifndef LUASWAP_CODEC_JSON_SCAN_H
#define LUASWAP_CODEC_JSON_SCAN_H

#include "base/arena.h"
#include "base/error.h"

/* A member to look for. Names compare decoded: "mod\u0065l" is `model`. */
struct json_want {
    str name;               /* in */
    bool unique;            /* in: a second member of this name is an error */
    bool found;             /* out; the rest describes the first member of this name */
    size_t lead_at;         /* offset of the comma or opening brace before it */
    size_t key_at;          /* offset of the key's opening quote */
    size_t val_at, val_len; /* the value, blanks around it excluded */
};

#define JSON_TOP_MEMBERS 32
#define JSON_TOP_MAX 65536u

/* A member of an object or an element of an array. */
struct json_member {
    size_t lead_at; /* offset of what separates it: the comma or the opening bracket before it */
    size_t key_at, key_len; /* with both quotes, escapes as written; length 0 in an array */
    size_t val_at, val_len;
};

/* What a pass found; lets json_edit work without a second one. */
struct json_top {
    bool object;    /* the text begins with an object */
    bool complete;  /* ... whose top level is well-formed up to its closing brace */
    size_t open_at; /* offset of the opening brace */
    size_t end;     /* offset behind the closing brace, if complete */
    size_t n;       /* members seen; only the first JSON_TOP_MEMBERS are in `member` */
    struct json_member member[JSON_TOP_MEMBERS];
};

/* Looks for the n wanted members; ret_top may be NULL. On an error what came before it is filled
 * in. */
MUSTCHECK int json_scan_top(str body, struct json_want *want, size_t n, struct json_top *ret_top,
                            struct error *e);

static inline str json_want_value(str body, const struct json_want *w)
{
    return w->found ? str_sub(body, w->val_at, w->val_len) : STR_NONE;
}

/* Steps through an object or array; offsets are into `s`. */
struct json_iter {
    str s;
    size_t at; /* where to go on: behind the last value */
    size_t open_at;
    bool started, broken;
};
/* False if s[open_at] is no opening bracket. */
bool json_iter_init(struct json_iter *it, str s, size_t open_at);
/* False at the end; then `at` is behind the closing bracket, unless `broken`. */
bool json_iter_next(struct json_iter *it, struct json_member *ret);

/* Is `raw` (a key or string with its quotes) the text `name`? */
bool json_text_is(str raw, str name);
/* Length of the value that s begins with (no blanks in front); 0 if it is cut off or none. */
size_t json_skip_value(str s);

/* A value as text: strings decoded, numbers as written when they are plain integers (else as plain
 * digits: 1e3 is 1000), true/false as words, null empty, objects and arrays as they are. The result
 * is borrowed from `raw` or from the arena. ERR_LIMIT when the arena is full. */
MUSTCHECK int json_value_text(struct arena *a, str raw, str *ret, struct error *e);
/* The streaming flag's rule: true, a non-zero number, a string that says true, t or 1. */
bool json_value_true(str raw);
/* Decodes a string with its quotes; invalid escapes and lone surrogates become U+FFFD. */
MUSTCHECK int json_unescape(struct arena *a, str raw, str *ret, struct error *e);

#endif
