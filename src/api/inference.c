/* inference.c: the endpoints that name a model: find it, change what the configuration changes, hand over. */
#include "api/api.h"

#include "base/check.h"
#include "codec/url.h"
#include "proxy/model.h"
#include "proxy/upload.h"
#include "route/extract.h"
#include "route/filter.h"
#include "route/resolve.h"

/* A body that is not JSON waits in a file beyond 1 MiB; only the disk limits it. */
#define OTHER_BODY_MAX ((uint64_t)1 << 40)

static str content_type(const struct request *req)
{
    const struct http_header *ct = http_find(http_req_head(req->http), HDR_CONTENT_TYPE);
    return ct ? ct->value : STR_NONE;
}

static enum resolve_state state_of(void *ud, size_t model)
{
    struct request *req = ud;
    return (enum resolve_state)model_state(server_model_at(req->srv, req->cfg, model));
}

/* Path and query sent on, when they differ from the client's. */
static void set_path(struct request *req, const struct route *r)
{
    if (r->flags & ROUTE_STRIP_V)
        req->upstream_path = str_c(r->path + sizeof "/v" - 1);
    else if (r->flags & ROUTE_STRIP_AUDIO)
        req->upstream_path = str_c(r->path + sizeof "/audioapi" - 1);
}

/* One part in the arena: the common case of a body that goes on as it came. */
static void whole_body(struct request *req, str body)
{
    str *part = ARENA_NEW(http_req_arena(req->http), str);
    *part = body;
    req->parts = part;
    req->n_parts = body.len ? 1 : 0;
    req->parts_len = body.len;
}

/* A body is looked at a megabyte at a time: what lies in a file does not have to be in memory all at once. */
#define PIECE (1024u * 1024)

static str next_piece(struct request *req, str body, size_t *at)
{
    str piece = str_sub(body, *at, PIECE);
    spool_forget(&req->body, *at);
    *at += piece.len;
    return piece;
}

static int find_in_form(struct request *req, str body, struct extract *x, struct error *e)
{
    struct extract_stream xs;
    size_t at = 0;
    extract_stream_init(&xs, content_type(req));
    while (at < body.len && extract_stream_feed(&xs, next_piece(req, body, &at)))
        ;
    int rc = extract_stream_end(&xs, http_req_arena(req->http), http_req_head(req->http)->query, x, e);
    extract_stream_fini(&xs);
    return rc;
}

/* The model's name in a form, cut out and replaced where it stands; files are not touched or copied. */
static int edit_form(struct request *req, str body, str model, struct error *e)
{
    struct arena *a = http_req_arena(req->http);
    struct multipart_fields f;
    char boundary[MULTIPART_BOUNDARY_MAX];
    size_t len;
    if (!multipart_boundary(content_type(req), boundary, &len))
        return error_set(e, ERR_SYNTAX, "the form has no boundary");
    int rc = multipart_fields_init(&f, str_n(boundary, len), S("model"), STR_NONE, e);
    if (rc < 0)
        return rc;
    for (size_t at = 0; rc == 0 && at < body.len;)
        rc = multipart_fields_feed(&f, next_piece(req, body, &at), e);
    if (rc == 0)
        rc = multipart_fields_done(&f, e);
    if (rc == 0) {
        str *segs = ARENA_NEWN(a, 2 * MULTIPART_SPANS_MAX + 1, str);
        req->n_parts = multipart_fields_splice(&f, 0, body, arena_dup(a, model), segs);
        req->parts = segs;
        req->parts_len = multipart_fields_length(&f, body.len, model.len);
    }
    multipart_fields_fini(&f);
    return rc;
}

/* The name in a form or a query, replaced where it was found. */
static int edit_text(struct request *req, str body, const struct extract *x, str model, struct error *e)
{
    struct arena *a = http_req_arena(req->http);
    struct strbuf out = STRBUF(EXTRACT_FORM_MAX + 64u * 1024);
    bool query = x->where == EXTRACT_QUERY;
    extract_form_set(&out, query ? http_req_head(req->http)->query : body, S("model"), model);
    str text = out.full ? STR_NONE : arena_try_dup(a, strbuf_str(&out));
    strbuf_fini(&out);
    if (!text.ptr)
        return error_set(e, ERR_LIMIT, NULL);
    if (query)
        req->upstream_query = text;
    whole_body(req, query ? body : text);
    return 0;
}

