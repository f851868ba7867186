/* What people and programs see: /api/policy, dumps, the trace of decisions, Prometheus lines, the API as data. */
#include "policy/priv.h"

#include <stdio.h>

static const char *const states[] = { "active", "ejected", "refused", "disabled", "off" };

static void text(struct strbuf *b, const char *key, str s, bool more)
{
    strbuf_addf(b, "\"%s\":\"", key);
    strbuf_add_json(b, s);
    strbuf_add(b, more ? S("\",") : S("\""));
}

/* Upper end of the bucket that holds the q-th part of the calls, in microseconds. */
static double quantile_us(const struct hook_stats *s, double q)
{
    uint64_t want = (uint64_t)((double)s->n * q), seen = 0;
    for (unsigned i = 0; i < POLICY_HIST; i++) {
        seen += s->hist[i];
        if (seen > want)
            return (double)(UINT64_C(2) << i) / 1000;
    }
    return (double)s->max_ns / 1000;
}

static void calls(const struct policy *p, struct strbuf *b)
{
    strbuf_add(b, S("\"calls\":{"));
    bool first = true;
    for (int h = 0; h < POLICY_HOOKS; h++) {
        const struct hook_stats *s = &p->stats[h];
        if (!(p->present & 1u << h) && s->n == 0)
            continue;
        strbuf_addf(b, "%s\"%s\":{\"n\":%llu,\"nil\":%llu,\"hold\":%llu,\"errors\":%llu,\"invalid\":%llu,\"budget\":%llu,"
                       "\"memory\":%llu,\"p50_us\":%.3g,\"p99_us\":%.3g,\"max_us\":%.4g,\"instructions_max\":%llu}",
                    first ? "" : ",", hook_name((enum policy_hook)h), (unsigned long long)s->n, (unsigned long long)s->nil,
                    (unsigned long long)s->hold, (unsigned long long)s->errors, (unsigned long long)s->invalid,
                    (unsigned long long)s->budget, (unsigned long long)s->memory, quantile_us(s, 0.5), quantile_us(s, 0.99),
                    (double)s->max_ns / 1000, (unsigned long long)s->instr_max);
        first = false;
    }
    strbuf_add(b, S("},"));
}

static void shadow(const struct policy *p, struct strbuf *b)
{
    if (!p->shadow)
        return;
    strbuf_add(b, S("\"shadow\":{\"agreement\":{"));
    bool first = true;
    for (int h = 0; h < POLICY_HOOKS; h++) {
        if (p->agree[h] + p->disagree[h] == 0)
            continue;
        strbuf_addf(b, "%s\"%s\":{\"same\":%llu,\"other\":%llu}", first ? "" : ",", hook_name((enum policy_hook)h),
                    (unsigned long long)p->agree[h], (unsigned long long)p->disagree[h]);
        first = false;
    }
    strbuf_add(b, S("},\"differences\":["));
    for (size_t i = 0; i < p->n_diffs; i++) {
        strbuf_add(b, i ? S(",\"") : S("\""));
        strbuf_add_json(b, str_c(p->diffs[i]));
        strbuf_addc(b, '"');
    }
    strbuf_add(b, S("]},"));
}

static int settings_protected(lua_State *L)
{
    struct policy *p = vm_policy(L);
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_config_data);
    settings_hide_secrets(L);
    const char *fault = NULL;
    struct strbuf *b = &p->scratch;
    strbuf_clear(b);
    b->full = false;
    if (!convert_json(L, 1, b, 0, &fault) || b->full)
        return luaL_error(L, "settings");
    return 0;
}

