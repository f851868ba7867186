/* The file's chunk, and the table that it returns: level, name, flags, hooks, settings. */
#include "policy/priv.h"

#include <stdio.h>

static const char *const members[] = {
#define HOOK(id, name, kind, args, ret, doc) name,
#define MEMBER(name, lua, doc) name,
#include "policy/api.def"
};

static size_t distance(str a, str b)
{
    size_t row[64];
    if (a.len >= 64 || b.len >= 64)
        return 99;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diag = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t best = diag + (a.ptr[i - 1] != b.ptr[j - 1]);
            diag = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.len];
}

const char *vm_suggest(str name, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t least = name.len / 3 + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(name, str_c(known[i]));
        if (d <= least && d > 0) {
            least = d - 1;
            best = known[i];
        }
    }
    return best;
}

static bool flag(lua_State *L, const char *name)
{
    int type = lua_getfield(L, 1, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        luaL_error(L, "%s: a boolean expected, got a %s", name, lua_typename(L, type));
    bool v = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return v;
}

static void read_name(lua_State *L, struct policy *p)
{
    if (lua_getfield(L, 1, "name") != LUA_TSTRING)
        luaL_error(L, "name is missing: a policy returns { api = 1, name = \"...\", ... }");
    size_t len;
    const char *name = lua_tolstring(L, -1, &len);
    bool ok = len >= 1 && len <= POLICY_NAME_MAX;
    for (size_t i = 0; i < len; i++)
        ok = ok && ((name[i] >= 'a' && name[i] <= 'z') || chr_digit(name[i]) || name[i] == '-');
    if (!ok)
        luaL_error(L, "name must be 1 to 32 of a-z, 0-9 and '-'");
    snprintf(p->name, sizeof(p->name), "%s", name);
    lua_pop(L, 1);
    int type = lua_getfield(L, 1, "version");
    if (type != LUA_TNIL && type != LUA_TSTRING)
        luaL_error(L, "version: a string expected");
    snprintf(p->version, sizeof(p->version), "%s", type == LUA_TSTRING ? lua_tostring(L, -1) : "");
    lua_pop(L, 1);
}

static void read_api(lua_State *L, struct policy *p)
{
    int isint;
    lua_getfield(L, 1, "api");
    lua_Integer api = lua_tointegerx(L, -1, &isint);
    if (!isint)
        luaL_error(L, "api is missing: write api = %d", POLICY_API_LEVEL);
    if (api > POLICY_API_LEVEL)
        luaL_error(L, "api = %d: this luaswap offers level %d; a newer release is needed", (int)api, POLICY_API_LEVEL);
    if (api < POLICY_API_COMPATIBLE)
        luaL_error(L, "api = %d: the oldest level that still works is %d", (int)api, POLICY_API_COMPATIBLE);
    p->api = (int)api;
    lua_pop(L, 1);
}

static bool has_capability(const struct policies *ps, const char *cap)
{
    if (strcmp(cap, "gpu") == 0)
        return !ps->conf.no_gpu;
    if (strcmp(cap, "http") == 0)
        return !ps->conf.no_http;
    return strcmp(cap, "body") == 0 || strcmp(cap, "preempt") == 0;
}

int lib_has(lua_State *L);
int lib_has(lua_State *L)
{
    lua_pushboolean(L, has_capability(vm_policy(L)->ps, luaL_checkstring(L, 1)));
    return 1;
}

static void read_requires(lua_State *L, struct policy *p)
{
    int type = lua_getfield(L, 1, "requires");
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return;
    }
    if (type != LUA_TTABLE)
        luaL_error(L, "requires: a list of capabilities expected");
    for (lua_Integer i = 1; lua_geti(L, -1, i) != LUA_TNIL; i++) {
        const char *cap = luaL_checkstring(L, -1);
        if (!has_capability(p->ps, cap))
            luaL_error(L, "requires \"%s\", which this server does not have", cap);
        p->needs_body = p->needs_body || strcmp(cap, "body") == 0;
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
}

static void read_hooks(lua_State *L, struct policy *p)
{
    for (int h = 0; h < POLICY_HOOKS; h++) {
        int type = lua_getfield(L, 1, hook_name((enum policy_hook)h));
        if (type == LUA_TNIL) {
            lua_pop(L, 1);
            continue;
        }
        if (type != LUA_TFUNCTION)
            luaL_error(L, "%s: a function expected, got a %s", hook_name((enum policy_hook)h), lua_typename(L, type));
        const struct policy_deprecated *d = lib_deprecated(L, hook_name((enum policy_hook)h));
        if (d)
            vm_warn(p, "%s is deprecated since %s: use %s", d->name, d->since, d->instead);
        p->refs[h] = luaL_ref(L, LUA_REGISTRYINDEX);
        p->present |= 1u << h;
    }
    if (lua_getfield(L, 1, "migrate") == LUA_TFUNCTION)
        p->ref_migrate = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
    if ((p->present & 1u << POLICY_REWRITE) && !p->needs_body)
        luaL_error(L, "rewrite needs requires = { \"body\" }");
}

static void unknown_members(lua_State *L, struct policy *p)
{
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            vm_warn(p, "a member that is no name in the returned table");
            continue;
        }
        const char *name = lua_tostring(L, -2);
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(members); i++)
            known = known || strcmp(members[i], name) == 0;
        if (known)
            continue;
        const char *like = vm_suggest(str_c(name), members, ARRAY_LEN(members));
        vm_warn(p, like ? "unknown member %s: did you mean %s?" : "unknown member %s%s", name, like ? like : "");
    }
}

