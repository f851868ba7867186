/* Events in, actions out. Each handler updates the view, sets advance_due / walk_due for what that may have
 * opened, and sched_post then takes swaps, timers and the line as far as they go. */
#include "sched/loop.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- names ---- */

const char *model_state_name(enum model_state st)
{
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", "shutdown" };
    return (unsigned)st < ARRAY_LEN(names) ? names[st] : "?";
}

const char *sched_ev_name(enum sched_ev_kind k)
{
    switch (k) {
    case SCHED_ARRIVE: return "ARRIVE";
    case SCHED_CANCEL: return "CANCEL";
    case SCHED_DONE: return "DONE";
    case SCHED_RETRY: return "RETRY";
    case SCHED_MODEL_UP: return "MODEL_UP";
    case SCHED_MODEL_DOWN: return "MODEL_DOWN";
    case SCHED_MODEL_FAILED: return "MODEL_FAILED";
    case SCHED_MODEL_STUCK: return "MODEL_STUCK";
    case SCHED_UNLOAD: return "UNLOAD";
    case SCHED_RECYCLE: return "RECYCLE";
    case SCHED_PRELOAD: return "PRELOAD";
    case SCHED_TICK: return "TICK";
    case SCHED_DRAIN: return "DRAIN";
    }
    return "?";
}

const char *sched_act_name(enum sched_act_kind k)
{
    switch (k) {
    case SCHED_ADMIT: return "ADMIT";
    case SCHED_REJECT: return "REJECT";
    case SCHED_GRANT: return "GRANT";
    case SCHED_START: return "START";
    case SCHED_STOP: return "STOP";
    case SCHED_ABORT_SERVE: return "ABORT_SERVE";
    case SCHED_POSITION: return "POSITION";
    case SCHED_WAKE_AT: return "WAKE_AT";
    case SCHED_UNLOADED: return "UNLOADED";
    }
    return "?";
}

/* ---- effects ---- */

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
    if (s->ops && s->ops->note && (s->ops->notes & bit))
        s->ops->note(s->ops_ctx, s, n);
    if (s->observed & bit)
        s->observer(s->observer_ctx, s, n);
}

