/* world.h: the simulator's own state, for sim.c (time and plans), actors.c (processes and clients) and oracle.c
 * (what may not happen). */
#ifndef LUASWAP_SIM_WORLD_H
#define LUASWAP_SIM_WORLD_H

#include "base/rand.h"
#include "sim/sim.h"

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
    bool all, noise, recycle;
    msec drain_ms;
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
    unsigned frozen; /* recycles that are not over */
    bool may_cut; /* an unload or a shutdown takes it from under its requests */
};

enum fate { F_NEW, F_OUTSIDE, F_WAITING, F_ACTIVE, F_ENDED };

struct person {
    struct sim_request r;
    enum fate fate;
    bool side_grant; /* runs beside the one whose turn it is */
    bool admitted, left, granted_once, retry_on_its_way;
    bool broke; /* its process died under it, before a byte of an answer */
    bool asked_again, alone; /* it is tried again after that, and has to be alone (fifo) */
    msec arrived;
    uint64_t grants;
};

struct pending_unload {
    uint64_t op;
    bool open;
    model_id frozen[32]; /* of a recycle */
    size_t n_frozen;
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
    size_t active, cap_active, active_side;
    ticket_id arriving;
    uint64_t commits;
    bool drained, kind_changed, reconfigured;
    struct sim_stats st;
    struct error *e;
    int rc;
    void (*on_event)(void *ctx, msec now, const struct sched_event *ev);
    void (*on_action)(void *ctx, msec now, const struct sched_action *a);
    void *ctx;
    void (*after)(void *ctx);
    void *after_ctx;
};

/* sim.c: something will happen; the caller fills the rest in. */
struct item *sim_plan(struct sim *m, msec at, enum what what);
void sim_plan_event(struct sim *m, msec at, struct sched_event ev);
struct person *sim_person(struct sim *m, ticket_id id); /* grows the table; valid until the next new one */

/* actors.c: it happens now. */
void sim_happen(struct sim *m, struct item *it);

/* oracle.c */
void sim_broken(struct sim *m, const char *what, uint64_t a, uint64_t b);
void sim_watch_start(struct sim *m, const struct sched_action *a);
void sim_watch_stop(struct sim *m, model_id model);
void sim_watch_grant(struct sim *m, ticket_id id, model_id model);
void sim_watch_end(struct sim *m, ticket_id id);
void sim_watch_admission(struct sim *m, ticket_id id, bool in, int code);

#endif
