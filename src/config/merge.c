/* merge.c: several files to one tree (config.md 1.4); see load.h.
 *
 * Aliases and merge keys are already resolved within each file.
 */
#include "config/load.h"

#include <stdio.h>

static bool identity_map(const struct cpath *path, struct loader *l)
{
    static const char *const paths[] = { "models",
                                         "groups",
                                         "profiles",
                                         "selectors",
                                         "peers",
                                         "matrix",
                                         "routing.router.settings.groups",
                                         "routing.router.settings.matrix" };
    str p = cpath_text(l, path);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++)
        if (str_eq(p, str_c(paths[i])))
            return true;
    return false;
}

struct side {
    const struct ynode *node;
    bool aliased;
};

static const struct ynode *merge(struct loader *l, struct side a, struct side b,
                                 const struct cpath *path);

static void say_earlier(struct loader *l, const struct ynode *a, char out[160])
{
    str name = a->file < l->n_files ? l->files[a->file].name : S("an earlier source");
    snprintf(out, 160, "the earlier one is at %.*s:%u:%u", (int)(name.len > 100 ? 100 : name.len),
             name.ptr, (unsigned)a->line, (unsigned)a->col);
}

/* Both are mappings: a with the pairs of b joined in. */
static const struct ynode *merge_maps(struct loader *l, const struct ynode *a,
                                      const struct ynode *b, const struct cpath *path,
                                      bool identity)
{
    char where[160];
    struct ynode *c = arena_try(&l->scratch, sizeof *c);
    struct ypair *pairs = arena_try(&l->scratch, ((size_t)a->n + b->n) * sizeof *pairs);
    if (!c || !pairs) {
        load_full(l);
        return a;
    }
    *c = *a;
    c->pairs = pairs;
    if (a->n)
        memcpy(pairs, a->pairs, a->n * sizeof *pairs);
    if (!a->merge_line && b->merge_line) {
        c->merge_line = b->merge_line;
        c->merge_col = b->merge_col;
    }
    for (uint32_t i = 0; i < b->n && !l->full; i++) {
        const struct ypair *pb = &b->pairs[i];
        struct ypair *pa = (struct ypair *)(uintptr_t)ynode_pair(c, pb->key);
        const struct cpath *here = CPATH(path, pb->key);
        if (!pa) {
            pairs[c->n++] = *pb;
        } else if (identity) {
            say_earlier(l, pa->key_node, where);
            load_error(l, pb->key_node, here, where, "duplicate %.*s \"%.*s\"", STR_ARG(path->key),
                       STR_ARG(pb->key));
        } else {
            pa->value = merge(l, (struct side){ pa->value, pa->aliased },
                              (struct side){ pb->value, pb->aliased }, here);
        }
    }
    return c;
}

static const struct ynode *join_lists(struct loader *l, const struct ynode *a,
                                      const struct ynode *b)
{
    struct ynode *c = arena_try(&l->scratch, sizeof *c);
    const struct ynode **items = arena_try(&l->scratch, ((size_t)a->n + b->n) * sizeof *items);
    if (!c || !items) {
        load_full(l);
        return a;
    }
    *c = *a;
    c->items = items;
    c->n = a->n + b->n;
    if (a->n)
        memcpy(items, a->items, a->n * sizeof *items);
    if (b->n)
        memcpy(items + a->n, b->items, b->n * sizeof *items);
    return c;
}

static bool collection(const struct ynode *n)
{
    return n->type == YN_SEQ || n->type == YN_MAP;
}

static const struct ynode *merge(struct loader *l, struct side a, struct side b,
                                 const struct cpath *path)
{
    char where[160];
    const struct ynode *x = a.node, *y = b.node;
    say_earlier(l, x, where);
    str p = cpath_text(l, path);
    if (identity_map(path, l)) {
        if (x->type == YN_MAP && y->type == YN_MAP)
            return merge_maps(l, x, y, path, true);
        load_error(l, y, path, where, "conflict at \"%.*s\": expected a mapping in both files",
                   STR_ARG(p));
        return x->type == YN_MAP ? x : y;
    }
    if (a.aliased || b.aliased) {
        load_error(l, y, path, where,
                   "conflict at \"%.*s\": incompatible YAML node kinds (an alias cannot be merged)",
                   STR_ARG(p));
        return x;
    }
    if (x->type == YN_MAP && y->type == YN_MAP)
        return merge_maps(l, x, y, path, false);
    if (x->type == YN_SEQ && y->type == YN_SEQ)
        return join_lists(l, x, y);
    if (x->blank)
        return y;
    if (y->blank)
        return x;
    if (collection(x) || collection(y)) {
        load_error(l, y, path, where, "conflict at \"%.*s\": incompatible YAML node kinds",
                   STR_ARG(p));
        return x;
    }
    if (x->type != y->type || !str_eq(x->text, y->text))
        load_error(l, y, path, where,
                   "conflict at \"%.*s\": %.*s sets a different value than a previous source",
                   STR_ARG(p), STR_ARG(l->files[y->file < l->n_files ? y->file : 0].name));
    return x;
}

/* ---- the files ---- */

struct parse_ud {
    struct loader *l;
    const struct cfile *file;
};

static void on_error(void *ud, uint32_t line, uint32_t col, const char *text)
{
    struct parse_ud *p = ud;
    load_error_at(p->l, p->file->name, line, load_column(p->file, line, col),
                  "failed to parse config %.*s: %s", STR_ARG(p->file->name), text);
}

const struct ynode *merge_files(struct loader *l)
{
    const struct ynode *all = NULL;
    size_t before = l->report->errors;
    for (size_t i = 0; i < l->n_files; i++) {
        const struct ynode *root = NULL;
        if (!env_text(l, i))
            continue;
        struct parse_ud ud = { l, &l->files[i] };
        struct yaml_opts opts = { .file = (uint16_t)i, .on_error = on_error, .ud = &ud };
        if (yaml_tree_parse(&l->scratch, l->files[i].text, &opts, &root) != 0 || !root ||
            !collection(root) || root->n == 0)
            continue;
        if (root->type != YN_MAP)
            load_error(l, root, NULL, NULL, "config %.*s: top-level YAML must be a mapping",
                       STR_ARG(l->files[i].name));
        else
            all = all ? merge_maps(l, all, root, NULL, false) : root;
    }
    return l->report->errors > before && !all ? NULL : all;
}
