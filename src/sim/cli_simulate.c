/* luaswap simulate: a trace against the built-in, policies and others, side by side. */
#include "sim/cli.h"

#include "base/rand.h"
#include "sim/trace_file.h"

#include <stdio.h>

#define FILES_MAX 16

struct simulate {
    const char *trace;
    struct config_policy policy[FILES_MAX];
    size_t n_policy;
    const char *compare[FILES_MAX];
    size_t n_compare;
    const char *settings_json;
    struct strbuf settings; /* of --set */
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
    bool bare = cli_number(value.ptr ? value.ptr : "", -1e300, 1e300, &unused) || str_eq(value, S("true")) ||
                str_eq(value, S("false")) || (value.len && (value.ptr[0] == '[' || value.ptr[0] == '{'));
    if (bare) {
        strbuf_add(b, value);
    } else {
        strbuf_addc(b, '"');
        strbuf_add_json(b, value);
        strbuf_addc(b, '"');
    }
}

static bool arg_flag(struct simulate *s, const char *a)
{
    bool *at = strcmp(a, "--chaos") == 0 ? &s->chaos : strcmp(a, "--log") == 0 ? &s->log : strcmp(a, "--json") == 0 ? &s->json : NULL;
    if (at)
        *at = true;
    return at != NULL;
}

static bool arg_value(struct simulate *s, const char *a, const char *v)
{
    if (strcmp(a, "--policy") == 0 && s->n_policy < FILES_MAX)
        s->policy[s->n_policy++] = cli_file(v, "{}");
    else if (strcmp(a, "--compare") == 0 && s->n_compare < FILES_MAX)
        s->compare[s->n_compare++] = v;
    else if (strcmp(a, "--set") == 0)
        add_setting(&s->settings, v);
    else if (strcmp(a, "--settings") == 0)
        s->settings_json = v;
    else if (strcmp(a, "--scheduler") == 0)
        return s->kind_given = sched_kind_of(str_c(v), &s->kind);
    else
        return strcmp(a, "--seed") == 0      ? cli_number(v, 0, 9e15, &s->seed)
               : strcmp(a, "--until") == 0   ? cli_number(v, 0, 1e9, &s->until)
               : strcmp(a, "--stretch") == 0 ? cli_number(v, 0, 100, &s->stretch)
                                             : false;
    return true;
}

static bool simulate_args(struct simulate *s, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (arg_flag(s, argv[i]))
            continue;
        if (argv[i][0] != '-' && !s->trace)
            s->trace = argv[i];
        else if (i + 1 < argc && arg_value(s, argv[i], argv[i + 1]))
            i++;
        else {
            fprintf(stderr, "luaswap simulate: cannot make sense of %s\n", argv[i]);
            return false;
        }
    }
    return s->trace != NULL;
}

#define SAID_MAX 20

