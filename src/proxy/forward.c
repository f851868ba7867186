/* forward.c: from a grant to the end of the upstream's answer: two-way streaming with back-pressure.
 *
 * The slot belongs to the upstream's work, not to the client's line. While nobody waits, a slow reader holds the
 * upstream back (no memory is used for it). While others wait, the rest of the answer goes to a spool and the slot is
 * free as soon as the upstream is done.
 */
#include "base/check.h"
#include "codec/http_write.h"
#include "http/tunnel.h"
#include "proxy/model.h"
#include "proxy/server.h"
#include "proxy/upload.h"
#include "route/auth.h"
#include "route/error_body.h"

#include <stdio.h>

#define SPOOL_IN_MEMORY (256u * 1024)
#define HEAD_MAX (128u * 1024)

static void answer_whole(struct request *req);

/* For people: what is on the other side. */
static str upstream_name(const struct request *req)
{
    return req->peer ? req->peer->conf->id : req->model->name;
}

static bool others_wait(const struct request *req)
{
    return sched_waiting(req->srv->dispatch.sched) > 0;
}

static void on_stall(void *ud)
{
    struct request *req = ud;
    if (!others_wait(req)) { /* nobody is hurt by it */
        io_timer_set(req->stall, req->cfg->serial.client_stall_ms);
        return;
    }
    req_abort_serve(req, "the client has read nothing for serial.clientStall while others wait");
}

static void hold_back(struct request *req)
{
    req->paused = true;
    http_x_read(req->x, false);
    if (!list_linked(&req->throttled))
        list_push_back(&req->srv->throttled, &req->throttled);
    if (req->cfg->serial.client_stall_ms > 0) {
        if (!req->stall)
            req->stall = io_timer_new(req->srv->loop, "client stall", on_stall, req);
        io_timer_set(req->stall, req->cfg->serial.client_stall_ms);
    }
}

static void let_go(struct request *req)
{
    req->paused = false;
    list_remove(&req->throttled);
    if (req->stall)
        io_timer_clear(req->stall);
    if (req->x)
        http_x_read(req->x, true);
}

void forward_spool_on(struct request *req)
{
    if (!req->paused || req->spooling || spool_left(&req->out) >= (uint64_t)req->cfg->limits.spool)
        return;
    if (!req->spooling) {
        req->spooling = true;
        if (req->out.max == 0)
            spool_init(&req->out, SPOOL_IN_MEMORY, (uint64_t)req->cfg->limits.spool + IO_READ_SIZE);
    }
    let_go(req);
}

/* A negative result means that the answer had to be cut. */
static int to_spool(struct request *req, str bytes)
{
    struct error e = { 0 };
    if (spool_add(&req->out, bytes, &e) < 0) {
        log_error("http", "request %llu: %s", (unsigned long long)req->id, e.msg);
        forward_cancel(req);
        req_release_slot(req);
        http_req_abort(req->http);
        return ERR_SYS;
    }
    if (spool_left(&req->out) >= (uint64_t)req->cfg->limits.spool) {
        req->spooling = false;
        hold_back(req);
    }
    return 0;
}

/* An answer that says no, of which nothing has gone out yet. True: a policy has it asked elsewhere, or again. */
static bool asked_again(struct request *req, const struct http_head *h)
{
    char text[40];
    if (h->status < 500 || upload_spent(req))
        return false;
    snprintf(text, sizeof text, "it answered with status %d", h->status);
    if (policy_glue_failed(req, req->ticket, str_c(text), false) != POLICY_FAILURE_AGAIN)
        return false;
    forward_cancel(req);
    return true;
}

