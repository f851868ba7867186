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
#include "base/sha256.h"
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
#define POLICY_LOAD_MS 1000
#define POLICY_LOAD_LIVE_MS 30 /* all files of a set, while it is at work */
#define POLICY_TASKS_MAX 4096 /* coroutines of one policy */
#define POLICY_STACKS 300
#define POLICY_STACK_MIN 512 /* bytes: the smallest has 45 slots */
#define POLICY_STACK_MAX (128u << 10) /* bytes: some 5,000 slots, the next size would be above */
#define POLICY_DECISIONS 32
#define POLICY_TRACE 1024
#define POLICY_CTX_MAX (8u << 20) /* bytes of req.ctx that a reload carries over */
#define POLICY_DIFFS 100
#define POLICY_HIST 40 /* buckets of 2^i ns */
#define POLICY_INSTR_HIST 96 /* buckets of instructions, four to a doubling */
#define ROUTE_TICKET (UINT64_C(1) << 63) /* of a record that route made; | the request's id */

enum verdict { V_ABSENT, V_NONE, V_VALUE, V_HOLD, V_REJECT, V_YIELD, V_ERROR, V_BUDGET, V_MEMORY, V_INVALID };
enum kill { KILL_NO, KILL_INSTRUCTIONS, KILL_WALL, KILL_MEMORY };
enum phase { PHASE_ROUTE = 1, PHASE_DECIDE = 2, PHASE_NOTE = 4, PHASE_CHUNK = 8 };
enum policy_state { PS_ACTIVE, PS_EJECTED, PS_REFUSED, PS_DISABLED, PS_OFF };

struct hook_stats {
    uint64_t n, nil, hold, ok, errors, budget, memory, invalid;
    uint64_t sum_ns, max_ns, instr_max, instr_sum;
    uint64_t hist[POLICY_HIST];
    uint64_t instr_hist[POLICY_INSTR_HIST];
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
    struct policy_source *source; /* where its texts lie and missing facts are found; NULL: in `text`, and none are missing */
    unsigned missing; /* bits of policy_fact */
    struct ticket *live; /* set while a note about it runs; else looked up */
    const struct ticket *shown; /* its ticket while ps->stamp is shown_at: saves looking it up in a loop over the line */
    uint64_t shown_at;
    uint64_t score_round; /* score holds for this round of the dispatcher, and as long as these are the same */
    size_t score_inflight, score_swaps;
    double score;
    bool scored;
    model_id model;
    str model_name, asked, path, kind, key, session, client, class_; /* into text */
    char *text; /* one block: the headers, then what all of them point to */
    size_t text_room;
    struct policy_header *headers; /* into text */
    size_t n_headers;
    bool stream, has_tools, has_images, tokens_exact, done, gone, accepted, known, ended_note;
    bool again; /* its request comes back with another ticket */
    msec routed; /* route only so far: since when */
    int64_t tokens_in, max_tokens, bytes, messages, tokens_out;
    int priority, status;
    double deadline_s, cost;
    unsigned attempt;
    msec arrived, granted, ended;
    char *tags_json;
    str body; /* borrowed, only while the call that gave it lasts */
    char class_buf[64], error[160], cause[160]; /* last */
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
    uint64_t start_ns, deadline_ns; /* 0: none (yet) */
    unsigned wall_ms;
    uint64_t big;               /* bytes of large blocks since the last look at the clock */
    enum kill killed;
    int kill_line;
    char kill_src[LUA_IDSIZE];
    uint64_t cpu_ns; /* not 0: only what was computed since counts against wall_ms, not what other programs took */
    uint64_t cpu_may_ns;
    bool on, step1;
};

#define POLICY_BLOCKS 16 /* lists of small blocks, of 16 bytes, 32 bytes ... */
struct block {
    struct block *next;
};

