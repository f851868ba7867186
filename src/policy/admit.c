/* The hooks around one request that may not wait: on_request, rewrite, on_failure, and the end of its ticket. */
#include "policy/priv.h"

#include <stdio.h>

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
        memcpy(a->policy, c->p->name, sizeof(a->policy));
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
    struct preq *before = preq_find(ps, ROUTE_TICKET | info->id);
    return before ? preq_succeed(ps, before, t, info) : preq_new(ps, t, info);
}

/* What ends here, or goes on to the next ticket of the same request. */
static void let_go(struct policies *ps, struct preq *r)
{
    if (!r->again || preq_find(ps, ROUTE_TICKET | r->id)) {
        preq_free(ps, r);
        return;
    }
    struct policy_request_info none = { .id = r->id, .deadline_s = -1 };
    preq_succeed(ps, r, ROUTE_TICKET | r->id, &none);
}

void policies_again(struct policies *ps, ticket_id t)
{
    struct preq *r = ps ? preq_find(ps, t) : NULL;
    if (r)
        r->again = true;
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
    policy_answer_clear(ret);
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
        struct policy_answer own;
        policy_answer_clear(&own);
        struct call c = { .hook = POLICY_ON_REQUEST, .push = push_request, .take = take_admission, .req = r, .out = &own };
        enum verdict v = gate_call(p, &c);
        if (v >= V_ERROR && p->required) {
            refuse(ret, p, "a required policy failed", "policy_failed");
        } else if (!p->shadow && v == V_REJECT) {
            policy_answer_copy(ret, &own);
        } else if (!p->shadow && v == V_VALUE && !ret->policy[0]) { /* the first answer wins, all are asked */
            policy_answer_copy(ret, &own);
            ret->kind = POLICY_PASS;
            apply(r, ret);
        }
        if (p->shadow && v < V_ERROR) { /* everybody was let in unchanged, as far as it is concerned */
            if (v == V_REJECT || v == V_VALUE)
                p->disagree[POLICY_ON_REQUEST]++;
            else
                p->agree[POLICY_ON_REQUEST]++;
        } else if (v == V_REJECT || v == V_VALUE)
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
    size_t len = o->error.len < sizeof(r->error) ? o->error.len : sizeof(r->error) - 1;
    if (len > 0)
        memcpy(r->error, o->error.ptr, len);
    r->error[len] = '\0';
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
    let_go(ps, r);
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
    if (!t)
        t = ROUTE_TICKET | info->id; /* policies_request_end frees it */
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
        return true;
    }
    return false;
}
