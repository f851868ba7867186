/* luaswap.state as text: for the hand-over at a reload, and for state_file. Tables keep their identity (shared and
 * cyclic references); functions, userdata and metatables are errors that name the path.
 *
 * Form: "luaswap-state 1\n", then one value. n nil, t true, f false, i<int>; d<hex float>; s<len>:<bytes>,
 * T<count>: followed by count pairs (a new table, numbered in the order of appearance), R<number>; one seen before. */
#include "policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define HEAD "luaswap-state 1\n"
#define PATH_MAX_LEN 200
#define DEPTH 100

struct writer {
    struct policy *p;
    struct strbuf *out;
    char path[PATH_MAX_LEN];
    lua_Integer tables;
};

static void write_value(lua_State *L, struct writer *w, unsigned depth);

static size_t path_add(struct writer *w, lua_State *L, int key)
{
    size_t was = strlen(w->path);
    if (lua_type(L, key) == LUA_TSTRING)
        snprintf(w->path + was, sizeof(w->path) - was, ".%.60s", lua_tostring(L, key));
    else if (lua_isinteger(L, key))
        snprintf(w->path + was, sizeof(w->path) - was, "[%lld]", (long long)lua_tointeger(L, key));
    else
        snprintf(w->path + was, sizeof(w->path) - was, "[%s]", luaL_typename(L, key));
    return was;
}

static void write_table(lua_State *L, struct writer *w, unsigned depth)
{
    int at = lua_gettop(L);
    if (depth > DEPTH)
        luaL_error(L, "%s: nested too deeply", w->path);
    if (lua_getmetatable(L, at))
        luaL_error(L, "%s: a table with a metatable cannot be kept", w->path);
    luaL_checkstack(L, 8, "state");
    lua_pushvalue(L, at); /* seen before? */
    if (lua_rawget(L, 2) != LUA_TNIL) {
        strbuf_addf(w->out, "R%lld;", (long long)lua_tointeger(L, -1));
        lua_settop(L, at);
        return;
    }
    lua_settop(L, at);
    lua_pushvalue(L, at);
    lua_pushinteger(L, ++w->tables);
    lua_rawset(L, 2);
    lua_Integer n = 0;
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1))
        n++;
    strbuf_addf(w->out, "T%lld:", (long long)n);
    for (lua_pushnil(L); lua_next(L, at);) {
        size_t was = path_add(w, L, -2);
        lua_pushvalue(L, -2);
        write_value(L, w, depth + 1);
        lua_pop(L, 1);
        write_value(L, w, depth + 1);
        w->path[was] = '\0';
        lua_pop(L, 1);
        gate_charge(L, 2);
    }
}

/* The value at the top stays there. */
static void write_value(lua_State *L, struct writer *w, unsigned depth)
{
    switch (lua_type(L, -1)) {
    case LUA_TNIL: strbuf_addc(w->out, 'n'); break;
    case LUA_TBOOLEAN: strbuf_addc(w->out, lua_toboolean(L, -1) ? 't' : 'f'); break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            strbuf_addf(w->out, "i%lld;", (long long)lua_tointeger(L, -1));
        else
            strbuf_addf(w->out, "d%a;", lua_tonumber(L, -1));
        break;
    case LUA_TSTRING: {
        str s;
        s.ptr = lua_tolstring(L, -1, &s.len);
        strbuf_addf(w->out, "s%zu:", s.len);
        strbuf_add(w->out, s);
        strbuf_addc(w->out, ',');
        break;
    }
    case LUA_TTABLE: write_table(L, w, depth); break;
    default: luaL_error(L, "%s: a %s cannot be kept", w->path, luaL_typename(L, -1));
    }
    if (w->out->full || w->out->len > POLICY_STATE_MAX)
        luaL_error(L, "luaswap.state is larger than 1 MB");
}

static int save_protected(lua_State *L)
{
    struct writer *w = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_newtable(L); /* 2: tables that were seen */
    lua_rawgeti(L, LUA_REGISTRYINDEX, w->p->ref_state);
    write_value(L, w, 0);
    return 0;
}

int state_save(struct policy *p, struct strbuf *out, struct error *e)
{
    struct writer w = { .p = p, .out = out, .path = "state" };
    strbuf_add(out, S(HEAD));
    return gate_run(p, POLICY_ON_STOP, 4u * 1000 * 1000, 500, save_protected, &w, e);
}

/* ---- reading ---- */

