/* What hooks returned, checked. Nothing here trusts a type, a range or a name. */
#include "policy/priv.h"

#include <math.h>
#include <stdio.h>

bool convert_is_hold(lua_State *L, int at)
{
    return luaL_testudata(L, at, "policy.hold") != NULL;
}

struct hold *convert_hold(lua_State *L, int at)
{
    return luaL_testudata(L, at, "policy.hold");
}

struct refusal *convert_refusal(lua_State *L, int at)
{
    return luaL_testudata(L, at, "policy.reject");
}

void convert_answer_refusal(struct policy_answer *a, const struct refusal *r, const char *policy)
{
    a->kind = POLICY_REFUSED;
    a->status = r->status;
    a->retry_after_s = r->retry_after;
    snprintf(a->code, sizeof(a->code), "%s", r->code);
    snprintf(a->message, sizeof(a->message), "%s", r->message);
    snprintf(a->policy, sizeof(a->policy), "%s", policy);
}

/* ---- plans ---- */

bool convert_plan(lua_State *L, int at, struct policies *ps, struct ops_plan *ret, char *why, const char **fault)
{
    at = lua_absindex(L, at);
    const struct sched *s = ps->sched;
    if (!lua_istable(L, at)) {
        *fault = "a plan is a table with evict";
        return false;
    }
    ret->n_evict = 0;
    ret->when = PLAN_IDLE;
    ret->grace_ms = 0;
    int type = lua_getfield(L, at, "evict");
    if (type != LUA_TTABLE && type != LUA_TNIL) {
        *fault = "evict: a list of model ids expected";
        return false;
    }
    for (lua_Integer i = 1; type == LUA_TTABLE && lua_geti(L, -1, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TUSERDATA) {
            *fault = "evict: a list of model ids expected";
            return false;
        }
        model_id m = view_to_model(L, -1);
        if (m == MODEL_NONE || ret->n_evict >= s->n_models) {
            *fault = m == MODEL_NONE ? "evict: no model of that name" : "evict: more victims than models";
            return false;
        }
        /* Already stopped, or named twice: nothing to do for it. */
        bool needless = s->models[m]->state == MODEL_STOPPED && !s->models[m]->swap;
        for (size_t k = 0; k < ret->n_evict; k++)
            needless = needless || ret->evict[k] == m;
        if (!needless)
            ret->evict[ret->n_evict++] = m;
        lua_pop(L, 1);
    }
    lua_settop(L, at);
    if (lua_getfield(L, at, "when") != LUA_TNIL) {
        const char *when = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (strcmp(when, "drain") == 0)
            ret->when = PLAN_DRAIN;
        else if (strcmp(when, "kill") == 0)
            ret->when = PLAN_KILL;
        else if (strcmp(when, "idle") != 0) {
            *fault = "when is \"idle\", \"drain\" or \"kill\"";
            return false;
        }
    }
    if (lua_getfield(L, at, "grace") != LUA_TNIL) {
        double g = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || !(g >= 0 && g <= 3600)) {
            *fault = "grace: 0 to 3600 seconds";
            return false;
        }
        ret->grace_ms = (msec)(g * 1000);
    }
    if (why && lua_getfield(L, at, "why") == LUA_TSTRING)
        snprintf(why, 80, "%s", lua_tostring(L, -1));
    /* I3: kill only victims that are marked preemptible, else it waits for them. */
    for (size_t i = 0; ret->when == PLAN_KILL && i < ret->n_evict; i++)
        if (!s->models[ret->evict[i]]->conf.preemptible)
            ret->when = PLAN_DRAIN;
    lua_settop(L, at);
    return true;
}

void convert_push_plan(lua_State *L, struct policies *ps, const struct ops_plan *plan)
{
    static const char *const when[] = { "idle", "drain", "kill" };
    lua_createtable(L, 0, 3);
    lua_createtable(L, (int)plan->n_evict, 0);
    for (size_t i = 0; i < plan->n_evict; i++) {
        str id = ps->sched->models[plan->evict[i]]->conf.id;
        lua_pushlstring(L, id.ptr, id.len);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "evict");
    lua_pushstring(L, when[plan->when]);
    lua_setfield(L, -2, "when");
}

/* ---- route and on_request ---- */

/* priority, deadline, class, tags; clamped (I10). */
static bool common(lua_State *L, int at, struct policy_answer *a, const char **fault)
{
    if (lua_getfield(L, at, "priority") != LUA_TNIL) {
        double v = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || isnan(v)) {
            *fault = "priority: a number expected";
            return false;
        }
        a->has_priority = true;
        a->priority = v > 1000000 ? 1000000 : v < -1000000 ? -1000000 : (int)v;
    }
    if (lua_getfield(L, at, "deadline") != LUA_TNIL) {
        double v = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || isnan(v)) {
            *fault = "deadline: a number of seconds expected";
            return false;
        }
        a->deadline_s = v < 0 ? 0 : v > 86400 ? 86400 : v;
    }
    if (lua_getfield(L, at, "class") != LUA_TNIL) {
        if (lua_type(L, -1) != LUA_TSTRING) {
            *fault = "class: a string expected";
            return false;
        }
        snprintf(a->class_, sizeof(a->class_), "%s", lua_tostring(L, -1));
    }
    if (lua_getfield(L, at, "tags") != LUA_TNIL) {
        if (!lua_istable(L, -1)) {
            *fault = "tags: a table expected";
            return false;
        }
        struct strbuf *b = &vm_policy(L)->scratch;
        strbuf_clear(b);
        b->full = false;
        if (!convert_json(L, lua_gettop(L), b, 0, fault))
            return false;
        if (b->full || b->len >= sizeof(a->tags_json)) {
            *fault = "tags: too much text";
            return false;
        }
        if (b->len > 0 && b->ptr[0] == '{')
            memcpy(a->tags_json, b->ptr, b->len + 1);
    }
    lua_settop(L, at);
    return true;
}

bool convert_admission(lua_State *L, int at, struct policy_answer *a, const char **fault)
{
    at = lua_absindex(L, at);
    if (!lua_istable(L, at)) {
        *fault = "a table with priority, deadline or class expected";
        return false;
    }
    return common(L, at, a, fault);
}

static bool add_model(lua_State *L, struct policy_answer *a, const char **fault)
{
    size_t len;
    const char *id = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (!id || len == 0 || len >= sizeof(a->models[0]) || a->n_models >= POLICY_MODELS_MAX) {
        *fault = "model: a name of at most 127 bytes expected, four in all";
        return false;
    }
    memcpy(a->models[a->n_models++], id, len + 1);
    return true;
}

bool convert_route(lua_State *L, int at, struct policy *p, struct policy_answer *a, const char **fault)
{
    at = lua_absindex(L, at);
    if (!lua_istable(L, at)) {
        *fault = "a table with model expected";
        return false;
    }
    if (lua_getfield(L, at, "model") != LUA_TNIL && !add_model(L, a, fault))
        return false;
    int type = lua_getfield(L, at, "models");
    if (type != LUA_TNIL && type != LUA_TTABLE) {
        *fault = "models: a list of names expected";
        return false;
    }
    for (lua_Integer i = 1; type == LUA_TTABLE && lua_geti(L, -1, i) != LUA_TNIL; i++) {
        if (!add_model(L, a, fault))
            return false;
        lua_pop(L, 1);
    }
    lua_settop(L, at);
    a->kind = a->n_models ? POLICY_ROUTED : POLICY_PASS;
    return common(L, at, a, fault);
}
