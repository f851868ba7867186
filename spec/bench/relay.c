/* relay.c: a bare libuv TCP relay, the floor below which no libuv proxy can come: it reads, writes, closes, and
 * looks into nothing. One upstream connection per client connection.
 *
 *   bench_relay --port N --to M
 */
#include "benchlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct pair;
struct end {
    uv_tcp_t tcp;
    struct pair *pair;
    struct end *other;
    uv_write_t write;
    char *rest; /* what uv_try_write did not take */
};
struct pair {
    struct end client, up;
    uv_connect_t connect;
    int closed;
};

static struct sockaddr_in to;
static char io[256 * 1024];

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    *buf = uv_buf_init(io, sizeof io);
}

static void on_closed(uv_handle_t *h)
{
    struct end *e = h->data;
    struct pair *p = e->pair;
    free(e->rest);
    if (++p->closed == 2)
        free(p);
}

static void pair_close(struct pair *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->client.tcp))
        uv_close((uv_handle_t *)&p->client.tcp, on_closed);
    if (!uv_is_closing((uv_handle_t *)&p->up.tcp))
        uv_close((uv_handle_t *)&p->up.tcp, on_closed);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf);

static void on_written(uv_write_t *w, int status)
{
    struct end *e = w->data;
    free(e->rest);
    e->rest = NULL;
    if (status == 0)
        uv_read_start((uv_stream_t *)&e->other->tcp, on_alloc, on_read);
    else if (status != UV_ECANCELED)
        pair_close(e->pair);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct end *e = s->data, *o = e->other;
    uv_buf_t out;
    int w;
    if (n == 0)
        return;
    if (n < 0) {
        pair_close(e->pair);
        return;
    }
    out = uv_buf_init(buf->base, (unsigned)n);
    w = uv_try_write((uv_stream_t *)&o->tcp, &out, 1);
    if (w < 0 && w != UV_EAGAIN) {
        pair_close(e->pair);
        return;
    }
    w = w < 0 ? 0 : w;
    if (w == (int)n)
        return;
    out.len = (size_t)(n - w);
    o->rest = malloc(out.len);
    if (!o->rest)
        bench_die("no memory");
    memcpy(o->rest, buf->base + w, out.len);
    out.base = o->rest;
    o->write.data = o;
    uv_read_stop(s);
    uv_write(&o->write, (uv_stream_t *)&o->tcp, &out, 1, on_written);
}

static void on_connect(uv_connect_t *req, int status)
{
    struct pair *p = req->data;
    if (status != 0) {
        if (status != UV_ECANCELED)
            pair_close(p);
        return;
    }
    uv_tcp_nodelay(&p->up.tcp, 1);
    uv_read_start((uv_stream_t *)&p->client.tcp, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&p->up.tcp, on_alloc, on_read);
}

static void on_client(uv_stream_t *server, int status)
{
    struct pair *p = calloc(1, sizeof *p);
    if (!p)
        bench_die("no memory");
    p->client.pair = p->up.pair = p;
    p->client.other = &p->up;
    p->up.other = &p->client;
    uv_tcp_init(server->loop, &p->client.tcp);
    uv_tcp_init(server->loop, &p->up.tcp);
    p->client.tcp.data = &p->client;
    p->up.tcp.data = &p->up;
    if (uv_accept(server, (uv_stream_t *)&p->client.tcp) != 0) {
        pair_close(p);
        return;
    }
    uv_tcp_nodelay(&p->client.tcp, 1);
    p->connect.data = p;
    if (uv_tcp_connect(&p->connect, &p->up.tcp, (const struct sockaddr *)&to, on_connect) != 0)
        pair_close(p);
}

int main(int argc, char **argv)
{
    static const char *const known[] = { "--port", "--to", NULL };
    struct bench_args a = { argc, argv };
    struct sockaddr_in addr;
    uv_tcp_t server;
    uv_loop_t *loop = uv_default_loop();
    bench_args_check(&a, known);
    bench_fd_limit();
    bench_ignore_sigpipe();
    uv_ip4_addr("127.0.0.1", (int)bench_arg_u64(&a, "--port", 0), &addr);
    uv_ip4_addr("127.0.0.1", (int)bench_arg_u64(&a, "--to", 0), &to);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (const struct sockaddr *)&addr, 0) != 0 ||
        uv_listen((uv_stream_t *)&server, 4096, on_client) != 0)
        bench_die("cannot listen");
    return uv_run(loop, UV_RUN_DEFAULT);
}
