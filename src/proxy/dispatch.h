/* dispatch.h: the queue of scheduler events and the performer of the actions they lead to.
 *
 * What: callbacks post events; at the end of the loop turn they are given to the pure scheduler one by one and its
 *       actions are carried out. Nothing decides here.
 * Order: completions (done, model events) first, then cancels, then unloads, then arrivals; equal kinds in the order
 *        they were posted (runtime.md 2.2).
 */
#ifndef LUASWAP_PROXY_DISPATCH_H
#define LUASWAP_PROXY_DISPATCH_H

#include "io/loop.h"
#include "io/timer.h"
#include "sched/sched.h"

struct server;
struct request;

#define DISPATCH_CLASSES 4

struct dispatch_queue {
    struct sched_event *at;
    size_t len, cap;
};
struct ticket_slot {
    struct request *req;
    uint32_t gen;
};
/* Something that waits for UNLOADED; embedded in its owner. */
struct unload_op {
    struct list node;
    uint64_t op;
    int code; /* set before done: 0, or ERR_STUCK when a process refuses to die */
    void (*done)(void *ud);
    void *ud;
};

struct dispatch {
    struct server *srv;
    struct sched *sched;
    struct dispatch_queue queue[DISPATCH_CLASSES];
    struct sched_actions actions;
    struct io_call turn;
    struct io_timer *wake;
    struct ticket_slot *tickets;
    uint32_t *free_slots;
    uint32_t n_tickets, n_free;
    struct list unloads;
    uint64_t next_op;
    bool running;
    bool warmth_changed; /* some model has begun or ended to start, to be ready or to stop */
};

void dispatch_init(struct dispatch *d, struct server *srv, const struct sched_conf *conf);
void dispatch_fini(struct dispatch *d);
/* text and models of the event are copied where needed (FAILED: text; UNLOAD: models). */
void dispatch_post(struct dispatch *d, const struct sched_event *ev);

/* A ticket for a request that is about to ARRIVE; it stays valid until dispatch_ticket_end. */
ticket_id dispatch_ticket(struct dispatch *d, struct request *req);
/* NULL when the request is gone. */
struct request *dispatch_request(struct dispatch *d, ticket_id t);
void dispatch_ticket_end(struct dispatch *d, ticket_id t);

/* Runs the end of a turn soon, even without an event. */
void dispatch_soon(struct dispatch *d);
/* For a reload, not from inside of dispatch: takes the new configuration, then replaces processes (SCHED_RECYCLE)
 * before any other event is looked at. */
void dispatch_reconf(struct dispatch *d, const struct sched_conf *conf);
void dispatch_recycle(struct dispatch *d, struct unload_op *op, const model_id *models, size_t n, msec drain_ms);

/* Unloads the models (n = 0: all); op->done(ud) once they are stopped. */
void dispatch_unload(struct dispatch *d, struct unload_op *op, const model_id *models, size_t n);
void dispatch_unload_forget(struct unload_op *op); /* the waiter is gone; harmless when not waiting */

#endif
