/* models.c: GET /v1/models: everything that can be asked for, as OpenAI clients list it (http.md 1.4). */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "codec/json.h"
#include "proxy/model.h"
#include "route/wire.h"

#define LISTING_MAX (64u * 1024 * 1024)

/* Also the order of equal ids. */
enum kind { KIND_MODEL, KIND_ALIAS, KIND_PEER, KIND_SELECTOR, KIND_PROFILE };

struct entry {
    enum kind kind;
    str id;
    size_t index; /* of the model, peer or selector */
    size_t sub;   /* of the peer's model */
};

struct listing {
    struct server *srv;
    const struct config *cfg;
    size_t profile; /* the active one, or CONFIG_NONE */
    int64_t created;
    struct entry *at;
    size_t len, cap;
    struct json_out out;
};

static void add(struct listing *l, enum kind kind, str id, size_t index, size_t sub)
{
    if (l->len == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 32;
        l->at = mem_resize(l->at, l->cap, sizeof *l->at);
    }
    l->at[l->len++] = (struct entry){ kind, id, index, sub };
}

static bool is_blank(str s)
{
    return str_trim(s).len == 0;
}

static void add_local(struct listing *l)
{
    for (size_t i = 0; i < l->cfg->n_models; i++) {
        const struct config_model *m = &l->cfg->models[i];
        if (m->unlisted)
            continue;
        add(l, KIND_MODEL, m->id, i, 0);
        if (!l->cfg->include_aliases_in_list)
            continue;
        for (size_t k = 0; k < m->n_aliases; k++)
            if (!is_blank(m->aliases[k]))
                add(l, KIND_ALIAS, m->aliases[k], i, 0);
    }
}

static void add_peers(struct listing *l, struct arena *names)
{
    for (size_t i = 0; i < l->cfg->n_peers; i++) {
        const struct config_peer *p = &l->cfg->peers[i];
        for (size_t k = 0; k < p->n_models; k++)
            add(l, KIND_PEER, arena_printf(names, STR_FMT "/" STR_FMT, STR_ARG(p->id), STR_ARG(p->models[k])), i, k);
    }
}

static void add_selectors(struct listing *l)
{
    for (size_t i = 0; i < l->cfg->n_selectors; i++)
        if (!l->cfg->selectors[i].unlisted)
            add(l, KIND_SELECTOR, l->cfg->selectors[i].id, i, 0);
}

/* A pin makes a name of its own only where nothing else has that name. */
static void add_pins(struct listing *l)
{
    if (l->profile == CONFIG_NONE)
        return;
    const struct config_profile *p = &l->cfg->profiles[l->profile];
    for (size_t i = 0; i < p->n_pins; i++) {
        str name = p->pins[i].key;
        if (p->pins[i].value.len == 0 || config_base(l->cfg, name) ||
            config_find_selector(l->cfg, name) != CONFIG_NONE)
            continue;
        add(l, KIND_PROFILE, name, 0, 0);
    }
}

static int by_id(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int c = str_cmp(x->id, y->id);
    if (c != 0)
        return c;
    if (x->kind != y->kind)
        return x->kind < y->kind ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* --- the parts of one record --- */

static bool has(const str *list, size_t n, const char *word)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(list[i], str_c(word)))
            return true;
    return false;
}

static void put_list(struct json_out *o, const char *key, const str *list, size_t n)
{
    json_out_key(o, str_c(key));
    json_out_array(o);
    for (size_t i = 0; i < n; i++)
        json_out_str(o, list[i]);
    json_out_end(o, ']');
}

static void put_architecture(struct json_out *o, const struct config_capabilities *c)
{
    if (c->n_in == 0 && c->n_out == 0)
        return;
    json_out_key(o, S("architecture"));
    json_out_object(o);
    if (c->n_in)
        put_list(o, "input_modalities", c->in, c->n_in);
    if (c->n_in && c->n_out) {
        struct strbuf m = STRBUF(64u * 1024);
        for (size_t i = 0; i < c->n_in; i++)
            strbuf_addf(&m, "%s" STR_FMT, i ? "+" : "", STR_ARG(c->in[i]));
        for (size_t i = 0; i < c->n_out; i++)
            strbuf_addf(&m, "%s" STR_FMT, i ? "+" : "->", STR_ARG(c->out[i]));
        json_out_kstr(o, "modality", strbuf_str(&m));
        strbuf_fini(&m);
    }
    if (c->n_out)
        put_list(o, "output_modalities", c->out, c->n_out);
    json_out_end(o, '}');
}

