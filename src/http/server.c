/* server.c: see server.h. */
#include "http/server_priv.h"

#include "base/check.h"

/* --- things that are kept for the next one --- */

str server_date(struct http_server *s)
{
    int64_t now = clock_wall().sec;
    if (now != s->date_sec) {
        s->date_sec = now;
        http_date(now, s->date);
    }
    return str_n(s->date, HTTP_DATE_LEN);
}

struct strbuf server_take_out(struct http_server *s)
{
    struct strbuf b = s->out;
    s->out = STRBUF(HEAD_OUT_MAX);
    return b;
}

void server_give_out(struct http_server *s, struct strbuf *b)
{
    if (s->out.ptr || b->cap > 16 * 1024) {
        strbuf_fini(b);
    } else {
        strbuf_clear(b);
        s->out = *b;
    }
    *b = STRBUF(HEAD_OUT_MAX);
}

struct http_req *server_take_req(struct http_server *s)
{
    struct list *n = list_first(&s->reqs);
    if (!n) {
        struct http_req *r = mem_zalloc(sizeof *r);
        arena_init(&r->arena, s->conf.arena_max);
        list_init(&r->spare);
        r->out = STRBUF(HEAD_OUT_MAX);
        return r;
    }
    list_remove(n);
    s->n_reqs--;
    return LIST_ENTRY(n, struct http_req, spare);
}

static void free_req(struct http_req *r)
{
    arena_fini(&r->arena);
    free(r);
}

void server_give_req(struct http_server *s, struct http_req *r)
{
    if (r->out.ptr)
        server_give_out(s, &r->out);
    if (s->n_reqs >= SPARE_REQS) {
        free_req(r);
        return;
    }
    arena_reset(&r->arena);
    struct arena a = r->arena;
    *r = (struct http_req){ .arena = a, .out = STRBUF(HEAD_OUT_MAX) };
    list_push_front(&s->reqs, &r->spare);
    s->n_reqs++;
}

/* --- connections --- */

static void set_full(struct http_server *s, bool full)
{
    if (s->full == full)
        return;
    s->full = full;
    for (size_t i = 0; i < s->n_listeners && s->full == full; i++)
        io_listener_pause(s->listeners[i], full);
}

static void on_accept(void *ud, struct io_stream *io)
{
    struct http_server *s = ud;
    struct http_conn *c = mem_zalloc(sizeof *c);
    c->s = s;
    c->io = io;
    c->pending = STRBUF(16u << 20);
    io_call_init(&c->step, conn_step, c);
    io_timer_init(&c->timer, s->loop, "http server", conn_timeout, c);
    list_push_back(&s->conns, &c->node);
    s->n_conns++;
    if (s->conf.conns_max && s->n_conns >= s->conf.conns_max)
        set_full(s, true);
    if (s->conf.tls)
        io_stream_tls_accept(io, s->conf.tls, s->conf.head_timeout_ms);
    conn_start(c);
}

static void tell_closed(void *ud)
{
    struct http_server *s = ud;
    void (*closed)(void *) = s->closed;
    s->closed = NULL;
    if (closed)
        closed(s->closed_ud);
}

void server_conn_gone(struct http_conn *c)
{
    struct http_server *s = c->s;
    ASSERT(!c->req);
    io_call_cancel(&c->step);
    io_timer_fini(&c->timer);
    list_remove(&c->node);
    strbuf_fini(&c->pending);
    http_reader_free(c->reader);
    http_chunked_free(c->chunked);
    free(c);
    s->n_conns--;
    if (s->closing && s->n_conns == 0)
        io_call_post(s->loop, &s->closed_call);
    else if (s->conf.conns_max && s->n_conns < s->conf.conns_max)
        set_full(s, false);
}

/* --- the server --- */

struct http_server *http_server_new(struct io_loop *l, const struct http_server_conf *conf,
                                    const struct http_handler *h, void *ud)
{
    struct http_server *s = mem_zalloc(sizeof *s);
    s->loop = l;
    s->conf = *conf;
    s->h = *h;
    s->ud = ud;
    s->out = STRBUF(HEAD_OUT_MAX);
    s->date_sec = -1;
    list_init(&s->conns);
    list_init(&s->reqs);
    io_call_init(&s->closed_call, tell_closed, s);
    return s;
}

void http_server_reconf(struct http_server *s, const struct http_server_conf *conf)
{
    s->conf = *conf;
}

int http_server_listen(struct http_server *s, str addr, struct error *e)
{
    if (s->n_listeners == LISTENERS_MAX)
        return error_set(e, ERR_LIMIT, "more than %d listen addresses", LISTENERS_MAX);
    struct io_listener *ls = io_listen(s->loop, addr, on_accept, s, e);
    if (!ls)
        return e ? e->code : ERR_SYS;
    s->listeners[s->n_listeners++] = ls;
    return 0;
}

str http_server_addr(const struct http_server *s, size_t i)
{
    return i < s->n_listeners ? io_listener_addr(s->listeners[i]) : STR_NONE;
}

int http_server_port(const struct http_server *s, size_t i)
{
    return i < s->n_listeners ? io_listener_port(s->listeners[i]) : 0;
}

size_t http_server_conns(const struct http_server *s)
{
    return s->n_conns;
}

static void close_listeners(struct http_server *s)
{
    for (size_t i = 0; i < s->n_listeners; i++)
        io_listener_close(s->listeners[i]);
    s->n_listeners = 0;
}

void http_server_drain(struct http_server *s)
{
    if (s->draining)
        return;
    s->draining = true;
    close_listeners(s);
    LIST_FOREACH(n, &s->conns)
    {
        struct http_conn *c = LIST_ENTRY(n, struct http_conn, node);
        if (c->state == CONN_IDLE && c->pending.len == 0)
            conn_close(c, false);
    }
}

void http_server_close(struct http_server *s, void (*closed)(void *ud), void *ud)
{
    ASSERT(!s->closing);
    s->draining = s->closing = true;
    s->closed = closed;
    s->closed_ud = ud;
    close_listeners(s);
    LIST_FOREACH(n, &s->conns)
    {
        struct http_conn *c = LIST_ENTRY(n, struct http_conn, node);
        if (c->req)
            http_req_abort(c->req);
        else if (c->state != CONN_UPGRADED)
            conn_close(c, true);
    }
    if (s->n_conns == 0)
        io_call_post(s->loop, &s->closed_call);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    ASSERT(s->n_conns == 0);
    close_listeners(s);
    io_call_cancel(&s->closed_call);
    struct list *n;
    while ((n = list_first(&s->reqs))) {
        list_remove(n);
        free_req(LIST_ENTRY(n, struct http_req, spare));
    }
    http_reader_free(s->reader);
    strbuf_fini(&s->out);
    free(s);
}
