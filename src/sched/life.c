/* Birth, death, new configurations, names and facts. */
#include "sched/loop.h"

#include "base/check.h"

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
    LIST_FOREACH(it, &s->swaps)
    {
        struct swap *sw = LIST_ENTRY(it, struct swap, link);
        struct ticket *t;
        while ((t = swap_owner(sw))) {
            view_unwait(s, t);
            view_enqueue(s, t);
        }
        swap_dismiss(s, sw, ERR_CANCELLED,
                     "reload"); /* a start under way goes on; the next one who wants it finds it */
    }
    struct list all;
    list_init(&all);
    struct qnode *n;
    while ((n = queue_first(&s->line))) {
        struct ticket *t = line_ticket(n);
        view_dequeue(s, t);
        t->alone = t->alone && kind != SCHED_KIND_SERIAL; /* where everybody is */
        list_push_back(&all, &t->link);
    }
    s->kind = kind;
    s->builtin = sched_builtin_ops(kind);
    LIST_FOREACH(it, &all)
    {
        list_remove(it);
        view_enqueue(s, LIST_ENTRY(it, struct ticket, link));
    }
    s->last_grant_seq = 0;
    s->reserved_for = 0;
    if (kind != SCHED_KIND_SERIAL)
        return;
    for (size_t i = 0; i < s->n_models; i++) {
        for (struct list *it = s->models[i]->active.next; it != &s->models[i]->active;
             it = it->next) {
            struct ticket *t = LIST_ENTRY(it, struct ticket, link);
            if (t->side)
                continue; /* from an earlier time under serial */
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
    m->stop_by = s->now + m->conf.unload_grace_ms + SCHED_STOP_WATCH_MS + s->stop_slack_ms;
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
                   void (*fn)(void *ctx, const struct sched *s, const struct sched_note *n),
                   void *ctx)
{
    s->observed = fn ? notes : 0;
    s->observer = fn;
    s->observer_ctx = ctx;
}

/* ---- names ---- */

const char *model_state_name(enum model_state st)
{
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", "shutdown" };
    return (unsigned)st < ARRAY_LEN(names) ? names[st] : "?";
}

const char *sched_ev_name(enum sched_ev_kind k)
{
    switch (k) {
    case SCHED_ARRIVE:
        return "ARRIVE";
    case SCHED_CANCEL:
        return "CANCEL";
    case SCHED_DONE:
        return "DONE";
    case SCHED_RETRY:
        return "RETRY";
    case SCHED_MOVE:
        return "MOVE";
    case SCHED_MODEL_UP:
        return "MODEL_UP";
    case SCHED_MODEL_DOWN:
        return "MODEL_DOWN";
    case SCHED_MODEL_DYING:
        return "MODEL_DYING";
    case SCHED_MODEL_FAILED:
        return "MODEL_FAILED";
    case SCHED_MODEL_STUCK:
        return "MODEL_STUCK";
    case SCHED_UNLOAD:
        return "UNLOAD";
    case SCHED_RECYCLE:
        return "RECYCLE";
    case SCHED_PRELOAD:
        return "PRELOAD";
    case SCHED_TICK:
        return "TICK";
    case SCHED_DRAIN:
        return "DRAIN";
    }
    return "?";
}

const char *sched_act_name(enum sched_act_kind k)
{
    switch (k) {
    case SCHED_ADMIT:
        return "ADMIT";
    case SCHED_REJECT:
        return "REJECT";
    case SCHED_GRANT:
        return "GRANT";
    case SCHED_START:
        return "START";
    case SCHED_STOP:
        return "STOP";
    case SCHED_ABORT_SERVE:
        return "ABORT_SERVE";
    case SCHED_POSITION:
        return "POSITION";
    case SCHED_MOVED:
        return "MOVED";
    case SCHED_WAKE_AT:
        return "WAKE_AT";
    case SCHED_UNLOADED:
        return "UNLOADED";
    }
    return "?";
}

/* ---- facts ---- */

size_t sched_waiting(const struct sched *s)
{
    return queue_len(&s->line) + s->n_waiting;
}

int sched_priority(const struct sched *s, ticket_id id)
{
    const struct ticket *t = view_ticket(s, id);
    return t ? t->priority : 0;
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

uint64_t sched_place(const struct sched *s, ticket_id t)
{
    const struct ticket *at = view_ticket(s, t);
    return at ? at->seq : 0;
}

const char *sched_stop_why(const struct sched *s, model_id id)
{
    const struct smodel *m = view_model(s, id);
    if (s->draining)
        return "shutdown";
    if (!m || m->frozen > 0)
        return "reload";
    return m->stop_why ? m->stop_why : m->victim_of > 0 ? "swap" : "crash";
}

void sched_set_stop_slack(struct sched *s, msec ms)
{
    s->stop_slack_ms = ms;
}

bool sched_will_wait(const struct sched *s, model_id m)
{
    return dispatch_would_wait(s, m);
}
