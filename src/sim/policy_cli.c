#include "sim/policy_cli.h"

#include "base/rand.h"
#include "sim/rehearse.h"
#include "sim/trace_file.h"

#include <errno.h>
#include <stdio.h>

#define FILES_MAX 16

static int usage(void)
{
    fputs("usage: luaswap check FILE.lua [--settings JSON] [--json]\n"
          "       luaswap simulate TRACE.jsonl [--policy FILE]... [--compare FILE]... [--set KEY=VALUE]...\n"
          "               [--scheduler serial|fifo] [--seed N] [--until SECONDS] [--stretch K] [--chaos] [--log] [--json]\n"
          "       luaswap policy api [--json | --luacats | --markdown | --luacheck]\n"
          "       luaswap policy new NAME\n"
          "       luaswap trace synth [--requests N] [--gap SECONDS] [--models N] [--seed N]\n"
          "       luaswap trace import ACTIVITY.csv\n",
          stderr);
    return 1;
}

static int out(struct strbuf *b)
{
    bool ok = !b->full && (b->len == 0 || fwrite(b->ptr, 1, b->len, stdout) == b->len) && fflush(stdout) == 0;
    strbuf_fini(b);
    return ok ? 0 : 2;
}

static struct config_policy file_conf(const char *path, const char *settings)
{
    return (struct config_policy){ .file = str_c(path), .settings_json = str_c(settings), .memory_mb = 16, .instructions = 250000,
                                   .wall_ms = 50, .starve_after_ms = 600000, .hold_limit_ms = 60000 };
}

static bool number_arg(const char *text, double lo, double hi, double *ret)
{
    char *end;
    *ret = strtod(text, &end);
    return end != text && *end == '\0' && *ret >= lo && *ret <= hi;
}

/* ---- simulate ---- */

struct simulate {
    const char *trace;
    struct config_policy policy[FILES_MAX];
    size_t n_policy;
    const char *compare[FILES_MAX];
    size_t n_compare;
    struct strbuf settings;
    double seed, until, stretch;
    bool chaos, log, json, kind_given;
    enum sched_kind kind;
};

static void add_setting(struct strbuf *b, const char *text)
{
    str key, value;
    if (!str_cut(str_c(text), '=', &key, &value))
        value = S("true");
    double unused;
    strbuf_add(b, b->len > 1 ? S(",\"") : S("\""));
    strbuf_add_json(b, key);
    strbuf_add(b, S("\":"));
    bool bare = number_arg(value.ptr ? value.ptr : "", -1e300, 1e300, &unused) || str_eq(value, S("true")) ||
                str_eq(value, S("false")) || (value.len && (value.ptr[0] == '[' || value.ptr[0] == '{'));
    if (!bare)
        strbuf_addc(b, '"');
    if (bare)
        strbuf_add(b, value);
    else
        strbuf_add_json(b, value);
    if (!bare)
        strbuf_addc(b, '"');
}

static bool simulate_args(struct simulate *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *v = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes = true;
        if (strcmp(a, "--policy") == 0 && v && s->n_policy < FILES_MAX)
            s->policy[s->n_policy++] = file_conf(v, "");
        else if (strcmp(a, "--compare") == 0 && v && s->n_compare < FILES_MAX)
            s->compare[s->n_compare++] = v;
        else if (strcmp(a, "--set") == 0 && v)
            add_setting(&s->settings, v);
        else if (strcmp(a, "--seed") == 0 && v && number_arg(v, 0, 9e15, &s->seed))
            ;
        else if (strcmp(a, "--until") == 0 && v && number_arg(v, 0, 1e9, &s->until))
            ;
        else if (strcmp(a, "--stretch") == 0 && v && number_arg(v, 0, 100, &s->stretch))
            ;
        else if (strcmp(a, "--scheduler") == 0 && v && sched_kind_of(str_c(v), &s->kind))
            s->kind_given = true;
        else {
            takes = false;
            if (strcmp(a, "--chaos") == 0)
                s->chaos = true;
            else if (strcmp(a, "--log") == 0)
                s->log = true;
            else if (strcmp(a, "--json") == 0)
                s->json = true;
            else if (a[0] != '-' && !s->trace)
                s->trace = a;
            else
                return false;
        }
        i += takes;
    }
    return s->trace != NULL;
}

static void say_log(void *ud, const char *policy, const char *text)
{
    fprintf(stderr, "%s: %s\n", policy, text);
}

