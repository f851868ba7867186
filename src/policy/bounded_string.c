/* The string library of a policy: the same names and results as Lua's, with sizes checked before anything is built
 * and all work counted against the budget. */
#include "policy/priv.h"

#include <lualib.h>
#include <stdio.h>

/* ---- small ones ---- */

static str arg_str(lua_State *L, int at)
{
    str s;
    s.ptr = luaL_checklstring(L, at, &s.len);
    return s;
}

/* The library's own function (first upvalue) after its input was counted. */
static int counted(lua_State *L)
{
    size_t len = 0;
    int n = lua_gettop(L);
    if (lua_type(L, 1) == LUA_TSTRING)
        len = lua_rawlen(L, 1);
    gate_charge(L, len / 8 + (uint64_t)n);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

static int s_rep(lua_State *L)
{
    str s = arg_str(L, 1), sep = { "", 0 };
    lua_Integer n = luaL_checkinteger(L, 2);
    if (!lua_isnoneornil(L, 3))
        sep = arg_str(L, 3);
    if (n <= 0 || s.len + sep.len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((lua_Unsigned)n > POLICY_STRING_MAX || (s.len + sep.len) > POLICY_STRING_MAX / (size_t)n)
        return luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
    size_t total = s.len * (size_t)n + sep.len * (size_t)(n - 1);
    gate_charge(L, total / 16 + (uint64_t)n / 4 + 1);
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, total);
    for (lua_Integer i = 0; i < n; i++) {
        if (s.len)
            memcpy(to, s.ptr, s.len);
        to += s.len;
        if (i + 1 < n && sep.len) {
            memcpy(to, sep.ptr, sep.len);
            to += sep.len;
        }
    }
    luaL_pushresultsize(&b, total);
    return 1;
}

/* The longest number in a format of pack: what an option may ask for. */
static int s_pack(lua_State *L)
{
    str f = arg_str(L, 1);
    if (f.len > 1024)
        return luaL_error(L, "format too long");
    uint64_t num = 0;
    for (size_t i = 0; i < f.len; i++) {
        num = chr_digit(f.ptr[i]) ? num * 10 + (uint64_t)(f.ptr[i] - '0') : 0;
        if (num > 65536)
            return luaL_error(L, "size in format too large");
    }
    size_t total = 0;
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++)
        total += lua_type(L, i) == LUA_TSTRING ? lua_rawlen(L, i) : 16;
    if (total > POLICY_STRING_MAX)
        return luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
    gate_charge(L, total / 8 + 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- tostring without addresses; format ---- */

static int to_string(lua_State *L)
{
    luaL_checkany(L, 1);
    int type = lua_type(L, 1);
    if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "'__tostring' must return a string");
        return 1;
    }
    switch (type) {
    case LUA_TTABLE:
    case LUA_TFUNCTION:
    case LUA_TUSERDATA:
    case LUA_TLIGHTUSERDATA:
    case LUA_TTHREAD:
        lua_pushstring(L, lua_typename(L, type));
        return 1;
    default: luaL_tolstring(L, 1, NULL); return 1;
    }
}

/* One `%` item of a format: from after the percent sign. Returns the length of "flags width .precision", -1 bad. */
static int spec_len(str f, size_t at)
{
    size_t i = at;
    while (i < f.len && f.ptr[i] && memchr("-+ #0", f.ptr[i], 5))
        i++;
    for (int k = 0; k < 2 && i < f.len && chr_digit(f.ptr[i]); k++)
        i++;
    if (i < f.len && f.ptr[i] == '.') {
        i++;
        for (int k = 0; k < 2 && i < f.len && chr_digit(f.ptr[i]); k++)
            i++;
    }
    return i < f.len && i - at < 10 ? (int)(i - at) : -1;
}

/* Everything but %s and %q is left to the library's own function, one item at a time. */
static void format_item(lua_State *L, luaL_Buffer *b, str item, int arg, size_t *total)
{
    char conv = item.ptr[item.len - 1];
    size_t len;
    if (conv == 's') {
        lua_pushcfunction(L, to_string);
        lua_pushvalue(L, arg);
        lua_call(L, 1, 1);
        (void)lua_tolstring(L, -1, &len);
        if (item.len == 2) {
            *total += len;
            if (*total > POLICY_STRING_MAX)
                luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
            gate_charge(L, len / 16 + 1);
            luaL_addvalue(b);
            return;
        }
    } else {
        lua_pushvalue(L, arg);
        if (lua_type(L, -1) == LUA_TSTRING && lua_rawlen(L, -1) > POLICY_STRING_MAX / 4)
            luaL_error(L, "string too long for %%%c", conv);
    }
    /* value on top: string.format(item, value) */
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushlstring(L, item.ptr, item.len);
    lua_pushvalue(L, -3);
    lua_call(L, 2, 1);
    lua_remove(L, -2);
    (void)lua_tolstring(L, -1, &len);
    *total += len;
    if (*total > POLICY_STRING_MAX)
        luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
    gate_charge(L, len / 16 + 4);
    luaL_addvalue(b);
}

