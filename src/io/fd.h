/* fd.h: readiness of one foreign descriptor (pipe, socket), for owners that read and write it themselves.
 *
 * What: calls back when the descriptor can be read or written. Level-triggered.
 * Not:  buffering (io/stream.h has that), closing the descriptor: it stays the owner's.
 * Ends: io_fd_free() may be called from the callback; nothing is called afterwards and the descriptor may
 *       be closed at once. The watcher's own memory goes later by itself.
 */
#ifndef LUASWAP_IO_FD_H
#define LUASWAP_IO_FD_H

#include "io/loop.h"

struct io_fd;

enum io_fd_events { IO_FD_READ = 1, IO_FD_WRITE = 2 };

/* An end or error of the descriptor is reported as what was asked for. */
typedef void io_fd_fn(void *ud, unsigned events);

/* Makes fd non-blocking. NULL when it is of a kind that cannot be polled (a plain file). */
struct io_fd *io_fd_new(struct io_loop *l, int fd, io_fd_fn *fn, void *ud, struct error *e);
/* Which events are wanted, 0 = none (then it does not keep the loop alive). */
void io_fd_want(struct io_fd *w, unsigned events);
/* NULL is accepted. */
void io_fd_free(struct io_fd *w);

#endif
