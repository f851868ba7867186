/* metrics.c: GET /metrics, Prometheus text (http.md 7.8).
 *
 * The machine's metrics have the names of the reference. Ours about requests, models, the scheduler and policies are
 * additions with names of their own: `luaswap_...`.
 */
#include "api/api.h"

#include "base/check.h"
#include "metrics/prom.h"
#include "proxy/model.h"
#include "sched/view.h"

#include <stdio.h>

#define TEXT_MAX (16u * 1024 * 1024)

static void gpu_metric(struct strbuf *b, const char *name, const char *help, const struct policy_gpu *rows, size_t n, size_t offset,
                       double factor)
{
    prom_help(b, name, "gauge", help);
    for (size_t i = 0; i < n; i++) {
        char id[24];
        snprintf(id, sizeof id, "%u", rows[i].index);
        struct prom_label l[] = { { "id", str_c(id) }, { "name", str_c(rows[i].name) } };
        prom_float(b, name, l, 2, *(const double *)(const void *)((const char *)&rows[i] + offset) * factor);
    }
}

/* Those that somebody watches (policies); names as the reference's. */
static void gpus(const struct policy_host *h, struct strbuf *b)
{
    struct policy_gpu rows[16];
    size_t n = h->gpu ? h->gpu(h->ud, rows, ARRAY_LEN(rows)) : 0;
    if (n == 0)
        return;
    gpu_metric(b, "llamaswap_gpu_temperature_celsius", "Temperature.", rows, n, offsetof(struct policy_gpu, temp), 1);
    gpu_metric(b, "llamaswap_gpu_util_percent", "How busy it is.", rows, n, offsetof(struct policy_gpu, util), 1);
    gpu_metric(b, "llamaswap_gpu_memory_used_bytes", "Memory in use.", rows, n, offsetof(struct policy_gpu, used_mb), 1048576);
    gpu_metric(b, "llamaswap_gpu_memory_total_bytes", "Memory.", rows, n, offsetof(struct policy_gpu, total_mb), 1048576);
}

static void requests(const struct recorder *r, struct strbuf *b)
{
    static const char *const classes[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
    prom_help(b, "luaswap_requests_total", "counter", "Requests for models here that have ended, by how.");
    for (int f = RECORD_SERVED; f < RECORD_FATES; f++) {
        struct prom_label l = { "outcome", str_c(record_fate_name((enum record_fate)f)) };
        prom_uint(b, "luaswap_requests_total", &l, 1, r->fates[f]);
    }
    prom_help(b, "luaswap_responses_total", "counter", "The same by the class of their status.");
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        struct prom_label l = { "class", str_c(classes[i]) };
        prom_uint(b, "luaswap_responses_total", &l, 1, r->by_status[i]);
    }
    prom_help(b, "luaswap_request_wait_seconds", "summary", "Time until a request was given to its model.");
    prom_float(b, "luaswap_request_wait_seconds_sum", NULL, 0, (double)r->wait_ms_sum / 1000);
    prom_uint(b, "luaswap_request_wait_seconds_count", NULL, 0, r->grants);
    prom_help(b, "luaswap_request_serve_seconds_total", "counter", "Time that models spent on requests.");
    prom_float(b, "luaswap_request_serve_seconds_total", NULL, 0, (double)r->serve_ms_sum / 1000);
}

static void scheduler(struct server *srv, struct strbuf *b)
{
    struct strbuf who = STRBUF(128);
    const struct sched *s = srv->dispatch.sched;
    policy_glue_in_charge(&srv->policy, &who);
    struct prom_label l = { "in_charge", strbuf_str(&who) };
    prom_help(b, "luaswap_scheduler_info", "gauge", "Who decides the order of requests.");
    prom_uint(b, "luaswap_scheduler_info", &l, 1, 1);
    strbuf_fini(&who);
    prom_gauge(b, "luaswap_scheduler_waiting", "Requests that wait.", sched_waiting(s));
    prom_gauge(b, "luaswap_scheduler_inflight", "Requests that models are working on.", sched_inflight(s, MODEL_NONE));
    prom_gauge(b, "luaswap_scheduler_swaps", "Loads that are under way.", s->n_swaps);
    prom_gauge(b, "luaswap_http_connections", "Client connections.", http_server_conns(srv->http));
    prom_counter(b, "luaswap_reloads_total", "Configurations taken over while running.", srv->reloads);
}

