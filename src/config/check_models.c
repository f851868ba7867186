/* check_models.c: global settings, models and their aliases (steps 10 to 15); see load.h. */
#include "config/schema.h"

#include "config/re2.h"

#define HEALTH_MIN_MS 15000

/* ---- global settings ---- */

static void session_ids(struct loader *l, const struct ynode *root)
{
    static const str defaults[] = { { "X-Session-ID", 12 }, { "X-Litellm-Session-Id", 20 } };
    struct config *c = l->cfg;
    const struct ynode *ui = ynode_get(root, S("ui"));
    const struct ynode *activity = ui ? ynode_get(ui, S("activity")) : NULL;
    const struct ypair *p = ynode_pair(activity, S("session_id"));
    const str *raw = NULL;
    size_t n = 0, kept = 0;
    c->session_id = defaults;
    c->n_session_id = ARRAY_LEN(defaults);
    if (!p)
        return;
    const struct cpath *path = CPATH(CPATH(CPATH(NULL, S("ui")), S("activity")), p->key);
    if (!decode_texts(l, p->value, path, &raw, &n))
        return;
    str *at = load_keep_array(l, n, sizeof *at);
    for (size_t i = 0; at && i < n; i++) {
        str s = str_trim(raw[i]);
        bool seen = s.len == 0;
        for (size_t k = 0; k < kept && !seen; k++)
            seen = str_ieq(at[k], s);
        if (!seen)
            at[kept++] = s;
    }
    c->session_id = at;
    c->n_session_id = kept;
}

static void ignore_paths(struct loader *l, const struct ynode *root)
{
    static const str dflt[] = { { ".*\\.(js|json|css|png|gif|jpg|jpeg|ico|txt)$", 43 } };
    struct config *c = l->cfg;
    const struct ypair *p = ynode_pair(ynode_get(root, S("upstream")), S("ignorePaths"));
    if (p && p->value->type != YN_NULL) {
        const struct cpath *path = CPATH(CPATH(NULL, S("upstream")), p->key);
        decode_texts(l, p->value, path, &c->ignore_paths, &c->n_ignore_paths);
        for (uint32_t i = 0; p->value->type == YN_SEQ && i < p->value->n; i++) {
            const struct ynode *item = p->value->items[i];
            struct error e;
            if (item->type != YN_NULL && item->type != YN_SEQ && item->type != YN_MAP &&
                re2_check(ynode_scalar_text(&l->scratch, item), &e) != 0)
                load_error(l, item, CPATH_AT(path, i), NULL,
                           "upstream.ignorePaths: invalid regular expression %.*s: %s",
                           STR_ARG(load_quote(l, ynode_scalar_text(&l->scratch, item))), e.msg);
        }
    }
    if (c->n_ignore_paths == 0) {
        c->ignore_paths = dflt;
        c->n_ignore_paths = 1;
    }
}

void check_globals(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    if (c->health_timeout_ms < HEALTH_MIN_MS)
        c->health_timeout_ms = HEALTH_MIN_MS;
    if (c->unload_timeout_ms == 0)
        c->unload_timeout_ms = 10000;
    if (c->metrics_max_in_memory <= 0)
        c->metrics_max_in_memory = 1000;
    if (c->capture_buffer_mib < 0)
        c->capture_buffer_mib = 0;
    session_ids(l, root);
    ignore_paths(l, root);
}

/* ---- models ---- */

static const struct ynode *at_key(const struct lmodel *lm, str key)
{
    const struct ynode *v = lm->node ? ynode_get(lm->node, key) : NULL;
    return v ? v : lm->pair->key_node;
}

static void seconds_rules(struct loader *l, const struct lmodel *lm, struct config_model *m,
                          const struct cpath *path)
{
    const struct config *c = l->cfg;
    if (m->health_timeout_ms == -1000)
        m->health_timeout_ms = c->health_timeout_ms;
    if (m->health_timeout_ms < HEALTH_MIN_MS)
        m->health_timeout_ms = HEALTH_MIN_MS;
    if (m->ttl_ms < -1000)
        load_error(l, at_key(lm, S("ttl")), CPATH(path, S("ttl")),
                   "0 never unloads, -1 takes globalTTL", "model %.*s: invalid TTL value %lld",
                   STR_ARG(m->id), (long long)(m->ttl_ms / 1000));
    if (m->ttl_ms < 0)
        m->ttl_ms = c->global_ttl_ms;
    if (m->unload_timeout_ms < 0)
        load_error(l, at_key(lm, S("unloadTimeout")), CPATH(path, S("unloadTimeout")), NULL,
                   "model %.*s: invalid unloadTimeout value %lld", STR_ARG(m->id),
                   (long long)(m->unload_timeout_ms / 1000));
    if (m->unload_timeout_ms <= 0)
        m->unload_timeout_ms = c->unload_timeout_ms;
}

