/* policy.h: all Lua policies of a configuration, as one row of decisions and a handful of calls.
 *
 * What: loads the files, runs their hooks in sandboxes with budgets, checks what they answer, replaces those that
 *       fail. To the scheduler it is one `struct policy_ops`; to the proxy the calls below.
 * Not:  sockets, processes, the event loop. What a policy wants done goes through `struct policy_host`.
 * Owns: everything; the configuration and the host are borrowed until policies_free.
 * Never: fails the caller. A hook that fails counts as "no opinion" and the built-in decides in the same turn.
 * Time: `now` is the monotonic clock of the event, in msec. Loop thread only; no call may be made from inside a
 *       host callback except where it says so.
 *
 * Who calls what, when (every function accepts ps == NULL and then does nothing):
 *
 *   start        policies_new(&conf, &ps, &e); policies_attach(ps, sched, now)
 *   arrival      policies_route() when the head (and body) is known and authorised, before the name is resolved.
 *                POLICY_PENDING: done() comes later, the request waits. Then, with the model resolved
 *                (for every request, it is how policies know keys and tokens):
 *                t = dispatch_ticket(); policies_on_request(ps, t, &info, now, &answer); refused: end the ticket and
 *                reply. Accepted: post ARRIVE with answer.priority.
 *   before DONE  policies_outcome(ps, ticket, &outcome) with what is known of the answer (optional).
 *   ticket ends  policies_ticket_end(ps, ticket, cause, now) whenever a ticket is given back, whatever happened to
 *                it; a request that was accepted and never served or cancelled by the scheduler (refused for a
 *                limit, client gone before ARRIVE was handled) gets its on_cancel there. Idempotent.
 *   after every  sched_post: policies_settle(ps, now): commits buffered actions through the host and puts a changed
 *                row in charge. One test when there is nothing to do.
 *   timer        policies_tick(ps, now) at policies_next(ps) (ask again after each settle and tick); it does what
 *                is due: tick hooks, timers, route time-outs, retries of ejected policies, state files.
 *   loop idle    policies_idle(ps, 200): collects garbage for at most that many microseconds. policies_next is due at
 *                once while some is owed, so calling it after each tick will do.
 *   rewriting    policies_rewrite() at dispatch to the upstream; policies_on_failure() before the first byte went
 *                out; policies_after_ready()/policies_before_stop() around a swap. Skip each when
 *                policies_wants(ps, hook) is false.
 *   config       sched_reconfigure() first, then policies_reconfigure(ps, conf, now): files are loaded beside the old
 *                ones, state is handed over; on error the old set stays whole.
 *   end          policies_stop(ps, "shutdown", now); policies_free(ps).
 */
#ifndef LUASWAP_POLICY_POLICY_H
#define LUASWAP_POLICY_POLICY_H

#include "base/clock.h"
#include "base/error.h"
#include "base/strbuf.h"
#include "config/config.h"
#include "sched/ops.h"

#define POLICY_API_LEVEL 1
#define POLICY_API_COMPATIBLE 1
#define POLICIES_MAX 16
#define POLICY_MODELS_MAX 4 /* fallbacks in an answer of route */

/* Every hook that a file may define; the names are those of api.def without the "on_" where there is one. */
enum policy_hook {
#define HOOK(id, name, kind, args, ret, doc) POLICY_##id,
#include "policy/api.def"
    POLICY_HOOKS
};

struct policies;

/* The first thing in every set: what the caller may test without a call, so that a hook that nobody defines costs one
 * bit test where it would be called. Read only. */
struct policies_face {
    uint32_t wants; /* bit 1 << policy_hook: somebody active defines it, or is required and must be seen to refuse */
    bool body; /* somebody requires "body" */
};

/* ---- what a request looks like; strings borrowed for the call (route: until done) ---- */

struct policy_header {
    str name, value; /* name in lower case */
};
/* What takes work to find out, and is found out when a policy reads it. */
enum policy_fact {
    POLICY_FACT_KIND = 1,
    POLICY_FACT_KEY = 2,
    POLICY_FACT_SESSION = 4,
    POLICY_FACT_COUNTS = 8,   /* max_tokens, messages */
    POLICY_FACT_CONTENT = 16, /* has_tools, has_images */
    POLICY_FACT_HEADERS = 32, /* all of them; one alone: header() */
    POLICY_FACT_ALL = 63
};
struct policy_request_info;
struct preq;
/* Of a caller whose info stays where it is, with all its texts, until policies_source_end(): nothing is copied, and what
 * is missing is asked for. */