static bool shown(const struct smodel *m)
{
    return !m->conf.retired || model_alive(m);
}

static void model_gauges(const struct sched *s, struct strbuf *b)
{
    prom_help(b, "luaswap_model_state", "gauge", "1 for the state that the model's process is in.");
    for (size_t i = 0; i < s->n_models; i++)
        for (int st = MODEL_STOPPED; shown(s->models[i]) && st <= MODEL_STOPPING; st++) {
            struct prom_label l[] = { { "model", s->models[i]->conf.id }, { "state", str_c(model_state_name((enum model_state)st)) } };
            prom_uint(b, "luaswap_model_state", l, 2, (int)s->models[i]->state == st);
        }
    prom_help(b, "luaswap_model_inflight", "gauge", "Requests that the model is working on.");
    for (size_t i = 0; i < s->n_models; i++) {
        struct prom_label l = { "model", s->models[i]->conf.id };
        if (shown(s->models[i]))
            prom_uint(b, "luaswap_model_inflight", &l, 1, s->models[i]->inflight);
    }
    prom_help(b, "luaswap_model_queued", "gauge", "Requests that wait for the model.");
    for (size_t i = 0; i < s->n_models; i++) {
        struct prom_label l = { "model", s->models[i]->conf.id };
        if (shown(s->models[i]))
            prom_uint(b, "luaswap_model_queued", &l, 1, model_queued(s->models[i]) + s->models[i]->waiting);
    }
}

static void model_counter(const struct recorder *r, struct strbuf *b, const char *name, const char *help, size_t offset)
{
    prom_help(b, name, "counter", help);
    for (size_t i = 0; i < r->n_models; i++) {
        struct prom_label l = { "model", r->models[i].name };
        prom_uint(b, name, &l, 1, *(const uint64_t *)(const void *)((const char *)&r->models[i] + offset));
    }
}

static void models(struct server *srv, struct strbuf *b)
{
    const struct recorder *r = srv->record;
    model_gauges(srv->dispatch.sched, b);
    model_counter(r, b, "luaswap_model_loads_total", "Times that the model was loaded.", offsetof(struct record_model, loads));
    model_counter(r, b, "luaswap_model_load_failures_total", "Loads that failed.", offsetof(struct record_model, load_failures));
    model_counter(r, b, "luaswap_model_crashes_total", "Times that its process ended by itself.", offsetof(struct record_model, crashes));
    model_counter(r, b, "luaswap_model_evictions_total", "Times that it was stopped for another model.",
                  offsetof(struct record_model, evictions));
    prom_help(b, "luaswap_model_load_seconds_total", "counter", "Time spent loading the model.");
    for (size_t i = 0; i < r->n_models; i++) {
        struct prom_label l = { "model", r->models[i].name };
        prom_float(b, "luaswap_model_load_seconds_total", &l, 1, (double)r->models[i].load_sum / 1000);
    }
}

void api_metrics(struct request *req, const struct route *r)
{
    struct server *srv = req->srv;
    (void)r;
    if (srv->cfg->performance_disabled) {
        req_reply(req, 503, S(PROM_CONTENT_TYPE), S("# the monitor is switched off (performance.disabled)\n"));
        return;
    }
    struct strbuf b = STRBUF(TEXT_MAX);
    if (!srv->machine)
        srv->machine = mem_zalloc(sizeof *srv->machine);
    system_sample(srv->machine, "/proc");
    system_prom(srv->machine, &b);
    gpus(&srv->policy.host, &b);
    scheduler(srv, &b);
    models(srv, &b);
    requests(srv->record, &b);
    policy_glue_metrics(&srv->policy, &b);
    req_reply(req, b.full ? 500 : 200, S(PROM_CONTENT_TYPE), strbuf_str(&b));
    strbuf_fini(&b);
}
