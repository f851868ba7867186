/* The client side against a raw upstream that does what the test says. */
#include "http_rig.h"

struct ask {
    struct rig *rig;
    struct http_x *x;
    struct strbuf body, log;
    struct error e;
    enum http_stage at;
    int status;
    bool ended, failed, upgraded, stop_after_head, cancel_in_body;
    size_t drained;
    struct io_stream *io;
};

static void on_head(void *ud, struct http_x *x, const struct http_head *h)
{
    struct ask *a = ud;
    a->status = h->status;
    strbuf_addf(&a->log, "head %d|", h->status);
    if (a->stop_after_head)
        http_x_read(x, false);
}

static void on_interim(void *ud, struct http_x *x, const struct http_head *h)
{
    (void)x;
    strbuf_addf(&((struct ask *)ud)->log, "interim %d|", h->status);
}

static void on_body(void *ud, struct http_x *x, str bytes)
{
    struct ask *a = ud;
    strbuf_add(&a->body, bytes);
    if (a->cancel_in_body) {
        http_x_cancel(x);
        a->x = NULL;
    }
}

static void on_end(void *ud, struct http_x *x, str trailers)
{
    struct ask *a = ud;
    (void)x;
    strbuf_addf(&a->log, "end " STR_FMT "|", STR_ARG(trailers));
    a->ended = true;
    a->x = NULL;
}

static void on_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct ask *a = ud;
    (void)x;
    a->at = at;
    a->e = *e;
    a->failed = true;
    a->x = NULL;
}

static void on_drained(void *ud, struct http_x *x)
{
    (void)x;
    ((struct ask *)ud)->drained++;
}

static void on_upgraded(void *ud, struct http_x *x, const struct http_head *h, struct io_stream *s, str early)
{
    struct ask *a = ud;
    (void)x;
    a->status = h->status;
    a->io = s;
    a->upgraded = true;
    strbuf_add(&a->body, early);
    a->x = NULL;
}

static const struct http_x_cb cb = {
    .head = on_head, .interim = on_interim, .body = on_body, .end = on_end,
    .fail = on_fail, .drained = on_drained, .upgraded = on_upgraded,
};
static const struct http_x_cb cb_plain = { .head = on_head, .body = on_body, .end = on_end, .fail = on_fail };

static const char request[] = "GET /a HTTP/1.1\r\nHost: u\r\n\r\n";

static struct ask *ask_new(struct rig *r)
{
    struct ask *a = mem_zalloc(sizeof *a);
    a->rig = r;
    a->body = STRBUF(256u << 20);
    a->log = STRBUF(1u << 20);
    return a;
}

static void ask_free(struct ask *a)
{
    CHECK_NULL(a->x);
    strbuf_fini(&a->body);
    strbuf_fini(&a->log);
    free(a);
}

static struct ask *ask(struct rig *r, struct http_pool *p)
{
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, str_c(request), NULL, 0, false, &cb, a);
    return a;
}

static struct http_pool *pool_to(struct rig *r, int port)
{
    struct http_pool_conf c = { .host = S("127.0.0.1"), .port = port, .connect_ms = 3000, .keepalive_s = 30,
                                .idle_ms = 90000, .idle_max = 4 };
    return http_pool_new(r->l, &c);
}

static int trap_port(const struct trap *t)
{
    return io_listener_port(t->ls);
}

/* Waits for the k-th connection and a whole head on it. */
static struct peer *served(struct rig *r, struct trap *t, size_t k)
{
    RIG_WAIT(r, t->n > k && GOT(t->peers[k], "\r\n\r\n"));
    return t->peers[k];
}

