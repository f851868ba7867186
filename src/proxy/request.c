/* request.c: see request.h. Forwarding is in forward.c, the loading stream in loading.c. */
#include "proxy/request.h"

#include "base/check.h"
#include "http/tunnel.h"
#include "proxy/model.h"
#include "proxy/server.h"
#include "proxy/upload.h"
#include "codec/http_write.h"
#include "codec/url.h"
#include "route/error_body.h"
#include "route/wire.h"

#define MAGIC 0x52455155u /* "REQU" */
#define BODY_IN_MEMORY (1024u * 1024)
#define LOGGED_PATH_MAX 4096u /* a line of the log is not longer */

const char *req_state_name(enum req_state s)
{
    static const char *const names[] = { "head", "body", "queued", "send", "stream", "flush", "reply", "end" };
    return (unsigned)s < ARRAY_LEN(names) ? names[s] : "?";
}

void req_to(struct request *req, enum req_state to)
{
    struct server *srv = req->srv;
    ASSERT(req->magic == MAGIC && req->state != REQ_END);
    list_remove(&req->node);
    srv->n_in_state[req->state]--;
    req->state = to;
    req->state_since = io_loop_now(srv->loop);
    list_push_back(&srv->by_state[to], &req->node);
    srv->n_in_state[to]++;
}

/* --- birth and body --- */

static void on_begin(void *ud, struct http_req *http)
{
    struct server *srv = ud;
    struct request *req = ARENA_NEW(http_req_arena(http), struct request);
    req->magic = MAGIC;
    req->srv = srv;
    req->http = http;
    req->cfg = config_ref(srv->cfg);
    req->profile = srv->profile;
    req->peers = srv->peers ? peers_ref(srv->peers) : NULL;
    req->id = ++srv->next_request;
    req->begin_ns = clock_nsec();
    req->state_since = io_loop_now(srv->loop);
    req->body.fd = req->out.fd = req->refusal.fd = -1;
    list_init(&req->node);
    list_init(&req->throttled);
    list_push_back(&srv->by_state[REQ_HEAD], &req->node);
    srv->n_in_state[REQ_HEAD]++;
    http_req_set_ud(http, req);
    srv->route(req);
}

void req_take_body(struct request *req, uint64_t limit, void (*done)(struct request *req))
{
    const struct http_head *h = http_req_head(req->http);
    req->body_done = done;
    req->body_limit = limit;
    req_to(req, REQ_BODY);
    if (h->body == HTTP_BODY_LENGTH && h->length > limit) {
        req_fail_err(req, ERR_LIMIT, STR_NONE);
        return;
    }
    spool_init(&req->body, BODY_IN_MEMORY, limit);
    if (h->body == HTTP_BODY_LENGTH)
        spool_expect(&req->body, h->length);
    http_req_read(req->http, true);
}

bool req_hold_body(struct request *req, str bytes)
{
    struct server *srv = req->srv;
    size_t held = req->body.mem.len;
    if (srv->buffered + bytes.len > (uint64_t)req->cfg->limits.buffered_bodies && req->body.fd < 0) {
        req_fail(req, 503, NULL, S("too many request bodies are waiting (limits.bufferedBodies)"));
        return false;
    }
    struct error e = { 0 };
    int rc = spool_add(&req->body, bytes, &e);
    if (rc == ERR_LIMIT) {
        req_fail_err(req, ERR_LIMIT, STR_NONE);
        return false;
    }
    if (rc < 0) {
        log_error("http", "request %llu: %s", (unsigned long long)req->id, e.msg);
        req_fail(req, 503, NULL, S("no room to hold the request body"));
        return false;
    }
    srv->buffered += req->body.mem.len; /* what lies in a file is not memory */
    srv->buffered -= held;
    return true;
}

static bool is_large(const struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    return (h->body == HTTP_BODY_LENGTH ? h->length : spool_left(&req->body)) > UPLOAD_MIN;
}

static void on_body(struct http_req *http, str bytes)
{
    struct request *req = http_req_ud(http);
    if (req->uploading)
        upload_bytes(req, bytes);
    else if (req->state == REQ_BODY && req_hold_body(req, bytes) && req->body_early && is_large(req))
        req->body_early(req, bytes);
    /* else it is answered already, and the rest of the body is of no use */
}