static void on_x_head(void *ud, struct http_x *x, const struct http_head *h)
{
    struct request *req = ud;
    (void)x;
    if (asked_again(req, h))
        return;
    req_to(req, REQ_STREAM);
    str type = http_value(h, HDR_CONTENT_TYPE);
    req->is_sse = str_ifind(type, S("text/event-stream")) >= 0;
    if (policy_glue_counts(req) && !http_value(h, HDR_CONTENT_ENCODING).len)
        usage_init(&req->usage);
    if (req->loading) {
        loading_end(req);
        req->upstream_refused = h->status < 200 || h->status >= 300 || !req->is_sse;
        if (req->upstream_refused)
            spool_init(&req->refusal, 64u * 1024, 64u * 1024);
        return;
    }
    struct strbuf *out = http_req_head_begin(req->http, h->status, h->reason);
    struct error e = { 0 };
    if (http_forward_response(out, h, NULL, &e) < 0)
        log_warn("http", "request %llu: a header of " STR_FMT " was left out: %s", (unsigned long long)req->id,
                 STR_ARG(upstream_name(req)), e.msg);
    record_header(req, out);
    /* Answers to HEAD (and 304) have no body, but their Content-Length says something. */
    bool none = h->body == HTTP_BODY_NONE && !h->has_length;
    bool length = h->body == HTTP_BODY_LENGTH || h->body == HTTP_BODY_NONE;
    http_req_head_end(req->http, none ? HTTP_BODY_NONE : length ? HTTP_BODY_LENGTH : HTTP_BODY_CHUNKED, h->length);
}

static void on_x_interim(void *ud, struct http_x *x, const struct http_head *h)
{
    struct request *req = ud;
    (void)x;
    if (req->loading || http_req_started(req->http))
        return;
    struct strbuf lines = STRBUF(HEAD_MAX);
    if (http_forward_response(&lines, h, NULL, NULL) == 0)
        http_req_interim(req->http, h->status, strbuf_str(&lines));
    strbuf_fini(&lines);
}

static void on_x_body(void *ud, struct http_x *x, str bytes)
{
    struct request *req = ud;
    (void)x;
    usage_add(&req->usage, bytes);
    if (req->upstream_refused) {
        (void)!spool_add(&req->refusal, bytes, NULL); /* too long a refusal is cut to what fits */
        return;
    }
    if (spool_left(&req->out) > 0 || req->spooling) {
        (void)!to_spool(req, bytes);
        return;
    }
    if (http_req_send(req->http, bytes))
        return;
    hold_back(req);
    if (others_wait(req))
        forward_spool_on(req);
}

/* What the upstream said instead of a stream, inside the stream that the client already has. */
static void refusal_event(struct request *req)
{
    str text = STR_NONE;
    (void)!spool_all(&req->refusal, &text, NULL);
    struct strbuf ev = STRBUF(256u * 1024);
    text = str_trim(text);
    if (text.len && text.ptr[0] == '{') {
        strbuf_add(&ev, S("data: "));
        for (size_t i = 0; i < text.len; i++)
            strbuf_addc(&ev, text.ptr[i] == '\n' || text.ptr[i] == '\r' ? ' ' : text.ptr[i]);
        strbuf_add(&ev, S("\n\n"));
    } else {
        error_body_event(&ev, 502, text.len ? text : S("the model did not answer with a stream"), NULL);
    }
    strbuf_add(&ev, S("data: [DONE]\n\n"));
    http_req_send(req->http, strbuf_str(&ev));
    strbuf_fini(&ev);
}

static void answer_whole(struct request *req)
{
    if (req->upstream_refused)
        refusal_event(req);
    if (req->trailers.len)
        http_req_finish_trailers(req->http, req->trailers);
    else
        http_req_finish(req->http);
}

static void on_x_end(void *ud, struct http_x *x, str trailers)
{
    struct request *req = ud;
    (void)x;
    req->x = NULL;
    req->upstream_done = true;
    list_remove(&req->throttled);
    if (req->stall)
        io_timer_clear(req->stall);
    if (trailers.len && !req->loading)
        req->trailers = arena_try_dup(http_req_arena(req->http), trailers);
    req_release_slot(req);
    req_to(req, REQ_FLUSH);
    if (spool_left(&req->out) == 0)
        answer_whole(req);
}

/* The end of an answer that is not whole. The client must see that: no final chunk. */
static void end_cut(struct request *req, int status, str text, const char *code)
{
    req_release_slot(req);
    if (req->is_sse && spool_left(&req->out) == 0) {
        struct strbuf ev = STRBUF(4096);
        error_body_event(&ev, status, text, code);
        http_req_send(req->http, strbuf_str(&ev));
        strbuf_fini(&ev);
    }
    req_to(req, REQ_FLUSH);
    req->cut = true;
    if (spool_left(&req->out) == 0)
        http_req_cut(req->http);
}

