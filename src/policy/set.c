/* The set of policies: birth, the calls around a request, settling, time, change, death. */
#include "policy/priv.h"

#include "base/check.h"

#include <stdio.h>

#define ROUTE_TICKET (UINT64_C(1) << 63)

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
    p->mem_limit = (size_t)(conf->memory_mb > 0 ? conf->memory_mb : 16) << 20;
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

static void policy_stop(struct policy *p, const char *reason, const char *kind)
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

static void set_conf(struct policies *ps, const struct policies_conf *conf)
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

static int load_all(struct policies *ps, const struct policies_conf *conf, bool lenient, struct policy **at, size_t *ret_n,
                    struct error *e)
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
    set_conf(ps, conf);
    ps->now = now;
    ps->seed = conf->seed;
    if (!ps->seed)
        rand_bytes(&ps->seed, sizeof(ps->seed));
    list_init(&ps->routes);
    ps->trace = mem_calloc(POLICY_TRACE, sizeof(*ps->trace));
    ps->unload_model = MODEL_NONE;
    int rc = load_all(ps, conf, lenient, ps->at, &ps->n, e);
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
    state_due(ps, true);
}

bool policies_wants(const struct policies *ps, enum policy_hook h)
{
    if (!ps)
        return false;
    if (ps->wants & 1u << h)
        return true;
    for (size_t i = 0; i < ps->n; i++) /* a required one that is out must be seen to refuse */
        if (ps->at[i]->required && (h == POLICY_ROUTE || h == POLICY_ON_REQUEST) &&
            (ps->at[i]->state == PS_EJECTED || ps->at[i]->state == PS_REFUSED))
            return true;
    return false;
}

/* ---- around a request ---- */

static int push_request(lua_State *L, struct call *c)
{
    view_push_request(L, c->p, c->req);
    return 1;
}

static void take_admission(lua_State *L, struct call *c)
{
    struct policy_answer *a = c->out;
    const char *fault = NULL;
    if (lua_isnil(L, -1))
        return;
    const struct refusal *r = convert_refusal(L, -1);
    if (r) {
        convert_answer_refusal(a, r, c->p->name);
        c->verdict = V_REJECT;
    } else if (convert_admission(L, -1, a, &fault)) {
        snprintf(a->policy, sizeof(a->policy), "%s", c->p->name);
        c->verdict = V_VALUE;
    } else {
        c->verdict = V_INVALID;
        c->text2 = fault;
    }
}

static model_id model_named(const struct policies *ps, str id)
{
    for (size_t i = 0; ps->sched && i < ps->sched->n_models; i++)
        if (str_eq(ps->sched->models[i]->conf.id, id))
            return (model_id)i;
    return MODEL_NONE;
}

static void refuse(struct policy_answer *a, const struct policy *p, const char *text, const char *code)
{
    *a = (struct policy_answer){ .kind = POLICY_REFUSED, .status = 503, .retry_after_s = 1, .deadline_s = -1 };
    snprintf(a->policy, sizeof(a->policy), "%s", p ? p->name : "");
    snprintf(a->message, sizeof(a->message), "%s", text);
    snprintf(a->code, sizeof(a->code), "%s", code);
}

static struct preq *admit_record(struct policies *ps, ticket_id t, const struct policy_request_info *info)
{
    struct preq *routed = preq_find(ps, ROUTE_TICKET | info->id);
    if (routed) { /* ctx and tags go on with it: the slot moves */
        uint32_t slot = routed->slot;
        uint64_t uid = routed->uid;
        routed->slot = 0;
        struct preq *r = preq_new(ps, t, info);
        uint32_t unused = r->slot;
        r->slot = slot;
        r->uid = uid;
        routed->slot = unused;
        for (size_t i = 0; i < ps->n; i++) { /* views point at the record */
            struct policy *p = ps->at[i];
            if (p->L)
                view_move(p, slot, uid, r);
        }
        preq_free(ps, routed);
        return r;
    }
    return preq_new(ps, t, info);
}

static void apply(struct preq *r, const struct policy_answer *a)
{
    if (a->has_priority)
        r->priority = a->priority;
    if (a->deadline_s >= 0)
        r->deadline_s = a->deadline_s;
    if (a->class_[0])
        snprintf(r->class_buf, sizeof(r->class_buf), "%s", a->class_);
}

