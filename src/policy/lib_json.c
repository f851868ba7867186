/* JSON straight into and out of Lua values, without a tree in between. Depth 64, 1 MB; work is counted. */
#include "policy/priv.h"

#include "base/utf8.h"

#include <math.h>
#include <stdio.h>

#define DEPTH 64

static const char null_token;
int lib_json_find(const char *name, lua_CFunction *ret);

void json_null(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&null_token);
}

/* ---- reading ---- */

struct reader {
    lua_State *L;
    const char *at, *end;
    const char *fault;
    unsigned depth;
};

static void blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool fail(struct reader *r, const char *why)
{
    if (!r->fault)
        r->fault = why;
    return false;
}

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int d = chr_hex(s[i]);
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)(lead[n] | c);
    return n;
}

/* A \uXXXX at r->at (behind the u), with its second half where there is one. */
static bool unicode(struct reader *r, luaL_Buffer *b)
{
    if (r->end - r->at < 4)
        return fail(r, "\\u is cut off");
    int c = hex4(r->at);
    if (c < 0)
        return fail(r, "\\u needs four hex digits");
    r->at += 4;
    uint32_t code = (uint32_t)c;
    if (c >= 0xd800 && c < 0xdc00) {
        int low = r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + (((uint32_t)c - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
            r->at += 6;
        } else {
            code = 0xfffd;
        }
    } else if (c >= 0xdc00 && c < 0xe000) {
        code = 0xfffd;
    }
    char out[4];
    luaL_addlstring(b, out, put_utf8(out, code));
    return true;
}

static bool read_string(struct reader *r)
{
    const char *from = ++r->at;
    while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (unsigned char)*r->at >= 32)
        r->at++;
    if (r->at < r->end && *r->at == '"') {
        lua_pushlstring(r->L, from, (size_t)(r->at++ - from));
        return true;
    }
    luaL_Buffer b;
    luaL_buffinit(r->L, &b);
    luaL_addlstring(&b, from, (size_t)(r->at - from));
    while (r->at < r->end) {
        char c = *r->at++;
        if (c == '"') {
            luaL_pushresult(&b);
            return true;
        }
        if ((unsigned char)c < 32)
            return fail(r, "a control character in a string");
        if (c != '\\') {
            luaL_addchar(&b, c);
            continue;
        }
        if (r->at >= r->end)
            break;
        c = *r->at++;
        switch (c) {
        case '"':
        case '\\':
        case '/': luaL_addchar(&b, c); break;
        case 'b': luaL_addchar(&b, '\b'); break;
        case 'f': luaL_addchar(&b, '\f'); break;
        case 'n': luaL_addchar(&b, '\n'); break;
        case 'r': luaL_addchar(&b, '\r'); break;
        case 't': luaL_addchar(&b, '\t'); break;
        case 'u':
            if (!unicode(r, &b))
                return false;
            break;
        default: return fail(r, "an unknown escape");
        }
    }
    return fail(r, "a string is not closed");
}

static bool read_number(struct reader *r)
{
    const char *from = r->at, *s = from;
    if (s < r->end && *s == '-')
        s++;
    if (s >= r->end || !chr_digit(*s))
        return fail(r, "no JSON value");
    if (*s == '0' && s + 1 < r->end && chr_digit(s[1]))
        return fail(r, "a number begins with 0");
    bool whole = true;
    while (s < r->end && chr_digit(*s))
        s++;
    if (s < r->end && *s == '.') {
        whole = false;
        if (++s >= r->end || !chr_digit(*s))
            return fail(r, "a number ends with a point");
        while (s < r->end && chr_digit(*s))
            s++;
    }
    if (s < r->end && (*s == 'e' || *s == 'E')) {
        whole = false;
        s++;
        if (s < r->end && (*s == '+' || *s == '-'))
            s++;
        if (s >= r->end || !chr_digit(*s))
            return fail(r, "a number without an exponent");
        while (s < r->end && chr_digit(*s))
            s++;
    }
    r->at = s;
    int64_t i;
    if (whole && str_to_i64(str_n(from, (size_t)(s - from)), &i)) {
        lua_pushinteger(r->L, i);
        return true;
    }
    if (s - from > 190)
        return fail(r, "a number is too long");
    char text[200];
    memcpy(text, from, (size_t)(s - from));
    text[s - from] = '\0';
    if (!lua_stringtonumber(r->L, text))
        return fail(r, "not a number");
    return true;
}

