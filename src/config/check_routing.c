/* check_routing.c: router, groups, matrix, scheduler (steps 16, 17 and 19); see load.h and
 * config.md 7. */
#include "config/schema.h"

#include "sched/matrix.h"

#include <stdio.h>

#define MATRIX_ERRORS_MAX 100

static int by_key(const void *x, const void *y)
{
    const struct ypair *const *a = x, *const *b = y;
    return str_cmp((*a)->key, (*b)->key);
}

const struct ypair **sorted_pairs(struct loader *l, const struct ynode *n)
{
    const struct ypair **at = arena_try(&l->scratch, (n->n + 1u) * sizeof *at);
    if (!at) {
        load_full(l);
        return NULL;
    }
    for (uint32_t i = 0; i < n->n; i++)
        at[i] = &n->pairs[i];
    qsort(at, n->n, sizeof *at, by_key);
    return at;
}

const char *suggest_model(struct loader *l, str name)
{
    size_t n = l->cfg->model_by_name.len;
    str *known = arena_try(&l->scratch, (n + 1) * sizeof *known);
    for (size_t i = 0; known && i < n; i++)
        known[i] = l->cfg->model_by_name.entries[i].key;
    return known ? suggest(l, name, known, n, "", "") : NULL;
}

/* ---- groups ---- */

static size_t *group_members(struct loader *l, struct config_group *g, const struct ynode *n,
                             const struct cpath *path, size_t *ret_n)
{
    struct config *c = l->cfg;
    const struct ypair *p = n && n->type == YN_MAP ? ynode_pair(n, S("members")) : NULL;
    const str *names = NULL;
    size_t len = 0, kept = 0;
    *ret_n = 0;
    if (p && !decode_texts(l, p->value, CPATH(path, p->key), &names, &len))
        return NULL;
    size_t *at = arena_try(&l->scratch, (len + 1) * sizeof *at);
    for (size_t i = 0; at && i < len; i++) {
        size_t m = config_find_model(c, names[i]);
        bool twice = false;
        for (size_t k = 0; k < kept; k++)
            twice |= at[k] == m;
        if (m == CONFIG_NONE)
            load_error(l, p->value, CPATH(path, p->key), suggest_model(l, names[i]),
                       "group %.*s: no model config for \"%.*s\"", STR_ARG(g->id),
                       STR_ARG(names[i]));
        else if (twice)
            load_error(l, p->value, CPATH(path, p->key), NULL,
                       "duplicate model member %.*s found in group: %.*s", STR_ARG(names[i]),
                       STR_ARG(g->id));
        else
            at[kept++] = m;
    }
    *ret_n = kept;
    return at;
}

static void read_group(struct loader *l, struct config_group *g, size_t index,
                       const struct ynode *n, const struct ynode *at, const struct cpath *path)
{
    struct config *c = l->cfg;
    if (n && n->type != YN_NULL) {
        schema_defaults(SEC_GROUP, g);
        schema_read(l, SEC_GROUP, g, n, path);
    }
    size_t *members = group_members(l, g, n, path, &g->n_members);
    for (size_t i = 0; i < g->n_members; i++) {
        struct config_model *m = &c->models[members[i]];
        if (m->group != CONFIG_NONE)
            load_error(l, n ? n : at, path, "a model may be in one group only",
                       "model member %.*s is used in multiple groups: %.*s and %.*s",
                       STR_ARG(m->id), STR_ARG(c->groups[m->group].id), STR_ARG(g->id));
        else
            m->group = index;
    }
    g->members = members;
}

