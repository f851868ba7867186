/* replay.h: requests against the real scheduler and policies, in virtual time, and what came of it.
 *
 * What: the simulator's world (sim.h) with policies attached as the server attaches them: route, on_request, notes,
 *       ticks, actions. Feeds arrivals at their times, measures waits, swaps, fairness.
 * Not:  files and formats (trace_file.h), sockets. http in a policy fails at once: "not in a simulation".
 * Same: configuration, seed, requests and policy files give the same bytes.
 */
#ifndef LUASWAP_SIM_REPLAY_H
#define LUASWAP_SIM_REPLAY_H

#include "policy/policy.h"
#include "sim/sim.h"

struct replay_model {
    str id, meta_json;
    double load_s, stop_s, vram_mb, ttl_s;
    double grace_s; /* unloadTimeout, 0 = 10 */
    uint32_t limit, group;
    int priority;
    bool pinned, preemptible;
    bool group_swap, group_exclusive, group_persistent;
    unsigned fail, ignore_term, stuck; /* chances of 1000 */
};

struct replay_conf {
    enum sched_kind kind;
    bool serial_reorder;
    uint32_t serial_max_queue;  /* 0 = none */
    msec serial_max_serve_ms, fifo_max_wait_ms;
    bool abort_orphans;         /* fifo */
    const struct matrix *matrix; /* borrowed until replay_free; NULL: groups */
    const struct replay_model *models; /* copied */
    size_t n_models;
    double gpu_mb;     /* 0: no GPU known */
    int64_t start_unix; /* wall time at t = 0 */
    int32_t zone_s;
    uint64_t seed;
    const struct config_policy *files; /* borrowed until replay_free */
    size_t n_files;
    enum policy_pairs pairs;
    bool lenient;      /* files that do not load count as refused */
    bool keep_log;     /* effect log */
    bool check_all;
    bool real_budgets; /* the wall clock counts for hooks: not repeatable, for specs of budgets */
    double concurrency_k; /* service takes serve_s * (1 + k * (inflight - 1)) */
    void (*log)(void *ud, const char *policy, const char *text);
    void *log_ud;
    unsigned hook_faults; /* of 10000 calls of hooks so many fail or run over their budget, at seeded places */
    uint64_t instructions; /* hooks raise when all of them together have taken so many; 0: never */
    const struct policy_deprecated *deprecated; /* see policies_conf */
    size_t n_deprecated;
    const struct policy_ops *row; /* decides instead of policies (n_files 0) */
    void *row_ctx;
};

struct replay_request {
    uint64_t id; /* 0: numbered */
    str model, key, session, path, kind; /* copied */
    int64_t tokens_in, tokens_out;
    msec serve_ms, cancel_ms; /* cancel after so long, < 0 never */
    int priority;
    double deadline_s;
    bool stream, side;
};

struct replay_dist {
    double p50, p90, p99, max, mean;
};
#define REPLAY_GROUPS 16 /* keys and models that are told one by one */
struct replay_group {
    str name; /* borrowed until replay_free */
    size_t n; /* served or being served */
    double mean_s, max_s;
};
struct replay_result {
    size_t requests, served, rejected, cancelled, failed, loads, evictions;
    double load_s, span_s, jain_keys, jain_models;
    double spread_keys, spread_models; /* longest mean wait (+ 1 s) by the shortest one */
    struct replay_group keys[REPLAY_GROUPS], models[REPLAY_GROUPS];
    size_t n_keys, n_models;
    double slowdown;                   /* mean of (wait + service) / service */
    struct replay_dist wait_s;
    double starvation_s; /* longest wait of a request, served or not */
    struct policies_stats policy;
    uint64_t overrides;
    size_t events;
};

struct replay;
int replay_new(const struct replay_conf *conf, struct replay **ret, struct error *e);
void replay_free(struct replay *r);
/* Times in msec from the start; requests may come in any order before replay_run. False: no such model. */
bool replay_add(struct replay *r, msec at, const struct replay_request *q);
void replay_unload(struct replay *r, msec at, const char *model); /* NULL: all */
void replay_crash(struct replay *r, msec at, const char *model);
void replay_foreign(struct replay *r, msec at, double mb);
void replay_preload(struct replay *r, msec at, const char *model);
/* What was measured: the n-th load takes ms[n], a negative one fails after so long; likewise stops. Afterwards, and for who
 * has none, the model's load_s and stop_s. Copied. */
void replay_measured(struct replay *r, const char *model, const msec *loads, size_t n_loads, const msec *stops, size_t n_stops);
/* To `until` (SIM_FOREVER: all has ended); goes on where it stopped. 0, or ERR_INTERNAL: a broken promise. */
int replay_run(struct replay *r, msec until, struct error *e);
void replay_result(const struct replay *r, struct replay_result *ret);
/* Wait in seconds until it was first granted; < 0: never. state: 's' served 'r' refused 'c' cancelled 'w' waits */
double replay_wait(const struct replay *r, uint64_t id, char *state);
struct policies *replay_policies(struct replay *r);
struct sim *replay_sim(struct replay *r);
str replay_log(const struct replay *r);
msec replay_now(const struct replay *r);

#endif
