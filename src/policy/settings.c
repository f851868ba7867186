/* `settings`: the schema beside the code, the values of the configuration checked against it. */
#include "policy/priv.h"

#include <stdio.h>

static const char *const types[] = { "number", "integer", "string", "boolean", "list", "map" };

/* Is the value at the top of that type? Converts whole floats to integers. */
static bool is_type(lua_State *L, const char *type)
{
    if (strcmp(type, "integer") == 0) {
        int ok;
        lua_Integer i = lua_type(L, -1) == LUA_TNUMBER ? lua_tointegerx(L, -1, &ok) : (ok = 0);
        if (!ok)
            return false;
        lua_pop(L, 1);
        lua_pushinteger(L, i);
        return true;
    }
    if (strcmp(type, "list") == 0 || strcmp(type, "map") == 0) {
        if (!lua_istable(L, -1))
            return false;
        bool list = lua_rawlen(L, -1) > 0;
        lua_pushnil(L);
        bool empty = !lua_next(L, -2);
        if (!empty)
            lua_pop(L, 2);
        return empty || list == (type[0] == 'l');
    }
    return strcmp(luaL_typename(L, -1), type) == 0;
}

static void check_range(lua_State *L, int spec, const char *name)
{
    if (lua_type(L, -1) == LUA_TNUMBER) {
        lua_Number v = lua_tonumber(L, -1);
        if (lua_getfield(L, spec, "min") == LUA_TNUMBER && !(v >= lua_tonumber(L, -1)))
            luaL_error(L, "settings.%s: %f is less than %f", name, v, lua_tonumber(L, -1));
        if (lua_getfield(L, spec, "max") == LUA_TNUMBER && !(v <= lua_tonumber(L, -1)))
            luaL_error(L, "settings.%s: %f is more than %f", name, v, lua_tonumber(L, -1));
        lua_pop(L, 2);
    }
    if (lua_getfield(L, spec, "enum") == LUA_TTABLE) {
        bool found = false;
        for (lua_Integer i = 1; !found && lua_geti(L, -1, i) != LUA_TNIL; i++) {
            found = lua_compare(L, -1, -3, LUA_OPEQ);
            lua_pop(L, 1);
        }
        if (!found)
            luaL_error(L, "settings.%s: not one of the values that it may have", name);
        lua_settop(L, found ? -2 : -3);
        return;
    }
    lua_pop(L, 1);
}

/* One entry of the schema; key and spec on top. given: table of the configuration; out: the result. */
static void fill_one(lua_State *L, int given, int out)
{
    int spec = lua_gettop(L);
    const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
    if (!name)
        luaL_error(L, "settings: a name expected");
    if (!lua_istable(L, spec))
        luaL_error(L, "settings.%s: a table with type and default expected", name);
    if (lua_getfield(L, spec, "type") != LUA_TSTRING)
        luaL_error(L, "settings.%s: type is missing", name);
    const char *type = lua_tostring(L, -1);
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        known = known || strcmp(types[i], type) == 0;
    if (!known)
        luaL_error(L, "settings.%s: unknown type \"%s\"", name, type);
    bool own = lua_getfield(L, given, name) != LUA_TNIL;
    if (!own) {
        lua_pop(L, 1);
        lua_getfield(L, spec, "default");
    }
    if (lua_isnil(L, -1)) {
        lua_settop(L, spec);
        return;
    }
    if (!is_type(L, type))
        luaL_error(L, "settings.%s: %s %s expected, got a %s", name, type[0] == 'i' ? "an" : "a", type,
                   luaL_typename(L, -1));
    check_range(L, spec, name);
    if (lua_getfield(L, spec, "secret") != LUA_TNIL && lua_toboolean(L, -1)) { /* remembered for settings_hide_secrets */
        luaL_getsubtable(L, LUA_REGISTRYINDEX, "policy.secrets");
        lua_pushboolean(L, true);
        lua_setfield(L, -2, name);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    if (lua_istable(L, -1))
        vm_freeze(L, true);
    lua_setfield(L, out, name);
    lua_settop(L, spec);
}

void settings_hide_secrets(lua_State *L)
{
    int data = lua_gettop(L);
    lua_newtable(L);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "policy.secrets");
    for (lua_pushnil(L); lua_next(L, data);) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, data + 2) != LUA_TNIL) {
            lua_pushliteral(L, "***");
            lua_replace(L, -3);
        }
        lua_pop(L, 1);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, data + 1);
    }
    lua_pop(L, 1);
    lua_replace(L, data);
}

void settings_fill(lua_State *L, struct policy *p, int schema)
{
    const char *fault;
    if (json_decode_to(L, p->conf.settings_json.len ? p->conf.settings_json : S("{}"), &fault))
        luaL_error(L, "settings: %s", fault);
    int given = lua_gettop(L);
    if (!lua_istable(L, given))
        luaL_error(L, "settings: a mapping expected");
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_config_data);
    int out = given + 1;
    if (schema) {
        for (lua_pushnil(L); lua_next(L, schema); lua_pop(L, 1))
            fill_one(L, given, out);
    }
    const char *names[64];
    size_t n = 0;
    if (schema) {
        for (lua_pushnil(L); lua_next(L, schema); lua_pop(L, 1))
            if (n < ARRAY_LEN(names) && lua_type(L, -2) == LUA_TSTRING)
                names[n++] = lua_tostring(L, -2);
    }
    for (lua_pushnil(L); lua_next(L, given); lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (schema && lua_gettable(L, schema) != LUA_TNIL) {
            lua_pop(L, 1);
            continue;
        }
        lua_pop(L, 1);
        const char *name = lua_tostring(L, -2);
        const char *like = vm_suggest(str_c(name), names, n);
        luaL_error(L, "settings.%s: the policy has no such setting%s%s%s", name, like ? ", did you mean " : "",
                   like ? like : "", like ? "?" : "");
    }
    lua_settop(L, given - 1);
}
