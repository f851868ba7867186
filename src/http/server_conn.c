/* server_conn.c: the bytes a client sends. See server_priv.h. */
#include "http/server_priv.h"

#include "base/check.h"

static size_t take(struct http_conn *c, str in);

static void set_timer(struct http_conn *c, msec ms)
{
    if (ms > 0)
        io_timer_set(&c->timer, ms);
    else
        io_timer_clear(&c->timer);
}

void conn_start(struct http_conn *c)
{
    io_stream_set_cb(c->io, &conn_stream_cb, c);
    set_timer(c, c->s->conf.idle_timeout_ms);
    io_stream_read(c->io, true);
}

void conn_close(struct http_conn *c, bool rst)
{
    if (c->state == CONN_DEAD)
        return;
    c->state = CONN_DEAD;
    io_timer_clear(&c->timer);
    if (rst)
        io_stream_reset(c->io);
    else
        io_stream_close(c->io);
}

/* Says goodbye so that the answer is not lost: FIN, then what the client still sends is read and dropped. */
static void linger(struct http_conn *c)
{
    c->state = CONN_LINGER;
    strbuf_fini(&c->pending);
    io_stream_finish(c->io);
    io_stream_read(c->io, true);
    io_timer_set(&c->timer, LINGER_MS);
}

/* --- heads --- */

static void give_reader(struct http_conn *c)
{
    struct http_reader *rd = c->reader;
    c->reader = NULL;
    if (c->s->reader) {
        http_reader_free(rd);
        return;
    }
    http_reader_reset(rd);
    c->s->reader = rd;
}

static void take_reader(struct http_conn *c)
{
    c->reader = c->s->reader;
    c->s->reader = NULL;
    if (!c->reader)
        c->reader = http_reader_new(HTTP_KIND_REQUEST, c->s->conf.head_max);
}

static void refuse_head(struct http_conn *c, const struct error *e)
{
    int status = http_reader_status(c->reader);
    give_reader(c);
    conn_answer_error(c, status, str_c(e->msg));
    if (c->state != CONN_DEAD)
        linger(c);
}

static bool body_sink(void *ud, str bytes)
{
    struct http_conn *c = ud;
    struct http_req *r = c->req;
    if (c->state == CONN_DISCARD) {
        bool more = c->body_left >= bytes.len;
        c->body_left -= more ? bytes.len : c->body_left;
        return true;
    }
    c->s->h.body(r, bytes);
    return c->state == CONN_OPEN && r->reading && !r->finished;
}

static void tell_body_end(struct http_conn *c)
{
    struct http_req *r = c->req;
    if (r->body_end_told || r->finished || c->state != CONN_OPEN)
        return;
    r->body_end_told = true;
    if (c->s->h.body_end)
        c->s->h.body_end(r);
}

static void begin_request(struct http_conn *c, struct http_req *r)
{
    req_begin(r, c);
    c->req = r;
    c->state = CONN_OPEN;
    c->body = r->head.body;
    c->body_left = r->head.length;
    if (c->body == HTTP_BODY_LENGTH && c->body_left == 0)
        c->body = HTTP_BODY_NONE;
    if (c->body == HTTP_BODY_CHUNKED)
        c->chunked = http_chunked_new(c->reader, body_sink, c);
    r->body_done = c->body == HTTP_BODY_NONE;
    r->continue_due = r->head.expect_continue && !r->body_done;
    give_reader(c);
    io_timer_clear(&c->timer);
    io_stream_peer(c->io); /* remembered by the stream; unknown once the client has left */
    c->s->h.begin(c->s->ud, r);
    if (c->state == CONN_OPEN && r->body_done)
        tell_body_end(c);
}

static size_t take_head(struct http_conn *c, str in)
{
    struct error e = { 0 };
    size_t used;
    if (!c->reader)
        take_reader(c);
    int rc = http_reader_feed(c->reader, in, &used, &e);
    if (rc == HTTP_MORE) {
        if (c->state == CONN_IDLE && http_reader_begun(c->reader)) {
            c->state = CONN_HEAD;
            set_timer(c, c->s->conf.head_timeout_ms);
        }
        return used;
    }
    struct http_req *r = NULL;
    if (rc == HTTP_DONE) {
        r = server_take_req(c->s);
        rc = http_reader_head(c->reader, &r->arena, false, &r->head, &e);
    }
    if (rc < 0) {
        if (r)
            server_give_req(c->s, r);
        refuse_head(c, &e);
        return in.len;
    }
    begin_request(c, r);
    return used;
}