struct policy_source {
    struct policy_request_info *info;
    void (*find)(struct policy_source *s, unsigned facts); /* fills these in s->info */
    str (*header)(struct policy_source *s, str name);      /* empty: none, or one that policies may not see */
    void *ud;
    struct preq *rec; /* inside of policy/: who reads from it; NULL at first */
};
struct policy_request_info {
    struct policy_source *source; /* NULL: all is here, and copied */
    uint64_t id; /* the proxy's own number; grows with arrival */
    str model, asked, path, kind, key, session, client;
    bool stream;
    int64_t tokens_in, max_tokens, bytes, messages; /* -1 unknown */
    bool has_tools, has_images;
    int priority;
    double deadline_s; /* < 0: none */
    unsigned attempt;  /* 1 + retries */
    msec arrived;
    const struct policy_header *headers; /* authorization left out by the caller */
    size_t n_headers;
    str tags_json; /* what route answered, for on_request */
    str body; /* JSON; only shown to policies that require "body" */
};

struct policy_outcome {
    int status;
    int64_t tokens_in, tokens_out; /* -1 unknown */
    double cost;                   /* < 0: unknown */
    str error;                     /* empty: none; copied */
};

/* ---- what the hooks around a request answered ---- */

enum policy_answer_kind { POLICY_PASS, POLICY_ROUTED, POLICY_REFUSED, POLICY_PENDING };

struct policy_answer {
    enum policy_answer_kind kind;
    char policy[33];               /* who answered, "" = nobody */
    /* ROUTED (route) and PASS with changes (on_request) */
    char models[POLICY_MODELS_MAX][128]; /* route: the first one and its fallbacks */
    size_t n_models;
    bool has_priority;
    int priority;
    double deadline_s; /* < 0: unchanged */
    char class_[64];
    char tags_json[1024]; /* "" = none; else an object of strings */
    /* REFUSED */
    int status; /* 400..599 */
    double retry_after_s;
    char code[64];
    char message[256];
};

/* No opinion. Not the two kilobytes of text behind the first bytes: this happens several times in a request. */
static inline void policy_answer_clear(struct policy_answer *a)
{
    a->kind = POLICY_PASS;
    a->n_models = 0;
    a->has_priority = false;
    a->priority = a->status = 0;
    a->deadline_s = -1;
    a->retry_after_s = 0;
    a->policy[0] = a->class_[0] = a->tags_json[0] = a->code[0] = a->message[0] = '\0';
}
void policy_answer_copy(struct policy_answer *to, const struct policy_answer *from);

/* ---- what the policies need from whoever runs them; every function may be NULL ---- */

struct policy_gpu {
    unsigned index;
    char name[64];
    double total_mb, used_mb, foreign_mb, util, temp;
    msec sampled_at;
};
struct policy_model_facts {
    double vram_mb; /* measured, else declared; <= 0 unknown */
    double load_s, stop_s; /* declared or known from earlier; <= 0 unknown */
    str meta_json;  /* the metadata map; empty = {} */
};
struct policy_http_request {
    str method, url, body;
    const struct policy_header *headers;
    size_t n_headers;
    msec timeout_ms;
    uint64_t id; /* give it back to policies_http_done */
};
struct policy_http_answer {
    int status; /* 0: failed, see error */
    const struct policy_header *headers;
    size_t n_headers;
    str body, error;
};
enum policy_log_level { POLICY_LOG_DEBUG, POLICY_LOG_INFO, POLICY_LOG_WARN, POLICY_LOG_ERROR };

struct policy_host {
    void *ud;
    void (*log)(void *ud, enum policy_log_level level, const char *policy, const char *text);
    /* Local wall time; NULL: the system's. */
    void (*wall)(void *ud, msec now, int64_t *unix_s, int32_t *zone_s);
    size_t (*gpu)(void *ud, struct policy_gpu *out, size_t max); /* last sample, no probing */
    bool (*model_facts)(void *ud, model_id m, struct policy_model_facts *out);
    void (*host_facts)(void *ud, double *mem_free_mb, double *load1);
    /* Actions; called from policies_settle only. They may post events (dispatch_post), never sched_post. */
    void (*preload)(void *ud, model_id m, bool evict, const char *why);
    void (*unload)(void *ud, model_id m, const char *why);
    void (*kick)(void *ud); /* post a TICK */
    void (*cancel)(void *ud, ticket_id t, const struct policy_answer *refusal);
    /* Starts a call; the answer comes through policies_http_done, never from inside. False: cannot. */
    bool (*http_start)(void *ud, const struct policy_http_request *r);
    void (*http_cancel)(void *ud, uint64_t id); /* no answer wanted any more */
    /* Whole file, atomically; NULL: written here, blocking. */
    int (*save)(void *ud, const char *path, str bytes, struct error *e);
    /* Runs a file on recorded and canned traffic before it may decide (sim/rehearse.h); 0 or why not. */
    int (*rehearse)(void *ud, const struct config_policy *file, struct error *e);
    void (*exit)(void *ud, const char *policy); /* on_eject: exit */
    /* Runs run(arg) once, soon, somewhere that holds up nobody (a thread); NULL: at once. */
    void (*aside)(void *ud, void (*run)(void *arg), void *arg);
};

