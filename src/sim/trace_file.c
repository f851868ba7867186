#include "sim/trace_file.h"

#include "base/rand.h"
#include "codec/json.h"
#include "sched/matrix.h"
#include "sim/trace_check.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

#define LINE_MAX_BYTES (64u << 10)

/* ---- reading ---- */

static msec ms_of(json v, double dflt)
{
    double s = json_num(v, dflt);
    return !(s > 0) ? 0 : s > 1e9 ? (msec)1000000000000 : (msec)(s * 1000 + 0.5);
}

/* "2026-08-01T08:00:00+02:00" */
static bool start_time(str s, int64_t *unix_s, int32_t *zone_s)
{
    uint64_t v[6];
    static const size_t at[] = { 0, 5, 8, 11, 14, 17 }, len[] = { 4, 2, 2, 2, 2, 2 };
    if (s.len < 19)
        return false;
    for (size_t i = 0; i < 6; i++)
        if (!str_to_u64(str_sub(s, at[i], len[i]), &v[i]))
            return false;
    struct tm tm = { .tm_year = (int)v[0] - 1900, .tm_mon = (int)v[1] - 1, .tm_mday = (int)v[2],
                     .tm_hour = (int)v[3], .tm_min = (int)v[4], .tm_sec = (int)v[5] };
    *zone_s = 0;
    uint64_t zh, zm;
    if (s.len >= 25 && (s.ptr[s.len - 6] == '+' || s.ptr[s.len - 6] == '-') &&
        str_to_u64(str_sub(s, s.len - 5, 2), &zh) && str_to_u64(str_sub(s, s.len - 2, 2), &zm))
        *zone_s = (int32_t)(zh * 3600 + zm * 60) * (s.ptr[s.len - 6] == '-' ? -1 : 1);
    *unix_s = (int64_t)timegm(&tm) - *zone_s;
    return true;
}

struct loading {
    struct sim_trace *t;
    struct {
        str id;
        bool swap, exclusive, persistent;
    } groups[256];
    size_t n_groups, cap_models, cap_requests, cap_facts;
    struct measure {
        str model;
        msec load, stop; /* one of them; 0 = the other */
    } *measures;
    size_t n_measures, cap_measures;
    struct matrix_src matrix;
    bool grouped;
    uint32_t line;
};

static void read_matrix(struct loading *l, json m)
{
    struct arena *a = &l->t->arena;
    json vars = json_get(m, S("vars")), costs = json_get(m, S("evict_costs")), sets = json_get(m, S("sets"));
    if (json_len(sets) == 0)
        return;
    struct matrix_var *var = ARENA_NEWN(a, json_len(vars) + 1, struct matrix_var);
    struct matrix_cost *cost = ARENA_NEWN(a, json_len(costs) + 1, struct matrix_cost);
    struct matrix_set *set = ARENA_NEWN(a, json_len(sets) + 1, struct matrix_set);
    struct matrix_src *src = &l->matrix;
    *src = (struct matrix_src){ .vars = var, .costs = cost, .sets = set };
    for (json v = json_first(vars); json_kind(v) != JSON_NONE; v = json_next(v))
        var[src->n_vars++] = (struct matrix_var){ arena_dup(a, json_name(v)), arena_dup(a, json_str(v)) };
    for (json v = json_first(costs); json_kind(v) != JSON_NONE; v = json_next(v))
        cost[src->n_costs++] = (struct matrix_cost){ arena_dup(a, json_name(v)), (int64_t)fmin(fmax(json_num(v, 1), 1), 1e9) };
    for (json v = json_first(sets); json_kind(v) != JSON_NONE; v = json_next(v))
        set[src->n_sets++] = (struct matrix_set){ arena_dup(a, json_name(v)), arena_dup(a, json_str(v)) };
}

