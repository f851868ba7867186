/* timer.h: one named deadline; re-arming to a later time costs nothing until it fires.
 *
 * What: all timers of a loop live in one heap behind one libuv timer. Setting a deadline later, or clearing
 *       it, only stores a number; the stale heap entry costs at most one early wake-up.
 * Owns: nothing. A timer may be embedded in its owner (init/fini) or stand alone (new/free).
 */
#ifndef LUASWAP_IO_TIMER_H
#define LUASWAP_IO_TIMER_H

#include "io/loop.h"

struct io_timer {
    struct io_loop *loop;
    const char *name;
    void (*fn)(void *ud);
    void *ud;
    msec deadline; /* MSEC_NEVER = not armed */
    msec at;       /* key in the heap, <= deadline */
    size_t pos;    /* place in the heap + 1, 0 = not in it */
};

/* name: a literal, for the dump. fn is called from the loop when the deadline has come, once per arming. */
struct io_timer *io_timer_new(struct io_loop *l, const char *name, void (*fn)(void *ud), void *ud);
void io_timer_set(struct io_timer *t, msec delay_ms); /* from now; replaces an earlier deadline */
void io_timer_clear(struct io_timer *t);
bool io_timer_armed(const struct io_timer *t);
/* No call comes after this; the memory goes by itself. NULL is accepted. */
void io_timer_free(struct io_timer *t);

/* The same for a timer inside its owner; fini may come at any time, also from fn. */
void io_timer_init(struct io_timer *t, struct io_loop *l, const char *name, void (*fn)(void *ud), void *ud);
void io_timer_fini(struct io_timer *t);

#endif