/* The upstream broke off in the middle. */
static void cut(struct request *req, const struct error *e)
{
    log_warn("http", "request %llu: " STR_FMT " broke off after %llu bytes: %s", (unsigned long long)req->id,
             STR_ARG(upstream_name(req)), (unsigned long long)http_req_sent(req->http), e->msg);
    policy_glue_note_failure(req, str_c(e->msg));
    end_cut(req, 502, S("the model broke off in the middle of its answer"), NULL);
}

void forward_break(struct request *req, int status, str text, const char *code)
{
    forward_cancel(req);
    if (req->stall)
        io_timer_clear(req->stall);
    spool_fini(&req->out); /* nobody wants what is left */
    end_cut(req, status, text, code);
}

static void on_x_fail(void *ud, struct http_x *x, enum http_stage at, const struct error *e)
{
    struct request *req = ud;
    (void)x;
    req->x = NULL;
    list_remove(&req->throttled);
    if (req->stall)
        io_timer_clear(req->stall);
    req->broke_off = e->code != ERR_TIMEOUT;
    if (at == HTTP_AT_BODY) {
        cut(req, e);
        return;
    }
    /* No byte of an answer came: a process that is gone is started again, once, and asked again (once more if it was
     * gone before it could be asked). One that is there and merely slow (response header time-out) is not. */
    bool sent = at == HTTP_AT_SEND, *before = sent ? &req->retried : &req->refused;
    bool spent = upload_spent(req); /* it cannot be asked again: nobody has what was sent */
    bool gone = req->ticket && !*before && !spent && e->code != ERR_TIMEOUT && (at == HTTP_AT_DIAL || sent);
    enum policy_failure said = spent ? POLICY_FAILURE_FINAL : policy_glue_failed(req, req->ticket, str_c(e->msg), gone);
    if (said == POLICY_FAILURE_AGAIN)
        return;
    if (gone && said == POLICY_FAILURE_BUILTIN) {
        *before = true;
        req->granted = req->broke_off = false;
        req_to(req, REQ_QUEUED);
        log_warn("http", "request %llu: " STR_FMT " is gone (%s); starting it again", (unsigned long long)req->id,
                 STR_ARG(upstream_name(req)), e->msg);
        struct sched_event ev = { .kind = SCHED_RETRY, .ticket = req->ticket, .model = req->model->id, .sent = sent };
        dispatch_post(&req->srv->dispatch, &ev);
        return;
    }
    log_warn("http", "request %llu: " STR_FMT ": %s", (unsigned long long)req->id, STR_ARG(upstream_name(req)), e->msg);
    policy_glue_note_failure(req, str_c(e->msg));
    struct strbuf m = STRBUF(512);
    strbuf_addf(&m, req->peer ? "peer proxy error: " STR_FMT ": %s" : "upstream of " STR_FMT ": %s",
                STR_ARG(upstream_name(req)), e->msg);
    req_fail(req, 502, NULL, strbuf_str(&m));
    strbuf_fini(&m);
}

static void on_tunnel_done(void *ud, const struct http_tunnel_stats *st)
{
    struct request *req = ud;
    (void)st;
    req->tunnel = NULL;
    req_release_slot(req);
    req_to(req, REQ_FLUSH);
    http_req_upgraded_end(req->http);
}

/* 101: what follows is not HTTP any more; bytes go both ways until both sides are done. */
static void on_x_upgraded(void *ud, struct http_x *x, const struct http_head *h, struct io_stream *up, str early)
{
    struct request *req = ud;
    (void)x;
    req->x = NULL;
    str asked = http_value(http_req_head(req->http), HDR_UPGRADE), got = http_value(h, HDR_UPGRADE);
    if (!str_ieq(asked, got)) {
        io_stream_close(up);
        req_fail(req, 502, NULL, S("the model switched to another protocol than the one asked for"));
        return;
    }
    req_to(req, REQ_STREAM);
    struct http_forward opt = { .upgrade = true };
    struct strbuf *out = http_req_head_begin(req->http, 101, h->reason);
    (void)!http_forward_response(out, h, &opt, NULL);
    http_req_head_end(req->http, HTTP_BODY_NONE, 0);
    str client_early;
    struct io_stream *down = http_req_upgrade(req->http, &client_early);
    if (!down) { /* it left in this very moment; `end` follows */
        io_stream_close(up);
        return;
    }
    req->tunnel = http_tunnel_start(down, client_early, up, early, on_tunnel_done, req);
}

