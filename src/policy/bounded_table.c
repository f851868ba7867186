/* The table library of a policy. Each call that works on n elements costs n of the budget, counted before it
 * begins; the functions respect metamethods as Lua's do. */
#include "policy/priv.h"

#include <lualib.h>

static lua_Integer length(lua_State *L, int at)
{
    luaL_checktype(L, at, LUA_TTABLE);
    return luaL_len(L, at);
}

static void charge_range(lua_State *L, lua_Integer from, lua_Integer to, const char *what)
{
    if (from > to)
        return;
    lua_Unsigned n = (lua_Unsigned)to - (lua_Unsigned)from + 1;
    if (n > 10u * 1000 * 1000 || n == 0)
        luaL_error(L, "too many elements to %s", what);
    gate_charge(L, n);
}

/* The library's own function (upvalue 1) with the arguments as they are. */
static int forward(lua_State *L)
{
    int n = lua_gettop(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

static int t_insert(lua_State *L)
{
    lua_Integer n = length(L, 1);
    if (lua_gettop(L) == 3)
        charge_range(L, luaL_checkinteger(L, 2), n, "insert");
    return forward(L);
}

static int t_remove(lua_State *L)
{
    lua_Integer n = length(L, 1);
    if (lua_gettop(L) >= 2)
        charge_range(L, luaL_checkinteger(L, 2), n, "remove");
    return forward(L);
}

static int t_move(lua_State *L)
{
    charge_range(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3), "move");
    return forward(L);
}

static int t_unpack(lua_State *L)
{
    lua_Integer from = luaL_optinteger(L, 2, 1);
    lua_Integer to = lua_isnoneornil(L, 3) ? luaL_len(L, 1) : luaL_checkinteger(L, 3);
    if (from <= to && (lua_Unsigned)to - (lua_Unsigned)from >= 4000)
        return luaL_error(L, "too many results to unpack");
    charge_range(L, from, to, "unpack");
    return forward(L);
}

static int t_pack(lua_State *L)
{
    gate_charge(L, (uint64_t)lua_gettop(L));
    return forward(L);
}

static int t_concat(lua_State *L)
{
    lua_Integer last = length(L, 1);
    size_t sep_len, total = 0;
    const char *sep = luaL_optlstring(L, 2, "", &sep_len);
    lua_Integer i = luaL_optinteger(L, 3, 1);
    last = luaL_optinteger(L, 4, last);
    charge_range(L, i, last, "concat");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (; i <= last; i++) {
        size_t len;
        lua_geti(L, 1, i);
        if (!lua_isstring(L, -1))
            return luaL_error(L, "invalid value (at index %I) in table for 'concat'", (LUAI_UACINT)i);
        (void)lua_tolstring(L, -1, &len);
        total += len + sep_len;
        if (total > POLICY_STRING_MAX)
            return luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
        gate_charge(L, len / 16);
        luaL_addvalue(&b);
        if (i < last)
            luaL_addlstring(&b, sep, sep_len);
        if (i == LUA_MAXINTEGER)
            break;
    }
    luaL_pushresult(&b);
    return 1;
}

/* Heap sort: n log n comparisons whatever the comparator says, and no recursion. 1: table, 2: comparator or nil. */
static bool less(lua_State *L, int a, int b)
{
    if (lua_isnil(L, 2))
        return lua_compare(L, a, b, LUA_OPLT);
    a = lua_absindex(L, a);
    b = lua_absindex(L, b);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool r = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return r;
}

/* The value on top sinks from `root` in a heap of n; it is taken from the stack. */
static void sink(lua_State *L, lua_Integer root, lua_Integer n)
{
    for (;;) {
        lua_Integer child = root * 2;
        if (child > n)
            break;
        lua_geti(L, 1, child);
        if (child < n) {
            lua_geti(L, 1, child + 1);
            if (less(L, -2, -1)) {
                child++;
                lua_remove(L, -2);
            } else {
                lua_pop(L, 1);
            }
        }
        gate_charge(L, 4);
        if (!less(L, -2, -1)) {
            lua_pop(L, 1);
            break;
        }
        lua_seti(L, 1, root);
        root = child;
    }
    lua_seti(L, 1, root);
}

static int t_sort(lua_State *L)
{
    lua_Integer n = length(L, 1);
    if (n < 2)
        return 0;
    if (n > 1000 * 1000)
        return luaL_error(L, "array too big");
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    gate_charge(L, (uint64_t)n);
    for (lua_Integer i = n / 2; i >= 1; i--) {
        lua_geti(L, 1, i);
        sink(L, i, n);
    }
    for (lua_Integer i = n; i >= 2; i--) {
        lua_geti(L, 1, i);
        lua_geti(L, 1, 1);
        lua_seti(L, 1, i);
        sink(L, 1, i - 1);
    }
    return 0;
}

void lib_table_open(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction fn;
    } names[] = {
        { "insert", t_insert }, { "remove", t_remove }, { "move", t_move },     { "unpack", t_unpack },
        { "pack", t_pack },     { "concat", t_concat }, { "sort", t_sort },
    };
    lua_newtable(L);
    luaL_requiref(L, "table", luaopen_table, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        lua_getfield(L, -1, names[i].name);
        lua_pushcclosure(L, names[i].fn, 1);
        lua_setfield(L, -3, names[i].name);
    }
    lua_pop(L, 1);
}
