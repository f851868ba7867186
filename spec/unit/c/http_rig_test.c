/* http_rig_test.c: see http_rig.h. */
#include "http_rig.h"

/* --- the handler --- */

struct work {
    struct rig *rig;
    struct strbuf body;
    uint64_t left; /* of /big */
    bool stream;
};

static const char filler[16 * 1024];

static void pump(struct http_req *r, struct work *w)
{
    for (;;) {
        if (w->left == 0) {
            http_req_finish(r);
            return;
        }
        size_t n = w->left < sizeof filler ? (size_t)w->left : sizeof filler;
        w->left -= n;
        bool more = http_req_send(r, str_n(filler, n));
        if (http_req_queued(r) > w->rig->max_queued)
            w->rig->max_queued = http_req_queued(r);
        if (!more)
            return;
    }
}

static bool is(struct http_req *r, const char *path)
{
    return str_eq(http_req_head(r)->path, str_c(path));
}

static void on_begin(void *ud, struct http_req *r)
{
    struct rig *rig = ud;
    const struct http_head *h = http_req_head(r);
    struct work *w = mem_zalloc(sizeof *w);
    rig->open++;
    w->rig = rig;
    w->body = STRBUF(64u << 20);
    http_req_set_ud(r, w);
    strbuf_addf(&rig->log, "begin " STR_FMT " " STR_FMT "|", STR_ARG(h->method), STR_ARG(h->target));
    if (is(r, "/early")) {
        http_req_reply(r, 200, S("text/plain"), S("early"));
        return;
    }
    if (is(r, "/hold")) {
        rig->held = r;
        return;
    }
    if (is(r, "/stream")) {
        w->stream = true;
        http_req_head_begin(r, 200, STR_NONE);
        http_req_head_end(r, HTTP_BODY_CHUNKED, 0);
    }
    http_req_read(r, true);
}

static void on_body(struct http_req *r, str bytes)
{
    struct work *w = http_req_ud(r);
    if (!w->rig->drop_body_log)
        strbuf_addf(&w->rig->log, "body %zu|", bytes.len);
    if (!w->stream) {
        strbuf_add(&w->body, bytes);
        return;
    }
    if (!http_req_send(r, bytes))
        http_req_read(r, false);
    if (http_req_queued(r) > w->rig->max_queued)
        w->rig->max_queued = http_req_queued(r);
}

static void on_body_end(struct http_req *r)
{
    struct work *w = http_req_ud(r);
    uint64_t n;
    if (is(r, "/hold"))
        return;
    if (w->stream) {
        http_req_finish_trailers(r, http_req_trailers(r));
        return;
    }
    if (str_starts(http_req_head(r)->path, S("/big/"))) {
        CHECK_TRUE(str_to_u64(str_sub(http_req_head(r)->path, 5, 20), &n));
        w->left = n;
        http_req_head_begin(r, 200, STR_NONE);
        http_req_head_end(r, HTTP_BODY_LENGTH, n);
        pump(r, w);
        return;
    }
    str body = is(r, "/echo") ? strbuf_str(&w->body) : is(r, "/trailers") ? http_req_trailers(r) : S("ok");
    http_req_reply(r, 200, S("text/plain"), body);
}

static void on_drained(struct http_req *r)
{
    struct work *w = http_req_ud(r);
    if (w->left)
        pump(r, w);
    else if (w->stream)
        http_req_read(r, true);
}

static void on_end(struct http_req *r, enum http_end why)
{
    struct work *w = http_req_ud(r);
    strbuf_addf(&w->rig->log, "end %s|", why == HTTP_END_DONE ? "done" : "gone");
    if (w->rig->held == r)
        w->rig->held = NULL;
    w->rig->open--;
    strbuf_fini(&w->body);
    free(w);
}

static const struct http_handler handler = { on_begin, on_body, on_body_end, on_drained, on_end };

/* --- the rig --- */

static void on_late(void *ud)
{
    ((struct rig *)ud)->late = true;
}

