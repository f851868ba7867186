/* priv.h: the inside of policy/: one state per file (struct policy), the set of them (struct policies).
 *
 * Rule: nobody but gate.c enters Lua. A C function that runs inside a hook may raise; then nothing that it holds
 *       may need freeing, so records and buffers hang on the policy or the set.
 * Views carry the number of the hook that showed them (policy.gen); another number means that they are dead.
 */
#ifndef LUASWAP_POLICY_PRIV_H
#define LUASWAP_POLICY_PRIV_H

#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "policy/policy.h"
#include "sched/view.h"

#include <lauxlib.h>
#include <lua.h>

#define POLICY_NAME_MAX 32
#define POLICY_STRING_MAX (1u << 20)
#define POLICY_SUBJECT_MAX (64u << 10) /* of a pattern */
#define POLICY_ERROR_RESERVE (64u << 10)
#define POLICY_HOOK_STEP 100 /* instructions between two looks at the budget */
#define POLICY_ACTIONS_MAX 32
#define POLICY_TIMERS_MAX 64
#define POLICY_HTTP_MAX 16
#define POLICY_SERIES_MAX 500
#define POLICY_STATE_MAX (1u << 20)
#define POLICY_ROUTE_MS 2000
#define POLICY_TASKS_MAX 4096 /* coroutines of one policy */
#define POLICY_DECISIONS 32
#define POLICY_TRACE 1024
#define POLICY_DIFFS 100
#define POLICY_HIST 40 /* buckets of 2^i ns */

enum verdict { V_ABSENT, V_NONE, V_VALUE, V_HOLD, V_REJECT, V_YIELD, V_ERROR, V_BUDGET, V_MEMORY, V_INVALID };
enum kill { KILL_NO, KILL_INSTRUCTIONS, KILL_WALL, KILL_MEMORY };
enum phase { PHASE_ROUTE = 1, PHASE_DECIDE = 2, PHASE_NOTE = 4, PHASE_CHUNK = 8 };
enum policy_state { PS_ACTIVE, PS_EJECTED, PS_REFUSED, PS_DISABLED, PS_OFF };

struct hook_stats {
    uint64_t n, nil, hold, ok, errors, budget, memory, invalid;
    uint64_t sum_ns, max_ns, instr_max;
    uint64_t hist[POLICY_HIST];
};

enum act { ACT_PRELOAD, ACT_UNLOAD, ACT_KICK, ACT_QUARANTINE, ACT_CANCEL };
struct action {
    enum act kind;
    model_id model;
    uint64_t request;
    bool evict, drain;
    msec ms;
    struct policy *by;
    struct policy_answer *refusal; /* CANCEL; owned */
    char why[80];
};

struct refusal { /* what reject() made; userdata */
    int status;
    double retry_after;
    char code[64], message[256];
};
struct hold { /* userdata */
    double sec;
    bool given;
    char why[64];
};

struct preq { /* what is known of one request */
    struct preq *hash_next;
    ticket_id ticket;
    uint64_t uid; /* grows; views compare it */
    uint64_t id;
    uint32_t slot;
    struct policies *ps;
    struct ticket *live; /* set while a note about it runs; else looked up */
    model_id model;
    str model_name, asked, path, kind, key, session, client, class_; /* into text */
    char *text;
    struct policy_header *headers; /* into text */
    size_t n_headers;
    bool stream, has_tools, has_images, tokens_exact, done, gone, accepted, known, ended_note;
    msec routed; /* route only so far: since when */
    int64_t tokens_in, max_tokens, bytes, messages, tokens_out;
    int priority, status;
    double deadline_s, cost;
    unsigned attempt;
    msec arrived, granted, ended;
    char class_buf[64], error[160], cause[160];
    char *tags_json;
    str body; /* borrowed, only while the call that gave it lasts */
};

struct decision {
    msec now;
    enum policy_hook hook;
    char source; /* p policy, b builtin, f fallback, o override */
    char policy[POLICY_NAME_MAX + 1];
    uint64_t request;
    model_id model;
    char text[72];
};

struct meter {
    uint64_t used, limit, mark; /* instructions; mark: of the last count */
    uint64_t start_ns, deadline_ns; /* 0: none */
    uint64_t big;               /* bytes of large blocks since the last look at the clock */
    enum kill killed;
    int kill_line;
    char kill_src[LUA_IDSIZE];
    bool on, step1;
};