static int carry_out(struct request *req, str body, const struct extract *x, const struct filter_plan *plan,
                     struct error *e)
{
    if (x->where == EXTRACT_JSON && !plan->empty) {
        struct json_edit ed;
        int rc = filter_json(http_req_arena(req->http), body, &x->json_top, plan, &ed, e);
        if (rc < 0)
            return rc;
        req->parts = ed.segs;
        req->n_parts = ed.n;
        req->parts_len = ed.len;
        return 0;
    }
    if (x->where == EXTRACT_MULTIPART && plan->model.len)
        return edit_form(req, body, plan->model, e);
    /* useModelName is for JSON and multipart only; a profile, a selector or a peer renames everywhere */
    if ((x->where == EXTRACT_QUERY || x->where == EXTRACT_FORM) && plan->rename.len)
        return edit_text(req, body, x, plan->rename, e);
    whole_body(req, body);
    return 0;
}

/* Leaves out of the query what we did not understand ourselves, so that nobody reads it otherwise. */
static void tidy_query(struct request *req)
{
    str query = req->upstream_query.ptr ? req->upstream_query : http_req_head(req->http)->query;
    struct strbuf tidy = STRBUF(1u << 20);
    if (url_query_tidy(&tidy, query) && !tidy.full) {
        str kept = arena_try_dup(http_req_arena(req->http), strbuf_str(&tidy));
        if (kept.ptr)
            req->upstream_query = kept;
    }
    strbuf_fini(&tidy);
}

static int edit_body(struct request *req, str body, const struct extract *x, struct error *e)
{
    struct filter_plan plan;
    filter_plan(req->cfg, &req->target, x->model, &plan);
    int rc = carry_out(req, body, x, &plan, e);
    if (rc == 0 && req->peer)
        tidy_query(req);
    return rc;
}

static int find_name(struct request *req, str body, struct extract *x, struct error *e)
{
    const struct http_head *h = http_req_head(req->http);
    return extract_place(h->method, content_type(req)) == EXTRACT_MULTIPART
               ? find_in_form(req, body, x, e)
               : extract_model(http_req_arena(req->http), h->method, content_type(req), h->query, body, x, e);
}

static void fail_with(struct request *req, int rc, const struct error *e)
{
    req_fail_err(req, rc, str_c(e->msg));
}

bool api_resolve(struct request *req, str name)
{
    struct error e = { 0 };
    struct resolve_ctx ctx = { .cfg = req->cfg, .profile = req->profile,
                               .slots = req->peers ? req->peers->slots : NULL, .state = state_of, .ud = req };
    int rc = resolve(&ctx, name, &req->target, &e);
    if (rc < 0) {
        fail_with(req, rc, &e);
        return false;
    }
    return api_target(req);
}

bool api_target(struct request *req)
{
    if (req->target.kind == RESOLVE_PEER) {
        if (!req->peers) {
            req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
            return false;
        }
        req->peer = &req->peers->at[req->target.peer.peer];
        return true;
    }
    struct model *m = server_model_at(req->srv, req->cfg, req->target.model);
    if (!m) { /* a reload has removed it while the body came */
        req_fail_err(req, ERR_UNKNOWN_MODEL, STR_NONE);
        return false;
    }
    req->model = model_ref(m);
    req->unscheduled = req->upgrade && req->model->conf->ignore_websockets;
    if (req->unscheduled && model_state(req->model) != PROC_READY) {
        req_fail(req, 409, NULL, S("the model is not loaded, and a websocket does not load it (compat.ignoreWebsockets)"));
        return false;
    }
    if (req->unscheduled)
        resolve_release(&req->target);
    return true;
}

void api_go(struct request *req)
{
    if (req->peer || req->unscheduled)
        req_forward_now(req);
    else
        req_schedule(req);
}

void api_early(struct request *req, str bytes)
{
    (void)bytes;
    bool json = extract_place(http_req_head(req->http)->method, content_type(req)) == EXTRACT_JSON;
    req->body_early = NULL;
    if (json || !upload_may(req)) /* a question for a model, even a long one, can be asked again when it is held */
        return;
    if (req->peer)
        tidy_query(req);
    upload_begin(req);
    api_go(req);
}

bool api_whole_body(struct request *req, struct error *e)
{
    str body;
    if (spool_all(&req->body, &body, e) < 0) {
        log_error("http", "request %llu: %s", (unsigned long long)req->id, e->msg);
        req_fail_err(req, ERR_INTERNAL, STR_NONE);
        return false;
    }
    whole_body(req, body);
    return true;
}

