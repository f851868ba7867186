#include "sim/chaos.h"

#include "base/check.h"
#include "base/rand.h"
#include "base/strbuf.h"
#include "sched/matrix.h"
#include "sched/view.h"

#include <stdio.h>

#define MODELS_MAX 8
#define MATRICES_MAX 64

struct world {
    struct rand_state r;
    const struct chaos_conf *conf;
    struct sim *sim;
    struct sched_conf sc;
    struct sched_model models[MODELS_MAX];
    char ids[MODELS_MAX][8];
    struct matrix *matrices[MATRICES_MAX];
    size_t n_matrices;
    ticket_id next;
    msec at;
    struct strbuf *trace;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return rand_below(&w->r, n);
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

static msec between(struct world *w, msec lo, msec hi)
{
    return lo + (msec)below(w, (uint64_t)(hi - lo + 1));
}

/* ---- what the world is like ---- */

static void random_set(struct world *w, size_t n, char *out, size_t size)
{
    size_t len = 0;
    size_t parts = 1 + below(w, 3);
    for (size_t i = 0; i < parts; i++) {
        size_t atoms = 1 + below(w, 3);
        for (size_t j = 0; j < atoms; j++) {
            const char *sep = i + j == 0 ? "" : j == 0 ? " | " : " & ";
            bool pair = one_in(w, 4);
            int k = snprintf(out + len, size - len, pair ? "%s(%s | %s)" : "%s%s", sep,
                             w->ids[below(w, n)], w->ids[below(w, n)]);
            len += (size_t)k;
        }
    }
}

static void random_matrix(struct world *w)
{
    char names[4][24], texts[4][256];
    struct matrix_set sets[4];
    str models[MODELS_MAX];
    size_t n = 1 + below(w, 4);
    for (size_t i = 0; i < n; i++) {
        snprintf(names[i], sizeof(names[i]), "s%zu", i);
        random_set(w, w->sc.n_models, texts[i], sizeof(texts[i]));
        sets[i] = (struct matrix_set){ str_c(names[i]), str_c(texts[i]) };
    }
    for (size_t i = 0; i < w->sc.n_models; i++)
        models[i] = str_c(w->ids[i]);
    struct matrix_cost cost = { str_c(w->ids[0]), (int64_t)(1 + below(w, 5)) };
    struct matrix_src src = { .models = models,
                              .n_models = w->sc.n_models,
                              .sets = sets,
                              .n_sets = n,
                              .costs = &cost,
                              .n_costs = 1 };
    struct error e;
    ASSERT(w->n_matrices < MATRICES_MAX);
    int rc = matrix_compile(&src, &w->matrices[w->n_matrices], NULL, &e);
    ASSERT(rc == 0);
    w->sc.matrix = w->matrices[w->n_matrices++];
}

static void random_models(struct world *w)
{
    struct sched_model *ms = w->models;
    size_t groups = 1 + below(w, 3);
    bool swap[4], exclusive[4], persistent[4];
    for (size_t g = 0; g < 4; g++) {
        swap[g] = !one_in(w, 3);
        exclusive[g] = !one_in(w, 3);
        persistent[g] = one_in(w, 4);
    }
    for (size_t i = 0; i < w->sc.n_models; i++) {
        bool retired = ms[i].retired;
        size_t g = w->conf->planner == CHAOS_GROUPS ? below(w, groups) : 3;
        bool plain = g == 3;
        ms[i] = (struct sched_model){
            .id = str_c(w->ids[i]),
            .limit = one_in(w, 3) ? (uint32_t)(1 + below(w, 4)) : 0,
            .priority = one_in(w, 3) ? (int)below(w, 10) - 4 : 0,
            .unload_grace_ms = between(w, 0, 400),
            .ttl_ms = one_in(w, 3) ? between(w, 1, 300) : 0,
            .retired = retired,
            .group = (uint32_t)g,
            .group_swap = plain || swap[g],
            .group_exclusive = plain || exclusive[g],
            .group_persistent = !plain && persistent[g],
        };
    }
}

static void random_conf(struct world *w)
{
    random_models(w);
    w->sc.models = w->models;
    w->sc.serial_max_queue = one_in(w, 4) ? (uint32_t)(3 + below(w, 20)) : 0;
    w->sc.serial_max_serve_ms = one_in(w, 3) ? between(w, 20, 200) : 0;
    w->sc.fifo_max_wait_ms = one_in(w, 3) ? between(w, 50, 1000) : 0;
    w->sc.fifo_orphan = one_in(w, 2) ? SCHED_ORPHAN_KEEP : SCHED_ORPHAN_ABORT;
    w->sc.matrix = NULL;
    if (w->conf->planner == CHAOS_MATRIX)
        random_matrix(w);
}

static struct sim_proc random_proc(struct world *w)
{
    bool calm = one_in(w, 3);
    return (struct sim_proc){
        .start_ms = one_in(w, 5) ? 0 : between(w, 1, 150),
        .stop_ms = one_in(w, 4) ? 0 : between(w, 1, 60),
        .fail = calm ? 0 : (unsigned)below(w, 150),
        .crash_starting = calm ? 0 : (unsigned)below(w, 80),
        .ignore_term = calm ? 0 : (unsigned)below(w, 300),
        .stuck = calm ? 0 : (unsigned)below(w, 60),
        .stuck_ms = between(w, 0, 20000),
    };
}

static void on_event(void *ctx, msec now, const struct sched_event *ev)
{
    struct world *w = ctx;
    trace_event_line(w->trace, ev);
}

static void on_action(void *ctx, msec now, const struct sched_action *a)
{
    struct world *w = ctx;
    strbuf_add(w->trace, S("  "));
    trace_action_line(w->trace, a);
}

static void begin(struct world *w)
{
    for (size_t i = 0; i < MODELS_MAX; i++)
        snprintf(w->ids[i], sizeof(w->ids[i]), "m%zu",
                 (i * 5) % MODELS_MAX); /* names not in slot order */
    w->sc.kind = w->conf->kind;
    w->sc.n_models = 1 + below(w, 6);
    random_conf(w);
    struct sim_proc procs[MODELS_MAX];
    for (size_t i = 0; i < MODELS_MAX; i++)
        procs[i] = random_proc(w);
    struct sim_conf conf = { .sched = w->sc,
                             .procs = procs,
                             .seed = rand_u64(&w->r) | 1,
                             .jitter_ms = one_in(w, 3) ? 0 : between(w, 1, 20),
                             .check_all = w->conf->check_all,
                             .dead_on_grant_retries = !one_in(w, 4) };
    w->sim = sim_new(&conf);
    if (w->conf->ops)
        sched_set_ops(sim_sched(w->sim), w->conf->ops, w->conf->ops_ctx);
    if (w->trace)
        sim_watch(w->sim, on_event, on_action, w);
    w->next = 1;
}

/* ---- what happens in it ---- */

static void arrive(struct world *w)
{
    struct sim_request q = {
        .model = one_in(w, 60) ? MODEL_NONE : (model_id)below(w, w->sc.n_models),
        .priority = one_in(w, 10) ? (int)below(w, 7) - 3 : 0,
        .serve_ms = one_in(w, 6) ? 0 : between(w, 1, 60),
        .leaves_ms = one_in(w, 4) ? between(w, 0, 300) : SIM_NEVER,
        .positions = one_in(w, 2),
        .side = one_in(w, 6),
    };
    if (one_in(w, 40) && w->sc.kind == SCHED_KIND_SERIAL && w->sc.serial_max_serve_ms > 0 &&
        !w->conf->reloads)
        q.serve_ms = SIM_FOREVER;
    if (q.serve_ms == SIM_FOREVER && q.leaves_ms == SIM_NEVER)
        q.leaves_ms = 5000;
    sim_arrive(w->sim, w->at, w->next++, &q);
}

/* What no sane caller sends: it must change nothing. */
static void noise(struct world *w)
{
    struct sched_event ev = { .kind = SCHED_TICK, .model = (model_id)below(w, w->sc.n_models) };
    const struct smodel *m = sim_sched(w->sim)->models[ev.model];
    switch (below(w, 5)) {
    case 0:
        ev.ticket = w->next + 1000;
        ev.kind = SCHED_DONE;
        break;
    case 1:
        ev.ticket = w->next + 1000;
        ev.kind = SCHED_CANCEL;
        break;
    case 2:
        ev.model = 1000;
        ev.kind = SCHED_MODEL_UP;
        break;
    case 3: {
        /* A late result of an earlier order of the same model. */
        static const enum sched_ev_kind late[] = { SCHED_MODEL_UP, SCHED_MODEL_FAILED,
                                                   SCHED_MODEL_DOWN, SCHED_MODEL_STUCK };
        swap_id before = m->state == MODEL_STOPPING ? m->first_stop : m->op;
        ev.kind = late[below(w, ARRAY_LEN(late))];
        ev.swap = before > 1 ? 1 + below(w, before - 1) : 999999;
        break;
    }
    default:
        break; /* a TICK nobody asked for */
    }
    /* Now, so that the order it names is still an earlier one. */
    sim_noise(w->sim, sim_now(w->sim), &ev);
}

static void unload(struct world *w)
{
    model_id some[MODELS_MAX];
    size_t n = 0;
    if (one_in(w, 3)) {
        sim_unload(w->sim, w->at, NULL, 0);
        return;
    }
    for (size_t i = 0; i < w->sc.n_models; i++)
        if (one_in(w, 2))
            some[n++] = (model_id)i;
    sim_unload(w->sim, w->at, some, n);
}

static void recycle(struct world *w)
{
    model_id some[MODELS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < w->sc.n_models; i++)
        if (one_in(w, 3))
            some[n++] = (model_id)i;
    sim_recycle(w->sim, w->at, some, n, between(w, 0, 300));
}

static void reload(struct world *w)
{
    if (w->n_matrices == MATRICES_MAX)
        return;
    if (one_in(w, 4))
        w->sc.kind = w->sc.kind == SCHED_KIND_SERIAL ? SCHED_KIND_FIFO : SCHED_KIND_SERIAL;
    if (one_in(w, 4) && w->sc.n_models < MODELS_MAX)
        w->models[w->sc.n_models++] = (struct sched_model){ 0 };
    size_t i = below(w, w->sc.n_models);
    w->models[i].retired = one_in(w, 2);
    random_conf(w);
    sim_reconfigure(w->sim, &w->sc);
    recycle(w);
}

static void happen(struct world *w)
{
    uint64_t dice = below(w, 100);
    if (sim_open(w->sim) > 60 && dice < 70)
        dice = 99; /* let the world catch up */
    if (dice < 68) {
        arrive(w);
    } else if (dice < 74) {
        if (w->next > 1)
            sim_leave(w->sim, w->at, 1 + below(w, w->next - 1));
    } else if (dice < 80) {
        sim_crash(w->sim, w->at, (model_id)below(w, w->sc.n_models));
    } else if (dice < 82) {
        unload(w);
    } else if (dice < 83) {
        recycle(w);
    } else if (dice < 85) {
        sim_preload(w->sim, w->at, (model_id)below(w, w->sc.n_models), one_in(w, 2));
    } else if (dice < 92) {
        noise(w);
    } else if (dice < 94) {
        struct sim_proc p = random_proc(w);
        sim_set_proc(w->sim, (model_id)below(w, w->sc.n_models), &p);
    } else if (dice < 96) {
        if (w->conf->reloads)
            reload(w);
    } else if (dice < 98 && w->next > 1) { /* mostly of one that came lately: others have gone */
        ticket_id back = 1 + below(w, w->next - 1 < 12 ? w->next - 1 : 12);
        sim_move(w->sim, w->at, w->next - back, (model_id)below(w, w->sc.n_models));
    }
}

static int live(struct world *w, size_t events, struct error *e)
{
    int rc = 0;
    while (!rc && sim_stats(w->sim)->events < events) {
        happen(w);
        w->at += one_in(w, 3) ? 0 : one_in(w, 200) ? between(w, 500, 40000) : between(w, 0, 30);
        rc = sim_run(w->sim, w->at, e);
    }
    if (!rc && one_in(w, 4)) {
        sim_drain(w->sim, w->at);
        sim_unload(w->sim, w->at + between(w, 0, 100), NULL, 0);
    }
    if (!rc)
        rc = sim_run(w->sim, SIM_FOREVER, e);
    if (!rc)
        rc = sim_settled(w->sim, e);
    return rc;
}

static void add_stats(struct sim_stats *to, const struct sim_stats *s)
{
    to->events += s->events;
    to->arrived += s->arrived;
    to->admitted += s->admitted;
    to->refused += s->refused;
    to->granted += s->granted;
    to->served += s->served;
    to->broken += s->broken;
    to->failed += s->failed;
    to->left += s->left;
    to->retried += s->retried;
    to->moved += s->moved;
    to->cut += s->cut;
    to->starts += s->starts;
    to->stops += s->stops;
    to->start_failures += s->start_failures;
    to->crashes += s->crashes;
    to->stuck += s->stuck;
    to->unloads += s->unloads;
    to->swaps_begun += s->swaps_begun;
    to->wait_total += s->wait_total;
    to->wait_max = s->wait_max > to->wait_max ? s->wait_max : to->wait_max;
    to->load_total += s->load_total;
}

int chaos_world(const struct chaos_conf *conf, uint64_t seed, struct sim_stats *ret_stats,
                struct strbuf *trace, struct error *e)
{
    struct world *w = mem_zalloc(sizeof(*w));
    w->conf = conf;
    w->trace = trace;
    rand_seed(&w->r, seed);
    begin(w);
    int rc = live(w, 200 + below(w, 1500), e);
    if (ret_stats)
        add_stats(ret_stats, sim_stats(w->sim));
    sim_free(w->sim);
    for (size_t i = 0; i < w->n_matrices; i++)
        matrix_free(w->matrices[i]);
    free(w);
    return rc ? error_wrap(e, "seed %llu", (unsigned long long)seed) : 0;
}

int chaos_run(const struct chaos_conf *conf, struct sim_stats *ret_stats, struct error *e)
{
    struct sim_stats sum = { 0 };
    struct rand_state r;
    rand_seed(&r, conf->seed ? conf->seed : 1);
    int rc = 0;
    while (!rc && sum.events < conf->events)
        rc = chaos_world(conf, rand_u64(&r) >> 1, &sum, NULL, e);
    if (ret_stats)
        *ret_stats = sum;
    return rc;
}
