/* loop.h: the one event loop, its deferred calls and its clean end.
 *
 * What: wraps libuv; no header outside io/ includes uv.h. One loop, one thread.
 * Ends: io_loop_free() asserts that every handle was closed; io_loop_handles() names those still open.
 */
#ifndef LUASWAP_IO_LOOP_H
#define LUASWAP_IO_LOOP_H

#include "base/clock.h"
#include "base/error.h"
#include "base/list.h"
#include "base/strbuf.h"

struct io_loop;

/* Size of the shared read buffer: callbacks get slices of it that are valid only during the call. Small enough for
 * the first caches and for what one stalled reader may cost. */
#define IO_READ_SIZE (32u * 1024)

struct io_loop *io_loop_new(void);
void io_loop_free(struct io_loop *l);
/* Runs until io_loop_stop() or until nothing is left to wait for. */
void io_loop_run(struct io_loop *l);
void io_loop_stop(struct io_loop *l);
/* One turn: waits for at least one event. False when there is nothing to wait for. */
bool io_loop_turn(struct io_loop *l);
/* Measures turns from now on, in CPU time of this thread: what one callback, or several of one turn, kept the others
 * waiting for. Costs about half a microsecond a turn. */
void io_loop_watch(struct io_loop *l, bool on);
uint64_t io_loop_longest_us(const struct io_loop *l); /* since it is watched */
/* Monotonic milliseconds, read once per turn. */
msec io_loop_now(const struct io_loop *l);

/* A call at the end of this turn, in order of posting; embedded in its owner, no allocation. Posting one
 * that is already posted is a no-op; io_call_cancel is harmless on one that is not. Deferred calls posted
 * from deferred calls run in the same turn's end. Nothing is freed by the loop. */
struct io_call {
    struct list node;
    void (*fn)(void *ud);
    void *ud;
};
void io_call_init(struct io_call *c, void (*fn)(void *ud), void *ud);
void io_call_post(struct io_loop *l, struct io_call *c);
void io_call_cancel(struct io_call *c);

/* Text that lives until the end of the current callback; cleared by each caller that takes it. */
struct strbuf *io_loop_scratch(struct io_loop *l);

/* Names of open handles for the debug dump, one a line. */
void io_loop_handles(struct io_loop *l, struct strbuf *out);

#endif
