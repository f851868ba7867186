/* check_names.c: peers, preload list, API keys, policies (steps 10 and 18); see load.h. */
#include "config/schema.h"

/* ---- peers ---- */

static bool has_item(const struct ynode *list)
{
    if (list && list->type != YN_SEQ && list->type != YN_NULL)
        return true; /* a wrong type was said already */
    for (uint32_t i = 0; list && list->type == YN_SEQ && i < list->n; i++)
        if (list->items[i]->type != YN_NULL)
            return true;
    return false;
}

static bool unknown_variable(const struct loader *l, str s)
{
    return l->env_failed && str_find(s, S("${env.")) >= 0;
}

static void read_peer(struct loader *l, struct config_peer *p, const struct ypair *pair,
                      const struct cpath *path)
{
    struct error e;
    const struct ynode *n = pair->value;
    if (n->type == YN_NULL) { /* skips all checks, provides nothing */
        load_warn(l, pair->key_node, path, NULL, "peer %.*s: has no settings and provides nothing",
                  STR_ARG(p->id));
        return;
    }
    schema_defaults(SEC_PEER, p);
    if (!decode_is_map(l, n, path))
        return;
    schema_read(l, SEC_PEER, p, n, path);
    decode_filters_done(l, ynode_get(n, S("filters")), false, CPATH(path, S("filters")),
                        &p->filters);
    const struct ynode *proxy = ynode_get(n, S("proxy")), *models = ynode_get(n, S("models"));
    bool bad_type = proxy && (proxy->type == YN_SEQ || proxy->type == YN_MAP);
    if (p->proxy.len == 0 && !bad_type)
        load_error(l, proxy ? proxy : pair->key_node, CPATH(path, S("proxy")),
                   "the base URL of the other server", "peer %.*s: proxy is required",
                   STR_ARG(p->id));
    else if (unknown_variable(l, p->proxy))
        ; /* said already */
    else if (gourl_parse(p->proxy, &p->proxy_url, &e) != 0)
        load_error(l, proxy, CPATH(path, S("proxy")), "for example https://host.example:8080",
                   "peer %.*s: invalid peer proxy URL %.*s: %s", STR_ARG(p->id),
                   STR_ARG(load_quote(l, p->proxy)), e.msg);
    else if (p->proxy.len && p->proxy_url.host.len == 0)
        load_warn(l, proxy, CPATH(path, S("proxy")), "for example https://host.example:8080",
                  "peer %.*s: the proxy URL %.*s names no host", STR_ARG(p->id),
                  STR_ARG(load_quote(l, p->proxy)));
    if (!has_item(models))
        load_error(l, models ? models : pair->key_node, CPATH(path, S("models")), NULL,
                   "peer %.*s: peer models can not be empty", STR_ARG(p->id));
}

void check_peers(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *n = ynode_get(root, S("peers"));
    const struct cpath *path = CPATH(NULL, S("peers"));
    if (!n || !decode_is_map(l, n, path))
        return;
    const struct ypair **pairs = sorted_pairs(l, n);
    c->peers = load_keep_array(l, n->n, sizeof *c->peers);
    if (!pairs || !c->peers)
        return;
    c->n_peers = n->n;
    for (uint32_t i = 0; i < n->n && !l->full; i++) {
        c->peers[i].id = load_keep(l, pairs[i]->key);
        read_peer(l, &c->peers[i], pairs[i], CPATH(path, pairs[i]->key));
    }
}

/* What owns a name that a full peer name must not have; NULL if nothing does. */
static const char *owner_of(struct loader *l, const struct ynode *root, str name)
{
    size_t m = config_find_model(l->cfg, name);
    if (m != CONFIG_NONE)
        return str_eq(l->cfg->models[m].id, name) ? "model ID" : "model alias";
    if (ynode_pair(ynode_get(root, S("selectors")), name))
        return "selector";
    const struct ynode *profiles = ynode_get(root, S("profiles"));
    for (uint32_t i = 0; profiles && profiles->type == YN_MAP && i < profiles->n; i++)
        if (ynode_pair(ynode_get(profiles->pairs[i].value, S("pins")), name))
            return "profile pin";
    return NULL;
}

static void add_peer_model(struct loader *l, const struct ynode *root, size_t peer, size_t model)
{
    struct config *c = l->cfg;
    const struct config_peer *p = &c->peers[peer];
    str name = p->models[model];
    for (size_t k = 0; k < model; k++)
        if (str_eq(p->models[k], name))
            return;
    struct config_peer_ref *ref = load_keep_array(l, 1, sizeof *ref);
    if (!ref)
        return;
    *ref = (struct config_peer_ref){ peer, model };
    str fqn = load_keep(l, load_text(l, "%.*s/%.*s", STR_ARG(p->id), STR_ARG(name)));
    const struct ynode *pn = ynode_get(ynode_get(root, S("peers")), p->id);
    const struct ynode *at = ynode_get(pn, S("models"));
    const struct cpath *path = CPATH(CPATH(CPATH(NULL, S("peers")), p->id), S("models"));
    const struct config_peer_ref *other = map_get(&c->peer_by_fqn, fqn);
    const char *owner = owner_of(l, root, fqn);
    if (other)
        load_error(l, at, path, NULL,
                   "peer model name \"%.*s\" is ambiguous between peers %.*s and %.*s",
                   STR_ARG(fqn), STR_ARG(c->peers[other->peer].id), STR_ARG(p->id));
    else
        map_set(&c->peer_by_fqn, fqn, ref);
    if (owner)
        load_error(l, at, path, NULL,
                   "%s \"%.*s\" conflicts with fully qualified peer model name \"%.*s\"", owner,
                   STR_ARG(fqn), STR_ARG(fqn));
    if (map_has(&c->peer_by_model, name))
        map_set(&c->peer_by_model, name, (void *)(uintptr_t)&l->ambiguous);
    else
        map_set(&c->peer_by_model, name, ref);
}

