/* What happens because time passes: idle unload, cut requests, ends of waiting. */
#include "sched/loop.h"

#include <stdio.h>

void ttl_idle(struct sched *s, struct smodel *m)
{
    msec ttl = m->conf.pinned ? 0 : m->conf.ttl_ms;
    const struct policy_ops *row = s->ops;
    msec own;
    if (row && !s->stalled && row->idle_ttl &&
        row->idle_ttl(s->ops_ctx, s, m->self, &own) == OPS_VALUE)
        ttl = own < 0 ? 0 : own;
    m->idle_ttl_ms = ttl;
}

/* Nobody uses it, nobody wants it and nobody is about to stop it. */
static bool may_expire(const struct smodel *m)
{
    return m->state == MODEL_READY && m->idle_ttl_ms > 0 && m->inflight == 0 && !m->swap &&
           m->victim_of == 0 && !m->queue.root;
}

static void abort_serves(struct sched *s)
{
    LIST_FOREACH(it, &s->guarded)
    {
        struct ticket *t = LIST_ENTRY(it, struct ticket, guarded);
        if (s->now < t->abort_at)
            continue;
        struct sched_action *a = loop_emit(s, SCHED_ABORT_SERVE);
        a->ticket = t->id;
        a->model = t->model;
        snprintf(a->text, sizeof(a->text), "%s", t->abort_why);
        view_unguard(t);
        t->aborted = true; /* its DONE follows; once is enough */
    }
}

/* A stop that nobody answered in time. */
static struct smodel *overdue(const struct sched *s)
{
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->state == MODEL_STOPPING && !m->stuck && s->now >= m->stop_by)
            return m;
    }
    return NULL;
}

void ttl_due(struct sched *s)
{
    abort_serves(s);
    struct smodel *late;
    while ((late = overdue(s)))
        loop_stuck(s, late);
    LIST_FOREACH(it, &s->present)
    {
        struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->suspect_until != 0 && s->now >= m->suspect_until) {
            m->suspect_until = 0;
            s->walk_due = s->advance_due = true;
        }
        recycle_due(s, m);
        if (!s->draining && may_expire(m) && s->now - m->last_used >= m->idle_ttl_ms) {
            loop_stop(s, m, m->conf.unload_grace_ms);
            loop_note(s,
                      &(struct sched_note){ .kind = NOTE_UNLOAD, .model = m->self, .text = "ttl" });
        }
    }
    LIST_FOREACH(it, &s->swaps)
    {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        if (sw->kill && sw->stage == SWAP_DRAINING && s->now >= sw->kill_at)
            s->advance_due = true;
    }
    if (s->now >= s->hold_until) {
        s->hold_until = MSEC_NEVER;
        s->walk_due = true;
    }
    /* Somebody's patience ended: look at the line for his sake. */
    msec wait = dispatch_patience(s);
    if (wait > 0 && s->reserved_for == 0 && !list_empty(&s->by_age) &&
        s->now - LIST_ENTRY(s->by_age.next, struct ticket, by_age)->arrived >= wait)
        s->walk_due = true;
}

static void earlier(msec *next, msec at)
{
    if (at < *next)
        *next = at;
}

msec ttl_next(const struct sched *s)
{
    msec next = MSEC_NEVER;
    for (struct list *it = s->guarded.next; it != &s->guarded; it = it->next)
        earlier(&next, LIST_ENTRY(it, struct ticket, guarded)->abort_at);
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (m->suspect_until != 0)
            earlier(&next, m->suspect_until);
        if (m->recycle_by != 0)
            earlier(&next, m->recycle_by);
        if (m->state == MODEL_STOPPING && !m->stuck)
            earlier(&next, m->stop_by);
        if (!s->draining && may_expire(m))
            earlier(&next, m->last_used + m->idle_ttl_ms);
    }
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        if (sw->kill && sw->stage == SWAP_DRAINING && sw->kill_at > s->now)
            earlier(&next, sw->kill_at);
    }
    if (!s->line.root)
        return next;
    if (s->backoff_until > s->now)
        earlier(&next, s->backoff_until);
    earlier(&next, s->hold_until);
    if (s->ops)
        earlier(&next, s->now + SCHED_HEARTBEAT_MS);
    msec wait = dispatch_patience(s);
    msec aged = LIST_ENTRY(s->by_age.next, struct ticket, by_age)->arrived + wait;
    if (wait > 0 && aged > s->now)
        earlier(&next, aged);
    return next;
}
