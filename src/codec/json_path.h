/* json_path.h: the paths of json_edit.h, taken apart, and the levels that a path creates.
 *
 * A helper of json_edit.c and of whoever checks a configuration; parts are slices of the path's text or
 * of the arena.
 */
#ifndef LUASWAP_CODEC_JSON_PATH_H
#define LUASWAP_CODEC_JSON_PATH_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

#define JSON_PATH_PARTS 64
#define JSON_PATH_INDEX 10000 /* an array is not extended beyond this */

struct json_part {
    str name;
    bool force; /* an object key even if it is digits */
};

struct json_path {
    struct json_part *part;
    size_t n;
    bool must_exist; /* a query of the reference: changes what is there, creates nothing */
    bool nowhere;    /* ... of a kind that matches nothing here */
};

/* ERR_CONFIG for a path that cannot be used (empty, too deep, a query when `for_delete`), ERR_LIMIT
 * when the arena is full. */
MUSTCHECK int json_path_parse(struct arena *a, str text, bool for_delete, struct json_path *ret,
                              struct error *e);
/* Checks a path without a body: 0 or ERR_CONFIG. For messages when a configuration is loaded. */
MUSTCHECK int json_path_check(str text, bool for_delete, struct error *e);

/* The array element that the part names: digits, also with `force`. */
bool json_part_index(const struct json_part *p, uint64_t *ret);
bool json_part_appends(const struct json_part *p); /* "-1" */
/* Does a missing value of this name make its parent an array? An empty name counts as index 0. */
bool json_part_makes_array(const struct json_part *p, uint64_t *ret_index);

/* `"name":` */
void json_path_add_key(struct strbuf *b, str name);
void json_path_add_nulls(struct strbuf *b, uint64_t n); /* each with its comma */
/* `value` wrapped in the levels that the parts name; false when an index is too big. */
bool json_path_add_levels(struct strbuf *b, const struct json_part *part, size_t n, str value);

#endif
