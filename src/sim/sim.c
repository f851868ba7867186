#include "sim/sim.h"

#include "base/check.h"
#include "base/rand.h"

enum what { W_POST, W_ARRIVE, W_LEAVE, W_DONE, W_TICK, W_UNLOAD, W_CRASH, W_READY, W_START_FAILS, W_GONE, W_STUCK };

/* One thing that will happen. */
struct item {
    msec at;
    uint64_t order; /* equal times in the order they were planned */
    enum what what;
    struct sched_event ev; /* W_POST */
    model_id model;
    ticket_id ticket;
    uint64_t life; /* of the process or the grant that it is about: stale if another one began */
    model_id *models;
    size_t n_models;
    bool all, noise;
};

struct truth {
    struct sim_proc p;
    enum model_state state;
    uint64_t life;
    swap_id start_op, stop_op;
    msec report_at;  /* reports of one process arrive in order */
    uint64_t commit; /* when its load was decided, in order of decisions */
    size_t reserved; /* requests for it that the scheduler must count */
    bool dying_stuck;
    bool own_end; /* it began to end without being asked, nobody knows yet */
    bool may_cut; /* an unload or a shutdown takes it from under its requests */
};

enum fate { F_NEW, F_OUTSIDE, F_WAITING, F_ACTIVE, F_ENDED };

struct person {
    struct sim_request r;
    enum fate fate;
    bool admitted, left, granted_once, retry_on_its_way;
    msec arrived;
    uint64_t grants;
};

struct pending_unload {
    uint64_t op;
    bool open;
};

struct sim {
    struct sched *s;
    struct sim_conf conf;
    struct rand_state rand;
    struct sched_actions out;
    struct truth *procs;
    size_t n_procs;
    struct sched_model *models; /* what the oracle knows of groups and limits */
    struct person *people;      /* by ticket, dense from 1 */
    size_t n_people, cap_people;
    struct item *heap;
    size_t n_heap, cap_heap;
    uint64_t order;
    struct pending_unload *unloads;
    size_t n_unloads, cap_unloads;
    msec now;
    uint64_t tick_life;
    ticket_id last_served; /* serial: arrival order */
    ticket_id *active_ids;
    size_t active, cap_active;
    uint64_t commits;
    bool drained, kind_changed, reconfigured;
    struct sim_stats st;
    struct error *e;
    int rc;
    void (*on_event)(void *ctx, msec now, const struct sched_event *ev);
    void (*on_action)(void *ctx, msec now, const struct sched_action *a);
    void *ctx;
};

/* The promise `what` was broken; a and b are the numbers for its # in that order. */
static void broken(struct sim *m, const char *what, uint64_t a, uint64_t b)
{
    if (!m->rc)
        m->rc = error_set(m->e, ERR_INTERNAL, "at %lld ms: %s [%llu, %llu]", (long long)m->now, what,
                          (unsigned long long)a, (unsigned long long)b);
}

/* ---- the heap ---- */

