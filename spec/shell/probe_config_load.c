/* probe_config_load.c: spec.config: loads configurations from texts and files and shows what came
 * of it.
 *
 *   load{ text=, name=, env=, previous= } one text             -> result; previous: text in force
 *   load{ file=, dir=, cwd=, env= }       files                -> result
 *   diff(text_a, text_b)                  -> list of {id, change, key}, list of {path, live}
 *   result: { ok, json (secrets shown), dump (as --dump-config), issues = { {error, file, line,
 *             col, key, text, hint} }, printed, macros = {{name, json}}, model_macros = {id =
 *             {{name, json}}}, sets = {{name, text}}, scheduler_given, find = function(name) }
 */
#include "spec.h"

#include "config/cmdline.h"
#include "config/config.h"
#include "config/duration.h"
#include "config/re2.h"

#include <stdlib.h>
#include <unistd.h>

#define OUT_MAX ((size_t)64 << 20)

static void push(lua_State *L, str s)
{
    lua_pushlstring(L, s.ptr ? s.ptr : "", s.len);
}

static void set(lua_State *L, const char *key, str s)
{
    push(L, s);
    lua_setfield(L, -2, key);
}

static const char *field(lua_State *L, int t, const char *key)
{
    lua_getfield(L, t, key);
    const char *s = lua_tostring(L, -1);
    lua_pop(L, 1); /* the table keeps it alive */
    return s;
}

/* ud: the Lua state, with the table of variables (or nil) at index 2 */
static const char *env_from_table(void *ud, const char *name)
{
    lua_State *L = ud;
    const char *s = NULL;
    if (lua_istable(L, 2))
        s = field(L, 2, name);
    return s;
}

