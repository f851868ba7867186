/* probe_sim_world.c: require 'spec.sim': the simulator (src/sim) for Lua specs; processes and clients are scripted,
 * time is virtual. Models are named; requests are numbered in the order of arrive().
 *
 *   local s = sim.new { scheduler = 'fifo', models = { 'a', { id = 'b', start_ms = 900 } }, start_ms = 500 }
 *   s:arrive('a'); s:arrive('b', { at = 10, serve_ms = 50, leaves_ms = 20 }); s:run()
 *   s:granted() -> { 'a', 'b' }   s:stops('a')   s:stats()
 */
#include "spec.h"

#include "base/arena.h"
#include "base/check.h"
#include "base/strbuf.h"
#include "hostile_ops.h"
#include "sched/view.h"
#include "sim/chaos.h"

#define SIM_MT "luaswap.sim"

struct entry {
    msec at;
    struct sched_action act;
};

struct world {
    struct sim *sim;
    struct arena arena;
    str *ids;
    size_t n_models;
    ticket_id next;
    struct entry *log;
    size_t n_log, cap_log;
    struct sim_proc proc;
};

static lua_Integer int_field(lua_State *L, int at, const char *key, lua_Integer dflt)
{
    lua_Integer v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : luaL_checkinteger(L, -1);
    lua_pop(L, 1);
    return v;
}