/* Failing loads, stuck stops, crashes and late cancels at seeded places. */
static void add_chaos(struct sim_trace *t, uint64_t seed)
{
    struct rand_state r;
    rand_seed(&r, seed ? seed : 1);
    for (size_t i = 0; i < t->n_models; i++) {
        t->models[i].fail = (unsigned)rand_below(&r, 60);
        t->models[i].stuck = (unsigned)rand_below(&r, 20);
        t->models[i].ignore_term = (unsigned)rand_below(&r, 200);
    }
    for (size_t i = 0; i < t->n_requests; i++)
        if (t->requests[i].q.cancel_ms < 0 && rand_below(&r, 25) == 0)
            t->requests[i].q.cancel_ms = (msec)rand_below(&r, 60000);
    size_t crashes = t->n_requests / 50 + 1;
    t->facts = mem_resize(t->facts, t->n_facts + crashes, sizeof(*t->facts));
    msec span = t->n_requests ? t->requests[t->n_requests - 1].at : 0;
    for (size_t i = 0; i < crashes; i++)
        t->facts[t->n_facts++] = (struct sim_trace_fact){ .at = (msec)rand_below(&r, (uint64_t)span + 1), .kind = 'c',
                                                          .model = t->models[rand_below(&r, t->n_models)].id };
}

static void row_json(struct strbuf *b, const char *name, const struct replay_result *r)
{
    strbuf_addf(b, "{\"kind\":\"run\",\"name\":\"");
    strbuf_add_json(b, str_c(name));
    strbuf_addf(b, "\",\"requests\":%zu,\"served\":%zu,\"rejected\":%zu,\"cancelled\":%zu,\"unfinished\":%zu,\"loads\":%zu,"
                   "\"stops\":%zu,\"load_s\":%.3f,\"wait_s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"mean\":%.3f},",
                r->requests, r->served, r->rejected, r->cancelled, r->failed, r->loads, r->evictions, r->load_s, r->wait_s.p50,
                r->wait_s.p90, r->wait_s.p99, r->wait_s.max, r->wait_s.mean);
    const struct policies_stats *p = &r->policy;
    strbuf_addf(b, "\"starvation_s\":%.3f,\"jain_keys\":%.4f,\"jain_models\":%.4f,\"decisions\":{\"policy\":%llu,\"builtin\":%llu,"
                   "\"fallback\":%llu,\"override\":%llu},\"invalid\":%llu,\"errors\":%llu,\"budget\":%llu,\"ejections\":%llu,"
                   "\"instructions_max\":%llu}\n",
                r->starvation_s, r->jain_keys, r->jain_models, (unsigned long long)p->by_policy, (unsigned long long)p->by_builtin,
                (unsigned long long)p->by_fallback, (unsigned long long)p->overrides, (unsigned long long)p->invalid,
                (unsigned long long)p->errors, (unsigned long long)(p->budget + p->memory), (unsigned long long)p->ejections,
                (unsigned long long)p->instructions_max);
}

static void row_text(struct strbuf *b, const char *name, const struct replay_result *r)
{
    const struct policies_stats *p = &r->policy;
    strbuf_addf(b, "%-28.28s %7zu %6zu %6zu %6zu %9.0f %8.1f %8.1f %8.1f %8.1f %6.3f %6.3f\n", name, r->served, r->rejected,
                r->cancelled, r->loads, r->load_s, r->wait_s.p50, r->wait_s.p90, r->wait_s.p99, r->starvation_s, r->jain_keys,
                r->jain_models);
    if (p->calls)
        strbuf_addf(b, "    decisions: policy %llu, built-in %llu, fallback %llu, forced %llu; invalid %llu, errors %llu, over budget %llu, "
                       "ejected %llu; at most %llu instructions\n",
                    (unsigned long long)p->by_policy, (unsigned long long)p->by_builtin, (unsigned long long)p->by_fallback,
                    (unsigned long long)p->overrides, (unsigned long long)p->invalid, (unsigned long long)p->errors,
                    (unsigned long long)(p->budget + p->memory), (unsigned long long)p->ejections,
                    (unsigned long long)p->instructions_max);
}