bool api_may_name_peer(const struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    str name;
    bool bad;
    return req->peer && (extract_place(h->method, content_type(req)) != EXTRACT_QUERY ||
                         extract_form_value(http_req_arena(req->http), h->query, S("model"), &name, &bad));
}

bool api_peer_body(struct request *req, struct error *e)
{
    static const struct config_filters no_filters;
    const struct http_head *h = http_req_head(req->http);
    struct extract x;
    str body;
    if (!api_whole_body(req, e))
        return false;
    tidy_query(req);
    bool json = extract_place(h->method, content_type(req)) == EXTRACT_JSON;
    if (spool_all(&req->body, &body, e) < 0 || (json && body.len > (uint64_t)req->cfg->limits.json_body) ||
        find_name(req, body, &x, e) < 0 ||
        !str_eq(x.model, resolve_peer_fqn(req->cfg, &req->target, http_req_arena(req->http))))
        return true;
    str name = resolve_peer_model(req->cfg, &req->target);
    struct filter_plan plan = { .model = name, .rename = name, .filters = &no_filters };
    int rc = carry_out(req, body, &x, &plan, e);
    if (rc < 0)
        fail_with(req, rc, e);
    return rc == 0;
}

/* What an inference request has found out before its name was resolved. */
struct inference {
    const struct route *route;
    struct extract x;
    str body;
    struct extract_stream form; /* while it comes */
    bool form_begun;
    str rename; /* what the form's field becomes */
};

static int edit_again(struct request *req, struct error *e)
{
    struct inference *inf = req->local;
    req->upstream_query = STR_NONE;
    return edit_body(req, inf->body, &inf->x, e);
}

static void with_name(struct request *req, str name)
{
    struct inference *inf = req->local;
    struct error e = { 0 };
    if (!api_resolve(req, name))
        return;
    req->retarget = edit_again;
    int rc = edit_body(req, inf->body, &inf->x, &e);
    if (rc < 0) {
        fail_with(req, rc, &e);
        return;
    }
    req->metered = inf->route->flags & ROUTE_METERED;
    req->may_show_loading = req->model && (inf->route->flags & ROUTE_LOADING) && req->streaming &&
                            req->model->conf->send_loading_state;
    set_path(req, inf->route);
    api_go(req);
}

static void with_body(struct request *req)
{
    struct inference *inf = req->local;
    struct error e = { 0 };
    if (spool_all(&req->body, &inf->body, &e) < 0) {
        log_error("http", "request %llu: %s", (unsigned long long)req->id, e.msg);
        req_fail_err(req, ERR_INTERNAL, STR_NONE);
        return;
    }
    int rc = find_name(req, inf->body, &inf->x, &e);
    if (rc < 0) {
        fail_with(req, rc, &e);
        return;
    }
    if (inf->x.model.len == 0) {
        req_fail_err(req, ERR_NOMODEL, STR_NONE);
        return;
    }
    req->asked = inf->x.model;
    req->streaming = inf->x.stream;
    str name, json = inf->x.where == EXTRACT_JSON ? inf->body : STR_NONE;
    if (policy_glue_route(req, req->asked, json, &name, with_name))
        with_name(req, name);
}

bool api_is_websocket(const struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    return http_has_token(h, HDR_CONNECTION, S("upgrade")) && http_has_token(h, HDR_UPGRADE, S("websocket"));
}

/* ---- large bodies: while they come ---- */

static void form_end(struct request *req)
{
    struct inference *inf = req->local;
    if (inf->form_begun)
        extract_stream_fini(&inf->form);
    inf->form_begun = false;
}

/* The body is held after all, and everything is found out when it is whole. */
static void hold(struct request *req)
{
    req->body_early = NULL;
    form_end(req);
}

/* The bytes of a form that were not looked at yet. */
static void feed_form(struct request *req, struct inference *inf, str bytes)
{
    str all;
    size_t at = 0;
    if (inf->form_begun) {
        extract_stream_feed(&inf->form, bytes);
        return;
    }
    extract_stream_init(&inf->form, content_type(req));
    inf->form_begun = true;
    req->on_end = form_end;
    if (spool_all(&req->body, &all, NULL) < 0)
        inf->form.broken = true;
    while (!inf->form.broken && at < all.len)
        extract_stream_feed(&inf->form, next_piece(req, all, &at));
}

