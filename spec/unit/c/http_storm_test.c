/* Server and client together as a proxy, under seeded random trouble: pipelining, slow readers, split writes, clients
 * that leave, upstreams that cut. Every answer that is complete must be right, every request must end once. */
#include "http_rig.h"

#include "codec/http_parse.h"

#include <stdio.h>

#define CLIENTS 8
#define ROUNDS 12

static uint64_t rng;

static unsigned rnd(unsigned n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(rng >> 33) % n;
}

static char byte_at(uint64_t size, uint64_t i)
{
    return (char)(i * 7 + (i >> 8) * 3 + size);
}

struct storm {
    struct io_loop *l;
    struct http_server *front, *back;
    struct http_pool *pool;
    int front_open, back_open, closed;
    int whole, refused, cut;
};
static struct storm st;

/* --- the upstream: /<mode>/<size>, mode l (length), c (chunked), a (cut half way), s (slow) --- */

struct answer {
    struct http_req *r;
    uint64_t size, at, sum;
    char mode;
    struct io_call again;
};

static void back_pump(struct answer *a)
{
    char buf[5000];
    for (int k = 0; a->at < a->size; k++) {
        if (a->mode == 'a' && a->at >= a->size / 2) {
            http_req_abort(a->r);
            return;
        }
        if (a->mode == 's' && k == 3) {
            io_call_post(st.l, &a->again);
            return;
        }
        size_t n = 1 + rnd(sizeof buf - 1);
        uint64_t left = (a->mode == 'a' ? a->size / 2 : a->size) - a->at;
        n = n > left ? (size_t)left : n;
        for (size_t i = 0; i < n; i++)
            buf[i] = byte_at(a->size, a->at + i);
        a->at += n;
        if (!http_req_send(a->r, str_n(buf, n)))
            return;
    }
    http_req_finish(a->r);
}

static void back_again(void *ud)
{
    back_pump(ud);
}

static void back_begin(void *ud, struct http_req *r)
{
    (void)ud;
    struct answer *a = ARENA_NEW(http_req_arena(r), struct answer);
    str path = http_req_head(r)->path;
    st.back_open++;
    a->r = r;
    a->mode = path.ptr[1];
    CHECK_TRUE(str_to_u64(str_sub(path, 3, 20), &a->size));
    io_call_init(&a->again, back_again, a);
    http_req_set_ud(r, a);
    http_req_read(r, true);
}

static void back_body(struct http_req *r, str bytes)
{
    struct answer *a = http_req_ud(r);
    for (size_t i = 0; i < bytes.len; i++)
        a->sum += (unsigned char)bytes.ptr[i];
}

static void back_body_end(struct http_req *r)
{
    struct answer *a = http_req_ud(r);
    http_head_addu(http_req_head_begin(r, 200, STR_NONE), S("X-Sum"), a->sum);
    http_req_head_end(r, a->mode == 'l' ? HTTP_BODY_LENGTH : HTTP_BODY_CHUNKED, a->size);
    back_pump(a);
}

static void back_drained(struct http_req *r)
{
    struct answer *a = http_req_ud(r);
    if (!list_linked(&a->again.node))
        back_pump(a);
}

static void back_end(struct http_req *r, enum http_end why)
{
    (void)why;
    struct answer *a = http_req_ud(r);
    io_call_cancel(&a->again);
    st.back_open--;
}

/* --- the proxy --- */

struct relay {
    struct http_req *r;
    struct http_x *x;
    struct strbuf body, head;
    bool streamed, ended;
};

static void x_head(void *ud, struct http_x *x, const struct http_head *h)
{
    struct relay *y = ud;
    (void)x;
    CHECK_INT(0, http_forward_response(http_req_head_begin(y->r, h->status, h->reason), h, NULL, NULL));
    http_req_head_end(y->r, h->body, h->length);
}

static void x_body(void *ud, struct http_x *x, str bytes)
{
    struct relay *y = ud;
    if (!http_req_send(y->r, bytes))
        http_x_read(x, false);
}

static void x_end(void *ud, struct http_x *x, str trailers)
{
    struct relay *y = ud;
    (void)x;
    y->x = NULL;
    http_req_finish_trailers(y->r, trailers);
}

