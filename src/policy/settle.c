/* After the event: buffered actions go to the host, ejected policies go, a changed row takes over. And time. */
#include "policy/priv.h"

#include <stdio.h>

/* ---- settling ---- */

bool policies_unsettled(const struct policies *ps)
{
    return ps->n_pending > 0 || ps->row_stale || ps->kick;
}

static bool may_unload(const struct policies *ps, model_id m, bool drain)
{
    const struct smodel *s = view_model(ps->sched, m);
    return s && s->state == MODEL_READY && !s->swap && s->victim_of == 0 && s->inflight == 0 &&
           !s->conf.pinned && !s->conf.group_persistent && (drain || !s->queue.root);
}

static void unload(struct policies *ps, model_id m, const char *by)
{
    snprintf(ps->models[m].unload_by, sizeof(ps->models[m].unload_by), "%s", by);
    ps->models[m].unload_when_idle = false;
    if (ps->host->unload)
        ps->host->unload(ps->host->ud, m, by);
}

static void perform(struct policies *ps, struct action *a)
{
    const struct policy_host *h = ps->host;
    if (a->kind != ACT_KICK && a->kind != ACT_CANCEL && (!ps->sched || a->model >= ps->n_models))
        return;
    switch (a->kind) {
    case ACT_PRELOAD:
        if (h->preload && ps->models[a->model].quarantined_until <= ps->now)
            h->preload(h->ud, a->model, a->evict, a->why);
        break;
    case ACT_UNLOAD:
        if (may_unload(ps, a->model, a->drain))
            unload(ps, a->model, a->by->name);
        else if (a->drain)
            ps->models[a->model].unload_when_idle = ps->any_unload = true;
        break;
    case ACT_KICK: ps->kick = true; break;
    case ACT_QUARANTINE:
        ps->models[a->model].quarantined_until = ps->now + a->ms;
        if (!ps->any_quarantine)
            ps->row_stale = true;
        ps->any_quarantine = true;
        ps->kick = true;
        break;
    case ACT_CANCEL: {
        const struct preq *r = preq_by_id(ps, a->request);
        const struct ticket *t = r ? preq_ticket(r) : NULL;
        if (t && t->state == TICKET_QUEUED && h->cancel)
            h->cancel(h->ud, t->id, a->refusal);
        break;
    }
    }
    static const char *const names[] = { "preload", "unload", "kick", "quarantine", "cancel" };
    ops_note_decision(ps, a->by, POLICY_TICK, 'p', a->request, a->model, "%s", names[a->kind]);
}

static void finish_ejected(struct policies *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_EJECTED || !p->L)
            continue;
        eject_make_dump(p, true);
        if (ps->host->log)
            ps->host->log(ps->host->ud, POLICY_LOG_WARN, p->name, p->dump.ptr ? p->dump.ptr : "");
        task_cancel_all(p);
        vm_close(p);
        p->mem_used = 0;
        if (p->conf.on_eject == CONFIG_EJECT_EXIT && ps->host->exit)
            ps->host->exit(ps->host->ud, p->name);
    }
}

void policies_settle_now(struct policies *ps, msec now)
{
    if (ps->settling)
        return;
    ps->settling = true;
    ps->now = now;
    for (int round = 0; round < 8 && policies_unsettled(ps); round++) {
        if (ps->row_stale) {
            ps->row_stale = false;
            finish_ejected(ps);
            ops_rebuild(ps);
            ops_apply(ps);
        }
        size_t n = ps->n_pending;
        for (size_t i = 0; i < n; i++) {
            struct action a = ps->pending[i];
            perform(ps, &a);
            free(a.refusal);
        }
        ps->n_pending -= n;
        if (n > 0)
            memmove(ps->pending, ps->pending + n, ps->n_pending * sizeof(*ps->pending));
        if (ps->kick) {
            ps->kick = false;
            if (ps->host->kick)
                ps->host->kick(ps->host->ud);
        }
    }
    ps->settling = false;
}

/* ---- time ---- */

static int push_now(lua_State *L, struct call *c)
{
    lua_pushnumber(L, (double)c->p->ps->now / 1000);
    return 1;
}

static void unloads_due(struct policies *ps)
{
    bool left = false;
    for (size_t i = 0; i < ps->n_models; i++) {
        if (!ps->models[i].unload_when_idle)
            continue;
        const struct smodel *m = view_model(ps->sched, (model_id)i);
        if (!m || m->state != MODEL_READY)
            ps->models[i].unload_when_idle = false;
        else if (may_unload(ps, (model_id)i, false))
            unload(ps, (model_id)i, "policy");
        left = left || ps->models[i].unload_when_idle;
    }
    ps->any_unload = left;
}

void policies_tick(struct policies *ps, msec now)
{
    if (!ps)
        return;
    ps->now = now;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE || !(p->present & 1u << POLICY_TICK) || now < p->next_tick)
            continue;
        p->next_tick = now + (msec)(p->tick_interval_s * 1000);
        struct call c = { .hook = POLICY_TICK, .push = push_now };
        gate_call(p, &c);
    }
    task_tick(ps, now);
    if (ps->any_unload && ps->sched)
        unloads_due(ps);
    policies_settle(ps, now);
    eject_due(ps, now);
    state_due(ps, false);
    policies_settle(ps, now);
}

uint64_t policies_plan(const struct policies *ps)
{
    return ps->stamp; /* hooks set timers and make garbage */
}

msec policies_next(const struct policies *ps)
{
    msec next = MSEC_NEVER;
    if (!ps)
        return next;
    for (size_t i = 0; i < ps->n; i++) {
        const struct policy *p = ps->at[i];
        msec at = p->state == PS_EJECTED ? p->retry_at : MSEC_NEVER;
        if (p->state == PS_ACTIVE) {
            at = task_next(p);
            if ((p->present & 1u << POLICY_TICK) && p->next_tick < at)
                at = p->next_tick;
            if (p->conf.state_file.len && p->next_save < at)
                at = p->next_save;
            /* Its garbage waits for a turn of the loop with nothing else to do; a simulator collects by itself. */
            if (!ps->conf.virtual_time && ps->now < at && vm_gc_owed(p))
                at = ps->now;
        }
        next = at < next ? at : next;
    }
    if (ps->any_unload && ps->now + 250 < next)
        next = ps->now + 250;
    return next;
}

void policies_idle(struct policies *ps, unsigned budget_us)
{
    for (size_t i = 0; ps && i < ps->n; i++)
        vm_gc_idle(ps->at[i], (uint64_t)budget_us * 1000);
}
