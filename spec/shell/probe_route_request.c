/* probe_route_request.c: require 'spec.route_request': the parts of route/ that need no
 * configuration. */
#include "spec.h"

#include "base/check.h"
#include "base/rand.h"
#include "codec/multipart.h"
#include "route/auth.h"
#include "route/cors.h"
#include "route/error_body.h"
#include "route/extract.h"
#include "route/match.h"
#include "route/path_lookup.h"
#include "route/wire.h"

static str opt_str(lua_State *L, int at)
{
    size_t n;
    const char *p = lua_isnoneornil(L, at) ? NULL : luaL_checklstring(L, at, &n);
    return p ? str_n(p, n) : STR_NONE;
}

static void push_str(lua_State *L, str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

static int push_buf(lua_State *L, struct strbuf *b)
{
    push_str(L, strbuf_str(b));
    strbuf_fini(b);
    return 1;
}

static int push_error(lua_State *L, const struct error *e)
{
    lua_pushnil(L);
    lua_pushstring(L, err_name(e->code));
    lua_pushstring(L, e->msg);
    return 3;
}

static const char *place_name(enum extract_place p)
{
    return p == EXTRACT_QUERY  ? "query"
           : p == EXTRACT_JSON ? "json"
           : p == EXTRACT_FORM ? "form"
                               : "multipart";
}

static int push_extract(lua_State *L, int rc, const struct extract *x, const struct error *e)
{
    if (rc)
        return push_error(L, e);
    push_str(L, x->model);
    lua_pushboolean(L, x->stream);
    lua_pushstring(L, place_name(x->where));
    return 3;
}

/* extract(method, content type, query, body) -> model, stream, where */
static int l_extract(lua_State *L)
{
    struct arena a;
    struct extract x;
    struct error e = { 0 };
    arena_init(&a, 1u << 20);
    int rc = extract_model(&a, opt_str(L, 1), opt_str(L, 2), opt_str(L, 3), opt_str(L, 4), &x, &e);
    int n = push_extract(L, rc, &x, &e);
    arena_fini(&a);
    return n;
}

/* extract_pieces(content type, query, body, seed): the body in random pieces */
static int l_extract_pieces(lua_State *L)
{
    struct arena a;
    struct extract x;
    struct extract_stream stream;
    struct error e = { 0 };
    struct rand_state r;
    str body = opt_str(L, 3);
    rand_seed(&r, (uint64_t)luaL_checkinteger(L, 4));
    arena_init(&a, 1u << 20);
    extract_stream_init(&stream, opt_str(L, 1));
    while (body.len) {
        size_t n = 1 + (size_t)rand_below(&r, body.len < 9 ? body.len : 9);
        extract_stream_feed(&stream, str_sub(body, 0, n));
        body = str_sub(body, n, SIZE_MAX);
    }
    int rc = extract_stream_end(&stream, &a, opt_str(L, 2), &x, &e);
    int n = push_extract(L, rc, &x, &e);
    extract_stream_fini(&stream);
    arena_fini(&a);
    return n;
}

static int l_form_set(lua_State *L)
{
    struct strbuf b = STRBUF(1u << 20);
    extract_form_set(&b, opt_str(L, 1), opt_str(L, 2), opt_str(L, 3));
    return push_buf(L, &b);
}

static void emit(void *ud, str bytes)
{
    CHECK_TRUE(bytes.len > 0);
    strbuf_add(ud, bytes);
}

/* rewrite(content type, body, value [, piece]) -> new body by streaming, by splicing, announced
 * length */
static int l_rewrite(lua_State *L)
{
    char boundary[MULTIPART_BOUNDARY_MAX];
    size_t len = 0, piece = (size_t)luaL_optinteger(L, 4, 1 << 20);
    str body = opt_str(L, 2), value = opt_str(L, 3), segs[2 * MULTIPART_SPANS_MAX + 1];
    multipart_boundary(opt_str(L, 1), boundary, &len);
    struct strbuf one = STRBUF(64u << 20), two = STRBUF(64u << 20);
    struct multipart_rewrite r;
    struct multipart_fields f = { 0 };
    struct error e = { 0 };
    str b = str_n(boundary, len);
    int rc = multipart_rewrite_init(&r, b, S("model"), value, emit, &one, &e);
    if (!rc)
        rc = multipart_fields_init(&f, b, S("model"), STR_NONE, &e);
    for (size_t at = 0; !rc && at < body.len; at += piece) {
        rc = multipart_rewrite_feed(&r, str_sub(body, at, piece), &e);
        if (!rc)
            rc = multipart_fields_feed(&f, str_sub(body, at, piece), &e);
    }
    if (!rc)
        rc = multipart_rewrite_done(&r, &e);
    if (!rc)
        rc = multipart_fields_done(&f, &e);
    for (size_t at = 0; !rc && at < body.len; at += piece) {
        size_t n = multipart_fields_splice(&f, at, str_sub(body, at, piece), value, segs);
        for (size_t i = 0; i < n; i++)
            strbuf_add(&two, segs[i]);
    }
    multipart_rewrite_fini(&r);
    if (rc) {
        multipart_fields_fini(&f);
        strbuf_fini(&one);
        strbuf_fini(&two);
        return push_error(L, &e);
    }
    lua_Integer total = (lua_Integer)multipart_fields_length(&f, body.len, value.len);
    multipart_fields_fini(&f);
    push_buf(L, &one);
    push_buf(L, &two);
    lua_pushinteger(L, total);
    return 3;
}

/* error_body(accept, status, message [, code]) -> body, content type */
static int l_error_body(lua_State *L)
{
    struct strbuf b = STRBUF(1u << 20);
    const char *type = NULL;
    error_body(&b, opt_str(L, 1), (int)luaL_checkinteger(L, 2), opt_str(L, 3),
               luaL_optstring(L, 4, NULL), &type);
    push_buf(L, &b);
    lua_pushstring(L, type);
    return 2;
}

static int l_error_limit(lua_State *L)
{
    struct strbuf b = STRBUF(1u << 20);
    const char *type = NULL;
    error_body_limit(&b, opt_str(L, 1), &type);
    push_buf(L, &b);
    lua_pushstring(L, type);
    return 2;
}

static int l_error_event(lua_State *L)
{
    struct strbuf b = STRBUF(1u << 20);
    error_body_event(&b, (int)luaL_checkinteger(L, 1), opt_str(L, 2), luaL_optstring(L, 3, NULL));
    return push_buf(L, &b);
}

/* Keys from the list at `at`; they stay alive in it. */
static size_t keys_at(lua_State *L, int at, str keys[16])
{
    size_t n = (size_t)lua_rawlen(L, at);
    ASSERT(n <= 16);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, at, (int)i + 1);
        keys[i].ptr = lua_tolstring(L, -1, &keys[i].len);
        lua_pop(L, 1);
    }
    return n;
}

