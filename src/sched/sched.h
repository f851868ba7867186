/* sched.h: the scheduler as the rest of the program sees it: events in, actions out, no effects.
 *
 * What: sched_post() takes one event, updates the view, asks the ops (built-in or policy) what to do, and
 *       appends actions. The caller performs them; their results come back later as events.
 * Not:  processes, sockets, clocks. Time is the `now` of each event.
 * Ids:  a ticket is one request, a swap id names one attempt to load a model. A result (UP, FAILED, DOWN,
 *       STUCK) carries the swap id of the action that asked for it; 0 means that nobody asked (a crash, a
 *       TTL stop of an earlier life). Stale ids are ignored, so late results are harmless.
 * Ends: each admitted ticket ends exactly once: GRANT then SCHED_DONE, or REJECT, or SCHED_CANCEL.
 */
#ifndef LUASWAP_SCHED_SCHED_H
#define LUASWAP_SCHED_SCHED_H

#include "base/clock.h"
#include "base/error.h"

typedef uint32_t model_id; /* slot in the server's table, kept over a reload */
typedef uint64_t ticket_id;
typedef uint64_t swap_id;
#define MODEL_NONE UINT32_MAX

enum model_state { MODEL_STOPPED, MODEL_STARTING, MODEL_READY, MODEL_STOPPING, MODEL_SHUTDOWN };
const char *model_state_name(enum model_state s); /* "stopped" "starting" "ready" "stopping" "shutdown" */

enum sched_ev_kind {
    SCHED_ARRIVE,       /* ticket, model (MODEL_NONE: unknown), priority (0: the model's own) */
    SCHED_CANCEL,       /* ticket: its client left; for a granted one DONE still follows */
    SCHED_DONE,         /* ticket: the upstream's work for it is over. `died`: it broke off; for a second nobody is
                         * granted to that process, which may have ended and not been reported yet */
    SCHED_RETRY,        /* ticket (granted): its upstream died or refused before any byte of an answer. It goes
                         * back to the head of the queue (original order kept), keeps its admission, and its
                         * model is loaded afresh before it is granted again: if the process is still there it is
                         * stopped first (unless others are being served by it: then its exit is awaited for 1 s
                         * and the ticket granted again). `sent`: the process had the request, so that it may be
                         * what the process died of. Then, under fifo, it is tried again alone: it waits until its
                         * model serves nobody, and nobody is granted beside it; so a request that kills its model
                         * each time takes no other down twice. Once per ticket with `sent` and once without (one
                         * more is rejected); no DONE comes for the grant before. */
    SCHED_MOVE,         /* ticket, model: it would now rather be served by that model (a selector chose again). Heeded,
                         * and answered with MOVED, only while it stands in the line and that model takes it; it keeps
                         * its place, priority and admission. */
    SCHED_MODEL_UP,     /* model, swap: process is ready */
    SCHED_MODEL_DOWN,   /* model, swap: process tree is gone (asked for, or crashed with swap 0) */
    SCHED_MODEL_DYING,  /* model: the command of a ready one has ended, what it has left behind is being ended: nothing
                         * more is granted to it; DOWN or STUCK with swap 0 follows */
    SCHED_MODEL_FAILED, /* model, swap, text: the start failed and the process is gone */
    SCHED_MODEL_STUCK,  /* model, swap: it refuses to die */
    SCHED_UNLOAD,       /* op, models/n_models (none: all): API unload */
    SCHED_RECYCLE,      /* op, models/n_models, grace_ms: their configuration has changed, the processes must be
                         * replaced (reload). From now on none of them is granted or started; each is stopped (with
                         * its own unloadTimeout) when its last request has ended, at the latest after grace_ms,
                         * when its requests are cut as for an UNLOAD; a load that is under way is aborted and begun
                         * anew afterwards. Requests that wait keep their places. UNLOADED when all are stopped;
                         * only then may any of them be started again. Retired models too (their waiting requests
                         * are refused). A second RECYCLE may come while one is going on. */
    SCHED_PRELOAD,      /* model: load it when that is possible without harm */
    SCHED_TICK,         /* time passed (a WAKE_AT came due) */
    SCHED_DRAIN,        /* shutdown: refuse and reject all that is not granted; from now on a process that is stopped
                         * has at least grace_ms for it */
};

struct sched_event {
    enum sched_ev_kind kind;
    bool want_positions; /* ARRIVE: this one shows its place, send POSITION for it */
    bool side;           /* ARRIVE, serial: if its model is up it needs no turn (side lane); it is cut when another
                          * model is wanted and it does not end within its model's unloadTimeout */
    bool sent;           /* RETRY */
    bool died;           /* DONE */
    uint64_t place;      /* ARRIVE: > 0: it comes again, with a place that it had before (sched_place): it stands where
                          * it stood and is not refused because of limits */
    bool evict;          /* PRELOAD: idle models may be stopped for it */
    msec now;
    ticket_id ticket;
    model_id model;
    swap_id swap;
    int priority;
    msec grace_ms;          /* UNLOAD: > 0 replaces the models' own unloadTimeout */
    uint64_t op;            /* UNLOAD: caller's number, comes back in UNLOADED */
    const model_id *models; /* UNLOAD: borrowed for the call. NULL: all that have a process or are being
                             * loaded; requests that wait for other models stay in the line (S-17) */
    size_t n_models;
    str text;               /* FAILED: what a person should read; borrowed for the call */
};