struct chunk {
    struct policy *p;
    str text;
};

static int load_protected(lua_State *L)
{
    struct chunk *c = lua_touserdata(L, 1);
    struct policy *p = c->p;
    lua_settop(L, 0);
    vm_load_chunk(L, p, c->text, p->file);
    lua_call(L, 0, 1);
    if (!lua_istable(L, 1))
        return luaL_error(L, "the file must return a table, it returned a %s", luaL_typename(L, 1));
    lua_settop(L, 1);
    read_api(L, p);
    read_name(L, p);
    read_requires(L, p);
    p->fast_ready = flag(L, "fast_ready");
    p->plan_ready = flag(L, "plan_ready");
    p->classic = flag(L, "classic");
    int type = lua_getfield(L, 1, "tick_interval");
    p->tick_interval_s = type == LUA_TNIL ? 1 : luaL_checknumber(L, -1);
    if (!(p->tick_interval_s >= 0.1 && p->tick_interval_s <= 86400))
        return luaL_error(L, "tick_interval: 0.1 to 86400 seconds");
    lua_pop(L, 1);
    read_hooks(L, p);
    unknown_members(L, p);
    type = lua_getfield(L, 1, "settings");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        return luaL_error(L, "settings: a table expected");
    settings_fill(L, p, type == LUA_TTABLE ? lua_gettop(L) : 0);
    lib_config_ready(L, p);
    return 0;
}

int vm_load(struct policy *p, str text, struct error *e)
{
    if (text.len >= 4 && memcmp(text.ptr, LUA_SIGNATURE, 4) == 0)
        return error_set(e, ERR_CONFIG, "compiled Lua is not accepted");
    struct chunk c = { p, text };
    p->phase = PHASE_CHUNK;
    int rc = gate_run(p, POLICY_ON_START, 10u * 1000 * 1000, p->ps->live ? POLICY_LOAD_LIVE_MS : POLICY_LOAD_MS, load_protected, &c, e);
    p->phase = PHASE_NOTE;
    sha256_hex(text, p->sha256);
    if (p->ps->live) /* a whole collection of much takes long: it is owed */
        return rc;
    lua_gc(p->L, LUA_GCCOLLECT);
    p->mem_after_gc = p->mem_used;
    return rc;
}
