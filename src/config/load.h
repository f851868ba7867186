/* load.h: inside of config/: the loader's state and the steps of a load, in the order of load.c.
 *
 * Trees are read-only. A step that changes values makes a new tree that shares what stayed the
 * same; every new node keeps the place (file, line, column) of the text that it comes from.
 */
#ifndef LUASWAP_CONFIG_LOAD_H
#define LUASWAP_CONFIG_LOAD_H

#include "codec/yaml.h"
#include "config/config.h"

/* ---- places and messages (loader.c) ---- */

/* Where a value stands in the tree, innermost part first; lives on the C stack. */
struct cpath {
    const struct cpath *up;
    str key;
    long index; /* >= 0: a list item, and key is unused */
};
#define CPATH(up_, key_) (&(const struct cpath){ (up_), (key_), -1 })
#define CPATH_AT(up_, i_) (&(const struct cpath){ (up_), STR_NONE, (long)(i_) })

/* A replacement within a line moved the columns behind it: [from, to) here was [old_from, old_to).
 * */
struct shift {
    uint32_t line, from, to, old_from, old_to;
};

struct cfile {
    str name;
    str text;
    struct shift *shifts; /* ordered */
    size_t n_shifts, cap_shifts;
};

struct lmacro {
    str name;
    const struct ynode *value;
};
struct lmacros {
    struct lmacro *at;
    size_t len;
};

struct matrix;

struct loader {
    const struct config_sources *src;
    bool probe_store;
    struct arena scratch; /* trees and temporary texts; gone after the load */
    struct config *cfg;
    struct arena *out; /* the snapshot's arena */
    struct config_report *report;
    struct cfile *files;
    size_t n_files;
    struct lmacros globals;
    struct matrix *matrix; /* compiled, under the matrix router; for the selectors' rules */
    bool full;             /* a size limit was hit and said */
    struct config_peer_ref ambiguous; /* stands in a map for "several" */
    /* A variable is missing and that was said: its reference is still in the text. */
    bool env_failed;
};

void load_error(struct loader *l, const struct ynode *at, const struct cpath *path,
                const char *hint, const char *fmt, ...) PRINTF_LIKE(5, 6);
void load_warn(struct loader *l, const struct ynode *at, const struct cpath *path, const char *hint,
               const char *fmt, ...) PRINTF_LIKE(5, 6);
/* The column in the file as a person sees it, for one in the text with variables put in. */
uint32_t load_column(const struct cfile *f, uint32_t line, uint32_t col);
/* For what is wrong with a file as a whole (line 0), or with a place of the file that has no node.
 * */
void load_error_at(struct loader *l, str file, uint32_t line, uint32_t col, const char *fmt, ...)
    PRINTF_LIKE(5, 6);
