/* luaswap check: a policy, or a configuration with its policies, looked at without a server. */
#include "sim/cli.h"

#include "policy/lint.h"
#include "sim/rehearse.h"

#include <stdio.h>

#define OWN_MODELS 64

struct report {
    struct strbuf b;
    bool json;
    int worst; /* 0 ok, 1 warn, 2 error */
    size_t n;
};

static void line_at(struct report *r, int level, const char *what, const char *file, int at, const char *text)
{
    static const char *const names[] = { "ok", "warn", "error" };
    if (level > r->worst)
        r->worst = level;
    if (r->json) {
        strbuf_addf(&r->b, "%s{\"level\":\"%s\",\"check\":\"%s\",", r->n++ ? "," : "", names[level], what);
        if (file) {
            strbuf_add(&r->b, S("\"file\":\""));
            strbuf_add_json(&r->b, str_c(file));
            strbuf_addf(&r->b, "\",\"line\":%d,", at);
        }
        strbuf_add(&r->b, S("\"text\":\""));
        strbuf_add_json(&r->b, str_c(text));
        strbuf_add(&r->b, S("\"}"));
        return;
    }
    strbuf_addf(&r->b, "%-5s %-11s ", names[level], what);
    if (file)
        strbuf_addf(&r->b, "%s:%d: ", file, at);
    strbuf_addf(&r->b, "%s\n", text);
}

static void line(struct report *r, int level, const char *what, const char *text)
{
    line_at(r, level, what, NULL, 0, text);
}

/* ---- one policy ---- */

static void found(void *ud, const struct lint_finding *f)
{
    struct report *r = ud;
    line_at(r, f->error ? 2 : 1, f->code, f->file, f->line, f->text);
}

static void check_log(void *ud, const char *policy, const char *text)
{
    struct report *r = ud;
    if (strncmp(text, "load: ", 6) != 0 && strncmp(text, "unknown member", 14) != 0 && !strstr(text, " is deprecated since "))
        line(r, 1, "load", text);
}

static uint64_t number_after(str text, str key)
{
    ptrdiff_t at = str_find(text, key);
    uint64_t n = 0;
    str num = STR_NONE, rest;
    if (at >= 0 && str_cut(str_sub(text, (size_t)at + key.len, 20), ',', &num, &rest) && !str_to_u64(num, &n))
        n = 0;
    return n;
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
    char msg[120];
    uint64_t kb = number_after(text, S("\"memory_kb\":"));
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
    struct replay_conf c = { .kind = SCHED_KIND_FIFO, .models = m, .n_models = 7, .gpu_mb = 24000, .seed = 1, .files = f, .n_files = 1,
                             .instructions = 2 * REHEARSE_INSTRUCTIONS };
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
    int rc = replay_run(w, 40000, &e); /* past the first load */
    replay_result(w, &res);
    char msg[160];
    bool much = res.policy.instructions_sum > 2 * REHEARSE_INSTRUCTIONS;
    if (much)
        line(r, 2, "cost", "1,000 requests deep, its hooks took more than 40 million instructions in forty seconds of traffic");
    snprintf(msg, sizeof(msg), "1,000 requests deep: at most %llu instructions in one call (limit %lld)",
             (unsigned long long)res.policy.instructions_max, (long long)f->instructions);
    if (!much)
        line(r, rc ? 2 : res.policy.budget ? 2 : res.policy.instructions_max > (uint64_t)f->instructions / 2 ? 1 : 0, "cost", rc ? e.msg : msg);
    replay_free(w);
}

/* False: nothing more can be said of it. */
static bool check_policy(struct report *r, const struct config_policy *f)
{
    struct error e = { 0 };
    size_t before = r->b.len, n = r->n;
    int worst = r->worst;
    r->worst = 0;
    int rc = policy_lint(f->file.ptr, found, r, &e);
    if (rc) {
        line(r, 2, rc == ERR_NOTFOUND ? "file" : "syntax", e.msg);
    } else if (r->b.len == before && r->n == n) {
        line(r, 0, "static", "no name, call or view that cannot work");
    }
    bool ok = !rc && check_load(r, f);
    if (ok) {
        check_rehearse(r, f);
        check_deep(r, f);
    }
    if (worst > r->worst)
        r->worst = worst;
    return ok;
}

/* ---- a configuration ---- */

static const char *from_env(void *ud, const char *name)
{
    return getenv(name);
}

static void check_issues(struct report *r, const struct config_report *rep)
{
    for (size_t i = 0; i < rep->len; i++) {
        struct strbuf b = STRBUF(1u << 16);
        config_issue_print(&rep->at[i], &b);
        str text = str_trim(strbuf_str(&b));
        char msg[1200];
        snprintf(msg, sizeof(msg), STR_FMT, STR_ARG(text));
        line(r, rep->at[i].error ? 2 : 1, "config", msg);
        strbuf_fini(&b);
    }
}