/* --- bodies --- */

static void body_complete(struct http_conn *c)
{
    if (c->chunked && c->req) {
        str t = http_chunked_trailers(c->chunked);
        if (t.len)
            c->req->trailers = arena_try_dup(&c->req->arena, t);
    }
    http_chunked_free(c->chunked);
    c->chunked = NULL;
    c->body = HTTP_BODY_NONE;
    if (c->state == CONN_DISCARD) {
        io_call_post(c->s->loop, &c->step);
        return;
    }
    c->req->body_done = true;
    tell_body_end(c);
}

/* A body that breaks the framing rules: nothing after it can be trusted. */
static void body_broken(struct http_conn *c, const struct error *e)
{
    struct http_req *r = c->req;
    if (c->state == CONN_DISCARD || (r && r->begun)) {
        if (r)
            conn_end_req(c, HTTP_END_GONE);
        conn_close(c, true);
        return;
    }
    conn_end_req(c, HTTP_END_GONE);
    if (c->state == CONN_DEAD)
        return;
    conn_answer_error(c, 400, str_c(e->msg));
    if (c->state != CONN_DEAD)
        linger(c);
}

static size_t take_body(struct http_conn *c, str in)
{
    struct error e = { 0 };
    size_t used = 0;
    if (c->body == HTTP_BODY_LENGTH) {
        str piece = str_sub(in, 0, c->body_left < in.len ? (size_t)c->body_left : in.len);
        c->body_left -= piece.len;
        if (c->state == CONN_OPEN)
            c->s->h.body(c->req, piece);
        if (c->state != CONN_DEAD && c->body_left == 0)
            body_complete(c);
        return piece.len;
    }
    int rc = http_chunked_feed(c->chunked, in, &used, &e);
    if (c->state == CONN_DEAD)
        return in.len;
    if (rc == HTTP_DONE)
        body_complete(c);
    else if (rc < 0)
        body_broken(c, &e);
    else if (c->state == CONN_DISCARD && c->body_left == 0)
        linger(c);
    return rc < 0 ? in.len : used;
}

/* --- the order of things --- */

/* Takes what can be taken now of `in`; what is left over must wait. */
static size_t take(struct http_conn *c, str in)
{
    size_t at = 0;
    c->taking = true;
    while (at < in.len) {
        str rest = str_sub(in, at, in.len);
        if (c->state == CONN_IDLE || c->state == CONN_HEAD)
            at += take_head(c, rest);
        else if (c->state == CONN_OPEN && c->body != HTTP_BODY_NONE && c->req->reading && !c->req->finished)
            at += take_body(c, rest);
        else if (c->state == CONN_DISCARD && c->body != HTTP_BODY_NONE)
            at += take_body(c, rest);
        else if (c->state == CONN_LINGER || c->state == CONN_DEAD)
            at = in.len;
        else
            break;
    }
    c->taking = false;
    return at;
}

static void after_take(struct http_conn *c)
{
    if (c->state == CONN_DEAD || c->state == CONN_UPGRADED)
        return;
    bool full = c->pending.len > PENDING_MARK;
    if (full != c->paused) {
        c->paused = full;
        io_stream_read(c->io, !full);
        if (c->state == CONN_OPEN)
            set_timer(c, full ? GONE_LOOK_MS : 0);
    }
    if (c->pending.len == 0 && c->pending.ptr)
        strbuf_fini(&c->pending);
}

static void take_pending(struct http_conn *c)
{
    /* The handler is called from here and may answer, but never touches `pending`. */
    size_t used = take(c, strbuf_str(&c->pending));
    if (c->pending.ptr && used <= c->pending.len)
        strbuf_consume(&c->pending, used);
    after_take(c);
}

static void on_data(void *ud, str bytes)
{
    struct http_conn *c = ud;
    if (c->pending.len) {
        ASSERT(strbuf_add(&c->pending, bytes));
        take_pending(c);
        return;
    }
    size_t used = take(c, bytes);
    if (used < bytes.len && c->state != CONN_DEAD)
        ASSERT(strbuf_add(&c->pending, str_sub(bytes, used, bytes.len)));
    after_take(c);
}

void conn_end_req(struct http_conn *c, enum http_end why)
{
    struct http_req *r = c->req;
    ASSERT(r);
    r->ended = true;
    if (c->s->h.end)
        c->s->h.end(r, why);
    c->req = NULL;
    server_give_req(c->s, r);
}

