/* comfyui.c: /comfyui/: the model named comfyui_auto in a browser (http.md 9.2). Only its front page may start it: a
 * forgotten tab that polls must not load the model. */
#include "api/api.h"

#include "proxy/model.h"
#include "route/wire.h"

#define BODY_MAX ((uint64_t)1 << 40)

void api_comfyui_slash(struct request *req, const struct route *r)
{
    (void)r;
    const struct http_head *h = http_req_head(req->http);
    bool safe = str_eq(h->method, S("GET")) || str_eq(h->method, S("HEAD"));
    struct strbuf to = STRBUF(128u * 1024);
    strbuf_add(&to, S("/comfyui/"));
    api_redirect_path(req, safe ? 301 : 308, &to);
}

static void with_body(struct request *req)
{
    struct error e = { 0 };
    if (api_whole_body(req, &e))
        api_go(req);
}

void api_comfyui(struct request *req, const struct route *r)
{
    (void)r;
    const struct http_head *h = http_req_head(req->http);
    size_t at = config_find_model_id(req->cfg, S(WIRE_COMFYUI_MODEL));
    struct model *m = at == CONFIG_NONE ? NULL : server_model_at(req->srv, req->cfg, at);
    if (!m) {
        req_fail(req, 404, NULL, S("no local model named " WIRE_COMFYUI_MODEL));
        return;
    }
    str rest = str_sub(h->path, sizeof "/comfyui" - 1, h->path.len);
    if (!str_eq(rest, S("/")) && model_state(m) != PROC_READY) {
        req_fail(req, 409, NULL, S("the model is not loaded; only /comfyui/ can start it"));
        return;
    }
    req->upgrade = api_is_websocket(req);
    req->target = (struct resolve_target){ .kind = RESOLVE_LOCAL, .model = at, .selector = CONFIG_NONE, .slot = CONFIG_NONE };
    req->upstream_path = rest;
    if (!api_target(req))
        return;
    req->body_early = api_early;
    req_take_body(req, BODY_MAX, with_body);
}