static bool sooner(const struct item *a, const struct item *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static struct item *plan(struct sim *m, msec at, enum what what)
{
    if (m->n_heap == m->cap_heap) {
        m->cap_heap = m->cap_heap ? m->cap_heap * 2 : 64;
        m->heap = mem_resize(m->heap, m->cap_heap, sizeof(*m->heap));
    }
    struct item it = { .at = at > m->now ? at : m->now, .order = ++m->order, .what = what };
    size_t i = m->n_heap++;
    while (i > 0 && sooner(&it, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = it;
    return &m->heap[i];
}

static struct item pop(struct sim *m)
{
    struct item top = m->heap[0], last = m->heap[--m->n_heap];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= m->n_heap)
            break;
        if (c + 1 < m->n_heap && sooner(&m->heap[c + 1], &m->heap[c]))
            c++;
        if (!sooner(&m->heap[c], &last))
            break;
        m->heap[i] = m->heap[c];
        i = c;
    }
    m->heap[i] = last;
    return top;
}

/* ---- life ---- */

static void copy_models(struct sim *m, const struct sched_conf *c)
{
    size_t n = c->n_models > m->n_procs ? c->n_models : m->n_procs;
    m->procs = mem_resize(m->procs, n ? n : 1, sizeof(*m->procs));
    m->models = mem_resize(m->models, n ? n : 1, sizeof(*m->models));
    for (size_t i = m->n_procs; i < n; i++) {
        m->procs[i] = (struct truth){ .life = 1 };
        m->procs[i].p = m->conf.procs ? m->conf.procs[m->n_procs == 0 ? i : 0] : m->procs[0].p;
    }
    for (size_t i = 0; i < c->n_models; i++)
        m->models[i] = c->models[i];
    for (size_t i = c->n_models; i < n; i++)
        m->models[i].retired = true;
    m->n_procs = n;
}

static void on_note(void *ctx, const struct sched *s, const struct sched_note *n)
{
    struct sim *m = ctx;
    m->procs[n->model].commit = ++m->commits;
    m->st.swaps_begun++;
}

struct sim *sim_new(const struct sim_conf *conf)
{
    struct sim *m = mem_zalloc(sizeof(*m));
    m->conf = *conf;
    rand_seed(&m->rand, conf->seed ? conf->seed : 1);
    m->s = sched_new(&conf->sched);
    sched_observe(m->s, 1u << NOTE_SWAP_START, on_note, m);
    copy_models(m, &conf->sched);
    m->conf.procs = NULL; /* borrowed for this call only */
    return m;
}

void sim_free(struct sim *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_heap; i++)
        free(m->heap[i].models);
    sched_free(m->s);
    sched_actions_fini(&m->out);
    free(m->procs);
    free(m->models);
    free(m->people);
    free(m->heap);
    free(m->unloads);
    free(m->active_ids);
    free(m);
}

void sim_reconfigure(struct sim *m, const struct sched_conf *conf)
{
    m->reconfigured = true;
    m->kind_changed = m->kind_changed || conf->kind != m->conf.sched.kind;
    m->conf.sched = *conf;
    copy_models(m, conf);
    sched_reconfigure(m->s, conf);
    plan(m, m->now, W_POST)->ev = (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE };
}

void sim_set_proc(struct sim *m, model_id model, const struct sim_proc *p)
{
    if (model < m->n_procs)
        m->procs[model].p = *p;
}

void sim_watch(struct sim *m, void (*on_event)(void *ctx, msec now, const struct sched_event *ev),
               void (*on_action)(void *ctx, msec now, const struct sched_action *a), void *ctx)
{
    m->on_event = on_event;
    m->on_action = on_action;
    m->ctx = ctx;
}

msec sim_now(const struct sim *m)
{
    return m->now;
}

struct sched *sim_sched(struct sim *m)
{
    return m->s;
}

const struct sim_stats *sim_stats(const struct sim *m)
{
    return &m->st;
}

enum model_state sim_process(const struct sim *m, model_id model)
{
    return model < m->n_procs ? m->procs[model].state : MODEL_STOPPED;
}

size_t sim_alive(const struct sim *m)
{
    size_t n = 0;
    for (size_t i = 0; i < m->n_procs; i++)
        n += m->procs[i].state != MODEL_STOPPED;
    return n;
}

size_t sim_open(const struct sim *m)
{
    size_t n = 0;
    for (size_t i = 1; i < m->n_people; i++)
        n += m->people[i].fate == F_WAITING || m->people[i].fate == F_ACTIVE || m->people[i].fate == F_OUTSIDE;
    return n;
}

/* ---- planning from outside ---- */

static struct person *person(struct sim *m, ticket_id id)
{
    if (id >= m->n_people) {
        size_t need = (size_t)id + 1;
        if (need > m->cap_people) {
            m->cap_people = need * 2;
            m->people = mem_resize(m->people, m->cap_people, sizeof(*m->people));
        }
        memset(m->people + m->n_people, 0, (need - m->n_people) * sizeof(*m->people));
        m->n_people = need;
    }
    return &m->people[id];
}

void sim_arrive(struct sim *m, msec at, ticket_id id, const struct sim_request *r)
{
    ASSERT(id > 0 && id < 100u * 1000 * 1000);
    struct person *p = person(m, id);
    ASSERT(p->fate == F_NEW);
    p->r = *r;
    p->fate = F_OUTSIDE;
    plan(m, at, W_ARRIVE)->ticket = id;
    if (r->leaves_ms >= 0)
        sim_leave(m, at + r->leaves_ms, id);
}

void sim_leave(struct sim *m, msec at, ticket_id id)
{
    plan(m, at, W_LEAVE)->ticket = id;
}

