/* router.c: see api.h. The order of the steps is that of http.md 1.1. */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "codec/url.h"
#include "route/auth.h"
#include "route/cors.h"
#include "route/wire.h"

static const struct route routes[] = {
#define ROUTE(method, path, access, handler, flags, doc) { method, path, access, handler, flags, doc },
#include "api/routes.def"
#undef ROUTE
};

/* Exact paths map to their first route; those of one path are chained through next[]. */
struct api {
    struct map exact;
    int next[ARRAY_LEN(routes)];
};

static bool is_prefix(const struct route *r)
{
    return str_ends(str_c(r->path), S("*")) && r->path[0] == '/';
}

struct api *api_new(void)
{
    struct api *a = mem_zalloc(sizeof *a);
    map_init(&a->exact);
    for (size_t i = ARRAY_LEN(routes); i-- > 0;) {
        const struct route *r = &routes[i];
        if (is_prefix(r))
            continue;
        uintptr_t later = (uintptr_t)map_get(&a->exact, str_c(r->path));
        a->next[i] = (int)later; /* index + 1, 0 = none */
        (void)map_set(&a->exact, str_c(r->path), (void *)(uintptr_t)(i + 1));
    }
    return a;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    map_fini(&a->exact);
    free(a);
}

const struct route *api_routes(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(routes);
    return routes;
}

bool api_is_model_path(str path)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (routes[i].handler == api_inference && str_eq(str_c(routes[i].path), path))
            return true;
    return false;
}

static bool method_fits(const struct route *r, str method)
{
    str want = str_c(r->method);
    return str_eq(want, S("*")) || str_eq(want, method) || (str_eq(want, S("GET")) && str_eq(method, S("HEAD")));
}

static const struct route *find(const struct api *a, str path, str method, struct strbuf *allow)
{
    uintptr_t at = (uintptr_t)map_get(&a->exact, path);
    for (int i = (int)at; i; i = a->next[i - 1]) {
        const struct route *r = &routes[i - 1];
        if (method_fits(r, method))
            return r;
        if (allow->len)
            strbuf_add(allow, S(", "));
        strbuf_add(allow, str_eq(str_c(r->method), S("GET")) ? S("GET, HEAD") : str_c(r->method));
    }
    if (at)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *r = &routes[i];
        if (!is_prefix(r))
            continue;
        str prefix = str_c(r->path);
        prefix.len--;
        if (!str_starts(path, prefix) || (path.len == prefix.len && !str_eq(prefix, S("/comfyui/"))))
            continue;
        if (method_fits(r, method))
            return r;
        if (allow->len)
            strbuf_add(allow, S(", "));
        strbuf_add(allow, str_eq(str_c(r->method), S("GET")) ? S("GET, HEAD") : str_c(r->method));
    }
    return NULL;
}

static void preflight(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    const struct http_header *asked = http_find(h, HDR_ACCESS_CONTROL_REQUEST_HEADERS);
    struct strbuf allow = STRBUF(64u * 1024);
    cors_allow_headers(&allow, asked ? asked->value : STR_NONE);
    req_to(req, REQ_REPLY);
    struct strbuf *out = http_req_head_begin(req->http, 204, http_reason(204));
    http_head_add(out, S("Access-Control-Allow-Origin"), S(CORS_ALLOW_ORIGIN));
    http_head_add(out, S("Access-Control-Allow-Methods"), S(CORS_ALLOW_METHODS));
    http_head_add(out, S("Access-Control-Allow-Headers"), strbuf_str(&allow));
    http_head_add(out, S("Access-Control-Max-Age"), S(CORS_MAX_AGE));
    http_req_head_end(req->http, HTTP_BODY_NONE, 0);
    http_req_finish(req->http);
    strbuf_fini(&allow);
}

static void plain(struct request *req, int status, str text, str allow)
{
    req_to(req, REQ_REPLY);
    struct strbuf *out = http_req_head_begin(req->http, status, http_reason(status));
    http_head_add(out, S("Content-Type"), S("text/plain; charset=utf-8"));
    http_head_add(out, S("X-Content-Type-Options"), S("nosniff"));
    if (allow.len)
        http_head_add(out, S("Allow"), allow);
    http_req_head_end(req->http, HTTP_BODY_LENGTH, text.len);
    (void)http_req_send(req->http, text);
    http_req_finish(req->http);
}

static void unauthorized(struct request *req)
{
    req->www_authenticate = true;
    req_fail(req, 401, NULL, S("unauthorized: a valid API key is needed"));
}

void api_route(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    if (str_eq(h->method, S("OPTIONS"))) {
        preflight(req);
        return;
    }
    if (url_path_unclean(h->path)) {
        struct strbuf to = STRBUF(128u * 1024);
        url_path_clean(&to, h->path);
        if (h->has_query) {
            strbuf_addc(&to, '?');
            strbuf_add(&to, h->query);
        }
        api_redirect(req, 307, strbuf_str(&to));
        strbuf_fini(&to);
        return;
    }
    struct strbuf allow = STRBUF(256);
    const struct route *r = find(req->srv->api, h->path, h->method, &allow);
    if (!r) {
        if (allow.len)
            plain(req, 405, S("Method Not Allowed\n"), strbuf_str(&allow));
        else
            plain(req, 404, S("404 page not found\n"), STR_NONE);
        strbuf_fini(&allow);
        return;
    }
    strbuf_fini(&allow);
    if (r->access == API_KEY && req->cfg->n_api_keys > 0) {
        const struct http_header *auth = http_find(h, HDR_AUTHORIZATION), *key = http_find(h, HDR_X_API_KEY);
        if (!auth_accept(req->cfg->api_keys, req->cfg->n_api_keys, auth ? auth->value : STR_NONE,
                         key ? key->value : STR_NONE)) {
            unauthorized(req);
            return;
        }
    }
    r->handler(req, r);
}
