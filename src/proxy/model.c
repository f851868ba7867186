/* model.c: see model.h. */
#include "proxy/model.h"

#include "base/check.h"
#include "proxy/server.h"
#include "proxy/via.h"

#include <stdio.h>

/* A start that failed is told to people with the last words of the process. */
static void log_failure(struct model *m, const struct proc_event *ev)
{
    log_warn(m->log_scope, "%s", ev->text);
    str old, new;
    ring_read(&m->log.ring, &old, &new);
    str tail = new.len ? new : old;
    if (tail.len > 400)
        tail = str_sub(tail, tail.len - 400, 400);
    tail = str_trim(tail);
    if (tail.len)
        log_warn(m->log_scope, "its last output: " STR_FMT, STR_ARG(tail));
}

static void on_state(void *ud, struct proc *p, const struct proc_event *ev)
{
    struct model *m = ud;
    struct dispatch *d = &m->srv->dispatch;
    struct sched_event out = { .model = m->id, .swap = ev->tag };
    if (p != m->proc)
        return; /* the last words of one that was replaced */
    if (ev->code == ERR_STUCK) { /* SIGKILL did not help */
        out.kind = SCHED_MODEL_STUCK;
        dispatch_post(d, &out);
        return;
    }
    log_debug(m->log_scope, "%s -> %s %s", proc_state_name(ev->from), proc_state_name(ev->to), ev->text);
    switch (ev->to) {
    case PROC_READY:
        if (policy_glue_after_ready(m, ev->tag))
            return;
        out.kind = SCHED_MODEL_UP;
        break;
    case PROC_STOPPED: {
        http_pool_flush(m->pool);
        swap_id start = policy_glue_model_ended(m);
        if (start && ev->tag == 0) /* for the scheduler it was still starting */
            out.swap = start;
        if (ev->from == PROC_STARTING && ev->code != 0 && ev->code != ERR_CANCELLED) {
            log_failure(m, ev);
            out.kind = SCHED_MODEL_FAILED;
            out.text = str_c(ev->text);
        } else {
            if (ev->from == ev->to)
                log_debug(m->log_scope, "was stopped already");
            else if (ev->tag == 0 && ev->from == PROC_STOPPING)
                log_info(m->log_scope, "all that it left behind has ended");
            else if (ev->tag == 0)
                log_warn(m->log_scope, "ended on its own: %s", ev->text);
            else
                log_info(m->log_scope, "stopped");
            out.kind = SCHED_MODEL_DOWN;
        }
        break;
    }
    case PROC_STOPPING:
        if (ev->code == 0) /* as asked */
            return;
        log_warn(m->log_scope, "ended on its own and left processes behind: %s", ev->text);
        http_pool_flush(m->pool);
        out.kind = SCHED_MODEL_DYING;
        break;
    default:
        return;
    }
    dispatch_post(d, &out);
}

static void on_output(void *ud, struct proc *p, str bytes)
{
    struct model *m = ud;
    (void)p;
    log_monitor_write(&m->log, bytes);
}

static void on_closed(void *ud, struct proc *p)
{
    struct model *m = ud;
    if (p == m->proc)
        m->proc = NULL;
    ASSERT(m->procs > 0 && m->srv->procs_open > 0);
    m->procs--;
    m->srv->procs_open--;
    if (m->retired)
        dispatch_soon(&m->srv->dispatch); /* looks whether it may go */
}

/* `keep` holds parts of it. */
static struct http_pool_conf pool_conf(const struct config_model *c, struct strbuf *keep)
{
    struct http_pool_conf conf = {
        .host = c->proxy_url.host.len ? c->proxy_url.host : S("localhost"),
        .port = (int)c->proxy_url.port_num,
        .tls = c->proxy_url.tls,
        .handshake_ms = c->timeouts.tls_handshake_ms,
        .connect_ms = c->timeouts.connect_ms,
        .keepalive_s = (int)(c->timeouts.keepalive_ms / 1000),
        .head_ms = c->timeouts.response_header_ms,
        .idle_ms = c->timeouts.idle_conn_ms,
        .idle_max = 100,
    };
    via_fill(&conf, &c->proxy_url, keep, c->id);
    return conf;
}

