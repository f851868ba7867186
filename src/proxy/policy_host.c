/* policy_host.c: the facts that policies see of the running program, and what they may want done to it. */
#include "base/check.h"
#include "codec/json.h"
#include "io/work.h"
#include "proxy/gpu_watch.h"
#include "proxy/model.h"
#include "proxy/policy_glue.h"
#include "proxy/server.h"

#include <stdio.h>
#include <stdlib.h>

static void on_log(void *ud, enum policy_log_level level, const char *policy, const char *text)
{
    (void)ud;
    char scope[64];
    snprintf(scope, sizeof scope, "policy %s", policy);
    log_write((enum log_level)level, scope, "%s", text);
}

static bool model_facts(void *ud, model_id id, struct policy_model_facts *out)
{
    struct policy_glue *g = ud;
    struct model *m = server_model(g->srv, id);
    if (!m)
        return false;
    const struct config_params *meta = &m->conf->metadata;
    *out = (struct policy_model_facts){ 0 };
    for (size_t i = 0; i < meta->len; i++)
        if (str_eq(meta->at[i].name, S("vram_mb")) && meta->at[i].json.len < 32) {
            char text[32] = { 0 };
            memcpy(text, meta->at[i].json.ptr, meta->at[i].json.len);
            out->vram_mb = strtod(text, NULL);
        }
    strbuf_clear(&g->meta);
    struct json_out o;
    json_out_init(&o, &g->meta);
    json_out_object(&o);
    for (size_t i = 0; i < meta->len; i++) {
        json_out_key(&o, meta->at[i].name);
        json_out_raw(&o, meta->at[i].json);
    }
    json_out_end(&o, '}');
    out->meta_json = g->meta.full ? STR_NONE : strbuf_str(&g->meta);
    return true;
}

static void host_facts(void *ud, double *mem_free_mb, double *load1)
{
    (void)ud;
    double loads[1] = { 0 };
    (void)getloadavg(loads, 1);
    *load1 = loads[0];
    *mem_free_mb = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    char line[128];
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long kb;
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1)
            *mem_free_mb = (double)kb / 1024;
    }
    if (f)
        fclose(f);
}

static void preload(void *ud, model_id m, bool evict, const char *why)
{
    struct policy_glue *g = ud;
    (void)why;
    struct sched_event ev = { .kind = SCHED_PRELOAD, .model = m, .evict = evict };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void unload(void *ud, model_id m, const char *why)
{
    struct policy_glue *g = ud;
    (void)why;
    struct sched_event ev = { .kind = SCHED_UNLOAD, .models = &m, .n_models = 1 };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void kick(void *ud)
{
    struct policy_glue *g = ud;
    struct sched_event ev = { .kind = SCHED_TICK };
    dispatch_post(&g->srv->dispatch, &ev);
}

static void cancel(void *ud, ticket_id t, const struct policy_answer *refusal)
{
    struct policy_glue *g = ud;
    struct request *req = dispatch_request(&g->srv->dispatch, t);
    if (req && !req->granted)
        policy_glue_refuse(req, refusal);
}

static void on_exit_wish(void *ud, const char *policy)
{
    struct policy_glue *g = ud;
    log_error("", "policy %s was ejected and is configured with on_eject: exit", policy);
    g->srv->exit_code = 1;
    server_stop(g->srv, false);
}

struct aside {
    void (*run)(void *arg);
    void *arg;
};

static void aside_run(void *ud)
{
    const struct aside *a = ud;
    a->run(a->arg);
}

static void aside_done(void *ud, bool cancelled)
{
    (void)cancelled; /* never: nobody does */
    free(ud);
}

static void aside(void *ud, void (*run)(void *arg), void *arg)
{
    struct policy_glue *g = ud;
    struct aside *a = mem_zalloc(sizeof *a);
    *a = (struct aside){ run, arg };
    (void)io_work_start(g->srv->loop, aside_run, aside_done, a);
}

void policy_host_fill(struct policy_glue *g)
{
    g->host = (struct policy_host){ .ud = g, .log = on_log, .model_facts = model_facts, .host_facts = host_facts,
                                    .preload = preload, .unload = unload, .kick = kick, .cancel = cancel,
                                    .http_start = policy_http_start, .http_cancel = policy_http_cancel,
                                    .exit = on_exit_wish, .aside = aside };
}

static size_t gpu_rows(void *ud, struct policy_gpu *out, size_t max)
{
    const struct policy_glue *g = ud;
    return gpu_watch_rows(g->gpus, out, max);
}

void policy_host_gpus(struct policy_glue *g)
{
    g->host.gpu = gpu_watch_any(g->gpus) ? gpu_rows : NULL;
}