enum policy_answer_kind policies_on_request(struct policies *ps, ticket_id t, const struct policy_request_info *info,
                                            msec now, struct policy_answer *ret)
{
    *ret = (struct policy_answer){ .deadline_s = -1 };
    if (!ps)
        return POLICY_PASS;
    ps->now = now;
    struct preq *r = preq_find(ps, t);
    if (r)
        preq_free(ps, r);
    r = admit_record(ps, t, info);
    r->model = model_named(ps, info->model);
    r->body = info->body;
    if (info->tags_json.len && !r->tags_json) {
        r->tags_json = mem_zalloc(info->tags_json.len + 1);
        memcpy(r->tags_json, info->tags_json.ptr, info->tags_json.len);
    }
    const struct smodel *m = ps->sched && r->model != MODEL_NONE ? ps->sched->models[r->model] : NULL;
    if (m && ps->any_quarantine && r->model < ps->n_models && ps->models[r->model].quarantined_until > now &&
        m->state != MODEL_READY)
        refuse(ret, NULL, "the model is quarantined by a policy", "quarantined");
    for (size_t i = 0; ret->kind != POLICY_REFUSED && i < ps->n; i++) {
        struct policy *p = ps->at[i];
        bool out = p->state == PS_EJECTED || p->state == PS_REFUSED;
        if (p->required && out && (p->state == PS_REFUSED || (p->present & 1u << POLICY_ON_REQUEST))) {
            refuse(ret, p, "a required policy failed", "policy_failed");
            break;
        }
        if (!(p->present & 1u << POLICY_ON_REQUEST))
            continue;
        struct policy_answer own = { .deadline_s = -1 };
        struct call c = { .hook = POLICY_ON_REQUEST, .push = push_request, .take = take_admission, .req = r, .out = &own };
        enum verdict v = gate_call(p, &c);
        if (v >= V_ERROR && p->required) {
            refuse(ret, p, "a required policy failed", "policy_failed");
        } else if (!p->shadow && v == V_REJECT) {
            *ret = own;
        } else if (!p->shadow && v == V_VALUE && !ret->policy[0]) { /* the first answer wins, all are asked */
            *ret = own;
            ret->kind = POLICY_PASS;
            apply(r, ret);
        }
        if (v == V_REJECT || v == V_VALUE)
            ops_note_decision(ps, p, POLICY_ON_REQUEST, 'p', r->id, r->model, v == V_REJECT ? "refused" : "admitted");
    }
    r->body = STR_NONE;
    if (ret->kind == POLICY_REFUSED) {
        /* Those that said yes before see it leave. */
        snprintf(r->cause, sizeof(r->cause), "%.150s", ret->message);
        ops_deliver(ps, POLICY_ON_CANCEL, r, NULL, r->model, NULL, NULL);
        preq_free(ps, r);
    } else {
        r->accepted = true;
    }
    return ret->kind;
}

void policies_outcome(struct policies *ps, ticket_id t, const struct policy_outcome *o)
{
    struct preq *r = ps ? preq_find(ps, t) : NULL;
    if (!r)
        return;
    r->status = o->status;
    if (o->tokens_in >= 0) {
        r->tokens_in = o->tokens_in;
        r->tokens_exact = true;
    }
    r->tokens_out = o->tokens_out;
    r->cost = o->cost;
    snprintf(r->error, sizeof(r->error), "%.*s", (int)(o->error.len > 159 ? 159 : o->error.len),
             o->error.ptr ? o->error.ptr : "");
}

void policies_ticket_end(struct policies *ps, ticket_id t, const char *cause, msec now)
{
    struct preq *r = ps ? preq_find(ps, t) : NULL;
    if (!r)
        return;
    ps->now = now;
    /* Still known to the scheduler: its own note comes, and the record ends with that. */
    if (!r->ended_note && ps->sched && view_ticket(ps->sched, t)) {
        r->known = false;
        return;
    }
    if (r->accepted && !r->ended_note) {
        snprintf(r->cause, sizeof(r->cause), "%s", cause ? cause : "refused");
        ops_deliver(ps, POLICY_ON_CANCEL, r, NULL, r->model, NULL, NULL);
    }
    preq_free(ps, r);
}

