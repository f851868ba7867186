/* The set of policies: birth and death, of one and of all. */
#include "policy/priv.h"

#include "base/check.h"

#include <stdio.h>

/* ---- one policy ---- */

void policy_close(struct policy *p)
{
    if (!p)
        return;
    if (p->L)
        task_cancel_all(p);
    vm_close(p);
    for (size_t i = 0; i < p->n_series; i++) {
        free(p->series[i].name);
        free(p->series[i].labels);
    }
    free(p->series);
    strbuf_fini(&p->dump);
    free(p);
}

static struct policy *policy_new(struct policies *ps, const struct config_policy *conf)
{
    struct policy *p = mem_zalloc(sizeof(*p));
    p->ps = ps;
    p->conf = *conf;
    p->mem_limit = (size_t)(conf->memory_mb > 0 ? conf->memory_mb : 64) << 20;
    p->shadow = conf->mode == CONFIG_POLICY_SHADOW;
    p->required = conf->required && !p->shadow;
    p->state = conf->mode == CONFIG_POLICY_OFF ? PS_OFF : PS_ACTIVE;
    p->since = ps->now;
    p->retry_at = MSEC_NEVER;
    list_init(&p->tasks);
    list_init(&p->timers);
    strbuf_init(&p->dump, 64u << 10);
    snprintf(p->file, sizeof(p->file), STR_FMT, STR_ARG(conf->file));
    return p;
}

int policy_open(struct policies *ps, const struct config_policy *conf, struct policy **ret, struct error *e)
{
    struct policy *p = policy_new(ps, conf);
    rand_seed(&p->rand, str_hash(conf->file, ps->seed) | 1);
    int rc = vm_open(p, e);
    if (!rc)
        rc = vm_read_file(p->file, &p->scratch, e);
    if (!rc) {
        /* The scratch buffer is used while the chunk runs. */
        struct strbuf text = p->scratch;
        strbuf_init(&p->scratch, 4u << 20);
        rc = vm_load(p, strbuf_str(&text), e);
        strbuf_fini(&text);
    }
    if (rc) {
        if (e && !strstr(e->msg, p->file))
            error_wrap(e, "%s", p->file);
        policy_close(p);
        return rc;
    }
    p->next_tick = ps->now + (msec)(p->tick_interval_s * 1000);
    p->next_save = ps->now + 60000;
    *ret = p;
    return 0;
}

static int push_reason(lua_State *L, struct call *c)
{
    lua_createtable(L, 0, 2);
    lua_pushstring(L, c->text);
    lua_setfield(L, -2, "reason");
    lua_pushstring(L, c->text2);
    lua_setfield(L, -2, c->hook == POLICY_ON_STOP ? "kind" : "from");
    return 1;
}

void policy_start(struct policy *p, const char *reason, const char *from)
{
    struct call c = { .hook = POLICY_ON_START, .push = push_reason, .text = reason, .text2 = from };
    gate_call(p, &c);
}

void policy_stop(struct policy *p, const char *reason, const char *kind)
{
    struct call c = { .hook = POLICY_ON_STOP, .push = push_reason, .text = reason, .text2 = kind };
    gate_call(p, &c);
}

struct policy *policies_find(const struct policies *ps, str name)
{
    for (size_t i = 0; i < ps->n; i++)
        if (str_eq(str_c(ps->at[i]->name), name))
            return ps->at[i];
    return NULL;
}

int policies_check_claims(struct policy *const *at, size_t n, struct error *e)
{
    static const enum policy_hook single[] = { POLICY_SCORE, POLICY_PICK_NEXT, POLICY_PLAN_SWAP, POLICY_EVICT_COST,
                                               POLICY_IDLE_TTL };
    for (size_t i = 0; i < n; i++) {
        for (size_t k = i + 1; k < n; k++) {
            if (at[i]->name[0] && strcmp(at[i]->name, at[k]->name) == 0)
                return error_set(e, ERR_CONFIG, "%s and %s have the same name \"%s\"", at[i]->file, at[k]->file, at[i]->name);
            if (at[i]->shadow || at[k]->shadow || at[i]->state == PS_OFF || at[k]->state == PS_OFF)
                continue;
            for (size_t h = 0; h < ARRAY_LEN(single); h++)
                if (at[i]->present & at[k]->present & 1u << single[h])
                    return error_set(e, ERR_CONFIG, "both %s and %s define %s: only one policy may", at[i]->file,
                                     at[k]->file, hook_name(single[h]));
        }
    }
    return 0;
}

/* ---- the set ---- */

void policies_set_conf(struct policies *ps, const struct policies_conf *conf)
{
    ps->conf = *conf;
    ps->host = conf->host;
    snprintf(ps->scheduler, sizeof(ps->scheduler), "%s", conf->scheduler ? conf->scheduler : "serial");
}

/* Names of files that cannot be loaded, so that status can tell them apart. */
static void name_after_file(struct policy *p)
{
    const char *base = strrchr(p->file, '/');
    size_t n = 0;
    for (const char *c = base ? base + 1 : p->file; *c && *c != '.' && n < POLICY_NAME_MAX; c++)
        p->name[n++] = (*c >= 'a' && *c <= 'z') || chr_digit(*c) ? *c : '-';
    p->name[n] = '\0';
}