static int s_format(lua_State *L)
{
    str f = arg_str(L, 1);
    if (f.len > POLICY_SUBJECT_MAX)
        return luaL_error(L, "format too long");
    int arg = 1, top = lua_gettop(L);
    size_t total = f.len;
    gate_charge(L, f.len / 4 + 1);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < f.len;) {
        const char *pct = memchr(f.ptr + i, '%', f.len - i);
        size_t plain = pct ? (size_t)(pct - f.ptr) - i : f.len - i;
        luaL_addlstring(&b, f.ptr + i, plain);
        i += plain;
        if (!pct)
            break;
        if (i + 1 < f.len && f.ptr[i + 1] == '%') {
            luaL_addchar(&b, '%');
            i += 2;
            continue;
        }
        int n = spec_len(f, i + 1);
        if (n < 0)
            return luaL_error(L, "invalid conversion to 'format'");
        char conv = f.ptr[i + 1 + (size_t)n];
        if (!conv || !strchr("cdiuoxXaAfFeEgGqs", conv))
            return luaL_error(L, "invalid conversion '%%%c' to 'format'", conv);
        if (++arg > top)
            return luaL_argerror(L, arg, "no value");
        format_item(L, &b, str_n(f.ptr + i, (size_t)n + 2), arg, &total);
        i += (size_t)n + 2;
    }
    luaL_pushresult(&b);
    return 1;
}

/* ---- patterns ---- */

static void begin(lua_State *L, struct pattern *m, str s, str p)
{
    if (s.len > POLICY_SUBJECT_MAX)
        luaL_error(L, "string of %d bytes is too long for a pattern (at most %d)", (int)s.len, (int)POLICY_SUBJECT_MAX);
    if (p.len > 4096)
        luaL_error(L, "pattern too long");
    *m = (struct pattern){ .L = L, .src = s.ptr, .src_end = s.ptr + s.len, .pat_end = p.ptr + p.len };
}

static void push_capture(lua_State *L, const struct pattern *m, int i, const char *from, const char *to)
{
    if (i >= m->n_caps) {
        if (i != 0)
            luaL_error(L, "invalid capture index %%%d", i + 1);
        lua_pushlstring(L, from, (size_t)(to - from));
        return;
    }
    ptrdiff_t len = m->caps[i].len;
    if (len == -1)
        luaL_error(L, "unfinished capture");
    if (len == -2)
        lua_pushinteger(L, m->caps[i].at - m->src + 1);
    else
        lua_pushlstring(L, m->caps[i].at, (size_t)len);
}

