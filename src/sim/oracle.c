/* What may not happen, told from outside: by the oracle's own table of processes and tickets. */
#include "sim/world.h"

/* The promise `what` was broken; a and b are the numbers for its # in that order. */
void sim_broken(struct sim *m, const char *what, uint64_t a, uint64_t b)
{
    if (!m->rc)
        m->rc = error_set(m->e, ERR_INTERNAL, "at %lld ms: %s [%llu, %llu]", (long long)m->now,
                          what, (unsigned long long)a, (unsigned long long)b);
}

static bool must_go(const struct sched_model *t, const struct sched_model *o)
{
    if (o->pinned)
        return false;
    return o->group == t->group ? t->group_swap : t->group_exclusive && !o->group_persistent;
}

static bool serial(const struct sim *m)
{
    return m->conf.sched.kind == SCHED_KIND_SERIAL;
}

/* As the reference, what a later decision (of a group that pushes nobody out) brings up beside it may stay. */
void sim_watch_start(struct sim *m, const struct sched_action *a)
{
    const struct truth *t = &m->procs[a->model];
    if (t->state != MODEL_STOPPED)
        sim_broken(m, "START of model # whose process is in state #", a->model, t->state);
    if (t->frozen > 0)
        sim_broken(m, "START of model # while # recycles of it go on", a->model, t->frozen);
    for (size_t i = 0; i < m->n_procs; i++) {
        if (i == a->model || m->procs[i].state == MODEL_STOPPED)
            continue;
        if (serial(m))
            sim_broken(m, "serial: START of model # while # has a process", a->model, i);
        else if (!m->conf.sched.matrix && !m->reconfigured && m->procs[i].commit < t->commit &&
                 must_go(&m->models[a->model], &m->models[i]))
            sim_broken(m, "START of model # while #, which has to go for it, has a process",
                       a->model, i);
    }
}

void sim_watch_grant(struct sim *m, ticket_id id, model_id model)
{
    struct person *p = sim_person(m, id);
    if (!p->admitted || p->fate != F_WAITING)
        sim_broken(m, "GRANT of ticket #, which does not wait (#)", id, p->fate);
    if (m->procs[model].state == MODEL_STARTING ||
        (m->procs[model].state == MODEL_STOPPING && !m->procs[model].own_end))
        sim_broken(m, "GRANT of ticket # for a process in state #", id, m->procs[model].state);
    if (m->procs[model].frozen > 0)
        sim_broken(m, "GRANT of ticket # while # recycles of its model go on", id,
                   m->procs[model].frozen);
    if (p->r.model != model)
        sim_broken(m, "GRANT of ticket # for model #, which it did not ask for", id, model);
    for (size_t i = 0; i < m->active && !serial(m) && !m->kind_changed; i++) {
        const struct person *o = &m->people[m->active_ids[i]];
        if (o->r.model == model && !o->broke && (o->alone || p->alone))
            sim_broken(m, "GRANT of ticket # beside #, one of which is to be alone", id, m->active_ids[i]);
    }
    p->side_grant = p->r.side && m->arriving == id;
    if (!serial(m) || p->side_grant)
        return;
    if (m->active > m->active_side && !m->kind_changed)
        sim_broken(m, "serial: GRANT of ticket # beside # others", id, m->active);
    if (!p->granted_once) {
        if (id < m->last_served && !m->conf.sched.serial_reorder && !m->kind_changed)
            sim_broken(m, "serial: ticket # served after #, which came later", id, m->last_served);
        m->last_served = id;
    }
}

void sim_watch_end(struct sim *m, ticket_id id)
{
    struct person *p = sim_person(m, id);
    if (p->fate == F_ACTIVE || p->fate == F_ENDED || p->fate == F_NEW)
        sim_broken(m, "REJECT of ticket # in fate #", id, p->fate);
    p->fate = F_ENDED;
    if (p->admitted)
        m->procs[p->r.model].reserved--;
}

void sim_watch_admission(struct sim *m, ticket_id id, bool in, int code)
{
    const struct person *p = sim_person(m, id);
    if (m->kind_changed || p->r.model >= m->n_procs || m->models[p->r.model].retired || m->drained)
        return;
    uint32_t limit = m->models[p->r.model].limit;
    if (limit == 0 && !serial(m))
        limit = 10;
    if (limit == 0)
        return;
    size_t have = m->procs[p->r.model].reserved;
    if (in && have >= limit)
        sim_broken(m, "ticket # admitted over the limit #", id, limit);
    if (!in && code == ERR_BUSY && have < limit &&
        !(serial(m) && m->conf.sched.serial_max_queue > 0))
        sim_broken(m, "ticket # refused below the limit #", id, limit);
}

/* Nobody but an unload stops a process that serves; a request whose client left or that was cut may be forgotten, and
 * one of an earlier life whose end has not been told. */
void sim_watch_stop(struct sim *m, model_id model)
{
    if (m->procs[model].state != MODEL_READY || m->procs[model].may_cut || m->drained)
        return;
    for (size_t i = 0; i < m->active; i++)
        if (m->people[m->active_ids[i]].r.model == model && !m->people[m->active_ids[i]].broke)
            sim_broken(m, "STOP of model # under ticket #", model, m->active_ids[i]);
}
