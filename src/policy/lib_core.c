/* The `luaswap` table: time, log, settings, state, answers, metrics, small helpers. What is in it, and in which
 * phases it may be called, stands in api.def; a function that is missing here or there ends the load. */
#include "policy/priv.h"

#include "base/check.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

int lib_has(lua_State *L);

/* ---- phases ---- */

static void phase_names(unsigned phases, char *out, size_t size)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = { { PHASE_ROUTE, "route and tasks" }, { PHASE_DECIDE, "decisions" },
                  { PHASE_NOTE, "notes, tick and timers" }, { PHASE_CHUNK, "the chunk" } };
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(names) && len < size; i++)
        if (phases & names[i].bit)
            len += (size_t)snprintf(out + len, size - len, "%s%s", len ? ", " : "", names[i].name);
}

void lib_phase(lua_State *L, const char *what, unsigned phases)
{
    const struct policy *p = vm_policy(L);
    if (p->phase & phases)
        return;
    char text[120];
    phase_names(phases, text, sizeof(text));
    luaL_error(L, "%s is not available here; it works in %s", what, text);
}

/* Every function of the library is a closure over (function, phases, name). */
static inline void enter(lua_State *L)
{
    unsigned phases = (unsigned)lua_tointeger(L, lua_upvalueindex(1));
    if (!(vm_policy(L)->phase & phases))
        lib_phase(L, lua_tostring(L, lua_upvalueindex(2)), phases);
}

/* ---- time ---- */

static int l_now(lua_State *L)
{
    enter(L);
    lua_pushnumber(L, (double)vm_policy(L)->ps->now / 1000.0);
    return 1;
}

static void set_int(lua_State *L, const char *key, lua_Integer v)
{
    lua_pushinteger(L, v);
    lua_setfield(L, -2, key);
}

static int l_wall(lua_State *L)
{
    enter(L);
    const struct policies *ps = vm_policy(L)->ps;
    int64_t unix_s;
    int32_t zone = 0;
    struct tm tm;
    if (ps->host->wall) {
        ps->host->wall(ps->host->ud, ps->now, &unix_s, &zone);
        time_t t = (time_t)(unix_s + zone);
        gmtime_r(&t, &tm);
    } else {
        unix_s = clock_wall().sec;
        time_t t = (time_t)unix_s;
        localtime_r(&t, &tm);
        zone = (int32_t)tm.tm_gmtoff;
    }
    lua_createtable(L, 0, 10);
    set_int(L, "year", tm.tm_year + 1900);
    set_int(L, "month", tm.tm_mon + 1);
    set_int(L, "day", tm.tm_mday);
    set_int(L, "hour", tm.tm_hour);
    set_int(L, "min", tm.tm_min);
    set_int(L, "sec", tm.tm_sec);
    set_int(L, "wday", tm.tm_wday + 1);
    set_int(L, "yday", tm.tm_yday + 1);
    set_int(L, "zone", zone);
    set_int(L, "unix", unix_s);
    return 1;
}

/* ---- log ---- */

void lib_log(struct policy *p, enum policy_log_level level, const char *text)
{
    struct policies *ps = p->ps;
    msec second = ps->now / 1000;
    if (second != p->log_second) {
        if (p->log_dropped && ps->host->log) {
            char line[80];
            snprintf(line, sizeof(line), "%u log lines dropped", p->log_dropped);
            ps->host->log(ps->host->ud, POLICY_LOG_WARN, p->name, line);
        }
        p->log_second = second;
        p->log_count = p->log_dropped = 0;
    }
    if (++p->log_count > 50) {
        p->log_dropped++;
        return;
    }
    if (ps->host->log)
        ps->host->log(ps->host->ud, level, p->name[0] ? p->name : p->file, text);
}

static int log_at(lua_State *L, enum policy_log_level level)
{
    enter(L);
    struct policy *p = vm_policy(L);
    int n = lua_gettop(L);
    luaL_checkstring(L, 1);
    if (n > 1) {
        lua_getfield(L, LUA_REGISTRYINDEX, "policy.format");
        lua_insert(L, 1);
        lua_call(L, n, 1);
    }
    char line[600];
    if (p->cur)
        snprintf(line, sizeof(line), "%s req#%llu: %.400s", hook_name(p->hook), (unsigned long long)p->cur->id,
                 lua_tostring(L, 1));
    else
        snprintf(line, sizeof(line), "%s: %.400s", p->phase == PHASE_CHUNK ? "load" : hook_name(p->hook), lua_tostring(L, 1));
    lib_log(p, level, line);
    return 0;
}

static int l_log_debug(lua_State *L)
{
    return log_at(L, POLICY_LOG_DEBUG);
}
static int l_log_info(lua_State *L)
{
    return log_at(L, POLICY_LOG_INFO);
}
static int l_log_warn(lua_State *L)
{
    return log_at(L, POLICY_LOG_WARN);
}
static int l_log_error(lua_State *L)
{
    return log_at(L, POLICY_LOG_ERROR);
}