static void proxy_rule(struct loader *l, const struct lmodel *lm, struct config_model *m,
                       const struct cpath *path)
{
    struct error e;
    if (!lm->node || lm->port_error || str_find(m->proxy, S("${")) >= 0)
        return; /* said already */
    if (gourl_parse(m->proxy, &m->proxy_url, &e) != 0)
        load_error(l, at_key(lm, S("proxy")), CPATH(path, S("proxy")),
                   "for example http://localhost:8080", "model %.*s: invalid proxy URL %.*s: %s",
                   STR_ARG(m->id), STR_ARG(load_quote(l, m->proxy)), e.msg);
    else if (m->proxy.len == 0)
        load_warn(l, at_key(lm, S("proxy")), CPATH(path, S("proxy")), NULL,
                  "model %.*s: has no upstream address and cannot be started", STR_ARG(m->id));
    else if (m->proxy_url.host.len == 0)
        load_warn(l, at_key(lm, S("proxy")), CPATH(path, S("proxy")),
                  "for example http://localhost:8080",
                  "model %.*s: the proxy URL %.*s names no host", STR_ARG(m->id),
                  STR_ARG(load_quote(l, m->proxy)));
}

static void keep_macros(struct loader *l, const struct lmacros *from,
                        const struct config_macro **ret, size_t *ret_n)
{
    struct config_macro *at = load_keep_array(l, from->len, sizeof *at);
    *ret = at;
    *ret_n = at ? from->len : 0;
    for (size_t i = 0; at && i < from->len; i++) {
        at[i].name = load_keep(l, from->at[i].name);
        at[i].text = load_keep(l, macro_text(l, from->at[i].value));
        at[i].json = decode_json(l, from->at[i].value, NULL);
    }
}

static void read_model(struct loader *l, const struct lmodel *lm, struct config_model *m)
{
    const struct cpath *path = CPATH(CPATH(NULL, S("models")), lm->id);
    schema_defaults(SEC_MODEL, m);
    m->id = load_keep(l, lm->id);
    m->send_loading_state = l->cfg->send_loading_state;
    m->group = CONFIG_NONE;
    m->port = lm->port;
    if (!lm->node)
        m->proxy = S("");
    schema_read(l, SEC_MODEL, m, lm->node, path);
    const struct ynode *filters = lm->node ? ynode_get(lm->node, S("filters")) : NULL;
    decode_filters_done(l, filters, true, CPATH(path, S("filters")), &m->filters);
    keep_macros(l, &lm->own, &m->macros, &m->n_macros);
    m->check_endpoint = str_trim(m->check_endpoint);
    if (str_eq(m->id, S("comfyui_auto"))) {
        m->ignore_websockets = true;
        if (m->concurrency_limit < 50)
            m->concurrency_limit = 50;
    }
    seconds_rules(l, lm, m, path);
    if (m->caps.context < 0) {
        const struct ynode *caps = ynode_get(lm->node, S("capabilities"));
        load_error(l, ynode_get(caps, S("context")),
                   CPATH(CPATH(path, S("capabilities")), S("context")), NULL,
                   "model %.*s: capabilities.context: must be >= 0", STR_ARG(m->id));
    }
    proxy_rule(l, lm, m, path);
    if (lm->node && str_trim(m->cmd).len == 0)
        load_warn(l, at_key(lm, S("cmd")), CPATH(path, S("cmd")), NULL,
                  "model %.*s: has no cmd and cannot be started", STR_ARG(m->id));
}

void check_models(struct loader *l, const struct lmodels *models)
{
    struct config *c = l->cfg;
    keep_macros(l, &l->globals, &c->macros, &c->n_macros);
    c->models = load_keep_array(l, models->len, sizeof *c->models);
    if (!c->models)
        return;
    c->n_models = models->len;
    for (size_t i = 0; i < models->len && !l->full; i++) {
        read_model(l, &models->at[i], &c->models[i]);
        map_set(&c->model_by_name, c->models[i].id, (void *)(uintptr_t)(i + 1));
    }
}