static int push_rewrite(lua_State *L, struct call *c)
{
    view_push_request(L, c->p, c->req);
    const char *fault;
    if (!c->req->body.ptr || json_decode_to(L, c->req->body, &fault))
        lua_newtable(L);
    return 2;
}

static void take_rewrite(lua_State *L, struct call *c)
{
    struct strbuf *b = c->out;
    const char *fault = NULL;
    if (lua_isnil(L, -1))
        return;
    size_t before = b->len;
    if (!lua_istable(L, -1) || !convert_json(L, lua_gettop(L), b, 0, &fault) || b->full || b->ptr[before] != '{') {
        b->len = before;
        b->full = false;
        c->verdict = V_INVALID;
        c->text2 = fault ? fault : "a table of JSON members expected";
        return;
    }
    c->verdict = V_VALUE;
}

/* The record of a ticket for a call that brings its own knowledge. */
static struct preq *record_for(struct policies *ps, ticket_id t, const struct policy_request_info *info)
{
    struct preq *r = preq_find(ps, t);
    return r ? r : preq_new(ps, t, info);
}

bool policies_rewrite(struct policies *ps, ticket_id t, const struct policy_request_info *info, msec now,
                      struct strbuf *set_json)
{
    if (!ps || !policies_wants(ps, POLICY_REWRITE))
        return false;
    ps->now = now;
    struct preq *r = record_for(ps, t, info);
    r->body = info->body;
    bool changed = false;
    for (size_t i = 0; !changed && i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (!(p->present & 1u << POLICY_REWRITE))
            continue;
        size_t before = set_json->len;
        struct call c = { .hook = POLICY_REWRITE, .push = push_rewrite, .take = take_rewrite, .req = r, .out = set_json };
        enum verdict v = gate_call(p, &c);
        if (v != V_VALUE || p->shadow)
            set_json->len = before;
        changed = v == V_VALUE && !p->shadow;
    }
    r->body = STR_NONE;
    return changed;
}

static int push_failure(lua_State *L, struct call *c)
{
    view_push_request(L, c->p, c->req);
    lua_pushstring(L, c->text);
    return 2;
}

static void take_failure(lua_State *L, struct call *c)
{
    struct policy_retry *ret = c->out;
    if (lua_isnil(L, -1))
        return;
    c->verdict = V_INVALID;
    c->text2 = "a table {retry=, model=, delay=} expected";
    if (!lua_istable(L, -1))
        return;
    int at = lua_gettop(L);
    lua_getfield(L, at, "retry");
    ret->retry = lua_toboolean(L, -1);
    if (lua_getfield(L, at, "model") != LUA_TNIL) {
        size_t len;
        const char *id = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
        if (!id || len >= sizeof(ret->model))
            return;
        memcpy(ret->model, id, len + 1);
    }
    if (lua_getfield(L, at, "delay") != LUA_TNIL) {
        double d = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || !(d >= 0))
            return;
        ret->delay_ms = d > 30 ? 30000 : (msec)(d * 1000);
    }
    c->verdict = V_VALUE;
}

bool policies_on_failure(struct policies *ps, ticket_id t, const struct policy_request_info *info, str error, msec now,
                         struct policy_retry *ret)
{
    *ret = (struct policy_retry){ 0 };
    if (!ps || !policies_wants(ps, POLICY_ON_FAILURE))
        return false;
    ps->now = now;
    struct preq *r = record_for(ps, t, info);
    char text[200];
    snprintf(text, sizeof(text), "%.*s", (int)(error.len > 199 ? 199 : error.len), error.ptr ? error.ptr : "");
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        struct policy_retry own = { 0 };
        struct call c = { .hook = POLICY_ON_FAILURE, .push = push_failure, .take = take_failure, .req = r, .text = text, .out = &own };
        if (!(p->present & 1u << POLICY_ON_FAILURE) || gate_call(p, &c) != V_VALUE || p->shadow)
            continue;
        *ret = own;
        ops_note_decision(ps, p, POLICY_ON_FAILURE, 'p', r->id, r->model, own.retry ? "retry" : "fail");
        return own.retry;
    }
    return false;
}

