/* proc.h: one model's process: start, readiness, output, stop, exit reason.
 *
 * What: drives the pure proc_fsm with a supervised child, health probes and timers.
 * Not:  deciding when to start or stop (sched does), proxying requests (http does).
 * Owns: supervisor handle, timers, log ring. Borrows: loop; conf is copied.
 * Ends: proc_close() ends what is left (SIGTERM, 1 s, SIGKILL) and calls `closed` later, after which the object
 *       has freed itself and no handle and no supervisor of it is left.
 * Order: `state` is called from the loop, never from inside a proc_* call; what the command wrote before its end
 *        comes before the event that tells of it.
 */
#ifndef LUASWAP_PROCESS_PROC_H
#define LUASWAP_PROCESS_PROC_H

#include "base/clock.h"
#include "base/error.h"
#include "base/ring.h"

struct io_loop;
struct proc;

/* The strings of the wire; same order as enum model_state of sched.h. */
enum proc_state { PROC_STOPPED, PROC_STARTING, PROC_READY, PROC_STOPPING, PROC_SHUTDOWN };
const char *proc_state_name(enum proc_state s);

struct proc_conf {
    str id;
    str cmd;        /* text; split when started (comments and quotes: config/cmdline.h) */
    str cmd_stop;   /* text, may hold ${PID}; empty: SIGTERM to the group */
    const str *env; /* "NAME=value" */
    size_t n_env;
    str proxy;          /* base URL of the server it becomes */
    str check_endpoint; /* path, or "none" */
    msec health_timeout_ms;
    msec connect_timeout_ms; /* of one probe's dial, 0 = none */
};

/* Why a state was entered; what a person should read is in `text`. */
struct proc_event {
    enum proc_state from, to;
    int code; /* 0, or ERR_START / ERR_CANCELLED / ERR_STUCK... */
    const char
        *text; /* "" or for example "health check timed out after 15s", valid during the call */
    int exit_status; /* -1 = not exited */
    int term_signal; /* 0 = none */
    uint64_t tag;    /* of the proc_start or proc_stop that this answers; 0 = on its own (crash) */
};

struct proc_cb {
    /* Every real change of state, once; also called with from == to (STOPPING, or STARTING when a start was given
     * up) and code ERR_STUCK when SIGKILL did not end the tree within 5 s. A command that dies when ready is
     * READY -> STOPPED with tag 0 and ERR_CLOSED; when it leaves descendants behind, READY -> STOPPING with that
     * code first, and STOPPED when they have been ended. */
    void (*state)(void *ud, struct proc *p, const struct proc_event *ev);
    /* Raw bytes of stdout and stderr as they come. */
    void (*output)(void *ud, struct proc *p, str bytes);
    void (*closed)(void *ud, struct proc *p);
};

struct proc *proc_new(struct io_loop *loop, const struct proc_conf *conf, const struct proc_cb *cb,
                      void *ud);
/* Begins a start; the answer is a state event with this tag: READY, or STOPPED with an error. Later problems are
 * events with tag 0. While stopping, the start begins when that is over (a stop that comes meanwhile cancels it:
 * an event with from == to, this tag and ERR_CANCELLED). When starting or ready: ERR_EXISTS, after
 * proc_close: ERR_SHUTDOWN, both with from == to. */
void proc_start(struct proc *p, uint64_t tag);
/* A start will come as soon as something else has ended: starts the supervisor already, which then only waits for
 * the command. Means nothing unless stopped; undone by itself when no start comes within a minute. */
void proc_prepare(struct proc *p);
/* Stops (or aborts a start; then the start's tag is answered with ERR_CANCELLED first); the answer is a
 * STOPPED event with this tag. A second call shortens the grace if it is shorter. Stopped: answered too. Of
 * several answers at one moment the first is the change of state, the others have from == to. */
void proc_stop(struct proc *p, msec grace_ms, uint64_t tag);
/* An exchange with its server was broken off just now: a stop that follows at once leaves it a moment to notice. */
void proc_cut(struct proc *p);
/* SIGKILL to the whole tree now (second signal, end of the drain). */
void proc_kill(struct proc *p);
void proc_close(struct proc *p);

enum proc_state proc_state(const struct proc *p);
int proc_pid(const struct proc *p);                /* of the command, 0 = none */
const struct ring *proc_log(const struct proc *p); /* last 100 KiB of output */
msec proc_since(const struct proc *p);             /* monotonic time of the last change of state */

/* Failure history, for listings and policies. */
struct proc_history {
    uint32_t starts, fails_in_row;
    int last_exit, last_signal;
    msec load_ms_last, load_ms_avg, stop_ms_last;
    char last_error[240];
};
const struct proc_history *proc_history(const struct proc *p);

#endif
