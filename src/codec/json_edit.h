/* json_edit.h: changes to a client's JSON object that leave all other bytes alone.
 *
 * What: set and delete by path, applied in order, result as slices of the old text and new pieces.
 * Paths: `.` separates levels, digits index arrays (-1 appends, gaps fill with null), `:` in front of
 *       a part forces an object key, `\` takes the next character as it is (config.md 6.7). `*` and `?`
 *       are plain characters (decisions.md). With a bare `#`, `@` or `|` in it a path cannot delete
 *       (ERR_CONFIG) and sets only what is there already.
 * Rules: a new member goes to the end of its object, missing levels are created, a scalar on the way
 *       is replaced, a name inside an array is ERR_CONFIG. An append drops what stands around the
 *       object. A member on an edited path that is there twice is ERR_DUPLICATE; a text whose top
 *       level is not a well-formed object is ERR_SYNTAX.
 * Owns: nothing; the slices point into `body`, the ops and the arena.
 */
#ifndef LUASWAP_CODEC_JSON_EDIT_H
#define LUASWAP_CODEC_JSON_EDIT_H

#include "base/strbuf.h"
#include "codec/json_scan.h"

enum json_op_kind {
    JSON_SET,    /* path := value */
    JSON_DELETE, /* path goes away; absent is fine */
    JSON_MEMBER, /* the top-level member with this very name := value */
};

struct json_op {
    enum json_op_kind kind;
    str path;  /* or the member's name, as it is */
    str value; /* JSON text, trusted to be well-formed */
};

struct json_edit {
    str *segs; /* in order; none is empty */
    size_t n;
    size_t len;    /* of all together */
    bool changed;  /* false: segs is just the body */
    size_t failed; /* on ERR_CONFIG: index of the op that cannot be applied */
};

/* `top` is what json_scan_top found in this body, or NULL to look again. */
MUSTCHECK int json_edit(struct arena *a, str body, const struct json_top *top,
                        const struct json_op *ops, size_t n_ops, struct json_edit *ret,
                        struct error *e);
/* Replaces just one value that a scan has found; for renaming the model. */
MUSTCHECK int json_edit_value(struct arena *a, str body, const struct json_want *w, str value,
                              struct json_edit *ret, struct error *e);
/* `s` as a JSON string with its quotes, in the arena; ptr NULL when the arena is full. */
str json_quote(struct arena *a, str s);
/* All segments in one piece. */
bool json_edit_join(const struct json_edit *ed, struct strbuf *out);

#endif
