/* view.h: the scheduler's bookkeeping. Written by view.c, loop.c, swap.c and dispatch.c in answer to events;
 * everybody else (ops rows, policy views, sched_check, dumps) reads it through a const struct sched.
 *
 * One ticket is in one place: the line (QUEUED), the waiters of a swap (WAITING) or a model's active list
 * (ACTIVE). Model states follow results, not wishes: STARTING and STOPPING from the moment the action is
 * emitted, READY and STOPPED when the answer that carries the current `op` arrives.
 */
#ifndef LUASWAP_SCHED_VIEW_H
#define LUASWAP_SCHED_VIEW_H

#include "base/list.h"
#include "sched/evict.h"
#include "sched/ops.h"
#include "sched/queue.h"
#include "sched/sched.h"
#include "sched/trace.h"

#define SCHED_FIFO_LIMIT 10        /* reservations per model under fifo when concurrencyLimit is not set */
#define SCHED_CUT_MS 5000          /* a request on a process that is gone is cut this much later */
#define SCHED_SUSPECT_MS 1000      /* RETRY on a model that looks ready: wait this long for its exit */
#define SCHED_STOP_WATCH_MS 15000  /* a stop that nobody answers for this long beyond its grace is stuck */
#define SCHED_BACKOFF_MS 1000      /* serial, after a process refused to die; doubles ... */
#define SCHED_BACKOFF_MAX_MS 10000 /* ... up to this */
#define SCHED_HOLD_MIN_MS 10
#define SCHED_HEARTBEAT_MS 1000 /* a row is asked at least this often while somebody waits */

enum ticket_state { TICKET_NEW, TICKET_QUEUED, TICKET_WAITING, TICKET_ACTIVE };

struct ticket {
    ticket_id id;
    model_id model;
    int priority;
    uint64_t seq; /* arrival number: the meaning of "exact arrival order" */
    enum ticket_state state;
    bool want_positions, left, aborted, before_serial;
    bool side; /* ACTIVE beside the one whose turn it is */
    bool again; /* a later attempt, with the place of the first one */
    unsigned retries; /* that it was on its way to the model for */
    unsigned refusals; /* ... and that it was not */
    bool alone;        /* its model may have died of it: it is tried again with nobody beside it */
    bool excludes;     /* ACTIVE and alone on a process that is still there */
    bool unloaded; /* its model was unloaded under it: it is not tried again */
    uint32_t place; /* last POSITION sent, 0 = none */
    msec arrived, granted;
    msec abort_at;          /* ACTIVE: ABORT_SERVE then */
    const char *abort_why;
    struct swap *swap;      /* WAITING */
    struct qnode in_line, in_model; /* QUEUED */
    struct list by_age;             /* QUEUED */
    struct list link;               /* waiters of a swap, or active list of the model */
    struct list guarded;            /* has an abort_at */
    struct ticket *hash_next;
};

enum swap_stage { SWAP_DRAINING, SWAP_STOPPING, SWAP_STARTING };
enum swap_by { SWAP_BY_REQUEST, SWAP_BY_PRELOAD };

struct swap {
    swap_id id;
    model_id target;
    enum swap_stage stage;
    enum swap_by by;
    struct list waiters; /* tickets; the first one owns the load */
    model_id *evict;     /* room for all models */
    size_t n_evict;
    swap_id start_op; /* of its START, 0 = not sent */
    bool kill;
    msec kill_at, started;
    struct list link;
};

struct smodel {
    struct sched_model conf; /* conf.id owned */
    model_id self;
    uint32_t rank; /* place in name order */
    enum model_state state;
    swap_id op;         /* of the last START or STOP, 0 = nobody asked */
    swap_id first_stop; /* of this life; any STOP since then may be the one that is answered */
    msec stop_by;       /* STOPPING: its answer is overdue then */
    bool stuck, present, preload, preload_evict;
    uint64_t preload_seq; /* in the order in which they were asked for */
    uint32_t frozen;  /* operations that replace it: no grant and no start meanwhile */
    msec recycle_by;  /* its last requests are cut then, 0 = none */
    bool cut_on_stop; /* an unload stops it: its requests are cut after the exit */
    msec since, last_used, suspect_until; /* 0 = not suspected */
    msec load_ms, stop_ms;                /* moving averages, 0 = unknown */
    const char *stop_why;                 /* of the last stop, as NOTE_UNLOAD says it; NULL: a swap's, or a suspect's */
    uint32_t inflight, waiting, fails;
    uint32_t alone_wait, excluding; /* tickets that are to be tried alone: not granted, granted */
    struct swap *swap;   /* that loads it */
    uint32_t victim_of;  /* swaps that stop it */
    uint64_t blocked;    /* stamp: given up for this round */
    uint64_t held;       /* stamp: reserved for the one that waited too long */
    msec idle_ttl_ms;    /* in force for this idle period */
    struct queue queue;
    struct list active;
    struct list present_link, waiting_link;
};

struct unload_wait {
    uint64_t op;
    model_id *left; /* targets that still have a process */
    size_t n_left;
    model_id *frozen; /* RECYCLE: what is thawed at the end */
    size_t n_frozen;
    bool stuck;
    struct list link;
};

struct sched {
    enum sched_kind kind;
    uint32_t serial_max_queue;
    msec serial_max_serve_ms, fifo_max_wait_ms;
    bool serial_reorder;
    enum sched_orphan orphan;
    const struct evict_ops *evict;
    void *evict_ctx;

