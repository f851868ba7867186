/* Processes and clients as they behave towards the scheduler. */
#include "base/check.h"
#include "sim/world.h"

/* ---- processes ---- */

static msec jitter(struct sim *m)
{
    return m->conf.jitter_ms > 0 ? (msec)rand_below(&m->rand, (uint64_t)m->conf.jitter_ms + 1) : 0;
}

static bool chance(struct sim *m, unsigned permille)
{
    return permille > 0 && rand_below(&m->rand, 1000) < permille;
}

/* A report travels; those of one process keep their order. */
static void report(struct sim *m, model_id model, enum sched_ev_kind kind, swap_id swap)
{
    struct truth *t = &m->procs[model];
    msec at = m->now + jitter(m);
    if (at < t->report_at)
        at = t->report_at;
    t->report_at = at;
    struct sched_event ev = { .kind = kind, .model = model, .swap = swap };
    if (kind == SCHED_MODEL_FAILED)
        ev.text = S("health check timed out after 15s");
    sim_plan_event(m, at, ev);
}

static void plan_life(struct sim *m, msec at, enum what what, model_id model)
{
    uint64_t life = m->procs[model].life;
    struct item *it = sim_plan(m, at, what);
    it->model = model;
    it->life = life;
}

static void end_grants(struct sim *m, model_id model);

static void process_gone(struct sim *m, model_id model)
{
    struct truth *t = &m->procs[model];
    t->state = MODEL_STOPPED;
    t->life++;
    t->dying_stuck = t->may_cut = t->own_end = false;
    end_grants(m, model);
}

static void do_start(struct sim *m, const struct sched_action *a)
{
    sim_watch_start(m, a);
    struct truth *t = &m->procs[a->model];
    if (t->state != MODEL_STOPPED)
        return;
    t->state = MODEL_STARTING;
    t->life++;
    t->start_op = a->swap;
    m->st.starts++;
    m->st.load_total += t->p.start_ms;
    msec after = t->p.start_ms > 0 ? (msec)rand_below(&m->rand, (uint64_t)t->p.start_ms) : 0;
    if (chance(m, t->p.fail))
        plan_life(m, m->now + t->p.start_ms, W_START_FAILS, a->model);
    else if (chance(m, t->p.crash_starting))
        plan_life(m, m->now + after, W_START_FAILS, a->model);
    else
        plan_life(m, m->now + t->p.start_ms, W_READY, a->model);
}

static void do_stop(struct sim *m, const struct sched_action *a)
{
    struct truth *t = &m->procs[a->model];
    sim_watch_stop(m, a->model);
    m->st.stops++;
    t->stop_op = a->swap;
    if (t->state == MODEL_STOPPED) {
        report(m, a->model, SCHED_MODEL_DOWN, a->swap);
        return;
    }
    if (t->state == MODEL_STARTING)
        report(m, a->model, SCHED_MODEL_FAILED,
               t->start_op); /* aborted: the start is answered first */
    if (t->state == MODEL_STOPPING) {
        if (t->dying_stuck)
            plan_life(m, m->now + 1, W_STUCK, a->model);
        t->own_end = false;
        return;
    }
    t->state = MODEL_STOPPING;
    t->life++;
    if (chance(m, t->p.stuck)) {
        t->dying_stuck = true;
        plan_life(m, m->now + a->grace_ms + 5000, W_STUCK, a->model);
        plan_life(m, m->now + a->grace_ms + 5000 + t->p.stuck_ms, W_GONE, a->model);
    } else {
        msec takes =
            chance(m, t->p.ignore_term) || t->p.stop_ms > a->grace_ms ? a->grace_ms : t->p.stop_ms;
        plan_life(m, m->now + takes, W_GONE, a->model);
    }
}

/* ---- clients ---- */

static void end_active(struct sim *m, ticket_id id, enum sched_ev_kind how)
{
    struct person *p = sim_person(m, id);
    bool sent = how == SCHED_RETRY && p->broke, died = how == SCHED_DONE && p->broke;
    ASSERT(p->fate == F_ACTIVE);
    p->asked_again = p->asked_again || sent;
    p->alone = p->alone || sent;
    p->broke = false;
    p->grants++; /* planned ends of this grant are stale */
    for (size_t i = 0; i < m->active; i++) {
        if (m->active_ids[i] == id) {
            m->active_ids[i] = m->active_ids[--m->active];
            break;
        }
    }
    m->active_side -= p->side_grant;
    p->side_grant = false;
    p->retry_on_its_way = how == SCHED_RETRY;
    p->fate = how == SCHED_RETRY ? F_WAITING : F_ENDED;
    sim_plan_event(m, m->now + jitter(m),
                   (struct sched_event){ .kind = how, .ticket = id, .model = MODEL_NONE, .sent = sent, .died = died });
}

