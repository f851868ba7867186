/* client.c: one request and its answer. See client.h. */
#include "base/check.h"
#include "http/client_priv.h"

/* The peer closed while we were sending: its answer may still be on the way for this long. */
#define LATE_ANSWER_MS 1000

static void begin(struct http_x *x);

/* --- ends --- */

/* After this no callback comes; the object goes when nothing of ours is on the stack. */
static void set_over(struct http_x *x)
{
    x->over = true;
    io_timer_clear(&x->timer);
    io_call_cancel(&x->step);
    if (x->dial)
        io_dial_cancel(x->dial);
    x->dial = NULL;
    if (x->link)
        link_release(x->link, false);
    x->link = NULL;
}

static void enter(struct http_x *x)
{
    x->busy++;
}

static void leave(struct http_x *x)
{
    if (--x->busy == 0 && x->over)
        pool_give_x(x);
}

static void fail(struct http_x *x, const struct error *e)
{
    if (x->over)
        return;
    enum http_stage at = x->retried && x->stage == HTTP_AT_DIAL ? HTTP_AT_SEND : x->stage;
    enter(x);
    set_over(x);
    x->cb->fail(x->ud, x, at, e);
    leave(x);
}

static void fail_with(struct http_x *x, int code, const char *msg)
{
    struct error e = { 0 };
    error_set(&e, code, "%s", msg);
    fail(x, &e);
}

static bool request_out(const struct http_x *x)
{
    return x->send_ended && x->next_part == x->n_parts && io_stream_queued(x->link->io) == 0;
}

/* The answer is complete. `clean`: nothing came after it. */
static void end(struct http_x *x, bool clean)
{
    bool keep = clean && x->rh.keep_alive && x->body != HTTP_BODY_EOF && request_out(x) && !x->write_failed;
    str trailers = x->chunked ? http_chunked_trailers(x->chunked) : STR_NONE;
    struct http_link *l = x->link;
    x->link = NULL;
    link_release(l, keep);
    set_over(x);
    if (x->cb->end)
        x->cb->end(x->ud, x, trailers);
}

/* A pooled connection that dies before it gave a byte was dead already. */
static bool retry(struct http_x *x)
{
    if (x->stage != HTTP_AT_SEND || !x->link || !x->link->used || x->retried || x->body_sent)
        return false;
    x->retried = true;
    link_release(x->link, false);
    x->link = NULL;
    x->stage = HTTP_AT_DIAL;
    x->next_part = 0;
    x->part_at = 0;
    x->write_failed = false;
    io_timer_clear(&x->timer);
    if (x->reader)
        http_reader_reset(x->reader);
    begin(x);
    return true;
}

/* --- sending --- */

#define PIECE (128u * 1024)

static void all_sent(struct http_x *x)
{
    if (x->pool->conf.head_ms > 0 && x->stage == HTTP_AT_SEND)
        io_timer_set(&x->timer, x->pool->conf.head_ms);
}

/* Pieces of at most PIECE bytes, sixteen a call, so that who lends the body learns how far it has gone. */
static size_t gather_parts(struct http_x *x, str *v, size_t n)
{
    while (n < 16 && x->next_part < x->n_parts) {
        str piece = str_sub(x->parts[x->next_part], x->part_at, PIECE);
        v[n++] = piece;
        x->part_at += piece.len;
        if (x->part_at == x->parts[x->next_part].len) {
            x->next_part++;
            x->part_at = 0;
        }
    }
    return n;
}

/* A proxy gets the whole URL, and who we are. */
static size_t put_head(const struct http_x *x, str *v)
{
    str absolute = strbuf_str(&x->pool->absolute), method, rest, line, fields;
    if (absolute.len == 0) {
        v[0] = x->head;
        return 1;
    }
    str_cut(x->head, ' ', &method, &rest);
    str_cut(rest, '\n', &line, &fields);
    v[0] = str_sub(x->head, 0, method.len + 1);
    v[1] = absolute;
    v[2] = str_sub(rest, 0, line.len + 1);
    v[3] = strbuf_str(&x->pool->auth);
    v[4] = fields;
    return 5;
}