static void read_world(struct loading *l, json v)
{
    struct sim_trace *t = l->t;
    for (json g = json_first(json_get(v, S("gpu"))); json_kind(g) != JSON_NONE; g = json_next(g))
        t->gpu_mb += json_num(json_get(g, S("total_mb")), 0);
    if (!sched_kind_of(json_str(json_get(v, S("scheduler"))), &t->kind))
        t->kind = SCHED_KIND_SERIAL;
    t->reorder = json_bool(json_get(v, S("reorder")), false);
    t->max_queue = (uint32_t)fmin(fmax(json_num(json_get(v, S("max_queue")), 0), 0), 1e6);
    t->max_serve_ms = ms_of(json_get(v, S("max_serve_s")), 0);
    t->max_wait_ms = ms_of(json_get(v, S("max_wait_s")), 0);
    t->abort_orphans = json_is(json_get(v, S("orphan_load")), "abort");
    read_matrix(l, json_get(v, S("matrix")));
    start_time(json_str(json_get(v, S("start"))), &t->start_unix, &t->zone_s);
    for (json g = json_first(json_get(v, S("groups"))); json_kind(g) != JSON_NONE && l->n_groups < ARRAY_LEN(l->groups); g = json_next(g)) {
        l->grouped = true;
        l->groups[l->n_groups].id = arena_dup(&t->arena, json_str(json_get(g, S("id"))));
        l->groups[l->n_groups].swap = json_bool(json_get(g, S("swap")), true);
        l->groups[l->n_groups].exclusive = json_bool(json_get(g, S("exclusive")), true);
        l->groups[l->n_groups++].persistent = json_bool(json_get(g, S("persistent")), false);
    }
}

static int read_model(struct loading *l, json v, struct error *e)
{
    struct sim_trace *t = l->t;
    str id = json_str(json_get(v, S("id")));
    if (id.len == 0)
        return error_set(e, ERR_SYNTAX, "a model without an id");
    if (t->n_models == l->cap_models) {
        l->cap_models = l->cap_models ? l->cap_models * 2 : 16;
        t->models = mem_resize(t->models, l->cap_models, sizeof(*t->models));
    }
    struct replay_model *m = &t->models[t->n_models++];
    *m = (struct replay_model){ .id = arena_dup(&t->arena, id), .load_s = json_num(json_get(v, S("load_s")), 10),
                                .stop_s = json_num(json_get(v, S("stop_s")), 1), .vram_mb = json_num(json_get(v, S("vram_mb")), 0),
                                .ttl_s = json_num(json_get(v, S("ttl_s")), 0),
                                .grace_s = fmin(fmax(json_num(json_get(v, S("unload_timeout_s")), 0), 0), 1e6),
                                .limit = (uint32_t)fmin(fmax(json_num(json_get(v, S("limit")), 0), 0), 1e6),
                                .priority = (int)fmin(fmax(json_num(json_get(v, S("priority")), 0), -1e6), 1e6),
                                .pinned = json_bool(json_get(v, S("pinned")), false),
                                .preemptible = json_bool(json_get(v, S("preemptible")), false),
                                .group_swap = true, .group_exclusive = true };
    if (!(m->load_s >= 0 && m->load_s < 1e6) || !(m->stop_s >= 0 && m->stop_s < 1e6))
        return error_set(e, ERR_SYNTAX, "load_s and stop_s: 0 to 1000000");
    str group = json_str(json_get(v, S("group")));
    if (!l->grouped) { /* with a GPU of known size, whatever fits may live together */
        m->group_swap = m->group_exclusive = t->gpu_mb <= 0;
        return 0;
    }
    for (size_t i = 0; i < l->n_groups; i++) {
        if (!str_eq(l->groups[i].id, group))
            continue;
        m->group = (uint32_t)i + 1;
        m->group_swap = l->groups[i].swap;
        m->group_exclusive = l->groups[i].exclusive;
        m->group_persistent = l->groups[i].persistent;
    }
    return 0;
}

static int read_request(struct loading *l, json v, struct error *e)
{
    struct sim_trace *t = l->t;
    if (t->n_requests == l->cap_requests) {
        l->cap_requests = l->cap_requests ? l->cap_requests * 2 : 256;
        t->requests = mem_resize(t->requests, l->cap_requests, sizeof(*t->requests));
    }
    int64_t id = 0, n;
    json_int(json_get(v, S("id")), &id);
    struct sim_trace_request *r = &t->requests[t->n_requests++];
    *r = (struct sim_trace_request){ .at = ms_of(json_get(v, S("t")), 0), .line = l->line };
    struct replay_request *q = &r->q;
    q->id = id > 0 ? (uint64_t)id : 0;
    q->model = arena_try_dup(&t->arena, json_str(json_get(v, S("model"))));
    q->key = arena_try_dup(&t->arena, json_str(json_get(v, S("key"))));
    q->session = arena_try_dup(&t->arena, json_str(json_get(v, S("session"))));
    q->path = arena_try_dup(&t->arena, json_str(json_get(v, S("path"))));
    q->kind = arena_try_dup(&t->arena, json_str(json_get(v, S("class"))));
    q->tokens_in = json_int(json_get(v, S("tokens_in")), &n) ? n : -1;
    q->tokens_out = json_int(json_get(v, S("tokens_out")), &n) ? n : -1;
    json serve = json_get(v, S("serve_s"));
    q->serve_ms = json_kind(serve) == JSON_NUMBER ? ms_of(serve, 1) : -1; /* -1: filled in at the end */
    json cancel = json_get(v, S("cancel_t"));
    q->cancel_ms = json_kind(cancel) == JSON_NUMBER ? ms_of(cancel, 0) - r->at : -1;
    if (json_kind(cancel) == JSON_NUMBER && q->cancel_ms < 0)
        q->cancel_ms = 0;
    q->priority = (int)fmin(fmax(json_num(json_get(v, S("priority")), 0), -1e6), 1e6);
    q->deadline_s = json_num(json_get(v, S("deadline")), -1);
    q->stream = json_bool(json_get(v, S("stream")), false);
    q->side = json_bool(json_get(v, S("side")), false);
    return q->model.len ? 0 : error_set(e, ERR_SYNTAX, "a request without a model");
}

