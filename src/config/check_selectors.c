/* check_selectors.c: selectors and profiles (step 18); see load.h and config.md 6.4 and 6.5. */
#include "config/schema.h"

#include "base/check.h"
#include "sched/matrix.h"

struct sel {
    struct loader *l;
    struct config_selector *s;
    const struct ynode *n;
    const struct cpath *path;
};

static const struct ynode *at_key(const struct sel *x, str key)
{
    const struct ynode *v = ynode_get(x->n, key);
    return v ? v : x->n;
}

/* Where a target stands, nulls of the list skipped as in s->targets. */
static const struct ynode *target_node(const struct sel *x, size_t i)
{
    const struct ynode *list = ynode_get(x->n, S("targets"));
    for (uint32_t k = 0; list && list->type == YN_SEQ && k < list->n; k++)
        if (list->items[k]->type != YN_NULL && i-- == 0)
            return list->items[k];
    return list ? list : x->n;
}

static void strategy(struct sel *x, bool *ret_known)
{
    struct loader *l = x->l;
    const struct cpath *path = CPATH(x->path, S("strategy"));
    const struct ynode *n = ynode_get(x->n, S("strategy"));
    str s = STR_NONE;
    *ret_known = false;
    if (n && n->type != YN_NULL && !decode_text(l, n, path, &s))
        return;
    if (s.len == 0) {
        load_error(l, n ? n : x->n, path, "one of warm, pin, spillover",
                   "selectors.%.*s: strategy is required", STR_ARG(x->s->id));
        return;
    }
    for (int i = CONFIG_PIN; i <= CONFIG_SPILLOVER; i++)
        if (str_eq(s, str_c(config_strategy_name((enum config_strategy)i)))) {
            x->s->strategy = (enum config_strategy)i;
            *ret_known = true;
            return;
        }
    load_error(l, n, path, NULL,
               "selectors.%.*s: unknown strategy %.*s, must be one of warm, pin, spillover",
               STR_ARG(x->s->id), STR_ARG(load_quote(l, s)));
}

/* The text that two names of one thing share: a model's id or a full peer name. */
static str resolved(struct loader *l, str name)
{
    struct config_peer_ref ref;
    size_t m = config_find_model(l->cfg, name);
    if (m != CONFIG_NONE)
        return l->cfg->models[m].id;
    if (!config_find_peer(l->cfg, name, &ref))
        return name;
    const struct config_peer *p = &l->cfg->peers[ref.peer];
    return load_text(l, "%.*s/%.*s", STR_ARG(p->id), STR_ARG(p->models[ref.model]));
}

static bool check_target(struct sel *x, size_t i, const struct ynode *selectors)
{
    struct loader *l = x->l;
    str t = x->s->targets[i];
    const struct ynode *at = target_node(x, i);
    const struct cpath *path = CPATH_AT(CPATH(x->path, S("targets")), i);
    if (ynode_pair(selectors, t))
        load_error(
            l, at, path, NULL,
            "selectors.%.*s: target \"%.*s\" is a selector; selector chaining is not supported",
            STR_ARG(x->s->id), STR_ARG(t));
    else if (!config_base(l->cfg, t))
        load_error(l, at, path, suggest_model(l, t),
                   "selectors.%.*s: target references unknown model \"%.*s\"", STR_ARG(x->s->id),
                   STR_ARG(t));
    else if (x->s->strategy == CONFIG_WARM && config_find_model(l->cfg, t) == CONFIG_NONE)
        load_error(
            l, at, path, NULL,
            "selectors.%.*s: target \"%.*s\" must resolve to a local model for strategy \"warm\"",
            STR_ARG(x->s->id), STR_ARG(t));
    else
        return true;
    return false;
}

/* ---- can the local targets of a spillover selector run together? ---- */