static void x_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct relay *y = ud;
    (void)x;
    y->x = NULL;
    CHECK_TRUE(e->code < 0);
    if (at == HTTP_AT_BODY)
        http_req_abort(y->r);
    else
        http_req_reply(y->r, 502, S("text/plain"), str_c(e->msg));
}

static void x_drained(void *ud, struct http_x *x)
{
    struct relay *y = ud;
    (void)x;
    http_req_read(y->r, true);
}

static const struct http_x_cb x_cb = {
    .head = x_head, .body = x_body, .end = x_end, .fail = x_fail, .drained = x_drained
};

static void front_start(struct relay *y, enum http_body body, uint64_t length)
{
    struct http_forward o = { .peer = http_req_peer(y->r), .body = body, .length = length };
    CHECK_INT(0, http_forward_request(&y->head, http_req_head(y->r), &o, NULL));
    str part = strbuf_str(&y->body);
    if (y->streamed)
        y->x = http_x_start_streamed(st.pool, strbuf_str(&y->head), body == HTTP_BODY_CHUNKED, false, &x_cb, y);
    else
        y->x = http_x_start(st.pool, strbuf_str(&y->head), &part, 1, false, &x_cb, y);
}

static void front_begin(void *ud, struct http_req *r)
{
    (void)ud;
    struct relay *y = ARENA_NEW(http_req_arena(r), struct relay);
    const struct http_head *h = http_req_head(r);
    st.front_open++;
    y->r = r;
    y->body = STRBUF(64u << 20);
    y->head = STRBUF(1u << 20);
    http_req_set_ud(r, y);
    y->streamed = h->body != HTTP_BODY_NONE && rnd(2);
    if (y->streamed)
        front_start(y, h->body, h->length);
    http_req_read(r, true);
}

static void front_body(struct http_req *r, str bytes)
{
    struct relay *y = http_req_ud(r);
    if (!y->streamed)
        strbuf_add(&y->body, bytes);
    else if (y->x && !http_x_send(y->x, bytes))
        http_req_read(r, false);
}

static void front_body_end(struct http_req *r)
{
    struct relay *y = http_req_ud(r);
    if (!y->streamed)
        front_start(y, HTTP_BODY_LENGTH, y->body.len);
    else if (y->x)
        http_x_send_end(y->x);
}

static void front_drained(struct http_req *r)
{
    struct relay *y = http_req_ud(r);
    if (y->x)
        http_x_read(y->x, true);
}

static void front_end(struct http_req *r, enum http_end why)
{
    (void)why;
    struct relay *y = http_req_ud(r);
    CHECK_FALSE(y->ended);
    y->ended = true;
    st.front_open--;
    if (y->x)
        http_x_cancel(y->x);
    strbuf_fini(&y->body);
    strbuf_fini(&y->head);
}

/* --- the clients --- */

struct want {
    uint64_t size, sum;
    char mode;
};
struct client {
    struct io_stream *io;
    struct strbuf out;
    struct want want[ROUNDS];
    int n, next, turns_off;
    bool dead, leaves;
    struct http_reader *reader;
    struct http_chunked *chunked;
    struct arena arena;
    struct http_head h;
    bool in_body;
    uint64_t at;
};

static bool c_sink(void *ud, str bytes)
{
    struct client *c = ud;
    const struct want *w = &c->want[c->next];
    for (size_t i = 0; c->h.status == 200 && i < bytes.len; i++)
        CHECK_INT(byte_at(w->size, c->at + i), bytes.ptr[i]);
    c->at += bytes.len;
    return true;
}

static void answer_complete(struct client *c)
{
    const struct want *w = &c->want[c->next++];
    if (c->h.status == 200) {
        uint64_t sum = 0;
        CHECK_TRUE(str_to_u64(http_find_name(&c->h, S("x-sum"))->value, &sum));
        CHECK_UINT(w->sum, sum);
        CHECK_UINT(w->size, c->at);
        CHECK_TRUE(w->mode != 'a' || w->size == 0);
        st.whole++;
    } else {
        CHECK_INT(502, c->h.status);
        st.refused++;
    }
    c->in_body = false;
    http_reader_reset(c->reader);
    http_chunked_free(c->chunked);
    c->chunked = NULL;
}

