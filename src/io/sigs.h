/* sigs.h: signals to the program as events of its loop.
 *
 * What: SIGTERM, SIGINT, SIGHUP and SIGUSR1 arrive as calls from the loop; SIGPIPE is ignored.
 * Not:  SIGCHLD (io/child.h), crash signals (main/crash).
 * Ends: io_sigs_free() gives the default meaning back (SIGPIPE stays ignored); the memory goes later.
 * Order: two signals of one kind that come before the loop turns are one call.
 */
#ifndef LUASWAP_IO_SIGS_H
#define LUASWAP_IO_SIGS_H

#include "io/loop.h"

struct io_sigs;

/* Does not keep the loop alive. One object per program. */
struct io_sigs *io_sigs_new(struct io_loop *l, void (*fn)(void *ud, int signal), void *ud);
void io_sigs_free(struct io_sigs *s); /* NULL is accepted */
/* "SIGTERM"; "signal 42" for one without a usual name. Static or thread-local text. */
const char *io_signal_name(int signal);

#endif