static void new_proc(struct model *m)
{
    static const struct proc_cb cb = { on_state, on_output, on_closed };
    const struct config_model *c = m->conf;
    struct proc_conf pc = {
        .id = c->id,
        .cmd = c->cmd,
        .cmd_stop = c->cmd_stop,
        .env = c->env,
        .n_env = c->n_env,
        .proxy = c->proxy,
        .check_endpoint = c->check_endpoint,
        .health_timeout_ms = c->health_timeout_ms,
        .connect_timeout_ms = c->timeouts.connect_ms,
    };
    m->proc = proc_new(m->srv->loop, &pc, &cb, m);
    m->procs++;
    m->srv->procs_open++;
    m->stale = false;
}

struct model *model_new(struct server *srv, model_id id, struct config *cfg, size_t cfg_index)
{
    struct model *m = mem_zalloc(sizeof *m);
    const struct config_model *c = &cfg->models[cfg_index];
    struct strbuf keep;
    struct http_pool_conf pool = pool_conf(c, &keep);
    m->srv = srv;
    m->id = id;
    m->cfg = config_ref(cfg);
    m->conf = c;
    m->name = c->id;
    snprintf(m->log_scope, sizeof m->log_scope, "proc " STR_FMT, STR_ARG(c->id));
    log_monitor_init(&m->log, &srv->log.upstream);
    m->pool = http_pool_new(srv->loop, &pool);
    strbuf_fini(&keep);
    new_proc(m);
    return m;
}

struct model *model_ref(struct model *m)
{
    m->refs++;
    return m;
}

void model_unref(struct model *m)
{
    if (!m)
        return;
    ASSERT(m->refs > 0);
    if (--m->refs == 0 && m->retired)
        dispatch_soon(&m->srv->dispatch);
}

/* --- a newer configuration --- */

static void take_entry(struct model *m, struct config *cfg, const struct config_model *c)
{
    struct config *old = m->cfg;
    m->cfg = config_ref(cfg);
    m->conf = c;
    m->name = c->id;
    config_unref(old);
    struct strbuf keep;
    struct http_pool_conf pool = pool_conf(c, &keep);
    http_pool_reconf(m->pool, &pool);
    strbuf_fini(&keep);
}

static void drop_next(struct model *m)
{
    config_unref(m->next_cfg);
    m->next_cfg = NULL;
    m->next = NULL;
}

void model_reconf(struct model *m, struct config *cfg, size_t cfg_index)
{
    const struct config_model *c = &cfg->models[cfg_index];
    ASSERT(!m->next);
    /* what matters when it is started the next time */
    m->stale = m->stale || c->timeouts.connect_ms != m->conf->timeouts.connect_ms ||
               c->health_timeout_ms != m->conf->health_timeout_ms;
    take_entry(m, cfg, c);
}

void model_reconf_later(struct model *m, struct config *cfg, size_t cfg_index)
{
    config_ref(cfg);
    drop_next(m);
    m->next_cfg = cfg;
    m->next = &cfg->models[cfg_index];
}

void model_renew(struct model *m)
{
    if (!m->next && !m->stale && m->proc)
        return;
    ASSERT(!m->proc || proc_state(m->proc) == PROC_STOPPED || proc_state(m->proc) == PROC_SHUTDOWN);
    if (m->next) {
        take_entry(m, m->next_cfg, m->next);
        drop_next(m);
        http_pool_flush(m->pool); /* of the address before */
    }
    struct proc *old = m->proc;
    new_proc(m);
    proc_close(old);
}

void model_stop(struct model *m, swap_id tag, msec grace_ms)
{
    log_info(m->log_scope, "stopping (grace %lld ms)", (long long)grace_ms);
    http_pool_flush(m->pool);
    proc_stop(m->proc, grace_ms, tag);
}

void model_close(struct model *m)
{
    if (m && m->proc)
        proc_close(m->proc);
}

void model_free(struct model *m)
{
    if (!m)
        return;
    ASSERT(m->procs == 0 && m->refs == 0);
    http_pool_free(m->pool);
    log_monitor_fini(&m->log);
    drop_next(m);
    config_unref(m->cfg);
    free(m);
}

enum proc_state model_state(const struct model *m)
{
    return m && m->proc ? proc_state(m->proc) : PROC_STOPPED;
}