    const struct policy_ops *builtin, *ops; /* ops NULL: the built-in decides */
    void *ops_ctx;
    bool stalled;     /* it held an idle machine too long: asked no more */
    bool row_held;    /* it let somebody wait when it was asked last */
    msec policy_starve_ms, hold_limit_ms, stop_slack_ms;
    unsigned observed;
    void (*observer)(void *ctx, const struct sched *s, const struct sched_note *n);
    void *observer_ctx;

    struct smodel **models;
    size_t n_models;
    struct list present; /* has a process or is being loaded; in name order */
    struct list waiting; /* has somebody in the line */
    struct queue line;
    struct list by_age;
    size_t inflight, before_serial, n_side, n_waiting; /* inflight includes the other two */
    struct list swaps;
    size_t n_swaps;
    struct list unloads;
    struct list guarded;
    struct ticket **buckets;
    size_t n_tickets, mask;
    struct ticket *free_tickets;
    size_t n_free;

    msec now;
    uint64_t seq;
    swap_id next_id;
    bool draining, sweep, preloads;
    msec drain_grace_ms; /* of DRAIN */
    uint64_t preload_seq;
    msec wish;          /* WAKE_AT that the caller holds, MSEC_NEVER = none */
    msec backoff_until, backoff_ms;
    msec hold_until, idle_hold_since; /* MSEC_NEVER = not holding */
    uint64_t round, held_stamp;
    ticket_id reserved_for;
    model_id reserved_target;

    /* During one event. */
    struct sched_actions *out;
    size_t out_from;
    bool walk_due, advance_due;
    bool moved;        /* the line changed at `moved_from` or behind */
    struct qkey moved_from;
    model_id *scratch_running, *scratch_evict, *scratch_plan, *scratch_check;
    uint64_t last_grant_seq; /* serial */

    struct sched_ring *ring;
    char broken[160]; /* first rule that an action broke; for sched_check */
};

/* Lookups. */
struct ticket *view_ticket(const struct sched *s, ticket_id id);
static inline struct smodel *view_model(const struct sched *s, model_id m)
{
    return m < s->n_models ? s->models[m] : NULL;
}
static inline bool model_alive(const struct smodel *m)
{
    return m->state != MODEL_STOPPED && m->state != MODEL_SHUTDOWN;
}
static inline size_t model_queued(const struct smodel *m)
{
    return queue_len(&m->queue);
}
static inline size_t model_reserved(const struct smodel *m)
{
    return model_queued(m) + m->waiting + m->inflight;
}
static inline struct ticket *line_ticket(struct qnode *n)
{
    return n ? CONTAINER_OF(n, struct ticket, in_line) : NULL;
}
static inline struct ticket *model_ticket(struct qnode *n)
{
    return n ? CONTAINER_OF(n, struct ticket, in_model) : NULL;
}
static inline struct qkey ticket_key(const struct sched *s, const struct ticket *t)
{
    return (struct qkey){ s->kind == SCHED_KIND_SERIAL ? 0 : -(int64_t)t->priority, t->seq };
}
/* Ready as far as anybody knows: up, and no sign that it just died. */
static inline bool model_ready(const struct sched *s, const struct smodel *m)
{
    return m->state == MODEL_READY && m->frozen == 0 && (m->suspect_until == 0 || s->now >= m->suspect_until);
}
/* Nobody beside a ticket that is tried alone, and nobody between it and an idle model. Serial is always alone. */
static inline bool model_admits(const struct sched *s, const struct smodel *m, const struct ticket *t)
{
    if (s->kind == SCHED_KIND_SERIAL)
        return true;
    return m->excluding == 0 && (t->alone ? m->inflight == 0 : m->alone_wait == 0);
}
uint32_t view_limit(const struct sched *s, const struct smodel *m); /* 0 = none */
/* How long a stop of it may take before it is forced. */
static inline msec model_grace(const struct sched *s, const struct smodel *m)
{
    return s->draining && m->conf.unload_grace_ms < s->drain_grace_ms ? s->drain_grace_ms : m->conf.unload_grace_ms;
}
/* Everything alive or being loaded but `except`, in name order; at most n_models entries. */
size_t view_running(const struct sched *s, model_id except, bool except_alive, model_id *out);

/* Changes. */
struct ticket *view_ticket_new(struct sched *s, ticket_id id);
void view_ticket_free(struct sched *s, struct ticket *t);
void view_enqueue(struct sched *s, struct ticket *t); /* NEW -> QUEUED, at its place by key */
void view_dequeue(struct sched *s, struct ticket *t); /* QUEUED -> NEW */
void view_wait(struct sched *s, struct ticket *t, struct swap *sw); /* NEW -> WAITING */
void view_unwait(struct sched *s, struct ticket *t);                /* WAITING -> NEW */
void view_activate(struct sched *s, struct ticket *t);              /* NEW -> ACTIVE */
void view_deactivate(struct sched *s, struct ticket *t);            /* ACTIVE -> NEW */
void view_guard(struct sched *s, struct ticket *t, msec at, const char *why);
void view_unguard(struct ticket *t);
void view_present(struct sched *s, struct smodel *m); /* after a change of state or swap */
void view_models_init(struct sched *s, const struct sched_conf *conf);
void view_models_update(struct sched *s, const struct sched_conf *conf);
void view_fini(struct sched *s);

#endif
