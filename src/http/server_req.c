/* server_req.c: one request's answer. See server.h. */
#include "http/server_priv.h"

#include "base/check.h"

void req_begin(struct http_req *r, struct http_conn *c)
{
    r->c = c;
    r->is_head = str_eq(r->head.method, S("HEAD"));
    r->keep = r->head.keep_alive;
    list_init(&r->spare);
}

const struct http_head *http_req_head(const struct http_req *r)
{
    return &r->head;
}

str http_req_peer(const struct http_req *r)
{
    return r->peer.ptr ? r->peer : io_stream_peer(r->c->io);
}

struct arena *http_req_arena(struct http_req *r)
{
    return &r->arena;
}

void http_req_set_ud(struct http_req *r, void *ud)
{
    r->ud = ud;
}

void *http_req_ud(const struct http_req *r)
{
    return r->ud;
}

str http_req_trailers(const struct http_req *r)
{
    return r->trailers;
}

bool http_req_started(const struct http_req *r)
{
    return r->started;
}

int http_req_status(const struct http_req *r)
{
    return r->status;
}

uint64_t http_req_sent(const struct http_req *r)
{
    return r->sent;
}

size_t http_req_queued(const struct http_req *r)
{
    return r->c->state == CONN_DEAD ? 0 : io_stream_queued(r->c->io);
}

static bool dead(const struct http_req *r)
{
    return r->c->state != CONN_OPEN || r->ended;
}

static void post(struct http_req *r)
{
    io_call_post(r->c->s->loop, &r->c->step);
}

static void write_text(struct http_req *r, str text)
{
    io_stream_write(r->c->io, &text, 1);
}

void http_req_read(struct http_req *r, bool on)
{
    if (r->reading == on || dead(r))
        return;
    r->reading = on;
    if (!on || r->body_done)
        return;
    if (r->continue_due && !r->begun) {
        r->continue_due = false;
        write_text(r, S("HTTP/1.1 100 Continue\r\n\r\n"));
    }
    if (r->c->pending.len)
        post(r);
}

/* --- head --- */

struct strbuf *http_req_head_begin(struct http_req *r, int status, str reason)
{
    ASSERT(!r->begun);
    r->begun = true;
    r->status = status;
    r->out = server_take_out(r->c->s);
    ASSERT(http_write_status_line(&r->out, status, reason) || http_write_status_line(&r->out, status, STR_NONE));
    return &r->out;
}

/* Did the handler (or the upstream) give the header already? */
static bool has_line(const struct strbuf *b, str name)
{
    str rest = strbuf_str(b), line;
    while (str_cut(rest, '\n', &line, &rest) && rest.len > name.len)
        if (chr_lower(rest.ptr[0]) == name.ptr[0] && rest.ptr[name.len] == ':' &&
            str_ieq(str_sub(rest, 0, name.len), name))
            return true;
    return false;
}

static void add_framing(struct http_req *r, enum http_body body, uint64_t length)
{
    struct strbuf *b = &r->out;
    bool bare = r->status < 200 || r->status == 204;
    r->no_body = bare || r->is_head || r->status == 304;
    r->out_body = body == HTTP_BODY_EOF ? HTTP_BODY_CHUNKED : body;
    r->out_left = length;
    if (bare)
        return;
    if (r->out_body == HTTP_BODY_LENGTH) {
        http_head_addu(b, S("Content-Length"), length);
    } else if (r->out_body == HTTP_BODY_NONE) {
        if (!r->no_body)
            http_head_addu(b, S("Content-Length"), 0);
    } else if (!r->no_body) {
        if (r->head.minor >= 1) {
            http_head_add(b, S("Transfer-Encoding"), S("chunked"));
        } else {
            r->out_body = HTTP_BODY_EOF;
            r->keep = false;
        }
    }
}

void http_req_say_keep_alive(struct http_req *r)
{
    r->say_keep = true;
}

