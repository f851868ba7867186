/* policy_glue.h: the Lua policies of a configuration, connected to the running program.
 *
 * What: fills `struct policy_host` with what a policy may want done, describes requests to it, and calls it at the
 *       moments that policy/policy.h lists. Without policies every function is one test.
 * Owns: the policies object, its timer, the calls it makes to other servers.
 */
#ifndef LUASWAP_PROXY_POLICY_GLUE_H
#define LUASWAP_PROXY_POLICY_GLUE_H

#include "base/list.h"
#include "policy/policy.h"

struct config;
struct model;
struct server;
struct request;

struct policy_glue {
    struct server *srv;
    struct policies *ps; /* NULL: none configured */
    struct config *cfg;  /* whose policies they are: they borrow from it */
    struct policy_host host;
    struct io_timer *timer;
    uint64_t plan; /* of policies_plan, when the timer was set */
    struct list calls; /* http calls under way */
    struct gpu_watch *gpus; /* NULL: none */
    bool gpus_known;        /* looked for once */
    bool watched;           /* LUASWAP_LOOP_STATS: /api/policy shows the longest turn of the loop */
    struct strbuf meta; /* of the model that was asked for last */
};

/* ERR_CONFIG with file and line when a policy does not load. */
MUSTCHECK int policy_glue_init(struct policy_glue *g, struct server *srv, struct error *e);
void policy_glue_fini(struct policy_glue *g);
/* After the scheduler has handled an event: what policies want done is done, the timer is set. */
void policy_glue_settled(struct policy_glue *g);
/* Before a reload: would the policies of `next` load? */
MUSTCHECK int policy_glue_check(struct policy_glue *g, const struct config *next, struct error *e);
/* The configuration was replaced, that of the scheduler too; on error the old policies stay. */
MUSTCHECK int policy_glue_reconfigure(struct policy_glue *g, struct error *e);

/* Before the name is resolved. True: go on with *ret_name (as asked, or as a policy routed it). False: the request was
 * answered, or waits; then `go_on` is called later with the name. */
bool policy_glue_route(struct request *req, str asked, str body, str *ret_name, void (*go_on)(struct request *req, str name));
/* Has its ticket, before it arrives at the scheduler. False: it was answered. */
bool policy_glue_admit(struct request *req);
/* Does somebody want the token counts of its answer? */
bool policy_glue_counts(const struct request *req);
/* What will be told of the request when its ticket ends: the failure as a policy sees it. */
void policy_glue_note_failure(struct request *req, str error);
/* Its ticket is given back, or it ends without ever having had one. */
void policy_glue_ticket_end(struct request *req, ticket_id t);
void policy_glue_request_end(struct request *req);

/* Before its body goes to the upstream: members set and dropped in req->parts. */
void policy_glue_rewrite(struct request *req);
/* Its upstream failed, or its model did not start, before a byte of an answer went out (`t`: the ticket that it had for
 * that, 0 = none; `builtin`: without a policy it would be tried again at once). AGAIN: the request is out of the
 * scheduler and comes back by itself; FINAL: answer the failure, no attempt of our own; BUILTIN: as without policies. */
enum policy_failure { POLICY_FAILURE_BUILTIN, POLICY_FAILURE_FINAL, POLICY_FAILURE_AGAIN };
MUSTCHECK enum policy_failure policy_glue_failed(struct request *req, ticket_id t, str error, bool builtin);

/* A process is ready, or is about to be stopped. True: policies are waited for; MODEL_UP is posted, model_stop called,
 * later. `tag`: the swap that comes back in the process's answer. */
MUSTCHECK bool policy_glue_after_ready(struct model *m, swap_id tag);
MUSTCHECK bool policy_glue_before_stop(struct model *m, swap_id tag, msec grace_ms);
/* The process ended: nothing is waited for any more. The tag of a MODEL_UP that was held back, else 0. */
swap_id policy_glue_model_ended(struct model *m);

/* For the API. JSON into out; false: no such policy. */
void policy_glue_status(struct policy_glue *g, struct strbuf *out);
bool policy_glue_dump(struct policy_glue *g, str name, struct strbuf *out);
void policy_glue_trace(struct policy_glue *g, size_t n, struct strbuf *out);
/* Who decides the order; the decisions that a request met (a JSON array). */
void policy_glue_in_charge(struct policy_glue *g, struct strbuf *out);
void policy_glue_why(struct policy_glue *g, ticket_id t, uint64_t id, struct strbuf *out);
void policy_glue_metrics(struct policy_glue *g, struct strbuf *out);
/* verb: "reload", "resume", "disable". ERR_NOTFOUND for an unknown name or verb. */
MUSTCHECK int policy_glue_do(struct policy_glue *g, str name, str verb, struct error *e);

/* --- between the files of this folder --- */
/* Answers a request as a policy's reject says. */
void policy_glue_refuse(struct request *req, const struct policy_answer *a);
/* policy_host.c */
void policy_host_fill(struct policy_glue *g);
void policy_host_gpus(struct policy_glue *g); /* the watch is there, or is not */
/* policy_http.c; ud is the glue */
void policy_http_init(struct policy_glue *g);
void policy_http_fini(struct policy_glue *g);
bool policy_http_start(void *ud, const struct policy_http_request *r);
void policy_http_cancel(void *ud, uint64_t id);

#endif