/* The models in no group go into "(default)", which the file may have defined itself. */
static void default_group(struct loader *l)
{
    struct config *c = l->cfg;
    const str name = S("(default)");
    size_t d = 0;
    while (d < c->n_groups && !str_eq(c->groups[d].id, name))
        d++;
    struct config_group *g = &c->groups[d];
    if (d == c->n_groups) {
        *g = (struct config_group){ .id = name, .swap = true, .exclusive = true };
        c->n_groups++;
    }
    size_t *at = load_keep_array(l, c->n_models, sizeof *at);
    if (!at)
        return;
    if (g->n_members)
        memcpy(at, g->members, g->n_members * sizeof *at);
    for (size_t i = 0; i < c->n_models; i++)
        if (c->models[i].group == CONFIG_NONE) {
            at[g->n_members++] = i;
            c->models[i].group = d;
        }
    g->members = at;
}

static int group_by_id(const void *x, const void *y)
{
    const struct config_group *a = x, *b = y;
    return str_cmp(a->id, b->id);
}

static void read_groups(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config *c = l->cfg;
    uint32_t len = decode_is_map(l, n, path) ? n->n : 0;
    c->groups = load_keep_array(l, len + 1u, sizeof *c->groups);
    const struct ypair **pairs = len ? sorted_pairs(l, n) : NULL;
    if (!c->groups || (len && !pairs))
        return;
    for (uint32_t i = 0; i < len; i++) {
        struct config_group *g = &c->groups[c->n_groups++];
        g->id = load_keep(l, pairs[i]->key);
        read_group(l, g, i, pairs[i]->value, pairs[i]->key_node, CPATH(path, pairs[i]->key));
    }
    for (size_t i = 0; i < c->n_groups; i++) {
        size_t *at = load_keep_array(l, c->groups[i].n_members, sizeof *at);
        if (!at)
            return;
        if (c->groups[i].n_members)
            memcpy(at, c->groups[i].members, c->groups[i].n_members * sizeof *at);
        c->groups[i].members = at;
    }
    default_group(l);
    qsort(c->groups, c->n_groups, sizeof *c->groups, group_by_id);
    for (size_t i = 0; i < c->n_groups; i++)
        for (size_t k = 0; k < c->groups[i].n_members; k++)
            c->models[c->groups[i].members[k]].group = i;
}

/* ---- matrix ---- */

static void read_vars(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config_matrix *x = &l->cfg->matrix;
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    struct config_pair *at = load_keep_array(l, n->n, sizeof *at);
    if (!pairs || !at)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        at[i].key = load_keep(l, pairs[i]->key);
        decode_text(l, pairs[i]->value, CPATH(path, pairs[i]->key), &at[i].value);
    }
    x->vars = at;
    x->n_vars = n->n;
}

static void read_costs(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config_matrix *x = &l->cfg->matrix;
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    struct config_cost *at = load_keep_array(l, n->n, sizeof *at);
    if (!pairs || !at)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        at[i].key = load_keep(l, pairs[i]->key);
        at[i].model = CONFIG_NONE;
        if (pairs[i]->value->type != YN_NULL &&
            !decode_int(l, pairs[i]->value, CPATH(path, pairs[i]->key), &at[i].cost))
            at[i].cost = 1; /* said */
    }
    x->costs = at;
    x->n_costs = n->n;
}

static void read_sets(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config_matrix *x = &l->cfg->matrix;
    if (!n || n->type == YN_NULL)
        return;
    if (n->type != YN_MAP) {
        load_error(l, n, path, NULL, "matrix: sets must be a mapping, not %s",
                   ynode_type_name(n->type));
        return;
    }
    struct config_pair *at = load_keep_array(l, n->n, sizeof *at);
    if (!at)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        const struct ynode *v = n->pairs[i].value;
        at[i].key = load_keep(l, n->pairs[i].key);
        at[i].value = S("");
        if (v->type == YN_SEQ || v->type == YN_MAP)
            load_error(l, v, CPATH(path, at[i].key), NULL,
                       "matrix: failed to decode DSL for set \"%.*s\": text is needed, not %s",
                       STR_ARG(at[i].key), ynode_type_name(v->type));
        else if (v->type != YN_NULL)
            decode_text(l, v, CPATH(path, at[i].key), &at[i].value);
    }
    x->sets = at;
    x->n_sets = n->n;
}