/* All policies at once on the models of the configuration, whose load times are guesses. */
static void check_together(struct report *r, const struct config *cfg, const struct config_policy *files, size_t n)
{
    struct replay_model m[OWN_MODELS];
    size_t n_models = cfg->n_models < OWN_MODELS ? cfg->n_models : OWN_MODELS;
    for (size_t i = 0; i < n_models; i++)
        m[i] = (struct replay_model){ .id = cfg->models[i].id, .load_s = 10, .stop_s = 1, .vram_mb = 8000, .limit = 100, .group_swap = true,
                                      .group_exclusive = true };
    bool serial = cfg->scheduler == CONFIG_SCHED_SERIAL;
    struct replay_conf c = { .kind = serial ? SCHED_KIND_SERIAL : SCHED_KIND_FIFO, .serial_reorder = cfg->serial.reorder, .models = m,
                             .n_models = n_models, .gpu_mb = 24000, .seed = 1, .files = files, .n_files = n, .pairs = POLICY_PAIRS_SORTED,
                             .instructions = REHEARSE_INSTRUCTIONS };
    struct replay *w;
    struct error e = { 0 };
    if (n == 0 || n_models == 0)
        return;
    if (replay_new(&c, &w, &e) < 0) {
        line(r, 2, "together", e.msg);
        return;
    }
    for (size_t i = 0; i < 120; i++) {
        struct replay_request q = { .model = m[i * 7 % n_models].id, .key = S("k1"), .path = S("/v1/chat/completions"), .kind = S("chat"),
                                    .tokens_in = 100, .tokens_out = 100, .serve_ms = 2000, .cancel_ms = -1, .deadline_s = -1 };
        replay_add(w, (msec)i * 1500, &q);
    }
    struct replay_result res;
    char msg[300];
    int rc = replay_run(w, SIM_FOREVER, &e);
    replay_result(w, &res);
    const struct policies_stats *p = &res.policy;
    bool bad = rc || p->errors + p->budget + p->memory + p->invalid + p->ejections > 0;
    if (rc)
        line(r, 2, "together", e.msg);
    else if (bad)
        line(r, 2, "together", "on the models of this configuration a hook failed or an answer broke a rule");
    snprintf(msg, sizeof(msg), "%zu policies on %zu models under %s: %zu of %zu served, %zu refused", n, n_models, serial ? "serial" : "fifo",
             res.served, res.requests, res.rejected);
    if (!bad)
        line(r, res.failed ? 2 : 0, "together", msg);
    struct strbuf s = STRBUF(1u << 20);
    policies_status_json(replay_policies(w), 0, &s);
    static const char *const ordering[] = { "score", "pick_next", "plan_swap", "evict_cost", "idle_ttl" };
    for (size_t i = 0; serial && !cfg->serial.reorder && i < ARRAY_LEN(ordering); i++) {
        char key[40];
        snprintf(key, sizeof(key), "\"%s\":{", ordering[i]);
        if (str_find(strbuf_str(&s), str_c(key)) < 0)
            continue;
        line(r, 1, "serial", "under `use: serial` policies only watch order and victims; set routing.scheduler.settings.serial.reorder: true, "
                             "or use: fifo");
        break;
    }
    strbuf_fini(&s);
    replay_free(w);
}

static void check_config(struct report *r, const char *path)
{
    struct config_sources src = { .file = path, .getenv = from_env };
    struct config_report rep;
    struct config *cfg = NULL;
    config_report_init(&rep);
    int rc = config_load(&src, &cfg, &rep);
    check_issues(r, &rep);
    config_report_fini(&rep);
    if (rc)
        return;
    char msg[400];
    snprintf(msg, sizeof(msg), "%zu models, %zu policies", cfg->n_models, cfg->n_policies);
    line(r, 0, "config", msg);
    struct config_policy files[16];
    size_t n = 0;
    bool all = true;
    for (size_t i = 0; i < cfg->n_policies && n < ARRAY_LEN(files); i++) {
        struct config_policy f = cfg->policies[i];
        if (f.mode == CONFIG_POLICY_OFF)
            continue;
        snprintf(msg, sizeof(msg), "-- " STR_FMT " (%s)", STR_ARG(f.file), f.mode == CONFIG_POLICY_SHADOW ? "shadow" : "enforce");
        if (!r->json)
            strbuf_addf(&r->b, "%s\n", msg);
        f.state_file = STR_NONE; /* a check leaves no trace */
        f.on_eject = CONFIG_EJECT_BUILTIN;
        all = check_policy(r, &f) && all;
        files[n++] = f;
    }
    if (all)
        check_together(r, cfg, files, n);
    config_unref(cfg);
}

/* ---- the command ---- */

int cli_check(int argc, char **argv)
{
    const char *paths[64], *settings = "{}";
    size_t n = 0;
    struct report r = { .b = STRBUF(4u << 20) };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            r.json = true;
        else if (strcmp(argv[i], "--settings") == 0 && i + 1 < argc)
            settings = argv[++i];
        else if (argv[i][0] != '-' && n < ARRAY_LEN(paths))
            paths[n++] = argv[i];
        else
            return cli_usage();
    }
    if (n == 0)
        return cli_usage();
    static const char *const verdict[] = { "ok", "warn", "error" };
    if (r.json)
        strbuf_add(&r.b, S("{\"checks\":["));
    int worst = 0;
    for (size_t i = 0; i < n; i++) {
        r.worst = 0;
        if (str_ends(str_c(paths[i]), S(".lua"))) {
            struct config_policy f = cli_file(paths[i], settings);
            check_policy(&r, &f);
        } else {
            check_config(&r, paths[i]);
        }
        if (!r.json)
            strbuf_addf(&r.b, "%s: %s\n", paths[i], verdict[r.worst]);
        worst = r.worst > worst ? r.worst : worst;
    }
    if (r.json)
        strbuf_addf(&r.b, "],\"verdict\":\"%s\"}\n", verdict[worst]);
    return cli_out(&r.b) ? 2 : worst;
}