void loop_grant(struct sched *s, struct ticket *t)
{
    struct smodel *m = s->models[t->model];
    if (m->state != MODEL_READY)
        loop_broken(s, "ticket %llu granted to %s model", (unsigned long long)t->id, model_state_name(m->state));
    if (s->kind == SCHED_KIND_SERIAL) {
        if (s->inflight > 0)
            loop_broken(s, "serial: ticket %llu granted beside another", (unsigned long long)t->id);
        if (t->retries == 0 && t->seq < s->last_grant_seq && !s->serial_reorder)
            loop_broken(s, "serial: ticket %llu granted out of order", (unsigned long long)t->id);
        if (t->seq > s->last_grant_seq)
            s->last_grant_seq = t->seq;
    }
    view_activate(s, t);
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

static void emit_reject(struct sched *s, ticket_id id, model_id model, int code, const char *text)
{
    struct sched_action *a = loop_emit(s, SCHED_REJECT);
    a->ticket = id;
    a->model = model;
    a->code = code;
    snprintf(a->text, sizeof(a->text), "%s", text ? text : err_text(code));
}

void loop_reject(struct sched *s, struct ticket *t, int code, const char *text)
{
    emit_reject(s, t->id, t->model, code, text);
    loop_note(s, &(struct sched_note){ .kind = NOTE_CANCEL, .ticket = t, .model = t->model, .code = code, .text = text });
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

void unload_ended(struct sched *s, struct unload_op *u)
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
static void unloads_down(struct sched *s, const struct smodel *m, bool stuck)
{
    LIST_FOREACH (it, &s->unloads) {
        struct unload_op *u = LIST_ENTRY(it, struct unload_op, link);
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
        if (m->stuck) {
            m->stuck = false;
            s->backoff_until = 0;
        }
        for (struct list *it = m->active.next; it != &m->active; it = it->next)
            view_guard(s, LIST_ENTRY(it, struct ticket, link), s->now + SCHED_CUT_MS,
                       m->cut_on_stop ? "model unloaded" : "model is gone");
        m->cut_on_stop = false;
    }
    if (to == MODEL_READY) {
        m->fails = 0;
        m->last_used = s->now; /* the idle clock starts here (D-P3) */
        ttl_idle(s, m);
    }
    loop_note(s, &(struct sched_note){ .kind = NOTE_MODEL, .model = m->self, .old = from, .new = to });
    if (to == MODEL_STOPPED)
        unloads_down(s, m, false);
}

void loop_stop(struct sched *s, struct smodel *m, msec grace_ms)
{
    m->op = s->next_id++;
    if (m->state != MODEL_STOPPING || m->first_stop == 0)
        m->first_stop = m->op;
    m->stuck = false;
    m->stop_by = s->now + grace_ms + SCHED_STOP_WATCH_MS;
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

/* ---- requests ---- */

static int admission(const struct sched *s, const struct smodel *m)
{
    if (!m || m->conf.retired)
        return ERR_UNKNOWN_MODEL;
    if (s->draining)
        return ERR_SHUTDOWN;
    uint32_t limit = view_limit(s, m);
    if (limit > 0 && model_reserved(m) >= limit)
        return ERR_BUSY;
    if (s->kind == SCHED_KIND_SERIAL && s->serial_max_queue > 0 && queue_len(&s->line) >= s->serial_max_queue)
        return ERR_BUSY;
    return 0;
}

static void on_arrive(struct sched *s, const struct sched_event *ev)
{
    if (view_ticket(s, ev->ticket))
        return;
    const struct smodel *m = view_model(s, ev->model);
    int code = admission(s, m);
    if (code) {
        emit_reject(s, ev->ticket, ev->model, code, NULL);
        return;
    }
    struct ticket *t = view_ticket_new(s, ev->ticket);
    t->model = ev->model;
    t->priority = ev->priority != 0 ? ev->priority : m->conf.priority;
    t->seq = ++s->seq;
    t->want_positions = ev->want_positions;
    t->arrived = s->now;
    loop_emit(s, SCHED_ADMIT)->ticket = t->id;
    if (dispatch_classic(s))
        dispatch_arrival(s, t);
    else
        view_enqueue(s, t);
}

static void on_cancel(struct sched *s, const struct sched_event *ev)
{
    struct ticket *t = view_ticket(s, ev->ticket);
    if (!t)
        return;
    if (t->state == TICKET_ACTIVE) {
        t->left = true; /* its DONE follows */
        return;
    }
    struct swap *owned = t->swap && swap_owner(t->swap) == t ? t->swap : NULL;
    loop_detach(s, t);
    loop_note(s, &(struct sched_note){ .kind = NOTE_CANCEL, .ticket = t, .model = t->model });
    dispatch_forget(s, t);
    view_ticket_free(s, t);
    if (owned)
        swap_orphaned(s, owned);
}

/* A granted ticket gives its place back. */
static struct smodel *end_grant(struct sched *s, struct ticket *t)
{
    struct smodel *m = s->models[t->model];
    view_deactivate(s, t);
    m->last_used = s->now;
    if (m->inflight == 0) {
        ttl_idle(s, m);
        s->walk_due = true;
        s->advance_due = true; /* a swap may have waited for this */
        recycle_idle(s, m);
    }
    return m;
}

static void on_done(struct sched *s, const struct sched_event *ev)
{
    struct ticket *t = view_ticket(s, ev->ticket);
    if (!t || t->state != TICKET_ACTIVE)
        return;
    end_grant(s, t);
    loop_note(s, &(struct sched_note){ .kind = NOTE_SERVE_DONE, .ticket = t, .model = t->model });
    view_ticket_free(s, t);
}

static void on_retry(struct sched *s, const struct sched_event *ev)
{
    struct ticket *t = view_ticket(s, ev->ticket);
    if (!t || t->state != TICKET_ACTIVE)
        return;
    struct smodel *m = end_grant(s, t);
    if (t->left) {
        loop_note(s, &(struct sched_note){ .kind = NOTE_CANCEL, .ticket = t, .model = t->model });
        view_ticket_free(s, t);
        return;
    }
    if (s->draining) {
        loop_reject(s, t, ERR_SHUTDOWN, NULL);
        return;
    }
    if (t->unloaded) { /* somebody wanted that model gone: do not bring it back at once */
        loop_reject(s, t, ERR_UNLOADED, NULL);
        return;
    }
    if (m->conf.retired || t->retries++ > 0) {
        loop_reject(s, t, ERR_START, "the model died twice before it answered");
        return;
    }
    if (m->state == MODEL_READY) {
        if (m->inflight == 0) {
            loop_stop(s, m, m->conf.unload_grace_ms);
        } else {
            m->suspect_until = s->now + SCHED_SUSPECT_MS;
        }
    }
    view_enqueue(s, t);
    s->walk_due = true;
}

/* ---- results of processes ---- */

static void on_up(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (m && m->state == MODEL_STARTING && ev->swap == m->op)
        loop_state(s, m, MODEL_READY);
}

static void start_failed(struct sched *s, struct smodel *m, const char *text)
{
    m->fails++;
    loop_state(s, m, MODEL_STOPPED);
    if (m->swap)
        swap_fail(s, m->swap, ERR_START, text);
}

static void on_failed(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m || ev->swap != m->op)
        return;
    if (m->state == MODEL_STOPPING && m->stuck) { /* what was left of a failed start is gone at last */
        loop_state(s, m, MODEL_STOPPED);
        return;
    }
    if (m->state != MODEL_STARTING)
        return;
    char text[200];
    snprintf(text, sizeof(text), STR_FMT, STR_ARG(ev->text));
    start_failed(s, m, text[0] ? text : "model failed to start");
}

/* Ids grow, and a model's new life begins only after the end of the old one was reported. */
static bool answers_stop(const struct smodel *m, swap_id id)
{
    return id == 0 || (id >= m->first_stop && id <= m->op);
}

static void on_down(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m)
        return;
    bool asked = ev->swap == m->op, suspected = m->suspect_until != 0;
    switch (m->state) {
    case MODEL_STARTING:
        if (asked)
            start_failed(s, m, "the process ended while it started");
        return;
    case MODEL_READY:
        if (ev->swap != 0 && !asked)
            return;
        loop_state(s, m, MODEL_STOPPED);
        loop_note(s, &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "crash" });
        /* Classic: the reference looks at its line when those that it served have ended. Who waits for this
         * very exit may go now. */
        s->walk_due = s->walk_due || suspected;
        return;
    case MODEL_STOPPING:
        if (answers_stop(m, ev->swap))
            loop_state(s, m, MODEL_STOPPED);
        return;
    case MODEL_STOPPED:
    case MODEL_SHUTDOWN:
        return;
    }
}

