/* dispatch.c: see dispatch.h. */
#include "proxy/dispatch.h"

#include "base/check.h"
#include "proxy/model.h"
#include "proxy/reload.h"
#include "proxy/server.h"
#include "proxy/warm.h"

/* Classes of events, in the order in which one turn handles them. */
static size_t class_of(enum sched_ev_kind kind)
{
    switch (kind) {
    case SCHED_CANCEL:
        return 1;
    case SCHED_UNLOAD:
    case SCHED_RECYCLE:
    case SCHED_DRAIN:
        return 2;
    case SCHED_ARRIVE:
    case SCHED_PRELOAD:
    case SCHED_TICK:
        return 3;
    default:
        return 0;
    }
}

/* --- tickets: slot number in the low half, generation in the high half, never 0 --- */

ticket_id dispatch_ticket(struct dispatch *d, struct request *req)
{
    if (d->n_free == 0) {
        uint32_t old = d->n_tickets, n = old ? old * 2 : 64;
        d->tickets = mem_resize(d->tickets, n, sizeof *d->tickets);
        d->free_slots = mem_resize(d->free_slots, n, sizeof *d->free_slots);
        for (uint32_t i = n; i-- > old;) {
            d->tickets[i] = (struct ticket_slot){ NULL, 1 };
            d->free_slots[d->n_free++] = i;
        }
        d->n_tickets = n;
    }
    uint32_t slot = d->free_slots[--d->n_free];
    d->tickets[slot].req = req;
    return (ticket_id)d->tickets[slot].gen << 32 | slot;
}

struct request *dispatch_request(struct dispatch *d, ticket_id t)
{
    uint32_t slot = (uint32_t)t;
    if (slot >= d->n_tickets || d->tickets[slot].gen != (uint32_t)(t >> 32))
        return NULL;
    return d->tickets[slot].req;
}

void dispatch_ticket_end(struct dispatch *d, ticket_id t)
{
    if (!dispatch_request(d, t))
        return;
    uint32_t slot = (uint32_t)t;
    d->tickets[slot].req = NULL;
    if (++d->tickets[slot].gen == 0)
        d->tickets[slot].gen = 1;
    d->free_slots[d->n_free++] = slot;
}

/* --- the queue --- */

void dispatch_post(struct dispatch *d, const struct sched_event *ev)
{
    struct dispatch_queue *q = &d->queue[class_of(ev->kind)];
    if (q->len == q->cap) {
        q->cap = q->cap ? q->cap * 2 : 16;
        q->at = mem_resize(q->at, q->cap, sizeof *q->at);
    }
    struct sched_event *mine = &q->at[q->len++];
    *mine = *ev;
    if (ev->text.len) {
        char *copy = mem_resize(NULL, ev->text.len, 1);
        memcpy(copy, ev->text.ptr, ev->text.len);
        mine->text.ptr = copy;
    }
    if (ev->n_models) {
        model_id *copy = mem_resize(NULL, ev->n_models, sizeof *copy);
        memcpy(copy, ev->models, ev->n_models * sizeof *copy);
        mine->models = copy;
    }
    io_call_post(d->srv->loop, &d->turn);
}

static void event_fini(struct sched_event *ev)
{
    if (ev->text.len)
        free((void *)(uintptr_t)ev->text.ptr);
    if (ev->n_models)
        free((void *)(uintptr_t)ev->models);
}

/* --- performing --- */

static void start_model(struct dispatch *d, const struct sched_action *a)
{
    struct model *m = server_model(d->srv, a->model);
    ASSERT(m);
    if (model_state(m) == PROC_STOPPED || model_state(m) == PROC_SHUTDOWN)
        model_renew(m);
    if (!CHECK(model_state(m) == PROC_STOPPED)) {
        struct sched_event ev = { .kind = SCHED_MODEL_FAILED, .model = a->model, .swap = a->swap,
                                  .text = S("internal error: the process is not stopped") };
        dispatch_post(d, &ev);
        return;
    }
    log_info(m->log_scope, "starting");
    proc_start(m->proc, a->swap);
}

static void stop_model(struct dispatch *d, const struct sched_action *a)
{
    struct model *m = server_model(d->srv, a->model);
    ASSERT(m);
    if (!policy_glue_before_stop(m, a->swap, a->grace_ms))
        model_stop(m, a->swap, a->grace_ms);
}

