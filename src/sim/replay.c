#include "sim/replay.h"

#include "base/arena.h"
#include "base/check.h"
#include "sched/trace.h"
#include "sched/view.h"

#include <math.h>
#include <stdio.h>

struct rreq {
    struct replay_request q;
    msec at, arrived, granted, ended;
    model_id model;
    uint64_t id;
    char state; /* 0 not yet, w waits, a active, s served, r refused, c cancelled */
};

enum fact_kind { FACT_UNLOAD, FACT_CRASH, FACT_FOREIGN };
struct fact {
    msec at;
    enum fact_kind kind;
    model_id model;
    double mb;
};

struct replay {
    struct replay_conf conf;
    struct arena arena;
    struct sim *sim;
    struct policies *ps;
    struct policy_host host;
    struct replay_model *models;
    struct rreq *reqs; /* ticket = index + 1 */
    size_t n_reqs, cap_reqs, next_req;
    uint32_t *order; /* by time */
    bool sorted;
    struct fact *facts;
    size_t n_facts, next_fact;
    double foreign_mb;
    struct strbuf log;
    ticket_id ending;
    const char *ending_cause;
    size_t loads, evictions;
    double load_s;
    struct error *e;
};

/* ---- what policies see and ask for ---- */

static void host_log(void *ud, enum policy_log_level level, const char *policy, const char *text)
{
    struct replay *r = ud;
    if (r->conf.log)
        r->conf.log(r->conf.log_ud, policy, text);
}

static void host_wall(void *ud, msec now, int64_t *unix_s, int32_t *zone_s)
{
    const struct replay *r = ud;
    *unix_s = r->conf.start_unix + now / 1000;
    *zone_s = r->conf.zone_s;
}

static size_t host_gpu(void *ud, struct policy_gpu *out, size_t max)
{
    const struct replay *r = ud;
    if (r->conf.gpu_mb <= 0 || max == 0)
        return 0;
    double used = r->foreign_mb;
    for (size_t i = 0; r->sim && i < r->conf.n_models; i++)
        if (sim_process(r->sim, (model_id)i) != MODEL_STOPPED)
            used += r->models[i].vram_mb;
    *out = (struct policy_gpu){ .total_mb = r->conf.gpu_mb, .used_mb = used, .foreign_mb = r->foreign_mb,
                                .sampled_at = r->sim ? sim_now(r->sim) : 0 };
    snprintf(out->name, sizeof(out->name), "simulated");
    return 1;
}

static bool host_facts(void *ud, model_id m, struct policy_model_facts *out)
{
    const struct replay *r = ud;
    if (m >= r->conf.n_models)
        return false;
    const struct replay_model *k = &r->models[m];
    *out = (struct policy_model_facts){ .vram_mb = k->vram_mb, .load_s = k->load_s, .stop_s = k->stop_s, .meta_json = k->meta_json };
    return true;
}

static void host_preload(void *ud, model_id m, bool evict, const char *why)
{
    struct replay *r = ud;
    sim_preload(r->sim, sim_now(r->sim), m, evict);
}

static void host_unload(void *ud, model_id m, const char *why)
{
    struct replay *r = ud;
    sim_unload(r->sim, sim_now(r->sim), &m, 1);
}

static void host_kick(void *ud)
{
    struct replay *r = ud;
    struct sched_event ev = { .kind = SCHED_TICK, .model = MODEL_NONE };
    sim_noise(r->sim, sim_now(r->sim), &ev);
}

static void host_cancel(void *ud, ticket_id t, const struct policy_answer *refusal)
{
    struct replay *r = ud;
    if (t >= 1 && t <= r->n_reqs && r->reqs[t - 1].state == 'w') {
        r->reqs[t - 1].state = 'r';
        r->reqs[t - 1].ended = sim_now(r->sim);
    }
    sim_leave(r->sim, sim_now(r->sim), t);
}

/* ---- watching ---- */

static struct rreq *of(struct replay *r, ticket_id t)
{
    return t >= 1 && t <= r->n_reqs ? &r->reqs[t - 1] : NULL;
}