void sim_unload(struct sim *m, msec at, const model_id *models, size_t n)
{
    struct item *it = plan(m, at, W_UNLOAD);
    it->all = models == NULL;
    it->models = mem_calloc(n + 1, sizeof(*it->models));
    it->n_models = n;
    if (n)
        memcpy(it->models, models, n * sizeof(*models));
}

void sim_crash(struct sim *m, msec at, model_id model)
{
    plan(m, at, W_CRASH)->model = model;
}

static void plan_event(struct sim *m, msec at, struct sched_event ev)
{
    plan(m, at, W_POST)->ev = ev;
}

void sim_preload(struct sim *m, msec at, model_id model, bool evict)
{
    plan_event(m, at, (struct sched_event){ .kind = SCHED_PRELOAD, .model = model, .evict = evict });
}

void sim_drain(struct sim *m, msec at)
{
    plan_event(m, at, (struct sched_event){ .kind = SCHED_DRAIN, .model = MODEL_NONE });
}

void sim_noise(struct sim *m, msec at, const struct sched_event *ev)
{
    struct sched_event copy = *ev;
    copy.text = STR_NONE;
    copy.models = NULL;
    copy.n_models = 0;
    struct item *it = plan(m, at, W_POST);
    it->ev = copy;
    it->noise = true;
}

/* ---- the oracle ---- */

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
static void watch_start(struct sim *m, const struct sched_action *a)
{
    const struct truth *t = &m->procs[a->model];
    if (t->state != MODEL_STOPPED)
        broken(m, "START of model # whose process is in state #", a->model, t->state);
    for (size_t i = 0; i < m->n_procs; i++) {
        if (i == a->model || m->procs[i].state == MODEL_STOPPED)
            continue;
        if (serial(m))
            broken(m, "serial: START of model # while # has a process", a->model, i);
        else if (!m->conf.sched.matrix && !m->reconfigured && m->procs[i].commit < t->commit &&
                 must_go(&m->models[a->model], &m->models[i]))
            broken(m, "START of model # while #, which has to go for it, has a process", a->model, i);
    }
}

static void watch_grant(struct sim *m, ticket_id id, model_id model)
{
    struct person *p = person(m, id);
    if (!p->admitted || p->fate != F_WAITING)
        broken(m, "GRANT of ticket #, which does not wait (#)", id, p->fate);
    if (m->procs[model].state == MODEL_STARTING ||
        (m->procs[model].state == MODEL_STOPPING && !m->procs[model].own_end))
        broken(m, "GRANT of ticket # for a process in state #", id, m->procs[model].state);
    if (p->r.model != model)
        broken(m, "GRANT of ticket # for model #, which it did not ask for", id, model);
    if (!serial(m))
        return;
    if (m->active > 0 && !m->kind_changed)
        broken(m, "serial: GRANT of ticket # beside # others", id, m->active);
    if (!p->granted_once) {
        if (id < m->last_served && !m->kind_changed)
            broken(m, "serial: ticket # served after #, which came later", id, m->last_served);
        m->last_served = id;
    }
}

static void watch_end(struct sim *m, ticket_id id)
{
    struct person *p = person(m, id);
    if (p->fate == F_ACTIVE || p->fate == F_ENDED || p->fate == F_NEW)
        broken(m, "REJECT of ticket # in fate #", id, p->fate);
    p->fate = F_ENDED;
    if (p->admitted)
        m->procs[p->r.model].reserved--;
}

static void watch_admission(struct sim *m, ticket_id id, bool in, int code)
{
    const struct person *p = person(m, id);
    if (m->kind_changed || p->r.model >= m->n_procs || m->models[p->r.model].retired || m->drained)
        return;
    uint32_t limit = m->models[p->r.model].limit;
    if (limit == 0 && !serial(m))
        limit = 10;
    if (limit == 0)
        return;
    size_t have = m->procs[p->r.model].reserved;
    if (in && have >= limit)
        broken(m, "ticket # admitted over the limit #", id, limit);
    if (!in && code == ERR_BUSY && have < limit && !(serial(m) && m->conf.sched.serial_max_queue > 0))
        broken(m, "ticket # refused below the limit #", id, limit);
}

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
    plan_event(m, at, ev);
}