TEST(an_exchange_delivers_head_body_and_end_and_the_connection_is_reused)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    for (int i = 0; i < 3; i++) {
        struct ask *a = ask(r, p);
        struct peer *u = served(r, t, 0);
        CHECK_STR(request, strbuf_str(&u->got));
        strbuf_clear(&u->got);
        peer_send(u, S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"));
        RIG_WAIT(r, a->body.len == 3);
        peer_send(u, S("lo"));
        RIG_WAIT(r, a->ended);
        CHECK_STR("hello", strbuf_str(&a->body));
        CHECK_STR("head 200|end |", strbuf_str(&a->log));
        CHECK_UINT(1, http_pool_idle(p));
        ask_free(a);
    }
    CHECK_UINT(1, t->n);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(answers_come_in_every_framing)
{
    static const struct {
        const char *text, *log, *body;
        bool close, reused;
    } k[] = {
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
          "head 200|end X-T: 1\r\n|", "abcde", false, true },
        { "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
          "interim 103|head 204|end |", "", false, true },
        { "HTTP/1.1 200 OK\r\n\r\nuntil the end", "head 200|end |", "until the end", true, false },
        { "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "head 200|end |", "ok", true, false },
        { "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "head 200|end |", "ok", false, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", "head 200|end |", "ok", false, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "head 200|end |", "", false, true },
    };
    struct rig *r = rig_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(k); i++) {
        struct trap *t = trap_new(r);
        struct http_pool *p = pool_to(r, trap_port(t));
        struct ask *a = ask(r, p);
        struct peer *u = served(r, t, 0);
        peer_send(u, str_c(k[i].text));
        if (k[i].close)
            io_stream_close(u->io);
        RIG_WAIT(r, a->ended);
        CHECK_STR(k[i].log, strbuf_str(&a->log));
        CHECK_STR(k[i].body, strbuf_str(&a->body));
        CHECK_UINT(k[i].reused, http_pool_idle(p));
        ask_free(a);
        http_pool_free(p);
        trap_free(t);
    }
    rig_free(r);
}

TEST(an_answer_may_come_byte_by_byte)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask(r, p);
    struct peer *u = served(r, t, 0);
    str text = S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n");
    for (size_t i = 0; i < text.len; i++) {
        peer_send(u, str_sub(text, i, 1));
        io_loop_turn(r->l);
    }
    RIG_WAIT(r, a->ended);
    CHECK_STR("abc", strbuf_str(&a->body));
    CHECK_UINT(1, http_pool_idle(p));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(an_answer_that_breaks_off_is_a_failure)
{
    static const struct {
        const char *text;
        enum http_stage at;
        bool rst;
    } k[] = {
        { "", HTTP_AT_SEND, false },
        { "", HTTP_AT_SEND, true },
        { "HTTP/1.1 200 OK\r\nCont", HTTP_AT_HEAD, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", HTTP_AT_BODY, false },
        { "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", HTTP_AT_BODY, true },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", HTTP_AT_BODY, false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", HTTP_AT_BODY, false },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", HTTP_AT_BODY, false },
        { "HTTP/1.1 200 OK\r\n\r\nwas reset", HTTP_AT_BODY, true },
    };
    struct rig *r = rig_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(k); i++) {
        struct trap *t = trap_new(r);
        struct http_pool *p = pool_to(r, trap_port(t));
        struct ask *a = ask(r, p);
        struct peer *u = served(r, t, 0);
        peer_send(u, str_c(k[i].text));
        if (k[i].rst)
            io_stream_reset(u->io);
        else
            io_stream_close(u->io);
        RIG_WAIT(r, a->failed || a->ended);
        CHECK_TRUE(a->failed);
        CHECK_INT(k[i].at, a->at);
        CHECK_INT(ERR_CLOSED, a->e.code);
        CHECK_UINT(0, http_pool_idle(p));
        CHECK_UINT(1, t->n); /* a new connection is not retried */
        ask_free(a);
        http_pool_free(p);
        trap_free(t);
    }
    rig_free(r);
}