static void read_fact(struct loading *l, json v)
{
    struct sim_trace *t = l->t;
    if (t->n_facts == l->cap_facts) {
        l->cap_facts = l->cap_facts ? l->cap_facts * 2 : 16;
        t->facts = mem_resize(t->facts, l->cap_facts, sizeof(*t->facts));
    }
    struct sim_trace_fact f = { .at = ms_of(json_get(v, S("t")), 0), .line = l->line };
    json preload = json_get(v, S("preload"));
    json mb = json_get(v, S("foreign_mb")), crash = json_get(v, S("crash")), unload = json_get(v, S("unload"));
    if (json_kind(mb) == JSON_NUMBER) {
        f.kind = 'f';
        f.mb = json_num(mb, 0);
    } else if (json_kind(crash) == JSON_STRING) {
        f.kind = 'c';
        f.model = arena_dup(&t->arena, json_str(crash));
    } else if (json_kind(preload) == JSON_STRING) {
        f.kind = 'p';
        f.model = arena_dup(&t->arena, json_str(preload));
    } else if (json_kind(unload) != JSON_NONE) {
        f.kind = 'u';
        f.model = arena_dup(&t->arena, json_str(unload));
    } else {
        return; /* of a later version */
    }
    t->facts[t->n_facts++] = f;
}

static void read_measure(struct loading *l, json v)
{
    json load = json_get(v, S("load_s")), stop = json_get(v, S("stop_s"));
    if (l->n_measures == l->cap_measures) {
        l->cap_measures = l->cap_measures ? l->cap_measures * 2 : 256;
        l->measures = mem_resize(l->measures, l->cap_measures, sizeof(*l->measures));
    }
    struct measure m = { .model = arena_dup(&l->t->arena, json_str(json_get(v, S("model")))) };
    if (json_kind(load) == JSON_NUMBER)
        m.load = ms_of(load, 0) + 1; /* 0 is "not a load" */
    if (json_bool(json_get(v, S("failed")), false))
        m.load = -m.load;
    if (json_kind(stop) == JSON_NUMBER)
        m.stop = ms_of(stop, 0) + 1;
    if (m.load || m.stop)
        l->measures[l->n_measures++] = m;
}

static int read_line(struct loading *l, str line, struct error *e)
{
    struct arena a;
    json v;
    arena_init(&a, 4u << 20);
    int rc = json_parse(&a, line, &json_caps_small, &v, e);
    if (!rc)
        rc = trace_line_check(v, e);
    if (!rc) {
        json kind = json_get(v, S("kind"));
        if (json_is(kind, "world"))
            read_world(l, v);
        else if (json_is(kind, "model"))
            rc = read_model(l, v, e);
        else if (json_is(kind, "req"))
            rc = read_request(l, v, e);
        else if (json_is(kind, "fact"))
            read_fact(l, v);
        else if (json_is(kind, "measure"))
            read_measure(l, v);
    }
    arena_fini(&a);
    return rc;
}