/* Pages of a spooled body that have been sent leave this process again. */
static void on_x_parts_sent(void *ud, struct http_x *x, size_t n, size_t at)
{
    struct request *req = ud;
    str all;
    (void)x;
    if (!req->body.map || n + at == 0 || spool_all(&req->body, &all, NULL) < 0)
        return;
    const char *end = at > 0 ? req->sending[n].ptr + at : req->sending[n - 1].ptr + req->sending[n - 1].len;
    if (end > all.ptr && end <= all.ptr + all.len)
        spool_forget(&req->body, (uint64_t)(end - all.ptr));
}

static const struct http_x_cb x_cb = {
    .parts_sent = on_x_parts_sent,
    .head = on_x_head,
    .interim = on_x_interim,
    .body = on_x_body,
    .end = on_x_end,
    .fail = on_x_fail,
};
static const struct http_x_cb x_cb_upload = {
    .drained = upload_drained,
    .head = on_x_head,
    .interim = on_x_interim,
    .body = on_x_body,
    .end = on_x_end,
    .fail = on_x_fail,
};
static const struct http_x_cb x_cb_upgrade = {
    .head = on_x_head,
    .interim = on_x_interim,
    .body = on_x_body,
    .end = on_x_end,
    .fail = on_x_fail,
    .upgraded = on_x_upgraded,
};

/* A local model sees the client's Host and an X-Forwarded-For; it sees our keys too unless that is switched off. */
static void to_model(struct request *req, struct http_forward *opt)
{
    static const str auth[] = { S("Authorization"), S("X-Api-Key") };
    const struct gourl *url = &req->model->conf->proxy_url;
    opt->base_path = url->path;
    opt->base_query = url->query;
    str peer = http_req_peer(req->http);
    opt->peer = str_eq(peer, S("unix")) ? STR_NONE : peer; /* no address at all */
    opt->remove = auth;
    opt->n_remove = req->cfg->forward_auth ? 0 : ARRAY_LEN(auth);
}

/* A peer sees its own Host and nothing of the client's address; a key of ours never leaves the machine. */
static void to_peer(struct request *req, struct http_forward *opt)
{
    struct arena *a = http_req_arena(req->http);
    const struct http_head *in = http_req_head(req->http);
    const struct config_peer *c = req->peer->conf;
    str *remove = ARENA_NEWN(a, 2, str);
    opt->base_path = c->proxy_url.path;
    opt->base_query = c->proxy_url.query;
    opt->host = strbuf_str(&req->peer->host);
    opt->drop_forwarded = true;
    opt->remove = remove;
    if (c->api_key.len) {
        struct http_header *set = ARENA_NEWN(a, 2, struct http_header);
        set[0] = (struct http_header){ S("Authorization"), arena_printf(a, "Bearer " STR_FMT, STR_ARG(c->api_key)),
                                       HDR_AUTHORIZATION };
        set[1] = (struct http_header){ S("X-Api-Key"), c->api_key, HDR_X_API_KEY };
        opt->set = set;
        opt->n_set = 2;
        return;
    }
    const struct config *cfg = req->cfg;
    bool auth = false, x_api_key = false;
    for (size_t i = 0; i < in->n_headers; i++) { /* only the first of a name is looked at when a client comes in */
        const struct http_header *f = &in->headers[i];
        auth = auth || (f->id == HDR_AUTHORIZATION && auth_holds_key(cfg->api_keys, cfg->n_api_keys, f->value));
        x_api_key = x_api_key || (f->id == HDR_X_API_KEY && auth_is_key(cfg->api_keys, cfg->n_api_keys, f->value));
    }
    if (auth)
        remove[opt->n_remove++] = S("Authorization");
    if (x_api_key)
        remove[opt->n_remove++] = S("X-Api-Key");
}

