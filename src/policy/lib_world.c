/* The world as a policy sees it, and what it may ask for. Actions are only written down here; they happen after the
 * hook returned without an error (gate.c, then policies_settle). */
#include "policy/priv.h"

#include <math.h>
#include <stdio.h>

int lib_world_find(const char *table, const char *name, lua_CFunction *ret);

static inline void enter(lua_State *L)
{
    unsigned phases = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    if (!(vm_policy(L)->phase & phases))
        lib_phase(L, lua_tostring(L, lua_upvalueindex(2)), phases);
}

static const struct sched *world(lua_State *L)
{
    const struct sched *s = vm_policy(L)->ps->sched;
    if (!s)
        luaL_error(L, "there is no queue yet");
    return s;
}

static int l_models(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    const struct sched *s = world(L);
    lua_createtable(L, (int)s->n_models, 0);
    lua_Integer n = 0;
    gate_charge(L, s->n_models);
    for (size_t i = 0; i < s->n_models; i++) {
        if (s->models[i]->conf.retired)
            continue;
        view_push_model(L, p, (model_id)i);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int l_model(lua_State *L)
{
    enter(L);
    luaL_checkany(L, 1);
    world(L);
    model_id m = view_to_model(L, 1);
    if (m == MODEL_NONE)
        lua_pushnil(L);
    else
        view_push_model(L, vm_policy(L), m);
    return 1;
}

static int l_running(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    const struct sched *s = world(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct list *it = s->present.next; it != &s->present; it = it->next) {
        const struct smodel *m = LIST_ENTRY(it, struct smodel, present_link);
        if (!model_alive(m))
            continue;
        view_push_model(L, p, m->self);
        lua_rawseti(L, -2, ++n);
    }
    gate_charge(L, (uint64_t)n);
    return 1;
}

static int l_swaps(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    const struct sched *s = world(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (struct list *it = s->swaps.next; it != &s->swaps; it = it->next) {
        view_push_swap(L, p, LIST_ENTRY(it, struct swap, link), NULL);
        lua_rawseti(L, -2, ++n);
    }
    gate_charge(L, (uint64_t)n * 4);
    return 1;
}

static int l_queue(lua_State *L)
{
    enter(L);
    view_push_queue(L, vm_policy(L), true);
    return 1;
}

static int l_gpu(lua_State *L)
{
    enter(L);
    return view_gpu(L);
}

static int l_host(lua_State *L)
{
    enter(L);
    const struct policy_host *h = vm_policy(L)->ps->host;
    double mem = 0, load = 0;
    if (h->host_facts)
        h->host_facts(h->ud, &mem, &load);
    lua_createtable(L, 0, 2);
    lua_pushnumber(L, mem);
    lua_setfield(L, -2, "mem_free_mb");
    lua_pushnumber(L, load);
    lua_setfield(L, -2, "load1");
    return 1;
}

/* ---- what the core would have done ---- */

static int l_builtin_pick(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    const struct ticket *t = sched_cand_first(world(L), CAND_ANY, MODEL_NONE);
    if (t)
        view_push_request(L, p, preq_get(p->ps, t));
    else
        lua_pushnil(L);
    return 1;
}

static int l_builtin_plan(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    const struct sched *s = world(L);
    model_id m = view_to_model(L, 1);
    if (m == MODEL_NONE)
        return luaL_argerror(L, 1, "no model of that name");
    policies_fit(p->ps);
    struct ops_plan plan = { .evict = p->ps->scratch2 };
    gate_charge(L, s->n_models);
    enum ops_answer a = ops_builtin_plan(p->ps, s, m, &plan);
    if (a == OPS_HOLD) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_hold);
        struct hold *h = lua_touserdata(L, -1);
        *h = (struct hold){ .sec = (double)plan.hold_ms / 1000, .given = true };
        snprintf(h->why, sizeof(h->why), "no room");
        return 1;
    }
    convert_push_plan(L, p->ps, &plan);
    return 1;
}

static int l_builtin_route(lua_State *L)
{
    enter(L);
    const struct preq *r = view_to_request(L, 1);
    if (!r)
        return luaL_argerror(L, 1, "a request expected");
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, r->model_name.ptr ? r->model_name.ptr : "", r->model_name.len);
    lua_setfield(L, -2, "model");
    return 1;
}

/* ---- actions ---- */