/* ---- answers ---- */

static int l_hold(lua_State *L)
{
    enter(L);
    struct policy *p = vm_policy(L);
    bool given = !lua_isnoneornil(L, 1);
    double sec = given ? luaL_checknumber(L, 1) : 0;
    if (isnan(sec))
        return luaL_argerror(L, 1, "not a number of seconds");
    size_t len;
    const char *why = luaL_optlstring(L, 2, "", &len);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_hold);
    struct hold *h = lua_touserdata(L, -1);
    h->sec = sec < 0 ? 0 : sec > 86400 ? 86400 : sec;
    h->given = given;
    len = len < sizeof(h->why) ? len : sizeof(h->why) - 1;
    memcpy(h->why, why, len);
    h->why[len] = '\0';
    return 1;
}

static int hold_index(lua_State *L)
{
    const struct hold *h = lua_touserdata(L, 1);
    const char *key = lua_tostring(L, 2);
    if (key && strcmp(key, "seconds") == 0 && h->given)
        lua_pushnumber(L, h->sec);
    else if (key && strcmp(key, "why") == 0 && h->why[0])
        lua_pushstring(L, h->why);
    else
        lua_pushnil(L);
    return 1;
}

static int l_reject(lua_State *L)
{
    enter(L);
    lua_Integer status = luaL_checkinteger(L, 1);
    size_t len;
    const char *msg = luaL_optlstring(L, 2, "refused by policy", &len);
    luaL_argcheck(L, status >= 400 && status <= 599, 1, "a status from 400 to 599");
    struct refusal r = { .status = (int)status };
    snprintf(r.message, sizeof(r.message), "%.*s", (int)(len > 255 ? 255 : len), msg);
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        if (lua_getfield(L, 3, "retry_after") != LUA_TNIL) {
            r.retry_after = luaL_checknumber(L, -1);
            if (!(r.retry_after >= 0))
                r.retry_after = 0;
            if (r.retry_after > 86400)
                r.retry_after = 86400;
        }
        if (lua_getfield(L, 3, "code") != LUA_TNIL)
            snprintf(r.code, sizeof(r.code), "%s", luaL_checkstring(L, -1));
    }
    struct refusal *u = lua_newuserdatauv(L, sizeof(*u), 0);
    *u = r;
    luaL_setmetatable(L, "policy.reject");
    return 1;
}

static int reject_index(lua_State *L)
{
    const struct refusal *r = lua_touserdata(L, 1);
    const char *key = lua_tostring(L, 2);
    if (key && strcmp(key, "status") == 0)
        lua_pushinteger(L, r->status);
    else if (key && strcmp(key, "message") == 0)
        lua_pushstring(L, r->message);
    else if (key && strcmp(key, "retry_after") == 0)
        lua_pushnumber(L, r->retry_after);
    else if (key && strcmp(key, "code") == 0)
        lua_pushstring(L, r->code);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- random, hash ---- */

static int l_random(lua_State *L)
{
    enter(L);
    int n = lua_gettop(L);
    lua_getfield(L, LUA_REGISTRYINDEX, "policy.random");
    lua_insert(L, 1);
    lua_call(L, n, 1);
    return 1;
}

static int l_hash(lua_State *L)
{
    enter(L);
    str s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    gate_charge(L, s.len / 4);
    lua_pushinteger(L, (lua_Integer)str_hash(s, 0xcbf29ce484222325u));
    return 1;
}

/* ---- metrics ---- */

static struct series *series(lua_State *L, struct policy *p, char kind)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    bool ok = len >= 1 && len <= 60;
    for (size_t i = 0; i < len; i++)
        ok = ok && ((name[i] >= 'a' && name[i] <= 'z') || name[i] == '_' || (i && chr_digit(name[i])));
    luaL_argcheck(L, ok, 1, "a name of a-z, 0-9 and _");
    char labels[300] = "";
    size_t at = 0;
    if (!lua_isnoneornil(L, 3)) {
        luaL_checktype(L, 3, LUA_TTABLE);
        for (lua_pushnil(L); lua_next(L, 3); lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !lua_isstring(L, -1))
                luaL_argerror(L, 3, "labels are strings");
            char value[100];
            size_t k = 0;
            lua_pushvalue(L, -1);
            for (const char *c = lua_tostring(L, -1); *c && k < sizeof(value) - 3; c++) {
                if (*c == '"' || *c == '\\')
                    value[k++] = '\\';
                value[k++] = (unsigned char)*c < 32 ? ' ' : *c;
            }
            value[k] = '\0';
            lua_pop(L, 1);
            int n = snprintf(labels + at, sizeof(labels) - at, ",%s=\"%s\"", lua_tostring(L, -2), value);
            if (n < 0 || at + (size_t)n >= sizeof(labels))
                luaL_argerror(L, 3, "labels are too long");
            at += (size_t)n;
        }
    }
    gate_charge(L, p->n_series / 8);
    for (size_t i = 0; i < p->n_series; i++) {
        struct series *s = &p->series[i];
        if (s->kind == kind && strcmp(s->name, name) == 0 && strcmp(s->labels, labels) == 0)
            return s;
    }
    if (p->n_series >= POLICY_SERIES_MAX)
        return NULL;
    p->series = mem_resize(p->series, p->n_series + 1, sizeof(*p->series));
    struct series *s = &p->series[p->n_series++];
    *s = (struct series){ mem_strdup(name), mem_strdup(labels), kind, 0, 0 };
    return s;
}

