#include "sim/trace_file.h"

#include "base/rand.h"
#include "codec/json.h"

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
    } groups[32];
    size_t n_groups, cap_models, cap_requests, cap_facts;
    bool grouped;
};

static void read_world(struct loading *l, json v)
{
    struct sim_trace *t = l->t;
    for (json g = json_first(json_get(v, S("gpu"))); json_kind(g) != JSON_NONE; g = json_next(g))
        t->gpu_mb += json_num(json_get(g, S("total_mb")), 0);
    if (!sched_kind_of(json_str(json_get(v, S("scheduler"))), &t->kind))
        t->kind = SCHED_KIND_SERIAL;
    t->reorder = json_bool(json_get(v, S("reorder")), false);
    start_time(json_str(json_get(v, S("start"))), &t->start_unix, &t->zone_s);
    for (json g = json_first(json_get(v, S("groups"))); json_kind(g) != JSON_NONE && l->n_groups < 32; g = json_next(g)) {
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
    *r = (struct sim_trace_request){ .at = ms_of(json_get(v, S("t")), 0) };
    struct replay_request *q = &r->q;
    q->id = id > 0 ? (uint64_t)id : 0;
    q->model = arena_try_dup(&t->arena, json_str(json_get(v, S("model"))));
    q->key = arena_try_dup(&t->arena, json_str(json_get(v, S("key"))));
    q->session = arena_try_dup(&t->arena, json_str(json_get(v, S("session"))));
    q->path = arena_try_dup(&t->arena, json_str(json_get(v, S("path"))));
    q->kind = arena_try_dup(&t->arena, json_str(json_get(v, S("class"))));
    q->tokens_in = json_int(json_get(v, S("tokens_in")), &n) ? n : -1;
    q->tokens_out = json_int(json_get(v, S("tokens_out")), &n) ? n : -1;
    q->serve_ms = ms_of(json_get(v, S("serve_s")), 1);
    json cancel = json_get(v, S("cancel_t"));
    q->cancel_ms = json_kind(cancel) == JSON_NUMBER ? ms_of(cancel, 0) - r->at : -1;
    if (json_kind(cancel) == JSON_NUMBER && q->cancel_ms < 0)
        q->cancel_ms = 0;
    q->priority = (int)fmin(fmax(json_num(json_get(v, S("priority")), 0), -1e6), 1e6);
    q->deadline_s = json_num(json_get(v, S("deadline")), -1);
    q->stream = json_bool(json_get(v, S("stream")), false);
    return q->model.len ? 0 : error_set(e, ERR_SYNTAX, "a request without a model");
}

static void read_fact(struct loading *l, json v)
{
    struct sim_trace *t = l->t;
    if (t->n_facts == l->cap_facts) {
        l->cap_facts = l->cap_facts ? l->cap_facts * 2 : 16;
        t->facts = mem_resize(t->facts, l->cap_facts, sizeof(*t->facts));
    }
    struct sim_trace_fact f = { .at = ms_of(json_get(v, S("t")), 0) };
    json mb = json_get(v, S("foreign_mb")), crash = json_get(v, S("crash")), unload = json_get(v, S("unload"));
    if (json_kind(mb) == JSON_NUMBER) {
        f.kind = 'f';
        f.mb = json_num(mb, 0);
    } else if (json_kind(crash) == JSON_STRING) {
        f.kind = 'c';
        f.model = arena_dup(&t->arena, json_str(crash));
    } else if (json_kind(unload) != JSON_NONE) {
        f.kind = 'u';
        f.model = arena_dup(&t->arena, json_str(unload));
    } else {
        return; /* of a later version */
    }
    t->facts[t->n_facts++] = f;
}

static int read_line(struct loading *l, str line, struct error *e)
{
    struct arena a;
    json v;
    arena_init(&a, 4u << 20);
    int rc = json_parse(&a, line, &json_caps_small, &v, e);
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
    }
    arena_fini(&a);
    return rc;
}