/* Measured times by model; what a model takes on average is what they say, whatever its line said. */
static void take_measures(struct loading *l)
{
    struct sim_trace *t = l->t;
    if (l->n_measures == 0)
        return;
    t->times = ARENA_NEWN(&t->arena, t->n_models, struct sim_trace_times);
    for (size_t i = 0; i < t->n_models; i++) {
        struct sim_trace_times *k = &t->times[i];
        msec loads = 0, stops = 0;
        size_t good = 0;
        for (int pass = 0; pass < 2; pass++) {
            if (pass == 1) {
                k->loads = ARENA_NEWN(&t->arena, k->n_loads, msec);
                k->stops = ARENA_NEWN(&t->arena, k->n_stops, msec);
                k->n_loads = k->n_stops = 0;
            }
            for (size_t j = 0; j < l->n_measures; j++) {
                const struct measure *m = &l->measures[j];
                if (!str_eq(m->model, t->models[i].id))
                    continue;
                if (m->load && pass == 1)
                    k->loads[k->n_loads] = m->load > 0 ? m->load - 1 : m->load;
                if (m->stop && pass == 1)
                    k->stops[k->n_stops] = m->stop - 1;
                k->n_loads += m->load != 0;
                k->n_stops += m->stop != 0;
                loads += pass == 1 && m->load > 0 ? m->load - 1 : 0;
                good += pass == 1 && m->load > 0;
                stops += pass == 1 && m->stop ? m->stop - 1 : 0;
            }
        }
        if (good)
            t->models[i].load_s = (double)loads / (double)good / 1000;
        if (k->n_stops)
            t->models[i].stop_s = (double)stops / (double)k->n_stops / 1000;
    }
}

/* Requests that were never served would have taken as long as the others of their model. */
static void fill_serve_times(struct sim_trace *t)
{
    bool missing = false;
    for (size_t i = 0; i < t->n_requests && !missing; i++)
        missing = t->requests[i].q.serve_ms < 0;
    if (!missing)
        return;
    double *sum = mem_calloc(t->n_models + 1, sizeof(*sum));
    size_t *n = mem_calloc(t->n_models + 1, sizeof(*n));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < t->n_requests; i++) {
            struct replay_request *q = &t->requests[i].q;
            if (pass == 1 && q->serve_ms >= 0)
                continue;
            size_t m = 0;
            while (m < t->n_models && !str_eq(t->models[m].id, q->model))
                m++;
            if (pass == 1)
                q->serve_ms = n[m] ? (msec)(sum[m] / (double)n[m] + 0.5) : 1000;
            else if (q->serve_ms >= 0) {
                sum[m] += (double)q->serve_ms;
                n[m]++;
            }
        }
    free(sum);
    free(n);
}

/* Live recording writes a request when it ends; they are numbered in the order in which they came. */
static int by_arrival(const void *a, const void *b, void *base)
{
    const struct sim_trace_request *r = base;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    if (r[x].at != r[y].at)
        return r[x].at < r[y].at ? -1 : 1;
    if (r[x].q.id != r[y].q.id)
        return r[x].q.id < r[y].q.id ? -1 : 1;
    return x < y ? -1 : x > y;
}

static void sort_requests(struct sim_trace *t)
{
    size_t sorted = 1;
    while (sorted < t->n_requests && t->requests[sorted].at >= t->requests[sorted - 1].at)
        sorted++;
    if (sorted >= t->n_requests)
        return;
    uint32_t *order = mem_calloc(t->n_requests, sizeof(*order));
    struct sim_trace_request *in_order = mem_calloc(t->n_requests, sizeof(*in_order));
    for (size_t i = 0; i < t->n_requests; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, t->n_requests, sizeof(*order), by_arrival, t->requests);
    for (size_t i = 0; i < t->n_requests; i++)
        in_order[i] = t->requests[order[i]];
    free(order);
    free(t->requests);
    t->requests = in_order;
}

static bool has_model(const struct sim_trace *t, str id, size_t *hint)
{
    if (*hint < t->n_models && str_eq(t->models[*hint].id, id))
        return true;
    for (*hint = 0; *hint < t->n_models && !str_eq(t->models[*hint].id, id);)
        ++*hint;
    return *hint < t->n_models;
}

/* Whoever is named has a line. On error l->line is the one to blame. */
static int check_names(struct loading *l, struct error *e)
{
    struct sim_trace *t = l->t;
    size_t hint = 0;
    for (size_t i = 0; i < t->n_requests; i++) {
        str id = t->requests[i].q.model;
        if (has_model(t, id, &hint))
            continue;
        l->line = t->requests[i].line;
        return error_set(e, ERR_UNKNOWN_MODEL, "req: there is no model " STR_FMT ": add a line {\"kind\":\"model\",\"id\":\"" STR_FMT
                         "\",\"load_s\":10}, or correct the name", STR_ARG(id), STR_ARG(id));
    }
    for (size_t i = 0; i < t->n_facts; i++) {
        l->line = t->facts[i].line;
        if (t->facts[i].model.len > 0 && !has_model(t, t->facts[i].model, &hint))
            return error_set(e, ERR_UNKNOWN_MODEL, "fact: there is no model " STR_FMT, STR_ARG(t->facts[i].model));
    }
    return 0;
}

