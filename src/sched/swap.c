/* The life of a load: drain the victims, stop them, start the target, hand it to who waits.
 *
 * A swap holds no process: it looks at model states and goes on when they allow it. So a late or lost result
 * cannot confuse it, and dropping it is always safe: what it had asked of processes goes on, and the next swap
 * finds the models as they are (runtime.md 4.4: ABORTING is "the next one waits for the stop"). */
#include "sched/loop.h"

#include "base/check.h"

struct ticket *swap_owner(const struct swap *sw)
{
    return list_empty(&sw->waiters) ? NULL : LIST_ENTRY(sw->waiters.next, struct ticket, link);
}

struct swap *swap_begin(struct sched *s, model_id target, struct ticket *owner, enum swap_by by,
                        const struct ops_plan *plan)
{
    struct smodel *m = s->models[target];
    ASSERT(!m->swap);
    struct swap *sw = mem_zalloc(sizeof(*sw));
    sw->id = s->next_id++;
    sw->target = target;
    sw->by = by;
    sw->evict = mem_calloc(s->n_models, sizeof(*sw->evict));
    sw->n_evict = plan->n_evict;
    sw->kill = plan->when == PLAN_KILL;
    sw->kill_at = s->now + plan->grace_ms;
    sw->started = s->now;
    list_init(&sw->waiters);
    list_push_back(&s->swaps, &sw->link);
    s->n_swaps++;
    for (size_t i = 0; i < plan->n_evict; i++) {
        sw->evict[i] = plan->evict[i];
        s->models[plan->evict[i]]->victim_of++;
    }
    m->swap = sw;
    m->preload = false;
    view_present(s, m);
    if (owner)
        view_wait(s, owner, sw);
    loop_note(s, &(struct sched_note){ .kind = NOTE_SWAP_START, .swap = sw, .model = target });
    s->advance_due = true;
    return sw;
}

static void drop(struct sched *s, struct swap *sw)
{
    ASSERT(list_empty(&sw->waiters));
    for (size_t i = 0; i < sw->n_evict; i++)
        s->models[sw->evict[i]]->victim_of--;
    struct smodel *m = s->models[sw->target];
    m->swap = NULL;
    view_present(s, m);
    list_remove(&sw->link);
    s->n_swaps--;
    s->walk_due = true;
    free(sw->evict);
    free(sw);
}

static void note_done(struct sched *s, const struct swap *sw, int code, const char *text)
{
    loop_note(
        s,
        &(struct sched_note){
            .kind = NOTE_SWAP_DONE, .swap = sw, .model = sw->target, .code = code, .text = text });
}

/* Under serial a failed load fails, beside its owner, those directly behind that want the same model (S-11);
 * under a policy all that wait for it; the classic loop has them among the waiters. */
static void fail_followers(struct sched *s, model_id target, int code, const char *text)
{
    struct smodel *m = s->models[target];
    if (dispatch_classic(s) || code != ERR_START)
        return;
    for (;;) {
        struct ticket *t = s->kind == SCHED_KIND_SERIAL ? line_ticket(queue_first(&s->line))
                                                        : model_ticket(queue_first(&m->queue));
        if (!t || t->model != target)
            return;
        view_dequeue(s, t);
        loop_reject(s, t, code, text);
    }
}

void swap_dismiss(struct sched *s, struct swap *sw, int code, const char *text)
{
    note_done(s, sw, code, text);
    struct ticket *t;
    while ((t = swap_owner(sw))) {
        view_unwait(s, t);
        loop_reject(s, t, code, text);
    }
    drop(s, sw);
}

void swap_fail(struct sched *s, struct swap *sw, int code, const char *text)
{
    model_id target = sw->target;
    bool owned = swap_owner(sw) != NULL;
    swap_dismiss(s, sw, code, text);
    if (owned || s->kind != SCHED_KIND_SERIAL)
        fail_followers(s, target, code, text);
}

void swap_abort(struct sched *s, struct swap *sw)
{
    struct smodel *m = s->models[sw->target];
    note_done(s, sw, ERR_CANCELLED, "aborted");
    drop(s, sw);
    if (m->state == MODEL_STARTING)
        loop_stop(s, m, m->conf.unload_grace_ms);
}

