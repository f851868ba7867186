/* What hooks returned, checked. Nothing here trusts a type, a range or a name. */
#include "policy/priv.h"

#include <math.h>
#include <stdio.h>

/* Each kind of userdata that policies can hold has its own size (view.c asserts it): cheaper than its metatable. */
static void *userdata_of(lua_State *L, int at, size_t size)
{
    void *u = lua_touserdata(L, at);
    return u && lua_rawlen(L, at) == size ? u : NULL;
}

bool convert_is_hold(lua_State *L, int at)
{
    return convert_hold(L, at) != NULL;
}

struct hold *convert_hold(lua_State *L, int at)
{
    return userdata_of(L, at, sizeof(struct hold));
}

struct refusal *convert_refusal(lua_State *L, int at)
{
    return userdata_of(L, at, sizeof(struct refusal));
}

void policy_answer_copy(struct policy_answer *to, const struct policy_answer *from)
{
    to->kind = from->kind;
    to->n_models = from->n_models;
    to->has_priority = from->has_priority;
    to->priority = from->priority;
    to->status = from->status;
    to->deadline_s = from->deadline_s;
    to->retry_after_s = from->retry_after_s;
    for (size_t i = 0; i < from->n_models; i++)
        memcpy(to->models[i], from->models[i], sizeof(to->models[i]));
    memcpy(to->policy, from->policy, sizeof(to->policy));
    const struct {
        char *to;
        const char *from;
    } texts[] = { { to->class_, from->class_ }, { to->tags_json, from->tags_json }, { to->code, from->code },
                  { to->message, from->message } }; /* of the same sizes on both sides */
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (texts[i].from[0])
            memcpy(texts[i].to, texts[i].from, strlen(texts[i].from) + 1);
        else
            texts[i].to[0] = '\0';
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

enum answer_field { A_MODEL, A_MODELS, A_PRIORITY, A_DEADLINE, A_CLASS, A_TAGS, A_FIELDS };
static const str answer_names[A_FIELDS] = { { "model", 5 }, { "models", 6 }, { "priority", 8 },
                                            { "deadline", 8 }, { "class", 5 }, { "tags", 4 } };

/* The values of the answer at `at`, nil where there is none, on the stack behind `base`, and the answer itself. Answers are
 * small: going through one costs less than asking it for six names. One that is not plain is asked by has(). */
static void unpack(lua_State *L, int at, int base)
{
    luaL_checkstack(L, 2 * A_FIELDS + 8, NULL);
    lua_settop(L, base + A_FIELDS);
    bool plain = !lua_getmetatable(L, at);
    int n = 0;
    if (plain)
        lua_pushnil(L);
    while (plain && lua_next(L, at)) {
        if (++n > 2 * A_FIELDS) {
            plain = false;
            break;
        }
        str key = STR_NONE;
        if (lua_type(L, -2) == LUA_TSTRING)
            key.ptr = lua_tolstring(L, -2, &key.len);
        for (int f = 0; f < A_FIELDS; f++)
            if (key.len == answer_names[f].len && memcmp(key.ptr, answer_names[f].ptr, key.len) == 0) {
                lua_pushvalue(L, -1);
                lua_replace(L, base + 1 + f);
                break;
            }
        lua_pop(L, 1);
    }
    lua_settop(L, base + A_FIELDS);
    for (int f = 0; !plain && f < A_FIELDS; f++) {
        lua_pushlightuserdata(L, (void *)(uintptr_t)&answer_names[f]);
        lua_replace(L, base + 1 + f);
    }
    lua_pushvalue(L, at);
}

/* Is there such a value? Then it is pushed. */
static bool has(lua_State *L, int base, enum answer_field f)
{
    int at = base + 1 + (int)f;
    if (lua_isnil(L, at))
        return false;
    if (lua_touserdata(L, at) == &answer_names[f])
        lua_getfield(L, base + 1 + A_FIELDS, answer_names[f].ptr);
    else
        lua_pushvalue(L, at);
    return !lua_isnil(L, -1);
}

/* priority, deadline, class, tags; clamped (I10). */
static bool common(lua_State *L, int base, struct policy_answer *a, const char **fault)
{
    if (has(L, base, A_PRIORITY)) {
        double v = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || isnan(v)) {
            *fault = "priority: a number expected";
            return false;
        }
        a->has_priority = true;
        a->priority = v > 1000000 ? 1000000 : v < -1000000 ? -1000000 : (int)v;
    }
    if (has(L, base, A_DEADLINE)) {
        double v = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || isnan(v)) {
            *fault = "deadline: a number of seconds expected";
            return false;
        }
        a->deadline_s = v < 0 ? 0 : v > 86400 ? 86400 : v;
    }
    if (has(L, base, A_CLASS)) {
        if (lua_type(L, -1) != LUA_TSTRING) {
            *fault = "class: a string expected";
            return false;
        }
        snprintf(a->class_, sizeof(a->class_), "%s", lua_tostring(L, -1));
    }
    if (has(L, base, A_TAGS)) {
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
    lua_settop(L, base);
    return true;
}

bool convert_admission(lua_State *L, int at, struct policy_answer *a, const char **fault)
{
    at = lua_absindex(L, at);
    if (!lua_istable(L, at)) {
        *fault = "a table with priority, deadline or class expected";
        return false;
    }
    int base = lua_gettop(L);
    unpack(L, at, base);
    return common(L, base, a, fault);
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
    int base = lua_gettop(L);
    unpack(L, at, base);
    if (has(L, base, A_MODEL) && !add_model(L, a, fault))
        return false;
    int type = has(L, base, A_MODELS) ? lua_type(L, -1) : LUA_TNIL;
    if (type != LUA_TNIL && type != LUA_TTABLE) {
        *fault = "models: a list of names expected";
        return false;
    }
    for (lua_Integer i = 1; type == LUA_TTABLE && lua_geti(L, -1, i) != LUA_TNIL; i++) {
        if (!add_model(L, a, fault))
            return false;
        lua_pop(L, 1);
    }
    a->kind = a->n_models ? POLICY_ROUTED : POLICY_PASS;
    return common(L, base, a, fault);
}