static int metric(lua_State *L, char kind)
{
    enter(L);
    double v = kind == 'c' ? luaL_optnumber(L, 2, 1) : luaL_checknumber(L, 2);
    if (!isfinite(v) || (kind == 'c' && v < 0))
        return luaL_argerror(L, 2, "a finite number expected, for counters not below 0");
    struct series *s = series(L, vm_policy(L), kind);
    if (!s) {
        luaL_pushfail(L);
        lua_pushliteral(L, "too many series");
        return 2;
    }
    s->value = kind == 'g' ? v : s->value + v;
    s->count++;
    lua_pushboolean(L, true);
    return 1;
}

static int l_counter(lua_State *L)
{
    return metric(L, 'c');
}
static int l_gauge(lua_State *L)
{
    return metric(L, 'g');
}
static int l_histogram(lua_State *L)
{
    return metric(L, 'h');
}

/* ---- helpers written in Lua: loaded when first used ---- */

static int l_lazy(lua_State *L)
{
    static const char *const names[] = { "sorted_pairs", "ewma", "heap", "ring", "window" };
    const char *key = lua_tostring(L, 2);
    for (size_t i = 0; key && i < ARRAY_LEN(names); i++) {
        if (strcmp(names[i], key) != 0)
            continue;
        lua_getfield(L, LUA_REGISTRYINDEX, "policy.require");
        lua_pushfstring(L, "luaswap.util.%s", key);
        lua_call(L, 1, 1);
        lua_pushvalue(L, 2);
        lua_pushvalue(L, -2);
        lua_rawset(L, 1);
        return 1;
    }
    lua_pushnil(L);
    return 1;
}

/* ---- settings before they are known ---- */

static int config_index(lua_State *L)
{
    struct policy *p = vm_policy(L);
    if (!p->config_ready)
        return luaL_error(L, "luaswap.config is filled when the chunk has returned its settings; read it inside a hook");
    lua_pushvalue(L, 2);
    lua_gettable(L, lua_upvalueindex(1));
    return 1;
}

static int config_newindex(lua_State *L)
{
    return luaL_error(L, "settings are read-only");
}

static int config_pairs(lua_State *L)
{
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(1));
    return vm_pairs(L);
}

static void open_config(lua_State *L, struct policy *p)
{
    lua_newtable(L);
    lua_pushvalue(L, -1);
    p->ref_config_data = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L); /* what is seen */
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, config_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, config_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, config_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, false);
    lua_setfield(L, -2, "__metatable");
    lua_pushvalue(L, -1);
    p->ref_config = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
    lua_setfield(L, -2, "config");
}

void lib_config_ready(lua_State *L, struct policy *p)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_config); /* the metatable */
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_config_data);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    p->config_ready = true;
}

/* ---- the table ---- */

int lib_world_find(const char *table, const char *name, lua_CFunction *ret);
int lib_json_find(const char *name, lua_CFunction *ret);
int lib_task_find(const char *table, const char *name, lua_CFunction *ret);

static lua_CFunction find(const char *table, const char *name)
{
    static const struct {
        const char *table, *name;
        lua_CFunction fn;
    } own[] = {
        { "", "has", lib_has }, { "", "now", l_now }, { "", "wall", l_wall }, { "", "hold", l_hold },
        { "", "reject", l_reject }, { "", "random", l_random }, { "", "hash", l_hash },
        { "log", "debug", l_log_debug }, { "log", "info", l_log_info }, { "log", "warn", l_log_warn },
        { "log", "error", l_log_error }, { "metrics", "counter", l_counter }, { "metrics", "gauge", l_gauge },
        { "metrics", "histogram", l_histogram },
    };
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (strcmp(own[i].table, table) == 0 && strcmp(own[i].name, name) == 0)
            return own[i].fn;
    lua_CFunction fn;
    if (lib_world_find(table, name, &fn) || (strcmp(table, "json") == 0 && lib_json_find(name, &fn)) ||
        lib_task_find(table, name, &fn))
        return fn;
    return NULL;
}