void swap_orphaned(struct sched *s, struct swap *sw)
{
    if (swap_owner(sw))
        return; /* somebody else waits for it */
    struct ticket *next;
    if (s->kind == SCHED_KIND_SERIAL) {
        next = line_ticket(queue_first(&s->line));
        if (!next)
            return; /* kept as a warm-up; adopted or aborted by the next arrival */
        if (next->model != sw->target)
            next = NULL;
    } else {
        next = model_ticket(queue_first(&s->models[sw->target]->queue));
        if (next ? dispatch_classic(s) : s->orphan == SCHED_ORPHAN_KEEP)
            return; /* classic: they are served by the walk at its end */
    }
    if (next) {
        view_dequeue(s, next);
        view_wait(s, next, sw);
    } else {
        swap_abort(s, sw);
    }
}

/* ---- going on ---- */

static bool victims_idle(const struct sched *s, const struct swap *sw)
{
    for (size_t i = 0; i < sw->n_evict; i++) {
        const struct smodel *v = s->models[sw->evict[i]];
        if (v->inflight == 0 || !model_alive(v))
            continue;
        if (!(sw->kill && v->conf.preemptible && s->now >= sw->kill_at))
            return false;
    }
    return true;
}

/* Serial: whatever else has a process is a victim, also what appeared meanwhile. */
static void relist_others(struct sched *s, struct swap *sw)
{
    for (size_t i = 0; i < sw->n_evict; i++)
        s->models[sw->evict[i]]->victim_of--;
    sw->n_evict = 0;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        struct smodel *v = LIST_ENTRY(it, struct smodel, present_link);
        if (v->self == sw->target || !model_alive(v))
            continue;
        sw->evict[sw->n_evict++] = v->self;
        v->victim_of++;
    }
}

/* True when all victims are gone. */
static bool stop_victims(struct sched *s, struct swap *sw)
{
    if (s->kind == SCHED_KIND_SERIAL)
        relist_others(s, sw);
    bool gone = true;
    for (size_t i = 0; i < sw->n_evict; i++) {
        struct smodel *v = s->models[sw->evict[i]];
        if (!model_alive(v))
            continue;
        gone = false;
        if (v->state != MODEL_STOPPING || v->stuck || v->op == 0)
            loop_stop(s, v, v->conf.unload_grace_ms);
    }
    return gone;
}

static void hand_over(struct sched *s, struct swap *sw)
{
    note_done(s, sw, 0, NULL);
    /* Classic: all that waited; else there is just the owner, granted before any new decision. */
    struct list ready;
    list_init(&ready);
    struct ticket *t;
    bool one_by_one = s->kind != SCHED_KIND_SERIAL && s->models[sw->target]->alone_wait + s->models[sw->target]->excluding > 0;
    while ((t = swap_owner(sw))) {
        view_unwait(s, t);
        if (one_by_one)
            view_enqueue(s, t); /* the line is looked at when the swap is gone */
        else
            list_push_back(&ready, &t->link);
    }
    drop(s, sw);
    LIST_FOREACH(it, &ready)
    {
        list_remove(it);
        loop_grant(s, LIST_ENTRY(it, struct ticket, link));
    }
}

static void advance(struct sched *s, struct swap *sw)
{
    struct smodel *m = s->models[sw->target];
    if (sw->stage == SWAP_DRAINING) {
        if (!victims_idle(s, sw))
            return;
        sw->stage = SWAP_STOPPING;
    }
    /* Under serial looked at each time: nothing may have come up beside the target. */
    if (sw->stage == SWAP_STOPPING || s->kind == SCHED_KIND_SERIAL) {
        sw->stage = SWAP_STOPPING;
        if (!stop_victims(s, sw))
            return;
        sw->stage = SWAP_STARTING;
    }
    switch (m->state) {
    case MODEL_STOPPED:
        loop_start(s, m, sw);
        return;
    case MODEL_READY:
        if (model_ready(s, m))
            hand_over(s, sw);
        return;
    case MODEL_STOPPING:
        if (m->stuck || m->op == 0)
            loop_stop(s, m, m->conf.unload_grace_ms);
        return;
    case MODEL_STARTING:
    case MODEL_SHUTDOWN:
        return;
    }
}

model_id sched_start_ahead(const struct sched *s)
{
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        if (sw->stage == SWAP_STOPPING && s->models[sw->target]->state == MODEL_STOPPED)
            return sw->target;
    }
    return MODEL_NONE;
}

void swap_advance_all(struct sched *s)
{
    while (s->advance_due) {
        s->advance_due = false;
        LIST_FOREACH(it, &s->swaps)
        advance(s, LIST_ENTRY(it, struct swap, link));
    }
}