static void on_closed(void *ud)
{
    ((struct rig *)ud)->closed = true;
}

struct rig *rig_new(const struct http_server_conf *conf)
{
    struct rig *r = mem_zalloc(sizeof *r);
    r->l = io_loop_new();
    r->log = STRBUF(1u << 20);
    r->deadline = io_timer_new(r->l, "deadline", on_late, r);
    r->conf = (struct http_server_conf){ .head_max = 64 * 1024, .head_timeout_ms = 30000, .idle_timeout_ms = 30000,
                                         .conns_max = 1000, .arena_max = 1u << 20 };
    if (conf)
        r->conf = *conf;
    r->s = http_server_new(r->l, &r->conf, &handler, r);
    struct error e;
    CHECK_INT(0, http_server_listen(r->s, S("127.0.0.1:0"), &e));
    CHECK_TRUE(http_server_port(r->s, 0) > 0);
    return r;
}

void rig_free(struct rig *r)
{
    http_server_close(r->s, on_closed, r);
    RIG_WAIT(r, r->closed);
    CHECK_UINT(0, r->open);
    http_server_free(r->s);
    io_timer_free(r->deadline);
    io_loop_free(r->l);
    strbuf_fini(&r->log);
    free(r);
    CHECK_UINT(0, check_soft_count());
}

/* --- raw peers --- */

static void peer_data(void *ud, str bytes)
{
    struct peer *p = ud;
    strbuf_add(&p->got, bytes);
}

static void peer_eof(void *ud)
{
    ((struct peer *)ud)->eof = true;
}

static void peer_error(void *ud, int sys)
{
    (void)sys;
    ((struct peer *)ud)->failed = true;
}

static void peer_closed(void *ud)
{
    ((struct peer *)ud)->closed = true;
}

static const struct io_stream_cb peer_cb = {
    .data = peer_data, .eof = peer_eof, .error = peer_error, .closed = peer_closed
};

struct peer *peer_of(struct rig *r, struct io_stream *io)
{
    struct peer *p = mem_zalloc(sizeof *p);
    p->rig = r;
    p->io = io;
    p->got = STRBUF(256u << 20);
    p->connected = true;
    io_stream_set_cb(io, &peer_cb, p);
    io_stream_read(io, true);
    return p;
}

struct dialing {
    struct io_stream *io;
    bool over;
};

static void on_dialed(void *ud, struct io_stream *s, const struct error *e)
{
    struct dialing *d = ud;
    (void)e;
    d->io = s;
    d->over = true;
}

struct peer *peer_new(struct rig *r)
{
    struct dialing d = { 0 };
    io_dial(r->l, S("127.0.0.1"), http_server_port(r->s, 0), 0, -1, on_dialed, &d);
    RIG_WAIT(r, d.over);
    CHECK_TRUE(d.io != NULL);
    return peer_of(r, d.io);
}

void peer_send(struct peer *p, str bytes)
{
    io_stream_write(p->io, &bytes, 1);
}

void peer_free(struct peer *p)
{
    struct rig *r = p->rig;
    if (!p->closed)
        io_stream_close(p->io);
    RIG_WAIT(r, p->closed);
    strbuf_fini(&p->got);
    free(p);
}

static void on_trapped(void *ud, struct io_stream *s)
{
    struct trap *t = ud;
    CHECK_TRUE(t->n < ARRAY_LEN(t->peers));
    t->peers[t->n++] = peer_of(t->rig, s);
}

struct trap *trap_new(struct rig *r)
{
    struct trap *t = mem_zalloc(sizeof *t);
    struct error e;
    t->rig = r;
    t->ls = io_listen(r->l, S("127.0.0.1:0"), on_trapped, t, &e);
    CHECK_TRUE(t->ls != NULL);
    return t;
}

void trap_free(struct trap *t)
{
    io_listener_close(t->ls);
    for (size_t i = 0; i < t->n; i++)
        peer_free(t->peers[i]);
    free(t);
}
