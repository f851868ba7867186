#include "sim/sim.h"

#include "base/check.h"
#include "sim/world.h"

/* ---- the heap ---- */

static bool sooner(const struct item *a, const struct item *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

struct item *sim_plan(struct sim *m, msec at, enum what what)
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
    sim_plan(m, m->now, W_POST)->ev =
        (struct sched_event){ .kind = SCHED_TICK, .model = MODEL_NONE };
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

void sim_after(struct sim *m, void (*fn)(void *ctx), void *ctx)
{
    m->after = fn;
    m->after_ctx = ctx;
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
        n += m->people[i].fate == F_WAITING || m->people[i].fate == F_ACTIVE ||
             m->people[i].fate == F_OUTSIDE;
    return n;
}

/* ---- planning from outside ---- */

struct person *sim_person(struct sim *m, ticket_id id)
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
    struct person *p = sim_person(m, id);
    ASSERT(p->fate == F_NEW);
    p->r = *r;
    p->fate = F_OUTSIDE;
    sim_plan(m, at, W_ARRIVE)->ticket = id;
    if (r->leaves_ms >= 0)
        sim_leave(m, at + r->leaves_ms, id);
}

void sim_leave(struct sim *m, msec at, ticket_id id)
{
    sim_plan(m, at, W_LEAVE)->ticket = id;
}

void sim_unload(struct sim *m, msec at, const model_id *models, size_t n)
{
    struct item *it = sim_plan(m, at, W_UNLOAD);
    it->all = models == NULL;
    it->models = mem_calloc(n + 1, sizeof(*it->models));
    it->n_models = n;
    if (n)
        memcpy(it->models, models, n * sizeof(*models));
}

void sim_recycle(struct sim *m, msec at, const model_id *models, size_t n, msec drain_ms)
{
    ASSERT(n <= 32);
    sim_unload(m, at, models, n);
    for (size_t i = 0; i < m->n_heap; i++) {
        if (m->heap[i].order != m->order)
            continue;
        m->heap[i].recycle = true;
        m->heap[i].all = false;
        m->heap[i].drain_ms = drain_ms;
    }
}

void sim_crash(struct sim *m, msec at, model_id model)
{
    sim_plan(m, at, W_CRASH)->model = model;
}

void sim_plan_event(struct sim *m, msec at, struct sched_event ev)
{
    sim_plan(m, at, W_POST)->ev = ev;
}

void sim_preload(struct sim *m, msec at, model_id model, bool evict)
{
    sim_plan_event(m, at,
                   (struct sched_event){ .kind = SCHED_PRELOAD, .model = model, .evict = evict });
}

void sim_move(struct sim *m, msec at, ticket_id id, model_id model)
{
    sim_plan_event(m, at, (struct sched_event){ .kind = SCHED_MOVE, .ticket = id, .model = model });
}

void sim_drain(struct sim *m, msec at)
{
    sim_plan_event(m, at, (struct sched_event){ .kind = SCHED_DRAIN, .model = MODEL_NONE });
}

void sim_noise(struct sim *m, msec at, const struct sched_event *ev)
{
    struct sched_event copy = *ev;
    copy.text = STR_NONE;
    copy.models = NULL;
    copy.n_models = 0;
    struct item *it = sim_plan(m, at, W_POST);
    it->ev = copy;
    it->noise = true;
}

/* ---- running ---- */

int sim_run(struct sim *m, msec until, struct error *e)
{
    m->e = e;
    while (!m->rc && m->n_heap > 0 && m->heap[0].at <= until) {
        struct item it = pop(m);
        m->now = it.at;
        sim_happen(m, &it);
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
            return error_set(e, ERR_INTERNAL, "at the end ticket %llu for model %u still %s",
                             (unsigned long long)id, p->r.model,
                             p->fate == F_ACTIVE ? "is served" : "waits");
    }
    for (size_t i = 0; i < m->n_unloads; i++)
        if (m->unloads[i].open)
            return error_set(e, ERR_INTERNAL, "at the end unload %llu has no answer",
                             (unsigned long long)m->unloads[i].op);
    if (sched_waiting(m->s) > 0)
        return error_set(e, ERR_INTERNAL, "at the end %zu wait in the scheduler",
                         sched_waiting(m->s));
    return sched_check(m->s, e);
}