/* Working copies for matrix_compile, in which what was complained about is made harmless. */
struct compile {
    struct matrix_src src;
    struct matrix_var *vars;
    struct matrix_cost *costs;
    struct matrix_set *sets;
};

static bool compile_src(struct loader *l, struct compile *k)
{
    struct config *c = l->cfg;
    const struct config_matrix *x = &c->matrix;
    str *models = arena_try(&l->scratch, (c->n_models + 1) * sizeof *models);
    k->vars = arena_try(&l->scratch, (x->n_vars + 1) * sizeof *k->vars);
    k->costs = arena_try(&l->scratch, (x->n_costs + 1) * sizeof *k->costs);
    k->sets = arena_try(&l->scratch, (x->n_sets + 1) * sizeof *k->sets);
    if (!models || !k->vars || !k->costs || !k->sets) {
        load_full(l);
        return false;
    }
    for (size_t i = 0; i < c->n_models; i++)
        models[i] = c->models[i].id;
    for (size_t i = 0; i < x->n_vars; i++)
        k->vars[i] = (struct matrix_var){ x->vars[i].key, x->vars[i].value };
    for (size_t i = 0; i < x->n_costs; i++)
        k->costs[i] = (struct matrix_cost){ x->costs[i].key, x->costs[i].cost };
    for (size_t i = 0; i < x->n_sets; i++)
        k->sets[i] = (struct matrix_set){ x->sets[i].key, x->sets[i].value };
    k->src = (struct matrix_src){ models,   c->n_models, k->vars, x->n_vars,
                                  k->costs, x->n_costs,  k->sets, x->n_sets };
    return true;
}

static const struct ynode *entry(const struct ynode *matrix, str section, str key, bool value)
{
    const struct ypair *p = ynode_pair(ynode_get(matrix, section), key);
    return !p ? matrix : value ? p->value : p->key_node;
}

/* Says one error of the compiler and removes its cause from the copies; false when nothing is left
 * to try. */
static bool say_and_mend(struct loader *l, struct compile *k, const struct matrix_at *at,
                         const struct error *e, const struct ynode *n, const struct cpath *path)
{
    const char *msg = e->msg;
    const char *prefix = str_starts(str_c(msg), S("matrix: ")) ? "" : "matrix: ";
    if (at->what == MATRIX_AT_VAR && at->index < k->src.n_vars) {
        struct matrix_var *v = &k->vars[at->index];
        load_error(l, entry(n, S("vars"), v->name, true), CPATH(CPATH(path, S("vars")), v->name),
                   suggest_model(l, v->model), "%s%s", prefix, msg);
        for (size_t i = at->index; i + 1 < k->src.n_vars; i++)
            k->vars[i] = k->vars[i + 1];
        k->src.n_vars--;
        return true;
    }
    if (at->what == MATRIX_AT_COST && at->index < k->src.n_costs) {
        struct matrix_cost *c = &k->costs[at->index];
        load_error(l, entry(n, S("evict_costs"), c->name, true),
                   CPATH(CPATH(path, S("evict_costs")), c->name), NULL, "%s%s", prefix, msg);
        for (size_t i = at->index; i + 1 < k->src.n_costs; i++)
            k->costs[i] = k->costs[i + 1];
        k->src.n_costs--;
        return true;
    }
    if (at->what == MATRIX_AT_SET && at->index < k->src.n_sets) {
        struct matrix_set *s = &k->sets[at->index];
        struct ynode where = *entry(n, S("sets"), s->name, true);
        if (where.type == YN_STR && where.style != YS_BLOCK && str_chr(where.text, '\n') < 0)
            where.col += (uint32_t)at->offset + (where.style != YS_PLAIN);
        load_error(l, &where, CPATH(CPATH(path, S("sets")), s->name), NULL, "%s%s", prefix, msg);
        bool again = !str_eq(s->text, S("luaswap-placeholder")) && k->src.n_models > 0;
        s->text = S("luaswap-placeholder");
        return again;
    }
    load_error(l, n, path, NULL, "%s%s", prefix, msg);
    return false;
}