static size_t c_take(struct client *c, str in)
{
    size_t used = 0;
    if (!c->in_body) {
        int rc = http_reader_feed(c->reader, in, &used, NULL);
        CHECK_TRUE(rc >= 0);
        if (rc == HTTP_MORE)
            return used;
        CHECK_TRUE(c->next < c->n);
        arena_reset(&c->arena);
        CHECK_INT(0, http_reader_head(c->reader, &c->arena, false, &c->h, NULL));
        c->in_body = true;
        c->at = 0;
        if (c->h.body == HTTP_BODY_CHUNKED)
            c->chunked = http_chunked_new(c->reader, c_sink, c);
        else if (c->h.length == 0)
            answer_complete(c);
        return used;
    }
    if (c->chunked) {
        int rc = http_chunked_feed(c->chunked, in, &used, NULL);
        CHECK_TRUE(rc >= 0);
        if (rc == HTTP_DONE)
            answer_complete(c);
        return used;
    }
    str piece = str_sub(in, 0, c->h.length - c->at);
    c_sink(c, piece);
    if (c->at == c->h.length)
        answer_complete(c);
    return piece.len;
}

static void c_data(void *ud, str bytes)
{
    struct client *c = ud;
    while (bytes.len)
        bytes = str_sub(bytes, c_take(c, bytes), bytes.len);
    if (rnd(8) == 0) {
        io_stream_read(c->io, false);
        c->turns_off = 1 + (int)rnd(20);
    }
}

static void c_gone(struct client *c)
{
    if (c->dead)
        return;
    c->dead = true;
    if (c->next < c->n && !c->leaves)
        st.cut++;
    io_stream_close(c->io);
}

static void c_eof(void *ud)
{
    c_gone(ud);
}

static void c_error(void *ud, int sys)
{
    (void)sys;
    c_gone(ud);
}

static void c_closed(void *ud)
{
    struct client *c = ud;
    c->io = NULL;
}

static const struct io_stream_cb c_cb = { .data = c_data, .eof = c_eof, .error = c_error, .closed = c_closed };

static void add_request(struct client *c)
{
    struct want *w = &c->want[c->n++];
    char modes[] = "llccssa";
    w->mode = modes[rnd(7)];
    w->size = rnd(3) ? rnd(2000) : rnd(300000);
    size_t body = rnd(3) ? rnd(500) : rnd(100000);
    int how = (int)rnd(3);
    w->sum = 0;
    strbuf_addf(&c->out, "%s /%c/%llu HTTP/1.1\r\nHost: storm\r\n", how ? "POST" : "GET", w->mode, (unsigned long long)w->size);
    if (how == 1)
        strbuf_addf(&c->out, "Content-Length: %zu\r\n", body);
    if (how == 2)
        strbuf_add(&c->out, S("Transfer-Encoding: chunked\r\n"));
    strbuf_add(&c->out, S("\r\n"));
    for (size_t at = 0; how && at < body;) {
        size_t n = how == 1 ? body : 1 + rnd((unsigned)(body - at));
        if (how == 2)
            strbuf_addf(&c->out, "%zx\r\n", n);
        for (size_t i = 0; i < n; i++) {
            char b = (char)rnd(256);
            w->sum += (unsigned char)b;
            strbuf_addc(&c->out, b);
        }
        at += n;
        if (how == 2)
            strbuf_add(&c->out, S("\r\n"));
    }
    if (how == 2)
        strbuf_add(&c->out, S("0\r\n\r\n"));
}

static void c_dialed(void *ud, struct io_stream *s, const struct error *e)
{
    struct client *c = ud;
    (void)e;
    CHECK_TRUE(s != NULL);
    c->io = s;
    io_stream_set_cb(s, &c_cb, c);
    io_stream_read(s, true);
}

static struct client *client_new(void)
{
    struct client *c = mem_zalloc(sizeof *c);
    c->out = STRBUF(64u << 20);
    c->reader = http_reader_new(HTTP_KIND_RESPONSE, 65536);
    arena_init(&c->arena, 1u << 20);
    int n = 1 + (int)rnd(ROUNDS);
    for (int i = 0; i < n; i++)
        add_request(c);
    c->leaves = rnd(4) == 0;
    io_dial(st.l, S("127.0.0.1"), http_server_port(st.front, 0), 0, -1, c_dialed, c);
    return c;
}