static void plan_life(struct sim *m, msec at, enum what what, model_id model)
{
    uint64_t life = m->procs[model].life;
    struct item *it = plan(m, at, what);
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
    watch_start(m, a);
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

/* Nobody but an unload stops a process that serves; a request whose client left or that was cut may be forgotten. */
static void watch_stop(struct sim *m, model_id model)
{
    if (m->procs[model].state != MODEL_READY || m->procs[model].may_cut || m->drained)
        return;
    for (size_t i = 0; i < m->active; i++)
        if (m->people[m->active_ids[i]].r.model == model)
            broken(m, "STOP of model # under ticket #", model, m->active_ids[i]);
}

static void do_stop(struct sim *m, const struct sched_action *a)
{
    struct truth *t = &m->procs[a->model];
    watch_stop(m, a->model);
    m->st.stops++;
    t->stop_op = a->swap;
    if (t->state == MODEL_STOPPED) {
        report(m, a->model, SCHED_MODEL_DOWN, a->swap);
        return;
    }
    if (t->state == MODEL_STARTING)
        report(m, a->model, SCHED_MODEL_FAILED, t->start_op); /* aborted: the start is answered first */
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
        msec takes = chance(m, t->p.ignore_term) || t->p.stop_ms > a->grace_ms ? a->grace_ms : t->p.stop_ms;
        plan_life(m, m->now + takes, W_GONE, a->model);
    }
}

/* ---- clients ---- */

static void end_active(struct sim *m, ticket_id id, enum sched_ev_kind how)
{
    struct person *p = person(m, id);
    ASSERT(p->fate == F_ACTIVE);
    p->grants++; /* planned ends of this grant are stale */
    for (size_t i = 0; i < m->active; i++) {
        if (m->active_ids[i] == id) {
            m->active_ids[i] = m->active_ids[--m->active];
            break;
        }
    }
    p->retry_on_its_way = how == SCHED_RETRY;
    p->fate = how == SCHED_RETRY ? F_WAITING : F_ENDED;
    plan_event(m, m->now + jitter(m), (struct sched_event){ .kind = how, .ticket = id, .model = MODEL_NONE });
}

static void plan_done(struct sim *m, msec at, ticket_id id)
{
    uint64_t grant = person(m, id)->grants;
    struct item *it = plan(m, at, W_DONE);
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
        plan_done(m, m->now + jitter(m), m->active_ids[i]);
    }
}

static void do_grant(struct sim *m, ticket_id id, model_id model)
{
    watch_grant(m, id, model);
    struct person *p = person(m, id);
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
    struct person *p = person(m, a->ticket);
    if (!p->admitted)
        watch_admission(m, a->ticket, false, a->code);
    watch_end(m, a->ticket);
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
            broken(m, "unload # answered twice (#)", a->op, 0);
        m->unloads[i].open = false;
        return;
    }
    broken(m, "UNLOADED for unknown op # (#)", a->op, 0);
}

/* ---- performing ---- */