static void plan_done(struct sim *m, msec at, ticket_id id)
{
    uint64_t grant = sim_person(m, id)->grants;
    struct item *it = sim_plan(m, at, W_DONE);
    it->ticket = id;
    it->life = grant;
}

/* The process went away under its requests: the proxy sees the connections break. */
static void end_grants(struct sim *m, model_id model)
{
    for (size_t i = 0; i < m->active; i++) {
        if (m->people[m->active_ids[i]].r.model != model)
            continue;
        m->st.broken++;
        m->people[m->active_ids[i]].broke = true;
        plan_done(m, m->now + jitter(m), m->active_ids[i]);
    }
}

static void do_grant(struct sim *m, ticket_id id, model_id model)
{
    sim_watch_grant(m, id, model);
    struct person *p = sim_person(m, id);
    bool first = !p->granted_once;
    msec wait = m->now - p->arrived;
    if (first) {
        m->st.wait_total += wait;
        m->st.wait_max = wait > m->st.wait_max ? wait : m->st.wait_max;
    }
    p->fate = F_ACTIVE;
    p->granted_once = true;
    if (m->active == m->cap_active) {
        m->cap_active = m->cap_active ? m->cap_active * 2 : 16;
        m->active_ids = mem_resize(m->active_ids, m->cap_active, sizeof(*m->active_ids));
    }
    m->active_ids[m->active++] = id;
    m->active_side += p->side_grant;
    m->st.granted++;
    if (p->left) {
        end_active(m, id, SCHED_DONE);
    } else if (m->procs[model].state != MODEL_READY) {
        if (m->conf.dead_on_grant_retries && first) {
            m->st.retried++;
            end_active(m, id, SCHED_RETRY);
        } else {
            m->st.broken++;
            end_active(m, id, SCHED_DONE);
        }
    } else if (p->r.serve_ms != SIM_FOREVER) {
        plan_done(m, m->now + p->r.serve_ms, id);
    }
}

static void do_reject(struct sim *m, const struct sched_action *a)
{
    struct person *p = sim_person(m, a->ticket);
    if (!p->admitted)
        sim_watch_admission(m, a->ticket, false, a->code);
    sim_watch_end(m, a->ticket);
    if (p->admitted)
        m->st.failed++;
    else
        m->st.refused++;
}

static void do_unloaded(struct sim *m, const struct sched_action *a)
{
    for (size_t i = 0; i < m->n_unloads; i++) {
        if (m->unloads[i].op != a->op)
            continue;
        if (!m->unloads[i].open)
            sim_broken(m, "unload # answered twice (#)", a->op, 0);
        m->unloads[i].open = false;
        for (size_t k = 0; k < m->unloads[i].n_frozen; k++)
            m->procs[m->unloads[i].frozen[k]].frozen--;
        return;
    }
    sim_broken(m, "UNLOADED for unknown op # (#)", a->op, 0);
}

/* ---- performing ---- */