/* Is the name known by now? */
static bool named_early(struct request *req, str bytes)
{
    struct inference *inf = req->local;
    struct arena *a = http_req_arena(req->http);
    const struct http_head *h = http_req_head(req->http);
    if (extract_place(h->method, content_type(req)) == EXTRACT_MULTIPART) {
        feed_form(req, inf, bytes);
        return extract_stream_early(&inf->form, a, h->query, &inf->x);
    }
    return extract_model(a, h->method, content_type(req), h->query, STR_NONE, &inf->x, NULL) == 0 && inf->x.model.len;
}

/* The name in what has come of a form; false when it is not in memory any more. */
static bool rename_early(struct request *req)
{
    struct inference *inf = req->local;
    const struct multipart_fields *f = &inf->form.fields;
    return f->n_spans == 1 && upload_splice(req, f->span[0].at, f->span[0].len, inf->rename);
}

/* False, and nothing has happened, when the body has to be held: for a model that is not ready, a name that came behind
 * the file and changes, a name that nobody has (the answer to that comes when the client has sent everything). */
static bool target_early(struct request *req)
{
    struct inference *inf = req->local;
    struct filter_plan plan;
    struct server *srv = req->srv;
    struct resolve_ctx ctx = { .cfg = req->cfg, .profile = req->profile,
                               .slots = req->peers ? req->peers->slots : NULL, .state = state_of, .ud = req };
    if (srv->policy.ps || !req->peers || resolve(&ctx, inf->x.model, &req->target, NULL) < 0)
        return false;
    filter_plan(req->cfg, &req->target, inf->x.model, &plan);
    bool edits = inf->x.where == EXTRACT_MULTIPART && plan.model.len;
    if (edits)
        inf->rename = arena_dup(http_req_arena(req->http), plan.model);
    if (req->target.kind == RESOLVE_PEER)
        req->peer = &req->peers->at[req->target.peer.peer];
    else
        req->model = server_model_at(srv, req->cfg, req->target.model);
    bool may = upload_may(req) && (!edits || rename_early(req));
    req->peer = NULL;
    req->model = NULL;
    if (!may)
        resolve_release(&req->target);
    return may;
}

/* The length that was announced has room for one renaming, and two fields `model` are read differently anyway. */
static bool one_name(struct request *req, str bytes)
{
    struct inference *inf = req->local;
    if (!extract_stream_feed(&inf->form, bytes) || inf->form.fields.n_spans == 1)
        return true; /* broken: its reader will say so */
    upload_refuse(req, S("the form has more than one field named model"));
    return false;
}

static void body_early(struct request *req, str bytes)
{
    struct inference *inf = req->local;
    struct error e = { 0 };
    if (!named_early(req, bytes)) {
        if (!inf->form_begun || inf->form.broken)
            hold(req);
        return;
    }
    bool may = target_early(req), renamed = may && inf->rename.len;
    if (renamed)
        req->up_check = one_name;
    else
        hold(req);
    if (!may || !api_target(req))
        return;
    req->asked = inf->x.model;
    req->streaming = inf->x.stream;
    if (renamed && req->peer)
        tidy_query(req);
    int rc = renamed ? 0 : edit_body(req, STR_NONE, &inf->x, &e);
    if (rc < 0) {
        fail_with(req, rc, &e);
        return;
    }
    req->metered = inf->route->flags & ROUTE_METERED;
    set_path(req, inf->route);
    upload_begin(req);
    api_go(req);
}

/* Bodies that are looked at or edited as a whole are held. */
static bool may_go_early(const struct request *req, enum extract_place place)
{
    const struct config *cfg = req->cfg;
    return (place == EXTRACT_MULTIPART || place == EXTRACT_QUERY) && !req->upgrade && !req->srv->policy.ps &&
           (cfg->n_peers > 0 || cfg->scheduler == CONFIG_SCHED_FIFO);
}

void api_inference(struct request *req, const struct route *r)
{
    const struct http_head *h = http_req_head(req->http);
    enum extract_place place = extract_place(h->method, content_type(req));
    struct inference *inf = ARENA_NEW(http_req_arena(req->http), struct inference);
    inf->route = r;
    req->local = inf;
    req->upgrade = api_is_websocket(req);
    req->body_early = may_go_early(req, place) ? body_early : NULL;
    req_take_body(req, place == EXTRACT_JSON ? (uint64_t)req->cfg->limits.json_body : OTHER_BODY_MAX, with_body);
}
