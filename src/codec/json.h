/* json.h: small JSON documents: a read-only view of a parsed one, and a writer.
 *
 * Reading: `json` is a borrowed handle into a tree that lives as long as the arena it was parsed into.
 *       A missing value is JSON_NONE and may be passed to every function. Member names are
 *       case-sensitive; of equal ones the first counts. A NUL in a string is read as U+FFFD.
 * Not:  request bodies of models (see json_scan.h, json_edit.h): this builds a tree.
 * Limits: json_caps; a text beyond them is ERR_LIMIT before anything is built. Well-formed UTF-8 only.
 * Writing: json_out puts commas and quotes, the caller the order. Too much for the strbuf: its `full`.
 */
#ifndef LUASWAP_CODEC_JSON_H
#define LUASWAP_CODEC_JSON_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

struct cJSON;
typedef struct json {
    const struct cJSON *node;
} json;

enum json_kind {
    JSON_NONE,
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_caps {
    size_t bytes;
    size_t values;  /* members and elements in all, about */
    unsigned depth; /* of arrays and objects, at most 500 */
};
/* 1 MiB, 50000 values, depth 64. */
extern const struct json_caps json_caps_small;

MUSTCHECK int json_parse(struct arena *a, str text, const struct json_caps *caps, json *ret,
                         struct error *e);

enum json_kind json_kind(json v);
json json_get(json object, str name);         /* NONE if absent or not an object */
json json_at(json array, size_t i);           /* O(i) */
json json_dig(json object, const char *path); /* names joined by '.', for names without dots */
size_t json_len(json v);                      /* elements or members, else 0 */
json json_first(json v);                      /* of an array or object, else NONE */
json json_next(json child);
str json_name(json child); /* member name, empty in arrays */

str json_str(json v);                   /* empty unless a string */
bool json_is(json v, const char *text); /* a string equal to text */
bool json_bool(json v, bool otherwise);
double json_num(json v, double otherwise);
bool json_int(json v, int64_t *ret); /* a whole number within +-2^53 */

#define JSON_OUT_DEPTH 64
struct json_out {
    struct strbuf *b;
    unsigned depth;
    uint64_t some; /* bit d: level d has an item already */
    bool after_key;
};

void json_out_init(struct json_out *o, struct strbuf *b);
void json_out_object(struct json_out *o);
void json_out_array(struct json_out *o);
void json_out_end(struct json_out *o, char close); /* '}' or ']' */
void json_out_key(struct json_out *o, str name);
void json_out_str(struct json_out *o, str s);
void json_out_int(struct json_out *o, int64_t v);
void json_out_uint(struct json_out *o, uint64_t v);
void json_out_num(struct json_out *o, double v); /* not finite: null */
void json_out_bool(struct json_out *o, bool v);
void json_out_null(struct json_out *o);
void json_out_raw(struct json_out *o, str text); /* one value, well-formed */

/* Key and value in one call. */
void json_out_kstr(struct json_out *o, const char *key, str s);
void json_out_kint(struct json_out *o, const char *key, int64_t v);
void json_out_knum(struct json_out *o, const char *key, double v);
void json_out_kbool(struct json_out *o, const char *key, bool v);
void json_out_knull(struct json_out *o, const char *key);
void json_out_kraw(struct json_out *o, const char *key, str text);

#define JSON_NUM_MAX 352
/* The shortest digits that read back as v, in the spelling of ECMAScript and Go: plain between 1e-6
 * and 1e21, else with an exponent; `plain` never uses one. Returns the length. v must be finite. */
size_t json_num_text(char out[JSON_NUM_MAX], double v, bool plain);

#endif