struct task;
struct series {
    char *name, *labels;
    char kind; /* c g h */
    double value;
    uint64_t count;
};

struct policy {
    struct policies *ps;
    struct config_policy conf; /* texts borrowed from the configuration */
    char name[POLICY_NAME_MAX + 1], version[32];
    char file[512];
    char hash[17];
    uint64_t hash_sum;
    int api;
    unsigned index; /* in the set */
    enum policy_state state;
    bool shadow, required, fast_ready, plan_ready, classic, needs_body;
    double tick_interval_s;

    lua_State *L;
    size_t mem_used, mem_limit, mem_peak, mem_after_gc;
    bool mem_hit, gc_running;
    uint64_t gc_ns;
    struct meter m;
    lua_State *running; /* the thread that the meter is armed on */
    uint64_t gen;       /* of the hook that runs or ran last */
    bool in_hook, config_ready;
    enum phase phase;
    enum policy_hook hook;
    uint32_t present; /* bit per policy_hook */
    int refs[POLICY_HOOKS];
    int ref_views, ref_models, ref_swaps, ref_hold, ref_queue, ref_queue_all, ref_state, ref_config, ref_config_data, ref_meta, ref_luaswap,
        ref_loaded, ref_migrate, ref_env, ref_names;
    struct preq *cur; /* request of the running hook, for log lines */
    struct task *cur_task;
    const char *queue_dead;
    uint64_t model_meta_gen;

    struct action actions[POLICY_ACTIONS_MAX];
    size_t n_actions, max_actions;
    struct rand_state rand;
    msec log_second;
    unsigned log_count, log_dropped;
    struct list tasks; /* struct task: coroutines at work or waiting */
    struct list timers;
    size_t n_timers, n_tasks, n_http;
    lua_State **pool;
    int *pool_refs;
    size_t n_pool, cap_pool;
    msec next_tick;
    struct series *series;
    size_t n_series;

    struct hook_stats stats[POLICY_HOOKS];
    msec strikes[3];
    unsigned n_strikes;
    unsigned ejections, retries;
    msec since, retry_at, next_save;
    char eject_kind[16], eject_msg[300];
    enum policy_hook eject_hook;
    struct strbuf dump, scratch, warnings;
    struct decision last[POLICY_DECISIONS];
    size_t n_last;
    char last_error[300];
    msec error_second;
    unsigned error_count;
    uint64_t agree[POLICY_HOOKS], disagree[POLICY_HOOKS];
    char diffs[POLICY_DIFFS][160];
    size_t n_diffs;
    uint64_t starve_overrides;
};

struct model_extra {
    msec quarantined_until;
    bool unload_when_idle;
    char unload_by[POLICY_NAME_MAX + 1];
    char swap_why[80], swap_by[12];
};

struct policies {
    const struct policy_host *host;
    struct policies_conf conf;
    char scheduler[32];
    struct policy *at[POLICIES_MAX];
    size_t n;
    struct sched *sched;
    msec now;
    uint64_t seed;
    uint64_t clock_skip; /* virtual time: clock never read */

    struct policy *owner[POLICY_HOOKS]; /* who fills a scheduling op; NULL nobody */
    uint32_t wants;      /* hooks that somebody active defines */
    struct policy_ops row;
    bool row_on, row_stale, kick;
    struct model_extra *models;
    size_t n_models;
    bool any_quarantine, any_unload;
    struct policy *holder; /* who held last */
    model_id unload_model;
    const char *unload_by; /* set while an unload that a policy asked for is posted */

    struct preq **buckets;
    size_t mask, n_reqs;
    uint64_t next_uid;
    uint32_t *free_slots;
    size_t n_free, n_slots;

    struct action *pending;
    size_t n_pending, cap_pending;
    bool settling;
    struct list routes;
    uint64_t next_http;

    struct decision *trace;
    size_t n_trace;
    uint64_t by_policy, by_builtin, by_fallback, overrides;
    uint64_t op_source[POLICY_HOOKS][4];
    model_id *scratch, *scratch2;
};

