/* yaml.h: a YAML text to a tree of typed nodes that know where they stand.
 *
 * What: libyaml's events become nodes with line and column; aliases are resolved to shared nodes,
 *       merge keys are expanded, plain scalars get their YAML 1.1/1.2 type as the reference
 *       resolves them (config.md 10).
 *       Only the first document is read. Duplicate keys, self-containing aliases, merges of
 *       something that is no mapping, keys that are collections, `%YAML` other than 1.1 and
 *       excessive aliasing are errors.
 * Not:  meaning. Several errors of one text are all reported, but a syntax error ends the reading.
 * Owns: nothing; nodes, texts and the tree live in the caller's arena. Nodes are read-only after
 *       the parse.
 * Limits: nesting 200; the arena's maximum; expansion through aliases as in yaml_tree_parse().
 */
#ifndef LUASWAP_CODEC_YAML_H
#define LUASWAP_CODEC_YAML_H

#include "base/arena.h"
#include "base/error.h"
#include "base/strbuf.h"

enum ynode_type {
    YN_NULL,
    YN_BOOL,
    YN_INT,  /* i */
    YN_UINT, /* u, only above INT64_MAX */
    YN_FLOAT,
    YN_STR,
    YN_TIME, /* text is RFC 3339 already */
    YN_SEQ,
    YN_MAP,
};
const char *
ynode_type_name(enum ynode_type t); /* "null" "a boolean" "a number" "text" "a list" ... */

enum ynode_style { YS_PLAIN, YS_SINGLE, YS_DOUBLE, YS_BLOCK };

struct ynode;
struct ypair {
    str key; /* text as written, escapes decoded */
    const struct ynode *key_node;
    const struct ynode *value;
    bool aliased; /* the value was written as *alias */
    bool merged;  /* came through a merge key */
};

struct ynode {
    enum ynode_type type;
    enum ynode_style style;
    bool blank;                     /* a null written as nothing at all */
    bool tagged;                    /* had an explicit tag */
    uint16_t file;                  /* number given to yaml_tree_parse */
    uint32_t line, col;             /* 1-based; columns count characters */
    uint32_t merge_line, merge_col; /* YN_MAP: place of its first merge key, 0 = none */
    uint32_t size; /* nodes below and including this one, aliases followed; saturates */
    str text;      /* scalars: as written, escapes decoded */
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double f;
        struct {
            union {
                const struct ynode **items; /* YN_SEQ */
                struct ypair *pairs;        /* YN_MAP, document order, merged ones last */
            };
            uint32_t n;
        };
    };
};

/* Called for each error; line and col 1-based. */
typedef void yaml_error_fn(void *ud, uint32_t line, uint32_t col, const char *text);

struct yaml_opts {
    uint16_t file; /* copied into the nodes */
    yaml_error_fn *on_error;
    void *ud;
};

/* 0 and the root (NULL for an empty stream), ERR_SYNTAX after one or more calls of on_error, or
 * ERR_LIMIT (also reported). Aliases may multiply the nodes only as far as the reference allows:
 * above 1,000 nodes reached through aliases, their share of all nodes must stay under 99 % (10 %
 * from 4 million on), and no tree may have more than 4 million nodes. */
MUSTCHECK int yaml_tree_parse(struct arena *a, str text, const struct yaml_opts *opts,
                              const struct ynode **ret);

/* Value of a key, or NULL. */
const struct ynode *ynode_get(const struct ynode *map, str key);
const struct ypair *ynode_pair(const struct ynode *map, str key);

/* Gives a scalar its type from its text, as an unquoted, untagged scalar would get it. */
void ynode_resolve(struct arena *a, struct ynode *n);
/* The text that a scalar gives to a text field: numbers in normal form, "true", RFC 3339... */
str ynode_scalar_text(struct arena *a, const struct ynode *n);

/* Shortest digits that read back as f, in the form that config.md 4.3 describes ("1e+06", "0.7").
 * */
#define YAML_FLOAT_MAX 32
size_t yaml_float_text(double f, char out[YAML_FLOAT_MAX]);
/* The node as compact JSON: keys of each mapping sorted, keys that are no text written as text,
 * infinities and NaN as null (JSON has none). */
bool ynode_json(const struct ynode *n, struct strbuf *out);
bool yaml_float_json(double f, struct strbuf *out);

#endif
