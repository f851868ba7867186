/* proc.c: see proc.h. The driver of proc_fsm: performs its actions, feeds it what happened, tells the owner.
 *
 * Everything the owner is told goes through a queue that is emptied at the end of the loop's turn: callbacks
 * never come from inside a proc_* call, and their order is the order of what happened.
 */
#include "process/proc.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "config/cmdline.h"
#include "io/timer.h"
#include "process/health.h"
#include "process/proc_fsm.h"
#include "process/proc_text.h"
#include "process/sup.h"

#include <inttypes.h>
#include <stdio.h>

#define LOG_BYTES (100u * 1024)
#define ARGS_MAX (4u << 20)
#define SCOPE_MAX 80
/* After the end, how long a supervisor may take to go. */
#define REAP_MS 1000

struct note {
    struct list node;
    struct proc_event ev;
    char text[240];
};

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
    char scope[SCOPE_MAX];

    struct proc_fsm fsm;
    struct io_timer *timer; /* of the fsm's deadline; at the very end, of the reaping */
    struct sup *sup;
    struct list parked; /* released supervisors that have not ended yet */
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

static void step(struct proc *p, enum proc_fsm_event ev, msec grace);
static void finish(struct proc *p);

const char *proc_state_name(enum proc_state s)
{
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", "shutdown" };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}

/* ---- telling the owner ---- */

static void on_deliver(void *ud)
{
    struct proc *p = ud;
    struct list *it;
    while ((it = list_first(&p->notes))) {
        struct note *n = LIST_ENTRY(it, struct note, node);
        list_remove(it);
        n->ev.text = n->text;
        if (p->cb.state)
            p->cb.state(p->ud, p, &n->ev);
        free(n);
    }
    finish(p);
}

static void note(struct proc *p, enum proc_state from, enum proc_state to, uint64_t tag, int code,
                 const char *text)
{
    struct note *n = mem_zalloc(sizeof *n);
    n->ev = (struct proc_event){ .from = from,
                                 .to = to,
                                 .tag = tag,
                                 .code = code,
                                 .exit_status = p->exit_status,
                                 .term_signal = p->term_signal };
    snprintf(n->text, sizeof n->text, "%s", text);
    list_push_back(&p->notes, &n->node);
    io_call_post(p->loop, &p->deliver);
}

/* Answers every stop that waits; the first one takes a real change of state along, if there is one. */
static void answer_stops(struct proc *p, enum proc_state from, enum proc_state to, int code,
                         const char *text)
{
    bool told = from == to;
    struct list *it;
    while ((it = list_first(&p->stop_tags))) {
        struct tag *t = LIST_ENTRY(it, struct tag, node);
        list_remove(it);
        if (told)
            note(p, to, to, t->tag, 0, "");
        else
            note(p, from, to, t->tag, code, text);
        told = true;
        free(t);
    }
    if (!told)
        note(p, from, to, 0, code, text);
}

/* PROC_WHY_SPAWN has been written where it happened. */
static void set_why(struct proc *p)
{
    struct strbuf b = STRBUF(sizeof p->why - 1);
    if (p->fsm.why == PROC_WHY_SPAWN)
        return;
    proc_why_text(&b, p->fsm.why, p->conf.health_timeout_ms, p->exit_status, p->term_signal);
    snprintf(p->why, sizeof p->why, STR_FMT, STR_ARG(strbuf_str(&b)));
    strbuf_fini(&b);
}

static void remember_failure(struct proc *p)
{
    int code = proc_why_code(p->fsm.why);
    if (code != ERR_START && code != ERR_CLOSED)
        return;
    p->history.fails_in_row++;
    snprintf(p->history.last_error, sizeof p->history.last_error, "%s", p->why);
}

/* What helps to find the cause beyond the text that the owner is told (and logs). */
static void log_failure(const struct proc *p, enum proc_state from)
{
    struct strbuf b = STRBUF(600);
    strbuf_addf(&b, "%s", p->why);
    if (p->fsm.why == PROC_WHY_EXIT && (p->exit_status >= 0 || p->term_signal)) {
        strbuf_add(&b, S(": "));
        proc_end_text(&b, p->exit_status, p->term_signal);
    }
    if (p->fsm.why == PROC_WHY_TIMEOUT && health_last(p->health)[0])
        strbuf_addf(&b, "; the last of %u probes said: %s", health_probes(p->health),
                    health_last(p->health));
    log_debug(p->scope, "%s: " STR_FMT, from == PROC_STARTING ? "start failed" : "ended by itself",
              STR_ARG(strbuf_str(&b)));
    strbuf_fini(&b);
}

static void entered_ready(struct proc *p)
{
    msec took = p->since - p->started_at;
    p->history.load_ms_last = took;
    p->load_ms_sum += took;
    p->history.load_ms_avg = p->load_ms_sum / ++p->loads;
    p->history.fails_in_row = 0;
    note(p, PROC_STARTING, PROC_READY, p->start_tag, 0, "");
    p->start_open = false;
    log_info(p->scope, "ready after %" PRId64 " ms, pid %d, %u probes", took, p->pid,
             health_probes(p->health));
}

static void entered_stopped(struct proc *p, enum proc_state from)
{
    int code = proc_why_code(p->fsm.why);
    if (from == PROC_STOPPING)
        p->history.stop_ms_last = p->since - p->stop_at;
    if (code == ERR_START || (code == ERR_CLOSED && from != PROC_STOPPING)) {
        log_failure(p, from);
        remember_failure(p);
    }
    if (from == PROC_STARTING && p->start_open) {
        note(p, from, PROC_STOPPED, p->start_tag, code, p->why);
        p->start_open = false;
        answer_stops(p, PROC_STOPPED, PROC_STOPPED, 0, "");
    } else {
        answer_stops(p, from, PROC_STOPPED, code, p->why);
    }
}

/* Everything that follows from a real change of the public state. */
static void publish(struct proc *p, enum proc_state from, enum proc_state to)
{
    p->since = io_loop_now(p->loop);
    set_why(p);
    switch (to) {
    case PROC_STARTING:
        p->started_at = p->since;
        p->history.starts++;
        note(p, from, to, 0, 0, "");
        break;
    case PROC_READY:
        entered_ready(p);
        break;
    case PROC_STOPPING:
        p->stop_at = p->since;
        if (p->fsm.why != PROC_WHY_NONE) {
            log_failure(p, from);
            remember_failure(p);
        }
        note(p, from, to, 0, proc_why_code(p->fsm.why), p->why);
        break;
    case PROC_STOPPED:
        entered_stopped(p, from);
        break;
    case PROC_SHUTDOWN:
        note(p, from, to, p->start_open ? p->start_tag : 0, ERR_SHUTDOWN, p->why);
        p->start_open = false;
        break;
    }
}

/* ---- the supervised command ---- */

static void on_sup_event(void *ud, const struct sup_event *ev)
{
    struct proc *p = ud;
    switch (ev->kind) {
    case SUP_STARTED:
        p->pid = ev->n;
        log_debug(p->scope, "command runs as pid %d", ev->n);
        step(p, PROC_EV_SPAWNED, 0);
        break;
    case SUP_FAILED: {
        struct error e = { 0 };
        error_sys(&e, ERR_START, ev->n, "%s", p->why);
        snprintf(p->why, sizeof p->why, "%s", e.msg);
        step(p, PROC_EV_SPAWN_FAILED, 0);
        break;
    }
    case SUP_EXITED:
        p->exit_status = ev->signal ? -1 : ev->n;
        p->term_signal = ev->signal;
        p->history.last_exit = p->exit_status;
        p->history.last_signal = p->term_signal;
        p->pid = 0;
        step(p, ev->gone ? PROC_EV_GONE : PROC_EV_EXIT, 0);
        break;
    case SUP_GONE:
        p->pid = 0;
        step(p, PROC_EV_GONE, 0);
        break;
    case SUP_STOPPER_FAILED:
        log_warn(p->scope, "cmdStop could not be run (%s), sending SIGTERM", strerror(ev->n));
        step(p, PROC_EV_STOPPER_BAD, 0);
        break;
    case SUP_STOPPER_EXITED:
        if (ev->n || ev->signal)
            log_warn(p->scope, "cmdStop failed (%s %d)", ev->signal ? "signal" : "status",
                     ev->signal ? ev->signal : ev->n);
        step(p, ev->n || ev->signal ? PROC_EV_STOPPER_BAD : PROC_EV_STOPPER_OK, 0);
        break;
    case SUP_PONG:
        /* the command was alive after the server had answered: it is this life's server */
        if (p->ping && ev->n == p->ping)
            step(p, PROC_EV_READY, 0);
        break;
    case SUP_LOST:
        if (p->fsm.phase != PHASE_STOP_TAIL)
            log_warn(p->scope, "the supervisor was killed; ending what it watched");
        step(p, PROC_EV_LOST, 0);
        break;
    }
}

static void on_sup_output(void *ud, str bytes)
{
    struct proc *p = ud;
    ring_write(&p->log, bytes);
    if (p->cb.output)
        p->cb.output(p->ud, p, bytes);
}

static void on_sup_reaped(void *ud)
{
    struct proc *p = ud;
    if (p->closing)
        io_call_post(p->loop, &p->deliver);
}

static void on_healthy(void *ud)
{
    struct proc *p = ud;
    p->ping++;
    sup_ping(p->sup, p->ping);
}

/* Values may be secrets: names only. */
static void log_start(const struct proc *p, const str *argv, size_t n)
{
    if (!log_enabled(LOG_DEBUG))
        return;
    struct strbuf b = STRBUF(4096);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(&b, "%s" STR_FMT, i ? " " : "", STR_ARG(argv[i]));
    log_debug(p->scope, "starting: " STR_FMT, STR_ARG(strbuf_str(&b)));
    strbuf_clear(&b);
    for (size_t i = 0; i < p->conf.n_env; i++) {
        str name, value;
        str_cut(p->conf.env[i], '=', &name, &value);
        strbuf_addf(&b, " " STR_FMT, STR_ARG(name));
    }
    if (b.len)
        log_debug(p->scope, "with environment:" STR_FMT, STR_ARG(strbuf_str(&b)));
    strbuf_fini(&b);
}

static bool spawn(struct proc *p)
{
    static const struct sup_cb cb = { on_sup_event, on_sup_output, on_sup_reaped };
    struct error e = { 0 };
    struct arena args;
    str *argv = NULL;
    size_t n = 0;
    p->exit_status = -1;
    p->term_signal = 0;
    p->ping = 0;
    p->why[0] = '\0';
    arena_init(&args, ARGS_MAX);
    ASSERT(!p->sup && !p->health);
    if (p->fsm.probes)
        p->health = health_new(p->loop, p->conf.proxy, p->conf.check_endpoint,
                               p->conf.connect_timeout_ms, on_healthy, p, &e);
    if (!e.code && cmdline_split(&args, p->conf.cmd, &argv, &n, &e) == 0) {
        log_start(p, argv, n);
        struct strbuf b = STRBUF(sizeof p->why - 1);
        proc_spawn_text(&b, argv, n);
        snprintf(p->why, sizeof p->why, STR_FMT, STR_ARG(strbuf_str(&b)));
        strbuf_fini(&b);
        struct sup_conf conf = { .label = p->conf.id,
                                 .argv = argv,
                                 .n_argv = n,
                                 .env = p->conf.env,
                                 .n_env = p->conf.n_env };
        if (p->health)
            health_peek(p->health);
        p->sup = sup_new(p->loop, &conf, &cb, p, &e);
        if (!p->sup)
            error_wrap(&e, "%s", p->why);
    }
    arena_fini(&args);
    if (!p->sup)
        snprintf(p->why, sizeof p->why, "%s", e.code ? e.msg : "no command");
    return p->sup != NULL;
}

/* ${PID} becomes the leader's. False when there is nothing to run. */
static bool run_stopper(struct proc *p)
{
    struct strbuf b = STRBUF(1u << 20);
    struct arena args;
    struct error e = { 0 };
    str *argv;
    size_t n;
    str rest = p->conf.cmd_stop;
    for (ptrdiff_t at; (at = str_find(rest, S("${PID}"))) >= 0;) {
        strbuf_add(&b, str_sub(rest, 0, (size_t)at));
        strbuf_addf(&b, "%d", sup_pid(p->sup));
        rest = str_sub(rest, (size_t)at + 6, rest.len);
    }
    strbuf_add(&b, rest);
    arena_init(&args, ARGS_MAX);
    bool ok = !b.full && cmdline_split(&args, strbuf_str(&b), &argv, &n, &e) == 0;
    if (ok)
        sup_stopper(p->sup, argv, n);
    else
        log_warn(p->scope, "cmdStop cannot be used (%s), sending SIGTERM",
                 e.code ? e.msg : "too long");
    arena_fini(&args);
    strbuf_fini(&b);
    return ok;
}

/* ---- performing ---- */

static void release(struct proc *p)
{
    sup_release(p->sup, &p->parked);
    p->sup = NULL;
    p->pid = 0;
    health_free(p->health);
    p->health = NULL;
}

static void tell_stuck(struct proc *p)
{
    static const char text[] = "the upstream command does not end, not even by SIGKILL";
    enum proc_state now = proc_fsm_state(&p->fsm);
    log_error(p->scope, "%s (pid %d)", text, p->pid);
    note(p, now, now, 0, ERR_STUCK, text);
}

/* Returns the event that a failed action causes, or PROC_EV_COUNT. */
static enum proc_fsm_event perform(struct proc *p, unsigned acts)
{
    enum proc_fsm_event next = PROC_EV_COUNT;
    if ((acts & PROC_ACT_SPAWN) && !spawn(p))
        next = PROC_EV_SPAWN_FAILED;
    if (acts & PROC_ACT_PROBE) {
        if (health_foreign(p->health))
            log_warn(p->scope, "something listens at " STR_FMT " already, before the command could",
                     STR_ARG(p->conf.proxy));
        health_start(p->health, p->fsm.deadline);
    }
    if ((acts & PROC_ACT_PROBE_END) && p->health)
        health_stop(p->health);
    if ((acts & PROC_ACT_STOPPER) && !run_stopper(p))
        next = PROC_EV_STOPPER_BAD;
    if ((acts & PROC_ACT_KILL_STOPPER) && p->fsm.stopper) {
        if (p->fsm.phase == PHASE_STOP_TERM)
            log_warn(p->scope, "cmdStop did not stop it in half of the grace, sending SIGTERM");
        sup_kill_stopper(p->sup);
    }
    if (acts & PROC_ACT_TERM)
        sup_term(p->sup);
    if (acts & PROC_ACT_KILL) {
        log_debug(p->scope, "SIGKILL to what is left");
        sup_kill(p->sup);
    }
    if (acts & PROC_ACT_STUCK)
        tell_stuck(p);
    if (acts & PROC_ACT_RELEASE)
        release(p);
    return next;
}

static void step(struct proc *p, enum proc_fsm_event ev, msec grace)
{
    while (ev != PROC_EV_COUNT) {
        enum proc_state from = proc_fsm_state(&p->fsm);
        enum proc_phase phase = p->fsm.phase;
        msec now = io_loop_now(p->loop);
        unsigned acts = proc_fsm_step(&p->fsm, ev, now, grace);
        enum proc_state to = proc_fsm_state(&p->fsm);
        if (phase != p->fsm.phase)
            log_debug(p->scope, "%s: %s -> %s", proc_fsm_event_name(ev), proc_phase_name(phase),
                      proc_phase_name(p->fsm.phase));
        if (from != to)
            publish(p, from, to);
        ev = perform(p, acts);
        if (p->fsm.deadline == MSEC_NEVER)
            io_timer_clear(p->timer);
        else
            io_timer_set(p->timer, p->fsm.deadline - now);
    }
    if (p->fsm.phase == PHASE_IDLE && p->queued) {
        p->queued = false;
        proc_start(p, p->next_tag);
    }
    if (p->fsm.phase == PHASE_CLOSED) {
        if (list_first(&p->stop_tags))
            answer_stops(p, PROC_SHUTDOWN, PROC_SHUTDOWN, 0, "");
        io_timer_set(p->timer, REAP_MS);
        io_call_post(p->loop, &p->deliver);
    }
}

static void on_timer(void *ud)
{
    struct proc *p = ud;
    if (p->fsm.phase == PHASE_CLOSED) {
        p->abandoned = true;
        io_call_post(p->loop, &p->deliver);
    } else {
        step(p, PROC_EV_TIMER, 0);
    }
}

/* The end, when everything has been told and no supervisor is left. */
static void finish(struct proc *p)
{
    if (p->fsm.phase != PHASE_CLOSED || !list_empty(&p->notes))
        return;
    if (!list_empty(&p->parked) && !p->abandoned)
        return;
    sup_abandon(&p->parked);
    ASSERT(!p->sup && !p->health && list_empty(&p->stop_tags));
    if (p->cb.closed)
        p->cb.closed(p->ud, p);
    io_call_cancel(&p->deliver);
    io_timer_free(p->timer);
    ring_fini(&p->log);
    arena_fini(&p->arena);
    free(p);
}

/* ---- the owner's calls ---- */

static void copy_conf(struct proc *p, const struct proc_conf *conf)
{
    struct arena *a = &p->arena;
    str *env = ARENA_NEWN(a, conf->n_env + 1, str);
    for (size_t i = 0; i < conf->n_env; i++)
        env[i] = arena_dup(a, conf->env[i]);
    p->conf = *conf;
    p->conf.id = arena_dup(a, conf->id);
    p->conf.cmd = arena_dup(a, conf->cmd);
    p->conf.cmd_stop = arena_dup(a, conf->cmd_stop);
    p->conf.proxy = arena_dup(a, conf->proxy);
    p->conf.check_endpoint = arena_dup(a, str_trim(conf->check_endpoint));
    p->conf.env = env;
}

struct proc *proc_new(struct io_loop *loop, const struct proc_conf *conf, const struct proc_cb *cb,
                      void *ud)
{
    struct proc *p = mem_zalloc(sizeof *p);
    p->loop = loop;
    p->cb = *cb;
    p->ud = ud;
    arena_init(&p->arena, SIZE_MAX);
    copy_conf(p, conf);
    snprintf(p->scope, sizeof p->scope, "proc " STR_FMT,
             STR_ARG(str_sub(conf->id, 0, SCOPE_MAX - 8)));
    proc_fsm_init(&p->fsm, !str_eq(p->conf.check_endpoint, S("none")),
                  str_trim(conf->cmd_stop).len > 0,
                  conf->health_timeout_ms > 0 ? conf->health_timeout_ms : 0);
    p->timer = io_timer_new(loop, "process", on_timer, p);
    ring_init(&p->log, LOG_BYTES);
    list_init(&p->parked);
    list_init(&p->stop_tags);
    list_init(&p->notes);
    io_call_init(&p->deliver, on_deliver, p);
    p->exit_status = p->history.last_exit = -1;
    p->since = io_loop_now(loop);
    return p;
}

void proc_start(struct proc *p, uint64_t tag)
{
    enum proc_state s = proc_fsm_state(&p->fsm);
    if (s == PROC_STOPPING && !p->queued) {
        p->queued = true;
        p->next_tag = tag;
        return;
    }
    if (s != PROC_STOPPED) {
        bool shut = s == PROC_SHUTDOWN;
        note(p, s, s, tag, shut ? ERR_SHUTDOWN : ERR_EXISTS,
             shut ? "shutting down" : "already started");
        return;
    }
    p->start_tag = tag;
    p->start_open = true;
    step(p, PROC_EV_START, 0);
}

/* A start that waits is given up by what came after it. */
static void drop_queued(struct proc *p, int code, const char *text)
{
    enum proc_state s = proc_fsm_state(&p->fsm);
    if (p->queued)
        note(p, s, s, p->next_tag, code, text);
    p->queued = false;
}

void proc_stop(struct proc *p, msec grace_ms, uint64_t tag)
{
    enum proc_state s = proc_fsm_state(&p->fsm);
    if (s == PROC_STOPPED || p->fsm.phase == PHASE_CLOSED) {
        note(p, s, s, tag, 0, "");
        return;
    }
    drop_queued(p, ERR_CANCELLED, "aborted");
    struct tag *t = mem_zalloc(sizeof *t);
    t->tag = tag;
    list_push_back(&p->stop_tags, &t->node);
    step(p, PROC_EV_STOP, grace_ms);
}

void proc_kill(struct proc *p)
{
    drop_queued(p, ERR_CANCELLED, "aborted");
    step(p, PROC_EV_KILL, 0);
}

void proc_close(struct proc *p)
{
    if (!p || p->closing)
        return;
    p->closing = true;
    drop_queued(p, ERR_SHUTDOWN, "shutting down");
    step(p, PROC_EV_CLOSE, 0);
}

enum proc_state proc_state(const struct proc *p)
{
    return proc_fsm_state(&p->fsm);
}

int proc_pid(const struct proc *p)
{
    return p->pid;
}

const struct ring *proc_log(const struct proc *p)
{
    return &p->log;
}

msec proc_since(const struct proc *p)
{
    return p->since;
}

const struct proc_history *proc_history(const struct proc *p)
{
    return &p->history;
}