struct sreader {
    struct policy *p;
    const char *at, *end;
    lua_Integer tables;
    const char *old_version;
};

static _Noreturn void bad(lua_State *L)
{
    luaL_error(L, "the text is not a state of luaswap");
    __builtin_unreachable();
}

/* A decimal number up to `until`. */
static int64_t number(lua_State *L, struct sreader *r, char until)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at != until && r->at - from < 24)
        r->at++;
    int64_t v;
    if (r->at >= r->end || *r->at != until || !str_to_i64(str_n(from, (size_t)(r->at - from)), &v))
        bad(L);
    r->at++;
    return v;
}

static void read_value(lua_State *L, struct sreader *r, unsigned depth);

/* `into`: the table at the top is filled instead of a new one. */
static void read_table(lua_State *L, struct sreader *r, unsigned depth, bool into)
{
    int64_t n = number(L, r, ':');
    if (depth > DEPTH || n < 0)
        bad(L);
    luaL_checkstack(L, 6, "state");
    if (!into)
        lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 2, ++r->tables);
    for (; n > 0; n--) {
        read_value(L, r, depth + 1);
        if (lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TNUMBER && lua_tonumber(L, -1) != lua_tonumber(L, -1)))
            bad(L);
        read_value(L, r, depth + 1);
        lua_rawset(L, -3);
        gate_charge(L, 2);
    }
}

static void read_value(lua_State *L, struct sreader *r, unsigned depth)
{
    if (r->at >= r->end)
        bad(L);
    switch (*r->at++) {
    case 'n': lua_pushnil(L); return;
    case 't': lua_pushboolean(L, true); return;
    case 'f': lua_pushboolean(L, false); return;
    case 'i': lua_pushinteger(L, number(L, r, ';')); return;
    case 'd': {
        char text[64];
        const char *end = memchr(r->at, ';', (size_t)(r->end - r->at));
        if (!end || (size_t)(end - r->at) >= sizeof(text))
            bad(L);
        memcpy(text, r->at, (size_t)(end - r->at));
        text[end - r->at] = '\0';
        r->at = end + 1;
        lua_pushnumber(L, strtod(text, NULL));
        return;
    }
    case 's': {
        int64_t len = number(L, r, ':');
        if (len < 0 || len >= r->end - r->at || r->at[len] != ',')
            bad(L);
        lua_pushlstring(L, r->at, (size_t)len);
        r->at += len + 1;
        return;
    }
    case 'T': read_table(L, r, depth, false); return;
    case 'R':
        if (lua_rawgeti(L, 2, number(L, r, ';')) != LUA_TTABLE)
            bad(L);
        return;
    default: bad(L);
    }
}

static int restore_protected(lua_State *L)
{
    struct sreader *r = lua_touserdata(L, 1);
    struct policy *p = r->p;
    lua_settop(L, 1);
    lua_newtable(L);
    bool migrate = p->ref_migrate != LUA_NOREF && r->old_version[0] && strcmp(r->old_version, p->version) != 0;
    if (r->at >= r->end || *r->at++ != 'T')
        bad(L);
    if (migrate)
        lua_newtable(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_state);
    read_table(L, r, 0, true);
    if (r->at != r->end)
        bad(L);
    if (!migrate)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_migrate);
    lua_insert(L, -2);
    lua_pushstring(L, r->old_version);
    lua_call(L, 2, 1);
    if (!lua_istable(L, -1))
        return luaL_error(L, "migrate must return the new state, a table");
    int from = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, p->ref_state);
    for (lua_pushnil(L); lua_next(L, from);) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, from + 1);
    }
    return 0;
}

int state_restore(struct policy *p, str bytes, const char *old_version, struct error *e)
{
    if (!str_starts(bytes, S(HEAD)))
        return error_set(e, ERR_SYNTAX, "not a state of luaswap");
    struct sreader r = { .p = p, .at = bytes.ptr + sizeof(HEAD) - 1, .end = bytes.ptr + bytes.len, .old_version = old_version };
    p->phase = PHASE_NOTE;
    return gate_run(p, POLICY_ON_START, 4u * 1000 * 1000, 500, restore_protected, &r, e);
}

/* ---- req.ctx, from a policy to the one that takes its place ---- */

struct ctx_save {
    struct writer w;
    const struct preq *r;
};
struct ctx_restore {
    struct sreader in;
    struct preq *r;
};