int policies_load(struct policies *ps, const struct policies_conf *conf, bool lenient, struct policy **at,
                  size_t *ret_n, struct error *e)
{
    size_t n = 0;
    int rc = 0;
    if (conf->n_files > POLICIES_MAX)
        return error_set(e, ERR_CONFIG, "more than %d policies", POLICIES_MAX);
    for (size_t i = 0; !rc && i < conf->n_files; i++) {
        const struct config_policy *f = &conf->files[i];
        struct error own = { 0 };
        if (f->mode == CONFIG_POLICY_OFF) {
            at[n] = policy_new(ps, f);
            name_after_file(at[n]);
            n++;
            continue;
        }
        rc = policy_open(ps, f, &at[n], &own);
        if (!rc && conf->host->rehearse)
            if ((rc = conf->host->rehearse(conf->host->ud, f, &own)) < 0)
                policy_close(at[n]);
        if (!rc) {
            n++;
        } else if (lenient) {
            at[n] = policy_new(ps, f);
            name_after_file(at[n]);
            at[n]->state = PS_REFUSED;
            snprintf(at[n]->last_error, sizeof(at[n]->last_error), "%s", own.msg);
            if (conf->host->log)
                conf->host->log(conf->host->ud, POLICY_LOG_ERROR, at[n]->name, own.msg);
            n++;
            rc = 0;
        } else if (e) {
            *e = own;
        }
    }
    if (!rc)
        rc = policies_check_claims(at, n, e);
    for (size_t i = 0; i < n; i++) {
        if (rc)
            policy_close(at[i]);
        else
            at[i]->index = (unsigned)i;
    }
    *ret_n = rc ? 0 : n;
    return rc;
}

int policies_new(const struct policies_conf *conf, bool lenient, msec now, struct policies **ret, struct error *e)
{
    struct policies *ps = mem_zalloc(sizeof(*ps));
    policies_set_conf(ps, conf);
    ps->now = now;
    ps->seed = conf->seed;
    ps->live = conf->live && !conf->virtual_time;
    if (!ps->seed)
        rand_bytes(&ps->seed, sizeof(ps->seed));
    list_init(&ps->routes);
    ps->trace = mem_calloc(POLICY_TRACE, sizeof(*ps->trace));
    ps->unload_model = MODEL_NONE;
    int rc = policies_load(ps, conf, lenient, ps->at, &ps->n, e);
    if (rc) {
        policies_free(ps);
        return rc;
    }
    ops_rebuild(ps);
    *ret = ps;
    return 0;
}

void policies_free(struct policies *ps)
{
    if (!ps)
        return;
    if (ps->sched)
        sched_set_ops(ps->sched, NULL, NULL);
    while (!list_empty(&ps->routes)) /* lost their caller with the server */
        policies_route_cancel(ps, (struct policy_route *)(void *)ps->routes.next);
    for (size_t i = 0; i < ps->n; i++)
        policy_close(ps->at[i]);
    ps->n = 0;
    for (size_t i = 0; ps->buckets && i <= ps->mask; i++)
        while (ps->buckets[i])
            preq_free(ps, ps->buckets[i]);
    for (size_t i = 0; i < ps->n_pending; i++)
        free(ps->pending[i].refusal);
    while (ps->spare_reqs) {
        struct preq *r = ps->spare_reqs;
        ps->spare_reqs = r->hash_next;
        free(r->text);
        free(r);
    }
    free(ps->spare_route);
    free(ps->spare_task);
    free(ps->pending);
    free(ps->buckets);
    free(ps->free_slots);
    free(ps->models);
    free(ps->trace);
    free(ps->scratch2);
    free(ps);
}

void policies_fit(struct policies *ps)
{
    size_t n = ps->sched->n_models;
    if (n <= ps->n_models && ps->models)
        return;
    ps->models = mem_resize(ps->models, n + 1, sizeof(*ps->models));
    memset(ps->models + ps->n_models, 0, (n + 1 - ps->n_models) * sizeof(*ps->models));
    ps->n_models = n;
    ps->scratch2 = mem_resize(ps->scratch2, n + 1, sizeof(*ps->scratch2));
}

static void start_all(struct policies *ps, const char *reason)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE)
            continue;
        struct strbuf *b = &p->scratch;
        struct error e = { 0 };
        if (strcmp(reason, "start") == 0 && state_read_file(p, b) == 0) {
            struct strbuf own = *b;
            strbuf_init(b, 4u << 20);
            if (state_restore(p, strbuf_str(&own), "", &e) < 0)
                vm_warn(p, "state file: %s", e.msg);
            strbuf_fini(&own);
        }
        policy_start(p, reason, "");
    }
}

void policies_attach(struct policies *ps, struct sched *s, msec now)
{
    if (!ps)
        return;
    ps->sched = s;
    ps->now = now;
    policies_fit(ps);
    ops_rebuild(ps);
    ops_apply(ps);
    start_all(ps, "start");
    ps->live = !ps->conf.virtual_time;
    policies_settle(ps, now);
}

void policies_stop(struct policies *ps, const char *reason, msec now)
{
    if (!ps)
        return;
    ps->now = now;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i]->state == PS_ACTIVE)
            policy_stop(ps->at[i], reason, "");
    ps->turn_ns = 0; /* the last turn: nobody waits any more, and states are to be kept */
    ps->live = false;
    state_due(ps, true);
}
