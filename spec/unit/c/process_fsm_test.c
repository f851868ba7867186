/* process_fsm_test.c: every row of the life of a process, and that no other event changes anything. */
#include "process/proc_fsm.h"

#include "base/rand.h"
#include "spec.h"

#include <inttypes.h>

#define A(x) ((unsigned)PROC_ACT_##x)
#define NOW 1000
#define KEEPS (-1)

/* In `from` with a deadline at 7000 and a grace ending at 9000 and a running stopper where one can be, `ev`
 * (STOP with a grace of 4000) at time 1000 leads to `to`, with these actions and this deadline. */
struct expect {
    enum proc_phase from;
    enum proc_fsm_event ev;
    enum proc_phase to;
    unsigned acts;
    msec deadline; /* KEEPS = 7000 */
    enum proc_why why;
};

#define ROW(from, ev, to, acts, deadline, why)                                                     \
    {                                                                                              \
        PHASE_##from, PROC_EV_##ev, PHASE_##to, acts, deadline, PROC_WHY_##why                     \
    }
#define NEVER MSEC_NEVER

static const struct expect rows[] = {
    ROW(IDLE, START, SPAWN, A(SPAWN), NOW + 15000, NONE),
    ROW(IDLE, CLOSE, CLOSED, 0, NEVER, CLOSED),

    ROW(SPAWN, SPAWNED, PROBE, A(PROBE), KEEPS, NONE),
    ROW(SPAWN, SPAWN_FAILED, IDLE, A(RELEASE), NEVER, SPAWN),
    ROW(SPAWN, STOP, ABORT, A(TERM), NOW + 4000, ABORTED),
    ROW(SPAWN, KILL, ABORT_KILL, A(PROBE_END) | A(KILL), NOW + 5000, ABORTED),
    ROW(SPAWN, LOST, ABORT_KILL, A(PROBE_END) | A(KILL), NOW + 5000, LOST),
    ROW(SPAWN, TIMER, ABORT, A(TERM), NOW + 5000, TIMEOUT),
    ROW(SPAWN, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(PROBE, READY, READY, A(PROBE_END), NEVER, NONE),
    ROW(PROBE, EXIT, ABORT, A(PROBE_END) | A(TERM), NOW + 5000, EXIT),
    ROW(PROBE, GONE, IDLE, A(PROBE_END) | A(RELEASE), NEVER, EXIT),
    ROW(PROBE, STOP, ABORT, A(PROBE_END) | A(TERM), NOW + 4000, ABORTED),
    ROW(PROBE, KILL, ABORT_KILL, A(PROBE_END) | A(KILL), NOW + 5000, ABORTED),
    ROW(PROBE, LOST, ABORT_KILL, A(PROBE_END) | A(KILL), NOW + 5000, LOST),
    ROW(PROBE, TIMER, ABORT, A(PROBE_END) | A(TERM), NOW + 5000, TIMEOUT),
    ROW(PROBE, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(ABORT, SPAWN_FAILED, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT, GONE, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT, STOP, ABORT, 0, NOW + 4000, TIMEOUT),
    ROW(ABORT, KILL, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT, LOST, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT, TIMER, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(ABORT_KILL, SPAWN_FAILED, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT_KILL, GONE, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT_KILL, LOST, ABORT_KILL, A(KILL), KEEPS, TIMEOUT),
    ROW(ABORT_KILL, TIMER, ABORT_STUCK, A(STUCK), NEVER, TIMEOUT),
    ROW(ABORT_KILL, CLOSE, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),

    ROW(ABORT_STUCK, SPAWN_FAILED, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT_STUCK, GONE, IDLE, A(RELEASE), NEVER, TIMEOUT),
    ROW(ABORT_STUCK, STOP, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT_STUCK, KILL, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT_STUCK, LOST, ABORT_KILL, A(KILL), NOW + 5000, TIMEOUT),
    ROW(ABORT_STUCK, CLOSE, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),

    ROW(READY, EXIT, STOP_TERM, A(TERM), NOW + 5000, CRASH),
    ROW(READY, GONE, IDLE, A(RELEASE), NEVER, CRASH),
    ROW(READY, STOP, STOP_TERM, A(TERM), NOW + 4000, NONE),
    ROW(READY, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(READY, LOST, STOP_KILL, A(KILL), NOW + 5000, LOST),
    ROW(READY, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(READY, CUT, READY, 0, KEEPS, NONE),

    ROW(STOP_CALM, EXIT, STOP_TERM, A(TERM), 9000, NONE),
    ROW(STOP_CALM, GONE, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_CALM, STOP, STOP_CALM, 0, 0, NONE),
    ROW(STOP_CALM, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_CALM, LOST, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_CALM, TIMER, STOP_TERM, A(TERM), 9000, NONE),
    ROW(STOP_CALM, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(STOP_CMD, STOPPER_OK, STOP_WAIT, 0, 9000, NONE),
    ROW(STOP_CMD, STOPPER_BAD, STOP_TERM, A(TERM), 9000, NONE),
    ROW(STOP_CMD, EXIT, STOP_TERM, A(TERM), 9000, NONE),
    ROW(STOP_CMD, GONE, STOP_TAIL, 0, NOW + 1000, NONE),
    ROW(STOP_CMD, STOP, STOP_CMD, 0, NOW + 2000, NONE),
    ROW(STOP_CMD, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_CMD, LOST, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_CMD, TIMER, STOP_TERM, A(KILL_STOPPER) | A(TERM), 9000, NONE),
    ROW(STOP_CMD, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(STOP_WAIT, EXIT, STOP_TERM, A(TERM), 9000, NONE),
    ROW(STOP_WAIT, GONE, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_WAIT, STOP, STOP_WAIT, 0, NOW + 4000, NONE),
    ROW(STOP_WAIT, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_WAIT, LOST, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_WAIT, TIMER, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_WAIT, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(STOP_TERM, GONE, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_TERM, STOP, STOP_TERM, 0, NOW + 4000, NONE),
    ROW(STOP_TERM, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_TERM, LOST, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_TERM, TIMER, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_TERM, CLOSE, CLOSE_TERM, A(PROBE_END) | A(KILL_STOPPER) | A(TERM), NOW + 1000, CLOSED),

    ROW(STOP_TAIL, STOPPER_OK, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_TAIL, STOPPER_BAD, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_TAIL, KILL, IDLE, A(KILL) | A(RELEASE), NEVER, NONE),
    ROW(STOP_TAIL, LOST, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_TAIL, STOP, STOP_TAIL, 0, NOW + 1000, NONE),
    ROW(STOP_TAIL, TIMER, IDLE, A(KILL) | A(RELEASE), NEVER, NONE),
    ROW(STOP_TAIL, CLOSE, CLOSED, A(KILL) | A(RELEASE), NEVER, CLOSED),

    ROW(STOP_KILL, GONE, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_KILL, STOPPER_OK, STOP_KILL, 0, KEEPS, NONE),
    ROW(STOP_KILL, STOPPER_BAD, STOP_KILL, 0, KEEPS, NONE),
    ROW(STOP_KILL, LOST, STOP_KILL, A(KILL), KEEPS, NONE),
    ROW(STOP_KILL, TIMER, STOP_STUCK, A(STUCK), NEVER, NONE),
    ROW(STOP_KILL, CLOSE, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),

    ROW(STOP_STUCK, GONE, IDLE, A(RELEASE), NEVER, NONE),
    ROW(STOP_STUCK, STOPPER_OK, STOP_STUCK, 0, KEEPS, NONE),
    ROW(STOP_STUCK, STOPPER_BAD, STOP_STUCK, 0, KEEPS, NONE),
    ROW(STOP_STUCK, STOP, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_STUCK, KILL, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_STUCK, LOST, STOP_KILL, A(KILL), NOW + 5000, NONE),
    ROW(STOP_STUCK, CLOSE, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),

    ROW(CLOSE_TERM, SPAWN_FAILED, CLOSED, A(RELEASE), NEVER, CLOSED),
    ROW(CLOSE_TERM, GONE, CLOSED, A(RELEASE), NEVER, CLOSED),
    ROW(CLOSE_TERM, KILL, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),
    ROW(CLOSE_TERM, LOST, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),
    ROW(CLOSE_TERM, TIMER, CLOSE_KILL, A(KILL), NOW + 1000, CLOSED),

    ROW(CLOSE_KILL, SPAWN_FAILED, CLOSED, A(RELEASE), NEVER, CLOSED),
    ROW(CLOSE_KILL, GONE, CLOSED, A(RELEASE), NEVER, CLOSED),
    ROW(CLOSE_KILL, LOST, CLOSE_KILL, A(KILL), KEEPS, CLOSED),
    ROW(CLOSE_KILL, TIMER, CLOSED, A(STUCK) | A(RELEASE), NEVER, CLOSED),
};

/* A process in that phase, as it would look there. */
static struct proc_fsm in_phase(enum proc_phase p)
{
    struct proc_fsm f;
    proc_fsm_init(&f, true, false, 15000);
    f.phase = p;
    f.deadline = 7000;
    f.stop_by = proc_phase_state(p) == PROC_STARTING ? MSEC_NEVER : 9000;
    f.stopper = p == PHASE_STOP_CMD || p == PHASE_STOP_TAIL;
    if (p == PHASE_ABORT || p == PHASE_ABORT_KILL || p == PHASE_ABORT_STUCK)
        f.why = PROC_WHY_TIMEOUT;
    if (proc_phase_state(p) == PROC_SHUTDOWN)
        f.why = PROC_WHY_CLOSED;
    return f;
}

static void check_row(const struct expect *x)
{
    struct proc_fsm f = in_phase(x->from);
    unsigned acts = proc_fsm_step(&f, x->ev, NOW, 4000);
    msec deadline = x->deadline == KEEPS ? 7000 : x->deadline;
    if (f.phase != x->to || acts != x->acts || f.deadline != deadline || f.why != x->why)
        spec_miss(
            __FILE__, __LINE__,
            "%s + %s: to %s acts %x deadline %" PRId64 " why %d; expected %s %x %" PRId64 " %d",
            proc_phase_name(x->from), proc_fsm_event_name(x->ev), proc_phase_name(f.phase), acts,
            f.deadline, (int)f.why, proc_phase_name(x->to), x->acts, deadline, (int)x->why);
}

TEST(every_row_of_the_table_does_what_the_contract_says)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

TEST(an_event_without_a_row_changes_nothing)
{
    for (enum proc_phase p = 0; p < PHASE_COUNT; p++) {
        for (enum proc_fsm_event ev = 0; ev < PROC_EV_COUNT; ev++) {
            bool has_row = false;
            for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                has_row = has_row || (rows[i].from == p && rows[i].ev == ev);
            if (has_row)
                continue;
            struct proc_fsm f = in_phase(p), before = f;
            unsigned acts = proc_fsm_step(&f, ev, NOW, 4000);
            if (acts || f.phase != before.phase || f.deadline != before.deadline ||
                f.why != before.why)
                spec_miss(__FILE__, __LINE__, "%s + %s is not quiet", proc_phase_name(p),
                          proc_fsm_event_name(ev));
        }
    }
}

TEST(without_a_check_endpoint_a_spawned_command_is_ready)
{
    struct proc_fsm f;
    proc_fsm_init(&f, false, false, 15000);
    CHECK_UINT(A(SPAWN), proc_fsm_step(&f, PROC_EV_START, 0, 0));
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_SPAWNED, 5, 0));
    CHECK_INT(PHASE_READY, f.phase);
    CHECK_TRUE(f.deadline == MSEC_NEVER);
}

/* cmdStop: the whole course of each way it can go. */
static struct proc_fsm stopping_by_command(msec grace)
{
    struct proc_fsm f;
    proc_fsm_init(&f, false, true, 15000);
    proc_fsm_step(&f, PROC_EV_START, 0, 0);
    proc_fsm_step(&f, PROC_EV_SPAWNED, 0, 0);
    CHECK_UINT(A(STOPPER), proc_fsm_step(&f, PROC_EV_STOP, 100, grace));
    CHECK_INT(PHASE_STOP_CMD, f.phase);
    CHECK_INT(100 + grace / 2, f.deadline);
    return f;
}

/* llama-server hangs when it is told to end before it has seen that its client went. */
TEST(a_stop_right_after_a_cut_waits_a_moment)
{
    struct proc_fsm f, g;
    proc_fsm_init(&f, false, false, 15000);
    proc_fsm_step(&f, PROC_EV_START, 0, 0);
    proc_fsm_step(&f, PROC_EV_SPAWNED, 0, 0);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_CUT, 100, 0));
    CHECK_INT(PHASE_READY, f.phase);
    CHECK_TRUE(f.deadline == MSEC_NEVER);
    g = f;
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOP, 110, 4000));
    CHECK_INT(PHASE_STOP_CALM, f.phase);
    CHECK_INT(PROC_STOPPING, proc_fsm_state(&f));
    CHECK_INT(125, f.deadline);
    CHECK_UINT(A(TERM), proc_fsm_step(&f, PROC_EV_TIMER, 125, 0));
    CHECK_INT(PHASE_STOP_TERM, f.phase);
    CHECK_INT(4110, f.deadline); /* the grace is not longer for it */

    /* later nothing is waited for, and a grace that ends before is kept */
    f = g;
    CHECK_UINT(A(TERM), proc_fsm_step(&f, PROC_EV_STOP, 125, 4000));
    CHECK_INT(4125, f.deadline);
    f = g;
    proc_fsm_step(&f, PROC_EV_STOP, 110, 3);
    CHECK_INT(113, f.deadline);
    CHECK_UINT(A(TERM), proc_fsm_step(&f, PROC_EV_TIMER, 113, 0));
    CHECK_UINT(A(KILL), proc_fsm_step(&f, PROC_EV_TIMER, 113, 0));

    /* the next life knows nothing of it, and cmdStop waits too */
    f = g;
    proc_fsm_step(&f, PROC_EV_GONE, 101, 0);
    proc_fsm_step(&f, PROC_EV_START, 102, 0);
    proc_fsm_step(&f, PROC_EV_SPAWNED, 103, 0);
    CHECK_UINT(A(TERM), proc_fsm_step(&f, PROC_EV_STOP, 104, 4000));
    f = g;
    f.has_stopper = true;
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOP, 110, 4000));
    CHECK_UINT(A(STOPPER), proc_fsm_step(&f, PROC_EV_TIMER, 125, 0));
    CHECK_INT(PHASE_STOP_CMD, f.phase);
}