static int simulate_one(const struct simulate *s, const struct sim_trace *t, const char *name, const struct config_policy *files,
                        size_t n, struct replay_result *ret, struct strbuf *b)
{
    struct replay_conf c = { .kind = s->kind_given ? s->kind : t->kind, .serial_reorder = t->reorder || n > 0,
                             .seed = s->seed > 0 ? (uint64_t)s->seed : 1, .files = files, .n_files = n,
                             .pairs = POLICY_PAIRS_SORTED, .keep_log = s->log, .concurrency_k = s->stretch, .log = say_log };
    struct replay *r;
    struct error e = { 0 };
    int rc = sim_trace_replay(t, &c, &r, &e);
    if (!rc) {
        rc = replay_run(r, s->until > 0 ? (msec)(s->until * 1000) : SIM_FOREVER, &e);
        replay_result(r, ret);
        if (s->log) {
            strbuf_addf(b, "# %s\n", name);
            strbuf_add(b, replay_log(r));
        }
        replay_free(r);
    }
    if (rc) {
        fprintf(stderr, "luaswap simulate: %s: %s\n", name, e.msg);
        return 2;
    }
    if (s->json)
        row_json(b, name, ret);
    else
        row_text(b, name, ret);
    return 0;
}

static int cmd_simulate(int argc, char **argv)
{
    struct simulate s = { .seed = 1 };
    strbuf_init(&s.settings, 1u << 16);
    strbuf_addc(&s.settings, '{');
    if (!simulate_args(&s, argc, argv)) {
        strbuf_fini(&s.settings);
        return usage();
    }
    strbuf_addc(&s.settings, '}');
    struct sim_trace t;
    struct error e = { 0 };
    if (sim_trace_read(s.trace, &t, &e) < 0) {
        fprintf(stderr, "luaswap simulate: %s\n", e.msg);
        strbuf_fini(&s.settings);
        return 2;
    }
    if (s.chaos)
        add_chaos(&t, (uint64_t)s.seed);
    struct strbuf b = STRBUF((size_t)1 << 30);
    const char *kind = sched_kind_name(s.kind_given ? s.kind : t.kind);
    if (!s.json)
        strbuf_addf(&b, "%zu requests, %zu models, built-in %s, seed %.0f; service times as recorded%s, load times per model: "
                        "a model of the day, not a promise\n%-28s %7s %6s %6s %6s %9s %8s %8s %8s %8s %6s %6s\n",
                    t.n_requests, t.n_models, kind, s.seed, s.stretch > 0 ? " and stretched" : "", "", "served", "refus.",
                    "left", "loads", "loading_s", "wait p50", "p90", "p99", "longest", "keys", "models");
    struct replay_result first, r;
    int rc = simulate_one(&s, &t, "built-in", NULL, 0, &first, &b);
    r = first;
    if (!rc && s.n_policy > 0) {
        s.policy[0].settings_json = strbuf_str(&s.settings);
        for (size_t i = 1; i < s.n_policy; i++)
            s.policy[i].settings_json = S("{}");
        char name[200] = "";
        for (size_t i = 0; i < s.n_policy; i++) {
            size_t len = strlen(name);
            const char *base = strrchr(s.policy[i].file.ptr, '/');
            snprintf(name + len, sizeof(name) - len, "%s%s", i ? "+" : "", base ? base + 1 : s.policy[i].file.ptr);
        }
        rc = simulate_one(&s, &t, name, s.policy, s.n_policy, &r, &b);
    }
    for (size_t i = 0; !rc && i < s.n_compare; i++) {
        struct config_policy one = file_conf(s.compare[i], "{}");
        struct replay_result other;
        const char *base = strrchr(s.compare[i], '/');
        rc = simulate_one(&s, &t, base ? base + 1 : s.compare[i], &one, 1, &other, &b);
    }
    if (!rc && s.json) /* smaller is better: mean wait and loading against the built-in */
        strbuf_addf(&b, "{\"kind\":\"score\",\"score\":%.6f}\n",
                    (r.wait_s.mean + 1) / (first.wait_s.mean + 1) + 0.5 * (r.load_s + 1) / (first.load_s + 1) +
                        (double)(r.failed + r.policy.ejections));
    sim_trace_fini(&t);
    strbuf_fini(&s.settings);
    int wrote = out(&b);
    return rc ? rc : wrote;
}

/* ---- check ---- */

struct report {
    struct strbuf b;
    bool json;
    int worst; /* 0 ok, 1 warn, 2 error */
    size_t n;
};

