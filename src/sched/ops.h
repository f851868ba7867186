/* ops.h: who decides. One row of functions; `serial` and `fifo` fill it in C, a policy fills it in Lua.
 *
 * What: the dispatcher (loop.h) owns every request and asks a row which one is next and whom to stop for
 *       it. A missing function costs one test; the built-in row of the configured kind answers instead.
 * Not:  effects. A row reads the view (view.h) and answers; the dispatcher checks the answer against the
 *       invariants and performs it. A row may not call sched_post.
 * Time: all answers in milliseconds of the event's clock, s->now.
 */
#ifndef LUASWAP_SCHED_OPS_H
#define LUASWAP_SCHED_OPS_H

#include "sched/sched.h"

struct ticket;
struct swap;

enum ops_flag {
    OPS_FAST_READY = 1, /* what is ready is served in line order unasked; pick_next sees the cold only */
    OPS_PLAN_READY = 2, /* plan_swap is asked for loaded models too: it may want others gone first */
    OPS_CLASSIC = 4,    /* the triggers of the reference: an arrival looks at itself only, the line is walked
                         * when a load ends, a model goes idle or an unload is over; all that waited for a
                         * load are granted before the walk */
};

enum ops_answer {
    OPS_NONE,   /* no opinion: the built-in decides */
    OPS_VALUE,
    OPS_HOLD,   /* nothing now; hold_ms 0 = until something happens (only while something is going on) */
    OPS_REJECT, /* plan_swap: refuse the request */
};

enum plan_when {
    PLAN_IDLE,  /* only if no victim serves; else ask again later */
    PLAN_DRAIN, /* now: victims get no new work and are stopped when they are idle */
    PLAN_KILL,  /* as drain, but preemptible victims are stopped after grace_ms at the latest */
};

struct ops_pick {
    ticket_id ticket;
    msec hold_ms;
};

struct ops_plan {
    model_id *evict; /* room for one entry per model */
    size_t n_evict;
    enum plan_when when;
    msec grace_ms, hold_ms;
    int code, status; /* REJECT: enum err, and the HTTP status or 0 */
    char text[160];
};

enum note_kind {
    NOTE_SERVE_START, /* ticket */
    NOTE_SERVE_DONE,  /* ticket */
    NOTE_CANCEL,      /* ticket left the line unserved; code 0: its client left, else why it was refused */
    NOTE_SWAP_START,  /* swap */
    NOTE_SWAP_DONE,   /* swap, code 0 or why it came to nothing */
    NOTE_MODEL,       /* model, old, new */
    NOTE_UNLOAD,      /* model stopped outside a swap; text: "admin" "ttl" "crash" */
    NOTE_INVALID,     /* the row gave an answer that breaks a rule; text says which; the built-in was used */
    NOTE_STALL,       /* the row held an idle machine past the limit; the built-in decides from now on */
    NOTE_OVERRIDE,    /* ticket: waited past starve_after, forced */
    NOTE_KINDS
};

struct sched_note {
    enum note_kind kind;
    const struct ticket *ticket; /* valid during the call, as the rest */
    const struct swap *swap;
    model_id model;
    enum model_state old, new;
    int code;
    const char *text;
};

struct policy_ops {
    const char *name;
    unsigned flags; /* enum ops_flag */
    unsigned notes; /* bit 1 << note_kind: wants that note */
    enum ops_answer (*pick_next)(void *ctx, const struct sched *s, struct ops_pick *ret);
    enum ops_answer (*plan_swap)(void *ctx, const struct sched *s, model_id target, struct ops_plan *ret);
    /* Higher first; only asked when pick_next has no opinion. */
    enum ops_answer (*score)(void *ctx, const struct sched *s, const struct ticket *t, double *ret);
    /* Cheapest victim first; infinite: not now. */
    enum ops_answer (*evict_cost)(void *ctx, const struct sched *s, model_id victim, model_id target,
                                  double *ret);
    enum ops_answer (*idle_ttl)(void *ctx, const struct sched *s, model_id m, msec *ret);
    void (*note)(void *ctx, const struct sched *s, const struct sched_note *n);
    /* Somebody is about to be picked by the built-in order (serial, classic), without pick_next being asked. May be NULL. */
    void (*watch_pick)(void *ctx, const struct sched *s);
};

/* The built-in row of a kind (sched_registry.c). */
const struct policy_ops *sched_builtin_ops(enum sched_kind k);
/* By name, for configurations and simulators; false when unknown. */
bool sched_kind_of(str name, enum sched_kind *ret);

extern const struct policy_ops serial_ops; /* serial.c */
extern const struct policy_ops fifo_ops;   /* fifo.c */

/* Puts a row in charge (NULL: the built-in); ops and ctx are borrowed. Not from inside a row's function. */
void sched_set_ops(struct sched *s, const struct policy_ops *ops, void *ctx);
/* Limits of a policy's patience: a request that waited starve_after is forced (0 off); an idle machine
 * may be held hold_limit in all. Default 600 s and 60 s; they apply only while a row is set. */
void sched_set_patience(struct sched *s, msec starve_after_ms, msec hold_limit_ms);
/* Watches notes without deciding (log lines, specs); independent of the row. NULL ends it. */
void sched_observe(struct sched *s, unsigned notes, void (*fn)(void *ctx, const struct sched *s, const struct sched_note *n),
                   void *ctx);

/* The candidates: requests that could advance in this step, in line order. For rows; O(models) each. */
enum cand_filter { CAND_ANY, CAND_READY, CAND_COLD };
const struct ticket *sched_cand_first(const struct sched *s, enum cand_filter f, model_id only);
const struct ticket *sched_cand_next(const struct sched *s, const struct ticket *t, enum cand_filter f,
                                     model_id only);
size_t sched_cand_count(const struct sched *s, enum cand_filter f, model_id only);
/* Whom the built-in planner would stop for `target`: the answer of plan_swap when the row has none. */
void sched_builtin_plan(const struct sched *s, model_id target, struct ops_plan *ret);

#endif
