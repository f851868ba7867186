/* child.h: starts one program in its own session and says when it ends.
 *
 * What: fork and exec with a chosen set of descriptors, exit status, signals.
 * Not:  process trees, readiness, restarts (process/ does those with a supervisor).
 * Owns: the process entry. Borrows: ud until io_child_free() returned.
 * Ends: io_child_free(), also from `exited`. A child that still runs is forgotten, not stopped: no callback
 *       follows and nobody reaps it while we live, so this is for the end of the program. The memory goes
 *       later by itself.
 * Order: `exited` comes once, from the loop, never from inside io_child_*.
 */
#ifndef LUASWAP_IO_CHILD_H
#define LUASWAP_IO_CHILD_H

#include "io/loop.h"

#define IO_CHILD_FDS 8

struct io_child;

/* signal is 0 when it ended by itself with `status`. */
typedef void io_exit_fn(void *ud, int status, int signal);

struct io_child_conf {
    const char *file;        /* looked up in PATH when it has no '/' */
    const char *const *argv; /* NULL-ended */
    const char *const *env;  /* NULL-ended "NAME=value"; NULL = ours */
    int fds[IO_CHILD_FDS];   /* number i in the child; -1 = /dev/null for 0..2, closed above */
    size_t n_fds;            /* at least 3 */
};

/* The child has default signal dispositions and leads a new session and group. The descriptors in
 * conf->fds stay open here. NULL and ERR_SYS (with errno's text) when it could not be started. */
struct io_child *io_child_spawn(struct io_loop *l, const struct io_child_conf *conf,
                                io_exit_fn *exited, void *ud, struct error *e);
int io_child_pid(const struct io_child *c); /* 0 once it has been reaped */
/* Harmless once it has been reaped. */
void io_child_kill(struct io_child *c, int signal);
void io_child_free(struct io_child *c); /* NULL is accepted */

#endif