TEST(a_stop_command_that_works_ends_the_process_without_a_signal)
{
    struct proc_fsm f = stopping_by_command(10000);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOPPER_OK, 200, 0));
    CHECK_INT(10100, f.deadline);
    CHECK_UINT(A(RELEASE), proc_fsm_step(&f, PROC_EV_GONE, 300, 0));
    CHECK_INT(PROC_STOPPED, proc_fsm_state(&f));
    CHECK_INT(PROC_WHY_NONE, f.why);
}

TEST(a_stop_command_that_fails_is_followed_by_sigterm_then_sigkill)
{
    struct proc_fsm f = stopping_by_command(10000);
    CHECK_UINT(A(TERM), proc_fsm_step(&f, PROC_EV_STOPPER_BAD, 200, 0));
    CHECK_INT(10100, f.deadline);
    CHECK_UINT(A(KILL), proc_fsm_step(&f, PROC_EV_TIMER, 10100, 0));
    CHECK_UINT(A(STUCK), proc_fsm_step(&f, PROC_EV_TIMER, 15100, 0));
    CHECK_INT(PROC_STOPPING, proc_fsm_state(&f));
    CHECK_UINT(A(RELEASE), proc_fsm_step(&f, PROC_EV_GONE, 99999, 0));
    CHECK_INT(PROC_STOPPED, proc_fsm_state(&f));
}

