/* luaswap.http: calls that a coroutine waits for. The host does the talking; here is what is allowed. */
#include "policy/task.h"

#include "base/check.h"

static void push_headers(lua_State *L, const struct policy_header *h, size_t n)
{
    lua_createtable(L, 0, (int)n);
    for (size_t i = 0; i < n; i++) {
        lua_pushlstring(L, h[i].name.ptr ? h[i].name.ptr : "", h[i].name.len);
        lua_pushlstring(L, h[i].value.ptr ? h[i].value.ptr : "", h[i].value.len);
        lua_rawset(L, -3);
    }
}

static int answer_text(lua_State *L)
{
    lua_getfield(L, 1, "body");
    return 1;
}

static int answer_json(lua_State *L)
{
    lua_getfield(L, 1, "body");
    str s;
    s.ptr = luaL_checklstring(L, -1, &s.len);
    const char *fault;
    if (json_decode_to(L, s, &fault)) {
        luaL_pushfail(L);
        lua_pushstring(L, fault);
        return 2;
    }
    return 1;
}

static int http_finished(lua_State *L, int status, lua_KContext ctx)
{
    struct task *t = (struct task *)ctx;
    const struct policy_http_answer *a = t->got;
    t->got = NULL;
    if (!a || a->status == 0) {
        luaL_pushfail(L);
        lua_pushlstring(L, a && a->error.len ? a->error.ptr : "no answer", a && a->error.len ? a->error.len : 9);
        return 2;
    }
    if (a->body.len > POLICY_STRING_MAX) {
        luaL_pushfail(L);
        lua_pushliteral(L, "answer longer than 1 MB");
        return 2;
    }
    lua_createtable(L, 0, 5);
    lua_pushinteger(L, a->status);
    lua_setfield(L, -2, "status");
    push_headers(L, a->headers, a->n_headers);
    lua_setfield(L, -2, "headers");
    lua_pushlstring(L, a->body.ptr ? a->body.ptr : "", a->body.len);
    lua_setfield(L, -2, "body");
    lua_pushcfunction(L, answer_text);
    lua_setfield(L, -2, "text");
    lua_pushcfunction(L, answer_json);
    lua_setfield(L, -2, "json");
    return 1;
}

/* A URL is allowed when an entry of the list is a prefix that ends where a part of the URL ends, and nothing in
 * the URL means something else to somebody: no user part, no dot segments, no blanks. */
static bool url_allowed(const struct policy *p, str url)
{
    if (!str_starts(url, S("http://")) && !str_starts(url, S("https://")))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= 32 || url.ptr[i] == '\\' || url.ptr[i] == 127)
            return false;
    size_t start = (size_t)str_find(url, S("//")) + 2;
    str rest = str_sub(url, start, url.len), host = rest, tail;
    for (size_t i = 0; i < rest.len; i++) {
        if (strchr("/?#", rest.ptr[i]) && rest.ptr[i]) {
            host = str_sub(rest, 0, i);
            break;
        }
    }
    if (str_chr(host, '@') >= 0 || host.len == 0)
        return false;
    tail = str_sub(rest, host.len, rest.len);
    str path = tail;
    ptrdiff_t q = str_chr(path, '?');
    if (q >= 0)
        path = str_sub(path, 0, (size_t)q);
    if (str_find(path, S("/..")) >= 0 || str_ifind(path, S("%2e")) >= 0)
        return false;
    for (size_t i = 0; i < p->conf.n_http_allow; i++) {
        str a = p->conf.http_allow[i];
        if (a.len == 0 || !str_starts(url, a))
            continue;
        char last = a.ptr[a.len - 1];
        if (url.len == a.len || last == '/' || last == '?' || last == '=' || strchr("/?#", url.ptr[a.len]))
            return true;
    }
    return false;
}