static void on_event(void *ctx, msec now, const struct sched_event *ev)
{
    struct replay *r = ctx;
    struct rreq *q = of(r, ev->ticket);
    r->ending = 0;
    if (!q || (ev->kind != SCHED_DONE && ev->kind != SCHED_CANCEL))
        return;
    r->ending = ev->ticket;
    if (ev->kind == SCHED_DONE && q->state == 'a') {
        q->state = 's';
        q->ended = now;
        struct policy_outcome o = { .status = 200, .tokens_in = q->q.tokens_in, .tokens_out = q->q.tokens_out, .cost = -1 };
        policies_outcome(r->ps, ev->ticket, &o);
    } else if (ev->kind == SCHED_CANCEL && q->state == 'w') {
        q->state = 'c';
        q->ended = now;
    }
}

static void on_action(void *ctx, msec now, const struct sched_action *a)
{
    struct replay *r = ctx;
    struct rreq *q = of(r, a->ticket);
    if (r->conf.keep_log) {
        strbuf_addf(&r->log, "%lld ", (long long)now);
        trace_action_line(&r->log, a);
    }
    switch (a->kind) {
    case SCHED_GRANT:
        if (q && q->granted < 0)
            q->granted = now;
        if (q && q->state == 'w')
            q->state = 'a';
        break;
    case SCHED_REJECT:
        if (q) {
            q->state = 'r';
            q->ended = now;
            policies_ticket_end(r->ps, a->ticket, a->text, now);
        }
        break;
    case SCHED_START:
        r->loads++;
        r->load_s += r->models[a->model].load_s;
        break;
    case SCHED_STOP: r->evictions++; break;
    default: break;
    }
}

static void after(void *ctx)
{
    struct replay *r = ctx;
    if (!r->ps)
        return;
    msec now = sim_now(r->sim);
    if (r->ending) {
        policies_ticket_end(r->ps, r->ending, "client gone", now);
        r->ending = 0;
    }
    policies_settle(r->ps, now);
}

/* ---- life ---- */

