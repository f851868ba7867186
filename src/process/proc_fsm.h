/* proc_fsm.h: the life of one model process as a table: phase and event to phase and actions.
 *
 * What: every row of runtime.md 1.2, 1.3 and 1.6, with the repairs D-P1, D-P4, D-P5, D-P8 and D-P10. Pure:
 *       time is an argument, the driver (proc.c) performs the actions and feeds what happened.
 * Words: the leader is the command itself; the tree is it and all its descendants; the stopper is a running
 *       `cmdStop`. The tree is gone when nothing but the stopper is left.
 */
#ifndef LUASWAP_PROCESS_PROC_FSM_H
#define LUASWAP_PROCESS_PROC_FSM_H

#include "process/proc.h"

/* Grace of an aborted or failed start, and of what a leader that died by itself left behind. */
#define PROC_ABORT_GRACE_MS 5000
/* Grace when the owner goes (proc_close). */
#define PROC_CLOSE_GRACE_MS 1000
/* After SIGKILL, how long until the tree counts as stuck. */
#define PROC_STUCK_MS 5000
/* How long a process is left in peace after an exchange with it was broken off, before it is asked to end: some
 * servers (llama-server b11669) hang when SIGTERM comes before they have noticed that their client is gone. Asking
 * twice would wake those, but others take a second SIGTERM as the order to drop everything. */
#define PROC_CALM_MS 25
/* How long a stopper may go on once the tree is gone. */
#define PROC_TAIL_MS 1000

/* PHASE(id, public state) */
#define PROC_PHASES(X)                                                                             \
    X(IDLE, STOPPED)                                                                               \
    X(SPAWN, STARTING)       /* the supervisor was asked to start the command */                   \
    X(PROBE, STARTING)       /* the command runs, not ready yet */                                 \
    X(ABORT, STARTING)       /* the start has failed; SIGTERM sent */                              \
    X(ABORT_KILL, STARTING)  /* SIGKILL sent */                                                    \
    X(ABORT_STUCK, STARTING) /* SIGKILL did not help */                                            \
    X(READY, READY)                                                                                \
    X(STOP_CALM, STOPPING)  /* it is about to see that a client has gone */                        \
    X(STOP_CMD, STOPPING)   /* cmdStop runs, first half of the grace */                            \
    X(STOP_WAIT, STOPPING)  /* cmdStop ended well; waiting for the tree */                         \
    X(STOP_TERM, STOPPING)  /* SIGTERM sent */                                                     \
    X(STOP_TAIL, STOPPING)  /* the tree is gone, the stopper is not */                             \
    X(STOP_KILL, STOPPING)  /* SIGKILL sent */                                                     \
    X(STOP_STUCK, STOPPING) /* SIGKILL did not help */                                             \
    X(CLOSE_TERM, SHUTDOWN) /* the owner goes; SIGTERM sent */                                     \
    X(CLOSE_KILL, SHUTDOWN)                                                                        \
    X(CLOSED, SHUTDOWN)

enum proc_phase {
#define PHASE(id, state) PHASE_##id,
    PROC_PHASES(PHASE)
#undef PHASE
        PHASE_COUNT
};

#define PROC_EVENTS(X)                                                                             \
    X(START)        /* asked to */                                                                 \
    X(STOP)         /* asked to, with a grace */                                                   \
    X(KILL)         /* asked to, now */                                                            \
    X(CLOSE)        /* the owner goes */                                                           \
    X(SPAWNED)      /* the command was executed */                                                 \
    X(SPAWN_FAILED) /* it could not be; nothing runs */                                            \
    X(READY)        /* the probe was answered 200 */                                               \
    X(EXIT)         /* the leader has ended, others of the tree have not */                        \
    X(GONE)         /* the whole tree has ended */                                                 \
    X(STOPPER_OK)   /* cmdStop ended with 0 */                                                     \
    X(STOPPER_BAD)  /* cmdStop ended badly or could not be run */                                  \
    X(LOST)         /* the supervisor died; the tree may live */                                   \
    X(TIMER)        /* the deadline has come */                                                    \
    X(CUT)          /* an exchange with it was broken off by us */

enum proc_fsm_event {
#define EVENT(id) PROC_EV_##id,
    PROC_EVENTS(EVENT)
#undef EVENT
        PROC_EV_COUNT
};

/* What the driver has to do, in this order. */
enum proc_action {
    PROC_ACT_SPAWN = 1 << 0,
    PROC_ACT_PROBE = 1 << 1, /* begin probing */
    PROC_ACT_PROBE_END = 1 << 2,
    PROC_ACT_STOPPER = 1 << 3, /* run cmdStop */
    PROC_ACT_KILL_STOPPER = 1 << 4,
    PROC_ACT_TERM = 1 << 5,    /* SIGTERM to the tree */
    PROC_ACT_KILL = 1 << 6,    /* SIGKILL to the tree and the stopper */
    PROC_ACT_STUCK = 1 << 7,   /* tell the owner, stay */
    PROC_ACT_RELEASE = 1 << 8, /* nothing runs any more: let the supervisor go */
};

/* Why the next settling happens; the driver makes texts of it. */
enum proc_why {
    PROC_WHY_NONE,    /* as asked */
    PROC_WHY_SPAWN,   /* failed to start command */
    PROC_WHY_EXIT,    /* upstream command exited prematurely */
    PROC_WHY_TIMEOUT, /* health check timed out */
    PROC_WHY_ABORTED, /* stopped while starting */
    PROC_WHY_CRASH,   /* ended by itself when ready */
    PROC_WHY_LOST,    /* the supervisor died */
    PROC_WHY_CLOSED,  /* the owner goes */
};

struct proc_fsm {
    enum proc_phase phase;
    enum proc_why why;
    bool probes;      /* there is a checkEndpoint */
    bool has_stopper; /* there is a cmdStop */
    bool stopper;     /* it runs */
    msec health_ms;
    msec deadline; /* when to feed TIMER; MSEC_NEVER = not */
    msec stop_by;  /* end of the grace of a stop */
    msec calm_at;  /* not to be asked to end before */
};

void proc_fsm_init(struct proc_fsm *f, bool probes, bool has_stopper, msec health_ms);
/* Returns the actions. `grace` is for STOP. An event that means nothing in this phase changes nothing. */
unsigned proc_fsm_step(struct proc_fsm *f, enum proc_fsm_event ev, msec now, msec grace);
enum proc_state proc_fsm_state(const struct proc_fsm *f);
enum proc_state proc_phase_state(enum proc_phase p);
const char *proc_phase_name(enum proc_phase p);
const char *proc_fsm_event_name(enum proc_fsm_event ev);

#endif