/* Nothing is written for a request that has no ctx, or an empty one. */
static int ctx_save_protected(lua_State *L)
{
    struct ctx_save *c = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_newtable(L); /* 2: tables that were seen */
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->w.p->ref_views);
    if (lua_rawgeti(L, -1, c->r->slot) != LUA_TUSERDATA || ((struct view *)lua_touserdata(L, -1))->u.req.uid != c->r->uid ||
        lua_getiuservalue(L, -1, 1) != LUA_TTABLE)
        return 0;
    int at = lua_gettop(L);
    lua_pushnil(L);
    if (!lua_next(L, at))
        return 0;
    lua_settop(L, at);
    write_value(L, &c->w, 0);
    return 0;
}

static int ctx_restore_protected(lua_State *L)
{
    struct ctx_restore *c = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    view_push_request(L, c->in.p, c->r);
    read_value(L, &c->in, 0);
    lua_setiuservalue(L, 3, 1);
    return 0;
}

static int carry_one(struct policy *from, struct policy *to, struct preq *r, struct strbuf *b, struct error *e)
{
    struct ctx_save save = { .w = { .p = from, .out = b, .path = "ctx" }, .r = r };
    strbuf_clear(b);
    int rc = gate_run(from, POLICY_ON_STOP, 1u * 1000 * 1000, 100, ctx_save_protected, &save, e);
    if (rc || b->len == 0)
        return rc;
    struct ctx_restore get = { .in = { .p = to, .at = b->ptr, .end = b->ptr + b->len }, .r = r };
    return gate_run(to, POLICY_ON_START, 1u * 1000 * 1000, 100, ctx_restore_protected, &get, e);
}

void state_carry_ctx(struct policy *from, struct policy *to)
{
    struct policies *ps = to->ps;
    struct strbuf b = STRBUF(2 * POLICY_STATE_MAX);
    size_t total = 0, lost = 0;
    struct error e = { 0 }, first = { 0 };
    for (size_t i = 0; ps->buckets && i <= ps->mask; i++) {
        for (struct preq *r = ps->buckets[i]; r; r = r->hash_next) {
            int rc = total > POLICY_CTX_MAX ? error_set(&e, ERR_LIMIT, "more than 8 MB of them")
                     : !gate_turn_left(ps) ? error_set(&e, ERR_TIMEOUT, "no time left for them")
                                           : carry_one(from, to, r, &b, &e);
            total += b.len;
            if (rc && lost++ == 0)
                first = e;
        }
    }
    if (lost > 0)
        vm_warn(to, "req.ctx of %zu requests not kept: %s", lost, first.msg);
    strbuf_fini(&b);
}

/* ---- the file ---- */

int state_read_file(struct policy *p, struct strbuf *out)
{
    char path[512];
    if (p->conf.state_file.len == 0 || p->conf.state_file.len >= sizeof(path))
        return ERR_NOTFOUND;
    snprintf(path, sizeof(path), STR_FMT, STR_ARG(p->conf.state_file));
    struct error e;
    return vm_read_file(path, out, &e);
}

static int write_file(const char *path, str bytes, struct error *e)
{
    char tmp[600];
    snprintf(tmp, sizeof(tmp), "%s.new", path);
    FILE *f = fopen(tmp, "wb");
    if (!f)
        return error_sys(e, ERR_SYS, errno, "cannot write %s", tmp);
    bool ok = fwrite(bytes.ptr, 1, bytes.len, f) == bytes.len && fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = fclose(f) == 0 && ok;
    if (ok && rename(tmp, path) == 0)
        return 0;
    int errnum = errno;
    remove(tmp);
    return error_sys(e, ERR_SYS, errnum, "cannot write %s", path);
}

void state_due(struct policies *ps, bool last)
{
    for (size_t i = 0; i < ps->n; i++) {
        struct policy *p = ps->at[i];
        if (p->state != PS_ACTIVE || p->shadow || p->conf.state_file.len == 0 || (!last && ps->now < p->next_save))
            continue;
        p->next_save = ps->now + 60000;
        char path[512];
        snprintf(path, sizeof(path), STR_FMT, STR_ARG(p->conf.state_file));
        struct strbuf b = STRBUF(2 * POLICY_STATE_MAX);
        struct error e = { 0 };
        int rc = state_save(p, &b, &e);
        if (!rc)
            rc = ps->host->save ? ps->host->save(ps->host->ud, path, strbuf_str(&b), &e) : write_file(path, strbuf_str(&b), &e);
        if (rc)
            vm_warn(p, "state not kept: %s", e.msg);
        strbuf_fini(&b);
    }
}
