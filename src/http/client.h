/* client.h: the HTTP/1.1 client side: a pool of connections to one upstream, and exchanges on them.
 *
 * What: an exchange sends one request and delivers one response. A reused connection that dies before any
 *       byte of the response is replaced by a new one, once, silently, when the request can be sent again
 *       (whole body in `parts`).
 *       101: after `upgraded` the stream belongs to the callee.
 * Owns: connections, exchange objects. Borrows: head and parts of an exchange until its last callback
 *       (or until http_x_cancel returned).
 * Order: head -> body* -> end, or fail at any point; exactly one of end / fail / upgraded is the last. None of
 *       them is called from inside a http_x_* or http_pool_* call. The object is freed after the last one.
 * Limits: response head 64 KiB.
 */
#ifndef LUASWAP_HTTP_CLIENT_H
#define LUASWAP_HTTP_CLIENT_H

#include "codec/http_head.h"
#include "io/dial.h"

struct http_pool;
struct http_x;

enum http_stage {
    HTTP_AT_DIAL,    /* nothing was sent, not on a reused connection either */
    HTTP_AT_SEND,    /* request partly or fully sent, no byte of a response */
    HTTP_AT_HEAD,    /* response head begun */
    HTTP_AT_BODY,    /* response head delivered */
};

struct http_x_cb {
    void (*head)(void *ud, struct http_x *x, const struct http_head *h); /* final head; valid until the last callback */
    void (*interim)(void *ud, struct http_x *x, const struct http_head *h); /* 1xx but 100 and 101; may be NULL */
    void (*body)(void *ud, struct http_x *x, str bytes); /* decoded, valid during the call */
    void (*end)(void *ud, struct http_x *x, str trailers); /* trailers as "Name: value\r\n" lines, often empty */
    void (*fail)(void *ud, struct http_x *x, enum http_stage at, const struct error *e);
    /* Everything before byte `at` of part `n` is with the kernel. Told at least once per two megabytes; may be NULL. */
    void (*parts_sent)(void *ud, struct http_x *x, size_t n, size_t at);
    void (*drained)(void *ud, struct http_x *x); /* more of a streamed request body may be sent */
    /* 101: the stream is the caller's now. Without this callback a 101 is a failure. */
    void (*upgraded)(void *ud, struct http_x *x, const struct http_head *h, struct io_stream *s, str early);
};

struct http_pool_conf {
    str host;              /* copied; name, address or "unix:/path" */
    int port;
    msec connect_ms;       /* 0 = none */
    int keepalive_s;
    bool tls;              /* see io/tls.h */
    msec handshake_ms;     /* of TLS, 0 = none */
    str via_host;          /* an HTTP proxy on the way: absolute targets, or CONNECT when tls; empty = none. Copied */
    bool via_socks;        /* it is a SOCKS 5 proxy instead, and via_auth is from socks_auth (io/socks.h) */
    int via_port;
    bool via_tls;          /* the proxy itself speaks TLS; not together with tls */
    str via_auth;          /* Proxy-Authorization, may be empty; copied */
    msec head_ms;          /* wait for the response head after the request was sent, 0 = none */
    msec idle_ms;          /* pooled connections, 0 = none */
    size_t idle_max;       /* pooled connections kept */
};

struct http_pool *http_pool_new(struct io_loop *l, const struct http_pool_conf *conf);
/* Another address or other limits, for exchanges that begin from now on. After another address: http_pool_flush. */
void http_pool_reconf(struct http_pool *p, const struct http_pool_conf *conf);
/* Closes the idle connections; those in use close when their exchange ends. */
void http_pool_flush(struct http_pool *p);
/* No exchange may be open any more; memory goes later by itself. */
void http_pool_free(struct http_pool *p);
size_t http_pool_idle(const struct http_pool *p);

/* head: complete request head as bytes, ending in the blank line. parts/n: the whole body (may be empty). */
struct http_x *http_x_start(struct http_pool *p, str head, const str *parts, size_t n, bool is_head_request,
                            const struct http_x_cb *cb, void *ud);
/* As http_x_start for a body that is sent piece by piece with http_x_send (framing as the head says:
 * chunked or Content-Length); always on a new connection, because it cannot be sent twice. `drained` comes when there
 * is one: who waits for it knows that a failure of dialling has cost nothing. */
struct http_x *http_x_start_streamed(struct http_pool *p, str head, bool chunked, bool is_head_request,
                                     const struct http_x_cb *cb, void *ud);
/* Copies what the kernel does not take; false when above the high mark (16 KiB): stop until `drained`. */
bool http_x_send(struct http_x *x, str bytes);
void http_x_send_end(struct http_x *x);
/* With trailers ("Name: value\r\n" lines) for a chunked body. */
void http_x_send_end_trailers(struct http_x *x, str lines);
/* Credit for the response; on at the start. */
void http_x_read(struct http_x *x, bool on);
/* Drops the exchange and its connection; no callback follows. */
void http_x_cancel(struct http_x *x);
/* True once every byte of the request has gone to the kernel. */
bool http_x_sent(const struct http_x *x);

#endif
