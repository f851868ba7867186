/* policy_http.c: the calls of policies to other servers (luaswap.http). One connection a call, http only, answers of
 * 1 MiB at most; policies_http_done is called at the end of a turn, never from inside of policy_http_start. */
#include "base/mem.h"
#include "codec/http_write.h"
#include "http/client.h"
#include "proxy/policy_glue.h"
#include "proxy/server.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MAX (1024u * 1024)

struct call {
    struct list node;
    struct policy_glue *g;
    uint64_t id;
    struct http_pool *pool;
    struct http_x *x;
    struct io_timer *limit;
    struct io_call later;
    char error[160]; /* "" = none */
    struct strbuf head, body, answer;
    int status;
};

static void call_free(struct call *c)
{
    io_call_cancel(&c->later);
    if (c->x)
        http_x_cancel(c->x);
    list_remove(&c->node);
    io_timer_free(c->limit);
    http_pool_free(c->pool);
    strbuf_fini(&c->head);
    strbuf_fini(&c->body);
    strbuf_fini(&c->answer);
    free(c);
}

/* At the end of the turn: the exchange is no more, so its pool may go. */
static void on_call_over(void *ud)
{
    struct call *c = ud;
    struct policy_glue *g = c->g;
    uint64_t id = c->id;
    struct strbuf body = c->answer;
    strbuf_init(&c->answer, ANSWER_MAX);
    char error[sizeof c->error];
    memcpy(error, c->error, sizeof error);
    struct policy_http_answer a = { .status = error[0] ? 0 : c->status, .body = strbuf_str(&body), .error = str_c(error) };
    call_free(c);
    policies_http_done(g->ps, id, &a, io_loop_now(g->srv->loop));
    strbuf_fini(&body);
    policy_glue_settled(g);
}

static void call_done(struct call *c, const char *error)
{
    c->x = NULL;
    io_timer_clear(c->limit);
    snprintf(c->error, sizeof c->error, "%.*s", (int)sizeof c->error - 1, error ? error : "");
    io_call_post(c->g->srv->loop, &c->later);
}

static void on_call_head(void *ud, struct http_x *x, const struct http_head *h)
{
    (void)x;
    ((struct call *)ud)->status = h->status;
}

static void on_call_body(void *ud, struct http_x *x, str bytes)
{
    (void)x;
    (void)strbuf_add(&((struct call *)ud)->answer, bytes);
}

static void on_call_end(void *ud, struct http_x *x, str trailers)
{
    struct call *c = ud;
    (void)x;
    (void)trailers;
    call_done(c, c->answer.full ? "the answer is larger than 1 MiB" : NULL);
}

static void on_call_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct call *c = ud;
    (void)x;
    (void)at;
    call_done(c, e->msg);
}

static void on_call_limit(void *ud)
{
    struct call *c = ud;
    http_x_cancel(c->x);
    call_done(c, "timed out");
}

bool policy_http_start(void *ud, const struct policy_http_request *r)
{
    static const struct http_x_cb cb = { .head = on_call_head, .body = on_call_body, .end = on_call_end,
                                         .fail = on_call_fail };
    struct policy_glue *g = ud;
    struct gourl url;
    if (gourl_parse(r->url, &url, NULL) < 0 || !str_ieq(url.scheme, S("http")) || !url.host.len)
        return false;
    struct call *c = mem_zalloc(sizeof *c);
    struct http_pool_conf conf = { .host = url.host, .port = (int)url.port_num, .connect_ms = r->timeout_ms };
    c->g = g;
    c->id = r->id;
    strbuf_init(&c->head, 64u * 1024);
    strbuf_init(&c->body, ANSWER_MAX);
    strbuf_init(&c->answer, ANSWER_MAX);
    strbuf_addf(&c->head, STR_FMT " " STR_FMT "%s" STR_FMT " HTTP/1.1\r\nHost: " STR_FMT ":%u\r\n", STR_ARG(r->method),
                STR_ARG(url.path.len ? url.path : S("/")), url.query.len ? "?" : "", STR_ARG(url.query), STR_ARG(url.host),
                url.port_num);
    for (size_t i = 0; i < r->n_headers; i++)
        (void)http_head_add(&c->head, r->headers[i].name, r->headers[i].value);
    strbuf_addf(&c->head, "Content-Length: %zu\r\nConnection: close\r\n\r\n", r->body.len);
    strbuf_add(&c->body, r->body);
    io_call_init(&c->later, on_call_over, c);
    list_push_back(&g->calls, &c->node);
    c->pool = http_pool_new(g->srv->loop, &conf);
    c->limit = io_timer_new(g->srv->loop, "policy http", on_call_limit, c);
    io_timer_set(c->limit, r->timeout_ms);
    str part = strbuf_str(&c->body);
    c->x = http_x_start(c->pool, strbuf_str(&c->head), &part, part.len ? 1 : 0, str_eq(r->method, S("HEAD")), &cb, c);
    return true;
}

void policy_http_cancel(void *ud, uint64_t id)
{
    struct policy_glue *g = ud;
    LIST_FOREACH(it, &g->calls) {
        struct call *c = LIST_ENTRY(it, struct call, node);
        if (c->id == id) {
            call_free(c);
            return;
        }
    }
}

void policy_http_init(struct policy_glue *g)
{
    list_init(&g->calls);
}

void policy_http_fini(struct policy_glue *g)
{
    LIST_FOREACH(it, &g->calls)
        call_free(LIST_ENTRY(it, struct call, node));
}
