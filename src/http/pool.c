/* pool.c: connections to one upstream. See client.h. */
#include "base/check.h"
#include "http/client_priv.h"

static void free_conf(struct http_pool *p)
{
    free((char *)(uintptr_t)p->conf.host.ptr);
    free((char *)(uintptr_t)p->conf.via_host.ptr);
    free((char *)(uintptr_t)p->conf.via_auth.ptr);
    strbuf_fini(&p->absolute);
    strbuf_fini(&p->auth);
}

static void maybe_free(struct http_pool *p)
{
    if (!p->closing || p->n_links || p->n_x)
        return;
    struct list *n;
    while ((n = list_first(&p->spare))) {
        struct http_x *x = LIST_ENTRY(n, struct http_x, spare);
        list_remove(n);
        arena_fini(&x->arena);
        free(x);
    }
    http_reader_free(p->reader);
    free_conf(p);
    free(p);
}

static str copy(str s)
{
    char *z = mem_zalloc(s.len + 1);
    if (s.len)
        memcpy(z, s.ptr, s.len);
    return str_n(z, s.len);
}

void http_pool_reconf(struct http_pool *p, const struct http_pool_conf *conf)
{
    struct http_pool_conf next = *conf;
    next.host = copy(conf->host);
    next.via_host = copy(conf->via_host);
    next.via_auth = copy(conf->via_auth);
    free_conf(p);
    p->conf = next;
    if (next.via_host.len == 0 || next.tls || next.via_socks)
        return;
    bool v6 = str_chr(next.host, ':') >= 0;
    strbuf_addf(&p->absolute, v6 ? "http://[" STR_FMT "]" : "http://" STR_FMT, STR_ARG(next.host));
    if (next.port != 80)
        strbuf_addf(&p->absolute, ":%d", next.port);
    if (next.via_auth.len)
        strbuf_addf(&p->auth, "Proxy-Authorization: " STR_FMT "\r\n", STR_ARG(next.via_auth));
}

struct http_pool *http_pool_new(struct io_loop *l, const struct http_pool_conf *conf)
{
    struct http_pool *p = mem_zalloc(sizeof *p);
    p->loop = l;
    p->absolute = p->auth = STRBUF(4096);
    http_pool_reconf(p, conf);
    list_init(&p->idle);
    list_init(&p->spare);
    return p;
}

size_t http_pool_idle(const struct http_pool *p)
{
    return p->n_idle;
}

static void leave_idle(struct http_link *l)
{
    if (!list_linked(&l->node))
        return;
    list_remove(&l->node);
    l->pool->n_idle--;
    io_timer_clear(&l->timer);
}

static void close_link(struct http_link *l)
{
    leave_idle(l);
    l->x = NULL;
    io_stream_close(l->io);
}

void http_pool_flush(struct http_pool *p)
{
    p->generation++;
    struct list *n;
    while ((n = list_first(&p->idle)))
        close_link(LIST_ENTRY(n, struct http_link, node));
}

void http_pool_free(struct http_pool *p)
{
    if (!p)
        return;
    ASSERT(p->n_x == 0);
    p->closing = true;
    p->n_links++; /* the closes below must not free it under our feet */
    http_pool_flush(p);
    p->n_links--;
    maybe_free(p);
}

/* --- links --- */

static void on_data(void *ud, str bytes)
{
    struct http_link *l = ud;
    if (l->x)
        x_data(l->x, bytes);
    else
        close_link(l); /* an answer nobody asked for */
}

static void on_eof(void *ud)
{
    struct http_link *l = ud;
    if (l->x)
        x_eof(l->x);
    else
        close_link(l);
}

static void on_error(void *ud, int sys)
{
    struct http_link *l = ud;
    if (l->x)
        x_error(l->x, sys);
    else
        close_link(l);
}

static void on_drained(void *ud)
{
    struct http_link *l = ud;
    if (l->x)
        x_drained(l->x);
}

static void on_closed(void *ud)
{
    struct http_link *l = ud;
    struct http_pool *p = l->pool;
    io_timer_fini(&l->timer);
    free(l);
    p->n_links--;
    maybe_free(p);
}

static const struct io_stream_cb link_cb = {
    .data = on_data,
    .eof = on_eof,
    .error = on_error,
    .drained = on_drained,
    .closed = on_closed,
};

static void on_idle_timeout(void *ud)
{
    close_link(ud);
}

struct http_link *link_new(struct http_pool *p, struct io_stream *io, struct http_x *x)
{
    struct http_link *l = mem_zalloc(sizeof *l);
    l->pool = p;
    l->io = io;
    l->x = x;
    l->generation = p->generation;
    list_init(&l->node);
    io_timer_init(&l->timer, p->loop, "http idle", on_idle_timeout, l);
    p->n_links++;
    io_stream_set_cb(io, &link_cb, l);
    io_stream_read(io, true);
    return l;
}

struct http_link *pool_take(struct http_pool *p)
{
    struct list *n = list_first(&p->idle);
    if (!n)
        return NULL;
    struct http_link *l = LIST_ENTRY(n, struct http_link, node);
    leave_idle(l);
    return l;
}

void link_release(struct http_link *l, bool keep)
{
    struct http_pool *p = l->pool;
    l->x = NULL;
    if (!keep || p->closing || l->generation != p->generation || p->n_idle >= p->conf.idle_max) {
        close_link(l);
        return;
    }
    l->used = true;
    list_push_front(&p->idle, &l->node);
    p->n_idle++;
    if (p->conf.idle_ms > 0)
        io_timer_set(&l->timer, p->conf.idle_ms);
    /* Kept on, also when the exchange had turned it off: an end or stray bytes must be noticed. */
    io_stream_read(l->io, true);
}

void link_forget(struct http_link *l)
{
    on_closed(l);
}

/* --- exchange objects --- */

struct http_x *pool_take_x(struct http_pool *p)
{
    struct list *n = list_first(&p->spare);
    struct http_x *x;
    if (n) {
        list_remove(n);
        p->n_spare--;
        x = LIST_ENTRY(n, struct http_x, spare);
    } else {
        x = mem_zalloc(sizeof *x);
        arena_init(&x->arena, RESPONSE_ARENA_MAX);
    }
    x->pool = p;
    list_init(&x->spare);
    io_call_init(&x->step, x_step, x);
    io_timer_init(&x->timer, p->loop, "http answer", x_timeout, x);
    x->unsent = STRBUF(SIZE_MAX / 4);
    x->pending = STRBUF(SIZE_MAX / 4);
    p->n_x++;
    return x;
}

void pool_give_x(struct http_x *x)
{
    struct http_pool *p = x->pool;
    ASSERT(!x->link && !x->dial);
    io_call_cancel(&x->step);
    io_timer_fini(&x->timer);
    strbuf_fini(&x->unsent);
    strbuf_fini(&x->pending);
    http_chunked_free(x->chunked);
    if (x->reader && !p->reader) {
        http_reader_reset(x->reader);
        p->reader = x->reader;
    } else {
        http_reader_free(x->reader);
    }
    p->n_x--;
    if (p->n_spare >= SPARE_X) {
        arena_fini(&x->arena);
        free(x);
    } else {
        arena_reset(&x->arena);
        struct arena a = x->arena;
        *x = (struct http_x){ .arena = a };
        list_push_front(&p->spare, &x->spare);
        p->n_spare++;
    }
    maybe_free(p);
}
