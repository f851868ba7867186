/* main.c: luaswap-spec, the test shell: Lua 5.4 with the program's internals as probes and busted inside.
 *
 *   luaswap-spec [busted arguments]          runs specs (default: what .busted says)
 *   luaswap-spec --run FILE.lua [argument]   runs a script with the same modules (fake upstreams, clients)
 *   luaswap-spec --ctests                    lists the tests written in C
 *
 * The Lua state is closed before the process ends, so that what the leak checker still finds is ours.
 */
#include "base/check.h"
#include "spec.h"

#include <locale.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char boot[] =
    "local root, exe, lmod, cmod = ...\n"
    "package.path = table.concat({ root .. '/?.lua', root .. '/lua/?.lua', lmod .. '/?.lua', lmod .. '/?/init.lua',\n"
    "  package.path }, ';')\n"
    "package.cpath = cmod .. '/?.so;' .. package.cpath\n"
    "local shell = { root = root, exe = exe, totals = SPEC_TOTALS }\n"
    "SPEC_TOTALS = nil\n"
    "package.preload['spec.shell'] = function() return shell end\n"
    "package.preload['spec.json'] = function() return require 'spec.support.json' end\n"
    "local mode = arg[1]\n"
    "if mode == '--ctests' then\n"
    "  for _, t in ipairs(require 'spec.ctest'.list()) do\n"
    "    print(('%s:%d: %s'):format(t.file, t.line, t.name))\n"
    "  end\n"
    "elseif mode == '--run' then\n"
    "  local file = arg[2] or error('--run needs a file', 0)\n"
    "  table.move(arg, 3, #arg + 2, 1)\n"
    "  arg[0] = file\n"
    "  assert(loadfile(file))(table.unpack(arg))\n"
    "else\n"
    "  local run = require 'busted.runner'\n"
    "  run { standalone = false, output = 'spec.support.output' }\n"
    "end\n";

static int on_error(lua_State *L)
{
    const char *msg = lua_tostring(L, 1);
    luaL_traceback(L, L, msg ? msg : luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

/* The path of this very program, for specs that start it again. */
static void push_exe(lua_State *L, const char *argv0)
{
    char buf[4096];
    ssize_t n = readlink("/proc/self/exe", buf, sizeof buf - 1);
    if (n > 0)
        lua_pushlstring(L, buf, (size_t)n);
    else
        lua_pushstring(L, argv0);
}

static int run(lua_State *L, int argc, char **argv)
{
    luaL_openlibs(L);
    spec_preload_probes(L);
    lua_createtable(L, argc, 1);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i);
    }
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, on_error);
    if (luaL_loadbuffer(L, boot, sizeof boot - 1, "@luaswap-spec") != LUA_OK) {
        fprintf(stderr, "luaswap-spec: %s\n", lua_tostring(L, -1));
        return EXIT_FAILURE;
    }
    lua_pushliteral(L, LUASWAP_ROOT);
    push_exe(L, argv[0]);
    lua_pushliteral(L, LUASWAP_LUA_LMOD);
    lua_pushliteral(L, LUASWAP_LUA_CMOD);
    if (lua_pcall(L, 4, 0, -6) != LUA_OK) {
        fprintf(stderr, "luaswap-spec: %s\n", lua_tostring(L, -1));
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_ALL, "C");
    lua_State *L = luaL_newstate();
    if (!L)
        return EXIT_FAILURE;
    /* Where the totals go is for this run only: a spec that runs the shell again must not write there too. */
    const char *totals = getenv("LUASWAP_SPEC_TOTALS");
    if (totals) {
        lua_pushstring(L, totals);
        lua_setglobal(L, "SPEC_TOTALS");
        unsetenv("LUASWAP_SPEC_TOTALS");
    }
    int status = run(L, argc, argv);
    lua_close(L);
    if (check_soft_count() > 0) {
        fprintf(stderr, "luaswap-spec: %u internal checks failed, see above\n", check_soft_count());
        status = EXIT_FAILURE;
    }
    return status;
}
