/* chaos.h: random lives for the simulator: arrivals, cancels, crashes, failed and slow and stuck processes,
 * unloads, preloads, reloads, late and foreign results. The same seed gives the same life.
 */
#ifndef LUASWAP_SIM_CHAOS_H
#define LUASWAP_SIM_CHAOS_H

#include "sim/sim.h"

enum chaos_planner { CHAOS_DEFAULT, CHAOS_GROUPS, CHAOS_MATRIX };

struct chaos_conf {
    enum sched_kind kind;
    enum chaos_planner planner;
    uint64_t seed;
    size_t events;    /* at least so many scheduler events, in worlds of about a thousand each */
    bool reloads;     /* configurations change on the way, also the kind of scheduler */
    bool check_all;   /* sched_check after every event */
    const struct policy_ops *ops; /* in charge instead of the built-in, may be NULL */
    void *ops_ctx;
};

/* 0, or ERR_INTERNAL; e then begins with the seed of the world that broke (run it alone with `only_world`).
 * Sums go to ret_stats if not NULL. */
int chaos_run(const struct chaos_conf *conf, struct sim_stats *ret_stats, struct error *e);
/* One world; `seed` as printed by chaos_run. Events and actions go to `trace` if not NULL. */
struct strbuf;
int chaos_world(const struct chaos_conf *conf, uint64_t seed, struct sim_stats *ret_stats, struct strbuf *trace,
                struct error *e);

#endif