/* auth(keys, authorization, x-api-key) -> accepted */
static int l_auth(lua_State *L)
{
    str keys[16];
    size_t n = keys_at(L, 1, keys);
    lua_pushboolean(L, auth_accept(keys, n, opt_str(L, 2), opt_str(L, 3)));
    return 1;
}

static int l_holds_key(lua_State *L)
{
    str keys[16];
    size_t n = keys_at(L, 1, keys);
    lua_pushboolean(L, auth_holds_key(keys, n, opt_str(L, 2)));
    return 1;
}

static int l_mask(lua_State *L)
{
    struct strbuf b = STRBUF(1000);
    auth_mask(&b, opt_str(L, 1));
    return push_buf(L, &b);
}

static int l_secret(lua_State *L)
{
    lua_pushboolean(L, auth_header_secret(opt_str(L, 1)));
    return 1;
}

static int l_cors(lua_State *L)
{
    struct strbuf b = STRBUF(4096);
    cors_allow_headers(&b, opt_str(L, 1));
    return push_buf(L, &b);
}

/* match(patterns, path) -> bool | nil, error, message */
static int l_match(lua_State *L)
{
    str patterns[16];
    size_t n = keys_at(L, 1, patterns);
    struct match_set *m;
    struct error e = { 0 };
    if (match_new(patterns, n, &m, &e))
        return push_error(L, &e);
    lua_pushboolean(L, match_any(m, opt_str(L, 2)));
    match_free(m);
    return 1;
}

