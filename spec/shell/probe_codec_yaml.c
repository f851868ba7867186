/* probe_codec_yaml.c: spec.yaml: parse(text) -> JSON text, or nil and a list of { line, col, text
 * }; float(n) -> its text and its JSON; resolve(text) -> type name and text of a plain scalar.
 */
#include "spec.h"

#include "codec/yaml.h"

static void on_error(void *ud, uint32_t line, uint32_t col, const char *text)
{
    lua_State *L = ud;
    lua_newtable(L);
    lua_pushinteger(L, line);
    lua_setfield(L, -2, "line");
    lua_pushinteger(L, col);
    lua_setfield(L, -2, "col");
    lua_pushstring(L, text);
    lua_setfield(L, -2, "text");
    lua_rawseti(L, 3, (lua_Integer)lua_rawlen(L, 3) + 1);
}

static int l_parse(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    size_t max = (size_t)luaL_optinteger(L, 2, 64 << 20);
    lua_settop(L, 2);
    lua_newtable(L); /* index 3 */
    struct arena a;
    arena_init(&a, max);
    struct yaml_opts opts = { .on_error = on_error, .ud = L };
    const struct ynode *root = NULL;
    int r = yaml_tree_parse(&a, str_n(text, len), &opts, &root);
    struct strbuf b = STRBUF((size_t)64 << 20);
    if (r != 0) {
        lua_pushnil(L);
        lua_insert(L, -2);
    } else if (!root) {
        lua_pushliteral(L, "");
    } else {
        ynode_json(root, &b);
        lua_pushlstring(L, b.ptr, b.len);
    }
    strbuf_fini(&b);
    arena_fini(&a);
    return r ? 2 : 1;
}

static int l_float(lua_State *L)
{
    double f = luaL_checknumber(L, 1);
    char buf[YAML_FLOAT_MAX];
    lua_pushlstring(L, buf, yaml_float_text(f, buf));
    struct strbuf b = STRBUF(100);
    yaml_float_json(f, &b);
    lua_pushlstring(L, b.ptr, b.len);
    strbuf_fini(&b);
    return 2;
}

static int l_resolve(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct arena a;
    arena_init(&a, 1 << 20);
    struct ynode n = { .text = str_n(text, len) };
    ynode_resolve(&a, &n);
    lua_pushstring(L, ynode_type_name(n.type));
    str s = ynode_scalar_text(&a, &n);
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
    arena_fini(&a);
    return 2;
}

static int open_yaml(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        { "parse", l_parse }, { "float", l_float }, { "resolve", l_resolve }, { NULL, NULL }
    };
    luaL_newlib(L, funcs);
    return 1;
}

PROBE(yaml, open_yaml);
