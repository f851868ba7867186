/* scheduler.c: who waits for what, what was decided and why, and what has been recorded. */
#include "api/api.h"

#include "base/check.h"
#include "codec/json.h"
#include "proxy/model.h"
#include "sched/view.h"

#define JSON_MAX (8u * 1024 * 1024)
#define TRACE_BYTES ((size_t)1 << 30)
#define QUEUE_SHOWN 200 /* each one is asked for its reason, which may cost a plan */
#define DECISIONS_SHOWN 100

static double seconds(msec ms)
{
    return (double)ms / 1000;
}

static void kseconds(struct json_out *o, const char *key, msec ms)
{
    json_out_knum(o, key, seconds(ms));
}

static void kmodel(struct json_out *o, const char *key, const struct recorder *r, uint32_t name)
{
    if (record_model_name(r, name).len)
        json_out_kstr(o, key, record_model_name(r, name));
}

static void kid(struct json_out *o, const char *key, uint64_t id)
{
    json_out_key(o, str_c(key));
    json_out_uint(o, id);
}

static void ktext(struct json_out *o, const char *key, struct strbuf *text)
{
    json_out_kstr(o, key, strbuf_str(text));
    strbuf_fini(text);
}

/* "0.15 s", "12.3 s" */
static void add_seconds(struct strbuf *out, msec ms)
{
    strbuf_addf(out, ms < 1000 ? "%.3f s" : ms < 10000 ? "%.2f s" : "%.1f s", seconds(ms));
}

static const char *wait_name(enum wait_kind k)
{
    static const char *const names[] = { "unknown", "turn", "line", "limit", "busy", "stopping", "loading", "swap", "reload", "stuck",
                                         "held" };
    return (unsigned)k < ARRAY_LEN(names) ? names[k] : "?";
}

static void put_reason(struct json_out *o, const struct recorder *r, const struct wait_reason *w)
{
    struct strbuf text = STRBUF(1024);
    json_out_kstr(o, "reason", str_c(wait_name(w->kind)));
    record_reason_text(r, w, -1, &text);
    ktext(o, "text", &text);
    kmodel(o, "blocked_by_model", r, w->model);
    if (w->request)
        kid(o, "blocked_by_request", w->request);
}

/* A number in the query: "n=10&x=2". */
static uint64_t query_number(const struct request *req, str key, uint64_t dflt)
{
    str q = http_req_head(req->http)->query, item;
    while (str_item(&q, '&', &item)) {
        str name, value;
        uint64_t n;
        if (str_cut(item, '=', &name, &value) && str_eq(name, key) && str_to_u64(value, &n))
            return n;
    }
    return dflt;
}

/* --- GET /api/scheduler --- */