static void perform(struct sim *m, const struct sched_action *a)
{
    if (m->on_action)
        m->on_action(m->ctx, m->now, a);
    switch (a->kind) {
    case SCHED_ADMIT: {
        struct person *p = person(m, a->ticket);
        if (p->fate != F_OUTSIDE)
            broken(m, "ADMIT of ticket # in fate #", a->ticket, p->fate);
        watch_admission(m, a->ticket, true, 0);
        p->admitted = true;
        p->fate = F_WAITING;
        m->procs[p->r.model].reserved++;
        m->st.admitted++;
        break;
    }
    case SCHED_REJECT: do_reject(m, a); break;
    case SCHED_GRANT: do_grant(m, a->ticket, a->model); break;
    case SCHED_START: do_start(m, a); break;
    case SCHED_STOP: do_stop(m, a); break;
    case SCHED_ABORT_SERVE:
        m->st.cut++;
        if (person(m, a->ticket)->fate == F_ACTIVE)
            plan_done(m, m->now + jitter(m), a->ticket);
        break;
    case SCHED_POSITION:
        if (person(m, a->ticket)->fate != F_WAITING || a->n == 0)
            broken(m, "POSITION # for ticket #, which does not wait", a->n, a->ticket);
        break;
    case SCHED_WAKE_AT: {
        m->tick_life++;
        if (a->at == MSEC_NEVER)
            break;
        struct item *it = plan(m, a->at, W_TICK);
        it->life = m->tick_life;
        break;
    }
    case SCHED_UNLOADED: do_unloaded(m, a); break;
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
}

static void happen_arrive(struct sim *m, ticket_id id)
{
    struct person *p = person(m, id);
    if (p->left) {
        p->fate = F_ENDED;
        return;
    }
    p->arrived = m->now;
    m->st.arrived++;
    post(m, (struct sched_event){ .kind = SCHED_ARRIVE, .ticket = id, .model = p->r.model,
                                  .priority = p->r.priority, .want_positions = p->r.positions });
    p = person(m, id);
    if (p->fate == F_OUTSIDE)
        broken(m, "ticket # was neither admitted nor refused (#)", id, 0);
}

static void happen_leave(struct sim *m, ticket_id id)
{
    struct person *p = person(m, id);
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

static void happen_unload(struct sim *m, struct item *it)
{
    if (m->n_unloads == m->cap_unloads) {
        m->cap_unloads = m->cap_unloads ? m->cap_unloads * 2 : 16;
        m->unloads = mem_resize(m->unloads, m->cap_unloads, sizeof(*m->unloads));
    }
    uint64_t op = 1000 + m->n_unloads;
    m->unloads[m->n_unloads++] = (struct pending_unload){ op, true };
    m->st.unloads++;
    for (size_t i = 0; i < m->n_procs; i++)
        m->procs[i].may_cut = m->procs[i].may_cut || (it->all && m->procs[i].state != MODEL_STOPPED);
    for (size_t i = 0; i < it->n_models; i++)
        if (it->models[i] < m->n_procs && m->procs[it->models[i]].state != MODEL_STOPPED)
            m->procs[it->models[i]].may_cut = true;
    post(m, (struct sched_event){ .kind = SCHED_UNLOAD, .op = op, .model = MODEL_NONE,
                                  .models = it->all ? NULL : it->models, .n_models = it->n_models });
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
    default: break;
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

static void happen(struct sim *m, struct item *it)
{
    switch (it->what) {
    case W_POST:
        m->drained = m->drained || it->ev.kind == SCHED_DRAIN;
        if (!it->noise && (it->ev.kind == SCHED_DONE || it->ev.kind == SCHED_RETRY))
            arrive_end(m, &it->ev);
        post(m, it->ev);
        break;
    case W_ARRIVE: happen_arrive(m, it->ticket); break;
    case W_LEAVE: happen_leave(m, it->ticket); break;
    case W_DONE: {
        const struct person *p = person(m, it->ticket);
        if (p->fate == F_ACTIVE && p->grants == it->life) {
            m->st.served++;
            end_active(m, it->ticket, SCHED_DONE);
        }
        break;
    }
    case W_TICK:
        if (it->life == m->tick_life)
            post(m, (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE });
        break;
    case W_UNLOAD: happen_unload(m, it); break;
    case W_CRASH: happen_crash(m, it->model); break;
    case W_READY:
    case W_START_FAILS:
    case W_GONE:
    case W_STUCK: happen_process(m, it); break;
    }
}

int sim_run(struct sim *m, msec until, struct error *e)
{
    m->e = e;
    while (!m->rc && m->n_heap > 0 && m->heap[0].at <= until) {
        struct item it = pop(m);
        m->now = it.at;
        happen(m, &it);
    }
    if (until != SIM_FOREVER && until > m->now)
        m->now = until;
    m->e = NULL;
    return m->rc;
}

int sim_settled(const struct sim *m, struct error *e)
{
    for (ticket_id id = 1; id < m->n_people; id++) {
        const struct person *p = &m->people[id];
        if (p->fate == F_WAITING || (p->fate == F_ACTIVE && p->r.serve_ms != SIM_FOREVER))
            return error_set(e, ERR_INTERNAL, "at the end ticket %llu for model %u still %s", (unsigned long long)id,
                             p->r.model, p->fate == F_ACTIVE ? "is served" : "waits");
    }
    for (size_t i = 0; i < m->n_unloads; i++)
        if (m->unloads[i].open)
            return error_set(e, ERR_INTERNAL, "at the end unload %llu has no answer", (unsigned long long)m->unloads[i].op);
    if (sched_waiting(m->s) > 0)
        return error_set(e, ERR_INTERNAL, "at the end %zu wait in the scheduler", sched_waiting(m->s));
    return sched_check(m->s, e);
}