static void line(struct report *r, int level, const char *what, const char *text)
{
    static const char *const names[] = { "ok", "warn", "error" };
    if (level > r->worst)
        r->worst = level;
    if (r->json) {
        strbuf_addf(&r->b, "%s{\"level\":\"%s\",\"check\":\"%s\",\"text\":\"", r->n++ ? "," : "", names[level], what);
        strbuf_add_json(&r->b, str_c(text));
        strbuf_add(&r->b, S("\"}"));
    } else {
        strbuf_addf(&r->b, "%-5s %-12s %s\n", names[level], what, text);
    }
}

static void check_log(void *ud, const char *policy, const char *text)
{
    struct report *r = ud;
    if (strncmp(text, "load: ", 6) != 0)
        line(r, 1, "load", text);
}

static bool check_load(struct report *r, const struct config_policy *f)
{
    struct replay_model m = { .id = S("a"), .load_s = 1, .group_swap = true, .group_exclusive = true };
    struct replay_conf c = { .kind = SCHED_KIND_FIFO, .models = &m, .n_models = 1, .gpu_mb = 24000, .seed = 1, .files = f, .n_files = 1,
                             .log = check_log, .log_ud = r };
    struct replay *w;
    struct error e = { 0 };
    if (replay_new(&c, &w, &e) < 0) {
        line(r, 2, "load", e.msg);
        return false;
    }
    struct strbuf s = STRBUF(1u << 20);
    policies_status_json(replay_policies(w), 0, &s);
    str text = strbuf_str(&s);
    ptrdiff_t at = str_find(text, S("\"memory_kb\":"));
    char msg[120];
    uint64_t kb = 0;
    str num = STR_NONE, rest;
    if (at >= 0 && str_cut(str_sub(text, (size_t)at + 12, 20), ',', &num, &rest))
        str_to_u64(num, &kb);
    snprintf(msg, sizeof(msg), "loads, settings and hooks are well-formed; %llu KB of memory", (unsigned long long)kb);
    line(r, kb > 2048 ? 1 : 0, "load", kb > 2048 ? "more than 2 MB of live data after loading: collecting it takes milliseconds" : msg);
    bool active = str_find(text, S("\"state\":\"active\"")) >= 0;
    if (!active)
        line(r, 2, "on_start", "on_start failed");
    strbuf_fini(&s);
    replay_free(w);
    return active;
}

static void check_rehearse(struct report *r, const struct config_policy *f)
{
    char msg[400];
    for (unsigned w = 0; w < REHEARSE_WORLDS; w++) {
        struct rehearsal one, two;
        struct strbuf la = STRBUF(1u << 26), lb = STRBUF(1u << 26);
        struct error e = { 0 };
        if (rehearse_world(f, w, POLICY_PAIRS_SORTED, &one, &la, &e) < 0 || rehearse_world(f, w, POLICY_PAIRS_REVERSED, &two, &lb, &e) < 0) {
            line(r, 2, "rehearsal", e.msg);
        } else {
            const struct policies_stats *s = &one.result.policy;
            if (s->errors + s->budget + s->memory + s->invalid + s->ejections > 0) {
                snprintf(msg, sizeof(msg), "trace %u: %s", w + 1, one.first_error[0] ? one.first_error : "an answer broke a rule");
                line(r, 2, "rehearsal", msg);
            } else {
                snprintf(msg, sizeof(msg), "trace %u: %zu served, %zu loads, wait p99 %.0f s, at most %llu instructions a call", w + 1,
                         one.result.served, one.result.loads, one.result.wait_s.p99, (unsigned long long)s->instructions_max);
                line(r, s->instructions_max > 100000 ? 1 : 0, "rehearsal", msg);
            }
            if (!str_eq(strbuf_str(&la), strbuf_str(&lb))) {
                snprintf(msg, sizeof(msg), "trace %u: decisions depend on the order of pairs(); use luaswap.sorted_pairs", w + 1);
                line(r, 1, "order", msg);
            }
        }
        strbuf_fini(&la);
        strbuf_fini(&lb);
    }
}

