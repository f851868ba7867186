/* request.h: one client request: its states, what it owns, and its one exit.
 *
 *     HEAD -> BODY -> QUEUED -> SEND -> STREAM -> FLUSH -> END
 *       \-> REPLY (answered by ourselves) ----------------/       any state -> END when the client leaves
 *
 * Each state has a list in the server; req_to() is the only mover. Callbacks store what happened and call a step;
 * the memory is the HTTP request's arena, which goes when its `end` callback returns.
 */
#ifndef LUASWAP_PROXY_REQUEST_H
#define LUASWAP_PROXY_REQUEST_H

#include "config/config.h"
#include "http/client.h"
#include "http/server.h"
#include "io/timer.h"
#include "proxy/peer.h"
#include "proxy/spool.h"
#include "route/resolve.h"
#include "route/usage.h"
#include "sched/sched.h"

struct server;
struct model;
struct policy_request_info;
struct policy_route;
struct loading;
struct record;

enum req_state { REQ_HEAD, REQ_BODY, REQ_QUEUED, REQ_SEND, REQ_STREAM, REQ_FLUSH, REQ_REPLY, REQ_END, REQ_STATE_COUNT };
const char *req_state_name(enum req_state s);

struct request {
    unsigned magic;
    struct list node;
    enum req_state state;
    struct server *srv;
    struct http_req *http;
    struct config *cfg; /* the snapshot it began with */
    size_t profile;     /* the one that was active then; counts when a reload came in between */
    uint64_t id;
    uint64_t begin_ns;
    msec state_since;

    /* intake */
    struct spool body;
    uint64_t body_limit;
    void (*body_done)(struct request *req);
    /* Told of each piece of a body beyond UPLOAD_MIN (it is in `body` then): may begin an upload (upload.h); or NULL */
    void (*body_early)(struct request *req, str bytes);
    bool body_over, uploading, up_open; /* all of it has come; it goes on as it comes; its target is connected */
    uint64_t up_taken;                  /* bytes that the target was given so */
    int64_t up_longer;                  /* than the client's body, by what was changed in it */
    bool (*up_check)(struct request *req, str bytes); /* of what comes; false: it has ended the request; or NULL */
    struct io_timer *up_timer;

    /* routing, filled by the API layer before req_schedule */
    struct model *model;     /* local target, else NULL */
    const struct peer *peer; /* peer target, else NULL */
    struct peers *peers;     /* of cfg; keeps the peer, and a selector's reservation, alive */
    struct resolve_target target;
    str asked;         /* name the client sent */
    str upstream_path; /* escaped path sent on; empty: the client's. */
    str upstream_query; /* replaces the client's query, with a `model` renamed in it; empty: the client's */
    bool streaming;    /* the client asked for a stream */
    bool may_show_loading;
    bool metered; /* the answer must stay readable for us: of the encodings asked for only gzip and deflate are kept */
    bool upgrade; /* asks for another protocol (websocket) */
    bool unscheduled; /* an ignored websocket: served by a ready model without a slot */
    /* A `warm` selector chose the target, and may choose again while the request waits (warm.h). */
    int (*retarget)(struct request *req, struct error *e); /* edits the body for req->target; NULL = chosen for good */
    struct resolve_target warmer; /* takes the place of `target` when the scheduler agrees */
    bool moved;                   /* the body is to be edited again before it is sent */
    const str *parts; /* the body to send: slices of the spool and of the arena */
    size_t n_parts;
    uint64_t parts_len;
    const str *sending; /* parts with their framing, of the present attempt */

    /* policies */
    struct policy_request_info *policy_info; /* NULL: none are configured */
    struct policy_route *route_job;
    void (*route_go_on)(struct request *req, str name);
    int policy_priority;
    bool has_policy_priority;
    const str *rewritten; /* parts that rewrite has seen */
    unsigned attempts;    /* 0 = on_failure has not been asked */
    uint64_t place;       /* of the first attempt in the line */
    struct io_timer *again;
    str again_as; /* the model that on_failure named; empty: routed anew */
    str failure;  /* what went wrong, for on_serve_done */
    int fail_status;
    struct usage usage; /* of the answer, when somebody wants to know */
    bool side;              /* serial's side lane: no inference */
    uint32_t retry_after_s; /* of a refusal, 0 = 1 */