TEST(a_stop_command_that_hangs_is_killed_at_half_the_grace)
{
    struct proc_fsm f = stopping_by_command(10000);
    CHECK_UINT(A(KILL_STOPPER) | A(TERM), proc_fsm_step(&f, PROC_EV_TIMER, 5100, 0));
    CHECK_INT(10100, f.deadline);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOPPER_BAD, 5101, 0));
    CHECK_INT(PHASE_STOP_TERM, f.phase);
    CHECK_UINT(A(RELEASE), proc_fsm_step(&f, PROC_EV_GONE, 5200, 0));
}

TEST(a_stop_command_that_goes_on_after_the_process_is_waited_for_only_shortly)
{
    struct proc_fsm f = stopping_by_command(10000);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_GONE, 300, 0));
    CHECK_INT(PROC_STOPPING, proc_fsm_state(&f));
    CHECK_INT(1300, f.deadline);
    CHECK_UINT(A(KILL) | A(RELEASE), proc_fsm_step(&f, PROC_EV_TIMER, 1300, 0));
    CHECK_INT(PROC_STOPPED, proc_fsm_state(&f));
}

TEST(a_second_stop_shortens_the_grace_and_never_lengthens_it)
{
    struct proc_fsm f;
    proc_fsm_init(&f, false, false, 15000);
    proc_fsm_step(&f, PROC_EV_START, 0, 0);
    proc_fsm_step(&f, PROC_EV_SPAWNED, 0, 0);
    proc_fsm_step(&f, PROC_EV_STOP, 0, 10000);
    CHECK_INT(10000, f.deadline);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOP, 1000, 20000));
    CHECK_INT(10000, f.deadline);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOP, 2000, 500));
    CHECK_INT(2500, f.deadline);
    CHECK_UINT(0, proc_fsm_step(&f, PROC_EV_STOP, 2001, MSEC_NEVER));
    CHECK_INT(2500, f.deadline);
}

