/* server.c: see server.h. */
#include "proxy/server.h"

#include "base/check.h"
#include "http/tunnel.h"
#include "io/sink.h"
#include "proxy/model.h"
#include "proxy/reload.h"
#include "proxy/sched_conf.h"
#include "route/error_body.h"
#include "route/match.h"

#include <stdio.h>

/* Shutdown (runtime.md 5.8 as decided): running answers may take this long ... */
#define DRAIN_MS 20000
/* ... and then processes at least this long, whatever their own grace is. */
#define STOP_MIN_MS 10000
#define REQUEST_ARENA_MAX (512u * 1024 * 1024)

static void ended(struct server *srv);

static void own_error_body(void *ud, struct strbuf *out, int status, str message, const char **ret_type)
{
    (void)ud;
    error_body(out, STR_NONE, status, message, NULL, ret_type);
}

static struct http_server_conf http_conf(const struct server *srv)
{
    return (struct http_server_conf){
        .head_max = (size_t)srv->cfg->limits.header_block,
        .head_timeout_ms = srv->cfg->limits.header_read_ms,
        .idle_timeout_ms = srv->cfg->limits.idle_keep_alive_ms,
        .conns_max = (size_t)srv->cfg->limits.connections,
        .arena_max = REQUEST_ARENA_MAX,
        .error_body = own_error_body,
        .tls = srv->tls,
    };
}

void server_reconf_http(struct server *srv)
{
    struct http_server_conf conf = http_conf(srv);
    http_server_reconf(srv->http, &conf);
}

void server_say_scheduler(const struct server *srv)
{
    if (srv->cfg->scheduler == CONFIG_SCHED_SERIAL)
        log_info("", "scheduler serial%s: one request at a time in order of arrival, one model in memory; groups, "
                     "matrix and priorities are not used (routing.scheduler.use: fifo for throughput)",
                 srv->cfg->scheduler_given ? "" : " (the default)");
    else
        log_info("", "scheduler fifo: requests for a loaded model are served in parallel; models swap when what they "
                     "must evict is idle");
}