/* A thousand requests in the line: what does one decision cost? */
static void check_deep(struct report *r, const struct config_policy *f)
{
    struct replay_model m[7];
    static const char *const ids[] = { "a", "b", "c", "d", "e", "f", "g" };
    for (size_t i = 0; i < 7; i++)
        m[i] = (struct replay_model){ .id = str_c(ids[i]), .load_s = 30, .stop_s = 1, .vram_mb = 12000, .limit = 100000 };
    struct replay_conf c = { .kind = SCHED_KIND_FIFO, .models = m, .n_models = 7, .gpu_mb = 24000, .seed = 1, .files = f, .n_files = 1 };
    struct replay *w;
    struct error e = { 0 };
    if (replay_new(&c, &w, &e) < 0)
        return;
    for (size_t i = 0; i < 1000; i++) {
        struct replay_request q = { .model = m[i % 7].id, .key = str_c(ids[i % 5]), .tokens_in = 100, .tokens_out = 100, .serve_ms = 1000,
                                    .cancel_ms = -1, .deadline_s = -1 };
        replay_add(w, (msec)i, &q);
    }
    struct replay_result res;
    int rc = replay_run(w, 120000, &e);
    replay_result(w, &res);
    char msg[160];
    snprintf(msg, sizeof(msg), "1,000 requests deep: at most %llu instructions in one call (limit %lld)",
             (unsigned long long)res.policy.instructions_max, (long long)f->instructions);
    line(r, rc ? 2 : res.policy.budget ? 2 : res.policy.instructions_max > (uint64_t)f->instructions / 2 ? 1 : 0, "cost", rc ? e.msg : msg);
    replay_free(w);
}

static int cmd_check(int argc, char **argv)
{
    const char *path = NULL, *settings = "{}";
    struct report r = { .b = STRBUF(4u << 20) };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            r.json = true;
        else if (strcmp(argv[i], "--settings") == 0 && i + 1 < argc)
            settings = argv[++i];
        else if (argv[i][0] != '-' && !path)
            path = argv[i];
        else
            return usage();
    }
    if (!path)
        return usage();
    struct config_policy f = file_conf(path, settings);
    if (r.json)
        strbuf_add(&r.b, S("{\"checks\":["));
    if (check_load(&r, &f)) {
        check_rehearse(&r, &f);
        check_deep(&r, &f);
    }
    static const char *const verdict[] = { "ok", "warn", "error" };
    if (r.json)
        strbuf_addf(&r.b, "],\"verdict\":\"%s\"}\n", verdict[r.worst]);
    else
        strbuf_addf(&r.b, "%s: %s\n", path, verdict[r.worst]);
    int worst = r.worst;
    return out(&r.b) ? 2 : worst;
}

/* ---- policy ---- */

static int write_new(const char *path, const char *text)
{
    FILE *f = fopen(path, "wx");
    if (!f) {
        fprintf(stderr, "luaswap policy new: %s: %s\n", path, strerror(errno));
        return 2;
    }
    bool ok = fputs(text, f) >= 0;
    ok = fclose(f) == 0 && ok;
    printf("wrote %s\n", path);
    return ok ? 0 : 2;
}

static int policy_new_files(const char *name)
{
    size_t len = strlen(name);
    bool good = len >= 1 && len <= 32;
    for (size_t i = 0; i < len; i++)
        good = good && ((name[i] >= 'a' && name[i] <= 'z') || chr_digit(name[i]) || name[i] == '-');
    if (!good) {
        fputs("luaswap policy new: a name is 1 to 32 of a-z, 0-9 and '-'\n", stderr);
        return 2;
    }
    struct strbuf text = STRBUF(1u << 16);
    char path[120];
    strbuf_addf(&text,
                "-- %s: say in a line what it does and when it helps.\nlocal C = luaswap.config\n\nreturn {\n  api = 1,\n  name = '%s',\n"
                "  version = '0.1.0',\n  settings = {\n    max_wait = { type = 'number', default = 45, min = 0, unit = 's', doc = 'longest wait' },\n"
                "  },\n\n  -- Who is next? nil: the built-in decides.\n  pick_next = function(q)\n"
                "    local late = q:first(function(r) return r.age > C.max_wait end)\n    return late or q:first 'ready' or q:first()\n  end,\n}\n",
                name, name);
    snprintf(path, sizeof(path), "%s.lua", name);
    int rc = write_new(path, text.ptr);
    strbuf_clear(&text);
    strbuf_addf(&text,
                "-- %s_spec.lua: run with busted.\nlocal lab = require 'luaswap.lab'\nlocal world = { models = { a = { load_s = 10, limit = 100 }, "
                "b = { load_s = 5, limit = 100 } } }\n\ndescribe('%s', function()\n  it('serves everybody', function()\n"
                "    local w = lab.new(world, '%s.lua')\n    lab.play(w, lab.traffic(world, 50, 4))\n    assert.equal(50, w.served)\n"
                "    assert.equal(0, w.errors + w.invalid)\n  end)\n\n  it('takes the one that waits too long', function()\n"
                "    local p = lab.load('%s.lua', { max_wait = 10 })\n"
                "    local q = lab.queue { { model = 'a', ready = true, age = 1 }, { model = 'b', age = 11 } }\n"
                "    assert.equal('b', p.pick_next(q).model)\n  end)\nend)\n",
                name, name, name, name);
    snprintf(path, sizeof(path), "%s_spec.lua", name);
    rc = rc ? rc : write_new(path, text.ptr);
    strbuf_clear(&text);
    policy_api_luacheck(&text);
    strbuf_add(&text, S("std = 'lua54+luaswap'\nfiles['*_spec.lua'] = { std = 'lua54+busted' }\n"));
    FILE *old = fopen(".luacheckrc", "rb");
    if (old)
        fclose(old);
    else
        rc = rc ? rc : write_new(".luacheckrc", text.ptr);
    strbuf_clear(&text);
    policy_api_luacats(&text);
    FILE *meta = fopen("luaswap.meta.lua", "rb");
    if (meta)
        fclose(meta);
    else
        rc = rc ? rc : write_new("luaswap.meta.lua", text.ptr);
    old = fopen(".luarc.json", "rb");
    if (old)
        fclose(old);
    else
        rc = rc ? rc : write_new(".luarc.json", "{ \"runtime.version\": \"Lua 5.4\", \"workspace.library\": [ \"luaswap.meta.lua\" ] }\n");
    strbuf_fini(&text);
    return rc;
}