/* Says once that the configuration is too large. */
void load_full(struct loader *l);
/* "a.b[0]" in the scratch arena. */
str cpath_text(struct loader *l, const struct cpath *path);
/* Formatted into the scratch arena, NUL-ended; "" when that is full. */
str load_text(struct loader *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* NUL-ended copy in the scratch arena; NULL for text with a NUL inside. */
const char *load_cstr(struct loader *l, str s);
/* A text for a message: quotes around it, cut at a sensible length. */
str load_quote(struct loader *l, str s);
/* Copies into the snapshot; STR_NONE and load_full() when it has no room. */
str load_keep(struct loader *l, str s);
void *load_keep_array(struct loader *l, size_t n, size_t size);

/* ---- steps ---- */

/* source.c: names and texts of all files into l->files; the only file access of the loader. */
bool source_read(struct loader *l);
/* NULL, or what is wrong with a store path: "is a directory, not a file", ... */
const char *source_store_problem(str path);

/* env.c: `${env.NAME}` in the text of a file (first pass) and in the merged tree (second pass).
 * What is wrong is said and the reference left as it is; env_text is false when parsing would only
 * add noise. */
bool env_text(struct loader *l, size_t file);
const struct ynode *env_tree(struct loader *l, const struct ynode *root);
/* Finds the next reference at or after *at; the whole match is [*at, *ret_end). */
bool env_next(str s, size_t *at, size_t *ret_end, str *ret_name);

/* merge.c: one tree from all files; NULL when every file is empty. */
const struct ynode *merge_files(struct loader *l);

/* tree.c */
typedef const struct ynode *tree_fn(struct loader *l, const struct ynode *scalar, void *ud);
/* Applies fn to all scalars of values; mappings with a key that is no text are left alone when
 * `strict`. */
const struct ynode *tree_map(struct loader *l, const struct ynode *n, bool strict, tree_fn *fn,
                             void *ud);
bool tree_string_map(const struct ynode *n);
/* A copy of the scalar `like` with another text (a string). */
const struct ynode *tree_text(struct loader *l, const struct ynode *like, str text);
const struct ynode *tree_int(struct loader *l, const struct ynode *like, int64_t i);
/* A copy of `map` with key set (appended if absent) or, with value NULL, removed. */
const struct ynode *tree_set(struct loader *l, const struct ynode *map, str key,
                             const struct ynode *value);

/* macros.c */
struct lmodel {
    str id;
    const struct ypair *pair; /* as parsed */
    const struct ynode *node; /* as changed; NULL: not a mapping, said already */
    struct lmacros own;       /* declared in the model */
    struct lmacros scope;     /* all that apply, in order */
    bool port_error;          /* `proxy` uses the port and `cmd` does not: said already */
    unsigned port;
};
struct lmodels {
    struct lmodel *at; /* sorted by id */
    size_t len;
};
void macros_declare(struct loader *l, const struct ynode *block, str model,
                    const struct cpath *path, struct lmacros *ret);
/* Next "${NAME}" at or after *at, NAME of letters, digits, '_' and '-'. */
bool macro_next(str s, size_t *at, size_t *ret_end, str *ret_name);
const struct ynode *macros_apply(struct loader *l, const struct ynode *n, const struct lmacros *m);
/* The models of the root, with macros and ports applied. */
void models_expand(struct loader *l, const struct ynode *root, int64_t start_port,
                   struct lmodels *ret);
/* The text of a macro's value where it is written into other text. */
str macro_text(struct loader *l, const struct ynode *value);

/* leftovers.c */
/* The nearest of the known names, as "did you mean <before>name<after>?", or NULL. */
const char *suggest(struct loader *l, str name, const str *known, size_t n, const char *before,
                    const char *after);
/* The same letters and digits, whatever the case and the dashes. */
bool same_word(str a, str b);
void leftovers_check(struct loader *l, const struct ynode *root, const struct lmodels *models);

/* decode_*.c: nodes to values; see schema.h for the table-driven part */
bool decode_text(struct loader *l, const struct ynode *n, const struct cpath *path, str *ret);
bool decode_int(struct loader *l, const struct ynode *n, const struct cpath *path, int64_t *ret);
bool decode_bool(struct loader *l, const struct ynode *n, const struct cpath *path, bool *ret);
/* A list of texts, nulls left out. */
bool decode_texts(struct loader *l, const struct ynode *n, const struct cpath *path,
                  const str **ret, size_t *ret_n);
bool decode_params(struct loader *l, const struct ynode *n, const struct cpath *path,
                   struct config_params *ret);
/* False and an error unless n is a mapping; false without one for null and absent. */
bool decode_is_map(struct loader *l, const struct ynode *n, const struct cpath *path);
/* As JSON in the snapshot. */
str decode_json(struct loader *l, const struct ynode *n, const struct cpath *path);
void decode_wrong_type(struct loader *l, const struct ynode *n, const struct cpath *path,
                       const char *wanted);
void decode_filters_done(struct loader *l, const struct ynode *n, bool legacy,
                         const struct cpath *path, struct config_filters *f);

/* check_*.c: sections with rules of their own, in the order of config.md section 2 */
void check_globals(struct loader *l, const struct ynode *root);
void check_models(struct loader *l, const struct lmodels *models);
void check_aliases(struct loader *l, const struct lmodels *models);
void check_peers(struct loader *l, const struct ynode *root);
void check_routing(struct loader *l, const struct ynode *root);
void check_scheduler(struct loader *l, const struct ynode *root);
void check_names(struct loader *l, const struct ynode *root); /* preload, apiKeys, peer names */
void check_selectors(struct loader *l, const struct ynode *root);
void check_profiles(struct loader *l, const struct ynode *root);
void check_policies(struct loader *l, const struct ynode *root);
/* The pairs of a mapping, sorted by key; NULL when there is no room. */
const struct ypair **sorted_pairs(struct loader *l, const struct ynode *n);
const char *suggest_model(struct loader *l, str name);

#endif
