/* dial.h: resolve and connect with a deadline.
 *
 * Numeric addresses and "localhost" (127.0.0.1, then ::1) never leave the loop thread; other names go through
 * getaddrinfo in the thread pool. Every address is tried in order until one connects.
 */
#ifndef LUASWAP_IO_DIAL_H
#define LUASWAP_IO_DIAL_H

#include "io/tls.h"

struct io_dial;
/* s is NULL on failure: code ERR_REFUSED, ERR_TIMEOUT, ERR_NOTFOUND (name) or ERR_SYS in e. */
typedef void io_dial_fn(void *ud, struct io_stream *s, const struct error *e);

/* host: name or address without brackets, or "unix:/path". timeout_ms 0 = none; keepalive_s as TCP_KEEPIDLE,
 * 0 = system default, < 0 = off. fn is called once, later, unless cancelled. */
struct io_dial *io_dial(struct io_loop *l, str host, int port, msec timeout_ms, int keepalive_s, io_dial_fn *fn,
                        void *ud);
/* Directly after io_dial: a connection is then secured before fn gets it (see tls.h), with a time limit of its own,
 * 0 = none. A certificate that is not trusted is ERR_PROTOCOL. */
void io_dial_secure(struct io_dial *d, msec handshake_ms);
/* Directly after io_dial, which then connects to an HTTP proxy: asks it with CONNECT for a way to host:port, which is
 * what io_dial_secure secures. auth: value of Proxy-Authorization, may be empty. limit_ms for its answer, 0 = none. */
void io_dial_tunnel(struct io_dial *d, str host, int port, str auth, msec limit_ms);
/* The same by way of a SOCKS 5 proxy. auth: from socks_auth (io/socks.h), may be empty. */
void io_dial_socks(struct io_dial *d, str host, int port, str auth, msec limit_ms);
void io_dial_cancel(struct io_dial *d); /* fn will not be called; only before it was */

#endif