void loop_stuck(struct sched *s, struct smodel *m)
{
    m->stuck = true;
    for (struct list *it = m->active.next; it != &m->active; it = it->next)
        view_guard(s, LIST_ENTRY(it, struct ticket, link), s->now, "model does not stop");
    /* Whoever needs it gone cannot have what he wants; it never runs beside the target. */
    char text[200];
    snprintf(text, sizeof(text), "model " STR_FMT " does not stop", STR_ARG(m->conf.id));
    LIST_FOREACH (it, &s->swaps) {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        bool needs = sw->target == m->self || s->kind == SCHED_KIND_SERIAL;
        for (size_t i = 0; i < sw->n_evict && !needs; i++)
            needs = sw->evict[i] == m->self;
        if (needs)
            swap_fail(s, sw, ERR_STUCK, text);
    }
    if (s->kind == SCHED_KIND_SERIAL) {
        s->backoff_ms = s->backoff_ms == 0                          ? SCHED_BACKOFF_MS
                        : s->backoff_ms * 2 < SCHED_BACKOFF_MAX_MS ? s->backoff_ms * 2
                                                                    : SCHED_BACKOFF_MAX_MS;
        s->backoff_until = s->now + s->backoff_ms;
    }
    unloads_down(s, m, true);
}

/* Also when nobody asked it to stop: a start failed, or its command ended, and something of it refuses to die. */
static void on_stuck(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m || !model_alive(m) || m->stuck)
        return;
    if (m->state == MODEL_STOPPING ? !answers_stop(m, ev->swap) : ev->swap != 0 && ev->swap != m->op)
        return;
    if (m->state != MODEL_STOPPING) {
        m->first_stop = m->op; /* its end may still be told as that of the start */
        loop_state(s, m, MODEL_STOPPING);
    }
    loop_stuck(s, m);
}

