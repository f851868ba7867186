/* probe_codec_json.c: require 'spec.codec_json': the JSON scanner, editor, view and writer for Lua
 * specs. */
#include "spec.h"

#include "base/check.h"
#include "codec/json.h"
#include "codec/json_edit.h"
#include "codec/json_path.h"
#include "codec/json_scan.h"

static str check_str(lua_State *L, int at)
{
    size_t n;
    const char *p = luaL_checklstring(L, at, &n);
    return str_n(p, n);
}

static void push_str(lua_State *L, str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

/* nil, name of the error, its message */
static int push_error(lua_State *L, const struct error *e)
{
    lua_pushnil(L);
    lua_pushstring(L, err_name(e->code));
    lua_pushstring(L, e->msg);
    return 3;
}

static str field(lua_State *L, int at, int i)
{
    str s = STR_NONE;
    if (lua_rawgeti(L, at, i) == LUA_TSTRING)
        s.ptr = lua_tolstring(L, -1, &s.len);
    lua_pop(L, 1); /* the table still holds it */
    return s;
}

/* edit(body, {{'set'|'delete'|'member', path, json}...} [, scan]) -> text, segments, changed
 *   | nil, error, message, index of the failed op (from 0). scan: use what a scan noted. */
static int l_edit(lua_State *L)
{
    str body = check_str(L, 1);
    size_t n = (size_t)lua_rawlen(L, 2);
    struct json_op *ops = mem_calloc(n + 1, sizeof *ops);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        int at = lua_gettop(L);
        str kind = field(L, at, 1);
        ops[i].kind = str_eq(kind, S("set"))      ? JSON_SET
                      : str_eq(kind, S("delete")) ? JSON_DELETE
                                                  : JSON_MEMBER;
        ops[i].path = field(L, at, 2);
        ops[i].value = field(L, at, 3);
        lua_pop(L, 1);
    }
    struct arena a;
    struct json_top top;
    struct json_edit ed;
    struct error e = { 0 };
    arena_init(&a, 64u << 20);
    bool scan = lua_toboolean(L, 3);
    int rc = scan ? json_scan_top(body, NULL, 0, &top, &e) : 0;
    if (!rc)
        rc = json_edit(&a, body, scan ? &top : NULL, ops, n, &ed, &e);
    int pushed;
    if (rc) {
        pushed = push_error(L, &e);
        lua_pushinteger(L, (lua_Integer)ed.failed);
        pushed++;
    } else {
        struct strbuf out = STRBUF(64u << 20);
        ASSERT(json_edit_join(&ed, &out));
        ASSERT(out.len == ed.len);
        push_str(L, strbuf_str(&out));
        strbuf_fini(&out);
        lua_pushinteger(L, (lua_Integer)ed.n);
        lua_pushboolean(L, ed.changed);
        pushed = 3;
    }
    arena_fini(&a);
    free(ops);
    return pushed;
}

/* scan(body, name...) -> {name = raw value...}, {object, complete, n, open_at, end} | nil, error.
 * A name with '!' in front must be unique. */
static int l_scan(lua_State *L)
{
    str body = check_str(L, 1);
    size_t n = (size_t)lua_gettop(L) - 1;
    struct json_want *want = mem_calloc(n + 1, sizeof *want);
    for (size_t i = 0; i < n; i++) {
        want[i].name = check_str(L, (int)i + 2);
        want[i].unique = str_starts(want[i].name, S("!"));
        if (want[i].unique)
            want[i].name = str_sub(want[i].name, 1, SIZE_MAX);
    }
    struct json_top top;
    struct error e = { 0 };
    int pushed = 2;
    if (json_scan_top(body, want, n, &top, &e)) {
        pushed = push_error(L, &e);
    } else {
        lua_newtable(L);
        for (size_t i = 0; i < n; i++) {
            if (!want[i].found)
                continue;
            push_str(L, want[i].name);
            push_str(L, json_want_value(body, &want[i]));
            lua_rawset(L, -3);
        }
        lua_newtable(L);
        lua_pushboolean(L, top.object);
        lua_setfield(L, -2, "object");
        lua_pushboolean(L, top.complete);
        lua_setfield(L, -2, "complete");
        lua_pushinteger(L, (lua_Integer)top.n);
        lua_setfield(L, -2, "n");
        lua_pushinteger(L, (lua_Integer)top.open_at);
        lua_setfield(L, -2, "open_at");
        lua_pushinteger(L, (lua_Integer)top.end);
        lua_setfield(L, -2, "end_at");
    }
    free(want);
    return pushed;
}