static void perform(struct sim *m, const struct sched_action *a)
{
    if (m->on_action)
        m->on_action(m->ctx, m->now, a);
    switch (a->kind) {
    case SCHED_ADMIT: {
        struct person *p = sim_person(m, a->ticket);
        if (p->fate != F_OUTSIDE)
            sim_broken(m, "ADMIT of ticket # in fate #", a->ticket, p->fate);
        sim_watch_admission(m, a->ticket, true, 0);
        p->admitted = true;
        p->fate = F_WAITING;
        m->procs[p->r.model].reserved++;
        m->st.admitted++;
        break;
    }
    case SCHED_REJECT:
        do_reject(m, a);
        break;
    case SCHED_GRANT:
        do_grant(m, a->ticket, a->model);
        break;
    case SCHED_START:
        do_start(m, a);
        break;
    case SCHED_STOP:
        do_stop(m, a);
        break;
    case SCHED_ABORT_SERVE:
        m->st.cut++;
        if (sim_person(m, a->ticket)->fate == F_ACTIVE)
            plan_done(m, m->now + jitter(m), a->ticket);
        break;
    case SCHED_MOVED: {
        struct person *p = sim_person(m, a->ticket);
        m->procs[p->r.model].reserved--;
        p->r.model = a->model;
        p->alone = false;
        m->st.moved++;
        m->procs[p->r.model].reserved++;
        break;
    }
    case SCHED_POSITION:
        if (sim_person(m, a->ticket)->fate != F_WAITING || a->n == 0)
            sim_broken(m, "POSITION # for ticket #, which does not wait", a->n, a->ticket);
        break;
    case SCHED_WAKE_AT: {
        m->tick_life++;
        if (a->at == MSEC_NEVER)
            break;
        struct item *it = sim_plan(m, a->at, W_TICK);
        it->life = m->tick_life;
        break;
    }
    case SCHED_UNLOADED:
        do_unloaded(m, a);
        break;
    }
}

static void post(struct sim *m, struct sched_event ev)
{
    ev.now = m->now;
    if (m->on_event)
        m->on_event(m->ctx, m->now, &ev);
    m->out.len = 0;
    sched_post(m->s, &ev, &m->out);
    m->st.events++;
    for (size_t i = 0; i < m->out.len; i++)
        perform(m, &m->out.at[i]);
    if (m->conf.check_all && !m->rc)
        m->rc = sched_check(m->s, m->e);
    if (m->after)
        m->after(m->after_ctx);
}

static void happen_arrive(struct sim *m, ticket_id id)
{
    struct person *p = sim_person(m, id);
    if (p->left) {
        p->fate = F_ENDED;
        return;
    }
    p->arrived = m->now;
    m->st.arrived++;
    m->arriving = id;
    post(m, (struct sched_event){ .kind = SCHED_ARRIVE,
                                  .ticket = id,
                                  .model = p->r.model,
                                  .priority = p->r.priority,
                                  .want_positions = p->r.positions,
                                  .side = p->r.side });
    m->arriving = 0;
    p = sim_person(m, id);
    if (p->fate == F_OUTSIDE)
        sim_broken(m, "ticket # was neither admitted nor refused (#)", id, 0);
}

static void happen_leave(struct sim *m, ticket_id id)
{
    struct person *p = sim_person(m, id);
    p->left = true;
    if (p->fate != F_WAITING && p->fate != F_ACTIVE)
        return;
    m->st.left++;
    if (p->fate == F_ACTIVE) {
        plan_done(m, m->now + jitter(m), id); /* the upstream request is aborted */
    } else {
        p->fate = F_ENDED;
        if (!p->retry_on_its_way)
            m->procs[p->r.model].reserved--;
    }
    post(m, (struct sched_event){ .kind = SCHED_CANCEL, .ticket = id, .model = MODEL_NONE });
}

static void may_cut(struct sim *m, model_id model)
{
    if (model < m->n_procs && m->procs[model].state != MODEL_STOPPED)
        m->procs[model].may_cut = true;
}

/* An unload, or a recycle: the same answer is owed. */
static void happen_unload(struct sim *m, struct item *it)
{
    if (m->n_unloads == m->cap_unloads) {
        m->cap_unloads = m->cap_unloads ? m->cap_unloads * 2 : 16;
        m->unloads = mem_resize(m->unloads, m->cap_unloads, sizeof(*m->unloads));
    }
    uint64_t op = 1000 + m->n_unloads;
    struct pending_unload *u = &m->unloads[m->n_unloads++];
    *u = (struct pending_unload){ .op = op, .open = true };
    m->st.unloads++;
    for (size_t i = 0; it->all && i < m->n_procs; i++)
        may_cut(m, (model_id)i);
    for (size_t i = 0; i < it->n_models; i++) {
        may_cut(m, it->models[i]);
        if (it->recycle && it->models[i] < m->n_procs) {
            m->procs[it->models[i]].frozen++;
            u->frozen[u->n_frozen++] = it->models[i];
        }
    }
    post(m, (struct sched_event){ .kind = it->recycle ? SCHED_RECYCLE : SCHED_UNLOAD,
                                  .op = op,
                                  .model = MODEL_NONE,
                                  .models = it->all ? NULL : it->models,
                                  .n_models = it->n_models,
                                  .grace_ms = it->recycle ? it->drain_ms : 0 });
    free(it->models);
}

