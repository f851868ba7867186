/* dial.c: see dial.h. */
#include "io/dial.h"

#include "base/check.h"
#include "io/socks.h"
#include "io/timer.h"
#include "io/uvloop.h"

#include <sys/un.h>

/* More addresses of one name are not tried. */
#define ADDRS_MAX 8

struct io_dial {
    struct io_loop *loop;
    io_dial_fn *fn;
    void *ud;
    struct io_timer deadline;
    struct io_call later; /* ends a dial that failed at once */
    char host[256];
    int port, keepalive_s;
    struct sockaddr_storage addrs[ADDRS_MAX];
    unsigned n_addrs, next;
    struct io_stream *s; /* being connected */
    union {
        uv_connect_t connect;
        uv_getaddrinfo_t lookup;
    } req;
    bool busy; /* a libuv request is open: memory must stay */
    bool over; /* fn was called, or must not be */
    struct strbuf ask, answer; /* CONNECT, or what is sent to a SOCKS proxy; empty = no proxy */
    struct socks *socks;
    char beyond[256];          /* the host behind the proxy */
    msec tunnel_ms;
    bool secure;
    msec handshake_ms;
    int sys;   /* why the last address failed */
};

static void try_next(struct io_dial *d);

static void maybe_free(struct io_dial *d)
{
    if (d->busy || !d->over)
        return;
    io_call_cancel(&d->later);
    io_timer_fini(&d->deadline);
    strbuf_fini(&d->ask);
    strbuf_fini(&d->answer);
    free(d->socks);
    free(d);
}

static void drop_stream(struct io_dial *d)
{
    if (d->s)
        io_stream_close(d->s);
    d->s = NULL;
}

static void end_with(struct io_dial *d, const struct error *e)
{
    d->over = true;
    drop_stream(d);
    if (d->busy)
        uv_cancel((uv_req_t *)&d->req.lookup); /* fails for a connect, which the close ended */
    io_timer_clear(&d->deadline);
    d->fn(d->ud, NULL, e);
    maybe_free(d);
}

static void end(struct io_dial *d, int code, int sys, const char *what)
{
    struct error e = { 0 };
    if (sys)
        error_sys(&e, code, -sys, "%s %s", what, d->host);
    else
        error_set(&e, code, "%s %s", what, d->host);
    end_with(d, &e);
}

static void hand_over(struct io_dial *d)
{
    struct io_stream *s = d->s;
    d->s = NULL;
    d->over = true;
    io_timer_clear(&d->deadline);
    d->fn(d->ud, s, NULL);
    maybe_free(d);
}

static void on_secured(void *ud, const struct error *e)
{
    struct io_dial *d = ud;
    if (e)
        end_with(d, e);
    else
        hand_over(d);
}

void io_dial_secure(struct io_dial *d, msec handshake_ms)
{
    ASSERT(!d->over);
    d->secure = true;
    d->handshake_ms = handshake_ms;
}

/* --- through a proxy --- */

#define ANSWER_MAX 16384

static void secure_or_hand_over(struct io_dial *d)
{
    if (d->secure)
        io_stream_tls_connect(d->s, str_c(d->beyond[0] ? d->beyond : d->host), d->handshake_ms, on_secured, d);
    else
        hand_over(d);
}

static void tunnel_failed(struct io_dial *d, const char *what, str detail)
{
    struct error e = { 0 };
    error_set(&e, ERR_PROTOCOL, "proxy %s: %s" STR_FMT, d->host, what, STR_ARG(detail));
    end_with(d, &e);
}

static void tunnel_open(struct io_dial *d, size_t used)
{
    if (used != d->answer.len) {
        tunnel_failed(d, "spoke before it was asked", STR_NONE);
        return;
    }
    io_timer_clear(&d->deadline);
    io_stream_read(d->s, false);
    io_stream_set_cb(d->s, NULL, NULL);
    secure_or_hand_over(d);
}

static void on_socks_data(void *ud, str bytes)
{
    struct io_dial *d = ud;
    struct error e = { 0 };
    size_t at = 0, used;
    int rc;
    if (!strbuf_add(&d->answer, bytes)) {
        tunnel_failed(d, "answered with too much", STR_NONE);
        return;
    }
    do {
        strbuf_clear(&d->ask);
        rc = socks_feed(d->socks, str_sub(strbuf_str(&d->answer), at, d->answer.len), &used, &d->ask, &e);
        str text = strbuf_str(&d->ask);
        if (rc == 0 && text.len)
            io_stream_write(d->s, &text, 1);
        at += used;
    } while (rc == 0 && used);
    if (rc < 0)
        tunnel_failed(d, "", str_c(e.msg));
    else if (rc == 1)
        tunnel_open(d, at);
    else
        strbuf_consume(&d->answer, at);
}

