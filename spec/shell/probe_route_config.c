/* probe_route_config.c: require 'spec.route_config': names, selectors, paths and filters over a loaded
 * configuration. Options are { profile = name, states = { id = 'ready' } }; errors are nil, name, message.
 *
 *   load(yaml)                             -> c
 *   c:resolve(name [, options])            -> target, number of its handle
 *   c:again(handle, options)               -> target
 *   c:release(handle)
 *   c:reload()                                new counters
 *   c:path(tail [, options])               -> target
 *   c:local_path(tail)                     -> { model, rest, forward, bare }
 *   c:filter(name, sent, body [, options]) -> body, nothing to do, new name in a query
 */
#include "spec.h"

#include "base/check.h"
#include "route/extract.h"
#include "route/filter.h"
#include "route/resolve.h"

#define META "spec.route_config"
#define HANDLES 64

struct cfg {
    struct config *config;
    struct resolve_slots *slots;
    struct resolve_target target[HANDLES];
    size_t n;
};

static str check_str(lua_State *L, int at)
{
    size_t n;
    const char *p = luaL_checklstring(L, at, &n);
    return str_n(p, n);
}

static void push_str(lua_State *L, str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

static int push_error(lua_State *L, const struct error *e)
{
    lua_pushnil(L);
    lua_pushstring(L, err_name(e->code));
    lua_pushstring(L, e->msg);
    return 3;
}

static int l_load(lua_State *L)
{
    struct cfg *c = lua_newuserdatauv(L, sizeof *c, 0);
    memset(c, 0, sizeof *c);
    luaL_setmetatable(L, META);
    struct config_report report;
    config_report_init(&report);
    int rc = config_load_text(check_str(L, 1), S("spec.yaml"), NULL, &c->config, &report);
    if (rc) {
        struct strbuf b = STRBUF(1u << 16);
        config_report_print(&report, &b);
        push_str(L, strbuf_str(&b));
        strbuf_fini(&b);
        config_report_fini(&report);
        return lua_error(L);
    }
    config_report_fini(&report);
    c->slots = resolve_slots_new(c->config);
    return 1;
}

static struct cfg *self(lua_State *L)
{
    return luaL_checkudata(L, 1, META);
}

static int l_gc(lua_State *L)
{
    struct cfg *c = self(L);
    resolve_slots_free(c->slots);
    for (size_t i = 0; i < c->n; i++)
        resolve_release(&c->target[i]);
    config_unref(c->config);
    c->slots = NULL;
    c->config = NULL;
    c->n = 0;
    return 0;
}

struct states {
    lua_State *L;
    int at;
    const struct config *cfg;
};

static enum resolve_state state_of(void *ud, size_t model)
{
    static const char *const names[] = { "stopped", "starting", "ready", "stopping", "shutdown" };
    struct states *s = ud;
    enum resolve_state found = RESOLVE_STOPPED;
    if (!s->at)
        return found;
    push_str(s->L, s->cfg->models[model].id);
    if (lua_rawget(s->L, s->at) == LUA_TSTRING)
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strcmp(names[i], lua_tostring(s->L, -1)) == 0)
                found = (enum resolve_state)i;
    lua_pop(s->L, 1);
    return found;
}

/* Options at `at`; leaves the table of states on the stack. */
static struct resolve_ctx context(lua_State *L, struct cfg *c, int at, struct states *s)
{
    *s = (struct states){ L, 0, c->config };
    struct resolve_ctx ctx = { c->config, CONFIG_NONE, c->slots, state_of, s };
    if (lua_istable(L, at)) {
        if (lua_getfield(L, at, "profile") == LUA_TSTRING) {
            ctx.profile = config_find_profile(c->config, check_str(L, -1));
            ASSERT(ctx.profile != CONFIG_NONE);
        }
        if (lua_getfield(L, at, "states") == LUA_TTABLE)
            s->at = lua_gettop(L);
    }
    return ctx;
}

static void push_target(lua_State *L, const struct cfg *c, const struct resolve_target *t)
{
    const struct config *cfg = c->config;
    lua_newtable(L);
    push_str(L, t->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, t->slots != NULL);
    lua_setfield(L, -2, "reserved");
    if (t->selector != CONFIG_NONE) {
        push_str(L, cfg->selectors[t->selector].id);
        lua_setfield(L, -2, "selector");
    }
    if (t->kind == RESOLVE_LOCAL) {
        push_str(L, cfg->models[t->model].id);
        lua_setfield(L, -2, "model");
        return;
    }
    struct arena a;
    arena_init(&a, 1u << 16);
    push_str(L, resolve_peer_fqn(cfg, t, &a));
    lua_setfield(L, -2, "fqn");
    push_str(L, resolve_peer_model(cfg, t));
    lua_setfield(L, -2, "peer_model");
    arena_fini(&a);
}