static bool bool_field(lua_State *L, int at, const char *key, bool dflt)
{
    bool v = lua_getfield(L, at, key) == LUA_TNIL ? dflt : lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static str str_field(lua_State *L, int at, const char *key)
{
    str s = STR_NONE;
    if (lua_getfield(L, at, key) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    lua_pop(L, 1); /* the table still holds it */
    return s;
}

static void on_action(void *ctx, msec now, const struct sched_action *a)
{
    struct world *w = ctx;
    if (w->n_log == w->cap_log) {
        w->cap_log = w->cap_log ? w->cap_log * 2 : 64;
        w->log = mem_resize(w->log, w->cap_log, sizeof(*w->log));
    }
    w->log[w->n_log++] = (struct entry){ now, *a };
}

static void read_model(lua_State *L, int at, struct world *w, struct sched_model *m,
                       struct sim_proc *p)
{
    *m = (struct sched_model){ .unload_grace_ms = 10000,
                               .group_swap = true,
                               .group_exclusive = true };
    *p = w->proc;
    if (lua_type(L, at) == LUA_TSTRING) {
        m->id = arena_dup(&w->arena, str_c(lua_tostring(L, at)));
        return;
    }
    m->id = arena_dup(&w->arena, str_field(L, at, "id"));
    m->limit = (uint32_t)int_field(L, at, "limit", 0);
    m->priority = (int)int_field(L, at, "priority", 0);
    m->unload_grace_ms = int_field(L, at, "grace_ms", 10000);
    m->ttl_ms = int_field(L, at, "ttl_ms", 0);
    m->group = (uint32_t)int_field(L, at, "group", 0);
    m->group_swap = bool_field(L, at, "group_swap", true);
    m->group_exclusive = bool_field(L, at, "group_exclusive", true);
    m->group_persistent = bool_field(L, at, "group_persistent", false);
    p->start_ms = int_field(L, at, "start_ms", p->start_ms);
    p->stop_ms = int_field(L, at, "stop_ms", p->stop_ms);
    p->fail = (unsigned)int_field(L, at, "fail", 0);
    p->stuck = (unsigned)int_field(L, at, "stuck", 0);
    p->stuck_ms = int_field(L, at, "stuck_ms", 0);
    p->ignore_term = (unsigned)int_field(L, at, "ignore_term", 0);
}

static int l_new(lua_State *L)
{
    struct world *w = lua_newuserdatauv(L, sizeof(*w), 0);
    *w = (struct world){ .next = 1 };
    arena_init(&w->arena, 16u << 20);
    luaL_setmetatable(L, SIM_MT);
    struct sim_conf c = { .seed = (uint64_t)int_field(L, 1, "seed", 1),
                          .check_all = true,
                          .dead_on_grant_retries = true };
    str kind = str_field(L, 1, "scheduler");
    if (!sched_kind_of(kind.ptr ? kind : S("serial"), &c.sched.kind))
        luaL_error(L, "unknown scheduler");
    c.jitter_ms = int_field(L, 1, "jitter_ms", 0);
    c.sched.serial_max_queue = (uint32_t)int_field(L, 1, "max_queue", 0);
    c.sched.serial_max_serve_ms = int_field(L, 1, "max_serve_ms", 0);
    c.sched.fifo_max_wait_ms = int_field(L, 1, "max_wait_ms", 0);
    w->proc = (struct sim_proc){ .start_ms = int_field(L, 1, "start_ms", 500),
                                 .stop_ms = int_field(L, 1, "stop_ms", 100) };
    lua_getfield(L, 1, "models");
    w->n_models = (size_t)lua_rawlen(L, -1);
    struct sched_model *models = ARENA_NEWN(&w->arena, w->n_models + 1, struct sched_model);
    struct sim_proc *procs = ARENA_NEWN(&w->arena, w->n_models + 1, struct sim_proc);
    w->ids = ARENA_NEWN(&w->arena, w->n_models + 1, str);
    for (size_t i = 0; i < w->n_models; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        read_model(L, lua_gettop(L), w, &models[i], &procs[i]);
        w->ids[i] = models[i].id;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    c.sched.models = models;
    c.sched.n_models = w->n_models;
    c.procs = procs;
    w->sim = sim_new(&c);
    sim_watch(w->sim, NULL, on_action, w);
    return 1;
}

static struct world *check_world(lua_State *L)
{
    return luaL_checkudata(L, 1, SIM_MT);
}

static model_id check_model(lua_State *L, const struct world *w, int at)
{
    str id = str_c(luaL_checkstring(L, at));
    for (size_t i = 0; i < w->n_models; i++)
        if (str_eq(w->ids[i], id))
            return (model_id)i;
    return MODEL_NONE;
}

static void push_id(lua_State *L, const struct world *w, model_id m)
{
    str id = m < w->n_models ? w->ids[m] : S("?");
    lua_pushlstring(L, id.ptr, id.len);
}

/* arrive(model [, {at, serve_ms, leaves_ms, priority, positions}]) -> number */
static int l_arrive(lua_State *L)
{
    struct world *w = check_world(L);
    struct sim_request r = { .model = check_model(L, w, 2),
                             .serve_ms = 100,
                             .leaves_ms = SIM_NEVER };
    msec at = sim_now(w->sim);
    if (lua_istable(L, 3)) {
        at = int_field(L, 3, "at", at);
        r.serve_ms = int_field(L, 3, "serve_ms", 100);
        r.leaves_ms = int_field(L, 3, "leaves_ms", SIM_NEVER);
        r.priority = (int)int_field(L, 3, "priority", 0);
        r.positions = bool_field(L, 3, "positions", false);
    }
    sim_arrive(w->sim, at, w->next, &r);
    lua_pushinteger(L, (lua_Integer)w->next++);
    return 1;
}

static int l_leave(lua_State *L)
{
    struct world *w = check_world(L);
    sim_leave(w->sim, (msec)luaL_optinteger(L, 3, sim_now(w->sim)),
              (ticket_id)luaL_checkinteger(L, 2));
    return 0;
}

/* unload([model [, at]]) */
static int l_unload(lua_State *L)
{
    struct world *w = check_world(L);
    msec at = (msec)luaL_optinteger(L, 3, sim_now(w->sim));
    if (lua_isnoneornil(L, 2)) {
        sim_unload(w->sim, at, NULL, 0);
    } else {
        model_id m = check_model(L, w, 2);
        sim_unload(w->sim, at, &m, 1);
    }
    return 0;
}

static int l_crash(lua_State *L)
{
    struct world *w = check_world(L);
    sim_crash(w->sim, (msec)luaL_optinteger(L, 3, sim_now(w->sim)), check_model(L, w, 2));
    return 0;
}

static int l_drain(lua_State *L)
{
    struct world *w = check_world(L);
    sim_drain(w->sim, (msec)luaL_optinteger(L, 2, sim_now(w->sim)));
    return 0;
}

/* run([until]): to the end of everything, then all must be settled; raises when a promise is broken. */
static int l_run(lua_State *L)
{
    struct world *w = check_world(L);
    struct error e = { 0 };
    bool all = lua_isnoneornil(L, 2);
    int rc = sim_run(w->sim, all ? SIM_FOREVER : (msec)luaL_checkinteger(L, 2), &e);
    if (!rc && all)
        rc = sim_settled(w->sim, &e);
    return rc ? luaL_error(L, "%s", e.msg) : 0;
}

static int l_now(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)sim_now(check_world(L)->sim));
    return 1;
}

static int l_alive(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)sim_alive(check_world(L)->sim));
    return 1;
}

/* granted() -> models in order of the grants, their tickets, their times */
static int l_granted(lua_State *L)
{
    const struct world *w = check_world(L);
    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
    lua_Integer n = 0;
    for (size_t i = 0; i < w->n_log; i++) {
        const struct entry *e = &w->log[i];
        if (e->act.kind != SCHED_GRANT)
            continue;
        n++;
        push_id(L, w, e->act.model);
        lua_rawseti(L, -4, n);
        lua_pushinteger(L, (lua_Integer)e->act.ticket);
        lua_rawseti(L, -3, n);
        lua_pushinteger(L, (lua_Integer)e->at);
        lua_rawseti(L, -2, n);
    }
    return 3;
}

