/* core.c: luaswap.core for the rock: the scheduler, the policy layer and the simulated world as one Lua module, without
 * the program around them. luaswap.lab is what a policy's spec uses. */
#include "policy/priv.h"

#include "lab_core.h"

int luaopen_luaswap_core(lua_State *L);

/* The helpers written in Lua, which the program has compiled in; read once from where the rock put them. */
static struct {
    const char *name;
    char *text;
    size_t len;
} modules[] = { { "luaswap.util.sorted_pairs", NULL, 0 }, { "luaswap.util.ewma", NULL, 0 }, { "luaswap.util.heap", NULL, 0 },
                { "luaswap.util.ring", NULL, 0 },         { "luaswap.util.window", NULL, 0 } };

const char *policy_embedded(str module, size_t *len)
{
    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        if (!modules[i].text || !str_eq(module, str_c(modules[i].name)))
            continue;
        *len = modules[i].len;
        return modules[i].text;
    }
    return NULL;
}

static void read_modules(lua_State *L)
{
    for (size_t i = 0; i < ARRAY_LEN(modules); i++) {
        if (modules[i].text)
            continue;
        lua_getglobal(L, "package");
        lua_getfield(L, -1, "searchpath");
        lua_pushstring(L, modules[i].name);
        lua_getfield(L, -3, "path");
        lua_call(L, 2, 1);
        struct strbuf b = STRBUF(1u << 20);
        if (lua_isstring(L, -1) && vm_read_file(lua_tostring(L, -1), &b, NULL) == 0) {
            modules[i].text = b.ptr; /* kept as long as the module */
            modules[i].len = b.len;
        } else {
            strbuf_fini(&b);
        }
        lua_pop(L, 2);
    }
}

__attribute__((destructor)) static void forget_modules(void)
{
    for (size_t i = 0; i < ARRAY_LEN(modules); i++)
        free(modules[i].text);
}

__attribute__((visibility("default"))) int luaopen_luaswap_core(lua_State *L)
{
    read_modules(L);
    return lab_core_open(L);
}
