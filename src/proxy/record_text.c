/* record_text.c: records as lines of a trace (docs/policies.md). */
#include "base/check.h"
#include "codec/json.h"
#include "proxy/model.h"
#include "proxy/record.h"
#include "proxy/server.h"

#include <stdio.h>
#include <time.h>

/* --- paths: only those of endpoints; /upstream/... may hold anything --- */

static const struct {
    const char *path, *kind;
} paths[] = {
    { "other", "other" },
    { "/v1/chat/completions", "chat" },
    { "/v1/responses", "chat" },
    { "/v1/messages", "chat" },
    { "/v1/completions", "completion" },
    { "/completion", "completion" },
    { "/infill", "completion" },
    { "/v1/embeddings", "embedding" },
    { "/v1/rerank", "rerank" },
    { "/rerank", "rerank" },
    { "/v1/audio/speech", "audio" },
    { "/v1/audio/transcriptions", "audio" },
    { "/v1/images/generations", "image" },
    { "/v1/images/edits", "image" },
    { "/sdapi/v1/txt2img", "image" },
    { "/sdapi/v1/img2img", "image" },
};

uint8_t record_path(str path)
{
    for (size_t i = 1; i < ARRAY_LEN(paths); i++)
        if (str_eq(path, str_c(paths[i].path)))
            return (uint8_t)i;
    return 0;
}

str record_path_text(uint8_t p)
{
    return str_c(paths[p < ARRAY_LEN(paths) ? p : 0].path);
}

str record_path_class(uint8_t p)
{
    return str_c(paths[p < ARRAY_LEN(paths) ? p : 0].kind);
}

/* --- labels: the order in which keys appear in this trace --- */

#define LABELS 8192u /* a power of two; half of them are used at most */

struct record_labels {
    uint32_t hash[LABELS], number[LABELS], n;
};

struct record_labels *record_labels_new(void)
{
    return mem_zalloc(sizeof(struct record_labels));
}

/* 0: more keys than anybody can tell apart. */
static uint32_t label(struct record_labels *l, uint32_t hash)
{
    for (uint32_t at = hash;; at++) {
        at &= LABELS - 1;
        if (l->hash[at] == hash)
            return l->number[at];
        if (l->hash[at] != 0)
            continue;
        if (l->n >= LABELS / 2)
            return 0;
        l->hash[at] = hash;
        return l->number[at] = ++l->n;
    }
}

/* --- lines --- */

#define SECONDS_MAX 32

/* Milliseconds as seconds, without a trip through floating point: a line has half a dozen of them. */
static str seconds_text(char text[SECONDS_MAX], msec ms)
{
    char *at = text + SECONDS_MAX;
    uint64_t v = ms < 0 ? (uint64_t)-ms : (uint64_t)ms;
    unsigned part = (unsigned)(v % 1000), digits = part == 0 ? 0 : part % 10 ? 3 : part % 100 ? 2 : 1;
    for (unsigned i = 3; i > 0; i--, part /= 10)
        if (i <= digits)
            *--at = (char)('0' + part % 10);
    if (digits)
        *--at = '.';
    v /= 1000;
    do
        *--at = (char)('0' + v % 10);
    while (v /= 10);
    if (ms < 0)
        *--at = '-';
    return str_n(at, (size_t)(text + SECONDS_MAX - at));
}

static void kseconds(struct json_out *o, const char *key, msec ms)
{
    char text[SECONDS_MAX];
    json_out_kraw(o, key, seconds_text(text, ms));
}

static void begin(struct json_out *o, struct strbuf *out, const char *kind)
{
    json_out_init(o, out);
    json_out_object(o);
    json_out_kstr(o, "kind", str_c(kind));
}

static void end(struct json_out *o, struct strbuf *out)
{
    json_out_end(o, '}');
    strbuf_addc(out, '\n');
}