static void on_body_end(struct http_req *http)
{
    struct request *req = http_req_ud(http);
    req->body_over = true;
    if (req->uploading)
        upload_over(req);
    else if (req->state == REQ_BODY && req->body_done)
        req->body_done(req);
}

/* --- answers of our own --- */

static void reply_state(struct request *req)
{
    req_release_slot(req);
    if (req->state != REQ_REPLY)
        req_to(req, REQ_REPLY);
}

void req_reply(struct request *req, int status, str content_type, str body)
{
    reply_state(req);
    http_req_reply(req->http, status, content_type, body);
}

void req_fail(struct request *req, int status, const char *code, str message)
{
    req->fail_status = status;
    if (req->loading) {
        req_release_slot(req);
        loading_fail(req, status, message);
        return;
    }
    if (http_req_started(req->http)) { /* too late for an answer: let the client see the cut */
        req_release_slot(req);
        http_req_abort(req->http);
        return;
    }
    struct strbuf body = STRBUF(64u * 1024);
    const char *type;
    if (status == 429)
        error_body_limit(&body, message, &type);
    else
        error_body(&body, http_value(http_req_head(req->http), HDR_ACCEPT), status, message, code, &type);
    reply_state(req);
    struct strbuf *h = http_req_head_begin(req->http, status, http_reason(status));
    http_head_add(h, S("Content-Type"), str_c(type));
    if (req->www_authenticate)
        http_head_add(h, S("WWW-Authenticate"), S(WIRE_WWW_AUTHENTICATE));
    if (status == 429 || status == 503 || req->retry_after_s)
        http_head_addu(h, S("Retry-After"), req->retry_after_s ? req->retry_after_s : 1);
    record_header(req, h);
    http_req_head_end(req->http, HTTP_BODY_LENGTH, body.len);
    http_req_send(req->http, strbuf_str(&body));
    http_req_finish(req->http);
    strbuf_fini(&body);
}

void req_fail_err(struct request *req, int code, str message)
{
    const char *wire_code = code == ERR_CANCELLED ? "request_cancelled" : NULL;
    req_fail(req, err_status(code), wire_code, message.len ? message : str_c(err_text(code)));
}

void req_local(struct request *req, void *local, void (*on_end)(struct request *req),
               void (*on_drained)(struct request *req))
{
    req->local = local;
    req->on_end = on_end;
    req->on_drained = on_drained;
    if (req->state != REQ_REPLY)
        req_to(req, REQ_REPLY);
}

/* --- scheduling --- */

void req_schedule(struct request *req)
{
    struct dispatch *d = &req->srv->dispatch;
    ASSERT(req->model && !req->ticket);
    if (req->srv->phase != SERVER_RUNNING) {
        req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
        return;
    }
    req->ticket = dispatch_ticket(d, req);
    record_begin(req);
    if (!policy_glue_admit(req))
        return;
    req_to(req, REQ_QUEUED);
    struct sched_event ev = { .kind = SCHED_ARRIVE, .ticket = req->ticket, .model = req->model->id,
                              .priority = req->has_policy_priority ? req->policy_priority : 0,
                              .want_positions = req->may_show_loading, .side = req->side, .place = req->place };
    dispatch_post(d, &ev);
}

void req_forward_now(struct request *req)
{
    if (req->srv->phase != SERVER_RUNNING) {
        req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
        return;
    }
    req_to(req, REQ_SEND);
    forward_start(req);
}

void req_release_slot(struct request *req)
{
    if (!req->ticket)
        return;
    if (req->granted)
        policy_glue_ticket_end(req, req->ticket);
    record_released(req);
    struct sched_event ev = { .kind = req->granted ? SCHED_DONE : SCHED_CANCEL, .ticket = req->ticket,
                              .died = req->broke_off };
    dispatch_post(&req->srv->dispatch, &ev);
    dispatch_ticket_end(&req->srv->dispatch, req->ticket);
    req->ticket = 0;
    req->granted = false;
}

void req_queued(struct request *req)
{
    record_waits(req);
    if (req->may_show_loading && !req->loading)
        loading_start(req);
}