static void client_free(struct client *c)
{
    strbuf_fini(&c->out);
    http_reader_free(c->reader);
    http_chunked_free(c->chunked);
    arena_fini(&c->arena);
    free(c);
}

/* A little of everything; false when this client has nothing left to do. */
static bool client_turn(struct client *c)
{
    if (c->dead)
        return c->io != NULL;
    if (!c->io)
        return true; /* dialling */
    if (c->turns_off > 0 && --c->turns_off == 0)
        io_stream_read(c->io, true);
    if (c->out.len && io_stream_queued(c->io) < 200000 && rnd(3)) {
        size_t n = 1 + (rnd(4) ? rnd(200000) : rnd(50));
        str piece = str_sub(strbuf_str(&c->out), 0, n);
        io_stream_write(c->io, &piece, 1);
        strbuf_consume(&c->out, piece.len);
    }
    if (c->leaves && rnd(100) == 0)
        c_gone(c);
    if (c->next == c->n)
        c_gone(c);
    return true;
}

static void on_tick(void *ud)
{
    (void)ud;
}

static void on_closed(void *ud)
{
    (void)ud;
    st.closed++;
}

static void storm(uint64_t seed)
{
    static const struct http_handler front = { front_begin, front_body, front_body_end, front_drained, front_end };
    static const struct http_handler back = { back_begin, back_body, back_body_end, back_drained, back_end };
    struct http_server_conf conf = { .head_max = 65536, .idle_timeout_ms = 20000, .arena_max = 1u << 20 };
    struct client *c[CLIENTS];
    rng = seed;
    st = (struct storm){ .l = io_loop_new() };
    st.front = http_server_new(st.l, &conf, &front, NULL);
    st.back = http_server_new(st.l, &conf, &back, NULL);
    CHECK_INT(0, http_server_listen(st.front, S("127.0.0.1:0"), NULL));
    CHECK_INT(0, http_server_listen(st.back, S("127.0.0.1:0"), NULL));
    struct http_pool_conf pc = { .host = S("127.0.0.1"), .port = http_server_port(st.back, 0), .idle_max = 3 };
    st.pool = http_pool_new(st.l, &pc);
    struct io_timer *tick = io_timer_new(st.l, "tick", on_tick, NULL);
    for (int i = 0; i < CLIENTS; i++)
        c[i] = client_new();
    int active = 1;
    for (int turn = 0; active; turn++) {
        if (turn > 20000)
            spec_miss(__FILE__, __LINE__, "seed %llu does not come to an end", (unsigned long long)seed);
        active = 0;
        for (int i = 0; i < CLIENTS; i++)
            active += client_turn(c[i]);
        io_timer_set(tick, 1);
        io_loop_turn(st.l);
    }
    io_timer_free(tick);
    http_server_close(st.front, on_closed, NULL);
    http_server_close(st.back, on_closed, NULL);
    while (st.closed < 2)
        io_loop_turn(st.l);
    if (st.front_open || st.back_open || st.whole == 0)
        spec_miss(__FILE__, __LINE__, "seed %llu: %d and %d requests open, %d whole", (unsigned long long)seed,
                  st.front_open, st.back_open, st.whole);
    http_pool_free(st.pool);
    http_server_free(st.front);
    http_server_free(st.back);
    for (int i = 0; i < CLIENTS; i++)
        client_free(c[i]);
    io_loop_free(st.l);
}

/* LUASWAP_STORM=1000 runs that many seeds. */
TEST(a_proxy_in_a_storm)
{
    const char *more = getenv("LUASWAP_STORM");
    uint64_t n = 8;
    if (more)
        CHECK_TRUE(str_to_u64(str_c(more), &n));
    int whole = 0, refused = 0, cut = 0;
    for (uint64_t seed = 1; seed <= n; seed++) {
        storm(seed);
        whole += st.whole;
        refused += st.refused;
        cut += st.cut;
    }
    CHECK_TRUE(whole > 100 && cut > 5);
    if (more)
        printf("%d answers whole, %d refused, %d cut\n", whole, refused, cut);
}