/* While one model stops, the supervisor of the next one can start already. */
static void look_ahead(struct dispatch *d)
{
    struct model *m = server_model(d->srv, sched_start_ahead(d->sched));
    if (m && m->proc && !m->next && !m->stale)
        proc_prepare(m->proc);
}

static void unloaded(struct dispatch *d, uint64_t op, int code)
{
    LIST_FOREACH(it, &d->unloads) {
        struct unload_op *u = LIST_ENTRY(it, struct unload_op, node);
        if (u->op != op)
            continue;
        list_remove(&u->node);
        u->code = code;
        u->done(u->ud);
        return;
    }
}

static void perform(struct dispatch *d, const struct sched_action *a)
{
    struct request *req;
    switch (a->kind) {
    case SCHED_ADMIT:
        return;
    case SCHED_REJECT:
        if ((req = dispatch_request(d, a->ticket)))
            req_rejected(req, a->code, a->status, a->text);
        return;
    case SCHED_GRANT:
        req = dispatch_request(d, a->ticket);
        if (req) {
            req_granted(req);
        } else {
            /* its client left in this very turn; the slot must come back */
            struct sched_event ev = { .kind = SCHED_DONE, .ticket = a->ticket };
            dispatch_post(d, &ev);
        }
        return;
    case SCHED_START:
        d->warmth_changed = true;
        start_model(d, a);
        return;
    case SCHED_STOP:
        d->warmth_changed = true;
        stop_model(d, a);
        look_ahead(d);
        return;
    case SCHED_ABORT_SERVE:
        if ((req = dispatch_request(d, a->ticket)))
            req_abort_serve(req, a->text);
        return;
    case SCHED_MOVED:
        if ((req = dispatch_request(d, a->ticket)))
            req_moved(req, server_model(d->srv, a->model));
        return;
    case SCHED_POSITION:
        if ((req = dispatch_request(d, a->ticket)))
            req_position(req, a->n);
        return;
    case SCHED_WAKE_AT:
        if (a->at == MSEC_NEVER)
            io_timer_clear(d->wake);
        else
            io_timer_set(d->wake, a->at > io_loop_now(d->srv->loop) ? a->at - io_loop_now(d->srv->loop) : 0);
        return;
    case SCHED_UNLOADED:
        unloaded(d, a->op, a->code);
        return;
    }
}

/* Others wait now: answers that are held back by slow readers go to their spools instead. */
static void relieve(struct dispatch *d)
{
    if (list_empty(&d->srv->throttled) || sched_waiting(d->sched) == 0)
        return;
    LIST_FOREACH(it, &d->srv->throttled)
        forward_spool_on(LIST_ENTRY(it, struct request, throttled));
}

/* Tickets that have ended; then whatever the policies want done because of this event. */
static void tell_policies(struct dispatch *d, const struct sched_event *ev)
{
    struct policy_glue *g = &d->srv->policy;
    if (ev->kind == SCHED_DONE || ev->kind == SCHED_CANCEL)
        policies_ticket_end(g->ps, ev->ticket, "client", ev->now);
    for (size_t i = 0; i < d->actions.len; i++)
        if (d->actions.at[i].kind == SCHED_REJECT)
            policies_ticket_end(g->ps, d->actions.at[i].ticket, "refused", ev->now);
    policy_glue_settled(g);
}

static void handle(struct dispatch *d, struct sched_event *ev);

static void move(void *ud, ticket_id t, model_id m)
{
    struct sched_event ev = { .kind = SCHED_MOVE, .ticket = t, .model = m };
    handle(ud, &ev);
}