void req_position(struct request *req, uint32_t n)
{
    req->position = n;
    if (req->loading)
        loading_position(req, n);
}

void req_moved(struct request *req, struct model *m)
{
    log_debug("sched", "request %llu waits for " STR_FMT " instead of " STR_FMT, (unsigned long long)req->id,
              STR_ARG(m->name), STR_ARG(req->model->name));
    model_ref(m);
    model_unref(req->model);
    req->model = m;
    req->target = req->warmer;
    req->moved = true;
    if (req->policy_info)
        req->policy_info->model = m->name;
}

void req_granted(struct request *req)
{
    struct error e = { 0 };
    req->granted = true;
    req->broke_off = false; /* that was an earlier attempt */
    req->by_fifo = req->cfg->scheduler == CONFIG_SCHED_FIFO;
    req->fifo_priority = sched_priority(req->srv->dispatch.sched, req->ticket);
    record_granted(req);
    if (req->moved) {
        req->moved = false;
        int rc = req->retarget(req, &e);
        if (rc < 0) {
            req_fail_err(req, rc, str_c(e.msg));
            return;
        }
    }
    req_to(req, REQ_SEND);
    forward_start(req);
}

void req_rejected(struct request *req, int code, int status, const char *text)
{
    /* the scheduler has ended this ticket itself: no CANCEL goes back */
    ticket_id was = req->ticket;
    dispatch_ticket_end(&req->srv->dispatch, was);
    req->ticket = 0;
    req->granted = false;
    record_refused(req, text);
    str message = str_c(text);
    if (code == ERR_START && policy_glue_failed(req, was, message, false) == POLICY_FAILURE_AGAIN)
        return;
    if (status) { /* a policy's own */
        req_fail(req, status, NULL, message);
        return;
    }
    if (code == ERR_START) {
        struct strbuf m = STRBUF(512);
        strbuf_addf(&m, "unspecific error: %s", text);
        req_fail_err(req, code, strbuf_str(&m));
        strbuf_fini(&m);
        return;
    }
    req_fail_err(req, code, message);
}

void req_abort_serve(struct request *req, const char *text)
{
    log_warn("sched", "request %llu on " STR_FMT " is cut: %s", (unsigned long long)req->id,
             STR_ARG(req->model ? req->model->name : STR_NONE), text);
    if (req->tunnel) { /* its end follows */
        http_tunnel_close(req->tunnel);
        return;
    }
    if (!http_req_started(req->http)) {
        forward_cancel(req);
        req_fail(req, 503, NULL, str_c(text));
        return;
    }
    forward_cancel(req);
    req_release_slot(req);
    http_req_abort(req->http);
}

static struct request *cancellable(struct server *srv, uint64_t id)
{
    static const enum req_state states[] = { REQ_QUEUED, REQ_SEND, REQ_STREAM, REQ_FLUSH };
    for (size_t s = 0; s < ARRAY_LEN(states); s++)
        LIST_FOREACH(it, &srv->by_state[states[s]]) {
            struct request *req = LIST_ENTRY(it, struct request, node);
            if (req->id == id && !req->cut)
                return req;
        }
    return NULL;
}

bool req_cancel(struct server *srv, uint64_t id)
{
    struct request *req = cancellable(srv, id);
    if (!req)
        return false;
    log_info("http", "request %llu is cancelled through the API", (unsigned long long)id);
    if (req->tunnel) { /* its end follows */
        http_tunnel_close(req->tunnel);
    } else if (!http_req_started(req->http) || (req->loading && spool_left(&req->out) == 0)) {
        forward_cancel(req);
        req_fail_err(req, ERR_CANCELLED, STR_NONE);
    } else if (!req->is_sse) { /* no way to tell but the cut, and no reason to wait for a slow reader */
        forward_cancel(req);
        req_release_slot(req);
        http_req_abort(req->http);
    } else {
        forward_break(req, err_status(ERR_CANCELLED), str_c(err_text(ERR_CANCELLED)), "request_cancelled");
    }
    return true;
}

/* --- the rest of the life --- */