static void put_capabilities(struct json_out *o, const struct config_capabilities *c)
{
    bool in_text = has(c->in, c->n_in, "text"), out_text = has(c->out, c->n_out, "text");
    bool in_audio = has(c->in, c->n_in, "audio"), out_audio = has(c->out, c->n_out, "audio");
    bool in_image = has(c->in, c->n_in, "image"), out_image = has(c->out, c->n_out, "image");
    const struct {
        const char *name;
        bool on;
    } all[] = {
        { "audio_speech", in_text && out_audio },
        { "audio_transcriptions", in_audio && out_text },
        { "function_calling", c->tools },
        { "image_generation", in_text && out_image },
        { "image_to_image", in_image && out_image },
        { "reranker", c->reranker },
        { "vision", in_image },
    };
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (!all[i].on)
            continue;
        if (!any) {
            json_out_key(o, S("capabilities"));
            json_out_object(o);
        }
        any = true;
        json_out_kbool(o, all[i].name, true);
    }
    if (any)
        json_out_end(o, '}');
    if (c->tools) {
        json_out_key(o, S("supported_parameters"));
        json_out_array(o);
        json_out_str(o, S("tools"));
        json_out_str(o, S("tool_choice"));
        json_out_end(o, ']');
    }
}

static bool caps_given(const struct config_capabilities *c)
{
    return c->n_in || c->n_out || c->tools || c->reranker || c->context != 0;
}

/* The user's metadata without what we say ourselves: `own` names, and with capabilities the keys that are
 * derived from them. */
static void put_metadata(struct json_out *o, const struct config_params *meta, const char *const *own, size_t n_own,
                         bool caps)
{
    static const char *const derived[] = { "architecture", "capabilities", "supported_parameters", "context_length" };
    for (size_t i = 0; i < meta->len; i++) {
        bool drop = false;
        for (size_t k = 0; k < n_own; k++)
            drop = drop || str_eq(meta->at[i].name, str_c(own[k]));
        for (size_t k = 0; caps && k < ARRAY_LEN(derived); k++)
            drop = drop || str_eq(meta->at[i].name, str_c(derived[k]));
        if (drop)
            continue;
        json_out_key(o, meta->at[i].name);
        json_out_raw(o, meta->at[i].json);
    }
}

static void put_names(struct json_out *o, str name, str description)
{
    name = str_trim(name);
    description = str_trim(description);
    if (name.len)
        json_out_kstr(o, "name", name);
    if (description.len)
        json_out_kstr(o, "description", description);
}

static void meta_begin(struct json_out *o)
{
    json_out_key(o, S("meta"));
    json_out_object(o);
    json_out_key(o, S(WIRE_META_KEY));
    json_out_object(o);
}

static void meta_end(struct json_out *o, int64_t n_ctx)
{
    json_out_end(o, '}');
    if (n_ctx > 0)
        json_out_kint(o, "n_ctx", n_ctx);
    json_out_end(o, '}');
}

static bool runs(const struct listing *l, size_t model)
{
    enum proc_state s = model_state(server_model_at(l->srv, l->cfg, model));
    return s != PROC_STOPPED && s != PROC_SHUTDOWN;
}

/* --- the records --- */

static bool put_model(struct listing *l, const struct entry *r)
{
    struct json_out *o = &l->out;
    const struct config_model *m = &l->cfg->models[r->index];
    bool alias = r->kind == KIND_ALIAS;
    put_names(o, m->name, m->description);
    put_architecture(o, &m->caps);
    put_capabilities(o, &m->caps);
    if (m->caps.context > 0)
        json_out_kint(o, "context_length", m->caps.context);
    meta_begin(o);
    static const char *const own_alias[] = { "type", "modelID" }, *const own_model[] = { "type", "aliases" };
    put_metadata(o, &m->metadata, alias ? own_alias : own_model, alias || m->n_aliases ? 2 : 1, caps_given(&m->caps));
    json_out_kstr(o, "type", alias ? S("alias") : S("model"));
    if (alias)
        json_out_kstr(o, "modelID", m->id);
    else if (m->n_aliases)
        put_list(o, "aliases", m->aliases, m->n_aliases);
    meta_end(o, m->caps.context);
    return runs(l, r->index);
}

static bool put_peer(struct listing *l, const struct entry *r)
{
    struct json_out *o = &l->out;
    const struct config_peer *p = &l->cfg->peers[r->index];
    struct strbuf name = STRBUF(64u * 1024);
    strbuf_addf(&name, STR_FMT ": " STR_FMT, STR_ARG(p->id), STR_ARG(p->models[r->sub]));
    json_out_kstr(o, "name", strbuf_str(&name));
    strbuf_fini(&name);
    meta_begin(o);
    json_out_kstr(o, "type", S("peer"));
    json_out_kstr(o, "peerID", p->id);
    meta_end(o, 0);
    return false;
}