int sim_trace_parse(str text, struct sim_trace *ret, struct error *e)
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
        line = str_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        int rc = line.len > LINE_MAX_BYTES ? error_set(e, ERR_LIMIT, "line too long") : read_line(&l, line, e);
        if (rc) {
            sim_trace_fini(ret);
            return error_wrap(e, "line %zu", n);
        }
    }
    if (ret->n_models == 0) {
        sim_trace_fini(ret);
        return error_set(e, ERR_SYNTAX, "the trace has no models");
    }
    return 0;
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
    int rc = sim_trace_parse(strbuf_str(&b), ret, e);
    strbuf_fini(&b);
    return rc ? error_wrap(e, "%s", path) : 0;
}

void sim_trace_fini(struct sim_trace *t)
{
    free(t->models);
    free(t->requests);
    free(t->facts);
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
    int rc = replay_new(&c, ret, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < t->n_requests; i++)
        if (!replay_add(*ret, t->requests[i].at, &t->requests[i].q)) {
            rc = error_set(e, ERR_UNKNOWN_MODEL, "a request for the unknown model " STR_FMT, STR_ARG(t->requests[i].q.model));
            replay_free(*ret);
            return rc;
        }
    for (size_t i = 0; i < t->n_facts; i++) {
        const struct sim_trace_fact *f = &t->facts[i];
        if (f->kind == 'f')
            replay_foreign(*ret, f->at, f->mb);
        else if (f->kind == 'c')
            replay_crash(*ret, f->at, f->model.ptr);
        else
            replay_unload(*ret, f->at, f->model.len ? f->model.ptr : NULL);
    }
    return 0;
}

/* ---- writing ---- */

void sim_trace_synth(struct strbuf *out, size_t n, double gap_s, uint64_t seed, size_t models)
{
    static const struct {
        const char *id;
        double load_s, vram;
    } some[] = { { "big-a", 25, 20000 }, { "big-b", 25, 20000 }, { "small-c", 8, 8000 }, { "small-d", 8, 8000 }, { "embed", 3, 2000 } };
    struct rand_state r;
    rand_seed(&r, seed ? seed : 1);
    if (models == 0 || models > ARRAY_LEN(some))
        models = ARRAY_LEN(some);
    strbuf_add(out, S("{\"v\":1,\"kind\":\"world\",\"gpu\":[{\"total_mb\":24000}],\"scheduler\":\"fifo\","
                      "\"start\":\"2026-08-03T08:00:00+00:00\"}\n"));
    for (size_t i = 0; i < models; i++)
        strbuf_addf(out, "{\"kind\":\"model\",\"id\":\"%s\",\"load_s\":%g,\"stop_s\":1,\"vram_mb\":%g,\"limit\":100}\n", some[i].id,
                    some[i].load_s, some[i].vram);
    double t = 0;
    for (size_t i = 1; i <= n; i++) {
        t += -log(1 - rand_unit(&r)) * gap_s;
        bool batch = rand_below(&r, 100) < 55;
        double serve = 0.5 + rand_unit(&r) * (batch ? 20 : 8);
        strbuf_addf(out, "{\"kind\":\"req\",\"t\":%.3f,\"id\":%zu,\"model\":\"%s\",\"key\":\"%s\",\"path\":\"/v1/chat/completions\","
                         "\"tokens_in\":%u,\"tokens_out\":%u,\"serve_s\":%.3f}\n",
                    t, i, some[rand_below(&r, models)].id, batch ? "batch" : rand_below(&r, 2) ? "alice" : "bob",
                    (unsigned)(10 + rand_below(&r, 2000)), (unsigned)(10 + rand_below(&r, 800)), serve);
    }
}

/* One field of a CSV line; quotes double inside quotes. */
static bool csv_field(str *rest, char *out, size_t size)
{
    if (!rest->ptr)
        return false;
    size_t i = 0, n = 0;
    bool quoted = rest->len > 0 && rest->ptr[0] == '"';
    for (i = quoted; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (quoted && c == '"') {
            if (i + 1 < rest->len && rest->ptr[i + 1] == '"') {
                i++;
            } else {
                quoted = false;
                continue;
            }
        } else if (!quoted && c == ',') {
            break;
        }
        if (n + 1 < size)
            out[n++] = c;
    }
    out[n] = '\0';
    *rest = i < rest->len ? str_sub(*rest, i + 1, rest->len) : STR_NONE;
    return true;
}