static struct matrix *compile_matrix(struct loader *l, const struct ynode *n,
                                     const struct cpath *path)
{
    struct compile k;
    struct matrix *m = NULL;
    if (l->full || !compile_src(l, &k))
        return NULL;
    bool failed = false;
    for (int tries = 0; tries < MATRIX_ERRORS_MAX; tries++) {
        struct matrix_at at = { 0 };
        struct error e = { 0 };
        if (matrix_compile(&k.src, &m, &at, &e) == 0)
            break;
        m = NULL;
        /* a name that stands for the first model, for sets whose text was wrong */
        if (!failed && k.src.n_models > 0)
            k.vars[k.src.n_vars++] =
                (struct matrix_var){ S("luaswap-placeholder"), k.src.models[0] };
        failed = true;
        if (!say_and_mend(l, &k, &at, &e, n, path))
            break;
    }
    if (failed) {
        matrix_free(m);
        return NULL;
    }
    return m;
}

static void resolve_costs(struct loader *l)
{
    const struct config_matrix *x = &l->cfg->matrix;
    for (size_t i = 0; i < x->n_costs; i++) {
        struct config_cost *c =
            (struct config_cost *)(uintptr_t)&x->costs[i]; /* still being built */
        str id = c->key;
        for (size_t k = 0; k < x->n_vars; k++)
            if (str_eq(x->vars[k].key, id)) {
                id = x->vars[k].value;
                break;
            }
        c->model = config_find_model_id(l->cfg, id);
    }
}

static void read_matrix(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config *c = l->cfg;
    c->router = CONFIG_ROUTER_MATRIX;
    if (!decode_is_map(l, n, path))
        return;
    schema_read(l, SEC_MATRIX, &c->matrix, n, path); /* unknown keys */
    read_vars(l, ynode_get(n, S("vars")), CPATH(path, S("vars")));
    read_costs(l, ynode_get(n, S("evict_costs")), CPATH(path, S("evict_costs")));
    size_t before = l->report->errors;
    read_sets(l, ynode_get(n, S("sets")), CPATH(path, S("sets")));
    if (l->report->errors == before)
        l->matrix = compile_matrix(l, n, path);
    resolve_costs(l);
}

/* ---- which router ---- */

static bool present(const struct ynode *n, bool even_empty)
{
    return n && n->type != YN_NULL &&
           (even_empty || n->n > 0 || (n->type != YN_MAP && n->type != YN_SEQ));
}

void check_routing(struct loader *l, const struct ynode *root)
{
    const struct cpath *router = CPATH(CPATH(NULL, S("routing")), S("router"));
    const struct cpath *settings = CPATH(router, S("settings"));
    const struct ynode *rn = ynode_get(ynode_get(root, S("routing")), S("router"));
    const struct ynode *sn = ynode_get(rn, S("settings")), *un = ynode_get(rn, S("use"));
    const struct ynode *new_groups = ynode_get(sn, S("groups")),
                       *new_matrix = ynode_get(sn, S("matrix"));
    const struct ynode *groups = ynode_get(root, S("groups")),
                       *matrix = ynode_get(root, S("matrix"));
    bool legacy_groups = present(groups, false), legacy_matrix = present(matrix, true);
    str use = STR_NONE;
    if (un)
        decode_text(l, un, CPATH(router, S("use")), &use);
    bool modern = use.len || present(new_matrix, true) || present(new_groups, false);
    if ((legacy_groups || legacy_matrix) && modern) {
        load_error(l, legacy_groups ? groups : matrix,
                   CPATH(NULL, legacy_groups ? S("groups") : S("matrix")),
                   "move it under routing.router.settings",
                   "top-level 'groups' or 'matrix' cannot be combined with 'routing.router'; "
                   "migrate to routing.router.settings");
        use = S("");
    } else if (legacy_groups && legacy_matrix) {
        load_error(l, matrix, CPATH(NULL, S("matrix")), "keep one of them",
                   "cannot use both 'groups' and 'matrix'");
    }
    if (legacy_groups) {
        read_groups(l, groups, CPATH(NULL, S("groups")));
    } else if (legacy_matrix) {
        read_matrix(l, matrix, CPATH(NULL, S("matrix")));
    } else if (str_eq(use, S("matrix"))) {
        if (present(new_matrix, true))
            read_matrix(l, new_matrix, CPATH(settings, S("matrix")));
        else
            load_error(l, un, CPATH(router, S("use")), NULL,
                       "routing.router.settings.matrix is not set");
    } else {
        if (use.len && !str_eq(use, S("group")))
            load_error(l, un, CPATH(router, S("use")), NULL,
                       "routing.router.use: unknown router %.*s, must be one of group, matrix",
                       STR_ARG(load_quote(l, use)));
        if (present(new_matrix, true))
            load_warn(l, new_matrix, CPATH(settings, S("matrix")),
                      "routing.router.use: matrix would use it",
                      "the matrix is ignored, because the router is 'group'");
        read_groups(l, new_groups, CPATH(settings, S("groups")));
    }
}