enum policy_pairs { POLICY_PAIRS_NATIVE, POLICY_PAIRS_SORTED, POLICY_PAIRS_REVERSED };

struct policies_conf {
    const struct config_policy *files; /* POLICIES_MAX at most */
    size_t n_files;
    const char *scheduler; /* name of the built-in that decides else: "serial", "fifo" */
    bool observe_only;     /* serial without `reorder`: scheduling answers do not count */
    uint64_t seed;         /* 0: from the kernel */
    enum policy_pairs pairs; /* simulators want an order that does not depend on the process */
    bool virtual_time;       /* no wall-clock budgets, so that runs repeat to the byte */
    bool live;               /* others wait meanwhile: files have to load quickly (a set that was attached is live anyway) */
    bool no_gpu, no_http;    /* capabilities that the host lacks */
    const struct policy_host *host; /* borrowed */
    /* For simulations with chaos: 0, or 1 the call raises, 2 it runs over its budget, 3 it raises because the run has
     * taken too long. NULL: never. */
    int (*fault)(void *ud, enum policy_hook h);
    void *fault_ud;
    const struct policy_deprecated *deprecated; /* beside those of api.def; for specs of the machinery */
    size_t n_deprecated;
};

/* 0; ERR_CONFIG with file and line in e: two claims on one op, a file that does not load. `lenient`: files that do
 * not load are left out as "refused" (logged, shown by status) instead. */
int policies_new(const struct policies_conf *conf, bool lenient, msec now, struct policies **ret, struct error *e);
void policies_free(struct policies *ps);
/* Puts the row in charge of s (sched_set_ops, sched_set_patience) and sends on_start. s is borrowed. */
void policies_attach(struct policies *ps, struct sched *s, msec now);
void policies_stop(struct policies *ps, const char *reason, msec now);
/* False: nobody defines it, skip the call. One test. */
static inline bool policies_wants(const struct policies *ps, enum policy_hook h)
{
    return ps && (((const struct policies_face *)(const void *)ps)->wants & 1u << h);
}

/* False: nobody may see has_tools, has_images or the body, so they need not be found out. */
static inline bool policies_need_body(const struct policies *ps)
{
    return ps && ((const struct policies_face *)(const void *)ps)->body;
}

/* ---- around a request ---- */

struct policy_route;
/* PASS, ROUTED or REFUSED at once; PENDING: done(ud, answer) later, or policies_route_cancel(*ret_job). */
enum policy_answer_kind policies_route(struct policies *ps, const struct policy_request_info *info, msec now,
                                       struct policy_answer *ret,
                                       void (*done)(void *ud, const struct policy_answer *a), void *ud,
                                       struct policy_route **ret_job);
void policies_route_cancel(struct policies *ps, struct policy_route *job);
/* PASS (with priority, deadline, class as changed) or REFUSED. */
enum policy_answer_kind policies_on_request(struct policies *ps, ticket_id t, const struct policy_request_info *info,
                                            msec now, struct policy_answer *ret);
void policies_outcome(struct policies *ps, ticket_id t, const struct policy_outcome *o);
/* A request ends that never got a ticket after policies_route (unknown model, peer, client gone). Idempotent. */
void policies_request_end(struct policies *ps, uint64_t id);
/* The info that `s` speaks of goes. A ticket that still waits, or whose end a policy will be told, keeps a copy. */
void policies_source_end(struct policies *ps, struct policy_source *s);
void policies_ticket_end(struct policies *ps, ticket_id t, const char *cause, msec now);
/* Members of the JSON body to set ("{"a":1}") and to drop (null stands for a drop), appended to `set_json` as an
 * object; false: no change. */
bool policies_rewrite(struct policies *ps, ticket_id t, const struct policy_request_info *info, msec now,
                      struct strbuf *set_json);