static void push_issues(lua_State *L, const struct config_report *r)
{
    lua_createtable(L, (int)r->len, 0);
    for (size_t i = 0; i < r->len; i++) {
        const struct config_issue *e = &r->at[i];
        lua_createtable(L, 0, 7);
        lua_pushboolean(L, e->error);
        lua_setfield(L, -2, "error");
        set(L, "file", e->file);
        set(L, "key", e->key);
        set(L, "text", e->text);
        set(L, "hint", e->hint);
        lua_pushinteger(L, e->line);
        lua_setfield(L, -2, "line");
        lua_pushinteger(L, e->col);
        lua_setfield(L, -2, "col");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_macros(lua_State *L, const struct config_macro *m, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 2, 0);
        push(L, m[i].name);
        lua_rawseti(L, -2, 1);
        push(L, m[i].json);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

static void push_lookup(lua_State *L, const struct config *c, str name)
{
    struct config_peer_ref ref;
    size_t m = config_find_model(c, name);
    if (m == CONFIG_NONE && !config_find_peer(c, name, &ref)) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 3);
    if (m != CONFIG_NONE) {
        set(L, "kind", S("local"));
        set(L, "id", c->models[m].id);
    } else {
        set(L, "kind", S("peer"));
        set(L, "peer", c->peers[ref.peer].id);
        set(L, "model", c->peers[ref.peer].models[ref.model]);
    }
}

static void push_config(lua_State *L, const struct config *c)
{
    struct strbuf b = STRBUF(OUT_MAX);
    if (config_dump_compact(c, true, &b))
        set(L, "json", strbuf_str(&b));
    strbuf_clear(&b);
    if (config_dump_json(c, &b))
        set(L, "dump", strbuf_str(&b));
    strbuf_fini(&b);
    push_macros(L, c->macros, c->n_macros);
    lua_setfield(L, -2, "macros");
    lua_createtable(L, 0, 0);
    for (size_t i = 0; i < c->n_models; i++) {
        push(L, c->models[i].id);
        push_macros(L, c->models[i].macros, c->models[i].n_macros);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "model_macros");
    lua_createtable(L, 0, 0);
    for (size_t i = 0; i < c->matrix.n_sets; i++) {
        lua_createtable(L, 2, 0);
        push(L, c->matrix.sets[i].key);
        lua_rawseti(L, -2, 1);
        push(L, c->matrix.sets[i].value);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "sets");
    lua_createtable(L, 0, 0);
    for (size_t i = 0; i < c->n_models; i++) {
        push(L, c->models[i].id);
        lua_createtable(L, 0, 0);
        for (size_t k = 0; k < c->models[i].filters.n_strip; k++) {
            push(L, c->models[i].filters.strip[k]);
            lua_rawseti(L, -2, (lua_Integer)k + 1);
        }
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "strip");
    lua_createtable(L, 0, 0);
    for (size_t i = 0; i < c->n_peers; i++) {
        push(L, c->peers[i].id);
        lua_createtable(L, 0, 0);
        for (size_t k = 0; k < c->peers[i].filters.n_strip; k++) {
            push(L, c->peers[i].filters.strip[k]);
            lua_rawseti(L, -2, (lua_Integer)k + 1);
        }
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "peer_strip");
    lua_createtable(L, 0, 0);
    for (size_t i = 0; i < c->n_models; i++) {
        push(L, c->models[i].id);
        lua_pushinteger(L, (lua_Integer)c->models[i].priority);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "priority");
    lua_pushboolean(L, c->scheduler_given);
    lua_setfield(L, -2, "scheduler_given");
    lua_pushinteger(L, (lua_Integer)c->arena.used);
    lua_setfield(L, -2, "bytes");
}

static struct config *must_load(lua_State *L, int arg);

static int l_load(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_getfield(L, 1, "env"); /* index 2 */
    lua_getfield(L, 1, "previous"); /* index 3 */
    struct config *previous = lua_isnil(L, 3) ? NULL : must_load(L, 3);
    lua_settop(L, 2);
    struct config_sources src = { field(L, 1, "file"), field(L, 1, "dir"), env_from_table, L, previous };
    const char *cwd = field(L, 1, "cwd"), *name = field(L, 1, "name");
    char old[4096] = "";
    if (cwd && (!getcwd(old, sizeof old) || chdir(cwd) != 0))
        return luaL_error(L, "cannot change to %s", cwd);
    struct config_report report;
    struct config *c = NULL;
    config_report_init(&report);
    size_t len = 0;
    lua_getfield(L, 1, "text"); /* index 3 */
    const char *text = lua_tolstring(L, 3, &len);
    int r = text ? config_load_text(str_n(text, len), str_c(name ? name : "config.yaml"), &src, &c,
                                    &report)
                 : config_load(&src, &c, &report);
    if (cwd && chdir(old) != 0)
        return luaL_error(L, "cannot change back to %s", old);
    lua_newtable(L);
    lua_pushboolean(L, r == 0);
    lua_setfield(L, -2, "ok");
    push_issues(L, &report);
    lua_setfield(L, -2, "issues");
    struct strbuf b = STRBUF(OUT_MAX);
    config_report_print(&report, &b);
    set(L, "printed", strbuf_str(&b));
    strbuf_fini(&b);
    config_report_fini(&report);
    if (r == 0) {
        push_config(L, c);
        lua_newtable(L);
        lua_getfield(L, 1, "lookup");
        for (lua_Integer i = 1; lua_istable(L, -1) && lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
            push_lookup(L, c, str_c(lua_tostring(L, -1)));
            lua_rawset(L, -4); /* pops the name as well */
        }
        lua_settop(L, 5);
        lua_setfield(L, 4, "lookup");
        config_unref(c);
    }
    config_unref(previous);
    lua_settop(L, 4);
    return 1;
}

static struct config *must_load(lua_State *L, int arg)
{
    size_t len;
    const char *text = luaL_checklstring(L, arg, &len);
    struct config_report r;
    struct config *c = NULL;
    config_report_init(&r);
    int rc = config_load_text(str_n(text, len), S("config.yaml"), NULL, &c, &r);
    config_report_fini(&r);
    if (rc)
        luaL_error(L, "text %d does not load", arg);
    return c;
}

static int l_diff(lua_State *L)
{
    struct config *a = must_load(L, 1), *b = must_load(L, 2);
    struct arena arena;
    struct config_diff d;
    arena_init(&arena, OUT_MAX);
    config_diff(a, b, &arena, &d);
    lua_newtable(L);
    for (size_t i = 0; i < d.n_models; i++) {
        lua_newtable(L);
        set(L, "id", d.models[i].id);
        set(L, "change", str_c(config_change_name(d.models[i].change)));
        set(L, "key", str_c(d.models[i].key));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_newtable(L);
    for (size_t i = 0; i < d.n_keys; i++) {
        lua_newtable(L);
        set(L, "path", str_c(d.keys[i].path));
        lua_pushboolean(L, d.keys[i].live);
        lua_setfield(L, -2, "live");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    arena_fini(&arena);
    config_unref(a);
    config_unref(b);
    return 2;
}

static int l_split(lua_State *L)
{
    size_t len, n;
    const char *text = luaL_checklstring(L, 1, &len);
    struct arena a;
    struct error e;
    str *argv;
    arena_init(&a, OUT_MAX);
    if (cmdline_split(&a, str_n(text, len), &argv, &n, &e) != 0) {
        arena_fini(&a);
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        return 2;
    }
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        push(L, argv[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    arena_fini(&a);
    return 1;
}

static int l_strip_comments(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct arena a;
    arena_init(&a, OUT_MAX);
    push(L, cmdline_strip_comments(&a, str_n(text, len)));
    arena_fini(&a);
    return 1;
}

static int l_url(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct gourl u;
    struct error e;
    if (gourl_parse(str_n(text, len), &u, &e) != 0) {
        lua_pushnil(L);
        lua_pushstring(L, e.msg);
        return 2;
    }
    lua_newtable(L);
    set(L, "scheme", u.scheme);
    set(L, "userinfo", u.userinfo);
    set(L, "host", u.host);
    set(L, "port", u.port);
    set(L, "path", u.path);
    set(L, "query", u.query);
    lua_pushinteger(L, u.port_num);
    lua_setfield(L, -2, "port_num");
    lua_pushboolean(L, u.tls);
    lua_setfield(L, -2, "tls");
    return 1;
}

static int l_re2(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct error e;
    bool ok = re2_check(str_n(text, len), &e) == 0;
    lua_pushboolean(L, ok);
    lua_pushstring(L, ok ? "" : e.msg);
    return 2;
}

static int l_duration(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int64_t ns;
    if (duration_parse(str_n(text, len), &ns) != 0)
        return 0;
    lua_pushinteger(L, (lua_Integer)ns);
    struct strbuf b = STRBUF(100);
    duration_text(ns < 0 ? 0 : ns, &b);
    push(L, strbuf_str(&b));
    strbuf_fini(&b);
    return 2;
}

static int l_generated(lua_State *L)
{
    struct strbuf b = STRBUF(OUT_MAX);
    bool schema = lua_toboolean(L, lua_upvalueindex(1));
    if (schema ? config_schema_json(&b) : config_schema_docs(&b))
        push(L, strbuf_str(&b));
    else
        lua_pushnil(L);
    strbuf_fini(&b);
    return 1;
}

static int open_config(lua_State *L)
{
    static const luaL_Reg funcs[] = {
        { "load", l_load },
        { "diff", l_diff },
        { "split", l_split },
        { "url", l_url },
        { "re2", l_re2 },
        { "duration", l_duration },
        { "strip_comments", l_strip_comments },
        { NULL, NULL },
    };
    luaL_newlib(L, funcs);
    lua_pushboolean(L, true);
    lua_pushcclosure(L, l_generated, 1);
    lua_setfield(L, -2, "schema_json");
    lua_pushboolean(L, false);
    lua_pushcclosure(L, l_generated, 1);
    lua_setfield(L, -2, "schema_docs");
    return 1;
}

PROBE(config, open_config);
