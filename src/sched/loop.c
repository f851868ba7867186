/* Events in, actions out: sched_post, and what an action does to the view. The handlers of events.c set
 * advance_due / walk_due for what an event may have opened; sched_post then takes swaps, timers and the line as
 * far as they go. */
#include "sched/loop.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

void sched_actions_fini(struct sched_actions *a)
{
    free(a->at);
    *a = (struct sched_actions){ 0 };
}

struct sched_action *loop_emit(struct sched *s, enum sched_act_kind kind)
{
    struct sched_actions *out = s->out;
    if (out->len == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 8;
        out->at = mem_resize(out->at, out->cap, sizeof(*out->at));
    }
    struct sched_action *a = &out->at[out->len++];
    /* Not the text: clearing 200 bytes per action would be most of what an event costs. */
    memset(a, 0, offsetof(struct sched_action, text));
    a->text[0] = '\0';
    a->kind = kind;
    a->model = MODEL_NONE;
    return a;
}

void loop_broken(struct sched *s, const char *fmt, ...)
{
    if (s->broken[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->broken, sizeof(s->broken), fmt, ap);
    va_end(ap);
}

void loop_note(struct sched *s, const struct sched_note *n)
{
    unsigned bit = 1u << n->kind;
    if (n->kind == NOTE_UNLOAD)
        s->models[n->model]->stop_why = n->text; /* a constant */
    if (s->ops && s->ops->note && (s->ops->notes & bit))
        s->ops->note(s->ops_ctx, s, n);
    if (s->observed & bit)
        s->observer(s->observer_ctx, s, n);
}

void loop_grant(struct sched *s, struct ticket *t)
{
    struct smodel *m = s->models[t->model];
    if (m->state != MODEL_READY)
        loop_broken(s, "ticket %llu granted to %s model", (unsigned long long)t->id,
                    model_state_name(m->state));
    if (!model_admits(s, m, t))
        loop_broken(s, "ticket %llu granted beside one that is to be alone", (unsigned long long)t->id);
    s->backoff_ms = 0;
    if (s->kind == SCHED_KIND_SERIAL && !t->side) {
        if (s->inflight > s->n_side)
            loop_broken(s, "serial: ticket %llu granted beside another", (unsigned long long)t->id);
        if (t->retries + t->refusals == 0 && !t->again && t->seq < s->last_grant_seq && !s->serial_reorder)
            loop_broken(s, "serial: ticket %llu granted out of order", (unsigned long long)t->id);
        if (t->seq > s->last_grant_seq)
            s->last_grant_seq = t->seq;
    }
    view_activate(s, t);
    s->n_side += t->side;
    t->aborted = false;
    t->granted = s->now;
    m->last_used = s->now;
    if (s->kind == SCHED_KIND_SERIAL && s->serial_max_serve_ms > 0)
        view_guard(s, t, s->now + s->serial_max_serve_ms, "serial.maxServe passed");
    struct sched_action *a = loop_emit(s, SCHED_GRANT);
    a->ticket = t->id;
    a->model = t->model;
    loop_note(s, &(struct sched_note){ .kind = NOTE_SERVE_START, .ticket = t, .model = t->model });
}

void loop_emit_reject(struct sched *s, ticket_id id, model_id model, int code, const char *text)
{
    struct sched_action *a = loop_emit(s, SCHED_REJECT);
    a->ticket = id;
    a->model = model;
    a->code = code;
    snprintf(a->text, sizeof(a->text), "%s", text ? text : err_text(code));
}

void loop_reject(struct sched *s, struct ticket *t, int code, const char *text)
{
    loop_emit_reject(s, t->id, t->model, code, text);
    loop_note(
        s, &(struct sched_note){
               .kind = NOTE_CANCEL, .ticket = t, .model = t->model, .code = code, .text = text });
    dispatch_forget(s, t);
    view_ticket_free(s, t);
}

void loop_detach(struct sched *s, struct ticket *t)
{
    if (t->state == TICKET_QUEUED)
        view_dequeue(s, t);
    else if (t->state == TICKET_WAITING)
        view_unwait(s, t);
}

static void average(msec *avg, msec sample)
{
    *avg = *avg == 0 ? sample : (*avg * 3 + sample) / 4;
}

void unload_ended(struct sched *s, struct unload_wait *u)
{
    struct sched_action *a = loop_emit(s, SCHED_UNLOADED);
    a->op = u->op;
    a->code = u->stuck ? ERR_STUCK : 0;
    recycle_thaw(s, u);
    list_remove(&u->link);
    free(u->left);
    free(u->frozen);
    free(u);
    s->walk_due = true;
}

/* Who cares that m's process ended: the unloads that wait for it. */
void loop_unloads_down(struct sched *s, const struct smodel *m, bool stuck)
{
    LIST_FOREACH(it, &s->unloads)
    {
        struct unload_wait *u = LIST_ENTRY(it, struct unload_wait, link);
        for (size_t i = 0; i < u->n_left; i++) {
            if (u->left[i] != m->self)
                continue;
            u->left[i] = u->left[--u->n_left];
            u->stuck = u->stuck || stuck;
            break;
        }
        if (u->n_left == 0)
            unload_ended(s, u);
    }
}

void loop_state(struct sched *s, struct smodel *m, enum model_state to)
{
    enum model_state from = m->state;
    if (from == to)
        return;
    if (from == MODEL_STARTING && to == MODEL_READY)
        average(&m->load_ms, s->now - m->since);
    if (from == MODEL_STOPPING && to == MODEL_STOPPED)
        average(&m->stop_ms, s->now - m->since);
    m->state = to;
    m->since = s->now;
    m->suspect_until = 0;
    s->advance_due = true;
    view_present(s, m);
    if (to == MODEL_STOPPED) {
        m->op = m->first_stop = 0;
        m->recycle_by = 0; /* it was about this life */
        if (m->stuck) {
            m->stuck = false;
            s->backoff_until = 0;
        }
        for (struct list *it = m->active.next; it != &m->active; it = it->next) {
            struct ticket *t = LIST_ENTRY(it, struct ticket, link);
            view_guard(s, t, s->now + SCHED_CUT_MS, m->cut_on_stop ? "model unloaded" : "model is gone");
            t->excludes = false; /* nobody of the next life is in its way */
        }
        m->excluding = 0;
        m->cut_on_stop = false;
    }
    if (to == MODEL_READY) {
        m->fails = 0;
        m->last_used = s->now; /* the idle clock starts here (D-P3) */
        ttl_idle(s, m);
    }
    loop_note(s,
              &(struct sched_note){ .kind = NOTE_MODEL, .model = m->self, .old = from, .new = to });
    if (to == MODEL_STOPPED)
        loop_unloads_down(s, m, false);
}

void loop_stop(struct sched *s, struct smodel *m, msec grace_ms)
{
    m->op = s->next_id++;
    if (m->state != MODEL_STOPPING || m->first_stop == 0)
        m->first_stop = m->op;
    m->stuck = false;
    m->stop_by = s->now + grace_ms + SCHED_STOP_WATCH_MS + s->stop_slack_ms;
    m->stop_why = NULL; /* a note may follow */
    struct sched_action *a = loop_emit(s, SCHED_STOP);
    a->swap = m->op;
    a->model = m->self;
    a->grace_ms = grace_ms;
    loop_state(s, m, MODEL_STOPPING);
}

void loop_start(struct sched *s, struct smodel *m, struct swap *sw)
{
    if (m->state != MODEL_STOPPED)
        loop_broken(s, "start of a %s model", model_state_name(m->state));
    if (s->kind == SCHED_KIND_SERIAL && view_running(s, m->self, true, s->scratch_check) > 0)
        loop_broken(s, "serial: start beside another process");
    m->op = sw->start_op = s->next_id++;
    struct sched_action *a = loop_emit(s, SCHED_START);
    a->swap = m->op;
    a->model = m->self;
    loop_state(s, m, MODEL_STARTING);
}

void loop_stuck(struct sched *s, struct smodel *m)
{
    m->stuck = true;
    for (struct list *it = m->active.next; it != &m->active; it = it->next)
        view_guard(s, LIST_ENTRY(it, struct ticket, link), s->now, "model does not stop");
    /* Whoever needs it gone cannot have what he wants; it never runs beside the target. */
    char text[200];
    snprintf(text, sizeof(text), "model " STR_FMT " does not stop", STR_ARG(m->conf.id));
    LIST_FOREACH(it, &s->swaps)
    {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        bool needs = sw->target == m->self || s->kind == SCHED_KIND_SERIAL;
        for (size_t i = 0; i < sw->n_evict && !needs; i++)
            needs = sw->evict[i] == m->self;
        if (needs)
            swap_fail(s, sw, ERR_STUCK, text);
    }
    if (s->kind == SCHED_KIND_SERIAL) {
        s->backoff_ms = s->backoff_ms == 0                         ? SCHED_BACKOFF_MS
                        : s->backoff_ms * 2 < SCHED_BACKOFF_MAX_MS ? s->backoff_ms * 2
                                                                   : SCHED_BACKOFF_MAX_MS;
        s->backoff_until = s->now + s->backoff_ms;
    }
    loop_unloads_down(s, m, true);
}

/* ---- the loop ---- */

static void send_place(void *ctx, struct qnode *n, size_t place)
{
    struct sched *s = ctx;
    struct ticket *t = line_ticket(n);
    if (t->place == place)
        return;
    t->place = (uint32_t)place;
    struct sched_action *a = loop_emit(s, SCHED_POSITION);
    a->ticket = t->id;
    a->n = t->place;
}

static void send_wake(struct sched *s)
{
    msec next = ttl_next(s);
    if (s->wish <= s->now)
        s->wish = MSEC_NEVER; /* it comes due by itself; what it was for is done */
    if (next >= s->wish)
        return; /* an early wake-up is cheaper than moving the timer with each request */
    s->wish = next > s->now ? next : s->now + 1;
    loop_emit(s, SCHED_WAKE_AT)->at = s->wish;
}

void sched_post(struct sched *s, const struct sched_event *ev, struct sched_actions *out)
{
    ASSERT(!s->out); /* not from inside a row */
    s->out = out;
    s->out_from = out->len;
    if (ev->now > s->now)
        s->now = ev->now;
    trace_ring_event(s->ring, ev);
    s->walk_due = s->sweep;
    if (s->sweep)
        events_sweep(s);
    events_handle(s, ev);
    ttl_due(s);
    swap_advance_all(s);
    if (!s->draining) {
        dispatch(s);
        if (s->preloads)
            dispatch_preloads(s);
    }
    if (s->moved && queue_wants(&s->line) > 0)
        queue_each_want(&s->line, s->moved_from, send_place, s);
    s->moved = false;
    send_wake(s);
    for (size_t i = s->out_from; i < out->len; i++)
        trace_ring_action(s->ring, &out->at[i]);
    s->out = NULL;
}