/* All captures, or the whole match when there are none and `whole`. */
static int push_captures(lua_State *L, const struct pattern *m, const char *from, const char *to, bool whole)
{
    int n = m->n_caps == 0 && whole ? 1 : m->n_caps;
    luaL_checkstack(L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(L, m, i, from, to);
    return n;
}

/* Argument `init` as an offset; SIZE_MAX: behind the end. */
static size_t from_arg(lua_State *L, int at, size_t len)
{
    lua_Integer i = luaL_optinteger(L, at, 1);
    if (i > 0)
        return (lua_Unsigned)i > len + 1 ? SIZE_MAX : (size_t)i - 1;
    if (i == 0 || i < -(lua_Integer)len)
        return 0;
    return len - (size_t)-i;
}

static bool no_specials(str p)
{
    for (size_t i = 0; i < p.len; i++)
        if (p.ptr[i] && strchr("^$*+?.([%-", p.ptr[i]))
            return false;
    return true;
}

static int find_plain(lua_State *L, str s, str p, size_t from)
{
    gate_charge(L, s.len / 8 + 1);
    const char *hit = p.len == 0 ? s.ptr + from : memmem(s.ptr + from, s.len - from, p.ptr, p.len);
    if (!hit) {
        luaL_pushfail(L);
        return 1;
    }
    lua_pushinteger(L, hit - s.ptr + 1);
    lua_pushinteger(L, hit - s.ptr + (lua_Integer)p.len);
    return 2;
}

static int search(lua_State *L, bool find)
{
    str s = arg_str(L, 1), p = arg_str(L, 2);
    size_t from = from_arg(L, 3, s.len);
    if (from == SIZE_MAX) {
        luaL_pushfail(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || no_specials(p)))
        return find_plain(L, s, p, from);
    struct pattern m;
    begin(L, &m, s, p);
    bool anchor = p.len > 0 && p.ptr[0] == '^';
    const char *at = s.ptr + from;
    do {
        const char *end = pattern_match(&m, at, p.ptr + anchor);
        if (!end)
            continue;
        if (!find)
            return push_captures(L, &m, at, end, true);
        lua_pushinteger(L, at - s.ptr + 1);
        lua_pushinteger(L, end - s.ptr);
        return 2 + push_captures(L, &m, at, end, false);
    } while (at++ < m.src_end && !anchor);
    luaL_pushfail(L);
    return 1;
}

static int s_find(lua_State *L)
{
    return search(L, true);
}

static int s_match(lua_State *L)
{
    return search(L, false);
}

/* Upvalues: subject, pattern, offset of the next try, end of the last match. */
static int gmatch_next(lua_State *L)
{
    str s = arg_str(L, lua_upvalueindex(1)), p = arg_str(L, lua_upvalueindex(2));
    struct pattern m;
    begin(L, &m, s, p);
    const char *last = s.ptr + lua_tointeger(L, lua_upvalueindex(4)) - 1;
    for (const char *at = s.ptr + lua_tointeger(L, lua_upvalueindex(3)); at <= m.src_end; at++) {
        const char *end = pattern_match(&m, at, p.ptr);
        if (!end || end == last)
            continue;
        lua_pushinteger(L, end - s.ptr);
        lua_replace(L, lua_upvalueindex(3));
        lua_pushinteger(L, end - s.ptr + 1);
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(L, &m, at, end, true);
    }
    return 0;
}

static int s_gmatch(lua_State *L)
{
    str s = arg_str(L, 1);
    arg_str(L, 2);
    size_t from = from_arg(L, 3, s.len);
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 2);
    lua_pushinteger(L, from == SIZE_MAX ? (lua_Integer)s.len + 1 : (lua_Integer)from);
    lua_pushinteger(L, 0); /* no match yet */
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

static void add_template(lua_State *L, luaL_Buffer *b, const struct pattern *m, const char *from, const char *to)
{
    size_t len;
    const char *t = lua_tolstring(L, 3, &len);
    gate_charge(L, len / 8 + 1);
    for (size_t i = 0; i < len; i++) {
        if (t[i] != '%') {
            luaL_addchar(b, t[i]);
            continue;
        }
        i++;
        if (i < len && t[i] == '%') {
            luaL_addchar(b, '%');
        } else if (i < len && chr_digit(t[i])) {
            if (t[i] == '0')
                lua_pushlstring(L, from, (size_t)(to - from));
            else
                push_capture(L, m, t[i] - '1', from, to);
            luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            gate_charge(L, lua_rawlen(L, -1) / 16);
            luaL_addvalue(b);
        } else {
            luaL_error(L, "invalid use of '%%' in replacement string");
        }
    }
}

/* Adds what stands for the match [from, to). */
static void add_value(lua_State *L, luaL_Buffer *b, const struct pattern *m, const char *from, const char *to)
{
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION: {
        lua_pushvalue(L, 3);
        int n = push_captures(L, m, from, to, true);
        lua_call(L, n, 1);
        break;
    }
    case LUA_TTABLE:
        push_capture(L, m, 0, from, to);
        lua_gettable(L, 3);
        break;
    default: add_template(L, b, m, from, to); return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, from, (size_t)(to - from));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
}

static int s_gsub(lua_State *L)
{
    str s = arg_str(L, 1), p = arg_str(L, 2);
    int type = lua_type(L, 3);
    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE, 3,
                     "string/function/table");
    lua_Integer max = luaL_optinteger(L, 4, (lua_Integer)s.len + 1), n = 0;
    bool anchor = p.len > 0 && p.ptr[0] == '^';
    struct pattern m;
    begin(L, &m, s, p);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    const char *at = s.ptr, *last = NULL;
    while (n < max) {
        const char *end = pattern_match(&m, at, p.ptr + anchor);
        if (end && end != last) {
            n++;
            add_value(L, &b, &m, at, end);
            at = last = end;
            if (luaL_bufflen(&b) > POLICY_STRING_MAX)
                return luaL_error(L, "string longer than %d bytes", (int)POLICY_STRING_MAX);
        } else if (at < m.src_end) {
            luaL_addchar(&b, *at++);
        } else {
            break;
        }
        if (anchor)
            break;
    }
    luaL_addlstring(&b, at, (size_t)(m.src_end - at));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}

void lib_string_open(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction fn; /* gets the library's own as upvalue */
    } names[] = {
        { "byte", counted }, { "char", counted }, { "len", counted }, { "lower", counted }, { "upper", counted },
        { "reverse", counted }, { "sub", counted }, { "unpack", counted }, { "packsize", s_pack }, { "pack", s_pack },
        { "format", s_format }, { "rep", s_rep }, { "find", s_find }, { "match", s_match }, { "gmatch", s_gmatch },
        { "gsub", s_gsub },
    };
    lua_newtable(L);
    luaL_requiref(L, "string", luaopen_string, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        lua_getfield(L, -1, names[i].name);
        lua_pushcclosure(L, names[i].fn, 1);
        lua_setfield(L, -3, names[i].name);
    }
    lua_pop(L, 1);
    /* `tostring`, for the environment. */
    lua_pushcfunction(L, to_string);
    lua_setfield(L, LUA_REGISTRYINDEX, "policy.tostring");
}