static void one(struct policy *p, msec now, struct strbuf *b)
{
    static const char *const modes[] = { "enforce", "shadow", "off" };
    strbuf_addc(b, '{');
    text(b, "name", str_c(p->name), true);
    text(b, "version", str_c(p->version), true);
    text(b, "file", str_c(p->file), true);
    text(b, "sha256", str_c(p->sha256), true);
    strbuf_addf(b, "\"api\":%d,\"mode\":\"%s\",\"state\":\"%s\",\"required\":%s,\"since_s\":%.3f,", p->api,
                modes[p->conf.mode], states[p->state], p->required ? "true" : "false", (double)(now - p->since) / 1000);
    if (p->eject_kind[0]) {
        strbuf_add(b, S("\"eject\":{"));
        text(b, "kind", str_c(p->eject_kind), true);
        text(b, "hook", str_c(hook_name(p->eject_hook)), true);
        text(b, "message", str_c(p->eject_msg), true);
        strbuf_addf(b, "\"count\":%u,\"retry_in_s\":", p->ejections);
        if (p->state == PS_EJECTED && p->retry_at != MSEC_NEVER)
            strbuf_addf(b, "%lld},", (long long)(p->retry_at > now ? p->retry_at - now : 0) / 1000);
        else
            strbuf_add(b, S("null},"));
    }
    if (p->last_error[0])
        text(b, "last_error", str_c(p->last_error), true);
    calls(p, b);
    shadow(p, b);
    strbuf_addf(b, "\"memory_kb\":%zu,\"memory_peak_kb\":%zu,\"memory_limit_kb\":%zu,\"gc_ms_total\":%.3f,"
                   "\"overrides\":{\"starve\":%llu},\"settings\":",
                p->mem_used >> 10, p->mem_peak >> 10, p->mem_limit >> 10, (double)p->gc_ns / 1e6,
                (unsigned long long)p->starve_overrides);
    if (p->L && !p->in_hook && gate_run(p, POLICY_DUMP, 1000000, 50, settings_protected, NULL, NULL) == 0)
        strbuf_add(b, strbuf_str(&p->scratch));
    else
        strbuf_add(b, S("{}"));
    strbuf_addc(b, '}');
}

uint64_t policies_hash(const struct policies *ps, str file)
{
    for (size_t i = 0; ps && i < ps->n; i++)
        if (str_eq(ps->at[i]->conf.file, file))
            return ps->at[i]->hash_sum;
    return 0;
}

str policies_file(const struct policies *ps, str name)
{
    const struct policy *p = ps ? policies_find(ps, name) : NULL;
    return p ? p->conf.file : STR_NONE;
}

void policies_in_charge(const struct policies *ps, struct strbuf *out)
{
    const struct policy *p = ps ? ps->owner[POLICY_PICK_NEXT] : NULL;
    if (ps && !p)
        p = ps->owner[POLICY_SCORE] ? ps->owner[POLICY_SCORE] : ps->owner[POLICY_PLAN_SWAP];
    if (p && p->state == PS_ACTIVE && !ps->conf.observe_only)
        strbuf_addf(out, "policy:%s", p->name);
    else
        strbuf_addf(out, "builtin:%s", ps ? ps->scheduler : "");
}

void policies_status_json(struct policies *ps, msec now, struct strbuf *out)
{
    strbuf_addf(out, "{\"api_level\":%d,\"scheduler\":{\"in_charge\":\"", POLICY_API_LEVEL);
    policies_in_charge(ps, out);
    strbuf_add(out, S("\","));
    text(out, "configured", str_c(ps ? ps->scheduler : ""), true);
    strbuf_addf(out, "\"observe_only\":%s},\"policies\":[", ps && ps->conf.observe_only ? "true" : "false");
    for (size_t i = 0; ps && i < ps->n; i++) {
        if (i)
            strbuf_addc(out, ',');
        one(ps->at[i], now, out);
    }
    strbuf_add(out, S("]}"));
}

bool policies_dump_json(struct policies *ps, str name, msec now, struct strbuf *out)
{
    struct policy *p = ps ? policies_find(ps, name) : NULL;
    if (!p)
        return false;
    ps->now = now;
    if (p->state == PS_ACTIVE || p->dump.len == 0)
        eject_make_dump(p, true);
    return strbuf_add(out, strbuf_str(&p->dump));
}

static void decision(const struct policies *ps, const struct decision *d, struct strbuf *b)
{
    const char *source = d->source == 'p' ? "policy" : d->source == 'b' ? "builtin" : d->source == 'f' ? "fallback" : "override";
    strbuf_addf(b, "{\"t_s\":%.3f,\"hook\":\"%s\",\"source\":\"%s\",", (double)d->now / 1000, hook_name(d->hook), source);
    text(b, "policy", str_c(d->policy), true);
    if (d->request)
        strbuf_addf(b, "\"request\":%llu,", (unsigned long long)d->request);
    if (d->model != MODEL_NONE && ps->sched && d->model < ps->sched->n_models)
        text(b, "model", ps->sched->models[d->model]->conf.id, true);
    text(b, "text", str_c(d->text), false);
    strbuf_addc(b, '}');
}