/* A policy will have the request tried again: what it knows of it (ctx, tags) goes on to the ticket after this one. */
void policies_again(struct policies *ps, ticket_id t);
struct policy_retry {
    bool retry; /* false: fail now, without the built-in's own attempt */
    char model[128]; /* "" = the same */
    msec delay_ms;   /* at most 30 s */
};
/* The upstream failed (`error`) before the first byte went out. t == 0: the request has no ticket (a peer's). False: no
 * opinion. */
bool policies_on_failure(struct policies *ps, ticket_id t, const struct policy_request_info *info, str error, msec now,
                         struct policy_retry *ret);
/* after_ready / before_stop: done(ud) when all policies have finished, at most `limit_ms` and each one's own
 * limits.stop_hook_s later; false: nobody is to be waited for, done is not called. `why`: see sched_stop_why. */
bool policies_around(struct policies *ps, enum policy_hook h, model_id m, const char *why, msec limit_ms, msec now,
                     void (*done)(void *ud), void *ud);

/* ---- time and outside answers ---- */

void policies_settle_now(struct policies *ps, msec now);
void policies_tick(struct policies *ps, msec now);
msec policies_next(const struct policies *ps); /* MSEC_NEVER: nothing planned */
/* While this is the same, and neither a tick, a settling nor a change of the set lies between, policies_next is, too. */
uint64_t policies_plan(const struct policies *ps);
void policies_idle(struct policies *ps, unsigned budget_us);
void policies_http_done(struct policies *ps, uint64_t id, const struct policy_http_answer *a, msec now);
bool policies_unsettled(const struct policies *ps);
static inline void policies_settle(struct policies *ps, msec now)
{
    if (ps && policies_unsettled(ps))
        policies_settle_now(ps, now);
}

/* ---- changing and showing them ---- */

/* The whole list again; `reason` goes to on_start ("reload"). On error nothing has changed. */
int policies_reconfigure(struct policies *ps, const struct policies_conf *conf, msec now, struct error *e);
/* POST /api/policy/<name>/{reload,resume,disable}; ERR_NOTFOUND for an unknown name. */
int policies_reload(struct policies *ps, str name, msec now, struct error *e);
int policies_resume(struct policies *ps, str name, msec now, struct error *e);
int policies_disable(struct policies *ps, str name, msec now, struct error *e);
/* Of the text of a file as it was loaded last, and of the modules that it uses; 0: it never was. */
uint64_t policies_hash(const struct policies *ps, str file);
/* Of the policy with that name; empty: unknown. */
str policies_file(const struct policies *ps, str name);
/* GET /api/policy; /api/policy/<name>/dump (false: unknown name); /api/policy/trace?n=; Prometheus lines. */
void policies_status_json(struct policies *ps, msec now, struct strbuf *out);
bool policies_dump_json(struct policies *ps, str name, msec now, struct strbuf *out);
void policies_trace_json(const struct policies *ps, size_t n, struct strbuf *out);
void policies_metrics(const struct policies *ps, struct strbuf *out);
/* Decisions that request `id` met (t: its ticket while it has one), as a JSON array: "why did my request wait". */
void policies_why_json(const struct policies *ps, ticket_id t, uint64_t id, struct strbuf *out);
/* Who decides the order now: "policy:NAME" or "builtin:NAME". */
void policies_in_charge(const struct policies *ps, struct strbuf *out);
/* Sum of answers that broke a rule, budgets and errors; for simulators. */
struct policies_stats {
    uint64_t calls, errors, budget, memory, invalid, holds, nils, ejections, overrides, instructions_max, instructions_p50, instructions_sum;
    uint64_t by_policy, by_builtin, by_fallback; /* decisions (pick_next, plan_swap) */
};
void policies_stats(const struct policies *ps, struct policies_stats *ret);

/* The API as data (from api.def). */
void policy_api_json(struct strbuf *out);
void policy_api_luacats(struct strbuf *out); /* lua/luaswap/meta.lua */
void policy_api_markdown(struct strbuf *out);
void policy_api_luacheck(struct strbuf *out);
void policy_api_lua(struct strbuf *out); /* a chunk that returns it as tables, for lua/luaswap/lint.lua */
struct policy_deprecated {
    const char *name, *since, *instead; /* name: a hook, "luaswap.x.y" or "Class.member" */
};
/* NULL: in good standing. `more`: further ones, for specs of the machinery itself. */
const struct policy_deprecated *policy_api_deprecated(const char *name, const struct policy_deprecated *more, size_t n);

#endif
