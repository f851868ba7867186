/* proc_priv.h: what proc.c (the driver) and proc_tell.c (what the owner hears, what is remembered) share.
 *
 * Everything the owner is told goes through a queue that is emptied at the end of the loop's turn: callbacks
 * never come from inside a proc_* call, and their order is the order of what happened.
 */
#ifndef LUASWAP_PROCESS_PROC_PRIV_H
#define LUASWAP_PROCESS_PROC_PRIV_H

#include "base/arena.h"
#include "io/timer.h"
#include "process/health.h"
#include "process/proc.h"
#include "process/proc_fsm.h"
#include "process/sup.h"

#define PROC_SCOPE_MAX 80

/* A stop that waits for its answer. */
struct tag {
    struct list node;
    uint64_t tag;
};

struct proc {
    struct io_loop *loop;
    struct proc_cb cb;
    void *ud;
    struct arena arena; /* conf */
    struct proc_conf conf;
    char scope[PROC_SCOPE_MAX];

    struct proc_fsm fsm;
    struct io_timer *timer; /* of the fsm's deadline; at the very end, of the reaping */
    struct sup *sup;
    struct sup *prepared;   /* without a command yet; NULL = none */
    struct io_timer *unused; /* ends `prepared` */
    struct list parked;      /* released supervisors that have not ended yet */
    struct health *health;
    int ping; /* number of the one that has to confirm readiness */
    struct ring log;

    msec since, started_at, stop_at;
    int pid, exit_status, term_signal; /* of this life; -1, 0 = not ended */
    uint64_t start_tag;
    bool start_open; /* start_tag waits for its answer */
    bool queued;     /* a start waits for the end of what is stopping: next_tag */
    uint64_t next_tag;
    struct list stop_tags;
    char why[240]; /* text of the coming failure */
    struct list notes;
    struct io_call deliver;
    bool closing, abandoned;
    unsigned loads;
    msec load_ms_sum;
    struct proc_history history;
};

/* proc_tell.c */
void proc_note(struct proc *p, enum proc_state from, enum proc_state to, uint64_t tag, int code,
               const char *text);
/* Answers every stop that waits; the first one takes a real change of state along, if there is one. */
void proc_answer_stops(struct proc *p, enum proc_state from, enum proc_state to, int code,
                       const char *text);
/* Everything that follows from a real change of the public state. */
void proc_publish(struct proc *p, enum proc_state from, enum proc_state to);
/* Empties the queue: calls the owner. */
void proc_tell_all(struct proc *p);

#endif
