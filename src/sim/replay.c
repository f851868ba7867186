/* replay.c: see replay.h. */
#include "sim/replay_priv.h"

#include "base/check.h"
#include "sched/trace.h"
#include "sched/view.h"

/* ---- watching ---- */

static struct rreq *of(struct replay *r, ticket_id t)
{
    return t >= 1 && t <= r->n_reqs ? &r->reqs[t - 1] : NULL;
}

/* The hooks around a swap; nothing answers http here, so they do not wait. */
static void around(struct replay *r, enum policy_hook h, model_id m, msec now)
{
    bool up = h == POLICY_AFTER_READY;
    if (m == MODEL_NONE || r->up[m] == up)
        return;
    r->up[m] = up;
    policies_around(r->ps, h, m, up ? "" : sched_stop_why(sim_sched(r->sim), m), 60000, now, NULL, NULL);
}

static void on_event(void *ctx, msec now, const struct sched_event *ev)
{
    struct replay *r = ctx;
    struct rreq *q = of(r, ev->ticket);
    r->ending = 0;
    if (ev->kind == SCHED_MODEL_UP)
        around(r, POLICY_AFTER_READY, ev->model, now);
    else if (ev->kind == SCHED_MODEL_DOWN && ev->model != MODEL_NONE)
        r->up[ev->model] = false;
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

/* Before the process acts: how long will it take this time? */
static msec measured_load(struct replay *r, model_id m)
{
    struct measured *k = &r->measured[m];
    struct sim_proc p = k->base;
    if (k->next_load < k->n_loads) {
        msec took = k->loads[k->next_load++];
        p.start_ms = took < 0 ? -took : took;
        p.fail = took < 0 ? 1000 : p.fail;
    }
    if (k->n_loads > 0)
        sim_set_proc(r->sim, m, &p);
    return p.start_ms;
}

static void measured_stop(struct replay *r, model_id m)
{
    struct measured *k = &r->measured[m];
    struct sim_proc p = k->base;
    if (k->next_stop < k->n_stops)
        p.stop_ms = k->stops[k->next_stop++];
    if (k->n_stops > 0)
        sim_set_proc(r->sim, m, &p);
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
            if (a->code == ERR_START) { /* asked, but what it answers is not followed */
                struct policy_retry retry;
                struct policy_request_info info = { .id = q->id, .model = q->q.model, .asked = q->q.model, .tokens_in = -1,
                                                    .max_tokens = -1, .bytes = -1, .messages = -1, .deadline_s = -1,
                                                    .attempt = 1, .arrived = q->at };
                (void)policies_on_failure(r->ps, a->ticket, &info, str_c(a->text), now, &retry);
            }
            policies_ticket_end(r->ps, a->ticket, a->text, now);
        }
        break;
    case SCHED_START:
        r->loads++;
        r->load_s += (double)measured_load(r, a->model) / 1000;
        break;
    case SCHED_STOP:
        measured_stop(r, a->model);
        r->evictions++;
        around(r, POLICY_BEFORE_STOP, a->model, now);
        break;
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
    policies_idle(r->ps, 0);
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
                                      .unload_grace_ms = k->grace_s > 0 ? (msec)(k->grace_s * 1000) : 10000, .ttl_ms = (msec)(k->ttl_s * 1000), .pinned = k->pinned,
                                      .preemptible = k->preemptible, .group = k->group, .group_swap = k->group_swap,
                                      .group_exclusive = k->group_exclusive, .group_persistent = k->group_persistent };
        procs[i] = (struct sim_proc){ .start_ms = (msec)(k->load_s * 1000 + 0.5), .stop_ms = (msec)(k->stop_s * 1000 + 0.5),
                                      .fail = k->fail, .ignore_term = k->ignore_term, .stuck = k->stuck, .stuck_ms = 5000 };
    }
    struct sim_conf sc = { .procs = procs, .seed = conf->seed ? conf->seed : 1, .check_all = conf->check_all,
                           .dead_on_grant_retries = true };
    sc.sched = (struct sched_conf){ .kind = conf->kind, .models = sm, .n_models = n, .serial_reorder = conf->serial_reorder,
                                     .serial_max_queue = conf->serial_max_queue, .serial_max_serve_ms = conf->serial_max_serve_ms,
                                     .fifo_max_wait_ms = conf->fifo_max_wait_ms, .matrix = conf->matrix,
                                     .fifo_orphan = conf->abort_orphans ? SCHED_ORPHAN_ABORT : SCHED_ORPHAN_KEEP };
    r->up = ARENA_NEWN(&r->arena, n + 1, bool);
    r->measured = ARENA_NEWN(&r->arena, n + 1, struct measured);
    for (size_t i = 0; i < n; i++)
        r->measured[i].base = procs[i];
    r->sim = sim_new(&sc);
    sim_watch(r->sim, on_event, on_action, r);
    sim_after(r->sim, after, r);
    replay_host_fill(r);
    int rc = 0;
    if (conf->row) {
        sched_set_ops(sim_sched(r->sim), conf->row, conf->row_ctx);
    } else if (conf->n_files > 0 || conf->gpu_mb > 0) {
        struct policies_conf pc = { .files = conf->files, .n_files = conf->n_files, .scheduler = sched_kind_name(conf->kind),
                                    .observe_only = conf->kind == SCHED_KIND_SERIAL && !conf->serial_reorder,
                                    .seed = conf->seed ? conf->seed : 1, .pairs = conf->pairs, .virtual_time = !conf->real_budgets,
                                    .no_gpu = conf->gpu_mb <= 0, .host = &r->host,
                                    .deprecated = conf->deprecated, .n_deprecated = conf->n_deprecated };
        if (conf->hook_faults || conf->instructions) {
            rand_seed(&r->faults, (conf->seed ? conf->seed : 1) ^ 0x6661756c74u);
            pc.fault = replay_hook_fault;
            pc.fault_ud = r;
        }
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

void replay_preload(struct replay *r, msec at, const char *model)
{
    add_fact(r, (struct fact){ at, FACT_PRELOAD, model_of(r, str_c(model)), 0 });
}

static const msec *copy_times(struct replay *r, const msec *from, size_t n)
{
    msec *to = ARENA_NEWN(&r->arena, n, msec);
    if (n)
        memcpy(to, from, n * sizeof(*to));
    return to;
}

void replay_measured(struct replay *r, const char *model, const msec *loads, size_t n_loads, const msec *stops, size_t n_stops)
{
    model_id m = model_of(r, str_c(model));
    if (m == MODEL_NONE)
        return;
    struct measured *k = &r->measured[m];
    k->loads = copy_times(r, loads, n_loads);
    k->n_loads = n_loads;
    k->stops = copy_times(r, stops, n_stops);
    k->n_stops = n_stops;
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
    case FACT_PRELOAD:
        if (f->model != MODEL_NONE)
            sim_preload(r->sim, f->at, f->model, false);
        break;
    case FACT_FOREIGN:
        r->foreign_mb = f->mb;
        replay_host_kick(r);
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
                             .leaves_ms = q->q.cancel_ms >= 0 ? q->q.cancel_ms : SIM_NEVER, .side = q->q.side };
    sim_arrive(r->sim, now, index + 1, &s);
}

static int by_time(const void *a, const void *b, void *base)
{
    const struct rreq *sort_base = base;
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
    qsort_r(r->order + r->next_req, r->n_reqs - r->next_req, sizeof(*r->order), by_time, r->reqs);
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