static void fit_groups(struct sel *x, const size_t *models, size_t n)
{
    struct loader *l = x->l;
    struct config *c = l->cfg;
    size_t first = c->models[models[0]].group;
    if (first == CONFIG_NONE)
        return;
    const struct ynode *at = at_key(x, S("targets"));
    const struct cpath *path = CPATH(x->path, S("targets"));
    if (c->groups[first].swap)
        load_error(l, at, path, "put them into a group of their own with swap: false",
                   "selectors.%.*s: local spillover targets must share a group with swap: false; "
                   "group \"%.*s\" swaps",
                   STR_ARG(x->s->id), STR_ARG(c->groups[first].id));
    for (size_t i = 1; i < n; i++)
        if (c->models[models[i]].group != first) {
            load_error(l, at, path, NULL,
                       "selectors.%.*s: local spillover targets must share one routing group; "
                       "\"%.*s\" is not in \"%.*s\"",
                       STR_ARG(x->s->id), STR_ARG(c->models[models[i]].id),
                       STR_ARG(c->groups[first].id));
            return;
        }
}

static void fit_matrix(struct sel *x, const size_t *models, size_t n)
{
    struct loader *l = x->l;
    uint32_t *numbers = arena_try(&l->scratch, n * sizeof *numbers);
    if (!numbers || !l->matrix)
        return; /* what is wrong with it was said */
    for (size_t i = 0; i < n; i++)
        numbers[i] = matrix_model(l->matrix, l->cfg->models[models[i]].id);
    struct matrix_solver *sv = matrix_solver_new(l->matrix);
    if (!matrix_fits(sv, numbers, n))
        load_error(l, at_key(x, S("targets")), CPATH(x->path, S("targets")),
                   "add a set that joins them with `&`",
                   "selectors.%.*s: local spillover targets must all appear together in one "
                   "expanded matrix set",
                   STR_ARG(x->s->id));
    matrix_solver_free(sv);
}

static void check_spillover(struct sel *x)
{
    struct loader *l = x->l;
    struct config_selector *s = x->s;
    size_t n = 0;
    size_t *local = arena_try(&l->scratch, (s->n_targets + 1) * sizeof *local);
    struct map seen;
    if (!local)
        return;
    const struct cpath *spill = CPATH(CPATH(x->path, S("settings")), S("spillover"));
    if (s->spillover < 1)
        load_error(l, ynode_get(ynode_get(x->n, S("settings")), S("spillover")), spill, NULL,
                   "selectors.%.*s: settings.spillover must be >= 1", STR_ARG(s->id));
    map_init(&seen);
    for (size_t i = 0; i < s->n_targets; i++) {
        str name = resolved(l, s->targets[i]);
        size_t m = config_find_model(l->cfg, s->targets[i]);
        if (!map_set(&seen, name, s))
            load_error(l, target_node(x, i), CPATH_AT(CPATH(x->path, S("targets")), i), NULL,
                       "selectors.%.*s: target \"%.*s\" is a duplicate resolved model \"%.*s\"",
                       STR_ARG(s->id), STR_ARG(s->targets[i]), STR_ARG(name));
        else if (m != CONFIG_NONE)
            local[n++] = m;
    }
    map_fini(&seen);
    if (n < 2)
        return;
    if (l->cfg->router == CONFIG_ROUTER_MATRIX)
        fit_matrix(x, local, n);
    else
        fit_groups(x, local, n);
}

/* ---- one selector ---- */

static void check_id(struct sel *x, const struct ynode *key)
{
    struct loader *l = x->l;
    str id = x->s->id;
    size_t m = config_find_model(l->cfg, id);
    if (str_trim(id).len == 0)
        load_error(l, key, x->path, NULL, "selector names cannot be empty");
    else if (m != CONFIG_NONE)
        load_error(l, key, x->path, NULL, "selectors.%.*s: name conflicts with model %s \"%.*s\"",
                   STR_ARG(id), str_eq(l->cfg->models[m].id, id) ? "ID" : "alias", STR_ARG(id));
}

static void read_selector(struct loader *l, struct config_selector *s, const struct ypair *p,
                          const struct ynode *selectors, const struct cpath *path)
{
    struct sel x = { l, s, p->value, path };
    schema_defaults(SEC_SELECTOR, s);
    s->id = load_keep(l, p->key);
    check_id(&x, p->key_node);
    bool is_null = p->value->type == YN_NULL, known;
    if (!is_null && !decode_is_map(l, p->value, path))
        return;
    schema_read(l, SEC_SELECTOR, s, p->value, path);
    strategy(&x, &known);
    const struct ynode *targets = ynode_get(p->value, S("targets"));
    if (s->n_targets == 0 && (!targets || targets->type == YN_SEQ || targets->type == YN_NULL))
        load_error(l, targets ? targets : p->key_node, CPATH(path, S("targets")), NULL,
                   "selectors.%.*s: targets must contain at least one entry", STR_ARG(s->id));
    bool ok = known;
    for (size_t i = 0; i < s->n_targets; i++)
        ok &= check_target(&x, i, selectors);
    if (ok && s->strategy == CONFIG_SPILLOVER)
        check_spillover(&x);
}

