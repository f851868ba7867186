/* upstream.c: /upstream/<model>/<path>: everything of one model's own server, through the scheduler like any other
 * request (http.md 9.1). The body is carried, never looked at; no filters, no selectors, no loading stream. */
#include "api/api.h"

#include "base/check.h"
#include "proxy/model.h"
#include "route/match.h"
#include "route/resolve.h"

/* A body waits in a file beyond 1 MiB; only the disk limits it. */
#define BODY_MAX ((uint64_t)1 << 40)

static enum resolve_state state_of(void *ud, size_t model)
{
    struct request *req = ud;
    return (enum resolve_state)model_state(server_model_at(req->srv, req->cfg, model));
}

/* Patterns are compiled at the first use and again when the configuration is another one. */
static const struct match_set *ignore_paths(struct request *req)
{
    struct server *srv = req->srv;
    if (srv->ignore_of == req->cfg)
        return srv->ignore_paths;
    struct error e = { 0 };
    match_free(srv->ignore_paths);
    srv->ignore_paths = NULL;
    config_unref(srv->ignore_of);
    srv->ignore_of = config_ref(req->cfg);
    if (match_new(req->cfg->ignore_paths, req->cfg->n_ignore_paths, &srv->ignore_paths, &e) < 0) {
        log_error("config", "upstream.ignorePaths: %s", e.msg);
        srv->ignore_paths = NULL;
    }
    return srv->ignore_paths;
}

/* "/upstream/m" becomes "/upstream/m/": 308 keeps method and body. */
static void add_slash(struct request *req, str name)
{
    const struct http_head *h = http_req_head(req->http);
    bool safe = str_eq(h->method, S("GET")) || str_eq(h->method, S("HEAD"));
    struct strbuf to = STRBUF(512u * 1024);
    strbuf_add(&to, S("/upstream/"));
    path_encode(&to, name);
    strbuf_addc(&to, '/');
    api_redirect_path(req, safe ? 301 : 308, &to);
}

static void with_body(struct request *req)
{
    struct error e = { 0 };
    if (req->peer ? api_peer_body(req, &e) : api_whole_body(req, &e))
        api_go(req);
}

void api_upstream(struct request *req, const struct route *r)
{
    struct error e = { 0 };
    struct resolve_ctx ctx = { .cfg = req->cfg, .profile = req->profile, .state = state_of, .ud = req };
    struct path_match match;
    int rc = resolve_path(&ctx, http_req_arena(req->http), api_tail(req, r), &req->target, &match, &e);
    if (rc == ERR_SYNTAX || rc == ERR_LIMIT) {
        req_fail_err(req, rc, str_c(e.msg));
        return;
    }
    if (rc < 0) {
        req_fail(req, 404, NULL, S("model not found"));
        return;
    }
    if (match.bare) {
        add_slash(req, req->target.name.len ? req->target.name : match.name);
        return;
    }
    req->upgrade = api_is_websocket(req);
    if (!api_target(req))
        return;
    if (req->model && model_state(req->model) != PROC_READY && match_any(ignore_paths(req), match.rest)) {
        req_fail(req, 409, NULL, S("the model is not loaded, and this path does not load it (upstream.ignorePaths)"));
        return;
    }
    req->asked = match.name;
    req->side = req->cfg->serial.side_lane && !api_is_model_path(match.rest);
    req->upstream_path = match.forward;
    req->metered = str_eq(http_req_head(req->http)->method, S("POST")) && api_is_model_path(match.rest);
    req->body_early = api_may_name_peer(req) ? NULL : api_early;
    req_take_body(req, BODY_MAX, with_body);
}
