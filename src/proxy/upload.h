/* upload.h: a large request body that goes on to its target while it is still coming.
 *
 * What: from upload_begin on, what has come lies in req->body only until the target's connection is there; then the
 *       client is read as fast as the target takes it. While the request waits for its turn, what comes is spooled as
 *       ever, so that the rest of a slow upload is all that a target ever waits for.
 * When: to peers, and to a ready model under fifo when nobody waits (upload_may). Never under serial: there the slot
 *       belongs to the model's work, not to a client's line.
 * Not:  bodies that must be looked at or edited as a whole (JSON).
 * Retry: as long as the target has not been given a byte (upload_spent), as for a held body. Afterwards it cannot be
 *       asked again. A body that has come whole before it was its turn is a held body again.
 */
#ifndef LUASWAP_PROXY_UPLOAD_H
#define LUASWAP_PROXY_UPLOAD_H

#include "proxy/request.h"

struct http_forward;

/* Bodies up to this are always held. */
#define UPLOAD_MIN ((uint64_t)1024 * 1024)

/* req->peer or req->model is set. */
bool upload_may(const struct request *req);
/* Before upload_begin: puts `value` in place of `len` bytes at `at`, which have come already. False: they are not in
 * memory any more, or there is no room; nothing has changed. */
bool upload_splice(struct request *req, uint64_t at, uint64_t len, str value);
/* In state BODY, from body_early; body_done is not called any more. The request is to be handed over now. */
void upload_begin(struct request *req);
/* From up_check: what comes cannot go on after what has gone. The client is told as far as that is possible. */
void upload_refuse(struct request *req, str why);
/* Some of the body has left us. */
bool upload_spent(const struct request *req);

/* --- for request.c --- */
void upload_bytes(struct request *req, str bytes);
void upload_over(struct request *req); /* the client has sent everything */
/* --- for forward.c --- */
/* A new attempt: true when the body goes on as it comes, with the framing put into opt; false: in parts. */
bool upload_frame(struct request *req, struct http_forward *opt);
void upload_drained(void *ud, struct http_x *x);
void upload_fini(struct request *req);

#endif
