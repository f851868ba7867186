/* What each kind of event does to the view. */
#include "sched/loop.h"

#include "base/check.h"

#include <stdio.h>

/* ---- requests ---- */

static int admission(const struct sched *s, const struct smodel *m, bool again)
{
    if (!m || m->conf.retired)
        return ERR_UNKNOWN_MODEL;
    if (s->draining)
        return ERR_SHUTDOWN;
    uint32_t limit = view_limit(s, m);
    if (again)
        return 0;
    if (limit > 0 && model_reserved(m) >= limit)
        return ERR_BUSY;
    if (s->kind == SCHED_KIND_SERIAL && s->serial_max_queue > 0 &&
        queue_len(&s->line) >= s->serial_max_queue)
        return ERR_BUSY;
    return 0;
}

static void on_arrive(struct sched *s, const struct sched_event *ev)
{
    if (view_ticket(s, ev->ticket))
        return;
    const struct smodel *m = view_model(s, ev->model);
    bool again = ev->place > 0 && ev->place <= s->seq;
    int code = admission(s, m, again);
    if (code) {
        loop_emit_reject(s, ev->ticket, ev->model, code, NULL);
        return;
    }
    struct ticket *t = view_ticket_new(s, ev->ticket);
    t->model = ev->model;
    t->priority = ev->priority != 0 ? ev->priority : m->conf.priority;
    t->seq = again ? ev->place : ++s->seq;
    t->again = again;
    t->want_positions = ev->want_positions;
    t->arrived = s->now;
    loop_emit(s, SCHED_ADMIT)->ticket = t->id;
    t->side = ev->side && dispatch_side_open(s, m);
    if (t->side)
        loop_grant(s, t);
    else if (dispatch_classic(s))
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
    struct smodel *m = end_grant(s, t);
    if (ev->died && m->state == MODEL_READY)
        m->suspect_until = s->now + SCHED_SUSPECT_MS;
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
    if (t->unloaded || m->conf.retired) { /* it was wanted gone: do not bring it back at once */
        loop_reject(s, t, ERR_UNLOADED, NULL);
        return;
    }
    if ((ev->sent ? t->retries++ : t->refusals++) > 0) {
        loop_reject(s, t, ERR_START, "the model died twice before it answered");
        return;
    }
    t->alone = s->kind != SCHED_KIND_SERIAL && (t->alone || ev->sent);
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

static void on_move(struct sched *s, const struct sched_event *ev)
{
    struct ticket *t = view_ticket(s, ev->ticket);
    struct smodel *m = view_model(s, ev->model);
    if (!t || t->state != TICKET_QUEUED || !m || m->self == t->model || m->conf.retired || m->frozen > 0 ||
        m->victim_of > 0)
        return;
    uint32_t limit = view_limit(s, m), place = t->place;
    if (limit > 0 && model_reserved(m) >= limit)
        return;
    dispatch_forget(s, t); /* what was held free for it was held for the other model */
    view_dequeue(s, t);
    t->model = m->self;
    t->alone = false; /* that was about the other one, too */
    view_enqueue(s, t);
    t->place = place; /* nobody in the line has moved */
    struct sched_action *a = loop_emit(s, SCHED_MOVED);
    a->ticket = t->id;
    a->model = t->model;
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
    if (m->state == MODEL_STOPPING &&
        m->stuck) { /* what was left of a failed start is gone at last */
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
        loop_note(s,
                  &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "crash" });
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

/* A crash that takes a moment. Nobody has asked for this stop (op 0): who needs its end asks for it, which may
 * shorten the grace. */
static void on_dying(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m || m->state != MODEL_READY)
        return;
    bool suspected = m->suspect_until != 0;
    m->op = m->first_stop = 0;
    m->stop_why = NULL;
    m->stop_by = s->now + m->conf.unload_grace_ms + SCHED_STOP_WATCH_MS + s->stop_slack_ms;
    loop_state(s, m, MODEL_STOPPING);
    loop_note(s, &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "crash" });
    s->walk_due = s->walk_due || suspected;
}

/* Also when nobody asked it to stop: a start failed, or its command ended, and something of it refuses to die. */
static void on_stuck(struct sched *s, const struct sched_event *ev)
{
    struct smodel *m = view_model(s, ev->model);
    if (!m || !model_alive(m) || m->stuck)
        return;
    if (m->state == MODEL_STOPPING ? !answers_stop(m, ev->swap)
                                   : ev->swap != 0 && ev->swap != m->op)
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
    struct unload_wait *u = mem_zalloc(sizeof(*u));
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
            loop_stop(s, m, ev->grace_ms > 0 ? ev->grace_ms : model_grace(s, m));
        loop_note(s,
                  &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "admin" });
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
    m->preload_seq = ++s->preload_seq;
}

static void on_drain(struct sched *s, const struct sched_event *ev)
{
    s->draining = true;
    s->drain_grace_ms = ev->grace_ms;
    LIST_FOREACH(it, &s->swaps)
    {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        struct smodel *m = s->models[sw->target];
        swap_dismiss(s, sw, ERR_SHUTDOWN, NULL);
        if (m->state == MODEL_STARTING)
            loop_stop(s, m, model_grace(s, m));
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

/* ---- all of them ---- */

void events_handle(struct sched *s, const struct sched_event *ev)
{
    switch (ev->kind) {
    case SCHED_ARRIVE:
        on_arrive(s, ev);
        break;
    case SCHED_CANCEL:
        on_cancel(s, ev);
        break;
    case SCHED_DONE:
        on_done(s, ev);
        break;
    case SCHED_RETRY:
        on_retry(s, ev);
        break;
    case SCHED_MOVE:
        on_move(s, ev);
        break;
    case SCHED_MODEL_UP:
        on_up(s, ev);
        break;
    case SCHED_MODEL_DOWN:
        on_down(s, ev);
        break;
    case SCHED_MODEL_DYING:
        on_dying(s, ev);
        break;
    case SCHED_MODEL_FAILED:
        on_failed(s, ev);
        break;
    case SCHED_MODEL_STUCK:
        on_stuck(s, ev);
        break;
    case SCHED_UNLOAD:
        on_unload(s, ev);
        break;
    case SCHED_RECYCLE:
        recycle_event(s, ev);
        break;
    case SCHED_PRELOAD:
        on_preload(s, ev);
        break;
    case SCHED_TICK:
        s->wish = MSEC_NEVER;
        s->walk_due = s->walk_due || (s->ops && !dispatch_classic(s)); /* the heartbeat of a policy */
        break;
    case SCHED_DRAIN:
        on_drain(s, ev);
        break;
    }
}

void events_sweep(struct sched *s)
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