int replay_new(const struct replay_conf *conf, struct replay **ret, struct error *e)
{
    struct replay *r = mem_zalloc(sizeof(*r));
    r->conf = *conf;
    arena_init(&r->arena, 1u << 30);
    strbuf_init(&r->log, 1u << 28);
    size_t n = conf->n_models;
    r->models = ARENA_NEWN(&r->arena, n + 1, struct replay_model);
    struct sched_model *sm = ARENA_NEWN(&r->arena, n + 1, struct sched_model);
    struct sim_proc *procs = ARENA_NEWN(&r->arena, n + 1, struct sim_proc);
    for (size_t i = 0; i < n; i++) {
        const struct replay_model *k = &conf->models[i];
        r->models[i] = *k;
        r->models[i].id = arena_dup(&r->arena, k->id);
        r->models[i].meta_json = arena_dup(&r->arena, k->meta_json);
        sm[i] = (struct sched_model){ .id = r->models[i].id, .limit = k->limit, .priority = k->priority,
                                      .unload_grace_ms = 10000, .ttl_ms = (msec)(k->ttl_s * 1000), .pinned = k->pinned,
                                      .preemptible = k->preemptible, .group = k->group, .group_swap = k->group_swap,
                                      .group_exclusive = k->group_exclusive, .group_persistent = k->group_persistent };
        procs[i] = (struct sim_proc){ .start_ms = (msec)(k->load_s * 1000 + 0.5), .stop_ms = (msec)(k->stop_s * 1000 + 0.5),
                                      .fail = k->fail, .ignore_term = k->ignore_term, .stuck = k->stuck, .stuck_ms = 5000 };
    }
    struct sim_conf sc = { .procs = procs, .seed = conf->seed ? conf->seed : 1, .check_all = conf->check_all,
                           .dead_on_grant_retries = true };
    sc.sched = (struct sched_conf){ .kind = conf->kind, .models = sm, .n_models = n, .serial_reorder = conf->serial_reorder };
    r->sim = sim_new(&sc);
    sim_watch(r->sim, on_event, on_action, r);
    sim_after(r->sim, after, r);
    r->host = (struct policy_host){ .ud = r, .log = host_log, .wall = host_wall, .preload = host_preload, .unload = host_unload,
                                    .kick = host_kick, .cancel = host_cancel, .model_facts = host_facts };
    if (conf->gpu_mb > 0)
        r->host.gpu = host_gpu;
    int rc = 0;
    if (conf->row) {
        sched_set_ops(sim_sched(r->sim), conf->row, conf->row_ctx);
    } else if (conf->n_files > 0 || conf->gpu_mb > 0) {
        struct policies_conf pc = { .files = conf->files, .n_files = conf->n_files, .scheduler = sched_kind_name(conf->kind),
                                    .observe_only = conf->kind == SCHED_KIND_SERIAL && !conf->serial_reorder,
                                    .seed = conf->seed ? conf->seed : 1, .pairs = conf->pairs, .virtual_time = !conf->real_budgets,
                                    .no_gpu = conf->gpu_mb <= 0, .host = &r->host };
        rc = policies_new(&pc, conf->lenient, 0, &r->ps, e);
        if (!rc)
            policies_attach(r->ps, sim_sched(r->sim), 0);
    }
    if (rc) {
        replay_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

void replay_free(struct replay *r)
{
    if (!r)
        return;
    policies_free(r->ps);
    sim_free(r->sim);
    strbuf_fini(&r->log);
    free(r->reqs);
    free(r->order);
    free(r->facts);
    arena_fini(&r->arena);
    free(r);
}

static model_id model_of(const struct replay *r, str id)
{
    for (size_t i = 0; i < r->conf.n_models; i++)
        if (str_eq(r->models[i].id, id))
            return (model_id)i;
    return MODEL_NONE;
}

bool replay_add(struct replay *r, msec at, const struct replay_request *q)
{
    model_id m = model_of(r, q->model);
    if (m == MODEL_NONE)
        return false;
    if (r->n_reqs == r->cap_reqs) {
        r->cap_reqs = r->cap_reqs ? r->cap_reqs * 2 : 256;
        r->reqs = mem_resize(r->reqs, r->cap_reqs, sizeof(*r->reqs));
    }
    struct rreq *k = &r->reqs[r->n_reqs++];
    *k = (struct rreq){ .q = *q, .at = at, .granted = -1, .ended = -1, .model = m, .id = q->id ? q->id : r->n_reqs };
    str *texts[] = { &k->q.key, &k->q.session, &k->q.path, &k->q.kind };
    k->q.model = r->models[m].id;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i]->len)
            *texts[i] = arena_dup(&r->arena, *texts[i]);
    r->sorted = false;
    return true;
}

static void add_fact(struct replay *r, struct fact f)
{
    size_t at = r->n_facts++;
    r->facts = mem_resize(r->facts, r->n_facts, sizeof(*r->facts));
    while (at > r->next_fact && r->facts[at - 1].at > f.at) {
        r->facts[at] = r->facts[at - 1];
        at--;
    }
    r->facts[at] = f;
}

void replay_unload(struct replay *r, msec at, const char *model)
{
    add_fact(r, (struct fact){ at, FACT_UNLOAD, model ? model_of(r, str_c(model)) : MODEL_NONE, 0 });
}

void replay_crash(struct replay *r, msec at, const char *model)
{
    add_fact(r, (struct fact){ at, FACT_CRASH, model_of(r, str_c(model)), 0 });
}

void replay_foreign(struct replay *r, msec at, double mb)
{
    add_fact(r, (struct fact){ at, FACT_FOREIGN, MODEL_NONE, mb });
}

/* ---- running ---- */

static void happen_fact(struct replay *r, const struct fact *f)
{
    switch (f->kind) {
    case FACT_UNLOAD: sim_unload(r->sim, f->at, f->model == MODEL_NONE ? NULL : &f->model, f->model == MODEL_NONE ? 0 : 1); break;
    case FACT_CRASH: sim_crash(r->sim, f->at, f->model); break;
    case FACT_FOREIGN:
        r->foreign_mb = f->mb;
        host_kick(r);
        break;
    }
}

