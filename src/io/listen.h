/* listen.h: listening sockets: TCP (IPv4, IPv6, both), Unix, or an inherited descriptor. */
#ifndef LUASWAP_IO_LISTEN_H
#define LUASWAP_IO_LISTEN_H

#include "io/stream.h"

struct io_listener;
/* The callee owns the new stream (no callbacks set, reading off). */
typedef void io_accept_fn(void *ud, struct io_stream *s);

/* addr: ":8080" (all, IPv6 with IPv4), "127.0.0.1:0", "[::1]:80", "unix:/path", "fd:3". Errors name the
 * address and the reason. SO_REUSEADDR is set; TCP_NODELAY is set on what is accepted. */
struct io_listener *io_listen(struct io_loop *l, str addr, io_accept_fn *fn, void *ud, struct error *e);
int io_listener_port(const struct io_listener *ls); /* 0 for a Unix socket */
str io_listener_addr(const struct io_listener *ls); /* "127.0.0.1:43211", as bound */
/* Stops and resumes accepting (connection limit); pending ones wait in the kernel. */
void io_listener_pause(struct io_listener *ls, bool paused);
void io_listener_close(struct io_listener *ls); /* idempotent; memory goes later by itself */

#endif