static void on_drained(struct http_req *http)
{
    struct request *req = http_req_ud(http);
    if (req->on_drained)
        req->on_drained(req);
    else
        forward_drained(req);
}

static str shown_client(const struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    str ff = http_value(h, HDR_X_FORWARDED_FOR), first, rest;
    (void)str_cut(ff, ',', &first, &rest);
    first = str_trim(first);
    if (first.len)
        return first;
    str real = str_trim(http_value(h, HDR_X_REAL_IP));
    return real.len ? real : http_req_peer(req->http);
}

/* Durations as Go prints them, which is what log readers of the reference expect: 812.5µs, 45.2ms, 1m3.2s. */
static void format_duration(struct strbuf *out, uint64_t ns)
{
    if (ns < 1000000)
        strbuf_addf(out, "%.6g\xC2\xB5s", (double)ns / 1e3);
    else if (ns < 1000000000)
        strbuf_addf(out, "%.9g" "ms", (double)ns / 1e6);
    else if (ns < 60000000000u)
        strbuf_addf(out, "%.11g" "s", (double)(ns / 1000) / 1e6);
    else if (ns < 3600000000000u)
        strbuf_addf(out, "%llum%.9gs", (unsigned long long)(ns / 60000000000u), (double)(ns % 60000000000u / 1000) / 1e6);
    else
        strbuf_addf(out, "%lluh%llum%.9gs", (unsigned long long)(ns / 3600000000000u),
                    (unsigned long long)(ns / 60000000000u % 60), (double)(ns % 60000000000u / 1000) / 1e6);
}

static bool unlogged(str path)
{
    return str_starts(path, S("/wol-health")) || str_starts(path, S("/api/performance")) ||
           str_starts(path, S("/metrics"));
}

static void access_log(struct request *req)
{
    const struct http_head *h = http_req_head(req->http);
    if (!log_enabled(LOG_INFO) || unlogged(h->path))
        return;
    str who = shown_client(req), agent = http_value(h, HDR_USER_AGENT);
    struct strbuf took = STRBUF(64), path = STRBUF(4 * LOGGED_PATH_MAX);
    format_duration(&took, clock_nsec() - req->begin_ns);
    url_ascii(&path, str_sub(h->path, 0, LOGGED_PATH_MAX)); /* a terminal takes some bytes above 127 for commands */
    int status = http_req_status(req->http);
    log_info("", "Request " STR_FMT " \"" STR_FMT " " STR_FMT " HTTP/1.%d\" %d %llu \"" STR_FMT "\" " STR_FMT, STR_ARG(who),
             STR_ARG(h->method), STR_ARG(strbuf_str(&path)), h->minor, status && status != 101 ? status : 200,
             (unsigned long long)http_req_sent(req->http), STR_ARG(agent), STR_ARG(strbuf_str(&took)));
    strbuf_fini(&took);
    strbuf_fini(&path);
}

/* The one exit door: whatever the request held comes back here, exactly once. */
static void on_end(struct http_req *http, enum http_end why)
{
    struct request *req = http_req_ud(http);
    struct server *srv = req->srv;
    ASSERT(req->magic == MAGIC);
    (void)why;
    access_log(req);
    if (req->on_end)
        req->on_end(req);
    forward_cancel(req);
    policy_glue_request_end(req);
    req_release_slot(req);
    record_ended(req, why == HTTP_END_DONE);
    loading_free(req);
    io_timer_free(req->stall);
    io_timer_free(req->more);
    io_timer_free(req->again);
    upload_fini(req);
    usage_fini(&req->usage);
    list_remove(&req->throttled);
    srv->buffered -= req->body.mem.len;
    spool_fini(&req->body);
    spool_fini(&req->out);
    spool_fini(&req->refusal);
    strbuf_fini(&req->head);
    list_remove(&req->node);
    srv->n_in_state[req->state]--;
    req->state = REQ_END;
    req->magic = 0;
    resolve_release(&req->target);
    peers_unref(req->peers);
    model_unref(req->model);
    config_unref(req->cfg);
    server_request_ended(srv);
}

const struct http_handler request_handler = {
    .begin = on_begin,
    .body = on_body,
    .body_end = on_body_end,
    .drained = on_drained,
    .end = on_end,
};
