/* net.h: what the two halves of the Lua module spec.net (net.c: sockets, spawn.c: processes) share. */
#ifndef LUASWAP_SPEC_NET_H
#define LUASWAP_SPEC_NET_H

#include <lua.h>
#include <stdbool.h>

#define NET_SOCK "spec.net.sock"
#define NET_PROC "spec.net.proc"
#define NET_SIGNALS "spec.net.signals"

double net_now(void); /* monotonic seconds */
/* Waits until fd is ready for `events` (POLLIN, POLLOUT) or the deadline (net_now) has passed: true when
 * ready. A deadline in the past asks once. */
bool net_wait_fd(int fd, short events, double deadline);
/* Optional argument in seconds -> deadline; `fallback` seconds when absent. */
double net_deadline(lua_State *L, int arg, double fallback);
/* nil, "timeout" / "closed" / "reset" / the system's text; returns 2. */
int net_fail(lua_State *L, int errnum);
/* One recv-like read of a pipe or socket with a deadline: the data, or nil and why. */
int net_read(lua_State *L, int fd, size_t max, double deadline);

/* Adds spawn, kill, pids, ... to the table on the stack's top. */
void net_add_spawn(lua_State *L);

#endif