#define POLICY_NAMES 128
struct name_map { /* field names of one kind of view, by address; open addressing */
    const char *at[POLICY_NAMES];
    uint8_t field[POLICY_NAMES];
};
static inline size_t name_slot(const char *name)
{
    return ((uintptr_t)name >> 3 ^ (uintptr_t)name >> 10) % POLICY_NAMES;
}

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
    char sha256[SHA256_HEX]; /* of the file */
    uint64_t hash_sum; /* of it and the modules that it uses */
    int api;
    unsigned index; /* in the set */
    enum policy_state state;
    bool shadow, required, fast_ready, plan_ready, classic, needs_body;
    double tick_interval_s;

    lua_State *L;
    size_t mem_used, mem_limit, mem_peak, mem_after_gc;
    struct block *blocks[POLICY_BLOCKS]; /* free, for the next of their size */
    size_t spare_bytes;
    bool mem_hit, gc_running, stack_next, stack_hit;
    struct stack {
        const void *at;
        size_t size;
    } stacks[POLICY_STACKS]; /* of all threads */
    size_t n_stacks, plain_size;
    const void *plain; /* the last block that is no object, if it was the last that was made */
    uint64_t gc_ns;
    struct meter m;
    lua_State *running; /* the thread that the meter is armed on */
    uint64_t gen;       /* of the hook that runs or ran last */
    bool in_hook, config_ready;
    enum phase phase;
    enum policy_hook hook;
    uint32_t present; /* bit per policy_hook */
    int refs[POLICY_HOOKS];
    int ref_views, ref_models, ref_swaps, ref_hold, ref_queue, ref_queue_all, ref_state, ref_config, ref_config_data, ref_metas[4], ref_luaswap,
        ref_loaded, ref_migrate, ref_env, ref_names;
    struct name_map names[4];
    struct preq *cur; /* request of the running hook, for log lines */
    struct task *cur_task;
    const char *queue_dead;
    char swap_error[160]; /* of the swap that on_swap_done is about */
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
    bool unload_when_idle, stop_by_policy;
    char unload_by[POLICY_NAME_MAX + 1];
    char swap_why[80], swap_by[12];
};

struct policies {
    struct policies_face face; /* first */
    const struct policy_host *host;
    struct policies_conf conf;
    char scheduler[32];
    struct policy *at[POLICIES_MAX];
    size_t n;
    struct sched *sched;
    msec now;
    uint64_t seed;
    msec turn; /* since this `now` hooks have taken so long: */
    uint64_t turn_ns;
    bool live; /* at work in a loop that others wait for */
    uint64_t stamp; /* grows when a hook begins and when it ends */

    struct policy *owner[POLICY_HOOKS]; /* who fills a scheduling op; NULL nobody */
    struct policy_ops row;
    bool row_on, row_stale, kick;
    struct model_extra *models;
    size_t n_models;
    bool any_quarantine, any_unload;
    struct policy *holder; /* who held last */
    model_id unload_model;
    const char *unload_by; /* set while an unload that a policy asked for is posted */