TEST(bad_answers_are_failures)
{
    static const char *const k[] = {
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\n\n",
    };
    struct rig *r = rig_new(NULL);
    for (size_t i = 0; i < ARRAY_LEN(k); i++) {
        struct trap *t = trap_new(r);
        struct http_pool *p = pool_to(r, trap_port(t));
        struct ask *a = ask(r, p);
        peer_send(served(r, t, 0), str_c(k[i]));
        RIG_WAIT(r, a->failed);
        CHECK_INT(ERR_PROTOCOL, a->e.code);
        RIG_WAIT(r, t->peers[0]->eof || t->peers[0]->failed);
        ask_free(a);
        http_pool_free(p);
        trap_free(t);
    }
    rig_free(r);
}

TEST(a_101_without_being_asked_for_is_a_failure)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, str_c(request), NULL, 0, false, &cb_plain, a);
    peer_send(served(r, t, 0), S("HTTP/1.1 101 X\r\nUpgrade: y\r\nConnection: upgrade\r\n\r\n"));
    RIG_WAIT(r, a->failed);
    CHECK_INT(ERR_PROTOCOL, a->e.code);
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(a_dead_idle_connection_is_replaced_once_and_silently)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask(r, p);
    peer_send(served(r, t, 0), S("HTTP/1.1 204 No Content\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    ask_free(a);
    /* It closes only when the next request is on its way: the race that every pool has. */
    strbuf_clear(&t->peers[0]->got);
    a = ask(r, p);
    served(r, t, 0);
    io_stream_close(t->peers[0]->io);
    peer_send(served(r, t, 1), S("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
    RIG_WAIT(r, a->ended);
    CHECK_STR("head 200|end |", strbuf_str(&a->log));
    ask_free(a);
    /* Once: when the new one dies too, that is the truth. */
    strbuf_clear(&t->peers[1]->got);
    a = ask(r, p);
    served(r, t, 1);
    io_stream_reset(t->peers[1]->io);
    served(r, t, 2);
    io_stream_close(t->peers[2]->io);
    RIG_WAIT(r, a->failed);
    CHECK_INT(HTTP_AT_SEND, a->at);
    CHECK_UINT(3, t->n);
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(idle_connections_that_end_or_speak_leave_the_pool_at_once)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a[3];
    for (size_t i = 0; i < 3; i++)
        a[i] = ask(r, p);
    for (size_t i = 0; i < 3; i++) {
        peer_send(served(r, t, i), S("HTTP/1.1 204 No Content\r\n\r\n"));
        RIG_WAIT(r, http_pool_idle(p) == i + 1);
    }
    for (size_t i = 0; i < 3; i++)
        ask_free(a[i]);
    io_stream_close(t->peers[0]->io);
    RIG_WAIT(r, http_pool_idle(p) == 2);
    peer_send(t->peers[1], S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    RIG_WAIT(r, http_pool_idle(p) == 1);
    http_pool_flush(p);
    CHECK_UINT(0, http_pool_idle(p));
    RIG_WAIT(r, t->peers[2]->eof);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(the_newest_idle_connection_is_used_first_and_flush_drops_what_is_in_use)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask(r, p), *b = ask(r, p);
    served(r, t, 0);
    served(r, t, 1);
    peer_send(t->peers[0], S("HTTP/1.1 204 No Content\r\n\r\n"));
    RIG_WAIT(r, http_pool_idle(p) == 1);
    peer_send(t->peers[1], S("HTTP/1.1 204 No Content\r\n\r\n"));
    RIG_WAIT(r, http_pool_idle(p) == 2);
    ask_free(a);
    ask_free(b);
    strbuf_clear(&t->peers[0]->got);
    strbuf_clear(&t->peers[1]->got);
    a = ask(r, p);
    RIG_WAIT(r, t->peers[1]->got.len > 0);
    CHECK_UINT(0, t->peers[0]->got.len);
    http_pool_flush(p);
    peer_send(t->peers[1], S("HTTP/1.1 204 No Content\r\n\r\n"));
    RIG_WAIT(r, a->ended && t->peers[1]->eof);
    CHECK_UINT(0, http_pool_idle(p));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(credit_stops_the_answer_and_bounds_memory)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    static char block[1 << 20];
    struct ask *a = ask(r, p);
    a->stop_after_head = true;
    struct peer *u = served(r, t, 0);
    peer_send(u, S("HTTP/1.1 200 OK\r\nContent-Length: 33554432\r\n\r\n"));
    for (int i = 0; i < 32; i++)
        peer_send(u, str_n(block, sizeof block));
    RIG_WAIT(r, a->status == 200);
    RIG_PASS(r, 50);
    CHECK_UINT(0, a->body.len);
    CHECK_TRUE(io_stream_queued(u->io) > 16 << 20);
    http_x_read(a->x, true);
    RIG_WAIT(r, a->ended);
    CHECK_UINT(33554432, a->body.len);
    CHECK_UINT(1, http_pool_idle(p));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(an_exchange_can_be_cancelled_anywhere)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask(r, p);
    http_x_cancel(a->x); /* while dialling */
    a->x = NULL;
    ask_free(a);
    a = ask(r, p);
    RIG_WAIT(r, t->n > 0 && GOT(t->peers[t->n - 1], "\r\n\r\n"));
    struct peer *u = t->peers[t->n - 1];
    http_x_cancel(a->x); /* while waiting for the answer */
    a->x = NULL;
    RIG_WAIT(r, u->eof || u->failed);
    ask_free(a);
    a = ask(r, p);
    a->cancel_in_body = true; /* from inside a callback */
    u = served(r, t, t->n);
    peer_send(u, S("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n"));
    RIG_WAIT(r, a->body.len == 1 && !a->x);
    RIG_WAIT(r, u->eof || u->failed);
    CHECK_STR("head 200|", strbuf_str(&a->log));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(a_large_body_in_many_parts_is_sent_whole)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    static char block[1 << 18];
    str parts[40];
    for (size_t i = 0; i < 40; i++)
        parts[i] = str_n(block, sizeof block);
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, S("POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 10485760\r\n\r\n"), parts, 40, false, &cb, a);
    CHECK_FALSE(http_x_sent(a->x));
    struct peer *u = served(r, t, 0);
    RIG_WAIT(r, u->got.len > 10485760);
    RIG_WAIT(r, http_x_sent(a->x));
    peer_send(u, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    CHECK_UINT(1, http_pool_idle(p));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(a_streamed_body_has_back_pressure_and_trailers)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    static char block[100000];
    struct ask *a = ask_new(r);
    a->x = http_x_start_streamed(p, S("POST / HTTP/1.1\r\nHost: u\r\nTransfer-Encoding: chunked\r\n\r\n"), true, false,
                                 &cb, a);
    CHECK_TRUE(http_x_send(a->x, S("early")));
    CHECK_FALSE(http_x_send(a->x, str_n(block, sizeof block)));
    RIG_WAIT(r, a->drained == 1);
    struct peer *u = served(r, t, 0);
    io_stream_read(u->io, false);
    int sent = 0;
    while (http_x_send(a->x, str_n(block, sizeof block)))
        CHECK_TRUE(++sent < 1000);
    RIG_PASS(r, 30);
    CHECK_UINT(1, a->drained);
    io_stream_read(u->io, true);
    RIG_WAIT(r, a->drained == 2);
    http_x_send_end_trailers(a->x, S("X-T: 1\r\n"));
    RIG_WAIT(r, GOT(u, "\r\n0\r\nX-T: 1\r\n\r\n"));
    CHECK_TRUE(GOT(u, "\r\n\r\n5\r\nearly\r\n186a0\r\n"));
    peer_send(u, S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(a_streamed_body_takes_a_connection_of_its_own_and_is_asked_for_when_it_is_there)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, S("GET / HTTP/1.1\r\nHost: u\r\n\r\n"), NULL, 0, false, &cb, a);
    peer_send(served(r, t, 0), S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    CHECK_UINT(1, http_pool_idle(p)); /* it may be dead already, and the body cannot be sent twice */
    struct ask *b = ask_new(r);
    b->x = http_x_start_streamed(p, S("POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 2\r\n\r\n"), false, false, &cb, b);
    CHECK_UINT(1, http_pool_idle(p));
    CHECK_UINT(0, b->drained);
    RIG_WAIT(r, b->drained == 1);
    CHECK_TRUE(http_x_send(b->x, S("ab")));
    http_x_send_end(b->x);
    peer_send(served(r, t, 1), S("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    RIG_WAIT(r, b->ended);
    CHECK_UINT(2, http_pool_idle(p));
    ask_free(a);
    ask_free(b);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(an_early_answer_of_the_upstream_is_delivered)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    static char block[1 << 24];
    str part = str_n(block, sizeof block);
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, S("POST / HTTP/1.1\r\nHost: u\r\nContent-Length: 16777216\r\n\r\n"), &part, 1, false, &cb, a);
    RIG_WAIT(r, t->n > 0);
    struct peer *u = t->peers[0];
    io_stream_read(u->io, false);
    peer_send(u, S("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
    RIG_WAIT(r, a->ended);
    CHECK_INT(413, a->status);
    CHECK_UINT(0, http_pool_idle(p)); /* the request is not out: not reusable */
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(time_outs_of_connect_and_head)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool_conf c = { .host = S("127.0.0.1"), .port = trap_port(t), .head_ms = 30, .idle_max = 1, .idle_ms = 30 };
    struct http_pool *p = http_pool_new(r->l, &c);
    struct ask *a = ask(r, p);
    RIG_WAIT(r, a->failed);
    CHECK_INT(ERR_TIMEOUT, a->e.code);
    CHECK_INT(HTTP_AT_SEND, a->at);
    ask_free(a);
    a = ask(r, p);
    peer_send(served(r, t, 1), S("HTTP/1.1 204 No Content\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    RIG_WAIT(r, http_pool_idle(p) == 0); /* idle too long */
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(a_refused_connection_is_told_as_such)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    int port = trap_port(t);
    trap_free(t);
    RIG_PASS(r, 1);
    struct http_pool *p = pool_to(r, port);
    struct ask *a = ask(r, p);
    RIG_WAIT(r, a->failed);
    CHECK_INT(HTTP_AT_DIAL, a->at);
    CHECK_INT(ERR_REFUSED, a->e.code);
    ask_free(a);
    http_pool_free(p);
    struct http_pool_conf c = { .host = S("unix:/nonexistent/socket"), .idle_max = 1 };
    p = http_pool_new(r->l, &c);
    a = ask(r, p);
    RIG_WAIT(r, a->failed);
    CHECK_INT(ERR_REFUSED, a->e.code);
    ask_free(a);
    http_pool_free(p);
    rig_free(r);
}

TEST(answers_to_head_have_no_body)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask_new(r);
    a->x = http_x_start(p, S("HEAD / HTTP/1.1\r\nHost: u\r\n\r\n"), NULL, 0, true, &cb, a);
    peer_send(served(r, t, 0), S("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"));
    RIG_WAIT(r, a->ended);
    CHECK_UINT(1, http_pool_idle(p));
    ask_free(a);
    http_pool_free(p);
    trap_free(t);
    rig_free(r);
}

TEST(an_upgraded_stream_is_the_callers)
{
    struct rig *r = rig_new(NULL);
    struct trap *t = trap_new(r);
    struct http_pool *p = pool_to(r, trap_port(t));
    struct ask *a = ask(r, p);
    struct peer *u = served(r, t, 0);
    peer_send(u, S("HTTP/1.1 101 Switching\r\nUpgrade: w\r\nConnection: upgrade\r\n\r\nearly"));
    RIG_WAIT(r, a->upgraded);
    CHECK_STR("early", strbuf_str(&a->body));
    http_pool_free(p); /* the pool does not know it any more */
    struct peer *q = peer_of(r, a->io);
    peer_send(u, S("raw"));
    RIG_WAIT(r, GOT(q, "raw"));
    peer_free(q);
    RIG_WAIT(r, u->eof);
    ask_free(a);
    trap_free(t);
    rig_free(r);
}
