/* Runs luaswap.lint in a state of its own: it is our program, so nothing of the sandbox is needed. */
#include "policy/lint.h"

#include "policy/priv.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>

#define LINT_STEPS 500000000 /* a file that takes more is not looked at further */

struct job {
    const char *path;
    void (*say)(void *ud, const struct lint_finding *f);
    void *ud;
    struct strbuf api;
};

static int embedded_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    size_t len;
    const char *text = policy_embedded(str_c(name), &len);
    if (!text) {
        lua_pushfstring(L, "no module '%s' in the program", name);
        return 1;
    }
    if (luaL_loadbufferx(L, text, len, name, "t") != LUA_OK)
        return lua_error(L);
    return 1;
}

static void too_long(lua_State *L, lua_Debug *ar)
{
    luaL_error(L, "the file is too much for the static check");
}

static int field_int(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    int v = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    return v;
}

/* Modules come from the program; then lint.file(path, api). Leaves nothing; raises what is wrong. */
static int lint_protected(lua_State *L)
{
    struct job *j = lua_touserdata(L, 1);
    luaL_openlibs(L);
    lua_getglobal(L, "package");
    lua_createtable(L, 2, 0);
    lua_getfield(L, -2, "searchers");
    lua_rawgeti(L, -1, 1); /* preload */
    lua_rawseti(L, -3, 1);
    lua_pop(L, 1);
    lua_pushcfunction(L, embedded_module);
    lua_rawseti(L, -2, 2);
    lua_setfield(L, -2, "searchers");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "luaswap.lint");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "file");
    lua_pushstring(L, j->path);
    if (luaL_loadbufferx(L, j->api.ptr, j->api.len, "api", "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    lua_call(L, 2, 2);
    if (!lua_istable(L, -2))
        return lua_error(L); /* the message is on top */
    lua_pop(L, 1);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE; i++) {
        struct lint_finding f = { .line = field_int(L, "line") };
        lua_getfield(L, -1, "level");
        f.error = strcmp(luaL_checkstring(L, -1), "error") == 0;
        lua_getfield(L, -2, "file");
        f.file = luaL_checkstring(L, -1);
        lua_getfield(L, -3, "code");
        f.code = luaL_checkstring(L, -1);
        lua_getfield(L, -4, "text");
        f.text = luaL_checkstring(L, -1);
        j->say(j->ud, &f);
        lua_pop(L, 5);
    }
    return 0;
}

int policy_lint(const char *path, void (*say)(void *ud, const struct lint_finding *f), void *ud, struct error *e)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return error_sys(e, ERR_NOTFOUND, errno, "cannot read %s", path);
    fclose(f);
    struct job j = { .path = path, .say = say, .ud = ud, .api = STRBUF(1u << 20) };
    policy_api_lua(&j.api);
    lua_State *L = luaL_newstate();
    int rc = L ? 0 : error_set(e, ERR_LIMIT, "no memory for a Lua state");
    if (!rc) {
        lua_sethook(L, too_long, LUA_MASKCOUNT, LINT_STEPS);
        lua_pushcfunction(L, lint_protected);
        lua_pushlightuserdata(L, &j);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
            const char *msg = lua_tostring(L, -1);
            rc = error_set(e, ERR_SYNTAX, "%s", msg ? msg : "the static check failed");
        }
        lua_close(L);
    }
    strbuf_fini(&j.api);
    return rc;
}