void policies_trace_json(const struct policies *ps, size_t n, struct strbuf *out)
{
    strbuf_addc(out, '[');
    size_t have = !ps ? 0 : ps->n_trace < POLICY_TRACE ? ps->n_trace : POLICY_TRACE;
    if (n > have)
        n = have;
    for (size_t i = 0; i < n; i++) {
        if (i)
            strbuf_addc(out, ',');
        decision(ps, &ps->trace[(ps->n_trace - n + i) % POLICY_TRACE], out);
    }
    strbuf_addc(out, ']');
}

void policies_why_json(const struct policies *ps, ticket_id t, uint64_t id, struct strbuf *out)
{
    const struct preq *r = ps && t ? preq_find(ps, t) : NULL;
    if (r && r->id != id)
        r = NULL;
    size_t have = !ps ? 0 : ps->n_trace < POLICY_TRACE ? ps->n_trace : POLICY_TRACE;
    bool first = true;
    strbuf_addc(out, '[');
    for (size_t i = 0; i < have; i++) {
        const struct decision *d = &ps->trace[(ps->n_trace - have + i) % POLICY_TRACE];
        /* Its own, and those about its model or about everybody while it waited. */
        bool mine = d->request == id;
        bool about = r && d->request == 0 && d->now >= r->arrived && (d->model == MODEL_NONE || d->model == r->model);
        if (!mine && !about)
            continue;
        if (!first)
            strbuf_addc(out, ',');
        first = false;
        decision(ps, d, out);
    }
    strbuf_addc(out, ']');
}

/* ---- Prometheus ---- */

static void outcome(struct strbuf *b, const struct policy *p, int h, const char *name, uint64_t n)
{
    if (n)
        strbuf_addf(b, "luaswap_policy_hook_calls_total{policy=\"%s\",hook=\"%s\",outcome=\"%s\"} %llu\n", p->name,
                    hook_name((enum policy_hook)h), name, (unsigned long long)n);
}

static void hook_calls(const struct policy *p, struct strbuf *b)
{
    for (int h = 0; h < POLICY_HOOKS; h++) {
        const struct hook_stats *s = &p->stats[h];
        outcome(b, p, h, "ok", s->ok);
        outcome(b, p, h, "nil", s->nil);
        outcome(b, p, h, "hold", s->hold);
        outcome(b, p, h, "error", s->errors);
        outcome(b, p, h, "budget", s->budget);
        outcome(b, p, h, "memory", s->memory);
        outcome(b, p, h, "invalid", s->invalid);
    }
}

static void hook_seconds(const struct policy *p, struct strbuf *b)
{
    static const struct {
        unsigned upto;
        const char *le;
    } steps[] = { { 10, "1.024e-06" }, { 13, "8.192e-06" }, { 16, "6.5536e-05" }, { 20, "0.001048576" },
                  { 23, "0.008388608" }, { 26, "0.067108864" } };
    for (int h = 0; h < POLICY_HOOKS; h++) {
        const struct hook_stats *s = &p->stats[h];
        const char *hook = hook_name((enum policy_hook)h);
        uint64_t sum = 0;
        unsigned at = 0;
        if (s->n == 0)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
            for (; at < steps[i].upto; at++)
                sum += s->hist[at];
            strbuf_addf(b, "luaswap_policy_hook_seconds_bucket{policy=\"%s\",hook=\"%s\",le=\"%s\"} %llu\n", p->name, hook,
                        steps[i].le, (unsigned long long)sum);
        }
        strbuf_addf(b, "luaswap_policy_hook_seconds_bucket{policy=\"%s\",hook=\"%s\",le=\"+Inf\"} %llu\n", p->name, hook,
                    (unsigned long long)s->n);
        strbuf_addf(b, "luaswap_policy_hook_seconds_sum{policy=\"%s\",hook=\"%s\"} %.9g\n", p->name, hook, (double)s->sum_ns / 1e9);
        strbuf_addf(b, "luaswap_policy_hook_seconds_count{policy=\"%s\",hook=\"%s\"} %llu\n", p->name, hook, (unsigned long long)s->n);
    }
}

