/* The invariants as a function: the oracle of the specs and of the fuzzer, the safety net of debug builds. */
#include "sched/loop.h"

#define RULE(cond, ...)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return error_set(e, ERR_INTERNAL, __VA_ARGS__);                                        \
    } while (0)
#define ULL(x) (unsigned long long)(x)

/* Each ticket stands in exactly the place that its state names, and the sums are right. */
static int check_tickets(const struct sched *s, struct error *e)
{
    size_t n = 0, queued = 0, waiting = 0, active = 0, before = 0, side = 0;
    for (size_t i = 0; s->buckets && i <= s->mask; i++) {
        for (const struct ticket *t = s->buckets[i]; t; t = t->hash_next) {
            n++;
            RULE(t->model < s->n_models, "ticket %llu: unknown model", ULL(t->id));
            const struct smodel *m = s->models[t->model];
            RULE(t->state != TICKET_NEW, "ticket %llu is nowhere", ULL(t->id));
            RULE((t->state == TICKET_QUEUED) == t->in_line.in, "ticket %llu: line", ULL(t->id));
            RULE((t->state == TICKET_QUEUED) == t->in_model.in, "ticket %llu: line of its model",
                 ULL(t->id));
            RULE((t->state == TICKET_WAITING) == (t->swap != NULL), "ticket %llu: swap",
                 ULL(t->id));
            RULE(!t->swap || t->swap == m->swap, "ticket %llu waits for a foreign swap",
                 ULL(t->id));
            RULE(list_linked(&t->guarded) == (t->abort_at != MSEC_NEVER), "ticket %llu: guard",
                 ULL(t->id));
            RULE(t->state == TICKET_ACTIVE || t->abort_at == MSEC_NEVER,
                 "ticket %llu: guarded but not active", ULL(t->id));
            RULE(t->state != TICKET_QUEUED || !t->want_positions ||
                     t->place == queue_rank(&t->in_line),
                 "ticket %llu was told place %u, it is %llu", ULL(t->id), t->place,
                 ULL(queue_rank(&t->in_line)));
            queued += t->state == TICKET_QUEUED;
            waiting += t->state == TICKET_WAITING;
            active += t->state == TICKET_ACTIVE;
            before += t->state == TICKET_ACTIVE && t->before_serial;
            side += t->side;
            RULE(!t->side || t->state == TICKET_ACTIVE, "ticket %llu: on the side and not active",
                 ULL(t->id));
        }
    }
    RULE(n == s->n_tickets, "number of tickets");
    RULE(queued == queue_len(&s->line), "length of the line");
    RULE(waiting == s->n_waiting, "number of waiters");
    RULE(active == s->inflight, "number in flight");
    RULE(before == s->before_serial, "number from before serial");
    RULE(side == s->n_side, "number on the side");
    RULE(queue_ok(&s->line), "order of the line");
    RULE(!s->draining || queued + waiting == 0, "somebody waits while draining");
    return 0;
}

static int check_model(const struct sched *s, const struct smodel *m, struct error *e)
{
    size_t active = 0, victim_of = 0;
    for (struct list *it = m->active.next; it != &m->active; it = it->next)
        active++;
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        for (size_t i = 0; i < sw->n_evict; i++)
            victim_of += sw->evict[i] == m->self;
    }
    size_t excluding = 0, alone_wait = 0;
    for (struct list *it = m->active.next; it != &m->active; it = it->next)
        excluding += LIST_ENTRY(it, struct ticket, link)->excludes;
    for (struct qnode *n = queue_first(&m->queue); n; n = queue_next(n))
        alone_wait += model_ticket(n)->alone;
    for (struct list *it = m->swap ? m->swap->waiters.next : NULL; it && it != &m->swap->waiters; it = it->next)
        alone_wait += LIST_ENTRY(it, struct ticket, link)->alone;
    RULE(excluding == m->excluding && alone_wait == m->alone_wait, "model %u: number of those alone", m->self);
    RULE(active == m->inflight, "model %u: number in flight", m->self);
    RULE(victim_of == m->victim_of, "model %u: victim of %u", m->self, m->victim_of);
    RULE(queue_ok(&m->queue), "model %u: order of its line", m->self);
    RULE(list_linked(&m->waiting_link) == (m->queue.root != NULL),
         "model %u: list of those waited for", m->self);
    RULE(m->present == (model_alive(m) || m->swap), "model %u: present", m->self);
    RULE(list_linked(&m->present_link) == m->present, "model %u: list of those present", m->self);
    RULE(!m->stuck || m->state == MODEL_STOPPING, "model %u: stuck and %s", m->self,
         model_state_name(m->state));
    RULE(m->state != MODEL_STOPPED || m->op == 0, "model %u: stopped with an open order", m->self);
    RULE(!m->swap || m->swap->target == m->self, "model %u: its swap loads another", m->self);
    RULE(!m->swap || m->frozen == 0, "model %u is loaded while it may not be", m->self);
    RULE(!m->swap || !s->draining, "model %u is loaded while draining", m->self);
    return 0;
}