/* ---- unload, preload, drain ---- */

static bool unload_wants(const struct sched_event *ev, const struct smodel *m)
{
    if (!ev->models)
        return model_alive(m) || m->swap;
    for (size_t i = 0; i < ev->n_models; i++)
        if (ev->models[i] == m->self)
            return true;
    return false;
}

static void reject_queued(struct sched *s, struct smodel *m, int code, const char *text)
{
    struct qnode *n;
    while ((n = queue_first(&m->queue))) {
        struct ticket *t = model_ticket(n);
        view_dequeue(s, t);
        loop_reject(s, t, code, text);
    }
}

/* Smallest grace first, then by name. */
static void sort_by_grace(const struct sched *s, model_id *ids, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        model_id id = ids[i];
        const struct smodel *m = s->models[id];
        size_t j = i;
        for (; j > 0; j--) {
            const struct smodel *o = s->models[ids[j - 1]];
            if (o->conf.unload_grace_ms < m->conf.unload_grace_ms ||
                (o->conf.unload_grace_ms == m->conf.unload_grace_ms && o->rank < m->rank))
                break;
            ids[j] = ids[j - 1];
        }
        ids[j] = id;
    }
}

static void on_unload(struct sched *s, const struct sched_event *ev)
{
    struct unload_op *u = mem_zalloc(sizeof(*u));
    u->op = ev->op;
    u->left = mem_calloc(s->n_models ? s->n_models : 1, sizeof(*u->left));
    /* All requests first, in arrival order per model, then the stops: one operation (D-R10). */
    size_t n = 0;
    for (size_t i = 0; i < s->n_models; i++) {
        struct smodel *m = s->models[i];
        if (!unload_wants(ev, m))
            continue;
        m->preload = false;
        if (m->swap)
            swap_dismiss(s, m->swap, ERR_UNLOADED, NULL);
        reject_queued(s, m, ERR_UNLOADED, NULL);
        if (model_alive(m))
            u->left[n++] = m->self;
    }
    u->n_left = n;
    sort_by_grace(s, u->left, n);
    list_push_back(&s->unloads, &u->link);
    for (size_t i = 0; i < n; i++) {
        struct smodel *m = s->models[u->left[i]];
        m->cut_on_stop = true;
        for (struct list *it = m->active.next; it != &m->active; it = it->next)
            LIST_ENTRY(it, struct ticket, link)->unloaded = true;
        if (m->state != MODEL_STOPPING || m->stuck || m->op == 0 || ev->grace_ms > 0)
            loop_stop(s, m, ev->grace_ms > 0 ? ev->grace_ms : m->conf.unload_grace_ms);
        loop_note(s, &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "admin" });
    }
    /* The classic line is walked when all targets are stopped, not while they still count as running. */
    s->walk_due = false;
    if (n == 0)
        unload_ended(s, u);
}

