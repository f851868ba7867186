#include "sim/trace_make.h"

#include "base/arena.h"
#include "base/mem.h"
#include "base/rand.h"
#include "codec/json.h"
#include "sim/trace_file.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

/* ---- made up ---- */

static const struct sim_synth_model manual[] = {
    { .id = { "big-a", 5 }, .load_s = 25, .vram_mb = 20000, .share = 1 },  { .id = { "big-b", 5 }, .load_s = 25, .vram_mb = 20000, .share = 1 },
    { .id = { "small-c", 7 }, .load_s = 8, .vram_mb = 8000, .share = 1 },  { .id = { "small-d", 7 }, .load_s = 8, .vram_mb = 8000, .share = 1 },
    { .id = { "embed", 5 }, .load_s = 3, .vram_mb = 2000, .share = 1 },
};
static const struct sim_synth_key people[] = { { .name = { "batch", 5 }, .share = 55, .serve_s = 10.5 },
                                               { .name = { "alice", 5 }, .share = 22.5, .serve_s = 4.5 },
                                               { .name = { "bob", 3 }, .share = 22.5, .serve_s = 4.5 } };

void sim_synth_init(struct sim_synth *s)
{
    *s = (struct sim_synth){ .requests = 400, .burst = 1, .gap_s = 6, .gpu_mb = 24000, .seed = 1, .limit = 100 };
}

static bool number(str text, double lo, double hi, double *ret)
{
    char buf[40], *end;
    snprintf(buf, sizeof(buf), STR_FMT, STR_ARG(text));
    *ret = strtod(buf, &end);
    return text.len > 0 && text.len < sizeof(buf) && *end == '\0' && *ret >= lo && *ret <= hi;
}

/* Up to four fields between colons; how many. */
static size_t fields(str text, str *ret)
{
    size_t n = 0;
    while (n < 4 && str_item(&text, ':', &ret[n]))
        n++;
    return text.len > 0 ? 0 : n;
}

int sim_synth_model(struct sim_synth *s, str text, struct error *e)
{
    str f[4];
    size_t n = fields(text, f);
    struct sim_synth_model m = { .vram_mb = 8000, .share = 1 };
    if (n < 2 || f[0].len == 0 || f[0].len > 200 || !number(f[1], 0, 1e5, &m.load_s) || (n > 2 && !number(f[2], 0, 1e9, &m.vram_mb)) ||
        (n > 3 && !number(f[3], 0, 1e9, &m.share)))
        return error_set(e, ERR_SYNTAX, "--model " STR_FMT ": write ID:LOAD_SECONDS[:MB[:SHARE]]", STR_ARG(text));
    if (s->n_models == SYNTH_MODELS)
        return error_set(e, ERR_LIMIT, "more than %d models", SYNTH_MODELS);
    m.id = f[0];
    s->models[s->n_models++] = m;
    return 0;
}

int sim_synth_key(struct sim_synth *s, str text, struct error *e)
{
    str f[4];
    size_t n = fields(text, f);
    struct sim_synth_key k = { .serve_s = 5 };
    if (n < 2 || n > 3 || f[0].len == 0 || f[0].len > 200 || !number(f[1], 0, 1e9, &k.share) || (n > 2 && !number(f[2], 0.001, 1e6, &k.serve_s)))
        return error_set(e, ERR_SYNTAX, "--key " STR_FMT ": write NAME:SHARE[:SECONDS_OF_SERVICE]", STR_ARG(text));
    if (s->n_keys == SYNTH_KEYS)
        return error_set(e, ERR_LIMIT, "more than %d keys", SYNTH_KEYS);
    k.name = f[0];
    s->keys[s->n_keys++] = k;
    return 0;
}