static uint64_t dearest_call(const struct policy *p)
{
    uint64_t max = 0;
    for (int h = 0; h < POLICY_HOOKS; h++)
        if (p->stats[h].instr_max > max)
            max = p->stats[h].instr_max;
    return max;
}

/* What luaswap.metrics counted; all series of one name together, whichever policy they are of. */
struct user_series {
    const struct policy *p;
    const struct series *s;
};

static int by_series(const void *a, const void *b)
{
    const struct user_series *x = a, *y = b;
    int d = strcmp(x->s->name, y->s->name);
    if (d == 0)
        d = x->s->kind - y->s->kind;
    return d ? d : x->p != y->p ? (x->p->index < y->p->index ? -1 : 1) : x->s < y->s ? -1 : x->s > y->s;
}

static void user_metrics(const struct policies *ps, struct strbuf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < ps->n; i++)
        n += ps->at[i]->n_series;
    if (n == 0)
        return;
    struct user_series *all = mem_calloc(n, sizeof(*all));
    n = 0;
    for (size_t i = 0; i < ps->n; i++)
        for (size_t k = 0; k < ps->at[i]->n_series; k++)
            all[n++] = (struct user_series){ ps->at[i], &ps->at[i]->series[k] };
    qsort(all, n, sizeof(*all), by_series);
    for (size_t i = 0; i < n; i++) {
        const struct series *s = all[i].s;
        const char *policy = all[i].p->name;
        if (i == 0 || strcmp(all[i - 1].s->name, s->name) != 0)
            strbuf_addf(b, "# HELP luaswap_policy_user_%s Counted by a policy.\n# TYPE luaswap_policy_user_%s %s\n", s->name, s->name,
                        s->kind == 'c' ? "counter" : s->kind == 'g' ? "gauge" : "summary");
        if (s->kind == 'h') {
            strbuf_addf(b, "luaswap_policy_user_%s_count{policy=\"%s\"%s} %llu\n", s->name, policy, s->labels,
                        (unsigned long long)s->count);
            strbuf_addf(b, "luaswap_policy_user_%s_sum{policy=\"%s\"%s} %.17g\n", s->name, policy, s->labels, s->value);
        } else {
            strbuf_addf(b, "luaswap_policy_user_%s{policy=\"%s\"%s} %.17g\n", s->name, policy, s->labels, s->value);
        }
    }
    free(all);
}

static void help(struct strbuf *b, const char *name, const char *type, const char *text)
{
    strbuf_addf(b, "# HELP luaswap_policy_%s %s\n# TYPE luaswap_policy_%s %s\n", name, text, name, type);
}

static void failures(const struct policies *ps, struct strbuf *b)
{
    help(b, "strikes", "gauge", "Failures of the last minute; three eject the policy.");
    for (size_t i = 0; i < ps->n; i++)
        strbuf_addf(b, "luaswap_policy_strikes{policy=\"%s\"} %u\n", ps->at[i]->name, eject_strikes(ps->at[i]));
    help(b, "ejections_total", "counter", "How often it was ejected, by what happened last.");
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i]->ejections)
            strbuf_addf(b, "luaswap_policy_ejections_total{policy=\"%s\",kind=\"%s\"} %u\n", ps->at[i]->name, ps->at[i]->eject_kind,
                        ps->at[i]->ejections);
    help(b, "overrides_total", "counter", "Requests that were served because they had waited too long under the policy.");
    strbuf_addf(b, "luaswap_policy_overrides_total %llu\n", (unsigned long long)ps->overrides);
}