/* ---- settling ---- */

bool policies_unsettled(const struct policies *ps)
{
    return ps->n_pending > 0 || ps->row_stale || ps->kick;
}

static bool may_unload(const struct policies *ps, model_id m, bool drain)
{
    const struct smodel *s = view_model(ps->sched, m);
    return s && s->state == MODEL_READY && !s->swap && s->victim_of == 0 && s->inflight == 0 &&
           !s->conf.pinned && !s->conf.group_persistent && (drain || !s->queue.root);
}

static void unload(struct policies *ps, model_id m, const char *by)
{
    snprintf(ps->models[m].unload_by, sizeof(ps->models[m].unload_by), "%s", by);
    ps->models[m].unload_when_idle = false;
    if (ps->host->unload)
        ps->host->unload(ps->host->ud, m, by);
}

static void perform(struct policies *ps, struct action *a)
{
    const struct policy_host *h = ps->host;
    if (a->kind != ACT_KICK && a->kind != ACT_CANCEL && (!ps->sched || a->model >= ps->n_models))
        return;
    switch (a->kind) {
    case ACT_PRELOAD:
        if (h->preload && ps->models[a->model].quarantined_until <= ps->now)
            h->preload(h->ud, a->model, a->evict, a->why);
        break;
    case ACT_UNLOAD:
        if (may_unload(ps, a->model, a->drain))
            unload(ps, a->model, a->by->name);
        else if (a->drain)
            ps->models[a->model].unload_when_idle = ps->any_unload = true;
        break;
    case ACT_KICK: ps->kick = true; break;
    case ACT_QUARANTINE:
        ps->models[a->model].quarantined_until = ps->now + a->ms;
        if (!ps->any_quarantine)
            ps->row_stale = true;
        ps->any_quarantine = true;
        ps->kick = true;
        break;
    case ACT_CANCEL: {
        const struct preq *r = preq_by_id(ps, a->request);
        const struct ticket *t = r ? preq_ticket(r) : NULL;
        if (t && t->state == TICKET_QUEUED && h->cancel)
            h->cancel(h->ud, t->id, a->refusal);
        break;
    }
    }
    static const char *const names[] = { "preload", "unload", "kick", "quarantine", "cancel" };
    ops_note_decision(ps, a->by, POLICY_TICK, 'p', a->request, a->model, "%s", names[a->kind]);
}

static void finish_ejected(struct policies *ps)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_EJECTED || !p->L)
            continue;
        eject_make_dump(p, true);
        if (ps->host->log)
            ps->host->log(ps->host->ud, POLICY_LOG_WARN, p->name, p->dump.ptr ? p->dump.ptr : "");
        task_cancel_all(p);
        vm_close(p);
        p->mem_used = 0;
        if (p->conf.on_eject == CONFIG_EJECT_EXIT && ps->host->exit)
            ps->host->exit(ps->host->ud, p->name);
    }
}

void policies_settle_now(struct policies *ps, msec now)
{
    if (ps->settling)
        return;
    ps->settling = true;
    ps->now = now;
    for (int round = 0; round < 8 && policies_unsettled(ps); round++) {
        if (ps->row_stale) {
            ps->row_stale = false;
            finish_ejected(ps);
            ops_rebuild(ps);
            ops_apply(ps);
        }
        size_t n = ps->n_pending;
        for (size_t i = 0; i < n; i++) {
            struct action a = ps->pending[i];
            perform(ps, &a);
            free(a.refusal);
        }
        ps->n_pending -= n;
        if (n > 0)
            memmove(ps->pending, ps->pending + n, ps->n_pending * sizeof(*ps->pending));
        if (ps->kick) {
            ps->kick = false;
            if (ps->host->kick)
                ps->host->kick(ps->host->ud);
        }
    }
    ps->settling = false;
}

/* ---- time ---- */

static int push_now(lua_State *L, struct call *c)
{
    lua_pushnumber(L, (double)c->p->ps->now / 1000);
    return 1;
}