static bool put_selector(struct listing *l, const struct entry *r)
{
    struct json_out *o = &l->out;
    const struct config_selector *s = &l->cfg->selectors[r->index];
    static const char *const own[] = { "type", "strategy", "targets", "spillover" };
    bool spill = s->strategy == CONFIG_SPILLOVER;
    put_names(o, s->name, s->description);
    meta_begin(o);
    put_metadata(o, &s->metadata, own, spill ? 4 : 3, false);
    json_out_kstr(o, "type", S("selector"));
    json_out_kstr(o, "strategy", str_c(config_strategy_name(s->strategy)));
    put_list(o, "targets", s->targets, s->n_targets);
    if (spill)
        json_out_kint(o, "spillover", s->spillover);
    meta_end(o, 0);
    size_t considered = s->strategy == CONFIG_PIN && s->n_targets ? 1 : s->n_targets;
    for (size_t i = 0; i < considered; i++) {
        size_t model = config_find_model(l->cfg, s->targets[i]);
        if (model == CONFIG_NONE)
            continue;
        enum proc_state st = model_state(server_model_at(l->srv, l->cfg, model));
        if (st == PROC_READY || st == PROC_STARTING)
            return true;
    }
    return false;
}

static bool put_pin(struct listing *l)
{
    meta_begin(&l->out);
    json_out_kstr(&l->out, "type", S("profile"));
    meta_end(&l->out, 0);
    return false;
}

static void put_listed(struct listing *l, const struct entry *r)
{
    struct json_out *o = &l->out;
    bool loaded = false;
    json_out_object(o);
    json_out_kstr(o, "id", r->id);
    json_out_kstr(o, "object", S("model"));
    json_out_kint(o, "created", l->created);
    json_out_kstr(o, "owned_by", S(WIRE_OWNED_BY));
    switch (r->kind) {
    case KIND_MODEL:
    case KIND_ALIAS:
        loaded = put_model(l, r);
        break;
    case KIND_PEER:
        loaded = put_peer(l, r);
        break;
    case KIND_SELECTOR:
        loaded = put_selector(l, r);
        break;
    case KIND_PROFILE:
        loaded = put_pin(l);
        break;
    }
    json_out_key(o, S("status"));
    json_out_object(o);
    json_out_kstr(o, "value", loaded ? S("loaded") : S("unloaded"));
    json_out_end(o, '}');
    json_out_end(o, '}');
}

/* The whole document. `profile`: the active one, or CONFIG_NONE. */
static void list_models(struct server *srv, const struct config *cfg, size_t profile, struct strbuf *ret)
{
    struct listing l = { .srv = srv, .cfg = cfg, .profile = profile, .created = clock_wall().sec };
    struct arena names;
    arena_init(&names, LISTING_MAX);
    add_local(&l);
    add_peers(&l, &names);
    add_selectors(&l);
    add_pins(&l);
    if (l.len)
        qsort(l.at, l.len, sizeof *l.at, by_id);
    json_out_init(&l.out, ret);
    json_out_object(&l.out);
    json_out_key(&l.out, S("data"));
    json_out_array(&l.out);
    for (size_t i = 0; i < l.len && !ret->full; i++)
        put_listed(&l, &l.at[i]);
    json_out_end(&l.out, ']');
    json_out_kstr(&l.out, "object", S("list"));
    json_out_end(&l.out, '}');
    strbuf_addc(ret, '\n');
    free(l.at);
    arena_fini(&names);
}

void api_models(struct request *req, const struct route *r)
{
    (void)r;
    struct strbuf b = STRBUF(LISTING_MAX);
    list_models(req->srv, req->cfg, req->profile, &b);
    if (b.full) {
        req_fail(req, 500, NULL, S("the listing is too large"));
        strbuf_fini(&b);
        return;
    }
    req_to(req, REQ_REPLY);
    struct strbuf *h = http_req_head_begin(req->http, 200, http_reason(200));
    http_head_add(h, S("Content-Type"), S("application/json"));
    /* web pages list models from the browser; no other answer of ours is for them */
    const struct http_header *origin = http_find(http_req_head(req->http), HDR_ORIGIN);
    if (origin && origin->value.len)
        http_head_add(h, S("Access-Control-Allow-Origin"), origin->value);
    http_req_head_end(req->http, HTTP_BODY_LENGTH, b.len);
    (void)http_req_send(req->http, strbuf_str(&b));
    http_req_finish(req->http);
    strbuf_fini(&b);
}