static void put_queue(struct json_out *o, const struct server *srv, const struct recorder *r)
{
    const struct sched *s = srv->dispatch.sched;
    size_t shown = 0;
    json_out_key(o, S("queue"));
    json_out_array(o);
    for (struct list *it = srv->by_state[REQ_QUEUED].next; it != &srv->by_state[REQ_QUEUED]; it = it->next) {
        const struct request *req = LIST_ENTRY(it, struct request, node);
        const struct ticket *t = req->ticket ? view_ticket(s, req->ticket) : NULL;
        if (!t || t->state == TICKET_ACTIVE || shown++ >= QUEUE_SHOWN)
            continue;
        struct wait_reason w = record_reason(req);
        json_out_object(o);
        kid(o, "request", req->id);
        json_out_kstr(o, "model", req->model->name);
        if (t->state == TICKET_QUEUED)
            json_out_kint(o, "position", (int64_t)queue_rank(&t->in_line));
        kseconds(o, "waited_s", io_loop_now(srv->loop) - t->arrived);
        json_out_kint(o, "priority", t->priority);
        put_reason(o, r, &w);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void put_serving(struct json_out *o, const struct server *srv)
{
    static const enum req_state states[] = { REQ_SEND, REQ_STREAM };
    json_out_key(o, S("serving"));
    json_out_array(o);
    size_t shown = 0;
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        for (struct list *it = srv->by_state[states[i]].next; it != &srv->by_state[states[i]]; it = it->next) {
            const struct request *req = LIST_ENTRY(it, struct request, node);
            if (!req->ticket || !req->model || shown++ >= QUEUE_SHOWN)
                continue;
            json_out_object(o);
            kid(o, "request", req->id);
            json_out_kstr(o, "model", req->model->name);
            if (req->record && req->record->regranted != MSEC_NEVER)
                kseconds(o, "served_s", io_loop_now(srv->loop) - req->record->regranted);
            json_out_end(o, '}');
        }
    json_out_end(o, ']');
}

static void put_models(struct json_out *o, const struct server *srv, const struct recorder *r)
{
    const struct sched *s = srv->dispatch.sched;
    json_out_key(o, S("models"));
    json_out_array(o);
    for (size_t i = 0; i < s->n_models; i++) {
        const struct smodel *m = s->models[i];
        uintptr_t have = (uintptr_t)map_get(&r->by_name, m->conf.id);
        if (m->conf.retired && !model_alive(m))
            continue;
        json_out_object(o);
        json_out_kstr(o, "id", m->conf.id);
        json_out_kstr(o, "state", str_c(model_state_name(m->state)));
        json_out_kint(o, "inflight", m->inflight);
        json_out_kint(o, "queued", (int64_t)(model_queued(m) + m->waiting));
        json_out_kint(o, "limit", view_limit(s, m));
        if (have) {
            const struct record_model *k = &r->models[have - 1];
            json_out_kint(o, "loads", (int64_t)k->loads);
            json_out_kint(o, "load_failures", (int64_t)k->load_failures);
            json_out_kint(o, "crashes", (int64_t)k->crashes);
            if (k->loads)
                kseconds(o, "load_s", k->load_sum / (msec)k->loads);
            if (k->stops)
                kseconds(o, "stop_s", k->stop_sum / (msec)k->stops);
        }
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void put_swaps(struct json_out *o, const struct server *srv)
{
    static const char *const stages[] = { "draining", "stopping", "starting" };
    const struct sched *s = srv->dispatch.sched;
    json_out_key(o, S("swaps"));
    json_out_array(o);
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        json_out_object(o);
        kid(o, "id", sw->id);
        json_out_kstr(o, "target", s->models[sw->target]->conf.id);
        json_out_kstr(o, "stage", str_c(stages[sw->stage]));
        json_out_key(o, S("stops"));
        json_out_array(o);
        for (size_t i = 0; i < sw->n_evict; i++)
            json_out_str(o, s->models[sw->evict[i]]->conf.id);
        json_out_end(o, ']');
        json_out_kstr(o, "by", sw->by == SWAP_BY_PRELOAD ? S("preload") : S("request"));
        kseconds(o, "elapsed_s", io_loop_now(srv->loop) - sw->started);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void decision_text(const struct recorder *r, const struct decision_record *d, struct strbuf *out)
{
    str model = record_model_name(r, d->model), text = str_c(d->text);
    switch (d->kind) {
    case DECISION_GRANT: strbuf_addf(out, "is served by " STR_FMT " after %.3f s", STR_ARG(model), seconds(d->took)); return;
    case DECISION_LOAD:
        strbuf_addf(out, STR_FMT " is loaded", STR_ARG(model));
        break;
    case DECISION_LOADED: strbuf_addf(out, STR_FMT " is ready, %.3f s after that was decided", STR_ARG(model), seconds(d->took)); return;
    case DECISION_LOAD_FAILED: strbuf_addf(out, STR_FMT " was not loaded", STR_ARG(model)); break;
    case DECISION_UNLOAD: strbuf_addf(out, STR_FMT " was stopped", STR_ARG(model)); break;
    case DECISION_CRASH: strbuf_addf(out, STR_FMT " ended by itself", STR_ARG(model)); break;
    case DECISION_REFUSE: strbuf_add(out, S("refused")); break;
    case DECISION_FORCED: strbuf_add(out, S("waited too long under the policy and goes next")); break;
    case DECISION_STALL: strbuf_add(out, S("the policy held an idle machine too long; the built-in decides")); break;
    case DECISION_INVALID: strbuf_add(out, S("the policy's answer broke a rule; the built-in decided")); break;
    case DECISION_KINDS: break;
    }
    if (text.len)
        strbuf_addf(out, ": " STR_FMT, STR_ARG(text));
}

static void put_decisions(struct json_out *o, const struct recorder *r, uint64_t n)
{
    uint64_t have = r->n_decisions < RECORD_DECISIONS ? r->n_decisions : RECORD_DECISIONS;
    if (n > have)
        n = have;
    json_out_key(o, S("decisions"));
    json_out_array(o);
    for (uint64_t i = 0; i < n; i++) {
        const struct decision_record *d = &r->decisions[(r->n_decisions - n + i) % RECORD_DECISIONS];
        struct strbuf text = STRBUF(1024);
        json_out_object(o);
        json_out_knum(o, "at", (double)record_unix_ms(r, d->at) / 1000);
        json_out_kstr(o, "what", str_c(decision_name(d->kind)));
        if (d->request)
            kid(o, "request", d->request);
        kmodel(o, "model", r, d->model);
        if (d->swap)
            kid(o, "swap", d->swap);
        decision_text(r, d, &text);
        ktext(o, "text", &text);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void put_totals(struct json_out *o, const struct recorder *r)
{
    uint64_t loads = 0, failures = 0, crashes = 0;
    for (size_t i = 0; i < r->n_models; i++) {
        loads += r->models[i].loads;
        failures += r->models[i].load_failures;
        crashes += r->models[i].crashes;
    }
    json_out_key(o, S("totals"));
    json_out_object(o);
    kid(o, "grants", r->grants);
    for (int f = RECORD_SERVED; f < RECORD_FATES; f++)
        kid(o, record_fate_name((enum record_fate)f), r->fates[f]);
    kid(o, "loads", loads);
    kid(o, "load_failures", failures);
    kid(o, "crashes", crashes);
    json_out_end(o, '}');
}

void api_scheduler(struct request *req, const struct route *r)
{
    struct server *srv = req->srv;
    const struct recorder *rec = srv->record;
    struct strbuf b = STRBUF(JSON_MAX), who = STRBUF(128);
    struct json_out o;
    (void)r;
    json_out_init(&o, &b);
    json_out_object(&o);
    json_out_kstr(&o, "scheduler", srv->cfg->scheduler == CONFIG_SCHED_FIFO ? S("fifo") : S("serial"));
    policy_glue_in_charge(&srv->policy, &who);
    ktext(&o, "in_charge", &who);
    json_out_kint(&o, "waiting", (int64_t)sched_waiting(srv->dispatch.sched));
    json_out_kint(&o, "inflight", (int64_t)sched_inflight(srv->dispatch.sched, MODEL_NONE));
    put_queue(&o, srv, rec);
    put_serving(&o, srv);
    put_models(&o, srv, rec);
    put_swaps(&o, srv);
    uint64_t n = query_number(req, S("n"), DECISIONS_SHOWN);
    put_decisions(&o, rec, n);
    struct strbuf policy = STRBUF(JSON_MAX / 2);
    policy_glue_trace(&srv->policy, n < RECORD_DECISIONS ? (size_t)n : RECORD_DECISIONS, &policy);
    json_out_kraw(&o, "policy_decisions", strbuf_str(&policy));
    strbuf_fini(&policy);
    put_totals(&o, rec);
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}

/* --- GET /api/scheduler/trace --- */

void api_scheduler_trace(struct request *req, const struct route *r)
{
    struct server *srv = req->srv;
    (void)r;
    if (srv->record->cap == 0) {
        req_fail(req, 404, NULL, S("nothing is recorded: recording.requests is 0"));
        return;
    }
    uint64_t last = query_number(req, S("last_s"), 0), max = query_number(req, S("max"), UINT32_MAX);
    msec now = io_loop_now(srv->loop);
    struct strbuf b = STRBUF(TRACE_BYTES);
    record_trace(srv->record, last && (msec)last * 1000 < now ? now - (msec)last * 1000 : 0, (size_t)max, &b);
    if (b.full)
        req_fail(req, 500, NULL, S("the trace is too large; ask for fewer with max="));
    else
        req_reply(req, 200, S("application/x-ndjson"), strbuf_str(&b));
    strbuf_fini(&b);
}

/* --- GET /api/requests/{id}/why --- */

struct part {
    enum wait_kind kind;
    msec took;
};

/* Where the time until the grant (or until now) went. */
static size_t parts_of(const struct record *k, msec until, struct part out[4])
{
    const struct record_swap *sw = &k->swap;
    size_t n = 0;
    msec at = k->arrived;
    if (!sw->id) {
        if (until > at || k->first.kind != WAIT_NONE)
            out[n++] = (struct part){ k->first.kind, until - at };
        return n;
    }
    if (sw->began > at) {
        out[n++] = (struct part){ k->first.kind, (sw->began < until ? sw->began : until) - at };
        at = sw->began;
    }
    msec started = sw->started != MSEC_NEVER && sw->started < until ? sw->started : until;
    if (started > at) {
        out[n++] = (struct part){ WAIT_STOPPING, started - at };
        at = started;
    }
    msec ready = sw->ready != MSEC_NEVER && sw->ready < until ? sw->ready : until;
    if (ready > at) {
        out[n++] = (struct part){ WAIT_LOADING, ready - at };
        at = ready;
    }
    if (until > at)
        out[n++] = (struct part){ WAIT_LINE, until - at };
    return n;
}

static void part_text(const struct recorder *r, const struct record *k, const struct part *p, struct strbuf *out)
{
    str model = record_model_name(r, k->model);
    switch (p->kind) {
    case WAIT_STOPPING:
        add_seconds(out, p->took);
        strbuf_add(out, S(" until "));
        for (uint32_t i = 0; i < k->swap.n_evicted; i++)
            strbuf_addf(out, "%s" STR_FMT, i ? ", " : "", STR_ARG(record_model_name(r, k->swap.evicted[i])));
        strbuf_add(out, k->swap.n_evicted ? S(" had stopped") : S("there was room"));
        break;
    case WAIT_LOADING:
        add_seconds(out, p->took);
        strbuf_addf(out, " while " STR_FMT " was loaded", STR_ARG(model));
        if (k->swap.owner && k->swap.owner != k->id)
            strbuf_addf(out, " (for request %llu)", (unsigned long long)k->swap.owner);
        break;
    default:
        add_seconds(out, p->took);
        strbuf_add(out, S(" in the line"));
        if (p->kind == k->first.kind && p->kind != WAIT_LINE && p->kind != WAIT_NONE) {
            strbuf_add(out, S(": when it came, "));
            record_reason_text(r, &k->first, -1, out);
        }
    }
}

static void put_why(struct json_out *o, const struct recorder *r, const struct record *k, msec until)
{
    struct part parts[4];
    size_t n = parts_of(k, until, parts);
    struct strbuf all = STRBUF(4096);
    bool waited = k->first.kind != WAIT_NONE || until > k->arrived;
    if (k->fate == RECORD_REFUSED)
        strbuf_addf(&all, "refused: %s", k->refusal ? k->refusal : "");
    else if (!waited)
        strbuf_add(&all, S("it did not wait"));
    else
        strbuf_add(&all, k->fate == RECORD_WAITS ? S("waits for ") : S("waited "));
    if (waited && k->fate != RECORD_REFUSED)
        add_seconds(&all, until - k->arrived);
    json_out_key(o, S("parts"));
    json_out_array(o);
    for (size_t i = 0; waited && i < n; i++) {
        struct strbuf text = STRBUF(1024);
        part_text(r, k, &parts[i], &text);
        strbuf_add(&all, i ? S("; ") : S(": "));
        strbuf_add(&all, strbuf_str(&text));
        json_out_object(o);
        json_out_kstr(o, "reason", str_c(wait_name(parts[i].kind)));
        kseconds(o, "seconds", parts[i].took);
        ktext(o, "text", &text);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
    ktext(o, "text", &all);
    if (k->first.kind != WAIT_NONE) {
        json_out_key(o, S("at_arrival"));
        json_out_object(o);
        json_out_kint(o, "ahead", k->ahead);
        put_reason(o, r, &k->first);
        json_out_end(o, '}');
        json_out_kint(o, "others_served_meanwhile", k->granted == MSEC_NEVER ? (int64_t)(r->grants - k->grants_then) : k->served_before);
    }
    if (!k->swap.id)
        return;
    json_out_key(o, S("swap"));
    json_out_object(o);
    kid(o, "id", k->swap.id);
    json_out_key(o, S("stopped"));
    json_out_array(o);
    for (uint32_t i = 0; i < k->swap.n_evicted; i++)
        json_out_str(o, record_model_name(r, k->swap.evicted[i]));
    json_out_end(o, ']');
    if (k->swap.owner)
        kid(o, "begun_for", k->swap.owner);
    json_out_kbool(o, "ready", k->swap.ready != MSEC_NEVER);
    json_out_end(o, '}');
}

static void put_now(struct json_out *o, struct server *srv, const struct record *k)
{
    const struct request *live = k->ticket ? dispatch_request(&srv->dispatch, k->ticket) : NULL;
    const struct ticket *t = live && live->id == k->id ? view_ticket(srv->dispatch.sched, k->ticket) : NULL;
    if (!t || t->state == TICKET_ACTIVE)
        return;
    struct wait_reason w = record_reason(live);
    json_out_key(o, S("now"));
    json_out_object(o);
    if (t->state == TICKET_QUEUED)
        json_out_kint(o, "position", (int64_t)queue_rank(&t->in_line));
    put_reason(o, srv->record, &w);
    json_out_end(o, '}');
}

void api_request_why(struct request *req, const struct route *r)
{
    struct server *srv = req->srv;
    const struct recorder *rec = srv->record;
    uint64_t n;
    const struct record *found = str_to_u64(api_tail(req, r), &n) ? record_find(rec, n) : NULL;
    if (!found) {
        req_fail(req, 404, NULL, S("no such request, or it is forgotten (recording.requests), or it was not for a model here"));
        return;
    }
    struct record k = *found;
    msec now = io_loop_now(srv->loop);
    msec until = k.granted != MSEC_NEVER ? k.granted : k.released != MSEC_NEVER ? k.released : now;
    if (k.fate == RECORD_WAITS && k.model < rec->n_models && rec->models[k.model].now.id)
        k.swap = rec->models[k.model].now;
    struct strbuf b = STRBUF(JSON_MAX), policy = STRBUF(JSON_MAX / 2);
    struct json_out o;
    json_out_init(&o, &b);
    json_out_object(&o);
    kid(&o, "id", k.id);
    kmodel(&o, "model", rec, k.model);
    json_out_kstr(&o, "state", str_c(record_fate_name(k.fate)));
    json_out_knum(&o, "arrived", (double)record_unix_ms(rec, k.arrived) / 1000);
    kseconds(&o, "waited_s", until - k.arrived);
    if (k.regranted != MSEC_NEVER)
        kseconds(&o, "served_s", (k.released != MSEC_NEVER ? k.released : now) - k.regranted);
    if (k.ended_once)
        json_out_kint(&o, "status", k.status);
    put_why(&o, rec, &k, until);
    put_now(&o, srv, &k);
    policy_glue_why(&srv->policy, k.ticket, k.id, &policy);
    json_out_kraw(&o, "policy", strbuf_str(&policy));
    strbuf_fini(&policy);
    json_out_end(&o, '}');
    api_reply_json(req, 200, &b);
    strbuf_fini(&b);
}