struct names {
    lua_State *L;
    int at;
    uint64_t asked;
};

static bool known(void *ud, str name, str *ret_id)
{
    struct names *n = ud;
    n->asked++;
    push_str(n->L, name);
    bool hit = lua_rawget(n->L, n->at) == LUA_TSTRING;
    if (hit)
        ret_id->ptr = lua_tolstring(n->L, -1, &ret_id->len);
    lua_pop(n->L, 1);
    return hit;
}

/* lookup(tail, {name = id...}) -> {name, id, rest, forward, bare, asked} | nil, error */
static int l_lookup(lua_State *L)
{
    struct names n = { L, 2, 0 };
    struct path_names names = { .known = known, .ud = &n };
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        size_t len;
        lua_tolstring(L, -2, &len);
        names.longest = len > names.longest ? len : names.longest;
        lua_pop(L, 1);
    }
    struct arena a;
    struct path_match m;
    struct error e = { 0 };
    arena_init(&a, 16u << 20);
    int pushed = 1;
    if (path_lookup(&a, opt_str(L, 1), &names, &m, &e)) {
        pushed = push_error(L, &e);
    } else {
        lua_newtable(L);
        push_str(L, m.name);
        lua_setfield(L, -2, "name");
        push_str(L, m.id);
        lua_setfield(L, -2, "id");
        push_str(L, m.rest);
        lua_setfield(L, -2, "rest");
        push_str(L, m.forward);
        lua_setfield(L, -2, "forward");
        lua_pushboolean(L, m.bare);
        lua_setfield(L, -2, "bare");
        lua_pushinteger(L, (lua_Integer)n.asked);
        lua_setfield(L, -2, "asked");
    }
    arena_fini(&a);
    return pushed;
}

static int l_path_encode(lua_State *L)
{
    struct strbuf b = STRBUF(1u << 20);
    path_encode(&b, opt_str(L, 1));
    return push_buf(L, &b);
}

static int l_path_decode(lua_State *L)
{
    struct arena a;
    struct error e = { 0 };
    str s;
    arena_init(&a, 1u << 20);
    int pushed = 1;
    if (path_decode(&a, opt_str(L, 1), &s, &e))
        pushed = push_error(L, &e);
    else
        push_str(L, s);
    arena_fini(&a);
    return pushed;
}

static int open_request(lua_State *L)
{
    static const luaL_Reg fns[] = {
        { "extract", l_extract },
        { "extract_pieces", l_extract_pieces },
        { "form_set", l_form_set },
        { "rewrite", l_rewrite },
        { "error_body", l_error_body },
        { "error_limit", l_error_limit },
        { "error_event", l_error_event },
        { "auth", l_auth },
        { "holds_key", l_holds_key },
        { "mask", l_mask },
        { "secret", l_secret },
        { "cors", l_cors },
        { "match", l_match },
        { "lookup", l_lookup },
        { "path_encode", l_path_encode },
        { "path_decode", l_path_decode },
        { NULL, NULL },
    };
    luaL_newlib(L, fns);
    lua_pushliteral(L, WIRE_LOADING_MARK);
    lua_setfield(L, -2, "loading_mark");
    lua_pushliteral(L, WIRE_WWW_AUTHENTICATE);
    lua_setfield(L, -2, "www_authenticate");
    return 1;
}

PROBE(route_request, open_request);