void http_req_head_end(struct http_req *r, enum http_body body, uint64_t length)
{
    struct strbuf *b = &r->out;
    ASSERT(r->begun && !r->started);
    r->started = true;
    if (r->c->s->draining || r->continue_due)
        r->keep = false;
    if (r->c->body == HTTP_BODY_LENGTH && r->c->body_left > DISCARD_MAX + PENDING_MARK)
        r->keep = false; /* an early answer to a large upload */
    add_framing(r, body, length);
    if (r->status >= 200) {
        if (!has_line(b, S("date")))
            http_head_add(b, S("Date"), server_date(r->c->s));
        if (!r->keep)
            http_head_add(b, S("Connection"), S("close"));
        else if (r->head.minor < 1 || r->say_keep)
            http_head_add(b, S("Connection"), S("keep-alive"));
    }
    ASSERT(strbuf_add(b, S("\r\n")));
    r->head_waits = true;
    post(r); /* should nothing follow in this turn, the head goes out alone */
}

/* --- body --- */

/* Parts for one write: the waiting head first. Room for four more. */
static size_t with_head(struct http_req *r, str *parts)
{
    if (!r->head_waits)
        return 0;
    parts[0] = strbuf_str(&r->out);
    return 1;
}

static void head_sent(struct http_req *r)
{
    if (!r->head_waits)
        return;
    r->head_waits = false;
    server_give_out(r->c->s, &r->out);
}

/* "1a2b\r\n" */
static str chunk_line(char *buf, size_t size, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    size_t at = size - 2;
    buf[at] = '\r';
    buf[at + 1] = '\n';
    do {
        buf[--at] = hex[n & 15];
        n >>= 4;
    } while (n);
    return str_n(buf + at, size - at);
}

bool http_req_send(struct http_req *r, str bytes)
{
    str parts[4];
    char line[20];
    ASSERT(r->started && !r->finished);
    if (dead(r))
        return true;
    size_t n = with_head(r, parts);
    if (!r->no_body && bytes.len) {
        if (r->out_body == HTTP_BODY_LENGTH) {
            if (!CHECK(bytes.len <= r->out_left))
                bytes.len = (size_t)r->out_left;
            r->out_left -= bytes.len;
        }
        if (!CHECK(r->out_body != HTTP_BODY_NONE))
            bytes.len = 0;
        bool chunked = r->out_body == HTTP_BODY_CHUNKED && bytes.len;
        if (chunked)
            parts[n++] = chunk_line(line, sizeof line, bytes.len);
        parts[n++] = bytes;
        if (chunked)
            parts[n++] = S("\r\n");
    }
    r->sent += bytes.len;
    if (n)
        io_stream_write(r->c->io, parts, n);
    head_sent(r);
    if (io_stream_queued(r->c->io) <= HIGH_MARK)
        return true;
    io_stream_flush(r->c->io);
    return io_stream_queued(r->c->io) <= HIGH_MARK;
}

void http_req_flush(struct http_req *r)
{
    if (dead(r))
        return;
    str part;
    if (with_head(r, &part))
        io_stream_write(r->c->io, &part, 1);
    head_sent(r);
    io_stream_flush(r->c->io);
}

void http_req_finish_trailers(struct http_req *r, str lines)
{
    ASSERT(r->started && !r->finished);
    if (dead(r))
        return;
    if (r->out_body == HTTP_BODY_LENGTH && !r->no_body && r->out_left) {
        /* Less than was promised: the client must not take it for the whole. */
        http_req_abort(r);
        return;
    }
    r->finished = true;
    str parts[4];
    size_t n = with_head(r, parts);
    if (r->out_body == HTTP_BODY_CHUNKED && !r->no_body) {
        parts[n++] = S("0\r\n");
        parts[n++] = lines;
        parts[n++] = S("\r\n");
    }
    if (n)
        io_stream_write(r->c->io, parts, n);
    head_sent(r);
    io_stream_flush(r->c->io);
    if (io_stream_queued(r->c->io) == 0) {
        r->end_due = true;
        r->why = HTTP_END_DONE;
        post(r);
    }
}