static void peer_names(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    for (size_t i = 0; i < c->n_peers; i++)
        for (size_t k = 0; k < c->peers[i].n_models && !l->full; k++)
            add_peer_model(l, root, i, k);
    /* names that several peers offer are nobody's */
    struct map unique;
    map_init(&unique);
    for (size_t i = 0; i < c->peer_by_model.len; i++)
        if (c->peer_by_model.entries[i].value != &l->ambiguous)
            map_set(&unique, c->peer_by_model.entries[i].key, c->peer_by_model.entries[i].value);
    map_fini(&c->peer_by_model);
    c->peer_by_model = unique;
}

/* ---- preload and keys ---- */

static void preload(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *on = ynode_get(ynode_get(root, S("hooks")), S("on_startup"));
    const struct ypair *p = ynode_pair(on, S("preload"));
    const str *names = NULL;
    size_t n = 0;
    const struct cpath *path = CPATH(CPATH(CPATH(NULL, S("hooks")), S("on_startup")), S("preload"));
    if (!p || !decode_texts(l, p->value, path, &names, &n))
        return;
    size_t *at = load_keep_array(l, n, sizeof *at);
    for (size_t i = 0; at && i < n; i++) {
        str name = str_trim(names[i]);
        size_t m = config_find_model(c, name);
        if (m != CONFIG_NONE)
            at[c->n_preload++] = m;
        else if (name.len && !unknown_variable(l, name))
            load_warn(l, p->value, path, suggest_model(l, name),
                      "preload: there is no local model %.*s, it is skipped",
                      STR_ARG(load_quote(l, name)));
    }
    c->preload = at;
}

static void api_keys(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *n = ynode_get(root, S("apiKeys"));
    const struct cpath *path = CPATH(NULL, S("apiKeys"));
    if (!n || n->type == YN_NULL)
        return;
    if (n->type != YN_SEQ) {
        decode_wrong_type(l, n, path, "a list of texts");
        return;
    }
    str *at = load_keep_array(l, n->n, sizeof *at);
    for (uint32_t i = 0; at && i < n->n; i++) {
        const struct ynode *item = n->items[i];
        str key = S("");
        if (item->type == YN_SEQ || item->type == YN_MAP) {
            decode_wrong_type(l, item, CPATH_AT(path, i), "text");
            continue;
        }
        decode_text(l, item, CPATH_AT(path, i), &key);
        if (key.len == 0)
            load_error(l, item, CPATH_AT(path, i),
                       "an empty key would leave the server open; is a variable empty?",
                       "empty api key found in apiKeys");
        else if (str_chr(key, ' ') >= 0)
            load_error(l, item, CPATH_AT(path, i), NULL,
                       "apiKeys[%u]: api key cannot contain spaces", (unsigned)i);
        at[c->n_api_keys++] = key;
    }
    c->api_keys = at;
}

void check_names(struct loader *l, const struct ynode *root)
{
    preload(l, root);
    api_keys(l, root);
    peer_names(l, root);
}

/* ---- policies ---- */

/* A policy as the scheduler is the first of the policies, with what a file gets by default, unless it is listed. */
static void add_scheduler(struct loader *l, struct config *c)
{
    for (size_t i = 0; i < c->n_policies; i++)
        if (str_eq(c->policies[i].file, c->scheduler_file))
            return;
    struct config_policy *at = load_keep_array(l, c->n_policies + 1, sizeof *at);
    if (!at)
        return;
    schema_defaults(SEC_POLICY, at);
    at->settings_json = S("{}");
    at->file = c->scheduler_file;
    if (c->n_policies > 0)
        memcpy(at + 1, c->policies, c->n_policies * sizeof *at);
    c->policies = at;
    c->n_policies++;
}

static void read_policies(struct loader *l, const struct ynode *root)
{
    struct config *c = l->cfg;
    const struct ynode *n = ynode_get(root, S("policies"));
    const struct cpath *path = CPATH(NULL, S("policies"));
    if (!n || n->type == YN_NULL)
        return;
    if (n->type != YN_SEQ) {
        decode_wrong_type(l, n, path, "a list of policies");
        return;
    }
    struct config_policy *at = load_keep_array(l, n->n, sizeof *at);
    if (!at)
        return;
    for (uint32_t i = 0; i < n->n; i++) {
        struct config_policy *p = &at[i];
        const struct cpath *here = CPATH_AT(path, i);
        schema_defaults(SEC_POLICY, p);
        p->settings_json = S("{}");
        schema_read(l, SEC_POLICY, p, n->items[i], here);
        if (str_trim(p->file).len == 0 &&
            (n->items[i]->type == YN_MAP || n->items[i]->type == YN_NULL))
            load_error(l, n->items[i], CPATH(here, S("file")), "for example policies/residency.lua",
                       "policies[%u]: file is required", (unsigned)i);
    }
    c->policies = at;
    c->n_policies = n->n;
}

void check_policies(struct loader *l, const struct ynode *root)
{
    read_policies(l, root);
    if (l->cfg->scheduler_file.len > 0)
        add_scheduler(l, l->cfg);
}
