/* record_why.c: why a request is not being served now, from the scheduler's own books, and the sentence about it. */
#include "base/check.h"
#include "proxy/model.h"
#include "proxy/record.h"
#include "proxy/server.h"
#include "sched/view.h"

static uint32_t name_of(const struct recorder *r, const struct smodel *m)
{
    uintptr_t have = m ? (uintptr_t)map_get(&r->by_name, m->conf.id) : 0;
    return have ? (uint32_t)have - 1 : RECORD_NAME_NONE;
}

static uint64_t request_of(const struct server *srv, const struct ticket *t)
{
    struct dispatch *d = (struct dispatch *)(uintptr_t)&srv->dispatch;
    const struct request *req = t ? dispatch_request(d, t->id) : NULL;
    return req ? req->id : 0;
}

static const struct ticket *served_by(const struct smodel *m)
{
    return list_empty(&m->active) ? NULL : LIST_ENTRY(m->active.next, struct ticket, link);
}

static struct wait_reason about(const struct server *srv, enum wait_kind kind, const struct smodel *m)
{
    return (struct wait_reason){ .kind = kind, .model = name_of(srv->record, m), .n = m ? m->inflight : 0,
                                 .request = m ? request_of(srv, served_by(m)) : 0 };
}

/* A load that is under way: what is it waiting for? */
static struct wait_reason of_swap(const struct server *srv, const struct sched *s, const struct swap *sw, enum wait_kind loading)
{
    const struct smodel *target = view_model(s, sw->target);
    for (size_t i = 0; i < sw->n_evict && sw->stage != SWAP_STARTING; i++) {
        const struct smodel *v = view_model(s, sw->evict[i]);
        if (v && model_alive(v) && (sw->stage == SWAP_STOPPING || v->inflight > 0))
            return about(srv, v->stuck ? WAIT_STUCK : sw->stage == SWAP_DRAINING ? WAIT_VICTIM : WAIT_STOPPING, v);
    }
    if (target->state == MODEL_STOPPING) /* its own former life */
        return about(srv, target->stuck ? WAIT_STUCK : WAIT_STOPPING, target);
    struct wait_reason w = about(srv, loading, target);
    w.request = list_empty(&sw->waiters) ? 0 : request_of(srv, LIST_ENTRY(sw->waiters.next, struct ticket, link));
    return w;
}

static const struct smodel *serving(const struct sched *s)
{
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->inflight > 0)
            return m;
    }
    return NULL;
}

static const struct smodel *stuck(const struct sched *s)
{
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->stuck)
            return m;
    }
    return NULL;
}

static const struct swap *first_swap(const struct sched *s)
{
    return list_empty(&s->swaps) ? NULL : LIST_ENTRY(s->swaps.next, struct swap, link);
}

static struct wait_reason under_serial(const struct server *srv, const struct sched *s, const struct smodel *m)
{
    const struct smodel *busy = serving(s);
    if (busy)
        return about(srv, WAIT_TURN, busy);
    const struct swap *sw = first_swap(s);
    if (sw)
        return of_swap(srv, s, sw, sw->target == m->self ? WAIT_LOADING : WAIT_SWAP);
    if (s->backoff_until > s->now)
        return about(srv, WAIT_STUCK, stuck(s));
    return about(srv, WAIT_LINE, NULL);
}

/* A cold model under fifo or a policy: who stands in the way of its load? */
static struct wait_reason cold(const struct server *srv, const struct sched *s, const struct smodel *m)
{
    struct ops_plan plan = { .evict = mem_calloc(s->n_models, sizeof *plan.evict) };
    struct wait_reason w = about(srv, WAIT_LINE, NULL);
    sched_builtin_plan(s, m->self, &plan);
    for (size_t i = 0; i < plan.n_evict; i++) {
        const struct smodel *v = view_model(s, plan.evict[i]);
        if (v->inflight > 0) {
            w = about(srv, WAIT_VICTIM, v);
            break;
        }
        if (v->swap)
            w = of_swap(srv, s, v->swap, WAIT_SWAP);
        else if (v->state == MODEL_STOPPING && w.kind == WAIT_LINE)
            w = about(srv, v->stuck ? WAIT_STUCK : WAIT_STOPPING, v);
    }
    free(plan.evict);
    return w;
}