void http_req_finish(struct http_req *r)
{
    http_req_finish_trailers(r, STR_NONE);
}

void http_req_cut(struct http_req *r)
{
    if (dead(r) || r->finished)
        return;
    if (!r->started) {
        http_req_abort(r);
        return;
    }
    http_req_flush(r);
    r->finished = r->cut = true;
    r->keep = false; /* the connection closes after what is queued, and that is the only sign there is */
    if (io_stream_queued(r->c->io) == 0) {
        r->end_due = true;
        r->why = HTTP_END_GONE;
        post(r);
    }
}

void http_req_abort(struct http_req *r)
{
    if (dead(r))
        return;
    if (!r->end_due)
        r->why = HTTP_END_GONE;
    r->finished = r->end_due = true;
    conn_close(r->c, true);
    post(r);
}

void req_drained(struct http_req *r)
{
    struct http_conn *c = r->c;
    if (r->end_due || dead(r))
        return;
    if (r->finished) {
        r->end_due = true;
        r->why = r->cut ? HTTP_END_GONE : HTTP_END_DONE;
        post(r);
    } else if (c->s->h.drained) {
        c->s->h.drained(r);
    }
}

void http_req_reply(struct http_req *r, int status, str content_type, str body)
{
    struct strbuf *b = http_req_head_begin(r, status, STR_NONE);
    if (content_type.len)
        http_head_add(b, S("Content-Type"), content_type);
    http_req_head_end(r, body.len ? HTTP_BODY_LENGTH : HTTP_BODY_NONE, body.len);
    if (body.len)
        http_req_send(r, body);
    http_req_finish(r);
}

void http_req_interim(struct http_req *r, int status, str header_lines)
{
    ASSERT(status >= 100 && status < 200 && status != 101);
    if (dead(r) || r->started || r->head.minor < 1)
        return;
    struct strbuf b = STRBUF(HEAD_OUT_MAX);
    if (http_write_status_line(&b, status, STR_NONE)) {
        str parts[3] = { strbuf_str(&b), header_lines, S("\r\n") };
        io_stream_write(r->c->io, parts, 3);
    }
    strbuf_fini(&b);
}

/* --- upgrades --- */

struct io_stream *http_req_upgrade(struct http_req *r, str *ret_early)
{
    struct http_conn *c = r->c;
    ASSERT(!c->taking);
    if (dead(r))
        return NULL;
    http_req_flush(r);
    r->finished = true;
    r->peer = arena_try_dup(&r->arena, io_stream_peer(c->io));
    *ret_early = arena_try_dup(&r->arena, strbuf_str(&c->pending));
    strbuf_fini(&c->pending);
    c->state = CONN_UPGRADED;
    io_stream_read(c->io, false);
    io_stream_set_cb(c->io, NULL, NULL);
    return c->io;
}

void http_req_upgraded_end(struct http_req *r)
{
    ASSERT(r->c->state == CONN_UPGRADED && !r->end_due);
    r->end_due = true;
    r->why = HTTP_END_DONE;
    post(r);
}

/* --- answers of the server itself --- */

void conn_answer_error(struct http_conn *c, int status, str message)
{
    struct http_server *s = c->s;
    struct strbuf head = server_take_out(s), body = STRBUF(64 * 1024);
    const char *type = "text/plain; charset=utf-8";
    if (s->conf.error_body) {
        s->conf.error_body(s->ud, &body, status, message, &type);
    } else {
        strbuf_add(&body, message);
        strbuf_addc(&body, '\n');
    }
    http_write_status_line(&head, status, STR_NONE);
    http_head_add(&head, S("Content-Type"), str_c(type));
    http_head_addu(&head, S("Content-Length"), body.len);
    http_head_add(&head, S("Date"), server_date(s));
    http_head_add(&head, S("Connection"), S("close"));
    strbuf_add(&head, S("\r\n"));
    str parts[2] = { strbuf_str(&head), strbuf_str(&body) };
    io_stream_write(c->io, parts, 2);
    server_give_out(s, &head);
    strbuf_fini(&body);
}