/* ---- aliases ---- */

static void written_aliases(struct loader *l, const struct lmodel *lm, size_t i, struct map *owners)
{
    struct config_model *m = &l->cfg->models[i];
    const struct ynode *list = lm->node ? ynode_get(lm->node, S("aliases")) : NULL;
    const struct cpath *path = CPATH(CPATH(CPATH(NULL, S("models")), m->id), S("aliases"));
    size_t item = 0; /* nulls of the list have no entry in m->aliases */
    for (size_t k = 0; k < m->n_aliases; k++, item++) {
        while (item < list->n &&
               (list->items[item]->type == YN_NULL || list->items[item]->type == YN_SEQ ||
                list->items[item]->type == YN_MAP))
            item++;
        str a = m->aliases[k];
        const struct ynode *at = item < list->n ? list->items[item] : list;
        if (!map_set(owners, a, (void *)(uintptr_t)(i + 1)))
            load_error(l, at, CPATH_AT(path, item), NULL,
                       "duplicate alias %.*s found in model: %.*s", STR_ARG(a), STR_ARG(m->id));
        else if (config_find_model_id(l->cfg, a) != CONFIG_NONE)
            load_warn(l, at, CPATH_AT(path, item), NULL,
                      "model %.*s: the alias %.*s is the id of a model and never used",
                      STR_ARG(m->id), STR_ARG(load_quote(l, a)));
    }
}

/* The keys of setParamsByID become aliases; they come sorted. */
static void auto_aliases(struct loader *l, const struct lmodel *lm, size_t i, struct map *owners)
{
    struct config_model *m = &l->cfg->models[i];
    if (m->filters.n_by_id == 0)
        return;
    str *all = load_keep_array(l, m->n_aliases + m->filters.n_by_id, sizeof *all);
    if (!all)
        return;
    size_t n = m->n_aliases;
    if (n)
        memcpy(all, m->aliases, n * sizeof *all);
    const struct ynode *by_id = ynode_get(ynode_get(lm->node, S("filters")), S("setParamsByID"));
    const struct cpath *path = CPATH(CPATH(CPATH(NULL, S("models")), m->id), S("filters"));
    path = CPATH(path, S("setParamsByID"));
    for (size_t k = 0; k < m->filters.n_by_id; k++) {
        str a = m->filters.by_id[k].id;
        const struct ypair *p = ynode_pair(by_id, a);
        const struct ynode *at = p ? p->key_node : by_id;
        size_t owner = (size_t)(uintptr_t)map_get(owners, a);
        size_t model = config_find_model_id(l->cfg, a);
        if (model == i)
            continue;
        if (model != CONFIG_NONE)
            load_error(
                l, at, CPATH(path, a), NULL,
                "model %.*s filters.setParamsByID: key '%.*s' conflicts with an existing model ID",
                STR_ARG(m->id), STR_ARG(a));
        else if (owner && owner - 1 != i)
            load_error(l, at, CPATH(path, a), NULL,
                       "duplicate alias '%.*s' in model %.*s filters.setParamsByID, already used "
                       "by model %.*s",
                       STR_ARG(a), STR_ARG(m->id), STR_ARG(l->cfg->models[owner - 1].id));
        else if (!owner)
            all[n++] = a;
        if (!owner && model == CONFIG_NONE)
            map_set(owners, a, (void *)(uintptr_t)(i + 1));
    }
    m->aliases = all;
    m->n_aliases = n;
}

void check_aliases(struct loader *l, const struct lmodels *models)
{
    struct config *c = l->cfg;
    struct map owners; /* alias -> index + 1 */
    map_init(&owners);
    for (size_t i = 0; i < c->n_models; i++)
        written_aliases(l, &models->at[i], i, &owners);
    for (size_t i = 0; i < c->n_models; i++)
        auto_aliases(l, &models->at[i], i, &owners);
    for (size_t i = 0; i < owners.len; i++)
        if (!map_has(&c->model_by_name, owners.entries[i].key))
            map_set(&c->model_by_name, owners.entries[i].key, owners.entries[i].value);
    map_fini(&owners);
}
