/* upload.c: see upload.h. */
#include "proxy/upload.h"

#include "codec/http_write.h"
#include "proxy/model.h"
#include "proxy/server.h"

#define TRAILERS_MAX (64u * 1024)

bool upload_may(const struct request *req)
{
    const struct server *srv = req->srv;
    if (req->upgrade || req->unscheduled || srv->phase != SERVER_RUNNING)
        return false;
    if (req->peer)
        return true;
    return req->model && srv->cfg->scheduler == CONFIG_SCHED_FIFO && !srv->policy.ps &&
           model_state(req->model) == PROC_READY && sched_waiting(srv->dispatch.sched) == 0;
}

void upload_begin(struct request *req)
{
    req->uploading = true;
    req->body_early = NULL;
}

bool upload_splice(struct request *req, uint64_t at, uint64_t len, str value)
{
    struct strbuf *mem = &req->body.mem, next = STRBUF(mem->max);
    str old = strbuf_str(mem);
    if (req->body.fd >= 0 || req->body.taken || at > old.len || len > old.len - at)
        return false;
    if (!strbuf_add(&next, str_sub(old, 0, (size_t)at)) || !strbuf_add(&next, value) ||
        !strbuf_add(&next, str_sub(old, (size_t)(at + len), old.len))) {
        strbuf_fini(&next);
        return false;
    }
    req->srv->buffered += next.len;
    req->srv->buffered -= old.len;
    strbuf_fini(mem);
    *mem = next;
    req->body.len = next.len;
    req->up_longer = (int64_t)value.len - (int64_t)len;
    return true;
}

void upload_refuse(struct request *req, str why)
{
    forward_cancel(req);
    if (http_req_started(req->http))
        log_warn("http", "request %llu is cut: " STR_FMT, (unsigned long long)req->id, STR_ARG(why));
    req_fail(req, 400, NULL, why); /* a cut when an answer has begun */
}

bool upload_spent(const struct request *req)
{
    return req->up_taken > 0;
}

static void finish(struct request *req)
{
    struct strbuf lines = STRBUF(TRAILERS_MAX);
    if (req->up_timer)
        io_timer_clear(req->up_timer);
    http_filter_trailers(&lines, http_req_trailers(req->http));
    http_x_send_end_trailers(req->x, strbuf_str(&lines));
    strbuf_fini(&lines);
}

static void on_timer(void *ud);

static void watch(struct request *req, msec ms)
{
    if (!req->up_timer)
        req->up_timer = io_timer_new(req->srv->loop, "upload", on_timer, req);
    io_timer_set(req->up_timer, ms);
}

/* The target could take more, and there is nothing. */
static void want_more(struct request *req)
{
    http_req_read(req->http, true);
    if (req->ticket && req->cfg->serial.client_stall_ms > 0)
        watch(req, req->cfg->serial.client_stall_ms);
}

/* Moves what has waited, at most a megabyte a turn: others want the loop too. */
static void pump(struct request *req)
{
    static char chunk[IO_READ_SIZE];
    for (int i = 0; i < 16 && spool_left(&req->body) > 0; i++) {
        struct error e = { 0 };
        size_t held = req->body.mem.len;
        int n = spool_take(&req->body, chunk, sizeof chunk, &e);
        req->srv->buffered -= held - req->body.mem.len;
        if (n < 0) {
            log_error("http", "request %llu: %s", (unsigned long long)req->id, e.msg);
            req_abort_serve(req, "its body cannot be read back");
            return;
        }
        req->up_taken += (uint64_t)n;
        if (!http_x_send(req->x, str_n(chunk, (size_t)n)))
            return;
    }
    if (spool_left(&req->body) > 0)
        watch(req, 0);
    else if (req->body_over)
        finish(req);
    else
        want_more(req);
}

static void on_timer(void *ud)
{
    struct request *req = ud;
    if (!req->x || !req->up_open)
        return;
    if (spool_left(&req->body) > 0)
        pump(req);
    else if (sched_waiting(req->srv->dispatch.sched) > 0)
        req_abort_serve(req, "the client has sent nothing for serial.clientStall while others wait");
    else /* nobody is hurt by it */
        watch(req, req->cfg->serial.client_stall_ms);
}

void upload_drained(void *ud, struct http_x *x)
{
    struct request *req = ud;
    (void)x;
    req->up_open = true;
    pump(req);
}

void upload_bytes(struct request *req, str bytes)
{
    if (req->state != REQ_BODY && req->state != REQ_QUEUED && req->state != REQ_SEND && req->state != REQ_STREAM)
        return; /* answered already; the rest of the body is of no use */
    if (req->up_check && !req->up_check(req, bytes))
        return;
    if (!req->x || !req->up_open || spool_left(&req->body) > 0) {
        if (req_hold_body(req, bytes) && req->x)
            http_req_read(req->http, false);
        return;
    }
    req->up_taken += bytes.len;
    if (!http_x_send(req->x, bytes)) {
        http_req_read(req->http, false);
        if (req->up_timer)
            io_timer_clear(req->up_timer);
    } else if (!req->body_over) {
        want_more(req);
    }
}

void upload_over(struct request *req)
{
    if (req->x && req->up_open && spool_left(&req->body) == 0)
        finish(req);
}

bool upload_frame(struct request *req, struct http_forward *opt)
{
    const struct http_head *in = http_req_head(req->http);
    str body;
    req->up_open = false;
    if (!req->uploading)
        return false;
    if (req->body_over && !upload_spent(req) && spool_all(&req->body, &body, NULL) == 0) {
        str *part = ARENA_NEW(http_req_arena(req->http), str);
        *part = body;
        req->parts = part;
        req->n_parts = body.len ? 1 : 0;
        req->parts_len = body.len;
        req->uploading = false;
        return false;
    }
    opt->body = in->body;
    return true;
}

void upload_fini(struct request *req)
{
    io_timer_free(req->up_timer);
}