static int start_listening(struct server *srv, const struct server_conf *conf, struct error *e)
{
    if (conf->inherited == 0)
        return http_server_listen(srv->http, str_c(conf->listen), e);
    for (unsigned i = 0; i < conf->inherited; i++) {
        char addr[16];
        snprintf(addr, sizeof addr, "fd:%u", 3 + i);
        int rc = http_server_listen(srv->http, str_c(addr), e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct server *server_new(struct io_loop *loop, const struct server_conf *conf, struct error *e)
{
    struct server *srv = mem_zalloc(sizeof *srv);
    struct config *cfg = conf->cfg;
    srv->loop = loop;
    srv->cfg = config_ref(cfg);
    srv->route = conf->route;
    srv->api = conf->api;
    srv->tls = conf->tls;
    srv->build = conf->build;
    srv->rehearser = conf->rehearser;
    srv->started = io_loop_now(loop);
    for (size_t i = 0; i < REQ_STATE_COUNT; i++)
        list_init(&srv->by_state[i]);
    list_init(&srv->throttled);
    list_init(&srv->renewals);
    logmon_init(&srv->log, (enum log_stdout)cfg->log_to_stdout, conf->sink);
    logmon_set_time_format(&srv->log, cfg->log_time_format);
    log_set_level((enum log_level)cfg->log_level);

    struct sched_setup setup;
    sched_setup_init(&setup, cfg, NULL, cfg->n_models);
    int rc = sched_setup_fill(&setup, cfg, e);
    if (rc == 0) {
        dispatch_init(&srv->dispatch, srv, &setup.conf);
        srv->record = record_new(srv);
        srv->matrix = setup.matrix;
        setup.matrix = NULL;
    }
    sched_setup_fini(&setup);
    if (rc < 0)
        goto fail;
    srv->n_models = cfg->n_models;
    srv->models = mem_calloc(cfg->n_models, sizeof *srv->models);
    srv->slot_of = mem_calloc(cfg->n_models, sizeof *srv->slot_of);
    for (size_t i = 0; i < cfg->n_models; i++) {
        srv->slot_of[i] = (model_id)i;
        srv->models[i] = model_new(srv, (model_id)i, cfg, i);
    }
    srv->peers = peers_new(loop, cfg);
    srv->profile = CONFIG_NONE;
    rc = policy_glue_init(&srv->policy, srv, e);
    if (rc < 0)
        goto fail;
    struct http_server_conf http = http_conf(srv);
    srv->http = http_server_new(loop, &http, &request_handler, srv);
    rc = start_listening(srv, conf, e);
    if (rc < 0)
        goto fail;
    server_say_scheduler(srv);
    reload_preload(srv);
    for (size_t i = 0; http_server_addr(srv->http, i).len; i++)
        log_info("", "listening on http%s://" STR_FMT, srv->tls ? "s" : "", STR_ARG(http_server_addr(srv->http, i)));
    return srv;

fail:
    srv->exit_code = 1;
    server_stop(srv, false);
    io_loop_run(loop);
    server_free(srv);
    return NULL;
}

struct model *server_model(struct server *srv, model_id id)
{
    return id < srv->n_models ? srv->models[id] : NULL;
}

struct model *server_model_at(struct server *srv, const struct config *cfg, size_t index)
{
    ASSERT(index < cfg->n_models);
    if (cfg != srv->cfg)
        index = config_find_model_id(srv->cfg, cfg->models[index].id);
    return index == CONFIG_NONE ? NULL : srv->models[srv->slot_of[index]];
}

/* --- the end --- */

static size_t open_requests(const struct server *srv)
{
    size_t n = 0;
    for (size_t i = 0; i < REQ_STATE_COUNT; i++)
        n += srv->n_in_state[i];
    return n;
}

static void on_all_stopped(void *ud)
{
    ended(ud);
}

static void stop_models(struct server *srv)
{
    if (srv->phase >= SERVER_STOPPING)
        return;
    srv->phase = SERVER_STOPPING;
    msec longest = STOP_MIN_MS;
    for (size_t i = 0; i < srv->n_models; i++)
        if (srv->models[i] && srv->models[i]->conf->unload_timeout_ms > longest)
            longest = srv->models[i]->conf->unload_timeout_ms;
    io_timer_set(srv->phase_timer, longest + STOP_MIN_MS); /* SIGKILL follows the grace; this is for what is stuck */
    srv->stop_all.done = on_all_stopped;
    srv->stop_all.ud = srv;
    dispatch_unload(&srv->dispatch, &srv->stop_all, NULL, 0);
}

void server_request_ended(struct server *srv)
{
    if (srv->phase == SERVER_DRAINING && open_requests(srv) == 0)
        stop_models(srv);
}

static void cut_requests(struct server *srv)
{
    for (size_t i = 0; i < REQ_STATE_COUNT; i++) {
        LIST_FOREACH(it, &srv->by_state[i]) {
            struct request *req = LIST_ENTRY(it, struct request, node);
            if (req->tunnel) { /* its end comes when both sides are closed */
                http_tunnel_close(req->tunnel);
                continue;
            }
            forward_cancel(req);
            http_req_abort(req->http);
        }
    }
}

static void on_phase_timer(void *ud)
{
    struct server *srv = ud;
    if (srv->phase == SERVER_DRAINING) {
        log_warn("", "%zu requests are still running after %d s and are cut", open_requests(srv), DRAIN_MS / 1000);
        cut_requests(srv);
        stop_models(srv);
        return;
    }
    log_error("", "a model does not stop; leaving it behind");
    srv->exit_code = 1;
    ended(srv);
}

static void on_http_closed(void *ud)
{
    struct server *srv = ud;
    srv->http_closed = true;
}

static void ended(struct server *srv)
{
    if (srv->phase == SERVER_ENDED)
        return;
    srv->phase = SERVER_ENDED;
    if (srv->phase_timer)
        io_timer_clear(srv->phase_timer);
    for (size_t i = 0; i < srv->n_models; i++)
        model_close(srv->models[i]);
    policy_glue_fini(&srv->policy);
    record_stop(srv->record);
    peers_unref(srv->peers); /* idle connections to them would keep the loop alive */
    srv->peers = NULL;
    if (srv->http)
        http_server_close(srv->http, on_http_closed, srv);
    else
        srv->http_closed = true;
    if (srv->dispatch.wake)
        io_timer_clear(srv->dispatch.wake);
    if (srv->on_ended)
        srv->on_ended(srv->on_ended_ud);
}

void server_stop(struct server *srv, bool now)
{
    if (now) {
        for (size_t i = 0; i < srv->n_models; i++)
            if (srv->models[i] && srv->models[i]->proc)
                proc_kill(srv->models[i]->proc);
        ended(srv);
        return;
    }
    if (srv->phase != SERVER_RUNNING)
        return;
    if (!srv->http) {
        ended(srv);
        return;
    }
    log_info("", "shutting down");
    srv->phase = SERVER_DRAINING;
    srv->phase_timer = io_timer_new(srv->loop, "shutdown", on_phase_timer, srv);
    io_timer_set(srv->phase_timer, DRAIN_MS);
    http_server_drain(srv->http);
    struct sched_event ev = { .kind = SCHED_DRAIN, .grace_ms = STOP_MIN_MS };
    dispatch_post(&srv->dispatch, &ev);
    LIST_FOREACH(it, &srv->by_state[REQ_REPLY]) {
        struct request *req = LIST_ENTRY(it, struct request, node);
        if (req->endless)
            req->endless(req);
    }
    LIST_FOREACH(it, &srv->by_state[REQ_BODY]) { /* nobody would serve it when it is whole */
        struct request *req = LIST_ENTRY(it, struct request, node);
        if (!req->body_over && !req->uploading)
            req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
    }
    LIST_FOREACH(it, &srv->by_state[REQ_QUEUED]) { /* between two attempts: the scheduler does not know it */
        struct request *req = LIST_ENTRY(it, struct request, node);
        if (!req->ticket)
            req_fail_err(req, ERR_SHUTDOWN, STR_NONE);
    }
    LIST_FOREACH(it, &srv->by_state[REQ_STREAM]) { /* nobody waits for a websocket to end by itself */
        struct request *req = LIST_ENTRY(it, struct request, node);
        if (req->tunnel)
            http_tunnel_close(req->tunnel);
    }
    if (open_requests(srv) == 0)
        stop_models(srv);
}

void server_free(struct server *srv)
{
    if (!srv)
        return;
    ASSERT(srv->phase == SERVER_ENDED && srv->procs_open == 0 && srv->http_closed);
    if (srv->http)
        http_server_free(srv->http);
    for (size_t i = 0; i < srv->n_models; i++)
        model_free(srv->models[i]);
    free(srv->models);
    free(srv->slot_of);
    reload_forget(srv);
    record_fini(srv->record);
    free(srv->machine);
    if (srv->dispatch.srv)
        dispatch_fini(&srv->dispatch);
    matrix_free(srv->matrix);
    match_free(srv->ignore_paths);
    config_unref(srv->ignore_of);
    io_timer_free(srv->phase_timer);
    logmon_fini(&srv->log);
    config_unref(srv->cfg);
    free(srv);
}