static struct wait_reason under_fifo(const struct server *srv, const struct sched *s, const struct smodel *m)
{
    uint32_t limit = view_limit(s, m);
    if (m->swap)
        return of_swap(srv, s, m->swap, WAIT_LOADING);
    if (s->ops && s->row_held)
        return about(srv, WAIT_HELD, NULL);
    if (m->state == MODEL_STOPPING)
        return about(srv, m->stuck ? WAIT_STUCK : WAIT_STOPPING, m);
    if (m->state == MODEL_READY) {
        if (limit > 0 && m->inflight >= limit)
            return about(srv, WAIT_LIMIT, m);
        return m->victim_of > 0 && first_swap(s) ? of_swap(srv, s, first_swap(s), WAIT_SWAP) : about(srv, WAIT_LINE, NULL);
    }
    return cold(srv, s, m);
}

static struct wait_reason reason(const struct request *req)
{
    const struct server *srv = req->srv;
    const struct sched *s = srv->dispatch.sched;
    const struct ticket *t = req->ticket ? view_ticket(s, req->ticket) : NULL;
    const struct smodel *m = t ? view_model(s, t->model) : NULL;
    if (!m || t->state == TICKET_ACTIVE)
        return (struct wait_reason){ .kind = WAIT_NONE, .model = RECORD_NAME_NONE };
    if (t->state == TICKET_WAITING)
        return of_swap(srv, s, t->swap, WAIT_LOADING);
    if (m->frozen > 0)
        return about(srv, WAIT_RELOAD, m);
    return s->kind == SCHED_KIND_SERIAL && !(s->serial_reorder && s->ops) ? under_serial(srv, s, m) : under_fifo(srv, s, m);
}

struct wait_reason record_reason(const struct request *req)
{
    struct wait_reason w = reason(req);
    if (w.request == req->id) /* a load that was begun for itself */
        w.request = 0;
    return w;
}

static void some_requests(struct strbuf *out, const struct wait_reason *w)
{
    if (w->n > 1)
        strbuf_addf(out, "%u requests", w->n);
    else if (w->request)
        strbuf_addf(out, "request %llu", (unsigned long long)w->request);
    else
        strbuf_add(out, S("a request"));
}

void record_reason_text(const struct recorder *r, const struct wait_reason *w, msec took, struct strbuf *out)
{
    str model = record_model_name(r, w->model);
    if (!model.len)
        model = S("a model");
    switch (w->kind) {
    case WAIT_NONE: case WAIT_KINDS: strbuf_add(out, S("nothing that is known")); break;
    case WAIT_TURN:
        some_requests(out, w);
        strbuf_addf(out, " on " STR_FMT " is being served; one at a time", STR_ARG(model));
        break;
    case WAIT_LINE: strbuf_add(out, S("others are before it in the line")); break;
    case WAIT_LIMIT:
        strbuf_addf(out, STR_FMT " serves %u requests, which is its concurrency limit", STR_ARG(model), w->n);
        break;
    case WAIT_VICTIM:
        strbuf_addf(out, STR_FMT " must be stopped first and serves ", STR_ARG(model));
        some_requests(out, w);
        break;
    case WAIT_STOPPING: strbuf_addf(out, STR_FMT " is being stopped", STR_ARG(model)); break;
    case WAIT_LOADING:
        strbuf_addf(out, STR_FMT " is being loaded", STR_ARG(model));
        if (w->request)
            strbuf_addf(out, " for request %llu", (unsigned long long)w->request);
        break;
    case WAIT_SWAP:
        strbuf_addf(out, "another model, " STR_FMT ", is being loaded first", STR_ARG(model));
        if (w->request)
            strbuf_addf(out, " for request %llu", (unsigned long long)w->request);
        break;
    case WAIT_RELOAD: strbuf_addf(out, "the process of " STR_FMT " is being replaced after a reload", STR_ARG(model)); break;
    case WAIT_STUCK: strbuf_addf(out, "the process of " STR_FMT " does not end", STR_ARG(model)); break;
    case WAIT_HELD: strbuf_add(out, S("a policy lets it wait")); break;
    }
    if (took >= 0)
        strbuf_addf(out, " (%.1f s)", (double)took / 1000);
}