void sim_trace_make(struct strbuf *out, const struct sim_synth *given)
{
    struct sim_synth s = *given;
    if (s.n_models == 0 || s.models[0].id.len == 0) {
        s.n_models = s.n_models && s.n_models < ARRAY_LEN(manual) ? s.n_models : ARRAY_LEN(manual);
        memcpy(s.models, manual, s.n_models * sizeof(manual[0]));
    }
    if (s.n_keys == 0) {
        s.n_keys = ARRAY_LEN(people);
        memcpy(s.keys, people, sizeof(people));
    }
    struct rand_state r;
    rand_seed(&r, s.seed ? s.seed : 1);
    strbuf_add(out, S("{\"v\":1,\"kind\":\"world\","));
    if (s.gpu_mb > 0)
        strbuf_addf(out, "\"gpu\":[{\"total_mb\":%.10g}],", s.gpu_mb);
    strbuf_addf(out, "\"scheduler\":\"%s\",\"start\":\"%s\"}\n", s.scheduler ? s.scheduler : "fifo", s.start ? s.start : "2026-08-03T08:00:00+00:00");
    double models = 0, keys = 0, t = 0;
    for (size_t i = 0; i < s.n_models; i++) {
        models += s.models[i].share;
        strbuf_add(out, S("{\"kind\":\"model\",\"id\":\""));
        strbuf_add_json(out, s.models[i].id);
        strbuf_addf(out, "\",\"load_s\":%.10g,\"stop_s\":1,\"vram_mb\":%.10g,\"limit\":%u}\n", s.models[i].load_s, s.models[i].vram_mb, s.limit);
    }
    for (size_t i = 0; i < s.n_keys; i++)
        keys += s.keys[i].share;
    for (size_t i = 1; i <= s.requests; i++) {
        if (s.burst <= 1 || i % s.burst == 1)
            t += -log(1 - rand_unit(&r)) * s.gap_s * (double)(s.burst > 1 ? s.burst : 1);
        double at = rand_unit(&r) * models;
        size_t m = 0, k = 0;
        while (m + 1 < s.n_models && at >= s.models[m].share)
            at -= s.models[m++].share;
        at = rand_unit(&r) * keys;
        while (k + 1 < s.n_keys && at >= s.keys[k].share)
            at -= s.keys[k++].share;
        double least = s.keys[k].serve_s < 0.5 ? s.keys[k].serve_s / 2 : 0.5;
        double serve = least + rand_unit(&r) * 2 * fmax(s.keys[k].serve_s - least, 0);
        strbuf_addf(out, "{\"kind\":\"req\",\"t\":%.3f,\"id\":%zu,\"model\":\"", t, i);
        strbuf_add_json(out, s.models[m].id);
        strbuf_add(out, S("\",\"key\":\""));
        strbuf_add_json(out, s.keys[k].name);
        strbuf_addf(out, "\",\"path\":\"/v1/chat/completions\",\"tokens_in\":%u,\"tokens_out\":%u,\"serve_s\":%.3f}\n",
                    (unsigned)(10 + rand_below(&r, 2000)), (unsigned)(10 + rand_below(&r, 800)), serve);
    }
}

void sim_trace_synth(struct strbuf *out, size_t n, double gap_s, uint64_t seed, size_t models)
{
    struct sim_synth s;
    sim_synth_init(&s);
    s.requests = n;
    s.gap_s = gap_s;
    s.seed = seed;
    s.n_models = models;
    sim_trace_make(out, &s);
}

/* ---- from an activity list ---- */

struct row {
    double end, ms, in, out, in_speed, out_speed; /* seconds since 1970; < 0: not said */
    int64_t id, status;
    str model, path, key;
    double begin, serve;
};
struct rows {
    struct arena arena;
    struct row *at;
    size_t n, cap, skipped;
};

/* Seconds since 1970, or "2026-08-22T09:30:01.25-07:00" with a space or no zone, too. */
static bool time_of(str s, double *ret)
{
    uint64_t v[6];
    static const size_t at[] = { 0, 5, 8, 11, 14, 17 }, len[] = { 4, 2, 2, 2, 2, 2 };
    if (number(s, 0, 1e18, ret)) {
        while (*ret > 1e11) /* milli, micro, nanoseconds */
            *ret /= 1000;
        return true;
    }
    if (s.len < 19 || s.ptr[4] != '-' || s.ptr[7] != '-' || s.ptr[13] != ':' || s.ptr[16] != ':')
        return false;
    for (size_t i = 0; i < 6; i++)
        if (!str_to_u64(str_sub(s, at[i], len[i]), &v[i]))
            return false;
    if (v[0] < 1970 || v[0] > 9999 || v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > 31 || v[3] > 23 || v[4] > 59 || v[5] > 60)
        return false;
    struct tm tm = { .tm_year = (int)v[0] - 1900, .tm_mon = (int)v[1] - 1, .tm_mday = (int)v[2],
                     .tm_hour = (int)v[3], .tm_min = (int)v[4], .tm_sec = (int)v[5] };
    double t = (double)timegm(&tm), part = 0.1;
    size_t i = 19;
    for (i += i < s.len && s.ptr[i] == '.'; i < s.len && chr_digit(s.ptr[i]); i++, part /= 10)
        t += part * (s.ptr[i] - '0');
    uint64_t h, m;
    str zone = str_trim(str_sub(s, i, s.len - i));
    if (zone.len >= 6 && (zone.ptr[0] == '+' || zone.ptr[0] == '-') && str_to_u64(str_sub(zone, 1, 2), &h) && str_to_u64(str_sub(zone, 4, 2), &m))
        t -= (double)(h * 3600 + m * 60) * (zone.ptr[0] == '-' ? -1 : 1);
    else if (zone.len > 0 && !str_eq(zone, S("Z")))
        return false;
    *ret = t;
    return true;
}