static void on_preload(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m || m->conf.retired || s->draining)
        return;
    m->preload = s->preloads = true;
    m->preload_evict = ev->evict;
}

static void on_drain(struct sched *s)
{
    s->draining = true;
    LIST_FOREACH (it, &s->swaps) {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        struct smodel *m = s->models[sw->target];
        swap_dismiss(s, sw, ERR_SHUTDOWN, NULL);
        if (m->state == MODEL_STARTING)
            loop_stop(s, m, m->conf.unload_grace_ms);
    }
    struct qnode *n;
    while ((n = queue_first(&s->line))) {
        struct ticket *t = line_ticket(n);
        view_dequeue(s, t);
        loop_reject(s, t, ERR_SHUTDOWN, NULL);
    }
    for (size_t i = 0; i < s->n_models; i++)
        s->models[i]->preload = false;
}

/* ---- the loop itself ---- */

static void handle(struct sched *s, const struct sched_event *ev)
{
    switch (ev->kind) {
    case SCHED_ARRIVE: on_arrive(s, ev); break;
    case SCHED_CANCEL: on_cancel(s, ev); break;
    case SCHED_DONE: on_done(s, ev); break;
    case SCHED_RETRY: on_retry(s, ev); break;
    case SCHED_MODEL_UP: on_up(s, ev); break;
    case SCHED_MODEL_DOWN: on_down(s, ev); break;
    case SCHED_MODEL_FAILED: on_failed(s, ev); break;
    case SCHED_MODEL_STUCK: on_stuck(s, ev); break;
    case SCHED_UNLOAD: on_unload(s, ev); break;
    case SCHED_RECYCLE: recycle_event(s, ev); break;
    case SCHED_PRELOAD: on_preload(s, ev); break;
    case SCHED_TICK:
        s->wish = MSEC_NEVER;
        s->walk_due = s->walk_due || s->ops; /* the heartbeat of a policy */
        break;
    case SCHED_DRAIN: on_drain(s); break;
    }
}

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

