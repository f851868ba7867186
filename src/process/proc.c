/* proc.c: see proc.h. The driver of proc_fsm: performs its actions, feeds it what happened, tells the owner. */
#include "process/proc_priv.h"

#include "base/check.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "config/cmdline.h"
#include "process/proc_text.h"

#include <stdio.h>

#define LOG_BYTES (100u * 1024)
#define ARGS_MAX (4u << 20)
/* After the end, how long a supervisor may take to go. */
#define REAP_MS 1000
/* How long a supervisor waits for a start that was announced. */
#define PREPARED_MS 60000

static void step(struct proc *p, enum proc_fsm_event ev, msec grace);
static void finish(struct proc *p);

const char *proc_state_name(enum proc_state s)
{
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", "shutdown" };
    return (size_t)s < ARRAY_LEN(names) ? names[s] : "?";
}

static void on_deliver(void *ud)
{
    struct proc *p = ud;
    proc_tell_all(p);
    finish(p);
}

/* ---- the supervised command ---- */

static void on_sup_event(void *ud, const struct sup_event *ev)
{
    struct proc *p = ud;
    if (!p->sup)
        return; /* a prepared one was killed: spawn() will see that */
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

static void drop_prepared(struct proc *p)
{
    sup_release(p->prepared, &p->parked);
    p->prepared = NULL;
    io_timer_clear(p->unused);
}

static void on_unused(void *ud)
{
    drop_prepared(ud);
}

static struct sup *open_sup(struct proc *p, struct error *e)
{
    static const struct sup_cb cb = { on_sup_event, on_sup_output, on_sup_reaped };
    return sup_open(p->loop, p->conf.id, &cb, p, e);
}

/* The prepared supervisor if it is as good as a new one. */
static struct sup *take_sup(struct proc *p, struct error *e)
{
    if (p->prepared && sup_lost(p->prepared))
        drop_prepared(p);
    struct sup *s = p->prepared;
    p->prepared = NULL;
    io_timer_clear(p->unused);
    return s ? s : open_sup(p, e);
}

static bool spawn(struct proc *p)
{
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
        struct sup_conf conf = {
            .argv = argv, .n_argv = n, .env = p->conf.env, .n_env = p->conf.n_env
        };
        if (p->health)
            health_peek(p->health);
        struct sup *s = take_sup(p, &e);
        if (s && sup_order(s, &conf, &e) == 0)
            p->sup = s;
        else
            sup_release(s, &p->parked);
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
    proc_note(p, now, now, 0, ERR_STUCK, text);
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
            proc_publish(p, from, to);
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
            proc_answer_stops(p, PROC_SHUTDOWN, PROC_SHUTDOWN, 0, "");
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
    io_timer_free(p->unused);
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
             STR_ARG(str_sub(conf->id, 0, PROC_SCOPE_MAX - 8)));
    proc_fsm_init(&p->fsm, !str_eq(p->conf.check_endpoint, S("none")),
                  str_trim(conf->cmd_stop).len > 0,
                  conf->health_timeout_ms > 0 ? conf->health_timeout_ms : 0);
    p->timer = io_timer_new(loop, "process", on_timer, p);
    p->unused = io_timer_new(loop, "prepared supervisor", on_unused, p);
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
        proc_note(p, s, s, tag, shut ? ERR_SHUTDOWN : ERR_EXISTS,
             shut ? "shutting down" : "already started");
        return;
    }
    p->start_tag = tag;
    p->start_open = true;
    step(p, PROC_EV_START, 0);
}

void proc_prepare(struct proc *p)
{
    struct error e = { 0 };
    if (p->fsm.phase != PHASE_IDLE || p->prepared)
        return;
    p->prepared = open_sup(p, &e);
    if (p->prepared)
        io_timer_set(p->unused, PREPARED_MS);
    else
        log_debug(p->scope, "nothing could be prepared: %s", e.msg); /* the start itself will tell */
}

/* A start that waits is given up by what came after it. */
static void drop_queued(struct proc *p, int code, const char *text)
{
    enum proc_state s = proc_fsm_state(&p->fsm);
    if (p->queued)
        proc_note(p, s, s, p->next_tag, code, text);
    p->queued = false;
}

void proc_stop(struct proc *p, msec grace_ms, uint64_t tag)
{
    enum proc_state s = proc_fsm_state(&p->fsm);
    if (s == PROC_STOPPED || p->fsm.phase == PHASE_CLOSED) {
        proc_note(p, s, s, tag, 0, "");
        return;
    }
    drop_queued(p, ERR_CANCELLED, "aborted");
    struct tag *t = mem_zalloc(sizeof *t);
    t->tag = tag;
    list_push_back(&p->stop_tags, &t->node);
    step(p, PROC_EV_STOP, grace_ms);
}

void proc_cut(struct proc *p)
{
    step(p, PROC_EV_CUT, 0);
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
    drop_prepared(p);
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