static void unloads_due(struct policies *ps)
{
    bool left = false;
    for (size_t i = 0; i < ps->n_models; i++) {
        if (!ps->models[i].unload_when_idle)
            continue;
        const struct smodel *m = view_model(ps->sched, (model_id)i);
        if (!m || m->state != MODEL_READY)
            ps->models[i].unload_when_idle = false;
        else if (may_unload(ps, (model_id)i, false))
            unload(ps, (model_id)i, "policy");
        left = left || ps->models[i].unload_when_idle;
    }
    ps->any_unload = left;
}

void policies_tick(struct policies *ps, msec now)
{
    if (!ps)
        return;
    ps->now = now;
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE || !(p->present & 1u << POLICY_TICK) || now < p->next_tick)
            continue;
        p->next_tick = now + (msec)(p->tick_interval_s * 1000);
        struct call c = { .hook = POLICY_TICK, .push = push_now };
        gate_call(p, &c);
    }
    task_tick(ps, now);
    if (ps->any_unload && ps->sched)
        unloads_due(ps);
    policies_settle(ps, now);
    eject_due(ps, now);
    state_due(ps, false);
    policies_settle(ps, now);
}

msec policies_next(const struct policies *ps)
{
    msec next = MSEC_NEVER;
    if (!ps)
        return next;
    for (size_t i = 0; i < ps->n; i++) {
        const struct policy *p = ps->at[i];
        msec at = p->state == PS_EJECTED ? p->retry_at : MSEC_NEVER;
        if (p->state == PS_ACTIVE) {
            at = task_next(p);
            if ((p->present & 1u << POLICY_TICK) && p->next_tick < at)
                at = p->next_tick;
            if (p->conf.state_file.len && p->next_save < at)
                at = p->next_save;
        }
        next = at < next ? at : next;
    }
    if (ps->any_unload && ps->now + 250 < next)
        next = ps->now + 250;
    return next;
}

void policies_idle(struct policies *ps, unsigned budget_us)
{
    for (size_t i = 0; ps && i < ps->n; i++)
        vm_gc_idle(ps->at[i], (uint64_t)budget_us * 1000);
}

/* ---- change ---- */

/* State of `from` into `to`: as data, then migrate(). */
static int hand_over_state(struct policy *from, struct policy *to, struct error *e)
{
    struct strbuf b = STRBUF(2 * POLICY_STATE_MAX);
    int rc = state_save(from, &b, e);
    if (!rc)
        rc = state_restore(to, strbuf_str(&b), from->version, e);
    strbuf_fini(&b);
    return rc ? error_wrap(e, "%s: state", from->name) : 0;
}

/* Old set out, new set in; back again when on_start of one of them fails. */
static int exchange(struct policies *ps, struct policy **fresh, size_t n, msec now, struct error *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        struct policy *old = fresh[i]->name[0] ? policies_find(ps, str_c(fresh[i]->name)) : NULL;
        if (old && old->L && fresh[i]->L && old->state == PS_ACTIVE)
            rc = hand_over_state(old, fresh[i], e);
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < ps->n; i++)
        if (ps->at[i]->state == PS_ACTIVE)
            policy_stop(ps->at[i], "reload", "");
    struct policy *before[POLICIES_MAX];
    size_t n_before = ps->n;
    memcpy(before, ps->at, sizeof(before));
    memcpy(ps->at, fresh, n * sizeof(*fresh));
    ps->n = n;
    ops_rebuild(ps);
    for (size_t i = 0; i < n; i++) {
        if (ps->at[i]->state != PS_ACTIVE)
            continue;
        policy_start(ps->at[i], "reload", "");
        if (ps->at[i]->state != PS_ACTIVE)
            rc = error_set(e, ERR_CONFIG, "%s", ps->at[i]->last_error);
    }
    if (rc) {
        memcpy(ps->at, before, sizeof(before));
        ps->n = n_before;
        ops_rebuild(ps);
        for (size_t i = 0; i < ps->n; i++)
            if (ps->at[i]->state == PS_ACTIVE)
                policy_start(ps->at[i], "reload", "");
        ps->row_stale = true;
        return rc;
    }
    for (size_t i = 0; i < n_before; i++) {
        bool kept = false;
        for (size_t k = 0; k < n; k++)
            kept = kept || before[i] == ps->at[k];
        if (!kept) {
            for (size_t a = 0; a < ps->n_pending; a++) /* its last wishes lose their author */
                if (ps->pending[a].by == before[i])
                    ps->pending[a].by = ps->at[0];
            policy_close(before[i]);
        }
    }
    ps->holder = NULL;
    ps->row_stale = true;
    return 0;
}

