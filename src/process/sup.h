/* sup.h: luaswap's end of one supervisor (supervise.h): one command, its tree, its output.
 *
 * What: starts `luaswap --supervise`, speaks its protocol, reads the command's output without ever making
 *       the command wait. When the supervisor itself was killed, it finds and kills the tree through /proc.
 * Not:  time limits, readiness (proc.c).
 * Owns: line, output pipe, supervisor process. Borrows: cb and ud until sup_release() returned.
 * Ends: sup_release() at any time, also from a callback: but `reaped` no callback follows. What still runs
 *       is then stopped by the supervisor. Until that has ended too, the object is parked in the caller's
 *       list; then it leaves the list, `reaped` is called and the memory goes.
 * Order: sup_open() starts the supervisor, which waits; sup_order() gives it the command, at any time later. Until
 *        then no callback but LOST.
 *        (STARTED -> EXITED -> GONE?) | FAILED; LOST at any time, after it only GONE. What the tree has
 *       written is delivered before EXITED and GONE. No callback from inside a sup_* call.
 */
#ifndef LUASWAP_PROCESS_SUP_H
#define LUASWAP_PROCESS_SUP_H

#include "base/list.h"
#include "io/loop.h"

struct sup;

enum sup_kind {
    SUP_STARTED,        /* n = pid of the command */
    SUP_FAILED,         /* n = errno */
    SUP_EXITED,         /* n = status, signal; gone: nothing else was left, and no GONE follows */
    SUP_GONE,           /* nothing is left (but the stopper) */
    SUP_STOPPER_FAILED, /* n = errno */
    SUP_STOPPER_EXITED, /* n = status, signal */
    SUP_PONG,           /* n = number of the ping */
    SUP_LOST,           /* the supervisor died; sup_kill() still works */
};

struct sup_event {
    enum sup_kind kind;
    int n, signal;
    bool gone;
};

struct sup_cb {
    void (*event)(void *ud, const struct sup_event *ev);
    void (*output)(void *ud, str bytes);
    void (*reaped)(void *ud);
};

struct sup_conf {
    const str *argv; /* of the command */
    size_t n_argv;
    const str *env; /* additions, "NAME=value" */
    size_t n_env;
};

/* NULL when the supervisor could not be started. `label` is for ps. */
struct sup *sup_open(struct io_loop *l, str label, const struct sup_cb *cb, void *ud,
                     struct error *e);
/* Once. A failure leaves it as it was: release it. */
int sup_order(struct sup *s, const struct sup_conf *conf, struct error *e);
bool sup_lost(const struct sup *s); /* also when LOST has not been told yet */
void sup_term(struct sup *s);
void sup_kill(struct sup *s);
void sup_stopper(struct sup *s, const str *argv, size_t n);
void sup_kill_stopper(struct sup *s);
void sup_ping(struct sup *s, int n);
int sup_pid(const struct sup *s);                     /* of the command, 0 = none */
/* NULL is accepted. A supervisor whose tree is gone is let go a moment later: its end is not to delay what is
 * started now. */
void sup_release(struct sup *s, struct list *parked);
/* Forgets supervisors that do not end; only when the program does. */
void sup_abandon(struct list *parked);

/* The program that is started as supervisor: LUASWAP_SUPERVISOR, else this very binary. Static text. */
const char *sup_program(void);

#endif
