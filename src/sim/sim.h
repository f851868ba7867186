/* sim.h: the real scheduler in a world of scripted processes and clients, in virtual time.
 *
 * What: answers START and STOP as the process driver would (late, failing, crashing, stuck), forwards grants as
 *       the proxy would (done, broken, retried, aborted), and watches from outside: its own table of processes
 *       and tickets is the oracle, independent of the scheduler's view.
 * Not:  sockets, clocks, threads. The same configuration, seed and calls give the same run.
 * Ends: sim_run() returns when nothing is left to happen or `until` is reached; ERR_INTERNAL names the broken
 *       promise.
 */
#ifndef LUASWAP_SIM_SIM_H
#define LUASWAP_SIM_SIM_H

#include "base/error.h"
#include "sched/ops.h"
#include "sched/sched.h"

#define SIM_FOREVER INT64_MAX
#define SIM_NEVER (-1)

/* How the processes of one model behave; chances in 1/1000 for each start or stop. */
struct sim_proc {
    msec start_ms, stop_ms;
    unsigned fail, crash_starting, ignore_term, stuck;
    msec stuck_ms; /* how long a stuck one lives on after it was reported */
};

struct sim_conf {
    struct sched_conf sched;
    const struct sim_proc *procs; /* one per model; copied */
    uint64_t seed;
    msec jitter_ms;  /* results and reports travel up to this long */
    bool check_all;  /* sched_check after every event (slow with long lines) */
    bool dead_on_grant_retries; /* a grant to a dead process is a RETRY (body held), else a DONE */
};

struct sim_request {
    model_id model;
    int priority;
    msec serve_ms;    /* how long its answer takes; SIM_FOREVER: until somebody cuts it */
    msec leaves_ms;   /* its client gives up so long after its arrival; SIM_NEVER */
    bool positions;
    bool side; /* serial's side lane */
};

struct sim_stats {
    size_t events, arrived, admitted, refused, granted, served, broken, failed, left, retried, moved, cut;
    size_t starts, stops, start_failures, crashes, stuck, swaps_begun, unloads;
    msec wait_total, wait_max, load_total; /* waits: arrival to first grant */
};

struct sim;
struct sim *sim_new(const struct sim_conf *conf);
void sim_free(struct sim *m);

/* Things that will happen at a time not before now. */
void sim_arrive(struct sim *m, msec at, ticket_id id, const struct sim_request *r);
void sim_leave(struct sim *m, msec at, ticket_id id);
void sim_unload(struct sim *m, msec at, const model_id *models, size_t n); /* NULL: all */
/* Their processes are to be replaced (SCHED_RECYCLE); after drain_ms their requests are cut. */
void sim_recycle(struct sim *m, msec at, const model_id *models, size_t n, msec drain_ms);
void sim_crash(struct sim *m, msec at, model_id model); /* nothing when it does not run then */
void sim_preload(struct sim *m, msec at, model_id model, bool evict);
/* A selector would rather have it served by that model now. */
void sim_move(struct sim *m, msec at, ticket_id id, model_id model);
void sim_drain(struct sim *m, msec at);
/* An event as it stands, for noise: late and foreign results, unknown tickets. Text and models are dropped. */
void sim_noise(struct sim *m, msec at, const struct sched_event *ev);

/* Now. */
void sim_reconfigure(struct sim *m, const struct sched_conf *conf); /* procs of new models: as model 0 */
void sim_set_proc(struct sim *m, model_id model, const struct sim_proc *p);

/* 0, or ERR_INTERNAL. Goes on where it stopped. */
int sim_run(struct sim *m, msec until, struct error *e);
/* After a run to SIM_FOREVER: every ticket ended, every unload was answered, nobody waits. */
int sim_settled(const struct sim *m, struct error *e);

msec sim_now(const struct sim *m);
struct sched *sim_sched(struct sim *m);
const struct sim_stats *sim_stats(const struct sim *m);
enum model_state sim_process(const struct sim *m, model_id model); /* the truth */
size_t sim_alive(const struct sim *m);
size_t sim_open(const struct sim *m); /* tickets that have not ended */

/* Sees every event and every action as it is performed. */
void sim_watch(struct sim *m, void (*on_event)(void *ctx, msec now, const struct sched_event *ev),
               void (*on_action)(void *ctx, msec now, const struct sched_action *a), void *ctx);

/* Called after each event and its actions; may plan things and set ops. */
void sim_after(struct sim *m, void (*fn)(void *ctx), void *ctx);

#endif