static int check_models(const struct sched *s, struct error *e)
{
    for (size_t i = 0; i < s->n_models; i++) {
        int rc = check_model(s, s->models[i], e);
        if (rc)
            return rc;
    }
    const struct smodel *prev = NULL;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        RULE(!prev || prev->rank < m->rank, "order of those present");
        prev = m;
    }
    return 0;
}

static int check_swaps(const struct sched *s, struct error *e)
{
    size_t n = 0;
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        const struct swap *sw = LIST_ENTRY(it, struct swap, link);
        const struct smodel *m = s->models[sw->target];
        n++;
        RULE(m->swap == sw, "swap %llu is not known to its target", ULL(sw->id));
        for (size_t i = 0; i < sw->n_evict; i++) {
            const struct smodel *v = s->models[sw->evict[i]];
            RULE(v != m, "swap %llu stops its own target", ULL(sw->id));
            RULE(!v->swap, "swap %llu stops a model that is being loaded", ULL(sw->id));
            RULE(s->kind == SCHED_KIND_SERIAL || v->victim_of == 1, "two swaps stop model %u",
                 v->self);
            RULE(sw->stage != SWAP_STOPPING || !model_alive(v) || v->state == MODEL_STOPPING,
                 "swap %llu: victim %u is not being stopped", ULL(sw->id), v->self);
            RULE(sw->stage != SWAP_STARTING || !model_alive(v),
                 "swap %llu: victim %u outlived its stop", ULL(sw->id), v->self);
        }
        /* A load that has everything it needs must be under way, or it would wait for ever. */
        RULE(sw->stage != SWAP_STARTING || m->state == MODEL_STARTING ||
                 (m->state == MODEL_STOPPING && !m->stuck) ||
                 (m->state == MODEL_READY && m->suspect_until > s->now),
             "swap %llu waits for a %s model", ULL(sw->id), model_state_name(m->state));
    }
    RULE(n == s->n_swaps, "number of swaps");
    return 0;
}

static int check_serial(const struct sched *s, struct error *e)
{
    if (s->kind != SCHED_KIND_SERIAL)
        return 0;
    RULE(s->inflight - s->before_serial - s->n_side <= 1, "serial: %llu requests in service",
         ULL(s->inflight));
    RULE(s->n_swaps <= 1, "serial: %llu swaps", ULL(s->n_swaps));
    RULE(s->n_swaps == 0 || s->inflight == s->n_side, "serial: a load beside a request");
    for (size_t i = 0; i < s->n_models; i++) {
        const struct smodel *m = s->models[i];
        if (m->state != MODEL_STARTING || !m->swap || m->op != m->swap->start_op)
            continue;
        RULE(view_running(s, m->self, true, s->scratch_check) == 0,
             "serial: model %u starts beside another", m->self);
    }
    return 0;
}

/* Nobody may wait on a machine that does nothing. */
static int check_work(const struct sched *s, struct error *e)
{
    if (!s->line.root || s->draining)
        return 0;
    if (s->inflight > 0 || s->n_swaps > 0 || s->now < s->backoff_until ||
        s->hold_until != MSEC_NEVER)
        return 0;
    if (dispatch_classic(s)) {
        if (!list_empty(&s->unloads))
            return 0; /* the line is walked when it ends */
        for (struct list *it = s->present.next; it != &s->present; it = it->next)
            if (LIST_ENTRY(it, struct smodel, present_link)->suspect_until > s->now)
                return 0;
    }
    if (s->kind == SCHED_KIND_SERIAL) { /* the first one may hold up the others */
        const struct smodel *m = s->models[line_ticket(queue_first(&s->line))->model];
        if (m->frozen > 0 || m->suspect_until > s->now)
            return 0;
    }
    for (struct list *it = s->waiting.next; it != &s->waiting; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, waiting_link);
        RULE(m->suspect_until > s->now || m->frozen > 0,
             "somebody waits for model %u on an idle machine", m->self);
    }
    return 0;
}

int sched_check(const struct sched *s, struct error *e)
{
    RULE(!s->broken[0], "%s", s->broken);
    int rc = check_tickets(s, e);
    if (!rc)
        rc = check_models(s, e);
    if (!rc)
        rc = check_swaps(s, e);
    if (!rc)
        rc = check_serial(s, e);
    if (!rc)
        rc = check_work(s, e);
    if (rc)
        return rc;
    msec next = ttl_next(s);
    RULE(next == MSEC_NEVER || s->wish <= next || s->wish <= s->now + 1,
         "no wake-up for what is due next");
    for (struct list *it = s->unloads.next; it != &s->unloads; it = it->next) {
        const struct unload_wait *u = LIST_ENTRY(it, struct unload_wait, link);
        RULE(u->n_left > 0, "unload %llu has ended", ULL(u->op));
        for (size_t i = 0; i < u->n_left; i++)
            RULE(model_alive(s->models[u->left[i]]), "unload %llu waits for a stopped model",
                 ULL(u->op));
    }
    return 0;
}
