/* health.c: liveness, version, and a page for whoever opens the address in a browser: it stands at /ui/, where browsers
 * are sent from / and /logs (http.md 1.3, 10.1). */
#include "api/api.h"

#include "codec/http_write.h"
#include "codec/json.h"
#include "proxy/model.h"
#include "route/path_lookup.h"

#define PAGE_MAX (16u * 1024 * 1024)

void api_health(struct request *req, const struct route *r)
{
    (void)r;
    req_reply(req, 200, S("text/plain; charset=utf-8"), S("OK"));
}

void api_version(struct request *req, const struct route *r)
{
    (void)r;
    const struct server_build *v = &req->srv->build;
    struct strbuf b = STRBUF(4096);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    json_out_kstr(&o, "build_date", str_c(v->date ? v->date : "unknown"));
    json_out_kstr(&o, "commit", str_c(v->commit ? v->commit : "unknown"));
    json_out_kstr(&o, "version", str_c(v->version ? v->version : "0"));
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
}

/* --- the page --- */

static void add_html(struct strbuf *b, str s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&':
            strbuf_add(b, S("&amp;"));
            break;
        case '<':
            strbuf_add(b, S("&lt;"));
            break;
        case '>':
            strbuf_add(b, S("&gt;"));
            break;
        case '"':
            strbuf_add(b, S("&#34;"));
            break;
        case '\'':
            strbuf_add(b, S("&#39;"));
            break;
        default:
            strbuf_addc(b, s.ptr[i]);
        }
    }
}

/* As a part of a path inside an attribute. */
static void add_href(struct strbuf *b, str name)
{
    struct strbuf p = STRBUF(64u * 1024);
    path_encode(&p, name);
    add_html(b, strbuf_str(&p));
    strbuf_fini(&p);
}

static void add_model(struct strbuf *b, const struct config_model *c, struct model *m)
{
    enum proc_state state = model_state(m);
    strbuf_addf(b, "<tr><td><span class=\"dot %s\"></span>%s<td>", proc_state_name(state), proc_state_name(state));
    add_html(b, c->id);
    strbuf_add(b, S("<td>"));
    add_html(b, c->name);
    if (c->name.len && c->description.len)
        strbuf_add(b, S(" &middot; "));
    add_html(b, c->description);
    strbuf_add(b, S("<td><a href=\"/upstream/"));
    add_href(b, c->id);
    strbuf_add(b, S("/\">its own pages</a> <a href=\"/logs/stream/"));
    add_href(b, c->id);
    strbuf_add(b, S("\">log</a>\n"));
}

static void add_models(struct strbuf *b, struct request *req)
{
    struct server *srv = req->srv;
    strbuf_addf(b, "<p>Scheduler <b>%s</b>, %zu waiting, %zu in flight.</p>\n<table>\n<tr><th>State<th>Model<th>About<th>\n",
                req->cfg->scheduler == CONFIG_SCHED_FIFO ? "fifo" : "serial", sched_waiting(srv->dispatch.sched),
                sched_inflight(srv->dispatch.sched, MODEL_NONE));
    for (size_t i = 0; i < req->cfg->n_models; i++)
        if (!req->cfg->models[i].unlisted)
            add_model(b, &req->cfg->models[i], server_model_at(srv, req->cfg, i));
    strbuf_add(b, S("</table>\n"));
}

static const char page_head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"3\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><title>luaswap</title>\n"
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\n"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3em 1em .3em 0;border-bottom:1px solid #8884}\n"
    ".dot{display:inline-block;width:.7em;height:.7em;border-radius:50%;background:#999;margin-right:.5em}\n"
    ".ready{background:#2a2}.starting,.stopping{background:#d90}a{margin-right:1em}pre{overflow:auto}\n"
    ":root{color-scheme:light dark}</style>\n<h1>luaswap</h1>\n";
static const char page_tail[] =
    "<h2>Look around</h2>\n<p><a href=\"/v1/models\">/v1/models</a> <a href=\"/running\">/running</a>\n"
    "<a href=\"/logs/stream\">/logs/stream</a> <a href=\"/debug/state\">/debug/state</a></p>\n"
    "<h2>Ask for something</h2>\n"
    "<pre>curl http://localhost:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n"
    "  -d '{\"model\":\"NAME\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}]}'</pre>\n"
    "<p>Every endpoint is described in docs/http.md of the source.</p>\n";

void api_root(struct request *req, const struct route *r)
{
    (void)r;
    api_redirect(req, 302, S("/ui"));
}

void api_upstream_root(struct request *req, const struct route *r)
{
    (void)r;
    api_redirect(req, 302, S("/ui/models"));
}

/* Every path of the page is the page, but a name with a dot in it is a file, and there are none. */
static bool is_page(str path)
{
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/') {
            path = str_sub(path, i, path.len);
            break;
        }
    return str_chr(path, '.') < 0 || str_eq(path, S("index.html"));
}

void api_ui(struct request *req, const struct route *r)
{
    if (!is_page(api_tail(req, r))) {
        api_not_found(req);
        return;
    }
    struct strbuf b = STRBUF(PAGE_MAX);
    strbuf_add(&b, str_c(page_head));
    add_models(&b, req);
    strbuf_add(&b, str_c(page_tail));
    if (b.full) {
        req_fail(req, 500, NULL, S("the page is too large"));
        strbuf_fini(&b);
        return;
    }
    req_to(req, REQ_REPLY);
    struct strbuf *h = http_req_head_begin(req->http, 200, http_reason(200));
    http_head_add(h, S("Content-Type"), S("text/html; charset=utf-8"));
    http_head_add(h, S("Content-Security-Policy"), S("default-src 'none'; style-src 'unsafe-inline'"));
    http_head_add(h, S("Cache-Control"), S("no-store"));
    http_req_head_end(req->http, HTTP_BODY_LENGTH, b.len);
    (void)http_req_send(req->http, strbuf_str(&b));
    http_req_finish(req->http);
    strbuf_fini(&b);
}