static int count(lua_State *L, enum sched_act_kind kind)
{
    const struct world *w = check_world(L);
    model_id m = lua_isnoneornil(L, 2) ? MODEL_NONE : check_model(L, w, 2);
    lua_Integer n = 0;
    for (size_t i = 0; i < w->n_log; i++)
        n += w->log[i].act.kind == kind && (m == MODEL_NONE || w->log[i].act.model == m);
    lua_pushinteger(L, n);
    return 1;
}

static int l_starts(lua_State *L)
{
    return count(L, SCHED_START);
}

static int l_stops(lua_State *L)
{
    return count(L, SCHED_STOP);
}

static int l_log(lua_State *L)
{
    const struct world *w = check_world(L);
    struct strbuf b = STRBUF(1u << 24);
    for (size_t i = 0; i < w->n_log; i++) {
        strbuf_addf(&b, "%lld ", (long long)w->log[i].at);
        trace_action_line(&b, &w->log[i].act);
    }
    lua_pushlstring(L, b.ptr ? b.ptr : "", b.len);
    strbuf_fini(&b);
    return 1;
}

static void push_stats(lua_State *L, const struct sim_stats *s)
{
    lua_newtable(L);
#define STAT(name)                                                                                 \
    lua_pushinteger(L, (lua_Integer)s->name);                                                      \
    lua_setfield(L, -2, #name)
    STAT(events);
    STAT(arrived);
    STAT(admitted);
    STAT(refused);
    STAT(granted);
    STAT(served);
    STAT(broken);
    STAT(failed);
    STAT(left);
    STAT(retried);
    STAT(moved);
    STAT(cut);
    STAT(starts);
    STAT(stops);
    STAT(start_failures);
    STAT(crashes);
    STAT(stuck);
    STAT(swaps_begun);
    STAT(unloads);
    STAT(wait_total);
    STAT(wait_max);
#undef STAT
}

static int l_stats(lua_State *L)
{
    push_stats(L, sim_stats(check_world(L)->sim));
    return 1;
}

static int l_gc(lua_State *L)
{
    struct world *w = check_world(L);
    sim_free(w->sim);
    free(w->log);
    arena_fini(&w->arena);
    *w = (struct world){ 0 };
    return 0;
}

/* chaos{scheduler, planner='groups'|'matrix', seed, events, reloads, hostile=n} -> stats | nil, message
 * world=seed runs one world; with trace=true its events and actions come third. */
static int l_chaos(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    struct chaos_conf c = { .check_all = true };
    if (!sched_kind_of(str_field(L, 1, "scheduler"), &c.kind))
        luaL_error(L, "unknown scheduler");
    str planner = str_field(L, 1, "planner");
    c.planner = str_eq(planner, S("groups"))   ? CHAOS_GROUPS
                : str_eq(planner, S("matrix")) ? CHAOS_MATRIX
                                               : CHAOS_DEFAULT;
    c.seed = (uint64_t)int_field(L, 1, "seed", 1);
    c.events = (size_t)int_field(L, 1, "events", 1000);
    c.reloads = bool_field(L, 1, "reloads", false);
    lua_Integer hostile = int_field(L, 1, "hostile", -1);
    struct hostile h = { 0 };
    struct policy_ops row = hostile_row((unsigned)hostile);
    rand_seed(&h.r, c.seed);
    if (hostile >= 0) {
        c.ops = &row;
        c.ops_ctx = &h;
    }
    struct sim_stats st = { 0 };
    struct error e = { 0 };
    uint64_t world = (uint64_t)int_field(L, 1, "world", 0);
    struct strbuf trace = STRBUF(1u << 28);
    int rc = world ? chaos_world(&c, world, &st, &trace, &e) : chaos_run(&c, &st, &e);
    if (rc) {
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
    } else {
        push_stats(L, &st);
        lua_pushnil(L);
    }
    lua_pushlstring(L, trace.ptr ? trace.ptr : "", trace.len);
    strbuf_fini(&trace);
    return 3;
}

static int open_sim(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "arrive", l_arrive }, { "leave", l_leave }, { "unload", l_unload },
        { "crash", l_crash },   { "drain", l_drain }, { "run", l_run },
        { "now", l_now },       { "alive", l_alive }, { "granted", l_granted },
        { "starts", l_starts }, { "stops", l_stops }, { "log", l_log },
        { "stats", l_stats },   { "__gc", l_gc },     { NULL, NULL },
    };
    static const luaL_Reg functions[] = { { "new", l_new }, { "chaos", l_chaos }, { NULL, NULL } };
    luaL_newmetatable(L, SIM_MT);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    luaL_newlib(L, functions);
    return 1;
}

PROBE(sim, open_sim);