/* ---- scheduler ---- */

static void read_priorities(struct loader *l, const struct ynode *n, const struct cpath *path)
{
    struct config *c = l->cfg;
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    struct config_cost *at = load_keep_array(l, n->n, sizeof *at);
    if (!pairs || !at)
        return;
    c->fifo.priority = at;
    c->fifo.n_priority = n->n;
    /* aliases first, so that a priority under the id itself wins */
    for (int ids = 0; ids <= 1; ids++)
        for (uint32_t i = 0; i < n->n; i++) {
            size_t m = config_find_model(c, pairs[i]->key);
            bool is_id = m != CONFIG_NONE && str_eq(c->models[m].id, pairs[i]->key);
            if (is_id != (ids == 1))
                continue;
            at[i] = (struct config_cost){ load_keep(l, pairs[i]->key), 0, m };
            const struct cpath *here = CPATH(path, pairs[i]->key);
            decode_int(l, pairs[i]->value, here, &at[i].cost);
            if (m == CONFIG_NONE)
                load_error(l, pairs[i]->key_node, here, suggest_model(l, pairs[i]->key),
                           "%.*s references unknown model %.*s", STR_ARG(cpath_text(l, path)),
                           STR_ARG(load_quote(l, pairs[i]->key)));
            else
                c->models[m].priority = at[i].cost;
        }
}

void check_scheduler(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct cpath *path = CPATH(CPATH(NULL, S("routing")), S("scheduler"));
    const struct ynode *n = ynode_get(ynode_get(root, S("routing")), S("scheduler"));
    const struct ynode *un = ynode_get(n, S("use"));
    str use = STR_NONE;
    if (un)
        decode_text(l, un, CPATH(path, S("use")), &use);
    c->scheduler_given = use.len > 0;
    if (str_eq(use, S("fifo")))
        c->scheduler = CONFIG_SCHED_FIFO;
    else if (str_ends(use, S(".lua"))) { /* check_policies puts it first */
        c->scheduler = CONFIG_SCHED_FIFO;
        c->scheduler_file = load_keep(l, use);
    } else if (use.len && !str_eq(use, S("serial")))
        load_error(l, un, CPATH(path, S("use")), NULL,
                   "routing.scheduler.use: unknown scheduler %.*s, must be one of: fifo, serial, or the path of a policy that ends in .lua",
                   STR_ARG(load_quote(l, use)));
    const struct cpath *fifo = CPATH(CPATH(path, S("settings")), S("fifo"));
    read_priorities(l, ynode_get(ynode_get(ynode_get(n, S("settings")), S("fifo")), S("priority")),
                    CPATH(fifo, S("priority")));
}
