/* server.h: the HTTP/1.1 server side: listeners, connections, one request at a time per connection.
 *
 * What: parses requests strictly, hands each to the handler, frames its answer. Keep-alive; a pipelined next
 *       request waits (unread beyond a bound) until this one has ended. While a request is open the
 *       connection goes on being read, so that a client that leaves is noticed at once.
 * Not:  routing, auth, bodies in memory (the handler gets the bytes as they come).
 * Owns: connections and http_req objects. A http_req is valid from `begin` until its `end` returned.
 * Order: begin -> (body* -> body_end)? -> drained* -> end. `end` comes exactly once and last, also when the
 *        client leaves or the server closes. No callback comes from inside a http_req_* call.
 * Limits: those of the conf. Bad heads, time-outs and overflows are answered here (400 408 431 505) through
 *        the conf's `error` writer and never reach the handler.
 */
#ifndef LUASWAP_HTTP_SERVER_H
#define LUASWAP_HTTP_SERVER_H

#include "base/arena.h"
#include "codec/http_head.h"
#include "io/listen.h"
#include "io/tls.h"

struct http_server;
struct http_req;

enum http_end {
    HTTP_END_DONE, /* the whole answer has gone to the kernel */
    HTTP_END_GONE, /* the client left, or the connection was cut, before that */
};

struct http_handler {
    void (*begin)(void *ud, struct http_req *r);
    void (*body)(struct http_req *r, str bytes); /* decoded; only while http_req_read(r, true) */
    void (*body_end)(struct http_req *r);        /* at once after begin (in the same turn) when there is no body */
    void (*drained)(struct http_req *r);         /* the response queue is empty again */
    void (*end)(struct http_req *r, enum http_end why);
};

struct http_server_conf {
    size_t head_max;        /* bytes of a request head */
    msec head_timeout_ms;   /* first byte to end of head */
    msec idle_timeout_ms;   /* keep-alive without a request */
    size_t conns_max;       /* above it, accepting pauses */
    size_t arena_max;       /* memory of one request's arena */
    struct io_tls_server *tls; /* every connection is secured with it; the handshake has head_timeout_ms. NULL = none */
    /* Writes the body of an error the server itself answers; may be NULL (plain text). */
    void (*error_body)(void *ud, struct strbuf *out, int status, str message, const char **ret_content_type);
};

struct http_server *http_server_new(struct io_loop *l, const struct http_server_conf *conf,
                                    const struct http_handler *h, void *ud);
/* Other limits, for what begins from now on. */
void http_server_reconf(struct http_server *s, const struct http_server_conf *conf);
int http_server_listen(struct http_server *s, str addr, struct error *e);
/* Address of the i-th listener, empty beyond the last. */
str http_server_addr(const struct http_server *s, size_t i);
int http_server_port(const struct http_server *s, size_t i);
size_t http_server_conns(const struct http_server *s);
/* Drain: stop accepting, close idle connections, answer with Connection: close from now on. */
void http_server_drain(struct http_server *s);
/* Cuts every connection (their requests get `end`), then calls `closed` once. Upgraded ones are the handler's:
 * `closed` waits for their http_req_upgraded_end. */
void http_server_close(struct http_server *s, void (*closed)(void *ud), void *ud);
/* Frees the object after `closed`. */
void http_server_free(struct http_server *s);

/* --- one request --- */
const struct http_head *http_req_head(const struct http_req *r);
str http_req_peer(const struct http_req *r); /* client's address without port */
struct arena *http_req_arena(struct http_req *r);
void http_req_set_ud(struct http_req *r, void *ud); /* the handler's own object */
void *http_req_ud(const struct http_req *r);
/* Credit for the request body; off at begin. A handler that answers without reading it may simply answer:
 * a small rest is read and dropped, after a larger one the connection closes. Turning it on sends
 * 100 Continue when the client waits for it. */
void http_req_read(struct http_req *r, bool on);
/* After body_end: trailers of a chunked request as "Name: value\r\n" lines, often empty. */
str http_req_trailers(const struct http_req *r);

/* The answer: head_begin, http_head_add (http_write.h) on the returned buffer as often as wanted (no framing or
 * hop-by-hop headers), head_end, then send* and finish. The head waits for the first send, flush or finish, so
 * that head and body leave in one system call; at the latest it goes out at the end of the loop turn. Date is added
 * unless it was given. */
struct strbuf *http_req_head_begin(struct http_req *r, int status, str reason);
/* Before head_end: says "Connection: keep-alive" also where HTTP/1.1 need not, for readers of event streams. */
void http_req_say_keep_alive(struct http_req *r);
/* LENGTH: exactly `length` bytes follow. CHUNKED: unknown length (HTTP/1.0: until close). NONE: no body. */
void http_req_head_end(struct http_req *r, enum http_body body, uint64_t length);
/* Accepts all of it; returns false when the queue is now above the high mark (16 KiB): stop until `drained`. */
bool http_req_send(struct http_req *r, str bytes);
void http_req_flush(struct http_req *r);
void http_req_finish(struct http_req *r);
/* As finish, with trailers ("Name: value\r\n" lines) for a chunked body. */
void http_req_finish_trailers(struct http_req *r, str lines);
/* Cuts the connection with RST: the client must notice that the answer is not whole. */
void http_req_abort(struct http_req *r);
/* The answer ends here without being whole: what was sent goes out, then the connection closes without a final
 * chunk (or short of its Content-Length), so that the client notices. */
void http_req_cut(struct http_req *r);
bool http_req_started(const struct http_req *r); /* was head_end called */
int http_req_status(const struct http_req *r);
uint64_t http_req_sent(const struct http_req *r); /* body bytes given to send */
size_t http_req_queued(const struct http_req *r); /* bytes the kernel has not taken yet */
/* One-shot answer. */
void http_req_reply(struct http_req *r, int status, str content_type, str body);
/* Interim answer (103...), only before head_end. */
void http_req_interim(struct http_req *r, int status, str header_lines);
/* Takes the connection out of HTTP after a 101 was sent with head_begin/head_end(NONE): the stream is the
 * caller's, `early` are bytes the client sent already (in the request's arena). `end` (DONE) follows when the caller
 * calls http_req_upgraded_end. Not from inside begin, body or body_end; NULL when the client has left. */
struct io_stream *http_req_upgrade(struct http_req *r, str *ret_early);
void http_req_upgraded_end(struct http_req *r);

#endif