/* The answer has gone out and its request is no more: what now. */
static void after_answer(struct http_conn *c, bool keep, bool early)
{
    if (c->state != CONN_OPEN)
        return;
    if (c->eof || c->s->closing) { /* the handler may close the server from `end` */
        conn_close(c, c->s->closing);
        return;
    }
    bool body_left = c->body != HTTP_BODY_NONE;
    if (!keep || (body_left && (early || (c->body == HTTP_BODY_LENGTH && c->body_left > DISCARD_MAX)))) {
        if (body_left || c->pending.len)
            linger(c);
        else
            conn_close(c, false);
        return;
    }
    if (body_left) {
        c->state = CONN_DISCARD;
        if (c->body == HTTP_BODY_CHUNKED)
            c->body_left = DISCARD_MAX;
        set_timer(c, c->s->conf.head_timeout_ms);
    } else {
        c->state = CONN_IDLE;
        set_timer(c, c->s->conf.idle_timeout_ms);
        if (c->s->draining && c->pending.len == 0) {
            conn_close(c, false);
            return;
        }
    }
    if (c->pending.len || c->paused)
        take_pending(c);
}

void conn_step(void *ud)
{
    struct http_conn *c = ud;
    struct http_req *r = c->req;
    if (r && r->head_waits && !r->end_due && c->state == CONN_OPEN)
        http_req_flush(r);
    if (r && r->end_due) {
        bool keep = r->keep && !c->s->draining, early = r->continue_due;
        bool upgraded = c->state == CONN_UPGRADED;
        if (r->cut && r->out_body == HTTP_BODY_EOF && !upgraded)
            conn_close(c, true); /* until-close answers have no other sign of being cut */
        conn_end_req(c, r->why);
        if (upgraded)
            server_conn_gone(c);
        else
            after_answer(c, keep, early);
        return;
    }
    if (c->state == CONN_DISCARD && c->body == HTTP_BODY_NONE) {
        c->state = CONN_IDLE;
        set_timer(c, c->s->conf.idle_timeout_ms);
        if (c->s->draining) {
            conn_close(c, false);
            return;
        }
    }
    if (c->state != CONN_DEAD && c->state != CONN_UPGRADED)
        take_pending(c);
}

static void on_eof(void *ud);

void conn_timeout(void *ud)
{
    struct http_conn *c = ud;
    if (c->state == CONN_OPEN && c->paused) {
        if (io_stream_hung_up(c->io))
            on_eof(c);
        else
            set_timer(c, GONE_LOOK_MS);
        return;
    }
    if (c->state == CONN_HEAD) {
        give_reader(c);
        conn_answer_error(c, 408, S("the request head took too long"));
        if (c->state != CONN_DEAD)
            linger(c);
        return;
    }
    if (c->state != CONN_OPEN && c->state != CONN_UPGRADED)
        conn_close(c, false);
}

static void client_left(struct http_conn *c)
{
    if (c->req)
        conn_end_req(c, HTTP_END_GONE);
    conn_close(c, false);
}

/* A client that closes its half has gone, as far as an open request goes. Only an answer that is complete and
 * merely waits for the kernel is still delivered. */
static void on_eof(void *ud)
{
    struct http_conn *c = ud;
    if (c->req && c->req->finished && !c->req->end_due) {
        c->eof = true;
        return;
    }
    if (c->state == CONN_LINGER && io_stream_queued(c->io)) {
        c->eof = true;
        return;
    }
    if (c->req && c->req->end_due)
        conn_end_req(c, c->req->why);
    client_left(c);
}

static void on_error(void *ud, int sys)
{
    (void)sys;
    struct http_conn *c = ud;
    if (c->req && c->req->end_due)
        conn_end_req(c, c->req->why);
    client_left(c);
}

static void on_drained(void *ud)
{
    struct http_conn *c = ud;
    if (c->req)
        req_drained(c->req);
    else if (c->state == CONN_LINGER && c->eof)
        conn_close(c, false);
}

static void on_closed(void *ud)
{
    struct http_conn *c = ud;
    if (c->req)
        conn_end_req(c, HTTP_END_GONE);
    server_conn_gone(c);
}

const struct io_stream_cb conn_stream_cb = {
    .data = on_data,
    .eof = on_eof,
    .error = on_error,
    .drained = on_drained,
    .closed = on_closed,
};