/* Headers of the table at `at` into an array that Lua owns. */
static struct policy_header *read_headers(lua_State *L, int at, size_t *ret_n)
{
    size_t n = 0;
    struct policy_header *h = lua_newuserdatauv(L, 32 * sizeof(*h), 0);
    for (lua_pushnil(L); lua_next(L, at); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING || n == 32)
            luaL_error(L, "headers: at most 32 names and texts");
        h[n].name.ptr = lua_tolstring(L, -2, &h[n].name.len);
        h[n].value.ptr = lua_tolstring(L, -1, &h[n].value.len);
        for (size_t i = 0; i < h[n].name.len; i++)
            if ((unsigned char)h[n].name.ptr[i] <= 32 || h[n].name.ptr[i] == ':')
                luaL_error(L, "headers: a name is not valid");
        for (size_t i = 0; i < h[n].value.len; i++)
            if (h[n].value.ptr[i] == '\r' || h[n].value.ptr[i] == '\n' || h[n].value.ptr[i] == '\0')
                luaL_error(L, "headers: a value is not valid");
        n++;
    }
    *ret_n = n;
    return h;
}

/* Options at `opts` (0: none). Yields; what it returns is pushed by http_finished. */
static int http_start(lua_State *L, str method, str url, str sent, int opts)
{
    struct policy *p = vm_policy(L);
    struct policies *ps = p->ps;
    struct task *t = p->cur_task;
    struct policy_http_request r = { .method = method, .url = url, .body = sent, .timeout_ms = POLICY_ROUTE_MS };
    if (opts) {
        if (lua_getfield(L, opts, "timeout") != LUA_TNIL) {
            double sec = luaL_checknumber(L, -1);
            luaL_argcheck(L, sec > 0 && sec <= 60, opts, "timeout: up to 60 seconds");
            r.timeout_ms = (msec)(sec * 1000) + 1;
        }
        if (lua_getfield(L, opts, "headers") == LUA_TTABLE)
            r.headers = read_headers(L, lua_gettop(L), &r.n_headers);
    }
    if (!t || !lua_isyieldable(L))
        return luaL_error(L, "http works in route, after_ready, before_stop and timers, not inside pairs, sort or gsub");
    const char *why = NULL;
    if (!url_allowed(p, url))
        why = "not on the http_allow list of config.yaml";
    else if (p->n_http >= POLICY_HTTP_MAX)
        why = "too many calls in flight";
    else if (!ps->host->http_start)
        why = "this server has no http for policies";
    if (!why) {
        r.id = ++ps->next_http;
        t->http = r.id;
        p->n_http++;
        if (!ps->host->http_start(ps->host->ud, &r)) {
            t->http = 0;
            p->n_http--;
            why = "cannot start the call";
        }
    }
    if (why) {
        luaL_pushfail(L);
        lua_pushstring(L, why);
        return 2;
    }
    return lua_yieldk(L, 0, (lua_KContext)t, http_finished);
}

static str arg(lua_State *L, int at)
{
    str s;
    s.ptr = luaL_checklstring(L, at, &s.len);
    return s;
}

static int options(lua_State *L, int at)
{
    if (lua_isnoneornil(L, at))
        return 0;
    luaL_checktype(L, at, LUA_TTABLE);
    return at;
}

int lib_http_get(lua_State *L)
{
    task_enter(L);
    return http_start(L, S("GET"), arg(L, 1), STR_NONE, options(L, 2));
}

int lib_http_post(lua_State *L)
{
    task_enter(L);
    return http_start(L, S("POST"), arg(L, 1), arg(L, 2), options(L, 3));
}

int lib_http_request(lua_State *L)
{
    task_enter(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "url");
    lua_getfield(L, 1, "method");
    lua_getfield(L, 1, "body");
    str method = lua_isnil(L, 3) ? S("GET") : arg(L, 3);
    static const char *const known[] = { "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH" };
    bool ok = false;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        ok = ok || str_eq(method, str_c(known[i]));
    luaL_argcheck(L, ok, 1, "method");
    return http_start(L, method, arg(L, 2), lua_isnil(L, 4) ? STR_NONE : arg(L, 4), 1);
}
