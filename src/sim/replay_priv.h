/* replay_priv.h: the inside of a replay, for its own files.
 *
 * replay.c: life and running. replay_host.c: what policies see of the replayed world and ask it for. result.c: what came
 * out. Owns: see replay.h; texts are in the arena.
 */
#ifndef LUASWAP_SIM_REPLAY_PRIV_H
#define LUASWAP_SIM_REPLAY_PRIV_H

#include "base/arena.h"
#include "base/rand.h"
#include "sim/replay.h"

struct rreq {
    struct replay_request q;
    msec at, arrived, granted, ended;
    model_id model;
    uint64_t id;
    char state; /* 0 not yet, w waits, a active, s served, r refused, c cancelled */
};

enum fact_kind { FACT_UNLOAD, FACT_CRASH, FACT_FOREIGN, FACT_PRELOAD };

/* Loads and stops as they were: the n-th takes as long as the n-th then. */
struct measured {
    struct sim_proc base;
    const msec *loads, *stops;
    size_t n_loads, n_stops, next_load, next_stop;
};
struct fact {
    msec at;
    enum fact_kind kind;
    model_id model;
    double mb;
};

struct replay {
    struct replay_conf conf;
    struct arena arena;
    struct sim *sim;
    struct policies *ps;
    struct policy_host host;
    struct replay_model *models;
    struct measured *measured;
    bool *up; /* by model: ready, for the hooks around a swap */
    struct rreq *reqs; /* ticket = index + 1 */
    size_t n_reqs, cap_reqs, next_req;
    uint32_t *order; /* by time */
    bool sorted;
    struct fact *facts;
    size_t n_facts, next_fact;
    double foreign_mb;
    struct strbuf log;
    ticket_id ending;
    const char *ending_cause;
    size_t loads, evictions;
    double load_s;
    struct error *e;
    struct rand_state faults;
    uint64_t hook_calls;
    bool too_long;
};

/* ---- replay_host.c ---- */
void replay_host_fill(struct replay *r);
void replay_host_kick(struct replay *r);
int replay_hook_fault(void *ud, enum policy_hook h); /* for policies_conf.fault */

#endif