TEST(a_stop_during_the_end_after_a_crash_shortens_that_too)
{
    struct proc_fsm f;
    proc_fsm_init(&f, false, false, 15000);
    proc_fsm_step(&f, PROC_EV_START, 0, 0);
    proc_fsm_step(&f, PROC_EV_SPAWNED, 0, 0);
    proc_fsm_step(&f, PROC_EV_EXIT, 100, 0);
    CHECK_INT(5100, f.deadline);
    proc_fsm_step(&f, PROC_EV_STOP, 200, 60000);
    CHECK_INT(5100, f.deadline);
    proc_fsm_step(&f, PROC_EV_STOP, 300, 100);
    CHECK_INT(400, f.deadline);
}

/* Any sequence of events, with a model of the tree behind it, keeps the promises. */
TEST(random_lives_keep_the_promises)
{
    uint64_t seed;
    rand_bytes(&seed, sizeof seed);
    struct rand_state r;
    rand_seed(&r, seed);
    struct proc_fsm f;
    proc_fsm_init(&f, true, false, 15000);
    msec now = 0;
    for (int i = 0; i < 200000; i++) {
        if (f.phase == PHASE_CLOSED || rand_below(&r, 50) == 0)
            proc_fsm_init(&f, rand_below(&r, 2), rand_below(&r, 2), 15000);
        enum proc_fsm_event ev = (enum proc_fsm_event)rand_below(&r, PROC_EV_COUNT);
        enum proc_state from = proc_fsm_state(&f);
        enum proc_phase phase = f.phase;
        now += (msec)rand_below(&r, 3000);
        unsigned acts = proc_fsm_step(&f, ev, now, (msec)rand_below(&r, 20000));
        enum proc_state to = proc_fsm_state(&f);
        bool legal = from == to || to == PROC_SHUTDOWN ||
                     (from == PROC_STOPPED && to == PROC_STARTING) ||
                     (from == PROC_STARTING && (to == PROC_READY || to == PROC_STOPPED)) ||
                     (from == PROC_READY && (to == PROC_STOPPING || to == PROC_STOPPED)) ||
                     (from == PROC_STOPPING && to == PROC_STOPPED);
        bool settled = to == PROC_STOPPED || f.phase == PHASE_CLOSED;
        /* what was spawned is released exactly when nothing runs any more */
        bool released = (acts & A(RELEASE)) != 0;
        bool started = phase != PHASE_IDLE && phase != PHASE_CLOSED;
        /* a deadline runs in every phase that must not last */
        bool waits = f.phase == PHASE_READY || settled || f.phase == PHASE_ABORT_STUCK ||
                     f.phase == PHASE_STOP_STUCK;
        if (!legal || released != (started && settled) || waits != (f.deadline == MSEC_NEVER))
            spec_miss(__FILE__, __LINE__, "seed %" PRIu64 " step %d: %s + %s -> %s acts %x", seed,
                      i, proc_phase_name(phase), proc_fsm_event_name(ev), proc_phase_name(f.phase),
                      acts);
    }
}