static void on_tunnel_data(void *ud, str bytes)
{
    struct io_dial *d = ud;
    str line, rest;
    strbuf_add(&d->answer, bytes);
    str all = strbuf_str(&d->answer);
    ptrdiff_t end = str_find(all, S("\r\n\r\n"));
    if (d->answer.full) {
        tunnel_failed(d, "answered CONNECT with too much", STR_NONE);
        return;
    }
    if (end < 0)
        return;
    str_cut(all, '\r', &line, &rest);
    if (!str_starts(line, S("HTTP/1.")) || line.len < 12 || line.ptr[8] != ' ' || line.ptr[9] != '2')
        tunnel_failed(d, "answered CONNECT with ", str_sub(line, 0, 100));
    else
        tunnel_open(d, (size_t)end + 4);
}

static void on_tunnel_eof(void *ud)
{
    struct io_dial *d = ud;
    tunnel_failed(d, d->socks ? "closed the connection" : "closed the connection at CONNECT", STR_NONE);
}

static void on_tunnel_error(void *ud, int sys)
{
    struct io_dial *d = ud;
    tunnel_failed(d, d->socks ? "" : "CONNECT: ", str_c(uv_strerror(sys)));
}

static void ask_proxy(struct io_dial *d)
{
    static const struct io_stream_cb cb = { .data = on_tunnel_data, .eof = on_tunnel_eof, .error = on_tunnel_error };
    static const struct io_stream_cb socks_cb = { .data = on_socks_data, .eof = on_tunnel_eof, .error = on_tunnel_error };
    str text = strbuf_str(&d->ask);
    if (d->tunnel_ms > 0)
        io_timer_set(&d->deadline, d->tunnel_ms);
    io_stream_set_cb(d->s, d->socks ? &socks_cb : &cb, d);
    io_stream_read(d->s, true);
    io_stream_write(d->s, &text, 1);
}

void io_dial_tunnel(struct io_dial *d, str host, int port, str auth, msec limit_ms)
{
    ASSERT(!d->over);
    bool v6 = str_chr(host, ':') >= 0;
    d->ask = STRBUF(8192);
    d->answer = STRBUF(ANSWER_MAX);
    d->tunnel_ms = limit_ms;
    if (host.len < sizeof d->beyond)
        memcpy(d->beyond, host.ptr, host.len);
    for (int i = 0; i < 2; i++)
        strbuf_addf(&d->ask, v6 ? "%s[" STR_FMT "]:%d%s" : "%s" STR_FMT ":%d%s", i ? "Host: " : "CONNECT ", STR_ARG(host),
                    port, i ? "\r\n" : " HTTP/1.1\r\n");
    if (auth.len)
        strbuf_addf(&d->ask, "Proxy-Authorization: " STR_FMT "\r\n", STR_ARG(auth));
    strbuf_add(&d->ask, S("\r\n"));
}

void io_dial_socks(struct io_dial *d, str host, int port, str auth, msec limit_ms)
{
    ASSERT(!d->over);
    d->ask = STRBUF(SOCKS_OUT_MAX);
    d->answer = STRBUF(ANSWER_MAX);
    d->tunnel_ms = limit_ms;
    d->socks = mem_zalloc(sizeof *d->socks);
    if (socks_begin(d->socks, host, port, auth, &d->ask, NULL) < 0) { /* fails at the first byte */
        d->socks->host[0] = '\0';
        (void)strbuf_add(&d->ask, S("\5\1\0"));
    }
    if (host.len < sizeof d->beyond)
        memcpy(d->beyond, host.ptr, host.len);
}

static void on_deadline(void *ud)
{
    end(ud, ERR_TIMEOUT, 0, "timed out connecting to");
}

static void on_connect(uv_connect_t *req, int status)
{
    struct io_dial *d = req->data;
    d->busy = false;
    if (d->over) {
        maybe_free(d);
        return;
    }
    if (status != 0) {
        d->sys = status;
        drop_stream(d);
        try_next(d);
        return;
    }
    io_timer_clear(&d->deadline);
    if (io_stream_uv(d->s)->type == UV_TCP) {
        uv_tcp_t *t = (uv_tcp_t *)io_stream_uv(d->s);
        uv_tcp_nodelay(t, 1);
        if (d->keepalive_s > 0)
            uv_tcp_keepalive(t, 1, (unsigned)d->keepalive_s);
    }
    if (d->ask.len)
        ask_proxy(d);
    else
        secure_or_hand_over(d);
}