    /* scheduling */
    ticket_id ticket; /* 0 = none */
    bool granted;
    bool by_fifo;      /* granted by that scheduler: `fifo_priority` belongs to its metadata */
    int fifo_priority;
    struct record *record; /* NULL: not scheduled, or recording is off */
    bool broke_off;        /* the upstream did: its process may have died */
    bool retried, refused; /* once tried again after a death under it, after one before it could be sent */
    uint32_t position;

    /* forwarding */
    struct strbuf head; /* request head, kept until the exchange ends */
    struct http_x *x;
    struct http_tunnel *tunnel;
    struct spool out; /* the part of the answer that its reader has not taken */
    bool paused, spooling, upstream_done, is_sse, cut;
    bool upstream_refused; /* inside a loading stream: what came is not a stream */
    struct spool refusal;
    str trailers;
    struct io_timer *stall;
    struct io_timer *more; /* goes on emptying the spool in the next turn */
    struct list throttled;
    struct loading *loading;

    /* local long answers (log streams, unload): told when the request ends or drains */
    void (*on_end)(struct request *req);
    void (*on_drained)(struct request *req);
    void *local;
    void (*endless)(struct request *req); /* a live stream of our own: a drain ends it by this */
    bool www_authenticate; /* a 401 asks for a key */
};

/* --- for the API layer --- */
/* Reads the whole body (at most `limit` bytes, else 413), then calls done. */
void req_take_body(struct request *req, uint64_t limit, void (*done)(struct request *req));
/* Complete answers. */
void req_reply(struct request *req, int status, str content_type, str body);
/* Error envelope as the client's Accept wants it. code: NULL = by status. Adds Retry-After for 429 and 503. */
void req_fail(struct request *req, int status, const char *code, str message);
/* The error of an enum err. */
void req_fail_err(struct request *req, int code, str message);
/* Hands the request to the scheduler: model, parts and flags are set. */
void req_schedule(struct request *req);
/* To a peer, or to a ready model past its scheduler: peer or model and parts are set. */
void req_forward_now(struct request *req);
/* Ends another request on behalf of a person: 499 with the code request_cancelled, an error event in a stream that has
 * begun, never an empty answer. False: there is no request of that number that is on its way to a model. */
MUSTCHECK bool req_cancel(struct server *srv, uint64_t id);
/* A long answer of our own begins (state REPLY). */
void req_local(struct request *req, void *local, void (*on_end)(struct request *req), void (*on_drained)(struct request *req));

/* --- between the files of proxy/ --- */
extern const struct http_handler request_handler;
/* Keeps a piece of the body; false when there is no room and the request was answered. */
bool req_hold_body(struct request *req, str bytes);
void req_to(struct request *req, enum req_state to);
/* Ends the scheduling of it (DONE or CANCEL as fits); idempotent. */
void req_release_slot(struct request *req);
void req_granted(struct request *req);                              /* dispatch: GRANT */
void req_rejected(struct request *req, int code, int status, const char *text); /* dispatch: REJECT; status 0: by code */
void req_queued(struct request *req);                               /* dispatch: admitted, has to wait */
void req_position(struct request *req, uint32_t n);
void req_moved(struct request *req, struct model *m);               /* dispatch: waits for this model from now on */
void req_abort_serve(struct request *req, const char *text);
/* forward.c */
void forward_start(struct request *req);
void forward_cancel(struct request *req);
void forward_drained(struct request *req);
/* Ends an event stream that has begun with an error event, as if its upstream had broken off. */
void forward_break(struct request *req, int status, str text, const char *code);
void forward_spool_on(struct request *req); /* others wait: stop holding the upstream back */
/* loading.c */
void loading_start(struct request *req);
void loading_position(struct request *req, uint32_t n);
void loading_granted(struct request *req);
void loading_end(struct request *req); /* closing lines; the answer follows */
void loading_fail(struct request *req, int status, str message); /* error event, [DONE], end */
void loading_free(struct request *req);

#endif
