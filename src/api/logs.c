/* logs.c: the log rings as text, and live (http.md 8).
 *
 * A live reader never holds anybody up. Lines are copied to a bounded text of its own when they are written and
 * sent at the end of the turn (a line may be written from inside a write to this very connection). While the reader
 * does not keep up, whole writes that do not fit are dropped, and it is told how much it missed at that place.
 */
#include "api/api.h"

#include "base/check.h"
#include "codec/http_write.h"
#include "proxy/model.h"
#include "route/extract.h"
#include "route/resolve.h"

#define PENDING_MAX (256u * 1024)
#define PENDING_KEEP (8u * 1024) /* memory that stays with a quiet stream */

struct log_stream {
    struct request *req;
    struct log_sub sub;
    struct io_call flush;
    struct strbuf pending;
    uint64_t dropped;
    bool stalled;  /* the connection's queue is full; `drained` will come */
    bool over;     /* the answer is finished */
    bool mid_line; /* the last byte sent was no newline */
};

void api_logs(struct request *req, const struct route *r)
{
    (void)r;
    if (str_find(http_value(http_req_head(req->http), HDR_ACCEPT), S("text/html")) >= 0) {
        api_redirect(req, 302, S("/ui/"));
        return;
    }
    str old, new;
    ring_read(&req->srv->log.combined.ring, &old, &new);
    req_to(req, REQ_REPLY);
    struct strbuf *h = http_req_head_begin(req->http, 200, http_reason(200));
    http_head_add(h, S("Content-Type"), S("text/plain"));
    http_req_head_end(req->http, HTTP_BODY_LENGTH, old.len + new.len);
    (void)http_req_send(req->http, old);
    (void)http_req_send(req->http, new);
    http_req_finish(req->http);
}

static void stream_send(struct log_stream *s, str bytes)
{
    if (bytes.len == 0)
        return;
    s->mid_line = bytes.ptr[bytes.len - 1] != '\n';
    if (!http_req_send(s->req->http, bytes))
        s->stalled = true;
}

static void on_flush(void *ud)
{
    struct log_stream *s = ud;
    if (s->stalled || s->over)
        return;
    stream_send(s, strbuf_str(&s->pending));
    if (s->dropped) {
        struct strbuf line = STRBUF(128);
        strbuf_addf(&line, "%s\n\xE2\x80\x94 %llu bytes dropped \xE2\x80\x94\n", s->mid_line ? "\n" : "",
                    (unsigned long long)s->dropped);
        s->dropped = 0;
        stream_send(s, strbuf_str(&line));
        strbuf_fini(&line);
    }
    if (s->pending.cap > PENDING_KEEP)
        strbuf_fini(&s->pending);
    else
        strbuf_clear(&s->pending);
}

/* The end, with what was logged in this very turn. A reader that does not read must not hold up the end of the program,
 * and has missed something anyway. */
static void finish(struct log_stream *s)
{
    if (s->over)
        return;
    on_flush(s);
    s->over = true;
    if (s->stalled)
        http_req_abort(s->req->http);
    else
        http_req_finish(s->req->http);
}

static void on_stop(struct request *req)
{
    finish(req->local);
}

static void on_log(void *ud, str bytes)
{
    struct log_stream *s = ud;
    if (s->over)
        return;
    /* after the first loss everything is lost until the reader goes on, so that the note stands where the hole is */
    if (s->dropped || !strbuf_add(&s->pending, bytes)) {
        s->dropped += bytes.len;
        s->pending.full = false;
        return;
    }
    if (!s->stalled)
        io_call_post(s->req->srv->loop, &s->flush);
}

/* The model was removed: the stream ends as it would with the program, and its reader may look for another one. */
static void on_over(void *ud)
{
    finish(ud);
}

static void on_drained(struct request *req)
{
    struct log_stream *s = req->local;
    s->stalled = false;
    on_flush(s);
}

static void on_end(struct request *req)
{
    struct log_stream *s = req->local;
    log_monitor_unsubscribe(&s->sub);
    io_call_cancel(&s->flush);
    strbuf_fini(&s->pending);
}

/* Names of http.md 8; NULL when there is no such log. */
static struct log_monitor *monitor_of(struct request *req, str tail)
{
    struct server *srv = req->srv;
    struct arena *a = http_req_arena(req->http);
    struct path_match match;
    size_t model;
    str name;
    if (tail.len == 0)
        return &srv->log.combined;
    if (path_decode(a, tail, &name, NULL) < 0)
        return NULL;
    if (str_eq(name, S("proxy")))
        return &srv->log.proxy;
    if (str_eq(name, S("upstream")))
        return &srv->log.upstream;
    if (resolve_path_local(req->cfg, a, tail, &model, &match, NULL) < 0)
        return NULL;
    struct model *m = server_model_at(srv, req->cfg, model);
    return m ? &m->log : NULL;
}

static void send_history(struct log_stream *s, const struct log_monitor *mon)
{
    str old, new, none;
    bool bad;
    const struct http_head *h = http_req_head(s->req->http);
    if (extract_form_value(http_req_arena(s->req->http), h->query, S("no-history"), &none, &bad))
        return;
    ring_read(&mon->ring, &old, &new);
    stream_send(s, old);
    stream_send(s, new);
}

void api_logs_stream(struct request *req, const struct route *r)
{
    str tail = str_ends(str_c(r->path), S("*")) ? api_tail(req, r) : STR_NONE;
    struct log_monitor *mon = monitor_of(req, tail);
    if (!mon) {
        req_fail(req, 400, NULL, S("no such log: it is \"proxy\", \"upstream\" or the id of a local model"));
        return;
    }
    if (req->srv->phase != SERVER_RUNNING) {
        req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
        return;
    }
    struct log_stream *s = ARENA_NEW(http_req_arena(req->http), struct log_stream);
    s->req = req;
    s->pending = STRBUF(PENDING_MAX);
    s->sub.fn = on_log;
    s->sub.over = on_over;
    s->sub.ud = s;
    list_init(&s->sub.node);
    io_call_init(&s->flush, on_flush, s);
    req_local(req, s, on_end, on_drained);
    struct strbuf *h = http_req_head_begin(req->http, 200, http_reason(200));
    http_head_add(h, S("Content-Type"), S("text/plain"));
    http_head_add(h, S("X-Content-Type-Options"), S("nosniff"));
    http_head_add(h, S("X-Accel-Buffering"), S("no"));
    http_req_head_end(req->http, HTTP_BODY_CHUNKED, 0);
    if (str_eq(http_req_head(req->http)->method, S("HEAD"))) {
        http_req_finish(req->http);
        return;
    }
    req->endless = on_stop;
    send_history(s, mon);
    http_req_flush(req->http);
    log_monitor_subscribe(mon, &s->sub);
}
