/* router.c: see api.h. The order of the steps is that of http.md 1.1. */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "codec/url.h"
#include "route/auth.h"
#include "route/cors.h"
#include "route/wire.h"

#define PATH_MAX_BYTES (256u * 1024) /* of a redirect */

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

static bool has_star(const struct route *r)
{
    return str_chr(str_c(r->path), '*') >= 0;
}

struct api *api_new(void)
{
    struct api *a = mem_zalloc(sizeof *a);
    map_init(&a->exact);
    for (size_t i = ARRAY_LEN(routes); i-- > 0;) {
        const struct route *r = &routes[i];
        if (has_star(r))
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

static bool path_fits(str pattern, str path)
{
    size_t star = (size_t)str_chr(pattern, '*');
    str behind = str_sub(pattern, star + 1, pattern.len), rest = str_sub(path, star, path.len);
    if (!str_starts(path, str_sub(pattern, 0, star)))
        return false;
    if (behind.len == 0)
        return true;
    ptrdiff_t slash = str_chr(rest, '/');
    return slash > 0 && str_eq(str_sub(rest, (size_t)slash, rest.len), behind);
}

/* Methods in the order in which Allow lists them; a bit each. */
static const char *const known[] = { "DELETE", "GET", "HEAD", "PATCH", "POST", "PUT" };

static unsigned methods_of(const struct route *r)
{
    str m = str_c(r->method);
    unsigned set = 0;
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq(m, str_c(known[i])) || (str_eq(m, S("GET")) && str_eq(str_c(known[i]), S("HEAD"))))
            set |= 1u << i;
    return set;
}

/* The path for comparing with whole routes: without its escapes, but %2F is no separator. */
static str plain_path(struct request *req, str path)
{
    if (str_chr(path, '%') < 0)
        return path;
    char *to = arena_try(http_req_arena(req->http), path.len);
    size_t n = 0;
    for (size_t i = 0; to && i < path.len; i++, n++) {
        int c = path.ptr[i] == '%' ? chr_hex(path.ptr[i + 1]) << 4 | chr_hex(path.ptr[i + 2]) : 0; /* well-formed, by http_parse */
        to[n] = c > 0 && c != '/' ? (char)c : path.ptr[i];
        i += c > 0 && c != '/' ? 2 : 0;
    }
    return to ? str_n(to, n) : path;
}

/* The route, or NULL; *ret_allow gets the methods of routes that differ in nothing else. */
static const struct route *find(struct request *req, str path, unsigned *ret_allow)
{
    const struct api *a = req->srv->api;
    str method = http_req_head(req->http)->method;
    uintptr_t at = (uintptr_t)map_get(&a->exact, plain_path(req, path));
    for (int i = (int)at; i; i = a->next[i - 1]) {
        const struct route *r = &routes[i - 1];
        if (method_fits(r, method))
            return r;
        *ret_allow |= methods_of(r);
    }
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *r = &routes[i];
        if (!has_star(r) || !path_fits(str_c(r->path), path))
            continue;
        if (method_fits(r, method))
            return r;
        *ret_allow |= methods_of(r);
    }
    return NULL;
}

static void preflight(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    const struct http_header *asked = http_find(h, HDR_ACCESS_CONTROL_REQUEST_HEADERS);
    struct strbuf allow = STRBUF(64u * 1024);
    cors_allow_headers(&allow, asked && asked->value.len ? asked->value : STR_NONE);
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

void api_not_found(struct request *req)
{
    plain(req, 404, S("404 page not found\n"), STR_NONE);
}

static void not_allowed(struct request *req, unsigned methods)
{
    struct strbuf allow = STRBUF(256);
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (methods & 1u << i)
            strbuf_addf(&allow, "%s%s", allow.len ? ", " : "", known[i]);
    plain(req, 405, S("Method Not Allowed\n"), strbuf_str(&allow));
    strbuf_fini(&allow);
}

/* No route has this path and method. What has the path with a slash behind it is where the client is sent. */
static void no_route(struct request *req, unsigned allow)
{
    str path = http_req_head(req->http)->path;
    struct strbuf slashed = STRBUF(PATH_MAX_BYTES);
    strbuf_add(&slashed, path);
    strbuf_addc(&slashed, '/');
    const struct route *r = str_ends(path, S("/")) || slashed.full ? NULL : find(req, strbuf_str(&slashed), &allow);
    if (r)
        api_redirect_path(req, 307, &slashed);
    else if (allow)
        not_allowed(req, allow);
    else
        api_not_found(req);
    strbuf_fini(&slashed);
}

void api_route(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    if (str_eq(h->method, S("OPTIONS"))) {
        preflight(req);
        return;
    }
    if (url_path_unclean(h->path)) {
        struct strbuf to = STRBUF(PATH_MAX_BYTES);
        url_path_clean(&to, h->path);
        api_redirect_path(req, 307, &to);
        return;
    }
    unsigned allow = 0;
    const struct route *r = find(req, h->path, &allow);
    if (!r) {
        no_route(req, allow);
        return;
    }
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