static void refuse(struct rreq *q, msec now)
{
    q->state = 'r';
    q->arrived = q->ended = now;
}

static msec serve_time(const struct replay *r, const struct rreq *q)
{
    msec ms = q->q.serve_ms;
    if (r->conf.concurrency_k > 0) {
        size_t n = sched_inflight(sim_sched(r->sim), q->model);
        ms = (msec)((double)ms * (1 + r->conf.concurrency_k * (double)n));
    }
    return ms;
}

static void arrive(struct replay *r, size_t index)
{
    struct rreq *q = &r->reqs[index];
    msec now = sim_now(r->sim);
    q->arrived = now;
    int priority = q->q.priority;
    if (r->ps) {
        struct policy_request_info info = {
            .id = q->id, .model = r->models[q->model].id, .asked = q->q.model, .key = q->q.key, .session = q->q.session,
            .path = q->q.path, .kind = q->q.kind, .stream = q->q.stream, .tokens_in = q->q.tokens_in,
            .max_tokens = -1, .bytes = -1, .messages = -1, .priority = priority, .deadline_s = q->q.deadline_s > 0 ? q->q.deadline_s : -1,
            .attempt = 1, .arrived = now };
        struct policy_answer a;
        struct policy_route *job;
        if (policies_wants(r->ps, POLICY_ROUTE)) {
            enum policy_answer_kind k = policies_route(r->ps, &info, now, &a, NULL, NULL, &job);
            if (k == POLICY_PENDING)
                policies_route_cancel(r->ps, job); /* nothing answers http here */
            if (k == POLICY_REFUSED) {
                policies_request_end(r->ps, q->id);
                refuse(q, now);
                return;
            }
            for (size_t i = 0; k == POLICY_ROUTED && i < a.n_models; i++) {
                model_id m = model_of(r, str_c(a.models[i]));
                if (m == MODEL_NONE)
                    continue;
                q->model = m;
                info.model = r->models[m].id;
                break;
            }
            if (k == POLICY_ROUTED && a.has_priority)
                info.priority = priority = a.priority;
        }
        if (policies_wants(r->ps, POLICY_ON_REQUEST) || policies_wants(r->ps, POLICY_ROUTE) || q->q.key.len || q->id != index + 1) {
            if (policies_on_request(r->ps, index + 1, &info, now, &a) == POLICY_REFUSED) {
                refuse(q, now);
                policies_settle(r->ps, now);
                return;
            }
            if (a.has_priority)
                priority = a.priority;
        }
        policies_settle(r->ps, now);
    }
    q->state = 'w';
    struct sim_request s = { .model = q->model, .priority = priority, .serve_ms = serve_time(r, q),
                             .leaves_ms = q->q.cancel_ms >= 0 ? q->q.cancel_ms : SIM_NEVER };
    sim_arrive(r->sim, now, index + 1, &s);
}