static int finish(struct loading *l, struct error *e)
{
    struct sim_trace *t = l->t;
    if (t->n_models == 0)
        return error_set(e, ERR_SYNTAX, "the trace has no models: each needs a line such as {\"kind\":\"model\",\"id\":\"a\",\"load_s\":10}");
    int rc = check_names(l, e);
    if (rc)
        return rc;
    sort_requests(t);
    take_measures(l);
    fill_serve_times(t);
    if (l->matrix.n_sets == 0)
        return 0;
    str *ids = ARENA_NEWN(&t->arena, t->n_models, str);
    for (size_t i = 0; i < t->n_models; i++)
        ids[i] = t->models[i].id;
    l->matrix.models = ids;
    l->matrix.n_models = t->n_models;
    return matrix_compile(&l->matrix, &t->matrix, NULL, e);
}

static int at_line(struct error *e, const char *path, size_t line)
{
    return path ? error_wrap(e, "%s:%zu", path, line) : error_wrap(e, "line %zu", line);
}

static int parse(str text, const char *path, struct sim_trace *ret, struct error *e)
{
    *ret = (struct sim_trace){ .kind = SCHED_KIND_SERIAL };
    arena_init(&ret->arena, 1u << 30);
    struct loading l = { .t = ret };
    size_t n = 0;
    while (text.len > 0) {
        str line, rest;
        str_cut(text, '\n', &line, &rest);
        text = rest;
        n++;
        l.line = (uint32_t)n;
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        int rc = line.len > LINE_MAX_BYTES ? error_set(e, ERR_LIMIT, "line too long") : read_line(&l, line, e);
        if (rc) {
            free(l.measures);
            sim_trace_fini(ret);
            return at_line(e, path, n);
        }
    }
    int rc = finish(&l, e);
    free(l.measures);
    if (rc == ERR_UNKNOWN_MODEL)
        rc = at_line(e, path, l.line);
    else if (rc && path)
        rc = error_wrap(e, "%s", path);
    if (rc)
        sim_trace_fini(ret);
    return rc;
}

int sim_trace_parse(str text, struct sim_trace *ret, struct error *e)
{
    return parse(text, NULL, ret, e);
}

int sim_trace_read(const char *path, struct sim_trace *ret, struct error *e)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return error_sys(e, ERR_NOTFOUND, errno, "cannot read %s", path);
    struct strbuf b = STRBUF((size_t)2 << 30);
    size_t n = 1;
    while (n > 0 && strbuf_reserve(&b, 1u << 16)) {
        n = fread(b.ptr + b.len, 1, 1u << 16, f);
        strbuf_took(&b, n);
    }
    fclose(f);
    int rc = parse(strbuf_str(&b), path, ret, e);
    strbuf_fini(&b);
    return rc;
}

void sim_trace_fini(struct sim_trace *t)
{
    free(t->models);
    free(t->requests);
    free(t->facts);
    matrix_free(t->matrix);
    arena_fini(&t->arena);
    *t = (struct sim_trace){ 0 };
}

int sim_trace_replay(const struct sim_trace *t, const struct replay_conf *conf, struct replay **ret, struct error *e)
{
    struct replay_conf c = *conf;
    c.models = t->models;
    c.n_models = t->n_models;
    c.gpu_mb = t->gpu_mb;
    c.start_unix = t->start_unix;
    c.zone_s = t->zone_s;
    c.serial_max_queue = t->max_queue;
    c.serial_max_serve_ms = t->max_serve_ms;
    c.fifo_max_wait_ms = t->max_wait_ms;
    c.abort_orphans = t->abort_orphans;
    c.matrix = t->matrix;
    int rc = replay_new(&c, ret, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < t->n_requests; i++)
        if (!replay_add(*ret, t->requests[i].at, &t->requests[i].q)) {
            rc = error_set(e, ERR_UNKNOWN_MODEL, "a request for the unknown model " STR_FMT, STR_ARG(t->requests[i].q.model));
            replay_free(*ret);
            return rc;
        }
    for (size_t i = 0; t->times && i < t->n_models; i++)
        replay_measured(*ret, t->models[i].id.ptr, t->times[i].loads, t->times[i].n_loads, t->times[i].stops, t->times[i].n_stops);
    for (size_t i = 0; i < t->n_facts; i++) {
        const struct sim_trace_fact *f = &t->facts[i];
        if (f->kind == 'p')
            replay_preload(*ret, f->at, f->model.ptr);
        else if (f->kind == 'f')
            replay_foreign(*ret, f->at, f->mb);
        else if (f->kind == 'c')
            replay_crash(*ret, f->at, f->model.ptr);
        else
            replay_unload(*ret, f->at, f->model.len ? f->model.ptr : NULL);
    }
    return 0;
}