/* ---- vm.c ---- */
int vm_open(struct policy *p, struct error *e); /* state, sandbox, library */
void vm_close(struct policy *p);
/* Runs the chunk and reads the table that it returns. */
int vm_load(struct policy *p, str text, struct error *e);
struct policy *vm_policy(lua_State *L);
/* Replaces the table on top by a read-only one. `deep`: tables in it too. */
void vm_freeze(lua_State *L, bool deep);
void vm_gc_idle(struct policy *p, uint64_t budget_ns);
const char *policy_embedded(str module, size_t *len); /* "luaswap.util.heap": its text; cmake/Embed.cmake */
int vm_read_file(const char *path, struct strbuf *out, struct error *e);
int vm_pairs(lua_State *L); /* pairs(t) in the order that the set asks for */
/* settings.c: schema at `schema` (0: none) and the configuration's JSON into the frozen table; raises. */
void settings_fill(lua_State *L, struct policy *p, int schema);
void vm_warn(struct policy *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *vm_suggest(str name, const char *const *known, size_t n);

/* ---- gate.c ---- */
struct call {
    struct policy *p;
    enum policy_hook hook;
    enum verdict verdict;
    int (*push)(lua_State *L, struct call *c);  /* arguments, returns how many */
    void (*take)(lua_State *L, struct call *c); /* the result is at the top; sets verdict */
    struct preq *req;
    const struct sched_note *note;
    model_id model, other;
    const char *text, *text2;
    void *out;
    double number;
    bool quiet;
};
enum verdict gate_call(struct policy *p, struct call *c);
/* fn(L) with one light userdata, under the limits of `hook`; for loading, migrating, state. 0 or ERR_*, e filled. */
int gate_run(struct policy *p, enum policy_hook hook, uint64_t instr, unsigned wall_ms, lua_CFunction fn, void *ud,
             struct error *e);
/* Starts or goes on with a coroutine. Its body catches its own errors and calls gate_failed (task.c). V_YIELD: it
 * waits; else what `verdict` says then, counted and punished. */
enum verdict gate_resume(struct policy *p, enum policy_hook hook, lua_State *co, int nargs, enum verdict *verdict,
                         const char *msg);
/* Inside a hook: what went wrong with status rc; the error value is at the top of L. */
enum verdict gate_failed(lua_State *L, int rc, enum policy_hook h, char *msg, size_t size);
void gate_close_thread(struct policy *p, lua_State *co);
void gate_charge(lua_State *L, uint64_t units); /* raises when the budget is gone */
bool gate_killed(lua_State *L);
int gate_reraise(lua_State *L);
enum phase hook_phase(enum policy_hook h);
const char *hook_name(enum policy_hook h);
void gate_traceback_text(lua_State *L, char *out, size_t size);
void gate_alloc_note(struct policy *p, size_t bytes);

/* ---- view.c ---- */
void view_open(lua_State *L, struct policy *p);
void view_push_request(lua_State *L, struct policy *p, struct preq *r);
/* The view in `slot` (of record `uid`) stands for r from now on. */
void view_move(struct policy *p, uint32_t slot, uint64_t uid, struct preq *r);
void view_push_model(lua_State *L, struct policy *p, model_id m);
void view_push_queue(lua_State *L, struct policy *p, bool all);
void view_push_swap(lua_State *L, struct policy *p, const struct swap *sw, const struct sched_note *n);
struct preq *view_to_request(lua_State *L, int at); /* NULL when it is no live view */
model_id view_to_model(lua_State *L, int at); /* a view or an id; MODEL_NONE */
bool view_ready(const struct sched *s, const struct ticket *t);
int view_gpu(lua_State *L);
void view_push_tags(lua_State *L, struct preq *r);

/* ---- req.c: records ---- */
struct preq *preq_find(const struct policies *ps, ticket_id t);
struct preq *preq_get(struct policies *ps, const struct ticket *t); /* made when missing */
struct preq *preq_new(struct policies *ps, ticket_id t, const struct policy_request_info *info);
void preq_free(struct policies *ps, struct preq *r);
const struct ticket *preq_ticket(const struct preq *r);
struct preq *preq_by_id(const struct policies *ps, uint64_t id);

/* ---- convert.c ---- */
bool convert_is_hold(lua_State *L, int at);
struct hold *convert_hold(lua_State *L, int at);
struct refusal *convert_refusal(lua_State *L, int at);
void convert_answer_refusal(struct policy_answer *a, const struct refusal *r, const char *policy);
/* {evict=, when=, grace=} at `at`; false: error in text. */
bool convert_plan(lua_State *L, int at, struct policies *ps, struct ops_plan *ret, char *why, const char **fault);
void convert_push_plan(lua_State *L, struct policies *ps, const struct ops_plan *plan);
bool convert_route(lua_State *L, int at, struct policy *p, struct policy_answer *a, const char **fault);
bool convert_admission(lua_State *L, int at, struct policy_answer *a, const char **fault);
bool convert_json(lua_State *L, int at, struct strbuf *b, unsigned depth, const char **fault);

/* ---- libs ---- */
void lib_core_open(lua_State *L, struct policy *p);  /* luaswap table at the top */
void lib_world_open(lua_State *L, struct policy *p);
void lib_json_open(lua_State *L);
void lib_task_open(lua_State *L, struct policy *p); /* timer, http */
void lib_string_open(lua_State *L); /* pushes the bounded string library */
void lib_table_open(lua_State *L);  /* pushes the bounded table library */
void lib_phase(lua_State *L, const char *what, unsigned phases);
int json_decode_to(lua_State *L, str text, const char **fault); /* pushes one value, or nothing and non-zero */
void json_null(lua_State *L);
void lib_log(struct policy *p, enum policy_log_level level, const char *text);
void lib_metrics_text(const struct policy *p, struct strbuf *out);

/* ---- pattern.c ---- */
#define PATTERN_CAPTURES 32
struct pattern_cap {
    const char *at;
    ptrdiff_t len; /* -1 open, -2 position */
};
struct pattern {
    lua_State *L;
    const char *src, *src_end, *pat_end;
    unsigned depth;
    uint64_t steps;
    int n_caps;
    struct pattern_cap caps[PATTERN_CAPTURES];
};
/* End of the match of p at s, or NULL. Raises for a bad pattern, or when the budget is gone (L != NULL). */
const char *pattern_match(struct pattern *m, const char *s, const char *p);

/* ---- ops.c ---- */
void ops_rebuild(struct policies *ps); /* owners, wants, row */
void ops_apply(struct policies *ps);   /* sched_set_ops when it changed */
void ops_note_decision(struct policies *ps, struct policy *p, enum policy_hook h, char source, uint64_t request,
                       model_id m, const char *fmt, ...) PRINTF_LIKE(7, 8);
enum ops_answer ops_builtin_plan(struct policies *ps, const struct sched *s, model_id target, struct ops_plan *ret);
void ops_deliver(struct policies *ps, enum policy_hook h, struct preq *r, const struct sched_note *n, model_id m,
                 const char *text, const char *text2);

/* ---- fit.c ---- */
/* Adds victims to a legal plan until the target's memory fits; cost(p) ranks them. HOLD: cannot now. */
enum ops_answer fit_plan(struct policies *ps, const struct sched *s, model_id target, struct ops_plan *plan,
                         double (*cost)(void *ud, model_id victim), void *ud);
double fit_vram(struct policies *ps, model_id m);

/* ---- eject.c ---- */
void eject_strike(struct policy *p, enum policy_hook h, enum verdict v, const char *msg);
void eject_fatal(struct policy *p, enum policy_hook h, const char *kind, const char *msg);
void eject_due(struct policies *ps, msec now); /* retries */
void eject_make_dump(struct policy *p, bool ask);

/* ---- set.c ---- */
int policy_open(struct policies *ps, const struct config_policy *conf, struct policy **ret, struct error *e);
void policy_close(struct policy *p);
void policy_start(struct policy *p, const char *reason, const char *from);
void policies_fit(struct policies *ps); /* room for all models of the scheduler */
struct policy *policies_find(const struct policies *ps, str name);
int policies_check_claims(struct policy *const *at, size_t n, struct error *e);

/* ---- state.c ---- */
int state_save(struct policy *p, struct strbuf *out, struct error *e); /* luaswap.state as text */
int state_restore(struct policy *p, str bytes, const char *old_version, struct error *e);
int state_read_file(struct policy *p, struct strbuf *out);
void state_due(struct policies *ps, bool last);

/* ---- task.c ---- */
void task_cancel_all(struct policy *p);
void task_tick(struct policies *ps, msec now);
msec task_next(const struct policy *p);

#endif