static void end_later(void *ud)
{
    struct io_dial *d = ud;
    int code = d->sys == UV_ECONNREFUSED || d->sys == UV_ENOENT ? ERR_REFUSED : ERR_SYS;
    end(d, code, d->sys, "connect to");
}

static void try_next(struct io_dial *d)
{
    while (d->next < d->n_addrs) {
        const struct sockaddr *sa = (const struct sockaddr *)&d->addrs[d->next++];
        d->s = io_stream_new(d->loop, false);
        d->req.connect.data = d;
        int rc = uv_tcp_connect(&d->req.connect, (uv_tcp_t *)io_stream_uv(d->s), sa, on_connect);
        if (rc == 0) {
            d->busy = true;
            return;
        }
        d->sys = rc;
        drop_stream(d);
    }
    io_call_post(d->loop, &d->later);
}

static void on_lookup(uv_getaddrinfo_t *req, int status, struct addrinfo *res)
{
    struct io_dial *d = req->data;
    d->busy = false;
    if (d->over) {
        uv_freeaddrinfo(res);
        maybe_free(d);
        return;
    }
    for (const struct addrinfo *a = res; status == 0 && a && d->n_addrs < ADDRS_MAX; a = a->ai_next)
        if (a->ai_addrlen <= sizeof d->addrs[0])
            memcpy(&d->addrs[d->n_addrs++], a->ai_addr, a->ai_addrlen);
    uv_freeaddrinfo(res);
    if (status == 0 && d->n_addrs) {
        try_next(d);
        return;
    }
    end(d, ERR_NOTFOUND, status, "no address for");
}

static void add_addr(struct io_dial *d, const char *ip)
{
    struct sockaddr_storage *sa = &d->addrs[d->n_addrs];
    if (uv_ip4_addr(ip, d->port, (struct sockaddr_in *)sa) == 0 ||
        uv_ip6_addr(ip, d->port, (struct sockaddr_in6 *)sa) == 0)
        d->n_addrs++;
}

static void dial_unix(struct io_dial *d)
{
    if (strlen(d->host + 5) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
        d->sys = UV_ENAMETOOLONG;
        io_call_post(d->loop, &d->later);
        return;
    }
    d->s = io_stream_new(d->loop, true);
    d->req.connect.data = d;
    d->busy = true;
    uv_pipe_connect(&d->req.connect, (uv_pipe_t *)io_stream_uv(d->s), d->host + 5, on_connect);
}

static void dial_name(struct io_dial *d)
{
    char service[16];
    struct strbuf b = STRBUF(sizeof service - 1);
    strbuf_addu(&b, (uint64_t)d->port);
    memcpy(service, b.ptr, b.len + 1);
    strbuf_fini(&b);
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    d->req.lookup.data = d;
    int rc = uv_getaddrinfo(&d->loop->uv, &d->req.lookup, on_lookup, d->host, service, &hints);
    if (rc == 0) {
        d->busy = true;
        return;
    }
    d->sys = rc;
    io_call_post(d->loop, &d->later);
}

struct io_dial *io_dial(struct io_loop *l, str host, int port, msec timeout_ms, int keepalive_s, io_dial_fn *fn,
                        void *ud)
{
    struct io_dial *d = mem_zalloc(sizeof *d);
    d->loop = l;
    d->fn = fn;
    d->ud = ud;
    d->port = port;
    d->keepalive_s = keepalive_s;
    io_call_init(&d->later, end_later, d);
    io_timer_init(&d->deadline, l, "dial", on_deadline, d);
    if (host.len == 0 || host.len >= sizeof d->host || str_chr(host, '\0') >= 0 || port < 0 || port > 65535) {
        d->sys = UV_EINVAL;
        io_call_post(l, &d->later);
        return d;
    }
    memcpy(d->host, host.ptr, host.len);
    if (timeout_ms > 0)
        io_timer_set(&d->deadline, timeout_ms);
    if (str_starts(host, S("unix:"))) {
        dial_unix(d);
        return d;
    }
    if (str_ieq(host, S("localhost"))) {
        add_addr(d, "127.0.0.1");
        add_addr(d, "::1");
    } else {
        add_addr(d, d->host);
    }
    if (d->n_addrs)
        try_next(d);
    else
        dial_name(d);
    return d;
}

void io_dial_cancel(struct io_dial *d)
{
    ASSERT(!d->over);
    d->over = true;
    drop_stream(d);
    if (d->busy)
        uv_cancel((uv_req_t *)&d->req.lookup);
    maybe_free(d);
}
