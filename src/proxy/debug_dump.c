/* debug_dump.c: the state of everything as one JSON object, for SIGUSR1 and /debug/state. Reads only. */
#include "proxy/server.h"

#include "base/check.h"
#include "codec/json.h"
#include "proxy/model.h"

#include <malloc.h>

static const char *phase_name(enum server_phase p)
{
    static const char *const names[] = { "running", "draining", "stopping", "ended" };
    return (unsigned)p < ARRAY_LEN(names) ? names[p] : "?";
}

static void put_request(struct json_out *o, const struct request *req, msec now)
{
    const struct http_head *h = http_req_head(req->http);
    json_out_object(o);
    json_out_key(o, S("id"));
    json_out_uint(o, req->id);
    json_out_kstr(o, "method", h->method);
    json_out_kstr(o, "path", h->path);
    json_out_kstr(o, "client", http_req_peer(req->http));
    if (req->model)
        json_out_kstr(o, "model", req->model->name);
    if (req->asked.len)
        json_out_kstr(o, "asked", req->asked);
    json_out_kint(o, "age_ms", (int64_t)((clock_nsec() - req->begin_ns) / 1000000));
    json_out_kint(o, "state_ms", now - req->state_since);
    if (req->position)
        json_out_kint(o, "position", req->position);
    json_out_kbool(o, "granted", req->granted);
    json_out_kbool(o, "retried", req->retried || req->refused);
    if (req->by_fifo) { /* as the reference writes it: text */
        struct strbuf text = STRBUF(32);
        strbuf_addf(&text, "%d", req->fifo_priority);
        json_out_key(o, S("metadata"));
        json_out_object(o);
        json_out_kstr(o, "fifo_priority", strbuf_str(&text));
        json_out_end(o, '}');
        strbuf_fini(&text);
    }
    json_out_kbool(o, "streaming", req->streaming);
    json_out_kbool(o, "held_back", req->paused);
    json_out_kint(o, "body_bytes", (int64_t)req->body.len);
    json_out_kint(o, "spooled_bytes", (int64_t)spool_left(&req->out));
    json_out_kint(o, "sent_bytes", (int64_t)http_req_sent(req->http));
    json_out_kint(o, "queued_bytes", (int64_t)http_req_queued(req->http));
    json_out_end(o, '}');
}

static void put_requests(struct json_out *o, struct server *srv, msec now)
{
    json_out_key(o, S("requests"));
    json_out_object(o);
    for (int s = 0; s < REQ_STATE_COUNT; s++) {
        if (srv->n_in_state[s] == 0)
            continue;
        json_out_key(o, str_c(req_state_name((enum req_state)s)));
        json_out_array(o);
        LIST_FOREACH(it, &srv->by_state[s])
            put_request(o, LIST_ENTRY(it, struct request, node), now);
        json_out_end(o, ']');
    }
    json_out_end(o, '}');
}

static void put_history(struct json_out *o, const struct proc_history *h)
{
    json_out_key(o, S("history"));
    json_out_object(o);
    json_out_kint(o, "starts", h->starts);
    json_out_kint(o, "fails_in_row", h->fails_in_row);
    json_out_kint(o, "last_exit", h->last_exit);
    json_out_kint(o, "last_signal", h->last_signal);
    json_out_kint(o, "load_ms_last", h->load_ms_last);
    json_out_kint(o, "load_ms_avg", h->load_ms_avg);
    json_out_kint(o, "stop_ms_last", h->stop_ms_last);
    json_out_kstr(o, "last_error", str_c(h->last_error));
    json_out_end(o, '}');
}

static void put_processes(struct json_out *o, struct server *srv, msec now)
{
    json_out_key(o, S("processes"));
    json_out_array(o);
    for (size_t i = 0; i < srv->n_models; i++) {
        const struct model *m = srv->models[i];
        if (!m)
            continue;
        json_out_object(o);
        json_out_kstr(o, "model", m->name);
        json_out_kint(o, "slot", m->id);
        if (m->next || m->retired || m->recycled_by)
            json_out_kstr(o, "reload", m->retired ? S("removed") : S("to be restarted"));
        json_out_kstr(o, "state", str_c(proc_state_name(model_state(m))));
        json_out_kstr(o, "sched_state", str_c(model_state_name(sched_model_state(srv->dispatch.sched, m->id))));
        json_out_kint(o, "inflight", (int64_t)sched_inflight(srv->dispatch.sched, m->id));
        if (m->proc) {
            json_out_kint(o, "pid", proc_pid(m->proc));
            json_out_kint(o, "since_ms", now - proc_since(m->proc));
            put_history(o, proc_history(m->proc));
        }
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void put_lines(struct json_out *o, const char *key, str text)
{
    str line;
    json_out_key(o, str_c(key));
    json_out_array(o);
    while (str_item(&text, '\n', &line))
        if (line.len)
            json_out_str(o, line);
    json_out_end(o, ']');
}

/* Bytes that are allocated now: what grows here and does not come back is a leak, whatever the kernel's pages say. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 mi = mallinfo2();
    return mi.uordblks + mi.hblkhd;
}

void server_dump(struct server *srv, struct strbuf *out)
{
    msec now = io_loop_now(srv->loop);
    struct json_out o;
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_kstr(&o, "phase", str_c(phase_name(srv->phase)));
    json_out_kint(&o, "uptime_ms", now - srv->started);
    json_out_kstr(&o, "version", str_c(srv->build.version ? srv->build.version : ""));
    if (srv->http) {
        json_out_kstr(&o, "listen", http_server_addr(srv->http, 0));
        json_out_kint(&o, "connections", (int64_t)http_server_conns(srv->http));
    }
    json_out_kint(&o, "reloads", (int64_t)srv->reloads);
    json_out_kint(&o, "requests_seen", (int64_t)srv->next_request);
    json_out_kint(&o, "buffered_bytes", (int64_t)srv->buffered);
    json_out_kint(&o, "heap_bytes", (int64_t)heap_bytes());
    json_out_kint(&o, "checks_failed", check_soft_count());
    put_requests(&o, srv, now);
    json_out_key(&o, S("scheduler"));
    json_out_object(&o);
    json_out_kstr(&o, "kind", str_c(srv->cfg->scheduler == CONFIG_SCHED_FIFO ? "fifo" : "serial"));
    json_out_kint(&o, "waiting", (int64_t)sched_waiting(srv->dispatch.sched));
    json_out_kint(&o, "inflight", (int64_t)sched_inflight(srv->dispatch.sched, MODEL_NONE));
    json_out_end(&o, '}');
    put_processes(&o, srv, now);
    json_out_key(&o, S("config_files"));
    json_out_array(&o);
    for (size_t i = 0; i < srv->cfg->n_files; i++)
        json_out_str(&o, srv->cfg->files[i]);
    json_out_end(&o, ']');
    struct strbuf handles = STRBUF(4u * 1024 * 1024);
    io_loop_handles(srv->loop, &handles);
    put_lines(&o, "handles", strbuf_str(&handles));
    strbuf_fini(&handles);
    json_out_end(&o, '}');
}