static int add_row(struct rows *l, struct row r, str when, struct error *e)
{
    if (r.model.len == 0)
        return error_set(e, ERR_SYNTAX, "a row without a model: leave it out, or name the model");
    if (!time_of(str_trim(when), &r.end))
        return error_set(e, ERR_SYNTAX, "timestamp \"%.*s\": write 2026-08-22T09:30:01+02:00, or seconds since 1970",
                         (int)(when.len < 60 ? when.len : 60), when.ptr ? when.ptr : "");
    if (!(r.ms >= 0 && r.ms < 1e12))
        return error_set(e, ERR_SYNTAX, "the duration is no number of milliseconds from 0 on");
    if (r.status >= 400 && r.status != 499) { /* refused, or broken by something that a replay does not know */
        l->skipped++;
        return 0;
    }
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 256;
        l->at = mem_resize(l->at, l->cap, sizeof(*l->at));
    }
    r.model = arena_dup(&l->arena, r.model);
    r.path = arena_dup(&l->arena, r.path);
    r.key = arena_dup(&l->arena, r.key);
    r.begin = r.end - r.ms / 1000;
    l->at[l->n++] = r;
    return 0;
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

enum column { COL_TIME, COL_MODEL, COL_DURATION, COL_IN, COL_OUT, COL_KEY, COL_IN_SPEED, COL_OUT_SPEED, COL_STATUS, COL_PATH, COLS };

static int column_of(str name)
{
    static const struct {
        const char *name;
        enum column col;
    } known[] = { { "timestamp", COL_TIME }, { "time", COL_TIME }, { "model", COL_MODEL }, { "duration", COL_DURATION },
                  { "duration_ms", COL_DURATION }, { "prompt", COL_IN }, { "input_tokens", COL_IN }, { "tokens_in", COL_IN },
                  { "generated", COL_OUT }, { "output_tokens", COL_OUT }, { "tokens_out", COL_OUT }, { "key", COL_KEY },
                  { "prompt_per_second", COL_IN_SPEED }, { "prompt_speed", COL_IN_SPEED }, { "tokens_per_second", COL_OUT_SPEED },
                  { "gen_speed", COL_OUT_SPEED }, { "resp_status_code", COL_STATUS }, { "status", COL_STATUS }, { "req_path", COL_PATH },
                  { "path", COL_PATH } };
    name = str_trim(name);
    if (str_starts(name, S("tokens.")))
        name = str_sub(name, 7, name.len - 7);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_ieq(name, str_c(known[i].name)))
            return (int)known[i].col;
    return -1;
}

static double value(const char *text)
{
    double v;
    return number(str_trim(str_c(text)), -1e18, 1e18, &v) ? v : -1;
}

static int read_csv(str csv, struct rows *l, struct error *e)
{
    int cols[64];
    size_t n_cols = 0, n = 1;
    char field[300], v[COLS][300];
    str line, rest = csv;
    bool have[COLS] = { false };
    str_cut(rest, '\n', &line, &rest);
    line = str_trim(line);
    while (n_cols < ARRAY_LEN(cols) && csv_field(&line, field, sizeof(field))) {
        cols[n_cols] = column_of(str_c(field));
        if (cols[n_cols] >= 0)
            have[cols[n_cols]] = true;
        n_cols++;
    }
    if (!have[COL_TIME] || !have[COL_MODEL] || !have[COL_DURATION])
        return error_set(e, ERR_SYNTAX, "1: the first line must name at least the columns timestamp, model and duration_ms");
    while (rest.len > 0) {
        str_cut(rest, '\n', &line, &rest);
        line = str_trim(line);
        n++;
        if (line.len == 0)
            continue;
        memset(v, 0, sizeof(v));
        for (size_t i = 0; i < n_cols && csv_field(&line, field, sizeof(field)); i++)
            if (cols[i] >= 0)
                snprintf(v[cols[i]], sizeof(v[0]), "%s", field);
        double ms = value(v[COL_DURATION]);
        struct row r = { .model = str_c(v[COL_MODEL]), .path = str_c(v[COL_PATH]), .key = str_c(v[COL_KEY]), .in = value(v[COL_IN]),
                         .out = value(v[COL_OUT]), .in_speed = value(v[COL_IN_SPEED]), .out_speed = value(v[COL_OUT_SPEED]),
                         .status = (int64_t)value(v[COL_STATUS]), .ms = ms > 1e9 ? ms / 1e6 : ms /* nanoseconds */ };
        if (add_row(l, r, str_c(v[COL_TIME]), e))
            return error_wrap(e, "%zu", n);
    }
    return 0;
}

