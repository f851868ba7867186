/* proc_tell.c: see proc_priv.h: changes of state as the owner hears them, with answers, texts and the history. */
#include "process/proc_priv.h"

#include "base/check.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "process/proc_text.h"

#include <inttypes.h>
#include <stdio.h>

struct note {
    struct list node;
    struct proc_event ev;
    char text[240];
};

void proc_note(struct proc *p, enum proc_state from, enum proc_state to, uint64_t tag, int code,
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

void proc_answer_stops(struct proc *p, enum proc_state from, enum proc_state to, int code,
                       const char *text)
{
    bool told = from == to;
    struct list *it;
    while ((it = list_first(&p->stop_tags))) {
        struct tag *t = LIST_ENTRY(it, struct tag, node);
        list_remove(it);
        if (told)
            proc_note(p, to, to, t->tag, 0, "");
        else
            proc_note(p, from, to, t->tag, code, text);
        told = true;
        free(t);
    }
    if (!told)
        proc_note(p, from, to, 0, code, text);
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
    proc_note(p, PROC_STARTING, PROC_READY, p->start_tag, 0, "");
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
        proc_note(p, from, PROC_STOPPED, p->start_tag, code, p->why);
        p->start_open = false;
        proc_answer_stops(p, PROC_STOPPED, PROC_STOPPED, 0, "");
    } else {
        proc_answer_stops(p, from, PROC_STOPPED, code, p->why);
    }
}

void proc_publish(struct proc *p, enum proc_state from, enum proc_state to)
{
    p->since = io_loop_now(p->loop);
    set_why(p);
    switch (to) {
    case PROC_STARTING:
        p->started_at = p->since;
        p->history.starts++;
        proc_note(p, from, to, 0, 0, "");
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
        proc_note(p, from, to, 0, proc_why_code(p->fsm.why), p->why);
        break;
    case PROC_STOPPED:
        entered_stopped(p, from);
        break;
    case PROC_SHUTDOWN:
        proc_note(p, from, to, p->start_open ? p->start_tag : 0, ERR_SHUTDOWN, p->why);
        p->start_open = false;
        break;
    }
}

void proc_tell_all(struct proc *p)
{
    struct list *it;
    while ((it = list_first(&p->notes))) {
        struct note *n = LIST_ENTRY(it, struct note, node);
        list_remove(it);
        n->ev.text = n->text;
        if (p->cb.state)
            p->cb.state(p->ud, p, &n->ev);
        free(n);
    }
}