    struct preq *spare_reqs; /* ended, kept for the next; by hash_next */
    size_t n_spare;
    struct policy_route *spare_route;
    struct task *spare_task;
    struct preq **buckets;
    size_t mask, n_reqs;
    uint64_t next_uid;
    struct preq *hot; /* looked for last, or NULL */
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
void vm_load_chunk(lua_State *L, struct policy *p, str text, const char *name); /* pushes the function, or raises */
/* chunk.c: runs the chunk and reads the table that it returns. */
int vm_load(struct policy *p, str text, struct error *e);
static inline struct policy *vm_policy(lua_State *L)
{
    return *(struct policy **)lua_getextraspace(L);
}
/* Replaces the table on top by a read-only one. `deep`: tables in it too. */
void vm_freeze(lua_State *L, bool deep);
/* stack.c; from the allocator only. */
bool stack_may_grow(struct policy *p, const void *ptr, size_t nsize);
void stack_gone(struct policy *p, const void *ptr);
bool stack_moves(struct policy *p, const void *ptr); /* true: it is one, and has to be made again */
void stack_made(struct policy *p, const void *now, size_t tag, size_t size, bool moved);
bool vm_gc_owed(const struct policy *p);
void vm_gc_idle(struct policy *p, uint64_t budget_ns);
const char *policy_embedded(str module, size_t *len); /* "luaswap.util.heap": its text; cmake/Embed.cmake */
int vm_read_file(const char *path, struct strbuf *out, struct error *e);
int vm_pairs(lua_State *L); /* pairs(t) in the order that the set asks for */
/* settings.c: schema at `schema` (0: none) and the configuration's JSON into the frozen table; raises. */
void settings_fill(lua_State *L, struct policy *p, int schema);
void settings_hide_secrets(lua_State *L); /* the table at the top becomes a copy with "***" for those that are `secret` */
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
    const struct ticket *shown; /* of req, when it is at hand */
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
bool gate_turn_left(const struct policies *ps); /* of the time that all hooks of a turn have together */

/* ---- view.c ---- */
void view_open(lua_State *L, struct policy *p);
void view_push_request(lua_State *L, struct policy *p, struct preq *r);
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
void preq_find_out(struct preq *r, unsigned facts);
static inline void preq_need(struct preq *r, unsigned facts)
{
    if (r->missing & facts)
        preq_find_out(r, facts);
}
const struct ticket *preq_ticket(const struct preq *r);
/* Inside a hook: t is r's ticket, and stays where it is until the hook ends. */
static inline void preq_show(struct preq *r, const struct ticket *t)
{
    r->shown = t;
    r->shown_at = r->ps->stamp;
}
struct preq *preq_by_id(const struct policies *ps, uint64_t id);
/* A new record with the views (ctx) and tags of an old one, which is freed. admit.c */
struct preq *preq_succeed(struct policies *ps, struct preq *old, ticket_id t, const struct policy_request_info *info);

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
void lib_config_ready(lua_State *L, struct policy *p); /* settings are filled: reading them costs no call from now on */
void lib_phase(lua_State *L, const char *what, unsigned phases);
int json_decode_to(lua_State *L, str text, const char **fault); /* pushes one value, or nothing and non-zero */
void json_null(lua_State *L);
void lib_log(struct policy *p, enum policy_log_level level, const char *text);
const struct policy_deprecated *lib_deprecated(lua_State *L, const char *name); /* NULL: in good standing */

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
struct policy *ops_owner(struct policies *ps, enum policy_hook h); /* who fills it and is active; NULL */
void ops_note(void *ctx, const struct sched *s, const struct sched_note *n); /* notes.c: the row's */
void ops_note_routed(struct policies *ps, struct policy *p, uint64_t request, const char *model);
/* notes.c */
void ops_deliver(struct policies *ps, enum policy_hook h, struct preq *r, const struct sched_note *n, model_id m,
                 const char *text, const char *text2);

/* Ask one policy; what it says is not noted anywhere. */
enum verdict ops_ask_pick(struct policy *p, struct ops_pick *ret);
enum verdict ops_ask_plan(struct policy *p, model_id target, struct ops_plan *ret);
enum verdict ops_ask_score(struct policy *p, struct preq *r, const struct ticket *t, double *ret);
enum verdict ops_ask_ttl(struct policy *p, model_id m, msec *ret);

/* ---- shadow.c: `active` is what was decided ---- */
bool shadow_any(const struct policies *ps, enum policy_hook h);
void shadow_pick(struct policies *ps, const struct sched *s, ticket_id active); /* 0: a hold */
void shadow_plan(struct policies *ps, const struct sched *s, model_id target, const struct ops_plan *active, bool builtin);
void shadow_ttl(struct policies *ps, const struct sched *s, model_id m, msec active);

/* ---- fit.c ---- */
/* Adds victims to a legal plan until the target's memory fits; cost(p) ranks them. HOLD: cannot now. */
enum ops_answer fit_plan(struct policies *ps, const struct sched *s, model_id target, struct ops_plan *plan,
                         double (*cost)(void *ud, model_id victim), void *ud);
double fit_vram(struct policies *ps, model_id m);

/* ---- eject.c ---- */
void eject_strike(struct policy *p, enum policy_hook h, enum verdict v, const char *msg);
void eject_fatal(struct policy *p, enum policy_hook h, const char *kind, const char *msg);
void eject_due(struct policies *ps, msec now); /* retries */
unsigned eject_strikes(const struct policy *p); /* that have not decayed */
void eject_make_dump(struct policy *p, bool ask);

/* ---- set.c ---- */
int policy_open(struct policies *ps, const struct config_policy *conf, struct policy **ret, struct error *e);
void policy_close(struct policy *p);
void policy_start(struct policy *p, const char *reason, const char *from);
void policy_stop(struct policy *p, const char *reason, const char *kind);
void policies_set_conf(struct policies *ps, const struct policies_conf *conf);
int policies_load(struct policies *ps, const struct policies_conf *conf, bool lenient, struct policy **at,
                  size_t *ret_n, struct error *e);
void policies_fit(struct policies *ps); /* room for all models of the scheduler */
struct policy *policies_find(const struct policies *ps, str name);
int policies_check_claims(struct policy *const *at, size_t n, struct error *e);

/* ---- state.c ---- */
int state_save(struct policy *p, struct strbuf *out, struct error *e); /* luaswap.state as text */
int state_restore(struct policy *p, str bytes, const char *old_version, struct error *e);
int state_read_file(struct policy *p, struct strbuf *out);
/* req.ctx of all requests, as far as it is data; what is not is dropped, with a warning. */
void state_carry_ctx(struct policy *from, struct policy *to);
void state_due(struct policies *ps, bool last);

/* ---- task.c ---- */
void task_cancel_all(struct policy *p);
void task_tick(struct policies *ps, msec now);
msec task_next(const struct policy *p);

#endif