/* Head and parts; goes on when the kernel has room again. */
static void send_parts(struct http_x *x)
{
    str v[16];
    struct io_stream *io = x->link->io;
    bool first = x->stage == HTTP_AT_DIAL;
    x->stage = x->stage == HTTP_AT_DIAL ? HTTP_AT_SEND : x->stage;
    while (first || x->next_part < x->n_parts) {
        size_t n = 0;
        if (!first && x->cb->parts_sent)
            x->cb->parts_sent(x->ud, x, x->next_part, x->part_at);
        if (first)
            n = put_head(x, v);
        n = gather_parts(x, v, n);
        first = false;
        if (!io_stream_write_borrowed(io, v, n))
            return;
    }
    if (x->send_ended)
        all_sent(x);
}

static void send_unsent(struct http_x *x)
{
    str all = strbuf_str(&x->unsent);
    if (all.len == 0)
        return;
    x->body_sent = true;
    io_stream_write(x->link->io, &all, 1);
    strbuf_fini(&x->unsent);
}

static void use_link(struct http_x *x, struct http_link *l)
{
    x->link = l;
    l->x = x;
    send_parts(x);
    if (!x->streamed)
        return;
    send_unsent(x);
    if (io_stream_queued(l->io) == 0)
        io_call_post(x->pool->loop, &x->step); /* tells `drained` to a caller that was stopped before */
}

static void on_dialed(void *ud, struct io_stream *s, const struct error *e)
{
    struct http_x *x = ud;
    x->dial = NULL;
    if (s)
        use_link(x, link_new(x->pool, s, x));
    else
        fail(x, e);
}

static void begin(struct http_x *x)
{
    const struct http_pool_conf *c = &x->pool->conf;
    /* After a dead one the other idle connections are as old; a new one is sure. A streamed body cannot be sent twice. */
    struct http_link *l = x->retried || x->streamed ? NULL : pool_take(x->pool);
    if (l) {
        use_link(x, l);
        return;
    }
    bool via = c->via_host.len > 0;
    x->dial = io_dial(x->pool->loop, via ? c->via_host : c->host, via ? c->via_port : c->port, c->connect_ms,
                      c->keepalive_s, on_dialed, x);
    if (via && c->via_socks)
        io_dial_socks(x->dial, c->host, c->port, c->via_auth, c->handshake_ms > 0 ? c->handshake_ms : c->connect_ms);
    else if (via && c->tls)
        io_dial_tunnel(x->dial, c->host, c->port, c->via_auth, c->handshake_ms);
    if (via ? c->tls || c->via_tls : c->tls)
        io_dial_secure(x->dial, c->handshake_ms);
}

static struct http_x *start(struct http_pool *p, str head, const str *parts, size_t n, bool is_head_request,
                            const struct http_x_cb *cb, void *ud)
{
    ASSERT(!p->closing);
    struct http_x *x = pool_take_x(p);
    x->cb = cb;
    x->ud = ud;
    x->head = head;
    x->is_head = is_head_request;
    x->reading = true;
    if (n) {
        x->parts = arena_calloc(&x->arena, n, sizeof *parts);
        memcpy(x->parts, parts, n * sizeof *parts);
        x->n_parts = n;
    }
    return x;
}

struct http_x *http_x_start(struct http_pool *p, str head, const str *parts, size_t n, bool is_head_request,
                            const struct http_x_cb *cb, void *ud)
{
    ASSERT(n <= 1024);
    struct http_x *x = start(p, head, parts, n, is_head_request, cb, ud);
    x->send_ended = true;
    begin(x);
    return x;
}

struct http_x *http_x_start_streamed(struct http_pool *p, str head, bool chunked, bool is_head_request,
                                     const struct http_x_cb *cb, void *ud)
{
    struct http_x *x = start(p, head, NULL, 0, is_head_request, cb, ud);
    x->streamed = x->stopped = true;
    x->chunked_up = chunked;
    begin(x);
    return x;
}

static size_t queued(const struct http_x *x)
{
    return x->unsent.len + (x->link ? io_stream_queued(x->link->io) : 0);
}