static void decisions(const struct policies *ps, struct strbuf *b)
{
    static const char *const sources[] = { "policy", "builtin", "fallback", "override" };
    help(b, "decisions_total", "counter", "Scheduling decisions by who made them.");
    for (int h = 0; h < POLICY_HOOKS; h++)
        for (int k = 0; k < 4; k++)
            if (ps->op_source[h][k])
                strbuf_addf(b, "luaswap_policy_decisions_total{op=\"%s\",source=\"%s\"} %llu\n", hook_name((enum policy_hook)h),
                            sources[k], (unsigned long long)ps->op_source[h][k]);
    help(b, "shadow_disagree_total", "counter", "Decisions that a shadow would have taken otherwise.");
    for (size_t i = 0; i < ps->n; i++)
        for (int h = 0; ps->at[i]->shadow && h < POLICY_HOOKS; h++)
            if (ps->at[i]->agree[h] + ps->at[i]->disagree[h])
                strbuf_addf(b, "luaswap_policy_shadow_disagree_total{policy=\"%s\",op=\"%s\"} %llu\n", ps->at[i]->name,
                            hook_name((enum policy_hook)h), (unsigned long long)ps->at[i]->disagree[h]);
}

void policies_metrics(const struct policies *ps, struct strbuf *out)
{
    if (!ps || ps->n == 0)
        return;
    help(out, "state", "gauge", "1 for the state that the policy is in.");
    for (size_t i = 0; i < ps->n; i++)
        for (size_t k = 0; k < ARRAY_LEN(states); k++)
            strbuf_addf(out, "luaswap_policy_state{policy=\"%s\",state=\"%s\"} %d\n", ps->at[i]->name, states[k],
                        (size_t)ps->at[i]->state == k);
    help(out, "hook_calls_total", "counter", "Calls of hooks by outcome.");
    for (size_t i = 0; i < ps->n; i++)
        hook_calls(ps->at[i], out);
    help(out, "hook_seconds", "histogram", "Time in hooks.");
    for (size_t i = 0; i < ps->n; i++)
        hook_seconds(ps->at[i], out);
    help(out, "hook_instructions_max", "gauge", "Instructions of the dearest call so far.");
    for (size_t i = 0; i < ps->n; i++)
        strbuf_addf(out, "luaswap_policy_hook_instructions_max{policy=\"%s\"} %llu\n", ps->at[i]->name,
                    (unsigned long long)dearest_call(ps->at[i]));
    decisions(ps, out);
    failures(ps, out);
    help(out, "memory_bytes", "gauge", "Memory of the policy's Lua state.");
    for (size_t i = 0; i < ps->n; i++)
        strbuf_addf(out, "luaswap_policy_memory_bytes{policy=\"%s\"} %zu\n", ps->at[i]->name, ps->at[i]->mem_used);
    help(out, "gc_seconds_total", "counter", "Time spent collecting its garbage.");
    for (size_t i = 0; i < ps->n; i++)
        strbuf_addf(out, "luaswap_policy_gc_seconds_total{policy=\"%s\"} %.9g\n", ps->at[i]->name, (double)ps->at[i]->gc_ns / 1e9);
    user_metrics(ps, out);
}

/* The smallest count of the bucket that half of the calls reach. */
static uint64_t instructions_median(const struct policies *ps, uint64_t calls)
{
    uint64_t seen = 0;
    for (size_t at = 0; calls && at < POLICY_INSTR_HIST; at++) {
        for (size_t i = 0; i < ps->n; i++)
            for (int h = 0; h < POLICY_HOOKS; h++)
                seen += ps->at[i]->stats[h].instr_hist[at];
        if (seen * 2 >= calls)
            return at < 4 ? at : (uint64_t)(4 + at % 4) << (at / 4 - 1);
    }
    return 0;
}

void policies_stats(const struct policies *ps, struct policies_stats *ret)
{
    *ret = (struct policies_stats){ .overrides = ps->overrides, .by_policy = ps->by_policy, .by_builtin = ps->by_builtin,
                                    .by_fallback = ps->by_fallback };
    for (size_t i = 0; i < ps->n; i++) {
        const struct policy *p = ps->at[i];
        ret->ejections += p->ejections;
        for (int h = 0; h < POLICY_HOOKS; h++) {
            const struct hook_stats *s = &p->stats[h];
            ret->calls += s->n;
            ret->errors += s->errors;
            ret->budget += s->budget;
            ret->memory += s->memory;
            ret->invalid += s->invalid;
            ret->holds += s->hold;
            ret->nils += s->nil;
            ret->instructions_sum += s->instr_sum;
            if (s->instr_max > ret->instructions_max)
                ret->instructions_max = s->instr_max;
        }
    }
    ret->instructions_p50 = instructions_median(ps, ret->calls);
}
