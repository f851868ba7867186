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
struct server;
struct request;

struct policy_glue {
    struct server *srv;
    struct policies *ps; /* NULL: none configured */
    struct config *cfg;  /* whose policies they are: they borrow from it */
    struct policy_host host;
    struct io_timer *timer;
    struct list calls; /* http calls under way */
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
/* Its ticket is given back, or it ends without ever having had one. */
void policy_glue_ticket_end(struct request *req, ticket_id t);
void policy_glue_request_end(struct request *req);

/* For the API. JSON into out; false: no such policy. */
void policy_glue_status(struct policy_glue *g, struct strbuf *out);
bool policy_glue_dump(struct policy_glue *g, str name, struct strbuf *out);
void policy_glue_trace(struct policy_glue *g, size_t n, struct strbuf *out);
/* verb: "reload", "resume", "disable". ERR_NOTFOUND for an unknown name or verb. */
MUSTCHECK int policy_glue_do(struct policy_glue *g, str name, str verb, struct error *e);

#endif