static double num_of(json v, json tokens, const char *name)
{
    json t = json_get(tokens, str_c(name));
    return json_kind(t) == JSON_NUMBER ? json_num(t, -1) : json_num(json_get(v, str_c(name)), -1);
}

static int json_row(struct rows *l, json v, struct error *e)
{
    json tokens = json_get(v, S("tokens")), when = json_get(v, S("timestamp"));
    char text[40] = "";
    if (json_kind(when) == JSON_NUMBER)
        snprintf(text, sizeof(text), "%.3f", json_num(when, 0));
    struct row r = { .model = json_str(json_get(v, S("model"))), .path = json_str(json_get(v, S("req_path"))), .key = json_str(json_get(v, S("key"))),
                     .in = num_of(v, tokens, "input_tokens"), .out = num_of(v, tokens, "output_tokens"),
                     .in_speed = num_of(v, tokens, "prompt_per_second"), .out_speed = num_of(v, tokens, "tokens_per_second"),
                     .ms = json_num(json_get(v, S("duration_ms")), -1), .status = (int64_t)json_num(json_get(v, S("resp_status_code")), 200) };
    return add_row(l, r, text[0] ? str_c(text) : json_str(when), e);
}

static int read_json(str text, struct rows *l, struct error *e)
{
    static const struct json_caps caps = { .bytes = 1u << 30, .values = 50000000, .depth = 64 };
    struct arena a;
    size_t n = 0;
    json v;
    arena_init(&a, (size_t)2 << 30);
    int rc = json_parse(&a, text, &caps, &v, e);
    if (!rc) {
        json list = json_kind(v) == JSON_ARRAY ? v : json_get(v, S("data"));
        if (json_kind(list) != JSON_ARRAY && json_kind(json_get(v, S("model"))) == JSON_STRING)
            rc = json_row(l, v, e);
        else if (json_kind(list) != JSON_ARRAY)
            rc = error_set(e, ERR_SYNTAX, "1: neither an array of rows nor an object with data: save what /api/metrics/activity?limit=999 answers");
        for (json i = json_first(list); !rc && json_kind(i) != JSON_NONE; i = json_next(i)) {
            n++;
            rc = json_row(l, i, e);
            if (rc)
                error_wrap(e, "row %zu", n);
        }
        arena_fini(&a);
        return rc;
    }
    for (rc = 0; !rc && text.len > 0;) { /* one object a line, then */
        str line;
        str_cut(text, '\n', &line, &text);
        n++;
        if (str_trim(line).len == 0)
            continue;
        arena_fini(&a);
        arena_init(&a, 16u << 20);
        rc = json_parse(&a, line, &json_caps_small, &v, e);
        rc = rc ? rc : json_row(l, v, e);
        if (rc)
            error_wrap(e, "%zu", n);
    }
    arena_fini(&a);
    return rc;
}

static int by_begin(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int by_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof(*v), by_double);
    return v[n / 2];
}

/* Seconds that the first request after another model's took longer than those that followed; < 0: cannot be told. */
static double load_of(const struct rows *l, str model, double *scratch)
{
    size_t n_first = 0, n_next = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->at[i];
        if (!str_eq(r->model, model))
            continue;
        bool first = i == 0 || !str_eq(l->at[i - 1].model, model);
        if (first)
            scratch[n_first++] = r->ms / 1000;
        else
            scratch[l->n - ++n_next] = r->ms / 1000;
    }
    if (n_first < 3 || n_next < 3)
        return -1;
    double more = median(scratch, n_first) - median(scratch + l->n - n_next, n_next);
    return more < 0.5 ? -1 : more > 600 ? 600 : more;
}

