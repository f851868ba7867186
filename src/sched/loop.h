/* loop.h: the parts of the one dispatcher, among themselves.
 *
 * events.c takes events apart, loop.c performs, swap.c leads a load from its commitment to its end, dispatch.c
 * asks the row in charge and commits, ttl.c looks after everything that happens because time passes, recycle.c
 * replaces processes on a reload, life.c is birth and death.
 */
#ifndef LUASWAP_SCHED_LOOP_H
#define LUASWAP_SCHED_LOOP_H

#include "sched/view.h"

/* events.c */
void events_handle(struct sched *s, const struct sched_event *ev);
void events_sweep(struct sched *s); /* requests of models that a new configuration retired */

/* loop.c: effects and ends of tickets. */
struct sched_action *loop_emit(struct sched *s, enum sched_act_kind kind);
void loop_grant(struct sched *s, struct ticket *t);                              /* NEW -> ACTIVE */
void loop_reject(struct sched *s, struct ticket *t, int code, const char *text); /* NEW -> gone */
void loop_detach(struct sched *s, struct ticket *t);                             /* QUEUED, WAITING -> NEW */
void loop_state(struct sched *s, struct smodel *m, enum model_state to);
void loop_stop(struct sched *s, struct smodel *m, msec grace_ms);
void loop_stuck(struct sched *s, struct smodel *m); /* a STOPPING one does not die */
void loop_start(struct sched *s, struct smodel *m, struct swap *sw);
void loop_unloads_down(struct sched *s, const struct smodel *m, bool stuck); /* tells who waits for its end */
void loop_emit_reject(struct sched *s, ticket_id id, model_id model, int code, const char *text);
void loop_note(struct sched *s, const struct sched_note *n);
void loop_broken(struct sched *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* swap.c */
struct swap *swap_begin(struct sched *s, model_id target, struct ticket *owner, enum swap_by by,
                        const struct ops_plan *plan);
/* Takes each swap as far as it goes; clears advance_due. */
void swap_advance_all(struct sched *s);
/* It came to nothing: who waits for it gets `code`; dismiss tells its own waiters only, fail also those behind
 * them that the same failure would meet. */
void swap_dismiss(struct sched *s, struct swap *sw, int code, const char *text);
void swap_fail(struct sched *s, struct swap *sw, int code, const char *text);
/* Nobody wants it any more: undoes a start that is under way, tells nobody. */
void swap_abort(struct sched *s, struct swap *sw);
/* Its owner left: hand over, keep or abort (runtime.md 4.4, cancel). */
void swap_orphaned(struct sched *s, struct swap *sw);
struct ticket *swap_owner(const struct swap *sw);

/* dispatch.c */
void dispatch(struct sched *s); /* takes the line as far as it goes */
void dispatch_arrival(struct sched *s, struct ticket *t);  /* classic: NEW -> granted, waiting or queued */
void dispatch_preloads(struct sched *s);
bool dispatch_side_open(const struct sched *s, const struct smodel *m); /* may a side request run on it now */
bool dispatch_would_wait(const struct sched *s, model_id m);
const struct policy_ops *dispatch_row(const struct sched *s); /* in charge of order and plans */
msec dispatch_patience(const struct sched *s); /* after which a request is forced, 0 = never */
bool dispatch_classic(const struct sched *s);
void dispatch_forget(struct sched *s, const struct ticket *t); /* it leaves: drop its reservation */

/* recycle.c */
void recycle_event(struct sched *s, const struct sched_event *ev);
void recycle_idle(struct sched *s, struct smodel *m); /* its last request has ended */
void recycle_due(struct sched *s, struct smodel *m);  /* its patience may have ended */
void recycle_thaw(struct sched *s, const struct unload_wait *u);
void unload_ended(struct sched *s, struct unload_wait *u); /* loop.c: tells the caller, frees u */

/* ttl.c */
void ttl_due(struct sched *s);  /* does all that is due by now */
msec ttl_next(const struct sched *s); /* earliest time at which something is due */
void ttl_idle(struct sched *s, struct smodel *m); /* a model became idle: fix its TTL */

#endif