static bool read_value(struct reader *r);

static bool read_array(struct reader *r)
{
    lua_newtable(r->L);
    r->at++;
    blanks(r);
    if (r->at < r->end && *r->at == ']') {
        r->at++;
        return true;
    }
    for (lua_Integer n = 1;; n++) {
        if (!read_value(r))
            return false;
        lua_rawseti(r->L, -2, n);
        blanks(r);
        if (r->at < r->end && *r->at == ',') {
            r->at++;
            continue;
        }
        if (r->at >= r->end || *r->at++ != ']')
            return fail(r, "a list is not closed");
        return true;
    }
}

static bool read_object(struct reader *r)
{
    lua_newtable(r->L);
    r->at++;
    blanks(r);
    if (r->at < r->end && *r->at == '}') {
        r->at++;
        return true;
    }
    for (;;) {
        blanks(r);
        if (r->at >= r->end || *r->at != '"')
            return fail(r, "a name is missing");
        if (!read_string(r))
            return false;
        blanks(r);
        if (r->at >= r->end || *r->at++ != ':')
            return fail(r, "a colon is missing");
        if (!read_value(r))
            return false;
        lua_rawset(r->L, -3);
        blanks(r);
        if (r->at < r->end && *r->at == ',') {
            r->at++;
            continue;
        }
        if (r->at >= r->end || *r->at++ != '}')
            return fail(r, "an object is not closed");
        return true;
    }
}

static bool word(struct reader *r, str w)
{
    if (!str_starts(str_n(r->at, (size_t)(r->end - r->at)), w))
        return fail(r, "no JSON value");
    r->at += w.len;
    return true;
}

static bool read_value(struct reader *r)
{
    blanks(r);
    if (r->at >= r->end)
        return fail(r, "the text ends too early");
    luaL_checkstack(r->L, 8, "JSON");
    gate_charge(r->L, 1);
    bool ok;
    switch (*r->at) {
    case '{':
    case '[':
        if (++r->depth > DEPTH)
            return fail(r, "nested too deeply");
        ok = *r->at == '{' ? read_object(r) : read_array(r);
        r->depth--;
        return ok;
    case '"': return read_string(r);
    case 't': lua_pushboolean(r->L, true); return word(r, S("true"));
    case 'f': lua_pushboolean(r->L, false); return word(r, S("false"));
    case 'n': json_null(r->L); return word(r, S("null"));
    default: return read_number(r);
    }
}

int json_decode_to(lua_State *L, str text, const char **fault)
{
    int base = lua_gettop(L);
    struct reader r = { L, text.ptr, text.ptr + text.len, NULL, 0 };
    if (text.len > POLICY_STRING_MAX) {
        *fault = "more than 1 MB";
        return -1;
    }
    gate_charge(L, text.len / 16);
    bool ok = utf8_valid(text) ? read_value(&r) : fail(&r, "not UTF-8");
    blanks(&r);
    if (ok && r.at != r.end)
        ok = fail(&r, "something follows the value");
    if (!ok) {
        lua_settop(L, base);
        *fault = r.fault;
        return -1;
    }
    return 0;
}

static int l_decode(lua_State *L)
{
    str s;
    s.ptr = luaL_checklstring(L, 1, &s.len);
    const char *fault;
    if (json_decode_to(L, s, &fault)) {
        luaL_pushfail(L);
        lua_pushstring(L, fault);
        return 2;
    }
    return 1;
}

/* ---- writing ---- */

static bool write_number(lua_State *L, int at, struct strbuf *b, const char **fault)
{
    if (lua_isinteger(L, at))
        return strbuf_addf(b, "%lld", (long long)lua_tointeger(L, at));
    double v = lua_tonumber(L, at);
    if (!isfinite(v)) {
        *fault = "a number is not finite";
        return false;
    }
    char text[40];
    int len = snprintf(text, sizeof(text), "%.15g", v);
    char *end;
    if (strtod(text, &end) != v)
        len = snprintf(text, sizeof(text), "%.17g", v);
    return strbuf_add(b, str_n(text, (size_t)len));
}