/* A new one, or NULL when this hook has asked for too many (nil and a message are pushed then). */
static struct action *action(lua_State *L, enum act kind, model_id m)
{
    struct policy *p = vm_policy(L);
    if (p->n_actions >= p->max_actions || p->n_actions >= POLICY_ACTIONS_MAX) {
        luaL_pushfail(L);
        lua_pushliteral(L, "too many actions in one call");
        return NULL;
    }
    struct action *a = &p->actions[p->n_actions++];
    memset(a, 0, sizeof(*a));
    a->kind = kind;
    a->model = m;
    return a;
}

static int done(lua_State *L)
{
    lua_pushboolean(L, true);
    return 1;
}

static model_id named_model(lua_State *L)
{
    world(L);
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_typeerror(L, 1, "model id");
    model_id m = view_to_model(L, 1);
    if (m == MODEL_NONE) {
        luaL_pushfail(L);
        lua_pushfstring(L, "no model '%s'", lua_tostring(L, 1));
    }
    return m;
}

static void option_why(lua_State *L, struct action *a)
{
    if (lua_getfield(L, 2, "why") == LUA_TSTRING)
        snprintf(a->why, sizeof(a->why), "%s", lua_tostring(L, -1));
    lua_pop(L, 1);
}

static int l_preload(lua_State *L)
{
    enter(L);
    model_id m = named_model(L);
    if (m == MODEL_NONE)
        return 2;
    bool evict = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_getfield(L, 2, "evict");
        evict = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    struct action *a = action(L, ACT_PRELOAD, m);
    if (!a)
        return 2;
    a->evict = evict;
    if (lua_istable(L, 2))
        option_why(L, a);
    return done(L);
}

static int l_unload(lua_State *L)
{
    enter(L);
    model_id m = named_model(L);
    if (m == MODEL_NONE)
        return 2;
    bool drain = false;
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_getfield(L, 2, "when");
        const char *when = luaL_optstring(L, -1, "idle");
        if (strcmp(when, "drain") != 0 && strcmp(when, "idle") != 0)
            return luaL_error(L, "unload: when is \"idle\" or \"drain\"");
        drain = when[0] == 'd';
        lua_pop(L, 1);
    }
    struct action *a = action(L, ACT_UNLOAD, m);
    if (!a)
        return 2;
    a->drain = drain;
    return done(L);
}

static int l_kick(lua_State *L)
{
    enter(L);
    return action(L, ACT_KICK, MODEL_NONE) ? done(L) : 2;
}

static int l_quarantine(lua_State *L)
{
    enter(L);
    double sec = luaL_checknumber(L, 2);
    luaL_argcheck(L, sec >= 0 && sec <= 86400, 2, "0 to 86400 seconds");
    model_id m = named_model(L);
    if (m == MODEL_NONE)
        return 2;
    struct action *a = action(L, ACT_QUARANTINE, m);
    if (!a)
        return 2;
    a->ms = (msec)(sec * 1000);
    return done(L);
}

static int l_cancel(lua_State *L)
{
    enter(L);
    lua_Integer id = luaL_checkinteger(L, 1);
    const struct refusal *r = luaL_checkudata(L, 2, "policy.reject");
    struct action *a = action(L, ACT_CANCEL, MODEL_NONE);
    if (!a)
        return 2;
    a->request = (uint64_t)id;
    a->refusal = mem_zalloc(sizeof(*a->refusal));
    convert_answer_refusal(a->refusal, r, vm_policy(L)->name);
    return done(L);
}

int lib_world_find(const char *table, const char *name, lua_CFunction *ret)
{
    static const struct {
        const char *table, *name;
        lua_CFunction fn;
    } own[] = {
        { "", "models", l_models }, { "", "model", l_model }, { "", "running", l_running }, { "", "swaps", l_swaps },
        { "", "queue", l_queue }, { "", "gpu", l_gpu }, { "", "host", l_host }, { "", "preload", l_preload },
        { "", "unload", l_unload }, { "", "kick", l_kick }, { "", "quarantine", l_quarantine },
        { "", "cancel", l_cancel }, { "builtin", "pick_next", l_builtin_pick },
        { "builtin", "plan_swap", l_builtin_plan }, { "builtin", "route", l_builtin_route },
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (strcmp(own[i].table, table) == 0 && strcmp(own[i].name, name) == 0) {
            *ret = own[i].fn;
            return 1;
        }
    }
    return 0;
}