/* The command has ended by itself, but something of it refuses to die: that is told after a while, and its end, if
 * nobody stops it before, as that of the start or as a crash. */
static bool lingers(struct sim *m, model_id model)
{
    struct truth *t = &m->procs[model];
    if (!chance(m, t->p.stuck))
        return false;
    if (t->state == MODEL_READY)
        t->start_op = 0; /* an end nobody asked for */
    t->state = MODEL_STOPPING;
    t->life++;
    t->stop_op = 0;
    t->own_end = t->dying_stuck = true;
    plan_life(m, m->now + 5000, W_STUCK, model);
    plan_life(m, m->now + 5000 + t->p.stuck_ms, W_GONE, model);
    return true;
}

static void happen_process(struct sim *m, const struct item *it)
{
    struct truth *t = &m->procs[it->model];
    if (t->life != it->life)
        return;
    switch (it->what) {
    case W_READY:
        t->state = MODEL_READY;
        report(m, it->model, SCHED_MODEL_UP, t->start_op);
        break;
    case W_START_FAILS:
        m->st.start_failures++;
        if (lingers(m, it->model))
            break;
        process_gone(m, it->model);
        report(m, it->model, SCHED_MODEL_FAILED, t->start_op);
        break;
    case W_GONE:
        process_gone(m, it->model);
        if (t->stop_op == 0 && t->start_op != 0)
            report(m, it->model, SCHED_MODEL_FAILED, t->start_op);
        else
            report(m, it->model, SCHED_MODEL_DOWN, t->stop_op);
        break;
    case W_STUCK:
        m->st.stuck++;
        report(m, it->model, SCHED_MODEL_STUCK, t->stop_op);
        break;
    default:
        break;
    }
}

static void happen_crash(struct sim *m, model_id model)
{
    if (model >= m->n_procs)
        return;
    struct truth *t = &m->procs[model];
    if (t->state == MODEL_STARTING) {
        m->st.start_failures++;
        process_gone(m, model);
        report(m, model, SCHED_MODEL_FAILED, t->start_op);
    } else if (t->state == MODEL_READY) {
        m->st.crashes++;
        end_grants(m, model);
        if (lingers(m, model))
            return;
        process_gone(m, model);
        report(m, model, SCHED_MODEL_DOWN, 0);
    }
}

/* The end of a grant reaches the scheduler: now it may count it off. */
static void arrive_end(struct sim *m, const struct sched_event *ev)
{
    if (ev->ticket == 0 || ev->ticket >= m->n_people)
        return;
    struct person *p = &m->people[ev->ticket];
    if (ev->kind == SCHED_DONE || p->left)
        m->procs[p->r.model].reserved--;
    p->retry_on_its_way = false;
}

void sim_happen(struct sim *m, struct item *it)
{
    switch (it->what) {
    case W_POST:
        m->drained = m->drained || it->ev.kind == SCHED_DRAIN;
        if (!it->noise && (it->ev.kind == SCHED_DONE || it->ev.kind == SCHED_RETRY))
            arrive_end(m, &it->ev);
        post(m, it->ev);
        break;
    case W_ARRIVE:
        happen_arrive(m, it->ticket);
        break;
    case W_LEAVE:
        happen_leave(m, it->ticket);
        break;
    case W_DONE: {
        const struct person *p = sim_person(m, it->ticket);
        if (p->fate == F_ACTIVE && p->grants == it->life && p->broke && !p->left && !p->asked_again &&
            m->conf.dead_on_grant_retries && rand_below(&m->rand, 2) == 0) {
            m->st.retried++;
            end_active(m, it->ticket, SCHED_RETRY);
        } else if (p->fate == F_ACTIVE && p->grants == it->life) {
            m->st.served++;
            end_active(m, it->ticket, SCHED_DONE);
        }
        break;
    }
    case W_TICK:
        if (it->life == m->tick_life)
            post(m, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
        break;
    case W_UNLOAD:
        happen_unload(m, it);
        break;
    case W_CRASH:
        happen_crash(m, it->model);
        break;
    case W_READY:
    case W_START_FAILS:
    case W_GONE:
    case W_STUCK:
        happen_process(m, it);
        break;
    }
}