static int l_skip(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)json_skip_value(check_str(L, 1)));
    return 1;
}

static int l_text(lua_State *L)
{
    struct arena a;
    struct error e = { 0 };
    str s;
    arena_init(&a, 16u << 20);
    int pushed = 1;
    if (json_value_text(&a, check_str(L, 1), &s, &e))
        pushed = push_error(L, &e);
    else
        push_str(L, s);
    arena_fini(&a);
    return pushed;
}

static int l_is_true(lua_State *L)
{
    lua_pushboolean(L, json_value_true(check_str(L, 1)));
    return 1;
}

static int l_text_is(lua_State *L)
{
    lua_pushboolean(L, json_text_is(check_str(L, 1), check_str(L, 2)));
    return 1;
}

static int l_quote(lua_State *L)
{
    struct arena a;
    arena_init(&a, 16u << 20);
    push_str(L, json_quote(&a, check_str(L, 1)));
    arena_fini(&a);
    return 1;
}

static int l_num(lua_State *L)
{
    char out[JSON_NUM_MAX];
    push_str(L, str_n(out, json_num_text(out, luaL_checknumber(L, 1), lua_toboolean(L, 2))));
    return 1;
}

static int l_path_check(lua_State *L)
{
    struct error e = { 0 };
    if (json_path_check(check_str(L, 1), lua_toboolean(L, 2), &e))
        return push_error(L, &e);
    lua_pushboolean(L, true);
    return 1;
}

static void push_value(lua_State *L, json v)
{
    luaL_checkstack(L, 8, NULL);
    switch (json_kind(v)) {
    case JSON_BOOL:
        lua_pushboolean(L, json_bool(v, false));
        return;
    case JSON_NUMBER:
        lua_pushnumber(L, json_num(v, 0));
        return;
    case JSON_STRING:
        push_str(L, json_str(v));
        return;
    case JSON_ARRAY:
    case JSON_OBJECT:
        break;
    default:
        lua_pushliteral(L, "<null>");
        return;
    }
    lua_newtable(L);
    lua_Integer i = 0;
    for (json c = json_first(v); json_kind(c) != JSON_NONE; c = json_next(c)) {
        if (json_kind(v) == JSON_ARRAY)
            lua_pushinteger(L, ++i);
        else
            push_str(L, json_name(c));
        push_value(L, c);
        lua_rawset(L, -3);
    }
}

/* parse(text [, values, depth, bytes]) -> Lua value (null is '<null>') | nil, error, message */
static int l_parse(lua_State *L)
{
    struct json_caps caps = json_caps_small;
    caps.values = (size_t)luaL_optinteger(L, 2, (lua_Integer)caps.values);
    caps.depth = (unsigned)luaL_optinteger(L, 3, caps.depth);
    caps.bytes = (size_t)luaL_optinteger(L, 4, (lua_Integer)caps.bytes);
    struct arena a;
    struct error e = { 0 };
    json v;
    arena_init(&a, 16u << 20);
    int pushed = 1;
    if (json_parse(&a, check_str(L, 1), &caps, &v, &e))
        pushed = push_error(L, &e);
    else
        push_value(L, v);
    arena_fini(&a);
    return pushed;
}

static int open_json(lua_State *L)
{
    static const luaL_Reg fns[] = {
        { "edit", l_edit },   { "scan", l_scan },       { "skip", l_skip },
        { "text", l_text },   { "is_true", l_is_true }, { "text_is", l_text_is },
        { "quote", l_quote }, { "num", l_num },         { "path_check", l_path_check },
        { "parse", l_parse }, { NULL, NULL },
    };
    luaL_newlib(L, fns);
    return 1;
}

PROBE(codec_json, open_json);