static const struct rreq *sort_base;
static int by_time(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (sort_base[x].at != sort_base[y].at)
        return sort_base[x].at < sort_base[y].at ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void sort(struct replay *r)
{
    if (r->sorted)
        return;
    r->order = mem_resize(r->order, r->n_reqs + 1, sizeof(*r->order));
    for (size_t i = r->next_req; i < r->n_reqs; i++)
        r->order[i] = (uint32_t)i;
    sort_base = r->reqs;
    qsort(r->order + r->next_req, r->n_reqs - r->next_req, sizeof(*r->order), by_time);
    r->sorted = true;
}

int replay_run(struct replay *r, msec until, struct error *e)
{
    sort(r);
    int rc = 0;
    while (!rc) {
        msec next = MSEC_NEVER;
        if (r->next_req < r->n_reqs)
            next = r->reqs[r->order[r->next_req]].at;
        if (r->next_fact < r->n_facts && r->facts[r->next_fact].at < next)
            next = r->facts[r->next_fact].at;
        bool over = next == MSEC_NEVER && sim_open(r->sim) == 0;
        msec tick = r->ps && !(over && until == SIM_FOREVER) ? policies_next(r->ps) : MSEC_NEVER;
        if (tick < next)
            next = tick;
        if (next > until || (next == MSEC_NEVER && until == SIM_FOREVER)) {
            rc = sim_run(r->sim, until, e);
            break;
        }
        rc = sim_run(r->sim, next, e);
        while (!rc && r->next_fact < r->n_facts && r->facts[r->next_fact].at <= next)
            happen_fact(r, &r->facts[r->next_fact++]);
        while (!rc && r->next_req < r->n_reqs && r->reqs[r->order[r->next_req]].at <= next)
            arrive(r, r->order[r->next_req++]);
        if (r->ps && tick <= next) {
            policies_tick(r->ps, next);
            policies_idle(r->ps, 200);
        }
    }
    if (!rc && until == SIM_FOREVER)
        rc = sim_settled(r->sim, e);
    return rc;
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Jain's index of the mean waits (plus one second, so that no wait at all is no special case) per group. */
static double jain(const struct replay *r, bool models)
{
    struct {
        str name;
        double sum;
        size_t n;
    } g[64];
    size_t n = 0;
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        if (q->granted < 0)
            continue;
        str name = models ? r->models[q->model].id : q->q.key;
        size_t k = 0;
        while (k < n && !str_eq(g[k].name, name))
            k++;
        if (k == n) {
            if (n == ARRAY_LEN(g))
                continue;
            g[n].name = name;
            g[n].sum = 0;
            g[n++].n = 0;
        }
        g[k].sum += (double)(q->granted - q->arrived) / 1000 + 1;
        g[k].n++;
    }
    double s = 0, s2 = 0;
    for (size_t k = 0; k < n; k++) {
        double m = g[k].sum / (double)g[k].n;
        s += m;
        s2 += m * m;
    }
    return n == 0 ? 1 : s * s / ((double)n * s2);
}

void replay_result(const struct replay *r, struct replay_result *ret)
{
    *ret = (struct replay_result){ .requests = r->n_reqs, .loads = r->loads, .evictions = r->evictions, .load_s = r->load_s };
    double *waits = mem_calloc(r->n_reqs + 1, sizeof(*waits)), sum = 0;
    size_t n = 0;
    msec last = 0;
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        ret->served += q->state == 's';
        ret->rejected += q->state == 'r';
        ret->cancelled += q->state == 'c';
        ret->failed += q->state == 'w' || q->state == 'a';
        last = q->ended > last ? q->ended : last;
        double waited = (double)((q->granted >= 0 ? q->granted : q->ended >= 0 ? q->ended : sim_now(r->sim)) - q->arrived) / 1000;
        if (q->state && waited > ret->starvation_s)
            ret->starvation_s = waited;
        if (q->granted < 0)
            continue;
        waits[n++] = waited;
        sum += waited;
    }
    ret->span_s = (double)last / 1000;
    if (n > 0) {
        qsort(waits, n, sizeof(*waits), by_value);
        ret->wait_s = (struct replay_dist){ waits[n / 2], waits[n * 9 / 10], waits[n * 99 / 100], waits[n - 1], sum / (double)n };
    }
    free(waits);
    ret->jain_keys = jain(r, false);
    ret->jain_models = jain(r, true);
    ret->events = sim_stats(r->sim)->events;
    if (r->ps)
        policies_stats(r->ps, &ret->policy);
}

double replay_wait(const struct replay *r, uint64_t id, char *state)
{
    for (size_t i = 0; i < r->n_reqs; i++) {
        const struct rreq *q = &r->reqs[i];
        if (q->id != id)
            continue;
        if (state)
            *state = q->state;
        return q->granted < 0 ? -1 : (double)(q->granted - q->arrived) / 1000;
    }
    if (state)
        *state = 0;
    return -1;
}

struct policies *replay_policies(struct replay *r)
{
    return r->ps;
}

struct sim *replay_sim(struct replay *r)
{
    return r->sim;
}

str replay_log(const struct replay *r)
{
    return strbuf_str(&r->log);
}

msec replay_now(const struct replay *r)
{
    return sim_now(r->sim);
}
