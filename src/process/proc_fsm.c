/* proc_fsm.c: see proc_fsm.h.
 *
 * One row per (phase, event) that means something. A row says where to go, what to do, how the deadline
 * changes, and why the coming settling happens. What depends on a condition (is there a checkEndpoint, does
 * the stopper still run) is decided in refine(), which replaces phase or row before the table is asked.
 */
#include "process/proc_fsm.h"

#include "base/check.h"

enum clock_rule {
    CLOCK_KEEP, /* the deadline stays */
    CLOCK_NONE,
    CLOCK_HEALTH, /* healthCheckTimeout from now */
    CLOCK_ABORT,  /* 5 s from now */
    CLOCK_CALM,   /* 25 ms from the last cut, not beyond the grace */
    CLOCK_HALF,   /* half of the stop's grace */
    CLOCK_GRACE,  /* end of the stop's grace */
    CLOCK_TAIL,   /* 1 s from now, not beyond the grace */
    CLOCK_STUCK,  /* 5 s from now */
    CLOCK_CLOSE,  /* 1 s from now */
};

struct row {
    bool used;
    enum proc_phase to;
    unsigned acts;
    enum clock_rule clock;
    enum proc_why why; /* NONE = as it was */
};

#define GO(to_, acts_, clock_, why_)                                                               \
    {                                                                                              \
        .used = true, .to = PHASE_##to_, .acts = (acts_), .clock = CLOCK_##clock_,                 \
        .why = PROC_WHY_##why_                                                                     \
    }
#define ACT(x) ((unsigned)PROC_ACT_##x)

/* Rows that several phases share. */
#define CLOSE_ALIVE GO(CLOSE_TERM, ACT(PROBE_END) | ACT(KILL_STOPPER) | ACT(TERM), CLOSE, CLOSED)
#define ABORT_NOW GO(ABORT_KILL, ACT(PROBE_END) | ACT(KILL), STUCK, ABORTED)
#define START_LOST GO(ABORT_KILL, ACT(PROBE_END) | ACT(KILL), STUCK, LOST)
#define STOP_LOST GO(STOP_KILL, ACT(KILL), STUCK, NONE)
#define STOPPED_NOW GO(IDLE, ACT(RELEASE), NONE, NONE)