/* What policies say goes to stderr, the first lines of it; dumps are for the server's log. */
static void say_log(void *ud, const char *policy, const char *text)
{
    unsigned *said = ud;
    if (text[0] == '{' || *said > SAID_MAX)
        return;
    if (++*said > SAID_MAX)
        fprintf(stderr, "%s: ... and more\n", policy);
    else
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

/* ---- what is printed ---- */

static void groups_json(struct strbuf *b, const char *what, const struct replay_group *g, size_t n)
{
    strbuf_addf(b, "\"%s\":[", what);
    for (size_t i = 0; i < n; i++) {
        strbuf_add(b, i ? S(",{\"name\":\"") : S("{\"name\":\""));
        strbuf_add_json(b, g[i].name);
        strbuf_addf(b, "\",\"n\":%zu,\"mean_s\":%.3f,\"max_s\":%.3f}", g[i].n, g[i].mean_s, g[i].max_s);
    }
    strbuf_add(b, S("],"));
}

static void groups_text(struct strbuf *b, const char *what, const struct replay_group *g, size_t n)
{
    strbuf_addf(b, "    mean wait by %s:", what);
    for (size_t i = 0; i < n && i < 8; i++)
        strbuf_addf(b, "%s " STR_FMT " %.1f s", i ? "," : "", (int)(!g[i].name.len ? 6 : g[i].name.len < 30 ? g[i].name.len : 30), g[i].name.len ? g[i].name.ptr : "(none)",
                    g[i].mean_s);
    strbuf_add(b, n > 8 ? S(", ...\n") : S("\n"));
}

static void row_json(struct strbuf *b, const char *name, const struct replay_result *r)
{
    strbuf_addf(b, "{\"kind\":\"run\",\"name\":\"");
    strbuf_add_json(b, str_c(name));
    strbuf_addf(b, "\",\"requests\":%zu,\"served\":%zu,\"rejected\":%zu,\"cancelled\":%zu,\"unfinished\":%zu,\"swaps\":%zu,\"loads\":%zu,"
                   "\"evictions\":%zu,\"load_s\":%.3f,\"wait_s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"mean\":%.3f},",
                r->requests, r->served, r->rejected, r->cancelled, r->failed, r->loads, r->loads, r->evictions, r->load_s, r->wait_s.p50,
                r->wait_s.p90, r->wait_s.p99, r->wait_s.max, r->wait_s.mean);
    const struct policies_stats *p = &r->policy;
    strbuf_addf(b, "\"slowdown\":%.3f,\"starvation_s\":%.3f,\"jain_keys\":%.4f,\"jain_models\":%.4f,\"spread_keys\":%.3f,"
                   "\"spread_models\":%.3f,\"decisions\":{\"policy\":%llu,\"builtin\":%llu,\"fallback\":%llu,\"override\":%llu},",
                r->slowdown, r->starvation_s, r->jain_keys, r->jain_models, r->spread_keys, r->spread_models,
                (unsigned long long)p->by_policy, (unsigned long long)p->by_builtin, (unsigned long long)p->by_fallback,
                (unsigned long long)p->overrides);
    groups_json(b, "keys", r->keys, r->n_keys);
    groups_json(b, "models", r->models, r->n_models);
    strbuf_addf(b, "\"calls\":%llu,\"holds\":%llu,\"invalid\":%llu,\"errors\":%llu,\"budget\":%llu,\"ejections\":%llu,"
                   "\"instructions\":{\"p50\":%llu,\"max\":%llu}}\n",
                (unsigned long long)p->calls, (unsigned long long)p->holds, (unsigned long long)p->invalid,
                (unsigned long long)p->errors, (unsigned long long)(p->budget + p->memory), (unsigned long long)p->ejections,
                (unsigned long long)p->instructions_p50, (unsigned long long)p->instructions_max);
}

static void head_text(struct strbuf *b, const struct simulate *s, const struct sim_trace *t)
{
    const char *kind = sched_kind_name(s->kind_given ? s->kind : t->kind);
    strbuf_addf(b, "%zu requests, %zu models, built-in %s, seed %.0f; service times as recorded%s, load times per model%s: "
                   "a model of the day, not a promise\n%-24s %6s %6s %6s %6s %6s %9s %8s %8s %8s %8s %8s %6s %6s\n",
                t->n_requests, t->n_models, kind, s->seed, s->stretch > 0 ? " and stretched" : "", s->chaos ? ", with chaos" : "", "",
                "served", "refus.", "left", "swaps", "evict.", "loading_s", "wait p50", "p90", "p99", "max", "longest", "keys", "models");
}

static void row_text(struct strbuf *b, const char *name, const struct replay_result *r)
{
    const struct policies_stats *p = &r->policy;
    strbuf_addf(b, "%-24.24s %6zu %6zu %6zu %6zu %6zu %9.0f %8.1f %8.1f %8.1f %8.1f %8.1f %6.3f %6.3f\n", name, r->served, r->rejected,
                r->cancelled, r->loads, r->evictions, r->load_s, r->wait_s.p50, r->wait_s.p90, r->wait_s.p99, r->wait_s.max,
                r->starvation_s, r->jain_keys, r->jain_models);
    strbuf_addf(b, "    mean wait %.1f s, slowdown %.1f; the worst by the best off: keys %.2f, models %.2f\n", r->wait_s.mean, r->slowdown,
                r->spread_keys, r->spread_models);
    if (r->n_keys > 1)
        groups_text(b, "key", r->keys, r->n_keys);
    if (r->failed)
        strbuf_addf(b, "    unfinished: %zu\n", r->failed);
    if (p->calls)
        strbuf_addf(b, "    %llu calls of hooks; decisions: policy %llu, built-in %llu, fallback %llu, forced %llu; invalid %llu, errors %llu, over budget %llu, "
                       "ejected %llu; instructions of a call: p50 %llu, max %llu\n",
                    (unsigned long long)p->calls, (unsigned long long)p->by_policy, (unsigned long long)p->by_builtin,
                    (unsigned long long)p->by_fallback, (unsigned long long)p->overrides, (unsigned long long)p->invalid,
                    (unsigned long long)p->errors, (unsigned long long)(p->budget + p->memory), (unsigned long long)p->ejections,
                    (unsigned long long)p->instructions_p50, (unsigned long long)p->instructions_max);
}

/* ---- running ---- */

static int run_one(const struct simulate *s, const struct sim_trace *t, const char *name, enum sched_kind kind,
                   const struct config_policy *files, size_t n, struct replay_result *ret, struct strbuf *b)
{
    unsigned said = 0;
    struct replay_conf c = { .kind = kind, .serial_reorder = t->reorder || n > 0, .seed = s->seed > 0 ? (uint64_t)s->seed : 1,
                             .files = files, .n_files = n, .pairs = POLICY_PAIRS_SORTED, .keep_log = s->log, .concurrency_k = s->stretch,
                             .hook_faults = s->chaos ? 20 : 0, .log = say_log, .log_ud = &said };
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
        if (!rc && s->json)
            row_json(b, name, ret);
        else if (!rc)
            row_text(b, name, ret);
        replay_free(r); /* and the names in ret with it */
        ret->n_keys = ret->n_models = 0;
    }
    if (rc)
        fprintf(stderr, "luaswap simulate: %s: %s\n", name, e.msg);
    return rc ? 2 : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int run_policy(struct simulate *s, const struct sim_trace *t, enum sched_kind kind, struct replay_result *ret, struct strbuf *b)
{
    s->policy[0].settings_json = s->settings_json ? str_c(s->settings_json) : strbuf_str(&s->settings);
    char name[200] = "";
    for (size_t i = 0; i < s->n_policy; i++) {
        size_t len = strlen(name);
        snprintf(name + len, sizeof(name) - len, "%s%s", i ? "+" : "", base_name(s->policy[i].file.ptr));
    }
    return run_one(s, t, name, kind, s->policy, s->n_policy, ret, b);
}

static int run_all(struct simulate *s, const struct sim_trace *t, struct strbuf *b)
{
    enum sched_kind kind = s->kind_given ? s->kind : t->kind, other;
    struct replay_result first, r;
    char name[40];
    snprintf(name, sizeof(name), "built-in %s", sched_kind_name(kind));
    int rc = run_one(s, t, name, kind, NULL, 0, &first, b);
    r = first;
    if (!rc && s->n_policy > 0)
        rc = run_policy(s, t, kind, &r, b);
    for (size_t i = 0; !rc && i < s->n_compare; i++) {
        const char *c = s->compare[i];
        struct replay_result unused;
        if (strcmp(c, "builtin") == 0)
            continue; /* it always comes first */
        if (sched_kind_of(str_c(c), &other)) {
            snprintf(name, sizeof(name), "built-in %s", c);
            rc = run_one(s, t, name, other, NULL, 0, &unused, b);
        } else {
            struct config_policy one = cli_file(c, "{}");
            rc = run_one(s, t, base_name(c), kind, &one, 1, &unused, b);
        }
    }
    if (!rc && s->json) /* smaller is better: mean wait and loading against the built-in */
        strbuf_addf(b, "{\"kind\":\"score\",\"score\":%.6f}\n",
                    (r.wait_s.mean + 1) / (first.wait_s.mean + 1) + 0.5 * (r.load_s + 1) / (first.load_s + 1) +
                        (double)(r.failed + r.policy.ejections));
    return rc;
}

int cli_simulate(int argc, char **argv)
{
    struct simulate s = { .seed = 1 };
    strbuf_init(&s.settings, 1u << 16);
    strbuf_addc(&s.settings, '{');
    if (!simulate_args(&s, argc, argv)) {
        strbuf_fini(&s.settings);
        return cli_usage();
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
    if (!s.json)
        head_text(&b, &s, &t);
    int rc = run_all(&s, &t, &b);
    sim_trace_fini(&t);
    strbuf_fini(&s.settings);
    int wrote = cli_out(&b);
    return rc ? rc : wrote;
}