static void handle(struct dispatch *d, struct sched_event *ev)
{
    ev->now = io_loop_now(d->srv->loop);
    if (ev->kind == SCHED_ARRIVE && !dispatch_request(d, ev->ticket)) {
        policies_ticket_end(d->srv->policy.ps, ev->ticket, "client", ev->now);
        return; /* left before it was seen; nothing was promised */
    }
    d->actions.len = 0;
    sched_post(d->sched, ev, &d->actions);
#ifdef LUASWAP_DEBUG
    struct error e = { 0 };
    if (sched_check(d->sched, &e) < 0) {
        log_error("sched", "invariant broken: %s", e.msg);
        UNREACHABLE();
    }
#endif
    /* performing posts events but never runs the scheduler, so the list stays put */
    for (size_t i = 0; i < d->actions.len; i++)
        perform(d, &d->actions.at[i]);
    if (ev->kind == SCHED_ARRIVE) {
        struct request *req = dispatch_request(d, ev->ticket);
        if (req && !req->place && d->srv->policy.ps) /* it may come again */
            req->place = sched_place(d->sched, ev->ticket);
        if (req && !req->granted && req->state == REQ_QUEUED)
            req_queued(req);
    }
    if (d->srv->policy.ps)
        tell_policies(d, ev);
    d->warmth_changed = d->warmth_changed || (ev->kind >= SCHED_MODEL_UP && ev->kind <= SCHED_MODEL_STUCK);
    if (d->warmth_changed && ev->kind != SCHED_MOVE) {
        for (int i = 0; i < 4 && d->warmth_changed; i++) { /* a move may start or stop a model itself */
            d->warmth_changed = false;
            warm_look(d->srv, move, d);
        }
    }
}

static void on_turn(void *ud)
{
    struct dispatch *d = ud;
    if (d->running)
        return;
    d->running = true;
    for (size_t c = 0; c < DISPATCH_CLASSES;) {
        struct dispatch_queue *q = &d->queue[c];
        if (q->len == 0) {
            c++;
            continue;
        }
        struct dispatch_queue batch = *q;
        *q = (struct dispatch_queue){ 0 };
        for (size_t i = 0; i < batch.len; i++) {
            handle(d, &batch.at[i]);
            event_fini(&batch.at[i]);
        }
        if (!q->at) { /* keep the memory for the next turn */
            *q = (struct dispatch_queue){ batch.at, 0, batch.cap };
        } else {
            free(batch.at);
        }
        c = 0; /* what that led to comes first again if it is a completion */
    }
    relieve(d);
    d->running = false;
    if (d->srv->n_retired > 0)
        reload_sweep(d->srv);
}

static void on_wake(void *ud)
{
    struct dispatch *d = ud;
    struct sched_event ev = { .kind = SCHED_TICK };
    dispatch_post(d, &ev);
}

void dispatch_init(struct dispatch *d, struct server *srv, const struct sched_conf *conf)
{
    *d = (struct dispatch){ .srv = srv, .next_op = 1 };
    d->sched = sched_new(conf);
    d->wake = io_timer_new(srv->loop, "scheduler", on_wake, d);
    list_init(&d->unloads);
    io_call_init(&d->turn, on_turn, d);
}

void dispatch_fini(struct dispatch *d)
{
    io_call_cancel(&d->turn);
    io_timer_free(d->wake);
    sched_free(d->sched);
    sched_actions_fini(&d->actions);
    for (size_t c = 0; c < DISPATCH_CLASSES; c++) {
        for (size_t i = 0; i < d->queue[c].len; i++)
            event_fini(&d->queue[c].at[i]);
        free(d->queue[c].at);
    }
    free(d->tickets);
    free(d->free_slots);
}

void dispatch_unload(struct dispatch *d, struct unload_op *op, const model_id *models, size_t n)
{
    record_unload(d->srv->record, models, n);
    op->op = d->next_op++;
    list_push_back(&d->unloads, &op->node);
    struct sched_event ev = { .kind = SCHED_UNLOAD, .op = op->op, .models = models, .n_models = n };
    dispatch_post(d, &ev);
}

void dispatch_soon(struct dispatch *d)
{
    io_call_post(d->srv->loop, &d->turn);
}

void dispatch_reconf(struct dispatch *d, const struct sched_conf *conf)
{
    ASSERT(!d->running);
    sched_reconfigure(d->sched, conf);
    struct sched_event ev = { .kind = SCHED_TICK }; /* looks at the line with the new rules */
    dispatch_post(d, &ev);
}

void dispatch_recycle(struct dispatch *d, struct unload_op *op, const model_id *models, size_t n, msec drain_ms)
{
    ASSERT(!d->running && n > 0);
    op->op = d->next_op++;
    list_push_back(&d->unloads, &op->node);
    struct sched_event ev = { .kind = SCHED_RECYCLE, .op = op->op, .models = models, .n_models = n, .grace_ms = drain_ms };
    d->running = true;
    handle(d, &ev);
    d->running = false;
}

void dispatch_unload_forget(struct unload_op *op)
{
    if (op->node.next)
        list_remove(&op->node);
}
