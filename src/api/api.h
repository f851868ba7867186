/* api.h: the endpoints: one table of routes, and the handlers behind it.
 *
 * What: api_route() is what the server calls when a request head is complete: preflight, path rules, method,
 *       API key, then the handler of the route. Handlers are grouped by topic, one file each.
 * Adding one: a line in routes.def, the handler in the file it belongs to, docs/http.md, a functional spec
 *       (spec/lint/routes_spec.lua fails until it is documented and exercised).
 */
#ifndef LUASWAP_API_API_H
#define LUASWAP_API_API_H

#include "proxy/request.h"
#include "proxy/server.h"

enum api_access { API_OPEN, API_KEY };

struct route {
    const char *method; /* "GET" also serves HEAD; "*" any */
    const char *path;   /* exact, or with one '*': at the end for any rest, inside for a segment */
    enum api_access access;
    void (*handler)(struct request *req, const struct route *r);
    unsigned flags;
    const char *doc;
};

#define ROUTE_LOADING 1u     /* may show the loading stream */
#define ROUTE_METERED 2u     /* leaves an activity row */
#define ROUTE_STRIP_V 4u     /* "/v/x" goes upstream as "/x" */
#define ROUTE_STRIP_AUDIO 8u /* "/audioapi/x" goes upstream as "/x" */

struct api;
struct api *api_new(void);
void api_free(struct api *a);
void api_route(struct request *req);
/* All routes, for the specs and the docs. */
const struct route *api_routes(size_t *ret_n);
/* What stands in the path for a route's '*', as the client escaped it. */
str api_tail(const struct request *req, const struct route *r);
/* A JSON answer; the buffer is emptied. A full buffer becomes a 500. */
void api_reply_json(struct request *req, int status, struct strbuf *json);
void api_redirect(struct request *req, int status, str location);
/* To a path that was put together, the request's query behind it; the buffer is emptied. A full one becomes a 414. */
void api_redirect_path(struct request *req, int status, struct strbuf *path);
void api_not_found(struct request *req); /* what unknown paths get */

/* inference.c: steps that other handlers share. False: the request has been answered. */
bool api_resolve(struct request *req, str name); /* name -> target, then api_target */
bool api_target(struct request *req);            /* req->target -> model or peer; 409 for ignored websockets */
bool api_whole_body(struct request *req, struct error *e); /* the body goes on as it came */
/* For req->body_early of a body that nobody looks at: it goes on while it comes, if it may (proxy/upload.h). */
void api_early(struct request *req, str bytes);
/* The whole body for a peer under /upstream: where the request itself names the model by its full name, the peer's own name
 * takes its place (http.md 3.3). */
bool api_peer_body(struct request *req, struct error *e);
bool api_may_name_peer(const struct request *req); /* is there any place in it where it could do so */
void api_go(struct request *req);                /* to the scheduler, or at once when there is none to ask */
/* Is this the path of an endpoint that names a model (whatever its method). */
bool api_is_model_path(str path);
bool api_is_websocket(const struct request *req);

/* handlers, by file */
void api_inference(struct request *req, const struct route *r); /* inference.c */
void api_upstream(struct request *req, const struct route *r);  /* upstream.c */
void api_health(struct request *req, const struct route *r);    /* health.c */
void api_root(struct request *req, const struct route *r);
void api_upstream_root(struct request *req, const struct route *r);
void api_ui(struct request *req, const struct route *r);
void api_version(struct request *req, const struct route *r);
void api_models(struct request *req, const struct route *r); /* models.c */
void api_running(struct request *req, const struct route *r); /* running.c */
void api_unload_all(struct request *req, const struct route *r);
void api_unload_all_json(struct request *req, const struct route *r);
void api_unload_one(struct request *req, const struct route *r);
void api_cancel(struct request *req, const struct route *r);
void api_logs(struct request *req, const struct route *r); /* logs.c */
void api_logs_stream(struct request *req, const struct route *r);
void api_policy(struct request *req, const struct route *r); /* policy.c */
void api_policy_get(struct request *req, const struct route *r);
void api_policy_post(struct request *req, const struct route *r);
void api_scheduler(struct request *req, const struct route *r); /* scheduler.c */
void api_scheduler_trace(struct request *req, const struct route *r);
void api_request_why(struct request *req, const struct route *r);
void api_metrics(struct request *req, const struct route *r); /* metrics.c */
void api_profiles(struct request *req, const struct route *r); /* profiles.c */
void api_profile_set(struct request *req, const struct route *r);
void api_comfyui(struct request *req, const struct route *r); /* comfyui.c */
void api_comfyui_slash(struct request *req, const struct route *r);
void api_debug_state(struct request *req, const struct route *r); /* debug.c */
void api_debug_sched(struct request *req, const struct route *r);

#endif