static int l_resolve(lua_State *L)
{
    struct cfg *c = self(L);
    struct states s;
    struct resolve_ctx ctx = context(L, c, 3, &s);
    struct error e = { 0 };
    ASSERT(c->n < HANDLES);
    struct resolve_target *t = &c->target[c->n];
    if (resolve(&ctx, check_str(L, 2), t, &e)) {
        CHECK_TRUE(t->slots == NULL);
        return push_error(L, &e);
    }
    push_target(L, c, t);
    lua_pushinteger(L, (lua_Integer)++c->n);
    return 2;
}

static struct resolve_target *handle(lua_State *L, struct cfg *c)
{
    lua_Integer i = luaL_checkinteger(L, 2);
    ASSERT(i >= 1 && i <= (lua_Integer)c->n);
    return &c->target[i - 1];
}

static int l_release(lua_State *L)
{
    resolve_release(handle(L, self(L)));
    return 0;
}

static int l_again(lua_State *L)
{
    struct cfg *c = self(L);
    struct states s;
    struct resolve_ctx ctx = context(L, c, 3, &s);
    struct resolve_target *t = handle(L, c);
    resolve_again(&ctx, t);
    push_target(L, c, t);
    return 1;
}

/* As a reload: new counters, old reservations still out. */
static int l_reload(lua_State *L)
{
    struct cfg *c = self(L);
    resolve_slots_free(c->slots);
    c->slots = resolve_slots_new(c->config);
    return 0;
}

static void push_match(lua_State *L, const struct path_match *m)
{
    push_str(L, m->rest);
    lua_setfield(L, -2, "rest");
    push_str(L, m->forward);
    lua_setfield(L, -2, "forward");
    lua_pushboolean(L, m->bare);
    lua_setfield(L, -2, "bare");
}

static int l_path(lua_State *L)
{
    struct cfg *c = self(L);
    struct states s;
    struct resolve_ctx ctx = context(L, c, 3, &s);
    struct arena a;
    struct resolve_target t;
    struct path_match m;
    struct error e = { 0 };
    arena_init(&a, 1u << 20);
    int n = 1;
    if (resolve_path(&ctx, &a, check_str(L, 2), &t, &m, &e)) {
        n = push_error(L, &e);
    } else {
        push_target(L, c, &t);
        push_match(L, &m);
    }
    arena_fini(&a);
    return n;
}

static int l_local_path(lua_State *L)
{
    struct cfg *c = self(L);
    struct arena a;
    struct path_match m;
    struct error e = { 0 };
    size_t model;
    arena_init(&a, 1u << 20);
    int n = 1;
    if (resolve_path_local(c->config, &a, check_str(L, 2), &model, &m, &e)) {
        n = push_error(L, &e);
    } else {
        lua_newtable(L);
        push_str(L, c->config->models[model].id);
        lua_setfield(L, -2, "model");
        push_match(L, &m);
    }
    arena_fini(&a);
    return n;
}

static int l_filter(lua_State *L)
{
    struct cfg *c = self(L);
    struct states s;
    str sent = check_str(L, 3), body = check_str(L, 4);
    struct resolve_ctx ctx = context(L, c, 5, &s);
    struct arena a;
    struct resolve_target t;
    struct filter_plan plan;
    struct json_edit ed;
    struct extract x;
    struct error e = { 0 };
    arena_init(&a, 16u << 20);
    int rc = resolve(&ctx, check_str(L, 2), &t, &e);
    if (!rc)
        rc = extract_model(&a, S("POST"), S("application/json"), STR_NONE, body, &x, &e);
    if (!rc) {
        filter_plan(c->config, &t, sent, &plan);
        rc = filter_json(&a, body, &x.json_top, &plan, &ed, &e);
        resolve_release(&t);
    }
    int n = 3;
    if (rc) {
        n = push_error(L, &e);
    } else {
        struct strbuf b = STRBUF(16u << 20);
        json_edit_join(&ed, &b);
        push_str(L, strbuf_str(&b));
        strbuf_fini(&b);
        lua_pushboolean(L, plan.empty);
        push_str(L, plan.rename);
    }
    arena_fini(&a);
    return n;
}

static int open_config(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "resolve", l_resolve }, { "release", l_release }, { "again", l_again },
        { "reload", l_reload },   { "path", l_path },       { "local_path", l_local_path },
        { "filter", l_filter },   { "__gc", l_gc },         { NULL, NULL },
    };
    if (luaL_newmetatable(L, META)) {
        luaL_setfuncs(L, methods, 0);
        lua_pushvalue(L, -1);
        lua_setfield(L, -2, "__index");
    }
    lua_newtable(L);
    lua_pushcfunction(L, l_load);
    lua_setfield(L, -2, "load");
    return 1;
}

PROBE(route_config, open_config);