int policies_reconfigure(struct policies *ps, const struct policies_conf *conf, msec now, struct error *e)
{
    ps->now = now;
    struct policy *fresh[POLICIES_MAX];
    size_t n = 0;
    struct policies_conf old = ps->conf;
    set_conf(ps, conf);
    if (ps->sched)
        policies_fit(ps);
    int rc = load_all(ps, conf, false, fresh, &n, e);
    if (!rc && (rc = exchange(ps, fresh, n, now, e)) < 0)
        for (size_t i = 0; i < n; i++)
            policy_close(fresh[i]);
    if (rc)
        set_conf(ps, &old);
    policies_settle(ps, now);
    return rc;
}

static int replace_one(struct policies *ps, size_t at, msec now, struct error *e)
{
    struct policy *fresh[POLICIES_MAX], *one;
    struct config_policy conf = ps->at[at]->conf;
    int rc = policy_open(ps, &conf, &one, e);
    if (rc)
        return rc;
    if (ps->host->rehearse && (rc = ps->host->rehearse(ps->host->ud, &conf, e)) < 0) {
        policy_close(one);
        return rc;
    }
    memcpy(fresh, ps->at, sizeof(fresh));
    fresh[at] = one;
    if ((rc = policies_check_claims(fresh, ps->n, e)) < 0) {
        policy_close(one);
        return rc;
    }
    /* Only this one changes hands: the others neither stop nor start. */
    struct policy *old = ps->at[at];
    if (old->L && old->state == PS_ACTIVE && (rc = hand_over_state(old, one, e)) < 0) {
        policy_close(one);
        return rc;
    }
    if (old->state == PS_ACTIVE)
        policy_stop(old, "reload", "");
    one->index = (unsigned)at;
    one->ejections = old->ejections;
    ps->at[at] = one;
    ops_rebuild(ps);
    policy_start(one, "reload", "");
    if (one->state != PS_ACTIVE) {
        rc = error_set(e, ERR_CONFIG, "%s", one->last_error);
        ps->at[at] = old;
        ops_rebuild(ps);
        if (old->state == PS_ACTIVE)
            policy_start(old, "reload", "");
        policy_close(one);
    } else {
        for (size_t a = 0; a < ps->n_pending; a++)
            if (ps->pending[a].by == old)
                ps->pending[a].by = one;
        policy_close(old);
    }
    ps->holder = NULL;
    ps->row_stale = true;
    return rc;
}

static int index_of(const struct policies *ps, str name, size_t *ret, struct error *e)
{
    for (size_t i = 0; ps && i < ps->n; i++) {
        if (str_eq(str_c(ps->at[i]->name), name)) {
            *ret = i;
            return 0;
        }
    }
    return error_set(e, ERR_NOTFOUND, "no policy \"" STR_FMT "\"", STR_ARG(name));
}

int policies_reload(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc)
        return rc;
    ps->now = now;
    if (ps->at[i]->state == PS_OFF)
        return error_set(e, ERR_CONFIG, "the policy is off in the configuration");
    rc = replace_one(ps, i, now, e);
    policies_settle(ps, now);
    return rc;
}

int policies_resume(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc || ps->at[i]->state == PS_ACTIVE)
        return rc;
    return policies_reload(ps, name, now, e);
}

int policies_disable(struct policies *ps, str name, msec now, struct error *e)
{
    size_t i;
    int rc = index_of(ps, name, &i, e);
    if (rc)
        return rc;
    struct policy *p = ps->at[i];
    ps->now = now;
    if (p->state == PS_ACTIVE)
        policy_stop(p, "disable", "");
    if (p->L)
        task_cancel_all(p);
    p->state = PS_DISABLED;
    p->since = now;
    ps->row_stale = true;
    policies_settle(ps, now);
    return 0;
}