static void sweep_retired(struct sched *s)
{
    s->sweep = false;
    for (size_t i = 0; i < s->n_models; i++) {
        struct smodel *m = s->models[i];
        if (!m->conf.retired)
            continue;
        m->preload = false;
        reject_queued(s, m, ERR_UNLOADED, NULL);
        if (m->swap) {
            swap_dismiss(s, m->swap, ERR_UNLOADED, NULL);
            if (m->state == MODEL_STARTING)
                loop_stop(s, m, m->conf.unload_grace_ms);
        }
    }
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
        sweep_retired(s);
    handle(s, ev);
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

/* ---- life ---- */

static void set_planner(struct sched *s, const struct sched_conf *conf)
{
    if (s->evict)
        s->evict->fini(s->evict_ctx);
    s->evict = conf->matrix ? &evict_matrix : &evict_group;
    s->evict_ctx = s->evict->init(conf);
}

static void set_conf(struct sched *s, const struct sched_conf *conf)
{
    s->serial_max_queue = conf->serial_max_queue;
    s->serial_max_serve_ms = conf->serial_max_serve_ms;
    s->serial_reorder = conf->serial_reorder;
    s->fifo_max_wait_ms = conf->fifo_max_wait_ms;
    s->orphan = conf->fifo_orphan;
    set_planner(s, conf);
}

struct sched *sched_new(const struct sched_conf *conf)
{
    struct sched *s = mem_zalloc(sizeof(*s));
    s->kind = conf->kind;
    s->builtin = sched_builtin_ops(conf->kind);
    s->wish = s->hold_until = s->idle_hold_since = MSEC_NEVER;
    s->next_id = 1;
    s->policy_starve_ms = 600000;
    s->hold_limit_ms = 60000;
    s->ring = trace_ring_new();
    view_models_init(s, conf);
    set_conf(s, conf);
    return s;
}

void sched_free(struct sched *s)
{
    if (!s)
        return;
    s->evict->fini(s->evict_ctx);
    trace_ring_free(s->ring);
    view_fini(s);
    free(s);
}

/* The key of the line depends on the kind, and so does who may wait for a swap: put everybody back in line. */
static void change_kind(struct sched *s, enum sched_kind kind)
{
    LIST_FOREACH (it, &s->swaps) {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        struct ticket *t;
        while ((t = swap_owner(sw))) {
            view_unwait(s, t);
            view_enqueue(s, t);
        }
        swap_dismiss(s, sw, ERR_CANCELLED, "reload"); /* a start under way goes on; the next one who wants it finds it */
    }
    struct list all;
    list_init(&all);
    struct qnode *n;
    while ((n = queue_first(&s->line))) {
        struct ticket *t = line_ticket(n);
        view_dequeue(s, t);
        list_push_back(&all, &t->link);
    }
    s->kind = kind;
    s->builtin = sched_builtin_ops(kind);
    LIST_FOREACH (it, &all) {
        list_remove(it);
        view_enqueue(s, LIST_ENTRY(it, struct ticket, link));
    }
    s->last_grant_seq = 0;
    s->reserved_for = 0;
    if (kind != SCHED_KIND_SERIAL)
        return;
    for (size_t i = 0; i < s->n_models; i++) {
        for (struct list *it = s->models[i]->active.next; it != &s->models[i]->active; it = it->next) {
            struct ticket *t = LIST_ENTRY(it, struct ticket, link);
            if (!t->before_serial)
                s->before_serial++;
            t->before_serial = true;
        }
    }
}

void sched_reconfigure(struct sched *s, const struct sched_conf *conf)
{
    ASSERT(!s->out);
    if (conf->kind != s->kind)
        change_kind(s, conf->kind);
    view_models_update(s, conf);
    set_conf(s, conf);
    s->sweep = true;
}

void sched_adopt(struct sched *s, model_id id, enum model_state seen, msec now)
{
    ASSERT(!s->out);
    struct smodel *m = view_model(s, id);
    if (!m)
        return;
    if (now > s->now)
        s->now = now;
    m->state = seen;
    m->op = m->first_stop = 0;
    m->stop_by = s->now + m->conf.unload_grace_ms + SCHED_STOP_WATCH_MS;
    m->since = m->last_used = s->now;
    m->stuck = false;
    m->suspect_until = 0;
    view_present(s, m);
}

void sched_set_ops(struct sched *s, const struct policy_ops *ops, void *ctx)
{
    ASSERT(!s->out);
    s->ops = ops;
    s->ops_ctx = ctx;
    s->stalled = s->row_held = false;
    s->hold_until = s->idle_hold_since = MSEC_NEVER;
    s->sweep = true; /* the next event looks at the whole line */
}

void sched_set_patience(struct sched *s, msec starve_after_ms, msec hold_limit_ms)
{
    s->policy_starve_ms = starve_after_ms;
    s->hold_limit_ms = hold_limit_ms;
}

void sched_observe(struct sched *s, unsigned notes,
                   void (*fn)(void *ctx, const struct sched *s, const struct sched_note *n), void *ctx)
{
    s->observed = fn ? notes : 0;
    s->observer = fn;
    s->observer_ctx = ctx;
}

/* ---- facts ---- */

size_t sched_waiting(const struct sched *s)
{
    return queue_len(&s->line) + s->n_waiting;
}

size_t sched_inflight(const struct sched *s, model_id m)
{
    if (m == MODEL_NONE)
        return s->inflight;
    const struct smodel *sm = view_model(s, m);
    return sm ? sm->inflight : 0;
}

enum model_state sched_model_state(const struct sched *s, model_id m)
{
    const struct smodel *sm = view_model(s, m);
    return sm ? sm->state : MODEL_STOPPED;
}

bool sched_will_wait(const struct sched *s, model_id m)
{
    return dispatch_would_wait(s, m);
}