static const struct row table[PHASE_COUNT][PROC_EV_COUNT] = {
    [PHASE_IDLE] = {
        [PROC_EV_START] = GO(SPAWN, ACT(SPAWN), HEALTH, NONE),
        [PROC_EV_CLOSE] = GO(CLOSED, 0, NONE, CLOSED),
    },
    [PHASE_SPAWN] = {
        [PROC_EV_SPAWNED] = GO(PROBE, ACT(PROBE), KEEP, NONE),
        [PROC_EV_SPAWN_FAILED] = GO(IDLE, ACT(RELEASE), NONE, SPAWN),
        [PROC_EV_STOP] = GO(ABORT, ACT(TERM), ABORT, ABORTED),
        [PROC_EV_KILL] = ABORT_NOW,
        [PROC_EV_LOST] = START_LOST,
        [PROC_EV_TIMER] = GO(ABORT, ACT(TERM), ABORT, TIMEOUT),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    [PHASE_PROBE] = {
        [PROC_EV_READY] = GO(READY, ACT(PROBE_END), NONE, NONE),
        [PROC_EV_EXIT] = GO(ABORT, ACT(PROBE_END) | ACT(TERM), ABORT, EXIT),
        [PROC_EV_GONE] = GO(IDLE, ACT(PROBE_END) | ACT(RELEASE), NONE, EXIT),
        [PROC_EV_STOP] = GO(ABORT, ACT(PROBE_END) | ACT(TERM), ABORT, ABORTED),
        [PROC_EV_KILL] = ABORT_NOW,
        [PROC_EV_LOST] = START_LOST,
        [PROC_EV_TIMER] = GO(ABORT, ACT(PROBE_END) | ACT(TERM), ABORT, TIMEOUT),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    /* A start that failed: the first reason stays, whatever comes on top. */
    [PHASE_ABORT] = {
        [PROC_EV_SPAWN_FAILED] = STOPPED_NOW,
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(ABORT, 0, KEEP, NONE),
        [PROC_EV_KILL] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_TIMER] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    [PHASE_ABORT_KILL] = {
        [PROC_EV_SPAWN_FAILED] = STOPPED_NOW,
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_LOST] = GO(ABORT_KILL, ACT(KILL), KEEP, NONE),
        [PROC_EV_TIMER] = GO(ABORT_STUCK, ACT(STUCK), NONE, NONE),
        [PROC_EV_CLOSE] = GO(CLOSE_KILL, ACT(KILL), CLOSE, CLOSED),
    },
    [PHASE_ABORT_STUCK] = {
        [PROC_EV_SPAWN_FAILED] = STOPPED_NOW,
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_KILL] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = GO(ABORT_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_CLOSE] = GO(CLOSE_KILL, ACT(KILL), CLOSE, CLOSED),
    },
    [PHASE_READY] = {
        [PROC_EV_EXIT] = GO(STOP_TERM, ACT(TERM), ABORT, CRASH),
        [PROC_EV_GONE] = GO(IDLE, ACT(RELEASE), NONE, CRASH),
        [PROC_EV_STOP] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = GO(STOP_KILL, ACT(KILL), STUCK, LOST),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
        [PROC_EV_CUT] = GO(READY, 0, KEEP, NONE),
    },
    [PHASE_STOP_CALM] = {
        [PROC_EV_EXIT] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(STOP_CALM, 0, CALM, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = STOP_LOST,
        [PROC_EV_TIMER] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    [PHASE_STOP_CMD] = {
        [PROC_EV_STOPPER_OK] = GO(STOP_WAIT, 0, GRACE, NONE),
        [PROC_EV_STOPPER_BAD] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        /* the leader obeyed, others have not heard of it yet */
        [PROC_EV_EXIT] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(STOP_CMD, 0, HALF, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = STOP_LOST,
        [PROC_EV_TIMER] = GO(STOP_TERM, ACT(KILL_STOPPER) | ACT(TERM), GRACE, NONE),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    [PHASE_STOP_WAIT] = {
        [PROC_EV_EXIT] = GO(STOP_TERM, ACT(TERM), GRACE, NONE),
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(STOP_WAIT, 0, GRACE, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = STOP_LOST,
        [PROC_EV_TIMER] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    [PHASE_STOP_TERM] = {
        [PROC_EV_GONE] = STOPPED_NOW,
        /* No second SIGTERM when the leader has gone: the others had theirs, and many programs take a
         * second one as an order to drop everything. */
        [PROC_EV_STOP] = GO(STOP_TERM, 0, GRACE, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = STOP_LOST,
        [PROC_EV_TIMER] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_CLOSE] = CLOSE_ALIVE,
    },
    /* Nothing of the command is left; what remains to kill is the stopper, and nobody waits for that. */
    [PHASE_STOP_TAIL] = {
        [PROC_EV_STOPPER_OK] = STOPPED_NOW,
        [PROC_EV_STOPPER_BAD] = STOPPED_NOW,
        [PROC_EV_KILL] = GO(IDLE, ACT(KILL) | ACT(RELEASE), NONE, NONE),
        [PROC_EV_LOST] = STOPPED_NOW,
        [PROC_EV_STOP] = GO(STOP_TAIL, 0, TAIL, NONE),
        [PROC_EV_TIMER] = GO(IDLE, ACT(KILL) | ACT(RELEASE), NONE, NONE),
        [PROC_EV_CLOSE] = GO(CLOSED, ACT(KILL) | ACT(RELEASE), NONE, CLOSED),
    },
    [PHASE_STOP_KILL] = {
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOPPER_OK] = GO(STOP_KILL, 0, KEEP, NONE),
        [PROC_EV_STOPPER_BAD] = GO(STOP_KILL, 0, KEEP, NONE),
        [PROC_EV_LOST] = GO(STOP_KILL, ACT(KILL), KEEP, NONE),
        [PROC_EV_TIMER] = GO(STOP_STUCK, ACT(STUCK), NONE, NONE),
        [PROC_EV_CLOSE] = GO(CLOSE_KILL, ACT(KILL), CLOSE, CLOSED),
    },
    [PHASE_STOP_STUCK] = {
        [PROC_EV_GONE] = STOPPED_NOW,
        [PROC_EV_STOPPER_OK] = GO(STOP_STUCK, 0, KEEP, NONE),
        [PROC_EV_STOPPER_BAD] = GO(STOP_STUCK, 0, KEEP, NONE),
        [PROC_EV_STOP] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_KILL] = GO(STOP_KILL, ACT(KILL), STUCK, NONE),
        [PROC_EV_LOST] = STOP_LOST,
        [PROC_EV_CLOSE] = GO(CLOSE_KILL, ACT(KILL), CLOSE, CLOSED),
    },
    [PHASE_CLOSE_TERM] = {
        [PROC_EV_SPAWN_FAILED] = GO(CLOSED, ACT(RELEASE), NONE, NONE),
        [PROC_EV_GONE] = GO(CLOSED, ACT(RELEASE), NONE, NONE),
        [PROC_EV_KILL] = GO(CLOSE_KILL, ACT(KILL), CLOSE, NONE),
        [PROC_EV_LOST] = GO(CLOSE_KILL, ACT(KILL), CLOSE, NONE),
        [PROC_EV_TIMER] = GO(CLOSE_KILL, ACT(KILL), CLOSE, NONE),
    },
    [PHASE_CLOSE_KILL] = {
        [PROC_EV_SPAWN_FAILED] = GO(CLOSED, ACT(RELEASE), NONE, NONE),
        [PROC_EV_GONE] = GO(CLOSED, ACT(RELEASE), NONE, NONE),
        [PROC_EV_LOST] = GO(CLOSE_KILL, ACT(KILL), KEEP, NONE),
        /* unkillable: nobody waits for it any more; the supervisor goes on killing */
        [PROC_EV_TIMER] = GO(CLOSED, ACT(STUCK) | ACT(RELEASE), NONE, NONE),
    },
};

/* Rows that a condition puts in the place of the table's. */
static const struct row ready_at_once = GO(READY, 0, NONE, NONE);
static const struct row by_stopper = GO(STOP_CMD, ACT(STOPPER), HALF, NONE);
static const struct row in_peace = GO(STOP_CALM, 0, CALM, NONE);
static const struct row tail = GO(STOP_TAIL, 0, TAIL, NONE);

void proc_fsm_init(struct proc_fsm *f, bool probes, bool has_stopper, msec health_ms)
{
    *f = (struct proc_fsm){ .phase = PHASE_IDLE,
                            .probes = probes,
                            .has_stopper = has_stopper,
                            .health_ms = health_ms,
                            .deadline = MSEC_NEVER,
                            .stop_by = MSEC_NEVER };
}

static bool stopping_softly(enum proc_phase p)
{
    return p == PHASE_STOP_CMD || p == PHASE_STOP_TERM || p == PHASE_STOP_WAIT;
}

static const struct row *refine(const struct proc_fsm *f, enum proc_fsm_event ev, msec now)
{
    const struct row *r = &table[f->phase][ev];
    if (f->phase == PHASE_SPAWN && ev == PROC_EV_SPAWNED && !f->probes)
        return &ready_at_once;
    if (f->phase == PHASE_READY && ev == PROC_EV_STOP && now < f->calm_at)
        return &in_peace;
    if (f->has_stopper && ((f->phase == PHASE_READY && ev == PROC_EV_STOP) ||
                           (f->phase == PHASE_STOP_CALM && ev == PROC_EV_TIMER)))
        return &by_stopper;
    if (stopping_softly(f->phase) && ev == PROC_EV_GONE && f->stopper)
        return &tail;
    return r;
}

static msec sooner(msec a, msec b)
{
    return a < b ? a : b;
}

static void set_clock(struct proc_fsm *f, enum clock_rule rule, msec now)
{
    switch (rule) {
    case CLOCK_KEEP:
        return;
    case CLOCK_NONE:
        f->deadline = MSEC_NEVER;
        return;
    case CLOCK_HEALTH:
        f->deadline = now + f->health_ms;
        return;
    case CLOCK_ABORT:
        f->deadline = now + PROC_ABORT_GRACE_MS;
        return;
    case CLOCK_CALM:
        f->deadline = sooner(f->calm_at, f->stop_by);
        return;
    case CLOCK_HALF:
        f->deadline = now + (f->stop_by - now) / 2;
        return;
    case CLOCK_GRACE:
        f->deadline = f->stop_by;
        return;
    case CLOCK_TAIL:
        f->deadline = sooner(now + PROC_TAIL_MS, f->stop_by);
        return;
    case CLOCK_STUCK:
        f->deadline = now + PROC_STUCK_MS;
        return;
    case CLOCK_CLOSE:
        f->deadline = now + PROC_CLOSE_GRACE_MS;
        return;
    }
    UNREACHABLE();
}

unsigned proc_fsm_step(struct proc_fsm *f, enum proc_fsm_event ev, msec now, msec grace)
{
    ASSERT(ev < PROC_EV_COUNT);
    if (ev == PROC_EV_STOPPER_OK || ev == PROC_EV_STOPPER_BAD)
        f->stopper = false;
    const struct row *r = refine(f, ev, now);
    if (!r->used)
        return 0;
    bool settled = proc_phase_state(f->phase) == PROC_STOPPED || f->phase == PHASE_READY;
    if (ev == PROC_EV_STOP) {
        if (grace < 0)
            grace = 0;
        /* a later stop can only shorten what is left */
        msec by = grace >= MSEC_NEVER - now ? MSEC_NEVER - 1 : now + grace;
        f->stop_by = settled ? by : sooner(f->stop_by, by);
    } else if (ev == PROC_EV_START) {
        f->stop_by = MSEC_NEVER;
        f->calm_at = 0;
        f->stopper = false;
    } else if (ev == PROC_EV_CUT) {
        f->calm_at = now + PROC_CALM_MS;
    } else if (f->phase == PHASE_READY) {
        f->stop_by = now + PROC_ABORT_GRACE_MS; /* ended by itself */
    }
    if (settled)
        f->why = PROC_WHY_NONE;
    if (r->why != PROC_WHY_NONE)
        f->why = r->why;
    f->phase = r->to;
    set_clock(f, r->clock, now);
    if (f->phase == PHASE_ABORT)
        f->deadline = sooner(f->deadline, f->stop_by);
    if (r->acts & ACT(STOPPER))
        f->stopper = true;
    return r->acts;
}

enum proc_state proc_phase_state(enum proc_phase p)
{
    static const enum proc_state states[] = {
#define PHASE(id, state) [PHASE_##id] = PROC_##state,
        PROC_PHASES(PHASE)
#undef PHASE
    };
    ASSERT(p < PHASE_COUNT);
    return states[p];
}

enum proc_state proc_fsm_state(const struct proc_fsm *f)
{
    return proc_phase_state(f->phase);
}

const char *proc_phase_name(enum proc_phase p)
{
    static const char *const names[] = {
#define PHASE(id, state) [PHASE_##id] = #id,
        PROC_PHASES(PHASE)
#undef PHASE
    };
    return p < PHASE_COUNT ? names[p] : "?";
}

const char *proc_fsm_event_name(enum proc_fsm_event ev)
{
    static const char *const names[] = {
#define EVENT(id) [PROC_EV_##id] = #id,
        PROC_EVENTS(EVENT)
#undef EVENT
    };
    return ev < PROC_EV_COUNT ? names[ev] : "?";
}