static unsigned phases_of(const char *letters)
{
    unsigned r = 0;
    for (; *letters; letters++)
        r |= *letters == 'R' ? PHASE_ROUTE : *letters == 'D' ? PHASE_DECIDE : *letters == 'N' ? PHASE_NOTE : PHASE_CHUNK;
    return r;
}

static int deprecated_done(lua_State *L, int status, lua_KContext ctx)
{
    return lua_gettop(L);
}

/* Around a deprecated function: says so once, then is the function, which may yield. */
static int l_deprecated(lua_State *L)
{
    if (!lua_toboolean(L, lua_upvalueindex(3))) {
        lua_pushboolean(L, true);
        lua_replace(L, lua_upvalueindex(3));
        vm_warn(vm_policy(L), "%s", lua_tostring(L, lua_upvalueindex(2)));
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, deprecated_done);
    return lua_gettop(L);
}

const struct policy_deprecated *lib_deprecated(lua_State *L, const char *name)
{
    const struct policies_conf *c = &vm_policy(L)->ps->conf;
    return policy_api_deprecated(name, c->deprecated, c->n_deprecated);
}

static void add(lua_State *L, const char *table, const char *name, const char *phases)
{
    lua_CFunction fn = find(table, name);
    if (!fn) /* a helper written in Lua, see l_lazy */
        return;
    int at = lua_gettop(L);
    if (*table && lua_getfield(L, at, table) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushvalue(L, -1);
        lua_setfield(L, at, table);
    }
    lua_pushinteger(L, phases_of(phases));
    lua_pushfstring(L, "luaswap.%s%s%s", table, *table ? "." : "", name);
    lua_pushvalue(L, -1); /* the name, for the warning */
    lua_insert(L, -3);
    lua_pushcclosure(L, fn, 2);
    const struct policy_deprecated *d = lib_deprecated(L, lua_tostring(L, -2));
    if (d) {
        lua_pushfstring(L, "%s is deprecated since %s: use %s", d->name, d->since, d->instead);
        lua_pushboolean(L, false);
        lua_pushcclosure(L, l_deprecated, 3);
    }
    lua_remove(L, -2);
    lua_setfield(L, -2, name);
    lua_settop(L, at);
}

void lib_core_open(lua_State *L, struct policy *p)
{
    static const struct {
        const char *table, *name, *phases;
    } funcs[] = {
#define FUNC(table, name, phases, sig, ret, doc) { table, name, phases },
#include "policy/api.def"
    };
    int seen = lua_gettop(L);
    /* What the functions here need from the environment that is being built below us. */
    lua_getfield(L, seen, "string");
    lua_getfield(L, -1, "format");
    lua_setfield(L, LUA_REGISTRYINDEX, "policy.format");
    lua_getfield(L, seen, "math");
    lua_getfield(L, -1, "random");
    lua_setfield(L, LUA_REGISTRYINDEX, "policy.random");
    lua_getfield(L, seen, "require");
    lua_setfield(L, LUA_REGISTRYINDEX, "policy.require");
    lua_settop(L, seen);

    luaL_newmetatable(L, "policy.hold");
    lua_pushcfunction(L, hold_index);
    lua_setfield(L, -2, "__index");
    luaL_newmetatable(L, "policy.reject");
    lua_pushcfunction(L, reject_index);
    lua_setfield(L, -2, "__index");
    lua_settop(L, seen);
    struct hold *h = lua_newuserdatauv(L, sizeof(*h), 0);
    memset(h, 0, sizeof(*h));
    luaL_setmetatable(L, "policy.hold");
    p->ref_hold = luaL_ref(L, LUA_REGISTRYINDEX);
    lib_task_open(L, p);

    lua_newtable(L);
    set_int(L, "api_level", POLICY_API_LEVEL);
    set_int(L, "api_compatible", POLICY_API_COMPATIBLE);
    lua_pushliteral(L, "0.1.0");
    lua_setfield(L, -2, "version");
    for (size_t i = 0; i < ARRAY_LEN(funcs); i++)
        add(L, funcs[i].table, funcs[i].name, funcs[i].phases);
    lua_getfield(L, -1, "json");
    json_null(L);
    lua_setfield(L, -2, "null");
    lua_pop(L, 1);
    static const char *const tables[] = { "json", "log", "metrics", "timer", "http", "builtin" };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        lua_getfield(L, -1, tables[i]);
        vm_freeze(L, false);
        lua_setfield(L, -2, tables[i]);
    }
    open_config(L, p);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    p->ref_state = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, "state");
    lua_createtable(L, 0, 1); /* of the data behind the read-only table: helpers come when they are asked for */
    lua_pushcfunction(L, l_lazy);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    vm_freeze(L, false);
}