enum column { COL_TIME, COL_MODEL, COL_DURATION, COL_IN, COL_OUT, COL_KEY, COLS };

static int column_of(const char *name)
{
    static const struct {
        const char *name;
        enum column col;
    } known[] = { { "timestamp", COL_TIME }, { "time", COL_TIME }, { "model", COL_MODEL }, { "duration", COL_DURATION },
                  { "duration_ms", COL_DURATION }, { "prompt", COL_IN }, { "input_tokens", COL_IN }, { "tokens_in", COL_IN },
                  { "generated", COL_OUT }, { "output_tokens", COL_OUT }, { "tokens_out", COL_OUT }, { "key", COL_KEY } };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_ieq(str_trim(str_c(name)), str_c(known[i].name)))
            return (int)known[i].col;
    return -1;
}

int sim_trace_import(str csv, struct strbuf *out, struct error *e)
{
    int cols[64];
    size_t n_cols = 0;
    char field[300];
    str line, rest = csv;
    str_cut(rest, '\n', &line, &rest);
    line = str_trim(line);
    bool have[COLS] = { false };
    while (n_cols < ARRAY_LEN(cols) && csv_field(&line, field, sizeof(field))) {
        cols[n_cols] = column_of(field);
        if (cols[n_cols] >= 0)
            have[cols[n_cols]] = true;
        n_cols++;
    }
    if (!have[COL_TIME] || !have[COL_MODEL])
        return error_set(e, ERR_SYNTAX, "the first line must name at least the columns timestamp and model");
    struct strbuf reqs = STRBUF((size_t)1 << 30), models = STRBUF(1u << 22);
    int64_t first = 0;
    size_t n = 0;
    while (rest.len > 0) {
        str_cut(rest, '\n', &line, &rest);
        line = str_trim(line);
        char v[COLS][300] = { { 0 } };
        for (size_t i = 0; i < n_cols && csv_field(&line, field, sizeof(field)); i++)
            if (cols[i] >= 0)
                snprintf(v[cols[i]], sizeof(v[0]), "%s", field);
        if (!v[COL_MODEL][0])
            continue;
        int64_t at = 0;
        int32_t zone;
        if (!start_time(str_c(v[COL_TIME]), &at, &zone))
            at = (int64_t)strtod(v[COL_TIME], NULL);
        double ms = strtod(v[COL_DURATION], NULL);
        ms = ms > 1e12 ? ms / 1e6 : ms; /* nanoseconds */
        int64_t began = at - (int64_t)(ms / 1000); /* the log has the end */
        if (n++ == 0)
            first = began;
        struct strbuf id = STRBUF(1000);
        strbuf_add_json(&id, str_c(v[COL_MODEL]));
        char mark[1100];
        snprintf(mark, sizeof(mark), "\"id\":\"%s\"", id.ptr);
        if (str_find(strbuf_str(&models), str_c(mark)) < 0)
            strbuf_addf(&models, "{\"kind\":\"model\",%s,\"load_s\":15,\"stop_s\":1}\n", mark);
        strbuf_addf(&reqs, "{\"kind\":\"req\",\"t\":%lld,\"id\":%zu,\"model\":\"%s\",\"tokens_in\":%lld,\"tokens_out\":%lld,\"serve_s\":%.3f",
                    (long long)(began > first ? began - first : 0), n, id.ptr, strtoll(v[COL_IN], NULL, 10),
                    strtoll(v[COL_OUT], NULL, 10), ms / 1000);
        if (v[COL_KEY][0]) { /* a number instead of the key itself */
            strbuf_addf(&reqs, ",\"key\":\"k%u\"", (unsigned)(str_hash(str_c(v[COL_KEY]), 7) % 100000));
        }
        strbuf_add(&reqs, S("}\n"));
        strbuf_fini(&id);
    }
    strbuf_add(out, S("{\"v\":1,\"kind\":\"world\",\"scheduler\":\"serial\"}\n"));
    strbuf_add(out, strbuf_str(&models));
    strbuf_add(out, strbuf_str(&reqs));
    strbuf_fini(&models);
    strbuf_fini(&reqs);
    return 0;
}
