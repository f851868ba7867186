/* work.h: a job in the thread pool.
 *
 * What: run(ud) in a pool thread, then done(ud, cancelled) on the loop. Ends: done comes exactly once.
 * Not:  shared state: run may touch only what ud owns until done is called.
 */
#ifndef LUASWAP_IO_WORK_H
#define LUASWAP_IO_WORK_H

#include "io/loop.h"

struct io_work;
struct io_work *io_work_start(struct io_loop *l, void (*run)(void *ud), void (*done)(void *ud, bool cancelled),
                              void *ud);
/* Asks for it not to be run if it has not begun; done is called in any case. Only before done. */
void io_work_cancel(struct io_work *w);

#endif