enum sched_act_kind {
    SCHED_ADMIT,       /* ticket: accepted (always before anything else about it) */
    SCHED_REJECT,      /* ticket, code (enum err), text: the end of this ticket */
    SCHED_GRANT,       /* ticket, model: forward it now */
    SCHED_START,       /* swap, model: make it ready; answer UP or FAILED */
    SCHED_STOP,        /* swap, model, grace_ms: stop its tree; answer DOWN or STUCK */
    SCHED_ABORT_SERVE, /* ticket, text: cut the upstream request (maxServe, unload past its grace) */
    SCHED_POSITION,    /* ticket, n: place in the queue, 1-based; latest wins */
    SCHED_MOVED,       /* ticket, model: it waits for this one from now on */
    SCHED_WAKE_AT,     /* at: send a TICK then; replaces an earlier wish, MSEC_NEVER cancels */
    SCHED_UNLOADED,    /* op: the targets are stopped; code ERR_STUCK when one refuses to die, else 0 */
};

struct sched_action {
    enum sched_act_kind kind;
    ticket_id ticket;
    model_id model;
    swap_id swap;
    uint64_t op;
    msec at, grace_ms;
    uint32_t n;
    int code;
    int status;     /* REJECT: HTTP status that a policy asked for, 0 = that of the code */
    char text[200]; /* NUL-ended */
};

const char *sched_ev_name(enum sched_ev_kind k);   /* "ARRIVE" ... */
const char *sched_act_name(enum sched_act_kind k); /* "ADMIT" ... */

/* Growing list of actions; the caller clears it between events. Zeroed is empty. */
struct sched_actions {
    struct sched_action *at;
    size_t len, cap;
};
void sched_actions_fini(struct sched_actions *a);

enum sched_kind { SCHED_KIND_SERIAL, SCHED_KIND_FIFO };
enum sched_orphan { SCHED_ORPHAN_KEEP, SCHED_ORPHAN_ABORT };

struct sched_model {
    str id;               /* unique; copied */
    uint32_t limit;       /* concurrencyLimit as configured, 0 = not configured */
    int priority;         /* fifo.priority */
    msec unload_grace_ms; /* unloadTimeout */
    msec ttl_ms;          /* 0 = never */
    bool preemptible, pinned;
    bool retired;         /* slot of a removed model: takes no requests */
    /* group planner */
    uint32_t group;       /* index; equal = same group */
    bool group_swap, group_exclusive, group_persistent;
};

struct matrix; /* compiled set expressions, sched/matrix.h */

struct sched_conf {
    enum sched_kind kind;
    const struct sched_model *models; /* index = model_id; copied */
    size_t n_models;
    uint32_t serial_max_queue;  /* 0 = none */
    msec serial_max_serve_ms;   /* 0 = none */
    bool serial_reorder;        /* a policy may order the line; else it only observes under serial */
    msec fifo_max_wait_ms;      /* 0 = off */
    enum sched_orphan fifo_orphan;
    const struct matrix *matrix; /* NULL: group planner; borrowed until sched_free or the end of the
                                  * sched_reconfigure that replaces it */
};

struct sched *sched_new(const struct sched_conf *conf);
void sched_free(struct sched *s);

/* Applies one event and appends the actions it leads to. Never fails; nonsense (unknown ids) is ignored. */
void sched_post(struct sched *s, const struct sched_event *ev, struct sched_actions *out);
/* New configuration: models keep their slots (index), new ones may be added at the end, removed ones are
 * `retired`. Tickets of retired models must have been rejected by an UNLOAD before (those that are left get
 * ERR_UNLOADED at the next event). Post a TICK afterwards: it looks at the line with the new rules. */
void sched_reconfigure(struct sched *s, const struct sched_conf *conf);

/* A process that is already there when the scheduler is born (left by an earlier life of the program): the
 * state as seen, before the first event about it. */
void sched_adopt(struct sched *s, model_id m, enum model_state seen, msec now);

/* Read-only facts for listings and for checks. */
size_t sched_waiting(const struct sched *s);                /* queued, not granted */
int sched_priority(const struct sched *s, ticket_id t);     /* in the line; 0 of an unknown one */
size_t sched_inflight(const struct sched *s, model_id m);   /* granted, not done; MODEL_NONE: of all */
enum model_state sched_model_state(const struct sched *s, model_id m);
bool sched_will_wait(const struct sched *s, model_id m);    /* would a request arriving now have to wait */
/* The model that will be started when what stops now is gone, so that one can get ready; MODEL_NONE = none. */
model_id sched_start_ahead(const struct sched *s);
uint64_t sched_place(const struct sched *s, ticket_id t);   /* in the order of arrival, 0: no such ticket */
/* Why a model is being stopped: "swap", "ttl", "admin", "reload", "shutdown", "crash" (it is taken for dead). */
const char *sched_stop_why(const struct sched *s, model_id m);
/* How much longer than its grace any stop may take before it counts as stuck: whoever performs STOP waits for
 * something else first. 0 at birth. */
void sched_set_stop_slack(struct sched *s, msec ms);
const char *sched_kind_name(enum sched_kind k);             /* "serial" "fifo" */

/* For people (/debug/sched): models, loads, the line, then the last 1,024 events with their actions, as lines that
 * `luaswap simulate` reads. Cut when b is full. */
struct strbuf;
void sched_dump(const struct sched *s, struct strbuf *b);

/* The invariants of docs/architecture.md section 6 as a function, after any event: 0, or ERR_INTERNAL with
 * the broken rule in e. */
int sched_check(const struct sched *s, struct error *e);

#endif