void check_selectors(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *n = ynode_get(root, S("selectors"));
    const struct cpath *path = CPATH(NULL, S("selectors"));
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    c->selectors = load_keep_array(l, n->n, sizeof *c->selectors);
    if (!pairs || !c->selectors)
        return;
    for (uint32_t i = 0; i < n->n && !l->full; i++) {
        read_selector(l, &c->selectors[i], pairs[i], n, CPATH(path, pairs[i]->key));
        map_set(&c->selector_by_id, c->selectors[i].id, (void *)(uintptr_t)(i + 1));
        c->n_selectors = i + 1;
    }
}

/* ---- profiles ---- */

static void read_pins(struct loader *l, struct config_profile *p, const struct ynode *pins,
                      const struct cpath *path)
{
    struct config *c = l->cfg;
    const struct ypair **pairs = sorted_pairs(l, pins);
    struct config_pair *at = load_keep_array(l, pins->n, sizeof *at);
    if (!pairs || !at)
        return;
    for (uint32_t i = 0; i < pins->n; i++) {
        const struct cpath *here = CPATH(path, pairs[i]->key);
        at[i].key = load_keep(l, pairs[i]->key);
        at[i].value = S("");
        decode_text(l, pairs[i]->value, here, &at[i].value);
        if (str_trim(at[i].key).len == 0)
            load_error(l, pairs[i]->key_node, here, NULL,
                       "profiles.%.*s: pin names cannot be empty", STR_ARG(p->id));
        if (at[i].value.len && !config_base(c, at[i].value) &&
            config_find_selector(c, at[i].value) == CONFIG_NONE)
            load_error(l, pairs[i]->value, here, suggest_model(l, at[i].value),
                       "profiles.%.*s: pin \"%.*s\" references unknown model \"%.*s\"",
                       STR_ARG(p->id), STR_ARG(at[i].key), STR_ARG(at[i].value));
    }
    p->pins = at;
    p->n_pins = pins->n;
}

static void read_profile(struct loader *l, struct config_profile *p, const struct ypair *pair,
                         const struct cpath *path)
{
    const struct ynode *n = pair->value;
    p->id = load_keep(l, pair->key);
    schema_defaults(SEC_PROFILE, p);
    if (str_trim(p->id).len == 0)
        load_error(l, pair->key_node, path, NULL, "profile names cannot be empty");
    if (n->type != YN_MAP && n->type != YN_NULL) {
        load_error(l, n, path, "write it as: pins: {requested name: target}",
                   "profiles.%.*s: legacy list syntax is not supported", STR_ARG(p->id));
        return;
    }
    schema_read(l, SEC_PROFILE, p, n, path);
    const struct ynode *pins = ynode_get(n, S("pins"));
    if (!pins || pins->type == YN_NULL || (pins->type == YN_MAP && pins->n == 0))
        load_error(l, pins ? pins : pair->key_node, CPATH(path, S("pins")), NULL,
                   "profiles.%.*s: pins must contain at least one entry", STR_ARG(p->id));
    else if (decode_is_map(l, pins, CPATH(path, S("pins"))))
        read_pins(l, p, pins, CPATH(path, S("pins")));
}

void check_profiles(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *n = ynode_get(root, S("profiles"));
    const struct cpath *path = CPATH(NULL, S("profiles"));
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    c->profiles = load_keep_array(l, n->n, sizeof *c->profiles);
    if (!pairs || !c->profiles)
        return;
    c->n_profiles = n->n;
    for (uint32_t i = 0; i < n->n && !l->full; i++)
        read_profile(l, &c->profiles[i], pairs[i], CPATH(path, pairs[i]->key));
}