/* A held body is sent with its length, unless trailers came with it: these need chunks, of which it is one. */
static size_t frame_parts(struct request *req, struct http_forward *opt)
{
    struct arena *a = http_req_arena(req->http);
    str trailers = http_req_trailers(req->http);
    struct strbuf end = STRBUF(64u * 1024);
    req->sending = req->parts;
    if (trailers.len && req->parts_len) {
        http_filter_trailers(&end, trailers);
        trailers = strbuf_str(&end);
    }
    if (trailers.len && req->parts_len && req->n_parts < 1000) {
        str *v = ARENA_NEWN(a, req->n_parts + 2, str);
        v[0] = arena_printf(a, "%llx\r\n", (unsigned long long)req->parts_len);
        memcpy(v + 1, req->parts, req->n_parts * sizeof *v);
        v[req->n_parts + 1] = arena_printf(a, "\r\n0\r\n" STR_FMT "\r\n", STR_ARG(trailers));
        req->sending = v;
        opt->body = HTTP_BODY_CHUNKED;
    }
    strbuf_fini(&end);
    return req->sending == req->parts ? req->n_parts : req->n_parts + 2;
}

void forward_start(struct request *req)
{
    const struct http_head *in = http_req_head(req->http);
    if (req->loading)
        loading_granted(req);
    policy_glue_rewrite(req);
    strbuf_fini(&req->head); /* of a first attempt */
    /* room for what the client may send, all of it escaped, and for our own lines */
    strbuf_init(&req->head, 3 * (size_t)req->cfg->limits.header_block + HEAD_MAX);
    struct http_forward opt = {
        .path = req->upstream_path.len ? req->upstream_path : in->path,
        .query = req->upstream_query.ptr ? req->upstream_query : in->query,
        .has_query = in->has_query,
        .body = in->body != HTTP_BODY_NONE ? HTTP_BODY_LENGTH : HTTP_BODY_NONE,
        .length = req->parts_len,
        .filter_encoding = req->metered,
        .drop_encoding = req->loading != NULL,
        .upgrade = req->upgrade,
    };
    bool streamed = upload_frame(req, &opt);
    opt.length = streamed ? in->length + (uint64_t)req->up_longer : req->parts_len;
    size_t n = streamed ? 0 : frame_parts(req, &opt);
    if (req->peer)
        to_peer(req, &opt);
    else
        to_model(req, &opt);
    struct error e = { 0 };
    if (http_forward_request(&req->head, in, &opt, &e) < 0) {
        req_fail(req, 400, NULL, str_c(e.msg));
        return;
    }
    bool is_head = str_eq(in->method, S("HEAD"));
    struct http_pool *pool = req->peer ? req->peer->pool : req->model->pool;
    if (streamed)
        req->x = http_x_start_streamed(pool, strbuf_str(&req->head), opt.body == HTTP_BODY_CHUNKED, is_head, &x_cb_upload, req);
    else
        req->x = http_x_start(pool, strbuf_str(&req->head), req->sending, n, is_head,
                              req->upgrade ? &x_cb_upgrade : &x_cb, req);
}

void forward_cancel(struct request *req)
{
    if (!req->x)
        return;
    http_x_cancel(req->x);
    req->x = NULL;
    if (req->model && !req->peer && req->model->proc)
        proc_cut(req->model->proc);
    list_remove(&req->throttled);
}

static void on_more(void *ud)
{
    forward_drained(ud);
}

/* Moves spooled bytes to the client until its queue is full again (then `drained` comes once more), but not more than
 * a megabyte a turn: others want the loop too. False when the answer had to be cut. */
static bool unspool(struct request *req)
{
    static char chunk[IO_READ_SIZE];
    for (int i = 0; i < 16 && spool_left(&req->out) > 0; i++) {
        struct error e = { 0 };
        int n = spool_take(&req->out, chunk, sizeof chunk, &e);
        if (n < 0) {
            log_error("http", "request %llu: %s", (unsigned long long)req->id, e.msg);
            forward_cancel(req);
            req_release_slot(req);
            http_req_abort(req->http);
            return false;
        }
        if (!http_req_send(req->http, str_n(chunk, (size_t)n)))
            return true;
    }
    if (spool_left(&req->out) > 0) {
        if (!req->more)
            req->more = io_timer_new(req->srv->loop, "spool", on_more, req);
        io_timer_set(req->more, 0);
    }
    return true;
}

void forward_drained(struct request *req)
{
    if (req->state != REQ_STREAM && req->state != REQ_FLUSH)
        return;
    if (!unspool(req))
        return;
    if (spool_left(&req->out) > 0) {
        if (req->paused && req->x && others_wait(req))
            forward_spool_on(req);
        return;
    }
    req->spooling = false;
    if (req->upstream_done)
        answer_whole(req);
    else if (req->cut)
        http_req_cut(req->http);
    else if (req->paused)
        let_go(req);
}
