/* lab_core.h: the simulated world with policies as a Lua module, for specs and for luaswap.lab.
 *
 * No include guard on purpose: it is the body of a Lua binding, included once by the test shell's probe and once by
 * the rock's C module (lua.h stays out of src/ but for policy/).
 *
 * new{models, scheduler, gpu_mb, policies, seed, ...} -> world; world:request{at, model, serve_s, ...}, :run(until),
 * :wait(id), :log(), :result(), :status(), :dump(name), :unload, :crash, :foreign, :reload ...
 */
#include "sim/replay.h"

#include <lauxlib.h>
#include <lua.h>

#define LAB_MT "luaswap.world"
#define LAB_FILES 16
#define LAB_DEPRECATED 8

struct lab_world {
    struct policy_ops eager;
    struct replay *r;
    struct arena arena;
    struct config_policy files[LAB_FILES];
    size_t n_files;
    struct replay_conf conf;
    struct strbuf messages;
    struct policy_deprecated deprecated[LAB_DEPRECATED];
};

static double lab_num(lua_State *L, int at, const char *key, double dflt)
{
    double v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : luaL_checknumber(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool lab_bool(lua_State *L, int at, const char *key, bool dflt)
{
    bool v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static str lab_str(lua_State *L, struct arena *a, int at, const char *key)
{
    str s = STR_NONE;
    if (lua_getfield(L, at, key) == LUA_TSTRING) {
        s.ptr = lua_tolstring(L, -1, &s.len);
        s = arena_dup(a, s);
    }
    lua_pop(L, 1);
    return s;
}

static void lab_log(void *ud, const char *policy, const char *text)
{
    struct lab_world *w = ud;
    strbuf_addf(&w->messages, "%s: %s\n", policy, text);
}

static void lab_model(lua_State *L, struct lab_world *w, struct replay_model *m)
{
    int at = lua_gettop(L);
    *m = (struct replay_model){ .id = lab_str(L, &w->arena, at, "id"), .meta_json = lab_str(L, &w->arena, at, "meta_json"),
                                .load_s = lab_num(L, at, "load_s", 10), .stop_s = lab_num(L, at, "stop_s", 1),
                                .vram_mb = lab_num(L, at, "vram_mb", 0), .ttl_s = lab_num(L, at, "ttl_s", 0),
                                .limit = (uint32_t)lab_num(L, at, "limit", 0), .group = (uint32_t)lab_num(L, at, "group", 0),
                                .priority = (int)lab_num(L, at, "priority", 0), .pinned = lab_bool(L, at, "pinned", false),
                                .preemptible = lab_bool(L, at, "preemptible", false),
                                .group_swap = lab_bool(L, at, "group_swap", true),
                                .group_exclusive = lab_bool(L, at, "group_exclusive", true),
                                .group_persistent = lab_bool(L, at, "group_persistent", false),
                                .fail = (unsigned)lab_num(L, at, "fail", 0), .stuck = (unsigned)lab_num(L, at, "stuck", 0),
                                .ignore_term = (unsigned)lab_num(L, at, "ignore_term", 0) };
}

static void lab_file(lua_State *L, struct lab_world *w, struct config_policy *f)
{
    int at = lua_gettop(L);
    str mode = lab_str(L, &w->arena, at, "mode"), eject = lab_str(L, &w->arena, at, "on_eject");
    *f = (struct config_policy){
        .file = lab_str(L, &w->arena, at, "file"),
        .mode = str_eq(mode, S("shadow")) ? CONFIG_POLICY_SHADOW : str_eq(mode, S("off")) ? CONFIG_POLICY_OFF : CONFIG_POLICY_ENFORCE,
        .required = lab_bool(L, at, "required", false),
        .settings_json = lab_str(L, &w->arena, at, "settings_json"),
        .on_eject = str_eq(eject, S("retry")) ? CONFIG_EJECT_RETRY : CONFIG_EJECT_BUILTIN,
        .state_file = lab_str(L, &w->arena, at, "state_file"),
        .memory_mb = (int64_t)lab_num(L, at, "memory_mb", 64),
        .instructions = (int64_t)lab_num(L, at, "instructions", 250000),
        .wall_ms = (msec)lab_num(L, at, "wall_ms", 50),
        .starve_after_ms = (msec)(lab_num(L, at, "starve_after", 600) * 1000),
        .hold_limit_ms = (msec)(lab_num(L, at, "hold_limit", 60) * 1000),
        .stop_hook_ms = (msec)(lab_num(L, at, "stop_hook_s", 10) * 1000),
    };
}

static void lab_files(lua_State *L, struct lab_world *w)
{
    w->n_files = 0;
    if (lua_getfield(L, 1, "policies") == LUA_TTABLE) {
        size_t n = lua_rawlen(L, -1);
        if (n > LAB_FILES)
            luaL_error(L, "too many policies");
        for (size_t i = 0; i < n; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);
            lab_file(L, w, &w->files[w->n_files++]);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

/* deprecated = { { name =, since =, instead = }, ... }: how many */
static size_t lab_deprecated(lua_State *L, struct lab_world *w)
{
    size_t n = 0;
    if (lua_getfield(L, 1, "deprecated") == LUA_TTABLE)
        for (; n < LAB_DEPRECATED && lua_rawgeti(L, -1, (lua_Integer)n + 1) == LUA_TTABLE; lua_pop(L, 1), n++) {
            int at = lua_gettop(L);
            w->deprecated[n] = (struct policy_deprecated){ lab_str(L, &w->arena, at, "name").ptr, lab_str(L, &w->arena, at, "since").ptr,
                                                           lab_str(L, &w->arena, at, "instead").ptr };
        }
    lua_settop(L, 2); /* the table of options and the world */
    return n;
}

static int lab_new(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct lab_world *w = lua_newuserdatauv(L, sizeof(*w), 0);
    memset(w, 0, sizeof(*w));
    arena_init(&w->arena, 64u << 20);
    strbuf_init(&w->messages, 1u << 20);
    luaL_setmetatable(L, LAB_MT);
    str kind = lab_str(L, &w->arena, 1, "scheduler");
    struct replay_conf c = { .gpu_mb = lab_num(L, 1, "gpu_mb", 0), .seed = (uint64_t)lab_num(L, 1, "seed", 1),
                             .serial_reorder = lab_bool(L, 1, "reorder", false), .lenient = lab_bool(L, 1, "lenient", false),
                             .keep_log = lab_bool(L, 1, "log", true), .check_all = lab_bool(L, 1, "check", true), .real_budgets = lab_bool(L, 1, "real_budgets", false),
                             .start_unix = (int64_t)lab_num(L, 1, "start_unix", 0), .log = lab_log, .log_ud = w,
                             .concurrency_k = lab_num(L, 1, "concurrency_k", 0) };
    if (!sched_kind_of(kind.len ? kind : S("fifo"), &c.kind))
        return luaL_error(L, "unknown scheduler");
    str pairs = lab_str(L, &w->arena, 1, "pairs");
    c.pairs = str_eq(pairs, S("reversed")) ? POLICY_PAIRS_REVERSED : str_eq(pairs, S("native")) ? POLICY_PAIRS_NATIVE : POLICY_PAIRS_SORTED;
    c.deprecated = w->deprecated;
    c.n_deprecated = lab_deprecated(L, w);
    lua_getfield(L, 1, "models");
    luaL_checktype(L, -1, LUA_TTABLE);
    c.n_models = lua_rawlen(L, -1);
    struct replay_model *models = ARENA_NEWN(&w->arena, c.n_models + 1, struct replay_model);
    for (size_t i = 0; i < c.n_models; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lab_model(L, w, &models[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    c.models = models;
    lab_files(L, w);
    c.files = w->files;
    c.n_files = w->n_files;
    if (lab_bool(L, 1, "eager", false)) { /* fifo.c asked at every event, as policies are */
        w->eager = *sched_builtin_ops(SCHED_KIND_FIFO);
        w->eager.flags &= ~(unsigned)OPS_CLASSIC;
        c.row = &w->eager;
    }
    w->conf = c;
    struct error e = { 0 };
    if (replay_new(&c, &w->r, &e) < 0) {
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        return 2;
    }
    return 1;
}

static struct lab_world *lab_check(lua_State *L)
{
    struct lab_world *w = luaL_checkudata(L, 1, LAB_MT);
    if (!w->r)
        luaL_error(L, "this world has ended");
    return w;
}

static int lab_request(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    double cancel = lab_num(L, 2, "cancel_s", -1);
    struct replay_request q = { .id = (uint64_t)lab_num(L, 2, "id", 0), .model = lab_str(L, &w->arena, 2, "model"),
                                .key = lab_str(L, &w->arena, 2, "key"), .session = lab_str(L, &w->arena, 2, "session"),
                                .path = lab_str(L, &w->arena, 2, "path"), .kind = lab_str(L, &w->arena, 2, "kind"),
                                .tokens_in = (int64_t)lab_num(L, 2, "tokens_in", 100), .tokens_out = (int64_t)lab_num(L, 2, "tokens_out", 100),
                                .serve_ms = (msec)(lab_num(L, 2, "serve_s", 1) * 1000), .cancel_ms = cancel < 0 ? -1 : (msec)(cancel * 1000),
                                .priority = (int)lab_num(L, 2, "priority", 0), .deadline_s = lab_num(L, 2, "deadline", -1),
                                .stream = lab_bool(L, 2, "stream", false) };
    msec at = (msec)(lab_num(L, 2, "at", (double)replay_now(w->r) / 1000) * 1000 + 0.5);
    if (!replay_add(w->r, at, &q))
        return luaL_error(L, "no such model");
    return 0;
}

static int lab_run(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    struct error e = { 0 };
    msec until = lua_isnoneornil(L, 2) ? SIM_FOREVER : (msec)(luaL_checknumber(L, 2) * 1000 + 0.5);
    if (replay_run(w->r, until, &e) < 0)
        return luaL_error(L, "%s", e.msg);
    return 0;
}

static int lab_wait(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    char state = 0;
    double s = replay_wait(w->r, (uint64_t)luaL_checkinteger(L, 2), &state);
    if (s < 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, s);
    lua_pushlstring(L, state ? &state : "-", 1);
    return 2;
}

static void lab_push(lua_State *L, struct strbuf *b)
{
    lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
    strbuf_fini(b);
}

static int lab_text(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    str what = str_c(luaL_checkstring(L, 2));
    struct strbuf b = STRBUF(1u << 26);
    msec now = replay_now(w->r);
    struct policies *ps = replay_policies(w->r);
    if (str_eq(what, S("log")))
        strbuf_add(&b, replay_log(w->r));
    else if (str_eq(what, S("messages")))
        strbuf_add(&b, strbuf_str(&w->messages));
    else if (str_eq(what, S("status")))
        policies_status_json(ps, now, &b);
    else if (str_eq(what, S("dump")))
        policies_dump_json(ps, str_c(luaL_checkstring(L, 3)), now, &b);
    else if (str_eq(what, S("trace")))
        policies_trace_json(ps, (size_t)luaL_optinteger(L, 3, 200), &b);
    else if (str_eq(what, S("metrics")))
        policies_metrics(ps, &b);
    else if (str_eq(what, S("why")))
        policies_why_json(ps, (ticket_id)luaL_checkinteger(L, 3), (uint64_t)luaL_checkinteger(L, 3), &b);
    lab_push(L, &b);
    return 1;
}

static int lab_result(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    struct replay_result r;
    replay_result(w->r, &r);
    lua_newtable(L);
#define LAB_SET(name, v)                                                                           \
    lua_pushnumber(L, (lua_Number)(v));                                                            \
    lua_setfield(L, -2, name)
    LAB_SET("requests", r.requests);
    LAB_SET("served", r.served);
    LAB_SET("rejected", r.rejected);
    LAB_SET("cancelled", r.cancelled);
    LAB_SET("failed", r.failed);
    LAB_SET("loads", r.loads);
    LAB_SET("evictions", r.evictions);
    LAB_SET("load_s", r.load_s);
    LAB_SET("span_s", r.span_s);
    LAB_SET("p50", r.wait_s.p50);
    LAB_SET("p90", r.wait_s.p90);
    LAB_SET("p99", r.wait_s.p99);
    LAB_SET("max", r.wait_s.max);
    LAB_SET("mean", r.wait_s.mean);
    LAB_SET("jain_keys", r.jain_keys);
    LAB_SET("jain_models", r.jain_models);
    LAB_SET("starvation_s", r.starvation_s);
    LAB_SET("invalid", r.policy.invalid);
    LAB_SET("errors", r.policy.errors);
    LAB_SET("budget", r.policy.budget);
    LAB_SET("memory", r.policy.memory);
    LAB_SET("calls", r.policy.calls);
    LAB_SET("holds", r.policy.holds);
    LAB_SET("ejections", r.policy.ejections);
    LAB_SET("overrides", r.policy.overrides);
    LAB_SET("by_policy", r.policy.by_policy);
    LAB_SET("by_builtin", r.policy.by_builtin);
    LAB_SET("by_fallback", r.policy.by_fallback);
    LAB_SET("instructions", r.policy.instructions_max);
    LAB_SET("events", r.events);
#undef LAB_SET
    return 1;
}

/* unload([model [, at]]), crash(model, at), foreign(mb, at) */
static msec lab_at(lua_State *L, struct lab_world *w)
{
    return (msec)(luaL_optnumber(L, 3, (double)replay_now(w->r) / 1000) * 1000 + 0.5);
}

static int lab_unload(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    replay_unload(w->r, lab_at(L, w), luaL_optstring(L, 2, NULL));
    return 0;
}

static int lab_crash(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    replay_crash(w->r, lab_at(L, w), luaL_checkstring(L, 2));
    return 0;
}

static int lab_foreign(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    replay_foreign(w->r, lab_at(L, w), luaL_checknumber(L, 2));
    return 0;
}

static int lab_now(lua_State *L)
{
    lua_pushnumber(L, (double)replay_now(lab_check(L)->r) / 1000);
    return 1;
}

static int lab_state(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    const char *id = luaL_checkstring(L, 2);
    for (size_t i = 0; i < w->conf.n_models; i++)
        if (str_eq(w->conf.models[i].id, str_c(id))) {
            lua_pushstring(L, model_state_name(sched_model_state(sim_sched(replay_sim(w->r)), (model_id)i)));
            return 1;
        }
    return luaL_error(L, "no such model");
}

/* change(what, name): reload, resume, disable -> true | nil, message */
static int lab_change(lua_State *L)
{
    struct lab_world *w = lab_check(L);
    const char *what = luaL_checkstring(L, 2);
    str name = str_c(luaL_checkstring(L, 3));
    struct error e = { 0 };
    struct policies *ps = replay_policies(w->r);
    msec now = replay_now(w->r);
    int rc = what[2] == 'l' ? policies_reload(ps, name, now, &e)
             : what[0] == 'd' ? policies_disable(ps, name, now, &e)
                              : policies_resume(ps, name, now, &e);
    if (rc) {
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        return 2;
    }
    lua_pushboolean(L, true);
    return 1;
}

static int lab_end(lua_State *L)
{
    struct lab_world *w = luaL_checkudata(L, 1, LAB_MT);
    replay_free(w->r);
    strbuf_fini(&w->messages);
    arena_fini(&w->arena);
    memset(w, 0, sizeof(*w));
    return 0;
}

static int lab_api(lua_State *L)
{
    const char *what = luaL_checkstring(L, 1);
    struct strbuf b = STRBUF(1u << 20);
    switch (strcmp(what, "lua") == 0 ? 'L' : what[0]) {
    case 'L': policy_api_lua(&b); break;
    case 'j': policy_api_json(&b); break;
    case 'l': policy_api_luacats(&b); break;
    case 'm': policy_api_markdown(&b); break;
    default: policy_api_luacheck(&b); break;
    }
    lab_push(L, &b);
    return 1;
}

static int lab_core_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "request", lab_request }, { "run", lab_run }, { "wait", lab_wait }, { "text", lab_text }, { "result", lab_result },
        { "unload", lab_unload }, { "crash", lab_crash }, { "foreign", lab_foreign }, { "now", lab_now }, { "state", lab_state },
        { "change", lab_change }, { "free", lab_end }, { "__gc", lab_end }, { NULL, NULL },
    };
    luaL_newmetatable(L, LAB_MT);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_newtable(L);
    lua_pushcfunction(L, lab_new);
    lua_setfield(L, -2, "new");
    lua_pushcfunction(L, lab_api);
    lua_setfield(L, -2, "api");
    return 1;
}
