/* Strikes, ejection, what is left behind for people, and the way back. */
#include "policy/priv.h"

#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>

#define STRIKE_WINDOW_MS 60000

static const msec backoff[] = { 30000, 120000, 600000 };

static void say(struct policy *p, enum policy_log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void say(struct policy *p, enum policy_log_level level, const char *fmt, ...)
{
    char line[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    const struct policy_host *h = p->ps->host;
    if (h->log)
        h->log(h->ud, level, p->name, line);
}

void eject_fatal(struct policy *p, enum policy_hook h, const char *kind, const char *msg)
{
    struct policies *ps = p->ps;
    if (p->state != PS_ACTIVE)
        return;
    p->state = PS_EJECTED; /* from here on its hooks answer "no opinion" */
    p->since = ps->now;
    p->ejections++;
    p->n_strikes = 0;
    p->eject_hook = h;
    snprintf(p->eject_kind, sizeof(p->eject_kind), "%s", kind);
    snprintf(p->eject_msg, sizeof(p->eject_msg), "%s", msg);
    p->retry_at = MSEC_NEVER;
    if (p->conf.on_eject == CONFIG_EJECT_RETRY && p->retries < ARRAY_LEN(backoff))
        p->retry_at = ps->now + backoff[p->retries++];
    say(p, POLICY_LOG_ERROR, "ejected: %s (%s)", kind, msg);
    char again[60] = "it stays out";
    if (p->retry_at != MSEC_NEVER)
        snprintf(again, sizeof(again), "retry in %lld s", (long long)(p->retry_at - ps->now) / 1000);
    say(p, POLICY_LOG_ERROR, "scheduler is now built-in \"%s\"; see /api/policy/%s/dump; %s", ps->scheduler, p->name, again);
    ps->row_stale = true; /* the rest when nothing runs: policies_settle */
}

void eject_strike(struct policy *p, enum policy_hook h, enum verdict v, const char *msg)
{
    struct policies *ps = p->ps;
    snprintf(p->last_error, sizeof(p->last_error), "%s", msg ? msg : "");
    if (ps->now / 1000 != p->error_second) {
        p->error_second = ps->now / 1000;
        p->error_count = 0;
    }
    if (p->error_count++ < 5)
        say(p, POLICY_LOG_WARN, "%s", p->last_error);
    if (p->state != PS_ACTIVE)
        return;
    if (v == V_MEMORY || h == POLICY_ON_START) {
        eject_fatal(p, h, v == V_MEMORY ? "memory" : "start", p->last_error);
        return;
    }
    /* Old ones decay. */
    unsigned kept = 0;
    for (unsigned i = 0; i < p->n_strikes; i++)
        if (ps->now - p->strikes[i] < STRIKE_WINDOW_MS)
            p->strikes[kept++] = p->strikes[i];
    p->n_strikes = kept;
    p->strikes[p->n_strikes++] = ps->now;
    if (p->n_strikes < ARRAY_LEN(p->strikes))
        return;
    eject_fatal(p, h, v == V_BUDGET ? "budget" : v == V_INVALID ? "invalid" : "error", p->last_error);
}

unsigned eject_strikes(const struct policy *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->n_strikes; i++)
        n += p->ps->now - p->strikes[i] < STRIKE_WINDOW_MS;
    return n;
}

/* ---- the dump ---- */

static void take_dump(lua_State *L, struct call *c)
{
    struct strbuf *b = c->out;
    const char *fault = NULL;
    if (lua_isnil(L, -1))
        return;
    size_t before = b->len;
    if (!convert_json(L, lua_gettop(L), b, 0, &fault) || b->full || b->len - before > (16u << 10)) {
        b->len = before;
        b->full = false;
        strbuf_add(b, S("\"more than 16 KB, or no data\""));
    }
    c->verdict = V_VALUE;
}

static void text_member(struct strbuf *b, const char *key, const char *text)
{
    strbuf_addf(b, "\"%s\":\"", key);
    strbuf_add_json(b, str_c(text));
    strbuf_add(b, S("\","));
}

static void dump_decisions(struct policy *p, struct strbuf *b)
{
    strbuf_add(b, S("\"decisions\":["));
    size_t n = p->n_last < POLICY_DECISIONS ? p->n_last : POLICY_DECISIONS;
    for (size_t i = 0; i < n; i++) {
        const struct decision *d = &p->last[(p->n_last - n + i) % POLICY_DECISIONS];
        strbuf_addf(b, "%s{\"t\":%lld,\"hook\":\"%s\",\"source\":\"%c\",\"request\":%llu,\"text\":\"", i ? "," : "",
                    (long long)d->now, hook_name(d->hook), d->source, (unsigned long long)d->request);
        strbuf_add_json(b, str_c(d->text));
        strbuf_add(b, S("\"}"));
    }
    strbuf_add(b, S("],"));
}

static void dump_world(const struct policies *ps, struct strbuf *b)
{
    const struct sched *s = ps->sched;
    strbuf_addf(b, "\"waiting\":%zu,\"inflight\":%zu,\"models\":[", s ? sched_waiting(s) : 0, s ? s->inflight : 0);
    for (size_t i = 0; s && i < s->n_models && i < 100; i++) {
        const struct smodel *m = s->models[i];
        strbuf_addf(b, "%s{\"id\":\"", i ? "," : "");
        strbuf_add_json(b, m->conf.id);
        strbuf_addf(b, "\",\"state\":\"%s\",\"inflight\":%u,\"queued\":%zu}", model_state_name(m->state), m->inflight,
                    model_queued(m));
    }
    strbuf_add(b, S("],"));
}

void eject_make_dump(struct policy *p, bool ask)
{
    struct strbuf *b = &p->dump;
    strbuf_clear(b);
    b->full = false;
    b->max = 64u << 10;
    strbuf_addc(b, '{');
    text_member(b, "policy", p->name);
    text_member(b, "version", p->version);
    text_member(b, "file", p->file);
    text_member(b, "sha256", p->sha256);
    text_member(b, "kind", p->eject_kind);
    text_member(b, "hook", p->eject_kind[0] ? hook_name(p->eject_hook) : "");
    text_member(b, "message", p->eject_msg);
    text_member(b, "last_error", p->last_error);
    strbuf_addf(b, "\"at\":%lld,\"memory_kb\":%zu,\"memory_peak_kb\":%zu,\"instructions\":%llu,", (long long)p->since,
                p->mem_used >> 10, p->mem_peak >> 10, (unsigned long long)p->m.used);
    dump_decisions(p, b);
    dump_world(p->ps, b);
    strbuf_add(b, S("\"dump\":"));
    size_t at = b->len;
    bool can = ask && p->L && (p->present & 1u << POLICY_DUMP) && strcmp(p->eject_kind, "memory") != 0;
    if (can) {
        enum policy_state was = p->state;
        p->state = PS_ACTIVE;
        struct call c = { .hook = POLICY_DUMP, .take = take_dump, .out = b, .quiet = true };
        if (gate_call(p, &c) != V_VALUE)
            b->len = at;
        p->state = was;
    }
    if (b->len == at)
        strbuf_add(b, S("null"));
    strbuf_addc(b, '}');
}

/* ---- the way back ---- */

static void come_back(struct policy *old, size_t at, msec now)
{
    struct policies *ps = old->ps;
    struct policy *fresh = NULL;
    struct error e = { 0 };
    if (policy_open(ps, &old->conf, &fresh, &e) < 0) {
        say(old, POLICY_LOG_ERROR, "retry failed: %s", e.msg);
        old->retry_at = old->retries < ARRAY_LEN(backoff) ? now + backoff[old->retries++] : MSEC_NEVER;
        return;
    }
    fresh->ejections = old->ejections;
    fresh->retries = old->retries;
    memcpy(fresh->stats, old->stats, sizeof(fresh->stats));
    snprintf(fresh->eject_kind, sizeof(fresh->eject_kind), "%s", old->eject_kind);
    snprintf(fresh->eject_msg, sizeof(fresh->eject_msg), "%s", old->eject_msg);
    fresh->eject_hook = old->eject_hook;
    fresh->index = (unsigned)at;
    struct strbuf dump = old->dump;
    strbuf_init(&old->dump, 1);
    fresh->dump = dump;
    ps->at[at] = fresh;
    policy_close(old);
    policy_start(fresh, "retry", "");
    say(fresh, POLICY_LOG_INFO, "back in charge after an ejection");
    ps->row_stale = true;
}

void eject_due(struct policies *ps, msec now)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state == PS_EJECTED && !p->L && now >= p->retry_at) {
            p->retry_at = MSEC_NEVER;
            come_back(p, i, now);
        }
    }
}