static int write_trace(struct rows *l, struct sim_import *conf, struct strbuf *out, struct error *e)
{
    qsort(l->at, l->n, sizeof(*l->at), by_begin);
    if (l->at[l->n - 1].begin - l->at[0].begin > 1e9)
        return error_set(e, ERR_SYNTAX, " the first and the last row are more than thirty years apart: is a timestamp wrong?");
    double *scratch = mem_calloc(l->n + 1, sizeof(*scratch));
    double *loads = mem_calloc(l->n + 1, sizeof(*loads));
    strbuf_addf(out, "{\"v\":1,\"kind\":\"world\",\"scheduler\":\"%s\"}\n", conf->scheduler ? conf->scheduler : "serial");
    for (size_t i = 0; i < l->n; i++) {
        size_t k = 0;
        while (k < i && !str_eq(l->at[k].model, l->at[i].model))
            k++;
        if (k < i) {
            loads[i] = loads[k];
            continue;
        }
        double s = load_of(l, l->at[i].model, scratch);
        conf->guessed += s < 0;
        loads[i] = s < 0 ? 0 : s; /* a guess explains nothing that was measured */
        strbuf_add(out, S("{\"kind\":\"model\",\"id\":\""));
        strbuf_add_json(out, l->at[i].model);
        strbuf_addf(out, "\",\"load_s\":%.3f,\"stop_s\":1}\n", s < 0 ? conf->load_s : s);
    }
    for (size_t i = 0; i < l->n; i++) {
        const struct row *r = &l->at[i];
        bool first = i == 0 || !str_eq(l->at[i - 1].model, r->model);
        double serve = r->ms / 1000 - (first ? loads[i] : 0);
        if (r->out_speed > 0 && r->out >= 0)
            serve = fmin(r->ms / 1000, r->out / r->out_speed + (r->in_speed > 0 && r->in > 0 ? r->in / r->in_speed : 0));
        strbuf_addf(out, "{\"kind\":\"req\",\"t\":%.3f,\"id\":%zu,\"model\":\"", r->begin - l->at[0].begin, i + 1);
        strbuf_add_json(out, r->model);
        strbuf_addc(out, '"');
        if (r->path.len > 0 && r->path.ptr[0] == '/') {
            strbuf_add(out, S(",\"path\":\""));
            strbuf_add_json(out, r->path);
            strbuf_addc(out, '"');
        }
        if (r->in > 0)
            strbuf_addf(out, ",\"tokens_in\":%.0f", fmin(r->in, 1e12));
        if (r->out > 0)
            strbuf_addf(out, ",\"tokens_out\":%.0f", fmin(r->out, 1e12));
        strbuf_addf(out, ",\"serve_s\":%.3f", fmax(serve, 0.05));
        if (r->key.len > 0) { /* a number instead of the key itself */
            size_t k = 0, number_of = 1;
            for (; !str_eq(l->at[k].key, r->key); k++) {
                size_t seen = 0;
                while (seen < k && !str_eq(l->at[seen].key, l->at[k].key))
                    seen++;
                number_of += seen == k && l->at[k].key.len > 0;
            }
            strbuf_addf(out, ",\"key\":\"k%zu\"", number_of);
        }
        strbuf_add(out, S("}\n"));
    }
    free(scratch);
    free(loads);
    return 0;
}

int sim_trace_import_list(str text, struct sim_import *conf, struct strbuf *out, struct error *e)
{
    struct rows l = { 0 };
    arena_init(&l.arena, 1u << 30);
    str body = str_trim(text);
    bool is_json = body.len > 0 && (body.ptr[0] == '{' || body.ptr[0] == '[');
    int rc = is_json ? read_json(text, &l, e) : read_csv(text, &l, e);
    conf->rows = l.n;
    conf->skipped = l.skipped;
    if (!rc && l.n == 0)
        rc = error_set(e, ERR_SYNTAX, " not one request that was served");
    if (!rc)
        rc = write_trace(&l, conf, out, e);
    free(l.at);
    arena_fini(&l.arena);
    return rc;
}

int sim_trace_import(str csv, struct strbuf *out, struct error *e)
{
    struct sim_import conf = { .load_s = 15 };
    return sim_trace_import_list(csv, &conf, out, e);
}