static void world_groups(const struct config *cfg, struct json_out *o)
{
    json_out_key(o, S("groups"));
    json_out_array(o);
    for (size_t i = 0; i < cfg->n_groups; i++) {
        json_out_object(o);
        json_out_kstr(o, "id", cfg->groups[i].id);
        json_out_kbool(o, "swap", cfg->groups[i].swap);
        json_out_kbool(o, "exclusive", cfg->groups[i].exclusive);
        json_out_kbool(o, "persistent", cfg->groups[i].persistent);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void world_matrix(const struct config *cfg, struct json_out *o)
{
    const struct config_matrix *m = &cfg->matrix;
    json_out_key(o, S("matrix"));
    json_out_object(o);
    json_out_key(o, S("vars"));
    json_out_object(o);
    for (size_t i = 0; i < m->n_vars; i++) {
        json_out_key(o, m->vars[i].key);
        json_out_str(o, m->vars[i].value);
    }
    json_out_end(o, '}');
    json_out_key(o, S("evict_costs"));
    json_out_object(o);
    for (size_t i = 0; i < m->n_costs; i++) {
        json_out_key(o, m->costs[i].key);
        json_out_int(o, m->costs[i].cost);
    }
    json_out_end(o, '}');
    json_out_key(o, S("sets"));
    json_out_object(o);
    for (size_t i = 0; i < m->n_sets; i++) {
        json_out_key(o, m->sets[i].key);
        json_out_str(o, m->sets[i].value);
    }
    json_out_end(o, '}');
    json_out_end(o, '}');
}

static void world_gpus(const struct policy_host *h, struct json_out *o)
{
    struct policy_gpu rows[16];
    size_t n = h->gpu ? h->gpu(h->ud, rows, ARRAY_LEN(rows)) : 0;
    if (n == 0)
        return;
    json_out_key(o, S("gpu"));
    json_out_array(o);
    for (size_t i = 0; i < n; i++) {
        json_out_object(o);
        json_out_kstr(o, "name", str_c(rows[i].name));
        json_out_knum(o, "total_mb", rows[i].total_mb);
        json_out_end(o, '}');
    }
    json_out_end(o, ']');
}

static void world_line(const struct recorder *r, msec t0, struct strbuf *out)
{
    const struct config *cfg = r->srv->cfg;
    struct json_out o;
    int64_t ms = record_unix_ms(r, t0);
    time_t at = (time_t)(ms / 1000);
    struct tm tm;
    char start[40];
    localtime_r(&at, &tm);
    long zone = tm.tm_gmtoff / 60;
    size_t n = strftime(start, sizeof start, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(start + n, sizeof start - n, "%c%02ld:%02ld", zone < 0 ? '-' : '+', (zone < 0 ? -zone : zone) / 60 % 100,
             (zone < 0 ? -zone : zone) % 60);
    json_out_init(&o, out);
    json_out_object(&o);
    json_out_kint(&o, "v", 1);
    json_out_kstr(&o, "kind", S("world"));
    json_out_kstr(&o, "scheduler", cfg->scheduler == CONFIG_SCHED_FIFO ? S("fifo") : S("serial"));
    json_out_kstr(&o, "start", str_c(start));
    if (cfg->scheduler == CONFIG_SCHED_SERIAL) {
        json_out_kbool(&o, "reorder", cfg->serial.reorder);
        json_out_kint(&o, "max_queue", cfg->serial.max_queue);
        if (cfg->serial.max_serve_ms > 0)
            kseconds(&o, "max_serve_s", cfg->serial.max_serve_ms);
    } else {
        if (cfg->fifo.max_wait_ms > 0)
            kseconds(&o, "max_wait_s", cfg->fifo.max_wait_ms);
        if (cfg->fifo.orphan == CONFIG_ORPHAN_ABORT)
            json_out_kstr(&o, "orphan_load", S("abort"));
    }
    world_gpus(&r->srv->policy.host, &o);
    if (cfg->router == CONFIG_ROUTER_MATRIX)
        world_matrix(cfg, &o);
    else
        world_groups(cfg, &o);
    end(&o, out);
}

static void model_line(const struct recorder *r, const struct config *cfg, const struct config_model *c, struct strbuf *out)
{
    struct json_out o;
    uintptr_t have = (uintptr_t)map_get(&r->by_name, c->id);
    const struct record_model *m = have ? &r->models[have - 1] : NULL;
    begin(&o, out, "model");
    json_out_kstr(&o, "id", c->id);
    if (m && m->loads)
        kseconds(&o, "load_s", m->load_sum / (msec)m->loads);
    if (m && m->stops)
        kseconds(&o, "stop_s", m->stop_sum / (msec)m->stops);
    if (c->concurrency_limit > 0)
        json_out_kint(&o, "limit", c->concurrency_limit);
    if (c->pinned)
        json_out_kbool(&o, "pinned", true);
    if (c->preemptible)
        json_out_kbool(&o, "preemptible", true);
    if (c->priority)
        json_out_knum(&o, "priority", (double)c->priority);
    if (c->ttl_ms > 0)
        kseconds(&o, "ttl_s", c->ttl_ms);
    kseconds(&o, "unload_timeout_s", c->unload_timeout_ms);
    if (c->group != CONFIG_NONE && c->group < cfg->n_groups)
        json_out_kstr(&o, "group", cfg->groups[c->group].id);
    for (size_t i = 0; i < c->metadata.len; i++)
        if (str_eq(c->metadata.at[i].name, S("vram_mb")))
            json_out_kraw(&o, "vram_mb", c->metadata.at[i].json);
    if (c->metadata.len) {
        json_out_key(&o, S("meta"));
        json_out_object(&o);
        for (size_t i = 0; i < c->metadata.len; i++) {
            json_out_key(&o, c->metadata.at[i].name);
            json_out_raw(&o, c->metadata.at[i].json);
        }
        json_out_end(&o, '}');
    }
    end(&o, out);
}

void record_world_lines(const struct recorder *r, msec t0, struct strbuf *out)
{
    world_line(r, t0, out);
    for (size_t i = 0; i < r->srv->cfg->n_models; i++)
        model_line(r, r->srv->cfg, &r->srv->cfg->models[i], out);
}

static bool known(const struct recorder *r, uint32_t name)
{
    return config_find_model_id(r->srv->cfg, record_model_name(r, name)) != CONFIG_NONE;
}

/* Where a line is being written; the room was reserved. */
static char *put(char *at, str s)
{
    memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static char *put_seconds(char *at, str key, msec ms)
{
    char text[SECONDS_MAX];
    return put(put(at, key), seconds_text(text, ms));
}

static char *put_number(char *at, str key, uint64_t v)
{
    char digits[20];
    size_t n = 0;
    do
        digits[n++] = (char)('0' + v % 10);
    while (v /= 10);
    at = put(at, key);
    while (n > 0)
        *at++ = digits[--n];
    return at;
}

#define LINE_MAX_LEN 640 /* more than all keys, numbers and paths together; beside the model's name */

/* By hand, not through json_out: it is written for every request. */
void record_line(const struct recorder *r, const struct record *k, msec t0, struct record_labels *labels, struct strbuf *out)
{
    if (!known(r, k->model))
        return; /* a model that is no more: nobody can replay it */
    str model = r->models[k->model].json;
    if (!strbuf_reserve(out, LINE_MAX_LEN + model.len))
        return;
    char *at = out->ptr + out->len;
    at = put_seconds(at, S("{\"kind\":\"req\",\"t\":"), k->arrived - t0);
    at = put_number(at, S(",\"id\":"), k->id);
    at = put(put(at, S(",\"model\":\"")), model);
    if (k->key)
        at = put_number(at, S("\",\"key\":\"k"), label(labels, k->key));
    if (k->session)
        at = put_number(at, S("\",\"session\":\"s"), label(labels, k->session));
    at = put(put(at, S("\",\"path\":\"")), record_path_text(k->path));
    at = put(put(at, S("\",\"class\":\"")), record_path_class(k->path));
    *at++ = '"';
    if (k->tokens_in >= 0)
        at = put_number(at, S(",\"tokens_in\":"), (uint64_t)k->tokens_in);
    if (k->stream)
        at = put(at, S(",\"stream\":true"));
    if (k->side)
        at = put(at, S(",\"side\":true"));
    if (k->deadline_s >= 0)
        at = put_seconds(at, S(",\"deadline\":"), (msec)(k->deadline_s * 1000));
    if (k->regranted != MSEC_NEVER) {
        at = put_seconds(at, S(",\"wait_s\":"), k->granted - k->arrived);
        at = put_seconds(at, S(",\"serve_s\":"), k->released - k->regranted);
    }
    if (k->fate == RECORD_LEFT)
        at = put_seconds(at, S(",\"cancel_t\":"), k->released - t0);
    at = put_number(at, S(",\"status\":"), k->status > 0 ? (uint64_t)k->status : 0);
    at = put(at, S("}\n"));
    strbuf_took(out, (size_t)(at - (out->ptr + out->len)));
}

void record_fact_line(const struct recorder *r, const struct record_fact *f, msec t0, struct strbuf *out)
{
    struct json_out o;
    if (f->model != RECORD_NAME_NONE && !known(r, f->model))
        return;
    str model = record_model_name(r, f->model);
    bool measure = f->kind == FACT_LOAD || f->kind == FACT_LOAD_FAILED || f->kind == FACT_STOP;
    begin(&o, out, measure ? "measure" : "fact");
    kseconds(&o, "t", f->at - t0);
    switch (f->kind) {
    case FACT_LOAD:
        json_out_kstr(&o, "model", model);
        kseconds(&o, "load_s", f->took);
        break;
    case FACT_LOAD_FAILED:
        json_out_kstr(&o, "model", model);
        kseconds(&o, "load_s", f->took);
        json_out_kbool(&o, "failed", true);
        break;
    case FACT_STOP:
        json_out_kstr(&o, "model", model);
        kseconds(&o, "stop_s", f->took);
        break;
    case FACT_CRASH: json_out_kstr(&o, "crash", model); break;
    case FACT_UNLOAD: json_out_kstr(&o, "unload", model); break;
    case FACT_PRELOAD: json_out_kstr(&o, "preload", model); break;
    case FACT_FOREIGN: json_out_kint(&o, "foreign_mb", f->took); break;
    }
    end(&o, out);
}

void record_trace(const struct recorder *r, msec since, size_t max, struct strbuf *out)
{
    uint64_t have = r->n < r->cap ? r->n : r->cap, skip = have > max ? have - max : 0;
    msec t0 = MSEC_NEVER;
    for (uint64_t i = skip; i < have; i++) {
        const struct record *k = &r->ring[(r->n - have + i) % r->cap];
        if (k->arrived >= since && k->arrived < t0)
            t0 = k->arrived;
    }
    if (t0 == MSEC_NEVER)
        t0 = since > 0 ? since : io_loop_now(r->srv->loop);
    struct record_labels *labels = record_labels_new();
    record_world_lines(r, t0, out);
    uint64_t facts = r->n_facts < RECORD_FACTS ? r->n_facts : RECORD_FACTS;
    for (uint64_t i = 0; i < facts; i++) {
        const struct record_fact *f = &r->facts[(r->n_facts - facts + i) % RECORD_FACTS];
        if (f->at >= t0)
            record_fact_line(r, f, t0, out);
    }
    for (uint64_t i = skip; i < have; i++) {
        const struct record *k = &r->ring[(r->n - have + i) % r->cap];
        if (k->arrived >= t0)
            record_line(r, k, t0, labels, out);
    }
    free(labels);
}