static bool write_key(lua_State *L, int at, struct strbuf *b, const char **fault)
{
    if (lua_type(L, at) != LUA_TSTRING && !lua_isinteger(L, at)) {
        *fault = "a key is neither a string nor an integer";
        return false;
    }
    lua_pushvalue(L, at);
    str s;
    s.ptr = lua_tolstring(L, -1, &s.len);
    bool ok = strbuf_addc(b, '"') && strbuf_add_json(b, s) && strbuf_add(b, S("\":"));
    lua_pop(L, 1);
    return ok;
}

/* Through pairs(), so that read-only tables are seen and the order is that of the set. */
static bool write_table(lua_State *L, int at, struct strbuf *b, unsigned depth, const char **fault)
{
    if (depth > DEPTH) {
        *fault = "nested too deeply, or a cycle";
        return false;
    }
    luaL_checkstack(L, 12, "JSON");
    lua_Integer n = luaL_len(L, at);
    if (n > 0) {
        if (!strbuf_addc(b, '['))
            return false;
        for (lua_Integer i = 1; i <= n; i++) {
            if (i > 1)
                strbuf_addc(b, ',');
            lua_geti(L, at, i);
            bool ok = convert_json(L, lua_gettop(L), b, depth, fault);
            lua_pop(L, 1);
            if (!ok)
                return false;
        }
        return strbuf_addc(b, ']');
    }
    if (!strbuf_addc(b, '{'))
        return false;
    int base = lua_gettop(L);
    lua_pushcfunction(L, vm_pairs);
    lua_pushvalue(L, at);
    lua_call(L, 1, 3); /* base+1: iterator, base+2: state, base+3: key */
    bool first = true, ok = true;
    while (ok) {
        lua_pushvalue(L, base + 1);
        lua_pushvalue(L, base + 2);
        lua_pushvalue(L, base + 3);
        lua_call(L, 2, 2);
        if (lua_isnil(L, -2))
            break;
        lua_pushvalue(L, -2);
        lua_replace(L, base + 3);
        if (!first)
            strbuf_addc(b, ',');
        first = false;
        ok = write_key(L, base + 4, b, fault) && convert_json(L, base + 5, b, depth, fault);
        lua_settop(L, base + 3);
    }
    lua_settop(L, base);
    return ok && strbuf_addc(b, '}');
}

bool convert_json(lua_State *L, int at, struct strbuf *b, unsigned depth, const char **fault)
{
    gate_charge(L, 2);
    switch (lua_type(L, at)) {
    case LUA_TNIL: return strbuf_add(b, S("null"));
    case LUA_TBOOLEAN: return strbuf_add(b, lua_toboolean(L, at) ? S("true") : S("false"));
    case LUA_TNUMBER: return write_number(L, at, b, fault);
    case LUA_TSTRING: {
        str s;
        s.ptr = lua_tolstring(L, at, &s.len);
        gate_charge(L, s.len / 8);
        return strbuf_addc(b, '"') && strbuf_add_json(b, s) && strbuf_addc(b, '"');
    }
    case LUA_TLIGHTUSERDATA: return strbuf_add(b, S("null"));
    case LUA_TTABLE: return write_table(L, at, b, depth + 1, fault);
    default: *fault = "only nil, booleans, numbers, strings and tables have a JSON form"; return false;
    }
}

static int l_encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    struct policy *p = vm_policy(L);
    struct strbuf *b = &p->scratch; /* hangs on the policy: what raises below loses nothing */
    strbuf_clear(b);
    b->full = false;
    const char *fault = NULL;
    if (!convert_json(L, 1, b, 0, &fault) || b->full || b->len > POLICY_STRING_MAX)
        return luaL_error(L, "json.encode: %s", fault ? fault : "more than 1 MB");
    lua_pushlstring(L, b->ptr ? b->ptr : "", b->len);
    return 1;
}

int lib_json_find(const char *name, lua_CFunction *ret)
{
    *ret = strcmp(name, "encode") == 0 ? l_encode : strcmp(name, "decode") == 0 ? l_decode : NULL;
    return *ret != NULL;
}