static void send_pieces(struct http_x *x, const str *v, size_t n)
{
    if (x->over)
        return;
    if (x->link) {
        x->body_sent = true;
        io_stream_write(x->link->io, v, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        ASSERT(strbuf_add(&x->unsent, v[i]));
}

bool http_x_send(struct http_x *x, str bytes)
{
    ASSERT(x->streamed && !x->send_ended);
    if (bytes.len) {
        char line[24];
        str v[3] = { STR_NONE, bytes, STR_NONE };
        if (x->chunked_up) {
            static const char hex[] = "0123456789abcdef";
            size_t at = sizeof line;
            line[--at] = '\n';
            line[--at] = '\r';
            for (size_t n = bytes.len; n; n >>= 4)
                line[--at] = hex[n & 15];
            v[0] = str_n(line + at, sizeof line - at);
            v[2] = S("\r\n");
        }
        send_pieces(x, v, 3);
    }
    if (queued(x) > HIGH_MARK && x->link)
        io_stream_flush(x->link->io);
    x->stopped = queued(x) > HIGH_MARK;
    return !x->stopped;
}

void http_x_send_end_trailers(struct http_x *x, str lines)
{
    ASSERT(x->streamed && !x->send_ended);
    x->send_ended = true;
    if (x->chunked_up) {
        str v[3] = { S("0\r\n"), lines, S("\r\n") };
        send_pieces(x, v, 3);
    }
    if (x->link) {
        io_stream_flush(x->link->io);
        if (io_stream_queued(x->link->io) == 0)
            all_sent(x);
    }
}

void http_x_send_end(struct http_x *x)
{
    http_x_send_end_trailers(x, STR_NONE);
}

bool http_x_sent(const struct http_x *x)
{
    return x->link && request_out(x);
}

void x_drained(struct http_x *x)
{
    if (x->next_part < x->n_parts) {
        send_parts(x);
        return;
    }
    if (x->send_ended)
        all_sent(x);
    else if (x->streamed && x->cb->drained) {
        x->stopped = false;
        x->cb->drained(x->ud, x);
    }
}

/* --- receiving --- */

static bool sink(void *ud, str bytes)
{
    struct http_x *x = ud;
    x->cb->body(x->ud, x, bytes);
    return !x->over && x->reading;
}

static void give_reader(struct http_x *x)
{
    if (!x->pool->reader) {
        http_reader_reset(x->reader);
        x->pool->reader = x->reader;
    } else {
        http_reader_free(x->reader);
    }
    x->reader = NULL;
}

static void begin_body(struct http_x *x)
{
    x->stage = HTTP_AT_BODY;
    io_timer_clear(&x->timer);
    x->body = x->rh.body;
    x->left = x->rh.length;
    if (x->body == HTTP_BODY_LENGTH && x->left == 0)
        x->body = HTTP_BODY_NONE;
    if (x->body == HTTP_BODY_CHUNKED)
        x->chunked = http_chunked_new(x->reader, sink, x);
    give_reader(x);
    x->cb->head(x->ud, x, &x->rh);
}

static void upgraded(struct http_x *x, str early)
{
    struct io_stream *io = x->link->io;
    struct http_link *l = x->link;
    if (!x->cb->upgraded) {
        fail_with(x, ERR_PROTOCOL, "unexpected 101 from upstream");
        return;
    }
    x->link = NULL;
    io_stream_read(io, false);
    io_stream_set_cb(io, NULL, NULL);
    set_over(x);
    x->cb->upgraded(x->ud, x, &x->rh, io, early);
    link_forget(l);
}

/* An interim head was read: tell it, then wait for the next one. */
static void interim(struct http_x *x)
{
    if (++x->interims > INTERIM_MAX) {
        fail_with(x, ERR_PROTOCOL, "too many interim answers");
        return;
    }
    if (x->rh.status != 100 && x->cb->interim)
        x->cb->interim(x->ud, x, &x->rh);
    if (!x->over)
        http_reader_reset(x->reader);
}

static size_t take_head(struct http_x *x, str in)
{
    struct error e = { 0 };
    size_t used = 0;
    if (!x->reader) {
        x->reader = x->pool->reader;
        x->pool->reader = NULL;
        if (!x->reader)
            x->reader = http_reader_new(HTTP_KIND_RESPONSE, RESPONSE_HEAD_MAX);
    }
    x->stage = HTTP_AT_HEAD;
    int rc = http_reader_feed(x->reader, in, &used, &e);
    if (rc == HTTP_MORE)
        return used;
    if (rc == HTTP_DONE)
        rc = http_reader_head(x->reader, &x->arena, x->is_head, &x->rh, &e);
    if (rc < 0) {
        error_wrap(&e, "bad answer from upstream");
        fail(x, &e);
    } else if (x->rh.status == 101) {
        upgraded(x, str_sub(in, used, in.len));
        return in.len;
    } else if (x->rh.status < 200) {
        interim(x);
    } else {
        begin_body(x);
    }
    return used;
}

static size_t take_body(struct http_x *x, str in)
{
    struct error e = { 0 };
    size_t used = in.len;
    if (x->body == HTTP_BODY_CHUNKED) {
        int rc = http_chunked_feed(x->chunked, in, &used, &e);
        if (x->over)
            return in.len;
        if (rc == HTTP_DONE)
            x->body = HTTP_BODY_NONE;
        else if (rc < 0)
            fail(x, &e);
        return used;
    }
    if (x->body == HTTP_BODY_LENGTH) {
        if (x->left < used)
            used = (size_t)x->left;
        x->left -= used;
        if (x->left == 0)
            x->body = HTTP_BODY_NONE;
    }
    x->cb->body(x->ud, x, str_sub(in, 0, used));
    return used;
}

/* Takes what the credit allows; what is left over must wait. */
static size_t take(struct http_x *x, str in)
{
    size_t at = 0;
    while (!x->over) {
        if (x->stage == HTTP_AT_BODY && x->body == HTTP_BODY_NONE) {
            end(x, at == in.len);
            break;
        }
        if (at == in.len || (x->stage == HTTP_AT_BODY && !x->reading))
            break;
        str rest = str_sub(in, at, in.len);
        at += x->stage == HTTP_AT_BODY ? take_body(x, rest) : take_head(x, rest);
    }
    return x->over ? in.len : at;
}

void x_data(struct http_x *x, str bytes)
{
    enter(x);
    if (x->pending.len) {
        ASSERT(strbuf_add(&x->pending, bytes));
    } else {
        size_t used = take(x, bytes);
        if (used < bytes.len)
            ASSERT(strbuf_add(&x->pending, str_sub(bytes, used, bytes.len)));
    }
    if (!x->over && !x->reading && x->stage == HTTP_AT_BODY)
        io_stream_read(x->link->io, false);
    leave(x);
}

void x_step(void *ud)
{
    struct http_x *x = ud;
    enter(x);
    if (x->pending.len && x->reading) {
        size_t used = take(x, strbuf_str(&x->pending));
        strbuf_consume(&x->pending, used);
    }
    if (!x->over && x->pending.len == 0) {
        strbuf_fini(&x->pending);
        if (x->link)
            io_stream_read(x->link->io, x->reading);
    }
    if (!x->over && x->streamed && !x->send_ended && x->link && x->cb->drained && queued(x) == 0 && x->stopped) {
        x->stopped = false;
        x->cb->drained(x->ud, x);
    }
    leave(x);
}

void http_x_read(struct http_x *x, bool on)
{
    if (x->over || x->reading == on)
        return;
    x->reading = on;
    if (!on) {
        if (x->link && x->stage == HTTP_AT_BODY)
            io_stream_read(x->link->io, false);
    } else if (x->pending.len) {
        io_call_post(x->pool->loop, &x->step);
    } else if (x->link) {
        io_stream_read(x->link->io, true);
    }
}

void http_x_cancel(struct http_x *x)
{
    if (x->over)
        return;
    enter(x);
    set_over(x);
    leave(x);
}

/* --- trouble --- */

void x_eof(struct http_x *x)
{
    enter(x);
    if (x->stage == HTTP_AT_BODY && x->body == HTTP_BODY_EOF)
        end(x, false);
    else if (x->write_failed)
        fail(x, &x->write_error);
    else if (!retry(x))
        fail_with(x, ERR_CLOSED, x->stage == HTTP_AT_SEND ? "upstream closed the connection without an answer" :
                                 "upstream closed the connection within its answer");
    leave(x);
}

void x_error(struct http_x *x, int sys)
{
    struct error e = { 0 };
    enter(x);
    error_sys(&e, ERR_CLOSED, -sys, "connection to upstream");
    if (retry(x)) {
        leave(x);
        return;
    }
    /* Only writing failed: the upstream may have answered early and closed. */
    if (io_stream_readable(x->link->io) && !x->write_failed) {
        x->write_failed = true;
        x->write_error = e;
        if (x->stage < HTTP_AT_BODY)
            io_timer_set(&x->timer, LATE_ANSWER_MS);
    } else {
        fail(x, &e);
    }
    leave(x);
}

void x_timeout(void *ud)
{
    struct http_x *x = ud;
    if (x->write_failed)
        fail(x, &x->write_error);
    else
        fail_with(x, ERR_TIMEOUT, "upstream did not answer in time");
}