static int cmd_policy(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "new") == 0)
        return policy_new_files(argv[2]);
    if (argc < 2 || strcmp(argv[1], "api") != 0)
        return usage();
    struct strbuf b = STRBUF(4u << 20);
    const char *how = argc > 2 ? argv[2] : "--markdown";
    if (strcmp(how, "--json") == 0)
        policy_api_json(&b);
    else if (strcmp(how, "--luacats") == 0)
        policy_api_luacats(&b);
    else if (strcmp(how, "--luacheck") == 0)
        policy_api_luacheck(&b);
    else
        policy_api_markdown(&b);
    return out(&b);
}

/* ---- trace ---- */

static int cmd_trace(int argc, char **argv)
{
    struct strbuf b = STRBUF((size_t)1 << 30);
    if (argc >= 2 && strcmp(argv[1], "synth") == 0) {
        double n = 400, gap = 6, seed = 1, models = 5;
        for (int i = 2; i < argc; i += 2) {
            const char *v = i + 1 < argc ? argv[i + 1] : "";
            bool ok = strcmp(argv[i], "--requests") == 0 ? number_arg(v, 1, 1e7, &n)
                      : strcmp(argv[i], "--gap") == 0    ? number_arg(v, 0, 1e6, &gap)
                      : strcmp(argv[i], "--seed") == 0   ? number_arg(v, 0, 9e15, &seed)
                      : strcmp(argv[i], "--models") == 0 ? number_arg(v, 1, 5, &models)
                                                         : false;
            if (!ok)
                return usage();
        }
        sim_trace_synth(&b, (size_t)n, gap, (uint64_t)seed, (size_t)models);
        return out(&b);
    }
    if (argc == 3 && strcmp(argv[1], "import") == 0) {
        struct strbuf csv = STRBUF((size_t)1 << 30);
        struct error e = { 0 };
        FILE *f = fopen(argv[2], "rb");
        if (!f) {
            fprintf(stderr, "luaswap trace import: %s: %s\n", argv[2], strerror(errno));
            return 2;
        }
        size_t n = 1;
        while (n > 0 && strbuf_reserve(&csv, 1u << 16)) {
            n = fread(csv.ptr + csv.len, 1, 1u << 16, f);
            strbuf_took(&csv, n);
        }
        fclose(f);
        int rc = sim_trace_import(strbuf_str(&csv), &b, &e);
        strbuf_fini(&csv);
        if (rc) {
            fprintf(stderr, "luaswap trace import: %s\n", e.msg);
            strbuf_fini(&b);
            return 2;
        }
        return out(&b);
    }
    return usage();
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = { { "check", cmd_check }, { "simulate", cmd_simulate }, { "policy", cmd_policy }, { "trace", cmd_trace } };

bool policy_cli_knows(const char *command)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, command) == 0)
            return true;
    return false;
}

int policy_cli_main(int argc, char **argv)
{
    for (size_t i = 0; argc > 0 && i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, argv[0]) == 0)
            return commands[i].run(argc, argv);
    return usage();
}
